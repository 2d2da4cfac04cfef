"""Undo an e-mail change, with the link that the old e-mail address received."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ..auth.links import OpenedLink, Purpose
from ..auth.passwords import REVOKED
from ..checks import Finding
from ..errors import AccountUnusable, EmailAlreadyRegistered, MailUnavailable
from ..http.accounts import change_email
from ..http.bodies import SuccessSchema
from ..http.flow import EndpointLink, Flow, always
from ..i18n.messages import Message, duration
from ..security_log import EMAIL_CHANGE_UNDONE
from ..settings import Settings, setting
from ..signals import user_changed_email
from ..state import RegistrationState, Setup
from ..users.stamps import (
    SecurityStamp,
    UserSnapshot,
    changed_email_within,
    new_stamp,
    stamp_after_email_change,
    stamp_digest,
)
from ..users.store import User


@dataclass(frozen=True, kw_only=True)
class UndoEmailChangeSettings(Settings):
    """Undo of an e-mail change."""

    undo_email_change_url: str | None = setting(
        None,
        "The page that undoes an e-mail change.",
        page="undo-email-change/",
        beside="REGISTER_EMAIL_VERIFICATION_URL",
    )
    undo_email_change_period: timedelta = setting(
        timedelta(days=7), "How long the old e-mail address can undo a change."
    )


flow: Flow[UndoEmailChangeSettings] = Flow(
    "undo_email_change", UndoEmailChangeSettings, sends_mail=always, needs_email=True
)

#: Bound to nothing that an attacker with the account can change: no new stamp ends it but that of
#: an undo.
UNDO = Purpose(
    "undo-email-change",
    binds=lambda user: (SecurityStamp.parse(user.security_stamp).email_change, user.is_verified),
    stamped=False,
)


@flow.provides("email_change_stamp")
def email_change_stamp(state: RegistrationState, seen: UserSnapshot) -> str | None:
    """Return the security stamp after an e-mail change that can be undone, else None.

    Within the period only the first address can undo. If the next one could, an attacker could undo
    the undo.
    """
    period = state.group(UndoEmailChangeSettings).undo_email_change_period
    if changed_email_within(seen.security_stamp, period):
        return None
    return stamp_after_email_change()


@flow.provides("undo_link")
def undo_link(state: RegistrationState, user: User, old: str) -> dict[str, Any]:
    """Return the template variables of an e-mail with a link to undo a change from this address."""
    period = state.group(UndoEmailChangeSettings).undo_email_change_period
    url = state.links.url(UNDO, user, state.pages["undo_email_change_url"], old)
    return {"verification_url": url, "valid_for": duration(period)}


@flow.email(
    "email_change_undone",
    to="the old e-mail address, which the account has again",
    when="an e-mail change was undone",
    limited=False,
)
def email_change_undone_email(
    state: RegistrationState, user: User, account: str | None = None
) -> dict[str, Any]:
    """Return the template variables, with a link to choose a new password.

    :param account: what :func:`account_mark` returned after the undo. If it returns something else
        when the e-mail is sent, the account may have another e-mail address.
    """
    is_current = account in (None, account_mark(state, user))
    link: dict[str, Any] | None = state.call("reset_link", user) if is_current else None
    return link or {"verification_url": None}


def account_mark(state: RegistrationState, user: User) -> str:
    """Return a text that differs after every change of the e-mail address or the stamp."""
    seen = state.users.snapshot(user)
    return f"{stamp_digest(seen)} {seen.email}"


@flow.post(
    "/undo-email-change/",
    link=EndpointLink(
        purpose=lambda settings: UNDO,
        period=lambda settings: settings.undo_email_change_period,
        with_email=True,
    ),
    response=SuccessSchema,
    message=Message("E-mail change undone"),
    errors=[EmailAlreadyRegistered, MailUnavailable],
    throttles={"client": "60/minute"},
)
def undo_email_change(link: OpenedLink) -> None:
    """Undo an e-mail change, with the parameters of the link that the old address received.

    The password may be an attacker's, so it is revoked. The old address receives a link to choose a
    new one, and the other address receives a notice.

    :raises AccountUnusable: the account has that address, or changed at the same moment.
    :raises EmailAlreadyRegistered: another verified account has that address by now.
    """
    state = flow.state
    user, seen, params = link
    changes = {
        "email": params.email,
        "password_hash": REVOKED,
        "security_stamp": new_stamp(),
    }
    if seen.email == params.email:
        raise AccountUnusable(user=user)
    displaced = change_email(state, user, seen, changes, is_verified=True)
    state.sessions.end_logins(user)
    notice = state.call("email_change_notice", user, seen.email) if seen.email else None
    mails = [notice] if notice else []
    mails.append(state.mail(email_change_undone_email, user, account=account_mark(state, user)))
    addresses: dict[str, Any] = {"old_email": seen.email, "new_email": params.email}
    state.commit(*mails, deleted=displaced, signals=[user_changed_email], user=user, **addresses)
    state.record(EMAIL_CHANGE_UNDONE, user)


@flow.check
def check(setup: Setup) -> Iterator[Finding]:
    """Check that the link has a page, and that the user can choose a password afterwards."""
    yield from setup.check_page("UNDO_EMAIL_CHANGE_URL")
    if "reset_link" not in setup.offers():
        yield Finding(
            "registration.W027",
            "REGISTRATION_RESET_PASSWORD_VERIFICATION_ENABLED",
            "is False, or the flow is missing. An undo of an e-mail change revokes the password, "
            "and the user cannot choose another one.",
            "Set REGISTRATION_RESET_PASSWORD_VERIFICATION_ENABLED = True, or run "
            "`flask registration set-password` for the user after an undo.",
        )
