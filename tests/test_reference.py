"""The pages of settings and endpoints: their examples are true."""

from __future__ import annotations

import json
import re
import shlex
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from flask import Flask
from flask_mail import Mail
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Boolean, Integer, String, Uuid
from sqlalchemy.orm import mapped_column

from flask_registration import (
    DEFAULT_FLOWS,
    ApprovalMixin,
    ChallengeMixin,
    ConsentMixin,
    CredentialMixin,
    DeletionMixin,
    Flow,
    InvitationMixin,
    LoginMixin,
    OutboxMixin,
    Registration,
    UserMixin,
)
from flask_registration.cli import configuration
from flask_registration.cli.configuration import settings_page
from flask_registration.flows import codes, mail_login, second_factor, terms
from flask_registration.openapi.markdown import to_markdown
from flask_registration.openapi.serving import make_description
from flask_registration.settings import (
    PREFIX,
    Settings,
    convert,
    declarations,
    setting,
    types_of,
)

from .descriptions import resolve
from .pages import docs_module
from .site import CONFIG, Site
from .tables import each_row
from .test_documentation import GROUPS, OPTIONAL
from .world import PAGES, SETTINGS, World
from .world import define_login as define_world_login

NewSite = Callable[..., Site]

page = docs_module("reference")
EXAMPLES: dict[str, str] = page.setting_examples()

# Settings

GROUP_OF = {
    declaration.key: group
    for group in (*GROUPS, *(flow.group for flow in OPTIONAL))
    for declaration in declarations(group)
}

#: The settings that name a column, with its usual name.
COLUMNS = {
    "REGISTRATION_USER_EMAIL_FIELD": "email",
    "REGISTRATION_USER_PASSWORD_FIELD": "password_hash",
    "REGISTRATION_USER_VERIFICATION_FLAG_FIELD": "is_verified",
    "REGISTRATION_USER_ACTIVE_FIELD": "is_active",
    "REGISTRATION_USER_SECURITY_STAMP_FIELD": "security_stamp",
}


#: Other flows that an example needs.
FLOWS: dict[str, list[Flow[Any]]] = {
    "REGISTRATION_VERIFICATION_METHOD": [codes.flow],
    "REGISTRATION_SIGN_UP_PASSWORD_REQUIRED": [mail_login.flow],
}


class Models(NamedTuple):
    """The models of all flows."""

    db: SQLAlchemy
    user: type[Any]
    others: list[type[Any]]


@cache
def models(usual: str = "", name: str = "") -> Models:
    """Return models, which any number of applications share.

    :param usual: the usual name of a column of the users that has another name here.
    """
    db = SQLAlchemy()
    mixins = [ChallengeMixin, ConsentMixin, CredentialMixin, InvitationMixin, LoginMixin]
    others = [
        type(mixin.__name__.removesuffix("Mixin"), (mixin, db.Model), {})
        for mixin in (*mixins, OutboxMixin)
    ]
    columns: dict[str, Any] = {
        "company": mapped_column(String(40)),
        "public_id": mapped_column(Uuid, unique=True, default=uuid.uuid4),
    }
    if not usual:
        user = type("User", (ApprovalMixin, DeletionMixin, UserMixin, db.Model), columns)
        return Models(db, user, others)
    columns |= {
        "id": mapped_column(Integer, primary_key=True),
        "username": mapped_column(String(40), unique=True),
        "email": mapped_column(String(254), unique=True),
        "password_hash": mapped_column(String(255)),
        "is_verified": mapped_column(Boolean, default=False),
        "is_active": mapped_column(Boolean, default=True),
        "security_stamp": mapped_column(String(64)),
    }
    columns[name] = columns.pop(usual)
    return Models(db, type("User", (ApprovalMixin, DeletionMixin, db.Model), columns), others)


