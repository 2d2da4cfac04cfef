"""How often a client may ask, and how often anybody may ask about one account."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from marshmallow import Schema, fields
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import TestResponse
from werkzeug.utils import import_string

from flask_registration import (
    DEFAULT_FLOWS,
    ApprovalMixin,
    Flow,
    UserMixin,
    UserNotFound,
    success,
)
from flask_registration.flows import verification_redirects
from flask_registration.flows.default import OPTIONAL_FLOWS
from flask_registration.settings import Settings

from .conftest import Clock
from .faults.database import Faults, deadlock
from .flows.common import forged, log_in, member
from .flows.test_invitations import define_invitation
from .flows.test_second_factor import KEY, define_credential
from .flows.test_terms import define_consent
from .people import bearer
from .site import CHEAP_HASHER, PASSWORD, Site, define, whole
from .tables import each_row
from .test_configuration import problems
from .test_steps import define_challenge

NewSite = Callable[..., Site]

ON = {"RATELIMIT_ENABLED": True}
THROTTLED = {
    "detail": "Too many requests. Please wait a little before you try again.",
    "code": "throttled",
}
LOGIN_INVALID = {
    "detail": "Incorrect username, e-mail address or password.",
    "code": "login-invalid",
}
SETTING = "REGISTRATION_THROTTLES"
ROOT = Path(__file__).parent.parent


class CountingHasher:
    """Counts what it is asked for."""

    def __init__(self) -> None:
        self.count = 0

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        self.count += 1
        return CHEAP_HASHER.hash(password)

    def verify(self, password: str | bytes, hash: str | bytes) -> bool:
        self.count += 1
        return CHEAP_HASHER.verify(password, hash)

    def check_needs_rehash(self, hash: str | bytes) -> bool:
        return False

    @classmethod
    def identify(cls, hash: str | bytes) -> bool:
        return CHEAP_HASHER.identify(hash)


def by_email_too(**settings: Any) -> dict[str, Any]:
    return {"USER_LOGIN_FIELDS": ["username", "email"], **settings}


def limited(new_site: NewSite, throttles: Any, **settings: Any) -> Site:
    """An application with these limits, and the default ones for the other endpoints."""
    config = {**ON, **settings.pop("config", {})}
    return new_site(THROTTLES=throttles, config=config, **settings)


def guess(
    site: Site, body: dict[str, Any] | str = "alice", address: str = "192.0.2.1", **kwargs: Any
) -> TestResponse:
    """A login with a wrong password."""
    body = {"login": body} if isinstance(body, str) else body
    environ = {"REMOTE_ADDR": address}
    return site.post("login", {"password": "wrong", **body}, environ_base=environ, **kwargs)


def refused(reply: TestResponse) -> bool:
    """Whether it is a 429; if so, in full."""
    if reply.status_code != 429:
        return False
    assert reply.get_json() == THROTTLED
    assert re.fullmatch("[1-9][0-9]*", reply.headers["Retry-After"])
    assert reply.headers["Cache-Control"] == "no-store"
    return True


# One client


def test_a_client_that_asks_too_often_is_told_when_to_come_back(
    new_site: NewSite, clock: Clock
) -> None:
    site = limited(new_site, {"login": {"client": "3/minute"}})
    for _ in range(3):
        assert guess(site).get_json() == LOGIN_INVALID
        clock.advance(10)
    reply = guess(site)
    assert (refused(reply), reply.headers["Retry-After"]) == (True, "30")
    clock.advance(29.5)
    reply = guess(site)
    assert (refused(reply), reply.headers["Retry-After"]) == (True, "1")
    clock.advance(0.5)
    assert guess(site).get_json() == LOGIN_INVALID


def test_a_limit_is_one_endpoint_s_own(new_site: NewSite) -> None:
    site = limited(new_site, {"login": {"client": "1/minute"}})
    assert not refused(guess(site))
    assert refused(guess(site))
    assert site.register().status_code == 201


def test_of_several_limits_each_holds(new_site: NewSite, clock: Clock) -> None:
    site = limited(new_site, {"login": {"client": "3/hour;2/minute"}})
    assert [refused(guess(site)) for _ in range(3)] == [False, False, True]
    clock.advance(60)
    assert [refused(guess(site)) for _ in range(2)] == [False, True]
    clock.advance(60)
    reply = guess(site)
    assert (refused(reply), reply.headers["Retry-After"]) == (True, "3480")


@each_row(
    ("address", "other", "same"),
    [
        pytest.param("192.0.2.1", "192.0.2.2", False, id="two IPv4 addresses"),
        pytest.param(
            "2001:db8::1", "2001:db8::ffff:0:0:2", True, id="two IPv6 addresses of one /64"
        ),
        pytest.param("2001:db8::1", "2001:db8:0:1::1", False, id="IPv6 addresses of two /64"),
        pytest.param(
            "192.0.2.1", "::ffff:192.0.2.1", True, id="an IPv4 address and itself, mapped"
        ),
        pytest.param("::ffff:192.0.2.1", "::ffff:192.0.2.2", False, id="two mapped IPv4 addresses"),
        pytest.param("fe80::1%eth0", "fe80::2%eth0", True, id="two addresses with a zone"),
        pytest.param("", "192.0.2.1", False, id="a socket without an address"),
        pytest.param("192.0.2.1:50001", "192.0.2.1:50002", True, id="two ports"),
        pytest.param("192.0.2.1:50001", "192.0.2.1", True, id="an address with a port and without"),
        pytest.param("192.0.2.1:50001", "192.0.2.2:50001", False, id="one port of two addresses"),
        pytest.param("[2001:db8::1]:5", "2001:db8::2", True, id="IPv6 with a port and without"),
        pytest.param("[fe80::1%eth0]:5", "fe80::2", True, id="IPv6 with a zone and a port"),
    ],
)
def test_what_is_one_client(address: str, other: str, same: bool, new_site: NewSite) -> None:
    site = limited(new_site, {"login": {"client": "1/minute"}})
    assert not refused(guess(site, address=address))
    assert refused(guess(site, address=address))
    assert refused(guess(site, address=other)) is same


FORWARDED = (
    "X-Forwarded-For",
    "Forwarded",
    "X-Real-IP",
    "X-Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
)


def test_a_client_cannot_say_who_it_is(new_site: NewSite) -> None:
    site = limited(new_site, {"login": {"client": "1/minute"}})
    assert not refused(guess(site))
    for number, name in enumerate(FORWARDED):
        value = f"for=198.51.100.{number}" if name == "Forwarded" else f"198.51.100.{number}"
        assert refused(guess(site, headers={name: value}))


def test_a_proxy_that_the_application_trusts_says_who_it_is(
    new_site: NewSite, caplog: pytest.LogCaptureFixture
) -> None:
    site = limited(new_site, {"login": {"client": "1/minute"}})
    site.app.wsgi_app = ProxyFix(site.app.wsgi_app)  # type: ignore[method-assign]
    for address in ("198.51.100.1", "198.51.100.2"):
        assert not refused(guess(site, headers={"X-Forwarded-For": f"203.0.113.9, {address}"}))
    assert refused(guess(site, headers={"X-Forwarded-For": "198.51.100.2"}))
    assert "ProxyFix" not in caplog.text


def test_a_forgotten_proxyfix_is_told_once(
    new_site: NewSite, caplog: pytest.LogCaptureFixture
) -> None:
    site = limited(new_site, {"login": {"client": "1/minute"}})
    for _ in range(3):
        guess(site)
    assert "ProxyFix" not in caplog.text
    for _ in range(3):
        guess(site, headers={"X-Forwarded-For": "198.51.100.1"})
    assert [message for message in caplog.messages if "Fix" in message] == [
        "A client was throttled whose requests a proxy had forwarded. If the proxy is yours, "
        "all clients count as one: set up werkzeug.middleware.proxy_fix.ProxyFix."
    ]


def test_nothing_that_a_client_does_well_clears_its_counter(new_site: NewSite) -> None:
    """Else one's own account would make room for any number of guesses at others."""
    site = limited(new_site, {"login": {"client": "4/minute"}})
    member(site)
    for _ in range(2):
        assert not refused(guess(site, "bob", "127.0.0.1"))
        log_in(site)
    assert refused(site.post("login", {"login": "alice", "password": PASSWORD}))


