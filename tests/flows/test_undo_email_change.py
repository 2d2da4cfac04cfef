"""Take a change of address back, from the old address."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from flask_registration import (
    DEFAULT_FLOWS,
    current_registration,
    user_changed_email,
    user_deleted,
)

from ..conftest import Clock
from ..outboxes import define_outbox
from ..site import PASSWORD, Site, links_of, own_model, text_of, whole
from ..tables import each_row
from .common import (
    AT_ONCE,
    BOTH_KINDS_OF_SESSION,
    DAYS,
    EMAIL_TAKEN,
    EMAIL_UNDONE,
    EMAIL_VERIFIED,
    LINK_EXPIRED,
    LINK_INVALID,
    OTHER_PASSWORD,
    REAUTHENTICATE,
    THREADS,
    NewSite,
    ask_move,
    ask_reset,
    at_once,
    changed,
    forged,
    has_password,
    is_in,
    link_in,
    log_in,
    mails,
    member,
    move,
    row,
    token_of,
    undo_move,
    verify_email,
)


@pytest.mark.databases
@BOTH_KINDS_OF_SESSION
def test_the_old_address_takes_the_change_back_and_every_session_ends(
    database: str, new_site: NewSite, sessions: dict[str, Any]
) -> None:
    site = new_site(database, LOGIN_RETRIEVE_TOKEN=True, **sessions)
    member(site)
    client = log_in(site)
    link = move(site, client, "new@example.com")
    token = token_of(site)
    site.outbox.clear()
    before = row(site, username="alice")
    with site.hears(user_changed_email) as heard:
        reply = undo_move(site, link, client)
    assert (reply.status_code, reply.get_json()) == (200, EMAIL_UNDONE)
    after = row(site, username="alice")
    assert (changed(before, after), after["email"]) == (
        {"email", "password_hash", "security_stamp"},
        "alice@example.com",
    )
    assert not has_password(site, PASSWORD)
    assert [(each["user"].email, each["old_email"], each["new_email"]) for each in heard] == [
        ("alice@example.com", "new@example.com", "alice@example.com")
    ]
    assert (is_in(client), is_in(site.app.test_client(), token)) == (False, False)
    assert whole(undo_move(site, link)) == forged(site, "undo-email-change")
    assert row(site, username="alice") == after
    assert mails(site) == [
        ("new@example.com", "Your e-mail address for example.com was changed"),
        ("alice@example.com", "The change of your e-mail address for example.com was undone"),
    ]


@pytest.mark.databases
@each_row("outbox", [{}, {"outbox_model": define_outbox, "MAIL_DISPATCHER": "outbox"}], ids=str)
def test_the_mail_about_it_has_a_link_that_sets_a_password(
    database: str, new_site: NewSite, outbox: dict[str, Any]
) -> None:
    site = new_site(database, **outbox)
    member(site)
    thief = Thief(site)
    link = thief.take()
    thief.do("reset")
    site.outbox.clear()
    assert undo_move(site, link).get_json() == EMAIL_UNDONE
    notice, confirmation = site.read(0), site.read(1)
    assert links_of(notice) == []
    assert "alice@example.com" not in str(notice), "the other address does not learn this one"
    assert not has_password(site, thief.password)
    reset = {**link_in(confirmation), "password": OTHER_PASSWORD}
    assert site.post("reset-password", reset).status_code == 200
    assert has_password(site, OTHER_PASSWORD)
    assert site.post("reset-password", reset).get_json() == LINK_INVALID


def set_a_password(site: Site) -> None:
    link = {**ask_reset(site), "password": OTHER_PASSWORD}
    assert site.post("reset-password", link).status_code == 200


def test_without_resets_the_mail_has_no_link_and_the_password_ends(new_site: NewSite) -> None:
    site = new_site(RESET_PASSWORD_VERIFICATION_ENABLED=False)
    member(site)
    link = move(site, log_in(site), "new@example.com")
    site.outbox.clear()
    assert undo_move(site, link).get_json() == EMAIL_UNDONE
    assert links_of(site.read()) == []
    assert "contact example.com support immediately" in text_of(site.read())
    assert not has_password(site, PASSWORD)


def by_directory(data: Any, **_: Any) -> Any:
    """Log in by a password that another server checks."""
    found = current_registration.users.find("username", data["login"])
    return found[0]


def test_no_change_begins_before_a_new_password_is_set(new_site: NewSite) -> None:
    site = new_site(LOGIN_AUTHENTICATOR=by_directory)
    member(site)
    link = move(site, log_in(site), "new@example.com")
    site.outbox.clear()
    assert undo_move(site, link).get_json() == EMAIL_UNDONE
    reset = site.link()
    client = log_in(site)
    for body in ({}, {"password": PASSWORD}, {"password": "!revoked"}):
        reply = site.post("register-email", {"email": "x@example.com", **body}, client=client)
        assert reply.status_code in (400, 401), body
        reply = client.delete("/accounts/profile/", json=body)
        assert reply.status_code in (400, 401), body
    assert site.post("register-email", {"email": "x@example.com"}, client=client).get_json() == (
        REAUTHENTICATE
    )
    site.post("reset-password", {**reset, "password": OTHER_PASSWORD})
    assert ask_move(site, log_in(site), "x@example.com")


@pytest.mark.databases
def test_of_fifty_undoings_at_once_one_works(database: str, new_site: NewSite) -> None:
    site = new_site(database, config=AT_ONCE)
    member(site)
    link = move(site, log_in(site), "new@example.com")
    expected = forged(site, "undo-email-change")
    with site.hears(user_changed_email) as heard:
        replies = at_once(lambda number: undo_move(site, link))
    assert Counter(reply.status_code for reply in replies) == {200: 1, 400: THREADS - 1}
    assert {str(whole(reply)) for reply in replies if reply.status_code == 400} == {str(expected)}
    assert len(heard) == 1


@each_row(
    ("seconds", "answer"),
    [
        pytest.param(7 * DAYS - 1, EMAIL_UNDONE, id="a second before its end"),
        pytest.param(7 * DAYS, EMAIL_UNDONE, id="at its end"),
        pytest.param(7 * DAYS + 1, LINK_EXPIRED, id="a second after its end"),
    ],
)
def test_a_change_can_be_taken_back_for_seven_days_to_the_second(
    site: Site, clock: Clock, seconds: int, answer: dict[str, str]
) -> None:
    member(site)
    link = move(site, log_in(site), "new@example.com")
    clock.advance(seconds)
    assert undo_move(site, link).get_json() == answer


def test_a_period_of_ones_own(new_site: NewSite, clock: Clock) -> None:
    site = new_site(UNDO_EMAIL_CHANGE_PERIOD=30 * DAYS)
    member(site)
    link = move(site, log_in(site), "new@example.com")
    assert "It expires in 30 days" in " ".join(text_of(site.read()).split())
    clock.advance(30 * DAYS)
    assert undo_move(site, link).get_json() == EMAIL_UNDONE


THEN: dict[str, list[str]] = {
    "nothing": [],
    "changes the password": ["password"],
    "moves to yet another address": ["move"],
    "logs out everywhere": ["everywhere"],
    "logs out and in again": ["login"],
    "resets the password": ["reset"],
    "moves ten times and changes the password": [*["move"] * 10, "password"],
    "changes the password a hundred times": ["password"] * 100,
    "does everything": ["password", "move", "everywhere", "reset", "move"],
}


class Thief:
    """Somebody who has the password, and moves the account about."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.password = PASSWORD
        self.address = "thief0@example.com"
        self.client = log_in(site)
        self.count = 0

    def take(self) -> dict[str, str]:
        """Move the account away; the owner's link."""
        return move(self.site, self.client, self.address)

    def do(self, what: str) -> None:
        self.count += 1
        if what == "password":
            old, self.password = self.password, f"the thief's password {self.count} for a while"
            body = {
                "old_password": old,
                "password": self.password,
                "password_confirm": self.password,
            }
            assert self.site.post("change-password", body, client=self.client).status_code == 200
        elif what == "move":
            self.address = f"thief{self.count}@example.com"
            assert move(self.site, self.client, self.address) == {}  # nothing to undo with
        elif what == "everywhere":
            assert (
                self.site.post("logout", {"everywhere": True}, client=self.client).status_code
                == 200
            )
            self.client = log_in(self.site, password=self.password)
        elif what == "login":
            self.site.post("logout", {}, client=self.client)
            self.client = log_in(self.site, password=self.password)
        elif what == "reset":
            link, self.password = (
                ask_reset(self.site),
                f"the thief's password {self.count} for a while",
            )
            assert (
                self.site.post("reset-password", {**link, "password": self.password}).status_code
                == 200
            )
            self.client = log_in(self.site, password=self.password)


