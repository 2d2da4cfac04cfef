"""The commands for accounts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from copy import copy
from typing import Any

import click
from marshmallow import ValidationError
from sqlalchemy import Boolean, Date, DateTime, Enum, String
from sqlalchemy.types import TypeEngine

from .. import actions
from ..errors import AdministrationError
from ..flows.register import verification_settings
from ..http.accounts import find_users
from ..http.bodies import UNSAFE, UNSUPPORTED_CHARACTERS
from ..http.bodies import load as load_body
from ..http.schemas import account_columns_schema
from ..settings import PREFIX
from ..state import RegistrationState
from ..users.fields import UserFields
from ..users.store import User
from .base import enter, error_messages, fail, load, option, printable, registration_cli


def names_account(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``LOGIN`` and ``--id`` to a command, as ``login`` and ``identifier``."""
    about = "Select the account by its id instead."
    by_id = click.option("--id", "identifier", metavar="ID", help=about)
    return click.argument("login", required=False)(by_id(command))


def find_account(state: RegistrationState, login: str | None, identifier: str | None) -> User:
    """Return the account with this login or e-mail address, or with this verification id.

    :raises click.UsageError: neither is given, or both are.
    :raises AdministrationError: there is none, or more than one.
    """
    if bool(login) == bool(identifier):
        raise click.UsageError("Select the account, either by LOGIN or by --id.")
    if identifier:
        user = state.users.get(identifier)
        if user is None:
            raise AdministrationError(f"No account has the id {identifier}.")
        return user
    named = find_users(state, {"login": login or "", "email": login or ""})
    found = {state.users.identifier(user): user for user in named}
    if not found:
        raise AdministrationError(f"No account has the login or the e-mail address {login}.")
    if len(found) > 1:
        ids = " or --id ".join(found)
        raise AdministrationError(f"{len(found)} accounts have {login}. Choose one: --id {ids}.")
    return next(iter(found.values()))


def account_name(state: RegistrationState, user: User) -> str:
    """Return how a terminal shows an account: ``alice (id 7)``."""
    values = (getattr(user, name) for name in state.fields.login)
    login = next((value for value in values if value is not None), None)
    identifier = f"id {state.users.identifier(user)}"
    return printable(identifier if login is None else f"{login} ({identifier})")


def account_command(
    name: str, action: Callable[[User], bool], *, done: str, unchanged: str, about: str
) -> click.Command:
    """Add a command that runs an action on the selected account, and return it.

    :param action: returns whether it has changed the account.
    :param done: what the command prints before the name of the account.
    :param unchanged: what it prints after the name if the action has changed nothing.
    :param about: the help.
    """

    @registration_cli.command(name, help=about)
    @names_account
    @click.pass_context
    def command(context: click.Context, login: str | None, identifier: str | None) -> None:
        state = enter(context)
        user = find_account(state, login, identifier)
        shown = account_name(state, user)
        is_changed = action(user)
        click.echo(
            f"{done} {shown}." if is_changed else f"{shown} {unchanged}. Nothing was changed."
        )

    return command


def ask_password(state: RegistrationState, values: Mapping[str, Any], *, from_stdin: bool) -> str:
    """Prompt twice for a new password until it passes the policy, or read it from stdin.

    :param values: the columns of the account, which the password must not resemble.
    :raises marshmallow.ValidationError: the password on stdin does not pass.
    """
    inputs = state.users.inputs(values)

    def check(password: str) -> None:
        if UNSAFE.search(password):
            raise ValidationError(UNSUPPORTED_CHARACTERS, "password")
        state.passwords.check(password, inputs)

    if from_stdin:
        return _password_of_stdin(check)
    try:
        return _prompted_password(check)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        fail("There is no terminal for a prompt. Pipe the password in with --password-stdin.")


