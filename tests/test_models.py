"""Valid models, columns that clients reach, and equal names and addresses."""

from __future__ import annotations

import enum
import itertools
import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from flask_sqlalchemy import SQLAlchemy
from marshmallow import Schema, ValidationError, fields
from sqlalchemy import (
    BINARY,
    JSON,
    BigInteger,
    Boolean,
    Date,
    DateTime,
    Enum,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    Numeric,
    SmallInteger,
    String,
    Text,
    TypeDecorator,
    Uuid,
    event,
    insert,
    select,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column

from flask_registration import ConfigurationError, EmailUserMixin, UserMixin, actions

from .conftest import Clock
from .flows.common import accounts
from .site import PASSWORD, Site, define, define_user, mixin_and, own_model, text_column
from .tables import each_row

pytestmark = pytest.mark.databases

NewSite = Callable[..., Site]


# Models


@dataclass
class Kind:
    """A kind of model, and how it is set up."""

    define: Callable[[SQLAlchemy], Any]
    settings: dict[str, Any] = field(default_factory=dict)
    db: Callable[[], SQLAlchemy | None] = lambda: None
    names: tuple[str, ...] = ("username", "email")
    identifier: str = "id"
    email: str = "email"
    verified: str = "is_verified"

    def site(self, new_site: NewSite, database: str = "sqlite://") -> Site:
        return new_site(database, define=self.define, db=self.db(), **self.settings)

    def body(self, name: str) -> dict[str, str]:
        values = {"username": name, self.email: f"{name}@example.com", "password": PASSWORD}
        return {
            **{key: values[key] for key in (*self.names, "password")},
            "password_confirm": PASSWORD,
        }


class PlainBase(DeclarativeBase):
    """An application's own base."""


def define_on_plain_base(db: SQLAlchemy) -> Any:
    class User(db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        username: Mapped[str] = mapped_column(String(30), unique=True)
        email: Mapped[str] = mapped_column(String(254), unique=True)
        password_hash: Mapped[str] = mapped_column(String(255))
        is_verified: Mapped[bool] = mapped_column(default=False)

    return User


def define_dataclass(db: SQLAlchemy) -> Any:
    class User(MappedAsDataclass, db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True, init=False)
        username: Mapped[str] = mapped_column(String(30), unique=True)
        email: Mapped[str] = mapped_column(String(254), unique=True)
        password_hash: Mapped[str] = mapped_column(String(255), repr=False)
        is_verified: Mapped[bool] = mapped_column(default=False, init=False)
        nickname: Mapped[str] = mapped_column(String(30), default="none", kw_only=True)
        security_stamp: Mapped[str] = mapped_column(String(32), init=False)

    return User


def define_columns_with_other_names(db: SQLAlchemy) -> Any:
    class User(db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
        __tablename__ = "users"
        number: Mapped[int] = mapped_column("user_number", primary_key=True)
        username: Mapped[str] = mapped_column("user_name", String(30), unique=True)
        address: Mapped[str] = mapped_column("recipient_address", String(254), unique=True)
        secret: Mapped[str] = mapped_column("hash", String(255))
        proven: Mapped[bool] = mapped_column("is_proven", default=False)
        stamp: Mapped[str] = mapped_column("random_bits", String(64))

    return User


def define_subclass(db: SQLAlchemy) -> Any:
    class Person(UserMixin, db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
        __tablename__ = "users"
        kind: Mapped[str] = mapped_column(String(10))
        __mapper_args__ = {"polymorphic_on": "kind"}

    class User(Person):
        __mapper_args__ = {"polymorphic_identity": "user"}

    return User


def define_joined(db: SQLAlchemy, *, in_base: bool) -> Any:
    """Return a subclass with a table of its own. It has the columns of the account, or its base."""
    of_base: Any = (UserMixin, db.Model) if in_base else (db.Model,)
    kind = mapped_column(String(10))
    columns: dict[str, Any] = {
        "__tablename__": "people",
        "id": mapped_column(Integer, primary_key=True),
        "kind": kind,
        "__mapper_args__": {"polymorphic_on": kind, "polymorphic_identity": "person"},
    }
    base: Any = type("Person", of_base, columns)
    columns = {
        "__tablename__": "users",
        "id": mapped_column(ForeignKey("people.id"), primary_key=True),
        "room": mapped_column(String(10)),
        "__mapper_args__": {"polymorphic_identity": "user"},
    }
    return type("User", (base,) if in_base else (UserMixin, base), columns)


class UuidAsBytes(TypeDecorator[uuid.UUID]):
    """A UUID in a BINARY column."""

    impl, cache_ok = LargeBinary(16).with_variant(BINARY(16), "mysql", "mariadb"), True

    def process_bind_param(self, value: Any, dialect: Any) -> bytes | None:
        return None if value is None else value.bytes

    def process_result_value(self, value: Any, dialect: Any) -> uuid.UUID | None:
        return None if value is None else uuid.UUID(bytes=value)


class HiddenNumber(TypeDecorator[int]):
    """A number from which an attacker cannot guess the next one."""

    impl, cache_ok = Integer(), True

    def process_bind_param(self, value: Any, dialect: Any) -> int | None:
        return None if value is None else value ^ 0x5555

    def process_result_value(self, value: Any, dialect: Any) -> int | None:
        return None if value is None else value ^ 0x5555


class PrefixedNumber(TypeDecorator[str]):
    """A number that the application knows as ``usr_1``."""

    impl, cache_ok = Integer(), True

    def process_bind_param(self, value: Any, dialect: Any) -> int | None:
        return None if value is None else int(value.removeprefix("usr_"))

    def process_result_value(self, value: Any, dialect: Any) -> str | None:
        return None if value is None else f"usr_{value}"


def own_key(kind: type[TypeDecorator[Any]], make: Callable[[int], Any]) -> Callable[[Any], Any]:
    """A model whose key has a type of the application's own."""
    numbers = itertools.count(1)
    default: dict[str, Any] = {"primary_key": True, "default": lambda: make(next(numbers))}
    return own_model(id=lambda: mapped_column(kind, **default))


KINDS = {
    "the mixin": Kind(define_user),
    "a UUID key kept as bytes": Kind(own_key(UuidAsBytes, lambda _: uuid.uuid4())),
    "a number key that is stored as another one": Kind(own_key(HiddenNumber, int)),
    "a number key with a prefix": Kind(own_key(PrefixedNumber, "usr_{}".format)),
    "a subclass in one table with others": Kind(define_subclass),
    "a subclass with a table of its own": Kind(partial(define_joined, in_base=False)),
    "a subclass whose base has the account": Kind(partial(define_joined, in_base=True)),
    "the mixin without a username": Kind(
        define(EmailUserMixin), {"USER_LOGIN_FIELDS": ["email"]}, names=("email",)
    ),
    "a model without a username": Kind(
        define(
            columns=lambda: {
                "id": mapped_column(Integer, primary_key=True),
                "email": mapped_column(String(254), unique=True, nullable=False),
                "password_hash": mapped_column(String(255), nullable=False),
                "is_verified": mapped_column(Boolean, default=False),
            },
            LOGIN_FIELDS=["email"],
        ),
        names=("email",),
    ),
    "the mixin, by name or by address": Kind(
        define_user, {"USER_LOGIN_FIELDS": ["username", "email"]}
    ),
    "an integer key": Kind(own_model()),
    "a small integer key": Kind(
        own_model(
            id=lambda: mapped_column(
                SmallInteger().with_variant(Integer, "sqlite"), primary_key=True
            )
        )
    ),
    "a UUID key": Kind(
        own_model(id=lambda: mapped_column(Uuid, primary_key=True, default=uuid.uuid4))
    ),
    "a UUID key kept as text": Kind(
        own_model(
            id=lambda: mapped_column(
                Uuid(as_uuid=False), primary_key=True, default=lambda: str(uuid.uuid4())
            )
        )
    ),
    "a string key": Kind(
        own_model(
            id=lambda: mapped_column(
                String(40), primary_key=True, default=lambda: f"user~{uuid.uuid4().hex}"
            )
        )
    ),
    "a username that is the key": Kind(
        own_model(id=text_column(nullable=True), username=text_column(primary_key=True)),
        identifier="username",
    ),
    "a key that is not called id": Kind(
        own_model(id=text_column(), number=lambda: mapped_column(Integer, primary_key=True)),
        identifier="number",
    ),
    "another column in links": Kind(
        own_model(
            public_id=lambda: mapped_column(
                String(32), unique=True, default=lambda: uuid.uuid4().hex
            )
        ),
        {"USER_VERIFICATION_ID_FIELD": "public_id"},
        identifier="public_id",
    ),
    "columns with other names": Kind(
        define_columns_with_other_names,
        {
            "USER_EMAIL_FIELD": "address",
            "USER_PASSWORD_FIELD": "secret",
            "USER_VERIFICATION_FLAG_FIELD": "proven",
            "USER_SECURITY_STAMP_FIELD": "stamp",
        },
        names=("username", "address"),
        identifier="number",
        email="address",
        verified="proven",
    ),
    "the mixin without a stamp": Kind(define(UserMixin, security_stamp=None)),
    "the mixin without is_active": Kind(define(UserMixin, is_active=None)),
    "the mixin without a key of usernames": Kind(
        define(
            EmailUserMixin,
            columns=lambda: {"username": mapped_column(String(150), unique=True, nullable=False)},
        )
    ),
    "an address that two may share": Kind(
        own_model(email=lambda: mapped_column(String(254), nullable=False))
    ),
    "a plain class on a base of its own": Kind(
        define_on_plain_base, db=lambda: SQLAlchemy(model_class=fresh(PlainBase))
    ),
    "a dataclass": Kind(define_dataclass, db=lambda: SQLAlchemy(model_class=fresh(PlainBase))),
    "the mixin on a base of its own": Kind(
        define_user, db=lambda: SQLAlchemy(model_class=fresh(PlainBase))
    ),
}


def fresh(base: type[Any]) -> type[Any]:
    """A base with nothing on it yet: each application has its own."""
    return type(base.__name__, base.__bases__, {})


each_kind = each_row("kind", KINDS.values(), ids=KINDS)


@each_kind
def test_somebody_registers_and_verifies_with(kind: Kind, database: str, new_site: NewSite) -> None:
    site = kind.site(new_site, database)
    reply = site.post("register", kind.body("alice"))
    assert reply.status_code == 201
    shown = {
        name: value for name, value in kind.body("alice").items() if not name.startswith("password")
    }
    shown.pop(kind.identifier, None)  # the key is not shown, even where the client knows it
    assert shown.items() <= reply.get_json().items()
    (user,) = site.users()
    assert str(getattr(user, kind.identifier)) == site.link()["user_id"]
    assert site.read()["To"] == getattr(user, kind.email) == "alice@example.com"
    assert getattr(user, kind.verified) is False
    assert site.verify().status_code == 200
    (user,) = site.users()
    assert getattr(user, kind.verified) is True
    assert site.verify().status_code == 200


@each_kind
def test_a_new_link_is_mailed_to_a_pending_account_with(
    kind: Kind, database: str, new_site: NewSite, clock: Clock
) -> None:
    site = kind.site(new_site, database)
    site.post("register", kind.body("alice"))
    clock.advance(61)
    assert (
        site.post("resend-verification", {"login": kind.body("alice")[kind.names[0]]}).status_code
        == 200
    )
    assert len(site.outbox) == 2
    assert site.verify(site.link(1)).status_code == 200
    clock.advance(61)
    assert site.post("resend-verification", {"email": "alice@example.com"}).status_code == 200
    assert len(site.outbox) == 2


@each_kind
def test_a_taken_name_is_refused_with(kind: Kind, new_site: NewSite) -> None:
    site = kind.site(new_site)
    site.post("register", kind.body("alice"))
    reply = site.post("register", {**kind.body("alice"), kind.email: "alice@example.com"})
    if kind.names[0] == kind.email:  # an address is no name: who has one is nobody's business
        assert reply.status_code == 201
        assert len(site.users()) == 2
    else:
        assert (reply.status_code, reply.get_json()) == (
            400,
            {"username": ["This username is already in use."]},
        )
        assert len(site.users()) == 1
    assert len(accounts(site, kind.email)) == 1


@each_kind
def test_a_link_of_nobody_is_refused_with(kind: Kind, new_site: NewSite) -> None:
    site = kind.site(new_site)
    site.post("register", kind.body("alice"))
    for user_id in (
        "0",
        "-1",
        "007",
        " 1",
        "1.0",
        "+1",
        "１",
        "1e0",
        str(2**31),
        str(2**63 - 1),
        "9" * 30,
        "x" * 300,
        "ı",
    ):
        reply = site.verify(user_id=user_id)
        assert (user_id, reply.status_code, reply.get_json()["code"]) == (
            user_id,
            400,
            "signature-invalid",
        )


@each_row("name", ["an integer key", "a small integer key", "a UUID key", "a string key"])
def test_a_link_of_nobody_is_refused_on_each_database_with(
    name: str, database: str, new_site: NewSite
) -> None:
    kind = KINDS[name]
    site = kind.site(new_site, database)
    site.post("register", kind.body("alice"))
    numbers = [
        bits
        for power in (15, 31, 63)
        for bits in (2**power - 1, 2**power, -(2**power), -(2**power) - 1)
    ]
    for user_id in [*numbers, 10**30, "0", "-1", str(uuid.UUID(int=0)), "x" * 300]:
        reply = site.verify(user_id=user_id)
        assert (user_id, reply.status_code, reply.get_json()["code"]) == (
            user_id,
            400,
            "signature-invalid",
        )
    assert site.verify().status_code == 200


def test_users_may_have_a_database_of_their_own(new_site: NewSite) -> None:
    elsewhere = define(UserMixin, __bind_key__="people")
    site = new_site(define=elsewhere, config={"SQLALCHEMY_BINDS": {"people": "sqlite://"}})
    site.register("alice")
    assert site.verify().status_code == 200
    client = site.app.test_client()
    assert (
        client.post("/accounts/login/", json={"login": "alice", "password": PASSWORD}).status_code
        == 200
    )
    assert (
        client.patch("/accounts/profile/", json={"first_name": "Alice"}).get_json()["first_name"]
        == "Alice"
    )
    assert client.delete("/accounts/profile/", json={"password": PASSWORD}).status_code == 204
    assert site.users() == []


def test_an_address_that_two_may_share_may_be_registered_twice(
    database: str, new_site: NewSite, clock: Clock
) -> None:
    site = KINDS["an address that two may share"].site(new_site, database)
    assert site.register("alice", email="shared@example.com").status_code == 201
    clock.advance(61)
    assert site.register("bob", email="shared@example.com").status_code == 201
    assert {user.email for user in site.users()} == {"shared@example.com"}
    assert [mail.recipients for mail in site.outbox] == [["shared@example.com"]] * 2
    assert site.verify(site.link(1)).status_code == 200
    assert {user.username: user.is_verified for user in site.users()} == {
        "alice": False,
        "bob": True,
    }
    assert site.verify(site.link(0)).status_code == 200


def test_a_model_without_is_active_has_only_active_users(new_site: NewSite) -> None:
    site = new_site(define=own_model(is_active=lambda: mapped_column(Boolean, default=True)))
    site.register("alice")
    site.change(site.users()[0], is_active=False)
    assert site.verify().get_json()["code"] == "signature-invalid"
    without = new_site(define=own_model())
    without.register("alice")
    assert without.verify().status_code == 200


def test_a_model_without_a_stamp_has_its_password_hash_in_its_place(new_site: NewSite) -> None:
    site = new_site(define=own_model())
    site.register("alice")
    site.change(site.users()[0], password_hash="another")
    assert site.verify().get_json()["code"] == "signature-invalid"


def test_each_user_has_a_stamp_of_132_random_bits(site: Site) -> None:
    for name in ("alice", "bob", "carol"):
        site.register(name)
    stamps = {user.security_stamp for user in site.users()}
    assert len(stamps) == 3
    assert all(re.fullmatch("[A-Za-z0-9_-]{22}", stamp) for stamp in stamps)


def test_the_mixins_times_are_utc_and_its_defaults_what_the_documentation_says(site: Site) -> None:
    site.register("alice")
    user = site.users()[0]
    now = datetime.now(UTC).replace(tzinfo=None)
    assert abs(user.date_joined.replace(tzinfo=None) - now) < timedelta(minutes=1)
    assert (user.last_login, user.is_active, user.is_verified) == (None, True, False)


def test_a_dataclass_is_made_with_its_own_defaults(new_site: NewSite) -> None:
    kind = KINDS["a dataclass"]
    site = new_site(define=kind.define, db=kind.db(), USER_PUBLIC_FIELDS=["nickname"])
    assert site.register("alice").get_json()["nickname"] == "none"
    assert site.register("bob", nickname="Bobby").get_json()["nickname"] == "Bobby"
    assert [user.nickname for user in site.users()] == ["none", "Bobby"]


# Columns that no client reaches


def columns_of_an_administrator() -> dict[str, Any]:
    return {
        "is_admin": mapped_column(Boolean, default=False, nullable=False),
        "role": mapped_column(String(20), default="guest", nullable=False),
        "credit": mapped_column(Integer, server_default="0", nullable=False),
        "company": mapped_column(String(40)),
        "city": mapped_column(String(40)),
        "invited_by": mapped_column(Integer),
    }


class WithAdministrators(UserMixin):
    """Has a way to become one that is not a column."""

    @property
    def administrator(self) -> bool:
        return bool(self.is_admin)

    @administrator.setter
    def administrator(self, value: bool) -> None:
        self.is_admin = value


define_administrators = define(WithAdministrators, columns=columns_of_an_administrator)

PLANTED: dict[str, Any] = {
    "id": 4711,
    "username_key": "somebody else",
    "password_hash": "planted",
    "is_active": False,
    "is_verified": True,
    "security_stamp": "0" * 32,
    "date_joined": "1999-01-01T00:00:00",
    "last_login": "1999-01-01T00:00:00",
    "is_admin": True,
    "role": "administrator",
    "credit": 1_000_000,
    "company": "planted",
    "city": "planted",
    "invited_by": 1,
    "first_name": "planted",
    "last_name": "planted",
    # not columns
    "administrator": True,
    "pk": 4711,
    "user_id": 4711,
    "verified": True,
    "_sa_instance_state": {},
    "__class__": "Administrator",
    "metadata": {},
    "registry": None,
    "query": 1,
}


@each_row(
    ("settings", "writable"),
    [
        pytest.param({}, {"first_name", "last_name"}, id="the mixin's own"),
        pytest.param({"USER_PUBLIC_FIELDS": ["company"]}, {"company"}, id="the public ones"),
        pytest.param(
            {"USER_PUBLIC_FIELDS": ["company"], "USER_EDITABLE_FIELDS": ["city"]},
            {"company", "city"},
            id="the public and the editable ones",
        ),
        pytest.param(
            {
                "USER_PUBLIC_FIELDS": ["company", "city"],
                "USER_HIDDEN_FIELDS": ["city", "last_name"],
            },
            {"company"},
            id="the public ones that are not hidden",
        ),
        pytest.param({"USER_PUBLIC_FIELDS": []}, set(), id="none"),
        pytest.param(
            {
                "USER_PUBLIC_FIELDS": [
                    "company",
                    "is_active",
                    "is_verified",
                    "date_joined",
                    "last_login",
                    "id",
                ]
            },
            {"company"},
            id="the public ones but those of the system",
        ),
    ],
)
def test_of_every_column_in_a_body_the_only_ones_written_are(
    settings: dict[str, Any], writable: set[str], new_site: NewSite
) -> None:
    site = new_site(define=define_administrators, **settings)
    columns = set(site.User.__mapper__.columns.keys())
    assert columns - set(PLANTED) == {"username", "email"}
    for number, (name, value) in enumerate([*PLANTED.items(), ("all", None)]):
        planted = PLANTED if name == "all" else {name: value}
        username = f"user{number}"
        reply = site.register(username, **planted)
        assert (name, reply.status_code) == (name, 201)
        user = site.user(username=username)
        written = {
            column
            for column in planted
            if column in columns and matches(getattr(user, column), planted[column])
        }
        assert written == writable & planted.keys()
        assert user.id == number + 1
        assert (user.is_admin, user.role, user.credit, user.invited_by) == (False, "guest", 0, None)
        assert (user.is_active, user.is_verified, user.username_key) == (True, False, username)


def matches(stored: Any, planted: Any) -> bool:
    return bool(stored == planted or str(stored).replace(" ", "T") == str(planted))


@each_row(
    ("settings", "shown"),
    [
        pytest.param(
            {}, ["id", "username", "email", "first_name", "last_name"], id="the mixin's own"
        ),
        pytest.param(
            {"USER_PUBLIC_FIELDS": ["company", "role", "date_joined"]},
            ["id", "username", "email", "company", "role", "date_joined"],
            id="the public ones",
        ),
        pytest.param(
            {"USER_PUBLIC_FIELDS": ["company"], "USER_EDITABLE_FIELDS": ["city"]},
            ["id", "username", "email", "company", "city"],
            id="the public and the editable ones",
        ),
        pytest.param(
            {"USER_PUBLIC_FIELDS": ["company", "city"], "USER_HIDDEN_FIELDS": ["city"]},
            ["id", "username", "email", "company"],
            id="those that are not hidden",
        ),
        pytest.param(
            {"USER_HIDDEN_FIELDS": ["id"]},
            ["username", "email", "first_name", "last_name"],
            id="not the key where it is hidden",
        ),
        pytest.param({"USER_PUBLIC_FIELDS": []}, ["id", "username", "email"], id="no others"),
    ],
)
def test_a_profile_shows_the_key_the_login_fields_the_address_and_of_the_columns(
    settings: dict[str, Any], shown: list[str], new_site: NewSite
) -> None:
    site = new_site(define=define_administrators, PREVENT_ENUMERATION=False, **settings)
    assert set(site.register("alice").get_json()) == set(shown)
    uniform = new_site(define=define_administrators, **settings)
    assert set(uniform.register("alice").get_json()) == set(shown) - {"id"}


def test_columns_of_plain_models_are_all_out_of_reach_by_default(new_site: NewSite) -> None:
    site = new_site(
        define=own_model(
            first_name=text_column(),
            is_admin=lambda: mapped_column(Boolean, default=False),
            note=text_column(),
        )
    )
    reply = site.register("alice", first_name="Alice", is_admin=True, note="x")
    assert reply.get_json() == {"username": "alice", "email": "alice@example.com"}
    user = site.users()[0]
    assert (user.first_name, user.is_admin, user.note) == (None, False, None)


class SignUp(Schema):
    """An application's own: what it names is let in, but what is no column is not set."""

    username = fields.String(required=True)
    email = fields.String(required=True)
    password = fields.String(required=True)
    role = fields.String()
    administrator = fields.Boolean()
    terms = fields.Boolean(required=True)


def test_an_applications_own_schema_lets_columns_in_and_nothing_else(new_site: NewSite) -> None:
    site = new_site(define=define_administrators, REGISTER_SCHEMA_CLASS=SignUp)
    body = {
        "username": "alice",
        "email": "alice@example.com",
        "password": PASSWORD,
        "role": "editor",
        "terms": True,
    }
    assert site.post("register", {**body, "administrator": True}).status_code == 201
    user = site.users()[0]
    assert (user.role, user.is_admin, hasattr(user, "terms")) == ("editor", False, False)


# The schema that is made from the model


class Colour(enum.Enum):
    red = "the colour red"
    blue = "the colour blue"


def columns_of_each_type() -> dict[str, Any]:
    return {
        "company": mapped_column(String(10), nullable=False),
        "story": mapped_column(Text),
        "age": mapped_column(SmallInteger),
        "count": mapped_column(Integer),
        "big": mapped_column(BigInteger),
        "price": mapped_column(Numeric(6, 2)),
        "ratio": mapped_column(Float),
        "birthday": mapped_column(Date),
        "met": mapped_column(DateTime),
        "colour": mapped_column(Enum(Colour)),
        "size": mapped_column(Enum("small", "large", name="sizes")),
        "subscribed": mapped_column(Boolean),
        "settings": mapped_column(JSON),
        "token": mapped_column(Uuid),
        "level": mapped_column(Integer, default=7, nullable=False),
    }


define_each_type = define(UserMixin, columns=columns_of_each_type)
EACH_TYPE = list(columns_of_each_type())

GUID = "12345678-1234-5678-1234-567812345678"

ACCEPTED = [
    pytest.param("company", "1234567890", "1234567890", id="text as long as the column"),
    pytest.param("company", "ééééé👪李明ß.", "ééééé👪李明ß.", id="characters that are many bytes"),
    pytest.param("company", "", "", id="empty text"),
    pytest.param("story", "long " * 2000, "long " * 2000, id="long text"),
    pytest.param(
        "story", "'; DROP TABLE users; --", "'; DROP TABLE users; --", id="text that reads like SQL"
    ),
    pytest.param("story", None, None, id="null where the column is nullable"),
    pytest.param("age", -(2**15), -(2**15), id="the smallest small integer"),
    pytest.param("age", 2**15 - 1, 2**15 - 1, id="the largest small integer"),
    pytest.param("count", -(2**31), -(2**31), id="the smallest integer"),
    pytest.param("count", 2**31 - 1, 2**31 - 1, id="the largest integer"),
    pytest.param("count", "42", 42, id="a number as text"),
    pytest.param("big", -(2**63), -(2**63), id="the smallest big integer"),
    pytest.param("big", 2**63 - 1, 2**63 - 1, id="the largest big integer"),
    pytest.param("price", "9999.99", Decimal("9999.99"), id="the largest price"),
    pytest.param("price", 0.5, Decimal("0.50"), id="a price as a number"),
    pytest.param("ratio", 1.5, 1.5, id="a fraction"),
    pytest.param("birthday", "2000-02-29", date(2000, 2, 29), id="a leap day"),
    pytest.param("met", "2024-05-06T07:08:09", datetime(2024, 5, 6, 7, 8, 9), id="a time"),
    pytest.param("colour", "red", Colour.red, id="the name of an enumeration's member"),
    pytest.param("size", "large", "large", id="a word of an enumeration"),
    pytest.param("subscribed", True, True, id="true"),
    pytest.param("subscribed", False, False, id="false"),
    pytest.param(
        "settings", {"a": [1, None, {"b": "ü"}]}, {"a": [1, None, {"b": "ü"}]}, id="JSON in JSON"
    ),
    pytest.param("token", GUID, uuid.UUID(GUID), id="a UUID"),
    pytest.param("level", 9, 9, id="a value in place of the default"),
]


@each_row(("name", "value", "stored"), ACCEPTED)
def test_a_registration_may_give(name: str, value: Any, stored: Any, new_site: NewSite) -> None:
    site = new_site(define=define_each_type, USER_PUBLIC_FIELDS=EACH_TYPE)
    reply = site.register("alice", **{"company": "", name: value})
    assert reply.status_code == 201
    assert getattr(site.users()[0], name) == stored
    assert name in reply.get_json()
    assert site.users()[0].level == (9 if name == "level" else 7)


def test_a_registration_may_give_all_of_that_on_each_database(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database, define=define_each_type, USER_PUBLIC_FIELDS=EACH_TYPE)
    for number, row in enumerate(ACCEPTED):
        name, value, stored = row.values
        reply = site.register(f"user{number}", **{"company": "", str(name): value})
        assert (row.id, reply.status_code, reply.get_data(as_text=True)[:0]) == (row.id, 201, "")
        assert (row.id, getattr(site.user(username=f"user{number}"), str(name))) == (row.id, stored)


REFUSED = [
    pytest.param("company", "12345678901", id="text that is longer than the column"),
    pytest.param("company", None, id="null where the column is not nullable"),
    pytest.param("company", ["a"], id="a list for text"),
    pytest.param("company", {"a": 1}, id="an object for text"),
    pytest.param("company", "a\0b", id="a NUL"),
    pytest.param("story", "a\ud800b", id="half of a surrogate pair"),
    pytest.param("age", -(2**15) - 1, id="less than a small integer"),
    pytest.param("age", 2**15, id="more than a small integer"),
    pytest.param("count", -(2**31) - 1, id="less than an integer"),
    pytest.param("count", 2**31, id="more than an integer"),
    pytest.param("count", "many", id="a word for a number"),
    pytest.param("count", [], id="a list for a number"),
    pytest.param("big", -(2**63) - 1, id="less than a big integer"),
    pytest.param("big", 2**63, id="more than a big integer"),
    pytest.param("big", 10**400, id="a number of 401 digits"),
    pytest.param("price", 10**400, id="a price of 401 digits"),
    pytest.param("price", "NaN", id="a price that is no number"),
    pytest.param("price", "Infinity", id="an infinite price"),
    pytest.param("price", "free", id="a word for a price"),
    pytest.param("ratio", "nan", id="a fraction that is no number"),
    pytest.param("birthday", "2001-02-29", id="a day that there is not"),
    pytest.param("birthday", 20010228, id="a number for a day"),
    pytest.param("met", "yesterday", id="a word for a time"),
    pytest.param("colour", "green", id="no member of the enumeration"),
    pytest.param("colour", {"red": 1}, id="an object for a member"),
    pytest.param("size", "medium", id="no word of the enumeration"),
    pytest.param("subscribed", "perhaps", id="a word for a truth value"),
    pytest.param("subscribed", [], id="a list for a truth value"),
    pytest.param("settings", {"a": ["\0"]}, id="a NUL deep in JSON"),
    pytest.param("settings", {"\ud800": 1}, id="half of a surrogate pair as a name in JSON"),
    pytest.param("token", "1234", id="text that is no UUID"),
    pytest.param("token", 5, id="a number for a UUID"),
    pytest.param("level", None, id="null for a default where the column is not nullable"),
]


@each_row(("name", "value"), REFUSED)
def test_a_registration_may_not_give(name: str, value: Any, new_site: NewSite) -> None:
    site = new_site(define=define_each_type, USER_PUBLIC_FIELDS=EACH_TYPE)
    reply = site.register("alice", **{"company": "", name: value})
    assert reply.status_code == 400
    assert list(reply.get_json()) == [name]
    assert site.users() == []


def test_a_registration_may_not_give_any_of_that_on_each_database(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database, define=define_each_type, USER_PUBLIC_FIELDS=EACH_TYPE)
    for row in REFUSED:
        name, value = row.values
        reply = site.register("alice", **{"company": "", str(name): value})
        assert (row.id, reply.status_code, list(reply.get_json())) == (row.id, 400, [name])
    assert site.users() == []


@each_row(
    ("name", "value"),
    [
        pytest.param("price", "10000.00", id="a price above the column's precision"),
        pytest.param("price", 1e300, id="a price far above it"),
        pytest.param("ratio", 1e308, id="a fraction at the end of the range"),
        pytest.param("story", "x" * 65000, id="text as long as MariaDB takes"),
        pytest.param("birthday", "0001-01-01", id="the first day"),
        pytest.param("birthday", "9999-12-31", id="the last day"),
        pytest.param("met", "0001-01-01T00:00:00+14:00", id="a time before the first day"),
        pytest.param("met", "9999-12-31T23:59:59.999999-14:00", id="a time after the last day"),
        pytest.param("settings", 10**400, id="a number of 401 digits in JSON"),
        pytest.param("settings", 1e300, id="a large number in JSON"),
    ],
)
def test_what_a_database_may_refuse_is_stored_or_a_400(
    name: str, value: Any, database: str, new_site: NewSite
) -> None:
    site = new_site(database, define=define_each_type, USER_PUBLIC_FIELDS=EACH_TYPE)
    reply = site.register("alice", **{"company": "", name: value})
    assert reply.status_code in (201, 400)
    assert len(site.outbox) == (reply.status_code == 201)
    assert len(site.users()) == (reply.status_code == 201)
    assert site.register("bob", company="").status_code == 201


def test_a_fraction_is_no_integer(new_site: NewSite) -> None:
    """Else it would be stored as another number."""
    site = new_site(
        define=mixin_and(age=lambda: mapped_column(Integer)), USER_PUBLIC_FIELDS=["age"]
    )
    for age in (1.5, "1.5", -0.1, True):
        assert site.register(age=age).get_json() == {"age": ["Not a valid integer."]}, age
    assert site.register(age=2.0).get_json()["age"] == 2


def test_a_number_that_json_has_no_word_for_is_not_stored_in_json(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database, define=define_each_type, USER_PUBLIC_FIELDS=EACH_TYPE)
    body = json.dumps(
        {"username": "alice", "email": "alice@example.com", "company": "", "settings": 0}
    )
    body = body.replace(
        '"settings": 0',
        f'"settings": [1e400], "password": "{PASSWORD}", "password_confirm": "{PASSWORD}"',
    )
    reply = site.post("register", data=body, content_type="application/json")
    assert reply.status_code == 400
    assert site.users() == []


def test_json_as_deep_as_python_reads_is_stored_or_a_400(new_site: NewSite) -> None:
    site = new_site(define=define_each_type, USER_PUBLIC_FIELDS=EACH_TYPE)
    start = json.dumps(
        {"username": "alice", "email": "alice@example.com", "company": "", "password": PASSWORD}
    )[:-1]
    seen = set()
    for depth in (*range(10, 100, 30), *range(500, 1100, 6)):
        nested = "[" * depth + "]" * depth
        body = f'{start}, "password_confirm": "{PASSWORD}", "settings": {nested}}}'
        body = body.replace('"alice', f'"alice{depth}')
        reply = site.post("register", data=body, content_type="application/json")
        seen.add(reply.status_code)
        assert (depth, reply.status_code) in ((depth, 201), (depth, 400))
    assert seen == {201, 400}


def test_what_must_have_a_value_is_asked_for(new_site: NewSite) -> None:
    site = new_site(define=define_each_type, USER_PUBLIC_FIELDS=EACH_TYPE)
    required = ["This field is required."]
    assert site.post("register", {}).get_json() == dict.fromkeys(
        ["username", "email", "company", "password", "password_confirm"], required
    )
    null = dict.fromkeys(["username", "email", "company", "level", "password", "password_confirm"])
    assert site.post("register", null).get_json() == {
        key: ["This field may not be null."] for key in null
    }


def test_a_nullable_login_field_is_asked_for_all_the_same(new_site: NewSite) -> None:
    site = new_site(define=own_model(username=text_column(unique=True, nullable=True)))
    body = {"email": "alice@example.com", "password": PASSWORD, "password_confirm": PASSWORD}
    assert site.post("register", body).get_json() == {"username": ["This field is required."]}
    assert site.post("register", {**body, "username": None}).status_code == 400
    assert site.users() == []


def test_an_account_without_an_address_is_refused_where_it_is_to_be_verified(
    new_site: NewSite,
) -> None:
    nullable = own_model(email=lambda: mapped_column(String(254), unique=True))
    body = {"username": "alice", "password": PASSWORD, "password_confirm": PASSWORD}
    site = new_site(define=nullable)
    for given in (body, {**body, "email": None}):
        reply = site.post("register", given)
        assert (reply.status_code, reply.get_json()["code"]) == (
            400,
            "user-without-email-nonverifiable",
        )
    assert site.users() == []
    site = new_site(define=nullable, REGISTER_VERIFICATION_ENABLED=False)
    assert site.post("register", body).status_code == 201
    assert site.post("register", {**body, "username": "bob"}).status_code == 201


# Usernames


@each_row(
    ("first", "second"),
    [
        pytest.param("alice", "ALICE", id="case"),
        pytest.param("alice", "ａｌｉｃｅ", id="width"),
        pytest.param("Straße", "STRASSE", id="a sharp s"),
        pytest.param("office", "oﬃce", id="a ligature"),
        pytest.param("josé", "jose\u0301", id="composed or not"),
        pytest.param("ΣΊΣΥΦΟΣ", "σίσυφος", id="a final sigma"),
        pytest.param("x2", "x²", id="a superscript"),
        pytest.param("K9", "\u212a9", id="the Kelvin sign"),
    ],
)
def test_usernames_are_the_same_whatever_the(first: str, second: str, new_site: NewSite) -> None:
    for one, other in ((first, second), (second, first)):
        site = new_site()
        assert site.register(one, email="one@example.com").status_code == 201
        reply = site.register(other, email="other@example.com")
        assert reply.get_json() == {"username": ["This username is already in use."]}
        assert [user.username for user in site.users()] == [one]


def test_usernames_are_the_same_or_not_on_each_database(
    database: str, new_site: NewSite, clock: Clock
) -> None:
    site = new_site(database)
    for name in ("mike", "mıke", "míke", "mikė", "mike.", "mikes", "Straße"):
        assert (
            name,
            site.register(
                name, email=f"m{ord(name[1])}{len(name)}{ord(name[-1])}@example.com"
            ).status_code,
        ) == (
            name,
            201,
        )
    for name in ("Mike", "MIKE", "ｍｉｋｅ", "MÍKE", "strasse", "STRASSE"):
        assert (name, site.register(name, email="new@example.com").get_json()) == (
            name,
            {"username": ["This username is already in use."]},
        )
    assert len(site.users()) == 7
    clock.advance(61)
    site.outbox.clear()
    site.post("resend-verification", {"username": "MÍKE"})
    assert [mail.recipients for mail in site.outbox] == [[site.user(username_key="míke").email]]


def test_a_username_is_kept_and_shown_as_typed(database: str, new_site: NewSite) -> None:
    site = new_site(database)
    assert site.register("ＡliＣe", email="alice@example.com").get_json()["username"] == "ＡliＣe"
    user = site.users()[0]
    assert (user.username, user.username_key) == ("ＡliＣe", "alice")


def test_a_model_without_a_key_of_usernames_keeps_and_compares_their_nfkc_form(
    new_site: NewSite,
) -> None:
    site = new_site(define=own_model())
    assert site.register("ＡliＣe", email="a@example.com").get_json()["username"] == "AliCe"
    assert site.register("AliCe", email="b@example.com").status_code == 400
    assert site.register("alice", email="c@example.com").status_code == 201
    assert [user.username for user in site.users()] == ["AliCe", "alice"]


@each_row(
    "name",
    [
        "a",
        "ålice",
        "李明",
        "a.b+c-d_e",
        "Ἀλέξανδρος",
        "0",
        "x" * 150,
        "é" * 150,
        "e\u0301" * 75,
        "﷼",
    ],
    ids=lambda name: f"{name[:10]} of {len(name)}",
)
def test_a_username_may_be(name: str, site: Site) -> None:
    assert site.register(name, email="alice@example.com").status_code == 201
    assert site.users()[0].username == name


@each_row(
    "name",
    [
        pytest.param("", id="empty"),
        pytest.param(" ", id="a space"),
        pytest.param("al ice", id="with a space"),
        pytest.param("alice@example.com", id="an address"),
        pytest.param("ali\u200bce", id="with a character without width"),
        pytest.param("\u202ealice", id="with a change of direction"),
        pytest.param("ali\u2028ce", id="with a line separator"),
        pytest.param("ali\u00a0ce", id="with a hard space"),
        pytest.param("ali\u00adce", id="with a soft hyphen"),
        pytest.param("alice\0", id="with a NUL"),
        pytest.param("alice\ud800", id="with half of a surrogate pair"),
        pytest.param("{{7*7}}", id="a template"),
        pytest.param("%s%n", id="a format"),
        pytest.param("alice\r\nBcc: mallory@example.com", id="a mail header"),
        pytest.param("<b>alice</b>", id="markup"),
        pytest.param("👪", id="a picture"),
        pytest.param("x" * 151, id="too long"),
        pytest.param("ﬃ" * 51, id="too long in its normal form"),
        pytest.param("\ufdfa" * 1000, id="very long in its normal form"),
        pytest.param("e" + "\u0301" * 10_000, id="ten thousand accents"),
        pytest.param("x" * 60_000, id="far too long"),
        pytest.param(True, id="true"),
        pytest.param(["alice"], id="a list"),
    ],
)
def test_a_username_may_not_be(name: Any, site: Site) -> None:
    reply = site.register(name, email="alice@example.com")
    assert reply.status_code == 400
    assert list(reply.get_json()) == ["username"]
    assert site.users() == []


@each_row(
    ("sent", "stored"),
    [
        pytest.param(" alice", "alice", id="a space in front"),
        pytest.param("alice ", "alice", id="a space behind"),
        pytest.param("alice\r\n", "alice", id="a line end behind"),
        pytest.param("\u00a0alice\u3000", "alice", id="spaces of other scripts"),
        pytest.param(
            " " * 1000 + "x" * 150, "x" * 150, id="more spaces than characters are allowed"
        ),
        pytest.param(12345678, "12345678", id="a number"),
        pytest.param(1.5, "1.5", id="a number with a fraction"),
    ],
)
def test_spaces_around_a_username_are_removed_and_a_number_is_its_digits(
    sent: Any, stored: str, site: Site
) -> None:
    """As in django-rest-registration: telephones add spaces, and front ends send numbers."""
    reply = site.register(sent, email=" alice@example.com\n")
    assert (reply.status_code, reply.get_json()["username"]) == (201, stored)
    user = site.users()[0]
    assert (user.username, user.email) == (stored, "alice@example.com")
    assert site.verify().status_code == 200
    for login in (sent, stored):
        for endpoint in ("login", "send-reset-password-link", "resend-verification"):
            reply = site.post(endpoint, {"login": login, "password": PASSWORD})
            assert reply.status_code == 200
        assert site.post("login", {"username": login, "password": PASSWORD}).status_code == 200


def test_spaces_are_removed_at_every_endpoint_and_command(site: Site) -> None:
    with site.app.app_context():
        site.registration.create_user(
            username=" alice ", email=" Alice@example.com ", password=PASSWORD
        )
        site.db.session.commit()
    client = site.app.test_client()
    body = {"login": " alice", "password": PASSWORD}
    assert site.post("login", body, client=client).status_code == 200
    reply = client.patch("/accounts/profile/", json={"username": "alicia\n", "first_name": 7})
    assert reply.get_json()["username"] == "alicia"
    assert reply.get_json()["first_name"] == "7"
    site.outbox.clear()
    reply = site.post("register-email", {"email": "\tnew@example.com "}, client=client)
    assert reply.status_code == 200
    assert site.outbox[-1].recipients == ["new@example.com"]
    reply = site.post("register-email", {"email": "alice@example.com "}, client=client)
    assert reply.get_json() == {"email": ["This is your e-mail address already."]}


def test_a_name_of_spaces_is_blank_in_any_login_field(new_site: NewSite) -> None:
    model = mixin_and(handle=text_column(unique=True))
    site = new_site(define=model, USER_LOGIN_FIELDS=["handle", "username"])
    reply = site.register(" ", handle="\u3000")
    blank = ["This field may not be blank."]
    assert reply.get_json() == {"username": blank, "handle": blank}
    assert site.register("alice", handle=" al ").status_code == 201
    assert site.users()[0].handle == "al"


def test_a_password_is_never_trimmed(site: Site) -> None:
    site.register("alice", password=f" {PASSWORD} ", password_confirm=f" {PASSWORD} ")
    site.verify()
    for password, status in ((PASSWORD, 400), (f" {PASSWORD}", 400), (f" {PASSWORD} ", 200)):
        assert site.post("login", {"login": "alice", "password": password}).status_code == status


def test_spaces_make_no_other_account_for_the_rate_limits(new_site: NewSite) -> None:
    site = new_site(
        THROTTLES={"login": {"account": "1/minute"}}, config={"RATELIMIT_ENABLED": True}
    )
    for name in ("alice", "no name!"):
        spellings = (name, f"{name} ", f"\u3000{name}")
        replies = [site.post("login", {"login": each, "password": "x"}) for each in spellings]
        assert [reply.status_code for reply in replies] == [400, 429, 429]


LIVING = [
    "नमस्ते",
    "தமிழ்",
    "สวัสดี",
    "ភាសាខ្មែរ",
    "বাংলা",
    "සිංහල",
    "မြန်မာ",
    "മലയാളം",
    "తెలుగు",
    "བོད",
    "ދިވެހި",
    "ລາວ",
    "አማርኛ",
    "العربية",
    "日本語",
    "한국어",
]


@each_row("pattern", [None, r"[\w.@+-]+"], ids=["the default pattern", "a pattern of its own"])
def test_a_name_of_every_living_script_is_a_username(
    new_site: NewSite, pattern: str | None
) -> None:
    """Many scripts write vowels as marks, which are no letters [I11]."""
    site = new_site(**({"USERNAME_PATTERN": pattern} if pattern else {}))
    for number, name in enumerate(LIVING):
        assert site.register(name, email=f"{number}@example.com").status_code == 201, name
        assert site.user(email=f"{number}@example.com").username == name


@each_row("pattern", [None, ".+"], ids=["the default pattern", "a pattern that allows all"])
def test_a_name_that_cannot_be_told_from_another_or_is_a_path_is_refused(
    new_site: NewSite, pattern: str | None
) -> None:
    """[I11]"""
    site = new_site(**({"USERNAME_PATTERN": pattern} if pattern else {}))
    invisible = (
        "\u00ad\u034f\u115f\u1160\u17b4\u180b\u200b\u200d\u2060\u3164\ufe0f\ufeff\uffa0\U000e0041"
    )
    for name in [*(f"al{each}ice" for each in invisible), "\u3164", ".", "..", "\u2026", "\u2024"]:
        reply = site.register(name, email="a@example.com")
        assert (reply.status_code, list(reply.get_json())) == (400, ["username"]), ascii(name)


def test_a_mark_makes_no_username(site: Site) -> None:
    for name in ("\u0301", "\u0301alice", "al/\u0301ice"):
        assert site.register(name, email="a@example.com").status_code == 400, ascii(name)


def test_a_username_follows_the_applications_pattern(new_site: NewSite) -> None:
    site = new_site(USERNAME_PATTERN="[a-z]{3,8}")
    refusal = {"username": ["This username has characters that are not allowed."]}
    for name in ("al", "alicealice", "Alice", "al1ce", "ali\nce"):
        assert site.register(name, email="alice@example.com").get_json() == refusal
    assert site.register("alice").status_code == 201
    assert (
        site.register("ｂｏｂ", email="bob@example.com").status_code == 201
    )  # the pattern sees the normal form


# Addresses

ALIASES = [
    "Mike@x.org",
    "MIKE@X.ORG",
    "mike@X.org",
    "mike@x.org ",
    " mike@x.org",
    "mike@x.org\n",
]
STRANGERS = [
    "mıke@x.org",
    "míke@x.org",
    "mike @x.org",
    "mike@x.org\n\nmike",
    "mikes@x.org",
    "mike@x.orġ",
]


@each_row("model", [define_user, own_model()], ids=["the mixin", "a plain model"])
@each_row("known", ["registered", "verified"])
def test_an_alias_of_an_address_is_that_address_and_no_other_is(
    known: str, model: Callable[[SQLAlchemy], Any], database: str, new_site: NewSite, clock: Clock
) -> None:
    site = new_site(database, define=model)
    assert site.register("mike", email="Mike@X.Org").get_json()["email"] == "mike@x.org"
    if known == "verified":
        site.verify()
    for number, address in enumerate(ALIASES):
        clock.advance(24 * 3600)  # the notice is sent once a day
        site.outbox.clear()
        assert site.register(f"alias{number}", email=address).status_code == 201
        assert [mail.recipients for mail in site.outbox] == [["mike@x.org"]]
        assert [user.email for user in accounts(site)] == ["mike@x.org"]
    for number, address in enumerate(STRANGERS):
        clock.advance(61)
        site.outbox.clear()
        site.register(f"stranger{number}", email=address)
        assert all(mail.recipients != ["mike@x.org"] for mail in site.outbox)
    assert len([user for user in site.users() if user.email == "mike@x.org"]) == 1


def test_a_new_link_goes_to_the_stored_address_and_to_nobody_elses(
    database: str, new_site: NewSite, clock: Clock
) -> None:
    site = new_site(database, MAIL_LIMITS=None)
    site.register("mike", email="mike@x.org")
    for address in ALIASES:
        clock.advance(61)
        site.outbox.clear()
        site.post("resend-verification", {"email": address})
        assert (address, [mail.recipients for mail in site.outbox]) == (address, [["mike@x.org"]])
    for address in STRANGERS:
        clock.advance(61)
        site.outbox.clear()
        assert site.post("resend-verification", {"email": address}).status_code == 200
        assert (address, site.outbox) == (address, [])


def test_an_address_that_only_the_collation_takes_for_another_gets_no_mail(
    database: str, new_site: NewSite, clock: Clock
) -> None:
    site = new_site(
        database, define=own_model()
    )  # whose columns have the database's default collation
    with site.app.app_context():
        site.db.session.add(
            site.User(username="owner", email="míke@x.org", password_hash="x", is_verified=False)
        )
        site.db.session.commit()
    site.post("resend-verification", {"email": "mike@x.org"})
    site.post("resend-verification", {"login": "OWNÉR"})
    assert site.outbox == []
    assert site.register("mike", email="mike@x.org").status_code == 201
    assert len(accounts(site)) == 1 + len(site.outbox)
    assert all(mail.recipients == ["mike@x.org"] for mail in site.outbox)


@each_row(
    "address",
    [
        pytest.param("", id="empty"),
        pytest.param("alice", id="no address"),
        pytest.param("alice@", id="without a host"),
        pytest.param("alice@localhost", id="on a host without a dot"),
        pytest.param("@example.com", id="without a name"),
        pytest.param("alice@example.com, bob@example.com", id="two addresses"),
        pytest.param("Alice <alice@example.com>", id="with a name in front"),
        pytest.param("alice@example.com\r\nBcc: bob@example.com", id="with a header"),
        pytest.param("alice@exa\u2028mple.com", id="with a line separator"),
        pytest.param("=?utf-8?q?evil=40example=2Enet=2C?=alice@example.com", id="an encoded word"),
        pytest.param("=?utf-8?b?ZXZpbEBleGFtcGxlLm5ldCw=?=a@example.com", id="another one"),
        pytest.param("a=?utf-8?q?=2C@example.com", id="the beginning of an encoded word"),
        pytest.param("alice@exam\u202eple.com", id="with a change of direction"),
        pytest.param("alice@[127.0.0.1]", id="at a number"),
        pytest.param("alice@" + "a." * 130 + "com", id="longer than a mail server takes"),
        pytest.param("x" * 60_000 + "@example.com", id="far too long"),
        pytest.param("álice@example.com", id="with letters that not every mail server takes"),
        pytest.param(5, id="a number"),
        pytest.param(["alice@example.com"], id="a list"),
        pytest.param({"alice@example.com": 1}, id="an object"),
    ],
)
def test_an_address_may_not_be(address: Any, site: Site) -> None:
    reply = site.register("alice", email=address)
    assert reply.status_code == 400
    assert list(reply.get_json()) == ["email"]
    assert (site.users(), site.outbox) == ([], [])


@each_row(
    ("options", "address", "stored"),
    [
        ({"globally_deliverable": False}, "Bob@Corp.LOCAL", "bob@corp.local"),
        ({"globally_deliverable": False}, "dan@intranet", "dan@intranet"),
        ({"globally_deliverable": False}, "dan@localhost", "dan@localhost"),
        ({"globally_deliverable": False}, "dan@example.com", "dan@example.com"),
        ({"allow_quoted_local": True}, "Foo..bar@example.com", '"foo..bar"@example.com'),
        ({"allow_quoted_local": True}, '"foo."@example.com', '"foo."@example.com'),
        ({"allow_quoted_local": True}, '"foo"@bücher.example.com', "foo@bücher.example.com"),
        ({"allow_smtputf8": True}, "Álice@bücher.example.com", "álice@bücher.example.com"),
        ({"allow_smtputf8": True}, "用户@example.com", "用户@example.com"),
    ],
    anew=True,
)
def test_email_validator_options_accept(
    new_site: NewSite, options: dict[str, bool], address: str, stored: str
) -> None:
    site = new_site(
        EMAIL_VALIDATOR_OPTIONS=options,
        USER_LOGIN_FIELDS=["username", "email"],
        config={"TESTING": False, "MAIL_SUPPRESS_SEND": True},
        MAIL_DISPATCHER="inline",
    )
    assert site.register("alice", email=address).status_code == 201
    assert [user.email for user in site.users()] == [stored]
    assert site.verify().status_code == 200
    for login in (address, stored):
        assert site.post("login", {"login": login, "password": PASSWORD}).status_code == 200


@each_row(
    "address",
    [
        pytest.param("a1b2@registration.invalid", id="of the placeholders"),
        pytest.param("alice@example.onion", id="of another special domain"),
        pytest.param('"alice, bob"@example.com', id="with a comma in quotes"),
        pytest.param('"alice@example.net"@example.com', id="with an address in quotes"),
        pytest.param('"alice bob"@example.com', id="with a space in quotes"),
        pytest.param('"=?utf-8?q?=2C?="@example.com', id="with an encoded word in quotes"),
        pytest.param("alice@[127.0.0.1]", id="at a number"),
        pytest.param("álice@example.com", id="with letters beyond ASCII"),
    ],
)
def test_no_email_validator_option_accepts_an_address(new_site: NewSite, address: str) -> None:
    options = {"globally_deliverable": False, "allow_quoted_local": True}
    site = new_site(EMAIL_VALIDATOR_OPTIONS=options)
    assert list(site.register("alice", email=address).get_json()) == ["email"]
    assert (site.users(), site.outbox) == ([], [])


def test_an_address_of_an_international_domain_is_one_address_however_it_is_written(
    site: Site, clock: Clock
) -> None:
    assert site.register("alice", email="alice@bücher.example.com").status_code == 201
    assert site.outbox[0].recipients == ["alice@xn--bcher-kva.example.com"]
    clock.advance(61)
    assert site.register("bob", email="Alice@XN--BCHER-KVA.example.com").status_code == 201
    assert site.outbox[1].recipients == site.outbox[0].recipients
    assert len(accounts(site)) == 1


# Look-ups

ROWS = 3000


def many(site: Site) -> None:
    """Fill the table, and let the database look at it."""
    values = {
        "password_hash": "x",
        "first_name": "",
        "last_name": "",
        "is_active": True,
        "is_verified": True,
        "security_stamp": "0" * 32,
        "date_joined": datetime(2024, 1, 1),
        "role": "guest",
    }
    columns = site.User.__mapper__.columns.keys()
    rows = [
        {
            **{name: value for name, value in values.items() if name in columns},
            **{
                name: value
                for name, value in {
                    "username": f"User{number}",
                    "username_key": f"user{number}",
                    "email": f"user{number}@example.com",
                    "public_id": uuid.uuid4().hex,
                }.items()
                if name in columns
            },
            **({"id": uuid.uuid4()} if isinstance(site.User.__table__.c.id.type, Uuid) else {}),
        }
        for number in range(ROWS)
    ]
    with site.app.app_context():
        site.db.session.execute(insert(site.User), rows)
        site.db.session.commit()
        table = "users"
        site.db.session.execute(
            text(
                {"mysql": f"ANALYZE TABLE {table}"}.get(
                    site.db.engine.dialect.name, f"ANALYZE {table}"
                )
            )
        )
        site.db.session.commit()


def plan(site: Site, statement: str, parameters: Any) -> str:
    """What the database would do, in its own words."""
    with site.app.app_context(), site.db.engine.connect() as connection:
        explain = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
        rows = connection.exec_driver_sql(explain + statement, parameters).mappings().all()
        return "\n".join(str(dict(row)) for row in rows)


def by_unique_index(site: Site, plan: str) -> bool:
    """Whether each table is read by an index."""
    name = site.app.config["SQLALCHEMY_DATABASE_URI"].partition(":")[0]
    if name == "sqlite":
        plan = plan.replace("SCAN found", "")  # the rows that an index has found, in memory
        return "SEARCH users USING" in plan and "SCAN" not in plan
    if name.startswith("postgresql"):
        return "Index" in plan and "Seq Scan" not in plan
    # The rows that an index has found, in memory.
    plan = "\n".join(line for line in plan.splitlines() if "<derived" not in line)
    if (
        "Impossible WHERE noticed after reading const tables" in plan
    ):  # looked in a unique index, and there was none
        return True
    kinds = ("'type': 'const'", "'type': 'range'", "'Extra': 'Using union(")
    return any(kind in plan for kind in kinds) and "'key': None" not in plan


@each_row(
    "name", ["the mixin", "the mixin without a username", "a UUID key", "another column in links"]
)
def test_every_look_up_uses_a_unique_index(
    name: str, database: str, new_site: NewSite, clock: Clock
) -> None:
    kind = KINDS[name]
    site = kind.site(new_site, database)
    many(site)
    statements: list[tuple[str, Any]] = []

    def record(_: Any, __: Any, statement: str, parameters: Any, *rest: Any) -> None:
        if statement.lstrip().startswith(("SELECT", "UPDATE")):
            statements.append((statement, parameters))

    site.post("register", kind.body("alice"))
    link = site.link()
    with site.app.app_context():
        engine = site.db.engine
    event.listen(engine, "before_cursor_execute", record)
    taken = kind.body("user7")
    site.post("register", taken)
    site.post("register", {**kind.body("bob"), "email": "user8@example.com"})
    clock.advance(61)
    site.post("resend-verification", {"login": taken[kind.names[0]]})
    site.post("resend-verification", {"email": "User9@example.com"})
    site.verify(link)
    event.remove(engine, "before_cursor_execute", record)
    assert any(statement.startswith("UPDATE") for statement, _ in statements)
    assert len(statements) >= 6
    for statement, parameters in statements:
        told = plan(site, statement, parameters)
        assert by_unique_index(site, told), f"{statement}\n{parameters}\n{told}"


def test_a_look_up_by_another_column_would_be_noticed(database: str, new_site: NewSite) -> None:
    site = new_site(database)
    many(site)
    assert not by_unique_index(site, plan(site, "SELECT * FROM users WHERE first_name = 'x'", ()))


# Users made outside a request


def test_create_user_makes_what_a_registration_would(database: str, new_site: NewSite) -> None:
    site = new_site(database, define=define_administrators)
    with site.app.app_context():
        user = site.registration.create_user(
            username="ＡliＣe",
            email="Alice@Example.COM",
            password=PASSWORD,
            is_admin=True,
            role="administrator",
        )
        assert user.id is not None
        site.db.session.commit()
    user = site.users()[0]
    assert (user.username, user.username_key, user.email) == (
        "ＡliＣe",
        "alice",
        "alice@example.com",
    )
    assert (user.is_verified, user.is_active, user.is_admin, user.role) == (
        True,
        True,
        True,
        "administrator",
    )
    assert user.password_hash.startswith("$argon2id$")
    assert len(user.security_stamp) == 22
    assert site.outbox == []


def test_the_mixin_keeps_a_name_that_an_application_writes_itself(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database)
    with site.app.app_context():
        password_hash = site.app.extensions["registration"].passwords.hash(PASSWORD)
        user = site.User(
            username="ＡliＣe",
            email="Alice@Example.COM",
            password_hash=password_hash,
            is_verified=True,
        )
        site.db.session.add(user)
        site.db.session.commit()
    assert site.post("login", {"login": "alice", "password": PASSWORD}).status_code == 200
    site.change(user := site.users()[0], username="Straße")
    assert site.user(id=user.id).username_key == "strasse"
    assert site.post("login", {"login": "STRASSE", "password": PASSWORD}).status_code == 200
    assert site.register("alice", email="another@example.com").status_code == 201
    assert site.register("strasse", email="third@example.com").get_json().keys() == {"username"}


def test_create_user_makes_pending_users_as_well(site: Site, clock: Clock) -> None:
    with site.app.app_context():
        site.registration.create_user(
            username="alice", email="alice@example.com", password=PASSWORD, verified=False
        )
        site.db.session.commit()
    assert not site.users()[0].is_verified
    site.post("resend-verification", {"login": "alice"})
    assert site.verify().status_code == 200


def test_create_user_flushes_and_leaves_the_commit_to_the_caller(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database)
    with site.app.app_context():
        site.registration.create_user(
            username="alice", email="alice@example.com", password=PASSWORD
        )
        assert site.db.session.scalars(select(site.User)).one().username == "alice"
        site.db.session.rollback()
    assert site.users() == []


@each_row(
    ("fields", "complains_of"),
    [
        pytest.param({"username": "al ice"}, ["username"], id="a name that is none"),
        pytest.param({"email": "alice"}, ["email"], id="an address that is none"),
        pytest.param({"password": "password"}, ["password"], id="a weak password"),
        pytest.param(
            {"password": PASSWORD + "".join(map(str, range(100, 200)))},
            ["password"],
            id="a password that is too long",
        ),
        pytest.param(
            {"username": "a b", "email": "a", "password": "a"},
            ["email", "password", "username"],
            id="all of that",
        ),
        pytest.param({"username": "TAKEN"}, ["username"], id="a taken name"),
        pytest.param({"email": "Taken@example.com"}, ["email"], id="a taken address"),
        pytest.param(
            {"username": "Taken", "email": "Taken@example.com"},
            ["email", "username"],
            id="both taken",
        ),
    ],
)
def test_create_user_refuses_and_leaves_the_callers_transaction_usable(
    fields: dict[str, str], complains_of: list[str], database: str, new_site: NewSite
) -> None:
    site = new_site(database)
    with site.app.app_context():
        create = site.registration.create_user
        create(username="taken", email="taken@example.com", password=PASSWORD)
        with pytest.raises(ValidationError) as caught:
            create(
                **{
                    "username": "alice",
                    "email": "alice@example.com",
                    "password": PASSWORD,
                    **fields,
                },
                verified=True,
            )
        assert sorted(caught.value.messages_dict) == complains_of
        create(username="bob", email="bob@example.com", password=PASSWORD)
        site.db.session.commit()
    assert sorted(user.username for user in site.users()) == ["bob", "taken"]


def test_a_username_that_a_model_has_but_nobody_needs_is_left_out(new_site: NewSite) -> None:
    optional = define(
        UserMixin,
        columns=lambda: {
            "username": mapped_column(String(150)),
            "username_key": mapped_column(String(450), unique=True),
        },
        LOGIN_FIELDS=["email"],
    )
    site = new_site(define=optional)
    for name in ("alice", "bob"):
        assert site.register(name).status_code == 201
    assert [(user.username, user.username_key) for user in site.users()] == [(None, None)] * 2
    with site.app.app_context():
        site.registration.create_user(email="carol@example.com", password=PASSWORD)
        site.registration.create_user(email="dave@example.com", password=PASSWORD, username="Dave")
        site.db.session.commit()
    assert site.user(email="dave@example.com").username_key == "dave"


def test_create_user_does_not_know_columns_that_the_model_has_not(site: Site) -> None:
    with (
        site.app.app_context(),
        pytest.raises(TypeError, match="User has no column nickname, colour"),
    ):
        site.registration.create_user(
            username="alice",
            email="alice@example.com",
            password=PASSWORD,
            nickname="x",
            colour="red",
        )


def test_create_user_needs_what_the_database_needs(database: str, new_site: NewSite) -> None:
    site = new_site(
        database,
        define=mixin_and(company=text_column(nullable=False)),
        USER_PUBLIC_FIELDS=["company"],
    )
    with site.app.app_context():
        with pytest.raises(ValidationError) as caught:
            site.registration.create_user(
                username="alice", email="alice@example.com", password=PASSWORD
            )
        assert caught.value.messages == {"company": ["This field is required."]}
        with pytest.raises(ValidationError) as caught:
            actions.create_user(username="alice", email="alice@example.com", password=PASSWORD)
        assert caught.value.messages == {"company": ["This field is required."]}
        site.registration.create_user(
            username="bob", email="bob@example.com", password=PASSWORD, company="x"
        )
        site.db.session.commit()
    assert [user.username for user in site.users()] == ["bob"]


class LooseSchema(Schema):
    """A schema of an application, which forgets the company."""

    username = fields.String(required=True)
    email = fields.String(required=True)
    password = fields.String(required=True)
    company = fields.String()


def test_a_missing_value_is_told_whether_the_address_is_in_use_or_not(
    database: str, new_site: NewSite
) -> None:
    """[E1]"""
    site = new_site(
        database,
        define=mixin_and(company=text_column(nullable=False), plan=text_column(nullable=False)),
        REGISTER_SCHEMA_CLASS=LooseSchema,
    )
    with site.app.app_context():
        site.registration.create_user(
            username="owner", email="owner@example.com", password=PASSWORD, company="x", plan="y"
        )
        site.db.session.commit()
    missing = {name: ["This field is required."] for name in ("company", "plan")}
    for address in ("owner@example.com", "new@example.com"):
        body = {"username": "alice", "email": address, "password": PASSWORD}
        reply = site.post("register", body)
        assert (reply.status_code, reply.get_json()) == (400, missing)
    assert [user.username for user in site.users()] == ["owner"]


def test_a_value_that_an_event_or_the_database_sets_is_not_missing(
    database: str, new_site: NewSite
) -> None:
    site = new_site(
        database,
        define=mixin_and(
            company=text_column(nullable=False),
            seats=text_column(nullable=False, server_default="1"),
            plan=text_column(nullable=False),
        ),
        REGISTER_SCHEMA_CLASS=LooseSchema,
    )

    @event.listens_for(site.User, "before_insert")
    def before_insert(mapper: Any, connection: Any, user: Any) -> None:
        user.company = "of an event"

    alice: dict[str, Any] = {
        "username": "alice",
        "email": "alice@example.com",
        "password": PASSWORD,
    }
    with site.app.app_context():
        with pytest.raises(ValidationError) as caught:
            actions.create_user(**alice)
        assert caught.value.messages == {"plan": ["This field is required."]}
        actions.create_user(**alice, plan="free")
    assert [(user.company, user.seats) for user in site.users()] == [("of an event", "1")]


def test_where_a_trigger_sets_a_value_a_duplicate_is_named(
    postgresql_url: str, new_site: NewSite
) -> None:
    site = new_site(
        postgresql_url,
        define=mixin_and(company=text_column(nullable=False)),
        REGISTER_SCHEMA_CLASS=LooseSchema,
    )
    table = site.User.__table__.name
    with site.app.app_context():
        for statement in (
            "CREATE OR REPLACE FUNCTION set_company() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN NEW.company := 'of a trigger'; RETURN NEW; END $$",
            f'CREATE TRIGGER company BEFORE INSERT ON "{table}" FOR EACH ROW '
            "EXECUTE FUNCTION set_company()",
        ):
            site.db.session.execute(text(statement))
        site.db.session.commit()
        alice: dict[str, Any] = {
            "username": "alice",
            "email": "alice@example.com",
            "password": PASSWORD,
        }
        actions.create_user(**alice)
        with pytest.raises(ValidationError) as caught:
            actions.create_user(**{**alice, "username": "bob"})
    assert [*caught.value.messages_dict] == ["email"]
    assert [user.company for user in site.users()] == ["of a trigger"]


def test_an_application_that_stores_an_address_itself_stores_it_in_lower_case(site: Site) -> None:
    with site.app.app_context():
        site.db.session.add(
            site.User(username="Alice", email="Alice@Example.com", password_hash="x")
        )
        site.db.session.commit()
    user = site.users()[0]
    assert (user.email, user.username, user.username_key) == ("alice@example.com", "Alice", "alice")
    with site.app.app_context():
        row = site.db.session.scalars(select(site.User)).one()
        row.username = "BOB"
        site.db.session.commit()
    assert site.users()[0].username_key == "bob"


def test_an_account_whose_columns_are_in_two_tables_is_refused_at_the_start(
    new_site: NewSite,
) -> None:
    """One statement must compare and write them."""

    def define_split(db: SQLAlchemy) -> Any:
        class Person(db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
            __tablename__ = "people"
            id: Mapped[int] = mapped_column(primary_key=True)
            email: Mapped[str] = mapped_column(String(254), unique=True)

        class User(Person):
            __tablename__ = "users"
            id: Mapped[int] = mapped_column(ForeignKey("people.id"), primary_key=True)
            username: Mapped[str] = mapped_column(String(30), unique=True)
            password_hash: Mapped[str] = mapped_column(String(255))
            is_verified: Mapped[bool] = mapped_column(default=False)

        return User

    with pytest.raises(ConfigurationError) as refused:
        new_site(define=define_split)
    assert "User.email is not in the table 'users'" in str(refused.value)
    assert "[registration.E052]" in str(refused.value)


@each_row(
    ("column", "made", "id"),
    [
        ("password_hash", lambda: mapped_column(LargeBinary(255)), "E053"),
        ("security_stamp", lambda: mapped_column(Uuid, default=uuid.uuid4), "E053"),
        ("security_stamp", lambda: mapped_column(String(16)), "E053"),
        ("id", lambda: mapped_column(LargeBinary(16), primary_key=True), "E054"),
    ],
    ids=["a hash as bytes", "a stamp as a UUID", "a short stamp", "a key as bytes"],
)
def test_a_column_that_cannot_have_our_values_is_refused_at_the_start(
    column: str, made: Callable[[], Any], id: str, new_site: NewSite
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        new_site(define=own_model(**{column: made}))
    (found,) = [each for each in refused.value.findings if each.id == f"registration.{id}"]
    assert found.subject == f"User.{column}"
