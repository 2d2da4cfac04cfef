"""The session of a request: Flask's, or one that the server keeps, such as Flask-Session's."""

from __future__ import annotations

import secrets
from typing import Any, cast

import flask_login
from flask import Response, after_this_request, current_app, request, session
from werkzeug.datastructures import ImmutableMultiDict

from ..request_state import request_state

#: The key of the session while it gets a new id.
RENEWAL = "_registration_renewal"


def session_secret() -> str | None:
    """Return the secret of the session's row, if there is one."""
    return str(session.get("_user_id", "")).rpartition("~")[2] or None


def check_remember_cookie() -> None:
    """Prepare the remember-me cookie for Flask-Login, which knows no earlier keys.

    One that an earlier key has signed is signed again. One for which Flask-Login raises an error is
    dropped: its signature is not ASCII, or there is no session to write to.
    """
    cookies, name = request.cookies, remember_cookie_name()
    if name not in cookies:
        return
    if not (cookies[name].rpartition("|")[2].isascii() and has_session()):
        request.cookies = ImmutableMultiDict(each for each in cookies.items() if each[0] != name)
        return
    for key in current_app.config.get("SECRET_KEY_FALLBACKS") or ():
        payload = flask_login.decode_cookie(cookies[name], key=key)
        if payload is not None:
            signed = flask_login.encode_cookie(payload)
            request.cookies = ImmutableMultiDict({**cookies, name: signed})


def is_remembered(session_id: str) -> bool:
    """Return whether the request has the remember-me cookie of a session."""
    cookie = request.cookies.get(remember_cookie_name())
    payload = flask_login.decode_cookie(cookie) if cookie else None
    # Not the last part, which changes.
    return payload is not None and payload.rpartition("~")[0] == session_id.rpartition("~")[0]


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
    """Give a session kept by the server a new id at the end of the request.

    Not before: if it is kept in the database of the users, that commits what is pending.
    """
    request_state().renews_session = True
    after_this_request(_renew_session_id)


def _renew_session_id(response: Response) -> Response:
    """Renew the id, and delete what is stored under the old one."""
    state, interface = request_state(), current_app.session_interface
    kept: Any = _session()
    if not state.renews_session:  # the login was undone
        return response
    state.renews_session = False
    regenerate = getattr(interface, "regenerate", None)
    if regenerate:
        kept[RENEWAL] = True  # Flask-Session renews no empty session
        regenerate(kept)
        del kept[RENEWAL]
    elif hasattr(kept, "sid"):
        content = dict(kept)
        kept.clear()  # Flask-Session before 0.7 deletes a session that is saved empty
        app = cast(Any, current_app)._get_current_object()
        interface.save_session(app, kept, app.response_class())
        kept.sid = secrets.token_urlsafe(32)
        kept.update(content)
    return response


def _session() -> Any:
    return cast(Any, session)._get_current_object()
