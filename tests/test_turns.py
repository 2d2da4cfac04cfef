"""So many passwords are hashed at once in a process, and the others wait their turn."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask import current_app
from pwdlib.hashers.argon2 import Argon2Hasher

from flask_registration import ConfigurationError

from .flows.common import at_once, member
from .site import PASSWORD, Site
from .tables import each_row

NewSite = Callable[..., Site]
ROOT = Path(__file__).resolve().parent.parent
THREADS = 64

#: A connection for each thread, so that none waits for another's.
AT_ONCE = {"SQLALCHEMY_ENGINE_OPTIONS": {"pool_size": THREADS, "max_overflow": 0}}


class Watched(Argon2Hasher):
    """A cheap hasher that counts who is at it, and lets go only when ``wanted`` are there
    together."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.most = self.calls = self._at_it = 0
        self._meet: threading.Barrier | None = None
        self._lock = threading.Lock()

    def start(self, wanted: int) -> None:
        self.most = self.calls = 0
        self._meet = threading.Barrier(wanted, timeout=60)

    def _work(self) -> None:
        if self._meet is None:
            return
        with self._lock:
            self._at_it += 1
            self.calls += 1
            self.most = max(self.most, self._at_it)
        self._meet.wait()
        time.sleep(0.002)  # time enough for one who does not wait to come in
        with self._lock:
            self._at_it -= 1

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        self._work()
        return super().hash(password, salt=salt)

    def verify(self, password: str | bytes, hash: str | bytes) -> bool:
        self._work()
        return super().verify(password, hash)


ASK: dict[str, tuple[int, Callable[[Site, int], Any]]] = {
    "a login": (
        200,
        lambda site, number: site.post("login", {"login": "alice", "password": PASSWORD}),
    ),
    "a wrong password": (
        400,
        lambda site, number: site.post("login", {"login": "alice", "password": "not hers"}),
    ),
    "nobody's login": (
        400,
        lambda site, number: site.post("login", {"login": "nobody", "password": PASSWORD}),
    ),
    "an account without a password": (
        400,
        lambda site, number: site.post("login", {"login": "sso", "password": PASSWORD}),
    ),
    "a registration": (201, lambda site, number: site.register(f"user{number}")),
}


@each_row(
    ("asking", "limit"),
    [*((asking, 4) for asking in ASK), ("a login", 1), ("a login", None)],
    ids=[*ASK, "one at once", "any number at once"],
)
def test_of_sixty_four_requests_at_once_no_more_hash_than_shall(
    asking: str, limit: int | None, postgresql_url: str, new_site: NewSite
) -> None:
    hasher = Watched()
    site = new_site(
        postgresql_url, config=AT_ONCE, PASSWORD_HASHER=hasher, PASSWORD_HASH_CONCURRENCY=limit
    )
    member(site)
    site.change(member(site, "sso"), password_hash="!")
    status, ask = ASK[asking]
    hasher.start(limit or THREADS)
    replies = at_once(lambda number: ask(site, number), THREADS)
    assert Counter(reply.status_code for reply in replies) == {status: THREADS}
    assert (hasher.calls, hasher.most) == (THREADS, limit or THREADS)


def test_by_default_four_hash_at_once(sqlite_url: str, new_site: NewSite) -> None:
    hasher = Watched()
    site = new_site(sqlite_url, config=AT_ONCE, PASSWORD_HASHER=hasher)
    hasher.start(4)
    at_once(lambda number: site.post("login", {"login": "nobody", "password": PASSWORD}), THREADS)
    assert (hasher.calls, hasher.most) == (THREADS, 4)


class Nested(Argon2Hasher):
    """Hashes what our own hashing makes of a password, in the middle of hashing it."""

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        if password == PASSWORD:
            current_app.extensions["registration"].passwords.hash("another")
        return super().hash(password, salt=salt)


def test_a_hasher_that_hashes_by_us_does_not_wait_for_itself(new_site: NewSite) -> None:
    hasher = Nested(time_cost=1, memory_cost=8, parallelism=1)
    site = new_site(PASSWORD_HASHER=hasher, PASSWORD_HASH_CONCURRENCY=1)
    assert [site.register(name).status_code for name in ("alice", "bob")] == [201, 201]


class Broken(Argon2Hasher):
    """Refuses some passwords, as bcrypt does the long ones."""

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        if len(password) > 72:
            raise ValueError
        return super().hash(password, salt=salt)


