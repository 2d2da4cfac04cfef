"""``flask registration retry-mail``: dead letters get another chance."""

from __future__ import annotations

import click

from .base import fail, load_outbox, registration_cli


@registration_cli.command("retry-mail")
@click.argument("ids", type=click.IntRange(1, 2**63 - 1), nargs=-1, metavar="[ID]...")
@click.pass_context
def retry_mail_command(context: click.Context, ids: tuple[int, ...]) -> None:
    """Let mail that was given up be sent anew: these, or all."""
    app, sender = load_outbox(context)
    with app.app_context():
        count = sender.store.retry(ids)
    click.echo(f"{count} {'mail waits' if count == 1 else 'mails wait'} again.")
    if missing := len({*ids}) - count if ids else 0:
        fail(f"{missing} of these {'is' if missing == 1 else 'are'} no mail that was given up; `status` lists those.")
