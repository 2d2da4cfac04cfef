"""Limit what an outbox costs a request: one INSERT for each e-mail, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from ..conftest import Clock
from ..outboxes import LIVE, OUTBOX, finish, letters, send_mail
from ..people import account, log_in
from ..site import PASSWORD, Site
from ..tables import each_row
from ..test_dispatch import broken_mail

pytestmark = pytest.mark.databases

NewSite = Callable[..., Site]
OTHER = "a whole new set of words 42"


@contextmanager
def statements(site: Site, *, here: bool) -> Iterator[list[str]]:
    """The statements of this thread within the block, or of the others."""
    mine, found = threading.get_ident(), list[str]()

    def record(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if (threading.get_ident() == mine) == here:
            found.append(" ".join(statement.split()[:2]))

    with site.app.app_context():
        engine = site.db.engine
    event.listen(engine, "before_cursor_execute", record)
    yield found
    event.remove(engine, "before_cursor_execute", record)


def register(site: Site) -> Any:
    return site.register("bob")


def register_taken(site: Site) -> Any:
    return site.register("bob", email="alice@example.com")


def resend(site: Site) -> Any:
    return site.post("resend-verification", {"login": "pending"})


def resend_nobody(site: Site) -> Any:
    return site.post("resend-verification", {"login": "nobody"})


def resend_verified(site: Site) -> Any:
    return site.post("resend-verification", {"login": "alice"})


def reset_nobody(site: Site) -> Any:
    return site.post("send-reset-password-link", {"login": "nobody"})


def ask_reset(site: Site) -> Any:
    return site.post("send-reset-password-link", {"login": "alice"})


def change_password(site: Site) -> Any:
    body = {"old_password": PASSWORD, "password": OTHER, "password_confirm": OTHER}
    return site.post("change-password", body, client=log_in(site))


@each_row(
    "ask",
    [
        register,
        register_taken,
        resend,
        resend_nobody,
        resend_verified,
        ask_reset,
        reset_nobody,
        change_password,
    ],
)
def test_a_request_takes_one_insert_more_whether_or_not_anybody_gets_a_mail(
    ask: Callable[[Site], Any], new_site: NewSite, tmp_path: Path
) -> None:
    found: list[list[str]] = []
    for settings in ({}, OUTBOX):
        site = new_site(f"sqlite:///{tmp_path}/{len(found)}.sqlite", config=LIVE, **settings)
        account(site, "alice")
        account(site, "pending", verified=False)
        with statements(site, here=True) as taken:
            assert ask(site).status_code in (200, 201)
        found.append(sorted(taken))
        finish(site)
    assert found[1] == sorted(found[0] + ["INSERT INTO"])


def test_a_mail_that_leaves_takes_four_statements_beside_its_insert(
    new_site: NewSite, database: str
) -> None:
    site = new_site(database, config=LIVE, **OUTBOX)
    with statements(site, here=False) as taken:
        site.register("alice")
        finish(site)
    take, read_user, finished, look_for_more = "UPDATE outbox", "SELECT", "UPDATE outbox", "SELECT"
    kinds = [each.replace("SELECT " + each.partition(" ")[2], "SELECT") for each in taken]
    assert kinds == [take, read_user, finished, look_for_more]


@each_row("ask", [resend_nobody, resend_verified, reset_nobody])
def test_an_e_mail_that_is_dropped_takes_the_same_without_reading_a_user(
    ask: Callable[[Site], Any], new_site: NewSite, database: str
) -> None:
    site = new_site(database, config=LIVE, **OUTBOX)
    account(site, "alice")
    with statements(site, here=False) as taken:
        ask(site)
        finish(site)
    assert [each.split()[0] for each in taken] == ["UPDATE", "UPDATE", "SELECT"]
    assert [row.state for row in letters(site)] == ["dropped"]


@each_row(
    ("ask", "others"),
    [
        pytest.param(resend, [resend, resend_nobody, resend_verified], id="resend-verification"),
        pytest.param(ask_reset, [ask_reset, reset_nobody], id="send-reset-password-link"),
        pytest.param(register, [register_taken], id="register"),
    ],
)
def test_a_request_takes_the_same_statements_whether_or_not_its_e_mail_is_dropped(
    ask: Callable[[Site], Any],
    others: list[Callable[[Site], Any]],
    new_site: NewSite,
    tmp_path: Path,
) -> None:
    """The first of the others is the same once more, which the limit drops."""
    found: list[list[str]] = []
    for number, each in enumerate([ask, *others]):
        site = new_site(f"sqlite:///{tmp_path}/{number}.sqlite", config=LIVE, **OUTBOX)
        account(site, "alice")
        account(site, "pending", verified=False)
        if each is ask and number:
            assert ask(site).status_code == 200
            finish(site)
        with statements(site, here=True) as taken:
            assert each(site).status_code in (200, 201)
        finish(site)
        found.append(taken)
    assert found[0]
    assert all(each == found[0] for each in found[1:])


def test_sending_takes_four_statements_for_each_mail(
    new_site: NewSite, database: str, clock: Clock
) -> None:
    site = new_site(database, **OUTBOX)
    with broken_mail(site):
        for name in ("alice", "bob"):
            site.register(name)
    clock.advance(60)
    with statements(site, here=True) as taken:
        assert send_mail(site) == "Sent 2, failed 0."
    find, take, read_user, finished = "SELECT", "UPDATE", "SELECT", "UPDATE"
    none_left = purge = "SELECT"
    each = [find, take, read_user, finished]
    assert [one.split()[0] for one in taken] == [*each, *each, none_left, purge]