def application(key: str, found: Models, folder: Path, config: dict[str, Any]) -> Flask:
    """Return an application with the flow of a setting and what it needs, and with an example."""
    app = Flask("tests", template_folder=str(folder))
    app.config |= CONFIG | {"SQLALCHEMY_DATABASE_URI": "sqlite://"}
    flows = [flow for flow in OPTIONAL if flow.group is GROUP_OF[key]] + FLOWS.get(key, [])
    if second_factor.flow in flows:
        app.config["REGISTRATION_CREDENTIAL_KEYS"] = ["a key of at least thirty-two characters"]
    if terms.flow in flows:
        app.config["REGISTRATION_TERMS_VERSION"] = "1"
    app.config |= config
    found.db.init_app(app)
    Mail(app)
    flows = [*DEFAULT_FLOWS, *flows]
    Registration(app, user_model=found.user, models=found.others, flows=flows)
    return app


def test_each_setting_has_an_example_and_no_other() -> None:
    assert EXAMPLES.keys() == GROUP_OF.keys()


def test_each_setting_is_followed_by_its_example() -> None:
    sections = re.findall(
        r"^### `(\w+)`\n(.*?)(?=^##|\Z)", page.settings_reference(), re.MULTILINE | re.DOTALL
    )
    keys = re.findall(r"^### `(\w+)`$", settings_page(), re.MULTILINE)
    assert [key for key, _ in sections] == keys
    for key, text in sections:
        (code,) = re.findall(r"- Example:\n\n  ```python\n(.*?)\n  ```\n", text, re.DOTALL)
        assert re.sub(r"^  ", "", code, flags=re.MULTILINE) == EXAMPLES[key]


@each_row("key", EXAMPLES)
def test_the_example_of_a_setting_is_accepted_and_changes_it(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIAL_KEY", "another key of at least thirty-two characters")
    found: dict[str, Any] = {}
    exec(EXAMPLES[key], found)  # alone, as a reader copies it
    config = {name: value for name, value in found.items() if name.startswith(PREFIX)}
    for name in re.findall(r'"(mail/\w+\.\w+)"', EXAMPLES[key]):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("{{ verification_url }}")
    usual = COLUMNS.get(key)
    its_models = models(usual, found[key]) if usual else models()
    app = application(key, its_models, tmp_path, config)
    group, field = GROUP_OF[key], key.removeprefix(PREFIX).lower()
    value = getattr(app.extensions["registration"].group(group), field)
    assert value == convert(found[key], types_of(group)[field])
    assert value != getattr(group(), field), "that is the default"


@dataclass(frozen=True, kw_only=True)
class LaterSettings(Settings):
    """A flow of the tests.

    It came later.
    """

    volume: int = setting(1, "How loud it is.", minimum=0, maximum=11, since="9.1.0")
    plain: bool = setting(False, "Nothing else.")


def test_a_setting_shows_its_limits_and_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "SETTINGS_GROUPS", (LaterSettings,))
    _, _, text = settings_page().partition("## A flow of the tests\n\nIt came later.\n")
    first, second, *_ = re.split(r"^##.*\n\n", text, flags=re.MULTILINE)[1:]
    assert first == (
        "How loud it is.\n\n- Type: int\n- Default: 1\n- Limits: at least 0, at most 11\n"
        "- New in version: 9.1.0\n\n"
    )
    assert second.strip() == "Nothing else.\n\n- Type: True or False\n- Default: `False`"


# Endpoints


class Printed(NamedTuple):
    """What the page has about an endpoint; ``body`` and ``shown`` are None if there is none."""

    headers: dict[str, str]
    body: Any
    status: int
    shown: Any
    errors: list[tuple[int, Any]]


def printed(text: str) -> dict[tuple[str, str], Printed]:
    """Read the examples of a page, by method and path."""
    _, *parts = re.split(r"^### `(\w+) (\S+)`$", text, flags=re.MULTILINE)
    return {
        (method, path): read_examples(method, path, section)
        for method, path, section in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    }


