"""Whatever the database refuses, at whichever of its steps: a 503, and nothing half done."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
from werkzeug.test import TestResponse

from flask_registration import DEFAULT_FLOWS
from flask_registration.flows import verification_redirects
from flask_registration.testing.uniform import mail_after

from ..conftest import Clock
from ..flows.common import (
    OTHER_PASSWORD,
    NewSite,
    ask_reset,
    forget_mails,
    has_password,
    is_in,
    log_in,
    member,
)
from ..outboxes import OUTBOX, letters, send_mail
from ..people import NOT_AUTHENTICATED
from ..site import PASSWORD, Site
from ..tables import each_row
from .brokers import by_celery_in_memory
from .database import Failure, Faults, deadlock, gone, lost, out_of_order, serialization
from .requests import MAILED, NOTHING, REQUESTS, SETTINGS, effects, prepare, session_of

pytestmark = pytest.mark.databases

UNAVAILABLE = {
    "detail": "The service is temporarily unavailable. Please try again in a few seconds.",
    "code": "database-unavailable",
}

each_request = each_row("what", REQUESTS)

each_request_with_a_mail = each_row("what", MAILED)

#: Those of them that a user makes who is logged in.
LOGGED_IN = ["change-password", "register-email", "verify-email"]

#: Those that send two.
WITH_TWO_MAILS = ["register-email", "undo-email-change"]

#: One that nobody is logged in for, one that ends sessions and begins another, one that only reads.
some_requests = each_row("what", ["register", "change-password", "read the profile"])


def fail_at_every_step(
    site: Site, what: str, failure: Failure, *, mail_may_leave: bool = False
) -> int:
    """Fail each step of a request in turn, each of which must be a 503; then let it be; how many
    steps there were."""
    request = prepare(site, what, "alice")
    session = session_of(site, request.client)
    faults = Faults(site, failure)
    for number in range(1, 100):
        with effects(site) as watched, mail_after(site.app):
            faults.arm(number)
            reply, browser = request.ask()
            faults.disarm()
        if not faults.hits:
            assert reply.status_code in (200, 201, 204), reply.get_json()
            return number - 1
        check_refusal(reply)
        rows, signals, mails = watched.seen()
        if mail_may_leave:  # all of them before the commit, and each before the next one
            possible = 2 if what in WITH_TWO_MAILS else 1
            assert len(mails) <= (possible if faults.hits == ["COMMIT"] else possible - 1)
            mails = []
        assert (rows, signals, mails) == NOTHING, faults.hits
        assert session_of(site, browser) == session
        site.outbox.clear()
    raise AssertionError("a request that does not come to an end")


def check_refusal(reply: TestResponse) -> None:
    assert (reply.status_code, reply.get_json()) == (503, UNAVAILABLE)
    assert int(reply.headers["Retry-After"]) > 0


@each_request
def test_at_every_step_a_lost_database_is_a_503_that_leaves_nothing_behind(
    what: str, database: str, new_site: NewSite
) -> None:
    assert fail_at_every_step(new_site(database, **SETTINGS), what, lost) >= 2


@some_requests
@each_row("failure", [gone, out_of_order], ids=lambda failure: failure.__name__)
def test_so_is_whatever_else_a_driver_says_of_it(
    what: str, failure: Failure, server_database: str, new_site: NewSite
) -> None:
    assert fail_at_every_step(new_site(server_database, **SETTINGS), what, failure) >= 2


@each_request
def test_inline_it_is_so_too_but_for_a_mail_that_left_before_the_commit(
    what: str, sqlite_url: str, new_site: NewSite
) -> None:
    site = new_site(sqlite_url, MAIL_DISPATCHER="inline", **SETTINGS)
    assert fail_at_every_step(site, what, lost, mail_may_leave=True) >= 2


@each_request_with_a_mail
def test_with_celery_it_is_so_too_and_no_task_is_left_in_the_broker(
    what: str, sqlite_url: str, new_site: NewSite
) -> None:
    assert (
        fail_at_every_step(new_site(sqlite_url, **by_celery_in_memory(), **SETTINGS), what, lost)
        >= 2
    )


@each_request_with_a_mail
def test_a_database_that_is_lost_when_a_mail_is_rendered_is_a_mail_that_failed(
    what: str, database: str, new_site: NewSite
) -> None:
    site = new_site(database, **SETTINGS)
    request = prepare(site, what, "usual")
    with effects(site) as watched:
        undisturbed, _ = request.ask()
    rows, signals, mails = watched.seen()
    request = prepare(site, what, "alice")
    faults = Faults(site, lost)
    with effects(site) as watched:
        with mail_after(site.app):
            reply, _ = request.ask()
            faults.arm(1)
        faults.disarm()
    assert len(faults.hits) == 1
    assert faults.hits[0].startswith("SELECT users")
    assert reply.status_code == undisturbed.status_code
    assert watched.seen()[:2] == (rows, sorted([*signals, "mail-failed"]))
    left = watched.seen()[2]
    assert len(left) == len(mails) - 1
    assert set(left) < set(mails)


# The mail is a row of the same database


def fail_at_every_step_with_an_outbox(site: Site, what: str, clock: Clock) -> tuple[int, int, int]:
    """Fail each step of a request in turn, those of its mails among them; how many were before its
    commit, and after, and how many mails.

    Its mail is a row exactly where it was committed, and then leaves, whatever failed after that.
    """
    request = prepare(site, what, "undisturbed")
    with effects(site) as watched:
        undisturbed, _ = request.ask()
    usual = undisturbed.status_code, *watched.seen()
    assert watched.seen()[0]["outbox"] == len(site.outbox) >= 1
    request, refused = prepare(site, what, "user0"), 0
    session = session_of(site, request.client)
    faults = Faults(site, lost)
    for number in range(1, 100):
        with effects(site) as watched:
            faults.arm(number)
            reply, browser = request.ask()
            faults.disarm()
        if reply.status_code == 503:
            check_refusal(reply)
            assert watched.seen() == NOTHING, faults.hits
            assert session_of(site, browser) == session
            refused += 1
            continue
        rows, signals, _ = watched.seen()
        assert (reply.status_code, rows, signals) == usual[:3], faults.hits
        if not faults.hits:
            return refused, number - 1 - refused, len(usual[3])
        clock.advance(300)  # until the lease of who began to send it is over
        send_mail(site)
        assert {letter.state for letter in letters(site)} == {"sent"}
        assert sorted({str(mail.subject) for mail in site.outbox}) == usual[3]
        assert len({mail.msgId for mail in site.outbox}) == len(usual[3]) <= len(site.outbox)
        request = prepare(site, what, f"user{number}")
        session = session_of(site, request.client)
    raise AssertionError("a request that does not come to an end")


def check_every_step_with_an_outbox(site: Site, what: str, clock: Clock) -> None:
    before, after, mails = fail_at_every_step_with_an_outbox(site, what, clock)
    assert before >= 3
    # For each: take the mail, read its user, write that it was sent; two commits. In a request,
    # Flask-Login offers the templates the current user: a login and a user.
    assert after == mails * (7 if what in LOGGED_IN else 5)


@each_request_with_a_mail
def test_with_an_outbox_a_mail_is_a_row_exactly_where_its_cause_was_committed_and_then_it_leaves(
    what: str, sqlite_url: str, new_site: NewSite, clock: Clock
) -> None:
    check_every_step_with_an_outbox(new_site(sqlite_url, **OUTBOX, **SETTINGS), what, clock)


@each_row("what", ["register", "undo-email-change"])
def test_so_it_is_on_a_server(
    what: str, server_database: str, new_site: NewSite, clock: Clock
) -> None:
    check_every_step_with_an_outbox(new_site(server_database, **OUTBOX, **SETTINGS), what, clock)


# The database gives way to another transaction


def give_way_at_every_step(site: Site, what: str, failure: Failure, *, sends: bool = False) -> int:
    """Give way at each step of a request in turn, once to three times, of which nobody may notice;
    how many steps."""
    request = prepare(site, what, "undisturbed")
    with effects(site) as watched:
        undisturbed, _ = request.ask()
    usual = undisturbed.status_code, watched.seen()
    faults = Faults(site, failure)
    for number in range(1, 100):
        request = prepare(site, what, f"user{number}")
        with effects(site) as watched, nullcontext() if sends else mail_after(site.app):
            faults.arm(number, times=1 + number % 3)
            reply, _ = request.ask()
            faults.disarm()
        if sends and letters(site)[-1].error:  # the user of the mail could not be read
            assert reply.status_code == usual[0]
            assert faults.hits[0].startswith("SELECT users")
            assert letters(site)[-1].state == "waiting"
            continue
        assert (reply.status_code, watched.seen()) == usual, faults.hits
        if not faults.hits:
            return number - 1
    raise AssertionError("a request that does not come to an end")


@each_request
def test_a_transaction_that_gives_way_at_any_step_is_done_again_as_a_whole(
    what: str, postgresql_url: str, new_site: NewSite
) -> None:
    assert give_way_at_every_step(new_site(postgresql_url, **SETTINGS), what, serialization) >= 2


@some_requests
def test_so_it_is_in_the_words_of_mariadb(what: str, mariadb_url: str, new_site: NewSite) -> None:
    assert give_way_at_every_step(new_site(mariadb_url, **SETTINGS), what, serialization) >= 2


@each_row("what", ["register", "reset-password"])
def test_so_is_one_with_an_outbox_and_the_sending_of_its_mail(
    what: str, server_database: str, new_site: NewSite
) -> None:
    assert (
        give_way_at_every_step(
            new_site(server_database, **OUTBOX, **SETTINGS), what, serialization, sends=True
        )
        >= 7
    )


@some_requests
def test_so_is_one_that_waited_in_vain(what: str, server_database: str, new_site: NewSite) -> None:
    assert give_way_at_every_step(new_site(server_database, **SETTINGS), what, deadlock) >= 2


@some_requests
def test_one_that_always_gives_way_is_done_four_times_and_leaves_nothing_behind(
    what: str, server_database: str, new_site: NewSite
) -> None:
    site = new_site(server_database, **SETTINGS)
    request = prepare(site, what, "alice")
    session = session_of(site, request.client)
    faults = Faults(site, serialization)
    with effects(site) as watched:
        faults.arm(1, times=100)
        reply, browser = request.ask()
        faults.disarm()
    check_refusal(reply)
    assert len(faults.hits) == 4
    assert watched.seen() == NOTHING
    assert session_of(site, browser) == session
    assert request.ask()[0].status_code in (200, 201, 204)


def test_inline_a_commit_that_gives_way_is_not_done_again_once_the_mail_has_left(
    server_database: str, new_site: NewSite
) -> None:
    site = new_site(server_database, MAIL_DISPATCHER="inline")
    faults = Faults(site, serialization)
    faults.arm(4)  # after SELECT, INSERT and the SELECT of the mail
    reply = site.register("alice")
    assert faults.hits == ["COMMIT"]
    check_refusal(reply)
    assert (site.users(), len(site.outbox)) == ([], 1)
    dead_link = site.link()
    forget_mails(site)
    assert site.register("alice").status_code == 201
    assert site.verify(dead_link).status_code == 400
    assert site.verify().status_code == 200


@each_row("sessions", [{}, {"login_model": SETTINGS["login_model"]}], ids=["signed", "as rows"])
def test_a_session_that_ended_meanwhile_is_not_recognised_when_its_request_is_done_again(
    sessions: Any, server_database: str, new_site: NewSite
) -> None:
    site = new_site(server_database, **sessions)
    alice = member(site)
    thief = log_in(site)

    def end_all_sessions(connection: Any) -> None:
        site.change(alice, security_stamp="0" * 32)
        serialization(connection)

    faults = Faults(site, end_all_sessions)
    faults.arm(2 if not sessions else 3)
    reply = thief.patch("/accounts/profile/", json={"first_name": "Mallory"})
    assert (reply.status_code, reply.get_json()) == (401, NOT_AUTHENTICATED)
    assert len(faults.hits) == 1
    assert faults.hits[0].startswith("UPDATE users")
    assert site.user(username="alice").first_name == ""
    assert not is_in(thief)


def test_behind_a_page_of_ours_a_failing_database_is_a_503_page(
    new_site: NewSite, sqlite_url: str
) -> None:
    site = new_site(sqlite_url, flows=[*DEFAULT_FLOWS, verification_redirects.flow])
    member(site)
    form = {**ask_reset(site), "password": OTHER_PASSWORD, "password_confirm": OTHER_PASSWORD}
    faults = Faults(site, lost)
    for number in range(1, 100):
        with mail_after(site.app):
            faults.arm(number)
            reply = site.app.test_client().post("/accounts/reset-password/confirm/", data=form)
            faults.disarm()
        if not faults.hits:
            break
        assert (reply.status_code, reply.mimetype) == (503, "text/html")
        assert int(reply.headers["Retry-After"]) > 0
        assert UNAVAILABLE["detail"] in reply.get_data(as_text=True)
        assert has_password(site, PASSWORD)
    assert number > 2
    assert reply.status_code == 200
    assert has_password(site, OTHER_PASSWORD)
