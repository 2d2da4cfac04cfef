"""The test state: what its fixture gives an application, and what it says where a test fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import pytest
from flask import Flask, Response, request
from flask.testing import FlaskClient
from flask_mail import Message
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from werkzeug.test import TestResponse

from flask_registration import EmailUserMixin
from flask_registration.testing import CHEAP_HASHER, PASSWORD, Accounts, Link, Outbox
from flask_registration.testing.accounts import links_of
from flask_registration.testing.fixtures import hash_of_tests

from .people import add_members_page, bearer, define_login, logins
from .site import Site, define
from .tables import each_row

NewSite = Callable[..., Site]
EMAIL_ONLY = define(EmailUserMixin)

#: An application, and the conftest that says which.
APP = """
from flask import Flask
from flask_mail import Mail
from flask_sqlalchemy import SQLAlchemy
from flask_registration import Registration, UserMixin

db, mail, registration = SQLAlchemy(), Mail(), Registration()

class User(UserMixin, db.Model):
    pass

def create_app():
    app = Flask(__name__)
    app.config["SECRET_KEY"] = "a key of the tests"
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    app.config["MAIL_DEFAULT_SENDER"] = "no-reply@example.com"
    app.config["MAIL_PORT"] = 1
    app.config["REGISTRATION_REGISTER_VERIFICATION_URL"] = "https://example.com/verify/"
    db.init_app(app)
    mail.init_app(app)
    registration.init_app(app, user_model=User)
    return app
"""
CONFTEST = """
import pytest
from small import create_app, db

pytest_plugins = ["flask_registration.testing"]

@pytest.fixture(scope="session")
def app():
    app = create_app()
    yield app
    with app.app_context():
        db.engine.dispose()

@pytest.fixture(autouse=True)
def tables(app):
    with app.app_context():
        db.create_all()
    yield
    with app.app_context():
        db.drop_all()
