"""Who takes part: ours, the baseline, and peers in virtual environments of their own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from .workload import Orders, Request, Surroundings, read_requests

ROOT = Path(__file__).resolve().parent.parent
BASELINE, SAME_WORK, OURS = "baseline", "same_work", "ours"

#: The peers that run under an ASGI server.
ASGI = ("fastapi_users",)


class Absent(Exception):
    """A peer that cannot take part, and why."""


@dataclass(frozen=True)
class Contender:
    """Somebody who takes part.

    :ivar module: what prepares its data when it is run.
    :ivar application: what a server is told to serve.
    :ivar distributions: whose versions the report names.
    """

    name: str
    python: str
    module: str
    application: str
    asgi: bool
    distributions: tuple[str, ...]

    def environment(self, surroundings: Surroundings) -> dict[str, str]:
        """The environment's variables of its processes."""
        ours = {
            "PYTHONPATH": str(ROOT),
            "PYTHONHASHSEED": "0",
            "BENCHMARK_ASGI": "1" if self.asgi else "",
        }
        return {**os.environ, **ours, **surroundings.environment()}

    def prepare(self, surroundings: Surroundings, orders: Orders) -> dict[str, list[Request]]:
        """Fill its database; the requests to be made.

        :raises RuntimeError: it could not, with what it wrote to standard error.
        """
        given = json.dumps({"users": orders.users, "counts": dict(orders.counts)})
        command = [self.python, "-m", self.module]
        done = subprocess.run(
            command,
            input=given,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=self.environment(surroundings),
        )
        if done.returncode:
            raise RuntimeError(f"{self.name} could not prepare its data:\n{done.stderr}")
        return read_requests(done.stdout)

    def versions(self) -> dict[str, str]:
        """The versions of what it is made of."""
        code = "import sys, json, importlib.metadata as m; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"  # noqa: E501
        found = subprocess.run(
            [self.python, "-c", code, *self.distributions],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        versions: dict[str, str] = json.loads(found.stdout)
        return versions


_FLASK = ("Flask", "Flask-SQLAlchemy", "SQLAlchemy", "psycopg", "gunicorn")
ours = Contender(
    OURS,
    sys.executable,
    "benchmarks.apps.ours",
    "benchmarks.apps.ours:create_app()",
    False,
    ("Flask-Registration", *_FLASK, "Flask-Login", "Flask-Mail", "marshmallow", "pwdlib"),
)
baseline = Contender(
    BASELINE,
    sys.executable,
    "benchmarks.apps.baseline",
    "benchmarks.apps.baseline:create_app()",
    False,
    (*_FLASK, "Flask-Mail", "pwdlib"),
)


same_work = replace(
    baseline,
    name=SAME_WORK,
    module="benchmarks.apps.same_work",
    application="benchmarks.apps.same_work:create_app()",
)


def peer_names() -> list[str]:
    """The peers that there are."""
    folder = Path(__file__).parent / "peers"
    return sorted(found.parent.name for found in folder.glob("*/requirements.txt"))


def contenders(peers: Iterable[str], cache: Path) -> Iterator[Contender | Absent]:
    """Ours, the baseline, and these peers; in place of one that cannot be installed, why."""
    yield ours
    yield baseline
    yield same_work
    for name in peers:
        try:
            yield install(name, cache)
        except Absent as absent:
            yield absent


def install(name: str, cache: Path) -> Contender:
    """A peer in its virtual environment, made anew where its requirements have changed.

    :raises Absent: it cannot be installed.
    """
    requirements = Path(__file__).parent / "peers" / name / "requirements.txt"
    if not requirements.exists():
        raise Absent(f"{name}: there is no such peer; there are {', '.join(peer_names())}")
    wanted = requirements.read_text(encoding="utf-8")
    digest = hashlib.sha256(f"{sys.version} {wanted}".encode()).hexdigest()[:12]
    folder = cache / f"{name}-{digest}"
    python, complete = folder / "bin" / "python", folder / "complete"
    if not complete.exists():
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", "-r", str(requirements)],
        ):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise Absent(
                    f"{name}: could not be installed: {done.stderr.strip().splitlines()[-1:]}"
                )
        complete.touch()
    module = f"benchmarks.peers.{name}.app"
    names = [line.split("[")[0] for line in wanted.split() if line and not line.startswith("#")]
    return Contender(name, str(python), module, f"{module}:app", name in ASGI, tuple(names))
