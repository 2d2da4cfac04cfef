"""The public actions: what endpoints and commands do, in form views and in scripts."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from flask import Flask, flash, get_flashed_messages, redirect, request, session
from flask.testing import FlaskClient
from flask_login import current_user, login_required
from marshmallow import Schema, ValidationError, fields
from sqlalchemy import Date
from sqlalchemy.orm import mapped_column

from flask_registration import (
    DEFAULT_FLOWS,
    APIError,
    Flow,
    LinkInvalid,
    Settings,
    TokenManager,
    UserNotFound,
    actions,
    signals,
    user_activated,
    user_logged_in,
    user_registered,
)
from flask_registration.errors import (
    AdministrationError,
    EndpointDisabled,
    LoginInvalid,
    LoginNotFound,
    MailUnavailable,
    NotAuthenticated,
    NotVerified,
    ReauthenticationRequired,
    Throttled,
)

from .flows.common import OTHER_PASSWORD, NewSite, has_password, is_in, log_in, member
from .pages import read
from .people import define_login, token_of
from .site import PASSWORD, Site, mixin_and
from .test_dispatch import broken_mail
from .world import ENDPOINTS, PAGES, SETTINGS, World
from .world import define_login as world_logins

EMAIL = "alice@example.com"


def link_of(site: Site) -> dict[str, Any]:
    """The parameters of the latest link, as an application reads them from its URL."""
    return dict(site.link())


def add_forms(app: Flask) -> None:
    """A site with forms and flash messages: every function by its name, with the form's fields."""

    @app.post("/forms/<name>/")
    def form(name: str) -> Any:
        try:
            result = getattr(actions, name)(**request.form.to_dict())
        except ValidationError as error:
            return {"fields": error.messages}, 422
        except APIError as error:
            flash(str(error))
            return {"code": error.code, "flashed": get_flashed_messages()}, error.status
        return {"result": result}

    @app.get("/members/")
    @login_required  # type: ignore[untyped-decorator]  # Flask-Login ships no types
    def members() -> Any:
        return {"name": current_user.username}

    @app.post("/passkey/<name>/")
    def passkey(name: str) -> Any:
        model = app.extensions["registration"].fields.model
        user = model.query.filter_by(username=name).one()
        try:
            actions.log_in(user, remember="remember" in request.form)
        except APIError as error:
            return {"code": error.code}, error.status
        return redirect("/members/")


@pytest.fixture
def forms(new_site: NewSite) -> Site:
    return new_site(before=add_forms, login_model=define_login)


def submit(site: Site, client: FlaskClient, name: str, **fields: str) -> Any:
    """Submit a form; what the view makes of it."""
    reply = client.post(f"/forms/{name}/", data=fields, headers={"Accept-Language": "de"})
    return reply.get_json()


# Form views


def test_an_account_lives_its_whole_life_in_form_views(forms: Site) -> None:
    client = forms.app.test_client()
    fields = {"username": "alice", "email": EMAIL, "password": PASSWORD}
    with forms.hears(user_registered, user_activated, user_logged_in) as heard:
        assert submit(forms, client, "register", **fields)["result"]["username"] == "alice"
        assert submit(forms, client, "resend_verification", login="alice") == {"result": {}}
        assert submit(forms, client, "verify_registration", **link_of(forms)) == {"result": {}}
        assert submit(forms, client, "login", login="alice", password=PASSWORD) == {"result": {}}
    assert [each["signal"] for each in heard] == [
        "user-registered",
        "user-activated",
        "user-logged-in",
    ]
    assert client.get("/members/").get_json() == {"name": "alice"}
    assert submit(forms, client, "profile")["result"]["email"] == EMAIL
    changed = submit(forms, client, "update_profile", first_name="Alice")
    assert changed["result"]["first_name"] == "Alice"
    assert submit(forms, client, "replace_profile", username="alice")["result"]["last_name"] == ""

    passwords = {"old_password": PASSWORD, "password": OTHER_PASSWORD}
    assert submit(forms, client, "change_password", **passwords) == {"result": {}}
    assert is_in(client)
    assert submit(forms, client, "register_email", email="alice@new.example.com") == {"result": {}}
    assert submit(forms, client, "verify_email", **link_of(forms)) == {"result": {}}
    assert forms.user(username="alice").email == "alice@new.example.com"
    assert submit(forms, client, "undo_email_change", **link_of(forms)) == {"result": None}
    assert forms.user(username="alice").email == EMAIL
    assert not is_in(client)

    assert submit(forms, client, "send_reset_password_link", login="alice") == {"result": {}}
    new = {**link_of(forms), "password": PASSWORD}
    assert submit(forms, client, "reset_password", **new) == {"result": None}
    submit(forms, client, "login", login="alice", password=PASSWORD)
    other = log_in(forms, "alice")
    rows = submit(forms, client, "logins")["result"]
    assert sorted(each["current"] for each in rows) == [False, True]
    login_id = next(str(each["id"]) for each in rows if not each["current"])
    assert submit(forms, client, "revoke_login", login_id=login_id) == {"result": None}
    assert not is_in(other)
    assert submit(forms, client, "logout") == {"result": None}
    assert not is_in(client)
    submit(forms, client, "login", login="alice", password=PASSWORD)
    assert submit(forms, client, "delete_profile") == {"result": None}
    assert not is_in(client)
    assert forms.users() == []


