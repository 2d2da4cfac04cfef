"""Sign-up: verify the e-mail address first, choose a username and a password afterwards."""

from __future__ import annotations

from collections import Counter
from typing import Any

import flask_login
import pytest
from flask.testing import FlaskClient
from marshmallow import Schema, ValidationError, fields, validates_schema
from sqlalchemy import String
from sqlalchemy.orm import mapped_column
from werkzeug.test import TestResponse

from flask_registration import (
    DEFAULT_FLOWS,
    ConfigurationError,
    EmailUserMixin,
    Flow,
    LinkInvalid,
    Settings,
    actions,
    mail_failed,
    user_activated,
    user_deleted,
    user_logged_in,
    user_registered,
)
from flask_registration.cli.preview import examples
from flask_registration.flows import codes, mail_login, sign_up
from flask_registration.users.mixins import utc_now

from .. import outboxes
from ..conftest import Clock
from ..outboxes import define_outbox, letter, send_mail
from ..people import account, define_login, knows, logins
from ..site import PASSWORD, Site, define, links_of, mixin_and, own_model, text_of, whole
from ..tables import each_row
from ..test_steps import AT_ONCE, INVALID, WRONG, answer, challenges, define_challenge, word_flow
from .common import (
    LINK_EXPIRED,
    LINK_INVALID,
    OTHER_PASSWORD,
    NewSite,
    at_once,
    bearer,
    has_password,
    log_in,
    mails,
)

ADDRESS = "alice@example.com"
SENT = {"detail": "An e-mail to finish signing up is on its way"}
FLOWS = [*DEFAULT_FLOWS, sign_up.flow]
WITH_CODES = {
    "flows": [*FLOWS, codes.flow],
    "challenge_model": define_challenge,
    "VERIFICATION_METHOD": "both",
}
with_and_without_codes = each_row("method", [{}, WITH_CODES], ids=["links", "codes"])


@pytest.fixture
def make(new_site: NewSite) -> Any:
    """Make an application with sign-up."""

    def make(*args: Any, **settings: Any) -> Site:
        return new_site(*args, **{"flows": FLOWS, "MAIL_LIMITS": None, **settings})

    return make


def ask(site: Site, email: Any = ADDRESS) -> TestResponse:
    return site.post("sign-up", {"email": email})


def ask_proof(site: Site, email: str = ADDRESS, *, by_code: Any = False) -> dict[str, str]:
    """Ask for the e-mail; what finishes the sign-up."""
    reply = ask(site, email)
    assert reply.status_code == 200, reply.get_json()
    if not by_code:
        return site.link()
    challenge = reply.get_json()["challenge"]
    return {"email": email, "challenge": challenge, "code": site.outbox.latest_code()}


def finish(
    site: Site,
    proof: dict[str, Any],
    username: str = "alice",
    client: FlaskClient | None = None,
    **body: Any,
) -> TestResponse:
    chosen = {"username": username, "password": PASSWORD, "password_confirm": PASSWORD, **body}
    return site.post("finish-sign-up", {**proof, **chosen}, client=client)


# The way through


@pytest.mark.databases
@with_and_without_codes
def test_an_address_is_verified_first_and_the_account_is_made_afterwards(
    database: str, make: NewSite, method: dict[str, Any]
) -> None:
    site = make(database, login_model=define_login, **method)
    proof = ask_proof(site, by_code=method)
    assert mails(site) == [(ADDRESS, "Finish signing up for example.com")]
    assert site.users() == []
    client = site.app.test_client()
    with site.hears(user_registered, user_activated, user_logged_in) as heard:
        reply = finish(site, proof, client=client)
    user = site.user()
    assert reply.status_code == 201, reply.get_json()
    assert reply.get_json() == {
        "id": user.id,
        "username": "alice",
        "email": ADDRESS,
        **{name: value for name, value in reply.get_json().items() if name.endswith("_name")},
    }
    assert [each["signal"] for each in heard] == [
        "user-registered",
        "user-activated",
        "user-logged-in",
    ]
    assert (user.is_verified, user.last_login is None) == (True, False)
    assert knows(site, client)
    assert [each.methods for each in logins(site)] == ["otp" if method else "mail"]
    assert has_password(site, PASSWORD)
    assert mails(site) == []


def test_the_link_leads_to_the_page_beside_the_first_one(make: NewSite) -> None:
    site = make()
    ask(site)
    assert links_of(site.read())[0].startswith("https://example.com/finish-sign-up/?timestamp=")
    assert site.link().keys() == {"timestamp", "email", "signature"}


def test_it_returns_a_token(make: NewSite) -> None:
    site = make(LOGIN_RETRIEVE_TOKEN=True)
    token = finish(site, ask_proof(site)).get_json()["token"]
    assert knows(site, headers=bearer(token))


