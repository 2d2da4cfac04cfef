"""Move to another address, once it is proven."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import pytest
from marshmallow import Schema, fields
from sqlalchemy import String
from sqlalchemy.orm import mapped_column

from flask_registration import ConfigurationError, user_changed_email, user_deleted
from flask_registration.testing.uniform import compare

from ..conftest import Clock
from ..outboxes import define_outbox
from ..people import copy_of, define_login
from ..site import PASSWORD, Site, html_of, links_of, own_model, parameters, text_of, whole
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
    NOT_AUTHENTICATED,
    OTHER_PASSWORD,
    REAUTHENTICATE,
    THREADS,
    NewSite,
    ask_move,
    ask_reset,
    at_once,
    bearer,
    changed,
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
    undo_move,
    verify_email,
)

SENT = {"detail": "An e-mail to confirm your new e-mail address is on its way"}
MOVED = {"detail": "E-mail address changed successfully"}
REQUESTED = (
    "alice@example.com",
    "Someone asked to change your e-mail address for example.com",
)
ASKED = ("new@example.com", "Confirm your new e-mail address for example.com")
NOTICE = ("alice@example.com", "Your e-mail address for example.com was changed")
TAKEN = ("bob@example.com", "Someone tried to use your e-mail address at example.com")


def ask(site: Site, client: Any, email: Any = "new@example.com", **more: Any) -> Any:
    return site.post("register-email", {"email": email, **more}, client=client)


def fail_mail(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def send(mail: Any) -> None:
        raise OSError("the mail server's own trouble")

    monkeypatch.setattr(site.app.extensions["registration"].mailer, "send", send)


# Ask to move


def test_the_new_address_gets_a_link_and_nothing_changes(database: str, new_site: NewSite) -> None:
    site = new_site(database)
    user = member(site)
    client = log_in(site)
    before = row(site, username="alice")
    with site.hears(user_changed_email) as heard:
        reply = ask(site, client, "New@Example.com")
    assert (reply.status_code, reply.get_json()) == (200, SENT)
    assert (row(site, username="alice"), heard) == (before, [])
    (url,) = set(links_of(site.read()))
    assert url.startswith("https://example.com/verify-email/?timestamp=")
    assert set(parameters(url)) == {"user_id", "email", "timestamp", "signature"}
    assert (parameters(url)["user_id"], parameters(url)["email"]) == (
        str(user.id),
        "new@example.com",
    )
    assert "This link expires in 1 day. Nothing changes until you confirm." in text_of(site.read())
    notice = site.read(0)
    assert links_of(notice) == []
    assert "new@example.com" not in str(notice)
    assert mails(site) == [REQUESTED, ASKED]
    assert is_in(client)
    assert client.get("/accounts/profile/").get_json()["email"] == "alice@example.com"


def test_nobody_asks_without_being_logged_in(site: Site) -> None:
    member(site)
    reply = ask(site, None)
    assert (reply.status_code, reply.get_json()) == (401, NOT_AUTHENTICATED)
    assert site.outbox == []


def test_a_login_that_is_not_fresh_needs_the_password(site: Site, clock: Clock) -> None:
    member(site)
    client = log_in(site)
    clock.advance(15 * 60 + 1)
    reply = ask(site, client)
    assert (reply.status_code, reply.get_json()) == (401, REAUTHENTICATE)
    assert reply.headers["WWW-Authenticate"] == 'Bearer error="insufficient_user_authentication"'
    reply = ask(site, client, password="wrong")
    assert (reply.status_code, reply.get_json()) == (400, {"password": ["Incorrect password."]})
    assert site.outbox == []
    assert ask(site, client, password=PASSWORD).get_json() == SENT
    assert mails(site) == [REQUESTED, ASKED]


def test_a_wrong_password_is_refused_at_a_fresh_login_too(site: Site) -> None:
    member(site)
    assert ask(site, log_in(site), password="wrong").status_code == 400
    assert site.outbox == []


@each_row(
    "email",
    [
        pytest.param("", id="an empty one"),
        pytest.param(None, id="null"),
        pytest.param(7, id="a number"),
        pytest.param(["new@example.com"], id="a list"),
        pytest.param("new", id="one without an at"),
        pytest.param("new@example", id="one without a dot"),
        pytest.param("new@example.com\r\nBcc: eve@example.com", id="one with a second line"),
        pytest.param("new@example.com, eve@example.com", id="two"),
        pytest.param("néw@example.com", id="one with a letter outside of ASCII"),
        pytest.param("x" * 250 + "@example.com", id="a long one"),
        pytest.param("n\0@example.com", id="one with a NUL"),
        pytest.param("n\ud800@example.com", id="one with half a surrogate pair"),
        pytest.param("<new@example.com>", id="one in brackets"),
    ],
)
def test_what_is_no_address_is_refused(site: Site, email: Any) -> None:
    member(site)
    reply = ask(site, log_in(site), email)
    assert (reply.status_code, list(reply.get_json())) == (400, ["email"])
    assert site.outbox == []


@each_row("typed", ["bob@example.com", "BOB@Example.com"])
@each_row("state", ["verified", "suspended", "suspended and pending"])
def test_a_taken_address_answers_alike_and_its_owner_is_told_without_a_link(
    database: str, new_site: NewSite, typed: str, state: str
) -> None:
    site = new_site(database)
    member(site)
    bob = member(site, "bob", verified="pending" not in state)
    if "suspended" in state:
        site.change(bob, is_active=False)
    client = log_in(site)
    free = whole(ask(site, client))
    assert mails(site) == [REQUESTED, ASKED]
    before = row(site, username="alice"), row(site, username="bob")
    assert whole(ask(site, client, typed)) == free
    mail = site.read()
    assert links_of(mail) == []
    for words in (text_of(mail), html_of(mail)):
        assert "bob@example.com" in words
        assert "alice" not in words
        assert "http" not in words.replace("http-equiv", "")
    assert mails(site) == [REQUESTED, TAKEN]
    assert (row(site, username="alice"), row(site, username="bob")) == before


def test_it_answers_alike_with_a_failing_mail_server_too(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    member(site)
    member(site, "bob")
    client = log_in(site)
    fail_mail(site, monkeypatch)
    site.assert_uniform_answers(
        free=lambda: ask(site, client), taken=lambda: ask(site, client, "bob@example.com")
    )


def test_and_with_inline_mail(new_site: NewSite, monkeypatch: pytest.MonkeyPatch) -> None:
    site = new_site(MAIL_DISPATCHER="inline")
    member(site)
    member(site, "bob")
    client = log_in(site)
    fail_mail(site, monkeypatch)
    free, taken = ask(site, client), ask(site, client, "bob@example.com")
    assert (free.status_code, free.get_json()["code"]) == (503, "mail-unavailable")
    assert whole(free) == whole(taken)
    assert is_in(client)


@each_row("typed", ["alice@example.com", "ALICE@example.com"])
def test_ones_own_address_is_not_somebody_elses(site: Site, typed: str) -> None:
    """Nobody with another account has asked for it, so no e-mail may say so."""
    member(site)
    client = log_in(site)
    reply = ask(site, client, typed)
    assert reply.status_code in (200, 400)
    assert [subject for _, subject in mails(site)] == []
    assert is_in(client)


VARIANTS = ["mıke@example.com", "míke@example.com", "ｍike@example.com", "mike@exаmple.com"]


@pytest.mark.databases
@each_row("typed", VARIANTS)
def test_a_variant_of_a_taken_address_is_never_the_address_itself(
    database: str, new_site: NewSite, typed: str
) -> None:
    site = new_site(database)
    member(site)
    member(site, "mike")
    client = log_in(site)
    reply = ask(site, client, typed)
    assert reply.status_code in (200, 400)
    assert all(message.recipients != ["mike@example.com"] for message in site.outbox)
    if reply.status_code == 200:
        verify_email(site, site.link(), client)
        assert site.user(username="alice").email != "mike@example.com"


def test_where_addresses_need_not_be_unique_a_taken_one_is_free(new_site: NewSite) -> None:
    site = new_site(
        define=own_model(
            email=lambda: mapped_column(String(254), nullable=False),
            get_id=lambda: lambda user: str(user.id),
        )
    )
    member(site)
    member(site, "bob")
    client = log_in(site)
    link = ask_move(site, client, "bob@example.com")
    assert verify_email(site, link, client).get_json() == EMAIL_VERIFIED
    assert [user.email for user in site.users()] == ["bob@example.com"] * 2


def test_within_a_minute_of_the_last_link_to_that_address_it_is_silent_and_answers_alike(
    site: Site, clock: Clock
) -> None:
    member(site)
    client = log_in(site)
    free = whole(ask(site, client))
    assert mails(site) == [REQUESTED, ASKED]
    assert whole(ask(site, client)) == free
    assert mails(site) == [REQUESTED]
    clock.advance(60)
    assert whole(ask(site, client)) == free
    assert mails(site) == [REQUESTED, ASKED]


def test_within_a_day_of_the_last_notice_to_that_address_it_is_silent_and_answers_alike(
    site: Site, clock: Clock
) -> None:
    """Whichever endpoint sends it."""
    member(site)
    member(site, "bob")
    client = log_in(site)
    free = whole(ask(site, client))
    site.register("eve", email="bob@example.com")
    asked = ["alice@example.com", "new@example.com", "bob@example.com"]
    assert [to for to, _ in mails(site)] == asked
    for seconds, told in ((0, []), (24 * 3600 - 1, []), (1, [TAKEN])):
        clock.advance(seconds)
        client = log_in(site)
        assert whole(ask(site, client, "bob@example.com")) == free
        assert mails(site) == [REQUESTED, *told]


class OwnEmail(Schema):
    new = fields.Email(required=True, data_key="new_email", attribute="email")


def test_an_application_may_ask_in_its_own_way(new_site: NewSite) -> None:
    site = new_site(REGISTER_EMAIL_SCHEMA_CLASS=f"{__name__}.OwnEmail")
    member(site)
    client = log_in(site)
    assert (
        site.post("register-email", {"new_email": "new@example.com"}, client=client).get_json()
        == SENT
    )
    assert mails(site) == [REQUESTED, ASKED]


def test_an_application_may_send_in_its_own_way(new_site: NewSite) -> None:
    sent: list[Any] = []

    def send(request: Any, user: Any, *, email: str, verification_url: str, **kwargs: Any) -> None:
        sent.append((request.path, user.username, email, verification_url))

    site = new_site(REGISTER_EMAIL_VERIFICATION_EMAIL_SENDER=send)
    member(site)
    client = log_in(site)
    assert ask(site, client).get_json() == SENT
    ((path, name, email, url),) = sent
    assert (path, name, email, mails(site)) == (
        "/accounts/register-email/",
        "alice",
        "new@example.com",
        [REQUESTED],
    )
    assert verify_email(site, parameters(url)).get_json() == EMAIL_VERIFIED


def test_an_application_may_have_its_own_templates(new_site: NewSite, tmp_path: Any) -> None:
    (tmp_path / "subject.txt").write_text("Moving, {{ user.username }}?")
    (tmp_path / "body.html").write_text('<p>{{ email }}</p><a href="{{ verification_url }}">Go</a>')
    site = new_site(
        template_folder=str(tmp_path),
        REGISTER_EMAIL_VERIFICATION_EMAIL_TEMPLATES={
            "subject": "subject.txt",
            "body": "body.html",
            "is_html": True,
        },
    )
    member(site)
    link = ask_move(site, log_in(site), "new@example.com")
    assert site.read()["Subject"] == "Moving, alice?"
    assert text_of(site.read()).startswith(
        "new@example.com\n\nGo:\nhttps://example.com/verify-email/?timestamp="
    )
    assert verify_email(site, link).get_json() == EMAIL_VERIFIED


# Prove the new address


def test_the_link_moves_the_account_tells_the_old_address_and_announces_it(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database)
    member(site)
    client = log_in(site)
    link = ask_move(site, client, "new@example.com")
    site.outbox.clear()
    before = row(site, username="alice")
    with site.hears(user_changed_email) as heard:
        reply = verify_email(site, link, client)
    assert (reply.status_code, reply.get_json()) == (200, EMAIL_VERIFIED)
    after = row(site, username="alice")
    assert (changed(before, after), after["email"]) == (
        {"email", "security_stamp"},
        "new@example.com",
    )
    assert [
        (each["signal"], each["user"].email, each["old_email"], each["new_email"]) for each in heard
    ] == [("user-changed-email", "new@example.com", "alice@example.com", "new@example.com")]
    (url,) = set(links_of(site.read()))
    assert url.startswith("https://example.com/undo-email-change/?timestamp=")
    assert parameters(url)["email"] == "alice@example.com"
    for words in (text_of(site.read()), html_of(site.read())):
        assert "new@example.com" not in words
        assert re.search("(It|This link) expires in 7 days", " ".join(words.split()))
    assert mails(site) == [NOTICE]


@pytest.mark.databases
@BOTH_KINDS_OF_SESSION
def test_the_session_of_the_mover_goes_on_and_every_other_login_ends(
    database: str, new_site: NewSite, sessions: dict[str, Any]
) -> None:
    site = new_site(database, LOGIN_RETRIEVE_TOKEN=True, **sessions)
    member(site)
    member(site, "bob")
    client, elsewhere, token, bob = log_in(site), log_in(site), token_of(site), log_in(site, "bob")
    link = ask_move(site, client, "new@example.com")
    copied = copy_of(client)
    assert verify_email(site, link, client).get_json() == EMAIL_VERIFIED
    assert (is_in(client), is_in(bob)) == (True, True)
    assert (is_in(elsewhere), is_in(copied), is_in(site.app.test_client(), token)) == (
        False,
        False,
        False,
    )


@BOTH_KINDS_OF_SESSION
def test_a_mover_with_a_token_gets_a_new_one(new_site: NewSite, sessions: dict[str, Any]) -> None:
    site = new_site(LOGIN_RETRIEVE_TOKEN=True, LOGIN_AUTHENTICATE_SESSION=False, **sessions)
    member(site)
    token, client = token_of(site), site.app.test_client()
    link = ask_move(site, client, "new@example.com", headers=token)
    reply = site.post("verify-email", link, headers=token)
    assert set(reply.get_json()) == {"detail", "token"}
    assert (is_in(client, token), is_in(client, bearer(reply.get_json()["token"]))) == (False, True)


@BOTH_KINDS_OF_SESSION
def test_opened_in_another_browser_it_logs_nobody_in_and_ends_every_session(
    database: str, new_site: NewSite, sessions: dict[str, Any]
) -> None:
    site = new_site(database, **sessions)
    member(site)
    client, other = log_in(site), site.app.test_client()
    reply = verify_email(site, ask_move(site, client, "new@example.com"), other)
    assert reply.get_json() == EMAIL_VERIFIED
    assert "Set-Cookie" not in reply.headers
    assert (is_in(client), is_in(other)) == (False, False)


def test_opened_by_somebody_else_who_is_logged_in_it_leaves_them_alone(site: Site) -> None:
    member(site)
    member(site, "bob")
    client, bob = log_in(site), log_in(site, "bob")
    assert (
        verify_email(site, ask_move(site, client, "new@example.com"), bob).get_json()
        == EMAIL_VERIFIED
    )
    assert bob.get("/accounts/profile/").get_json()["username"] == "bob"
    assert (site.user(username="alice").email, site.user(username="bob").email) == (
        "new@example.com",
        "bob@example.com",
    )


def test_a_new_address_logs_in_where_people_log_in_by_it(database: str, new_site: NewSite) -> None:
    site = new_site(database, USER_LOGIN_FIELDS=["email"], REGISTER_FLOW_ENABLED=False)
    member(site)
    client = log_in(site, "alice@example.com")
    move(site, client, "new@example.com")
    assert has_password(site, PASSWORD, "New@example.com")
    assert not has_password(site, PASSWORD, "alice@example.com")


def test_a_link_works_once(database: str, new_site: NewSite) -> None:
    site = new_site(database)
    member(site)
    client = log_in(site)
    link = ask_move(site, client, "new@example.com")
    assert verify_email(site, link).get_json() == EMAIL_VERIFIED
    before = row(site, username="alice")
    assert whole(verify_email(site, link)) == forged(site, "verify-email")
    assert row(site, username="alice") == before


@pytest.mark.databases
@BOTH_KINDS_OF_SESSION
@each_row("asking", [False, True], ids=["by nobody", "by the mover"])
def test_of_fifty_uses_at_once_one_works_and_the_others_are_forged_links(
    database: str, new_site: NewSite, sessions: dict[str, Any], asking: bool
) -> None:
    site = new_site(database, config=AT_ONCE, **sessions)
    member(site)
    client = log_in(site)
    link = ask_move(site, client, "new@example.com")
    site.outbox.clear()
    expected = forged(site, "verify-email")
    clients = [copy_of(client) if asking else site.app.test_client() for _ in range(THREADS)]
    with site.hears(user_changed_email) as heard:
        replies = at_once(lambda number: verify_email(site, link, clients[number]))
    assert Counter(reply.status_code for reply in replies) == {200: 1, 400: THREADS - 1}
    bodies = {reply.get_data() for reply in replies if reply.status_code == 400}
    assert bodies == {expected[2]}
    assert (len(heard), mails(site)) == (1, [NOTICE])
    assert sum(map(is_in, clients)) == asking


@each_row(
    "then",
    [
        pytest.param("move", id="another move"),
        pytest.param("change", id="a new password"),
        pytest.param("reset", id="a reset"),
        pytest.param("everywhere", id="a log-out everywhere"),
        pytest.param("suspend", id="a suspension"),
        pytest.param("pending", id="the loss of the verification"),
        pytest.param("delete", id="a deletion"),
    ],
)
def test_a_link_dies_by(database: str, new_site: NewSite, then: str) -> None:
    site = new_site(database, MAIL_LIMITS=None)
    user = member(site)
    client = log_in(site)
    link = ask_move(site, client, "new@example.com")
    if then == "move":
        move(site, client, "other@example.com")
    elif then == "change":
        body = {
            "old_password": PASSWORD,
            "password": OTHER_PASSWORD,
            "password_confirm": OTHER_PASSWORD,
        }
        site.post("change-password", body, client=client)
    elif then == "reset":
        site.post("reset-password", {**ask_reset(site), "password": OTHER_PASSWORD})
    elif then == "everywhere":
        site.post("logout", {"everywhere": True}, client=client)
    elif then == "delete":
        client.delete("/accounts/profile/")
    else:
        site.change(user, **{"is_active" if then == "suspend" else "is_verified": False})
    before = [(each.email, each.security_stamp) for each in site.users()]
    assert whole(verify_email(site, link)) == forged(site, "verify-email")
    assert [(each.email, each.security_stamp) for each in site.users()] == before


@pytest.mark.databases
def test_somebody_who_was_faster_keeps_the_address(database: str, new_site: NewSite) -> None:
    site = new_site(database)
    member(site)
    client = log_in(site)
    link = ask_move(site, client, "new@example.com")
    member(site, "eve", email="new@example.com")
    before = row(site, username="alice")
    with site.hears(user_changed_email) as heard:
        reply = verify_email(site, link, client)
    assert (reply.status_code, reply.get_json()) == (400, EMAIL_TAKEN)
    assert (row(site, username="alice"), heard) == (before, [])
    assert is_in(client)
    assert whole(verify_email(site, {**link, "signature": "forged"})) == forged(
        site, "verify-email"
    )


WAYS_OUT: dict[str, Callable[[Site, Any], Any]] = {
    "a logout": lambda site, client: site.post("logout", {}, client=client),
    "the end of that session in the list": lambda site, client: client.delete(
        f"/accounts/logins/{client.get('/accounts/logins/').get_json()[0]['id']}/"
    ),
    "another login in its place": lambda site, client: site.post(
        "login", {"login": "alice", "password": PASSWORD}, client=client
    ),
}


@pytest.mark.databases
@each_row("end", WAYS_OUT.values(), ids=list(WAYS_OUT))
def test_with_sessions_as_rows_the_request_ends_with_its_session_by(
    database: str, new_site: NewSite, end: Callable[[Site, Any], Any]
) -> None:
    site = new_site(database, login_model=define_login)
    member(site)
    thief, owner = log_in(site), log_in(site)
    link = ask_move(site, thief, "new@example.com")
    site.post("logout", {}, client=owner)  # of another session
    assert end(site, copy_of(thief)).status_code in (200, 204)
    log_in(site)  # the database may use the id of the row again
    assert whole(verify_email(site, link)) == forged(site, "verify-email")
    assert site.user().email == "alice@example.com"


@each_row("kind", ["session", "token"])
def test_the_request_outlives_the_end_of_other_logins(new_site: NewSite, kind: str) -> None:
    site = new_site(login_model=define_login, LOGIN_RETRIEVE_TOKEN=True)
    member(site)
    other, client, headers = log_in(site), site.app.test_client(), token_of(site)
    if kind == "session":
        client, headers = log_in(site), {}
    link = ask_move(site, client, "new@example.com", headers=headers)
    site.post("logout", {}, client=other)
    assert verify_email(site, link).get_json() == EMAIL_VERIFIED


def test_the_request_ends_with_the_token_that_made_it(new_site: NewSite) -> None:
    site = new_site(login_model=define_login, LOGIN_RETRIEVE_TOKEN=True)
    member(site)
    headers = token_of(site)
    link = ask_move(site, site.app.test_client(), "new@example.com", headers=headers)
    assert site.post("logout", {}, headers=headers).status_code == 200
    assert verify_email(site, link).get_json() == LINK_INVALID


@each_row("seconds, reply", [(3599, EMAIL_VERIFIED), (3601, LINK_INVALID)], ids=["before", "after"])
def test_with_sessions_as_rows_the_request_ends_when_its_session_expires(
    seconds: int, reply: Any, new_site: NewSite, clock: Clock
) -> None:
    site = new_site(login_model=define_login, config={"PERMANENT_SESSION_LIFETIME": 3600})
    member(site)
    link = ask_move(site, log_in(site), "new@example.com")
    clock.advance(seconds)
    assert verify_email(site, link).get_json() == reply


def test_with_signed_sessions_the_request_ends_with_a_logout_everywhere(site: Site) -> None:
    member(site)
    link = ask_move(site, log_in(site), "new@example.com")
    site.post("logout", {"everywhere": True}, client=log_in(site))
    assert verify_email(site, link).get_json() == LINK_INVALID


@pytest.mark.databases
@each_row(
    "settings",
    [
        {},
        {"login_model": define_login},
        {"outbox_model": define_outbox, "MAIL_DISPATCHER": "outbox"},
    ],
    ids=["signed sessions", "sessions as rows", "an outbox"],
)
def test_a_taken_address_takes_the_statements_of_a_free_one(
    database: str, new_site: NewSite, settings: dict[str, Any]
) -> None:
    site = new_site(database, **settings)
    member(site)
    member(site, "bob")
    client = log_in(site)
    forget_mails(site)
    requests = {
        "free": lambda: ask(site, client),
        "taken": lambda: ask(site, client, "bob@example.com"),
    }
    compare(site.app, requests, statements=True)


@pytest.mark.databases
@BOTH_KINDS_OF_SESSION
def test_a_registration_that_merely_claims_the_address_makes_room(
    database: str, new_site: NewSite, sessions: dict[str, Any]
) -> None:
    site = new_site(database, **sessions)
    member(site)
    client = log_in(site)
    site.register("eve", email="new@example.com")
    claim = site.link()
    link = ask_move(site, client, "new@example.com")
    with site.hears(user_deleted, user_changed_email) as heard:
        assert verify_email(site, link, client).get_json() == EMAIL_VERIFIED
    assert [(each["signal"], each["user"].username) for each in heard] == [
        ("user-deleted", "eve"),
        ("user-changed-email", "alice"),
    ]
    assert [(user.username, user.email) for user in site.users()] == [("alice", "new@example.com")]
    assert site.verify(claim).get_json() == LINK_INVALID
    assert is_in(client)


HOLDERS: dict[str, dict[str, Any]] = {
    "is verified": {"is_verified": True},
    "is suspended": {"is_active": False},
    "has been used": {"last_login": datetime(2026, 1, 1, tzinfo=UTC)},
}


@pytest.mark.databases
@each_row("columns", HOLDERS.values(), ids=list(HOLDERS))
@each_row("what", ["verify-email", "undo-email-change"])
def test_an_account_keeps_its_address_that(
    database: str, new_site: NewSite, columns: dict[str, Any], what: str
) -> None:
    site = new_site(database)
    member(site)
    client = log_in(site)
    email = "new@example.com"
    if what == "verify-email":
        link = ask_move(site, client, email)
    else:
        link, email = move(site, client, email), "alice@example.com"
    site.register("eve", email=email)
    site.change(site.user(username="eve"), **columns)
    before = row(site, username="alice"), row(site, username="eve")
    assert site.post(what, link, client=client).get_json() == EMAIL_TAKEN
    assert (row(site, username="alice"), row(site, username="eve")) == before
    assert is_in(client)


def test_without_verification_no_registration_makes_room(new_site: NewSite) -> None:
    site = new_site(REGISTER_EMAIL_VERIFICATION_ENABLED=False)
    member(site)
    site.register("eve", email="new@example.com")
    assert ask(site, log_in(site)).get_json() == EMAIL_TAKEN
    assert [user.email for user in site.users()] == ["alice@example.com", "new@example.com"]


@each_row(
    ("seconds", "answer"),
    [
        pytest.param(-61, LINK_INVALID, id="61 s before its time"),
        pytest.param(-60, EMAIL_VERIFIED, id="60 s before its time, by another clock"),
        pytest.param(DAYS - 1, EMAIL_VERIFIED, id="a second before its end"),
        pytest.param(DAYS, EMAIL_VERIFIED, id="at its end"),
        pytest.param(DAYS + 1, LINK_EXPIRED, id="a second after its end"),
    ],
)
def test_a_link_is_good_for_a_day_to_the_second(
    site: Site, clock: Clock, seconds: int, answer: dict[str, str]
) -> None:
    member(site)
    link = ask_move(site, log_in(site), "new@example.com")
    clock.advance(seconds)
    assert verify_email(site, link).get_json() == answer


PARAMETERS = ["user_id", "email", "timestamp", "signature"]


@each_row("name", PARAMETERS)
@each_row("endpoint", ["verify-email", "undo-email-change"])
def test_any_flipped_bit_of_any_parameter_is_a_forged_link(
    site: Site, endpoint: str, name: str
) -> None:
    member(site)
    client = log_in(site)
    link = ask_move(site, client, "new@example.com")
    if endpoint == "undo-email-change":
        verify_email(site, link)
        link = site.link()
    before, expected = row(site, username="alice"), forged(site, endpoint)
    texts = [
        link[name] + "0",
        "0" + link[name],
        " " + link[name],
        link[name] + "\n",
        link[name][:-1] or "x",
    ]
    for place, character in enumerate(link[name]):
        texts += [
            link[name][:place] + chr(ord(character) ^ 1 << bit) + link[name][place + 1 :]
            for bit in range(7)
        ]
    accepted = [
        text for text in texts if whole(site.post(endpoint, {**link, name: text})) != expected
    ]
    assert accepted == []
    assert row(site, username="alice") == before
    assert site.post(endpoint, link).status_code == 200


@each_row("name", PARAMETERS)
@each_row("endpoint", ["verify-email", "undo-email-change"])
def test_a_parameter_that_is_missing_is_told_by_its_name(
    site: Site, endpoint: str, name: str
) -> None:
    member(site)
    link = ask_move(site, log_in(site), "new@example.com")
    del link[name]
    reply = site.post(endpoint, link)
    assert (reply.status_code, reply.get_json()) == (400, {name: ["This field is required."]})


@each_row("method", ["GET", "HEAD", "PUT", "DELETE"])
@each_row("endpoint", ["verify-email", "undo-email-change"])
def test_opening_the_link_with_another_method_changes_nothing(
    site: Site, method: str, endpoint: str
) -> None:
    member(site)
    link = ask_move(site, log_in(site), "new@example.com")
    before = row(site, username="alice")
    reply = site.app.test_client().open(f"/accounts/{endpoint}/", method=method, query_string=link)
    assert reply.status_code == 405
    assert row(site, username="alice") == before


@BOTH_KINDS_OF_SESSION
def test_with_inline_mail_a_notice_that_fails_changes_nothing(
    new_site: NewSite, monkeypatch: pytest.MonkeyPatch, sessions: dict[str, Any]
) -> None:
    site = new_site(MAIL_DISPATCHER="inline", **sessions)
    member(site)
    client = log_in(site)
    link = ask_move(site, client, "new@example.com")
    before = row(site, username="alice")
    fail_mail(site, monkeypatch)
    reply = verify_email(site, link, client)
    assert (reply.status_code, reply.get_json()["code"]) == (503, "mail-unavailable")
    assert row(site, username="alice") == before
    assert is_in(client)
    monkeypatch.undo()
    assert verify_email(site, link, client).get_json() == EMAIL_VERIFIED


# Where no proof is asked for


@BOTH_KINDS_OF_SESSION
def test_without_verification_the_account_moves_at_once(
    database: str, new_site: NewSite, sessions: dict[str, Any]
) -> None:
    site = new_site(database, REGISTER_EMAIL_VERIFICATION_ENABLED=False, **sessions)
    member(site)
    member(site, "bob")
    client, elsewhere = log_in(site), log_in(site)
    with site.hears(user_changed_email) as heard:
        assert ask(site, client).get_json() == MOVED
    assert site.user(username="alice").email == "new@example.com"
    assert [(each["old_email"], each["new_email"]) for each in heard] == [
        ("alice@example.com", "new@example.com")
    ]
    assert (is_in(client), is_in(elsewhere)) == (True, False)
    link = site.link()
    assert mails(site) == [NOTICE]
    reply = ask(site, client, "bob@example.com")
    assert (reply.status_code, reply.get_json()) == (400, EMAIL_TAKEN)
    assert is_in(client)
    assert site.outbox == []
    assert verify_email(site, link).status_code == 404
    assert undo_move(site, link).get_json() == EMAIL_UNDONE
    assert site.user(username="alice").email == "alice@example.com"
    assert not is_in(client)


def test_without_verification_the_login_must_be_fresh_all_the_same(
    new_site: NewSite, clock: Clock
) -> None:
    site = new_site(REGISTER_EMAIL_VERIFICATION_ENABLED=False)
    member(site)
    client = log_in(site)
    clock.advance(15 * 60 + 1)
    assert ask(site, client).get_json() == REAUTHENTICATE
    assert site.user(username="alice").email == "alice@example.com"
    assert ask(site, client, password=PASSWORD).get_json() == MOVED


# Where the links lead, and what must be so at start-up


@each_row(
    ("settings", "moving", "undoing"),
    [
        pytest.param(
            {},
            "https://example.com/verify-email/",
            "https://example.com/undo-email-change/",
            id="by default",
        ),
        pytest.param(
            {"REGISTER_VERIFICATION_URL": "https://example.com/app/verify"},
            "https://example.com/app/verify-email/",
            "https://example.com/app/undo-email-change/",
            id="beside a page in a folder",
        ),
        pytest.param(
            {"REGISTER_VERIFICATION_URL": "https://example.com"},
            "https://example.com/verify-email/",
            "https://example.com/undo-email-change/",
            id="beside a host alone",
        ),
        pytest.param(
            {"REGISTER_VERIFICATION_URL": "https://example.com/"},
            "https://example.com/verify-email/",
            "https://example.com/undo-email-change/",
            id="beside a host and a slash",
        ),
        pytest.param(
            {"REGISTER_VERIFICATION_URL": "myapp://INBOX"},
            "myapp://INBOX/verify-email/",
            "myapp://INBOX/undo-email-change/",
            id="beside a mobile application's page",
        ),
        pytest.param(
            {"REGISTER_VERIFICATION_URL": "https://example.com/X/"},
            "https://example.com/verify-email/",
            "https://example.com/undo-email-change/",
            id="beside a page of one letter",
        ),
        pytest.param(
            {"REGISTER_VERIFICATION_URL": "https://example.com/to://verify"},
            "https://example.com/to://verify-email/",
            "https://example.com/to://undo-email-change/",
            id="beside a page that looks like two URLs",
        ),
        pytest.param(
            {"REGISTER_VERIFICATION_URL": "https://example.com:8443/verify.html?lang=de"},
            "https://example.com:8443/verify-email/",
            "https://example.com:8443/undo-email-change/",
            id="beside a page with a query",
        ),
        pytest.param(
            {"REGISTER_VERIFICATION_URL": "https://example.com/verify/?next=/home/"},
            "https://example.com/verify-email/",
            "https://example.com/undo-email-change/",
            id="beside a page with a path in its query",
        ),
        pytest.param(
            {"REGISTER_VERIFICATION_URL": "https://example.com/#/verify"},
            "https://example.com/#/verify-email/",
            "https://example.com/#/undo-email-change/",
            id="beside a page behind a hash",
        ),
        pytest.param(
            {"REGISTER_EMAIL_VERIFICATION_URL": "https://app.example.org/mail/new/"},
            "https://app.example.org/mail/new/",
            "https://app.example.org/mail/undo-email-change/",
            id="beside a page of its own",
        ),
        pytest.param(
            {"UNDO_EMAIL_CHANGE_URL": "https://app.example.org/undo/?a=b"},
            "https://example.com/verify-email/",
            "https://app.example.org/undo/?a=b",
            id="where the setting says",
        ),
    ],
)
def test_links_lead(new_site: NewSite, settings: dict[str, Any], moving: str, undoing: str) -> None:
    site = new_site(**settings)
    member(site)
    client = log_in(site)
    assert ask(site, client).status_code == 200
    (url, *_) = links_of(site.read())
    link = dict(parse_qsl(url.rpartition("?")[2]))
    page, _, query = moving.partition("?")
    assert url.startswith(f"{page}?timestamp=")
    assert url.endswith(query)
    assert verify_email(site, link).get_json() == EMAIL_VERIFIED
    page, _, query = undoing.partition("?")
    (url, *_) = links_of(site.read())
    assert url.startswith(f"{page}?timestamp=")
    assert url.endswith(query)


@each_row(
    ("settings", "problems"),
    [
        pytest.param(
            {
                "REGISTER_EMAIL_VERIFICATION_URL": "/verify-email/",
                "UNDO_EMAIL_CHANGE_URL": "https://example.com/u/",
            },
            ["REGISTRATION_REGISTER_EMAIL_VERIFICATION_URL"],
            id="a relative page",
        ),
        pytest.param(
            {"UNDO_EMAIL_CHANGE_URL": "undo/"},
            ["REGISTRATION_UNDO_EMAIL_CHANGE_URL"],
            id="a relative page to undo",
        ),
        pytest.param(
            {
                "REGISTER_VERIFICATION_ENABLED": False,
                "REGISTER_VERIFICATION_URL": None,
                "RESET_PASSWORD_VERIFICATION_URL": "https://example.com/reset/",
            },
            ["REGISTRATION_REGISTER_EMAIL_VERIFICATION_URL"],
            id="no page at all, for which the one beside it is not blamed",
        ),
    ],
)
def test_is_a_configuration_problem_with_a_cure(
    new_site: NewSite, settings: dict[str, Any], problems: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        new_site(**settings)
    assert [problem.setting for problem in caught.value.problems] == problems
    assert "https://example.com/" in str(caught.value)
