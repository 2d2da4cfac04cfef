"""Invitations: an account for an e-mail address that a user or an administrator invites."""

from __future__ import annotations

import json
from collections import Counter
from types import MappingProxyType
from typing import Any

import flask_login
import pytest
from click.testing import CliRunner, Result
from flask.cli import ScriptInfo
from flask.testing import FlaskClient
from marshmallow import ValidationError
from sqlalchemy import ForeignKey, select, update
from sqlalchemy.orm import Mapped, mapped_column, relationship
from werkzeug.test import TestResponse

from flask_registration import (
    DEFAULT_FLOWS,
    ConfigurationError,
    InvitationMixin,
    LinkInvalid,
    UserMixin,
    actions,
    invitation_accepted,
    user_activated,
    user_deleted,
    user_logged_in,
    user_registered,
)
from flask_registration.cli import registration_cli
from flask_registration.cli.preview import examples
from flask_registration.errors import AdministrationError, InvitationNotFound, NotAllowed
from flask_registration.flows import invitations, sign_up, verification_redirects
from flask_registration.users.mixins import utc_now

from ..conftest import Clock
from ..outboxes import define_outbox, letter, letters, send_mail
from ..people import account, define_login, knows, logins
from ..site import (
    PASSWORD,
    Site,
    html_of,
    links_of,
    mixin_and,
    own_model,
    text_column,
    text_of,
    whole,
)
from ..tables import each_row
from ..test_findings import check
from ..test_steps import AT_ONCE, answer, define_challenge, word_flow
from .common import (
    DAYS,
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
from .test_verification_redirects import Form

GUEST = "guest@example.com"
FLOWS = [*DEFAULT_FLOWS, invitations.flow]
NOT_FOUND = {
    "detail": "This invitation does not exist, or is no longer open.",
    "code": "not-found",
}
INVITED = (GUEST, "You have been invited to example.com")
TAKEN = (GUEST, "You already have an account at example.com")


def define_invitation(db: Any) -> type[Any]:
    class Invitation(InvitationMixin, db.Model):  # type: ignore[misc]  # a class made at run time
        __tablename__ = "invitations"

    return Invitation


def may_invite(user: Any, data: dict[str, Any]) -> bool:
    """Alice and Bob may invite, and Alice also editors."""
    return user.username == "alice" or (user.username == "bob" and not data)


def may_not(user: Any, data: dict[str, Any]) -> bool:
    return False


def may_see_all(user: Any) -> bool:
    return bool(user.username == "root")


def apply(user: Any, data: dict[str, Any]) -> None:
    user.role = data.get("role", "reader")


define_with_role = mixin_and(role=text_column(default="nobody"))


@pytest.fixture
def make(new_site: NewSite) -> Any:
    """Make an application with invitations, where Alice has an account."""

    def make(*args: Any, alice: dict[str, Any] | None = None, **settings: Any) -> Site:
        chosen = {
            "flows": FLOWS,
            "other_models": [define_invitation],
            "MAIL_LIMITS": None,
            "MAY_INVITE": (may_invite, may_see_all),
            "REGISTER_FLOW_ENABLED": False,
            **settings,
        }
        site = new_site(*args, **chosen)
        account(site, **(alice or {}))
        return site

    return make


def rows(site: Site) -> list[Any]:
    with site.app.app_context():
        model = site.app.extensions["registration"].setup.models["invitation"]
        found = list(site.db.session.scalars(select(model).order_by(model.id)))
        site.db.session.expunge_all()
        return found


def ask(site: Site, email: Any = GUEST, client: FlaskClient | None = None, **body: Any) -> Any:
    return site.post("invitations", {"email": email, **body}, client=client or log_in(site))


def invite(site: Site, email: str = GUEST, **body: Any) -> dict[str, str]:
    """Invite an e-mail address, and return the parameters of the link."""
    reply = ask(site, email, **body)
    assert reply.status_code == 201, reply.get_json()
    return site.link()


def accept(
    site: Site,
    link: dict[str, Any],
    username: str = "grace",
    client: FlaskClient | None = None,
    **body: Any,
) -> TestResponse:
    chosen = {"username": username, "password": PASSWORD, "password_confirm": PASSWORD, **body}
    return site.post("accept-invitation", {**link, **chosen}, client=client)


def resend(site: Site, key: Any = 1, client: FlaskClient | None = None, **kwargs: Any) -> Any:
    if "data" not in kwargs:
        kwargs["json"] = {}
    return (client or log_in(site)).post(f"/accounts/invitations/{key}/resend/", **kwargs)


def revoke(site: Site, key: Any = 1, client: FlaskClient | None = None) -> TestResponse:
    return (client or log_in(site)).delete(f"/accounts/invitations/{key}/")


def listed(site: Site, client: FlaskClient | None = None) -> list[dict[str, Any]]:
    reply = (client or log_in(site)).get("/accounts/invitations/")
    assert reply.status_code == 200
    found: list[dict[str, Any]] = reply.get_json()
    return found


# The way through


@pytest.mark.databases
def test_an_invited_address_gets_an_account_although_registration_is_closed(
    database: str, make: NewSite
) -> None:
    site = make(
        database, login_model=define_login, define=define_with_role, INVITATION_APPLIER=apply
    )
    reply = ask(site, " Guest@EXAMPLE.com ", data={"role": "editor", "floors": [1, {"a": None}]})
    assert reply.status_code == 201
    shown = reply.get_json()
    assert list(shown) == ["created_at", "email", "expires_at", "id"]
    assert (shown["email"], shown["id"]) == (GUEST, rows(site)[0].id)
    assert listed(site) == [{**shown, "accepted_at": None, "revoked_at": None}]
    assert (site.user(email=GUEST), site.register("bob").status_code) == (None, 404)
    link, client = site.link(), site.app.test_client()
    assert mails(site) == [INVITED]
    with site.hears(user_registered, user_activated, user_logged_in, invitation_accepted) as heard:
        reply = accept(site, link, client=client)
    user = site.user(email=GUEST)
    assert reply.status_code == 201, reply.get_json()
    assert (reply.get_json()["username"], reply.get_json()["email"]) == ("grace", GUEST)
    assert [each["signal"] for each in heard] == [
        "user-registered",
        "user-activated",
        "user-logged-in",
        "invitation-accepted",
    ]
    assert heard[-1]["invitation"].email == GUEST
    assert [each["user"].username for each in heard] == ["grace"] * 4
    assert (user.is_verified, user.role, user.last_login is None) == (True, "editor", False)
    assert knows(site, client)
    assert [each.methods for each in logins(site)] == ["pwd", "pwd", "mail"]
    (found,) = listed(site)
    assert found["accepted_at"] is not None
    assert found["revoked_at"] is None
    assert accept(site, link, "other").get_json() == LINK_INVALID
    assert revoke(site, shown["id"]).get_json() == NOT_FOUND
    assert resend(site, shown["id"]).get_json() == NOT_FOUND


def test_the_link_leads_to_the_page_beside_the_first_one(make: NewSite) -> None:
    site = make()
    assert invite(site).keys() == {"timestamp", "email", "signature"}
    start = "https://example.com/accept-invitation/?timestamp="
    assert links_of(site.read())[0].startswith(start)


def test_it_returns_a_token_and_the_login_is_fresh(make: NewSite) -> None:
    site = make(LOGIN_RETRIEVE_TOKEN=True)
    token = bearer(accept(site, invite(site)).get_json()["token"])
    assert knows(site, headers=token)
    assert site.post("register-email", {"email": "a@b.org"}, headers=token).status_code == 200


def test_a_page_accepts_the_invitation_without_a_front_end(make: NewSite) -> None:
    site = make(flows=[*FLOWS, verification_redirects.flow])
    link, client = invite(site), site.app.test_client()
    shown = client.get("/accounts/accept-invitation/", query_string=link)
    assert "Accept the invitation" in shown.text
    form = Form(shown.text)
    typed = {"username": "grace", **dict.fromkeys(form.passwords, PASSWORD)}
    assert form.fields == link
    reply = client.post(form.action, data={**form.fields, **typed})
    assert (reply.status_code, "Your account is ready." in reply.text) == (200, True)
    assert knows(site, client)


def test_what_is_done_stays_done_when_a_step_is_left(make: NewSite) -> None:
    site = make(flows=[*FLOWS, word_flow("word")], challenge_model=define_challenge)
    with site.app.app_context():
        actions.create_invitation(GUEST)
    client, link = site.app.test_client(), site.link()
    with site.hears(user_registered, user_logged_in, invitation_accepted) as heard:
        reply = accept(site, link, client=client)
    assert (reply.status_code, reply.get_json()["code"]) == (401, "step-required")
    assert [each["signal"] for each in heard] == ["user-registered", "invitation-accepted"]
    assert not knows(site, client)
    assert answer(site, reply.get_json()["challenge"], client=client).status_code == 200
    assert knows(site, client)
    assert accept(site, link, "other").get_json() == LINK_INVALID


# Once, and until it expires


@pytest.mark.databases
@each_row("pending", [False, True], ids=["free", "pending"])
@each_row("names", [1, 20], ids=["one name", "many names"])
def test_of_twenty_uses_at_once_one_account_comes_out(
    database: str, make: NewSite, pending: bool, names: int
) -> None:
    site = make(database, config=AT_ONCE, define=define_with_role, INVITATION_APPLIER=apply)
    if pending:
        account(site, "mallory", email=GUEST, verified=False)
    link = invite(site, data={"role": "editor"})
    with site.hears(user_registered, user_deleted, invitation_accepted) as heard:
        replies = at_once(lambda number: accept(site, link, f"grace{number % names}"), 20)
    found = Counter((each.status_code, each.get_json().get("code")) for each in replies)
    assert found[201, None] == 1, found
    assert found.keys() <= {
        (201, None),
        (400, "signature-invalid"),
        (503, "database-unavailable"),
    }, found
    assert [(each.email, each.role) for each in site.users() if each.username != "alice"] == [
        (GUEST, "editor")
    ]
    assert Counter(each["signal"] for each in heard) == {
        "user-registered": 1,
        "invitation-accepted": 1,
        **({"user-deleted": 1} if pending else {}),
    }


@pytest.mark.databases
def test_a_revocation_and_twenty_uses_at_once_leave_one_outcome(
    database: str, make: NewSite
) -> None:
    site = make(database, config=AT_ONCE)
    link, client = invite(site), log_in(site)

    def work(number: int) -> TestResponse:
        return accept(site, link, f"grace{number}") if number else revoke(site, client=client)

    replies = Counter(each.status_code for each in at_once(work, 20))
    assert replies[201] + replies[204] == 1, replies
    (row,) = rows(site)
    was_revoked = replies[204] == 1
    assert (row.accepted_at is None, row.revoked_at is None) == (was_revoked, not was_revoked)
    assert (site.user(email=GUEST) is None) == was_revoked


@each_row("column", ["revoked_at", "accepted_at"])
def test_what_ends_an_invitation_while_it_is_accepted_wins(
    sqlite_url: str, make: NewSite, column: str
) -> None:
    def end(user: Any, data: Any) -> None:  # as a parallel request does, just before the INSERT
        model = site.app.extensions["registration"].setup.models["invitation"]
        with site.db.engine.begin() as connection:
            connection.execute(update(model).values({column: utc_now()}))

    site = make(sqlite_url, INVITATION_APPLIER=end)
    assert accept(site, invite(site)).get_json() == LINK_INVALID
    assert site.user(email=GUEST) is None


def test_a_link_expires_with_its_invitation_and_resending_renews_both(
    make: NewSite, clock: Clock
) -> None:
    site = make(INVITATION_PERIOD=3600)
    link = invite(site)
    clock.advance(3600)
    assert accept(site, link, username="").get_json().keys() == {"username"}
    clock.advance(1)
    assert accept(site, link).get_json() == LINK_EXPIRED
    before = listed(site)[0]
    reply = resend(site)
    assert reply.status_code == 200
    assert reply.get_json() == {
        **{name: before[name] for name in ("id", "email", "created_at")},
        "expires_at": reply.get_json()["expires_at"],
    }
    assert reply.get_json()["expires_at"] > before["expires_at"]
    assert accept(site, site.link()).status_code == 201


def test_a_shorter_row_counts_although_the_link_is_younger(make: NewSite, clock: Clock) -> None:
    site = make(outbox_model=define_outbox, MAIL_DISPATCHER="outbox", INVITATION_PERIOD=7200)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flask_mail.Connection.send", _fail)
        ask(site)
    clock.advance(7000)
    send_mail(site)
    link = site.link()
    clock.advance(300)
    assert accept(site, link).get_json() == LINK_EXPIRED


def _fail(*_: Any, **__: Any) -> None:
    raise OSError


# What ends a link


def by_resending(site: Site) -> None:
    assert resend(site).status_code == 200


def by_revoking(site: Site) -> None:
    assert revoke(site).status_code == 204


def by_suspending_the_inviter(site: Site) -> None:
    site.change(site.user(username="alice"), is_active=False)


def by_deleting_the_inviter(site: Site) -> None:
    body = {"password": PASSWORD}
    assert log_in(site).delete("/accounts/profile/", json=body).status_code == 204
    account(site, "carol")  # who has the same id, on SQLite


def by_another_account(site: Site) -> None:
    account(site, "bob", email=GUEST)


def by_a_suspended_claim(site: Site) -> None:
    site.change(account(site, "bob", email=GUEST, verified=False), is_active=False)


def by_deleting_the_row(site: Site) -> None:
    with site.app.app_context():
        model = site.app.extensions["registration"].setup.models["invitation"]
        site.db.session.query(model).delete()
        site.db.session.commit()
        actions.create_invitation(GUEST)  # which has the same id, on SQLite


@each_row(
    "end",
    [
        by_resending,
        by_revoking,
        by_suspending_the_inviter,
        by_deleting_the_inviter,
        by_another_account,
        by_a_suspended_claim,
        by_deleting_the_row,
    ],
    ids=lambda end: end.__name__,
)
def test_a_link_ends_and_is_like_a_forged_one(make: NewSite, end: Any) -> None:
    site = make()
    link = invite(site)
    end(site)
    reply = accept(site, link)
    assert reply.get_json() == LINK_INVALID
    assert whole(reply) == whole(accept(site, {**link, "signature": "x"}))
    assert site.user(username="grace") is None


def test_a_link_of_a_reactivated_inviter_is_valid_again(make: NewSite) -> None:
    site = make()
    link, user = invite(site), site.user()
    site.change(user, is_active=False)
    assert accept(site, link).get_json() == LINK_INVALID
    site.change(user, is_active=True)
    assert accept(site, link).status_code == 201


@each_row("by_request", [True, False], ids=["request", "script"])
def test_a_new_account_has_no_invitation_of_a_deleted_one(make: NewSite, by_request: bool) -> None:
    site = make(REGISTER_FLOW_ENABLED=True)
    link = invite(site)
    with site.app.app_context():  # behind the API's back
        site.db.session.delete(site.db.session.get(site.User, 1))
        site.db.session.commit()
    if by_request:
        assert site.register("bob").status_code == 201
        assert site.verify().status_code == 200
    else:
        account(site, "bob")
    assert site.user().id == 1
    assert log_in(site, "bob").get("/accounts/invitations/").get_json() == []
    assert accept(site, link).get_json() == LINK_INVALID


def test_after_a_deletion_of_the_new_account_the_link_makes_no_other(make: NewSite) -> None:
    site = make()
    link, client = invite(site), site.app.test_client()
    accept(site, link, client=client)
    client.delete("/accounts/profile/", json={"password": PASSWORD})
    assert (site.user(email=GUEST), rows(site)) == (None, [])
    assert accept(site, link).get_json() == LINK_INVALID


@each_row(
    ("change", "expected"),
    [
        ({"email": "bob@example.com"}, LINK_INVALID),
        ({"email": "Guest@example.com"}, LINK_INVALID),
        ({"timestamp": "1"}, LINK_INVALID),
        ({"signature": None}, {"signature": ["This field may not be null."]}),
        ({"email": ["guest@example.com"]}, LINK_INVALID),
        ({"signature": {}}, LINK_INVALID),
        ({"signature": "é.é"}, LINK_INVALID),
    ],
)
def test_a_changed_link(make: NewSite, change: dict[str, Any], expected: Any) -> None:
    site = make()
    reply = accept(site, {**invite(site), **change})
    assert (reply.status_code, reply.get_json()) == (400, expected)
    assert len(site.users()) == 1


def test_every_part_of_a_signature_counts(make: NewSite) -> None:
    site = make()
    link = invite(site)
    first, second = link, invite(site, "other@example.com")
    outer, _, nonce = link["signature"].partition("..")
    assert nonce == rows(site)[0].nonce
    wrong = [
        outer,
        f"{outer}.",
        f"{outer}..",
        f"{outer}.{nonce}",
        f"{outer}..{nonce}.",
        f"{outer}..{nonce.upper()}",
        f"{outer}..{second['signature'].partition('..')[2]}",
        f"{second['signature'].partition('..')[0]}..{nonce}",
    ]
    for signature in wrong:
        assert accept(site, {**first, "signature": signature}).get_json() == LINK_INVALID
    assert accept(site, link).status_code == 201


def test_links_of_other_flows_accept_no_invitation(make: NewSite) -> None:
    site = make(flows=[*FLOWS, sign_up.flow], REGISTER_FLOW_ENABLED=True)
    link = invite(site)
    chosen = {"username": "grace", "password": PASSWORD, "password_confirm": PASSWORD}
    assert site.post("finish-sign-up", {**link, **chosen}).get_json() == LINK_INVALID
    site.post("sign-up", {"email": GUEST})
    assert accept(site, site.link()).get_json() == LINK_INVALID
    site.post("send-reset-password-link", {"login": "alice"})
    assert accept(site, {**site.link(), "email": GUEST}).get_json() == LINK_INVALID


def test_a_forged_link_costs_no_query(make: NewSite) -> None:
    site = make()
    link = invite(site)
    with site.statements() as statements:
        accept(site, {**link, "signature": "x"})
    assert statements == []


@each_row(
    "body",
    [{"password": "short", "password_confirm": "short"}, {"username": "alice"}, {"username": ""}],
)
def test_a_field_that_does_not_pass_leaves_the_link_valid(
    make: NewSite, body: dict[str, Any]
) -> None:
    site = make()
    link = invite(site)
    assert accept(site, link, **body).get_json().keys() <= {"username", "password"}
    assert rows(site)[0].accepted_at is None
    assert accept(site, link).status_code == 201


# Who may invite


@each_row(
    ("rule", "expected"),
    [
        (None, 403),
        (may_invite, 201),
        ((may_invite, may_see_all), 201),
        ([f"{__name__}:may_invite", f"{__name__}:may_see_all"], 201),
        (f"{__name__}:may_not", 403),
    ],
    ids=["by default", "one", "two", "import strings", "no"],
)
def test_the_application_says_who_may_invite(make: NewSite, rule: Any, expected: int) -> None:
    site = make(MAY_INVITE=rule)
    reply = ask(site)
    assert reply.status_code == expected
    if expected == 403:
        assert reply.get_json() == {
            "detail": "You are not allowed to do this.",
            "code": "not-allowed",
        }
        assert (rows(site), site.outbox) == ([], [])


@each_row("rule", [(may_invite,), (may_invite,) * 3, (), True, (may_invite, 1), "nowhere:x"])
def test_another_rule_is_a_problem(make: NewSite, rule: Any) -> None:
    with pytest.raises(ConfigurationError, match="REGISTRATION_MAY_INVITE"):
        make(MAY_INVITE=rule)


def test_the_rule_sees_the_data(make: NewSite) -> None:
    site = make()
    account(site, "bob")
    client = log_in(site, "bob")
    assert ask(site, client=client, data={"role": "admin"}).status_code == 403
    assert ask(site, client=client).status_code == 201


def test_a_rule_may_say_what_is_wrong_with_the_data(make: NewSite) -> None:
    site = make(MAY_INVITE=_refuse_data)
    reply = ask(site, data={"role": "admin"})
    assert (reply.status_code, reply.get_json()) == (400, {"data": ["No such role."]})


def _refuse_data(user: Any, data: Any) -> bool:
    raise ValidationError("No such role.", "data")


def test_without_a_login_nothing_is_possible(make: NewSite) -> None:
    site = make()
    link, client = invite(site), site.app.test_client()
    replies = [
        site.post("invitations", {"email": GUEST}, client=client),
        client.get("/accounts/invitations/"),
        revoke(site, client=client),
        resend(site, client=client),
    ]
    assert [each.get_json()["code"] for each in replies] == ["not-authenticated"] * 4
    assert accept(site, link).status_code == 201


def test_users_see_their_own_invitations_and_some_users_all(make: NewSite) -> None:
    site = make()
    for name in ("bob", "root"):
        account(site, name)
    alice, bob, root = (log_in(site, name) for name in ("alice", "bob", "root"))
    ask(site, client=alice)
    ask(site, "other@example.com", client=bob)
    with site.app.app_context():
        actions.create_invitation("third@example.com")
    assert [each["id"] for each in listed(site, alice)] == [1]
    assert [each["id"] for each in listed(site, bob)] == [2]
    assert [each["id"] for each in listed(site, root)] == [3, 2, 1]
    for key in (1, 3):
        assert revoke(site, key, bob).get_json() == NOT_FOUND
        assert resend(site, key, bob).get_json() == NOT_FOUND
    assert resend(site, 2, root).get_json()["code"] == "not-allowed"
    assert revoke(site, 2, root).status_code == 204
    assert revoke(site, 3, root).status_code == 204


def test_a_user_who_may_no_longer_invite_cannot_resend_but_revoke(make: NewSite) -> None:
    site = make()
    link = invite(site)
    site.change(site.user(), username="mallory", username_key="mallory")
    client = log_in(site, "mallory")
    assert resend(site, client=client).get_json()["code"] == "not-allowed"
    assert rows(site)[0].nonce in link["signature"]
    assert revoke(site, client=client).status_code == 204
    assert accept(site, link).get_json() == LINK_INVALID


@each_row("key", ["0", "-1", "１", "1.9", str(2**63), "9" * 300, "x", "%00", "%20", "1%20"])
def test_an_unknown_id_is_not_found(make: NewSite, key: str) -> None:
    site = make()
    invite(site)
    client = log_in(site)
    assert revoke(site, key, client).get_json() == NOT_FOUND
    assert resend(site, key, client).get_json() == NOT_FOUND
    assert rows(site)[0].revoked_at is None


# The data


@each_row(
    ("data", "expected"),
    [
        ({"a": "x" * 3980}, None),
        ({"a": "x" * 4000}, "This object is too large."),
        ({"a": [[[[[[[1]]]]]]]}, None),
        ({"a": [[[[[[[[1]]]]]]]]}, "This object is too large."),
        ({"a": 10**30, "b": 1e308, "é": "👪"}, None),
        ({"a": "\0"}, "This text contains unsupported characters."),
        ([], "Not a valid mapping type."),
        ("{}", "Not a valid mapping type."),
        (None, "This field may not be null."),
    ],
    ids=["large", "too large", "deep", "too deep", "odd", "NUL", "a list", "text", "null"],
)
def test_the_data_is_a_json_object_of_some_size(make: NewSite, data: Any, expected: Any) -> None:
    site = make()
    reply = ask(site, data=data)
    if expected is None:
        assert reply.status_code == 201
        assert rows(site)[0].data == data
    else:
        assert (reply.status_code, reply.get_json()) == (400, {"data": [expected]})


def test_only_the_data_of_the_inviter_counts(make: NewSite) -> None:
    site = make(define=define_with_role, INVITATION_APPLIER=apply)
    link = invite(site, data={"role": "editor"})
    body: dict[str, Any] = {"data": {"role": "admin"}, "role": "admin", "is_active": False, "id": 7}
    assert accept(site, link, **body).status_code == 201
    user = site.user(email=GUEST)
    assert (user.role, user.is_active, user.id) == ("editor", True, 2)


def test_an_applier_adds_rows_that_come_with_the_account(make: NewSite) -> None:
    site = make(define=_define_with_teams, INVITATION_APPLIER=_join)
    account(site, "mallory", email=GUEST, verified=False)  # which is displaced before
    assert accept(site, invite(site, data={"team": "red"})).status_code == 201
    assert teams(site) == [("grace", "red")]
    again = invite(site, "other@example.com", data={"team": "blue"})
    assert accept(site, again, "grace").get_json().keys() == {"username"}
    assert teams(site) == [("grace", "red")]


def _define_with_teams(db: Any) -> type[Any]:
    class User(UserMixin, db.Model):  # type: ignore[misc]  # a class made at run time
        __tablename__ = "users"

    class Membership(db.Model):  # type: ignore[misc]  # see above
        __tablename__ = "memberships"
        user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
        team: Mapped[str] = mapped_column(primary_key=True)
        user: Mapped[Any] = relationship(User)

    User.Membership = Membership
    User.session = db.session
    return User


def _join(user: Any, data: dict[str, Any]) -> None:
    user.session.add(user.Membership(user=user, team=data["team"]))


def teams(site: Site) -> list[tuple[str, str]]:
    with site.app.app_context():
        found = site.db.session.scalars(select(site.User.Membership))
        return [(each.user.username, each.team) for each in found]


def test_an_applier_that_refuses_leaves_nothing(make: NewSite) -> None:
    site = make(INVITATION_APPLIER=_refuse_team)
    link = invite(site)
    reply = accept(site, link)
    assert (reply.status_code, reply.get_json()) == (400, {"team": ["The team is full."]})
    assert (len(site.users()), rows(site)[0].accepted_at) == (1, None)


def _refuse_team(user: Any, data: Any) -> None:
    raise ValidationError("The team is full.", "team")


# Who has an account


def people(site: Site) -> None:
    account(site, "member")
    account(site, "pending", verified=False)
    site.change(account(site, "gone"), is_active=False)


@each_row(
    ("state", "expected"),
    [
        ("verified", TAKEN),
        ("pending", INVITED),
        ("used before it was verified", TAKEN),
        ("suspended", None),
        ("pending and suspended", None),
    ],
)
def test_the_e_mail_depends_on_the_account_and_the_row_does_not(
    make: NewSite, state: str, expected: Any
) -> None:
    site = make()
    user = account(site, "guest", verified=state in ("verified", "suspended"))
    if "suspended" in state:
        site.change(user, is_active=False)
    if "used" in state:
        site.change(user, last_login=user.date_joined)
    assert ask(site).status_code == 201
    assert mails(site) == ([expected] if expected else [])
    (found,) = listed(site)
    assert (found["email"], found["accepted_at"], found["revoked_at"]) == (GUEST, None, None)


def test_the_response_is_the_same_for_every_address(make: NewSite, clock: Clock) -> None:
    site = make()
    people(site)
    client = log_in(site)
    shown = []
    for name in ("guest", "member", "pending", "gone"):
        email = f"{name}@example.com"
        reply = ask(site, email, client=client)
        body = reply.get_json()
        again = resend(site, body["id"], client=client).get_json()
        assert again == body
        assert (body.pop("id") > 0, body.pop("email")) == (True, email)
        shown.append((reply.status, body, {*reply.headers.keys()}))
    assert shown == [shown[0]] * 4


def test_the_statements_are_the_same_for_every_address(make: NewSite) -> None:
    site = make(outbox_model=define_outbox, MAIL_DISPATCHER="outbox")
    people(site)
    client, found = log_in(site), []
    for name in ("guest", "member", "pending", "gone"):
        with site.statements() as statements:
            ask(site, f"{name}@example.com", client=client)
        kinds = [" ".join(each.split()[:3]) for each in statements]
        found.append(kinds[: kinds.index("INSERT INTO outbox") + 1])  # the rest is the sending
    assert found == [found[0]] * 4


def test_a_mail_server_that_fails_reveals_no_account(make: NewSite) -> None:
    site = make(MAIL_DISPATCHER="inline")
    people(site)
    link = invite(site)
    client = log_in(site)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flask_mail.Connection.send", _fail)
        names = ("free", "member", "gone")
        replies = [ask(site, f"{name}@example.com", client=client) for name in names]
        again = [resend(site, number, client=client) for number in (1, 2, 3, 4)]
    assert [each.status_code for each in [*replies, *again]] == [201] * 3 + [200] * 4
    assert len(rows(site)) == 4
    assert accept(site, link).status_code == 201  # no later link was sent


# E-mails


def test_the_e_mail_says_who_invites_by_the_verified_address_only(make: NewSite) -> None:
    site = make()
    words = {
        "username": "buy.at.evil.example",
        "first_name": "Click",
        "last_name": "http://evil.example",
    }
    site.change(site.user(), **words, username_key=words["username"])
    ask(site, client=log_in(site, words["username"]))
    site.change(site.user(), username="alice", username_key="alice")
    ask(site, data={"role": "http://evil.example"})
    (mail,) = [site.read()]
    for text in (text_of(mail), html_of(mail)):
        assert "alice@example.com invited you to create an account at example.com" in text
        assert "evil" not in text
        assert "Click" not in text


@each_row("email", ["evil.example/x@example.com", "'x'@example.com", "x" * 60 + "~@example.com"])
def test_an_unusual_address_of_the_inviter_is_not_shown(make: NewSite, email: str) -> None:
    site = make()
    site.change(site.user(), email=email)
    invite(site)
    for text in (text_of(site.read()), html_of(site.read())):
        assert "You have been invited to create an account at example.com." in text
        assert "evil" not in text
        assert email not in text


def test_an_address_of_the_inviter_without_proof_is_not_shown(make: NewSite) -> None:
    site = make(REGISTER_EMAIL_VERIFICATION_ENABLED=False)
    client = log_in(site)
    change = {"email": "security@bank.example.com"}
    assert site.post("register-email", change, client=client).status_code == 200
    site.outbox.clear()
    assert ask(site, client=client).status_code == 201
    assert "bank" not in text_of(site.read()) + html_of(site.read())


def test_an_e_mail_waits_in_the_outbox_without_its_link(make: NewSite, clock: Clock) -> None:
    site = make(outbox_model=define_outbox, MAIL_DISPATCHER="outbox")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flask_mail.Connection.send", _fail)
        assert ask(site).status_code == 201
    row = letter(site)
    assert (row.state, row.user_id, "signature" in row.content) == ("waiting", "", False)
    assert PASSWORD not in row.content
    clock.advance(3600)
    send_mail(site)
    assert accept(site, site.link()).status_code == 201


@each_row(
    "end",
    [by_revoking, by_suspending_the_inviter, by_deleting_the_inviter],
    ids=lambda end: end.__name__,
)
def test_an_e_mail_that_waits_is_dropped_with_its_invitation(
    make: NewSite, clock: Clock, end: Any
) -> None:
    site = make(outbox_model=define_outbox, MAIL_DISPATCHER="outbox")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flask_mail.Connection.send", _fail)
        ask(site)
    end(site)
    clock.advance(3600)
    send_mail(site)
    (row,) = (each for each in letters(site) if each.template == "invitation")
    assert row.state == "dropped"
    assert [mail for mail in site.outbox if GUEST in mail.recipients] == []


def test_an_address_receives_few_e_mails_and_the_link_that_it_has_stays_valid(
    make: NewSite, clock: Clock
) -> None:
    site = make(MAIL_LIMITS="1/minute;5/hour;10/day")
    link = invite(site)
    for _ in range(3):
        assert resend(site).status_code == 200
    assert len(site.outbox) == 1
    assert rows(site)[0].nonce in link["signature"]
    clock.advance(61)
    assert resend(site).status_code == 200
    assert len(site.outbox) == 2
    assert accept(site, link).get_json() == LINK_INVALID
    assert accept(site, site.link()).status_code == 201


def test_the_owner_of_an_account_receives_one_notice_a_day(make: NewSite, clock: Clock) -> None:
    site = make(MAIL_LIMITS="1/minute;5/hour;10/day")
    account(site, "guest")
    ask(site)
    for _ in range(2):
        clock.advance(61)
        resend(site)
    assert mails(site) == [TAKEN]


def test_the_preview_shows_both_e_mails_without_the_database(make: NewSite) -> None:
    site = make()
    with site.app.test_request_context(), site.statements() as statements:
        shown = {each.email.name: each for each in examples(site.app.extensions["registration"])}
    assert statements == []
    text = str(getattr(shown["invitation"].message, "body", ""))
    assert "alice@example.com invited you" in text
    assert "https://example.com/accept-invitation/" in text
    assert shown["invitation_taken"].error is None


# Another person registers the address first


@pytest.mark.databases
def test_a_pending_registration_is_displaced_with_its_password_and_links(
    database: str, make: NewSite
) -> None:
    site = make(database, login_model=define_login, REGISTER_FLOW_ENABLED=True)
    site.register("mallory", email=GUEST, password=OTHER_PASSWORD)
    earlier = site.link()
    link = invite(site)
    with site.hears(user_deleted, user_registered) as heard:
        assert accept(site, link, "mallory").status_code == 201  # with the same username
    assert [each["signal"] for each in heard] == ["user-deleted", "user-registered"]
    assert not has_password(site, OTHER_PASSWORD, "mallory")
    assert site.verify(earlier).get_json() == LINK_INVALID


# Everywhere else


def test_a_form_of_another_site_can_do_nothing(make: NewSite) -> None:
    site = make()
    invite(site)
    client = log_in(site)
    site.outbox.clear()
    assert site.post("invitations", data={"email": GUEST}, client=client).status_code == 415
    for data in ({"a": "b"}, {}, None, b"{}"):
        assert resend(site, client=client, data=data).status_code == 415
    assert site.outbox == []


def test_the_actions_of_users_do_the_same(make: NewSite) -> None:
    site = make()
    user = site.user()
    with site.app.test_request_context():
        actions.log_in(site.db.session.get(site.User, user.id))
        shown = actions.invite("Guest@example.com", {"role": "editor"})
        assert actions.invite(GUEST)["id"] == 2
        actions.revoke_invitation(2)
        with pytest.raises(InvitationNotFound):
            actions.resend_invitation(2)
        actions.resend_invitation(shown["id"])
        assert [each["id"] for each in actions.invitations()] == [2, 1]
    twice = {"password": PASSWORD, "password_confirm": PASSWORD}
    link = site.link()
    with site.app.test_request_context():
        assert actions.accept_invitation(**link, username="grace", **twice)["email"] == GUEST
        assert flask_login.current_user.username == "grace"
        with pytest.raises(NotAllowed):
            actions.invite("other@example.com")
    with site.app.test_request_context(), pytest.raises(LinkInvalid):
        actions.accept_invitation(**link, username="bob", **twice)


@each_row(("rule", "noted"), [(None, True), (lambda user, data: True, False)])
def test_the_check_notes_that_no_user_may_invite(make: NewSite, rule: Any, noted: bool) -> None:
    _, findings = check(lambda: make(MAY_INVITE=rule), "--strict")
    assert ("registration.N005" in [finding["id"] for finding in findings]) is noted


def test_the_actions_of_administrators_need_no_login(make: NewSite) -> None:
    site = make(MAY_INVITE=None)
    with site.app.app_context():
        shown = actions.create_invitation("Guest@example.com", {"role": "editor"})
        actions.renew_invitation(shown["id"])
        (found,) = actions.all_invitations()
        assert (found.email, found.inviter_id, found.data) == (GUEST, None, {"role": "editor"})
        with pytest.raises(ValidationError):
            actions.create_invitation("grace")
        with pytest.raises(ValidationError):
            actions.create_invitation(GUEST, {"a": "x" * 5000})
        with pytest.raises(InvitationNotFound):
            actions.cancel_invitation(7)
    link = site.link()
    text = text_of(site.read())
    assert "You have been invited to create an account at example.com." in text
    with site.app.app_context():
        actions.cancel_invitation(shown["id"])
    assert accept(site, link).get_json() == LINK_INVALID


def test_the_data_of_an_action_may_be_any_mapping_and_is_checked(make: NewSite) -> None:
    site = make()
    user = site.user()
    with site.app.test_request_context():
        actions.log_in(site.db.session.get(site.User, user.id))
        for create in (actions.create_invitation, actions.invite):
            create(GUEST, MappingProxyType({"role": "editor"}))
            with pytest.raises(ValidationError, match="unsupported characters"):
                create(GUEST, MappingProxyType({"role": "\0"}))
        assert [each.data for each in actions.all_invitations()] == [{"role": "editor"}] * 2


def run(site: Site, *arguments: str) -> Result:
    info = ScriptInfo(create_app=lambda: site.app)
    return CliRunner().invoke(registration_cli, [*arguments], obj=info)


def test_the_commands(make: NewSite, clock: Clock) -> None:
    clock.now = 1_800_000_000
    site = make()
    ask(site, "other@example.com")
    done = run(site, "invite", "Guest@example.com", "--data", '{"role": "editor"}')
    assert done.output == "Invited guest@example.com (id 2).\n"
    assert rows(site)[1].data == {"role": "editor"}
    assert run(site, "resend-invitation", "2").output == "Resent to guest@example.com (id 2).\n"
    link = site.link()
    assert run(site, "revoke-invitation", "1").output == "Revoked invitation 1.\n"
    assert accept(site, link).status_code == 201
    run(site, "invite", "third@example.com")
    clock.advance(8 * DAYS)
    assert run(site, "invitations").output == (
        "3: third@example.com, expired 2027-01-22 08:00 UTC\n"
        "2: guest@example.com, accepted 2027-01-15 08:00 UTC\n"
        "1: other@example.com, revoked 2027-01-15 08:00 UTC, by user 1\n"
    )


@each_row(
    ("arguments", "status", "says"),
    [
        (["invite", "grace"], 1, "--email: "),
        (["invite", GUEST, "--data", "[]"], 2, "It must be a JSON object"),
        (["invite", GUEST, "--data", "{"], 2, "It must be a JSON object"),
        (["invite", GUEST, "--data", json.dumps({"a": "x" * 4000})], 1, "--data: This object"),
        (["revoke-invitation", "7"], 1, "This invitation does not exist, or is no longer open."),
        (["resend-invitation", "x"], 1, "This invitation does not exist, or is no longer open."),
    ],
)
def test_a_command_that_is_refused(
    make: NewSite, arguments: list[str], status: int, says: str
) -> None:
    done = run(make(), *arguments)
    assert (done.exit_code, says in done.output) == (status, True), done.output


def test_without_the_flow_the_commands_and_actions_say_so(new_site: NewSite) -> None:
    site = new_site()
    done = run(site, "invite", GUEST)
    assert done.exit_code == 1
    assert "the flow invitations is not mounted" in done.output
    with site.app.app_context(), pytest.raises(AdministrationError):
        actions.all_invitations()


def test_without_the_model_the_application_says_which_class_to_write(make: NewSite) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(other_models=[])
    (finding,) = caught.value.findings
    assert finding.id == "registration.E057"
    assert "class Invitation(InvitationMixin, db.Model)" in finding.hint


def test_an_address_must_be_unique(make: NewSite) -> None:
    model = own_model(email=text_column(nullable=False))
    with pytest.raises(ConfigurationError, match=r"registration\.E067"):
        make(define=model)


@pytest.mark.databases
def test_purge_removes_what_is_over_for_a_month(database: str, make: NewSite, clock: Clock) -> None:
    site = make(database, INVITATION_PERIOD=7 * DAYS)
    accept(site, invite(site))
    revoked = ask(site, "revoked@example.com").get_json()["id"]
    revoke(site, revoked)
    clock.advance(6 * DAYS)
    ask(site, "open@example.com")
    with site.app.app_context():
        for days, left in ((23, 3), (2, 2), (7, 1), (6, 0)):
            clock.advance(days * DAYS)
            counts = actions.purge()
            site.db.session.rollback()
            assert counts["old invitation"] == (0 if left == 3 else 1), days
            assert len(rows(site)) == left


def test_suspended_users_and_other_inviters_lose_nothing_by_a_deletion(make: NewSite) -> None:
    site = make()
    account(site, "bob")
    ask(site, client=log_in(site, "bob"))
    by_deleting_the_inviter(site)
    assert [each.email for each in rows(site)] == [GUEST]


def test_a_user_model_with_a_column_of_another_name(make: NewSite) -> None:
    site = make(
        define=own_model(
            mail=text_column(unique=True, nullable=False), email=text_column(nullable=True)
        ),
        alice={"mail": "alice@example.com"},
        USER_EMAIL_FIELD="mail",
        USER_PUBLIC_FIELDS=["id", "username", "mail"],
    )
    assert ask(site, "guest").get_json().keys() == {"email"}
    reply = accept(site, invite(site))
    assert (reply.status_code, reply.get_json()["mail"]) == (201, GUEST)