def test_the_login_is_fresh(make: NewSite) -> None:
    site = make()
    client = site.app.test_client()
    finish(site, ask_proof(site), client=client)
    assert site.post("register-email", {"email": "a@example.com"}, client=client).status_code == 200


@with_and_without_codes
def test_what_is_done_stays_done_when_a_step_is_left(make: NewSite, method: dict[str, Any]) -> None:
    settings = {"challenge_model": define_challenge, **method}
    site = make(**{**settings, "flows": [*FLOWS, codes.flow, word_flow("word")]})
    proof = ask_proof(site, by_code=method)
    client = site.app.test_client()
    with site.hears(user_registered, user_activated, user_logged_in) as heard:
        reply = finish(site, proof, client=client)
    assert (reply.status_code, reply.get_json()["code"]) == (401, "step-required")
    assert [each["signal"] for each in heard] == ["user-registered", "user-activated"]
    assert (site.user().is_verified, site.user().last_login) == (True, None)
    assert not knows(site, client)
    assert answer(site, reply.get_json()["challenge"], client=client).status_code == 200
    assert knows(site, client)
    assert finish(site, proof, "bob").status_code == 400


# Once


@with_and_without_codes
def test_a_used_link_or_code_is_invalid(make: NewSite, method: dict[str, Any]) -> None:
    site = make(**method)
    proof = ask_proof(site, by_code=method)
    assert finish(site, proof).status_code == 201
    for username in ("alice", "bob"):
        expected = INVALID if method else LINK_INVALID
        assert finish(site, proof, username).get_json() == expected
    assert len(site.users()) == 1


@with_and_without_codes
def test_an_address_that_was_taken_meanwhile_is_not_taken_over(
    make: NewSite, method: dict[str, Any]
) -> None:
    site = make(**method)
    proof = ask_proof(site, by_code=method)
    account(site, "bob", email=ADDRESS)
    expected = INVALID if method else LINK_INVALID
    assert finish(site, proof).get_json() == expected
    assert [user.username for user in site.users()] == ["bob"]


@with_and_without_codes
def test_after_a_deletion_the_link_makes_another_account_and_the_code_does_not(
    make: NewSite, method: dict[str, Any]
) -> None:
    site = make(**method)
    proof, client = ask_proof(site, by_code=method), site.app.test_client()
    finish(site, proof, client=client)
    client.delete("/accounts/profile/", json={"password": PASSWORD})
    assert site.users() == []
    reply = finish(site, proof)
    if method:
        assert reply.get_json() == INVALID
    else:
        assert reply.status_code == 201


@pytest.mark.databases
@with_and_without_codes
@each_row("pending", [False, True], ids=["free", "pending"])
@each_row("names", [1, 20], ids=["one name", "many names"])
def test_of_twenty_uses_at_once_one_account_comes_out(
    database: str, make: NewSite, method: dict[str, Any], pending: bool, names: int
) -> None:
    site = (
        make(database, config=AT_ONCE, CODE_TRIES=10, **method)
        if method
        else make(database, config=AT_ONCE)
    )
    if pending:
        account(site, "mallory", email=ADDRESS, verified=False)
    proof = ask_proof(site, by_code=method)
    with site.hears(user_registered, user_activated, user_logged_in, user_deleted) as heard:
        replies = at_once(lambda number: finish(site, proof, f"alice{number % names}"), 20)
    found = Counter((each.status_code, each.get_json().get("code")) for each in replies)
    assert found[201, None] == 1, found
    assert found.keys() <= {
        (201, None),
        (400, "signature-invalid"),
        (400, "challenge-invalid"),
        (503, "database-unavailable"),
    }, found
    assert [(user.email, user.is_verified) for user in site.users()] == [(ADDRESS, True)]
    assert Counter(each["signal"] for each in heard) == {
        "user-registered": 1,
        "user-activated": 1,
        "user-logged-in": 1,
        **({"user-deleted": 1} if pending else {}),
    }


# What does not pass


@with_and_without_codes
@each_row(
    "body",
    [
        {"password": "short", "password_confirm": "short"},
        {"password_confirm": "another one"},
        {"username": ""},
        {"username": "a b"},
        {"username": None},
        {"username": "bob"},
    ],
)
def test_a_field_that_does_not_pass_costs_no_link_and_no_try(
    make: NewSite, method: dict[str, Any], body: dict[str, Any]
) -> None:
    site = make(**method)
    account(site, "bob")
    proof = ask_proof(site, by_code=method)
    (field,) = body.keys() - {"password"} or body
    for _ in range(4):
        reply = finish(site, proof, **{"username": "alice", **body})
        assert reply.status_code == 400
        assert reply.get_json().keys() & {field, "password"}
    assert finish(site, proof).status_code == 201


