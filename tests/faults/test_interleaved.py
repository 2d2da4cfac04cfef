"""Two requests at once, the second of which comes and goes wherever the first is between reading
and writing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from sqlalchemy import event, update
from werkzeug.test import TestResponse

from flask_registration import user_deleted

from ..flows.common import (
    LINK_INVALID,
    OTHER_PASSWORD,
    NewSite,
    ask_move,
    ask_reset,
    forget_mails,
    has_password,
    is_in,
    log_in,
    mails,
    member,
    move,
)
from ..people import LOGIN_INVALID, NOT_AUTHENTICATED, logins
from ..site import PASSWORD, Site, own_model
from ..tables import each_row
from .requests import REQUESTS, SETTINGS, prepare

pytestmark = pytest.mark.databases

#: More than any request has before it writes, and as many as most have.
MANY, SOME = 6, 2


def in_a_thread(work: Callable[[], Any]) -> Any:
    """What comes of it elsewhere: a request within a request would be in the same context."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result(timeout=60)


@contextmanager
def after_read(site: Site, number: int, meanwhile: Callable[[], Any]) -> Iterator[list[Any]]:
    """Do something else once, after the ``number``-th SELECT and before whatever follows it.

    Where something is written before that, not at all. What came of it is in the list.
    """
    done: list[Any] = []
    statements: list[str] = []

    def look(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)
        if len(statements) == number + 1 and all(
            each.startswith("SELECT") for each in statements[:number]
        ):
            done.append(in_a_thread(meanwhile))

    with site.app.app_context():
        engine = site.db.engine
    event.listen(engine, "before_cursor_execute", look)
    try:
        yield done
    finally:
        event.remove(engine, "before_cursor_execute", look)


each_read = each_row("number", range(1, SOME + 1), ids=lambda number: f"after read {number}")


def answer(reply: TestResponse) -> tuple[int, Any]:
    return reply.status_code, reply.get_json()


# A suspension that lands during a request

#: What a suspended account's request may still be answered: it only read, or only mailed.
HARMLESS = {
    "register-email",
    "read the profile",
    "logins",
    "logout",
    "revoke a login",
}


#: These have no account yet, or read it and do no more.
WITHOUT = {
    "register",
    "register in place of an expired one",
    "register with a taken address",
    "resend-verification",
    "send-reset-password-link",
}


def suspend(site: Site, user: Any) -> None:
    """As an administrator does by SQL, without a new stamp."""
    with site.app.app_context(), site.db.engine.begin() as connection:
        connection.execute(update(site.User).where(site.User.id == user.id).values(is_active=False))


@each_row("what", [*(what for what in REQUESTS if what not in WITHOUT), "delete by a deleter"])
def test_a_suspension_that_lands_during_a_request_is_not_undone_and_stops_what_would_be_written(
    what: str, database: str, new_site: NewSite
) -> None:
    called: list[Any] = []
    deleter = (
        {"PROFILE_DELETER": lambda user, **_: called.append(user)}
        if what == "delete by a deleter"
        else {}
    )
    what = "delete the profile" if deleter else what
    site = new_site(database, **SETTINGS, **deleter)
    reached = 0
    for number in range(1, MANY):
        name = f"user{number}"
        request = prepare(site, what, name)
        user = site.user(username=name)
        with after_read(site, number, lambda user=user: suspend(site, user)) as done:  # type: ignore[misc]
            reply, browser = request.ask()
        if not done:
            break
        reached += 1
        after = site.user(username=name)
        changed = {
            key
            for key in vars(user)
            if not key.startswith("_") and getattr(user, key) != getattr(after, key)
        }
        assert changed == {"is_active"}, reply.get_json()
        assert reply.status_code in (400, 401) or what in HARMLESS
        assert called == []
        assert not is_in(browser)
        site.outbox.clear()
    assert reached


@each_read
def test_after_log_out_everywhere_was_refused_to_a_suspended_account_it_says_so(
    number: int, database: str, new_site: NewSite
) -> None:
    site = new_site(database)
    alice = member(site)
    client = log_in(site)
    with after_read(site, number, lambda: site.change(alice, is_active=False)) as done:
        reply = site.post("logout", {"everywhere": True}, client=client)
    assert answer(reply) == (
        (401, NOT_AUTHENTICATED) if done else (200, {"detail": "Logout successful"})
    )


@each_read
def test_after_a_token_could_not_be_revoked_it_says_so(
    number: int, database: str, new_site: NewSite
) -> None:
    site = new_site(database, LOGIN_RETRIEVE_TOKEN=True)
    alice = member(site)
    client = log_in(site)
    with after_read(site, number, lambda: site.change(alice, is_active=False)) as done:
        reply = site.post("logout", {"revoke_token": True}, client=client)
    assert answer(reply) == (
        (401, NOT_AUTHENTICATED) if done else (200, {"detail": "Logout successful"})
    )


