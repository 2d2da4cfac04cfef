"""The example, run as the README says and used as a person would, in a real browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Barrier
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pyotp
import pytest

from .browsers import width, window
from .site import PASSWORD
from .smtp import free_port
from .tables import each_row
from .terminal import TIMEOUT, Program

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Locator, Page

ROOT = Path(__file__).resolve().parent.parent
FINISH = "Finish signing up"
NEW_PASSWORD = "a quite different battery of horses"
WITH_FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"


class Quickstart(Program):
    """The example in a process of its own, with an instance folder of its own; without its gate
    unless told otherwise, so that the tests need not compute."""

    def __init__(self, instance: Path, *, debug: bool, gated: bool, **settings: str) -> None:
        port = free_port()
        self.instance = instance
        self.url = f"http://127.0.0.1:{port}"
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        super().__init__(
            [
                *(sys.executable, "-W", "error", "-m", "flask"),
                *("--app", f"examples/quickstart/app.py:create_app({str(instance)!r})", "run"),
                *(["--debug", "--no-reload"] if debug else []),
                *("--port", str(port)),
            ],
            cwd=ROOT,
            environment={
                **({} if gated else {"FLASK_REGISTRATION_GATE": "null"}),
                **{f"FLASK_REGISTRATION_{name}": value for name, value in settings.items()},
            },
        )

    def mail_to(self, address: str, subject: str = "") -> list[str]:
        """The first mail to this address, and about this, as it is printed, between its two
        rules."""
        start = self.wait_for(f"To: {re.escape(address)}", f"Subject: {re.escape(subject)}.*") - 1
        with self._more:
            assert self._more.wait_for(lambda: _rule(self.lines, start) is not None, TIMEOUT)
            return self.lines[start : _rule(self.lines, start)]

    def link_to(self, address: str) -> str:
        """The link in the first mail to this address, from the line of its own."""
        prefix = f"{self.url}/finish-sign-up/?"
        (link,) = [line for line in self.mail_to(address) if line.startswith(prefix)]
        return link

    def request(self, path: str, body: dict[str, str] | None = None) -> tuple[int, str]:
        """GET, or POST as JSON; returns status and body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "application/json"}
        )
        try:
            with self._opener.open(request, timeout=TIMEOUT) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def sign_up(self, username: str) -> int:
        """Ask for the mail over the API; returns the status."""
        return self.request("/accounts/sign-up/", {"email": f"{username}@example.com"})[0]

    def finish(self, link: str, username: str) -> int:
        """Post a link's parameters with the rest of the form; returns the status."""
        chosen = {"username": username, "password": PASSWORD, "password_confirm": PASSWORD}
        body = {**dict(parse_qsl(urlsplit(link).query)), **chosen}
        return self.request("/accounts/finish-sign-up/", body)[0]

    def open_account(self, username: str) -> None:
        """Sign up over the API, finish it with the link, and log out."""
        assert self.sign_up(username) == 200
        assert self.finish(self.link_to(f"{username}@example.com"), username) == 201
        assert self.request("/accounts/logout/", {})[0] == 200

    def row(self, username: str) -> dict[str, Any]:
        """The account as it is stored; empty if there is none."""
        with closing(sqlite3.connect(self.instance / "quickstart.sqlite")) as database:
            database.row_factory = sqlite3.Row
            return dict(
                database.execute("SELECT * FROM user WHERE username = ?", [username]).fetchone()
                or {}
            )

    def is_verified(self, username: str) -> bool:
        """Whether the account's row says so."""
        return bool(self.row(username)["is_verified"])


def _rule(lines: list[str], start: int) -> int | None:
    """The number of the rule that ends a mail."""
    return next(
        (number for number in range(start, len(lines)) if re.fullmatch("-{40,}", lines[number])),
        None,
    )


