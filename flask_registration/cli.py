"""``flask registration``: check a configuration, print the settings."""

from __future__ import annotations

import textwrap
from typing import NoReturn

import click
from flask import Flask
from flask.cli import ScriptInfo

from .errors import ConfigurationError
from .extension import ROOMS
from .flows import DEFAULT_FLOWS
from .kit import Kit
from .settings import PREFIX, declarations, spell


@click.group("registration")
def registration_cli() -> None:
    """Accounts: check the configuration, print the settings."""


@registration_cli.command("check")
@click.pass_context
def check_command(context: click.Context) -> None:
    """Tell every problem of the configuration, or that there is none."""
    app, kit = _load(context)
    count = len(kit.settings)
    click.echo(f"Flask-Registration is configured correctly for {app.name} ({count} groups of settings).")


@registration_cli.command("settings")
@click.option("--markdown", is_flag=True, help="Print the table for the documentation; needs no application.")
@click.pass_context
def settings_command(context: click.Context, markdown: bool) -> None:
    """Print every setting with its value, its default and what it is for."""
    if markdown:
        click.echo(settings_table(), nl=False)
        return
    _, kit = _load(context)
    for group, values in kit.settings.items():
        if not declarations(group):
            continue
        click.secho(f"\n{(group.__doc__ or '').splitlines()[0]}", bold=True)
        for declaration in declarations(group):
            field = declaration.key.removeprefix(PREFIX).lower()
            value, default = getattr(values, field), getattr(group(), field)
            click.echo(f"\n  {declaration.key}")
            click.echo(f"    value:   {declaration.default if value == default else spell(value)}")
            click.echo(f"    default: {declaration.default}")
            click.echo(textwrap.indent(textwrap.fill(declaration.help, 100), "    "))


def settings_table() -> str:
    """Every setting as Markdown tables, one for each group."""
    parts = []
    for group in filter(declarations, (*(flow.group for flow in DEFAULT_FLOWS), *ROOMS)):
        parts.append(f"**{(group.__doc__ or '').splitlines()[0].rstrip('.')}**\n\n")
        parts.append("| setting | default | what it is for |\n| --- | --- | --- |\n")
        for key, kind, default, help in declarations(group):
            parts.append(f"| `{key}` | {_cell(default)} | {help.replace('|', chr(92) + '|')} *({kind})* |\n")
        parts.append("\n")
    return "".join(parts).rstrip("\n") + "\n"


def _cell(default: str) -> str:
    return f"`{default}`" if default.startswith(("'", "[", "{")) or default in ("True", "False", "None") else default


def _load(context: click.Context) -> tuple[Flask, Kit]:
    try:
        app = context.ensure_object(ScriptInfo).load_app()
    except ConfigurationError as error:
        _fail(str(error))
    kit = app.extensions.get("registration")
    if kit is None:
        _fail("This application has no Registration: call registration.init_app(app).")
    return app, kit


def _fail(text: str) -> NoReturn:
    click.secho(text, err=True, fg="red")
    raise SystemExit(1)
