"""The accounts of an application under test: opened, logged in, asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextvars import Context
from difflib import get_close_matches
from typing import Any, cast

from flask import Flask, session
from flask.testing import FlaskClient
from sqlalchemy import inspect
from werkzeug.test import TestResponse

from ..extension import Registration
from ..identity import LoginSettings
from ..kit import Kit
from ..loaders import adopt_loaders
from ..pending import RegisterSettings
from ..users import User
from ..web import WebSettings
from .client import new_client
from .clock import Clock
from .outbox import Outbox
from .uniform import compare

#: A password that passes the policy.
PASSWORD = "correct horse battery staple"  # noqa: S105 -- of accounts in tests


class Accounts:
    """What the fixture ``accounts`` gives.

    :ivar app: the application under test.
    :ivar outbox: the mails that have left.
    :ivar password: the password of everybody who is given no other.
    """

    def __init__(self, app: Flask, outbox: Outbox, stop_time: Callable[[], Clock]) -> None:
        self.app = app
        self.outbox = outbox
        self.password = PASSWORD
        self._kit: Kit = app.extensions["registration"]
        self._db = app.extensions["sqlalchemy"]
        self._stop_time = stop_time

    @property
    def clock(self) -> Clock:
        """The time, which stands still from when this is first asked for until the test ends."""
        return self._stop_time()

    # Asking

    def client(self) -> FlaskClient:
        """A browser that nobody has used yet."""
        return new_client(self.app)

    def url(self, endpoint: str) -> str:
        """The path of an endpoint: ``"profile"``, say, is at ``/accounts/profile/``.

        :raises ValueError: the application has no such endpoint, switched off or not.
        """
        __tracebackhide__ = True
        path = endpoint.strip("/")
        there = [each.path.strip("/") for flow in self._kit.flows for each in flow.endpoints]
        if not any(re.fullmatch(re.sub(r"<.+?>", "[^/]+", known), path) for known in there):
            nearest = get_close_matches(path, there, n=1, cutoff=0) or ["none"]
            raise ValueError(f"There is no endpoint {path!r}; the nearest is {nearest[0]!r}.")
        return f"{self._kit.group(WebSettings).url_prefix}/{path}/"

    def post(
        self,
        endpoint: str,
        body: Mapping[str, Any] | None = None,
        *,
        client: FlaskClient | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> TestResponse:
        """POST JSON to an endpoint, ``"reset-password"`` say.

        :param client: who asks; a new client, unless given.
        :raises ValueError: the application has no such endpoint.
        """
        __tracebackhide__ = True
        return (client or self.client()).post(self.url(endpoint), json=dict(body or {}), headers=dict(headers or {}))

    def register(self, name: str = "alice", **fields: Any) -> TestResponse:
        """Register somebody.

        :param name: what stands in every field by which users log in, and in front of ``@example.com`` in the address.
        :param fields: more of the body, or others than these.
        """
        body = self._fields(name, fields)
        if self._kit.group(RegisterSettings).register_schema_password_confirm:
            body.setdefault("password_confirm", body["password"])
        return self.post("register", body)

    # Without a request

    def create_user(self, name: str = "alice", *, verified: bool = True, **fields: Any) -> Any:
        """Open an account, as ``Registration.create_user`` does, and commit it; returns the user, detached.

        :param name: as for :meth:`register`.
        :param fields: more columns, or other values than these.
        """
        return Context().run(self._create_user, self._fields(name, fields), verified)

    def login_as(self, user: User, *, fresh: bool = True) -> FlaskClient:
        """A client that is logged in: by a session, or by a token where logins open none.

        No password is hashed, nothing is announced, and ``last_login`` stays.

        :param user: a user of the application's model, from whatever database session.
        :param fresh: whether they have just shown the password.
        :raises TypeError: this is no user: a name, say.
        :raises ValueError: the user is not in the database, or suspended.
        """
        __tracebackhide__ = True
        client = self.client()
        Context().run(self._log_in, client, user, fresh)
        return client

    def token_for(self, user: User) -> str:
        """A token for the header ``Authorization: Bearer …``; the password has just been shown for it.

        :raises TypeError: this is no user: a name, say.
        :raises ValueError: the user is not in the database, or suspended.
        """
        __tracebackhide__ = True
        return Context().run(self._provide_token, user)

    # What must hold

    def assert_uniform_answers(self, *, statements: bool = False, **requests: Callable[[], TestResponse]) -> None:
        """Make requests, and fail if any answer looks other than the first.

        Status, headers and body count; not the value of a cookie, and not a text that the request itself has sent.

        :param statements: compare which kinds of statements the database got, too.
        :param requests: each by a name for the message: ``nobody=lambda: …, member=lambda: …``.
        :raises AssertionError: with what differs.
        """
        __tracebackhide__ = True
        compare(self.app, requests, statements=statements)

    def _fields(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        fields = self._kit.fields
        made = {field: name for field in (*fields.login, fields.username) if field}
        if fields.email:
            made[fields.email] = name if "@" in name else f"{name}@example.com"
        return {**made, "password": self.password, **given}

    def _create_user(self, fields: dict[str, Any], verified: bool) -> Any:
        with self.app.app_context():
            user = Registration().create_user(verified=verified, **fields)
            self._db.session.commit()
            self._db.session.refresh(user)
            self._db.session.expunge(user)
            return user

    def _log_in(self, client: FlaskClient, user: User, fresh: bool) -> None:
        __tracebackhide__ = True
        opens_session = self._kit.group(LoginSettings).login_authenticate_session
        with self.app.test_request_context(environ_base=client.environ_base):
            adopt_loaders()  # which requests do, and this is none
            stored = self._stored(user)
            if opens_session:
                self._kit.identity.login(stored, fresh=fresh)
                kept = dict(session)
            else:
                token = self._kit.identity.provide_token(stored, fresh=fresh)
                client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
            self._kit.commit()
        if opens_session:
            with client.session_transaction() as opened:
                opened.update(kept)

    def _provide_token(self, user: User) -> str:
        __tracebackhide__ = True
        with self.app.test_request_context():
            token = self._kit.identity.provide_token(self._stored(user), fresh=True)
            self._kit.commit()
            return token

    def _stored(self, user: User) -> User:
        """This user in the current database session.

        :raises TypeError: this is no user.
        :raises ValueError: there is none, or it may not be logged in.
        """
        __tracebackhide__ = True
        model = self._kit.fields.model
        if not isinstance(user, model):
            raise TypeError(f"Pass the {model.__name__}, which accounts.create_user() returns, and not {user!r}.")
        key = cast(Any, inspect(user)).identity
        stored = key and self._db.session.get(model, key)
        if stored is None:
            raise ValueError(f"{type(user).__name__} is not in the database: add it and commit first.")
        if not self._kit.users.state(stored).is_active:
            raise ValueError(f"{type(user).__name__} {key[0]} is suspended: nobody can be logged in to it.")
        return cast(User, stored)
