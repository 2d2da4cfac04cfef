"""Approval: an account waits for an administrator before its first login."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import flask_login
import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask.cli import ScriptInfo
from flask.testing import FlaskClient
from sqlalchemy import Boolean, Integer, String
from sqlalchemy.orm import mapped_column
from werkzeug.test import TestResponse

from flask_registration import (
    DEFAULT_FLOWS,
    ApprovalMixin,
    ConfigurationError,
    ForeignLogin,
    NotApproved,
    UserMixin,
    actions,
    user_activated,
    user_approved,
    user_deleted,
    user_logged_in,
    user_login_failed,
    user_registered,
    user_rejected,
)
from flask_registration.cli.base import registration_cli
from flask_registration.errors import AdministrationError
from flask_registration.flows import (
    approval,
    mail_login,
    second_factor,
    sign_up,
    verification_redirects,
)
from flask_registration.http.accounts import delete_pending
from flask_registration.users.mixins import utc_now

from ..conftest import Clock
from ..faults.test_interleaved import after_read
from ..people import (
    LOGIN_INVALID,
    NOT_AUTHENTICATED,
    account,
    define_login,
    knows,
    logins,
    token_of,
)
from ..site import PASSWORD, Site, define, html_of, links_of, text_of, whole
from ..tables import each_row
from ..test_steps import AT_ONCE, define_challenge, word_flow
from ..test_tokens import MemoryTokens
from .common import (
    LINK_EXPIRED,
    LINK_INVALID,
    OTHER_PASSWORD,
    NewSite,
    ask_reset,
    at_once,
    has_password,
    log_in,
    mails,
)
from .test_verification_redirects import Form

BOSS = "boss@example.com"
FLOWS = [*DEFAULT_FLOWS, sign_up.flow, approval.flow]
WAITING = {
    "detail": "Your account is waiting for approval. "
    "You will receive an e-mail when you can log in.",
    "code": "not-approved",
}
SAVED = {"detail": "Your decision was saved."}
NOT_ALLOWED = {"detail": "You are not allowed to do this.", "code": "not-allowed"}
NOT_FOUND = {
    "detail": "This sign-up is not waiting for approval.",
    "code": "not-found",
}
REQUEST = "A new account at example.com is waiting for approval"
APPROVED = "Your account at example.com was approved"
REJECTED = "Your sign-up for example.com was not approved"

define_user = define(ApprovalMixin, UserMixin)


@pytest.fixture
def make(new_site: NewSite) -> Any:
    """Make an application whose accounts wait for approval."""

    def make(*args: Any, **settings: Any) -> Site:
        given = {
            "flows": FLOWS,
            "define": define_user,
            "APPROVERS": [BOSS],
            "MAIL_LIMITS": None,
            **settings,
        }
        return new_site(*args, **given)

    return make


def login(site: Site, password: str = PASSWORD, client: FlaskClient | None = None) -> TestResponse:
    return site.post("login", {"login": "alice", "password": password}, client=client)


def apply(site: Site, name: str = "alice", **fields: Any) -> dict[str, str]:
    """Register and verify; the parameters of the approver's link."""
    reply = site.register(name, **fields)
    assert reply.status_code == 201, reply.get_json()
    site.outbox.clear() if site.user(username=name).is_verified else None
    if not site.user(username=name).is_verified:
        assert site.verify().status_code == 200
    link = site.link()
    site.outbox.clear()
    return link


def decide(
    site: Site, link: dict[str, Any], decision: Any = "approve", client: FlaskClient | None = None
) -> TestResponse:
    body = {name: value for name, value in link.items() if name != "user_id"}
    return site.post(f"approvals/{link['user_id']}", {**body, "decision": decision}, client=client)


def state_of(site: Site) -> tuple[bool, bool]:
    user = site.user(username="alice")
    return user.approved_at is not None, user.rejected_at is not None


# The way through


@pytest.mark.databases
def test_an_account_waits_until_an_approver_opens_the_link(database: str, make: NewSite) -> None:
    site = make(database)
    assert site.register().status_code == 201
    assert [to for to, _ in mails_of(site)] == ["alice@example.com"]
    link = site.link()
    site.outbox.clear()
    assert site.verify(link).status_code == 200
    assert mails_of(site) == [(BOSS, REQUEST)]
    mail, proof = site.read(), site.link()
    assert links_of(mail)[0].startswith("https://example.com/decide-approval/?timestamp=")
    for text in (text_of(mail), html_of(mail)):
        assert "alice@example.com" in text
        assert "Username: alice" in text
    site.outbox.clear()
    client = site.app.test_client()
    with site.hears(user_logged_in, user_login_failed) as heard:
        reply = login(site, client=client)
    assert (reply.status_code, reply.get_json()) == (403, WAITING)
    assert not reply.headers.getlist("Set-Cookie")
    assert heard == []
    assert not knows(site, client)
    assert site.user().last_login is None
    with site.hears(user_approved, user_rejected) as heard:
        reply = decide(site, proof)
    assert (reply.status_code, reply.get_json()) == (200, SAVED)
    assert [each["signal"] for each in heard] == ["user-approved"]
    assert state_of(site) == (True, False)
    assert mails(site) == [("alice@example.com", APPROVED)]
    assert login(site, client=client).status_code == 200
    assert knows(site, client)
    assert decide(site, proof, "reject").get_json() == LINK_INVALID


