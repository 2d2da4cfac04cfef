"""Fixtures: applications on each database that runs here, a mailbox, a clock."""

from __future__ import annotations

import fcntl
import logging
import os
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
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from flask_registration import testing

from .browsers import browser as browser
from .pages import run as run
from .site import Site, make_site

pytest_plugins = ["flask_registration.testing", "pytester"]

SERVERS = {
    "postgresql": os.environ.get("TEST_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"),
    "mariadb": os.environ.get("TEST_MARIADB_URL", "mysql+pymysql://root@127.0.0.1:3306/mysql?charset=utf8mb4"),
}
DATABASE = f"flask_registration_test_{os.getpid()}"

hypothesis_settings.register_profile(
    "tests",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
hypothesis_settings.load_profile("tests")


def pytest_xdist_auto_num_workers() -> int:
    """More than there are cores: the tests wait for databases, mail servers and browsers a third of their time."""
    return -(-3 * (os.cpu_count() or 1) // 2)


def _server_url(name: str) -> Iterator[str]:
    server = make_url(SERVERS[name])
    timeout = {"connect_timeout": 5}
    engine = create_engine(server, isolation_level="AUTOCOMMIT", connect_args=timeout)
    try:
        engine.connect().close()
    except OperationalError as error:
        pytest.skip(f"no {name} here ({SERVERS[name]}): {error.orig}")
    # PostgreSQL copies no template that somebody is connected to, as another worker may be to the default one.
    template, force = (" TEMPLATE template0", " WITH (FORCE)") if name == "postgresql" else ("", "")
    drop = text(f"DROP DATABASE IF EXISTS {DATABASE}{force}")
    with engine.connect() as connection:
        connection.execute(drop)  # one that was left by an earlier process of our number
        connection.execute(text(f"CREATE DATABASE {DATABASE}{template}"))
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


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def database(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database, one of each kind in turn."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=["postgresql", "mariadb"])
def server_database(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database on a real server."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@contextmanager
def site_maker() -> Iterator[Callable[..., Site]]:
    """Make applications; their tables are dropped and their mailboxes closed in the end."""
    sites: list[Site] = []
    with ExitStack() as stack:
        take_turn = cache(lambda: stack.enter_context(many_connections()))

        def make(*args: Any, **kwargs: Any) -> Site:
            engine_options = kwargs.get("config", {}).get("SQLALCHEMY_ENGINE_OPTIONS", {})
            if engine_options.get("pool_size", 0) > 1:
                take_turn()
            site = make_site(*args, **kwargs)
            stack.enter_context(site.outbox.recording(site.app))
            sites.append(site)
            return site

        yield make
        for site in sites:
            with site.app.app_context():
                site.db.session.remove()
                site.db.drop_all()
                for engine in site.db.engines.values():
                    engine.dispose()


@contextmanager
def many_connections() -> Iterator[None]:
    """One worker's turn to open them: PostgreSQL has a hundred for all."""
    with open(Path(tempfile.gettempdir()) / "flask_registration_tests.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed
        yield


@pytest.fixture
def new_site() -> Iterator[Callable[..., Site]]:
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
