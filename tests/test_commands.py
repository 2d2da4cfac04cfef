"""The commands about accounts: what an administrator does from a terminal."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import flask_login
import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask.cli import ScriptInfo
from flask_mail import Mail
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import JSON, Boolean, Date, Enum, Integer, String, event, update
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import mapped_column

from flask_registration import (
    DEFAULT_FLOWS,
    Registration,
    signals,
    user_deleted,
    user_registered,
    user_reset_password,
)
from flask_registration.cli.base import registration_cli

from .conftest import Clock
from .flows.common import (
    BOTH_KINDS_OF_SESSION,
    LINK_INVALID,
    OTHER_PASSWORD,
    ask_move,
    ask_reset,
    changed,
    forget_mails,
    has_password,
    is_in,
    mails,
    member,
    move,
    row,
    token_of,
)
from .outboxes import OUTBOX, define_outbox
from .people import log_in
from .site import CONFIG, PASSWORD, Site, define_user, mixin_and, own_model
from .tables import each_row
from .test_dispatch import broken_mail

NewSite = Callable[..., Site]
Log = list[logging.LogRecord]

ALL_SIGNALS = [value for value in vars(signals).values() if type(value).__name__ == "NamedSignal"]

#: Every command that is about one account, with what it needs on stdin.
ON_ACCOUNT: dict[str, tuple[list[str], str | None]] = {
    "verify": ([], None),
    "suspend": ([], None),
    "reactivate": ([], None),
    "set-password": (["--password-stdin"], OTHER_PASSWORD),
}
each_on_account = each_row("name", ON_ACCOUNT)


def run(site: Site, *arguments: str, typed: str | None = None) -> Result:
    """Run ``flask registration`` with these arguments."""
    return site.app.test_cli_runner().invoke(registration_cli, arguments, input=typed)


def test_the_group_can_be_added_to_the_commands_of_the_application(site: Site) -> None:
    site.app.cli.add_command(registration_cli)
    result = site.app.test_cli_runner().invoke(args=["registration", "purge"])
    assert (result.exit_code, result.stderr) == (0, "")


def done(site: Site, *arguments: str, typed: str | None = None) -> str:
    """Run it, which must succeed; what it prints."""
    result = run(site, *arguments, typed=typed)
    assert (result.exit_code, result.exception) == (0, None), result.output
    assert result.stderr == ""
    return result.stdout.strip()


def refused(site: Site, *arguments: str, typed: str | None = None) -> str:
    """Run it, which must not change a thing; what it says on stderr."""
    before = everything(site)
    with site.hears(*ALL_SIGNALS) as heard:
        result = run(site, *arguments, typed=typed)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert (heard, site.outbox, everything(site)) == ([], [], before)
    return result.stderr.strip()


def everything(site: Site) -> list[dict[str, Any]]:
    return [
        {each.key: getattr(user, each.key) for each in site.User.__table__.columns}
        for user in site.users()
    ]


def events(log: Log) -> list[dict[str, Any]]:
    """What was recorded by a command, less what is always so."""
    told = [json.loads(entry.getMessage()) for entry in log]
    log.clear()
    return [{name: value for name, value in each.items() if value is not None} for each in told]


# Whom it is about


@each_on_account
@each_row("named", [["ALICE"], ["Alice@Example.com"], ["--id", "7"]])
def test_an_account_is_named_by_a_login_its_address_or_its_id(
    site: Site, name: str, named: list[str]
) -> None:
    member(site, id=7, is_active=name != "reactivate", is_verified=name != "verify")
    site.change(site.user(id=7), is_verified=name != "verify")
    member(site, "bob", id=8)
    before, options, typed = row(site, id=8), *ON_ACCOUNT[name]
    assert "alice (id 7)" in done(site, name, *named, *options, typed=typed)
    assert row(site, id=8) == before


@each_on_account
def test_an_unknown_account_is_told_and_nothing_happens(site: Site, name: str) -> None:
    member(site)
    options, typed = ON_ACCOUNT[name]
    assert (
        refused(site, name, "bob", *options, typed=typed)
        == "No account has the login or the e-mail address bob."
    )
    assert refused(site, name, "--id", "x", *options, typed=typed) == "No account has the id x."


@each_on_account
def test_a_name_that_several_accounts_have_is_told_with_their_ids(
    new_site: NewSite, name: str
) -> None:
    site = new_site(
        define=own_model(
            email=lambda: mapped_column(String(254), nullable=False),
            is_active=lambda: mapped_column(Boolean, default=True),
        )
    )
    member(site, "alice", email="us@example.com", id=3)
    member(site, "bob", email="us@example.com", id=5)
    options, typed = ON_ACCOUNT[name]
    told = refused(site, name, "us@example.com", *options, typed=typed)
    assert told == "2 accounts have us@example.com. Choose one: --id 3 or --id 5."


@each_on_account
@each_row("named", [[], ["alice", "--id", "1"]])
def test_an_account_is_named_in_one_way(site: Site, name: str, named: list[str]) -> None:
    member(site)
    result = run(site, name, *named, *ON_ACCOUNT[name][0])
    assert (result.exit_code, "either by LOGIN or by --id" in result.stderr) == (2, True)


def test_nothing_that_is_stored_or_typed_reaches_the_terminal_as_a_command(
    new_site: NewSite,
) -> None:
    site = new_site(
        define=own_model(
            username=lambda: mapped_column(String(40)),
            nickname=lambda: mapped_column(String(40), unique=True),
        ),
        USER_LOGIN_FIELDS=["nickname"],
    )
    member(site, nickname="\x1b[2Jalice\u202e", is_verified=False)
    site.change(site.user(id=1), is_verified=False)
    assert done(site, "verify", "--id", "1") == r"Verified \x1b[2Jalice\u202e (id 1)."
    assert (
        refused(site, "verify", "\x1b]0;x")
        == r"No account has the login or the e-mail address \x1b]0;x."
    )


# Open an account

CREATE = ("create-user", "--username", "Alice", "--email", "Alice@Example.com")
STDIN = "--password-stdin"


def test_create_user_opens_a_verified_account(
    database: str, new_site: NewSite, security_log: Log
) -> None:
    site = new_site(database)
    with site.hears(*ALL_SIGNALS) as heard:
        told = done(site, *CREATE, "--first-name", "Alice", STDIN, typed=PASSWORD)
    assert told == "Created Alice (id 1)."
    assert [(each["signal"], each["user"].username, each["request"]) for each in heard] == [
        ("user-registered", "Alice", None),
        ("user-activated", "Alice", None),
    ]
    assert events(security_log) == [
        {"event": name, "user_id": "1", "command": "registration create-user"}
        for name in ("user_created", "user_activated")
    ]
    user = row(site)
    assert {
        name: user[name]
        for name in ("username", "username_key", "email", "first_name", "last_name")
    } == {
        "username": "Alice",
        "username_key": "alice",
        "email": "alice@example.com",
        "first_name": "Alice",
        "last_name": "",
    }
    assert (user["is_verified"], user["is_active"], site.outbox) == (True, True, [])
    assert has_password(site, PASSWORD)


def test_create_user_asks_for_the_password_twice_and_shows_nothing(site: Site) -> None:
    result = run(site, *CREATE, typed=f"alice@example.com\n{PASSWORD}\n{PASSWORD}\n")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "Created Alice (id 1).")
    assert "too easy to guess" in result.stderr
    assert PASSWORD not in result.output
    assert has_password(site, PASSWORD)


def test_create_user_unverified_mails_the_link(site: Site) -> None:
    with site.hears(*ALL_SIGNALS) as heard:
        told = done(site, *CREATE, STDIN, "--unverified", typed=PASSWORD)
    assert told == "Created Alice (id 1). A verification link goes to alice@example.com."
    assert [each["signal"] for each in heard] == ["user-registered"]
    assert not has_password(site, PASSWORD)
    assert site.verify().status_code == 200
    assert has_password(site, PASSWORD)


def test_create_user_unverified_without_a_mail_waits_for_verify(site: Site) -> None:
    told = done(site, *CREATE, STDIN, "--unverified", "--no-mail", typed=PASSWORD)
    assert told == "Created Alice (id 1). It is not verified yet."
    assert (site.outbox, has_password(site, PASSWORD)) == ([], False)
    done(site, "verify", "alice")
    assert has_password(site, PASSWORD)


def test_create_user_has_an_option_for_each_column_that_an_account_may_begin_with(
    new_site: NewSite,
) -> None:
    site = new_site(
        define=mixin_and(
            company=lambda: mapped_column(String(10), nullable=False, doc="The company's name."),
            age=lambda: mapped_column(Integer),
            is_admin=lambda: mapped_column(Boolean, default=False),
            role=lambda: mapped_column(
                Enum("reader", "writer", name="role"), comment="What they may do."
            ),
            born=lambda: mapped_column(Date),
            settings=lambda: mapped_column(JSON),
            unverified=lambda: mapped_column(String(5)),
        ),
        USER_PUBLIC_FIELDS=["company"],
    )
    shown = " ".join(done(site, "create-user", "--help").split())
    for option in (
        "--username TEXT The login of the user. [required]",
        "--company TEXT The company's name. [required]",
        "--age INT Sets User.age.",
        "--is-admin / --no-is-admin Sets User.is_admin.",
        "--role [reader|writer] What they may do.",
        "--born YYYY-MM-DD Sets User.born.",
        "--unverified Send a link to verify",
    ):
        assert option in shown
    for column in (
        "id",
        "settings",
        "password-hash",
        "is-active",
        "is-verified",
        "security-stamp",
        "username-key",
    ):
        assert f"--{column} " not in shown
    columns = [
        "--company",
        "Acme",
        "--age",
        "42",
        "--is-admin",
        "--role",
        "writer",
        "--born",
        "1990-02-28",
    ]
    done(site, *CREATE, *columns, STDIN, typed=PASSWORD)
    user = row(site)
    assert [
        user[name] for name in ("company", "age", "is_admin", "role", "born", "unverified")
    ] == [
        "Acme",
        42,
        True,
        "writer",
        date(1990, 2, 28),
        None,
    ]


def test_create_user_tells_all_that_is_wrong_with_the_columns_before_it_asks_for_a_password(
    new_site: NewSite,
) -> None:
    columns: dict[str, Callable[[], Any]] = {
        "company": lambda: mapped_column(String(3)),
        "age": lambda: mapped_column(Integer),
    }
    site = new_site(define=mixin_and(**columns))
    told = refused(
        site, "create-user", "--username", "alice", "--email", "", "--company", "Acme", "--age", "x"
    )
    assert told.splitlines() == [
        "--email: This field may not be blank.",
        "--company: Longer than maximum length 3.",
        "--age: Not a valid integer.",
    ]
    told = refused(site, "create-user", "--username", "al ice", "--email", "nobody")
    assert [line.partition(":")[0] for line in told.splitlines()] == ["--username", "--email"]
    told = refused(site, "create-user", "--username", "\ud800", "--email", "a@example.com")
    assert told == "--username: This text contains unsupported characters."


@pytest.mark.databases
def test_create_user_refuses_what_is_taken(database: str, new_site: NewSite) -> None:
    site = new_site(database)
    member(site)
    assert refused(site, *CREATE, STDIN, typed=PASSWORD).splitlines() == [
        "--username: This username is already in use.",
        "--email: This e-mail address is already in use.",
    ]


def test_create_user_takes_the_place_of_a_registration_that_nobody_verified(
    site: Site, clock: Clock
) -> None:
    site.register("alice", email="squatter@example.com")
    site.outbox.clear()
    clock.advance(8 * 24 * 3600)
    with site.hears(user_deleted, user_registered) as heard:
        done(site, *CREATE, STDIN, typed=PASSWORD)
    assert [(each["signal"], each["user"].email) for each in heard] == [
        ("user-deleted", "squatter@example.com"),
        ("user-registered", "alice@example.com"),
    ]


@each_row("missing", ["--username", "--email"])
def test_create_user_names_what_is_missing(site: Site, missing: str) -> None:
    position = CREATE.index(missing)
    result = run(site, *CREATE[:position], *CREATE[position + 2 :], STDIN, typed=PASSWORD)
    assert (result.exit_code, f"Missing option '{missing}'" in result.stderr) == (2, True)


def test_create_user_makes_no_account_that_nobody_could_verify(new_site: NewSite) -> None:
    site = new_site(REGISTER_VERIFICATION_ENABLED=False)
    told = refused(site, *CREATE, STDIN, "--unverified", typed=PASSWORD)
    setting = "REGISTRATION_REGISTER_VERIFICATION_ENABLED"
    assert told == f"--unverified requires {setting}, which is off."
    with site.hears(*ALL_SIGNALS) as heard:
        done(site, *CREATE, STDIN, typed=PASSWORD)
    assert [each["signal"] for each in heard] == ["user-registered"], "as a registration would"
    site = new_site(define=own_model(email=lambda: mapped_column(String(254), unique=True)))
    told = refused(
        site, "create-user", "--username", "alice", STDIN, "--unverified", typed=PASSWORD
    )
    assert told == "An account without an e-mail address cannot be verified."
    assert (
        done(site, "create-user", "--username", "alice", STDIN, typed=PASSWORD)
        == "Created alice (id 1)."
    )


def test_create_user_works_where_nobody_may_register(new_site: NewSite) -> None:
    flows = [flow for flow in DEFAULT_FLOWS if flow.name != "register"]
    site = new_site(flows=flows)
    done(site, *CREATE, STDIN, typed=PASSWORD)
    assert has_password(site, PASSWORD)


def test_create_user_keeps_nothing_where_the_mail_cannot_be_handed_over(new_site: NewSite) -> None:
    site = new_site(MAIL_DISPATCHER="inline")
    with broken_mail(site):
        result = run(site, *CREATE, STDIN, "--unverified", typed=PASSWORD)
    assert (result.exit_code, site.users()) == (1, [])
    assert "The e-mail could not be sent. Nothing was changed" in result.stderr


def test_create_user_sends_no_mail_to_a_verified_account(site: Site) -> None:
    result = run(site, *CREATE, STDIN, "--no-mail", typed=PASSWORD)
    assert (result.exit_code, site.users()) == (2, [])
    assert "--no-mail requires --unverified" in result.stderr


def test_create_user_asks_for_the_application(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLASK_APP", raising=False)
    result = CliRunner().invoke(registration_cli, ["create-user", "--help"], obj=ScriptInfo())
    assert (result.exit_code, "Could not locate a Flask application" in result.stderr) == (2, True)


# Verify


def add_door(app: Flask) -> None:
    """A login of the application's own, which lets pending people pass."""

    @app.post("/door")
    def door() -> str:
        (alice,) = app.extensions["registration"].users.find("username", "alice")
        flask_login.login_user(alice)
        return "in"


