"""Run and retry the work of a request as one transaction, and recognize errors of databases."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Connection, update
from sqlalchemy import inspect as sqlalchemy_inspect
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


def own_transaction(db: SQLAlchemy, model: type[Any]) -> AbstractContextManager[Connection]:
    """Begin a transaction on the database of a model, beside that of the session."""
    # The clause: a session of the application may send reads to another server.
    engine: Any = db.session.get_bind(sqlalchemy_inspect(model), clause=update(model))
    if engine.dialect.name in ("mysql", "mariadb"):  # their default blocks new rows in gaps
        engine = engine.execution_options(isolation_level="READ COMMITTED")
    begun: AbstractContextManager[Connection] = engine.begin()
    return begun


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
    """Return whether a column or a table of a model is missing in the database."""
    # PostgreSQL: undefined column, table. MySQL and MariaDB: unknown column, no such table.
    if _has_code(error, "42703", "42P01", 1054, 1146):
        return True
    original = str(getattr(error, "orig", None))  # SQLite has no code
    return bool(re.search("no such (column|table)|has no column named", original))


def is_serialization_failure(error: SQLAlchemyError) -> bool:
    """Return whether the database ended this transaction in favor of another one and asks to retry.

    So does the version counter of a model, with ``StaleDataError``.
    """
    if isinstance(error, StaleDataError):
        return True
    postgresql = ("40001", "40P01")  # serialization failure, deadlock
    mysql = (1020, 1205, 1213)  # MariaDB's snapshot isolation, lock wait timeout, deadlock
    sqlite = (517,)  # SQLITE_BUSY_SNAPSHOT
    return _has_code(error, *postgresql, *mysql, *sqlite)


def lacks_characters(error: DBAPIError) -> bool:
    """Return whether a column cannot be compared with a value that has characters it cannot store.

    MySQL and MariaDB report that with a character set such as ``latin1``. With such a PostgreSQL
    database, psycopg itself raises a ``UnicodeError``.
    """
    return _has_code(error, 1267)  # illegal mix of collations


def is_inconvertible(error: Exception) -> bool:
    """Return whether a column's type, perhaps of the application, could not convert a value."""
    return isinstance(error, StatementError) and isinstance(error.orig, ValueError | TypeError)


def violates_check(error: Exception) -> bool:
    """Return whether a CHECK constraint refuses a row: MariaDB and MySQL report it as a failure."""
    return _has_code(error, 4025, 3819)  # MariaDB, MySQL


def violates_not_null(error: IntegrityError) -> bool:
    """Return whether a row lacks a value that a column must have."""
    return _has_code(error, "23502", 1048, 1299)  # PostgreSQL, MySQL, SQLite


def _has_code(error: BaseException, *codes: object) -> bool:
    """Return whether a database reports an error with one of these codes.

    A text is an SQLSTATE of PostgreSQL, and a number is an error of MySQL and MariaDB or an
    extended result code of SQLite.
    """
    original = getattr(error, "orig", None)
    names = ("sqlstate", "sqlite_errorcode")
    reported = [getattr(original, name, None) for name in names]
    reported += getattr(original, "args", ())[:1]
    return any(code in reported for code in codes)
