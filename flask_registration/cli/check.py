"""``flask registration check``: what is wrong with a configuration, and what a deployment lacks."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Sequence

import click

from ..deployment import Finding, look
from .base import load, registration_cli

COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


@registration_cli.command("check")
@click.option("--mail", is_flag=True, help="Talk to the mail server, too; no mail is sent.")
@click.option("--database", is_flag=True, help="Compare the database with the models, too.")
@click.option("--strict", is_flag=True, help="Exit with 1 on a warning, too, and print what could be better.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_context
def check_command(context: click.Context, mail: bool, database: bool, strict: bool, as_json: bool) -> None:
    """Tell what is wrong, and what the deployment lacks.

    Exits with 1 where the application cannot start or a server that was asked does not answer as it must.
    """
    app, kit = load(context)
    with app.app_context():
        findings = look(app, kit, mail_server=mail, stored=database)
    shown = [each for each in findings if strict or each.level != "note"]
    if as_json:
        click.echo(json.dumps([each._asdict() for each in shown], indent=2))
    else:
        count = len(kit.settings)
        click.echo(f"Flask-Registration is configured correctly for {app.name} ({count} groups of settings).")
        report(shown)
    levels = {each.level for each in findings}
    if "error" in levels or (strict and "warning" in levels):
        raise SystemExit(1)


def report(findings: Sequence[Finding]) -> None:
    """Print the findings, the worst first."""
    width = min(shutil.get_terminal_size().columns, 100)
    for level in COLOURS:
        for finding in (each for each in findings if each.level == level):
            text = _wrapped(f"{level}: {finding.subject} {finding.says}", width, "", "  ")
            click.echo("\n" + click.style(level, fg=COLOURS[level], bold=True) + text.removeprefix(level))
            click.echo(_wrapped(f"-> {finding.cure}", width, "  ", "     "))
    counts = {level: sum(each.level == level for each in findings) for level in COLOURS}
    told = [f"{count} {level}{'' if count == 1 else 's'}" for level, count in counts.items() if count]
    click.echo(f"\n{', '.join(told)}." if told else "Nothing to complain about.")


def _wrapped(text: str, width: int, first: str, then: str) -> str:
    return textwrap.fill(
        text, width, initial_indent=first, subsequent_indent=then, break_long_words=False, break_on_hyphens=False
    )
