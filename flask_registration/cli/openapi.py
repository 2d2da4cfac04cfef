"""``flask registration openapi``: the API description."""

from __future__ import annotations

import json
from typing import IO

import click

from ..openapi import Description
from ..openapi.markdown import to_markdown
from ..openapi.serving import EXTRA
from .base import fail, load, registration_cli


@registration_cli.command("openapi")
@click.option("--output", type=click.File("w", "utf-8", lazy=True), default="-", metavar="FILE", help="Write it there.")
@click.option(
    "--format", "kind", type=click.Choice(["json", "yaml", "markdown"]), default="json", help="JSON unless given."
)
@click.pass_context
def openapi_command(context: click.Context, output: IO[str], kind: str) -> None:
    """Print the API description of this application.

    It is OpenAPI 3.1, made of this configuration: what clients and their types
    are generated from. As Markdown it is a page for people.
    """
    app, kit = load(context)
    try:
        document = Description(app, kit).document
        if kind == "yaml":
            from apispec.yaml_utils import dict_to_yaml

            text = dict_to_yaml(document, {"allow_unicode": True, "width": 120})
        elif kind == "markdown":
            text = to_markdown(document)
        else:
            text = json.dumps(document, ensure_ascii=False, indent=2) + "\n"
    except ModuleNotFoundError as error:
        fail(f"This needs {error.name}, which is not installed: {EXTRA}.")
    output.write(text)
