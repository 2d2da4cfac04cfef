"""``flask registration create-user``: open an account; its options are the columns of the application's model."""

from __future__ import annotations

from typing import Any

import click
from marshmallow import ValidationError
from sqlalchemy import Boolean, Date, DateTime, Enum, String
from sqlalchemy.types import TypeEngine

from ..administration import account_name, create_user
from ..kit import Kit
from ..pending import verification
from ..retries import retrying
from ..schemas import account_columns_schema
from ..settings import PREFIX
from ..userfields import UserFields
from ..web import UNSAFE
from .accounts import accounts, ask_password, option
from .base import fail, load, printable, registration_cli

#: What the parameters of columns start with, so that they are none of the command's own.
COLUMN = "column_"


class CreateUserCommand(click.Command):
    """A command with an option for each column of the application's model that an account may begin with."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        own = super().get_params(ctx)
        key = f"{__name__}.options"
        if key not in ctx.meta:
            _, kit = load(ctx)
            taken = {name for each in own for name in (*each.opts, *each.secondary_opts)}
            schema = account_columns_schema(kit.fields)()
            made = [_option(kit.fields, name, field.required) for name, field in schema.fields.items()]
            ctx.meta[key] = [each for each in made if taken.isdisjoint([*each.opts, *each.secondary_opts])]
        return [*ctx.meta[key], *own]


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
    if isinstance(kind, (Date, DateTime)):
        return "YYYY-MM-DD" if isinstance(kind, Date) else "YYYY-MM-DDTHH:MM"
    return "TEXT" if isinstance(kind, String) else kind.python_type.__name__.upper()


def _about(fields: UserFields, name: str) -> str:
    what = "What they log in with." if name in fields.login else f"Sets {fields.model.__name__}.{name}."
    return "The e-mail address." if name == fields.email else what


@registration_cli.command("create-user", cls=CreateUserCommand)
@click.option("--unverified", is_flag=True, help="Let the owner prove the address by the link in a mail.")
@click.option("--no-mail", is_flag=True, help="With --unverified: send no mail.")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin instead of asking for it.")
@click.pass_context
def create_user_command(
    context: click.Context, /, unverified: bool, no_mail: bool, password_stdin: bool, **given: Any
) -> None:
    """Open an account.

    The first options are the columns of your model that an account may begin with. The password is asked for twice and
    not shown. The address counts as proven, unless you say --unverified: then its owner gets the same mail as after a
    registration.
    """
    if no_mail and not unverified:
        raise click.UsageError("--no-mail goes with --unverified: a verified account gets no mail.", context)
    with accounts(context) as kit:
        if unverified and verification(kit) is None:
            fail(f"Nobody could verify the account: {PREFIX}REGISTER_VERIFICATION_ENABLED is off.")
        values = _columns(kit, {name.removeprefix(COLUMN): value for name, value in given.items() if value is not None})
        texts = kit.users.inputs(values)
        password = ask_password(lambda each: kit.passwords.check(each, texts), from_stdin=password_stdin)
        user = retrying(
            lambda: create_user(kit, values, password, verified=not unverified, mail=unverified and not no_mail),
            kit.users.rollback,
        )
        name, email = account_name(kit, user), kit.users.state(user).email
    if unverified:
        told = "It waits for its verification" if no_mail else f"The mail with the link goes to {email}"
        click.echo(printable(f"Created {name}. {told}."))
    else:
        click.echo(printable(f"Created {name}."))


def _columns(kit: Kit, given: dict[str, Any]) -> dict[str, Any]:
    """What was given, checked as the columns want it and in normal form.

    :raises marshmallow.ValidationError: with the complaints about every column.
    """
    unsafe = {name: ["This text has characters that cannot be stored."] for name in given if _is_unsafe(given[name])}
    if unsafe:
        raise ValidationError(unsafe)
    loaded: dict[str, Any] = account_columns_schema(kit.fields)().load(given)
    return kit.users.build(loaded)


def _is_unsafe(value: Any) -> bool:
    return isinstance(value, str) and UNSAFE.search(value) is not None
