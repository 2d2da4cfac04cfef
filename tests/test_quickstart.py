"""The example, run as the README says and used as a person would, in a real browser."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pyotp
import pytest

from .browsers import width, window
from .site import PASSWORD
from .smtp import free_port
from .tables import each_row
from .terminal import TIMEOUT, Program

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

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
                "FLASK_REGISTRATION_REGISTER_VERIFICATION_URL": f"{self.url}/verify-registration/",
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
    return start()


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
    "password_confirm": "Password, once more",
    "login": "Username or e-mail address",
    "first_name": "First name",
    "last_name": "Last name",
    "new_email": "New e-mail address",
    "old_password": "Old password",
    "new_password": "New password",
    "new_password_confirm": "New password, once more",
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
    """What a section says of how it went."""
    return section(page, title).get_by_role("status")


def notice(page: Page) -> Locator:
    """What the page says at its top."""
    return page.locator("#notice")


def errors(page: Page, title: str) -> dict[str, str]:
    """The messages beside the fields of a section, as a screen reader reads them with the field, by
    its label."""
    from playwright.sync_api import expect

    invalid = section(page, title).locator("[aria-invalid=true]")
    expect(invalid.first).to_be_focused()
    read = "f => [f.labels[0].textContent, document.getElementById(f.getAttribute('aria-describedby')).textContent]"  # noqa: E501
    return dict(field.evaluate(read) for field in invalid.all())


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
    page.get_by_role("link", name="Open the mailbox").click()
    mail = page.locator("details.mail", has_text="alice@example.com")
    expect(mail.get_by_role("heading")).to_have_text("Finish signing up for Quickstart")
    mail.frame_locator("iframe").get_by_role("link", name=FINISH).click()
    page.wait_for_url(f"{quickstart.url}/finish-sign-up/?*")
    assert page.url == quickstart.link_to("alice@example.com")
    expect(section(page, FINISH)).to_contain_text("Your e-mail address is alice@example.com.")
    expect(section(page, "Sign up")).to_be_hidden()
    assert quickstart.row("alice") == {}  # a program that scans mail has come as far

    enter(page, FINISH, username="", password="", password_confirm="")
    assert errors(page, FINISH) == dict.fromkeys(
        ["Username", "Password", "Password, once more"], "This field is required."
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
    assert errors(page, FINISH) == {"Password, once more": "The two passwords do not match."}
    expect(section(page, "Sign up")).to_be_hidden()

    enter(page, FINISH, password_confirm=PASSWORD)
    expect(notice(page)).to_have_text("Your account is ready, and you are logged in.")
    expect(section(page, "Your profile")).to_contain_text("You are logged in as alice.")
    assert quickstart.row("alice")["email"] == "alice@example.com"
    assert quickstart.is_verified("alice")
    assert urlsplit(page.url).path == "/"
    assert urlsplit(page.url).query == ""


def test_a_user_turns_on_two_factor_authentication_loses_the_phone_and_recovers(
    page: Page, quickstart: Quickstart
) -> None:
    from playwright.sync_api import expect

    def begin_login() -> None:
        page.get_by_role("button", name="Log out", exact=True).click()
        enter(page, "Log in", login="frida", password=PASSWORD)

    def send_code(code: str) -> None:
        field = section(page, "Enter a code").get_by_label("Code", exact=True)
        field.fill(code)
        field.press("Enter")

    quickstart.open_account("frida")
    log_in(page, "frida")
    factor = section(page, "Two-factor authentication")
    factor.get_by_role("button", name="Turn on").click()
    expect(said(page, "Two-factor authentication")).to_have_text("Now confirm a code of the app.")
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
    expect(factor).to_contain_text("You have 9 recovery codes left.")
    quickstart.mail_to("frida@example.com", "A recovery code for Quickstart was used")

    off = factor.get_by_label("Code of the app, or a recovery code")
    off.fill(codes[1])
    off.press("Enter")
    expect(said(page, "Two-factor authentication")).to_have_text(
        "Two-factor authentication is off."
    )
    page.get_by_role("button", name="Log out", exact=True).click()
    log_in(page, "frida")


def test_a_whole_life_of_an_account(browser: Browser, start: Start) -> None:
    from playwright.sync_api import expect

    quickstart = start()
    url = quickstart.url
    with window(browser, url) as page, window(browser, url, user_agent=WITH_FIREFOX) as other:
        # Sign up
        enter(page, "Sign up", email="alice@example.com")
        expect(said(page, "Sign up")).to_contain_text("on its way to alice@example.com")
        follow(page, quickstart, "alice@example.com", "Finish signing up", FINISH)
        used = page.url
        enter(page, FINISH, username="alice", password=PASSWORD, password_confirm=PASSWORD)
        expect(notice(page)).to_have_text("Your account is ready, and you are logged in.")
        page.get_by_role("button", name="Log out", exact=True).click()
        expect(notice(page)).to_have_text("You are logged out.")
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
        enter(page, "Your profile", username="")
        assert errors(page, "Your profile") == {"Username": "This field is required."}
        enter(page, "Your profile", username="alice liddell")
        expect(section(page, "Your profile").locator(".error")).to_contain_text(
            "Usernames may contain only"
        )
        enter(
            page, "Your profile", username="alice.liddell", first_name="Alice", last_name="Liddell"
        )
        expect(said(page, "Your profile")).to_have_text("Your profile is saved.")
        expect(section(page, "Your profile")).to_contain_text("You are logged in as alice.liddell.")
        page.reload()
        expect(page.get_by_label("Last name")).to_have_value("Liddell")

        # Move to another address, which ends the other session
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
        expect(said(page, "Confirm your new e-mail address")).to_have_text(
            "Your account has its new address."
        )
        page.get_by_role("link", name="Back to your account").click()
        expect(section(page, "E-mail address")).to_contain_text("Now it is liddell@example.org.")
        enter(other, "Your profile", last_name="Thief")
        expect(notice(other)).to_have_text("Your session has ended. Please log in.")
        log_in(other, "liddell@example.org")

        # Forget the password
        page.get_by_role("button", name="Log out", exact=True).click()
        expect(notice(page)).to_have_text("You are logged out.")
        enter(page, "Forgotten your password?", login="")
        assert errors(page, "Forgotten your password?") == {
            "Username or e-mail address": "This field is required."
        }
        enter(page, "Forgotten your password?", login="alice.liddell")
        expect(said(page, "Forgotten your password?")).to_contain_text(
            "If there is such an account"
        )

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
            ["New password", "New password, once more"], "This field is required."
        )
        enter(
            page, "Choose a new password", new_password=NEW_PASSWORD, new_password_confirm=PASSWORD
        )
        assert errors(page, "Choose a new password") == {
            "New password, once more": "The two passwords do not match."
        }
        enter(
            page,
            "Choose a new password",
            new_password="alice.liddell",
            new_password_confirm="alice.liddell",
        )
        assert errors(page, "Choose a new password").keys() == {"New password"}
        expect(section(page, "Forgotten your password?")).to_be_hidden()
        enter(
            page,
            "Choose a new password",
            new_password=NEW_PASSWORD,
            new_password_confirm=NEW_PASSWORD,
        )
        expect(said(page, "Choose a new password")).to_have_text(
            "Your new password is set. Log in with it."
        )
        quickstart.mail_to("liddell@example.org", "Your password for Quickstart was changed")
        enter(other, "Your profile", last_name="Thief")
        expect(notice(other)).to_have_text("Your session has ended. Please log in.")
        other.reload()
        expect(section(other, "Log in")).to_be_visible()

        page.goto(used)
        enter(page, "Choose a new password", new_password=PASSWORD, new_password_confirm=PASSWORD)
        expect(said(page, "Choose a new password")).to_contain_text("This link is not valid.")
        expect(section(page, "Forgotten your password?")).to_be_visible()
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
    expect(page.locator("#logins > li")).to_have_count(1)
    other.reload()
    log_in(other, "pat", NEW_PASSWORD)


def test_sessions_are_listed_and_ended(page: Page, other: Page, quickstart: Quickstart) -> None:
    from playwright.sync_api import expect

    quickstart.open_account("sue")
    log_in(other, "sue")
    enter(page, "Forgotten your password?", login="nobody")
    expect(said(page, "Forgotten your password?")).to_contain_text("If there is such an account")
    log_in(page, "sue")
    sessions = page.locator("#logins > li")
    expect(sessions).to_have_count(2)
    expect(sessions.filter(has_text="This one")).to_contain_text("Chrome on")
    sessions.filter(has_text="Firefox on Windows").get_by_role("button", name="End").click()
    expect(said(page, "Where you are logged in")).to_have_text("This login has ended.")
    expect(said(page, "Where you are logged in")).to_be_focused()
    expect(sessions).to_have_count(1)
    other.reload()
    log_in(other, "sue")

    sessions.get_by_role("button", name="End").click()
    expect(notice(page)).to_have_text("This login has ended.")
    expect(said(page, "Forgotten your password?")).to_be_empty()
    log_in(page, "sue")
    page.get_by_role("button", name="Log out everywhere").click()
    expect(notice(page)).to_have_text("You are logged out.")
    other.reload()
    expect(section(other, "Log in")).to_be_visible()


def test_a_change_of_address_is_taken_back(page: Page, other: Page, quickstart: Quickstart) -> None:
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
    expect(said(page, "Confirm your new e-mail address")).to_have_text(
        "Your account has its new address."
    )
    assert quickstart.row("una")["email"] == "thief@example.org"

    follow(
        other,
        quickstart,
        "una@example.com",
        "Your e-mail address for Quickstart was changed",
        "Undo this change",
    )
    other.get_by_role("button", name="Undo this change").click()
    expect(said(other, "Undo this change")).to_contain_text("has its old address back")
    assert quickstart.row("una")["email"] == "una@example.com"
    enter(other, "Forgotten your password?", login="una")
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
        password = section(page, "E-mail address").get_by_label("Your password")
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
def test_a_bad_link_says_so_and_offers_another(
    page: Page, quickstart: Quickstart, query: str, message: str
) -> None:
    from playwright.sync_api import expect

    page.goto(f"{quickstart.url}/finish-sign-up/{query}")
    expect(section(page, "Sign up")).to_be_hidden()
    enter(page, FINISH, username="al", password=PASSWORD, password_confirm=PASSWORD)
    expect(said(page, FINISH)).to_contain_text(message)
    expect(section(page, "Sign up")).to_be_visible()


def test_the_page_says_so_when_the_server_is_out_of_reach(page: Page) -> None:
    from playwright.sync_api import expect

    page.route("**/accounts/**", lambda route: route.abort())
    enter(page, "Sign up", email="alice@example.com")
    expect(said(page, "Sign up")).to_contain_text("gave no answer that makes sense")
    expect(page.get_by_role("button", name="Sign up")).to_be_enabled()


@each_row(
    "path",
    [
        "/",
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


def test_the_account_fits_on_a_phone_however_long_the_name(
    browser: Browser, quickstart: Quickstart
) -> None:
    from playwright.sync_api import expect

    name = "w" * 60
    quickstart.open_account(name)
    with window(browser, quickstart.url, user_agent="x" * 200) as page:
        log_in(page, name)
        enter(page, "Your profile", first_name="w" * 150)
        expect(said(page, "Your profile")).to_have_text("Your profile is saved.")
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
    assert mail[-1].endswith("no account was created.")
    assert quickstart.finish(quickstart.link_to("terminal@example.com"), "terminal") == 201
    assert quickstart.is_verified("terminal")


def test_the_mailbox_shows_the_latest_mail_first(quickstart: Quickstart) -> None:
    for name in ("first", "second"):
        assert quickstart.sign_up(name) == 200
        quickstart.mail_to(f"{name}@example.com")
    status, html = quickstart.request("/mailbox/")
    assert status == 200
    assert html.index("To second@example.com") < html.index("To first@example.com")


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
