"""Fixtures: applications on each database that runs here, a mailbox, a clock."""

from __future__ import annotations

import fcntl
import gc
import logging
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import OperationalError

from flask_registration import testing

from .browsers import browser as browser
from .pages import run as run
from .site import Site, State, make_site

pytest_plugins = ["flask_registration.testing", "pytester"]

SERVERS = {
    "postgresql": os.environ.get(
        "TEST_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"
    ),
    "mariadb": os.environ.get(
        "TEST_MARIADB_URL", "mysql+pymysql://root@127.0.0.1:3306/mysql?charset=utf8mb4"
    ),
}
DATABASES = ["sqlite", *SERVERS]
DATABASE = f"flask_registration_test_{os.getpid()}"

hypothesis_settings.register_profile(
    "tests",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
hypothesis_settings.load_profile("tests")


def pytest_xdist_auto_num_workers() -> int:
    """More than there are cores: the tests wait for databases, mail servers and browsers a third of
    their time."""
    return -(-3 * (os.cpu_count() or 1) // 2)


def pytest_collection_finish() -> None:
    """Let the garbage collector run seldom: what was imported for the tests is large, and going
    through it again and again would be a tenth of their time.

    (Objects that are frozen for it have no referrers, which Hypothesis asks for.)
    """
    gc.set_threshold(20_000, 10, 10)


@event.listens_for(Engine, "connect")
def _wait_for_no_disk(connection: Any, record: Any) -> None:
    """Let SQLite write without waiting for the disk: no test cuts the power."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


def _server_url(name: str) -> Iterator[str]:
    server = make_url(SERVERS[name])
    timeout = {"connect_timeout": 5}
    engine = create_engine(server, isolation_level="AUTOCOMMIT", connect_args=timeout)
    try:
        engine.connect().close()
    except OperationalError as error:
        pytest.skip(f"no {name} here ({SERVERS[name]}): {error.orig}")
    # PostgreSQL copies no template that somebody is connected to, as another worker may be to the
    # default one.
    template, force = (" TEMPLATE template0", " WITH (FORCE)") if name == "postgresql" else ("", "")
    drop = text(f"DROP DATABASE IF EXISTS {DATABASE}{force}")
    with engine.connect() as connection:
        connection.execute(drop)  # one that was left by an earlier process of our number
        connection.execute(text(f"CREATE DATABASE {DATABASE}{template}"))
        if name == "postgresql":
            connection.execute(text(f"ALTER DATABASE {DATABASE} SET synchronous_commit = off"))
    yield server.set(database=DATABASE).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(drop)
    engine.dispose()


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    yield from _server_url("postgresql")


@pytest.fixture(scope="session")
def mariadb_url() -> Iterator[str]:
    yield from _server_url("mariadb")


@pytest.fixture
def sqlite_url(tmp_path: Any) -> str:
    return f"sqlite:///{tmp_path}/test.sqlite"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all-databases",
        action="store_true",
        help="run on every database, not only what is marked with `databases`",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with the mark ``databases`` on each of them, and any other on SQLite."""
    if "database" in metafunc.fixturenames:
        each = metafunc.definition.get_closest_marker("databases") or metafunc.config.getoption(
            "--all-databases"
        )
        metafunc.parametrize("database", DATABASES if each else DATABASES[:1], indirect=True)


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database: SQLite, or one of each kind in turn with the mark
    ``databases``."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=["postgresql", "mariadb"])
def server_database(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database on a real server."""
    return str(request.getfixturevalue(f"{request.param}_url"))


class Sites:
    """Make applications for one test; in a table of ``each_row``, make each of them once for all
    rows."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._take_turn = cache(lambda: stack.enter_context(many_connections()))
        self._sites: list[Site] = []
        self._kept: list[State] = []
        self._made: list[tuple[Any, State]] = []
        self._spare: list[tuple[Any, State]] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Site:
        """Make an application, or empty one that an earlier row has made with the same
        arguments."""
        made = next((each for each in self._spare if each[0] == (args, kwargs)), None)
        if made:
            self._spare.remove(made)
            made[1].restore()
        else:
            self._drop_spare_tables()
            made = ((args, kwargs), State.empty(self._make(*args, **kwargs)))
        self._made.append(made)
        return made[1].site

    def _make(self, *args: Any, **kwargs: Any) -> Site:
        engine_options = kwargs.get("config", {}).get("SQLALCHEMY_ENGINE_OPTIONS", {})
        if engine_options.get("pool_size", 0) > 1:
            self._take_turn()
        site = make_site(*args, **kwargs)
        self._stack.enter_context(site.outbox.recording(site.app))
        self._sites.append(site)
        return site

    def _drop_spare_tables(self) -> None:
        """Drop the tables that another application of this test would find in its database."""
        shared = [
            each
            for each in self._spare
            if each[1].site.app.config["SQLALCHEMY_DATABASE_URI"] != "sqlite://"
        ]
        self._spare = [each for each in self._spare if each not in shared]
        self.drop([state.site for _, state in shared])

    def keep(self) -> None:
        """Remember what is in the applications of the fixtures, before the first row."""
        self._kept = [State(site) for site in self._sites]
        self._made.clear()

    def restore(self, *, anew: bool) -> None:
        """Put the applications of the fixtures back, and keep those of the last row for the next,
        or drop them."""
        for state in self._kept:
            state.restore()
        if anew:
            self.drop([state.site for _, state in self._made])
        else:
            self._spare += self._made
        self._made.clear()

    def drop(self, sites: list[Site] | None = None) -> None:
        """Drop their tables, all unless given."""
        for site in list(self._sites if sites is None else sites):
            self._sites.remove(site)
            with site.app.app_context():
                site.db.session.remove()
                site.db.drop_all()
                for engine in site.db.engines.values():
                    engine.dispose()


@contextmanager
def site_maker() -> Iterator[Sites]:
    """Make applications; their tables are dropped and their mailboxes closed in the end."""
    with ExitStack() as stack:
        sites = Sites(stack)
        yield sites
        sites.drop()


@contextmanager
def many_connections() -> Iterator[None]:
    """One worker's turn to open them: PostgreSQL has a hundred for all."""
    with open(Path(tempfile.gettempdir()) / "flask_registration_tests.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed
        yield


@pytest.fixture
def new_site() -> Iterator[Sites]:
    """Make an application for one test."""
    with site_maker() as make:
        yield make


@pytest.fixture
def site(new_site: Callable[..., Site]) -> Site:
    """The application of the documentation, on SQLite."""
    return new_site()


@pytest.fixture
def registration_app(site: Site) -> Flask:
    """What the test kit's fixture ``accounts`` is about."""
    return site.app


@pytest.fixture
def security_log(caplog: pytest.LogCaptureFixture) -> Iterator[list[logging.LogRecord]]:
    """Every record of the security log."""
    found: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record)

    handler, logger = Keep(), logging.getLogger("flask_registration.events")
    caplog.set_level(logging.INFO, logger.name)
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)


class Clock(testing.Clock):
    """The time, in seconds."""

    def advance(self, seconds: float) -> None:
        self.move(seconds=seconds)


@pytest.fixture
def registration_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.time", clock)
    return clock


@pytest.fixture
def clock(registration_clock: Clock) -> Clock:
    return registration_clock
