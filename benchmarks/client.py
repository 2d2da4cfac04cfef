"""A client that is light: one process, plain sockets, some connections at once, each kept alive
where the server does.

It shares the machine with what it measures.
"""

from __future__ import annotations

import gc
import http.client
import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from .workload import Request

#: Seconds to wait for any answer.
TIMEOUT = 60


@dataclass
class Load:
    """What came of some requests.

    :ivar latencies: seconds that each took, connecting included.
    :ivar elapsed: seconds that all of them took.
    :ivar refused: replies that did not have the status which they should have.
    :ivar queries: what the header ``X-Queries`` said, where it was there.
    """

    latencies: list[float] = field(default_factory=list)
    elapsed: float = 0.0
    refused: list[str] = field(default_factory=list)
    queries: list[int] = field(default_factory=list)


def encode(request: Request) -> bytes:
    """A request on the wire."""
    body = request.body.encode()
    lines = [
        f"{request.method} {request.path} HTTP/1.1",
        "Host: 127.0.0.1",
        "User-Agent: benchmarks",
    ]
    lines += [f"{name}: {value}" for name, value in (request.headers or {}).items()]
    lines += [f"Content-Length: {len(body)}"] if body or request.method != "GET" else []
    return "\r\n".join([*lines, "", ""]).encode() + body


class _Connection:
    """One connection, which sends a request after the other."""

    def __init__(self, port: int, selector: selectors.BaseSelector) -> None:
        self._port = port
        self._selector = selector
        self._socket: socket.socket | None = None
        self._expected = 0
        self._started = 0.0
        self._received = b""

    def send(self, data: bytes, expected: int) -> None:
        self._expected, self._started, self._received = expected, time.perf_counter(), b""
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=60)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(self._socket, selectors.EVENT_READ, self)
        self._socket.sendall(data)

    def receive(self, load: Load) -> bool:
        """Read what is there; whether the reply is complete, which is noted then."""
        assert self._socket is not None
        part = self._socket.recv(65536)
        self._received += part
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if part and not (separator and _is_complete(head.lower(), body)):
            return False
        load.latencies.append(time.perf_counter() - self._started)
        lower = head.lower()
        status = int(head.split(b" ", 2)[1]) if separator else 0
        if status != self._expected:
            load.refused.append(
                f"{status} in place of {self._expected}: {body[:300].decode(errors='replace')}"
            )
        for line in lower.split(b"\r\n"):
            if line.startswith(b"x-queries:"):
                load.queries.append(int(line.split(b":")[1]))
        if not part or b"connection: close" in lower:
            self.close()
        return True

    def close(self) -> None:
        if self._socket is not None:
            self._selector.unregister(self._socket)
            self._socket.close()
            self._socket = None


def _is_complete(head: bytes, body: bytes) -> bool:
    if b"content-length:" in head:
        return len(body) >= int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    if b"transfer-encoding: chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    return head.split(b" ", 2)[1] in (b"204", b"304")


def send(port: int, requests: Sequence[Request], *, connections: int, pace: float = 0.0) -> Load:
    """Send the requests over so many connections, each after its last reply; none is sent twice.

    :param pace: requests a second at the most; 0 sends as fast as they are answered.
    """
    load = Load()
    with selectors.DefaultSelector() as selector:
        waiting: Iterator[tuple[bytes, int]] = iter(
            [(encode(request), request.status) for request in requests]
        )
        gc.collect()
        gc.disable()
        start, sent, open_requests = time.perf_counter(), 0, 0
        idle = [_Connection(port, selector) for _ in range(connections)]
        everyone, exhausted = list(idle), False
        try:
            while open_requests or not exhausted:
                while (
                    idle
                    and not exhausted
                    and (not pace or sent / pace <= time.perf_counter() - start)
                ):
                    following = next(waiting, None)
                    if following is None:
                        exhausted = True
                        break
                    idle[-1].send(*following)
                    idle.pop()
                    sent, open_requests = sent + 1, open_requests + 1
                pause = (
                    max(0.0, start + sent / pace - time.perf_counter())
                    if pace and idle and not exhausted
                    else None
                )
                if not open_requests:
                    time.sleep(pause or 0)
                    continue
                ready = selector.select(TIMEOUT if pause is None else pause)
                if not ready and pause is None:
                    raise TimeoutError(f"no answer within {TIMEOUT} seconds")
                for key, _ in ready:
                    connection: _Connection = key.data
                    if connection.receive(load):
                        open_requests -= 1
                        idle.append(connection)
            load.elapsed = time.perf_counter() - start
        finally:
            gc.enable()
            for connection in everyone:
                connection.close()
    return load


def ask(port: int, method: str, path: str) -> int:
    """The status of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        return connection.getresponse().status
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()
