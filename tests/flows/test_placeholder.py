"""A registration with an e-mail address in use: it is stored, and nobody can tell it from another.

The names in brackets are rows of the threat table.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from click.testing import CliRunner
from flask.cli import ScriptInfo
from sqlalchemy import String, event
from sqlalchemy.orm import mapped_column, validates

from flask_registration import (
    EmailUserMixin,
    user_activated,
    user_deleted,
    user_registered,
)
from flask_registration.cli.base import registration_cli
from flask_registration.testing.uniform import compare

from ..conftest import Clock
from ..outboxes import define_outbox
from ..people import LOGIN_INVALID, define_login
from ..site import PASSWORD, Site, define, own_model, whole
from ..tables import each_row
from .common import (
    AT_ONCE,
    OTHER_PASSWORD,
    NewSite,
    accounts,
    ask_reset,
    at_once,
    forget_mails,
    is_placeholder,
    log_in,
    mails,
    member,
)

WEEK = 7 * 24 * 3600
IN_USE = {"username": ["This username is already in use."]}
OWNER = "owner@example.com"


def in_use(site: Site, username: str = "stranger", **fields: Any) -> Any:
    """A stranger registers with the owner's address; the row."""
    assert site.register(username, email=OWNER, **fields).status_code == 201
    user = site.user(username=username)
    assert is_placeholder(user.email)
    assert not user.is_verified
    return user


def purge(site: Site) -> str:
    """What the command prints."""
    script = ScriptInfo(create_app=lambda: site.app)
    result = CliRunner().invoke(registration_cli, ["purge"], obj=script)
    assert result.exit_code == 0, result.output
    return result.output.strip()


# Nobody can tell [E1, E2]


MODELS: dict[str, dict[str, Any]] = {
    "the mixin": {},
    "a plain model": {"define": own_model()},
    "a login model": {"login_model": define_login},
    "an outbox": {"outbox_model": define_outbox, "MAIL_DISPATCHER": "outbox"},
}


@pytest.mark.databases
@each_row("settings", MODELS.values(), ids=list(MODELS))
def test_the_reply_and_the_statements_are_those_of_a_free_address(
    database: str, new_site: NewSite, settings: dict[str, Any]
) -> None:
    site = new_site(database, **settings)
    member(site, "verified")
    site.register("pending")
    if "is_active" in site.User.__table__.columns:
        site.change(member(site, "suspended"), is_active=False)
    owners = [user.username for user in site.users()]
    forget_mails(site)
    requests = {"free": partial(site.register, "first", email="free@example.com")} | {
        name: partial(site.register, f"second_{name}", email=f"{name.upper()}@example.com")
        for name in owners
    }
    compare(site.app, requests, statements=True)
    assert len(site.users()) == 2 * len(owners) + 1
    assert len(accounts(site)) == len(owners) + 1


@pytest.mark.databases
def test_a_user_without_a_name_is_stored_alike(database: str, new_site: NewSite) -> None:
    site = new_site(database, define=define(EmailUserMixin), USER_LOGIN_FIELDS=["email"])

    def register(email: str) -> Any:
        body = {"email": email, "password": PASSWORD, "password_confirm": PASSWORD}
        return site.post("register", body)

    register(OWNER)
    forget_mails(site)
    compare(
        site.app,
        {"free": partial(register, "free@example.com"), "in use": partial(register, OWNER)},
        statements=True,
    )
    assert [user.email for user in accounts(site)] == [OWNER, "free@example.com"]
    assert len(site.users()) == 3


def test_a_rule_of_the_model_does_not_refuse_the_placeholder(new_site: NewSite) -> None:
    @validates("email")
    def of_our_company(self: Any, _: str, email: str) -> str:
        if not email.endswith("@example.com"):
            raise ValueError("Use the address of your company.")
        return email

    site = new_site(define=own_model(of_our_company=lambda: of_our_company))
    member(site, "owner")
    compare(
        site.app,
        {
            "free": partial(site.register, "first", email="free@example.com"),
            "in use": partial(site.register, "second", email=OWNER),
        },
        statements=True,
    )


