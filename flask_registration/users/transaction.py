"""Run and retry the work of a request as one transaction, and recognize errors of databases."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import (
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    PendingRollbackError,
    ProgrammingError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm.exc import StaleDataError

from ..errors import DatabaseOutdated, DatabaseUnavailable
from ..request_state import request_state

T = TypeVar("T")

#: The maximum number of retries.
RETRIES = 3

#: The maximum pause before the first retry, in seconds; it doubles for each further one. The pause
#: is random, so that transactions that conflicted do not meet again.
PAUSE = 0.05

#: What SQLAlchemy raises, with any driver, if the database is unavailable or refuses work for now.
UNAVAILABLE: tuple[type[SQLAlchemyError], ...] = (
    OperationalError,
    InterfaceError,
    InternalError,
    DisconnectionError,
    PendingRollbackError,
    PoolTimeout,
    StaleDataError,
)

#: What MariaDB and MySQL report like a failure of theirs: a CHECK constraint refuses a row.
CHECK_VIOLATED = (4025, 3819)


def with_retries(work: Callable[[], T], reset: Callable[[], None]) -> T:
    """Do the work, and retry it if the database asks for that and nothing was committed yet.

    :param reset: rolls back and restores everything as it was before the work; called after each
        failure.
    :raises DatabaseUnavailable: the database is unavailable, or there were too many conflicts.
    :raises DatabaseOutdated: the database lacks a column or a table.
    """
    state = request_state()
    state.is_committed = state.is_retry = False
    state.admitted_mails.clear()
    attempt = 0
    while True:
        try:
            return work()
        except ProgrammingError as error:
            reset()
            if not is_outdated(error):
                raise
            raise unavailable(error) from error
        except UNAVAILABLE as error:
            reset()
            is_final = attempt == RETRIES or state.is_committed
            if is_final or not is_serialization_failure(error):
                raise unavailable(error) from error
            time.sleep(random.uniform(0, PAUSE) * 2**attempt)  # noqa: S311 -- no secret
            attempt += 1
            state.is_retry = True


def mark_committed() -> None:
    """Prevent retries of this request's work: it was committed, or an e-mail was sent."""
    request_state().is_committed = True


def unavailable(error: BaseException) -> DatabaseUnavailable:
    """Return the error for the client.

    The cause is logged without its parameters, such as password hashes.
    """
    if isinstance(error, StatementError):
        error.hide_parameters = True
    return DatabaseOutdated() if is_outdated(error) else DatabaseUnavailable()


def is_outdated(error: BaseException) -> bool:
    """Return whether a column or a table of a model is missing in the database.

    SQLSTATE 42703 and 42P01 (PostgreSQL); 1054 and 1146 (MySQL and MariaDB). SQLite has no code.
    """
    original = error.orig if isinstance(error, DBAPIError) else None
    arguments = getattr(original, "args", None) or (None,)
    return (
        getattr(original, "sqlstate", None) in ("42703", "42P01")
        or arguments[0] in (1054, 1146)
        or bool(re.search("no such (column|table)|has no column named", str(arguments[0])))
    )


def is_serialization_failure(error: SQLAlchemyError) -> bool:
    """Return whether the database ended this transaction in favor of another one and asks to retry.

    SQLSTATE 40001 and 40P01 (PostgreSQL); 1205, 1213 and, with snapshot isolation, 1020 (MySQL and
    MariaDB); SQLITE_BUSY_SNAPSHOT. So does the version counter of a model, with ``StaleDataError``.
    """
    if isinstance(error, StaleDataError):
        return True
    original = error.orig if isinstance(error, DBAPIError) else None
    arguments = getattr(original, "args", None) or (None,)
    return (
        getattr(original, "sqlstate", None) in ("40001", "40P01")
        or arguments[0] in (1020, 1205, 1213)
        or getattr(original, "sqlite_errorcode", None) == 517
    )


def lacks_characters(error: DBAPIError) -> bool:
    """Return whether a column cannot be compared with a value that has characters it cannot store.

    MySQL and MariaDB report that (1267) with a character set such as ``latin1``. With such a
    PostgreSQL database, psycopg itself raises a ``UnicodeError``.
    """
    return bool(error.orig and error.orig.args[:1] == (1267,))


def is_inconvertible(error: Exception) -> bool:
    """Return whether a column's type, perhaps of the application, could not convert a value."""
    return isinstance(error, StatementError) and isinstance(error.orig, ValueError | TypeError)


def violates_check(error: Exception) -> bool:
    """Return whether a CHECK constraint refuses a row, on MariaDB and MySQL."""
    original = getattr(error, "orig", None)
    return bool(original and original.args[:1] and original.args[0] in CHECK_VIOLATED)


def violates_not_null(error: IntegrityError) -> bool:
    """Return whether a row lacks a value that a column must have.

    SQLSTATE 23502 (PostgreSQL); 1048 (MySQL and MariaDB); SQLITE_CONSTRAINT_NOTNULL.
    """
    original = error.orig
    return (
        getattr(original, "sqlstate", None) == "23502"
        or bool(original and original.args[:1] == (1048,))
        or getattr(original, "sqlite_errorcode", None) == 1299
    )
