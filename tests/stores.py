"""A Redis for throttles, and a wire to it that can be cut."""

from __future__ import annotations

import os
import select
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import redis

REDIS = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379")


class Redis:
    """Keys of this test's own on a real server; ``config`` is Flask-Limiter's."""

    def __init__(self) -> None:
        self.prefix = f"flask-registration-test-{uuid.uuid4()}"
        self.client: Any = redis.Redis.from_url(REDIS, socket_timeout=5, decode_responses=True)

    def config(self, url: str = REDIS, **config: Any) -> dict[str, Any]:
        """What an application says that counts here, by way of ``url``."""
        options = {"key_prefix": self.prefix}
        return {
            "RATELIMIT_ENABLED": True,
            "RATELIMIT_STORAGE_URI": url,
            "RATELIMIT_STORAGE_OPTIONS": options,
            **config,
        }

    def names(self) -> list[str]:
        return list(self.client.scan_iter(f"{self.prefix}*", count=1000))


@pytest.fixture
def redis_store() -> Iterator[Redis]:
    store = Redis()
    try:
        store.client.ping()
    except redis.RedisError as error:
        pytest.skip(f"no Redis here ({REDIS}): {error}")
    yield store
    for key in store.names():
        store.client.delete(key)
    store.client.close()


class Wire:
    """A TCP server on a free port that passes everything on to Redis; until it is cut, or goes
    silent."""

    def __init__(self) -> None:
        connection = redis.Redis.from_url(REDIS).connection_pool.connection_kwargs
        self._target = (connection.get("host", "127.0.0.1"), int(connection.get("port", 6379)))
        self.connections = 0
        self.silent = False
        self._open: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._start(self._accept, self._server)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Drop every connection, and take no more."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._open.clear()

    def mend(self) -> None:
        """Listen on the same port again."""
        self._server = socket.create_server(("127.0.0.1", self.port))
        self._start(self._accept, self._server)

    def _start(self, work: Callable[..., None], *arguments: Any) -> None:
        threading.Thread(target=work, args=arguments, daemon=True).start()

    def _accept(self, server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = server.accept()
                self.connections += 1
                target = socket.create_connection(self._target)
                self._open += [client, target]
                self._start(self._pass_on, client, target)

    def _pass_on(self, client: socket.socket, target: socket.socket) -> None:
        with suppress(OSError, ValueError):
            while True:
                for end in select.select([client, target], [], [])[0]:
                    data = end.recv(65536)
                    if not data:
                        raise OSError("closed")
                    if not self.silent:
                        (target if end is client else client).sendall(data)


@pytest.fixture
def wire(redis_store: Redis) -> Iterator[Wire]:
    wire = Wire()
    yield wire
    with suppress(OSError):
        wire.cut()
