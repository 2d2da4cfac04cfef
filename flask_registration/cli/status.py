"""``flask registration status``: what is in the outbox."""

from __future__ import annotations

from datetime import timedelta

import click

from ..outbox_settings import DEAD, DECOY, SENT, WAITING
from .base import load_outbox, registration_cli


@registration_cli.command("status")
@click.pass_context
def status_command(context: click.Context) -> None:
    """Tell how many mails are waiting, were sent and were given up."""
    app, sender = load_outbox(context)
    with app.app_context():
        counts, waiting, dead = sender.store.status()
    for state in (WAITING, SENT, DEAD):
        since = f", the oldest for {in_words(waiting)}" if state == WAITING and waiting is not None else ""
        click.echo(f"{state}: {counts.get(state, 0)}{since}")
    if DECOY in counts:  # until the next purge
        click.echo(f"decoys: {counts[DECOY]}")
    for letter in dead:
        when = f"{letter.given_up:%Y-%m-%d %H:%M} UTC"
        tries = f"{letter.tries} {'try' if letter.tries == 1 else 'tries'}"
        click.echo(f"  {letter.id}: {letter.template} for user {letter.user_id}, {when}, {tries}: {letter.error}")


def in_words(time: timedelta) -> str:
    """A length of time, to its largest unit."""
    for unit, seconds in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count = int(time.total_seconds()) // seconds
        if count:
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return "less than a second"
