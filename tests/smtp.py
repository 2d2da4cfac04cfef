"""Mail servers on loopback, well-behaved and other."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword


class Delivery(NamedTuple):
    """A mail as a server got it."""

    sender: str
    recipients: list[str]
    content: bytes
    encrypted: bool
    login: str | None
    greeting: str = ""

    @property
    def mail(self) -> EmailMessage:
        parsed = message_from_bytes(self.content, policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed


class Handler:
    """Takes every mail; ``refusal`` is what the server says to a recipient instead, ``answer`` to a
    mail."""

    def __init__(self, refusal: str | None, answer: Answer | None) -> None:
        self.deliveries: list[Delivery] = []
        self._refusal = refusal
        self._answer = answer

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if self._refusal:
            return self._refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        login = session.auth_data.login.decode() if session.auth_data else None
        encrypted = server.transport.get_extra_info("ssl_object") is not None
        delivery = Delivery(
            envelope.mail_from,
            envelope.rcpt_tos,
            envelope.content,
            encrypted,
            login,
            session.host_name,
        )
        answer = await asyncio.to_thread(self._answer, delivery) if self._answer else "250 OK"
        if answer is None or answer.startswith("250"):
            self.deliveries.append(delivery)
        if answer is None:
            server.transport.abort()
        return answer or "421 gone"


#: What a server says to a mail; None takes it, and hangs up without a word.
Answer = Callable[[Delivery], str | None]


class SMTPServer(NamedTuple):
    """A server that runs."""

    port: int
    deliveries: list[Delivery]

    def config(self, **more: Any) -> dict[str, Any]:
        """What makes an application of the tests use it."""
        return {
            "MAIL_SUPPRESS_SEND": False,
            "MAIL_SERVER": "localhost",
            "MAIL_PORT": self.port,
            **more,
        }


class Certificate(NamedTuple):
    """A self-signed one for ``localhost``."""

    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


def make_certificate(folder: Path, *, host: str = "localhost") -> Certificate:
    """Sign a certificate with its own key."""
    openssl = shutil.which("openssl")
    if not openssl:
        pytest.skip("no openssl here")
    made = Certificate(folder / f"{host}.pem", folder / f"{host}.key")
    command = [
        openssl,
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += [
        "-keyout",
        str(made.key),
        "-out",
        str(made.certificate),
        "-days",
        "2",
        "-subj",
        f"/CN={host}",
    ]
    subprocess.run(
        [*command, "-addext", f"subjectAltName=DNS:{host}"], check=True, capture_output=True
    )
    return made


@contextmanager
def smtp_server(
    *,
    implicit_tls: ssl.SSLContext | None = None,
    starttls: ssl.SSLContext | None = None,
    users: dict[str, str] | None = None,
    refusal: str | None = None,
    answer: Answer | None = None,
    smtputf8: bool = True,
) -> Iterator[SMTPServer]:
    """A server that takes mail.

    :param users: who may log in, with which password; then everybody must.
    :param refusal: what the server says to every recipient.
    :param answer: called in a thread of its own with each mail; makes what the server says to it.
    :param smtputf8: whether addresses may have letters beyond ASCII before the ``@``.
    """

    def authenticate(
        server: Any, session: Any, envelope: Any, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        right = (users or {}).get(data.login.decode()) == data.password.decode()
        return AuthResult(success=right, handled=False, auth_data=data)

    handler = Handler(refusal, answer)
    controller = Controller(
        handler,
        hostname="127.0.0.1",
        port=free_port(),
        ssl_context=implicit_tls,
        tls_context=starttls,
        require_starttls=starttls is not None,
        authenticator=authenticate if users else None,
        auth_required=users is not None,
        ident="test",
        enable_SMTPUTF8=smtputf8,
    )
    controller.start()
    try:
        yield SMTPServer(controller.port, handler.deliveries)
    finally:
        controller.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def silent_server() -> Iterator[SMTPServer]:
    """A server that takes a connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield SMTPServer(listening.getsockname()[1], [])


@contextmanager
def no_server() -> Iterator[SMTPServer]:
    """A port where nobody listens."""
    yield SMTPServer(free_port(), [])


@contextmanager
def scripted_server(*answers: str | None) -> Iterator[SMTPServer]:
    """A server that gives these answers, one to each line or mail, and hangs up at ``None`` or
    after the last one."""
    received: list[Delivery] = []

    def converse(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with suppress(ConnectionError), connection, connection.makefile("rb") as lines:
            for answer in answers:
                if answer is None:
                    return
                connection.sendall(f"{answer}\r\n".encode())
                line = lines.readline()
                if answer.startswith("354"):
                    content = b""
                    while line not in (b".\r\n", b""):
                        content, line = content + line, lines.readline()
                    received.append(Delivery("", [], content, False, None))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=converse, args=(listening,), daemon=True)
        thread.start()
        yield SMTPServer(listening.getsockname()[1], received)
        thread.join(timeout=10)
        assert not thread.is_alive()
