"""Limit how many SQL statements an endpoint takes, and compare known with unknown accounts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update as update_rows

from ..conftest import Clock
from ..outboxes import request_statements
from ..people import define_login
from ..site import PASSWORD, Site
from ..tables import each_row

NewSite = Callable[..., Site]


@pytest.fixture
def peopled(database: str, new_site: NewSite, clock: Clock) -> Site:
    """A pending and a verified account, and mail that may go again."""
    site = new_site(database)
    site.register("verified")
    site.verify()
    site.register("pending")
    clock.advance(60)
    return site


def kinds(statements: list[str]) -> list[str]:
    return [statement.split()[0] for statement in statements]


@pytest.mark.databases
@each_row(
    ("body", "most"),
    [
        pytest.param({}, 2, id="a free name and a free address"),
        pytest.param({"email": "verified@example.com"}, 2, id="a taken address"),
        pytest.param({"email": "pending@example.com"}, 2, id="a pending one"),
        pytest.param({"username": "verified"}, 1, id="a taken name"),
        pytest.param({"username": "a b"}, 0, id="a name that will not do"),
        pytest.param({"password": "short"}, 0, id="a password that will not do"),
    ],
)
def test_a_registration_takes_at_most(peopled: Site, body: dict[str, Any], most: int) -> None:
    with request_statements(peopled) as statements:
        peopled.register(**{"username": "alice", "email": "alice@example.com", **body})
    assert len(statements) <= most


def test_a_registration_of_a_taken_address_takes_the_same_whoever_has_it(peopled: Site) -> None:
    with request_statements(peopled) as of_verified:
        assert peopled.register("alice", email="verified@example.com").status_code == 201
    with request_statements(peopled) as of_pending:
        assert peopled.register("bob", email="pending@example.com").status_code == 201
    with request_statements(peopled) as of_nobody:
        assert peopled.register("carol", email="carol@example.com").status_code == 201
    assert kinds(of_verified) == kinds(of_pending) == kinds(of_nobody) == ["SELECT", "INSERT"]


@each_row("settings", [{"PREVENT_ENUMERATION": False}, {"REGISTER_VERIFICATION_ENABLED": False}])
def test_where_a_taken_address_is_refused_a_registration_takes_at_most_one(
    settings: dict[str, Any], database: str, new_site: NewSite
) -> None:
    site = new_site(database, **settings)
    with request_statements(site) as statements:
        assert site.register("alice").status_code == 201
    assert len(statements) <= 1


def test_a_suspended_owner_of_the_address_makes_no_difference(peopled: Site) -> None:
    with request_statements(peopled) as usual:
        assert peopled.register(username="alice", email="verified@example.com").status_code == 201
    with peopled.app.app_context():
        peopled.db.session.execute(update_rows(peopled.User).values(is_active=False))
        peopled.db.session.commit()
    with request_statements(peopled) as statements:
        assert peopled.register(username="bob", email="verified@example.com").status_code == 201
    assert kinds(statements) == kinds(usual) == ["SELECT", "INSERT"]


def test_verifying_takes_at_most_two_statements_and_one_the_second_time(peopled: Site) -> None:
    with request_statements(peopled) as statements:
        assert peopled.verify().status_code == 200
    assert len(statements) <= 2
    with request_statements(peopled) as statements:
        assert peopled.verify().status_code == 200
    assert len(statements) <= 1


@pytest.mark.databases
def test_with_sessions_as_rows_verifying_takes_at_most_three(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database, login_model=define_login)
    site.register("alice")
    with request_statements(site) as statements:
        assert site.verify().status_code == 200
    assert len(statements) <= 3


def test_only_the_flag_is_written(peopled: Site) -> None:
    with request_statements(peopled) as statements:
        peopled.verify()
    (update,) = [statement for statement in statements if statement.startswith("UPDATE")]
    written = update.partition("SET")[2].partition("WHERE")[0]
    assert written.count("=") == 1
    assert "is_verified" in written


def test_a_link_that_is_refused_takes_at_most_one_and_the_same_for_a_known_and_an_unknown_account(
    peopled: Site,
) -> None:
    with request_statements(peopled) as forged:
        assert peopled.verify(signature="forged").status_code == 400
    with request_statements(peopled) as of_nobody:
        assert peopled.verify(user_id="4711").status_code == 400
    assert kinds(forged) == kinds(of_nobody)
    assert len(forged) <= 1
    with request_statements(peopled) as statements:
        assert peopled.verify(user_id="no number").status_code == 400
    assert statements == []


def test_verifying_with_auto_login_takes_one_update_more(database: str, new_site: NewSite) -> None:
    site = new_site(
        database, REGISTER_VERIFICATION_ONE_TIME_USE=True, REGISTER_VERIFICATION_AUTO_LOGIN=True
    )
    site.register("alice")
    with request_statements(site) as statements:
        assert site.verify().status_code == 200
    assert len(statements) <= 3


@each_row(
    ("ways", "most"),
    [
        (["login"], 1),
        (["username"], 1),
        (["email"], 1),
        (["login", "email"], 2),
        (["username", "email"], 2),
    ],
)
def test_resending_takes_at_most_a_statement_for_each_way_and_the_same_for_known_and_unknown_accounts(  # noqa: E501
    peopled: Site, ways: list[str], most: int
) -> None:
    found = []
    for name in ("pending", "verified", "nobody"):
        body = {way: f"{name}@example.com" if way == "email" else name for way in ways}
        with request_statements(peopled) as statements:
            assert peopled.post("resend-verification", body).status_code == 200
        found.append(kinds(statements))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) <= most


def test_an_account_is_looked_up_once_where_two_fields_say_the_same(peopled: Site) -> None:
    with request_statements(peopled) as statements:
        peopled.post("resend-verification", {"login": "pending", "username": "pending"})
    assert len(statements) <= 1


@each_row("endpoint", ["register", "verify-registration", "resend-verification"])
@each_row("body", [[], {}, "text"], ids=["a list", "an empty object", "text"])
def test_a_body_that_is_no_request_takes_none(peopled: Site, endpoint: str, body: Any) -> None:
    with request_statements(peopled) as statements:
        assert peopled.post(endpoint, body).status_code == 400
    assert statements == []


def test_a_long_password_takes_no_statement_and_no_hash(peopled: Site) -> None:
    with request_statements(peopled) as statements:
        assert peopled.register("alice", password=PASSWORD * 100).status_code == 400
    assert statements == []
