"""``flask registration suspend``: keep an account out."""

from __future__ import annotations

import click

from .. import administration
from .accounts import names_account, on_account
from .base import registration_cli


@registration_cli.command("suspend")
@names_account
@click.pass_context
def suspend_command(context: click.Context, login: str | None, identifier: str | None) -> None:
    """Keep an account out.

    LOGIN is what its owner logs in with, or its e-mail address. Every session, token and mailed link of the account
    ends for good, but for the link that takes a change of address back: it rests until the account is resumed. Its
    owner is not told.
    """
    name, is_done = on_account(context, login, identifier, administration.suspend)
    click.echo(f"Suspended {name}." if is_done else f"{name} was suspended already; nothing was changed.")