@with_and_without_codes
def test_an_invalid_link_or_code_reveals_no_username(make: NewSite, method: dict[str, Any]) -> None:
    site = make(**method)
    account(site, "bob")
    proof = ask_proof(site, by_code=method)
    wrong = {**proof, **({"code": "BCDF-BCDF"} if method else {"signature": "x"})}
    for username in ("bob", "alice"):
        expected = WRONG if method else LINK_INVALID
        assert finish(site, wrong, username).get_json() == expected
    assert finish(site, proof, "bob").get_json() == {
        "username": ["This username is already in use."]
    }


def test_after_three_wrong_codes_the_challenge_is_invalid(make: NewSite) -> None:
    site = make(**WITH_CODES)
    proof = ask_proof(site, by_code=True)
    for _ in range(3):
        assert finish(site, {**proof, "code": "BCDF-BCDF"}).get_json() == WRONG
    assert finish(site, proof).get_json() == INVALID


@each_row(
    ("change", "expected"),
    [
        ({"email": "bob@example.com"}, LINK_INVALID),
        ({"email": "Alice@example.com"}, LINK_INVALID),
        ({"timestamp": "1"}, LINK_INVALID),
        ({"signature": ""}, {"signature": ["This field is required."]}),
        ({"email": None}, {"email": ["This field may not be null."]}),
        ({"email": ["alice@example.com"]}, LINK_INVALID),
        ({"signature": {}}, LINK_INVALID),
        ({"signature": "é.é"}, LINK_INVALID),
        ({"email": "x" * 60000}, LINK_INVALID),
        ({"challenge": "x"}, {"code": ["This field is required."]}),
        ({"challenge": "x", "code": "BCDF-BCDF"}, INVALID),
        ({"challenge": None, "code": "x"}, {"challenge": ["This field may not be null."]}),
    ],
)
@each_row("method", [{}, WITH_CODES], ids=["links", "codes"])
def test_a_changed_link(
    make: NewSite, change: dict[str, Any], expected: Any, method: dict[str, Any]
) -> None:
    site = make(**method)
    reply = finish(site, {**ask_proof(site), **change})
    assert (reply.status_code, reply.get_json()) == (400, expected)
    assert site.users() == []


@each_row(
    ("change", "expected"),
    [
        ({"email": "bob@example.com"}, INVALID),
        ({"email": "ALICE@example.com"}, None),
        ({"email": " alice@example.com "}, None),
        ({"email": None}, {"email": ["This field may not be null."]}),
        ({"email": "alice"}, {"email": ["Enter a valid email address."]}),
        ({"email": ["x"]}, {"email": ["Not a valid string."]}),
        ({"challenge": 1}, INVALID),
        ({"challenge": []}, {"challenge": ["Not a valid string."]}),
        ({"code": "１２３"}, WRONG),
        ({"code": {}}, {"code": ["Not a valid string."]}),
        ({"code": "x\0"}, {"code": ["This text contains unsupported characters."]}),
    ],
)
def test_a_changed_code(make: NewSite, change: dict[str, Any], expected: Any) -> None:
    site = make(**WITH_CODES)
    reply = finish(site, {**ask_proof(site, by_code=True), **change})
    if expected is None:
        assert reply.status_code == 201
    else:
        assert reply.status_code == 400
        if "Enter a valid" not in str(expected):
            assert reply.get_json() == expected
    assert len(site.users()) == (expected is None)


@each_row("body", [{}, {"username": "alice", "password": PASSWORD}, {"code": "BCDF-BCDF"}])
def test_without_a_link_the_link_is_missing(make: NewSite, body: dict[str, Any]) -> None:
    site = make(**WITH_CODES)
    reply = site.post("finish-sign-up", body)
    assert reply.status_code == 400
    assert reply.get_json().keys() >= {"email", "timestamp", "signature"}


def test_with_codes_only_the_code_is_missing_and_the_page_need_not_exist(make: NewSite) -> None:
    site = make(**{**WITH_CODES, "VERIFICATION_METHOD": "code"})
    reply = ask(site)
    assert links_of(site.read()) == []
    assert site.post("finish-sign-up", {}).get_json().keys() == {"challenge", "code"}
    proof = {"challenge": reply.get_json()["challenge"], "code": site.outbox.latest_code()}
    assert finish(site, proof).get_json() == {"email": ["This field is required."]}
    assert finish(site, {**proof, "email": ADDRESS}).status_code == 201


