"""JSON in: read a body, load it with a schema; and what a step answers that worked."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from flask import Request, Response, g, jsonify, request
from flask.typing import ResponseReturnValue
from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge, UnsupportedMediaType

from .errors import LinkInvalid
from .links import SignedLink
from .messages import Message
from .settings import Settings, setting

#: How deep lists and objects in a body may be nested.
MAX_DEPTH = 100

#: NUL, which PostgreSQL does not store, and halves of surrogate pairs, which UTF-8 does not have.
UNSAFE = re.compile("[\0\ud800-\udfff]")

NOT_JSON = Message("Send JSON, with the header Content-Type: application/json.")
INVALID_JSON = Message("The body is not valid JSON in UTF-8.")
REQUIRED = Message("This field is required.", code="required")
NULL = Message("This field may not be null.", code="null")
BLANK = Message("This field may not be blank.", code="blank")

Messages = dict[str, str | list[Any] | dict[Any, Any]]

#: DRF's words for what is missing, for the fields of every schema of ours.
MESSAGES: Messages = {"required": REQUIRED, "null": NULL}


class BodySchema(Schema):
    """The base of our schemas: what it does not name, it does not look at."""

    class Meta:
        unknown = EXCLUDE

    @property
    def alternatives(self) -> Iterable[str]:
        """The fields of which a body must have one at the least."""
        return ()


class SuccessSchema(Schema):
    """What a step that worked answers, unless the application has a ``SUCCESS_RESPONSE_BUILDER`` of its own."""

    detail: fields.String = fields.String(required=True)


class Text(fields.String):
    """A string of a body; its length counts before anything reads it."""

    default_error_messages: Messages = MESSAGES


def not_blank(text: str | None) -> None:
    """:raises marshmallow.ValidationError: nothing was typed."""
    if text == "":
        raise ValidationError(BLANK)


class LinkParameter(fields.Field[str]):
    """A parameter of a mailed link: text or a whole number, kept as it came."""

    default_error_messages: Messages = {**MESSAGES, "invalid": Message("Not a parameter of a link.")}

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise self.make_error("invalid")
        try:
            text = str(value)
        except ValueError:  # more digits than Python converts
            raise self.make_error("invalid") from None
        if not text:
            raise self.make_error("required")
        if len(text) > 512 or not _safe(text):
            raise self.make_error("invalid")
        return text


class LinkSchema(BodySchema):
    """The parameters of a mailed link.

    One that is missing is told by its name; whatever else is wrong with them is one and the same ``signature-invalid``.
    """

    user_id: LinkParameter = LinkParameter(required=True)
    timestamp: LinkParameter = LinkParameter(required=True)
    signature: LinkParameter = LinkParameter(required=True)

    def handle_error(self, error: ValidationError, data: Any, **kwargs: Any) -> None:
        messages = error.messages if isinstance(error.messages, dict) else {}
        parameters = {name for name, field in self.fields.items() if isinstance(field, LinkParameter)}
        missing = {REQUIRED, NULL}
        if any(not missing.intersection(messages[name]) for name in parameters.intersection(messages)):
            raise LinkInvalid

    @post_load
    def _link(self, data: dict[str, str], **kwargs: Any) -> SignedLink:
        return SignedLink(**data)


class EmailLinkSchema(LinkSchema):
    """The parameters of a mailed link that is about another address than the account's."""

    email: LinkParameter = LinkParameter(required=True)


def load(schema: Schema, max_length: int) -> Any:
    """What the schema makes of the request's body.

    :param max_length: bytes of the body at the most.
    :raises marshmallow.ValidationError: the body is no JSON object, or not one that the schema takes.
    :raises werkzeug.exceptions.HTTPException: 400 not JSON at all, 413 too large, 415 another type.
    """
    if request.method == "DELETE" and not request.content_length:  # which needs no body, and which no form can send
        return schema.load({})
    form = g.get("_registration_body")
    body = read_json(max_length) if form is None else form
    if not isinstance(body, dict):
        raise ValidationError(Message("Invalid data. Expected a JSON object.", code="not-an-object"))
    unsafe = [key for key in body if not _safe(body[key])]
    if unsafe and (known := {field.data_key or name for name, field in schema.fields.items()}.intersection(unsafe)):
        text = Message("This text has characters that cannot be stored.", code="unstorable")
        messages = {key: [text] for key in unsafe if key in known}
        error = ValidationError(cast(Any, messages))
        schema.handle_error(error, body, many=False)
        raise error
    try:
        return schema.load(body)
    except ValidationError as error:
        error.kwargs["schema"] = schema  # a problem's pointers depend on the kinds of fields
        raise


