"""The API description says what the application does, and what its settings make of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it ships no types
from click.testing import CliRunner
from flask import abort, jsonify
from flask.cli import ScriptInfo
from jsonschema import ValidationError as JSONSchemaError  # type: ignore[import-untyped]
from marshmallow import Schema, fields, validate
from openapi_spec_validator import validate as validate_document

from flask_registration import (
    DEFAULT_FLOWS,
    APIError,
    BodySchema,
    ConfigurationError,
    Flow,
    LinkInvalid,
    Settings,
    SuccessSchema,
    success,
)
from flask_registration.cli.base import registration_cli
from flask_registration.flows import reauthenticate, verification_redirects

from .descriptions import (
    COMMON,
    SITES,
    CheckedClient,
    check,
    describe,
    find,
    own_columns,
    registration,
    resolve,
)
from .outboxes import command
from .people import define_login, log_in
from .site import PASSWORD, Site, links_of, parameters
from .tables import each_row
from .test_steps import define_challenge, word_flow

NewSite = Callable[..., Site]
OTHER_PASSWORD = "another good long phrase of words"


def schema_of(
    document: dict[str, Any], path: str, *, method: str = "post", status: str | None = None
) -> dict[str, Any]:
    """The schema of a request's body, or of a reply."""
    operation = document["paths"][f"/accounts/{path}/"][method]
    described = (
        resolve(document, operation["responses"][status]) if status else operation["requestBody"]
    )
    found: dict[str, Any] = resolve(document, described["content"]["application/json"]["schema"])
    return found


