"""What endpoints load and return, as JSON Schemas."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import INCLUDE, RAISE, Schema, fields

from ..kit import Kit
from ..passwords import PasswordSettings, long_enough
from ..schemas import ModelSchema
from ..web import NULL, REQUIRED, LinkParameter, SuccessSchema, WebSettings, not_blank, success_response

PASSWORD = "correct horse battery staple"  # noqa: S105 -- an example

#: What stands in an example of a field, by its name.
EXAMPLES: dict[str, str] = {
    "login": "alice",
    "username": "alice",
    "email": "alice@example.com",
    "password": PASSWORD,
    "password_confirm": PASSWORD,
    "old_password": "Tr0ub4dor&3 and more",
    "first_name": "Alice",
    "last_name": "Liddell",
    "user_id": "1",
    "timestamp": "1767225600",
    "signature": "wMzYEFgEWlLnBvFTQ2Ei0aYzeiqkPbXZAKYwHgqFRnM",
    "token": "uXiT1_3fPq0Kmq1Yt7dZ4uT7vH5oN0sVbX2rJ8cLwEg",
    "detail": "Done.",
}

#: What a client sees of no reply: limits and defaults are for what it sends.
OF_REQUESTS = {"readOnly", "writeOnly", "default", "minLength", "maxLength", "minimum", "maximum", "pattern"}

#: The fields whose messages may be nested.
NESTED = (fields.Nested, fields.List, fields.Tuple, fields.Dict)


class Bodies:
    """The schemas of one description, each once among its components."""

    def __init__(self, spec: APISpec, plugin: MarshmallowPlugin, kit: Kit) -> None:
        self._components = spec.components
        self._kit = kit
        self._converter = cast(Any, plugin.converter)
        passwords = kit.group(PasswordSettings)
        min_length = passwords.password_min_length if long_enough in passwords.password_validators else 1

        def ours(converter: Any, field: fields.Field[Any], ret: dict[str, Any]) -> dict[str, Any]:
            """What apispec cannot know of our fields."""
            more: dict[str, Any] = {}
            if isinstance(field, LinkParameter):
                more["type"] = ["string", "integer"]
            if ret.get("format") == "date-time" and not isinstance(field, fields.AwareDateTime):
                del ret["format"]  # it has a zone (RFC 3339), which these need not have
                more["description"] = field.metadata.get("description", "A date and time (ISO 8601).")
            if not_blank in field.validators:
                more["minLength"] = min_length if field.metadata.get("is_new") else 1
            if isinstance(field, fields.Decimal):  # which Flask writes as a text, so that it stays exact
                more["type"] = ["string", *_types(ret)]
            if isinstance(field, fields.List) and "enum" in ret:  # of ContainsOnly, which is about what is in it
                ret["items"] = {**ret["items"], "enum": ret.pop("enum")}
            if ret.get("format") == "date" and getattr(field, "format", "iso") != "iso":  # "%d.%m.%Y", say
                del ret["format"]
            if ret.get("format") == "url":  # which JSON Schema calls so
                ret["format"] = "uri"
            if ret.get("format") == "ip":  # it has two names for these
                ret["anyOf"] = [{"format": "ipv4"}, {"format": "ipv6"}]
                del ret["format"]
            example = EXAMPLES.get(field.name or "")
            if example and "string" in ret.get("type", more.get("type", "")):
                more["examples"] = [example]
            return more

        self._converter.add_attribute_function(ours)

    def free_name(self, name: str) -> str:
        """A name that no component has yet."""
        return _name(name, None, self._components.schemas)

    def request(self, endpoint: str, schemas: Iterable[Schema]) -> dict[str, Any]:
        """What an endpoint takes: all of these together, and an example where we know one."""
        whole: dict[str, Any] = {"type": "object", "properties": {}}
        required: list[str] = []
        named: list[str] = []
        for schema in schemas:
            loaded = {name: field for name, field in schema.fields.items() if not field.dump_only}
            made = self._converter.fields2jsonschema(loaded, partial=schema.partial)
            whole["properties"] |= made["properties"]
            required += made.get("required", [])
            if schema.unknown in (RAISE, INCLUDE):
                whole["additionalProperties"] = schema.unknown == INCLUDE
            alternatives = list(getattr(schema, "alternatives", ()))
            if len(alternatives) == 1:
                required += alternatives
            elif alternatives:
                # Within allOf, where it does not keep generators of types from the properties.
                named = alternatives[:1]
                whole["allOf"] = [{"anyOf": [{"required": [name]} for name in alternatives]}]
        for each in whole["properties"].values():
            each.pop("default", None)  # a client need not send it, whatever generators make of a default
        if required:
            whole["required"] = sorted(set(required))
        content = {"schema": self._add(f"{camel(endpoint)}Request", whole)}
        names = required + named
        known = {name: EXAMPLES[name] for name in (names or whole["properties"]) if name in EXAMPLES}
        return {**content, "example": known} if known.keys() >= set(names) else content

    def reply(self, schema: Schema) -> dict[str, Any]:
        """What a schema dumps."""
        if isinstance(schema, SuccessSchema) and not self._says_detail():
            return {"description": "What the application makes of every step that worked."}
        shown = {name: field for name, field in schema.fields.items() if not field.load_only}
        made = self._converter.fields2jsonschema(shown)
        properties = {name: _without(each, OF_REQUESTS) for name, each in made["properties"].items()}
        whole: dict[str, Any] = {"type": "object", "properties": properties}
        required = properties if isinstance(schema, ModelSchema) else made.get("required", [])
        if required:
            whole["required"] = sorted(required)
        reference = self._add(name_of(schema), whole)
        return {"type": "array", "items": reference} if schema.many else reference

    def field_errors(self, endpoint: str, schemas: Sequence[Schema]) -> tuple[dict[str, Any], dict[str, list[str]]]:
        """The messages about the fields of a body, and an example of them."""
        key = self._kit.group(WebSettings).non_field_errors_key
        found = {
            field.data_key or name: {} if isinstance(field, NESTED) else _messages()
            for schema in schemas
            for name, field in schema.fields.items()
            if not field.dump_only
        }
        whole: dict[str, Any] = {"type": "object", "minProperties": 1, "properties": {**found, key: _messages()}}
        if "code" not in found:
            whole["not"] = {"required": ["code"]}
        return self._add(f"{camel(endpoint)}Errors", whole), _example_of_errors(schemas) or {key: ["Invalid data."]}

    def error(self) -> dict[str, Any]:
        """What every other error is."""
        text = {"type": "string"}
        whole = {"type": "object", "properties": {"detail": text, "code": text}, "required": ["code", "detail"]}
        return self._add("Error", whole)

    def problem(self) -> dict[str, Any]:
        """What every error is for who asks for problem details (RFC 9457)."""
        text = {"type": "string"}
        complaint = {
            "type": "object",
            "properties": {"pointer": text, "code": text, "detail": text},
            "required": ["code", "detail", "pointer"],
        }
        whole = {
            "type": "object",
            "properties": {
                "type": text,
                "title": text,
                "status": {"type": "integer"},
                "detail": text,
                "code": text,
                "errors": {
                    "type": "array",
                    "items": complaint,
                    "description": "What is wrong with which field; `pointer` is a JSON pointer into the body.",
                },
            },
            "required": ["code", "detail", "status", "title", "type"],
        }
        return self._add("Problem", whole)

    def share(self, name: str, response: dict[str, Any]) -> dict[str, Any]:
        """A reference to this response, which is there once."""
        there = self._components.responses
        name = _name(name, response, there)
        if name not in there:
            self._components.response(name, response)
        return {"$ref": f"#/components/responses/{name}"}

    def _says_detail(self) -> bool:
        return self._kit.group(WebSettings).success_response_builder is success_response

    def _add(self, name: str, component: dict[str, Any]) -> dict[str, Any]:
        """A reference to this component, which is there once."""
        there = self._components.schemas
        name = _name(name, component, there)
        if name not in there:
            self._components.schema(name, component)
        return {"$ref": f"#/components/schemas/{name}"}


def _name(name: str, component: Mapping[str, Any] | None, there: Mapping[str, Any]) -> str:
    """The name under which this component is there, or else may be put there."""
    number, free = 1, name
    while free in there and there[free] != component:
        number += 1
        free = f"{name}{number}"
    return free


def name_of(schema: Any) -> str:
    """What the component for a schema is called."""
    kind = schema if isinstance(schema, type) else type(schema)
    return kind.__name__.removesuffix("Schema") or kind.__name__


def camel(name: str) -> str:
    """``reset_password`` or ``login-invalid`` as ``ResetPassword`` and ``LoginInvalid``."""
    return "".join(part.capitalize() for part in re.split("[_-]", name))


def _messages() -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string"}}


def _example_of_errors(schemas: Iterable[Schema]) -> dict[str, list[str]]:
    """What is said of a body with nothing in it, or else of one that has a number for everything."""
    loaded = [
        (field.data_key or name, field)
        for schema in schemas
        for name, field in schema.fields.items()
        if not field.dump_only and not isinstance(field, NESTED)
    ]
    missing: dict[str, list[str]] = {
        name: [REQUIRED] for name, field in loaded if field.required and not getattr(field.root, "partial", None)
    }
    return missing or {name: [cast(str, field.error_messages.get("invalid", NULL))] for name, field in loaded[:1]}


def _types(described: Mapping[str, Any]) -> list[str]:
    types = described.get("type", [])
    return [types] if isinstance(types, str) else list(types)


def _without(mapping: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name not in names}
