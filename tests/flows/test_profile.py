"""Read, change, delete one's own account."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from marshmallow import EXCLUDE, Schema, fields
from sqlalchemy import ForeignKey, String, UniqueConstraint, event, text
from sqlalchemy.orm import Mapped, mapped_column

from flask_registration import EmailUserMixin, UserMixin, user_changed_email, user_deleted
from flask_registration.testing.uniform import mail_after

from ..conftest import Clock
from ..outboxes import OUTBOX
from ..people import define_login_with_foreign_key, logins
from ..site import PASSWORD, Site, define, html_of, mixin_and, text_column, whole
from ..tables import each_row
from .common import (
    BOTH_KINDS_OF_SESSION,
    DAYS,
    LINK_INVALID,
    NOT_AUTHENTICATED,
    OTHER_PASSWORD,
    REAUTHENTICATE,
    NewSite,
    ask_move,
    ask_reset,
    bearer,
    changed,
    is_in,
    log_in,
    mails,
    member,
    move,
    row,
    token_of,
)
from .test_placeholder import purge

PROFILE = "/accounts/profile/"
DELETED = "Your example.com account was deleted"


def define_guarded_user(db: Any) -> type[Any]:
    class User(UserMixin, db.Model):  # type: ignore[misc]  # a class made at run time
        __tablename__ = "users"
        is_admin: Mapped[bool] = mapped_column(default=False)
        role: Mapped[str | None] = mapped_column(db.String(40))
        company: Mapped[str | None] = mapped_column(db.String(40))
        badge: Mapped[str | None] = mapped_column(db.String(40))

    return User


# Who is asking


@each_row("method", ["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE"])
@each_row(
    "headers",
    [{}, bearer("forged"), {"Authorization": "Token forged"}, {"Cookie": "session=forged"}],
    ids=["nobody", "a forged bearer token", "a forged token", "a forged cookie"],
)
def test_whoever_is_not_logged_in_gets_a_401_that_says_how(
    site: Site, method: str, headers: dict[str, str]
) -> None:
    member(site)
    before = row(site, username="alice")
    reply = site.app.test_client().open(
        PROFILE, method=method, headers=headers, json={"first_name": "Eve"}
    )
    assert (reply.status_code, reply.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert reply.headers["Cache-Control"] == "no-store"
    assert method == "HEAD" or reply.get_json() == NOT_AUTHENTICATED
    assert row(site, username="alice") == before


# Read


@each_row("path", ["/accounts/profile/", "/accounts/profile"])
def test_a_profile_shows_the_key_the_login_the_address_and_the_names(site: Site, path: str) -> None:
    user = member(site, first_name="Alice", last_name="Liddell")
    reply = log_in(site).get(path)
    assert (reply.status_code, reply.get_json()) == (
        200,
        {
            "id": user.id,
            "username": "alice",
            "email": "alice@example.com",
            "first_name": "Alice",
            "last_name": "Liddell",
        },
    )
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


IDENTITY = {"id", "username", "email"}


@each_row(
    ("settings", "shown", "changeable"),
    [
        pytest.param(
            {},
            {*IDENTITY, "first_name", "last_name"},
            {"username", "first_name", "last_name"},
            id="by default",
        ),
        pytest.param(
            {"USER_PUBLIC_FIELDS": ["company"]},
            {*IDENTITY, "company"},
            {"username", "company"},
            id="with a public column",
        ),
        pytest.param(
            {"USER_PUBLIC_FIELDS": ["company", "badge"], "USER_EDITABLE_FIELDS": ["company"]},
            {*IDENTITY, "company", "badge"},
            {"company"},
            id="with one that only the application writes",
        ),
        pytest.param(
            {"USER_EDITABLE_FIELDS": ["role"], "USER_PUBLIC_FIELDS": []},
            {*IDENTITY, "role"},
            {"role"},
            id="with an editable column only",
        ),
        pytest.param(
            {"USER_PUBLIC_FIELDS": ["company", "badge"], "USER_HIDDEN_FIELDS": ["badge"]},
            {*IDENTITY, "company"},
            {"username", "company"},
            id="with a hidden one among the public ones",
        ),
        pytest.param(
            {"USER_EDITABLE_FIELDS": ["email", "company"]},
            {*IDENTITY, "first_name", "last_name", "company"},
            {"company"},
            id="with the address on the list, which moves by register-email only",
        ),
    ],
)
def test_only_allow_listed_columns_are_shown_and_changed(
    new_site: NewSite, settings: dict[str, Any], shown: set[str], changeable: set[str]
) -> None:
    site = new_site(define=define_guarded_user, **settings)
    member(site)
    client = log_in(site)
    assert set(client.get(PROFILE).get_json()) == shown
    before = row(site, username="alice")
    body = dict.fromkeys(
        ("username", "first_name", "last_name", "company", "badge", "role"), "changed"
    )
    reply = client.patch(PROFILE, json={**body, "email": "changed@example.com"})
    assert reply.status_code == 200
    after = row(site, id=before["id"])
    assert changed(before, after) - {"username_key"} == changeable
    assert set(reply.get_json()) == shown
    assert client.get(PROFILE).get_json() == reply.get_json()


# Change


@each_row("method", ["PUT", "POST", "PATCH"])
def test_a_change_is_written_and_answered_with_the_profile(
    database: str, new_site: NewSite, method: str
) -> None:
    site = new_site(database)
    user = member(site, first_name="Alice")
    client = log_in(site)
    before = row(site, username="alice")
    reply = client.open(
        PROFILE, method=method, json={"username": "alice", "last_name": "Liddell é 🎩"}
    )
    assert (reply.status_code, reply.get_json()) == (
        200,
        {
            "id": user.id,
            "username": "alice",
            "email": "alice@example.com",
            "first_name": "Alice",
            "last_name": "Liddell é 🎩",
        },
    )
    assert changed(before, row(site, username="alice")) == {"last_name"}
    assert site.outbox == []
    assert is_in(client)


@each_row(("method", "status"), [("PUT", 400), ("POST", 400), ("PATCH", 200)])
def test_a_full_change_names_what_must_have_a_value_and_a_partial_one_need_not(
    site: Site, method: str, status: int
) -> None:
    member(site)
    reply = log_in(site).open(PROFILE, method=method, json={"first_name": "Alice"})
    assert reply.status_code == status
    if status == 400:
        assert reply.get_json() == {"username": ["This field is required."]}
    assert (site.user(username="alice").first_name == "Alice") == (status == 200)


@pytest.mark.databases
@each_row(
    ("body", "complaint"),
    [
        pytest.param({"username": "a b"}, "username", id="a name with a space"),
        pytest.param({"username": "a@b"}, "username", id="a name that poses as an address"),
        pytest.param({"username": ""}, "username", id="an empty name"),
        pytest.param({"username": None}, "username", id="a name that is null"),
        pytest.param({"username": "x" * 151}, "username", id="a name that is too long"),
        pytest.param({"username": ["alice"]}, "username", id="a name that is a list"),
        pytest.param({"first_name": "x" * 151}, "first_name", id="a first name that is too long"),
        pytest.param({"first_name": None}, "first_name", id="a first name that is null"),
        pytest.param({"first_name": "a\0b"}, "first_name", id="a NUL"),
        pytest.param({"first_name": "\ud800"}, "first_name", id="half of a surrogate pair"),
        pytest.param({"username": "bob"}, "username", id="a name that somebody has"),
        pytest.param(
            {"username": "BOB"}, "username", id="a name that somebody has in another case"
        ),
        pytest.param(
            {"username": "ｂｏｂ"}, "username", id="a name that somebody has in another form"
        ),
        pytest.param([], "non_field_errors", id="a list"),
    ],
)
@each_row("method", ["PUT", "PATCH"])
def test_what_will_not_do_is_refused_and_nothing_is_written(
    database: str, new_site: NewSite, method: str, body: Any, complaint: str
) -> None:
    site = new_site(database)
    member(site)
    member(site, "bob")
    client = log_in(site)
    before = row(site, username="alice")
    if isinstance(body, dict):
        body = {"username": "alice2", "last_name": "changed", **body}
    reply = client.open(PROFILE, method=method, json=body)
    assert (reply.status_code, list(reply.get_json())) == (400, [complaint])
    assert row(site, username="alice") == before
    assert is_in(client)


@pytest.mark.databases
def test_a_taken_name_is_told_in_the_words_of_a_registration(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database)
    member(site)
    member(site, "bob")
    reply = log_in(site).patch(PROFILE, json={"username": "Bob"})
    assert reply.get_json() == {"username": ["This username is already in use."]}


@pytest.mark.databases
def test_ones_own_name_may_change_its_case(database: str, new_site: NewSite) -> None:
    site = new_site(database)
    user = member(site)
    client = log_in(site)
    reply = client.patch(PROFILE, json={"username": "ALICE"})
    assert (reply.status_code, reply.get_json()["username"]) == (200, "ALICE")
    after = site.user(id=user.id)
    assert (after.username, after.username_key) == ("ALICE", "alice")
    assert is_in(log_in(site, "alice"))


@pytest.mark.databases
def test_a_new_name_logs_in_and_keeps_the_old_one_for_a_while(
    database: str, new_site: NewSite, clock: Clock
) -> None:
    """Else someone who changed the name of a stolen account could take the old one at once."""
    site = new_site(database)
    user = member(site)
    client = log_in(site)
    assert client.patch(PROFILE, json={"username": "Alïce"}).status_code == 200
    assert is_in(client)
    assert site.user(id=user.id).username_key == "alïce"
    assert is_in(log_in(site, "ALÏCE"))
    assert site.post("login", {"login": "alice", "password": PASSWORD}).status_code == 400
    taken = {"username": ["This username is already in use."]}
    assert site.register("Alice", email="other@example.com").get_json() == taken
    member(site, "mallory")
    other = log_in(site, "mallory")
    assert other.patch(PROFILE, json={"username": "alice"}).get_json() == taken
    site.outbox.clear()
    for endpoint in ("send-reset-password-link", "resend-verification"):
        assert site.post(endpoint, {"login": "alice"}).status_code == 200
    assert site.outbox == []
    clock.advance(7 * DAYS + 1)
    assert site.register("alice", email="other@example.com").status_code == 201


@pytest.mark.databases
def test_the_old_name_is_free_for_its_own_user(database: str, new_site: NewSite) -> None:
    site = new_site(database)
    member(site)
    client = log_in(site)
    for name in ("alicia", "alice", "ALICE", "alicia", "bob", "alice"):
        assert client.patch(PROFILE, json={"username": name}).status_code == 200, name
        assert site.post("login", {"login": name, "password": PASSWORD}).status_code == 200
    names = sorted(user.username for user in site.users())
    assert names == ["alice", "alicia", "bob"]


def test_a_reservation_is_no_account(site: Site, clock: Clock) -> None:
    member(site)
    with site.hears(user_deleted) as heard:
        assert log_in(site).patch(PROFILE, json={"username": "alicia"}).status_code == 200
        clock.advance(30 * DAYS)
        assert purge(site) == "1 unverified registration removed"
    assert [user.username for user in site.users()] == ["alicia"]
    assert heard == []


NEEDS: dict[str, tuple[Callable[[Any], Any], dict[str, Any]]] = {
    "a value of the user": (
        mixin_and(company=text_column(nullable=False)),
        {"USER_PUBLIC_FIELDS": ["company"]},
    ),
    "another login field": (
        mixin_and(company=text_column(nullable=False, unique=True)),
        {"USER_LOGIN_FIELDS": ["username", "company"]},
    ),
    "a tenant, in which names are unique": (
        define(
            EmailUserMixin,
            columns=lambda: {
                "username": mapped_column(String(40), nullable=False),
                "company": mapped_column(String(40), default="another"),
                "__table_args__": (UniqueConstraint("company", "username"),),
            },
        ),
        {
            "USER_PUBLIC_FIELDS": ["company"],
            "USER_EDITABLE_FIELDS": ["username"],
            "USER_LOGIN_FIELDS_UNIQUE_CHECK_ENABLED": False,
        },
    ),
}


@pytest.mark.databases
@each_row(("model", "settings"), NEEDS.values(), ids=list(NEEDS))
def test_an_old_name_stays_reserved_where_the_model_needs(
    database: str, new_site: NewSite, model: Callable[[Any], Any], settings: dict[str, Any]
) -> None:
    site = new_site(database, define=model, **settings)
    member(site, company="Acme")
    client = log_in(site)
    assert client.patch(PROFILE, json={"username": "alicia"}).status_code == 200
    is_name_unique = "USER_LOGIN_FIELDS" not in settings
    company = "Acme" if is_name_unique else "Other"
    reply = site.register("alice", email="other@example.com", company=company)
    assert (reply.status_code, reply.get_json()["username"]) == (
        400,
        ["This username is already in use."],
    )
    assert client.patch(PROFILE, json={"username": "alice"}).status_code == 200


@pytest.mark.databases
def test_a_former_login_field_stays_reserved_where_another_one_is_needed(
    database: str, new_site: NewSite
) -> None:
    """The name of the reservation is no name of a user."""
    site = new_site(
        database,
        define=mixin_and(phone=text_column(nullable=True, unique=True)),
        USER_LOGIN_FIELDS=["username", "phone"],
    )
    member(site, phone="+491")
    assert log_in(site).patch(PROFILE, json={"phone": "+492"}).status_code == 200
    reply = site.register("bob", phone="+491")
    assert (reply.status_code, list(reply.get_json())) == (400, ["phone"])


@pytest.mark.databases
@each_row("by", ["an event", "the database"])
def test_a_name_changes_although_its_reservation_is_refused(
    database: str, new_site: NewSite, caplog: pytest.LogCaptureFixture, by: str
) -> None:
    site = new_site(database)
    member(site)
    client = log_in(site)

    def before_insert(mapper: Any, connection: Any, user: Any) -> None:
        if by == "an event":
            raise ValueError("no member of the company")
        user.password_hash = None

    event.listen(site.User, "before_insert", before_insert)
    with caplog.at_level("INFO"):
        assert client.patch(PROFILE, json={"username": "alicia"}).status_code == 200
    assert "The former login name of an account stays free." in caplog.text
    event.remove(site.User, "before_insert", before_insert)
    assert [user.username for user in site.users()] == ["alicia"]
    assert site.register("alice", email="other@example.com").status_code == 201


@each_row("method", ["PUT", "POST", "PATCH"])
def test_a_login_field_changes_with_the_password_or_a_fresh_login_only(
    site: Site, clock: Clock, method: str
) -> None:
    member(site)
    client = log_in(site)
    clock.advance(15 * 60 + 1)
    wrong = {"password": ["Incorrect password."]}
    for password, status, body in ((None, 401, REAUTHENTICATE), ("wrong", 400, wrong)):
        sent = {"username": "mallory", **({"password": password} if password else {})}
        reply = client.open(PROFILE, method=method, json=sent)
        assert (reply.status_code, reply.get_json()) == (status, body)
    assert [user.username for user in site.users()] == ["alice"]
    assert site.outbox == []
    sent = {"username": "alicia", "password": PASSWORD}
    reply = client.open(PROFILE, method=method, json=sent)
    assert (reply.status_code, reply.get_json()["username"]) == (200, "alicia")
    assert "password" not in reply.get_json()
    assert mails(site) == [("alice@example.com", "Your login name for example.com was changed")]
    fresh = log_in(site, "alicia")
    assert fresh.open(PROFILE, method=method, json={"username": "alice"}).status_code == 200


@each_row("method", ["PUT", "POST", "PATCH"])
def test_other_fields_need_no_password_and_cause_no_e_mail(
    site: Site, clock: Clock, method: str
) -> None:
    member(site)
    client = log_in(site)
    clock.advance(15 * 60 + 1)
    sent = {"username": "alice", "first_name": "Alice"}
    assert client.open(PROFILE, method=method, json=sent).status_code == 200
    assert site.outbox == []


def test_any_login_field_is_one(new_site: NewSite, clock: Clock) -> None:
    settings = {"USER_LOGIN_FIELDS": ["username", "badge"], "USER_PUBLIC_FIELDS": ["badge"]}
    site = new_site(define=mixin_and(badge=text_column(unique=True, nullable=True)), **settings)
    member(site)
    client = log_in(site)
    clock.advance(15 * 60 + 1)
    assert client.patch(PROFILE, json={"badge": "7"}).status_code == 401
    reply = client.patch(PROFILE, json={"badge": "7", "password": PASSWORD})
    assert reply.status_code == 200


def test_a_stolen_session_guesses_no_more_passwords_here_than_elsewhere(
    new_site: NewSite, clock: Clock
) -> None:
    site = new_site(THROTTLES={}, config={"RATELIMIT_ENABLED": True})
    member(site)
    client = log_in(site)
    clock.advance(15 * 60 + 1)
    body = {"username": "mallory", "password": "wrong"}
    statuses = [client.patch(PROFILE, json=body).status_code for _ in range(12)]
    assert statuses == [400] * 10 + [429] * 2
    passwords = {"old_password": PASSWORD, "password": OTHER_PASSWORD}
    passwords["password_confirm"] = OTHER_PASSWORD
    assert site.post("change-password", passwords, client=client).status_code == 429


class OwnNames(Schema):
    username = fields.String()
    password = fields.String(load_only=True)


def test_an_own_schema_may_have_the_password(new_site: NewSite, clock: Clock) -> None:
    site = new_site(PROFILE_SCHEMA_CLASS=f"{__name__}.OwnNames")
    member(site)
    client = log_in(site)
    clock.advance(15 * 60 + 1)
    assert client.patch(PROFILE, json={"username": "alicia"}).status_code == 401
    reply = client.patch(PROFILE, json={"username": "alicia", "password": PASSWORD})
    assert (reply.status_code, reply.get_json()) == (200, {"username": "alicia"})


class Place(Schema):
    town = fields.String(required=True)
    street = fields.String(required=True)


class WithPlace(Schema):
    username = fields.String()
    place = fields.Nested(Place(partial=True), load_only=True)


@each_row("method", ["PUT", "PATCH"])
def test_an_own_schema_decides_which_nested_fields_may_be_missing(
    new_site: NewSite, method: str
) -> None:
    site = new_site(PROFILE_SCHEMA_CLASS=WithPlace)
    member(site)
    client = log_in(site)
    body = {"username": "alice", "place": {"town": "Oxford"}}
    assert client.open(PROFILE, method=method, json=body).status_code == 200


def test_after_a_change_by_another_the_owner_resets_by_the_address(
    site: Site, clock: Clock
) -> None:
    """The owner does not know the new name."""
    member(site)
    client = log_in(site)
    assert client.patch(PROFILE, json={"username": "mallory"}).status_code == 200
    site.outbox.clear()
    reply = site.post("send-reset-password-link", {"email": "alice@example.com"})
    assert reply.status_code == 200
    assert mails(site) == [("alice@example.com", "Choose a new password for example.com")]


@each_row("method", ["PUT", "POST", "PATCH"])
def test_the_address_never_changes_here(site: Site, method: str) -> None:
    member(site)
    with site.hears(user_changed_email) as heard:
        reply = log_in(site).open(
            PROFILE, method=method, json={"username": "alice", "email": "eve@example.com"}
        )
    assert (reply.status_code, reply.get_json()["email"]) == (200, "alice@example.com")
    assert site.user(username="alice").email == "alice@example.com"
    assert (heard, site.outbox) == ([], [])


@each_row("login_fields", [["email"], ["username", "email"]], ids=" and ".join)
def test_nor_does_it_where_people_log_in_by_it(new_site: NewSite, login_fields: list[str]) -> None:
    site = new_site(USER_LOGIN_FIELDS=login_fields, REGISTER_FLOW_ENABLED=False)
    member(site)
    client = log_in(site, "alice@example.com")
    assert client.patch(PROFILE, json={"email": "eve@example.com"}).status_code == 200
    assert site.user(username="alice").email == "alice@example.com"


COLUMNS = {
    "id": 4711,
    "username_key": "mallory",
    "email": "mallory@example.com",
    "password_hash": "$argon2id$planted",
    "is_active": False,
    "is_verified": False,
    "security_stamp": "0" * 32,
    "date_joined": "2001-01-01T00:00:00",
    "last_login": "2001-01-01T00:00:00",
    "is_admin": True,
    "role": "root",
    "company": "Evil",
    "badge": "1",
}


@each_row("column", COLUMNS)
@each_row("method", ["PUT", "POST", "PATCH"])
def test_no_body_sets_a_column_that_is_not_allow_listed(
    new_site: NewSite, method: str, column: str
) -> None:
    site = new_site(define=define_guarded_user)
    member(site)
    client = log_in(site)
    before = row(site, username="alice")
    reply = client.open(PROFILE, method=method, json={"username": "alice", column: COLUMNS[column]})
    assert reply.status_code == 200
    assert row(site, username="alice") == before


def test_the_table_of_guarded_columns_is_complete(new_site: NewSite) -> None:
    site = new_site(define=define_guarded_user)
    every = {column.key for column in site.User.__table__.columns}
    assert every - set(COLUMNS) == {"username", "first_name", "last_name"}


@pytest.mark.databases
def test_only_the_columns_that_changed_are_written(database: str, new_site: NewSite) -> None:
    site = new_site(database)
    member(site, first_name="Alice", last_name="Liddell")
    client = log_in(site)
    with site.statements() as statements:
        client.put(PROFILE, json={"username": "alice", "first_name": "Al", "last_name": "Liddell"})
    (update,) = [statement for statement in statements if statement.startswith("UPDATE")]
    written = update.partition("SET")[2].partition("WHERE")[0]
    assert (written.count("="), "first_name" in written) == (1, True)


def test_nothing_is_written_where_nothing_changed(database: str, new_site: NewSite) -> None:
    site = new_site(database)
    member(site, first_name="Alice")
    client = log_in(site)
    with site.statements() as statements:
        assert (
            client.put(PROFILE, json={"username": "alice", "first_name": "Alice"}).status_code
            == 200
        )
    assert [statement for statement in statements if not statement.startswith("SELECT")] == []


@each_row(
    ("meanwhile", "status"),
    [
        pytest.param({"is_active": False}, 401, id="a suspension"),
        pytest.param({"security_stamp": "f" * 32}, 401, id="a log-out everywhere"),
        pytest.param({"last_name": "Changed"}, 200, id="another column"),
    ],
)
def test_what_lands_during_a_slow_change_is_not_undone_by_it(
    server_database: str, new_site: NewSite, meanwhile: dict[str, Any], status: int
) -> None:
    class Slow(Schema):
        """Takes its time over a body, while an administrator is quick."""

        class Meta:
            unknown = EXCLUDE

        username = fields.String()
        first_name = fields.String()

        def load(self, *args: Any, **kwargs: Any) -> Any:
            columns = ", ".join(f"{name} = :{name}" for name in meanwhile)
            with site.db.engine.begin() as connection:
                connection.execute(text(f"UPDATE users SET {columns}"), meanwhile)
            return super().load(*args, **kwargs)

    site = new_site(server_database, PROFILE_SCHEMA_CLASS=Slow)
    member(site)
    client = log_in(site)
    reply = client.patch(PROFILE, json={"first_name": "Slow"})
    after = row(site, username="alice")
    assert {name: after[name] for name in meanwhile} == meanwhile
    assert reply.status_code == status
    assert after["first_name"] == ("Slow" if status == 200 else "")


@BOTH_KINDS_OF_SESSION
def test_a_suspended_or_deleted_user_is_out_with_the_next_request(
    database: str, new_site: NewSite, sessions: Any
) -> None:
    site = new_site(database, LOGIN_RETRIEVE_TOKEN=True, **sessions)
    user = member(site)
    client, token, nobody = log_in(site), token_of(site), site.app.test_client()
    assert is_in(client)
    assert is_in(nobody, token)
    site.change(user, is_active=False)
    assert (is_in(client), is_in(nobody, token)) == (False, False)


class OwnProfile(Schema):
    """An application's own: another name for a column, and one that no client writes."""

    class Meta:
        unknown = EXCLUDE

    name = fields.String(attribute="first_name", data_key="name")
    email = fields.Email()
    is_verified = fields.Boolean()
    joined = fields.DateTime(attribute="date_joined", dump_only=True)


