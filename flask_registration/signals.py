"""What we announce, each with its arguments; all are sent after the commit.

The sender is the Flask application. Every receiver gets ``user`` and ``request`` (``None`` outside a request).
"""

from __future__ import annotations

from typing import Any, cast

from blinker import NamedSignal, Namespace
from flask import current_app, has_request_context, request

_namespace = Namespace()

user_registered = _namespace.signal("user-registered")  # user, request
user_activated = _namespace.signal("user-activated")  # user, request: the address has been proven
user_changed_email = _namespace.signal("user-changed-email")  # user, request, old_email, new_email
user_logged_in = _namespace.signal("user-logged-in")  # user, request
user_login_failed = _namespace.signal("user-login-failed")  # user or None, request, login: as it was typed
user_logged_out = _namespace.signal("user-logged-out")  # user, request
user_changed_password = _namespace.signal("user-changed-password")  # user, request
user_reset_password = _namespace.signal("user-reset-password")  # user, request
user_deleted = _namespace.signal("user-deleted")  # user (no row any more), request
mail_failed = _namespace.signal("mail-failed")  # user, request, template, error: nobody waits for this mail any more


def announce(signal: NamedSignal, **arguments: Any) -> None:
    """Tell every receiver; one that raises is logged and stops neither the others nor the reply."""
    if signal.is_muted:
        return
    app = cast(Any, current_app)._get_current_object()
    current_request = cast(Any, request)._get_current_object() if has_request_context() else None
    for receiver in signal.receivers_for(app):
        try:
            app.ensure_sync(receiver)(app, request=current_request, **arguments)
        except Exception:
            app.logger.exception("A receiver of %s raised; what it was told stands.", signal.name)
