"""The small examples do what their READMEs say, by the very commands that stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flask_login
import pytest
from flask import Flask
from flask_jwt_extended import create_refresh_token, jwt_required
from flask_mail import Message

from flask_registration import ConfigurationError, next_stamp, user_activated, user_registered
from flask_registration.cli.base import registration_cli

from .browsers import width, window
from .conftest import Clock
from .examples import EXAMPLES, SETTINGS, commands, curl, example
from .site import PASSWORD, parameters
from .smtp import free_port
from .tables import each_row
from .terminal import Program

if TYPE_CHECKING:
    from playwright.sync_api import Browser

OTHER_PASSWORD = "another good long phrase of words"


Capture = pytest.CaptureFixture[str]


class Running:
    """An example, its one client, and the mails that it sent."""

    def __init__(
        self, name: str, page: Any, app: Flask, outbox: list[Message], capsys: Capture
    ) -> None:
        self.page, self.app, self.outbox = page, app, outbox
        self.terminal = capsys.readouterr
        self.commands = iter(commands(name))
        self.client = app.test_client()

    def curl(self, **variables: str) -> Any:
        """Run the next command of the README; returns the reply's body. It must have worked."""
        reply = curl(self.client, next(self.commands), **variables)
        assert reply.status_code in (200, 201), reply.text
        return reply.get_json()

    def press(self, **typed: str) -> Any:
        """Open the latest link, fill in its form and press the button; returns the next page."""
        url = self.link()
        page = self.client.get(url).text
        (action,) = re.findall(r'<form method="post" action="([^"]*)"', page)
        return self.client.post(
            action, data={**parameters(url), **typed}, follow_redirects=True
        ).text

    def link(self) -> str:
        """The link in the text of the latest mail."""
        (url,) = re.findall(r"http://127\.0\.0\.1:5000/\S+", self.outbox[-1].body or "")
        assert isinstance(url, str)
        return url


@pytest.fixture
def running(request: pytest.FixtureRequest, tmp_path: Path, capsys: Capture) -> Iterator[Running]:
    """The example that the test is for."""
    name = request.param
    page = example(name)
    app = page.create_app(SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path}/db.sqlite", **SETTINGS)
    with app.extensions["mail"].record_messages() as outbox:
        yield Running(name, page, app, outbox, capsys)
    with app.app_context():
        page.db.session.remove()
        page.db.engine.dispose()


