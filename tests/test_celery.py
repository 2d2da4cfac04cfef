"""Mail by the application's Celery, with real brokers and a real worker that is killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from flask_mail import Message, email_dispatched
from kombu.connection import Connection

from flask_registration import ConfigurationError, mail_failed

from .celery_worker import by_celery
from .outboxes import LIVE
from .site import Site
from .smtp import SMTPServer, free_port, smtp_server
from .tables import each_row
from .test_dispatch import departures

ROOT = Path(__file__).resolve().parent.parent
BROKERS = {
    "rabbitmq": os.environ.get("TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//"),
    "redis": os.environ.get("TEST_REDIS_BROKER_URL", "redis://127.0.0.1:6379/9"),
}
NewSite = Callable[..., Site]
TIMEOUT = 60


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """Celery's configuration with each broker that runs here, and a queue of its own."""
    url = BROKERS[request.param]
    where = urlsplit(url)
    try:
        socket.create_connection((str(where.hostname), int(where.port or 0)), 5).close()
    except OSError as error:
        pytest.skip(f"no {request.param} here ({url}): {error}")
    queue = f"flask-registration-{uuid.uuid4()}"
    options = {"visibility_timeout": 1} if request.param == "redis" else {}
    yield {
        "broker_url": url,
        "task_default_queue": queue,
        "broker_transport_options": {**options, "global_keyprefix": f"{queue}:"} if options else {},
    }
    with Connection(url) as connection:  # type: ignore[no-untyped-call]
        connection.default_channel.queue_delete(queue)
    if options:
        with redis.Redis.from_url(url) as store:
            for key in store.scan_iter(f"{queue}:*"):
                store.delete(key)


def live(server: SMTPServer) -> dict[str, Any]:
    """What makes an application send by a worker, to this server."""
    return server.config(TESTING=False)


