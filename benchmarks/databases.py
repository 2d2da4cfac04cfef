"""A database for each contender, and none of them when we are done."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, make_url, text

#: Where databases of our own may be made.
POSTGRESQL = os.environ.get(
    "BENCHMARK_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"
)


@contextmanager
def database(kind: str, owner: str, folder: Path) -> Iterator[str]:
    """The URL of a new, empty database.

    :param kind: ``sqlite``, a file of this folder; or ``postgresql``.
    """
    signal.signal(signal.SIGTERM, _exit)  # else nobody would drop it
    if kind == "sqlite":
        path = folder / f"{owner}.sqlite"
        yield f"sqlite:///{path}"
        for file in folder.glob(f"{path.name}*"):
            file.unlink()
        return
    server, name = make_url(POSTGRESQL), f"flask_registration_benchmark_{owner}_{os.getpid()}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{name}"'))
        try:
            yield server.set(database=name).render_as_string(hide_password=False)
        finally:
            with engine.connect() as connection:
                connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    finally:
        engine.dispose()


def _exit(*_: Any) -> None:
    sys.exit(128 + signal.SIGTERM)
