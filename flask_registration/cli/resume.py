"""``flask registration resume``: let a suspended account in again."""

from __future__ import annotations

import click

from .. import administration
from .accounts import names_account, on_account
from .base import registration_cli


@registration_cli.command("resume")
@names_account
@click.pass_context
def resume_command(context: click.Context, login: str | None, identifier: str | None) -> None:
    """Let a suspended account in again.

    LOGIN is what its owner logs in with, or its e-mail address. The password is the one from before; no session, token
    or link from before comes back, but for the link that takes a change of address back.
    """
    name, is_done = on_account(context, login, identifier, administration.resume)
    click.echo(f"Resumed {name}." if is_done else f"{name} was not suspended; nothing was changed.")
