"""The rules of the application's model hold at every write: validators, events, version counters.

The names in brackets are rows of the threat table.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from click.testing import CliRunner
from flask.cli import ScriptInfo
from flask_login import current_user
from flask_sqlalchemy import SQLAlchemy
from marshmallow import ValidationError
from sqlalchemy import CheckConstraint, String, event, inspect
from sqlalchemy.orm import Mapped, Session, mapped_column, validates
from werkzeug.security import generate_password_hash

from flask_registration import UserMixin, actions
from flask_registration.cli.base import registration_cli
from flask_registration.testing.uniform import compare

from ..site import PASSWORD, Site, own_model
from ..tables import each_row
from .common import (
    AT_ONCE,
    OTHER_PASSWORD,
    NewSite,
    ask_move,
    ask_reset,
    at_once,
    has_password,
    is_in,
    log_in,
    member,
    move,
)

RULED = [
    "username",
    "email",
    "password_hash",
    "first_name",
    "last_name",
    "is_active",
    "is_verified",
    "security_stamp",
    "last_login",
]


CHANGES = iter(range(1, 10**9))


class Heard:
    """What the rules of a model heard since the last look."""

    def __init__(self) -> None:
        self.validated: set[str] = set()
        self.updates: list[set[str]] = []
        self.flushes = 0
        self.deleted: list[str] = []


def with_rules(
    db: SQLAlchemy, *, only: str = "", refuse: Callable[[str, Any], bool] | None = None
) -> type[Any]:
    """Return a model with validators, mapper events, session events, ``onupdate``, a version.

    :param only: the one of these that it has, instead of all.
    :param refuse: whether the validator raises.
    """
    heard = Heard()
    versioned = only in ("", "a version")
    dated = only in ("", "onupdate")

    class User(UserMixin, db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
        __tablename__ = "users"
        if versioned:
            version: Mapped[int] = mapped_column()
        if dated:
            changed: Mapped[int] = mapped_column(default=0, onupdate=lambda: next(CHANGES))
        __mapper_args__ = {"version_id_col": version} if versioned else {}
        rules = heard

        if only in ("", "a validator"):

            @validates(*RULED)
            def validate(self, name: str, value: Any) -> Any:
                heard.validated.add(name)
                if refuse and refuse(name, value):
                    raise ValueError(f"Our rule refuses this {name}.")
                return value

    def before_update(mapper: Any, connection: Any, user: Any) -> None:
        attributes = inspect(user).attrs
        heard.updates.append({each.key for each in attributes if each.history.has_changes()})

    def before_delete(mapper: Any, connection: Any, user: Any) -> None:
        heard.deleted.append(user.username)

    def before_flush(session: Any, *_: Any) -> None:
        heard.flushes += any(isinstance(each, User) for each in session.dirty)

    if only in ("", "a mapper event"):
        event.listen(User, "before_update", before_update)
        event.listen(User, "before_delete", before_delete)
    if only == "an attribute event":
        event.listen(User.is_verified, "set", lambda *_: heard.validated.add("is_verified"))
    if only in ("", "a session event"):
        event.listen(db.session, "before_flush", before_flush)
    return User


def run(site: Site, *arguments: str) -> None:
    """Run a command of ``flask registration``."""
    script = ScriptInfo(create_app=lambda: site.app)
    result = CliRunner().invoke(registration_cli, [*arguments], obj=script)
    assert result.exit_code == 0, result.output


def post(site: Site, endpoint: str, body: Any, **kwargs: Any) -> None:
    reply = site.post(endpoint, body, **kwargs)
    assert reply.status_code == 200, reply.get_json()


def change_profile(site: Site, body: dict[str, Any]) -> Callable[[], None]:
    client = log_in(site)

    def change() -> None:
        reply = client.patch("/accounts/profile/", json=body)
        assert reply.status_code == 200, reply.get_json()

    return change


def verification(site: Site) -> Callable[[], None]:
    site.change(site.user(username="alice"), is_verified=False)
    site.post("resend-verification", {"login": "alice"})
    return partial(post, site, "verify-registration", site.link())


def hash_upgrade(site: Site) -> Callable[[], Any]:
    old = generate_password_hash(PASSWORD, "pbkdf2:sha256:1")
    site.change(site.user(username="alice"), password_hash=old)
    return partial(log_in, site)


def password_change(site: Site) -> Callable[[], None]:
    body = {
        "old_password": PASSWORD,
        "password": OTHER_PASSWORD,
        "password_confirm": OTHER_PASSWORD,
    }
    return partial(post, site, "change-password", body, client=log_in(site))


def reset(site: Site) -> Callable[[], None]:
    return partial(post, site, "reset-password", {**ask_reset(site), "password": OTHER_PASSWORD})


def email_change(site: Site) -> Callable[[], None]:
    return partial(post, site, "verify-email", ask_move(site, log_in(site), "new@example.com"))


def undo(site: Site) -> Callable[[], None]:
    return partial(post, site, "undo-email-change", move(site, log_in(site), "new@example.com"))


def logout_everywhere(site: Site) -> Callable[[], None]:
    return partial(post, site, "logout", {"everywhere": True}, client=log_in(site))


def reactivation(site: Site) -> Callable[[], None]:
    run(site, "suspend", "alice")
    return partial(run, site, "reactivate", "alice")


#: What prepares a write and returns it; the columns that it changes, in one UPDATE or more.
WRITES: dict[str, tuple[Callable[[Site], Callable[[], Any]], list[set[str]]]] = {
    "a login": (lambda site: partial(log_in, site), [{"last_login"}]),
    "an upgraded hash": (hash_upgrade, [{"password_hash"}, {"last_login"}]),
    "a verification": (verification, [{"is_verified"}]),
    "a profile": (
        lambda site: change_profile(site, {"first_name": "Al", "last_name": "B"}),
        [{"first_name", "last_name"}],
    ),
    "a username": (
        lambda site: change_profile(site, {"username": "Al"}),
        [{"username", "username_key"}],
    ),
    "a new password": (password_change, [{"password_hash", "security_stamp"}]),
    "a reset": (reset, [{"password_hash", "security_stamp"}]),
    "an e-mail change": (email_change, [{"email", "security_stamp"}]),
    "an undo": (undo, [{"email", "password_hash", "security_stamp"}]),
    "a logout everywhere": (logout_everywhere, [{"security_stamp"}]),
    "a suspension": (
        lambda site: partial(run, site, "suspend", "alice"),
        [{"is_active", "security_stamp"}],
    ),
    "a reactivation": (reactivation, [{"is_active", "security_stamp"}]),
}

each_write = each_row("what", list(WRITES))


def prepare(site: Site, what: str) -> Callable[[], Any]:
    member(site)
    write = WRITES[what][0](site)
    heard = site.User.rules
    heard.validated.clear()
    heard.updates.clear()
    heard.flushes = 0
    return write


@each_write
def test_every_rule_of_the_model_takes_part_in(what: str, new_site: NewSite) -> None:
    """[I8]"""
    site = new_site(define=with_rules)
    write = prepare(site, what)
    before = site.users()[0]
    write()
    heard, after, expected = site.User.rules, site.users()[0], WRITES[what][1]
    assert [each for each in heard.updates if each] == expected
    assert heard.validated >= set().union(*expected) - {"username_key"}
    assert heard.flushes >= len(expected)
    assert after.version == before.version + len(expected)
    assert after.changed > before.changed


@each_row(
    "only",
    [
        "a validator",
        "an attribute event",
        "a mapper event",
        "a session event",
        "onupdate",
        "a version",
    ],
)
def test_one_rule_of_the_model_is_enough(only: str, new_site: NewSite) -> None:
    site = new_site(define=partial(with_rules, only=only))
    write = prepare(site, "a verification")
    before = site.users()[0]
    write()
    heard, after = site.User.rules, site.users()[0]
    assert after.is_verified
    assert {
        "a validator": heard.validated == {"is_verified"},
        "an attribute event": heard.validated == {"is_verified"},
        "a mapper event": heard.updates == [{"is_verified"}],
        "a session event": heard.flushes == 1,
        "onupdate": getattr(after, "changed", 0) > getattr(before, "changed", 0),
        "a version": getattr(after, "version", 0) == getattr(before, "version", 0) + 1,
    }[only]


def test_a_deletion_runs_the_rules_of_the_model(new_site: NewSite) -> None:
    """[I8]"""
    site = new_site(define=with_rules)
    member(site)
    reply = log_in(site).delete("/accounts/profile/", json={"password": PASSWORD})
    assert reply.status_code == 204
    assert site.User.rules.deleted == ["alice"]
    assert site.users() == []


def test_a_deletion_by_the_application_runs_them_too(new_site: NewSite) -> None:
    def anonymize(user: Any, **_: Any) -> None:
        user.first_name = "gone"

    site = new_site(define=with_rules, PROFILE_DELETER=anonymize)
    member(site)
    client = log_in(site)
    site.User.rules.updates.clear()
    reply = client.delete("/accounts/profile/", json={"password": PASSWORD})
    assert reply.status_code == 204
    assert site.User.rules.updates == [{"is_active", "security_stamp"}, {"first_name"}]
    assert not is_in(client)


# What a rule refuses


def refusing(*names: str) -> Callable[[SQLAlchemy], type[Any]]:
    """Return what makes a model that refuses these columns while its switch is on."""

    def define(db: SQLAlchemy) -> type[Any]:
        model = with_rules(db, refuse=lambda name, value: model.refuses and name in names)
        model.refuses = False
        return model

    return define


@contextmanager
def refusal(site: Site) -> Iterator[None]:
    site.User.refuses = True
    yield
    site.User.refuses = False


def answer(site: Site, endpoint: str, body: Any, **kwargs: Any) -> tuple[int, Any]:
    with refusal(site):
        reply = site.post(endpoint, body, **kwargs)
    return reply.status_code, reply.get_json()


def says(name: str, field: str | None = None) -> tuple[int, dict[str, list[str]]]:
    return 400, {field or name: [f"Our rule refuses this {name}."]}


@each_row("name", ["username", "first_name", "email"])
def test_what_a_validator_refuses_at_a_registration_is_a_400_of_that_field(
    name: str, new_site: NewSite
) -> None:
    site = new_site(define=refusing(name))
    body = {"username": "alice", "email": "alice@example.com", "first_name": "Al"}
    passwords = {"password": PASSWORD, "password_confirm": PASSWORD}
    assert answer(site, "register", {**body, **passwords}) == says(name)
    assert site.users() == []


def test_what_several_validators_refuse_is_a_400_of_all_these_fields(new_site: NewSite) -> None:
    site = new_site(define=refusing("first_name", "last_name"))
    member(site)
    client = log_in(site)
    with refusal(site):
        reply = client.patch("/accounts/profile/", json={"first_name": "A", "last_name": "B"})
    assert (reply.status_code, reply.get_json().keys()) == (400, {"first_name", "last_name"})
    assert site.users()[0].first_name == ""


def test_what_a_validator_refuses_at_a_profile_is_not_written(new_site: NewSite) -> None:
    site = new_site(define=refusing("last_name"))
    member(site)
    client = log_in(site)
    with refusal(site):
        reply = client.patch("/accounts/profile/", json={"first_name": "A", "last_name": "B"})
    assert (reply.status_code, reply.get_json()) == says("last_name")
    assert site.users()[0].first_name == ""
    assert client.patch("/accounts/profile/", json={"last_name": "B"}).status_code == 200


def test_what_a_validator_refuses_at_an_e_mail_change_is_a_400_and_the_link_stays_valid(
    new_site: NewSite,
) -> None:
    site = new_site(define=refusing("email"))
    member(site)
    link = ask_move(site, log_in(site), "new@example.com")
    assert answer(site, "verify-email", link) == says("email")
    assert site.users()[0].email == "alice@example.com"
    post(site, "verify-email", link)


def test_what_a_validator_refuses_of_a_password_hash_is_a_400_of_the_password(
    new_site: NewSite,
) -> None:
    site = new_site(define=refusing("password_hash"))
    member(site)
    body = {**ask_reset(site), "password": OTHER_PASSWORD}
    assert answer(site, "reset-password", body) == says("password_hash", "password")
    assert has_password(site, PASSWORD)
    post(site, "reset-password", body)


def test_create_user_raises_what_a_validator_refuses_and_leaves_the_transaction_usable(
    new_site: NewSite,
) -> None:
    site = new_site(define=refusing("first_name"))
    with site.app.app_context():
        create = partial(site.registration.create_user, password=PASSWORD)
        create(username="alice", email="alice@example.com")
        with refusal(site), pytest.raises(ValidationError) as caught:
            create(username="bob", email="bob@example.com", first_name="Bob")
        site.db.session.commit()
    assert caught.value.messages == {"first_name": ["Our rule refuses this first_name."]}
    assert [user.username for user in site.users()] == ["alice"]


def test_what_an_event_of_the_model_refuses_is_a_400_of_the_whole_body(new_site: NewSite) -> None:
    site = new_site()

    @event.listens_for(site.User, "before_update")
    @event.listens_for(site.User, "before_insert")
    def check(mapper: Any, connection: Any, user: Any) -> None:
        if user.first_name == "Mallory":
            raise ValueError("We know you.")

    refused = (400, {"non_field_errors": ["We know you."]})
    reply = site.register("mallory", first_name="Mallory")
    assert (reply.status_code, reply.get_json()) == refused
    member(site)
    reply = log_in(site).patch("/accounts/profile/", json={"first_name": "Mallory"})
    assert (reply.status_code, reply.get_json()) == refused
    assert [user.first_name for user in site.users()] == [""]


@pytest.mark.databases
def test_what_a_check_of_the_database_refuses_is_a_400(database: str, new_site: NewSite) -> None:
    """MariaDB's driver reports it as if the database were not available."""
    checked = own_model(
        __table_args__=lambda: (CheckConstraint("email LIKE '%@example.com'", name="ours"),)
    )
    site = new_site(database, define=checked)
    assert site.register("alice", email="alice@example.org").status_code == 400
    member(site)
    client = log_in(site)
    link = ask_move(site, client, "alice@example.org")
    assert site.post("verify-email", link).status_code == 400
    assert [user.email for user in site.users()] == ["alice@example.com"]


