"""Expired registrations give way to new ones; ``flask registration purge`` deletes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask.cli import ScriptInfo
from sqlalchemy import DateTime, ForeignKey, Integer, event, update
from sqlalchemy.orm import Mapped, mapped_column, relationship

from flask_registration import DEFAULT_FLOWS, UserMixin, user_deleted, user_registered
from flask_registration.cli.base import registration_cli
from flask_registration.users.mixins import utc_now

from .conftest import Clock
from .flows.common import AT_ONCE, OTHER_PASSWORD, accounts, at_once, forged, has_password
from .people import account, define_login, define_login_with_foreign_key, log_in, logins
from .site import Site, own_model, text_of, whole
from .tables import each_row

pytestmark = pytest.mark.databases

NewSite = Callable[..., Site]

WEEK = 7 * 24 * 3600
REFUSED = {"username": ["This username is already in use."]}


def purge(site: Site, *options: str) -> list[str]:
    """The lines that the command prints."""
    result: Result = CliRunner().invoke(
        registration_cli, ["purge", *options], obj=ScriptInfo(create_app=lambda: site.app)
    )
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


NOTHING = ["0 unverified registrations"]
ONE_GONE = ["1 unverified registration removed"]
NO_LOGINS = ["0 expired logins"]


# Registering anew


def test_an_address_can_be_registered_anew_once_the_link_has_expired(
    database: str, new_site: NewSite, clock: Clock
) -> None:
    site = new_site(database)
    site.register("squatter", email="owner@example.com")
    old = site.link()
    clock.advance(WEEK + 1)
    with site.hears(user_deleted, user_registered) as heard:
        reply = site.register("owner", password=OTHER_PASSWORD)
    assert reply.status_code == 201
    assert [(each["signal"], each["user"].username) for each in heard] == [
        ("user-deleted", "squatter"),
        ("user-registered", "owner"),
    ]
    assert [user.username for user in accounts(site)] == ["owner"]
    assert whole(site.verify(old)) == forged(site, "verify-registration")
    assert site.verify().status_code == 200
    assert has_password(site, OTHER_PASSWORD, "owner")


def test_a_link_of_a_registration_that_was_replaced_stays_dead_though_the_id_is_used_again(
    site: Site, clock: Clock
) -> None:
    site.register("owner")
    (squatter,) = site.users()
    old = site.link()
    clock.advance(WEEK + 1)
    site.register("owner")
    assert site.user(username="owner").id == squatter.id
    assert old["user_id"] == site.link()["user_id"]
    clock.advance(-1)  # the old link would be young enough
    assert whole(site.verify(old)) == forged(site, "verify-registration")


@each_row(("seconds", "expired"), [(WEEK, False), (WEEK + 1, True)], ids=["at", "after"])
def test_it_expires_to_the_second_as_its_link_does(
    database: str, new_site: NewSite, clock: Clock, seconds: int, expired: bool
) -> None:
    site = new_site(database)
    site.register("squatter", email="owner@example.com")
    clock.advance(seconds)
    assert (site.verify().status_code == 400) is expired
    site.change(site.user(username="squatter"), is_verified=False)
    site.register("owner")
    assert [user.username for user in accounts(site)] == (["owner"] if expired else ["squatter"])


def test_the_reply_is_that_of_a_free_address_in_every_byte(new_site: NewSite, clock: Clock) -> None:
    site, other = new_site(), new_site()
    site.register("squatter", email="owner@example.com")
    clock.advance(WEEK + 1)
    assert whole(site.register("owner")) == whole(other.register("owner"))


def test_a_name_is_free_again_too(database: str, new_site: NewSite, clock: Clock) -> None:
    site = new_site(database)
    site.register("alice", email="squatter@example.com")
    assert site.register("ALICE", email="alice@example.com").get_json() == REFUSED
    clock.advance(WEEK + 1)
    assert site.register("ALICE", email="alice@example.com").status_code == 201
    assert [user.username for user in accounts(site)] == ["ALICE"]


def test_two_expired_registrations_make_room_for_one(
    database: str, new_site: NewSite, clock: Clock
) -> None:
    site = new_site(database)
    site.register("alice", email="first@example.com")
    site.register("second", email="alice@example.com")
    clock.advance(WEEK + 1)
    assert site.register("alice").status_code == 201
    assert [user.email for user in accounts(site)] == ["alice@example.com"]


def test_nothing_goes_while_one_of_the_values_is_really_taken(
    database: str, new_site: NewSite, clock: Clock
) -> None:
    site = new_site(database)
    site.register("squatter", email="alice@example.com")
    account(site, "alice", email="first@example.com")
    clock.advance(WEEK + 1)
    assert site.register("alice").get_json() == REFUSED
    assert {user.username for user in accounts(site)} == {"alice", "squatter"}


KEPT: dict[str, dict[str, Any]] = {
    "that was verified": {"is_verified": True},
    "that is suspended": {"is_active": False},
    "that was used": {"last_login": None},
}


@each_row("what", KEPT)
def test_an_old_account_stays(database: str, new_site: NewSite, clock: Clock, what: str) -> None:
    site = new_site(database)
    site.register("squatter", email="owner@example.com")
    changes = {"last_login": utc_now()} if what == "that was used" else KEPT[what]
    site.change(site.user(username="squatter"), **changes)
    clock.advance(WEEK + 1)
    assert site.register("owner").status_code == 201
    assert purge(site) == NOTHING
    assert [user.username for user in accounts(site)] == ["squatter"]


def test_without_verification_nothing_is_pending(new_site: NewSite, clock: Clock) -> None:
    site = new_site(REGISTER_VERIFICATION_ENABLED=False)
    account(site, "squatter", email="owner@example.com", verified=False)
    clock.advance(WEEK + 1)
    assert site.register("owner").status_code == 400
    assert purge(site) == NOTHING


def test_without_the_flow_nothing_is_pending_either(new_site: NewSite, clock: Clock) -> None:
    site = new_site(flows=[flow for flow in DEFAULT_FLOWS if flow.name != "register"])
    account(site, "squatter", verified=False)
    clock.advance(WEEK + 1)
    assert purge(site) == NOTHING


@each_row("kind", [None, Integer], ids=["no date_joined", "a date_joined that is no time"])
def test_a_model_that_does_not_know_when_somebody_joined_keeps_them(
    database: str, new_site: NewSite, clock: Clock, kind: Any
) -> None:
    columns = {} if kind is None else {"date_joined": lambda: mapped_column(kind, default=0)}
    site = new_site(database, define=own_model(**columns))
    site.register("squatter", email="owner@example.com")
    clock.advance(WEEK + 1)
    assert site.register("owner").status_code == 201
    assert purge(site) == NOTHING
    assert [user.username for user in accounts(site)] == ["squatter"]


def test_without_enumeration_protection_it_makes_room_as_well(
    new_site: NewSite, clock: Clock
) -> None:
    site = new_site(PREVENT_ENUMERATION=False)
    site.register("squatter", email="owner@example.com")
    assert site.register("owner").status_code == 400
    clock.advance(WEEK + 1)
    assert site.register("owner").status_code == 201


def test_of_many_who_replace_an_expired_registration_one_does_and_all_get_the_same_reply(
    database: str, new_site: NewSite, clock: Clock
) -> None:
    site = new_site(database, config=AT_ONCE)
    site.register("squatter", email="owner@example.com")
    clock.advance(WEEK + 1)
    site.outbox.clear()
    with site.hears(user_deleted, user_registered) as heard:
        replies = at_once(
            lambda number: site.register(f"owner{number}", email="owner@example.com"), 8
        )
    assert {reply.status_code for reply in replies} == {201}
    assert sorted(each["signal"] for each in heard) == ["user-deleted", "user-registered"]
    assert len(accounts(site)) == 1
    assert len(site.users()) == 8
    # To verify, or about the other registrations: one e-mail with a link in a minute.
    assert [message.recipients for message in site.outbox] == [["owner@example.com"]]


# What depends on an account


def define_with_workspaces(*, cascade: bool) -> Callable[[Any], type[Any]]:
    """An application whose workspaces need their users, and go with them or not."""

    def make(db: Any) -> type[Any]:
        class Workspace(db.Model):  # type: ignore[misc]  # a class made at run time
            id: Mapped[int] = mapped_column(primary_key=True)
            user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))

        class User(UserMixin, db.Model):  # type: ignore[misc]  # a class made at run time
            __tablename__ = "users"
            if cascade:
                workspaces = relationship(Workspace, cascade="all, delete-orphan")

        User.workspace = Workspace
        return User

    return make


def with_workspaces(new_site: NewSite, database: str, *, cascade: bool) -> Site:
    """A site where the squatter has one, and has waited for too long."""
    site = new_site(database, define=define_with_workspaces(cascade=cascade))
    site.register("squatter", email="owner@example.com")
    with site.app.app_context():
        site.db.session.add(site.User.workspace(user_id=site.user(username="squatter").id))
        site.db.session.commit()
    return site


def test_rows_that_go_with_an_account_go_with_it(
    database: str, new_site: NewSite, clock: Clock
) -> None:
    site = with_workspaces(new_site, database, cascade=True)
    clock.advance(WEEK + 1)
    assert purge(site) == ONE_GONE
    assert site.users() == []


def test_an_account_that_other_rows_need_stays_and_its_owner_is_told(
    server_database: str, new_site: NewSite, clock: Clock
) -> None:
    site = with_workspaces(new_site, server_database, cascade=False)
    site.register("other")
    clock.advance(WEEK + 1)
    with site.hears(user_deleted) as heard:
        assert site.register("owner").status_code == 201
        assert {user.username for user in accounts(site)} == {"squatter", "other"}
        assert "choose your password" in text_of(site.read())
        assert (
            purge(site)[0]
            == "1 unverified registration removed, 1 kept: in use, or no longer expired"
        )
    assert [each["user"].username for each in heard] == ["other"]
    assert [user.username for user in accounts(site)] == ["squatter"]


@each_row("login_model", [define_login, define_login_with_foreign_key])
def test_sessions_that_are_rows_do_not_keep_an_account(
    database: str, new_site: NewSite, clock: Clock, login_model: Any
) -> None:
    site = new_site(database, login_model=login_model)
    site.register("squatter", email="owner@example.com")
    with site.app.test_request_context():
        site.app.extensions["registration"].logins.begin(
            site.db.session.query(site.User).one(), "token", commit=True
        )
    clock.advance(WEEK + 1)
    assert site.register("owner").status_code == 201
    assert [user.username for user in accounts(site)] == ["owner"]
    assert logins(site) == []


# A verification that comes meanwhile


@contextmanager
def when(site: Site, start: str, act: Callable[[], None]) -> Iterator[list[str]]:
    """Act once, just before the first statement that starts like this."""
    done: list[str] = []

    def listen(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(start) and not done:
            done.append(statement)
            act()

    with site.app.app_context():
        engine = site.db.engine
    event.listen(engine, "before_cursor_execute", listen)
    try:
        yield done
    finally:
        event.remove(engine, "before_cursor_execute", listen)


def test_a_verification_that_is_faster_keeps_its_account(
    database: str, new_site: NewSite, clock: Clock
) -> None:
    site = new_site(database)
    site.register("squatter", email="owner@example.com")
    clock.advance(WEEK + 1)

    def verify() -> None:
        with engine.begin() as other:
            other.execute(update(site.User).values(is_verified=True))

    with site.app.app_context():
        engine = site.db.engine
    with (
        when(site, "UPDATE users SET password_hash", verify) as done,
        site.hears(user_deleted) as heard,
    ):
        assert purge(site) == [
            "0 unverified registrations removed, 1 kept: in use, or no longer expired"
        ]
    assert done
    assert heard == []
    assert site.user(username="squatter").is_verified


def test_a_registration_that_is_gone_already_is_no_error(
    sqlite_url: str, new_site: NewSite, clock: Clock
) -> None:
    site = new_site(sqlite_url)
    site.register("squatter", email="owner@example.com")
    clock.advance(WEEK + 1)

    def remove() -> None:
        assert purge(site) == ONE_GONE

    # The other command runs between the look for what has expired and the first removal.
    with when(site, "SELECT users.username", remove) as done:
        assert purge(site)[0].startswith("0 unverified registrations removed")
    assert done
    assert site.users() == []


# The command


def test_it_removes_what_has_expired_and_announces_that(
    database: str, new_site: NewSite, clock: Clock
) -> None:
    site = new_site(database, login_model=define_login)
    for name in ("old", "older"):
        site.register(name)
    account(site, "member")
    client = log_in(site, "member")
    clock.advance(WEEK + 1)
    site.register("young")
    assert purge(site, "--dry-run") == ["2 unverified registrations", "0 expired logins"]
    with site.hears(user_deleted) as heard:
        assert purge(site) == ["2 unverified registrations removed", "0 expired logins"]
    assert [each["user"].username for each in heard] == ["old", "older"]
    assert [each["request"] for each in heard] == [None, None]
    assert {user.username for user in accounts(site)} == {"member", "young"}
    assert purge(site) == [*NOTHING, *NO_LOGINS]
    assert client.get("/accounts/profile/").status_code == 200


def test_it_removes_logins_that_have_expired_and_no_others(
    database: str, new_site: NewSite, clock: Clock
) -> None:
    site = new_site(database, login_model=define_login)
    account(site, "member")
    log_in(site, "member")
    clock.advance(20 * 24 * 3600)
    log_in(site, "member")
    clock.advance(11 * 24 * 3600 + 1)
    assert purge(site, "--older-than", "1")[1] == "0 expired logins"
    assert purge(site, "--dry-run")[1] == "1 expired login"
    assert len(logins(site)) == 2
    assert purge(site)[1] == "1 expired login removed"
    assert len(logins(site)) == 1


def test_older_than_keeps_what_expired_a_short_while_ago(
    database: str, new_site: NewSite, clock: Clock
) -> None:
    site = new_site(database)
    site.register("squatter")
    clock.advance(WEEK + 3 * 24 * 3600)
    assert purge(site, "--older-than", "3") == NOTHING
    clock.advance(1)
    assert purge(site, "--older-than", "3") == ONE_GONE


def test_it_works_in_batches(
    new_site: NewSite, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_registration.actions.administration.BATCH", 2)
    site = new_site()
    for number in range(5):
        site.register(f"squatter{number}")
    clock.advance(WEEK + 1)
    assert purge(site)[0] == "5 unverified registrations removed"
    assert site.users() == []


@each_row("zoned", [True, False], ids=["with a time zone", "without"])
@each_row("hours", [-1, 1], ids=["an hour before", "an hour after"])
def test_times_are_utc_whatever_the_zone_of_the_session(
    database: str, new_site: NewSite, clock: Clock, zoned: bool, hours: int
) -> None:
    def joined() -> datetime:
        return utc_now() if zoned else utc_now().replace(tzinfo=None)

    site = new_site(
        database,
        define=own_model(
            date_joined=lambda: mapped_column(DateTime(timezone=zoned), default=joined)
        ),
        config={"SQLALCHEMY_ENGINE_OPTIONS": session_far_east(database)},
    )
    site.register("squatter")
    clock.advance(WEEK + hours * 3600)
    expired = hours > 0
    assert (purge(site) == ONE_GONE) is expired


def session_far_east(database: str) -> dict[str, Any]:
    """Engine options for a session whose own time zone is far from UTC."""
    if database.startswith("postgresql"):
        return {"connect_args": {"options": "-c timezone=Pacific/Auckland"}}
    if database.startswith("mysql"):
        return {"connect_args": {"init_command": "SET SESSION time_zone='+12:00'"}}
    return {}


def test_on_a_terminal_it_shows_how_far_it_is(
    site: Site, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.register("squatter")
    clock.advance(WEEK + 1)
    monkeypatch.setattr(
        "click.testing._NamedTextIOWrapper.isatty", lambda self: True, raising=False
    )
    output = "\n".join(purge(site))
    assert "100%" in output
    assert output.endswith("1 unverified registration removed")
