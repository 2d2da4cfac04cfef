"""Logins by e-mail: with a link, with a code, and accounts without a password."""

from __future__ import annotations

from collections import Counter
from smtplib import SMTPServerDisconnected
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_registration import (
    DEFAULT_FLOWS,
    ConfigurationError,
    user_activated,
    user_logged_in,
)
from flask_registration.flows import (
    codes,
    mail_login,
    reauthenticate,
    second_factor,
    verification_redirects,
)

from ..conftest import Clock
from ..outboxes import define_outbox
from ..people import (
    account,
    change_login,
    define_login,
    knows,
    logins,
    with_and_without_login_model,
)
from ..site import PASSWORD, Site, links_of, own_model, whole
from ..tables import each_row
from ..test_steps import (
    AT_ONCE,
    INVALID,
    WRONG,
    answer,
    challenges,
    define_challenge,
    word_flow,
)
from .common import (
    LINK_EXPIRED,
    LINK_INVALID,
    OTHER_PASSWORD,
    NewSite,
    ask_move,
    ask_reset,
    at_once,
    bearer,
    forged,
    has_password,
    log_in,
    mails,
    move,
    undo_move,
)
from .test_second_factor import KEY, add, define_credential

SENT = {"detail": "If this account exists, an e-mail to log in is on its way"}
LOGGED_IN = {"detail": "Login successful"}
FLOWS = [*DEFAULT_FLOWS, mail_login.flow]
WITH_CODES = {"flows": [*FLOWS, codes.flow], "VERIFICATION_METHOD": "both"}
with_and_without_codes = each_row("method", [{}, WITH_CODES], ids=["links", "codes"])


@pytest.fixture
def make(new_site: NewSite) -> Any:
    """Make an application with logins by e-mail."""

    def make(*args: Any, **settings: Any) -> Site:
        chosen = {"flows": FLOWS, "challenge_model": define_challenge, "MAIL_LIMITS": None}
        return new_site(*args, **{**chosen, **settings})

    return make


def ask(site: Site, **body: Any) -> TestResponse:
    return site.post("send-login-link", body or {"login": "alice"})


def ask_link(site: Site, **body: Any) -> dict[str, str]:
    site.outbox.clear()
    assert ask(site, **body).status_code == 200
    return site.link()


def use(site: Site, link: dict[str, Any], client: FlaskClient | None = None) -> TestResponse:
    return site.post("login-by-link", link, client=client)


def use_code(
    site: Site, challenge: str, code: str | None = None, client: FlaskClient | None = None
) -> TestResponse:
    body = {"challenge": challenge, "code": code or site.outbox.latest_code()}
    return site.post("login-by-code", body, client=client)


# The link


@pytest.mark.databases
@with_and_without_login_model
def test_a_link_logs_in_once(database: str, make: NewSite, login_model: Any) -> None:
    site = make(database, login_model=login_model)
    account(site)
    reply = ask(site)
    assert (reply.status_code, reply.get_json()) == (200, SENT)
    assert links_of(site.read())[0].startswith("https://example.com/login-by-link/?timestamp=")
    link, client = site.link(), site.app.test_client()
    assert mails(site) == [("alice@example.com", "Log in to example.com")]
    with site.hears(user_activated, user_logged_in) as heard:
        reply = use(site, link, client)
    assert (reply.status_code, reply.get_json()) == (200, LOGGED_IN)
    assert [each["signal"] for each in heard] == ["user-logged-in"]
    assert knows(site, client)
    assert site.user().last_login is not None
    assert has_password(site, PASSWORD)
    assert challenges(site) == []
    assert whole(use(site, link)) == forged(site, "login-by-link")


def test_the_login_is_fresh_and_says_how(make: NewSite) -> None:
    site = make(login_model=define_login)
    account(site)
    client = site.app.test_client()
    use(site, ask_link(site), client)
    assert [each.methods for each in logins(site)] == ["mail"]
    assert site.post("register-email", {"email": "a@example.com"}, client=client).status_code == 200


def test_it_returns_a_token(make: NewSite) -> None:
    site = make(LOGIN_RETRIEVE_TOKEN=True)
    account(site)
    token = use(site, ask_link(site)).get_json()["token"]
    assert knows(site, headers=bearer(token))


