"""Whether the time of a reply tells who has an account: ``python -m benchmarks.enumeration``.

At each endpoint two requests that must look alike are made in turns, in pairs whose order changes
at random: a known account and an unknown one, a taken address and a free one, a verified account
and a pending or a suspended one. What is compared is the difference within each pair, by the sign
test, and by the median with its 95 % confidence interval. The same test of two requests that are
alike is printed beside: it shows what can be seen at all.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import math
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import text, update

from . import contenders
from .databases import database
from .mailserver import mail_server
from .profile import environ_of, serve
from .workload import PASSWORD, Orders, Request, Surroundings, address, name, post

#: By how much the two may differ, in the median: this part of a request's time, or this many
#: microseconds, whichever is more.
BOUND, BOUND_MICROSECONDS = 0.02, 50

#: Seconds between two requests, in which the mail of the first leaves: the second must not pay for
#: it.
SETTLING = 0.015

#: The bodies that are compared: a number makes a body, and each is used once.
Bodies = Callable[[int], Mapping[str, Any]]


@dataclass(frozen=True)
class Comparison:
    """Two kinds of bodies for one endpoint, which must not be told apart.

    :ivar cookie: whether whoever asks is logged in.
    :ivar codes: whether e-mails have codes beside links.
    """

    endpoint: str
    about: str
    status: int
    one: Bodies
    other: Bodies
    cookie: bool = False
    codes: bool = False


@dataclass(frozen=True)
class Crowd:
    """Who there is, by number: verified up to ``verified``, then pending, then suspended, each as
    many."""

    size: int

    def verified(self, number: int) -> int:
        return 1 + number % self.size

    def pending(self, number: int) -> int:
        return 1 + self.size + number % self.size

    def suspended(self, number: int) -> int:
        return 1 + 2 * self.size + number % self.size

    def unknown(self, number: int) -> int:
        return 10_000_000 + number


def comparisons(crowd: Crowd) -> list[Comparison]:
    """What must look alike."""

    def login(who: Callable[[int], int]) -> Bodies:
        return lambda number: {
            "login": name(who(number)),
            "password": "not the password of anybody",
        }

    def named(who: Callable[[int], int]) -> Bodies:
        return lambda number: {"login": name(who(number))}

    def addressed(who: Callable[[int], int]) -> Bodies:
        return lambda number: {"email": address(who(number))}

    def registration(prefix: str, email: Callable[[int], str]) -> Bodies:
        return lambda number: {
            "username": name(number, prefix),
            "email": email(number),
            "password": PASSWORD,
            "password_confirm": PASSWORD,
        }

    def moving(email: Callable[[int], str]) -> Bodies:
        return lambda number: {"email": email(number), "password": PASSWORD}

    free = login(crowd.unknown)
    found = [
        Comparison(
            "login",
            "unknown and unknown",
            400,
            free,
            login(lambda number: crowd.unknown(number + 5_000_000)),
        ),
        Comparison("login", "known and unknown", 400, login(crowd.verified), free),
        Comparison("login", "pending and unknown", 400, login(crowd.pending), free),
        Comparison("login", "suspended and unknown", 400, login(crowd.suspended), free),
    ]
    for endpoint, codes, body in (
        ("resend-verification", False, named),
        ("send-reset-password-link", False, named),
        ("send-reset-password-link", True, named),
        ("send-login-link", True, named),
        ("sign-up", False, addressed),
        ("sign-up", True, addressed),
    ):
        for about, who in (
            ("verified", crowd.verified),
            ("pending", crowd.pending),
            ("suspended", crowd.suspended),
        ):
            about = f"{about} and unknown{', with codes' if codes else ''}"
            one, other = body(who), body(crowd.unknown)
            found.append(Comparison(endpoint, about, 200, one, other, codes=codes))
    taken = registration("one", lambda number: address(crowd.verified(number)))
    awaited = registration("two", lambda number: address(crowd.pending(number)))
    new = registration("other", lambda number: address(number, "other"))
    found.append(Comparison("register", "a taken and a free address", 201, taken, new))
    new = registration("another", lambda number: address(number, "another"))
    found.append(Comparison("register", "an awaited and a free address", 201, awaited, new))
    mine, theirs = (
        moving(lambda number: address(crowd.verified(number + 1))),
        moving(lambda number: address(number, "to")),
    )
    found.append(
        Comparison("register-email", "a taken and a free address", 200, mine, theirs, cookie=True)
    )
    for about, who in (
        ("verified", crowd.verified),
        ("pending", crowd.pending),
        ("suspended", crowd.suspended),
    ):
        one, other = addressed(who), addressed(crowd.unknown)
        found.append(
            Comparison("invitations", f"{about} and unknown", 201, one, other, cookie=True)
        )
    return found


@dataclass(frozen=True)
class Result:
    """What a comparison came to; times in microseconds.

    :ivar p: how likely differences like these are if there is none (sign test, two-sided).
    """

    request: float
    difference: float
    low: float
    high: float
    p: float

    @property
    def share(self) -> float:
        return self.difference / self.request


def sign_test(differences: Sequence[float]) -> float:
    """The two-sided p of a median of nought, by the normal approximation with continuity
    correction."""
    positive = sum(each > 0 for each in differences)
    count = sum(each != 0 for each in differences)
    if not count:
        return 1.0
    distance = max(0.0, abs(positive - count / 2) - 0.5) / math.sqrt(count / 4)
    return math.erfc(distance / math.sqrt(2))


def confidence(differences: Sequence[float]) -> tuple[float, float]:
    """The 95 % confidence interval of the median, by order statistics."""
    ordered, count = sorted(differences), len(differences)
    reach = int(1.96 * math.sqrt(count) / 2) + 1
    return ordered[max(0, count // 2 - reach)], ordered[min(count - 1, count // 2 + reach)]


def result_of(pairs: Sequence[tuple[float, float]]) -> Result:
    """The figures of pairs of times."""
    differences = [one - other for one, other in pairs]
    low, high = confidence(differences)
    request = statistics.median(other for _, other in pairs)
    return Result(request, statistics.median(differences), low, high, sign_test(differences))


def timed(application: Any, request: Request) -> float:
    """Microseconds of the clock until the reply is there: what a client can see, less the
    network."""
    environ = environ_of(request)
    ends: list[int] = []
    start = time.perf_counter_ns()
    serve(application, environ, request.status, lambda: ends.append(time.perf_counter_ns()))
    time.sleep(SETTLING)
    return (ends[0] - start) / 1000


def compare(
    application: Any,
    comparison: Comparison,
    numbers: Sequence[int],
    cookie: str,
    chance: random.Random,
) -> Iterator[tuple[float, float]]:
    """The times of each pair, whose order is left to chance."""

    def request(bodies: Bodies, number: int) -> Request:
        made = post(f"/accounts/{comparison.endpoint}/", bodies(number), comparison.status)
        headers = {**(made.headers or {}), **({"Cookie": cookie} if comparison.cookie else {})}
        return Request(made.method, made.path, made.status, made.body, headers)

    gc.collect()
    gc.disable()
    try:
        for number in numbers:
            pair = [request(comparison.one, number), request(comparison.other, number)]
            swap = chance.random() < 0.5
            times = [timed(application, each) for each in (reversed(pair) if swap else pair)]
            yield (times[1], times[0]) if swap else (times[0], times[1])
    finally:
        gc.enable()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.enumeration", description=__doc__)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="postgresql")
    parser.add_argument("--hash", choices=["cheap", "shipped"], default="shipped")
    parser.add_argument("--endpoint", help="only this one, register say")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args(arguments)
    warm_up = min(20, options.pairs)
    each_takes = options.pairs + warm_up
    # Nobody is asked about in two comparisons: an address that was just written to gets no
    # other mail for a while.
    crowd = Crowd(each_takes * len(comparisons(Crowd(1))) + 1)
    missed = 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(database(options.database, contenders.OURS, folder))
        mails = stack.enter_context(mail_server(0.0))
        surroundings = Surroundings(url, hash=options.hash, mail_port=mails.port)
        orders = Orders(crowd.size, {"verify": 2 * crowd.size, "profile-session": 1})
        cookie = (
            contenders.ours.prepare(surroundings, orders)["profile-session"][0].headers or {}
        )["Cookie"]
        os.environ.update(surroundings.environment())
        ours = importlib.import_module(contenders.ours.module)
        application = ours.create_app(with_sign_up=True)
        with_codes = ours.create_app(with_codes=True)
        with application.app_context():
            suspended = update(ours.User).where(ours.User.id > 2 * crowd.size)
            ours.db.session.execute(suspended.values(is_active=False, is_verified=True))
            ours.db.session.commit()
            if (
                options.database == "postgresql"
            ):  # else each look-up of theirs passes by the row that there was before
                with ours.db.engine.connect().execution_options(
                    isolation_level="AUTOCOMMIT"
                ) as connection:
                    connection.execute(text('VACUUM ANALYZE "users"'))
        chance = random.Random(options.seed)
        print(
            f"{options.database}, the {options.hash} hash, {options.pairs} pairs each, seed {options.seed}\n"  # noqa: E501
        )
        print("| endpoint | | request µs | difference µs (95 %) | of the request | p | |")
        print("|" + " --- |" * 7)
        for place, comparison in enumerate(comparisons(crowd)):
            if options.endpoint not in (None, comparison.endpoint):
                continue
            numbers = range(place * each_takes, (place + 1) * each_takes)
            asked = with_codes if comparison.codes else application
            pairs = list(compare(asked, comparison, numbers, cookie, chance))[warm_up:]
            result = result_of(pairs)
            good = abs(result.share) <= BOUND or abs(result.difference) <= BOUND_MICROSECONDS
            missed += not good
            interval = f"{result.difference:+.0f} ({result.low:+.0f} to {result.high:+.0f})"
            figures = f"{result.request:.0f} | {interval} | {result.share:+.1%} | {result.p:.2g}"
            print(
                f"| {comparison.endpoint} | {comparison.about} | {figures} | {'' if good else 'seen'} |",  # noqa: E501
                flush=True,
            )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
