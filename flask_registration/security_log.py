"""Write security events to a logger, one record for each."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import click
from flask import has_request_context, request

from .request_state import client_address

#: Silent until the application configures logging. The root logger's handlers get its records too.
logger: logging.Logger = logging.getLogger("flask_registration.events")
_silence = logging.NullHandler()
logger.addHandler(_silence)

#: The maximum number of characters of a text, and of items of a list.
MAX_LENGTH = 200
MAX_ITEMS = 20


@dataclass(frozen=True, eq=False)
class Event:
    """A kind of record.

    :ivar when: half a sentence for the documentation.
    :ivar details: further values of the record, each with its description. None is a secret.
    """

    name: str
    when: str
    details: Mapping[str, str] = field(default_factory=dict)
    level: int = logging.INFO


@dataclass(frozen=True, eq=False)
class WarningEvent(Event):
    """A kind of record with the level ``WARNING``."""

    level: int = logging.WARNING


USER_CREATED = Event("user_created", "an account was created")
REGISTRATION_TAKEN = Event(
    "registration_taken",
    "a registration used a value of another account; `user_id` is the owner of the e-mail address",
    {"fields": "the columns"},
)
VERIFICATION_REQUEST = Event(
    "verification_request",
    "another verification e-mail was requested, for a pending account or for none",
)
SIGN_UP_REQUEST = Event(
    "sign_up_request",
    "a sign-up e-mail was requested; `user_id` is the owner of the e-mail address, if it has one",
)
_INVITATION = {"invitation": "its id"}
INVITATION_CREATED = Event(
    "invitation_created",
    "an e-mail address was invited; `user_id` is the user who invites, if it is one",
    _INVITATION,
)
INVITATION_RESENT = Event("invitation_resent", "an invitation was sent again", _INVITATION)
INVITATION_REVOKED = Event("invitation_revoked", "an invitation was revoked", _INVITATION)
INVITATION_ACCEPTED = Event("invitation_accepted", "an invited user created the account")
NOT_ALLOWED = WarningEvent("authz_fail", "a user asked for what the application does not allow")
USER_ACTIVATED = Event(
    "user_activated", "an e-mail address was verified, by a link, a code or from the command line"
)
USER_UPDATED = Event(
    "user_updated", "a user changed the profile", {"fields": "the columns, without their values"}
)
USER_DELETED = Event(
    "user_deleted", "a user deleted or anonymized the account, or it was not verified in time"
)
USER_DELETION_SCHEDULED = WarningEvent(
    "user_deletion_scheduled", "a user asked to delete the account, and the grace period began"
)
USER_DELETION_CANCELED = WarningEvent(
    "user_deletion_canceled",
    "a scheduled deletion was canceled, with the link of its e-mail or from the command line",
)
DATA_EXPORTED = Event("user_data_exported", "a user exported the data of the account")

USER_APPROVED = Event("user_approved", "an account that waited for approval was approved")
USER_REJECTED = WarningEvent("user_rejected", "an account that waited for approval was rejected")
TERMS_ACCEPTED = Event("user_terms_accepted", "a user accepted the terms of service")

USER_SUSPENDED = WarningEvent("user_suspended", "an account was suspended from the command line")
USER_REACTIVATED = WarningEvent(
    "user_resumed", "a suspended account was reactivated from the command line"
)

LOGIN_SUCCESS = Event("authn_login_success", "a user logged in")
LOGIN_FAIL = WarningEvent(
    "authn_login_fail",
    "a login failed",
    {
        "reason": "`unknown`, `wrong`, `suspended`, `pending`, `changed` during the login, "
        "or `code` in a step"
    },
)
LOGIN_LINK_REQUEST = Event(
    "authn_login_link_request", "a login e-mail was requested, for an account or for none"
)
LOGOUT = Event("authn_logout", "a user logged out, on this client or everywhere")
LOGIN_REVOKED = Event(
    "authn_token_revoked", "a user revoked a session or token of the list", {"login": "its id"}
)
LOGIN_REPORTED = WarningEvent(
    "authn_login_reported", "a user reported a login as another person's, with the link of a notice"
)
SESSION_REFUSED = Event(
    "session_use_after_expire",
    "a session cookie was no longer valid; browsers keep old ones, so this alone is no alarm",
    {
        "reason": "`suspended`, `stamp` (a new password, a new e-mail address, or a logout "
        "everywhere), `expired`, or `revoked` (with a login model, also expired)"
    },
)
TOKEN_REFUSED = WarningEvent("authn_token_refused", "a token was invalid, expired or revoked")
REAUTHENTICATION_FAIL = WarningEvent(
    "authn_reauthentication_fail",
    "re-authentication failed: a logged-in user sent a wrong password or code",
)
FACTOR_ADDED = Event("authn_factor_added", "a user added a second factor")
FACTOR_REMOVED = WarningEvent(
    "authn_factor_removed",
    "the second factor of an account was removed, by the user or from the command line",
)
RECOVERY_CODE_USED = WarningEvent("authn_recovery_code_used", "a user used a recovery code")
HASH_UPGRADED = Event("authn_password_rehash", "an outdated password hash was replaced at a login")
PASSWORD_CHANGED = Event("authn_password_change", "a user changed the password")
PASSWORD_CHANGE_FAIL = WarningEvent(
    "authn_password_change_fail", "a logged-in user sent a wrong old password"
)
PASSWORD_RESET_REQUEST = Event(
    "authn_password_reset_request", "a reset e-mail was requested, for an account or for none"
)
PASSWORD_RESET = Event(
    "authn_password_reset", "a password was reset, by a link, a code or from the command line"
)
EMAIL_CHANGE_REQUEST = Event(
    "user_email_change_request",
    "a user asked for an e-mail change",
    {"taken": "whether the new e-mail address is already in use"},
)
EMAIL_CHANGED = Event("user_email_change", "a user changed the e-mail address")
EMAIL_CHANGE_UNDONE = WarningEvent(
    "user_email_change_undone",
    "an e-mail change was undone with the link that the old e-mail address received",
)
LINK_REFUSED = WarningEvent(
    "authn_link_refused",
    "a link was invalid or expired; `endpoint` shows its kind, and `user_id` is the user that it "
    "names, without verification",
    {"code": "`signature-invalid` or `signature-expired`"},
)

CODE_REFUSED = WarningEvent(
    "authn_code_refused",
    "the code of an e-mail was wrong; `endpoint` shows its kind, and `user_id` is the user of the "
    "challenge, if it has one",
)

THROTTLED = WarningEvent(
    "excess_rate_limit_exceeded",
    "a request exceeded a rate limit",
    {"limit": "the limit as configured", "scope": "what it counts: `client`, `account`, …"},
)
GATE_REFUSED = WarningEvent(
    "excess_captcha_refused",
    "a gate refused a request: it had no solution of a captcha, or an invalid one",
    {"code": "`captcha-required` or `captcha-invalid`"},
)
THROTTLE_STORE_DOWN = WarningEvent(
    "sys_throttle_store_down",
    "the storage of rate limits is unavailable; each process counts for itself",
    {"error": "the exception's class"},
)
MAIL_DROPPED = Event(
    "excess_mail_limit_exceeded",
    "an e-mail was dropped, since its recipient had received as many as `MAIL_LIMITS` allows; "
    "also if there is no account to send one to",
    {"template": "the name of the e-mail"},
)
MAIL_BUDGET_EXCEEDED = WarningEvent(
    "excess_mail_budget_exceeded",
    "the requests that may cause an e-mail exceeded `MAIL_BUDGET`; not repeated until it is over",
    {"limit": "the limits"},
)
MAIL_FAILED = WarningEvent(
    "sys_mail_failed",
    "an e-mail could not be sent",
    {"template": "the kind of e-mail", "error": "the exception's class"},
)
DATABASE_UNAVAILABLE = WarningEvent(
    "sys_database_unavailable",
    "a request returned 503 because the database was unavailable",
    {"error": "the exception's class"},
)


def is_recorded(event: Event) -> bool:
    """Return whether the logger's level includes this event."""
    return logger.isEnabledFor(event.level)