Start = Callable[..., Quickstart]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start the example, in debug mode and in an empty folder unless told otherwise."""
    with ExitStack() as stack:

        def start(
            instance: Path | None = None,
            *,
            debug: bool = True,
            gated: bool = False,
            **settings: str,
        ) -> Quickstart:
            instance = instance or tmp_path_factory.mktemp("quickstart") / "instance"
            quickstart = Quickstart(instance, debug=debug, gated=gated, **settings)
            stack.callback(quickstart.close)
            quickstart.wait_for(rf".*Running on {re.escape(quickstart.url)}.*")
            return quickstart

        yield start


@pytest.fixture(scope="module")
def quickstart(start: Start) -> Quickstart:
    """Without a limit of sign-ups: the tests together are quicker than one client may be."""
    return start(THROTTLES=json.dumps({"sign_up": None}))


@pytest.fixture
def page(browser: Browser, quickstart: Quickstart) -> Iterator[Page]:
    with window(browser, quickstart.url) as page:
        yield page


@pytest.fixture
def other(browser: Browser, quickstart: Quickstart) -> Iterator[Page]:
    """Another window, with cookies of its own."""
    with window(browser, quickstart.url, user_agent=WITH_FIREFOX) as page:
        yield page


LABELS = {
    "username": "Username",
    "email": "E-mail address",
    "password": "Password",
    "password_confirm": "Confirm password",
    "login": "Username or e-mail address",
    "first_name": "First name",
    "last_name": "Last name",
    "new_email": "New e-mail address",
    "old_password": "Old password",
    "new_password": "New password",
    "new_password_confirm": "Confirm new password",
    "your_password": "Your password",
}


def section(page: Page, title: str) -> Locator:
    """A part of the page, by its heading."""
    return page.get_by_role("region", name=title, exact=True)


def enter(page: Page, title: str, **fields: str) -> None:
    """Fill in the form of a section, and send it with the Enter key."""
    form = section(page, title)
    for label, value in fields.items():
        field = form.get_by_label(LABELS[label], exact=True)
        field.fill(value)
    field.press("Enter")


def said(page: Page, title: str) -> Locator:
    """The message of a section."""
    return section(page, title).get_by_role("status")


def notice(page: Page) -> Locator:
    """The message at the top of the page."""
    return page.locator("#notice")


def errors(page: Page, title: str) -> dict[str, str]:
    """The messages beside the fields of a section, as a screen reader reads them with the field, by
    its label."""
    from playwright.sync_api import expect

    invalid = section(page, title).locator("[aria-invalid=true]")
    expect(invalid.first).to_be_focused()
    read = "f => [f.labels[0].textContent, document.getElementById(f.getAttribute('aria-describedby').split(' ')[0]).textContent]"  # noqa: E501
    return dict(field.evaluate(read) for field in invalid.all())


def go(page: Page, link: str) -> None:
    """Follow a link of the page."""
    page.get_by_role("link", name=link, exact=True).click()


def log_out(page: Page) -> None:
    from playwright.sync_api import expect

    page.get_by_role("banner").get_by_role("button", name="Log out").click()
    expect(notice(page)).to_have_text("You are logged out.")


def log_in(page: Page, login: str, password: str = PASSWORD) -> None:
    from playwright.sync_api import expect

    enter(page, "Log in", login=login, password=password)
    expect(notice(page)).to_have_text("You are logged in.")
    expect(section(page, "Log in")).to_be_hidden()


def follow(page: Page, quickstart: Quickstart, address: str, subject: str, link: str) -> None:
    """Open the mailbox, and there the link of a mail."""
    quickstart.mail_to(address, subject)
    page.goto(f"{quickstart.url}/mailbox/")
    mail = page.locator("details.mail", has_text=f"To {address} ").filter(has_text=subject)
    if mail.get_attribute("open") is None:
        mail.locator("> summary").click()
    mail.frame_locator("iframe").get_by_role("link", name=link).click()
    page.wait_for_url(f"{quickstart.url}/*/?timestamp=*")


def test_somebody_signs_up_with_a_wrong_address_first(page: Page, quickstart: Quickstart) -> None:
    from playwright.sync_api import expect

    go(page, "Create an account")
    enter(page, "Sign up", email="")
    assert errors(page, "Sign up") == {"E-mail address": "This field is required."}
    enter(page, "Sign up", email="alice")
    assert "@" in errors(page, "Sign up")["E-mail address"]
    enter(page, "Sign up", email="alice@exmaple.com")
    expect(said(page, "Sign up")).to_contain_text("on its way to alice@exmaple.com")
    quickstart.mail_to("alice@exmaple.com")

    enter(page, "Sign up", email="alice@example.com")
    expect(said(page, "Sign up")).to_contain_text("Check your e-mail")
    expect(said(page, "Sign up")).to_contain_text("on its way to alice@example.com")
    quickstart.mail_to("alice@example.com")
    go(page, "Open the mailbox")
    mail = page.locator("details.mail", has_text="alice@example.com")
    expect(mail.get_by_role("heading")).to_have_text("Finish signing up for Quickstart")
    mail.frame_locator("iframe").get_by_role("link", name=FINISH).click()
    page.wait_for_url(f"{quickstart.url}/finish-sign-up/?*")
    assert page.url == quickstart.link_to("alice@example.com")
    expect(section(page, FINISH)).to_contain_text("Your e-mail address: alice@example.com")
    expect(section(page, "Sign up")).to_be_hidden()
    assert quickstart.row("alice") == {}  # a program that scans mail has come as far

    enter(page, FINISH, username="", password="", password_confirm="")
    assert errors(page, FINISH) == dict.fromkeys(
        ["Username", "Password", "Confirm password"], "This field is required."
    )
    enter(
        page,
        FINISH,
        username="alice b",
        password="password",
        password_confirm="password",
    )
    found = errors(page, FINISH)
    assert found.keys() == {"Username", "Password"}
    assert "Usernames may contain only" in found["Username"]
    assert "common password" in found["Password"]
    enter(page, FINISH, username="alice", password=PASSWORD, password_confirm="another")
    assert errors(page, FINISH) == {"Confirm password": "The two passwords do not match."}
    expect(section(page, "Sign up")).to_be_hidden()

    enter(page, FINISH, password_confirm=PASSWORD)
    expect(notice(page)).to_have_text("Your account is ready, and you are logged in.")
    expect(page.get_by_role("main")).to_contain_text("You are logged in as alice.")
    assert quickstart.row("alice")["email"] == "alice@example.com"
    assert quickstart.is_verified("alice")
    assert urlsplit(page.url).path == "/"
    assert urlsplit(page.url).query == ""


def test_a_user_turns_on_two_factor_authentication_loses_the_phone_and_recovers(
    page: Page, quickstart: Quickstart
) -> None:
    from playwright.sync_api import expect

    def begin_login() -> None:
        log_out(page)
        enter(page, "Log in", login="frida", password=PASSWORD)

    def send_code(code: str) -> None:
        field = section(page, "Enter a code").get_by_label("Code", exact=True)
        field.fill(code)
        field.press("Enter")

    quickstart.open_account("frida")
    log_in(page, "frida")
    factor = section(page, "Two-factor authentication")
    factor.get_by_role("button", name="Turn on").click()
    expect(said(page, "Two-factor authentication")).to_have_text("Now enter a code of the app.")
    expect(factor.get_by_role("img")).to_be_visible()
    assert factor.get_by_role("img").evaluate("image => image.complete && image.naturalWidth") > 100
    app = pyotp.TOTP(factor.locator("#factor-secret").inner_text())
    field = factor.get_by_label("Code of the app", exact=True)
    field.fill(app.now())
    field.press("Enter")
    expect(said(page, "Two-factor authentication")).to_contain_text("is on.")
    codes = factor.locator("#recovery-codes li").all_inner_texts()
    assert len(codes) == 10

    begin_login()
    send_code("000000")
    expect(said(page, "Enter a code")).to_have_text("This code is not correct.")
    send_code(app.generate_otp(int(time.time()) // 30 + 1))  # the code that confirmed is spent
    expect(notice(page)).to_have_text("You are logged in.")

    begin_login()
    send_code(codes[0].lower())
    expect(notice(page)).to_have_text("You are logged in.")
    expect(factor).to_contain_text("Recovery codes left: 9")
    quickstart.mail_to("frida@example.com", "A recovery code for Quickstart was used")

    off = factor.get_by_label("Code of the app, or a recovery code")
    off.fill(codes[1])
    off.press("Enter")
    expect(said(page, "Two-factor authentication")).to_have_text(
        "Two-factor authentication is off."
    )
    log_out(page)
    log_in(page, "frida")


def test_a_whole_life_of_an_account(browser: Browser, start: Start) -> None:
    from playwright.sync_api import expect

    quickstart = start()
    url = quickstart.url
    with window(browser, url) as page, window(browser, url, user_agent=WITH_FIREFOX) as other:
        # Sign up
        go(page, "Create an account")
        enter(page, "Sign up", email="alice@example.com")
        expect(said(page, "Sign up")).to_contain_text("on its way to alice@example.com")
        follow(page, quickstart, "alice@example.com", "Finish signing up", FINISH)
        used = page.url
        enter(page, FINISH, username="alice", password=PASSWORD, password_confirm=PASSWORD)
        expect(notice(page)).to_have_text("Your account is ready, and you are logged in.")
        log_out(page)
        page.goto(used)
        enter(page, FINISH, username="bob", password=PASSWORD, password_confirm=PASSWORD)
        expect(said(page, FINISH)).to_contain_text("This link is not valid.")
        page.goto(url)

        # Log in, here and elsewhere
        enter(page, "Log in", login="", password=PASSWORD)
        assert errors(page, "Log in") == {"Username or e-mail address": "This field is required."}
        enter(page, "Log in", login="alice", password="")
        assert errors(page, "Log in") == {"Password": "This field is required."}
        enter(page, "Log in", login="alice", password="not hers")
        expect(said(page, "Log in")).to_have_text("Incorrect username, e-mail address or password.")
        log_in(page, "alice")
        expect(notice(page)).to_be_focused()
        log_in(other, "Alice@Example.com")

        # Change the name
        enter(page, "Profile", username="")
        assert errors(page, "Profile") == {"Username": "This field is required."}
        enter(page, "Profile", username="alice liddell")
        expect(section(page, "Profile").locator(".error")).to_contain_text(
            "Usernames may contain only"
        )
        enter(page, "Profile", username="alice.liddell", first_name="Alice", last_name="Liddell")
        expect(said(page, "Profile")).to_have_text("Your profile is saved.")
        expect(page.get_by_role("main")).to_contain_text("You are logged in as alice.liddell.")
        page.reload()
        expect(page.get_by_label("Last name")).to_have_value("Liddell")

        # Change the e-mail address, which ends the other session
        enter(page, "E-mail address", new_email="no address")
        assert "@" in errors(page, "E-mail address")["New e-mail address"]
        enter(page, "E-mail address", new_email="liddell@example.org")
        expect(said(page, "E-mail address")).to_contain_text("on its way to liddell@example.org")
        follow(
            page,
            quickstart,
            "liddell@example.org",
            "Confirm your new e-mail address",
            "Confirm my new e-mail address",
        )
        page.get_by_role("button", name="Confirm my new e-mail address").click()
        expect(notice(page)).to_have_text("Your account has its new e-mail address.")
        expect(section(page, "E-mail address")).to_contain_text(
            "Your e-mail address: liddell@example.org"
        )
        enter(other, "Profile", last_name="Thief")
        expect(notice(other)).to_have_text("Your session has ended. Please log in.")
        log_in(other, "liddell@example.org")

        # Forget the password
        log_out(page)
        go(page, "Forgot your password?")
        enter(page, "Forgot your password?", login="")
        assert errors(page, "Forgot your password?") == {
            "Username or e-mail address": "This field is required."
        }
        enter(page, "Forgot your password?", login="alice.liddell")
        expect(said(page, "Forgot your password?")).to_contain_text("If this account exists")

        # Reset it, which ends the other session
        follow(
            page,
            quickstart,
            "liddell@example.org",
            "Choose a new password",
            "Choose a new password",
        )
        used = page.url
        enter(page, "Choose a new password", new_password="")
        assert errors(page, "Choose a new password") == dict.fromkeys(
            ["New password", "Confirm password"], "This field is required."
        )
        enter(page, "Choose a new password", new_password=NEW_PASSWORD, password_confirm=PASSWORD)
        assert errors(page, "Choose a new password") == {
            "Confirm password": "The two passwords do not match."
        }
        enter(
            page,
            "Choose a new password",
            new_password="alice.liddell",
            password_confirm="alice.liddell",
        )
        assert errors(page, "Choose a new password").keys() == {"New password"}
        expect(page.get_by_role("link", name="Ask for a new link")).to_be_hidden()
        enter(
            page,
            "Choose a new password",
            new_password=NEW_PASSWORD,
            password_confirm=NEW_PASSWORD,
        )
        expect(notice(page)).to_have_text("Your new password is set. Log in with it.")
        quickstart.mail_to("liddell@example.org", "Your password for Quickstart was changed")
        enter(other, "Profile", last_name="Thief")
        expect(notice(other)).to_have_text("Your session has ended. Please log in.")
        expect(section(other, "Log in")).to_be_visible()

        page.goto(used)
        enter(page, "Choose a new password", new_password=PASSWORD, password_confirm=PASSWORD)
        expect(said(page, "Choose a new password")).to_contain_text("This link is not valid.")
        go(page, "Ask for a new link")
        expect(section(page, "Forgot your password?")).to_be_visible()
        page.goto(quickstart.url)
        enter(page, "Log in", login="alice.liddell", password=PASSWORD)
        expect(said(page, "Log in")).to_have_text("Incorrect username, e-mail address or password.")
        log_in(page, "alice.liddell", NEW_PASSWORD)
        assert quickstart.row("alice.liddell")["last_name"] == "Liddell"

        # Delete the account
        enter(page, "Delete your account", your_password="")
        assert errors(page, "Delete your account") == {
            "Your password": "This field may not be blank."
        }
        enter(page, "Delete your account", your_password=PASSWORD)
        assert errors(page, "Delete your account") == {"Your password": "Incorrect password."}
        enter(page, "Delete your account", your_password=NEW_PASSWORD)
        expect(notice(page)).to_have_text("Your account is deleted.")
        assert quickstart.row("alice.liddell") == {}
        enter(page, "Log in", login="alice.liddell", password=NEW_PASSWORD)
        expect(said(page, "Log in")).to_have_text("Incorrect username, e-mail address or password.")


def test_a_password_is_changed_here_and_every_other_session_ends(
    page: Page, other: Page, quickstart: Quickstart
) -> None:
    from playwright.sync_api import expect

    quickstart.open_account("pat")
    for each in (page, other):
        log_in(each, "pat")
    enter(page, "Password", old_password="", new_password="", new_password_confirm="")
    assert len(errors(page, "Password")) == 3
    enter(
        page,
        "Password",
        old_password="not it",
        new_password=NEW_PASSWORD,
        new_password_confirm=NEW_PASSWORD,
    )
    assert errors(page, "Password") == {"Old password": "Incorrect password."}
    enter(
        page,
        "Password",
        old_password=PASSWORD,
        new_password="password",
        new_password_confirm="password",
    )
    assert errors(page, "Password").keys() == {"New password"}
    enter(
        page,
        "Password",
        old_password=PASSWORD,
        new_password=NEW_PASSWORD,
        new_password_confirm=NEW_PASSWORD,
    )
    expect(said(page, "Password")).to_contain_text("Your password is changed")
    expect(page.locator("#session-list > li")).to_have_count(1)
    other.reload()
    log_in(other, "pat", NEW_PASSWORD)


def test_sessions_are_listed_and_ended(page: Page, other: Page, quickstart: Quickstart) -> None:
    from playwright.sync_api import expect

    quickstart.open_account("sue")
    log_in(other, "sue")
    log_in(page, "sue")
    sessions = page.locator("#session-list > li")
    expect(sessions).to_have_count(2)
    expect(sessions.filter(has_text="This device")).to_contain_text("Chrome on")
    sessions.filter(has_text="Firefox on Windows").get_by_role("button").click()
    expect(said(page, "Active sessions")).to_have_text("This session is logged out.")
    expect(said(page, "Active sessions")).to_be_focused()
    expect(sessions).to_have_count(1)
    other.reload()
    log_in(other, "sue")

    sessions.get_by_role("button").click()
    expect(notice(page)).to_have_text("This session is logged out.")
    log_in(page, "sue")
    page.get_by_role("button", name="Log out on all devices").click()
    expect(notice(page)).to_have_text("You are logged out on all devices.")
    other.reload()
    expect(section(other, "Log in")).to_be_visible()


def test_an_e_mail_change_is_undone(page: Page, other: Page, quickstart: Quickstart) -> None:
    from playwright.sync_api import expect

    quickstart.open_account("una")
    log_in(page, "una")
    enter(page, "E-mail address", new_email="thief@example.org")
    follow(
        page,
        quickstart,
        "thief@example.org",
        "Confirm your new e-mail address",
        "Confirm my new e-mail address",
    )
    page.get_by_role("button", name="Confirm my new e-mail address").click()
    expect(notice(page)).to_have_text("Your account has its new e-mail address.")
    assert quickstart.row("una")["email"] == "thief@example.org"

    follow(
        other,
        quickstart,
        "una@example.com",
        "Your e-mail address for Quickstart was changed",
        "Undo this change",
    )
    other.get_by_role("button", name="Undo this change").click()
    expect(notice(other)).to_contain_text("has its old e-mail address again")
    assert quickstart.row("una")["email"] == "una@example.com"
    enter(other, "Forgot your password?", login="una")
    quickstart.mail_to("una@example.com", "Choose a new password")
    page.goto(quickstart.url)
    expect(section(page, "Log in")).to_be_visible()


def test_the_password_is_asked_for_when_the_login_is_not_fresh(
    browser: Browser, start: Start
) -> None:
    from playwright.sync_api import expect

    quickstart = start(REAUTHENTICATION_PERIOD="0")
    quickstart.open_account("rea")
    with window(browser, quickstart.url) as page:
        log_in(page, "rea")
        password = section(page, "E-mail address").get_by_label("Your password", exact=True)
        expect(password).to_be_hidden()
        enter(page, "E-mail address", new_email="rea@example.org")
        expect(said(page, "E-mail address")).to_have_text("Please enter your password to continue.")
        expect(password).to_be_focused()
        enter(page, "E-mail address", your_password="not it")
        assert errors(page, "E-mail address") == {"Your password": "Incorrect password."}
        enter(page, "E-mail address", your_password=PASSWORD)
        expect(said(page, "E-mail address")).to_contain_text("on its way to rea@example.org")
        expect(password).to_be_hidden()
        enter(page, "Delete your account", your_password=PASSWORD)
        expect(notice(page)).to_have_text("Your account is deleted.")


def test_a_username_that_is_taken_is_told_at_its_field(page: Page, quickstart: Quickstart) -> None:
    quickstart.open_account("bertha")
    assert quickstart.sign_up("b") == 200
    page.goto(quickstart.link_to("b@example.com"))
    enter(page, FINISH, username="Bertha", password=PASSWORD, password_confirm=PASSWORD)
    assert errors(page, FINISH) == {"Username": "This username is already in use."}


def test_the_page_says_the_same_whoever_signs_up(page: Page, quickstart: Quickstart) -> None:
    quickstart.open_account("owner")
    go(page, "Create an account")
    answers = set()
    for address in ("owner@example.com", "nobody@example.com"):
        with page.expect_response("**/sign-up/"):
            enter(page, "Sign up", email=address)
        section(page, "Sign up").get_by_text(address).wait_for()
        answers.add(said(page, "Sign up").inner_text().replace(address, "…"))
    assert len(answers) == 1
    quickstart.mail_to("owner@example.com", "You already have an account at Quickstart")


@each_row(
    ("query", "message"),
    [
        pytest.param(
            "?email=a@example.com&timestamp=1&signature=forged",
            "This link is not valid.",
            id="a forged link",
        ),
        pytest.param(
            "?email=a@example.com",
            "This link is incomplete. Copy the whole link from the e-mail.",
            id="half a link",
        ),
        pytest.param(
            "", "This link is incomplete. Copy the whole link from the e-mail.", id="no link"
        ),
    ],
)
def test_a_link_that_failed_says_so_and_leads_to_a_new_one(
    page: Page, quickstart: Quickstart, query: str, message: str
) -> None:
    from playwright.sync_api import expect

    page.goto(f"{quickstart.url}/finish-sign-up/{query}")
    expect(page.get_by_role("link", name="Ask for a new link")).to_be_hidden()
    enter(page, FINISH, username="al", password=PASSWORD, password_confirm=PASSWORD)
    expect(said(page, FINISH)).to_contain_text(message)
    go(page, "Ask for a new link")
    expect(section(page, "Sign up")).to_be_visible()


@each_row(
    ("path", "link", "title"),
    [
        ("/reset-password/", "Ask for a new link", "Forgot your password?"),
        ("/verify-email/", "Ask for a new link in your account", "Log in"),
        ("/undo-email-change/", "Reset your password", "Forgot your password?"),
    ],
)
def test_every_page_behind_a_link_has_a_way_on(
    page: Page, quickstart: Quickstart, path: str, link: str, title: str
) -> None:
    from playwright.sync_api import expect

    query = "?user_id=1&email=a@example.com&timestamp=1&signature=forged"
    page.goto(quickstart.url + path + query)
    for field in page.locator("input").all():
        field.fill(PASSWORD)
    page.get_by_role("main").locator("button:not([type=button])").click()
    expect(page.locator("section .message")).to_contain_text("This link is not valid.")
    go(page, link)
    expect(section(page, title)).to_be_visible()


def test_the_page_says_so_when_the_server_is_out_of_reach(
    page: Page, quickstart: Quickstart
) -> None:
    from playwright.sync_api import expect

    go(page, "Create an account")
    page.route("**/accounts/**", lambda route: route.abort())
    enter(page, "Sign up", email="unreached@example.com")
    expect(said(page, "Sign up")).to_contain_text("The server cannot be reached.")
    page.unroute("**/accounts/**")
    page.route("**/accounts/**", lambda route: route.fulfill(status=502, body="<h1>Oops</h1>"))
    page.get_by_role("button", name="Sign up").click()
    expect(said(page, "Sign up")).to_contain_text("The server sent an unexpected response.")
    page.unroute("**/accounts/**")
    page.get_by_role("button", name="Sign up").click()
    expect(said(page, "Sign up")).to_contain_text("on its way to unreached@example.com")


def test_a_client_that_is_offline_keeps_what_was_entered(
    page: Page, quickstart: Quickstart
) -> None:
    from playwright.sync_api import expect

    go(page, "Create an account")
    banner = page.locator("#offline")
    expect(banner).to_be_empty()
    page.context.set_offline(True)
    expect(banner).to_contain_text("You are offline.")
    enter(page, "Sign up", email="offline@example.com")
    expect(said(page, "Sign up")).to_contain_text("The server cannot be reached.")
    expect(page.get_by_label("E-mail address")).to_have_value("offline@example.com")
    page.context.set_offline(False)
    expect(banner).to_be_empty()
    page.get_by_role("button", name="Sign up").click()
    expect(said(page, "Sign up")).to_contain_text("on its way to offline@example.com")


def test_a_form_shows_that_it_waits_and_is_sent_once(page: Page, quickstart: Quickstart) -> None:
    from playwright.sync_api import expect

    go(page, "Create an account")
    held: list[Any] = []
    page.route("**/accounts/**", lambda route: held.append(route))
    enter(page, "Sign up", email="patient@example.com")
    expect(said(page, "Sign up")).to_have_text("One moment, please…")
    expect(page.locator("main form")).to_have_attribute("aria-busy", "true")
    page.get_by_role("button", name="Sign up").click()
    page.get_by_label("E-mail address").press("Enter")
    assert len(held) == 1
    held[0].continue_()
    expect(said(page, "Sign up")).to_contain_text("on its way to patient@example.com")
    expect(page.locator("main form")).not_to_have_attribute("aria-busy", "true")
    assert len(held) == 1


def test_the_account_shows_that_it_loads_and_can_be_loaded_again(
    page: Page, quickstart: Quickstart
) -> None:
    from playwright.sync_api import expect

    quickstart.open_account("laura")
    log_in(page, "laura")
    held: list[Any] = []
    page.route("**/accounts/logins/", lambda route: held.append(route))
    page.reload()
    expect(section(page, "Active sessions")).to_contain_text("Loading…")
    held[0].abort()
    expect(notice(page)).to_contain_text("The server cannot be reached.")
    page.unroute("**/accounts/logins/")
    page.get_by_role("button", name="Try again").click()
    expect(section(page, "Active sessions")).to_contain_text("This device")
    expect(section(page, "Active sessions")).not_to_contain_text("Loading…")


def test_a_429_shows_how_long_to_wait(browser: Browser, start: Start) -> None:
    from playwright.sync_api import expect

    limits = {"login": {"client": "2/6 seconds"}}
    quickstart = start(THROTTLES=json.dumps(limits))
    quickstart.open_account("tim")
    with window(browser, quickstart.url) as page:
        for _ in range(2):
            with page.expect_response("**/login/"):
                enter(page, "Log in", login="tim", password="not his")
        enter(page, "Log in", login="tim", password=PASSWORD)
        expect(said(page, "Log in")).to_contain_text("Too many requests.")
        shown = re.compile(r"You can try again in [1-6] seconds?\.$")
        expect(said(page, "Log in")).to_have_text(shown)
        first = said(page, "Log in").inner_text()
        expect(said(page, "Log in")).not_to_have_text(first)  # it counts
        expect(said(page, "Log in")).to_contain_text("You can try again now.")
        log_in(page, "tim")


def test_a_password_can_be_shown(page: Page, quickstart: Quickstart) -> None:
    from playwright.sync_api import expect

    field = page.get_by_label("Password", exact=True)
    field.fill("what I typed")
    expect(field).to_have_attribute("type", "password")
    page.get_by_role("button", name="Show: Password").click()
    expect(field).to_have_attribute("type", "text")
    expect(field).to_have_value("what I typed")
    page.get_by_role("button", name="Hide: Password").click()
    expect(field).to_have_attribute("type", "password")
    page.get_by_role("button", name="Show: Password").click()
    enter(page, "Log in", login="sam", password="what I typed")
    expect(said(page, "Log in")).to_contain_text("Incorrect")
    expect(field).to_have_attribute("type", "password")  # a browser offers to store no other


def test_a_new_password_shows_its_strength_and_which_rules_it_meets(
    page: Page, quickstart: Quickstart
) -> None:
    from playwright.sync_api import expect

    def rules_met() -> Callable[[list[str]], None]:
        return expect(page.locator(".rules .met")).to_have_text

    assert quickstart.sign_up("rule") == 200
    page.goto(quickstart.link_to("rule@example.com"))
    password = page.get_by_label("Password", exact=True)
    strength = page.locator(".strength p")
    expect(page.locator(".rules li")).to_have_text(
        [
            "At least 8 characters",
            "Hard to guess: three or four uncommon words are good",
            "Both passwords are the same",
        ]
    )
    described_by = password.get_attribute("aria-describedby")
    assert described_by
    expect(page.locator(f"#{described_by}")).to_have_class("rules")
    rules_met()([])
    password.fill("horse")
    expect(strength).to_contain_text("Use at least 8 characters.")
    rules_met()([])
    password.fill("password1")
    expect(strength).to_contain_text("Very weak. This is a very common password.")
    rules_met()(["At least 8 characters"])
    page.get_by_label("Username").fill("zebulon.quarterstaff")
    password.fill("zebulon.quarterstaff")
    expect(strength).to_contain_text("eak.")
    rules_met()(["At least 8 characters"])
    password.fill(PASSWORD)
    expect(strength).to_have_text("Strong.")
    page.get_by_label("Confirm password", exact=True).fill(PASSWORD)
    expect(page.locator(".rules .met")).to_have_count(3)
    assert quickstart.row("rule") == {}


@each_row(
    ("password", "score", "says"),
    [
        pytest.param(NEW_PASSWORD, 4, "", id="a good one"),
        pytest.param("", 0, "at least 8 characters", id="none"),
        pytest.param("4@({[<691!|$5+7" * 17, 4, "", id="of digits and symbols only"),
        pytest.param("a" * 257, 0, "at most 256 characters", id="too long"),
    ],
)
def test_whatever_is_entered_as_a_new_password_is_rated_at_once(
    quickstart: Quickstart, password: str, score: int, says: str
) -> None:
    url, data = f"{quickstart.url}/check-password/", urlencode({"password": password}).encode()
    with urllib.request.urlopen(url, data, timeout=TIMEOUT) as response:
        rated = json.load(response)
    assert rated["score"] == score
    assert says in " ".join(rated["errors"])


def test_a_login_is_remembered_on_request_only(page: Page, quickstart: Quickstart) -> None:
    from playwright.sync_api import expect

    def cookies() -> set[str]:
        return {each["name"] for each in page.context.cookies() if each["expires"] > 0}

    quickstart.open_account("rem")
    log_in(page, "rem")
    assert "remember_token" not in cookies()
    log_out(page)
    page.get_by_label("Stay logged in on this device").check()
    log_in(page, "rem")
    assert "remember_token" in cookies()
    log_out(page)
    expect(page.get_by_label("Stay logged in on this device")).not_to_be_checked()
    assert "remember_token" not in cookies()


def test_a_browser_keeps_no_page_and_runs_no_script_of_others(
    page: Page, quickstart: Quickstart
) -> None:
    quickstart.open_account("bea")
    log_in(page, "bea")
    response = page.reload()
    assert response
    assert response.headers["cache-control"] == "no-store"
    ran = page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.hasRun = true";
            document.body.append(script);
            return window.hasRun === true;
        }"""
    )
    assert not ran


