"""The fixtures of the plugin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from ..auth.hashers import password_hash
from ..auth.passwords import PasswordSettings
from ..state import RegistrationState
from ..throttling.counters import MemoryCounters
from .accounts import Accounts, Clock, Outbox

#: argon2id with minimal parameters: fast, and not secure.
CHEAP_HASHER = Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)


def hash_of_tests(state: RegistrationState, hasher: Any) -> PasswordHash | None:
    """Return a fast hasher in place of the application's argon2id, or None to keep its own.

    A hasher of another algorithm stays, because the application may depend on it.
    """
    configured = state.group(PasswordSettings).password_hasher
    is_argon2 = configured in (None, Argon2Hasher) or type(configured) is Argon2Hasher
    return password_hash(hasher) if hasher is not None and is_argon2 else None


@pytest.fixture
# If pytest shows this line: define a fixture `app` that returns your application, or override this.
def registration_app(app: Flask) -> Flask:
    """Return the application under test: the fixture ``app``, unless you override this."""
    return app


@pytest.fixture
def registration_hasher() -> Any:
    """Return the hasher of tests. Override it with None to hash as in production."""
    return CHEAP_HASHER


@pytest.fixture
def registration_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stop the time, and return the clock; ``accounts.clock`` is the same."""
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
    """Return the accounts of the application under test.

    Until the end of the test, ``TESTING`` is on, e-mails go to the outbox only, passwords are
    hashed fast, and the gate lets every request pass. Rate limits start with empty counters, and
    the limits of e-mails are off.
    """
    app, state = registration_app, registration_app.extensions.get("registration")
    if not isinstance(state, RegistrationState):
        pytest.fail(
            "This application has no Registration. Call registration.init_app(app).", pytrace=False
        )
    monkeypatch.setitem(app.config, "TESTING", True)
    if mail := app.extensions.get("mail"):
        monkeypatch.setattr(mail, "suppress", True)
    monkeypatch.setattr(state.throttles.counters, "memory", MemoryCounters())
    for action in state.actions.values():
        if action.gate:
            monkeypatch.setattr(action, "gate", lambda request, **kwargs: None)
    for limited in (state.mailer.limits, state.mail_budget):
        monkeypatch.setattr(limited, "limits", [])
    if fast := hash_of_tests(state, registration_hasher):
        monkeypatch.setattr(state.passwords, "_hash", fast)
    with Outbox().recording(app) as outbox:
        yield Accounts(app, outbox, lambda: request.getfixturevalue("registration_clock"))
