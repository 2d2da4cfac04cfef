"""The commands that delete what has expired, and those for the outbox."""

from __future__ import annotations

import io
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import click
from flask import Flask

from ..actions.administration import Expired, expired, lift_mail_budget
from ..mail.composer import MailSettings
from ..outbox.store import DEAD, DROPPED, SENT, WAITING, OutboxSender
from ..settings import PREFIX
from ..state import RegistrationState
from ..users.mixins import as_utc, utc_now
from .base import counted, enter, fail, load_outbox, registration_cli

#: The maximum of ``--older-than`` in days, a century: no date may be before the year 1.
LONGEST = 36500


@registration_cli.command("purge")
@click.option("--dry-run", is_flag=True, help="Only print how many rows have expired.")
@click.option(
    "--older-than",
    type=click.IntRange(min=0, max=LONGEST),
    default=0,
    metavar="DAYS",
    help="Keep the rows of the last DAYS days.",
)
@click.pass_context
def purge_command(context: click.Context, dry_run: bool, older_than: int) -> None:
    """Delete expired rows.

    These are registrations that were not verified in time, login sessions and tokens, challenges
    of codes and of logins in steps, old invitations, and old e-mails of the outbox. Accounts whose
    deletion was scheduled are deleted when their time has come, whatever DAYS is. Accounts are
    deleted one by one, all others in batches of 100, each in its own transaction. On a terminal,
    there is a progress bar.
    """
    enter(context)
    for rows in expired(timedelta(days=older_than)):
        total = len(rows.keys)
        if dry_run or not total:
            click.echo(counted(total, rows.name))
            continue
        count = _remove(rows)
        rest = f", {total - count} kept: in use, or no longer expired" if count < total else ""
        click.echo(f"{counted(count, rows.name)} {rows.done}{rest}")


def _remove(rows: Expired) -> int:
    """Delete rows in batches, with a progress bar on a terminal. Return the number deleted."""
    count = 0
    shown = sys.stdout if sys.stdout.isatty() else io.StringIO()
    with click.progressbar(length=len(rows.keys), label=f"{rows.name}s", file=shown) as bar:
        for batch in rows.batches():
            count += rows.remove(batch)
            bar.update(len(batch))
    return count


#: Seconds between two deletions of old e-mails.
PURGE_INTERVAL = 3600


@registration_cli.command("send-mail")
@click.option("--watch", is_flag=True, help="Keep sending until SIGTERM or SIGINT.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=5.0,
    show_default=True,
    help="Seconds between two checks.",
)
@click.pass_context
def send_mail_command(context: click.Context, watch: bool, interval: float) -> None:
    """Send the e-mails of the outbox that are due.

    Several of these commands can run at the same time.
    """
    app, sender = load_outbox(context)
    with stopping() as stop:
        if watch:
            keep_sending(app, sender, stop, interval)
            return
        results = send_all(sender, stop)
        with app.app_context():
            sender.store.purge()
    click.echo(f"Sent {results[True]}, failed {results[False]}.")


def send_all(sender: OutboxSender, stop: threading.Event) -> Counter[bool]:
    """Send all e-mails that are due. Return the numbers of successes (True) and failures."""
    results: Counter[bool] = Counter()
    start = utc_now()
    while not stop.is_set() and (is_sent := sender.send_one(start)) is not None:
        results[is_sent] += 1
    return results


def keep_sending(app: Flask, sender: OutboxSender, stop: threading.Event, interval: float) -> None:
    """Send e-mails until the event is set. Errors of the database do not end it."""
    purged = float("-inf")
    while not stop.is_set():
        try:
            send_all(sender, stop)
            if time.monotonic() - purged > PURGE_INTERVAL:
                with app.app_context():
                    sender.store.purge()
                purged = time.monotonic()
        except Exception as error:  # most likely of the database
            app.logger.error("The outbox failed. Its e-mails are kept.", exc_info=error)
        stop.wait(interval)


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """Return an event that SIGTERM and SIGINT set, so that the current e-mail is sent first."""
    stop = threading.Event()
    kept = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield stop
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


@registration_cli.command("retry-mail")
@click.argument("ids", type=click.IntRange(1, 2**63 - 1), nargs=-1, metavar="[ID]...")
@click.pass_context
def retry_mail_command(context: click.Context, ids: tuple[int, ...]) -> None:
    """Send dead e-mails again: those with these ids, or all.

    An e-mail is dead when all its tries have failed.
    """
    app, sender = load_outbox(context)
    with app.app_context():
        count = sender.store.retry(ids)
    click.echo(f"{count} {'e-mail waits' if count == 1 else 'e-mails wait'} again.")
    if ids and (missing := len({*ids}) - count):
        fail(f"No dead e-mail for {missing} of these ids. Run `status` for a list.")


@registration_cli.command("status")
@click.pass_context
def status_command(context: click.Context) -> None:
    """Print the limits of e-mails, and how many e-mails of the outbox wait, were sent and are dead.

    The budget is known only if rate limits have a storage that all processes share.
    """
    state = enter(context)
    sender = state.extras.get("outbox")
    lines = [*budget_lines(state), *(outbox_lines(sender) if sender else ())]
    click.echo("\n".join(lines))


def budget_lines(state: RegistrationState) -> Iterator[str]:
    """Yield the limits of e-mails, and what is left of the budget."""
    settings, budget = state.group(MailSettings), state.mail_budget
    yield f"limits of one e-mail address: {settings.mail_limits or 'none'}"
    if budget.limits and budget.counters.storage == "memory":
        yield f"budget: {settings.mail_budget}, counted by each process"
        return
    if not budget.limits:
        yield "budget: none"
    for limit, (left, wait) in budget.left().items():
        time = format_duration(timedelta(seconds=wait))
        yield f"budget: {limit}, {f'{left} left' if left else f'exceeded for another {time}'}"


@registration_cli.command("lift-mail-budget")
@click.pass_context
def lift_mail_budget_command(context: click.Context) -> None:
    """Let requests for e-mails pass again that exceed the budget of e-mails.

    They count from zero. This needs a storage of rate limits that all processes share.
    """
    state = enter(context)
    if not state.mail_budget.limits:
        fail(f"{PREFIX}MAIL_BUDGET is not set. It refuses no request.")
    if state.mail_budget.counters.storage == "memory":
        fail("Each process counts by itself. Restart all, or set RATELIMIT_STORAGE_URI.")
    is_lifted = lift_mail_budget()
    unchanged = "The budget is not exceeded. Nothing changed."
    click.echo("Lifted the budget of e-mails." if is_lifted else unchanged)


def outbox_lines(sender: OutboxSender) -> Iterator[str]:
    """Yield how many e-mails of the outbox wait, were sent and are dead."""
    counts, waiting, dead = sender.store.status()
    for status in (WAITING, SENT, DEAD):
        count = f"{status}: {counts.get(status, 0)}"
        if status == WAITING and waiting is not None:
            count += f", the oldest for {format_duration(waiting)}"
        yield count
    if DROPPED in counts:  # until the next purge
        yield f"dropped: {counts[DROPPED]}"
    for letter in dead:
        about = f"{letter.id}: {letter.template} for user {letter.user_id}"
        when = f"{as_utc(letter.finished_at):%Y-%m-%d %H:%M} UTC"
        tries = f"{letter.tries} {'try' if letter.tries == 1 else 'tries'}"
        yield f"  {about}, {when}, {tries}: {letter.error}"


def format_duration(time: timedelta) -> str:
    """Return a duration in its largest unit."""
    for unit, seconds in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count = int(time.total_seconds()) // seconds
        if count:
            return counted(count, unit)
    return "less than a second"
