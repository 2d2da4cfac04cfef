"""What an application may say in its configuration, and what it is told when that will not do."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask import Blueprint, Flask
from flask.cli import ScriptInfo
from flask_mail import Mail
from flask_sqlalchemy import SQLAlchemy
from marshmallow import Schema, fields
from sqlalchemy import Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import mapped_column
from werkzeug.utils import import_string

from flask_registration import (
    DEFAULT_FLOWS,
    ConfigurationError,
    EmailUserMixin,
    LoginMixin,
    Registration,
    UserMixin,
    VerificationLink,
)
from flask_registration.cli.base import registration_cli
from flask_registration.flows import second_factor, sign_up
from flask_registration.flows.default import OPTIONAL_FLOWS
from flask_registration.settings import declarations

from .outboxes import define_outbox
from .people import define_login, define_login_with_foreign_key
from .site import CONFIG, Site, define, define_user, mixin_and, own_model, text_column, text_of
from .tables import each_row

URL = "REGISTRATION_REGISTER_VERIFICATION_URL"
FROM = "REGISTRATION_VERIFICATION_FROM_EMAIL"
MISSING = object()


def configured(
    settings: dict[str, Any] | None = None,
    model: Callable[[SQLAlchemy], Any] = define_user,
    *,
    app: Flask | None = None,
    with_db: bool = True,
    with_mail: bool = True,
    models: Callable[[SQLAlchemy], list[Any]] = lambda db: [],
) -> Flask:
    """An application with a valid configuration and these keys; ``MISSING`` removes one."""
    app = app or Flask("tests.site")
    config = {**CONFIG, "SQLALCHEMY_DATABASE_URI": "sqlite://", **(settings or {})}
    app.config.update({key: value for key, value in config.items() if value is not MISSING})
    db = SQLAlchemy()
    if with_db:
        db.init_app(app)
    if with_mail:
        Mail(app)
    Registration().init_app(app, user_model=model(db), models=models(db))
    return app


def test_flows_that_are_none_or_there_twice_are_reported() -> None:
    flows: Any = [*DEFAULT_FLOWS, sign_up, "sign_up", DEFAULT_FLOWS[0]]
    with pytest.raises(ConfigurationError) as caught:
        Registration(flows=flows).init_app(Flask("tests.site"))
    text = str(caught.value)
    assert "Pass the variable flow of its module: flows=[*DEFAULT_FLOWS, sign_up.flow]." in text
    assert "flows has 'sign_up', which is no flow." in text
    assert f"flows has the flow {DEFAULT_FLOWS[0].name} twice." in text


@pytest.mark.parametrize("options", [{"models": LoginMixin}, {"flows": DEFAULT_FLOWS[0]}])
def test_one_model_or_flow_that_is_no_list_is_an_error(options: Any) -> None:
    (name,) = options
    with pytest.raises(TypeError, match=f"{name} must be a list, for example {name}="):
        Registration(**options)


@pytest.mark.parametrize("keys", [["a key too short"], "a key too short"], ids=["list", "string"])
def test_an_error_shows_no_secret_and_is_the_only_one_about_its_setting(keys: Any) -> None:
    app = Flask("tests.site")
    app.config["REGISTRATION_CREDENTIAL_KEYS"] = keys
    with pytest.raises(ConfigurationError) as caught:
        Registration(flows=[*DEFAULT_FLOWS, second_factor.flow]).init_app(app)
    text = str(caught.value)
    assert "a key too short" not in text
    assert "REGISTRATION_CREDENTIAL_KEYS is <secret>, but must " in text
    assert "or remove it for the default: none." in text
    assert text.count("REGISTRATION_CREDENTIAL_KEYS") == 1


def problems(*args: Any, **kwargs: Any) -> dict[str, str]:
    """The problems of such an application, each with its hint; the message has them all."""
    with pytest.raises(ConfigurationError) as caught:
        configured(*args, **kwargs)
    message, found = str(caught.value), caught.value.findings
    for id, subject, problem, hint in found:
        assert id.startswith("registration.E")
        assert f"error: {subject} {problem} [{id}]\n  -> {hint}" in message
    assert (f"{len(found)} errors" if len(found) != 1 else "1 error ") in message
    pairs = [(each.subject, f"{each.problem} {each.hint}") for each in found]
    assert pairs == list(caught.value.problems)
    return {problem.setting: problem.text for problem in caught.value.problems}


def test_a_good_configuration_has_no_problem() -> None:
    assert "registration" in configured().extensions
    assert "registration" in configured(model=own_model()).extensions


# One problem, its setting and its cure


@each_row("key", [MISSING, None, ""], ids=["is missing", "is None", "is empty"])
def test_a_secret_key_that(key: Any) -> None:
    found = problems({"SECRET_KEY": key})
    assert list(found) == ["SECRET_KEY"]
    assert "secrets.token_hex()" in found["SECRET_KEY"]


@each_row(
    ("url", "says"),
    [
        pytest.param(MISSING, "is not set", id="is missing"),
        pytest.param(None, "is not set", id="is None"),
        pytest.param("", "is not set", id="is empty"),
        pytest.param("/verify/", "is not absolute", id="has neither scheme nor host"),
        pytest.param("//example.com/verify/", "is not absolute", id="has no scheme"),
        pytest.param(
            "example.com/verify/", "is not absolute", id="has a host that reads as a path"
        ),
        pytest.param("https:///verify/", "is not absolute", id="has no host"),
        pytest.param("https:/verify/", "is not absolute", id="has no host and one slash"),
        pytest.param("http:/verify/", "is not absolute", id="has no host, one slash, no TLS"),
        pytest.param("myapp:verify", "is not absolute", id="has a scheme and no path"),
        pytest.param("mailto:verify@example.com", "is not absolute", id="is an address"),
        pytest.param("https://example.com/\nverify/", "is not absolute", id="has a line feed"),
        pytest.param("https://example.com/my page/", "is not absolute", id="has a space"),
    ],
)
def test_a_verification_url_that(url: Any, says: str) -> None:
    found = problems({URL: url})
    assert list(found) == [URL]
    assert says in found[URL]
    assert '"https://example.com/verify-registration/"' in found[URL]


@each_row(
    "url",
    [
        pytest.param("https://example.com", id="a bare host"),
        pytest.param("http://127.0.0.1:5000/#/verify", id="a hash router's page"),
        pytest.param("org.example.app://verify", id="a mobile application's own scheme"),
        pytest.param("org.example.app:/verify", id="a mobile application's own scheme and a path"),
        pytest.param("myapp:///verify", id="a mobile application's own scheme and no host"),
    ],
)
def test_a_verification_url_may_be(url: str) -> None:
    configured({URL: url})


@each_row(
    ("options", "says"),
    [
        ({"check_deliverability": True}, "allow_quoted_local, allow_smtputf8, globally_deliver"),
        ({"allow_display_name": True}, "allow_quoted_local, allow_smtputf8, globally_deliver"),
        ({"strict": "no"}, "must have True or False for 'strict'"),
        (["strict"], "must be a dict"),
    ],
)
def test_email_validator_options_may_not_be(options: Any, says: str) -> None:
    key = "REGISTRATION_EMAIL_VALIDATOR_OPTIONS"
    found = problems({key: options})
    assert list(found) == [key]
    assert says in found[key]


@each_row(
    "sender",
    [
        "Example Shop",
        "no-reply",
        "@example.com",
        "no-reply@",
        "Example\nBcc: <no-reply@example.com>",
        "no-reply@example.com, other@example.com",
        "älice@example.com",
    ],
)
@each_row(
    "key",
    [
        "MAIL_DEFAULT_SENDER",
        "REGISTRATION_VERIFICATION_FROM_EMAIL",
        "REGISTRATION_VERIFICATION_REPLY_TO_EMAIL",
    ],
)
def test_a_sender_must_be_an_address(key: str, sender: str) -> None:
    found = problems({key: sender})
    assert list(found) == [key]
    assert "e-mail address, for example" in found[key]


@each_row("sender", [("Example", "example.com"), ("Example",), 5, ["a@example.com"], ("", "")])
def test_a_default_sender_must_be_an_address_or_a_name_and_an_address(sender: Any) -> None:
    assert list(problems({"MAIL_DEFAULT_SENDER": sender})) == ["MAIL_DEFAULT_SENDER"]


@each_row(
    "sender",
    [
        "no-reply@localhost",
        "no-reply@corp.local",
        '"Käse, Ltd" <us@straße.de>',
        ("Käse, Ltd", "us@straße.de"),
    ],
)
def test_a_sender_may_be(sender: Any) -> None:
    configured({"MAIL_DEFAULT_SENDER": sender})


@each_row("name", ["my host", "host\r\nMAIL FROM", "größe.example.com", ""])
def test_a_name_for_ehlo_may_not_be(name: str) -> None:
    assert list(problems({"REGISTRATION_MAIL_EHLO_NAME": name})) == ["REGISTRATION_MAIL_EHLO_NAME"]


def test_a_second_registration_in_one_application_is_refused() -> None:
    found = problems(app=configured(), with_db=False, with_mail=False)
    assert list(found) == ["Registration"]
    assert "mount it with" in found["Registration"]


def test_a_blueprint_of_the_same_name_is_refused() -> None:
    app = Flask("tests.site")
    app.register_blueprint(Blueprint("registration", __name__))
    found = problems(app=app)
    assert list(found) == ["The blueprint 'registration'"]
    assert 'name="talks"' in found["The blueprint 'registration'"]


def test_host_matching_is_refused() -> None:
    found = problems(app=Flask("shop", host_matching=True, static_host="static.example.com"))
    assert list(found) == ["host_matching"]
    assert "host_matching=False" in found["host_matching"]


def test_a_page_that_has_none_to_stand_beside_is_not_set() -> None:
    found = problems({"REGISTRATION_REGISTER_VERIFICATION_ENABLED": False, URL: MISSING})
    for name in ("RESET_PASSWORD", "REGISTER_EMAIL"):
        assert "is not set" in found[f"REGISTRATION_{name}_VERIFICATION_URL"]


def test_no_verification_needs_no_url_no_address_no_mail_and_no_flag() -> None:
    def model(db: SQLAlchemy) -> Any:
        columns = {
            "id": mapped_column(Integer, primary_key=True),
            "username": mapped_column(String(40), unique=True),
        }
        columns["password_hash"] = mapped_column(String(255))
        return type("User", (db.Model,), {"__tablename__": "users", **columns})

    settings = {
        "REGISTRATION_REGISTER_VERIFICATION_ENABLED": False,
        URL: MISSING,
        "MAIL_DEFAULT_SENDER": MISSING,
    }
    configured(settings, model, with_mail=False)
    assert {URL, FROM, "Flask-Mail"} <= problems(
        {**settings, "REGISTRATION_REGISTER_VERIFICATION_ENABLED": True},
        own_model(),
        with_mail=False,
    ).keys()
    found = problems({}, model)
    assert list(found) == [
        "REGISTRATION_USER_EMAIL_FIELD",
        "REGISTRATION_USER_VERIFICATION_FLAG_FIELD",
    ]
    assert "names no column of User" in found["REGISTRATION_USER_EMAIL_FIELD"]
    hint = "set REGISTRATION_REGISTER_VERIFICATION_ENABLED = False."
    assert hint in found["REGISTRATION_USER_VERIFICATION_FLAG_FIELD"]


def test_no_address_that_mails_come_from() -> None:
    found = problems({"MAIL_DEFAULT_SENDER": MISSING})
    assert list(found) == [FROM]
    assert "MAIL_DEFAULT_SENDER" in found[FROM]
    configured({"MAIL_DEFAULT_SENDER": MISSING, FROM: "no-reply@example.com"})
    configured({"MAIL_DEFAULT_SENDER": ("Example", "no-reply@example.com")})


@each_row(
    ("model", "login", "column"),
    [
        pytest.param(
            own_model(username=text_column(nullable=False)),
            ["username"],
            "username",
            id="no constraint",
        ),
        pytest.param(
            own_model(username=text_column(index=True, nullable=False)),
            ["username"],
            "username",
            id="a plain index",
        ),
        pytest.param(
            define(
                EmailUserMixin,
                columns=lambda: {"email": mapped_column(String(254), nullable=False)},
            ),
            ["email"],
            "email",
            id="an address that two may share",
        ),
        pytest.param(
            define(
                UserMixin,
                columns=lambda: {"username_key": mapped_column(String(450), nullable=False)},
            ),
            ["username"],
            "username_key",
            id="a key that two may share",
        ),
        pytest.param(
            define(
                columns=lambda: {
                    "id": mapped_column(Integer, primary_key=True),
                    "username": mapped_column(String(40), nullable=False),
                    "email": mapped_column(String(254), nullable=False),
                    "password_hash": mapped_column(String(255)),
                    "is_verified": mapped_column(Integer),
                },
                __table_args__=(UniqueConstraint("username", "email"),),
            ),
            ["username"],
            "username",
            id="a constraint on it and another column together",
        ),
        pytest.param(
            define(
                columns=lambda: (
                    lambda name: {
                        "id": mapped_column(Integer, primary_key=True),
                        "username": name,
                        "email": mapped_column(String(254), nullable=False),
                        "password_hash": mapped_column(String(255)),
                        "is_verified": mapped_column(Integer),
                        "__table_args__": (
                            Index(
                                "some",
                                "username",
                                unique=True,
                                sqlite_where=name.column.isnot(None),
                            ),
                        ),
                    }
                )(mapped_column("username", String(40), nullable=False)),
            ),
            ["username"],
            "username",
            id="a unique index on some of the rows",
        ),
    ],
)
def test_a_login_field_with(
    model: Callable[[SQLAlchemy], Any], login: list[str], column: str
) -> None:
    settings = {"REGISTRATION_USER_LOGIN_FIELDS": login}
    found = problems(settings, model)
    assert list(found) == ["REGISTRATION_USER_LOGIN_FIELDS"]
    assert f"User.{column} has no unique constraint" in found["REGISTRATION_USER_LOGIN_FIELDS"]
    assert "unique=True" in found["REGISTRATION_USER_LOGIN_FIELDS"]
    configured({**settings, "REGISTRATION_USER_LOGIN_FIELDS_UNIQUE_CHECK_ENABLED": False}, model)


@each_row(
    "model",
    [
        pytest.param(
            own_model(username=text_column(unique=True, nullable=False)), id="a unique column"
        ),
        pytest.param(
            own_model(username=text_column(unique=True, index=True, nullable=False)),
            id="a unique index",
        ),
        pytest.param(
            own_model(id=lambda: mapped_column(Integer), username=text_column(primary_key=True)),
            id="the primary key",
        ),
    ],
)
def test_a_login_field_may_be_unique_by(model: Callable[[SQLAlchemy], Any]) -> None:
    configured({}, model)


class OwnSchema(Schema):
    username = fields.String(required=True)
    password = fields.String(required=True)


def test_a_column_that_must_have_a_value_but_that_nobody_sets() -> None:
    model = mixin_and(company=text_column(nullable=False))
    found = problems({}, model)
    assert list(found) == ["User.company"]
    hint = "Give it a default, or add it to REGISTRATION_USER_PUBLIC_FIELDS."
    assert hint in found["User.company"]
    hidden = {
        "REGISTRATION_USER_PUBLIC_FIELDS": ["company"],
        "REGISTRATION_USER_HIDDEN_FIELDS": ["company"],
    }
    assert list(problems(hidden, model)) == ["User.company"]


@each_row(
    ("settings", "kwargs"),
    [
        pytest.param({"REGISTRATION_USER_PUBLIC_FIELDS": ["company"]}, {}, id="clients may set it"),
        pytest.param(
            {"REGISTRATION_USER_EDITABLE_FIELDS": ["company"]}, {}, id="clients may change it"
        ),
        pytest.param(
            {"REGISTRATION_REGISTER_SCHEMA_CLASS": OwnSchema},
            {},
            id="the application has its own schema",
        ),
        pytest.param({"REGISTRATION_REGISTER_FLOW_ENABLED": False}, {}, id="nobody may register"),
        pytest.param({}, {"default": "none"}, id="it has a default"),
        pytest.param({}, {"server_default": "none"}, id="the database has a default"),
        pytest.param({}, {"nullable": True}, id="it may be NULL"),
    ],
)
def test_a_column_that_must_have_a_value_is_no_problem_where(
    settings: dict[str, Any], kwargs: dict[str, Any]
) -> None:
    configured(settings, mixin_and(company=text_column(**{"nullable": False, **kwargs})))


def test_a_username_that_a_login_by_address_never_asks_for() -> None:
    assert list(problems({"REGISTRATION_USER_LOGIN_FIELDS": ["email"]})) == ["User.username"]


TEMPLATES = "REGISTRATION_REGISTER_VERIFICATION_EMAIL_TEMPLATES"


@each_row(
    ("templates", "says"),
    [
        pytest.param(
            {"subject": "no/subject.txt", "body": "no/body.txt"},
            "'no/body.txt'",
            id="are not there",
        ),
        pytest.param(
            {"subject": "registration/register/subject.txt", "html_body": "no/body.html"},
            "names the template 'no/body.html', which is not found.",
            id="are there but for one",
        ),
        pytest.param(
            {"body": "registration/register/body.txt"}, "needs 'subject'", id="have no subject"
        ),
        pytest.param(
            {"subject": "registration/register/subject.txt"}, "'body'", id="have nothing to read"
        ),
        pytest.param({}, "needs 'subject'", id="are none"),
        pytest.param({"subject": 5, "body": 6}, "", id="are numbers"),
    ],
)
def test_templates_that(templates: dict[str, Any], says: str) -> None:
    found = problems({TEMPLATES: templates})
    assert list(found) == [TEMPLATES]
    assert says in found[TEMPLATES]


def test_each_missing_template_is_told() -> None:
    with pytest.raises(ConfigurationError) as caught:
        configured(
            {
                TEMPLATES: {
                    "subject": "no/subject.txt",
                    "text_body": "no/body.txt",
                    "html_body": "no/body.html",
                }
            }
        )
    assert [
        name
        for name in ("subject.txt", "body.txt", "body.html")
        if f"no/{name}" in str(caught.value)
    ] == [
        "subject.txt",
        "body.txt",
        "body.html",
    ]


def test_auto_login_by_a_link_that_works_again_and_again() -> None:
    auto_login, once = (
        "REGISTRATION_REGISTER_VERIFICATION_AUTO_LOGIN",
        "REGISTRATION_REGISTER_VERIFICATION_ONE_TIME_USE",
    )
    found = problems({auto_login: True})
    assert list(found) == [auto_login]
    assert f"Set {once} = True as well." in found[auto_login]
    configured({auto_login: True, once: True})


@each_row(
    ("key", "near"),
    [
        pytest.param(
            "REGISTRATION_USER_LOGIN_FIELD",
            "REGISTRATION_USER_LOGIN_FIELDS",
            id="a letter is missing",
        ),
        pytest.param(
            "REGISTRATION_PASWORD_MIN_LENGHT",
            "REGISTRATION_PASSWORD_MIN_LENGTH",
            id="letters are swapped",
        ),
        pytest.param(
            "REGISTRATION_REGISTER_SERIALIZER_CLASS",
            "REGISTRATION_REGISTER_SCHEMA_CLASS",
            id="it is django-rest-registration's",
        ),
        pytest.param(
            "REGISTRATION_VERIFICATION_URL",
            "REGISTRATION_REGISTER_VERIFICATION_URL",
            id="a word in front is missing",
        ),
        pytest.param(
            "REGISTRATION_VERIFICATION_PERIOD",
            "REGISTRATION_REGISTER_VERIFICATION_PERIOD",
            id="a word in front of a period is missing",
        ),
    ],
)
def test_an_unknown_setting_is_told_with_the_nearest_one_where(key: str, near: str) -> None:
    found = problems({key: True})
    assert list(found) == [key]
    assert f"did you mean {near}" in found[key]


@each_row("name", ["Q", "URL", "CAPTCHA_SITE_KEY", "STRIPE_WEBHOOK_SECRET"])
def test_an_unknown_setting_that_is_like_no_other_has_no_guess(name: str) -> None:
    key = f"REGISTRATION_{name}"
    found = problems({key: True})
    assert list(found) == [key]
    assert "did you mean" not in found[key]
    assert "`flask registration settings` prints all settings" in found[key]


def test_a_setting_of_a_flow_that_is_off_is_told_with_the_flow() -> None:
    key = "REGISTRATION_VERIFY_REGISTRATION_SUCCESS_URL"
    assert problems({key: "/welcome"}) == {
        key: "belongs to the flow verification_redirects, which is not mounted. It has no effect. "
        "Pass flows=[*DEFAULT_FLOWS, verification_redirects.flow] to Registration."
    }


def test_other_extensions_settings_are_none_of_ours() -> None:
    configured({"REGISTRATIONS": 1, "MY_REGISTRATION_KEY": 2})


A_NUMBER = 5


@each_row(
    ("setting", "value", "says"),
    [
        pytest.param(
            "REGISTER_FLOW_ENABLED", "yes", "must be True or False", id="a word for a truth value"
        ),
        pytest.param(
            "REGISTER_FLOW_ENABLED", 1, "must be True or False", id="a number for a truth value"
        ),
        pytest.param("PASSWORD_MIN_LENGTH", "8", "must be a whole number", id="text for a number"),
        pytest.param(
            "PASSWORD_MIN_LENGTH", 8.5, "must be a whole number", id="a fraction for a whole number"
        ),
        pytest.param(
            "PASSWORD_MIN_LENGTH", True, "must be a whole number", id="a truth value for a number"
        ),
        pytest.param("PASSWORD_MIN_LENGTH", -1, "not negative", id="a negative number"),
        pytest.param("PASSWORD_MIN_LENGTH", None, "must be a whole number", id="None for a number"),
        pytest.param("URL_PREFIX", 5, "must be a string", id="a number for text"),
        pytest.param("URL_PREFIX", None, "must be a string", id="None for text"),
        pytest.param("URL_PREFIX", b"/accounts", "must be a string", id="bytes for text"),
        pytest.param(
            "VERIFICATION_REPLY_TO_EMAIL", 5, "must be a string", id="a number for text or None"
        ),
        pytest.param(
            "REGISTER_VERIFICATION_PERIOD",
            "a week",
            "timedelta or a number of seconds",
            id="words for time",
        ),
        pytest.param(
            "REGISTER_VERIFICATION_PERIOD",
            True,
            "timedelta or a number of seconds",
            id="truth for time",
        ),
        pytest.param(
            "REGISTER_VERIFICATION_PERIOD", -1, "not negative", id="a negative number of seconds"
        ),
        pytest.param(
            "REGISTER_VERIFICATION_PERIOD", timedelta(-1), "not negative", id="a negative timedelta"
        ),
        pytest.param("REGISTER_VERIFICATION_PERIOD", math.nan, "", id="no number for time"),
        pytest.param("REGISTER_VERIFICATION_PERIOD", math.inf, "", id="an infinite time"),
        pytest.param(
            "REGISTER_VERIFICATION_PERIOD", 10**15, "", id="more time than a timedelta holds"
        ),
        pytest.param(
            "USER_LOGIN_FIELDS",
            "username",
            'must be a list of strings, for example ["username"].',
            id="text for a list",
        ),
        pytest.param(
            "USER_LOGIN_FIELDS",
            ["username", 5],
            "must be a string",
            id="a number in a list of texts",
        ),
        pytest.param(
            "USER_LOGIN_FIELDS",
            {"username": 1},
            "must be a list of strings.",
            id="a dict for a list",
        ),
        pytest.param(
            "PASSWORD_VALIDATORS", [5], "must be a callable", id="a number in a list of callables"
        ),
        pytest.param(
            "PASSWORD_VALIDATORS",
            len,
            "must be a list of callables or their import strings.",
            id="a callable for a list of them",
        ),
        pytest.param(
            "VERIFICATION_URL_BUILDER", 5, "must be a callable", id="a number for a callable"
        ),
        pytest.param(
            "VERIFICATION_URL_BUILDER",
            "tests.test_configuration.A_NUMBER",
            "must be a callable",
            id="its import string",
        ),
        pytest.param(
            "VERIFICATION_URL_BUILDER",
            "no_such.module",
            "cannot be imported: No module named 'no_such'",
            id="a module there is not",
        ),
        pytest.param(
            "VERIFICATION_URL_BUILDER",
            "json.no_such",
            "cannot be imported",
            id="a name there is not",
        ),
        pytest.param("VERIFICATION_URL_BUILDER", "", "", id="an empty import string"),
        pytest.param(
            "PASSWORD_VALIDATORS",
            ["json.no_such"],
            "cannot be imported",
            id="such a name in a list",
        ),
        pytest.param(
            "PASSWORD_HASHER", "json.no_such", "cannot be imported", id="such a name for any object"
        ),
        pytest.param("PASSWORD_HASHER", 5, "", id="a number for a hasher"),
        pytest.param(
            "REGISTER_SCHEMA_CLASS", dict, "must be a subclass of marshmallow", id="another class"
        ),
        pytest.param(
            "REGISTER_SCHEMA_CLASS", OwnSchema(), "must be a subclass", id="an instance for a class"
        ),
        pytest.param(
            "REGISTER_SCHEMA_CLASS", "json.loads", "must be a subclass", id="a function for a class"
        ),
        pytest.param(
            "REGISTER_VERIFICATION_EMAIL_TEMPLATES",
            ["a", "b"],
            "must be a dict",
            id="a list for a dict",
        ),
        pytest.param(
            "MAIL_DISPATCHER", "pigeon", "'background' or 'inline'", id="a word that is not offered"
        ),
        pytest.param("MAIL_DISPATCHER", 5, "'background' or 'inline'", id="a number for a word"),
    ],
)
def test_a_wrong_type(setting: str, value: Any, says: str) -> None:
    key = f"REGISTRATION_{setting}"
    found = problems({key: value})
    assert list(found) == [key]
    assert repr(value) in found[key]
    assert says in found[key]


@each_row(
    "prefix",
    [
        pytest.param("accounts", id="has no slash in front"),
        pytest.param("/<name>", id="has a parameter"),
    ],
)
def test_a_url_prefix_that(prefix: str) -> None:
    assert list(problems({"REGISTRATION_URL_PREFIX": prefix})) == ["REGISTRATION_URL_PREFIX"]


def test_flask_sqlalchemy_that_is_not_set_up() -> None:
    found = problems(with_db=False)
    assert list(found) == ["Flask-SQLAlchemy"]
    assert "db.init_app(app) before" in found["Flask-SQLAlchemy"]


def test_flask_mail_that_is_not_set_up() -> None:
    found = problems(with_mail=False)
    assert list(found) == ["Flask-Mail"]
    assert "mail.init_app(app) before" in found["Flask-Mail"]


class Unmapped:
    username = "alice"


@each_row(
    ("model", "says"),
    [
        pytest.param(lambda db: None, "user_model=User", id="is missing"),
        pytest.param(lambda db: Unmapped, "must be an SQLAlchemy model", id="is not mapped"),
        pytest.param(
            lambda db: db.Model, "must be an SQLAlchemy model", id="is the base of the models"
        ),
        pytest.param(lambda db: "app.User", "must be an SQLAlchemy model", id="is text"),
        pytest.param(
            own_model(username=text_column(primary_key=True)),
            "exactly one",
            id="has a primary key of two columns",
        ),
    ],
)
def test_a_user_model_that(model: Callable[[SQLAlchemy], Any], says: str) -> None:
    found = problems({}, model)
    assert next(iter(found)) == "user_model"
    assert says in found["user_model"]


@each_row(
    ("setting", "value"),
    [
        pytest.param("USER_LOGIN_FIELDS", ["nickname"], id="to log in with"),
        pytest.param(
            "USER_LOGIN_FIELDS", ["username", "nickname"], id="to log in with beside another"
        ),
        pytest.param("USER_PUBLIC_FIELDS", ["nickname"], id="to show"),
        pytest.param("USER_EDITABLE_FIELDS", ["nickname"], id="to change"),
        pytest.param("USER_HIDDEN_FIELDS", ["nickname"], id="to hide"),
        pytest.param("USER_PASSWORD_FIELD", "nickname", id="for the password"),
        pytest.param("USER_VERIFICATION_ID_FIELD", "nickname", id="for links"),
        pytest.param("USER_EMAIL_FIELD", "nickname", id="for the address"),
        pytest.param("USER_VERIFICATION_FLAG_FIELD", "nickname", id="for the flag"),
        pytest.param("USER_SECURITY_STAMP_FIELD", "nickname", id="for the stamp"),
    ],
)
def test_a_column_that_the_model_has_not(setting: str, value: Any) -> None:
    found = problems({f"REGISTRATION_{setting}": value})
    assert f"REGISTRATION_{setting}" in found
    assert (
        len(found) == 1 or setting == "USER_EMAIL_FIELD"
    )  # nobody sets the column that is the address otherwise


@each_row(
    ("setting", "proposed"),
    [
        ("LOGIN_FIELDS", "username, email"),
        ("PUBLIC_FIELDS", "username, email, first_name, last_name"),
        ("EDITABLE_FIELDS", "username, email, first_name, last_name"),
        ("HIDDEN_FIELDS", "username, email, first_name, last_name"),
    ],
)
def test_the_hint_proposes_only_columns_that_the_list_may_name(setting: str, proposed: str) -> None:
    key = f"REGISTRATION_USER_{setting}"
    assert problems({key: ["nickname"]})[key].endswith(f"or name one of {proposed}.")
    for name in proposed.split(", "):
        configured({key: [name], "REGISTRATION_USER_LOGIN_FIELDS": ["username", "email"]})


def test_no_login_field_at_all() -> None:
    assert list(problems({"REGISTRATION_USER_LOGIN_FIELDS": []})) == [
        "REGISTRATION_USER_LOGIN_FIELDS"
    ]


def test_links_that_name_users_by_a_column_that_two_may_share() -> None:
    key = "REGISTRATION_USER_VERIFICATION_ID_FIELD"
    assert list(problems({key: "first_name"})) == [key]


@each_row("name", ["password_hash", "security_stamp"])
def test_a_secret_that_is_to_be_shown(name: str) -> None:
    key = "REGISTRATION_USER_PUBLIC_FIELDS"
    found = problems({key: ["first_name", name]})
    assert list(found) == [key]
    assert f"{name!r} is a secret" in found[key]


SYSTEM = [
    "id",
    "username_key",
    "password_hash",
    "is_active",
    "is_verified",
    "security_stamp",
    "date_joined",
    "last_login",
]


@each_row("name", SYSTEM)
def test_a_system_column_that_clients_are_to_change(name: str) -> None:
    key = "REGISTRATION_USER_EDITABLE_FIELDS"
    found = problems({key: ["first_name", name]})
    assert list(found) == [key]
    assert f"{name!r} must not be set by clients" in found[key]


def test_a_username_pattern_that_is_no_regular_expression() -> None:
    found = problems({"REGISTRATION_USERNAME_PATTERN": "[a-z"})
    assert list(found) == ["REGISTRATION_USERNAME_PATTERN"]
    assert "is not a valid regular expression" in found["REGISTRATION_USERNAME_PATTERN"]


# All at once


def test_every_problem_is_told_at_once() -> None:
    found = problems(
        {
            "SECRET_KEY": MISSING,
            "MAIL_DEFAULT_SENDER": MISSING,
            URL: "/verify/",
            TEMPLATES: {"subject": "no/subject.txt", "body": "registration/register/body.txt"},
            "REGISTRATION_REGISTER_VERIFICATION_AUTO_LOGIN": True,
            "REGISTRATION_USER_PUBLIC_FIELDS": ["nickname"],
            "REGISTRATION_USER_EDITABLE_FIELDS": ["is_active"],
            "REGISTRATION_USERNAME_PATTERN": "(",
            "REGISTRATION_PASSWORD_MIN_LENGTH": "8",
            "REGISTRATION_VERIFICATION_URL_BUILDER": "no_such.module",
            "REGISTRATION_COLOUR": "red",
        },
        own_model(
            username=text_column(nullable=False),
            company=text_column(nullable=False),
            is_active=lambda: mapped_column(Integer, default=1),
        ),
        with_mail=False,
    )
    assert set(found) == {
        "SECRET_KEY",
        FROM,
        "Flask-Mail",
        URL,
        TEMPLATES,
        "REGISTRATION_REGISTER_VERIFICATION_AUTO_LOGIN",
        "REGISTRATION_USER_LOGIN_FIELDS",
        "REGISTRATION_USER_PUBLIC_FIELDS",
        "REGISTRATION_USER_EDITABLE_FIELDS",
        "REGISTRATION_USERNAME_PATTERN",
        "REGISTRATION_PASSWORD_MIN_LENGTH",
        "REGISTRATION_VERIFICATION_URL_BUILDER",
        "REGISTRATION_COLOUR",
        "User.company",
    }


@each_row(
    ("settings", "model", "name"),
    [
        pytest.param({}, lambda db: None, "user_model", id="there is no model"),
        pytest.param({}, lambda db: Unmapped, "user_model", id="the model is not mapped"),
        pytest.param(
            {"REGISTRATION_USER_LOGIN_FIELDS": ["nickname"]},
            define_user,
            "REGISTRATION_USER_LOGIN_FIELDS",
            id="the login field is missing",
        ),
    ],
)
def test_the_flows_problems_are_told_as_well_where(
    settings: dict[str, Any], model: Callable[[SQLAlchemy], Any], name: str
) -> None:
    settings = {**settings, URL: MISSING, "REGISTRATION_REGISTER_VERIFICATION_AUTO_LOGIN": True}
    assert set(problems(settings, model)) == {
        name,
        URL,
        "REGISTRATION_REGISTER_VERIFICATION_AUTO_LOGIN",
    }


def test_an_application_that_is_refused_gets_no_endpoints() -> None:
    app = Flask("tests.site")
    app.config.update(CONFIG)
    with pytest.raises(ConfigurationError):
        Registration(app)
    assert "registration" not in app.extensions
    assert "registration" not in app.blueprints


# What settings may be


def build_url(link: VerificationLink) -> str:
    values = (link.params[name] for name in ("user_id", "timestamp", "signature"))
    return f"{link.base_url}?ticket={'.'.join(values)}"


class GreetingSchema(Schema):
    greeting = fields.Function(lambda user: f"Welcome, {user.username}!")


def test_a_callable_or_a_class_may_be_its_import_string(new_site: Callable[..., Site]) -> None:
    site = new_site(
        VERIFICATION_URL_BUILDER="tests.test_configuration.build_url",
        REGISTER_OUTPUT_SCHEMA_CLASS="tests.test_configuration:GreetingSchema",
        PASSWORD_VALIDATORS=["flask_registration.auth.passwords.long_enough"],
    )
    assert site.register("alice", password="12345678").get_json() == {"greeting": "Welcome, alice!"}
    assert "https://example.com/verify-registration/?ticket=" in text_of(site.read())
    assert site.register("bob", password="1234567").status_code == 400


@each_row("period", [3600, 3600.0, timedelta(hours=1)], ids=["seconds", "float", "timedelta"])
def test_a_period_may_be_seconds_or_a_timedelta(
    period: Any, new_site: Callable[..., Site], clock: Any
) -> None:
    site = new_site(REGISTER_VERIFICATION_PERIOD=period)
    site.register("alice")
    clock.advance(3600)
    assert site.verify().status_code == 200
    clock.advance(1)
    reply = site.verify()
    assert (reply.status_code, reply.get_json()["code"]) == (400, "signature-expired")


def test_a_list_may_be_a_list_a_tuple_or_a_set(new_site: Callable[..., Site]) -> None:
    for names in (["first_name"], ("first_name",), {"first_name"}):
        assert new_site(USER_PUBLIC_FIELDS=names).register("alice").get_json().keys() == {
            "username",
            "email",
            "first_name",
        }


def test_settings_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "SECRET_KEY": CONFIG["SECRET_KEY"],
        "MAIL_DEFAULT_SENDER": "no-reply@example.com",
        "SQLALCHEMY_DATABASE_URI": "sqlite://",
        URL: "https://example.org/verify/",
        "REGISTRATION_REGISTER_VERIFICATION_PERIOD": 60,
        "REGISTRATION_REGISTER_FLOW_ENABLED": False,
        "REGISTRATION_USER_LOGIN_FIELDS": ["username", "email"],
    }
    for key, value in values.items():
        monkeypatch.setenv(f"FLASK_{key}", json.dumps(value))
    app = Flask("tests.site")
    app.config.from_prefixed_env()
    db = SQLAlchemy(app)
    Mail(app)
    Registration(app, user_model=define_user(db))
    reply = app.test_client().post("/accounts/register/", json={})
    assert reply.status_code == 404


def test_a_user_setting_may_stand_on_the_model_class_and_wins_there(
    new_site: Callable[..., Site],
) -> None:
    site = new_site(
        define=define(EmailUserMixin, LOGIN_FIELDS=["email"], PUBLIC_FIELDS=["last_name"]),
        USER_PUBLIC_FIELDS=["first_name"],
    )
    body = {
        "email": "alice@example.com",
        "password": "correct horse",
        "password_confirm": "correct horse",
    }
    assert site.post("register", body).get_json() == {"email": "alice@example.com", "last_name": ""}


def test_a_wrong_setting_on_the_model_class_is_told_by_its_name_there() -> None:
    found = problems({}, define(UserMixin, LOGIN_FIELDS="username"))
    assert list(found) == ["User.LOGIN_FIELDS"]


@each_row(
    ("name", "value"),
    [
        ("LOGIN_FIELDS", ["username", "first_name"]),
        ("PUBLIC_FIELDS", ["nickname"]),
        ("PUBLIC_FIELDS", ["password_hash"]),
        ("EDITABLE_FIELDS", ["is_active"]),
        ("ACTIVE_FIELD", "enabled"),
        ("VERIFICATION_FLAG_FIELD", "is_active"),
        ("VERIFICATION_FLAG_FIELD", "verified"),
    ],
)
def test_a_setting_of_the_model_class_with_a_wrong_column_is_told_by_its_name_there(
    name: str, value: Any
) -> None:
    assert list(problems({}, define(UserMixin, **{name: value}))) == [f"User.{name}"]


def test_the_hint_for_a_column_without_a_value_names_the_list_that_is_read() -> None:
    def model(*names: str) -> Callable[[SQLAlchemy], Any]:
        columns = {"company": text_column(nullable=False)}
        return define(
            UserMixin,
            columns=lambda: {name: make() for name, make in columns.items()},
            PUBLIC_FIELDS=names,
        )

    hint = "Give it a default, or add it to User.PUBLIC_FIELDS."
    assert hint in problems({}, model("first_name"))["User.company"]
    configured({}, model("first_name", "company"))


def test_settings_are_read_once(new_site: Callable[..., Site]) -> None:
    names = ["first_name"]
    site = new_site(USER_PUBLIC_FIELDS=names)
    names.append("last_name")
    site.app.config.update(
        REGISTRATION_REGISTER_FLOW_ENABLED=False,
        REGISTRATION_PASSWORD_MIN_LENGTH=100,
        REGISTRATION_REGISTER_VERIFICATION_URL="https://evil.example/",
        REGISTRATION_USER_PUBLIC_FIELDS=["last_login"],
    )
    assert site.register("alice").get_json().keys() == {"username", "email", "first_name"}
    assert "https://example.com/verify-registration/" in text_of(site.read())


def test_the_secret_key_is_read_at_each_use(site: Site) -> None:
    old = site.app.config["SECRET_KEY"]
    site.register("alice")
    site.app.config["SECRET_KEY"] = "another key"
    assert site.verify().get_json()["code"] == "signature-invalid"
    site.app.config["SECRET_KEY_FALLBACKS"] = [old]
    assert site.verify().status_code == 200
    site.register("bob")
    site.app.config["SECRET_KEY_FALLBACKS"] = []
    assert site.verify().status_code == 200


# Two applications


def test_two_applications_of_one_registration_do_not_see_each_other(
    new_site: Callable[..., Site],
) -> None:
    registration = Registration()
    sites = []
    for number, (model, settings) in enumerate(
        [
            (define_user, {"PASSWORD_MIN_LENGTH": 20, "URL_PREFIX": "/accounts"}),
            (
                define(EmailUserMixin),
                {
                    "USER_LOGIN_FIELDS": ["email"],
                    "REGISTER_VERIFICATION_ENABLED": False,
                    "URL_PREFIX": "/users",
                },
            ),
        ]
    ):
        app = Flask(f"tests.site{number}", root_path=os.path.dirname(__file__))
        app.config.update(CONFIG, SQLALCHEMY_DATABASE_URI="sqlite://")
        app.config.update({f"REGISTRATION_{name}": value for name, value in settings.items()})
        db = SQLAlchemy(app)
        mail = Mail(app)
        user_model = model(db)
        registration.init_app(app, user_model=user_model)
        with app.app_context():
            db.create_all()
        sites.append(Site(app, db, mail, registration, user_model))
    first, second = sites

    short = {
        "email": "alice@example.com",
        "password": "correct horse",
        "password_confirm": "correct horse",
    }
    refused = first.post("register", {"username": "alice", **short})
    assert "20 characters" in refused.get_json()["password"][0]
    accepted = second.app.test_client().post("/users/register/", json=short)
    assert accepted.status_code == 201
    assert accepted.get_json() == {
        "id": 1,
        "email": "alice@example.com",
        "first_name": "",
        "last_name": "",
    }
    assert first.register("alice").status_code == 201
    assert [len(site.users()) for site in sites] == [1, 1]
    assert [site.users()[0].is_verified for site in sites] == [False, True]
    assert second.app.test_client().post("/accounts/register/", json=short).status_code == 404

    with first.app.app_context(), second.app.app_context():
        user = registration.create_user(email="bob@example.com", password="correct horse")
        assert isinstance(user, second.User)
    with first.app.app_context(), pytest.raises(TypeError):
        registration.create_user(mail="bob@example.com", password="correct horse battery staple")
    for site in sites:
        with site.app.app_context():
            site.db.engine.dispose()


def test_an_application_may_be_given_to_the_constructor() -> None:
    app = Flask("tests.site")
    app.config.update(CONFIG, SQLALCHEMY_DATABASE_URI="sqlite://")
    db = SQLAlchemy(app)
    Mail(app)
    Registration(app, user_model=define_user(db))
    assert app.test_client().post("/accounts/register/", json={}).status_code == 400


# The commands

APPLICATION = """
from flask import Flask
from flask_mail import Mail
from flask_sqlalchemy import SQLAlchemy
from flask_registration import Registration, UserMixin

