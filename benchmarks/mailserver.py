"""A mail server on loopback that takes everything, after a while: ``python -m benchmarks.mailserver
PORT DELAY``."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .contenders import ROOT


@dataclass(frozen=True)
class MailServer:
    """One that runs."""

    port: int

    def taken(self) -> int:
        """How many mails it has taken."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            lines = connection.makefile("rb")
            lines.readline()
            connection.sendall(b"COUNT\r\n")
            return int(lines.readline().split()[1])


class _Double:
    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._taken = 0

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        while command := (await reader.readline()).strip().upper():
            if command == b"DATA":
                writer.write(b"354 go on\r\n")
                await reader.readuntil(b"\r\n.\r\n")
                await asyncio.sleep(self._delay)
                self._taken += 1
            if command == b"QUIT":
                break
            writer.write(b"250 %d\r\n" % self._taken)
        writer.write(b"221 good bye\r\n")
        writer.close()


async def _serve(port: int, delay: float) -> None:
    server = await asyncio.start_server(_Double(delay).converse, "127.0.0.1", port, backlog=512)
    async with server:
        await server.serve_forever()


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def mail_server(delay: float) -> Iterator[MailServer]:
    """One in a process of its own.

    :param delay: seconds that it takes for each mail.
    """
    server = MailServer(free_port())
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, str(server.port), str(delay)], cwd=ROOT
    )
    try:
        for _ in range(200):
            try:
                server.taken()
                break
            except OSError:
                time.sleep(0.05)
        yield server
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
