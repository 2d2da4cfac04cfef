"""As it is deployed: gunicorn with several workers, PostgreSQL, a real mail server, a real
browser."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, text

from .site import PASSWORD, links_of, parameters
from .smtp import SMTPServer, free_port, smtp_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 30  # seconds, for failures only


class Deployment:
    """The example under gunicorn: two workers, four threads each."""

    def __init__(self, instance: Path, database: str, smtp: SMTPServer) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self._started = threading.Semaphore(0)
        self.output: list[str] = []
        make_app = f"create_app({str(instance)!r})"
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("FLASK_")},
            "FLASK_SQLALCHEMY_DATABASE_URI": database,
            "FLASK_SECRET_KEY": "the same key for both workers, as it must be",
            "FLASK_MAIL_SUPPRESS_SEND": "false",
            "FLASK_MAIL_SERVER": "localhost",
            "FLASK_MAIL_PORT": str(smtp.port),
            "FLASK_REGISTRATION_REGISTER_VERIFICATION_URL": f"{self.url}/verify-registration/",
            "FLASK_REGISTRATION_GATE": "null",  # no browser is there to solve a proof of work
        }
        # The tables are made before the workers start, as any deployment's are: two that make them
        # at once collide.
        make_tables = f"from examples.quickstart.app import create_app; {make_app}"
        subprocess.run([sys.executable, "-c", make_tables], cwd=ROOT, env=environment, check=True)
        self._process = subprocess.Popen(
            [
                *(
                    sys.executable,
                    "-m",
                    "gunicorn",
                    "--workers",
                    "2",
                    "--threads",
                    "4",
                    "--bind",
                    self.url[7:],
                ),
                f"examples.quickstart.app:{make_app}",
            ],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        for _ in range(2):
            assert self._started.acquire(timeout=TIMEOUT), "\n".join(self.output)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.output.append(line.rstrip())
            if "Booting worker" in line:
                self._started.release()

    def post(self, endpoint: str, body: dict[str, Any]) -> Any:
        """POST JSON; returns the reply's, which must be a success."""
        data, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/accounts/{endpoint}/", data, headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            return json.load(response)

    def sign_up(self, username: str) -> Any:
        return self.post("sign-up", {"email": f"{username}@example.com"})

    def stop(self) -> None:
        """Stop as a process manager does; what is under way is finished."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self._process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        assert self._process.stdout is not None
        self._process.stdout.close()


Deploy = Callable[..., Deployment]


@pytest.fixture
def deploy(tmp_path: Path, postgresql_url: str) -> Iterator[Deploy]:
    """Start a deployment; its tables are dropped in the end."""
    engine = create_engine(postgresql_url)
    with ExitStack() as stack:
        stack.callback(engine.dispose)
        stack.callback(_drop_tables, engine)

        def start(smtp: SMTPServer) -> Deployment:
            deployment = Deployment(tmp_path / "instance", postgresql_url, smtp)
            stack.callback(deployment.stop)
            return deployment

        yield start


def _drop_tables(engine: Any) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))


def _verified(url: str, username: str) -> bool:
    engine = create_engine(url)
    with engine.connect() as connection:
        statement = text('SELECT is_verified FROM "user" WHERE username = :name')
        found = connection.execute(statement, {"name": username}).scalar_one()
    engine.dispose()
    return bool(found)


def test_a_sign_up_by_browser_ends_in_a_verified_account(
    deploy: Deploy, browser: Browser, postgresql_url: str
) -> None:
    with smtp_server() as smtp:
        deployment = deploy(smtp)
        page = browser.new_page()
        page.set_default_timeout(TIMEOUT * 1000)
        page.goto(f"{deployment.url}/sign-up/")
        form = page.get_by_role("region", name="Sign up", exact=True)
        form.get_by_label("E-mail address", exact=True).fill("alice@example.com")
        form.get_by_role("button", name="Sign up").click()
        form.get_by_role("status").get_by_text("alice@example.com").wait_for()
        deployment.stop()  # which waits for the mail that is under way
    (delivery,) = smtp.deliveries
    assert delivery.recipients == ["alice@example.com"]
    link = links_of(delivery.mail)[0]
    with smtp_server() as smtp:
        deployment = deploy(smtp)
        page.goto(re.sub(r"http://[^/]+", deployment.url, link))
        form = page.get_by_role("region", name="Finish signing up", exact=True)
        form.get_by_label("Username", exact=True).fill("alice")
        form.get_by_label("Password", exact=True).fill(PASSWORD)
        form.get_by_label("Confirm password", exact=True).fill(PASSWORD)
        form.get_by_role("button", name="Create my account").click()
        page.get_by_role("status").get_by_text("Your account is ready").wait_for()
        page.context.close()
    assert _verified(postgresql_url, "alice")


def test_workers_share_what_links_need_and_lose_no_mail_when_they_stop(
    deploy: Deploy, postgresql_url: str
) -> None:
    with smtp_server() as smtp:
        deployment = deploy(smtp)
        names = [f"user{number}" for number in range(20)]
        sent = {"detail": "An e-mail to finish signing up is on its way"}
        assert [deployment.sign_up(name) for name in names] == [sent] * len(names)
        deployment.stop()
        assert sorted(delivery.recipients[0] for delivery in smtp.deliveries) == sorted(
            f"{name}@example.com" for name in names
        )
        again = deploy(smtp)
        for delivery in smtp.deliveries:
            name = delivery.recipients[0].partition("@")[0]
            chosen = {"username": name, "password": PASSWORD, "password_confirm": PASSWORD}
            link = dict(parameters(links_of(delivery.mail)[0]))
            assert again.post("finish-sign-up", {**link, **chosen})["username"] == name
    assert all(_verified(postgresql_url, name) for name in names)
