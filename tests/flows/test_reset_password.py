"""Replace a forgotten password."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from flask import current_app
from marshmallow import Schema, fields
from sqlalchemy import Boolean, String, select
from sqlalchemy.orm import mapped_column

from flask_registration import (
    ConfigurationError,
    UserNotFound,
    actions,
    user_activated,
    user_changed_password,
    user_logged_in,
    user_reset_password,
)

from ..conftest import Clock
from ..faults.test_interleaved import suspend
from ..site import PASSWORD, Site, links_of, own_model, parameters, text_of, whole
from ..tables import each_row
from .common import (
    AT_ONCE,
    BOTH_KINDS_OF_SESSION,
    LINK_EXPIRED,
    LINK_INVALID,
    OTHER_PASSWORD,
    THREADS,
    NewSite,
    ask_move,
    ask_reset,
    at_once,
    changed,
    cookies_of,
    forged,
    forget_mails,
    has_password,
    is_in,
    log_in,
    mails,
    member,
    move,
    row,
    token_of,
)

SENT = {"detail": "If this account exists, an e-mail to reset the password is on its way"}
DONE = {"detail": "Password reset successful"}
NOT_FOUND = {"detail": "User not found.", "code": "user-not-found"}
ASKED = ("alice@example.com", "Choose a new password for example.com")
NOTICE = ("alice@example.com", "Your password for example.com was changed")


def reset(site: Site, link: dict[str, Any], password: Any = OTHER_PASSWORD, **more: Any) -> Any:
    return site.post("reset-password", {**link, "password": password, **more})


def pending(site: Site, username: str = "pending") -> Any:
    """Somebody who has registered and not verified."""
    site.register(username)
    forget_mails(site)
    return site.user(username=username)


# Ask for the link


def test_asking_mails_a_link_to_the_stored_address_and_changes_nothing(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database)
    user = member(site)
    before = row(site, username="alice")
    reply = site.post("send-reset-password-link", {"login": "alice"})
    assert (reply.status_code, reply.get_json()) == (200, SENT)
    assert row(site, username="alice") == before
    (url,) = set(links_of(site.read()))
    assert url.startswith("https://example.com/reset-password/?timestamp=")
    assert set(parameters(url)) == {"user_id", "timestamp", "signature"}
    assert parameters(url)["user_id"] == str(user.id)
    assert "This link expires in 1 day and can be used only once." in text_of(site.read())
    assert mails(site) == [ASKED]


@each_row("body", [{"login": "alice"}, {"username": "alice"}, {"login": "ALICE"}], ids=str)
def test_an_account_is_named_by_login_or_by_the_field_itself(
    site: Site, body: dict[str, str]
) -> None:
    member(site)
    assert site.post("send-reset-password-link", body).get_json() == SENT
    assert mails(site) == [ASKED]


@each_row(
    "dispatcher",
    ["background", "inline"],
    ids=["mail in the background", "mail within the request"],
)
@each_row("server", ["works", "fails"], ids=["a mail server that works", "one that fails"])
def test_the_answer_is_the_same_to_the_byte_whoever_is_meant(
    database: str, new_site: NewSite, monkeypatch: pytest.MonkeyPatch, dispatcher: str, server: str
) -> None:
    nullable = own_model(
        email=lambda: mapped_column(String(254), unique=True),
        is_active=lambda: mapped_column(Boolean, default=True),
    )
    site = new_site(database, define=nullable, MAIL_DISPATCHER=dispatcher)
    member(site)
    pending(site)
    member(site, "nomail", email=None)
    site.change(member(site, "suspended"), is_active=False)
    if server == "fails":
        monkeypatch.setattr(site.app.extensions["registration"].mailer, "send", _no_mail)
    names = [
        "alice",
        "pending",
        "suspended",
        "nomail",
        "nobody",
        "a b",
        "x" * 5000,
        "",
        "alice'--",
        "%",
        "\\",
    ]
    requests = {
        name: partial(site.post, "send-reset-password-link", {"login": name}) for name in names
    }
    site.assert_uniform_answers(**requests)
    assert requests["nobody"]().status_code == 200
    reached = {"alice@example.com", "pending@example.com"} if server == "works" else set()
    assert {to for to, _ in mails(site)} == reached


def _no_mail(*_: Any, **__: Any) -> None:
    raise OSError("the mail server's own trouble")


@each_row(
    ("name", "found"),
    [("alice", True), ("pending", True), ("suspended", False), ("nobody", False)],
)
def test_a_site_may_tell_strangers_who_has_an_account(
    new_site: NewSite, name: str, found: bool
) -> None:
    site = new_site(RESET_PASSWORD_FAIL_WHEN_USER_NOT_FOUND=True)
    member(site)
    pending(site)
    site.change(member(site, "suspended"), is_active=False)
    reply = site.post("send-reset-password-link", {"login": name})
    sent = {"detail": "An e-mail to reset the password is on its way"}
    expected = (200, sent) if found else (400, NOT_FOUND)
    assert (reply.status_code, reply.get_json()) == expected
    assert len(site.outbox) == found


@each_row(
    ("body", "complaints"),
    [
        pytest.param({}, {"login": ["This field is required."]}, id="nothing"),
        pytest.param(
            {"address": "alice@example.com"},
            {"login": ["This field is required."]},
            id="another field",
        ),
        pytest.param({"login": None}, {"login": ["This field may not be null."]}, id="null"),
        pytest.param({"login": ["alice"]}, {"login": ["Not a valid string."]}, id="a list"),
        pytest.param(
            {"login": "a\0"}, {"login": ["This text contains unsupported characters."]}, id="a NUL"
        ),
    ],
)
def test_a_body_that_names_nobody_is_told_so(
    site: Site, body: dict[str, Any], complaints: dict[str, Any]
) -> None:
    member(site)
    reply = site.post("send-reset-password-link", body)
    assert (reply.status_code, reply.get_json()) == (400, complaints)
    assert site.outbox == []


@each_row(
    ("body", "reached"),
    [
        ({"email": "alice@example.com"}, 1),
        ({"email": "ALICE@Example.com"}, 1),
        ({"email": "nobody@example.com"}, 0),
        ({"email": "no address"}, 0),
        ({"login": "alice"}, 1),
    ],
    ids=str,
)
def test_an_account_may_be_named_by_its_address_where_a_setting_says_so(
    new_site: NewSite, body: dict[str, str], reached: int
) -> None:
    site = new_site(SEND_RESET_PASSWORD_LINK_SCHEMA_USE_EMAIL=True)
    member(site)
    reply = site.post("send-reset-password-link", body)
    assert (reply.status_code, reply.get_json()) == (200, SENT)
    assert [message.recipients for message in site.outbox] == [["alice@example.com"]] * reached


VARIANTS = ["Mike@Example.com", "MIKE@EXAMPLE.COM", "mike@example.com "]
OTHERS = [
    "mıke@example.com",
    "míke@example.com",
    "mike@example.com\u200b",
    "mike @example.com",
]
OTHERS += [
    "mike@exаmple.com",
    "ｍike@example.com",
    "mike@example.com.evil.org",
    "mike@example.com,eve@example.com",
]


@pytest.mark.databases
@each_row("typed", [*VARIANTS, *OTHERS])
def test_mail_goes_to_the_stored_address_and_no_variant_stands_for_it(
    database: str, new_site: NewSite, typed: str
) -> None:
    site = new_site(database, SEND_RESET_PASSWORD_LINK_SCHEMA_USE_EMAIL=True)
    member(site, "mike")
    assert site.post("send-reset-password-link", {"email": typed}).get_json() == SENT
    reached = [["mike@example.com"]] if typed in VARIANTS else []
    assert [message.recipients for message in site.outbox] == reached


@pytest.mark.databases
@each_row("typed", ["MIKE", "ｍｉｋｅ", "mike "])
@each_row("other", ["mıke", "míke", "mi ke", "mike%", "mikè"])
def test_a_login_is_found_exactly(database: str, new_site: NewSite, typed: str, other: str) -> None:
    site = new_site(database)
    member(site, "mike")
    assert site.post("send-reset-password-link", {"login": other}).get_json() == SENT
    assert site.outbox == []
    assert site.post("send-reset-password-link", {"login": typed}).get_json() == SENT
    assert [message.recipients for message in site.outbox] == [["mike@example.com"]]


class AskByPhone(Schema):
    phone = fields.String(required=True)


def find_by_phone(data: Any, **kwargs: Any) -> Any:
    state = current_app.extensions["registration"]
    for user in state.users.find("username", data["phone"]):
        return user
    raise UserNotFound


def test_an_application_may_ask_and_find_in_its_own_way(new_site: NewSite) -> None:
    site = new_site(
        SEND_RESET_PASSWORD_LINK_SCHEMA_CLASS=f"{__name__}.AskByPhone",
        SEND_RESET_PASSWORD_LINK_USER_FINDER=f"{__name__}.find_by_phone",
    )
    member(site, "0123")
    assert site.post("send-reset-password-link", {"login": "0123"}).get_json() == {
        "phone": ["Missing data for required field."],
        "login": ["Unknown field."],
    }
    assert site.post("send-reset-password-link", {"phone": "0456"}).get_json() == SENT
    assert site.outbox == []
    assert site.post("send-reset-password-link", {"phone": "0123"}).get_json() == SENT
    assert site.outbox[0].recipients == ["0123@example.com"]
    assert reset(site, site.link()).get_json() == DONE


def test_an_application_may_send_in_its_own_way(new_site: NewSite) -> None:
    sent: list[Any] = []

    def send(request: Any, user: Any, *, verification_url: str, **kwargs: Any) -> None:
        sent.append((request.path, user.username, verification_url, kwargs["valid_for"]))

    site = new_site(RESET_PASSWORD_VERIFICATION_EMAIL_SENDER=send)
    member(site)
    assert site.post("send-reset-password-link", {"login": "alice"}).get_json() == SENT
    ((path, name, url, valid_for),) = sent
    assert (path, name, valid_for, site.outbox) == (
        "/accounts/send-reset-password-link/",
        "alice",
        "1 day",
        [],
    )
    assert reset(site, parameters(url)).get_json() == DONE


def test_an_application_may_have_its_own_templates(new_site: NewSite, tmp_path: Any) -> None:
    (tmp_path / "subject.txt").write_text("A new one for {{ user.username }}")
    (tmp_path / "body.txt").write_text(
        "{{ email }} {{ valid_for }} {{ site_name }}\n{{ verification_url }}\n"
    )
    site = new_site(
        template_folder=str(tmp_path),
        RESET_PASSWORD_VERIFICATION_EMAIL_TEMPLATES={"subject": "subject.txt", "body": "body.txt"},
        RESET_PASSWORD_VERIFICATION_PERIOD=3600,
        SITE_NAME="The Site",
    )
    member(site)
    site.post("send-reset-password-link", {"login": "alice"})
    mail = site.read()
    assert mail["Subject"] == "A new one for alice"
    assert text_of(mail).startswith(
        "alice@example.com 1 hour The Site\nhttps://example.com/reset-password/?timestamp="
    )
    assert mail.get_body(("html",)) is None


@each_row(
    "header",
    [
        {"Host": "evil.example"},
        {"X-Forwarded-Host": "evil.example"},
        {"Forwarded": "host=evil.example"},
        {"Origin": "https://evil.example", "Referer": "https://evil.example/"},
    ],
    ids=lambda header: next(iter(header)),
)
def test_no_header_reaches_the_link(site: Site, header: dict[str, str]) -> None:
    member(site)
    site.post("send-reset-password-link", {"login": "alice"}, headers=header)
    assert "evil" not in site.read().as_string()
    assert "https://example.com/reset-password/?timestamp=" in text_of(site.read())


def test_within_a_minute_of_the_last_link_it_is_silent_and_answers_alike(
    site: Site, clock: Clock
) -> None:
    member(site)
    forget_mails(site)
    nobody = whole(site.post("send-reset-password-link", {"login": "nobody"}))
    for seconds, sent in ((0, [ASKED]), (0, []), (59, []), (1, [ASKED])):
        clock.advance(seconds)
        assert whole(site.post("send-reset-password-link", {"login": "alice"})) == nobody
        assert mails(site) == sent


@each_row("pending", [True, False], ids=["a pending account", "a member"])
@each_row("before", ["resend-verification", "register", "register-email"])
def test_no_e_mail_that_others_cause_prevents_the_reset_link(
    site: Site, clock: Clock, before: str, pending: bool
) -> None:
    member(site, "carol")
    client = log_in(site, "carol")
    if pending:
        site.register("alice")
    else:
        member(site)
    if before == "register":
        site.register("mallory", email="alice@example.com")
    elif before == "register-email":
        site.post("register-email", {"email": "alice@example.com"}, client=client)
    else:
        site.post(before, {"login": "alice"})
    site.outbox.clear()
    clock.advance(60)
    site.post("send-reset-password-link", {"login": "alice"})
    assert mails(site) == [ASKED]


def test_a_mail_that_failed_is_no_reason_to_be_silent(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    member(site)
    monkeypatch.setattr(site.app.extensions["registration"].mailer, "send", _no_mail)
    assert site.post("send-reset-password-link", {"login": "alice"}).get_json() == SENT
    monkeypatch.undo()
    assert site.post("send-reset-password-link", {"login": "alice"}).get_json() == SENT
    assert mails(site) == [ASKED]


@each_row("endpoint", ["send-reset-password-link", "reset-password"])
def test_a_flow_that_is_switched_off_is_not_there(new_site: NewSite, endpoint: str) -> None:
    site = new_site(RESET_PASSWORD_VERIFICATION_ENABLED=False)
    member(site)
    reply = site.post(endpoint, {"login": "alice"})
    assert (reply.status_code, reply.get_json()["code"]) == (404, "not-found")
    assert site.outbox == []


# Set the new password


def test_the_link_sets_the_password_tells_the_owner_and_announces_it(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database)
    member(site)
    link = ask_reset(site)
    site.outbox.clear()
    before = row(site, username="alice")
    with site.hears(
        user_reset_password, user_changed_password, user_activated, user_logged_in
    ) as heard:
        reply = reset(site, link)
    assert (reply.status_code, reply.get_json()) == (200, DONE)
    assert cookies_of(reply) == ["registration_device"]  # nobody is logged in by it
    assert changed(before, row(site, username="alice")) == {"password_hash", "security_stamp"}
    assert [(each["signal"], each["user"].username, each["request"].path) for each in heard] == [
        ("user-reset-password", "alice", "/accounts/reset-password/")
    ]
    assert mails(site) == [NOTICE]
    assert (has_password(site, PASSWORD), has_password(site, OTHER_PASSWORD)) == (False, True)


@each_row("confirm", [False, True], ids=["without a confirmation", "with one"])
def test_whether_it_is_typed_twice_is_a_setting(new_site: NewSite, confirm: bool) -> None:
    site = new_site(RESET_PASSWORD_SCHEMA_PASSWORD_CONFIRM=confirm)
    member(site)
    link = ask_reset(site)
    if confirm:
        assert reset(site, link).get_json() == {"password_confirm": ["This field is required."]}
        reply = reset(site, link, password_confirm="another")
        assert (reply.status_code, reply.get_json()) == (
            400,
            {"password_confirm": ["The two passwords do not match."]},
        )
        assert (
            reset(site, {"signature": "forged", **link, "timestamp": "1"}).get_json()
            == LINK_INVALID
        )
        link["password_confirm"] = OTHER_PASSWORD
    assert reset(site, link).get_json() == DONE


def test_the_parameters_may_come_as_numbers(site: Site) -> None:
    member(site)
    link = ask_reset(site)
    assert (
        reset(
            site, {**link, "user_id": int(link["user_id"]), "timestamp": int(link["timestamp"])}
        ).get_json()
        == DONE
    )


@each_row("name", ["user_id", "timestamp", "signature"])
def test_a_parameter_that_is_missing_is_told_by_its_name(site: Site, name: str) -> None:
    member(site)
    link = ask_reset(site)
    del link[name]
    reply = reset(site, link)
    assert (reply.status_code, reply.get_json()) == (400, {name: ["This field is required."]})


PASSWORDS = [
    pytest.param({"password": "short"}, id="a short password"),
    pytest.param({"password": "password1"}, id="one that everybody has"),
    pytest.param({"password": "alice@example.com"}, id="the address"),
    pytest.param({"password": "x" * 257}, id="an overlong one"),
    pytest.param({"password": "a\0b" * 9}, id="one with a NUL"),
    pytest.param({"password": "\ud800" * 9}, id="one with half a surrogate pair"),
    pytest.param({"password": ""}, id="an empty one"),
    pytest.param({"password": None}, id="null"),
    pytest.param({"password": ["a list"]}, id="a list"),
    pytest.param({}, id="none"),
]


@each_row("body", PASSWORDS)
@each_row("confirm", [False, True], ids=["once", "typed twice"])
def test_no_password_shows_anything_until_the_link_has_proved_itself(
    new_site: NewSite, body: dict[str, Any], confirm: bool
) -> None:
    site = new_site(RESET_PASSWORD_SCHEMA_PASSWORD_CONFIRM=confirm)
    member(site)
    link = ask_reset(site)
    unlike_any = forged(site, "reset-password", password=OTHER_PASSWORD)
    for bad in (
        {"signature": "forged"},
        {"user_id": "4711"},
        {"timestamp": str(int(link["timestamp"]) + 1)},
    ):
        assert whole(site.post("reset-password", {**link, **bad, **body})) == unlike_any
    twice = {"password_confirm": body["password"]} if "password" in body else {}
    reply = site.post("reset-password", {**link, **twice, **body})
    assert reply.status_code == 400
    assert "password" in reply.get_json()
    assert (
        reset(site, link, password_confirm=OTHER_PASSWORD).get_json() == DONE
    )  # the link is still good


@each_row("name", ["user_id", "timestamp", "signature"])
def test_any_flipped_bit_of_any_parameter_is_a_forged_link(site: Site, name: str) -> None:
    member(site)
    link = ask_reset(site)
    before, expected = (
        row(site, username="alice"),
        forged(site, "reset-password", password=OTHER_PASSWORD),
    )
    data = link[name].encode()
    for position in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        if flipped[position // 8] >= 128:
            continue  # no JSON
        reply = reset(site, {**link, name: flipped.decode()})
        assert (position, whole(reply)) == (position, expected)
    for longer in (
        link[name] + "0",
        "0" + link[name],
        " " + link[name],
        link[name] + "\n",
        link[name].upper() + "=",
    ):
        assert whole(reset(site, {**link, name: longer})) == expected
    assert row(site, username="alice") == before
    assert reset(site, link).get_json() == DONE


# Once


def test_a_link_works_once(database: str, new_site: NewSite) -> None:
    site = new_site(database)
    member(site)
    link = ask_reset(site)
    expected = forged(site, "reset-password", password=OTHER_PASSWORD)
    assert reset(site, link).get_json() == DONE
    before = row(site, username="alice")
    assert whole(reset(site, link)) == expected
    assert whole(reset(site, link, "yet another heap of words")) == expected
    assert row(site, username="alice") == before


@pytest.mark.databases
@BOTH_KINDS_OF_SESSION
def test_of_fifty_uses_at_once_one_works_and_the_others_are_forged_links(
    database: str, new_site: NewSite, sessions: dict[str, Any]
) -> None:
    site = new_site(database, config=AT_ONCE, **sessions)
    member(site)
    link = ask_reset(site)
    site.outbox.clear()
    expected = forged(site, "reset-password", password=OTHER_PASSWORD)
    with site.hears(user_reset_password) as heard:
        replies = at_once(
            lambda number: reset(site, link, f"the password of number {number}, and no other")
        )
    (winner,) = [number for number in range(THREADS) if has_password(site, _password_of(number))]
    assert Counter(reply.status_code for reply in replies) == {200: 1, 400: THREADS - 1}
    assert {str(whole(reply)) for reply in replies if reply.status_code == 400} == {str(expected)}
    assert len(heard) == 1
    assert mails(site) == [NOTICE]
    assert 0 <= winner < THREADS


def _password_of(number: int) -> str:
    return f"the password of number {number}, and no other"


def test_of_two_links_only_the_first_that_is_used_works(site: Site, clock: Clock) -> None:
    member(site)
    first = ask_reset(site)
    clock.advance(60)
    second = ask_reset(site)
    assert first != second
    assert reset(site, first).get_json() == DONE
    assert reset(site, second).get_json() == LINK_INVALID


def test_a_setting_lets_a_link_be_used_again(
    database: str, new_site: NewSite, clock: Clock
) -> None:
    site = new_site(database, RESET_PASSWORD_VERIFICATION_ONE_TIME_USE=False)
    member(site)
    link = ask_reset(site)
    assert reset(site, link).get_json() == DONE
    client = log_in(site, password=OTHER_PASSWORD)
    assert reset(site, link, "yet another heap of words").get_json() == DONE
    assert not is_in(client)
    clock.advance(86400 + 1)
    assert reset(site, link).get_json() == LINK_EXPIRED


def test_even_so_it_dies_with_the_address(new_site: NewSite) -> None:
    site = new_site(RESET_PASSWORD_VERIFICATION_ONE_TIME_USE=False)
    member(site)
    link = ask_reset(site)
    forget_mails(site)
    move(site, log_in(site), "new@example.com")
    assert reset(site, link).get_json() == LINK_INVALID


@each_row("what", [actions.suspend, partial(actions.set_password, password=PASSWORD)], ids=str)
def test_even_so_it_ends_with_what_an_administrator_does(
    new_site: NewSite, what: Callable[[Any], Any]
) -> None:
    """An attacker may have it [L17]."""
    site = new_site(RESET_PASSWORD_VERIFICATION_ONE_TIME_USE=False)
    member(site)
    link = ask_reset(site)
    assert reset(site, link).get_json() == DONE
    with site.app.app_context():
        user = site.db.session.scalars(select(site.User)).one()
        what(user)
        actions.reactivate(user)
    assert reset(site, link).get_json() == LINK_INVALID


def test_even_so_it_works_again_for_an_account_that_was_pending(new_site: NewSite) -> None:
    site = new_site(RESET_PASSWORD_VERIFICATION_ONE_TIME_USE=False)
    member(site, verified=False)
    link = ask_reset(site)
    for password in (OTHER_PASSWORD, "yet another heap of words"):
        assert reset(site, link, password).get_json() == DONE


def test_a_link_of_either_setting_is_none_of_the_other(new_site: NewSite) -> None:
    """Switching it back on kills the links that could be used for ever."""
    site = new_site(RESET_PASSWORD_VERIFICATION_ONE_TIME_USE=False)
    strict = new_site()
    for each in (site, strict):
        member(each, security_stamp="a" * 32)
    strict.change(
        strict.user(username="alice"), password_hash=site.user(username="alice").password_hash
    )
    assert reset(strict, ask_reset(site)).get_json() == LINK_INVALID
    assert reset(site, ask_reset(strict)).get_json() == LINK_INVALID


# When, and by which key


@each_row(
    ("seconds", "answer"),
    [
        pytest.param(-61, LINK_INVALID, id="61 s before its time"),
        pytest.param(-60, DONE, id="60 s before its time, by another clock"),
        pytest.param(86400 - 1, DONE, id="a second before its end"),
        pytest.param(86400, DONE, id="at its end"),
        pytest.param(86400 + 1, LINK_EXPIRED, id="a second after its end"),
        pytest.param(10**9, LINK_EXPIRED, id="years later"),
    ],
)
def test_a_link_is_good_for_a_day_to_the_second(
    site: Site, clock: Clock, seconds: int, answer: dict[str, str]
) -> None:
    member(site)
    link = ask_reset(site)
    clock.advance(seconds)
    assert reset(site, link).get_json() == answer
    assert (reset(site, {**link, "signature": "forged"}).get_json()) == LINK_INVALID


def test_a_period_of_ones_own(new_site: NewSite, clock: Clock) -> None:
    site = new_site(RESET_PASSWORD_VERIFICATION_PERIOD=90)
    member(site)
    link = ask_reset(site)
    assert "This link expires in 90 seconds" in text_of(site.read())
    clock.advance(91)
    assert reset(site, link).get_json() == LINK_EXPIRED
    clock.advance(-1)
    assert reset(site, link).get_json() == DONE


def test_keys_can_be_rotated(site: Site) -> None:
    member(site)
    link = ask_reset(site)
    old = site.app.config["SECRET_KEY"]
    site.app.config.update(SECRET_KEY="a new key of the tests, as long", SECRET_KEY_FALLBACKS=[])
    assert reset(site, link).get_json() == LINK_INVALID
    site.app.config["SECRET_KEY_FALLBACKS"] = [old]
    assert reset(site, link).get_json() == DONE


# Whose account


def test_a_reset_verifies_a_pending_account(database: str, new_site: NewSite) -> None:
    site = new_site(database)
    pending(site)
    link = ask_reset(site, "pending")
    before = row(site, username="pending")
    with site.hears(user_reset_password, user_activated) as heard:
        assert reset(site, link).get_json() == DONE
    after = row(site, username="pending")
    assert changed(before, after) == {"password_hash", "security_stamp", "is_verified"}
    assert after["is_verified"] is True
    assert [each["signal"] for each in heard] == ["user-reset-password", "user-activated"]
    assert has_password(site, OTHER_PASSWORD, "pending")


@each_row(
    "end",
    [lambda site, user: site.change(user, is_active=False), suspend],
    ids=["suspended with a new stamp", "suspended by SQL"],
)
def test_a_suspended_account_is_not_reset(
    end: Callable[[Site, Any], None], database: str, new_site: NewSite
) -> None:
    site = new_site(database)
    user = member(site)
    link = ask_reset(site)
    end(site, user)
    before, expected = (
        row(site, username="alice"),
        forged(site, "reset-password", password=OTHER_PASSWORD),
    )
    assert whole(reset(site, link)) == expected
    assert whole(reset(site, link, "short")) == expected
    assert row(site, username="alice") == before


def test_no_link_of_before_works_when_a_suspension_is_lifted(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database)
    user = member(site)
    client = log_in(site)
    move, reset = ask_move(site, client, "new@example.com"), ask_reset(site)
    site.change(user, is_active=False)
    site.change(user, is_active=True)
    assert whole(site.post("reset-password", {**reset, "password": OTHER_PASSWORD})) == forged(
        site, "reset-password"
    )
    assert whole(site.post("verify-email", move)) == forged(site, "verify-email")
    assert has_password(site, PASSWORD)
    assert (
        site.post("reset-password", {**ask_reset(site), "password": OTHER_PASSWORD}).status_code
        == 200
    )


@each_row("again", [True, False], ids=["a link that works once", "one that may be used again"])
def test_a_suspension_that_lands_during_the_reset_stands(
    new_site: NewSite, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    site = new_site(RESET_PASSWORD_VERIFICATION_ONE_TIME_USE=again)
    user = member(site)
    link = ask_reset(site)
    passwords = site.app.extensions["registration"].passwords
    hash_it = type(passwords).hash

    def slow(self: Any, password: str) -> str:
        site.change(user, is_active=False)
        return str(hash_it(self, password))

    monkeypatch.setattr(type(passwords), "hash", slow)
    assert reset(site, link).get_json() == LINK_INVALID
    after = site.user(username="alice")
    assert (after.is_active, after.password_hash) == (False, user.password_hash)


@each_row(
    "change",
    [
        {"email": "else@example.com"},
        {"password_hash": "$argon2id$else"},
        {"security_stamp": "e" * 32},
        {"is_active": False},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_link_dies_with_what_it_is_bound_to(site: Site, change: dict[str, Any]) -> None:
    user = member(site)
    link = ask_reset(site)
    site.change(user, **change)
    assert reset(site, link).get_json() == LINK_INVALID


@each_row("change", [{"first_name": "Al"}, {"username": "al"}, {"last_login": None}], ids=str)
def test_and_with_nothing_else(site: Site, change: dict[str, Any]) -> None:
    user = member(site)
    link = ask_reset(site)
    site.change(user, **change)
    assert reset(site, link).get_json() == DONE


@pytest.mark.databases
@BOTH_KINDS_OF_SESSION
def test_every_session_and_token_ends(
    database: str, new_site: NewSite, sessions: dict[str, Any]
) -> None:
    site = new_site(database, LOGIN_RETRIEVE_TOKEN=True, MAIL_LIMITS=None, **sessions)
    member(site)
    member(site, "bob")
    client, token, bob = log_in(site), token_of(site), log_in(site, "bob")
    undo = move(site, client, "new@example.com")
    moving, link = ask_move(site, client, "newer@example.com"), ask_reset(site)
    token = token_of(site)
    reply = site.post("reset-password", {**link, "password": OTHER_PASSWORD}, client=client)
    assert reply.get_json() == DONE
    assert (is_in(client), is_in(site.app.test_client(), token), is_in(bob)) == (False, False, True)
    assert site.post("verify-email", moving).get_json() == LINK_INVALID
    assert site.post("undo-email-change", undo).status_code == 200


@each_row("verified", [True, False], ids=["verified", "pending"])
@BOTH_KINDS_OF_SESSION
def test_a_reset_logs_in_where_a_setting_says_so(
    new_site: NewSite, sessions: dict[str, Any], verified: bool
) -> None:
    site = new_site(RESET_PASSWORD_AUTO_LOGIN=True, LOGIN_RETRIEVE_TOKEN=True, **sessions)
    member(site, verified=verified)
    earlier = log_in(site) if verified else site.app.test_client()
    link, client = ask_reset(site), site.app.test_client()
    body = {**link, "password": OTHER_PASSWORD}
    signals = (user_reset_password, user_activated, user_logged_in)
    with site.hears(*signals) as heard:
        reply = site.post("reset-password", body, client=client)
    assert reply.get_json().keys() == {"detail", "token"}
    activated = [] if verified else ["user-activated"]
    assert [each["signal"] for each in heard] == [
        "user-reset-password",
        *activated,
        "user-logged-in",
    ]
    assert is_in(client)
    assert not is_in(earlier)
    assert site.user(username="alice").last_login is not None
    assert client.delete("/accounts/profile/").status_code == 204, "the login is fresh"
    thief = site.app.test_client()
    assert site.post("reset-password", body, client=thief).status_code == 400
    assert not is_in(thief)


def test_after_a_reset_the_address_may_be_written_to_again_at_once(site: Site) -> None:
    member(site)
    assert reset(site, ask_reset(site)).get_json() == DONE
    site.outbox.clear()
    site.post("send-reset-password-link", {"login": "alice"})
    assert mails(site) == [ASKED]


def test_the_notice_can_be_switched_off(new_site: NewSite) -> None:
    site = new_site(PASSWORD_NOTICE_ENABLED=False)
    member(site)
    link = ask_reset(site)
    site.outbox.clear()
    assert reset(site, link).get_json() == DONE
    assert site.outbox == []


def test_with_inline_mail_a_notice_that_fails_leaves_the_link_good(
    new_site: NewSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = new_site(MAIL_DISPATCHER="inline")
    member(site)
    link = ask_reset(site)
    before = row(site, username="alice")
    monkeypatch.setattr(site.app.extensions["registration"].mailer, "send", _no_mail)
    reply = reset(site, link)
    assert (reply.status_code, reply.get_json()["code"]) == (503, "mail-unavailable")
    assert row(site, username="alice") == before
    monkeypatch.undo()
    assert reset(site, link).get_json() == DONE


def test_a_model_without_a_stamp_binds_the_link_to_the_hash(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database, define=own_model())
    member(site)
    link, client = ask_reset(site), log_in(site)
    assert reset(site, link).get_json() == DONE
    assert not is_in(client)
    assert reset(site, link).get_json() == LINK_INVALID


@each_row("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_opening_the_link_with_another_method_changes_nothing(site: Site, method: str) -> None:
    member(site)
    link = ask_reset(site)
    before = row(site, username="alice")
    reply = site.app.test_client().open(
        "/accounts/reset-password/", method=method, query_string=link
    )
    assert reply.status_code == 405
    assert row(site, username="alice") == before
    assert reset(site, link).get_json() == DONE


# What must be so at start-up


@each_row(
    ("settings", "setting"),
    [
        pytest.param(
            {"RESET_PASSWORD_VERIFICATION_URL": "/reset-password/"},
            "REGISTRATION_RESET_PASSWORD_VERIFICATION_URL",
            id="a relative page",
        ),
        pytest.param(
            {"RESET_PASSWORD_VERIFICATION_URL": "example.com/reset/"},
            "REGISTRATION_RESET_PASSWORD_VERIFICATION_URL",
            id="a page without a scheme",
        ),
        pytest.param(
            {"RESET_PASSWORD_VERIFICATION_URL": "https://example.com/re set/"},
            "REGISTRATION_RESET_PASSWORD_VERIFICATION_URL",
            id="a page with a space",
        ),
        pytest.param(
            {
                "REGISTER_VERIFICATION_ENABLED": False,
                "REGISTER_VERIFICATION_URL": None,
                "REGISTER_EMAIL_VERIFICATION_URL": "https://example.com/verify-email/",
            },
            "REGISTRATION_RESET_PASSWORD_VERIFICATION_URL",
            id="no page at all",
        ),
        pytest.param(
            {
                "RESET_PASSWORD_VERIFICATION_EMAIL_TEMPLATES": {
                    "subject": "none.txt",
                    "body": "registration/reset_password/body.txt",
                }
            },
            "REGISTRATION_RESET_PASSWORD_VERIFICATION_EMAIL_TEMPLATES",
            id="a template that there is not",
        ),
        pytest.param(
            {
                "SEND_RESET_PASSWORD_LINK_SCHEMA_USE_EMAIL": True,
                "define": own_model(email=lambda: mapped_column(String(254), nullable=False)),
            },
            "REGISTRATION_SEND_RESET_PASSWORD_LINK_SCHEMA_USE_EMAIL",
            id="accounts found by an address that is not unique",
        ),
        pytest.param(
            {"SEND_RESET_PASSWORD_LINK_USER_FINDER": "nowhere.to_be_found"},
            "REGISTRATION_SEND_RESET_PASSWORD_LINK_USER_FINDER",
            id="a finder that cannot be imported",
        ),
    ],
)
def test_is_a_configuration_problem_with_a_cure(
    new_site: NewSite, settings: dict[str, Any], setting: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        new_site(**settings)
    assert [problem.setting for problem in caught.value.problems] == [setting]
    assert setting in str(caught.value)


def test_what_is_switched_off_needs_no_page(new_site: NewSite) -> None:
    site = new_site(
        RESET_PASSWORD_VERIFICATION_ENABLED=False,
        RESET_PASSWORD_VERIFICATION_URL="relative/",
    )
    assert site.app.extensions["registration"]
