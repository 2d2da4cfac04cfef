"""``docs/account-states.md``: each way is tried in each state, and each cell of the tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from datetime import timedelta
from itertools import chain
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_registration import DEFAULT_FLOWS, ApprovalMixin, DeletionMixin, UserMixin, actions
from flask_registration.cli.base import registration_cli
from flask_registration.flows import (
    approval,
    invitations,
    leaving,
    mail_login,
    new_login,
    sign_up,
)

from .concepts import NO_ACCOUNT, diagrams, render, state_of, take_mails
from .conftest import Clock
from .flows.common import OTHER_PASSWORD, NewSite
from .flows.test_invitations import define_invitation
from .pages import blocks, read
from .people import copy_of, define_login, knows
from .site import PASSWORD, Site, State, define
from .tables import each_row
from .test_steps import define_challenge

PAGE = "docs/account-states.md"
TABLES = diagrams.tables(read(PAGE))
TRANSITIONS = diagrams.transitions(read(PAGE))
ALICE, OLD = "alice@example.com", "old@example.com"
NEW = {"password": OTHER_PASSWORD, "password_confirm": OTHER_PASSWORD}
FLOWS = [*DEFAULT_FLOWS, sign_up.flow, invitations.flow, mail_login.flow]
FLOWS += [leaving.flow, new_login.flow]
SETTINGS: dict[str, Any] = {
    "login_model": define_login,
    "challenge_model": define_challenge,
    "other_models": [define_invitation],
    "VERIFICATION_TEMPLATE_RENDERER": render,
    "MAIL_LIMITS": None,
    "NEW_LOGIN_NOTICE_ENABLED": True,
    "DELETION_GRACE": timedelta(days=30),
}


class World:
    """An application in which Alice's account comes into a state.

    :ivar links: the latest link of each e-mail, by the e-mail's name, whether or not it is valid.
    :ivar client: where she is logged in, if she ever was.
    """

    def __init__(self, site: Site, clock: Clock) -> None:
        self.site, self.clock = site, clock
        self.links: dict[str, dict[str, str]] = {}
        self.client: FlaskClient | None = None
        self.is_approving = approval.flow in site.app.extensions["registration"].flows

    def post(
        self, endpoint: str, body: dict[str, Any], client: FlaskClient | None = None
    ) -> TestResponse:
        reply = self.site.post(endpoint, body, client=client)
        self.sent()
        return reply

    def sent(self) -> list[str]:
        """The names of the e-mails since the last time."""
        found = take_mails(self.site)
        self.links |= {each.name: each.link for each in found if each.link}
        return [each.name for each in found]

    def run(self, *arguments: str, typed: str | None = None) -> int:
        """Run ``flask registration``; its exit status."""
        runner = self.site.app.test_cli_runner()
        result = runner.invoke(registration_cli, arguments, input=typed)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        self.sent()
        return result.exit_code

    def register(self, name: str, email: str) -> TestResponse:
        return self.site.register(name, email=email)

    # How the account comes into a state

    def reach(self, state: str, *, was_elsewhere: bool = False) -> None:
        """Bring the account into a state, and ask for every link on the way.

        :param was_elsewhere: whether it had another e-mail address before.
        """
        self.post("sign-up", {"email": ALICE})
        with self.site.app.app_context():
            actions.create_invitation(ALICE)
        self.sent()
        if state != NO_ACCOUNT:
            self.register("alice", OLD if was_elsewhere else ALICE)
            self.sent()
            self.ask_for_links()
        if state not in (NO_ACCOUNT, "pending"):
            assert self.post("verify-registration", self.links["register"]).status_code == 200
            if self.is_approving and state != "waiting for approval":
                self.decide("reject" if state == "rejected" else "approve")
            self.ask_for_links()
        if state not in (NO_ACCOUNT, "pending", "waiting for approval", "rejected"):
            self.log_in()
            if was_elsewhere:
                self.post("register-email", {"email": ALICE}, self.client)
                self.post("verify-email", self.links["register_email"], self.client)
            self.log_in()  # in another browser, of which a notice is sent
            self.ask_for_links()
        if state == "suspended":
            assert self.run("suspend", "alice") == 0
        elif state == "scheduled for deletion":
            assert self.delete().status_code == 202
        elif state == "without a password":
            self.lose_password()
        self.ask_for_links()
        assert state_of(self.site, ALICE, OLD) == state

    def ask_for_links(self) -> None:
        self.post("send-reset-password-link", {"login": "alice"})
        self.post("send-login-link", {"login": "alice"})

    def log_in(self) -> None:
        self.client = self.site.app.test_client()
        body = {"login": "alice", "password": PASSWORD}
        assert self.post("login", body, self.client).status_code == 200

    def lose_password(self) -> None:
        """By the report of a login; then log in by e-mail."""
        assert self.post("report-login", self.links["new_login"]).status_code == 200
        self.ask_for_links()
        self.client = self.site.app.test_client()
        assert self.post("login-by-link", self.links["login_link"], self.client).status_code == 200

    def delete(self) -> TestResponse:
        client = self.client or self.site.app.test_client()
        reply = client.delete("/accounts/profile/", json={})
        self.sent()
        return reply

    def decide(self, decision: str) -> TestResponse | None:
        link = self.links.get("approval_request")
        if link is None:
            return None
        body = {**link, "decision": decision}
        return self.post(f"approvals/{body.pop('user_id')}", body)


# The transitions


def by_link(name: str, endpoint: str, **fields: str) -> Callable[[World], object]:
    """Post the link of an e-mail, if there ever was one."""

    def post(world: World) -> object:
        link = world.links.get(name)
        return link and world.post(endpoint, {**link, **fields})

    return post


def by_command(*arguments: str, typed: str | None = None) -> Callable[[World], object]:
    return lambda world: world.run(*arguments, typed=typed)


def purge_later(world: World) -> object:
    world.clock.move(days=31)
    return world.run("purge")


#: What the page calls a way from one state to another, and how it is tried.
WAYS: dict[str, Callable[[World], object]] = {
    "POST /accounts/register/": lambda world: world.register("bob", ALICE),
    "POST /accounts/verify-registration/": by_link("register", "verify-registration"),
    "POST /accounts/reset-password/": by_link("reset_password", "reset-password", **NEW),
    "POST /accounts/login-by-link/": by_link("login_link", "login-by-link"),
    "POST /accounts/finish-sign-up/": by_link("sign_up", "finish-sign-up", username="bob", **NEW),
    "POST /accounts/accept-invitation/": by_link(
        "invitation", "accept-invitation", username="bob", **NEW
    ),
    "POST /accounts/undo-email-change/": by_link("email_changed", "undo-email-change"),
    "POST /accounts/report-login/": by_link("new_login", "report-login"),
    "POST /accounts/change-password/": lambda world: world.post(
        "change-password", NEW, world.client
    ),
    "POST /accounts/cancel-deletion/": by_link("deletion_scheduled", "cancel-deletion"),
    'POST /accounts/approvals/<id>/ {"decision": "approve"}': lambda world: world.decide("approve"),
    'POST /accounts/approvals/<id>/ {"decision": "reject"}': lambda world: world.decide("reject"),
    "DELETE /accounts/profile/": World.delete,
    "flask registration create-user": by_command(
        *("create-user", "--username", "bob", "--email", ALICE, "--password-stdin"), typed=PASSWORD
    ),
    "flask registration purge": purge_later,
    "flask registration set-password": by_command(
        "set-password", "alice", "--password-stdin", typed=OTHER_PASSWORD
    ),
    **{
        f"flask registration {name}": by_command(name, "alice")
        for name in ("verify", "suspend", "reactivate", "restore", "approve", "reject")
    },
}
#: The link of the undo needs an account that had another e-mail address before.
UNDO = "POST /accounts/undo-email-change/"
STATES = [row[0] for row in TABLES[0][2:]]
OF_APPROVAL = ["waiting for approval", "rejected"]


def expected(state: str, way: str, *, is_approving: bool) -> str:
    """Where a way leads from a state, as the page has it.

    A row of the flow ``approval`` comes first. What is true of a verified account is true of one
    without a password.
    """
    ends = {
        "approval" in flows: end
        for _, start, end, ways, flows in TRANSITIONS
        if start == state and way in ways
    }
    if is_approving and True in ends:
        return str(ends[True])
    if way == "flask registration suspend" and state != NO_ACCOUNT:
        return "suspended"
    if state == "without a password" and not ends:
        end = expected("verified", way, is_approving=is_approving)
        return state if end == "verified" else end
    return str(ends.get(False, state))


@pytest.fixture
def make(new_site: NewSite, clock: Clock) -> Callable[[bool], World]:
    """Make a world, with the flow ``approval`` or without it."""

    def make(is_approving: bool) -> World:
        chosen: dict[str, Any] = {"flows": FLOWS, "define": define(DeletionMixin, UserMixin)}
        if is_approving:
            chosen = {
                "flows": [*FLOWS, approval.flow],
                "define": define(ApprovalMixin, DeletionMixin, UserMixin),
                "APPROVERS": ["boss@example.com"],
            }
        return World(new_site(**SETTINGS, **chosen), clock)

    return make


def each_time(
    world: World, state: str, names: Iterable[str], **options: Any
) -> Iterator[tuple[str, World]]:
    """Yield each name with a world in which the account is in this state."""
    empty, begin = State(world.site), world.clock.now
    start = World(world.site, world.clock)
    start.reach(state, **options)
    reached = State(world.site)
    for name in names:
        found = copy(start)
        found.links = dict(start.links)
        found.client = start.client and copy_of(start.client)
        yield name, found
        reached.restore()
        world.clock.now = begin
    empty.restore()


@each_row("is_approving", [False, True])
def test_each_way_leads_where_the_page_says_and_nowhere_else(
    is_approving: bool, make: Callable[[bool], World]
) -> None:
    world, wrong, moves = make(is_approving), {}, 0
    states = [name for name in STATES if is_approving or name not in OF_APPROVAL]
    for state in [NO_ACCOUNT, *states]:
        was_elsewhere = {"was_elsewhere": True} if state == "verified" else {}
        for way, there in chain(
            each_time(world, state, [way for way in WAYS if way != UNDO]),
            each_time(world, state, [UNDO], **was_elsewhere),
        ):
            WAYS[way](there)
            end = state_of(there.site, ALICE, OLD)
            moves += end != state
            if end != expected(state, way, is_approving=is_approving):
                wrong[state, way] = end
    assert wrong == {}
    assert moves > 15


@each_row("state", STATES)
def test_a_suspension_ends_in_the_state_before(state: str, make: Callable[[bool], World]) -> None:
    world = make(True)
    world.reach(state)
    assert state == "suspended" or world.run("suspend", "alice") == 0
    assert state_of(world.site, ALICE) == "suspended"
    assert world.run("reactivate", "alice") == 0
    assert state_of(world.site, ALICE) == ("verified" if state == "suspended" else state)


def test_after_an_undo_only_a_reset_sets_a_password(make: Callable[[bool], World]) -> None:
    world = make(False)
    world.reach("verified", was_elsewhere=True)
    assert world.post("undo-email-change", world.links["email_changed"]).status_code == 200
    world.ask_for_links()
    client = world.site.app.test_client()
    assert world.post("login-by-link", world.links["login_link"], client).status_code == 200
    reply = world.post("change-password", NEW, client)
    assert reply.get_json()["code"] == "reauthentication-required"
    assert state_of(world.site, OLD) == "without a password"
    assert world.post("reset-password", {**world.links["reset_password"], **NEW}).status_code == 200
    assert state_of(world.site, OLD) == "verified"


def test_without_a_grace_period_a_deletion_is_at_once(new_site: NewSite, clock: Clock) -> None:
    site = new_site(**{**SETTINGS, "flows": FLOWS, "DELETION_GRACE": None})
    world = World(site, clock)
    world.reach("verified")
    assert world.delete().status_code == 204
    assert state_of(site, ALICE) == NO_ACCOUNT


def test_a_verified_address_displaces_a_pending_account(make: Callable[[bool], World]) -> None:
    world = make(False)
    world.reach("pending")
    world.register("bob", "bob@example.com")
    world.sent()
    world.post("verify-registration", world.links["register"])
    client = world.site.app.test_client()
    world.post("login", {"login": "bob", "password": PASSWORD}, client)
    world.post("register-email", {"email": ALICE}, client)
    assert world.post("verify-email", world.links["register_email"], client).status_code == 200
    assert [user.username for user in world.site.users()] == ["bob"]
    assert state_of(world.site, ALICE) == "verified"


def test_the_rows_name_the_optional_flows_of_their_endpoints(make: Callable[[bool], World]) -> None:
    registration = make(True).site.app.extensions["registration"]
    flows = registration.flows
    needed = {
        f"{method} /accounts{endpoint.path}": flow.name
        for flow in flows
        if flow not in DEFAULT_FLOWS
        for endpoint in flow.endpoints
        for method in endpoint.methods
    }
    known = {flow.name for flow in flows}
    for number, start, end, ways, named in TRANSITIONS:
        paths = [way.partition(" {")[0].replace("<id>", "<user_id>") for way in ways]
        assert {needed[path] for path in paths if path in needed} <= set(named), number
        assert set(named) <= known
        assert ("approval" in named) == bool({start, end} & set(OF_APPROVAL)), number
        assert WAYS.keys() >= set(ways), number


def test_the_diagram_has_an_arrow_for_each_row() -> None:
    (grid,) = [block.text for block in blocks(read(PAGE)) if block.info == "{states}"]
    names = {cell.strip() for cell in grid.replace("\n", "|").split("|")} - {"-", ""}
    assert names == {NO_ACCOUNT, *STATES}
    image = diagrams.states(grid.rstrip("\n"), read(PAGE))
    numbers = re.findall(r'class="number"[^>]*>(\d+)<', image)
    assert numbers == [row[0] for row in TRANSITIONS]
    assert numbers == [str(number + 1) for number in range(len(numbers))]


# What an account can do


def mail_or_no(world: World) -> str:
    return next((f"`{name}`" for name in world.sent()), "no")


def outcome(reply: TestResponse) -> str:
    return "yes" if reply.status_code < 300 else f"`{reply.get_json()['code']}`"


def password_login(world: World) -> str:
    return outcome(world.post("login", {"login": "alice", "password": PASSWORD}))


def mail_login_of(world: World) -> str:
    world.links.pop("login_link", None)
    world.post("send-login-link", {"login": "alice"})
    link = world.links.get("login_link")
    return outcome(world.post("login-by-link", link)) if link else "no"


def reset(world: World) -> str:
    world.links.pop("reset_password", None)
    world.post("send-reset-password-link", {"login": "alice"})
    link = world.links.get("reset_password")
    return outcome(world.post("reset-password", {**link, **NEW})) if link else "no"


def session(world: World) -> str:
    if world.client is None:
        return "-"
    return "yes" if knows(world.site, world.client) else "no"


def verification(world: World) -> str:
    world.site.post("resend-verification", {"email": ALICE})
    return "yes" if world.sent() == ["register"] else "no"


def registration(world: World) -> str:
    world.register("bob", ALICE)
    return mail_or_no(world)


def second_sign_up(world: World) -> str:
    world.site.post("sign-up", {"email": ALICE})
    return mail_or_no(world)


def invitation(world: World) -> str:
    with world.site.app.app_context():
        actions.create_invitation(ALICE)
    return mail_or_no(world)


def username(world: World) -> str:
    return "yes" if world.register("alice", "bob@example.com").status_code == 201 else "no"


#: By the first words of a row.
OPERATIONS: dict[str, Callable[[World], str]] = {
    "log in with the password": password_login,
    "log in by e-mail": mail_login_of,
    "use a session from before": session,
    "reset the password": reset,
    "receive another verification e-mail": verification,
    "a registration": registration,
    "a sign-up": second_sign_up,
    "an invitation": invitation,
    "another account can get its username": username,
}


@each_row(("number", "is_approving"), [(1, False), (2, True)])
def test_each_cell_about_what_an_account_can_do(
    number: int, is_approving: bool, make: Callable[[bool], World]
) -> None:
    world, wrong = make(is_approving), {}
    headings, *rows = TABLES[number]
    found = {name: row for name in OPERATIONS for row in rows if row[0].startswith(name)}
    assert len(found) == len(rows) == len(OPERATIONS)
    for column, state in enumerate(headings[1:], 1):
        for name, there in each_time(world, state, OPERATIONS):
            shown = OPERATIONS[name](there)
            if shown != found[name][column]:
                wrong[name, state] = shown
    assert wrong == {}


def test_the_tables_are_about_every_state() -> None:
    assert {*TABLES[1][0], *TABLES[2][0]} == {"", *STATES}
