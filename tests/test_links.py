"""Mailed links, and what must not open them. The names in brackets are rows of the threat table."""

from __future__ import annotations

import base64
import hmac
import json
import string
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import product
from logging import LogRecord
from typing import Any

import pytest
from flask_sqlalchemy import SQLAlchemy
from marshmallow import fields
from sqlalchemy import String, event, select
from sqlalchemy.orm import Mapped, mapped_column

from flask_registration import (
    DEFAULT_FLOWS,
    BodySchema,
    EndpointLink,
    Flow,
    OpenedLink,
    Purpose,
    Settings,
    SuccessSchema,
    current_registration,
    success,
    user_activated,
)
from flask_registration.auth.links import SignedLink

from .conftest import Clock
from .site import PASSWORD, Site, html_of, make_site, parameters, text_of, whole
from .tables import each_row
from .world import ENDPOINTS, SETTINGS, World, define_login

NewSite = Callable[..., Site]

LINK_INVALID = {
    "detail": "This link is not valid. It may have been used already, "
    "or been replaced by a newer one.",
    "code": "signature-invalid",
}
LINK_EXPIRED = {
    "detail": "This link has expired. Please ask for a new one.",
    "code": "signature-expired",
}
WEEK = 7 * 24 * 3600
REQUIRED = "This field is required."
BASE64 = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"


# Forged


def with_one_bit_flipped(text: str) -> Iterator[str]:
    """Every text of ASCII characters that differs in one bit."""
    for place, character in enumerate(text):
        for bit in range(7):
            yield text[:place] + chr(ord(character) ^ 1 << bit) + text[place + 1 :]


@each_row("parameter", ["user_id", "timestamp", "signature"])
def test_any_flipped_bit_of_any_parameter_gets_the_answer_of_a_forged_link(
    site: Site, parameter: str
) -> None:
    site.register("alice")
    link = site.link()
    forged = whole(site.verify(link, signature="forged"))
    accepted = [
        text
        for text in with_one_bit_flipped(link[parameter])
        if whole(site.verify(link, **{parameter: text})) != forged
    ]
    assert accepted == []
    assert not site.user(username="alice").is_verified
    assert site.verify(link).status_code == 200


@each_row(
    "change",
    [
        pytest.param(lambda text: text[:-1] or "x", id="cut short by one"),
        pytest.param(lambda text: text[1:] or "x", id="without its first"),
        pytest.param(lambda text: text + "A", id="with one more"),
        pytest.param(
            lambda text: text[:-1] + BASE64[BASE64.index(text[-1]) ^ 1],
            id="with the same bytes in Base64",
        ),
        pytest.param(lambda text: text + "=", id="with padding"),
        pytest.param(lambda text: text + " ", id="with a space behind"),
        pytest.param(lambda text: " " + text, id="with a space before"),
        pytest.param(lambda text: text + "\n", id="with a line end"),
        pytest.param(lambda text: text + "!!!!", id="with characters that Base64 skips"),
        pytest.param(
            lambda text: text[:1] + "!!!!" + text[1:], id="with characters that Base64 skips inside"
        ),
        pytest.param(
            lambda text: text[:1] + "!é" + text[1:],
            id="with two that Base64 skips, one of two bytes",
        ),
        pytest.param(lambda text: "0" + text, id="with a zero before"),
        pytest.param(lambda text: "+" + text, id="with a plus before"),
        pytest.param(lambda text: "٣", id="a digit of another script"),
        pytest.param(
            lambda text: text.swapcase() + ("" if text.swapcase() != text else "x"),
            id="in the other case",
        ),
        pytest.param(lambda text: "é" * 43, id="letters outside of ASCII"),
        pytest.param(lambda text: "\ud800", id="half of a surrogate pair"),
        pytest.param(lambda text: "\0", id="NUL"),
        pytest.param(lambda text: "9" * 513, id="too long for any link"),
        pytest.param(lambda text: "x" * 60_000, id="much too long for any link"),
    ],
)
@each_row("parameter", ["user_id", "timestamp", "signature"])
def test_a_parameter_that_is_not_as_it_was_mailed_makes_the_link_forged(
    site: Site, parameter: str, change: Callable[[str], str]
) -> None:
    site.register("alice")
    link = site.link()
    reply = site.verify(link, **{parameter: change(link[parameter])})
    assert whole(reply) == whole(site.verify(link, signature="forged"))
    assert (reply.status_code, reply.get_json()) == (400, LINK_INVALID)
    assert site.verify(link).status_code == 200


