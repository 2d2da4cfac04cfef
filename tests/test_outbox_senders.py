"""Many send from one outbox, and some die in between: every mail leaves, and none twice without
need."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask_mail import Message, email_dispatched
from sqlalchemy import create_engine, event, select, text

from flask_registration import mail_failed

from .conftest import Clock
from .outboxes import LIVE, OUTBOX, TIMEOUT, NewSite, change_letters, letter, letters, send_mail
from .site import Site
from .smtp import SMTPServer, no_server, smtp_server
from .tables import each_row
from .test_dispatch import broken_mail

pytestmark = pytest.mark.databases

ROOT = Path(__file__).resolve().parent.parent


def waiting(site: Site, count: int, clock: Clock) -> list[str]:
    """Register some people while no mail can be sent; to whom mails are due."""
    with broken_mail(site):
        for number in range(count):
            assert site.register(f"user{number}").status_code == 201
            clock.advance(1)
    change_letters(site, due_at=site.Outbox.created_at)
    site.outbox.clear()
    return [row.recipient for row in letters(site)]


def test_several_senders_share_the_work(database: str, new_site: NewSite, clock: Clock) -> None:
    site = new_site(database, **OUTBOX)
    due = waiting(site, 12, clock)
    sender = site.app.extensions["registration"].extras["outbox"]
    barrier = threading.Barrier(4, timeout=TIMEOUT)
    told: list[Any] = []

    def send() -> None:
        barrier.wait()
        while (left := sender.send_one()) is not None:
            told.append(left)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert told == [True] * 12
    assert Counter(str(message.recipients[0]) for message in site.outbox) == Counter(due)
    assert {(row.state, row.tries) for row in letters(site)} == {("sent", 2)}


def test_a_mail_that_another_is_taking_is_passed_over(
    server_database: str, new_site: NewSite, clock: Clock
) -> None:
    site = new_site(server_database, **OUTBOX)
    _, second = waiting(site, 2, clock)
    engine = create_engine(server_database)
    with engine.begin() as other:
        other.execute(
            select(site.Outbox.id).where(site.Outbox.id == letters(site)[0].id).with_for_update()
        )
        assert send_mail(site) == "Sent 1, failed 0."
    engine.dispose()
    assert [message.recipients for message in site.outbox] == [[second]]
    assert send_mail(site) == "Sent 1, failed 0."


def test_who_was_not_fast_enough_takes_the_next_one(
    new_site: NewSite, sqlite_url: str, clock: Clock
) -> None:
    """Where rows are not passed over, the condition of the UPDATE decides."""
    site = new_site(sqlite_url, **OUTBOX)
    due = waiting(site, 2, clock)
    faster = create_engine(sqlite_url)
    taken: list[int] = []

    def overtake(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.startswith("UPDATE outbox") and not taken:
            taken.append(1)
            with faster.begin() as other:
                other.execute(
                    text("UPDATE outbox SET tries = tries + 1, due_at = '2100-01-01' WHERE id = 1")
                )

    with site.app.app_context():
        event.listen(site.db.engine, "before_cursor_execute", overtake)
    assert send_mail(site) == "Sent 1, failed 0."
    faster.dispose()
    assert [message.recipients for message in site.outbox] == [[due[1]]]


# Leases


@contextmanager
def during_the_first_mail(site: Site, do: Callable[[], None]) -> Iterator[None]:
    """While the first mail leaves, something else happens."""
    done: list[Message] = []

    def hold(app: Any, *, message: Message, **_: Any) -> None:
        done.append(message)
        if len(done) == 1:
            do()

    with email_dispatched.connected_to(hold, site.app):
        yield


def test_a_sender_has_a_mail_to_itself_while_its_lease_lasts(
    new_site: NewSite, sqlite_url: str, clock: Clock
) -> None:
    site = new_site(sqlite_url, **OUTBOX)
    waiting(site, 1, clock)
    said: list[str] = []

    def others_try() -> None:
        clock.advance(299)
        said.append(send_mail(site))

    with during_the_first_mail(site, others_try):
        said.append(send_mail(site))
    assert said == ["Sent 0, failed 0.", "Sent 1, failed 0."]


@each_row("fails", [False, True], ids=["sends it after all", "fails"])
def test_when_a_lease_is_over_another_sends_the_mail_and_the_first(
    fails: bool, new_site: NewSite, sqlite_url: str, clock: Clock
) -> None:
    site = new_site(sqlite_url, **OUTBOX)
    waiting(site, 1, clock)
    said: list[str] = []

    def others_try() -> None:
        clock.advance(300)
        said.append(send_mail(site))
        if fails:
            raise OSError("after all that time")

    with during_the_first_mail(site, others_try), site.hears(mail_failed) as heard:
        said.append(send_mail(site))
    assert said == ["Sent 1, failed 0.", "Sent 0, failed 1." if fails else "Sent 1, failed 0."]
    assert (letter(site).state, heard) == ("sent", [])
    assert len({message.msgId for message in site.outbox}) == 1


def test_a_failure_after_the_lease_does_not_take_the_mail_from_whom_has_it_now(
    new_site: NewSite, sqlite_url: str, clock: Clock
) -> None:
    site = new_site(sqlite_url, MAIL_TRIES=2, **OUTBOX)
    waiting(site, 1, clock)

    def fall_behind() -> None:
        clock.advance(300)
        change_letters(site, tries=3)  # another one has taken it, and is at it
        raise OSError("after all that time")

    with during_the_first_mail(site, fall_behind), site.hears(mail_failed) as heard:
        assert send_mail(site) == "Sent 0, failed 1."
    row = letter(site)
    assert (row.state, row.tries, row.error, heard) == ("waiting", 3, "OSError", [])


def test_a_mail_that_kills_whoever_sends_it_is_given_up_in_the_end(
    new_site: NewSite, sqlite_url: str, clock: Clock
) -> None:
    site = new_site(sqlite_url, MAIL_TRIES=3, **OUTBOX)
    waiting(site, 1, clock)
    change_letters(site, tries=3)  # as the last process left it
    with site.hears(mail_failed) as heard:
        assert send_mail(site) == "Sent 0, failed 1."
    assert [type(each["error"]).__name__ for each in heard] == ["LeaseExpired"]
    assert (letter(site).state, site.outbox) == ("dead", [])


# Processes that are killed

START = """
    import os, signal, sys
    from click.testing import CliRunner
    from tests.outboxes import OUTBOX, send_mail
    from tests.site import make_site
    from flask_registration import user_registered

    config = {"TESTING": False, "MAIL_SUPPRESS_SEND": False}
    config |= {"MAIL_SERVER": "localhost", "MAIL_PORT": int(sys.argv[2])}
    site = make_site(sys.argv[1], config=config, **OUTBOX)