def test_every_endpoint_with_json_has_an_action_of_its_name() -> None:
    names = {endpoint.name for flow in DEFAULT_FLOWS for endpoint in flow.endpoints}
    assert [name for name in names if not inspect.isfunction(getattr(actions, name, None))] == []


#: Those whose schema, which an application may replace, asks for the password twice.
TYPED_TWICE = ("register", "finish_sign_up", "accept_invitation")


def test_every_action_does_what_its_endpoint_does(new_site: NewSite) -> None:
    world = World(new_site(login_model=world_logins, **SETTINGS))
    called = []
    for name, endpoint in ENDPOINTS.items():
        action = getattr(actions, name, None)
        if action is None or name in PAGES:
            continue
        called.append(name)
        reply = world.ask(name)
        assert reply.status_code < 300, (name, reply.get_json())
        described = reply.get_json(silent=True)
        rows = {table: len(found) for table, found in world.rows().items()}
        state = world.enter(world.state_for(name))
        path, key = world.path(endpoint), re.search(r"<(\w+)>", endpoint.path)
        values = {key[1]: path.strip("/").split("/")[2]} if key else {}
        headers = {"Cookie": f"session={state.cookie}"} if world.logs_in(endpoint) else {}
        given = world.body(name)
        if name not in TYPED_TWICE:
            given.pop("password_confirm", None)
        client = world.site.app.test_client().environ_base
        with world.site.app.test_request_context("/", headers=headers, environ_base=client):
            result = action(**given | values)
        world.now = None
        assert {table: len(found) for table, found in world.rows().items()} == rows, name
        if isinstance(described, dict) and isinstance(result, dict):
            assert result.keys() == described.keys() - {"detail"}, name
    assert called == [name for name in ENDPOINTS if name not in PAGES]


def test_every_action_is_on_its_page() -> None:
    page = read("docs/actions.md")
    assert sorted(re.findall(r"autofunction:: (\w+)", page)) == sorted(actions.__all__)


def test_messages_are_in_the_language_of_the_response(forms: Site) -> None:
    member(forms)
    client = forms.app.test_client()
    wrong = submit(forms, client, "login", login="alice", password="wrong")
    assert wrong["code"] == "login-invalid"
    assert wrong["flashed"] == ["Benutzername, E-Mail-Adresse oder Passwort ist falsch."]
    taken = {"username": "alice", "email": "b@example.com", "password": PASSWORD}
    assert submit(forms, client, "register", **taken)["fields"] == {
        "username": ["Dieser Benutzername wird bereits verwendet."]
    }
    mismatch = {**taken, "username": "bob", "password_confirm": OTHER_PASSWORD}
    assert list(submit(forms, client, "register", **mismatch)["fields"]) == ["password_confirm"]


def test_an_action_has_the_rate_limits_of_its_endpoint(new_site: NewSite) -> None:
    limits = {"login": {"client": "3/minute"}, "register": {"account": "1/minute"}}
    config = {"RATELIMIT_ENABLED": True}
    site = new_site(before=add_forms, THROTTLES=limits, config=config)
    member(site)
    client = site.app.test_client()
    assert submit(site, client, "login", login="alice", password=PASSWORD) == {"result": {}}
    assert site.post("login", {"login": "alice", "password": PASSWORD}).status_code == 200
    assert submit(site, client, "login", login="x", password="x")["code"] == "login-invalid"
    assert submit(site, client, "login", login="alice", password=PASSWORD)["code"] == "throttled"
    with site.app.app_context():  # a script has no client, but counts for the account
        with pytest.raises(ValidationError):
            actions.register(username="bob", email=EMAIL, password="bob")
        with pytest.raises(Throttled):
            actions.register(username="bob", email=EMAIL, password="bob")