@each_row(
    "email", ["", "alice", None, [], {}, True, "a@b", "x" * 300 + "@example.com", "a\0@b.com"]
)
def test_an_address_must_be_one(make: NewSite, email: Any) -> None:
    site = make()
    reply = ask(site, email)
    assert (reply.status_code, [*reply.get_json()]) == (400, ["email"])
    assert site.outbox == []


def test_a_link_expires(make: NewSite, clock: Clock) -> None:
    site = make()
    proof = ask_proof(site)
    clock.advance(86400 + 1)
    assert finish(site, proof).get_json() == LINK_EXPIRED


@each_row("other", ["reset-password", "verify-registration", "verify-email", "undo-email-change"])
def test_a_link_is_for_its_endpoint_only(make: NewSite, other: str) -> None:
    site = make()
    user = account(site, "bob")
    link = {**ask_proof(site), "user_id": str(user.id), "password": OTHER_PASSWORD}
    assert site.post(other, link).get_json() == LINK_INVALID


def test_links_of_accounts_finish_no_sign_up(make: NewSite) -> None:
    site = make()
    site.register("bob")
    assert finish(site, {**site.link(), "email": ADDRESS}).get_json() == LINK_INVALID
    site.outbox.clear()
    site.post("send-reset-password-link", {"login": "bob"})
    assert finish(site, {**site.link(), "email": ADDRESS}).get_json() == LINK_INVALID


def test_a_challenge_of_another_purpose_finishes_no_sign_up(make: NewSite) -> None:
    site = make(**WITH_CODES)
    challenge = site.register("bob").get_json()["challenge"]
    proof = {"email": "bob@example.com", "challenge": challenge, "code": site.outbox.latest_code()}
    assert finish(site, proof).get_json() == INVALID
    proof = ask_proof(site, by_code=True)
    assert site.post("verify-registration-code", proof).get_json() == INVALID


def test_the_address_in_the_normal_form_counts(make: NewSite) -> None:
    site = make()
    assert finish(site, ask_proof(site, "Alice@EXAMPLE.com")).get_json()["email"] == ADDRESS
    ask(site, " ALICE@example.com ")
    assert mails(site)[-1] == (ADDRESS, "You already have an account at example.com")


# Who receives what


@each_row(
    "state",
    [
        ("verified", "You already have an account at example.com"),
        ("pending", "Finish signing up for example.com"),
        ("used before it was verified", "You already have an account at example.com"),
        ("suspended", None),
        ("pending and suspended", None),
    ],
)
@with_and_without_codes
def test_the_e_mail_depends_on_the_account(
    make: NewSite, state: tuple[str, str | None], method: dict[str, Any]
) -> None:
    site = make(**method)
    is_verified = state[0] in ("verified", "suspended")
    user = account(site, verified=is_verified)
    if "suspended" in state[0]:
        site.change(user, is_active=False)
    if "used" in state[0]:
        site.change(user, last_login=user.date_joined)
    assert ask(site).status_code == 200
    assert mails(site) == ([(ADDRESS, state[1])] if state[1] else [])


def test_the_owner_of_an_account_chooses_a_new_password_with_the_link(make: NewSite) -> None:
    site = make()
    account(site)
    ask(site)
    text = text_of(site.read())
    assert "You already have an account" in text
    link = site.link()
    reply = site.post("reset-password", {**link, "password": OTHER_PASSWORD})
    assert reply.status_code == 200
    assert has_password(site, OTHER_PASSWORD)


@each_row(
    "settings",
    [
        {"RESET_PASSWORD_VERIFICATION_ENABLED": False},
        {**WITH_CODES, "VERIFICATION_METHOD": "code"},
    ],
    ids=["no reset", "codes only"],
)
def test_without_reset_links_the_e_mail_has_none(make: NewSite, settings: dict[str, Any]) -> None:
    site = make(**settings)
    account(site)
    ask(site)
    assert links_of(site.read()) == []


def test_an_address_receives_one_e_mail_a_minute(make: NewSite, clock: Clock) -> None:
    site = make(MAIL_LIMITS="1/minute;5/hour;10/day")
    for _ in range(3):
        assert ask(site).get_json() == SENT
    ask(site, "bob@example.com")
    assert [each[0] for each in mails(site)] == [ADDRESS, "bob@example.com"]
    clock.advance(61)
    assert finish(site, ask_proof(site)).status_code == 201


# Who has an account


def people(site: Site) -> None:
    account(site, "member")
    account(site, "pending", verified=False)
    site.change(account(site, "gone"), is_active=False)


@with_and_without_codes
def test_the_response_is_the_same_for_every_address(make: NewSite, method: dict[str, Any]) -> None:
    site = make(**method)
    people(site)
    site.assert_uniform_answers(
        free=lambda: ask(site),
        member=lambda: ask(site, "member@example.com"),
        pending=lambda: ask(site, "pending@example.com"),
        suspended=lambda: ask(site, "gone@example.com"),
    )