def test_the_applications_own_schema_shows_and_loads(new_site: NewSite) -> None:
    site = new_site(PROFILE_SCHEMA_CLASS=f"{__name__}.OwnProfile")
    member(site, first_name="Alice")
    client = log_in(site)
    assert set(client.get(PROFILE).get_json()) == {"name", "email", "is_verified", "joined"}
    before = row(site, username="alice")
    reply = client.patch(
        PROFILE, json={"name": "Al", "email": "eve@example.com", "is_verified": False}
    )
    assert (reply.status_code, reply.get_json()["name"]) == (200, "Al")
    assert changed(before, row(site, username="alice")) == {
        "first_name"
    }  # the address and the flag are never a body's


@each_row(
    "content_type",
    ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain", ""],
    ids=repr,
)
@each_row("method", ["PUT", "POST", "PATCH", "DELETE"])
def test_a_form_of_another_site_is_refused(site: Site, method: str, content_type: str) -> None:
    member(site)
    client = log_in(site)
    before = row(site, username="alice")
    reply = client.open(
        PROFILE, method=method, data='{"first_name": "Eve"}', content_type=content_type
    )
    assert (reply.status_code, reply.get_json()["code"]) == (415, "unsupported-media-type")
    assert row(site, username="alice") == before


# Delete