"""

RunTests = Callable[..., pytest.RunResult]


@pytest.fixture
def run_tests(pytester: pytest.Pytester) -> RunTests:
    """Run pytest over tests of a small application."""

    def run(
        tests: str, conftest: str = CONFTEST, *, in_process: bool = True, **files: str
    ) -> pytest.RunResult:
        pytester.makepyfile(small=APP, test_small=tests, **files)
        pytester.makeconftest(conftest)
        run = pytester.runpytest_inprocess if in_process else pytester.runpytest_subprocess
        return run("-p", "no:cacheprovider", "-W", "error::pytest.PytestWarning")

    return run


@pytest.fixture
def registration_app(new_site: NewSite, request: pytest.FixtureRequest) -> Flask:
    """The application of a test: made from its mark, or that of the fixture ``site``."""
    site: Site = (
        new_site(**request.param) if hasattr(request, "param") else request.getfixturevalue("site")
    )
    return site.app


def site_with(**arguments: Any) -> pytest.MarkDecorator:
    """Run a test with such an application."""
    return pytest.mark.parametrize("registration_app", [arguments], indirect=True, ids=[""])


# The accounts


def test_a_registration_has_all_it_takes_and_its_link_is_ready_to_post_back(
    accounts: Accounts,
) -> None:
    reply = accounts.register("bob", first_name="Bob")
    assert reply.status_code == 201
    assert reply.get_json() == {
        "username": "bob",
        "email": "bob@example.com",
        "first_name": "Bob",
        "last_name": "",
    }
    link = accounts.outbox.latest_link()
    assert set(link) == {"user_id", "timestamp", "signature"}
    assert link.url.startswith("https://example.com/verify-registration/?timestamp=")
    assert accounts.post("verify-registration", link).status_code == 200
    assert accounts.post("/login/", {"login": "bob", "password": PASSWORD}).status_code == 200


@site_with(REGISTER_SCHEMA_PASSWORD_CONFIRM=False, URL_PREFIX="/people")
def test_the_settings_of_the_application_hold(accounts: Accounts) -> None:
    assert accounts.register().status_code == 201
    assert accounts.url("profile") == "/people/profile/"
    assert accounts.client().get(accounts.url("profile")).status_code == 401


@site_with(define=EMAIL_ONLY, USER_LOGIN_FIELDS=["email"])
def test_users_without_usernames(accounts: Accounts) -> None:
    assert accounts.register("alice").get_json()["email"] == "alice@example.com"
    user = accounts.create_user("bob@example.org")
    assert (
        accounts.login_as(user).get("/accounts/profile/").get_json()["email"] == "bob@example.org"
    )


def test_a_user_is_made_without_a_request_and_belongs_to_nobody(accounts: Accounts) -> None:
    with accounts.app.app_context():
        user = accounts.create_user(
            "alice", verified=False, last_name="Liddell", password="another heap of good words"
        )
    assert (user.username, user.email, user.is_verified) == ("alice", "alice@example.com", False)
    assert user.last_name == "Liddell"
    reply = accounts.post("login", {"login": "alice", "password": "another heap of good words"})
    assert reply.get_json()["code"] == "login-invalid"


@pytest.mark.parametrize(
    "registration_app",
    [{}, {"login_model": define_login}],
    indirect=True,
    ids=["signed sessions", "logins in rows"],
)
def test_login_as_is_a_login_without_a_hash(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = accounts.create_user()
    monkeypatch.setattr(accounts._state.passwords, "verify", None)
    monkeypatch.setattr(accounts._state.passwords, "hash", None)
    client = accounts.login_as(user)
    assert client.get(accounts.url("profile")).get_json()["username"] == "alice"
    assert (
        accounts.post("register-email", {"email": "new@example.com"}, client=client).status_code
        == 200
    )
    assert accounts.post("logout", client=client).status_code == 200
    assert client.get(accounts.url("profile")).status_code == 401


def test_login_as_leaves_a_row_where_logins_are_rows(new_site: NewSite) -> None:
    site = new_site(login_model=define_login)
    accounts = Accounts(site.app, site.outbox, pytest.fail)
    accounts.login_as(accounts.create_user())
    assert [login.kind for login in logins(site)] == ["session"]
    accounts.token_for(site.user())
    assert [login.kind for login in logins(site)] == ["session", "token"]


def test_a_login_that_is_not_fresh_is_asked_for_the_password(accounts: Accounts) -> None:
    client = accounts.login_as(accounts.create_user(), fresh=False)
    reply = accounts.post("register-email", {"email": "new@example.com"}, client=client)
    assert reply.get_json()["code"] == "reauthentication-required"


def test_the_application_s_own_views_know_who_is_logged_in(site: Site, accounts: Accounts) -> None:
    ask = add_members_page(site)
    alice, bob = (accounts.login_as(accounts.create_user(name)) for name in ("alice", "bob"))
    assert [ask(client).text for client in (alice, bob, alice)] == ["alice", "bob", "alice"]


@site_with(LOGIN_AUTHENTICATE_SESSION=False, LOGIN_RETRIEVE_TOKEN=True)
def test_where_logins_open_no_session_the_client_has_a_token(accounts: Accounts) -> None:
    client = accounts.login_as(accounts.create_user())
    assert client.get(accounts.url("profile")).status_code == 200
    assert client.get_cookie("session") is None
    assert accounts.client().get(accounts.url("profile")).status_code == 401


def test_a_token_for_a_user(accounts: Accounts) -> None:
    headers = bearer(accounts.token_for(accounts.create_user()))
    assert accounts.client().get(accounts.url("profile"), headers=headers).status_code == 200
    assert accounts.post("logout", {"everywhere": True}, headers=headers).status_code == 200
    assert accounts.client().get(accounts.url("profile"), headers=headers).status_code == 401


def test_login_as_takes_a_user_of_whatever_database_session(site: Site, accounts: Accounts) -> None:
    detached = accounts.create_user("alice")
    with site.app.app_context():
        attached = site.db.session.get(site.User, detached.id)
        expired = site.registration.create_user(
            username="bob", email="bob@example.com", password=PASSWORD
        )
        site.db.session.commit()
        for user in (detached, attached, expired):
            assert accounts.login_as(user).get(accounts.url("profile")).status_code == 200
    assert accounts.login_as(expired).get(accounts.url("profile")).get_json()["username"] == "bob"


def test_nobody_is_logged_in_who_cannot_be(site: Site, accounts: Accounts) -> None:
    user = accounts.create_user()
    with pytest.raises(
        ValueError, match=r"^User is not in the database\. Add it to the session and commit\.$"
    ):
        accounts.login_as(site.User(username="bob"))
    site.change(user, is_active=False)
    for use in (accounts.login_as, accounts.token_for):
        with pytest.raises(ValueError, match=r"^User 1 is suspended and cannot log in\.$"):
            use(user)


def test_a_name_is_no_user(accounts: Accounts) -> None:
    accounts.create_user("alice")
    for use in (accounts.login_as, accounts.token_for):
        expected = r"^Pass the User that accounts\.create_user\(\) returns; got 'a'\.$"
        with pytest.raises(TypeError, match=expected):
            use("a")


@each_row(
    ("wrong", "right"),
    [("reset_password", "reset-password"), ("/log-in/", "login"), ("logins", "login")],
)
def test_an_endpoint_that_there_is_not_is_told_at_once(
    accounts: Accounts, wrong: str, right: str
) -> None:
    name = wrong.strip("/")
    with pytest.raises(
        ValueError, match=rf"^Endpoint '{name}' not found\. The nearest is '{right}'\.$"
    ):
        accounts.post(wrong)


@site_with(login_model=define_login)
def test_an_endpoint_may_have_a_parameter(accounts: Accounts) -> None:
    client = accounts.login_as(accounts.create_user())
    assert client.delete(accounts.url("logins/1")).status_code == 204


# Clients


def test_clients_do_not_share_who_is_logged_in_where_a_test_holds_a_context(
    site: Site, accounts: Accounts
) -> None:
    ask = add_members_page(site)
    with site.app.app_context():
        client = accounts.login_as(accounts.create_user())
        assert ask(client).text == "alice"
        assert ask(accounts.client()).status_code == 401


def test_a_client_is_of_the_application_s_class_and_keeps_its_context_on_demand(
    accounts: Accounts,
) -> None:
    class OwnClient(FlaskClient):
        pass

    accounts.app.test_client_class = OwnClient
    client = accounts.client()
    assert isinstance(client, OwnClient)
    with client:
        client.get(accounts.url("profile"))
        assert request.path == "/accounts/profile/"


# The clock

Passed = Callable[[Accounts], bool]


def link_expires(accounts: Accounts) -> bool:
    accounts.register()
    accounts.clock.move(days=7)
    link = accounts.outbox.latest_link()
    assert (
        accounts.post("verify-registration", {**link, "signature": "x"}).get_json()["code"]
        == "signature-invalid"
    )
    accounts.clock.move(seconds=1)
    return bool(
        accounts.post("verify-registration", link).get_json()["code"] == "signature-expired"
    )


def session_expires(accounts: Accounts) -> bool:
    client = accounts.login_as(accounts.create_user())
    accounts.clock.move(days=31, seconds=-5)
    assert client.get(accounts.url("profile")).status_code == 200
    accounts.clock.move(minutes=1, days=31)
    return client.get(accounts.url("profile")).status_code == 401


def login_gets_stale(accounts: Accounts) -> bool:
    client = accounts.login_as(accounts.create_user())
    accounts.clock.move(hours=0.25, seconds=1)
    reply = accounts.post("register-email", {"email": "new@example.com"}, client=client)
    return bool(reply.get_json().get("code") == "reauthentication-required")


def token_expires(accounts: Accounts) -> bool:
    headers = bearer(accounts.token_for(accounts.create_user()))
    accounts.clock.move(days=14)
    assert accounts.client().get(accounts.url("profile"), headers=headers).status_code == 200
    accounts.clock.move(seconds=1)
    return accounts.client().get(accounts.url("profile"), headers=headers).status_code == 401


def throttle_ends(accounts: Accounts) -> bool:
    body = {"login": "alice", "password": "wrong"}
    accounts.clock.move()
    assert [accounts.post("login", body).status_code for _ in range(2)] == [400, 429]
    accounts.clock.move(minutes=1)
    return accounts.post("login", body).status_code == 400


@pytest.mark.parametrize(
    "passed",
    [
        link_expires,
        session_expires,
        login_gets_stale,
        token_expires,
        throttle_ends,
    ],
)
@site_with(config={"RATELIMIT_ENABLED": True}, THROTTLES={"login": {"client": "1/minute"}})
def test_everything_sees_the_time_of_the_clock(accounts: Accounts, passed: Passed) -> None:
    assert passed(accounts)


@site_with(MAIL_BUDGET="1/day")
def test_the_limits_of_emails_are_off(accounts: Accounts) -> None:
    accounts.create_user()
    for _ in range(12):
        reply = accounts.post("send-reset-password-link", {"login": "alice"})
        assert reply.status_code == 200
    assert len(accounts.outbox) == 12


def test_the_clock_stands_still(accounts: Accounts, site: Site) -> None:
    now = accounts.clock.now
    user = accounts.create_user()
    assert user.date_joined.timestamp() % 1 == 0
    accounts.clock.move(hours=-1)
    assert (accounts.clock.now, accounts.clock is accounts.clock) == (now - 3600, True)


# The outbox


def message(**parts: Any) -> Message:
    return Message(
        "Hello", recipients=["alice@example.com"], sender="no-reply@example.com", **parts
    )


QUERY = "?user_id=1&timestamp=2&signature=a%2Bb"
LINK = f"https://example.com/verify/{QUERY}"
IN_HTML = f'<a href="{escape(LINK)}">'


@each_row(
    "mail",
    [
        pytest.param(message(body=f"Open\n{LINK}\nsoon."), id="text"),
        pytest.param(message(html=IN_HTML), id="HTML"),
        pytest.param(
            message(html=f'<a href="/help">, {IN_HTML}', body="/help"), id="the one that is signed"
        ),
        pytest.param(message(body=f"myapp://open{QUERY}"), id="of a mobile application"),
        pytest.param(
            message(body=f"https://example.com/?lang=de#/verify{QUERY}"), id="of a hash router"
        ),
    ],
)
def test_the_link_of_a_mail(mail: Message) -> None:
    link = Outbox([message(body=LINK.replace("=1", "=2")), mail]).latest_link()
    assert link == {"user_id": "1", "timestamp": "2", "signature": "a+b"}
    assert link.url.endswith(QUERY)


def test_every_link_of_a_mail_is_told_once() -> None:
    mail = message(
        body=f"{LINK} https://example.com/?a=1", html=f'<a name="top">{IN_HTML}<a href="/imprint">'
    )
    assert [link.url for link in links_of(mail)] == [LINK, "/imprint", "https://example.com/?a=1"]
    assert links_of(mail)[1] == Link("/imprint") == {}


def test_the_mails_to_an_address(accounts: Accounts) -> None:
    accounts.register("alice")
    accounts.register("bob")
    assert [mail.recipients for mail in accounts.outbox.to("alice@example.com")] == [
        ["alice@example.com"]
    ]
    links = [accounts.outbox.latest_link(to=f"{name}@example.com") for name in ("alice", "bob")]
    assert links[0] != links[1] == accounts.outbox.latest_link()


def test_a_missing_link_is_explained_by_what_there_is(accounts: Accounts) -> None:
    with pytest.raises(AssertionError, match=r"^No e-mail was sent\. The outbox is empty\.$"):
        accounts.outbox.latest_link()
    client = accounts.login_as(accounts.create_user())
    new = "another heap of good words"
    body = {"old_password": PASSWORD, "password": new, "password_confirm": new}
    assert accounts.post("change-password", body, client=client).status_code == 200
    there = (
        "The outbox, latest e-mail last:\n"
        "  'Your password for example.com was changed' to alice@example.com"
    )
    with pytest.raises(AssertionError) as caught:
        accounts.outbox.latest_link()
    assert str(caught.value) == f"The latest e-mail has no link with a signature. {there}"
    with pytest.raises(AssertionError) as caught:
        accounts.outbox.latest_link(to="bob@example.com")
    assert str(caught.value) == f"No e-mail to bob@example.com was sent. {there}"


# Answers that must look alike


def difference(
    accounts: Accounts, one: Callable[[], TestResponse], other: Callable[[], TestResponse]
) -> list[str]:
    """The lines that the message shows as different."""
    with pytest.raises(AssertionError) as caught:
        accounts.assert_uniform_answers(one=one, other=other)
    first, *lines = str(caught.value).splitlines()
    assert first == "The response to 'other' differs from 'one':"
    assert lines[:2] == ["--- one", "+++ other"]
    return [line for line in lines[2:] if line[0] in "+-"]


def test_what_the_request_has_sent_may_come_back_and_nothing_else(accounts: Accounts) -> None:
    accounts.create_user("taken")
    accounts.assert_uniform_answers(
        free=lambda: accounts.register("bob", email="Free@Example.com"),
        taken=lambda: accounts.register("carol", email="taken@example.com"),
    )
    shown = difference(
        accounts,
        one=lambda: accounts.register("dora", first_name="D"),
        other=lambda: accounts.register("emil", first_name=""),
    )
    assert shown == ['-  "first_name": "<first_name as it was sent>",', '+  "first_name": "",']


@pytest.fixture
def answers(accounts: Accounts) -> Callable[[Response], Callable[[], TestResponse]]:
    """Make what asks for such an answer."""
    views: list[Response] = []

    @accounts.app.route("/<int:number>")
    def view(number: int) -> Response:
        return views[number]

    def answer(response: Response) -> Callable[[], TestResponse]:
        views.append(response)
        path = f"/{len(views) - 1}"
        return lambda: accounts.client().get(path)

    return answer


def with_cookie(**options: Any) -> Response:
    response = Response("x")
    response.set_cookie("session", **options)
    return response


DIFFERENT: list[tuple[Sequence[Response], list[str]]] = [
    ((Response("x"), Response("x", 201)), ["-200 OK", "+201 CREATED"]),
    ((Response("x"), Response("y")), ["-x", "+y"]),
    ((Response("x"), Response("x", headers={"X-Is": "a"})), ["+X-Is: a"]),
    (
        (Response("x", headers={"X-Is": "b"}), Response("x", headers={"X-Is": "a"})),
        ["-X-Is: b", "+X-Is: a"],
    ),
    (
        (Response("x y"), Response("xy")),
        ["-Content-Length: 3", "+Content-Length: 2", "-x y", "+xy"],
    ),
    ((Response("x"), with_cookie(value="1")), ["+Set-Cookie: session=…; Path=/"]),
    (
        (with_cookie(value="1"), with_cookie(value="2", httponly=True)),
        ["-Set-Cookie: session=…; Path=/", "+Set-Cookie: session=…; HttpOnly; Path=/"],
    ),
]


@each_row(("responses", "shown"), DIFFERENT, ids=[str(i) for i in range(len(DIFFERENT))])
def test_every_difference_is_shown(
    accounts: Accounts, answers: Any, responses: Sequence[Response], shown: list[str]
) -> None:
    one, other = map(answers, responses)
    assert difference(accounts, one=one, other=other) == shown


def test_a_cookie_may_have_another_value_and_expire_at_another_time(
    accounts: Accounts, answers: Any
) -> None:
    one, other = (
        answers(with_cookie(value=value, expires=expires))
        for value, expires in (("1", 1e9), ("2", 2e9))
    )
    accounts.assert_uniform_answers(one=one, other=other)


def test_the_kinds_of_statements_count_on_demand(accounts: Accounts) -> None:
    def ask(*tables: str) -> Callable[[], TestResponse]:
        def view() -> Response:
            db = accounts.app.extensions["sqlalchemy"]
            for table in tables:
                db.session.execute(db.text(f"SELECT 1 FROM {table}"))
            return Response("done")

        path = "/" + "-".join(tables)
        accounts.app.add_url_rule(path, path, view)
        return lambda: accounts.client().get(path)

    once, twice, two = ask("users"), ask("users", "users"), ask("users", "sqlite_master")
    accounts.assert_uniform_answers(once=once, twice=twice, two=two)
    accounts.assert_uniform_answers(once=once, again=once, statements=True)
    for other, shown in ((twice, "+SELECT users"), (two, "+SELECT sqlite_master")):
        with pytest.raises(AssertionError, match=rf"\n {shown[1:]}\n\{shown}$|\n\{shown}$"):
            accounts.assert_uniform_answers(one=once, other=other, statements=True)


def test_two_requests_are_needed_and_their_answers(accounts: Accounts) -> None:
    with pytest.raises(TypeError, match=r"^Pass at least two requests: unknown="):
        accounts.assert_uniform_answers(one=accounts.register)
    number: Any = lambda: 200  # noqa: E731
    with pytest.raises(TypeError, match=r"^'one' must return the response, not int\.$"):
        accounts.assert_uniform_answers(one=number, two=number)


# Hashes


@site_with(PASSWORD_HASHER=None)
def test_passwords_are_hashed_without_taking_time(accounts: Accounts) -> None:
    stored = accounts.create_user().password_hash
    assert stored.startswith("$argon2id$v=19$m=8,t=1,p=1$")


@each_row(
    ("hasher", "is_replaced"),
    [
        (None, True),
        (Argon2Hasher, True),
        (Argon2Hasher(memory_cost=65536), True),
        (type("Peppered", (Argon2Hasher,), {})(), False),
        (PasswordHash([Argon2Hasher()]), False),
    ],
    ids=["none of its own", "argon2", "argon2 with parameters", "one made of argon2", "several"],
)
def test_a_hasher_of_another_make_stays(new_site: NewSite, hasher: Any, is_replaced: bool) -> None:
    state = new_site(PASSWORD_HASHER=hasher).app.extensions["registration"]
    assert (hash_of_tests(state, CHEAP_HASHER) is not None) == is_replaced
    assert hash_of_tests(state, None) is None


# The plugin in pytest


def test_what_the_fixture_changes_is_as_it_was_afterwards(run_tests: RunTests) -> None:
    result = run_tests("""
        import time
        import pytest

        def state(app):
            state = app.extensions["registration"]
            counters = state.throttles.counters.memory
            suppress = app.extensions["mail"].suppress
            return app.testing, suppress, state.passwords._hash, counters, time.time

        STATES = []

        @pytest.fixture(autouse=True)
        def compare(app):
            STATES.append(state(app))
            yield

        @pytest.mark.parametrize("number", [1, 2])
        def test_register(accounts, number, app):
            accounts.clock.move(days=1)
            assert all(one is not other for one, other in zip(state(app), STATES[-1]))
            accounts.register()
            assert len(accounts.outbox) == 1, "each test starts without earlier e-mails"

        def test_afterwards(app):
            for each in STATES:
                assert all(one is other for one, other in zip(each, STATES[0], strict=True))
            assert state(app)[:2] == (False, False)
    """)
    result.assert_outcomes(passed=3)


def test_a_conftest_may_import_the_kit_before_pytest_does(run_tests: RunTests) -> None:
    tests = "def test_register(accounts): assert accounts.register().status_code == 201"
    conftest = "from flask_registration.testing import Accounts\n" + CONFTEST
    result = run_tests(tests, conftest, in_process=False)
    result.assert_outcomes(passed=1)


def test_another_application_hashing_as_in_production_and_another_clock(
    run_tests: RunTests,
) -> None:
    result = run_tests("""
        import pytest
        from small import create_app, db

        @pytest.fixture
        def registration_app():
            other = create_app()
            with other.app_context():
                db.create_all()
                yield other
                db.engine.dispose()

        @pytest.fixture
        def registration_hasher():
            return None

        @pytest.fixture
        def registration_clock():
            return "the application's own"

        def test_register(accounts, app, registration_app):
            assert accounts.app is registration_app is not app
            assert "m=19456" in accounts.create_user().password_hash
            assert accounts.clock == "the application's own"
    """)
    result.assert_outcomes(passed=1)


def test_what_is_missing_is_told(run_tests: RunTests) -> None:
    conftest = 'pytest_plugins = ["flask_registration.testing"]'
    result = run_tests(
        """
        import flask
        import pytest

        def test_without_an_application(accounts):
            pass

        class TestWithoutRegistration:
            @pytest.fixture
            def app(self):
                return flask.Flask("bare")

            def test_it(self, accounts):
                pass
        """,
        conftest,
    )
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(
        [
            "*: define a fixture `app` that returns your application, or override this.",
            "E       fixture 'app' not found",
            "This application has no Registration. Call registration.init_app(app).",
        ]
    )


def test_a_failure_shows_the_line_of_the_test_and_the_difference(run_tests: RunTests) -> None:
    result = run_tests("""
        from flask_registration.testing import PASSWORD

        def test_login(accounts):
            accounts.create_user("alice")
            accounts.assert_uniform_answers(
                nobody=lambda: accounts.post("login", {"login": "nobody", "password": "x"}),
                member=lambda: accounts.post("login", {"login": "alice", "password": PASSWORD}),
            )

        def test_link(accounts):
            accounts.outbox.latest_link()

        def test_stranger(accounts):
            model = accounts.app.extensions["registration"].fields.model
            accounts.login_as(model(username="alice"))
    """)
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        [
            ">       accounts.assert_uniform_answers(",
            "E       AssertionError: The response to 'member' differs from 'nobody':",
            "E       --- nobody",
            "E       +++ member",
            "E       -400 BAD REQUEST",
            "E       +200 OK",
            "E        Content-Type: application/json",
            'E       -  "code": "login-invalid",',
            "test_small.py:*: AssertionError",
            ">       accounts.outbox.latest_link()",
            "E       AssertionError: No e-mail was sent. The outbox is empty.",
            "test_small.py:*: AssertionError",
            ">       accounts.login_as(*",
            "E       ValueError: User is not in the database. Add it to the session and commit.",
            "test_small.py:*: ValueError",
        ]
    )