def test_a_refusal_is_the_first_thing_that_is_done(new_site: NewSite) -> None:
    """Neither the database nor the hasher has work with it, whatever is in the body."""
    hasher = CountingHasher()
    throttles = {"login": {"client": "6/minute", "account": "2/minute"}}
    site = limited(new_site, throttles, PASSWORD_HASHER=hasher)
    member(site)
    while not refused(guess(site)):
        pass
    hasher.count = 0
    with site.statements() as statements:
        assert refused(guess(site))  # about this account
        while not refused(guess(site, {})):  # of this client
            pass
        environ = {"REMOTE_ADDR": "192.0.2.1"}
        assert refused(
            site.post("login", data="{", content_type="text/plain", environ_base=environ)
        )
    assert (hasher.count, statements) == (0, [])


def test_the_session_of_a_refused_client_is_not_looked_up(new_site: NewSite) -> None:
    site = limited(new_site, {"change_password": {"client": "1/minute"}})
    member(site)
    client = log_in(site)
    assert site.post("change-password", {}, client=client).status_code == 400
    with site.statements() as statements:
        assert refused(site.post("change-password", {}, client=client))
    assert statements == []


# One account

SPELLINGS = [
    pytest.param({"login": "alice"}, id="the login"),
    pytest.param({"username": "alice"}, id="the field"),
    pytest.param({"login": "ALICE"}, id="capitals"),
    pytest.param({"username": "ａｌｉｃｅ"}, id="wide letters"),
    pytest.param({"login": "alice", "username": "Alice"}, id="both"),
]


