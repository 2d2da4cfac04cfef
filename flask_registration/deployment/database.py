"""Check that the database has what the models declare."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Engine, LargeBinary, Table, cast, func, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from ..checks import Finding
from ..state import Setup, current_registration
from ..users.fields import UserFields, is_unique


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
    database = inspect(engine)
    name, schema = table.name, table.schema
    if not database.has_table(name, schema=schema):
        yield Finding(
            "registration.E039",
            f"Table {name}",
            "is missing in the database. Its rows cannot be stored.",
            "Run your migrations, for example `flask db upgrade` (or db.create_all() for a "
            "missing table).",
        )
        return
    columns = {column["name"] for column in database.get_columns(name, schema=schema)}
    missing = [column.name for column in table.columns if column.name not in columns]
    if missing:
        names = ", ".join(missing)
        yield Finding(
            "registration.E040",
            f"Table {name}",
            f"has no column {names} in the database. Every query of the table fails.",
            "Run your migrations, for example `flask db upgrade` (or db.create_all() for a "
            "missing table).",
        )
    unique: list[Any] = [database.get_pk_constraint(name, schema=schema)["constrained_columns"]]
    constraints = database.get_unique_constraints(name, schema=schema)
    unique += [each["column_names"] for each in constraints]
    indexes = database.get_indexes(name, schema=schema)
    unique += [each["column_names"] for each in indexes if each["unique"]]
    for column in table.columns:
        if column.name in columns and is_unique(column) and [column.name] not in unique:
            yield Finding(
                "registration.E041",
                f"{name}.{column.name}",
                "is unique in the model and not in the database. "
                "Two registrations at the same time both succeed.",
                f"Write a migration that creates a unique index on {name} ({column.name}).",
            )


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
    stored = inspect(engine).get_columns(column.table.name, schema=column.table.schema)
    types = [column.type, *(each["type"] for each in stored if each["name"] == column.name)]
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
