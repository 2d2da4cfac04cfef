"""The back end of a single-page application on another origin: JSON only, with a session cookie."""

from __future__ import annotations

import secrets
from typing import Any

from flask import Flask
from flask_cors import CORS
from flask_mail import Mail, Message, email_dispatched
from flask_sqlalchemy import SQLAlchemy

from flask_registration import (
    DEFAULT_FLOWS,
    ChallengeMixin,
    CredentialMixin,
    LoginMixin,
    Registration,
    UserMixin,
)
from flask_registration.flows import second_factor

db = SQLAlchemy()
mail = Mail()
registration = Registration(flows=[*DEFAULT_FLOWS, second_factor.flow])


class User(UserMixin, db.Model):  # type: ignore[name-defined,misc]  # Flask-SQLAlchemy makes the class at run time
    """Somebody with an account."""

    LOGIN_FIELDS = ["username", "email"]  # either will do


class Login(LoginMixin, db.Model):  # type: ignore[name-defined,misc]
    """A session, so that a copied cookie is dead after the logout."""


class Challenge(ChallengeMixin, db.Model):  # type: ignore[name-defined,misc]
    """A login that waits for a code."""


class Credential(CredentialMixin, db.Model):  # type: ignore[name-defined,misc]
    """The authenticator app of a user, or a recovery code."""


def create_app(**settings: Any) -> Flask:
    """Make the application."""
    app = Flask(__name__)
    app.config.from_mapping(
        FRONTEND_URL="http://127.0.0.1:5173",  # its origin, without a slash at the end
        # Set your own: a new key at each start ends all sessions and links.
        SECRET_KEY=secrets.token_hex(),
        # Set your own: without them, no user can log in with a second factor.
        REGISTRATION_CREDENTIAL_KEYS=[secrets.token_hex()],
        SQLALCHEMY_DATABASE_URI="sqlite:///spa.sqlite",
        MAIL_DEFAULT_SENDER="no-reply@example.com",
        MAIL_SUPPRESS_SEND=True,  # print_mail shows it instead
        REGISTRATION_SITE_NAME="Two Origins",
        REGISTRATION_LANGUAGES=["en"],  # that of the pages
        # The pages ask for a password once, and show it on demand.
        REGISTRATION_REGISTER_SCHEMA_PASSWORD_CONFIRM=False,
        REGISTRATION_CHANGE_PASSWORD_SCHEMA_PASSWORD_CONFIRM=False,
    )
    app.config.from_prefixed_env()  # FLASK_FRONTEND_URL sets FRONTEND_URL, and so on
    app.config.update(settings)
    frontend = app.config["FRONTEND_URL"]
    app.config.update(
        # The other mailed links lead to pages beside this one.
        REGISTRATION_REGISTER_VERIFICATION_URL=f"{frontend}/verify-registration/",
        SESSION_COOKIE_SAMESITE="Lax",  # both origins belong to one site, see README.md
        SESSION_COOKIE_SECURE=frontend.startswith("https://"),
    )
    db.init_app(app)
    mail.init_app(app)
    registration.init_app(app, user_model=User, models=[Login, Challenge, Credential])
    CORS(
        app,
        origins=[frontend],  # nobody else: whoever is named here can do what the user can
        supports_credentials=True,  # the cookie goes along
        expose_headers=["Retry-After"],
        max_age=600,  # seconds until a browser asks again whether it may
    )
    email_dispatched.connect(print_mail, app)
    with app.app_context():
        db.create_all()
    return app


def print_mail(app: Flask, message: Message, **_: Any) -> None:
    """Print a mail; it is called by the thread that sends."""
    print(
        f"\nTo: {message.recipients[0]}\nSubject: {message.subject}\n\n{message.body}", flush=True
    )