def test_the_pages_write_no_error_to_the_console(page: Page, quickstart: Quickstart) -> None:
    from playwright.sync_api import expect

    lines: list[ConsoleMessage] = []
    page.on("console", lambda line: lines.append(line))
    page.reload()
    page.wait_for_load_state("networkidle")
    go(page, "Create an account")
    enter(page, "Sign up", email="quiet@example.com")
    expect(said(page, "Sign up")).to_contain_text("on its way")
    follow(page, quickstart, "quiet@example.com", "Finish signing up", FINISH)
    enter(page, FINISH, username="quiet", password=PASSWORD, password_confirm=PASSWORD)
    expect(section(page, "Active sessions")).to_contain_text("This device")
    enter(page, "Profile", first_name="Quiet")
    expect(said(page, "Profile")).to_have_text("Your profile is saved.")
    section(page, "Active sessions").get_by_role("button", name="Log out:").click()
    expect(notice(page)).to_have_text("This session is logged out.")
    log_in(page, "quiet")
    page.wait_for_load_state("networkidle")
    log_out(page)
    go(page, "Forgot your password?")
    enter(page, "Forgot your password?", login="quiet")
    expect(said(page, "Forgot your password?")).to_contain_text("If this account exists")
    assert [line.text for line in lines if line.type == "error"] == []


