"""The group ``flask registration``, and what its commands share."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, NoReturn

import click
from flask import Flask
from flask.cli import ScriptInfo
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ..delivery import Sender
from ..deployment.database import stored
from ..errors import ConfigurationError, DatabaseUnavailable
from ..kit import Kit

#: Where a command leaves its application and kit for whoever tells of its trouble.
LOADED = f"{__name__}.loaded"


class Commands(click.Group):
    """Commands that, where the database fails them, say what it lacks, and end."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (DatabaseUnavailable, SQLAlchemyError) as error:
            fail("\n".join(_of_database(ctx, error)))


def _of_database(context: click.Context, error: DatabaseUnavailable | SQLAlchemyError) -> Iterator[str]:
    """What ``check --database`` would say; the database's own word where that finds nothing."""
    found = []
    if LOADED in context.meta:
        app, kit = context.meta[LOADED]
        with app.app_context():
            found = [each for each in stored(app, kit) if each.level == "error"]
    for cure, group in groupby(found, key=lambda each: each.cure):
        yield from (printable(f"{each.subject} {each.says}") for each in group)
        yield f"  -> {cure}"
    if found:
        return
    if isinstance(error, DatabaseUnavailable):
        yield f"{error.detail}{why(error.__cause__)}"
    else:
        yield f"The database refused.{why(error)}"


@click.group("registration", cls=Commands)
def registration_cli() -> None:
    """Look after accounts, their mails, and the configuration.

    Each command exits with 0 if it has done what it says; with 1 if not, and says why on stderr; with 2 if it was not
    called as it must be.
    """


def load(context: click.Context) -> tuple[Flask, Kit]:
    """The application that a command is about, and its kit; says what is wrong, and ends, where there is none."""
    try:
        app = context.ensure_object(ScriptInfo).load_app()
    except ConfigurationError as error:
        fail(str(error))
    kit = app.extensions.get("registration")
    if kit is None:
        fail("This application has no Registration: call registration.init_app(app).")
    context.meta[LOADED] = app, kit
    return app, kit


def load_outbox(context: click.Context) -> tuple[Flask, Sender]:
    """The application that a command is about, and what sends from its outbox."""
    app, kit = load(context)
    if kit.outbox is None:
        fail("This application has no outbox: pass outbox_model=Outbox to Registration or init_app.")
    return app, kit.outbox


def fail(text: str) -> NoReturn:
    """Say why, and end with status 1."""
    click.secho(text, err=True, fg="red")
    raise SystemExit(1)


def why(error: BaseException | None) -> str:
    """What the database says, in one line: the others may have a row with its password's hash."""
    original = error.orig if isinstance(error, DBAPIError) else None
    first = str(original).strip().partition("\n")[0]
    return f" {printable(first)}" if original else ""


def printable(text: str) -> str:
    """A text that cannot colour, erase or turn round what a terminal shows."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "surrogatepass").decode() for each in text
    )