@with_and_without_codes
def test_the_statements_are_the_same_for_every_address(
    make: NewSite, method: dict[str, Any]
) -> None:
    site = make(outbox_model=define_outbox, MAIL_DISPATCHER="outbox", **method)
    people(site)
    found = []
    for name in ("alice", "member", "pending", "gone"):
        with site.statements() as statements:
            ask(site, f"{name}@example.com")
        kinds = [" ".join(each.split()[:3]) for each in statements]
        found.append(kinds[: kinds.index("INSERT INTO outbox") + 1])  # the rest is the sending
    assert found == [found[0]] * 4


@with_and_without_codes
def test_a_mail_server_that_fails_reveals_no_account(make: NewSite, method: dict[str, Any]) -> None:
    site = make(MAIL_DISPATCHER="inline", **method)
    people(site)

    def fail(*_: Any, **__: Any) -> None:
        raise OSError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flask_mail.Connection.send", fail)
        replies = [ask(site, f"{name}@example.com") for name in ("alice", "member", "gone")]
    assert [each.status_code for each in replies] == [200, 200, 200]
    assert len({(*each.get_json(),) for each in replies}) == 1


def test_a_code_for_a_taken_address_is_wrong(make: NewSite) -> None:
    site = make(**WITH_CODES)
    account(site)
    challenge = ask(site).get_json()["challenge"]
    body = {"email": ADDRESS, "challenge": challenge, "code": "BCDF-BCDF"}
    for _ in range(3):
        assert finish(site, body).get_json() == WRONG
    assert finish(site, body).get_json() == INVALID


def test_codes_for_an_address_are_limited_a_day(make: NewSite, clock: Clock) -> None:
    site = make(**WITH_CODES)
    for _ in range(12):
        assert ask(site).status_code == 200
    assert len(mails(site)) == 10
    assert ask(site, "bob@example.com").status_code == 200
    assert len(mails(site)) == 1
    clock.advance(86400 + 1)
    assert finish(site, ask_proof(site, by_code=True)).status_code == 201


def test_with_links_nothing_is_stored_about_an_address(make: NewSite) -> None:
    site = make(challenge_model=define_challenge, login_model=define_login)
    ask(site)
    assert (site.users(), challenges(site), logins(site)) == ([], [], [])


def test_with_codes_the_table_has_a_keyed_digest_of_the_address(make: NewSite) -> None:
    site = make(outbox_model=define_outbox, MAIL_DISPATCHER="outbox", **WITH_CODES)
    proof = ask_proof(site, by_code=True)
    rows = str([vars(row) for row in challenges(site)])
    for secret in ("alice", proof["challenge"], proof["code"], proof["code"].replace("-", "")):
        assert secret not in rows
    assert finish(site, proof).status_code == 201


def test_an_e_mail_waits_in_the_outbox_without_its_link(make: NewSite, clock: Clock) -> None:
    site = make(outbox_model=define_outbox, MAIL_DISPATCHER="outbox")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flask_mail.Connection.send", fail)
        assert ask(site).get_json() == SENT
    row = letter(site)
    assert (row.state, row.user_id, "signature" in row.content) == ("waiting", "", False)
    clock.advance(3600)
    send_mail(site)
    assert finish(site, site.link()).status_code == 201


# Another person registers the address first


@pytest.mark.databases
@with_and_without_codes
def test_a_pending_registration_is_displaced_with_its_password_and_links(
    database: str, make: NewSite, method: dict[str, Any]
) -> None:
    site = make(database, login_model=define_login, **method)
    site.register("mallory", email=ADDRESS)
    earlier = site.link()
    proof = ask_proof(site, by_code=method)
    with site.hears(user_deleted, user_registered) as heard:
        assert finish(site, proof).status_code == 201
    assert [each["signal"] for each in heard] == ["user-deleted", "user-registered"]
    assert [user.username for user in site.users()] == ["alice"]
    assert not has_password(site, PASSWORD, "mallory")
    assert site.verify(earlier).get_json() == LINK_INVALID


def test_a_registration_during_the_sign_up_is_displaced(make: NewSite) -> None:
    site = make()
    proof = ask_proof(site)
    site.register("alice", email=ADDRESS)  # with the same username
    assert finish(site, proof, password=OTHER_PASSWORD, password_confirm=OTHER_PASSWORD)
    assert has_password(site, OTHER_PASSWORD)
    assert not has_password(site, PASSWORD)