app = Flask(__name__)
app.config.update({config!r})
db = SQLAlchemy(app)
Mail(app)

class User(UserMixin, db.Model):
    pass

Registration(app, user_model=User)
"""

GOOD = {
    "SECRET_KEY": "a key of the tests, long enough for anybody",
    "SQLALCHEMY_DATABASE_URI": "sqlite://",
    "MAIL_DEFAULT_SENDER": "no-reply@example.com",
    URL: "https://example.com/verify/",
    "REGISTRATION_PASSWORD_MIN_LENGTH": 15,
    "REGISTRATION_REGISTER_VERIFICATION_PERIOD": 7200,
}
BAD = {**GOOD, "SECRET_KEY": None, "REGISTRATION_COLOUR": "red", URL: "/verify/"}


def flask_command(
    path: Path, config: dict[str, Any], *command: str
) -> subprocess.CompletedProcess[str]:
    """Run the command as somebody would in a terminal."""
    (path / "x.py").write_text(APPLICATION.format(config=config))
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "x.py", "registration", *command],
        cwd=path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )


def invoke(create_app: Callable[[], Flask], *command: str) -> Result:
    return CliRunner().invoke(registration_cli, command, obj=ScriptInfo(create_app=create_app))


def test_flask_registration_check_is_content_with_a_good_configuration(tmp_path: Path) -> None:
    done = flask_command(tmp_path, GOOD, "check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "3 warnings."  # no error


def test_flask_registration_check_prints_what_init_app_raises(tmp_path: Path) -> None:
    done = flask_command(tmp_path, BAD, "check")
    with pytest.raises(ConfigurationError) as caught:
        configured(BAD)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[-1] == "3 errors."
    printed = " ".join(done.stdout.split())
    for finding in caught.value.findings:
        assert " ".join(str(finding).split()) in printed
    assert len(caught.value.findings) == 3


def test_flask_registration_settings_prints_every_value_and_default(tmp_path: Path) -> None:
    done = flask_command(tmp_path, GOOD, "settings")
    assert (done.returncode, done.stderr) == (0, "")
    blocks = settings_printed(done.stdout)
    assert blocks["REGISTRATION_PASSWORD_MIN_LENGTH"] == ("15", "8")
    assert blocks["REGISTRATION_REGISTER_VERIFICATION_PERIOD"] == ("2 hours", "7 days")
    assert blocks[URL] == ("'https://example.com/verify/'", "None")
    assert blocks["REGISTRATION_USER_LOGIN_FIELDS"] == ("['username']", "['username']")


def test_flask_registration_settings_fails_with_what_init_app_raises(tmp_path: Path) -> None:
    done = flask_command(tmp_path, BAD, "settings")
    assert (done.returncode, done.stdout) == (1, "")
    with pytest.raises(ConfigurationError) as caught:
        configured(BAD)
    assert done.stderr.strip() == str(caught.value)


def settings_printed(output: str) -> dict[str, tuple[str, str]]:
    """Each setting's value and default as printed."""
    lines = [line.strip() for line in output.splitlines()]
    return {
        line: (
            lines[i + 1].removeprefix("value:").strip(),
            lines[i + 2].removeprefix("default:").strip(),
        )
        for i, line in enumerate(lines)
        if line.startswith("REGISTRATION_") and lines[i + 1].startswith("value:")
    }


