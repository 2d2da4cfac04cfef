"""The commands for the configuration, the API description and the e-mail preview."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections import Counter
from collections.abc import Sequence
from inspect import cleandoc
from typing import IO

import click
from werkzeug.utils import import_string

from ..checks import Finding
from ..deployment.report import run_checks
from ..errors import ConfigurationError
from ..extension import SETTINGS_GROUPS
from ..flows.default import DEFAULT_FLOWS, OPTIONAL_FLOWS, extra_settings
from ..openapi.markdown import to_markdown
from ..openapi.serving import INSTALL, make_description
from ..settings import PREFIX, declarations, format_value
from .base import counted, enter, fail, load, registration_cli

COLORS = {"error": "red", "warning": "yellow", "note": "cyan"}


@registration_cli.command("check")
@click.option("--mail", is_flag=True, help="Connect to the mail server, too. Sends no e-mail.")
@click.option("--database", is_flag=True, help="Compare the database with the models, too.")
@click.option("--strict", is_flag=True, help="Exit with 1 on a warning, too, and print notes.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_context
def check_command(
    context: click.Context, mail: bool, database: bool, strict: bool, as_json: bool
) -> None:
    """Report errors of the configuration and what is insecure in production.

    Exit status 1: the application cannot start, or the check of the mail server or the database
    failed.
    """
    try:
        state = enter(context)
    except ConfigurationError as error:
        found: Sequence[Finding] = error.findings
    else:
        found = run_checks(state.setup, with_mail=mail, with_database=database)
    shown = [finding for finding in found if strict or finding.level != "note"]
    if as_json:
        listed = [{"level": finding.level, **finding._asdict()} for finding in shown]
        click.echo(json.dumps(listed, indent=2))
    else:
        report(shown)
    levels = {finding.level for finding in found}
    if "error" in levels or (strict and "warning" in levels):
        raise SystemExit(1)


def report(findings: Sequence[Finding]) -> None:
    """Print the findings and how many there are."""
    width = min(shutil.get_terminal_size().columns, 100)
    for finding in findings:
        level = finding.level
        problem, _, _ = str(finding).partition("\n")
        text = _wrapped(problem, width, "", "  ").removeprefix(level)
        click.echo(click.style(level, fg=COLORS[level], bold=True) + text)
        click.echo(_wrapped(f"-> {finding.hint}", width, "  ", "     ") + "\n")
    levels = Counter(finding.level for finding in findings)
    counts = [counted(count, level) for level, count in levels.items()]
    click.echo(f"{', '.join(counts)}." if counts else "No problems found.")


def _wrapped(text: str, width: int, first: str, then: str) -> str:
    return textwrap.fill(
        text,
        width,
        initial_indent=first,
        subsequent_indent=then,
        break_long_words=False,
        break_on_hyphens=False,
    )


@registration_cli.command("settings")
@click.option("--markdown", is_flag=True, help="Print Markdown. Needs no application.")
@click.pass_context
def settings_command(context: click.Context, markdown: bool) -> None:
    """Print every setting with its value, its default and a description."""
    if markdown:
        click.echo(settings_page(), nl=False)
        return
    _, state = load(context)
    for group, values in state.settings.items():
        if not declarations(group):
            continue
        title = (group.__doc__ or "").splitlines()[0].replace("``", "")
        click.secho(f"\n{title}", bold=True)
        for declaration in declarations(group):
            field = declaration.key.removeprefix(PREFIX).lower()
            value, default = getattr(values, field), getattr(group(), field)
            click.echo(f"\n  {declaration.key}")
            shown = declaration.default if value == default else format_value(value)
            click.echo(f"    value:   {shown}")
            click.echo(f"    default: {declaration.default}")
            click.echo(textwrap.indent(textwrap.fill(declaration.help, 100), "    "))


def settings_page() -> str:
    """Return every setting in Markdown, with headings; those of optional flows as well."""
    optional = [import_string(path) for path in OPTIONAL_FLOWS]
    flows = {flow.group: f"Only with the flow `{flow.name}`.\n" for flow in optional}
    defaults = (*(flow.group for flow in DEFAULT_FLOWS), *SETTINGS_GROUPS)
    parts = []
    groups = dict.fromkeys([*defaults, *flows, *extra_settings()])
    for group in filter(declarations, groups):
        title, _, about = cleandoc(group.__doc__ or "").replace("``", "`").partition("\n\n")
        parts.append(f"## {title.rstrip('.')}\n\n{about}\n")
        if group not in defaults:
            parts.append(flows.get(group, ""))
        for key, kind, default, help, limits, since in declarations(group):
            facts = {
                "Type": kind,
                "Default": _cell(default),
                "Limits": limits,
                "New in version": since,
            }
            lines = [f"- {name}: {fact}\n" for name, fact in facts.items() if fact]
            parts.append(f"### `{key}`\n\n{help}\n\n{''.join(lines)}")
    return "\n".join(parts)


def _cell(default: str) -> str:
    is_code = default.startswith(("'", "[", "{")) or default in ("True", "False", "None")
    return f"`{default}`" if is_code else default


@registration_cli.command("openapi")
@click.option(
    "--output",
    type=click.File("w", "utf-8", lazy=True),
    default="-",
    metavar="FILE",
    help="Write to this file instead of stdout.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["json", "yaml", "markdown"]),
    default="json",
    help="The output format; the default is json.",
)
@click.pass_context
def openapi_command(context: click.Context, output: IO[str], kind: str) -> None:
    """Print the API description of this application.

    The format is OpenAPI 3.1, and the content follows this configuration. Generate clients and
    types from it. The Markdown output is a page for people.
    """
    app, state = load(context)
    try:
        document = make_description(app, state)
        if kind == "yaml":
            from apispec.yaml_utils import dict_to_yaml

            text = dict_to_yaml(document, {"allow_unicode": True, "width": 120})
        elif kind == "markdown":
            text = to_markdown(document)
        else:
            text = json.dumps(document, ensure_ascii=False, indent=2) + "\n"
    except ModuleNotFoundError as error:
        fail(f"This command requires {error.name}. Install it: {INSTALL}.")
    output.write(text)