def test_a_pending_registration_of_another_address_keeps_its_username(
    make: NewSite, clock: Clock
) -> None:
    site = make()
    site.register("alice", email="mallory@example.com")
    proof = ask_proof(site)
    assert "username" in finish(site, proof).get_json()
    clock.advance(7 * 86400 + 1)
    assert finish(site, ask_proof(site)).status_code == 201


@each_row("change", [{"last_login": utc_now()}, {"is_active": False}], ids=["used", "suspended"])
def test_a_pending_account_that_was_used_or_suspended_is_not_displaced(
    make: NewSite, change: dict[str, Any]
) -> None:
    site = make()
    proof = ask_proof(site)
    site.change(account(site, "bob", email=ADDRESS, verified=False), **change)
    assert finish(site, proof).get_json() == LINK_INVALID
    assert [each.username for each in site.users()] == ["bob"]


def test_what_a_client_may_not_set_is_ignored(make: NewSite) -> None:
    site = make()
    body: dict[str, Any] = {
        "id": 7,
        "is_active": False,
        "is_verified": False,
        "last_login": None,
        "data": {},
    }
    assert finish(site, ask_proof(site), **body).status_code == 201
    assert (site.user().id, site.user().is_active, site.user().is_verified) == (1, True, True)


def test_the_session_of_another_user_ends_with_the_login(make: NewSite) -> None:
    site = make()
    account(site, "bob")
    client = log_in(site, "bob")
    finish(site, ask_proof(site), client=client)
    assert client.get("/accounts/profile/").get_json()["username"] == "alice"


# Without a password

BY_MAIL: dict[str, Any] = {
    "flows": [*FLOWS, mail_login.flow],
    "challenge_model": define_challenge,
}
NO_PASSWORD: dict[str, Any] = {**BY_MAIL, "SIGN_UP_PASSWORD_REQUIRED": False}


@each_row("model", [{}, {"define": define(EmailUserMixin), "USER_LOGIN_FIELDS": ["email"]}])
@each_row("flows", [["profile"], []], ids=["all flows", "without the profile"])
def test_a_user_signs_up_without_a_password_and_logs_in_by_e_mail(
    make: NewSite, model: dict[str, Any], flows: list[str]
) -> None:
    mounted = [each for each in NO_PASSWORD["flows"] if each.name != "profile" or flows]
    site = make(**{**NO_PASSWORD, "flows": mounted, **model})
    name = {} if model else {"username": "alice"}
    client = site.app.test_client()
    reply = site.post("finish-sign-up", {**ask_proof(site), **name}, client=client)
    assert (reply.status_code, reply.get_json()["has_password"]) == (201, False)
    if flows:
        assert knows(site, client)
    assert str(site.user().password_hash).startswith("!")
    for password in ("", str(site.user().password_hash), PASSWORD):
        login = {"login": ADDRESS if model else "alice", "password": password}
        assert site.post("login", login, client=site.app.test_client()).status_code == 400
    site.outbox.clear()
    assert site.post("send-login-link", {"email": ADDRESS}).status_code == 200
    assert site.post("login-by-link", site.link()).status_code == 200


def test_two_accounts_without_a_password_have_different_hashes(make: NewSite) -> None:
    site = make(**NO_PASSWORD)
    for name in ("alice", "bob"):
        proof = ask_proof(site, f"{name}@example.com")
        client = site.app.test_client()
        assert site.post("finish-sign-up", {**proof, "username": name}, client=client)
        site.outbox.clear()
    assert len({each.password_hash for each in site.users()}) == 2


@each_row(
    ("body", "expected"),
    [
        ({"password": PASSWORD, "password_confirm": PASSWORD}, None),
        ({"password": PASSWORD}, None),
        ({"password": "short"}, "password"),
        ({"password": "alice"}, "password"),
        ({"password": ""}, "password"),
        ({"password": None}, "password"),
        ({"password": []}, "password"),
        ({"password": PASSWORD, "password_confirm": "another one"}, "password_confirm"),
        ({"password_confirm": PASSWORD}, "password_confirm"),
    ],
)
def test_where_no_password_is_required_one_that_is_sent_counts(
    make: NewSite, body: dict[str, Any], expected: str | None
) -> None:
    site = make(**NO_PASSWORD)
    reply = site.post("finish-sign-up", {**ask_proof(site), "username": "alice", **body})
    if expected:
        assert (reply.status_code, [*reply.get_json()]) == (400, [expected])
        assert site.users() == []
    else:
        assert (reply.status_code, reply.get_json()["has_password"]) == (201, True)
        assert has_password(site, PASSWORD)