@each_row("exists", [True, False], ids=["an account", "no account"])
@each_row("body", SPELLINGS)
def test_every_spelling_of_a_name_counts_as_one(
    body: dict[str, str], exists: bool, new_site: NewSite
) -> None:
    site = limited(new_site, {"login": {"account": "2/minute"}})
    if exists:
        member(site)
    assert not refused(guess(site, body, "192.0.2.1"))
    assert not refused(guess(site, "alice", "192.0.2.2"))
    assert refused(guess(site, body, "192.0.2.3"))
    assert not refused(guess(site, "bob", "192.0.2.3"))


@each_row("exists", [True, False], ids=["an account", "no account"])
@each_row("spelling", ["alice@example.com", "Alice@Example.COM", "alice@ＥＸＡＭＰＬＥ.com"])
def test_every_spelling_of_an_address_counts_as_one(
    spelling: str, exists: bool, new_site: NewSite
) -> None:
    site = limited(new_site, {"login": {"account": "4/minute"}}, **by_email_too())
    if exists:
        member(site)
    assert not refused(guess(site, {"email": spelling}))
    assert not refused(guess(site, "alice@example.com"))
    assert refused(guess(site, spelling))


@each_row("name", ["", "no name!", "x" * 1000, "@", "a@b@c", "\u202e"])
def test_what_can_name_nobody_counts_too(name: str, new_site: NewSite) -> None:
    site = limited(new_site, {"login": {"account": "1/minute"}}, **by_email_too())
    assert not refused(guess(site, name))
    assert refused(guess(site, name))
    assert not refused(guess(site, "alice"))


def test_who_names_two_accounts_asks_about_both(new_site: NewSite) -> None:
    site = limited(new_site, {"login": {"account": "2/minute"}})
    member(site)
    assert not refused(guess(site, {"login": "bob", "username": "alice"}))
    assert not refused(guess(site, {"login": "carol", "username": "alice"}))
    assert refused(guess(site, {"login": "dave", "username": "alice"}))
    assert refused(guess(site, "alice"))


def test_what_the_database_makes_us_do_again_counts_once(
    new_site: NewSite, server_database: str
) -> None:
    site = limited(new_site, {"login": {"account": "2/minute"}}, database=server_database)
    member(site)
    faults = Faults(site, deadlock)
    faults.arm(1, times=3)
    assert guess(site).get_json() == LOGIN_INVALID
    assert len(faults.hits) == 3
    faults.disarm()
    assert [refused(guess(site)) for _ in range(2)] == [False, True]


def test_a_login_counts_as_no_guess(new_site: NewSite) -> None:
    site = limited(new_site, {"login": {"account": "4/minute;100/hour"}}, **by_email_too())
    member(site)
    for _ in range(3):
        assert not refused(guess(site))
        assert not refused(guess(site, "alice@example.com"))
        log_in(site)
    for name in ("alice", "alice@example.com"):
        assert [refused(guess(site, name)) for _ in range(3)] == [False, False, True]


@each_row(
    ("limit", "guesses"),
    [
        ("10/minute", 10),
        ("3/minute", 2),
        pytest.param("1/minute", 2, id="each field has one guess at least"),
    ],
)
@each_row("exists", [True, False], ids=["an account", "no account"])
def test_a_second_login_field_gives_no_more_guesses(
    new_site: NewSite, limit: str, guesses: int, exists: bool
) -> None:
    """And what is refused does not tell whether the name and the address are one account's."""
    site = limited(new_site, {"login": {"account": limit}}, **by_email_too())
    if exists:
        member(site)
    replies = [
        guess(site, name)
        for name in ("alice", "alice@example.com", "ALICE@example.com")
        for _ in range(10)
    ]
    assert [refused(reply) for reply in replies].count(False) == guesses
    first = [refused(reply) for reply in replies[:10]]
    second = [refused(reply) for reply in replies[10:20]]
    assert first == second


def test_one_s_own_login_does_not_clear_the_counter_of_whom_it_names_as_well(
    new_site: NewSite,
) -> None:
    site = limited(new_site, {"login": {"account": "2/minute"}})
    member(site)
    member(site, "mallory")
    assert not refused(guess(site))
    body = {"login": "mallory", "username": "alice", "password": PASSWORD}
    assert site.post("login", body).status_code == 200
    assert refused(guess(site))


def test_a_right_password_does_not_get_past_the_limit(new_site: NewSite) -> None:
    site = limited(new_site, {"login": {"account": "2/minute"}})
    member(site)
    for _ in range(2):
        assert not refused(guess(site))
    assert refused(site.post("login", {"login": "alice", "password": PASSWORD}))


