"""One setting measured: the contenders in turns, round after round."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from .client import send
from .contenders import Contender
from .databases import database
from .mailserver import mail_server
from .servers import Memory, Server, served, taken_since
from .workload import Orders, Request, Surroundings

#: Requests that are sent before anything is measured, and that are counted the queries of.
WARM_UP, COUNTED = 20, 4


@dataclass(frozen=True)
class Setting:
    """What stays the same for all contenders."""

    database: str
    users: int
    hash: str
    mail_delay: float

    def __str__(self) -> str:
        mail = (
            f", a mail server that takes {self.mail_delay * 1000:.0f} ms" if self.mail_delay else ""
        )
        return f"{self.database}, {self.users:,} users, the {self.hash} hash{mail}"


@dataclass(frozen=True)
class Effort:
    """How much is done.

    :ivar requests: of each scenario, of each contender, in each round.
    :ivar window: seconds of rest after which a server counts as idle.
    """

    rounds: int
    requests: int
    connections: int
    workers: int
    window: float

    def count(self) -> int:
        """How many requests of each scenario are needed in all."""
        return WARM_UP + self.rounds * self.requests + COUNTED


@dataclass(frozen=True)
class Sample:
    """One contender's turn at one scenario; times in milliseconds."""

    rate: float
    p50: float
    p95: float
    p99: float
    cpu: float


@dataclass
class Measured:
    """What was measured in one setting, by scenario and contender.

    :ivar problems: who could not take part in what, and why.
    """

    setting: Setting
    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    queries: dict[str, dict[str, int]] = field(default_factory=dict)
    memory: dict[str, Memory] = field(default_factory=dict)
    mails: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass
class _Runner:
    """A contender that runs."""

    contender: Contender
    server: Server
    requests: Mapping[str, Sequence[Request]]


def measure(
    setting: Setting,
    contenders: Sequence[Contender],
    scenarios: Sequence[str],
    effort: Effort,
    folder: Path,
    say: Callable[[str], None],
) -> Measured:
    """Measure one setting."""
    measured = Measured(setting)
    orders = Orders(setting.users, {scenario: effort.count() for scenario in scenarios})
    with ExitStack() as stack:
        mails = stack.enter_context(mail_server(setting.mail_delay))
        ready: list[tuple[Contender, Surroundings, dict[str, list[Request]]]] = []
        for contender in contenders:
            say(f"{setting}: preparing {contender.name}")
            url = stack.enter_context(database(setting.database, contender.name, folder))
            surroundings = Surroundings(url, hash=setting.hash, mail_port=mails.port)
            try:
                ready.append((contender, surroundings, contender.prepare(surroundings, orders)))
            except RuntimeError as error:
                measured.problems.append(str(error))
        with ExitStack() as servers:
            runners = []
            for contender, surroundings, requests in ready:
                running = served(contender, surroundings, workers=effort.workers, folder=folder)
                try:
                    runners.append(_Runner(contender, servers.enter_context(running), requests))
                except RuntimeError as error:
                    measured.problems.append(f"{contender.name}: {error}")
            _run_rounds(measured, runners, scenarios, effort, say)
            measured.memory = {runner.contender.name: runner.server.memory() for runner in runners}
        measured.mails = mails.taken()
        started = {runner.contender.name for runner in runners}
        for contender, surroundings, requests in ready:
            if contender.name not in started:
                continue
            counting = Surroundings(
                surroundings.database, setting.hash, mails.port, count_queries=True
            )
            with served(contender, counting, workers=1, folder=folder) as server:
                for scenario in measured.samples:
                    if contender.name in measured.samples[scenario]:
                        load = send(server.port, requests[scenario][-COUNTED:], connections=1)
                        measured.queries.setdefault(scenario, {})[contender.name] = load.queries[-1]
    return measured


def _run_rounds(
    measured: Measured,
    runners: Sequence[_Runner],
    scenarios: Sequence[str],
    effort: Effort,
    say: Callable[[str], None],
) -> None:
    window = effort.window + measured.setting.mail_delay
    takes_part: dict[str, list[_Runner]] = {scenario: [] for scenario in scenarios}
    for scenario in scenarios:
        for runner in runners:
            if not runner.requests.get(scenario):
                continue
            load = send(
                runner.server.port,
                runner.requests[scenario][:WARM_UP],
                connections=effort.connections,
            )
            if load.refused:
                measured.problems.append(f"{runner.contender.name}, {scenario}: {load.refused[0]}")
            else:
                takes_part[scenario].append(runner)
                measured.samples.setdefault(scenario, {})[runner.contender.name] = []
            runner.server.wait_until_idle(window)
    for number in range(effort.rounds):
        say(f"{measured.setting}: round {number + 1} of {effort.rounds}")
        for scenario, present in takes_part.items():
            turn = number % max(1, len(present))
            for runner in [*present[turn:], *present[:turn]]:
                start = WARM_UP + number * effort.requests
                part = runner.requests[scenario][start : start + effort.requests]
                before = runner.server.threads()
                load = send(runner.server.port, part, connections=effort.connections)
                runner.server.wait_until_idle(window)  # the mail is part of it
                cpu = taken_since(before, runner.server.threads())
                if load.refused:
                    first = load.refused[0]
                    problem = f"{runner.contender.name}, {scenario}: {len(load.refused)} of {len(part)}: {first}"  # noqa: E501
                    measured.problems.append(problem)
                sample = sample_of(load.latencies, load.elapsed, cpu)
                measured.samples[scenario][runner.contender.name].append(sample)


def sample_of(latencies: Sequence[float], elapsed: float, cpu: int) -> Sample:
    """The figures of one turn."""
    hundredths = statistics.quantiles(latencies, n=100, method="inclusive")
    return Sample(
        rate=len(latencies) / elapsed,
        p50=hundredths[49] * 1000,
        p95=hundredths[94] * 1000,
        p99=hundredths[98] * 1000,
        cpu=cpu / 1e6 / len(latencies),
    )