def press(page: Page, target: Locator, key: str = "Enter") -> None:
    """Go to an element with the Tab key, see that its focus is visible, and press a key."""
    for _ in range(60):
        if target.evaluate("element => element === document.activeElement"):
            break
        page.keyboard.press("Tab")
    else:
        raise AssertionError(f"{target} cannot be reached with the Tab key")
    assert target.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"
    page.keyboard.press(key)


def test_the_keyboard_is_enough(page: Page, quickstart: Quickstart) -> None:
    from playwright.sync_api import expect

    press(page, page.get_by_role("link", name="Create an account"))
    press(page, page.get_by_label("E-mail address"), "k")
    page.keyboard.type("eyboard@example.com")
    press(page, page.get_by_role("button", name="Sign up"), "Space")
    press(page, page.get_by_role("link", name="Open the mailbox"))
    page.wait_for_url("**/mailbox/")

    page.goto(quickstart.link_to("keyboard@example.com"))
    press(page, page.get_by_label("Username"), "k")
    page.keyboard.type("eyboard")
    press(page, page.get_by_role("button", name="Show: Password"), "Space")
    page.keyboard.press("Shift+Tab")
    page.keyboard.type(PASSWORD)
    press(page, page.get_by_label("Confirm password", exact=True), "Home")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(notice(page)).to_be_focused()

    press(page, page.get_by_role("navigation").get_by_role("link", name="Two-factor"))
    press(page, page.get_by_role("button", name="Turn on"))
    code = page.get_by_label("Code of the app", exact=True)
    expect(code).to_be_focused()
    page.keyboard.type(pyotp.TOTP(page.locator("#factor-secret").inner_text()).now())
    page.keyboard.press("Enter")
    expect(page.locator("#recovery-codes li")).to_have_count(10)
    expect(said(page, "Two-factor authentication")).to_be_focused()  # the field has gone
    press(page, page.get_by_role("button", name="Log out on all devices"))
    expect(notice(page)).to_have_text("You are logged out on all devices.")


