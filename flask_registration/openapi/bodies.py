"""Describe request and response bodies as JSON Schemas."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import INCLUDE, RAISE, Schema, fields

from ..auth.passwords import PasswordSettings, long_enough
from ..http.bodies import NULL, REQUIRED, LinkParameter, SuccessSchema, not_blank
from ..http.responses import HTTPSettings, success_response
from ..http.schemas import ModelSchema
from ..state import RegistrationState

PASSWORD = "correct horse battery staple"  # noqa: S105 -- an example

#: The example value of a field, by its name.
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

#: The keywords that are left out of responses: they concern what a client sends.
REQUEST_KEYWORDS = {"readOnly", "writeOnly", "default", "pattern"}
REQUEST_KEYWORDS |= {"minLength", "maxLength", "minimum", "maximum"}

#: The fields whose messages may be nested.
NESTED = (fields.Nested, fields.List, fields.Tuple, fields.Dict)


class Bodies:
    """The schemas of a description. Equal schemas share a component."""

    def __init__(self, spec: APISpec, plugin: MarshmallowPlugin, state: RegistrationState) -> None:
        self._components = spec.components
        self._state = state
        self._converter = cast(Any, plugin.converter)
        passwords = state.group(PasswordSettings)
        min_length = (
            passwords.password_min_length if long_enough in passwords.password_validators else 1
        )

        def describe(
            converter: Any, field: fields.Field[Any], ret: dict[str, Any]
        ) -> dict[str, Any]:
            """Return what apispec cannot know about a field."""
            more: dict[str, Any] = {}
            form = ret.get("format")
            if isinstance(field, LinkParameter):
                more["type"] = ["string", "integer"]
            if form == "date-time" and not isinstance(field, fields.AwareDateTime):
                del ret["format"]  # RFC 3339 requires a time zone, and the field does not
                about = "A date and time (ISO 8601)."
                more["description"] = field.metadata.get("description", about)
            if not_blank in field.validators:
                more["minLength"] = min_length if field.metadata.get("is_new") else 1
            if isinstance(field, fields.Decimal):  # Flask writes it as a string, which is exact
                more["type"] = ["string", *_types(ret)]
            if isinstance(field, fields.List) and "enum" in ret:  # ContainsOnly is about the items
                ret["items"] = {**ret["items"], "enum": ret.pop("enum")}
            if form == "date" and getattr(field, "format", "iso") != "iso":  # such as "%d.%m.%Y"
                del ret["format"]
            if form == "url":  # the name in JSON Schema
                ret["format"] = "uri"
            if form == "ip":  # JSON Schema has two formats for it
                ret["anyOf"] = [{"format": "ipv4"}, {"format": "ipv6"}]
                del ret["format"]
            example = EXAMPLES.get(field.name or "")
            if example and "string" in ret.get("type", more.get("type", "")):
                more["examples"] = [example]
            return more

        self._converter.add_attribute_function(describe)

    def free_name(self, name: str) -> str:
        """Return a name that no component has yet."""
        return _name(name, None, self._components.schemas)

    def request(self, endpoint: str, schemas: Iterable[Schema]) -> dict[str, Any]:
        """Return the request body of an endpoint: its schemas in one, and maybe an example."""
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
                # Inside allOf: anyOf beside the properties hides them from type generators.
                named = alternatives[:1]
                whole["allOf"] = [{"anyOf": [{"required": [name]} for name in alternatives]}]
        for each in whole["properties"].values():
            each.pop("default", None)  # generators would make the field required
        if required:
            whole["required"] = sorted(set(required))
        content = {"schema": self._add(f"{camel(endpoint)}Request", whole)}
        names = required + named
        known = {name: EXAMPLES[name] for name in names or whole["properties"] if name in EXAMPLES}
        return {**content, "example": known} if known.keys() >= set(names) else content

    def response(self, schema: Schema) -> dict[str, Any]:
        """Return the response body of a schema."""
        if isinstance(schema, SuccessSchema) and not self._has_detail():
            return {"description": "The success response of this application."}
        shown = {name: field for name, field in schema.fields.items() if not field.load_only}
        made = self._converter.fields2jsonschema(shown)
        properties = {
            name: _without(each, REQUEST_KEYWORDS) for name, each in made["properties"].items()
        }
        whole: dict[str, Any] = {"type": "object", "properties": properties}
        required = properties if isinstance(schema, ModelSchema) else made.get("required", [])
        if required:
            whole["required"] = sorted(required)
        reference = self._add(name_of(schema), whole)
        return {"type": "array", "items": reference} if schema.many else reference

    def field_errors(
        self, endpoint: str, schemas: Sequence[Schema]
    ) -> tuple[dict[str, Any], dict[str, list[str]]]:
        """Return the schema of the field errors of a request body, and an example."""
        key = self._state.group(HTTPSettings).non_field_errors_key
        properties = {
            field.data_key or name: {} if isinstance(field, NESTED) else _messages()
            for schema in schemas
            for name, field in schema.fields.items()
            if not field.dump_only
        }
        properties[key] = _messages()
        whole = {"type": "object", "minProperties": 1, "properties": properties}
        if "code" not in properties:
            whole["not"] = {"required": ["code"]}
        example = _example_of_errors(schemas) or {key: ["Invalid data."]}
        return self._add(f"{camel(endpoint)}Errors", whole), example

    def error(self) -> dict[str, Any]:
        """Return the schema of all other errors."""
        return self._add("Error", _object("detail", "code"))

    def problem(self) -> dict[str, Any]:
        """Return the schema of errors as problem details (RFC 9457)."""
        whole = _object("type", "title", "status", "detail", "code")
        whole["properties"] |= {
            "status": {"type": "integer"},
            "errors": {
                "type": "array",
                "items": _object("pointer", "code", "detail"),
                "description": "Field errors; `pointer` is a JSON pointer into the request body.",
            },
        }
        return self._add("Problem", whole)

    def share(self, name: str, response: dict[str, Any]) -> dict[str, Any]:
        """Add a response, and return a reference to it."""
        responses = self._components.responses
        name = _name(name, response, responses)
        if name not in responses:
            self._components.response(name, response)
        return {"$ref": f"#/components/responses/{name}"}

    def _has_detail(self) -> bool:
        return self._state.group(HTTPSettings).success_response_builder is success_response

    def _add(self, name: str, schema: dict[str, Any]) -> dict[str, Any]:
        """Add a schema, and return a reference to it."""
        schemas = self._components.schemas
        name = _name(name, schema, schemas)
        if name not in schemas:
            self._components.schema(name, schema)
        return {"$ref": f"#/components/schemas/{name}"}


def _name(name: str, component: Mapping[str, Any] | None, used: Mapping[str, Any]) -> str:
    """Return the name of an equal component, or else a free name."""
    number, free = 1, name
    while free in used and used[free] != component:
        number += 1
        free = f"{name}{number}"
    return free


def name_of(schema: Any) -> str:
    """Return the name of the component of a schema."""
    kind = schema if isinstance(schema, type) else type(schema)
    return kind.__name__.removesuffix("Schema") or kind.__name__


def camel(name: str) -> str:
    """Return a name in camel case: ``reset_password`` as ``ResetPassword``."""
    return "".join(part.capitalize() for part in re.split("[_-]", name))


def _object(*names: str) -> dict[str, Any]:
    properties = {name: {"type": "string"} for name in names}
    return {"type": "object", "properties": properties, "required": sorted(names)}


def _messages() -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string"}}


def _example_of_errors(schemas: Iterable[Schema]) -> dict[str, list[str]]:
    """Return the errors of an empty request body, or the error of a value of the wrong type."""
    loaded = [
        (field.data_key or name, field)
        for schema in schemas
        for name, field in schema.fields.items()
        if not field.dump_only and not isinstance(field, NESTED)
    ]
    missing: dict[str, list[str]] = {
        name: [REQUIRED]
        for name, field in loaded
        if field.required and not getattr(field.root, "partial", None)
    }
    return missing or {
        name: [cast(str, field.error_messages.get("invalid", NULL))] for name, field in loaded[:1]
    }


def _types(described: Mapping[str, Any]) -> list[str]:
    types = described.get("type", [])
    return [types] if isinstance(types, str) else list(types)


def _without(mapping: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name not in names}