@each_row("settings", [{}, BY_MAIL], ids=["no login by e-mail", "with login by e-mail"])
def test_a_password_is_required_by_default(make: NewSite, settings: dict[str, Any]) -> None:
    site = make(**settings)
    reply = site.post("finish-sign-up", {**ask_proof(site), "username": "alice"})
    assert (reply.status_code, reply.get_json().keys()) == (400, {"password", "password_confirm"})


def test_a_registration_requires_a_password_all_the_same(make: NewSite) -> None:
    site = make(**NO_PASSWORD)
    reply = site.post("register", {"username": "alice", "email": ADDRESS})
    assert (reply.status_code, reply.get_json().keys()) == (400, {"password", "password_confirm"})


def test_without_a_login_without_a_password_an_account_needs_one(make: NewSite) -> None:
    with pytest.raises(ConfigurationError, match=r"registration\.E068"):
        make(SIGN_UP_PASSWORD_REQUIRED=False)


def test_a_flow_of_the_application_may_log_in_without_a_password(make: NewSite) -> None:
    own: Flow[Settings] = Flow("own", Settings)
    own.provides("logs_in_without_password")(lambda: True)
    site = make(flows=[*FLOWS, own], SIGN_UP_PASSWORD_REQUIRED=False)
    reply = site.post("finish-sign-up", {**ask_proof(site), "username": "alice"})
    assert (reply.status_code, reply.get_json()["has_password"]) == (201, False)


def test_a_password_of_another_type_is_refused(make: NewSite) -> None:
    class Registered(Schema):
        username = fields.String(required=True)
        password = fields.Raw()

    site = make(**NO_PASSWORD, REGISTER_SCHEMA_CLASS=Registered)
    body = {**ask_proof(site), "username": "alice", "password": 12345678901}
    assert site.post("finish-sign-up", body).get_json().keys() == {"password"}


# A link to log in for the owner of an account


def test_the_owner_of_an_account_logs_in_with_the_link(make: NewSite) -> None:
    site = make(**BY_MAIL)
    account(site)
    ask(site)
    text = text_of(site.read())
    assert "log in here" in text
    assert "15 minutes" in text
    link, client = site.link(), site.app.test_client()
    assert site.post("login-by-link", link, client=client).status_code == 200
    assert knows(site, client)
    assert has_password(site, PASSWORD)
    assert site.post("login-by-link", link).get_json() == LINK_INVALID
    assert site.post("reset-password", {**link, "password": OTHER_PASSWORD}).status_code == 400


@each_row("method", ["link", "both"])
def test_the_statements_are_the_same_with_a_login_link(make: NewSite, method: str) -> None:
    site = make(
        **{**BY_MAIL, "flows": [*BY_MAIL["flows"], codes.flow]},
        outbox_model=define_outbox,
        MAIL_DISPATCHER="outbox",
        VERIFICATION_METHOD=method,
    )
    people(site)
    found, rows = [], []
    for name in ("alice", "member", "pending", "gone"):
        before = len(challenges(site))
        with site.statements() as statements:
            assert ask(site, f"{name}@example.com").status_code == 200
        kinds = [" ".join(each.split()[:3]) for each in statements]
        found.append(kinds[: kinds.index("INSERT INTO outbox") + 1])
        rows.append(len(challenges(site)) - before)
    assert found == [found[0]] * 4
    assert "example.com" not in str([vars(row) for row in challenges(site)])


def test_with_codes_only_no_link_to_log_in_is_made(make: NewSite) -> None:
    flows = [*BY_MAIL["flows"], codes.flow]
    site = make(**{**BY_MAIL, "flows": flows}, VERIFICATION_METHOD="code")
    account(site)
    ask(site)
    assert links_of(site.read()) == []
    assert {each.purpose for each in challenges(site)} == {"sign-up", "sign-up.day"}


# Settings and models


def test_closed_registration_closes_it(make: NewSite) -> None:
    site = make(REGISTER_FLOW_ENABLED=False, SIGN_UP_PERIOD=60)
    for reply in (ask(site), finish(site, {"email": ADDRESS})):
        assert (reply.status_code, reply.get_json()["code"]) == (404, "not-found")


def test_it_works_without_the_flow_register(make: NewSite) -> None:
    site = make(flows=[each for each in FLOWS if each.name != "register"])
    assert finish(site, ask_proof(site)).status_code == 201