@pytest.mark.databases
def test_where_the_database_refuses_the_placeholder_no_answer_differs_and_the_log_says_so_once(
    database: str, new_site: NewSite, caplog: pytest.LogCaptureFixture
) -> None:
    """[E1]"""
    checked = own_model(
        __table_args__=lambda: (CheckConstraint("email LIKE '%@example.com'", name="ours"),)
    )
    site = new_site(database, define=checked)
    member(site, "owner")
    with caplog.at_level(logging.WARNING, site.app.logger.name):
        for number in range(2):
            reply = site.register(f"stranger{number}", email="owner@example.com")
            assert reply.status_code == 201
    logged = [record for record in caplog.records if "placeholder" in record.getMessage()]
    assert len(logged) == 1
    assert "owner@example.com" not in logged[0].getMessage()
    assert [user.username for user in site.users()] == ["owner"]


# The guard


@pytest.mark.databases
def test_a_free_address_and_one_in_use_take_the_same_with_rules(
    database: str, new_site: NewSite
) -> None:
    """[E2]"""
    site = new_site(database, define=with_rules)
    member(site, "owner")
    compare(
        site.app,
        {
            "free": partial(site.register, "first", email="free@example.com"),
            "in use": partial(site.register, "second", email="owner@example.com"),
        },
        statements=True,
    )


