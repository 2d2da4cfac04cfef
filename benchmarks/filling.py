"""Many rows in little time: ``COPY`` on PostgreSQL, one statement with many parameters on SQLite.

Peers import this too, in their own environments: nothing but the standard library and Psycopg is
imported here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

Rows = Iterable[Sequence[Any]]


def fill(database: str, table: str, columns: Sequence[str], rows: Rows) -> None:
    """Insert rows that bring their own ``id``; the table's next one will come after the last of
    them.

    :param database: SQLAlchemy's URL, of whatever driver.
    """
    if database.startswith("sqlite"):
        _fill_sqlite(sqlite_path(database), table, columns, rows)
    else:
        _fill_postgresql(libpq_url(database), table, columns, rows)


def sqlite_path(database: str) -> str:
    """The file of an SQLite URL."""
    return database.partition("///")[2]


def libpq_url(database: str) -> str:
    """A PostgreSQL URL without SQLAlchemy's driver."""
    return "postgresql://" + urlsplit(database).netloc + urlsplit(database).path


def _fill_sqlite(path: str, table: str, columns: Sequence[str], rows: Rows) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")  # the file remembers it, for every application
    marks = ", ".join("?" * len(columns))
    with connection:
        connection.executemany(
            f'INSERT INTO "{table}" ({", ".join(columns)}) VALUES ({marks})', rows
        )
    connection.execute("ANALYZE")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _fill_postgresql(url: str, table: str, columns: Sequence[str], rows: Rows) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        with cursor.copy(f'COPY "{table}" ({", ".join(columns)}) FROM STDIN') as copy:
            for row in rows:
                copy.write_row(row)
        sequence = f"pg_get_serial_sequence('\"{table}\"', 'id')"
        cursor.execute(
            f'SELECT setval({sequence}, (SELECT max(id) FROM "{table}")) WHERE {sequence} IS NOT NULL'  # noqa: E501
        )
        cursor.execute(f'VACUUM ANALYZE "{table}"')
