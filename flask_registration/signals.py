"""What we announce, each with its arguments; all are sent after the commit.

The sender is the Flask application. Every receiver gets ``user`` and ``request`` (``None`` outside a request).
"""

from __future__ import annotations

from typing import Any, cast

from blinker import NamedSignal, Namespace
from flask import current_app, has_request_context, request

from . import events

_namespace = Namespace()

user_registered: NamedSignal = _namespace.signal("user-registered")  # user, request
user_activated: NamedSignal = _namespace.signal("user-activated")  # user, request: the address has been proven
user_changed_email: NamedSignal = _namespace.signal("user-changed-email")  # user, request, old_email, new_email
user_logged_in: NamedSignal = _namespace.signal("user-logged-in")  # user, request
user_login_failed: NamedSignal = _namespace.signal("user-login-failed")  # user or None, request, login: as it was typed
user_logged_out: NamedSignal = _namespace.signal("user-logged-out")  # user, request
user_changed_password: NamedSignal = _namespace.signal("user-changed-password")  # user, request
user_reset_password: NamedSignal = _namespace.signal("user-reset-password")  # user, request
user_deleted: NamedSignal = _namespace.signal("user-deleted")  # user (no row any more), request
mail_failed: NamedSignal = _namespace.signal(
    "mail-failed"
)  # user, request, template, error: nobody waits for this mail any more

#: What the security log says of them. (Where it has to say more than receivers are told, whoever announces does it.)
EVENTS = {
    user_registered: events.USER_CREATED,
    user_activated: events.USER_ACTIVATED,
    user_logged_in: events.LOGIN_SUCCESS,
    user_logged_out: events.LOGOUT,
    user_changed_password: events.PASSWORD_CHANGED,
    user_reset_password: events.PASSWORD_RESET,
    user_deleted: events.USER_DELETED,
}


def announce(signal: NamedSignal, **arguments: Any) -> None:
    """Write to the security log, and tell every receiver.

    A receiver that raises is logged and stops neither the others nor the reply.
    """
    app = cast(Any, current_app)._get_current_object()
    if signal in EVENTS:
        app.extensions["registration"].record(EVENTS[signal], arguments["user"])
    if signal.is_muted:
        return
    current_request = cast(Any, request)._get_current_object() if has_request_context() else None
    for receiver in signal.receivers_for(app):
        try:
            app.ensure_sync(receiver)(app, request=current_request, **arguments)
        except Exception:
            app.logger.exception("A receiver of %s raised; what it was told stands.", signal.name)
