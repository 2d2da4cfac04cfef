"""The commands that look after the outbox."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from click.testing import CliRunner
from flask.cli import ScriptInfo
from flask_mail import Message, email_dispatched
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from flask_registration.cli.base import registration_cli

from .conftest import Clock
from .outboxes import OUTBOX, TIMEOUT, NewSite, change_letters, command, letter, letters, send_mail
from .site import Site
from .smtp import smtp_server
from .tables import each_row
from .test_dispatch import broken_mail

#: What the status begins with.
LIMITS = "limits of one e-mail address: 1/minute;5/hour;10/day\nbudget: none\n"

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def site(new_site: NewSite, database: str) -> Site:
    return new_site(database, MAIL_TRIES=2, **OUTBOX)


def test_the_status_counts_by_state_and_tells_why_mails_were_given_up(
    site: Site, clock: Clock
) -> None:
    assert command(site, "status").output == f"{LIMITS}waiting: 0\nsent: 0\ndead: 0\n"
    site.register("alice")
    with broken_mail(site):
        site.register("bob")
        clock.advance(60)
        send_mail(site)
        site.register("carol")
        clock.advance(59)
    bob, carol = letters(site)[1:]
    when = f"{bob.finished_at:%Y-%m-%d %H:%M} UTC"
    assert command(site, "status").output == (
        f"{LIMITS}waiting: 1, the oldest for 59 seconds\nsent: 1\ndead: 1\n"
        f"  {bob.id}: register for user {bob.user_id}, {when}, 2 tries: OSError\n"
    )
    clock.advance(7200)
    assert "waiting: 1, the oldest for 2 hours\n" in command(site, "status").output
    assert carol.state == "waiting"


def test_no_command_tells_an_address_or_a_link(site: Site, clock: Clock) -> None:
    with broken_mail(site):
        site.register("alice")
        told = command(site, "status").output
        clock.advance(60)
        told += (
            send_mail(site) + command(site, "status").output + command(site, "retry-mail").output
        )
    assert not re.search(r"@|https?:|signature|own trouble", told)


def test_mail_that_was_given_up_is_tried_anew(site: Site, clock: Clock) -> None:
    with broken_mail(site):
        for name in ("alice", "bob", "carol"):
            site.register(name)
        clock.advance(60)
        assert send_mail(site) == "Sent 0, failed 3."
    site.outbox.clear()
    alice = letters(site)[0]
    assert command(site, "retry-mail", str(alice.id)).output == "1 e-mail waits again.\n"
    assert (letters(site)[0].state, letters(site)[0].tries) == ("waiting", 0)
    assert send_mail(site) == "Sent 1, failed 0."
    assert [message.msgId for message in site.outbox] == [alice.message_id]
    result = site.app.test_cli_runner().invoke(
        registration_cli, ["retry-mail", str(alice.id), "4000000000"]
    )
    assert (result.exit_code, result.stdout) == (1, "0 e-mails wait again.\n"), "that was sent"
    assert result.stderr == "No dead e-mail for 2 of these ids. Run `status` for a list.\n"
    assert command(site, "retry-mail").output == "2 e-mails wait again.\n"
    assert send_mail(site) == "Sent 2, failed 0."
    assert site.verify().status_code == 200


def test_records_are_removed_when_they_are_old(site: Site, clock: Clock) -> None:
    site.register("alice")
    with broken_mail(site):
        site.register("bob")
        clock.advance(60)
        send_mail(site)
        site.register("carol")
    clock.advance(7 * 86400 - 61)
    send_mail(site)
    assert [row.recipient[0] for row in letters(site)] == ["a", "b", "c"]
    clock.advance(1)
    send_mail(site)
    assert [row.recipient[0] for row in letters(site)] == ["b", "c"]
    clock.advance(60)
    send_mail(site)
    assert [row.recipient[0] for row in letters(site)] == ["c"]


def test_what_waits_is_never_removed(site: Site, clock: Clock) -> None:
    with broken_mail(site):
        site.register("alice")
    change_letters(site, tries=0)
    clock.advance(8 * 86400)
    with broken_mail(site):
        send_mail(site)
    assert letter(site).state == "waiting"


@each_row("name", ["send-mail", "retry-mail"])
def test_without_an_outbox_there_is_nothing_to(name: str, new_site: NewSite) -> None:
    site = new_site()
    result = CliRunner().invoke(
        registration_cli, [name], obj=ScriptInfo(create_app=lambda: site.app)
    )
    assert result.exit_code == 1
    assert "This application has no outbox. Pass models=[Outbox]" in result.output


def test_what_is_left_leaves_after_a_change_of_dispatcher(
    new_site: NewSite, sqlite_url: str, clock: Clock
) -> None:
    with broken_mail(site := new_site(sqlite_url, **OUTBOX)):
        site.register("alice")
    clock.advance(60)
    other = new_site(sqlite_url, **{**OUTBOX, "MAIL_DISPATCHER": "background"})
    assert send_mail(other) == "Sent 1, failed 0."
    other.register("bob")
    assert [message.recipients for message in other.outbox] == [
        ["alice@example.com"],
        ["bob@example.com"],
    ]
    assert len(letters(other)) == 1


def breaking_the_database(site: Site, times: int) -> None:
    """Let the next statements fail."""
    left = [times]

    def fail(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if left[0]:
            left[0] -= 1
            raise OperationalError(statement, None, Exception("the database's own trouble"))

    with site.app.app_context():
        event.listen(site.db.engine, "before_cursor_execute", fail)


@pytest.mark.databases
def test_sending_ends_with_an_error_where_the_database_is_in_trouble(
    new_site: NewSite, sqlite_url: str
) -> None:
    site = new_site(sqlite_url, **OUTBOX)
    breaking_the_database(site, 1)
    result = CliRunner().invoke(
        registration_cli, ["send-mail"], obj=ScriptInfo(create_app=lambda: site.app)
    )
    assert (result.exit_code, result.output) == (
        1,
        "The service is temporarily unavailable. Please try again in a few seconds. "
        "the database's own trouble\n",
    )


@pytest.mark.databases
@each_row("number", ["0", "-1", "99999999999999999999", "x"])
def test_what_is_no_mail_s_number_is_a_wrong_call(site: Site, number: str) -> None:
    result = site.app.test_cli_runner().invoke(registration_cli, ["retry-mail", "--", number])
    assert (result.exit_code, result.stderr.splitlines()[-1][:6]) == (2, "Error:")


# Watching


@pytest.mark.databases
def test_watching_sends_what_comes_and_outlives_trouble_with_the_database(
    new_site: NewSite, sqlite_url: str, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    site = new_site(sqlite_url, **OUTBOX)
    with broken_mail(site):
        site.register("alice")
        clock.advance(60)
        site.register("bob")
        site.register("carol")
    breaking_the_database(site, 1)
    left: list[str] = []

    def look(app: Any, *, message: Message, **_: Any) -> None:
        left.append(str(message.recipients[0]))
        if len(left) == 1:
            clock.advance(60)  # bob's and carol's are due at the next look
        else:
            signal.raise_signal(signal.SIGTERM)

    with email_dispatched.connected_to(look, site.app):
        command(site, "send-mail", "--watch", "--interval", "0.1")
    assert left[0] == "alice@example.com"
    assert left[1:] in (["bob@example.com"], ["carol@example.com"]), (
        "the mail that is under way is the last one"
    )
    assert sorted(row.state for row in letters(site)) == ["sent", "sent", "waiting"]
    assert "The outbox failed. Its e-mails are kept." in caplog.text
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.databases
def test_a_watching_process_sends_until_it_is_told_to_stop(
    new_site: NewSite, postgresql_url: str
) -> None:
    app = f"""
