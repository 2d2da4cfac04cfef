"""The documentation as it is read: built, looked at in a browser, and searched."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .browsers import window
from .pages import ROOT, docs_module

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages."""
    folder = tmp_path_factory.mktemp("documentation")
    html = folder / "html"
    build = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-b",
        "html",
        "-d",
        str(folder / "read"),
        "docs",
        str(html),
    ]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return html


def test_no_page_moves_sideways_on_a_phone_or_needs_another_site(
    browser: Browser, html: Path
) -> None:
    paths = sorted(
        {*html.glob("*.html")} - {html / "404.html"}
    )  # which has its style where a server has it
    assert len(paths) > 30
    listed = re.findall(
        r"^- \[.+?\]\(([\w-]+\.html)\)", (html / "llms.txt").read_text("utf-8"), re.MULTILINE
    )
    generated = {"genindex.html", "index.html", "py-modindex.html", "search.html"}
    assert sorted(listed) == sorted({path.name for path in paths} - generated)
    wide = {}
    with window(browser, paths[0].as_uri(), html.parent.as_uri()) as page:
        for path in paths:
            page.goto(path.as_uri())
            wide[path.name] = page.evaluate("document.documentElement.scrollWidth")
    assert {name: width for name, width in wide.items() if width > 390} == {}


def test_the_search_finds_the_right_page_first(html: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("no Node.js here: it runs the scripts of the search")
    quality = docs_module("search_quality")
    found = quality.ranks(html, quality.queries())
    assert len(found) == 60
    first = sum(rank == 1 for rank, _ in found.values())
    three = sum(rank is not None and rank <= 3 for rank, _ in found.values())
    misses = {text: pages for text, (rank, pages) in found.items() if rank != 1}
    assert first >= 45, misses
    assert three >= 57, misses


def test_the_search_knows_other_spellings_and_pages_without_one_of_the_words(html: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("no Node.js here: it runs the scripts of the search")
    quality = docs_module("search_quality")
    by_hyphen, without, jargon = quality.search(
        html, ["e-mail templates", "email templates", "email templates xylophone"]
    )
    assert by_hyphen[0] == without[0] == jargon[0] == "own-mail"
    (nothing,) = quality.search(html, ["xylophone"])
    assert nothing == []


def test_every_page_of_the_queries_is_there(html: Path) -> None:
    quality = docs_module("search_quality")
    wanted = {page for pages in quality.queries().values() for page in pages}
    assert {page for page in wanted if not (html / f"{page}.html").is_file()} == set()


def test_the_check_of_the_pictures_tells_two_emails_apart(browser: Browser) -> None:
    pictures = docs_module("take_screenshots")
    sign_up, reset = (
        (ROOT / "docs" / "screenshots" / f"mail-{name}.png").read_bytes()
        for name in ("sign_up", "reset_password")
    )
    assert pictures.difference(browser, sign_up, sign_up) == 0
    assert pictures.difference(browser, sign_up, reset) > pictures.TOLERANCE