def test_a_refused_form_leaves_nothing_in_the_session_of_the_database(new_site: NewSite) -> None:
    def add_form(app: Flask) -> None:
        @app.post("/form/")
        def form() -> Any:
            db = app.extensions["sqlalchemy"]
            user = app.extensions["registration"].fields.model.query.first()
            user.first_name = "Mallory"
            with pytest.raises(ValidationError):
                actions.register(username="bob")
            db.session.commit()
            return {}

    site = new_site(before=add_form)
    member(site)
    assert site.app.test_client().post("/form/").status_code == 200
    assert site.user(username="alice").first_name == ""


def test_a_missing_parameter_of_a_link_is_an_error_of_its_field(forms: Site) -> None:
    with forms.app.app_context(), pytest.raises(ValidationError) as caught:
        actions.verify_registration(None, "1", "x")
    assert list(caught.value.messages_dict) == ["user_id"]


def test_log_in_opens_the_session_of_a_user_who_has_shown_another_credential(forms: Site) -> None:
    member(forms)
    client = forms.app.test_client()
    with forms.hears(user_logged_in) as heard:
        assert client.post("/passkey/alice/").location == "/members/"
    assert len(heard) == 1
    assert client.get("/members/").status_code == 200
    assert submit(forms, client, "delete_profile") == {"result": None}  # the login is fresh


@pytest.mark.parametrize(
    ("columns", "code"),
    [({"is_active": False}, "login-invalid"), ({"is_verified": False}, "not-verified")],
)
def test_log_in_refuses_a_suspended_or_pending_account(
    forms: Site, columns: dict[str, bool], code: str
) -> None:
    forms.change(member(forms), **columns)
    client = forms.app.test_client()
    with forms.hears(user_logged_in) as heard:
        reply = client.post("/passkey/alice/")
    assert (reply.get_json(), heard) == ({"code": code}, [])
    assert not is_in(client)
    assert forms.user(username="alice").last_login is None


def test_a_login_that_fails_opens_no_session(new_site: NewSite) -> None:
    class BrokenTokens(TokenManager):
        def provide_token(self, user: Any) -> str:
            raise RuntimeError("no tokens today")

    site = new_site(LOGIN_RETRIEVE_TOKEN=True, AUTH_TOKEN_MANAGER_CLASS=BrokenTokens)
    member(site)
    with site.app.test_request_context():
        session["cart"] = [7]
        calls: list[Callable[[], Any]] = [
            lambda: actions.log_in(loaded(site)),
            lambda: actions.login(login="alice", password=PASSWORD),
        ]
        for log_in_again in calls:
            with pytest.raises(RuntimeError):
                log_in_again()
            assert not current_user.is_authenticated
            assert (session["cart"], "_user_id" in session) == ([7], False)
    assert site.user(username="alice").last_login is None


def test_a_client_with_a_token_is_the_current_user(new_site: NewSite) -> None:
    site = new_site(before=add_forms, LOGIN_RETRIEVE_TOKEN=True)
    member(site)
    client = site.app.test_client()
    token = submit(site, client, "login", login="alice", password=PASSWORD)["result"]["token"]
    headers = {"Authorization": f"Bearer {token}"}
    reply = site.app.test_client().post("/forms/profile/", headers=headers)
    assert reply.get_json()["result"]["username"] == "alice"
    assert token_of(site, "alice")


def test_values_of_a_form_need_not_be_text(new_site: NewSite) -> None:
    site = new_site(
        define=mixin_and(birthday=lambda: mapped_column(Date)), USER_PUBLIC_FIELDS=["birthday"]
    )
    day = date(1865, 11, 26)
    with site.app.app_context():
        actions.register(username="alice", email=EMAIL, password=PASSWORD, birthday=day)
    assert site.user(username="alice").birthday == day


def test_a_login_schema_of_the_application_needs_no_field_for_remember(new_site: NewSite) -> None:
    class OwnSchema(Schema):  # refuses fields that it does not have
        login = fields.String(required=True)
        password = fields.String(required=True)

    site = new_site(before=add_forms, LOGIN_SCHEMA_CLASS=OwnSchema)
    member(site)
    client = site.app.test_client()
    assert submit(site, client, "login", login="alice", password=PASSWORD) == {"result": {}}


# Scripts


def test_a_script_registers_and_verifies_without_a_request(new_site: NewSite) -> None:
    site = new_site(REGISTER_VERIFICATION_AUTO_LOGIN=True, REGISTER_VERIFICATION_ONE_TIME_USE=True)
    with site.app.app_context():
        profile = actions.register(username="alice", email=EMAIL, password=PASSWORD)
    assert profile["username"] == "alice"
    with site.app.app_context():
        assert actions.verify_registration(**link_of(site)) == {}
    with site.app.app_context(), pytest.raises(LinkInvalid):
        actions.verify_registration(**link_of(site))
    assert has_password(site, PASSWORD)


