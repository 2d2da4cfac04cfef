"""The fixtures of the plugin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from ..counters import Counters
from ..kit import Kit
from .accounts import Accounts
from .clock import Clock
from .hashing import CHEAP_HASHER, hash_of_tests
from .outbox import Outbox


@pytest.fixture
# Where pytest shows this: define a fixture `app` that returns your Flask application, or override this one.
def registration_app(app: Flask) -> Flask:
    """The application under test: the fixture ``app``, unless this is overridden."""
    return app


@pytest.fixture
def registration_hasher() -> Any:
    """What hashes passwords in place of the application's argon2id; override it with None to hash as in production."""
    return CHEAP_HASHER


@pytest.fixture
def registration_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time, which stands still; ``accounts.clock`` is this."""
    clock = Clock()
    monkeypatch.setattr("time.time", clock)
    return clock


@pytest.fixture
def accounts(
    request: pytest.FixtureRequest,
    registration_app: Flask,
    registration_hasher: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Accounts]:
    """The accounts of the application under test.

    Until the test ends, the application has ``TESTING`` on, its mail leaves for the outbox only, passwords are hashed
    so that it takes no time, and what throttles and the pause between two mails have counted is forgotten.
    """
    app, kit = registration_app, registration_app.extensions.get("registration")
    if not isinstance(kit, Kit):
        pytest.fail("This application has no Registration: call registration.init_app(app).", pytrace=False)
    monkeypatch.setitem(app.config, "TESTING", True)
    if mail := app.extensions.get("mail"):
        monkeypatch.setattr(mail, "suppress", True)
    monkeypatch.setattr(kit.throttles.store, "_memory", Counters())
    cheap = hash_of_tests(kit, registration_hasher)
    if cheap:
        monkeypatch.setattr(kit.passwords, "_hash", cheap)
    with Outbox().recording(app) as outbox:
        yield Accounts(app, outbox, lambda: request.getfixturevalue("registration_clock"))
