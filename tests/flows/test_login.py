"""Come in, go out."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import bcrypt
import pytest
from marshmallow import EXCLUDE, Schema, fields
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import Boolean, Integer, String, create_engine, event, text
from sqlalchemy.orm import mapped_column
from werkzeug.security import generate_password_hash

from flask_registration import (
    EmailUserMixin,
    UserMixin,
    UserNotFound,
    current_registration,
    user_activated,
    user_logged_in,
    user_logged_out,
    user_login_failed,
)
from flask_registration.flows import login

from ..conftest import Clock
from ..people import (
    LOGGED_IN,
    LOGGED_OUT,
    LOGIN_INVALID,
    NOT_AUTHENTICATED,
    accepts,
    account,
    bearer,
    copy_of,
    define_login,
    knows,
    log_in,
    logins,
    profile,
    token_of,
    with_and_without_login_model,
)
from ..site import CHEAP_HASHER, PASSWORD, Site, define, own_model, whole
from ..tables import each_row
from .common import cookies_of

NewSite = Callable[..., Site]
LoginModel = Callable[[Any], type[Any]] | None

NOT_VERIFIED = {
    "detail": "Please confirm your e-mail address first. Check your inbox, "
    "or ask for a new confirmation e-mail.",
    "code": "not-verified",
}
SIGNALS = (user_logged_in, user_login_failed, user_logged_out, user_activated)
ANYTHING: dict[str, Any] = {"PASSWORD_VALIDATORS": []}


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done with argon2, which is what takes the time."""
    done: list[str] = []
    hash_, verify = Argon2Hasher.hash, Argon2Hasher.verify

    def hash_and_tell(self: Argon2Hasher, *args: Any, **kwargs: Any) -> str:
        done.append("hash")
        return hash_(self, *args, **kwargs)

    def verify_and_tell(self: Argon2Hasher, *args: Any, **kwargs: Any) -> bool:
        done.append("verify")
        return verify(self, *args, **kwargs)

    monkeypatch.setattr(Argon2Hasher, "hash", hash_and_tell)
    monkeypatch.setattr(Argon2Hasher, "verify", verify_and_tell)
    return done


def just_now(time: datetime | None) -> bool:
    """Whether a time of the database, UTC, is that of this test."""
    assert time is not None
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    return abs(datetime.now(UTC) - aware) < timedelta(minutes=5)


# Come in


