"""Mailed links, and what must not open them. The names in brackets are rows of the threat table."""

from __future__ import annotations

import base64
import hmac
import json
import string
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import String, event, select
from sqlalchemy.orm import Mapped, mapped_column

from flask_registration import Purpose, current_registration, user_activated

from .conftest import Clock
from .site import PASSWORD, Site, html_of, text_of, whole
from .tables import each_row

NewSite = Callable[..., Site]

LINK_INVALID = {
    "detail": "This link is not valid. It may have been used already, or been replaced by a newer one.",
    "code": "signature-invalid",
}
LINK_EXPIRED = {"detail": "This link has expired. Please ask for a new one.", "code": "signature-expired"}
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
def test_any_flipped_bit_of_any_parameter_gets_the_answer_of_a_forged_link(site: Site, parameter: str) -> None:
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
        pytest.param(lambda text: text[:-1] + BASE64[BASE64.index(text[-1]) ^ 1], id="with the same bytes in Base64"),
        pytest.param(lambda text: text + "=", id="with padding"),
        pytest.param(lambda text: text + " ", id="with a space behind"),
        pytest.param(lambda text: " " + text, id="with a space before"),
        pytest.param(lambda text: text + "\n", id="with a line end"),
        pytest.param(lambda text: text + "!!!!", id="with characters that Base64 skips"),
        pytest.param(lambda text: text[:1] + "!!!!" + text[1:], id="with characters that Base64 skips inside"),
        pytest.param(lambda text: text[:1] + "!é" + text[1:], id="with two that Base64 skips, one of two bytes"),
        pytest.param(lambda text: "0" + text, id="with a zero before"),
        pytest.param(lambda text: "+" + text, id="with a plus before"),
        pytest.param(lambda text: "٣", id="a digit of another script"),
        pytest.param(lambda text: text.swapcase() + ("" if text.swapcase() != text else "x"), id="in the other case"),
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
def test_two_valid_links_with_their_parts_swapped_are_forged(site: Site, clock: Clock, swapped: list[str]) -> None:
    site.register("alice")
    clock.advance(5)
    site.register("bob")
    alice, bob = site.link(0), site.link(1)
    for one, other in [(alice, bob), (bob, alice)]:
        reply = site.verify({**one, **{name: other[name] for name in swapped}})
        assert (reply.status_code, reply.get_json()) == (400, LINK_INVALID)
    assert not any(user.is_verified for user in site.users())
    assert site.verify(alice).status_code == site.verify(bob).status_code == 200


def test_two_links_of_one_account_with_their_parts_swapped_are_forged(site: Site, clock: Clock) -> None:
    site.register("alice")
    clock.advance(60)
    site.post("resend-verification", {"login": "alice"})
    old, new = site.link(0), site.link(1)
    assert site.verify({**old, "timestamp": new["timestamp"]}).get_json() == LINK_INVALID
    assert site.verify({**new, "timestamp": old["timestamp"]}).get_json() == LINK_INVALID


def test_the_link_of_another_application_with_the_same_key_is_forged(new_site: NewSite, clock: Clock) -> None:
    one, other = new_site(), new_site()
    for site in (one, other):
        site.register("alice")
    assert one.user(username="alice").id == other.user(username="alice").id
    assert one.app.secret_key == other.app.secret_key
    assert one.verify(other.link()).get_json() == LINK_INVALID
    assert other.verify(one.link()).get_json() == LINK_INVALID


def test_the_link_of_an_application_with_another_key_is_forged(new_site: NewSite, sqlite_url: str) -> None:
    one = new_site(sqlite_url)
    other = new_site(sqlite_url, config={"SECRET_KEY": "another key of the tests, long enough, too"})
    one.register("alice")
    assert other.verify(one.link()).get_json() == LINK_INVALID
    assert one.verify().status_code == 200


def test_a_link_for_another_purpose_is_forged_though_it_is_bound_to_the_same(site: Site) -> None:
    site.register("alice")
    invite = Purpose("invite", binds=lambda user: (user.email,))
    with site.app.app_context():
        user = site.db.session.scalars(select(site.User)).one()
        link = current_registration.links.sign(invite, user, "https://example.com/")
    assert site.verify(dict(link.params)).get_json() == LINK_INVALID
    assert site.verify().status_code == 200


def test_a_signature_says_nothing_that_the_key_does_not_know(new_site: NewSite, clock: Clock) -> None:
    signatures = set()
    for key in ("one key of the tests, long enough for anybody", "two keys of the tests, long enough for anybody"):
        site = new_site(config={"SECRET_KEY": key})
        site.register("alice")
        assert len(site.link()["signature"]) == 43  # HMAC-SHA-256 in Base64
        signatures.add(site.link()["signature"])
    assert len(signatures) == 2


def test_a_signature_is_the_same_whichever_version_of_ours_makes_it(site: Site) -> None:
    """Else an upgrade would end every link that is in the mail."""
    site.register("alice")
    user, link = site.user(username="alice"), site.link()
    secret = str(site.app.secret_key).encode()
    key = hmac.digest(secret, b"flask-registration.register", "sha256")
    signed = json.dumps([link["user_id"], None, link["timestamp"], None, user.email, user.security_stamp[16:]])
    signature = base64.urlsafe_b64encode(hmac.digest(key, signed.encode(), "sha256"))
    assert link["signature"] == signature.rstrip(b"=").decode()


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
    ids=lambda value: repr(value) if len(repr(value)) < 40 else f"a long {type(value).__name__} ({len(repr(value))})",
)
def test_a_user_id_of_nobody_gets_the_answer_of_a_forged_link(database: str, new_site: NewSite, user_id: Any) -> None:
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
def test_a_value_that_no_link_has_is_forged_wherever_it_stands(site: Site, parameter: str, value: Any) -> None:
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
        pytest.param(-61, 400, LINK_INVALID, id="from a host whose clock is more than a minute ahead"),
        pytest.param(-WEEK, 400, LINK_INVALID, id="from next week"),
    ],
)
@each_row("fraction", [0, 0.999], ids=["on the second", "just before the next"])
def test_a_link_is_answered(
    site: Site, clock: Clock, seconds: int, status: int, body: dict[str, str] | None, fraction: float
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
def test_a_link_of_the_old_key_is_answered(site: Site, key: str, fallbacks: list[str] | None, status: int) -> None:
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
            f"/accounts/verify-registration{slash}", method=method, query_string=site.link(), json=site.link()
        )
    assert reply.status_code == (200 if method == "OPTIONS" else 405)
    assert set(reply.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}
    assert (heard, statements) == ([], [])
    assert not site.user(username="alice").is_verified
    assert site.verify().status_code == 200


def test_a_link_in_the_query_of_a_post_is_not_looked_at(site: Site) -> None:
    site.register("alice")
    reply = site.app.test_client().post("/accounts/verify-registration/", query_string=site.link(), json={})
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
        assert "https://example.com/verify-registration/?user_id=" in text_of(mail)
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
    site = new_site(MAIL_DISPATCHER="inline", MAIL_COOLDOWN=0)

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
