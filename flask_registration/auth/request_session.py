"""The session of a request: Flask's, or one that the server keeps, such as Flask-Session's."""

from __future__ import annotations

import secrets
from typing import Any, cast

import flask_login
from flask import current_app, request, session
from werkzeug.datastructures import ImmutableMultiDict

from ..request_state import request_state

#: The key of the session while it gets a new id.
RENEWAL = "_registration_renewal"


def session_secret() -> str | None:
    """Return the secret of the session's row, if there is one."""
    return str(session.get("_user_id", "")).rpartition("~")[2] or None


def drop_unusable_cookie() -> None:
    """Drop a remember-me cookie for which Flask-Login raises an error.

    Its signature is not ASCII, or there is no session to write to.
    """
    name = remember_cookie_name()
    if name not in request.cookies:
        return
    signature = request.cookies[name].rpartition("|")[2]
    if not (signature.isascii() and has_session()):
        kept = request.cookies.to_dict()
        del kept[name]
        request.cookies = ImmutableMultiDict(kept)


def remember_cookie_name() -> str:
    """Return the name of Flask-Login's remember-me cookie."""
    return str(current_app.config.get("REMEMBER_COOKIE_NAME", flask_login.COOKIE_NAME))


def has_session() -> bool:
    """Return whether the session interface of the application opened a session."""
    return not current_app.session_interface.is_null_session(_session())


def forget_session() -> None:
    """Drop everything in the session. A session kept by the server gets a new id."""
    if not has_session():
        return
    state = request_state()
    if state.kept_session is None:
        state.kept_session = dict(session)
    renew_session_id()
    session.clear()


def renew_session_id() -> None:
    """Give a session kept by the server a new id, and delete what is stored under the old one."""
    interface: Any = current_app.session_interface
    kept = _session()
    if hasattr(interface, "regenerate"):
        kept[RENEWAL] = True  # Flask-Session renews no empty session
        interface.regenerate(kept)
        del kept[RENEWAL]
    elif hasattr(kept, "sid"):
        content = dict(kept)
        kept.clear()  # Flask-Session before 0.7 deletes a session that is saved empty
        app = cast(Any, current_app)._get_current_object()
        interface.save_session(app, kept, app.response_class())
        kept.sid = secrets.token_urlsafe(32)
        kept.update(content)


def _session() -> Any:
    return cast(Any, session)._get_current_object()