def test_a_script_resets_a_password(site: Site) -> None:
    member(site)
    with site.app.app_context():
        actions.send_reset_password_link(login="alice")
    with site.app.app_context():
        actions.reset_password(**link_of(site), password=OTHER_PASSWORD)
    assert has_password(site, OTHER_PASSWORD)


@pytest.mark.parametrize(
    "call",
    [
        lambda: actions.profile(),
        lambda: actions.update_profile(first_name="x"),
        lambda: actions.replace_profile(username="x"),
        lambda: actions.delete_profile(PASSWORD),
        lambda: actions.logout(),
        lambda: actions.change_password(PASSWORD, OTHER_PASSWORD),
        lambda: actions.register_email("b@example.com", PASSWORD),
        lambda: actions.logins(),
        lambda: actions.revoke_login(1),
    ],
)
def test_a_script_has_no_current_user(forms: Site, call: Callable[[], Any]) -> None:
    with forms.app.app_context(), pytest.raises(NotAuthenticated) as caught:
        call()
    assert str(caught.value) == "Please log in."


# Refusals


@pytest.mark.parametrize(
    ("setting", "call"),
    [
        ({"REGISTER_FLOW_ENABLED": False}, lambda: actions.register(username="alice")),
        ({"REGISTER_VERIFICATION_ENABLED": False}, lambda: actions.resend_verification(login="a")),
        (
            {"RESET_PASSWORD_VERIFICATION_ENABLED": False},
            lambda: actions.send_reset_password_link(login="a"),
        ),
        ({}, lambda: actions.logins()),  # there is no login model
    ],
)
def test_what_is_switched_off_says_so(
    new_site: NewSite, setting: dict[str, Any], call: Callable[[], Any]
) -> None:
    site = new_site(**setting)
    with site.app.app_context(), pytest.raises(EndpointDisabled) as caught:
        call()
    assert (caught.value.status, str(caught.value)) == (404, "This feature is not available.")


def test_errors_are_those_of_the_endpoints(new_site: NewSite) -> None:
    site = new_site(login_model=define_login, RESET_PASSWORD_FAIL_WHEN_USER_NOT_FOUND=True)
    member(site)
    site.register("bob")
    calls: list[tuple[type[Exception], Callable[[], Any]]] = [
        (LoginInvalid, lambda: actions.login(login="alice", password="wrong")),
        (LoginInvalid, lambda: actions.login(login="bob", password=PASSWORD)),
        (NotVerified, lambda: actions.log_in(site.User.query.filter_by(username="bob").one())),
        (UserNotFound, lambda: actions.send_reset_password_link(login="nobody")),
        (LinkInvalid, lambda: actions.verify_email("1", "1", "x", email="b@example.com")),
        (LinkInvalid, lambda: actions.undo_email_change("1", 1, "x", email="b@example.com")),
    ]
    for error, call in calls:
        with site.app.test_request_context(), pytest.raises(error):
            call()


def test_a_session_that_is_not_fresh_needs_the_password(
    forms: Site, registration_clock: Any
) -> None:
    member(forms)
    client = forms.app.test_client()
    submit(forms, client, "login", login="alice", password=PASSWORD)
    registration_clock.advance(3600)
    assert submit(forms, client, "delete_profile")["code"] == ReauthenticationRequired.code
    assert submit(forms, client, "revoke_login", login_id="999")["code"] == LoginNotFound.code
    assert submit(forms, client, "delete_profile", password=PASSWORD) == {"result": None}


# Administration


def loaded(site: Site) -> Any:
    """Return Alice's row, in the session."""
    return site.User.query.filter_by(username="alice").one()


def test_an_administrator_creates_an_account_in_a_script(site: Site) -> None:
    with site.hears(user_registered, user_activated) as heard, site.app.app_context():
        user = actions.create_user(username="alice", email=EMAIL, password=PASSWORD)
        assert user.username == "alice"
    assert [each["signal"] for each in heard] == ["user-registered", "user-activated"]
    assert site.outbox == []
    assert has_password(site, PASSWORD)


@pytest.mark.parametrize("is_sent", [True, False])
def test_an_account_that_is_not_verified_gets_its_link(site: Site, is_sent: bool) -> None:
    with site.app.app_context():
        actions.create_user(
            username="alice",
            email=EMAIL,
            password=PASSWORD,
            verified=False,
            send_verification=is_sent,
        )
    assert len(site.outbox) == is_sent
    assert site.user(username="alice").is_verified is False


