"""Hashes of another application: a refused login does the same work, a right password logs in.

The names in brackets are rows of the threat table.
"""

from __future__ import annotations

import logging
from typing import Any
from unittest.mock import Mock

import pytest
from click.testing import CliRunner
from flask.cli import ScriptInfo
from pwdlib import PasswordHash
from sqlalchemy import String
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import mapped_column, validates
from werkzeug.security import generate_password_hash

from flask_registration.auth.hashers import WerkzeugHasher
from flask_registration.cli.base import registration_cli
from flask_registration.users.store import UserStore

from ..people import LOGIN_INVALID
from ..site import PASSWORD, define_user, own_model
from ..tables import each_row
from .common import NewSite, log_in, member


class Counted:
    """A hasher of one kind that writes down its work."""

    def __init__(self, kind: str, work: list[str]) -> None:
        self.kind, self.work = kind, work

    def hash(self, password: Any, *, salt: bytes | None = None) -> str:
        self.work.append(self.kind)
        return f"{self.kind}$salt${password}"

    def verify(self, password: Any, hash: Any) -> bool:
        self.work.append(self.kind)
        return bool(hash == f"{self.kind}$salt${password}")

    def identify(self, hash: Any) -> bool:
        return bool(hash.startswith(f"{self.kind}$"))

    def check_needs_rehash(self, hash: Any) -> bool:
        return False


@pytest.mark.databases
def test_a_refused_login_does_the_same_work_for_every_kind_of_hash(
    database: str, new_site: NewSite
) -> None:
    work: list[str] = []
    hashers: list[Any] = [Counted(kind, work) for kind in ("own", "cheap%", "strong_5")]
    site = new_site(database, define=define_user, PASSWORD_HASHER=PasswordHash(hashers))
    stored = {
        "own": f"own$salt${PASSWORD}",
        "cheap": f"cheap%$salt${PASSWORD}",
        "strong": f"strong_5$salt${PASSWORD}",
        "sso": "!",
        "empty": "",
    }
    for name, password_hash in stored.items():
        site.change(member(site, name), password_hash=password_hash)
    site.change(member(site, "suspended"), is_active=False)
    site.change(member(site, "pending"), is_verified=False)
    done = {}
    tries = [(name, "a wrong one") for name in (*stored, "unknown", "suspended", "pending")]
    tries += [("suspended", PASSWORD), ("pending", PASSWORD), ("unknown", PASSWORD)]
    site.post("login", {"login": "unknown", "password": PASSWORD})
    for name, password in tries:
        work.clear()
        assert site.post("login", {"login": name, "password": password}).status_code == 400
        done[name, password] = sorted(work)
    assert set(map(tuple, done.values())) == {("cheap%", "own", "strong_5")}
    work.clear()
    log_in(site, "own")
    assert work == ["own"]


def test_a_search_for_kinds_that_fails_is_done_again(
    new_site: NewSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    work: list[str] = []
    hashers: list[Any] = [Counted(kind, work) for kind in ("own", "imported")]
    site = new_site(PASSWORD_HASHER=PasswordHash(hashers))
    site.change(member(site), password_hash=f"imported$salt${PASSWORD}")
    body = {"login": "unknown", "password": PASSWORD}
    with monkeypatch.context() as patch:
        lost = OperationalError("SELECT", {}, Exception("the connection is lost"))
        patch.setattr(UserStore, "other_hash", Mock(side_effect=lost))
        assert site.post("login", body).status_code == 503
    work.clear()
    assert site.post("login", body).status_code == 400
    assert sorted(work) == ["imported", "own"]


@each_row(("searched", "kinds"), [(1, {"own"}), (2, {"own", "cheap"})], anew=True)
def test_the_search_for_kinds_reads_so_many_accounts(
    searched: int, kinds: set[str], new_site: NewSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table of any size is no burden, and one that was imported has its kinds in front."""
    monkeypatch.setattr("flask_registration.users.store.SEARCHED_HASHES", searched)
    done: list[str] = []
    hashers: list[Any] = [Counted(kind, done) for kind in ("own", "cheap")]
    site = new_site(PASSWORD_HASHER=PasswordHash(hashers))
    for name, kind in (("alice", "own"), ("bob", "cheap")):
        site.change(member(site, name), password_hash=f"{kind}$salt${PASSWORD}")
    site.post("login", {"login": "nobody", "password": PASSWORD})
    done.clear()
    site.post("login", {"login": "nobody", "password": PASSWORD})
    assert set(done) == kinds


def test_a_refused_login_is_one_hash_where_all_are_of_one_kind(new_site: NewSite) -> None:
    work: list[str] = []
    hashers: list[Any] = [Counted("own", work)]
    site = new_site(PASSWORD_HASHER=PasswordHash(hashers))
    member(site)
    site.post("login", {"login": "unknown", "password": PASSWORD})
    for name in ("alice", "unknown"):
        work.clear()
        site.post("login", {"login": name, "password": "a wrong one"})
        assert work == ["own"]


# Hashes that cannot be stored [P9]


def define_refusing(db: Any) -> Any:
    """A model whose validator knows the hashes of another application only."""

    @validates("password_hash")
    def of_werkzeug(self: Any, _: str, value: str) -> str:
        if not value.startswith("pbkdf2:"):
            raise ValueError("not one of ours")
        return value

    return own_model(of_werkzeug=lambda: of_werkzeug)(db)


def define_short(db: Any) -> Any:
    return own_model(password_hash=lambda: mapped_column(String(99), nullable=False))(db)


@pytest.mark.databases
@each_row("define", [define_refusing, define_short])
def test_a_right_password_logs_in_although_the_better_hash_cannot_be_stored(
    define: Any, database: str, new_site: NewSite, caplog: pytest.LogCaptureFixture
) -> None:
    class Long(Counted):
        def hash(self, password: Any, *, salt: bytes | None = None) -> str:
            return super().hash(password, salt=salt) + "=" * 100

    hashers: list[Any] = [Long("new", []), WerkzeugHasher()]
    hasher = PasswordHash(hashers)
    site = new_site(database, define=define, PASSWORD_HASHER=hasher)
    with site.app.app_context():
        old = generate_password_hash(PASSWORD, "pbkdf2:sha256:1", salt_length=4)
        values = {"username": "alice", "email": "alice@example.com", "is_verified": True}
        row = site.User.__table__.insert().values(**values, password_hash=old)
        site.db.session.execute(row)
        site.db.session.commit()
    for _ in range(2):
        caplog.clear()
        assert log_in(site).get("/accounts/profile/").status_code == 200
        (said,) = [each for each in caplog.records if each.levelno == logging.WARNING]
        assert "password_hash" in said.getMessage()
        assert old not in caplog.text
    wrong = site.post("login", {"login": "alice", "password": "a wrong one"})
    assert (wrong.status_code, wrong.get_json()) == (400, LOGIN_INVALID)
    assert site.user(username="alice").password_hash == old


@pytest.mark.databases
def test_the_check_of_the_database_reports_a_column_that_is_too_short(
    database: str, new_site: NewSite
) -> None:
    short = own_model(password_hash=lambda: mapped_column(String(60), nullable=False))
    script = ScriptInfo(create_app=lambda: new_site(database, define=short).app)
    result = CliRunner().invoke(registration_cli, ["check", "--database"], obj=script)
    assert "users.password_hash has at most 60 characters" in " ".join(result.output.split())
