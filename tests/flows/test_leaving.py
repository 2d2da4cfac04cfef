"""Deletion with a grace period: scheduled, canceled, done by ``flask registration purge``."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import flask_login
import pytest
from flask.testing import FlaskClient
from sqlalchemy import Boolean, DateTime, select, update
from sqlalchemy.orm import mapped_column
from werkzeug.test import TestResponse

from flask_registration import (
    DEFAULT_FLOWS,
    ConfigurationError,
    DeletionMixin,
    EmailUserMixin,
    ForeignLogin,
    LinkInvalid,
    UserMixin,
    actions,
    user_deleted,
    user_deletion_scheduled,
    user_logged_in,
)
from flask_registration.actions.administration import expired
from flask_registration.errors import (
    AccountInUse,
    AccountUnusable,
    AdministrationError,
    LoginInvalid,
)
from flask_registration.flows import codes, leaving, mail_login, sign_up, verification_redirects
from flask_registration.testing.uniform import mail_after

from ..conftest import Clock
from ..outboxes import OUTBOX, command, send_mail
from ..people import (
    LOGIN_INVALID,
    account,
    add_members_page,
    change_login,
    copy_of,
    define_login,
    knows,
    logins,
    profile,
)
from ..site import PASSWORD, Site, define, links_of, mixin_and, text_column, text_of, whole
from ..tables import each_row
from ..test_steps import AT_ONCE, INVALID, define_challenge, word_flow
from .common import (
    BOTH_KINDS_OF_SESSION,
    DAYS,
    LINK_INVALID,
    OTHER_PASSWORD,
    NewSite,
    at_once,
    forged,
    has_password,
    log_in,
    mails,
    member,
    move,
    row,
    token_of,
)
from .test_placeholder import purge
from .test_verification_redirects import Form

PROFILE = "/accounts/profile/"
GRACE = timedelta(days=30)
FLOWS = [*DEFAULT_FLOWS, leaving.flow]
SCHEDULED = "Your example.com account will be deleted"
DELETED = "Your example.com account was deleted"
KEPT = {"detail": "Your account was not deleted. You can log in again."}
define_leaving = define(DeletionMixin, UserMixin)


@pytest.fixture
def make(new_site: NewSite) -> Any:
    """Make an application with a grace period."""

    def make(*args: Any, **settings: Any) -> Site:
        defaults = {"flows": FLOWS, "define": define_leaving, "DELETION_GRACE": GRACE}
        return new_site(*args, **{**defaults, "MAIL_LIMITS": None, **settings})

    return make


def leave(site: Site, client: FlaskClient | None = None, **options: Any) -> TestResponse:
    """Delete the account of a client, Alice's unless told whose."""
    return (client or log_in(site)).delete(PROFILE, **options)


def scheduled(site: Site, name: str = "alice") -> dict[str, str]:
    """Let a member schedule the deletion; the parameters of the link that cancels it."""
    account(site, name)
    assert leave(site, log_in(site, name)).status_code == 202
    return site.link()


def cancel(site: Site, link: dict[str, Any], client: FlaskClient | None = None) -> TestResponse:
    return site.post("cancel-deletion", link, client=client)


# Schedule


