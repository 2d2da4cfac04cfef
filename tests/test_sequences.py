"""``docs/sequences.md``: each message of its diagrams is sent and compared, in its order."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from werkzeug.test import TestResponse

from flask_registration import DEFAULT_FLOWS
from flask_registration.flows import mail_login, second_factor, sign_up
from flask_registration.testing import Accounts

from .concepts import Sent, diagrams, render, state_of, take_mails
from .conftest import Clock
from .flows.common import NewSite
from .flows.test_second_factor import KEY, define_credential
from .pages import blocks, read
from .people import account
from .site import PASSWORD, Site
from .tables import each_row
from .test_steps import define_challenge

PAGE = "docs/sequences.md"
FRONT_END, SERVER, APP = "Front end", "Server", "Authenticator app"


class Diagram(NamedTuple):
    """A diagram of the page, in a section."""

    section: str
    lanes: list[str]
    content: str


def found_in(page: str) -> list[Diagram]:
    found = []
    for section in re.split("^## ", page, flags=re.MULTILINE)[1:]:
        for block in blocks(section):
            if block.info.startswith("{sequence}"):
                lanes = block.info.removeprefix("{sequence} ").split(", ")
                found.append(Diagram(section.partition("\n")[0], lanes, block.text))
    return found


DIAGRAMS = found_in(read(PAGE))


class Player:
    """Plays the diagrams of a section against a site.

    :ivar values: what the front end knows, by the names of fields.
    :ivar latest: the latest e-mail of each mailbox.
    """

    def __init__(self, site: Site, accounts: Accounts) -> None:
        self.site, self.accounts, self.client = site, accounts, site.app.test_client()
        self.values: dict[str, Any] = {
            "username": "alice",
            "login": "alice",
            "email": "alice@example.com",
            "password": PASSWORD,
            "password_confirm": PASSWORD,
        }
        self.latest: dict[str, Sent] = {}
        self.mails: list[Sent] = []
        self.response: TestResponse | None = None

    def play(self, diagram: Diagram) -> None:
        for step in diagrams.steps(diagram.content):
            lanes = {step.source, step.target} - {""}
            assert lanes <= set(diagram.lanes), step
            assert step.target or step.source == SERVER, step
            self.take(*step)
        self.is_finished()

    def take(self, source: str, target: str, text: str) -> None:
        if not target:
            match = re.fullmatch(r"(\S+) (?:is|has) (.+)", text)
            assert match, text
            assert state_of(self.site, match[1]) == match[2], text
        elif target == SERVER:
            self.is_finished()
            self.ask(text)
        elif source == SERVER and target == FRONT_END:
            self.compare(text)
        elif source == SERVER:
            self.compare_mail(target, text)
        elif source == APP:
            assert text == "code"
            self.values["code"] = self.accounts.totp(self.site.user(username="alice"))
        else:
            link = self.latest[source].link
            assert text == f"link with {', '.join(link)}", link
            self.values |= link

    def ask(self, text: str) -> None:
        match = re.fullmatch(r"([A-Z]+) (/\S+) with (.+)", text)
        assert match, text
        values = {**self.values, "wrong code": "000000"}
        fields = match[3].split(", ")
        body = {name.removeprefix("wrong "): values[name] for name in fields}
        self.response = self.client.open(match[2], method=match[1], json=body)
        self.mails = take_mails(self.site)

    def compare(self, text: str) -> None:
        pattern = r"(\d+)(?: ([a-z-]+))?(?: with ([a-z_, ]+?))?( and a session cookie)?"
        match = re.fullmatch(pattern, text)
        assert match, text
        response, self.response = self.response, None
        assert response is not None, text
        body = response.get_json()
        assert (response.status_code, body.get("code")) == (int(match[1]), match[2]), body
        for name in filter(None, (match[3] or "").split(", ")):
            self.values[name] = body[name]
        cookies = response.headers.getlist("Set-Cookie")
        assert any(cookie.startswith("session=") for cookie in cookies) == bool(match[4]), text

    def compare_mail(self, lane: str, text: str) -> None:
        (sent,) = [each for each in self.mails if text == f"e-mail {each.name} to {each.to}"]
        self.mails.remove(sent)
        self.latest[lane] = sent

    def is_finished(self) -> None:
        """The diagram must show the response and every e-mail of a request."""
        assert (self.response, self.mails) == (None, [])


def nothing(player: Player) -> None:
    pass


def member(player: Player) -> None:
    account(player.site)


def logged_in(player: Player) -> None:
    account(player.site)
    player.values["email"] = "new@example.com"
    body = {"login": "alice", "password": PASSWORD}
    assert player.site.post("login", body, client=player.client).status_code == 200


def with_app(player: Player) -> None:
    account(player.site)
    player.accounts.totp(player.site.user(username="alice"))


MORE = {
    "challenge_model": define_challenge,
    "credential_model": define_credential,
    "CREDENTIAL_KEYS": [KEY],
}
#: The flows beside the default ones, and what has happened before.
SECTIONS: dict[str, tuple[dict[str, Any], Callable[[Player], None]]] = {
    "Registration": ({}, nothing),
    "Sign-up that verifies the e-mail address first": (
        {"flows": [*DEFAULT_FLOWS, sign_up.flow]},
        nothing,
    ),
    "Password reset": ({}, member),
    "E-mail change": ({}, logged_in),
    "Login in steps": ({"flows": [*DEFAULT_FLOWS, second_factor.flow], **MORE}, with_app),
    "Login by e-mail": (
        {"flows": [*DEFAULT_FLOWS, mail_login.flow], "challenge_model": define_challenge},
        member,
    ),
}


def play(section: str, found: list[Diagram], new_site: NewSite, clock: Clock) -> None:
    settings, begin = SECTIONS[section]
    site = new_site(VERIFICATION_TEMPLATE_RENDERER=render, MAIL_LIMITS=None, **settings)
    player = Player(site, Accounts(site.app, site.outbox, lambda: clock))
    begin(player)
    take_mails(site)
    for diagram in found:
        player.play(diagram)


@each_row("section", list(SECTIONS))
def test_a_section_is_what_happens(section: str, new_site: NewSite, clock: Clock) -> None:
    found = [diagram for diagram in DIAGRAMS if diagram.section == section]
    assert found
    play(section, found, new_site, clock)


def test_each_diagram_is_in_a_section_that_is_played() -> None:
    assert {diagram.section for diagram in DIAGRAMS} == set(SECTIONS)


@each_row(
    ("right", "wrong"),
    [
        ("201 with username", "200 with username"),
        ("Server -> Mailbox: e-mail register to", "Server -> Mailbox: e-mail register_again to"),
        ("Server -> Mailbox: e-mail register to alice@example.com\n", ""),
        ("link with timestamp, user_id, signature", "link with user_id, signature"),
        ("is pending", "is verified"),
        ("200 and a session cookie", "200"),
        ("Server -> Front end: 200\n", ""),
        ("/accounts/login/", "/accounts/logins/"),
    ],
)
def test_a_wrong_message_is_found(right: str, wrong: str, new_site: NewSite, clock: Clock) -> None:
    diagram = DIAGRAMS[0]
    assert right in diagram.content
    changed = diagram._replace(content=diagram.content.replace(right, wrong, 1))
    with pytest.raises((AssertionError, KeyError, ValueError)):
        play("Registration", [changed], new_site, clock)


def test_every_line_of_a_diagram_is_read_and_drawn() -> None:
    for diagram in DIAGRAMS:
        lines = diagram.content.splitlines()
        assert len(diagrams.steps(diagram.content)) == len(lines)
        drawn = diagrams.sequence(diagram.lanes, diagram.content)
        assert drawn.count("<li") == len(lines) + 1