def test_in_one_process_check_is_content_with_a_good_configuration() -> None:
    result = invoke(configured, "check")
    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == "4 warnings."  # no error


def test_in_one_process_check_and_settings_print_the_problems_and_exit_with_one() -> None:
    for command, stream in (("check", "stdout"), ("settings", "stderr")):
        result = invoke(lambda: configured(BAD), command)
        assert result.exit_code == 1
        for name in ("SECRET_KEY", URL, "REGISTRATION_COLOUR"):
            assert f"error: {name} " in getattr(result, stream)
            assert f"error: {name} " in result.output
        assert bool(result.stdout) == (stream == "stdout")
        assert bool(result.stderr) == (stream == "stderr")


def test_an_application_without_a_registration_is_told_so() -> None:
    result = invoke(lambda: Flask("bare"), "check")
    assert result.exit_code == 1
    assert "Call registration.init_app(app)" in result.stderr


def test_the_page_of_settings_names_what_the_command_prints_and_needs_no_application() -> None:
    table = invoke(lambda: Flask("bare"), "settings", "--markdown")
    assert table.exit_code == 0
    keys = set(re.findall(r"^### `(\w+)`$", table.output, re.MULTILINE))
    flows = [import_string(path) for path in OPTIONAL_FLOWS]
    optional = {each.key for flow in flows for each in declarations(flow.group)}
    # An application has no settings of an optional package until one of them asks for the package.
    asked_for = {"REGISTRATION_OUTBOX_LEASE": 60}
    printed = settings_printed(invoke(lambda: configured(asked_for), "settings").output)
    assert keys == optional | set(printed)
    without = settings_printed(invoke(configured, "settings").output)
    assert set(printed) - set(without) == {*asked_for, "REGISTRATION_OUTBOX_RETENTION"}
    _, _, about = table.output.partition("### `REGISTRATION_PASSWORD_MIN_LENGTH`\n")
    assert "- Type: int\n- Default: 8\n" in about.partition("###")[0]