@BOTH_KINDS_OF_SESSION
def test_verify_marks_the_address_as_proven_and_ends_what_came_before(
    new_site: NewSite, database: str, sessions: dict[str, Any], security_log: Log
) -> None:
    site = new_site(database, before=add_door, FOREIGN_LOGINS_ALLOWED=True, **sessions)
    site.register()
    link, reset = site.link(), ask_reset(site)
    squatter = site.app.test_client()
    assert squatter.post("/door").status_code == 200
    assert is_in(squatter)
    forget_mails(site)
    security_log.clear()
    with site.hears(*ALL_SIGNALS) as heard:
        assert done(site, "verify", "alice") == "Verified alice (id 1)."
    assert [(each["signal"], each["user"].is_verified, each["request"]) for each in heard] == [
        ("user-activated", True, None)
    ]
    assert events(security_log) == [
        {"event": "user_activated", "user_id": "1", "command": "registration verify"}
    ]
    assert not is_in(squatter)
    assert (
        site.post("reset-password", {**reset, "password": OTHER_PASSWORD}).get_json()
        == LINK_INVALID
    )
    assert site.verify(link).status_code == 200, "the mailed link may still be opened"
    assert has_password(site, PASSWORD)
    assert mails(site) == []


def test_verify_of_a_verified_account_changes_nothing(site: Site) -> None:
    member(site)
    client, before = log_in(site), row(site)
    with site.hears(*ALL_SIGNALS) as heard:
        told = done(site, "verify", "alice")
        assert told == "alice (id 1) is already verified. Nothing was changed."
    assert (heard, row(site)) == ([], before)
    assert is_in(client)


