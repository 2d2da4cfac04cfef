"""Terms of service: consent at registration, and a step of the login when they change."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from flask_sqlalchemy import SQLAlchemy
from marshmallow import fields
from sqlalchemy import String, select
from sqlalchemy.orm import mapped_column
from werkzeug.test import TestResponse

from flask_registration import (
    DEFAULT_FLOWS,
    BodySchema,
    ConfigurationError,
    ConsentMixin,
    StepRequired,
    actions,
    terms_accepted,
    user_logged_in,
    user_registered,
)
from flask_registration.errors import NotAuthenticated
from flask_registration.flows import codes, mail_login, sign_up, terms

from ..people import NOT_AUTHENTICATED, account, define_login, knows
from ..site import PASSWORD, Site, mixin_and
from ..tables import each_row
from ..test_steps import AT_ONCE, INVALID, define_challenge, word_flow
from .common import NewSite, at_once, log_in

FLOWS = [*DEFAULT_FLOWS, sign_up.flow, terms.flow]
OUTDATED = ["Please accept the current terms of service."]
REQUIRED = ["This field is required."]


def define_consent(db: SQLAlchemy) -> type[Any]:
    """The model of the documentation."""

    class Consent(ConsentMixin, db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
        __tablename__ = "consents"

    return Consent


@pytest.fixture
def make(new_site: NewSite) -> Any:
    """Make an application with terms of version 2."""

    def make(*args: Any, **settings: Any) -> Site:
        given = {
            "flows": FLOWS,
            "challenge_model": define_challenge,
            "other_models": [define_consent],
            "TERMS_VERSION": "2",
            "MAIL_LIMITS": None,
            **settings,
        }
        return new_site(*args, **given)

    return make


def consents(site: Site) -> list[Any]:
    """Every consent, oldest first."""
    with site.app.app_context():
        model = site.app.extensions["registration"].setup.models["consent"]
        return list(site.db.session.execute(select(model.__table__).order_by(model.id)))


def versions(site: Site) -> list[tuple[str, str, str]]:
    return [(each.user_id, each.document, each.version) for each in consents(site)]


def begin(site: Site, client: FlaskClient | None = None) -> TestResponse:
    return site.post("login", {"login": "alice", "password": PASSWORD}, client=client)


def challenge_of(site: Site) -> str:
    reply = begin(site)
    assert reply.status_code == 401, reply.get_json()
    return str(reply.get_json()["challenge"])


def accept(
    site: Site, challenge: str | None, version: Any = "2", client: FlaskClient | None = None
) -> TestResponse:
    given = {} if challenge is None else {"challenge": challenge}
    return site.post("accept-terms", {**given, "version": version}, client=client)


def sign_up_with(site: Site, **body: Any) -> TestResponse:
    site.post("sign-up", {"email": "alice@example.com"})
    chosen = {"username": "alice", "password": PASSWORD, "password_confirm": PASSWORD}
    return site.post("finish-sign-up", {**site.link(), **chosen, **body})


DOORS = each_row(
    "enter",
    [lambda site, **body: site.register(**body), sign_up_with],
    ids=["register", "finish-sign-up"],
)


# At registration


@pytest.mark.databases
@DOORS
def test_a_registration_accepts_the_terms(database: str, make: NewSite, enter: Any) -> None:
    site = make(database)
    with site.hears(user_registered, terms_accepted) as heard:
        assert enter(site, terms="2").status_code == 201
    assert [each["signal"] for each in heard] == ["user-registered", "terms-accepted"]
    user = site.user()
    assert [each["user"].id for each in heard] == [user.id, user.id]
    assert versions(site) == [(str(user.id), "terms", "2")]
    assert consents(site)[0].ip_address is None
    if not user.is_verified:
        site.verify(site.link())
    assert begin(site).status_code == 200


@DOORS
@each_row(
    ("given", "messages"),
    [
        ({}, REQUIRED),
        ({"terms": None}, ["This field may not be null."]),
        ({"terms": "1"}, OUTDATED),
        ({"terms": "3"}, OUTDATED),
        ({"terms": ""}, OUTDATED),
        ({"terms": True}, ["Not a valid string."]),
        ({"terms": ["2"]}, ["Not a valid string."]),
        ({"terms": {"2": "2"}}, ["Not a valid string."]),
    ],
)
def test_another_version_is_an_error_of_the_field(
    make: NewSite, enter: Any, given: dict[str, Any], messages: list[str]
) -> None:
    site = make()
    reply = enter(site, **given)
    assert (reply.status_code, reply.get_json()) == (400, {"terms": messages})
    assert (site.users(), consents(site)) == ([], [])


def test_a_wrong_version_costs_no_link_of_a_sign_up(make: NewSite) -> None:
    site = make()
    assert sign_up_with(site, terms="1").status_code == 400
    chosen = {"username": "alice", "password": PASSWORD, "password_confirm": PASSWORD}
    assert site.post("finish-sign-up", {**site.link(), **chosen, "terms": "2"}).status_code == 201


def test_a_refused_registration_stores_no_consent(make: NewSite) -> None:
    site = make()
    account(site)
    reply = site.register(email="b@example.com", terms="2")
    assert (reply.status_code, [*reply.get_json()]) == (400, ["username"])
    assert consents(site) == []


def test_an_address_in_use_takes_the_same_statements(make: NewSite) -> None:
    site = make()
    account(site, "bob")
    found: list[list[str]] = []
    for email in ("bob@example.com", "free@example.com"):
        with site.statements() as statements:
            reply = site.register("carol" if found else "alice", email=email, terms="2")
        assert reply.status_code == 201
        found.append([each.partition(" ")[0] for each in statements])
    assert found[0] == found[1]


def test_a_schema_of_the_application_gets_the_field_too(make: NewSite) -> None:
    class Own(BodySchema):
        username = fields.String(required=True)
        email = fields.String(required=True)
        password = fields.String(required=True)
        terms = fields.String()

    site = make(REGISTER_SCHEMA_CLASS=Own)
    assert site.register().get_json() == {"terms": REQUIRED}
    assert site.register(terms="2").status_code == 201
    assert versions(site) == [("1", "terms", "2")]


def test_a_column_of_the_same_name_is_not_written(make: NewSite) -> None:
    site = make(define=mixin_and(terms=lambda: mapped_column(String(9), nullable=True)))
    assert site.register(terms="2").status_code == 201
    assert site.user().terms is None


def test_the_ip_address_is_stored_where_a_setting_says_so(make: NewSite) -> None:
    site = make(TERMS_IP_ADDRESS_ENABLED=True)
    site.register(terms="2")
    assert consents(site)[0].ip_address == "127.0.0.1"


def test_the_consent_of_an_account_is_deleted_with_it(make: NewSite) -> None:
    site = make()
    for name in ("alice", "bob"):
        site.register(name, terms="2")
        site.verify()
    log_in(site, "alice").delete("/accounts/profile/", json={"password": PASSWORD})
    assert versions(site) == [("2", "terms", "2")]


def test_a_new_account_has_no_consent_of_a_deleted_one(make: NewSite) -> None:
    site = make()
    site.register(terms="2")
    first = consents(site)[0]
    with site.app.app_context():  # behind the API's back
        site.db.session.delete(site.db.session.get(site.User, 1))
        site.db.session.commit()
    assert site.register("bob", terms="2").status_code == 201
    assert [each.user_id for each in consents(site)] == ["1"]
    assert consents(site)[0].accepted_at > first.accepted_at
    with site.app.app_context():
        site.db.session.delete(site.db.session.get(site.User, 1))
        site.db.session.commit()
    account(site)
    assert site.user().id == 1
    assert consents(site) == []


def by_reset(site: Site) -> None:
    site.post("send-reset-password-link", {"login": "alice"})
    twice = {"password": PASSWORD, "password_confirm": PASSWORD}
    assert site.post("reset-password", {**site.link(), **twice}).status_code == 200


def by_login_link(site: Site) -> None:
    site.post("send-login-link", {"login": "alice"})
    assert site.post("login-by-link", site.link()).get_json()["step"] == "terms"


def by_code(site: Site) -> None:
    """Verify with a code that was asked for without the challenge of the registration."""
    sent = site.post("resend-verification", {"login": "alice"}).get_json()
    body = {"challenge": sent["challenge"], "code": site.outbox.latest_code()}
    assert site.post("verify-registration-code", body).status_code == 200


@each_row("enter", [by_reset, by_login_link, by_code], ids=lambda enter: enter.__name__)
def test_an_owner_has_not_accepted_what_another_person_registered(
    make: NewSite, enter: Any
) -> None:
    site = make(flows=[*FLOWS, mail_login.flow, codes.flow], VERIFICATION_METHOD="both")
    assert site.register(terms="2").status_code == 201
    enter(site)
    assert site.user().is_verified
    assert consents(site) == []


# The step


@pytest.mark.databases
def test_who_has_not_accepted_this_version_does_so_in_a_step(database: str, make: NewSite) -> None:
    site = make(database, login_model=define_login)
    account(site)
    client = site.app.test_client()
    reply = begin(site, client)
    assert reply.status_code == 401
    assert {**reply.get_json(), "challenge": ""} == {
        "detail": "One more step is needed to log in.",
        "code": "step-required",
        "step": "terms",
        "challenge": "",
        "methods": [],
        "version": "2",
    }
    assert not reply.headers.getlist("Set-Cookie")
    with site.hears(terms_accepted, user_logged_in) as heard:
        reply = accept(site, reply.get_json()["challenge"], client=client)
    assert (reply.status_code, reply.get_json()) == (
        200,
        {"detail": "You have accepted the terms of service."},
    )
    assert [each["signal"] for each in heard] == ["terms-accepted", "user-logged-in"]
    assert knows(site, client)
    assert versions(site) == [(str(site.user().id), "terms", "2")]
    assert begin(site).status_code == 200


def test_a_newer_version_is_asked_for_and_the_older_consent_stays(make: NewSite) -> None:
    site = make()
    account(site)
    with site.app.test_request_context():
        state = site.app.extensions["registration"]
        store = terms.store_of(state)
        earlier = replace(store.settings, terms_version="1")
        replace(store, settings=earlier).add(site.user())
        site.db.session.commit()
    accept(site, challenge_of(site))
    assert [version for _, _, version in versions(site)] == ["1", "2"]


@each_row(
    ("version", "messages"),
    [("1", OUTDATED), ("", OUTDATED), (None, ["This field may not be null."]), (2.5, OUTDATED)],
)
def test_another_version_leaves_the_challenge_valid(
    make: NewSite, version: Any, messages: list[str]
) -> None:
    site = make()
    account(site)
    challenge = challenge_of(site)
    for _ in range(7):
        reply = accept(site, challenge, version)
        assert (reply.status_code, reply.get_json()) == (400, {"version": messages})
    assert accept(site, challenge).status_code == 200


def test_a_number_counts_as_its_digits(make: NewSite) -> None:
    site = make()
    account(site)
    assert accept(site, challenge_of(site), 2).status_code == 200


def test_a_challenge_works_once_and_only_for_this_step(make: NewSite) -> None:
    site = make(flows=[*FLOWS, word_flow("word")])
    account(site)
    challenge = challenge_of(site)
    reply = accept(site, challenge)
    assert (reply.status_code, reply.get_json()["step"]) == (401, "word")
    assert [version for _, _, version in versions(site)] == ["2"]  # what is done stays done
    for each in (challenge, reply.get_json()["challenge"], "x", ""):
        assert accept(site, each).get_json() == INVALID


@each_row("change", [{"is_active": False}, {"security_stamp": "another one"}])
def test_a_challenge_of_an_account_that_has_changed_is_invalid(
    make: NewSite, change: dict[str, Any]
) -> None:
    site = make()
    account(site)
    challenge = challenge_of(site)
    site.change(site.user(), **change)
    assert accept(site, challenge).get_json() == INVALID
    assert consents(site) == []


@pytest.mark.databases
def test_of_twenty_uses_at_once_one_logs_in(database: str, make: NewSite) -> None:
    site = make(database, config=AT_ONCE, login_model=define_login)
    account(site)
    challenge = challenge_of(site)
    with site.hears(terms_accepted, user_logged_in) as heard:
        replies = at_once(lambda number: accept(site, challenge), 20)
    found = Counter(reply.status_code for reply in replies)
    assert found[200] == 1, found
    assert found.keys() <= {200, 400, 503}, found
    assert len(consents(site)) == 1
    assert Counter(each["signal"] for each in heard) == {"terms-accepted": 1, "user-logged-in": 1}


def test_an_account_of_an_administrator_meets_the_step(make: NewSite) -> None:
    site = make()
    with site.app.app_context():
        actions.create_user(username="alice", email="alice@example.com", password=PASSWORD)
    assert begin(site).get_json()["step"] == "terms"


def test_a_login_of_the_application_meets_the_step(make: NewSite) -> None:
    site = make()
    account(site)
    with site.app.test_request_context():
        user = site.db.session.get(site.User, 1)
        with pytest.raises(StepRequired) as raised:
            actions.log_in(user)
        actions.accept_terms("2", challenge=raised.value.challenge)
        assert [each["version"] for each in actions.consents()] == ["2"]


# While logged in


@pytest.fixture
def logged_in(make: NewSite) -> tuple[Site, FlaskClient]:
    """Alice, who logged in before there were terms."""
    site = make(LOGIN_RETRIEVE_TOKEN=True)
    account(site)
    client = site.app.test_client()
    accept(site, challenge_of(site), client=client)
    with site.app.app_context():
        site.db.session.execute(site.db.metadata.tables["consents"].delete())
        site.db.session.commit()
    return site, client


def test_a_user_who_is_logged_in_accepts_without_a_challenge(logged_in: Any) -> None:
    site, client = logged_in
    with site.hears(terms_accepted) as heard:
        for _ in range(2):
            reply = accept(site, None, client=client)
            assert (reply.status_code, reply.get_json()) == (
                200,
                {"detail": "You have accepted the terms of service."},
            )
    assert len(heard) == 1
    assert len(consents(site)) == 1


def test_another_version_is_refused(logged_in: Any) -> None:
    site, client = logged_in
    assert accept(site, None, "1", client).get_json() == {"version": OUTDATED}
    assert consents(site) == []


@pytest.mark.databases
def test_twenty_acceptances_at_once_make_one_row(database: str, make: NewSite) -> None:
    site = make(database, config=AT_ONCE)
    with site.app.test_request_context():
        user = account(site)
    clients = []
    for _ in range(20):
        client = site.app.test_client()
        with client.session_transaction() as session, site.app.test_request_context():
            state = site.app.extensions["registration"]
            from flask import session as current

            state.sessions.login(site.db.session.get(site.User, user.id), fresh=True, methods=[])
            session.update(current)
            state.commit()
        clients.append(client)
    with site.hears(terms_accepted) as heard:
        replies = at_once(lambda number: accept(site, None, client=clients[number]), 20)
    assert {reply.status_code for reply in replies} <= {200, 503}
    assert (len(consents(site)), len(heard)) == (1, 1)


def test_without_a_login_and_a_challenge_nothing_is_accepted(make: NewSite) -> None:
    site = make()
    account(site)
    reply = accept(site, None)
    assert (reply.status_code, reply.get_json()) == (401, NOT_AUTHENTICATED)
    with site.app.test_request_context(), pytest.raises(NotAuthenticated):
        actions.accept_terms("2")


def test_the_list_shows_the_consents_of_the_user_alone(make: NewSite) -> None:
    site = make()
    for name in ("bob", "alice"):
        site.register(name, terms="2")
        site.verify()
    client = log_in(site, "alice")
    (found,) = client.get("/accounts/consents/").get_json()
    assert found.keys() == {"document", "version", "accepted_at"}
    assert (found["document"], found["version"]) == ("terms", "2")
    assert found["accepted_at"].endswith("+00:00")
    assert site.app.test_client().get("/accounts/consents/").status_code == 401


# The configuration


@each_row(
    ("settings", "text"),
    [
        ({"TERMS_VERSION": None}, "REGISTRATION_TERMS_VERSION is not set"),
        ({"TERMS_VERSION": ""}, "must have 1 to 64 characters"),
        ({"TERMS_VERSION": "x" * 65}, "must have 1 to 64 characters"),
        ({"TERMS_VERSION": " 1"}, "must have 1 to 64 characters"),
        ({"TERMS_URL": "javascript:alert(1)"}, "must be a URL"),
        ({"TERMS_URL": "/terms/"}, "must be a URL"),
        ({"other_models": []}, "class Consent(ConsentMixin, db.Model)"),
        ({"challenge_model": None}, "class Challenge(ChallengeMixin, db.Model)"),
        ({"flows": DEFAULT_FLOWS}, "belongs to the flow terms, which is not mounted"),
    ],
)
def test_a_configuration_that_cannot_work(
    make: NewSite, settings: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigurationError, match=text.replace("(", r"\(").replace(")", r"\)")):
        make(**settings)


def test_two_applications_in_one_process_have_their_own_terms(
    make: NewSite, new_site: NewSite
) -> None:
    first, second, plain = make(), make(TERMS_VERSION="3"), new_site()
    assert first.register(terms="2").status_code == 201
    assert second.register(terms="2").get_json() == {"terms": OUTDATED}
    assert plain.register().status_code == 201
