"""A database that fails where it is told to, in the words of its driver."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import psycopg
import pymysql  # type: ignore[import-untyped]  # it ships no types
from sqlalchemy import event

from ..site import Site

#: Raises what the driver would; gets its connection.
Failure = Callable[[Any], None]


class Faults:
    """Fails the n-th thing that a site asks of its database, a statement or a commit, and any
    number after it."""

    def __init__(self, site: Site, failure: Failure) -> None:
        self._failure = failure
        self._count = self._first = self._last = 0
        self.hits: list[str] = []
        with site.app.app_context():
            engine = site.db.engine
        event.listen(engine, "do_execute", self._execute)
        dialect: Any = engine.dialect
        self._commit = dialect.do_commit
        dialect.do_commit = self._do_commit

    def arm(self, number: int, times: int = 1) -> None:
        """Fail the ``number``-th from now on, counted from 1; and those after it, ``times`` in
        all."""
        self._count, self._first, self._last = 0, number, number + times - 1
        self.hits = []

    def disarm(self) -> None:
        self._first = self._last = 0

    def _asked(self, what: str, connection: Any) -> None:
        self._count += 1
        if self._first <= self._count <= self._last:
            self.hits.append(what)
            self._failure(connection)

    def _execute(self, cursor: Any, statement: str, parameters: Any, context: Any) -> None:
        self._asked(statement, context.root_connection.connection.dbapi_connection)

    def _do_commit(self, connection: Any) -> None:
        self._asked("COMMIT", connection.dbapi_connection)
        self._commit(connection)


def _is(connection: Any, module: str) -> bool:
    return type(connection).__module__.startswith(module)


def lost(connection: Any) -> None:
    """The server ended the connection."""
    if _is(connection, "psycopg"):
        connection.close()
        raise psycopg.errors.AdminShutdown("terminating connection due to administrator command")
    if _is(connection, "pymysql"):
        connection._force_close()
        raise pymysql.err.OperationalError(2013, "Lost connection to server during query")
    raise sqlite3.OperationalError("disk I/O error")


def gone(connection: Any) -> None:
    """The connection was lost some time ago, which some drivers tell as an error of their
    interface."""
    if _is(connection, "psycopg"):
        connection.close()
        raise psycopg.InterfaceError("the connection is closed")
    if _is(connection, "pymysql"):
        connection._force_close()
        raise pymysql.err.InterfaceError(0, "")
    raise sqlite3.OperationalError("unable to open database file")


def out_of_order(connection: Any) -> None:
    """The server does not take this now: idle too long, or read only since it was demoted."""
    if _is(connection, "psycopg"):
        connection.close()
        raise psycopg.errors.IdleInTransactionSessionTimeout(
            "terminating connection due to idle-in-transaction timeout"
        )
    if _is(connection, "pymysql"):
        raise pymysql.err.InternalError("Packet sequence number wrong - got 1 expected 2")
    raise sqlite3.InternalError("the database is not what it was")


def locked(connection: Any) -> None:
    """Somebody else writes, and does not come to an end."""
    raise sqlite3.OperationalError("database is locked")


def serialization(connection: Any) -> None:
    """The transaction has to give way to another."""
    connection.rollback()
    if _is(connection, "psycopg"):
        raise psycopg.errors.SerializationFailure(
            "could not serialize access due to concurrent update"
        )
    raise pymysql.err.OperationalError(
        1213, "Deadlock found when trying to get lock; try restarting transaction"
    )


def deadlock(connection: Any) -> None:
    """The same, in other words."""
    if _is(connection, "psycopg"):
        connection.rollback()
        raise psycopg.errors.DeadlockDetected("deadlock detected")
    raise pymysql.err.OperationalError(
        1205, "Lock wait timeout exceeded; try restarting transaction"
    )
