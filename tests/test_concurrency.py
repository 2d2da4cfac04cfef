"""Many at once: the database decides, and nobody sees a half of anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg
import pymysql  # type: ignore[import-untyped]  # it ships no types
import pytest
from sqlalchemy import event

from .conftest import Clock
from .flows.common import AT_ONCE, THREADS, accounts, at_once
from .site import Site
from .tables import each_row

pytestmark = pytest.mark.databases

NewSite = Callable[..., Site]


def test_of_fifty_who_register_one_name_at_once_one_gets_it(
    server_database: str, new_site: NewSite
) -> None:
    site = new_site(server_database, config=AT_ONCE)
    replies = at_once(lambda number: site.register("alice", email=f"alice{number}@example.com"))
    assert Counter(reply.status_code for reply in replies) == {201: 1, 400: THREADS - 1}
    for reply in replies:
        if reply.status_code == 400:
            assert reply.get_json() == {"username": ["This username is already in use."]}
    (user,) = site.users()
    (winner,) = (reply.get_json() for reply in replies if reply.status_code == 201)
    assert user.email == winner["email"]
    assert [mail.recipients for mail in site.outbox] == [[user.email]]
    assert site.verify().status_code == 200


def test_one_name_in_many_spellings_is_one_name_at_once_too(
    server_database: str, new_site: NewSite
) -> None:
    site = new_site(server_database, config=AT_ONCE)
    spellings = ["alice", "ALICE", "ａｌｉｃｅ", "Alice", "aLiCe"]
    replies = at_once(
        lambda number: site.register(
            spellings[number % len(spellings)], email=f"alice{number}@example.com"
        )
    )
    assert Counter(reply.status_code for reply in replies) == {201: 1, 400: THREADS - 1}
    assert len(site.users()) == len(site.outbox) == 1


@each_row(
    ("settings", "mails"),
    [({}, 1), ({"MAIL_LIMITS": None}, THREADS)],
    ids=["by default", "without limits of e-mails"],
)
def test_of_fifty_who_register_one_address_at_once_one_gets_it_and_none_can_tell(
    settings: dict[str, Any], mails: int, server_database: str, new_site: NewSite
) -> None:
    site = new_site(server_database, config=AT_ONCE, **settings)
    replies = at_once(lambda number: site.register(f"user{number}", email="Shared@example.com"))
    assert {reply.status_code for reply in replies} == {201}
    assert {reply.get_json()["email"] for reply in replies} == {"shared@example.com"}
    assert {len(reply.get_json()) for reply in replies} == {4}
    (user,) = accounts(site)
    assert {each.username for each in site.users()} == {f"user{n}" for n in range(THREADS)}
    # The e-mail to verify, and without limits one about each other registration.
    assert [mail.recipients for mail in site.outbox] == [["shared@example.com"]] * mails
    links = [site.link(number) for number in range(mails)]
    assert {link["user_id"] for link in links} == {str(user.id)}
    codes = [site.verify(link).status_code for link in links]
    assert sorted(codes) == [200] + [400] * (mails - 1)


def test_where_addresses_are_no_secret_one_gets_it_and_the_others_are_told(
    server_database: str, new_site: NewSite
) -> None:
    site = new_site(server_database, config=AT_ONCE, PREVENT_ENUMERATION=False)
    replies = at_once(lambda number: site.register(f"user{number}", email="shared@example.com"))
    assert Counter(reply.status_code for reply in replies) == {201: 1, 400: THREADS - 1}
    assert {str(reply.get_json()) for reply in replies if reply.status_code == 400} == {
        str({"email": ["This e-mail address is already in use."]})
    }
    assert len(site.users()) == len(site.outbox) == 1


def test_fifty_who_register_at_once_under_names_of_their_own_all_get_an_account(
    server_database: str, new_site: NewSite
) -> None:
    site = new_site(server_database, config=AT_ONCE)
    replies = at_once(lambda number: site.register(f"user{number}"))
    assert {reply.status_code for reply in replies} == {201}
    assert len(site.users()) == len(site.outbox) == THREADS
    assert {mail.recipients[0] for mail in site.outbox} == {user.email for user in site.users()}


def test_of_fifty_uses_at_once_of_a_link_that_works_once_one_works(
    server_database: str, new_site: NewSite
) -> None:
    site = new_site(server_database, config=AT_ONCE, REGISTER_VERIFICATION_ONE_TIME_USE=True)
    site.register("alice")
    link = site.link()
    replies = at_once(lambda number: site.verify(link))
    assert Counter(reply.status_code for reply in replies) == {200: 1, 400: THREADS - 1}
    assert {reply.get_json()["code"] for reply in replies if reply.status_code == 400} == {
        "signature-invalid"
    }


def test_of_fifty_who_ask_at_once_for_the_mail_again_one_gets_it(
    server_database: str, new_site: NewSite, clock: Clock
) -> None:
    site = new_site(server_database, config=AT_ONCE)
    site.register("alice")
    clock.advance(61)
    replies = at_once(lambda number: site.post("resend-verification", {"login": "alice"}))
    assert {reply.status_code for reply in replies} == {200}
    assert len(site.outbox) == 2


# The database gives way to another transaction


class GivesWay:
    """A database that refuses statements some times, as drivers tell of it."""

    def __init__(self, site: Site, statement: str, error: BaseException, times: int) -> None:
        self.left = times
        self._statement = statement
        self._error = error
        with site.app.app_context():
            event.listen(site.db.engine, "do_execute", self.execute)

    def execute(self, cursor: Any, statement: str, parameters: Any, context: Any) -> None:
        if statement.startswith(self._statement) and self.left:
            self.left -= 1
            raise self._error


def is_serialization_failure(site: Site) -> list[BaseException]:
    """What this database's driver raises when a transaction has to give way to another."""
    if "postgresql" in site.app.config["SQLALCHEMY_DATABASE_URI"]:
        return [
            psycopg.errors.DeadlockDetected("deadlock"),
            psycopg.errors.SerializationFailure("serialization"),
        ]
    return [
        pymysql.err.OperationalError(1213, "Deadlock found when trying to get lock"),
        pymysql.err.OperationalError(1205, "Lock wait timeout exceeded"),
    ]