def test_verify_refuses_a_suspended_account_and_a_model_that_knows_no_verification(
    new_site: NewSite,
) -> None:
    site = new_site()
    site.register()
    site.outbox.clear()
    site.change(site.user(), is_active=False)
    assert refused(site, "verify", "alice") == "This account is suspended. Reactivate it first."
    site = new_site(define=own_model(is_verified=lambda: None), REGISTER_VERIFICATION_ENABLED=False)
    member(site)
    assert "REGISTRATION_USER_VERIFICATION_FLAG_FIELD" in refused(site, "verify", "alice")


# Suspend and reactivate


@pytest.mark.databases
@BOTH_KINDS_OF_SESSION
def test_suspend_ends_sessions_tokens_and_links_for_good(
    new_site: NewSite, database: str, sessions: dict[str, Any], security_log: Log
) -> None:
    site = new_site(database, LOGIN_RETRIEVE_TOKEN=True, **sessions)
    member(site)
    client, token = log_in(site), token_of(site)
    reset, new_address = ask_reset(site), ask_move(site, client, "new@example.com")
    forget_mails(site)
    security_log.clear()
    with site.hears(*ALL_SIGNALS) as heard:
        assert done(site, "suspend", "alice") == "Suspended alice (id 1)."
        assert events(security_log) == [
            {"event": "user_suspended", "user_id": "1", "command": "registration suspend"}
        ]
        assert not is_in(client)
        assert not is_in(site.app.test_client(), token)
        assert not has_password(site, PASSWORD)
        security_log.clear()
        told = done(site, "suspend", "alice")
        assert told == "alice (id 1) is already suspended. Nothing was changed."
        assert events(security_log) == []
        assert done(site, "reactivate", "alice") == "Reactivated alice (id 1)."
        assert events(security_log) == [
            {"event": "user_resumed", "user_id": "1", "command": "registration reactivate"}
        ]
        assert not is_in(client)
        assert not is_in(site.app.test_client(), token)
        assert (
            site.post("reset-password", {**reset, "password": OTHER_PASSWORD}).get_json()
            == LINK_INVALID
        )
        assert site.post("verify-email", new_address).get_json() == LINK_INVALID
        told = done(site, "reactivate", "alice")
        assert told == "alice (id 1) is not suspended. Nothing was changed."
    assert {each["signal"] for each in heard} == {"user-login-failed"}
    assert mails(site) == []
    assert has_password(site, PASSWORD)