def _prompted_password(check: Callable[[str], None]) -> str:
    while True:
        password: str = click.prompt("Password", hide_input=True)
        try:
            check(password)
        except ValidationError as error:
            click.secho("\n".join(error_messages(error)), err=True, fg="red")
            continue
        if click.prompt("Repeat for confirmation", hide_input=True) == password:
            return password
        click.secho("The two passwords do not match.", err=True, fg="red")


def _password_of_stdin(check: Callable[[str], None]) -> str:
    try:
        password = sys.stdin.buffer.read().decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        fail("The password on stdin is not UTF-8.")
    if not password or "\n" in password:
        fail("Pass the password as a single line on stdin.")
    check(password)
    return password


#: The prefix of a column's parameter, which keeps it apart from the command's own parameters.
COLUMN = "column_"


class CreateUserCommand(click.Command):
    """A command with an option for each column of the user model that an account can start with."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the parameters, with an option for each column."""
        own = super().get_params(ctx)
        reserved = {name for each in own for name in (*each.opts, *each.secondary_opts)}
        _, state = load(ctx)
        fields = account_columns_schema(state.fields)().fields.items()
        options = [_option(state.fields, name, field.required) for name, field in fields]
        free = [each for each in options if reserved.isdisjoint([*each.opts, *each.secondary_opts])]
        return [*free, *own]


def _option(fields: UserFields, name: str, required: bool) -> click.Option:
    column, switch = fields.columns[name], option(name)
    is_flag = isinstance(column.type, Boolean)
    names = [f"{switch}/--no-{switch[2:]}" if is_flag else switch, COLUMN + name]
    about = column.doc or column.comment or _about(fields, name)
    more = {"is_flag": True, "default": None} if is_flag else {"metavar": _metavar(column.type)}
    return click.Option(names, required=required, help=about, **more)


def _metavar(kind: TypeEngine[Any]) -> str:
    if isinstance(kind, Enum):
        return f"[{'|'.join(kind.enums)}]"
    if isinstance(kind, DateTime):
        return "YYYY-MM-DDTHH:MM"
    if isinstance(kind, Date):
        return "YYYY-MM-DD"
    return "TEXT" if isinstance(kind, String) else kind.python_type.__name__.upper()


def _about(fields: UserFields, name: str) -> str:
    if name == fields.email:
        return "The e-mail address."
    if name in fields.login:
        return "The login of the user."
    return f"Sets {fields.model.__name__}.{name}."


_password_stdin = click.option(
    "--password-stdin", is_flag=True, help="Read the password from stdin instead of prompting."
)


@registration_cli.command("create-user", cls=CreateUserCommand)
@click.option("--unverified", is_flag=True, help="Send a link to verify the e-mail address.")
@click.option("--no-mail", is_flag=True, help="With --unverified: do not send the e-mail.")
@_password_stdin
@click.pass_context
def create_user_command(
    context: click.Context, /, unverified: bool, no_mail: bool, password_stdin: bool, **given: Any
) -> None:
    """Create an account.

    The first options are the columns of your model that an account can start with. The command
    prompts for the password twice and does not show it. The e-mail address is verified, unless you
    pass --unverified. Then the user gets the same e-mail as after a registration.
    """
    if no_mail and not unverified:
        text = "--no-mail requires --unverified: a verified account gets no e-mail."
        raise click.UsageError(text, context)
    state = enter(context)
    if unverified and verification_settings(state) is None:
        fail(f"--unverified requires {PREFIX}REGISTER_VERIFICATION_ENABLED, which is off.")
    columns = {
        name.removeprefix(COLUMN): value for name, value in given.items() if value is not None
    }
    given_values = load_body(account_columns_schema(state.fields)(), columns)
    values = state.users.build(given_values, judged=["email"])
    password = ask_password(state, values, from_stdin=password_stdin)
    mail = unverified and not no_mail and state.sends_links
    user = actions.create_user(
        password=password, verified=not unverified, send_verification=mail, **values
    )
    name, email = account_name(state, user), state.users.snapshot(user).email
    if mail:
        click.echo(f"Created {name}. A verification link goes to {printable(email or '')}.")
    else:
        waits = " It is not verified yet." if unverified else ""
        click.echo(f"Created {name}.{waits}")


