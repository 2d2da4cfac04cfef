"""Values that are in the database: how accounts are found, and which values are in use.

The names in brackets are rows of the threat table.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    TypeDecorator,
    UniqueConstraint,
    event,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import CITEXT
from sqlalchemy.orm import Session, mapped_column, relationship, with_loader_criteria

from flask_registration import EmailUserMixin, UserMixin
from flask_registration.testing.uniform import compare

from ..site import CHEAP_HASHER, PASSWORD, Site, define, own_model
from ..tables import each_row
from .common import NewSite, ask_reset, forget_mails, is_placeholder, log_in, mails, member

ALICE = "alice@example.com"


def stored(site: Site, **columns: Any) -> None:
    """Put a verified account into the table, past every rule for new values."""
    row = {"password_hash": CHEAP_HASHER.hash(PASSWORD), "is_verified": True, **columns}
    with site.app.app_context():
        site.db.session.add(site.User(**row))
        site.db.session.commit()


def run(site: Site, statement: str) -> None:
    with site.app.app_context():
        site.db.session.execute(text(statement))
        site.db.session.commit()


# Values that a rule of today refuses [I9]

MODELS: dict[str, dict[str, Any]] = {
    "the mixin": {},
    "a plain model": {"define": own_model()},
}


@pytest.mark.databases
@each_row("settings", MODELS.values(), ids=list(MODELS))
def test_an_account_is_found_and_saved_with_values_that_a_new_one_could_not_have(
    database: str, new_site: NewSite, settings: dict[str, Any]
) -> None:
    site = new_site(database, USER_LOGIN_FIELDS=["username", "email"], **settings)
    rows = [
        ("Jean Dupont", "jean@example.com"),
        ("o'neil", "o@example.com"),
        ("a/b", "foo..bar@example.com"),
        ("bob", "bob@corp.local"),
        ("dan", "dan@intranet"),
    ]
    for name, address in rows:
        stored(site, username=name, email=address)
    for name, address in rows:
        for login in (name, address):
            link = ask_reset(site, login)
            assert site.outbox[-1].recipients == [address]
        assert site.post("reset-password", {**link, "password": PASSWORD}).status_code == 200
        client = log_in(site, name)
        shown = client.get("/accounts/profile/").get_json()
        reply = client.put("/accounts/profile/", json=shown)
        assert (reply.status_code, reply.get_json()) == (200, shown)
    reply = log_in(site, "o'neil").patch("/accounts/profile/", json={"username": "o'hara"})
    assert (reply.status_code, list(reply.get_json())) == (400, ["username"])
    reply = site.register("Jean Dupond", email="new@example.com")
    assert (reply.status_code, list(reply.get_json())) == (400, ["username"])


def test_of_two_addresses_that_differ_in_case_each_has_its_own_account(new_site: NewSite) -> None:
    site = new_site(define=own_model(), USER_LOGIN_FIELDS=["username", "email"])
    for name, email in (("lower", ALICE), ("upper", ALICE.upper())):
        stored(site, username=name, email=email)
    for name, email in (("lower", ALICE), ("upper", ALICE.upper())):
        assert log_in(site, email).get("/accounts/profile/").get_json()["email"] == email, name


# Columns with types of the application


class Phone:
    """A telephone number."""

    def __init__(self, text: str) -> None:
        if not text.lstrip("+").isdecimal():
            raise ValueError("not a telephone number")
        self.text = text


class PhoneType(TypeDecorator[Phone]):
    impl, cache_ok = String(20), True

    def process_bind_param(self, value: Any, dialect: Any) -> str | None:
        return None if value is None else Phone(getattr(value, "text", value)).text

    def process_result_value(self, value: Any, dialect: Any) -> Phone | None:
        return value and Phone(value)


@pytest.mark.databases
def test_a_login_field_may_have_a_type_that_converts_texts_to_objects(
    database: str, new_site: NewSite
) -> None:
    phone = partial(mapped_column, PhoneType, unique=True)
    site = new_site(
        database, define=own_model(phone=phone), USER_LOGIN_FIELDS=["username", "phone"]
    )
    stored(site, username="alice", email=ALICE, phone="+49123")
    for login, status in (("+49123", 200), ("+49124", 400), ("bob", 400)):
        reply = site.post("login", {"login": login, "password": PASSWORD})
        assert reply.status_code == status, login


@pytest.mark.databases
def test_a_value_that_the_type_cannot_convert_is_a_400(database: str, new_site: NewSite) -> None:
    phone = partial(mapped_column, PhoneType, nullable=True)
    site = new_site(database, define=own_model(phone=phone), USER_PUBLIC_FIELDS=["phone"])
    assert site.register(phone="none").status_code == 400
    assert site.users() == []


# Columns of another character set


def test_a_value_that_a_column_has_no_characters_for_is_that_of_no_account(
    mariadb_url: str, new_site: NewSite
) -> None:
    """MariaDB refuses to compare it, which is no reason to try again."""
    site = new_site(
        mariadb_url,
        define=own_model(__table_args__=lambda: {"mysql_charset": "latin1"}),
        USER_LOGIN_FIELDS=["username", "email"],
    )
    member(site, "álice", email=ALICE)
    log_in(site, "álice")
    for name in ("日本", "Ωmega"):
        assert site.post("login", {"login": name, "password": PASSWORD}).status_code == 400
        assert site.post("send-reset-password-link", {"login": name}).status_code == 200
        reply = site.register(name, email="new@example.com")
        unstorable = {"non_field_errors": ["One of these values is not supported."]}
        assert (reply.status_code, reply.get_json()) == (400, unstorable)
    assert len(site.users()) == 1


# Columns that ignore case


@pytest.fixture
def citext_site(postgresql_url: str, new_site: NewSite) -> Site:
    def create_extension(app: Flask) -> None:
        with app.app_context(), app.extensions["sqlalchemy"].engine.begin() as connection:
            connection.execute(text("CREATE EXTENSION IF NOT EXISTS citext"))

    email = partial(mapped_column, CITEXT, unique=True)
    return new_site(
        postgresql_url,
        define=define(UserMixin, columns=lambda: {"email": email()}),
        before=create_extension,
        USER_LOGIN_FIELDS=["username", "email"],
    )


def test_an_address_with_capitals_in_a_column_that_ignores_case_is_that_account(
    citext_site: Site,
) -> None:
    site = citext_site
    member(site)
    run(site, "UPDATE users SET email = 'Alice@Example.com'")
    for login in (ALICE, "ALICE@example.com", "Alice@Example.com"):
        log_in(site, login)
    _is_in_use(site, "Alice@Example.com")


# Addresses that are unique in another way [I10]


def email_user(*table_args: Any, **columns: Callable[[], Any]) -> Callable[[Any], Any]:
    """A model whose address is unique as these constraints and indexes have it."""
    made = {"email": lambda: mapped_column(String(254), nullable=False), **columns}
    return define(
        UserMixin,
        columns=lambda: {
            **{name: make() for name, make in made.items()},
            "__table_args__": tuple(make() for make in table_args),
        },
    )


def tenant(default: Any = "a") -> Callable[[], Any]:
    return lambda: mapped_column(String(9), default=default)


def deleted() -> Any:
    return mapped_column(Boolean, default=False, nullable=False)


def partial_index(where: Any) -> Any:
    return Index("ix", "email", unique=True, sqlite_where=where, postgresql_where=where)


WAYS: dict[str, Callable[[Any], Any]] = {
    "with a tenant": email_user(lambda: UniqueConstraint("tenant", "email"), tenant=tenant()),
    "with a tenant that a function finds": email_user(
        lambda: UniqueConstraint("tenant", "email"), tenant=tenant(lambda: "a")
    ),
    "with a tenant that the statement finds": email_user(
        lambda: UniqueConstraint("tenant", "email"),
        tenant=tenant(lambda context: context.get_current_parameters()["username"] and "a"),
    ),
    "with a tenant that the database finds": email_user(
        lambda: UniqueConstraint("tenant", "email"),
        tenant=lambda: mapped_column(String(9), server_default="a"),
    ),
    "among rows that are not deleted": email_user(
        lambda: partial_index(text("NOT deleted")), deleted=deleted
    ),
    "in lower case, as text": email_user(lambda: Index("ix", text("(lower(email))"), unique=True)),
    "in lower case": email_user(
        email=lambda: mapped_column(String(254), nullable=False),
    ),
}


def lower_case_index(db: Any) -> Any:
    model = email_user()(db)
    Index("ix_lower", func.lower(model.__table__.c.email), unique=True)
    return model


WAYS["in lower case"] = lower_case_index
WAYS["among rows that are not deleted, as a string"] = email_user(
    lambda: Index(
        "ix", "email", unique=True, sqlite_where=text("NOT deleted"), postgresql_where="NOT deleted"
    ),
    deleted=deleted,
)


def _is_in_use(site: Site, owner: str) -> None:
    """A registration with the address of an account is as any other; its owner gets an e-mail."""
    forget_mails(site)
    requests = {
        "free": partial(site.register, "first", email="free@example.com"),
        "in use": partial(site.register, "second", email=ALICE),
    }
    compare(site.app, requests, statements=False)
    assert [to for to, _ in mails(site)] == ["free@example.com", owner]
    assert not is_placeholder(site.user(username="first").email)
    assert is_placeholder(site.user(username="second").email)


@each_row("way", WAYS.values(), ids=list(WAYS))
@pytest.mark.databases
def test_an_address_in_use_is_as_any_other_where_it_is_unique(
    way: Callable[[Any], Any], database: str, new_site: NewSite
) -> None:
    model = way
    partial_ones = [way for name, way in WAYS.items() if "not deleted" in name]
    if database.startswith("mysql") and model in partial_ones:
        pytest.skip("MariaDB has no partial indexes")
    if database.startswith("mysql") and model in (WAYS["in lower case"], list(WAYS.values())[5]):
        pytest.skip("MariaDB has no functional indexes")
    site = new_site(database, define=model)
    member(site)
    _is_in_use(site, ALICE)


def test_the_statements_are_those_of_a_free_address_whatever_makes_it_unique(
    new_site: NewSite,
) -> None:
    for way in ("with a tenant", "among rows that are not deleted", "in lower case"):
        site = new_site(define=WAYS[way])
        member(site)
        forget_mails(site)
        requests = {
            "free": partial(site.register, "first", email="free@example.com"),
            "in use": partial(site.register, "second", email=ALICE),
        }
        compare(site.app, requests, statements=True)


@each_row(
    ("way", "change"),
    [("with a tenant", "tenant = 'b'"), ("among rows that are not deleted", "deleted = true")],
)
def test_an_address_is_free_where_its_row_does_not_count(
    way: str, change: str, new_site: NewSite
) -> None:
    site = new_site(define=WAYS[way])
    member(site)
    run(site, f"UPDATE users SET {change}")
    assert site.register("bob", email=ALICE).status_code == 201
    assert site.user(username="bob").email == ALICE
    assert [to for to, _ in mails(site)] == [ALICE]


def test_an_e_mail_change_to_an_address_in_use_tells_its_owner_whatever_makes_it_unique(
    new_site: NewSite,
) -> None:
    for way in ("with a tenant", "among rows that are not deleted", "in lower case"):
        site = new_site(define=WAYS[way])
        member(site)
        member(site, "bob")
        client = log_in(site, "bob")
        forget_mails(site)
        reply = site.post("register-email", {"email": ALICE}, client=client)
        assert reply.status_code == 200
        assert [to for to, _ in mails(site)] == ["bob@example.com", ALICE]


def test_a_name_that_is_unique_with_a_tenant_is_refused_by_name(new_site: NewSite) -> None:
    site = new_site(
        define=define(
            EmailUserMixin,
            columns=lambda: {
                "username": mapped_column(String(9), nullable=False),
                "tenant": mapped_column(String(9), default="a"),
                "__table_args__": (UniqueConstraint("tenant", "username"),),
            },
        ),
        USER_LOGIN_FIELDS_UNIQUE_CHECK_ENABLED=False,
    )
    assert site.register().status_code == 201
    reply = site.register(email="bob@example.com")
    assert reply.get_json() == {"username": ["This username is already in use."]}


# Rows that the application hides [I10]


def _by_criteria(state: Any, model: type[Any]) -> Any:
    hide = with_loader_criteria(model, lambda cls: ~cls.deleted, include_aliases=True)
    return state.statement.options(hide)


def _by_where(state: Any, model: type[Any]) -> Any:
    return state.statement.where(~model.deleted)


@pytest.mark.databases
@each_row("hide", [_by_criteria, _by_where])
def test_the_address_of_a_row_that_the_application_hides_is_as_any_other(
    hide: Callable[[Any, type[Any]], Any], database: str, new_site: NewSite
) -> None:
    site = new_site(database, define=define(UserMixin, columns=lambda: {"deleted": deleted()}))

    def change(state: Any) -> None:
        if state.is_select:
            state.statement = hide(state, site.User)

    member(site)
    run(site, "UPDATE users SET deleted = true")
    event.listen(Session, "do_orm_execute", change)
    try:
        requests = {
            "free": partial(site.register, "first", email="free@example.com"),
            "in use": partial(site.register, "second", email=ALICE),
        }
        compare(site.app, requests, statements=False)
        assert [to for to, _ in mails(site)] == ["free@example.com"]
        assert is_placeholder(site.user(username="second").email)
        assert site.post("login", {"login": "alice", "password": PASSWORD}).status_code == 400
    finally:
        event.remove(Session, "do_orm_execute", change)


# What loads with a user


def with_roles(db: Any) -> Any:
    """A model with a collection that loads with it, and a column that does not."""
    link = Table(
        "users_roles",
        db.metadata,
        Column("user_id", ForeignKey("users.id")),
        Column("role_id", ForeignKey("role.id")),
    )
    role = type("Role", (db.Model,), {"id": mapped_column(Integer, primary_key=True)})
    return type(
        "User",
        (UserMixin, db.Model),
        {
            "__tablename__": "users",
            "password_hash": mapped_column(String(255), deferred=True),
            "roles": relationship(role, secondary=link, lazy="joined"),
        },
    )


@pytest.mark.databases
def test_an_account_is_found_whatever_loads_with_it(database: str, new_site: NewSite) -> None:
    site = new_site(database, define=with_roles)
    user = member(site)
    for number in (1, 2, 3):
        run(site, f"INSERT INTO role (id) VALUES ({number})")
        run(site, f"INSERT INTO users_roles VALUES ({user.id}, {number})")
    client = log_in(site)
    assert client.get("/accounts/profile/").get_json()["username"] == "alice"
    link = ask_reset(site)
    assert site.post("reset-password", {**link, "password": PASSWORD}).status_code == 200
    _is_in_use(site, ALICE)
    run(site, "DELETE FROM users_roles")
    assert site.app.test_client().get("/accounts/profile/").status_code == 401


def test_a_column_that_loads_later_takes_no_query_that_reveals_the_account(
    new_site: NewSite,
) -> None:
    site = new_site(define=with_roles)
    member(site)
    wrong = {"password": "not the right one"}
    site.post("login", {"login": "first", **wrong})  # looks for hashes of other kinds
    requests = {
        name: partial(site.post, "login", {"login": name, **wrong}) for name in ("alice", "nobody")
    }
    compare(site.app, requests, statements=True)


# The username in links


@pytest.mark.databases
def test_the_username_may_identify_the_user_in_links(database: str, new_site: NewSite) -> None:
    site = new_site(database, USER_VERIFICATION_ID_FIELD="username")
    for name in ("alice", "Bob", "12345"):
        site.register(name)
        assert site.link()["user_id"] == name
        assert site.verify(user_id=name.swapcase() + "x").status_code == 400
        assert site.verify().status_code == 200
        client = log_in(site, name)
        reply = client.patch("/accounts/profile/", json={"username": f"{name}2"})
        assert (reply.status_code, reply.get_json()["username"]) == (200, name)
        assert client.get("/accounts/profile/").status_code == 200
