"""Where the time of one request goes: ``python -m benchmarks.profile register``.

Runs in one process, without a server and without a mail server: ours and the baseline in turns,
each for the same number of requests. It prints the CPU time of the thread that responds, the first
decile: other processes and the threads that send e-mails disturb that least.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import importlib
import io
import os
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder

from . import contenders
from .databases import database
from .workload import SCENARIOS, Orders, Request, Surroundings

Application = Callable[[dict[str, Any], Callable[..., Any]], Any]


def environ_of(request: Request) -> dict[str, Any]:
    """A request as a WSGI server hands it over."""
    headers = Headers(dict(request.headers or {}))
    builder = EnvironBuilder(
        path=request.path,
        method=request.method,
        headers=headers,
        data=request.body.encode() if request.body else None,
    )
    return builder.get_environ()


def serve(
    application: Application,
    environ: dict[str, Any],
    expected: int,
    replied: Callable[[], object] = lambda: None,
) -> bytes:
    """What the application answers; it must be what the scenario is about.

    :param replied: called when the client has the whole reply, before the server is done with the
        request.
    """
    statuses: list[str] = []
    answer = application(environ, lambda status, headers, error=None: statuses.append(status))
    try:
        body = b"".join(answer)
        replied()
    finally:
        close = getattr(answer, "close", None)
        if close:
            close()
    if int(statuses[0][:3]) != expected:
        raise RuntimeError(f"{statuses[0]} in place of {expected}: {body[:500]!r}")
    return body


def cost(application: Application, requests: Sequence[Request]) -> float:
    """Microseconds of the processor that a request takes in its own thread: the first decile, which
    little disturbs."""
    prepared = [(environ_of(request), request.status) for request in requests]
    gc.collect()
    taken = []
    for environ, status in prepared:
        start = time.thread_time_ns()
        serve(application, environ, status)
        taken.append(time.thread_time_ns() - start)
    return sorted(taken)[len(taken) // 10] / 1000


def profile(application: Application, requests: Sequence[Request], *, sort: str, lines: int) -> str:
    """The functions that take the time."""
    prepared = [(environ_of(request), request.status) for request in requests]
    profiler = cProfile.Profile()
    profiler.enable()
    for environ, status in prepared:
        serve(application, environ, status)
    profiler.disable()
    text = io.StringIO()
    pstats.Stats(profiler, stream=text).sort_stats(sort).print_stats(lines)
    return text.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument(
        "scenarios",
        nargs="*",
        default=list(SCENARIOS),
        metavar="SCENARIO",
        help=", ".join(SCENARIOS),
    )
    parser.add_argument("--count", type=int, default=200, help="requests in each round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--hash", choices=["cheap", "shipped"], default="cheap")
    parser.add_argument(
        "--functions", action="store_true", help="print the functions of ours that take the time"
    )
    parser.add_argument("--sort", default="tottime", help="how to sort them, e.g. cumulative")
    parser.add_argument("--lines", type=int, default=40)
    options = parser.parse_args(arguments)
    rounds = options.rounds + 1 + (1 if options.functions else 0)
    orders = Orders(1000, dict.fromkeys(SCENARIOS, options.count * rounds))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        applications: dict[str, Application] = {}
        requests: dict[str, dict[str, list[Request]]] = {}
        for contender in (contenders.ours, contenders.baseline):
            url = stack.enter_context(database(options.database, contender.name, folder))
            surroundings = Surroundings(url, hash=options.hash)
            requests[contender.name] = contender.prepare(surroundings, orders)
            os.environ.update(surroundings.environment())
            applications[contender.name] = importlib.import_module(contender.module).create_app()
        print(f"{'':16} {'ours':>8} {'baseline':>8}  ours ÷ the baseline (least to most)")
        for scenario in options.scenarios:
            costs: dict[str, list[float]] = {name: [] for name in applications}
            parts = {
                name: rounds_of(requests[name][scenario], options.count) for name in applications
            }
            for number in range(options.rounds + 1):
                for name, application in applications.items():
                    taken = cost(application, next(parts[name]))
                    if number:  # the first one warms up
                        costs[name].append(taken)
            ours, baseline = costs[contenders.OURS], costs[contenders.BASELINE]
            ratios = [mine / theirs for mine, theirs in zip(ours, baseline, strict=True)]
            middle = f"{statistics.median(ours):8.0f} {statistics.median(baseline):8.0f}"
            print(
                f"{scenario:16} {middle}  {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"  # noqa: E501
            )
            if options.functions:
                application = applications[contenders.OURS]
                print(
                    profile(
                        application, next(parts["ours"]), sort=options.sort, lines=options.lines
                    )
                )


def rounds_of(requests: Sequence[Request], count: int) -> Iterator[Sequence[Request]]:
    """The requests in parts of this size."""
    for start in range(0, len(requests), count):
        yield requests[start : start + count]


if __name__ == "__main__":
    main()