@each_row("number", [0, 1], ids=["a deadlock", "another conflict"])
@each_row("times", [1, 3])
def test_a_registration_is_tried_again_after(
    number: int, times: int, server_database: str, new_site: NewSite
) -> None:
    site = new_site(server_database)
    database = GivesWay(site, "INSERT", is_serialization_failure(site)[number], times)
    assert site.register("alice").status_code == 201
    assert database.left == 0
    assert [user.username for user in site.users()] == ["alice"]
    assert len(site.outbox) == 1
    assert site.verify().status_code == 200


@each_row("number", [0, 1], ids=["a deadlock", "another conflict"])
def test_a_verification_is_tried_again_after(
    number: int, server_database: str, new_site: NewSite
) -> None:
    site = new_site(server_database, REGISTER_VERIFICATION_ONE_TIME_USE=True)
    site.register("alice")
    database = GivesWay(site, "UPDATE", is_serialization_failure(site)[number], 1)
    assert site.verify().status_code == 200
    assert database.left == 0
    assert site.users()[0].is_verified
    assert site.verify().status_code == 400


def test_a_database_that_gives_way_again_and_again_is_not_asked_for_ever(
    server_database: str, new_site: NewSite
) -> None:
    site = new_site(server_database, config={"PROPAGATE_EXCEPTIONS": False})
    database = GivesWay(site, "INSERT", is_serialization_failure(site)[0], 100)
    reply = site.register("alice")
    assert database.left == 100 - 4
    database.left = 0
    assert (site.users(), site.outbox) == ([], [])
    assert site.register("alice").status_code == 201
    assert len(site.outbox) == 1
    assert reply.status_code == 503
    assert int(reply.headers["Retry-After"]) > 0
    assert reply.get_json().keys() == {"detail", "code"}


def test_another_failure_of_the_database_is_not_tried_again(
    server_database: str, new_site: NewSite
) -> None:
    site = new_site(server_database, config={"PROPAGATE_EXCEPTIONS": False})
    down: BaseException = pymysql.err.OperationalError(
        2013, "Lost connection to server during query"
    )
    if "postgresql" in server_database:
        down = psycopg.OperationalError("server closed the connection unexpectedly")
    database = GivesWay(site, "INSERT", down, 2)
    reply = site.register("alice")
    assert database.left == 1
    database.left = 0
    assert (site.users(), site.outbox) == ([], [])
    assert site.register("alice").status_code == 201
    assert reply.status_code == 503
    assert int(reply.headers["Retry-After"]) > 0