@each_row("what", THEN)
@BOTH_KINDS_OF_SESSION
def test_it_works_whatever_a_thief_does_next_who(
    new_site: NewSite, sessions: dict[str, Any], what: str
) -> None:
    site = new_site(MAIL_LIMITS=None, **sessions)
    user = member(site)
    thief = Thief(site)
    link = thief.take()
    for each in THEN[what]:
        thief.do(each)
    moving = ask_move(site, thief.client, "last@example.com") if what != "nothing" else None
    reply = undo_move(site, link)
    assert (reply.status_code, reply.get_json()) == (200, EMAIL_UNDONE)
    assert site.user(id=user.id).email == "alice@example.com"
    assert not is_in(thief.client)
    after = row(site, id=user.id)
    if moving:  # what was on its way is dead
        assert verify_email(site, moving).get_json() == LINK_INVALID
    assert undo_move(site, link).get_json() == LINK_INVALID
    assert row(site, id=user.id) == after
    reset = ask_reset(site)
    assert site.outbox[-1].recipients == ["alice@example.com"]
    assert site.post("reset-password", {**reset, "password": OTHER_PASSWORD}).status_code == 200


def test_the_owner_may_move_again_after_an_undoing_and_undo_that_too(
    site: Site, clock: Clock
) -> None:
    member(site)
    first = move(site, log_in(site), "new@example.com")
    assert undo_move(site, first).get_json() == EMAIL_UNDONE
    set_a_password(site)
    second = move(site, log_in(site, password=OTHER_PASSWORD), "new@example.com")
    assert undo_move(site, first).get_json() == LINK_INVALID
    assert undo_move(site, second).get_json() == EMAIL_UNDONE


