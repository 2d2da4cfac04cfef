"""A wire to a database, to be cut where one likes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy.engine import make_url


class Proxy:
    """Passes on what it gets, until told otherwise."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._listening: socket.socket | None = None
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._cut_at: bytes | None = None
        self._delivers = False
        self.cuts = 0
        self.port = 0
        self.up()

    def up(self) -> None:
        """Take connections."""
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def down(self) -> None:
        """Take no connections any more, and cut those there are."""
        listening, self._listening = self._listening, None
        if listening:
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            listening.close()
        self.cut()

    def mend(self) -> None:
        """Pass everything on from now on."""
        self._cut_at = None
        if self._listening is None:
            self.up()

    def cut(self) -> None:
        """Cut the connections there are."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def cut_at(self, text: bytes, *, delivers: bool) -> None:
        """Cut the connection on which the client says this, once.

        :param delivers: the server gets it, and its answer is lost; else it is lost itself.
        """
        self.cuts, self._delivers, self._cut_at = 0, delivers, text

    def _accept(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                server = socket.create_connection(self._server)
                for each in (client, server):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._pairs.append((client, server))
                wire = _Wire(self, client, server)
                threading.Thread(target=wire.pass_on_requests, daemon=True).start()
                threading.Thread(target=wire.pass_on_answers, daemon=True).start()

    def is_to_cut(self, data: bytes) -> bool:
        with self._lock:
            if self._cut_at is None or self._cut_at not in data:
                return False
            self._cut_at = None
            self.cuts += 1
            return True


class _Wire:
    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._is_cut = False

    def pass_on_requests(self) -> None:
        with suppress(OSError):
            while data := self._client.recv(65536):
                if self._proxy.is_to_cut(data):
                    self._is_cut = True
                    if self._proxy._delivers:
                        self._server.sendall(data)
                        return  # the answer comes, and is dropped there
                    break
                self._server.sendall(data)
        self._close()

    def pass_on_answers(self) -> None:
        with suppress(OSError):
            while data := self._server.recv(65536):
                if self._is_cut:
                    break
                self._client.sendall(data)
        self._close()

    def _close(self) -> None:
        for each in (self._client, self._server):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@contextmanager
def proxied(url: str, **options: Any) -> Iterator[tuple[Proxy, dict[str, Any]]]:
    """A wire to this database, and what makes an application use it, without encryption.

    :param options: more of ``SQLALCHEMY_ENGINE_OPTIONS``.
    """
    target = make_url(url)
    proxy = Proxy(
        (target.host or "127.0.0.1", target.port or (5432 if "postgresql" in url else 3306))
    )
    plain = (
        {"sslmode": "disable", "connect_timeout": 5}
        if "postgresql" in url
        else {"ssl_disabled": True}
    )
    through = target.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
    try:
        yield (
            proxy,
            {
                "SQLALCHEMY_DATABASE_URI": through,
                "SQLALCHEMY_ENGINE_OPTIONS": {"connect_args": plain, **options},
            },
        )
    finally:
        proxy.down()
