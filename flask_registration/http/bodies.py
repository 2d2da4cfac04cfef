"""Read a request body as JSON, and the base schemas of request bodies and responses."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, cast
from urllib.parse import urlsplit

from marshmallow import (
    EXCLUDE,
    Schema,
    ValidationError,
    fields,
    post_load,
    validates_schema,
)
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from ..auth.links import SignedLink
from ..auth.sessions import LoginSettings
from ..errors import REQUIRED, LinkInvalid, SentFromOtherSite
from ..i18n.languages import current_request
from ..i18n.messages import Message
from ..state import RegistrationState
from .responses import by_field
from .schema_messages import with_messages

#: How deep lists and objects in a request body may be nested.
MAX_DEPTH = 100

#: NUL, which PostgreSQL does not store, and halves of surrogate pairs, which UTF-8 does not have.
UNSAFE = re.compile("[\0\ud800-\udfff]")

NOT_JSON = Message("Send JSON, with the header Content-Type: application/json.")
INVALID_JSON = Message("The request body is not valid JSON in UTF-8.")
NULL = Message("This field may not be null.", code="null")
BLANK = Message("This field may not be blank.", code="blank")
UNSUPPORTED_CHARACTERS = Message("This text contains unsupported characters.", code="unstorable")

#: The schema of a request body or a response, or a function that makes it from the state.
SchemaFactory = type[Schema] | Callable[[RegistrationState], Schema]

Messages = dict[str, str | list[Any] | dict[Any, Any]]

#: The messages of Django REST framework for missing values, for the fields of all our schemas.
MESSAGES: Messages = {"required": REQUIRED, "null": NULL}


class BodySchema(Schema):
    """The base of our schemas. It ignores fields that it does not have."""

    class Meta:
        """The options of marshmallow."""

        unknown = EXCLUDE

    def handle_error(self, error: ValidationError, data: Any, **kwargs: Any) -> None:
        """Replace errors of the parameters of a link by ``signature-invalid``.

        :raises LinkInvalid: a parameter is present and invalid.
        """
        messages = error.messages if isinstance(error.messages, dict) else {}
        parameters = {
            name for name, field in self.fields.items() if isinstance(field, LinkParameter)
        }
        missing = {REQUIRED, NULL}
        wrong = parameters.intersection(messages)
        if any(not missing.intersection(messages[name]) for name in wrong):
            raise LinkInvalid


class SuccessSchema(Schema):
    """The response of a successful step.

    An application may replace it by ``SUCCESS_RESPONSE_BUILDER``.
    """

    detail: fields.String = fields.String(required=True)


class Text(fields.String):
    """A string of a request body. A number is its digits, as in Django REST framework.

    :ivar trim: whether spaces and line ends around it are removed.
    """

    default_error_messages: Messages = MESSAGES

    def __init__(self, *, trim: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.trim = trim

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        text: str = super()._deserialize(value, *args, **kwargs)
        return text.strip() if self.trim else text


class AlternativesSchema(BodySchema):
    """A schema with fields of which a request body must have at least one."""

    alternatives: Sequence[str] = ()

    @validates_schema(skip_on_field_errors=False, pass_original=True)
    def _has_alternative(self, data: Any, original: dict[str, Any], **kwargs: Any) -> None:
        fields = (self.fields.get(name) for name in self.alternatives)
        keys = {field.data_key for field in fields if field and field.data_key}
        if original.keys().isdisjoint(keys.union(self.alternatives)):
            raise ValidationError(REQUIRED, self.alternatives[0])


def not_blank(text: str | None) -> None:
    """Refuse an empty text.

    :raises marshmallow.ValidationError: the text is empty.
    """
    if text == "":
        raise ValidationError(BLANK)


def check_confirmation(data: Mapping[str, Any]) -> None:
    """Compare the two passwords of a request body, if it has two.

    :raises marshmallow.ValidationError: they differ.
    """
    password = data.get("password")
    if data.get("password_confirm", password) != password:
        message = Message("The two passwords do not match.", code="mismatch")
        raise ValidationError(message, "password_confirm")


class EmailSchema(BodySchema):
    """An e-mail address."""

    email: Text = Text(required=True, trim=True, validate=not_blank, metadata={"format": "email"})


class NewPasswordSchema(BodySchema):
    """A new password, typed once or twice."""

    @validates_schema
    def _passwords_match(self, data: dict[str, Any], **kwargs: Any) -> None:
        check_confirmation(data)


class LinkParameter(fields.Field[str]):
    """A parameter of a link: text or a whole number, kept as the client sent it."""

    default_error_messages: Messages = {
        **MESSAGES,
        "invalid": Message("Not a parameter of a link."),
    }

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise self.make_error("invalid")
        text = str(value)
        if not text:
            raise self.make_error("required")
        if len(text) > 512 or not is_safe(text):
            raise self.make_error("invalid")
        return text


class LinkSchema(BodySchema):
    """The parameters of a link.

    A missing parameter is an error of its field. Any other error is ``signature-invalid``.
    """

    user_id: LinkParameter = LinkParameter(required=True)
    timestamp: LinkParameter = LinkParameter(required=True)
    signature: LinkParameter = LinkParameter(required=True)

    @post_load
    def _link(self, data: dict[str, str], **kwargs: Any) -> SignedLink:
        return SignedLink(**{"user_id": "", **data})


class EmailLinkSchema(LinkSchema):
    """The parameters of a link that is about another e-mail address than the account's."""

    email: LinkParameter = LinkParameter(required=True)


