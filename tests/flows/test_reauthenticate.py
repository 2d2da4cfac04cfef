"""Make a login fresh with the password."""

from __future__ import annotations

from typing import Any

import flask_login
import pytest
from flask import session
from flask.testing import FlaskClient

from flask_registration import DEFAULT_FLOWS, actions
from flask_registration.flows import reauthenticate

from ..conftest import Clock
from ..people import (
    accepts,
    account,
    bearer,
    copy_of,
    knows,
    log_in,
    logins,
    token_of,
    with_and_without_login_model,
)
from ..site import PASSWORD, Site
from ..tables import each_row
from ..test_identity import Own, execute, is_fresh
from .common import (
    NOT_AUTHENTICATED,
    OTHER_PASSWORD,
    REAUTHENTICATE,
    NewSite,
    ask_move,
    undo_move,
    verify_email,
)

DONE = {"detail": "Re-authentication successful"}
WRONG = {"password": ["Incorrect password."]}
HOUR = 3600


@pytest.fixture
def make(new_site: NewSite) -> Any:
    """Make an application with the flow, and Alice in it."""

    def make(*args: Any, **settings: Any) -> Site:
        site = new_site(*args, flows=[*DEFAULT_FLOWS, reauthenticate.flow], **settings)
        account(site)
        return site

    return make


def reauthenticate_as(
    site: Site, client: FlaskClient | None = None, password: Any = PASSWORD, **options: Any
) -> Any:
    return site.post("reauthenticate", {"password": password}, client=client, **options)


@with_and_without_login_model
def test_the_password_makes_a_session_fresh(make: NewSite, clock: Clock, login_model: Any) -> None:
    site = make(login_model=login_model)
    client = log_in(site)
    clock.advance(HOUR)
    assert not is_fresh(site, client=client)
    reply = reauthenticate_as(site, client)
    assert (reply.status_code, reply.get_json()) == (200, DONE)
    clock.advance(900)
    assert is_fresh(site, client=client)
    clock.advance(1)
    assert not is_fresh(site, client=client)


@with_and_without_login_model
def test_the_session_has_a_new_id_and_keeps_its_data(
    make: NewSite, clock: Clock, login_model: Any
) -> None:
    site = make(login_model=login_model)

    @site.app.post("/cart")
    def cart() -> str:
        session["cart"] = "a book"
        return ""

    client = log_in(site)
    client.post("/cart")
    before = copy_of(client, "session")
    clock.advance(HOUR)
    assert reauthenticate_as(site, client).status_code == 200
    with before.session_transaction() as old, client.session_transaction() as new:
        assert new["cart"] == "a book"
        if login_model:
            assert new["_user_id"] != old["_user_id"]
    assert knows(site, client)
    assert knows(site, before) is (login_model is None)
    if login_model:
        (row,) = logins(site)
        assert row.methods == "pwd"
    else:
        assert not is_fresh(site, client=before)


@with_and_without_login_model
def test_a_token_is_replaced_by_a_fresh_one(make: NewSite, clock: Clock, login_model: Any) -> None:
    site = make(login_model=login_model, LOGIN_RETRIEVE_TOKEN=True)
    old = token_of(site)
    clock.advance(HOUR)
    reply = reauthenticate_as(site, headers=bearer(old))
    assert reply.get_json().keys() == {"detail", "token"}
    assert "Set-Cookie" not in reply.headers
    assert is_fresh(site, headers=bearer(reply.get_json()["token"]))
    assert accepts(site, old) is (login_model is None)
    if login_model is None:
        assert not is_fresh(site, headers=bearer(old))


@with_and_without_login_model
def test_a_remembered_session_becomes_fresh_and_is_remembered_still(
    make: NewSite, login_model: Any
) -> None:
    site = make(login_model=login_model)
    client = copy_of(log_in(site, remember=True), "remember_token")
    assert knows(site, client)
    assert not is_fresh(site, client=client)
    assert reauthenticate_as(site, client).status_code == 200
    assert is_fresh(site, client=client)
    assert knows(site, copy_of(client, "remember_token"))


@with_and_without_login_model
def test_a_session_from_another_browser_becomes_fresh_there(
    make: NewSite, login_model: Any
) -> None:
    site = make(login_model=login_model)
    client = log_in(site)
    elsewhere = {"User-Agent": "another browser"}
    assert not is_fresh(site, client=client, headers=elsewhere)
    assert reauthenticate_as(site, client, headers=elsewhere).status_code == 200
    assert is_fresh(site, client=client, headers=elsewhere)


# Refusals


@each_row(
    ("body", "says"),
    [
        ({"password": "not the password"}, WRONG),
        ({"password": f"{PASSWORD} "}, WRONG),
        ({}, {"password": ["This field is required."]}),
        ({"password": None}, {"password": ["This field may not be null."]}),
        ({"password": "x" * 300}, {"password": ["Use at most 256 characters."]}),
    ],
)
@with_and_without_login_model
def test_without_the_password_nothing_changes(
    make: NewSite, clock: Clock, login_model: Any, body: dict[str, Any], says: dict[str, Any]
) -> None:
    site = make(login_model=login_model)
    client = log_in(site)
    clock.advance(HOUR)
    reply = site.post("reauthenticate", body, client=client)
    assert (reply.status_code, reply.get_json()) == (400, says)
    assert "Set-Cookie" not in reply.headers
    assert not is_fresh(site, client=client)
    assert knows(site, client)


