"""Responses: success, errors, common headers, and the language that they are in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn, cast

from flask import Blueprint, Flask, Response, current_app, jsonify, request
from flask.typing import ResponseReturnValue
from marshmallow import Schema, ValidationError
from marshmallow.exceptions import SCHEMA
from sqlalchemy.exc import ProgrammingError, StatementError
from werkzeug.exceptions import HTTPException, NotFound, default_exceptions
from werkzeug.http import parse_set_header
from werkzeug.utils import import_string

from ..errors import APIError, DatabaseOutdated, DatabaseUnavailable
from ..i18n.languages import Language, Languages, load_language, shipped
from ..request_state import request_state
from ..security_log import DATABASE_UNAVAILABLE, record
from ..settings import Settings, not_empty, setting
from ..state import current_registration
from ..users.transaction import UNAVAILABLE, is_outdated, unavailable

#: The media type of problem details (RFC 9457).
PROBLEM = "application/problem+json"

#: The code of an error that is about fields, and of a field's error without a code of its own.
INVALID = "invalid"


def success_response(
    message: str, status: int, extra_data: Mapping[str, Any] | None
) -> ResponseReturnValue:
    """Return the default response of a successful step: ``{"detail": message}`` and more fields."""
    return jsonify({"detail": message, **(extra_data or {})}), status


def _check_prefix(prefix: str) -> None:
    if not re.fullmatch(r"((/[^/<>]+)+/?)?|/", prefix):
        raise ValueError('must be a path that begins with a slash, for example "/accounts"')


@dataclass(frozen=True, kw_only=True)
class HTTPSettings(Settings):
    """Requests and responses."""

    url_prefix: str = setting("/accounts", "The path of the endpoints.", validate=_check_prefix)
    non_field_errors_key: str = setting(
        "non_field_errors", "The key of errors that concern a whole request body."
    )
    success_response_builder: Callable[..., Any] = setting(
        success_response,
        "Makes the response of a successful step: `builder(message, status, extra_data)`.",
    )
    problem_types_url: str | None = setting(
        None,
        "Base URL for the `type` member of problem details (RFC 9457). The error code is appended.",
        default_text="none: the type is `about:blank`",
    )
    not_authenticated_decorators: tuple[Callable[..., Any], ...] = setting(
        (), "Decorators, the outermost first, around every endpoint that needs no login."
    )
    max_content_length: int = setting(
        65536, "The maximum length of a request body in bytes; a longer one returns 413."
    )


@dataclass(frozen=True, kw_only=True)
class LanguageSettings(Settings):
    """Languages of responses and e-mails."""

    languages: tuple[str, ...] = setting(
        shipped(),
        "The languages that are offered; the first one is the fallback. "
        'A site in German only sets `["de"]`.',
        default_text="English and all languages with a catalog",
        validate=not_empty,
    )
    locale_selector: Callable[..., Any] | None = setting(
        None,
        "Chooses the language: `selector(*, request, user, **kwargs)` returns a tag such as "
        '`"de"`, or None for the default. `user` is the owner of the account that an e-mail '
        "is about; for a response it is None.",
        default_text="Flask-Babel's, else the header `Accept-Language`",
    )
    translation_directories: tuple[str, ...] = setting(
        ("translations",),
        "Directories, relative to the application's root path, with catalogs that take precedence: "
        "`de/LC_MESSAGES/flask_registration.mo`.",
    )


def load_languages(app: Flask, settings: LanguageSettings) -> dict[str, Language | None]:
    """Return the languages that the settings offer; None for each that has no catalog."""
    paths = [Path(app.root_path, name) for name in settings.translation_directories]
    directories = [path for path in paths if path.is_dir()]
    return {name: load_language(name.replace("-", "_"), directories) for name in settings.languages}


def translate(text: Any) -> Any:
    """Translate a message, or a structure of messages, into the language of the response."""
    return current_registration.languages.for_response().translate(text)


def success(message: str, status: int = 200, **extra_data: Any) -> ResponseReturnValue:
    """Return the response of a successful step, as the application builds it."""
    build: Callable[..., ResponseReturnValue] = current_registration.group(
        HTTPSettings
    ).success_response_builder
    return build(message=translate(message), status=status, extra_data=extra_data)


# Errors


class ErrorReport(NamedTuple):
    """An error before it has a format.

    :ivar detail: the text, not translated yet.
    :ivar messages: for an error about fields, their messages, not translated yet.
    :ivar schema: the schema that these fields belong to, if it is known.
    :ivar members: more members of the response.
    """

    status: int
    code: str
    detail: str | None
    headers: Sequence[tuple[str, str]] = ()
    messages: Mapping[str, Any] | None = None
    schema: Schema | None = None
    members: Mapping[str, Any] = MappingProxyType({})


def handle_errors(
    blueprint: Blueprint, settings: HTTPSettings, problem_details: str
) -> Callable[[Exception], ResponseReturnValue]:
    """Return the errors of our endpoints as JSON; the application's other routes keep their own.

    Return the function that makes such a response.

    :param problem_details: the import string of the function that makes problem details.
    """

    def respond(error: Exception) -> ResponseReturnValue:
        report = report_error(error)
        if PROBLEM in request.headers.get("Accept", "").lower():
            response: Response | None = import_string(problem_details)(report)
            if response is not None:
                return response
        return error_response(report, error_members(report, settings.non_field_errors_key))

    def handle_database_error(error: Exception) -> ResponseReturnValue:
        reported = error if isinstance(error, DatabaseUnavailable) else unavailable(error)
        cause = reported.__cause__ or error
        current_app.logger.error(_describe(reported, cause), exc_info=cause)
        record(DATABASE_UNAVAILABLE, error=type(cause).__name__)
        return respond(reported)

    def handle_statement(error: ProgrammingError) -> ResponseReturnValue:
        return handle_database_error(error) if is_outdated(error) else hide_parameters(error)

    def hide_parameters(error: StatementError) -> NoReturn:
        error.hide_parameters = True  # Flask logs it, and it may contain a password hash
        raise error

    # Each status by itself too: Flask prefers the application's handler of a status to ours for
    # all.
    kinds: list[type[Exception] | int] = [APIError, ValidationError, HTTPException]
    for kind in (*kinds, *default_exceptions):
        blueprint.register_error_handler(kind, respond)
    blueprint.register_error_handler(DatabaseUnavailable, handle_database_error)
    for failure in UNAVAILABLE:  # from outside our views, for example an application's decorator
        blueprint.register_error_handler(failure, handle_database_error)
    blueprint.register_error_handler(ProgrammingError, handle_statement)
    blueprint.register_error_handler(StatementError, hide_parameters)
    return respond


def handle_unknown_paths(
    app: Flask, prefix: str, respond: Callable[[Exception], ResponseReturnValue]
) -> None:
    """Return 404 as JSON for a path under the prefix that has no route, except for a browser.

    No handler of a blueprint sees such an error, and one of the application would see all errors.
    """
    start = prefix.rstrip("/") + "/"
    if start == "/":  # all paths are the application's
        return

    @app.before_request
    def refuse_unknown_path() -> ResponseReturnValue | None:
        error = request.routing_exception
        if not isinstance(error, NotFound) or not f"{request.path}/".startswith(start):
            return None
        is_page = request.accept_mimetypes.best_match(["application/json", "text/html"])
        return None if is_page == "text/html" else respond(error)


def _describe(error: DatabaseUnavailable, cause: BaseException) -> str:
    """Return what the log says about an error of the database."""
    if not isinstance(error, DatabaseOutdated):
        return "The database is not available."
    missing = str(getattr(cause, "orig", cause)).splitlines()[0]
    return (
        f"The database lacks a column or a table: {missing}. "
        "Run your migrations; `flask registration check --database` lists what is missing."
    )


def report_error(error: Exception) -> ErrorReport:
    """Return what an error says, whatever its class."""
    if isinstance(error, ValidationError):
        schema = error.kwargs.get("schema")
        return ErrorReport(400, INVALID, None, messages=by_field(error), schema=schema)
    if isinstance(error, APIError):
        headers = [*error.headers.items()]
        return ErrorReport(error.status, error.code, error.detail, headers, members=error.members)
    http = cast(HTTPException, error)
    headers = [(name, value) for name, value in http.get_headers() if name != "Content-Type"]
    code = "throttled" if http.code == 429 else (http.name or "error").lower().replace(" ", "-")
    return ErrorReport(http.code or 500, code, http.description, headers)


def error_response(
    report: ErrorReport, members: Mapping[str, Any], mimetype: str = "application/json"
) -> Response:
    """Return the response of an error with these members."""
    response = jsonify(members)
    response.status_code = report.status
    response.mimetype = mimetype
    response.headers.extend(report.headers)
    return response


def error_members(
    report: ErrorReport, non_field_errors_key: str, translate: Callable[[Any], Any] = translate
) -> dict[str, Any]:
    """Return the members of an error in the format of django-rest-registration.

    :param translate: translates a message, or a structure of messages, for the reader.
    """
    if report.messages is None:
        return {"detail": translate(report.detail), "code": report.code, **report.members}
    key = non_field_errors_key
    messages = translate(report.messages).items()
    return {key if name == SCHEMA else name: text for name, text in messages}


def by_field(error: ValidationError) -> dict[str, Any]:
    """Return the messages of an error by field."""
    if isinstance(error.messages, dict):
        return error.messages
    return {error.field_name: error.messages}


@contextmanager
def collect_messages(messages: dict[str, Any]) -> Iterator[None]:
    """Keep the messages of a ``ValidationError``, so that a response can have all of them."""
    try:
        yield
    except ValidationError as error:
        messages |= by_field(error)


# Headers


def add_response_headers(
    blueprint: Blueprint, languages: Languages
) -> Callable[[Response], Response]:
    """Add the common headers to every response of our endpoints, errors included.

    Return the function that adds them.
    """

    def add_headers(response: Response) -> Response:
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        varies = ["Accept"] if response.status_code >= 400 else []
        if language := request_state().language:
            headers["Content-Language"] = language.tag
            varies += [] if languages.is_one else ["Accept-Language"]
        # Always the cookie: a template that reads the session would reveal that an e-mail is sent.
        vary = parse_set_header(", ".join(response.headers.getlist("Vary")))
        vary.update([*varies, "Cookie"])
        for name, value in headers.items():  # a header of the view or of a decorator stays
            response.headers.setdefault(name, value)
        response.headers["Vary"] = vary.to_header()
        return response

    blueprint.after_request(add_headers)
    return add_headers
