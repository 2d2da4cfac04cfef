"""Sessions that the server keeps, with Flask-Session, and requests without a session."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import flask_login
import pytest
import redis
from flask import Flask, session
from flask.sessions import SessionInterface, SessionMixin
from flask.testing import FlaskClient
from flask_session import Session
from sqlalchemy import select

from flask_registration import ConfigurationError, actions

from .people import (
    account,
    add_members_page,
    bearer,
    copy_of,
    define_login,
    knows,
    log_in,
    token_of,
)
from .site import PASSWORD, Site
from .stores import REDIS
from .tables import each_row
from .test_dispatch import broken_commits

NewSite = Callable[..., Site]
Keeps = Callable[[Flask], Any]

NEW = "quite another battery of staples"
CHANGE = {"old_password": PASSWORD, "password": NEW, "password_confirm": NEW}

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:flask_session")


@pytest.fixture(params=["files", "redis", "the database of the users"])
def keeps(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Keeps]:
    """Let an application keep its sessions: the function to call with it before ``init_app``."""
    client = redis.Redis.from_url(REDIS)
    config: dict[str, Any] = {"SESSION_KEY_PREFIX": f"test-{tmp_path.name}-{request.param}:"}
    if request.param == "files":
        config |= {"SESSION_TYPE": "filesystem", "SESSION_FILE_DIR": str(tmp_path)}
    elif request.param != "redis":
        config |= {"SESSION_TYPE": "sqlalchemy"}
    else:
        config |= {"SESSION_TYPE": "redis", "SESSION_REDIS": client}
        try:
            client.ping()
        except redis.RedisError as error:
            pytest.skip(f"no Redis here ({REDIS}): {error}")

    def start(app: Flask) -> None:
        app.config.update(config, SESSION_SQLALCHEMY=app.extensions["sqlalchemy"])
        Session(app)

    yield start
    if request.param == "redis":
        for key in client.scan_iter(f"{config['SESSION_KEY_PREFIX']}*"):
            client.delete(key)
    client.close()


def add_cart(site: Site) -> None:
    """Add pages that keep a cart in the session."""

    @site.app.post("/cart")
    def fill() -> str:
        session["cart"] = "full"
        return ""

    @site.app.get("/cart")
    def look() -> dict[str, Any]:
        return {"cart": session.get("cart")}

    @site.app.post("/leave")
    def leave() -> str:
        for name in [*session]:
            if name != "_permanent":
                del session[name]
        actions.login(login="alice", password=PASSWORD)
        return ""

    @site.app.post("/enter")
    def enter() -> str:
        flask_login.login_user(site.db.session.scalars(select(site.User)).one())
        return ""


def planted(site: Site) -> tuple[FlaskClient, FlaskClient]:
    """Return an attacker, and a victim whose browser has the attacker's session."""
    attacker = site.app.test_client()
    attacker.post("/cart")
    return attacker, copy_of(attacker)


@pytest.fixture
def kept(new_site: NewSite, keeps: Keeps) -> Site:
    """Return an application that keeps its sessions, with an account."""
    site = new_site(before=keeps)
    add_cart(site)
    account(site)
    return site


def test_a_login_gives_the_session_a_new_id(kept: Site) -> None:
    attacker, victim = planted(kept)
    log_in(kept, client=victim)
    assert [knows(kept, victim), knows(kept, attacker)] == [True, False]
    assert attacker.get("/cart").get_json() == {"cart": None}


def test_a_login_in_a_view_that_emptied_the_session_does_so_too(kept: Site) -> None:
    attacker, victim = planted(kept)
    victim.post("/leave")
    assert [knows(kept, victim), knows(kept, attacker)] == [True, False]


def test_a_login_by_flask_login_gives_the_session_a_new_id_and_keeps_its_data(kept: Site) -> None:
    attacker, victim = planted(kept)
    victim.post("/enter")
    assert [knows(kept, victim), knows(kept, attacker)] == [True, False]
    assert victim.get("/cart").get_json() == {"cart": "full"}


