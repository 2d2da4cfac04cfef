"""Export of the data of an account, as a JSON file."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_registration import (
    DEFAULT_FLOWS,
    ConfigurationError,
    Flow,
    RegistrationState,
    Settings,
    UserMixin,
    actions,
)
from flask_registration.flows import leaving, second_factor, terms
from flask_registration.testing.uniform import executed

from ..conftest import Clock
from ..outboxes import command
from ..people import NOT_AUTHENTICATED, account, define_login, log_in, logins, profile
from ..site import PASSWORD, Site, define, text_column
from ..tables import each_row
from ..test_steps import define_challenge
from .common import REAUTHENTICATE, NewSite, bearer, row, token_of
from .test_second_factor import add, define_credential
from .test_terms import define_consent

EXPORT = "/accounts/profile/export/"
FLOWS = [*DEFAULT_FLOWS, leaving.flow]
KEYS = ["a key for credentials in the tests, which is long"]


def orders(user: Any) -> list[dict[str, Any]]:
    """What an application adds."""
    return [{"of": user.username, "number": 1}]


@pytest.fixture
def make(new_site: NewSite) -> Any:
    """Make an application with exports."""
    return lambda *args, **settings: new_site(*args, **{"flows": FLOWS, **settings})


def export(client: FlaskClient, **options: Any) -> TestResponse:
    return client.get(EXPORT, **options)


def test_it_is_a_file_with_the_profile_the_logins_and_what_the_application_adds(
    make: NewSite,
) -> None:
    site = make(
        login_model=define_login,
        define=define(UserMixin, columns=lambda: {"city": text_column()()}),
        USER_PUBLIC_FIELDS=["city"],
        EXPORTERS={"orders": orders, "more": f"{__name__}.orders"},
    )
    account(site, city="Oslo")
    account(site, "bob")
    log_in(site, "bob")
    client = log_in(site)
    reply = export(client)
    assert (reply.status_code, reply.mimetype) == (200, "application/json")
    assert reply.headers["Content-Disposition"] == "attachment; filename=account.json"
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    own = [{"of": "alice", "number": 1}]
    data = reply.get_json()
    assert data == {
        "profile": profile(site, client).get_json(),
        "logins": client.get("/accounts/logins/").get_json(),
        "orders": own,
        "more": own,
    }
    assert data["profile"]["city"] == "Oslo"
    assert len(data["logins"]) == 1


def test_credentials_are_named_without_their_secrets(make: NewSite, clock: Clock) -> None:
    site = make(
        flows=[*FLOWS, second_factor.flow],
        challenge_model=define_challenge,
        credential_model=define_credential,
        login_model=define_login,
        CREDENTIAL_KEYS=KEYS,
    )
    account(site)
    client = log_in(site)
    assert export(client).get_json()["credentials"] == []
    totp = add(site, client, clock)
    reply = export(client)
    found = reply.get_json()["credentials"]
    assert found == client.get("/accounts/credentials/").get_json()
    assert [each["kind"] for each in found] == ["totp", "recovery-codes"]
    user, text = row(site), reply.get_data(as_text=True)
    rows = [row.__dict__ for row in logins(site)]
    secrets = [user["password_hash"], user["security_stamp"], totp.secret, *totp.recovery_codes]
    secrets += [each[name] for each in rows for name in ("digest", "stamp_mark")]
    assert [each for each in secrets if each in text] == []


def test_consents_are_part_of_it(make: NewSite) -> None:
    site = make(
        flows=[*FLOWS, terms.flow],
        challenge_model=define_challenge,
        other_models=[define_consent],
        TERMS_VERSION="1",
        TERMS_IP_ADDRESS_ENABLED=True,
        CLIENT_DATA_RETENTION=0,
    )
    site.register("alice", terms="1")
    site.verify()
    client = log_in(site)
    (found,) = export(client).get_json()["consents"]
    (shown,) = client.get("/accounts/consents/").get_json()
    assert found == {**shown, "ip_address": "127.0.0.1"}
    assert found["version"] == "1"
    assert "1 consent client detail removed" in command(site, "purge").output
    assert "0 consent client details" in command(site, "purge").output
    with site.app.app_context():
        (row,) = site.db.session.execute(site.db.metadata.tables["consents"].select())
    assert (row.version, row.ip_address) == ("1", None)


def test_a_flow_of_the_application_adds_its_own_key(make: NewSite) -> None:
    flow: Flow[Settings] = Flow("orders", Settings)

    @flow.provides("export_orders")
    def export_orders(state: RegistrationState, user: Any) -> list[Any]:
        return orders(user)

    site = make(flows=[*FLOWS, flow])
    account(site)
    assert export(log_in(site)).get_json().keys() == {"profile", "orders"}
    with pytest.raises(ConfigurationError, match="names 'orders', which an export has already"):
        make(flows=[*FLOWS, flow], EXPORTERS={"orders": orders})


@each_row("login", [None, define_login], ids=["signed sessions", "sessions as rows"])
def test_the_login_must_be_fresh(make: NewSite, clock: Clock, login: Any) -> None:
    site = make(login_model=login, LOGIN_RETRIEVE_TOKEN=True)
    account(site)
    client, token = log_in(site), token_of(site)
    assert export(site.app.test_client()).get_json() == NOT_AUTHENTICATED
    assert export(site.app.test_client(), headers=bearer("forged")).status_code == 401
    assert export(site.app.test_client(), headers=token).status_code == 200
    clock.advance(15 * 60 + 1)
    for options in ({}, {"query_string": {"password": PASSWORD}}, {"json": {"password": PASSWORD}}):
        reply = export(client, **options)
        assert (reply.status_code, reply.get_json()) == (401, REAUTHENTICATE)
        assert "insufficient_user_authentication" in reply.headers["WWW-Authenticate"]
    assert export(site.app.test_client(), headers=token).get_json() == REAUTHENTICATE
    log_in(site, client=client)
    assert export(client).status_code == 200


def test_values_are_written_as_flask_does(make: NewSite) -> None:
    def exporter(user: Any) -> dict[str, Any]:
        return {
            "text": 'é "quoted" </script> \ud800',
            "day": date(2026, 1, 2),
            "moment": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
            "price": Decimal("1.10"),
            "key": uuid.UUID(int=1),
            "nothing": None,
        }

    site = make(EXPORTERS={"all": exporter})
    account(site)
    reply = export(log_in(site))
    assert json.loads(reply.get_data())["all"] == {
        "text": 'é "quoted" </script> \ud800',
        "day": "Fri, 02 Jan 2026 00:00:00 GMT",
        "moment": "Fri, 02 Jan 2026 03:04:05 GMT",
        "price": "1.10",
        "key": "00000000-0000-0000-0000-000000000001",
        "nothing": None,
    }


def raises(user: Any) -> None:
    raise LookupError("no such order")


@each_row(
    ("exporter", "error"),
    [(raises, "LookupError: no such order"), (lambda user: b"\x00", "Object of type bytes is not")],
    ids=["an error", "bytes"],
)
def test_an_error_of_an_exporter_is_logged_with_its_name_and_there_is_no_export(
    make: NewSite, caplog: pytest.LogCaptureFixture, exporter: Any, error: str
) -> None:
    site = make(EXPORTERS={"orders": exporter}, config={"PROPAGATE_EXCEPTIONS": False})
    account(site)
    client = log_in(site)
    caplog.clear()
    reply = export(client)
    assert reply.status_code == 500
    assert b"alice" not in reply.get_data()
    assert error in caplog.text
    assert "The exporter 'orders' of REGISTRATION_EXPORTERS raised it." in caplog.text
    assert profile(site, client).status_code == 200


def test_an_export_changes_nothing(make: NewSite) -> None:
    site = make(login_model=define_login)
    account(site)
    client = log_in(site)
    with executed(site.app) as statements:
        assert export(client).status_code == 200
    assert {each.split()[0] for each in statements} == {"SELECT"}


def test_the_action_returns_the_same(make: NewSite) -> None:
    site = make(EXPORTERS={"orders": orders})

    @site.app.get("/mine")
    def mine() -> Any:
        return actions.export_profile()

    account(site)
    client = log_in(site)
    reply = client.get("/mine")
    assert reply.get_json() == export(client).get_json()
    assert "Content-Disposition" not in reply.headers


@each_row(
    ("exporters", "problem"),
    [
        ({"profile": orders}, "names 'profile', which an export has already"),
        ({"logins": orders}, "names 'logins', which an export has already"),
        ({"orders": "tests.nowhere"}, "cannot be imported"),
        ({"orders": 7}, "each with a callable"),
        ({"": orders}, "must have names"),
        ([orders], "REGISTRATION_EXPORTERS"),
    ],
    ids=["profile", "logins", "no module", "no function", "no name", "a list"],
)
def test_exporters_that_cannot_work_are_refused(
    make: NewSite, exporters: Any, problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        make(login_model=define_login, EXPORTERS=exporters)


def test_without_the_flow_there_is_no_export(site: Site) -> None:
    account(site)
    assert export(log_in(site)).status_code == 404
