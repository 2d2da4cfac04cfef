"""Codes of what is wrong with a field: marshmallow's own keys and validators, whatever the text says."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, fields, validate

from .messages import Coded

#: What the keys of marshmallow's messages are called; those of an application's own fields keep their name.
KEYS = {
    "format": "invalid",
    "invalid_awareness": "invalid",
    "invalid_ip": "invalid",
    "invalid_ip_interface": "invalid",
    "invalid_utf8": "invalid",
    "invalid_uuid": "invalid",
    "special": "invalid",
    "type": "invalid",
    "validator_failed": "invalid",
}

#: What its validators refuse, by the attribute that has the text.
VALIDATORS: dict[type[validate.Validator], dict[str, str]] = {
    validate.Length: {
        "message_min": "too-short",
        "message_max": "too-long",
        "message_all": "wrong-length",
        "message_equal": "wrong-length",
    },
    validate.Range: {"message_min": "too-small", "message_max": "too-large", "message_all": "out-of-range"},
    validate.OneOf: {"error": "not-a-choice"},
    validate.ContainsOnly: {"error": "not-a-choice"},
}


def with_codes(schema: Schema, within: frozenset[type[Schema]] = frozenset()) -> Schema:
    """The schema, whose messages have codes now; fields and validators of its class stay as they are.

    :param within: the schemas that it is nested in; one that has itself in it has codes once.
    """
    schema.error_messages = _coded(schema.error_messages)
    for field in schema.fields.values():
        _give_codes(field, within | {type(schema)})
    return schema


def _give_codes(field: fields.Field[Any], within: frozenset[type[Schema]]) -> None:
    field.error_messages = _coded(field.error_messages)
    if isinstance(field, fields.Enum):
        field.error_messages["unknown"] = Coded(field.error_messages["unknown"]).coded("not-a-choice")
    field.validators = [_with_code(validator) for validator in field.validators]
    if isinstance(field, fields.Nested) and type(field.schema) not in within:
        with_codes(field.schema, within)
    for part in _parts(field):
        _give_codes(part, within)


def _parts(field: fields.Field[Any]) -> list[fields.Field[Any]]:
    """The fields that a list, a tuple or a dictionary is made of; each schema has copies of its own."""
    if isinstance(field, fields.Dict):
        return [part for part in (field.key_field, field.value_field) if part is not None]
    if isinstance(field, fields.Tuple):
        return field.tuple_fields
    return [field.inner] if isinstance(field, fields.List) else []


def _coded(messages: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _text(text, KEYS.get(key, key.replace("_", "-"))) if isinstance(text, str) else text
        for key, text in messages.items()
    }


def _with_code(validator: Any) -> Any:
    codes = VALIDATORS.get(type(validator))
    if codes is None:
        return validator
    coded = copy.copy(validator)
    for name, code in codes.items():
        if text := getattr(coded, name, None):
            setattr(coded, name, _text(text, code))
    if isinstance(coded, validate.Length | validate.Range) and coded.error:  # one text, whichever end it is about
        ends = {"message_min": coded.min, "message_max": coded.max}
        named = [name for name, end in ends.items() if end is not None]
        coded.error = _text(coded.error, codes[named[0] if len(named) == 1 else "message_all"])
    return coded


def _text(text: str, code: str) -> Coded:
    return (text if isinstance(text, Coded) else Coded(text)).coded(code)