class AddressLinkSchema(EmailLinkSchema):
    """The parameters of a link that is about an e-mail address without an account."""

    class Meta:
        """The options of marshmallow."""

        unknown = EXCLUDE
        exclude: tuple[str, ...] = ("user_id",)


def schema_of(state: RegistrationState, factory: SchemaFactory) -> Schema:
    """Return the schema of a factory. It is made once for each application."""
    if factory not in state.schemas:
        schema = factory() if isinstance(factory, type) else factory(state)
        state.schemas[factory] = with_messages(schema)
    return state.schemas[factory]


def login_response(state: RegistrationState) -> Schema:
    """Return the schema of a login's response, with the token if logins return one."""
    return with_token(state, SuccessSchema, "LoggedIn")


def with_token(
    state: RegistrationState, schema: type[Schema], name: str, *, required: bool = True
) -> Schema:
    """Return a schema of a response with the token of a login, if logins return one.

    :param name: its name in the API description.
    :param required: whether each response has the token.
    """
    has_token = state.group(LoginSettings).login_retrieve_token
    token: dict[str, Any] = {"token": fields.String(required=required)} if has_token else {}
    return schema.from_dict(token, name=name)()


class RenewedSchema(SuccessSchema):
    """The response of a step that ends other logins: a new token if the client sent one."""

    token: fields.String = fields.String()


def read_body(max_length: int, *, is_optional: bool = False) -> dict[str, Any]:
    """Return the request body, a JSON object with its media type.

    A form of another site cannot send that (OWASP CSRF Prevention Cheat Sheet).

    :param max_length: its maximum length in bytes.
    :param is_optional: take a request without a body for an empty object, as for each DELETE.
    :raises SentFromOtherSite: there is no body, and the browser says that a form of another site
        sent the request.
    :raises marshmallow.ValidationError: it is no JSON object.
    :raises werkzeug.exceptions.HTTPException: 400 not JSON, 413 too large, 415 another media type.
    """
    current = current_request()  # a proxy looks it up each time
    data = current.get_data()
    if len(data) > max_length:
        raise RequestEntityTooLarge
    is_declared = current.content_length or "Transfer-Encoding" in current.headers
    is_delete = current.method == "DELETE"  # which no form can send
    if (is_delete or is_optional) and not (data or is_declared):
        if not is_delete and is_from_another_site():
            raise SentFromOtherSite
        return {}
    if not current.is_json:
        raise UnsupportedMediaType(NOT_JSON)
    try:
        body = _DECODER.decode(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise BadRequest(INVALID_JSON) from None
    if not isinstance(body, dict):
        message = Message("Invalid data. Expected a JSON object.", code="not-an-object")
        raise ValidationError(message)
    return body


def is_from_another_site() -> bool:
    """Return whether the browser says that another site sent this request.

    ``Sec-Fetch-Site`` decides if it is present, as with HTTPS: it does not depend on the host that
    a proxy passes on.
    """
    current = current_request()
    site, origin = current.headers.get("Sec-Fetch-Site"), current.headers.get("Origin")
    if site is not None:
        return site not in ("same-origin", "none")
    return origin is not None and urlsplit(origin).netloc != current.host


def load(schema: Schema, body: dict[str, Any]) -> Any:
    """Load a request body with a schema.

    :raises marshmallow.ValidationError: the schema refuses it.
    """
    names = {field.data_key or name for name, field in schema.fields.items()}
    unsafe = [key for key, value in body.items() if key in names and not is_safe(value)]
    if unsafe:
        error = ValidationError(cast(Any, {key: [UNSUPPORTED_CHARACTERS] for key in unsafe}))
        schema.handle_error(error, body, many=False)
        raise error
    return schema.load(body)


def name_by_data_key(error: ValidationError, schema: Schema) -> None:
    """Give the fields of an error the names that they have in the request body.

    marshmallow uses the ``data_key`` of a field for its own errors, but not for those of a function
    that knows the field by its name or its attribute.
    """
    error.kwargs["schema"] = schema  # the pointers of problem details depend on it
    names: dict[Any, str] = {}
    for name, field in schema.fields.items():
        names |= dict.fromkeys((name, field.attribute), field.data_key or name)
    keys = set(names.values())
    messages: dict[str, Any] = {}
    for name, each in by_field(error).items():
        key = name if name in keys else names.get(name, name)
        messages[key] = [*messages[key], *each] if key in messages else each
    error.messages = messages


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is too large")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def is_safe(value: Any) -> bool:
    """Return whether every database can store a value.

    It has no NUL and no half of a surrogate pair, and is not nested deeper than :data:`MAX_DEPTH`.
    """
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
