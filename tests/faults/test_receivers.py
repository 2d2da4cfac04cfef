"""Receivers of signals that raise, whatever is announced: what was committed stands, and so does
the reply."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from sqlalchemy import text

from ..flows.common import NewSite
from ..site import Site
from ..tables import each_row
from .requests import REQUESTS, SETTINGS, SIGNALS, effects, prepare


def object_to(sender: Any, **_: Any) -> None:
    raise RuntimeError("the receiver's own trouble")


async def object_later(sender: Any, **_: Any) -> None:
    raise RuntimeError("the receiver's own trouble")


def spoil_the_session(sender: Any, **_: Any) -> None:
    sender.extensions["sqlalchemy"].session.execute(text("SELECT nothing FROM nowhere"))


def leave_work_undone(sender: Any, *, user: Any, **_: Any) -> None:
    session = sender.extensions["sqlalchemy"].session
    if user is not None and user in session:
        user.first_name = "Nobody"
        session.flush()
    raise RuntimeError("the receiver's own trouble")


@contextmanager
def receiving(site: Site, receiver: Callable[..., Any]) -> Iterator[None]:
    """Within the block every signal has this receiver."""
    with ExitStack() as stack:
        for signal in SIGNALS:
            stack.enter_context(signal.connected_to(receiver, site.app))
        yield


@each_row("receiver", [object_to, object_later, spoil_the_session, leave_work_undone])
def test_whatever_a_receiver_does_reply_rows_and_mails_are_the_same(
    receiver: Any, sqlite_url: str, new_site: NewSite, caplog: pytest.LogCaptureFixture
) -> None:
    site = new_site(sqlite_url, **SETTINGS)
    for number, what in enumerate(REQUESTS):
        request = prepare(site, what, f"usual{number}")
        with effects(site) as watched:
            usual, _ = request.ask()
        expected = usual.status_code, watched.seen()
        request = prepare(site, what, f"other{number}")
        caplog.clear()
        with effects(site) as watched, receiving(site, receiver):
            reply, _ = request.ask()
        assert (reply.status_code, watched.seen()) == expected, what
        told = [each for each in caplog.records if each.getMessage().endswith(" raised.")]
        assert len(told) == len(watched.signals)


@each_row("receiver", [spoil_the_session, leave_work_undone])
def test_on_a_server_the_mail_leaves_after_a_receiver_that_spoilt_its_transaction(
    receiver: Any, server_database: str, new_site: NewSite
) -> None:
    site = new_site(server_database)
    with receiving(site, receiver):
        assert site.register("alice").status_code == 201
    assert len(site.outbox) == 1
    with receiving(site, receiver):
        assert site.verify().status_code == 200
    user = site.user(username="alice")
    assert (user.is_verified, user.first_name) == (True, "")