@contextmanager
def form_as_body(body: Mapping[str, Any]) -> Iterator[None]:
    """Let a form of our own pages stand for the JSON body of this request."""
    g._registration_body = body
    try:
        yield
    finally:
        del g._registration_body


def read_json(max_length: int) -> Any:
    """The request's body, which must be JSON and say so: a form on another site cannot send that (OWASP CSRF)."""
    asking: Request = cast(Any, request)._get_current_object()  # which the proxy would look up each time
    if not asking.is_json:
        raise UnsupportedMediaType(NOT_JSON)
    limit = asking.max_content_length
    asking.max_content_length = max_length if limit is None else min(limit, max_length)
    data = asking.get_data()
    if len(data) > max_length:  # somebody read it before the limit stood
        raise RequestEntityTooLarge
    try:
        return _DECODER.decode(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise BadRequest(INVALID_JSON) from None


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is too large")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def _safe(value: Any) -> bool:
    """Whether every database can store a value and we can show it: no NUL, no half of a surrogate pair, no abyss."""
    if isinstance(value, str):
        return not UNSAFE.search(value)
    level = [value]
    for _ in range(MAX_DEPTH):
        if any(isinstance(each, str) and UNSAFE.search(each) for each in level):
            return False
        dicts = [each for each in level if isinstance(each, dict)]
        level = [item for each in level if isinstance(each, list) for item in each]
        level += [item for each in dicts for item in (*each.keys(), *each.values())]
        if not level:
            return True
    return False


def success_response(message: str, status: int, extra_data: Mapping[str, Any] | None) -> ResponseReturnValue:
    """The default reply of a step that worked: ``{"detail": message}`` and what belongs to it."""
    return jsonify({"detail": message, **(extra_data or {})}), status


@dataclass(frozen=True, kw_only=True)
class WebSettings(Settings):
    """What all endpoints have in common."""

    url_prefix: str = setting("/accounts", "The path under which the endpoints are.")
    non_field_errors_key: str = setting("non_field_errors", "The key of errors that concern a whole body.")
    success_response_builder: Callable[..., Any] = setting(
        success_response, "Makes the reply of a step that worked: `builder(message, status, extra_data)`."
    )
    problem_types_url: str | None = setting(
        None,
        "The beginning of the URL that is the `type` of a problem of RFC 9457; its code is the rest.",
        default_text="none: the type is `about:blank`",
    )
    not_authenticated_decorators: tuple[Callable[..., Any], ...] = setting(
        (), "Decorators, the outermost first, around every endpoint that needs no login."
    )
    max_content_length: int = setting(65536, "Bytes of a request's body at the most; more is answered 413.")


def by_field(error: ValidationError) -> dict[str, Any]:
    """The messages of an error, each under its field."""
    return error.messages if isinstance(error.messages, dict) else {error.field_name: error.messages}


@contextmanager
def collect(complaints: dict[str, Any]) -> Iterator[None]:
    """Keep the messages of a ``ValidationError`` for later, so that a reply can have all of them."""
    try:
        yield
    except ValidationError as error:
        complaints |= by_field(error)


def code_of(problem: HTTPException) -> str:
    """The code of an error of HTTP."""
    return "throttled" if problem.code == 429 else (problem.name or "error").lower().replace(" ", "-")


def complete(response: Response, headers: Mapping[str, str], varies: Sequence[str]) -> None:
    """Give a reply the headers that it lacks, and name the request's that it depends on, beside those named already."""
    present = {name.lower() for name, _ in response.headers}
    if "vary" in present:
        known = [name.strip() for value in response.headers.getlist("Vary") for name in value.split(",")]
        lower = {name.lower() for name in known}
        response.headers["Vary"] = ", ".join([*known, *(name for name in varies if name.lower() not in lower)])
    wanted = {**headers, "Vary": ", ".join(varies)}
    response.headers.extend({name: value for name, value in wanted.items() if name.lower() not in present})
