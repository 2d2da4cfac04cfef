"""What an application is told, when, and what its receivers can break; and flows of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from blinker import Namespace
from flask import Flask, current_app, request
from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields
from sqlalchemy import create_engine, select, text
from sqlalchemy.orm.attributes import set_attribute

from flask_registration import (
    DEFAULT_FLOWS,
    ConfigurationError,
    Finding,
    Flow,
    Settings,
    Setup,
    announce,
    current_registration,
    mail_failed,
    setting,
    user_activated,
    user_registered,
)
from flask_registration.errors import APIError
from flask_registration.http.responses import success

from .conftest import Clock
from .site import PASSWORD, Site, define_user

NewSite = Callable[..., Site]


@dataclass
class Told:
    """What a receiver was told, and what it saw then."""

    sender: Any
    arguments: dict[str, Any]
    username: str | None
    committed: Any = None
    mails: int = 0


class Ear:
    """A receiver that remembers, looking at the database through a connection of its own."""

    def __init__(self, site: Site, look: str = "SELECT is_verified FROM users") -> None:
        self.told: list[Told] = []
        self._site = site
        self._look = look

    def __call__(self, sender: Any, **arguments: Any) -> None:
        engine = create_engine(self._site.app.config["SQLALCHEMY_DATABASE_URI"])
        with engine.connect() as connection:
            rows = [bool(row[0]) for row in connection.execute(text(self._look))]
        engine.dispose()
        user = arguments["user"]
        self.told.append(
            Told(sender, arguments, user and user.username, rows, len(self._site.outbox))
        )


def test_a_registration_is_announced_after_the_commit_and_before_the_mail(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database)
    ear = Ear(site)
    with user_registered.connected_to(ear, site.app):
        assert site.register("alice").status_code == 201
    (told,) = ear.told
    assert told.sender is site.app
    assert told.arguments.keys() == {"user", "request"}
    assert told.username == "alice"
    assert told.arguments["request"].path == "/accounts/register/"
    assert type(told.arguments["request"]) is site.app.request_class
    assert (told.committed, told.mails) == ([False], 0)


def test_a_verification_is_announced_after_the_commit_and_once(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database)
    site.register("alice")
    ear = Ear(site)
    with user_activated.connected_to(ear, site.app):
        assert site.verify().status_code == 200
        assert site.verify().status_code == 200
    (told,) = ear.told
    assert told.sender is site.app
    assert told.arguments.keys() == {"user", "request"}
    assert told.username == "alice"
    assert told.arguments["request"].path == "/accounts/verify-registration/"
    assert told.committed == [True]


def test_nothing_is_announced_that_did_not_happen(site: Site, clock: Clock) -> None:
    site.register("alice")
    told: list[Any] = []

    def hear(sender: Any, **arguments: Any) -> None:
        told.append(arguments)

    with user_registered.connected_to(hear, site.app), user_activated.connected_to(hear, site.app):
        assert site.register("alice", email="bob@example.com").status_code == 400
        assert (
            site.register("bob", email="alice@example.com").status_code == 201
        )  # taken, but nobody is to know
        assert site.register("bob", password="x").status_code == 400
        assert site.verify(signature="x").status_code == 400
        clock.advance(61)
        assert site.post("resend-verification", {"login": "alice"}).status_code == 200
    assert told == []


def test_nothing_is_announced_or_mailed_when_the_commit_fails(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []

    def hear(sender: Any, **arguments: Any) -> None:
        told.append(arguments)

    def fail() -> None:
        raise RuntimeError("the commit fails")

    with user_registered.connected_to(hear, site.app):
        with monkeypatch.context() as patch:
            patch.setattr(site.db.session, "commit", fail)
            with pytest.raises(RuntimeError, match="the commit fails"):
                site.register("alice")
        assert (told, site.outbox, site.users()) == ([], [], [])
        assert site.register("alice").status_code == 201
    assert len(told) == len(site.outbox) == 1


def test_a_mail_that_fails_is_announced(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    error = OSError("the mail server is down")

    def unable(*_: Any) -> None:
        raise error

    monkeypatch.setattr("flask_registration.mail.dispatch.TimedConnection.send", unable)
    ear = Ear(site, "SELECT 1")
    site.app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    with mail_failed.connected_to(ear, site.app):
        assert site.register("alice").status_code == 201
    (told,) = ear.told
    assert told.sender is site.app
    assert told.arguments.keys() == {"user", "request", "template", "error"}
    assert (told.username, told.arguments["template"], told.arguments["error"]) == (
        "alice",
        "register",
        error,
    )
    assert told.arguments["request"].path == "/accounts/register/"


def test_outside_a_request_the_request_is_none(site: Site) -> None:
    signal = Namespace().signal("told")
    told: list[Any] = []

    def hear(sender: Any, **arguments: Any) -> None:
        told.append((sender, arguments))

    with signal.connected_to(hear, site.app), site.app.app_context():
        announce(signal, user=None)
    assert told == [(site.app, {"user": None, "request": None})]


def test_each_application_is_told_of_its_own_users_only(new_site: NewSite) -> None:
    one, other = new_site(), new_site()
    told: list[Any] = []

    def hear(sender: Any, **arguments: Any) -> None:
        told.append(sender)

    with user_registered.connected_to(hear, one.app):
        other.register("alice")
        assert told == []
        one.register("bob")
        assert told == [one.app]
    with user_registered.connected_to(hear):
        other.register("carol")
    assert told == [one.app, other.app]


# Receivers that raise


def test_a_receiver_that_raises_is_logged_and_stops_neither_the_others_nor_the_reply(
    database: str, new_site: NewSite, caplog: pytest.LogCaptureFixture
) -> None:
    site = new_site(database)
    heard: list[str] = []

    def make(name: str) -> Callable[..., None]:
        def receive(sender: Any, **_: Any) -> None:
            heard.append(name)
            if name.startswith("bad"):
                raise RuntimeError(f"{name} raises")

        return receive

    receivers = [make(name) for name in ("bad 1", "good 1", "bad 2", "good 2")]
    for signal in (user_registered, user_activated):
        for receiver in receivers:
            signal.connect(receiver, site.app)
    with caplog.at_level(logging.ERROR):
        assert site.register("alice").status_code == 201
        assert sorted(heard) == ["bad 1", "bad 2", "good 1", "good 2"]
        assert len(site.outbox) == 1
        reply = site.verify()
    assert (reply.status_code, reply.get_json()) == (200, {"detail": "User verified successfully"})
    assert len(heard) == 8
    assert site.users()[0].is_verified
    records = [record for record in caplog.records if record.exc_info]
    assert [record.getMessage() for record in records] == [
        f"A receiver of the signal {name} raised."
        for name in ("user-registered", "user-registered", "user-activated", "user-activated")
    ]
    assert {str(record.exc_info[1]) for record in records if record.exc_info} == {
        "bad 1 raises",
        "bad 2 raises",
    }
    for signal in (user_registered, user_activated):
        for receiver in receivers:
            signal.disconnect(receiver, site.app)


@pytest.mark.databases
def test_a_receiver_that_breaks_the_session_stops_neither_the_others_nor_the_reply(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database)
    heard: list[str] = []

    def breaks(sender: Any, *, user: Any, **_: Any) -> None:
        set_attribute(user, "username_key", None)
        site.db.session.flush()

    def hears(sender: Any, *, user: Any, **_: Any) -> None:
        heard.append("heard")

    with (
        user_registered.connected_to(breaks, site.app),
        user_registered.connected_to(hears, site.app),
    ):
        assert site.register("alice").status_code == 201
    assert heard == ["heard"]
    assert [user.username_key for user in site.users()] == ["alice"]
    assert len(site.outbox) == 1
    assert site.verify().status_code == 200


@pytest.mark.databases
def test_a_receiver_may_write_and_commit(database: str, new_site: NewSite) -> None:
    site = new_site(database)

    def greet(sender: Any, *, user: Any, **_: Any) -> None:
        user.first_name = "Dear"
        site.db.session.commit()

    with user_registered.connected_to(greet, site.app):
        assert site.register("alice").status_code == 201
    assert site.users()[0].first_name == "Dear"
    assert site.verify().status_code == 200


def test_async_receivers_are_awaited_and_may_raise_as_well(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Any] = []

    async def receive(sender: Any, *, user: Any, request: Any, **_: Any) -> None:
        await asyncio.sleep(0)
        heard.append((sender, user.username, request.path, current_app.name))

    async def fail(sender: Any, **_: Any) -> None:
        await asyncio.sleep(0)
        raise RuntimeError("raised in a coroutine")

    with (
        user_registered.connected_to(fail, site.app),
        user_registered.connected_to(receive, site.app),
    ):
        assert site.register("alice").status_code == 201
    assert heard == [(site.app, "alice", "/accounts/register/", site.app.name)]
    assert "raised in a coroutine" in caplog.text


def test_a_muted_signal_is_not_sent(site: Site) -> None:
    told: list[Any] = []

    def hear(sender: Any, **_: Any) -> None:
        told.append(sender)

    with user_registered.connected_to(hear, site.app):
        with user_registered.muted():
            assert site.register("alice").status_code == 201
        assert told == []
        assert site.register("bob").status_code == 201
    assert told == [site.app]


# A flow of the application's own


@dataclass(frozen=True, kw_only=True)
class InviteSettings(Settings):
    """Inviting."""

    invite_enabled: bool = setting(True, "Whether anybody may be invited.")
    invite_greeting: str = setting("Hello", "The first word.")


class InvitationsUsedUp(APIError):
    """All invitations are used."""

    status = 409
    code = "invitations-used-up"
    text = "All invitations are used."


class InviteSchema(Schema):
    username = fields.String(required=True)


user_invited = Namespace().signal("user-invited")
invite_flow: Flow[InviteSettings] = Flow(
    "invite", InviteSettings, sends_mail=lambda settings: False
)


@invite_flow.post(
    "/invite/",
    request=InviteSchema,
    errors=[InvitationsUsedUp],
    enabled=lambda settings: settings.invite_enabled,
)
def invite_view(data: dict[str, str]) -> ResponseReturnValue:
    """Invite somebody."""
    if current_registration.users.find("username", data["username"]):
        raise InvitationsUsedUp
    current_registration.commit(signals=[user_invited], user=None)
    return success(f"{invite_flow.settings.invite_greeting}, {data['username']}!", 202, seats=3)


async def count_view() -> ResponseReturnValue:
    """Count users, in a coroutine and without a body."""
    await asyncio.sleep(0)
    return {"count": len(current_registration.users.find("username", "alice"))}


invite_flow.post("/count/")(count_view)


@invite_flow.check
def check_greeting(setup: Setup) -> Iterator[Finding]:
    """A greeting is said to somebody who has a name."""
    name = "REGISTRATION_INVITE_GREETING"
    greeting = setup.group(InviteSettings).invite_greeting
    if setup.fields and not greeting:
        hint = f"Set it to greet {setup.fields.model.__name__}s."
        yield Finding("invite.E001", name, "is empty.", hint)
    elif greeting.isupper():
        yield Finding("invite.W001", name, "is loud.", "Set it in small letters.")


FLOWS: list[Flow[Any]] = [*DEFAULT_FLOWS, invite_flow]


def test_an_applications_own_flow_has_endpoints_settings_errors_and_signals(
    new_site: NewSite,
) -> None:
    site = new_site(flows=FLOWS, INVITE_GREETING="Servus")
    told: list[Any] = []

    def hear(sender: Any, **arguments: Any) -> None:
        told.append((sender, arguments["user"], arguments["request"].path))

    with user_invited.connected_to(hear, site.app):
        reply = site.post("invite", {"username": "alice"})
    assert (reply.status_code, reply.get_json()) == (202, {"detail": "Servus, alice!", "seats": 3})
    assert reply.headers["Cache-Control"] == "no-store"
    assert told == [(site.app, None, "/accounts/invite/")]
    site.register("alice")
    reply = site.post("invite", {"username": "ALICE"})
    assert (reply.status_code, reply.get_json()) == (
        409,
        {"detail": "All invitations are used.", "code": "invitations-used-up"},
    )
    assert site.post("invite", {}).get_json().keys() == {"username"}
    assert site.post("invite", data="username=alice").status_code == 415
    assert site.app.test_client().get("/accounts/invite").get_json()["code"] == "method-not-allowed"
    assert site.post("count", data="").get_json() == {"count": 1}
    assert site.verify().status_code == 200
    with site.app.test_request_context():
        assert site.app.url_for("registration.invite") == "/accounts/invite/"


def test_each_application_has_its_own_settings_of_such_a_flow(new_site: NewSite) -> None:
    polite, off = (
        new_site(flows=FLOWS, INVITE_GREETING="Good day"),
        new_site(flows=FLOWS, INVITE_ENABLED=False),
    )
    assert polite.post("invite", {"username": "bob"}).get_json()["detail"] == "Good day, bob!"
    assert off.post("invite", {"username": "bob"}).get_json()["code"] == "not-found"
    assert new_site().post("invite", {"username": "bob"}).status_code == 404


def test_such_a_flows_settings_are_checked_like_ours(new_site: NewSite) -> None:
    for value, says in ((5, "must be a string"), ("", "greet Users")):
        with pytest.raises(ConfigurationError) as caught:
            new_site(flows=FLOWS, INVITE_GREETING=value)
        ((name, cure),) = caught.value.problems
        assert f"error: {name} " in str(caught.value)
        assert name == "REGISTRATION_INVITE_GREETING"
        assert says in cure
    with pytest.raises(ConfigurationError, match=r"did you mean REGISTRATION_INVITE_ENABLED\?"):
        new_site(flows=FLOWS, INVITE_ENABELD=True)
    with pytest.raises(ConfigurationError, match="REGISTRATION_INVITE_GREETING"):
        new_site(INVITE_GREETING="unknown without the flow")


def test_a_flow_may_stand_alone(new_site: NewSite) -> None:
    site = new_site(flows=[invite_flow], define=define_user)
    assert site.post("invite", {"username": "alice"}).status_code == 202
    assert site.post("register", {}).status_code == 404


def test_an_applications_own_code_may_use_the_kit(site: Site) -> None:
    @site.app.get("/count/<name>")
    def count(name: str) -> ResponseReturnValue:
        assert request.endpoint == "count"
        return {"count": len(current_registration.users.find("username", name))}

    site.register("alice")
    client = site.app.test_client()
    assert client.get("/count/Alice").get_json() == {"count": 1}
    assert client.get("/count/bob").get_json() == {"count": 0}


def test_users_who_registered_are_the_applications_own(site: Site) -> None:
    seen: list[Any] = []

    def hear(sender: Flask, *, user: Any, **_: Any) -> None:
        seen.append(
            (
                type(user),
                user in site.db.session,
                site.db.session.scalars(select(site.User)).one() is user,
            )
        )

    with user_registered.connected_to(hear, site.app):
        site.register("alice", password=PASSWORD)
    assert seen == [(site.User, True, True)]