@each_row("body", [{"login": "alice"}, {"username": "alice"}, {"email": "alice@example.com"}])
def test_an_account_is_named_by(make: NewSite, body: dict[str, str]) -> None:
    site = make()
    account(site)
    assert use(site, ask_link(site, **body)).status_code == 200


def test_the_link_expires_and_so_does_its_row(make: NewSite, clock: Clock) -> None:
    site = make()
    account(site)
    link = ask_link(site)
    clock.advance(15 * 60 + 1)
    assert use(site, link).get_json() == LINK_EXPIRED


def test_several_links_are_valid_side_by_side(make: NewSite) -> None:
    site = make()
    account(site)
    first, second = ask_link(site), ask_link(site)
    assert use(site, first).status_code == 200
    assert use(site, second).status_code == 200


def change_password(site: Site) -> None:
    client = log_in(site)
    twice = {"password": OTHER_PASSWORD, "password_confirm": OTHER_PASSWORD}
    site.post("change-password", {"old_password": PASSWORD, **twice}, client=client)


def change_email(site: Site) -> None:
    move(site, log_in(site), "new@example.com")


def suspend(site: Site) -> None:
    site.change(site.user(), is_active=False)


def log_out(site: Site) -> None:
    site.post("logout", {"everywhere": True}, client=log_in(site))


@each_row("change", [change_password, change_email, suspend, log_out])
def test_a_change_of_the_account_ends_link_and_code(make: NewSite, change: Any) -> None:
    site = make(**WITH_CODES)
    account(site)
    reply = ask(site)
    link, code = site.link(), site.outbox.latest_code()
    change(site)
    assert use(site, link).get_json() == LINK_INVALID
    assert use_code(site, reply.get_json()["challenge"], code).get_json() == INVALID


@each_row("other", ["reset-password", "verify-registration", "verify-email"])
def test_a_link_is_for_its_endpoint_only(make: NewSite, other: str) -> None:
    site = make()
    account(site)
    link = ask_link(site)
    body = {**link, "email": "new@example.com", "password": OTHER_PASSWORD}
    assert site.post(other, body).get_json() == LINK_INVALID
    assert use(site, ask_reset(site)).get_json() == LINK_INVALID
    assert use(site, ask_move(site, log_in(site), "new@example.com")).get_json() == LINK_INVALID


def test_the_table_and_the_outbox_have_no_link_and_no_code(make: NewSite) -> None:
    site = make(outbox_model=define_outbox, MAIL_DISPATCHER="outbox", **WITH_CODES)
    account(site)
    handle = ask(site).get_json()["challenge"]
    rows = [vars(row) for row in challenges(site)]
    link, code = site.link(), site.outbox.latest_code()
    for secret in (handle, code, code.replace("-", ""), link["signature"]):
        assert secret not in str(rows)
    assert use_code(site, handle).status_code == 200


def test_a_page_asks_for_a_click(make: NewSite) -> None:
    site = make(flows=[*FLOWS, verification_redirects.flow])
    account(site)
    link, client = ask_link(site), site.app.test_client()
    page = client.get("/accounts/login-by-link/", query_string=link)
    assert (page.status_code, "Click to log in." in page.text) == (200, True)
    assert not knows(site, client)
    page = client.post("/accounts/login-by-link/confirm/", data=link)
    assert (page.status_code, "You are logged in." in page.text) == (200, True)
    assert knows(site, client)


def test_a_page_does_not_say_that_an_unfinished_login_is_done(make: NewSite) -> None:
    site = make(flows=[*FLOWS, word_flow("word"), verification_redirects.flow])
    account(site)
    page = site.app.test_client().post("/accounts/login-by-link/confirm/", data=ask_link(site))
    assert (page.status_code, "One more step is needed" in page.text) == (400, True)


# The code


