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

from flask_registration import ConfigurationError, user_activated, user_registered
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


# A flow of the application


WEEK = 7 * 24 * 60 * 60
BOB = {"username": "bob", "password": PASSWORD}
CONFIRMED = 200, {"detail": "You are on the waiting list"}


def ask(running: Running, email: str) -> dict[str, str]:
    """Ask for a place on the waiting list. Return the parameters of the link in the e-mail."""
    response = running.client.post("/accounts/waiting-list/", json={"email": email})
    assert response.status_code == 200, response.text
    return parameters(running.link())


def post(running: Running, endpoint: str, link: dict[str, str], **fields: str) -> Any:
    """Post the parameters of a link with fields. Return the status and the response body."""
    response = running.app.test_client().post(
        f"/accounts/waiting-list/{endpoint}/", json={**link, **fields}
    )
    return response.status_code, response.get_json()


def let_in(running: Running, number: int = 1) -> list[str]:
    """Let the next ones in. Return the recipients of the e-mails, which are the last ones."""
    before = len(running.outbox)
    result = running.app.test_cli_runner().invoke(args=["let-in", str(number)])
    assert result.exit_code == 0, result.output
    addresses = [str(message.recipients[0]) for message in running.outbox[before:]]
    assert re.findall(r"^Let in (\S+)\.$", result.output, re.MULTILINE) == addresses
    return addresses


def turn(running: Running, email: str = "bob@example.com") -> dict[str, str]:
    """Let an e-mail address in. Return the parameters of the link that it receives."""
    assert post(running, "confirm", ask(running, email)) == CONFIRMED
    assert let_in(running) == [email]
    return parameters(running.link())


@of("own_workflow")
def test_an_address_on_the_waiting_list_gets_an_account_when_it_is_let_in(
    running: Running,
) -> None:
    heard = []

    def hear(app: Flask, user: Any, **_: Any) -> None:
        heard.append((user.username, user.email, user.is_verified))

    register = {
        "username": "eve",
        "email": "eve@example.com",
        "password": PASSWORD,
        "password_confirm": PASSWORD,
    }
    assert running.client.post("/accounts/register/", json=register).status_code == 404
    assert running.curl() == {"detail": "An e-mail to confirm your place is on its way"}
    assert running.outbox[-1].recipients == ["bob@example.com"]
    assert running.client.get(running.link()).status_code == 200
    assert let_in(running) == [], "the place is not confirmed yet"
    assert post(running, "confirm", parameters(running.link())) == CONFIRMED
    assert let_in(running) == ["bob@example.com"]
    assert running.outbox[-1].subject == "You can join The Club now"
    assert running.client.get(running.link()).status_code == 200
    with (
        user_registered.connected_to(hear, running.app),
        user_activated.connected_to(hear, running.app),
    ):
        status, body = post(running, "register", parameters(running.link()), **BOB)
    assert (status, body) == (201, {"detail": "Welcome"})
    assert heard == [("bob", "bob@example.com", True)] * 2
    login = {"login": "bob", "password": PASSWORD}
    assert running.app.test_client().post("/accounts/login/", json=login).status_code == 200


@of("own_workflow")
def test_the_waiting_list_keeps_its_order_and_has_each_address_once(running: Running) -> None:
    links = {name: ask(running, f"{name}@example.com") for name in ("carol", "bob", "Dan")}
    for name in ("bob", "carol", "bob", "Dan"):
        assert post(running, "confirm", links[name]) == CONFIRMED
    assert let_in(running, 2) == ["bob@example.com", "carol@example.com"]
    assert let_in(running, 2) == ["dan@example.com"]
    assert let_in(running, 2) == []


@of("own_workflow")
def test_its_e_mails_are_in_the_preview(running: Running, tmp_path: Path) -> None:
    result = running.app.test_cli_runner().invoke(
        registration_cli, ["preview-mail", str(tmp_path / "mails")]
    )
    assert (result.exit_code, running.outbox) == (0, [])
    for name, subject, page in (
        ("waiting_list", "Confirm your place on the waiting list of The Club", "confirm"),
        ("waiting_list_turn", "You can join The Club now", "register"),
    ):
        assert f"  {name:<18} {subject}\n" in result.output
        shown = (tmp_path / "mails" / f"{name}.html").read_text("utf-8")
        assert f"http://127.0.0.1:5000/{page}?" in shown


