"""A small application with accounts: ``flask --app examples/quickstart/app.py run --debug``."""

from __future__ import annotations

import secrets
from pathlib import Path

from flask import Flask, render_template
from flask_mail import Mail
from flask_sqlalchemy import SQLAlchemy

from flask_registration import (
    DEFAULT_FLOWS,
    ChallengeMixin,
    CredentialMixin,
    LoginMixin,
    Registration,
    UserMixin,
    gate,
)
from flask_registration.flows import register, second_factor, sign_up

from . import mailbox

db = SQLAlchemy()
mail = Mail()
default_flows = [flow for flow in DEFAULT_FLOWS if flow is not register.flow]
registration = Registration(flows=[sign_up.flow, *default_flows, second_factor.flow, gate.flow])


class User(UserMixin, db.Model):  # type: ignore[name-defined,misc]  # Flask-SQLAlchemy makes the class at run time
    """Somebody with an account; your own columns go here."""


class Login(LoginMixin, db.Model):  # type: ignore[name-defined,misc]
    """A session or a token, stored so that it can be listed, and revoked by a logout."""


class Challenge(ChallengeMixin, db.Model):  # type: ignore[name-defined,misc]
    """A login that waits for the code of the authenticator app."""


class Credential(CredentialMixin, db.Model):  # type: ignore[name-defined,misc]
    """The authenticator app of a user, or a recovery code."""


def create_app(instance_path: str | None = None) -> Flask:
    """Make the application.

    :param instance_path: the absolute path of the folder for the database and the secret key.
    """
    app = Flask(
        __name__, instance_path=instance_path or str(Path(__file__).resolve().parent / "instance")
    )
    app.config.from_mapping(
        SQLALCHEMY_DATABASE_URI="sqlite:///quickstart.sqlite",
        MAIL_DEFAULT_SENDER=("Quickstart", "no-reply@example.com"),
        MAIL_SUPPRESS_SEND=True,  # mail goes to the terminal and to /mailbox/, not to a server
        REGISTRATION_SITE_NAME="Quickstart",
        REGISTRATION_LANGUAGES=["en"],  # that of the page
        REGISTRATION_USER_LOGIN_FIELDS=["username", "email"],  # either will do
        # Links lead to pages beside this one: /finish-sign-up/, /reset-password/, …
        REGISTRATION_REGISTER_VERIFICATION_URL="http://127.0.0.1:5000/verify-registration/",
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

    @app.get("/")
    @app.get("/finish-sign-up/")
    @app.get("/reset-password/")
    @app.get("/verify-email/")
    @app.get("/undo-email-change/")
    def page() -> str:
        return render_template("index.html")

    return app


def kept_secret(file: Path) -> str:
    """The key in a file, made once: one signs links and sessions, one encrypts secrets."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex())
    return file.read_text()
