"""Users log in with the e-mail address. Without a front end, links lead to the package's pages."""

from __future__ import annotations

import secrets
from typing import Any

from flask import Flask
from flask_login import current_user, login_required
from flask_mail import Mail, Message, email_dispatched
from flask_sqlalchemy import SQLAlchemy

from flask_registration import DEFAULT_FLOWS, EmailUserMixin, Registration
from flask_registration.flows import verification_redirects

db = SQLAlchemy()
mail = Mail()


class User(EmailUserMixin, db.Model):  # type: ignore[name-defined,misc]  # Flask-SQLAlchemy makes the class at run time
    """Somebody with an account, who logs in by e-mail address."""

    LOGIN_FIELDS = ["email"]


registration = Registration(user_model=User, flows=[*DEFAULT_FLOWS, verification_redirects.flow])


def create_app(**settings: Any) -> Flask:
    """Make the application."""
    app = Flask(__name__)
    app.config.from_mapping(
        # Set your own: a new key at each start ends all sessions and links.
        SECRET_KEY=secrets.token_hex(),
        SQLALCHEMY_DATABASE_URI="sqlite:///email_only.sqlite",
        MAIL_DEFAULT_SENDER="no-reply@example.com",
        MAIL_SUPPRESS_SEND=True,  # print_mail shows it instead
        REGISTRATION_SITE_NAME="E-mail only",
        REGISTRATION_REGISTER_VERIFICATION_URL="http://127.0.0.1:5000/accounts/verify-registration/",
        REGISTRATION_VERIFY_REGISTRATION_SUCCESS_URL="/welcome",  # the other pages show the result
    )
    app.config.from_prefixed_env()  # FLASK_SECRET_KEY sets SECRET_KEY, and so on
    app.config.update(settings)
    db.init_app(app)
    mail.init_app(app)
    registration.init_app(app)
    email_dispatched.connect(print_mail, app)
    with app.app_context():
        db.create_all()

    @app.get("/welcome")
    def welcome() -> str:
        return "Your e-mail address is confirmed. Now log in."

    @app.get("/hello")
    @login_required  # type: ignore[untyped-decorator]  # Flask-Login ships no types
    def hello() -> dict[str, str]:
        return {"hello": current_user.email}

    return app


def print_mail(app: Flask, message: Message, **_: Any) -> None:
    """Print a mail; it is called by the thread that sends."""
    print(
        f"\nTo: {message.recipients[0]}\nSubject: {message.subject}\n\n{message.body}", flush=True
    )
