"""A mail server that is down, silent, slow, refuses or goes away, at any step: the reply is what
was promised."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from queue import Queue
from typing import Any

import pytest

from flask_registration import mail_failed, user_registered

from ..conftest import Clock
from ..flows.common import OTHER_PASSWORD, NewSite, has_password, log_in, member
from ..outboxes import define_outbox, letters
from ..site import PASSWORD, Site
from ..smtp import SMTPServer, no_server, scripted_server, silent_server, smtp_server
from ..tables import each_row

TIMEOUT = 30  # seconds, for failures only

HELLO = ["220 test", "250 test"]
ACCEPTED = [*HELLO, "250 OK", "250 OK", "354 go on", "250 OK"]


@contextmanager
def deaf_server() -> Iterator[SMTPServer]:
    """A server that does not even take the connection: its queue is full."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        waiting = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            waiting.append(client)
        yield SMTPServer(port, [])
        for client in waiting:
            client.close()


@contextmanager
def hanging_server(*answers: str) -> Iterator[SMTPServer]:
    """A server that gives these answers, one to each line or mail, and then says nothing more."""
    received: list[bytes] = []
    over = threading.Event()

    def converse(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with suppress(ConnectionError), connection, connection.makefile("rb") as lines:
            for answer in answers:
                connection.sendall(f"{answer}\r\n".encode())
                line = lines.readline()
                while answer.startswith("354") and line not in (b".\r\n", b""):
                    received.append(line)
                    line = lines.readline()
            over.wait(TIMEOUT)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=converse, args=(listening,), daemon=True)
        thread.start()
        yield SMTPServer(listening.getsockname()[1], [])
        over.set()
        thread.join(TIMEOUT)
    assert not thread.is_alive()


Server = Callable[[], AbstractContextManager[SMTPServer]]

#: Servers that take no mail.
BAD: dict[str, Server] = {
    "is down": no_server,
    "does not take the connection": deaf_server,
    "takes the connection and says nothing": silent_server,
    "hangs up at once": lambda: scripted_server(None),
    "says 421 at once": lambda: scripted_server("421 too busy"),
    "says 554 at once": lambda: scripted_server("554 no"),
    "says nothing after EHLO": lambda: hanging_server("220 test"),
    "says 451 to the sender": lambda: scripted_server(*HELLO, "451 later", "250 OK", "221 bye"),
    "says 550 to the sender": lambda: scripted_server(*HELLO, "550 no", "250 OK", "221 bye"),
    "says 451 to the recipient": lambda: scripted_server(
        *HELLO, "250 OK", "451 later", "250 OK", "221 bye"
    ),
    "says 550 to the recipient": lambda: scripted_server(
        *HELLO, "250 OK", "550 nobody", "250 OK", "221 bye"
    ),
    "says 421 to the recipient": lambda: scripted_server(*HELLO, "250 OK", "421 closing"),
    "says 451 to DATA": lambda: scripted_server(
        *HELLO, "250 OK", "250 OK", "451 later", "250 OK", "221 bye"
    ),
    "says 421 to DATA": lambda: scripted_server(*HELLO, "250 OK", "250 OK", "421 closing"),
    "hangs up after DATA": lambda: scripted_server(*HELLO, "250 OK", "250 OK", "354 go on", None),
    "says nothing to the mail": lambda: hanging_server(*ACCEPTED[:-1]),
    "says 452 to the mail": lambda: scripted_server(
        *ACCEPTED[:-1], "452 full", "250 OK", "221 bye"
    ),
    "says 554 to the mail": lambda: scripted_server(
        *ACCEPTED[:-1], "554 spam", "250 OK", "221 bye"
    ),
    "says 421 to the mail": lambda: scripted_server(*ACCEPTED[:-1], "421 closing"),
}

#: Servers that take it, and are no pleasure.
TEDIOUS: dict[str, Server] = {
    "hangs up after it took the mail": lambda: scripted_server(*ACCEPTED),
    "says nothing to QUIT": lambda: hanging_server(*ACCEPTED),
    "says 421 to QUIT": lambda: scripted_server(*ACCEPTED, "421 closing"),
}

