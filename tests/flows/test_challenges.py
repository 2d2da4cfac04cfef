"""Challenges and the accounts that they belong to."""

from __future__ import annotations

from typing import Any

import pytest
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column
from werkzeug.test import TestResponse

from flask_registration import DEFAULT_FLOWS, ChallengeMixin, ConfigurationError
from flask_registration.flows import codes

from ..people import account
from ..site import PASSWORD, Site
from ..test_links import define_user_without_stamp
from ..test_steps import INVALID, challenges, define_challenge
from .common import OTHER_PASSWORD, NewSite, log_in


@pytest.fixture
def make(new_site: NewSite) -> Any:
    """Make an application whose e-mails have codes."""

    def make(*args: Any, **settings: Any) -> Site:
        chosen: dict[str, Any] = {
            "flows": [*DEFAULT_FLOWS, codes.flow],
            "challenge_model": define_challenge,
            "VERIFICATION_METHOD": "code",
            "MAIL_LIMITS": None,
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
    return site.post(f"{endpoint}-code", body)


def test_a_code_ends_with_the_address_that_received_it(make: NewSite) -> None:
    """A model without a stamp has the same one after an e-mail change."""
    site = make(define=define_user_without_stamp)
    account(site)
    challenge = challenge_of(site.post("send-reset-password-link", {"login": "alice"}))
    code = site.outbox.latest_code()
    body = {"email": "new@example.com", "password": PASSWORD}
    change = challenge_of(site.post("register-email", body, client=log_in(site)))
    assert send(site, "verify-email", change).status_code == 200
    assert (
        send(site, "reset-password", challenge, code, password=OTHER_PASSWORD).get_json() == INVALID
    )


def define_challenge_with_foreign_key(db: SQLAlchemy) -> type[Any]:
    """Challenges that the database ties to their users."""

    class Challenge(ChallengeMixin, db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
        __tablename__ = "challenges"
        user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"), index=True)

    return Challenge


@pytest.mark.databases
def test_challenges_with_a_foreign_key_keep_no_account(database: str, make: NewSite) -> None:
    site = make(database, challenge_model=define_challenge_with_foreign_key)
    challenge_of(site.register("first", email="alice@example.com"))
    challenge = challenge_of(site.register("second", email="alice@example.com"))
    assert send(site, "verify-registration", challenge).status_code == 200
    assert [user.username for user in site.users()] == ["second"]
    client = log_in(site, "second")
    challenge_of(site.post("send-reset-password-link", {"login": "second"}))
    reply = client.delete("/accounts/profile/", json={"password": PASSWORD})
    assert reply.status_code == 204
    kept = [each.purpose for each in challenges(site) if each.user_id is not None]
    assert kept == [], "others count the codes of a day, and name no account"


def test_a_challenge_may_have_no_account(make: NewSite) -> None:
    def define(db: SQLAlchemy) -> type[Any]:
        class Challenge(ChallengeMixin, db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
            __tablename__ = "challenges"
            user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)

        return Challenge

    with pytest.raises(ConfigurationError) as caught:
        make(challenge_model=define)
    assert [each.setting for each in caught.value.problems] == ["Challenge.user_id"]