account_command(
    "verify",
    actions.verify,
    done="Verified",
    unchanged="is already verified",
    about="""Mark the e-mail address of an account as verified.

    LOGIN is the login or the e-mail address of the user. As with the link in the e-mail, all
    earlier sessions, tokens and other links become invalid. The person who registered knows the
    password, so make sure first that the address belongs to them.
    """,
)

account_command(
    "suspend",
    actions.suspend,
    done="Suspended",
    unchanged="is already suspended",
    about="""Suspend an account.

    LOGIN is the login or the e-mail address of the user. All sessions, tokens and links of the
    account become invalid permanently. The user is not notified.
    """,
)

_reactivate = account_command(
    "reactivate",
    actions.reactivate,
    done="Reactivated",
    unchanged="is not suspended",
    about="""Reactivate a suspended account.

    LOGIN is the login or the e-mail address of the user. The password is the earlier one. Earlier
    sessions, tokens and links stay invalid.
    """,
)


# Its earlier name, which scripts may use. The help does not list it.
_earlier_name = copy(_reactivate)
_earlier_name.hidden = True
registration_cli.add_command(_earlier_name, "resume")

account_command(
    "approve",
    actions.approve,
    done="Approved",
    unchanged="is already approved",
    about="""Approve an account that waits for it, or that was rejected.

    LOGIN is the login or the e-mail address of the user. If the address is verified, the user is
    notified by e-mail.
    """,
)

account_command(
    "reject",
    actions.reject,
    done="Rejected",
    unchanged="is already rejected",
    about="""Reject an account that waits for approval.

    LOGIN is the login or the e-mail address of the user. The user cannot log in, and another person
    can register the username and the e-mail address. If the address is verified, the user is
    notified by e-mail.
    """,
)


@registration_cli.command("approvals")
@click.pass_context
def approvals_command(context: click.Context) -> None:
    """List the verified accounts that wait for approval, the oldest first."""
    state = enter(context)
    waiting = state.provided("waiting_accounts")
    if waiting is None:
        fail("This application needs no approval: there is no flow approval.")
    for user in waiting(state):
        email = printable(state.users.snapshot(user).email or "")
        click.echo(f"{account_name(state, user)} {email}".rstrip())


account_command(
    "reset-second-factor",
    actions.reset_second_factor,
    done="Removed the second factor of",
    unchanged="has no second factor",
    about="""Remove the second factor of an account, for a user who has lost it.

    LOGIN is the login or the e-mail address of the user. All sessions, tokens and links of the
    account become invalid. The user is notified by e-mail. Make sure first that the person who asks
    is the owner of the account.
    """,
)

account_command(
    "restore",
    actions.restore,
    done="Restored",
    unchanged="will not be deleted",
    about="""Cancel the scheduled deletion of an account.

    LOGIN is the login or the e-mail address of the user. The password is the earlier one. Earlier
    sessions, tokens and links stay invalid. The user is not notified.
    """,
)


@registration_cli.command("set-password")
@names_account
@_password_stdin
@click.pass_context
def set_password_command(
    context: click.Context, login: str | None, identifier: str | None, password_stdin: bool
) -> None:
    """Replace the password of an account.

    LOGIN is the login or the e-mail address of the user. The command prompts for the password twice
    and does not show it. The password must pass the password policy. All sessions, tokens and links
    of the account become invalid. The user is notified by e-mail. A suspended account stays
    suspended, and a pending one pending.
    """
    state = enter(context)
    user = find_account(state, login, identifier)
    name, key = account_name(state, user), state.users.identifier(user)
    personal = {name: getattr(user, name) for name in state.fields.personal}
    state.users.rollback()  # release the connection during the prompt
    password = ask_password(state, personal, from_stdin=password_stdin)
    actions.set_password(find_account(state, None, key), password)
    click.echo(f"Set the password of {name}.")
