"""Take the pictures of the documentation: ``python docs/take_screenshots.py``.

With ``--check`` it names the pictures that look different today, and keeps none.

It starts the example of the quick start with a new database, and needs Playwright and a Chromium.
Commit only pictures that look different.
"""

from __future__ import annotations

import argparse
import base64
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "screenshots"
PASSWORD = "correct horse battery"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
MAILS = ("sign_up", "reset_password", "email_changed")
BRAND = {
    "FLASK_REGISTRATION_SITE_LOGO_URL": "https://example.com/logo.png",
    "FLASK_REGISTRATION_SITE_BRAND_COLOR": "#0f766e",
}
TIMEOUT = 30  # seconds until the example responds

#: The largest part of a picture that may differ: links, times and names of hosts do.
TOLERANCE = 0.01

#: Returns which part of the pixels of two pictures differs, at a quarter of their size, where
#: a letter that is drawn half a pixel further does not count.
DIFFERENCE = """
async (pictures) => {
  const pixels = await Promise.all(pictures.map(async (picture) => {
    const image = new Image();
    image.src = "data:image/png;base64," + picture;
    await image.decode();
    const canvas = new OffscreenCanvas(image.width / 4, image.height / 4);
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    return context.getImageData(0, 0, canvas.width, canvas.height).data;
  }));
  const [one, other] = pixels;
  if (one.length !== other.length) return 1;
  let count = 0;
  for (let i = 0; i < one.length; i += 4) {
    const distance = (channel) => Math.abs(one[i + channel] - other[i + channel]);
    if (Math.max(distance(0), distance(1), distance(2)) > 48) count += 1;
  }
  return count / (one.length / 4);
}
"""

#: Gives links the same time and signature each time: another one may need another line.
SAME_LINKS = """
() => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    texts.currentNode.data = texts.currentNode.data
      .replace(/timestamp=\\d+/, "timestamp=1795974067")
      .replace(/signature=[\\w.-]+/, "signature=" + "bwAJ9owTbVAP".repeat(7));
  }
}
"""

#: The pictures that were taken, by name.
taken: dict[str, bytes] = {}


def main() -> int:
    """Take them all, then write or compare them. Return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare them with the files")
    check = parser.parse_args().check
    changed = 0
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        app = f"examples/quickstart/app.py:create_app({folder + '/instance'!r})"
        with served(app, FLASK_REGISTRATION_OPENAPI_PAGE_PATH="/docs/") as url:
            quickstart_pictures(browser, url, app)
            page = f"{url}accounts/docs/"
            picture(browser, page, "api-description", width=1100, height=800, ready=".opblock")
        mails = preview_mails(app, f"{folder}/mails")
        for name in MAILS:
            picture(
                browser, (mails / f"{name}.html").as_uri(), f"mail-{name}", width=600, height=620
            )
        picture(browser, (mails / "index.html").as_uri(), "preview-mail", width=1280, height=800)
        brand_picture(browser, preview_mails(app, f"{folder}/brand", **BRAND))
        for name, content in taken.items():
            file = PICTURES / f"{name}.png"
            if not check:
                file.write_bytes(content)
                print(f"{file.relative_to(ROOT)}: {len(content) // 1024} KiB")
            elif (part := difference(browser, file.read_bytes(), content)) > TOLERANCE:
                changed += 1
                print(f"{file.relative_to(ROOT)} looks different: {part:.1%} of it")
        browser.close()
    if changed:
        print("Take them again: python docs/take_screenshots.py")
    return int(changed > 0)


def difference(browser: Browser, one: bytes, other: bytes) -> float:
    """Return which part of two pictures differs, from 0 to 1."""
    page = browser.new_page()
    pictures = [base64.b64encode(each).decode() for each in (one, other)]
    part = float(page.evaluate(DIFFERENCE, pictures))
    page.close()
    return part


def preview_mails(app: str, folder: str, **settings: str) -> Path:
    """Write all e-mails into a folder."""
    command = ["-m", "flask", "--app", app, "registration", "preview-mail", folder]
    env = {**environment(), **settings}
    subprocess.run([sys.executable, *command], cwd=ROOT, env=env, check=True)
    return Path(folder)


def brand_picture(browser: Browser, mails: Path) -> None:
    """Take an e-mail with a logo and a color, in dark mode."""
    page = browser.new_page(viewport={"width": 600, "height": 580}, color_scheme="dark")
    logo = ROOT / "docs" / "_static" / "logo.svg"
    page.route(BRAND["FLASK_REGISTRATION_SITE_LOGO_URL"], lambda route: route.fulfill(path=logo))
    page.goto((mails / "reset_password.html").as_uri(), wait_until="networkidle")
    take(page, "mail-brand")
    page.close()


def quickstart_pictures(browser: Browser, url: str, app: str) -> None:
    """Take the pages of the quick start, on a desktop and a phone, in light and dark mode."""
    command = ["-m", "flask", "--app", app, "registration", "create-user"]
    fields = ["--username=alice", "--email=alice@example.com"]
    subprocess.run(
        [sys.executable, *command, *fields],
        cwd=ROOT,
        env=environment(),
        input=f"{PASSWORD}\n{PASSWORD}\n",
        text=True,
        check=True,
    )
    for size, width, height in (("", 1000, 760), ("-phone", 390, 800)):
        for scheme in ("light", "dark"):
            name = size if scheme == "light" else f"{size}-dark"
            page = browser.new_page(
                viewport={"width": width, "height": height},
                color_scheme=scheme,
                device_scale_factor=2 if size else 1,
            )
            page.goto(f"{url}finish-sign-up/?email=alice@example.com")
            page.get_by_label("Username").fill("alice")
            page.get_by_label("Password", exact=True).fill(PASSWORD)
            page.get_by_label("Confirm password", exact=True).fill(PASSWORD)
            page.locator("[data-rule=strength].met").wait_for()
            page.get_by_label("Confirm password", exact=True).blur()
            take(page, f"quickstart{name}")
            page.goto(url)
            page.get_by_label("Username or e-mail address").fill("alice")
            page.get_by_label("Password", exact=True).fill(PASSWORD)
            page.get_by_role("button", name="Log in").click()
            page.locator("#session-list .badge").wait_for()
            page.reload(wait_until="networkidle")
            take(page, f"account{name}")
            page.context.close()


def environment() -> dict[str, str]:
    """Return this environment without the variables that would configure the example."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FLASK_")}


@contextmanager
def served(app: str, **settings: str) -> Iterator[str]:
    """Return the URL of the application, which is served until the block ends."""
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
    """Wait until the application responds."""
    end = time.monotonic() + TIMEOUT
    while process.poll() is None and time.monotonic() < end:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"{url} does not respond.")


def picture(
    browser: Browser, url: str, name: str, *, width: int, height: int, ready: str = "body"
) -> None:
    """Take a page in light mode, when it shows what matches the selector."""
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
    page.goto(url, wait_until="networkidle")
    page.locator(ready).first.wait_for()
    take(page, name)
    page.close()


def take(page: Page, name: str) -> None:
    """Take a picture of what a page shows now."""
    page.evaluate(SAME_LINKS)
    taken[name] = page.screenshot(animations="disabled")


if __name__ == "__main__":
    sys.exit(main())
