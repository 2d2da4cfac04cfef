"""How often an address may be written to."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask

from flask_registration.mail.limits import NOTICE, Cooldown
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
    assert cooldown.admit("a@example.com", "link")
    clock.advance(seconds)
    assert cooldown.admit("a@example.com", "link") is admitted
    assert cooldown.admit("b@example.com", "link")


def test_a_refusal_does_not_make_it_longer(clock: Clock) -> None:
    cooldown = cooldown_of(timedelta(minutes=1))
    assert cooldown.admit("a@example.com", "link")
    clock.advance(59)
    assert not cooldown.admit("a@example.com", "link")
    clock.advance(1)
    assert cooldown.admit("a@example.com", "link")


def test_an_address_that_is_forgotten_is_admitted_at_once(clock: Clock) -> None:
    cooldown = cooldown_of(timedelta(minutes=1))
    cooldown.forget("a@example.com", "link")
    for address in ("a@example.com", "b@example.com"):
        assert cooldown.admit(address, "link")
    cooldown.forget("a@example.com", "link")
    assert cooldown.admit("a@example.com", "link")
    assert not cooldown.admit("b@example.com", "link")


def test_what_is_no_text_is_an_address_like_any_other(clock: Clock) -> None:
    cooldown = cooldown_of(timedelta(minutes=1))
    for address in ("\ud800@example.com", "\udfff@example.com"):
        assert cooldown.admit(address, "link")
        assert not cooldown.admit(address, "link")


def test_each_kind_of_e_mail_counts_by_itself(clock: Clock) -> None:
    cooldown = cooldown_of(timedelta(minutes=1))
    for kind in ("register", "reset_password", NOTICE):
        assert cooldown.admit("a@example.com", kind)
        assert not cooldown.admit("a@example.com", kind)
    cooldown.forget("a@example.com", "register")
    admitted = [cooldown.admit("a@example.com", kind) for kind in ("register", "reset_password")]
    assert admitted == [True, False]


@each_row(("period", "pause"), [(60, 24 * 3600), (48 * 3600, 48 * 3600)])
def test_a_notice_is_sent_once_a_day_at_most(clock: Clock, period: int, pause: int) -> None:
    cooldown = cooldown_of(timedelta(seconds=period))
    assert cooldown.admit("a@example.com", NOTICE)
    clock.advance(pause - 1)
    assert not cooldown.admit("a@example.com", NOTICE)
    clock.advance(1)
    assert cooldown.admit("a@example.com", NOTICE)


def test_without_a_pause_every_notice_is_sent(clock: Clock) -> None:
    cooldown = cooldown_of(timedelta(0))
    assert [cooldown.admit("a@example.com", NOTICE) for _ in range(3)] == [True] * 3
