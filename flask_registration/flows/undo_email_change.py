"""Undo an e-mail change, with the link that the old e-mail address received."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask.typing import ResponseReturnValue

from ..auth.links import Purpose, SignedLink, check_page
from ..errors import DuplicateValue, EmailAlreadyRegistered, LinkExpired, LinkInvalid
from ..http.accounts import link_names
from ..http.bodies import EmailLinkSchema, SuccessSchema
from ..http.flow import Flow, success
from ..security_log import EMAIL_CHANGE_UNDONE
from ..settings import Settings, SettingsReader, format_value, setting
from ..signals import user_changed_email
from ..state import RegistrationState
from ..users.fields import UserFields
from ..users.stamps import (
    UserSnapshot,
    changed_email_within,
    email_change_part,
    new_stamp,
    rotate_on_email_change,
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
    "undo_email_change", UndoEmailChangeSettings, needs_email=True
)

#: Bound to nothing that an attacker with the account can change: no new stamp ends it but that of an undo.
UNDO = Purpose(
    "undo-email-change",
    binds=lambda user: (email_change_part(user.security_stamp),),
    stamped=False,
)


@flow.provides("email_change_stamp")
def email_change_stamp(state: RegistrationState, seen: UserSnapshot) -> str | None:
    """Return the security stamp after an e-mail change that can be undone, else None.

    Within the period only the first address can undo. If the next one could, an attacker could undo the
    undo.
    """
    period = state.group(UndoEmailChangeSettings).undo_email_change_period
    if changed_email_within(seen.security_stamp, period):
        return None
    return rotate_on_email_change()


@flow.provides("undo_link")
def undo_link(state: RegistrationState, user: User, old: str) -> dict[str, Any]:
    """Return the template variables of an e-mail with a link to undo a change from this address."""
    period = state.group(UndoEmailChangeSettings).undo_email_change_period
    url = state.links.url(UNDO, user, state.pages["undo_email_change_url"], old)
    return {"verification_url": url, "valid_for": format_value(period)}


@flow.post(
    "/undo-email-change/",
    request=EmailLinkSchema,
    response=SuccessSchema,
    errors=[LinkInvalid, LinkExpired, EmailAlreadyRegistered],
    throttles={"client": "60/minute"},
    account=link_names,
)
def undo_email_change_view(link: SignedLink) -> ResponseReturnValue:
    """Undo an e-mail change, with the parameters of the link that the old address received."""
    undo_email_change(flow.state, flow.settings, link)
    return success("Email change undone")


def undo_email_change(
    state: RegistrationState, settings: UndoEmailChangeSettings, link: SignedLink
) -> None:
    """Restore the old e-mail address, and end every session, token and link of the account.

    :raises LinkInvalid: forged, of another purpose, used, of an unknown or suspended account.
    :raises LinkExpired: older than ``REGISTRATION_UNDO_EMAIL_CHANGE_PERIOD``.
    :raises EmailAlreadyRegistered: another account has that address by now.
    """
    user, seen = state.links.open(UNDO, link, settings.undo_email_change_period)
    changes = {"email": link.email, "security_stamp": new_stamp()}
    try:
        if seen.email == link.email or not state.users.change(user, seen, changes):
            raise LinkInvalid(user_id=link.user_id)
    except DuplicateValue:
        raise EmailAlreadyRegistered from None
    state.sessions.end_logins(user)
    addresses: dict[str, Any] = {"old_email": seen.email, "new_email": link.email}
    state.commit(signal=user_changed_email, user=user, **addresses)
    state.record(EMAIL_CHANGE_UNDONE, user)


@flow.check
def check(
    settings: UndoEmailChangeSettings, fields: UserFields | None, reader: SettingsReader
) -> None:
    """Check that the link has a page."""
    check_page(reader, "UNDO_EMAIL_CHANGE_URL")
