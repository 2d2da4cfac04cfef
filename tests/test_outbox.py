"""The outbox: a mail is written with its cause, and leaves once that is committed, or later."""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from queue import Queue
from types import MappingProxyType
from typing import Any

import pytest
from flask_mail import Message, email_dispatched
from sqlalchemy import event, text

from flask_registration import ConfigurationError, OutboxMixin, mail_failed
from flask_registration.mail.composer import default_templates
from flask_registration.mail.dispatch import MAILS_PER_THREAD

from .conftest import Clock
from .flows.common import OTHER_PASSWORD, log_in, member, move
from .flows.test_mails import MAILS, mail_of
from .outboxes import LIVE, OUTBOX, TIMEOUT, NewSite, command, finish, letter, letters, send_mail
from .site import PASSWORD, Site, html_of, links_of, parameters
from .smtp import SMTPServer, no_server, silent_server, smtp_server
from .tables import each_row
from .test_dispatch import broken_commits, broken_mail, departures

pytestmark = pytest.mark.databases


@pytest.fixture
def site(new_site: NewSite, sqlite_url: str) -> Site:
    return new_site(sqlite_url, **OUTBOX)


@pytest.fixture
def live(new_site: NewSite, sqlite_url: str) -> Site:
    return new_site(sqlite_url, config=LIVE, MAIL_THREADS=1, **OUTBOX)


# Written with its cause