def mails_of(site: Site) -> list[tuple[str, str]]:
    found = [site.read(number) for number in range(len(site.outbox))]
    return [(mail["To"], mail["Subject"]) for mail in found]


@pytest.mark.databases
def test_a_rejected_account_is_like_none(database: str, make: NewSite) -> None:
    site = make(database)
    proof = apply(site)
    before = site.user().security_stamp
    with site.hears(user_approved, user_rejected) as heard:
        assert decide(site, proof, "reject").status_code == 200
    assert [each["signal"] for each in heard] == ["user-rejected"]
    assert state_of(site) == (False, True)
    assert site.user().security_stamp != before
    assert mails(site) == [("alice@example.com", REJECTED)]
    assert decide(site, proof).get_json() == LINK_INVALID
    reply = login(site)
    assert (reply.status_code, reply.get_json()) == (400, LOGIN_INVALID)
    site.post("send-reset-password-link", {"login": "alice"})
    site.post("resend-verification", {"login": "alice"})
    assert mails(site) == []


def test_a_login_to_a_rejected_account_is_that_to_an_unknown_one(make: NewSite) -> None:
    site = make()
    decide(site, apply(site), "reject")
    login(site)  # the first one looks for hashes of other kinds
    found = []
    for name in ("alice", "nobody"):
        with site.statements() as statements:
            reply = site.post("login", {"login": name, "password": PASSWORD})
        found.append((whole(reply), [each.partition(" ")[0] for each in statements]))
    assert found[0] == found[1]


def test_e_mails_to_approvers_count_for_the_budget(make: NewSite) -> None:
    site = make(REGISTER_VERIFICATION_ENABLED=False, MAIL_BUDGET="1/hour")
    replies = [site.register(name).status_code for name in ("bob", "carol")]
    assert (replies, len(site.outbox)) == ([201, 429], 1)


def test_where_no_address_is_verified_the_approvers_are_told_at_once(make: NewSite) -> None:
    site = make(REGISTER_VERIFICATION_ENABLED=False)
    site.register()
    assert mails_of(site) == [(BOSS, REQUEST)]
    assert login(site).get_json() == WAITING
    decide(site, site.link())
    assert login(site).status_code == 200


def test_a_sign_up_is_finished_and_waits(make: NewSite) -> None:
    site = make()
    site.post("sign-up", {"email": "alice@example.com"})
    chosen = {"username": "alice", "password": PASSWORD, "password_confirm": PASSWORD}
    link = site.link()
    site.outbox.clear()
    client = site.app.test_client()
    with site.hears(user_registered, user_activated, user_logged_in) as heard:
        reply = site.post("finish-sign-up", {**link, **chosen}, client=client)
    assert (reply.status_code, reply.get_json()) == (403, WAITING)
    assert [each["signal"] for each in heard] == ["user-registered", "user-activated"]
    assert not reply.headers.getlist("Set-Cookie")
    assert mails_of(site) == [(BOSS, REQUEST)]
    assert site.user().is_verified
    assert site.post("finish-sign-up", {**link, **chosen}).get_json() == LINK_INVALID


def test_what_is_done_stays_done(make: NewSite) -> None:
    site = make(
        flows=[*FLOWS, mail_login.flow],
        challenge_model=define_challenge,
        REGISTER_VERIFICATION_ONE_TIME_USE=True,
        REGISTER_VERIFICATION_AUTO_LOGIN=True,
        RESET_PASSWORD_AUTO_LOGIN=True,
    )
    site.register()
    link = site.link()
    assert site.verify(link).get_json() == WAITING
    assert site.user().is_verified
    assert mails_of(site)[-1] == (BOSS, REQUEST)
    assert site.verify(link).get_json() == LINK_INVALID
    twice = {"password": OTHER_PASSWORD, "password_confirm": OTHER_PASSWORD}
    reset = ask_reset(site)
    assert site.post("reset-password", {**reset, **twice}).get_json() == WAITING
    assert login(site).get_json() == LOGIN_INVALID
    assert login(site, OTHER_PASSWORD).get_json() == WAITING
    site.post("send-login-link", {"login": "alice"})
    link = site.link()
    assert site.post("login-by-link", link).get_json() == WAITING
    assert site.post("login-by-link", link).get_json() == LINK_INVALID