def test_a_new_password_gives_the_session_a_new_id(kept: Site) -> None:
    client = log_in(kept)
    thief = copy_of(client)
    assert kept.post("change-password", CHANGE, client=client).status_code == 200
    assert [knows(kept, client), knows(kept, thief)] == [True, False]
    thief.post("/cart")
    assert client.get("/cart").get_json() == {"cart": None}


def test_a_logout_deletes_the_session(kept: Site) -> None:
    client = log_in(kept)
    client.post("/cart")
    thief = copy_of(client)
    assert kept.post("logout", {}, client=client).status_code == 200
    assert [knows(kept, client), knows(kept, thief)] == [False, False]
    assert thief.get("/cart").get_json() == {"cart": None}


def test_a_deleted_account_leaves_no_session(kept: Site) -> None:
    client = log_in(kept)
    client.post("/cart")
    thief = copy_of(client)
    reply = client.delete("/accounts/profile/", json={"password": PASSWORD})
    assert reply.status_code == 204
    assert thief.get("/cart").get_json() == {"cart": None}


def test_a_login_that_cannot_be_committed_leaves_what_was_in_the_session(kept: Site) -> None:
    client = kept.app.test_client()
    client.post("/cart")
    kept.app.config["PROPAGATE_EXCEPTIONS"] = False
    with broken_commits(kept):
        reply = kept.post("login", {"login": "alice", "password": PASSWORD}, client=client)
    assert reply.status_code == 500
    assert client.get("/cart").get_json() == {"cart": "full"}
    assert not knows(kept, client)


def test_a_new_password_that_cannot_be_committed_is_not_stored(
    new_site: NewSite, keeps: Keeps
) -> None:
    site = new_site(before=keeps, MAIL_DISPATCHER="inline", config={"PROPAGATE_EXCEPTIONS": False})
    account(site)
    client = log_in(site)
    site.app.extensions["mail"].suppress = False
    site.app.extensions["mail"].port = 1
    reply = site.post("change-password", CHANGE, client=client)
    assert (reply.status_code, reply.get_json()["code"]) == (503, "mail-unavailable")
    assert knows(site, client)
    assert knows(site, log_in(site, password=PASSWORD))


def test_the_same_holds_with_a_login_model(new_site: NewSite, keeps: Keeps) -> None:
    site = new_site(before=keeps, login_model=define_login)
    add_cart(site)
    account(site)
    attacker, victim = planted(site)
    log_in(site, client=victim)
    thief = copy_of(victim)
    assert [knows(site, victim), knows(site, attacker)] == [True, False]
    assert site.post("change-password", CHANGE, client=victim).status_code == 200
    assert [knows(site, victim), knows(site, thief)] == [True, False]


# Interfaces of the application


class OwnSession(dict[str, Any], SessionMixin):
    """A session without an id that can be seen."""


class OwnInterface(SessionInterface):
    """Keeps sessions under the id that the client sends."""

    def __init__(self) -> None:
        self.stored: dict[str, MutableMapping[str, Any]] = {}

    def open_session(self, app: Flask, request: Any) -> OwnSession:
        return OwnSession(self.stored.get(request.cookies.get("session", ""), {}))

    def save_session(self, app: Flask, session: Any, response: Any) -> None:
        self.stored["1"] = session


class Renewing(OwnInterface):
    def regenerate(self, session: Any) -> None:
        self.stored.clear()


class Failing(OwnInterface):
    def open_session(self, app: Flask, request: Any) -> OwnSession:
        raise KeyError(request.cookies["session"])


class NoSessions(SessionInterface):
    """Opens no session."""

    def open_session(self, app: Flask, request: Any) -> None:
        return None

    def save_session(self, app: Flask, session: Any, response: Any) -> None:
        pass


def use(interface: SessionInterface) -> Keeps:
    return lambda app: setattr(app, "session_interface", interface)


def problems(new_site: NewSite, interface: SessionInterface, **settings: Any) -> list[str]:
    """Return the ids of the errors at the start."""
    try:
        new_site(before=use(interface), **settings)
    except ConfigurationError as error:
        return [finding.id for finding in error.findings]
    return []