@pytest.mark.databases
@BOTH_KINDS_OF_SESSION
def test_an_account_is_locked_at_once_and_deleted_after_the_grace_period(
    database: str, make: NewSite, clock: Clock, sessions: dict[str, Any]
) -> None:
    site = make(database, LOGIN_RETRIEVE_TOKEN=True, **sessions)
    user = account(site)
    client, elsewhere, token = log_in(site), log_in(site), token_of(site)
    thief = copy_of(client)
    with site.hears(user_deletion_scheduled, user_deleted) as heard:
        reply = leave(site, client)
    moment = datetime.fromtimestamp(clock.now, UTC) + GRACE
    assert (reply.status_code, reply.get_json()) == (202, {"delete_after": moment.isoformat()})
    assert reply.headers["Cache-Control"] == "no-store"
    assert [(each["signal"], each["user"].id) for each in heard] == [
        ("user-deletion-scheduled", user.id)
    ]
    assert client.get_cookie("session") is None
    for each in (client, elsewhere, thief):
        assert not knows(site, each)
    assert not knows(site, headers=token)
    if sessions:
        assert logins(site) == []
    assert mails(site) == [("alice@example.com", SCHEDULED)]
    clock.advance(30 * DAYS - 1)
    assert "0 scheduled deletions" in purge(site)
    assert site.user().username == "alice"
    clock.advance(1)
    with site.hears(user_deletion_scheduled, user_deleted) as heard:
        assert "1 scheduled deletion done" in purge(site)
    assert [(each["signal"], each["user"].username) for each in heard] == [
        ("user-deleted", "alice")
    ]
    assert site.users() == []
    assert mails(site) == [("alice@example.com", DELETED)]
    assert "0 scheduled deletions" in purge(site)
    assert site.outbox == []


def test_without_a_grace_period_the_account_is_deleted_at_once(make: NewSite) -> None:
    site = make(DELETION_GRACE=None)
    account(site)
    reply = leave(site)
    assert (reply.status_code, reply.get_data()) == (204, b"")
    assert site.users() == []
    assert mails(site) == [("alice@example.com", DELETED)]


def test_the_e_mail_says_when_and_has_the_link(make: NewSite, clock: Clock) -> None:
    clock.now = datetime(2026, 3, 1, 12, 34, 56, tzinfo=UTC).timestamp()
    site = make()
    link = scheduled(site)
    text = " ".join(text_of(site.read()).split())
    assert "will be deleted on 2026-03-31 12:34 UTC. Until then it is locked" in text
    assert links_of(site.read())[0].startswith("https://example.com/cancel-deletion/?timestamp=")
    assert link.keys() == {"timestamp", "user_id", "signature"}


def test_a_deletion_needs_a_fresh_login_or_the_password(make: NewSite, clock: Clock) -> None:
    site = make()
    account(site)
    client = log_in(site)
    clock.advance(3600)
    assert leave(site, client).get_json()["code"] == "reauthentication-required"
    assert leave(site, client, json={"password": "wrong"}).status_code == 400
    assert (site.user().delete_after, site.outbox) == (None, [])
    assert leave(site, client, json={"password": PASSWORD}).status_code == 202


def test_an_account_without_an_e_mail_address_has_a_grace_period_too(make: NewSite) -> None:
    model = define(DeletionMixin, UserMixin, columns=lambda: {"email": text_column(unique=True)()})
    site = make(define=model, REGISTER_VERIFICATION_ENABLED=False)
    account(site, email=None)
    assert leave(site).status_code == 202
    assert site.outbox == []
    assert not has_password(site, PASSWORD)