@pytest.mark.databases
def test_a_code_logs_in_once_and_its_link_ends_with_it(database: str, make: NewSite) -> None:
    site = make(database, login_model=define_login, **WITH_CODES)
    account(site)
    reply = ask(site)
    challenge, link = reply.get_json()["challenge"], site.link()
    assert reply.get_json() == {**SENT, "challenge": challenge}
    assert use_code(site, challenge, "BCDF-BCDF").get_json() == WRONG
    client = site.app.test_client()
    reply = use_code(site, challenge, client=client)
    assert (reply.status_code, reply.get_json()) == (200, LOGGED_IN)
    assert knows(site, client)
    assert [each.methods for each in logins(site)] == ["otp"]
    assert use_code(site, challenge).get_json() == INVALID
    assert use(site, link).get_json() == LINK_INVALID


def test_a_link_ends_its_code_and_wrong_codes_do_not_end_the_link(make: NewSite) -> None:
    site = make(**WITH_CODES)
    account(site)
    challenge, link = ask(site).get_json()["challenge"], site.link()
    for _ in range(3):
        assert use_code(site, challenge, "BCDF-BCDF").get_json() == WRONG
    assert use_code(site, challenge).get_json() == INVALID
    assert use(site, link).status_code == 200
    challenge, link = ask(site).get_json()["challenge"], site.link()
    assert use(site, link).status_code == 200
    assert use_code(site, challenge).get_json() == INVALID


def test_a_link_is_valid_no_longer_than_the_code_beside_it(make: NewSite, clock: Clock) -> None:
    site = make(**WITH_CODES, LOGIN_LINK_PERIOD=86400, CODE_PERIOD=900)
    account(site)
    first = ask_link(site)
    clock.advance(899)
    assert use(site, first).status_code == 200
    second = ask_link(site)
    clock.advance(901)
    assert use(site, second).get_json() == LINK_INVALID


def test_with_codes_only_the_e_mail_has_no_link_and_the_page_need_not_exist(make: NewSite) -> None:
    site = make(flows=[*FLOWS, codes.flow], VERIFICATION_METHOD="code", LOGIN_LINK_URL=None)
    account(site)
    challenge = ask(site).get_json()["challenge"]
    assert links_of(site.read()) == []
    assert use_code(site, challenge).status_code == 200


def test_without_codes_there_is_no_challenge(make: NewSite) -> None:
    site = make()
    account(site)
    assert "challenge" not in ask(site).get_json()
    assert use_code(site, "x" * 43, "BCDF-BCDF").get_json() == INVALID


# At the same time


def outcomes(replies: list[TestResponse]) -> Counter[tuple[int, Any]]:
    return Counter((each.status_code, each.get_json().get("code")) for each in replies)


@pytest.mark.databases
@each_row("verified", [True, False])
def test_of_twenty_uses_of_a_link_at_once_one_succeeds(
    database: str, make: NewSite, verified: bool
) -> None:
    site = make(database, login_model=define_login, config=AT_ONCE)
    account(site, verified=verified)
    link = ask_link(site)
    with site.hears(user_activated) as heard:
        found = outcomes(at_once(lambda number: use(site, link), 20))
    assert found[200, None] == 1
    assert found.keys() <= {
        (200, None),
        (400, "signature-invalid"),
        (503, "database-unavailable"),
    }
    assert (len(logins(site)), len(heard)) == (1, int(not verified))


@pytest.mark.databases
def test_of_twenty_uses_of_link_and_code_at_once_one_succeeds(database: str, make: NewSite) -> None:
    site = make(database, login_model=define_login, config=AT_ONCE, CODE_TRIES=10, **WITH_CODES)
    account(site)
    challenge = ask(site).get_json()["challenge"]
    link, code = site.link(), site.outbox.latest_code()

    def either(number: int) -> TestResponse:
        return use(site, link) if number % 2 else use_code(site, challenge, code)

    found = outcomes(at_once(either, 20))
    assert found[200, None] == 1
    assert found.keys() <= {
        (200, None),
        (400, "signature-invalid"),
        (400, "challenge-invalid"),
        (503, "database-unavailable"),
    }
    assert len(logins(site)) == 1


# Accounts that are pending or suspended


