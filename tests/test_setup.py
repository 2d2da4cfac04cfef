"""The applications of ``docs/setup.md``: each is one file, and does what its section says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib import import_module
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from flask_registration.cli.base import registration_cli
from flask_registration.testing import Outbox

from .pages import RunPage, blocks, read
from .people import bearer
from .site import PASSWORD
from .tables import each_row

PAGE = "docs/setup.md"
SAME, OTHER, FOREIGN = (
    "https://app.example.com",
    "https://app.example.net",
    "https://attacker.example",
)
FILES = [str(block.caption) for block in blocks(read(PAGE)) if block.caption]


class Setup:
    """An application of the page, its e-mails, and a browser that speaks HTTPS."""

    def __init__(self, app: Flask, outbox: Outbox) -> None:
        self.app, self.outbox, self.client = app, outbox, app.test_client()
        self.headers: dict[str, str] = {}

    def ask(self, method: str, path: str, **options: Any) -> TestResponse:
        options = {"base_url": "https://api.example.com", "headers": self.headers, **options}
        return self.client.open(path, method=method, **options)

    def post(self, endpoint: str, **body: Any) -> dict[str, Any]:
        reply = self.ask("POST", f"/accounts/{endpoint}/", json=body)
        assert reply.status_code < 300, reply.get_json()
        self.cookies = reply.headers.getlist("Set-Cookie")
        found: dict[str, Any] = reply.get_json()
        return found

    def register(self) -> dict[str, Any]:
        body = {"username": "alice", "email": "alice@example.com", "password": PASSWORD}
        return self.post("register", **body, password_confirm=PASSWORD)

    def log_in(self) -> dict[str, Any]:
        return self.post("login", login="alice", password=PASSWORD)

    def logins(self) -> list[str]:
        reply = self.ask("GET", "/accounts/logins/")
        return [login["kind"] for login in reply.get_json()] if reply.status_code == 200 else []

    def cors(self, origin: str, *headers: str) -> dict[str, str]:
        """What a browser is told that asks before a POST with these headers."""
        asked = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": ", ".join(headers),
        }
        reply = self.ask("OPTIONS", "/accounts/login/", headers=asked)
        prefix = "Access-Control-Allow-"
        return {
            name.removeprefix(prefix): value
            for name, value in reply.headers
            if name.startswith(prefix)
        }

    def refuses_forms(self) -> bool:
        """Whether the endpoints refuse what a page of another site can make a browser send."""
        body = {"login": "alice", "password": PASSWORD}
        as_text = {"data": '{"login": "alice"}', "content_type": "text/plain"}
        statuses = {
            self.ask("POST", "/accounts/login/", **sent).status_code
            for sent in ({"data": body}, as_text)
        }
        return statuses == {415}


@pytest.fixture
def setup(run: RunPage) -> Iterator[Callable[[str], Setup]]:
    """Import a file of the page."""
    with ExitStack() as stack:

        def make(name: str) -> Setup:
            run(PAGE)
            app = import_module(name).app
            app.testing = app.extensions["mail"].suppress = True
            return Setup(app, stack.enter_context(Outbox().recording(app)))

        yield make


@each_row("file", FILES)
def test_the_check_finds_nothing_but_the_counters_in_memory(
    file: str, setup: Callable[[str], Setup]
) -> None:
    app = setup(file.removesuffix(".py")).app
    app.testing = app.extensions["mail"].suppress = False
    result = app.test_cli_runner().invoke(registration_cli, ["check"])
    found = re.findall(r"registration\.[EW]\d+", result.output)
    assert found == ["registration.W014"], result.output  # the counters of rate limits


def test_a_single_page_application_on_the_same_site_has_a_cookie(
    setup: Callable[[str], Setup],
) -> None:
    site = setup("spa_same_site")
    assert site.cors(SAME, "Content-Type") == {
        "Origin": SAME,
        "Credentials": "true",
        "Headers": "Content-Type",
        "Methods": "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT",
    }
    assert site.cors(FOREIGN, "Content-Type") == {}
    assert site.refuses_forms()
    site.register()
    site.post("verify-registration", **site.outbox.latest_link())
    assert site.outbox.latest_link().url.startswith(f"{SAME}/verify/?")
    site.post("login", login="alice", password=PASSWORD, remember=True)
    cookies = [cookie for cookie in site.cookies if not cookie.startswith("registration_device")]
    assert len(cookies) == 2
    for cookie in cookies:
        assert {"Secure", "HttpOnly", "SameSite=Lax"} <= set(cookie.split("; "))
    assert site.logins() == ["session"]


def test_a_single_page_application_on_another_site_has_a_token(
    setup: Callable[[str], Setup],
) -> None:
    site = setup("spa_other_site")
    told = site.cors(OTHER, "authorization", "content-type")
    assert (told["Origin"], told["Headers"]) == (OTHER, "authorization, content-type")
    assert "Credentials" not in told
    assert site.cors(FOREIGN, "authorization") == {}
    assert site.refuses_forms()
    site.register()
    assert site.outbox.latest_link().url.startswith(f"{OTHER}/verify/?")
    site.post("verify-registration", **site.outbox.latest_link())
    token = site.log_in()["token"]
    assert [cookie for cookie in site.cookies if cookie.startswith(("session", "remember"))] == []
    assert site.logins() == []
    site.headers = bearer(token)
    assert site.logins() == ["token"]


def test_a_mobile_app_has_codes_and_a_token_for_each_device(
    setup: Callable[[str], Setup],
) -> None:
    site = setup("mobile_app")
    challenge = site.register()["challenge"]
    body = {"challenge": challenge, "code": site.outbox.latest_code()}
    site.post("verify-registration-code", **body)
    tokens = [site.log_in()["token"] for _ in range(2)]
    assert [cookie for cookie in site.cookies if cookie.startswith("session")] == []
    site.headers = bearer(tokens[0])
    assert site.logins() == ["token", "token"]
    reply = site.post("register-email", email="new@example.com")
    site.post("verify-email-code", challenge=reply["challenge"], code=site.outbox.latest_code())
    undo = site.outbox.latest_link().url
    assert undo.startswith("https://example.com/accounts/undo-email-change/?")
    assert "<button" in site.ask("GET", undo.removeprefix("https://example.com")).text


def test_a_server_rendered_site_has_forms_and_pages_behind_the_links(
    setup: Callable[[str], Setup],
) -> None:
    site = setup("server_rendered")
    site.register()
    link = site.outbox.latest_link().url
    assert link.startswith("https://example.com/accounts/verify-registration/?")
    site.post("verify-registration", **site.outbox.latest_link())
    assert "<button" in site.ask("GET", link.removeprefix("https://example.com")).text
    assert site.ask("GET", "/").location == "/log-in/?next=%2F"
    form = {"login": "alice", "password": PASSWORD}
    assert site.ask("POST", "/log-in/", data=form).status_code == 400
    page = site.ask("GET", "/log-in/").text
    (form["csrf_token"],) = re.findall('name="csrf_token" value="([^"]+)"', page)
    headers = {"Referer": "https://api.example.com/log-in/"}
    wrong = site.ask("POST", "/log-in/", data={**form, "password": "wrong"}, headers=headers)
    assert "Incorrect username" in wrong.text
    part = {name: form[name] for name in ("login", "csrf_token")}
    assert "Fill in both fields." in site.ask("POST", "/log-in/", data=part, headers=headers).text
    reply = site.ask("POST", "/log-in/", data=form, headers=headers)
    assert reply.location == "/"
    session = reply.headers["Set-Cookie"]
    assert {"Secure", "HttpOnly", "SameSite=Lax"} <= set(session.split("; "))
    assert site.ask("GET", "/").text == "Hello, alice!"
    assert site.refuses_forms()


def test_an_internal_tool_is_for_invited_colleagues(setup: Callable[[str], Setup]) -> None:
    site = setup("internal_tool")
    assert site.ask("POST", "/accounts/register/", json={}).status_code == 404
    (command,) = [block.text for block in blocks(read(PAGE)) if "internal_tool reg" in block.text]
    arguments = command.split(" registration ")[1].split()
    runner = site.app.test_cli_runner()
    result = runner.invoke(registration_cli, [*arguments[:-1], "mallory@example.net"])
    assert result.exit_code == 1
    assert runner.invoke(registration_cli, arguments).exit_code == 0
    link = site.outbox.latest_link()
    assert link.url.startswith("https://tool.example.com/accounts/accept-invitation/?")
    assert "<button" in site.ask("GET", link.url.removeprefix("https://tool.example.com")).text
    chosen = {"password": PASSWORD, "password_confirm": PASSWORD}
    site.post("accept-invitation", **link, **chosen)
    assert site.logins() == ["session"]
    site.post("login", email="Alice@example.com", password=PASSWORD, remember=True)
    cookies = [cookie for cookie in site.cookies if not cookie.startswith("registration_device")]
    for cookie in cookies:
        assert {"Secure", "HttpOnly", "SameSite=Strict"} <= set(cookie.split("; "))


def test_a_session_of_the_internal_tool_ends_unused_after_an_hour(
    setup: Callable[[str], Setup], clock: Any
) -> None:
    site = setup("internal_tool")
    site.app.test_cli_runner().invoke(registration_cli, ["invite", "alice@example.com"])
    chosen = {"password": PASSWORD, "password_confirm": PASSWORD}
    site.post("accept-invitation", **site.outbox.latest_link(), **chosen)
    clock.advance(59 * 60)
    assert site.logins() == ["session"]
    clock.advance(61 * 60)
    assert site.logins() == []
