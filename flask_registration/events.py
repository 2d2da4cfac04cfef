"""The security log: what happened to which account, from where; one record each (OWASP ASVS 5.0, 16.3.1).

Names are those of OWASP's Logging Vocabulary where it has one, else in its style. Nothing that a client typed is in a
record: no password, token or link, and no login either, into which people type their password.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import click
from flask import has_request_context, request

#: Silent until the application configures logging; its records go to the root logger's handlers as well.
logger: logging.Logger = logging.getLogger("flask_registration.events")
_silence = logging.NullHandler()
logger.addHandler(_silence)

#: Characters of a text, and items of a list, at the most.
MAX_LENGTH = 200
MAX_ITEMS = 20

#: Printable ASCII in which nothing is escaped.
PLAIN = re.compile(r"[ -\[\]-~]*")


@dataclass(frozen=True, eq=False)
class Event:
    """A kind of record.

    :ivar when: half a sentence, for the documentation.
    :ivar details: what it tells beside the account and the client, each with what that is; no secret.
    """

    name: str
    level: int
    when: str
    details: Mapping[str, str] = field(default_factory=dict)


USER_CREATED = Event("user_created", logging.INFO, "an account was opened")
REGISTRATION_TAKEN = Event(
    "registration_taken",
    logging.INFO,
    "somebody registered with what another account has; `user_id` is whose address it is",
    {"fields": "the columns"},
)
VERIFICATION_REQUEST = Event(
    "verification_request",
    logging.INFO,
    "somebody asked for the verification mail again, for a pending account or none",
)
USER_ACTIVATED = Event("user_activated", logging.INFO, "an address was proven, or marked so from the command line")
USER_UPDATED = Event(
    "user_updated", logging.INFO, "a profile was changed by its owner", {"fields": "the columns, without their values"}
)
USER_DELETED = Event(
    "user_deleted", logging.INFO, "an account was deleted, or anonymised, by its owner, or nobody verified it in time"
)

USER_SUSPENDED = Event("user_suspended", logging.WARNING, "an account was suspended from the command line")
USER_RESUMED = Event("user_resumed", logging.WARNING, "a suspended account was let in again from the command line")

LOGIN_SUCCESS = Event("authn_login_success", logging.INFO, "somebody logged in")
LOGIN_FAIL = Event(
    "authn_login_fail",
    logging.WARNING,
    "a login was refused",
    {"reason": "`unknown`, `wrong`, `suspended`, `pending`, or `changed` during the login"},
)
LOGOUT = Event("authn_logout", logging.INFO, "somebody logged out, here or everywhere")
LOGIN_REVOKED = Event(
    "authn_token_revoked", logging.INFO, "a session or token was ended from the list of logins", {"login": "its number"}
)
SESSION_REFUSED = Event(
    "session_use_after_expire",
    logging.INFO,
    "a session's cookie came that has ended; browsers keep it, so this is no alarm by itself",
    {"reason": '`suspended`, `stamp` (a new password, address or "log out everywhere"), or `revoked`'},
)
TOKEN_REFUSED = Event("authn_token_refused", logging.WARNING, "a token came that is no good, or no longer")
REAUTHENTICATION_FAIL = Event(
    "authn_reauthentication_fail", logging.WARNING, "somebody logged in confirmed a step with a wrong password"
)
HASH_UPGRADED = Event("authn_password_rehash", logging.INFO, "an outdated hash was replaced at a login")
PASSWORD_CHANGED = Event("authn_password_change", logging.INFO, "a known password was replaced")
PASSWORD_CHANGE_FAIL = Event(
    "authn_password_change_fail", logging.WARNING, "somebody logged in does not know the old password"
)
PASSWORD_RESET_REQUEST = Event(
    "authn_password_reset_request", logging.INFO, "somebody asked for a reset link, for an account or none"
)
PASSWORD_RESET = Event(
    "authn_password_reset", logging.INFO, "a forgotten password was replaced, by its owner or from the command line"
)
EMAIL_CHANGE_REQUEST = Event(
    "user_email_change_request", logging.INFO, "somebody asked to move to another address", {"taken": "true or false"}
)
EMAIL_CHANGED = Event("user_email_change", logging.INFO, "an account moved to another address")
EMAIL_CHANGE_UNDONE = Event("user_email_change_undone", logging.WARNING, "the old address took a move back")
LINK_REFUSED = Event(
    "authn_link_refused",
    logging.WARNING,
    "a mailed link was refused; `endpoint` says of which kind, `user_id` is whom it names, which it need not prove",
    {"code": "`signature-invalid` or `signature-expired`"},
)

THROTTLED = Event(
    "excess_rate_limit_exceeded",
    logging.WARNING,
    "a request was throttled",
    {"limit": "the limit, as it is set", "scope": "what it counts: `client`, `account`, …"},
)
THROTTLE_STORE_DOWN = Event(
    "sys_throttle_store_down",
    logging.WARNING,
    "the throttles' storage is out of reach, each process counts for itself",
    {"error": "the exception's class"},
)
MAIL_FAILED = Event(
    "sys_mail_failed",
    logging.WARNING,
    "a mail could not be sent",
    {"template": "which one", "error": "the exception's class"},
)
DATABASE_UNAVAILABLE = Event(
    "sys_database_unavailable",
    logging.WARNING,
    "a request was answered 503 for want of the database",
    {"error": "the exception's class"},
)

#: Every event of ours, in this order.
CATALOGUE: tuple[Event, ...] = tuple(each for each in list(vars().values()) if isinstance(each, Event))


def is_recorded(event: Event) -> bool:
    """Whether the logger's level wants records of this event, and anybody would get them."""
    return logger.isEnabledFor(event.level) and _is_heard()