@pytest.mark.databases
@with_and_without_codes
@with_and_without_login_model
def test_a_login_verifies_a_pending_account_and_ends_its_password(
    database: str, make: NewSite, login_model: Any, method: dict[str, Any]
) -> None:
    site = make(database, login_model=login_model, **method)
    site.register()
    earlier = site.link()
    reply = ask(site)
    client = site.app.test_client()
    with site.hears(user_activated, user_logged_in) as heard:
        if method:
            reply = use_code(site, reply.get_json()["challenge"], client=client)
        else:
            reply = use(site, site.link(), client)
    assert (reply.status_code, reply.get_json()) == (200, LOGGED_IN)
    assert [each["signal"] for each in heard] == ["user-activated", "user-logged-in"]
    assert site.user().is_verified
    assert knows(site, client)
    assert not has_password(site, PASSWORD)
    assert site.verify(earlier).get_json() == LINK_INVALID


def test_it_stays_done_when_a_step_is_left(make: NewSite) -> None:
    site = make(flows=[*FLOWS, word_flow("word")])
    site.register()
    link, client = ask_link(site), site.app.test_client()
    with site.hears(user_activated, user_logged_in) as heard:
        reply = use(site, link, client)
    assert (reply.status_code, reply.get_json()["code"]) == (401, "step-required")
    assert [each["signal"] for each in heard] == ["user-activated"]
    assert (site.user().is_verified, site.user().last_login) == (True, None)
    assert not knows(site, client)
    assert use(site, link).get_json() == LINK_INVALID
    login = {"login": "alice", "password": PASSWORD}
    assert site.post("login", login).get_json()["code"] == "login-invalid"
    assert answer(site, reply.get_json()["challenge"], client=client).status_code == 200
    assert knows(site, client)


def test_a_second_factor_is_asked_for(make: NewSite, clock: Clock) -> None:
    site = make(
        flows=[*FLOWS, second_factor.flow],
        credential_model=define_credential,
        login_model=define_login,
        CREDENTIAL_KEYS=[KEY],
    )
    account(site)
    app = add(site, log_in(site), clock)
    link, client = ask_link(site), site.app.test_client()
    first = use(site, link, client)
    assert (first.status_code, first.get_json()["step"]) == (401, "second-factor")
    body = {"challenge": first.get_json()["challenge"], "code": app.code()}
    assert site.post("second-factor", body, client=client).status_code == 200
    assert knows(site, client)
    assert logins(site)[-1].methods == "mail otp"


def test_a_suspended_account_receives_nothing(make: NewSite) -> None:
    site = make()
    account(site)
    suspend(site)
    assert ask(site).get_json() == SENT
    assert site.outbox == []


@pytest.mark.databases
@with_and_without_codes
def test_a_suspension_during_the_login_stops_it(
    database: str, make: NewSite, method: dict[str, Any]
) -> None:
    site = make(database, **method)
    account(site)
    link = ask_link(site)
    suspend(site)
    reply = use(site, link)
    assert reply.get_json() == LINK_INVALID
    assert "Set-Cookie" not in reply.headers


# Who has an account


@with_and_without_codes
def test_the_response_is_the_same_for_every_account(make: NewSite, method: dict[str, Any]) -> None:
    site = make(**method)
    account(site)
    account(site, "bob", verified=False)
    account(site, "carol")
    site.change(site.user(username="carol"), is_active=False)
    replies = [ask(site, login=name) for name in ("alice", "bob", "carol", "unknown")]
    shown = []
    for reply in replies:
        challenge = reply.get_json().get("challenge", "")
        assert len(challenge) == (43 if method else 0)
        status, headers, body = whole(reply)
        shown.append((status, headers, body.replace(challenge.encode(), b"")))
    assert shown == [shown[0]] * 4
    rows = [row for row in challenges(site) if row.purpose == "login"]
    assert [row.user_id is None for row in rows] == [False, False, True, True]


def test_the_answers_are_uniform(make: NewSite) -> None:
    site = make()
    account(site)
    site.assert_uniform_answers(
        known=lambda: ask(site, login="alice"), unknown=lambda: ask(site, login="unknown")
    )


@with_and_without_codes
def test_the_statements_are_the_same_for_every_account(
    make: NewSite, method: dict[str, Any]
) -> None:
    site = make(outbox_model=define_outbox, MAIL_DISPATCHER="outbox", **method)
    account(site)
    ask(site)  # its row of the day exists
    found = []
    for name in ("alice", "unknown"):
        with site.statements() as statements:
            ask(site, login=name)
        kinds = [" ".join(each.split()[:3]) for each in statements]
        found.append(kinds[: kinds.index("INSERT INTO outbox") + 1])  # the rest is the sending
    assert found[0] == found[1]


