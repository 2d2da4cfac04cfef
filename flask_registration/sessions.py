"""What a request's session and token are, apart from whose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import flask_login
from flask import current_app, g, request, session
from flask.sessions import SessionMixin
from werkzeug.datastructures import ImmutableMultiDict


def request_token() -> str | None:
    """The token by which this request was recognised, if it was by one."""
    token: str | None = g.get("_registration_token")
    return token


def session_secret() -> str | None:
    """The secret of the session's row, where there is one."""
    return str(session.get("_user_id", "")).rpartition("~")[2] or None


def has_remember_cookie() -> bool:
    """Whether the client has a remember-me cookie of Flask-Login's, good or not."""
    return remember_cookie_name() in request.cookies


def drop_unreadable_cookie() -> None:
    """Take a remember-me cookie for none whose signature is not ASCII: Flask-Login cannot compare it, and raises."""
    name = remember_cookie_name()
    if not request.cookies.get(name, "").rpartition("|")[2].isascii():
        kept = [(key, value) for key, value in request.cookies.items(multi=True) if key != name]
        request.cookies = ImmutableMultiDict(kept)


def remember_cookie_name() -> str:
    return str(current_app.config.get("REMEMBER_COOKIE_NAME", flask_login.COOKIE_NAME))


def session_as_it_is() -> Callable[[], None]:
    """What brings the session back to how it is now."""
    here: SessionMixin = cast(Any, session)._get_current_object()
    kept, modified = dict(here), here.modified

    def bring_back() -> None:
        if dict(here) != kept:
            here.clear()
            here.update(kept)
        here.modified = modified

    return bring_back


@contextmanager
def session_kept_on_failure() -> Iterator[None]:
    """Leave the session as it was if what is done with it fails."""
    bring_back = session_as_it_is()
    try:
        yield
    except Exception:
        bring_back()
        raise


def forget_session() -> None:
    """Drop everything in the session; one that the server keeps gets a new id (OWASP Session Management)."""
    session.clear()
    interface: Any = current_app.session_interface
    if hasattr(interface, "regenerate"):
        interface.regenerate(session)