@each_row("swapped", [["user_id"], ["timestamp"], ["signature"], ["user_id", "timestamp"]])
def test_two_valid_links_with_their_parts_swapped_are_forged(
    site: Site, clock: Clock, swapped: list[str]
) -> None:
    site.register("alice")
    clock.advance(5)
    site.register("bob")
    alice, bob = site.link(0), site.link(1)
    for one, other in [(alice, bob), (bob, alice)]:
        reply = site.verify({**one, **{name: other[name] for name in swapped}})
        assert (reply.status_code, reply.get_json()) == (400, LINK_INVALID)
    assert not any(user.is_verified for user in site.users())
    assert site.verify(alice).status_code == site.verify(bob).status_code == 200


def test_two_links_of_one_account_with_their_parts_swapped_are_forged(
    site: Site, clock: Clock
) -> None:
    site.register("alice")
    clock.advance(60)
    site.post("resend-verification", {"login": "alice"})
    old, new = site.link(0), site.link(1)
    assert site.verify({**old, "timestamp": new["timestamp"]}).get_json() == LINK_INVALID
    assert site.verify({**new, "timestamp": old["timestamp"]}).get_json() == LINK_INVALID


def test_the_link_of_another_application_with_the_same_key_is_forged(
    new_site: NewSite, clock: Clock
) -> None:
    one, other = new_site(), new_site()
    for site in (one, other):
        site.register("alice")
    assert one.user(username="alice").id == other.user(username="alice").id
    assert one.app.secret_key == other.app.secret_key
    assert one.verify(other.link()).get_json() == LINK_INVALID
    assert other.verify(one.link()).get_json() == LINK_INVALID


def test_the_link_of_an_application_with_another_key_is_forged(
    new_site: NewSite, sqlite_url: str
) -> None:
    one = new_site(sqlite_url)
    other = new_site(
        sqlite_url, config={"SECRET_KEY": "another key of the tests, long enough, too"}
    )
    one.register("alice")
    assert other.verify(one.link()).get_json() == LINK_INVALID
    assert one.verify().status_code == 200


def test_a_link_for_another_purpose_is_forged_though_it_is_bound_to_the_same(site: Site) -> None:
    site.register("alice")
    invite = Purpose("invite", binds=lambda user: (user.email,))
    with site.app.app_context():
        user = site.db.session.scalars(select(site.User)).one()
        url = current_registration.links.url(invite, user, "https://example.com/")
    assert site.verify(parameters(url)).get_json() == LINK_INVALID
    assert site.verify().status_code == 200


def test_both_signatures_depend_on_the_key(new_site: NewSite, clock: Clock) -> None:
    signatures: set[str] = set()
    for key in ("one", "two"):
        site = new_site(config={"SECRET_KEY": f"{key} key of the tests, long enough for anybody"})
        site.register("alice")
        parts = site.link()["signature"].split(".")
        assert [len(part) for part in parts] == [43, 43]  # HMAC-SHA-256 in Base64
        signatures.update(parts)
    assert len(signatures) == 4


def test_both_signatures_are_the_same_whichever_version_of_ours_makes_them(site: Site) -> None:
    """Else an upgrade would end every link that is in the mail."""
    site.register("alice")
    user, link = site.user(username="alice"), site.link()
    outer, _, bound = link["signature"].partition(".")
    parameters = [link["user_id"], None, link["timestamp"]]
    state = [*parameters, None, user.email, user.security_stamp[:14], None]
    assert bound == signature_of(site, "flask-registration.register.state", state)
    assert outer == signature_of(site, "flask-registration.register", [*parameters, bound])


