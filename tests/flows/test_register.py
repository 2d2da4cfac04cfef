"""Register → mailed link → verify → ask for the mail again."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, local
from typing import Any

import flask_login
import pytest
from flask import session
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import String, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Mapped, mapped_column

from flask_registration import UserMixin, user_activated, user_registered

from ..conftest import Clock
from ..site import PASSWORD, Site, html_of, links_of, text_of, whole
from ..tables import each_row
from .common import accounts, cookies_of

NewSite = Callable[..., Site]

LINK_INVALID = {
    "detail": "This link is not valid. It may have been used already, "
    "or been replaced by a newer one.",
    "code": "signature-invalid",
}
VERIFIED = {"detail": "User verified successfully"}
RESENT = {"detail": "If this account is waiting for verification, a new e-mail is on its way"}


def test_a_registration_a_link_and_a_verified_account(site: Site) -> None:
    reply = site.register("alice", first_name="Alice")
    assert reply.status_code == 201
    assert reply.get_json() == {
        "username": "alice",
        "email": "alice@example.com",
        "first_name": "Alice",
        "last_name": "",
    }
    assert not site.user(username="alice").is_verified
    assert len(site.outbox) == 1
    reply = site.verify()
    assert (reply.status_code, reply.get_json()) == (200, {"detail": "User verified successfully"})
    assert site.user(username="alice").is_verified


def test_the_password_is_not_in_the_database_but_its_hash_is(
    database: str, new_site: Callable[..., Site]
) -> None:
    site = new_site(database)
    site.register()
    assert PASSWORD not in str(vars(site.user(username="alice")))
    assert site.user(username="alice").password_hash.startswith("$argon2id$")
    assert "https://example.com/verify-registration/?timestamp=" in text_of(site.read())


# Register


@pytest.mark.databases
def test_a_registration_makes_one_pending_row_one_signal_and_one_mail(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database)
    assert site.users() == []
    with site.hears(user_registered, user_activated) as heard:
        reply = site.register("Alice", email="Alice@Example.COM", first_name="Ada", last_name="L.")
    assert reply.get_json() == {
        "username": "Alice",
        "email": "alice@example.com",
        "first_name": "Ada",
        "last_name": "L.",
    }
    (user,) = site.users()
    assert (user.username, user.username_key, user.email) == ("Alice", "alice", "alice@example.com")
    assert (user.first_name, user.last_name, user.is_active, user.is_verified) == (
        "Ada",
        "L.",
        True,
        False,
    )
    assert (len(user.security_stamp), user.last_login) == (22, None)
    assert [(each["signal"], each["request"].path) for each in heard] == [
        ("user-registered", "/accounts/register/")
    ]
    assert [message.recipients for message in site.outbox] == [["alice@example.com"]]


def test_a_receiver_of_user_registered_finds_the_committed_user(site: Site) -> None:
    seen: list[Any] = []

    def receive(app: Any, *, user: Any, request: Any) -> None:
        seen.append((app, user.username, [each.username for each in site.users()]))

    with user_registered.connected_to(receive, site.app):
        site.register("alice")
    assert seen == [(site.app, "alice", ["alice"])]


def test_a_receiver_that_raises_changes_neither_the_reply_nor_the_row_nor_the_mail(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    def receive(app: Any, **_: Any) -> None:
        raise RuntimeError("the receiver's own trouble")

    with user_registered.connected_to(receive, site.app):
        reply = site.register("alice")
    assert reply.status_code == 201
    assert (len(site.users()), len(site.outbox)) == (1, 1)
    assert "the receiver's own trouble" in caplog.text


def test_an_async_receiver_is_run(site: Site) -> None:
    seen: list[str] = []

    async def receive(app: Any, *, user: Any, request: Any) -> None:
        seen.append(user.username)

    with user_registered.connected_to(receive, site.app):
        site.register("alice")
    assert seen == ["alice"]


@each_row(
    ("body", "complaints"),
    [
        pytest.param(
            {"username": None},
            {"username": ["This field may not be null."]},
            id="a name that is null",
        ),
        pytest.param(
            {"email": None},
            {"email": ["This field may not be null."]},
            id="an address that is null",
        ),
        pytest.param({"password": None}, {"password"}, id="a password that is null"),
        pytest.param({"username": ""}, {"username"}, id="an empty name"),
        pytest.param({"username": "a b"}, {"username"}, id="a name with a space"),
        pytest.param({"username": "a@b"}, {"username"}, id="a name that poses as an address"),
        pytest.param({"username": "x" * 151}, {"username"}, id="a name that is too long"),
        pytest.param({"email": "nobody"}, {"email"}, id="an address without an at"),
        pytest.param(
            {"email": "a@b\r\nBcc: c@example.com"}, {"email"}, id="an address with a second line"
        ),
        pytest.param({"email": "a@example.com, b@example.com"}, {"email"}, id="two addresses"),
        pytest.param(
            {"email": "míke@example.com"}, {"email"}, id="an address with a letter outside of ASCII"
        ),
        pytest.param({"password": "seven77"}, {"password"}, id="a short password"),
        pytest.param({"password": "password1"}, {"password"}, id="a password that everybody has"),
        pytest.param(
            {"password": "alice@example.com"}, {"password"}, id="the address as the password"
        ),
        pytest.param({"password": "x" * 257}, {"password"}, id="a password that is too long"),
        pytest.param(
            {"password_confirm": PASSWORD + "!"},
            {"password_confirm": ["The two passwords do not match."]},
            id="two passwords that differ",
        ),
        pytest.param({"first_name": "x" * 151}, {"first_name"}, id="a first name that is too long"),
        pytest.param({"first_name": ["x"]}, {"first_name"}, id="a first name that is a list"),
        pytest.param(
            {"username": "a b", "email": "nobody", "password": "short"},
            {"username", "email", "password"},
            id="everything wrong at once",
        ),
    ],
)
def test_bad_fields_are_told_by_name_and_nothing_is_kept(
    site: Site, body: dict[str, Any], complaints: dict[str, Any] | set[str]
) -> None:
    with site.hears(user_registered) as heard:
        reply = site.register(**{"email": "alice@example.com", **body})
    told = reply.get_json()
    assert reply.status_code == 400
    assert set(told) - {"password_confirm"} == set(complaints) - {"password_confirm"}
    if isinstance(complaints, dict):
        assert {key: told[key] for key in complaints} == complaints
    assert (site.users(), site.outbox, heard) == ([], [], [])


@each_row("name", ["username", "email", "password", "password_confirm"])
def test_a_field_that_is_missing_is_required(site: Site, name: str) -> None:
    body = {
        "username": "alice",
        "email": "alice@example.com",
        "password": PASSWORD,
        "password_confirm": PASSWORD,
    }
    del body[name]
    reply = site.post("register", body)
    assert (reply.status_code, reply.get_json()) == (400, {name: ["This field is required."]})
    assert site.users() == []


def define_guarded_user(db: Any) -> type[Any]:
    class User(UserMixin, db.Model):  # type: ignore[misc]  # a class made at run time
        __tablename__ = "users"
        is_admin: Mapped[bool] = mapped_column(default=False)
        role: Mapped[str | None]

    return User


@each_row(
    ("column", "value"),
    [
        ("id", 4711),
        ("username_key", "mallory"),
        ("password_hash", "$argon2id$planted"),
        ("is_active", False),
        ("is_verified", True),
        ("is_admin", True),
        ("role", "root"),
        ("security_stamp", "0" * 32),
        ("date_joined", "2001-01-01T00:00:00"),
        ("last_login", "2001-01-01T00:00:00"),
    ],
)
def test_no_body_sets_a_column_that_is_not_allow_listed(
    new_site: NewSite, column: str, value: Any
) -> None:
    site = new_site(define=define_guarded_user)
    assert site.register("alice", **{column: value}).status_code == 201
    assert getattr(site.user(username="alice"), column) != value
    assert site.verify().status_code == 200  # nor did it break the account


def test_the_reply_shows_no_column_that_is_not_allow_listed(new_site: NewSite) -> None:
    site = new_site(define=define_guarded_user, PREVENT_ENUMERATION=False)
    assert set(site.register("alice").get_json()) == {
        "id",
        "username",
        "email",
        "first_name",
        "last_name",
    }


# Names and addresses that are taken


@pytest.mark.databases
@each_row(
    ("taken", "variant"),
    [
        pytest.param("alice", "alice", id="the same"),
        pytest.param("alice", "ALICE", id="in capitals"),
        pytest.param("Alice", "aLICE", id="in mixed case"),
        pytest.param("alice", "ａｌｉｃｅ", id="in full-width letters"),
        pytest.param("straße", "STRASSE", id="with an s that folds"),
        pytest.param("ﬁn", "fin", id="with a ligature"),
        pytest.param("Ångström", "A\u030angstro\u0308m", id="with combining marks"),
    ],
)
def test_a_name_that_differs_in_case_or_form_only_is_taken(
    database: str, new_site: NewSite, taken: str, variant: str
) -> None:
    site = new_site(database)
    assert site.register(taken, email="first@example.com").status_code == 201
    reply = site.register(variant, email="second@example.com")
    assert (reply.status_code, reply.get_json()) == (
        400,
        {"username": ["This username is already in use."]},
    )
    assert len(site.users()) == 1


@pytest.mark.databases
@each_row("other", ["míke", "mıke", "miké", "mike.", "mikee"])
def test_a_name_that_a_lax_collation_would_mix_up_is_free(
    database: str, new_site: NewSite, other: str
) -> None:
    site = new_site(database)
    assert site.register("mike", email="first@example.com").status_code == 201
    assert site.register(other, email="second@example.com").status_code == 201
    assert {user.username for user in site.users()} == {"mike", other}


@pytest.mark.databases
@each_row(
    "variant", ["alice@example.com", "ALICE@EXAMPLE.COM", "Alice@example.com", "alice@Example.Com"]
)
def test_an_address_that_differs_in_case_only_is_taken(
    database: str, new_site: NewSite, variant: str
) -> None:
    site = new_site(database, PREVENT_ENUMERATION=False)
    site.register("alice")
    reply = site.register("mallory", email=variant)
    assert (reply.status_code, reply.get_json()) == (
        400,
        {"email": ["This e-mail address is already in use."]},
    )
    assert [user.username for user in site.users()] == ["alice"]


def define_user_with_the_default_collation(db: Any) -> type[Any]:
    class User(db.Model):  # type: ignore[misc]  # a class made at run time
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        username: Mapped[str] = mapped_column(String(40), unique=True)
        email: Mapped[str] = mapped_column(String(254), unique=True)
        password_hash: Mapped[str] = mapped_column(String(255))
        is_verified: Mapped[bool] = mapped_column(default=False)

    return User


@each_row(
    "body",
    [
        {"login": "míke"},
        {"username": "MIKE"},
        {"email": "mike@exämple.com"},
        {"email": "mike@bücher.example.com"},
    ],
    ids=str,
)
def test_a_lax_collation_finds_nobody_whose_name_or_address_is_another(
    mariadb_url: str, new_site: NewSite, clock: Clock, body: dict[str, str]
) -> None:
    """MariaDB's default one takes ``í`` for ``i``: CVE-2019-19844."""
    site = new_site(mariadb_url, define=define_user_with_the_default_collation)
    site.register("mike", email="mike@example.com")
    site.register("bookworm", email="mike@bucher.example.com")
    clock.advance(60)
    with site.statements() as statements:
        assert site.post("resend-verification", body).get_json() == RESENT
    assert len(statements) == 1
    assert len(site.outbox) == 2


