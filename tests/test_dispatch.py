"""How e-mails are sent: in the background, inline, or by the application's own callable."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from flask import Flask, has_request_context, request
from flask_mail import Message, email_dispatched
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError, OperationalError
from werkzeug.test import EnvironBuilder

from flask_registration import UserMixin, mail_failed, user_activated, user_registered
from flask_registration.mail.dispatch import MAILS_PER_THREAD

from .conftest import Clock
from .site import PASSWORD, Site, define, text_of, whole
from .smtp import no_server, smtp_server
from .tables import each_row

NewSite = Callable[..., Site]

#: What an application looks like that is not being tested, but sends no mail.
LIVE = {"TESTING": False, "MAIL_SUPPRESS_SEND": True}
TIMEOUT = 30


def trouble_sending(*_: Any, **__: Any) -> None:
    raise OSError("the mail server's own trouble")


@contextmanager
def broken_mail(site: Site) -> Iterator[None]:
    """Let every e-mail fail within the block: the receiver of Flask-Mail's signal raises."""
    with email_dispatched.connected_to(trouble_sending, site.app):
        yield


@contextmanager
def broken_commits(site: Site) -> Iterator[None]:
    """Within the block no transaction can be committed."""

    def fail(session: Any) -> None:
        raise RuntimeError("the disk is full")

    event.listen(site.db.session, "before_commit", fail)
    try:
        yield
    finally:
        event.remove(site.db.session, "before_commit", fail)


# Background


@pytest.fixture
def live(new_site: NewSite, sqlite_url: str) -> Site:
    return new_site(sqlite_url, config=LIVE, MAIL_THREADS=1)


@contextmanager
def departures(site: Site) -> Iterator[Queue[tuple[str, bool, str]]]:
    """Yield the thread of each e-mail, whether it has a request context, and the recipient."""
    queue: Queue[tuple[str, bool, str]] = Queue()

    def depart(app: Any, *, message: Message, **_: Any) -> None:
        queue.put(
            (threading.current_thread().name, has_request_context(), str(message.recipients[0]))
        )

    with email_dispatched.connected_to(depart, site.app):
        yield queue


def test_with_testing_a_mail_leaves_within_the_request(site: Site) -> None:
    with departures(site) as queue:
        site.register("alice")
    assert queue.get_nowait() == (threading.current_thread().name, True, "alice@example.com")


def test_a_user_whose_model_has_a_length_receives_e_mails(new_site: NewSite) -> None:
    """An instance without orders, for example, is false, and an account all the same."""
    site = new_site(define=define(UserMixin, __len__=lambda user: 0))
    site.register("alice")
    assert site.post("verify-registration", site.link()).status_code == 200
    assert site.post("send-reset-password-link", {"login": "alice"}).status_code == 200
    assert len(site.outbox) == 2


def test_without_testing_a_mail_leaves_by_a_thread_after_the_commit(live: Site) -> None:
    committed: Queue[list[str]] = Queue()

    def look(app: Any, **_: Any) -> None:
        committed.put([user.username for user in live.users()])

    with email_dispatched.connected_to(look, live.app), departures(live) as queue:
        assert live.register("alice").status_code == 201
        thread, in_request, to = queue.get(timeout=TIMEOUT)
        assert committed.get(timeout=TIMEOUT) == ["alice"]
    assert thread.startswith("registration-mail")
    assert (in_request, to) == (True, "alice@example.com")


def test_the_reply_does_not_wait_for_the_mail(live: Site) -> None:
    replied = threading.Event()
    waited: Queue[bool] = Queue()

    def wait(app: Any, **_: Any) -> None:
        waited.put(replied.wait(TIMEOUT))

    with email_dispatched.connected_to(wait, live.app):
        assert live.register("alice").status_code == 201
        replied.set()
        assert waited.get(timeout=TIMEOUT)


def test_the_link_of_a_mail_that_left_by_a_thread_verifies(live: Site) -> None:
    with departures(live) as queue:
        live.register("alice")
        queue.get(timeout=TIMEOUT)
    assert live.verify().status_code == 200