# Only what changed is written


@each_read
@each_row("method", ["PATCH", "PUT"])
def test_two_changes_of_one_profile_at_once_both_last(
    method: str, number: int, database: str, new_site: NewSite
) -> None:
    site = new_site(database)
    alice = member(site, last_name="Old")
    client, other = log_in(site), log_in(site)

    def meanwhile() -> int:
        return other.patch("/accounts/profile/", json={"last_name": "New"}).status_code

    body = (
        {"username": "alice", "first_name": "Al", "last_name": "Old"}
        if method == "PUT"
        else {"first_name": "Al"}
    )
    with after_read(site, number, meanwhile) as done:
        assert client.open("/accounts/profile/", method=method, json=body).status_code == 200
    user = site.user(id=alice.id)
    assert (user.first_name, user.last_name) == ("Al", "New" if done else "Old")


# Links


class LinkUse(NamedTuple):
    """A link, and what uses it."""

    ready: Callable[[Site], Callable[[], TestResponse]]
    refused: Any = LINK_INVALID


def _reset(site: Site) -> Callable[[], TestResponse]:
    member(site)
    link = ask_reset(site)
    return lambda: site.post("reset-password", {**link, "password": OTHER_PASSWORD})


def _verify_email(site: Site) -> Callable[[], TestResponse]:
    member(site)
    link = ask_move(site, log_in(site), "new@example.com")
    return lambda: site.post("verify-email", link)


def _undo(site: Site) -> Callable[[], TestResponse]:
    member(site)
    link = move(site, log_in(site), "new@example.com")
    return lambda: site.post("undo-email-change", link)


def _verify(site: Site) -> Callable[[], TestResponse]:
    site.register("alice")
    link = site.link()
    return lambda: site.verify(link)


LINKS = {
    "reset-password": _reset,
    "verify-email": _verify_email,
    "undo-email-change": _undo,
    "verify": _verify,
}


@each_read
@each_row("kind", LINKS)
def test_of_two_uses_of_a_link_at_once_one_works(
    kind: str, number: int, database: str, new_site: NewSite
) -> None:
    site = new_site(database, REGISTER_VERIFICATION_ONE_TIME_USE=True)
    use = LINKS[kind](site)
    with after_read(site, number, use) as done:
        reply = use()
    if done:
        assert done[0].status_code == 200
        assert answer(reply) == (400, LINK_INVALID)
    else:
        assert reply.status_code == 200


@each_read
@each_row("kind", ["reset-password", "verify-email"])
def test_a_link_whose_use_a_new_password_overtakes_does_nothing(
    kind: str, number: int, database: str, new_site: NewSite
) -> None:
    site = new_site(database)
    use = LINKS[kind](site)
    owner, password = log_in(site), "the owner's very own words 7"
    body = {"old_password": PASSWORD, "password": password, "password_confirm": password}
    with after_read(
        site, number, lambda: site.post("change-password", body, client=owner).status_code
    ) as done:
        reply = use()
    if done:
        assert done == [200]
        assert answer(reply) == (400, LINK_INVALID)
        assert has_password(site, password)
        assert site.users()[0].email == "alice@example.com"
    else:
        assert reply.status_code == 200


@each_read
def test_a_new_password_that_a_reset_overtakes_is_not_stored(
    number: int, database: str, new_site: NewSite
) -> None:
    site = new_site(database)
    use = LINKS["reset-password"](site)
    client, password = log_in(site), "the thief's very own words 7"
    body = {"old_password": PASSWORD, "password": password, "password_confirm": password}
    with after_read(site, number, lambda: use().status_code) as done:
        reply = site.post("change-password", body, client=client)
    if done:
        assert done == [200]
        assert answer(reply) == (401, NOT_AUTHENTICATED)
        assert has_password(site, OTHER_PASSWORD)
        assert not is_in(client)
    else:
        assert reply.status_code == 200


# Registering


@each_read
def test_of_two_who_verify_and_register_one_address_at_once_one_gets_it(
    number: int, database: str, new_site: NewSite
) -> None:
    site = new_site(database)
    use = LINKS["verify-email"](site)
    with after_read(
        site, number, lambda: site.register("bob", email="new@example.com").status_code
    ) as done:
        reply = use()
    owners = [user.username for user in site.users() if user.email == "new@example.com"]
    assert done in ([], [201])
    # bob merely claims the address: the link verifies it.
    assert (reply.status_code, owners) == (200, ["alice"])