def test_a_reset_that_verifies_tells_the_approvers_once(make: NewSite) -> None:
    site = make()
    site.register()
    verification = site.link()
    reset = ask_reset(site)
    site.outbox.clear()
    twice = {"password": OTHER_PASSWORD, "password_confirm": OTHER_PASSWORD}
    assert site.post("reset-password", {**reset, **twice}).status_code == 200
    assert [each for each in mails_of(site) if each[0] == BOSS] == [(BOSS, REQUEST)]
    site.outbox.clear()
    site.verify(verification)
    assert BOSS not in dict(mails_of(site))


def test_approval_comes_before_every_other_step(make: NewSite) -> None:
    site = make(
        flows=[*DEFAULT_FLOWS, word_flow("word"), approval.flow], challenge_model=define_challenge
    )
    proof = apply(site)
    assert login(site).get_json() == WAITING
    decide(site, proof)
    assert login(site).get_json()["step"] == "word"


def test_a_wrong_password_says_nothing_about_the_approval(make: NewSite) -> None:
    site = make()
    apply(site)
    assert login(site, OTHER_PASSWORD).get_json() == LOGIN_INVALID


def test_an_unverified_account_does_not_say_that_it_waits(make: NewSite) -> None:
    site = make()
    site.register()
    assert login(site).get_json() == LOGIN_INVALID


def test_a_login_by_the_application_does_not_walk_past(make: NewSite) -> None:
    def add_view(app: Flask) -> None:
        @app.post("/own")
        def own() -> dict[str, str]:
            actions.log_in(site.db.session.get(site.User, 1))
            return {}

    site = make(before=add_view)
    apply(site)
    with site.app.test_request_context():
        user = site.db.session.get(site.User, 1)
        with pytest.raises(ForeignLogin, match="approval"):
            flask_login.login_user(user)
        with pytest.raises(NotApproved):
            actions.log_in(user)
    reply = site.app.test_client().post("/own")
    assert (reply.status_code, reply.get_json()) == (403, WAITING)


# The link


@each_row(
    "body",
    [
        {"signature": "x"},
        {"signature": "x.y"},
        {"signature": ["x"]},
        {"timestamp": "1"},
        {"timestamp": {}},
        {"user_id": "2"},
        {"user_id": "999"},
        {"user_id": "x"},
        {"user_id": "１"},
    ],
)
def test_a_changed_link_is_invalid(make: NewSite, body: dict[str, Any]) -> None:
    site = make()
    proof = apply(site)
    apply(site, "bob")
    assert decide(site, {**proof, **body}).get_json() == LINK_INVALID
    assert state_of(site) == (False, False)


@each_row(
    ("body", "errors"),
    [
        ({"decision": None}, {"decision": ["This field may not be null."]}),
        ({"decision": "maybe"}, {"decision": ["Must be one of: approve, reject."]}),
        ({"decision": True}, {"decision": ["Not a valid string."]}),
        ({"timestamp": ""}, {"timestamp": ["This field is required."]}),
        ({"signature": None}, {"signature": ["This field may not be null."]}),
    ],
)
def test_a_missing_value_is_an_error_of_its_field(
    make: NewSite, body: dict[str, Any], errors: dict[str, Any]
) -> None:
    site = make()
    proof = apply(site)
    reply = site.post(f"approvals/{proof['user_id']}", {**proof, "decision": "approve", **body})
    assert (reply.status_code, reply.get_json()) == (400, errors)
    reply = site.post(f"approvals/{proof['user_id']}", {"timestamp": "1", "decision": "approve"})
    assert reply.get_json() == {"signature": ["This field is required."]}
    assert state_of(site) == (False, False)


def test_a_link_of_another_kind_is_invalid_here_and_this_one_elsewhere(make: NewSite) -> None:
    site = make(flows=[*FLOWS, mail_login.flow], challenge_model=define_challenge)
    site.register()
    verification = site.link()
    site.verify(verification)
    proof = site.link()
    site.post("send-login-link", {"login": "alice"})
    login_link, reset = site.link(), ask_reset(site)
    for link in (verification, login_link, reset):
        assert decide(site, link).get_json() == LINK_INVALID
    twice = {"password": OTHER_PASSWORD, "password_confirm": OTHER_PASSWORD}
    for endpoint in ("verify-registration", "login-by-link", "reset-password"):
        assert site.post(endpoint, {**proof, **twice}).get_json() == LINK_INVALID
    assert decide(site, proof).status_code == 200


