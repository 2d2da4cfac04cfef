"""Limit how many SQL statements the flows of an account take, and compare known with unknown
accounts."""

from __future__ import annotations

from typing import Any

import pytest

from ..outboxes import request_statements
from ..people import define_login
from ..site import PASSWORD, Site
from ..tables import each_row
from .common import (
    OTHER_PASSWORD,
    NewSite,
    ask_move,
    ask_reset,
    forget_mails,
    log_in,
    member,
    move,
)


def kinds(statements: list[str]) -> list[str]:
    return [statement.split()[0] for statement in statements]


class People:
    """Alice, who is logged in, and Bob."""

    def __init__(self, site: Site) -> None:
        self.site = site
        member(site)
        member(site, "bob")
        self.client = log_in(site)

    def statements(
        self, method: str, endpoint: str, body: Any, status: int, *, alone: bool = False
    ) -> list[str]:
        """The kinds of statements that a request takes, by Alice, or by nobody who is logged in."""
        client = self.site.app.test_client() if alone else self.client
        forget_mails(self.site)
        with request_statements(self.site) as statements:
            reply = client.open(f"/accounts/{endpoint}/", method=method, json=body)
        assert reply.status_code == status, reply.get_data()
        return kinds(statements)


@pytest.fixture
def people(database: str, new_site: NewSite) -> People:
    return People(new_site(database))


@pytest.fixture
def rows(database: str, new_site: NewSite) -> People:
    """With sessions as rows."""
    return People(new_site(database, login_model=define_login))


CHANGE = {"old_password": PASSWORD, "password": OTHER_PASSWORD, "password_confirm": OTHER_PASSWORD}

#: Method, endpoint, body, status; at most so many statements with signed sessions, and with
#: sessions as rows.
REQUESTS = {
    "to read the profile": ("GET", "profile", None, 200, 1, 2),
    "to change it": ("PATCH", "profile", {"first_name": "Al"}, 200, 2, 3),
    "to change nothing": ("PATCH", "profile", {"first_name": ""}, 200, 1, 2),
    "to take a taken name": ("PATCH", "profile", {"username": "bob"}, 400, 3, 4),
    "to change the password": ("POST", "change-password", CHANGE, 200, 2, 5),
    "to get the old password wrong": (
        "POST",
        "change-password",
        {**CHANGE, "old_password": "wrong"},
        400,
        1,
        2,
    ),
    "to ask for another address": (
        "POST",
        "register-email",
        {"email": "new@example.com"},
        200,
        2,
        3,
    ),
    "to ask for a taken one": ("POST", "register-email", {"email": "bob@example.com"}, 200, 2, 3),
    "to delete the account": ("DELETE", "profile", {"password": PASSWORD}, 204, 3, 5),
}


@each_row("what", REQUESTS)
def test_it_takes_at_most(people: People, what: str) -> None:
    method, endpoint, body, status, most, _ = REQUESTS[what]
    assert len(people.statements(method, endpoint, body, status)) <= most


@each_row("what", REQUESTS)
def test_with_sessions_as_rows_it_takes_at_most(rows: People, what: str) -> None:
    method, endpoint, body, status, _, most = REQUESTS[what]
    assert len(rows.statements(method, endpoint, body, status)) <= most


def test_asking_for_another_address_takes_the_same_whether_or_not_it_is_taken(
    people: People,
) -> None:
    free = people.statements("POST", "register-email", {"email": "new@example.com"}, 200)
    taken = people.statements("POST", "register-email", {"email": "bob@example.com"}, 200)
    assert free == taken


def test_with_sessions_as_rows_it_takes_the_same_too(rows: People) -> None:
    free = rows.statements("POST", "register-email", {"email": "new@example.com"}, 200)
    taken = rows.statements("POST", "register-email", {"email": "bob@example.com"}, 200)
    assert free == taken


def test_asking_for_a_reset_takes_at_most_one_and_the_same_for_a_known_and_an_unknown_account(
    people: People,
) -> None:
    known = people.statements(
        "POST", "send-reset-password-link", {"login": "alice"}, 200, alone=True
    )
    unknown = people.statements(
        "POST", "send-reset-password-link", {"login": "nobody"}, 200, alone=True
    )
    assert known == unknown
    assert len(known) <= 1


@pytest.mark.databases
def test_a_reset_takes_at_most_two(people: People) -> None:
    link = {**ask_reset(people.site), "password": OTHER_PASSWORD}
    assert (
        len(
            people.statements("POST", "reset-password", {**link, "signature": "x"}, 400, alone=True)
        )
        <= 1
    )
    assert len(people.statements("POST", "reset-password", link, 200, alone=True)) <= 2
    assert len(people.statements("POST", "reset-password", link, 400, alone=True)) <= 1


def test_with_sessions_as_rows_a_reset_takes_at_most_three(rows: People) -> None:
    link = {**ask_reset(rows.site), "password": OTHER_PASSWORD}
    assert len(rows.statements("POST", "reset-password", link, 200, alone=True)) <= 3


def test_a_move_takes_at_most_two_and_so_does_its_undoing(people: People) -> None:
    link = ask_move(people.site, people.client, "new@example.com")
    assert len(people.statements("POST", "verify-email", link, 200, alone=True)) <= 2
    assert (
        len(people.statements("POST", "undo-email-change", people.site.link(), 200, alone=True))
        <= 2
    )


@pytest.mark.databases
def test_with_sessions_as_rows_a_move_takes_at_most_four_and_its_undoing_three(
    rows: People,
) -> None:
    """One looks for the login that asked for the move."""
    link = ask_move(rows.site, rows.client, "new@example.com")
    assert len(rows.statements("POST", "verify-email", link, 200, alone=True)) <= 4
    link = rows.site.link()
    assert len(rows.statements("POST", "undo-email-change", link, 200, alone=True)) <= 3


@each_row("endpoint", ["reset-password", "verify-email", "undo-email-change"])
def test_a_link_of_nobody_takes_at_most_one_and_one_without_an_id_none(
    people: People, endpoint: str
) -> None:
    link = {
        "timestamp": "1",
        "signature": "x",
        "email": "new@example.com",
        "password": OTHER_PASSWORD,
    }
    assert (
        len(people.statements("POST", endpoint, {**link, "user_id": "4711"}, 400, alone=True)) <= 1
    )
    assert people.statements("POST", endpoint, {**link, "user_id": "nobody"}, 400, alone=True) == []


@each_row(
    ("method", "endpoint"),
    [
        ("GET", "profile"),
        ("DELETE", "profile"),
        ("POST", "change-password"),
        ("POST", "register-email"),
    ],
)
def test_nobody_takes_none(people: People, method: str, endpoint: str) -> None:
    assert people.statements(method, endpoint, {}, 401, alone=True) == []


def test_only_the_address_and_the_stamp_are_written(people: People) -> None:
    link = ask_move(people.site, people.client, "new@example.com")
    with request_statements(people.site) as statements:
        people.site.post("verify-email", link)
    (update,) = [statement for statement in statements if statement.startswith("UPDATE")]
    written = update.partition("SET")[2].partition("WHERE")[0]
    assert written.count("=") == 2
    move(people.site, log_in(people.site), "newer@example.com")
