"""The link that takes a change of address back, as the flow mails it that moves and the flow opens it that undoes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from .kit import Kit
from .links import Purpose
from .mail import Mail, NotificationType
from .settings import Settings, setting, spell
from .users import User, UserState, lineage, moved_within, next_stamp, stamp_of_move


@dataclass(frozen=True, kw_only=True)
class UndoEmailChangeSettings(Settings):
    """Taking a change of the e-mail address back."""

    undo_email_change_period: timedelta = setting(timedelta(days=7), "How long the old address can take a change back.")


#: Bound to nothing that a thief of the account could change: it outlives every new stamp, but that of an undo.
UNDO = Purpose("undo-email-change", binds=lambda user: (lineage(user.security_stamp),), stamped=False)


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
