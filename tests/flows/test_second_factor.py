"""The second factor of a login: an authenticator app with recovery codes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from http.cookies import SimpleCookie
from typing import Any

import flask_login
import pyotp
import pytest
from click.testing import CliRunner
from cryptography.fernet import Fernet
from flask import Flask
from flask.cli import ScriptInfo
from flask.testing import FlaskClient
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event, select
from werkzeug.test import TestResponse

from flask_registration import (
    DEFAULT_FLOWS,
    ConfigurationError,
    CredentialMixin,
    ForeignLogin,
    actions,
    current_registration,
    user_added_factor,
    user_logged_in,
    user_login_failed,
    user_removed_factor,
    user_used_recovery_code,
)
from flask_registration.cli.base import registration_cli
from flask_registration.flows import reauthenticate, second_factor

from ..conftest import Clock
from ..faults.test_interleaved import after_read, in_a_thread
from ..people import (
    accepts,
    account,
    bearer,
    define_login,
    knows,
    log_in,
    token_of,
    with_and_without_login_model,
)
from ..site import PASSWORD, Site
from ..tables import each_row
from ..test_links import define_user_without_stamp
from ..test_steps import AT_ONCE, define_challenge
from .common import NOT_AUTHENTICATED, OTHER_PASSWORD, NewSite, at_once

KEY = "a key for credentials in the tests, which is long"
CODE_INVALID = {"detail": "This code is not correct.", "code": "code-invalid"}
CHALLENGE_INVALID = "challenge-invalid"
THREADS = 20


def define_credential(db: SQLAlchemy) -> type[Any]:
    """The model of the documentation."""

    class Credential(CredentialMixin, db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
        __tablename__ = "credentials"

    return Credential


FLOWS = [*DEFAULT_FLOWS, reauthenticate.flow, second_factor.flow]


@pytest.fixture
def make(new_site: NewSite) -> Any:
    """Make an application with the flow, and Alice in it."""

    def make(*args: Any, **settings: Any) -> Site:
        settings = {"CREDENTIAL_KEYS": [KEY], "flows": FLOWS, **settings}
        models = {"challenge_model": define_challenge, "credential_model": define_credential}
        site = new_site(*args, **models, **settings)
        account(site)
        return site

    return make


class App:
    """An authenticator app, and the recovery codes on paper."""

    def __init__(self, secret: str, clock: Clock) -> None:
        self.secret, self.clock = secret, clock
        self.recovery_codes: list[str] = []

    def code(self, intervals: int = 0) -> str:
        return pyotp.TOTP(self.secret).generate_otp(int(self.clock()) // 30 + intervals)


def add(site: Site, client: FlaskClient, clock: Clock, **options: Any) -> App:
    """Add an authenticator app, and wait until its first code is over."""
    app = App(site.post("totp", {}, client=client, **options).get_json()["secret"], clock)
    confirmed = site.post("totp/confirm", {"code": app.code()}, client=client, **options)
    assert confirmed.status_code == 200, confirmed.get_json()
    app.recovery_codes = confirmed.get_json()["recovery_codes"]
    clock.advance(30)
    return app


def enrolled(site: Site, clock: Clock) -> App:
    return add(site, log_in(site), clock)


def begin(site: Site, client: FlaskClient | None = None, **body: Any) -> TestResponse:
    return site.post("login", {"login": "alice", "password": PASSWORD, **body}, client=client)


def challenge_of(site: Site) -> str:
    handle = begin(site).get_json()["challenge"]
    assert isinstance(handle, str)
    return handle


def finish(
    site: Site, challenge: str, code: str, client: FlaskClient | None = None, **more: Any
) -> TestResponse:
    return site.post("second-factor", {"challenge": challenge, "code": code, **more}, client=client)


def rows(site: Site) -> Any:
    with site.app.app_context():
        model = site.registration._models[-2]
        found = site.db.session.scalars(select(model).order_by(model.id)).all()
        site.db.session.expunge_all()
        return found


def subjects(site: Site) -> list[str]:
    return [str(message.subject) for message in site.outbox]


# Enroll


def test_enrollment_returns_a_secret_its_uri_and_a_qr_code(make: NewSite) -> None:
    site = make(TOTP_ISSUER="Example & Co")
    reply = site.post("totp", {}, client=log_in(site))
    assert reply.status_code == 200
    body = reply.get_json()
    assert re.fullmatch("[A-Z2-7]{32}", body["secret"])
    assert body["uri"] == (
        f"otpauth://totp/Example%20%26%20Co:alice%40example.com?secret={body['secret']}"
        "&issuer=Example%20%26%20Co"
    )
    assert body["qr"].startswith("<svg")
    assert body.keys() == {"secret", "uri", "qr"}


def test_nothing_is_active_before_a_code_confirms_it(make: NewSite, clock: Clock) -> None:
    site = make()
    client = log_in(site)
    app = App(site.post("totp", {}, client=client).get_json()["secret"], clock)
    assert site.post("totp/confirm", {"code": "000000"}, client=client).get_json() == CODE_INVALID
    assert begin(site).status_code == 200
    assert client.get("/accounts/credentials/").get_json() == []
    assert site.post("recovery-codes", {}, client=client).get_json()["code"] == "no-factor"
    confirmed = site.post("totp/confirm", {"code": app.code()}, client=client)
    assert confirmed.get_json()["detail"].startswith("Two-factor authentication is on.")
    assert begin(site).get_json()["code"] == "step-required"


def test_a_secret_waits_for_its_code_as_long_as_a_login_is_fresh(
    make: NewSite, clock: Clock
) -> None:
    """Who confirms it need not be the person who showed the password for it."""
    site = make()
    client = log_in(site)
    app = App(site.post("totp", {}, client=client).get_json()["secret"], clock)
    clock.advance(15 * 60 + 1)
    late = site.post("totp/confirm", {"code": app.code()}, client=client)
    assert late.get_json() == CODE_INVALID
    assert begin(site).status_code == 200


@with_and_without_login_model
def test_a_token_that_adds_or_removes_a_factor_is_as_fresh_as_it_was(
    make: NewSite, clock: Clock, login_model: Any
) -> None:
    site = make(LOGIN_RETRIEVE_TOKEN=True, login_model=login_model)
    old = bearer(token_of(site))
    clock.advance(15 * 60 + 1)
    stale, shown = "reauthentication-required", {"password": PASSWORD}
    app = App(site.post("totp", shown, headers=old).get_json()["secret"], clock)
    added = site.post("totp/confirm", {"code": app.code()}, headers=old).get_json()
    new = bearer(added["token"])
    assert site.post("recovery-codes", {}, headers=new).get_json()["code"] == stale
    body = {"code": added["recovery_codes"][0], **shown}
    client = site.app.test_client()
    removed = client.delete("/accounts/totp/", json=body, headers=new).get_json()
    assert site.post("totp", {}, headers=bearer(removed["token"])).get_json()["code"] == stale


def test_a_second_enrollment_replaces_one_that_is_not_confirmed(
    make: NewSite, clock: Clock
) -> None:
    site = make()
    client = log_in(site)
    first = App(site.post("totp", {}, client=client).get_json()["secret"], clock)
    second = App(site.post("totp", {}, client=client).get_json()["secret"], clock)
    assert site.post("totp/confirm", {"code": first.code()}, client=client).status_code == 400
    assert site.post("totp/confirm", {"code": second.code()}, client=client).status_code == 200
    assert len([row for row in rows(site) if row.kind == "totp"]) == 1


def test_a_code_confirms_no_secret_that_replaces_its_own_meanwhile(
    make: NewSite, clock: Clock
) -> None:
    site = make(SECOND_FACTOR_LOCK=None)  # so that nothing is written before
    client, other = log_in(site), log_in(site)
    app = App(site.post("totp", {}, client=client).get_json()["secret"], clock)
    with after_read(site, 2, lambda: site.post("totp", {}, client=other)) as done:
        reply = site.post("totp/confirm", {"code": app.code()}, client=client)
    assert [each.status_code for each in done] == [200]
    assert reply.get_json() == CODE_INVALID
    assert begin(site).status_code == 200


def test_an_account_has_one_authenticator_app(make: NewSite, clock: Clock) -> None:
    site = make()
    client = log_in(site)
    app = add(site, client, clock)
    assert site.post("totp", {}, client=client).get_json() == {
        "detail": "Two-factor authentication is already on.",
        "code": "factor-exists",
    }
    assert site.post("totp/confirm", {"code": app.code()}, client=client).status_code == 400


def test_it_is_added_with_a_fresh_login_or_the_password(make: NewSite, clock: Clock) -> None:
    site = make()
    client = log_in(site)
    assert site.post("totp", {}).get_json() == NOT_AUTHENTICATED
    assert site.post("totp/confirm", {"code": "123456"}).get_json() == NOT_AUTHENTICATED
    clock.advance(15 * 60 + 1)
    stale = site.post("totp", {}, client=client)
    assert (stale.status_code, stale.get_json()["code"]) == (401, "reauthentication-required")
    wrong = site.post("totp", {"password": "wrong"}, client=client)
    assert wrong.get_json() == {"password": ["Incorrect password."]}
    assert site.post("totp", {"password": PASSWORD}, client=client).status_code == 200


def add_social_login(app: Flask) -> None:
    """A view of the application that logs in without asking the extension."""

    @app.post("/social/<user_id>")
    def social(user_id: str) -> str:
        flask_login.login_user(current_registration.users.get(user_id))
        return ""


def test_it_is_added_to_a_verified_account_only(make: NewSite) -> None:
    site = make(before=add_social_login, REGISTER_VERIFICATION_ENABLED=False)
    bob = account(site, "bob", verified=False)
    client = site.app.test_client()
    assert client.post(f"/social/{bob.id}").status_code == 200
    reply = site.post("totp", {"password": PASSWORD}, client=client)
    assert (reply.status_code, reply.get_json()["code"]) == (400, "not-verified")


@with_and_without_login_model
def test_adding_and_removing_it_ends_other_logins_and_no_links(
    make: NewSite, clock: Clock, login_model: Any
) -> None:
    site = make(login_model=login_model)
    site.post("send-reset-password-link", {"login": "alice"})
    link = site.link()
    other, client = log_in(site), log_in(site)
    app = add(site, client, clock)
    assert (knows(site, other), knows(site, client)) == (False, True)
    third = site.app.test_client()
    assert finish(site, challenge_of(site), app.code(), third).status_code == 200
    body = {"code": app.code(1)}
    assert client.delete("/accounts/totp/", json=body).status_code == 200
    assert (knows(site, third), knows(site, client)) == (False, True)
    assert site.post("reset-password", {**link, "password": OTHER_PASSWORD}).status_code == 200


def test_a_session_stays_as_fresh_as_it_was(make: NewSite, clock: Clock) -> None:
    site = make()
    client = log_in(site)
    clock.advance(15 * 60 + 1)
    body = {"password": PASSWORD}
    app = App(site.post("totp", body, client=client).get_json()["secret"], clock)
    assert site.post("totp/confirm", {"code": app.code()}, client=client).status_code == 200
    stale = site.post("recovery-codes", {}, client=client)
    assert stale.get_json()["code"] == "reauthentication-required"


@with_and_without_login_model
def test_a_client_with_a_token_receives_a_new_one(
    make: NewSite, clock: Clock, login_model: Any
) -> None:
    site = make(
        login_model=login_model, LOGIN_RETRIEVE_TOKEN=True, LOGIN_AUTHENTICATE_SESSION=False
    )
    old = bearer(token_of(site))
    secret = site.post("totp", {}, headers=old).get_json()["secret"]
    app = App(secret, clock)
    reply = site.post("totp/confirm", {"code": app.code()}, headers=old).get_json()
    new = bearer(reply["token"])
    assert site.app.test_client().get("/accounts/profile/", headers=old).status_code == 401
    assert len(reply["recovery_codes"]) == 10
    clock.advance(30)
    client = site.app.test_client()
    removed = client.delete("/accounts/totp/", json={"code": app.code()}, headers=new)
    assert removed.get_json().keys() == {"detail", "token"}
    login = begin(site).get_json()
    assert login.keys() == {"detail", "token"}


# Log in


def test_a_login_needs_a_code_after_the_password(make: NewSite, clock: Clock) -> None:
    site = make(login_model=define_login)
    app = enrolled(site, clock)
    client = site.app.test_client()
    with site.hears(user_logged_in, user_login_failed) as heard:
        reply = begin(site, client)
        assert reply.status_code == 401
        assert "Set-Cookie" not in reply.headers
        body = reply.get_json()
        assert (body["step"], body["methods"]) == ("second-factor", ["totp", "recovery-code"])
        assert heard == []
        wrong = finish(site, body["challenge"], "000000", client)
        assert (wrong.status_code, wrong.get_json()) == (400, CODE_INVALID)
        assert [(each["signal"], each["login"]) for each in heard] == [("user-login-failed", None)]
        assert not knows(site, client)
        right = finish(site, body["challenge"], app.code(), client)
        assert right.get_json() == {"detail": "Login successful"}
    assert [each["signal"] for each in heard] == ["user-login-failed", "user-logged-in"]
    assert knows(site, client)
    (login,) = [each for each in client.get("/accounts/logins/").get_json() if each["current"]]
    assert login["methods"] == ["pwd", "otp"]


@each_row(
    "spelled",
    [
        lambda code: f"{code[:3]} {code[3:]}",
        lambda code: f"{code[:3]}-{code[3:]}",
        lambda code: f"\t{code}\n",
    ],
)
def test_spaces_and_hyphens_in_a_code_do_not_count(
    make: NewSite, clock: Clock, spelled: Callable[[str], str]
) -> None:
    site = make()
    app = enrolled(site, clock)
    assert finish(site, challenge_of(site), spelled(app.code())).status_code == 200


@each_row("digits", ["٠١٢٣٤٥٦٧٨٩", "０１２３４５６７８９", "⁰¹²³⁴⁵⁶⁷⁸⁹"])
def test_only_ascii_digits_count(make: NewSite, clock: Clock, digits: str) -> None:
    site = make()
    app = enrolled(site, clock)
    foreign = app.code().translate(str.maketrans("0123456789", digits))
    assert finish(site, challenge_of(site), foreign).get_json() == CODE_INVALID


@each_row("intervals, is_right", [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_the_clock_of_the_app_may_be_one_interval_off(
    make: NewSite, clock: Clock, intervals: int, is_right: bool
) -> None:
    site = make()
    app = enrolled(site, clock)
    clock.advance(90)  # the code that confirmed is older than all of them
    reply = finish(site, challenge_of(site), app.code(intervals))
    assert reply.status_code == (200 if is_right else 400)


def test_a_code_works_once_also_the_one_that_confirmed(make: NewSite, clock: Clock) -> None:
    site = make()
    client = log_in(site)
    app = App(site.post("totp", {}, client=client).get_json()["secret"], clock)
    first = app.code()
    assert site.post("totp/confirm", {"code": first}, client=client).status_code == 200
    assert finish(site, challenge_of(site), first).get_json() == CODE_INVALID
    clock.advance(30)
    second = app.code()
    assert finish(site, challenge_of(site), second).status_code == 200
    assert finish(site, challenge_of(site), second).get_json() == CODE_INVALID
    assert finish(site, challenge_of(site), first).get_json() == CODE_INVALID


def test_a_recovery_code_works_once_and_its_use_is_notified(make: NewSite, clock: Clock) -> None:
    site = make()
    app = enrolled(site, clock)
    assert all(re.fullmatch("[A-Z]{4}-[A-Z]{4}", code) for code in app.recovery_codes)
    assert len(set(app.recovery_codes)) == 10
    code = app.recovery_codes[3]
    with site.hears(user_used_recovery_code, user_logged_in) as heard:
        typed = code.lower().replace("-", " ")
        assert finish(site, challenge_of(site), typed).status_code == 200
    assert [each["signal"] for each in heard] == ["user-used-recovery-code", "user-logged-in"]
    assert subjects(site)[-1] == "A recovery code for example.com was used"
    assert finish(site, challenge_of(site), code).get_json() == CODE_INVALID
    client = site.app.test_client()
    assert finish(site, challenge_of(site), app.recovery_codes[0], client).status_code == 200
    credentials = client.get("/accounts/credentials/").get_json()
    assert [each.get("remaining") for each in credentials] == [None, 8]


def test_recovery_codes_are_of_one_account(make: NewSite, clock: Clock) -> None:
    site = make()
    app = enrolled(site, clock)
    account(site, "bob")
    bob = add(site, log_in(site, "bob"), clock)
    assert finish(site, challenge_of(site), bob.recovery_codes[0]).get_json() == CODE_INVALID
    assert finish(site, challenge_of(site), app.recovery_codes[0]).status_code == 200


def test_without_recovery_codes_the_response_does_not_offer_them(
    make: NewSite, clock: Clock
) -> None:
    site = make(RECOVERY_CODES=1)
    (code,) = enrolled(site, clock).recovery_codes
    assert finish(site, challenge_of(site), code).status_code == 200
    assert begin(site).get_json()["methods"] == ["totp"]


def test_a_challenge_has_five_tries(make: NewSite, clock: Clock) -> None:
    site = make()
    app = enrolled(site, clock)
    challenge = challenge_of(site)
    for _ in range(5):
        assert finish(site, challenge, "000000").get_json() == CODE_INVALID
    assert finish(site, challenge, app.code()).get_json()["code"] == CHALLENGE_INVALID


def test_a_challenge_expires_for_every_endpoint(make: NewSite, clock: Clock) -> None:
    site = make(SECOND_FACTOR_REQUIRED=True, SECOND_FACTOR_RECOVERY_DELAY=72 * 3600)
    challenge = {"challenge": challenge_of(site)}
    clock.advance(15 * 60 + 1)
    code = {"code": "000000"}
    for endpoint in ("second-factor", "totp", "totp/confirm", "recover-second-factor"):
        reply = site.post(endpoint, {**challenge, **code})
        assert reply.get_json()["code"] == CHALLENGE_INVALID, endpoint


@each_row("field", ["challenge", "code"])
def test_a_missing_field_costs_no_try(make: NewSite, clock: Clock, field: str) -> None:
    site = make(SECOND_FACTOR_TRIES=1)
    app = enrolled(site, clock)
    body = {"challenge": challenge_of(site), "code": app.code()}
    reply = site.post("second-factor", {name: body[name] for name in body if name != field})
    assert reply.get_json() == {field: ["This field is required."]}
    assert site.post("second-factor", body).status_code == 200


def test_a_new_password_neither_removes_nor_skips_the_factor(make: NewSite, clock: Clock) -> None:
    site = make(RESET_PASSWORD_AUTO_LOGIN=True)
    app = enrolled(site, clock)
    site.post("send-reset-password-link", {"login": "alice"})
    reply = site.post("reset-password", {**site.link(), "password": OTHER_PASSWORD})
    assert (reply.status_code, reply.get_json()["step"]) == (401, "second-factor")
    assert finish(site, reply.get_json()["challenge"], app.code()).status_code == 200
    assert begin(site, password=OTHER_PASSWORD).get_json()["code"] == "step-required"


def test_login_user_of_the_application_cannot_walk_past_it(make: NewSite, clock: Clock) -> None:
    site = make(before=add_social_login)
    enrolled(site, clock)
    with pytest.raises(ForeignLogin, match="the step second-factor is left"):
        site.app.test_client().post("/social/1")


# The lock


def test_ten_wrong_codes_lock_the_factor_for_a_while(make: NewSite, clock: Clock) -> None:
    site = make()
    client = log_in(site)
    app = add(site, client, clock)
    challenges = [challenge_of(site) for _ in range(3)]
    for number in range(10):
        assert finish(site, challenges[number // 5], "000000").get_json() == CODE_INVALID
    locked = finish(site, challenges[2], app.code())
    assert (locked.status_code, locked.get_json()["code"]) == (429, "throttled")
    assert 0 < int(locked.headers["Retry-After"]) <= 15 * 60
    assert client.delete("/accounts/totp/", json={"code": app.code()}).status_code == 429
    assert site.post("reauthenticate", {"code": app.code()}, client=client).status_code == 429
    clock.advance(15 * 60 + 1)
    assert finish(site, challenge_of(site), app.code()).status_code == 200


def test_wrong_codes_of_all_endpoints_count_together(make: NewSite, clock: Clock) -> None:
    site = make(SECOND_FACTOR_LOCK="3/hour")
    client = log_in(site)
    app = add(site, client, clock)
    assert finish(site, challenge_of(site), "000000").status_code == 400
    assert client.delete("/accounts/totp/", json={"code": "000000"}).get_json() == CODE_INVALID
    assert site.post("reauthenticate", {"code": "000000"}, client=client).status_code == 400
    assert finish(site, challenge_of(site), app.code()).status_code == 429


def test_wrong_codes_of_an_enrollment_count_too(make: NewSite, clock: Clock) -> None:
    site = make(SECOND_FACTOR_LOCK="3/hour")
    client = log_in(site)
    app = App(site.post("totp", {}, client=client).get_json()["secret"], clock)
    for _ in range(3):
        assert site.post("totp/confirm", {"code": "000000"}, client=client).status_code == 400
    assert site.post("totp/confirm", {"code": app.code()}, client=client).status_code == 429
    app = App(site.post("totp", {}, client=client).get_json()["secret"], clock)
    assert site.post("totp/confirm", {"code": app.code()}, client=client).status_code == 429


@each_row("how", ["totp", "recovery-code"])
def test_a_right_code_clears_the_count(make: NewSite, clock: Clock, how: str) -> None:
    site = make(SECOND_FACTOR_LOCK="3/hour")
    app = enrolled(site, clock)
    for _ in range(3):
        for _ in range(2):
            assert finish(site, challenge_of(site), "000000").status_code == 400
        code = app.code() if how == "totp" else app.recovery_codes.pop()
        assert finish(site, challenge_of(site), code).status_code == 200
        clock.advance(30)


@each_row("how", ["reset", "change", "command"])
def test_a_new_password_ends_the_lock(make: NewSite, clock: Clock, how: str) -> None:
    site = make(SECOND_FACTOR_LOCK="1/hour")
    client = log_in(site)
    app = add(site, client, clock)
    assert finish(site, challenge_of(site), "000000").status_code == 400
    assert finish(site, challenge_of(site), app.code()).status_code == 429
    if how == "reset":
        site.post("send-reset-password-link", {"login": "alice"})
        site.post("reset-password", {**site.link(), "password": OTHER_PASSWORD})
    elif how == "change":
        body = {"old_password": PASSWORD, "password": OTHER_PASSWORD}
        site.post("change-password", {**body, "password_confirm": OTHER_PASSWORD}, client=client)
    else:
        with site.app.app_context():
            user = site.db.session.scalars(select(site.User)).one()
            actions.set_password(user, OTHER_PASSWORD)
    challenge = begin(site, password=OTHER_PASSWORD).get_json()["challenge"]
    assert finish(site, challenge, app.code()).status_code == 200


def test_the_time_of_the_lock_begins_with_the_first_wrong_code(make: NewSite, clock: Clock) -> None:
    site = make(SECOND_FACTOR_LOCK="2/15 minutes")
    app = enrolled(site, clock)
    challenge = challenge_of(site)
    assert finish(site, challenge, "wrong").get_json() == CODE_INVALID
    clock.advance(14 * 60)
    challenge = challenge_of(site)
    assert finish(site, challenge, "wrong").get_json() == CODE_INVALID
    assert int(finish(site, challenge, app.code()).headers["Retry-After"]) <= 60
    clock.advance(61)
    assert finish(site, challenge, app.code()).status_code == 200


def test_a_setting_switches_the_lock_off(make: NewSite, clock: Clock) -> None:
    site = make(SECOND_FACTOR_LOCK=None)
    app = enrolled(site, clock)
    for _ in range(4):
        challenge = challenge_of(site)
        for _ in range(5):
            assert finish(site, challenge, "000000").status_code == 400
    assert finish(site, challenge_of(site), app.code()).status_code == 200


# Manage


def test_the_list_shows_the_app_and_the_recovery_codes(make: NewSite, clock: Clock) -> None:
    site = make()
    client = log_in(site)
    assert client.get("/accounts/credentials/").get_json() == []
    add(site, client, clock)
    app, codes = client.get("/accounts/credentials/").get_json()
    assert app.keys() == {"id", "kind", "name", "created_at", "last_used_at"}
    assert (app["kind"], codes["kind"], codes["remaining"]) == ("totp", "recovery-codes", 10)
    assert codes.keys() == {*app.keys(), "remaining"}
    assert site.app.test_client().get("/accounts/credentials/").status_code == 401


def test_new_recovery_codes_replace_the_earlier_ones(make: NewSite, clock: Clock) -> None:
    site = make()
    client = log_in(site)
    app = add(site, client, clock)
    reply = site.post("recovery-codes", {}, client=client)
    assert reply.status_code == 200
    new = reply.get_json()["recovery_codes"]
    assert len(new) == 10
    assert finish(site, challenge_of(site), app.recovery_codes[0]).get_json() == CODE_INVALID
    assert finish(site, challenge_of(site), new[0]).status_code == 200


@each_row("how", ["totp", "recovery-code"])
def test_removing_it_needs_a_code_and_voids_the_recovery_codes(
    make: NewSite, clock: Clock, how: str
) -> None:
    site = make()
    client = log_in(site)
    assert client.delete("/accounts/totp/", json={"code": "1"}).get_json()["code"] == "no-factor"
    app = add(site, client, clock)
    missing = client.delete("/accounts/totp/", json={})
    assert missing.get_json() == {"code": ["This field is required."]}
    assert client.delete("/accounts/totp/", json={"code": "000000"}).get_json() == CODE_INVALID
    code = app.code() if how == "totp" else app.recovery_codes[0]
    with site.hears(user_removed_factor) as heard:
        removed = client.delete("/accounts/totp/", json={"code": code})
    assert removed.get_json() == {"detail": "Two-factor authentication is off."}
    assert len(heard) == 1
    assert subjects(site)[-1] == "Two-factor authentication for example.com is off"
    assert rows(site) == []
    assert begin(site).status_code == 200


def test_removing_it_needs_a_fresh_login_or_the_password(make: NewSite, clock: Clock) -> None:
    site = make()
    client = log_in(site)
    app = add(site, client, clock)
    clock.advance(15 * 60)
    body = {"code": app.code()}
    stale = client.delete("/accounts/totp/", json=body)
    assert stale.get_json()["code"] == "reauthentication-required"
    removed = client.delete("/accounts/totp/", json={**body, "password": PASSWORD})
    assert removed.status_code == 200


def test_adding_it_is_notified(make: NewSite, clock: Clock) -> None:
    site = make()
    with site.hears(user_added_factor) as heard:
        enrolled(site, clock)
    assert [each["user"].username for each in heard] == ["alice"]
    assert subjects(site)[-1] == "Two-factor authentication for example.com is on"


def test_a_deleted_account_leaves_no_credentials(make: NewSite, clock: Clock) -> None:
    site = make()
    client = log_in(site)
    add(site, client, clock)
    assert client.delete("/accounts/profile/", json={}).status_code == 204
    assert rows(site) == []


# At rest


def test_the_table_has_no_secret(make: NewSite, clock: Clock) -> None:
    site = make()
    app = enrolled(site, clock)
    stored = " ".join(f"{row.secret} {row.key}" for row in rows(site))
    assert app.secret not in stored
    for code in app.recovery_codes:
        assert code not in stored
        assert code.replace("-", "") not in stored


def test_a_new_secret_key_locks_nobody_out(make: NewSite, clock: Clock) -> None:
    site = make()
    app = enrolled(site, clock)
    site.app.secret_key = "another key of the tests, also long enough"
    assert finish(site, challenge_of(site), app.code()).status_code == 200
    assert finish(site, challenge_of(site), app.recovery_codes[0]).status_code == 200


def test_an_earlier_credential_key_still_decrypts(
    make: NewSite, clock: Clock, database: str
) -> None:
    site = make(database)
    app = enrolled(site, clock)
    settings: Any = site.app.extensions["registration"].group(second_factor.SecondFactorSettings)
    new = Fernet.generate_key().decode()
    object.__setattr__(settings, "credential_keys", (KEY, new))
    assert finish(site, challenge_of(site), app.code()).status_code == 200
    assert finish(site, challenge_of(site), app.recovery_codes[0]).status_code == 200
    object.__setattr__(settings, "credential_keys", (new,))
    clock.advance(30)
    assert finish(site, challenge_of(site), app.code()).get_json() == CODE_INVALID


# Required


def test_a_login_enrolls_where_a_factor_is_required(make: NewSite, clock: Clock) -> None:
    site = make(
        SECOND_FACTOR_REQUIRED=lambda user, **kwargs: user.username == "alice",
        login_model=define_login,
    )
    account(site, "bob")
    assert knows(site, log_in(site, "bob"))
    client = site.app.test_client()
    reply = begin(site, client)
    assert reply.status_code == 401
    body = reply.get_json()
    assert (body["step"], body["methods"], body["enroll"]) == ("second-factor", [], ["totp"])
    challenge = {"challenge": body["challenge"]}
    assert site.post("second-factor", {**challenge, "code": "123456"}).get_json() == CODE_INVALID
    app = App(site.post("totp", challenge).get_json()["secret"], clock)
    wrong = site.post("totp/confirm", {**challenge, "code": "000000"}, client=client)
    assert wrong.get_json() == CODE_INVALID
    with site.hears(user_added_factor, user_logged_in) as heard:
        done = site.post("totp/confirm", {**challenge, "code": app.code()}, client=client)
    assert len(done.get_json()["recovery_codes"]) == 10
    assert [each["signal"] for each in heard] == ["user-added-factor", "user-logged-in"]
    assert knows(site, client)
    (login,) = client.get("/accounts/logins/").get_json()
    assert login["methods"] == ["pwd", "otp"]
    clock.advance(30)
    assert finish(site, challenge_of(site), app.code()).status_code == 200
    removed = client.delete("/accounts/totp/", json={"code": app.code(1)})
    assert removed.get_json()["code"] == "factor-required"


def test_asking_for_a_secret_again_costs_no_try(make: NewSite, clock: Clock) -> None:
    site = make(SECOND_FACTOR_REQUIRED=True, SECOND_FACTOR_TRIES=1)
    challenge = {"challenge": challenge_of(site)}
    for _ in range(3):
        app = App(site.post("totp", challenge).get_json()["secret"], clock)
    confirmed = site.post("totp/confirm", {**challenge, "code": app.code()})
    assert confirmed.status_code == 200
    assert site.post("totp", challenge).get_json()["code"] == CHALLENGE_INVALID


def test_wrong_codes_of_an_enrollment_by_challenge_are_tries(make: NewSite, clock: Clock) -> None:
    site = make(SECOND_FACTOR_REQUIRED=True, SECOND_FACTOR_TRIES=2)
    challenge = {"challenge": challenge_of(site)}
    app = App(site.post("totp", challenge).get_json()["secret"], clock)
    for _ in range(2):
        wrong = site.post("totp/confirm", {**challenge, "code": "000000"})
        assert wrong.get_json() == CODE_INVALID
    over = site.post("totp/confirm", {**challenge, "code": app.code()})
    assert over.get_json()["code"] == CHALLENGE_INVALID
    begun = site.post("totp", challenge)
    assert begun.get_json()["code"] == CHALLENGE_INVALID


def test_a_challenge_cannot_add_a_factor_to_an_account_that_has_one(
    make: NewSite, clock: Clock
) -> None:
    site = make()
    enrolled(site, clock)
    challenge = {"challenge": challenge_of(site)}
    assert site.post("totp", challenge).get_json()["code"] == "factor-exists"
    confirmed = site.post("totp/confirm", {**challenge, "code": "123456"})
    assert confirmed.get_json() == CODE_INVALID


# Trusted browsers


TRUST = {"TRUST_BROWSER_PERIOD": 30 * 86400}


def test_a_trusted_browser_needs_no_code_for_a_while(make: NewSite, clock: Clock) -> None:
    site = make(**TRUST)
    app = enrolled(site, clock)
    client = site.app.test_client()
    assert finish(site, challenge_of(site), app.code(), client, trust=True).status_code == 200
    site.post("logout", {}, client=client)
    assert begin(site, client).status_code == 200
    assert begin(site).status_code == 401
    clock.advance(30 * 86400 + 1)
    assert begin(site, client).status_code == 401


def test_the_cookie_of_a_trusted_browser_is_no_token(make: NewSite, clock: Clock) -> None:
    site = make(**TRUST, LOGIN_RETRIEVE_TOKEN=True)
    app = enrolled(site, clock)
    client = site.app.test_client()
    finished = finish(site, challenge_of(site), app.code(), client, trust=True)
    (cookie,) = (
        SimpleCookie(line)
        for line in finished.headers.getlist("Set-Cookie")
        if line.startswith("registration_trust_")
    )
    (morsel,) = cookie.values()
    assert accepts(site, finished.get_json()["token"])
    assert not accepts(site, morsel.value)


@each_row("settings, trust", [({}, True), (TRUST, False)])
def test_no_browser_is_trusted_without_the_setting_and_the_wish(
    make: NewSite, clock: Clock, settings: dict[str, Any], trust: bool
) -> None:
    site = make(**settings)
    app = enrolled(site, clock)
    client = site.app.test_client()
    assert finish(site, challenge_of(site), app.code(), client, trust=trust).status_code == 200
    assert begin(site, client).status_code == 401


def test_a_browser_is_trusted_for_one_account(make: NewSite, clock: Clock) -> None:
    site = make(**TRUST)
    app = enrolled(site, clock)
    account(site, "bob")
    add(site, log_in(site, "bob"), clock)
    client = site.app.test_client()
    assert finish(site, challenge_of(site), app.code(), client, trust=True).status_code == 200
    body = {"login": "bob", "password": PASSWORD}
    assert site.post("login", body, client=client).status_code == 401


@each_row("how", ["everywhere", "password"])
def test_what_ends_all_sessions_ends_the_trust(make: NewSite, clock: Clock, how: str) -> None:
    site = make(**TRUST)
    app = enrolled(site, clock)
    client = site.app.test_client()
    assert finish(site, challenge_of(site), app.code(), client, trust=True).status_code == 200
    password = PASSWORD
    if how == "everywhere":
        site.post("logout", {"everywhere": True}, client=client)
    else:
        password = OTHER_PASSWORD
        body = {"old_password": PASSWORD, "password": password, "password_confirm": password}
        site.post("change-password", body, client=client)
    assert begin(site, client, password=password).status_code == 401


def test_a_change_at_the_same_moment_ends_the_trust(make: NewSite, clock: Clock) -> None:
    site = make(**TRUST)
    app = enrolled(site, clock)
    client, challenge = site.app.test_client(), challenge_of(site)

    def end_logins(sender: Flask, **_: Any) -> None:
        site.change(site.user(), security_stamp="another")

    with user_logged_in.connected_to(end_logins):
        assert finish(site, challenge, app.code(), client, trust=True).status_code == 200
    assert begin(site, client).status_code == 401


# Re-authentication


@each_row("how", ["totp", "recovery-code"])
def test_a_code_makes_a_login_fresh(make: NewSite, clock: Clock, how: str) -> None:
    site = make()
    client = log_in(site)
    app = add(site, client, clock)
    clock.advance(15 * 60 + 1)
    assert site.post("recovery-codes", {}, client=client).status_code == 401
    code = app.code() if how == "totp" else app.recovery_codes[0]
    wrong = site.post("reauthenticate", {"code": "000000"}, client=client)
    assert wrong.get_json() == CODE_INVALID
    assert site.post("reauthenticate", {"code": code}, client=client).status_code == 200
    assert site.post("recovery-codes", {}, client=client).status_code == 200
    assert site.post("reauthenticate", {"code": code}, client=client).get_json() == CODE_INVALID


def test_a_re_authentication_needs_a_password_or_a_code(make: NewSite) -> None:
    site = make()
    client = log_in(site)
    required = {"password": ["This field is required."]}
    assert site.post("reauthenticate", {}, client=client).get_json() == required
    without = site.post("reauthenticate", {"code": "123456"}, client=client)
    assert without.get_json() == CODE_INVALID


# Administration


def test_an_administrator_resets_a_lost_factor(make: NewSite, clock: Clock) -> None:
    site = make()
    client = log_in(site)
    add(site, client, clock)
    run = CliRunner().invoke
    command = ["reset-second-factor", "alice"]
    info = ScriptInfo(create_app=lambda: site.app)
    with site.hears(user_removed_factor) as heard:
        result = run(registration_cli, command, obj=info)
    assert result.output == "Removed the second factor of alice (id 1).\n"
    assert len(heard) == 1
    assert subjects(site)[-1] == "Two-factor authentication for example.com is off"
    assert not knows(site, client)
    assert begin(site).status_code == 200
    again = run(registration_cli, command, obj=info)
    assert again.output == "alice (id 1) has no second factor. Nothing was changed.\n"


@pytest.mark.databases
def test_a_reset_holds_although_the_account_changes_at_the_same_moment(
    database: str, make: NewSite, clock: Clock
) -> None:
    site = make(database)
    enrolled(site, clock)
    meanwhile = [site.User.__table__.update().values(security_stamp="of another request")]

    def change(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE users") and meanwhile:
            other = meanwhile.pop()
            with site.db.engine.begin() as another:
                another.execute(other)

    with site.app.app_context():
        event.listen(site.db.engine, "before_cursor_execute", change)
        user = site.db.session.scalars(select(site.User)).one()
        assert actions.reset_second_factor(user)
        event.remove(site.db.engine, "before_cursor_execute", change)
    assert not meanwhile
    assert rows(site) == []
    assert begin(site).status_code == 200


# Recovery after a while


HOURS = 3600
DELAY = {"SECOND_FACTOR_RECOVERY_DELAY": 72 * HOURS, "login_model": define_login}


def purge(site: Site) -> str:
    info = ScriptInfo(create_app=lambda: site.app)
    result = CliRunner().invoke(registration_cli, ["purge"], obj=info)
    assert result.exit_code == 0, result.output
    return result.output


def ask_recovery(site: Site) -> TestResponse:
    return site.post("recover-second-factor", {"challenge": challenge_of(site)})


def test_a_lost_factor_is_removed_after_a_delay_with_an_e_mail_before(
    make: NewSite, clock: Clock
) -> None:
    site = make(**DELAY)
    client = log_in(site)
    add(site, client, clock)
    sent = len(site.outbox)
    reply = ask_recovery(site)
    assert (reply.status_code, reply.get_json().keys()) == (202, {"detail"})
    assert ask_recovery(site).status_code == 202
    subject = "Someone asked to turn off two-factor authentication for example.com"
    assert subjects(site)[sent:] == [subject]
    clock.advance(47 * HOURS)
    assert "0 reminders" in purge(site)
    clock.advance(HOURS)
    assert "1 reminder sent" in purge(site)
    assert subjects(site)[sent:] == [subject] * 2
    clock.advance(23 * HOURS)
    assert "0 lost second factors" in purge(site)
    assert begin(site).status_code == 401
    clock.advance(HOURS)
    with site.hears(user_removed_factor) as heard:
        assert "1 lost second factor removed" in purge(site)
    assert len(heard) == 1
    assert subjects(site)[-1] == "Two-factor authentication for example.com is off"
    assert begin(site).status_code == 200
    assert not knows(site, client)
    assert rows(site) == []


def test_no_factor_is_removed_before_its_owner_was_reminded(make: NewSite, clock: Clock) -> None:
    site = make(**DELAY)
    enrolled(site, clock)
    ask_recovery(site)
    clock.advance(100 * HOURS)
    assert "1 reminder sent" in purge(site)
    assert "0 lost second factors" in purge(site)
    clock.advance(24 * HOURS)
    assert "1 lost second factor removed" in purge(site)


@each_row("how", ["link", "login", "password", "removal"])
def test_the_owner_cancels_the_removal(make: NewSite, clock: Clock, how: str) -> None:
    site = make(**DELAY)
    client = log_in(site)
    app = add(site, client, clock)
    ask_recovery(site)
    link, password = site.link(), PASSWORD
    if how == "link":
        assert site.post("cancel-recovery", link).status_code == 200
        assert site.post("cancel-recovery", link).get_json()["code"] == "signature-invalid"
    elif how == "login":
        assert finish(site, challenge_of(site), app.code()).status_code == 200
    elif how == "password":
        password = OTHER_PASSWORD
        body = {"old_password": PASSWORD, "password": password, "password_confirm": password}
        assert site.post("change-password", body, client=client).status_code == 200
    else:
        assert client.delete("/accounts/totp/", json={"code": app.code()}).status_code == 200
        clock.advance(30)
        add(site, client, clock)
    for _ in range(4):
        clock.advance(30 * HOURS)
        purge(site)
    assert begin(site, password=password).get_json()["code"] == "step-required"


def test_a_removal_that_is_cancelled_during_the_purge_is_not_done(
    sqlite_url: str, make: NewSite, clock: Clock
) -> None:
    site = make(sqlite_url, **DELAY)
    enrolled(site, clock)
    ask_recovery(site)
    link = site.link()
    clock.advance(48 * HOURS)
    purge(site)
    clock.advance(24 * HOURS)
    first, cancelled = ["DELETE FROM credentials"], []

    def cancel(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if first and statement.startswith(first[0]):
            first.clear()
            cancelled.append(in_a_thread(lambda: site.post("cancel-recovery", link)).status_code)

    with site.app.app_context():
        event.listen(site.db.engine, "before_cursor_execute", cancel)
    assert "0 lost second factors" in purge(site)
    assert cancelled == [200]
    assert begin(site).get_json()["code"] == "step-required"


def test_the_link_works_after_a_new_security_stamp(make: NewSite, clock: Clock) -> None:
    site = make(**DELAY)
    client = log_in(site)
    add(site, client, clock)
    ask_recovery(site)
    assert site.post("logout", {"everywhere": True}, client=client).status_code == 200
    assert site.post("cancel-recovery", site.link()).status_code == 200


def test_the_recovery_needs_the_setting_a_challenge_and_a_factor(
    make: NewSite, clock: Clock
) -> None:
    site = make()
    enrolled(site, clock)
    assert ask_recovery(site).status_code == 404
    site = make(**DELAY, SECOND_FACTOR_REQUIRED=True)
    assert ask_recovery(site).get_json()["code"] == "no-factor"
    wrong = site.post("recover-second-factor", {"challenge": "x"})
    assert wrong.get_json()["code"] == CHALLENGE_INVALID


# Races


@pytest.mark.databases
@each_row("how", ["totp", "recovery-code"])
def test_of_twenty_parallel_logins_with_one_code_one_succeeds(
    database: str, make: NewSite, clock: Clock, how: str
) -> None:
    site = make(database, SECOND_FACTOR_LOCK=None, config=AT_ONCE)
    app = enrolled(site, clock)
    code = app.code() if how == "totp" else app.recovery_codes[0]
    challenges = [challenge_of(site) for _ in range(5)]
    requests = [partial(finish, site, each, code) for each in challenges * 4]
    replies = Counter(
        reply.status_code for reply in at_once(lambda number: requests[number](), THREADS)
    )
    assert replies == {200: 1, 400: THREADS - 1}


@pytest.mark.databases
def test_wrong_codes_at_once_never_exceed_the_lock(
    database: str, make: NewSite, clock: Clock
) -> None:
    site = make(database, SECOND_FACTOR_LOCK="7/hour", SECOND_FACTOR_TRIES=20, config=AT_ONCE)
    enrolled(site, clock)
    challenges = [challenge_of(site) for _ in range(5)]
    requests = [partial(finish, site, each, "000000") for each in challenges * 4]
    replies = Counter(
        reply.status_code for reply in at_once(lambda number: requests[number](), THREADS)
    )
    assert replies == {400: 7, 429: THREADS - 7}


@pytest.mark.databases
def test_of_twenty_parallel_confirmations_one_succeeds(
    database: str, make: NewSite, clock: Clock
) -> None:
    site = make(database, SECOND_FACTOR_LOCK=None, config=AT_ONCE)
    client = log_in(site)
    app = App(site.post("totp", {}, client=client).get_json()["secret"], clock)
    cookie = client.get_cookie("session")
    assert cookie

    def confirm() -> TestResponse:
        other = site.app.test_client()
        other.set_cookie("session", cookie.value)
        return site.post("totp/confirm", {"code": app.code()}, client=other)

    replies = Counter(reply.status_code for reply in at_once(lambda number: confirm(), THREADS))
    assert replies[200] == 1
    assert set(replies) <= {200, 400, 401}
    assert len(rows(site)) == 11


# The configuration


@each_row(
    "settings, problem",
    [
        ({"CREDENTIAL_KEYS": []}, "is not set"),
        ({"CREDENTIAL_KEYS": ["short"]}, "at least 32 characters"),
        ({"SECOND_FACTOR_LOCK": "often"}, 'one limit, such as "10/15 minutes"'),
        ({"SECOND_FACTOR_LOCK": "1/minute;5/hour"}, 'one limit, such as "10/15 minutes"'),
        ({"credential_model": None}, "class Credential(CredentialMixin, db.Model)"),
        ({"challenge_model": None}, "class Challenge(ChallengeMixin, db.Model)"),
    ],
)
def test_a_configuration_that_lacks_something_names_it(
    new_site: NewSite, settings: dict[str, Any], problem: str
) -> None:
    models = {"challenge_model": define_challenge, "credential_model": define_credential}
    with pytest.raises(ConfigurationError) as caught:
        new_site(**{"flows": FLOWS, "CREDENTIAL_KEYS": [KEY], **models, **settings})
    assert problem in str(caught.value)


def test_without_a_stamp_the_sessions_that_a_factor_ends_are_rows(new_site: NewSite) -> None:
    models = {"challenge_model": define_challenge, "credential_model": define_credential}
    options = {
        "define": define_user_without_stamp,
        "flows": FLOWS,
        "CREDENTIAL_KEYS": [KEY],
        **models,
    }
    with pytest.raises(ConfigurationError, match="could not end other sessions"):
        new_site(**options)
    new_site(**options, login_model=define_login)


def test_without_a_stamp_a_factor_ends_other_logins_too(make: NewSite, clock: Clock) -> None:
    site = make(define=define_user_without_stamp, login_model=define_login)
    client, other = log_in(site), log_in(site)
    app = add(site, client, clock)
    assert (knows(site, client), knows(site, other)) == (True, False)
    finish(site, challenge_of(site), app.code(), other)
    body = {"code": app.recovery_codes[0]}
    assert client.delete("/accounts/totp/", json=body).status_code == 200
    assert (knows(site, client), knows(site, other)) == (True, False)


def test_without_a_stamp_no_browser_can_be_trusted(make: NewSite) -> None:
    options = {"define": define_user_without_stamp, "login_model": define_login}
    with pytest.raises(ConfigurationError, match="could end the trust in a browser"):
        make(**options, **TRUST)
