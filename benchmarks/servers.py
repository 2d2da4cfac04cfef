"""A contender behind its server, and what its workers take of the processor and of the memory."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from .client import ask
from .contenders import ROOT, Contender
from .mailserver import free_port
from .workload import Surroundings


class Memory(NamedTuple):
    """MiB of the largest worker: all that it can reach, and that with shared pages divided among
    those who share."""

    rss: float
    pss: float


@dataclass(frozen=True)
class Server:
    """One that runs."""

    port: int
    pid: int

    @cached_property
    def started(self) -> list[int]:
        """The processes under the master once it has started; a worker that ends later fails what
        measures it."""
        return self.workers()

    def workers(self) -> list[int]:
        """The processes under the master; itself where it has none, as uvicorn with one worker."""
        children: dict[int, list[int]] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                after_name = stat.read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            children.setdefault(int(after_name[1]), []).append(int(stat.parent.name))
        found, new = [], [self.pid]
        while new:
            new = [child for parent in new for child in children.get(parent, [])]
            found += new
        return found or [self.pid]

    def threads(self) -> dict[str, int]:
        """Nanoseconds that each thread of the workers has had of the processor."""
        taken = {}
        for worker in self.started:
            for thread in Path(f"/proc/{worker}/task").glob("*/schedstat"):
                try:
                    taken[str(thread)] = int(thread.read_text().split()[0])
                except OSError:
                    continue
        return taken

    def wait_until_idle(self, window: float) -> None:
        """Wait until the workers have next to nothing to do any more, mail to be sent for example.

        :param window: seconds; to do next to nothing for so long is to be idle.
        """
        for _ in range(600):
            before = self.threads()
            time.sleep(window)
            if taken_since(before, self.threads()) < 0.02 * window * 1e9:
                return

    def memory(self) -> Memory:
        """What the largest worker has."""
        found = []
        for worker in self.started:
            lines = Path(f"/proc/{worker}/smaps_rollup").read_text().splitlines()
            sizes = {
                line.split(":")[0]: int(line.split()[1]) / 1024
                for line in lines
                if line.endswith("kB")
            }
            found.append(Memory(sizes["Rss"], sizes["Pss"]))
        return max(found)


def taken_since(before: dict[str, int], after: dict[str, int]) -> int:
    """Nanoseconds of the processor between two looks."""
    return sum(max(0, after[thread] - before.get(thread, 0)) for thread in after)


@contextmanager
def served(
    contender: Contender, surroundings: Surroundings, *, workers: int, folder: Path
) -> Iterator[Server]:
    """Start a contender's server, and stop it in the end.

    :raises RuntimeError: it does not start, with what it wrote.
    """
    port, log = free_port(), folder / f"{contender.name}.log"
    if contender.asgi:
        command = ["uvicorn", "--no-access-log", "--host", "127.0.0.1", "--port", str(port)]
    else:
        configuration = folder / "gunicorn.conf.py"
        configuration.write_text(
            "control_socket_disable = True\n"
        )  # which versions before 25 do not know, nor mind
        command = ["gunicorn", "--bind", f"127.0.0.1:{port}", "--config", str(configuration)]
    command = [
        contender.python,
        "-m",
        *command,
        "--workers",
        str(workers),
        "--log-level",
        "warning",
    ]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*command, contender.application],
            cwd=ROOT,
            env=contender.environment(surroundings),
            stdout=output,
            stderr=output,
        )
        server = Server(port, process.pid)
        try:
            _wait_for(server, process, workers, log)
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(server: Server, process: subprocess.Popen[bytes], workers: int, log: Path) -> None:
    for _ in range(600):
        if process.poll() is not None:
            break
        try:
            if len(server.workers()) >= workers and ask(server.port, "GET", "/nothing-is-here"):
                server.wait_until_idle(0.1)
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"the server does not start:\n{log.read_text()[-2000:]}")