def test_of_parallel_uses_of_a_reset_link_one_works_with_rules(
    server_database: str, new_site: NewSite
) -> None:
    """[L1]"""
    site = new_site(server_database, define=with_rules, config=AT_ONCE)
    member(site)
    link = ask_reset(site)
    replies = at_once(
        lambda number: site.post("reset-password", {**link, "password": f"{PASSWORD} {number}"}), 12
    )
    assert Counter(reply.status_code for reply in replies) == {200: 1, 400: 11}


def test_a_row_that_the_application_changed_meanwhile_is_read_again(new_site: NewSite) -> None:
    """A version counter refuses the first attempt."""
    attempts: list[int] = []

    def define(db: SQLAlchemy) -> type[Any]:
        return with_rules(db, refuse=interfere)

    def interfere(name: str, value: Any) -> bool:
        if value == "Al":
            attempts.append(1)
            if len(attempts) == 1:
                site.change(site.user(username="alice"), last_name="B")
        return False

    site = new_site(define=define)
    member(site)
    client = log_in(site)
    reply = client.patch("/accounts/profile/", json={"first_name": "Al"})
    assert (reply.status_code, reply.get_json()["last_name"]) == (200, "B")
    assert len(attempts) == 2
    assert (site.users()[0].first_name, site.users()[0].last_name) == ("Al", "B")