def test_the_pages_behind_its_links_work(browser: Browser, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    flask = [sys.executable, "-m", "flask", "--app", "examples/own_workflow/app.py"]
    environment = {
        "FLASK_SECRET_KEY": "of both programs",
        "FLASK_SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path}/db.sqlite",
        "FLASK_REGISTRATION_WAITING_LIST_URL": f"{url}/confirm",
        "FLASK_REGISTRATION_WAITING_LIST_REGISTER_URL": f"{url}/register",
    }
    club = Program(
        [*flask, "run", "--port", str(port)], cwd=EXAMPLES.parent, environment=environment
    )
    try:
        club.wait_for(rf".*Running on {url}.*")
        with window(browser, f"{url}/confirm", url) as page:
            page.request.post(f"{url}/accounts/waiting-list/", data={"email": "bob@example.com"})
            page.goto(club.lines[club.wait_for(rf"{url}/confirm\?\S+")])
            page.get_by_role("button").click()
            expect(page.get_by_role("status")).to_have_text("You are on the waiting list.")
            expect(page).to_have_url(f"{url}/confirm")
            assert width(page) <= 320
            command = subprocess.run(
                [*flask, "let-in", "1"],
                cwd=EXAMPLES.parent,
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
                check=True,
            )
            (link,) = re.findall(rf"^{url}/register\?\S+", command.stdout, re.MULTILINE)
            page.goto(link)
            page.get_by_label("Username").fill("bob b")
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button").click()
            expect(page.locator("#username-error")).to_contain_text(
                "Usernames may contain only letters, digits and . + - _"
            )
            expect(page.get_by_label("Username")).to_be_focused()
            page.get_by_label("Username").fill("bob")
            page.get_by_role("button").click()
            expect(page.get_by_role("status")).to_have_text("Welcome.")
            expect(page).to_have_url(f"{url}/register")
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
def test_a_link_to_register_survives_an_invalid_field_and_works_once(running: Running) -> None:
    link = turn(running)
    status, errors = post(running, "register", link, username="bob b", password="password")
    assert (status, errors.keys()) == (400, {"username", "password"})
    assert post(running, "register", link, **BOB)[0] == 201
    assert post(running, "register", link, username="bob2", password=PASSWORD) == (
        400,
        {"email": ["This e-mail address is already in use."]},
    )
    assert post(running, "register", turn(running, "eve@example.com"), **BOB) == (
        400,
        {"username": ["This username is already in use."]},
    )


@of("own_workflow")
def test_a_link_of_the_waiting_list_cannot_be_changed_or_used_for_another_purpose(
    running: Running,
) -> None:
    confirm = ask(running, "bob@example.com")
    assert post(running, "register", confirm, **BOB)[1]["code"] == "signature-invalid"
    assert post(running, "confirm", confirm) == CONFIRMED
    assert let_in(running) == ["bob@example.com"]
    register = parameters(running.link())
    assert post(running, "confirm", register)[1]["code"] == "signature-invalid"
    for bad in ({"signature": "x"}, {"email": "eve@example.com"}, {"timestamp": "1"}):
        for fields in (BOB, {}, {"username": "bob b", "password": "x"}):
            for endpoint, link in (("confirm", confirm), ("register", register)):
                status, body = post(running, endpoint, {**link, **bad}, **fields)
                assert (status, body["code"]) == (400, "signature-invalid"), (endpoint, bad)
    assert post(running, "register", register, **BOB)[0] == 201


@of("own_workflow")
def test_the_links_of_the_waiting_list_expire(running: Running, clock: Clock) -> None:
    confirm = ask(running, "carol@example.com")
    register = turn(running)
    clock.advance(WEEK + 1)
    assert post(running, "confirm", confirm)[1]["code"] == "signature-expired"
    assert post(running, "register", register, **BOB)[1]["code"] == "signature-expired"
    assert let_in(running) == []
    clock.advance(-2)
    assert post(running, "confirm", confirm) == CONFIRMED
    assert post(running, "register", register, **BOB)[0] == 201


@of("own_workflow")
def test_the_waiting_list_does_not_reveal_who_has_an_account(running: Running) -> None:
    assert post(running, "register", turn(running), **BOB)[0] == 201
    client, emails = running.client, ["carol@example.com", "bob@example.com"]
    responses = [client.post("/accounts/waiting-list/", json={"email": each}) for each in emails]
    assert {response.status_code for response in responses} == {200}
    assert responses[0].get_json() == responses[1].get_json()
    invalid = client.post("/accounts/waiting-list/", json={"email": "x"})
    assert (invalid.status_code, invalid.get_json().keys()) == (400, {"email"})


@of("own_workflow")
def test_an_address_with_an_account_has_no_place(running: Running) -> None:
    bob = ask(running, "bob@example.com")
    for name in ("bob", "carol"):
        assert post(running, "confirm", ask(running, f"{name}@example.com")) == CONFIRMED
    assert let_in(running) == ["bob@example.com"]
    register = parameters(running.link())
    assert post(running, "confirm", bob) == CONFIRMED, "a second place, before the link is used"
    assert post(running, "register", register, **BOB)[0] == 201
    assert post(running, "confirm", bob) == (400, {"email": ["You already have an account."]})
    assert let_in(running, 5) == ["carol@example.com"]


@of("own_workflow")
def test_an_account_of_an_administrator_ends_its_place(running: Running) -> None:
    for name in ("bob", "carol"):
        assert post(running, "confirm", ask(running, f"{name}@example.com")) == CONFIRMED
    result = running.app.test_cli_runner().invoke(
        registration_cli,
        ["create-user", "--username", "bob", "--email", "bob@example.com"],
        input=f"{PASSWORD}\n{PASSWORD}\n",
    )
    assert result.exit_code == 0, result.output
    assert let_in(running, 5) == ["carol@example.com"]


@each_row("name", ["REGISTRATION_WAITING_LIST_URL", "REGISTRATION_WAITING_LIST_REGISTER_URL"])
def test_a_waiting_list_without_a_page_ends_the_start(name: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        example("own_workflow").create_app(**SETTINGS, **{name: "/join"})
    assert [problem.setting for problem in error.value.problems] == [name]
