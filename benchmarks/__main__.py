"""The command line of the comparison; see ``python -m benchmarks --help``."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from subprocess import CalledProcessError

from . import contenders
from .imports import import_time, start_time
from .measure import Effort, Measured, Setting, measure
from .report import Report, write
from .workload import HASHES, SCENARIOS

#: The scenarios in which the hash, or the mail server, plays a part.
HASHING, MAILING = ("register", "login"), ("register", "resend", "reset-link")

DESCRIPTION = """\
Measures Flask-Registration beside a baseline, which is the same by hand, and beside its peers. The
first value of --database, --users, --hash and --mail-delay each makes the base; every other value
is measured with the rest as in the base."""


def settings(options: argparse.Namespace) -> list[tuple[Setting, list[str]]]:
    """What is to be measured: the base, and what differs from it in one thing, with the scenarios
    that it concerns."""
    found: dict[Setting, list[str]] = {}
    for database in options.database:
        base = (database, options.users[0], options.hash[0], options.mail_delay[0])
        found[Setting(*base)] = options.scenario
        for users in options.users[1:]:
            found[Setting(database, users, *base[2:])] = options.scenario
        for hash in options.hash[1:]:
            found[Setting(database, base[1], hash, base[3])] = [
                each for each in options.scenario if each in HASHING
            ]
        for delay in options.mail_delay[1:]:
            found[Setting(*base[:3], delay)] = [
                each for each in options.scenario if each in MAILING
            ]
    return [(setting, scenarios) for setting, scenarios in found.items() if scenarios]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    cache = (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        / "flask-registration-benchmarks"
    )
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=DESCRIPTION)
    parser.add_argument(
        "--peers", default="none", help=f"none, all, or some of {','.join(contenders.peer_names())}"
    )
    parser.add_argument("--scenario", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument(
        "--database", nargs="+", choices=["sqlite", "postgresql"], default=["sqlite", "postgresql"]
    )
    parser.add_argument("--users", nargs="+", type=int, default=[10_000, 10, 1_000_000])
    parser.add_argument("--hash", nargs="+", choices=list(HASHES), default=["cheap", "shipped"])
    parser.add_argument("--mail-delay", nargs="+", type=float, default=[0.0, 0.3], help="seconds")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--requests",
        type=int,
        default=300,
        help="of each scenario, of each contender, in each round",
    )
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--window",
        type=float,
        default=0.1,
        help="seconds of rest after which a server counts as idle",
    )
    parser.add_argument("--cache", type=Path, default=cache, help="where the peers are installed")
    parser.add_argument(
        "--out", type=Path, default=None, help="a Markdown file; the figures go beside it as JSON"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="show in seconds that this works; the figures mean nothing",
    )
    options = parser.parse_args(arguments)
    if options.quick:
        options.database, options.users, options.hash, options.mail_delay = (
            ["sqlite"],
            [50],
            ["cheap"],
            [0.0],
        )
        options.rounds, options.requests, options.workers, options.peers = 1, 5, 1, "none"
        options.window = 0.02
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and report."""
    options = parse(arguments)
    wanted = {"none": [], "all": contenders.peer_names()}.get(
        options.peers, options.peers.split(",")
    )
    effort = Effort(
        options.rounds, options.requests, options.connections, options.workers, options.window
    )
    present, report = [], Report(effort)
    for found in contenders.contenders(wanted, options.cache):
        if isinstance(found, contenders.Contender):
            present.append(found)
        else:
            report.absent.append(str(found))
            say(f"without {found}")
    report.versions = {contender.name: contender.versions() for contender in present}
    report.import_times = import_time(2 if options.quick else 10)
    if not options.quick:
        for contender in list(present):
            try:
                report.start_times[contender.name] = start_time(contender, 4)
            except CalledProcessError as error:
                present.remove(contender)
                report.absent.append(
                    f"{contender.name}: does not start: {error.stderr.strip().splitlines()[-1]}"
                )
                say(f"without {report.absent[-1]}")
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        for setting, scenarios in settings(options):
            measured: Measured = measure(setting, present, scenarios, effort, Path(folder), say)
            report.measured.append(measured)
            write(report, options.out)  # after each, so that nothing is lost
    print(report.markdown())
    return 1 if any(measured.problems for measured in report.measured) else 0


def say(text: str) -> None:
    """Tell whoever waits."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
