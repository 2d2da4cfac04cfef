"""Errors as problem details (RFC 9457), for clients that ask for ``application/problem+json``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from flask import Response, request
from marshmallow import Schema, fields
from marshmallow.exceptions import SCHEMA
from werkzeug.http import HTTP_STATUS_CODES

from .http.responses import (
    INVALID,
    PROBLEM,
    ErrorReport,
    HTTPSettings,
    error_response,
    translate,
)
from .state import current_registration

#: The type of a problem without a type of its own.
BLANK = "about:blank"


def respond(report: ErrorReport) -> Response | None:
    """Return an error as problem details, or None if the client prefers JSON."""
    if not _prefers_problems():
        return None
    base = current_registration.group(HTTPSettings).problem_types_url
    return error_response(report, problem_members(report, base), PROBLEM)


def _prefers_problems() -> bool:
    """Return whether the client names problem details and accepts JSON no more than them.

    A client that accepts anything gets the format of django-rest-registration.
    """
    accepted = request.accept_mimetypes
    qualities = [
        quality for name, quality in accepted if name.partition(";")[0].strip().lower() == PROBLEM
    ]
    return 0 < max(qualities, default=0) >= accepted["application/json"]


def problem_members(
    report: ErrorReport, base: str | None, translate: Callable[[Any], Any] = translate
) -> dict[str, Any]:
    """Return the members of a problem (RFC 9457 section 3.1); ``errors`` are those of fields.

    :param base: the base of the types' URLs.
    :param translate: translates a message for the reader.
    """
    detail, more = translate(report.detail), dict(report.members)
    if report.messages is not None:
        errors = [
            {
                "pointer": pointer,
                "code": getattr(text, "code", None) or INVALID,
                "detail": translate(text),
            }
            for pointer, text in _walk(report.messages, "#", report.schema)
        ]
        detail = " ".join(dict.fromkeys(str(each["detail"]) for each in errors))
        more["errors"] = errors
    return {
        "type": f"{base}{'/' if base[-1].isalnum() else ''}{report.code}" if base else BLANK,
        "title": HTTP_STATUS_CODES.get(report.status, "Error"),
        "status": report.status,
        "detail": detail,
        "code": report.code,
        **more,
    }


def _walk(
    messages: Any, pointer: str, about: Schema | fields.Field[Any] | None
) -> Iterator[tuple[str, Any]]:
    """Yield each text with the JSON pointer to its field, a URI fragment (RFC 6901, 6)."""
    if isinstance(messages, Mapping):
        for key, value in messages.items():
            below = pointer if key == SCHEMA else f"{pointer}/{_token(str(key))}"
            if isinstance(about, fields.Dict) and isinstance(value, Mapping):
                for part, each in value.items():  # "key" and "value" are no place in the body
                    yield from _walk(each, below, about.value_field if part == "value" else None)
            else:
                yield from _walk(value, below, _within(about, key))
    elif isinstance(messages, Sequence) and not isinstance(messages, str):
        for each in messages:
            yield from _walk(each, pointer, about)
    else:
        yield pointer, messages


def _within(about: Schema | fields.Field[Any] | None, key: object) -> fields.Field[Any] | None:
    """Return the field of this name, or at this index of a list."""
    schema = about.schema if isinstance(about, fields.Nested) else about
    if isinstance(schema, Schema):
        named = schema.fields.items()
        return next((each for name, each in named if (each.data_key or name) == key), None)
    return about.inner if isinstance(about, fields.List) else None


def _token(key: str) -> str:
    return quote(key.replace("~", "~0").replace("/", "~1"), safe="~!$&'()*+,;=:@")