def signature_of(site: Site, salt: str, values: list[Any]) -> str:
    """HMAC-SHA-256 in Base64, with a key of its own for each salt."""
    key = hmac.digest(str(site.app.secret_key).encode(), salt.encode(), "sha256")
    signature = base64.urlsafe_b64encode(hmac.digest(key, json.dumps(values).encode(), "sha256"))
    return signature.rstrip(b"=").decode()


# What a link that is not ours costs [L15]


def signed_without_the_account(site: Site, endpoint: str, link: dict[str, str]) -> dict[str, str]:
    """A link whose outer signature is right, as one of an earlier state of the account is."""
    bound = "A" * 43
    values = [link["user_id"], link.get("email"), link["timestamp"], bound]
    outer = signature_of(site, f"flask-registration.{SALTS[endpoint]}", values)
    return {**link, "signature": f"{outer}.{bound}"}


#: What the signatures of each endpoint's links are salted with.
SALTS = {
    "verify_registration": "register",
    "reset_password": "reset-password",
    "verify_email": "register-email",
    "undo_email_change": "undo-email-change",
    "report_login": "report-login",
    "login_by_link": "login-link",
    "cancel_recovery": "cancel-recovery",
    "cancel_deletion": "cancel-deletion",
}

LINK_ENDPOINTS = [
    name for name, endpoint in ENDPOINTS.items() if endpoint.link and not endpoint.link.of_address
]

CHEAP: dict[str, Callable[[World, str, dict[str, str]], dict[str, str]]] = {
    "forged": lambda world, name, link: {**link, "signature": "forged"},
    "forged, in two parts": lambda world, name, link: {
        **link,
        "signature": f"{'A' * 43}.{'A' * 43}",
    },
    "without its first part": lambda world, name, link: {
        **link,
        "signature": "." + link["signature"].partition(".")[2],
    },
    "without its second part": lambda world, name, link: {
        **link,
        "signature": link["signature"].partition(".")[0],
    },
    "with its parts swapped": lambda world, name, link: {
        **link,
        "signature": ".".join(reversed(link["signature"].split("."))),
    },
    "with a part too many": lambda world, name, link: {
        **link,
        "signature": f"{link['signature']}.{'A' * 43}",
    },
    "mistyped in its first part": lambda world, name, link: {
        **link,
        "signature": mistyped(link["signature"], 20),
    },
    "mistyped in its second part": lambda world, name, link: {
        **link,
        "signature": mistyped(link["signature"], 64),
    },
    "spelled otherwise in Base64": lambda world, name, link: {
        **link,
        "signature": link["signature"].replace(".", "=."),
    },
    "cut short": lambda world, name, link: {**link, "signature": link["signature"][:-1]},
    "of another account": lambda world, name, link: {**link, "user_id": link["user_id"] + "1"},
    "of another time": lambda world, name, link: {
        **link,
        "timestamp": str(int(link["timestamp"]) + 1),
    },
    "of another address": lambda world, name, link: (
        {**link, "email": "else@example.com"}
        if "email" in link
        else {**link, "signature": "forged"}
    ),
    "of another purpose": lambda world, name, link: {
        **link,
        **world.states[other_state(world, name)].links[other_endpoint(name)],
        **about(link),
    },
    "of another application": lambda world, name, link: {
        **link,
        "signature": foreign_signature(name, link),
    },
    "of a user id that is no number": lambda world, name, link: {**link, "user_id": "nobody"},
    "with numbers in place of texts": lambda world, name, link: {
        **link,
        "signature": 1,  # type: ignore[dict-item]
    },
}


def mistyped(text: str, place: int) -> str:
    """The text with another character in one place."""
    return text[:place] + ("B" if text[place] == "A" else "A") + text[place + 1 :]


def about(link: dict[str, str]) -> dict[str, str]:
    return {"email": link["email"]} if "email" in link else {}


def other_endpoint(name: str) -> str:
    return "reset_password" if name == "verify_registration" else "verify_registration"


def other_state(world: World, name: str) -> str:
    return world.state_for(other_endpoint(name))


