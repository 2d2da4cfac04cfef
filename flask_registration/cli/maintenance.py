"""The commands that delete what has expired, and those for the outbox."""

from __future__ import annotations

import io
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

import click
from flask import Flask

from ..flows.register import RegisterSettings, expired_before, verification_settings
from ..http.accounts import remove_expired
from ..outbox.store import DEAD, DROPPED, SENT, WAITING, OutboxSender
from ..state import RegistrationState
from ..users.mixins import utc_now
from ..users.transaction import with_retries
from .base import fail, load, load_outbox, registration_cli

#: The number of rows to delete before the progress bar moves.
BATCH = 100

#: The maximum of ``--older-than`` in days, a century: no date may be before the year 1.
LONGEST = 36500


class Purge(NamedTuple):
    """One kind of rows that expire.

    :ivar name: the name of one row; several have an ``s``.
    :ivar find: returns the keys of the rows that expired at least this long ago; None: no table.
    :ivar remove: deletes those of these rows that are still expired, and commits. Returns the
        number deleted.
    """

    name: str
    find: Callable[[RegistrationState, timedelta], Sequence[Any] | None]
    remove: Callable[[RegistrationState, Sequence[Any], timedelta], int]


def find_registrations(state: RegistrationState, grace: timedelta) -> Sequence[str]:
    """Return the registrations that were not verified in time."""
    settings = verification_settings(state)
    return state.users.unverified(expired_before(settings, grace)) if settings else []


def remove_registrations(
    state: RegistrationState, identifiers: Sequence[str], grace: timedelta
) -> int:
    """Delete registrations one by one, so that a foreign key keeps only its own row."""
    before = expired_before(state.group(RegisterSettings), grace)
    return sum(
        with_retries(partial(remove_expired, state, identifier, before), state.users.rollback)
        for identifier in identifiers
    )


def find_logins(state: RegistrationState, grace: timedelta) -> Sequence[Any] | None:
    """Return the sessions and tokens that expired, if there is a login model."""
    return state.logins.expired(utc_now() - grace) if state.logins else None


def remove_logins(state: RegistrationState, ids: Sequence[Any], grace: timedelta) -> int:
    """Delete sessions and tokens in one statement."""
    count = state.logins.remove(ids, utc_now() - grace) if state.logins else 0
    state.users.commit()
    return count


def find_emails(state: RegistrationState, grace: timedelta) -> Sequence[Any] | None:
    """Return the e-mails of the outbox that were sent or marked as dead long enough ago."""
    outbox = state.extras.get("outbox")
    return outbox.store.expired(grace) if outbox else None


def remove_emails(state: RegistrationState, ids: Sequence[Any], grace: timedelta) -> int:
    """Delete e-mails of the outbox in one statement."""
    outbox = state.extras.get("outbox")
    return outbox.store.remove(ids, grace) if outbox else 0


#: Everything that expires, in the order of deletion.
PURGES = [
    Purge("unverified registration", find_registrations, remove_registrations),
    Purge("expired login", find_logins, remove_logins),
    Purge("old e-mail", find_emails, remove_emails),
]


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

    These are registrations that were not verified in time, login sessions and tokens, and old
    e-mails of the outbox. Logins and e-mails are deleted in batches of 100, registrations one by
    one, each in its own transaction. On a terminal, there is a progress bar.
    """
    app, state = load(context)
    grace = timedelta(days=older_than)
    with app.app_context():
        for purge in PURGES:
            keys = purge.find(state, grace)
            state.users.rollback()
            if keys is None:
                continue
            if dry_run or not keys:
                click.echo(_counted(len(keys), purge))
                continue
            count = _remove(state, purge, keys, grace)
            kept = len(keys) - count
            rest = f", {kept} kept: in use, or no longer expired" if kept else ""
            click.echo(f"{_counted(count, purge)} removed{rest}")


def _counted(count: int, purge: Purge) -> str:
    return f"{count} {purge.name}{'' if count == 1 else 's'}"


def _remove(state: RegistrationState, purge: Purge, keys: Sequence[Any], grace: timedelta) -> int:
    """Delete rows in batches, with a progress bar on a terminal. Return the number deleted."""
    count = 0
    shown = sys.stdout if sys.stdout.isatty() else io.StringIO()
    with click.progressbar(length=len(keys), label=f"{purge.name}s", file=shown) as bar:
        for start in range(0, len(keys), BATCH):
            batch = keys[start : start + BATCH]
            count += purge.remove(state, batch, grace)
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
    start = time.time()
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
        except Exception as error:
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
    """Print how many e-mails wait, were sent and are dead."""
    app, sender = load_outbox(context)
    with app.app_context():
        counts, waiting, dead = sender.store.status()
    for status in (WAITING, SENT, DEAD):
        count = f"{status}: {counts.get(status, 0)}"
        if status == WAITING and waiting is not None:
            count += f", the oldest for {format_duration(waiting)}"
        click.echo(count)
    if DROPPED in counts:  # until the next purge
        click.echo(f"dropped: {counts[DROPPED]}")
    for letter in dead:
        about = f"{letter.id}: {letter.template} for user {letter.user_id}"
        when = f"{letter.given_up:%Y-%m-%d %H:%M} UTC"
        tries = f"{letter.tries} {'try' if letter.tries == 1 else 'tries'}"
        click.echo(f"  {about}, {when}, {tries}: {letter.error}")


def format_duration(time: timedelta) -> str:
    """Return a duration in its largest unit."""
    for unit, seconds in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count = int(time.total_seconds()) // seconds
        if count:
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return "less than a second"