# Languages


def test_pages_responses_and_e_mails_have_the_language_of_the_browser(
    browser: Browser, quickstart: Quickstart
) -> None:
    from playwright.sync_api import expect

    with window(browser, quickstart.url, locale="de-AT") as page:
        expect(page.locator("html")).to_have_attribute("lang", "de")
        go(page, "Konto anlegen")
        form = section(page, "Registrieren")
        form.get_by_label("E-Mail-Adresse").press("Enter")
        expect(form.locator(".error")).to_have_text("Dieses Feld ist erforderlich.")
        form.get_by_label("E-Mail-Adresse").fill("gerda@example.com")
        form.get_by_label("E-Mail-Adresse").press("Enter")
        expect(form.get_by_role("status")).to_contain_text("unterwegs an gerda@example.com")
        quickstart.mail_to(
            "gerda@example.com", "Schließen Sie Ihre Registrierung bei Quickstart ab"
        )


def test_a_switch_changes_the_language_of_pages_responses_and_e_mails(
    page: Page, quickstart: Quickstart
) -> None:
    from playwright.sync_api import expect

    page.get_by_role("button", name="Deutsch").click()
    expect(section(page, "Anmelden")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "de")
    page.get_by_label("Benutzername oder E-Mail-Adresse").fill("hans")
    page.get_by_label("Passwort", exact=True).fill(PASSWORD)
    page.get_by_label("Passwort", exact=True).press("Enter")
    expect(section(page, "Anmelden").get_by_role("status")).to_have_text(
        "Benutzername, E-Mail-Adresse oder Passwort ist falsch."
    )
    go(page, "Konto anlegen")
    page.get_by_label("E-Mail-Adresse").fill("hans@example.com")
    page.get_by_label("E-Mail-Adresse").press("Enter")
    quickstart.mail_to("hans@example.com", "Schließen Sie Ihre Registrierung bei Quickstart ab")

    page.goto(quickstart.link_to("hans@example.com"))
    expect(section(page, "Registrierung abschließen")).to_contain_text("hans@example.com")
    page.get_by_role("button", name="English").click()
    expect(section(page, FINISH)).to_contain_text("hans@example.com")  # the link is still there
    enter(page, FINISH, username="hans", password="password", password_confirm="password")
    assert "common password" in errors(page, FINISH)["Password"]


