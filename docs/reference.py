"""Make the pages of settings and endpoints, with their examples."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path
from typing import Any

from flask import Flask
from flask_mail import Mail
from flask_sqlalchemy import SQLAlchemy
from werkzeug.utils import import_string

import flask_registration
from flask_registration import DEFAULT_FLOWS, Registration, UserMixin
from flask_registration.cli.configuration import settings_page
from flask_registration.flows.default import OPTIONAL_FLOWS
from flask_registration.gate import ProofOfWork
from flask_registration.openapi.markdown import to_markdown
from flask_registration.openapi.serving import make_description

EXAMPLES = Path(__file__).with_name("setting_examples.py")


def with_contents(page: str) -> str:
    """Return Markdown with links to its headings of the second level at the top."""
    titles = re.findall(r"^## (.+)$", page, re.MULTILINE)
    slugs = {title: re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    links = "\n".join(f"- [{title}](#{slug})" for title, slug in slugs.items())
    return f"```{{rst-class}} contents-of-page\n```\n\n{links}\n\n{page}"


# Settings


def setting_examples() -> dict[str, str]:
    """Return the example of each setting, by its key."""
    source = EXAMPLES.read_text("utf-8")
    lines, found = source.splitlines(), dict[str, str]()
    _docstring, *body = ast.parse(source).body
    start = None
    for node, after in zip(body, [*body[1:], None], strict=True):
        start = start or node.lineno
        end = node.end_lineno or node.lineno
        if isinstance(node, ast.Assign) and not (after and after.lineno == end + 1):
            found[ast.unparse(node.targets[0])] = "\n".join(lines[start - 1 : end])
            start = None
    return found


def settings_reference() -> str:
    """Return all settings in Markdown, with those of optional flows, and an example of each."""
    examples = setting_examples()

    def add_example(section: re.Match[str]) -> str:
        if section[1] not in examples:
            raise LookupError(f"Add an example of {section[1]} to {EXAMPLES.name}.")
        text = re.sub(r"^- Type: .*", as_code, section[0], flags=re.MULTILINE)
        text = re.sub(r"^(- Default:) ([\w.]+\.\w+)$", r"\1 `\2`", text, flags=re.MULTILINE)
        code = textwrap.indent(examples[section[1]], "  ")
        return f"{text.rstrip()}\n- Example:\n\n  ```python\n{code}\n  ```\n\n"

    def as_code(kind: re.Match[str]) -> str:
        return re.sub(r"'(\w+)'", r'`"\1"`', kind[0])

    section = r"^### `(\w+)`\n(?:(?!#).*\n?)*"
    return with_contents(re.sub(section, add_example, settings_page(), flags=re.MULTILINE))


# Endpoints


def application() -> Flask:
    """Return an application with every flow, that gives tokens, too."""
    db, app = SQLAlchemy(), Flask("docs")
    names = [name for name in flask_registration.__all__ if name.endswith("Mixin")]
    mixins = [getattr(flask_registration, name) for name in names if "User" not in name]
    models: list[Any] = [
        type(mixin.__name__.removesuffix("Mixin"), (mixin, db.Model), {})
        for mixin in mixins
        if hasattr(mixin, "__registration_role__")
    ]
    columns = [mixin for mixin in mixins if not hasattr(mixin, "__registration_role__")]
    user_model = type("User", (*columns, UserMixin, db.Model), {})
    app.config["SECRET_KEY"] = "for no longer than it takes to build the pages"
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    app.config["MAIL_DEFAULT_SENDER"] = "no-reply@example.com"
    app.config["REGISTRATION_REGISTER_VERIFICATION_URL"] = (
        "https://example.com/verify-registration/"
    )
    app.config["REGISTRATION_LOGIN_RETRIEVE_TOKEN"] = True
    app.config["REGISTRATION_VERIFICATION_METHOD"] = "both"
    app.config["REGISTRATION_CREDENTIAL_KEYS"] = ["a key of at least thirty-two characters"]
    app.config["REGISTRATION_SECOND_FACTOR_RECOVERY_DELAY"] = 72 * 60 * 60
    app.config["REGISTRATION_NEW_LOGIN_NOTICE_ENABLED"] = True
    app.config["REGISTRATION_GATE"] = ProofOfWork()
    app.config["REGISTRATION_TERMS_VERSION"] = "2026-11"
    app.config["REGISTRATION_DELETION_GRACE"] = 30 * 24 * 60 * 60
    db.init_app(app)
    Mail(app)
    optional = [import_string(path) for path in OPTIONAL_FLOWS]
    flows = [*DEFAULT_FLOWS, *(flow for flow in optional if not flow.pages)]
    Registration(app, user_model=user_model, models=models, flows=flows)
    return app


LOGIN = {
    "kind": "session",
    "ip_address": "192.0.2.1",
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "methods": ["pwd"],
    "created_at": "2026-01-31T12:00:00+00:00",
    "last_used_at": "2026-01-31T12:00:00+00:00",
    "expires_at": "2026-02-14T12:00:00+00:00",
    "current": True,
    "id": 1,
}

#: The example value of a field of a response without one, by its name, format or type.
VALUES: dict[str, Any] = {
    **LOGIN,
    "delete_after": "2026-03-02T12:00:00+00:00",
    **dict.fromkeys(["accepted_at", "revoked_at", "name"]),
    "profile": {
        "id": 1,
        "username": "alice",
        "email": "alice@example.com",
        "first_name": "Alice",
        "last_name": "Liddell",
        "has_password": True,
    },
    "logins": [LOGIN],
    "credentials": [],
    "consents": [
        {
            "document": "terms",
            "version": "2026-11",
            "accepted_at": "2026-01-31T12:00:00+00:00",
            "ip_address": None,
        }
    ],
    "parameters": {
        "algorithm": "PBKDF2/SHA-256",
        "cost": 1000,
        "expiresAt": 1769861400,
        "keyLength": 32,
        "keyPrefix": "195a00f3dac462168925814e900e03fb",
        "keySignature": "1006132735ee693ef49cffd5b6e03c71ffbfe69c41d39183296948dba26eeb2a",
        "nonce": "69e97cf0ada325994ae132cf86d1e090",
        "salt": "b166a183892d018ac79841254e23f3c0",
    },
    "document": "terms",
    "version": "2026-11",
    "recovery_codes": ["2P7XK-9QWDM", "H4TNB-6RZVC"],
    "secret": "JBSWY3DPEHPK3PXP",
    "qr": "<svg …></svg>",
    "uri": "otpauth://totp/Example:alice%40example.com?secret=JBSWY3DPEHPK3PXP&issuer=Example",
    "integer": 1,
    "boolean": True,
    "string": "…",
    "object": {},
}


CREDENTIAL = {
    "name": None,
    "created_at": "2026-01-31T12:00:00+00:00",
    "last_used_at": "2026-01-31T12:00:00+00:00",
}

#: Other example values of requests and responses, by endpoint; a list is a whole response.
OTHERS: dict[str, Any] = {
    "register_email": {"email": "alice@new.example.com"},
    "verify_email": {"email": "alice@new.example.com"},
    "invite": {"email": "bob@example.com"},
    "invitations": {"email": "bob@example.com"},
    "accept_invitation": {
        "email": "bob@example.com",
        "username": "bob",
        "first_name": "Bob",
        "last_name": "Dodgson",
    },
    "second_factor": {"code": "492039"},
    "confirm_totp": {"code": "492039"},
    "remove_totp": {"code": "492039"},
    "challenge": {"signature": "9744d3bbc352881cf203f39639d841542b309dd7e2331cde3c56fa8a248f81ff"},
    "credentials": [
        {"id": "totp", "kind": "totp", **CREDENTIAL},
        {"id": "recovery-codes", "kind": "recovery-codes", **CREDENTIAL, "remaining": 10},
    ],
    "consents": {"accepted_at": "2026-01-31T12:00:00+00:00"},
}


def description(app: Flask) -> dict[str, Any]:
    """Return the API description of an application, with an example of each successful response."""
    state = app.extensions["registration"]
    document = make_description(app, state)

    def example(described: dict[str, Any], name: str = "") -> Any:
        if "$ref" in described:
            described = document["components"]["schemas"][described["$ref"].rpartition("/")[2]]
        if "properties" in described:
            properties = described["properties"]
            shown = {*described.get("required", properties), *VALUES}
            return {key: example(properties[key], key) for key in properties if key in shown}
        if described.get("type") == "array" and name not in VALUES:
            return [example(described["items"])]
        types = described.get("type", "string")
        keys = [name, described.get("format"), *([types] if isinstance(types, str) else types)]
        values = [VALUES[key] for key in keys if key in VALUES]
        return [*described.get("examples", ()), *described.get("enum", ()), *values][0]

    def with_others(name: str, body: Any) -> Any:
        others = OTHERS.get(name, {})
        if isinstance(others, list):
            return others
        if isinstance(body, list):
            return [with_others(name, each) for each in body]
        return {key: others.get(key, value) for key, value in body.items()}

    endpoints = {each.name: (flow, each) for flow in state.flows for each in flow.endpoints}
    for item in document["paths"].values():
        for method, operation in item.items():
            if method == "parameters":
                continue
            name = operation["operationId"].removesuffix(f"_{method}")
            flow, endpoint = endpoints[name]
            request = operation.get("requestBody", {"content": {}})
            for content in request["content"].values():
                content["example"] = with_others(name, content["example"])
            message = endpoint.message
            text = message(state.group(flow.group)) if callable(message) else message
            for response in operation["responses"].values():
                content = response.get("content", {}).get("application/json", {})
                if "schema" in content and "examples" not in content:
                    body = with_others(name, example(content["schema"]))
                    content["example"] = {**body, "detail": text} if text else body
    return document


def endpoints_page() -> str:
    """Return the endpoints of all flows in Markdown, with links to the error codes."""
    page = to_markdown(description(application()))

    def link_codes(row: re.Match[str]) -> str:
        return re.sub(r"`([a-z-]+)`", r"[`\1`](errors.md#\1)", row[0])

    return with_contents(re.sub(r"^\| [45].*", link_codes, page, flags=re.MULTILINE))
