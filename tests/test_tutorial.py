"""The tutorial's application: its tests, its tables, and all of it behind nginx, in a browser."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser

from .lives import Letterbox
from .pages import ROOT, blocks, read
from .site import PASSWORD, links_of
from .smtp import free_port, make_certificate, smtp_server

BIN = Path(sys.executable).parent
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
TIMEOUT = 60
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


class Club:
    """The folder that one has at the end of the tutorial."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for block in blocks(read("docs/tutorial.md")):
            if block.caption:
                path = folder / block.caption
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text, "utf-8")

    def environment(self) -> dict[str, str]:
        plain = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("FLASK_", "COV_"))
        }
        return {**plain, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}

    def run(self, *command: str) -> str:
        done = subprocess.run(
            [str(BIN / command[0]), *command[1:]],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def set(self, **values: object) -> None:
        """Change what the server's file of settings says."""
        path = self.folder / "deploy" / "club.env"
        text = path.read_text("utf-8")
        for name, value in values.items():
            text, found = re.subn(
                rf"^FLASK_{name}=.*$", f"FLASK_{name}={value}", text, flags=re.MULTILINE
            )
            assert found == 1, name
        path.write_text(text, "utf-8")


@pytest.fixture
def club(tmp_path: Path) -> Club:
    return Club(tmp_path)


def test_its_own_tests_pass(club: Club) -> None:
    assert "3 passed" in club.run("python", "-m", "pytest", "-p", "no:cacheprovider")


@contextmanager
def running(club: Club, *command: str) -> Iterator[None]:
    with (club.folder / "log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=club.folder, env=club.environment(), stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.terminate()
        assert process.wait(TIMEOUT) == 0, (club.folder / "log").read_text("utf-8")


@contextmanager
def deployed(club: Club, mail_port: int) -> Iterator[str]:
    """What the server's files say, on ports of our own; yields its URL."""
    port, plain = free_port(), free_port()
    club.set(
        SECRET_KEY="0123456789abcdef" * 4,
        SQLALCHEMY_DATABASE_URI=f"sqlite:///{club.folder}/club.db",
        RATELIMIT_STORAGE_URI="memory://",
        MAIL_SERVER="127.0.0.1",
        MAIL_PORT=mail_port,
        MAIL_USE_TLS="false",
        MAIL_USERNAME="",
        MAIL_PASSWORD="",
    )
    for command in (["init"], ["migrate", "-m", "Members and their logins"], ["upgrade"]):
        club.run("flask", "--env-file", "deploy/club.env", "db", *command)
    unit = (club.folder / "deploy" / "club.service").read_text("utf-8")
    (line,) = re.findall(
        r"^ExecStart=/srv/club/.venv/bin/(.*)$", unit.replace("\\\n", " "), re.MULTILINE
    )
    gunicorn, *arguments = shlex.split(
        line.replace("/run/club/", f"{club.folder}/").replace("()", "\\(\\)")
    )
    environment = (club.folder / "deploy" / "club.env").read_text("utf-8").split()
    certificate = make_certificate(club.folder, host="127.0.0.1")
    site = (club.folder / "deploy" / "club.conf").read_text("utf-8")
    for before, after in {
        "listen 80": f"listen 127.0.0.1:{plain}",
        "listen 443": f"listen 127.0.0.1:{port}",
        "https://$host$request_uri": f"https://$host:{port}$request_uri",
        "/etc/letsencrypt/live/club.example.com/fullchain.pem": str(certificate.certificate),
        "/etc/letsencrypt/live/club.example.com/privkey.pem": str(certificate.key),
        "/run/club/": f"{club.folder}/",
    }.items():
        assert before in site, before
        site = site.replace(before, after)
    configuration = club.folder / "nginx.conf"
    kept = "".join(f"{kind}_temp_path {club.folder}/{kind};" for kind in TEMPORARY)
    owner = "user root; " if os.geteuid() == 0 else ""  # or its workers may not enter our folder
    configuration.write_text(
        f"{owner}daemon off; pid {club.folder}/nginx.pid; "
        f"error_log {club.folder}/error.log; events {{}}\n"
        f"http {{ access_log off; {kept}\n{site} }}\n",
        "utf-8",
    )
    with (
        running(club, "env", *environment, str(BIN / gunicorn), *arguments),
        running(club, str(NGINX), "-e", f"{club.folder}/error.log", "-c", str(configuration)),
    ):
        until = time.monotonic() + TIMEOUT
        while (
            not (club.folder / "gunicorn.sock").exists() or not (club.folder / "nginx.pid").exists()
        ):
            assert time.monotonic() < until, (club.folder / "log").read_text("utf-8")
            time.sleep(0.05)
        yield f"https://127.0.0.1:{port}"


@pytest.mark.skipif(not NGINX, reason="no nginx here")
def test_a_member_comes_in_by_the_pages_of_the_deployed_club(club: Club, browser: Browser) -> None:
    letters = Letterbox()
    with smtp_server(answer=letters.take) as server, deployed(club, server.port) as url:
        visitor = browser.new_context(ignore_https_errors=True)
        page = visitor.new_page()
        reply = page.goto(url)
        assert reply, url
        assert reply.status == 200, (club.folder / "error.log").read_text("utf-8")
        form = page.locator("form[data-endpoint=register]")
        for name, value in {
            "username": "alice",
            "email": "alice@example.com",
            "favorite_book": "Middlemarch",
            "password": PASSWORD,
            "password_confirm": PASSWORD + "!",
        }.items():
            form.locator(f"[name={name}]").fill(value)
        form.locator("button").click()
        form.get_by_text("match").wait_for()
        form.locator("[name=password_confirm]").fill(PASSWORD)
        form.locator("button").click()
        form.get_by_text("Check your inbox.").wait_for()
        mail = letters.wait("alice@example.com", "Your first page at the reading club")
        link = links_of(mail)[0]
        assert link.startswith("https://club.example.com/accounts/verify-registration/?")
        page.goto(f"{url}{urlsplit(link).path}?{urlsplit(link).query}")
        page.get_by_role("button").click()
        page.get_by_text("Welcome! Now log in.").wait_for()
        form = page.locator("form[data-endpoint=login]")
        form.locator("[name=login]").fill("alice")
        form.locator("[name=password]").fill(PASSWORD)
        form.locator("button").click()
        page.get_by_text("Hello alice.").wait_for()
        assert [cookie["secure"] for cookie in visitor.cookies()] == [True] * 2, "session, device"
        page.get_by_role("link").click()
        page.get_by_text("alice likes Middlemarch.").wait_for()
        page.go_back()
        page.get_by_role("button", name="Log out").click()
        form = page.locator("form[data-endpoint=send-reset-password-link]")
        form.locator("[name=login]").fill("alice")
        form.locator("button").click()
        form.get_by_text("an e-mail is on its way").wait_for()
        visitor.close()
        report = club.run(
            "flask", "--env-file", "deploy/club.env", "registration", "check", "--database"
        )
        assert re.findall(r"^(?:warning|error): (\S+)", report, re.MULTILINE) == [
            "RATELIMIT_STORAGE_URI"
        ]