@BOTH_KINDS_OF_SESSION
def test_right_after_the_login_an_account_is_deleted_without_another_word(
    database: str, new_site: NewSite, sessions: dict[str, Any]
) -> None:
    site = new_site(database, LOGIN_RETRIEVE_TOKEN=True, **sessions)
    user = member(site)
    member(site, "bob")
    bob = row(site, username="bob")
    bobs = log_in(site, "bob")
    client, elsewhere, token = log_in(site), log_in(site), token_of(site)
    with site.hears(user_deleted) as heard:
        reply = client.delete(PROFILE)
    assert (reply.status_code, reply.get_data()) == (204, b"")
    assert site.user(id=user.id) is None
    assert changed(bob, row(site, username="bob")) <= {"last_login"}
    assert [(each["signal"], each["user"].username, each["user"].email) for each in heard] == [
        ("user-deleted", "alice", "alice@example.com")
    ]
    assert [each["request"].path for each in heard] == [PROFILE]
    for left in (client, elsewhere):
        assert not is_in(left)
    assert not is_in(site.app.test_client(), token)
    assert is_in(bobs)
    if sessions:
        assert len(logins(site)) == 2  # Bob's session, and his token
    assert mails(site) == [("alice@example.com", DELETED)]


@each_row("body", [None, {}], ids=["no body", "an empty body"])
def test_a_login_that_is_not_fresh_needs_the_password(
    site: Site, clock: Clock, body: dict[str, str] | None
) -> None:
    member(site)
    client = log_in(site)
    clock.advance(15 * 60 + 1)
    reply = client.delete(PROFILE, json=body) if body is not None else client.delete(PROFILE)
    assert (reply.status_code, reply.get_json()) == (401, REAUTHENTICATE)
    assert reply.headers["WWW-Authenticate"] == 'Bearer error="insufficient_user_authentication"'
    assert is_in(client)
    assert client.delete(PROFILE, json={"password": PASSWORD}).status_code == 204
    assert site.users() == []


