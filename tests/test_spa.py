"""``examples/spa``: a front end on another origin, built and served by its script, and used in a
real browser."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyotp
import pytest
from werkzeug.test import TestResponse

from .browsers import width, window
from .examples import EXAMPLES, SETTINGS, example
from .site import PASSWORD
from .smtp import free_port
from .tables import each_row
from .terminal import ENDED, Program

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

EXAMPLE = EXAMPLES / "spa"
NEW_PASSWORD = "a quite different battery of horses"
PAGES = (
    "/register/",
    "/login/",
    "/forgotten-password/",
    "/new-link/",
    "/reset-password/",
    "/undo-email-change/",
    "/x",
)


class Spa(Program):
    """Both parts of the example, each at a port of its own."""

    def __init__(self, folder: Path, ports: tuple[int, int] | None = None, **settings: str) -> None:
        ports = ports or (free_port(), free_port())
        self.api, self.url = (f"http://127.0.0.1:{port}" for port in ports)
        self.read_up_to = 0
        super().__init__(
            ["bash", str(EXAMPLE / "run.sh")],
            cwd=EXAMPLE,
            environment={
                "API_PORT": str(ports[0]),
                "WEB_PORT": str(ports[1]),
                "BIN": str(Path(sys.executable).parent),
                "DIST": str(folder / "dist"),
                "FORCE_COLOR": "1",  # as where ``CI`` is set, so that a run here reads what a run there prints  # noqa: E501
                "PYTHONPATH": str(EXAMPLES.parent),
                "FLASK_SQLALCHEMY_DATABASE_URI": f"sqlite:///{folder}/db.sqlite",
                **{f"FLASK_REGISTRATION_{name}": value for name, value in settings.items()},
            },
        )

    def link_to(self, address: str, subject: str) -> str:
        """The link in the next mail to this address, about this."""
        mail = self.wait_for(
            f"To: {re.escape(address)}", f"Subject: {subject}.*", after=self.read_up_to
        )
        line = self.wait_for(rf"{re.escape(self.url)}/\S+", after=mail)
        self.read_up_to = line
        return self.lines[line]


@pytest.fixture(scope="module")
def spa(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spa]:
    """Both parts, with what npm has installed before if it is there."""
    if not shutil.which("npm"):
        pytest.skip("no npm here: install Node.js 20.19 or newer")
    version = subprocess.run(
        ["node", "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if tuple(map(int, version.lstrip("v").split(".")[:2])) < (20, 19):
        pytest.skip(f"Node.js {version} is too old: install 20.19 or newer")
    with (Path(tempfile.gettempdir()) / "flask-registration-spa.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be installing into the same folder
        spa = Spa(tmp_path_factory.mktemp("spa"), REAUTHENTICATION_PERIOD="0", MAIL_LIMITS="null")
        try:
            spa.wait_for(rf".*Local:.*{re.escape(spa.url)}.*", timeout=120)
            spa.wait_for(rf".*Running on {re.escape(spa.api)}.*")
        except BaseException:
            spa.close()
            raise
    yield spa
    spa.close()


@pytest.fixture
def page(browser: Browser, spa: Spa) -> Iterator[Page]:
    with window(browser, spa.url, spa.api) as page:
        yield page


def enter(page: Page, button: str, **fields: str) -> None:
    """Fill in the form by its labels, and press its button."""
    for label, value in fields.items():
        page.get_by_label(label, exact=True).fill(value)
    page.get_by_role("button", name=button, exact=True).click()


def go(page: Page, name: str) -> None:
    """Follow a link of the navigation."""
    page.get_by_role("navigation").get_by_role("link", name=name, exact=True).click()


def said(page: Page) -> Locator:
    """What the page says of how it went, at its top or below its form."""
    return page.get_by_role("status").filter(has_text=re.compile(r"\S"))


def error(page: Page, label: str) -> Locator:
    """The message that a screen reader reads with the field."""
    from playwright.sync_api import expect

    field = page.get_by_label(label, exact=True)
    expect(field).to_have_attribute("aria-invalid", "true")
    return page.locator(f"[id='{field.get_attribute('aria-describedby')}']")


def log_in(page: Page, login: str, password: str = PASSWORD) -> None:
    from playwright.sync_api import expect

    go(page, "Log in")
    enter(page, "Log in", **{"Username or e-mail address": login, "Password": password})
    expect(said(page)).to_have_text("You are logged in.")


def test_a_login_asks_for_the_code_of_an_authenticator_app(page: Page, spa: Spa) -> None:
    from playwright.sync_api import expect

    go(page, "Register")
    fields = {"Username": "frida", "E-mail address": "frida@example.com", "Password": PASSWORD}
    enter(page, "Register", **fields)
    page.goto(spa.link_to("frida@example.com", "Confirm your e-mail address"))
    enter(page, "Confirm my e-mail address")
    expect(page.get_by_role("main")).to_contain_text("your account is ready")
    log_in(page, "frida")
    go(page, "Two-factor")
    enter(page, "Turn on", **{"Your password": PASSWORD})
    expect(page.get_by_role("img")).to_be_visible()
    app = pyotp.TOTP(page.locator("main code").inner_text())
    enter(page, "Confirm", **{"Code of the app": app.now()})
    expect(said(page)).to_have_text("It is on. You have 10 recovery codes left.")
    codes = page.locator(".codes li").all_inner_texts()
    page.get_by_role("button", name="Log out").click()
    expect(said(page)).to_have_text("You are logged out.")
    enter(page, "Log in", **{"Username or e-mail address": "frida", "Password": PASSWORD})
    enter(page, "Log in", Code="000000")
    expect(said(page)).to_have_text("This code is not correct.")
    enter(page, "Log in", Code=codes[0])
    expect(said(page)).to_have_text("You are logged in.")
    go(page, "Two-factor")
    values = {"Code of the app, or a recovery code": codes[1], "Your password": PASSWORD}
    enter(page, "Turn off", **values)
    expect(page.get_by_role("button", name="Turn on")).to_be_visible()


def test_a_whole_life_of_an_account_on_two_origins(browser: Browser, page: Page, spa: Spa) -> None:
    from playwright.sync_api import expect

    login, heading, main = (
        "Username or e-mail address",
        page.get_by_role("heading", level=1),
        page.get_by_role("main"),
    )
    expect(heading).to_have_text("Log in")  # since nobody is

    # Register
    go(page, "Register")
    expect(heading).to_have_text("Open an account")
    expect(heading).to_be_focused()
    expect(page).to_have_title("Open an account · Two Origins")
    enter(
        page,
        "Register",
        **{"Username": "alice b", "E-mail address": "alice", "Password": "password"},
    )
    expect(page.get_by_label("Username")).to_be_focused()
    expect(error(page, "Username")).to_contain_text("Usernames may contain only")
    expect(error(page, "E-mail address")).to_contain_text("@")
    expect(error(page, "Password")).to_contain_text("common password")
    page.get_by_role("button", name="Show Password").click()
    expect(page.get_by_label("Password", exact=True)).to_have_attribute("type", "text")
    enter(
        page,
        "Register",
        **{"Username": "alice", "E-mail address": "alice@example.com", "Password": PASSWORD},
    )
    expect(main).to_contain_text("on its way to alice@example.com")
    spa.link_to("alice@example.com", "Confirm your e-mail address")

    # Log in too early, ask for another mail, and confirm the address
    go(page, "Log in")
    enter(page, "Log in", **{login: "alice", "Password": PASSWORD})
    expect(said(page)).to_contain_text("Incorrect username, e-mail address or password.")
    page.get_by_role("link", name="Send the mail again").click()
    enter(page, "Send it again", **{"E-mail address": "alice@example.com"})
    expect(said(page)).to_contain_text("If this account is waiting")
    page.goto(spa.link_to("alice@example.com", "Confirm your e-mail address"))
    enter(page, "Confirm my e-mail address")
    expect(main).to_contain_text("Your address is confirmed")
    expect(page).to_have_url(f"{spa.url}/verify-registration/")

    # Log in, here and elsewhere
    main.get_by_role("link", name="Log in").click()
    enter(page, "Log in", **{login: "alice", "Password": "not hers"})
    expect(said(page)).to_have_text("Incorrect username, e-mail address or password.")
    enter(page, "Log in", Password=PASSWORD)
    expect(said(page)).to_have_text("You are logged in.")
    assert page.evaluate("document.cookie") == "", "no script can read the session"
    page.reload()
    expect(heading).to_have_text("Your profile")
    with window(browser, spa.url, spa.api) as other:
        log_in(other, "alice@example.com")

        # Change the name
        expect(page.get_by_label("Username")).to_have_value("alice")
        enter(page, "Save", **{"Username": "", "First name": "Alice"})
        expect(error(page, "Username")).to_have_text("This field may not be blank.")
        expect(page.get_by_label("First name")).to_have_value("Alice")
        enter(page, "Save", Username="alice.liddell")
        expect(said(page)).to_have_text("Please enter your password to continue.")
        enter(page, "Save", **{"Your password": PASSWORD})
        expect(said(page)).to_have_text("Your profile is saved.")
        expect(main).to_contain_text("logged in as alice.liddell")
        expect(page.get_by_label("First name")).to_have_value("Alice")

        # Change the password, which ends the other session
        go(page, "Password")
        enter(page, "Change password", **{"Old password": "not it", "New password": NEW_PASSWORD})
        expect(error(page, "Old password")).to_have_text("Incorrect password.")
        enter(page, "Change password", **{"Old password": PASSWORD, "New password": NEW_PASSWORD})
        expect(said(page)).to_contain_text("Your password is changed")
        expect(page.get_by_label("New password")).to_have_value("")
        enter(other, "Save", **{"First name": "Thief"})
        expect(said(other)).to_have_text("Your session has ended. Please log in.")

    # Move to another address, with the password, since no login counts as fresh here
    go(page, "Address")
    enter(page, "Change address", **{"New e-mail address": "liddell@example.org"})
    expect(said(page)).to_have_text("Please enter your password to continue.")
    expect(page.get_by_label("Your password")).to_be_focused()
    enter(page, "Change address", **{"Your password": "not it"})
    expect(error(page, "Your password")).to_have_text("Incorrect password.")
    enter(page, "Change address", **{"Your password": NEW_PASSWORD})
    expect(said(page)).to_contain_text("on its way to liddell@example.org")
    page.goto(spa.link_to("liddell@example.org", "Confirm your new e-mail address"))
    enter(page, "Confirm my new e-mail address")
    expect(main).to_contain_text("Your account has its new address.")
    page.get_by_role("link", name="Back to your account").click()
    expect(main).to_contain_text("Now it is liddell@example.org.")

    # Take that back, and choose a new password
    page.goto(spa.link_to("alice@example.com", "Your e-mail address for Two Origins was changed"))
    enter(page, "Undo this change")
    expect(main).to_contain_text("has its old address back")
    page.get_by_role("link", name="Choose a new password").click()
    enter(page, "Send me a link", **{login: "alice.liddell"})
    expect(said(page)).to_contain_text("If there is such an account")
    reset = spa.link_to("alice@example.com", "Choose a new password")
    page.goto(reset)
    enter(page, "Set the password", **{"New password": "alice.liddell"})
    expect(page.get_by_label("New password")).to_have_attribute("aria-invalid", "true")
    enter(page, "Set the password", **{"New password": PASSWORD})
    expect(said(page)).to_have_text("Your new password is set. Log in with it.")
    page.goto(reset)
    enter(page, "Set the password", **{"New password": NEW_PASSWORD})
    expect(said(page)).to_contain_text("This link is not valid.")
    expect(page.get_by_role("link", name="Ask for a new link")).to_be_visible()

    # Log out, and in again, and delete the account
    log_in(page, "alice@example.com")
    page.get_by_role("button", name="Log out").click()
    expect(said(page)).to_have_text("You are logged out.")
    page.goto(f"{spa.url}/address/")
    expect(heading).to_have_text("Log in")
    log_in(page, "alice.liddell")
    go(page, "Delete")
    enter(page, "Delete my account", **{"Your password": NEW_PASSWORD})
    expect(error(page, "Your password")).to_have_text("Incorrect password.")
    enter(page, "Delete my account", **{"Your password": PASSWORD})
    expect(said(page)).to_have_text("Your account is deleted.")
    enter(page, "Log in", **{login: "alice.liddell", "Password": PASSWORD})
    expect(said(page)).to_have_text("Incorrect username, e-mail address or password.")


def test_the_front_end_says_what_it_cannot_do_and_fits_on_a_phone(page: Page, spa: Spa) -> None:
    from playwright.sync_api import expect

    for path in PAGES:
        page.goto(spa.url + path)
        page.get_by_role("heading", level=1).wait_for()
        assert width(page) <= 320, path
    page.goto(f"{spa.url}/verify-registration/?user_id=1")
    enter(page, "Confirm my e-mail address")
    expect(said(page)).to_contain_text(
        "This link is incomplete. Copy the whole link from the e-mail."
    )
    page.goto(f"{spa.url}/verify-registration/?user_id=1&timestamp=1&signature=forged")
    enter(page, "Confirm my e-mail address")
    expect(said(page)).to_contain_text("This link is not valid.")
    page.get_by_role("link", name="Ask for a new link").click()
    page.route("**/accounts/**", lambda route: route.abort())
    enter(page, "Send it again")
    expect(said(page)).to_contain_text("gave no answer that makes sense")


# What the back end tells a browser


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Callable[..., TestResponse]]:
    """Ask the back end from a page of this origin."""
    page = example("spa")
    app = page.create_app(
        SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path}/db.sqlite",
        FRONTEND_URL="https://app.example.com",
        **{**SETTINGS, "RATELIMIT_ENABLED": True},
        REGISTRATION_THROTTLES={"login": {"client": "1/hour"}},
    )

    def ask(origin: str, method: str = "POST", **headers: str) -> TestResponse:
        body, headers = {"login": "alice", "password": PASSWORD}, {"Origin": origin, **headers}
        reply: TestResponse = app.test_client().open(
            "/accounts/login/", method=method, json=body, headers=headers
        )
        return reply

    with app.app_context():
        page.registration.create_user(
            username="alice", email="alice@example.com", password=PASSWORD
        )
        page.db.session.commit()
    yield ask
    with app.app_context():
        page.db.session.remove()
        page.db.engine.dispose()


def test_only_the_front_end_may_ask_with_the_cookie(ask: Callable[..., TestResponse]) -> None:
    preflight = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    for method, headers in (("OPTIONS", preflight), ("POST", {})):
        for origin in (
            "https://evil.example",
            "https://app.example.com.evil.example",
            "http://app.example.com",
            "null",
        ):
            assert "Access-Control-Allow-Origin" not in ask(origin, method, **headers).headers, (
                method,
                origin,
            )
    reply = ask("https://app.example.com", "OPTIONS", **preflight)
    assert reply.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert reply.headers["Access-Control-Allow-Credentials"] == "true"
    assert reply.headers["Access-Control-Allow-Headers"] == "content-type"


def test_the_cookie_stays_within_the_site_and_a_refusal_can_be_read(
    ask: Callable[..., TestResponse],
) -> None:
    cookie = ask("https://app.example.com").headers["Set-Cookie"]
    assert {"Secure", "HttpOnly", "SameSite=Lax"} <= set(cookie.split("; "))
    reply = ask("https://app.example.com")
    assert (reply.status_code, reply.headers["Access-Control-Allow-Origin"]) == (
        429,
        "https://app.example.com",
    )
    assert reply.headers["Access-Control-Expose-Headers"] == "Retry-After"


def test_the_lock_of_npm_names_no_registry() -> None:
    lock = json.loads((EXAMPLE / "frontend" / "package-lock.json").read_text("utf-8"))
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages.keys() >= {"node_modules/vue", "node_modules/vite"}
    assert all(
        "resolved" not in package and "integrity" in package for package in packages.values()
    )


@each_row("taken", ["back end", "front end"])
def test_a_port_that_is_taken_ends_both(taken: str, spa: Spa, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ports = (port, free_port()) if taken == "back end" else (free_port(), port)
        another = Spa(tmp_path, ports)
        try:
            another.wait_for(rf".*\bPort {port} is .*in use.*", timeout=120)
            another.wait_for(
                re.escape("One of the two has ended, and so the other does: see above.")
            )
            another.wait_for(re.escape(ENDED))
        finally:
            another.close()
