"""What the security log says of an account's life; that it tells no secret, `test_life.py` looks
at."""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import flask_login
import pytest
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Uuid, event
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError
from sqlalchemy.orm import mapped_column
from werkzeug.security import generate_password_hash

from flask_registration import (
    DEFAULT_FLOWS,
    ApprovalMixin,
    DeletionMixin,
    UserMixin,
    UserNotFound,
    announce,
    user_logged_in,
)
from flask_registration.flows import (
    approval,
    codes,
    invitations,
    leaving,
    mail_login,
    new_login,
    second_factor,
    sign_up,
    terms,
)

from ..conftest import Clock
from ..people import account, add_members_page, bearer, copy_of, define_login, knows
from ..people import token_of as token_for
from ..site import PASSWORD, Site, define, mixin_and
from ..tables import each_row
from ..test_events import EVENTS_IN_ORDER
from ..test_steps import define_challenge
from .common import OTHER_PASSWORD, ask_move, ask_reset, log_in, member
from .test_invitations import define_invitation
from .test_second_factor import add, define_credential
from .test_terms import define_consent

Log = list[logging.LogRecord]
NewSite = Callable[..., Site]


def events(log: Log) -> list[dict[str, Any]]:
    """What was recorded, in its order: event, account and details; the log is empty afterwards."""
    told = [json.loads(entry.getMessage()) for entry in log]
    log.clear()
    return [
        {key: each[key] for key in each if key not in ("client", "method", "endpoint")}
        for each in told
    ]


def named(name: str, user_id: str | None = "1", **details: Any) -> dict[str, Any]:
    return {"event": name, "user_id": user_id, **details}


# An account's life


def test_an_account_opens_and_its_address_is_proven(site: Site, security_log: Log) -> None:
    site.register()
    assert events(security_log) == [named("user_created")]
    link = site.link()
    site.verify(link)
    assert events(security_log) == [named("user_activated")]
    site.verify(link)
    assert events(security_log) == [], "nothing happened"


def test_each_record_says_where_and_from_where(site: Site, security_log: Log) -> None:
    site.post("register", {}, environ_base={"REMOTE_ADDR": "203.0.113.5"})
    assert security_log == []
    site.post("login", {"login": "x", "password": "y"}, environ_base={"REMOTE_ADDR": "203.0.113.5"})
    told = json.loads(security_log[0].getMessage())
    where = {name: told[name] for name in ("client", "method", "endpoint")}
    assert where == {"client": "203.0.113.5", "method": "POST", "endpoint": "registration.login"}


@each_row("discreet", [True, False])
def test_what_is_taken_is_told_with_its_owner_and_without_what_was_typed(
    new_site: NewSite, security_log: Log, discreet: bool
) -> None:
    site = new_site(PREVENT_ENUMERATION=discreet)
    member(site)
    site.register("bob", email="alice@example.com")
    assert events(security_log) == [named("registration_taken", fields=["email"])]
    site.register("ALICE", email="new@example.com")
    assert events(security_log) == [named("registration_taken", None, fields=["username"])]


def test_whoever_asks_for_a_mail_is_recorded_whether_or_not_there_is_such_an_account(
    new_site: NewSite, security_log: Log
) -> None:
    site = new_site(MAIL_LIMITS=None)
    member(site, verified=False)
    for endpoint, name in (
        ("resend-verification", "verification_request"),
        ("send-reset-password-link", "authn_password_reset_request"),
    ):
        for login, user_id in (("alice", "1"), ("nobody", None)):
            site.post(endpoint, {"login": login})
            assert events(security_log) == [named(name, user_id)]


def test_logins_succeed_and_fail_for_a_reason_that_the_client_is_not_told(
    site: Site, security_log: Log
) -> None:
    member(site)
    member(site, "bob", is_active=False)
    member(site, "carol", verified=False)
    replies = []
    for login, password, expected in (
        ("alice", PASSWORD, named("authn_login_success")),
        ("alice", "hunter2", named("authn_login_fail", reason="wrong")),
        ("hunter2", PASSWORD, named("authn_login_fail", None, reason="unknown")),
        ("bob", PASSWORD, named("authn_login_fail", "2", reason="suspended")),
        ("carol", PASSWORD, named("authn_login_fail", "3", reason="pending")),
        ("carol", "hunter2", named("authn_login_fail", "3", reason="wrong")),
    ):
        replies.append(site.post("login", {"login": login, "password": password}).get_data())
        assert events(security_log) == [expected]
    assert replies[1] == replies[2] == replies[3] == replies[5]