#: Servers that would never take it, and those that never answer.
REFUSING = [server for what, server in BAD.items() if "says 55" in what]
HANGING = [server for what, server in BAD.items() if "nothing" in what or "does not take" in what]

each_bad_server = each_row("server", BAD.values(), ids=BAD)


def patience(server: SMTPServer, is_hanging: bool, **more: Any) -> dict[str, Any]:
    """Little of it with a server that might hang."""
    timeout = timedelta(seconds=0.3 if is_hanging else TIMEOUT)
    return {"config": server.config(MAIL_SERVER="127.0.0.1", **more), "MAIL_TIMEOUT": timeout}


@pytest.fixture
def failures() -> Queue[str]:
    return Queue()


@contextmanager
def counting(site: Site, failures: Queue[str]) -> Iterator[None]:
    """Whose mails are announced to have failed."""

    def tell(app: Any, *, template: str, **_: Any) -> None:
        failures.put(template)

    with mail_failed.connected_to(tell, site.app):
        yield


@each_bad_server
def test_in_the_background_the_reply_stands_and_the_failure_is_told_once(
    server: Server, new_site: NewSite, failures: Queue[str]
) -> None:
    with server() as smtp:
        site = new_site(**patience(smtp, server in HANGING))
        with counting(site, failures), site.hears(user_registered) as heard:
            assert site.register("alice").status_code == 201
    assert (failures.get_nowait(), failures.qsize(), len(heard)) == ("register", 0, 1)
    site.app.extensions["mail"].suppress = True  # it works again
    site.outbox.clear()
    assert site.post("resend-verification", {"login": "alice"}).status_code == 200  # at once
    assert len(site.outbox) == 1
    assert site.verify().status_code == 200


@each_bad_server
def test_by_a_thread_it_is_so_too(
    server: Server, new_site: NewSite, sqlite_url: str, failures: Queue[str]
) -> None:
    with server() as smtp:
        site = new_site(sqlite_url, **patience(smtp, server in HANGING, TESTING=False))
        with counting(site, failures):
            assert site.register("alice").status_code == 201
            assert failures.get(timeout=TIMEOUT) == "register"
    assert failures.empty()


@each_bad_server
def test_inline_it_is_a_503_that_leaves_nothing_behind(
    server: Server, new_site: NewSite, failures: Queue[str]
) -> None:
    with server() as smtp:
        site = new_site(MAIL_DISPATCHER="inline", **patience(smtp, server in HANGING))
        with counting(site, failures), site.hears(user_registered) as heard:
            reply = site.register("alice")
    assert (reply.status_code, reply.get_json()["code"]) == (503, "mail-unavailable")
    assert int(reply.headers["Retry-After"]) > 0
    assert (failures.get_nowait(), failures.qsize(), heard, site.users()) == ("register", 0, [], [])


@each_bad_server
def test_with_an_outbox_the_reply_stands_and_the_mail_waits(
    server: Server, new_site: NewSite, failures: Queue[str]
) -> None:
    with server() as smtp:
        site = new_site(
            outbox_model=define_outbox,
            MAIL_DISPATCHER="outbox",
            **patience(smtp, server in HANGING),
        )
        with counting(site, failures):
            assert site.register("alice").status_code == 201
    (row,) = letters(site)
    assert (row.recipient, row.tries) == ("alice@example.com", 1)
    assert failures.qsize() == (1 if row.state == "dead" else 0)
    assert row.state == ("dead" if server in REFUSING else "waiting")


@each_row("server", TEDIOUS.values(), ids=TEDIOUS)
@each_row("dispatcher", ["background", "inline"])
def test_what_a_server_has_taken_it_has_taken(
    dispatcher: str, server: Server, new_site: NewSite, failures: Queue[str]
) -> None:
    with server() as smtp:
        config = smtp.config(MAIL_SERVER="127.0.0.1")
        site = new_site(
            MAIL_DISPATCHER=dispatcher, config=config, MAIL_TIMEOUT=timedelta(seconds=2)
        )
        with counting(site, failures):
            assert site.register("alice").status_code == 201
    assert failures.empty()
    assert site.verify().status_code == 200


