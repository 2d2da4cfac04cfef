"""What the commands about accounts share: whom they are about, a password, and what went wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from typing import TypeVar

import click
from marshmallow import ValidationError

from ..administration import account_name, find_account
from ..errors import APIError, DatabaseUnavailable, RegistrationError
from ..kit import Kit
from ..retries import retrying
from ..users import User
from ..web import UNSAFE
from .base import fail, load, printable, why

T = TypeVar("T")


def names_account(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take ``LOGIN`` or ``--id``, as ``login`` and ``identifier``."""
    by_id = click.option("--id", "identifier", metavar="ID", help="Name the account by its id instead.")
    return click.argument("login", required=False)(by_id(command))


def check_names(context: click.Context, login: str | None, identifier: str | None) -> None:
    """Make sure that an account is named, in one way.

    :raises click.UsageError: it is not.
    """
    if bool(login) == bool(identifier):
        raise click.UsageError("Name the account, either by LOGIN or by --id.", context)


@contextmanager
def accounts(context: click.Context) -> Generator[Kit]:
    """The kit of the application, within its context; what goes wrong is told, and ends the command."""
    app, kit = load(context)
    with app.app_context():
        try:
            yield kit
        except ValidationError as error:
            fail("\n".join(complaints(error, set(kit.fields.columns) - {kit.fields.password})))
        except DatabaseUnavailable:
            raise  # which the group of commands tells
        except APIError as error:
            fail(f"{error.detail}{why(error.__cause__)}")
        except RegistrationError as error:
            fail(printable(str(error)))


def on_account(
    context: click.Context, login: str | None, identifier: str | None, action: Callable[[Kit, User], T]
) -> tuple[str, T]:
    """Do this with the account that is named; returns what that is called, and what the action returned."""
    check_names(context, login, identifier)
    with accounts(context) as kit:

        def work() -> tuple[str, T]:
            user = find_account(kit, login, identifier=identifier)
            return account_name(kit, user), action(kit, user)

        name, returned = retrying(work, kit.users.rollback)
        return printable(name), returned


def ask_password(check: Callable[[str], None], *, from_stdin: bool) -> str:
    """A new password, typed twice without being shown, until it passes the check; or the one line of stdin.

    :raises marshmallow.ValidationError: that of stdin does not pass.
    """
    if from_stdin:
        return _password_of_stdin(check)
    try:
        return _prompted_password(check)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        fail("There is no terminal to ask at: pipe the password in, with --password-stdin.")


def _prompted_password(check: Callable[[str], None]) -> str:
    while True:
        password: str = click.prompt("Password", hide_input=True)
        try:
            _check_password(password, check)
        except ValidationError as error:
            click.secho("\n".join(complaints(error)), err=True, fg="red")
            continue
        if click.prompt("The same again", hide_input=True) == password:
            return password
        click.secho("The two passwords do not match.", err=True, fg="red")


def _password_of_stdin(check: Callable[[str], None]) -> str:
    try:
        password = sys.stdin.buffer.read().decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        fail("The password on stdin is not UTF-8.")
    if not password or "\n" in password:
        fail("Give the password as the one line of stdin.")
    _check_password(password, check)
    return password


def _check_password(password: str, check: Callable[[str], None]) -> None:
    if UNSAFE.search(password):
        raise ValidationError({"password": ["This text has characters that cannot be stored."]})
    check(password)


def complaints(error: ValidationError, columns: Collection[str] = ()) -> list[str]:
    """What marshmallow complains of, a line each.

    :param columns: the fields that are options of the command.
    """
    messages = error.messages if isinstance(error.messages, dict) else {"_schema": error.messages}
    return [
        printable(f"{option(name)}: {text}" if name in columns else str(text))
        for name, texts in messages.items()
        for text in (texts if isinstance(texts, list) else [texts])
    ]


def option(name: str) -> str:
    """A column as an option."""
    return f"--{name.replace('_', '-')}"
