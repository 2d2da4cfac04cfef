"""Login fields are authenticators: no account's value may stand for another account's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from marshmallow import ValidationError
from sqlalchemy import Integer
from sqlalchemy.orm import mapped_column

from flask_registration import EmailUserMixin, actions

from ..conftest import Clock
from ..site import PASSWORD, Site, define, mixin_and, text_column, whole
from ..tables import each_row
from .common import (
    DAYS,
    NewSite,
    ask_reset,
    forget_mails,
    is_placeholder,
    log_in,
    mails,
    member,
)

#: As the page about django-rest-registration has it, for the usernames of Django.
WITH_AT = {"USERNAME_PATTERN": r"[\w.@+-]+", "USER_LOGIN_FIELDS": ["username", "email"]}
BOTH = {"USER_LOGIN_FIELDS": ["username", "phone"], "USER_PUBLIC_FIELDS": ["phone"]}
NUMBER = {"USER_LOGIN_FIELDS": ["username", "number"]}
NOT_ALLOWED = {"username": ["This username has characters that are not allowed."]}
TAKEN = {"username": ["This username is already in use."]}


def define_phone() -> Callable[..., Any]:
    return mixin_and(phone=text_column(unique=True, nullable=True))


def define_number() -> Callable[..., Any]:
    return mixin_and(number=lambda: mapped_column(Integer, unique=True, nullable=True))


def register_as(site: Site, name: str, **fields: Any) -> Any:
    return site.register(name, **{"email": "mallory@example.net", **fields})


# An e-mail address in another field


@each_row(
    "name",
    [
        "alice@example.com",
        "Alice@EXAMPLE.com",
        pytest.param("alice@ｅxample.com", id="wide letters"),
        pytest.param("nobody@example.com", id="an address that no account has"),
    ],
)
def test_no_username_is_the_address_of_another(name: str, new_site: NewSite) -> None:
    """Whether or not there is such an account, which tells of none."""
    site = new_site(**WITH_AT)
    member(site)
    reply = register_as(site, name)
    assert (reply.status_code, reply.get_json()) == (400, NOT_ALLOWED)
    member(site, "mallory")
    client = log_in(site, "mallory")
    for method in ("PATCH", "PUT"):
        reply = client.open("/accounts/profile/", method=method, json={"username": name})
        assert (reply.status_code, reply.get_json()) == (400, NOT_ALLOWED)
    with site.app.app_context(), pytest.raises(ValidationError):
        site.registration.create_user(username=name, email="m@example.net", password=PASSWORD)
    assert log_in(site, "alice@example.com")
    assert ask_reset(site, "alice@example.com")
    assert [user.username for user in site.users()] == ["alice", "mallory"]


def test_the_refusal_of_an_address_as_a_name_tells_nothing(new_site: NewSite) -> None:
    site = new_site(**WITH_AT)
    member(site)
    replies = [whole(register_as(site, f"{name}@example.com")) for name in ("alice", "nobody")]
    assert replies[0] == replies[1]


def test_ones_own_address_may_be_the_username(new_site: NewSite) -> None:
    site = new_site(**WITH_AT)
    assert site.register("bob@example.com", email="Bob@example.com").status_code == 201
    assert site.verify().status_code == 200
    client = log_in(site, "bob@example.com")
    reply = client.put("/accounts/profile/", json={"username": "bob@example.com"})
    assert reply.status_code == 200


def test_a_name_that_is_no_address_may_have_an_at_sign(new_site: NewSite) -> None:
    site = new_site(**WITH_AT)
    for name in ("old@name", "@bob", "carol@"):
        member(site, name, email=f"user{name.count('@')}{len(name)}@example.com")
        assert log_in(site, name)


def test_where_no_address_logs_in_a_name_may_look_like_one(new_site: NewSite) -> None:
    site = new_site(USERNAME_PATTERN=WITH_AT["USERNAME_PATTERN"])
    member(site)
    assert register_as(site, "alice@example.com").status_code == 201


def test_a_login_field_of_any_name_takes_no_address(new_site: NewSite) -> None:
    columns = {"handle": text_column(unique=True)}
    model = define(EmailUserMixin, columns=lambda: {name: make() for name, make in columns.items()})
    site = new_site(define=model, USER_LOGIN_FIELDS=["handle", "email"])
    with site.app.app_context():
        site.registration.create_user(handle="a", email="alice@example.com", password=PASSWORD)
        site.db.session.commit()
    body = {"handle": "ALICE@example.com", "email": "m@example.net", "password": PASSWORD}
    reply = site.post("register", {**body, "password_confirm": PASSWORD})
    assert (reply.status_code, list(reply.get_json())) == (400, ["handle"])


# What is there already


def old_names(site: Site) -> None:
    """Bob's username is the address of Alice, from before the rule; and Carol's is nobody's."""
    member(site)
    for name, old in (("bob", "alice@example.com"), ("carol", "carol@example.org")):
        site.change(member(site, name), username=old, username_key=old)


