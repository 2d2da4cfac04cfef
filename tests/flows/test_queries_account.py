"""How many SQL statements the journeys of an account take: a number that changes for a reason, or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from ..people import define_login
from ..site import PASSWORD, Site
from ..tables import each_row
from .journeys import OTHER_PASSWORD, NewSite, ask_move, ask_reset, forget_mails, log_in, member, move

pytestmark = pytest.mark.databases


def kinds(statements: list[str]) -> list[str]:
    return [statement.split()[0] for statement in statements]


class People:
    """Alice, who is logged in, and Bob."""

    def __init__(self, site: Site) -> None:
        self.site = site
        member(site)
        member(site, "bob")
        self.client = log_in(site)

    def statements(self, method: str, endpoint: str, body: Any, status: int, *, alone: bool = False) -> list[str]:
        """The kinds of statements that a request takes, by Alice, or by nobody who is logged in."""
        client = self.site.app.test_client() if alone else self.client
        forget_mails(self.site)
        with self.site.statements() as statements:
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

#: Method, endpoint, body, status; statements with signed sessions, and with sessions as rows.
REQUESTS = {
    "to read the profile": ("GET", "profile", None, 200, ["SELECT"], ["SELECT", "SELECT"]),
    "to change it": (
        "PATCH",
        "profile",
        {"first_name": "Al"},
        200,
        ["SELECT", "UPDATE"],
        ["SELECT", "SELECT", "UPDATE"],
    ),
    "to change nothing": ("PATCH", "profile", {"first_name": ""}, 200, ["SELECT"], ["SELECT", "SELECT"]),
    "to take a taken name": (
        "PATCH",
        "profile",
        {"username": "bob"},
        400,
        ["SELECT", "UPDATE", "SELECT"],
        ["SELECT", "SELECT", "UPDATE", "SELECT"],
    ),
    "to change the password": (
        "POST",
        "change-password",
        CHANGE,
        200,
        ["SELECT", "UPDATE"],
        ["SELECT", "SELECT", "UPDATE", "DELETE", "INSERT"],
    ),
    "to get the old password wrong": (
        "POST",
        "change-password",
        {**CHANGE, "old_password": "wrong"},
        400,
        ["SELECT"],
        ["SELECT", "SELECT"],
    ),
    "to ask for another address": (
        "POST",
        "register-email",
        {"email": "new@example.com"},
        200,
        ["SELECT", "SELECT"],
        ["SELECT", "SELECT", "SELECT"],
    ),
    "to ask for a taken one": (
        "POST",
        "register-email",
        {"email": "bob@example.com"},
        200,
        ["SELECT", "SELECT"],
        ["SELECT", "SELECT", "SELECT"],
    ),
    "to delete the account": (
        "DELETE",
        "profile",
        {"password": PASSWORD},
        204,
        ["SELECT", "UPDATE", "DELETE"],
        ["SELECT", "SELECT", "UPDATE", "DELETE", "DELETE"],
    ),
}


@each_row("what", REQUESTS)
def test_it_takes(people: People, what: str) -> None:
    method, endpoint, body, status, expected, _ = REQUESTS[what]
    assert people.statements(method, endpoint, body, status) == expected


@each_row("what", REQUESTS)
def test_with_sessions_as_rows_it_takes(rows: People, what: str) -> None:
    method, endpoint, body, status, _, expected = REQUESTS[what]
    assert rows.statements(method, endpoint, body, status) == expected


@each_row("name", ["alice", "nobody"])
def test_asking_for_a_reset_takes_one_whoever_is_meant(people: People, name: str) -> None:
    assert people.statements("POST", "send-reset-password-link", {"login": name}, 200, alone=True) == ["SELECT"]


def test_a_reset_takes_two(people: People) -> None:
    link = {**ask_reset(people.site), "password": OTHER_PASSWORD}
    assert people.statements("POST", "reset-password", {**link, "signature": "x"}, 400, alone=True) == ["SELECT"]
    assert people.statements("POST", "reset-password", link, 200, alone=True) == ["SELECT", "UPDATE"]
    assert people.statements("POST", "reset-password", link, 400, alone=True) == ["SELECT"]


def test_with_sessions_as_rows_a_reset_takes_three(rows: People) -> None:
    link = {**ask_reset(rows.site), "password": OTHER_PASSWORD}
    assert rows.statements("POST", "reset-password", link, 200, alone=True) == ["SELECT", "UPDATE", "DELETE"]


def test_a_move_takes_two_and_so_does_its_undoing(people: People) -> None:
    link = ask_move(people.site, people.client, "new@example.com")
    assert people.statements("POST", "verify-email", link, 200, alone=True) == ["SELECT", "UPDATE"]
    assert people.statements("POST", "undo-email-change", people.site.link(), 200, alone=True) == ["SELECT", "UPDATE"]


def test_with_sessions_as_rows_a_move_takes_three(rows: People) -> None:
    link = ask_move(rows.site, rows.client, "new@example.com")
    assert rows.statements("POST", "verify-email", link, 200, alone=True) == ["SELECT", "UPDATE", "DELETE"]
    link = rows.site.link()
    assert rows.statements("POST", "undo-email-change", link, 200, alone=True) == ["SELECT", "UPDATE", "DELETE"]


@each_row("endpoint", ["reset-password", "verify-email", "undo-email-change"])
def test_a_link_of_nobody_takes_one_and_one_without_an_id_none(people: People, endpoint: str) -> None:
    link = {"timestamp": "1", "signature": "x", "email": "new@example.com", "password": OTHER_PASSWORD}
    assert people.statements("POST", endpoint, {**link, "user_id": "4711"}, 400, alone=True) == ["SELECT"]
    assert people.statements("POST", endpoint, {**link, "user_id": "nobody"}, 400, alone=True) == []


@each_row(
    ("method", "endpoint"),
    [("GET", "profile"), ("DELETE", "profile"), ("POST", "change-password"), ("POST", "register-email")],
)
def test_nobody_takes_none(people: People, method: str, endpoint: str) -> None:
    assert people.statements(method, endpoint, {}, 401, alone=True) == []


def test_only_the_address_and_the_stamp_are_written(people: People) -> None:
    link = ask_move(people.site, people.client, "new@example.com")
    with people.site.statements() as statements:
        people.site.post("verify-email", link)
    written = statements[1].partition("SET")[2].partition("WHERE")[0]
    assert written.count("=") == 2
    move(people.site, log_in(people.site), "newer@example.com")