def test_nobody_can_lock_the_owner_out(new_site: NewSite) -> None:
    """The reset stays open, however many forged requests others send, and opens the login."""
    site = limited(new_site, {}, **by_email_too())
    member(site)
    for number in range(60):
        guess(site, address=f"198.51.100.{number}")
        site.post(
            "send-reset-password-link",
            {"login": "alice"},
            environ_base={"REMOTE_ADDR": f"198.51.100.{number}"},
        )
        site.post(
            "resend-verification",
            {"login": "alice"},
            environ_base={"REMOTE_ADDR": f"198.51.100.{number}"},
        )
        user_id = site.link()["user_id"]
        junk = {"user_id": user_id, "timestamp": "1", "signature": "junk", "password": PASSWORD}
        for endpoint in ("reset-password", "verify-registration"):
            site.post(endpoint, junk, environ_base={"REMOTE_ADDR": f"198.51.100.{number}"})
    assert refused(guess(site, address="192.0.2.1"))
    assert len(site.outbox) == 1
    assert not refused(site.post("send-reset-password-link", {"login": "alice"}))
    password = "a whole new set of words 42"
    assert site.post("reset-password", {**site.link(), "password": password}).status_code == 200
    log_in(site, "alice", password)
    log_in(site, "alice@example.com", password)


# Known devices

ONE = {"login": {"account": "1/minute"}}


def device_of(client: FlaskClient) -> str | None:
    cookie = client.get_cookie("registration_device")
    return cookie.value if cookie else None


def try_login(site: Site, client: FlaskClient, name: str = "alice", password: str = "") -> int:
    body = {"login": name, "password": password or PASSWORD}
    return site.post("login", body, client=client).status_code


def test_a_browser_that_was_logged_in_has_a_limit_of_its_own(new_site: NewSite) -> None:
    site = limited(new_site, ONE, **by_email_too())
    member(site)
    browser, other = log_in(site), site.app.test_client()
    for name in ("alice", "alice@example.com"):
        while not refused(guess(site, name)):
            pass
        assert try_login(site, other, name) == 429
        assert try_login(site, browser, name) == 200
        assert refused(guess(site, name)), "a login gave room for a guess"
        assert try_login(site, browser, name, "wrong") == 400
        assert try_login(site, browser, name) == 429, "a known browser guesses without a limit"


def test_a_reset_makes_its_browser_known(new_site: NewSite, clock: Clock) -> None:
    site = limited(new_site, ONE)
    member(site)
    browser = site.app.test_client()
    site.post("send-reset-password-link", {"login": "alice"})
    password = "a whole new set of words 42"
    body = {**site.link(), "password": password}
    assert site.post("reset-password", body, client=browser).status_code == 200
    while not refused(guess(site)):
        pass
    assert try_login(site, browser, password=password) == 200


def test_a_browser_in_which_the_login_name_was_changed_stays_known(new_site: NewSite) -> None:
    site = limited(new_site, ONE, **by_email_too())
    member(site)
    browser = log_in(site)
    reply = browser.patch("/accounts/profile/", json={"username": "alicia"})
    assert reply.status_code == 200
    new = "alicia@example.com"
    site.post("register-email", {"email": new}, client=browser)
    assert site.post("verify-email", site.link(), client=browser).status_code == 200
    for name in ("alicia", new):
        while not refused(guess(site, name)):
            pass
        assert try_login(site, browser, name) == 200, name


def test_a_device_is_known_for_the_accounts_that_logged_in_there_only(new_site: NewSite) -> None:
    site = limited(new_site, ONE)
    for name in ("alice", "bob", "carol"):
        member(site, name)
    browser = log_in(site, "bob")
    assert try_login(site, browser, "carol") == 200
    for name in ("alice", "bob", "carol"):
        while not refused(guess(site, name)):
            pass
    assert [try_login(site, browser, name) for name in ("alice", "bob", "carol")] == [429, 200, 200]


def test_a_cookie_that_was_not_signed_here_makes_no_device_known(new_site: NewSite) -> None:
    site, elsewhere = (
        limited(new_site, ONE),
        limited(new_site, ONE, config={"SECRET_KEY": "x" * 32}),
    )
    for each in (site, elsewhere):
        member(each)
    good = device_of(log_in(site)) or ""
    foreign = device_of(log_in(elsewhere)) or ""
    while not refused(guess(site)):
        pass
    for cookie in (foreign, good[:-1], good.replace(".", "", 1), "", "x", "\u20ac", good * 9):
        client = site.app.test_client()
        client.set_cookie("registration_device", cookie)
        assert try_login(site, client) == 429, cookie[:50]
    client.set_cookie("registration_device", good)
    assert try_login(site, client) == 200


def test_a_device_is_known_after_a_change_of_the_key_and_until_its_time_is_over(
    new_site: NewSite, clock: Clock
) -> None:
    site = limited(new_site, ONE, KNOWN_DEVICE_PERIOD=3600)
    member(site)
    browser = log_in(site)
    old = site.app.config["SECRET_KEY"]
    site.app.config.update(SECRET_KEY="y" * 32, SECRET_KEY_FALLBACKS=[old])
    for seconds, status in ((3600, 200), (3600, 200), (3601, 429)):
        clock.advance(seconds)
        while not refused(guess(site)):
            pass
        assert try_login(site, browser) == status, seconds


