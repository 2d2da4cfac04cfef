"""The description as a page of Markdown, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def to_markdown(document: Mapping[str, Any]) -> str:
    """Every endpoint with what it takes and what it answers, journey by journey."""
    return "\n".join(Page(document).lines())


class Page:
    """One document, as lines."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def lines(self) -> Iterator[str]:
        """A section for each tag, with its endpoints in the order of their paths."""
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

    def _operation(self, title: str, operation: Mapping[str, Any], parameters: list[Any]) -> Iterator[str]:
        yield f"### `{title}`\n"
        yield f"{operation['summary']}.\n"
        if operation.get("description"):
            yield f"{operation['description']}\n"
        if operation["security"]:
            yield f"Who is asking: by {' or '.join(way for each in operation['security'] for way in each)}.\n"
        if parameters:
            yield from _table(
                "in the path", [(each["name"], _kind(each["schema"]), True, each["schema"]) for each in parameters]
            )
        if "requestBody" in operation:
            schema = self._resolved(self._schema(operation["requestBody"]))
            required = schema.get("required", [])
            rows = [
                (name, _kind(each), name in required, self._resolved(each))
                for name, each in schema["properties"].items()
            ]
            yield from _table("body", rows)
            for rule in schema.get("allOf", []):
                names = [f"`{name}`" for each in rule.get("anyOf", []) for name in each.get("required", [])]
                yield f"One of {', '.join(names)} at the least.\n" if names else ""
        yield "| status | answer |"
        yield "| --- | --- |"
        for status, reference in operation["responses"].items():
            yield f"| {status} | {self._answer(status, self._resolved(reference))} |"
        yield ""

    def _answer(self, status: str, response: Mapping[str, Any]) -> str:
        if "content" not in response:
            return "nothing" if status == "204" else str(response["description"])
        if status < "400":
            return self._shown(self._schema(response))
        codes = [f"`{code}`" for code in response["content"]["application/json"]["examples"] if code != "fields"]
        if "fields" in response["content"]["application/json"]["examples"]:
            codes.insert(0, "what is wrong with fields")
        headers = [f"`{name}`" for name in response.get("headers", {})]
        return ", ".join(codes) + (f"; with the header {', '.join(headers)}" if headers else "")

    def _shown(self, schema: Mapping[str, Any]) -> str:
        """The fields of a reply."""
        if schema.get("type") == "array":
            return f"a list, each with {self._shown(schema['items'])}"
        whole = self._resolved(schema)
        required = whole.get("required", [])
        fields = [f"`{name}`{'' if name in required else ' (not always)'}" for name in whole.get("properties", {})]
        return ", ".join(fields) or str(whole.get("description", "what the view returns"))

    def _schema(self, described: Mapping[str, Any]) -> Mapping[str, Any]:
        schema: Mapping[str, Any] = self._resolved(described)["content"]["application/json"]["schema"]
        return schema

    def _resolved(self, described: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a reference stands for."""
        while "$ref" in described:
            _, kind, name = described["$ref"].removeprefix("#/").split("/")
            described = self._document["components"][kind][name]
        return described


def _table(title: str, rows: list[tuple[str, str, bool, Mapping[str, Any]]]) -> Iterator[str]:
    yield f"| {title} | what |"
    yield "| --- | --- |"
    for name, kind, is_required, schema in rows:
        told = [
            kind,
            "" if is_required else "optional",
            f"at least {schema['minLength']} characters" if schema.get("minLength", 0) > 1 else "",
            f"at most {schema['maxLength']} characters" if "maxLength" in schema else "",
            schema.get("description", "").rstrip("."),
        ]
        yield f"| `{name}` | {'; '.join(filter(None, told)).replace('|', chr(92) + '|')} |"
    yield ""


def _kind(schema: Mapping[str, Any]) -> str:
    """A type in words."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    kinds = schema.get("type", "anything")
    named = " or ".join([kinds] if isinstance(kinds, str) else kinds)
    return f"{named} ({schema['format']})" if "format" in schema else named