def test_an_account_that_changes_during_a_login_is_told(
    site: Site, security_log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = member(site)
    passwords = site.app.extensions["registration"].passwords
    verify = type(passwords).verify

    def suspend(self: Any, *args: Any) -> Any:
        site.change(user, is_active=False)
        return verify(self, *args)

    monkeypatch.setattr(type(passwords), "verify", suspend)
    assert (
        site.post("login", {"login": "alice", "password": PASSWORD}).get_json()["code"]
        == "login-invalid"
    )
    assert [each["event"] for each in events(security_log)] == ["authn_login_fail"]


def test_an_authenticator_of_one_s_own_may_say_why(new_site: NewSite, security_log: Log) -> None:
    def locked(data: Any, **_: Any) -> Any:
        raise UserNotFound(reason="locked\r\nout")

    new_site(LOGIN_AUTHENTICATOR=locked).post("login", {"login": "alice", "password": PASSWORD})
    assert events(security_log) == [named("authn_login_fail", None, reason="locked\\r\\nout")]


def test_an_outdated_hash_is_replaced(site: Site, security_log: Log) -> None:
    site.change(member(site), password_hash=generate_password_hash(PASSWORD, "pbkdf2:sha256:1"))
    log_in(site)
    assert events(security_log) == [named("authn_password_rehash"), named("authn_login_success")]


def test_logging_out_and_a_session_that_has_ended(site: Site, security_log: Log) -> None:
    user = member(site)
    client = log_in(site)
    old = copy_of(client)
    security_log.clear()
    site.post("logout", {"everywhere": True}, client=client)
    assert events(security_log) == [named("authn_logout")]
    assert not knows(site, old)
    assert events(security_log) == [named("session_use_after_expire", reason="stamp")]
    assert not knows(site)
    assert events(security_log) == []
    client = log_in(site)
    site.change(user, is_active=False)
    security_log.clear()
    assert not knows(site, client)
    assert events(security_log) == [named("session_use_after_expire", reason="suspended")]


def test_a_login_that_is_a_row_is_revoked(new_site: NewSite, security_log: Log) -> None:
    site = new_site(login_model=define_login)
    member(site)
    client, other = log_in(site), log_in(site)
    security_log.clear()
    mine, *_ = (
        login for login in client.get("/accounts/logins/").get_json() if not login["current"]
    )
    assert client.delete(f"/accounts/logins/{mine['id']}/").status_code == 204
    assert events(security_log) == [named("authn_token_revoked", login=str(mine["id"]))]
    assert not knows(site, other)
    assert events(security_log) == [named("session_use_after_expire", reason="revoked")]
    assert client.delete("/accounts/logins/4711/").status_code == 404
    assert events(security_log) == []


def test_a_token_that_is_no_good_is_told_unless_the_application_takes_it(
    site: Site, security_log: Log
) -> None:
    user = member(site)
    manager = flask_login.LoginManager(site.app)

    @manager.request_loader  # type: ignore[untyped-decorator]  # Flask-Login ships no types
    def load(request: Any) -> Any:
        wanted = request.headers["Authorization"] == "Bearer the application's own"
        return site.db.session.get(site.User, user.id) if wanted else None

    ask = add_members_page(site)
    assert ask(headers=bearer("the application's own")).text == "alice"
    assert events(security_log) == []
    assert ask(headers=bearer("x")).status_code == 401
    assert events(security_log) == [named("authn_token_refused", None)]


def test_a_token_of_a_suspended_account_is_told_with_whose_it_was(
    new_site: NewSite, security_log: Log
) -> None:
    site = new_site(LOGIN_RETRIEVE_TOKEN=True)
    user = member(site)
    token = token_for(site)
    site.change(user, is_active=False)
    site.change(user, security_stamp=user.security_stamp)  # as where SQL suspended them
    security_log.clear()
    assert not knows(site, headers=bearer(token))
    assert events(security_log) == [named("authn_token_refused")]


def test_passwords_are_changed_and_reset(site: Site, security_log: Log) -> None:
    member(site)
    client = log_in(site)
    security_log.clear()
    for old, expected in (("x", "authn_password_change_fail"), (PASSWORD, "authn_password_change")):
        body = {"old_password": old, "password": OTHER_PASSWORD, "password_confirm": OTHER_PASSWORD}
        site.post("change-password", body, client=client)
        assert events(security_log) == [named(expected)]
    link = ask_reset(site)
    security_log.clear()
    site.post("reset-password", {**link, "password": "x"})
    assert events(security_log) == [], "the link is still good"
    site.post("reset-password", {**link, "password": PASSWORD})
    assert events(security_log) == [named("authn_password_reset")]


def test_a_reset_verifies_a_pending_account(site: Site, security_log: Log) -> None:
    member(site, verified=False)
    link = ask_reset(site)
    security_log.clear()
    site.post("reset-password", {**link, "password": OTHER_PASSWORD})
    assert events(security_log) == [named("authn_password_reset"), named("user_activated")]


def test_an_address_moves_and_that_is_taken_back(site: Site, security_log: Log) -> None:
    member(site)
    member(site, "bob")
    client = log_in(site)
    security_log.clear()
    site.post("register-email", {"email": "bob@example.com"}, client=client)
    assert events(security_log) == [named("user_email_change_request", taken=True)]
    site.post("register-email", {"email": "x@example.com", "password": "hunter2"}, client=client)
    assert events(security_log) == [named("authn_reauthentication_fail")]
    link = ask_move(site, client, "new@example.com")
    assert events(security_log) == [named("user_email_change_request", taken=False)]
    site.post("verify-email", link, client=client)
    assert events(security_log) == [named("user_email_change")]
    site.post("undo-email-change", site.link())
    assert events(security_log) == [named("user_email_change_undone")]


def test_a_profile_changes_and_the_account_is_deleted(site: Site, security_log: Log) -> None:
    member(site)
    client = log_in(site)
    security_log.clear()
    client.patch("/accounts/profile/", json={"first_name": "Alice"})
    assert events(security_log) == [named("user_updated", fields=["first_name"])]
    client.patch("/accounts/profile/", json={"first_name": "Alice"})
    assert events(security_log) == [], "nothing changed"
    client.delete("/accounts/profile/", json={})
    assert events(security_log) == [named("user_deleted")]


# Refused


def test_a_refused_link_is_told_with_its_kind_and_whom_it_names(
    site: Site, security_log: Log, clock: Clock
) -> None:
    member(site)
    link = ask_reset(site)
    security_log.clear()
    for change, user_id in (
        ({"signature": "x"}, None),
        ({"user_id": "4711"}, None),
        ({"user_id": [1]}, None),
    ):
        site.post("reset-password", {**link, "password": OTHER_PASSWORD, **change})
        assert security_log[0].__dict__["endpoint"] == "registration.reset_password"
        assert events(security_log) == [
            named("authn_link_refused", user_id, code="signature-invalid")
        ]
    clock.advance(timedelta(days=2).total_seconds())
    site.post("reset-password", {**link, "password": OTHER_PASSWORD})
    assert events(security_log) == [named("authn_link_refused", code="signature-expired")]
    clock.advance(-timedelta(days=4).total_seconds())
    site.post("reset-password", {**link, "password": OTHER_PASSWORD})
    assert events(security_log) == [named("authn_link_refused", code="signature-invalid")]


def test_a_link_that_is_used_again_is_told(site: Site, security_log: Log) -> None:
    member(site)
    link = ask_reset(site)
    site.post("reset-password", {**link, "password": OTHER_PASSWORD})
    security_log.clear()
    site.post("reset-password", {**link, "password": OTHER_PASSWORD})
    assert events(security_log) == [named("authn_link_refused", code="signature-invalid")]


def test_a_wrong_code_is_told(new_site: NewSite, security_log: Log) -> None:
    flows = [*DEFAULT_FLOWS, codes.flow]
    site = new_site(flows=flows, challenge_model=define_challenge, VERIFICATION_METHOD="code")
    account(site)
    for login, user_id in (("alice", "1"), ("nobody", None)):
        asked = site.post("send-reset-password-link", {"login": login}).get_json()
        security_log.clear()
        body = {"challenge": asked["challenge"], "code": "x", "password": OTHER_PASSWORD}
        site.post("reset-password-code", body)
        assert security_log[0].__dict__["endpoint"] == "registration.reset_password_code"
        assert events(security_log) == [named("authn_code_refused", user_id)]


# Faults


def test_a_mail_that_is_lost_is_told_without_its_address(
    site: Site, security_log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("alice@example.com: no such mailbox")

    monkeypatch.setattr(site.app.extensions["registration"].mailer, "send", refuse)
    site.register()
    lost = named("sys_mail_failed", template="register", error="OSError")
    assert events(security_log) == [named("user_created"), lost]


def test_a_mail_that_a_limit_drops_is_told_for_any_account(
    new_site: NewSite, security_log: Log
) -> None:
    site = new_site(MAIL_LIMITS="1/minute;5/hour;10/day")
    member(site)
    site.post("send-reset-password-link", {"login": "alice"})
    for login in ("alice", "bob", "bob"):
        site.post("send-reset-password-link", {"login": login})
    dropped = [each for each in events(security_log) if each["event"].startswith("excess")]
    assert [(each["event"], each["user_id"], each["template"]) for each in dropped] == [
        ("excess_mail_limit_exceeded", "1", "reset_password"),
        ("excess_mail_limit_exceeded", None, "reset_password"),
    ]


def test_a_database_that_is_gone_is_told(site: Site, security_log: Log) -> None:
    with site.app.app_context():
        engine = site.db.engine

    def gone(*_: Any) -> None:
        raise OperationalError("SELECT", {}, Exception("gone"))

    event.listen(engine, "before_cursor_execute", gone)
    try:
        assert site.post("login", {"login": "alice", "password": PASSWORD}).status_code == 503
    finally:
        event.remove(engine, "before_cursor_execute", gone)
    assert events(security_log) == [
        named("sys_database_unavailable", None, error="OperationalError")
    ]


def define_numbered(db: SQLAlchemy) -> type[Any]:
    """Users whom links name by another column than their key."""
    columns = {"public_id": lambda: mapped_column(Uuid, unique=True, default=uuid.uuid4)}
    return mixin_and(**columns)(db)


def test_a_database_that_goes_after_the_commit_costs_the_record_its_account_and_nothing_else(
    new_site: NewSite, security_log: Log
) -> None:
    site = new_site(define=define_numbered, USER_VERIFICATION_ID_FIELD="public_id")
    user = member(site)
    client = log_in(site)
    assert events(security_log) == [named("authn_login_success", str(user.public_id))]

    def gone(*_: Any) -> None:
        raise OperationalError("SELECT", {}, Exception("gone"))

    def go(session: Any) -> None:
        event.listen(session.get_bind(), "before_cursor_execute", gone)

    with site.app.app_context():
        engine, session = site.db.engine, site.db.session
    event.listen(session, "after_commit", go)
    try:
        body = {
            "old_password": PASSWORD,
            "password": OTHER_PASSWORD,
            "password_confirm": OTHER_PASSWORD,
        }
        site.app.config["REGISTRATION_PASSWORD_NOTICE_ENABLED"] = False
        assert site.post("change-password", body, client=client).status_code == 200
    finally:
        event.remove(session, "after_commit", go)
        event.remove(engine, "before_cursor_execute", gone)
    assert events(security_log)[0] == named("authn_password_change", None)


def test_a_handler_that_raises_breaks_no_reply(
    site: Site, security_log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("the disk is full")

    logger, handler = logging.getLogger("flask_registration.events"), Broken()
    logger.addHandler(handler)
    try:
        assert site.register().status_code == 201
        assert site.verify().status_code == 200
        log_in(site)
        assert (
            site.post("login", {"login": "alice", "password": "x"}).get_json()["code"]
            == "login-invalid"
        )
    finally:
        logger.removeHandler(handler)
    assert capsys.readouterr().err.count("the disk is full") >= 4


def test_a_login_by_email(new_site: NewSite, security_log: Log) -> None:
    site = new_site(flows=[*DEFAULT_FLOWS, mail_login.flow], challenge_model=define_challenge)
    member(site)
    events(security_log)
    for name in ("alice", "nobody"):
        site.post("send-login-link", {"login": name})
    assert site.post("login-by-link", site.link()).status_code == 200
    assert events(security_log) == [
        named("authn_login_link_request"),
        named("authn_login_link_request", None),
        named("authn_login_success"),
    ]


def test_a_login_that_a_user_reports(new_site: NewSite, security_log: Log) -> None:
    site = new_site(flows=[*DEFAULT_FLOWS, new_login.flow], NEW_LOGIN_NOTICE_ENABLED=True)
    member(site)
    log_in(site)
    log_in(site)
    events(security_log)
    assert site.post("report-login", site.link()).status_code == 200
    assert events(security_log) == [named("authn_login_reported")]


# More than that


def test_no_statement_is_executed_for_it(new_site: NewSite, security_log: Log) -> None:
    def statements(level: int) -> list[str]:
        logging.getLogger("flask_registration.events").setLevel(level)
        site = new_site()
        with site.statements() as executed:
            site.register()
            site.verify()
            client = log_in(site)
            site.post(
                "change-password",
                {"old_password": "x", "password": "x", "password_confirm": "x"},
                client=client,
            )
            site.verify(signature="x")
            ask_move(site, client, "new@example.com")
            client.patch("/accounts/profile/", json={"first_name": "A"})
            site.post("send-reset-password-link", {"login": "alice"})
            site.post("logout", {}, client=client)
        return executed

    assert statements(logging.INFO) == statements(logging.CRITICAL)
    assert len(events(security_log)) == 9


def test_a_flow_of_one_s_own_that_announces_is_recorded_even_where_nobody_listens(
    site: Site, security_log: Log
) -> None:
    user = member(site)
    with site.app.test_request_context("/enter"), user_logged_in.muted():
        announce(user_logged_in, user=user)
    assert events(security_log) == [named("authn_login_success")]


def test_a_second_factor(new_site: NewSite, clock: Clock, security_log: Log) -> None:
    site = new_site(
        flows=[*DEFAULT_FLOWS, second_factor.flow],
        challenge_model=define_challenge,
        credential_model=define_credential,
        CREDENTIAL_KEYS=["a key of the tests that has more than 32 characters"],
    )
    account(site)
    client = log_in(site)
    app = add(site, client, clock)
    security_log.clear()
    reply = site.post("login", {"login": "alice", "password": PASSWORD}).get_json()
    for code in ("WRONG", app.recovery_codes[0]):
        site.post("second-factor", {"challenge": reply["challenge"], "code": code})
    assert client.delete("/accounts/totp/", json={"code": "000000"}).status_code == 400
    assert client.delete("/accounts/totp/", json={"code": app.code()}).status_code == 200
    assert events(security_log) == [
        named("authn_login_fail", reason="code"),
        named("authn_recovery_code_used"),
        named("authn_login_success"),
        named("authn_reauthentication_fail"),
        named("authn_factor_removed"),
    ]
    clock.advance(30)
    add(site, client, clock)
    assert events(security_log) == [named("authn_factor_added")]


def test_the_terms_of_service(new_site: NewSite, security_log: Log) -> None:
    site = new_site(
        flows=[*DEFAULT_FLOWS, terms.flow],
        challenge_model=define_challenge,
        other_models=[define_consent],
        TERMS_VERSION="1",
    )
    account(site)
    security_log.clear()
    reply = site.post("login", {"login": "alice", "password": PASSWORD}).get_json()
    site.post("accept-terms", {"challenge": reply["challenge"], "version": "1"})
    assert events(security_log) == [named("user_terms_accepted"), named("authn_login_success")]


def test_an_approval(new_site: NewSite, security_log: Log) -> None:
    site = new_site(
        flows=[*DEFAULT_FLOWS, approval.flow],
        define=define(ApprovalMixin, UserMixin),
        APPROVERS=["boss@example.com"],
    )
    for name, decision in (("alice", "approve"), ("bob", "reject")):
        site.register(name)
        site.verify()
        link = site.link()
        security_log.clear()
        user_id = link.pop("user_id")
        site.post(f"approvals/{user_id}", {**link, "decision": decision})
        event = {"approve": "user_approved", "reject": "user_rejected"}[decision]
        assert events(security_log) == [named(event, user_id)]


def test_every_event_of_the_flows_is_written_by_a_test_of_this_file() -> None:
    """Those of the throttles, of gates and of the commands have tests of their own."""
    elsewhere = {
        "excess_captcha_refused",
        "excess_rate_limit_exceeded",
        "excess_mail_budget_exceeded",
        "sys_throttle_store_down",
        "user_suspended",
        "user_resumed",
    }
    text = Path(__file__).read_text("utf-8")
    assert {each.name for each in EVENTS_IN_ORDER if f'"{each.name}"' not in text} <= elsewhere


@each_row("failure", [OperationalError, ProgrammingError], ids=["answered 503", "answered 500"])
def test_a_statement_that_fails_is_logged_without_what_it_would_have_written(
    site: Site, caplog: pytest.LogCaptureFixture, failure: type[DBAPIError]
) -> None:
    site.app.config["PROPAGATE_EXCEPTIONS"] = False

    def fail(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("INSERT"):
            raise failure(statement, parameters, Exception("the database's own trouble"))

    with site.app.app_context():
        event.listen(site.db.engine, "before_cursor_execute", fail)
    assert site.register("alice").status_code == (503 if failure is OperationalError else 500)
    with site.app.app_context():
        event.remove(site.db.engine, "before_cursor_execute", fail)
    assert "INSERT INTO users" in caplog.text
    assert not re.search(r"alice@example\.com|argon2|\$m=", caplog.text)


def test_an_export_and_a_deletion_that_is_canceled(new_site: NewSite, security_log: Log) -> None:
    site = new_site(
        flows=[*DEFAULT_FLOWS, leaving.flow],
        define=define(DeletionMixin, UserMixin),
        DELETION_GRACE=timedelta(days=30),
    )
    member(site)
    client = log_in(site)
    events(security_log)
    assert client.get("/accounts/profile/export/").status_code == 200
    assert client.delete("/accounts/profile/").status_code == 202
    assert site.post("cancel-deletion", site.link()).status_code == 200
    assert events(security_log) == [
        named("user_data_exported"),
        named("user_deletion_scheduled"),
        named("user_deletion_canceled"),
    ]


def test_a_sign_up(new_site: NewSite, security_log: Log) -> None:
    site = new_site(flows=[*DEFAULT_FLOWS, sign_up.flow])
    member(site)
    events(security_log)
    for name in ("alice", "bob"):
        site.post("sign-up", {"email": f"{name}@example.com"})
    body = {"username": "bob", "password": PASSWORD, "password_confirm": PASSWORD}
    assert site.post("finish-sign-up", {**site.link(), **body}).status_code == 201
    assert events(security_log) == [
        named("sign_up_request"),
        named("sign_up_request", None),
        named("user_created", "2"),
        named("user_activated", "2"),
        named("authn_login_success", "2"),
    ]


def test_invitations(new_site: NewSite, security_log: Log) -> None:
    site = new_site(
        flows=[*DEFAULT_FLOWS, invitations.flow],
        other_models=[define_invitation],
        MAY_INVITE=lambda user, data: not data,
    )
    member(site)
    client = log_in(site)
    events(security_log)
    for name in ("guest", "other"):
        site.post("invitations", {"email": f"{name}@example.com"}, client=client)
    site.post("invitations", {"email": "bob@example.com", "data": {"a": 1}}, client=client)
    client.post("/accounts/invitations/2/resend/", json={})
    client.delete("/accounts/invitations/2/")
    body = {"username": "grace", "password": PASSWORD, "password_confirm": PASSWORD}
    assert site.post("accept-invitation", {**site.link(0), **body}).status_code == 201
    assert events(security_log) == [
        named("invitation_created", invitation=1),
        named("invitation_created", invitation=2),
        named("authz_fail"),
        named("excess_mail_limit_exceeded", None, template="invitation"),
        named("invitation_resent", invitation=2),
        named("invitation_revoked", invitation=2),
        named("user_created", "2"),
        named("user_activated", "2"),
        named("authn_login_success", "2"),
        named("invitation_accepted", "2"),
    ]