def test_fields_of_the_model_and_of_a_schema_of_the_application(make: NewSite) -> None:
    class Registered(Schema):
        username = fields.String(required=True)
        email = fields.Email(required=True)
        password = fields.String(required=True)
        team = fields.String(required=True)

        @validates_schema
        def _check(self, data: Any, **_: Any) -> None:
            if data["username"] == data["email"].partition("@")[0]:
                raise ValidationError("Choose another name.", "username")

    columns = {"team": lambda: mapped_column(String(40), nullable=True)}
    site = make(define=mixin_and(**columns), REGISTER_SCHEMA_CLASS=Registered)
    proof = ask_proof(site)
    body = {"password": PASSWORD, "team": "red"}
    assert site.post("finish-sign-up", {**proof, **body, "username": "alice"}).get_json() == {
        "username": ["Choose another name."]
    }
    assert site.post("finish-sign-up", {**proof, **body, "username": "al"}).status_code == 201
    assert site.user().team == "red"


@with_and_without_codes
def test_a_model_whose_column_has_another_name(make: NewSite, method: dict[str, Any]) -> None:
    site = make(
        define=own_model(
            email=lambda: mapped_column(String(254), nullable=True),
            mail=lambda: mapped_column(String(254), unique=True, nullable=False),
        ),
        USER_EMAIL_FIELD="mail",
        USER_PUBLIC_FIELDS=["id", "username", "mail"],
        **method,
    )
    assert ask(site, "alice").get_json().keys() == {"email"}
    reply = finish(site, ask_proof(site, by_code=method))
    assert (reply.status_code, reply.get_json()["mail"]) == (201, ADDRESS)


def test_an_address_must_be_unique(make: NewSite) -> None:
    model = own_model(email=lambda: mapped_column(String(254), nullable=False))
    with pytest.raises(ConfigurationError, match=r"registration\.E067"):
        make(define=model)


def test_users_who_log_in_by_e_mail_choose_a_password_only(make: NewSite) -> None:
    site = make(define=define(EmailUserMixin), USER_LOGIN_FIELDS=["email"])
    twice = {"password": PASSWORD, "password_confirm": PASSWORD}
    reply = site.post("finish-sign-up", {**ask_proof(site), **twice})
    assert (reply.status_code, reply.get_json()["email"]) == (201, ADDRESS)


def test_a_form_of_another_site_can_do_nothing(make: NewSite) -> None:
    site = make()
    assert site.post("sign-up", data={"email": ADDRESS}).status_code == 415
    assert site.outbox == []


def test_the_answers_of_a_used_link_and_a_forged_one_are_the_same(make: NewSite) -> None:
    site = make()
    proof = ask_proof(site)
    finish(site, proof)
    assert whole(finish(site, proof)) == whole(finish(site, {**proof, "signature": "x"}))


# Everywhere else


def test_the_actions_do_the_same(make: NewSite) -> None:
    site = make()
    with site.app.app_context():  # of a script
        assert actions.sign_up("Alice@example.com") == {}
    twice = {"password": PASSWORD, "password_confirm": PASSWORD}
    with site.app.test_request_context():
        profile = actions.finish_sign_up(**site.link(), username="alice", **twice)
        assert flask_login.current_user.username == "alice"
    assert profile["email"] == ADDRESS
    with site.app.test_request_context(), pytest.raises(LinkInvalid):
        actions.finish_sign_up(**site.link(), username="bob", **twice)


def test_the_preview_shows_both_e_mails(make: NewSite) -> None:
    site = make(**WITH_CODES)
    with site.app.test_request_context():
        shown = {each.email.name: each for each in examples(site.app.extensions["registration"])}
    for name in ("sign_up", "sign_up_taken"):
        assert shown[name].error is None
        assert "https://example.com/" in str(getattr(shown[name].message, "body", ""))


def test_the_e_mails_leave_by_a_thread(make: NewSite) -> None:
    site = make(config={"TESTING": False, "MAIL_SUPPRESS_SEND": True})
    account(site, "bob")
    for name in ("alice", "bob"):
        assert ask(site, f"{name}@example.com").get_json() == SENT
    outboxes.finish(site)
    assert sorted(each[0] for each in mails(site)) == [ADDRESS, "bob@example.com"]


def test_an_e_mail_that_fails_is_reported_without_a_user(make: NewSite) -> None:
    site = make()

    def fail(*_: Any, **__: Any) -> None:
        raise OSError

    with site.hears(mail_failed) as heard, pytest.MonkeyPatch.context() as patch:
        patch.setattr("flask_mail.Connection.send", fail)
        assert ask(site).get_json() == SENT
    assert [(each["user"], each["template"]) for each in heard] == [(None, "sign_up")]


def test_it_speaks_the_language_of_the_request(make: NewSite) -> None:
    site = make()
    reply = site.post("sign-up", {"email": ADDRESS}, headers={"Accept-Language": "de"})
    assert (
        reply.get_json()["detail"] == "Eine E-Mail zum Abschließen der Registrierung ist unterwegs"
    )
    assert mails(site) == [(ADDRESS, "Schließen Sie Ihre Registrierung bei example.com ab")]
