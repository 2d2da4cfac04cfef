"""A whole life of an account, as a front end for django-rest-registration drives it."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from flask_registration import (
    mail_failed,
    user_activated,
    user_changed_email,
    user_changed_password,
    user_deleted,
    user_logged_in,
    user_logged_out,
    user_login_failed,
    user_registered,
    user_reset_password,
)

from ..conftest import Clock
from ..site import PASSWORD, Site, html_of, text_of, whole
from ..tables import each_row
from .common import (
    BOTH_KINDS_OF_SESSION,
    OTHER_PASSWORD,
    NewSite,
    ask_move,
    ask_reset,
    forged,
    forget_mails,
    is_in,
    log_in,
    mails,
    member,
    move,
    row,
)

SIGNALS = [
    user_registered,
    user_activated,
    user_changed_email,
    user_logged_in,
    user_login_failed,
    user_logged_out,
    user_changed_password,
    user_reset_password,
    user_deleted,
    mail_failed,
]


@pytest.mark.databases
@BOTH_KINDS_OF_SESSION
def test_a_whole_life(
    database: str, new_site: NewSite, clock: Clock, sessions: dict[str, Any]
) -> None:
    site = new_site(database, **sessions)
    laptop, phone = site.app.test_client(), site.app.test_client()
    with site.hears(*SIGNALS) as heard:
        reply = site.post(
            "register",
            {
                "username": "alice",
                "email": "alice@example.com",
                "first_name": "Alice",
                "password": PASSWORD,
                "password_confirm": PASSWORD,
            },
            client=laptop,
        )
        assert (reply.status_code, reply.get_json()["username"]) == (201, "alice")
        reply = site.post("login", {"login": "alice", "password": PASSWORD}, client=laptop)
        assert (reply.status_code, reply.get_json()["code"]) == (400, "login-invalid")
        reply = site.post("verify-registration", site.link(), client=laptop)
        assert (reply.status_code, reply.get_json()) == (
            200,
            {"detail": "User verified successfully"},
        )
        assert not is_in(laptop)
        for client in (laptop, phone):
            reply = site.post("login", {"login": "alice", "password": PASSWORD}, client=client)
            assert (reply.status_code, reply.get_json()) == (200, {"detail": "Login successful"})
        profile = laptop.get("/accounts/profile/").get_json()
        assert (profile["email"], profile["first_name"]) == ("alice@example.com", "Alice")
        reply = laptop.patch("/accounts/profile/", json={"first_name": "Al"})
        assert (reply.status_code, reply.get_json()) == (200, {**profile, "first_name": "Al"})
        body = {
            "old_password": PASSWORD,
            "password": OTHER_PASSWORD,
            "password_confirm": OTHER_PASSWORD,
        }
        reply = site.post("change-password", body, client=laptop)
        assert (reply.status_code, reply.get_json()) == (
            200,
            {"detail": "Password changed successfully"},
        )
        assert (is_in(laptop), is_in(phone)) == (True, False)
        reply = site.post("register-email", {"email": "new@example.com"}, client=laptop)
        assert (reply.status_code, reply.get_json()) == (
            200,
            {"detail": "An e-mail to confirm your new e-mail address is on its way"},
        )
        reply = site.post("verify-email", site.link(), client=laptop)
        assert (reply.status_code, reply.get_json()) == (
            200,
            {"detail": "E-mail address verified successfully"},
        )
        assert laptop.get("/accounts/profile/").get_json()["email"] == "new@example.com"
        log_in(site, password=OTHER_PASSWORD, client=phone)
        assert site.post("logout", {}, client=laptop).get_json() == {"detail": "Logout successful"}
        assert (is_in(laptop), is_in(phone)) == (False, True)
        clock.advance(60)
        reply = site.post("send-reset-password-link", {"login": "alice"}, client=laptop)
        assert reply.get_json() == {
            "detail": "If this account exists, an e-mail to reset the password is on its way"
        }
        reply = site.post("reset-password", {**site.link(), "password": PASSWORD}, client=laptop)
        assert (reply.status_code, reply.get_json()) == (
            200,
            {"detail": "Password reset successful"},
        )
        assert not is_in(phone)
        assert site.post("login", {"login": "alice", "password": OTHER_PASSWORD}).status_code == 400
        log_in(site, client=laptop)
        clock.advance(3600)
        assert laptop.delete("/accounts/profile/").status_code == 401
        reply = laptop.delete("/accounts/profile/", json={"password": PASSWORD})
        assert (reply.status_code, reply.get_data()) == (204, b"")
        assert not is_in(laptop)
        assert (
            site.post("login", {"login": "alice", "password": PASSWORD}).get_json()["code"]
            == "login-invalid"
        )
    assert site.users() == []
    assert [each["signal"] for each in heard] == [
        "user-registered",
        "user-login-failed",
        "user-activated",
        "user-logged-in",
        "user-logged-in",
        "user-changed-password",
        "user-changed-email",
        "user-logged-in",
        "user-logged-out",
        "user-reset-password",
        "user-login-failed",
        "user-logged-in",
        "user-deleted",
        "user-login-failed",
    ]
    assert mails(site) == [
        ("alice@example.com", "Confirm your e-mail address for example.com"),
        ("alice@example.com", "Your password for example.com was changed"),
        ("alice@example.com", "Someone asked to change your e-mail address for example.com"),
        ("new@example.com", "Confirm your new e-mail address for example.com"),
        ("alice@example.com", "Your e-mail address for example.com was changed"),
        ("new@example.com", "Choose a new password for example.com"),
        ("new@example.com", "Your password for example.com was changed"),
        ("new@example.com", "Your example.com account was deleted"),
    ]


# A link is for one thing, and of one application


ENDPOINTS = ["verify-registration", "reset-password", "verify-email", "undo-email-change"]


def links(site: Site) -> dict[str, dict[str, str]]:
    """A valid link of each kind, for one account, which is pending where that is possible."""
    found = {}
    site.register("pending")
    found["verify-registration"] = site.link()
    member(site)
    client = log_in(site)
    found["undo-email-change"] = move(site, client, "moved@example.com")
    found["verify-email"] = ask_move(site, client, "new@example.com")
    found["reset-password"] = ask_reset(site)
    return found


@pytest.fixture(
    params=[{}, {"RESET_PASSWORD_VERIFICATION_ONE_TIME_USE": False}], ids=["", "reset again"]
)
def linked(request: pytest.FixtureRequest, new_site: NewSite) -> Site:
    return new_site(MAIL_LIMITS=None, **request.param)


@each_row("kind", ENDPOINTS)
@each_row("endpoint", ENDPOINTS)
def test_a_link_of_one_kind_works_at_no_other_endpoint(
    linked: Site, kind: str, endpoint: str
) -> None:
    found = links(linked)
    body = {"email": "moved@example.com", **found[kind], "password": OTHER_PASSWORD}
    before = [row(linked, id=user.id) for user in linked.users()]
    reply = linked.post(endpoint, body)
    if kind == endpoint:
        assert reply.status_code == 200
        return
    assert whole(reply) == forged(linked, endpoint, password=OTHER_PASSWORD)
    for email in ("alice@example.com", "new@example.com", "pending@example.com"):
        assert whole(linked.post(endpoint, {**body, "email": email})) == whole(reply)
    assert [row(linked, id=user.id) for user in linked.users()] == before


@each_row("endpoint", ENDPOINTS)
@each_row("part", ["user_id", "email", "timestamp", "signature"])
def test_two_good_links_with_their_parts_swapped_are_forged_ones(
    site: Site, clock: Clock, endpoint: str, part: str
) -> None:
    ours = links(site)[endpoint]
    clock.advance(7)
    if endpoint == "verify-registration":
        forget_mails(site)
        site.register("bob")
        theirs = site.link()
    else:
        member(site, "bob")
        client = log_in(site, "bob")
        moved = move(site, client, "bob2@example.com")
        asked = ask_move(site, client, "bob3@example.com")
        theirs = {
            "undo-email-change": moved,
            "verify-email": asked,
            "reset-password": {} if endpoint != "reset-password" else ask_reset(site, "bob"),
        }[endpoint]
    if part not in ours:
        return
    before = [row(site, id=user.id) for user in site.users()]
    for link in ({**ours, part: theirs[part]}, {**theirs, part: ours[part]}):
        assert whole(site.post(endpoint, {**link, "password": OTHER_PASSWORD})) == forged(
            site, endpoint, password="x"
        )
    assert [row(site, id=user.id) for user in site.users()] == before


@each_row("endpoint", ENDPOINTS)
def test_a_link_of_another_application_with_the_same_key_is_a_forged_one(
    new_site: NewSite, endpoint: str
) -> None:
    here, there = new_site(MAIL_LIMITS=None), new_site(MAIL_LIMITS=None)
    links(here)
    link = links(there)[endpoint]
    assert here.user(id=link["user_id"]) is not None
    if endpoint == "verify-registration":  # the address alone tells them apart, and the stamp
        assert (
            here.user(id=link["user_id"]).security_stamp
            != there.user(id=link["user_id"]).security_stamp
        )
    reply = here.post(endpoint, {**link, "password": OTHER_PASSWORD})
    assert whole(reply) == forged(here, endpoint, password=OTHER_PASSWORD)


@each_row("endpoint", ENDPOINTS)
@each_row(
    "change",
    [
        {"user_id": "4711"},
        {"user_id": "-1"},
        {"user_id": "9" * 30},
        {"user_id": "１"},
        {"user_id": "1.0"},
        {"user_id": True},
        {"user_id": 1.9},
        {"user_id": ["1"]},
        {"user_id": {"id": 1}},
        {"timestamp": "0"},
        {"timestamp": "-1"},
        {"timestamp": "9" * 30},
        {"timestamp": "1e9"},
        {"timestamp": 10**30},
        {"signature": "x" * 513},
        {"signature": "é"},
        {"signature": "\0"},
        {"signature": "\ud800"},
        {"email": "\0"},
        {"email": "x" * 10_000},
    ],
    ids=lambda change: repr(change)[:40],
)
def test_whatever_else_is_wrong_with_a_link_it_is_a_forged_one(
    site: Site, endpoint: str, change: dict[str, Any]
) -> None:
    link = links(site)[endpoint]
    if change.keys() <= link.keys():
        expected = forged(site, endpoint, password=OTHER_PASSWORD)
        assert (
            whole(site.post(endpoint, {**link, **change, "password": OTHER_PASSWORD})) == expected
        )


@each_row("endpoint", ENDPOINTS)
def test_a_link_dies_with_its_key_and_lives_on_under_a_fallback(site: Site, endpoint: str) -> None:
    link = {**links(site)[endpoint], "password": OTHER_PASSWORD}
    old = site.app.config["SECRET_KEY"]
    site.app.config.update(
        SECRET_KEY="a new key of the tests, as long", SECRET_KEY_FALLBACKS=["another one"]
    )
    assert whole(site.post(endpoint, link)) == forged(site, endpoint, password=OTHER_PASSWORD)
    site.app.config["SECRET_KEY_FALLBACKS"] = ["another one", old]
    assert site.post(endpoint, link).status_code == 200


@each_row("endpoint", ENDPOINTS)
@each_row("method", ["GET", "HEAD"])
def test_opening_it_changes_nothing(site: Site, method: str, endpoint: str) -> None:
    link = links(site)[endpoint]
    before = [row(site, id=user.id) for user in site.users()]
    site.app.test_client().open(f"/accounts/{endpoint}/", method=method, query_string=link)
    assert [row(site, id=user.id) for user in site.users()] == before
    assert site.post(endpoint, {**link, "password": OTHER_PASSWORD}).status_code == 200


# No secret anywhere


CANARIES = [f"canary {number} of the flock sings at night" for number in range(4)]


@BOTH_KINDS_OF_SESSION
def test_no_password_hash_stamp_or_token_is_in_a_mail_a_reply_a_log_or_a_signal(
    new_site: NewSite,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    security_log: list[logging.LogRecord],
    sessions: dict[str, Any],
) -> None:
    caplog.set_level(logging.DEBUG)
    site = new_site(LOGIN_RETRIEVE_TOKEN=True, MAIL_LIMITS=None, **sessions)
    replies: list[bytes] = []
    secrets: set[str] = set(CANARIES)
    tokens: set[str] = set()

    def ask(endpoint: str, body: dict[str, Any], client: Any = None) -> Any:
        reply = site.post(endpoint, body, client=client)
        headers = str(
            [(name, value) for name, value in reply.headers if name != "Set-Cookie"]
        ).encode()
        text = reply.get_data() + headers
        if endpoint == "login" and reply.status_code == 200:
            tokens.add(reply.get_json()["token"])
            text = text.replace(reply.get_json()["token"].encode(), b"")
        replies.append(text)
        for user in site.users():
            secrets.update({user.password_hash, user.security_stamp})
        return reply

    one, two, three, four = CANARIES
    with site.hears(*SIGNALS) as heard:
        site.register("alice", password=one)
        ask("verify-registration", site.link())
        client = site.app.test_client()
        assert ask("login", {"login": "alice", "password": one}, client).status_code == 200
        ask("login", {"login": "alice", "password": four})
        ask(
            "change-password",
            {"old_password": four, "password": two, "password_confirm": two},
            client,
        )
        ask(
            "change-password",
            {"old_password": one, "password": two, "password_confirm": four},
            client,
        )
        change = {"old_password": one, "password": two, "password_confirm": two}
        assert ask("change-password", change, client).status_code == 200
        assert (
            ask("register-email", {"email": "new@example.com", "password": two}, client).status_code
            == 200
        )
        ask("register-email", {"email": "new@example.com", "password": four}, client)
        ask("verify-email", site.link(), client)
        ask("undo-email-change", site.link(), client)
        ask("send-reset-password-link", {"login": "alice"})
        link = site.link()
        ask("reset-password", {**link, "signature": "forged", "password": three})
        assert ask("reset-password", {**link, "password": three}).status_code == 200
        monkeypatch.setattr(site.app.extensions["registration"].mailer, "send", _no_mail)
        ask("send-reset-password-link", {"login": "alice"})
        monkeypatch.undo()
        for token in (*tokens, four):
            site.app.test_client().get(
                "/accounts/profile/", headers={"Authorization": f"Bearer {token}"}
            )
        client = site.app.test_client()
        ask("login", {"login": "alice", "password": three}, client)
        assert client.delete("/accounts/profile/", json={"password": three}).status_code == 204
    ask(
        "login", {"login": four, "password": one}
    )  # not heard: receivers are told what was typed, the log is not
    in_mails = [words for number in range(len(site.outbox)) for words in _words(site, number)]
    told = [repr(each) + repr(each["user"]) + str(each["user"]) for each in heard]
    everything = {
        "a mail": "\n".join(in_mails),
        "a reply": b"\n".join(replies).decode(),
        "the log": caplog.text,
        "the security log": "\n".join(str(vars(entry)) for entry in security_log),
        "a signal": "\n".join(told),
    }
    assert len(heard) >= 11
    assert len(in_mails) >= 10
    assert tokens
    written = {entry.__dict__["event"] for entry in security_log}
    assert {
        "authn_link_refused",
        "authn_token_refused",
        "authn_login_fail",
        "sys_mail_failed",
    } < written
    for place, text in everything.items():
        assert [secret for secret in (*secrets, *tokens) if secret in text] == [], place
    signatures = [
        site.link(number)["signature"]
        for number in range(len(site.outbox))
        if "signature" in text_of(site.read(number))
    ]
    assert signatures
    for place in ("a reply", "the log", "the security log", "a signal"):
        assert [signature for signature in signatures if signature in everything[place]] == [], (
            place
        )


def _no_mail(*_: Any, **__: Any) -> None:
    raise OSError("the mail server's own trouble")


def _words(site: Site, number: int) -> list[str]:
    mail = site.read(number)
    return [str(mail["Subject"]), text_of(mail), html_of(mail)]