@with_and_without_codes
def test_a_mail_server_that_fails_reveals_no_account(make: NewSite, method: dict[str, Any]) -> None:
    site = make(MAIL_DISPATCHER="inline", **method)
    account(site)

    def fail(*_: Any, **__: Any) -> None:
        raise SMTPServerDisconnected

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flask_mail.Connection.send", fail)
        replies = [ask(site, login=name) for name in ("alice", "unknown")]
    assert [each.status_code for each in replies] == [200, 200]
    assert replies[0].get_json().keys() == replies[1].get_json().keys()


def test_a_code_of_an_unknown_account_is_wrong(make: NewSite) -> None:
    site = make(**WITH_CODES)
    challenge = ask(site).get_json()["challenge"]
    for _ in range(3):
        assert use_code(site, challenge, "BCDF-BCDF").get_json() == WRONG
    assert use_code(site, challenge, "BCDF-BCDF").get_json() == INVALID


# Accounts without a password


@pytest.fixture
def passwordless(make: NewSite) -> tuple[Site, FlaskClient]:
    """Alice, who has no password, in a fresh login."""
    site = make(login_model=define_login)
    site.register()
    client = site.app.test_client()
    use(site, ask_link(site), client)
    return site, client


TWICE = {"password": OTHER_PASSWORD, "password_confirm": OTHER_PASSWORD}


def test_the_profile_says_whether_there_is_a_password(
    passwordless: tuple[Site, FlaskClient],
) -> None:
    site, client = passwordless
    assert client.get("/accounts/profile/").get_json()["has_password"] is False
    reply = client.patch("/accounts/profile/", json={"first_name": "Al", "has_password": True})
    assert reply.get_json()["has_password"] is False
    site.post("change-password", TWICE, client=client)
    assert client.get("/accounts/profile/").get_json()["has_password"] is True


def test_a_fresh_login_sets_the_first_password(passwordless: tuple[Site, FlaskClient]) -> None:
    site, client = passwordless
    assert site.post("change-password", TWICE, client=client).status_code == 200
    assert has_password(site, OTHER_PASSWORD)
    again = site.post("change-password", TWICE, client=client)
    assert again.get_json() == {"old_password": ["This field is required."]}
    wrong = site.post("change-password", {**TWICE, "old_password": "x"}, client=client)
    assert wrong.get_json() == {"old_password": ["Incorrect password."]}


def test_a_login_that_is_not_fresh_sets_none(
    passwordless: tuple[Site, FlaskClient], clock: Clock
) -> None:
    site, client = passwordless
    clock.advance(15 * 60 + 1)
    reply = site.post("change-password", TWICE, client=client)
    assert (reply.status_code, reply.get_json()["code"]) == (401, "reauthentication-required")
    assert site.user().password_hash.startswith("!")


def test_a_sent_old_password_is_wrong(passwordless: tuple[Site, FlaskClient]) -> None:
    site, client = passwordless
    for old in ("", "!", site.user().password_hash):
        reply = site.post("change-password", {**TWICE, "old_password": old}, client=client)
        assert reply.get_json().keys() == {"old_password"}


def test_a_reset_sets_the_first_password(passwordless: tuple[Site, FlaskClient]) -> None:
    site, _ = passwordless
    link = ask_reset(site)
    assert site.post("reset-password", {**link, **TWICE}).status_code == 200
    assert has_password(site, OTHER_PASSWORD)


def test_a_fresh_login_deletes_the_account(passwordless: tuple[Site, FlaskClient]) -> None:
    _, client = passwordless
    assert client.delete("/accounts/profile/", json={}).status_code == 204


def test_where_every_account_has_a_password_nothing_changes(new_site: NewSite) -> None:
    site = new_site()
    account(site)
    client = log_in(site)
    assert "has_password" not in client.get("/accounts/profile/").get_json()
    reply = site.post("change-password", TWICE, client=client)
    assert reply.get_json() == {"old_password": ["This field is required."]}