def test_what_the_application_changed_before_is_written_too(new_site: NewSite) -> None:
    """For example the time of the last request, in a ``before_request`` function."""
    made: list[Site] = []

    def note() -> None:
        for user in made[0].db.session.scalars(made[0].db.select(made[0].User)):
            user.last_name = "seen"

    made.append(new_site(before=lambda app: app.before_request(note)))
    (site,) = made
    member(site)
    client = log_in(site)
    assert client.patch("/accounts/profile/", json={"first_name": "Al"}).status_code == 200
    assert (site.users()[0].first_name, site.users()[0].last_name) == ("Al", "seen")


# Beside the rules of the mixin


def test_a_validator_of_the_application_works_beside_the_rules_of_the_mixin(
    new_site: NewSite,
) -> None:
    site = new_site(define=with_rules)
    site.register("Alice", email="Alice@Example.COM")
    user = site.users()[0]
    assert (user.username_key, user.email) == ("alice", "alice@example.com")
    assert site.User.rules.validated >= {"username", "email", "is_verified"}
    assert site.verify().status_code == 200
    stamp = site.users()[0].security_stamp
    site.change(site.users()[0], is_verified=False)
    assert site.users()[0].security_stamp != stamp


def test_a_column_that_the_application_sets_keeps_the_normal_form(new_site: NewSite) -> None:
    site = new_site(define=lambda db: with_rules(db, only="a version"))
    member(site)
    site.change(site.users()[0], email="Bob@Example.com", username="BOB")
    user = site.users()[0]
    assert (user.email, user.username, user.username_key) == ("bob@example.com", "BOB", "bob")


