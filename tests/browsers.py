"""A real browser, the system's own Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from .terminal import TIMEOUT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    reason = "no Playwright here: pip install playwright"
    playwright = pytest.importorskip("playwright.sync_api", reason=reason, exc_type=ImportError)
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip(f"no browser here: none of {', '.join(BROWSERS)} is on the PATH")
    playwright.expect.set_options(timeout=TIMEOUT * 1000)
    quiet = [
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
    ]
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(
            executable_path=executable,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                *quiet,
            ],  # as root it does not start with its sandbox
        )
        yield browser
        browser.close()


@contextmanager
def window(
    browser: Browser,
    url: str,
    *origins: str,
    user_agent: str | None = None,
    java_script: bool = True,
    locale: str | None = None,
) -> Iterator[Page]:
    """A page in a fresh window, whose script must not fail and which must not load from elsewhere.

    :param origins: what it may load from beside its own.
    :param locale: the language of the browser, English by default.
    """
    context = browser.new_context(
        viewport={"width": 390, "height": 844},
        user_agent=user_agent,
        java_script_enabled=java_script,
        locale=locale,
    )
    context.set_default_timeout(TIMEOUT * 1000)
    page = context.new_page()
    failures: list[Any] = []
    requested: list[str] = []
    page.on("pageerror", lambda error: failures.append(error))
    page.on("request", lambda request: requested.append(request.url))
    page.goto(url)
    yield page
    context.close()
    assert not failures
    assert [
        found for found in requested if not found.startswith((url, *origins, "data:", "about:"))
    ] == []


def width(page: Page) -> int:
    """How wide the page is in the smallest window; WCAG 2.2, 1.4.10."""
    page.set_viewport_size({"width": 320, "height": 640})
    return int(page.evaluate("document.documentElement.scrollWidth"))
