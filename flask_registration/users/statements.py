"""The statements that find and change users."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, Update, bindparam, or_, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import undefer

from .fields import UserFields


def select_users(fields: UserFields, name: str) -> Select[Any]:
    """Return the SELECT of the users with one of two values in a column."""
    attribute = getattr(fields.model, name)
    sought = or_(attribute == bindparam("_key"), attribute == bindparam("_other"))
    # A column that loads at its first use would cost a query that an unknown account does not.
    options = [undefer(getattr(fields.model, each)) for each in fields.deferred]
    return select(fields.model).where(sought).options(*options).limit(10)


def guarded_update(
    fields: UserFields, columns: tuple[str, ...], expected: tuple[str, ...]
) -> Update:
    """Return the UPDATE of a user whose columns have the expected values."""
    # Of the table: SQLAlchemy makes an UPDATE of the model anew at each use.
    of, key, unchanged = fields.columns, fields.table_key, fields.columns[fields.password]
    is_same = [of[name].is_not_distinct_from(bindparam(f"_old_{name}")) for name in expected]
    new: dict[Any, Any] = {of[name]: bindparam(f"_new_{name}") for name in columns}
    statement = update(fields.table).where(key == bindparam("_key"), *is_same)
    return statement.values(new or {unchanged: unchanged})


def lacks_characters(error: DBAPIError) -> bool:
    """Return whether a column cannot be compared with a value that has characters it cannot store.

    MySQL and MariaDB report that (1267) with a character set such as ``latin1``. With such a
    PostgreSQL database, psycopg itself raises a ``UnicodeError``.
    """
    return bool(error.orig and error.orig.args[:1] == (1267,))
