"""The wire to the database breaks, its server is down, locked, or has no connection free."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import make_url

from ..flows.common import OTHER_PASSWORD, NewSite, has_password, is_in, log_in, member
from ..site import PASSWORD, Site
from ..tables import each_row
from .proxy import Proxy, proxied
from .requests import NOTHING, REQUESTS, SETTINGS, effects, prepare, session_of
from .test_every_statement import check_refusal

Wire = tuple[Proxy, dict[str, Any]]
Reach = tuple[Site, Proxy]


@pytest.fixture
def wire(server_database: str) -> Iterator[Wire]:
    with proxied(server_database) as wire:
        yield wire


@pytest.fixture
def reach(wire: Wire, new_site: NewSite) -> Iterator[Reach]:
    """An application, and its wire to the database."""
    proxy, config = wire
    site = new_site(config=config, **SETTINGS)
    yield site, proxy
    proxy.mend()  # its tables are dropped by the same wire


#: What a connection that waited was cut before, and what is asked then.
SOME = [
    "register",
    "login",
    "read the profile",
    "change-password",
    "delete the profile",
    "verify-email",
]


@each_row("what", SOME)
def test_a_connection_that_broke_while_it_waited_costs_one_503_at_the_most(
    what: str, reach: Reach
) -> None:
    site, proxy = reach
    request = prepare(site, what, "alice")
    with effects(site) as watched:
        proxy.cut()
        reply, browser = request.ask()
    check_refusal(reply)
    assert watched.seen() == NOTHING
    assert session_of(site, browser) == session_of(site, request.client)
    assert request.ask()[0].status_code in (200, 201, 204)


@each_row("what", SOME)
def test_a_connection_that_breaks_amid_a_statement_is_a_503_that_leaves_nothing_behind(
    what: str, reach: Reach
) -> None:
    site, proxy = reach
    request = prepare(site, what, "alice")
    cuts = 0
    for text in (b"FROM users", b"INSERT INTO", b"UPDATE users", b"DELETE FROM"):
        for delivers in (False, True):
            with effects(site) as watched:
                proxy.cut_at(text, delivers=delivers)
                reply, browser = request.ask()
            if not proxy.cuts:  # it asks nothing of the kind, and works
                proxy.mend()
                request = prepare(site, what, f"bob-{text[0]}-{delivers}")
                continue
            cuts += 1
            check_refusal(reply)
            assert watched.seen() == NOTHING
            assert session_of(site, browser) == session_of(site, request.client)
    proxy.mend()
    assert request.ask()[0].status_code in (200, 201, 204)
    assert cuts >= 2


def test_a_connection_that_breaks_when_all_is_read_costs_nothing(reach: Reach) -> None:
    site, proxy = reach
    request = prepare(site, "read the profile", "alice")
    proxy.cut_at(b"ROLLBACK", delivers=False)
    assert request.ask()[0].status_code == 200
    assert proxy.cuts == 1
    assert request.ask()[0].status_code == 200


# The answer to COMMIT is lost


@each_row("delivers", [False, True], ids=["on the way there", "on the way back"])
def test_a_registration_whose_commit_got_no_answer_is_whole_or_not_there(
    delivers: bool, reach: Reach
) -> None:
    site, proxy = reach
    with effects(site) as watched:
        proxy.cut_at(b"COMMIT", delivers=delivers)
        check_refusal(site.register("alice"))
    assert proxy.cuts == 1
    rows, signals, mails = watched.seen()
    assert (rows, signals, mails) == ({"users": 1} if delivers else {}, [], [])
    again = site.register("alice")
    if delivers:
        assert (again.status_code, list(again.get_json())) == (400, ["username"])
        assert site.post("resend-verification", {"login": "alice"}).status_code == 200
    else:
        assert again.status_code == 201
    assert len(site.outbox) == 1
    assert site.verify().status_code == 200


@each_row("delivers", [False, True], ids=["on the way there", "on the way back"])
def test_a_new_password_whose_commit_got_no_answer_holds_or_the_old_one_does(
    delivers: bool, reach: Reach
) -> None:
    site, proxy = reach
    request = prepare(site, "change-password", "alice")
    proxy.cut_at(b"COMMIT", delivers=delivers)
    reply, browser = request.ask()
    check_refusal(reply)
    assert has_password(site, OTHER_PASSWORD) is delivers
    assert has_password(site, PASSWORD) is not delivers
    assert is_in(browser) is not delivers
    assert site.outbox == []


@each_row("what", REQUESTS)
def test_whatever_got_no_answer_to_its_commit_was_done_as_a_whole(what: str, reach: Reach) -> None:
    site, proxy = reach
    request = prepare(site, what, "undisturbed")
    with effects(site) as watched:
        request.ask()
    usual, *_ = watched.seen()
    request = prepare(site, what, "alice")
    with effects(site) as watched:
        proxy.cut_at(b"COMMIT", delivers=True)
        reply, _ = request.ask()
    if not proxy.cuts:
        proxy.mend()  # the commit that comes next is the test's own
        assert reply.status_code == 200
        return
    check_refusal(reply)
    assert watched.seen() == (usual, [], [])


# The server is down


@each_row("what", SOME)
def test_while_the_database_is_down_every_request_is_a_503_and_works_afterwards(
    what: str, reach: Reach
) -> None:
    site, proxy = reach
    request = prepare(site, what, "alice")
    proxy.down()
    for _ in range(2):
        reply, browser = request.ask()
        check_refusal(reply)
        assert session_of(site, browser) == session_of(site, request.client)
    assert site.outbox == []
    proxy.up()
    assert request.ask()[0].status_code in (200, 201, 204)


# No connection is free

ONE = {"SQLALCHEMY_ENGINE_OPTIONS": {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.02}}


@each_row("what", REQUESTS)
def test_while_no_connection_is_free_every_request_is_a_503_and_works_afterwards(
    what: str, postgresql_url: str, new_site: NewSite
) -> None:
    site = new_site(postgresql_url, config=ONE, **SETTINGS)
    request = prepare(site, what, "alice")
    with site.app.app_context(), site.db.engine.connect():
        reply, browser = request.ask()
    check_refusal(reply)
    assert session_of(site, browser) == session_of(site, request.client)
    assert site.outbox == []
    assert request.ask()[0].status_code in (200, 201, 204)


# SQLite is locked

IMPATIENT = {"SQLALCHEMY_ENGINE_OPTIONS": {"connect_args": {"timeout": 0.02}}}


@each_row("what", REQUESTS)
def test_while_sqlite_is_locked_every_request_is_a_503_and_works_afterwards(
    what: str, sqlite_url: str, new_site: NewSite
) -> None:
    site = new_site(sqlite_url, config=IMPATIENT, **SETTINGS)
    request = prepare(site, what, "alice")
    other = sqlite3.connect(make_url(sqlite_url).database or "", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    reply, browser = request.ask()
    other.execute("ROLLBACK")
    check_refusal(reply)
    assert session_of(site, browser) == session_of(site, request.client)
    assert site.outbox == []
    assert request.ask()[0].status_code in (200, 201, 204)
    other.close()


def test_in_sqlite_a_snapshot_that_somebody_wrote_over_is_read_again(
    sqlite_url: str, new_site: NewSite
) -> None:
    site = new_site(sqlite_url)
    alice, client = member(site), log_in(site)
    with site.app.app_context():
        engine = site.db.engine
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    other = sqlite3.connect(make_url(sqlite_url).database or "", isolation_level=None)
    seen: list[str] = []

    def overtake(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.startswith("UPDATE users") and "UPDATE" not in seen:
            other.execute("UPDATE users SET last_name = 'New' WHERE id = ?", [alice.id])
        seen.append(statement.split()[0])

    event.listen(engine, "before_cursor_execute", overtake)
    assert client.patch("/accounts/profile/", json={"first_name": "Al"}).status_code == 200
    assert seen.count("UPDATE") == 2
    user = site.user(id=alice.id)
    assert (user.first_name, user.last_name) == ("Al", "New")
    other.close()