@each_row(
    "settings",
    [
        pytest.param({"KNOWN_DEVICE_PERIOD": 0}, id="by setting"),
        pytest.param(
            {"THROTTLES": {"login": {"client": "9/minute"}}, "MAIL_LIMITS": None},
            id="no limit to be kept from",
        ),
    ],
)
def test_no_cookie_is_set_without_need(settings: dict[str, Any], new_site: NewSite) -> None:
    site = limited(new_site, settings.pop("THROTTLES", ONE), **settings)
    member(site)
    assert device_of(log_in(site)) is None


def test_the_cookie_of_a_device_has_the_attributes_of_the_session(new_site: NewSite) -> None:
    site = limited(new_site, ONE, config={"SESSION_COOKIE_SECURE": True})
    member(site)
    reply = site.post("login", {"login": "alice", "password": PASSWORD})
    (cookie,) = [each for each in reply.headers.getlist("Set-Cookie") if "device" in each]
    for attribute in ("HttpOnly", "Secure", "SameSite=Lax", "Path=/", "Max-Age=31536000"):
        assert attribute in cookie.split("; ")
    assert "alice" not in cookie


def test_a_refused_login_makes_no_device_known(new_site: NewSite) -> None:
    site = limited(new_site, {"login": {"account": "9/minute"}})
    member(site)
    for reply in (guess(site), guess(site, "nobody")):
        assert "Set-Cookie" not in reply.headers


# Who is logged in


def change(site: Site, client: FlaskClient, **kwargs: Any) -> TestResponse:
    """Ask for another password, with a wrong one."""
    body = {"old_password": "wrong", "password": PASSWORD, "password_confirm": PASSWORD}
    return site.post("change-password", body, client=client, **kwargs)


def test_who_is_logged_in_is_the_account_wherever_they_are(new_site: NewSite) -> None:
    site = limited(
        new_site, {"change_password": {"account": "2/minute"}}, LOGIN_RETRIEVE_TOKEN=True
    )
    member(site)
    member(site, "bob")
    first, second, other = log_in(site), log_in(site), log_in(site, "bob")
    assert not refused(change(site, first))
    assert not refused(change(site, second, environ_base={"REMOTE_ADDR": "198.51.100.1"}))
    assert refused(change(site, first))
    token = site.post("login", {"login": "alice", "password": PASSWORD}).get_json()["token"]
    assert refused(change(site, site.app.test_client(), headers=bearer(token)))
    assert not refused(change(site, other))


@each_row(
    ("name", "ask"),
    [
        ("change_password", lambda site, client: change(site, client)),
        (
            "delete_profile",
            lambda site, client: client.delete("/accounts/profile/", json={"password": "wrong"}),
        ),
        (
            "register_email",
            lambda site, client: site.post(
                "register-email", {"email": "b@c.de", "password": "wrong"}, client=client
            ),
        ),
    ],
)
def test_a_stolen_session_does_not_guess_the_password(
    name: str, ask: Callable[[Site, FlaskClient], TestResponse], new_site: NewSite, clock: Clock
) -> None:
    site = limited(new_site, {})
    member(site)
    client = log_in(site)
    assert [ask(site, client).status_code for _ in range(10)] == [400] * 10
    assert refused(ask(site, client))
    clock.advance(300)
    assert ask(site, client).status_code == 400


def test_a_link_s_account_is_the_user_it_names(new_site: NewSite) -> None:
    site = limited(new_site, {"reset_password": {"account": "2/minute"}})
    for _ in range(2):
        forged(site, "reset-password", user_id="1")
    junk = {"user_id": 1, "timestamp": 1, "signature": "x"}
    assert refused(site.post("reset-password", junk))
    forged(site, "reset-password", user_id="2")


def reset_link(site: Site) -> dict[str, str]:
    """What alice posts to choose a new password."""
    member(site)
    site.post("send-reset-password-link", {"login": "alice"})
    return {**site.link(), "password": "a whole new set of words 42"}


def test_a_link_counts_for_its_account_before_it_is_opened(new_site: NewSite) -> None:
    site = limited(new_site, {"reset_password": {"account": "2/minute"}})
    link = reset_link(site)
    for _ in range(2):
        forged(site, "reset-password", user_id=link["user_id"])
    with site.statements() as statements:
        assert refused(site.post("reset-password", link))
    assert statements == []


def test_a_link_that_the_database_makes_us_open_again_counts_once(
    new_site: NewSite, server_database: str
) -> None:
    limits = {"reset_password": {"account": "2/minute"}}
    site = limited(new_site, limits, database=server_database)
    link = reset_link(site)
    faults = Faults(site, deadlock)
    faults.arm(1, times=3)
    assert site.post("reset-password", link).status_code == 200
    assert len(faults.hits) == 3
    faults.disarm()
    forged(site, "reset-password", user_id=link["user_id"])
    assert refused(site.post("reset-password", link))


# Who has an account


