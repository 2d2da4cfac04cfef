"""Give the errors of marshmallow messages with codes, which are translated."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, fields, validate

from ..i18n.messages import Message

#: The codes of marshmallow's messages by key. The code of another key is its name with dashes.
SCHEMA_CODES = {"type": "invalid"}
FIELD_CODES = {
    "format": "invalid",
    "invalid_awareness": "invalid",
    "invalid_ip": "invalid",
    "invalid_ip_interface": "invalid",
    "invalid_utf8": "invalid",
    "invalid_uuid": "invalid",
    "special": "invalid",
    "type": "invalid",
    "unknown": "not-a-choice",
    "validator_failed": "invalid",
}

#: The codes of marshmallow's validators, by the attribute with the message.
VALIDATORS: dict[type[validate.Validator], dict[str, str]] = {
    validate.Length: {
        "message_min": "too-short",
        "message_max": "too-long",
        "message_all": "wrong-length",
        "message_equal": "wrong-length",
    },
    validate.Range: {
        "message_min": "too-small",
        "message_max": "too-large",
        "message_all": "out-of-range",
    },
    validate.OneOf: {"error": "not-a-choice"},
    validate.ContainsOnly: {"error": "not-a-choice"},
    validate.ContainsNoneOf: {"error": "invalid"},
    validate.NoneOf: {"error": "invalid"},
    validate.Equal: {"error": "invalid"},
}


def with_messages(schema: Schema, within: frozenset[type[Schema]] = frozenset()) -> Schema:
    """Make each error message of a schema a :class:`Message` with a code, and return the schema.

    Its class does not change. marshmallow adds the values by ``format``, which keeps them.

    :param within: the classes of the schemas around it; a recursive schema is changed once.
    """
    schema.error_messages = _messages(schema.error_messages, SCHEMA_CODES)
    for field in schema.fields.values():
        _change_field(field, within | {type(schema)})
    return schema


def _change_field(field: fields.Field[Any], within: frozenset[type[Schema]]) -> None:
    field.error_messages = _messages(field.error_messages, FIELD_CODES)
    field.validators = [_changed(validator) for validator in field.validators]
    if isinstance(field, fields.Nested) and type(field.schema) not in within:
        with_messages(field.schema, within)
    # The fields inside a list, a dictionary or a tuple. Each schema has its own copies.
    parts = [getattr(field, name, None) for name in ("inner", "key_field", "value_field")]
    for part in (*parts, *getattr(field, "tuple_fields", ())):
        if part is not None:
            _change_field(part, within)


def _messages(messages: Mapping[str, Any], codes: Mapping[str, str]) -> dict[str, Any]:
    return {
        key: _message(text, codes.get(key, key.replace("_", "-"))) for key, text in messages.items()
    }


def _changed(validator: Any) -> Any:
    """Return a copy of a validator of marshmallow with our messages, or another validator."""
    if type(validator) is validate.And:
        return validate.And(*map(_changed, validator.validators))
    codes = VALIDATORS.get(type(validator))
    if codes is None:
        return validator
    changed = copy.copy(validator)
    changed.error = None  # one message for all limits stands for the message of each
    for name, code in codes.items():
        text = validator.error or getattr(validator, name)
        setattr(changed, name, _message(text, code))
    return changed


def _message(text: Any, code: str) -> Any:
    """Return a text as a message with a code. A code of its own stays, a lazy text as well."""
    if not isinstance(text, str) or getattr(text, "code", None):
        return text
    message = copy.copy(text) if isinstance(text, Message) else Message(text)
    message.code = code
    return message