def test_a_link_expires(make: NewSite, clock: Clock) -> None:
    site = make(APPROVAL_PERIOD=timedelta(days=3))
    proof = apply(site)
    clock.advance(3 * 86400 + 1)
    assert decide(site, proof).get_json() == LINK_EXPIRED
    clock.advance(-1)
    assert decide(site, proof).status_code == 200


@each_row(
    ("change", "is_valid"),
    [
        ({"email": "other@example.com"}, False),
        ({"is_active": False}, False),
        ({"is_verified": False}, False),
        ({"security_stamp": "another one"}, False),
        ({"first_name": "Al"}, True),
    ],
)
def test_a_link_is_bound_to_the_account(
    make: NewSite, change: dict[str, Any], is_valid: bool
) -> None:
    site = make()
    proof = apply(site)
    site.change(site.user(), **change)
    assert (decide(site, proof).status_code == 200) is is_valid
    assert state_of(site) == (is_valid, False)


def test_without_a_stamp_a_link_is_bound_to_the_address(make: NewSite) -> None:
    columns: dict[str, Callable[[], Any]] = {
        "id": lambda: mapped_column(Integer, primary_key=True),
        "username": lambda: mapped_column(String(40), unique=True),
        "email": lambda: mapped_column(String(254), unique=True),
        "password_hash": lambda: mapped_column(String(255)),
        "is_verified": lambda: mapped_column(Boolean),
    }
    site = make(
        define=define(
            ApprovalMixin, columns=lambda: {name: make() for name, make in columns.items()}
        )
    )
    proof = apply(site)
    site.change(site.user(), email="other@example.com")
    assert decide(site, proof).get_json() == LINK_INVALID
    site.change(site.user(), email="alice@example.com")
    assert decide(site, proof).status_code == 200


def test_a_reset_of_the_password_does_not_end_it(make: NewSite) -> None:
    site = make()
    proof = apply(site)
    twice = {"password": OTHER_PASSWORD, "password_confirm": OTHER_PASSWORD}
    assert site.post("reset-password", {**ask_reset(site), **twice}).status_code == 200
    assert decide(site, proof).status_code == 200


def test_a_link_to_a_deleted_account_is_invalid_for_the_next_one_with_its_id(
    make: NewSite,
) -> None:
    site = make()
    proof = apply(site)
    with site.app.app_context():
        site.db.session.delete(site.db.session.get(site.User, 1))
        site.db.session.commit()
    assert decide(site, proof).get_json() == LINK_INVALID
    apply(site)
    assert site.user().id == 1
    assert decide(site, proof).get_json() == LINK_INVALID
    assert state_of(site) == (False, False)


@pytest.mark.databases
@each_row("by_login", [False, True], ids=["link", "login"])
def test_of_twenty_decisions_at_once_one_counts(
    database: str, make: NewSite, by_login: bool
) -> None:
    site = make(database, config=AT_ONCE)
    account(site, "boss", email=BOSS)
    client = log_in(site, "boss")
    cookie = client.get_cookie("session")
    assert cookie
    proof = apply(site)
    if by_login:
        proof = {"user_id": proof["user_id"]}

    def one(number: int) -> TestResponse:
        other = site.app.test_client()
        if by_login:
            other.set_cookie("session", cookie.value)
        return decide(site, proof, ("approve", "reject")[number % 2], client=other)

    with site.hears(user_approved, user_rejected) as heard:
        replies = at_once(one, 20)
    found = Counter((each.status_code, each.get_json().get("code")) for each in replies)
    assert found[200, None] == 1, found
    assert found.keys() <= {
        (200, None),
        (400, "signature-invalid"),
        (404, "not-found"),
        (503, "database-unavailable"),
    }, found
    assert len(heard) == 1
    assert sorted(state_of(site)) == [False, True]
    assert len(mails(site)) == 1


@pytest.mark.databases
@each_row("second", ["approve", "reject"])
def test_an_approval_that_lands_during_a_decision_counts(
    second: str, database: str, make: NewSite
) -> None:
    site = make(database)
    link, other = apply(site), site.app.test_client()
    with (
        site.hears(user_approved, user_rejected) as heard,
        after_read(site, 1, lambda: decide(site, link, client=other)) as done,
    ):
        reply = decide(site, link, second)
    assert [each.get_json() for each in done] == [SAVED]
    assert (reply.status_code, reply.get_json()) == (400, LINK_INVALID)
    assert state_of(site) == (True, False)
    assert len(heard) == len(mails(site)) == 1


# An approver who is logged in


def test_an_approver_decides_with_a_login(make: NewSite) -> None:
    site = make(LOGIN_RETRIEVE_TOKEN=True)
    user_id = apply(site)["user_id"]
    account(site, "boss", email=BOSS)
    client = log_in(site, "boss")
    assert decide(site, {"user_id": user_id}, client=client).get_json() == SAVED
    assert state_of(site) == (True, False)
    for each in (user_id, "999", "x"):
        reply = decide(site, {"user_id": each}, "reject", client=client)
        assert (reply.status_code, reply.get_json()) == (404, NOT_FOUND)
    assert state_of(site) == (True, False)