@each_row("limit", ["client", "account"])
@each_row(
    "endpoint",
    ["register", "login", "resend-verification", "send-reset-password-link", "register-email"],
)
def test_a_refusal_does_not_tell_who_has_an_account(
    endpoint: str, limit: str, new_site: NewSite, clock: Clock
) -> None:
    """Every response is the same to the byte for each kind of account and for none."""
    throttles = {endpoint.replace("-", "_"): {limit: "2/minute"}}
    seen = []
    for state in ({}, {"verified": False}, {"is_active": False}, None):
        site = limited(new_site, throttles)
        member(site, "asking")
        if state is not None:
            member(site, "alice", **state)
        passwords = {"password": PASSWORD, "password_confirm": PASSWORD}
        body = {
            "register": {"username": "new", "email": "alice@example.com", **passwords},
            "register-email": {"email": "alice@example.com"},
            "login": {"login": "alice", "password": "wrong"},
        }.get(endpoint, {"login": "alice"})
        client = log_in(site, "asking") if endpoint == "register-email" else None
        replies = []
        for number in range(4):
            if "username" in body:
                body["username"] = f"new{number}"
            reply = site.post(endpoint, body, client=client)
            assert "Set-Cookie" not in reply.headers
            replies.append(whole(reply))
        assert [status for status, _, _ in replies][2:] == ["429 TOO MANY REQUESTS"] * 2
        seen.append(replies)
    assert seen == [seen[-1]] * 4


# The default limits


FLOWS = (*DEFAULT_FLOWS, *map(import_string, OPTIONAL_FLOWS))
#: What switches on all of their endpoints.
SWITCHED_ON = {
    "flows": FLOWS,
    "challenge_model": define_challenge,
    "credential_model": define_credential,
    "other_models": [define_consent, define_invitation],
    "TERMS_VERSION": "1",
    "define": define(ApprovalMixin, UserMixin),
    "CREDENTIAL_KEYS": [KEY],
    "SECOND_FACTOR_RECOVERY_DELAY": 72 * 3600,
    "NEW_LOGIN_NOTICE_ENABLED": True,
}


def documented() -> dict[str, dict[str, str]]:
    page = (ROOT / "docs/throttling.md").read_text("utf-8")
    rows = re.findall(
        r"^\| `(\w+)` \| (?:`([^`]+)`)? ?\| (?:`([^`]+)`)? ?\| \S.* \|$", page, re.MULTILINE
    )
    found = {name: {"client": client, "account": account} for name, client, account in rows}
    return {
        name: {key: text for key, text in limits.items() if text} for name, limits in found.items()
    }


def test_the_default_limits_are_documented() -> None:
    declared = {
        each.name: dict(each.throttles)
        for flow in FLOWS
        for each in flow.endpoints
        if each.throttles
    }
    assert documented() == declared


#: The endpoints of the default flows that have limits.
LIMITED = [each.name for flow in DEFAULT_FLOWS for each in flow.endpoints if each.throttles]


@each_row("name", [name for name, limits in documented().items() if "client" in limits])
def test_by_default_a_client_may_ask(name: str, new_site: NewSite) -> None:
    site = limited(new_site, {}, **SWITCHED_ON)
    paths = {each.name: each for flow in FLOWS for each in flow.endpoints}
    path, method = paths[name].path, paths[name].methods[0]
    often = int(documented()[name]["client"].partition("/")[0])
    client = site.app.test_client()
    assert not any(
        refused(client.open(f"/accounts{path}", method=method, json={})) for _ in range(often)
    )
    assert refused(client.open(f"/accounts{path}", method=method, json={}))


def test_by_default_an_account_is_guessed_at_ten_times(new_site: NewSite, clock: Clock) -> None:
    site = limited(new_site, {})
    for part in range(5):
        guesses = [refused(guess(site, address=f"198.51.{part}.{number}")) for number in range(11)]
        assert guesses == [False] * 10 + [True]
        clock.advance(300)
    reply = guess(site)
    assert (refused(reply), reply.headers["Retry-After"]) == (True, str(3600 - 5 * 300))


@each_row("method", ["PATCH", "PUT"])
def test_by_default_names_are_not_tried_out_by_renaming(method: str, new_site: NewSite) -> None:
    site = limited(new_site, {})
    member(site)
    client = log_in(site)
    for number in range(30):
        assert (
            client.open(
                "/accounts/profile/", method=method, json={"username": f"a{number}"}
            ).status_code
            == 200
        )
    assert refused(client.open("/accounts/profile/", method=method, json={"username": "b"}))
    assert client.get("/accounts/profile/").status_code == 200


# The setting


def is_limited(site: Site) -> bool:
    """Whether the default limit of an account's logins holds."""
    return any(refused(guess(site, address=f"198.51.100.{number}")) for number in range(11))