@each_row(("seconds", "status"), [(-1, 204), (0, 204), (1, 401)])
def test_a_login_is_fresh_for_the_period_to_the_second(
    new_site: NewSite, clock: Clock, seconds: int, status: int
) -> None:
    site = new_site(REAUTHENTICATION_PERIOD=100)
    member(site)
    client = log_in(site)
    clock.advance(100 + seconds)
    assert client.delete(PROFILE).status_code == status


@BOTH_KINDS_OF_SESSION
def test_a_token_is_fresh_as_long_as_a_session(
    new_site: NewSite, clock: Clock, sessions: dict[str, Any]
) -> None:
    site = new_site(LOGIN_RETRIEVE_TOKEN=True, LOGIN_AUTHENTICATE_SESSION=False, **sessions)
    member(site)
    client, token = site.app.test_client(), token_of(site)
    if not sessions:  # rows keep the time of the database's own clock, which no test turns
        clock.advance(15 * 60 + 1)
        assert client.delete(PROFILE, headers=token).status_code == 401
        assert client.delete(PROFILE, headers=token, json={"password": "wrong"}).status_code == 400
    assert client.delete(PROFILE, headers=token_of(site)).status_code == 204


@each_row("stale", [False, True], ids=["a fresh login", "a stale login"])
@each_row(
    ("password", "complaint"),
    [
        pytest.param("wrong", "Incorrect password.", id="a wrong one"),
        pytest.param(PASSWORD + " ", "Incorrect password.", id="a space too many"),
        pytest.param("", "This field may not be blank.", id="an empty one"),
        pytest.param(None, "This field may not be null.", id="null"),
        pytest.param("x" * 257, "Use at most 256 characters.", id="one that is too long"),
        pytest.param("a\0b", "This text contains unsupported characters.", id="one with a NUL"),
    ],
)
def test_a_wrong_password_deletes_nothing(
    site: Site, clock: Clock, stale: bool, password: str | None, complaint: str
) -> None:
    member(site)
    client = log_in(site)
    clock.advance(3600 if stale else 0)
    with site.hears(user_deleted) as heard:
        reply = client.delete(PROFILE, json={"password": password})
    assert (reply.status_code, reply.get_json()) == (400, {"password": [complaint]})
    assert (len(site.users()), heard) == (1, [])
    assert is_in(client)


