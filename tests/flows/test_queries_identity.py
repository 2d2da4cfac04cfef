"""How many SQL statements a login and whoever is logged in take: numbers that change for a reason, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from werkzeug.security import generate_password_hash

from ..people import account, bearer, change_login, define_login, log_in, logins, profile, token_of
from ..site import PASSWORD, Site
from ..tables import each_row

pytestmark = pytest.mark.databases

NewSite = Callable[..., Site]

WITHOUT, WITH = "without a login model", "with a login model"


def kinds(statements: list[str]) -> list[str]:
    return [statement.split()[0] for statement in statements]


@pytest.fixture(params=[WITHOUT, WITH])
def how(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def peopled(database: str, new_site: NewSite, how: str) -> Site:
    site = new_site(database, login_model=define_login if how == WITH else None, LOGIN_RETRIEVE_TOKEN=True)
    for name in ("alice", "banned", "pending"):
        user = account(site, name, verified=name != "pending")
        if name == "banned":
            site.change(user, is_active=False)
    return site


def test_a_login_takes(peopled: Site, how: str) -> None:
    with peopled.statements() as statements:
        log_in(peopled)
    rows = {WITHOUT: [], WITH: ["INSERT", "INSERT"]}
    assert kinds(statements) == ["SELECT", "UPDATE", *rows[how]]
    written = statements[1].partition("SET")[2].partition("WHERE")[0]
    assert (written.count("="), "last_login" in written) == (1, True)


@each_row(
    ("login", "password", "expected"),
    [
        pytest.param("nobody", PASSWORD, ["SELECT"], id="of nobody"),
        pytest.param("alice", "wrong", ["SELECT"], id="with a wrong password"),
        pytest.param("pending", PASSWORD, ["SELECT"], id="of a pending account"),
        pytest.param("a b", PASSWORD, [], id="of what can be no name"),
    ],
)
def test_a_login_that_is_refused_takes(peopled: Site, login: str, password: str, expected: list[str]) -> None:
    with peopled.statements() as statements:
        assert peopled.post("login", {"login": login, "password": password}).status_code == 400
    assert kinds(statements) == expected


def test_the_login_of_a_suspended_account_takes_no_more_than_another_with_a_wrong_password(peopled: Site) -> None:
    with peopled.statements() as statements:
        assert peopled.post("login", {"login": "banned", "password": PASSWORD}).status_code == 400
    assert kinds(statements)[:1] == ["SELECT"]
    assert kinds(statements)[1:] in ([], ["UPDATE"])


def test_a_login_that_upgrades_a_hash_takes_one_more(peopled: Site, how: str) -> None:
    peopled.change(peopled.user(username="alice"), password_hash=generate_password_hash(PASSWORD, "pbkdf2:sha256:1000"))
    with peopled.statements() as statements:
        log_in(peopled)
    rows = {WITHOUT: [], WITH: ["INSERT", "INSERT"]}
    assert kinds(statements) == ["SELECT", "UPDATE", "UPDATE", *rows[how]]


@each_row("by", ["session", "token"])
def test_a_profile_takes(peopled: Site, how: str, by: str) -> None:
    options: dict[str, Any] = {"client": log_in(peopled)} if by == "session" else {"headers": bearer(token_of(peopled))}
    with peopled.statements() as statements:
        assert profile(peopled, **options).status_code == 200
    assert kinds(statements) == {WITHOUT: ["SELECT"], WITH: ["SELECT", "SELECT"]}[how]


def test_a_profile_takes_one_more_once_a_minute(peopled: Site, how: str) -> None:
    client = log_in(peopled)
    if how == WITH:
        for row in logins(peopled):
            change_login(peopled, row, last_used_at=datetime.now(timezone.utc) - timedelta(minutes=2))
    expected = {WITHOUT: ["SELECT"], WITH: ["SELECT", "SELECT", "UPDATE"]}[how]
    with peopled.statements() as statements:
        assert profile(peopled, client).status_code == 200
    assert sorted(kinds(statements)) == sorted(expected)
    with peopled.statements() as statements:
        assert profile(peopled, client).status_code == 200
    assert "UPDATE" not in kinds(statements)


def test_nobody_takes_none(peopled: Site) -> None:
    with peopled.statements() as statements:
        assert profile(peopled).status_code == 401
        assert peopled.post("logout", {}).status_code == 401
    assert statements == []


@each_row(
    ("body", "expected"),
    [
        pytest.param({}, {WITHOUT: [], WITH: ["DELETE"]}, id="here"),
        pytest.param({"revoke_token": True}, {WITHOUT: ["UPDATE"], WITH: ["DELETE", "DELETE"]}, id="and of its tokens"),
        pytest.param(
            {"everywhere": True}, {WITHOUT: ["UPDATE"], WITH: ["DELETE", "UPDATE", "DELETE"]}, id="everywhere"
        ),
    ],
)
def test_a_logout_takes(peopled: Site, how: str, body: dict[str, bool], expected: dict[str, list[str]]) -> None:
    client = log_in(peopled)
    with peopled.statements() as statements:
        assert peopled.post("logout", body, client=client).status_code == 200
    who = {WITHOUT: ["SELECT"], WITH: ["SELECT", "SELECT"]}[how]
    assert kinds(statements) == [*who, *expected[how]]


@pytest.mark.parametrize("how", [WITH], indirect=True)
@each_row("count", [1, 5])
def test_a_list_of_logins_takes_one_however_long_it_is(peopled: Site, count: int) -> None:
    client = log_in(peopled)
    for _ in range(count - 1):
        log_in(peopled)
    with peopled.statements() as statements:
        assert len(client.get("/accounts/logins/").get_json()) == 2 * count
    assert kinds(statements) == ["SELECT", "SELECT", "SELECT"]


@pytest.mark.parametrize("how", [WITH], indirect=True)
@each_row(("number", "status", "count"), [("4711", 404, 3), ("abc", 404, 2), (None, 204, 3)])
def test_ending_a_login_takes(peopled: Site, number: str | None, status: int, count: int) -> None:
    client = log_in(peopled)
    log_in(peopled)
    other = next(each["id"] for each in client.get("/accounts/logins/").get_json() if not each["current"])
    with peopled.statements() as statements:
        assert client.delete(f"/accounts/logins/{number or other}/").status_code == status
    assert kinds(statements) == ["SELECT", "SELECT", "DELETE"][:count]