def test_no_login_revises_a_decision(make: NewSite) -> None:
    site = make()
    proof = apply(site)
    account(site, "boss", email=BOSS)
    client = log_in(site, "boss")
    decide(site, proof, "reject")
    assert decide(site, {"user_id": proof["user_id"]}, client=client).get_json() == NOT_FOUND
    assert state_of(site) == (False, True)


@each_row(
    "approvers",
    [[BOSS], lambda user, **kwargs: [BOSS] if user.username == "alice" else []],
    ids=["list", "callable"],
)
def test_other_users_decide_nothing(make: NewSite, approvers: Any) -> None:
    site = make(APPROVERS=approvers)
    user_id = apply(site)["user_id"]
    account(site, "bob")
    client = log_in(site, "bob")
    for each in (user_id, "999", "x", "2"):
        reply = decide(site, {"user_id": each}, client=client)
        assert (reply.status_code, reply.get_json()) == (403, NOT_ALLOWED)
    reply = decide(site, {"user_id": user_id})
    assert (reply.status_code, reply.get_json()) == (401, NOT_AUTHENTICATED)
    assert state_of(site) == (False, False)


def test_an_unverified_address_of_an_approver_decides_nothing(make: NewSite) -> None:
    site = make(REGISTER_VERIFICATION_ENABLED=True)
    user_id = apply(site)["user_id"]
    account(site, "boss", email=BOSS)
    client = log_in(site, "boss")
    site.change(site.user(username="boss"), email="former@example.com")
    assert decide(site, {"user_id": user_id}, client=client).status_code in (401, 403)
    assert state_of(site) == (False, False)


@each_row(
    "setting",
    ["REGISTER_VERIFICATION_ENABLED", "REGISTER_EMAIL_VERIFICATION_ENABLED"],
    ids=["registration", "change"],
)
def test_no_login_decides_where_an_address_needs_no_proof(make: NewSite, setting: str) -> None:
    site = make(**{setting: False})
    user_id = account(site, approved=False).id
    account(site, "bob")
    client = log_in(site, "bob")
    if setting == "REGISTER_EMAIL_VERIFICATION_ENABLED":
        reply = site.post("register-email", {"email": BOSS}, client=client)
        assert reply.status_code == 200
    else:
        site.change(site.user(username="bob"), email=BOSS)
        client = log_in(site, "bob")
    reply = decide(site, {"user_id": user_id}, client=client)
    assert (reply.status_code, reply.get_json()) == (403, NOT_ALLOWED)
    assert state_of(site) == (False, False)


def test_the_approvers_depend_on_the_account(make: NewSite) -> None:
    def approvers(user: Any, **kwargs: Any) -> list[str]:
        return [f"{user.username}@boss.example.com", BOSS, BOSS]

    site = make(APPROVERS=approvers)
    site.register()
    site.verify()
    assert mails_of(site)[1:] == [("alice@boss.example.com", REQUEST), (BOSS, REQUEST)]


# What the e-mail shows


def test_the_e_mail_shows_little_of_what_a_stranger_wrote(make: NewSite) -> None:
    site = make()
    site.register(
        "a" * 100, email="alice@example.com", first_name="<b>", last_name="http://evil.example"
    )
    site.verify()
    mail = site.read()
    for text in (text_of(mail), html_of(mail)):
        assert "evil" not in text
        assert "a" * 63 + "…" in text
        assert "a" * 64 not in text


def test_it_is_in_the_default_language(make: NewSite) -> None:
    site = make(LANGUAGES=["en", "de"])
    site.register()
    site.post("verify-registration", site.link(), headers={"Accept-Language": "de"})
    assert mails_of(site)[-1] == (BOSS, REQUEST)
    assert '<html lang="en"' in html_of(site.read())


# A new registration


@pytest.mark.databases
@each_row("verification", [True, False], ids=["verified", "unverified"])
def test_a_new_registration_displaces_a_rejected_account(
    database: str, make: NewSite, verification: bool
) -> None:
    site = make(database, REGISTER_VERIFICATION_ENABLED=verification)
    if verification:
        link = apply(site)
    else:
        site.register()
        link = site.link()
    decide(site, link, "reject")
    first = site.user()
    site.outbox.clear()
    with site.hears(user_registered, user_deleted) as heard:
        reply = site.register(password=OTHER_PASSWORD)
    assert reply.status_code == 201, reply.get_json()
    assert [each["signal"] for each in heard] == ["user-deleted", "user-registered"]
    (user,) = site.users()
    assert (user.email, user.rejected_at, user.approved_at) == ("alice@example.com", None, None)
    assert user.security_stamp != first.security_stamp
    if verification:
        site.verify()
    assert login(site, OTHER_PASSWORD).get_json() == WAITING
    assert login(site).get_json() == LOGIN_INVALID
    assert decide(site, link).get_json() == LINK_INVALID
    assert decide(site, site.link()).status_code == 200