def test_a_remembered_login_is_not_fresh(site: Site) -> None:
    member(site)
    client = site.app.test_client()
    site.post("login", {"login": "alice", "password": PASSWORD, "remember": True}, client=client)
    client.delete_cookie("session")
    assert is_in(client)
    assert client.delete(PROFILE).status_code == 401
    assert client.delete(PROFILE, json={"password": PASSWORD}).status_code == 204


def anonymise(user: Any, *, request: Any, **kwargs: Any) -> None:
    """What an application gives for ``PROFILE_DELETER``."""
    assert request.path == PROFILE
    user.username, user.email, user.first_name = f"gone{user.id}", f"gone{user.id}@example.com", ""


@BOTH_KINDS_OF_SESSION
def test_an_application_may_anonymise_in_place_of_deleting(
    database: str, new_site: NewSite, sessions: dict[str, Any]
) -> None:
    site = new_site(
        database,
        PROFILE_DELETER=f"{__name__}.anonymise",
        LOGIN_RETRIEVE_TOKEN=True,
        MAIL_LIMITS=None,
        **sessions,
    )
    user = member(site, first_name="Alice")
    client, elsewhere, token = log_in(site), log_in(site), token_of(site)
    undo = move(site, client, "new@example.com")
    elsewhere, token = log_in(site), token_of(site)
    moving = ask_move(site, client, "newer@example.com")
    reset = ask_reset(site)
    site.outbox.clear()
    with site.hears(user_deleted) as heard:
        assert client.delete(PROFILE).status_code == 204
    assert mails(site) == [("new@example.com", DELETED)]
    after = row(site, id=user.id)
    assert (after["username"], after["email"], after["first_name"]) == (
        f"gone{user.id}",
        f"gone{user.id}@example.com",
        "",
    )
    assert after["is_active"] is False
    assert [(each["signal"], each["user"].id) for each in heard] == [("user-deleted", user.id)]
    assert not is_in(client)
    assert not is_in(elsewhere)
    assert not is_in(site.app.test_client(), token)
    for endpoint, link in (
        ("reset-password", reset),
        ("verify-email", moving),
        ("undo-email-change", undo),
    ):
        reply = site.post(endpoint, {**link, "password": PASSWORD})
        assert (endpoint, reply.status_code, reply.get_json()) == (endpoint, 400, LINK_INVALID)
    assert row(site, id=user.id) == after
    site.change(
        user, is_active=True
    )  # even where an administrator makes it one that may log in again
    for endpoint, link in (("reset-password", reset), ("verify-email", moving)):
        assert site.post(endpoint, {**link, "password": PASSWORD}).get_json() == LINK_INVALID
    assert not is_in(elsewhere)
    assert not is_in(site.app.test_client(), token)


