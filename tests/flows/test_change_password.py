"""Replace a known password."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import String
from sqlalchemy.orm import mapped_column

from flask_registration import user_changed_password, user_reset_password

from ..conftest import Clock
from ..site import PASSWORD, Site, html_of, links_of, own_model, text_of
from ..tables import each_row
from .common import (
    BOTH_KINDS_OF_SESSION,
    LINK_INVALID,
    NOT_AUTHENTICATED,
    OTHER_PASSWORD,
    NewSite,
    ask_move,
    ask_reset,
    bearer,
    changed,
    forget_mails,
    has_password,
    is_in,
    log_in,
    mails,
    member,
    move,
    row,
    token_of,
)

CHANGED = {"detail": "Password changed successfully"}
NOTICE = ("alice@example.com", "Your password for example.com was changed")


def change(
    site: Site,
    client: FlaskClient | None = None,
    headers: dict[str, str] | None = None,
    **body: Any,
) -> Any:
    """Change the password; ``None`` leaves a field out."""
    given = {"old_password": PASSWORD, "password": OTHER_PASSWORD, **body}
    given = {"password_confirm": given["password"], **given}
    given = {name: value for name, value in given.items() if value is not None}
    return site.post("change-password", given, client=client, headers=headers)


def test_a_change_writes_the_hash_and_the_stamp_tells_the_owner_and_announces_it(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database)
    member(site)
    client = log_in(site)
    before = row(site, username="alice")
    with site.hears(user_changed_password, user_reset_password) as heard:
        reply = change(site, client)
    assert (reply.status_code, reply.get_json()) == (200, CHANGED)
    assert reply.headers["Cache-Control"] == "no-store"
    assert changed(before, row(site, username="alice")) == {"password_hash", "security_stamp"}
    assert [(each["signal"], each["user"].username, each["request"].path) for each in heard] == [
        ("user-changed-password", "alice", "/accounts/change-password/")
    ]
    assert mails(site) == [NOTICE]
    assert (has_password(site, PASSWORD), has_password(site, OTHER_PASSWORD)) == (False, True)


def test_nobody_changes_a_password_without_being_logged_in(site: Site) -> None:
    member(site)
    reply = change(site)
    assert (reply.status_code, reply.get_json()) == (401, NOT_AUTHENTICATED)
    assert "WWW-Authenticate" in reply.headers
    assert has_password(site, PASSWORD)


@each_row(
    ("body", "complaints"),
    [
        pytest.param(
            {"old_password": "wrong"},
            {"old_password": ["Incorrect password."]},
            id="a wrong old one",
        ),
        pytest.param(
            {"old_password": PASSWORD + " "},
            {"old_password"},
            id="an old one with a space too many",
        ),
        pytest.param(
            {"old_password": None}, {"old_password": ["This field is required."]}, id="no old one"
        ),
        pytest.param(
            {"old_password": ""},
            {"old_password": ["This field may not be blank."]},
            id="an empty old one",
        ),
        pytest.param({"old_password": "x" * 257}, {"old_password"}, id="an overlong old one"),
        pytest.param({"old_password": 7}, {"old_password"}, id="a number for the old one"),
        pytest.param({"old_password": "a\0b"}, {"old_password"}, id="a NUL in the old one"),
        pytest.param({"password": "seven77"}, {"password"}, id="a short new one"),
        pytest.param({"password": "password1"}, {"password"}, id="a new one that everybody has"),
        pytest.param(
            {"password": "alice@example.com"}, {"password"}, id="the address as the new one"
        ),
        pytest.param(
            {"password": "x" * 257}, {"password", "password_confirm"}, id="an overlong new one"
        ),
        pytest.param(
            {"password": "\ud800" * 20},
            {"password", "password_confirm"},
            id="half a surrogate pair",
        ),
        pytest.param({"password": ""}, {"password", "password_confirm"}, id="an empty new one"),
        pytest.param({"password_confirm": ""}, {"password_confirm"}, id="an empty confirmation"),
        pytest.param(
            {"password_confirm": OTHER_PASSWORD + "!"},
            {"password_confirm": ["The two passwords do not match."]},
            id="two new ones that differ",
        ),
    ],
)
def test_what_will_not_do_is_refused_and_everything_stays(
    site: Site, body: dict[str, Any], complaints: set[str] | dict[str, Any]
) -> None:
    member(site)
    client, elsewhere = log_in(site), log_in(site)
    before = row(site, username="alice")
    with site.hears(user_changed_password) as heard:
        reply = change(site, client, **body)
    assert (reply.status_code, set(reply.get_json())) == (400, set(complaints))
    assert not isinstance(complaints, dict) or reply.get_json() == complaints
    assert row(site, username="alice") == before
    assert (site.outbox, heard) == ([], [])
    assert is_in(client)
    assert is_in(elsewhere)


@each_row("confirm", [True, False], ids=["with a confirmation", "without one"])
def test_whether_it_is_typed_twice_is_a_setting(new_site: NewSite, confirm: bool) -> None:
    site = new_site(CHANGE_PASSWORD_SCHEMA_PASSWORD_CONFIRM=confirm)
    member(site)
    body = {"old_password": PASSWORD, "password": OTHER_PASSWORD}
    reply = site.post("change-password", body, client=log_in(site))
    assert reply.status_code == (400 if confirm else 200)
    assert not confirm or reply.get_json() == {"password_confirm": ["This field is required."]}


def test_an_accent_typed_in_two_ways_is_the_same_password(site: Site) -> None:
    member(site)
    reply = change(site, log_in(site), password="caf\u00e9 und sonst sieben Dinge")
    assert reply.status_code == 200
    assert has_password(site, "cafe\u0301 und sonst sieben Dinge")


# What ends, and what goes on


@pytest.mark.databases
@BOTH_KINDS_OF_SESSION
def test_every_other_session_and_token_ends_and_this_session_goes_on_under_a_new_cookie(
    database: str, new_site: NewSite, sessions: dict[str, Any]
) -> None:
    site = new_site(database, LOGIN_RETRIEVE_TOKEN=True, **sessions)
    member(site)
    member(site, "bob")
    client, elsewhere, token, bob = log_in(site), log_in(site), token_of(site), log_in(site, "bob")
    old = client.get_cookie("session")
    reply = change(site, client)
    new = client.get_cookie("session")
    assert reply.get_json() == CHANGED  # no token: none came
    assert old is not None
    assert new is not None
    assert old.value != new.value
    copied = site.app.test_client()
    copied.set_cookie("session", old.value)
    assert (is_in(client), is_in(bob)) == (True, True)
    assert (is_in(elsewhere), is_in(copied), is_in(site.app.test_client(), token)) == (
        False,
        False,
        False,
    )


@BOTH_KINDS_OF_SESSION
def test_a_client_with_a_token_gets_a_new_one(
    database: str, new_site: NewSite, sessions: dict[str, Any]
) -> None:
    site = new_site(
        database, LOGIN_RETRIEVE_TOKEN=True, LOGIN_AUTHENTICATE_SESSION=False, **sessions
    )
    member(site)
    token, other, client = token_of(site), token_of(site), site.app.test_client()
    reply = change(site, client, headers=token)
    assert reply.status_code == 200
    assert set(reply.get_json()) == {"detail", "token"}
    assert is_in(client, bearer(reply.get_json()["token"]))
    assert (is_in(client, token), is_in(client, other)) == (False, False)
    assert "Set-Cookie" not in reply.headers


def test_a_remembered_browser_is_remembered_under_a_new_cookie_and_others_are_forgotten(
    site: Site,
) -> None:
    member(site)
    clients = [site.app.test_client() for _ in range(2)]
    for client in clients:
        site.post(
            "login", {"login": "alice", "password": PASSWORD, "remember": True}, client=client
        )
    client, elsewhere = clients
    assert change(site, client).status_code == 200
    elsewhere.delete_cookie("session")
    assert not is_in(elsewhere)
    assert is_in(client)


@BOTH_KINDS_OF_SESSION
def test_the_session_that_goes_on_is_as_fresh_as_it_was(
    new_site: NewSite, clock: Clock, sessions: dict[str, Any]
) -> None:
    site = new_site(**sessions)
    member(site)
    client = log_in(site)

    def ask(email: str) -> int:
        return site.post("register-email", {"email": email}, client=client).status_code

    clock.advance(14 * 60)
    assert change(site, client).status_code == 200
    clock.advance(60)
    assert ask("new@example.com") == 200
    clock.advance(1)
    assert ask("other@example.com") == 401
    body = {"old_password": OTHER_PASSWORD, "password": PASSWORD, "password_confirm": PASSWORD}
    assert site.post("change-password", body, client=client).status_code == 200
    assert ask("other@example.com") == 401


def test_links_that_were_mailed_before_are_dead_and_the_one_that_undoes_a_move_lives(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database)
    member(site)
    client = log_in(site)
    undo = move(site, client, "new@example.com")
    moving, reset = ask_move(site, client, "newer@example.com"), ask_reset(site)
    assert change(site, client).status_code == 200
    for endpoint, link in (("reset-password", reset), ("verify-email", moving)):
        reply = site.post(endpoint, {**link, "password": "yet another heap of words"})
        assert (endpoint, reply.status_code, reply.get_json()) == (endpoint, 400, LINK_INVALID)
    assert site.user(username="alice").email == "new@example.com"
    assert site.post("undo-email-change", undo).status_code == 200
    assert site.user(username="alice").email == "alice@example.com"


def test_a_suspension_that_lands_during_the_change_stands(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = member(site)
    client = log_in(site)
    passwords = site.app.extensions["registration"].passwords
    hash_it = type(passwords).hash

    def slow(self: Any, password: str) -> str:
        site.change(user, is_active=False)
        return str(hash_it(self, password))

    monkeypatch.setattr(type(passwords), "hash", slow)
    reply = change(site, client)
    assert (reply.status_code, reply.get_json()) == (401, NOT_AUTHENTICATED)
    after = site.user(username="alice")
    assert (after.is_active, after.password_hash) == (False, user.password_hash)


# The notice


def test_the_notice_says_nothing_secret_and_has_no_link(site: Site) -> None:
    member(site)
    change(site, log_in(site))
    mail = site.read()
    assert links_of(mail) == []
    for words in (text_of(mail), html_of(mail)):
        assert "was just changed" in words
        assert PASSWORD not in words
        assert OTHER_PASSWORD not in words
        assert "$argon2id$" not in words


def test_the_notice_can_be_switched_off(new_site: NewSite) -> None:
    site = new_site(PASSWORD_NOTICE_ENABLED=False)
    member(site)
    assert change(site, log_in(site)).status_code == 200
    assert site.outbox == []


def test_the_notice_leaves_though_another_mail_has_just_gone_to_the_address(
    site: Site, clock: Clock
) -> None:
    """Nobody may silence it by asking for other mails first."""
    member(site)
    client = log_in(site)
    ask_reset(site)
    site.outbox.clear()
    change(site, client)
    change(site, client, old_password=OTHER_PASSWORD, password=PASSWORD)
    assert mails(site) == [NOTICE, NOTICE]


def test_an_account_without_an_address_gets_none(new_site: NewSite) -> None:
    nullable = own_model(email=lambda: mapped_column(String(254), unique=True))
    site = new_site(define=nullable, REGISTER_VERIFICATION_ENABLED=False)
    member(site, email=None)
    assert change(site, log_in(site)).status_code == 200
    assert site.outbox == []
    assert has_password(site, OTHER_PASSWORD)


def _no_mail(*_: Any, **__: Any) -> None:
    raise OSError("the mail server's own trouble")


def test_a_failing_mail_server_does_not_hinder_it(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    member(site)
    client = log_in(site)
    monkeypatch.setattr(site.app.extensions["registration"].mailer, "send", _no_mail)
    assert change(site, client).status_code == 200
    assert is_in(client)
    assert has_password(site, OTHER_PASSWORD)
    assert "password_changed" in caplog.text


@BOTH_KINDS_OF_SESSION
def test_with_inline_mail_a_failure_keeps_the_old_password_and_every_session(
    new_site: NewSite, monkeypatch: pytest.MonkeyPatch, sessions: dict[str, Any]
) -> None:
    """A 503 says that nothing was changed, and the client may simply try again."""
    site = new_site(MAIL_DISPATCHER="inline", **sessions)
    member(site)
    client, elsewhere = log_in(site), log_in(site)
    before = row(site, username="alice")
    monkeypatch.setattr(site.app.extensions["registration"].mailer, "send", _no_mail)
    with site.hears(user_changed_password) as heard:
        reply = change(site, client)
    assert (reply.status_code, reply.get_json()["code"]) == (503, "mail-unavailable")
    assert (row(site, username="alice"), heard) == (before, [])
    assert is_in(elsewhere)
    assert is_in(client)
    monkeypatch.undo()
    forget_mails(site)
    assert change(site, client).status_code == 200


def test_a_model_without_a_stamp_ends_the_others_by_the_hash(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database, define=own_model())
    member(site)
    client, elsewhere = log_in(site), log_in(site)
    assert change(site, client).status_code == 200
    assert (is_in(client), is_in(elsewhere)) == (True, False)
