"""Half an hour of everything at once, at 80 % of what the machine can do: ``python -m
benchmarks.soak``.

Memory must stay flat, no reply may be a 5xx, and no connection to the database or file may be left
behind.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import create_engine, make_url, text

from . import contenders
from .client import Load, send
from .databases import POSTGRESQL, database
from .mailserver import mail_server
from .servers import Server, served
from .workload import SCENARIOS, Orders, Request, Surroundings, registrations

#: How often each is asked for, among twenty requests.
MIX = {
    "register": 2,
    "bad-input": 1,
    "verify": 2,
    "forged-link": 1,
    "resend": 1,
    "login": 4,
    "profile-session": 6,
    "profile-token": 2,
    "reset-link": 1,
}

#: How much a worker may grow from the first fifth of the time to the last, and still be called
#: flat.
GROWTH = 1.05


def mixed(requests: Mapping[str, Sequence[Request]]) -> Iterator[Request]:
    """One request after the other, for ever; everybody registers once, the rest comes round
    again."""
    endless = {scenario: itertools.cycle(requests[scenario]) for scenario in SCENARIOS}
    newcomers = (
        each
        for number in itertools.count()
        for each in newcomer(requests["register"][0].path, number)
    )
    pattern = [scenario for scenario, often in MIX.items() for _ in range(often)]
    spread = [pattern[7 * place % len(pattern)] for place in range(len(pattern))]
    for scenario in itertools.cycle(spread):
        yield next(newcomers) if scenario == "register" else next(endless[scenario])


def newcomer(path: str, number: int) -> list[Request]:
    """Somebody who registers."""
    made = registrations(path, 1)[0]
    return [
        Request(
            made.method, path, made.status, made.body.replace("new0", f"soak{number}"), made.headers
        )
    ]


def open_files(server: Server) -> int:
    """Open files of all workers, sockets among them."""
    return sum(len(list(Path(f"/proc/{worker}/fd").iterdir())) for worker in server.started)


def open_connections(url: str) -> int:
    """Connections to a PostgreSQL database; 0 for SQLite, whose are open files."""
    if url.startswith("sqlite"):
        return 0
    engine = create_engine(make_url(POSTGRESQL))
    with engine.connect() as connection:
        query = text("SELECT count(*) FROM pg_stat_activity WHERE datname = :name")
        count = connection.execute(query, {"name": make_url(url).database}).scalar()
    engine.dispose()
    return int(count or 0)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument(
        "--step", type=float, default=60, help="seconds between two lines of the table"
    )
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="postgresql")
    parser.add_argument("--hash", choices=["cheap", "shipped"], default="shipped")
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--share", type=float, default=0.8, help="of what was measured as capacity")
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        mails = stack.enter_context(mail_server(0.0))
        url = stack.enter_context(database(options.database, "soak", folder))
        surroundings = Surroundings(url, hash=options.hash, mail_port=mails.port)
        orders = Orders(options.users, dict.fromkeys(SCENARIOS, 2000))
        stream = mixed(contenders.ours.prepare(surroundings, orders))
        server = stack.enter_context(
            served(contenders.ours, surroundings, workers=options.workers, folder=folder)
        )
        send(server.port, list(itertools.islice(stream, 200)), connections=options.connections)
        rates = [capacity(server.port, stream, options.connections) for _ in range(3)]
        pace = options.share * statistics.median(rates)
        print(
            f"{options.database}, the {options.hash} hash, {options.workers} workers, {options.users} users before"  # noqa: E501
        )
        print(f"capacity {statistics.median(rates):.0f} requests/s; paced at {pace:.0f}\n")
        print(
            "| minute | requests/s | p50 ms | p99 ms | refused | RSS MiB | PSS MiB | files | connections |"  # noqa: E501
        )
        print("|" + " --- |" * 9)
        memory, refused = [], []
        start = time.monotonic()
        while (elapsed := time.monotonic() - start) < options.minutes * 60:
            seconds = min(options.step, options.minutes * 60 - elapsed)
            part = list(itertools.islice(stream, max(1, int(pace * seconds))))
            load = send(server.port, part, connections=options.connections, pace=pace)
            refused += load.refused
            memory.append(server.memory().rss)
            report((time.monotonic() - start) / 60, load, server, url)
        dead = [worker for worker in server.started if not Path(f"/proc/{worker}").exists()]
    fifth = max(1, len(memory) // 5)
    growth = statistics.median(memory[-fifth:]) / statistics.median(memory[:fifth])
    print(
        f"\nThe largest worker has grown by {growth - 1:+.1%}; {len(refused)} replies were not what they should be."  # noqa: E501
    )
    for reply in refused[:5]:
        print(f"- {reply}")
    return 1 if refused or dead or growth > GROWTH else 0


def capacity(port: int, stream: Iterator[Request], connections: int) -> float:
    """Requests a second, as many as it takes."""
    load = send(port, list(itertools.islice(stream, 600)), connections=connections)
    return len(load.latencies) / load.elapsed


def report(minute: float, load: Load, server: Server, url: str) -> None:
    """A line of the table."""
    hundredths = [
        each * 1000 for each in statistics.quantiles(load.latencies, n=100, method="inclusive")
    ]
    memory = server.memory()
    figures = [
        f"{minute:.1f}",
        f"{len(load.latencies) / load.elapsed:.0f}",
        f"{hundredths[49]:.1f}",
    ]
    figures += [
        f"{hundredths[98]:.1f}",
        str(len(load.refused)),
        f"{memory.rss:.1f}",
        f"{memory.pss:.1f}",
    ]
    figures += [str(open_files(server)), str(open_connections(url))]
    print(f"| {' | '.join(figures)} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