def test_every_message_of_the_pages_is_translated() -> None:
    folder = ROOT / "examples" / "quickstart"
    files = [folder / "static" / "accounts.js", *folder.glob("templates/*.html")]
    used = {
        message
        for file in files
        for message in re.findall(r'\bt\("(.*?)"', file.read_text("utf-8"))
    }
    translations = json.loads((folder / "translations.json").read_text("utf-8"))
    assert len(used) > 100
    for messages in translations.values():
        assert messages.keys() == used
        for message, translation in messages.items():
            values = re.compile(r"\{\w+\}")
            assert sorted(values.findall(translation)) == sorted(values.findall(message))


# What everyone can use


@each_row(
    "path",
    [
        "/",
        "/sign-up/",
        "/forgot-password/",
        "/finish-sign-up/?email=a-long-address-of-somebody@example.com",
        "/reset-password/",
        "/verify-email/",
        "/undo-email-change/",
        "/mailbox/",
    ],
)
def test_a_page_fits_on_a_phone(page: Page, quickstart: Quickstart, path: str) -> None:
    page.goto(quickstart.url + path)
    page.locator("section:visible, .quiet").first.wait_for()
    assert width(page) <= 320


CARDS = [
    *("/", "/sign-up/", "/forgot-password/", "/finish-sign-up/?email=alice@example.com"),
    *("/reset-password/", "/verify-email/?email=alice@example.com", "/undo-email-change/"),
]


