"""Who is asking: sessions and tokens, when they end, and whose Flask-Login it is."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import flask_login
import pytest
from flask import Flask, Request, g, render_template_string, request, session
from marshmallow import EXCLUDE, Schema, fields, post_load
from sqlalchemy import create_engine, select, text

from flask_registration import ConfigurationError, UserMixin, actions, user_logged_in

from .conftest import Clock
from .faults.database import Faults
from .flows.common import ask_move, member
from .people import (
    NOT_AUTHENTICATED,
    accepts,
    account,
    add_members_page,
    bearer,
    change_login,
    copy_of,
    define_login,
    knows,
    log_in,
    logins,
    profile,
    token_of,
    with_and_without_login_model,
)
from .site import PASSWORD, Site, define, define_user, own_model
from .tables import each_row

NewSite = Callable[..., Site]
LoginModel = Callable[[Any], type[Any]] | None

TOKENS = {"LOGIN_RETRIEVE_TOKEN": True}


def execute(site: Site, statement: str, **values: Any) -> None:
    """Execute and commit a statement beside the request that is going on."""
    engine = create_engine(site.app.config["SQLALCHEMY_DATABASE_URI"])
    with engine.begin() as connection:
        connection.execute(text(statement), values)
    engine.dispose()


# After a logout


@pytest.mark.databases
@each_row(
    "cookies", [("session",), ("remember_token",), ("session", "remember_token")], ids=" and ".join
)
def test_a_cookie_copied_before_the_logout_is_dead_where_sessions_are_rows(
    database: str, new_site: NewSite, cookies: tuple[str, ...]
) -> None:
    site = new_site(database, login_model=define_login)
    account(site)
    client, other = log_in(site, remember=True), log_in(site)
    thief = copy_of(client, *cookies)
    assert knows(site, copy_of(client, *cookies))
    site.post("logout", {}, client=client)
    assert not knows(site, thief)
    assert not knows(site, client)
    assert knows(site, other)
    assert len(logins(site)) == 1


@pytest.mark.databases
def test_a_token_is_dead_after_the_logout_where_tokens_are_rows(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database, login_model=define_login, **TOKENS)
    account(site)
    token, other = token_of(site), token_of(site)
    site.post("logout", {}, headers=bearer(token))
    assert [accepts(site, token), accepts(site, other)] == [False, True]


@pytest.mark.databases
def test_a_session_that_has_expired_is_dead(database: str, new_site: NewSite) -> None:
    site = new_site(database, login_model=define_login)
    account(site)
    client = log_in(site)
    (row,) = logins(site)
    assert row.expires_at - row.created_at == site.app.permanent_session_lifetime
    change_login(site, row, expires_at=row.created_at)
    assert not knows(site, client)


@pytest.mark.databases
def test_logging_in_again_ends_the_session_that_was_there_before(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database, login_model=define_login)
    account(site)
    client, other = log_in(site), log_in(site)
    thief = copy_of(client)
    log_in(site, client=client)
    assert [knows(site, each) for each in (client, thief, other)] == [True, False, True]
    assert len(logins(site)) == 2


def test_another_user_at_the_same_browser_ends_the_session_that_was_there_before(
    new_site: NewSite,
) -> None:
    site = new_site(login_model=define_login)
    account(site)
    account(site, "bob")
    client = log_in(site, "alice")
    thief = copy_of(client)
    log_in(site, "bob", client=client)
    assert profile(site, client).get_json()["username"] == "bob"
    assert not knows(site, thief)


# When the account changes


@with_and_without_login_model
@each_row(
    "change",
    [
        pytest.param({"is_active": False}, id="a suspension"),
        pytest.param({"security_stamp": "0" * 32}, id="a new security stamp"),
    ],
)
def test_every_session_and_token_ends_with_the_request_after(
    database: str, new_site: NewSite, login_model: LoginModel, change: dict[str, Any]
) -> None:
    site = new_site(database, login_model=login_model, **TOKENS)
    user = account(site)
    account(site, "bob")
    ask = add_members_page(site)
    client, token, bob = log_in(site, remember=True), token_of(site), log_in(site, "bob")
    assert (knows(site, client), accepts(site, token), ask(client).status_code) == (True, True, 200)
    site.change(user, **change)
    assert (knows(site, client), accepts(site, token)) == (False, False)
    assert (ask(client).status_code, ask(headers=bearer(token)).status_code) == (401, 401)
    assert not knows(site, copy_of(client, "remember_token"))
    assert knows(site, bob)


@with_and_without_login_model
def test_a_suspension_ends_them_where_the_model_takes_everybody_for_authenticated(
    new_site: NewSite, login_model: LoginModel
) -> None:
    everybody = define(UserMixin, is_authenticated=property(lambda self: True))
    site = new_site(define=everybody, login_model=login_model, **TOKENS)
    ask = add_members_page(site)
    user = account(site)
    client, token = log_in(site), token_of(site)
    assert (ask(client).status_code, ask(headers=bearer(token)).status_code) == (200, 200)
    site.change(user, is_active=False)
    assert (ask(client).status_code, ask(headers=bearer(token)).status_code) == (401, 401)


@pytest.mark.databases
@with_and_without_login_model
def test_every_session_and_token_ends_with_a_deletion(
    database: str, new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(database, login_model=login_model, **TOKENS)
    account(site)
    client, token = log_in(site), token_of(site)
    execute(site, "DELETE FROM users WHERE username = 'alice'")
    assert (knows(site, client), accepts(site, token)) == (False, False)


@pytest.mark.databases
@with_and_without_login_model
def test_they_stay_dead_when_the_database_gives_the_number_to_somebody_else(
    database: str, new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(database, login_model=login_model, **TOKENS)
    user = account(site)
    client, token = log_in(site), token_of(site)
    execute(site, "DELETE FROM users WHERE username = 'alice'")
    assert account(site, "bob", id=user.id).id == user.id
    assert (knows(site, client), accepts(site, token)) == (False, False)


@with_and_without_login_model
def test_a_suspension_that_is_lifted_brings_no_session_back(
    new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(login_model=login_model, **TOKENS)
    user = account(site)
    client, token = log_in(site), token_of(site)
    site.change(user, is_active=False)
    assert not knows(site, copy_of(client))
    site.change(user, is_active=True)
    assert (knows(site, client), accepts(site, token)) == (False, False)
    assert knows(site, log_in(site))


def test_an_account_may_be_suspended_before_it_is_stored(site: Site) -> None:
    with site.app.app_context():
        user = site.User(
            username="alice", email="alice@example.com", password_hash="!", is_active=True
        )
        user.is_active = False
        site.db.session.add(user)
        site.db.session.commit()
    assert len(site.user(username="alice").security_stamp) == 22


class SlowSchema(Schema):
    """A profile whose validation takes so long that an administrator acts meanwhile."""

    class Meta:
        unknown = EXCLUDE

    meanwhile: Callable[[], None] = staticmethod(lambda: None)
    username = fields.String()
    first_name = fields.String()

    @post_load
    def _take_long(self, data: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        SlowSchema.meanwhile()
        return data


@pytest.mark.databases
@each_row("method", ["PUT", "PATCH", "POST"])
def test_a_suspension_that_lands_during_a_slow_request_is_not_undone_by_it(
    database: str, new_site: NewSite, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    site = new_site(database, PROFILE_SCHEMA_CLASS=SlowSchema)
    account(site)
    client = log_in(site)
    suspend = "UPDATE users SET is_active = :no WHERE username = 'alice'"
    monkeypatch.setattr(
        SlowSchema, "meanwhile", staticmethod(lambda: execute(site, suspend, no=False))
    )
    reply = client.open(
        "/accounts/profile/", method=method, json={"username": "alice", "first_name": "Ada"}
    )
    assert (reply.status_code, reply.get_json()) == (401, NOT_AUTHENTICATED)
    after = site.user(username="alice")
    assert (after.is_active, after.first_name) == (False, "")


@pytest.mark.databases
def test_a_column_that_changes_during_a_slow_request_keeps_its_new_value(
    database: str, new_site: NewSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = new_site(database, PROFILE_SCHEMA_CLASS=SlowSchema)
    account(site)
    client = log_in(site)
    rename = "UPDATE users SET last_name = 'Lovelace', is_verified = :no WHERE username = 'alice'"
    monkeypatch.setattr(
        SlowSchema, "meanwhile", staticmethod(lambda: execute(site, rename, no=False))
    )
    assert client.patch("/accounts/profile/", json={"first_name": "Ada"}).status_code == 200
    after = site.user(username="alice")
    assert (after.first_name, after.last_name, after.is_verified) == ("Ada", "Lovelace", False)


@pytest.mark.databases
def test_a_suspension_during_a_logout_is_not_undone_by_it(database: str, new_site: NewSite) -> None:
    site = new_site(database, **TOKENS)
    user = account(site)
    client = log_in(site)

    def suspend(app: Any, **_: Any) -> None:
        execute(site, "UPDATE users SET is_active = :no WHERE username = 'alice'", no=False)

    with flask_login.user_logged_out.connected_to(suspend, site.app):
        assert site.post("logout", {}, client=client).status_code == 200
    assert not site.user(id=user.id).is_active


# When the database has the work done again


def give_way(site: Site, meanwhile: Callable[[], None], number: int) -> Faults:
    """The ``number``-th statement has to be tried again, and something happens meanwhile."""

    def busy(connection: Any) -> None:
        meanwhile()
        error = sqlite3.OperationalError("database is locked")
        vars(error)["sqlite_errorcode"] = (
            517  # SQLITE_BUSY_SNAPSHOT, which Python 3.10 has no name for
        )
        raise error

    faults = Faults(site, busy)
    faults.arm(number)
    return faults


def end_sessions(site: Site) -> None:
    """End every session and token of Alice's, in the database."""
    execute(
        site, "UPDATE users SET security_stamp = :stamp WHERE username = 'alice'", stamp="0" * 32
    )


