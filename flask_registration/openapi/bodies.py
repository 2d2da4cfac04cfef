"""Describe request and response bodies as JSON Schemas."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from apispec.core import Components
from apispec.ext.marshmallow import MarshmallowPlugin, resolver
from marshmallow import INCLUDE, RAISE, Schema, fields

from ..auth.passwords import PasswordSettings, long_enough
from ..errors import REQUIRED
from ..http.bodies import NULL, LinkParameter, SuccessSchema, not_blank
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
    "challenge": "gJq0fVtFfCkXbmzpJm5rlQ0mXSeTmvJnnqbHCtKJ2uE",
    "code": "WDJB-MJHT",
    "detail": "Done.",
}

#: The keywords that are left out of responses: they concern what a client sends.
REQUEST_KEYWORDS = {"readOnly", "writeOnly", "default", "pattern"}
REQUEST_KEYWORDS |= {"minLength", "maxLength", "minimum", "maximum"}

#: The fields whose messages may be nested.
NESTED = (fields.Nested, fields.List, fields.Tuple, fields.Dict)

TEXT: dict[str, Any] = {"type": "string"}
MESSAGES: dict[str, Any] = {"type": "array", "items": TEXT}


def describe_field(field: fields.Field[Any], described: dict[str, Any]) -> None:
    """Correct what apispec writes about a field, and add an example."""
    form = described.get("format")
    if isinstance(field, LinkParameter):
        described["type"] = ["string", "integer"]
    elif isinstance(field, fields.Decimal):  # Flask writes it as a string, which is exact
        types = described.get("type", [])
        described["type"] = ["string", *([types] if isinstance(types, str) else types)]
    elif isinstance(field, fields.List) and "enum" in described:  # ContainsOnly is about the items
        described["items"] = {**described["items"], "enum": described.pop("enum")}
    elif form == "date-time" and not isinstance(field, fields.AwareDateTime):
        del described["format"]  # RFC 3339 requires a time zone, and the field does not
        described.setdefault("description", "A date and time (ISO 8601).")
    elif form == "date" and getattr(field, "format", "iso") != "iso":  # such as "%d.%m.%Y"
        del described["format"]
    elif form == "url":  # the name in JSON Schema
        described["format"] = "uri"
    elif form == "ip":  # JSON Schema has two formats for it
        described["anyOf"] = [{"format": "ipv4"}, {"format": "ipv6"}]
        del described["format"]
    # A challenge or a code that is optional takes the place of a login or a link.
    is_other_way = field.name in ("challenge", "code") and not field.required
    if field.name in EXAMPLES and "string" in described.get("type", "") and not is_other_way:
        described["examples"] = [EXAMPLES[field.name]]


def example_of(described: Mapping[str, Any]) -> Any:
    """Return the example of a field, or None."""
    examples = described.get("examples") or described.get("enum") or [None]
    return described.get("example", examples[0])


class Bodies:
    """The schemas of a description. Equal schemas share a component."""

    def __init__(
        self, components: Components, plugin: MarshmallowPlugin, state: RegistrationState
    ) -> None:
        self._components = components
        self._web = state.group(HTTPSettings)
        self._converter = cast(Any, plugin.converter)
        passwords = state.group(PasswordSettings)
        has_minimum = long_enough in passwords.password_validators
        min_length = passwords.password_min_length if has_minimum else 1

        def describe(converter: Any, field: fields.Field[Any], ret: dict[str, Any]) -> Any:
            """Change the description of a field, as apispec's attribute functions may."""
            if not_blank in field.validators:
                ret["minLength"] = min_length if field.metadata.get("is_new") else 1
            describe_field(field, ret)
            return {}

        self._converter.add_attribute_function(describe)

    def request(self, endpoint: str, schemas: Iterable[Schema]) -> dict[str, Any]:
        """Return the request body of an endpoint: its schemas in one, and maybe an example."""
        whole: dict[str, Any] = {"type": "object", "properties": {}}
        required: list[str] = []
        named: list[str] = []
        others: list[str] = []
        for schema in schemas:
            made = self._converter.fields2jsonschema(loaded(schema), partial=schema.partial)
            whole["properties"] |= made["properties"]
            required += made.get("required", [])
            if schema.unknown in (RAISE, INCLUDE):
                whole["additionalProperties"] = schema.unknown == INCLUDE
            alternatives = list(getattr(schema, "alternatives", ()))
            if len(alternatives) == 1:
                required += alternatives
            elif alternatives:
                # Inside allOf: anyOf beside the properties hides them from type generators.
                named, others = alternatives[:1], alternatives[1:]
                whole["allOf"] = [{"anyOf": [{"required": [name]} for name in alternatives]}]
        for each in whole["properties"].values():
            each.pop("default", None)  # generators would make the field required
        if required:
            whole["required"] = sorted(set(required))
        content = {"schema": self.share("schemas", f"{camel(endpoint)}Request", whole)}
        known = {
            name: example_of(each)
            for name, each in whole["properties"].items()
            if name not in others and example_of(each) is not None
        }
        return {**content, "example": known} if known.keys() >= {*required, *named} else content

    def response(self, schema: Schema) -> dict[str, Any]:
        """Return the response body of a schema."""
        is_built = self._web.success_response_builder is not success_response
        if isinstance(schema, SuccessSchema) and is_built:
            return {"description": "The success response of this application."}
        shown = {name: field for name, field in schema.fields.items() if not field.load_only}
        whole: dict[str, Any] = self._converter.fields2jsonschema(shown)
        for described in whole["properties"].values():
            for keyword in REQUEST_KEYWORDS:
                described.pop(keyword, None)
        if whole["properties"] and isinstance(schema, ModelSchema):
            optional = {name for name, each in shown.items() if each.metadata.get("is_optional")}
            whole["required"] = sorted(whole["properties"].keys() - optional)
        reference = self.share("schemas", resolver(type(schema)), whole)
        return {"type": "array", "items": reference} if schema.many else reference

    def field_errors(
        self, endpoint: str, schemas: Sequence[Schema]
    ) -> tuple[dict[str, Any], dict[str, list[str]]]:
        """Return the schema of the field errors of a request body, and an example."""
        key = self._web.non_field_errors_key
        named = [
            (field.data_key or name, field)
            for schema in schemas
            for name, field in loaded(schema).items()
        ]
        properties = {name: {} if isinstance(field, NESTED) else MESSAGES for name, field in named}
        properties[key] = MESSAGES
        whole = {"type": "object", "minProperties": 1, "properties": properties}
        if "code" not in properties:
            whole["not"] = {"required": ["code"]}
        plain = [(name, field) for name, field in named if not isinstance(field, NESTED)]
        example: dict[str, list[Any]] = {
            name: [REQUIRED]
            for name, field in plain
            if field.required and not getattr(field.root, "partial", None)
        }
        if not example:  # no field is missing in an empty body: a value of the wrong type
            example = {
                name: [field.error_messages.get("invalid", NULL)] for name, field in plain[:1]
            }
        reference = self.share("schemas", f"{camel(endpoint)}Errors", whole)
        return reference, example or {key: ["Invalid data."]}

    def error(self) -> dict[str, Any]:
        """Return the schema of all other errors."""
        return self.share("schemas", "Error", _object(detail=TEXT, code=TEXT))

    def problem(self) -> dict[str, Any]:
        """Return the schema of errors as problem details (RFC 9457)."""
        status = {"type": "integer"}
        whole = _object(type=TEXT, title=TEXT, status=status, detail=TEXT, code=TEXT)
        whole["properties"]["errors"] = {
            "type": "array",
            "items": _object(pointer=TEXT, code=TEXT, detail=TEXT),
            "description": "Field errors; `pointer` is a JSON pointer into the request body.",
        }
        return self.share("schemas", "Problem", whole)

    def share(self, kind: str, name: str, component: dict[str, Any]) -> dict[str, Any]:
        """Add a component, unless there is an equal one, and return a reference to it.

        :param kind: ``"schemas"`` or ``"responses"``.
        """
        used: dict[str, Any] = getattr(self._components, kind)
        free = free_name(name, used, component)
        used[free] = component
        return {"$ref": f"#/components/{kind}/{free}"}


def free_name(name: str, used: Mapping[str, Any], component: object = None) -> str:
    """Return the name of an equal component, or else a name that no component has yet."""
    number, free = 1, name
    while free in used and used[free] != component:
        number += 1
        free = f"{name}{number}"
    return free


def loaded(schema: Schema) -> dict[str, fields.Field[Any]]:
    """Return the fields of a schema that a client may send."""
    return {name: field for name, field in schema.fields.items() if not field.dump_only}


def camel(name: str) -> str:
    """Return a name in camel case: ``reset_password`` as ``ResetPassword``."""
    return "".join(part.capitalize() for part in re.split("[_-]", name))


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": sorted(properties)}
