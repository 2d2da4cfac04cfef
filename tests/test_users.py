"""What names a user: security stamps and addresses, in the form in which they are kept."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from email_validator import EmailNotValidError, validate_email
from marshmallow import ValidationError

from flask_registration.users.stamps import (
    KEPT,
    SecurityStamp,
    changed_email_within,
    new_stamp,
    next_stamp,
    stamp_after_email_change,
)

from .conftest import Clock
from .flows.common import OTHER_PASSWORD, NewSite, ask_reset, log_in, member, move
from .site import PASSWORD, Site
from .tables import each_row

#: 132 random bits, and the time of an e-mail change that can be undone.
STAMP = "[A-Za-z0-9_-]{22}"
MOVED = "~[0-9a-f]{8}"

#: What applications may keep in the column; None leaves ours.
OWN = {
    "ours": None,
    "text": "an application's own stamp",
    "token_hex(16)": "6f0f27b1d26a4bd0b4f0a1f5d6c2e9a8",
    "the hex of a UUID": "7c9e6679f3a84f7e8d7a1f0e0c7d3b42",
    "a UUID": "7c9e6679-f3a8-4f7e-8d7a-1f0e0c7d"[:32],
    "token_urlsafe(16)": "kq3Zt0Vb6xWcE1n9uYh-_A",
    "token_urlsafe(22)": "kq3Zt0Vb6xWcE1n9uYh-_AhT5sQx2m",
    "a time in hexadecimal digits in front": "6552a1c0" + "f" * 24,
    "digits only": "9" * 32,
    "with a tilde": "x~y",
    "a time, and no token": "~6552a1c0",
    "a token that is too short": "kq3Zt0Vb6xWcE1n9uYh-_~6552a1c0",
    "a token that is too long": "kq3Zt0Vb6xWcE1n9uYh-_Ax~6552a1c0",
    "a time that is none": "kq3Zt0Vb6xWcE1n9uYh-_A~whenever",
    "a time in capital letters": "kq3Zt0Vb6xWcE1n9uYh-_A~6552A1C0",
    "a time that is too short": "kq3Zt0Vb6xWcE1n9uYh-_A~6552a1c",
    "a line end": "kq3Zt0Vb6xWcE1n9uYh-_A~6552a1c0\n",
    "another script": "kq3Zt0Vb6xWcE1n9uYh-_A~6552a1c٠",
}

each_own_stamp = each_row("own", list(OWN.values()), ids=list(OWN))


class Stamps:
    """Looks at alice's stamp after each step."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.seen: list[str] = []

    def look(self, pattern: str = STAMP) -> str:
        stamp: str = self._site.users()[0].security_stamp
        assert re.fullmatch(pattern, stamp)
        assert stamp not in self.seen
        self.seen.append(stamp)
        return stamp


def passwords(old: str, new: str) -> dict[str, str]:
    return {"old_password": old, "password": new, "password_confirm": new}


@each_own_stamp
def test_every_step_but_a_verification_makes_another_stamp(
    site: Site, clock: Clock, own: str | None
) -> None:
    stamps = Stamps(site)
    site.register("alice")
    before = stamps.look()
    if own:
        site.change(site.users()[0], security_stamp=own)
        before = own
        clock.advance(60)
        site.post("resend-verification", {"login": "alice"})
    assert site.verify().status_code == 200
    assert site.users()[0].security_stamp == before
    client = log_in(site)
    change = passwords(PASSWORD, OTHER_PASSWORD)
    assert site.post("change-password", change, client=client).status_code == 200
    stamps.look()
    assert site.post("logout", {"everywhere": True}, client=client).status_code == 200
    stamps.look()
    undo = move(site, log_in(site, password=OTHER_PASSWORD), "second@example.com")
    moved = stamps.look(STAMP + MOVED)
    assert int(moved.partition("~")[2], 16) == int(clock())
    client = log_in(site, password=OTHER_PASSWORD)
    change = passwords(OTHER_PASSWORD, PASSWORD)
    clock.advance(60)
    assert site.post("change-password", change, client=client).status_code == 200
    assert stamps.look(STAMP + MOVED)[22:] == moved[22:]
    assert move(site, client, "third@example.com") == {}
    assert stamps.look(STAMP + MOVED)[22:] == moved[22:]
    assert site.post("logout", {"everywhere": True}, client=client).status_code == 200
    assert stamps.look(STAMP + MOVED)[22:] == moved[22:]
    assert site.post("undo-email-change", undo).status_code == 200
    stamps.look()
    assert site.post("reset-password", {**ask_reset(site), "password": PASSWORD}).status_code == 200
    stamps.look()


