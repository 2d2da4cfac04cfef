"""Suspended accounts: what Flask-Login calls inactive, whichever attribute says so."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import flask_login
import pytest
from flask_login import current_user
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Boolean, DateTime, ForeignKey, String, update
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import mapped_column, relationship, synonym
from werkzeug.test import TestResponse

from flask_registration import ConfigurationError, ForeignLogin, UserMixin, actions
from flask_registration.errors import AdministrationError, LoginInvalid

from .faults.test_interleaved import after_read
from .people import (
    accepts,
    account,
    add_members_page,
    copy_of,
    define_login,
    knows,
    log_in,
    token_of,
)
from .site import PASSWORD, Site, define, own_model
from .tables import each_row

NewSite = Callable[..., Site]

INVALID = (400, "login-invalid")


def by_status(*bases: type[Any], name: str = "is_active", kind: Any = property) -> Any:
    """Return what makes a model with a column ``status`` that suspends an account."""
    columns: dict[str, Callable[[], Any]] = {
        "status": lambda: mapped_column(String(10), default="active"),
        name: lambda: kind(lambda self: self.status == "active"),
    }
    return _model(bases, columns)


def by_flag(*bases: type[Any], **columns: Callable[[], Any]) -> Any:
    """Return what makes a model with a column ``enabled`` that suspends an account."""
    flag = {"enabled": lambda: mapped_column(Boolean, default=True)}
    return _model(bases, {**flag, **columns})


def _model(bases: tuple[type[Any], ...], columns: dict[str, Callable[[], Any]]) -> Any:
    if UserMixin in bases:
        return define(*bases, columns=lambda: {name: make() for name, make in columns.items()})
    made = own_model(**columns)
    if not bases:
        return made

    def derive(db: SQLAlchemy) -> type[Any]:
        model = made(db)
        for name in ("is_authenticated", "is_anonymous"):
            setattr(model, name, bases[0].__dict__[name])
        model.get_id = bases[0].get_id
        return model

    return derive


def by_ban(db: SQLAlchemy) -> type[Any]:
    """Return a model whose property reads another table."""

    class User(UserMixin, db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
        __tablename__ = "users"
        bans = relationship("Ban")
        is_active = property(lambda self: not self.bans)

    class Ban(db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
        __tablename__ = "bans"
        id = mapped_column(String(10), primary_key=True)
        user_id = mapped_column(ForeignKey("users.id"))

    User.Ban = Ban
    return User


def ban(site: Site, user: Any) -> None:
    with site.app.app_context():
        site.db.session.add(site.User.Ban(id="1", user_id=user.id))
        site.db.session.commit()


def set_columns(**columns: Any) -> Callable[[Site, Any], None]:
    """Return what suspends an account as SQL of the application does."""

    def suspend(site: Site, user: Any) -> None:
        statement = update(site.User).where(site.User.id == user.id).values(**columns)
        with site.app.app_context(), site.db.engine.begin() as connection:
            connection.execute(statement)

    return suspend


BANNED, DISABLED = set_columns(status="banned"), set_columns(enabled=False)
ENABLED = {"USER_ACTIVE_FIELD": "enabled"}

#: How a model says that an account is suspended: its definition, settings, and what suspends.
KINDS: dict[str, tuple[Any, dict[str, Any], Callable[[Site, Any], None]]] = {
    "a column": (own_model(is_active=lambda: mapped_column(Boolean, default=True)), {},
                 set_columns(is_active=False)),
    "a property": (by_status(), {}, BANNED),
    "a property, with the mixin": (by_status(UserMixin), {}, BANNED),
    "a hybrid": (by_status(kind=hybrid_property), {}, BANNED),
    "a property of another name": (
        by_status(name="may_enter"), {"USER_ACTIVE_FIELD": "may_enter"}, BANNED
    ),
    "a property that reads a time": (
        own_model(
            deleted_at=lambda: mapped_column(DateTime, default=None),
            is_active=lambda: property(lambda self: self.deleted_at is None),
        ), {}, set_columns(deleted_at=datetime(2026, 1, 1)),
    ),
    "a property that reads another table": (by_ban, {}, ban),
    "a column of another name": (by_flag(), ENABLED, DISABLED),
    "a column of another name, with Flask-Login's mixin": (
        by_flag(flask_login.UserMixin), ENABLED, DISABLED
    ),
    "a column of another name, with the mixin": (by_flag(UserMixin), ENABLED, DISABLED),
    "is_active beside a column of another name": (
        by_flag(UserMixin), ENABLED, set_columns(is_active=False)
    ),
    "a property beside a column of another name": (
        by_flag(
            last_login=lambda: mapped_column(DateTime(timezone=True)),
            locked=lambda: mapped_column(Boolean, default=False),
            is_active=lambda: property(lambda self: self.enabled and not self.locked),
        ), ENABLED, set_columns(locked=True),
    ),
    "a synonym": (by_flag(is_active=lambda: synonym("enabled")), {}, DISABLED),
}  # fmt: skip


def code(reply: TestResponse) -> tuple[int, Any]:
    return reply.status_code, reply.get_json().get("code")


@each_row("rows", [False, True], ids=["signed", "in rows"])
@each_row("kind", KINDS, ids=str)
def test_a_suspended_account_is_in_nowhere(
    new_site: NewSite, sqlite_url: str, kind: str, rows: bool
) -> None:
    make, settings, suspend = KINDS[kind]
    site = new_site(
        sqlite_url,
        define=make,
        login_model=define_login if rows else None,
        LOGIN_RETRIEVE_TOKEN=True,
        MAIL_LIMITS=None,
        **settings,
    )
    members = add_members_page(site)

    @site.app.post("/enter")
    def enter() -> dict[str, Any]:
        user = site.db.session.get(site.User, 1)
        try:
            return {"is_in": flask_login.login_user(user, force=True)}
        except ForeignLogin:
            return {"is_in": current_user.is_authenticated}

    user = account(site)
    client, token = log_in(site, remember=True), token_of(site)
    site.post("send-reset-password-link", {"login": "alice"})
    link = site.link()
    assert (knows(site, client), accepts(site, token)) == (True, True)
    assert site.app.test_client().post("/enter").get_json() == {"is_in": True}
    suspend(site, user)
    site.outbox.clear()
    assert (knows(site, client), accepts(site, token)) == (False, False)
    assert members(client).status_code == 401
    assert not knows(site, copy_of(client, "remember_token"))
    assert code(site.post("login", {"login": "alice", "password": PASSWORD})) == INVALID
    entering = site.app.test_client()
    assert entering.post("/enter").get_json() == {"is_in": False}
    assert not knows(site, entering)
    assert site.post("send-reset-password-link", {"login": "alice"}).status_code == 200
    new = {"password": "another fine otter", "password_confirm": "another fine otter"}
    assert code(site.post("reset-password", {**link, **new})) == (400, "signature-invalid")
    assert site.outbox == []
    with site.app.test_request_context(), pytest.raises(LoginInvalid):
        actions.log_in(site.db.session.get(site.User, 1))


@each_row("kind", KINDS, ids=str)
def test_a_link_does_not_verify_a_suspended_account(
    new_site: NewSite, sqlite_url: str, kind: str
) -> None:
    make, settings, suspend = KINDS[kind]
    site = new_site(sqlite_url, define=make, MAIL_LIMITS=None, **settings)
    site.register()
    suspend(site, site.user(username="alice"))
    assert code(site.verify()) == (400, "signature-invalid")
    site.outbox.clear()
    site.post("resend-verification", {"login": "alice"})
    assert (site.user(username="alice").is_verified, site.outbox) == (False, [])


@pytest.mark.databases
@each_row("kind", [kind for kind in KINDS if "with the mixin" in kind or "beside" in kind], ids=str)
def test_a_suspension_that_lands_during_a_login_stops_it(
    database: str, new_site: NewSite, kind: str
) -> None:
    make, settings, suspend = KINDS[kind]
    site = new_site(database, define=make, **settings)
    user = account(site)
    with after_read(site, 1, lambda: suspend(site, user)) as done:
        reply = site.post("login", {"login": "alice", "password": PASSWORD})
    assert done
    assert code(reply) == INVALID


def test_the_commands_suspend_by_a_column_of_another_name(new_site: NewSite) -> None:
    site = new_site(define=by_flag(), **ENABLED)
    account(site)
    client = log_in(site)
    with site.app.app_context():
        user = site.db.session.get(site.User, 1)
        assert actions.suspend(user)
        assert not actions.suspend(user)
        assert user is not None
        assert user.enabled is False
    assert not knows(site, client)
    with site.app.app_context():
        assert actions.reactivate(site.db.session.get(site.User, 1))
    assert knows(site, log_in(site))


def test_a_flag_of_another_name_that_is_set_again_restores_no_session(new_site: NewSite) -> None:
    site = new_site(define=by_flag(UserMixin), **ENABLED)
    user = account(site)
    client = log_in(site)
    site.change(user, enabled=False)
    site.change(user, enabled=True)
    assert not knows(site, client)
    assert knows(site, log_in(site))


@each_row(
    ("kind", "told"),
    [
        ("a property", "User.is_active is no column. Change the columns that it depends on."),
        (
            "a property of another name",
            "User.may_enter is no column. Change the columns that it depends on.",
        ),
    ],
)
def test_the_commands_say_that_they_cannot_set_a_property(
    new_site: NewSite, kind: str, told: str
) -> None:
    make, settings, _ = KINDS[kind]
    site = new_site(define=make, **settings)
    account(site)
    for act in (actions.suspend, actions.reactivate):
        with site.app.app_context(), pytest.raises(AdministrationError) as caught:
            act(site.db.session.get(site.User, 1))
        assert str(caught.value) == told


@each_row("kind", KINDS, ids=str)
def test_an_administrator_sets_the_password_of_a_suspended_account(
    new_site: NewSite, sqlite_url: str, kind: str
) -> None:
    make, settings, suspend = KINDS[kind]
    site = new_site(sqlite_url, define=make, **settings)
    user = account(site)
    suspend(site, user)
    with site.app.app_context():
        actions.set_password(site.db.session.get(site.User, 1), "another fine otter")
    assert site.users()[0].password_hash != user.password_hash


@each_row(
    ("make", "settings", "id"),
    [
        (own_model(), {"USER_ACTIVE_FIELD": "enabled"}, "E044"),
        (by_status(kind=lambda function: function), {}, "E045"),
        (by_status(name="may_enter", kind=lambda function: function),
         {"USER_ACTIVE_FIELD": "may_enter"}, "E045"),
        (define(UserMixin), {"USER_VERIFICATION_FLAG_FIELD": "is_active"}, "E046"),
    ],
    ids=["no such attribute", "a method", "a method of another name", "the verification flag"],
)  # fmt: skip
def test_what_cannot_say_that_an_account_is_suspended_is_refused_at_the_start(
    new_site: NewSite, make: Any, settings: dict[str, Any], id: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        new_site(define=make, **settings)
    assert [finding.id for finding in caught.value.findings] == [f"registration.{id}"]
