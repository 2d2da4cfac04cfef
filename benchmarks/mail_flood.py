"""How many e-mails clients without a login can cause: ``python -m benchmarks.mail_flood``.

The clock is moved, so that a day takes about a minute. The settings are the default ones, except
for the hasher. The flows are the default ones, ``sign_up`` and ``mail_login``. Two tables come out:

1. what one e-mail address receives while every endpoint is asked about it every minute, each time
   from another IP address and, where it needs a login, from another account. The numbers are those
   of the worst 24 hours;
2. what one client causes to others, who are never the same twice.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from unittest.mock import patch

from flask import Flask
from flask.testing import FlaskClient
from flask_mail import Mail, Message, email_dispatched
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import insert

from flask_registration import DEFAULT_FLOWS, ChallengeMixin, Registration, UserMixin
from flask_registration.flows import mail_login, sign_up
from flask_registration.testing import CHEAP_HASHER, PASSWORD, Clock

HOUR, DAY = 3600, 86400
TARGET = "alice@example.com"

#: The body of a request about an e-mail address, by the endpoint. The number is never the same.
BODIES: Mapping[str, Callable[[str, int], dict[str, str]]] = {
    "register": lambda email, number: {
        "email": email,
        "username": f"stranger{number}",
        "password": PASSWORD,
        "password_confirm": PASSWORD,
    },
    "resend-verification": lambda email, number: {"email": email},
    "send-reset-password-link": lambda email, number: {"email": email},
    "send-login-link": lambda email, number: {"email": email},
    "sign-up": lambda email, number: {"email": email},
    "register-email": lambda email, number: {"email": email, "password": PASSWORD},
}

#: The endpoints that need a login.
LOGGED_IN = "register-email"

#: Which accounts an endpoint writes to: without an account, or pending or verified ones.
RECIPIENTS = {
    "register": None,
    "sign-up": None,
    "register-email": None,
    "resend-verification": False,
    "send-reset-password-link": True,
    "send-login-link": True,
}


@dataclass
class Flood:
    """An application with a moved clock, and the e-mails that it has sent.

    :ivar sent: the time, the recipient and whether it has a link, of each e-mail.
    """

    app: Flask
    db: SQLAlchemy
    user: Any
    registration: Registration
    clock: Clock
    sent: list[tuple[float, str, bool]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)

    def ask(self, endpoint: str, email: str, client: FlaskClient, ip: str) -> Any:
        body = BODIES[endpoint](email, next(self.numbers))
        environ = {"REMOTE_ADDR": ip}
        return client.post(f"/accounts/{endpoint}/", json=body, environ_base=environ)

    def member(self, number: int) -> FlaskClient:
        """Return a client with an account of its own."""
        name = f"member{number}"
        with self.app.app_context():
            self.registration.create_user(
                username=name, email=f"{name}@example.net", password=PASSWORD
            )
            self.db.session.commit()
        client = self.app.test_client()
        body, environ = {"login": name, "password": PASSWORD}, {"REMOTE_ADDR": address(number)}
        reply = client.post("/accounts/login/", json=body, environ_base=environ)
        assert reply.status_code == 200, reply.get_json()
        return client

    def add_accounts(self, prefix: str, size: int, *, verified: bool) -> None:
        rows = [
            {
                "username": f"{prefix}{number}",
                "username_key": f"{prefix}{number}",
                "email": f"{prefix}{number}@example.org",
                "password_hash": "!",
                "is_verified": verified,
            }
            for number in range(size)
        ]
        with self.app.app_context():
            self.db.session.execute(insert(self.user), rows)
            self.db.session.commit()


def address(number: int) -> str:
    """Return an IPv4 address of a client."""
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


@contextmanager
def flood(**settings: Any) -> Iterator[Flood]:
    """Make an application with the default limits, and stop the time."""
    app = Flask("benchmarks.mail_flood")
    app.config.update(
        TESTING=True,  # e-mails are sent in the request
        SECRET_KEY="a key of a benchmark, long enough for anybody",
        SQLALCHEMY_DATABASE_URI="sqlite://",
        MAIL_DEFAULT_SENDER="no-reply@example.com",
        REGISTRATION_REGISTER_VERIFICATION_URL="https://example.com/verify-registration/",
        REGISTRATION_PASSWORD_HASHER=CHEAP_HASHER,
        REGISTRATION_THROTTLES={},  # the default ones, in spite of TESTING
        **{f"REGISTRATION_{name}": value for name, value in settings.items()},
    )
    db = SQLAlchemy()

    class User(UserMixin, db.Model):  # type: ignore[name-defined,misc]
        pass

    class Challenge(ChallengeMixin, db.Model):  # type: ignore[name-defined,misc]
        pass

    db.init_app(app)
    Mail(app)
    registration = Registration(
        user_model=User,
        models=[Challenge],
        flows=[*DEFAULT_FLOWS, sign_up.flow, mail_login.flow],
    )
    registration.init_app(app)
    with app.app_context():
        db.create_all()
    clock = Clock()
    made = Flood(app, db, User, registration, clock)

    def keep(sender: Flask, message: Message) -> None:
        (recipient,) = message.recipients
        made.sent.append((clock.now, str(recipient), "https://" in (message.body or "")))

    with patch("time.time", clock), email_dispatched.connected_to(keep, app):
        yield made


# One address


def to_one_address(account: str, *, days: int, step: int) -> tuple[int, int]:
    """Return how many e-mails with and without a link the worst 24 hours bring to one address.

    :param account: ``"none"``, ``"pending"`` or ``"verified"``: what the address has at first.
    :param step: the seconds between two requests to one endpoint.
    """
    with flood() as site:
        if account != "none":
            site.add_accounts("alice", 1, verified=account == "verified")
        target = TARGET if account == "none" else "alice0@example.org"
        members = [site.member(number) for number in range(8)]
        for number in range(days * DAY // step):
            for endpoint in BODIES:
                is_member = endpoint == LOGGED_IN
                client = members[number % len(members)] if is_member else site.app.test_client()
                site.ask(endpoint, target, client, address(number))
            site.clock.move(seconds=step)
        times = {
            kind: [at for at, to, has_link in site.sent if to == target and has_link is kind]
            for kind in (True, False)
        }
    return worst(times[True]), worst(times[False])


def worst(times: list[float]) -> int:
    """Return how many of these times are within the worst 24 hours."""
    return max((sum(start <= at < start + DAY for at in times) for start in times), default=0)


# One client


def by_one_client(*endpoints: str, seconds: int, **settings: Any) -> int:
    """Return how many e-mails one client causes to others, who are never the same twice.

    It waits as long as a response tells it to.
    """
    with flood(**settings) as site:
        size = 120 * (seconds // HOUR)
        for prefix, verified in (("pending", False), ("verified", True)):
            site.add_accounts(prefix, 2 * size, verified=verified)
        client = site.member(0)
        site.sent.clear()
        start, due = site.clock.now, dict.fromkeys(endpoints, site.clock.now)
        others = {prefix: count() for prefix in ("pending", "verified", "free")}
        while (endpoint := min(due, key=lambda each: due[each])) and due[
            endpoint
        ] < start + seconds:
            site.clock.now = max(site.clock.now, due[endpoint])
            kind = {None: "free", False: "pending", True: "verified"}[RECIPIENTS[endpoint]]
            email = f"{kind}{next(others[kind])}@example.org"
            reply = site.ask(endpoint, email, client, address(0))
            if reply.status_code == 429:
                due[endpoint] = site.clock.now + int(reply.headers["Retry-After"])
        return sum(to.endswith("@example.org") for _, to, _ in site.sent)


BUDGET = "200/hour;1000/day"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--days", type=int, default=2, help="of the first table")
    parser.add_argument("--step", type=int, default=60, help="seconds between two requests")
    parser.add_argument("--hours", type=int, default=24, help="of the second table")
    options = parser.parse_args()
    print("| one e-mail address with | e-mails with links in a day | notices in a day |")
    print("| --- | ---: | ---: |")
    for account in ("none", "pending", "verified"):
        links, notices = to_one_address(account, days=options.days, step=options.step)
        print(f"| {'no' if account == 'none' else f'a {account}'} account | {links} | {notices} |")
    print()
    print(f"| one client at | e-mails to others in an hour | in {options.hours} hours |")
    print("| --- | ---: | ---: |")
    rows: list[tuple[str, tuple[str, ...], dict[str, Any]]] = [
        (f"`{endpoint}`", (endpoint,), {}) for endpoint in BODIES
    ]
    rows.append(("all of these", tuple(BODIES), {}))
    anonymous = tuple(endpoint for endpoint in BODIES if endpoint != LOGGED_IN)
    rows.append(
        (f"those without a login, `MAIL_BUDGET` {BUDGET}", anonymous, {"MAIL_BUDGET": BUDGET})
    )
    for label, endpoints, settings in rows:
        hour, day = (
            by_one_client(*endpoints, seconds=seconds, **settings)
            for seconds in (HOUR, options.hours * HOUR)
        )
        print(f"| {label} | {hour} | {day} |")


if __name__ == "__main__":
    main()