@pytest.mark.databases
def test_of_parallel_registrations_of_one_address_one_gets_it(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database, config=AT_ONCE)
    with site.hears(user_registered) as heard:
        replies = at_once(lambda number: site.register(f"user{number}", email=OWNER), 12)
    assert {reply.status_code for reply in replies} == {201}
    names = {f"user{number}" for number in range(12)}
    assert {reply.get_json()["username"] for reply in replies} == names
    others = [{**reply.get_json(), "username": ""} for reply in replies]
    assert others == [{"username": "", "email": OWNER, "first_name": "", "last_name": ""}] * 12
    assert {user.username for user in site.users()} == names
    (owner,) = accounts(site)
    assert [each["user"].username for each in heard] == [owner.username]
    # The limit of an address counts over all e-mails with links.
    assert [to for to, _ in mails(site)] == [OWNER]
    forget_mails(site)
    site.post("resend-verification", {"email": OWNER})
    assert site.verify().status_code == 200
    assert [user.username for user in site.users() if user.is_verified] == [owner.username]


@each_row(
    ("name", "again"),
    [("stranger", "stranger"), ("stranger", "STRANGER"), ("ｓｔranger", "stranger")],
    ids=str,
)
def test_the_username_is_reserved_as_that_of_any_registration(
    new_site: NewSite, name: str, again: str
) -> None:
    """Else two requests would tell whether an address is in use."""
    answers = []
    for email in (OWNER, "free@example.com"):
        site = new_site()
        member(site, "owner")
        assert site.register(name, email=email).status_code == 201
        reply = site.register(again, email="another@example.com")
        assert (reply.status_code, reply.get_json()) == (400, IN_USE)
        answers.append(whole(reply))
    assert answers[0] == answers[1]


@pytest.mark.databases
def test_the_username_is_reserved_in_a_short_column_of_addresses(
    database: str, new_site: NewSite
) -> None:
    email = partial(mapped_column, String(50), unique=True, nullable=False)
    site = new_site(database, define=own_model(email=email))
    member(site, "owner")
    assert site.register("stranger", email=OWNER).status_code == 201
    reply = site.register("stranger", email="another@example.com")
    assert (reply.status_code, reply.get_json()) == (400, IN_USE)


@each_row("verified", [True, False], ids=["a verified owner", "a pending owner"])
def test_a_login_with_the_chosen_password_answers_as_that_of_any_pending_account(
    database: str, new_site: NewSite, verified: bool
) -> None:
    site = new_site(database, LOGIN_RETRIEVE_TOKEN=True)
    member(site, "owner", verified=verified, password=OTHER_PASSWORD)
    in_use(site)
    site.register("pending")

    def login(name: str, password: str = PASSWORD) -> Any:
        return site.post("login", {"login": name, "password": password})

    right = {name: partial(login, name) for name in ("pending", "stranger")}
    compare(site.app, right, statements=True)
    wrong = {name: partial(login, name, "wrong") for name in ("nobody", "pending", "stranger")}
    compare(site.app, wrong, statements=True)
    assert login("stranger").status_code == 400
    reply = login("stranger", OTHER_PASSWORD)  # the owner's
    assert (reply.status_code, reply.get_json()) == (400, LOGIN_INVALID)


NEXT: dict[str, Any] = {
    "a login by name": ("login", {"login": "{name}", "password": OTHER_PASSWORD}),
    "a login by e-mail address": ("login", {"login": "{email}", "password": OTHER_PASSWORD}),
    "the same registration": ("register", {"username": "{name}", "email": "{email}"}),
    "the name again": ("register", {"username": "{name}", "email": "other@example.com"}),
    "the address again": ("register", {"username": "{name}2", "email": "{email}"}),
    "a verification e-mail by name": ("resend-verification", {"login": "{name}"}),
    "a verification e-mail by address": ("resend-verification", {"email": "{email}"}),
    "a reset by name": ("send-reset-password-link", {"login": "{name}"}),
    "a reset by address": ("send-reset-password-link", {"login": "{email}"}),
}