def test_reactivate_ends_the_sessions_that_a_suspension_by_sql_left(site: Site) -> None:
    member(site)
    client = log_in(site)
    with site.app.app_context():
        site.db.session.execute(update(site.User).values(is_active=False))
        site.db.session.commit()
    done(site, "reactivate", "alice")
    assert not is_in(client)


def test_reactivate_works_under_its_earlier_name_which_the_help_does_not_list(site: Site) -> None:
    member(site, is_active=False)
    assert done(site, "resume", "alice") == "Reactivated alice (id 1)."
    listed = done(site, "--help")
    assert "reactivate" in listed
    assert "resume" not in listed


def _by_sql(site: Site) -> None:
    with site.app.app_context():
        site.db.session.execute(update(site.User).values(is_active=False))
        site.db.session.commit()
    done(site, "reactivate", "alice")


ADMINISTRATION: dict[str, Callable[[Site], Any]] = {
    "suspend": lambda site: done(site, "suspend", "alice"),
    "reactivate": _by_sql,
    "set-password": lambda site: done(
        site, "set-password", "alice", "--password-stdin", typed=OTHER_PASSWORD
    ),
    "is_active": lambda site: site.change(site.user(), is_active=False),
    "is_verified": lambda site: site.change(site.user(), is_verified=False),
    "email": lambda site: site.change(site.user(), email="third@example.com"),
}


