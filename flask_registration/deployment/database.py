"""Whether the database has what the models say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import Flask
from sqlalchemy import Engine, LargeBinary, Table, cast, func, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from ..kit import Kit
from ..userfields import is_unique
from .findings import Finding, error, warning
from .mail import describe

MIGRATE = "run your migrations, with `flask db upgrade` say (or db.create_all(), for a table that is not there)"


def stored(app: Flask, kit: Kit) -> Iterator[Finding]:
    """Compare tables, columns and unique indexes with the models, and look for addresses that no look-up finds."""
    session = app.extensions["sqlalchemy"].session
    stores = [kit.logins, kit.outbox and kit.outbox.store]
    for model in [kit.fields.model, *(store.model for store in stores if store)]:
        engine = session.get_bind(inspect(model))
        try:
            found = [finding for table in inspect(model).tables for finding in _missing(engine, table)]
            if not found and model is kit.fields.model:
                found = list(_in_capitals(session, engine, kit))
        except SQLAlchemyError as failure:
            yield error(
                "SQLALCHEMY_DATABASE_URI",
                f"is {engine.url.render_as_string()}, and does not answer: "
                f"{describe(getattr(failure, 'orig', None) or failure)}.",
                "start the database, or mend SQLALCHEMY_DATABASE_URI",
            )
            return
        yield from found


def _missing(engine: Engine, table: Table) -> Iterator[Finding]:
    database = inspect(engine)
    name, schema = table.name, table.schema
    if not database.has_table(name, schema=schema):
        yield error(f"Table {name}", "is not in the database.", MIGRATE)
        return
    columns = {column["name"] for column in database.get_columns(name, schema=schema)}
    lacks = [column.name for column in table.columns if column.name not in columns]
    if lacks:
        yield error(f"Table {name}", f"has no column {', '.join(lacks)} in the database.", MIGRATE)
    unique: list[Any] = [database.get_pk_constraint(name, schema=schema)["constrained_columns"]]
    unique += [each["column_names"] for each in database.get_unique_constraints(name, schema=schema)]
    unique += [each["column_names"] for each in database.get_indexes(name, schema=schema) if each["unique"]]
    for column in table.columns:
        if column.name in columns and is_unique(column) and [column.name] not in unique:
            yield error(
                f"{name}.{column.name}",
                "is unique in the model and not in the database: two registrations at once both get it.",
                f"a migration that makes a unique index on {name} ({column.name})",
            )


def _in_capitals(session: Any, engine: Engine, kit: Kit) -> Iterator[Finding]:
    """Rows from before us: an address is looked up in lower case."""
    if kit.fields.email is None:
        return
    attribute, column = getattr(kit.fields.model, kit.fields.email), kit.fields.columns[kit.fields.email]
    differs = attribute != func.lower(attribute)
    if engine.dialect.name in ("mysql", "mariadb"):  # whose collations ignore case
        differs = cast(attribute, LargeBinary) != cast(func.lower(attribute), LargeBinary)
    count = session.scalar(select(func.count()).where(differs))
    if count:
        yield warning(
            f"{column.table.name}.{column.name}",
            f"has capitals in {count} rows, which nobody finds: addresses are looked up in lower case.",
            f"a migration that sets {column.name} to lower({column.name}), once no two are the same then",
        )
