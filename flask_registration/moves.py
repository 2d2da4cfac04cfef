"""The change of an account's address, and the link that takes it back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from .errors import EmailAlreadyRegistered, FieldTaken, NotAuthenticated
from .events import EMAIL_CHANGED
from .kit import Kit
from .links import Purpose
from .mail import Mail, NotificationType
from .sessions import session_kept_on_failure
from .settings import Settings, setting, spell
from .signals import user_changed_email
from .users import User, UserState, lineage, moved_within, next_stamp, stamp_of_move


@dataclass(frozen=True, kw_only=True)
class UndoEmailChangeSettings(Settings):
    """Taking a change of the e-mail address back."""

    undo_email_change_period: timedelta = setting(timedelta(days=7), "How long the old address can take a change back.")


#: Bound to nothing that a thief of the account could change: it outlives every new stamp, but that of an undo.
UNDO = Purpose("undo-email-change", binds=lambda user: (lineage(user.security_stamp),), stamped=False)


def move(kit: Kit, user: User, seen: UserState, email: str) -> dict[str, Any]:
    """Write the new address, end every other login, and tell the old address how to undo it.

    :raises EmailAlreadyRegistered: somebody else has it.
    :raises NotAuthenticated: the account is no longer as it was seen.
    """
    asking = kit.identity.user_or_none()
    stamp, can_undo = stamp_after_move(kit, seen)
    try:
        if not kit.users.change(user, seen, {"email": email, "security_stamp": stamp}):
            raise NotAuthenticated
    except FieldTaken:
        raise EmailAlreadyRegistered from None
    kit.identity.end_logins(user)
    notices = [changed_mail(kit, user, seen.email, can_undo=can_undo)] if seen.email else []
    with session_kept_on_failure():
        login = kit.identity.renew(user, fresh=False) if asking is user else {}
        kit.commit(*notices, signal=user_changed_email, user=user, old_email=seen.email, new_email=email)
    kit.record(EMAIL_CHANGED, user)
    return login


def stamp_after_move(kit: Kit, seen: UserState) -> tuple[str, bool]:
    """The security stamp of an account that moves, and whether the address that it leaves gets the link.

    Within the period the first address alone does: were the next one told how to undo, a thief could undo that. A model
    without a security stamp has nothing that such a link could be bound to.
    """
    settings = kit.settings.get(UndoEmailChangeSettings)
    if not isinstance(settings, UndoEmailChangeSettings):  # an application without that flow
        return next_stamp(seen.security_stamp), False
    if moved_within(seen.security_stamp, settings.undo_email_change_period):
        return next_stamp(seen.security_stamp), False
    return stamp_of_move(), kit.fields.stamp is not None


def changed_mail(kit: Kit, user: User, old: str, *, can_undo: bool) -> Mail:
    """The notice to the old address, with the link where it gets one."""
    link: dict[str, Any] = {"verification_url": None}
    if can_undo:
        url = kit.composer.url(kit.links.sign(UNDO, user, kit.pages.undo_email_change_page, old))
        period = spell(kit.group(UndoEmailChangeSettings).undo_email_change_period)
        link = {"verification_url": url, "valid_for": period}
    return kit.mail(NotificationType.EMAIL_CHANGED, user, to=old, **link)