def foreign_signature(name: str, link: dict[str, str]) -> str:
    """The signatures of an application with another key."""
    app = make_site(config={"SECRET_KEY": "another key of the tests, long enough, too"})
    return signed_without_the_account(app, name, link)["signature"]


@pytest.mark.databases
def test_a_link_that_is_not_ours_costs_no_query(
    database: str, new_site: NewSite, subtests: pytest.Subtests, security_log: list[LogRecord]
) -> None:
    world = World(new_site(database, login_model=define_login, **SETTINGS))
    assert set(LINK_ENDPOINTS) == set(SALTS)
    for name, (kind, change) in product(LINK_ENDPOINTS, CHEAP.items()):
        with subtests.test(f"{name}: {kind}"):
            state = world.enter(world.state_for(name))
            link = change(world, name, state.links[name])
            assert link != state.links[name]
            assert refusal_of(world, name, link) == []
            assert security_log[-1].__dict__["user_id"] is None
    for name in LINK_ENDPOINTS:
        with subtests.test(f"{name}: of an earlier state of the account"):
            state = world.enter(world.state_for(name))
            link = signed_without_the_account(world.site, name, state.links[name])
            statements = refusal_of(world, name, link)
            assert statements
            assert all(statement.startswith("SELECT") for statement in statements)
            assert security_log[-1].__dict__["user_id"] == link["user_id"]
        with subtests.test(f"{name}: as it was mailed"):
            assert world.ask(name).status_code == 200


def refusal_of(world: World, name: str, link: dict[str, Any]) -> list[str]:
    """Ask with a session and a token at hand; the statements that it takes to refuse the link."""
    state, body = world.states["member"], {**world.body(name), **link}
    client = world.site.app.test_client()
    if state.cookie:
        client.set_cookie("session", state.cookie)
    with world.site.statements() as statements:
        reply = client.post(world.path(ENDPOINTS[name]), json=body, headers=world.token())
    assert (reply.status_code, reply.get_json()) == (400, LINK_INVALID)
    return statements


@each_row("name", LINK_ENDPOINTS)
def test_a_link_that_is_not_ours_costs_no_query_of_the_page_behind_it(
    new_site: NewSite, name: str
) -> None:
    world = World(new_site(login_model=define_login, **SETTINGS))
    world.enter(world.state_for(name))
    client, path = world.site.app.test_client(), f"{world.path(ENDPOINTS[name])}confirm/"
    form = {**world.body(name), "signature": f"{'A' * 43}.{'A' * 43}"}
    with world.site.statements() as statements:
        reply = client.post(path, data=form)
    assert (reply.status_code, statements) == (400, [])
    assert LINK_INVALID["detail"] in reply.text


def test_a_link_that_is_not_ours_costs_no_query_of_a_flow_of_one_s_own(new_site: NewSite) -> None:
    site = new_site(flows=[*DEFAULT_FLOWS, invitation_flow()])
    site.register("alice")
    link = sign(site, INVITE)
    with site.statements() as statements:
        for parameter in link:
            reply = site.post("invite", {**link, parameter: "2"})
            assert (reply.status_code, reply.get_json()) == (400, LINK_INVALID)
        assert whole(site.post("invite", site.link())) == whole(reply)
    assert statements == []
    assert site.post("invite", link).status_code == 200


# A flow of one's own


#: Bound to the address, and ended by a new security stamp and by a verification.
INVITE = Purpose("invite", binds=lambda user: (user.email,))


def invitation_flow() -> Flow[Settings]:
    """A flow with one endpoint, which opens a link and then loads a field."""
    flow: Flow[Settings] = Flow("invite", Settings)
    link: EndpointLink[Settings] = EndpointLink(
        purpose=lambda settings: INVITE, period=lambda settings: timedelta(days=1)
    )

    class Answer(BodySchema):
        answer: fields.String = fields.String(required=True)

    @flow.post("/invite/", link=link, response=SuccessSchema)
    def invite_view(link: OpenedLink) -> Any:
        return success(f"{link.user.username} {link.seen.email} {link.params.user_id}")

    @flow.post("/answer/", link=link, request=Answer, response=SuccessSchema)
    def answer_view(link: OpenedLink, data: dict[str, Any]) -> Any:
        return success(f"{link.user.username} {data['answer']}")

    return flow


