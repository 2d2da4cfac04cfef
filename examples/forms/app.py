"""A site with accounts in HTML forms: ``flask --app examples/forms/app.py run --debug``."""

from __future__ import annotations

import secrets
from typing import Any

from flask import Flask
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

from .views import site

db = SQLAlchemy()
mail = Mail()
registration = Registration(flows=[*DEFAULT_FLOWS, second_factor.flow])


class User(UserMixin, db.Model):  # type: ignore[name-defined,misc]  # made at run time
    """A user of the site."""


class Login(LoginMixin, db.Model):  # type: ignore[name-defined,misc]
    """A session, stored so that the user can see it and end it."""


class Challenge(ChallengeMixin, db.Model):  # type: ignore[name-defined,misc]
    """A login that waits for a code."""


class Credential(CredentialMixin, db.Model):  # type: ignore[name-defined,misc]
    """The authenticator app of a user, or a recovery code."""


def create_app(**settings: Any) -> Flask:
    """Create the application."""
    app = Flask(__name__)
    app.config.from_mapping(
        # Set your own: a new key at each start ends all sessions and links.
        SECRET_KEY=secrets.token_hex(),
        # Set your own: without them, no user can log in with a second factor.
        REGISTRATION_CREDENTIAL_KEYS=[secrets.token_hex()],
        SQLALCHEMY_DATABASE_URI="sqlite:///forms.sqlite",
        MAIL_DEFAULT_SENDER="no-reply@example.com",
        MAIL_SUPPRESS_SEND=True,  # print_mail prints it
        REGISTRATION_SITE_NAME="Forms",
        REGISTRATION_LANGUAGES=["en"],  # the language of the templates
        REGISTRATION_USER_LOGIN_FIELDS=["username", "email"],
        # The other links lead to pages beside this one: /reset-password/, /verify-email/, ...
        REGISTRATION_REGISTER_VERIFICATION_URL="http://127.0.0.1:5000/verify-registration/",
    )
    app.config.from_prefixed_env()  # FLASK_SECRET_KEY sets SECRET_KEY, and so on
    app.config.update(settings)
    db.init_app(app)
    mail.init_app(app)
    registration.init_app(app, user_model=User, models=[Login, Challenge, Credential])
    app.login_manager.login_view = "site.login"  # type: ignore[attr-defined]
    app.register_blueprint(site)
    email_dispatched.connect(print_mail, app)
    with app.app_context():
        db.create_all()
    return app


def print_mail(app: Flask, message: Message, **_: Any) -> None:
    """Print an e-mail; the thread that sends it calls this."""
    recipient = message.recipients[0]
    print(f"\nTo: {recipient}\nSubject: {message.subject}\n\n{message.body}", flush=True)