@pytest.mark.databases
@each_row("owner", [{}, {"verified": False}, {"is_active": False}], ids=str)
def test_no_second_request_tells_whether_the_address_was_in_use(
    database: str, new_site: NewSite, owner: dict[str, bool]
) -> None:
    site = new_site(database, LOGIN_RETRIEVE_TOKEN=True, USER_LOGIN_FIELDS=["username", "email"])
    member(site, "owner", **owner)
    for what, (endpoint, body) in NEXT.items():
        number = list(NEXT).index(what)

        def ask(name: str, email: str, endpoint: str = endpoint, body: Any = body) -> Any:
            password = {"password": OTHER_PASSWORD, "password_confirm": OTHER_PASSWORD}
            assert site.register(name, email=email, **password).status_code == 201
            forget_mails(site)
            values = {key: value.format(name=name, email=email) for key, value in body.items()}
            return site.post(endpoint, {**password, **values} if endpoint == "register" else values)

        requests = {
            "free": partial(ask, f"first{number}", f"free{number}@example.com"),
            "in use": partial(ask, f"second{number}", OWNER),
        }
        compare(site.app, requests, statements=True)


# Nothing comes of it


def test_nobody_but_the_owner_hears_of_it(database: str, new_site: NewSite) -> None:
    site = new_site(database)
    owner = member(site, "owner")
    with site.hears(user_registered, user_activated) as heard:
        in_use(site, first_name="Buycheap")
    assert heard == []
    assert [mail.recipients for mail in site.outbox] == [[OWNER]]
    after = site.user(username="owner")
    assert {**vars(owner), "_sa_instance_state": 0} == {**vars(after), "_sa_instance_state": 0}


@pytest.mark.databases
@each_row("settings", MODELS.values(), ids=list(MODELS))
def test_it_gets_no_mail_and_the_request_for_one_is_answered_alike(
    database: str, new_site: NewSite, settings: dict[str, Any]
) -> None:
    site = new_site(database, **settings)
    member(site, "owner")
    stranger = in_use(site)
    site.register("pending")
    for endpoint in ("resend-verification", "send-reset-password-link"):
        forget_mails(site)
        requests = {
            name: partial(site.post, endpoint, {"login": name}) for name in ("stranger", "nobody")
        }
        compare(site.app, requests, statements=False)
        site.post(endpoint, {"login": stranger.email})
        if endpoint == "resend-verification":
            site.post(endpoint, {"email": stranger.email})
        assert mails(site) == []
        answer = whole(site.post(endpoint, {"login": "pending"}))
        assert answer == whole(site.post(endpoint, {"login": "stranger"}))
    assert not site.user(username="stranger").is_verified


def test_the_owners_links_do_not_verify_it(site: Site) -> None:
    site.register("owner")
    link = site.link()
    stranger = in_use(site)
    assert site.verify(link, user_id=str(stranger.id)).status_code == 400
    assert site.verify(link).status_code == 200
    reset = ask_reset(site, "owner")
    body = {**reset, "user_id": str(stranger.id), "password": OTHER_PASSWORD}
    assert site.post("reset-password", body).status_code == 400
    assert [user.username for user in site.users() if user.is_verified] == ["owner"]


# It goes


@pytest.mark.databases
def test_it_is_removed_once_it_has_expired(database: str, new_site: NewSite, clock: Clock) -> None:
    site = new_site(database)
    member(site, "owner")
    in_use(site)
    clock.advance(WEEK)
    assert purge(site) == "0 unverified registrations"
    assert site.register("stranger").get_json() == IN_USE
    clock.advance(1)
    assert purge(site) == "1 unverified registration removed"
    assert [user.username for user in site.users()] == ["owner"]
    assert site.register("stranger").status_code == 201
    assert site.verify().status_code == 200


@pytest.mark.databases
def test_its_name_can_be_registered_once_it_has_expired(
    database: str, new_site: NewSite, clock: Clock
) -> None:
    site = new_site(database)
    member(site, "owner")
    in_use(site)
    clock.advance(WEEK + 1)
    with site.hears(user_deleted, user_registered) as heard:
        assert site.register("Stranger").status_code == 201
    # The other one was never announced.
    assert [each["signal"] for each in heard] == ["user-registered"]
    assert {user.username for user in site.users()} == {"owner", "Stranger"}
    assert site.verify().status_code == 200