from tests.outboxes import OUTBOX
from tests.site import make_site

def create_app():
    config = {{"MAIL_SUPPRESS_SEND": False, "MAIL_SERVER": "localhost", "MAIL_PORT": 4711}}
    return make_site({postgresql_url!r}, config=config, **OUTBOX).app
"""
    arrived: Queue[str] = Queue()

    def take(delivery: Any) -> str:
        arrived.put(delivery.recipients[0])
        return "250 OK"

    with smtp_server(answer=take) as server:
        site = new_site(postgresql_url, config={"MAIL_SUPPRESS_SEND": True}, **OUTBOX)
        code = app.replace("4711", str(server.port)) + (
            "from flask.cli import ScriptInfo\n"
            "from flask_registration.cli import registration_cli\n"
            "call = ['send-mail', '--watch', '--interval', '0.1']\n"
            "registration_cli(call, obj=ScriptInfo(create_app=create_app))\n"
        )
        running = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
        try:
            for name in ("alice", "bob"):
                with broken_mail(site):
                    site.register(name)
                change_letters(site, due_at=letters(site)[0].created_at)
                assert arrived.get(timeout=TIMEOUT) == f"{name}@example.com"
            running.send_signal(signal.SIGTERM)
            assert running.wait(TIMEOUT) == 0
        finally:
            running.kill()
            running.wait()
    assert [row.state for row in letters(site)] == ["sent", "sent"]


@pytest.mark.databases
def test_purge_removes_old_mails_and_no_others(site: Site, clock: Clock) -> None:
    site.register("alice")
    with broken_mail(site):
        site.register("bob")
        clock.advance(60)
        send_mail(site)
        site.register("carol")
    clock.advance(7 * 24 * 3600 - 1)  # a week after the first, not yet after the second
    assert "1 old e-mail\n" in command(site, "purge", "--dry-run").output
    assert "0 old e-mails\n" in command(site, "purge", "--older-than", "1").output
    assert "1 old e-mail removed\n" in command(site, "purge").output
    assert [row.state for row in letters(site)] == ["dead", "waiting"]