"""


def process(script: str, url: str, port: int) -> subprocess.Popen[str]:
    """A process with an application of its own on this database and this mail server, which runs
    this."""
    code = textwrap.dedent(START) + textwrap.dedent(script)
    return subprocess.Popen([sys.executable, "-c", code, url, str(port)], cwd=ROOT, text=True)


@pytest.fixture
def killed(new_site: NewSite, server_database: str) -> Site:
    return new_site(server_database, config=LIVE, **OUTBOX)


def deliver(site: Site, server: SMTPServer) -> None:
    """Send what there is to this server."""
    site.app.extensions["mail"].suppress = False
    site.app.extensions["mail"].port = server.port
    site.app.extensions["mail"].server = "localhost"
    assert send_mail(site) == "Sent 1, failed 0."


def test_a_process_that_is_killed_after_the_commit_loses_no_mail(
    killed: Site, server_database: str
) -> None:
    script = """
        def die(app, **kwargs):
            os.kill(os.getpid(), signal.SIGKILL)

        user_registered.connect(die, site.app)
        site.register("alice")
    """
    with no_server() as server:
        assert process(script, server_database, server.port).wait(TIMEOUT) == -signal.SIGKILL
    assert [user.username for user in killed.users()] == ["alice"]
    assert letter(killed).state == "waiting"
    with smtp_server() as server:
        deliver(killed, server)
        (delivery,) = server.deliveries
    assert delivery.recipients == ["alice@example.com"]
    assert delivery.mail["Message-ID"] == letter(killed).message_id


def test_a_process_that_is_killed_while_a_mail_leaves_loses_none(
    killed: Site, server_database: str, clock: Clock
) -> None:
    arrived, go = threading.Event(), threading.Event()

    def hold(delivery: Any) -> str:
        arrived.set()
        assert go.wait(TIMEOUT)
        return "451 whom do I tell?"

    with smtp_server(answer=hold) as server:
        running = process('site.register("alice")', server_database, server.port)
        assert arrived.wait(TIMEOUT)
        running.kill()
        assert running.wait(TIMEOUT) == -signal.SIGKILL
        go.set()
    row = letter(killed)
    assert (row.state, row.tries) == ("waiting", 1)
    assert send_mail(killed) == "Sent 0, failed 0.", "its lease lasts"
    clock.advance(300 + TIMEOUT)
    with smtp_server() as server:
        deliver(killed, server)
        assert [delivery.mail["Message-ID"] for delivery in server.deliveries] == [row.message_id]
    assert letter(killed).state == "sent"