@pytest.mark.databases
@each_row("is_taken", [False, True])
@each_row("first", [OWNER, "throwaway@example.com"])
def test_an_expired_registration_does_not_tell_a_taken_address_from_a_free_one(
    database: str, first: str, is_taken: bool, new_site: NewSite, clock: Clock
) -> None:
    site = new_site(database)
    if is_taken:
        member(site, "owner")
    assert site.register("stranger", email=first).status_code == 201
    clock.advance(WEEK + 1)
    assert site.register("stranger", email=OWNER).status_code == 201
    assert len(site.users()) == 1 + is_taken


@pytest.mark.databases
def test_it_does_not_stand_in_the_way_of_the_owner(
    database: str, new_site: NewSite, clock: Clock
) -> None:
    """A stranger registers the address; others do so while it is pending; then the owner comes."""
    site = new_site(database)
    site.register("squatter", email=OWNER)
    for number in range(3):
        in_use(site, f"stranger{number}")
    clock.advance(WEEK + 1)
    site.outbox.clear()
    with site.hears(user_deleted, user_registered) as heard:
        assert site.register("owner").status_code == 201
    assert [(each["signal"], each["user"].username) for each in heard] == [
        ("user-deleted", "squatter"),
        ("user-registered", "owner"),
    ]
    assert [mail.recipients for mail in site.outbox] == [[OWNER]]
    assert site.verify().status_code == 200
    assert [user.username for user in accounts(site)] == ["owner"]
    assert purge(site) == "3 unverified registrations removed"


@pytest.mark.databases
def test_an_owner_who_has_left_can_come_back(database: str, new_site: NewSite) -> None:
    site = new_site(database)
    member(site, "owner")
    in_use(site)
    client = log_in(site, "owner")
    reply = client.delete("/accounts/profile/", json={"password": PASSWORD})
    assert reply.status_code == 204
    forget_mails(site)
    assert site.register("owner").status_code == 201
    assert site.verify().status_code == 200
    assert {user.username for user in site.users()} == {"owner", "stranger"}


def refuse_at_the_insert(model: Any) -> None:
    @event.listens_for(model, "before_insert")
    def check(mapper: Any, connection: Any, user: Any) -> None:
        if not user.email.endswith("@example.com"):
            raise ValueError("This is a site of one company.")


@pytest.mark.databases
@each_row("is_refused_by", ["the model", "the database"])
def test_what_refuses_the_placeholder_reveals_no_account(
    database: str, is_refused_by: str, new_site: NewSite
) -> None:
    if is_refused_by == "the model":
        site = new_site(database)
        refuse_at_the_insert(site.User)
    else:
        short = own_model(email=lambda: mapped_column(String(30), unique=True))
        site = new_site(database, define=short)
        if database.startswith("sqlite"):
            pytest.skip("SQLite stores what is too long")
    member(site, "owner")
    site.outbox.clear()
    assert site.register("stranger", email=OWNER).status_code == 201
    assert [user.username for user in site.users()] == ["owner"]
    assert [mail.recipients for mail in site.outbox] == [[OWNER]]
    assert site.register("other", email="other@example.com").status_code == 201


def test_without_enumeration_protection_nothing_is_stored(database: str, new_site: NewSite) -> None:
    site = new_site(database, PREVENT_ENUMERATION=False)
    member(site, "owner")
    assert site.register("stranger", email=OWNER).status_code == 400
    assert [user.username for user in site.users()] == ["owner"]


def test_where_addresses_need_not_be_unique_there_is_no_placeholder(new_site: NewSite) -> None:
    site = new_site(define=own_model(email=lambda: mapped_column(String(254))))
    member(site, "owner")
    assert site.register("another", email=OWNER).status_code == 201
    assert [user.email for user in site.users()] == [OWNER, OWNER]
