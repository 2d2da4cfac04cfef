"""``docs/what-ends-what.md``: each cell of its tables is tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_registration import DEFAULT_FLOWS, DeletionMixin, UserMixin
from flask_registration.cli.base import registration_cli
from flask_registration.flows import (
    codes,
    leaving,
    mail_login,
    new_login,
    reauthenticate,
    second_factor,
)
from flask_registration.testing import Accounts

from .concepts import diagrams, render, take_mails
from .conftest import Clock
from .flows.common import OTHER_PASSWORD, NewSite
from .flows.test_second_factor import KEY, define_credential
from .pages import read
from .people import bearer, copy_of, define_login, knows
from .site import PASSWORD, Site, State, define
from .tables import each_row
from .test_steps import define_challenge

LOGINS, LINKS, PENDING, WITHOUT = diagrams.tables(read("docs/what-ends-what.md"))
NEW = {"password": OTHER_PASSWORD, "password_confirm": OTHER_PASSWORD}
LOGIN = {"login": "alice", "password": PASSWORD}
SETTINGS: dict[str, Any] = {
    "flows": [
        *DEFAULT_FLOWS,
        *(codes.flow, leaving.flow, mail_login.flow),
        *(new_login.flow, reauthenticate.flow, second_factor.flow),
    ],
    "define": define(DeletionMixin, UserMixin),
    "challenge_model": define_challenge,
    "credential_model": define_credential,
    "VERIFICATION_TEMPLATE_RENDERER": render,
    "VERIFICATION_METHOD": "both",
    "MAIL_LIMITS": None,
    "CREDENTIAL_KEYS": [KEY],
    "LOGIN_RETRIEVE_TOKEN": True,
    "TRUST_BROWSER_PERIOD": timedelta(days=30),
    "NEW_LOGIN_NOTICE_ENABLED": True,
    "DELETION_GRACE": timedelta(days=30),
}


class World:
    """An application with one account, Alice's, and all that she was given.

    :ivar links: the parameters of links.
    :ivar given: challenges with codes, tokens, cookies.
    """

    def __init__(self, site: Site, clock: Clock) -> None:
        self.site = site
        self.clock = clock
        self.accounts = Accounts(site.app, site.outbox, lambda: clock)
        self.links: dict[str, dict[str, str]] = {}
        self.given: dict[str, Any] = {}
        self.this = self.other = self.trusted = site.app.test_client()

    def post(
        self, endpoint: str, body: Mapping[str, Any], client: FlaskClient | None = None
    ) -> TestResponse:
        return self.site.post(endpoint, dict(body), client=client)

    def link(self, name: str) -> dict[str, str]:
        """The link of the latest e-mail of this name."""
        *_, link = [each.link for each in take_mails(self.site) if each.name == name]
        return link

    def code(self) -> str:
        """A code of the authenticator app, the next one: each works once."""
        self.clock.move(seconds=30)
        return self.accounts.totp(self.site.user(username="alice"))

    def log_in(self, client: FlaskClient, **more: Any) -> dict[str, Any]:
        challenge = self.post("login", LOGIN, client).get_json()["challenge"]
        body = {"challenge": challenge, "code": self.code(), **more}
        reply = self.post("second-factor", body, client)
        assert reply.status_code == 200, reply.get_json()
        found: dict[str, Any] = reply.get_json()
        return found

    def ask(self, endpoint: str, **body: Any) -> dict[str, Any]:
        """Ask for an e-mail with a link and a code; the challenge with the code."""
        reply = self.post(endpoint, body, self.this)
        assert reply.status_code < 300, reply.get_json()
        return {
            "challenge": reply.get_json()["challenge"],
            "code": self.accounts.outbox.latest_code(),
        }

    def run(self, *arguments: str, typed: str | None = None) -> None:
        runner = self.site.app.test_cli_runner()
        result = runner.invoke(registration_cli, arguments, input=typed)
        assert result.exit_code == 0, result.output

    def later(self) -> World:
        """The same, in a test that uses it up."""
        found = copy(self)
        found.this, found.other = copy_of(self.this), copy_of(self.other)
        return found


def verified(site: Site, clock: Clock) -> World:
    """Alice has a second factor and has changed her e-mail address."""
    world = World(site, clock)
    world.accounts.create_user("alice", email="old@example.com")
    world.post("login", LOGIN, world.this)
    world.ask("register-email", email="alice@example.com")
    assert world.post("verify-email", world.link("register_email"), world.this).status_code == 200
    world.links["undo link"] = world.link("email_changed")
    world.code()  # which adds an authenticator app
    world.this, world.other, world.trusted = (site.app.test_client() for _ in range(3))
    world.log_in(world.this)
    world.log_in(world.other)
    world.given["token"] = world.log_in(site.app.test_client())["token"]
    world.links['"not me" link'] = world.link("new_login")
    world.log_in(world.trusted, trust=True)
    world.given["challenge"] = world.post("login", LOGIN).get_json()["challenge"]
    world.given["code"] = world.ask("send-reset-password-link", login="alice")
    world.links["reset link"] = world.link("reset_password")
    world.ask("send-login-link", login="alice")
    world.links["login link"] = world.link("login_link")
    world.ask("register-email", email="third@example.com")
    world.links["e-mail change link"] = world.link("register_email")
    world.given["copy"] = copy_of(world.this)
    return world


# What happens


def by_link(name: str, endpoint: str, **fields: Any) -> Callable[[World], Any]:
    return lambda world: world.post(endpoint, {**world.links[name], **fields})


def by_this(endpoint: str, **body: Any) -> Callable[[World], Any]:
    return lambda world: world.post(endpoint, body, world.this)


def by_command(*arguments: str, typed: str | None = None) -> Callable[[World], Any]:
    return lambda world: world.run(*arguments, typed=typed)


def change_email(world: World) -> TestResponse:
    return world.post("verify-email", world.links["e-mail change link"], world.this)


def revoke_another(world: World) -> TestResponse:
    """The session of the other client, which is not in the list afterwards."""
    (current,) = [each for each in logins(world.other) if each["current"]]
    return world.this.delete(f"/accounts/logins/{current['id']}/")


def logins(client: FlaskClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("/accounts/logins/").get_json()
    return found


def delete_and_cancel(world: World) -> TestResponse:
    assert world.this.delete("/accounts/profile/", json={}).status_code == 202
    return world.post("cancel-deletion", world.link("deletion_scheduled"))


def suspend_and_reactivate(world: World) -> None:
    world.run("suspend", "alice")
    world.run("reactivate", "alice")


def another_key(world: World) -> None:
    world.site.app.config["SECRET_KEY"] = "another key, which is long enough as well"


CHANGE = {"old_password": PASSWORD, **NEW}
EVENTS: dict[str, Callable[[World], Any]] = {
    "a login in another browser": lambda world: world.log_in(world.site.app.test_client()) and None,
    "logout": by_this("logout"),
    "logout with `revoke_token`": by_this("logout", revoke_token=True),
    "logout with `everywhere`": by_this("logout", everywhere=True),
    "revoking another session": revoke_another,
    "re-authentication": by_this("reauthenticate", password=PASSWORD),
    "a new password": by_this("change-password", **CHANGE),
    "asking for another reset link": by_this("send-reset-password-link", login="alice"),
    "a password reset": by_link("reset link", "reset-password", **NEW),
    "asking for an e-mail change": by_this("register-email", email="fourth@example.com"),
    "an e-mail change": change_email,
    "undoing an e-mail change": by_link("undo link", "undo-email-change"),
    "a login by e-mail": by_link("login link", "login-by-link"),
    '"This was not me"': by_link('"not me" link', "report-login"),
    "removing the second factor": lambda world: world.this.delete(
        "/accounts/totp/", json={"code": world.code()}
    ),
    "`reset-second-factor`": by_command("reset-second-factor", "alice"),
    "`suspend`, then `reactivate`": suspend_and_reactivate,
    "`set-password`": by_command("set-password", "alice", "--password-stdin", typed=OTHER_PASSWORD),
    "a deletion that is canceled": delete_and_cancel,
    "another `SECRET_KEY`": another_key,
}


# What is valid afterwards


def stays_trusted(world: World) -> bool:
    """Whether a login by e-mail needs no code in the browser. The password may be another one."""
    world.code()  # which adds a factor if it was removed
    client, cookies = world.site.app.test_client(), world.trusted._cookies or {}
    for cookie in cookies.values():
        if cookie.key.startswith("registration_trust_"):
            client.set_cookie(cookie.key, cookie.value)
    take_mails(world.site)
    world.post("send-login-link", {"login": "alice"})
    return world.post("login-by-link", world.link("login_link"), client).status_code == 200


def is_accepted(name: str, endpoint: str, **fields: Any) -> Callable[[World], bool]:
    """Whether a link works. A login that needs a code has used it."""

    def check(world: World) -> bool:
        body = {**world.links[name], **fields}
        reply = world.post(endpoint, body, world.this if endpoint == "verify-email" else None)
        found = reply.get_json().get("code")
        assert found in (None, "signature-invalid", "step-required"), found
        return bool(found != "signature-invalid")

    return check


def is_solved(endpoint: str, name: str, **fields: Any) -> Callable[[World], bool]:
    """Whether a challenge takes its code."""

    def check(world: World) -> bool:
        reply = world.post(endpoint, {**world.given[name], **fields})
        found = reply.get_json().get("code")
        assert found in (None, "challenge-invalid", "code-invalid"), found
        return found is None

    return check


def is_login_challenge(world: World) -> bool:
    code = world.code()
    body = {"challenge": world.given["challenge"], "code": code}
    reply = world.post("second-factor", body)
    assert reply.status_code == 200 or reply.get_json()["code"] == "challenge-invalid"
    return reply.status_code == 200


THINGS: dict[str, Callable[[World], bool]] = {
    "this session": lambda world: (
        knows(world.site, world.this) or knows(world.site, world.given["copy"])
    ),
    "other sessions": lambda world: knows(world.site, world.other),
    "tokens": lambda world: knows(world.site, headers=bearer(world.given["token"])),
    "trusted browser": stays_trusted,
    "login challenge": is_login_challenge,
    "code by e-mail": is_solved("reset-password-code", "code", **NEW),
    "reset link": is_accepted("reset link", "reset-password", **NEW),
    "login link": is_accepted("login link", "login-by-link"),
    "e-mail change link": is_accepted("e-mail change link", "verify-email"),
    "undo link": is_accepted("undo link", "undo-email-change"),
    '"not me" link': is_accepted('"not me" link', "report-login"),
}

Cells = dict[tuple[str, str], str]


def cells(*tables: list[list[str]]) -> Cells:
    return {
        (row[0], name): cell.strip("*")
        for headings, *rows in tables
        for row in rows
        for name, cell in zip(headings[1:], row[1:], strict=True)
    }


def tried(
    world: World,
    events: Mapping[str, Callable[[World], Any]],
    things: Mapping[str, Callable[[World], bool]],
) -> Cells:
    """What each event ends, of all that was valid before."""
    found = {}
    start, now = State(world.site), world.clock.now

    def restore(state: State) -> None:
        state.restore()
        world.clock.now = now

    valid = []
    for name, is_valid in things.items():
        valid += [name] if is_valid(world.later()) else []
        restore(start)
    assert valid == list(things)
    for event, happen in events.items():
        there = world.later()
        reply = happen(there)
        is_done = reply is None or reply.status_code < 300 or "step" in reply.get_json()
        assert is_done, (event, reply.get_json())
        afterwards = State(world.site)
        for name, is_valid in things.items():
            found[event, name] = "stays" if is_valid(there.later()) else "ends"
            restore(afterwards)
        restore(start)
    return found


@pytest.fixture
def with_rows(new_site: NewSite, clock: Clock) -> World:
    return verified(new_site(login_model=define_login, **SETTINGS), clock)


def differences(page: Cells, found: Cells) -> Cells:
    return {key: found[key] for key in found if page.get(key) not in (found[key], "-")}


def test_each_cell_about_a_verified_account(with_rows: World) -> None:
    page = cells(LOGINS, LINKS)
    found = tried(with_rows, EVENTS, THINGS)
    assert page.keys() == found.keys()
    assert differences(page, found) == {}


def test_a_dash_is_an_event_without_the_session() -> None:
    page = cells(LOGINS, LINKS)
    dashes = {event for (event, _), cell in page.items() if cell == "-"}
    assert {name for (_, name), cell in page.items() if cell == "-"} == {"this session"}
    by_others = {"a password reset", "undoing an e-mail change", "a login by e-mail"}
    by_commands = {event for event in EVENTS if event.startswith("`")}
    assert dashes == by_others | by_commands | {'"This was not me"'}


def test_each_difference_without_a_login_model(new_site: NewSite, clock: Clock) -> None:
    world = verified(new_site(**SETTINGS), clock)
    events = {name: event for name, event in EVENTS.items() if event is not revoke_another}
    page, found = cells(LOGINS, LINKS), tried(world, events, THINGS)
    rows = {
        (event, name): (with_rows, without)
        for event, names, with_rows, without in WITHOUT[1:]
        for name in names.split(", ")
    }
    assert {key: (page[key], found[key]) for key in differences(page, found)} == rows


def test_with_a_fallback_another_key_ends_nothing(with_rows: World) -> None:
    config = with_rows.site.app.config
    config["SECRET_KEY_FALLBACKS"] = [config["SECRET_KEY"]]
    found = tried(with_rows, {"key": another_key}, THINGS)
    assert set(found.values()) == {"stays"}


def test_the_session_that_asked_takes_the_link_of_an_e_mail_change_along(with_rows: World) -> None:
    link = with_rows.links["e-mail change link"]
    with_rows.post("logout", {}, with_rows.this)
    reply = with_rows.post("verify-email", link)
    assert reply.get_json()["code"] == "signature-invalid"


@each_row("event", ["suspend", "delete"])
def test_nothing_is_valid_while_access_is_taken_away(event: str, with_rows: World) -> None:
    world = with_rows
    if event == "suspend":
        world.run("suspend", "alice")
    else:
        assert world.this.delete("/accounts/profile/", json={}).status_code == 202
    state, things = State(world.site), dict(THINGS)
    del things["trusted browser"], things["login challenge"]  # there is no way to log in
    for name, is_valid in things.items():
        assert not is_valid(world.later()), name
        state.restore()


# A pending account

PENDING_EVENTS: dict[str, Callable[[World], Any]] = {
    "asking for another verification e-mail": by_this("resend-verification", login="alice"),
    "another registration with the address": lambda world: world.site.register(
        "carol", email="alice@example.com"
    ),
    "verification by the link": by_link("verification link", "verify-registration"),
    "verification by the code": lambda world: world.post(
        "verify-registration-code", world.given["verification code"]
    ),
    "a password reset": by_link("reset link", "reset-password", **NEW),
    "a login by e-mail": by_link("login link", "login-by-link"),
    "`verify`": by_command("verify", "alice"),
    "`suspend`, then `reactivate`": suspend_and_reactivate,
    "`set-password`": EVENTS["`set-password`"],
}
PENDING_THINGS: dict[str, Callable[[World], bool]] = {
    "verification link": is_accepted("verification link", "verify-registration"),
    "verification code": is_solved("verify-registration-code", "verification code"),
    "link of a second registration": is_accepted(
        "link of a second registration", "reset-password", **NEW
    ),
    "reset link": THINGS["reset link"],
    "login link": THINGS["login link"],
}


def test_each_cell_about_a_pending_account(new_site: NewSite, clock: Clock) -> None:
    site = new_site(login_model=define_login, **SETTINGS)
    world = World(site, clock)
    fields = {"email": "alice@example.com", **NEW}
    world.given["verification code"] = world.ask("register", username="alice", **fields)
    world.links["verification link"] = world.link("register")
    world.ask("register", username="bob", **fields)
    world.links["link of a second registration"] = world.link("register_again")
    world.ask("send-reset-password-link", login="alice")
    world.links["reset link"] = world.link("reset_password")
    world.ask("send-login-link", login="alice")
    world.links["login link"] = world.link("login_link")
    page, found = cells(PENDING), tried(world, PENDING_EVENTS, PENDING_THINGS)
    assert page.keys() == found.keys()
    assert differences(page, found) == {}