def worker(broker: dict[str, Any], server: SMTPServer) -> subprocess.Popen[bytes]:
    """A Celery worker with one process, in a process group of its own."""
    described = {"celery": broker, "config": live(server), "MAIL_RETRY_DELAY": 0.1}
    command = ["-m", "celery", "--app", "tests.celery_worker", "worker", "--concurrency", "1", "--loglevel", "DEBUG"]
    return subprocess.Popen(
        [sys.executable, *command, "--without-gossip", "--without-mingle", "--without-heartbeat"],
        cwd=ROOT,
        env={**os.environ, "TEST_SITE": json.dumps(described)},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def end(running: subprocess.Popen[bytes], number: signal.Signals) -> str:
    """Send a signal to a worker and all its processes; what it said."""
    os.killpg(running.pid, number)
    said, _ = running.communicate(timeout=TIMEOUT)
    return said.decode()


def test_a_worker_tries_again_and_one_that_is_killed_loses_no_mail(new_site: NewSite, broker: dict[str, Any]) -> None:
    arrived: Queue[str] = Queue()
    go = threading.Event()
    answers = iter(["451 whom do I tell?", "451 later", "250 OK"])

    def answer(delivery: Any) -> str:
        said = next(answers)
        arrived.put(delivery.mail["Message-ID"])
        if not go.is_set():
            assert go.wait(TIMEOUT)
        return said

    with smtp_server(answer=answer) as server:
        site = new_site(config=live(server), **by_celery(**broker))
        workers = [worker(broker, server)]
        try:
            assert site.register("alice").status_code == 201
            message_id = arrived.get(timeout=TIMEOUT)
            said = end(workers.pop(), signal.SIGKILL)
            go.set()
            if broker["broker_transport_options"]:
                time.sleep(1)  # on Redis, a worker looks for what others left when it starts, and rarely after that
            workers.append(worker(broker, server))
            assert [arrived.get(timeout=TIMEOUT) for _ in range(2)] == [message_id] * 2
            said += end(workers.pop(), signal.SIGTERM)
        finally:
            go.set()
            for each in workers:
                print(end(each, signal.SIGKILL))
        (delivery,) = server.deliveries
    assert (delivery.recipients, delivery.mail["Message-ID"]) == (["alice@example.com"], message_id)
    assert "flask_registration.send_mail" in said
    assert "An e-mail (register) could not be sent at try 1; the next try is in" in said
    for secret in ("alice@example.com", "signature"):
        assert secret not in said


# Within one process

EAGER = by_celery(task_always_eager=True)


def test_a_mail_is_the_task_of_a_thread_after_the_commit(new_site: NewSite, sqlite_url: str) -> None:
    site = new_site(sqlite_url, config=LIVE, **EAGER)
    with departures(site) as queue:
        assert site.register("alice").status_code == 201
        thread, in_request, to = queue.get(timeout=TIMEOUT)
    assert thread.startswith("registration-mail")
    assert (in_request, to) == (False, "alice@example.com")


def test_with_testing_the_task_is_handed_over_within_the_request(new_site: NewSite) -> None:
    site = new_site(**EAGER)
    site.register("alice")
    assert site.verify().status_code == 200


@contextmanager
def failing(site: Site, times: int) -> Iterator[list[Message]]:
    """Within the block so many mails cannot be sent; yields those that were tried."""
    tried: list[Message] = []

    def fail(app: Any, message: Message, **_: Any) -> None:
        tried.append(message)
        if len(tried) <= times:
            raise OSError("the mail server's own trouble")

    with email_dispatched.connected_to(fail, site.app):
        yield tried


def test_a_mail_that_fails_is_tried_again_and_nobody_is_told(
    new_site: NewSite, caplog: pytest.LogCaptureFixture
) -> None:
    site = new_site(**EAGER)
    with failing(site, 2) as tried, site.hears(mail_failed) as heard:
        assert site.register("alice").status_code == 201
    assert heard == []
    assert caplog.text.count("; the next try is in ") == 2
    assert len(tried) == 3
    assert len({message.msgId for message in tried}) == 1
    assert site.verify().status_code == 200


def test_a_mail_is_given_up_after_so_many_tries_and_that_is_announced_once(new_site: NewSite) -> None:
    site = new_site(MAIL_TRIES=3, **EAGER)
    with failing(site, 10) as tried, site.hears(mail_failed) as heard:
        assert site.register("alice").status_code == 201
    assert len(tried) == 3
    assert [(each["user"].username, each["template"], str(each["error"])) for each in heard] == [
        ("alice", "register", "the mail server's own trouble")
    ]


def test_a_mail_is_given_up_at_once_where_the_server_refuses_for_good(new_site: NewSite) -> None:
    with smtp_server(refusal="550 nobody here") as server:
        site = new_site(config=server.config(), **EAGER)
        with site.hears(mail_failed) as heard:
            assert site.register("alice").status_code == 201
    assert [each["template"] for each in heard] == ["register"]


@each_row("testing", [True, False], ids=["within the request", "by a thread"])
@each_row("kind", ["amqp", "redis"])
def test_a_broker_that_is_down_is_a_mail_that_failed_and_the_reply_stands(
    new_site: NewSite, sqlite_url: str, kind: str, testing: bool, caplog: pytest.LogCaptureFixture
) -> None:
    down = by_celery(broker_url=f"{kind}://127.0.0.1:{free_port()}/0")
    site = new_site(sqlite_url, config={**LIVE, "TESTING": testing}, **down)
    told: Queue[tuple[str, str]] = Queue()

    def tell(app: Any, *, user: Any, template: str, **_: Any) -> None:
        told.put((user.username, template))

    with mail_failed.connected_to(tell, site.app):
        assert site.register("alice").status_code == 201
        assert told.get(timeout=TIMEOUT) == ("alice", "register")
    assert "An e-mail (register) could not be sent." in caplog.text
    assert site.users()[0].username == "alice"


def test_what_monitors_show_of_a_task_is_no_mail(new_site: NewSite) -> None:
    queue = str(uuid.uuid4())
    site = new_site(**by_celery(broker_url="memory://", task_default_queue=queue))
    site.register("alice")
    with site.app.extensions["celery"].connection_for_read() as connection:
        message = connection.SimpleQueue(queue).get(timeout=TIMEOUT)
    assert b"signature" in bytes(message.body)
    assert (message.headers["argsrepr"], message.headers["kwargsrepr"]) == ("('an e-mail',)", "{}")
    assert "alice@example.com" not in str(message.headers)


def test_a_mail_that_an_application_sends_by_itself_is_not_handed_on(new_site: NewSite) -> None:
    sent: list[str] = []

    def by_pigeon(request: Any, user: Any, **_: Any) -> None:
        sent.append(threading.current_thread().name)

    site = new_site(REGISTER_VERIFICATION_EMAIL_SENDER=by_pigeon, config=LIVE, **EAGER)
    site.register("alice")
    assert (sent, site.outbox) == ([threading.current_thread().name], [])


# What must be so at start-up


def test_celery_without_an_application_of_celery_s_is_refused(new_site: NewSite) -> None:
    with pytest.raises(ConfigurationError, match=r'REGISTRATION_MAIL_DISPATCHER: is "celery".*Set app\.extensions'):
        new_site(MAIL_DISPATCHER="celery")


def test_celery_that_is_not_installed_is_refused(new_site: NewSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "celery", None)
    with pytest.raises(ConfigurationError, match=r"pip install .Flask-Registration\[celery\]"):
        new_site(MAIL_DISPATCHER="celery")