@pytest.mark.databases
def test_an_anonymising_application_that_fails_leaves_everything_as_it_was(
    database: str, new_site: NewSite
) -> None:
    def fail(user: Any, **kwargs: Any) -> None:
        user.username = "half"
        raise RuntimeError("the application's own trouble")

    site = new_site(database, PROFILE_DELETER=fail, config={"PROPAGATE_EXCEPTIONS": False})
    member(site)
    client = log_in(site)
    before = row(site, username="alice")
    with site.hears(user_deleted) as heard:
        assert client.delete(PROFILE).status_code == 500
    assert (row(site, username="alice"), heard) == (before, [])
    assert is_in(client)


def define_user_with_orders(db: Any) -> type[Any]:
    class User(UserMixin, db.Model):  # type: ignore[misc]  # a class made at run time
        __tablename__ = "users"

    class Order(db.Model):  # type: ignore[misc]  # a class made at run time
        __tablename__ = "orders"
        id: Mapped[int] = mapped_column(primary_key=True)
        user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))

    User.Order = Order
    return User


@pytest.mark.databases
@BOTH_KINDS_OF_SESSION
def test_an_account_that_other_rows_need_stays_as_it_is(
    database: str, new_site: NewSite, sessions: dict[str, Any]
) -> None:
    site = new_site(database, define=define_user_with_orders, **sessions)
    with site.app.app_context():
        if site.db.engine.dialect.name == "sqlite":
            event.listen(
                site.db.engine,
                "connect",
                lambda dbapi, _: dbapi.execute("PRAGMA foreign_keys = ON"),
            )
            site.db.engine.dispose()
    user = member(site)
    client, elsewhere = log_in(site), log_in(site)
    with site.app.app_context():
        site.db.session.add(site.User.Order(user_id=user.id))
        site.db.session.commit()
    before = row(site, username="alice")
    with site.hears(user_deleted) as heard:
        reply = client.delete(PROFILE)
    assert (reply.status_code, reply.get_json()) == (
        400,
        {
            "detail": "This account cannot be deleted because other data depends on it.",
            "code": "account-in-use",
        },
    )
    assert (row(site, username="alice"), heard) == (before, [])
    assert is_in(client)
    assert is_in(elsewhere)


