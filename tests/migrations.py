"""Databases from before, migrations, and the application over what they leave."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from alembic.migration import MigrationContext
from alembic.operations import Operations
from flask import Flask
from flask.testing import FlaskClient
from flask_mail import Mail
from sqlalchemy import Connection, MetaData, create_engine, inspect

from flask_registration import Registration


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


@contextmanager
def emptied(url: str) -> Iterator[str]:
    """A database that is empty again afterwards."""
    yield url
    with connected(url) as connection:
        metadata = MetaData()
        metadata.reflect(connection)
        metadata.drop_all(connection)


def migrate(upgrade: Callable[[], object], url: str) -> None:
    """Run a migration as Alembic does."""
    with connected(url) as connection, Operations.context(MigrationContext.configure(connection)):
        upgrade()


class Moved:
    """An application over a database from before.

    :param page: has its ``db`` and its ``User``.
    """

    def __init__(
        self, page: Any, url: str, models: Sequence[type[Any]] = (), **config: Any
    ) -> None:
        self.page = page
        self.app = Flask(__name__)
        self.app.config.update(
            TESTING=True,
            SECRET_KEY="a secret of this machine",
            SQLALCHEMY_DATABASE_URI=url,
            MAIL_DEFAULT_SENDER="no-reply@example.com",
            REGISTRATION_REGISTER_VERIFICATION_URL="https://example.com/verify-registration/",
            **config,
        )
        page.db.init_app(self.app)
        Mail(self.app)
        self.registration = Registration(self.app, user_model=page.User, models=models)

    def close(self) -> None:
        with self.app.app_context():
            self.page.db.session.remove()
            self.page.db.engine.dispose()

    def client(self) -> FlaskClient:
        return self.app.test_client()

    def user(self, email: str) -> Any:
        with self.app.app_context():
            return self.page.db.session.scalars(
                self.page.db.select(self.page.User).filter_by(email=email)
            ).one()

    def assert_columns_are_as_declared(self) -> None:
        """A column without a value must be refused where the model says so."""
        with self.app.app_context():
            declared = self.page.User.__table__
            stored = {
                column["name"]: column
                for column in inspect(self.page.db.engine).get_columns(declared.name)
            }
            for column in declared.columns:
                assert stored[column.name]["nullable"] == column.nullable, column.name

    def reply(self, login: str, password: str) -> str:
        reply = self.client().post("/accounts/login/", json={"login": login, "password": password})
        return str(reply.get_json().get("code", "let in"))
