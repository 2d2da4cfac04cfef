"""Limit how many SQL statements a login and a logged-in user take, and compare known with unknown
accounts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from werkzeug.security import generate_password_hash

from ..people import account, bearer, change_login, define_login, log_in, logins, profile, token_of
from ..site import PASSWORD, Site
from ..tables import each_row

NewSite = Callable[..., Site]

WITHOUT, WITH = "without a login model", "with a login model"


def kinds(statements: list[str]) -> list[str]:
    return [statement.split()[0] for statement in statements]


@pytest.fixture(params=[WITHOUT, WITH])
def how(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def peopled(database: str, new_site: NewSite, how: str) -> Site:
    site = new_site(
        database, login_model=define_login if how == WITH else None, LOGIN_RETRIEVE_TOKEN=True
    )
    for name in ("alice", "banned", "pending"):
        user = account(site, name, verified=name != "pending")
        if name == "banned":
            site.change(user, is_active=False)
    # The first refused login of a process looks for hashes of other kinds.
    site.post("login", {"login": "nobody", "password": PASSWORD})
    return site


@pytest.mark.databases
def test_a_login_takes_at_most(peopled: Site, how: str) -> None:
    with peopled.statements() as statements:
        log_in(peopled)
    assert len(statements) <= {WITHOUT: 2, WITH: 4}[how]
    (update,) = [statement for statement in statements if statement.startswith("UPDATE")]
    written = update.partition("SET")[2].partition("WHERE")[0]
    assert (written.count("="), "last_login" in written) == (1, True)


def test_a_login_that_is_refused_takes_at_most_one_and_the_same_for_a_known_and_an_unknown_account(
    peopled: Site,
) -> None:
    found = []
    for login, password in (("nobody", PASSWORD), ("alice", "wrong"), ("pending", PASSWORD)):
        with peopled.statements() as statements:
            assert peopled.post("login", {"login": login, "password": password}).status_code == 400
        found.append(kinds(statements))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) <= 1
    with peopled.statements() as statements:
        assert peopled.post("login", {"login": "a b", "password": PASSWORD}).status_code == 400
    assert kinds(statements) == found[0]  # a row may be older than the rule for new names


def test_the_login_of_a_suspended_account_takes_no_more_than_another_with_a_wrong_password(
    peopled: Site,
) -> None:
    with peopled.statements() as statements:
        assert peopled.post("login", {"login": "banned", "password": PASSWORD}).status_code == 400
    with peopled.statements() as of_another:
        assert peopled.post("login", {"login": "alice", "password": "wrong"}).status_code == 400
    assert kinds(statements)[: len(of_another)] == kinds(of_another)
    assert kinds(statements)[len(of_another) :] in ([], ["UPDATE"])


def test_a_login_that_upgrades_a_hash_takes_at_most_one_more(peopled: Site, how: str) -> None:
    peopled.change(
        peopled.user(username="alice"),
        password_hash=generate_password_hash(PASSWORD, "pbkdf2:sha256:1000"),
    )
    with peopled.statements() as statements:
        log_in(peopled)
    assert len(statements) <= {WITHOUT: 3, WITH: 5}[how]


@each_row("by", ["session", "token"])
def test_a_profile_takes_at_most(peopled: Site, how: str, by: str) -> None:
    options: dict[str, Any] = (
        {"client": log_in(peopled)} if by == "session" else {"headers": bearer(token_of(peopled))}
    )
    with peopled.statements() as statements:
        assert profile(peopled, **options).status_code == 200
    assert len(statements) <= {WITHOUT: 1, WITH: 2}[how]
    assert set(kinds(statements)) <= {"SELECT"}


def test_a_profile_takes_at_most_one_more_once_a_minute(peopled: Site, how: str) -> None:
    client = log_in(peopled)
    if how == WITH:
        for row in logins(peopled):
            change_login(peopled, row, last_used_at=datetime.now(UTC) - timedelta(minutes=2))
    with peopled.statements() as statements:
        assert profile(peopled, client).status_code == 200
    assert len(statements) <= {WITHOUT: 1, WITH: 3}[how]
    assert kinds(statements).count("UPDATE") == {WITHOUT: 0, WITH: 1}[how]
    with peopled.statements() as statements:
        assert profile(peopled, client).status_code == 200
    assert "UPDATE" not in kinds(statements)


def test_nobody_takes_none(peopled: Site) -> None:
    with peopled.statements() as statements:
        assert profile(peopled).status_code == 401
        assert peopled.post("logout", {}).status_code == 401
    assert statements == []


@each_row(
    ("body", "most"),
    [
        pytest.param({}, {WITHOUT: 1, WITH: 3}, id="here"),
        pytest.param({"revoke_token": True}, {WITHOUT: 2, WITH: 4}, id="and of its tokens"),
        pytest.param({"everywhere": True}, {WITHOUT: 2, WITH: 5}, id="everywhere"),
    ],
)
def test_a_logout_takes_at_most(
    peopled: Site, how: str, body: dict[str, bool], most: dict[str, int]
) -> None:
    client = log_in(peopled)
    with peopled.statements() as statements:
        assert peopled.post("logout", body, client=client).status_code == 200
    assert len(statements) <= most[how]


@pytest.mark.parametrize("how", [WITH], indirect=True)
@each_row("count", [1, 5])
def test_a_list_of_logins_takes_at_most_one_however_long_it_is(peopled: Site, count: int) -> None:
    client = log_in(peopled)
    for _ in range(count - 1):
        log_in(peopled)
    with peopled.statements() as statements:
        assert len(client.get("/accounts/logins/").get_json()) == 2 * count
    assert len(statements) <= 3


@pytest.mark.parametrize("how", [WITH], indirect=True)
@each_row(("number", "status", "most"), [("4711", 404, 3), ("abc", 404, 2), (None, 204, 3)])
def test_ending_a_login_takes_at_most(
    peopled: Site, number: str | None, status: int, most: int
) -> None:
    client = log_in(peopled)
    log_in(peopled)
    other = next(
        each["id"] for each in client.get("/accounts/logins/").get_json() if not each["current"]
    )
    with peopled.statements() as statements:
        assert client.delete(f"/accounts/logins/{number or other}/").status_code == status
    assert len(statements) <= most