def test_an_account_that_is_not_allowed_is_not_created(new_site: NewSite) -> None:
    site = new_site(MAIL_DISPATCHER="inline")
    member(site)
    fields: dict[str, Any] = {
        "username": "bob",
        "email": "bob@example.com",
        "password": PASSWORD,
    }
    with site.app.app_context(), pytest.raises(ValidationError) as caught:
        actions.create_user(**{**fields, "username": "alice"})
    assert list(caught.value.messages_dict) == ["username"]
    with site.app.app_context(), broken_mail(site), pytest.raises(MailUnavailable):
        actions.create_user(**fields, verified=False)
    assert [user.username for user in site.users()] == ["alice"]


def test_an_administrator_suspends_and_reactivates_in_an_admin_view(site: Site) -> None:
    member(site)
    browser = log_in(site, "alice")
    with site.app.test_request_context(headers={"Accept-Language": "de"}):
        user = loaded(site)
        assert actions.suspend(user) is True
        assert actions.suspend(user) is False
        assert user.is_active is False
    assert not is_in(browser)
    with site.app.app_context():
        assert actions.reactivate(loaded(site)) is True
        assert actions.reactivate(loaded(site)) is False
    assert has_password(site, PASSWORD)


def test_an_administrator_verifies_an_account(site: Site) -> None:
    site.register()
    with site.hears(user_activated) as heard, site.app.app_context():
        assert actions.verify(loaded(site)) is True
        assert actions.verify(loaded(site)) is False
        actions.suspend(loaded(site))
        with pytest.raises(AdministrationError, match="suspended"):
            actions.verify(loaded(site))
    assert len(heard) == 1


def test_an_administrator_sets_a_password_by_the_policy(site: Site) -> None:
    member(site)
    with site.app.app_context():
        with pytest.raises(ValidationError):
            actions.set_password(loaded(site), "alice")
        actions.set_password(loaded(site), OTHER_PASSWORD)
    assert has_password(site, OTHER_PASSWORD)
    assert len(site.outbox) == 1


def test_an_account_that_was_deleted_meanwhile_is_not_changed(site: Site) -> None:
    member(site)
    with site.app.app_context():
        user = loaded(site)
        site.db.session.rollback()
        with site.db.engine.begin() as connection:
            connection.execute(site.User.__table__.delete())
        with pytest.raises(AdministrationError, match="deleted"):
            actions.suspend(user)


def test_purge_returns_the_number_of_deleted_rows_of_each_kind(
    new_site: NewSite, registration_clock: Any
) -> None:
    site = new_site(login_model=define_login)
    site.register()
    member(site, "bob")
    log_in(site, "bob")
    registration_clock.advance(40 * 86400)
    with site.app.app_context():
        assert actions.purge(timedelta(days=365)) == {
            "unverified registration": 0,
            "expired login": 0,
        }
        assert actions.purge() == {"unverified registration": 1, "expired login": 1}
    assert [user.username for user in site.users()] == ["bob"]


def test_no_action_sends_a_signal_when_it_is_refused(site: Site) -> None:
    every = [value for value in vars(signals).values() if type(value).__name__ == "NamedSignal"]
    with site.hears(*every) as heard, site.app.app_context():
        for call in (actions.register, actions.resend_verification):
            with pytest.raises(ValidationError):
                call()
    assert heard == []


# What the function of an endpoint returns


def test_an_endpoint_makes_its_response_of_what_its_function_returns(new_site: NewSite) -> None:
    flow: Flow[Settings] = Flow("own", Settings)
    flow.post("/fields/", message="Done", status=202)(returning("fields", {"left": 4}))
    flow.post("/said/", message=lambda settings: type(settings).__name__)(returning("said", None))
    flow.post("/dict/", status=201)(returning("dict", {"left": 4}))
    flow.post("/list/")(returning("list", [1, 2]))
    flow.post("/nothing/", status=204)(returning("nothing", None))
    flow.post("/response/")(returning("response", ("text", 418)))
    site = new_site(flows=[*DEFAULT_FLOWS, flow])
    replies = {each.name: site.post(each.name) for each in flow.endpoints}
    assert {
        name: (each.status_code, each.get_json(silent=True)) for name, each in replies.items()
    } == {
        "fields": (202, {"detail": "Done", "left": 4}),
        "said": (200, {"detail": "Settings"}),
        "dict": (201, {"left": 4}),
        "list": (200, [1, 2]),
        "nothing": (204, None),
        "response": (418, None),
    }
    assert replies["nothing"].data == b""


def returning(name: str, result: Any) -> Callable[[], Any]:
    def view() -> Any:
        return result

    view.__name__ = name
    return view
