"""Logins in steps: no session before the last one, and a challenge that works once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import flask_login
import pytest
from click.testing import CliRunner
from flask import session
from flask.cli import ScriptInfo
from flask.testing import FlaskClient
from flask_sqlalchemy import SQLAlchemy
from marshmallow import fields
from sqlalchemy import event, select, text, update
from werkzeug.test import TestResponse

from flask_registration import (
    DEFAULT_FLOWS,
    BodySchema,
    ChallengeInvalid,
    ChallengeMixin,
    ConfigurationError,
    Flow,
    ForeignLogin,
    Settings,
    StepRequired,
    actions,
    user_activated,
    user_logged_in,
    user_login_failed,
    user_reset_password,
)
from flask_registration.auth.codes import CodesSettings
from flask_registration.cli.base import registration_cli
from flask_registration.flows import verification_redirects
from flask_registration.http.bodies import login_response

from .conftest import Clock
from .faults.database import Faults, serialization
from .flows.common import NewSite, at_once
from .people import account, define_login, knows, logins, with_and_without_login_model
from .site import PASSWORD, Site, whole
from .tables import each_row

THREADS = 20
TRIES = 3
INVALID = {"detail": "This is no longer valid. Please start again.", "code": "challenge-invalid"}
WRONG = {"detail": "This code is not correct.", "code": "code-invalid"}
ONCE = {"REGISTER_VERIFICATION_ONE_TIME_USE": True, "REGISTER_VERIFICATION_AUTO_LOGIN": True}
AT_ONCE = {"SQLALCHEMY_ENGINE_OPTIONS": {"pool_size": 2 * THREADS, "max_overflow": 0}}


def define_challenge(db: SQLAlchemy) -> type[Any]:
    """The model of the documentation."""

    class Challenge(ChallengeMixin, db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
        __tablename__ = "challenges"

    return Challenge


class Answer(BodySchema):
    challenge: Any = fields.String(required=True)
    word: Any = fields.String(required=True)


def word_flow(name: str, needed: Callable[[Any, Any], bool] = lambda state, user: True) -> Any:
    """A flow with a step: the user says its name."""
    flow: Flow[Settings] = Flow(name, Settings)
    step = flow.step(
        name,
        needed=needed,
        offers=lambda state, user: {"methods": ["word"], "hint": "its name"},
        tries=lambda state: TRIES,
    )

    def answer(data: dict[str, Any]) -> dict[str, Any]:
        """Say the word."""
        challenge = step.open(flow.state, data["challenge"])
        if data["word"] != name:
            step.refuse(flow.state, challenge)
        return step.finish(flow.state, challenge, methods=[name])

    answer.__name__ = name
    errors = [ChallengeInvalid, StepRequired]
    flow.post(f"/{name}/", request=Answer, response=login_response, message="In", errors=errors)(
        answer
    )
    return flow


@pytest.fixture
def make(new_site: NewSite) -> Any:
    """Make an application with steps, and Alice in it."""

    def make(*args: Any, steps: Any = ("word",), **settings: Any) -> Site:
        flows = [*DEFAULT_FLOWS, *(word_flow(each) for each in steps)]
        site = new_site(*args, flows=flows, challenge_model=define_challenge, **settings)
        account(site)
        return site

    return make


def begin(site: Site, client: FlaskClient | None = None, **body: Any) -> TestResponse:
    return site.post("login", {"login": "alice", "password": PASSWORD, **body}, client=client)


def challenge_of(site: Site, **body: Any) -> str:
    handle = begin(site, **body).get_json()["challenge"]
    assert isinstance(handle, str)
    return handle


def answer(
    site: Site, challenge: Any, word: str = "word", client: FlaskClient | None = None
) -> TestResponse:
    return site.post("word", {"challenge": challenge, "word": word}, client=client)


def challenges(site: Site) -> Any:
    with site.app.app_context():
        model = site.registration._models[-1]
        rows = site.db.session.scalars(select(model).order_by(model.id)).all()
        site.db.session.expunge_all()
        return rows


def execute(site: Site, statement: str, **values: Any) -> None:
    with site.app.app_context(), site.db.engine.begin() as connection:
        connection.execute(text(statement), values)


# A login


@pytest.mark.databases
def test_nobody_is_logged_in_before_the_last_step(database: str, make: NewSite) -> None:
    site = make(database, login_model=define_login, LOGIN_RETRIEVE_TOKEN=True)
    client = site.app.test_client()
    signals = (user_logged_in, user_login_failed)
    with site.hears(*signals) as heard:
        reply = begin(site, client, remember=True)
    assert reply.status_code == 401
    handle = reply.get_json()["challenge"]
    assert reply.get_json() == {
        "detail": "One more step is needed to log in.",
        "code": "step-required",
        "step": "word",
        "challenge": handle,
        "methods": ["word"],
        "hint": "its name",
    }
    assert len(handle) == 43
    assert reply.headers["WWW-Authenticate"] == "Bearer"
    assert "Set-Cookie" not in reply.headers
    assert (heard, logins(site), site.user().last_login) == ([], [], None)
    assert not knows(site, client)
    with site.hears(*signals) as heard:
        reply = answer(site, handle, client=client)
    assert (reply.status_code, reply.get_json().keys()) == (200, {"detail", "token"})
    assert [each["signal"] for each in heard] == ["user-logged-in"]
    assert knows(site, client)
    assert client.get_cookie("remember_token") is not None
    assert {each.methods for each in logins(site)} == {"pwd word"}
    assert site.user().last_login is not None
    assert challenges(site) == []


def test_the_device_is_known_after_the_last_step(make: NewSite) -> None:
    site = make(THROTTLES={}, config={"RATELIMIT_ENABLED": True})
    client = site.app.test_client()
    handle = begin(site, client).get_json()["challenge"]
    assert client.get_cookie("registration_device") is None
    assert answer(site, handle, client=client).status_code == 200
    assert client.get_cookie("registration_device") is not None


def test_the_steps_come_in_the_order_of_the_flows(make: NewSite) -> None:
    site = make(steps=["word", "other"], login_model=define_login)
    client = site.app.test_client()
    first = begin(site, client).get_json()
    assert first["step"] == "word"
    reply = answer(site, first["challenge"], client=client)
    second = reply.get_json()
    assert (reply.status_code, second["code"], second["step"]) == (401, "step-required", "other")
    assert "Set-Cookie" not in reply.headers
    assert answer(site, second["challenge"]).get_json() == INVALID
    assert answer(site, first["challenge"]).get_json() == INVALID
    body = {"challenge": second["challenge"], "word": "other"}
    assert site.post("other", body, client=client).status_code == 200
    assert [each.methods for each in logins(site)] == ["pwd word other"]


def test_a_login_without_a_step_left_is_as_ever(new_site: NewSite) -> None:
    flow = word_flow("word", lambda state, user: user.username == "bob")
    site = new_site(flows=[*DEFAULT_FLOWS, flow], challenge_model=define_challenge)
    for name in ("alice", "bob"):
        account(site, name)
    assert begin(site).status_code == 200
    assert begin(site, login="bob").status_code == 401
    assert begin(site, login="bob", password="wrong").get_json()["code"] == "login-invalid"


def test_an_earlier_session_stays_until_the_last_step(make: NewSite) -> None:
    site = make()
    account(site, "bob")
    client = site.app.test_client()
    answer(site, challenge_of(site), client=client)
    reply = begin(site, client, login="bob")
    assert client.get("/accounts/profile/").get_json()["username"] == "alice"
    answer(site, reply.get_json()["challenge"], "wrong", client=client)
    assert client.get("/accounts/profile/").get_json()["username"] == "alice"
    answer(site, reply.get_json()["challenge"], client=client)
    assert client.get("/accounts/profile/").get_json()["username"] == "bob"


@with_and_without_login_model
def test_a_verification_stays_done_when_a_step_is_left(make: NewSite, login_model: Any) -> None:
    site = make(login_model=login_model, LOGIN_RETRIEVE_TOKEN=True, **ONCE)
    site.register("bob")
    client = site.app.test_client()
    with site.hears(user_activated, user_logged_in) as heard:
        reply = site.post("verify-registration", site.link(), client=client)
    assert (reply.status_code, reply.get_json()["code"]) == (401, "step-required")
    assert [each["signal"] for each in heard] == ["user-activated"]
    assert site.user(username="bob").is_verified
    assert site.user(username="bob").last_login is None
    assert not knows(site, client)
    used = site.post("verify-registration", site.link())
    assert used.get_json()["code"] == "signature-invalid"
    with site.hears(user_activated, user_logged_in) as heard:
        reply = answer(site, reply.get_json()["challenge"], client=client)
    assert [each["signal"] for each in heard] == ["user-logged-in"]
    assert knows(site, client)
    asked = client.post("/accounts/register-email/", json={"email": "new@example.com"})
    assert asked.get_json()["code"] == "reauthentication-required"


@with_and_without_login_model
def test_a_reset_stays_done_when_a_step_is_left(make: NewSite, login_model: Any) -> None:
    site = make(login_model=login_model, RESET_PASSWORD_AUTO_LOGIN=True, LOGIN_RETRIEVE_TOKEN=True)
    site.post("send-reset-password-link", {"login": "alice"})
    link, client = site.link(), site.app.test_client()
    new = "quite another battery of staples"
    with site.hears(user_reset_password, user_logged_in) as heard:
        reply = site.post("reset-password", {**link, "password": new}, client=client)
    assert (reply.status_code, reply.get_json()["code"]) == (401, "step-required")
    assert "Set-Cookie" not in reply.headers
    assert [each["signal"] for each in heard] == ["user-reset-password"]
    again = site.post("reset-password", {**link, "password": new})
    assert again.get_json()["code"] == "signature-invalid"
    assert not knows(site, client)
    assert begin(site, password=new).get_json()["code"] == "step-required"
    assert answer(site, reply.get_json()["challenge"], client=client).status_code == 200
    assert knows(site, client)


def test_a_page_behind_a_link_shows_that_the_verification_is_done(new_site: NewSite) -> None:
    flows = [*DEFAULT_FLOWS, word_flow("word"), verification_redirects.flow]
    url = "https://example.com/welcome"
    settings = {**ONCE, "VERIFY_REGISTRATION_SUCCESS_URL": url}
    site = new_site(flows=flows, challenge_model=define_challenge, **settings)
    site.register()
    client = site.app.test_client()
    reply = client.post("/accounts/verify-registration/confirm/", data=site.link())
    assert reply.headers["Location"] == url
    assert site.user().is_verified
    assert not knows(site, client)


def test_the_error_is_a_problem_for_clients_that_ask_for_one(make: NewSite) -> None:
    site = make()
    body = {"login": "alice", "password": PASSWORD}
    reply = site.post("login", body, headers={"Accept": "application/problem+json"})
    problem = reply.get_json()
    assert (problem["status"], problem["code"], problem["step"]) == (401, "step-required", "word")
    assert answer(site, problem["challenge"]).status_code == 200


# Tries


def test_after_the_last_try_the_challenge_is_gone(make: NewSite) -> None:
    site = make()
    handle = challenge_of(site)
    with site.hears(user_login_failed) as heard:
        for _ in range(TRIES):
            reply = answer(site, handle, "wrong")
            assert (reply.status_code, reply.get_json()) == (400, WRONG)
    assert [(each["user"].username, each["login"]) for each in heard] == [("alice", None)] * TRIES
    for word in ("word", "wrong"):
        assert answer(site, handle, word).get_json() == INVALID
    assert answer(site, challenge_of(site)).status_code == 200


@each_row("body", [{}, {"challenge": "x" * 43}, {"word": "word"}, {"challenge": None}])
def test_a_missing_field_costs_no_try(make: NewSite, body: dict[str, Any]) -> None:
    site = make()
    handle = challenge_of(site)
    if body == {}:
        body = {"challenge": handle}
    assert site.post("word", body).status_code == 400
    assert [row.tries_left for row in challenges(site)] == [TRIES]


@each_row("handle", ["", "x", "x" * 43, "é" * 43, "x" * 5000, "\u0000", 17, "' OR 1=1 --"])
def test_a_malformed_challenge_is_refused(make: NewSite, handle: Any) -> None:
    site = make()
    challenge_of(site)
    assert answer(site, handle).status_code == 400
    assert [row.tries_left for row in challenges(site)] == [TRIES]


def test_a_challenge_is_for_its_purpose_only(make: NewSite) -> None:
    site = make(steps=["word", "other"])
    handle = challenge_of(site)
    reply = site.post("other", {"challenge": handle, "word": "other"})
    assert reply.get_json() == INVALID
    assert [row.tries_left for row in challenges(site)] == [TRIES]


def test_the_table_has_no_secret(make: NewSite) -> None:
    site = make()
    handle = challenge_of(site)
    (row,) = challenges(site)
    assert handle not in str(vars(row))


# An account that changes meanwhile


def end_sessions(site: Site) -> None:
    execute(site, "UPDATE users SET security_stamp = :stamp", stamp="0" * 32)


def suspend(site: Site) -> None:
    execute(site, "UPDATE users SET is_active = :off", off=False)


def delete(site: Site) -> None:
    execute(site, "DELETE FROM users")


def unverify(site: Site) -> None:
    execute(site, "UPDATE users SET is_verified = :off", off=False)


@pytest.mark.databases
@each_row("change", [end_sessions, suspend, delete, unverify])
def test_a_challenge_ends_with_its_account(
    database: str, make: NewSite, change: Callable[[Site], None]
) -> None:
    site = make(database)
    handle = challenge_of(site)
    change(site)
    assert answer(site, handle).get_json() == INVALID


@each_row("word", ["word", "another"])
def test_no_word_tells_whether_an_account_was_suspended_meanwhile(make: NewSite, word: str) -> None:
    site = make()
    handle = challenge_of(site)
    suspend(site)
    reply = answer(site, handle, word)
    assert (reply.status_code, reply.get_json()) == (400, INVALID)


def test_a_challenge_of_a_deleted_account_is_none_of_the_next_one_with_its_id(
    make: NewSite,
) -> None:
    site = make()
    handle = challenge_of(site)
    delete(site)
    account(site)
    assert site.user().id == challenges(site)[0].user_id or str(site.user().id) == "1"
    assert answer(site, handle).get_json() == INVALID


def test_a_try_counts_once_however_often_the_database_asks_to_repeat_it(
    server_database: str, make: NewSite
) -> None:
    site = make(server_database)
    handle = challenge_of(site)
    faults = Faults(site, serialization)
    faults.arm(2)  # after the UPDATE that counts
    reply = answer(site, handle, "another")
    assert (reply.get_json(), len(faults.hits)) == (WRONG, 1)
    assert [each.tries_left for each in challenges(site)] == [TRIES - 1]


@pytest.mark.databases
@each_row("change", [end_sessions, suspend])
def test_a_change_during_the_last_step_stops_the_login(
    server_database: str, make: NewSite, change: Callable[[Site], None]
) -> None:
    site = make(server_database, config=AT_ONCE)
    handle = challenge_of(site)
    with during(site, "DELETE FROM challenges", lambda: change(site)):
        reply = answer(site, handle)
    assert reply.get_json() == INVALID
    assert "Set-Cookie" not in reply.headers
    assert site.user().last_login is None


@contextmanager
def during(site: Site, start: str, act: Callable[[], None]) -> Iterator[None]:
    """Do something else before the first statement that begins like this."""
    done: list[int] = []

    def look(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.startswith(start) and not done:
            done.append(1)
            thread = threading.Thread(target=act)
            thread.start()
            thread.join(timeout=20)

    with site.app.app_context():
        engine = site.db.engine
    event.listen(engine, "before_cursor_execute", look)
    yield
    event.remove(engine, "before_cursor_execute", look)
    assert done


# At the same time


@pytest.mark.databases
def test_of_twenty_uses_of_a_challenge_at_once_one_succeeds(database: str, make: NewSite) -> None:
    site = make(database, login_model=define_login, config=AT_ONCE)
    handle = challenge_of(site)
    with site.app.app_context():  # so that the row decides, and not the tries
        site.db.session.execute(update(site.registration._models[-1]).values(tries_left=1000))
        site.db.session.commit()
    replies = at_once(lambda number: answer(site, handle), THREADS)
    codes = Counter((each.status_code, each.get_json().get("code")) for each in replies)
    assert codes[200, None] == 1
    assert codes[400, "challenge-invalid"] + codes[503, "database-unavailable"] == THREADS - 1
    assert len(logins(site)) == 1


@pytest.mark.databases
def test_of_twenty_tries_at_once_no_more_are_looked_at_than_there_are(
    database: str, make: NewSite
) -> None:
    site = make(database, config=AT_ONCE)
    handle = challenge_of(site)
    replies = at_once(lambda number: answer(site, handle, "wrong"), THREADS)
    codes = Counter(each.get_json()["code"] for each in replies)
    assert codes["code-invalid"] <= TRIES
    assert [row.tries_left for row in challenges(site)] == [TRIES - codes["code-invalid"]]
    if "database-unavailable" not in codes:
        assert codes["code-invalid"] == TRIES
    assert codes.keys() <= {"code-invalid", "challenge-invalid", "database-unavailable"}


# How many there are


@pytest.mark.databases
def test_the_five_newest_of_an_account_are_kept(database: str, make: NewSite) -> None:
    site = make(database)
    account(site, "bob")
    other = challenge_of(site, login="bob")
    handles = [challenge_of(site) for _ in range(7)]
    assert len(challenges(site)) == 6
    assert answer(site, handles[1]).get_json() == INVALID
    assert answer(site, handles[2]).status_code == 200
    assert answer(site, other).status_code == 200


def test_a_wrong_password_replaces_no_challenge(make: NewSite) -> None:
    site = make()
    handle = challenge_of(site)
    for _ in range(7):
        begin(site, password="wrong")
    assert answer(site, handle).status_code == 200


def test_a_challenge_expires_and_purge_removes_it(make: NewSite, clock: Clock) -> None:
    site = make()
    early = challenge_of(site)
    clock.advance(1)
    late = challenge_of(site)
    clock.advance(15 * 60 - 1)
    assert answer(site, early).get_json() == INVALID
    assert answer(site, late, "wrong").get_json() == WRONG
    clock.advance(0.5)
    info = ScriptInfo(create_app=lambda: site.app, set_debug_flag=False)
    result = CliRunner().invoke(registration_cli, ["purge"], obj=info)
    assert "1 expired challenge removed" in result.output
    assert answer(site, late).status_code == 200


# The store


def test_a_code_is_right_with_its_challenge_and_for_an_account_only(
    make: NewSite, clock: Clock
) -> None:
    site = make()
    with site.app.test_request_context():
        state = site.app.extensions["registration"]
        codes = CodesSettings(code_period=timedelta(minutes=1), code_tries=9)
        store = replace(state.challenges, codes=codes)
        users = state.users
        user = users.find("username", "alice")[0]
        made = [store.create_with_code("code", each, counted=each) for each in (user, user, None)]
        users.commit()
        first, second, unknown = (store.open("code", handle) for handle, _ in made)
        code = store.code(first.digest)
        assert [store.code(each.digest) for each in (first, unknown)] == [code, None]
        assert store.has_code(first, code)
        assert not store.has_code(first._replace(digest=second.digest), code)
        assert not store.has_code(first, "WDJBMJHX")
        assert not store.has_code(first, "１２３")
        assert not store.has_code(unknown, code)
        assert unknown.user is None
        key = site.app.secret_key
        site.app.config.update(SECRET_KEY="another key", SECRET_KEY_FALLBACKS=[key])
        assert store.has_code(first, code)
        assert store.code(first.digest) == code
        site.app.config.update(SECRET_KEY_FALLBACKS=[])
        assert not store.has_code(first, code)
        assert store.code(first.digest) is None
    assert code not in str([vars(row) for row in challenges(site)])


# Logins by the application


def add_views(site: Site) -> None:
    if "foreign" in site.app.view_functions:  # an earlier row has made the application
        return

    def alice() -> Any:
        return site.db.session.scalars(select(site.User).filter_by(username="alice")).one()

    @site.app.post("/log-in")
    def log_in_by_action() -> dict[str, Any]:
        return actions.log_in(alice(), methods=["hwk"])

    @site.app.post("/foreign")
    def foreign() -> dict[str, Any]:
        session["cart"] = "a book"
        try:
            flask_login.login_user(alice(), remember=True)
        except ForeignLogin as error:
            user = flask_login.current_user
            return {"error": str(error), "is_in": user.is_authenticated, "keys": [*session]}
        return {}


def test_log_in_of_a_view_asks_for_the_step(make: NewSite) -> None:
    site = make(login_model=define_login)
    add_views(site)
    client = site.app.test_client()
    reply = client.post("/log-in")
    assert (reply.status_code, reply.get_json()["code"]) == (401, "step-required")
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["WWW-Authenticate"] == "Bearer"
    assert "Set-Cookie" not in reply.headers
    assert answer(site, reply.get_json()["challenge"], client=client).status_code == 200
    assert [each.methods for each in logins(site)] == ["hwk word"]


def test_a_script_gets_the_error_with_the_challenge(make: NewSite) -> None:
    site = make()
    with site.app.test_request_context():
        user = site.db.session.scalars(select(site.User)).one()
        with pytest.raises(StepRequired) as caught:
            actions.log_in(user)
    error = caught.value
    assert (error.status, error.step, error.methods) == (401, "word", ["word"])
    assert answer(site, error.challenge).status_code == 200


@each_row(
    ("change", "steps", "says"),
    [
        pytest.param(None, ["word"], "the step word is left", id="a step"),
        pytest.param(suspend, [], "the account is suspended", id="suspended"),
        pytest.param(unverify, [], "the e-mail address is not verified", id="unverified"),
    ],
)
@with_and_without_login_model
def test_the_applications_own_login_walks_past_nothing(
    make: NewSite, login_model: Any, change: Any, steps: list[str], says: str
) -> None:
    site = make(login_model=login_model, steps=steps)
    add_views(site)
    if change:
        change(site)
    client = site.app.test_client()
    found = client.post("/foreign").get_json()
    if change is suspend:  # Flask-Login itself refuses it, without an error
        assert found == {}
    else:
        assert says in found["error"]
        assert "flask_registration.actions.log_in(user)" in found["error"]
        assert (found["is_in"], {*found["keys"]} - {"_fresh"}) == (False, {"cart"})
    assert not knows(site, client)
    assert client.get_cookie("remember_token") is None
    if login_model:
        assert logins(site) == []


@each_row(
    ("settings", "change"),
    [
        ({"FOREIGN_LOGINS_ALLOWED": True}, None),
        ({"FOREIGN_LOGINS_ALLOWED": True}, unverify),
        ({"REGISTER_VERIFICATION_ENABLED": False, "steps": []}, unverify),
    ],
)
def test_a_setting_allows_it(make: NewSite, settings: dict[str, Any], change: Any) -> None:
    site = make(**settings)
    add_views(site)
    if change:
        change(site)
    client = site.app.test_client()
    assert client.post("/foreign").get_json() == {}
    assert knows(site, client)


def test_the_error_is_a_runtime_error() -> None:
    assert issubclass(ForeignLogin, RuntimeError)


# Configuration and description


def test_a_step_needs_a_model(new_site: NewSite) -> None:
    with pytest.raises(ConfigurationError) as caught:
        new_site(flows=[*DEFAULT_FLOWS, word_flow("word")])
    (problem,) = caught.value.problems
    assert problem.setting == "models"
    assert "the flow word needs" in problem.text
    assert "class Challenge(ChallengeMixin, db.Model)" in problem.text


def test_the_api_description_has_the_error_where_there_are_steps(
    make: NewSite, new_site: NewSite
) -> None:
    for site, statuses in ((make(), {"401"}), (new_site(), set())):
        document = site.app.test_client().get("/accounts/openapi.json").get_json()
        responses = document["paths"]["/accounts/login/"]["post"]["responses"]
        assert {"401"} & responses.keys() == statuses


def test_the_response_has_the_same_form_for_every_account(make: NewSite) -> None:
    site = make()
    account(site, "bob")
    first, second = (begin(site, login=name) for name in ("alice", "bob"))
    handles = [each.get_json()["challenge"].encode() for each in (first, second)]
    bodies = [
        (*whole(each)[:2], whole(each)[2].replace(handle, b""))
        for each, handle in zip((first, second), handles, strict=True)
    ]
    assert bodies[0] == bodies[1]