@pytest.mark.databases
@each_row("act", ADMINISTRATION.values(), ids=list(ADMINISTRATION))
def test_what_an_administrator_does_ends_the_link_that_undoes_a_move(
    database: str, new_site: NewSite, act: Callable[[Site], Any]
) -> None:
    site = new_site(database)
    member(site)
    client = log_in(site)
    undo = move(site, client, "new@example.com")
    act(site)
    site.change(site.user(), is_active=True, is_verified=True)
    assert not is_in(client)
    before = row(site)
    assert site.post("undo-email-change", undo).get_json() == LINK_INVALID
    assert row(site) == before


@each_row("name", ["suspend", "reactivate"])
def test_a_model_without_is_active_has_only_active_accounts(new_site: NewSite, name: str) -> None:
    site = new_site(define=own_model())
    member(site)
    told = refused(site, name, "alice")
    assert told == "User has no column is_active, so no account can be suspended."


# Another password


@BOTH_KINDS_OF_SESSION
def test_set_password_ends_everything_and_tells_the_owner(
    new_site: NewSite, database: str, sessions: dict[str, Any], security_log: Log
) -> None:
    site = new_site(database, LOGIN_RETRIEVE_TOKEN=True, **sessions)
    member(site)
    client, token, reset = log_in(site), token_of(site), ask_reset(site)
    forget_mails(site)
    security_log.clear()
    with site.hears(*ALL_SIGNALS) as heard:
        told = done(site, "set-password", "alice", "--password-stdin", typed=f"{OTHER_PASSWORD}\n")
    assert told == "Set the password of alice (id 1)."
    assert [(each["signal"], each["user"].username, each["request"]) for each in heard] == [
        ("user-reset-password", "alice", None)
    ]
    assert events(security_log) == [
        {"event": "authn_password_reset", "user_id": "1", "command": "registration set-password"}
    ]
    assert mails(site) == [("alice@example.com", "Your password for example.com was changed")]
    assert not is_in(client)
    assert not is_in(site.app.test_client(), token)
    assert site.post("reset-password", {**reset, "password": PASSWORD}).get_json() == LINK_INVALID
    assert not has_password(site, PASSWORD)
    assert has_password(site, OTHER_PASSWORD)