def test_after_an_undo_only_a_reset_sets_a_password(make: NewSite) -> None:
    site = make()
    account(site)
    undo = move(site, log_in(site), "new@example.com")
    assert undo_move(site, undo).status_code == 200
    client = site.app.test_client()
    assert use(site, ask_link(site), client).status_code == 200
    reply = site.post("change-password", TWICE, client=client)
    assert reply.get_json()["code"] == "reauthentication-required"


# Re-authentication


def with_reauthentication(make: NewSite) -> tuple[Site, FlaskClient]:
    """Alice, in a login that is not fresh."""
    flows = [*WITH_CODES["flows"], reauthenticate.flow]
    site = make(flows=flows, VERIFICATION_METHOD="both", login_model=define_login)
    account(site)
    client = log_in(site)
    for login in logins(site):
        change_login(site, login, fresh_at=None)
    return site, client


def is_fresh(site: Site, client: FlaskClient) -> bool:
    reply = site.post("register-email", {"email": "new@example.com"}, client=client)
    return reply.status_code == 200


def test_a_code_of_a_login_e_mail_makes_a_login_fresh_once(make: NewSite) -> None:
    site, client = with_reauthentication(make)
    assert not is_fresh(site, client)
    body = {"challenge": ask(site).get_json()["challenge"], "code": site.outbox.latest_code()}
    link = site.link()
    reply = site.post("reauthenticate", {**body, "code": "BCDF-BCDF"}, client=client)
    assert reply.get_json() == WRONG
    assert site.post("reauthenticate", body, client=client).status_code == 200
    assert is_fresh(site, client)
    assert [each.methods for each in logins(site)] == ["pwd otp"]
    assert site.post("reauthenticate", body, client=client).get_json() == INVALID
    assert use(site, link).get_json() == LINK_INVALID


def test_a_code_to_another_account_makes_no_login_fresh(make: NewSite) -> None:
    site, client = with_reauthentication(make)
    account(site, "bob")
    for name in ("bob", "unknown"):
        challenge = ask(site, login=name).get_json()["challenge"]
        body = {"challenge": challenge, "code": site.outbox.latest_code()}
        reply = site.post("reauthenticate", body, client=client)
        assert reply.get_json() == (INVALID if name == "bob" else WRONG)
    assert not is_fresh(site, client)


@each_row(
    ("body", "field"),
    [({}, "password"), ({"challenge": "x"}, "code"), ({"code": "x"}, "challenge")],
)
def test_a_missing_field_of_a_re_authentication_is_named(
    make: NewSite, body: dict[str, str], field: str
) -> None:
    site, client = with_reauthentication(make)
    reply = site.post("reauthenticate", body, client=client)
    assert (reply.status_code, reply.get_json().keys()) == (400, {field})


# Limits and configuration


def test_a_used_link_lets_the_next_e_mail_through(make: NewSite) -> None:
    site = make(MAIL_LIMITS="1/minute;5/hour;10/day")
    account(site)
    link = ask_link(site)
    ask(site)
    assert len(site.outbox) == 1
    assert use(site, link).status_code == 200
    ask(site)
    assert len(site.outbox) == 2


def test_a_dropped_e_mail_leaves_a_challenge_without_a_code(make: NewSite) -> None:
    site = make(**{**WITH_CODES, "MAIL_LIMITS": "1/minute;5/hour;10/day"})
    account(site)
    ask(site)
    ask(site)
    assert len(site.outbox) == 1
    rows = [row for row in challenges(site) if row.purpose == "login"]
    assert [row.code_digest is None for row in rows] == [False, True]


def test_a_model_without_a_stamp_works_too(make: NewSite) -> None:
    site = make(define=own_model())
    site.register()
    link = ask_link(site)
    assert use(site, link).status_code == 200
    assert use(site, link).get_json() == LINK_INVALID
    assert not has_password(site, PASSWORD)


def test_it_needs_a_model_for_challenges(new_site: NewSite) -> None:
    with pytest.raises(ConfigurationError, match="class Challenge"):
        new_site(flows=FLOWS)


def test_the_page_is_absolute(make: NewSite) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(LOGIN_LINK_URL="/log-in/")
    assert caught.value.problems[0].setting == "REGISTRATION_LOGIN_LINK_URL"
