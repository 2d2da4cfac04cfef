"""Check that the database has what the models declare."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Engine, LargeBinary, MetaData, Table, cast, func, inspect, select
from sqlalchemy.exc import NoSuchTableError, SQLAlchemyError

from ..checks import Finding
from ..state import Setup, current_registration
from ..users.fields import UserFields
from ..users.unique_keys import unique_columns


def tables(setup: Setup) -> Iterator[Finding]:
    """Compare the tables with the models, and look for upper-case e-mail addresses."""
    state, session = current_registration, setup.app.extensions["sqlalchemy"].session
    for model in filter(None, setup.models.values()):
        engine = session.get_bind(inspect(model))
        try:
            found = [each for table in inspect(model).tables for each in _missing(engine, table)]
            if not found and model is state.fields.model:
                found = [
                    *_upper_case(session, engine, state.fields),
                    *_short_hash(engine, state.fields, len(state.passwords.hash("an example"))),
                    *(
                        finding
                        for checks in state.all_provided("database_checks")
                        for finding in checks(state, session)
                    ),
                ]
        except SQLAlchemyError as failure:
            reason = describe(getattr(failure, "orig", None) or failure)
            url = engine.url.render_as_string()
            yield Finding(
                "registration.E038",
                "SQLALCHEMY_DATABASE_URI",
                f"is {url}, but the connection failed: {reason}. Accounts cannot be read.",
                "Start the database, or correct SQLALCHEMY_DATABASE_URI.",
            )
            return
        yield from found


def _missing(engine: Engine, table: Table) -> Iterator[Finding]:
    """Report what a table lacks in the database: itself, columns, or that they are unique."""
    name = table.name
    try:
        stored = _stored(engine, table)
    except NoSuchTableError:
        yield Finding(
            "registration.E039",
            f"Table {name}",
            "is missing in the database. Its rows cannot be stored.",
            "Run your migrations, for example `flask db upgrade` (or db.create_all() for a "
            "missing table).",
        )
        return
    missing = [column.name for column in table.columns if column.name not in stored.columns]
    if missing:
        names = ", ".join(missing)
        yield Finding(
            "registration.E040",
            f"Table {name}",
            f"has no column {names} in the database. Every query of the table fails.",
            "Run your migrations, for example `flask db upgrade` (or db.create_all() for a "
            "missing table).",
        )
    declared, found = _unique(engine, table), _unique(engine, stored)
    for column in sorted((declared - found) & {*stored.columns.keys()}):
        yield Finding(
            "registration.E041",
            f"{name}.{column}",
            "is unique in the model and not in the database. "
            "Two registrations at the same time both succeed.",
            f"Write a migration that creates a unique index on {name} ({column}).",
        )


def _unique(engine: Engine, table: Table) -> frozenset[str]:
    """Return the names of the unique columns that can be compared in this database.

    SQLAlchemy reads unique indexes of functions from PostgreSQL only.
    """
    columns = {column.name: column for column in table.columns}
    return unique_columns(columns, with_functions=engine.dialect.name == "postgresql")


def _stored(engine: Engine, table: Table) -> Table:
    """Return a table as the database has it.

    :raises NoSuchTableError: it is missing.
    """
    metadata = MetaData(schema=table.schema)
    return Table(table.name, metadata, autoload_with=engine, resolve_fks=False)


def _upper_case(session: Any, engine: Engine, fields: UserFields) -> Iterator[Finding]:
    """Report rows from before the extension: look-ups are in lower case."""
    if fields.email is None:
        return
    attribute, column = getattr(fields.model, fields.email), fields.columns[fields.email]
    differs = attribute != func.lower(attribute)
    if engine.dialect.name in ("mysql", "mariadb"):  # whose collations ignore case
        differs = cast(attribute, LargeBinary) != cast(func.lower(attribute), LargeBinary)
    count = session.scalar(select(func.count()).where(differs))
    if count:
        yield Finding(
            "registration.W023",
            f"{column.table.name}.{column.name}",
            f"has upper-case addresses (rows: {count}). "
            "Other spellings of them are not found, and can be registered by others.",
            f"Write a migration that sets {column.name} to lower({column.name}), after "
            "duplicates are resolved.",
        )


def describe(failure: BaseException) -> str:
    """Return an error in one line of printable text."""
    words: Any = getattr(failure, "smtp_error", None) or failure
    text = words.decode("ascii", "replace") if isinstance(words, bytes) else str(words)
    printable = "".join(letter if letter.isprintable() else " " for letter in text[:300])
    return f"{type(failure).__name__}: {' '.join(printable.split()).rstrip('.?!')}"


def _short_hash(engine: Engine, fields: UserFields, length: int) -> Iterator[Finding]:
    """Report a column that is too short for new password hashes.

    :param length: that of a new hash.
    """
    column = fields.columns[fields.password]
    types = [column.type, _stored(engine, column.table).columns[column.name].type]
    limits = [limit for each in types if (limit := getattr(each, "length", None))]
    maximum = min(limits, default=length)
    if maximum < length:
        yield Finding(
            "registration.W026",
            f"{column.table.name}.{column.name}",
            f"has at most {maximum} characters, and a new password hash has {length}. "
            "Passwords cannot be set, and older hashes cannot be upgraded.",
            "Declare it with String(255), and write a migration.",
        )
