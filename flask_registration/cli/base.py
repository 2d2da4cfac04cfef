"""The group ``flask registration``, and what its commands share."""

from __future__ import annotations

from typing import NoReturn

import click
from flask import Flask
from flask.cli import ScriptInfo

from ..delivery import Sender
from ..errors import ConfigurationError
from ..kit import Kit


@click.group("registration")
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