def test_a_suspended_account_does_not_move_back(site: Site) -> None:
    user = member(site)
    link = move(site, log_in(site), "new@example.com")
    site.change(user, is_active=False)
    before, expected = row(site, username="alice"), forged(site, "undo-email-change")
    assert whole(undo_move(site, link)) == expected
    assert row(site, username="alice") == before


@pytest.mark.databases
def test_an_old_address_that_somebody_else_has_by_now_stays_theirs(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database)
    member(site)
    client = log_in(site)
    link = move(site, client, "new@example.com")
    eve = member(site, "eve", email="alice@example.com")
    before = row(site, username="alice")
    reply = undo_move(site, link)
    assert (reply.status_code, reply.get_json()) == (400, EMAIL_TAKEN)
    assert row(site, username="alice") == before
    assert is_in(client)
    site.change(eve, email="eve@example.com")
    assert undo_move(site, link).get_json() == EMAIL_UNDONE


@pytest.mark.databases
def test_a_registration_with_the_old_address_does_not_block_the_undo(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database)
    member(site)
    link = move(site, log_in(site), "new@example.com")
    for name in ("eve", "mallory"):  # the second one has a placeholder address
        assert site.register(name, email="alice@example.com").status_code == 201
    claim = site.link()
    with site.hears(user_deleted, user_changed_email) as heard:
        assert undo_move(site, link).get_json() == EMAIL_UNDONE
    assert [(each["signal"], each["user"].username) for each in heard] == [
        ("user-deleted", "eve"),
        ("user-changed-email", "alice"),
    ]
    assert site.user(email="alice@example.com").username == "alice"
    assert site.user(username="eve") is None
    assert site.verify(claim).get_json() == LINK_INVALID


def test_a_model_without_a_stamp_moves_and_is_told_but_has_nothing_to_undo_it_with(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database, define=own_model())
    member(site)
    client = log_in(site)
    link = ask_move(site, client, "new@example.com")
    assert verify_email(site, link, client).get_json() == EMAIL_VERIFIED
    assert site.outbox[-1].recipients == ["alice@example.com"]
    assert links_of(site.read()) == []
    assert "contact example.com support immediately" in text_of(site.read())
    assert verify_email(site, link).get_json() == LINK_INVALID
    assert is_in(client)


def test_an_application_without_undoing_tells_the_old_address_without_a_link(
    new_site: NewSite,
) -> None:
    flows = [flow for flow in DEFAULT_FLOWS if flow.name != "undo_email_change"]
    site = new_site(flows=flows, UNDO_EMAIL_CHANGE_URL="nowhere")
    member(site)
    client = log_in(site)
    assert (
        verify_email(site, ask_move(site, client, "new@example.com"), client).get_json()
        == EMAIL_VERIFIED
    )
    assert site.outbox[-1].recipients == ["alice@example.com"]
    assert links_of(site.read()) == []
    assert "contact example.com support immediately" in text_of(site.read())
    assert site.post("undo-email-change", {}).status_code == 404


def test_within_the_period_the_first_address_alone_can_undo_and_after_it_the_latest(
    site: Site, clock: Clock
) -> None:
    member(site)
    client = log_in(site)
    first = move(site, client, "second@example.com")
    assert move(site, client, "third@example.com") == {}
    clock.advance(7 * DAYS + 1)
    client = log_in(site)
    latest = move(site, client, "fourth@example.com")
    assert undo_move(site, first).get_json() == LINK_INVALID
    assert undo_move(site, latest).get_json() == EMAIL_UNDONE
    assert site.user(username="alice").email == "third@example.com"


@each_row("seconds", [0, 7 * DAYS], ids=["at once", "in the last second of the period"])
def test_a_second_move_cannot_be_undone_that_is_made(
    site: Site, clock: Clock, seconds: int
) -> None:
    member(site)
    move(site, log_in(site), "second@example.com")
    clock.advance(seconds)
    assert move(site, log_in(site), "third@example.com") == {}
