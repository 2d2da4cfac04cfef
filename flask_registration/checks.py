"""What must be so at start-up, beside what each flow checks for itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import fields as dataclass_fields
from importlib.util import find_spec
from typing import Any

import jinja2
from flask import Flask

from .attempts import RetrySettings
from .flow import Flow
from .identity import LoginSettings
from .mail import MailSettings, parse_templates
from .outbox_settings import OutboxSettings
from .passwords import PASSWORD_MAX_LENGTH, STRONGEST, PasswordSettings, is_hasher
from .settings import PREFIX, Settings, SettingsReader
from .throttles import Declared
from .web import WebSettings


def check_surroundings(app: Flask, reader: SettingsReader, sender: Any, *, mail: bool) -> None:
    """Note what must be there before us; ``mail`` says whether any is sent."""
    if not app.secret_key or not isinstance(app.secret_key, str | bytes):
        wrong = "is not text" if app.secret_key else "is not set"
        make_one = "python -c 'import secrets; print(secrets.token_hex())'"
        reader.problem("SECRET_KEY", f"{wrong}: set it to the output of {make_one}.")
    if "sqlalchemy" not in app.extensions:
        reader.problem("Flask-SQLAlchemy", "is not set up: call db.init_app(app) before registration.init_app(app).")
    if mail and "mail" not in app.extensions:
        reader.problem("Flask-Mail", "is not set up: call mail.init_app(app) before registration.init_app(app).")
    if mail and not sender:
        reader.problem(
            PREFIX + "VERIFICATION_FROM_EMAIL",
            "is not set, nor is MAIL_DEFAULT_SENDER: set one to the address that mails come from, "
            'like "no-reply@example.com".',
        )


def check_dispatcher(app: Flask, reader: SettingsReader, outbox_model: Any, user_model: Any) -> None:
    """Note what a dispatcher needs and has not got."""
    key, name = PREFIX + "MAIL_DISPATCHER", reader.read(MailSettings).mail_dispatcher
    if name == "outbox" and outbox_model is None:
        reader.problem(
            key,
            'is "outbox", for which there is no table: write class Outbox(OutboxMixin, db.Model), and pass '
            "outbox_model=Outbox to Registration or init_app.",
        )
    if outbox_model is not None and user_model is not None:
        where = [
            getattr(getattr(each, "metadata", None), "info", {}).get("bind_key") for each in (outbox_model, user_model)
        ]
        if where[0] != where[1]:
            reader.problem(
                f"{outbox_model.__name__}.__bind_key__",
                f"is {where[0]!r}, so that mails would not be written in one transaction with their cause: make it the "
                f"one of {user_model.__name__}, {where[1]!r}.",
            )
    if name == "celery":
        if not find_spec("celery"):
            reader.problem(key, 'is "celery", which is not installed: pip install "Flask-Registration[celery]".')
        elif "celery" not in app.extensions:
            reader.problem(
                key,
                'is "celery", but the application has none: set app.extensions["celery"] to it before '
                "registration.init_app(app).",
            )


def check_templates(app: Flask, reader: SettingsReader, groups: Sequence[Settings]) -> None:
    """Look for every template that a setting names, without making the application's Jinja environment yet."""
    ours = jinja2.PackageLoader("flask_registration")
    loader = jinja2.ChoiceLoader([app.create_global_jinja_loader(), ours])
    environment = jinja2.Environment()  # noqa: S701 -- renders nothing
    for group in groups:
        for field in dataclass_fields(group):
            if field.name.endswith("_email_templates"):
                key = PREFIX + field.name.upper()
                try:
                    names = parse_templates(getattr(group, field.name))
                except ValueError as error:
                    reader.problem(key, f"{error}.")
                    continue
                for name in filter(None, names):
                    try:
                        loader.get_source(environment, name)
                    except jinja2.TemplateNotFound:
                        reader.problem(
                            key, f"names the template {name!r}, which there is not: make it, or mend the name."
                        )


def check_values(reader: SettingsReader) -> None:
    """Note values that have the right type and cannot work."""
    prefix = reader.read(WebSettings).url_prefix
    if not re.fullmatch(r"((/[^/<>]+)+/?)?|/", prefix):
        reader.problem(PREFIX + "URL_PREFIX", f'is {prefix!r}: give a path that starts with a slash, like "/accounts".')
    passwords = reader.read(PasswordSettings)
    if not is_hasher(passwords.password_hasher):
        wrong = f"is {passwords.password_hasher!r}"
        reader.problem(PREFIX + "PASSWORD_HASHER", f"{wrong}: give a pwdlib hasher or a pwdlib.PasswordHash.")
    if passwords.password_hash_concurrency == 0:
        reader.problem(PREFIX + "PASSWORD_HASH_CONCURRENCY", "is 0, so that nobody could log in: give 1 or more.")
    if passwords.password_min_length > PASSWORD_MAX_LENGTH:
        reader.problem(
            PREFIX + "PASSWORD_MIN_LENGTH", f"is more than {PASSWORD_MAX_LENGTH}, which no password may have."
        )
    if passwords.password_min_strength > STRONGEST:
        reader.problem(PREFIX + "PASSWORD_MIN_STRENGTH", f"is more than {STRONGEST}, the best score there is.")
    login = reader.read(LoginSettings)
    if not (login.login_authenticate_session or login.login_retrieve_token):
        reader.problem(
            PREFIX + "LOGIN_AUTHENTICATE_SESSION",
            f"is off, so that a login gives nothing: set {PREFIX}LOGIN_RETRIEVE_TOKEN = True, or leave it on.",
        )
    if not reader.read(MailSettings).mail_threads:
        reader.problem(PREFIX + "MAIL_THREADS", "is 0, so that no mail would leave: give 1 or more.")
    if not reader.read(MailSettings).mail_timeout:
        reader.problem(PREFIX + "MAIL_TIMEOUT", "is 0, which leaves no time to connect: give a few seconds.")
    if not reader.read(RetrySettings).mail_tries:
        reader.problem(PREFIX + "MAIL_TRIES", "is 0, so that no mail would leave: give 1 or more.")
    if reader.read(OutboxSettings).outbox_lease <= reader.read(MailSettings).mail_timeout:
        reader.problem(
            PREFIX + "OUTBOX_LEASE",
            f"is no longer than {PREFIX}MAIL_TIMEOUT, which a mail can take at each of its steps: give a few minutes.",
        )


def declared_throttles(flows: Iterable[Flow[Any]]) -> dict[str, Declared]:
    """What every endpoint says of its limits, by its name."""
    return {
        endpoint.name: Declared(endpoint.throttles, endpoint.login_required or endpoint.account is not None)
        for flow in flows
        for endpoint in flow.endpoints
    }
