"""Codes in e-mails: for a registration, a reset and an e-mail change."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.test import TestResponse

from flask_registration import DEFAULT_FLOWS
from flask_registration.flows import codes

from ..people import account
from ..site import PASSWORD, Site
from ..test_steps import INVALID, WRONG, define_challenge
from .common import NewSite, log_in

NEW = "a whole new set of words 42"


@pytest.fixture
def make(new_site: NewSite) -> Any:
    """Make an application whose e-mails have codes."""

    def make(*args: Any, **settings: Any) -> Site:
        chosen: dict[str, Any] = {
            "flows": [*DEFAULT_FLOWS, codes.flow],
            "challenge_model": define_challenge,
            "VERIFICATION_METHOD": "code",
            "MAIL_COOLDOWN": 0,
        }
        return new_site(*args, **{**chosen, **settings})

    return make


def challenge_of(reply: TestResponse) -> str:
    assert reply.status_code in (200, 201), reply.get_json()
    challenge = reply.get_json()["challenge"]
    assert isinstance(challenge, str)
    return challenge


def send(site: Site, endpoint: str, challenge: str, code: Any = None, **body: Any) -> TestResponse:
    """Send a code, that of the latest e-mail unless given."""
    body = {"challenge": challenge, "code": code or site.outbox.latest_code(), **body}
    return site.post(f"{endpoint}-code", body, client=body.pop("client", None))


@pytest.mark.databases
def test_a_registration_is_verified_with_a_code(database: str, make: NewSite) -> None:
    site = make(database)
    challenge = challenge_of(site.register())
    assert send(site, "verify-registration", challenge, "wrong").get_json() == WRONG
    reply = send(site, "verify-registration", challenge)
    assert (reply.status_code, reply.get_json()) == (200, {"detail": "User verified successfully"})
    assert site.user().is_verified
    assert send(site, "verify-registration", challenge).get_json() == INVALID


@pytest.mark.databases
def test_a_password_is_reset_with_a_code(database: str, make: NewSite) -> None:
    site = make(database)
    account(site)
    challenge = challenge_of(site.post("send-reset-password-link", {"login": "alice"}))
    assert send(site, "reset-password", challenge, "wrong", password=NEW).get_json() == WRONG
    assert send(site, "reset-password", challenge, password=NEW).status_code == 200
    log_in(site, password=NEW)


@pytest.mark.databases
def test_an_email_address_is_changed_with_a_code(database: str, make: NewSite) -> None:
    site = make(database)
    account(site)
    client = log_in(site)
    body = {"email": "new@example.com", "password": PASSWORD}
    challenge = challenge_of(site.post("register-email", body, client=client))
    assert send(site, "verify-email", challenge, "wrong").get_json() == WRONG
    assert send(site, "verify-email", challenge).status_code == 200
    assert site.user().email == "new@example.com"
