"""``examples/forms``, in a real browser with JavaScript switched off: the life of an account."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyotp
import pytest

from .browsers import width, window
from .examples import EXAMPLES
from .site import PASSWORD
from .smtp import free_port
from .terminal import Program

pytest.importorskip("flask_wtf", reason="no Flask-WTF here: pip install Flask-WTF")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NEW_PASSWORD = "a quite different battery of horses"
PAGES = (
    "/",
    "/register",
    "/login",
    "/second-factor",
    "/resend",
    "/forgotten-password",
    "/verify-registration/",
    "/reset-password/",
    "/verify-email/",
    "/undo-email-change/",
)
FOR_USERS = (
    "/profile",
    "/change-password",
    "/change-email",
    "/two-factor",
    "/sessions",
    "/delete-account",
)


class Site(Program):
    """The example in a process of its own."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.read_up_to = 0
        command = [sys.executable, "-m", "flask", "--app", "examples/forms/app.py", "run"]
        super().__init__(
            [*command, "--port", str(port)],
            cwd=EXAMPLES.parent,
            environment={
                "FLASK_SQLALCHEMY_DATABASE_URI": f"sqlite:///{folder}/db.sqlite",
                "FLASK_RATELIMIT_ENABLED": "false",
                "FLASK_REGISTRATION_MAIL_LIMITS": "null",
                "FLASK_REGISTRATION_REGISTER_VERIFICATION_URL": f"{self.url}/verify-registration/",
            },
        )

    def link_to(self, address: str, subject: str) -> str:
        """Return the link in the next e-mail to this address with this subject."""
        to, about = f"To: {re.escape(address)}", f"Subject: {subject}.*"
        mail = self.wait_for(to, about, after=self.read_up_to)
        line = self.wait_for(rf"{re.escape(self.url)}/\S+", after=mail)
        self.read_up_to = line
        return self.lines[line]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("forms"))
    try:
        site.wait_for(rf".*Running on {re.escape(site.url)}.*")
        yield site
    finally:
        site.close()


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    with window(browser, site.url, java_script=False) as page:
        yield page


def enter(page: Page, button: str, **fields: str) -> None:
    """Fill in the form of the page by the names of its fields, and press its button."""
    form = page.locator("main form").filter(has=page.get_by_role("button", name=button, exact=True))
    for name, value in fields.items():
        form.locator(f"[name={name}]").fill(value)
    form.get_by_role("button", name=button, exact=True).click()


def said(page: Page) -> str:
    """Return what the page says of the form that was sent before it."""
    return " ".join(page.locator(".message").all_inner_texts())


def register(page: Page, site: Site, name: str) -> None:
    page.goto(f"{site.url}/register")
    enter(
        page,
        "Register",
        username=name,
        email=f"{name}@example.com",
        password=PASSWORD,
        password_confirm=PASSWORD,
    )
    assert "we have sent you an e-mail" in said(page)
    page.goto(site.link_to(f"{name}@example.com", "Confirm"))
    enter(page, "Activate my account")
    assert "Your account is active" in said(page)


def log_in(page: Page, site: Site, name: str, password: str = PASSWORD) -> None:
    page.goto(f"{site.url}/login")
    enter(page, "Log in", login=name, password=password)


def test_an_account_lives_its_whole_life_without_javascript(page: Page, site: Site) -> None:
    register(page, site, "alice")
    log_in(page, site, "alice", "not the password")
    assert "Incorrect username, e-mail address or password." in said(page)
    log_in(page, site, "alice")
    assert page.get_by_role("heading").inner_text() == "Hello, alice"

    page.goto(f"{site.url}/profile")
    enter(page, "Save", first_name="Alice")
    assert page.get_by_role("heading").inner_text() == "Hello, Alice"

    page.goto(f"{site.url}/change-password")
    enter(
        page,
        "Change the password",
        old_password=PASSWORD,
        password=NEW_PASSWORD,
        password_confirm=NEW_PASSWORD,
    )
    assert "Your password was changed" in said(page)

    page.goto(f"{site.url}/change-email")
    enter(page, "Send me a link", email="alice@example.org", password=NEW_PASSWORD)
    page.goto(site.link_to("alice@example.org", "Confirm"))
    enter(page, "Confirm")
    assert "Your new e-mail address is confirmed." in said(page)
    assert "alice@example.org" in page.locator("main").inner_text()

    page.goto(site.link_to("alice@example.com", "Your e-mail address for Forms was changed"))
    enter(page, "Undo the change")
    assert "Your e-mail address was restored." in said(page)

    enter(page, "Send me a link", login="alice")
    page.goto(site.link_to("alice@example.com", "Choose a new password"))
    enter(page, "Set the password", password=PASSWORD, password_confirm=PASSWORD)
    log_in(page, site, "alice@example.com")
    page.get_by_role("button", name="Log out").click()
    assert "You are logged out." in said(page)

    log_in(page, site, "alice")
    page.goto(f"{site.url}/delete-account")
    enter(page, "Delete my account", password=PASSWORD)
    assert "Your account was deleted." in said(page)
    log_in(page, site, "alice")
    assert "Incorrect username" in said(page)