def test_the_owner_of_an_address_comes_before_an_old_username(new_site: NewSite) -> None:
    site = new_site(**WITH_AT)
    old_names(site)
    client = log_in(site, "alice@example.com")
    assert client.get("/accounts/profile/").get_json()["email"] == "alice@example.com"
    site.post("send-reset-password-link", {"login": "alice@example.com"})
    assert [to for to, _ in mails(site)] == ["alice@example.com"]


def test_an_old_username_logs_in_and_stays(new_site: NewSite) -> None:
    site = new_site(**WITH_AT)
    old_names(site)
    client = log_in(site, "carol@example.org")
    body = {"username": "carol@example.org", "first_name": "Carol"}
    reply = client.put("/accounts/profile/", json=body)
    assert (reply.status_code, reply.get_json()["first_name"]) == (200, "Carol")


def test_no_address_is_the_old_username_of_another(new_site: NewSite) -> None:
    """Carol could not log in with her username any more."""
    site = new_site(**WITH_AT)
    old_names(site)
    forget_mails(site)
    assert register_as(site, "mallory", email="carol@example.org").status_code == 201
    assert is_placeholder(site.user(username="mallory").email)
    member(site, "eve")
    client = log_in(site, "eve")
    reply = site.post("register-email", {"email": "carol@example.org"}, client=client)
    assert reply.status_code == 200
    assert {to for to, _ in mails(site)} == {"eve@example.com"}, "there is no link"
    assert log_in(site, "carol@example.org")


# Other fields


@pytest.mark.databases
def test_no_value_of_a_login_field_is_anothers_value_of_another(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database, define=define_phone(), **BOTH)
    member(site, phone="+491234567")
    member(site, "555")
    for fields, wrong in (
        ({"username": "+491234567", "phone": "1"}, "username"),
        ({"username": "＋491234567", "phone": "1"}, "username"),
        ({"username": "mallory", "phone": "555"}, "phone"),
        ({"username": "mallory", "phone": "alice"}, "phone"),
    ):
        reply = register_as(site, fields.pop("username"), **fields)
        assert (reply.status_code, list(reply.get_json())) == (400, [wrong])
    member(site, "mallory")
    client = log_in(site, "mallory")
    for change in ({"username": "+491234567"}, {"phone": "555"}, {"phone": "alice"}):
        reply = client.patch("/accounts/profile/", json=change)
        assert (reply.status_code, list(reply.get_json())) == (400, list(change))
    values: dict[str, Any] = {"email": "n@example.com", "password": PASSWORD}
    with site.app.test_request_context():
        with pytest.raises(ValidationError):
            site.registration.create_user(username="new", phone="alice", **values)
        with pytest.raises(ValidationError):
            actions.register(username="+491234567", phone="1", **values)
    assert client.patch("/accounts/profile/", json={"phone": "mallory"}).status_code == 200
    assert log_in(site, "+491234567")


def test_a_number_is_compared_by_its_digits(new_site: NewSite) -> None:
    site = new_site(define=define_number(), **NUMBER)
    member(site, number=4711)
    reply = register_as(site, "4711", number=1)
    assert (reply.status_code, reply.get_json()) == (400, TAKEN)
    member(site, "12", number=None)
    reply = register_as(site, "mallory", number=12)
    assert (reply.status_code, list(reply.get_json())) == (400, ["number"])


def test_an_expired_registration_keeps_no_value_of_another_field(
    new_site: NewSite, clock: Clock
) -> None:
    site = new_site(define=define_phone(), **BOTH)
    assert register_as(site, "555", phone="1").status_code == 201
    clock.advance(8 * DAYS)
    reply = site.register("alice", phone="555")
    assert reply.status_code == 201
    assert [user.username for user in site.users()] == ["alice"]


def test_one_login_field_costs_no_query_and_two_cost_two(site: Site, new_site: NewSite) -> None:
    two = new_site(USER_LOGIN_FIELDS=["username", "email"])
    counts = []
    for each in (site, two):
        with each.statements() as statements:
            each.register()
        counts.append(len(statements))
    assert counts[0] <= 3
    assert counts[1] <= counts[0] + 2
