"""A program in a process of its own, and what it prints."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

TIMEOUT = 20  # seconds; all waiting is for a condition, so this is for failures only
ENDED = "(the process has ended)"
# ECMA-48's control sequences: some programs colour what they print wherever ``CI`` is set, terminal
# or not.
CONTROL_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


class Program:
    """A program that runs; it may have started others, which end with it."""

    def __init__(
        self, command: Sequence[str], *, cwd: Path, environment: Mapping[str, str]
    ) -> None:
        self.lines: list[str] = []
        self._more = threading.Condition()
        self._process = subprocess.Popen(
            command,
            cwd=cwd,
            env={
                **{
                    name: value
                    for name, value in os.environ.items()
                    if not name.startswith("FLASK_")
                },
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._more:
                self.lines.append(CONTROL_SEQUENCE.sub("", line).rstrip("\n"))
                self._more.notify_all()
        with self._more:
            self.lines.append(ENDED)
            self._more.notify_all()

    def wait_for(self, *patterns: str, after: int = 0, timeout: float = TIMEOUT) -> int:
        """Wait until lines that match in full, one below the other, are on the terminal; returns
        the first's number.

        :param after: the number of the line to begin at.
        """

        def matches(number: int) -> bool:
            lines = self.lines[number : number + len(patterns)]
            return len(lines) == len(patterns) and all(map(re.fullmatch, patterns, lines))

        def found() -> int | None:
            return next(filter(matches, range(after, len(self.lines))), None)

        with self._more:
            self._more.wait_for(lambda: found() is not None or self.lines[-1:] == [ENDED], timeout)
            number = found()
            assert number is not None, "\n".join([f"not printed: {patterns}", *self.lines])
        return number

    def close(self) -> None:
        """End the process and those that it started, and read what is left of the output."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        assert self._process.stdout is not None
        self._process.stdout.close()
