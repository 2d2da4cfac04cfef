"""The notice about a login in a new browser, and the link that ends it."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_registration import (
    DEFAULT_FLOWS,
    ConfigurationError,
    user_logged_in,
)
from flask_registration.flows import new_login, verification_redirects

from ..conftest import Clock
from ..outboxes import OUTBOX, send_mail
from ..people import account, knows, logins, with_and_without_login_model
from ..site import PASSWORD, Site, html_of, links_of, own_model, text_of, whole
from ..tables import each_row
from .common import (
    AT_ONCE,
    LINK_EXPIRED,
    LINK_INVALID,
    OTHER_PASSWORD,
    NewSite,
    ask_reset,
    at_once,
    forged,
    has_password,
    is_in,
    link_in,
    log_in,
    mails,
    move,
    token_of,
)

SUBJECT = "New login to your example.com account"
RESET = "Your password for example.com was removed"
REPORTED = {"detail": "You were logged out on all devices"}
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
FLOWS = [*DEFAULT_FLOWS, new_login.flow]


@pytest.fixture
def make(new_site: NewSite) -> Any:
    """Make an application with the notice, and Alice, who has logged in before."""

    def make(*args: Any, **settings: Any) -> Site:
        site = new_site(*args, **{"flows": FLOWS, "NEW_LOGIN_NOTICE_ENABLED": True, **settings})
        account(site)
        log_in(site)
        assert mails(site) == []
        return site

    return make


def report(site: Site, link: dict[str, Any], client: FlaskClient | None = None) -> TestResponse:
    return site.post("report-login", link, client=client)


# The notice


@with_and_without_login_model
def test_a_login_in_a_new_browser_causes_an_e_mail_and_the_next_one_does_not(
    make: NewSite, login_model: Any
) -> None:
    site = make(login_model=login_model)
    client = site.app.test_client()
    body = {"login": "alice", "password": PASSWORD}
    with site.hears(user_logged_in) as heard:
        reply = site.post("login", body, client=client, headers={"User-Agent": FIREFOX})
    assert (reply.status_code, len(heard)) == (200, 1)
    mail = site.read()
    for part in (text_of(mail), html_of(mail)):
        for text in ("Device: Firefox, Linux", "IP address: 127.0.0.1", "UTC"):
            assert text in part
    assert links_of(mail)[0].startswith("https://example.com/report-login/?timestamp=")
    assert mails(site) == [("alice@example.com", SUBJECT)]
    assert client.get_cookie("registration_device") is not None
    log_in(site, client=client)
    assert mails(site) == []


def test_a_browser_is_known_for_its_accounts_only(make: NewSite) -> None:
    site = make()
    account(site, "bob")
    log_in(site, "bob")
    client = log_in(site)
    mails(site)
    log_in(site, "bob", client=client)
    assert mails(site) == [("bob@example.com", SUBJECT)]
    log_in(site, client=client)
    log_in(site, "bob", client=client)
    assert mails(site) == []


def test_a_forged_cookie_makes_no_browser_known(make: NewSite) -> None:
    site = make()
    client = site.app.test_client()
    client.set_cookie("registration_device", "forged")
    log_in(site, client=client)
    assert mails(site) == [("alice@example.com", SUBJECT)]


def test_a_token_without_the_cookie_causes_the_e_mail_too(make: NewSite) -> None:
    site = make(LOGIN_RETRIEVE_TOKEN=True, LOGIN_AUTHENTICATE_SESSION=False)
    token_of(site)
    assert mails(site) == [("alice@example.com", SUBJECT)]


def test_it_is_off_by_default_and_sets_no_cookie(new_site: NewSite) -> None:
    site = new_site(flows=FLOWS, MAIL_LIMITS=None)
    account(site)
    for _ in range(2):
        client = log_in(site)
    assert mails(site) == []
    assert client.get_cookie("registration_device") is None
    assert report(site, {}).status_code == 404


def test_the_first_login_of_an_account_causes_none(new_site: NewSite) -> None:
    once = {"REGISTER_VERIFICATION_ONE_TIME_USE": True, "REGISTER_VERIFICATION_AUTO_LOGIN": True}
    site = new_site(flows=FLOWS, NEW_LOGIN_NOTICE_ENABLED=True, **once)
    site.register()
    link = site.link()
    site.outbox.clear()
    site.verify(link)
    assert mails(site) == []
    log_in(site)
    assert mails(site) == [("alice@example.com", SUBJECT)]


def test_a_model_without_last_login_does_not_tell_the_first_one(new_site: NewSite) -> None:
    site = new_site(flows=FLOWS, NEW_LOGIN_NOTICE_ENABLED=True, define=own_model())
    account(site)
    client = log_in(site)
    assert mails(site) == [("alice@example.com", SUBJECT)]
    log_in(site, client=client)
    assert mails(site) == []


def test_a_wrong_password_causes_none(make: NewSite) -> None:
    site = make()
    site.post("login", {"login": "alice", "password": "wrong"})
    assert mails(site) == []


def test_each_login_in_a_new_browser_causes_one(make: NewSite) -> None:
    site = make()
    for _ in range(3):
        log_in(site)
    assert mails(site) == [("alice@example.com", SUBJECT)] * 3


@each_row(
    ("user_agent", "shown"),
    [
        (FIREFOX, "Device: Firefox, Linux"),
        ("Mozilla/5.0 (iPhone; like Mac OS X) CriOS/120 Safari/604", "Device: Chrome, iPhone"),
        ("okhttp/4.12.0", "Device: okhttp"),
        ("Call-us.example/now <b>or else</b>", "Device: Call-us"),
        ("https://evil.example/", "Device: https"),
        ("{{ 7 * 7 }}", None),
        ("", None),
        ("x" * 5000, f"Device: {'x' * 40}\n"),
    ],
)
def test_the_e_mail_has_little_of_what_the_client_says(
    make: NewSite, user_agent: str, shown: str | None
) -> None:
    site = make()
    body = {"login": "alice", "password": PASSWORD}
    assert site.post("login", body, headers={"User-Agent": user_agent}).status_code == 200
    text = text_of(site.read())
    assert (shown is None and "Device" not in text) or (shown and shown in text)
    assert "evil.example" not in text
    assert "or else" not in text


# The link


@pytest.mark.databases
@with_and_without_login_model
def test_the_link_ends_every_session_and_the_password_and_mails_a_reset(
    database: str, make: NewSite, login_model: Any
) -> None:
    site = make(database, login_model=login_model, LOGIN_RETRIEVE_TOKEN=True)
    reset = ask_reset(site)
    client, token = log_in(site), token_of(site)
    link = link_in(site.read())
    mails(site)
    reply = report(site, link)
    assert (reply.status_code, reply.get_json()) == (200, REPORTED)
    assert (is_in(client), is_in(site.app.test_client(), token)) == (False, False)
    assert not site.Login or logins(site) == []
    assert not has_password(site, PASSWORD)
    earlier = site.post("reset-password", {**reset, "password": OTHER_PASSWORD})
    assert earlier.get_json() == LINK_INVALID
    new = site.link()
    assert mails(site) == [("alice@example.com", RESET)]
    assert whole(report(site, link)) == forged(site, "report-login")
    assert site.post("reset-password", {**new, "password": OTHER_PASSWORD}).status_code == 200
    assert has_password(site, OTHER_PASSWORD)


@pytest.mark.databases
def test_of_twenty_uses_at_once_one_succeeds(database: str, make: NewSite) -> None:
    site = make(database, config=AT_ONCE)
    log_in(site)
    link = link_in(site.read())
    mails(site)
    replies = at_once(lambda number: report(site, link), 20)
    assert [each.status_code for each in replies].count(200) == 1
    assert {each.status_code for each in replies} <= {200, 400, 503}
    assert mails(site) == [("alice@example.com", RESET)]


def test_a_logout_everywhere_by_the_other_client_does_not_end_the_link(make: NewSite) -> None:
    site = make()
    other = log_in(site)
    link = link_in(site.read())
    assert site.post("logout", {"everywhere": True}, client=other).status_code == 200
    again = log_in(site, client=other)
    assert report(site, link).status_code == 200
    assert not is_in(again)
    assert whole(report(site, link)) == forged(site, "report-login")


def test_a_new_password_ends_the_link(make: NewSite) -> None:
    site = make()
    client = log_in(site)
    link = link_in(site.read())
    body = {"old_password": PASSWORD, "password": OTHER_PASSWORD}
    body["password_confirm"] = OTHER_PASSWORD
    assert site.post("change-password", body, client=client).status_code == 200
    assert whole(report(site, link)) == forged(site, "report-login")


def test_the_link_expires(make: NewSite, clock: Clock) -> None:
    site = make()
    log_in(site)
    link = link_in(site.read())
    clock.advance(7 * 86400 + 1)
    assert report(site, link).get_json() == LINK_EXPIRED


def test_a_get_changes_nothing(make: NewSite) -> None:
    site = make(flows=[*FLOWS, verification_redirects.flow])
    client = log_in(site)
    link = link_in(site.read())
    page = site.app.test_client().get("/accounts/report-login/", query_string=link)
    assert (page.status_code, "Log out on all devices" in page.text) == (200, True)
    assert knows(site, client)
    page = site.app.test_client().post("/accounts/report-login/confirm/", data=link)
    assert (page.status_code, "You were logged out" in page.text) == (200, True)
    assert not knows(site, client)


@each_row("name", ["new_login", "login_reported"])
@each_row("moves", [True, False])
def test_an_e_mail_to_an_earlier_address_has_no_link(
    make: NewSite, clock: Clock, name: str, moves: bool
) -> None:
    """It may wait in the outbox while the user changes the address that someone else reads."""

    def fail(*_: Any, **__: Any) -> None:
        raise OSError

    site = make(**OUTBOX)
    log_in(site)
    link = link_in(site.read())
    site.outbox.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flask_mail.Connection.send", fail)
        if name == "new_login":
            log_in(site)
        else:
            report(site, link)
    if moves:
        site.change(site.user(), email="new@example.com")
    clock.advance(3600)
    send_mail(site)
    (message,) = site.outbox
    assert message.recipients == ["alice@example.com"]
    assert bool(links_of(site.read())) is not moves


@each_row("other", ["reset-password", "undo-email-change", "verify-registration"])
def test_it_is_no_link_for_anything_else(make: NewSite, other: str) -> None:
    site = make()
    log_in(site)
    link = link_in(site.read())
    body = {**link, "password": OTHER_PASSWORD, "email": "alice@example.com"}
    assert site.post(other, body).get_json() == LINK_INVALID
    reset = ask_reset(site)
    assert report(site, reset).get_json() == LINK_INVALID


def test_a_suspended_account_has_no_link(make: NewSite) -> None:
    site = make()
    log_in(site)
    link = link_in(site.read())
    site.change(site.user(), is_active=False)
    assert report(site, link).get_json() == LINK_INVALID


def test_a_new_address_can_not_end_the_undo_of_its_change(make: NewSite) -> None:
    site = make()
    client = log_in(site)
    undo = move(site, client, "new@example.com")
    log_in(site)
    link = link_in(site.read())
    assert report(site, link).get_json() == REPORTED
    assert site.post("undo-email-change", undo).status_code == 200
    assert site.user().email == "alice@example.com"


def test_after_it_the_login_of_a_thief_is_not_fresh(make: NewSite) -> None:
    site = make()
    client = log_in(site)
    report(site, link_in(site.read()))
    reply = site.post("register-email", {"email": "new@example.com"}, client=client)
    assert reply.status_code == 401


def test_without_resets_there_is_a_warning(make: NewSite) -> None:
    site = make(RESET_PASSWORD_VERIFICATION_ENABLED=False)
    findings = site.app.extensions["registration"].setup.findings
    assert "registration.W029" in [each.id for each in findings]
    log_in(site)
    link = link_in(site.read())
    mails(site)
    assert report(site, link).get_json() == REPORTED
    assert links_of(site.read()) == []
    assert mails(site) == [("alice@example.com", RESET)]


def test_the_page_is_absolute(new_site: NewSite) -> None:
    with pytest.raises(ConfigurationError) as caught:
        new_site(flows=FLOWS, NEW_LOGIN_NOTICE_ENABLED=True, REPORT_LOGIN_URL="/report/")
    assert caught.value.problems[0].setting == "REGISTRATION_REPORT_LOGIN_URL"


def test_a_model_without_a_stamp_is_logged_out_too(new_site: NewSite) -> None:
    site = new_site(flows=FLOWS, NEW_LOGIN_NOTICE_ENABLED=True, define=own_model())
    account(site)
    client = log_in(site)
    assert report(site, link_in(site.read())).get_json() == REPORTED
    assert not is_in(client)