def examples(document: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
    """The examples of an error, of which there must be a problem for each."""
    content = resolve(document, response)["content"]
    plain, problems = (
        content["application/json"]["examples"],
        content["application/problem+json"]["examples"],
    )
    assert list(plain) == list(problems)
    for name, example in plain.items():
        value, problem = example["value"], problems[name]["value"]
        if name == "fields":
            assert {each["pointer"] for each in problem["errors"]} == {
                f"#/{field}" for field in value
            }
            assert problem["code"] == "invalid"
            assert {each["code"] for each in problem["errors"]} <= {"required", "invalid"}
        else:
            whole = {key for key in problem if key not in ("type", "title", "status")}
            assert {key: problem[key] for key in whole} == value
    return dict(plain)


def codes(document: dict[str, Any], path: str, *, method: str = "post") -> dict[str, set[str]]:
    """The codes of an endpoint's errors, by their status."""
    responses = document["paths"][f"/accounts/{path}/"][method]["responses"]
    return {
        status: set(examples(document, response))
        for status, response in responses.items()
        if status >= "400"
    }


# It is right


@each_row("name", SITES)
def test_the_description_is_valid(name: str, new_site: NewSite) -> None:
    document = describe(new_site(**SITES[name]).app)
    validate_document(document)
    assert document["openapi"] == "3.1.0"


@each_row("name", SITES)
def test_every_example_is_as_its_schema_says(name: str, new_site: NewSite) -> None:
    document = describe(new_site(**SITES[name]).app)
    replies = [
        reply
        for item in document["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
        for reply in operation["responses"].values()
    ]
    seen: Counter[str] = Counter()
    for reply in [*replies, *document["components"]["responses"].values()]:
        for kind, content in resolve(document, reply).get("content", {}).items():
            for example in content.get("examples", {}).values():
                check(document, content["schema"], example["value"])
                seen[kind] += 1
    assert seen["application/problem+json"] == seen["application/json"] > 50


@each_row("kind", ["application/json", "application/problem+json"])
def test_the_example_about_fields_is_what_an_empty_registration_gets(kind: str, site: Site) -> None:
    content = describe(site.app)["paths"]["/accounts/register/"]["post"]["responses"]["400"][
        "content"
    ][kind]
    reply = site.post("register", {}, headers={"Accept": kind})
    assert content["examples"]["fields"]["value"] == reply.get_json()


@each_row("name", SITES)
def test_every_reply_of_an_account_s_life_is_as_described(name: str, new_site: NewSite) -> None:
    site = new_site(**SITES[name], **COMMON)
    site.app.test_client_class = CheckedClient
    prefix = SITES[name].get("URL_PREFIX", "/accounts")
    document = describe(site.app)
    client, headers, worked = site.app.test_client(), dict[str, str](), set[tuple[str, str]]()

    def ask(endpoint: str, body: Any = None, *, method: str = "POST", status: int = 200) -> Any:
        path = f"{prefix}/{endpoint}/"
        reply = client.open(path, method=method, json=body, headers=headers)
        assert reply.status_code == status, reply.get_data()
        if status < 400:
            worked.add((method.lower(), find(document, method, path)[0]))
        return reply.get_json() if reply.data else None

    def log_in(login: str, password: str = PASSWORD) -> None:
        reply = ask("login", {"login": login, "password": password})
        headers.update({"Authorization": f"Bearer {reply['token']}"} if "token" in reply else {})

    def there_is(endpoint: str) -> bool:
        return f"{prefix}/{endpoint}/" in document["paths"]

    login, moved = (
        ("alice@example.com", "new@example.com") if name == "tokens" else ("alice", "alice")
    )
    ask("register", {}, status=400)
    ask("register", registration(name, email="x"), status=400)
    ask("register", registration(name), status=201)
    if there_is("verify-registration"):
        ask("login", {"login": login, "password": PASSWORD}, status=400)
        ask("resend-verification", {"login": login})
        ask("verify-registration", {**site.link(), "signature": "x"}, status=400)
        ask("verify-registration", {"user_id": 1}, status=400)
        ask("verify-registration", site.link())
    ask("profile", method="GET", status=401)
    ask("login", {"login": login, "password": "wrong"}, status=400)
    log_in(login)
    ask("profile", method="GET")
    own: dict[str, Any] = {
        "company": None,
        "seats": 7,
        "born": "2000-01-31",
        "seen": "2026-01-31T12:00:00",
        "plan": "gold",
    }
    own |= {"met": "2026-01-31T12:00:00+01:00", "price": 1.2}
    for method in ("PUT", "POST", "PATCH"):
        ask("profile", {"username": "alice", **own}, method=method)
    ask("profile", method="GET")
    ask(
        "change-password",
        {"old_password": "x", "password": "x", "password_confirm": "x"},
        status=400,
    )
    ask(
        "change-password",
        {"old_password": PASSWORD, "password": PASSWORD, "password_confirm": PASSWORD},
    )
    log_in(login)
    ask("register-email", {"email": "new@example.com"})
    if there_is("verify-email"):
        ask("verify-email", site.link())
        log_in(moved)
    ask(
        "undo-email-change",
        next(parameters(url) for url in links(site) if "undo-email-change" in url),
    )
    ask("profile", method="GET", status=401)
    ask(
        "send-reset-password-link", {"login": "nobody"}, status=400 if name == "own fields" else 200
    )
    ask("send-reset-password-link", {"login": login})
    ask("reset-password", {**site.link(), "password": "x"}, status=400)
    ask(
        "reset-password",
        {**site.link(), "password": OTHER_PASSWORD, "password_confirm": OTHER_PASSWORD},
    )
    log_in(login, OTHER_PASSWORD)
    if there_is("logins"):
        ask(f"logins/{ask('logins', method='GET')[0]['id']}", method="DELETE", status=204)
        ask("profile", method="GET", status=401)
        log_in(login, OTHER_PASSWORD)
        ask("logins/999", method="DELETE", status=404)
    ask("logout", {"everywhere": True})
    log_in(login, OTHER_PASSWORD)
    ask("profile", {"password": "wrong"}, method="DELETE", status=400)
    ask("profile", method="DELETE", status=204)
    described = {(method, path) for path, item in document["paths"].items() for method in item}
    assert worked == {(method, path) for method, path in described if method != "parameters"}


def links(site: Site) -> list[str]:
    """Where the links of all mails lead, the latest first."""
    return [
        url for number in reversed(range(len(site.outbox))) for url in links_of(site.read(number))
    ]


@each_row("name", SITES)
def test_every_problem_is_as_described(name: str, new_site: NewSite) -> None:
    site = new_site(**SITES[name], **COMMON)
    site.app.test_client_class = CheckedClient
    prefix = SITES[name].get("URL_PREFIX", "/accounts")
    wrong: list[dict[str, Any]] = [
        {"json": {}},
        {"json": {"login": "alice", "password": "wrong"}},
        {"data": "{", "content_type": "application/json"},
        {"data": "x"},
        {"data": "1" * 70000, "content_type": "application/json"},
    ]
    codes = []
    for asked in wrong:
        headers = {"Accept": "application/problem+json"}
        reply = site.app.test_client().post(f"{prefix}/login/", headers=headers, **asked)
        assert reply.mimetype == "application/problem+json"
        codes.append(reply.get_json()["code"])
    assert codes == [
        "invalid",
        "login-invalid",
        "bad-request",
        "unsupported-media-type",
        "request-entity-too-large",
    ]


def test_whoever_is_not_logged_in_is_told_so_where_it_says_so(new_site: NewSite) -> None:
    site = new_site(login_model=define_login)
    site.app.test_client_class = CheckedClient
    for path, item in describe(site.app)["paths"].items():
        for method in item.keys() - {"parameters"}:
            reply = site.app.test_client().open(
                path.replace("{login_id}", "1"), method=method.upper(), json={}
            )
            assert (reply.status_code == 401) == bool(item[method]["security"]), path


# It follows the settings


def test_every_endpoint_is_described_and_no_page(new_site: NewSite) -> None:
    flows = [*DEFAULT_FLOWS, reauthenticate.flow]
    pages = verification_redirects.flow
    document = describe(new_site(flows=[*flows, pages], login_model=define_login).app)
    described = {
        (each["operationId"].removesuffix("_post"), method.upper())
        for item in document["paths"].values()
        for method, each in item.items()
        if method != "parameters"
    }
    assert described == {
        (each.name, method) for flow in flows for each in flow.endpoints for method in each.methods
    }


@each_row(
    ("settings", "missing"),
    [
        ({}, {"logins", "logins/{login_id}"}),
        ({"REGISTER_FLOW_ENABLED": False}, {"register"}),
        ({"REGISTER_VERIFICATION_ENABLED": False}, {"verify-registration", "resend-verification"}),
        (
            {"RESET_PASSWORD_VERIFICATION_ENABLED": False},
            {"reset-password", "send-reset-password-link"},
        ),
        ({"REGISTER_EMAIL_VERIFICATION_ENABLED": False}, {"verify-email"}),
    ],
    ids=[
        "no login model",
        "no registration",
        "no verification",
        "no reset",
        "no proof of a new address",
    ],
)
def test_what_is_switched_off_is_not_described(
    settings: dict[str, Any], missing: set[str], new_site: NewSite
) -> None:
    paths = describe(new_site(**settings).app)["paths"]
    assert not {f"/accounts/{path}/" for path in missing} & paths.keys()
    assert "/accounts/login/" in paths


def test_the_prefix_and_the_key_of_errors(new_site: NewSite) -> None:
    document = describe(new_site(URL_PREFIX="/api/", NON_FIELD_ERRORS_KEY="errors").app)
    assert all(path.startswith("/api/") for path in document["paths"])
    assert "errors" in document["components"]["schemas"]["RegisterErrors"]["properties"]
    assert "`errors`" in document["info"]["description"]


@each_row("confirm", [True, False])
def test_whether_a_password_is_confirmed(confirm: bool, new_site: NewSite) -> None:
    names = ("REGISTER", "CHANGE_PASSWORD", "RESET_PASSWORD")
    document = describe(
        new_site(**{f"{name}_SCHEMA_PASSWORD_CONFIRM": confirm for name in names}).app
    )
    for path in ("register", "change-password", "reset-password"):
        schema = schema_of(document, path)
        assert ("password_confirm" in schema["required"]) is confirm
        assert ("password_confirm" in schema["properties"]) is confirm


def test_how_long_a_new_password_is_and_no_other(new_site: NewSite) -> None:
    document = describe(new_site(PASSWORD_MIN_LENGTH=15).app)
    new = {
        path: schema_of(document, path)["properties"]["password"]
        for path in ("register", "reset-password")
    }
    assert [each["minLength"] for each in new.values()] == [15, 15]
    assert schema_of(document, "login")["properties"]["password"]["minLength"] == 1
    assert schema_of(document, "change-password")["properties"]["old_password"]["minLength"] == 1


def test_by_what_somebody_logs_in(new_site: NewSite) -> None:
    document = describe(new_site(USER_LOGIN_FIELDS=["email", "username"]).app)
    schema = schema_of(document, "login")
    assert schema["allOf"] == [
        {"anyOf": [{"required": [name]} for name in ("login", "email", "username")]}
    ]
    assert schema["required"] == ["password"]
    document = describe(new_site(SEND_RESET_PASSWORD_LINK_SCHEMA_USE_EMAIL=True).app)
    assert "email" in schema_of(document, "send-reset-password-link")["properties"]


@each_row(
    ("settings", "ways"),
    [
        ({}, {"session"}),
        ({"LOGIN_RETRIEVE_TOKEN": True}, {"session", "token"}),
        ({"LOGIN_RETRIEVE_TOKEN": True, "LOGIN_AUTHENTICATE_SESSION": False}, {"token"}),
    ],
    ids=["sessions", "both", "tokens"],
)
def test_the_ways_to_show_who_is_asking(
    settings: dict[str, Any], ways: set[str], new_site: NewSite
) -> None:
    document = describe(new_site(config={"SESSION_COOKIE_NAME": "who"}, **settings).app)
    schemes = document["components"]["securitySchemes"]
    assert schemes.keys() == ways
    assert {each["in"]: each["name"] for each in schemes.values() if each["type"] == "apiKey"} == (
        {"cookie": "who"} if "session" in ways else {}
    )
    assert document["paths"]["/accounts/profile/"]["get"]["security"] == [
        {way: []} for way in ("session", "token") if way in ways
    ]
    assert ("token" in schema_of(document, "login", status="200").get("required", [])) == (
        "token" in ways
    )


def test_the_reply_to_a_registration_has_a_key_only_where_that_tells_nothing(
    new_site: NewSite,
) -> None:
    discreet = schema_of(describe(new_site().app), "register", status="201")
    plain = schema_of(describe(new_site(PREVENT_ENUMERATION=False).app), "register", status="201")
    assert plain["properties"].keys() - discreet["properties"].keys() == {"id"}
    assert set(plain["required"]) == plain["properties"].keys() - {"suggestion"}


def test_what_only_the_database_knows_may_be_missing_from_a_discreet_reply(
    new_site: NewSite,
) -> None:
    site = new_site(define=own_columns(), USER_PUBLIC_FIELDS=["plan", "seats"])
    site.app.test_client_class = CheckedClient
    replies = [
        site.register(name, email="alice@example.com").get_json() for name in ("alice", "bob")
    ]
    assert [(reply["plan"], reply["seats"]) for reply in replies] == [(None, 1)] * 2
    shown = schema_of(describe(site.app), "register", status="201")["properties"]
    assert (shown["plan"]["type"], shown["seats"]["type"]) == (["string", "null"], "integer")
    assert (
        schema_of(describe(site.app), "profile", method="get", status="200")["properties"]["plan"][
            "type"
        ]
        == "string"
    )


def test_with_which_settings_an_error_comes(new_site: NewSite) -> None:
    document = describe(new_site().app)
    assert codes(document, "send-reset-password-link")["400"] == {"fields", "bad-request"}
    assert codes(document, "register")["503"] == {"database-unavailable", "too-busy"}
    assert codes(document, "logout")["503"] == {"database-unavailable"}
    assert codes(document, "register-email")["400"] == {"fields", "bad-request"}
    settings = {
        "RESET_PASSWORD_FAIL_WHEN_USER_NOT_FOUND": True,
        "REGISTER_EMAIL_VERIFICATION_ENABLED": False,
        "MAIL_DISPATCHER": "inline",
    }
    document = describe(new_site(**settings).app)
    assert "user-not-found" in codes(document, "send-reset-password-link")["400"]
    possible = {"mail-unavailable", "database-unavailable", "too-busy"}
    assert codes(document, "register")["503"] == possible
    assert "email-already-registered" in codes(document, "register-email")["400"]


def test_every_error_that_an_endpoint_declares_has_an_example(new_site: NewSite) -> None:
    settings = {
        "THROTTLES": {},
        "MAIL_DISPATCHER": "inline",
        "RESET_PASSWORD_FAIL_WHEN_USER_NOT_FOUND": True,
        "REGISTER_VERIFICATION_ONE_TIME_USE": True,
        "REGISTER_VERIFICATION_AUTO_LOGIN": True,
        "RESET_PASSWORD_AUTO_LOGIN": True,
        "flows": [*DEFAULT_FLOWS, word_flow("word")],
        "challenge_model": define_challenge,
    }
    config = {"RATELIMIT_ENABLED": True}
    document = describe(new_site(login_model=define_login, config=config, **settings).app)
    for flow in DEFAULT_FLOWS:
        for endpoint in flow.endpoints:
            path = endpoint.path.replace("<", "{").replace(">", "}").strip("/")
            found = codes(document, path, method=endpoint.methods[0].lower())
            expected = {error.code for error in endpoint.all_errors}
            if endpoint.name == "register_email":
                expected.discard("email-already-registered")
            if endpoint.link or endpoint.request:
                expected |= {
                    "fields",
                    "bad-request",
                    "request-entity-too-large",
                    "unsupported-media-type",
                }
            described = {code for each in found.values() for code in each}
            assert described - {"too-busy"} == expected | {"database-unavailable"}


def test_limits_are_described_where_there_are_some(new_site: NewSite) -> None:
    login = describe(new_site().app)["paths"]["/accounts/login/"]["post"]
    assert "429" not in login["responses"]
    site = new_site(THROTTLES={"login": {"client": "2/minute"}}, config={"RATELIMIT_ENABLED": True})
    document = describe(site.app)
    login = document["paths"]["/accounts/login/"]["post"]
    assert resolve(document, login["responses"]["429"])["headers"].keys() == {"Retry-After"}
    assert "Rate limits: 2/minute for each client." in login["description"]
    site.app.test_client_class = CheckedClient
    replies = [site.post("login", {}).status_code for _ in range(3)]
    assert replies == [400, 400, 429]


def test_a_builder_of_one_s_own_may_answer_anything(new_site: NewSite) -> None:
    def enveloped(message: str, status: int, extra_data: dict[str, Any]) -> Any:
        return jsonify({"ok": True, **extra_data}), status

    site = new_site(SUCCESS_RESPONSE_BUILDER=enveloped)
    site.app.test_client_class = CheckedClient
    assert site.post("resend-verification", {"login": "x"}).get_json() == {"ok": True}
    assert "type" not in schema_of(describe(site.app), "resend-verification", status="200")


def test_decorators_of_one_s_own_may_answer_anything(new_site: NewSite) -> None:
    def closed(view: Any) -> Any:
        return lambda **values: abort(403)

    site = new_site(NOT_AUTHENTICATED_DECORATORS=[closed])
    paths = describe(site.app)["paths"]
    assert "default" in paths["/accounts/login/"]["post"]["responses"]
    assert "default" not in paths["/accounts/profile/"]["get"]["responses"]
    assert site.app.test_client().get("/accounts/openapi.json").status_code == 403


# A flow of one's own


class InviteSchema(Schema):
    id = fields.Integer(required=True)
    code = fields.String(required=True, load_only=True)
    note = fields.String(allow_none=True)


def invite_flow() -> Flow[Settings]:
    flow = Flow("invite", Settings)

    @flow.endpoint(
        "/invites/<int:number>/",
        methods=["PUT"],
        request=InviteSchema,
        response=InviteSchema,
        errors=[LinkInvalid],
    )
    def invite_view(data: dict[str, Any], number: int) -> Any:
        """Change an invitation. It goes out again."""
        return {"id": number, "note": None}

    @flow.post("/invites/", response=SuccessSchema, status=202, login_required=True)
    def ask_view(user: Any) -> Any:
        """Ask for one."""
        return success("Asked", 202)

    @flow.get("/invites/raw/")
    def raw_view() -> Any:
        return "as it comes"

    return flow


def test_a_flow_of_one_s_own_is_described_by_its_declaration(new_site: NewSite) -> None:
    site = new_site(flows=[*DEFAULT_FLOWS, invite_flow()])
    site.app.test_client_class = CheckedClient
    document = describe(site.app)
    validate_document(document)
    item = document["paths"]["/accounts/invites/{number}/"]
    assert item["parameters"][0]["schema"] == {"type": "integer", "minimum": 0}
    assert item["put"]["summary"], item["put"]["description"] == (
        "Change an invitation",
        "It goes out again.",
    )
    assert codes(document, "invites/{number}", method="put")["400"] == {
        "fields",
        "bad-request",
        "signature-invalid",
    }
    request, reply = (
        schema_of(document, "invites/{number}", method="put", status=each) for each in (None, "200")
    )
    assert set(request["required"]) == {"id", "code"}
    assert request["additionalProperties"] is False
    assert reply["properties"].keys() == {"id", "note"}
    changed = site.app.test_client().put("/accounts/invites/7/", json={"id": 1, "code": "x"})
    assert (changed.status_code, changed.get_json()["id"]) == (200, 7)
    assert (
        site.app.test_client()
        .put("/accounts/invites/7/", json={"id": 1, "code": "x", "y": 1})
        .status_code
        == 400
    )
    assert set(document["paths"]["/accounts/invites/"]["post"]["responses"]) == {
        "202",
        "401",
        "503",
    }
    assert document["paths"]["/accounts/invites/raw/"]["get"]["summary"] == "raw"


class ErrorSchema(Schema):
    """A schema that is called like one of ours, and has itself in it."""

    why = fields.String()
    causes = fields.List(fields.Nested(lambda: ErrorSchema()))


class Gone(APIError):
    """The invitation is gone."""

    status = 404
    code = "not-found"
    text = "It is gone."


def test_what_has_the_same_name_is_not_the_same(new_site: NewSite) -> None:
    flow = Flow("invite", Settings)

    @flow.post("/gone/", request=ErrorSchema, response=ErrorSchema, errors=[Gone])
    def gone_view(data: dict[str, Any]) -> Any:
        raise Gone

    site = new_site(flows=[flow, *DEFAULT_FLOWS], login_model=define_login)
    site.app.test_client_class = CheckedClient
    document = describe(site.app)
    validate_document(document)
    assert site.post("gone", {"why": "x", "causes": [{"why": "y"}]}).status_code == 404
    for status in (None, "200"):
        causes = schema_of(document, "gone", status=status)["properties"]["causes"]
        assert resolve(document, causes["items"])["properties"].keys() == {"why", "causes"}
    error = schema_of(document, "gone", status="404")["allOf"][0]
    assert resolve(document, error)["properties"].keys() == {"detail", "code"}
    texts = [
        resolve(document, document["paths"][f"/accounts/{path}/"][method]["responses"]["404"])[
            "description"
        ]
        for path, method in (("gone", "post"), ("logins/{login_id}", "delete"))
    ]
    assert len(set(texts)) == 2


# Where it is


def test_it_is_served_as_json_that_a_client_may_keep(site: Site) -> None:
    client = site.app.test_client()
    reply = client.get("/accounts/openapi.json")
    assert (reply.status_code, reply.mimetype) == (200, "application/json")
    assert reply.get_json() == describe(site.app)
    assert reply.headers["Cache-Control"] == "no-cache"
    again = client.get("/accounts/openapi.json", headers={"If-None-Match": reply.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    refused = client.post("/accounts/openapi.json", json={})
    assert (refused.status_code, refused.get_json()["code"]) == (405, "method-not-allowed")
    assert set(refused.allow) == {"GET", "HEAD", "OPTIONS"}


def test_it_is_made_once_and_by_nobody_who_does_not_ask(new_site: NewSite) -> None:
    made: list[Any] = []

    def edit(document: dict[str, Any]) -> dict[str, Any]:
        made.append(1)
        return document

    site = new_site(OPENAPI_EDITOR=edit)
    site.register()
    assert made == []
    for _ in range(3):
        assert site.app.test_client().get("/accounts/openapi.json").status_code == 200
    assert made == [1]


def test_no_start_and_no_other_request_imports_what_makes_it() -> None:
    program = """
import sys
from tests.site import make_site
site = make_site(OPENAPI_PAGE_PATH="/docs/")
assert site.register().status_code == 201
heavy = {"apispec", "flask_swagger_ui", "yaml", "flask_registration.openapi.document"}
found = heavy & sys.modules.keys()
assert not found, found
site.app.test_client().get("/accounts/openapi.json")
assert "apispec" in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_it_says_where_the_application_is_mounted(site: Site) -> None:
    client = site.app.test_client()
    for root, servers in (("", None), ("/shop", [{"url": "/shop"}]), ("", None)):
        reply = client.get("/accounts/openapi.json", environ_overrides={"SCRIPT_NAME": root})
        assert reply.get_json().get("servers") == servers


def test_an_editor_has_the_last_word(new_site: NewSite) -> None:
    def edit(document: dict[str, Any]) -> dict[str, Any]:
        document["info"]["title"] = "Shop"
        document["servers"] = [{"url": "https://shop.example"}]
        return document

    client = new_site(OPENAPI_EDITOR=edit).app.test_client()
    document = client.get(
        "/accounts/openapi.json", environ_overrides={"SCRIPT_NAME": "/x"}
    ).get_json()
    assert document["info"]["title"] == "Shop"
    assert document["servers"] == [{"url": "https://shop.example"}]


@each_row(
    ("settings", "found"),
    [
        ({}, (200, 404)),
        ({"config": {"DEBUG": True}}, (200, 200)),
        ({"config": {"DEBUG": True}, "OPENAPI_PAGE_PATH": False}, (200, 404)),
        ({"config": {"DEBUG": True}, "OPENAPI_PATH": False}, (404, 404)),
        ({"OPENAPI_PAGE_PATH": "/docs/"}, (200, 200)),
        ({"OPENAPI_PATH": False}, (404, 404)),
        ({"OPENAPI_PATH": "/api.json", "OPENAPI_PAGE_PATH": "/api"}, (404, 404)),
    ],
    ids=["by default", "in debug mode", "no page", "nothing", "a page", "off", "elsewhere"],
)
def test_where_it_is(settings: dict[str, Any], found: tuple[int, int], new_site: NewSite) -> None:
    client = new_site(**settings).app.test_client()
    assert (
        tuple(client.get(f"/accounts/{path}").status_code for path in ("openapi.json", "docs/"))
        == found
    )
    if settings.get("OPENAPI_PATH"):
        assert client.get("/accounts/api.json").get_json()["openapi"] == "3.1.0"
        assert "/accounts/api.json" in client.get("/accounts/api").text


def test_the_page_takes_everything_from_this_application(new_site: NewSite) -> None:
    client = new_site(OPENAPI_PAGE_PATH="/docs/").app.test_client()
    page = client.get("/accounts/docs/")
    assert "unsafe-eval" not in page.headers["Content-Security-Policy"]
    assert "script-src 'self';" in page.headers["Content-Security-Policy"]
    assert "http" not in page.text
    assert "<script>" not in page.text
    assets = [each.split('"')[0] for each in page.text.split('"/')[1:]]
    assert len(assets) == 7
    for path in assets:
        reply = client.get(f"/{path}")
        assert reply.status_code == 200, path
        reply.close()
    script = client.get("/accounts/docs/swagger-ui-bundle.js")
    assert script.headers["Cache-Control"] == "public, max-age=3600"
    script.close()
    for name in ("serving.py", "index.css", "..%2Fserving.py"):
        assert client.get(f"/accounts/docs/{name}").status_code == 404


@each_row(
    ("settings", "cure"),
    [
        (
            {"OPENAPI_PATH": "openapi.json"},
            "OPENAPI_PATH is 'openapi.json', but must be a path that begins with a slash",
        ),
        (
            {"OPENAPI_PATH": "/<x>"},
            "OPENAPI_PATH is '/<x>', but must be a path that begins with a slash",
        ),
        (
            {"OPENAPI_PATH": "/login"},
            "OPENAPI_PATH is '/login', which is the path of an endpoint",
        ),
        (
            {"OPENAPI_PATH": "/a", "OPENAPI_PAGE_PATH": "/a/"},
            "OPENAPI_PAGE_PATH is '/a/', which is the path of an endpoint",
        ),
        (
            {"OPENAPI_PATH": False, "OPENAPI_PAGE_PATH": "/a"},
            "OPENAPI_PAGE_PATH shows the description, which",
        ),
        ({"OPENAPI_PATH": 5}, "OPENAPI_PATH is 5, but must be a string"),
    ],
)
def test_a_place_that_cannot_be(settings: dict[str, Any], cure: str, new_site: NewSite) -> None:
    with pytest.raises(ConfigurationError) as raised:
        new_site(**settings)
    assert f"REGISTRATION_{cure}" in str(raised.value)


def test_without_the_extra_there_is_no_description_unless_it_is_asked_for(
    new_site: NewSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_registration.openapi.serving.find_spec", lambda name: None)
    site = new_site(config={"DEBUG": True})
    assert site.app.test_client().get("/accounts/openapi.json").status_code == 404
    assert site.register().status_code == 201
    with pytest.raises(ConfigurationError) as raised:
        new_site(OPENAPI_PATH="/openapi.json", OPENAPI_PAGE_PATH="/docs/")
    assert [problem.setting for problem in raised.value.problems] == [
        "REGISTRATION_OPENAPI_PATH",
        "REGISTRATION_OPENAPI_PAGE_PATH",
    ]
    assert "pip install 'Flask-Registration[openapi]'" in str(raised.value)


# The command


def test_the_command_prints_and_writes_it(site: Site, tmp_path: Path) -> None:
    assert json.loads(command(site, "openapi").output) == describe(site.app)
    path = tmp_path / "api.yaml"
    assert command(site, "openapi", "--output", str(path), "--format", "yaml").output == ""
    assert yaml.safe_load(path.read_text("utf-8")) == describe(site.app)


def test_the_command_prints_a_page_for_people(new_site: NewSite) -> None:
    site = new_site(
        login_model=define_login, LOGIN_RETRIEVE_TOKEN=True, flows=[*DEFAULT_FLOWS, invite_flow()]
    )
    page = command(site, "openapi", "--format", "markdown").output
    titles = re.findall(r"^### `(\w+) (\S+)`$", page, re.MULTILINE)
    described = {
        (method.upper(), path)
        for path, item in describe(site.app)["paths"].items()
        for method in item
    }
    assert set(titles) == {(method, path) for method, path in described if method != "PARAMETERS"}
    assert len(titles) == len(set(titles))
    assert (
        "| `password` | string (password); at least 8 characters; at most 256 characters |" in page
    )
    assert "At least one of `login`, `username`." in page
    assert "| 400 | field errors, `login-invalid`, `not-verified` |" in page
    assert "| 401 | `not-authenticated`; with the header `WWW-Authenticate` |" in page
    assert "| `number` | integer |" in page
    assert "| 200 | a list of objects with `kind`" in page


def test_the_command_says_what_it_needs(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flask_registration.openapi.document", None)
    failed = CliRunner().invoke(
        registration_cli, ["openapi"], obj=ScriptInfo(create_app=lambda: site.app)
    )
    assert failed.exit_code == 1
    assert "pip install 'Flask-Registration[openapi]'" in failed.output


class Odd(BodySchema):
    """Fields that apispec describes otherwise than they are."""

    username = fields.String(required=True)
    email = fields.Email(required=True)
    password = fields.String(required=True, load_only=True)
    colours = fields.List(fields.String(), validate=validate.ContainsOnly(["red", "green"]))
    day = fields.Date(format="%d.%m.%Y")
    price = fields.Decimal(allow_none=True)
    page = fields.Url()
    address = fields.IP()


@each_row(
    ("field", "right", "wrong"),
    [
        ("colours", ["red"], ["blue"]),
        ("day", "31.01.2026", None),
        ("price", "1.20", []),
        ("price", 1.2, []),
        ("price", None, []),
        ("page", "https://example.com/", 1),
        ("address", "::1", "x"),
        ("address", "127.0.0.1", "x"),
    ],
)
def test_what_a_field_takes_is_described(
    field: str, right: Any, wrong: Any, new_site: NewSite
) -> None:
    site = new_site(REGISTER_SCHEMA_CLASS=Odd)
    document = describe(site.app)
    validate_document(document)
    schema = resolve(
        document,
        document["paths"]["/accounts/register/"]["post"]["requestBody"]["content"][
            "application/json"
        ]["schema"],
    )["properties"][field]
    body = {"username": "alice", "email": "alice@example.com", "password": PASSWORD}
    check(document, schema, right)
    assert site.post("register", {**body, field: right}).status_code == 201
    with pytest.raises(JSONSchemaError):
        check(document, schema, wrong)
    assert set(site.post("register", {**body, field: wrong}).get_json()) == {field}


@pytest.mark.databases
def test_a_time_with_a_zone_keeps_it_in_every_reply(new_site: NewSite, database: str) -> None:
    site = new_site(
        database, define=own_columns(), USER_PUBLIC_FIELDS=["date_joined", "met", "left", "seen"]
    )
    met = {
        "met": "2026-01-31T12:00:00+02:00",
        "left": "2026-01-31T12:00:00+02:00",
        "seen": "2026-01-31T12:00:00",
    }
    registered = site.register("alice", **met).get_json()
    site.post("verify-registration", site.link())
    client = log_in(site)
    shown = client.get("/accounts/profile/").get_json()
    assert registered["date_joined"][-6:] == shown["date_joined"][-6:] == "+00:00"
    assert shown["met"] == shown["left"] == "2026-01-31T10:00:00+00:00"
    assert shown["seen"] == "2026-01-31T12:00:00"
    assert client.patch("/accounts/profile/", json={"met": "2026-01-31T12:00:00"}).get_json()[
        "met"
    ][10:] == ("T12:00:00+00:00")
    for beyond in ("9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+05:00"):
        assert set(client.patch("/accounts/profile/", json={"met": beyond}).get_json()) == {"met"}