@pytest.fixture
def axe() -> Any:
    reason = "no axe here: pip install axe-playwright-python"
    module = "axe_playwright_python.sync_playwright"
    return pytest.importorskip(module, reason=reason, exc_type=ImportError).Axe()


def assert_accessible(page: Page, axe: Any) -> None:
    """Check the page with axe in both color schemes, on a phone and on a desktop."""
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    # An iframe of the mailbox runs no script, so that axe cannot look into it.
    options = {"runOnly": {"type": "tag", "values": tags}, "iframes": False}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        for size in (390, 1280):
            page.set_viewport_size({"width": size, "height": 844})
            found = axe.run(page, options=options)
            assert found.violations_count == 0, f"{page.url} {scheme}\n{found.generate_report()}"


@each_row("path", [*CARDS, "/mailbox/"])
def test_a_card_is_accessible(page: Page, quickstart: Quickstart, axe: Any, path: str) -> None:
    page.goto(quickstart.url + path)
    assert_accessible(page, axe)
    for field in page.locator("input:not([type=checkbox])").all():
        field.fill("a")
    if buttons := page.get_by_role("main").locator("button:not([type=button])").all():
        buttons[0].click()
        page.locator(".error, .message .bad, .message .good").first.wait_for()
        assert_accessible(page, axe)