def sign(site: Site, purpose: Purpose) -> dict[str, str]:
    """A link to the first account."""
    with site.app.app_context():
        user = site.db.session.scalars(select(site.User)).first()
        url = current_registration.links.url(purpose, user, "https://example.com/")
    return parameters(url)


def test_a_view_gets_the_user_the_account_as_it_was_and_the_parameters(new_site: NewSite) -> None:
    site = new_site(flows=[*DEFAULT_FLOWS, invitation_flow()])
    site.register("alice")
    reply = site.post("invite", sign(site, INVITE))
    assert reply.get_json() == {"detail": "alice alice@example.com 1"}


def test_the_rest_of_the_body_is_looked_at_after_the_link(new_site: NewSite) -> None:
    site = new_site(flows=[*DEFAULT_FLOWS, invitation_flow()])
    site.register("alice")
    link = sign(site, INVITE)
    for body in ({"answer": "\0"}, {"answer": 1}, {}):
        reply = site.post("answer", {**link, **body, "signature": "forged"})
        assert reply.get_json() == LINK_INVALID
        assert set(site.post("answer", {**link, **body}).get_json()) == {"answer"}
        missing = site.post("answer", body)
        assert set(missing.get_json()) == {"user_id", "timestamp", "signature"}
    assert site.post("answer", {**link, "answer": "yes"}).get_json() == {"detail": "alice yes"}


def verify(site: Site) -> None:
    assert site.verify().status_code == 200


def reset(site: Site) -> None:
    site.outbox.clear()
    site.post("send-reset-password-link", {"login": "alice"})
    body = {**site.link(), "password": "a whole new set of words 42"}
    assert site.post("reset-password", body).status_code == 200


def suspend(site: Site) -> None:
    site.change(site.user(username="alice"), is_active=False)


def suspend_and_reactivate(site: Site) -> None:
    suspend(site)
    site.change(site.user(username="alice"), is_active=True)


@each_row("end", [verify, reset, suspend, suspend_and_reactivate])
def test_a_stamped_link_of_a_flow_of_one_s_own_ends_with(
    new_site: NewSite, end: Callable[[Site], None]
) -> None:
    site = new_site(flows=[*DEFAULT_FLOWS, invitation_flow()], MAIL_LIMITS=None)
    site.register("alice")
    link = sign(site, INVITE)
    assert site.post("invite", link).status_code == 200
    end(site)
    reply = site.post("invite", link)
    assert (reply.status_code, reply.get_json()) == (400, LINK_INVALID)


def test_a_link_that_is_not_stamped_outlives_a_verification(new_site: NewSite) -> None:
    purpose = Purpose("invite", binds=lambda user: (user.email,), stamped=False)
    site = new_site(flows=[*DEFAULT_FLOWS, invitation_flow()])
    site.register("alice")
    with site.app.app_context():
        links = current_registration.links
        user = site.db.session.scalars(select(site.User)).one()
        params = SignedLink(**parameters(links.url(purpose, user, "https://example.com/")))
    verify(site)
    with site.app.app_context():
        user, seen, _ = current_registration.links.open(purpose, params, timedelta(days=1))
        assert (user.username, seen.is_verified) == ("alice", True)


# Whose id?


