"""Sign-up: verify the e-mail address first, choose a username and a password afterwards."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_registration import (
    DEFAULT_FLOWS,
    user_activated,
    user_deleted,
    user_logged_in,
    user_registered,
)
from flask_registration.flows import codes, sign_up

from ..people import account, define_login, knows, logins
from ..site import PASSWORD, Site, links_of
from ..tables import each_row
from ..test_steps import AT_ONCE, INVALID, answer, define_challenge, word_flow
from .common import (
    LINK_INVALID,
    NewSite,
    at_once,
    bearer,
    has_password,
    mails,
)

ADDRESS = "alice@example.com"
SENT = {"detail": "An e-mail to finish signing up is on its way"}
FLOWS = [*DEFAULT_FLOWS, sign_up.flow]
WITH_CODES = {
    "flows": [*FLOWS, codes.flow],
    "challenge_model": define_challenge,
    "VERIFICATION_METHOD": "both",
}
with_and_without_codes = each_row("method", [{}, WITH_CODES], ids=["links", "codes"])


@pytest.fixture
def make(new_site: NewSite) -> Any:
    """Make an application with sign-up."""

    def make(*args: Any, **settings: Any) -> Site:
        return new_site(*args, **{"flows": FLOWS, "MAIL_COOLDOWN": 0, **settings})

    return make


def ask(site: Site, email: Any = ADDRESS) -> TestResponse:
    return site.post("sign-up", {"email": email})


def ask_proof(site: Site, email: str = ADDRESS, *, by_code: Any = False) -> dict[str, str]:
    """Ask for the e-mail; what finishes the sign-up."""
    reply = ask(site, email)
    assert reply.status_code == 200, reply.get_json()
    if not by_code:
        return site.link()
    challenge = reply.get_json()["challenge"]
    return {"email": email, "challenge": challenge, "code": site.outbox.latest_code()}


def finish(
    site: Site,
    proof: dict[str, Any],
    username: str = "alice",
    client: FlaskClient | None = None,
    **body: Any,
) -> TestResponse:
    chosen = {"username": username, "password": PASSWORD, "password_confirm": PASSWORD, **body}
    return site.post("finish-sign-up", {**proof, **chosen}, client=client)


# The way through


@pytest.mark.databases
@with_and_without_codes
def test_an_address_is_verified_first_and_the_account_is_made_afterwards(
    database: str, make: NewSite, method: dict[str, Any]
) -> None:
    site = make(database, login_model=define_login, **method)
    proof = ask_proof(site, by_code=method)
    assert mails(site) == [(ADDRESS, "Finish signing up for example.com")]
    assert site.users() == []
    client = site.app.test_client()
    with site.hears(user_registered, user_activated, user_logged_in) as heard:
        reply = finish(site, proof, client=client)
    user = site.user()
    assert reply.status_code == 201, reply.get_json()
    assert reply.get_json() == {
        "id": user.id,
        "username": "alice",
        "email": ADDRESS,
        **{name: value for name, value in reply.get_json().items() if name.endswith("_name")},
    }
    assert [each["signal"] for each in heard] == [
        "user-registered",
        "user-activated",
        "user-logged-in",
    ]
    assert (user.is_verified, user.last_login is None) == (True, False)
    assert knows(site, client)
    assert [each.methods for each in logins(site)] == ["otp" if method else "mail"]
    assert has_password(site, PASSWORD)
    assert mails(site) == []


def test_the_link_leads_to_the_page_beside_the_first_one(make: NewSite) -> None:
    site = make()
    ask(site)
    assert links_of(site.read())[0].startswith("https://example.com/finish-sign-up/?timestamp=")
    assert site.link().keys() == {"timestamp", "email", "signature"}


def test_it_returns_a_token(make: NewSite) -> None:
    site = make(LOGIN_RETRIEVE_TOKEN=True)
    token = finish(site, ask_proof(site)).get_json()["token"]
    assert knows(site, headers=bearer(token))


def test_the_login_is_fresh(make: NewSite) -> None:
    site = make()
    client = site.app.test_client()
    finish(site, ask_proof(site), client=client)
    assert site.post("register-email", {"email": "a@example.com"}, client=client).status_code == 200


@with_and_without_codes
def test_what_is_done_stays_done_when_a_step_is_left(make: NewSite, method: dict[str, Any]) -> None:
    settings = {"challenge_model": define_challenge, **method}
    site = make(**{**settings, "flows": [*FLOWS, codes.flow, word_flow("word")]})
    proof = ask_proof(site, by_code=method)
    client = site.app.test_client()
    with site.hears(user_registered, user_activated, user_logged_in) as heard:
        reply = finish(site, proof, client=client)
    assert (reply.status_code, reply.get_json()["code"]) == (401, "step-required")
    assert [each["signal"] for each in heard] == ["user-registered", "user-activated"]
    assert (site.user().is_verified, site.user().last_login) == (True, None)
    assert not knows(site, client)
    assert answer(site, reply.get_json()["challenge"], client=client).status_code == 200
    assert knows(site, client)
    assert finish(site, proof, "bob").status_code == 400


# Once


@with_and_without_codes
def test_a_used_link_or_code_is_invalid(make: NewSite, method: dict[str, Any]) -> None:
    site = make(**method)
    proof = ask_proof(site, by_code=method)
    assert finish(site, proof).status_code == 201
    for username in ("alice", "bob"):
        expected = INVALID if method else LINK_INVALID
        assert finish(site, proof, username).get_json() == expected
    assert len(site.users()) == 1


@with_and_without_codes
def test_an_address_that_was_taken_meanwhile_is_not_taken_over(
    make: NewSite, method: dict[str, Any]
) -> None:
    site = make(**method)
    proof = ask_proof(site, by_code=method)
    account(site, "bob", email=ADDRESS)
    expected = INVALID if method else LINK_INVALID
    assert finish(site, proof).get_json() == expected
    assert [user.username for user in site.users()] == ["bob"]


def test_a_link_that_made_a_deleted_account_may_make_another_one(make: NewSite) -> None:
    site = make()
    proof, client = ask_proof(site), site.app.test_client()
    finish(site, proof, client=client)
    client.delete("/accounts/profile/", json={"password": PASSWORD})
    assert site.users() == []
    assert finish(site, proof).status_code == 201


@pytest.mark.databases
@with_and_without_codes
@each_row("pending", [False, True], ids=["free", "pending"])
@each_row("names", [1, 20], ids=["one name", "many names"])
def test_of_twenty_uses_at_once_one_account_comes_out(
    database: str, make: NewSite, method: dict[str, Any], pending: bool, names: int
) -> None:
    site = (
        make(database, config=AT_ONCE, CODE_TRIES=10, **method)
        if method
        else make(database, config=AT_ONCE)
    )
    if pending:
        account(site, "mallory", email=ADDRESS, verified=False)
    proof = ask_proof(site, by_code=method)
    with site.hears(user_registered, user_activated, user_logged_in, user_deleted) as heard:
        replies = at_once(lambda number: finish(site, proof, f"alice{number % names}"), 20)
    found = Counter((each.status_code, each.get_json().get("code")) for each in replies)
    assert found[201, None] == 1, found
    assert found.keys() <= {
        (201, None),
        (400, "signature-invalid"),
        (400, "challenge-invalid"),
        (503, "database-unavailable"),
    }, found
    assert [(user.email, user.is_verified) for user in site.users()] == [(ADDRESS, True)]
    assert Counter(each["signal"] for each in heard) == {
        "user-registered": 1,
        "user-activated": 1,
        "user-logged-in": 1,
        **({"user-deleted": 1} if pending else {}),
    }