def test_who_asks_is_looked_at_again(new_site: NewSite, sqlite_url: str) -> None:
    site = new_site(sqlite_url)
    account(site)
    client = log_in(site)
    faults = give_way(site, lambda: end_sessions(site), 2)
    reply = client.patch("/accounts/profile/", json={"first_name": "Ada"})
    assert len(faults.hits) == 1
    assert (reply.status_code, reply.get_json()) == (401, NOT_AUTHENTICATED)
    assert site.user(username="alice").first_name == ""


def test_who_asks_may_be_nobody_or_come_by_a_session_when_the_work_is_done_again(
    new_site: NewSite, sqlite_url: str
) -> None:
    site = new_site(sqlite_url)
    account(site)
    faults = give_way(site, lambda: None, 1)
    client = log_in(site)
    assert len(faults.hits) == 1
    faults.arm(2)
    assert client.patch("/accounts/profile/", json={"first_name": "Ada"}).status_code == 200
    assert len(faults.hits) == 1


def test_a_token_that_has_ended_meanwhile_makes_nobody_else_fresh(
    new_site: NewSite, sqlite_url: str
) -> None:
    own = Own()
    site = new_site(sqlite_url, before=own, **TOKENS)
    own.set_loaders(site)
    account(site)
    account(site, "bob")
    headers = {"X-Name": "bob", **bearer(token_of(site))}
    assert profile(site, headers=headers).get_json()["username"] == "alice"
    faults = give_way(site, lambda: end_sessions(site), 2)
    assert not is_fresh(site, headers=headers)
    assert len(faults.hits) == 1


