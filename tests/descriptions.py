"""Applications whose API description is held against what they do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from marshmallow import Schema, fields, validate
from openapi_schema_validator import OAS31Validator, oas31_format_checker
from sqlalchemy import TIMESTAMP, Date, DateTime, Integer, Numeric
from sqlalchemy.orm import mapped_column
from werkzeug.test import TestResponse

from flask_registration import EmailUserMixin
from flask_registration.openapi.serving import make_description

from .people import define_login
from .site import PASSWORD, Site, define, mixin_and, text_column

NewSite = Callable[..., Site]


class Address(Schema):
    """A schema within a schema."""

    street = fields.String(required=True)
    number = fields.Integer()


class Signup(Schema):
    """A body of the application's own: what it does not name it refuses."""

    username = fields.String(required=True, validate=validate.Length(1, 40))
    email = fields.Email(required=True)
    password = fields.String(required=True, load_only=True)
    company = fields.String(allow_none=True)
    terms = fields.Boolean(required=True, validate=validate.Equal(True))
    tags = fields.List(
        fields.String(validate=validate.Length(max=10)), validate=validate.Length(max=3)
    )
    address = fields.Nested(Address, data_key="home")
    colours = fields.List(fields.String(), validate=validate.ContainsOnly(["red", "green"]))
    day = fields.Date(format="%d.%m.%Y")


def own_columns() -> Callable[[Any], type[Any]]:
    """The mixin's columns, and some of other types."""
    return mixin_and(
        company=text_column(nullable=True),
        plan=text_column(server_default="free", nullable=False),
        seats=lambda: mapped_column(Integer, default=1, nullable=False),
        born=lambda: mapped_column(Date, nullable=True),
        seen=lambda: mapped_column(DateTime, nullable=True),
        met=lambda: mapped_column(DateTime(timezone=True), nullable=True),
        left=lambda: mapped_column(TIMESTAMP(timezone=True), nullable=True),
        price=lambda: mapped_column(Numeric(8, 2), nullable=True),
    )


#: Three applications that have little in common: their settings, and what a registration must say
#: there.
SITES: dict[str, dict[str, Any]] = {
    "sessions": {},
    "tokens": {
        "define": define(EmailUserMixin),
        "login_model": define_login,
        "USER_LOGIN_FIELDS": ["email"],
        "LOGIN_AUTHENTICATE_SESSION": False,
        "LOGIN_RETRIEVE_TOKEN": True,
        "RESET_PASSWORD_SCHEMA_PASSWORD_CONFIRM": True,
        "REGISTER_VERIFICATION_ONE_TIME_USE": True,
        "REGISTER_VERIFICATION_AUTO_LOGIN": True,
    },
    "own fields": {
        "define": own_columns(),
        "USER_PUBLIC_FIELDS": ["company", "plan", "seats", "born", "seen", "met", "price"],
        "REGISTER_SCHEMA_CLASS": Signup,
        "REGISTER_VERIFICATION_ENABLED": False,
        "REGISTER_EMAIL_VERIFICATION_ENABLED": False,
        "RESET_PASSWORD_FAIL_WHEN_USER_NOT_FOUND": True,
        "CHANGE_PASSWORD_SCHEMA_PASSWORD_CONFIRM": False,
        "NON_FIELD_ERRORS_KEY": "errors",
        "URL_PREFIX": "/api/users",
    },
}
COMMON: dict[str, Any] = {"MAIL_LIMITS": None}


def describe(app: Flask) -> dict[str, Any]:
    """The description of an application, made once."""
    if "described" not in app.extensions:
        app.extensions["described"] = make_description(app, app.extensions["registration"])
    document: dict[str, Any] = app.extensions["described"]
    return document


class CheckedClient(FlaskClient):
    """A client that holds every reply against the description."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        reply = super().open(*args, **kwargs)
        check_reply(describe(self.application), reply)
        return reply


def check_reply(document: Mapping[str, Any], reply: TestResponse) -> None:
    """Fail if a reply is not as its endpoint is described."""
    _, operation = find(document, reply.request.method, reply.request.path)
    described = resolve(document, operation["responses"][str(reply.status_code)])
    for name, header in described.get("headers", {}).items():
        value: Any = reply.headers[name]
        check(
            document,
            header["schema"],
            int(value) if header["schema"]["type"] == "integer" else value,
        )
    if "content" in described:
        check(document, described["content"][reply.mimetype]["schema"], reply.get_json())
    else:
        assert reply.get_data() == b""


def find(document: Mapping[str, Any], method: str, path: str) -> tuple[str, Any]:
    """The path as it is described, and the operation."""
    asked = path.strip("/").split("/")
    for template, item in document["paths"].items():
        parts = template.strip("/").split("/")
        if len(parts) != len(asked):
            continue
        if all("{" in part or part == each for part, each in zip(parts, asked, strict=True)):
            return template, item[method.lower()]
    raise LookupError(path)


def resolve(document: Mapping[str, Any], described: Any) -> Any:
    """What a reference stands for."""
    while "$ref" in described:
        _, kind, name = described["$ref"].removeprefix("#/").split("/")
        described = document["components"][kind][name]
    return described


def check(document: Mapping[str, Any], schema: Mapping[str, Any], value: Any) -> None:
    """:raises jsonschema.ValidationError: the value is not as the schema has it."""
    whole = {**schema, "components": document["components"]}
    OAS31Validator(whole, format_checker=oas31_format_checker).validate(value)


def registration(name: str, username: str = "alice", **changes: Any) -> dict[str, Any]:
    """A right body for a registration at one of the applications."""
    body: dict[str, Any] = {"email": f"{username}@example.com", "password": PASSWORD}
    if name == "own fields":
        own = {
            "username": username,
            "terms": True,
            "tags": ["a"],
            "home": {"street": "Elm", "number": 4},
        }
        return {**body, **own, **changes}
    named = {"username": username} if name == "sessions" else {}
    return {**body, **named, "password_confirm": PASSWORD, **changes}