def read_examples(method: str, path: str, section: str) -> Printed:
    """Read the command, the response and the errors of a section."""
    (command,) = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    program, *words = shlex.split(command.replace("\\\n", " "))
    body, headers, asked = None, dict[str, str](), "GET"
    while words:
        match words.pop(0):
            case "-X":
                asked = words.pop(0)
            case "-H":
                name, _, value = words.pop(0).partition(": ")
                headers[name] = value
            case "--json":
                body = json.loads(words.pop(0))
                asked = "POST" if asked == "GET" else asked
            case url:
                assert url == "http://127.0.0.1:5000" + re.sub(r"\{(\w+)\}", r"$\1", path)
    assert (program, asked) == ("curl", method)
    ((status, rest),) = re.findall(r"^Response (\d+)(.*)$", section, re.MULTILINE)
    shown = re.findall(r"^```json\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert len(shown) == (rest == ":")
    (text,) = re.findall(r"^```text\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    lines = [line.partition(" ") for line in text.splitlines()]
    errors = [(int(number), json.loads(each)) for number, _, each in lines]
    return Printed(headers, body, int(status), json.loads(shown[0]) if shown else None, errors)


def form(value: Any) -> Any:
    """Return the names and the types of a response body; a list counts by its first item."""
    if isinstance(value, dict):
        return {name: form(each) for name, each in value.items()}
    if isinstance(value, list):
        return [form(each) for each in value[:1]]
    return type(value).__name__


@pytest.fixture
def world(new_site: NewSite) -> World:
    return World(new_site(login_model=define_world_login, **SETTINGS))


def test_the_example_requests_work_and_return_the_example_responses(world: World) -> None:
    examples = printed(to_markdown(page.description(world.site.app)))
    asked = set()
    for endpoint in world.endpoints:
        if endpoint.name in PAGES:
            continue
        path = "/accounts" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", endpoint.path)
        for method in endpoint.methods:
            asked.add((method, path))
            example = examples[method, path]
            valid = world.body(endpoint.name)
            body = {name: valid.get(name, value) for name, value in (example.body or {}).items()}
            options: dict[str, Any] = {} if example.body is None else {"json": body}
            reply = world.ask(endpoint.name, method=method, **options)
            assert reply.status_code == example.status, (endpoint.name, reply.get_json())
            found = reply.get_json(silent=True)
            assert form(found) == form(example.shown), endpoint.name
            if isinstance(found, dict):
                assert found.get("detail") == example.shown.get("detail")
    assert asked == examples.keys()


def test_the_page_as_it_is_printed_has_the_responses_of_an_empty_application() -> None:
    app = page.application()
    examples = printed(page.endpoints_page())
    with app.app_context():
        app.extensions["sqlalchemy"].create_all()
    client = app.test_client()
    for (method, path), example in examples.items():
        url = re.sub(r"\{\w+\}", "1", path)
        options = {} if example.body is None else {"json": example.body}
        reply = client.open(url, method=method, headers=example.headers, **options)
        found = (reply.status_code, reply.get_json())
        if reply.status_code >= 400:
            assert found in example.errors, (method, path)
        else:
            assert (found[0], form(found[1])) == (example.status, form(example.shown))


def test_the_errors_that_the_page_lists_once_are_those_of_all_endpoints() -> None:
    app = page.application()
    document = make_description(app, app.extensions["registration"])
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method == "parameters":
                continue
            codes = {
                code
                for response in operation["responses"].values()
                for code in examples_of(document, response)
            }
            assert "database-unavailable" in codes, (method, path)
            of_bodies = {"bad-request", "request-entity-too-large", "unsupported-media-type"}
            has_body = "requestBody" in operation
            assert codes & of_bodies == (of_bodies if has_body else set()), (method, path)


def examples_of(document: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
    content = resolve(document, response).get("content", {}).get("application/json", {})
    found: dict[str, Any] = content.get("examples", {})
    return found
