"""How long it takes to import us, and to start each contender's application."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Sequence

from .contenders import ROOT, Contender
from .workload import Surroundings

IMPORT = """
import time
import flask, flask_sqlalchemy, marshmallow
start = time.process_time()
import flask_registration
print((time.process_time() - start) * 1000)
"""

START = """
import sys, time
start = time.process_time()
module, _, name = sys.argv[1].partition(":")
made = getattr(__import__(module, fromlist=["app"]), name.removesuffix("()"))
made() if name.endswith("()") else None
print((time.process_time() - start) * 1000)
"""


def import_time(repeat: int) -> list[float]:
    """Milliseconds of the processor for us, beyond Flask, Flask-SQLAlchemy and marshmallow."""
    return _repeated([sys.executable, "-c", IMPORT], repeat, dict(os.environ))


def start_time(contender: Contender, repeat: int) -> list[float]:
    """Milliseconds of the processor until its application is there."""
    surroundings = Surroundings("sqlite:///:memory:")
    return _repeated(
        [contender.python, "-c", START, contender.application],
        repeat,
        contender.environment(surroundings),
    )


def _repeated(command: Sequence[str], repeat: int, environment: dict[str, str]) -> list[float]:
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # else every time would be the first
    taken = []
    for _ in range(repeat):
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment
        )
        taken.append(float(done.stdout.split()[-1]))
    return taken[1:]  # the first one may have had to write bytecode


def middle(values: Sequence[float]) -> str:
    """The median, with the least and the most."""
    return f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"
