"""The small examples do what their READMEs say, by the very commands that stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask_login
import pytest
from flask import Flask
from flask_jwt_extended import create_refresh_token, jwt_required
from flask_mail import Message

from .examples import EXAMPLES, SETTINGS, commands, curl, example
from .site import PASSWORD, parameters

OTHER_PASSWORD = "another good long phrase of words"


class Running:
    """An example, its one client, and the mails that it sent."""

    def __init__(self, name: str, page: Any, app: Flask, outbox: list[Message]) -> None:
        self.page, self.app, self.outbox = page, app, outbox
        self.commands = iter(commands(name))
        self.client = app.test_client()

    def curl(self, **variables: str) -> Any:
        """Run the next command of the README; returns the reply's body. It must have worked."""
        reply = curl(self.client, next(self.commands), **variables)
        assert reply.status_code in (200, 201), reply.text
        return reply.get_json()

    def press(self, **typed: str) -> Any:
        """Open the link of the latest mail, type into its form, and press the button; returns the page that follows."""
        url = self.link()
        page = self.client.get(url).text
        (action,) = re.findall(r'<form method="post" action="([^"]*)"', page)
        return self.client.post(action, data={**parameters(url), **typed}, follow_redirects=True).text

    def link(self) -> str:
        """The link in the text of the latest mail."""
        (url,) = re.findall(r"http://127\.0\.0\.1:5000/\S+", self.outbox[-1].body or "")
        assert isinstance(url, str)
        return url


@pytest.fixture
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    """The example that the test is for."""
    name = request.param
    with example(name) as page:
        app = page.create_app(SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path}/db.sqlite", **SETTINGS)
        with app.extensions["mail"].record_messages() as outbox:
            yield Running(name, page, app, outbox)
        with app.app_context():
            page.db.session.remove()
            page.db.engine.dispose()


def of(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("running", [pytest.param(name, id=name)], indirect=True)


# Starting them


@pytest.mark.parametrize("name", ["email_only", "jwt"])
def test_the_command_of_the_readme_finds_the_application(name: str) -> None:
    page = (EXAMPLES / name / "README.md").read_text("utf-8")
    (arguments,) = re.findall(r" && \.venv/bin/flask (--app \S+) run --debug$", page, re.MULTILINE)
    routes = subprocess.run(
        [sys.executable, "-m", "flask", *arguments.split(), "routes"],
        cwd=EXAMPLES.parent,
        env={**os.environ, "FLASK_SQLALCHEMY_DATABASE_URI": "sqlite://"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "/accounts/register/" in routes.stdout, routes.stderr


# Users without usernames


@of("email_only")
def test_somebody_without_a_username_registers_and_logs_in(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    assert running.curl() == {"email": "alice@example.com", "first_name": "", "last_name": ""}
    assert running.link() in capsys.readouterr().out, "the terminal shows the mail"
    assert running.press() == "Your address is confirmed. Now log in."
    running.curl()
    assert running.curl() == {"hello": "alice@example.com"}


@of("email_only")
def test_somebody_without_a_username_forgets_the_password(running: Running) -> None:
    for _ in range(4):
        reply = curl(running.client, next(running.commands))
        if reply.status_code == 201:
            running.press()
    assert reply.status_code == 200
    assert "Your password is changed" in running.press(password=OTHER_PASSWORD, password_confirm=OTHER_PASSWORD)
    login = {"email": "alice@example.com", "password": OTHER_PASSWORD}
    assert running.client.post("/accounts/login/", json=login).status_code == 200


# JSON Web Tokens


@of("jwt")
def test_a_json_web_token_says_who_is_there_until_it_is_ended(running: Running) -> None:
    running.curl()
    assert "Your address is confirmed" in running.press()
    token = running.curl()["token"]
    assert running.client.get("/hello").status_code == 401, "there is no session"
    assert running.curl(TOKEN=token) == {"hello": "alice"}
    running.curl(TOKEN=token)
    assert running.client.get("/hello", headers={"Authorization": f"Bearer {token}"}).status_code == 401


@of("jwt")
def test_json_web_tokens_end_with_what_ends_ours(running: Running) -> None:
    page, app = running.page, running.app
    for path, guard in {"/ours": flask_login.login_required, "/theirs": jwt_required()}.items():
        app.add_url_rule(path, path, guard(lambda: "come in"))
    with app.app_context():
        page.registration.create_user(username="alice", email="alice@example.com", password=PASSWORD)
        page.db.session.commit()
    client = running.client

    def log_in(password: str) -> Any:
        return client.post("/accounts/login/", json={"login": "alice", "password": password}).get_json()["token"]

    def ask(token: str, method: str = "GET") -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return client.open("/accounts/profile/", method=method, headers=headers).status_code

    token = log_in(PASSWORD)
    with app.app_context():
        foreign = page.create_access_token("1")
        stamp = page.decode_token(token)["stamp"]
        refresh = create_refresh_token("1", additional_claims={"stamp": stamp})
    assert [ask(each) for each in (token, foreign, refresh, "x.y.z", "x")] == [200, 401, 401, 401, 401]
    body = {"old_password": PASSWORD, "password": OTHER_PASSWORD, "password_confirm": OTHER_PASSWORD}
    headers = {"Authorization": f"Bearer {token}"}
    for path in ("/ours", "/theirs"):
        assert client.get(path, headers=headers).text == "come in"
    new = client.post("/accounts/change-password/", json=body, headers=headers).get_json()["token"]
    assert [ask(token), ask(new)] == [401, 200]
    first, second = log_in(OTHER_PASSWORD), log_in(OTHER_PASSWORD)
    headers = {"Authorization": f"Bearer {first}"}
    assert client.post("/accounts/logout/", json={"revoke_token": True}, headers=headers).status_code == 200
    assert [ask(first), ask(second), ask(new)] == [401, 200, 200]
    with app.app_context():
        user = page.db.session.scalars(page.db.select(page.User)).one()
        page.JWTs().revoke_token(user)
        page.db.session.commit()
    assert [ask(second), ask(new)] == [401, 401]
    assert ask(log_in(OTHER_PASSWORD), "DELETE") == 204, "a token that is fresh"
