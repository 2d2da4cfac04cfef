"""Signals that tell the application what happened, each with its arguments.

All are sent after the commit. The sender is the Flask application. Every receiver gets ``user`` and
``request`` (``None`` outside a request).
"""

from __future__ import annotations

from blinker import NamedSignal, Namespace

from . import security_log

_namespace = Namespace()

#: A user registered.
user_registered: NamedSignal = _namespace.signal("user-registered")
#: A user verified the e-mail address.
user_activated: NamedSignal = _namespace.signal("user-activated")
#: An e-mail address changed; also ``old_email`` and ``new_email``.
user_changed_email: NamedSignal = _namespace.signal("user-changed-email")
#: A user logged in.
user_logged_in: NamedSignal = _namespace.signal("user-logged-in")
#: A login failed; ``user`` may be None; also ``login``, the submitted name.
user_login_failed: NamedSignal = _namespace.signal("user-login-failed")
#: A user logged out.
user_logged_out: NamedSignal = _namespace.signal("user-logged-out")
#: A user changed the password.
user_changed_password: NamedSignal = _namespace.signal("user-changed-password")
#: A password was reset.
user_reset_password: NamedSignal = _namespace.signal("user-reset-password")
#: An account was deleted; ``user`` has no row any more.
user_deleted: NamedSignal = _namespace.signal("user-deleted")
#: A user asked to delete the account, which will happen after a while.
user_deletion_scheduled: NamedSignal = _namespace.signal("user-deletion-scheduled")
#: A user added a second factor.
user_added_factor: NamedSignal = _namespace.signal("user-added-factor")
#: The second factor of an account was removed.
user_removed_factor: NamedSignal = _namespace.signal("user-removed-factor")
#: A user used a recovery code.
user_used_recovery_code: NamedSignal = _namespace.signal("user-used-recovery-code")
#: An administrator approved an account.
user_approved: NamedSignal = _namespace.signal("user-approved")
#: An administrator rejected an account.
user_rejected: NamedSignal = _namespace.signal("user-rejected")
#: A user accepted a version of the terms of service.
terms_accepted: NamedSignal = _namespace.signal("terms-accepted")
#: An invited user created the account; also ``invitation``, its row.
invitation_accepted: NamedSignal = _namespace.signal("invitation-accepted")
#: An e-mail failed for the last time; also ``template`` and ``error``.
mail_failed: NamedSignal = _namespace.signal("mail-failed")

#: The events of the security log for these signals.
EVENTS: dict[NamedSignal, security_log.Event] = {
    user_registered: security_log.USER_CREATED,
    user_activated: security_log.USER_ACTIVATED,
    user_logged_in: security_log.LOGIN_SUCCESS,
    user_logged_out: security_log.LOGOUT,
    user_changed_password: security_log.PASSWORD_CHANGED,
    user_reset_password: security_log.PASSWORD_RESET,
    user_added_factor: security_log.FACTOR_ADDED,
    user_removed_factor: security_log.FACTOR_REMOVED,
    user_used_recovery_code: security_log.RECOVERY_CODE_USED,
    user_deleted: security_log.USER_DELETED,
    user_approved: security_log.USER_APPROVED,
    user_rejected: security_log.USER_REJECTED,
    terms_accepted: security_log.TERMS_ACCEPTED,
    invitation_accepted: security_log.INVITATION_ACCEPTED,
    user_deletion_scheduled: security_log.USER_DELETION_SCHEDULED,
}
