"""Users, passwords and settings of other extensions move here, as the pages about that say."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from flask import Flask
from flask.testing import FlaskClient
from flask_mail import Mail
from sqlalchemy import create_engine

from flask_registration import Registration
from flask_registration.cli import registration_cli

from .pages import RunPage, log_in, read

DJANGO = "docs/from-django-rest-registration.md"

#: What Django 5.2 makes of its model.
DJANGO_TABLE = """
CREATE TABLE "auth_user" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "password" varchar(128) NOT NULL,
"last_login" datetime NULL, "is_superuser" bool NOT NULL, "username" varchar(150) NOT NULL UNIQUE,
"last_name" varchar(150) NOT NULL, "email" varchar(254) NOT NULL, "is_staff" bool NOT NULL, "is_active" bool NOT NULL,
"date_joined" datetime NOT NULL, "first_name" varchar(150) NOT NULL)
"""

#: What the hashers of Django 5.2 made, with little work, of PASSWORD.
DJANGO_HASHES = {
    "PBKDF2PasswordHasher": "pbkdf2_sha256$1000$tBPXEM9SXyXq6zaNWUswL7$jsI8nHU+Oe6zkYJEmoiCWjBiJvImLNwXeQOZK4Jii48=",
    "PBKDF2SHA1PasswordHasher": "pbkdf2_sha1$1000$VmJJl4BgBrC6f5vhmgJm55$uk2cLWReSr75yPYNxrR8c8qXSvE=",
    "Argon2PasswordHasher": "argon2$argon2id$v=19$m=8,t=1,p=1$Ym5XUDY0NzVWT0hPZnJUSzR1cFByaA"
    "$gauE9daa9Ex8YXw+4xi5XOBiSjOfWSNhRqz063aGfRo",
    "BCryptPasswordHasher": "bcrypt$$2b$04$/yF9VbbaorNuNwnb1wPdteQndkWusIXnXAYpUCtLIs9vVGH2ZAdTm",
    "ScryptPasswordHasher": "scrypt$16$WQgGR8qHZNb0qtJE1C8qll$8$5"
    "$LPkTR21sLlhD7P0RRYVoTiZ6PP4Nx/RUo3EfTBgtvbVHbYvN+DOLsTaZ1mVHqsJy1RwhLb8B+CcNStZAnxfqXg==",
}
PASSWORD = "correct horse battery staple"

FLASK_SECURITY = "docs/from-flask-security.md"

#: What Flask-Security 5.9 makes of its model fsqla_v3.
FLASK_SECURITY_TABLE = """
CREATE TABLE "user" (fs_webauthn_user_handle VARCHAR(64), mf_recovery_codes TEXT, password VARCHAR(255),
us_phone_number VARCHAR(128), username VARCHAR(255), us_totp_secrets TEXT, id INTEGER NOT NULL,
email VARCHAR(255) NOT NULL, active BOOLEAN NOT NULL, fs_uniquifier VARCHAR(64) NOT NULL, confirmed_at DATETIME,
last_login_at DATETIME, current_login_at DATETIME, last_login_ip VARCHAR(64), current_login_ip VARCHAR(64),
login_count INTEGER, tf_primary_method VARCHAR(64), tf_totp_secret VARCHAR(255), tf_phone_number VARCHAR(128),
create_datetime DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL,
update_datetime DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, PRIMARY KEY (id), UNIQUE (fs_webauthn_user_handle),
UNIQUE (us_phone_number), UNIQUE (username), UNIQUE (email), UNIQUE (fs_uniquifier))
"""
FLASK_SECURITY_SALT = "146585145368132386173505678016728509634"
ACCENTED = "die Brücke im Café"

#: What Flask-Security 5.9 made of the passwords, with little work and that salt.
FLASK_SECURITY_HASHES = {
    "argon2": (
        "$argon2id$v=19$m=8,t=1,p=1$CeF8r/Vei5GyNmbMOQeA8A$LphsMgM810NorvDnevnecN+qWLPHbO4SmiEmY/TgoOU",
        PASSWORD,
    ),
    "argon2.accented": (
        "$argon2id$v=19$m=8,t=1,p=1$SCnl/B8DYEyplZKylvLemw$04Tsva3fp4PF4EbfHtnp2uJtVE05AGkGv3bxOtZbtx4",
        ACCENTED,
    ),
    "bcrypt": ("$2b$04$FJcX7Oq9hFnf4yiN9AU/feHRuZQlJCIptG8P/w65rWMObT.rY/S6q", PASSWORD),
    "bcrypt.accented": ("$2b$04$KmRhmy8dtxwxFF20fzwE/uHeuz3BHNdTSzMsU64QAR/8ONrknu.D6", ACCENTED),
    "pbkdf2_sha512": (
        "$pbkdf2-sha512$25000$YEyJkVKK8V6rdc45pzRmDA"
        "$1uF8UhXiRwfwpZwcfW.XB50B/TmpLdYc3pOwFnBBrAYoXtF8DSmaYVZ0yLMJs4TX3Vr7z9pdRIzBQ9/AwcHVXQ",
        PASSWORD,
    ),
    "pbkdf2_sha512.accented": (
        "$pbkdf2-sha512$25000$DAHgXIvxnnPunZNS6n1PiQ"
        "$Nf542pkRuYD5TQeN5azazovozyYc7gKXLrU6IcGTsyLN56kVodnNO581JvpIojCLzi0FvFP2C36nC1ducpEL7g",
        ACCENTED,
    ),
}

#: With SECURITY_PASSWORD_SINGLE_HASH, of both passwords.
SINGLE_HASHES = {
    "argon2": (
        "$argon2id$v=19$m=8,t=1,p=1$pJRyLsV4T2mtNWYshTBmTA$6gs9fkhBjLsHjk5j9dQvWu/nQKWwXW6MhdvlCEDle7s",
        "$argon2id$v=19$m=8,t=1,p=1$BMC413rP+b83pjSmFKIU4g$wHD0y3/QBiwCH7tcbvQu9rBaRxUbp70C7xjsY8XTLWM",
    ),
    "bcrypt": (
        "$2b$04$kdqGVx6jbJgo/nmH1vWOBeh.r.GGrqlihCXGAdZKzOUr4gu7LVzv6",
        "$2b$04$xEhrEd0KkIEJ0n1WPaquCey5cWd4kisz6SN4AyIV4jDjc5KKVOkd6",
    ),
}


class Moved:
    """An application over a database from before."""

    def __init__(self, page: Any, url: str, **config: Any) -> None:
        self.page = page
        self.app = Flask(__name__)
        self.app.config.update(
            TESTING=True,
            SECRET_KEY="a secret of this machine",
            SQLALCHEMY_DATABASE_URI=url,
            MAIL_DEFAULT_SENDER="no-reply@example.com",
            REGISTRATION_REGISTER_VERIFICATION_URL="https://example.com/verify-registration/",
            **config,
        )
        page.db.init_app(self.app)
        Mail(self.app)
        self.registration = Registration(self.app, user_model=page.User)

    def client(self) -> FlaskClient:
        return self.app.test_client()

    def user(self, email: str) -> Any:
        with self.app.app_context():
            return self.page.db.session.scalars(self.page.db.select(self.page.User).filter_by(email=email)).one()

    def reply(self, login: str, password: str) -> str:
        reply = self.client().post("/accounts/login/", json={"login": login, "password": password})
        return str(reply.get_json().get("code", "let in"))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/before.db"


def before(url: str, table: str, name: str, rows: list[dict[str, Any]]) -> None:
    """Make the table as it was."""
    database = sqlite3.connect(url.removeprefix("sqlite:///"))
    database.execute(table)
    for row in rows:
        marks = ", ".join("?" * len(row))
        database.execute(f'INSERT INTO "{name}" ({", ".join(row)}) VALUES ({marks})', list(row.values()))
    database.commit()
    database.close()


def migrate(page: Any, url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        page.upgrade()
    engine.dispose()


def django_user(name: str, password: str, **fields: Any) -> dict[str, Any]:
    return {
        "username": name,
        "email": f"{name}@Example.com",
        "password": password,
        "is_superuser": False,
        "is_staff": False,
        "is_active": True,
        "first_name": "",
        "last_name": "",
        "date_joined": "2024-01-02 03:04:05.678901",
        **fields,
    }


def test_the_users_of_django_log_in_with_their_passwords(run: RunPage, url: str) -> None:
    page = run(DJANGO)
    rows = [django_user(name, made) for name, made in DJANGO_HASHES.items()]
    rows += [
        django_user("Pending", DJANGO_HASHES["PBKDF2PasswordHasher"], is_active=False),
        django_user("Without", "!KeS0RNc9dA8fa4EZplcblOFl0JzPPGrnauBMASz8"),
        django_user("Old@Style", DJANGO_HASHES["PBKDF2PasswordHasher"], email="old@example.com"),
    ]
    before(url, DJANGO_TABLE, "auth_user", rows)
    migrate(page, url)
    moved = Moved(page, url)
    for name in DJANGO_HASHES:
        assert moved.reply(name, PASSWORD + "!") == "login-invalid"
        assert moved.reply(name.upper(), PASSWORD) == "let in"
        user = moved.user(f"{name}@example.com".lower())
        assert user.password_hash.startswith("$argon2id$v=19$m=19456,"), name
        assert moved.reply(name, PASSWORD) == "let in"
    assert moved.reply("Pending", PASSWORD) == moved.reply("Without", PASSWORD) == "login-invalid"
    fields = {"username": "newcomer", "email": "newcomer@example.com", "password": PASSWORD}
    assert moved.client().post("/accounts/register/", json={**fields, "password_confirm": PASSWORD}).status_code == 201
    assert not moved.user("newcomer@example.com").is_staff
    result = moved.app.test_cli_runner().invoke(registration_cli, ["check", "--database"])
    assert "auth_user" not in result.output
    assert result.exit_code == 0, result.output


def test_a_name_with_an_at_sign_from_django_needs_the_setting(run: RunPage, url: str) -> None:
    page = run(DJANGO)
    row = django_user("old@style", DJANGO_HASHES["PBKDF2PasswordHasher"], email="old@example.com")
    before(url, DJANGO_TABLE, "auth_user", [row])
    migrate(page, url)
    (pattern,) = re.findall(r'`REGISTRATION_USERNAME_PATTERN = r"(.+?)"`', read(DJANGO))
    log_in(Moved(page, url, REGISTRATION_USERNAME_PATTERN=pattern).client(), "old@style", PASSWORD)


def flask_security_user(name: str, password: str | None, **fields: Any) -> dict[str, Any]:
    return {
        "email": f"{name}@example.com",
        "password": password,
        "active": True,
        "fs_uniquifier": uuid4().hex,
        "confirmed_at": "2024-01-02 03:04:05.678901",
        **fields,
    }


def test_the_users_of_flask_security_log_in_with_their_passwords(run: RunPage, url: str) -> None:
    page = run(FLASK_SECURITY)
    rows = [flask_security_user(name, made) for name, (made, _) in FLASK_SECURITY_HASHES.items()]
    rows += [
        flask_security_user("Pending", FLASK_SECURITY_HASHES["argon2"][0], confirmed_at=None),
        flask_security_user("suspended", FLASK_SECURITY_HASHES["argon2"][0], active=False),
        flask_security_user("without", None),
    ]
    before(url, FLASK_SECURITY_TABLE, "user", rows)
    migrate(page, url)
    moved = Moved(page, url, REGISTRATION_PASSWORD_HASHER=page.hashers(FLASK_SECURITY_SALT))
    with moved.app.app_context():
        page.db.create_all()  # roles, which the old database has as well
    for name, (_, password) in FLASK_SECURITY_HASHES.items():
        assert moved.reply(f"{name}@example.com", password + "!") == "login-invalid"
        assert moved.reply(f"{name}@Example.com", password) == "let in", name
        user = moved.user(f"{name}@example.com")
        assert user.password_hash.startswith("$argon2id$v=19$m=19456,"), name
        assert moved.reply(f"{name}@example.com", password) == "let in"
    assert moved.reply("pending@example.com", PASSWORD) == "not-verified"
    assert moved.reply("suspended@example.com", PASSWORD) == "login-invalid"
    assert moved.reply("without@example.com", "!") == "login-invalid"
    fields = {"email": "newcomer@example.com", "password": PASSWORD, "password_confirm": PASSWORD}
    assert moved.client().post("/accounts/register/", json=fields).status_code == 201
    result = moved.app.test_cli_runner().invoke(registration_cli, ["check", "--database"])
    assert result.exit_code == 0, result.output
    assert "HASHER" not in result.output


def test_a_session_of_flask_security_is_none_of_ours(run: RunPage, url: str) -> None:
    page = run(FLASK_SECURITY)
    row = flask_security_user("alice", FLASK_SECURITY_HASHES["argon2"][0])
    before(url, FLASK_SECURITY_TABLE, "user", [row])
    migrate(page, url)
    client = Moved(page, url).client()
    with client.session_transaction() as session:
        session.update({"_user_id": row["fs_uniquifier"], "_fresh": True, "fs_cc": "set", "identity.id": "1"})
    assert client.get("/accounts/profile/").status_code == 401


@pytest.mark.parametrize("scheme", SINGLE_HASHES)
def test_without_the_hmac_hashes_need_no_mark_but_where_letters_have_accents(
    scheme: str, run: RunPage, url: str
) -> None:
    page = run(FLASK_SECURITY)
    rows = [flask_security_user(name, made) for name, made in zip("ab", SINGLE_HASHES[scheme], strict=True)]
    before(url, FLASK_SECURITY_TABLE, "user", rows)
    migrate(page, url)
    database = sqlite3.connect(url.removeprefix("sqlite:///"))
    database.execute("UPDATE user SET password_hash = substr(password_hash, ?)", [len(page.MARK) + 1])
    database.commit()
    database.close()
    moved = Moved(page, url)
    assert moved.reply("a@example.com", PASSWORD) == "let in"
    assert moved.reply("b@example.com", ACCENTED) == "login-invalid"


def test_a_role_lets_in(run: RunPage) -> None:
    page = run(FLASK_SECURITY)
    moved = Moved(page, "sqlite://")
    moved.app.add_url_rule("/desk", view_func=page.roles_required("staff", "admin")(lambda: "The desk"))
    with moved.app.app_context():
        page.db.create_all()
        staff, admin = page.Role(name="staff"), page.Role(name="admin")
        for name, roles in (("alice", [staff, admin]), ("bob", [staff])):
            user = moved.registration.create_user(email=f"{name}@example.com", password=PASSWORD)
            user.roles.extend(roles)
        page.db.session.commit()
        assert moved.client().get("/desk").status_code == 401
    for name, status in (("alice", 200), ("bob", 403)):
        client = moved.client()
        log_in(client, f"{name}@example.com", PASSWORD)
        assert client.get("/desk").status_code == status


def rows_of(page: str) -> list[tuple[list[str], str]]:
    """The rows between the marks: the settings that the first cell names, and the rest."""
    table = read(page).split("<!-- settings -->")[1].split("<!-- /settings -->")[0]
    rows = re.findall(r"^\| (`.+?) \| (.+) \|$", table, re.MULTILINE)
    return [(re.findall(r"`(\w+)`", first), rest) for first, rest in rows]


def test_every_setting_of_django_rest_registration_is_in_the_table() -> None:
    listed = [name for names, _ in rows_of(DJANGO) for name in names]
    assert sorted(listed) == sorted(DJANGO_REST_REGISTRATION.split())


def test_every_setting_of_flask_security_is_in_a_table() -> None:
    listed = [name for names, _ in rows_of(FLASK_SECURITY) for name in names]
    assert sorted(listed) == sorted(FLASK_SECURITY_SETTINGS.split())


def test_every_signal_of_flask_security_is_in_a_table() -> None:
    section = read(FLASK_SECURITY).split("## Signals")[1].split("\n## ")[0]
    cells = [row.split(" | ")[0] for row in re.findall(r"^\| (`.+) \|$", section, re.MULTILINE)]
    assert sorted(re.findall(r"`(\w+)`", " ".join(cells))) == sorted(FLASK_SECURITY_SIGNALS.split())


def test_settings_of_the_same_name_are_those_that_a_function_makes(run: RunPage) -> None:
    page = run(DJANGO)
    for (name,), rest in rows_of(DJANGO):
        (ours,) = page.ours({name: None})
        replaced = ("LOGIN_DEFAULT_SESSION_AUTHENTICATION_BACKEND", "USE_NON_FIELD_ERRORS_KEY_FROM_DRF_SETTINGS")
        if name not in (*replaced, "NOT_AUTHENTICATED_PERMISSION_CLASSES"):
            assert rest.startswith(f"`{ours}` |"), name


#: Every setting of django-rest-registration 0.9.0 (rest_registration/settings_fields.py).
DJANGO_REST_REGISTRATION = """
USER_LOGIN_FIELDS
USER_LOGIN_FIELDS_UNIQUE_CHECK_ENABLED
USER_HIDDEN_FIELDS
USER_PUBLIC_FIELDS
USER_EDITABLE_FIELDS
USER_EMAIL_FIELD
USER_VERIFICATION_ID_FIELD
USER_VERIFICATION_FLAG_FIELD
REGISTER_FLOW_ENABLED
REGISTER_SERIALIZER_CLASS
REGISTER_SERIALIZER_PASSWORD_CONFIRM
REGISTER_OUTPUT_SERIALIZER_CLASS
REGISTER_VERIFICATION_ENABLED
REGISTER_VERIFICATION_EMAIL_SENDER
REGISTER_VERIFICATION_PERIOD
REGISTER_VERIFICATION_URL
REGISTER_VERIFICATION_ONE_TIME_USE
REGISTER_VERIFICATION_EMAIL_TEMPLATES
REGISTER_VERIFICATION_AUTO_LOGIN
LOGIN_SERIALIZER_CLASS
LOGIN_AUTHENTICATOR
LOGIN_AUTHENTICATE_SESSION
LOGIN_RETRIEVE_TOKEN
AUTH_TOKEN_MANAGER_CLASS
LOGIN_DEFAULT_SESSION_AUTHENTICATION_BACKEND
SEND_RESET_PASSWORD_LINK_SERIALIZER_CLASS
SEND_RESET_PASSWORD_LINK_USER_FINDER
SEND_RESET_PASSWORD_LINK_SERIALIZER_USE_EMAIL
RESET_PASSWORD_FAIL_WHEN_USER_NOT_FOUND
RESET_PASSWORD_VERIFICATION_ENABLED
RESET_PASSWORD_VERIFICATION_EMAIL_SENDER
RESET_PASSWORD_VERIFICATION_PERIOD
RESET_PASSWORD_VERIFICATION_URL
RESET_PASSWORD_VERIFICATION_ONE_TIME_USE
RESET_PASSWORD_VERIFICATION_EMAIL_TEMPLATES
RESET_PASSWORD_SERIALIZER_PASSWORD_CONFIRM
REGISTER_EMAIL_SERIALIZER_CLASS
REGISTER_EMAIL_VERIFICATION_ENABLED
REGISTER_EMAIL_VERIFICATION_EMAIL_SENDER
REGISTER_EMAIL_VERIFICATION_PERIOD
REGISTER_EMAIL_VERIFICATION_URL
REGISTER_EMAIL_VERIFICATION_EMAIL_TEMPLATES
VERIFICATION_FROM_EMAIL
VERIFICATION_REPLY_TO_EMAIL
VERIFICATION_EMAIL_HTML_TO_TEXT_CONVERTER
VERIFICATION_URL_BUILDER
VERIFICATION_TEMPLATE_CONTEXT_BUILDER
VERIFICATION_TEMPLATE_RENDERER
VERIFICATION_TEMPLATES_SELECTOR
CHANGE_PASSWORD_SERIALIZER_PASSWORD_CONFIRM
PROFILE_SERIALIZER_CLASS
SUCCESS_RESPONSE_BUILDER
USE_NON_FIELD_ERRORS_KEY_FROM_DRF_SETTINGS
NOT_AUTHENTICATED_PERMISSION_CLASSES
"""

#: Every signal of Flask-Security 5.9 (flask_security/signals.py).
FLASK_SECURITY_SIGNALS = """
user_authenticated
user_unauthenticated
user_failed_authn
user_registered
user_not_registered
user_confirmed
confirm_instructions_sent
login_instructions_sent
password_reset
password_changed
refresh_tracker_created
refresh_tracker_revoked
reset_password_instructions_sent
tf_code_confirmed
tf_profile_changed
tf_security_token_sent
tf_disabled
us_security_token_sent
us_profile_changed
wan_registered
wan_deleted
change_email_instructions_sent
change_email_confirmed
username_recovery_email_sent
username_changed
"""

#: Every setting on the page on configuration of Flask-Security 5.9 (docs/configuration.rst).
FLASK_SECURITY_SETTINGS = """
SECRET_KEY
SECRET_KEY_FALLBACKS
SECURITY_BLUEPRINT_NAME
SECURITY_URL_PREFIX
SECURITY_STATIC_FOLDER
SECURITY_STATIC_FOLDER_URL
SECURITY_SUBDOMAIN
SECURITY_FLASH_MESSAGES
SECURITY_INPUT_NORMALIZE_FORM
SECURITY_I18N_DOMAIN
SECURITY_I18N_DIRNAME
SECURITY_TOKEN_AUTHENTICATION_KEY
SECURITY_TOKEN_AUTHENTICATION_HEADER
SECURITY_TOKEN_MAX_AGE
SECURITY_TOKEN_EXPIRE_TIMESTAMP
SECURITY_CACHE_CONTROL
SECURITY_EMAIL_VALIDATOR_ARGS
SECURITY_DEFAULT_HTTP_AUTH_REALM
SECURITY_REDIRECT_BEHAVIOR
SECURITY_REDIRECT_HOST
SECURITY_REDIRECT_ALLOW_SUBDOMAINS
SECURITY_REDIRECT_BASE_DOMAIN
SECURITY_REDIRECT_ALLOWED_SUBDOMAINS
SECURITY_CSRF_PROTECT_MECHANISMS
SECURITY_CSRF_IGNORE_UNAUTH_ENDPOINTS
SECURITY_CSRF_COOKIE_NAME
SECURITY_CSRF_COOKIE
SECURITY_CSRF_HEADER
SECURITY_CSRF_COOKIE_REFRESH_EACH_REQUEST
SECURITY_SCRIPT_NONCE_KEY
SECURITY_EMAIL_SENDER
SECURITY_USER_IDENTITY_ATTRIBUTES
SECURITY_USER_IDENTITY_MAPPINGS
SECURITY_API_ENABLED_METHODS
SECURITY_DEFAULT_REMEMBER_ME
SECURITY_RETURN_GENERIC_RESPONSES
SECURITY_FRESHNESS
SECURITY_FRESHNESS_GRACE_PERIOD
SECURITY_FRESHNESS_ALLOW_AUTH_TOKEN
SECURITY_PASSWORD_HASH
SECURITY_PASSWORD_SCHEMES
SECURITY_DEPRECATED_PASSWORD_SCHEMES
SECURITY_PASSWORD_SALT
SECURITY_PASSWORD_SINGLE_HASH
SECURITY_HASHING_SCHEMES
SECURITY_DEPRECATED_HASHING_SCHEMES
SECURITY_PASSWORD_HASH_OPTIONS
SECURITY_PASSWORD_HASH_PASSLIB_OPTIONS
SECURITY_PASSWORD_LENGTH_MIN
SECURITY_PASSWORD_COMPLEXITY_CHECKER
SECURITY_ZXCVBN_MINIMUM_SCORE
SECURITY_PASSWORD_CHECK_BREACHED
SECURITY_PASSWORD_BREACHED_COUNT
SECURITY_PASSWORD_NORMALIZE_FORM
SECURITY_PASSWORD_REQUIRED
SECURITY_PASSWORD_CONFIRM_REQUIRED
SECURITY_TOTP_SECRETS
SECURITY_TOTP_ISSUER
SECURITY_SMS_SERVICE
SECURITY_SMS_SERVICE_CONFIG
SECURITY_PHONE_REGION_DEFAULT
SECURITY_ANONYMOUS_USER_DISABLED
SECURITY_BACKWARDS_COMPAT_AUTH_TOKEN
SECURITY_DATETIME_FACTORY
SECURITY_CONFIRM_SALT
SECURITY_RESET_SALT
SECURITY_LOGIN_SALT
SECURITY_REMEMBER_SALT
SECURITY_TWO_FACTOR_VALIDITY_SALT
SECURITY_US_SETUP_SALT
SECURITY_WAN_SALT
SECURITY_REFRESH_TOKEN_SALT
SECURITY_TWO_FACTOR_SETUP_SALT
SECURITY_EMAIL_CHANGE_SALT
SECURITY_EMAIL_PLAINTEXT
SECURITY_EMAIL_HTML
SECURITY_CLI_USERS_NAME
SECURITY_CLI_ROLES_NAME
SECURITY_JOIN_USER_ROLES
SECURITY_LOGIN_URL
SECURITY_LOGOUT_URL
SECURITY_LOGOUT_METHODS
SECURITY_POST_LOGIN_VIEW
SECURITY_POST_LOGOUT_VIEW
SECURITY_UNAUTHORIZED_VIEW
SECURITY_LOGIN_USER_TEMPLATE
SECURITY_LOGOUT_USER_TEMPLATE
SECURITY_LOGOUT_CSRF
SECURITY_VERIFY_URL
SECURITY_VERIFY_TEMPLATE
SECURITY_POST_VERIFY_URL
SECURITY_REGISTERABLE
SECURITY_SEND_REGISTER_EMAIL
SECURITY_EMAIL_SUBJECT_REGISTER
SECURITY_REGISTER_USER_TEMPLATE
SECURITY_POST_REGISTER_VIEW
SECURITY_REGISTER_URL
SECURITY_USERNAME_ENABLE
SECURITY_REGISTER_EMAIL_TEMPLATE
SECURITY_REGISTER_EMAIL_EXISTING_USERNAME_TEMPLATE
SECURITY_REGISTER_EMAIL_EXISTING_TEMPLATE
SECURITY_USERNAME_REQUIRED
SECURITY_USERNAME_ALLOWED_CHARS
SECURITY_USERNAME_MIN_LENGTH
SECURITY_USERNAME_MAX_LENGTH
SECURITY_USE_REGISTER_V2
SECURITY_CONFIRMABLE
SECURITY_CONFIRM_EMAIL_WITHIN
SECURITY_CONFIRM_URL
SECURITY_SEND_CONFIRMATION_TEMPLATE
SECURITY_EMAIL_SUBJECT_CONFIRM
SECURITY_EMAIL_TEMPLATE_CONFIRM
SECURITY_CONFIRM_ERROR_VIEW
SECURITY_POST_CONFIRM_VIEW
SECURITY_AUTO_LOGIN_AFTER_CONFIRM
SECURITY_LOGIN_WITHOUT_CONFIRMATION
SECURITY_REQUIRES_CONFIRMATION_ERROR_VIEW
SECURITY_CHANGEABLE
SECURITY_CHANGE_URL
SECURITY_POST_CHANGE_VIEW
SECURITY_CHANGE_PASSWORD_TEMPLATE
SECURITY_SEND_PASSWORD_CHANGE_EMAIL
SECURITY_EMAIL_SUBJECT_PASSWORD_CHANGE_NOTICE
SECURITY_EMAIL_TEMPLATE_PASSWORD_CHANGE_NOTICE
SECURITY_RECOVERABLE
SECURITY_RESET_URL
SECURITY_RESET_PASSWORD_TEMPLATE
SECURITY_FORGOT_PASSWORD_TEMPLATE
SECURITY_POST_RESET_VIEW
SECURITY_RESET_VIEW
SECURITY_AUTO_LOGIN_AFTER_RESET
SECURITY_RESET_ERROR_VIEW
SECURITY_RESET_PASSWORD_WITHIN
SECURITY_SEND_PASSWORD_RESET_EMAIL
SECURITY_SEND_PASSWORD_RESET_NOTICE_EMAIL
SECURITY_EMAIL_SUBJECT_PASSWORD_RESET
SECURITY_EMAIL_TEMPLATE_PASSWORD_RESET
SECURITY_EMAIL_SUBJECT_PASSWORD_NOTICE
SECURITY_EMAIL_TEMPLATE_PASSWORD_RESET_NOTICE
SECURITY_CHANGE_EMAIL
SECURITY_CHANGE_EMAIL_SUBJECT
SECURITY_CHANGE_EMAIL_EMAIL_TEMPLATE
SECURITY_CHANGE_EMAIL_TEMPLATE
SECURITY_CHANGE_EMAIL_WITHIN
SECURITY_POST_CHANGE_EMAIL_VIEW
SECURITY_CHANGE_EMAIL_ERROR_VIEW
SECURITY_CHANGE_EMAIL_URL
SECURITY_CHANGE_EMAIL_CONFIRM_URL
SECURITY_TWO_FACTOR
SECURITY_TWO_FACTOR_REQUIRED
SECURITY_TWO_FACTOR_ENABLED_METHODS
SECURITY_TWO_FACTOR_AUTHENTICATOR_VALIDITY
SECURITY_TWO_FACTOR_MAIL_VALIDITY
SECURITY_TWO_FACTOR_SMS_VALIDITY
SECURITY_TWO_FACTOR_SETUP_WITHIN
SECURITY_TWO_FACTOR_RESCUE_MAIL
SECURITY_EMAIL_SUBJECT_TWO_FACTOR
SECURITY_EMAIL_SUBJECT_TWO_FACTOR_RESCUE
SECURITY_TWO_FACTOR_VERIFY_CODE_TEMPLATE
SECURITY_TWO_FACTOR_SETUP_TEMPLATE
SECURITY_TWO_FACTOR_SETUP_URL
SECURITY_TWO_FACTOR_TOKEN_VALIDATION_URL
SECURITY_TWO_FACTOR_RESCUE_URL
SECURITY_TWO_FACTOR_SELECT_URL
SECURITY_TWO_FACTOR_EMAIL_TEMPLATE
SECURITY_TWO_FACTOR_ERROR_VIEW
SECURITY_TWO_FACTOR_POST_SETUP_VIEW
SECURITY_TWO_FACTOR_SELECT_TEMPLATE
SECURITY_TWO_FACTOR_ALWAYS_VALIDATE
SECURITY_TWO_FACTOR_LOGIN_VALIDITY
SECURITY_TWO_FACTOR_VALIDITY_COOKIE_NAME
SECURITY_TWO_FACTOR_VALIDITY_COOKIE
SECURITY_TWO_FACTOR_IMPLEMENTATIONS
SECURITY_TWO_FACTOR_RESCUE_EMAIL
SECURITY_TWO_FACTOR_RESCUE_EMAIL_TEMPLATE
SECURITY_UNIFIED_SIGNIN
SECURITY_US_SIGNIN_URL
SECURITY_US_SIGNIN_SEND_CODE_URL
SECURITY_US_SETUP_URL
SECURITY_US_VERIFY_LINK_URL
SECURITY_US_VERIFY_URL
SECURITY_US_VERIFY_SEND_CODE_URL
SECURITY_US_POST_SETUP_VIEW
SECURITY_US_SIGNIN_TEMPLATE
SECURITY_US_SETUP_TEMPLATE
SECURITY_US_VERIFY_TEMPLATE
SECURITY_US_EMAIL_TEMPLATE
SECURITY_US_ENABLED_METHODS
SECURITY_US_MFA_REQUIRED
SECURITY_US_TOKEN_VALIDITY
SECURITY_US_EMAIL_SUBJECT
SECURITY_US_SETUP_WITHIN
SECURITY_US_SIGNIN_REPLACES_LOGIN
SECURITY_USERNAME_RECOVERY
SECURITY_USERNAME_RECOVERY_URL
SECURITY_EMAIL_SUBJECT_USERNAME_RECOVERY
SECURITY_USERNAME_RECOVERY_TEMPLATE
SECURITY_USERNAME_RECOVERY_EMAIL_TEMPLATE
SECURITY_CHANGE_USERNAME
SECURITY_CHANGE_USERNAME_URL
SECURITY_POST_CHANGE_USERNAME_VIEW
SECURITY_SEND_USERNAME_CHANGE_EMAIL
SECURITY_EMAIL_SUBJECT_USERNAME_CHANGE_NOTICE
SECURITY_CHANGE_USERNAME_TEMPLATE
SECURITY_CHANGE_USERNAME_EMAIL_TEMPLATE
SECURITY_PASSWORDLESS
SECURITY_SEND_LOGIN_TEMPLATE
SECURITY_EMAIL_TEMPLATE_PASSWORDLESS
SECURITY_EMAIL_SUBJECT_PASSWORDLESS
SECURITY_LOGIN_WITHIN
SECURITY_LOGIN_ERROR_VIEW
SECURITY_TRACKABLE
SECURITY_WEBAUTHN
SECURITY_WAN_REGISTER_URL
SECURITY_WAN_SIGNIN_URL
SECURITY_WAN_DELETE_URL
SECURITY_WAN_VERIFY_URL
SECURITY_WAN_POST_REGISTER_VIEW
SECURITY_WAN_REGISTER_TEMPLATE
SECURITY_WAN_SIGNIN_TEMPLATE
SECURITY_WAN_VERIFY_TEMPLATE
SECURITY_WAN_RP_NAME
SECURITY_WAN_REGISTER_WITHIN
SECURITY_WAN_REGISTER_TIMEOUT
SECURITY_WAN_SIGNIN_WITHIN
SECURITY_WAN_SIGNIN_TIMEOUT
SECURITY_WAN_ALLOW_AS_FIRST_FACTOR
SECURITY_WAN_ALLOW_AS_MULTI_FACTOR
SECURITY_WAN_ALLOW_USER_HINTS
SECURITY_WAN_ALLOW_AS_VERIFY
SECURITY_WAN_NAME_ALLOWED_CHARS
SECURITY_WAN_NAME_MAX_LENGTH
SECURITY_MULTI_FACTOR_RECOVERY_CODES
SECURITY_MULTI_FACTOR_RECOVERY_CODES_N
SECURITY_MULTI_FACTOR_RECOVERY_CODES_URL
SECURITY_MULTI_FACTOR_RECOVERY_CODES_TEMPLATE
SECURITY_MULTI_FACTOR_RECOVERY_URL
SECURITY_MULTI_FACTOR_RECOVERY_TEMPLATE
SECURITY_MULTI_FACTOR_RECOVERY_CODES_KEYS
SECURITY_MULTI_FACTOR_RECOVERY_CODE_TTL
SECURITY_OAUTH_ENABLE
SECURITY_OAUTH_BUILTIN_PROVIDERS
SECURITY_OAUTH_START_URL
SECURITY_OAUTH_RESPONSE_URL
SECURITY_POST_OAUTH_LOGIN_VIEW
SECURITY_OAUTH_VERIFY_START_URL
SECURITY_OAUTH_VERIFY_RESPONSE_URL
SECURITY_POST_OAUTH_VERIFY_VIEW
SECURITY_VERIFY_ERROR_VIEW
SECURITY_REFRESH_TOKEN
SECURITY_REFRESH_TOKEN_URL
SECURITY_REFRESH_TOKEN_MAX_AGE
SECURITY_REFRESH_TOKEN_MAX_IDLE
SECURITY_REFRESH_TOKEN_CLEANUP_EXPIRED
SECURITY_REFRESH_TOKEN_CLEANUP_REVOKED
SECURITY_REFRESH_COOKIE_NAME
SECURITY_REFRESH_TOKEN_COOKIE
"""
