"""Codes in e-mails: for a registration, a reset and an e-mail change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from smtplib import SMTPServerDisconnected
from typing import Any

import pytest
from click.testing import CliRunner
from flask.cli import ScriptInfo
from openapi_spec_validator import validate
from sqlalchemy import delete, update
from werkzeug.test import TestResponse

from flask_registration import (
    DEFAULT_FLOWS,
    CodeInvalid,
    ConfigurationError,
    actions,
    user_activated,
    user_changed_email,
    user_deleted,
    user_logged_in,
    user_registered,
    user_reset_password,
)
from flask_registration.auth.codes import derive_code
from flask_registration.cli.base import registration_cli
from flask_registration.flows import codes
from flask_registration.testing.uniform import compare
from flask_registration.users.stamps import digest_of

from ..conftest import Clock
from ..outboxes import change_letters, define_outbox, letter, send_mail
from ..people import account, define_login, knows, log_in, logins
from ..site import PASSWORD, Site, html_of, text_of
from ..tables import each_row
from ..test_steps import INVALID, WRONG, challenges, define_challenge, word_flow
from .common import AT_ONCE, NewSite, at_once, is_placeholder

NEW = "a whole new set of words 42"
TRIES = 3
PER_DAY = 10
WITH_PASSWORD = {"password": NEW}


@pytest.fixture
def make(new_site: NewSite) -> Any:
    """Make an application whose e-mails have codes."""

    def make(*args: Any, more_flows: Any = (), **settings: Any) -> Site:
        chosen: dict[str, Any] = {
            "flows": [*DEFAULT_FLOWS, codes.flow, *more_flows],
            "challenge_model": define_challenge,
            "VERIFICATION_METHOD": "code",
            "MAIL_LIMITS": None,
        }
        return new_site(*args, **{**chosen, **settings})

    return make


def challenge_in(reply: TestResponse) -> str:
    assert reply.status_code in (200, 201), reply.get_json()
    challenge = reply.get_json()["challenge"]
    assert len(challenge) == 43
    return str(challenge)


def send(site: Site, kind: str, challenge: Any, code: Any = None, **body: Any) -> TestResponse:
    """Send a code, that of the latest e-mail unless given."""
    client = body.pop("client", None)
    given = site.outbox.latest_code() if code is None else code
    return site.post(f"{kind}-code", {"challenge": challenge, "code": given, **body}, client=client)


# An e-mail of each kind: what asks for it, and what its code does


def ask_registration(site: Site) -> str:
    return challenge_in(site.register())


def ask_reset(site: Site) -> str:
    if site.user() is None:
        account(site)
    return challenge_in(site.post("send-reset-password-link", {"login": "alice"}))


def ask_change(site: Site) -> str:
    if site.user() is None:
        account(site)
    body = {"email": "new@example.com", "password": PASSWORD}
    return challenge_in(site.post("register-email", body, client=log_in(site)))


Ask = Callable[[Site], str]
KINDS: list[tuple[Ask, str, dict[str, Any]]] = [
    (ask_registration, "verify-registration", {}),
    (ask_reset, "reset-password", WITH_PASSWORD),
    (ask_change, "verify-email", {}),
]
each_kind = each_row(("ask", "kind", "body"), KINDS, ids=["registration", "reset", "e-mail change"])
each_kind_anew = each_row(
    ("ask", "kind", "body"), KINDS, ids=["registration", "reset", "e-mail change"], anew=True
)


@pytest.mark.databases
@each_row("code_format", ["letters", "digits"])
@each_kind
def test_a_code_does_what_the_link_does_and_works_once(
    database: str, make: NewSite, ask: Ask, kind: str, body: dict[str, Any], code_format: str
) -> None:
    site = make(database, CODE_FORMAT=code_format)
    challenge = ask(site)
    code = site.outbox.latest_code()
    assert len(code) == (9 if code_format == "letters" else 6)
    assert send(site, kind, challenge, "wrong", **body).get_json() == WRONG
    signals = (user_activated, user_changed_email, user_reset_password)
    with site.hears(*signals) as heard:
        reply = send(site, kind, challenge, code, **body)
    assert (reply.status_code, reply.get_json().keys()) == (200, {"detail"})
    assert len(heard) == 1
    assert send(site, kind, challenge, code, **body).get_json() == INVALID
    user = site.user()
    assert user.is_verified
    assert user.email == ("new@example.com" if kind == "verify-email" else "alice@example.com")
    log_in(site, password=NEW if kind == "reset-password" else PASSWORD)
    assert challenge not in str([vars(row) for row in challenges(site)])


@each_kind
def test_with_both_one_email_has_a_link_and_a_code(
    make: NewSite, ask: Ask, kind: str, body: dict[str, Any]
) -> None:
    site = make(VERIFICATION_METHOD="both")
    challenge = ask(site)
    link, mail = site.link(), site.read()
    for part in (text_of(mail), html_of(mail)):
        assert site.outbox.latest_code() in part
        assert "https://example.com/" in part
    assert send(site, kind, challenge, **body).status_code == 200
    used = site.post(kind, {**link, **body})
    assert used.status_code == (200 if kind == "verify-registration" else 400)


@each_kind
def test_with_both_a_code_is_void_once_the_link_was_used(
    make: NewSite, ask: Ask, kind: str, body: dict[str, Any]
) -> None:
    site = make(VERIFICATION_METHOD="both")
    challenge = ask(site)
    code = site.outbox.latest_code()
    assert site.post(kind, {**site.link(), **body}).status_code == 200
    assert send(site, kind, challenge, code, **body).get_json() == INVALID


@each_kind
def test_with_codes_only_no_email_has_a_link(
    make: NewSite, ask: Ask, kind: str, body: dict[str, Any]
) -> None:
    site = make()
    ask(site)
    mail = site.read()
    assert "://" not in text_of(mail)
    assert "href" not in html_of(mail)


@each_kind
def test_with_links_nothing_changes(
    make: NewSite, ask: Ask, kind: str, body: dict[str, Any]
) -> None:
    site = make(VERIFICATION_METHOD="link")
    account(site)
    client = log_in(site)
    for reply in (
        site.register("bob"),
        site.post("resend-verification", {"login": "bob"}),
        site.post("send-reset-password-link", {"login": "alice"}),
        site.post("register-email", {"email": "new@example.com"}, client=client),
    ):
        assert "challenge" not in reply.get_json()
    assert challenges(site) == []
    with pytest.raises(AssertionError, match="has no code"):
        site.outbox.latest_code()


def test_the_test_kit_finds_the_code_in_the_latest_email_to_an_address(make: NewSite) -> None:
    site = make()
    with pytest.raises(AssertionError, match="No e-mail was sent"):
        site.outbox.latest_code()
    first, second = (challenge_in(site.register(name)) for name in ("alice", "bob"))
    code = site.outbox.latest_code(to="alice@example.com")
    assert code != site.outbox.latest_code()
    assert send(site, "verify-registration", first, code).status_code == 200
    assert send(site, "verify-registration", second).status_code == 200
    with pytest.raises(AssertionError, match="to carol@example"):
        site.outbox.latest_code(to="carol@example.com")


# How a code is read


@each_row(
    "spell",
    [
        lambda code: code.lower(),
        lambda code: code.replace("-", ""),
        lambda code: f"  {code.replace('-', ' ')}\n",
        lambda code: "-".join(code.replace("-", "")),
    ],
    ids=["lower case", "no hyphen", "spaces", "hyphens"],
)
def test_a_code_is_read_without_regard_to_case_spaces_and_hyphens(
    make: NewSite, spell: Callable[[str], str]
) -> None:
    site = make()
    challenge = ask_registration(site)
    code = spell(site.outbox.latest_code())
    assert send(site, "verify-registration", challenge, code).status_code == 200


def test_digits_may_be_sent_as_a_number_and_digits_of_other_scripts_do_not_count(
    make: NewSite,
) -> None:
    site = make(CODE_FORMAT="digits")
    challenge = ask_registration(site)
    code = site.outbox.latest_code()
    other = "".join(chr(ord("０") + int(digit)) for digit in code)
    assert send(site, "verify-registration", challenge, other).get_json() == WRONG
    number = int(code) if not code.startswith("0") else code
    assert send(site, "verify-registration", challenge, number).status_code == 200


@each_row("body", [{}, {"challenge": "…"}, {"code": "…"}, {"challenge": None, "code": "x"}])
@each_kind
def test_a_missing_field_is_an_error_of_it_and_costs_no_try(
    make: NewSite, ask: Ask, kind: str, body: dict[str, Any]
) -> None:
    site = make()
    challenge = ask(site)
    sent = {"challenge": challenge, "code": "x"}
    for name in ("challenge", "code"):
        for value in (None, ""):
            reply = site.post(f"{kind}-code", {**sent, name: value})
            assert (reply.status_code, reply.get_json().keys()) == (400, {name})
        rest = {key: value for key, value in sent.items() if key != name}
        reply = site.post(f"{kind}-code", rest)
        assert (reply.status_code, reply.get_json().keys()) == (400, {name})
    assert site.post(f"{kind}-code", {}).get_json().keys() == {"challenge", "code"}
    assert challenges(site)[0].tries_left == TRIES


TEXTS = ["x", "x" * 43, "é" * 43, "x" * 5000, "\x00", "' OR 1=1"]
HOSTILE: list[Any] = [*TEXTS, 17, 1.5, True, [], {}]


@each_row("value", HOSTILE)
@each_kind
def test_no_value_is_more_than_refused(
    make: NewSite, ask: Ask, kind: str, body: dict[str, Any], value: Any
) -> None:
    site = make()
    challenge = ask(site)
    for sent in ({"challenge": value, "code": "x"}, {"challenge": challenge, "code": value}):
        assert site.post(f"{kind}-code", {**sent, **body}).status_code == 400
    assert challenges(site)[0].tries_left >= TRIES - 1


# Tries


@each_kind
def test_the_last_wrong_code_is_wrong_and_everything_after_it_is_invalid(
    make: NewSite, ask: Ask, kind: str, body: dict[str, Any]
) -> None:
    site = make()
    challenge = ask(site)
    for _ in range(TRIES):
        reply = send(site, kind, challenge, "wrong", **body)
        assert (reply.status_code, reply.get_json()) == (400, WRONG)
    for code in ("wrong", None):
        assert send(site, kind, challenge, code, **body).get_json() == INVALID


def test_an_unknown_account_has_a_challenge_that_no_code_solves(make: NewSite) -> None:
    site = make()
    challenge = challenge_in(site.post("send-reset-password-link", {"login": "unknown"}))
    (row,) = challenges(site)
    assert (row.user_id, row.code_digest, site.outbox) == (None, None, [])
    for code in (derived(site, challenge), "wrong", "wrong"):
        assert send(site, "reset-password", challenge, code, **WITH_PASSWORD).get_json() == WRONG
    assert send(site, "reset-password", challenge, "wrong").get_json() == INVALID


@each_kind
def test_a_challenge_is_for_its_endpoint_only(
    make: NewSite, ask: Ask, kind: str, body: dict[str, Any]
) -> None:
    site = make()
    challenge = ask(site)
    code = site.outbox.latest_code()
    for other in {each for _, each, _ in KINDS} - {kind}:
        assert send(site, other, challenge, code, **WITH_PASSWORD).get_json() == INVALID
    assert send(site, kind, challenge, code, **body).status_code == 200


def test_a_code_belongs_to_one_challenge(make: NewSite) -> None:
    site = make()
    account(site)
    first = ask_reset(site)
    code = site.outbox.latest_code()
    second = ask_reset(site)
    other = site.outbox.latest_code()
    assert send(site, "reset-password", second, code, **WITH_PASSWORD).get_json() == WRONG
    assert send(site, "reset-password", first, code, **WITH_PASSWORD).status_code == 200
    assert send(site, "reset-password", second, other, **WITH_PASSWORD).get_json() == INVALID


def test_a_request_without_a_credential_ends_no_challenge(make: NewSite) -> None:
    site = make()
    first = ask_reset(site)
    code = site.outbox.latest_code()
    for _ in range(2 * PER_DAY):
        site.post("send-reset-password-link", {"login": "alice"})
    assert send(site, "reset-password", first, code, **WITH_PASSWORD).status_code == 200


@each_kind
def test_a_code_expires(
    make: NewSite, ask: Ask, kind: str, body: dict[str, Any], clock: Clock
) -> None:
    site = make(CODE_PERIOD=120)
    challenge = ask(site)
    clock.advance(119)
    assert send(site, kind, challenge, "wrong", **body).get_json() == WRONG
    clock.advance(1)
    assert send(site, kind, challenge, **body).get_json() == INVALID


def change(site: Site, **columns: Any) -> None:
    with site.app.app_context():
        site.db.session.execute(update(site.User).values(**columns))
        site.db.session.commit()


def remove(site: Site) -> None:
    with site.app.app_context():
        site.db.session.execute(delete(site.User))
        site.db.session.commit()


@each_row(
    "meanwhile",
    [
        lambda site: change(site, is_active=False),
        lambda site: change(site, security_stamp="0" * 32),
        remove,
    ],
    ids=["suspended", "another stamp", "deleted"],
)
@each_kind
def test_a_challenge_ends_with_its_account(
    make: NewSite, ask: Ask, kind: str, body: dict[str, Any], meanwhile: Callable[[Site], None]
) -> None:
    site = make()
    challenge = ask(site)
    meanwhile(site)
    for code in ("wrong", None):
        assert send(site, kind, challenge, code, **body).get_json() == INVALID


# The password of a reset


@each_row("password", ["short", "alice@example.com", "", None, 17, "x" * 5000])
def test_with_a_wrong_code_the_password_is_not_looked_at(make: NewSite, password: Any) -> None:
    site = make()
    challenge = ask_reset(site)
    reply = send(site, "reset-password", challenge, "wrong", password=password)
    assert reply.get_json() == WRONG


@each_row("body", [{}, {"password": "short"}, {"password": ""}, {"password": "password1234"}])
def test_with_a_right_code_a_password_that_does_not_pass_costs_no_try(
    make: NewSite, body: dict[str, Any]
) -> None:
    site = make(CODE_TRIES=1)
    challenge = ask_reset(site)
    for _ in range(3):
        reply = send(site, "reset-password", challenge, **body)
        assert (reply.status_code, reply.get_json().keys()) == (400, {"password"})
    assert challenges(site)[0].tries_left == 1
    assert send(site, "reset-password", challenge, **WITH_PASSWORD).status_code == 200


def test_the_password_is_confirmed_where_the_setting_says_so(make: NewSite) -> None:
    site = make(RESET_PASSWORD_SCHEMA_PASSWORD_CONFIRM=True)
    challenge = ask_reset(site)
    for others in ({}, {"password_confirm": "another"}):
        reply = send(site, "reset-password", challenge, **WITH_PASSWORD, **others)
        assert reply.get_json().keys() == {"password_confirm"}
    reply = send(site, "reset-password", challenge, **WITH_PASSWORD, password_confirm=NEW)
    assert reply.status_code == 200


def test_a_reset_ends_the_sessions_and_verifies_a_pending_account(make: NewSite) -> None:
    site = make(login_model=define_login)
    site.register()
    challenge = ask_reset(site)
    with site.hears(user_activated, user_reset_password) as heard:
        assert send(site, "reset-password", challenge, **WITH_PASSWORD).status_code == 200
    assert {each["signal"] for each in heard} == {"user-activated", "user-reset-password"}
    assert site.user().is_verified
    client = log_in(site, password=NEW)
    send(site, "reset-password", ask_reset(site), password=PASSWORD)
    assert not knows(site, client)
    assert "password" in str(site.read()["Subject"])  # the notice


# Logins


def test_auto_login_is_that_of_a_link(make: NewSite) -> None:
    once = {"REGISTER_VERIFICATION_ONE_TIME_USE": True, "REGISTER_VERIFICATION_AUTO_LOGIN": True}
    site = make(
        login_model=define_login,
        LOGIN_RETRIEVE_TOKEN=True,
        RESET_PASSWORD_AUTO_LOGIN=True,
        **once,
    )
    client = site.app.test_client()
    with site.hears(user_activated, user_logged_in) as heard:
        reply = send(site, "verify-registration", ask_registration(site), client=client)
    assert reply.get_json().keys() == {"detail", "token"}
    assert [each["signal"] for each in heard] == ["user-activated", "user-logged-in"]
    assert knows(site, client)
    assert {row.methods for row in logins(site)} == {"otp"}
    client = site.app.test_client()
    reply = send(site, "reset-password", ask_reset(site), client=client, **WITH_PASSWORD)
    assert reply.get_json().keys() == {"detail", "token"}
    assert knows(site, client)


def test_what_is_done_stays_done_when_a_step_is_left(make: NewSite) -> None:
    once = {"REGISTER_VERIFICATION_ONE_TIME_USE": True, "REGISTER_VERIFICATION_AUTO_LOGIN": True}
    site = make(more_flows=[word_flow("word")], RESET_PASSWORD_AUTO_LOGIN=True, **once)
    challenge = ask_registration(site)
    reply = send(site, "verify-registration", challenge)
    assert (reply.status_code, reply.get_json()["code"]) == (401, "step-required")
    assert "Set-Cookie" not in reply.headers
    assert site.user().is_verified
    assert send(site, "verify-registration", challenge).get_json() == INVALID
    challenge = ask_reset(site)
    code = site.outbox.latest_code()
    reply = send(site, "reset-password", challenge, code, **WITH_PASSWORD)
    assert (reply.status_code, reply.get_json()["code"]) == (401, "step-required")
    assert send(site, "reset-password", challenge, code, **WITH_PASSWORD).get_json() == INVALID


# The e-mail change


def test_the_login_that_asked_for_a_change_must_still_exist(make: NewSite) -> None:
    site = make(login_model=define_login)
    account(site)
    client = log_in(site)
    body = {"email": "new@example.com", "password": PASSWORD}
    challenge = challenge_in(site.post("register-email", body, client=client))
    assert client.post("/accounts/logout/", json={}).status_code == 200
    assert send(site, "verify-email", challenge).get_json() == INVALID
    assert site.user().email == "alice@example.com"


def test_an_address_in_use_is_answered_alike_and_no_code_changes_to_it(make: NewSite) -> None:
    site = make()
    account(site)
    account(site, "bob")
    client = log_in(site)

    def ask(email: str) -> Callable[[], TestResponse]:
        return lambda: site.post("register-email", {"email": email}, client=client)

    compare(
        site.app,
        {"free": ask("free@example.com"), "in use": ask("bob@example.com")},
        statements=True,
    )
    challenge = challenge_in(ask("bob@example.com")())
    row = challenges(site)[-2]  # the last one counts
    assert (row.data["email"], row.code_digest) == ("bob@example.com", None)
    assert "bob@example.com" in site.outbox[-1].recipients
    for _ in range(TRIES):
        code = derived(site, challenge)
        assert send(site, "verify-email", challenge, code).get_json() == WRONG
    assert send(site, "verify-email", challenge, "wrong").get_json() == INVALID


def derived(site: Site, challenge: str) -> str:
    """The code that a challenge would have."""
    return derive_code(str(site.app.secret_key).encode(), digest_of(challenge), "letters")


def test_an_address_that_was_verified_meanwhile_is_said_to_be_in_use(make: NewSite) -> None:
    site = make()
    challenge = ask_change(site)
    code = site.outbox.latest_code()
    account(site, "bob", email="new@example.com")
    for _ in range(TRIES + 1):  # no try is spent
        reply = send(site, "verify-email", challenge, code)
        assert (reply.status_code, reply.get_json()["code"]) == (400, "email-already-registered")


def test_a_registration_that_merely_claims_the_address_is_displaced(make: NewSite) -> None:
    site = make()
    challenge = ask_change(site)
    code = site.outbox.latest_code()
    account(site, "bob", email="new@example.com", verified=False)
    with site.hears(user_deleted, user_changed_email) as heard:
        assert send(site, "verify-email", challenge, code).status_code == 200
    assert [each["signal"] for each in heard] == ["user-deleted", "user-changed-email"]
    assert [user.username for user in site.users()] == ["alice"]


# A registration with an address in use


def again(site: Site) -> TestResponse:
    """Another client registers with the address of Alice."""
    return site.register("bob", email="alice@example.com", password=NEW)


def test_a_verified_address_is_answered_alike_and_no_code_verifies_it(make: NewSite) -> None:
    site = make()
    account(site)
    compare(
        site.app,
        {"free": lambda: site.register("carol"), "in use": lambda: again(site)},
        statements=True,
    )
    challenge = challenge_in(site.register("dave", email="alice@example.com"))
    assert [mail.subject for mail in site.outbox[-1:]] != []
    for _ in range(TRIES):
        code = derived(site, challenge)
        assert send(site, "verify-registration", challenge, code).get_json() == WRONG
    assert send(site, "verify-registration", challenge, "wrong").get_json() == INVALID


@pytest.mark.databases
@each_row("method", ["code", "both"])
def test_who_registers_again_before_the_verification_finishes_the_latest_registration(
    database: str, make: NewSite, method: str
) -> None:
    site = make(database, VERIFICATION_METHOD=method)
    first = ask_registration(site)
    earlier = site.outbox.latest_code()
    with site.hears(user_registered) as heard:
        latest = challenge_in(again(site))
    assert heard == []
    code = site.outbox.latest_code(to="alice@example.com")
    assert send(site, "verify-registration", first, code).get_json() == WRONG
    with site.hears(user_registered, user_activated, user_deleted) as heard:
        assert send(site, "verify-registration", latest, code).status_code == 200
    assert [each["signal"] for each in heard] == [
        "user-deleted",
        "user-registered",
        "user-activated",
    ]
    (user,) = site.users()
    assert (user.username, user.email, user.is_verified) == ("bob", "alice@example.com", True)
    log_in(site, "bob", NEW)
    assert send(site, "verify-registration", first, earlier).get_json() == INVALID


def test_the_earlier_registration_can_be_finished_as_well(make: NewSite) -> None:
    site = make()
    first = ask_registration(site)
    code = site.outbox.latest_code()
    latest = challenge_in(again(site))
    assert send(site, "verify-registration", first, code).status_code == 200
    reply = send(site, "verify-registration", latest)
    assert (reply.status_code, reply.get_json()["code"]) == (400, "email-already-registered")
    assert site.user(username="alice").is_verified
    assert is_placeholder(site.user(username="bob").email)


def test_registering_again_counts_for_the_owner(make: NewSite) -> None:
    site = make()
    site.register()
    for number in range(2 * PER_DAY):
        site.register(f"user{number}", email="alice@example.com")
    assert len(site.outbox) == 1 + PER_DAY - 1


# How many


@pytest.mark.databases
def test_an_account_gets_ten_codes_a_day_for_each_purpose(
    database: str, make: NewSite, clock: Clock
) -> None:
    site = make(database)
    account(site)
    handles = [ask_reset(site) for _ in range(PER_DAY)]
    assert len(site.outbox) == PER_DAY
    send(site, "reset-password", handles[-1], **WITH_PASSWORD)  # taking one makes no room
    clock.advance(3600)
    purge(site)  # nor does a purge
    late = ask_reset(site)
    assert len(site.outbox) == PER_DAY + 1  # the notice
    code = derived(site, late)
    assert send(site, "reset-password", late, code, **WITH_PASSWORD).get_json() == WRONG
    clock.advance(23 * 3600)
    assert send(site, "reset-password", ask_reset(site), password=PASSWORD).status_code == 200
    for _ in range(2 * PER_DAY):
        ask_reset(site)
    assert len(site.outbox) == PER_DAY + 1 + 2 + PER_DAY - 1


def test_beyond_them_an_email_with_a_link_is_dropped_too(make: NewSite) -> None:
    site = make(VERIFICATION_METHOD="both")
    account(site)
    for _ in range(PER_DAY + 2):
        ask_reset(site)
    assert len(site.outbox) == PER_DAY


@each_row(("tries", "number"), [(1, 30), (2, 15), (10, 3)])
def test_the_tries_of_a_day_are_thirty(make: NewSite, tries: int, number: int) -> None:
    site = make(CODE_TRIES=tries)
    for _ in range(number + 2):
        ask_reset(site)
    assert len(site.outbox) == number


def test_each_purpose_and_each_account_counts_alone(make: NewSite) -> None:
    site = make()
    account(site)
    account(site, "bob")
    for _ in range(2 * PER_DAY):
        site.post("send-reset-password-link", {"login": "alice"})
    site.outbox.clear()
    site.post("send-reset-password-link", {"login": "bob"})
    site.register("carol")
    site.post("resend-verification", {"login": "carol"})
    assert len(site.outbox) == 3


def test_resending_counts_with_the_registration(make: NewSite) -> None:
    site = make()
    site.register()
    for _ in range(2 * PER_DAY):
        challenge = challenge_in(site.post("resend-verification", {"login": "alice"}))
    assert len(site.outbox) == PER_DAY
    code = derived(site, challenge)
    assert send(site, "verify-registration", challenge, code).get_json() == WRONG


def purge(site: Site) -> str:
    info = ScriptInfo(create_app=lambda: site.app, set_debug_flag=False)
    result = CliRunner().invoke(registration_cli, ["purge"], obj=info)
    assert result.exit_code == 0, result.output
    return result.output


def test_purge_removes_expired_challenges(make: NewSite, clock: Clock) -> None:
    site = make()
    ask_reset(site)
    clock.advance(15 * 60 + 1)
    assert "1 expired challenge removed" in purge(site)
    clock.advance(24 * 3600)
    purge(site)
    assert challenges(site) == []


def test_an_email_that_is_dropped_does_not_count(make: NewSite, clock: Clock) -> None:
    site = make(MAIL_LIMITS="1/minute;5/hour;10/day")
    for _ in range(2 * PER_DAY):
        ask_reset(site)
    for number in range(2, PER_DAY + 1):
        clock.advance(3600)
        ask_reset(site)
        assert len(site.outbox) == number
    clock.advance(60)
    ask_reset(site)
    assert len(site.outbox) == PER_DAY


@each_row("login", ["alice", "unknown"])
def test_a_second_email_within_the_pause_has_a_challenge_without_a_code(
    make: NewSite, login: str
) -> None:
    site = make(MAIL_LIMITS="1/minute;5/hour;10/day")
    account(site)
    asked = [site.post("send-reset-password-link", {"login": login}) for _ in range(2)]
    first, second = map(challenge_in, asked)
    assert len(site.outbox) == (1 if login == "alice" else 0)
    code = derived(site, second)
    assert send(site, "reset-password", second, code, **WITH_PASSWORD).get_json() == WRONG
    if login == "alice":
        assert send(site, "reset-password", first, **WITH_PASSWORD).status_code == 200


# Who has an account


@each_row("limits", [None, "1/minute;5/hour;10/day"])
@each_row("login", ["alice", "carol"])
def test_the_response_and_the_statements_are_the_same_whoever_is_meant(
    make: NewSite, limits: str | None, login: str
) -> None:
    site = make(MAIL_LIMITS=limits)
    account(site)
    site.register("carol")
    change(site, is_active=True)
    site.app.extensions["registration"].throttles.counters.memory.shared.windows.clear()
    for endpoint in ("resend-verification", "send-reset-password-link"):
        ask: dict[str, Callable[[], TestResponse]] = {}
        for number, name in enumerate([login, "unknown", login, "unknown", login]):
            ask[f"{number}: {name}"] = lambda endpoint=endpoint, name=name: site.post(  # type: ignore[misc]
                endpoint, {"login": name}
            )
        compare(site.app, ask, statements=True)


def test_a_wrong_code_is_answered_alike_whoever_is_meant(make: NewSite) -> None:
    site = make()
    account(site)
    known, unknown = (
        challenge_in(site.post("send-reset-password-link", {"login": login}))
        for login in ("alice", "unknown")
    )
    for _ in range(TRIES + 1):
        requests: dict[str, Callable[[], TestResponse]] = {
            "known": lambda: send(site, "reset-password", known, "wrong", **WITH_PASSWORD),
            "unknown": lambda: send(site, "reset-password", unknown, "wrong", **WITH_PASSWORD),
        }
        compare(site.app, requests, statements=True)


@each_row("endpoint", ["resend-verification", "send-reset-password-link"])
def test_an_email_that_could_not_be_sent_reveals_no_account(make: NewSite, endpoint: str) -> None:
    site = make(MAIL_DISPATCHER="inline")
    account(site, verified=endpoint != "resend-verification")
    kind = "verify-registration" if endpoint == "resend-verification" else "reset-password"
    for login in ("alice", "unknown"):
        fail_once(site)
        challenge = challenge_in(site.post(endpoint, {"login": login}))
        code = derived(site, challenge)
        assert send(site, kind, challenge, code, **WITH_PASSWORD).get_json() == WRONG
    assert site.outbox == []
    site.app.extensions["registration"].mailer.__dict__.pop("transmit", None)
    challenge = challenge_in(site.post(endpoint, {"login": "alice"}))
    assert send(site, kind, challenge, **WITH_PASSWORD).status_code == 200


# Rendered when it is sent


def test_the_outbox_has_no_code_and_an_email_that_is_sent_again_has_the_same(
    make: NewSite,
) -> None:
    site = make(outbox_model=define_outbox, MAIL_DISPATCHER="outbox")
    fail_once(site)
    challenge = ask_reset(site)
    code = derived(site, challenge)
    row = letter(site)
    assert site.outbox == []
    assert code not in str(vars(row)).upper()
    assert challenge not in str(vars(row))
    assert digest_of(challenge) in row.content
    assert code not in str([vars(each) for each in challenges(site)]).upper()
    assert send_mail(site).startswith("Sent 0")  # not due yet
    change_letters(site, due_at=row.created_at)
    assert send_mail(site).startswith("Sent 1")
    assert site.outbox.latest_code().replace("-", "") == code
    assert send(site, "reset-password", challenge, **WITH_PASSWORD).status_code == 200


def fail_once(site: Site) -> None:
    """Let the mail server refuse the next e-mail for now."""
    mailer = site.app.extensions["registration"].mailer
    transmit = mailer.transmit

    def fail(message: Any) -> None:
        mailer.transmit = transmit
        raise SMTPServerDisconnected

    mailer.transmit = fail


@each_row(("method", "is_sent"), [("code", False), ("both", True)])
def test_an_email_that_is_late_has_no_expired_code(
    make: NewSite, method: str, is_sent: bool, clock: Clock
) -> None:
    site = make(outbox_model=define_outbox, MAIL_DISPATCHER="outbox", VERIFICATION_METHOD=method)
    fail_once(site)
    ask_reset(site)
    clock.advance(15 * 60)
    assert send_mail(site).startswith(f"Sent {int(is_sent)}")
    assert len(site.outbox) == is_sent
    if is_sent:
        assert "code" not in text_of(site.read())


@each_row("keep", [True, False])
def test_a_code_survives_a_rotation_of_the_key_as_long_as_a_link_does(
    make: NewSite, keep: bool
) -> None:
    site = make()
    challenge = ask_reset(site)
    code = site.outbox.latest_code()
    former = [site.app.secret_key] if keep else []
    site.app.config.update(SECRET_KEY="another key of the tests", SECRET_KEY_FALLBACKS=former)
    reply = send(site, "reset-password", challenge, code, **WITH_PASSWORD)
    assert reply.status_code == 200 if keep else reply.get_json() == WRONG


# Parallel requests


@pytest.mark.databases
@each_kind_anew
def test_of_twenty_uses_at_once_one_succeeds(
    database: str, make: NewSite, ask: Ask, kind: str, body: dict[str, Any]
) -> None:
    site = make(database, config=AT_ONCE)
    challenge = ask(site)
    code = site.outbox.latest_code()
    with site.app.app_context():  # so that the row decides, and not the tries
        site.db.session.execute(update(site.registration._models[-1]).values(tries_left=1000))
        site.db.session.commit()
    signals = (user_activated, user_changed_email, user_reset_password)
    with site.hears(*signals) as heard:
        replies = at_once(lambda _: send(site, kind, challenge, code, **body), 20)
    found = Counter((each.status_code, each.get_json().get("code")) for each in replies)
    assert found[200, None] == 1
    others = {
        (200, None),
        (400, "challenge-invalid"),
        (503, "database-unavailable"),
        (503, "too-busy"),
    }
    assert found.keys() <= others
    assert len(heard) == 1


@pytest.mark.databases
@each_row(("ask", "kind", "body"), KINDS[1:], ids=["reset", "e-mail change"], anew=True)
def test_of_twenty_uses_of_a_link_and_its_code_at_once_one_succeeds(
    database: str, make: NewSite, ask: Ask, kind: str, body: dict[str, Any]
) -> None:
    site = make(database, VERIFICATION_METHOD="both", config=AT_ONCE)
    challenge = ask(site)
    code, link = site.outbox.latest_code(), {**site.link(), **body}

    def use(number: int) -> TestResponse:
        if number % 2:
            return site.post(kind, link)
        return send(site, kind, challenge, code, **body)

    found = Counter(each.status_code for each in at_once(use, 20))
    assert found[200] == 1
    assert found.keys() <= {200, 400, 503}


@pytest.mark.databases
def test_of_twenty_who_finish_the_latest_registration_at_once_one_does(
    database: str, make: NewSite
) -> None:
    site = make(database, config=AT_ONCE)
    site.register()
    challenge = challenge_in(again(site))
    code = site.outbox.latest_code()
    with site.app.app_context():
        site.db.session.execute(update(site.registration._models[-1]).values(tries_left=1000))
        site.db.session.commit()
    replies = at_once(lambda _: send(site, "verify-registration", challenge, code), 20)
    found = Counter((each.status_code, each.get_json().get("code")) for each in replies)
    assert found[200, None] == 1
    assert {status for status, _ in found} <= {200, 400, 503}
    assert [user.username for user in site.users()] == ["bob"]


@pytest.mark.databases
def test_of_twenty_wrong_codes_at_once_no_more_are_looked_at_than_there_are_tries(
    database: str, make: NewSite
) -> None:
    site = make(database, config=AT_ONCE)
    challenge = ask_reset(site)
    replies = at_once(
        lambda _: send(site, "reset-password", challenge, "wrong", **WITH_PASSWORD), 20
    )
    found = Counter(each.get_json()["code"] for each in replies)
    assert found["code-invalid"] <= TRIES
    assert found.keys() <= {"code-invalid", "challenge-invalid", "database-unavailable"}
    if "database-unavailable" not in found:
        assert found["code-invalid"] == TRIES


@pytest.mark.databases
def test_of_thirty_requests_at_once_no_more_than_ten_get_a_code(
    database: str, make: NewSite
) -> None:
    site = make(database, config=AT_ONCE)
    account(site)
    replies = at_once(lambda _: site.post("send-reset-password-link", {"login": "alice"}), 30)
    found = Counter(each.status_code for each in replies)
    assert found.keys() <= {200, 503}
    sent = [row for row in challenges(site) if row.code_digest]
    assert len(sent) == len(site.outbox) <= PER_DAY
    if not found[503]:
        assert len(sent) == PER_DAY


# Configuration and description


def test_codes_need_the_flow(new_site: NewSite) -> None:
    with pytest.raises(ConfigurationError) as caught:
        new_site(VERIFICATION_METHOD="both", challenge_model=define_challenge)
    (finding,) = caught.value.findings
    assert finding.id == "registration.E059"
    assert "flows=[*DEFAULT_FLOWS, codes.flow]" in finding.hint


def test_the_flow_needs_the_model(new_site: NewSite) -> None:
    with pytest.raises(ConfigurationError) as caught:
        new_site(flows=[*DEFAULT_FLOWS, codes.flow])
    (finding,) = caught.value.findings
    assert "class Challenge(ChallengeMixin, db.Model)" in finding.hint


def test_a_setting_of_the_flow_needs_the_flow(new_site: NewSite) -> None:
    with pytest.raises(ConfigurationError) as caught:
        new_site(CODE_TRIES=2)
    (finding,) = caught.value.findings
    assert finding.id == "registration.E020"


@each_row("tries", [4, 10])
def test_digits_have_at_most_three_tries(make: NewSite, tries: int) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(CODE_FORMAT="digits", CODE_TRIES=tries)
    (finding,) = caught.value.findings
    assert finding.id == "registration.E060"


@each_row(
    "settings",
    [
        {"CODE_TRIES": 0},
        {"CODE_TRIES": 11},
        {"CODE_FORMAT": "words"},
        {"CODE_PERIOD": 59},
        {"CODE_PERIOD": timedelta(days=2)},
        {"VERIFICATION_METHOD": "sms"},
    ],
)
def test_a_value_that_is_not_allowed_is_refused(make: NewSite, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(**settings)
    assert [finding.id for finding in caught.value.findings] == ["registration.E001"]


def test_codes_need_no_page(make: NewSite) -> None:
    no_page = {"REGISTRATION_REGISTER_VERIFICATION_URL": None}
    flows = [flow for flow in DEFAULT_FLOWS if flow.name != "undo_email_change"]
    site = make(flows=[*flows, codes.flow], config=no_page)
    for ask, kind, body in sorted(KINDS, key=lambda row: bool(row[2])):  # the reset comes last
        assert send(site, kind, ask(site), **body).status_code == 200
    with pytest.raises(ConfigurationError) as caught:
        make(config=no_page)
    assert {finding.subject for finding in caught.value.findings} == {
        "REGISTRATION_UNDO_EMAIL_CHANGE_URL",
        "REGISTRATION_RESET_PASSWORD_VERIFICATION_URL",
    }


@each_row("method", ["link", "code", "both"])
def test_the_api_description_has_the_challenge_where_there_are_codes(
    make: NewSite, method: str
) -> None:
    site = make(VERIFICATION_METHOD=method)
    client = site.app.test_client()
    document = client.get("/accounts/openapi.json").get_json()
    validate(document)
    for name, status in (
        ("register", "201"),
        ("resend-verification", "200"),
        ("send-reset-password-link", "200"),
        ("register-email", "200"),
    ):
        operation = document["paths"][f"/accounts/{name}/"]["post"]
        schema = operation["responses"][status]["content"]["application/json"]["schema"]
        if "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        assert ("challenge" in schema["properties"]) == (method != "link")
    reset = document["paths"]["/accounts/reset-password-code/"]["post"]
    assert "code-invalid" in str(reset["responses"]["400"])
    for field in ("challenge", "code", "password"):
        assert field in str(reset["requestBody"]) + str(document["components"])


def test_a_sender_of_the_application_receives_the_code(make: NewSite) -> None:
    received: list[dict[str, Any]] = []

    def sender(request: Any, user: Any, **kwargs: Any) -> None:
        received.append(kwargs)

    site = make(REGISTER_VERIFICATION_EMAIL_SENDER=sender)
    challenge = ask_registration(site)
    (given,) = received
    assert given["verification_url"] is None
    assert str(given["code_valid_for"]) == "15 minutes"
    assert send(site, "verify-registration", challenge, given["code"]).status_code == 200


@each_row(("method", "has_code"), [("link", False), ("code", True), ("both", True)])
def test_the_preview_shows_a_code(
    make: NewSite, method: str, has_code: bool, tmp_path: Any
) -> None:
    site = make(VERIFICATION_METHOD=method)
    folder = tmp_path / method
    result = site.app.test_cli_runner().invoke(registration_cli, ["preview-mail", str(folder)])
    assert result.exit_code == 0, result.output
    for name in ("register", "register_again", "reset_password", "register_email"):
        text = (folder / f"{name}.txt").read_text("utf-8-sig")
        assert ("This code expires in 15 minutes" in text) == has_code
        assert ("://" in text) == (method != "code")


@each_row(("method", "number"), [("code", 0), ("both", 1)])
def test_an_account_of_an_administrator_waits_for_a_request_of_its_client(
    make: NewSite, method: str, number: int
) -> None:
    site = make(VERIFICATION_METHOD=method)
    with site.app.app_context():
        actions.create_user(
            username="alice", email="alice@example.com", password=PASSWORD, verified=False
        )
    assert len(site.outbox) == number
    challenge = challenge_in(site.post("resend-verification", {"login": "alice"}))
    assert send(site, "verify-registration", challenge).status_code == 200


def test_the_functions_are_those_of_the_endpoints(make: NewSite) -> None:
    site = make()
    fields = {"username": "alice", "email": "alice@example.com", "password": PASSWORD}
    with site.app.test_request_context():
        challenge = actions.register(**fields)["challenge"]
        with pytest.raises(CodeInvalid):
            actions.verify_registration_code(challenge, "wrong")
        actions.verify_registration_code(challenge, site.outbox.latest_code())
    with site.app.app_context():
        challenge = actions.send_reset_password_link(login="alice")["challenge"]
        actions.reset_password_code(challenge, site.outbox.latest_code(), password=NEW)
    log_in(site, password=NEW)


# Sent again


def test_a_code_that_is_sent_again_verifies_no_password_of_another_client(
    make: NewSite, clock: Clock
) -> None:
    site = make()
    mallory = site.register("mallory", email="alice@example.com").get_json()["challenge"]
    site.register("alice")
    clock.advance(61)
    again = site.post("resend-verification", {"email": "alice@example.com"}).get_json()
    body = {"challenge": again["challenge"], "code": site.outbox.latest_code()}
    assert site.post("verify-registration-code", body).status_code == 200
    login = {"login": "mallory", "password": PASSWORD}
    assert site.post("login", login).get_json()["code"] == "login-invalid"
    clock.advance(61)
    other = site.post("resend-verification", {"email": "alice@example.com", "challenge": mallory})
    assert other.status_code == 200
    assert site.post("login", login).get_json()["code"] == "login-invalid"


def test_with_the_challenge_of_the_registration_the_password_stays(
    make: NewSite, clock: Clock
) -> None:
    site = make()
    challenge = site.register("alice").get_json()["challenge"]
    for _ in range(2):
        clock.advance(61)
        names = {"email": "alice@example.com", "challenge": challenge}
        challenge = site.post("resend-verification", names).get_json()["challenge"]
    body = {"challenge": challenge, "code": site.outbox.latest_code()}
    assert site.post("verify-registration-code", body).status_code == 200
    login = {"login": "alice", "password": PASSWORD}
    assert site.post("login", login).status_code == 200


@each_row("kind", ["of another registration", "of an e-mail sent again", "unknown"])
def test_with_another_challenge_the_password_does_not_stay(
    make: NewSite, clock: Clock, kind: str
) -> None:
    site = make()
    site.register("mallory", email="alice@example.com")
    bob = challenge_in(site.register("bob"))
    clock.advance(61)
    if kind == "of an e-mail sent again":
        again = challenge_in(site.post("resend-verification", {"email": "alice@example.com"}))
        clock.advance(61)
    given = {"of another registration": bob, "unknown": "unknown"}.get(kind) or again
    names = {"email": "alice@example.com", "challenge": given}
    challenge = challenge_in(site.post("resend-verification", names))
    code = site.outbox.latest_code("alice@example.com")
    assert send(site, "verify-registration", challenge, code).status_code == 200
    login = {"login": "mallory", "password": PASSWORD}
    assert site.post("login", login).get_json()["code"] == "login-invalid"