def test_a_failing_e_mail_schedules_nothing_where_it_is_sent_at_once(
    make: NewSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make(MAIL_DISPATCHER="inline")
    account(site)
    client = log_in(site)

    def fail(*args: Any) -> None:
        raise OSError("no mail server here")

    monkeypatch.setattr("flask_mail.Connection.send", fail)
    with site.hears(user_deletion_scheduled) as heard:
        assert leave(site, client).get_json()["code"] == "mail-unavailable"
    assert (site.user().delete_after, heard) == (None, [])
    assert knows(site, client)


def test_a_client_cannot_set_the_time(make: NewSite) -> None:
    site = make(USER_EDITABLE_FIELDS=["first_name"])
    site.register("alice", delete_after="2026-01-01T00:00:00Z")
    site.verify()
    client = log_in(site)
    assert client.patch(PROFILE, json={"delete_after": "2026-01-01T00:00:00Z"}).status_code == 200
    assert "delete_after" not in profile(site, client).get_json()
    assert site.user().delete_after is None
    with pytest.raises(ConfigurationError, match="USER_EDITABLE_FIELDS"):
        make(USER_EDITABLE_FIELDS=["delete_after"])


# Meanwhile


def test_a_login_is_refused_like_that_of_an_unknown_account(make: NewSite) -> None:
    site = make()
    scheduled(site)

    def log(login: str, password: str = PASSWORD) -> TestResponse:
        return site.post("login", {"login": login, "password": password})

    assert log("alice").get_json() == LOGIN_INVALID
    site.assert_uniform_answers(
        unknown=lambda: log("nobody"),
        scheduled=lambda: log("alice"),
        by_address=lambda: log("alice@example.com"),
    )


def test_what_asks_for_an_e_mail_answers_as_for_an_unknown_account(make: NewSite) -> None:
    site = make(
        flows=[*FLOWS, mail_login.flow, sign_up.flow, codes.flow],
        challenge_model=define_challenge,
        VERIFICATION_METHOD="both",
    )
    scheduled(site)
    site.outbox.clear()
    for endpoint in ("send-reset-password-link", "resend-verification", "send-login-link"):
        site.assert_uniform_answers(
            unknown=partial(site.post, endpoint, {"login": "nobody"}),
            scheduled=partial(site.post, endpoint, {"login": "alice"}),
        )
    assert mails(site) == []
    site.assert_uniform_answers(
        free=lambda: site.post("sign-up", {"email": "free@example.com"}),
        scheduled=lambda: site.post("sign-up", {"email": "alice@example.com"}),
    )
    assert [to for to, _ in mails(site)] == ["free@example.com"]


def test_the_address_stays_in_use(make: NewSite) -> None:
    site = make(flows=[*FLOWS, sign_up.flow])
    user = account(site)
    site.post("sign-up", {"email": "alice@example.com"})
    assert mails(site) == [("alice@example.com", "You already have an account at example.com")]
    site.post("sign-up", {"email": "free@example.com"})
    finish = {**site.link(), "username": "eve", "password": PASSWORD, "password_confirm": PASSWORD}
    assert leave(site).status_code == 202
    site.outbox.clear()
    free = site.register("bob", email="new@example.com")
    taken = site.register("carol", email="alice@example.com")
    assert (free.status_code, taken.status_code) == (201, 201)
    assert free.get_json().keys() == taken.get_json().keys()
    assert mails(site)[1] == (
        "alice@example.com",
        "You already have an account at example.com",
    )
    assert site.user(email="alice@example.com").id == user.id
    assert site.register("alice", email="a@example.com").status_code == 400
    site.change(user, email="free@example.com")
    assert site.post("finish-sign-up", finish).get_json() == LINK_INVALID
    assert site.user(email="free@example.com").id == user.id


def test_no_other_link_code_or_challenge_works_meanwhile_or_afterwards(
    make: NewSite, clock: Clock
) -> None:
    site = make(
        flows=[*FLOWS, mail_login.flow, codes.flow, word_flow("word")],
        challenge_model=define_challenge,
        VERIFICATION_METHOD="both",
        RESET_PASSWORD_AUTO_LOGIN=True,
    )
    user = account(site)
    step = site.post("login", {"login": "alice", "password": PASSWORD}).get_json()["challenge"]
    client = log_in_by_word(site, step)
    bodies: dict[str, dict[str, Any]] = {}

    def ask(request: str, link: str, code: str, body: dict[str, Any], **options: Any) -> None:
        reply = site.post(request, body, **options)
        assert reply.status_code == 200, reply.get_json()
        bodies[link] = {**site.link(), "password": OTHER_PASSWORD}
        shown = {"challenge": reply.get_json()["challenge"], "code": site.outbox.latest_code()}
        bodies[code] = {**shown, "password": OTHER_PASSWORD}

    name = {"login": "alice"}
    ask("send-reset-password-link", "reset-password", "reset-password-code", name)
    ask("send-login-link", "login-by-link", "login-by-code", name)
    new = {"email": "new@example.com", "password": PASSWORD}
    ask("register-email", "verify-email", "verify-email-code", new, client=client)
    waiting = site.post("login", {**name, "password": PASSWORD}).get_json()["challenge"]
    bodies["word"] = {"challenge": waiting, "word": "word"}
    assert leave(site, client).status_code == 202
    link = site.link()
    before = row(site, id=user.id)
    with site.hears(user_logged_in) as heard:
        for _ in range(2):
            for endpoint, body in bodies.items():
                reply = site.post(endpoint, body)
                expected = LINK_INVALID if "signature" in body else INVALID
                assert (endpoint, reply.get_json()) == (endpoint, expected)
            assert row(site, id=user.id) == before
            if before["delete_after"] is not None:
                assert cancel(site, link).get_json() == KEPT
                before = row(site, id=user.id)
    assert heard == []
    assert not has_password(site, OTHER_PASSWORD)


def log_in_by_word(site: Site, challenge: str) -> FlaskClient:
    client = site.app.test_client()
    body = {"challenge": challenge, "word": "word"}
    assert site.post("word", body, client=client).status_code == 200
    return client


def test_a_link_that_undoes_an_e_mail_change_waits_for_the_cancellation(make: NewSite) -> None:
    """The owner of the first address can cancel nothing, but does not lose the link."""
    site = make()
    member(site)
    client = log_in(site)
    undo = move(site, client, "thief@example.com")
    assert leave(site, client).status_code == 202
    link = site.link()
    assert site.post("undo-email-change", undo).get_json() == LINK_INVALID
    assert cancel(site, link).status_code == 200
    assert site.post("undo-email-change", undo).status_code == 200
    assert site.user().email == "alice@example.com"


def test_a_remembered_browser_does_not_come_back(make: NewSite) -> None:
    site = make()
    account(site)
    client = site.app.test_client()
    body = {"login": "alice", "password": PASSWORD, "remember": True}
    assert site.post("login", body, client=client).status_code == 200
    thief = copy_of(client, "remember_token")
    assert leave(site, client).status_code == 202
    link = site.link()
    assert not knows(site, thief)
    cancel(site, link)
    assert not knows(site, thief)


@each_row("allowed", [False, True])
def test_the_application_cannot_log_the_user_in(make: NewSite, allowed: bool) -> None:
    site = make(FOREIGN_LOGINS_ALLOWED=allowed)

    @site.app.route("/enter")
    def enter() -> str:
        user = site.db.session.scalars(select(site.User)).one()
        flask_login.login_user(user)
        return "in"

    scheduled(site)
    client = site.app.test_client()
    if allowed:
        client.get("/enter")
    else:
        with pytest.raises(ForeignLogin):
            client.get("/enter")
    assert not knows(site, client)
    with site.app.test_request_context(), pytest.raises(LoginInvalid):
        actions.log_in(site.db.session.scalars(select(site.User)).one())


def test_a_loader_of_the_application_finds_no_locked_account(make: NewSite) -> None:
    """Its column ``is_active`` is true, so Flask-Login would take the user for logged in."""
    site = make()
    ask, key = add_members_page(site), {"X-Name": "alice"}

    @site.app.login_manager.request_loader  # type: ignore[attr-defined,untyped-decorator]
    def load_by_key(request: Any) -> Any:
        name = request.headers.get("X-Name")
        return site.db.session.scalars(select(site.User).filter_by(username=name)).one_or_none()

    link = scheduled(site)
    assert ask(headers=key).status_code == 401
    assert cancel(site, link).status_code == 200
    assert ask(headers=key).text == "alice"


def test_an_open_request_changes_nothing_after_the_deletion_was_scheduled(make: NewSite) -> None:
    """A second deletion with the state of before finds another stamp."""
    site = make()
    account(site)
    with site.app.test_request_context():
        state = site.app.extensions["registration"]
        user = site.db.session.scalars(select(site.User)).one()
        seen = state.users.snapshot(user)
        site.db.session.commit()
        assert leave(site).status_code == 202
        site.db.session.expire_all()
        with pytest.raises(AccountUnusable):
            state.users.change(user, seen, {"last_login": datetime.now(UTC)})
        current = state.users.snapshot(user)
        assert not current.is_active
        with pytest.raises(AccountUnusable):
            state.users.change(user, current, {"last_login": datetime.now(UTC)})


# Cancel


@pytest.mark.databases
def test_the_link_keeps_the_account_and_logs_no_user_in(
    database: str, make: NewSite, clock: Clock
) -> None:
    site = make(database, login_model=define_login)
    account(site)
    client = log_in(site)
    thief = copy_of(client)
    assert leave(site, client).status_code == 202
    link, visitor = site.link(), site.app.test_client()
    with site.hears(user_logged_in, user_deleted) as heard:
        reply = cancel(site, link, visitor)
    assert (reply.status_code, reply.get_json(), heard) == (200, KEPT, [])
    assert "Set-Cookie" not in reply.headers
    for each in (visitor, thief):
        assert not knows(site, each)
    assert site.user().delete_after is None
    clock.advance(31 * DAYS)
    assert "0 scheduled deletions" in purge(site)
    assert has_password(site, PASSWORD)
    assert cancel(site, link).get_json() == LINK_INVALID


def test_a_page_keeps_the_account_without_a_front_end(make: NewSite) -> None:
    site = make(flows=[*FLOWS, verification_redirects.flow])
    link, client = scheduled(site), site.app.test_client()
    form = Form(client.get("/accounts/cancel-deletion/", query_string=link).text)
    assert site.user().delete_after is not None  # opening the page changes nothing
    reply = client.post(form.action, data=form.fields)
    assert (reply.status_code, KEPT["detail"] in reply.text) == (200, True)
    assert site.user().delete_after is None


def test_a_link_of_an_earlier_deletion_does_not_cancel_a_later_one(make: NewSite) -> None:
    site = make()
    first = scheduled(site)
    cancel(site, first)
    assert leave(site).status_code == 202
    assert cancel(site, first).get_json() == LINK_INVALID
    assert cancel(site, site.link()).status_code == 200


def test_the_link_is_valid_until_the_account_is_deleted(make: NewSite, clock: Clock) -> None:
    site = make()
    link = scheduled(site)
    clock.advance(40 * DAYS)
    assert cancel(site, link).get_json() == KEPT
    later = scheduled(site, "bob")
    clock.advance(30 * DAYS)
    purge(site)
    assert cancel(site, later).get_json() == LINK_INVALID
    account(site, "carol")
    assert cancel(site, later).get_json() == LINK_INVALID


def test_the_link_is_for_one_thing(make: NewSite) -> None:
    site = make()
    account(site)
    site.post("send-reset-password-link", {"login": "alice"})
    reset = site.link()
    assert whole(cancel(site, reset)) == forged(site, "cancel-deletion")
    assert leave(site).status_code == 202
    link = site.link()
    assert whole(cancel(site, reset)) == forged(site, "cancel-deletion")
    for endpoint in ("reset-password", "verify-registration", "verify-email", "undo-email-change"):
        body = {**link, "email": "alice@example.com", "password": OTHER_PASSWORD}
        assert site.post(endpoint, body).get_json() == LINK_INVALID
    assert site.app.test_client().get("/accounts/cancel-deletion/").status_code == 405
    assert cancel(site, link).status_code == 200


@each_row("by", ["command", "SQL"])
def test_a_suspended_account_is_neither_kept_nor_deleted(
    make: NewSite, clock: Clock, by: str
) -> None:
    site = make()
    link = scheduled(site)
    if by == "command":
        command(site, "suspend", "alice")
    else:
        with site.app.app_context(), site.db.engine.begin() as connection:
            connection.execute(update(site.User).values(is_active=False))
    assert cancel(site, link).get_json() == LINK_INVALID
    clock.advance(31 * DAYS)
    assert "0 scheduled deletions" in purge(site).splitlines()
    assert not has_password(site, PASSWORD)
    command(site, "reactivate", "alice")
    assert not has_password(site, PASSWORD)
    assert "1 scheduled deletion done" in purge(site)


@each_row("how", ["command", "action"])
def test_an_administrator_restores_an_account(make: NewSite, how: str) -> None:
    site = make()
    link = scheduled(site)

    def restore() -> str:
        if how == "command":
            return command(site, "restore", "alice").output.strip()
        with site.app.app_context():
            user = site.db.session.scalars(select(site.User)).one()
            return str(actions.restore(user))

    assert restore() in ("Restored alice (id 1).", "True")
    assert restore() in ("alice (id 1) will not be deleted. Nothing was changed.", "False")
    assert cancel(site, link).get_json() == LINK_INVALID
    assert has_password(site, PASSWORD)


def test_an_application_without_the_flow_restores_no_account(site: Site) -> None:
    account(site)
    with site.app.app_context(), pytest.raises(AdministrationError, match="leaving"):
        actions.restore(site.db.session.scalars(select(site.User)).one())


def test_the_action_takes_the_parameters_of_the_link(make: NewSite) -> None:
    site = make()
    link = scheduled(site)
    with site.app.test_request_context():
        actions.cancel_deletion(**link)
        with pytest.raises(LinkInvalid):
            actions.cancel_deletion(**link)
    assert has_password(site, PASSWORD)


def test_the_action_returns_the_time(make: NewSite) -> None:
    site = make()

    @site.app.post("/leave")
    def delete() -> Any:
        return actions.delete_profile(PASSWORD)

    account(site)
    assert log_in(site).post("/leave").get_json().keys() == {"delete_after"}


# At the same time


@pytest.mark.databases
def test_of_twenty_deletions_at_once_one_is_scheduled(database: str, make: NewSite) -> None:
    site = make(database, config=AT_ONCE)
    account(site)
    clients = [log_in(site) for _ in range(20)]
    site.outbox.clear()
    with site.hears(user_deletion_scheduled) as heard:
        replies = at_once(lambda number: leave(site, clients[number]), 20)
    found = Counter(each.status_code for each in replies)
    assert found[202] == 1, found
    assert found.keys() <= {202, 401, 503}
    assert len(heard) == len(site.outbox) == 1
    assert cancel(site, site.link()).status_code == 200


@pytest.mark.databases
def test_of_twenty_cancellations_at_once_one_succeeds(database: str, make: NewSite) -> None:
    site = make(database, config=AT_ONCE)
    link = scheduled(site)
    found = Counter(each.status_code for each in at_once(lambda _: cancel(site, link), 20))
    assert found[200] == 1, found
    assert found.keys() <= {200, 400, 503}
    assert site.user().delete_after is None


@pytest.mark.databases
def test_an_account_is_either_kept_or_deleted_at_the_end(
    database: str, make: NewSite, clock: Clock
) -> None:
    """Ten cancellations and ten purges at the same time."""
    site = make(database, config=AT_ONCE)
    for number in range(3):
        link = scheduled(site, f"user{number}")
        site.outbox.clear()
        clock.advance(30 * DAYS)

        def end(number: int, link: dict[str, str] = link) -> TestResponse | int:
            if number % 2:
                return cancel(site, link)
            with site.app.app_context():
                return actions.purge()["scheduled deletion"]

        with site.hears(user_deleted) as heard:
            results: list[Any] = at_once(end, 20)  # type: ignore[arg-type]
        deleted = sum(each for each in results if isinstance(each, int))
        kept = sum(not isinstance(each, int) and each.status_code == 200 for each in results)
        assert (deleted, kept) in [(1, 0), (0, 1)]
        assert len(site.users()) == kept
        assert len(heard) == len(site.outbox) == deleted
        for user in site.users():
            assert user.delete_after is None
            with site.app.app_context():
                site.db.session.delete(site.db.session.get(site.User, user.id))
                site.db.session.commit()


# Purge


def test_older_than_does_not_postpone_a_deletion(make: NewSite, clock: Clock) -> None:
    site = make()
    scheduled(site)
    clock.advance(30 * DAYS)
    assert "1 scheduled deletion" in command(site, "purge", "--dry-run").output
    assert len(site.users()) == 1
    assert "1 scheduled deletion done" in command(site, "purge", "--older-than", "90").output


def test_without_the_grace_period_scheduled_deletions_go_on(make: NewSite, clock: Clock) -> None:
    """The setting is about new deletions."""
    site = make("sqlite://")
    link = scheduled(site)
    settings = site.app.extensions["registration"].group(leaving.LeavingSettings)
    object.__setattr__(settings, "deletion_grace", None)
    assert cancel(site, link).status_code == 200
    object.__setattr__(settings, "deletion_grace", GRACE)
    assert leave(site).status_code == 202
    object.__setattr__(settings, "deletion_grace", None)
    clock.advance(30 * DAYS)
    assert "1 scheduled deletion done" in purge(site)


def test_a_purge_deletes_nothing_that_was_scheduled_anew_meanwhile(
    make: NewSite, clock: Clock
) -> None:
    site = make()
    link = scheduled(site)
    clock.advance(30 * DAYS)
    with site.app.app_context():
        (due,) = (each for each in expired() if each.name == "scheduled deletion")
    assert len(due.keys) == 1
    assert cancel(site, link).status_code == 200
    assert leave(site).status_code == 202
    with site.app.app_context():
        assert due.remove(due.keys) == 0
    assert site.user().delete_after is not None


def test_a_column_of_the_application_with_the_same_name_deletes_no_account(
    make: NewSite, clock: Clock
) -> None:
    column = mixin_and(delete_after=lambda: mapped_column(DateTime(timezone=True)))
    site = make(define=column, DELETION_GRACE=None, USER_EDITABLE_FIELDS=["delete_after"])
    account(site)
    client, past = log_in(site), "2026-01-01T00:00:00+00:00"
    assert client.patch(PROFILE, json={"delete_after": past}).get_json()["delete_after"] == past
    assert "scheduled deletion" not in purge(site)
    assert knows(site, client)
    assert "will not be deleted" in command(site, "restore", "alice").output


def test_the_application_may_anonymize_the_account_when_the_time_has_come(
    make: NewSite, clock: Clock
) -> None:
    asked: list[Any] = []

    def anonymize(user: Any, *, request: Any, **kwargs: Any) -> None:
        asked.append((user.username, request))
        user.username, user.email = f"gone{user.id}", f"gone{user.id}@example.com"

    site = make(PROFILE_DELETER=anonymize)
    scheduled(site)
    site.outbox.clear()
    assert asked == []
    clock.advance(30 * DAYS)
    with site.hears(user_deleted) as heard:
        assert "1 scheduled deletion done" in purge(site)
    assert (asked, len(heard)) == ([("alice", None)], 1)
    user = site.user()
    assert (user.username, user.is_active, user.delete_after) == (f"gone{user.id}", False, None)
    assert mails(site) == [("alice@example.com", DELETED)]
    assert "0 scheduled deletions" in purge(site)


def test_an_account_that_other_rows_need_stays_locked(make: NewSite, clock: Clock) -> None:
    def refuse(user: Any, **kwargs: Any) -> None:
        raise AccountInUse

    site = make(PROFILE_DELETER=refuse)
    scheduled(site)
    site.outbox.clear()
    clock.advance(30 * DAYS)
    with site.hears(user_deleted) as heard:
        assert "0 scheduled deletions done, 1 kept" in purge(site)
    assert (site.user().username, heard, site.outbox) == ("alice", [], [])
    assert not has_password(site, PASSWORD)


def test_an_account_that_cannot_be_deleted_stops_no_other_work(
    make: NewSite, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def fail_for_alice(user: Any, **kwargs: Any) -> None:
        if user.username == "alice":
            raise RuntimeError("the payment provider is down")
        user.first_name = "gone"

    site = make(PROFILE_DELETER=fail_for_alice)
    scheduled(site)
    scheduled(site, "bob")
    clock.advance(30 * DAYS)
    with site.hears(user_deleted) as heard:
        assert "1 scheduled deletion done, 1 kept" in purge(site)
    assert [each["user"].username for each in heard] == ["bob"]
    alice, bob = (site.user(username=name) for name in ("alice", "bob"))
    assert (alice.is_active, bob.is_active, bob.first_name) == (True, False, "gone")
    assert alice.delete_after is not None
    (failure,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert "scheduled deletion" in failure.getMessage()
    assert failure.exc_info is not None
    assert "payment provider" in str(failure.exc_info[1])


# E-mails that wait


def test_an_e_mail_that_is_late_has_no_link_if_the_account_has_changed(make: NewSite) -> None:
    site = make(**OUTBOX)
    user = account(site)
    with mail_after(site.app):
        assert leave(site).status_code == 202
        command(site, "restore", "alice")
        site.change(user, email="new@example.com")
        assert leave(site).status_code == 202
    earlier, later = site.read(-2), site.read(-1)
    assert (earlier["To"], links_of(earlier)) == ("alice@example.com", [])
    assert later["To"] == "new@example.com"
    assert cancel(site, site.link()).status_code == 200
    send_mail(site)


# Models and settings


@each_row(
    "model",
    [
        define(DeletionMixin, EmailUserMixin, LOGIN_FIELDS=["email"]),
        define(
            DeletionMixin,
            UserMixin,
            columns=lambda: {"enabled": mapped_column(Boolean, default=True)},
            ACTIVE_FIELD="enabled",
        ),
    ],
    ids=["e-mail addresses only", "another column of suspended accounts"],
)
def test_other_models_have_a_grace_period(make: NewSite, clock: Clock, model: Any) -> None:
    site = make(define=model)
    account(site)
    name = "alice@example.com"

    def log() -> FlaskClient:
        return log_in(site, name if not hasattr(site.User, "username") else "alice")

    assert leave(site, log()).status_code == 202
    assert cancel(site, site.link()).status_code == 200
    assert leave(site, log()).status_code == 202
    clock.advance(30 * DAYS)
    assert "1 scheduled deletion done" in purge(site)


@each_row(
    ("settings", "problem"),
    [
        ({"define": None}, "User does not have DeletionMixin"),
        (
            {"define": define(DeletionMixin, UserMixin), "USER_SECURITY_STAMP_FIELD": "missing"},
            "has no security stamp",
        ),
        ({"CANCEL_DELETION_URL": "/cancel"}, "is '/cancel', which is not absolute"),
        ({"DELETION_GRACE": 1}, "must be at least 1 minute"),
        ({"DELETION_GRACE": timedelta(days=366)}, "must be at most 365 days"),
    ],
    ids=["no column", "no stamp", "a relative page", "too short", "too long"],
)
def test_a_grace_period_that_cannot_work_is_refused(
    make: NewSite, settings: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        make(**settings)


def test_the_settings_need_the_flow(new_site: NewSite) -> None:
    with pytest.raises(ConfigurationError, match="belongs to the flow leaving"):
        new_site(define=define_leaving, DELETION_GRACE=GRACE)


# Retention


def test_old_ip_addresses_and_user_agents_are_removed(make: NewSite, clock: Clock) -> None:
    site = make(login_model=define_login, CLIENT_DATA_RETENTION=timedelta(days=10))
    account(site)
    client = log_in(site)
    clock.advance(11 * DAYS)
    newer = log_in(site)
    change_login(site, logins(site)[0], user_agent="Old")
    assert "1 login client detail" in command(site, "purge", "--dry-run").output
    assert [each.ip_address for each in logins(site)] == ["127.0.0.1"] * 2
    assert "1 login client detail removed" in purge(site)
    old, new = logins(site)
    assert (old.ip_address, old.user_agent) == (None, None)
    assert new.ip_address == "127.0.0.1"
    assert knows(site, client)
    assert knows(site, newer)
    shown = client.get("/accounts/logins/").get_json()
    assert sorted(each["ip_address"] or "" for each in shown) == ["", "127.0.0.1"]
    assert "0 login client details" in purge(site)


def test_without_the_setting_they_stay(make: NewSite, clock: Clock) -> None:
    site = make(login_model=define_login)
    account(site)
    log_in(site)
    clock.advance(11 * DAYS)
    assert "client detail" not in purge(site)
    assert logins(site)[0].ip_address == "127.0.0.1"