@pytest.mark.databases
@each_row(
    "user_id",
    [
        -1,
        0,
        2,
        2**31 - 1,
        2**31,
        2**63 - 1,
        2**63,
        -(2**63),
        -(2**63) - 1,
        10**30,
        10**400,
        "-1",
        "0",
        "00",
        "01",
        "+1",
        " 1",
        "1 ",
        "1.0",
        "1e0",
        "1_0",
        "0x1",
        "１",
        "١",
        "nobody",
        "x" * 300,
        "' OR 1=1 --",
        "1; DROP TABLE users",
        True,
        False,
        1.0,
        1.9,
        [],
        [1],
        {},
        {"$ne": 1},
    ],
    ids=lambda value: (
        repr(value)
        if len(repr(value)) < 40
        else f"a long {type(value).__name__} ({len(repr(value))})"
    ),
)
def test_a_user_id_of_nobody_gets_the_answer_of_a_forged_link(
    database: str, new_site: NewSite, user_id: Any
) -> None:
    site = new_site(database)
    site.register("alice")
    link = site.link()
    assert link["user_id"] == "1"
    reply = site.verify(link, user_id=user_id)
    assert whole(reply) == whole(site.verify(link, signature="forged"))
    assert (reply.status_code, reply.get_json()) == (400, LINK_INVALID)
    assert site.verify(link).status_code == 200


@each_row("parameter", ["user_id", "timestamp", "signature"])
@each_row(
    "value",
    [True, 1.9, [], {}, -1, 10**400],
    ids=["true", "1.9", "a list", "an object", "-1", "a number of 400 digits"],
)
def test_a_value_that_no_link_has_is_forged_wherever_it_stands(
    site: Site, parameter: str, value: Any
) -> None:
    site.register("alice")
    reply = site.verify(**{parameter: value})
    assert (reply.status_code, reply.get_json()) == (400, LINK_INVALID)


@each_row("parameter", ["user_id", "timestamp", "signature"])
@each_row(
    ("value", "told"),
    [
        pytest.param(..., REQUIRED, id="missing"),
        pytest.param("", REQUIRED, id="empty"),
        pytest.param(None, "This field may not be null.", id="null"),
    ],
)
def test_a_parameter_that_is_not_there_is_named(
    database: str, new_site: NewSite, parameter: str, value: Any, told: str
) -> None:
    site = new_site(database)
    site.register("alice")
    link: dict[str, Any] = {**site.link(), parameter: value}
    if value is ...:
        del link[parameter]
    reply = site.verify(link)
    assert (reply.status_code, reply.get_json()) == (400, {parameter: [told]})


def test_every_parameter_that_is_missing_is_named(site: Site) -> None:
    reply = site.post("verify-registration", {})
    assert reply.get_json() == {name: [REQUIRED] for name in ("user_id", "timestamp", "signature")}


def test_a_forged_parameter_beside_a_missing_one_is_just_forged(site: Site) -> None:
    reply = site.post("verify-registration", {"user_id": [], "timestamp": "1"})
    assert (reply.status_code, reply.get_json()) == (400, LINK_INVALID)


@pytest.mark.databases
@each_row("kind", [str, int])
def test_user_id_and_timestamp_may_come_back_as_text_or_as_numbers(
    database: str, new_site: NewSite, kind: Callable[[str], Any]
) -> None:
    site = new_site(database)
    site.register("alice")
    link = site.link()
    reply = site.verify(link, user_id=kind(link["user_id"]), timestamp=kind(link["timestamp"]))
    assert reply.status_code == 200


def test_what_else_a_front_end_posts_is_not_looked_at(site: Site) -> None:
    site.register("alice")
    assert site.verify(lang="de", utm_source="mail", is_active=False).status_code == 200
    assert site.user(username="alice").is_active


# Time


@each_row(
    ("seconds", "status", "body"),
    [
        pytest.param(0, 200, None, id="at once"),
        pytest.param(WEEK - 1, 200, None, id="a second before it expires"),
        pytest.param(WEEK, 200, None, id="in its last second"),
        pytest.param(WEEK + 1, 400, LINK_EXPIRED, id="a second too late"),
        pytest.param(WEEK * 1000, 400, LINK_EXPIRED, id="years later"),
        pytest.param(-60, 200, None, id="from a host whose clock is a minute ahead"),
        pytest.param(
            -61, 400, LINK_INVALID, id="from a host whose clock is more than a minute ahead"
        ),
        pytest.param(-WEEK, 400, LINK_INVALID, id="from next week"),
    ],
)
@each_row("fraction", [0, 0.999], ids=["on the second", "just before the next"])
def test_a_link_is_answered(
    site: Site,
    clock: Clock,
    seconds: int,
    status: int,
    body: dict[str, str] | None,
    fraction: float,
) -> None:
    site.register("alice")
    clock.advance(seconds + fraction)
    reply = site.verify()
    assert reply.status_code == status
    assert body is None or reply.get_json() == body
    assert site.user(username="alice").is_verified == (status == 200)