def of(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("running", [pytest.param(name, id=name)], indirect=True)


# Starting them


@each_row("name", ["email_only", "forms", "jwt", "own_workflow", "spa"])
def test_the_command_of_the_readme_finds_the_application(name: str) -> None:
    page = (EXAMPLES / name / "README.md").read_text("utf-8")
    (arguments,) = re.findall(
        r"(?:^|&& )\.venv/bin/flask (--app \S+) run --debug$", page, re.MULTILINE
    )
    routes = subprocess.run(
        [sys.executable, "-m", "flask", *arguments.split(), "routes"],
        cwd=EXAMPLES.parent,
        env={**os.environ, "FLASK_SQLALCHEMY_DATABASE_URI": "sqlite://"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "/accounts/login/" in routes.stdout, routes.stderr


def test_the_command_of_the_quick_start_is_that_of_the_readme() -> None:
    pages = EXAMPLES / "quickstart" / "README.md", EXAMPLES.parent / "README.md"
    found = [
        re.findall(r"^python3 -m venv .* run --debug$", page.read_text("utf-8"), re.MULTILINE)
        for page in pages
    ]
    assert [len(each) for each in found] == [1, 1]
    assert found[0] == found[1]


@pytest.mark.parametrize("running", ["own_workflow", "spa"], indirect=True)
def test_replies_have_the_language_of_the_pages(running: Running) -> None:
    body = {"login": "nobody", "password": PASSWORD}
    reply = running.client.post("/accounts/login/", json=body, headers={"Accept-Language": "de"})
    assert reply.get_json()["detail"] == "Incorrect username, e-mail address or password."


# Users without usernames


@of("email_only")
def test_somebody_without_a_username_registers_and_logs_in(running: Running) -> None:
    assert running.curl() == {"email": "alice@example.com", "first_name": "", "last_name": ""}
    assert running.link() in running.terminal().out, "the terminal shows the mail"
    assert running.press() == "Your e-mail address is confirmed. Now log in."
    running.curl()
    assert running.curl() == {"hello": "alice@example.com"}


@of("email_only")
def test_somebody_without_a_username_forgets_the_password(running: Running) -> None:
    for _ in range(4):
        reply = curl(running.client, next(running.commands))
        if reply.status_code == 201:
            running.press()
    assert reply.status_code == 200
    assert "Your password was changed. You can log in with it now." in running.press(
        password=OTHER_PASSWORD, password_confirm=OTHER_PASSWORD
    )
    login = {"email": "alice@example.com", "password": OTHER_PASSWORD}
    assert running.client.post("/accounts/login/", json=login).status_code == 200


# JSON Web Tokens


@of("jwt")
def test_a_json_web_token_says_who_is_there_until_it_is_ended(running: Running) -> None:
    running.curl()
    assert "Your e-mail address is confirmed." in running.press()
    token = running.curl()["token"]
    assert running.client.get("/hello").status_code == 401, "there is no session"
    assert running.curl(TOKEN=token) == {"hello": "alice"}
    running.curl(TOKEN=token)
    assert (
        running.client.get("/hello", headers={"Authorization": f"Bearer {token}"}).status_code
        == 401
    )


@of("jwt")
def test_json_web_tokens_end_with_what_ends_ours(running: Running) -> None:
    page, app = running.page, running.app
    for path, guard in {"/ours": flask_login.login_required, "/theirs": jwt_required()}.items():
        app.add_url_rule(path, path, guard(lambda: "come in"))
    with app.app_context():
        page.registration.create_user(
            username="alice", email="alice@example.com", password=PASSWORD
        )
        page.db.session.commit()
    client = running.client

    def log_in(password: str) -> Any:
        return client.post(
            "/accounts/login/", json={"login": "alice", "password": password}
        ).get_json()["token"]

    def ask(token: str, method: str = "GET") -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return client.open("/accounts/profile/", method=method, headers=headers).status_code

    token = log_in(PASSWORD)
    with app.app_context():
        foreign = page.create_access_token("1")
        stamp = page.decode_token(token)["stamp"]
        refresh = create_refresh_token("1", additional_claims={"stamp": stamp})
    assert [ask(each) for each in (token, foreign, refresh, "x.y.z", "x")] == [
        200,
        401,
        401,
        401,
        401,
    ]
    body = {
        "old_password": PASSWORD,
        "password": OTHER_PASSWORD,
        "password_confirm": OTHER_PASSWORD,
    }
    headers = {"Authorization": f"Bearer {token}"}
    for path in ("/ours", "/theirs"):
        assert client.get(path, headers=headers).text == "come in"
    new = client.post("/accounts/change-password/", json=body, headers=headers).get_json()["token"]
    assert [ask(token), ask(new)] == [401, 200]
    first, second = log_in(OTHER_PASSWORD), log_in(OTHER_PASSWORD)
    headers = {"Authorization": f"Bearer {first}"}
    assert (
        client.post("/accounts/logout/", json={"revoke_token": True}, headers=headers).status_code
        == 200
    )
    assert [ask(first), ask(second), ask(new)] == [401, 200, 200]
    with app.app_context():
        user = page.db.session.scalars(page.db.select(page.User)).one()
        page.JWTs().revoke_token(user)
        page.db.session.commit()
    assert [ask(second), ask(new)] == [401, 401]
    assert ask(log_in(OTHER_PASSWORD), "DELETE") == 204, "a token that is fresh"


# A workflow of one's own


WEEK = 7 * 24 * 60 * 60
BOB = {"username": "bob", "password": PASSWORD}


def invite(running: Running) -> dict[str, str]:
    """Invite Bob, as the README says; returns the parameters of the link that he gets."""
    (password,) = re.findall(
        r"The first account is alice, with the password (\S+)", running.terminal().out
    )
    running.curl(PASSWORD=password)
    assert running.curl() == {"detail": "The invitation is on its way"}
    return parameters(running.link())


def join(running: Running, link: dict[str, str], **fields: str) -> Any:
    """Post the parameters of a link with fields, from another browser; returns status and body."""
    reply = running.app.test_client().post("/accounts/join/", json={**link, **fields})
    return reply.status_code, reply.get_json()


@of("own_workflow")
def test_who_is_invited_gets_an_account(running: Running) -> None:
    page, heard = running.page, []

    def hear(app: Flask, user: Any, **_: Any) -> None:
        heard.append((user.username, user.email, user.is_verified))

    register = {
        "username": "eve",
        "email": "eve@example.com",
        "password": PASSWORD,
        "password_confirm": PASSWORD,
    }
    assert running.client.post("/accounts/register/", json=register).status_code == 404, (
        "nobody can register"
    )
    link = invite(running)
    mail = running.outbox[-1]
    assert (mail.recipients, mail.subject) == (
        ["bob@example.com"],
        "alice@example.com invites you to The Club",
    )
    assert running.client.get(running.link()).status_code == 200
    with (
        user_registered.connected_to(hear, running.app),
        user_activated.connected_to(hear, running.app),
        page.invitations.invitation_accepted.connected_to(hear, running.app),
    ):
        assert join(running, link, **BOB) == (201, {"detail": "Welcome", "username": "bob"})
    assert heard == [("bob", "bob@example.com", True)] * 3
    login = {"login": "bob", "password": PASSWORD}
    assert running.app.test_client().post("/accounts/login/", json=login).status_code == 200
    with running.app.app_context():
        bob = page.db.session.scalars(page.db.select(page.User).filter_by(username="bob")).one()
        assert page.db.session.get(page.User, bob.invited_by_id).username == "alice"


@of("own_workflow")
def test_its_mail_is_among_those_to_look_at(running: Running, tmp_path: Path) -> None:
    result = running.app.test_cli_runner().invoke(
        registration_cli, ["preview-mail", str(tmp_path / "mails")]
    )
    assert (result.exit_code, running.outbox) == (0, [])
    assert "  invitation         alice@example.com invites you to The Club\n" in result.output
    assert "http://127.0.0.1:5000/join?" in (tmp_path / "mails" / "invitation.html").read_text(
        "utf-8"
    )


def test_the_page_behind_an_invitation_opens_an_account(browser: Browser, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    club = Program(
        [
            sys.executable,
            "-m",
            "flask",
            "--app",
            "examples/own_workflow/app.py",
            "run",
            "--port",
            str(port),
        ],
        cwd=EXAMPLES.parent,
        environment={
            "FLASK_SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path}/db.sqlite",
            "FLASK_REGISTRATION_INVITATION_URL": f"{url}/join",
        },
    )
    try:
        club.wait_for(rf".*Running on {url}.*")
        password = club.lines[club.wait_for(r"The first account is alice.*")].rpartition(" ")[2]
        with window(browser, f"{url}/join", url) as page:
            page.request.post(
                f"{url}/accounts/login/", data={"login": "alice", "password": password}
            )
            page.request.post(f"{url}/accounts/invite/", data={"email": "bob@example.com"})
            page.goto(club.lines[club.wait_for(rf"{url}/join\?\S+")])
            page.get_by_label("Username").fill("bob b")
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button").click()
            expect(page.locator("#username-error")).to_contain_text(
                "Usernames may contain only letters, digits and . + - _"
            )
            expect(page.get_by_label("Username")).to_be_focused()
            page.get_by_label("Username").fill("bob")
            page.get_by_role("button").click()
            expect(page.get_by_role("status")).to_have_text(
                "Welcome, bob. You have an account now."
            )
            expect(page).to_have_url(f"{url}/join")
            assert width(page) <= 320
            page.reload()
            page.get_by_label("Username").fill("eve")
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button").click()
            expect(page.get_by_role("alert")).to_contain_text(
                "This link is incomplete. Copy the whole link from the e-mail."
            )
    finally:
        club.close()


@of("own_workflow")
def test_an_invitation_outlives_a_name_that_will_not_do_and_works_once(running: Running) -> None:
    link = invite(running)
    status, errors = join(running, link, username="bob b", password="password")
    assert (status, errors.keys()) == (400, {"username", "password"})
    assert join(running, link, username="Alice", password=PASSWORD) == (
        400,
        {"username": ["This username is already in use."]},
    )
    assert join(running, link, **BOB)[0] == 201
    assert join(running, link, username="bob2", password=PASSWORD) == (
        400,
        {"email": ["This e-mail address is already in use."]},
    )


@of("own_workflow")
def test_a_bad_invitation_tells_nothing(running: Running) -> None:
    link = invite(running)
    for bad in (
        {"signature": "x"},
        {"email": "eve@example.com"},
        {"user_id": "99"},
        {"timestamp": "1"},
    ):
        for fields in (BOB, {}, {"username": "alice", "password": "x"}):
            status, reply = join(running, {**link, **bad}, **fields)
            assert (status, reply["code"]) == (400, "signature-invalid"), (bad, fields)
    for endpoint in ("verify-registration", "verify-email", "undo-email-change"):
        reply = running.client.post(f"/accounts/{endpoint}/", json=link).get_json()
        assert reply["code"] == "signature-invalid", endpoint


@of("own_workflow")
def test_an_invitation_ends_with_its_time_and_with_the_password_of_who_invites(
    running: Running, clock: Clock
) -> None:
    link = invite(running)
    clock.advance(WEEK + 1)
    assert join(running, link, **BOB)[1]["code"] == "signature-expired"
    clock.advance(-WEEK)
    with running.app.app_context():
        page = running.page
        alice = page.db.session.scalars(page.db.select(page.User)).one()
        alice.security_stamp = next_stamp(alice.security_stamp)
        page.db.session.commit()
    assert join(running, link, **BOB)[1]["code"] == "signature-invalid"


@of("own_workflow")
def test_the_answer_to_an_invitation_is_the_same_for_a_taken_address(running: Running) -> None:
    invite(running)
    replies = [
        running.client.post("/accounts/invite/", json={"email": email})
        for email in ("alice@example.com", "x")
    ]
    assert replies[0].get_json() == {"detail": "The invitation is on its way"}
    assert running.outbox[-1].recipients == ["alice@example.com"]
    assert (replies[1].status_code, replies[1].get_json().keys()) == (400, {"email"})
    assert (
        running.app.test_client()
        .post("/accounts/invite/", json={"email": "x@example.com"})
        .status_code
        == 401
    )


def test_an_invitation_without_a_page_ends_the_start() -> None:
    with pytest.raises(ConfigurationError) as error:
        example("own_workflow").create_app(**SETTINGS, REGISTRATION_INVITATION_URL="/join")
    assert [problem.setting for problem in error.value.problems] == ["REGISTRATION_INVITATION_URL"]
