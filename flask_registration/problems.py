"""Errors as the client reads them: in the shape of the contract, or as a problem of RFC 9457 where it asks for that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn, cast
from urllib.parse import quote

from flask import Blueprint, Response, current_app, jsonify, request
from flask.typing import ResponseReturnValue
from marshmallow import Schema, ValidationError, fields
from marshmallow.exceptions import SCHEMA
from sqlalchemy.exc import StatementError
from werkzeug.exceptions import HTTPException, default_exceptions
from werkzeug.http import HTTP_STATUS_CODES

from .errors import APIError, DatabaseUnavailable
from .events import DATABASE_UNAVAILABLE, record
from .languages import Languages, said
from .retries import UNAVAILABLE, unavailable
from .web import WebSettings, by_field, code_of, complete

PROBLEM = "application/problem+json"

#: The code of an error that is about fields, and of what is wrong with one where nothing says more.
INVALID = "invalid"


def answer_errors(blueprint: Blueprint, settings: WebSettings) -> None:
    """Answer the errors of our endpoints; the application's other routes keep their own."""

    def answer(error: Exception) -> ResponseReturnValue:
        return error_response(error, settings)

    def tell_of_database(error: Exception) -> ResponseReturnValue:
        told = error if isinstance(error, DatabaseUnavailable) else unavailable(error)
        cause = told.__cause__ or error
        current_app.logger.error("The database is not available.", exc_info=cause)
        record(DATABASE_UNAVAILABLE, error=type(cause).__name__)
        return answer(told)

    def hide_parameters(error: StatementError) -> NoReturn:
        error.hide_parameters = True  # Flask logs it, and a password's hash may be among them
        raise error

    # Each status by itself too: Flask prefers the application's handler for a status to ours for all of them.
    kinds: list[type[Exception] | int] = [APIError, ValidationError, HTTPException, *default_exceptions]
    for kind in kinds:
        blueprint.register_error_handler(kind, answer)
    blueprint.register_error_handler(DatabaseUnavailable, tell_of_database)
    for failure in UNAVAILABLE:  # from outside our views, an application's decorators say
        blueprint.register_error_handler(failure, tell_of_database)
    blueprint.register_error_handler(StatementError, hide_parameters)


def complete_replies(blueprint: Blueprint, languages: Languages) -> None:
    """Give every reply of our endpoints, errors too, the headers that all of them have."""

    @blueprint.after_request
    def add_headers(response: Any) -> Any:
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        varies = ["Accept"] if response.status_code >= 400 else []
        if language := languages.used():
            headers["Content-Language"] = language.tag
            varies += [] if languages.is_one else ["Accept-Language"]
        # The cookie always: a template that reads the session would tell that a mail was written.
        complete(response, headers, [*varies, "Cookie"])
        return response


def error_response(error: Exception, settings: WebSettings) -> Response:
    """An error as the client reads it."""
    wants_problem = _wants_problem()
    if isinstance(error, ValidationError):
        messages = by_field(error)
        if wants_problem:
            response = _problem_response(problem_of_fields(settings, messages, said, error.kwargs.get("schema")))
        else:
            key = settings.non_field_errors_key
            response = jsonify({key if name == SCHEMA else name: texts for name, texts in said(messages).items()})
            response.status_code = 400
    elif isinstance(error, APIError):
        response = _response(error.detail, error.code, error.status, settings, as_problem=wants_problem)
        response.headers.extend(error.headers)
    else:
        http = cast(HTTPException, error)
        response = _response(http.description, code_of(http), http.code or 500, settings, as_problem=wants_problem)
        response.headers.extend({name: value for name, value in http.get_headers() if name != "Content-Type"})
    return response


def _wants_problem() -> bool:
    """Whether the client names a problem's type, and likes it no less than JSON.

    Whoever takes anything gets the shape of the contract: so do front ends that know of no other.
    """
    if PROBLEM not in request.headers.get("Accept", "").lower():
        return False
    accepted = request.accept_mimetypes
    named = max((quality for name, quality in accepted if name.partition(";")[0].strip().lower() == PROBLEM), default=0)
    return 0 < named >= accepted["application/json"]


def _response(detail: str | None, code: str, status: int, settings: WebSettings, *, as_problem: bool) -> Response:
    if as_problem:
        return _problem_response(problem(settings, status, code, said(detail)))
    response = jsonify(detail=said(detail), code=code)
    response.status_code = status
    return response


def _problem_response(members: dict[str, Any]) -> Response:
    response = jsonify(members)
    response.status_code = members["status"]
    response.mimetype = PROBLEM
    return response


def problem_of_fields(
    settings: WebSettings, messages: Mapping[str, Any], say: Callable[[str], str], schema: Schema | None = None
) -> dict[str, Any]:
    """The members of a problem that is about fields.

    :param messages: as marshmallow has them: by field, and the fields of a field within it.
    :param say: puts a message into the language of the reader.
    :param schema: whose fields they are about, where that is known.
    """
    errors = [
        {"pointer": pointer, "code": getattr(text, "code", None) or INVALID, "detail": say(text)}
        for pointer, text in _walk(messages, "#", schema)
    ]
    detail = " ".join(dict.fromkeys(str(each["detail"]) for each in errors))
    return {**problem(settings, 400, INVALID, detail), "errors": errors}


def problem(settings: WebSettings, status: int, code: str, detail: str | None) -> dict[str, Any]:
    """The members of a problem (RFC 9457 section 3.1)."""
    base = settings.problem_types_url
    return {
        "type": f"{base}{'/' if base[-1].isalnum() else ''}{code}" if base else "about:blank",
        "title": HTTP_STATUS_CODES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "code": code,
    }


def _walk(messages: Any, pointer: str, about: Schema | fields.Field[Any] | None) -> Iterator[tuple[str, Any]]:
    """Each text with the JSON pointer, as a fragment of a URI, to what it is about (RFC 6901 section 6)."""
    if isinstance(messages, Mapping):
        for key, value in messages.items():
            below = pointer if key == SCHEMA else f"{pointer}/{_token(str(key))}"
            if isinstance(about, fields.Dict) and isinstance(value, Mapping):  # "key" and "value" are no place in it
                for part, each in value.items():
                    yield from _walk(each, below, about.value_field if part == "value" else None)
            else:
                yield from _walk(value, below, _within(about, key))
    elif isinstance(messages, Sequence) and not isinstance(messages, str):
        for each in messages:
            yield from _walk(each, pointer, about)
    else:
        yield pointer, messages


def _within(about: Schema | fields.Field[Any] | None, key: object) -> fields.Field[Any] | None:
    """The field of this name, or at this place of a list."""
    schema = about.schema if isinstance(about, fields.Nested) else about
    if isinstance(schema, Schema):
        return next((each for name, each in schema.fields.items() if (each.data_key or name) == key), None)
    return about.inner if isinstance(about, fields.List) else None


def _token(key: str) -> str:
    return quote(key.replace("~", "~0").replace("/", "~1"), safe="~!$&'()*+,;=:@")
