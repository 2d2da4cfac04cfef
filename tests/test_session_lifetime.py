"""How long sessions and tokens are valid, used and unused, and after a change of the key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import flask_login
import pytest
from flask import session
from flask.testing import FlaskClient

from flask_registration import ConfigurationError

from .conftest import Clock
from .people import (
    account,
    bearer,
    copy_of,
    define_login,
    knows,
    log_in,
    token_of,
    with_and_without_login_model,
)
from .site import CONFIG, PASSWORD, Site
from .tables import each_row
from .test_identity import is_fresh

NewSite = Callable[..., Site]
LoginModel = Callable[[Any], type[Any]] | None

MINUTE, HOUR, DAY = 60, 3600, 86400
IDLE = {"SESSION_IDLE_PERIOD": timedelta(minutes=30)}


def add_counter(site: Site) -> None:
    """Add a page that changes the session, so that its cookie is made again."""

    @site.app.post("/count")
    def count() -> str:
        session["count"] = session.get("count", 0) + 1
        return ""


# The absolute lifetime


@with_and_without_login_model
def test_a_session_that_is_used_every_day_ends_after_its_lifetime(
    new_site: NewSite, clock: Clock, login_model: LoginModel
) -> None:
    site = new_site(login_model=login_model, config={"PERMANENT_SESSION_LIFETIME": 3 * DAY})
    add_counter(site)
    account(site)
    client = log_in(site)
    for _ in range(2):
        clock.advance(DAY)
        client.post("/count")
        assert knows(site, client)
    clock.advance(DAY - 1)
    assert knows(site, client)
    clock.advance(1)
    client.post("/count")
    assert not knows(site, client)


@with_and_without_login_model
def test_a_remembered_session_ends_after_the_same_lifetime(
    new_site: NewSite, clock: Clock, login_model: LoginModel
) -> None:
    site = new_site(login_model=login_model, config={"PERMANENT_SESSION_LIFETIME": 3 * DAY})
    account(site)
    client = log_in(site, remember=True)
    for seconds, is_in in [(DAY, True), (2 * DAY - 1, True), (1, False)]:
        clock.advance(seconds)
        browser = copy_of(client, "remember_token")
        assert knows(site, browser) is is_in
        assert knows(site, browser) is is_in


@with_and_without_login_model
def test_a_new_password_begins_a_new_lifetime(
    new_site: NewSite, clock: Clock, login_model: LoginModel
) -> None:
    site = new_site(login_model=login_model, config={"PERMANENT_SESSION_LIFETIME": 3 * DAY})
    account(site)
    client = log_in(site)
    clock.advance(2 * DAY)
    new = "quite another battery of staples"
    body = {"old_password": PASSWORD, "password": new, "password_confirm": new}
    assert site.post("change-password", body, client=client).status_code == 200
    clock.advance(2 * DAY)
    assert knows(site, client)


# The idle lifetime


@with_and_without_login_model
def test_without_the_setting_a_session_may_be_unused(
    new_site: NewSite, clock: Clock, login_model: LoginModel
) -> None:
    site = new_site(login_model=login_model)
    account(site)
    client = log_in(site)
    clock.advance(30 * DAY)
    assert knows(site, client)


@pytest.mark.databases
@with_and_without_login_model
def test_a_session_that_is_unused_for_the_idle_period_ends(
    database: str, new_site: NewSite, clock: Clock, login_model: LoginModel
) -> None:
    site = new_site(database, login_model=login_model, **IDLE)
    account(site)
    client, other = log_in(site), log_in(site)
    for _ in range(10):
        clock.advance(29 * MINUTE)
        assert knows(site, client)
    assert not knows(site, other)
    clock.advance(30 * MINUTE)
    assert not knows(site, client)
    assert not knows(site, client)


@with_and_without_login_model
def test_a_remembered_session_that_is_unused_for_the_idle_period_ends(
    new_site: NewSite, clock: Clock, login_model: LoginModel
) -> None:
    site = new_site(login_model=login_model, **IDLE)
    account(site)
    client = log_in(site, remember=True)
    for _ in range(3):
        clock.advance(29 * MINUTE)
        client = copy_of(client, "remember_token")
        assert knows(site, client)
    clock.advance(30 * MINUTE)
    assert not knows(site, client)
    assert not knows(site, copy_of(client, "remember_token"))


def test_a_session_with_a_loader_of_the_application_has_an_idle_period(
    new_site: NewSite, clock: Clock
) -> None:
    site = new_site(**IDLE)

    @site.app.login_manager.user_loader  # type: ignore[attr-defined,untyped-decorator]
    def load(identifier: str) -> Any:
        return site.db.session.get(site.User, int(identifier))

    account(site)
    client = log_in(site)
    for seconds, is_in in [(29 * MINUTE, True), (29 * MINUTE, True), (30 * MINUTE, False)]:
        clock.advance(seconds)
        assert knows(site, client) is is_in


def test_the_shortest_idle_period_ends_no_session_that_is_used(
    new_site: NewSite, clock: Clock
) -> None:
    for login_model in (None, define_login):
        site = new_site(login_model=login_model, SESSION_IDLE_PERIOD=MINUTE)
        account(site)
        client = log_in(site)
        for _ in range(20):
            clock.advance(MINUTE - MINUTE / 4 - 1)
            assert knows(site, client)
        clock.advance(MINUTE)
        assert not knows(site, client)


def test_the_cookie_is_sent_again_once_in_a_minute(new_site: NewSite, clock: Clock) -> None:
    site = new_site(**IDLE)
    account(site)
    client = log_in(site)
    sent = []
    for _ in range(6):
        clock.advance(MINUTE / 2)
        reply = client.get("/accounts/profile/")
        sent.append("Set-Cookie" in reply.headers)
    assert sent == [False, True] * 3


def test_a_session_that_goes_on_is_as_fresh_as_it_was(new_site: NewSite, clock: Clock) -> None:
    site = new_site(**IDLE)
    account(site)
    client = log_in(site)
    clock.advance(14 * MINUTE)
    assert is_fresh(site, client=client)
    clock.advance(2 * MINUTE)
    assert not is_fresh(site, client=client)


def test_a_remember_me_cookie_of_another_account_is_not_replaced(
    new_site: NewSite, clock: Clock
) -> None:
    site = new_site(**IDLE)
    for name in ("alice", "bob"):
        account(site, name)
    client, bob = log_in(site), log_in(site, "bob", remember=True)
    left = value_of(bob)
    client.set_cookie("remember_token", left)
    clock.advance(5 * MINUTE)
    assert knows(site, client)
    assert value_of(client) == left


@pytest.mark.databases
@with_and_without_login_model
def test_a_token_of_the_login_model_has_an_idle_period_and_a_signed_one_has_none(
    database: str, new_site: NewSite, clock: Clock, login_model: LoginModel
) -> None:
    site = new_site(database, login_model=login_model, LOGIN_RETRIEVE_TOKEN=True, **IDLE)
    account(site)
    token = token_of(site)
    for _ in range(3):
        clock.advance(29 * MINUTE)
        assert knows(site, headers=bearer(token))
    clock.advance(30 * MINUTE)
    assert knows(site, headers=bearer(token)) is (login_model is None)


@pytest.mark.databases
def test_the_list_of_logins_leaves_out_those_that_were_unused(
    database: str, new_site: NewSite, clock: Clock
) -> None:
    site = new_site(database, login_model=define_login, **IDLE)
    account(site)
    log_in(site)
    clock.advance(30 * MINUTE)
    listed = log_in(site).get("/accounts/logins/").get_json()
    assert [each["current"] for each in listed] == [True]


@each_row("period", [0, 59, timedelta(seconds=-1), "an hour"])
def test_an_idle_period_of_less_than_a_minute_is_refused(new_site: NewSite, period: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        new_site(SESSION_IDLE_PERIOD=period)
    assert [each.subject for each in caught.value.findings] == ["REGISTRATION_SESSION_IDLE_PERIOD"]


@each_row(
    "times",
    [
        "",
        "1",
        ".",
        "1.",
        ".1",
        "1.2.3",
        "-1.1",
        "1e9.1",
        "9" * 13 + ".1",
        "１７０００００００００.1",
    ],
)
def test_a_session_with_other_times_is_invalid(site: Site, times: str) -> None:
    account(site)
    client = log_in(site)
    with client.session_transaction() as transaction:
        start, _, _ = transaction["_user_id"].rpartition("~")
        transaction["_user_id"] = f"{start}~{times}"
    assert not knows(site, client)


# Keys


OLD, NEW = str(CONFIG["SECRET_KEY"]), "a new key, long enough for everyone as well"


def value_of(client: FlaskClient) -> str:
    cookie = client.get_cookie("remember_token")
    assert cookie is not None
    return cookie.value


@with_and_without_login_model
@each_row("kind", [str, bytes], ids=["text", "bytes"])
def test_a_remember_me_cookie_outlives_a_new_key_as_long_as_the_old_one_is_a_fallback(
    new_site: NewSite, login_model: LoginModel, kind: type[Any]
) -> None:
    site = new_site(login_model=login_model)
    account(site)
    client = log_in(site, remember=True)
    old, new = (key if kind is str else key.encode() for key in (OLD, NEW))
    others = ["another key that was used once upon a time", old]
    site.app.config.update(SECRET_KEY=new, SECRET_KEY_FALLBACKS=others)
    browser = copy_of(client, "remember_token")
    assert knows(site, browser)
    assert knows(site, copy_of(browser, "session"))
    forged = site.app.test_client()
    forged.set_cookie("remember_token", value_of(client)[:-1] + "!")
    assert not knows(site, forged)
    site.app.config.update(SECRET_KEY_FALLBACKS=[])
    assert not knows(site, copy_of(client, "remember_token"))
    assert knows(site, copy_of(browser, "session"))


def test_a_logout_clears_a_remember_me_cookie_of_an_earlier_key(site: Site) -> None:
    account(site)
    client = log_in(site, remember=True)
    site.app.config.update(SECRET_KEY=NEW, SECRET_KEY_FALLBACKS=[OLD])
    assert site.post("logout", {}, client=client).status_code == 200
    assert client.get_cookie("remember_token") is None


# Another browser


@each_row(
    "other",
    [{"headers": {"User-Agent": "another"}}, {"environ_base": {"REMOTE_ADDR": "198.51.100.7"}}],
    ids=["another browser", "another IP address"],
)
def test_a_session_seen_from_elsewhere_is_valid_and_no_longer_fresh(
    site: Site, other: dict[str, Any]
) -> None:
    account(site)
    client = log_in(site)
    assert is_fresh(site, client=client)
    assert knows(site, client, **other)
    assert not is_fresh(site, client=client)


def test_where_the_application_turns_session_protection_off_it_stays_fresh(site: Site) -> None:
    account(site)
    manager: flask_login.LoginManager = site.app.login_manager  # type: ignore[attr-defined]
    manager.session_protection = None
    client = log_in(site)
    assert knows(site, client, headers={"User-Agent": "another"})
    assert is_fresh(site, client=client)