def test_a_login_asks_for_the_code_of_an_authenticator_app(page: Page, site: Site) -> None:
    register(page, site, "frida")
    log_in(page, site, "frida")
    page.goto(f"{site.url}/two-factor")
    enter(page, "Turn on", password=PASSWORD)
    assert page.locator(".qr svg").bounding_box()
    app = pyotp.TOTP(page.locator("main code").inner_text())
    enter(page, "Confirm", code="000000")
    assert "This code is not correct." in said(page)
    enter(page, "Confirm", code=app.now())
    codes = page.locator(".codes code").all_inner_texts()
    assert len(codes) == 10
    page.get_by_role("button", name="Log out").click()
    log_in(page, site, "frida")
    enter(page, "Log in", code="wrong")
    assert "This code is not correct." in said(page)
    enter(page, "Log in", code=codes[0])
    assert page.get_by_role("heading").inner_text() == "Hello, frida"
    page.goto(f"{site.url}/two-factor")
    enter(page, "Turn off", code=codes[1], password=PASSWORD)
    assert "Two-factor authentication is off." in said(page)


def test_a_form_shows_the_messages_of_the_action_at_their_fields(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/register")
    names = {"username": "a b", "email": "nobody"}
    enter(page, "Register", **names, password="short", password_confirm="other")
    error = page.locator("#password_confirm-error")
    assert error.inner_text() == "The two passwords do not match."
    enter(page, "Register", password="short", password_confirm="short")
    errors = [page.locator(f"#{name}-error") for name in (*names, "password")]
    assert all(each.inner_text() for each in errors)
    assert page.locator("[name=username]").input_value() == "a b"


def test_a_session_is_ended_from_the_list(browser: Browser, page: Page, site: Site) -> None:
    register(page, site, "bob")
    log_in(page, site, "bob")
    with window(browser, site.url, java_script=False) as other:
        log_in(other, site, "bob")
        page.goto(f"{site.url}/sessions")
        page.locator(".sessions").get_by_role("button", name="End").click()
        assert "The session was ended." in said(page)
        other.goto(f"{site.url}/profile")
        assert other.get_by_role("heading").inner_text() == "Log in"
    page.get_by_role("button", name="Log out everywhere").click()
    assert "You are logged out everywhere." in said(page)


def test_a_login_goes_on_within_the_site_only(page: Page, site: Site) -> None:
    register(page, site, "carol")
    page.goto(f"{site.url}/login?next=//example.com/")
    enter(page, "Log in", login="carol", password=PASSWORD)
    assert page.url == f"{site.url}/"
    page.get_by_role("button", name="Log out").click()
    page.goto(f"{site.url}/sessions")
    enter(page, "Log in", login="carol", password=PASSWORD)
    assert page.url == f"{site.url}/sessions"


def test_a_broken_link_says_so(page: Page, site: Site) -> None:
    for path in ("/verify-registration/", "/verify-email/", "/undo-email-change/"):
        page.goto(f"{site.url}{path}?user_id=1&timestamp=1&email=a@example.com&signature=x")
        page.locator("main button").click()
        assert "This link is not valid." in said(page)
        page.goto(f"{site.url}{path}")
        page.locator("main button").click()
        assert "This field is required." in said(page)


def test_every_page_fits_a_small_window(page: Page, site: Site) -> None:
    register(page, site, "dora")
    for path in PAGES:
        page.goto(f"{site.url}{path}")
        assert width(page) <= 320, path
    log_in(page, site, "dora")
    for path in ("/", *FOR_USERS):
        page.goto(f"{site.url}{path}")
        assert width(page) <= 320, path


def test_a_form_of_another_site_changes_nothing(page: Page, site: Site) -> None:
    register(page, site, "erin")
    log_in(page, site, "erin")
    page.set_content(f'<form method="post" action="{site.url}/logout"><button>Go</button></form>')
    page.get_by_role("button", name="Go").click()
    page.goto(f"{site.url}/")
    assert page.get_by_role("heading").inner_text() == "Hello, erin"