def test_a_mail_is_handed_over_when_the_reply_has_gone(live: Site) -> None:
    body = {
        "username": "alice",
        "email": "alice@example.com",
        "password": PASSWORD,
        "password_confirm": PASSWORD,
    }
    environ = EnvironBuilder(path="/accounts/register/", method="POST", json=body).get_environ()
    with departures(live) as queue:
        reply: Any = live.app(environ, lambda status, headers, error=None: lambda data: None)
        assert json.loads(b"".join(reply))["username"] == "alice"
        time.sleep(0.1)
        assert queue.empty()
        reply.close()  # as the server does after the last byte (PEP 3333)
        assert queue.get(timeout=TIMEOUT)[2] == "alice@example.com"


def test_a_reply_that_the_application_replaces_costs_no_mail(live: Site) -> None:
    @live.app.after_request
    def replace(response: Any) -> Any:
        return live.app.response_class("something else", status=201)

    with departures(live) as queue:
        assert live.register("alice").get_data() == b"something else"
        assert queue.get(timeout=TIMEOUT)[2] == "alice@example.com"


def test_a_full_pool_makes_no_request_send_and_has_room_again_later(live: Site) -> None:
    """The e-mail that has no room is a failure, which the owner repairs by asking again."""
    go = threading.Event()
    failures: list[tuple[str, str, str]] = []

    def hold(app: Any, **_: Any) -> None:
        assert go.wait(TIMEOUT)

    def note(app: Any, *, user: Any, template: str, error: Exception, **_: Any) -> None:
        failures.append((user.username, template, type(error).__name__))

    with (
        email_dispatched.connected_to(hold, live.app),
        departures(live) as queue,
        mail_failed.connected_to(note, live.app),
    ):
        for number in range(MAILS_PER_THREAD):
            live.register(f"alice{number}")
        assert live.register("overflow").status_code == 201
        assert failures == [("overflow", "register", "Full")]
        live.post("resend-verification", {"login": "nobody"})
        assert len(failures) == 1, "an e-mail that nobody receives has failed"
        go.set()
        sent = [queue.get(timeout=TIMEOUT) for _ in range(MAILS_PER_THREAD)]
        assert {thread.rpartition("_")[0] for thread, _, _ in sent} == {"registration-mail"}
        assert "overflow@example.com" not in [to for _, _, to in sent]
        live.post("resend-verification", {"login": "overflow"})
        assert queue.get(timeout=TIMEOUT)[2] == "overflow@example.com"