def test_a_new_timestamp_does_not_make_an_expired_link_young(site: Site, clock: Clock) -> None:
    site.register("alice")
    clock.advance(WEEK + 1)
    assert site.verify(timestamp=str(int(clock()))).get_json() == LINK_INVALID


@each_row("state", [{"is_active": False}, {"email": "else@example.com"}])
def test_an_expired_link_that_is_dead_for_another_reason_does_not_say_expired(
    site: Site, clock: Clock, state: dict[str, Any]
) -> None:
    site.register("alice")
    site.change(site.user(username="alice"), **state)
    clock.advance(WEEK + 1)
    assert site.verify().get_json() == LINK_INVALID


def test_a_link_that_has_expired_can_be_asked_for_anew(site: Site, clock: Clock) -> None:
    site.register("alice")
    clock.advance(WEEK + 1)
    assert site.verify().get_json() == LINK_EXPIRED
    site.post("resend-verification", {"login": "alice"})
    assert site.verify().status_code == 200


# Keys


@each_row(
    ("key", "fallbacks", "status"),
    [
        pytest.param("old", None, 200, id="before a rotation"),
        pytest.param("new", ["old"], 200, id="after a rotation"),
        pytest.param("newest", ["old", "new"], 200, id="after two rotations, oldest first"),
        pytest.param("newest", ["new", "old"], 200, id="after two rotations, newest first"),
        pytest.param("new", [], 400, id="once the key has been dropped"),
        pytest.param("new", ["another"], 400, id="with another fallback"),
    ],
)
def test_a_link_of_the_old_key_is_answered(
    site: Site, key: str, fallbacks: list[str] | None, status: int
) -> None:
    site.app.config["SECRET_KEY"] = "old"
    site.register("alice")
    site.app.config.update(SECRET_KEY=key, SECRET_KEY_FALLBACKS=fallbacks)
    assert site.verify().status_code == status


def test_a_fallback_verifies_and_does_not_sign(site: Site) -> None:
    site.app.config.update(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["old"])
    site.register("alice")
    link = site.link()
    site.app.config.update(SECRET_KEY="old", SECRET_KEY_FALLBACKS=[])
    assert site.verify(link).get_json() == LINK_INVALID
    site.app.config.update(SECRET_KEY="new")
    assert site.verify(link).status_code == 200


def test_dropping_a_key_kills_its_links_and_no_others(site: Site) -> None:
    site.app.config["SECRET_KEY"] = "old"
    site.register("alice")
    site.app.config.update(SECRET_KEY=b"new", SECRET_KEY_FALLBACKS=["old"])
    site.register("bob")
    site.app.config.update(SECRET_KEY_FALLBACKS=[])
    assert site.verify(site.link(0)).get_json() == LINK_INVALID
    assert site.verify(site.link(1)).status_code == 200


# Who only looks


