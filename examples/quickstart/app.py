"""A small application with accounts: ``flask --app examples/quickstart/app.py run --debug``."""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from flask import Flask, Response, render_template, request
from flask_login import current_user
from flask_mail import Mail
from flask_sqlalchemy import SQLAlchemy
from marshmallow import ValidationError

from flask_registration import (
    DEFAULT_FLOWS,
    ChallengeMixin,
    CredentialMixin,
    LoginMixin,
    Registration,
    UserMixin,
    current_registration,
    gate,
)
from flask_registration.flows import register, second_factor, sign_up

from . import mailbox

FOLDER = Path(__file__).resolve().parent
#: The messages of the pages in other languages than English.
TRANSLATIONS: dict[str, dict[str, str]] = json.loads(
    (FOLDER / "translations.json").read_text("utf-8")
)
LANGUAGES = {"en": "English", "de": "Deutsch"}

db = SQLAlchemy()
mail = Mail()
default_flows = [flow for flow in DEFAULT_FLOWS if flow is not register.flow]
registration = Registration(flows=[sign_up.flow, *default_flows, second_factor.flow, gate.flow])


class User(UserMixin, db.Model):  # type: ignore[name-defined,misc]  # Flask-SQLAlchemy makes the class at run time
    """A user with an account. Add your own columns here."""


class Login(LoginMixin, db.Model):  # type: ignore[name-defined,misc]
    """A session or a token, stored so that it can be listed, and revoked by a logout."""


class Challenge(ChallengeMixin, db.Model):  # type: ignore[name-defined,misc]
    """A login that waits for the code of the authenticator app."""


class Credential(CredentialMixin, db.Model):  # type: ignore[name-defined,misc]
    """The authenticator app of a user, or a recovery code."""


def create_app(instance_path: str | None = None) -> Flask:
    """Create the application.

    :param instance_path: the absolute path of the folder for the database, the keys and the
        e-mails.
    """
    app = Flask(__name__, instance_path=instance_path or str(FOLDER / "instance"))
    app.config.from_mapping(
        SQLALCHEMY_DATABASE_URI="sqlite:///quickstart.sqlite",
        MAIL_DEFAULT_SENDER=("Quickstart", "no-reply@example.com"),
        MAIL_SUPPRESS_SEND=True,  # e-mails go to the terminal and to /mailbox/, not to a server
        REGISTRATION_SITE_NAME="Quickstart",
        REGISTRATION_SITE_BRAND_COLOR="#0f766e",  # of the buttons in e-mails
        REGISTRATION_LANGUAGES=list(LANGUAGES),
        REGISTRATION_LOCALE_SELECTOR=chosen_language,  # responses and e-mails follow the pages
        REGISTRATION_USER_LOGIN_FIELDS=["username", "email"],  # users log in with either
        # Links lead to pages beside this one: /finish-sign-up/, /reset-password/, …
        REGISTRATION_REGISTER_VERIFICATION_URL=f"http://127.0.0.1:{port()}/verify-registration/",
        REGISTRATION_RESET_PASSWORD_SCHEMA_PASSWORD_CONFIRM=True,  # the page asks for it twice
        REGISTRATION_GATE=gate.ProofOfWork(),  # the browser computes before an e-mail is sent
    )
    app.config.from_prefixed_env()  # FLASK_MAIL_SERVER sets MAIL_SERVER, and so on
    folder = Path(app.instance_path)
    app.secret_key = app.secret_key or kept_secret(folder / "secret_key")
    app.config.setdefault("REGISTRATION_CREDENTIAL_KEYS", [kept_secret(folder / "credential_key")])

    db.init_app(app)
    mail.init_app(app)
    registration.init_app(app, user_model=User, models=[Login, Challenge, Credential])
    mailbox.init_app(app)
    with app.app_context():
        db.create_all()

    app.add_template_global(t)
    app.context_processor(
        lambda: {"language": language(), "languages": LANGUAGES, "translations": TRANSLATIONS}
    )

    @app.get("/")
    def home() -> str:
        return render_template("account.html" if current_user.is_authenticated else "login.html")

    @app.get("/sign-up/")
    @app.get("/forgot-password/")
    @app.get("/second-factor/")
    @app.get("/finish-sign-up/")  # this and the next three: where links in e-mails lead
    @app.get("/reset-password/")
    @app.get("/verify-email/")
    @app.get("/undo-email-change/")
    def page() -> str:
        return render_template(f"{request.path.strip('/')}.html")

    @app.post("/check-password/")
    def check_password() -> dict[str, Any]:
        """Return how strong a new password is, and its errors, before the form is sent."""
        password = request.form.get("password", "")
        names = [request.form.get(name, "") for name in ("username", "email")]
        if current_user.is_authenticated:
            names += [current_user.username, current_user.email]
        passwords, errors = current_registration.passwords, []
        try:
            passwords.check(password, names)
        except ValidationError as error:
            errors += error.messages_dict["password"]
        return {
            "score": passwords.score(password, names),  # 0 to 4
            "errors": current_registration.languages.for_response().translate(errors),
        }

    @app.after_request
    def protect(response: Response) -> Response:
        """Let a browser keep no page, and run no script of others."""
        if response.mimetype == "text/html" and not request.blueprint:
            response.headers["Cache-Control"] = "no-store"  # for the Back button after a logout
            response.headers["Content-Security-Policy"] = (
                "default-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'"
            )
        return response

    return app


def port() -> str:
    """Return the port of ``flask run --port``, or of the variable ``PORT``, or 5000."""
    command = click.get_current_context(silent=True)
    given = command.params.get("port") if command else None
    return str(given or os.environ.get("PORT", 5000))


def chosen_language(*, request: Any, **kwargs: Any) -> str | None:
    """Return the language that the user has chosen on a page. None: that of the browser."""
    chosen = request.cookies.get("language") if request else None
    return chosen if chosen in LANGUAGES else None


def language() -> str:
    """Return the language of a page."""
    preferred = request.accept_languages.best_match(LANGUAGES)
    return chosen_language(request=request) or preferred or "en"


def t(text: str) -> str:
    """Translate a message of a page."""
    return TRANSLATIONS.get(language(), {}).get(text, text)


def kept_secret(file: Path) -> str:
    """Return the key in a file, and create it if it is missing.

    Processes that start at the same time have the same key.
    """
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f"{file.name}-{secrets.token_hex(4)}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_hex())
        with suppress(FileExistsError):  # another process was first
            file.hardlink_to(draft)  # complete, or not there
        draft.unlink()
    return file.read_text()
