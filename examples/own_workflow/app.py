"""A site for the invited: nobody can register, but whoever has an account can invite others."""

from __future__ import annotations

import secrets
from typing import Any

from flask import Flask, render_template
from flask_mail import Mail, Message, email_dispatched
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey, select
from sqlalchemy.orm import Mapped, mapped_column

from flask_registration import DEFAULT_FLOWS, Registration, UserMixin
from flask_registration.flows import verification_redirects

from . import invitations

db = SQLAlchemy()
mail = Mail()


class User(UserMixin, db.Model):  # type: ignore[name-defined,misc]  # Flask-SQLAlchemy makes the class at run time
    """Somebody with an account."""

    invited_by_id: Mapped[int | None] = mapped_column(ForeignKey("user.id", ondelete="SET NULL"))


registration = Registration(
    user_model=User, flows=[*DEFAULT_FLOWS, verification_redirects.flow, invitations.flow]
)


def create_app(**settings: Any) -> Flask:
    """Make the application."""
    app = Flask(__name__)
    app.config.from_mapping(
        # Set your own: a new key at each start ends all sessions and links.
        SECRET_KEY=secrets.token_hex(),
        SQLALCHEMY_DATABASE_URI="sqlite:///own_workflow.sqlite",
        MAIL_DEFAULT_SENDER="no-reply@example.com",
        MAIL_SUPPRESS_SEND=True,  # print_mail shows it instead
        REGISTRATION_SITE_NAME="The Club",
        REGISTRATION_LANGUAGES=["en"],  # that of the pages
        REGISTRATION_REGISTER_FLOW_ENABLED=False,
        REGISTRATION_REGISTER_VERIFICATION_URL="http://127.0.0.1:5000/accounts/verify-registration/",
        REGISTRATION_INVITATION_URL="http://127.0.0.1:5000/join",
    )
    app.config.from_prefixed_env()  # FLASK_SECRET_KEY sets SECRET_KEY, and so on
    app.config.update(settings)
    db.init_app(app)
    mail.init_app(app)
    registration.init_app(app)
    email_dispatched.connect(print_mail, app)
    invitations.invitation_accepted.connect(tell, app)
    with app.app_context():
        db.create_all()
        create_first_user()

    @app.get("/join")
    def join_page() -> str:
        return render_template("join.html")

    return app


def create_first_user() -> None:
    """Somebody has to invite the first."""
    if db.session.scalar(select(User.id).limit(1)) is None:
        password = secrets.token_urlsafe(16)
        registration.create_user(username="alice", email="alice@example.com", password=password)
        db.session.commit()
        print(f"\nThe first account is alice, with the password {password}", flush=True)


def tell(app: Flask, user: User, inviter: User, **_: Any) -> None:
    """What else happens when somebody accepts."""
    app.logger.info("%s has come by invitation of %s.", user.username, inviter.username)


def print_mail(app: Flask, message: Message, **_: Any) -> None:
    """Print a mail; it is called by the thread that sends."""
    print(
        f"\nTo: {message.recipients[0]}\nSubject: {message.subject}\n\n{message.body}", flush=True
    )
