"""The documentation as it is read: built, and looked at in a browser."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .browsers import window
from .pages import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def test_no_page_moves_sideways_on_a_phone_or_needs_another_site(
    browser: Browser, tmp_path: Path
) -> None:
    html = tmp_path / "html"
    build = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-b",
        "html",
        "-d",
        str(tmp_path / "read"),
        "docs",
        str(html),
    ]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
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
    with window(browser, paths[0].as_uri(), tmp_path.as_uri()) as page:
        for path in paths:
            page.goto(path.as_uri())
            wide[path.name] = page.evaluate("document.documentElement.scrollWidth")
    assert {name: width for name, width in wide.items() if width > 390} == {}
