"""The statements on the users' table. Building one takes longer than running it, so each is built once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Select, Update, bindparam, or_, select, update
from sqlalchemy import inspect as sqlalchemy_inspect


class Statements:
    """SELECT and UPDATE on one model, by the names of its attributes; the values come as parameters.

    :param key: the primary key.
    """

    def __init__(self, model: type[Any], key: str) -> None:
        self._model = model
        self._key = key
        self._selects: dict[str | tuple[str, ...], Select[Any]] = {}
        self._updates: dict[tuple[Any, ...], Update] = {}

    def where(self, name: str, value: Any) -> tuple[Select[Any], dict[str, Any]]:
        """The rows with this value, not more than ten, and the parameters."""
        if name not in self._selects:
            self._selects[name] = select(self._model).where(self._is(name, "sought")).limit(10)
        return self._selects[name], {"sought": value}

    def where_any(self, values: Mapping[str, Any]) -> tuple[Select[Any], dict[str, Any]]:
        """The rows with any of these values, not more than ten for each, and the parameters."""
        names = tuple(values)
        if names not in self._selects:
            any_of = or_(*(self._is(name, f"sought_{number}") for number, name in enumerate(names)))
            self._selects[names] = select(self._model).where(any_of).limit(10 * len(names))
        return self._selects[names], _numbered("sought", values)

    def change(
        self, key: Any, columns: Mapping[str, Any], expected: Mapping[str, Any]
    ) -> tuple[Update, dict[str, Any]]:
        """Write these columns of one row, if it has the expected values; and the parameters."""
        present = {name: value for name, value in expected.items() if value is not None}
        shape = (tuple(columns), tuple(expected), tuple(present))
        if shape not in self._updates:
            # On the table: for an UPDATE of the model itself, SQLAlchemy makes a statement anew at each use.
            of = sqlalchemy_inspect(self._model).columns
            conditions = [of[name] == bindparam(f"was_{number}") for number, name in enumerate(present)]
            conditions += [of[name].is_(None) for name in expected if name not in present]
            self._updates[shape] = (
                update(of[self._key].table)
                .where(of[self._key] == bindparam("whose"), *conditions)
                .values({of[name]: bindparam(f"to_{number}") for number, name in enumerate(columns)})
            )
        return self._updates[shape], {"whose": key, **_numbered("to", columns), **_numbered("was", present)}

    def unverified(self, column: str, joined: str, before: datetime, waiting: Mapping[str, Any]) -> Select[Any]:
        """This column of the rows that joined before then and have these values, the oldest first."""
        since = getattr(self._model, joined)
        conditions = [getattr(self._model, name) == value for name, value in waiting.items()]
        return select(getattr(self._model, column)).where(since < before, *conditions).order_by(since)

    def _is(self, name: str, parameter: str) -> Any:
        return getattr(self._model, name) == bindparam(parameter)


def _numbered(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{prefix}_{number}": value for number, value in enumerate(values.values())}