# What was in the session before


def add_planting_pages(site: Site) -> None:
    @site.app.post("/plant")
    def plant() -> str:
        session.update(cart="planted", _id="planted", _registration_login_time=4e9)
        return ""

    @site.app.get("/look")
    def look() -> dict[str, Any]:
        return dict(session)


@with_and_without_login_model
def test_what_somebody_planted_in_the_session_is_gone_after_the_login(
    new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(login_model=login_model)
    add_planting_pages(site)
    account(site)
    client = site.app.test_client()
    client.post("/plant")
    assert client.get("/look").get_json()["cart"] == "planted"
    log_in(site, client=client)
    found = client.get("/look").get_json()
    assert "cart" not in found
    assert found["_id"] != "planted"
    assert found.get("_registration_login_time") != 4e9


@with_and_without_login_model
def test_what_is_named_survives_the_login_and_not_another_user_or_a_logout(
    new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(login_model=login_model, SESSION_KEEP=["cart", "wishes"])
    add_planting_pages(site)
    for name in ("alice", "bob"):
        account(site, name)
    client = site.app.test_client()

    def found() -> Any:
        content = client.get("/look").get_json()
        assert content.get("_id") != "planted"
        assert content.get("_registration_login_time") != 4e9
        return content.get("cart")

    client.post("/plant")
    log_in(site, client=client)
    assert found() == "planted"
    log_in(site, client=client)
    assert found() == "planted"
    new = "quite another battery of staples"
    body = {"old_password": PASSWORD, "password": new, "password_confirm": new}
    assert site.post("change-password", body, client=client).status_code == 200
    assert found() == "planted"
    log_in(site, "bob", client=client)
    assert found() is None
    client.post("/plant")
    site.post("logout", {}, client=client)
    assert client.get("/look").get_json() == {}


def test_with_a_loader_of_the_application_too(new_site: NewSite) -> None:
    site = new_site(SESSION_KEEP=["cart"])
    site.User.get_id = lambda user: f"user {user.username}"

    @site.app.login_manager.user_loader  # type: ignore[attr-defined,untyped-decorator]
    def load(identifier: str) -> Any:
        name = identifier.removeprefix("user ")
        return site.db.session.scalars(select(site.User).filter_by(username=name)).one()

    add_planting_pages(site)
    for name in ("alice", "bob"):
        account(site, name)
    client = log_in(site)
    client.post("/plant")
    log_in(site, client=client)
    assert client.get("/look").get_json()["cart"] == "planted"
    log_in(site, "bob", client=client)
    assert "cart" not in client.get("/look").get_json()


def test_a_permanent_session_stays_permanent_over_a_login(site: Site) -> None:
    @site.app.post("/visit")
    def visit() -> str:
        session.permanent = "permanent" in request.args
        return ""

    account(site)
    for query, is_permanent in (("", False), ("?permanent", True)):
        client = site.app.test_client()
        client.post(f"/visit{query}")
        log_in(site, client=client)
        cookie = client.get_cookie("session")
        assert cookie is not None
        assert (cookie.expires is not None) is is_permanent


@each_row("name", ["_user_id", "_id", "_fresh", "_remember", "_registration_login_time"])
def test_what_says_who_is_logged_in_cannot_be_kept(new_site: NewSite, name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        new_site(SESSION_KEEP=["cart", name])
    assert [each.subject for each in caught.value.findings] == ["REGISTRATION_SESSION_KEEP"]


def test_what_was_in_the_session_is_gone_after_the_logout(site: Site) -> None:
    add_planting_pages(site)
    account(site)
    client = log_in(site)
    client.post("/plant")
    site.post("logout", {}, client=client)
    assert client.get("/look").get_json() == {}


@each_row("sessions", [True, False], ids=["sessions too", "tokens alone"])
def test_a_logout_by_a_token_empties_the_session_where_logins_open_some(
    new_site: NewSite, sessions: bool
) -> None:
    site = new_site(LOGIN_AUTHENTICATE_SESSION=sessions, **TOKENS)
    add_planting_pages(site)
    account(site)
    client, token = site.app.test_client(), token_of(site)
    client.post("/plant")
    assert site.post("logout", {}, client=client, headers=bearer(token)).status_code == 200
    assert ("cart" in client.get("/look").get_json()) is not sessions


def test_a_logout_ends_a_session_where_logins_open_none(new_site: NewSite) -> None:
    site = new_site(LOGIN_AUTHENTICATE_SESSION=False, **TOKENS)
    add_entrance(site)
    account(site)
    client = site.app.test_client()
    client.post("/enter")
    assert knows(site, client)
    assert site.post("logout", {}, client=client).status_code == 200
    assert not knows(site, client)


def test_a_verification_that_logs_in_drops_what_was_planted(new_site: NewSite) -> None:
    site = new_site(REGISTER_VERIFICATION_ONE_TIME_USE=True, REGISTER_VERIFICATION_AUTO_LOGIN=True)
    add_planting_pages(site)
    site.register()
    client = site.app.test_client()
    client.post("/plant")
    site.post("verify-registration", site.link(), client=client)
    assert knows(site, client)
    assert "cart" not in client.get("/look").get_json()


def test_a_login_that_fails_leaves_the_session_alone(site: Site) -> None:
    add_planting_pages(site)
    account(site)
    client = site.app.test_client()
    client.post("/plant")
    site.post("login", {"login": "alice", "password": "wrong"}, client=client)
    assert client.get("/look").get_json()["cart"] == "planted"


# Cookies


@with_and_without_login_model
def test_a_cookie_made_with_another_key_is_nobodys(
    new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(login_model=login_model)
    other = new_site(
        login_model=login_model, config={"SECRET_KEY": "quite another key, long enough for anybody"}
    )
    stamp = "5" * 32
    for each in (site, other):
        each.change(account(each), security_stamp=stamp)
    client = log_in(other, remember=True)
    for names in (("session",), ("remember_token",)):
        thief = site.app.test_client()
        for name in names:
            cookie = client.get_cookie(name)
            assert cookie is not None
            thief.set_cookie(name, cookie.value)
        assert not knows(site, thief)
    assert knows(other, client)


@each_row(
    "session_id",
    [
        "1",
        "1~",
        "1~~",
        "~",
        "",
        "1~{mark}",
        "1~{mark}~wrong",
        "1~wrong~{secret}",
        "2~{mark}~{secret}",
        "x~{mark}~{secret}",
    ],
    ids=repr,
)
def test_a_session_of_rows_needs_its_user_its_mark_and_its_secret(
    new_site: NewSite, session_id: str
) -> None:
    site = new_site(login_model=define_login)
    for name in ("alice", "bob"):  # alike in all but their number
        account(site, name, security_stamp="5" * 32)
    client = log_in(site)
    with client.session_transaction() as transaction:
        number, mark, secret = transaction["_user_id"].split("~")
        assert number == "1"
        transaction["_user_id"] = session_id.format(mark=mark, secret=secret)
    assert not knows(site, client)


def test_a_session_does_not_carry_the_security_stamp(site: Site) -> None:
    user = account(site)
    client = log_in(site)
    with client.session_transaction() as transaction:
        assert user.security_stamp not in str(dict(transaction))
        assert user.password_hash not in str(dict(transaction))


@pytest.mark.databases
def test_a_sessions_secret_is_kept_as_a_digest_only(database: str, new_site: NewSite) -> None:
    site = new_site(database, login_model=define_login)
    account(site)
    client = log_in(site)
    with client.session_transaction() as transaction:
        secret = transaction["_user_id"].split("~")[2]
    (row,) = logins(site)
    assert len(secret) >= 22  # 128 bits in base64
    assert secret not in str(vars(row))
    assert (row.kind, len(row.digest)) == ("session", 64)


def test_a_session_cannot_be_used_as_a_token_nor_a_token_as_a_session(new_site: NewSite) -> None:
    site = new_site(login_model=define_login, **TOKENS)
    account(site)
    client, token = log_in(site), token_of(site)
    with client.session_transaction() as transaction:
        number, mark, secret = transaction["_user_id"].split("~")
        transaction["_user_id"] = f"{number}~{mark}~{token}"
    assert not accepts(site, secret)
    assert not knows(site, client)


@each_row("login_model", [None, define_login], ids=["signed", "in rows"])
def test_a_login_by_a_view_of_the_application_over_one_with_a_password_is_not_fresh(
    new_site: NewSite, login_model: Any
) -> None:
    site = new_site(login_model=login_model)
    for name in ("alice", "bob"):
        account(site, name)

    @site.app.post("/become-bob")
    def become_bob() -> str:
        flask_login.login_user(
            site.db.session.scalars(select(site.User).filter_by(username="bob")).one()
        )
        return ""

    client = log_in(site, "alice")
    assert client.post("/become-bob").status_code == 200
    assert client.get("/accounts/profile/").get_json()["username"] == "bob"
    reply = client.delete("/accounts/profile/")
    assert (reply.status_code, reply.get_json()["code"]) == (401, "reauthentication-required")


@with_and_without_login_model
def test_a_session_seen_from_another_browser_is_no_longer_fresh(
    new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(login_model=login_model)
    account(site)
    client = log_in(site)
    reply = site.post(
        "register-email",
        {"email": "new@example.com"},
        client=client,
        headers={"User-Agent": "thief"},
    )
    assert (reply.status_code, reply.get_json()["code"]) == (401, "reauthentication-required")


def is_fresh(site: Site, **how: Any) -> bool:
    """Whether a client may move the account to another address without the password."""
    reply = site.post("register-email", {"email": "another@example.com"}, **how)
    assert (reply.status_code, (reply.get_json() or {}).get("code")) in (
        (200, None),
        (401, "reauthentication-required"),
    )
    return reply.status_code == 200


@with_and_without_login_model
def test_after_a_move_a_session_is_as_fresh_as_it_was_before(
    new_site: NewSite, clock: Clock, login_model: LoginModel
) -> None:
    site = new_site(login_model=login_model)
    account(site)
    client = log_in(site, remember=True)
    link = ask_move(site, client, "new@example.com")
    clock.advance(600)
    assert site.post("verify-email", link, client=client).status_code == 200
    clock.advance(300)
    assert is_fresh(site, client=client)
    clock.advance(1)
    assert not is_fresh(site, client=client)
    assert knows(site, copy_of(client, "remember_token"))


@with_and_without_login_model
def test_who_has_not_shown_a_password_has_not_after_a_move_either(
    new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(
        login_model=login_model,
        REGISTER_VERIFICATION_ONE_TIME_USE=True,
        REGISTER_VERIFICATION_AUTO_LOGIN=True,
    )
    site.register()
    client = site.app.test_client()
    site.post("verify-registration", site.link(), client=client)
    asked = site.post(
        "register-email", {"email": "new@example.com", "password": PASSWORD}, client=client
    )
    assert asked.status_code == 200
    assert site.post("verify-email", site.link(), client=client).status_code == 200
    assert knows(site, client)
    assert not is_fresh(site, client=client)
    with client.session_transaction() as transaction:
        assert "_registration_login_time" not in transaction
        assert transaction["_fresh"] is False  # what Flask-Login's fresh_login_required asks


@with_and_without_login_model
def test_a_token_that_a_move_renews_shows_no_password(
    new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(login_model=login_model, **TOKENS)
    account(site)
    client, token = site.app.test_client(use_cookies=False), token_of(site)
    link = ask_move(site, client, "new@example.com", headers=bearer(token))
    reply = site.post("verify-email", link, headers=bearer(token))
    assert not is_fresh(site, headers=bearer(reply.get_json()["token"]))


@with_and_without_login_model
def test_after_a_new_password_a_session_or_token_is_as_fresh_as_it_was(
    new_site: NewSite, clock: Clock, login_model: LoginModel
) -> None:
    site = new_site(login_model=login_model)
    account(site)
    client = log_in(site)
    clock.advance(1000)
    assert not is_fresh(site, client=client)
    new = "quite another battery of staples"
    body = {"old_password": PASSWORD, "password": new, "password_confirm": new}
    assert site.post("change-password", body, client=client).status_code == 200
    assert not is_fresh(site, client=client)
    site = new_site(login_model=login_model, **TOKENS)
    account(site)
    token = token_of(site)
    for password, other, seconds in ((PASSWORD, new, 900), (new, PASSWORD, 901)):
        clock.advance(seconds)
        body = {"old_password": password, "password": other, "password_confirm": other}
        reply = site.post("change-password", body, headers=bearer(token))
        token = reply.get_json()["token"]
        assert is_fresh(site, headers=bearer(token)) is (seconds == 900)


@with_and_without_login_model
def test_a_remembered_session_is_not_fresh_although_its_row_is(
    new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(login_model=login_model)
    account(site)
    remembered = copy_of(log_in(site, remember=True), "remember_token")
    assert knows(site, remembered)
    assert not is_fresh(site, client=remembered)


def test_with_a_login_model_only_the_row_says_whether_a_session_is_fresh(
    new_site: NewSite, clock: Clock
) -> None:
    site = new_site(login_model=define_login)
    account(site)
    client = log_in(site)
    change_login(site, logins(site)[0], fresh_at=None)
    with client.session_transaction() as transaction:
        assert "_registration_login_time" not in transaction
        transaction["_registration_login_time"] = clock()
    assert not is_fresh(site, client=client)
    change_login(site, logins(site)[0], fresh_at=datetime.fromtimestamp(clock() - 900, UTC))
    assert is_fresh(site, client=client)
    change_login(site, logins(site)[0], fresh_at=datetime.fromtimestamp(clock() - 901, UTC))
    assert not is_fresh(site, client=client)


def test_a_suspended_user_s_token_makes_no_other_user_fresh(
    new_site: NewSite, sqlite_url: str
) -> None:
    own = Own()
    site = new_site(sqlite_url, before=own, login_model=define_login, **TOKENS)
    own.set_loaders(site)
    user = account(site)
    account(site, "bob")
    client = log_in(site)
    headers = {"X-Name": "bob", **bearer(token_of(site))}
    execute(site, "UPDATE users SET is_active = false WHERE id = :id", id=user.id)
    assert client.get("/accounts/profile/", headers=headers).get_json()["username"] == "bob"
    assert not is_fresh(site, client=client, headers=headers)


# The application's own views


def test_what_the_application_does_before_a_request_it_does_still_and_may_ask_who_is_there(
    new_site: NewSite,
) -> None:
    seen: list[str] = []

    def before(app: Flask) -> None:
        app.before_request(lambda: seen.append("first"))
        app.before_request(
            lambda: seen.append(getattr(flask_login.current_user, "username", "nobody"))
        )

    site = new_site(before=before)
    account(site)
    client = log_in(site)
    assert knows(site, client)
    assert seen == ["first", "nobody", "first", "alice"]


def test_two_applications_with_the_same_users_begin_one_login_each(
    new_site: NewSite, sqlite_url: str
) -> None:
    """Each hears of its own logins alone."""
    first = new_site(sqlite_url, login_model=define_login)
    shared = {"define": lambda db: first.User, "login_model": lambda db: first.Login}
    second = new_site(sqlite_url, db=first.db, **shared)
    account(first)
    one, two = log_in(first), log_in(second)
    assert len(logins(first)) == 2
    assert knows(first, one)
    assert knows(second, two)


def test_a_template_before_the_first_request_may_ask_who_is_there(site: Site) -> None:
    with site.app.test_request_context():
        assert render_template_string("{{ current_user.is_anonymous }}") == "True"


def test_a_manager_without_loaders_may_be_set_up_after_ours(new_site: NewSite) -> None:
    site = new_site(**TOKENS)
    flask_login.LoginManager(site.app)
    ask = add_members_page(site)
    account(site)
    assert ask(log_in(site)).text == "alice"
    assert ask(headers=bearer(token_of(site))).text == "alice"


def test_a_request_in_the_application_context_of_another_has_a_language_of_its_own(
    site: Site,
) -> None:
    """As in the tests of an application, which often open one context around all."""
    languages = ["de", "en", "fr"]
    with site.app.app_context():
        replies = [profile(site, headers={"Accept-Language": each}) for each in languages]
    assert [reply.headers["Content-Language"] for reply in replies] == languages


@with_and_without_login_model
def test_a_request_in_the_application_context_of_another_still_shows_its_token(
    new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(login_model=login_model, **TOKENS)
    account(site)
    headers = bearer(token_of(site))
    new = "quite another battery of staples"
    body = {"old_password": PASSWORD, "password": new, "password_confirm": new}
    with site.app.app_context():
        assert profile(site, headers=headers).status_code == 200
        reply = site.post("change-password", body, headers=headers)
    assert accepts(site, reply.get_json()["token"])


@each_row("scheme", ["Bearer", "Token", "bearer", "TOKEN"], anew=True)
@with_and_without_login_model
def test_a_token_opens_a_page_of_the_applications_own_by(
    new_site: NewSite, login_model: LoginModel, scheme: str
) -> None:
    site = new_site(login_model=login_model, **TOKENS)
    ask = add_members_page(site)
    account(site)
    reply = ask(headers=bearer(token_of(site), scheme))
    assert (reply.status_code, reply.text) == (200, "alice")
    assert "Set-Cookie" not in reply.headers


@with_and_without_login_model
def test_a_session_opens_a_page_of_the_applications_own(
    new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(login_model=login_model)
    ask = add_members_page(site)
    account(site)
    assert ask().status_code == 401
    assert ask(log_in(site)).text == "alice"


def add_entrance(site: Site, make: Callable[[], Any] | None = None) -> None:
    """A page of the application that calls ``flask_login.login_user`` and commits nothing."""

    @site.app.post("/enter")
    def enter() -> str:
        user = (
            make()
            if make
            else site.db.session.scalars(select(site.User).filter_by(username="alice")).one()
        )
        assert flask_login.login_user(user, remember=True)
        return ""

    @site.app.get("/whoami")
    def whoami() -> str:
        return str(flask_login.current_user.get_id())


@with_and_without_login_model
def test_the_applications_own_login_user_opens_a_session_that_ends_with_the_stamp(
    database: str, new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(database, login_model=login_model)
    add_entrance(site)
    user = account(site)
    client = site.app.test_client()
    client.post("/enter")
    assert knows(site, client)
    assert knows(site, copy_of(client, "remember_token"))
    assert len(logins(site)) == 1 if site.Login else True
    site.change(user, security_stamp="0" * 32)
    assert not knows(site, client)
    assert not knows(site, copy_of(client, "remember_token"))


def test_who_came_by_the_applications_own_login_user_has_not_shown_us_a_password(
    site: Site,
) -> None:
    add_entrance(site)
    account(site)
    client = site.app.test_client()
    client.post("/enter")
    reply = site.post("register-email", {"email": "new@example.com"}, client=client)
    assert (reply.status_code, reply.get_json()["code"]) == (401, "reauthentication-required")


@each_row("has_loader", [False, True], ids=["without loaders", "with a loader"])
def test_a_template_knows_the_user_before_the_first_request_with_a_manager_that_comes_late(
    new_site: NewSite, has_loader: bool
) -> None:
    site = new_site()
    account(site)
    manager = flask_login.LoginManager(site.app)
    if has_loader:
        manager.user_loader(lambda identifier: site.db.session.get(site.User, int(identifier)))
    template = "{{ current_user.username }}"
    with site.app.test_request_context():
        assert render_template_string(template) == ""
    with site.app.test_request_context():
        flask_login.login_user(site.db.session.get(site.User, 1))
        g.pop("_login_user")  # what the next request of the browser would load
        assert render_template_string(template) == "alice"
    with site.app.test_request_context():
        actions.register(
            username="bob", email="bob@example.com", password=PASSWORD, password_confirm=PASSWORD
        )
        assert len(site.outbox) == 1


# The application's own LoginManager


class Own:
    """A ``LoginManager`` of an application, with loaders that tell what they were asked."""

    def __init__(self) -> None:
        self.manager = flask_login.LoginManager()
        self.asked: list[str] = []
        self.site: Site | None = None

    def __call__(self, app: Flask) -> None:
        self.manager.init_app(app)

    def set_loaders(self, site: Site) -> None:
        self.manager.user_loader(self.by_id)
        self.manager.request_loader(self.by_key)
        self.site = site

    def by_id(self, identifier: str) -> Any:
        self.asked.append(identifier)
        assert self.site is not None
        return self.site.db.session.get(self.site.User, int(identifier))

    def by_key(self, request: Request) -> Any:
        assert self.site is not None
        name = request.headers.get("X-Name")
        return self.site.db.session.scalars(
            select(self.site.User).filter_by(username=name)
        ).one_or_none()


@pytest.fixture(
    params=["before init_app", "manager before, loaders after", "manager and loaders after"]
)
def own(request: pytest.FixtureRequest) -> tuple[Own, Callable[..., Site]]:
    """An application's manager, and what makes a site with it, its parts set up in this order."""
    own = Own()

    def make(new_site: NewSite, **options: Any) -> Site:
        if request.param == "before init_app":
            own.manager.user_loader(own.by_id)
            own.manager.request_loader(own.by_key)
        site = new_site(before=None if request.param.startswith("manager and") else own, **options)
        if request.param.startswith("manager and"):
            own(site.app)
        own.set_loaders(site) if request.param != "before init_app" else setattr(own, "site", site)
        return site

    return own, make


@with_and_without_login_model
def test_the_applications_own_manager_and_loader_are_used_and_ours_wrapped_around(
    own: tuple[Own, Callable[..., Site]], new_site: NewSite, login_model: LoginModel
) -> None:
    manager, make = own
    site = make(new_site, login_model=login_model, **TOKENS)
    ask = add_members_page(site)
    user = account(site)
    client, token = log_in(site, remember=True), token_of(site)
    assert site.app.login_manager is manager.manager  # type: ignore[attr-defined]  # Flask-Login's
    manager.asked.clear()
    assert knows(site, client)
    assert manager.asked == [str(user.id)]
    assert ask(client).text == "alice"
    assert ask(headers=bearer(token)).text == "alice"
    assert knows(site, copy_of(client, "remember_token"))
    site.change(user, security_stamp="0" * 32)
    assert not knows(site, client)
    assert not accepts(site, token)


def test_the_applications_own_request_loader_is_asked_after_ours(
    own: tuple[Own, Callable[..., Site]], new_site: NewSite
) -> None:
    _, make = own
    site = make(new_site, **TOKENS)
    ask = add_members_page(site)
    account(site)
    account(site, "bob")
    token = token_of(site)
    assert ask(headers={"X-Name": "bob"}).text == "bob"
    assert ask(headers={"X-Name": "nobody"}).status_code == 401
    assert profile(site, headers={"X-Name": "bob"}).get_json()["username"] == "bob"
    assert ask(headers={"X-Name": "bob", **bearer(token)}).text == "alice"
    assert ask(headers={"X-Name": "bob", **bearer("forged")}).text == "bob"


def test_who_is_suspended_does_not_come_in_by_the_applications_own_request_loader(
    new_site: NewSite,
) -> None:
    own = Own()
    always = property(lambda self: True)
    site = new_site(before=own, define=define(UserMixin, is_authenticated=always))
    own.set_loaders(site)
    site.change(account(site), is_active=False)
    assert not knows(site, headers={"X-Name": "alice"})


def test_the_applications_own_unauthorized_handler_answers_on_its_own_views_only(
    new_site: NewSite,
) -> None:
    own = Own()
    own.manager.unauthorized_handler(lambda: ("our own words", 418))
    site = new_site(before=own)
    ask = add_members_page(site)
    assert (ask().status_code, ask().text) == (418, "our own words")
    assert not knows(site)


def test_one_manager_serves_two_applications_each_with_its_own_users(new_site: NewSite) -> None:
    manager = flask_login.LoginManager()
    first = new_site(before=manager.init_app)
    second = new_site(before=manager.init_app, login_model=define_login, **TOKENS)
    account(first)
    account(second, "bob")
    account(second)
    one, two = log_in(first), log_in(second)
    assert knows(first, one)
    assert profile(second, two).get_json()["username"] == "alice"
    assert accepts(second, token_of(second))
    site_thief = copy_of(two)
    second.post("logout", {}, client=two)
    assert not knows(second, site_thief)
    assert knows(first, one)


class InterruptedManager(flask_login.LoginManager):  # type: ignore[misc]  # Flask-Login ships no types
    """A manager whose loader a second thread needs while the first one looks."""

    meanwhile: Callable[[], Any] | None = None

    @property
    def user_callback(self) -> Any:
        found = self._user_callback
        if self.meanwhile:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        return found


def test_two_first_requests_at_once_leave_everybody_logged_in(new_site: NewSite) -> None:
    manager = InterruptedManager()
    site = new_site(before=manager.init_app)
    account(site)
    happened: list[Any] = []
    manager.meanwhile = lambda: happened.append(profile(site).status_code)
    client = log_in(site)
    assert happened == [401]
    assert knows(site, client)


# Users of other classes


class Admin(flask_login.UserMixin):  # type: ignore[misc]  # Flask-Login ships no types
    """Somebody whom the application logs in by itself."""

    def __init__(self, identifier: str) -> None:
        self.id = identifier

    username = "root"


@pytest.fixture(params=["admin-1", "admin~1", "admin~1~2", "~", "1~2~3~4"])
def admin_id(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@with_and_without_login_model
def test_users_of_other_classes_are_left_alone(
    new_site: NewSite, login_model: LoginModel, admin_id: str
) -> None:
    manager = flask_login.LoginManager()
    site = new_site(before=manager.init_app, login_model=login_model)

    @manager.user_loader  # type: ignore[untyped-decorator]  # Flask-Login ships no types
    def load(identifier: str) -> Any:
        return (
            Admin(identifier)
            if identifier == admin_id
            else site.db.session.get(site.User, int(identifier))
        )

    add_entrance(site, lambda: Admin(admin_id))
    ask = add_members_page(site)
    client = site.app.test_client()
    client.post("/enter")
    assert client.get("/whoami").text == admin_id
    assert ask(client).text == "root"
    if site.Login:
        assert logins(site) == []
    account(site)
    assert knows(site, log_in(site))


@each_row(
    ("method", "endpoint", "body"),
    [
        ("GET", "profile", None),
        ("PATCH", "profile", {"first_name": "Mallory"}),
        ("DELETE", "profile", {"password": PASSWORD}),
        ("POST", "logout", {}),
        ("POST", "logout", {"everywhere": True}),
        ("POST", "register-email", {"email": "new@example.com", "password": PASSWORD}),
        ("GET", "logins", None),
        ("DELETE", "logins/1", None),
    ],
)
def test_users_of_other_classes_are_nobody_to_our_endpoints(
    new_site: NewSite, method: str, endpoint: str, body: Any
) -> None:
    manager = flask_login.LoginManager()
    site = new_site(before=manager.init_app, login_model=define_login)
    manager.user_loader(lambda identifier: Admin(identifier))
    add_entrance(site, lambda: Admin("1"))
    account(site)
    before = site.user(username="alice").security_stamp
    client = site.app.test_client()
    client.post("/enter")
    options = {} if body is None else {"json": body}
    reply = client.open(f"/accounts/{endpoint}/", method=method, **options)
    assert (reply.status_code, reply.get_json()) == (401, NOT_AUTHENTICATED)
    assert (site.user(username="alice").security_stamp, site.user(username="alice").first_name) == (
        before,
        "",
    )


def test_a_clerk_changes_nothing_of_the_user_with_the_same_number(new_site: NewSite) -> None:
    manager = flask_login.LoginManager()
    clerks: list[Any] = []

    def define_both(db: Any) -> type[Any]:
        clerks.append(type("Clerk", (UserMixin, db.Model), {"__tablename__": "clerks"}))
        return define_user(db)

    site = new_site(before=manager.init_app, define=define_both)
    (clerk_model,) = clerks
    user = account(site)
    same = {
        name: getattr(user, name)
        for name in ("id", "username", "email", "password_hash", "security_stamp")
    }
    with site.app.app_context():
        site.db.session.add(clerk_model(**same, is_verified=True))
        site.db.session.commit()

    manager.user_loader(lambda identifier: site.db.session.get(clerk_model, int(identifier)))
    add_entrance(site, lambda: site.db.session.get(clerk_model, user.id))
    client = site.app.test_client()
    client.post("/enter")
    assert client.get("/whoami").text == "1"
    assert client.patch("/accounts/profile/", json={"first_name": "Mallory"}).status_code == 401
    assert client.delete("/accounts/profile/", json={"password": PASSWORD}).status_code == 401
    assert site.user(username="alice").first_name == ""


# Replies


@each_row("endpoint", ["profile", "logins"])
@each_row("known", [True, False], ids=["somebody", "nobody"])
def test_no_cache_keeps_what_is_told_to(endpoint: str, known: bool, new_site: NewSite) -> None:
    site = new_site(login_model=define_login)
    account(site)
    client = log_in(site) if known else site.app.test_client()
    reply = client.get(f"/accounts/{endpoint}/")
    assert reply.status_code == (200 if known else 401)
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


def test_a_key_that_is_retired_to_the_fallbacks_leaves_the_sessions(site: Site) -> None:
    account(site)
    client = log_in(site)
    old = site.app.config["SECRET_KEY"]
    site.app.config.update(
        SECRET_KEY="a new key, long enough for anybody as well", SECRET_KEY_FALLBACKS=[old]
    )
    assert knows(site, client)
    site.app.config["SECRET_KEY_FALLBACKS"] = []
    assert not knows(site, copy_of(client))


def with_get_id(model: type[Any]) -> type[Any]:
    model.get_id = lambda self: f"user-{self.id}"
    return model


def test_a_model_of_the_applications_own_keeps_its_get_id(new_site: NewSite) -> None:
    manager = flask_login.LoginManager()
    site = new_site(before=manager.init_app, define=lambda db: with_get_id(own_model()(db)))
    manager.user_loader(
        lambda name: site.db.session.get(site.User, int(name.removeprefix("user-")))
    )
    account(site)
    client = log_in(site)
    assert knows(site, client)
    with client.session_transaction() as transaction:
        assert transaction["_user_id"].startswith("user-1~")


def test_who_logs_in_by_flask_login_is_announced_by_flask_login_alone(site: Site) -> None:
    add_entrance(site)
    account(site)
    with site.hears(user_logged_in) as heard:
        site.app.test_client().post("/enter")
    assert heard == []


def test_a_verification_that_is_taken_back_ends_the_sessions_for_good(site: Site) -> None:
    member(site)
    client = log_in(site)
    for is_verified in (False, True):
        with site.app.app_context():
            site.db.session.scalars(select(site.User)).one().is_verified = is_verified
            site.db.session.commit()
        assert client.get("/accounts/profile/").status_code == 401
