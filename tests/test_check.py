"""``flask registration check``: its findings, its output and its exit status."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask.cli import ScriptInfo
from flask_wtf import CSRFProtect
from pwdlib.hashers.argon2 import Argon2Hasher
from pwdlib.hashers.bcrypt import BcryptHasher
from sqlalchemy import Index, String, create_engine, func, text
from sqlalchemy.orm import mapped_column

from flask_registration import DEFAULT_FLOWS
from flask_registration.cli.base import registration_cli
from flask_registration.flows import login

from .outboxes import OUTBOX
from .people import define_login
from .site import PASSWORD, Site, own_model
from .smtp import (
    SMTPServer,
    make_certificate,
    no_server,
    scripted_server,
    silent_server,
    smtp_server,
)
from .tables import each_row

pytestmark = pytest.mark.databases

NewSite = Callable[..., Site]

KEY = "b2f0c1d8e7a64953" * 4
SAFE = {
    "TESTING": False,
    "SECRET_KEY": KEY,
    "SESSION_COOKIE_SECURE": True,
    "SESSION_COOKIE_SAMESITE": "Lax",
    "REMEMBER_COOKIE_SECURE": True,
    "REMEMBER_COOKIE_SAMESITE": "Lax",
    "RATELIMIT_ENABLED": True,
    "RATELIMIT_STORAGE_URI": "redis://127.0.0.1:1",  # which nobody asks
}
SAFE_SETTINGS = {"PASSWORD_HASHER": None, "PASSWORD_MIN_LENGTH": 15}


@pytest.fixture
def safe_site(new_site: NewSite) -> NewSite:
    """Make an application in which there is nothing to find."""

    def make(*args: Any, config: dict[str, Any] | None = None, **kwargs: Any) -> Site:
        chosen = {
            "config": {**SAFE, **(config or {})},
            "login_model": define_login,
            **SAFE_SETTINGS,
            **kwargs,
        }
        return new_site(*args, **chosen)

    return make


def check(site: Site, *options: str, **environment: str) -> Result:
    return CliRunner(env=environment).invoke(
        registration_cli,
        ["check", *options],
        obj=ScriptInfo(create_app=lambda: site.app, set_debug_flag=False),
    )


def found(site: Site, *options: str) -> dict[str, tuple[str, str]]:
    """Level and text of each finding, by its subject."""
    findings = json.loads(check(site, "--json", "--strict", *options).output)
    keys = {"level", "id", "subject", "problem", "hint"}
    assert all(each.keys() == keys and all(each.values()) for each in findings)
    return {
        each["subject"]: (each["level"], f"{each['problem']} -> {each['hint']}")
        for each in findings
    }


def test_where_nothing_is_wrong_it_says_so(safe_site: NewSite) -> None:
    result = check(safe_site(), "--strict", "--database")
    assert result.exit_code == 0
    assert result.output == "No problems found.\n"
    assert found(safe_site()) == {}


PLAIN = "http://example.com/verify-registration/"


FINDINGS = [
    pytest.param({"SECRET_KEY": "dev"}, {}, "warning", "SECRET_KEY", "3 bytes", id="a short key"),
    pytest.param(
        {"SECRET_KEY": b"x" * 16 + b"y" * 16},
        {},
        "warning",
        "SECRET_KEY",
        "only 2",
        id="a poor key",
    ),
    pytest.param(
        {"SECRET_KEY_FALLBACKS": [KEY, "old"]},
        {},
        "warning",
        "SECRET_KEY_FALLBACKS",
        "a key of 3",
        id="an old key",
    ),
    pytest.param({"DEBUG": True}, {}, "warning", "DEBUG", "without --debug", id="debug"),
    pytest.param({"TESTING": True}, {}, "warning", "TESTING", "No e-mail is sent", id="testing"),
    pytest.param(
        {"REGISTRATION_REGISTER_VERIFICATION_URL": PLAIN},
        {},
        "warning",
        "REGISTRATION_REGISTER_VERIFICATION_URL",
        '= "https://example.com/verify-registration/"',
        id="a link over http",
    ),
    pytest.param(
        {"SESSION_COOKIE_SECURE": False, "REMEMBER_COOKIE_SECURE": False},
        {},
        "warning",
        "SESSION_COOKIE_SECURE, REMEMBER_COOKIE_SECURE",
        "SESSION_COOKIE_SECURE = True; REMEMBER_COOKIE_SECURE = True",
        id="cookies without Secure",
    ),
    pytest.param(
        {"SESSION_COOKIE_HTTPONLY": False},
        {},
        "warning",
        "SESSION_COOKIE_HTTPONLY",
        "script",
        id="without HttpOnly",
    ),
    pytest.param(
        {"REMEMBER_COOKIE_HTTPONLY": False},
        {},
        "warning",
        "REMEMBER_COOKIE_HTTPONLY",
        "= True",
        id="nor the other",
    ),
    pytest.param(
        {"REMEMBER_COOKIE_SAMESITE": None},
        {},
        "warning",
        "REMEMBER_COOKIE_SAMESITE",
        '"Lax"',
        id="without SameSite",
    ),
    pytest.param(
        {"SESSION_COOKIE_SAMESITE": "None"},
        {},
        "note",
        "SESSION_COOKIE_SAMESITE",
        "another site",
        id="SameSite=None",
    ),
    pytest.param(
        {"RATELIMIT_ENABLED": False},
        {},
        "warning",
        "REGISTRATION_THROTTLES",
        "RATELIMIT_ENABLED is",
        id="no limits",
    ),
    pytest.param(
        {}, {"THROTTLES": False}, "warning", "REGISTRATION_THROTTLES", "is False", id="none wanted"
    ),
    pytest.param(
        {"RATELIMIT_STORAGE_URI": "memory://"},
        {},
        "warning",
        "RATELIMIT_STORAGE_URI",
        "redis://",
        id="memory",
    ),
    pytest.param(
        {"MAIL_SUPPRESS_SEND": True},
        {},
        "warning",
        "MAIL_SUPPRESS_SEND",
        "No e-mail is sent",
        id="suppressed mail",
    ),
    pytest.param(
        {"MAIL_SERVER": "mx.example.com"}, {}, "warning", "MAIL_USE_TLS", "587", id="mail in clear"
    ),
    pytest.param(
        {"MAIL_SERVER": "mx.example.com", "MAIL_USE_TLS": True},
        {"MAIL_VERIFY_TLS": False},
        "warning",
        "REGISTRATION_MAIL_VERIFY_TLS",
        "pose as",
        id="any certificate",
    ),
    pytest.param(
        {},
        {"MAIL_LIMITS": None},
        "warning",
        "REGISTRATION_MAIL_LIMITS",
        "any number",
        id="no limits of e-mails",
    ),
    pytest.param(
        {},
        {"PREVENT_ENUMERATION": False},
        "warning",
        "REGISTRATION_PREVENT_ENUMERATION",
        "= True",
        id="enumeration",
    ),
    pytest.param(
        {},
        {"REGISTER_VERIFICATION_ENABLED": False},
        "warning",
        "REGISTRATION_REGISTER_VERIFICATION_ENABLED",
        "another person's e-mail address",
        id="no verification",
    ),
    pytest.param(
        {},
        {"RESET_PASSWORD_FAIL_WHEN_USER_NOT_FOUND": True},
        "warning",
        "REGISTRATION_RESET_PASSWORD_FAIL_WHEN_USER_NOT_FOUND",
        "= False",
        id="a reset that tells",
    ),
    pytest.param(
        {},
        {"RESET_PASSWORD_VERIFICATION_PERIOD": 86401},
        "warning",
        "REGISTRATION_RESET_PASSWORD_VERIFICATION_PERIOD",
        "86401 seconds",
        id="more than a day",
    ),
    pytest.param(
        {},
        {"RESET_PASSWORD_VERIFICATION_ONE_TIME_USE": False},
        "warning",
        "REGISTRATION_RESET_PASSWORD_VERIFICATION_ONE_TIME_USE",
        "again",
        id="more than once",
    ),
    pytest.param(
        {},
        {"PASSWORD_MIN_LENGTH": 7},
        "warning",
        "REGISTRATION_PASSWORD_MIN_LENGTH",
        "= 8",
        id="7 chars",
    ),
    pytest.param(
        {},
        {"PASSWORD_MIN_LENGTH": 8},
        "note",
        "REGISTRATION_PASSWORD_MIN_LENGTH",
        "= 15",
        id="8 chars",
    ),
    pytest.param(
        {},
        {"PASSWORD_MIN_STRENGTH": 2},
        "warning",
        "REGISTRATION_PASSWORD_MIN_STRENGTH",
        "= 3",
        id="weak passwords",
    ),
    pytest.param(
        {},
        {"PASSWORD_HASHER": Argon2Hasher(time_cost=1, memory_cost=19456, parallelism=1)},
        "warning",
        "REGISTRATION_PASSWORD_HASHER",
        "m=19456, t=1",
        id="a weak hash",
    ),
    pytest.param(
        {},
        {"define": own_model(), "USER_LOGIN_FIELDS": ["username"]},
        "warning",
        "User.username",
        "two accounts",
        id="names with capitals",
    ),
    pytest.param(
        {},
        {"login_model": None},
        "note",
        "models",
        "stays valid after the logout",
        id="no login model",
    ),
]


@each_row(("config", "settings", "level", "subject", "says"), FINDINGS)
def test_it_finds(
    safe_site: NewSite,
    config: dict[str, Any],
    settings: dict[str, Any],
    level: str,
    subject: str,
    says: str,
) -> None:
    findings = found(safe_site(config=config, **settings))
    assert list(findings) == [subject]
    assert findings[subject][0] == level
    assert says in findings[subject][1]


def test_it_finds_that_csrf_protection_refuses_all_requests(safe_site: NewSite) -> None:
    site = safe_site()
    csrf = CSRFProtect(site.app)
    assert site.post("logout", {}).status_code == 400
    findings = found(site)
    assert list(findings) == ["CSRFProtect"]
    assert 'csrf.exempt(app.blueprints["registration"])' in findings["CSRFProtect"][1]
    csrf.exempt(site.app.blueprints["registration"])
    assert site.post("logout", {}).status_code == 401
    assert found(site) == {}


@each_row("setting", ["WTF_CSRF_ENABLED", "WTF_CSRF_CHECK_DEFAULT"])
def test_csrf_protection_that_is_off_is_not_found(safe_site: NewSite, setting: str) -> None:
    site = safe_site(config={setting: False})
    CSRFProtect(site.app)
    assert found(site) == {}


@each_row("variable", ["AWS_LAMBDA_FUNCTION_NAME", "K_SERVICE", "VERCEL"])
def test_it_finds_a_host_that_stops_the_process_after_the_response(
    safe_site: NewSite, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "shop")
    findings = found(safe_site())
    assert list(findings) == ["REGISTRATION_MAIL_DISPATCHER"]
    assert "stops the process after the response" in findings["REGISTRATION_MAIL_DISPATCHER"][1]
    assert found(safe_site(MAIL_DISPATCHER="inline")) == {}


@each_row(
    ("config", "settings"),
    [
        pytest.param(
            {
                "DEBUG": True,
                "REGISTRATION_REGISTER_VERIFICATION_URL": PLAIN,
                "SESSION_COOKIE_SECURE": False,
                "RATELIMIT_STORAGE_URI": "memory://",
            },
            {},
            id="http, where one develops",
        ),
        *(
            pytest.param(
                {"REGISTRATION_REGISTER_VERIFICATION_URL": f"http://{host}/verify/"}, {}, id=host
            )
            for host in ("localhost:3000", "127.0.0.2", "[::1]", "shop.localhost", "LOCALHOST.")
        ),
        pytest.param(
            {"MAIL_SERVER": "mx.example.com", "MAIL_USE_SSL": True}, {}, id="mail over TLS"
        ),
        pytest.param(
            {"SESSION_COOKIE_SECURE": False, "SESSION_COOKIE_SAMESITE": None},
            {"LOGIN_AUTHENTICATE_SESSION": False, "LOGIN_RETRIEVE_TOKEN": True},
            id="cookies, where there are none",
        ),
        pytest.param(
            {},
            {"REGISTER_FLOW_ENABLED": False, "PREVENT_ENUMERATION": False},
            id="registering, where nobody may",
        ),
        pytest.param(
            {},
            {
                "RESET_PASSWORD_VERIFICATION_ENABLED": False,
                "RESET_PASSWORD_VERIFICATION_PERIOD": 10**6,
                "flows": [each for each in DEFAULT_FLOWS if each.name != "undo_email_change"],
            },
            id="resets, where there are none",
        ),
        pytest.param({}, {"PASSWORD_HASHER": BcryptHasher(rounds=4)}, id="a hash of another make"),
        pytest.param(
            {},
            {"PASSWORD_VALIDATORS": [], "PASSWORD_MIN_LENGTH": 1, "PASSWORD_MIN_STRENGTH": 0},
            id="rules of one's own",
        ),
        pytest.param({}, {"flows": [login.flow]}, id="flows that are not there"),
        pytest.param(
            {},
            {
                "define": own_model(
                    username=lambda: mapped_column(String(40, collation="NOCASE"), unique=True)
                )
            },
            id="a collation",
        ),
    ],
)
def test_it_does_not_nag_about(
    safe_site: NewSite, config: dict[str, Any], settings: dict[str, Any]
) -> None:
    assert [
        subject for subject in found(safe_site(config=config, **settings)) if subject != "DEBUG"
    ] == []


def test_it_warns_of_an_undo_after_which_no_password_can_be_chosen(safe_site: NewSite) -> None:
    name = "REGISTRATION_RESET_PASSWORD_VERIFICATION_ENABLED"
    level, finding = found(safe_site(RESET_PASSWORD_VERIFICATION_ENABLED=False))[name]
    assert level == "warning"
    assert "set-password" in finding


def test_an_index_that_ignores_case_will_do(safe_site: NewSite) -> None:
    def define(db: Any) -> Any:
        model = own_model()(db)
        Index("ix_username_key", func.lower(model.username), unique=True)
        return model

    assert found(safe_site(define=define)) == {}


def test_there_may_be_no_mail_at_all(safe_site: NewSite) -> None:
    site = safe_site(flows=[login.flow])
    del site.app.extensions["mail"]
    assert found(site, "--mail") == {}


# What it says


def test_warnings_end_with_0_and_strictly_with_1(safe_site: NewSite) -> None:
    site = safe_site(config={"SECRET_KEY": "dev"}, PASSWORD_MIN_LENGTH=8)
    assert (check(site).exit_code, check(site, "--strict").exit_code) == (0, 1)
    assert "note" not in check(site).output
    site = safe_site(PASSWORD_MIN_LENGTH=8)
    assert check(site, "--strict").exit_code == 0, "a note is none"
    assert "1 note." in check(site, "--strict").output


def test_what_it_says_fits_a_terminal_and_is_ascii(safe_site: NewSite) -> None:
    site = safe_site(
        config={
            "SECRET_KEY": "dev",
            "SESSION_COOKIE_SECURE": False,
            "MAIL_SERVER": "mx.example.com",
        }
    )
    result = check(site, COLUMNS="60")
    assert result.output.isascii()
    assert max(map(len, result.output.splitlines())) <= 60
    assert result.output.splitlines()[-1] == "3 warnings."
    assert result.output.startswith("warning: SECRET_KEY has 3 bytes")
    assert "\n\nwarning: MAIL_USE_TLS is off" in result.output
    assert "\n  -> Set it to the output of python -c 'import secrets;" in result.output
    assert "[registration.W008]\n" in result.output


def test_it_is_coloured_where_there_are_colours(safe_site: NewSite) -> None:
    site = safe_site(config={"SECRET_KEY": "dev"})
    runner = CliRunner()
    result = runner.invoke(
        registration_cli,
        ["check"],
        obj=ScriptInfo(create_app=lambda: site.app, set_debug_flag=False),
        color=True,
    )
    assert "\x1b[33m\x1b[1mwarning\x1b[0m: SECRET_KEY" in result.output
    assert "\x1b" not in check(site).output


def test_no_key_is_ever_printed(safe_site: NewSite) -> None:
    site = safe_site(config={"SECRET_KEY": "zyzzyva", "SECRET_KEY_FALLBACKS": ["abracadabra"]})
    for output in (check(site).output, check(site, "--json").output):
        assert "zyzzyva" not in output
        assert "abracadabra" not in output


# The mail server


def test_a_mail_server_that_answers_gets_no_mail(safe_site: NewSite) -> None:
    with smtp_server() as server:
        assert found(safe_site(config=server.config()), "--mail") == {}
        assert server.deliveries == []


@each_row(
    ("make", "settings", "says"),
    [
        pytest.param(no_server, {}, "ConnectionRefusedError", id="refused"),
        pytest.param(silent_server, {"MAIL_TIMEOUT": 0.2}, "within 0.2 seconds", id="silent"),
        pytest.param(lambda: scripted_server("421 busy\x1b[2K now"), {}, "busy [2K now", id="busy"),
        pytest.param(
            lambda: scripted_server("220 hello", None), {}, "SMTPServerDisconnected", id="hangs up"
        ),
    ],
)
def test_a_mail_server_that_does_not_is_an_error(
    safe_site: NewSite,
    make: Callable[[], AbstractContextManager[SMTPServer]],
    settings: dict[str, Any],
    says: str,
) -> None:
    with make() as server:
        site = safe_site(config=server.config(), **settings)
        assert check(site).exit_code == 0, "nobody asked it"
        result = check(site, "--mail", COLUMNS="200")
    assert result.exit_code == 1
    assert says in " ".join(result.output.split())  # whatever the line breaks
    assert f"error: MAIL_SERVER is localhost, port {server.port}" in result.output


def test_it_says_hello_over_tls_and_logs_in(safe_site: NewSite, tmp_path: Path) -> None:
    context = make_certificate(tmp_path).context()
    config = {"MAIL_USE_TLS": True, "MAIL_USERNAME": "us", "MAIL_PASSWORD": "hunter2"}
    with smtp_server(starttls=context, users={"us": "hunter2"}) as server:
        assert (
            found(safe_site(config=server.config(**config), MAIL_VERIFY_TLS=False), "--mail") == {}
        )
        assert (
            "CERTIFICATE_VERIFY_FAILED"
            in found(safe_site(config=server.config(**config)), "--mail")["MAIL_SERVER"][1]
        )
        config["MAIL_PASSWORD"] = "another one"
        refused = found(safe_site(config=server.config(**config), MAIL_VERIFY_TLS=False), "--mail")[
            "MAIL_SERVER"
        ]
    assert refused[0] == "error"
    assert "SMTPAuthenticationError" in refused[1]
    assert "another one" not in refused[1]


# The database


def execute(site: Site, *statements: str) -> None:
    with site.app.app_context():
        for statement in statements:
            site.db.session.execute(text(statement))
        site.db.session.commit()


def test_a_database_that_has_what_the_models_say(safe_site: NewSite, database: str) -> None:
    site = safe_site(database)
    with site.app.app_context():
        site.registration.create_user(
            username="alice", email="alice@example.com", password=PASSWORD
        )
        site.db.session.commit()
    assert found(site, "--database") == {}


def test_addresses_that_no_look_up_finds(safe_site: NewSite, database: str) -> None:
    site = safe_site(database)
    with site.app.app_context():
        for name in ("alice", "bob"):
            site.registration.create_user(
                username=name, email=f"{name}@example.com", password=PASSWORD
            )
        site.db.session.commit()
    execute(site, "UPDATE users SET email = 'Alice@example.com' WHERE email = 'alice@example.com'")
    level, says = found(site, "--database")["users.email"]
    assert level == "warning"
    assert "has upper-case addresses (rows: 1)" in says


def test_a_table_that_is_not_there(safe_site: NewSite, database: str) -> None:
    site = safe_site(database, **OUTBOX)
    execute(site, "DROP TABLE logins", f"DROP TABLE {site.Outbox.__tablename__}")
    assert [level for level, _ in found(site, "--database").values()] == ["error", "error"]
    assert check(site, "--database").exit_code == 1
    assert check(site).exit_code == 0, "nobody looked"


def test_a_column_that_is_not_there(safe_site: NewSite, database: str) -> None:
    site = safe_site(database)
    execute(site, "ALTER TABLE users DROP COLUMN last_name")
    level, says = found(site, "--database")["Table users"]
    assert level == "error"
    assert "last_name" in says


def test_a_constraint_that_is_not_there(safe_site: NewSite, database: str) -> None:
    site = safe_site(database)
    with site.app.app_context():
        site.db.drop_all()
    columns = ", ".join(
        f"{column.name} {'INTEGER PRIMARY KEY' if column.primary_key else 'VARCHAR(190)'}"
        for column in site.User.__table__.columns
    )
    with site.app.app_context():
        site.db.create_all()
    execute(
        site,
        "DROP TABLE users",
        f"CREATE TABLE users ({columns})",
        "CREATE UNIQUE INDEX ux ON users (email)",
    )
    findings = found(site, "--database")
    assert list(findings) == ["users.username_key"]
    assert findings["users.username_key"][0] == "error"


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
@each_row("fixture", ["sqlite_url", "postgresql_url"])
def test_an_index_of_a_function_that_is_there(
    safe_site: NewSite, request: pytest.FixtureRequest, fixture: str
) -> None:
    def define(db: Any) -> Any:
        model = own_model(username=lambda: mapped_column(String(40), nullable=False))(db)
        Index("ix_username", func.lower(model.username), unique=True)
        return model

    site = safe_site(request.getfixturevalue(fixture), define=define)
    assert found(site, "--database") == {}


def test_users_without_an_address_have_none_with_capitals(safe_site: NewSite) -> None:
    site = safe_site(
        define=own_model(
            email=lambda: mapped_column("mail", String(254)),
            username_key=lambda: mapped_column(String(40), unique=True),
        ),
        USER_EMAIL_FIELD="none",
        flows=[login.flow],
    )
    assert found(site, "--database") == {}


def test_a_server_that_is_not_there_is_named_without_its_password(safe_site: NewSite) -> None:
    with no_server() as server:
        url = f"postgresql+psycopg://us:hunter2@127.0.0.1:{server.port}/accounts"
        site = safe_site()
        with site.app.app_context():
            engines = site.db.engines
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(engines, None, create_engine(url))
            says = found(site, "--database")["SQLALCHEMY_DATABASE_URI"]
    assert says[0] == "error"
    assert "us:***@127.0.0.1" in says[1]
    assert "hunter2" not in says[1]
