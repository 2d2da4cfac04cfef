"""A site with a waiting list: a visitor asks for a place, and an administrator lets the next in."""

from __future__ import annotations

import secrets
from typing import Any

import click
from flask import Flask, render_template
from flask_mail import Mail, Message, email_dispatched

from flask_registration import DEFAULT_FLOWS, Registration
from flask_registration.flows import verification_redirects

from . import waiting_list
from .models import User, db

mail = Mail()
registration = Registration(
    user_model=User, flows=[*DEFAULT_FLOWS, verification_redirects.flow, waiting_list.flow]
)


def create_app(**settings: Any) -> Flask:
    """Make the application."""
    app = Flask(__name__)
    app.config.from_mapping(
        # Set your own: a new key at each start makes all sessions and links invalid.
        SECRET_KEY=secrets.token_hex(),
        SQLALCHEMY_DATABASE_URI="sqlite:///own_workflow.sqlite",
        MAIL_DEFAULT_SENDER="no-reply@example.com",
        MAIL_SUPPRESS_SEND=True,  # print_mail shows it instead
        REGISTRATION_SITE_NAME="The Club",
        REGISTRATION_LANGUAGES=["en"],  # that of the pages
        REGISTRATION_REGISTER_FLOW_ENABLED=False,
        REGISTRATION_REGISTER_VERIFICATION_URL="http://127.0.0.1:5000/accounts/verify-registration/",
        REGISTRATION_WAITING_LIST_URL="http://127.0.0.1:5000/confirm",
        REGISTRATION_WAITING_LIST_REGISTER_URL="http://127.0.0.1:5000/register",
    )
    app.config.from_prefixed_env()  # FLASK_SECRET_KEY sets SECRET_KEY, and so on
    app.config.update(settings)
    db.init_app(app)
    mail.init_app(app)
    registration.init_app(app)
    email_dispatched.connect(print_mail, app)
    with app.app_context():
        db.create_all()

    @app.get("/confirm")
    def confirm_page() -> str:
        return render_template("confirm.html")

    @app.get("/register")
    def register_page() -> str:
        return render_template("register.html")

    @app.cli.command("let-in")
    @click.argument("number", type=click.IntRange(min=1))
    def let_in(number: int) -> None:
        """Let the next ones of the waiting list in."""
        for email in waiting_list.let_in(number):
            click.echo(f"Let in {email}.")

    return app


def print_mail(app: Flask, message: Message, **_: Any) -> None:
    """Print an e-mail; it is called by the thread that sends."""
    print(
        f"\nTo: {message.recipients[0]}\nSubject: {message.subject}\n\n{message.body}", flush=True
    )