def _is_heard() -> bool:
    """Whether the application has configured logging: a record that nobody gets need not be made."""
    here: logging.Logger | None = logger
    while here is not None:
        if here.filters or any(handler is not _silence for handler in here.handlers):
            return True
        here = here.parent if here.propagate else None
    return False


def record(event: Event, *, user_id: object | None = None, **details: Any) -> None:
    """Write one record, if the logger's level wants it; whatever a handler does, this does not raise.

    Its message is one line of JSON in ASCII. It has the same as attributes: ``event``, ``user_id``, ``client`` (the
    address that Flask's ``request.remote_addr`` says), ``method``, ``endpoint``, ``command`` (``flask registration
    suspend``, say; in the line only where there is one) and ``details``.

    :param user_id: the verification id of the account that it is about, as links have it.
    :raises TypeError: a detail that the event does not declare.
    """
    if not details.keys() <= event.details.keys():
        raise TypeError(f"{event.name} declares no {', '.join(details.keys() - event.details.keys())}")
    if not is_recorded(event):
        return
    asking: Any = cast(Any, request)._get_current_object() if has_request_context() else None
    attributes = {
        "event": event.name,
        "user_id": None if user_id is None else _clean(str(user_id)),
        "client": _clean(asking and asking.remote_addr),
        "method": _clean(asking and asking.method),
        "endpoint": _clean(asking and asking.endpoint),  # a path or query of the application's own may be a secret
    }
    command = _command()
    cleaned = {name: _clean(value) for name, value in details.items()}
    line = json.dumps({**attributes, **({"command": command} if command else {}), **cleaned})
    # Not by way of ``extra``, which refuses what an application's own record factory has set already.
    entry = logger.makeRecord(logger.name, event.level, __file__, 0, line, (), None)
    entry.__dict__.update(attributes, command=command, details=cleaned)
    try:
        logger.handle(entry)
    except Exception:
        _silence.handleError(entry)  # on stderr, as the standard library tells of its own handlers


def _command() -> str | None:
    """The command that is at work, without what was typed after it; None in a request."""
    context = None if has_request_context() else click.get_current_context(silent=True)
    return str(_clean(context.command_path)) if context else None


def _clean(value: Any) -> Any:
    """A value that cannot forge a line, colour a terminal or fill a disk: printable ASCII, of bounded length."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value[:MAX_ITEMS]]
    text = str(value)
    if len(text) <= MAX_LENGTH and PLAIN.fullmatch(text):
        return text
    escaped = text[: MAX_LENGTH + 1].encode("unicode_escape").decode("ascii")
    return escaped if len(escaped) <= MAX_LENGTH else f"{escaped[:MAX_LENGTH]}..."
