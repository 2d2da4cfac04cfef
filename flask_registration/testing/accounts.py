"""The fixture ``accounts``: users, clients and requests of a test."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context
from datetime import timedelta
from difflib import get_close_matches
from html import unescape
from typing import Any, cast
from urllib.parse import parse_qsl

from flask import Flask, session
from flask.testing import FlaskClient
from flask_mail import Message, email_dispatched
from sqlalchemy import inspect
from werkzeug.test import TestResponse

from ..auth.sessions import LoginSettings
from ..extension import Registration
from ..flows.register import RegisterSettings
from ..http.responses import HTTPSettings
from ..mail.message import html_to_text
from ..state import RegistrationState
from ..users.store import User
from .uniform import compare


class Clock:
    """A clock in place of ``time.time``, which stands still until a test moves it.

    :ivar now: seconds since the epoch, at first a whole number.
    """

    def __init__(self) -> None:
        self.now: float = int(time.time())

    def move(self, **time: float) -> None:
        """Move the clock forward by ``days``, ``hours``, ``minutes`` or ``seconds``, or back."""
        self.now += timedelta(**time).total_seconds()

    def __call__(self) -> float:
        return self.now


def new_client(app: Flask) -> FlaskClient:
    """Return a client of the application's own class, whose requests share no context.

    With Flask's client, requests share ``flask.g`` if a test holds an application context. Then the
    user of the first request is logged in for all of them.
    """
    base: type[FlaskClient] = app.test_client_class or FlaskClient

    class Client(base):  # type: ignore[misc,valid-type]  # a class made at run time
        def open(self, *args: Any, **kwargs: Any) -> Any:
            if self.preserve_context:  # ``with client:`` reads the context afterwards
                return super().open(*args, **kwargs)
            return Context().run(super().open, *args, **kwargs)

    client: FlaskClient = Client(app, app.response_class, use_cookies=True)
    return client


#: A password that passes the default policy.
PASSWORD = "correct horse battery staple"  # noqa: S105 -- of accounts in tests


class Accounts:
    """The value of the fixture ``accounts``.

    :ivar app: the application under test.
    :ivar outbox: the e-mails that were sent.
    :ivar password: the password of users that get no other one.
    """

    def __init__(self, app: Flask, outbox: Outbox, stop_time: Callable[[], Clock]) -> None:
        self.app = app
        self.outbox = outbox
        self.password = PASSWORD
        self._state: RegistrationState = app.extensions["registration"]
        self._db = app.extensions["sqlalchemy"]
        self._stop_time = stop_time

    @property
    def clock(self) -> Clock:
        """Return the clock. The time stands still from the first use until the end of the test."""
        return self._stop_time()

    # Requests

    def client(self) -> FlaskClient:
        """Return a new client without cookies."""
        return new_client(self.app)

    def url(self, endpoint: str) -> str:
        """Return the path of an endpoint, for example ``/accounts/profile/`` for ``"profile"``.

        :raises ValueError: the application has no such endpoint, or it is switched off.
        """
        __tracebackhide__ = True
        path = endpoint.strip("/")
        url = f"{self._state.group(HTTPSettings).url_prefix}/{path}/"
        if not self.app.url_map.bind("").allowed_methods(url):
            known = [each.path.strip("/") for flow in self._state.flows for each in flow.endpoints]
            nearest = get_close_matches(path, known, n=1, cutoff=0) or ["none"]
            raise ValueError(f"Endpoint {path!r} not found. The nearest is {nearest[0]!r}.")
        return url

    def post(
        self,
        endpoint: str,
        body: Mapping[str, Any] | None = None,
        *,
        client: FlaskClient | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> TestResponse:
        """Send JSON to an endpoint with POST, for example ``"reset-password"``.

        :param client: the client that sends the request; by default a new one.
        :raises ValueError: the application has no such endpoint.
        """
        __tracebackhide__ = True
        sender = client or self.client()
        url = self.url(endpoint)
        return sender.post(url, json=dict(body or {}), headers=dict(headers or {}))

    def register(self, name: str = "alice", **fields: Any) -> TestResponse:
        """Register a user, with the fields that other flows need, such as ``terms``.

        :param name: the value of each login field, and the part of the address before
            ``@example.com``.
        :param fields: other fields of the request body, or other values.
        """
        body = self._fields(name, fields)
        if self._state.group(RegisterSettings).register_schema_password_confirm:
            body.setdefault("password_confirm", body["password"])
        for fields_of in self._state.all_provided("registration_fields"):
            for field, declared in fields_of(self._state).items():
                body.setdefault(field, declared.metadata["example"])
        return self.post("register", body)

    # Without a request

    def create_user(self, name: str = "alice", *, verified: bool = True, **fields: Any) -> Any:
        """Create an account as ``Registration.create_user`` does, commit it, and return the user.

        The user is detached from the database session.

        :param name: as for :meth:`register`.
        :param fields: other columns, or other values.
        """
        with self.app.app_context():
            user = Registration().create_user(verified=verified, **self._fields(name, fields))
            self._db.session.commit()
            self._db.session.refresh(user)
            self._db.session.expunge(user)
            return user

    def login_as(self, user: User, *, fresh: bool = True) -> FlaskClient:
        """Return a client that is logged in by a session, or by a token if logins open no session.

        This hashes no password, asks no step of the login, sends no signal, and does not change
        ``last_login``.

        :param user: an instance of the user model, from any database session.
        :param fresh: whether the user has just entered the password.
        :raises TypeError: the value is not a user, for example a name.
        :raises ValueError: the user is not in the database, or suspended.
        """
        __tracebackhide__ = True
        client = self.client()
        if not self._state.group(LoginSettings).login_authenticate_session:
            client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {self._token(user, fresh)}"
            return client
        with self._request():
            self._state.sessions.login(self._stored(user), fresh=fresh, methods=["pwd"])
            opened = dict(session)
            self._state.commit()
        with client.session_transaction() as stored:
            stored.update(opened)
        return client

    def token_for(self, user: User) -> str:
        """Return a fresh token of a user for the header ``Authorization: Bearer …``.

        :raises TypeError: the value is not a user, for example a name.
        :raises ValueError: the user is not in the database, or suspended.
        """
        __tracebackhide__ = True
        return self._token(user, fresh=True)

    def totp(self, user: User) -> str:
        """Return a code of a user's authenticator app that was not used yet.

        A user without an authenticator app gets one, without recovery codes and e-mails.

        :raises LookupError: the application does not have the flow ``second_factor``.
        """
        __tracebackhide__ = True
        if not self._state.provided("verify_code"):
            raise LookupError("Pass flows=[*DEFAULT_FLOWS, second_factor.flow] to Registration.")
        from ..flows.second_factor.base import factor_of  # its libraries are optional

        with self._request():
            code = factor_of(self._state).unused_code(self._stored(user))
            self._state.commit()
            return code

    # Assertions

    def assert_uniform_answers(
        self, *, statements: bool = False, **requests: Callable[[], TestResponse]
    ) -> None:
        """Make requests, and fail if a response differs from the first one.

        This compares the status, the headers and the response body. It ignores the values of
        cookies, and the values that the request has sent.

        :param statements: compare the kinds of SQL statements, too.
        :param requests: the name of each request and a function that makes it, for example
            ``unknown=lambda: …, member=lambda: …``.
        :raises AssertionError: with the differences.
        """
        __tracebackhide__ = True
        compare(self.app, requests, statements=statements)

    def _fields(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        fields = self._state.fields
        values = {field: name for field in (*fields.login, fields.username) if field}
        if fields.email:
            values[fields.email] = name if "@" in name else f"{name}@example.com"
        return {**values, "password": self.password, **given}

    @contextmanager
    def _request(self) -> Iterator[None]:
        """Push a request of a new client, whose ``flask.g`` is not that of the test."""
        base = self.client().environ_base
        with self.app.app_context(), self.app.test_request_context(environ_base=base):
            yield

    def _token(self, user: User, fresh: bool) -> str:
        __tracebackhide__ = True
        with self._request():
            token = self._state.sessions.provide_token(
                self._stored(user), fresh=fresh, methods=["pwd"]
            )
            self._state.commit()
            return token

    def _stored(self, user: User) -> User:
        """Return a user from the current database session.

        :raises TypeError: the value is not a user.
        :raises ValueError: the user is not in the database, or suspended.
        """
        __tracebackhide__ = True
        model = self._state.fields.model
        if not isinstance(user, model):
            expected = f"the {model.__name__} that accounts.create_user() returns"
            raise TypeError(f"Pass {expected}; got {user!r}.")
        key = cast(Any, inspect(user)).identity
        stored = key and self._db.session.get(model, key)
        name = type(user).__name__
        if stored is None:
            raise ValueError(f"{name} is not in the database. Add it to the session and commit.")
        if not self._state.users.snapshot(stored).is_active:
            raise ValueError(f"{name} {key[0]} is suspended and cannot log in.")
        return cast(User, stored)


# E-mails

HREF = re.compile(r"<a\s[^>]*?href\s*=\s*[\"']?([^\"'\s>]+)", re.IGNORECASE)
#: A code on a line of its own, in either format.
CODE = re.compile(
    r"^ *([BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}|[0-9]{6}) *$", re.MULTILINE
)
URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s<>\"]+", re.IGNORECASE)


class Link(dict[str, str]):
    """The parameters of a link in an e-mail, which a front end sends to the verifying endpoint.

    :ivar url: the URL of the page, with the parameters.
    """

    def __init__(self, url: str) -> None:
        super().__init__(parse_qsl(url.rpartition("?")[2]) if "?" in url else ())
        self.url = url


class Outbox(list[Message]):
    """The e-mails that were sent, oldest first. Each is a ``Message`` of Flask-Mail."""

    def to(self, address: str) -> list[Message]:
        """Return the e-mails to an address."""
        return [message for message in self if address in message.send_to]

    def latest_link(self, to: str | None = None) -> Link:
        """Return the link in the latest e-mail.

        :param to: only search the e-mails to this address.
        :raises AssertionError: there is no e-mail, or it has no link.
        """
        __tracebackhide__ = True
        message, recipient = self._latest(to)
        for link in links_of(message):
            if "signature" in link:
                return link
        raise AssertionError(f"The latest e-mail{recipient} has no link with a signature. {self}")

    def latest_code(self, to: str | None = None) -> str:
        """Return the code in the latest e-mail, as the user reads it.

        :param to: only search the e-mails to this address.
        :raises AssertionError: there is no e-mail, or it has no code.
        """
        __tracebackhide__ = True
        message, recipient = self._latest(to)
        found = CODE.search(message.body or "") or CODE.search(html_to_text(message.html or ""))
        if not found:
            raise AssertionError(f"The latest e-mail{recipient} has no code. {self}")
        return found[0].strip()

    def _latest(self, to: str | None) -> tuple[Message, str]:
        """Return the latest e-mail, and its recipient for messages."""
        __tracebackhide__ = True
        messages = self if to is None else self.to(to)
        recipient = "" if to is None else f" to {to}"
        if not messages:
            raise AssertionError(f"No e-mail{recipient} was sent. {self}")
        return messages[-1], recipient

    def __str__(self) -> str:
        if not self:
            return "The outbox is empty."
        lines = [
            f"  {str(message.subject)!r} to {', '.join(sorted(map(str, message.send_to)))}"
            for message in self
        ]
        return "\n".join(["The outbox, latest e-mail last:", *lines])

    @contextmanager
    def recording(self, app: Flask) -> Iterator[Outbox]:
        """Record the e-mails that the application sends in the block."""

        def keep(sender: Flask, message: Message, **_: Any) -> None:
            self.append(message)

        with email_dispatched.connected_to(keep, app):
            yield self


def links_of(message: Message) -> list[Link]:
    """Return the links of an e-mail: those of its HTML part, then the others of its text."""
    html = [unescape(url) for url in HREF.findall(message.html or "")]
    return [Link(url) for url in dict.fromkeys([*html, *URL.findall(message.body or "")])]