def record(event: Event, *, user_id: object | None = None, **details: Any) -> None:
    """Write one record, if the logger's level includes the event. Never raise a handler's error.

    The message is one line of JSON in ASCII. The record has the same values as attributes:

    - ``event`` and ``user_id``.
    - ``client``: the IP address of Flask's ``request.remote_addr``, without a port.
    - ``method`` and ``endpoint`` of the request.
    - ``command``, for example ``flask registration suspend``. The line contains it only if set.
    - ``details``.

    :param user_id: the verification id of the account, as in links.
    :raises TypeError: the event does not declare a detail.
    """
    unknown = details.keys() - event.details.keys()
    if unknown:
        raise TypeError(f"{event.name} declares no {', '.join(unknown)}")
    if not is_recorded(event):
        return
    current_request = request if has_request_context() else None
    attributes = {
        "event": event.name,
        "user_id": _clean(str(user_id)) if user_id not in (None, "") else None,
        "client": _clean(client_address()),
        "method": _clean(current_request and current_request.method),
        # Not the path or the query: those of the application may be secrets.
        "endpoint": _clean(current_request and current_request.endpoint),
    }
    command = _command()
    shown_command = {"command": command} if command else {}
    cleaned = {name: _clean(value) for name, value in details.items()}
    line = json.dumps({**attributes, **shown_command, **cleaned})
    # Not with ``extra``, which raises an error for what the application's record factory has set.
    entry = logger.makeRecord(logger.name, event.level, __file__, 0, line, (), None)
    entry.__dict__.update(attributes, command=command, details=cleaned)
    try:
        logger.handle(entry)
    except Exception:  # of a handler or a filter of the application
        _silence.handleError(entry)  # on stderr, as the standard library's handlers do


def _command() -> str | None:
    """Return the command that runs, without its arguments; None in a request."""
    context = None if has_request_context() else click.get_current_context(silent=True)
    return str(_clean(context.command_path)) if context else None


def _clean(value: Any) -> Any:
    """Return a value that cannot forge a line, color a terminal or fill a disk.

    Text becomes printable ASCII of bounded length.
    """
    if isinstance(value, int | float | None):
        return value
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value[:MAX_ITEMS]]
    escaped = str(value)[: MAX_LENGTH + 1].encode("unicode_escape").decode("ascii")
    return escaped if len(escaped) <= MAX_LENGTH else f"{escaped[:MAX_LENGTH]}..."