@pytest.mark.databases
@with_and_without_login_model
def test_a_login_opens_a_session_writes_its_time_is_announced_and_mails_nobody(
    database: str, new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(database, login_model=login_model)
    before = account(site)
    client = site.app.test_client()
    with site.hears(*SIGNALS) as heard:
        reply = site.post("login", {"login": "alice", "password": PASSWORD}, client=client)
    assert (reply.status_code, reply.get_json()) == (200, LOGGED_IN)
    assert [(each["signal"], each["user"].id, each["request"].path) for each in heard] == [
        ("user-logged-in", before.id, "/accounts/login/")
    ]
    after = site.user(username="alice")
    assert before.last_login is None
    assert just_now(after.last_login)
    same = [name for name in vars(before) if name not in ("last_login", "_sa_instance_state")]
    assert {name: getattr(after, name) for name in same} == {
        name: getattr(before, name) for name in same
    }
    assert site.outbox == []
    assert profile(site, client).get_json()["username"] == "alice"
    assert not knows(site)


@pytest.mark.databases
@each_row(
    ("login_fields", "body"),
    [
        pytest.param(["username"], {"login": "Alice"}, id="login"),
        pytest.param(["username"], {"username": "Alice"}, id="the field's own name"),
        pytest.param(["username"], {"login": "aLICE"}, id="the name in other letters"),
        pytest.param(["username"], {"login": "Ａｌｉｃｅ"}, id="the name in full-width letters"),
        pytest.param(["email"], {"login": "alice@example.com"}, id="the address as login"),
        pytest.param(["email"], {"email": "ALICE@Example.com"}, id="the address in capitals"),
        pytest.param(["username", "email"], {"login": "alice"}, id="the name where both will do"),
        pytest.param(
            ["username", "email"],
            {"login": "alice@example.com"},
            id="the address where both will do",
        ),
        pytest.param(
            ["username", "email"],
            {"username": "alice"},
            id="the name by its field where both will do",
        ),
        pytest.param(
            ["username", "email"], {"email": "alice@example.com"}, id="the address by its field"
        ),
        pytest.param(
            ["username"], {"login": "alice", "colour": "blue"}, id="login beside an unknown field"
        ),
    ],
)
def test_one_logs_in_by(
    database: str, new_site: NewSite, login_fields: list[str], body: dict[str, str]
) -> None:
    site = new_site(database, USER_LOGIN_FIELDS=login_fields, USER_PUBLIC_FIELDS=["username"])
    account(site, "Alice")
    account(site, "bob")
    client = site.app.test_client()
    reply = site.post("login", {**body, "password": PASSWORD}, client=client)
    assert (reply.status_code, reply.get_json()) == (200, LOGGED_IN)
    assert profile(site, client).get_json()["username"] == "Alice"


@pytest.mark.databases
@each_row(
    ("login_fields", "body"),
    [
        pytest.param(
            ["username"],
            {"login": "alice@example.com"},
            id="the address where only the name will do",
        ),
        pytest.param(["email"], {"login": "alice"}, id="the name where only the address will do"),
        pytest.param(["username"], {"login": "alicé"}, id="the name with an accent"),
        pytest.param(["email"], {"login": "alicé@example.com"}, id="the address with an accent"),
        pytest.param(["username"], {"login": "%"}, id="a wildcard"),
        pytest.param(["username"], {"login": "alice' OR '1'='1"}, id="a piece of SQL"),
    ],
)
def test_nobody_logs_in_by(
    database: str, new_site: NewSite, login_fields: list[str], body: dict[str, str]
) -> None:
    site = new_site(database, USER_LOGIN_FIELDS=login_fields, USER_PUBLIC_FIELDS=["username"])
    account(site, "alice")
    reply = site.post("login", {**body, "password": PASSWORD})
    assert (reply.status_code, reply.get_json()) == (400, LOGIN_INVALID)


REQUIRED = ["This field is required."]


@each_row(
    ("body", "expected"),
    [
        pytest.param({}, {"login": REQUIRED, "password": REQUIRED}, id="nothing"),
        pytest.param({"login": "alice"}, {"password": REQUIRED}, id="no password"),
        pytest.param({"password": PASSWORD}, {"login": REQUIRED}, id="no login"),
        pytest.param(
            {"password": PASSWORD, "remember": True},
            {"login": REQUIRED},
            id="no login but remember",
        ),
        pytest.param(
            {"login": None, "password": PASSWORD}, {"login": None}, id="a login that is null"
        ),
        pytest.param(
            {"login": ["alice"], "password": PASSWORD}, {"login": None}, id="a login that is a list"
        ),
        pytest.param(
            {"login": "alice", "password": None}, {"password": None}, id="a password that is null"
        ),
        pytest.param(
            {"login": "alice", "password": ""}, {"password": None}, id="an empty password"
        ),
        pytest.param(
            {"login": "alice", "password": True}, {"password": None}, id="a password that is true"
        ),
        pytest.param(
            {"login": "alice", "password": "x" * 257},
            {"password": None},
            id="a password that is too long",
        ),
        pytest.param(
            {"login": "alice", "password": "x\0"}, {"password": None}, id="a password with a NUL"
        ),
        pytest.param(
            {"login": "alice", "password": "\ud800"}, {"password": None}, id="half a surrogate pair"
        ),
        pytest.param(
            {"login": "a\0", "password": PASSWORD}, {"login": None}, id="a login with a NUL"
        ),
        pytest.param(
            {"login": "alice", "password": PASSWORD, "remember": "x"},
            {"remember": None},
            id="a silly flag",
        ),
    ],
)
def test_a_body_that_is_no_login_is_told_by_field_before_anything_is_hashed(
    site: Site, hashed: list[str], body: dict[str, Any], expected: dict[str, Any]
) -> None:
    account(site)
    hashed.clear()
    with site.hears(*SIGNALS) as heard, site.statements() as statements:
        reply = site.post("login", body)
    told = reply.get_json()
    assert (reply.status_code, told.keys()) == (400, expected.keys())
    assert all(told[name] == messages for name, messages in expected.items() if messages)
    assert (heard, statements, hashed) == ([], [], [])


# Refused


REFUSED = [
    pytest.param("nobody", PASSWORD, id="an unknown name"),
    pytest.param("a b", PASSWORD, id="what can be no name"),
    pytest.param("x" * 300, PASSWORD, id="a very long name"),
    pytest.param("alice", "wrong", id="a wrong password"),
    pytest.param("banned", PASSWORD, id="a suspended account's right password"),
    pytest.param("banned", "wrong", id="a suspended account's wrong password"),
    pytest.param("pending", "wrong", id="a pending account's wrong password"),
    pytest.param("banned-pending", PASSWORD, id="a suspended pending account's right password"),
    pytest.param("locked", PASSWORD, id="an account without a password"),
]


@each_row(("login", "password"), REFUSED)
@with_and_without_login_model
def test_every_login_that_is_refused_gets_the_same_bytes_after_the_same_work(
    database: str,
    new_site: NewSite,
    hashed: list[str],
    login_model: LoginModel,
    login: str,
    password: str,
) -> None:
    site = new_site(database, login_model=login_model, LOGIN_RETRIEVE_TOKEN=True)
    for name in ("alice", "banned", "pending", "banned-pending", "locked"):
        user = account(site, name, verified="pending" not in name)
        site.change(user, is_active="banned" not in name)
        if name == "locked":
            site.change(user, password_hash="!")
    before = [vars(user) for user in site.users()]
    hashed.clear()
    measure = site.post("login", {"login": "somebody-else", "password": "whatever"})
    assert (measure.status_code, measure.get_json()) == (400, LOGIN_INVALID)
    assert len(hashed) == 1
    client = site.app.test_client()
    with site.hears(*SIGNALS) as heard:
        reply = site.post("login", {"login": login, "password": password}, client=client)
    assert whole(reply) == whole(measure)
    assert len(hashed) == 2
    assert [each["signal"] for each in heard] == ["user-login-failed"]
    assert not knows(site, client)
    if site.Login:
        assert logins(site) == []
    drop = "_sa_instance_state"
    assert [{key: row[key] for key in row if key != drop} for row in before] == [
        {key: value for key, value in vars(user).items() if key != drop} for user in site.users()
    ]


@each_row(
    ("body", "username", "typed"),
    [
        pytest.param(
            {"login": "Alice", "password": "wrong"},
            "alice",
            "Alice",
            id="of somebody, as it was typed",
        ),
        pytest.param(
            {"username": "alice", "password": "wrong"},
            "alice",
            "alice",
            id="of somebody by the field's name",
        ),
        pytest.param({"login": "nobody", "password": "wrong"}, None, "nobody", id="of nobody"),
        pytest.param(
            {"login": "banned", "password": PASSWORD},
            "banned",
            "banned",
            id="of a suspended account",
        ),
        pytest.param(
            {"login": "pending", "password": PASSWORD},
            "pending",
            "pending",
            id="of a pending account",
        ),
    ],
)
def test_user_login_failed_tells_of_an_attempt(
    database: str, new_site: NewSite, body: dict[str, str], username: str | None, typed: str
) -> None:
    site = new_site(database)
    account(site)
    site.change(account(site, "banned"), is_active=False)
    account(site, "pending", verified=False)
    with site.hears(*SIGNALS) as heard:
        assert site.post("login", body).status_code == 400
    (told,) = heard
    assert told["signal"] == "user-login-failed"
    assert (told["user"] and told["user"].username, told["login"]) == (username, typed)
    assert told["request"].path == "/accounts/login/"
    assert told.keys() == {"signal", "user", "login", "request"}
    assert PASSWORD not in str(told)


@each_row(
    ("settings", "expected"),
    [
        pytest.param({}, LOGIN_INVALID, id="login-invalid"),
        pytest.param({"REGISTER_FLOW_ENABLED": False}, LOGIN_INVALID, id="without registration"),
        pytest.param({"flows": [login.flow]}, LOGIN_INVALID, id="without its flow"),
        pytest.param({"PREVENT_ENUMERATION": False}, NOT_VERIFIED, id="not-verified"),
    ],
)
def test_the_right_password_of_a_pending_account_logs_nobody_in_and_is_answered(
    database: str, new_site: NewSite, settings: dict[str, Any], expected: dict[str, str]
) -> None:
    site = new_site(database, login_model=define_login, LOGIN_RETRIEVE_TOKEN=True, **settings)
    account(site, verified=False)
    client = site.app.test_client()
    reply = site.post("login", {"login": "alice", "password": PASSWORD}, client=client)
    assert (reply.status_code, reply.get_json()) == (400, expected)
    assert not client.get_cookie("session")
    assert logins(site) == []
    assert site.user(username="alice").last_login is None
    assert site.outbox == []


@pytest.mark.databases
def test_a_suspension_that_lands_while_the_password_is_checked_wins(
    database: str, new_site: NewSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = new_site(database)
    user = account(site)
    verify = Argon2Hasher.verify

    def suspend_and_verify(self: Argon2Hasher, *args: Any) -> bool:
        in_another_connection(
            site, "UPDATE users SET is_active = :no WHERE username = 'alice'", no=False
        )
        return verify(self, *args)

    monkeypatch.setattr(Argon2Hasher, "verify", suspend_and_verify)
    reply = site.post("login", {"login": "alice", "password": PASSWORD})
    assert (reply.status_code, reply.get_json()) == (400, LOGIN_INVALID)
    after = site.user(id=user.id)
    assert (after.is_active, after.last_login) == (False, None)


def in_another_connection(site: Site, statement: str, **values: Any) -> None:
    """Execute and commit a statement beside the request that is going on."""
    engine = create_engine(site.app.config["SQLALCHEMY_DATABASE_URI"])
    with engine.begin() as connection:
        connection.execute(text(statement), values)
    engine.dispose()


@pytest.mark.databases
def test_where_the_commit_fails_nobody_is_logged_in_and_nobody_is_told(
    new_site: NewSite, database: str
) -> None:
    site = new_site(database, LOGIN_RETRIEVE_TOKEN=True, config={"PROPAGATE_EXCEPTIONS": False})
    account(site)
    client = site.app.test_client()

    def fail(session: Any) -> None:
        raise RuntimeError("the disk is full")

    event.listen(site.db.session, "before_commit", fail)
    try:
        with site.hears(*SIGNALS) as heard:
            reply = site.post("login", {"login": "alice", "password": PASSWORD}, client=client)
    finally:
        event.remove(site.db.session, "before_commit", fail)
    assert reply.status_code == 500
    assert "token" not in (reply.get_json(silent=True) or {})
    assert heard == []
    assert not knows(site, client)
    assert site.user(username="alice").last_login is None


# Passwords


@each_row("length", [8, 64, 72, 73, 128, 256])
@each_row("character", ["x", "é", "李"])
def test_every_character_of_a_password_counts_up_to(
    length: int, character: str, new_site: NewSite
) -> None:
    site = new_site(**ANYTHING)
    password = character * (length - 1) + "a"
    account(site, password=password)
    assert (
        site.post("login", {"login": "alice", "password": password[:-1] + "b"}).status_code == 400
    )
    assert site.post("login", {"login": "alice", "password": password[:-1]}).status_code == 400
    assert site.post("login", {"login": "alice", "password": password}).status_code == 200


@each_row(
    ("stored", "typed", "accepted"),
    [
        pytest.param(
            "caf\u00e9 au lait",
            "cafe\u0301 au lait",
            True,
            id="é of two code points for one of one",
        ),
        pytest.param(
            "cafe\u0301 au lait", "caf\u00e9 au lait", True, id="é of one code point for one of two"
        ),
        pytest.param("caf\u00e9 au lait", "cafe au lait", False, id="e for é"),
        pytest.param("  au lait  ", "  au lait  ", True, id="spaces around it"),
        pytest.param("  au lait  ", "au lait", False, id="without the spaces around it"),
        pytest.param("au lait 123", "au lait 123 ", False, id="with a space after it"),
        pytest.param("Au lait 123", "au lait 123", False, id="another case"),
        pytest.param("ａｕ lait 123", "au lait 123", False, id="narrow letters for wide ones"),
    ],
)
def test_a_password_is_compared_with(
    new_site: NewSite, stored: str, typed: str, accepted: bool
) -> None:
    site = new_site(**ANYTHING)
    account(site, password=stored)
    assert site.post("login", {"login": "alice", "password": typed}).status_code == (
        200 if accepted else 400
    )


def django_hash(password: str, algorithm: str = "sha256") -> str:
    digest = hashlib.pbkdf2_hmac(algorithm, password.encode(), b"salt", 1000)
    return f"pbkdf2_{algorithm}$1000$salt${base64.b64encode(digest).decode()}"


FOREIGN: dict[str, Callable[[str], str]] = {
    "werkzeug's scrypt": lambda password: generate_password_hash(password, "scrypt:1024:8:1"),
    "werkzeug's pbkdf2": lambda password: generate_password_hash(password, "pbkdf2:sha256:1000"),
    "bcrypt": lambda password: bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode(),
    "Django's pbkdf2 with SHA-256": django_hash,
    "Django's pbkdf2 with SHA-1": lambda password: django_hash(password, "sha1"),
    "argon2 with other parameters": Argon2Hasher(time_cost=2, memory_cost=16, parallelism=1).hash,
}


@each_row("make", FOREIGN)
def test_a_login_upgrades_a_hash_by(make: str, database: str, new_site: NewSite) -> None:
    site = new_site(database)
    user = account(site)
    site.change(user, password_hash=FOREIGN[make](PASSWORD))
    assert site.post("login", {"login": "alice", "password": PASSWORD + "!"}).status_code == 400
    assert site.user(username="alice").password_hash == (
        before := site.user(username="alice").password_hash
    )
    client = log_in(site)
    upgraded = site.user(username="alice").password_hash
    assert upgraded != before
    assert upgraded.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert knows(site, client)
    log_in(site)
    assert site.user(username="alice").password_hash == upgraded
    assert site.user(username="alice").security_stamp == user.security_stamp


@each_row(
    ("login", "password", "change"),
    [
        pytest.param("alice", "wrong", {}, id="a wrong password"),
        pytest.param("alice", PASSWORD, {"is_active": False}, id="a suspended account"),
        pytest.param("alice", PASSWORD, {"is_verified": False}, id="a pending account"),
    ],
)
def test_no_hash_is_upgraded_by(
    new_site: NewSite, database: str, login: str, password: str, change: Any
) -> None:
    site = new_site(database)
    foreign = FOREIGN["bcrypt"](PASSWORD)
    site.change(account(site), password_hash=foreign, **change)
    assert site.post("login", {"login": login, "password": password}).status_code == 400
    assert site.user(username="alice").password_hash == foreign


def test_a_login_upgrades_a_hash_where_it_stands_for_the_security_stamp(new_site: NewSite) -> None:
    site = new_site(define=own_model())
    user = account(site)
    site.change(user, password_hash=FOREIGN["bcrypt"](PASSWORD))
    client = log_in(site)
    assert site.user(username="alice").password_hash.startswith("$argon2id$")
    assert knows(site, client)


UNUSABLE = [
    "!",
    "",
    "*",
    "garbage",
    PASSWORD,
    "$argon2id$garbage",
    "$argon2id$v=19$m=8,t=1,p=1$$",
    "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$é",
    "$argon2id$v=19$m=99999999999,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHQ",
    "$2b$04$garbage",
    "$2b$99$" + "x" * 53,
    "$2b$04$" + "é" * 53,
    "scrypt:32768:8:1",
    "scrypt:x:8:1$salt$00",
    "scrypt:0:0:0$salt$00",
    "scrypt:1099511627776:8:1$salt$00",
    "pbkdf2:sha256:1000",
    "pbkdf2:nosuch:1000$salt$00",
    "pbkdf2:sha256:0$salt$00",
    "pbkdf2:sha256:99999999999999999999$salt$00",
    "pbkdf2_sha256$1000$salt",
    "pbkdf2_sha256$x$salt$x",
    "pbkdf2_sha256$0$salt$x",
    "pbkdf2_sha256$-1$salt$x",
    "pbkdf2_sha256$99999999999999999999$salt$x",
    "pbkdf2_sha256$1000$salt$é",
    "pbkdf2_sha256$1000$$",
]


@each_row("stored", UNUSABLE, ids=repr)
def test_nobody_logs_in_to_an_account_whose_hash_is(stored: str, site: Site) -> None:
    site.change(account(site), password_hash=stored)
    reply = site.post("login", {"login": "alice", "password": PASSWORD})
    assert (reply.status_code, reply.get_json()) == (400, LOGIN_INVALID)


def test_nobody_logs_in_to_an_account_whose_hash_is_null(database: str, new_site: NewSite) -> None:
    site = new_site(database, define=own_model(password_hash=lambda: mapped_column(String(255))))
    site.change(account(site), password_hash=None)
    reply = site.post("login", {"login": "alice", "password": PASSWORD})
    assert (reply.status_code, reply.get_json()) == (400, LOGIN_INVALID)


# Settings


class PinSchema(Schema):
    """An application's own body of a login."""

    class Meta:
        unknown = EXCLUDE

    card = fields.String(required=True)
    pin = fields.Integer(required=True)


def by_card(data: dict[str, Any], **kwargs: Any) -> Any:
    """An application's own way to find who logs in."""
    user = next(iter(current_registration.users.find("username", data["card"])), None)
    if user is None or data["pin"] != 1234:
        raise UserNotFound
    return user


def test_the_application_has_its_own_schema_and_its_own_authenticator(
    new_site: NewSite, database: str
) -> None:
    site = new_site(database, LOGIN_SCHEMA_CLASS=PinSchema, LOGIN_AUTHENTICATOR=by_card)
    account(site)
    client = site.app.test_client()
    reply = site.post("login", {"login": "alice", "password": PASSWORD})
    assert (reply.status_code, reply.get_json().keys()) == (400, {"card", "pin"})
    reply = site.post("login", {"card": "alice", "pin": 1234}, client=client)
    assert (reply.status_code, reply.get_json()) == (200, LOGGED_IN)
    assert just_now(site.user(username="alice").last_login)
    assert knows(site, client)


@each_row(
    ("card", "pin", "expected"),
    [
        pytest.param("alice", 1, LOGIN_INVALID, id="raises UserNotFound"),
        pytest.param("banned", 1234, LOGIN_INVALID, id="returns somebody who is suspended"),
        pytest.param("pending", 1234, LOGIN_INVALID, id="returns somebody who is pending"),
    ],
)
def test_nobody_is_logged_in_where_the_authenticator(
    new_site: NewSite, card: str, pin: int, expected: dict[str, str]
) -> None:
    site = new_site(
        LOGIN_SCHEMA_CLASS="tests.flows.test_login.PinSchema", LOGIN_AUTHENTICATOR=by_card
    )
    account(site)
    site.change(account(site, "banned"), is_active=False)
    account(site, "pending", verified=False)
    client = site.app.test_client()
    with site.hears(*SIGNALS) as heard:
        reply = site.post("login", {"card": card, "pin": pin}, client=client)
    assert (reply.status_code, reply.get_json()) == (400, expected)
    assert not knows(site, client)
    assert [(each["signal"], each["login"]) for each in heard] == [("user-login-failed", None)]


def test_the_default_schema_serves_an_own_authenticator_too(new_site: NewSite) -> None:
    seen: list[Any] = []

    def authenticate(data: dict[str, Any], **kwargs: Any) -> Any:
        seen.append(dict(data))
        raise UserNotFound

    site = new_site(LOGIN_AUTHENTICATOR=authenticate)
    assert site.post("login", {"login": "alice", "password": PASSWORD}).get_json() == LOGIN_INVALID
    assert seen == [{"login": "alice", "password": PASSWORD, "remember": False}]


@each_row(
    ("session", "token"),
    [
        pytest.param(True, False, id="a session"),
        pytest.param(True, True, id="a session and a token"),
        pytest.param(False, True, id="a token"),
    ],
)
@with_and_without_login_model
def test_by_its_settings_a_login_gives(
    new_site: NewSite, login_model: LoginModel, session: bool, token: bool
) -> None:
    site = new_site(
        login_model=login_model, LOGIN_AUTHENTICATE_SESSION=session, LOGIN_RETRIEVE_TOKEN=token
    )
    account(site)
    client = site.app.test_client()
    reply = site.post("login", {"login": "alice", "password": PASSWORD}, client=client)
    assert reply.status_code == 200
    assert reply.get_json().keys() == ({"detail", "token"} if token else {"detail"})
    expected = ["session", "registration_device"] if session else ["registration_device"]
    assert sorted(cookies_of(reply)) == sorted(expected)
    assert knows(site, client) == session
    if token:
        assert accepts(site, reply.get_json()["token"])
    if site.Login:
        assert [row.kind for row in logins(site)] == ["session"] * session + ["token"] * token


def test_the_application_builds_the_reply_of_a_login(new_site: NewSite) -> None:
    def build(message: str, status: int, extra_data: dict[str, Any]) -> Any:
        return {"message": message, "data": extra_data}, status + 2

    site = new_site(SUCCESS_RESPONSE_BUILDER=build, LOGIN_RETRIEVE_TOKEN=True)
    account(site)
    reply = site.post("login", {"login": "alice", "password": PASSWORD})
    assert reply.status_code == 202
    assert reply.get_json()["message"] == "Login successful"
    assert accepts(site, reply.get_json()["data"]["token"])


# Remember


@with_and_without_login_model
def test_who_wants_to_be_remembered_is_without_the_session_cookie(
    database: str, new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(database, login_model=login_model)
    account(site)
    client = log_in(site, remember=True)
    assert client.get_cookie("remember_token") is not None
    returned = copy_of(client, "remember_token")
    assert knows(site, returned)
    assert knows(site, copy_of(returned, "session"))


def test_who_was_remembered_is_remembered_still_after_another_login_that_shall_be(
    site: Site,
) -> None:
    account(site)
    client = log_in(site, remember=True)
    log_in(site, client=client, remember=True)
    assert knows(site, copy_of(client, "remember_token"))


@with_and_without_login_model
def test_who_was_remembered_is_forgotten_when_another_logs_in_who_is_not(
    new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(login_model=login_model)
    account(site)
    account(site, "bob")
    client = log_in(site, remember=True)
    client.delete_cookie("session")
    log_in(site, "bob", client=client)
    client.delete_cookie("session")
    assert not knows(site, client)


@each_row("body", [{}, {"remember": False}], ids=["not asked for", "declined"])
def test_nobody_is_remembered_unless_they_want_to(site: Site, body: dict[str, Any]) -> None:
    account(site)
    client = log_in(site, **body)
    assert client.get_cookie("remember_token") is None


@with_and_without_login_model
@each_row("end", ["a new password", "a suspension", "a deletion", "a logout everywhere"])
def test_a_remembered_login_is_dead_after(
    end: str, database: str, new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(database, login_model=login_model)
    user = account(site)
    client = log_in(site, remember=True)
    other = log_in(site)
    thief = copy_of(client, "remember_token")
    assert knows(site, copy_of(thief))
    if end == "a new password":
        new = "quite another battery of staples"
        body = {"old_password": PASSWORD, "password": new, "password_confirm": new}
        assert site.post("change-password", body, client=other).status_code == 200
        assert knows(site, other)
    elif end == "a suspension":
        site.change(user, is_active=False)
    elif end == "a deletion":
        assert other.delete("/accounts/profile/", json={"password": PASSWORD}).status_code == 204
    else:
        assert site.post("logout", {"everywhere": True}, client=other).status_code == 200
    assert not knows(site, thief)
    assert not knows(site, client)


def test_a_logout_forgets_who_was_remembered(database: str, new_site: NewSite) -> None:
    site = new_site(database, login_model=define_login)
    account(site)
    client = log_in(site, remember=True)
    thief = copy_of(client, "remember_token")
    assert site.post("logout", {}, client=client).status_code == 200
    assert client.get_cookie("remember_token") is None
    assert not knows(site, client)
    assert not knows(site, thief)


def test_the_one_who_changed_the_password_is_remembered_still(site: Site) -> None:
    account(site)
    client = log_in(site, remember=True)
    old = copy_of(client, "remember_token")
    new = "quite another battery of staples"
    body = {"old_password": PASSWORD, "password": new, "password_confirm": new}
    assert site.post("change-password", body, client=client).status_code == 200
    assert knows(site, copy_of(client, "remember_token"))
    assert not knows(site, old)


def test_a_remembered_login_is_not_fresh(site: Site) -> None:
    account(site)
    returned = copy_of(log_in(site, remember=True), "remember_token")
    reply = site.post("register-email", {"email": "new@example.com"}, client=returned)
    assert (reply.status_code, reply.get_json()["code"]) == (401, "reauthentication-required")


# Models


def columns_without(*names: str, **more: Callable[[], Any]) -> Callable[[], dict[str, Any]]:
    """What a model of the application's own has, less some of it."""
    made: dict[str, Callable[[], Any]] = {
        "id": lambda: mapped_column(Integer, primary_key=True),
        "username": lambda: mapped_column(String(40), unique=True, nullable=False),
        "email": lambda: mapped_column(String(254), unique=True, nullable=False),
        "password_hash": lambda: mapped_column(String(255), nullable=False),
        "is_verified": lambda: mapped_column(Boolean, default=False, nullable=False),
        "is_active": lambda: mapped_column(Boolean, default=True, nullable=False),
        "security_stamp": lambda: mapped_column(String(32), nullable=False),
        **more,
    }
    return lambda: {name: make() for name, make in made.items() if name not in names}


def verification_id_users() -> Callable[[Any], Any]:
    """The mixin, and a column that is told to the outside in place of the key."""
    return define(UserMixin, columns=lambda: {"public_id": mapped_column(String(20), unique=True)})


MODELS: dict[str, tuple[Callable[[Any], Any], dict[str, Any]]] = {
    "without flask_login's methods, nor last_login": (define(columns=columns_without()), {}),
    "without is_active": (define(columns=columns_without("is_active")), {}),
    "without security_stamp": (define(columns=columns_without("security_stamp")), {}),
    "without is_active, is_verified and security_stamp": (
        define(columns=columns_without("is_active", "is_verified", "security_stamp")),
        {"REGISTER_VERIFICATION_ENABLED": False},
    ),
    "with a key that is not called id": (
        define(
            columns=columns_without("id", number=lambda: mapped_column(Integer, primary_key=True))
        ),
        {},
    ),
    "without a username": (define(EmailUserMixin), {"USER_LOGIN_FIELDS": ["email"]}),
}


@pytest.mark.databases
@each_row("kind", MODELS)
@with_and_without_login_model
def test_users_log_in_and_out_with_a_model(
    kind: str, database: str, new_site: NewSite, login_model: LoginModel
) -> None:
    make, settings = MODELS[kind]
    site = new_site(
        database, define=make, login_model=login_model, LOGIN_RETRIEVE_TOKEN=True, **settings
    )
    account(site)
    account(site, "bob")
    name = "email" if "USER_LOGIN_FIELDS" in settings else "username"
    login = {"username": "bob", "email": "bob@example.com"}[name]
    client = log_in(site, login)
    assert profile(site, client).get_json()[name] == login
    token = token_of(site, login)
    assert profile(site, headers=bearer(token)).get_json()[name] == login
    reply = site.post("logout", {}, client=client)
    assert (reply.status_code, reply.get_json()) == (200, LOGGED_OUT)
    assert not knows(site, client)


@pytest.mark.databases
def test_users_log_in_who_are_known_outside_by_another_column_than_the_key(
    database: str, new_site: NewSite
) -> None:
    site = new_site(
        database, define=verification_id_users(), USER_VERIFICATION_ID_FIELD="public_id"
    )
    account(site, "alice", public_id="2")
    account(site, "bob", public_id="1")
    client = log_in(site, "alice")
    assert knows(site, client)
    assert profile(site, client).get_json()["username"] == "alice"


@pytest.mark.databases
@each_row("kind", ["without flask_login's methods, nor last_login", "without security_stamp"])
@with_and_without_login_model
def test_a_suspended_account_is_refused_with_a_model(
    kind: str, database: str, new_site: NewSite, login_model: LoginModel
) -> None:
    make, settings = MODELS[kind]
    site = new_site(
        database, define=make, login_model=login_model, LOGIN_RETRIEVE_TOKEN=True, **settings
    )
    user = account(site)
    client, token = log_in(site), token_of(site)
    site.change(user, is_active=False)
    reply = site.post("login", {"login": "alice", "password": PASSWORD})
    assert (reply.status_code, reply.get_json()) == (400, LOGIN_INVALID)
    assert not knows(site, client)
    assert not accepts(site, token)


# Go out


def test_a_logout_ends_the_session_is_announced_and_mails_nobody(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database)
    user = account(site)
    client, other = log_in(site), log_in(site)
    with site.hears(*SIGNALS) as heard:
        reply = site.post("logout", {}, client=client)
    assert (reply.status_code, reply.get_json()) == (200, LOGGED_OUT)
    assert [(each["signal"], each["user"].id, each["request"].path) for each in heard] == [
        ("user-logged-out", user.id, "/accounts/logout/")
    ]
    assert not knows(site, client)
    assert knows(site, other)
    assert site.outbox == []
    assert site.user(username="alice").security_stamp == user.security_stamp


#: A request without a body: as the fetch() of a browser sends it, and with a media type or a form.
BODILESS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "empty JSON": {"content_type": "application/json", "data": b""},
    "an empty form": {"content_type": "application/x-www-form-urlencoded", "data": b""},
}


@each_row("kind", BODILESS, ids=str)
@each_row(
    "sent_by",
    [
        {},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://localhost"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://behind-a-proxy.example"},
    ],
    ids=str,
)
def test_a_logout_needs_no_body(site: Site, kind: str, sent_by: dict[str, str]) -> None:
    account(site)
    client = log_in(site)
    reply = client.post("/accounts/logout/", headers=sent_by, **BODILESS[kind])
    assert (reply.status_code, reply.get_json()) == (200, {"detail": "Logout successful"})
    assert not knows(site, client)


@each_row("kind", BODILESS, ids=str)
@each_row(
    "sent_by",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost.evil.example"},
    ],
    ids=str,
)
def test_another_site_logs_out_nobody(site: Site, kind: str, sent_by: dict[str, str]) -> None:
    account(site)
    client = log_in(site)
    reply = client.post("/accounts/logout/", headers=sent_by, **BODILESS[kind])
    assert (reply.status_code, reply.get_json()["code"]) == (403, "forbidden")
    assert knows(site, client)
    reply = client.post("/accounts/logout/", headers=sent_by, json={})
    assert reply.status_code == 200  # the browser has asked, and CORS has allowed it


def test_a_body_in_chunks_is_a_body(site: Site) -> None:
    account(site)
    client = log_in(site)
    reply = client.post(
        "/accounts/logout/",
        input_stream=BytesIO(b"everywhere=1"),
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
        content_type="text/plain",
    )
    assert (reply.status_code, reply.get_json()["code"]) == (415, "unsupported-media-type")
    assert knows(site, client)


def test_a_body_that_only_ends_is_a_body(site: Site) -> None:
    """HTTP/2 has neither a length nor a transfer encoding."""
    account(site)
    client, other = log_in(site), log_in(site)
    reply = client.post(
        "/accounts/logout/",
        input_stream=BytesIO(b'{"everywhere": true}'),
        environ_overrides={"wsgi.input_terminated": True},
        content_type="application/json",
    )
    assert reply.status_code == 200
    assert not knows(site, other)


@each_row("body", [{}, {"revoke_token": True}, {"everywhere": True}], ids=repr)
def test_who_is_not_logged_in_cannot_log_out(site: Site, body: dict[str, bool]) -> None:
    with site.hears(*SIGNALS) as heard:
        reply = site.post("logout", body)
    assert (reply.status_code, reply.get_json()) == (401, NOT_AUTHENTICATED)
    assert reply.headers["WWW-Authenticate"] == "Bearer"
    assert heard == []


@each_row("name", ["revoke_token", "everywhere"])
@each_row("value", ["perhaps", [], 7, None], ids=repr)
def test_a_logout_that_is_not_understood_ends_nothing(site: Site, name: str, value: Any) -> None:
    account(site)
    client = log_in(site)
    reply = site.post("logout", {name: value}, client=client)
    assert (reply.status_code, reply.get_json().keys()) == (400, {name})
    assert knows(site, client)


@with_and_without_login_model
def test_revoke_token_by_a_token_ends_it(
    database: str, new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(database, login_model=login_model, LOGIN_RETRIEVE_TOKEN=True)
    account(site)
    token = token_of(site)
    reply = site.post("logout", {"revoke_token": True}, headers=bearer(token))
    assert (reply.status_code, reply.get_json()) == (200, LOGGED_OUT)
    assert not accepts(site, token)


@pytest.mark.databases
def test_revoke_token_by_a_token_leaves_the_others_where_tokens_are_rows(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database, login_model=define_login, LOGIN_RETRIEVE_TOKEN=True)
    account(site)
    account(site, "bob")
    token, other, bobs, client = token_of(site), token_of(site), token_of(site, "bob"), log_in(site)
    site.post("logout", {"revoke_token": True}, headers=bearer(token))
    assert [accepts(site, each) for each in (token, other, bobs)] == [False, True, True]
    assert knows(site, client)


@with_and_without_login_model
def test_revoke_token_by_a_session_ends_all_tokens_of_that_user(
    database: str, new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(database, login_model=login_model, LOGIN_RETRIEVE_TOKEN=True)
    account(site)
    account(site, "bob")
    tokens, bobs, client, bob = (
        [token_of(site), token_of(site)],
        token_of(site, "bob"),
        log_in(site),
        log_in(site, "bob"),
    )
    assert site.post("logout", {"revoke_token": True}, client=client).status_code == 200
    assert [accepts(site, each) for each in (*tokens, bobs)] == [False, False, True]
    assert not knows(site, client)
    assert knows(site, bob)


@each_row("tokens", [True, False], ids=["tokens on", "tokens off"])
@with_and_without_login_model
def test_revoke_token_without_a_token_is_no_error(
    new_site: NewSite, login_model: LoginModel, tokens: bool
) -> None:
    site = new_site(login_model=login_model, LOGIN_RETRIEVE_TOKEN=tokens)
    account(site)
    client = log_in(site)
    assert site.post("logout", {"revoke_token": True}, client=client).status_code == 200
    assert not knows(site, client)


@pytest.mark.databases
@with_and_without_login_model
@each_row("by", ["session", "token"])
def test_a_logout_everywhere_ends_every_session_and_token_of_that_user(
    by: str, database: str, new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(database, login_model=login_model, LOGIN_RETRIEVE_TOKEN=True)
    user = account(site)
    account(site, "bob")
    client, other, bob = log_in(site), log_in(site, remember=True), log_in(site, "bob")
    token, bobs = token_of(site), token_of(site, "bob")
    how: dict[str, Any] = {"client": client} if by == "session" else {"headers": bearer(token)}
    with site.hears(*SIGNALS) as heard:
        assert site.post("logout", {"everywhere": True}, **how).status_code == 200
    assert [each["signal"] for each in heard] == ["user-logged-out"]
    assert [knows(site, each) for each in (client, other, bob)] == [False, False, True]
    assert [accepts(site, each) for each in (token, bobs)] == [False, True]
    assert site.user(username="alice").security_stamp != user.security_stamp
    if site.Login:
        assert {row.user_id for row in logins(site)} == {str(site.user(username="bob").id)}
    assert knows(site, log_in(site))


def test_a_logout_everywhere_kills_a_link_that_was_mailed_before(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database)
    account(site)
    client = log_in(site)
    site.post("send-reset-password-link", {"login": "alice"})
    link = site.link()
    site.post("logout", {"everywhere": True}, client=client)
    reply = site.post("reset-password", {**link, "password": "quite another battery of staples"})
    assert (reply.status_code, reply.get_json()["code"]) == (400, "signature-invalid")


def test_a_logout_everywhere_needs_no_stamp_where_there_is_a_login_model(
    database: str, new_site: NewSite
) -> None:
    make, settings = MODELS["without security_stamp"]
    site = new_site(
        database, define=make, login_model=define_login, LOGIN_RETRIEVE_TOKEN=True, **settings
    )
    account(site)
    client, other, token = log_in(site), log_in(site), token_of(site)
    assert site.post("logout", {"everywhere": True}, client=client).status_code == 200
    assert [knows(site, client), knows(site, other), accepts(site, token)] == [False, False, False]


def test_a_logout_everywhere_that_cannot_be_is_told_and_ends_nothing(new_site: NewSite) -> None:
    make, settings = MODELS["without security_stamp"]
    site = new_site(define=make, **settings)
    account(site)
    client = log_in(site)
    with site.hears(*SIGNALS) as heard:
        reply = site.post("logout", {"everywhere": True}, client=client)
    assert reply.status_code == 400
    assert reply.get_json() == {"everywhere": ["This application cannot log out other sessions."]}
    assert heard == []
    assert knows(site, client)
    assert site.post("logout", {}, client=client).status_code == 200


def test_a_token_that_cannot_be_revoked_is_not_said_to_be(new_site: NewSite) -> None:
    make, settings = MODELS["without security_stamp"]
    site = new_site(define=make, LOGIN_RETRIEVE_TOKEN=True, **settings)
    account(site)
    token = token_of(site)
    reply = site.post("logout", {"revoke_token": True}, headers=bearer(token))
    assert reply.status_code == 400
    assert reply.get_json().keys() == {"revoke_token"}


def test_where_there_are_no_tokens_there_is_none_that_cannot_be_revoked(new_site: NewSite) -> None:
    make, settings = MODELS["without security_stamp"]
    site = new_site(define=make, **settings)
    account(site)
    client = log_in(site)
    reply = site.post("logout", {"revoke_token": True}, client=client)
    assert (reply.status_code, reply.get_json()) == (200, LOGGED_OUT)
    assert not knows(site, client)


def test_a_logout_ends_the_token_of_the_request_where_tokens_are_rows(
    new_site: NewSite, database: str
) -> None:
    site = new_site(database, login_model=define_login, LOGIN_RETRIEVE_TOKEN=True)
    account(site)
    token = token_of(site)
    assert site.post("logout", {}, headers=bearer(token)).status_code == 200
    assert not accepts(site, token)


# Cross-site requests, headers


@each_row(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None]
)
@each_row("endpoint", ["login", "logout"])
def test_a_form_on_another_site_can_send_no(
    endpoint: str, content_type: str | None, site: Site
) -> None:
    account(site)
    client = log_in(site) if endpoint == "logout" else site.app.test_client()
    body = f'{{"login": "alice", "password": "{PASSWORD}", "everywhere": true}}'
    reply = site.post(endpoint, client=client, data=body, content_type=content_type)
    assert reply.status_code == 415
    assert knows(site, client) == (endpoint == "logout")


@each_row(
    ("endpoint", "body", "status"),
    [
        ("login", {"login": "alice", "password": PASSWORD}, 200),
        ("login", {"login": "alice", "password": "wrong"}, 400),
        ("login", {"login": "pending", "password": PASSWORD}, 400),
        ("logout", {}, 200),
        ("logout", {"everywhere": True}, 200),
    ],
)
def test_no_cache_keeps_the_reply_to(endpoint: str, body: Any, status: int, site: Site) -> None:
    account(site)
    account(site, "pending", verified=False)
    client = log_in(site) if endpoint == "logout" else site.app.test_client()
    reply = site.post(endpoint, body, client=client)
    assert reply.status_code == status
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


@each_row("endpoint", ["login", "logout"])
@each_row("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_other_methods_are_refused(site: Site, endpoint: str, method: str) -> None:
    reply = site.app.test_client().open(f"/accounts/{endpoint}/", method=method)
    assert (reply.status_code, reply.get_json()["code"]) == (405, "method-not-allowed")
    assert set(reply.headers["Allow"].replace(" ", "").split(",")) == {"OPTIONS", "POST"}


@each_row("endpoint", ["login", "logout"])
def test_the_trailing_slash_may_be_left_out(site: Site, endpoint: str) -> None:
    account(site)
    client = log_in(site) if endpoint == "logout" else site.app.test_client()
    body = {"login": "alice", "password": PASSWORD}
    assert client.post(f"/accounts/{endpoint}", json=body).status_code == 200


# A verification logs in only where a setting says so

AUTO_LOGIN = {"REGISTER_VERIFICATION_ONE_TIME_USE": True, "REGISTER_VERIFICATION_AUTO_LOGIN": True}


@each_row("once", [True, False], ids=["by a link that works once", "by a link that works again"])
@with_and_without_login_model
def test_a_verification_logs_nobody_in(
    new_site: NewSite, login_model: LoginModel, once: bool
) -> None:
    site = new_site(
        login_model=login_model, LOGIN_RETRIEVE_TOKEN=True, REGISTER_VERIFICATION_ONE_TIME_USE=once
    )
    site.register()
    client = site.app.test_client()
    with site.hears(*SIGNALS) as heard:
        reply = site.post("verify-registration", site.link(), client=client)
    assert (reply.status_code, reply.get_json()) == (200, {"detail": "User verified successfully"})
    assert "Set-Cookie" not in reply.headers
    assert not knows(site, client)
    assert [each["signal"] for each in heard] == ["user-activated"]
    assert site.user(username="alice").last_login is None


@with_and_without_login_model
def test_a_verification_logs_in_where_a_setting_says_so(
    database: str, new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(database, login_model=login_model, LOGIN_RETRIEVE_TOKEN=True, **AUTO_LOGIN)
    site.register()
    client = site.app.test_client()
    with site.hears(*SIGNALS) as heard:
        reply = site.post("verify-registration", site.link(), client=client)
    assert reply.status_code == 200
    assert reply.get_json().keys() == {"detail", "token"}
    assert [(each["signal"], each["user"].username) for each in heard] == [
        ("user-activated", "alice"),
        ("user-logged-in", "alice"),
    ]
    assert knows(site, client)
    assert accepts(site, reply.get_json()["token"])
    thief = site.app.test_client()
    assert site.post("verify-registration", site.link(), client=thief).status_code == 400
    assert not knows(site, thief)


def test_a_verification_that_logs_in_writes_the_time_of_the_login(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database, **AUTO_LOGIN)
    site.register()
    site.verify()
    assert just_now(site.user(username="alice").last_login)


@each_row("by", ["session", "token"])
@with_and_without_login_model
def test_who_came_by_a_verification_has_not_shown_a_password(
    new_site: NewSite, login_model: LoginModel, by: str
) -> None:
    site = new_site(login_model=login_model, LOGIN_RETRIEVE_TOKEN=True, **AUTO_LOGIN)
    site.register()
    client = site.app.test_client()
    token = site.post("verify-registration", site.link(), client=client).get_json()["token"]
    how: dict[str, Any] = {"client": client} if by == "session" else {"headers": bearer(token)}
    reply = site.post("register-email", {"email": "new@example.com"}, **how)
    assert (reply.status_code, reply.get_json()["code"]) == (401, "reauthentication-required")
    assert "insufficient_user_authentication" in reply.headers["WWW-Authenticate"]
    reply = site.post("register-email", {"email": "new@example.com", "password": PASSWORD}, **how)
    assert reply.status_code == 200


@each_row("by", ["session", "token"])
@each_row(("seconds", "status"), [(-1, 401), (0, 200), (15 * 60, 200), (15 * 60 + 1, 401)])
def test_a_login_with_a_password_is_fresh_for_a_quarter_of_an_hour(
    new_site: NewSite, clock: Clock, by: str, seconds: int, status: int
) -> None:
    site = new_site(LOGIN_RETRIEVE_TOKEN=True)
    account(site)
    how: dict[str, Any] = (
        {"client": log_in(site)} if by == "session" else {"headers": bearer(token_of(site))}
    )
    clock.advance(seconds)
    assert site.post("register-email", {"email": "new@example.com"}, **how).status_code == status


# Applications


def test_two_applications_know_their_own_users_only(new_site: NewSite) -> None:
    first, second = new_site(), new_site()
    account(first)
    account(second)
    client = log_in(first)
    thief = second.app.test_client()
    cookie = client.get_cookie("session")
    assert cookie is not None
    thief.set_cookie("session", cookie.value)
    assert not knows(second, thief)  # the same key and the same id, but another security stamp


def test_a_hasher_of_the_default_parameters_is_used_where_none_is_set(new_site: NewSite) -> None:
    site = new_site(PASSWORD_HASHER=None)
    account(site)
    site.change(site.user(username="alice"), password_hash=CHEAP_HASHER.hash(PASSWORD))
    log_in(site)
    assert site.user(username="alice").password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_nothing_of_a_login_is_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    account(site)
    log_in(site)
    site.post("login", {"login": "alice", "password": PASSWORD + "!"})
    assert PASSWORD not in caplog.text
