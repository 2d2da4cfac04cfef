"""Format the API description as a Markdown page for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from jinja2 import Environment, PackageLoader


def to_markdown(document: Mapping[str, Any]) -> str:
    """Return every endpoint with its request and its responses, grouped by flow."""

    def resolve(described: Mapping[str, Any]) -> Mapping[str, Any]:
        """Follow a reference."""
        if "$ref" not in described:
            return described
        _, kind, name = described["$ref"].removeprefix("#/").split("/")
        found: Mapping[str, Any] = document["components"][kind][name]
        return found

    # The description is the application's own.
    loader = PackageLoader(__package__, "")
    environment = Environment(loader=loader)  # noqa: S701 -- Markdown is not escaped as HTML
    environment.filters["resolve"] = resolve
    environment.filters["json"] = partial(json.dumps, indent=2, ensure_ascii=False)
    return environment.get_template("endpoints.md").render(document).lstrip()
