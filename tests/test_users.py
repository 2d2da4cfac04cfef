"""What names a user: security stamps and addresses, in the form in which they are kept."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from email_validator import EmailNotValidError, validate_email
from marshmallow import ValidationError

from .conftest import Clock
from .flows.journeys import OTHER_PASSWORD, ask_reset, log_in, move
from .site import PASSWORD, Site
from .tables import each_row

STAMP = "[0-9a-f]{32}"


class Stamps:
    """Looks at alice's stamp after each step."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.seen: list[str] = []

    def look(self) -> str:
        stamp: str = self._site.users()[0].security_stamp
        assert re.fullmatch(STAMP, stamp)
        assert stamp not in self.seen
        self.seen.append(stamp)
        return stamp


@each_row("own", [None, "an application's own stamp", "A" * 32, "a" * 31])
def test_every_step_makes_another_stamp_of_32_small_hexadecimal_digits(
    site: Site, clock: Clock, own: str | None
) -> None:
    stamps = Stamps(site)
    site.register("alice")
    stamps.look()
    if own:
        site.change(site.users()[0], security_stamp=own)
        clock.advance(60)
        site.post("resend-verification", {"login": "alice"})
    assert site.verify().status_code == 200
    stamps.look()
    client = log_in(site)
    passwords = {"old_password": PASSWORD, "password": OTHER_PASSWORD, "password_confirm": OTHER_PASSWORD}
    assert site.post("change-password", passwords, client=client).status_code == 200
    stamps.look()
    assert site.post("logout", {"everywhere": True}, client=client).status_code == 200
    stamps.look()
    undo = move(site, log_in(site, password=OTHER_PASSWORD), "second@example.com")
    moved = stamps.look()
    assert int(moved[:8], 16) == int(clock())
    move(site, log_in(site, password=OTHER_PASSWORD), "third@example.com")
    assert stamps.look()[:16] == moved[:16]
    assert site.post("undo-email-change", undo).status_code == 200
    stamps.look()
    assert site.post("reset-password", {**ask_reset(site), "password": PASSWORD}).status_code == 200
    stamps.look()


def test_the_stamp_of_an_account_that_never_moved_says_so(site: Site) -> None:
    for name in ("alice", "bob", "carol"):
        site.register(name)
        assert site.user(username=name).security_stamp.startswith("f")


def test_an_address_has_254_characters_at_the_most(site: Site) -> None:
    address = f"{'a' * 64}@{'b' * 63}.{'c' * 63}.{'d' * 57}.com"
    assert len(address) == 254
    assert site.register("alice", email=address).status_code == 201
    with site.app.app_context(), pytest.raises(ValidationError) as caught:
        site.registration.create_user(username="bob", email=address.replace("d.", "dd."), password=PASSWORD)
    assert caught.value.messages == {"email": ["An e-mail address has at most 254 characters."]}


@each_row("address", ["alice", "alice@example", "alice@@example.com", "ålice@example.com"])
def test_what_is_no_address_is_told_in_the_validator_s_words(address: str, site: Site) -> None:
    with pytest.raises(EmailNotValidError) as caught:
        validate_email(address, check_deliverability=False, allow_smtputf8=False)
    assert site.register(email=address).get_json() == {"email": [str(caught.value)]}


def test_no_name_server_is_asked_about_an_address(
    new_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("asked")

    monkeypatch.setattr("email_validator.deliverability.validate_email_deliverability", never)
    site = new_site(config={"TESTING": False})
    with site.app.app_context():
        site.registration.create_user(username="alice", email="alice@example.com", password=PASSWORD)
        site.db.session.commit()
    assert site.users()[0].email == "alice@example.com"
