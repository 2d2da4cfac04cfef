"""Take the pictures of the documentation anew: ``python docs/take_screenshots.py``.

It starts the quick start's example, with a database of its own, and needs Playwright and a
Chromium. The pictures of mails differ each time, since links have a time and a signature in them:
commit those that look different.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "screenshots"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
MAILS = ("sign_up", "reset_password", "email_changed")
TIMEOUT = 30  # seconds until the example answers


def main() -> None:
    """Take them all."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        app = f"examples/quickstart/app.py:create_app({folder + '/instance'!r})"
        with served(app, FLASK_REGISTRATION_OPENAPI_PAGE_PATH="/docs/") as url:
            picture(browser, url, "quickstart", width=1100, height=730)
            picture(browser, f"{url}accounts/docs/", "api-description", width=1100, height=800)
        command = [
            sys.executable,
            "-m",
            "flask",
            "--app",
            app,
            "registration",
            "preview-mail",
            f"{folder}/mails",
        ]
        subprocess.run(command, cwd=ROOT, env=environment(), check=True)
        mails = Path(folder, "mails")
        for name in MAILS:
            picture(
                browser, (mails / f"{name}.html").as_uri(), f"mail-{name}", width=600, height=620
            )
        picture(browser, (mails / "index.html").as_uri(), "preview-mail", width=1280, height=800)
        browser.close()


def environment() -> dict[str, str]:
    """This environment, less what would configure the example."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FLASK_")}


@contextmanager
def served(app: str, **settings: str) -> Iterator[str]:
    """The URL of the application, which is served until the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "flask", "--app", app, "run", "--port", str(port)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**environment(), **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/", process)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the application answers."""
    end = time.monotonic() + TIMEOUT
    while process.poll() is None and time.monotonic() < end:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.URLError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"{url} does not answer.")


def picture(browser: Browser, url: str, name: str, *, width: int, height: int) -> None:
    """Take one, in light colours."""
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
    page.goto(url, wait_until="networkidle")
    file = PICTURES / f"{name}.png"
    page.screenshot(path=file, animations="disabled")
    page.close()
    print(f"{file.relative_to(ROOT)}: {file.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