def test_a_hasher_that_fails_gives_its_turn_back(new_site: NewSite) -> None:
    hasher = Broken(time_cost=1, memory_cost=8, parallelism=1)
    site = new_site(PASSWORD_HASHER=hasher, PASSWORD_HASH_CONCURRENCY=1)
    assert [site.register(password=PASSWORD * 3).status_code for _ in range(2)] == [400, 400]
    assert site.register().status_code == 201


def test_each_application_has_turns_of_its_own(
    sqlite_url: str, tmp_path: Path, new_site: NewSite
) -> None:
    hasher = Watched()
    sites = [
        new_site(url, config=AT_ONCE, PASSWORD_HASHER=hasher, PASSWORD_HASH_CONCURRENCY=1)
        for url in (sqlite_url, f"sqlite:///{tmp_path}/other.sqlite")
    ]
    hasher.start(2)
    at_once(
        lambda number: sites[number % 2].post("login", {"login": "nobody", "password": PASSWORD}), 8
    )
    assert (hasher.calls, hasher.most) == (8, 2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_process_that_is_forked_while_others_hash_has_turns_of_its_own() -> None:
    script = """
        import os, threading, warnings
        from pwdlib.hashers.argon2 import Argon2Hasher
        from tests.site import make_site

        # Python 3.12 warns of fork() beside threads
        warnings.simplefilter("ignore", DeprecationWarning)
        busy, over = threading.Event(), threading.Event()

        class Slow(Argon2Hasher):
            def hash(self, password, *, salt=None):
                if threading.current_thread() is not threading.main_thread():
                    busy.set()
                    over.wait()
                return super().hash(password, salt=salt)

        hasher = Slow(time_cost=1, memory_cost=8, parallelism=1)
        site = make_site(PASSWORD_HASHER=hasher, PASSWORD_HASH_CONCURRENCY=1)
        other = threading.Thread(target=site.register, args=("parent",))
        other.start()
        busy.wait()
        child = os.fork()
        if child == 0:
            os._exit(0 if site.register("child").status_code == 201 else 1)
        status = os.waitpid(child, 0)[1]
        over.set()
        other.join()
        raise SystemExit(os.waitstatus_to_exitcode(status))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, timeout=60, check=False
    )
    assert done.returncode == 0


def test_no_turns_at_all_are_a_problem(new_site: NewSite) -> None:
    with pytest.raises(ConfigurationError) as refused:
        new_site(PASSWORD_HASH_CONCURRENCY=0)
    (problem,) = refused.value.problems
    setting = "REGISTRATION_PASSWORD_HASH_CONCURRENCY"
    assert problem.setting == setting
    assert problem.text.startswith("is 0, but must be at least 1.")


# Requests that wait [P10]


class Blocked(Argon2Hasher):
    """Hashes nothing until it may."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.may, self.started = threading.Event(), threading.Semaphore(0)

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        self.started.release()
        self.may.wait(30)
        return super().hash(password, salt=salt)


class Unread(BytesIO):
    """A body that must not be read."""

    def read(self, *_: Any) -> bytes:
        raise AssertionError


def test_more_requests_than_may_wait_are_refused_before_their_body_is_read(
    sqlite_url: str, new_site: NewSite
) -> None:
    hasher = Blocked()
    site = new_site(
        sqlite_url,
        config=AT_ONCE,
        PASSWORD_HASHER=hasher,
        PASSWORD_HASH_CONCURRENCY=1,
        PASSWORD_HASH_QUEUE=2,
    )
    passwords = site.app.extensions["registration"].passwords
    ask = {"login": "nobody", "password": PASSWORD}
    replies: list[Any] = []
    threads = [
        threading.Thread(target=lambda: replies.append(site.post("login", ask))) for _ in range(3)
    ]
    try:
        for thread in threads:
            thread.start()
        assert hasher.started.acquire(timeout=10)
        deadline = time.monotonic() + 10
        while not passwords._limit.is_full and time.monotonic() < deadline:
            time.sleep(0.01)
        for endpoint in ("login", "register", "reset-password"):
            reply = site.app.test_client().post(
                f"/accounts/{endpoint}/",
                content_type="application/json",
                input_stream=Unread(),
                content_length=100,
            )
            assert (reply.status_code, reply.get_json()["code"]) == (503, "too-busy"), endpoint
            assert int(reply.headers["Retry-After"]) > 0
        assert site.post("send-reset-password-link", {"login": "nobody"}).status_code == 200
        assert site.app.test_client().get("/accounts/profile/").status_code == 401
    finally:
        hasher.may.set()
        for thread in threads:
            thread.join()
    assert [reply.status_code for reply in replies] == [400, 400, 400]
    assert site.post("login", ask).status_code == 400