def test_the_account_and_the_second_step_are_accessible(
    page: Page, quickstart: Quickstart, axe: Any
) -> None:
    from playwright.sync_api import expect

    quickstart.open_account("axel")
    log_in(page, "axel")
    expect(section(page, "Active sessions")).to_contain_text("This device")
    assert_accessible(page, axe)
    page.get_by_role("button", name="Turn on").click()
    page.get_by_role("img").wait_for()
    assert_accessible(page, axe)
    app = pyotp.TOTP(page.locator("#factor-secret").inner_text())
    page.get_by_label("Code of the app", exact=True).fill(app.now())
    page.get_by_role("button", name="Confirm", exact=True).click()
    expect(page.locator("#recovery-codes li")).to_have_count(10)
    assert_accessible(page, axe)
    log_out(page)
    enter(page, "Log in", login="axel", password=PASSWORD)
    expect(section(page, "Enter a code")).to_be_visible()
    assert_accessible(page, axe)


def test_the_account_fits_on_a_phone_however_long_the_name(
    browser: Browser, quickstart: Quickstart
) -> None:
    from playwright.sync_api import expect

    name = "w" * 60
    quickstart.open_account(name)
    with window(browser, quickstart.url, user_agent="x" * 200) as page:
        log_in(page, name)
        enter(page, "Profile", first_name="w" * 150)
        expect(said(page, "Profile")).to_have_text("Your profile is saved.")
        assert width(page) <= 320


def test_the_terminal_shows_a_mail_in_full(quickstart: Quickstart) -> None:
    assert quickstart.sign_up("terminal") == 200
    mail = quickstart.mail_to("terminal@example.com")
    assert mail[:4] == [
        "From: Quickstart <no-reply@example.com>",
        "To: terminal@example.com",
        "Subject: Finish signing up for Quickstart",
        "",
    ]
    assert " ".join(mail).endswith("no account was created.")
    assert quickstart.finish(quickstart.link_to("terminal@example.com"), "terminal") == 201
    assert quickstart.is_verified("terminal")


def test_the_mailbox_shows_the_latest_mail_first(quickstart: Quickstart) -> None:
    for name in ("first", "second"):
        assert quickstart.sign_up(name) == 200
        quickstart.mail_to(f"{name}@example.com")
    status, html = quickstart.request("/mailbox/")
    assert status == 200
    assert html.index("To second@example.com") < html.index("To first@example.com")


def test_the_mailbox_survives_a_restart_and_keeps_the_latest(start: Start, tmp_path: Path) -> None:
    first = start(tmp_path)
    assert first.sign_up("kept") == 200
    first.mail_to("kept@example.com")
    first.close()
    (kept,) = (tmp_path / "mailbox").glob("*.eml")
    for number in range(60):
        copy = kept.read_bytes().replace(b"kept@", f"old-{number}@".encode())
        (tmp_path / "mailbox" / f"{number:019}.eml").write_bytes(copy)
    again = start(tmp_path)
    status, html = again.request("/mailbox/")
    assert status == 200
    assert "To kept@example.com at" in html
    assert again.sign_up("new") == 200
    again.mail_to("new@example.com")
    status, html = again.request("/mailbox/")
    shown = re.findall(r"To (\S+)@example.com at", html)
    assert shown[:3] == ["new", "kept", "old-59"]
    assert len(shown) == 50
    assert len(list((tmp_path / "mailbox").iterdir())) == 50


def test_the_port_of_the_environment_is_that_of_the_server_and_of_links(tmp_path: Path) -> None:
    port = free_port()
    example = Path("examples", "quickstart")
    shutil.copytree(ROOT / example, tmp_path / example, ignore=lambda *_: ["instance"])
    server = Program(
        [sys.executable, "-W", "error", "-m", "examples.quickstart"],
        cwd=tmp_path,
        environment={"PORT": str(port), "FLASK_REGISTRATION_GATE": "null"},
    )
    try:
        server.wait_for(rf".*Running on http://127\.0\.0\.1:{port}.*")
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/accounts/sign-up/",
            json.dumps({"email": "port@example.com"}).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=TIMEOUT).close()
        server.wait_for(rf"http://127\.0\.0\.1:{port}/finish-sign-up/\?.*")
    finally:
        server.close()


def test_without_debug_there_is_no_mailbox(start: Start) -> None:
    quickstart = start(debug=False)
    assert quickstart.request("/mailbox/")[0] == 404
    status, html = quickstart.request("/")
    assert status == 200
    assert "mailbox" not in html
    quickstart.open_account("alice")


def test_the_page_solves_a_proof_of_work(browser: Browser, start: Start) -> None:
    from playwright.sync_api import expect

    quickstart = start(gated=True)
    status, text = quickstart.request("/accounts/sign-up/", {"email": "alice@example.com"})
    assert (status, json.loads(text)["code"]) == (400, "captcha-required")
    with window(browser, quickstart.url) as page:
        go(page, "Create an account")
        enter(page, "Sign up", email="alice")
        expect(page.locator("[aria-invalid=true]")).to_be_focused(timeout=1000 * TIMEOUT)
        enter(page, "Sign up", email="alice@example.com")
        sent = expect(said(page, "Sign up"))
        sent.to_contain_text("on its way to alice@example.com", timeout=1000 * TIMEOUT)
    quickstart.mail_to("alice@example.com")


def test_database_and_key_outlive_a_restart(start: Start, tmp_path: Path) -> None:
    first = start(tmp_path / "instance")
    assert first.sign_up("alice") == 200
    link = first.link_to("alice@example.com")
    first.close()
    key = tmp_path / "instance" / "secret_key"
    if os.name == "posix":
        assert key.stat().st_mode & 0o077 == 0
    again = start(tmp_path / "instance")
    assert again.finish(link, "alice") == 201
    assert again.is_verified("alice")
    assert key.read_text() not in "".join(first.lines + again.lines)


def test_processes_that_start_at_the_same_time_have_the_same_keys(tmp_path: Path) -> None:
    from examples.quickstart.app import kept_secret

    for number in range(20):
        file, barrier = tmp_path / str(number) / "secret_key", Barrier(4)
        with ThreadPoolExecutor(4) as pool:
            found = {*pool.map(lambda _: (barrier.wait(), kept_secret(file))[1], range(4))}  # noqa: B023 -- all of them run before the next round
        assert found == {file.read_text()}
        assert len(file.read_text()) == 64
        assert file.stat().st_mode & 0o777 == 0o600
        assert [*file.parent.iterdir()] == [file]
