"""Take a change of address back, from the old address."""

from __future__ import annotations

from flask.typing import ResponseReturnValue

from ..accounts import link_names
from ..errors import EmailAlreadyRegistered, FieldTaken, LinkExpired, LinkInvalid
from ..events import EMAIL_CHANGE_UNDONE
from ..flow import Flow, success
from ..kit import Kit
from ..links import LinkSettings, SignedLink, check_page
from ..moves import UNDO, UndoEmailChangeSettings
from ..settings import SettingsReader
from ..signals import user_changed_email
from ..userfields import UserFields
from ..users import new_stamp
from ..web import EmailLinkSchema, SuccessSchema

flow: Flow[UndoEmailChangeSettings] = Flow("undo_email_change", UndoEmailChangeSettings, needs_email=True)


@flow.post(
    "/undo-email-change/",
    loads=EmailLinkSchema,
    returns=SuccessSchema,
    raises=[LinkInvalid, LinkExpired, EmailAlreadyRegistered],
    throttles={"client": "60/minute"},
    account=link_names,
)
def undo_email_change_view(link: SignedLink) -> ResponseReturnValue:
    """Take a change of address back, with the parameters of the link that the old address got."""
    undo_email_change(flow.kit, flow.settings, link)
    return success("Email change undone")


def undo_email_change(kit: Kit, settings: UndoEmailChangeSettings, link: SignedLink) -> None:
    """Give the account its old address back, and end every session, token and link of it.

    :raises LinkInvalid: forged, for something else, used, unknown or suspended.
    :raises LinkExpired: older than ``REGISTRATION_UNDO_EMAIL_CHANGE_PERIOD``.
    :raises EmailAlreadyRegistered: somebody else has that address now.
    """
    user, seen = kit.links.open(UNDO, link, settings.undo_email_change_period)
    try:
        changes = {"email": link.email, "security_stamp": new_stamp()}
        if seen.email == link.email or not kit.users.change(user, seen, changes):
            raise LinkInvalid(user_id=link.user_id)
    except FieldTaken:
        raise EmailAlreadyRegistered from None
    kit.identity.end_logins(user)
    kit.commit(signal=user_changed_email, user=user, old_email=seen.email, new_email=link.email)
    kit.record(EMAIL_CHANGE_UNDONE, user)


@flow.check
def check(settings: UndoEmailChangeSettings, fields: UserFields | None, reader: SettingsReader) -> None:
    """The link must lead somewhere."""
    check_page(reader, "UNDO_EMAIL_CHANGE_URL", reader.read(LinkSettings).undo_email_change_page)
