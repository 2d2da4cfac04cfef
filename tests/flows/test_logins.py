"""See where one is logged in, and log out there."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import flask_login
import pytest
from flask.testing import FlaskClient
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from flask_registration import LoginMixin, actions

from ..faults.database import Faults, lost
from ..people import (
    NOT_AUTHENTICATED,
    accepts,
    account,
    bearer,
    change_login,
    define_guid_user,
    define_login,
    define_login_with_foreign_key,
    define_login_with_guid_foreign_key,
    define_login_with_uuid_foreign_key,
    define_uuid_user,
    knows,
    log_in,
    logins,
    token_of,
)
from ..site import PASSWORD, Site, define_user
from ..tables import each_row

NewSite = Callable[..., Site]

TOKENS = {"LOGIN_RETRIEVE_TOKEN": True}
NOT_FOUND = {"detail": "This session does not exist.", "code": "not-found"}

KINDS: dict[str, tuple[Any, Any]] = {
    "numbers as text": (define_user, define_login),
    "a foreign key": (define_user, define_login_with_foreign_key),
    "UUIDs as text": (define_uuid_user, define_login),
    "a foreign key that is a UUID": (define_uuid_user, define_login_with_uuid_foreign_key),
    "a foreign key of an own type": (define_guid_user, define_login_with_guid_foreign_key),
}


@pytest.fixture(params=KINDS)
def peopled(request: pytest.FixtureRequest, database: str, new_site: NewSite) -> Site:
    """Alice and Bob, with each kind of login model."""
    user, login = KINDS[request.param]
    site = new_site(database, define=user, login_model=login, **TOKENS)
    for name in (
        "alice",
        "bob",
    ):  # alike in all but their number, which alone must tell their logins apart
        account(site, name, security_stamp="5" * 32)
    return site


@pytest.fixture
def alone(database: str, new_site: NewSite) -> Site:
    site = new_site(database, login_model=define_login)
    account(site)
    return site


def listed(client: FlaskClient, **options: Any) -> list[dict[str, Any]]:
    reply = client.get("/accounts/logins/", **options)
    assert reply.status_code == 200
    found = reply.get_json()
    assert isinstance(found, list)
    return found


# List


@pytest.mark.databases
def test_the_list_shows_one_s_own_logins_and_which_one_asks(peopled: Site) -> None:
    agent = {"User-Agent": "a browser"}
    client = peopled.app.test_client()
    reply = peopled.post(
        "login",
        {"login": "alice", "password": PASSWORD},
        client=client,
        headers=agent,
        environ_base={"REMOTE_ADDR": "2001:db8::1"},
    )
    token = reply.get_json()["token"]
    bob = log_in(peopled, "bob")
    mine = listed(client, headers=agent)
    assert {(each["kind"], each["current"]) for each in mine} == {
        ("session", True),
        ("token", False),
    }
    for each in mine:
        assert each.keys() == {
            "id", "kind", "ip_address", "user_agent", "created_at", "last_used_at",
            "expires_at", "current", "methods",
        }  # fmt: skip
        assert each["methods"] == ["pwd"]
        assert (each["ip_address"], each["user_agent"]) == ("2001:db8::1", "a browser")
    by_token = listed(peopled.app.test_client(), headers=bearer(token))
    assert {(each["kind"], each["current"]) for each in by_token} == {
        ("session", False),
        ("token", True),
    }
    assert {each["id"] for each in by_token} == {each["id"] for each in mine}
    assert {each["id"] for each in listed(bob)}.isdisjoint(each["id"] for each in mine)
    text = client.get("/accounts/logins/", headers=agent).text
    assert token not in text
    assert not any(row.digest in text or row.stamp_mark in text for row in logins(peopled))


@pytest.mark.databases
def test_its_times_have_a_zone(alone: Site) -> None:
    client = log_in(alone)
    (session,) = [each for each in listed(client) if each["current"]]
    times = {
        name: datetime.fromisoformat(session[name])
        for name in ("created_at", "last_used_at", "expires_at")
    }
    assert all(time.utcoffset() == timedelta(0) for time in times.values())
    now = datetime.now(UTC)
    assert abs(now - times["created_at"]) < timedelta(minutes=5)
    assert times["created_at"] == times["last_used_at"]
    assert times["expires_at"] - times["created_at"] == alone.app.permanent_session_lifetime


def test_its_times_are_utc_where_the_database_is_somewhere_else(
    postgresql_url: str, new_site: NewSite
) -> None:
    site = new_site(
        f"{postgresql_url}?options=-c%20timezone%3DAsia/Kolkata", login_model=define_login
    )
    account(site)
    (session,) = listed(log_in(site))
    assert {session[name][-6:] for name in ("created_at", "last_used_at", "expires_at")} == {
        "+00:00"
    }


@pytest.mark.databases
def test_the_one_that_was_used_last_comes_first(alone: Site) -> None:
    clients = [log_in(alone) for _ in range(3)]
    rows = logins(alone)
    now = datetime.now(UTC)
    for row, minutes in zip(rows, (30, 10, 20), strict=True):
        change_login(alone, row, last_used_at=now - timedelta(minutes=minutes))
    change_login(alone, rows[0], last_used_at=now)
    assert [each["id"] for each in listed(clients[0])] == [rows[0].id, rows[1].id, rows[2].id]


@pytest.mark.databases
def test_a_login_that_is_dead_is_not_on_the_list(alone: Site) -> None:
    client = log_in(alone)
    log_in(alone)
    log_in(alone)
    first, second, third = logins(alone)
    past = datetime.now(UTC) - timedelta(seconds=5)
    change_login(alone, second, expires_at=past)
    change_login(alone, third, stamp_mark="0" * 32)
    assert [each["id"] for each in listed(client)] == [first.id]


@each_row("agent", ["", None], ids=["an empty agent", "no agent"])
def test_a_client_that_says_nothing_of_itself_has(alone: Site, agent: str | None) -> None:
    client = alone.app.test_client()
    headers = {} if agent is None else {"User-Agent": agent}
    reply = client.post(
        "/accounts/login/",
        json={"login": "alice", "password": PASSWORD},
        headers=headers,
        environ_base={"HTTP_USER_AGENT": ""} if agent is None else {},
    )
    assert reply.status_code == 200
    (row,) = logins(alone)
    assert row.user_agent is None


@pytest.mark.databases
@each_row(
    ("agent", "kept"),
    [
        pytest.param("x" * 5000, "x" * 255, id="5,000 characters"),
        pytest.param("a\x01b\x1b[31mc\x7f\x85d", "ab[31mcd", id="control characters"),
        pytest.param("a\tb", "ab", id="a tab"),
        pytest.param("\x01\x02", None, id="nothing but control characters"),
        pytest.param("<script>alert(1)</script>", "<script>alert(1)</script>", id="markup"),
        pytest.param("{{7*7}}%s%n' OR 1=1 --", "{{7*7}}%s%n' OR 1=1 --", id="templates and SQL"),
        pytest.param("👪".encode().decode("latin-1"), None, id="bytes of UTF-8"),
        pytest.param("\xff\xfe\xed\xa0\x80", None, id="bytes that are no UTF-8"),
    ],
)
def test_an_odd_user_agent_does_no_harm(alone: Site, agent: str, kept: str | None) -> None:
    client = alone.app.test_client()
    reply = client.post(
        "/accounts/login/",
        json={"login": "alice", "password": PASSWORD},
        environ_base={"HTTP_USER_AGENT": agent},
    )
    assert reply.status_code == 200
    (row,) = logins(alone)
    if kept is not None or agent.startswith("\x01"):
        assert row.user_agent == kept
    assert row.user_agent is None or (len(row.user_agent) <= 255 and row.user_agent.isprintable())
    assert len(client.get("/accounts/logins/").get_json()) == 1


@pytest.mark.databases
@each_row(
    "address", ["", "2001:db8:1234:5678:9abc:def0:1234:5678%a-very-long-zone", "unix:", "\x01"]
)
def test_an_odd_address_does_no_harm(alone: Site, address: str) -> None:
    reply = alone.post(
        "login", {"login": "alice", "password": PASSWORD}, environ_base={"REMOTE_ADDR": address}
    )
    assert reply.status_code == 200
    (row,) = logins(alone)
    assert row.ip_address in (None, address.partition("%")[0])


@each_row(
    ("address", "shown"),
    [
        ("203.0.113.7:50001", "203.0.113.7"),
        ("[2001:db8::7]:50001", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[fe80::7%eth0]:50001", "fe80::7"),
        ("fe80::7%eth0", "fe80::7"),
    ],
)
def test_a_port_or_a_zone_is_no_part_of_the_address(
    alone: Site, security_log: list[Any], address: str, shown: str
) -> None:
    """Some proxies add the port to ``X-Forwarded-For``, and ``ProxyFix`` keeps it."""
    alone.post(
        "login", {"login": "alice", "password": PASSWORD}, environ_base={"REMOTE_ADDR": address}
    )
    (row,) = logins(alone)
    assert row.ip_address == shown
    assert {entry.client for entry in security_log} == {shown}


def test_a_forged_header_is_not_taken_for_the_address(alone: Site) -> None:
    alone.post(
        "login", {"login": "alice", "password": PASSWORD}, headers={"X-Forwarded-For": "192.0.2.66"}
    )
    (row,) = logins(alone)
    assert row.ip_address == "127.0.0.1"


# The last use


@pytest.mark.databases
@each_row(("seconds", "written"), [(50, False), (70, True), (86400, True)])
@each_row("by", ["session", "token"])
def test_the_time_of_the_last_use_is_written_once_a_minute(
    database: str, new_site: NewSite, by: str, seconds: int, written: bool
) -> None:
    by_session = by == "session"
    settings = {"LOGIN_AUTHENTICATE_SESSION": by_session, "LOGIN_RETRIEVE_TOKEN": not by_session}
    site = new_site(database, login_model=define_login, **settings)
    account(site)
    how: dict[str, Any] = (
        {"client": log_in(site)} if by_session else {"headers": bearer(token_of(site))}
    )
    (row,) = logins(site)
    now = datetime.now(UTC).replace(microsecond=0)
    change_login(site, row, last_used_at=now - timedelta(seconds=seconds))
    assert knows(site, **how)
    (after,) = logins(site)
    used = (
        after.last_used_at if after.last_used_at.tzinfo else after.last_used_at.replace(tzinfo=UTC)
    )
    assert used == (now - timedelta(seconds=seconds)) or written
    assert (used >= now) == written
    assert (after.expires_at, after.created_at, after.digest) == (
        row.expires_at,
        row.created_at,
        row.digest,
    )


def test_the_time_of_the_last_use_is_written_where_the_request_fails(alone: Site) -> None:
    client = log_in(alone)
    (row,) = logins(alone)
    now = datetime.now(UTC).replace(microsecond=0)
    change_login(alone, row, last_used_at=now - timedelta(hours=1))
    assert client.patch("/accounts/profile/", json={"username": "a b"}).status_code == 400
    (after,) = logins(alone)
    assert after.last_used_at.replace(tzinfo=UTC) >= now


#: One connection for all, which nobody waits for.
ONE = {"SQLALCHEMY_ENGINE_OPTIONS": {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0}}

USES: dict[str, tuple[str, str, Any]] = {
    "reads": ("GET", "profile", None),
    "writes": ("PATCH", "profile", {"first_name": "Al"}),
    "is refused": ("POST", "change-password", {"old_password": "wrong"}),
}


@pytest.mark.databases
@each_row("by", ["session", "token"])
@each_row("what", USES)
def test_the_time_of_the_last_use_takes_no_second_connection(
    what: str, by: str, database: str, new_site: NewSite
) -> None:
    if database.startswith("sqlite"):
        database += "?timeout=0"  # nor does it wait for a lock
    site = new_site(database, login_model=define_login, config=ONE, **TOKENS)
    account(site)
    client, token = log_in(site), token_of(site)
    now = datetime.now(UTC).replace(microsecond=0)
    for row in logins(site):
        change_login(site, row, last_used_at=now - timedelta(hours=1))
    method, path, body = USES[what]
    client, headers = (client, {}) if by == "session" else (site.app.test_client(), bearer(token))
    assert client.open(
        f"/accounts/{path}/", method=method, json=body, headers=headers
    ).status_code in (200, 400)
    used = [row.kind for row in logins(site) if row.last_used_at.replace(tzinfo=UTC) >= now]
    assert used == [by]


@pytest.mark.databases
def test_where_the_database_fails_it_is_not_asked_to_write_the_time_of_the_last_use(
    server_database: str, new_site: NewSite
) -> None:
    site = new_site(server_database, login_model=define_login)
    account(site)
    client = log_in(site)
    (row,) = logins(site)
    change_login(site, row, last_used_at=datetime.now(UTC) - timedelta(hours=1))
    faults = Faults(site, lost)
    faults.arm(3)
    with site.statements() as statements:
        assert client.patch("/accounts/profile/", json={"first_name": "Al"}).status_code == 503
    assert [statement.split()[0] for statement in statements] == ["SELECT", "SELECT", "UPDATE"]
    assert statements[-1].startswith("UPDATE users")


def test_a_view_that_has_written_something_may_ask_who_is_there(
    database: str, new_site: NewSite
) -> None:
    site = new_site(
        database,
        login_model=define_login,
        config={
            "SQLALCHEMY_ENGINE_OPTIONS": {"connect_args": {"timeout": 0}}
            if "sqlite" in database
            else {}
        },
    )

    @site.app.post("/visit")
    def visit() -> str:
        site.db.session.execute(site.db.update(site.User).values(first_name="visited"))
        name = str(flask_login.current_user.get_id())
        site.db.session.commit()
        return name

    user = account(site)
    client = log_in(site)
    (row,) = logins(site)
    change_login(site, row, last_used_at=datetime.now(UTC) - timedelta(hours=1))
    assert client.post("/visit").text == str(user.id)
    assert site.user(username="alice").first_name == "visited"


# Revoke


@pytest.mark.databases
def test_one_ends_one_s_own_logins_one_by_one(peopled: Site) -> None:
    client, other, token, bob = (
        log_in(peopled),
        log_in(peopled),
        token_of(peopled),
        log_in(peopled, "bob"),
    )
    current = next(each["id"] for each in listed(client) if each["current"])
    others = next(each["id"] for each in listed(other) if each["current"])
    tokens = next(
        each["id"]
        for each in listed(peopled.app.test_client(), headers=bearer(token))
        if each["current"]
    )
    reply = client.delete(f"/accounts/logins/{others}/")
    assert (reply.status_code, reply.get_data()) == (204, b"")
    assert [knows(peopled, client), knows(peopled, other), accepts(peopled, token)] == [
        True,
        False,
        True,
    ]
    assert client.delete(f"/accounts/logins/{tokens}").status_code == 204
    assert [knows(peopled, client), accepts(peopled, token), knows(peopled, bob)] == [
        True,
        False,
        True,
    ]
    assert client.delete(f"/accounts/logins/{current}/").status_code == 204
    assert [knows(peopled, client), knows(peopled, bob)] == [False, True]


def test_nobody_ends_the_logins_of_others(peopled: Site) -> None:
    client, bob, token = log_in(peopled), log_in(peopled, "bob"), token_of(peopled, "bob")
    for login in listed(bob):
        reply = client.delete(f"/accounts/logins/{login['id']}/")
        assert (reply.status_code, reply.get_json()) == (404, NOT_FOUND)
    assert knows(peopled, bob)
    assert accepts(peopled, token)


def define_login_with_text_id(db: SQLAlchemy) -> type[Any]:
    class Login(LoginMixin, db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
        __tablename__ = "logins"
        id: Mapped[str] = mapped_column(
            String(36), primary_key=True, default=lambda: str(uuid.uuid4())
        )  # type: ignore[assignment]

    return Login


@pytest.mark.databases
@each_row("text", ["%00", "a%00b", "%ED%A0%80", "x" * 256, "é", "%F0%9F%91%AA"])
def test_there_is_no_login_of_the_text_where_they_have_texts(
    text: str, database: str, new_site: NewSite
) -> None:
    site = new_site(database, login_model=define_login_with_text_id)
    account(site)
    client = log_in(site)
    reply = client.delete(f"/accounts/logins/{text}/")
    assert (reply.status_code, reply.get_json()) == (404, NOT_FOUND)
    assert client.delete(f"/accounts/logins/{listed(client)[0]['id']}/").status_code == 204


SILLY = [
    "0",
    "-1",
    "4711",
    str(2**31),
    str(2**63 - 1),
    str(2**63),
    str(10**30),
    "1" * 300,
    "abc",
    "1.9",
    "1e0",
    "0x1",
]
SILLY += [
    "１",
    "true",
    "%00",
    "1%00",
    "%20",
    "1%20",
    "+1",
    "%F0%9F%91%AA",
    "%ff",
    "'",
    "..%2f1",
    "*",
    "null",
]


@pytest.mark.databases
@each_row("number", SILLY, ids=lambda number: repr(number[:20]))
def test_there_is_no_login_of_the_number(alone: Site, number: str) -> None:
    client = log_in(alone)
    reply = client.delete(f"/accounts/logins/{number}/")
    assert reply.status_code == 404
    assert len(logins(alone)) == 1
    assert knows(alone, client)


def test_a_login_that_was_ended_already_is_not_there(alone: Site) -> None:
    client = log_in(alone)
    log_in(alone)
    other = next(each["id"] for each in listed(client) if not each["current"])
    assert client.delete(f"/accounts/logins/{other}/").status_code == 204
    assert client.delete(f"/accounts/logins/{other}/").status_code == 404


@each_row(
    ("method", "path"), [("GET", "logins/"), ("DELETE", "logins/1/"), ("DELETE", "logins/abc/")]
)
def test_who_is_not_logged_in_sees_and_ends_nothing(alone: Site, method: str, path: str) -> None:
    log_in(alone)
    reply = alone.app.test_client().open(f"/accounts/{path}", method=method)
    assert (reply.status_code, reply.get_json()) == (401, NOT_AUTHENTICATED)
    assert reply.headers["WWW-Authenticate"] == "Bearer"
    assert len(logins(alone)) == 1


@each_row(
    ("method", "path", "allowed"),
    [
        ("POST", "logins/", {"GET", "HEAD", "OPTIONS"}),
        ("DELETE", "logins/", {"GET", "HEAD", "OPTIONS"}),
        ("GET", "logins/1/", {"DELETE", "OPTIONS"}),
        ("POST", "logins/1/", {"DELETE", "OPTIONS"}),
    ],
)
def test_other_methods_are_refused(alone: Site, method: str, path: str, allowed: set[str]) -> None:
    reply = log_in(alone).open(f"/accounts/{path}", method=method)
    assert (reply.status_code, reply.get_json()["code"]) == (405, "method-not-allowed")
    assert set(reply.headers["Allow"].replace(" ", "").split(",")) == allowed
    assert len(logins(alone)) == 1


@each_row(("method", "path"), [("GET", "logins/"), ("DELETE", "logins/1/"), ("POST", "logins/")])
@each_row("known", [True, False], ids=["somebody", "nobody"])
def test_there_is_no_such_endpoint_without_a_login_model(
    site: Site, method: str, path: str, known: bool
) -> None:
    account(site)
    client = log_in(site) if known else site.app.test_client()
    assert client.open(f"/accounts/{path}", method=method).status_code == 404


# How the user logged in


def test_the_list_shows_how_the_user_logged_in(database: str, new_site: NewSite) -> None:
    site = new_site(
        database,
        login_model=define_login,
        REGISTER_VERIFICATION_ONE_TIME_USE=True,
        REGISTER_VERIFICATION_AUTO_LOGIN=True,
    )

    @site.app.post("/log-in/<how>")
    def log_in_by_other_means(how: str) -> str:
        user = site.db.session.scalars(site.db.select(site.User)).one()
        if how == "foreign":
            flask_login.login_user(user)
        else:
            actions.log_in(user, methods=["hwk", "user"])
        return ""

    def methods() -> list[str]:
        (login,) = (each for each in listed(client) if each["current"])
        found = login["methods"]
        assert isinstance(found, list)
        return found

    client = site.app.test_client()
    site.register()
    assert site.post("verify-registration", site.link(), client=client).status_code == 200
    assert methods() == ["mail"]
    new = "quite another battery of staples"
    body = {"old_password": PASSWORD, "password": new, "password_confirm": new}
    assert site.post("change-password", body, client=client).status_code == 200
    assert methods() == ["mail"]
    client.post("/log-in/passkey")
    assert methods() == ["hwk", "user"]
    client.post("/log-in/foreign")
    assert methods() == []


# The model


@pytest.mark.databases
def test_a_user_with_logins_behind_a_foreign_key_can_be_deleted(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database, login_model=define_login_with_foreign_key, **TOKENS)
    account(site)
    client = log_in(site)
    log_in(site)
    assert client.delete("/accounts/profile/", json={"password": PASSWORD}).status_code == 204
    assert site.users() == []
    assert logins(site) == []


def test_the_registration_object_takes_the_login_model_too(new_site: NewSite) -> None:
    site = new_site(login_model=define_login)
    account(site)
    assert len(listed(log_in(site))) == 1


@pytest.mark.databases
def test_there_may_be_more_logins_than_an_int_counts(database: str, new_site: NewSite) -> None:
    site = new_site(database, login_model=define_login)
    account(site)
    client = log_in(site)
    log_in(site)
    change_login(site, logins(site)[1], id=2**31 + 1)
    assert client.delete(f"/accounts/logins/{2**31 + 1}/").status_code == 204
    assert len(logins(site)) == 1