@each_row(
    ("settings", "config", "limited"),
    [
        pytest.param({}, {"TESTING": False}, True, id="on by default"),
        pytest.param({}, {"TESTING": True}, False, id="off under test"),
        pytest.param(
            {"THROTTLES": {}}, {"TESTING": True}, True, id="on under test where there is a setting"
        ),
        pytest.param(
            {"THROTTLES": None}, {"TESTING": False}, True, id="on where the setting is None"
        ),
        pytest.param({"THROTTLES": False}, {"TESTING": False}, False, id="off where it is False"),
        pytest.param(
            {},
            {"TESTING": False, "RATELIMIT_ENABLED": False},
            False,
            id="off where Flask-Limiter is off",
        ),
        pytest.param(
            {"THROTTLES": {}},
            {"TESTING": False, "RATELIMIT_ENABLED": False},
            False,
            id="off with Flask-Limiter always",
        ),
        pytest.param({"THROTTLES": {"login": None}}, {}, False, id="None for an endpoint"),
        pytest.param({"THROTTLES": {"login": {}}}, {}, False, id="an empty dict for an endpoint"),
        pytest.param(
            {"THROTTLES": {"login": {"client": "5/minute"}}},
            {},
            False,
            id="no limit but what is named",
        ),
        pytest.param(
            {"THROTTLES": {"login": {"account": None}}}, {}, False, id="None for an account"
        ),
        pytest.param({"THROTTLES": {"register": None}}, {}, True, id="another endpoint is named"),
    ],
)
def test_throttles_are(
    settings: dict[str, Any], config: dict[str, Any], limited: bool, new_site: NewSite
) -> None:
    site = new_site(config={**ON, **config}, **settings)
    assert is_limited(site) is limited


def test_throttles_are_on_where_nothing_is_said_of_flask_limiter(new_site: NewSite) -> None:
    site = new_site(
        THROTTLES={"login": {"account": "10/minute"}},
        before=lambda app: app.config.pop("RATELIMIT_ENABLED"),
    )
    assert describe(site) == ("memory", None)
    assert is_limited(site)


def test_testing_may_be_switched_on_later(new_site: NewSite) -> None:
    site = new_site(config={**ON, "TESTING": False})
    site.app.testing = True
    assert not is_limited(site)


def test_two_applications_count_apart(new_site: NewSite) -> None:
    sites = [limited(new_site, {"login": {"client": "1/minute"}}) for _ in range(2)]
    for site in sites:
        assert not refused(guess(site))
        assert refused(guess(site))


@each_row(
    ("value", "says"),
    [
        pytest.param(
            {"lgin": None},
            "'lgin', which is no endpoint. The limit has no effect. "
            "Correct the name: did you mean 'login'?",
            id="an unknown endpoint",
        ),
        pytest.param({"registr": None}, "did you mean 'register'?", id="a name cut short"),
        pytest.param({"login": "10/minute"}, "'client', 'account' or both", id="no dict"),
        pytest.param(
            {"login": {"ip": "10/minute"}}, "'client', 'account' or both", id="an unknown key"
        ),
        pytest.param(
            {"login": {"client": "ten a minute"}}, "'ten a minute' is no limit", id="no limit"
        ),
        pytest.param({"login": {"client": 10}}, "10 is no limit", id="a number"),
        pytest.param({"login": {"client": "10/fortnight"}}, "is no limit", id="an unknown unit"),
        pytest.param(
            {"own": {"account": "1/minute"}}, "is no endpoint", id="an endpoint that is not there"
        ),
        pytest.param("login", "must be a dict", id="text"),
        pytest.param(True, "must be a dict", id="True"),
    ],
)
def test_a_setting_that_will_not_do(value: Any, says: str) -> None:
    found = problems({SETTING: value, **ON})
    assert list(found) == [SETTING]
    assert says in found[SETTING]


def test_an_endpoint_may_be_named_that_this_application_has_not(new_site: NewSite) -> None:
    assert limited(new_site, {"logins": {"client": "1/minute"}, "login": {"client": "1/minute"}})


# What is active


def describe(site: Site) -> tuple[str, str | None]:
    """Where it counts, and why no limit is active."""
    throttles = site.app.extensions["registration"].throttles
    return throttles.counters.storage, throttles.off


def test_throttles_need_no_flask_limiter(
    new_site: NewSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "flask_limiter", None)
    site = new_site(config={**ON, "TESTING": False})
    assert describe(site) == ("memory", None)
    assert is_limited(site)


