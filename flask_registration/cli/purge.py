"""``flask registration purge``: remove what has expired."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

import click

from ..kit import Kit
from ..models import utc_now
from ..pending import RegisterSettings, due, remove_expired, verification
from ..retries import retrying
from .base import load, registration_cli

#: How many rows are removed before the progress is shown.
BATCH = 100

#: Days, of what may be kept; a century, and more than that would be before the first dates that there are.
LONGEST = 36500


class Purge(NamedTuple):
    """One kind of rows that expire.

    :ivar one: what one of them is.
    :ivar what: what they are.
    :ivar find: the keys of those that expired longer ago than this; None where the application has no such rows.
    :ivar remove: removes those of these that still are, and commits; how many it were.
    """

    one: str
    what: str
    find: Callable[[Kit, timedelta], Sequence[Any] | None]
    remove: Callable[[Kit, Sequence[Any], timedelta], int]


def find_registrations(kit: Kit, grace: timedelta) -> Sequence[str]:
    """Registrations that nobody verified in time."""
    settings = verification(kit)
    return kit.users.unverified(due(settings, grace)) if settings else []


def remove_registrations(kit: Kit, identifiers: Sequence[str], grace: timedelta) -> int:
    """Delete them one by one: what another row needs does not keep the others."""
    before = due(kit.group(RegisterSettings), grace)
    rollback = kit.users.rollback
    return sum(retrying(partial(remove_expired, kit, identifier, before), rollback) for identifier in identifiers)


def find_logins(kit: Kit, grace: timedelta) -> Sequence[Any] | None:
    """Sessions and tokens that ended by themselves, where they are rows."""
    return kit.logins.expired(utc_now() - grace) if kit.logins else None


def remove_logins(kit: Kit, ids: Sequence[Any], grace: timedelta) -> int:
    """Delete them in one statement."""
    count = kit.logins.remove(ids, utc_now() - grace) if kit.logins else 0
    kit.users.commit()
    return count


def find_mails(kit: Kit, grace: timedelta) -> Sequence[Any] | None:
    """Mails of the outbox that were sent or given up long enough ago."""
    return kit.outbox.store.expired(grace) if kit.outbox else None


def remove_mails(kit: Kit, ids: Sequence[Any], grace: timedelta) -> int:
    """Delete them in one statement."""
    return kit.outbox.store.remove(ids, grace) if kit.outbox else 0


#: Everything that expires, in the order in which it is removed.
PURGES = [
    Purge(
        "registration that nobody verified",
        "registrations that nobody verified",
        find_registrations,
        remove_registrations,
    ),
    Purge("expired login", "expired logins", find_logins, remove_logins),
    Purge("old mail of the outbox", "old mails of the outbox", find_mails, remove_mails),
]


@registration_cli.command("purge")
@click.option("--dry-run", is_flag=True, help="Only tell how many there are.")
@click.option(
    "--older-than",
    type=click.IntRange(min=0, max=LONGEST),
    default=0,
    metavar="DAYS",
    help="Keep what expired within so many days.",
)
@click.pass_context
def purge_command(context: click.Context, dry_run: bool, older_than: int) -> None:
    """Remove what has expired.

    That is: registrations that nobody verified in time, logins, and old mails of the outbox. Logins and mails go in
    batches of a hundred, registrations one by one, each in a transaction of its own, with a bar on a terminal.
    """
    app, kit = load(context)
    grace = timedelta(days=older_than)
    with app.app_context():
        for purge in PURGES:
            keys = purge.find(kit, grace)
            kit.users.rollback()
            if keys is None:
                continue
            if dry_run or not keys:
                click.echo(_counted(len(keys), purge))
                continue
            count = _remove(kit, purge, keys, grace)
            kept = f", {len(keys) - count} kept: in use, or no longer expired" if count < len(keys) else ""
            click.echo(f"{_counted(count, purge)} removed{kept}")


def _counted(count: int, purge: Purge) -> str:
    return f"{count} {purge.one if count == 1 else purge.what}"


def _remove(kit: Kit, purge: Purge, keys: Sequence[Any], grace: timedelta) -> int:
    """Remove them in batches, with a bar on a terminal; how many it were."""
    count = 0
    shown = sys.stdout if sys.stdout.isatty() else io.StringIO()
    with click.progressbar(length=len(keys), label=purge.what, file=shown) as bar:
        for start in range(0, len(keys), BATCH):
            batch = keys[start : start + BATCH]
            count += purge.remove(kit, batch, grace)
            bar.update(len(batch))
    return count
