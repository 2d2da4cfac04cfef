"""Format the API description as a Markdown page for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def to_markdown(document: Mapping[str, Any]) -> str:
    """Return every endpoint with its request and its responses, grouped by flow."""
    return "\n".join(Page(document).lines())


class Page:
    """A document as lines of Markdown."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def lines(self) -> Iterator[str]:
        """Return a section for each tag, with its endpoints in the order of their paths."""
        operations = [
            (f"{method.upper()} {path}", operation, item.get("parameters", []))
            for path, item in self._document["paths"].items()
            for method, operation in item.items()
            if method != "parameters"
        ]
        for tag in self._document.get("tags", []):
            yield f"## {tag['name'].capitalize()}\n"
            if "description" in tag:
                yield f"{tag['description']}\n"
            for title, operation, parameters in operations:
                if tag["name"] in operation.get("tags", []):
                    yield from self._operation(title, operation, parameters)

    def _operation(
        self, title: str, operation: Mapping[str, Any], parameters: list[Any]
    ) -> Iterator[str]:
        yield f"### `{title}`\n"
        yield f"{operation['summary']}.\n"
        if operation.get("description"):
            yield f"{operation['description']}\n"
        if operation["security"]:
            schemes = [name for each in operation["security"] for name in each]
            yield f"Authentication: {' or '.join(schemes)}.\n"
        if parameters:
            schemas = {each["name"]: each["schema"] for each in parameters}
            yield from self._table("path parameter", schemas, schemas)
        if "requestBody" in operation:
            content = operation["requestBody"]["content"]["application/json"]
            schema = self._resolved(content["schema"])
            yield from self._table("field", schema["properties"], schema.get("required", []))
            for rule in schema.get("allOf", []):
                options = [each.get("required", []) for each in rule.get("anyOf", [])]
                if names := ", ".join(f"`{name}`" for each in options for name in each):
                    yield f"At least one of {names}.\n"
        yield "| status | response |"
        yield "| --- | --- |"
        for status, reference in operation["responses"].items():
            yield f"| {status} | {self._response(status, self._resolved(reference))} |"
        yield ""

    def _response(self, status: str, response: Mapping[str, Any]) -> str:
        if "content" not in response:
            return "empty" if status == "204" else str(response["description"])
        content = response["content"]["application/json"]
        if status < "400":
            return self._shown(content["schema"])
        codes = [
            "field errors" if name == "fields" else f"`{name}`" for name in content["examples"]
        ]
        headers = ", ".join(f"`{name}`" for name in response.get("headers", {}))
        return ", ".join(codes) + (f"; with the header {headers}" if headers else "")

    def _shown(self, schema: Mapping[str, Any]) -> str:
        """Return the fields of a response."""
        if schema.get("type") == "array":
            return f"a list of objects with {self._shown(schema['items'])}"
        resolved = self._resolved(schema)
        required = resolved.get("required", [])
        fields = [
            f"`{name}`{'' if name in required else ' (not always)'}"
            for name in resolved.get("properties", {})
        ]
        return ", ".join(fields) or str(resolved.get("description", "as the view returns it"))

    def _resolved(self, described: Mapping[str, Any]) -> Mapping[str, Any]:
        """Follow a reference."""
        if "$ref" not in described:
            return described
        _, kind, name = described["$ref"].removeprefix("#/").split("/")
        found: Mapping[str, Any] = self._document["components"][kind][name]
        return found

    def _table(
        self, title: str, schemas: Mapping[str, Mapping[str, Any]], required: Iterable[str]
    ) -> Iterator[str]:
        yield f"| {title} | description |"
        yield "| --- | --- |"
        for name, reference in schemas.items():
            schema = self._resolved(reference)
            shortest, longest = schema.get("minLength", 0), schema.get("maxLength")
            parts = [
                _kind(reference),
                "" if name in required else "optional",
                f"at least {shortest} characters" if shortest > 1 else "",
                f"at most {longest} characters" if longest else "",
                schema.get("description", "").rstrip("."),
            ]
            text = "; ".join(filter(None, parts)).replace("|", r"\|")
            yield f"| `{name}` | {text} |"
        yield ""


def _kind(schema: Mapping[str, Any]) -> str:
    """Return the type of a schema, or its name if it is a reference."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    kinds = schema.get("type", "anything")
    named = " or ".join([kinds] if isinstance(kinds, str) else kinds)
    return f"{named} ({schema['format']})" if "format" in schema else named