def test_a_column_that_is_called_as_a_role_of_another_one_stays_a_column_of_its_own(
    new_site: NewSite,
) -> None:
    """Else a change of the profile would write the e-mail address without a verification."""
    own = own_model(
        address=lambda: mapped_column(String(254), unique=True),
        email=lambda: mapped_column(String(254), default="", nullable=False),
    )
    site = new_site(define=own, USER_EMAIL_FIELD="address", USER_EDITABLE_FIELDS=["email"])
    member(site, email="none", address="alice@example.com")
    reply = log_in(site).patch("/accounts/profile/", json={"email": "mallory@example.org"})
    assert (reply.status_code, reply.get_json()["email"]) == (200, "mallory@example.org")
    assert [user.address for user in site.users()] == ["alice@example.com"]


def test_a_profile_tells_the_security_log_the_fields_of_the_client(
    security_log: list[logging.LogRecord], new_site: NewSite
) -> None:
    site = new_site()
    member(site)
    assert log_in(site).patch("/accounts/profile/", json={"username": "Al"}).status_code == 200
    (logged,) = [
        record.getMessage() for record in security_log if "user_updated" in record.getMessage()
    ]
    assert '"fields": ["username"]' in logged


@each_row("define", [None, with_rules], ids=["without rules", "with rules"])
def test_a_proxy_such_as_current_user_is_written_as_its_user(
    define: Callable[[SQLAlchemy], type[Any]] | None, new_site: NewSite
) -> None:
    def suspend_myself() -> str:
        return str(actions.suspend(current_user))

    site = new_site(
        define=define, before=lambda app: app.add_url_rule("/suspend", view_func=suspend_myself)
    )
    member(site)
    client = log_in(site)
    assert client.get("/suspend").get_data(as_text=True) == "True"
    assert not site.users()[0].is_active
    assert not is_in(client)


def test_a_user_that_belongs_to_another_session_is_written_too(new_site: NewSite) -> None:
    """An authenticator of the application may return one, whose rules no flush would run."""

    def authenticate(data: Any, **_: Any) -> Any:
        with Session(site.db.engine) as session:
            return session.scalars(site.db.select(site.User)).one()

    site = new_site(define=with_rules, LOGIN_AUTHENTICATOR=authenticate)
    member(site)
    before = site.users()[0].last_login
    log_in(site)
    assert before is None
    assert site.users()[0].last_login is not None
