"""What our application and the baseline have in common: one table, one mail server, one way to
count."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, g, has_app_context
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import event
from sqlalchemy.engine import Engine

from benchmarks.filling import fill
from benchmarks.workload import (
    PASSWORD,
    SECRET_KEY,
    SENDER,
    Orders,
    Request,
    Surroundings,
    address,
    name,
    post,
    registrations,
)

COLUMNS = [
    "id",
    "username",
    "username_key",
    "email",
    "password_hash",
    "first_name",
    "last_name",
    "is_active",
    "is_verified",
    "security_stamp",
    "date_joined",
]


def make_hasher(surroundings: Surroundings) -> Argon2Hasher:
    """The hash that this run has."""
    return Argon2Hasher(
        time_cost=surroundings.time_cost, memory_cost=surroundings.memory_cost, parallelism=1
    )


def make_app(import_name: str, surroundings: Surroundings) -> Flask:
    """An application with nothing in it but its configuration."""
    app = Flask(import_name)
    app.config.from_mapping(
        SECRET_KEY=SECRET_KEY,
        SQLALCHEMY_DATABASE_URI=surroundings.database,
        MAIL_SERVER="127.0.0.1",
        MAIL_PORT=surroundings.mail_port,
        MAIL_DEFAULT_SENDER=SENDER,
        MAIL_SUPPRESS_SEND=not surroundings.mail_port,
    )
    if surroundings.count_queries:
        count_queries(app)
    return app


def count_queries(app: Flask) -> None:
    """Say in each reply how many statements it took."""

    @event.listens_for(Engine, "before_cursor_execute")
    def count(*_: Any) -> None:
        if has_app_context():
            g.queries = g.get("queries", 0) + 1

    @app.after_request
    def tell(response: Response) -> Response:
        response.headers["X-Queries"] = str(g.get("queries", 0))
        return response


def fill_users(surroundings: Surroundings, orders: Orders) -> None:
    """The verified and the pending accounts, all with the same password."""
    password_hash = make_hasher(surroundings).hash(PASSWORD)
    joined = datetime.now(UTC).isoformat(sep=" ", timespec="microseconds").removesuffix("+00:00")
    sqlite = surroundings.database.startswith("sqlite")
    yes, no = (1, 0) if sqlite else (True, False)

    def rows() -> Iterator[Sequence[Any]]:
        for number in range(1, orders.users + orders.pending + 1):
            who, verified = name(number), yes if number <= orders.users else no
            stamp = f"f{secrets.token_hex(16)[1:]}"
            yield (
                number,
                who,
                who,
                address(number),
                password_hash,
                "",
                "",
                yes,
                verified,
                stamp,
                joined,
            )

    fill(surroundings.database, "users", COLUMNS, rows())


def requests(
    orders: Orders,
    links: Sequence[Mapping[str, str]],
    cookies: Sequence[str],
    tokens: Sequence[str],
) -> dict[str, list[Request]]:
    """What an application of this wire format is asked.

    :param links: the parameters of the links that the pending accounts got.
    :param cookies: of the sessions of some people, and ``tokens`` of the same.
    """
    counts = orders.counts
    wrong = {"username": "a b", "email": "nobody", "password": "short", "password_confirm": "shirt"}

    def profiles(count: int, headers: Sequence[Mapping[str, str]]) -> list[Request]:
        return [
            Request("GET", "/accounts/profile/", 200, "", headers[n % len(headers)])
            for n in range(count)
        ]

    verify = "/accounts/verify-registration/"
    return {
        "register": registrations("/accounts/register/", counts["register"]),
        "bad-input": [post("/accounts/register/", wrong, 400) for _ in range(counts["bad-input"])],
        "verify": [post(verify, link) for link in links[: counts["verify"]]],
        "forged-link": [
            post(verify, {**links[n % len(links)], "signature": "A" * 43}, 400)
            for n in range(counts["forged-link"])
        ],
        "resend": [
            post("/accounts/resend-verification/", {"login": name(n)})
            for n in orders.asking_again()
        ],
        "login": [
            post("/accounts/login/", {"login": name(n), "password": PASSWORD})
            for n in orders.verified("login")
        ],
        "profile-session": profiles(
            counts["profile-session"], [{"Cookie": cookie} for cookie in cookies]
        ),
        "profile-token": profiles(
            counts["profile-token"], [{"Authorization": f"Bearer {token}"} for token in tokens]
        ),
        "reset-link": [
            post("/accounts/send-reset-password-link/", {"login": name(n)})
            for n in orders.verified("reset-link")
        ],
    }
