"""Errors as the client reads them: in the shape of the contract, or as a problem of RFC 9457 where it asks for that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn, cast
from urllib.parse import quote

from flask import Blueprint, Response, current_app, jsonify, request
from flask.typing import ResponseReturnValue
from marshmallow import ValidationError
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
            response = _problem_of_fields(messages, settings)
        else:
            key = settings.non_field_errors_key
            response = jsonify({key if name == SCHEMA else name: texts for name, texts in said(messages).items()})
            response.status_code = 400
    elif isinstance(error, APIError):
        response = _response(error.detail, error.code, error.status, settings, problem=wants_problem)
        response.headers.extend(error.headers)
    else:
        http = cast(HTTPException, error)
        response = _response(http.description, code_of(http), http.code or 500, settings, problem=wants_problem)
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


def _response(detail: str | None, code: str, status: int, settings: WebSettings, *, problem: bool) -> Response:
    if problem:
        return _problem(said(detail), code, status, settings)
    response = jsonify(detail=said(detail), code=code)
    response.status_code = status
    return response


def _problem_of_fields(messages: Mapping[str, Any], settings: WebSettings) -> Response:
    errors = [
        {"pointer": pointer, "code": getattr(text, "code", None) or INVALID, "detail": said(text)}
        for pointer, text in _walk(messages, "#")
    ]
    detail = " ".join(dict.fromkeys(str(each["detail"]) for each in errors))
    return _problem(detail, INVALID, 400, settings, errors=errors)


def _problem(detail: str | None, code: str, status: int, settings: WebSettings, **members: Any) -> Response:
    base = settings.problem_types_url
    response = jsonify(
        type=f"{base}{code}" if base else "about:blank",
        title=HTTP_STATUS_CODES.get(status, "Error"),
        status=status,
        detail=detail,
        code=code,
        **members,
    )
    response.status_code = status
    response.mimetype = PROBLEM
    return response


def _walk(messages: Any, pointer: str) -> Iterator[tuple[str, Any]]:
    """Each text with the JSON pointer, as a fragment of a URI, to what it is about (RFC 6901 section 6)."""
    if isinstance(messages, Mapping):
        for key, value in messages.items():
            yield from _walk(value, pointer if key == SCHEMA else f"{pointer}/{_token(str(key))}")
    elif isinstance(messages, Sequence) and not isinstance(messages, str):
        for each in messages:
            yield from _walk(each, pointer)
    else:
        yield pointer, messages


def _token(key: str) -> str:
    return quote(key.replace("~", "~0").replace("/", "~1"), safe="~!$&'()*+,;=:@")
