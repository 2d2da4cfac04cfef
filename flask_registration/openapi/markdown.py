"""Format the API description as a Markdown page for people."""

from __future__ import annotations

from collections.abc import Mapping
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

    # Markdown is not escaped as HTML, and the description is the application's own.
    environment = Environment(loader=PackageLoader(__package__, ""))  # noqa: S701
    environment.filters["resolve"] = resolve
    return environment.get_template("endpoints.md").render(document).lstrip()