def test_a_mail_is_written_in_the_transaction_of_its_cause(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database, **OUTBOX)
    order: list[str] = []
    with site.app.app_context():
        engine = site.db.engine

    def execute(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        order.append(" ".join(statement.split()[:3]))

    def commit(connection: Any) -> None:
        order.append("commit")

    event.listen(engine, "before_cursor_execute", execute)
    event.listen(engine, "commit", commit)
    site.register("alice")
    assert order[1:4] == ["INSERT INTO users", "INSERT INTO outbox", "commit"]


def test_a_commit_that_fails_leaves_no_mail(database: str, new_site: NewSite) -> None:
    site = new_site(database, **OUTBOX)
    with (
        site.hears(mail_failed) as heard,
        broken_commits(site),
        pytest.raises(RuntimeError, match="the disk is full"),
    ):
        site.register("alice")
    assert (letters(site), site.users(), site.outbox, heard) == ([], [], [], [])
    assert send_mail(site) == "Sent 0, failed 0."
    assert site.register("alice").status_code == 201  # at once, with its mail
    assert len(site.outbox) == 1


def test_a_mail_that_cannot_be_written_undoes_its_cause(site: Site) -> None:
    with site.app.app_context():
        site.db.session.execute(text("DROP TABLE outbox"))
        site.db.session.commit()
    assert site.register("alice").status_code == 503
    assert site.users() == []


@each_row("name", ["alice", "unknown"], ids=["the limit", "an unknown account"])
def test_an_e_mail_that_is_dropped_is_a_row_like_any_other(name: str, site: Site) -> None:
    """Else the time of the response would reveal the account."""
    site.register("alice")
    assert site.post("resend-verification", {"login": name}).status_code == 200
    sent, dropped = letters(site)
    assert (sent.state, dropped.state, dropped.template) == ("sent", "dropped", "register")
    assert (dropped.user_id, dropped.content, dropped.due_at, dropped.tries) == ("", None, None, 1)
    assert dropped.finished_at is not None
    assert command(site, "status").output.endswith("waiting: 0\nsent: 1\ndead: 0\ndropped: 1\n")
    assert send_mail(site) == "Sent 0, failed 0."
    assert len(site.outbox) == 1


@each_row("name", ["alice", "unknown"], ids=["the limit", "an unknown account"])
def test_an_e_mail_that_is_dropped_is_queued_until_a_sender_takes_it(name: str, live: Site) -> None:
    with contents_of(live) as queued:
        live.register("alice")
        assert live.post("resend-verification", {"login": name}).status_code == 200
    finish(live)
    kept, dropped = (json.loads(content) for content in queued)
    assert kept.keys() == dropped.keys()
    assert (kept["user_id"], dropped["user_id"]) == ("1", None)
    assert [row.state for row in letters(live)] == ["sent", "dropped"]
    assert [message.recipients for message in live.outbox] == [["alice@example.com"]]


def test_dropped_e_mails_are_removed_when_they_are_old(site: Site, clock: Clock) -> None:
    site.post("resend-verification", {"login": "unknown"})
    clock.advance(7 * 86400 - 1)
    send_mail(site)
    assert letter(site).state == "dropped"
    clock.advance(1)
    send_mail(site)
    assert letters(site) == []


# No link before it is sent


@contextmanager
def contents_of(site: Site) -> Iterator[list[str]]:
    """Yield what is written into rows of the outbox within the block: all of their columns."""
    found: list[str] = []

    def look(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        if statement.startswith("INSERT INTO outbox"):
            values = parameters.values() if isinstance(parameters, dict) else parameters
            texts = [str(value) for value in values if value is not None]
            found.append(next(each for each in texts if each.startswith("{")))
            rows.append(" ".join(texts))

    rows: list[str] = []
    with site.app.app_context():
        engine = site.db.engine
    event.listen(engine, "before_cursor_execute", look)
    yield found
    event.remove(engine, "before_cursor_execute", look)
    for row in rows:
        assert_no_link(row)


def assert_no_link(text: str) -> None:
    """Check that a text has no part of a link."""
    assert not re.search(r"https?:|signature|timestamp|/accounts/|verification_url", text), text


#: The endpoint that a link leads to, and the rest of its request body.
OPENED: dict[str, tuple[str, dict[str, str]]] = {
    "register": ("verify-registration", {}),
    "register_again": ("reset-password", {"password": OTHER_PASSWORD}),
    "reset_password": ("reset-password", {"password": OTHER_PASSWORD}),
    "email_change_undone": ("reset-password", {"password": OTHER_PASSWORD}),
    "register_email": ("verify-email", {}),
    "email_changed": ("undo-email-change", {}),
}


@each_row("kind", MAILS)
def test_no_link_is_in_the_outbox_and_the_one_that_is_sent_is_valid(
    kind: str, new_site: NewSite
) -> None:
    site = new_site(**OUTBOX)
    with contents_of(site) as queued:
        mail = mail_of(site, kind)
    assert any(json.loads(each)["template"] == kind for each in queued)
    links = set(links_of(mail))
    assert bool(links) == (kind in OPENED)
    for link in links:
        signature = parameters(link)["signature"]
        assert not any(part in row for row in queued for part in signature.split("."))
        endpoint, rest = OPENED[kind]
        assert site.post(endpoint, {**parameters(link), **rest}).status_code == 200


def test_a_link_is_valid_for_its_whole_period_from_when_it_is_sent(
    new_site: NewSite, clock: Clock
) -> None:
    site = new_site(**OUTBOX)
    with broken_mail(site):
        site.register("alice")
    clock.advance(86400)
    site.outbox.clear()
    assert send_mail(site) == "Sent 1, failed 0."
    clock.advance(7 * 86400)
    assert site.verify().status_code == 200


# An account that changed while its e-mail was queued


def ask_reset(site: Site) -> Any:
    return site.post("send-reset-password-link", {"login": "alice"})


def ask_change(site: Site) -> Any:
    return site.post("register-email", {"email": "new@example.com"}, client=log_in(site))


def _delete(site: Site) -> None:
    with site.app.app_context():
        site.db.session.delete(site.db.session.get(site.User, site.user(username="alice").id))
        site.db.session.commit()


def _delete_and_use_the_id_again(site: Site) -> None:
    key = site.user(username="alice").id
    _delete(site)
    assert member(site, "mallory", id=key).id == key


def _new_address(site: Site) -> None:
    site.change(site.user(username="alice"), email="new@example.com")


def _new_stamp(site: Site) -> None:
    site.change(site.user(username="alice"), security_stamp=secrets.token_hex(16))


@each_row("ask", [ask_reset, ask_change], ids=["a reset", "an e-mail change"])
@each_row(
    "change",
    [_delete, _delete_and_use_the_id_again, _new_address, _new_stamp],
    ids=["deleted", "deleted and its id used again", "another address", "a new stamp"],
)
def test_an_e_mail_whose_account_has_changed_is_dropped(
    new_site: NewSite,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    ask: Callable[[Site], Any],
    change: Callable[[Site], None],
) -> None:
    """Its link would be valid for the account as it is now, in an earlier mailbox."""
    site = new_site(**OUTBOX)
    member(site)
    with broken_mail(site):
        assert ask(site).status_code == 200
    site.outbox.clear()
    caplog.clear()
    change(site)
    clock.advance(60)
    has_notice = ask is ask_change and change is not _delete  # it has no link
    with site.hears(mail_failed) as heard:
        assert send_mail(site) == f"Sent {int(has_notice)}, failed 0."
    row = letters(site)[-1]
    assert (row.state, row.content, row.error, row.due_at) == ("dropped", None, None, None)
    assert heard == []
    assert [links_of(site.read(number)) for number in range(len(site.outbox))] == [[]] * has_notice
    assert "could not be sent" not in caplog.text


def test_the_notice_of_an_e_mail_change_is_sent_whatever_happens_next(
    new_site: NewSite, clock: Clock
) -> None:
    """An attacker must not be able to end it, or its link, by another change."""
    site = new_site(MAIL_LIMITS=None, **OUTBOX)
    member(site)
    client = log_in(site)
    site.post("register-email", {"email": "new@example.com"}, client=client)
    with broken_mail(site):
        assert site.post("verify-email", site.link(), client=client).status_code == 200
        passwords = {"password": OTHER_PASSWORD, "password_confirm": OTHER_PASSWORD}
        body = {"old_password": PASSWORD, **passwords}
        assert site.post("change-password", body, client=client).status_code == 200
    site.outbox.clear()
    clock.advance(60)
    assert send_mail(site) == "Sent 2, failed 0."
    found = {mail["To"]: mail for mail in (site.read(0), site.read(1))}
    assert found.keys() == {"alice@example.com", "new@example.com"}
    undo = parameters(links_of(found["alice@example.com"])[0])
    assert site.post("undo-email-change", undo).status_code == 200
    assert site.user(username="alice").email == "alice@example.com"


def test_the_notice_of_an_e_mail_change_has_no_link_after_an_administrator_ended_all(
    new_site: NewSite, clock: Clock
) -> None:
    site = new_site(MAIL_LIMITS=None, **OUTBOX)
    member(site)
    client = log_in(site)
    site.post("register-email", {"email": "new@example.com"}, client=client)
    with broken_mail(site):
        assert site.post("verify-email", site.link(), client=client).status_code == 200
    _new_stamp(site)
    site.outbox.clear()
    clock.advance(60)
    assert send_mail(site) == "Sent 1, failed 0."
    mail = site.read()
    assert (mail["To"], links_of(mail)) == ("alice@example.com", [])


def _new_password(site: Site) -> None:
    ask_reset(site)
    link = {**site.link(), "password": OTHER_PASSWORD}
    assert site.post("reset-password", link).status_code == 200


@each_row("change", [_new_address, _new_stamp, _new_password])
def test_the_mail_about_an_undo_has_no_link_once_the_account_has_changed(
    new_site: NewSite, clock: Clock, change: Callable[[Site], None]
) -> None:
    """Its link would be valid for the account as it is now, in an earlier mailbox."""
    site = new_site(MAIL_LIMITS=None, **OUTBOX)
    member(site)
    undo = move(site, log_in(site), "new@example.com")
    with broken_mail(site):
        assert site.post("undo-email-change", undo).status_code == 200
    change(site)
    site.outbox.clear()
    clock.advance(60)
    send_mail(site)
    found = {mail["To"]: mail for mail in map(site.read, range(len(site.outbox)))}
    assert links_of(found["alice@example.com"]) == []


# The language


def test_an_e_mail_is_in_the_language_of_the_request_that_caused_it(
    new_site: NewSite, clock: Clock
) -> None:
    site = new_site(**OUTBOX)
    with broken_mail(site):
        for name, language in (("alice", "de"), ("bob", "fr"), ("carol", "en")):
            body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
            body["password_confirm"] = PASSWORD
            response = site.post("register", body, headers={"Accept-Language": language})
            assert response.status_code == 201
    site.outbox.clear()
    clock.advance(60)
    assert send_mail(site) == "Sent 3, failed 0."
    mails = [site.read(number) for number in range(3)]
    languages = {mail["To"]: html_of(mail).partition('<html lang="')[2][:2] for mail in mails}
    assert languages == {
        "alice@example.com": "de",
        "bob@example.com": "fr",
        "carol@example.com": "en",
    }


def test_the_templates_are_those_that_were_chosen_in_the_request(
    new_site: NewSite, clock: Clock, tmp_path: Path
) -> None:
    (tmp_path / "shop.txt").write_text("Shop: {{ verification_url }}")

    def select(*, request: Any, **_: Any) -> Any:
        return {"subject": "shop.txt", "body": "shop.txt"} if request.headers["X-Shop"] else None

    site = new_site(template_folder=str(tmp_path), VERIFICATION_TEMPLATES_SELECTOR=select, **OUTBOX)
    member(site)
    with broken_mail(site):
        body = {"login": "alice"}
        site.post("send-reset-password-link", body, headers={"X-Shop": "7"})
    site.outbox.clear()
    clock.advance(60)
    assert send_mail(site) == "Sent 1, failed 0."
    assert site.read()["Subject"].startswith("Shop: https://example.com/reset-password/?")


# Sent


def test_with_testing_a_mail_leaves_within_the_request(site: Site) -> None:
    with departures(site) as queue:
        site.register("alice")
    assert queue.get_nowait() == (threading.current_thread().name, True, "alice@example.com")
    assert site.verify().status_code == 200


def test_what_a_mail_said_is_forgotten_as_soon_as_it_was_sent(site: Site, clock: Clock) -> None:
    with broken_mail(site):
        site.register("alice")
    waiting = letter(site)
    assert (waiting.state, waiting.recipient, waiting.template) == (
        "waiting",
        "alice@example.com",
        "register",
    )
    assert json.loads(waiting.content)["template"] == "register"
    assert_no_link(waiting.content)
    clock.advance(60)
    send_mail(site)
    sent = letter(site)
    assert (sent.state, sent.content, sent.error, sent.due_at) == ("sent", None, None, None)
    assert sent.user_id == str(site.user(username="alice").id)


def test_without_testing_a_mail_leaves_by_a_thread_after_the_commit(live: Site) -> None:
    replied = threading.Event()

    def wait(app: Any, **_: Any) -> None:
        assert replied.wait(TIMEOUT)

    with email_dispatched.connected_to(wait, live.app), departures(live) as queue:
        assert live.register("alice").status_code == 201
        assert letter(live).state == "waiting"
        replied.set()
        thread, in_request, to = queue.get(timeout=TIMEOUT)
    assert thread.startswith("registration-mail")
    assert (in_request, to) == (False, "alice@example.com")
    finish(live)
    assert letter(live).state == "sent"


def test_a_mail_that_finds_no_room_in_the_pool_leaves_with_a_later_one(live: Site) -> None:
    go, left = threading.Event(), Queue[str]()

    def hold(app: Any, *, message: Message, **_: Any) -> None:
        assert go.wait(TIMEOUT)
        left.put(str(message.recipients[0]))

    with email_dispatched.connected_to(hold, live.app):
        for number in range(MAILS_PER_THREAD + 1):
            assert live.register(f"alice{number}").status_code == 201
        go.set()
        expected = {f"alice{number}@example.com" for number in range(MAILS_PER_THREAD + 1)}
        assert {left.get(timeout=TIMEOUT) for _ in range(MAILS_PER_THREAD + 1)} == expected
    assert left.empty()


def test_a_thread_that_cannot_reach_the_database_says_so_and_the_mail_stays(
    live: Site, caplog: pytest.LogCaptureFixture
) -> None:
    told = threading.Event()

    def fail(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.startswith("UPDATE outbox"):
            told.set()
            raise RuntimeError("the database's own trouble")

    with live.app.app_context():
        engine = live.db.engine
    event.listen(engine, "before_cursor_execute", fail)
    assert live.register("alice").status_code == 201
    assert told.wait(TIMEOUT)
    finish(live)
    event.remove(engine, "before_cursor_execute", fail)
    assert "The outbox could not be processed; its e-mails stay queued." in caplog.text
    assert letter(live).state == "waiting"
    assert send_mail(live) == "Sent 1, failed 0."


def test_a_mail_that_an_application_sends_by_itself_is_not_kept(new_site: NewSite) -> None:
    sent: list[str] = []

    def by_pigeon(request: Any, user: Any, *, verification_url: str, **_: Any) -> None:
        sent.append(verification_url)
        if len(sent) == 2:
            raise OSError("the pigeon's own trouble")

    site = new_site(REGISTER_VERIFICATION_EMAIL_SENDER=by_pigeon, **OUTBOX)
    with site.hears(mail_failed) as heard:
        site.register("alice")
        site.register("bob")
    assert (len(sent), letters(site)) == (2, [])
    assert [(each["user"].username, str(each["error"])) for each in heard] == [
        ("bob", "the pigeon's own trouble")
    ]


def in_transaction(site: Site) -> list[str]:
    """What connections of others to this database have a transaction open."""
    with site.app.app_context(), site.db.engine.connect() as connection:
        statement = (
            "SELECT query FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
        )
        return list(connection.execute(text(statement)).scalars())


@each_row("testing", [True, False], ids=["within the request", "by a thread"])
def test_no_transaction_is_open_while_a_mail_leaves(
    new_site: NewSite, postgresql_url: str, testing: bool, clock: Clock
) -> None:
    seen: Queue[list[str]] = Queue()
    sites: list[Site] = []

    def look(delivery: Any) -> str:
        seen.put(in_transaction(sites[0]))
        return "250 OK"

    with smtp_server(answer=look) as server:
        sites.append(
            site := new_site(postgresql_url, config=server.config(TESTING=testing), **OUTBOX)
        )
        site.register("alice")
        assert seen.get(timeout=TIMEOUT) == []
        with no_server() as nobody:
            site.app.extensions["mail"].port = nobody.port
            site.register("bob")
            if not testing:
                finish(site)
        site.app.extensions["mail"].port = server.port
        clock.advance(60)
        assert send_mail(site) == "Sent 1, failed 0."
        assert seen.get(timeout=TIMEOUT) == []


# Tried again


@contextmanager
def refusing(code: str) -> Iterator[SMTPServer]:
    with smtp_server(refusal=f"{code} no") as server:
        yield server


@contextmanager
def rejecting(code: str) -> Iterator[SMTPServer]:
    with smtp_server(answer=lambda delivery: f"{code} no") as server:
        yield server


@contextmanager
def slow_server() -> Iterator[SMTPServer]:
    done = threading.Event()

    def wait(delivery: Any) -> str:
        done.wait(TIMEOUT)
        return "451 too late"

    with smtp_server(answer=wait) as server:
        try:
            yield server
        finally:
            done.set()


@each_row(
    ("trouble", "error"),
    [
        pytest.param(no_server, "ConnectionRefusedError", id="is down"),
        pytest.param(silent_server, "SMTPServerDisconnected", id="is silent"),
        pytest.param(slow_server, "SMTPServerDisconnected", id="is slow"),
        pytest.param(lambda: refusing("421"), "SMTPRecipientsRefused 421", id="hangs up"),
        pytest.param(lambda: refusing("450"), "SMTPRecipientsRefused 450", id="greylists"),
        pytest.param(lambda: refusing("530"), "SMTPRecipientsRefused 530", id="asks for a login"),
        pytest.param(lambda: rejecting("451"), "SMTPDataError 451", id="has trouble of its own"),
        pytest.param(lambda: rejecting("552"), "SMTPDataError 552", id="has no space left"),
    ],
)
def test_no_mail_is_lost_while_the_mail_server(
    trouble: Callable[[], Any],
    error: str,
    new_site: NewSite,
    sqlite_url: str,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with trouble() as server:
        site = new_site(
            sqlite_url, config=server.config(), MAIL_TIMEOUT=0.2, OUTBOX_LEASE=60, **OUTBOX
        )
        with site.hears(mail_failed) as heard:
            assert site.register("alice").status_code == 201
        row = letter(site)
        assert (row.state, row.tries, row.error, heard) == ("waiting", 1, error, [])
        assert "An e-mail (register) could not be sent at try 1; the next try is in" in caplog.text
        assert "alice@example.com" not in caplog.text
        assert send_mail(site) == "Sent 0, failed 0.", "too early"
        clock.advance(60)
        assert send_mail(site) == "Sent 0, failed 1."
        assert server.deliveries == []
    with smtp_server() as server:
        site.app.extensions["mail"].port = server.port
        clock.advance(120)
        assert send_mail(site) == "Sent 1, failed 0."
        (delivery,) = server.deliveries
        assert (delivery.recipients, delivery.mail["Message-ID"]) == (
            ["alice@example.com"],
            row.message_id,
        )
        assert send_mail(site) == "Sent 0, failed 0."


def test_a_mail_whose_acceptance_is_not_heard_of_leaves_again_as_the_same(
    new_site: NewSite, sqlite_url: str, clock: Clock
) -> None:
    answers = iter([None, "250 OK"])
    with smtp_server(answer=lambda delivery: next(answers)) as server:
        site = new_site(sqlite_url, config=server.config(), **OUTBOX)
        site.register("alice")
        clock.advance(60)
        assert send_mail(site) == "Sent 1, failed 0."
        first, second = (delivery.mail for delivery in server.deliveries)
    for header in ("Message-ID", "Date", "Subject", "To"):
        assert first[header] == second[header]
    assert first["Message-ID"]


def test_the_delays_grow_to_a_bound(site: Site, clock: Clock) -> None:
    delays = []
    with broken_mail(site):
        site.register("alice")
        for _ in range(8):
            delays.append(due_in(site, clock))
            clock.advance(delays[-1])
            send_mail(site)
    for seconds, full in zip(delays, [60, 120, 240, 480, 960, 1800, 1800, 1800], strict=True):
        assert 0.75 * full <= seconds <= full
    assert (
        len(
            {
                seconds / full
                for seconds, full in zip(delays, [60, 120, 240, 480, 960], strict=False)
            }
        )
        > 1
    )


def due_in(site: Site, clock: Clock) -> float:
    """Seconds until the one mail may be tried again."""
    return float(letter(site).due_at.replace(tzinfo=UTC).timestamp()) - clock.now


# Given up


def test_a_mail_is_given_up_after_so_many_tries_and_that_is_announced_once(
    new_site: NewSite, sqlite_url: str, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    site = new_site(sqlite_url, MAIL_TRIES=3, **OUTBOX)
    with broken_mail(site), site.hears(mail_failed) as heard:
        site.register("alice")
        for _ in range(4):
            assert heard == [] or len(heard) == 1
            clock.advance(3600)
            send_mail(site)
    assert [(each["user"].username, each["template"], str(each["error"])) for each in heard] == [
        ("alice", "register", "the mail server's own trouble")
    ]
    row = letter(site)
    assert (row.state, row.tries, row.error, row.due_at) == ("dead", 3, "OSError", None)
    assert caplog.text.count("An e-mail (register) could not be sent.\n") == 1
    assert send_mail(site) == "Sent 0, failed 0."


@each_row("trouble", [refusing, rejecting], ids=["the recipient", "the mail"])
@each_row("code", ["550", "553", "554"])
def test_a_mail_is_given_up_at_once_where_the_server_refuses_for_good(
    new_site: NewSite, sqlite_url: str, trouble: Callable[[str], Any], code: str
) -> None:
    with trouble(code) as server:
        site = new_site(sqlite_url, config=server.config(), **OUTBOX)
        with site.hears(mail_failed) as heard:
            assert site.register("alice").status_code == 201
    assert [each["template"] for each in heard] == ["register"]
    row = letter(site)
    assert (row.state, row.tries, row.error.split()[1]) == ("dead", 1, code)


def test_a_mail_that_was_given_up_lets_the_next_one_through_at_once(
    new_site: NewSite, sqlite_url: str
) -> None:
    site = new_site(sqlite_url, MAIL_TRIES=1, **OUTBOX)
    with broken_mail(site):
        site.register("alice")
    site.outbox.clear()
    assert site.post("resend-verification", {"login": "alice"}).status_code == 200
    assert len(site.outbox) == 1


# What must be so at start-up


def test_an_outbox_without_a_table_is_refused(new_site: NewSite) -> None:
    with pytest.raises(
        ConfigurationError,
        match=r'(?s)REGISTRATION_MAIL_DISPATCHER is "outbox".*add Outbox to the list models',
    ):
        new_site(MAIL_DISPATCHER="outbox")


def test_an_outbox_in_another_database_is_refused(new_site: NewSite) -> None:
    def elsewhere(db: Any) -> type[Any]:
        attributes = {"__tablename__": "outbox", "__bind_key__": "mails"}
        return type("Outbox", (OutboxMixin, db.Model), attributes)

    with pytest.raises(
        ConfigurationError, match=r"Outbox.__bind_key__ is 'mails', and the one of User is None"
    ):
        new_site(outbox_model=elsewhere, config={"SQLALCHEMY_BINDS": {"mails": "sqlite://"}})


@each_row(
    ("settings", "problem"),
    [
        ({"MAIL_TRIES": 0}, "REGISTRATION_MAIL_TRIES is 0"),
        (
            {"OUTBOX_LEASE": 10},
            "REGISTRATION_OUTBOX_LEASE must be longer than REGISTRATION_MAIL_TIMEOUT",
        ),
    ],
    ids=["no tries", "a lease that is too short"],
)
def test_it_is_refused_to_have(settings: dict[str, Any], problem: str, new_site: NewSite) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        new_site(**settings)


def test_templates_may_be_any_mapping(new_site: NewSite) -> None:
    names = MappingProxyType(default_templates("register"))
    site = new_site(**OUTBOX, REGISTER_VERIFICATION_EMAIL_TEMPLATES=names)
    assert site.register("alice").status_code == 201
    assert len(site.outbox) == 1


def test_a_notice_does_not_reach_the_mailbox_of_an_earlier_account_with_the_same_id(
    new_site: NewSite, clock: Clock
) -> None:
    """[L9]"""
    site = new_site(**OUTBOX)
    member(site, "alice", id=7)
    client = log_in(site, "alice")
    new = {"password": OTHER_PASSWORD, "password_confirm": OTHER_PASSWORD}
    with broken_mail(site):
        reply = client.post("/accounts/change-password/", json={"old_password": PASSWORD, **new})
        assert reply.status_code == 200
    reply = client.delete("/accounts/profile/", json={"password": OTHER_PASSWORD})
    assert reply.status_code == 204
    clock.advance(3600)
    member(site, "bob", id=7)
    site.outbox.clear()
    send_mail(site)
    assert [mail.recipients for mail in site.outbox] == []
    found = {letter.template: letter.state for letter in letters(site)}
    assert found == {"password_changed": "dropped", "account_deleted": "sent"}
