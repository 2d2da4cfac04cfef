"""``flask registration verify``: mark an address as proven."""

from __future__ import annotations

import click

from .. import administration
from .accounts import names_account, on_account
from .base import registration_cli


@registration_cli.command("verify")
@names_account
@click.pass_context
def verify_command(context: click.Context, login: str | None, identifier: str | None) -> None:
    """Mark the address of an account as proven.

    LOGIN is what its owner logs in with, or its e-mail address. As with the link in the mail, every session, token and
    other link of before ends. Do this only where you know whose address it is: whoever registered has the password.
    """
    name, is_done = on_account(context, login, identifier, administration.verify)
    click.echo(f"Verified {name}." if is_done else f"{name} was verified already; nothing was changed.")