def test_set_password_asks_twice_and_shows_nothing(site: Site) -> None:
    member(site)
    typed = ["password", OTHER_PASSWORD, "another one", OTHER_PASSWORD, OTHER_PASSWORD]
    result = run(site, "set-password", "alice", typed="\n".join(typed) + "\n")
    assert result.exit_code == 0
    weak, differ = result.stderr.splitlines()
    assert "common password" in weak
    assert differ == "The two passwords do not match."
    assert result.stdout.splitlines()[-1] == "Set the password of alice (id 1)."
    assert not any(each in result.output for each in typed if " " in each)
    assert has_password(site, OTHER_PASSWORD)


@each_row(
    ("typed", "says"),
    [
        ("alice@example.com\n", "This password is too easy to guess"),
        ("short", "Use at least 8 characters."),
        ("x" * 257, "Use at most 256 characters."),
        ("", "Pass the password as a single line on stdin."),
        ("two lines\nof words\n", "Pass the password as a single line on stdin."),
        (f"{OTHER_PASSWORD}\0", "This text contains unsupported characters."),
    ],
    ids=["made of the account", "too short", "too long", "none", "two", "nul"],
)
def test_set_password_refuses_what_the_api_would(site: Site, typed: str, says: str) -> None:
    member(site)
    assert says in refused(site, "set-password", "alice", "--password-stdin", typed=typed)


def test_set_password_refuses_what_is_no_text(site: Site) -> None:
    member(site)
    result = site.app.test_cli_runner().invoke(
        registration_cli, ["set-password", "alice", "--password-stdin"], input=b"\xff\xfe\xff\xfe"
    )
    assert (result.exit_code, result.stderr) == (1, "The password on stdin is not UTF-8.\n")


def test_no_password_is_taken_as_an_argument_where_everybody_could_read_it(site: Site) -> None:
    member(site)
    for name in ("set-password", "create-user"):
        options = [
            each
            for each in registration_cli.commands[name].params
            if "password" in (each.name or "")
        ]
        assert [(each.name, getattr(each, "is_flag", None)) for each in options] == [
            ("password_stdin", True)
        ]


