"""The application of every host. README.md lists the environment variables that it reads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_network
from typing import Any

from celery import Celery
from flask import Flask
from flask.typing import ResponseReturnValue
from flask_mail import Mail
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_registration import LoginMixin, OutboxMixin, Registration, UserMixin

db = SQLAlchemy()
mail = Mail()
registration = Registration()


class User(UserMixin, db.Model):  # type: ignore[name-defined,misc]  # Flask-SQLAlchemy makes the class at run time
    """Somebody with an account; your own columns go here."""

    __tablename__ = "users"  # "user" is a reserved word of PostgreSQL


class Login(LoginMixin, db.Model):  # type: ignore[name-defined,misc]
    """A session or a token, good on every host."""


class Outbox(OutboxMixin, db.Model):  # type: ignore[name-defined,misc]
    """Mails that shall leave, where the dispatcher is ``"outbox"``."""


class TrustedProxy:
    """Believes ``X-Forwarded-For`` and ``X-Forwarded-Proto`` of our own proxy, and of nobody else.

    :param networks: where the proxy's connections come from.
    """

    def __init__(self, app: Callable[..., Iterable[bytes]], networks: Iterable[str]) -> None:
        self._app = app
        self._behind_proxy = ProxyFix(app, x_for=1, x_proto=1)
        self._networks = [ip_network(network) for network in networks]

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        peer = ip_address(environ["REMOTE_ADDR"])
        ours = any(peer in network for network in self._networks)
        return (self._behind_proxy if ours else self._app)(environ, start_response)


def create_app() -> Flask:
    """Make the application. ``FLASK_`` and the name of a setting override it."""
    public_url = os.environ["PUBLIC_URL"].rstrip("/")
    secure = public_url.startswith("https://")
    app = Flask(__name__)
    app.config.from_mapping(
        SECRET_KEY=os.environ["SECRET_KEY"],
        SECRET_KEY_FALLBACKS=os.environ.get("SECRET_KEY_FALLBACKS", "").split(),
        SESSION_COOKIE_SECURE=secure,
        SESSION_COOKIE_SAMESITE="Lax",
        REMEMBER_COOKIE_SECURE=secure,
        REMEMBER_COOKIE_SAMESITE="Lax",
        SQLALCHEMY_DATABASE_URI=os.environ["DATABASE_URL"],
        SQLALCHEMY_ENGINE_OPTIONS={
            "pool_size": int(
                os.environ.get("THREADS", "4")
            ),  # no thread waits for another's connection
            "max_overflow": 4,  # the threads that hand mail over
            "pool_pre_ping": True,  # a database that was restarted fails no request
            "connect_args": {"prepare_threshold": None},  # so that PgBouncer may stand between
        },
        RATELIMIT_STORAGE_URI=os.environ["REDIS_URL"],
        RATELIMIT_KEY_PREFIX="flask-registration-production",
        CELERY={
            "broker_url": os.environ["BROKER_URL"],
            "broker_connection_retry_on_startup": True,
            "broker_transport_options": {
                "visibility_timeout": 3600
            },  # Redis only; longer than any wait for a retry
            "task_default_queue": "flask-registration-production",
            "worker_hijack_root_logger": False,
        },
        MAIL_SERVER=os.environ.get("MAIL_SERVER", "127.0.0.1"),
        MAIL_PORT=int(os.environ.get("MAIL_PORT", "1025")),
        MAIL_DEFAULT_SENDER=os.environ.get("MAIL_SENDER", "no-reply@example.com"),
        REGISTRATION_REGISTER_VERIFICATION_URL=f"{public_url}/verify-registration/",
        REGISTRATION_USER_LOGIN_FIELDS=["username", "email"],
        REGISTRATION_MAIL_DISPATCHER="celery",
    )
    app.config.from_prefixed_env()
    trusted = os.environ.get("TRUSTED_PROXIES", "").split()
    app.wsgi_app = TrustedProxy(app.wsgi_app, trusted)  # type: ignore[method-assign]  # as Flask has it

    app.extensions["celery"] = celery = Celery(app.name)
    celery.config_from_object(app.config["CELERY"])
    celery.set_default()
    db.init_app(app)
    mail.init_app(app)
    registration.init_app(app, user_model=User, models=[Login, Outbox])

    @app.get("/health")
    def health() -> ResponseReturnValue:
        """Whether this host can answer: for a load balancer, and for ``run.sh``."""
        try:
            db.session.execute(text("SELECT 1"))
        except SQLAlchemyError:
            return {"database": "unavailable"}, 503
        return {"database": "available"}

    @app.cli.command("create-tables")
    def create_tables() -> None:
        """Create the tables, before any host starts. Later changes need migrations."""
        db.create_all()

    return app
