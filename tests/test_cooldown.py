"""How often an address may be written to."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask

from flask_registration.mail.limits import Cooldown
from flask_registration.throttling.counters import Counters

from .conftest import Clock
from .tables import each_row


def cooldown_of(period: timedelta) -> Cooldown:
    """A cooldown in the memory of the process."""
    return Cooldown(Counters(Flask("tests.site")), period)


@each_row(
    ("seconds", "admitted"),
    [
        pytest.param(0, False, id="at once"),
        pytest.param(59.9, False, id="just before the time is over"),
        pytest.param(60, True, id="when the time is over"),
        pytest.param(-1, True, id="when the clock was set back"),
    ],
)
def test_an_address_is_admitted_again(clock: Clock, seconds: float, admitted: bool) -> None:
    cooldown = cooldown_of(timedelta(minutes=1))
    assert cooldown.admit("a@example.com")
    clock.advance(seconds)
    assert cooldown.admit("a@example.com") is admitted
    assert cooldown.admit("b@example.com")


def test_a_refusal_does_not_make_it_longer(clock: Clock) -> None:
    cooldown = cooldown_of(timedelta(minutes=1))
    assert cooldown.admit("a@example.com")
    clock.advance(59)
    assert not cooldown.admit("a@example.com")
    clock.advance(1)
    assert cooldown.admit("a@example.com")


def test_an_address_that_is_forgotten_is_admitted_at_once(clock: Clock) -> None:
    cooldown = cooldown_of(timedelta(minutes=1))
    cooldown.forget("a@example.com")
    for address in ("a@example.com", "b@example.com"):
        assert cooldown.admit(address)
    cooldown.forget("a@example.com")
    assert cooldown.admit("a@example.com")
    assert not cooldown.admit("b@example.com")


def test_what_is_no_text_is_an_address_like_any_other(clock: Clock) -> None:
    cooldown = cooldown_of(timedelta(minutes=1))
    for address in ("\ud800@example.com", "\udfff@example.com"):
        assert cooldown.admit(address)
        assert not cooldown.admit(address)