@each_row("method", ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE"])
@each_row("slash", ["/", ""], ids=["with the slash", "without it"])
def test_nothing_but_a_post_uses_a_link(site: Site, method: str, slash: str) -> None:
    site.register("alice")
    with site.hears(user_activated) as heard, site.statements() as statements:
        reply = site.app.test_client().open(
            f"/accounts/verify-registration{slash}",
            method=method,
            query_string=site.link(),
            json=site.link(),
        )
    assert reply.status_code == (200 if method == "OPTIONS" else 405)
    assert set(reply.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}
    assert (heard, statements) == ([], [])
    assert not site.user(username="alice").is_verified
    assert site.verify().status_code == 200


def test_a_link_in_the_query_of_a_post_is_not_looked_at(site: Site) -> None:
    site.register("alice")
    reply = site.app.test_client().post(
        "/accounts/verify-registration/", query_string=site.link(), json={}
    )
    assert reply.status_code == 400
    assert not site.user(username="alice").is_verified


# Where it leads


@each_row(
    "request_line",
    [
        pytest.param({"headers": {"Host": "evil.example"}}, id="Host"),
        pytest.param({"headers": {"Host": "evil.example:443"}}, id="Host with a port"),
        pytest.param({"headers": {"X-Forwarded-Host": "evil.example"}}, id="X-Forwarded-Host"),
        pytest.param({"headers": {"Forwarded": "host=evil.example;proto=https"}}, id="Forwarded"),
        pytest.param({"headers": {"X-Original-Host": "evil.example"}}, id="X-Original-Host"),
        pytest.param({"headers": {"X-Forwarded-Prefix": "/evil.example"}}, id="X-Forwarded-Prefix"),
        pytest.param({"headers": {"Origin": "https://evil.example"}}, id="Origin"),
        pytest.param({"headers": {"Referer": "https://evil.example/"}}, id="Referer"),
        pytest.param({"base_url": "https://evil.example"}, id="an absolute-form request line"),
        pytest.param({"environ_base": {"SERVER_NAME": "evil.example"}}, id="the server's name"),
        pytest.param({"query_string": {"next": "https://evil.example/"}}, id="a query"),
    ],
)
def test_the_request_does_not_say_where_a_mailed_link_leads(
    site: Site, clock: Clock, request_line: dict[str, Any]
) -> None:
    body = {
        "username": "alice",
        "email": "alice@example.com",
        "password": PASSWORD,
        "password_confirm": PASSWORD,
    }
    assert site.post("register", body, **request_line).status_code == 201
    clock.advance(60)
    assert site.post("resend-verification", {"login": "alice"}, **request_line).status_code == 200
    assert len(site.outbox) == 2
    for number in (0, 1):
        mail = site.read(number)
        assert "https://example.com/verify-registration/?timestamp=" in text_of(mail)
        assert "evil" not in text_of(mail) + html_of(mail) + str(mail.items())


# An id that is used again


def define_user_without_stamp(db: SQLAlchemy) -> type[Any]:
    class User(db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        username: Mapped[str] = mapped_column(String(40), unique=True)
        email: Mapped[str] = mapped_column(String(254), unique=True)
        password_hash: Mapped[str] = mapped_column(String(255))
        is_verified: Mapped[bool] = mapped_column(default=False)

    return User


@each_row("define", [None, define_user_without_stamp], ids=["with a stamp", "without a stamp"])
def test_a_link_to_a_deleted_account_stays_dead_when_its_id_is_used_again(
    new_site: NewSite, clock: Clock, define: Any
) -> None:
    site = new_site(define=define)
    site.register("alice")
    first = site.user(username="alice")
    with site.app.app_context():
        site.db.session.delete(site.db.session.get(site.User, first.id))
        site.db.session.commit()
    assert site.verify().get_json() == LINK_INVALID
    clock.advance(60)
    site.register("alice")  # the same name, address and password, and the same second but one
    assert site.user(username="alice").id == first.id
    assert site.verify(site.link(0)).get_json() == LINK_INVALID
    assert not site.user(username="alice").is_verified
    assert site.verify(site.link(1)).status_code == 200


def test_a_link_to_an_account_that_was_rolled_back_stays_dead_when_its_id_is_used_again(
    new_site: NewSite, clock: Clock
) -> None:
    site = new_site(MAIL_DISPATCHER="inline", MAIL_LIMITS=None)

    def fail(session: Any) -> None:
        raise RuntimeError("the disk is full")

    event.listen(site.db.session, "before_commit", fail)
    with pytest.raises(RuntimeError, match="the disk is full"):
        site.register("alice")
    event.remove(site.db.session, "before_commit", fail)
    assert (site.users(), len(site.outbox)) == ([], 1)
    site.register("alice")
    assert site.link(0)["user_id"] == site.link(1)["user_id"]
    assert site.verify(site.link(0)).get_json() == LINK_INVALID
    assert site.verify(site.link(1)).status_code == 200