@pytest.mark.databases
@each_own_stamp
def test_the_first_change_of_address_can_be_undone_whatever_the_stamp_was(
    database: str, new_site: NewSite, clock: Clock, own: str | None
) -> None:
    site = new_site(database)
    member(site)
    if own:
        site.change(site.users()[0], security_stamp=own)
    undo = move(site, log_in(site), "second@example.com")
    assert undo["email"] == "alice@example.com"
    assert site.post("undo-email-change", {**undo, "signature": "forged"}).status_code == 400
    assert site.post("undo-email-change", undo).status_code == 200
    assert site.users()[0].email == "alice@example.com"
    assert re.fullmatch(STAMP, site.users()[0].security_stamp)


@each_own_stamp
def test_a_stamp_of_an_application_is_never_read_as_one_of_ours(own: str | None) -> None:
    for stamp in (own or "x", own or "~"):
        assert SecurityStamp.parse(stamp) == (stamp, None)
        assert not changed_email_within(stamp, timedelta(days=10**6))
        assert re.fullmatch(STAMP, next_stamp(stamp))


@each_row(
    "seconds",
    [0, 2**16, 1_700_000_000, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**35],
    ids=lambda value: f"{value} seconds after the epoch",
)
def test_a_stamp_keeps_the_time_of_an_e_mail_change(clock: Clock, seconds: int) -> None:
    """In 2106 it gets a digit more, which the column has room for."""
    clock.now = seconds + 0.5
    stamp = stamp_after_email_change()
    assert len(stamp) == (31 if seconds < 2**32 else 32)
    for each in (stamp, next_stamp(stamp), next_stamp(next_stamp(stamp))):
        assert SecurityStamp.parse(each).email_changed_at == seconds
        assert str(SecurityStamp.parse(each)) == each
        assert changed_email_within(each, timedelta(seconds=1))
    clock.advance(60)
    assert changed_email_within(stamp, timedelta(seconds=60)) is False
    assert changed_email_within(stamp, timedelta(seconds=61))
    assert re.fullmatch(STAMP, new_stamp())


def test_two_changes_of_address_in_one_second_are_told_apart(clock: Clock) -> None:
    first, second = stamp_after_email_change(), stamp_after_email_change()
    changes = [SecurityStamp.parse(each).email_change for each in (first, second)]
    assert changes[0] != changes[1]
    after = first
    for _ in range(3):
        after, before = next_stamp(after), after
        assert SecurityStamp.parse(after).email_change == changes[0]
        assert after[KEPT:22] != before[KEPT:22]
    assert SecurityStamp.parse(new_stamp()).email_change is None


@pytest.mark.databases
def test_a_change_of_address_can_be_undone_after_2106(
    database: str, new_site: NewSite, clock: Clock
) -> None:
    site = new_site(database)
    clock.now = 2**32 + 1
    member(site)
    undo = move(site, log_in(site), "second@example.com")
    assert len(site.users()[0].security_stamp) == 32
    assert site.post("undo-email-change", undo).status_code == 200
    assert site.users()[0].email == "alice@example.com"


def test_the_stamp_of_an_account_that_never_moved_has_no_time(site: Site) -> None:
    for name in ("alice", "bob", "carol"):
        site.register(name)
        assert re.fullmatch(STAMP, site.user(username=name).security_stamp)


def test_an_address_has_254_characters_at_the_most(site: Site) -> None:
    address = f"{'a' * 64}@{'b' * 63}.{'c' * 63}.{'d' * 57}.com"
    assert len(address) == 254
    assert site.register("alice", email=address).status_code == 201
    with site.app.app_context(), pytest.raises(ValidationError) as caught:
        site.registration.create_user(
            username="bob", email=address.replace("d.", "dd."), password=PASSWORD
        )
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
        site.registration.create_user(
            username="alice", email="alice@example.com", password=PASSWORD
        )
        site.db.session.commit()
    assert site.users()[0].email == "alice@example.com"
