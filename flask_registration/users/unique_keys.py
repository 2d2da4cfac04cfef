"""Read the unique constraints and indexes of the user model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Dialect, PrimaryKeyConstraint, Table, UniqueConstraint
from sqlalchemy.sql.elements import UnaryExpression


@dataclass(frozen=True)
class UniqueKey:
    """A constraint or an index that makes rows of a table unique.

    :ivar columns: the names of the model's columns that it is about.
    :ivar named: these and those of ``where``.
    :ivar plain: those that it compares as they are.
    :ivar expressions: what it compares in addition, as SQL: ``lower(email)``.
    :ivar where: the condition on the rows of a partial index, as SQL.
    """

    table: Table
    columns: tuple[str, ...]
    named: tuple[str, ...]
    plain: tuple[str, ...]
    expressions: tuple[str, ...] = ()
    where: str | None = None


def unique_keys(
    columns: Mapping[str, Column[Any]], dialect: Dialect | None = None
) -> list[UniqueKey]:
    """Return the primary keys, unique constraints and unique indexes of a model's tables.

    :param dialect: of the database. Without it, an index that is partial on any database is.
    """
    found: list[UniqueKey] = []
    order = list(columns)
    for table in dict.fromkeys(column.table for column in columns.values()):
        kinds = (PrimaryKeyConstraint, UniqueConstraint)
        constraints = [each for each in table.constraints if isinstance(each, kinds)]
        indexes = [each for each in table.indexes if each.unique]
        made = [_make_key(each, list(each.columns), columns, dialect) for each in constraints]
        made += [_make_key(each, each.expressions, columns, dialect) for each in indexes]
        found += filter(None, made)
    # The order of a set of indexes differs between processes.
    return sorted(found, key=lambda key: ([*map(order.index, key.columns)], key.expressions))


def unique_columns(
    columns: Mapping[str, Column[Any]], *, with_functions: bool = True
) -> frozenset[str]:
    """Return the columns that are unique, each on its own and in all rows.

    :param with_functions: whether a column counts of which a function is unique, such as
        ``lower(email)``.
    """
    keys = [key for key in unique_keys(columns) if with_functions or not key.expressions]
    alone = {key.columns for key in keys if key.where is None}
    return frozenset(name for name in columns if (name,) in alone)


def _make_key(
    item: Any, parts: Iterable[Any], columns: Mapping[str, Column[Any]], dialect: Dialect | None
) -> UniqueKey | None:
    """Return a key, or None if it has columns that are not mapped."""
    names: dict[Any, str] = {
        column: name for name, column in columns.items() if column.table is item.table
    }
    bare = [_without_order(part) for part in parts]
    plain: list[Any] = [names.get(part) for part in bare if isinstance(part, Column)]
    if None in plain:
        return None
    expressions = [_sql(part, dialect) for part in bare if not isinstance(part, Column)]
    wheres = (
        _sql(options["where"], dialect)
        for name, options in item.dialect_options.items()
        if options.get("where") is not None and (dialect is None or name == dialect.name)
    )
    where = next(wheres, None)

    def named_in(*parts: str | None) -> list[str]:
        text = " ".join(filter(None, parts))
        return [
            name
            for column, name in names.items()
            if re.search(rf"\b{re.escape(column.name)}\b", text)
        ]

    compared = tuple(dict.fromkeys([*plain, *named_in(*expressions)]))
    return UniqueKey(
        table=item.table,
        columns=compared,
        named=tuple(dict.fromkeys([*compared, *named_in(where)])),
        plain=tuple(plain),
        expressions=tuple(expressions),
        where=where,
    )


def _without_order(part: Any) -> Any:
    while isinstance(part, UnaryExpression) and part.modifier is not None:  # for example, DESC
        part = part.element
    return part


def _sql(expression: Any, dialect: Dialect | None) -> str:
    """Return an expression of an index as SQL, as a CREATE INDEX has it."""
    if isinstance(expression, str):  # which SQLAlchemy accepts too, and reads from a database
        return expression
    options = {"literal_binds": True, "include_table": False}
    text = str(expression.compile(dialect=dialect, compile_kwargs=options))
    is_doubled = dialect is not None and dialect.paramstyle in ("format", "pyformat")
    return text.replace("%%", "%") if is_doubled else text