def test_an_address_that_a_lax_collation_takes_for_anothers_is_as_any_and_the_other_gets_no_mail(
    mariadb_url: str, new_site: NewSite, clock: Clock
) -> None:
    site = new_site(mariadb_url, define=define_user_with_the_default_collation)
    site.register("mike", email="mike@example.com")
    clock.advance(60)
    reply = site.register("mallory", email="mike@exämple.com")
    assert (reply.status_code, reply.get_json()["email"]) == (201, "mike@exämple.com")
    assert (len(site.outbox), len(accounts(site))) == (1, 1)


class CountingHasher(Argon2Hasher):
    """A cheap hasher that counts."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.calls = 0

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        self.calls += 1
        return super().hash(password, salt=salt)


def owner_of_an_address(
    new_site: NewSite, *, owned: bool, **settings: Any
) -> tuple[Site, CountingHasher]:
    hasher = CountingHasher()
    site = new_site(PASSWORD_HASHER=hasher, **settings)
    if owned:
        with site.app.app_context():
            site.registration.create_user(
                username="owner",
                email="owner@example.com",
                password=PASSWORD,
                verified=settings.get("owner", True),
            )
            site.db.session.commit()
        hasher.calls = 0
    return site, hasher


@each_row("state", ["verified", "pending", "suspended"])
def test_a_taken_address_is_answered_like_a_free_one_in_every_byte(
    new_site: NewSite, state: str
) -> None:
    answers = []
    for owned in (True, False):
        site, hasher = owner_of_an_address(new_site, owned=owned)
        if owned:
            owner = site.user(username="owner")
            site.change(owner, is_verified=state == "verified", is_active=state != "suspended")
        reply = site.register(
            "stranger", email="Owner@example.com", first_name="Eve", last_name="Ångström"
        )
        answers.append((whole(reply), hasher.calls))
    assert answers[0] == answers[1]
    assert answers[0][0][0] == "201 CREATED"
    assert answers[0][1] == 1


def test_a_taken_address_makes_no_signal_and_changes_nothing_of_its_owner(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database)
    site.register("owner")
    before = vars(site.user(username="owner"))
    with site.hears(user_registered) as heard:
        assert site.register("stranger", email="owner@example.com").status_code == 201
    (after,) = accounts(site)
    before.pop("_sa_instance_state")
    assert before.items() <= vars(after).items()
    assert heard == []


def test_the_owner_of_a_taken_address_is_told_without_a_link_or_a_word_of_the_stranger(
    new_site: NewSite,
) -> None:
    site, _ = owner_of_an_address(new_site, owned=True)
    site.register(
        "strangername",
        email="OWNER@example.com",
        first_name="Buycheap",
        last_name="http://evil.example",
    )
    (message,) = site.outbox
    assert message.recipients == ["owner@example.com"]
    mail = site.read()
    source = message_source(mail)
    assert "You already have an account at example.com." in text_of(mail)
    assert links_of(mail) == []
    for word in ("strangername", "Buycheap", "evil", "http://", "https://", "signature", PASSWORD):
        assert word not in source


def message_source(mail: Any) -> str:
    return "\n".join([str(mail["Subject"]), text_of(mail), html_of(mail), str(mail.items())])


def test_a_taken_name_is_refused_and_then_nothing_is_said_of_the_address(new_site: NewSite) -> None:
    answers = []
    for address in ("owner@example.com", "nobody@example.com"):
        site, hasher = owner_of_an_address(new_site, owned=True)
        reply = site.register("OWNER", email=address)
        answers.append((whole(reply), hasher.calls, len(site.outbox)))
    assert answers[0] == answers[1]
    assert answers[0][0][0] == "400 BAD REQUEST"
    assert answers[0][0][2] == b'{"username":["This username is already in use."]}\n'
    assert answers[0][2] == 0


def test_without_prevent_enumeration_a_taken_address_is_refused_and_nobody_is_told(
    new_site: NewSite,
) -> None:
    site, _ = owner_of_an_address(new_site, owned=True, PREVENT_ENUMERATION=False)
    reply = site.register("stranger", email="owner@example.com")
    assert (reply.status_code, reply.get_json()) == (
        400,
        {"email": ["This e-mail address is already in use."]},
    )
    reply = site.register("OWNER", email="owner@example.com")
    assert set(reply.get_json()) == {"username", "email"}
    assert site.outbox == []
    assert site.register("stranger").get_json()["id"] == site.user(username="stranger").id


def test_the_owner_of_a_taken_address_is_told_once_a_day_at_most(
    new_site: NewSite, clock: Clock
) -> None:
    site, _ = owner_of_an_address(new_site, owned=True)
    day = 24 * 3600
    for number, (seconds, mails) in enumerate([(0, 1), (day - 1, 1), (1, 2), (0, 2)]):
        clock.advance(seconds)
        assert site.register(f"stranger{number}", email="owner@example.com").status_code == 201
        assert len(site.outbox) == mails


def test_a_duplicate_that_only_the_database_sees_gets_the_plain_refusal(
    server_database: str, new_site: NewSite
) -> None:
    site = new_site(server_database)
    start = Barrier(10)

    def register(number: int) -> Any:
        start.wait(timeout=30)
        return site.register("alice", email=f"alice{number}@example.com")

    with ThreadPoolExecutor(10) as pool:
        replies = list(pool.map(register, range(10)))
    assert sorted(reply.status_code for reply in replies) == [201, *[400] * 9]
    refused = {reply.get_data() for reply in replies if reply.status_code == 400}
    assert refused == {b'{"username":["This username is already in use."]}\n'}
    assert (len(site.users()), len(site.outbox)) == (1, 1)


# Verify


@pytest.mark.databases
def test_a_link_verifies_and_announces_once_and_is_a_calm_200_the_second_time(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database)
    site.register("alice")
    with site.hears(user_activated) as heard:
        replies = [site.verify(), site.verify()]
    assert [(reply.status_code, reply.get_json()) for reply in replies] == [(200, VERIFIED)] * 2
    assert [(each["user"].username, each["request"].path) for each in heard] == [
        ("alice", "/accounts/verify-registration/")
    ]
    assert site.user(username="alice").is_verified
    assert len(site.outbox) == 1


def test_a_receiver_of_user_activated_finds_the_committed_flag(site: Site) -> None:
    seen: list[Any] = []

    def receive(app: Any, *, user: Any, request: Any) -> None:
        seen.append((user.is_verified, site.user(username="alice").is_verified))

    site.register("alice")
    with user_activated.connected_to(receive, site.app):
        site.verify()
    assert seen == [(True, True)]


def test_with_one_time_use_the_second_time_is_answered_like_a_forged_link(
    database: str, new_site: NewSite
) -> None:
    site = new_site(database, REGISTER_VERIFICATION_ONE_TIME_USE=True)
    site.register("alice")
    assert site.verify().status_code == 200
    with site.hears(user_activated) as heard:
        used, forged = site.verify(), site.verify(signature="forged")
    assert whole(used) == whole(forged)
    assert (used.status_code, used.get_json()) == (400, LINK_INVALID)
    assert heard == []


def use_in_parallel(site: Site, times: int) -> list[Any]:
    """Post the link from several threads; each opens it before any has used it."""
    link, meeting, here = site.link(), Barrier(times), local()

    def meet(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE") and not hasattr(here, "met"):
            here.met = True
            meeting.wait(timeout=30)

    with site.app.app_context():
        engine = site.db.engine
    event.listen(engine, "before_cursor_execute", meet)
    try:
        with ThreadPoolExecutor(times) as pool:
            return list(pool.map(lambda _: site.verify(link), range(times)))
    finally:
        event.remove(engine, "before_cursor_execute", meet)


@pytest.mark.databases
@each_row(
    "options",
    [
        pytest.param({}, id="as the database comes"),
        pytest.param({"isolation_level": "SERIALIZABLE"}, id="with serializable transactions"),
    ],
)
def test_of_twenty_parallel_uses_of_a_one_time_link_exactly_one_succeeds(
    database: str, new_site: NewSite, options: dict[str, Any]
) -> None:
    site = new_site(
        database,
        REGISTER_VERIFICATION_ONE_TIME_USE=True,
        config={"SQLALCHEMY_ENGINE_OPTIONS": {"pool_size": 20, **options}},
    )
    site.register("alice")
    with site.hears(user_activated) as heard:
        replies = use_in_parallel(site, 20)
    assert sorted(reply.status_code for reply in replies) == [200, *[400] * 19]
    assert all(reply.get_json() == LINK_INVALID for reply in replies if reply.status_code == 400)
    assert len(heard) == 1


def test_of_parallel_uses_exactly_one_succeeds_where_mariadb_checks_its_snapshots(
    mariadb_url: str, new_site: NewSite
) -> None:
    """MariaDB from 11.6.2 on ends an update of what another has changed since, with 1020."""
    options = {
        "pool_size": 20,
        "connect_args": {"init_command": "SET SESSION innodb_snapshot_isolation=ON"},
    }
    try:
        site = new_site(
            mariadb_url,
            REGISTER_VERIFICATION_ONE_TIME_USE=True,
            config={"SQLALCHEMY_ENGINE_OPTIONS": options},
        )
    except OperationalError as error:
        pytest.skip(f"this MariaDB does not know the variable: {error.orig}")
    site.register("alice")
    replies = use_in_parallel(site, 20)
    assert sorted(reply.status_code for reply in replies) == [200, *[400] * 19]


@each_row("one_time_use", [False, True])
def test_a_link_never_verifies_a_suspended_account(
    database: str, new_site: NewSite, one_time_use: bool
) -> None:
    site = new_site(database, REGISTER_VERIFICATION_ONE_TIME_USE=one_time_use)
    site.register("alice")
    site.change(site.user(username="alice"), is_active=False)
    with site.hears(user_activated) as heard:
        reply = site.verify()
    assert (reply.status_code, reply.get_json()) == (400, LINK_INVALID)
    user = site.user(username="alice")
    assert (user.is_active, user.is_verified, heard) == (False, False, [])


def test_a_link_never_lets_a_banned_account_back_in(site: Site) -> None:
    site.register("alice")
    site.verify()
    site.change(site.user(username="alice"), is_active=False)
    assert site.verify().get_json() == LINK_INVALID
    assert site.user(username="alice").is_active is False


@each_row(
    "changes",
    [
        pytest.param("is_active = 0", id="a suspension"),
        pytest.param("email = 'else@example.com'", id="another address"),
        pytest.param("security_stamp = 'another'", id="a new security stamp"),
    ],
)
@each_row("one_time_use", [False, True])
def test_a_change_that_lands_between_opening_the_link_and_using_it_wins(
    new_site: NewSite, sqlite_url: str, changes: str, one_time_use: bool
) -> None:
    site = new_site(sqlite_url, REGISTER_VERIFICATION_ONE_TIME_USE=one_time_use)
    site.register("alice")
    with site.app.app_context():
        engine = site.db.engine
    changed: list[str] = []

    def change(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE users SET is_verified") and not changed:
            changed.append(changes)
            with engine.begin() as administrator:
                administrator.exec_driver_sql(f"UPDATE users SET {changes}")

    event.listen(engine, "before_cursor_execute", change)
    with site.hears(user_activated) as heard:
        reply = site.verify()
    assert changed
    assert (reply.status_code, reply.get_json()) == (400, LINK_INVALID)
    assert (site.user(username="alice").is_verified, heard) == (False, [])


@each_row("address", ["mallory@example.com", "alice@example.org"])
def test_a_link_dies_when_the_address_has_changed_since(
    database: str, new_site: NewSite, address: str
) -> None:
    site = new_site(database)
    site.register("alice")
    site.change(site.user(username="alice"), email=address)
    reply = site.verify()
    assert (reply.status_code, reply.get_json()) == (400, LINK_INVALID)
    assert not site.user(username="alice").is_verified


def test_a_link_stays_dead_when_the_old_address_is_back(site: Site) -> None:
    site.register("alice")
    site.change(site.user(username="alice"), email="else@example.com")
    site.change(site.user(username="alice"), email="alice@example.com")
    assert site.verify().get_json() == LINK_INVALID


def test_a_link_dies_with_the_security_stamp(site: Site) -> None:
    site.register("alice")
    site.change(site.user(username="alice"), security_stamp="0" * 32)
    assert site.verify().get_json() == LINK_INVALID


def test_both_links_of_a_pending_account_are_good(site: Site, clock: Clock) -> None:
    site.register("alice")
    clock.advance(60)
    site.post("resend-verification", {"login": "alice"})
    assert site.link(0) != site.link(1)
    assert site.verify(site.link(0)).status_code == 200
    assert site.verify(site.link(1)).status_code == 200


def test_verifying_logs_nobody_in(site: Site) -> None:
    site.register("alice")
    client = site.app.test_client()
    reply = site.post("verify-registration", site.link(), client=client)
    assert reply.status_code == 200
    assert "Set-Cookie" not in reply.headers
    assert client.get_cookie("session") is None


# Verify, and log in


@pytest.fixture
def auto_login(new_site: NewSite) -> Site:
    """Verifying logs in, and ``/me`` says who that is."""
    site = new_site(REGISTER_VERIFICATION_ONE_TIME_USE=True, REGISTER_VERIFICATION_AUTO_LOGIN=True)

    @site.app.get("/me")
    def me() -> dict[str, Any]:
        return {
            "user": getattr(flask_login.current_user, "username", None),
            "planted": session.get("planted"),
        }

    return site


def test_auto_login_opens_a_session(auto_login: Site) -> None:
    auto_login.register("alice")
    client = auto_login.app.test_client()
    assert (
        auto_login.post("verify-registration", auto_login.link(), client=client).get_json()
        == VERIFIED
    )
    assert client.get("/me").get_json()["user"] == "alice"
    assert auto_login.app.test_client().get("/me").get_json()["user"] is None


def test_auto_login_drops_what_was_planted_in_the_session(auto_login: Site) -> None:
    auto_login.register("alice")
    client = auto_login.app.test_client()
    with client.session_transaction() as planted:
        planted["planted"] = "by somebody else"
    assert client.get("/me").get_json()["planted"] == "by somebody else"
    auto_login.post("verify-registration", auto_login.link(), client=client)
    assert client.get("/me").get_json() == {"user": "alice", "planted": None}


@each_row(
    "changes",
    [
        pytest.param({"is_active": False}, id="a suspension"),
        pytest.param({"security_stamp": "0" * 32}, id="a new security stamp"),
    ],
)
def test_the_session_of_an_auto_login_ends_with(auto_login: Site, changes: dict[str, Any]) -> None:
    auto_login.register("alice")
    client = auto_login.app.test_client()
    auto_login.post("verify-registration", auto_login.link(), client=client)
    assert client.get("/me").get_json()["user"] == "alice"
    auto_login.change(auto_login.user(username="alice"), **changes)
    assert client.get("/me").get_json()["user"] is None


def test_the_session_of_an_auto_login_ends_with_a_deletion_though_the_id_is_used_again(
    auto_login: Site,
) -> None:
    auto_login.register("alice")
    client = auto_login.app.test_client()
    auto_login.post("verify-registration", auto_login.link(), client=client)
    gone = auto_login.user(username="alice")
    delete(auto_login, gone)
    assert client.get("/me").get_json()["user"] is None
    auto_login.register("bob")
    assert auto_login.user(username="bob").id == gone.id
    assert client.get("/me").get_json()["user"] is None


def delete(site: Site, user: Any) -> None:
    with site.app.app_context():
        site.db.session.delete(site.db.session.get(site.User, user.id))
        site.db.session.commit()


@each_row("link", ["used", "forged"])
def test_a_link_that_is_refused_logs_nobody_in(auto_login: Site, link: str) -> None:
    auto_login.register("alice")
    if link == "used":
        auto_login.verify()
    client = auto_login.app.test_client()
    params = auto_login.link() if link == "used" else {**auto_login.link(), "signature": "forged"}
    assert auto_login.post("verify-registration", params, client=client).status_code == 400
    assert client.get("/me").get_json()["user"] is None


@pytest.mark.databases
def test_of_parallel_auto_logins_with_one_link_exactly_one_gets_a_session(
    database: str, new_site: NewSite
) -> None:
    site = new_site(
        database,
        REGISTER_VERIFICATION_ONE_TIME_USE=True,
        REGISTER_VERIFICATION_AUTO_LOGIN=True,
    )
    site.register("alice")
    replies = use_in_parallel(site, 10)
    assert sum("Set-Cookie" in reply.headers for reply in replies) == 1


def test_the_session_of_an_auto_login_ends_whoevers_user_loader_it_is(auto_login: Site) -> None:
    site = auto_login
    asked: list[str] = []

    def load(identifier: str) -> Any:
        asked.append(identifier)
        return site.db.session.get(site.User, int(identifier))

    site.app.login_manager.user_loader(load)  # type: ignore[attr-defined]  # Flask-Login puts it there
    site.register("alice")
    client = site.app.test_client()
    site.post("verify-registration", site.link(), client=client)
    assert client.get("/me").get_json()["user"] == "alice"
    user = site.user(username="alice")
    assert asked == [str(user.id)]
    for changes in ({"is_active": False}, {"is_active": True, "security_stamp": "0" * 32}):
        site.change(user, **changes)
        assert client.get("/me").get_json()["user"] is None


def test_auto_login_opens_no_session_where_a_login_opens_none(new_site: NewSite) -> None:
    site = new_site(
        REGISTER_VERIFICATION_ONE_TIME_USE=True,
        REGISTER_VERIFICATION_AUTO_LOGIN=True,
        LOGIN_AUTHENTICATE_SESSION=False,
        LOGIN_RETRIEVE_TOKEN=True,
    )
    site.register("alice")
    reply = site.verify()
    assert (reply.status_code, reply.get_json().keys()) == (200, {"detail", "token"})
    assert cookies_of(reply) == ["registration_device"]


# Ask for the mail again


@pytest.fixture
def crowd(database: str, new_site: NewSite, clock: Clock) -> Site:
    """One account of each kind, and an empty mailbox."""
    site = new_site(database)
    states = {
        "pending": {},
        "verified": {"is_verified": True},
        "suspended": {"is_active": False},
        "banned": {"is_active": False, "is_verified": True},
    }
    for name, changes in states.items():
        site.register(name)
        site.change(site.user(username=name), **changes)
    site.outbox.clear()
    clock.advance(60)
    return site


@each_row(
    ("body", "mails"),
    [
        pytest.param({"login": "pending"}, 1, id="a pending account by login"),
        pytest.param({"username": "pending"}, 1, id="a pending account by its login field"),
        pytest.param({"email": "pending@example.com"}, 1, id="a pending account by address"),
        pytest.param({"login": "PENDING"}, 1, id="a pending account by its name in capitals"),
        pytest.param(
            {"email": "Pending@Example.com"}, 1, id="a pending account by its address in capitals"
        ),
        pytest.param(
            {"login": "nobody", "email": "pending@example.com"},
            1,
            id="a wrong name and the right address",
        ),
        pytest.param(
            {"login": "pending", "email": "pending@example.com"}, 1, id="a name and its address"
        ),
        pytest.param({"login": "verified"}, 0, id="a verified account"),
        pytest.param({"email": "verified@example.com"}, 0, id="a verified account by address"),
        pytest.param({"login": "suspended"}, 0, id="a suspended account"),
        pytest.param({"email": "suspended@example.com"}, 0, id="a suspended account by address"),
        pytest.param({"login": "banned"}, 0, id="an account that was verified and then suspended"),
        pytest.param({"login": "nobody"}, 0, id="nobody"),
        pytest.param({"email": "nobody@example.com"}, 0, id="an unknown address"),
        pytest.param({"email": "no address"}, 0, id="what is no address"),
        pytest.param({"login": "no name"}, 0, id="what is no name"),
        pytest.param({"login": "x" * 10_000}, 0, id="what is longer than any name"),
        pytest.param({"login": "pending@example.com"}, 0, id="an address where a name belongs"),
        pytest.param({"login": "pendíng"}, 0, id="a name that only a lax collation finds"),
        pytest.param(
            {"email": "pendíng@example.com"}, 0, id="an address that only a lax collation finds"
        ),
        pytest.param({"login": "pending "}, 1, id="a name with a space behind it"),
        pytest.param({"login": ""}, 0, id="an empty name"),
    ],
)
def test_resending_is_answered_the_same_and_mails_pending_accounts_only(
    crowd: Site, body: dict[str, str], mails: int
) -> None:
    crowd.assert_uniform_answers(
        nobody=lambda: crowd.post("resend-verification", {"login": "somebody-who-is-not-there"}),
        named=lambda: crowd.post("resend-verification", body),
    )
    assert [message.recipients for message in crowd.outbox] == [["pending@example.com"]] * mails
    reply = crowd.post("resend-verification", body)
    assert (reply.status_code, reply.get_json()) == (200, RESENT)


def test_the_mail_that_was_asked_for_again_verifies(crowd: Site) -> None:
    crowd.post("resend-verification", {"login": "pending"})
    assert crowd.verify().status_code == 200
    assert crowd.user(username="pending").is_verified


@each_row(
    "body",
    [
        pytest.param(
            {"login": "pending", "username": "verified"}, id="a pending and a verified account"
        ),
        pytest.param(
            {"login": "verified", "email": "pending@example.com"},
            id="a verified account and a pending address",
        ),
    ],
)
def test_a_body_that_names_two_accounts_mails_the_pending_one(
    crowd: Site, body: dict[str, str]
) -> None:
    assert crowd.post("resend-verification", body).get_json() == RESENT
    assert [message.recipients for message in crowd.outbox] == [["pending@example.com"]]


def test_an_address_is_mailed_once_a_minute_at_most(site: Site, clock: Clock) -> None:
    site.register("alice")
    steps = [(0, 1), (59, 1), (1, 2), (1, 2), (58, 2), (1, 3)]
    for seconds, mails in steps:
        clock.advance(seconds)
        for body in ({"login": "alice"}, {"email": "ALICE@example.com"}):
            assert site.post("resend-verification", body).get_json() == RESENT
        assert len(site.outbox) == mails


def test_the_minute_is_a_setting(new_site: NewSite, clock: Clock) -> None:
    site = new_site(MAIL_LIMITS="1/5 seconds")
    site.register("alice")
    for seconds, mails in [(4, 1), (1, 2)]:
        clock.advance(seconds)
        site.post("resend-verification", {"login": "alice"})
        assert len(site.outbox) == mails


def test_one_address_waits_and_another_does_not(site: Site, clock: Clock) -> None:
    site.register("alice")
    site.register("bob")
    clock.advance(60)
    for name in ("alice", "bob", "alice", "bob"):
        site.post("resend-verification", {"login": name})
    assert [message.recipients for message in site.outbox[2:]] == [
        ["alice@example.com"],
        ["bob@example.com"],
    ]


@each_row(
    ("body", "told"),
    [
        pytest.param({}, {"login": ["This field is required."]}, id="nothing"),
        pytest.param(
            {"user": "alice"}, {"login": ["This field is required."]}, id="another field only"
        ),
        pytest.param({"login": None}, {"login": ["This field may not be null."]}, id="null"),
        pytest.param({"login": True}, {"login": ["Not a valid string."]}, id="true"),
        pytest.param({"email": ["a@example.com"]}, {"email": ["Not a valid string."]}, id="a list"),
        pytest.param(
            [], {"non_field_errors": ["Invalid data. Expected a JSON object."]}, id="no object"
        ),
    ],
)
def test_resending_to_nobody_in_particular_is_a_400(
    site: Site, body: Any, told: dict[str, Any]
) -> None:
    reply = site.post("resend-verification", body)
    assert (reply.status_code, reply.get_json()) == (400, told)
