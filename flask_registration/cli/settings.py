"""``flask registration settings``: every setting, with its value and what it is for."""

from __future__ import annotations

import textwrap

import click

from ..extension import ROOMS
from ..flows import DEFAULT_FLOWS
from ..settings import PREFIX, Settings, declarations, spell
from .base import load, registration_cli


@registration_cli.command("settings")
@click.option("--markdown", is_flag=True, help="Print the table for the documentation; needs no application.")
@click.pass_context
def settings_command(context: click.Context, markdown: bool) -> None:
    """Print every setting with its value and what it is for."""
    if markdown:
        click.echo(settings_table(), nl=False)
        return
    _, kit = load(context)
    for group, values in kit.settings.items():
        if not declarations(group):
            continue
        click.secho(f"\n{_title(group).replace('``', '')}", bold=True)
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
        parts.append(f"**{_title(group).rstrip('.').replace('``', '`')}**\n\n")
        parts.append("| setting | default | what it is for |\n| --- | --- | --- |\n")
        for key, kind, default, help in declarations(group):
            parts.append(f"| `{key}` | {_cell(default)} | {help.replace('|', chr(92) + '|')} *({kind})* |\n")
        parts.append("\n")
    return "".join(parts).rstrip("\n") + "\n"


def _title(group: type[Settings]) -> str:
    """What a group of settings is about, as its docstring says it."""
    return (group.__doc__ or "").splitlines()[0]


def _cell(default: str) -> str:
    return f"`{default}`" if default.startswith(("'", "[", "{")) or default in ("True", "False", "None") else default