def test_a_setting_prints_as_a_person_would_say_it() -> None:
    printed = settings_printed(
        invoke(
            lambda: configured(
                {
                    "REGISTRATION_REGISTER_VERIFICATION_PERIOD": 1.5,
                    "REGISTRATION_MAIL_TIMEOUT": timedelta(minutes=1),
                    "REGISTRATION_VERIFICATION_URL_BUILDER": build_url,
                    "REGISTRATION_REGISTER_OUTPUT_SCHEMA_CLASS": GreetingSchema,
                }
            ),
            "settings",
        ).output
    )
    assert printed["REGISTRATION_REGISTER_VERIFICATION_PERIOD"][0] == "1.5 seconds"
    assert printed["REGISTRATION_MAIL_TIMEOUT"] == ("1 minute", "10 seconds")
    assert (
        printed["REGISTRATION_VERIFICATION_URL_BUILDER"][0] == "tests.test_configuration.build_url"
    )
    assert (
        printed["REGISTRATION_REGISTER_OUTPUT_SCHEMA_CLASS"][0]
        == "tests.test_configuration.GreetingSchema"
    )
    assert printed["REGISTRATION_PREVENT_ENUMERATION"] == ("True", "True")


@each_row(
    ("settings", "key", "says"),
    [
        pytest.param(
            {"URL_PREFIX": "accounts"},
            "URL_PREFIX",
            "begins with a slash",
            id="a prefix without a slash",
        ),
        pytest.param(
            {"URL_PREFIX": "/<tenant>"},
            "URL_PREFIX",
            "begins with a slash",
            id="a prefix with a variable",
        ),
        pytest.param(
            {"PASSWORD_HASHER": 5},
            "PASSWORD_HASHER",
            "is 5, but must be a pwdlib hasher",
            id="a number for a hasher",
        ),
        pytest.param(
            {"PASSWORD_MIN_LENGTH": 257},
            "PASSWORD_MIN_LENGTH",
            "is 257, but must be at most 256.",
            id="no password is so long",
        ),
        pytest.param(
            {"PASSWORD_MIN_STRENGTH": 5},
            "PASSWORD_MIN_STRENGTH",
            "is 5, but must be at most 4.",
            id="no password so strong",
        ),
        pytest.param(
            {"MAIL_THREADS": 0},
            "MAIL_THREADS",
            "is 0, but must be at least 1.",
            id="no thread that sends",
        ),
        pytest.param(
            {"MAIL_TIMEOUT": 0},
            "MAIL_TIMEOUT",
            "is 0, but must be at least 0.001 seconds.",
            id="no time for the mail server",
        ),
        pytest.param(
            {"LOGIN_AUTHENTICATE_SESSION": False},
            "LOGIN_AUTHENTICATE_SESSION",
            "LOGIN_RETRIEVE_TOKEN = True",
            id="a login that gives nothing",
        ),
    ],
)
def test_a_value_of_the_right_type_that_cannot_work_is_a_problem(
    settings: dict[str, Any], key: str, says: str
) -> None:
    found = problems({f"REGISTRATION_{name}": value for name, value in settings.items()})
    assert list(found) == [f"REGISTRATION_{key}"]
    assert says in found[f"REGISTRATION_{key}"]


