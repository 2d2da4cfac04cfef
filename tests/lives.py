"""Whole lives of accounts over HTTP, many at once, each client with an address of its own."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.cookies import SimpleCookie
from typing import Any

from .site import PASSWORD, links_of, parameters
from .smtp import Delivery

TIMEOUT = 120  # seconds; all waiting is for a condition, so this is for failures only
OTHER_PASSWORD = "a whole new set of words 42"
THIRD_PASSWORD = "still another five words 7"

#: How many mails one life gets: two with a link, two that tell of a new password, one that tells of
#: the deletion.
MAILS = 5


class Browser:
    """A client with its cookies, which asks from an address of 127.0.0.0/8."""

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        self._connection = http.client.HTTPConnection(
            "127.0.0.1", port, timeout=TIMEOUT, source_address=(address, 0)
        )
        self._cookies: dict[str, str] = {}
        self.statuses: Counter[int] = Counter()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Ask, and keep the cookies; returns the status and what the reply says."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self._cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        if body is not None:
            sent["Content-Type"] = "application/json"
        self._connection.request(method, path, None if body is None else json.dumps(body), sent)
        reply = self._connection.getresponse()
        text = reply.read()
        for line in reply.headers.get_all("Set-Cookie", []):
            self._cookies |= {name: morsel.value for name, morsel in SimpleCookie(line).items()}
        self.statuses[reply.status] += 1
        is_json = text and reply.headers.get_content_type() == "application/json"
        return reply.status, json.loads(text) if is_json else None

    def post(self, endpoint: str, **body: Any) -> tuple[int, Any]:
        """POST JSON to an endpoint."""
        return self.ask("POST", f"/accounts/{endpoint}/", body)

    def close(self) -> None:
        self._connection.close()


class Letterbox:
    """The mails that a server got, by address."""

    def __init__(self) -> None:
        self._more = threading.Condition()
        self._mails: dict[str, list[EmailMessage]] = {}

    def take(self, delivery: Delivery) -> str:
        """Keep a mail: the answer of a mail server."""
        with self._more:
            for recipient in delivery.recipients:
                self._mails.setdefault(recipient, []).append(delivery.mail)
            self._more.notify_all()
        return "250 OK"

    def wait(self, address: str, subject: str, *, count: int = 1) -> EmailMessage:
        """The latest mail to this address about this, when there are so many."""

        def found() -> list[EmailMessage]:
            return [mail for mail in self._mails.get(address, []) if subject in mail["Subject"]]

        with self._more:
            assert self._more.wait_for(lambda: len(found()) >= count, TIMEOUT), (
                f"no mail: {subject} for {address}"
            )
            return found()[-1]

    def __len__(self) -> int:
        with self._more:
            return sum(map(len, self._mails.values()))


@dataclass
class Report:
    """What became of the lives."""

    lives: int = 0
    failures: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    mails: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        errors = sum(count for status, count in self.statuses.items() if status >= 500)
        return (
            f"{self.lives} lives, {len(self.failures)} failures, {sum(self.statuses.values())} requests, {errors} 5xx, "  # noqa: E501
            f"{self.mails} mails, {self.seconds:.1f} s"
        )


def life(browser: Browser, name: str, letters: Letterbox) -> None:
    """Register, prove the address, log in, change everything, forget the password, and go."""
    email = f"{name}@example.com"

    def expect(status: int, reply: tuple[int, Any]) -> Any:
        assert reply[0] == status, reply
        return reply[1]

    expect(201, browser.post("register", username=name, email=email, **_twice(PASSWORD)))
    link = parameters(links_of(letters.wait(email, "Confirm your e-mail address"))[0])
    expect(200, browser.post("verify-registration", **link))
    expect(400, browser.post("login", login=name, password=OTHER_PASSWORD))
    expect(200, browser.post("login", login=email, password=PASSWORD))
    assert expect(200, browser.ask("GET", "/accounts/profile/"))["username"] == name
    expect(200, browser.ask("PATCH", "/accounts/profile/", {"first_name": name.title()}))
    expect(200, browser.post("change-password", old_password=PASSWORD, **_twice(OTHER_PASSWORD)))
    letters.wait(email, "was changed")
    expect(200, browser.post("logout"))
    expect(401, browser.ask("GET", "/accounts/profile/"))
    expect(200, browser.post("send-reset-password-link", login=name))
    link = parameters(links_of(letters.wait(email, "Choose a new password"))[0])
    expect(200, browser.post("reset-password", **link, password=THIRD_PASSWORD))
    expect(400, browser.post("reset-password", **link, password=PASSWORD))
    letters.wait(email, "was changed", count=2)
    expect(400, browser.post("login", login=name, password=OTHER_PASSWORD))
    expect(200, browser.post("login", login=name, password=THIRD_PASSWORD))
    assert expect(200, browser.ask("GET", "/accounts/profile/"))["first_name"] == name.title()
    expect(204, browser.ask("DELETE", "/accounts/profile/"))
    letters.wait(email, "was deleted")
    expect(401, browser.ask("GET", "/accounts/profile/"))
    expect(400, browser.post("login", login=name, password=THIRD_PASSWORD))


def _twice(password: str) -> dict[str, str]:
    return {"password": password, "password_confirm": password}


def addresses() -> Iterator[str]:
    """Addresses of this machine that nobody else has."""
    for number in range(1, 1 << 20):
        yield f"127.{10 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def live(port: int, letters: Letterbox, count: int, at_once: int) -> Report:
    """So many lives, so many of them at once."""
    report, lock, start = Report(), threading.Lock(), time.perf_counter()
    sources = enumerate(addresses())

    def work() -> None:
        while True:
            with lock:
                number, address = next(sources)
            if number >= count:
                return
            browser = Browser(port, address)
            try:
                life(browser, f"life{number}", letters)
                failure = None
            except Exception as error:
                failure = f"life{number}: {type(error).__name__}: {error}"
            browser.close()
            with lock:
                report.lives += 1
                report.failures += [failure] if failure else []
                report.statuses += browser.statuses

    threads = [threading.Thread(target=work) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report.mails, report.seconds = len(letters), time.perf_counter() - start
    return report
