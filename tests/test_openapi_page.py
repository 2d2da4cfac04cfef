"""The page that shows the API description, in a real browser."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from werkzeug.serving import make_server

from .browsers import width, window
from .descriptions import describe
from .people import account, define_login
from .site import Site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture
def site(new_site: Callable[..., Site], sqlite_url: str) -> Site:
    site = new_site(sqlite_url, login_model=define_login, OPENAPI_PAGE_PATH="/docs/")
    account(site, "alice")
    return site


@pytest.fixture
def url(site: Site) -> Iterator[str]:
    """Where the application is served."""
    server = make_server("127.0.0.1", 0, site.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}/accounts/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """The page, whose policy must not keep it from anything."""
    with window(browser, url) as page:
        refused: list[str] = []
        page.on(
            "console",
            lambda said: (
                refused.append(said.text) if "Content Security Policy" in said.text else None
            ),
        )
        page.goto(f"{url}docs/")
        yield page
        assert refused == []


def test_it_shows_every_endpoint_in_a_small_window_too(page: Page, site: Site) -> None:
    from playwright.sync_api import expect

    described = [
        method
        for item in describe(site.app)["paths"].values()
        for method in item
        if method != "parameters"
    ]
    expect(page.locator(".opblock")).to_have_count(len(described))
    assert width(page) == 320


def test_somebody_logs_in_there_and_sees_their_profile(page: Page) -> None:
    from playwright.sync_api import expect

    for operation in ("login-login", "profile-profile"):
        block = page.locator(f"#operations-{operation}")
        block.get_by_role("button").first.click()
        block.get_by_role("button", name="Try it out").click()
        block.get_by_role("button", name="Execute").click()
        expect(block.locator(".live-responses-table .response-col_status").last).to_contain_text(
            "200"
        )
    expect(block.locator(".live-responses-table")).to_contain_text('"username": "alice"')


def test_it_is_dark_where_everything_is(page: Page) -> None:
    from playwright.sync_api import expect

    page.emulate_media(color_scheme="dark")
    page.reload()
    expect(page.locator("body")).to_have_css("background-color", "rgb(28, 32, 34)")
    expect(page.locator(".opblock-summary-path").first).not_to_have_css("color", "rgb(59, 65, 81)")