# The flows


def test_an_application_imports_no_flow_that_it_does_not_mount() -> None:
    program = """
import sys
from importlib import import_module
from flask_registration.flows.default import DEFAULT_FLOWS, OPTIONAL_FLOWS
from tests.site import make_site
site = make_site()
assert site.register().status_code == 201
optional = {path.partition(":")[0] for path in OPTIONAL_FLOWS}
auth = {f"flask_registration.auth.{name}" for name in "challenges codes credentials totp".split()}
http = {f"flask_registration.http.{name}" for name in ("codes", "steps")}
unused = {*optional, *auth, *http, "altcha", "pyotp", "cryptography", "segno"}
assert not unused & sys.modules.keys(), unused & sys.modules.keys()
assert not {import_module(name).flow for name in optional} & {*DEFAULT_FLOWS}
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# The other models


@each_row(
    ("models", "says"),
    [
        pytest.param(
            lambda db: [define_login(db), define_user(SQLAlchemy())],
            "has User, which is not a model with a mixin of the extension.",
            id="the user model",
        ),
        pytest.param(lambda db: [LoginMixin], "has LoginMixin, which is not a model", id="a mixin"),
        pytest.param(lambda db: [None], "has None, which is not a model", id="nothing"),
        pytest.param(
            lambda db: [define_login(db), define_login(SQLAlchemy())],
            "has both Login and Login, which have the same mixin.",
            id="two tables of sessions",
        ),
    ],
)
def test_models_without_one_role_are_a_problem(models: Any, says: str) -> None:
    found = problems(models=models)
    assert list(found) == ["models"]
    assert says in found["models"]


def test_the_mixin_says_what_a_model_is_for() -> None:
    app = configured(models=lambda db: [define_outbox(db), define_login_with_foreign_key(db)])
    models = app.extensions["registration"].setup.models
    assert models["outbox"].__name__ == "Outbox"
    assert models["login"].__name__ == "Login"


def test_models_may_be_passed_in_two_places_and_twice() -> None:
    app, db = Flask("tests.site"), SQLAlchemy()
    app.config.update(CONFIG, SQLALCHEMY_DATABASE_URI="sqlite://")
    db.init_app(app)
    Mail(app)
    login, outbox = define_login(db), define_outbox(db)
    registration = Registration(user_model=define_user(db), models=[login, outbox])
    registration.init_app(app, models=[login])
    models = app.extensions["registration"].setup.models
    assert (models["login"], models["outbox"]) == (login, outbox)


def test_another_extension_in_place_of_flask_sqlalchemy_is_a_problem() -> None:
    app = Flask("tests.site")
    app.config.update(CONFIG)
    app.extensions["sqlalchemy"] = object()
    Mail(app)
    with pytest.raises(ConfigurationError) as refused:
        Registration(user_model=define_user(SQLAlchemy())).init_app(app)
    (problem,) = refused.value.problems
    assert problem.setting == "Flask-SQLAlchemy"