@pytest.mark.databases
@BOTH_KINDS_OF_SESSION
def test_what_belonged_to_a_deleted_account_stays_dead_when_its_id_is_given_again(
    database: str, new_site: NewSite, sessions: dict[str, Any]
) -> None:
    site = new_site(database, LOGIN_RETRIEVE_TOKEN=True, MAIL_LIMITS=None, **sessions)
    user = member(site)
    client = log_in(site)
    undo = move(site, client, "new@example.com")
    elsewhere, token = log_in(site), token_of(site)
    moving, reset = ask_move(site, client, "newer@example.com"), ask_reset(site)
    cookie = client.get_cookie("session")
    assert client.delete(PROFILE).status_code == 204
    again = member(site, id=user.id, email="new@example.com")
    assert again.id == user.id
    before = row(site, id=user.id)
    assert cookie is not None
    copied = site.app.test_client()
    copied.set_cookie("session", cookie.value)
    for left in (client, elsewhere, copied):
        assert not is_in(left)
    assert not is_in(site.app.test_client(), token)
    for endpoint, link in (
        ("reset-password", reset),
        ("verify-email", moving),
        ("undo-email-change", undo),
    ):
        reply = site.post(endpoint, {**link, "password": PASSWORD})
        assert (endpoint, reply.status_code, reply.get_json()) == (endpoint, 400, LINK_INVALID)
    assert row(site, id=user.id) == before


