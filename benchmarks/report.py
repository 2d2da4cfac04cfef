"""The figures as a table that can be read, and as JSON that can be compared."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import sqlite3
import statistics
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from .contenders import BASELINE, OURS, ROOT
from .databases import POSTGRESQL
from .goals import verdicts
from .imports import middle
from .measure import Effort, Measured, Sample


def machine() -> dict[str, str]:
    """What this was measured on."""
    model = [
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    try:
        engine = create_engine(POSTGRESQL, connect_args={"connect_timeout": 5})
        with engine.connect() as connection:
            postgresql = str(connection.execute(text("SHOW server_version")).scalar())
        engine.dispose()
    except SQLAlchemyError:
        postgresql = "none"
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT
    ).stdout
    return {
        "processor": f"{model[0] if model else platform.processor()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "PostgreSQL": postgresql,
        "commit": commit.strip() or "unknown",
    }


def ratios(
    ours: Sequence[Sample], others: Sequence[Sample], of: Callable[[Sample], float]
) -> list[float]:
    """Ours by theirs, round by round: what disturbs a round disturbs both."""
    return [of(mine) / of(theirs) for mine, theirs in zip(ours, others, strict=True)]


@dataclass
class Report:
    """All that was measured."""

    effort: Effort
    absent: list[str] = field(default_factory=list)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    import_times: list[float] = field(default_factory=list)
    start_times: dict[str, list[float]] = field(default_factory=dict)
    measured: list[Measured] = field(default_factory=list)
    machine: dict[str, str] = field(default_factory=machine)
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    load: tuple[float, float, float] = field(default_factory=os.getloadavg)

    def markdown(self) -> str:
        """The tables."""
        effort = self.effort
        lines = [
            "# Benchmarks",
            "",
            f"{self.started}, load average before {self.load[0]:.2f}; "
            + "; ".join(f"{name}: {value}" for name, value in self.machine.items())
            + ".",
            f"{effort.rounds} rounds of {effort.requests} requests over {effort.connections} connections, "  # noqa: E501
            f"{effort.workers} workers; the contenders take turns within each round. "
            "A figure is the median of the rounds, in brackets the least and the most. "
            "CPU is that of the workers, with the sending of e-mails. "
            "Ratios are taken round by round.",
            "",
            *self._table(
                ["", "versions"],
                (
                    [name, ", ".join(f"{n} {v}" for n, v in found.items())]
                    for name, found in self.versions.items()
                ),
            ),
            *(f"Without {absent}\n" for absent in self.absent),
            f"Importing flask_registration beyond Flask, Flask-SQLAlchemy and marshmallow takes "
            f"{middle(self.import_times)} ms of the processor.",
            "",
            *self._table(
                ["", "start, CPU ms"],
                ([name, middle(taken)] for name, taken in self.start_times.items()),
            ),
        ]
        for measured in self.measured:
            lines += self._setting(measured)
        lines += [
            "## Goals",
            "",
            *self._table(["goal", "", "measured"], verdicts(self.measured, self.import_times)),
        ]
        return "\n".join(lines)

    def _setting(self, measured: Measured) -> list[str]:
        rows = []
        for scenario, samples in measured.samples.items():
            for name, own in samples.items():
                queries = measured.queries.get(scenario, {}).get(name)
                rows.append(
                    [
                        scenario,
                        name,
                        f"{statistics.median(sample.rate for sample in own):.0f}",
                        self._ratio(own, samples.get(BASELINE)),
                        self._ratio(samples.get(OURS), own) if name != OURS else "",
                        *(
                            f"{statistics.median(getattr(sample, part) for sample in own):.1f}"
                            for part in ("p50", "p95", "p99")
                        ),
                        f"{statistics.median(sample.cpu for sample in own):.2f}",
                        self._ratio(own, samples.get(BASELINE), lambda sample: sample.cpu),
                        "" if queries is None else str(queries),
                    ]
                )
        head = [
            "scenario",
            "",
            "requests/s",
            "÷ baseline",
            "ours ÷ it",
            "p50 ms",
            "p95",
            "p99",
            "CPU ms",
            "÷ baseline",
            "queries",
        ]
        memory = [
            [name, f"{found.rss:.0f}", f"{found.pss:.0f}"]
            for name, found in measured.memory.items()
        ]
        return [
            f"## {measured.setting}",
            "",
            *self._table(head, rows),
            *self._table(["worker", "RSS MiB", "PSS MiB"], memory),
            f"The mail server received {measured.mails} e-mails.",
            "",
            *(f"- {' … '.join(dict.fromkeys(_ends(problem)))}" for problem in measured.problems),
            "",
        ]

    def _ratio(
        self,
        ours: Sequence[Sample] | None,
        others: Sequence[Sample] | None,
        of: Callable[[Sample], float] = lambda sample: sample.rate,
    ) -> str:
        if not ours or not others or ours is others:
            return ""
        found = ratios(ours, others, of)
        return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"

    def _table(self, head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
        lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
        return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def _ends(problem: str) -> list[str]:
    """The first and the last line: of a traceback the last one tells."""
    lines = problem.strip().splitlines()
    return [lines[0], lines[-1]]


def write(report: Report, out: Path | None) -> None:
    """Write both files."""
    if out is not None:
        out.write_text(report.markdown(), encoding="utf-8")
        out.with_suffix(".json").write_text(
            json.dumps(dataclasses.asdict(report), indent=1), encoding="utf-8"
        )
