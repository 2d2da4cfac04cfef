"""Errors as problem details (RFC 9457), for clients that ask for ``application/problem+json``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote

from flask import Response, jsonify, request
from marshmallow import Schema, fields
from marshmallow.exceptions import SCHEMA
from werkzeug.http import HTTP_STATUS_CODES

from .http.responses import INVALID, PROBLEM, ErrorReport, translate
from .settings import Settings, setting
from .state import Extra, RegistrationState, current_registration


@dataclass(frozen=True, kw_only=True)
class ProblemSettings(Settings):
    """Problem details."""

    problem_types_url: str | None = setting(
        None,
        "Base URL for the `type` member of problem details (RFC 9457). The error code is appended.",
        default_text="none: the type is `about:blank`",
    )


extra: Extra = Extra(settings=(ProblemSettings,))


def respond(report: ErrorReport) -> Response | None:
    """Return an error as problem details, or None if the client prefers JSON."""
    if not _prefers_problems():
        return None
    base = problem_types_url(current_registration)
    if report.messages is None:
        members = problem(base, report.status, report.code, report.detail)
    else:
        members = problem_of_fields(base, report.messages, translate, report.schema)
    response = jsonify(members)
    response.status_code = report.status
    response.mimetype = PROBLEM
    response.headers.extend(report.headers)
    return response


def _prefers_problems() -> bool:
    """Return whether the client names problem details and accepts JSON no more than them.

    A client that accepts anything gets the format of django-rest-registration.
    """
    accepted = request.accept_mimetypes
    qualities = [
        quality for name, quality in accepted if name.partition(";")[0].strip().lower() == PROBLEM
    ]
    return 0 < max(qualities, default=0) >= accepted["application/json"]


def problem_types_url(state: RegistrationState) -> str | None:
    """Return the base of the types' URLs, if there is one."""
    settings = state.settings.get(ProblemSettings)
    return cast(ProblemSettings, settings).problem_types_url if settings else None


def problem_of_fields(
    base: str | None,
    messages: Mapping[str, Any],
    translate: Callable[[str], str],
    schema: Schema | None = None,
) -> dict[str, Any]:
    """Return the members of a problem about fields.

    :param base: the base of the types' URLs.
    :param messages: by field, as marshmallow has them; nested for nested fields.
    :param translate: translates a message for the reader.
    :param schema: the schema of these fields, if it is known.
    """
    errors = []
    for pointer, text in _walk(messages, "#", schema):
        code = getattr(text, "code", None) or INVALID
        errors.append({"pointer": pointer, "code": code, "detail": translate(text)})
    detail = " ".join(dict.fromkeys(str(each["detail"]) for each in errors))
    return {**problem(base, 400, INVALID, detail), "errors": errors}


def problem(base: str | None, status: int, code: str, detail: str | None) -> dict[str, Any]:
    """Return the members of a problem (RFC 9457 section 3.1).

    :param base: the base of the types' URLs.
    """
    return {
        "type": f"{base}{'/' if base[-1].isalnum() else ''}{code}" if base else "about:blank",
        "title": HTTP_STATUS_CODES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "code": code,
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
