"""Trying again what a database gave up in favour of another transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, OperationalError

T = TypeVar("T")

#: How often a statement is tried again.
RETRIES = 3


def retrying(work: Callable[[], T], rollback: Callable[[], None] | None) -> T:
    """Do it, and do it again where the database asks for that.

    :param rollback: called before another try; None where the transaction is the caller's, and nothing is tried again.
    :raises sqlalchemy.exc.OperationalError: the database is out of reach, or gave way once too often.
    """
    left = RETRIES
    while True:
        try:
            return work()
        except OperationalError as error:
            if rollback is None:
                raise
            rollback()
            if not left or not gave_way(error):
                raise
            left -= 1


def gave_way(error: DBAPIError) -> bool:
    """Whether the database ended this transaction so that another could go on, and asks to try again.

    SQLSTATE 40001 and 40P01 (PostgreSQL); 1205, 1213 and, with snapshot isolation, 1020 (MySQL and MariaDB).
    """
    original = error.orig
    arguments = getattr(original, "args", None) or (None,)
    return getattr(original, "sqlstate", None) in ("40001", "40P01") or arguments[0] in (1020, 1205, 1213)
