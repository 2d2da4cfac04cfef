"""What every application is asked to do, and the people it is asked about.

Peers import this too, in their own environments: nothing but the standard library is imported here.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PASSWORD = "correct horse battery staple"

#: What is asked for, in the order of an account's life.
SCENARIOS = (
    "register",
    "bad-input",
    "verify",
    "forged-link",
    "resend",
    "login",
    "profile-session",
    "profile-token",
    "reset-link",
)

#: Argon2's memory in KiB and passes: as Flask-Registration ships it, and as cheap as Argon2 can be.
HASHES = {"shipped": (19456, 2), "cheap": (8, 1)}

#: How many people share the requests for profiles: each has logged in once.
LOGGED_IN = 20

PAGE = "https://example.com/verify-registration/"
SENDER = "no-reply@example.com"
SECRET_KEY = "the same key for all, which protects nothing"


@dataclass(frozen=True)
class Request:
    """A request, ready to be sent, and the status that shows that it did its work."""

    method: str
    path: str
    status: int
    body: str = ""
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Orders:
    """What an application shall prepare.

    :ivar users: rows of verified accounts before the start.
    :ivar counts: how many requests of each scenario.
    """

    users: int
    counts: Mapping[str, int]

    @property
    def pending(self) -> int:
        """Accounts that wait for their verification, behind the others: each can be verified
        once."""
        return max(1, self.counts.get("verify", 0)) + max(1, self.counts.get("resend", 0))

    def verifying(self) -> range:
        """The numbers of the accounts that will be verified."""
        return range(self.users + 1, self.users + 1 + self.counts.get("verify", 0))

    def asking_again(self) -> range:
        """The numbers of the accounts that will ask for their mail again, each once."""
        first = self.users + 1 + max(1, self.counts.get("verify", 0))
        return range(first, first + self.counts.get("resend", 0))

    def verified(self, scenario: str) -> list[int]:
        """The numbers of verified accounts that a scenario is about, spread over the whole
        table."""
        count = self.counts.get(scenario, 0)
        start = SCENARIOS.index(
            scenario
        )  # so that two scenarios don't meet at the same people more than they must
        return [1 + (start + 7919 * number) % self.users for number in range(count)]


@dataclass(frozen=True)
class Surroundings:
    """What an application runs with; it comes by the environment.

    :ivar database: SQLAlchemy's URL.
    :ivar hash: a name of :data:`HASHES`.
    :ivar mail_port: of the mail server on loopback; 0 throws mail away.
    :ivar count_queries: answer with the header ``X-Queries``.
    """

    database: str
    hash: str = "cheap"
    mail_port: int = 0
    count_queries: bool = False

    def environment(self) -> dict[str, str]:
        """The environment's variables that say this."""
        return {
            "BENCHMARK_DATABASE": self.database,
            "BENCHMARK_HASH": self.hash,
            "BENCHMARK_MAIL_PORT": str(self.mail_port),
            "BENCHMARK_COUNT_QUERIES": "1" if self.count_queries else "",
        }

    @classmethod
    def of_process(cls) -> Surroundings:
        """Those of this process."""
        return cls(
            database=os.environ["BENCHMARK_DATABASE"],
            hash=os.environ["BENCHMARK_HASH"],
            mail_port=int(os.environ["BENCHMARK_MAIL_PORT"]),
            count_queries=bool(os.environ["BENCHMARK_COUNT_QUERIES"]),
        )

    @property
    def memory_cost(self) -> int:
        return HASHES[self.hash][0]

    @property
    def time_cost(self) -> int:
        return HASHES[self.hash][1]


def name(number: int, prefix: str = "user") -> str:
    """Somebody's username."""
    return f"{prefix}{number}"


def address(number: int, prefix: str = "user") -> str:
    """Their address."""
    return f"{prefix}{number}@example.com"


def post(path: str, body: Mapping[str, Any], status: int = 200) -> Request:
    """A request with a JSON body."""
    return Request("POST", path, status, json.dumps(body), {"Content-Type": "application/json"})


def registrations(
    path: str, count: int, *, status: int = 201, confirm: str | None = "password_confirm"
) -> list[Request]:
    """So many people register.

    :param confirm: the field in which the password is repeated.
    """
    bodies: list[dict[str, str]] = [
        {"username": name(number, "new"), "email": address(number, "new"), "password": PASSWORD}
        for number in range(count)
    ]
    return [
        post(path, {**body, **({confirm: PASSWORD} if confirm else {})}, status) for body in bodies
    ]


def prepare_in_process(prepare: Callable[[Orders], Mapping[str, Sequence[Request]]]) -> None:
    """Read the orders from standard input, fill the database, and write the requests to standard
    output."""
    given = json.load(sys.stdin)
    made = prepare(Orders(given["users"], {**dict.fromkeys(SCENARIOS, 0), **given["counts"]}))
    json.dump(
        {scenario: [vars(request) for request in requests] for scenario, requests in made.items()},
        sys.stdout,
    )


def read_requests(text: str) -> dict[str, list[Request]]:
    """What :func:`prepare_in_process` wrote."""
    return {
        scenario: [Request(**fields) for fields in requests]
        for scenario, requests in json.loads(text).items()
    }