def test_the_response_does_not_tell_of_a_rejected_account(make: NewSite) -> None:
    site = make()
    decide(site, apply(site), "reject")
    body = {"password": PASSWORD}
    site.assert_uniform_answers(
        rejected=lambda: site.register("alice", **body),
        free=lambda: site.register("carol", **body),
    )


def test_its_username_and_its_address_are_free_for_different_people(make: NewSite) -> None:
    site = make()
    decide(site, apply(site), "reject")
    assert site.register("alice", email="other@example.com").status_code == 201
    assert [user.email for user in site.users()] == ["other@example.com"]


def test_a_sign_up_displaces_it_too(make: NewSite) -> None:
    site = make()
    decide(site, apply(site), "reject")
    site.outbox.clear()
    site.post("sign-up", {"email": "alice@example.com"})
    chosen = {"username": "alice", "password": OTHER_PASSWORD, "password_confirm": OTHER_PASSWORD}
    assert site.post("finish-sign-up", {**site.link(), **chosen}).get_json() == WAITING
    assert len(site.users()) == 1


def test_a_waiting_and_a_suspended_account_keep_their_values(make: NewSite) -> None:
    site = make()
    proof = apply(site)
    assert site.register(email="b@example.com").get_json().keys() == {"username"}
    decide(site, proof, "reject")
    site.change(site.user(), is_active=False)
    assert site.register(email="b@example.com").get_json().keys() == {"username"}
    assert len(site.users()) == 1


@pytest.mark.databases
def test_an_approval_during_a_new_registration_wins(database: str, make: NewSite) -> None:
    site = make(database, config=AT_ONCE)
    decide(site, apply(site), "reject")

    def one(number: int) -> Any:
        if number % 2:
            return site.register(password=OTHER_PASSWORD).status_code
        with site.app.app_context():
            user = site.db.session.get(site.User, 1)
            try:
                return user is not None and user.rejected_at and actions.approve(user)
            except AdministrationError:
                return False

    at_once(one, 4)
    (user,) = site.users()
    assert user.rejected_at is None
    assert has_password(site, PASSWORD) is (user.approved_at is not None)


# A body


def test_so_it_does_where_the_model_has_no_flag_of_the_verification(make: NewSite) -> None:
    columns: dict[str, Callable[[], Any]] = {
        "id": lambda: mapped_column(Integer, primary_key=True),
        "username": lambda: mapped_column(String(40), unique=True),
        "email": lambda: mapped_column(String(254), unique=True),
        "password_hash": lambda: mapped_column(String(255)),
    }
    define_own = define(
        ApprovalMixin, columns=lambda: {name: make() for name, make in columns.items()}
    )
    site = make(define=define_own, REGISTER_VERIFICATION_ENABLED=False)
    user = account(site, approved=False)
    site.change(user, rejected_at=utc_now())
    rejected = site.user()
    site.change(user, approved_at=utc_now(), rejected_at=None)
    with site.app.app_context():
        site.db.session.add(rejected)  # as a request has read it before
        assert not delete_pending(site.app.extensions["registration"], rejected)
    assert state_of(site) == (True, False)


def test_a_link_is_bound_to_the_whole_of_a_stamp_that_is_not_ours(make: NewSite) -> None:
    """A prefix such as that of a password hash says nothing about the account."""
    site = make()
    user = account(site, approved=False)
    site.change(user, security_stamp="scrypt:1")
    with site.app.test_request_context():
        url = site.app.extensions["registration"].links.url(
            approval.APPROVAL, site.user(), "https://example.com/decide/"
        )
    link = dict(parse_qsl(urlsplit(url).query))
    site.change(user, security_stamp="scrypt:2")
    assert decide(site, link).get_json() == LINK_INVALID
    site.change(user, security_stamp="scrypt:1")
    assert decide(site, link).get_json() == SAVED


def test_a_page_says_that_the_new_account_waits(make: NewSite) -> None:
    site = make(flows=[*FLOWS, verification_redirects.flow])
    site.post("sign-up", {"email": "alice@example.com"})
    client = site.app.test_client()
    form = Form(client.get("/accounts/finish-sign-up/", query_string=site.link()).text)
    typed = {"username": "alice", **dict.fromkeys(form.passwords, PASSWORD)}
    reply = client.post(form.action, data={**form.fields, **typed})
    assert (reply.status_code, WAITING["detail"] in reply.text) == (200, True)
    assert state_of(site) == (False, False)


