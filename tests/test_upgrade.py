"""The page about upgrades: its migration on three databases, and what a missing column does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from importlib import import_module
from runpy import run_path
from typing import Any, cast

import pytest
from alembic.autogenerate import compare_metadata, produce_migrations
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.operations.ops import ModifyTableOps
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Column, MetaData, String, Table, insert, inspect, select
from sqlalchemy.orm import Mapped, mapped_column
from werkzeug.security import generate_password_hash

from flask_registration import ChallengeMixin, EmailUserMixin, LoginMixin, OutboxMixin, UserMixin
from flask_registration.cli.base import registration_cli

from .migrations import Moved, connected, emptied, migrate
from .pages import RunPage, log_in, url_in
from .site import PASSWORD, parameters

PAGE = "docs/upgrade.md"
OTHER_PASSWORD = "another good long phrase of words"

ROWS: list[dict[str, Any]] = [
    {
        "username": "Alice",
        "email": "Alice@Example.COM",
        "password_hash": generate_password_hash(PASSWORD),
        "about_me": "The first one.",
    },
    {
        "username": " Ｂｏｂ",
        "email": "bob@example.com ",
        "password_hash": generate_password_hash(PASSWORD, "pbkdf2:sha256:1000"),
        "about_me": None,
    },
    {"username": "Zoë", "email": "", "password_hash": None, "about_me": None},
]

#: The columns of the mixins in version 0.1. A table may lack any other one: see the page.
FIRST_COLUMNS: dict[type[Any], str] = {
    EmailUserMixin: "id email password_hash first_name last_name is_active is_verified "
    "security_stamp date_joined last_login",
    UserMixin: "username username_key",
    LoginMixin: "id user_id kind digest stamp_mark methods fresh_at name scopes created_at "
    "expires_at last_used_at ip_address user_agent",
    ChallengeMixin: "id purpose digest user_id stamp_digest code_digest data tries_left created_at "
    "expires_at",
    OutboxMixin: "id message_id state template user_id recipient content tries error created_at "
    "due_at finished_at",
}


@pytest.fixture
def url(database: str) -> Iterator[str]:
    """A database of each kind in turn, which is empty again afterwards."""
    with emptied(database) as empty:
        yield empty


class Page:
    """The files of the page: the models before and after, and the migration."""

    def __init__(self, run: RunPage) -> None:
        run(PAGE)
        self.before, self.models = import_module("before"), import_module("models")
        self.upgrade = run_path("migrations/versions/add_accounts.py")["upgrade"]

    def create(self, url: str, rows: list[dict[str, Any]]) -> None:
        with connected(url) as connection:
            self.before.db.metadata.create_all(connection)
            connection.execute(insert(self.before.User.__table__), rows)

    def app(self, url: str) -> Moved:
        models = [self.models.Login, self.models.Outbox]
        return Moved(self.models, url, models, REGISTRATION_MAIL_DISPATCHER="outbox")


@pytest.fixture
def page(run: RunPage) -> Page:
    return Page(run)


def differences(url: str, metadata: MetaData) -> list[Any]:
    """What ``flask db migrate`` would find."""
    with connected(url) as connection:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))


def stored(url: str, name: str = "users") -> list[dict[str, Any]]:
    with connected(url) as connection:
        table = Table(name, MetaData(), autoload_with=connection)
        found = connection.execute(select(table).order_by(*table.primary_key))
        return [dict(row) for row in found.mappings()]


@pytest.mark.databases
def test_the_migration_fills_every_column_and_leaves_nothing_to_migrate(
    page: Page, url: str
) -> None:
    page.create(url, ROWS)
    migrate(page.upgrade, url)
    assert differences(url, page.models.db.metadata) == []
    rows = stored(url)
    assert [row["username"] for row in rows] == ["Alice", "Ｂｏｂ", "Zoë"]
    assert [row["username_key"] for row in rows] == ["alice", "bob", "zoë"]
    addresses = ["alice@example.com", "bob@example.com", "3@no-address.invalid"]
    assert [row["email"] for row in rows] == addresses
    assert [row["about_me"] for row in rows] == [row["about_me"] for row in ROWS]
    assert len({row["security_stamp"] for row in rows}) == len(rows)
    with connected(url) as connection:
        on_mariadb = connection.dialect.name == "mysql"
        for table in page.models.db.metadata.sorted_tables:
            for column in inspect(connection).get_columns(table.name):
                declared, kind = table.columns[column["name"]], cast(Any, column["type"])
                assert column["nullable"] == declared.nullable, declared
                if isinstance(declared.type, String) and declared.type.length:
                    assert kind.length == declared.type.length, declared
                if on_mariadb and declared.name in ("username_key", "email", "recipient"):
                    assert kind.collation == "utf8mb4_bin", declared


@pytest.mark.databases
def test_users_of_before_log_in_and_reset_and_keep_their_names(page: Page, url: str) -> None:
    page.create(url, ROWS)
    migrate(page.upgrade, url)
    site = page.app(url)
    for name in ("ALICE", "bob"):
        assert site.reply(name, PASSWORD + "!") == "login-invalid"
        assert site.reply(name, PASSWORD) == "let in"
    assert site.reply("Zoë", "!") == "login-invalid"
    assert site.user("alice@example.com").password_hash.startswith("$argon2id$")
    client = site.client()
    log_in(client, "alice")
    shown = client.get("/accounts/profile/").get_json()
    assert (shown["username"], shown["email"]) == ("Alice", "alice@example.com")
    logins = client.get("/accounts/logins/").get_json()
    assert [login["current"] for login in logins].count(True) == 1
    post = site.client().post
    with site.app.app_context(), site.app.extensions["mail"].record_messages() as outbox:
        asked = post("/accounts/send-reset-password-link/", json={"email": "BOB@example.com"})
        assert asked.status_code == 200
        link = parameters(url_in(outbox[0]))
        reset = post("/accounts/reset-password/", json={**link, "password": OTHER_PASSWORD})
        assert reset.status_code == 200
    log_in(site.client(), "Bob", OTHER_PASSWORD)
    new = {"email": "new@example.com", "password": PASSWORD, "password_confirm": PASSWORD}
    for name in ("aLICE", "bob", "ZOË"):
        refused = post("/accounts/register/", json={"username": name, **new})
        assert (refused.status_code, set(refused.get_json())) == (400, {"username"})
    assert post("/accounts/register/", json={"username": "zoe", **new}).status_code == 201
    result = site.app.test_cli_runner().invoke(registration_cli, ["check", "--database"])
    assert result.exit_code == 0, result.output
    for name in ("users", "login", "outbox"):
        assert f"Table {name}" not in result.output
        assert f"{name}." not in result.output


@pytest.mark.databases
@pytest.mark.parametrize(
    ("column", "values", "same"),
    [
        ("email", ["carol@example.com", "Carol@Example.com"], "carol@example.com"),
        ("username", ["Ｃａｒｏｌ", "carol"], "carol"),
    ],
)
def test_duplicates_stop_the_migration_before_any_change(
    column: str, values: list[str], same: str, page: Page, url: str
) -> None:
    for index in list(page.before.User.__table__.indexes):  # some collations refuse the rows
        page.before.User.__table__.indexes.remove(index)
    rows = [
        {**ROWS[0], "username": f"user{number}", "email": f"{number}@example.com", column: value}
        for number, value in enumerate(values)
    ]
    page.create(url, rows)
    before = stored(url)
    with pytest.raises(RuntimeError, match=re.escape(f"{{'{same}': [1, 2]}}")):
        migrate(page.upgrade, url)
    assert stored(url) == before


@pytest.mark.databases
def test_an_empty_table_is_migrated_too(page: Page, url: str) -> None:
    with connected(url) as connection:
        page.before.db.metadata.create_all(connection)
    migrate(page.upgrade, url)
    assert differences(url, page.models.db.metadata) == []


# A mixin gains a column


class NextUserMixin(UserMixin):
    """The columns of a version to come."""

    nickname: Mapped[str | None] = mapped_column(String(40))
    plan: Mapped[str] = mapped_column(String(20), server_default="free")


@pytest.fixture
def closed_later() -> Iterator[Callable[[Moved], Moved]]:
    """Close an application after the test."""
    with ExitStack() as stack:
        yield lambda site: stack.enter_context(closing(site))


def make_model(mixin: type[Any]) -> Any:
    """Something with a ``db`` and a ``User``, as a page has them."""

    class Module:
        db = SQLAlchemy()

    Module.User = type("User", (mixin, Module.db.Model), {"__tablename__": "users"})  # type: ignore[attr-defined]
    return Module


@pytest.mark.databases
def test_a_new_column_is_migrated_like_one_of_the_application_while_the_earlier_version_runs(
    url: str, closed_later: Callable[[Moved], Moved], caplog: pytest.LogCaptureFixture
) -> None:
    earlier = closed_later(Moved(make_model(UserMixin), url))
    with earlier.app.app_context():
        earlier.page.db.create_all()
        earlier.registration.create_user(
            username="alice", email="alice@example.com", password=PASSWORD
        )
        earlier.page.db.session.commit()
    later = closed_later(Moved(make_model(NextUserMixin), url))
    refused = later.client().post("/accounts/login/", json={"login": "alice", "password": PASSWORD})
    assert (refused.status_code, refused.get_json()["code"]) == (503, "database-unavailable")
    assert "Retry-After" not in refused.headers
    assert "nickname" in caplog.text
    assert "flask registration check --database" in caplog.text
    result = later.app.test_cli_runner().invoke(registration_cli, ["check", "--database"])
    assert result.exit_code == 1
    output = " ".join(result.output.split())
    assert "registration.E040" in output
    assert "Table users has no column nickname, plan in the database." in output

    with connected(url) as connection:
        context = MigrationContext.configure(connection)
        script = produce_migrations(context, later.page.db.metadata)
        assert script.upgrade_ops is not None
        operations = Operations(context)
        for table in script.upgrade_ops.ops:
            assert isinstance(table, ModifyTableOps)
            for operation in table.ops:
                operations.invoke(operation)
    assert earlier.reply("alice", PASSWORD) == "let in"
    body = {
        "username": "bob",
        "email": "bob@example.com",
        "password": PASSWORD,
        "password_confirm": PASSWORD,
    }
    assert earlier.client().post("/accounts/register/", json=body).status_code == 201
    assert later.reply("alice", PASSWORD) == "let in"
    assert differences(url, later.page.db.metadata) == []
    assert [row["plan"] for row in stored(url)] == ["free", "free"]


def test_a_column_that_is_new_in_a_mixin_needs_no_value() -> None:
    for mixin in FIRST_COLUMNS:
        model = type("Any", (mixin, SQLAlchemy().Model), {"__tablename__": "any"})
        first = " ".join(FIRST_COLUMNS.get(each, "") for each in mixin.__mro__).split()
        columns: list[Column[Any]] = list(inspect(model).columns)
        assert set(first) <= {column.name for column in columns}
        for column in columns:
            needs_no_value = column.nullable or column.server_default is not None
            assert column.name in first or needs_no_value, (mixin, column.name)
