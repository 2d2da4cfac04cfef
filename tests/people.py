"""Who logs in: accounts, browsers and tokens for the tests of sessions."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import flask_login
import pytest
from flask.testing import FlaskClient
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import CHAR, ForeignKey, TypeDecorator, Uuid, select
from sqlalchemy.orm import Mapped, mapped_column
from werkzeug.test import TestResponse

from flask_registration import LoginMixin, UserMixin

from .site import PASSWORD, Site, define
from .tables import each_row

#: The reply to whoever is not logged in.
NOT_AUTHENTICATED = {"detail": "Please log in.", "code": "not-authenticated"}
LOGIN_INVALID = {
    "detail": "Incorrect username, e-mail address or password.",
    "code": "login-invalid",
}
LOGGED_IN = {"detail": "Login successful"}
LOGGED_OUT = {"detail": "Logout successful"}


def define_login(db: SQLAlchemy) -> type[Any]:
    """The model of the documentation."""

    class Login(LoginMixin, db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
        __tablename__ = "logins"

    return Login


def define_login_with_foreign_key(db: SQLAlchemy) -> type[Any]:
    """Logins that the database ties to their users."""

    class Login(LoginMixin, db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
        __tablename__ = "logins"
        user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)

    return Login


def define_login_with_uuid_foreign_key(db: SQLAlchemy) -> type[Any]:
    class Login(LoginMixin, db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
        __tablename__ = "logins"
        user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), index=True)

    return Login


class Guid(TypeDecorator[uuid.UUID]):
    """A UUID kept as text, by a type of the application."""

    impl, cache_ok = CHAR(32), True

    def process_bind_param(self, value: Any, dialect: Any) -> str | None:
        return value and uuid.UUID(str(value)).hex

    def process_result_value(self, value: Any, dialect: Any) -> uuid.UUID | None:
        return value and uuid.UUID(value)


def define_guid_user(db: SQLAlchemy) -> type[Any]:
    """Users whose key has a type of the application."""
    key = partial(mapped_column, Guid, primary_key=True, default=uuid.uuid4, sort_order=-1)
    return define(UserMixin, columns=lambda: {"id": key()})(db)


def define_login_with_guid_foreign_key(db: SQLAlchemy) -> type[Any]:
    class Login(LoginMixin, db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
        __tablename__ = "logins"
        user_id: Mapped[uuid.UUID] = mapped_column(Guid, ForeignKey("users.id"), index=True)

    return Login


#: Users who are numbered by UUIDs.
define_uuid_user = define(
    UserMixin,
    columns=lambda: {
        "id": mapped_column(Uuid, primary_key=True, default=uuid.uuid4, sort_order=-1)
    },
)

with_and_without_login_model = each_row(
    "login_model",
    [
        pytest.param(None, id="without a login model"),
        pytest.param(define_login, id="with a login model"),
    ],
)


def account(site: Site, username: str = "alice", *, verified: bool = True, **fields: Any) -> Any:
    """Open a verified account without a request; the row, detached."""
    names = {"username": username, "email": f"{username}@example.com"}
    fields = {
        "password": PASSWORD,
        **{name: names[name] for name in names if hasattr(site.User, name)},
        **fields,
    }
    with site.app.app_context():
        user = site.registration.create_user(verified=verified, **fields)
        site.db.session.commit()
        site.db.session.refresh(user)
        site.db.session.expunge(user)
        return user


def log_in(
    site: Site, login: str = "alice", password: str = PASSWORD, **options: Any
) -> FlaskClient:
    """A browser that is logged in.

    :param options: ``client`` that logs in, and more fields of the body.
    """
    client: FlaskClient = options.pop("client", None) or site.app.test_client()
    reply = site.post("login", {"login": login, "password": password, **options}, client=client)
    assert reply.status_code == 200, reply.get_json()
    return client


def token_of(site: Site, login: str = "alice", password: str = PASSWORD) -> str:
    """The token of a new login."""
    reply = site.post("login", {"login": login, "password": password})
    assert reply.status_code == 200, reply.get_json()
    token = reply.get_json()["token"]
    assert isinstance(token, str)
    return token


def bearer(token: str, scheme: str = "Bearer") -> dict[str, str]:
    """The header of a client that has a token."""
    return {"Authorization": f"{scheme} {token}"}


def profile(site: Site, client: FlaskClient | None = None, **options: Any) -> TestResponse:
    """Ask for the profile."""
    return (client or site.app.test_client()).get("/accounts/profile/", **options)


def knows(site: Site, client: FlaskClient | None = None, **options: Any) -> bool:
    """Whether the client is somebody to us; if not, the reply must say so in full."""
    reply = profile(site, client, **options)
    if reply.status_code == 200:
        return True
    assert (reply.status_code, reply.get_json()) == (401, NOT_AUTHENTICATED)
    assert reply.headers["WWW-Authenticate"].startswith("Bearer")
    return False


def accepts(site: Site, token: str) -> bool:
    """Whether a token is good."""
    return knows(site, headers=bearer(token))


def copy_of(client: FlaskClient, *names: str) -> FlaskClient:
    """Another browser with the same cookies, or with some of them."""
    thief = client.application.test_client()
    for name in names or ("session", "remember_token"):
        cookie = client.get_cookie(name)
        if cookie:
            thief.set_cookie(name, cookie.value)
    return thief


def logins(site: Site) -> list[Any]:
    """The rows of the login model, the oldest first."""
    with site.app.app_context():
        rows = list(
            site.db.session.scalars(
                select(site.Login).order_by(site.Login.created_at, site.Login.id)
            )
        )
        site.db.session.expunge_all()
        return rows


def change_login(site: Site, login: Any, **columns: Any) -> None:
    """Change a login's row behind the API's back."""
    with site.app.app_context():
        row = site.db.session.get(site.Login, login.id)
        for name, value in columns.items():
            setattr(row, name, value)
        site.db.session.commit()


def add_members_page(site: Site) -> Callable[..., TestResponse]:
    """A page of the application's own behind ``flask_login.login_required``; returns what asks for
    it."""

    @site.app.get("/members")
    @flask_login.login_required  # type: ignore[untyped-decorator]  # Flask-Login ships no types
    def members() -> str:
        return str(flask_login.current_user.username)

    def ask(client: FlaskClient | None = None, **options: Any) -> TestResponse:
        return (client or site.app.test_client()).get("/members", **options)

    return ask
