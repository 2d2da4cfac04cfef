"""Workers that are killed under load, at any moment: a reply that came can be relied on, and
nothing is half done."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from flask_registration.users.stamps import UserSnapshot, stamp_digest

from ..flows.common import OTHER_PASSWORD
from ..site import PASSWORD, Site, links_of, parameters
from ..smtp import SMTPServer, free_port, smtp_server
from .served import make

ROOT = Path(__file__).resolve().parent.parent.parent
TIMEOUT = 30  # seconds, for failures only

ROUNDS = int(os.environ.get("TEST_KILL_ROUNDS", "2"))
SEED = int(os.environ.get("TEST_KILL_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)

CLIENTS = 6
PEOPLE = 5  # for each client and round


class Gunicorn:
    """Two workers with four threads each."""

    def __init__(self, database: str, smtp: SMTPServer) -> None:
        self.port = free_port()
        self._app = f"tests.faults.served:create_app({database!r}, {smtp.port})"
        self._start()

    def _start(self) -> None:
        self._alive: list[int] = []
        self._started = threading.Semaphore(0)
        command = [
            sys.executable,
            "-m",
            "gunicorn",
            "--workers",
            "2",
            "--threads",
            "4",
            "--graceful-timeout",
            "5",
        ]
        self._master = subprocess.Popen(
            [*command, "--bind", f"127.0.0.1:{self.port}", self._app],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._master,))
        self._reader.start()
        for _ in range(2):
            assert self._started.acquire(timeout=TIMEOUT)

    def _read(self, master: subprocess.Popen[str]) -> None:
        assert master.stdout is not None
        for line in master.stdout:
            if "Booting worker with pid: " in line:
                self._alive.append(int(line.rpartition(":")[2]))
                self._started.release()

    def kill_worker(self, number: int) -> None:
        """End one of the two workers at once; the master starts another."""
        os.kill(self._alive.pop(number), signal.SIGKILL)
        assert self._started.acquire(timeout=TIMEOUT)

    def kill_all(self) -> None:
        """End the master and every worker at once, and start anew."""
        for pid in (self._master.pid, *self._alive):
            os.kill(pid, signal.SIGKILL)
        self._wait()
        self._start()

    def stop(self) -> None:
        """Stop as a process manager does."""
        self._master.send_signal(signal.SIGTERM)
        self._wait()

    def _wait(self) -> None:
        self._master.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        assert self._master.stdout is not None
        self._master.stdout.close()


class Mailbox:
    """What arrived, by address."""

    def __init__(self, smtp: SMTPServer) -> None:
        self._smtp = smtp
        self._read = 0
        self._links: dict[str, list[tuple[str, dict[str, str]]]] = {}
        self._lock = threading.Lock()

    def links(self, address: str, page: str) -> list[dict[str, str]]:
        """The links to a page that this address has got."""
        with self._lock:
            for delivery in self._smtp.deliveries[self._read :]:
                self._read += 1
                for url in links_of(delivery.mail):
                    self._links.setdefault(delivery.recipients[0], []).append(
                        (url, parameters(url))
                    )
            return [link for url, link in self._links.get(address, []) if f"/{page}/" in url]

    def wait(self, address: str, page: str, seconds: float) -> dict[str, str] | None:
        """The latest of these links, if one comes in time."""
        end = time.monotonic() + seconds
        while not (found := self.links(address, page)) and time.monotonic() < end:
            time.sleep(0.01)
        return found[-1] if found else None


class Load:
    """People who register, verify, log in and reset, and what they were told."""

    def __init__(self, port: int, mailbox: Mailbox) -> None:
        self._port = port
        self.mailbox = mailbox
        self.replies: Counter[str] = Counter()
        self.registered: set[str] = set()
        self.verified: set[str] = set()
        self.reset: set[str] = set()
        self.asked_to_reset: set[str] = set()
        self.errors: list[BaseException] = []
        self._lock = threading.Lock()

    def ask(self, endpoint: str, body: dict[str, Any]) -> tuple[int, Any]:
        """The reply's status and body; 0 where there was none."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT)
        try:
            connection.request(
                "POST",
                f"/accounts/{endpoint}/",
                json.dumps(body),
                {"Content-Type": "application/json"},
            )
            reply = connection.getresponse()
            status, text = reply.status, reply.read()
        except (OSError, http.client.HTTPException):
            status, text = 0, b"null"
        finally:
            connection.close()
        with self._lock:
            self.replies[f"{status // 100}xx" if status else "none"] += 1
        assert status < 500 or status == 503, text
        return status, json.loads(text)

    def register(self, name: str) -> int:
        fields = {"username": name, "email": f"{name}@example.com"}
        status, _ = self.ask(
            "register", {**fields, "password": PASSWORD, "password_confirm": PASSWORD}
        )
        return status

    def live(self, name: str, dice: random.Random) -> None:
        """One person, from the registration on, as far as that goes."""
        if self.register(name) != 201:
            return
        self.registered.add(name)
        link = self.mailbox.wait(f"{name}@example.com", "verify-registration", 1)
        if link is None or self.ask("verify-registration", link)[0] != 200:
            return
        self.verified.add(name)
        self.ask("login", {"login": name, "password": PASSWORD})
        if dice.random() < 0.5:
            self.ask("send-reset-password-link", {"login": name})
            link = self.mailbox.wait(f"{name}@example.com", "reset-password", 1)
            if link:
                self.asked_to_reset.add(name)
                if self.ask("reset-password", {**link, "password": OTHER_PASSWORD})[0] == 200:
                    self.reset.add(name)

    def run(self, prefix: str, dice: random.Random) -> list[threading.Thread]:
        """Start so many people at once."""

        def lives(client: int, own: random.Random) -> None:
            try:
                for number in range(PEOPLE):
                    self.live(f"{prefix}-{client}-{number}", own)
            except BaseException as error:
                self.errors.append(error)

        threads = [
            threading.Thread(target=lives, args=(client, random.Random(dice.random())))
            for client in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        return threads


def check_rows(site: Site) -> None:
    """Every row is whole, and every session and token belongs to the account as it is."""
    with site.app.app_context():
        users = {str(user.id): user for user in site.db.session.scalars(select(site.User))}
        names = Counter(user.username_key for user in users.values())
        assert max(names.values(), default=1) == 1
        for user in users.values():
            assert user.is_active
            assert user.email == f"{user.username}@example.com"
            assert user.password_hash.startswith("$argon2id$")
            assert len(user.security_stamp) == 22
        for login in site.db.session.scalars(select(site.Login)):
            user = users[login.user_id]
            state = UserSnapshot(
                user.email,
                user.password_hash,
                user.is_verified,
                user.is_active,
                user.security_stamp,
            )
            assert login.stamp_mark == stamp_digest(state)
            assert user.is_verified


def check_promises(site: Site, load: Load, prefix: str) -> Counter[str]:
    """What was told is so; whoever has an account gets into it, by another mail where the first was
    lost."""
    found: Counter[str] = Counter()
    with site.app.app_context():
        mine = site.User.username.startswith(prefix)
        users = {
            user.username: user for user in site.db.session.scalars(select(site.User).where(mine))
        }
        site.db.session.expunge_all()
    assert load.registered <= users.keys()
    assert load.verified <= {name for name, user in users.items() if user.is_verified}
    found["accounts"] = len(users)
    for name, user in users.items():
        address = f"{name}@example.com"
        if name in load.reset or name in load.asked_to_reset:
            new = load.ask("login", {"login": name, "password": OTHER_PASSWORD})[0] == 200
            old = load.ask("login", {"login": name, "password": PASSWORD})[0] == 200
            assert new is not old
            assert new or name not in load.reset
        if user.is_verified:
            continue
        found["pending"] += 1
        link = load.mailbox.wait(address, "verify-registration", 0)
        if link is None:
            found["mails lost, and sent again"] += 1
            assert load.ask("resend-verification", {"login": name})[0] == 200
            link = load.mailbox.wait(address, "verify-registration", TIMEOUT)
        assert link, f"no way to the mail of {name}"
        assert load.ask("verify-registration", link)[0] == 200
        assert load.ask("login", {"login": name, "password": PASSWORD})[0] == 200
    return found


@contextmanager
def deployment(database: str) -> Iterator[tuple[Site, Gunicorn, SMTPServer]]:
    """The application under gunicorn, beside a look at its database."""
    with smtp_server() as smtp, ExitStack() as stack:
        site = make(database, smtp.port)

        def clear() -> None:
            with site.app.app_context():
                site.db.session.remove()
                site.db.drop_all()
                site.db.engine.dispose()

        stack.callback(clear)
        gunicorn = Gunicorn(database, smtp)
        stack.callback(gunicorn.stop)
        yield site, gunicorn, smtp


def wait_until_it_answers(port: int) -> None:
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise AssertionError("gunicorn does not come back")


def test_workers_that_are_killed_under_load_break_no_promise(
    server_database: str, record: Callable[..., None]
) -> None:
    dice = random.Random(SEED)
    totals: Counter[str] = Counter()
    with deployment(server_database) as (site, gunicorn, smtp):
        mailbox = Mailbox(smtp)
        for number in range(ROUNDS):
            prefix = f"r{number}"
            load = Load(gunicorn.port, mailbox)
            threads = load.run(prefix, dice)
            for _ in range(2):
                time.sleep(dice.uniform(0, 0.4))
                if dice.random() < 0.2:
                    totals["masters killed"] += 1
                    gunicorn.kill_all()
                else:
                    totals["workers killed"] += 1
                    gunicorn.kill_worker(dice.randrange(2))
            for thread in threads:
                thread.join(TIMEOUT * 4)
                assert not thread.is_alive()
            assert load.errors == []
            wait_until_it_answers(gunicorn.port)
            check_rows(site)
            during = Counter(
                {f"replies during it, {kind}": count for kind, count in load.replies.items()}
            )
            totals += during
            load.replies.clear()
            totals += check_promises(site, load, f"{prefix}-")
            check_rows(site)
            assert load.replies["none"] == 0
            totals += Counter(
                {f"replies after it, {kind}": count for kind, count in load.replies.items()}
            )
    record(seed=SEED, rounds=ROUNDS, **totals)


@pytest.fixture
def record(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> Callable[..., None]:
    """Say what was counted, whether or not output is captured."""

    def say(**figures: int) -> None:
        with capsys.disabled():
            print(
                f"\n{request.node.name}: "
                + ", ".join(f"{name} {figures[name]}" for name in figures)
            )

    print(f"TEST_KILL_SEED={SEED}")
    return say