def test_no_body_approves_an_account(make: NewSite) -> None:
    site = make(USER_PUBLIC_FIELDS=["first_name", "approved_at", "rejected_at"])
    proof = apply(site, approved_at="2026-01-01T00:00:00", approved=True)
    assert state_of(site) == (False, False)
    decide(site, proof)
    client = log_in(site)
    body = {"rejected_at": "2026-01-01T00:00:00", "approved_at": None, "first_name": "Al"}
    assert client.patch("/accounts/profile/", json=body).status_code == 200
    assert state_of(site) == (True, False)


# Administrators


def run(app: Flask, *args: str) -> Result:
    return CliRunner().invoke(registration_cli, args, obj=ScriptInfo(create_app=lambda: app))


def test_the_commands(make: NewSite) -> None:
    site = make()
    apply(site)
    apply(site, "bob")
    site.register("carol")
    assert run(site.app, "approvals").output == (
        "alice (id 1) alice@example.com\nbob (id 2) bob@example.com\n"
    )
    site.outbox.clear()
    with site.hears(user_approved, user_rejected) as heard:
        assert run(site.app, "approve", "alice").output == "Approved alice (id 1).\n"
        assert run(site.app, "reject", "bob").output == "Rejected bob (id 2).\n"
        assert run(site.app, "approve", "carol").output == "Approved carol (id 3).\n"
    assert [each["signal"] for each in heard] == ["user-approved", "user-rejected", "user-approved"]
    assert mails(site) == [("alice@example.com", APPROVED), ("bob@example.com", REJECTED)]
    assert run(site.app, "approvals").output == ""
    again = run(site.app, "approve", "alice").output
    assert again == "alice (id 1) is already approved. Nothing was changed.\n"
    again = run(site.app, "reject", "--id", "2").output
    assert again == "bob (id 2) is already rejected. Nothing was changed.\n"
    refused = run(site.app, "reject", "alice")
    assert refused.exit_code != 0
    assert "This account is approved. Suspend it instead." in refused.output
    assert login(site).status_code == 200


def test_an_approval_revises_a_rejection(make: NewSite) -> None:
    site = make()
    decide(site, apply(site), "reject")
    with site.app.app_context():
        assert actions.approve(site.db.session.get(site.User, 1))
    assert login(site).status_code == 200


def test_an_account_that_is_approved_early_does_not_wait(make: NewSite) -> None:
    site = make()
    site.register()
    link = site.link()
    site.outbox.clear()
    with site.app.app_context():
        assert actions.approve(site.db.session.get(site.User, 1))
    site.verify(link)
    assert mails(site) == []
    assert login(site).status_code == 200


def test_an_account_of_an_administrator_is_approved_unless_told_otherwise(make: NewSite) -> None:
    site = make()
    with site.app.app_context():
        create: Any = {"password": PASSWORD}
        actions.create_user(username="alice", email="alice@example.com", **create)
        site.registration.create_user(username="bob", email="bob@example.com", **create)
        site.db.session.commit()
        assert mails(site) == []
        actions.create_user(username="carol", email="carol@example.com", approved=False, **create)
        site.registration.create_user(
            username="dave", email="dave@example.com", approved=False, **create
        )
        site.db.session.commit()
    assert mails(site) == [(BOSS, REQUEST)]
    assert [user.approved_at is not None for user in site.users()] == [True, True, False, False]


def test_without_the_flow_no_account_is_decided(new_site: NewSite) -> None:
    site = new_site()
    account(site)
    assert decide(site, {"user_id": "1"}).status_code == 404
    assert "no flow approval" in run(site.app, "approve", "alice").output
    assert "no flow approval" in run(site.app, "approvals").output
    with site.app.app_context(), pytest.raises(TypeError):
        site.registration.create_user(
            username="b", email="b@example.com", password=PASSWORD, approved=False
        )


def test_a_session_ends_with_a_rejection(make: NewSite) -> None:
    site = make(login_model=define_login)
    account(site)
    client = log_in(site)
    site.change(site.user(), approved_at=None)  # from before the flow
    with site.app.app_context():
        assert actions.reject(site.db.session.get(site.User, 1))
    assert not knows(site, client)


@each_row(
    "settings, left",
    [
        ({"login_model": define_login}, logins),
        (
            {"AUTH_TOKEN_MANAGER_CLASS": MemoryTokens},
            lambda site: list(site.app.extensions["registration"].tokens.users),
        ),
    ],
    ids=["rows", "tokens of the application"],
)
def test_a_rejection_with_the_link_leaves_no_token(
    settings: dict[str, Any], left: Callable[[Site], list[Any]], make: NewSite
) -> None:
    site = make(LOGIN_RETRIEVE_TOKEN=True, **settings)
    link = apply(site)
    site.change(site.user(), approved_at=utc_now())
    token_of(site)
    site.change(site.user(), approved_at=None)  # from before the flow
    assert left(site)
    assert decide(site, link, "reject").get_json() == SAVED
    assert left(site) == []