@with_and_without_login_model
def test_a_token_renews_itself_by_no_request_without_a_credential(
    make: NewSite, clock: Clock, login_model: Any
) -> None:
    site = make(login_model=login_model, LOGIN_RETRIEVE_TOKEN=True)
    token = token_of(site)
    clock.advance(HOUR)
    for body in ({}, {"token": token}, {"password": token}, {"code": "123456"}):
        reply = site.post("reauthenticate", body, headers=bearer(token))
        assert reply.status_code == 400
        assert "token" not in reply.get_json()
    assert not is_fresh(site, headers=bearer(token))


def test_a_refusal_is_in_the_security_log(make: NewSite, security_log: list[Any]) -> None:
    site = make()
    client = log_in(site)
    reauthenticate_as(site, client, "wrong")
    assert security_log[-1].event == "authn_reauthentication_fail"


def test_the_password_is_that_of_the_account_that_asks(make: NewSite) -> None:
    site = make()
    account(site, "bob", password=OTHER_PASSWORD)
    assert reauthenticate_as(site, log_in(site), OTHER_PASSWORD).get_json() == WRONG


def test_nobody_without_a_login_learns_anything(make: NewSite) -> None:
    site = make()
    for password in (PASSWORD, "wrong"):
        reply = reauthenticate_as(site, password=password)
        assert (reply.status_code, reply.get_json()) == (401, NOT_AUTHENTICATED)


@with_and_without_login_model
def test_a_suspended_account_is_not_logged_in(
    make: NewSite, login_model: Any, sqlite_url: str
) -> None:
    site = make(sqlite_url, login_model=login_model, LOGIN_RETRIEVE_TOKEN=True)
    client, token = log_in(site), token_of(site)
    execute(site, "UPDATE users SET is_active = false")
    for options in ({"client": client}, {"headers": bearer(token)}):
        assert reauthenticate_as(site, **options).get_json() == NOT_AUTHENTICATED


@with_and_without_login_model
def test_a_new_password_at_the_same_moment_ends_the_new_login(
    make: NewSite, login_model: Any, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make(sqlite_url, login_model=login_model, LOGIN_RETRIEVE_TOKEN=True)
    client, token = log_in(site), token_of(site)
    passwords = site.app.extensions["registration"].passwords
    verify = type(passwords).verify

    def slow(*args: Any) -> Any:
        found = verify(*args)
        execute(site, "UPDATE users SET security_stamp = :stamp", stamp="0" * 32)
        return found

    monkeypatch.setattr(type(passwords), "verify", slow)
    new = reauthenticate_as(site, headers=bearer(token)).get_json()["token"]
    assert not accepts(site, new)
    reauthenticate_as(site, client)
    assert not knows(site, client)


def test_after_an_undo_of_an_e_mail_change_no_password_is_right(make: NewSite) -> None:
    site = make()
    client = log_in(site)
    link = ask_move(site, client, "new@example.com")
    assert verify_email(site, link, client).status_code == 200
    undo = site.link()
    assert undo_move(site, undo).status_code == 200
    with site.app.test_request_context():
        user = site.db.session.scalars(site.db.select(site.User)).one()
        state = site.app.extensions["registration"]
        state.sessions.login(user, fresh=True)
        state.commit()
        content = dict(session)
    with client.session_transaction() as stored:
        stored.update(content)
    assert knows(site, client)
    for password in (PASSWORD, "!revoked", "!"):
        assert reauthenticate_as(site, client, password).get_json() == WRONG
    assert not is_fresh(site, client=client)


def test_guesses_are_limited_per_account(make: NewSite) -> None:
    site = make(THROTTLES={}, config={"RATELIMIT_ENABLED": True})
    clients = [log_in(site), log_in(site)]
    statuses = [
        reauthenticate_as(
            site, clients[n % 2], "wrong", environ_base={"REMOTE_ADDR": f"192.0.2.{n}"}
        ).status_code
        for n in range(11)
    ]
    assert statuses == [400] * 10 + [429]
    assert reauthenticate_as(site, clients[0]).status_code == 429


# Other ways to log in


def test_a_user_whom_a_loader_of_the_application_has_found_gets_no_session(
    new_site: NewSite,
) -> None:
    own = Own()
    site = new_site(before=own, flows=[*DEFAULT_FLOWS, reauthenticate.flow])
    own.set_loaders(site)
    account(site)
    client = site.app.test_client()
    assert reauthenticate_as(site, client, headers={"X-Name": "alice"}).status_code == 200
    assert client.get_cookie("session") is None
    assert not is_fresh(site, client=client, headers={"X-Name": "alice"})


def test_a_session_that_the_application_has_opened_becomes_fresh(make: NewSite) -> None:
    site = make()

    @site.app.post("/log-in")
    def log_in_by_other_means() -> str:
        flask_login.login_user(site.db.session.scalars(site.db.select(site.User)).one())
        return ""

    client = site.app.test_client()
    client.post("/log-in")
    assert client.delete("/accounts/profile/").get_json() == REAUTHENTICATE
    assert reauthenticate_as(site, client).status_code == 200
    assert is_fresh(site, client=client)


def test_the_action_does_the_same(make: NewSite, clock: Clock) -> None:
    site = make()

    @site.app.post("/sudo/<password>")
    def sudo(password: str) -> dict[str, Any]:
        return actions.reauthenticate(password)

    client = log_in(site)
    clock.advance(HOUR)
    assert client.post(f"/sudo/{PASSWORD}").get_json() == {}
    assert is_fresh(site, client=client)


def test_without_the_flow_there_is_no_such_endpoint(site: Site) -> None:
    account(site)
    assert reauthenticate_as(site, log_in(site)).status_code == 404