def test_sqlite_gives_an_id_again_and_the_old_session_is_nobodys(site: Site) -> None:
    user = member(site)
    client = log_in(site)
    elsewhere = log_in(site)
    client.delete(PROFILE)
    assert member(site, "eve").id == user.id
    reply = elsewhere.get(PROFILE)
    assert (reply.status_code, reply.get_json()) == (401, NOT_AUTHENTICATED)


@pytest.mark.databases
def test_a_deleted_name_and_address_can_be_registered_anew(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database)
    member(site)
    log_in(site).delete(PROFILE)
    assert site.register("alice").status_code == 201
    assert site.outbox[-1].recipients == ["alice@example.com"]


@pytest.mark.databases
def test_a_foreign_key_from_the_logins_is_no_hindrance(database: str, new_site: NewSite) -> None:
    site = new_site(database, login_model=define_login_with_foreign_key)
    member(site)
    client = log_in(site)
    log_in(site)
    assert client.delete(PROFILE).status_code == 204
    assert site.users() == []


def test_deleting_the_same_account_twice_at_once_is_no_trouble(site: Site) -> None:
    member(site)
    client, elsewhere = log_in(site), log_in(site)
    assert client.delete(PROFILE).status_code == 204
    assert whole(elsewhere.delete(PROFILE))[0] == "401 UNAUTHORIZED"


# The e-mail about it


def test_the_e_mail_about_a_deletion_can_be_switched_off(new_site: NewSite) -> None:
    site = new_site(DELETION_NOTICE_ENABLED=False)
    member(site)
    assert log_in(site).delete(PROFILE).status_code == 204
    assert site.outbox == []


def test_no_other_e_mail_takes_the_place_of_the_one_about_a_deletion(site: Site) -> None:
    member(site)
    client = log_in(site)
    site.register("mallory", email="alice@example.com")
    assert client.delete(PROFILE).status_code == 204
    member(site)
    assert log_in(site).delete(PROFILE).status_code == 204
    assert [subject for _, subject in mails(site)] == [
        "You already have an account at example.com",
        DELETED,
        DELETED,
    ]


def test_the_e_mail_about_a_deletion_is_in_the_language_of_its_user(new_site: NewSite) -> None:
    site = new_site(
        LANGUAGES=["en", "de"],
        LOCALE_SELECTOR=lambda user, **_: getattr(user, "last_name", None),
    )
    member(site, last_name="de")
    assert log_in(site).delete(PROFILE).status_code == 204
    assert '<html lang="de"' in html_of(site.read())


def test_the_e_mail_about_a_deletion_waits_in_the_outbox_without_its_account(
    new_site: NewSite,
) -> None:
    site = new_site(**OUTBOX)
    user = member(site)
    with mail_after(site.app):
        assert log_in(site).delete(PROFILE).status_code == 204
        assert member(site, "bob").id == user.id, "the database uses the id again"
        assert site.outbox == []
    assert mails(site) == [("alice@example.com", DELETED)]


def test_a_deletion_that_cannot_be_confirmed_at_once_does_not_take_place(
    new_site: NewSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = new_site(MAIL_DISPATCHER="inline")
    member(site)
    client = log_in(site)

    def fail(*args: Any) -> None:
        raise OSError("no mail server here")

    monkeypatch.setattr("flask_mail.Connection.send", fail)
    with site.hears(user_deleted) as heard:
        reply = client.delete(PROFILE)
    assert (reply.status_code, reply.get_json()["code"]) == (503, "mail-unavailable")
    assert (len(site.users()), heard) == (1, [])
    assert is_in(client)