@each_row(
    ("settings", "config", "described"),
    [
        ({}, {"TESTING": False}, ("memory", None)),
        ({}, {}, ("memory", "TESTING is on, and REGISTRATION_THROTTLES is not set.")),
        ({"THROTTLES": {}}, {}, ("memory", None)),
        ({"THROTTLES": False}, {}, ("memory", "REGISTRATION_THROTTLES is False.")),
        (
            {"THROTTLES": {}},
            {"RATELIMIT_ENABLED": False},
            ("memory", "RATELIMIT_ENABLED is False."),
        ),
        ({"THROTTLES": {}}, {"RATELIMIT_STORAGE_URI": "redis://x"}, ("redis", None)),
        (
            {"THROTTLES": {}},
            {"RATELIMIT_STORAGE_URI": "redis://x", "RATELIMIT_ENABLED": False},
            ("memory", "RATELIMIT_ENABLED is False."),
        ),
        (
            {"THROTTLES": dict.fromkeys(LIMITED)},
            {"RATELIMIT_STORAGE_URI": "memory://"},
            ("memory", "REGISTRATION_THROTTLES leaves no limit."),
        ),
        (
            {"THROTTLES": {**dict.fromkeys(LIMITED), "login": {"client": "1/minute"}}},
            {},
            ("memory", None),
        ),
        (
            {"THROTTLES": {**dict.fromkeys(LIMITED), "login": {"account": "1/minute"}}},
            {},
            ("memory", None),
        ),
    ],
)
def test_it_can_be_told_whether_there_are_any(
    settings: dict[str, Any],
    config: dict[str, Any],
    described: tuple[str, str | None],
    new_site: NewSite,
) -> None:
    assert describe(new_site(config={**ON, **config}, **settings)) == described


# Other flows


class CodeSchema(Schema):
    code = fields.String(required=True)


def own_flow(**options: Any) -> Flow[Settings]:
    flow = Flow("own", Settings)

    @flow.post("/own/", request=CodeSchema, **options)
    def own_view(data: dict[str, str]) -> Any:
        return success("Fine")

    return flow


def test_an_endpoint_of_one_s_own_is_named_in_the_setting(new_site: NewSite) -> None:
    site = limited(new_site, {"own": {"client": "1/minute"}}, flows=[*DEFAULT_FLOWS, own_flow()])
    assert not refused(site.post("own", {"code": "1"}))
    assert refused(site.post("own", {"code": "1"}))


def test_it_may_have_limits_of_its_own_and_say_what_names_the_account(new_site: NewSite) -> None:
    flow = own_flow(throttles={"account": "1/minute"}, account=lambda state, data: [data["code"]])
    site = limited(new_site, {}, flows=[*DEFAULT_FLOWS, flow])
    assert not refused(site.post("own", {"code": "1"}))
    assert not refused(site.post("own", {"code": "2"}))
    assert refused(site.post("own", {"code": "1"}))


def test_without_a_limit_it_is_not_asked_what_names_the_account(new_site: NewSite) -> None:
    asked: list[Any] = []

    def account(state: Any, data: Any) -> list[str]:
        asked.append(data)
        return []

    flow = own_flow(account=account)
    for throttles in ({"own": {"client": "1/minute"}}, False):
        site = limited(new_site, throttles, flows=[*DEFAULT_FLOWS, flow])
        assert site.post("own", {"code": "1"}).status_code == 200
    assert asked == []


def test_without_that_it_can_have_no_limit_of_an_account(new_site: NewSite) -> None:
    with pytest.raises(Exception, match=r": its requests name no account; set 'client' only\."):
        limited(new_site, {"own": {"account": "1/minute"}}, flows=[*DEFAULT_FLOWS, own_flow()])


def test_a_schema_of_one_s_own_may_name_no_account(new_site: NewSite) -> None:
    class Pin(Schema):
        pin = fields.Integer()

    throttles = {"login": {"account": "1/minute", "client": "3/minute"}}
    site = limited(new_site, throttles, LOGIN_SCHEMA_CLASS=Pin, LOGIN_AUTHENTICATOR=nobody)
    assert [refused(site.post("login", {"pin": 1})) for _ in range(4)] == [
        False,
        False,
        False,
        True,
    ]


def nobody(data: Any, **_: Any) -> Any:
    raise UserNotFound


def test_a_page_behind_a_link_says_it_too(new_site: NewSite) -> None:
    flows = [*DEFAULT_FLOWS, verification_redirects.flow]
    site = limited(new_site, {"verify_registration": {"client": "1/minute"}}, flows=flows)
    client = site.app.test_client()
    link = {"user_id": "1", "timestamp": "1", "signature": "junk"}
    first, second = (
        client.post("/accounts/verify-registration/confirm/", data=link) for _ in range(2)
    )
    assert (first.status_code, second.status_code) == (400, 429)
    assert int(second.headers["Retry-After"]) >= 1
    assert THROTTLED["detail"] in second.text


# The security log


def test_each_refusal_is_recorded_once(new_site: NewSite, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "flask_registration.events")
    throttles = {"login": {"client": "2/minute"}, "change_password": {"account": "1/minute"}}
    site = limited(new_site, throttles)
    user = member(site)
    client = log_in(site)
    assert not refused(guess(site, address="127.0.0.1"))
    for _ in range(2):
        change(site, client)
    assert refused(guess(site, address="127.0.0.1"))
    lines = [
        json.loads(each.message)
        for each in caplog.records
        if each.name == "flask_registration.events"
    ]
    found = [line for line in lines if line["event"] == "excess_rate_limit_exceeded"]
    assert [(line["scope"], line["limit"], line["user_id"]) for line in found] == [
        ("account", "1/minute", str(user.id)),
        ("client", "2/minute", None),
    ]