def test_an_interface_that_cannot_renew_the_id_is_refused_at_the_start(new_site: NewSite) -> None:
    assert problems(new_site, OwnInterface()) == ["registration.E043"]
    assert problems(new_site, Renewing()) == []
    assert problems(new_site, Failing()) == []
    tokens = {"LOGIN_AUTHENTICATE_SESSION": False, "LOGIN_RETRIEVE_TOKEN": True}
    assert problems(new_site, OwnInterface(), **tokens) == []


def test_an_interface_without_sessions_is_refused_where_a_login_makes_nothing_else(
    new_site: NewSite,
) -> None:
    assert problems(new_site, NoSessions()) == ["registration.E042"]
    assert problems(new_site, NoSessions(), LOGIN_RETRIEVE_TOKEN=True) == []


# Requests without a session


@each_row("opens", [True, False], ids=["with sessions", "without"])
@each_row("rows", [True, False], ids=["tokens in rows", "signed tokens"])
def test_an_account_lives_without_a_session_interface(
    new_site: NewSite, opens: bool, rows: bool
) -> None:
    site = new_site(
        before=use(NoSessions()),
        login_model=define_login if rows else None,
        LOGIN_AUTHENTICATE_SESSION=opens,
        LOGIN_RETRIEVE_TOKEN=True,
        REGISTER_VERIFICATION_ONE_TIME_USE=True,
        REGISTER_VERIFICATION_AUTO_LOGIN=True,
    )
    site.register()
    token = site.verify().get_json()["token"]
    assert knows(site, headers=bearer(token))
    token = token_of(site)
    reply = site.post("change-password", CHANGE, headers=bearer(token))
    assert reply.status_code == 200
    new = reply.get_json()["token"]
    assert [knows(site, headers=bearer(each)) for each in (token, new)] == [False, True]
    asked = site.post("register-email", {"email": "b@example.com"}, headers=bearer(new))
    assert asked.status_code == 200
    moved = site.post("verify-email", site.link(), headers=bearer(new))
    assert moved.status_code == 200
    new = moved.get_json()["token"]
    assert site.post("logout", {"revoke_token": True}, headers=bearer(new)).status_code == 200
    assert not knows(site, headers=bearer(new))
    token = token_of(site, password=NEW)
    gone = site.app.test_client().delete(
        "/accounts/profile/", json={"password": NEW}, headers=bearer(token)
    )
    assert gone.status_code == 204
    assert site.users() == []


def test_a_remember_me_cookie_is_ignored_without_a_session(new_site: NewSite) -> None:
    cookies = new_site()
    account(cookies)
    browser = log_in(cookies, remember=True)
    site = new_site(before=use(NoSessions()), LOGIN_RETRIEVE_TOKEN=True)
    account(site)
    members = add_members_page(site)
    client = copy_of(browser, "remember_token")
    client = _browser_of(site, client)
    assert not knows(site, client)
    assert members(client).status_code == 401
    token = token_of(site)
    assert site.post("logout", {}, client=client, headers=bearer(token)).status_code == 200


def _browser_of(site: Site, client: FlaskClient) -> FlaskClient:
    """Return a browser of another application with the same remember-me cookie."""
    cookie = client.get_cookie("remember_token")
    assert cookie is not None
    other = site.app.test_client()
    other.set_cookie("remember_token", cookie.value)
    return other


def test_a_user_of_a_request_loader_changes_the_password_without_a_session(
    new_site: NewSite,
) -> None:
    site = new_site(before=use(NoSessions()), LOGIN_RETRIEVE_TOKEN=True)
    user = account(site)

    @site.app.login_manager.request_loader  # type: ignore[attr-defined,untyped-decorator]
    def load(request: Any) -> Any:
        return site.db.session.get(site.User, user.id) if "X-Key" in request.headers else None

    reply = site.post("change-password", CHANGE, headers={"X-Key": "1"})
    assert (reply.status_code, set(reply.get_json())) == (200, {"detail"})
