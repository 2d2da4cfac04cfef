"""Tokens as JSON Web Tokens, by Flask-JWT-Extended in place of ours."""

from __future__ import annotations

import hashlib
import secrets
import time
from datetime import timedelta
from typing import Any

from flask import Flask
from flask_jwt_extended import JWTManager, create_access_token, decode_token
from flask_jwt_extended.exceptions import JWTExtendedException
from flask_login import current_user, login_required
from flask_mail import Mail, Message, email_dispatched
from flask_sqlalchemy import SQLAlchemy
from jwt import PyJWTError
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from flask_registration import (
    DEFAULT_FLOWS,
    Registration,
    UserMixin,
    current_registration,
    next_stamp,
)
from flask_registration.flows import verification_redirects

db = SQLAlchemy()
mail = Mail()
jwt = JWTManager()
registration = Registration(
    flows=[*DEFAULT_FLOWS, verification_redirects.flow]
)  # so that mailed links lead somewhere


class User(UserMixin, db.Model):  # type: ignore[name-defined,misc]  # Flask-SQLAlchemy makes the class at run time
    """Somebody with an account."""


class Revoked(db.Model):  # type: ignore[name-defined,misc]
    """A token that was ended before its time."""

    jti: Mapped[str] = mapped_column(String(36), primary_key=True)


class JWTs:
    """What ``REGISTRATION_AUTH_TOKEN_MANAGER_CLASS`` provides."""

    def provide_token(self, user: User, *, fresh: bool = False) -> str:
        token: str = create_access_token(
            str(user.id), fresh=fresh, additional_claims={"stamp": digest_of_stamp(user)}
        )
        return token

    def find_user(self, token: str) -> Any | None:
        claims = self.read(token)
        user: Any = current_registration.users.get(claims["sub"]) if claims else None
        return (
            user
            if user is not None and claims and claims.get("stamp") == digest_of_stamp(user)
            else None
        )

    def revoke_token(self, user: User, *, token: str | None = None) -> None:
        claims = self.read(token) if token else None
        if claims:
            db.session.add(Revoked(jti=claims["jti"]))
        else:
            user.security_stamp = next_stamp(user.security_stamp)

    def age(self, token: str) -> float | None:
        claims = self.read(token)
        return time.time() - claims["iat"] if claims and claims["fresh"] else None

    def read(self, token: str) -> dict[str, Any] | None:
        """What a token says; None if it is no good."""
        try:
            claims: dict[str, Any] = decode_token(token)
        except (PyJWTError, JWTExtendedException):
            return None
        good = claims["type"] == "access" and claims.get(
            "jti"
        )  # without that nobody could revoke it
        return claims if good and db.session.get(Revoked, claims["jti"]) is None else None


def digest_of_stamp(user: User) -> str:
    """What a token tells of the security stamp, which is a secret."""
    return hashlib.sha256(user.security_stamp.encode()).hexdigest()


def create_app(**settings: Any) -> Flask:
    """Make the application."""
    app = Flask(__name__)
    app.config.from_mapping(
        # Set your own: a new key at each start ends all tokens and links.
        SECRET_KEY=secrets.token_hex(),
        SQLALCHEMY_DATABASE_URI="sqlite:///jwt.sqlite",
        MAIL_DEFAULT_SENDER="no-reply@example.com",
        MAIL_SUPPRESS_SEND=True,  # print_mail shows it instead
        JWT_ACCESS_TOKEN_EXPIRES=timedelta(days=14),
        REGISTRATION_SITE_NAME="JSON Web Tokens",
        REGISTRATION_REGISTER_VERIFICATION_URL="http://127.0.0.1:5000/accounts/verify-registration/",
        REGISTRATION_AUTH_TOKEN_MANAGER_CLASS=JWTs,
        REGISTRATION_LOGIN_RETRIEVE_TOKEN=True,
        REGISTRATION_LOGIN_AUTHENTICATE_SESSION=False,
    )
    app.config.from_prefixed_env()  # FLASK_SECRET_KEY sets SECRET_KEY, and so on
    app.config.update(settings)
    db.init_app(app)
    mail.init_app(app)
    jwt.init_app(app)
    registration.init_app(app, user_model=User)
    email_dispatched.connect(print_mail, app)
    with app.app_context():
        db.create_all()

    @app.get("/hello")
    @login_required  # type: ignore[untyped-decorator]  # Flask-Login ships no types
    def hello() -> dict[str, str]:
        return {"hello": current_user.username}

    return app


def print_mail(app: Flask, message: Message, **_: Any) -> None:
    """Print a mail; it is called by the thread that sends."""
    print(
        f"\nTo: {message.recipients[0]}\nSubject: {message.subject}\n\n{message.body}", flush=True
    )
