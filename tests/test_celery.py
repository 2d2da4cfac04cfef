"""Mail by the application's Celery, with real brokers and a real worker that is killed."""

from __future__ import annotations

import json
import os
import re
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
from .flows.common import OTHER_PASSWORD
from .outboxes import LIVE
from .site import PASSWORD, Site, html_of
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


def worker(broker: dict[str, Any], server: SMTPServer, database: str) -> subprocess.Popen[bytes]:
    """A Celery worker with one process, in a process group of its own."""
    config = live(server)
    described = {
        "celery": broker,
        "database": database,
        "config": config,
        "MAIL_RETRY_DELAY": 0.1,
    }
    command = [
        "-m",
        "celery",
        "--app",
        "tests.celery_worker",
        "worker",
        "--concurrency",
        "1",
        "--loglevel",
        "DEBUG",
    ]
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


def test_a_worker_tries_again_and_one_that_is_killed_loses_no_mail(
    new_site: NewSite, sqlite_url: str, broker: dict[str, Any]
) -> None:
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
        site = new_site(sqlite_url, config=live(server), **by_celery(**broker))
        workers = [worker(broker, server, sqlite_url)]
        try:
            assert site.register("alice").status_code == 201
            message_id = arrived.get(timeout=TIMEOUT)
            said = end(workers.pop(), signal.SIGKILL)
            go.set()
            if broker["broker_transport_options"]:
                time.sleep(
                    1
                )  # on Redis, a worker looks for what others left when it starts, and rarely after that  # noqa: E501
            workers.append(worker(broker, server, sqlite_url))
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


def test_a_mail_is_the_task_of_a_thread_after_the_commit(
    new_site: NewSite, sqlite_url: str
) -> None:
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


def test_a_mail_is_given_up_after_so_many_tries_and_that_is_announced_once(
    new_site: NewSite,
) -> None:
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


# What the broker keeps


@contextmanager
def published(site: Site) -> Iterator[Callable[[], Any]]:
    """Yield a function that returns the next message in the queue of an application."""
    celery = site.app.extensions["celery"]
    with celery.connection_for_read() as connection:
        queue = connection.SimpleQueue(celery.conf.task_default_queue)
        yield lambda: queue.get(timeout=TIMEOUT)


def run_task(site: Site, message: Any) -> None:
    """Run a published task as a worker does: without a request."""
    (packed,), arguments, _ = json.loads(message.body)
    task = site.app.extensions["celery"].tasks["flask_registration.send_mail"]
    task.apply((packed,), arguments, throw=True)


def in_memory() -> dict[str, Any]:
    """Return the options of an application whose queue is in this process."""
    queue = str(uuid.uuid4())
    return by_celery(broker_url="memory://", task_default_queue=queue)


def assert_no_link(message: Any) -> None:
    """Check that a published message has no part of a link, and its headers have no e-mail."""
    body = bytes(message.body).decode()
    assert not re.search(r"https?:|signature|timestamp|/accounts/|verification_url", body), body
    assert (message.headers["argsrepr"], message.headers["kwargsrepr"]) == ("('an e-mail',)", "{}")
    assert "@example.com" not in str(message.headers)


def test_no_link_is_in_the_broker_and_the_one_that_is_sent_is_valid(new_site: NewSite) -> None:
    site = new_site(**in_memory())
    with published(site) as next_message:
        site.register("alice")
        message = next_message()
        assert_no_link(message)
        assert site.outbox == []
        run_task(site, message)
        verification = site.link()
        assert verification["signature"] not in str(message.body)
        assert site.verify(verification).status_code == 200
        site.post("send-reset-password-link", {"login": "alice"})
        message = next_message()
        assert_no_link(message)
        run_task(site, message)
        reset = site.link()
        assert site.post("reset-password", {**reset, "password": OTHER_PASSWORD}).status_code == 200


@each_row("name", ["alice", "unknown"], ids=["the limit", "an unknown account"])
def test_an_e_mail_that_is_dropped_is_not_published(name: str, new_site: NewSite) -> None:
    """A thread publishes after the response, so its time does not reveal the account."""
    site = new_site(**in_memory())
    with published(site) as next_message:
        site.register("alice")
        assert site.post("resend-verification", {"login": name}).status_code == 200
        site.register("bob")
        recipients = [json.loads(next_message().body)[0][0]["to"] for _ in range(2)]
    assert recipients == ["alice@example.com", "bob@example.com"]


def test_the_e_mail_of_a_deleted_user_is_dropped(
    new_site: NewSite, caplog: pytest.LogCaptureFixture
) -> None:
    site = new_site(**in_memory())
    with published(site) as next_message, site.hears(mail_failed) as heard:
        site.register("alice")
        with site.app.app_context():
            site.db.session.delete(site.db.session.get(site.User, site.user(username="alice").id))
            site.db.session.commit()
        caplog.clear()
        run_task(site, next_message())
    assert (site.outbox, heard) == ([], [])
    assert "could not be sent" not in caplog.text


def test_an_e_mail_is_in_the_language_of_the_request_that_caused_it(new_site: NewSite) -> None:
    site = new_site(**in_memory())
    body = {"username": "alice", "email": "alice@example.com", "password": PASSWORD}
    with published(site) as next_message:
        site.post(
            "register",
            {**body, "password_confirm": PASSWORD},
            headers={"Accept-Language": "de"},
        )
        run_task(site, next_message())
    assert '<html lang="de">' in html_of(site.read())


def test_a_mail_that_an_application_sends_by_itself_is_not_handed_on(new_site: NewSite) -> None:
    sent: list[str] = []

    def by_pigeon(request: Any, user: Any, **_: Any) -> None:
        sent.append(threading.current_thread().name)

    site = new_site(REGISTER_VERIFICATION_EMAIL_SENDER=by_pigeon, config=LIVE, **EAGER)
    site.register("alice")
    assert (sent, site.outbox) == ([threading.current_thread().name], [])


# What must be so at start-up


def test_celery_without_an_application_of_celery_s_is_refused(new_site: NewSite) -> None:
    refused = r'(?s)REGISTRATION_MAIL_DISPATCHER is "celery".*Set app\.extensions'
    with pytest.raises(ConfigurationError, match=refused):
        new_site(MAIL_DISPATCHER="celery")


def test_celery_that_is_not_installed_is_refused(
    new_site: NewSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "celery", None)
    with pytest.raises(ConfigurationError, match=r"pip install .Flask-Registration\[celery\]"):
        new_site(MAIL_DISPATCHER="celery")