def test_a_slow_server_is_waited_for_at_each_step(new_site: NewSite, failures: Queue[str]) -> None:
    def slowly(*_: Any) -> str:
        threading.Event().wait(0.15)
        return "250 OK"

    with smtp_server(answer=slowly) as smtp:
        site = new_site(
            config=smtp.config(MAIL_SERVER="127.0.0.1"), MAIL_TIMEOUT=timedelta(seconds=5)
        )
        with counting(site, failures):
            assert site.register("alice").status_code == 201
        assert len(smtp.deliveries) == 1
    assert failures.empty()


@each_row("dispatcher", ["background", "inline"])
def test_whatever_mails_is_answered_the_same_while_no_mail_leaves(
    dispatcher: str, new_site: NewSite, failures: Queue[str], clock: Clock
) -> None:
    with no_server() as smtp:
        site = new_site(MAIL_DISPATCHER=dispatcher, **patience(smtp, False))
        member(site)
        client = log_in(site)
        body = {
            "old_password": PASSWORD,
            "password": OTHER_PASSWORD,
            "password_confirm": OTHER_PASSWORD,
        }
        with counting(site, failures):
            asked = [
                site.post("send-reset-password-link", {"login": name})
                for name in ("alice", "nobody")
            ]
            moving = site.post("register-email", {"email": "new@example.com"}, client=client)
            changing = site.post("change-password", body, client=client)
    assert [reply.status_code for reply in asked] == [200, 200]
    assert asked[0].get_data() == asked[1].get_data()
    expected = 503 if dispatcher == "inline" else 200
    assert (moving.status_code, changing.status_code) == (expected, expected)
    assert has_password(site, OTHER_PASSWORD) is (dispatcher == "background")
    failed = ["reset_password", "email_change_requested", "register_email", "password_changed"]
    assert [failures.get_nowait() for _ in failed] == failed
    assert failures.empty()


# No mail inside a transaction


@each_row(
    ("dispatcher", "connections"),
    [("background", 0), ("outbox", 0), ("inline", 1)],
    ids=lambda value: str(value),
)
def test_while_a_server_is_talked_to_no_transaction_is_open_but_inline(
    dispatcher: str, connections: int, server_database: str, new_site: NewSite
) -> None:
    seen: list[int] = []
    kept: list[Any] = []

    def look(*_: Any) -> str:
        with site.app.app_context():
            seen.append(site.db.engine.pool.checkedout())  # type: ignore[attr-defined]  # a pool with a queue
        return "250 OK"

    def read(app: Any, *, user: Any, **_: Any) -> None:
        assert user.username  # read anew, after the commit
        kept.append(user)

    with smtp_server(answer=look) as smtp:
        outbox = {"outbox_model": define_outbox} if dispatcher == "outbox" else {}
        site = new_site(
            server_database,
            MAIL_DISPATCHER=dispatcher,
            MAIL_LIMITS=None,
            config=smtp.config(),
            **outbox,
        )
        with user_registered.connected_to(read, site.app):
            assert site.register("alice").status_code == 201
        assert kept[0].username == "alice"  # nobody took it away from whoever keeps it
        assert site.register("mallory", email="alice@example.com").status_code in (200, 201)
        member(site, "bob")
        assert site.post("send-reset-password-link", {"login": "bob"}).status_code == 200
        body = {
            "old_password": PASSWORD,
            "password": OTHER_PASSWORD,
            "password_confirm": OTHER_PASSWORD,
        }
        assert site.post("change-password", body, client=log_in(site, "bob")).status_code == 200
        recipients = [delivery.recipients for delivery in smtp.deliveries]
    assert recipients == [["alice@example.com"]] * 2 + [["bob@example.com"]] * 2
    assert seen == [connections] * 4