def test_an_e_mail_of_an_earlier_pool_frees_no_place_of_the_new_one(
    live: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After a fork, two threads may start a pool at the same moment."""
    go = threading.Event()

    def hold(app: Any, **_: Any) -> None:
        assert go.wait(TIMEOUT)

    with email_dispatched.connected_to(hold, live.app), departures(live) as queue:
        live.register("alice")
        number = os.getpid()
        monkeypatch.setattr(os, "getpid", lambda: number + 1)
        live.register("bob")
        go.set()
        assert {queue.get(timeout=TIMEOUT)[2] for _ in range(2)} == {
            "alice@example.com",
            "bob@example.com",
        }
        live.register("carol")
        assert queue.get(timeout=TIMEOUT)[2] == "carol@example.com"
    assert "exception calling callback" not in caplog.text


def test_a_place_in_the_pool_is_given_back_after_a_failure_too(live: Site) -> None:
    told = threading.Semaphore(0)

    def tell(app: Any, **_: Any) -> None:
        told.release()

    with broken_mail(live), mail_failed.connected_to(tell, live.app):
        for number in range(MAILS_PER_THREAD + 1):
            live.register(f"alice{number}")
            assert told.acquire(timeout=TIMEOUT)
    with departures(live) as queue:
        live.register("bob")
        assert queue.get(timeout=TIMEOUT)[0].startswith("registration-mail")


def run(script: str, tmp_path: Any) -> list[str]:
    """The lines that a script prints which has an application of its own, ``site``."""
    start = f"""
        import os, sys, threading
        from flask_mail import email_dispatched
        from tests.site import make_site

        def depart(app, message, **kwargs):
            name = threading.current_thread().name.rpartition("_")[0]
            os.write(1, f"{{os.getpid()}} {{name}} {{message.recipients[0]}}\\n".encode())

        site = make_site("sqlite:///{tmp_path}/test.sqlite", config={LIVE!r})
        email_dispatched.connect(depart, site.app)
        os.write(1, f"{{os.getpid()}}\\n".encode())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(start) + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT * 2,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_mails_that_wait_leave_before_the_interpreter_ends(tmp_path: Any) -> None:
    script = """
        over = threading.Event()
        threading._register_atexit(over.set)  # comes before the draining, which came here first

        def hold(app, **kwargs):
            over.wait(30)

        email_dispatched.disconnect(depart, site.app)
        email_dispatched.connect(hold, site.app)
        email_dispatched.connect(depart, site.app)
        for number in range(10):
            assert site.register(f"alice{number}").status_code == 201
        os.write(1, b"over\\n")
    """
    pid, over, *mails = run(script, tmp_path)
    assert over == "over"
    assert sorted(mails) == [
        f"{pid} registration-mail alice{number}@example.com" for number in range(10)
    ]


def test_a_mail_from_the_very_end_of_the_interpreter_leaves_in_the_request(tmp_path: Any) -> None:
    script = """
        import atexit

        def register_late():
            assert site.register("late").status_code == 201

        site.register("early")
        atexit.register(register_late)
    """
    pid, *mails = run(script, tmp_path)
    assert sorted(mails) == [
        f"{pid}  late@example.com",
        f"{pid} registration-mail early@example.com",
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_worker_sends_by_threads_of_its_own(tmp_path: Any) -> None:
    script = """
        import warnings

        warnings.simplefilter("ignore", DeprecationWarning)  # fork() with threads
        sent = threading.Event()
        email_dispatched.connect(lambda *_, **__: sent.set(), site.app, weak=False)
        site.register("parent")
        assert sent.wait(20)  # a thread that renders holds locks, which the child would inherit
        with site.app.app_context():
            site.db.engine.dispose()
        child = os.fork()
        assert site.register("child" if child == 0 else "elder").status_code == 201
        if child:
            assert os.waitpid(child, 0)[1] == 0
    """
    pid, *mails = run(script, tmp_path)
    of = {line.split()[2]: line.split()[:2] for line in mails}
    assert set(of) == {"parent@example.com", "child@example.com", "elder@example.com"}
    assert {thread for _, thread in of.values()} == {"registration-mail"}
    assert of["parent@example.com"][0] == of["elder@example.com"][0] == pid
    assert of["child@example.com"][0] != pid


# A failure in the background


@each_row("testing", [True, False], ids=["within the request", "by a thread"])
def test_a_mail_that_fails_is_logged_and_announced_and_the_reply_stands(
    new_site: NewSite, sqlite_url: str, testing: bool, caplog: pytest.LogCaptureFixture
) -> None:
    site = new_site(sqlite_url, config={**LIVE, "TESTING": testing})
    told: Queue[dict[str, Any]] = Queue()

    def tell(app: Any, *, user: Any, **arguments: Any) -> None:
        path = arguments.pop("request").path  # within the context of the request
        told.put({"app": app, "user": user.username, "path": path, **arguments})

    with broken_mail(site), mail_failed.connected_to(tell, site.app):
        assert site.register("alice").status_code == 201
        failure = told.get(timeout=TIMEOUT)
    error = failure.pop("error")
    path = "/accounts/register/"
    assert failure == {"app": site.app, "user": "alice", "template": "register", "path": path}
    assert (type(error), str(error)) == (OSError, "the mail server's own trouble")
    assert "An e-mail (register) could not be sent." in caplog.text
    assert "the mail server's own trouble" in caplog.text
    user = site.user(username="alice")
    assert (user.is_active, user.is_verified) == (True, False)


@each_row("testing", [True, False], ids=["within the request", "by a thread"])
def test_an_account_whose_mail_failed_can_ask_again_at_once(
    new_site: NewSite, sqlite_url: str, testing: bool
) -> None:
    site = new_site(sqlite_url, config={**LIVE, "TESTING": testing})
    told = threading.Event()

    def tell(app: Any, **_: Any) -> None:
        told.set()

    with broken_mail(site), mail_failed.connected_to(tell, site.app):
        site.register("alice")
        assert told.wait(TIMEOUT)
    site.outbox.clear()
    with departures(site) as queue:
        assert site.post("resend-verification", {"login": "alice"}).status_code == 200
        queue.get(timeout=TIMEOUT)
    assert site.verify().status_code == 200


def test_a_failure_about_a_taken_address_is_announced_as_such(new_site: NewSite) -> None:
    site = new_site(MAIL_LIMITS=None)
    site.register("alice")
    site.verify()
    with broken_mail(site), site.hears(mail_failed) as heard:
        assert site.register("mallory", email="alice@example.com").status_code == 201
    assert [(each["user"].username, each["template"]) for each in heard] == [
        ("alice", "email_taken")
    ]


@each_row("dispatcher", ["background", "inline"])
def test_a_failing_mail_does_not_tell_a_taken_address_from_a_free_one(
    new_site: NewSite, dispatcher: str
) -> None:
    answers = []
    for owned in (True, False):
        site = new_site(MAIL_DISPATCHER=dispatcher, MAIL_LIMITS=None)
        if owned:
            site.register("owner")
        with broken_mail(site):
            answers.append(whole(site.register("stranger", email="owner@example.com")))
    assert answers[0] == answers[1]
    assert answers[0][0] == (
        "201 CREATED" if dispatcher == "background" else "503 SERVICE UNAVAILABLE"
    )


@each_row("dispatcher", ["background", "inline"])
def test_a_failing_mail_does_not_tell_a_pending_account_from_none(
    new_site: NewSite, dispatcher: str, clock: Clock
) -> None:
    site = new_site(MAIL_DISPATCHER=dispatcher)
    site.register("alice")
    clock.advance(60)
    with broken_mail(site), site.hears(mail_failed) as heard:
        site.assert_uniform_answers(
            nobody=lambda: site.post("resend-verification", {"login": "nobody"}),
            pending=lambda: site.post("resend-verification", {"login": "alice"}),
        )
    assert len(heard) == 1


def test_a_receiver_of_mail_failed_that_raises_changes_nothing(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    def object_to(app: Any, **_: Any) -> None:
        raise RuntimeError("the receiver's own trouble")

    with broken_mail(site), mail_failed.connected_to(object_to, site.app):
        assert site.register("alice").status_code == 201
    assert "the receiver's own trouble" in caplog.text


# A template or a hook that fails

#: What an application may provide that raises, as a setting; None for a template.
BROKEN: dict[str, str | None] = {
    "a template": None,
    "a context builder": "VERIFICATION_TEMPLATE_CONTEXT_BUILDER",
    "a renderer": "VERIFICATION_TEMPLATE_RENDERER",
    "a URL builder": "VERIFICATION_URL_BUILDER",
}


def with_broken(what: str, folder: Path) -> dict[str, Any]:
    """The options of an application whose verification e-mail cannot be rendered."""
    setting = BROKEN[what]
    if setting:
        return {setting: trouble_sending}
    template = folder / "registration" / "register"
    template.mkdir(parents=True, exist_ok=True)
    (template / "body.txt").write_text("{{ nothing.of.that }}")
    return {"template_folder": str(folder)}


@each_row("testing", [True, False], ids=["within the request", "by a thread"])
@each_row("what", BROKEN)
def test_what_cannot_be_rendered_is_a_mail_that_failed_and_reveals_no_account(
    new_site: NewSite,
    sqlite_url: str,
    tmp_path: Path,
    what: str,
    testing: bool,
    caplog: pytest.LogCaptureFixture,
    security_log: list[logging.LogRecord],
) -> None:
    broken = with_broken(what, tmp_path)
    site = new_site(sqlite_url, config={**LIVE, "TESTING": testing}, **broken)
    told: Queue[tuple[str, str, str]] = Queue()

    def tell(app: Any, *, user: Any, template: str, error: BaseException, **_: Any) -> None:
        told.put((user.username, template, type(error).__name__))

    caplog.clear()
    security_log.clear()
    failure = "OSError" if BROKEN[what] else "UndefinedError"
    with mail_failed.connected_to(tell, site.app):
        assert site.register("alice").status_code == 201
        assert told.get(timeout=TIMEOUT) == ("alice", "register", failure)
        pending = whole(site.post("resend-verification", {"login": "alice"}))  # at once
        assert told.get(timeout=TIMEOUT) == ("alice", "register", failure)
    unknown = whole(site.post("resend-verification", {"login": "unknown"}))
    assert pending == unknown
    assert pending[0] == "200 OK"
    assert caplog.text.count("An e-mail (register) could not be sent.") == 2
    failed = [record for record in security_log if "sys_mail_failed" in record.getMessage()]
    assert len(failed) == 2
    assert (site.outbox, site.user(username="alice").is_verified) == ([], False)


@each_row("what", BROKEN)
def test_inline_what_cannot_be_rendered_is_a_503_and_nothing_is_kept(
    new_site: NewSite, sqlite_url: str, tmp_path: Path, what: str
) -> None:
    site = new_site(sqlite_url, MAIL_DISPATCHER="inline", **with_broken(what, tmp_path))
    with site.hears(mail_failed, user_registered) as heard:
        response = site.register("alice")
    assert (response.status_code, response.get_json()["code"]) == (503, "mail-unavailable")
    assert (site.users(), site.outbox) == ([], [])
    assert [(each["signal"], each["template"]) for each in heard] == [("mail-failed", "register")]


def test_a_selector_that_fails_is_logged_and_reveals_no_account(
    new_site: NewSite, caplog: pytest.LogCaptureFixture
) -> None:
    site = new_site(VERIFICATION_TEMPLATES_SELECTOR=trouble_sending, MAIL_LIMITS=None)
    assert site.register("alice").status_code == 201
    pending = whole(site.post("resend-verification", {"login": "alice"}))
    assert pending == whole(site.post("resend-verification", {"login": "unknown"}))
    assert [str(mail.subject) for mail in site.outbox] == [
        "Confirm your e-mail address for example.com"
    ] * 2
    assert caplog.text.count("The templates of an e-mail could not be chosen.") == 2


# What a template can use


@each_row("testing", [True, False], ids=["within the request", "by a thread"])
def test_a_template_has_the_request_and_the_context_processors_of_the_application(
    new_site: NewSite, sqlite_url: str, tmp_path: Path, testing: bool
) -> None:
    template = tmp_path / "registration" / "register"
    template.mkdir(parents=True)
    (template / "body.txt").write_text(
        "{{ motto }} {{ request.path }} {{ request.headers['X-Shop'] }} {{ g.shop or 'no shop' }} "
        "{{ current_user.is_authenticated }} {{ session.get('cart') }}"
    )

    def prepare(app: Flask) -> None:
        @app.context_processor
        def add_motto() -> dict[str, str]:
            return {"motto": f"Ours at {request.host}"}

    site = new_site(
        sqlite_url,
        before=prepare,
        config={**LIVE, "TESTING": testing},
        template_folder=str(tmp_path),
    )
    client = site.app.test_client()
    with client.session_transaction() as session:
        session["cart"] = "full"
    with departures(site) as queue:
        body = {"username": "alice", "email": "alice@example.com"}
        passwords = {"password": PASSWORD, "password_confirm": PASSWORD}
        response = client.post(
            "/accounts/register/", json={**body, **passwords}, headers={"X-Shop": "7"}
        )
        assert response.status_code == 201
        response.close()
        queue.get(timeout=TIMEOUT)
    expected = "Ours at localhost /accounts/register/ 7 no shop False full"
    assert text_of(site.read()).strip() == expected


# Inline


@pytest.fixture
def inline(new_site: NewSite, sqlite_url: str) -> Site:
    return new_site(sqlite_url, MAIL_DISPATCHER="inline")


def test_inline_a_mail_leaves_before_the_commit(inline: Site) -> None:
    order: list[str] = []
    record_commits(inline, order)
    with recording(inline, order):
        assert inline.register("alice").status_code == 201
    assert order == ["mail", "commit", "user-registered"]
    assert inline.verify().status_code == 200


def test_inline_a_failure_is_a_503_and_nothing_is_kept(
    inline: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with broken_mail(inline), inline.hears(user_registered) as heard:
        reply = inline.register("alice")
    assert (reply.status_code, reply.headers["Retry-After"]) == (503, "60")
    assert reply.get_json() == {
        "detail": "The e-mail could not be sent. Nothing was changed. "
        "Please try again in a minute.",
        "code": "mail-unavailable",
    }
    assert (inline.users(), heard) == ([], [])
    assert "the mail server's own trouble" in caplog.text


def test_inline_a_failure_can_be_tried_again_at_once(inline: Site) -> None:
    with broken_mail(inline):
        assert inline.register("alice").status_code == 503
    inline.outbox.clear()
    assert inline.register("alice").status_code == 201
    assert len(inline.outbox) == 1
    assert inline.verify().status_code == 200


def test_inline_a_mail_that_the_application_sends_is_not_sent_again_by_a_retry(
    new_site: NewSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []

    def send(request: Any, user: Any, *, verification_url: str, **kwargs: Any) -> None:
        sent.append(verification_url)

    site = new_site(MAIL_DISPATCHER="inline", REGISTER_VERIFICATION_EMAIL_SENDER=send)
    busy = sqlite3.OperationalError("database is locked")
    vars(busy)["sqlite_errorcode"] = 517  # SQLITE_BUSY_SNAPSHOT

    def fail() -> None:
        raise OperationalError("COMMIT", {}, busy)

    monkeypatch.setattr(site.app.extensions["registration"].users, "commit", fail)
    assert site.register("alice").status_code == 503
    assert len(sent) == 1


@each_row(
    "error",
    [IntegrityError("INSERT", {}, Exception()), OperationalError("INSERT", {}, Exception())],
    ids=["a constraint", "a lost connection"],
)
def test_inline_a_database_error_of_the_applications_sender_reveals_no_account(
    new_site: NewSite, error: Exception
) -> None:
    def send(request: Any, user: Any, **kwargs: Any) -> None:
        raise error

    site = new_site(MAIL_DISPATCHER="inline", RESET_PASSWORD_VERIFICATION_EMAIL_SENDER=send)
    site.register("alice")
    site.verify()
    replies = [site.post("send-reset-password-link", {"login": name}) for name in ("alice", "bob")]
    assert [reply.status_code for reply in replies] == [200, 200]


def test_inline_mail_failed_is_sent_after_the_rollback(inline: Site) -> None:
    told: list[Any] = []

    def tell(app: Any, *, user: Any, template: str, error: BaseException, request: Any) -> None:
        told.append((user, template, str(error), request.path, inline.users()))

    with broken_mail(inline), mail_failed.connected_to(tell, inline.app):
        inline.register("alice")
    assert told == [(None, "register", "the mail server's own trouble", "/accounts/register/", [])]


def test_inline_a_server_that_is_down_is_a_503(new_site: NewSite) -> None:
    with no_server() as server:
        site = new_site(MAIL_DISPATCHER="inline", config=server.config())
        assert site.register("alice").status_code == 503
    assert site.users() == []
    with smtp_server() as server:
        site.app.extensions["mail"].port = server.port
        assert site.register("alice").status_code == 201
        assert len(server.deliveries) == 1


@each_row("database_name", ["postgresql_url", "mariadb_url"])
def test_inline_a_failure_keeps_nothing_on_a_server(
    new_site: NewSite, request: pytest.FixtureRequest, database_name: str
) -> None:
    site = new_site(request.getfixturevalue(database_name), MAIL_DISPATCHER="inline")
    with broken_mail(site):
        assert site.register("alice").status_code == 503
    assert site.users() == []
    assert site.register("alice").status_code == 201


# The application's own callable

handed_over: list[dict[str, Any]] = []


def hand_over(message: Message, *, send: Callable[[], None], **kwargs: Any) -> None:
    handed_over.append({"message": message, "send": send, **kwargs})


@each_row("spelled", [hand_over, f"{__name__}:hand_over"], ids=["an object", "an import string"])
def test_an_own_dispatcher_gets_the_message_and_what_it_is_about(
    new_site: NewSite, spelled: Any
) -> None:
    handed_over.clear()
    site = new_site(MAIL_DISPATCHER=spelled)
    assert site.register("alice").status_code == 201
    (given,) = handed_over
    assert isinstance(given["message"], Message)
    assert given["message"].recipients == ["alice@example.com"]
    assert (given["template"], given["user_id"]) == (
        "register",
        str(site.user(username="alice").id),
    )
    assert site.outbox == []
    with site.app.app_context():
        given["send"]()
    assert site.verify().status_code == 200


def test_an_own_dispatcher_may_send_through_the_server(new_site: NewSite) -> None:
    def at_once(message: Message, *, send: Callable[[], None], **kwargs: Any) -> None:
        send()

    with smtp_server() as server:
        site = new_site(MAIL_DISPATCHER=at_once, config=server.config())
        site.register("alice")
        assert [delivery.recipients for delivery in server.deliveries] == [["alice@example.com"]]


def test_an_own_dispatcher_is_called_after_the_commit(new_site: NewSite, sqlite_url: str) -> None:
    seen: list[list[str]] = []

    def look(message: Message, **kwargs: Any) -> None:
        seen.append([user.username for user in site.users()])

    site = new_site(sqlite_url, MAIL_DISPATCHER=look)
    site.register("alice")
    assert seen == [["alice"]]


def test_without_testing_an_own_dispatcher_is_called_after_the_response(
    new_site: NewSite, sqlite_url: str
) -> None:
    """Rendering takes time only for an account that exists."""
    called: list[tuple[str, str]] = []

    def look(message: Message, **kwargs: Any) -> None:
        called.append((str(message.recipients[0]), request.path))

    site = new_site(sqlite_url, MAIL_DISPATCHER=look, config=LIVE)
    body = {"username": "alice", "email": "alice@example.com"}
    passwords = {"password": PASSWORD, "password_confirm": PASSWORD}
    environ = EnvironBuilder(
        path="/accounts/register/", method="POST", json={**body, **passwords}
    ).get_environ()
    response: Any = site.app(environ, lambda status, headers, error=None: lambda data: None)
    assert json.loads(b"".join(response))["username"] == "alice"
    assert called == []
    response.close()
    assert called == [("alice@example.com", "/accounts/register/")]


def test_an_own_dispatcher_that_raises_is_a_mail_that_failed(
    new_site: NewSite, caplog: pytest.LogCaptureFixture
) -> None:
    site = new_site(MAIL_DISPATCHER=trouble_sending)
    with site.hears(mail_failed) as heard:
        assert site.register("alice").status_code == 201
        assert site.post("resend-verification", {"login": "alice"}).status_code == 200  # at once
    assert [(each["user"].username, each["template"], str(each["error"])) for each in heard] == [
        ("alice", "register", "the mail server's own trouble")
    ] * 2
    assert "the mail server's own trouble" in caplog.text


# Commit, then signal, then mail


def record_commits(site: Site, order: list[str]) -> None:
    with site.app.app_context():
        event.listen(site.db.engine, "commit", lambda connection: order.append("commit"))


@contextmanager
def recording(site: Site, order: list[str]) -> Iterator[None]:
    def registered(app: Any, **_: Any) -> None:
        order.append("user-registered")

    def activated(app: Any, **_: Any) -> None:
        order.append("user-activated")

    def mailed(app: Any, **_: Any) -> None:
        order.append("mail")

    with (
        user_registered.connected_to(registered, site.app),
        user_activated.connected_to(activated, site.app),
        email_dispatched.connected_to(mailed, site.app),
    ):
        yield


def test_the_order_is_commit_then_signal_then_mail(
    new_site: NewSite, sqlite_url: str, clock: Clock
) -> None:
    site = new_site(sqlite_url)
    order: list[str] = []
    record_commits(site, order)
    with recording(site, order):
        site.register("alice")
        assert order == ["commit", "user-registered", "mail"]
        order.clear()
        clock.advance(60)
        site.post("resend-verification", {"login": "alice"})
        assert order[-1] == "mail"
        order.clear()
        site.verify()
        assert order == ["commit", "user-activated"]


@pytest.mark.databases
@each_row("dispatcher", ["background", hand_over], ids=["background", "own"])
def test_a_commit_that_fails_sends_no_mail_and_no_signal_and_keeps_nothing(
    database: str, new_site: NewSite, dispatcher: Any
) -> None:
    handed_over.clear()
    site = new_site(database, MAIL_DISPATCHER=dispatcher)
    with (
        site.hears(user_registered, user_activated, mail_failed) as heard,
        broken_commits(site),
        pytest.raises(RuntimeError, match="the disk is full"),
    ):
        site.register("alice")
    assert (heard, site.outbox, handed_over, site.users()) == ([], [], [], [])
    assert site.register("alice").status_code == 201  # at once, with its mail
    assert len(site.outbox) + len(handed_over) == 1


@pytest.mark.databases
def test_a_commit_that_fails_leaves_the_account_pending_and_the_link_good(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database, REGISTER_VERIFICATION_ONE_TIME_USE=True)
    site.register("alice")
    with (
        site.hears(user_activated) as heard,
        broken_commits(site),
        pytest.raises(RuntimeError, match="the disk is full"),
    ):
        site.verify()
    assert (heard, site.user(username="alice").is_verified) == ([], False)
    assert site.verify().status_code == 200


def test_a_commit_that_fails_mails_no_owner_of_a_taken_address(
    new_site: NewSite, clock: Clock
) -> None:
    site = new_site()
    site.register("alice")
    clock.advance(60)
    with broken_commits(site), pytest.raises(RuntimeError, match="the disk is full"):
        site.register("mallory", email="alice@example.com")
    assert len(site.outbox) == 1


@each_row("signal", [user_registered, user_activated], ids=lambda signal: signal.name)
def test_a_receiver_that_raises_stops_neither_other_receivers_nor_the_mail(
    site: Site, signal: Any
) -> None:
    told: list[str] = []

    def object_to(app: Any, **_: Any) -> None:
        told.append("one")
        raise RuntimeError("the receiver's own trouble")

    def object_as_well(app: Any, **_: Any) -> None:
        told.append("two")
        raise RuntimeError("the receiver's own trouble")

    with signal.connected_to(object_to, site.app), signal.connected_to(object_as_well, site.app):
        assert site.register("alice").status_code == 201
        assert site.verify().status_code == 200
    assert sorted(told) == ["one", "two"]
    assert (len(site.outbox), site.user(username="alice").is_verified) == (1, True)


def test_a_muted_signal_is_not_sent(site: Site) -> None:
    with site.hears(user_registered) as heard, user_registered.muted():
        assert site.register("alice").status_code == 201
    assert heard == []


def test_no_signal_carries_a_secret(site: Site) -> None:
    with site.hears(user_registered, user_activated) as heard:
        site.register("alice")
        link = site.link()
        site.verify()
    assert [set(each) for each in heard] == [{"signal", "user", "request"}] * 2
    for each in heard:
        assert PASSWORD not in repr(each)
        assert link["signature"] not in repr(each)