def test_set_password_of_a_pending_or_suspended_account_leaves_it_so(new_site: NewSite) -> None:
    site = new_site(PREVENT_ENUMERATION=False)
    site.register()
    link = site.link()
    site.change(site.user(), is_active=False)
    before = row(site)
    done(site, "set-password", "alice", "--password-stdin", typed=OTHER_PASSWORD)
    assert changed(before, row(site)) == {"password_hash", "security_stamp"}
    done(site, "reactivate", "alice")
    assert site.verify(link).get_json() == LINK_INVALID, "it is of before"
    assert (
        site.post("login", {"login": "alice", "password": OTHER_PASSWORD}).get_json()["code"]
        == "not-verified"
    )


def test_set_password_lets_the_owner_try_again_at_once(new_site: NewSite) -> None:
    site = new_site(THROTTLES={"login": {"account": "2/hour"}}, config={"RATELIMIT_ENABLED": True})
    member(site)
    for _ in range(3):
        reply = site.post("login", {"login": "alice", "password": "wrong"})
    assert reply.status_code == 429
    done(site, "set-password", "alice", "--password-stdin", typed=OTHER_PASSWORD)
    assert has_password(site, OTHER_PASSWORD)


def test_set_password_keeps_the_old_one_where_the_owner_cannot_be_told(new_site: NewSite) -> None:
    site = new_site(MAIL_DISPATCHER="inline")
    member(site)
    before = row(site)
    with broken_mail(site), site.hears(user_reset_password) as heard:
        result = run(site, "set-password", "alice", "--password-stdin", typed=OTHER_PASSWORD)
    assert (result.exit_code, heard, row(site)) == (1, [], before)
    assert "The e-mail could not be sent. Nothing was changed" in result.stderr


# When others are at it