# The page


def test_the_page_has_two_buttons_and_changes_nothing_before(make: NewSite) -> None:
    site = make(flows=[*FLOWS, verification_redirects.flow])
    proof = apply(site)
    client = site.app.test_client()
    page = client.get("/accounts/decide-approval/", query_string=proof)
    assert page.status_code == 200
    for value in ("approve", "reject"):
        assert f'<button name="decision" value="{value}">' in page.text
    assert state_of(site) == (False, False)
    reply = client.post("/accounts/decide-approval/confirm/", data={**proof, "decision": "approve"})
    assert (reply.status_code, "Your decision was saved." in reply.text) == (200, True)
    assert state_of(site) == (True, False)
    reply = client.post("/accounts/decide-approval/confirm/", data={**proof, "decision": "reject"})
    assert reply.status_code == 400
    assert state_of(site) == (True, False)


def test_the_form_needs_its_link_although_an_approver_is_logged_in(make: NewSite) -> None:
    site = make(flows=[*FLOWS, verification_redirects.flow])
    user_id = apply(site)["user_id"]
    account(site, "boss", email=BOSS)
    client = log_in(site, "boss")
    form = {"user_id": user_id, "decision": "approve"}
    reply = client.post("/accounts/decide-approval/confirm/", data=form)
    assert reply.status_code == 400
    assert state_of(site) == (False, False)


def test_a_client_over_its_limit_is_refused_before_the_form_is_read(make: NewSite) -> None:
    limits = {"decide_approval": {"client": "1/minute"}}
    config = {"RATELIMIT_ENABLED": True}
    site = make(flows=[*FLOWS, verification_redirects.flow], THROTTLES=limits, config=config)
    client, too_much = site.app.test_client(), {"user_id": "1" * 1_000_000}
    path = "/accounts/decide-approval/confirm/"
    assert [client.post(path, data=too_much).status_code for _ in range(2)] == [413, 429]


def test_the_page_of_a_verification_is_done_although_the_account_waits(make: NewSite) -> None:
    site = make(
        flows=[*FLOWS, verification_redirects.flow],
        REGISTER_VERIFICATION_ONE_TIME_USE=True,
        REGISTER_VERIFICATION_AUTO_LOGIN=True,
    )
    site.register()
    reply = site.app.test_client().post("/accounts/verify-registration/confirm/", data=site.link())
    assert (reply.status_code, "Your e-mail address is confirmed." in reply.text) == (200, True)


# The configuration


@each_row(
    ("settings", "text"),
    [
        ({"define": None}, "User has no column approved_at"),
        ({"APPROVERS": ["boss"]}, "names 'boss'"),
        ({"APPROVERS": "boss@example.com"}, "REGISTRATION_APPROVERS"),
        ({"APPROVAL_URL": "/x"}, "which is not absolute"),
        ({"flows": DEFAULT_FLOWS}, "belongs to the flow approval, which is not mounted"),
    ],
)
def test_a_configuration_that_cannot_work(
    make: NewSite, settings: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigurationError, match=text):
        make(**settings)


def test_the_check_reports_earlier_accounts(make: NewSite) -> None:
    site = make()
    for name in ("alice", "bob"):
        account(site, name)
        log_in(site, name)
        site.change(site.user(username=name), approved_at=None)
    apply(site, "carol")
    output = " ".join(run(site.app, "check", "--database").output.split())
    assert "users.approved_at is NULL for accounts that have logged in before (rows: 2)" in output
    empty = make(APPROVERS=[])
    assert "REGISTRATION_APPROVERS is empty" in run(empty.app, "check").output


def test_an_open_application_and_one_by_approval_in_one_process(
    make: NewSite, new_site: NewSite
) -> None:
    by_approval, opened = make(), new_site()
    apply(by_approval)
    opened.register()
    opened.verify()
    assert login(by_approval).get_json() == WAITING
    assert login(opened).status_code == 200
    assert BOSS not in dict(mails_of(opened))


def test_a_second_factor_is_not_enrolled_before_the_approval(make: NewSite) -> None:
    from .test_second_factor import KEY, define_credential

    site = make(
        flows=[*DEFAULT_FLOWS, second_factor.flow, approval.flow],
        challenge_model=define_challenge,
        credential_model=define_credential,
        CREDENTIAL_KEYS=[KEY],
        SECOND_FACTOR_REQUIRED=True,
    )
    apply(site)
    assert login(site).get_json() == WAITING
