"""A request's work is one transaction: done again as a whole where the database gave it up in favour of another."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from flask import g
from sqlalchemy.exc import (
    DBAPIError,
    DisconnectionError,
    InterfaceError,
    InternalError,
    OperationalError,
    PendingRollbackError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from .errors import DatabaseUnavailable

T = TypeVar("T")

#: How often the work is done again.
RETRIES = 3

#: Seconds before the first other try, at the most; twice that before the second, and so on. Those who gave way to one
#: another would meet again if all came back at once.
PAUSE = 0.05

#: What SQLAlchemy raises for a database that is out of reach or does not take this now, whichever the driver.
UNAVAILABLE: tuple[type[SQLAlchemyError], ...] = (
    OperationalError,
    InterfaceError,
    InternalError,
    DisconnectionError,
    PendingRollbackError,
    PoolTimeout,
)


def retrying(work: Callable[[], T], start_over: Callable[[], None]) -> T:
    """Do it, and do it again from its start where the database asks for that and nothing is settled yet.

    :param start_over: rolls back, and leaves everything as the work found it; called after every failure.
    :raises DatabaseUnavailable: the database is out of reach, or gave way once too often.
    """
    left = RETRIES
    g._registration_settled = g._registration_again = False
    while True:
        try:
            return work()
        except UNAVAILABLE as error:
            start_over()
            if not left or g._registration_settled or not gave_way(error):
                raise unavailable(error) from error
            time.sleep(random.uniform(0, PAUSE) * 2 ** (RETRIES - left))  # noqa: S311 -- no secret
            left -= 1
            g._registration_again = True


def settle() -> None:
    """From here on this request's work cannot be done again: it was committed, or a mail has left."""
    g._registration_settled = True


def is_again() -> bool:
    """Whether this work gave way to others before; now it had better lock what it reads, and wait for them."""
    return bool(g.get("_registration_again"))


def unavailable(error: BaseException) -> DatabaseUnavailable:
    """What is told of it; whoever logs the cause logs no parameters: a password's hash may be among them."""
    if isinstance(error, StatementError):
        error.hide_parameters = True
    return DatabaseUnavailable()


def gave_way(error: SQLAlchemyError) -> bool:
    """Whether the database ended this transaction so that another could go on, and asks to try again.

    SQLSTATE 40001 and 40P01 (PostgreSQL); 1205, 1213 and, with snapshot isolation, 1020 (MySQL and MariaDB);
    SQLITE_BUSY_SNAPSHOT.
    """
    original = error.orig if isinstance(error, DBAPIError) else None
    arguments = getattr(original, "args", None) or (None,)
    return (
        getattr(original, "sqlstate", None) in ("40001", "40P01")
        or arguments[0] in (1020, 1205, 1213)
        or getattr(original, "sqlite_errorcode", None) == 517
    )