def race(site: Site, change: Callable[[], None], times: int = 1) -> Callable[[], int]:
    """Call a function before a command writes to the users. Return a counter of the calls."""
    happened = 0

    def interfere(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        nonlocal happened
        if statement.startswith("UPDATE users") and happened < times:
            happened += 1
            change()

    with site.app.app_context():
        event.listen(site.db.engine, "before_cursor_execute", interfere)
    return lambda: happened


@each_on_account
def test_an_account_that_its_owner_changes_at_that_moment_is_looked_at_again(
    new_site: NewSite, postgresql_url: str, name: str
) -> None:
    site = new_site(postgresql_url)
    member(site)
    site.change(site.user(), is_active=name != "reactivate", is_verified=name != "verify")

    def change() -> None:
        with site.db.engine.connect() as other:
            stamp = "f0000000000000000000000000000000"
            other.exec_driver_sql(f"update users SET security_stamp = '{stamp}', last_name = 'L'")
            other.commit()

    happened = race(site, change)
    options, typed = ON_ACCOUNT[name]
    done(site, name, "alice", *options, typed=typed)
    assert happened() == 1
    assert row(site)["last_name"] == "L"
    assert row(site)["is_active"] is (name != "suspend")
    assert row(site)["is_verified"] is True


def test_an_account_that_others_change_all_the_time_is_left_alone(
    new_site: NewSite, postgresql_url: str
) -> None:
    site = new_site(postgresql_url)
    member(site)
    numbers = iter(range(100))

    def change() -> None:
        with site.db.engine.connect() as other:
            other.exec_driver_sql(f"update users SET security_stamp = '{next(numbers)}'")
            other.commit()

    race(site, change, times=100)
    result = run(site, "suspend", "alice")
    assert (result.exit_code, row(site)["is_active"]) == (1, True)
    assert "Other requests are changing this account. Try again." in result.stderr


def test_an_account_that_is_deleted_at_that_moment_is_told(
    new_site: NewSite, postgresql_url: str
) -> None:
    site = new_site(postgresql_url)
    member(site)

    def delete() -> None:
        with site.db.engine.connect() as other:
            other.exec_driver_sql("DELETE FROM users")
            other.commit()

    race(site, delete)
    result = run(site, "suspend", "alice")
    assert (result.exit_code, result.stderr) == (1, "This account was just deleted.\n")


def test_without_a_terminal_the_way_to_give_a_password_is_told(site: Site) -> None:
    member(site)
    for call in (
        ["set-password", "alice"],
        ["create-user", "--username", "bob", "--email", "bob@example.com"],
    ):
        for typed in ("", "correct horse battery staple and more"):
            assert refused(site, *call, typed=typed).splitlines()[-1] == (
                "There is no terminal for a prompt. Pipe the password in with --password-stdin."
            )


@each_on_account
def test_an_empty_name_names_nobody(site: Site, name: str) -> None:
    options, typed = ON_ACCOUNT[name]
    for named in ([""], ["--id", ""], ["", "--id", ""]):
        result = run(site, name, *named, *options, typed=typed)
        assert (
            result.exit_code,
            "Select the account, either by LOGIN or by --id." in result.stderr,
        ) == (2, True)


# When it cannot work


#: A call of every command that needs the database.
CALLS = [
    *([name, "alice", *options] for name, (options, _) in ON_ACCOUNT.items()),
    ["create-user", "--username", "alice", "--email", "alice@example.com", "--password-stdin"],
    ["purge"],
    ["purge", "--dry-run"],
    ["send-mail"],
    ["status"],
    ["retry-mail", "1"],
]
each_call = each_row("call", CALLS, ids=" ".join)


@pytest.mark.databases
@each_row("call", CALLS, ids=" ".join, anew=True)
def test_tables_that_are_missing_are_told_with_the_cure(
    call: list[str], new_site: NewSite, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    site = new_site(database, **OUTBOX)
    with site.app.app_context():
        site.db.drop_all()
    result = run(site, *call, typed=OTHER_PASSWORD)
    assert (result.exit_code, result.stdout, caplog.records) == (1, "", [])
    assert result.stderr.splitlines() == [
        "Table users is missing in the database. Its rows cannot be stored.",
        "Table outbox is missing in the database. Its rows cannot be stored.",
        "  -> Run your migrations, for example `flask db upgrade` "
        "(or db.create_all() for a missing table).",
    ]


@each_call
def test_a_database_that_does_not_answer_is_told_with_the_cure(
    call: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    url = f"postgresql+psycopg://somebody:secret@127.0.0.1:{port}/nowhere"
    app = Flask("nowhere")
    app.config.update(CONFIG, SQLALCHEMY_DATABASE_URI=url, REGISTRATION_MAIL_DISPATCHER="outbox")
    db = SQLAlchemy(app)
    Mail(app)
    Registration(app, user_model=define_user(db), models=[define_outbox(db)])
    result = app.test_cli_runner().invoke(registration_cli, call, input=OTHER_PASSWORD)
    assert (result.exit_code, result.stdout, caplog.records) == (1, "", [])
    problem, hint = result.stderr.splitlines()
    assert f"somebody:***@127.0.0.1:{port}/nowhere, but the connection failed: " in problem
    assert hint == "  -> Start the database, or correct SQLALCHEMY_DATABASE_URI."


def test_what_else_the_database_says_is_told_in_one_line(site: Site) -> None:
    @event.listens_for(site.User, "before_insert")
    def refuse(mapper: Any, connection: Any, user: Any) -> None:
        raise ProgrammingError(
            "INSERT", {"password_hash": user.password_hash}, Exception("no right to\ndo that")
        )

    says = refused(site, *CALLS[len(ON_ACCOUNT)], typed=OTHER_PASSWORD)
    assert says == "Database error: no right to"


@each_row("days", ["-1", "36501", "999999999"])
def test_purge_keeps_no_longer_than_there_are_dates(site: Site, days: str) -> None:
    result = run(site, "purge", "--older-than", days)
    assert (result.exit_code, "is not in the range" in result.stderr) == (2, True)
    done(site, "purge", "--older-than", "36500")


def test_an_application_without_registration_is_told() -> None:
    result = Flask(__name__).test_cli_runner().invoke(registration_cli, ["suspend", "alice"])
    assert (result.exit_code, result.stderr) == (
        1,
        "This application has no Registration. Call registration.init_app(app).\n",
    )
