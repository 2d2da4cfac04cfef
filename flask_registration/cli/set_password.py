"""``flask registration set-password``: replace a password."""

from __future__ import annotations

from functools import partial

import click

from ..administration import account_name, find_account, personal_texts, set_password
from ..retries import retrying
from .accounts import accounts, ask_password, check_names, names_account
from .base import printable, registration_cli


@registration_cli.command("set-password")
@names_account
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin instead of asking for it.")
@click.pass_context
def set_password_command(
    context: click.Context, login: str | None, identifier: str | None, password_stdin: bool
) -> None:
    """Replace the password of an account.

    LOGIN is what its owner logs in with, or its e-mail address. The password is asked for twice and not shown; it must
    pass the policy of the application. Every session, token and mailed link of the account ends, but for the link that
    takes a change of address back, and its owner is told by mail. A suspended account stays suspended, a pending one
    pending.
    """
    check_names(context, login, identifier)
    with accounts(context) as kit:
        user = find_account(kit, login, identifier=identifier)
        name, key, texts = account_name(kit, user), kit.users.identifier(user), personal_texts(kit, user)
        kit.users.rollback()  # nothing is held while somebody types
        password = ask_password(partial(kit.passwords.check, user_inputs=texts), from_stdin=password_stdin)
        retrying(lambda: set_password(kit, find_account(kit, None, identifier=key), password), kit.users.rollback)
    click.echo(f"Set the password of {printable(name)}.")
