"""Problem details (RFC 9457): who gets them, and their fields and codes."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from marshmallow import RAISE, Schema, ValidationError, fields, validate, validates_schema
from sqlalchemy import Integer
from sqlalchemy.orm import mapped_column
from werkzeug.exceptions import Conflict, HTTPException
from werkzeug.test import TestResponse

import flask_registration
from flask_registration import BodySchema, Message
from flask_registration.errors import DatabaseUnavailable
from flask_registration.http import schema_messages

from .flows.common import ask_move
from .people import account, log_in
from .site import PASSWORD, Site, mixin_and, own_model
from .tables import each_row

NewSite = Callable[..., Site]

PROBLEM = "application/problem+json"

MEMBERS = {"type": str, "title": str, "status": int, "detail": str, "code": str}
CODE = re.compile("[a-z]+(-[a-z]+)*")


def problem(reply: TestResponse) -> dict[str, Any]:
    """The problem that a reply is."""
    assert reply.headers["Content-Type"] == PROBLEM
    body: dict[str, Any] = json.loads(reply.get_data())
    assert {name: type(value) for name, value in body.items() if name != "errors"} == MEMBERS
    assert CODE.fullmatch(body["code"])
    for each in body.get("errors", ()):
        assert set(each) == {"pointer", "code", "detail"}
        assert re.match("#(/|$)", each["pointer"])
        assert CODE.fullmatch(each["code"])
        assert isinstance(each["detail"], str)
    assert body["status"] == reply.status_code
    assert reply.status.upper() == f"{body['status']} {body['title']}".upper()
    return body


def ask(
    site: Site, endpoint: str, body: Any = None, *, accept: str | None = PROBLEM, **options: Any
) -> TestResponse:
    headers = {**options.pop("headers", {}), **({"Accept": accept} if accept else {})}
    return site.post(endpoint, body, headers=headers, **options)


def complaints(reply: TestResponse) -> dict[str, list[str]]:
    """The codes that a problem has, by the pointer to what they are about."""
    found: dict[str, list[str]] = {}
    for each in problem(reply)["errors"]:
        found.setdefault(each["pointer"], []).append(each["code"])
    return found


# Who gets one


@each_row(
    ("accept", "is_problem"),
    [
        (None, False),
        ("", False),
        ("*/*", False),
        ("application/*", False),
        ("application/json", False),
        ("application/json, text/plain, */*", False),
        ("application/json, application/problem+json;q=0.9", False),
        ("*/*, application/problem+json;q=0.9", False),
        ("application/problem+json;q=0", False),
        ("application/problem+xml", False),
        ("x-application/problem+json", False),
        ("application/problem+json", True),
        ("Application/Problem+JSON", True),
        ("application/problem+json;charset=utf-8", True),
        ("application/json, application/problem+json", True),
        ("application/json;q=0.5, application/problem+json;q=0.5", True),
        ("application/problem+json, */*;q=0.8", True),
    ],
)
def test_only_who_asks_for_a_problem_gets_one(
    site: Site, accept: str | None, is_problem: bool
) -> None:
    for body, shape in (
        ({}, {"password", "login"}),
        ({"login": "nobody", "password": "x"}, {"detail", "code"}),
    ):
        reply = ask(site, "login", body, accept=accept)
        if is_problem:
            problem(reply)
        else:
            assert (reply.mimetype, set(reply.get_json())) == ("application/json", shape)
        assert reply.vary.as_set() >= {"accept", "cookie"}


def test_what_worked_does_not_change_with_it(site: Site) -> None:
    reply = ask(
        site,
        "register",
        {"username": "a", "email": "a@x.org", "password": PASSWORD, "password_confirm": PASSWORD},
    )
    assert (reply.status_code, reply.mimetype) == (201, "application/json")
    assert "accept" not in reply.vary.as_set()


# Errors with a code


def broken(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise DatabaseUnavailable

    monkeypatch.setattr(site.app.extensions["registration"].users, "find", fail)


def throttled(site: Site) -> None:
    for _ in range(2):
        site.post("resend-verification", {"login": "nobody"})


LINK = {"user_id": "1", "timestamp": "1", "signature": "forged"}
WITH_CODES: list[tuple[str, int, str, dict[str, Any]]] = [
    ("verify-registration", 400, "signature-invalid", {"json": LINK}),
    ("login", 400, "login-invalid", {"json": {"login": "nobody", "password": "x"}}),
    ("login", 400, "not-verified", {"json": {"login": "pending", "password": PASSWORD}}),
    ("login", 400, "bad-request", {"data": "{", "content_type": "application/json"}),
    ("logout", 401, "not-authenticated", {"json": {}}),
    ("login", 405, "method-not-allowed", {"method": "GET"}),
    (
        "login",
        413,
        "request-entity-too-large",
        {"data": "1" * 65537, "content_type": "application/json"},
    ),
    ("login", 415, "unsupported-media-type", {"data": {"login": "alice"}}),
    ("reset-password", 404, "not-found", {"json": LINK}),
    ("resend-verification", 429, "throttled", {"json": {"login": "nobody"}}),
    ("login", 503, "database-unavailable", {"json": {"login": "nobody", "password": "x"}}),
]


@each_row(
    ("endpoint", "status", "code", "request_"), WITH_CODES, ids=[each[2] for each in WITH_CODES]
)
def test_an_error_with_a_code_says_the_same_in_both_shapes(
    new_site: NewSite,
    monkeypatch: pytest.MonkeyPatch,
    endpoint: str,
    status: int,
    code: str,
    request_: dict[str, Any],
) -> None:
    site = new_site(
        RESET_PASSWORD_VERIFICATION_ENABLED=False,
        PREVENT_ENUMERATION=False,
        THROTTLES={"resend_verification": {"client": "2/minute"}},
        config={"RATELIMIT_ENABLED": True},
    )
    account(site, "pending", verified=False)
    if code == "throttled":
        throttled(site)
    if code == "database-unavailable":
        broken(site, monkeypatch)
    request_ = {"method": "POST", **request_}
    client = site.app.test_client()
    replies = [
        client.open(f"/accounts/{endpoint}/", headers={"Accept": accept}, **request_)
        for accept in ("*/*", PROBLEM)
    ]
    told = problem(replies[1])
    assert (told["status"], told["code"]) == (status, code)
    assert replies[0].get_json() == {"detail": told["detail"], "code": told["code"]}
    assert told["type"] == "about:blank"
    assert "errors" not in told
    headers = [
        {
            name: value
            for name, value in reply.headers
            if name not in ("Content-Type", "Content-Length")
        }
        for reply in replies
    ]
    assert headers[0] == headers[1]


def test_an_expired_link_and_a_login_that_is_not_fresh(new_site: NewSite, clock: Any) -> None:
    site = new_site(REAUTHENTICATION_PERIOD=60, PROBLEM_TYPES_URL="https://example.com/problems/")
    account(site)
    client = log_in(site)
    link = ask_move(site, client, "new@example.com")
    clock.advance(7 * 86400 + 1)
    expired = problem(ask(site, "verify-email", link))
    stale = ask(site, "register-email", {"email": "new@example.com"}, client=client)
    assert expired["type"] == "https://example.com/problems/signature-expired"
    assert problem(stale)["type"] == "https://example.com/problems/reauthentication-required"
    assert "insufficient_user_authentication" in stale.headers["WWW-Authenticate"]
    assert problem(ask(site, "login", {}))["type"] == "https://example.com/problems/invalid"


@each_row(
    ("url", "is_one"),
    [
        ("https://example.com/problems", "https://example.com/problems/bad-request"),
        ("https://example.com/problems#", "https://example.com/problems#bad-request"),
        ("urn:example:", "urn:example:bad-request"),
    ],
)
def test_the_type_of_a_problem_begins_with_the_setting(
    new_site: NewSite, url: str, is_one: str
) -> None:
    site = new_site(PROBLEM_TYPES_URL=url)
    headers = {"Accept": "application/problem+json", "Content-Type": "application/json"}
    assert (
        site.app.test_client()
        .post("/accounts/login/", data="{", headers=headers)
        .get_json()["type"]
        == is_one
    )


def test_errors_of_the_application_s_decorators_become_problems_too(new_site: NewSite) -> None:
    class Odd(HTTPException):
        code = 499
        description = "The client went away."

    def raising(error: Exception) -> Callable[..., Any]:
        def refuse(**values: Any) -> Any:
            raise error

        return lambda view: refuse

    told = problem(
        ask(new_site(NOT_AUTHENTICATED_DECORATORS=[raising(Conflict("Not now."))]), "login", {})
    )
    assert (told["status"], told["code"], told["title"], told["detail"]) == (
        409,
        "conflict",
        "Conflict",
        "Not now.",
    )
    reply = ask(new_site(NOT_AUTHENTICATED_DECORATORS=[raising(Odd())]), "login", {})
    assert (reply.status_code, reply.get_json()["title"]) == (499, "Error")


# Errors of fields


def test_every_field_is_told_with_pointer_code_and_text(site: Site) -> None:
    body = {"username": "alice", "password": "horse", "password_confirm": "cow", "email": "alice"}
    told = problem(ask(site, "register", body))
    in_words = ask(site, "register", body, accept=None).get_json()
    assert (told["status"], told["code"], told["title"]) == (400, "invalid", "Bad Request")
    assert [(each["pointer"], each["code"]) for each in told["errors"]] == [
        ("#/email", "invalid"),
        ("#/password", "too-short"),
        ("#/password", "too-guessable"),
        ("#/password_confirm", "mismatch"),
    ]
    assert [each["detail"] for each in told["errors"]] == [
        text for name in ("email", "password", "password_confirm") for text in in_words[name]
    ]
    assert told["detail"] == " ".join(each["detail"] for each in told["errors"])


NAMES = {
    "username": "bob",
    "email": "bob@example.com",
    "password": PASSWORD,
    "password_confirm": PASSWORD,
}
CHANGE = {
    "old_password": PASSWORD,
    "password": "another heap of words",
    "password_confirm": "another heap of words",
}
FIELDS: list[tuple[str, Any, dict[str, list[str]]]] = [
    (
        "register",
        {},
        {
            f"#/{name}": ["required"]
            for name in ("username", "email", "password", "password_confirm")
        },
    ),
    ("register", [], {"#": ["not-an-object"]}),
    ("register", {**NAMES, "username": None}, {"#/username": ["null"]}),
    ("register", {**NAMES, "username": ""}, {"#/username": ["blank"]}),
    ("register", {**NAMES, "username": [5]}, {"#/username": ["invalid"]}),
    ("register", {**NAMES, "username": "a b"}, {"#/username": ["invalid"]}),
    ("register", {**NAMES, "username": "b" * 1000}, {"#/username": ["too-long"]}),
    ("register", {**NAMES, "username": "\u0132" * 150}, {"#/username": ["too-long"]}),
    ("register", {**NAMES, "username": "a\0"}, {"#/username": ["unstorable"]}),
    ("register", {**NAMES, "username": "Alice"}, {"#/username": ["taken"]}),
    ("register", {**NAMES, "email": f"{'b' * 300}@x.org"}, {"#/email": ["too-long"]}),
    ("register", {**NAMES, "password": "x" * 300}, {"#/password": ["too-long"]}),
    ("register", {**NAMES, "first_name": "x" * 300}, {"#/first_name": ["too-long"]}),
    ("register", {**NAMES, "age": "ten"}, {"#/age": ["invalid"]}),
    ("register", {**NAMES, "age": 2**40}, {"#/age": ["out-of-range"]}),
    (
        "verify-registration",
        {"timestamp": None},
        {"#/user_id": ["required"], "#/timestamp": ["null"], "#/signature": ["required"]},
    ),
    ("login", {}, {"#/login": ["required"], "#/password": ["required"]}),
    ("resend-verification", {}, {"#/login": ["required"]}),
    ("change-password", {**CHANGE, "old_password": "x"}, {"#/old_password": ["wrong-password"]}),
    ("change-password", {**CHANGE, "password_confirm": "x"}, {"#/password_confirm": ["mismatch"]}),
    ("register-email", {"email": "alice@example.com"}, {"#/email": ["unchanged"]}),
    ("register-email", {"email": "no address"}, {"#/email": ["invalid"]}),
    (
        "register-email",
        {"email": "new@example.com", "password": "x"},
        {"#/password": ["wrong-password"]},
    ),
    ("logout", {"everywhere": "perhaps"}, {"#/everywhere": ["invalid"]}),
]


@each_row(
    ("endpoint", "body", "told"),
    FIELDS,
    ids=[f"{each[0]} {json.dumps(each[2])}" for each in FIELDS],
)
@each_row("language", ["en", "de"])
def test_the_code_of_a_field_is_the_same_in_every_language(
    new_site: NewSite, endpoint: str, body: Any, told: dict[str, list[str]], language: str
) -> None:
    site = new_site(
        define=mixin_and(age=lambda: mapped_column(Integer)),
        USER_PUBLIC_FIELDS=["first_name", "last_name", "age"],
    )
    account(site)
    client = log_in(site)
    assert (
        complaints(ask(site, endpoint, body, client=client, headers={"Accept-Language": language}))
        == told
    )


def test_what_cannot_be_ended_is_told_with_the_field_that_asks_for_it(new_site: NewSite) -> None:
    site = new_site(define=own_model(), LOGIN_RETRIEVE_TOKEN=True)
    account(site)
    client = log_in(site)
    assert complaints(ask(site, "logout", {"everywhere": True}, client=client)) == {
        "#/everywhere": ["unsupported"]
    }
    assert complaints(ask(site, "logout", {"revoke_token": True}, client=client)) == {
        "#/revoke_token": ["unsupported"]
    }


# Schemas of an application's own


class Colour(enum.Enum):
    RED = 1


class Pet(Schema):
    name = fields.String(required=True, validate=validate.Length(min=2))


def refuse(value: str) -> None:
    raise ValidationError("I do not like it.")


class Own(Schema):
    """Everything that marshmallow may refuse."""

    class Meta:
        unknown = RAISE

    short = fields.String(validate=validate.Length(min=2))
    named = fields.String(validate=validate.Length(max=2, error="Far too long."))
    exact = fields.String(validate=validate.Length(equal=2, error="Two, please."))
    between = fields.String(validate=validate.Length(min=2, max=3))
    small = fields.Integer(validate=validate.Range(min=2))
    large = fields.Integer(validate=validate.Range(max=2))
    range = fields.Integer(validate=[validate.Range(1, 2, error="One or two.")])
    choice = fields.String(validate=validate.OneOf(["a", "b"]))
    both = fields.String(validate=validate.And(validate.Length(min=2), validate.Regexp("a")))
    equal = fields.Integer(validate=validate.Equal(2))
    regexp = fields.String(validate=validate.Regexp("a"))
    own = fields.String(validate=refuse)
    coded = fields.String(error_messages={"invalid": Message("No text.", code="no-text")})
    colour = fields.Enum(Colour)
    uuid = fields.UUID()
    when = fields.DateTime()
    pets = fields.List(fields.Nested(Pet))
    tags = fields.List(fields.Integer())
    odd = fields.Integer(data_key="a/b~c d%é")


REFUSED: dict[str, tuple[Any, dict[str, list[str]]]] = {
    "short": ("x", {"": ["too-short"]}),
    "named": ("xxx", {"": ["too-long"]}),
    "exact": ("x", {"": ["wrong-length"]}),
    "between": ("x", {"": ["wrong-length"]}),
    "small": (1, {"": ["too-small"]}),
    "large": (3, {"": ["too-large"]}),
    "range": (3, {"": ["out-of-range"]}),
    "choice": ("c", {"": ["not-a-choice"]}),
    "both": ("x", {"": ["too-short", "invalid"]}),
    "equal": (1, {"": ["invalid"]}),
    "regexp": ("b", {"": ["invalid"]}),
    "own": ("b", {"": ["invalid"]}),
    "coded": (1, {"": ["no-text"]}),
    "colour": ("BLUE", {"": ["not-a-choice"]}),
    "uuid": ("x", {"": ["invalid"]}),
    "when": ("x", {"": ["invalid"]}),
    "pets": (
        [{"name": "Rex"}, {}, {"name": "x"}, 1],
        {"/1/name": ["required"], "/2/name": ["too-short"], "/3": ["invalid"]},
    ),
    "tags": ([1, "x"], {"/1": ["invalid"]}),
}


@each_row("field", REFUSED)
def test_a_schema_of_ones_own_has_codes_and_stays_as_it_is(new_site: NewSite, field: str) -> None:
    value, told = REFUSED[field]
    before = {
        name: (each.error_messages, list(each.validators))
        for name, each in Own._declared_fields.items()
    }
    site = new_site(REGISTER_SCHEMA_CLASS=Own)
    assert complaints(ask(site, "register", {field: value})) == {
        f"#/{field}{path}": each for path, each in told.items()
    }
    assert {
        name: (each.error_messages, each.validators) for name, each in Own._declared_fields.items()
    } == before
    assert all(
        type(text) is str
        for text in (*fields.Integer().error_messages.values(), validate.Length.message_min)
    )


class Branch(Schema):
    """A schema that has itself in it."""

    name = fields.String(validate=validate.Length(min=2))
    branches = fields.List(fields.Nested(lambda: Branch()))


def test_a_schema_may_have_itself_in_it(new_site: NewSite) -> None:
    body = {"name": "x", "branches": [{"name": "x"}]}
    told = complaints(ask(new_site(REGISTER_SCHEMA_CLASS=Branch), "register", body))
    assert told == {"#/name": ["too-short"], "#/branches/0/name": ["invalid"]}


def test_a_pointer_leads_to_a_place_in_a_dictionary_of_the_body(new_site: NewSite) -> None:
    class Box(Schema):
        value = fields.Integer(required=True)

    class Shelf(BodySchema):
        prices = fields.Dict(
            keys=fields.String(validate=validate.Length(max=3)), values=fields.Integer()
        )
        boxes = fields.Dict(keys=fields.String(), values=fields.Nested(Box))
        rows = fields.List(fields.Dict(values=fields.Integer()))
        pair = fields.Tuple((fields.Integer(), fields.String(validate=validate.Length(max=3))))

    key = cast(fields.Dict, Shelf._declared_fields["prices"]).key_field
    body = {
        "pair": [1, "long"],
        "prices": {"a": "x", "long": 1},
        "boxes": {"b": {}, "value": {"value": "x"}},
        "rows": [{}, {"c/d": "x"}],
    }
    told = complaints(ask(new_site(REGISTER_SCHEMA_CLASS=Shelf), "register", body))
    assert told == {
        "#/prices/a": ["invalid"],
        "#/prices/long": ["too-long"],
        "#/boxes/b/value": ["required"],
        "#/boxes/value/value": ["invalid"],
        "#/rows/1/c~1d": ["invalid"],
        "#/pair/1": ["too-long"],
    }
    assert type(cast(fields.String, key).error_messages["invalid"]) is str, "the class is as it was"


def test_names_are_escaped_in_pointers_and_unknown_fields_told(new_site: NewSite) -> None:
    told = complaints(
        ask(new_site(REGISTER_SCHEMA_CLASS=Own), "register", {"a/b~c d%é": "x", "more": 1})
    )
    assert told == {"#/a~1b~0c%20d%25%C3%A9": ["invalid"], "#/more": ["unknown"]}


def test_a_rule_of_ones_own_has_a_code_of_its_own_or_none(new_site: NewSite) -> None:
    def coded(password: str, **_: Any) -> None:
        raise ValidationError(Message("Forty thieves know this one.", code="known-to-thieves"))

    def plain(password: str, **_: Any) -> None:
        raise ValidationError("I do not like it.")

    told = problem(ask(new_site(PASSWORD_VALIDATORS=[coded, plain]), "register", NAMES))
    assert told["errors"] == [
        {
            "pointer": "#/password",
            "code": "known-to-thieves",
            "detail": "Forty thieves know this one.",
        },
        {"pointer": "#/password", "code": "invalid", "detail": "I do not like it."},
    ]


def test_an_error_of_the_whole_body_points_to_the_whole_body(new_site: NewSite) -> None:
    class Never(BodySchema):
        @validates_schema
        def _refuse(self, data: dict[str, Any], **kwargs: Any) -> None:
            raise ValidationError(Message("Not today.", code="not-today"))

    told = complaints(ask(new_site(REGISTER_SCHEMA_CLASS=Never), "register", NAMES))
    assert told == {"#": ["not-today"]}


# What the page says


def test_the_example_of_the_page_is_what_is_answered(site: Site) -> None:
    page = (Path(flask_registration.__file__).parent.parent / "docs" / "errors.md").read_text(
        "utf-8"
    )
    section = page.split("## Problem details")[1]
    command, answer = (section.split(f"```{info}\n")[1].split("```")[0] for info in ("sh", "json"))
    body, accept = re.findall("'(.*?)'", command)
    reply = ask(site, "register", json.loads(body), accept=accept.removeprefix("Accept: "))
    assert problem(reply) == json.loads(answer)


def test_every_code_of_a_field_is_documented_and_no_other() -> None:
    root = Path(flask_registration.__file__).parent
    page = (root.parent / "docs" / "errors.md").read_text("utf-8").split("\n## Field errors\n")[1]
    sections = re.findall(r"^### `([\w-]+)`\n\n\S", page.partition("\n## ")[0], re.MULTILINE)
    listed = set(sections)
    assert len(listed) == len(sections)
    source = "".join(path.read_text("utf-8") for path in root.rglob("*.py"))
    declared = set(re.findall(r'\bcode="([\w-]+)"', source))
    declared |= {code for names in schema_messages.VALIDATORS.values() for code in names.values()}
    declared |= {"required", "null", "unknown", "too-large", "wrong-length", "invalid"}
    assert listed == declared
