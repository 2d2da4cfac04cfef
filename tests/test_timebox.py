"""A request for an e-mail takes a minimum time, so that its time does not reveal an account."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from flask_registration import DEFAULT_FLOWS
from flask_registration.flows import mail_login, sign_up
from flask_registration.http import flow

from .flows.common import log_in, member
from .site import Site
from .test_configuration import problems
from .test_mail_limits import define_challenge
from .test_throttles import NewSite

ALICE = "alice@example.com"
NAME = "REGISTRATION_MAIL_REQUEST_TIMEBOX"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the seconds that requests have waited, of which none passes; work takes 10 ms."""
    found: list[float] = []
    clock = count(1000)
    monkeypatch.setattr(flow, "sleep", lambda seconds: found.append(round(seconds * 1000)))
    monkeypatch.setattr(flow, "perf_counter", lambda: next(clock) / 100)
    return found


@pytest.fixture
def make(new_site: NewSite) -> NewSite:
    def make(**settings: Any) -> Site:
        flows = [*DEFAULT_FLOWS, sign_up.flow, mail_login.flow]
        return new_site(flows=flows, MAIL_LIMITS=None, challenge_model=define_challenge, **settings)

    return make


@pytest.mark.parametrize(
    "endpoint", ["send-reset-password-link", "send-login-link", "resend-verification", "sign-up"]
)
def test_a_request_for_an_email_waits_for_known_and_unknown_accounts(
    make: NewSite, waits: list[float], endpoint: str
) -> None:
    site = make(MAIL_REQUEST_TIMEBOX=timedelta(milliseconds=25))
    member(site)
    site.register("bob")
    waits.clear()
    for email in (ALICE, "bob@example.com", "nobody@example.com"):
        assert site.post(endpoint, {"email": email}).status_code == 200
    assert waits == [15, 15, 15]


def test_it_never_waits_a_negative_time(make: NewSite, waits: list[float]) -> None:
    site = make(MAIL_REQUEST_TIMEBOX=timedelta(milliseconds=3))
    site.post("sign-up", {"email": ALICE})
    assert waits == [0]


def test_what_hashes_a_password_or_causes_no_email_does_not_wait(
    make: NewSite, waits: list[float]
) -> None:
    site = make(MAIL_REQUEST_TIMEBOX=timedelta(seconds=1))
    site.register("bob")
    member(site)
    log_in(site)
    site.verify({"user_id": "1", "timestamp": "1", "signature": "forged"})
    assert {*waits} <= {0}


def test_bad_input_does_not_wait(make: NewSite, waits: list[float]) -> None:
    site = make(MAIL_REQUEST_TIMEBOX=timedelta(seconds=1))
    assert site.post("send-reset-password-link", {}).status_code == 400
    assert waits == []


def test_by_default_it_waits_but_not_in_tests(make: NewSite, waits: list[float]) -> None:
    for testing, waited in ((True, 0), (False, 15)):
        site = make(config={"TESTING": testing})
        waits.clear()
        site.post("sign-up", {"email": ALICE})
        assert waits == [waited]


@pytest.mark.parametrize("value", [timedelta(seconds=2), -1, "soon"])
def test_what_is_no_such_time_is_an_error(value: Any) -> None:
    assert problems({NAME: value}).keys() == {NAME}
