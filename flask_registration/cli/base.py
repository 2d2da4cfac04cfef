"""The command group, and what its commands share."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, NoReturn

import click
from flask import Flask
from flask.cli import ScriptInfo
from marshmallow import ValidationError
from marshmallow.exceptions import SCHEMA
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ..deployment.database import tables
from ..errors import ConfigurationError, DatabaseUnavailable, RegistrationError
from ..http.responses import by_field
from ..outbox.store import OutboxSender
from ..state import RegistrationState

#: The key under which a command keeps its application and registration state for error messages.
LOADED = f"{__name__}.loaded"

#: The fields of a validation error that are no options.
NAMELESS = ("password", SCHEMA)


class Commands(click.Group):
    """A group whose commands report errors and exit with status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command, and report its errors."""
        try:
            return super().invoke(ctx)
        except ValidationError as error:
            fail("\n".join(error_messages(error)))
        except ConfigurationError as error:
            fail(str(error))
        except (DatabaseUnavailable, SQLAlchemyError) as error:
            fail("\n".join(_database_problems(ctx, error)))
        except RegistrationError as error:
            fail(printable(str(error)))


def error_messages(error: ValidationError) -> list[str]:
    """Return the messages of a validation error, one per line, each with the option's name."""
    return [
        printable(str(message) if name in NAMELESS else f"{option(name)}: {message}")
        for name, messages in by_field(error).items()
        for message in (messages if isinstance(messages, list) else [messages])
    ]


def option(name: str) -> str:
    """Return the option of a column."""
    return f"--{name.replace('_', '-')}"


def _database_problems(
    context: click.Context, error: DatabaseUnavailable | SQLAlchemyError
) -> Iterator[str]:
    """Return what ``check --database`` finds; if nothing, the message of the database."""
    found = []
    if LOADED in context.meta:
        app, state = context.meta[LOADED]
        with app.app_context():
            found = [each for each in tables(state.setup) if each.level == "error"]
    for hint, group in groupby(found, key=lambda each: each.hint):
        yield from (printable(f"{each.subject} {each.problem}") for each in group)
        yield f"  -> {hint}"
    if found:
        return
    if isinstance(error, DatabaseUnavailable):
        yield f"{error.detail}{database_message(error.__cause__)}"
    else:
        yield f"Database error:{database_message(error) or f' {type(error).__name__}.'}"


@click.group("registration", cls=Commands)
def registration_cli() -> None:
    """Manage accounts, e-mail and configuration.

    Exit status: 0 for success; 1 for failure, with the reason on stderr; 2 for wrong usage.
    """


def load(context: click.Context) -> tuple[Flask, RegistrationState]:
    """Return the application of a command and its registration state; exit if there is none.

    :raises ConfigurationError: the application cannot start.
    """
    app = context.ensure_object(ScriptInfo).load_app()
    state = app.extensions.get("registration")
    if state is None:
        fail("This application has no Registration. Call registration.init_app(app).")
    context.meta[LOADED] = app, state
    return app, state


def enter(context: click.Context) -> RegistrationState:
    """Push an application context for a command, and return the registration state."""
    app, state = load(context)
    context.with_resource(app.app_context())
    return state


def load_outbox(context: click.Context) -> tuple[Flask, OutboxSender]:
    """Return the application of a command and the sender of its outbox; exit if there is none."""
    app, state = load(context)
    sender: OutboxSender | None = state.extras.get("outbox")
    if sender is None:
        fail("This application has no outbox. Pass models=[Outbox] to Registration or init_app.")
    return app, sender


def fail(text: str) -> NoReturn:
    """Print an error and exit with status 1."""
    click.secho(text, err=True, fg="red")
    raise SystemExit(1)


def database_message(error: BaseException | None) -> str:
    """Return the first line of the database's message; the others may contain a password hash."""
    original = error.orig if isinstance(error, DBAPIError) else None
    first = str(original).strip().partition("\n")[0]
    return f" {printable(first)}" if original else ""


def counted(count: int, name: str) -> str:
    """Return a number of things in words: ``2 rows``."""
    return f"{count} {name}{'' if count == 1 else 's'}"


def printable(text: str) -> str:
    """Escape the characters that could color, erase or reverse text on a terminal."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "surrogatepass").decode()
        for each in text
    )