@each_read
def test_an_address_that_is_registered_while_somebody_asks_for_it_is_not_told(
    number: int, database: str, new_site: NewSite
) -> None:
    site = new_site(database)
    member(site)
    client = log_in(site)
    with after_read(
        site, number, lambda: site.register("bob", email="new@example.com").status_code
    ) as done:
        reply = site.post("register-email", {"email": "new@example.com"}, client=client)
    assert reply.status_code == 200
    if done:
        assert done == [201]
        assert [user.username for user in site.users() if user.email == "new@example.com"] == [
            "bob"
        ]
        assert {to for to, _ in mails(site)} == {"alice@example.com", "new@example.com"}


@each_row("taken", ["username", "email"])
def test_of_two_who_register_at_once_one_gets_it_and_the_other_the_answer_of_one_who_came_later(
    taken: str, database: str, new_site: NewSite
) -> None:
    site = new_site(database, MAIL_LIMITS=None)
    fields = {"username": "first", "email": "first@example.com"}
    late = {"username": "second", "email": "second@example.com", taken: fields[taken]}
    assert site.register(**fields).status_code == 201
    after = answer(site.register(**late))
    with site.app.app_context():
        for user in site.users():
            site.db.session.delete(site.db.session.merge(user))
        site.db.session.commit()
    forget_mails(site)
    done: list[int] = []

    def look(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.startswith("INSERT INTO users") and not done:
            done.append(0)
            done[0] = in_a_thread(lambda: site.register(**fields).status_code)

    with site.app.app_context():
        event.listen(site.db.engine, "before_cursor_execute", look)
    reply = site.register(**late)
    assert done == [201]
    assert answer(reply) == after
    found = {user.username: user for user in site.users()}
    assert found.keys() == ({"first", "second"} if taken == "email" else {"first"})
    assert found["first"].email == "first@example.com"
    if taken == "email":  # it reserves the username, and nothing can verify it
        assert found["second"].email.endswith("@registration.invalid")
        assert not found["second"].is_verified
    # A second registration of a pending address is told with an e-mail of its own.
    about = [to for to, _ in mails(site)]
    assert about == ["first@example.com"] * (2 if taken == "email" else 1)


# Deleting


@each_read
def test_a_login_that_a_deletion_overtakes_is_refused(
    number: int, database: str, new_site: NewSite
) -> None:
    site = new_site(database, **SETTINGS)
    member(site)
    owner = log_in(site)

    def delete() -> int:
        return owner.delete("/accounts/profile/", json={"password": PASSWORD}).status_code

    with after_read(site, number, delete) as done:
        reply = site.post("login", {"login": "alice", "password": PASSWORD})
    if done:
        assert done == [204]
        assert answer(reply) == (400, LOGIN_INVALID)
        assert (site.users(), logins(site)) == ([], [])
    else:
        assert reply.status_code == 200


@each_read
def test_a_login_during_a_deletion_does_not_outlive_it(
    number: int, database: str, new_site: NewSite
) -> None:
    site = new_site(database, **SETTINGS)
    member(site)
    owner = log_in(site)
    with after_read(site, number, lambda: log_in(site)) as done:
        reply = owner.delete("/accounts/profile/", json={"password": PASSWORD})
    assert reply.status_code == 204
    assert (site.users(), logins(site)) == ([], [])
    assert not any(is_in(client) for client in done)


@each_read
@each_row("stamp", [True, False], ids=["", "without a security stamp"])
def test_of_two_deletions_at_once_one_is_told(
    stamp: bool, number: int, database: str, new_site: NewSite
) -> None:
    site = new_site(database, **SETTINGS) if stamp else new_site(database, define=own_model())
    member(site)
    first, second = log_in(site), log_in(site)

    def delete() -> int:
        return second.delete("/accounts/profile/", json={"password": PASSWORD}).status_code

    with site.hears(user_deleted) as heard, after_read(site, number, delete) as done:
        reply = first.delete("/accounts/profile/", json={"password": PASSWORD})
    assert (reply.status_code, len(heard)) == ((401, 1) if done else (204, 1))
    assert site.users() == []


@each_read
@each_row("kind", ["reset-password", "verify-email", "verify"])
def test_a_link_whose_use_a_deletion_overtakes_does_nothing(
    kind: str, number: int, database: str, new_site: NewSite
) -> None:
    site = new_site(database)
    use = LINKS[kind](site)

    def delete() -> None:
        with site.app.app_context():
            site.db.session.delete(site.db.session.get(site.User, 1))
            site.db.session.commit()

    with after_read(site, number, delete) as done:
        reply = use()
    if done:
        assert answer(reply) == (400, LINK_INVALID)
        assert site.users() == []
    else:
        assert reply.status_code == 200
