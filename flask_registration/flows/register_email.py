"""Move to another address, once it is proven."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask.typing import ResponseReturnValue
from marshmallow import Schema, ValidationError, fields

from ..accounts import link_names, reauthenticate
from ..endpoint import always
from ..errors import (
    EmailAlreadyRegistered,
    LinkExpired,
    LinkInvalid,
    MailUnavailable,
    NotAuthenticated,
    ReauthenticationRequired,
)
from ..events import EMAIL_CHANGE_REQUEST
from ..flow import Flow, success
from ..kit import Kit
from ..links import LinkSettings, Purpose, SignedLink, check_page
from ..mail import Mail, NotificationType, default_templates
from ..messages import Message
from ..moves import move
from ..replies import renewal_reply
from ..schemas import password_field
from ..settings import Settings, SettingsReader, setting, spell
from ..userfields import UserFields
from ..users import User
from ..web import BodySchema, EmailLinkSchema, SuccessSchema, Text


@dataclass(frozen=True, kw_only=True)
class RegisterEmailSettings(Settings):
    """Changing the e-mail address."""

    register_email_schema_class: type[Schema] | None = setting(
        None, "The marshmallow schema of the body that names the new address.", default_text="`email` and `password`"
    )
    register_email_verification_enabled: bool = setting(
        True, "Whether a new address must be proven by a mailed link before it replaces the old one."
    )
    register_email_verification_email_sender: Callable[..., None] | None = setting(
        None,
        "Sends the mail in our place: `sender(request, user, *, email, verification_url, **kwargs)`.",
        default_text="our own mail",
    )
    register_email_verification_period: timedelta = setting(timedelta(days=7), "How long a link is good for.")
    register_email_verification_email_templates: Mapping[str, str] = setting(
        default_templates(NotificationType.REGISTER_EMAIL_VERIFICATION), "The templates of the mail."
    )


def _is_verifying(settings: RegisterEmailSettings) -> bool:
    return settings.register_email_verification_enabled


def _is_moving_at_once(settings: RegisterEmailSettings) -> bool:
    return not settings.register_email_verification_enabled


flow: Flow[RegisterEmailSettings] = Flow(
    "register_email", RegisterEmailSettings, mails=lambda settings: True, needs_email=True
)

MOVE = Purpose("register-email", binds=lambda user: (user.email, user.is_verified))  # the proof of one ends it


# Ask to move


class RegisterEmailSchema(BodySchema):
    """The new address; and the password, unless the login is fresh."""

    email: Text = Text(required=True, metadata={"format": "email"})
    password: fields.Field[Any] = password_field(required=False)


def register_email_schema(kit: Kit) -> Schema:
    """The application's schema, or ours."""
    return (kit.group(RegisterEmailSettings).register_email_schema_class or RegisterEmailSchema)()


def asked_reply(kit: Kit) -> Schema:
    """What the answer carries where the address changes at once."""
    return SuccessSchema() if _is_verifying(kit.group(RegisterEmailSettings)) else renewal_reply(kit)


@flow.post(
    "/register-email/",
    loads=register_email_schema,
    returns=asked_reply,
    raises={ReauthenticationRequired: always, EmailAlreadyRegistered: _is_moving_at_once, MailUnavailable: always},
    login_required=True,
    throttles={"client": "20/minute;100/hour", "account": "10/5 minutes;20/hour"},
)
def register_email_view(user: User, data: dict[str, Any]) -> ResponseReturnValue:
    """Ask to move to another address. The answer is the same whether or not somebody has it."""
    reauthenticate(flow.kit, user, data.get("password"))
    login = register_email(flow.kit, flow.settings, user, data["email"])
    if flow.settings.register_email_verification_enabled:
        return success("Register email link email sent")
    return success("Email changed successfully", **login)


def register_email(kit: Kit, settings: RegisterEmailSettings, user: User, address: str) -> dict[str, Any]:
    """Mail a link to the new address, or move at once where no proof is asked for.

    :raises marshmallow.ValidationError: not an address.
    :raises EmailAlreadyRegistered: taken; only where no proof is asked for, else its owner is told by mail.
    :raises MailUnavailable: with the ``"inline"`` dispatcher.
    """
    field = kit.fields.email or "email"
    try:
        email = kit.users.build({field: address})[field]
    except ValidationError as error:
        raise ValidationError(error.messages_dict[field], "email") from None
    seen = kit.users.state(user)
    if email == seen.email:
        raise ValidationError(Message("This is your address already.", code="unchanged"), "email")
    if not settings.register_email_verification_enabled:
        return move(kit, user, seen, email)
    owners = kit.users.find(field, email) if field in kit.fields.unique else []
    kit.record(EMAIL_CHANGE_REQUEST, user, taken=bool(owners))
    # Signed for a taken address too: the reply must not come any sooner.
    url = moving_url(kit, user, email)
    taken = kit.mail(NotificationType.EMAIL_CHANGE_TAKEN, owners[0]) if owners else None
    kit.commit(taken or moving_mail(kit, settings, user, email, url))
    return {}


def moving_url(kit: Kit, user: User, email: str) -> str:
    """The link that moves the account."""
    return kit.composer.url(kit.links.sign(MOVE, user, kit.pages.register_email_page, email))


def moving_mail(kit: Kit, settings: RegisterEmailSettings, user: User, email: str, url: str) -> Mail:
    """The mail with the link, to the new address."""
    return kit.mail(
        NotificationType.REGISTER_EMAIL_VERIFICATION,
        user,
        to=email,
        templates=settings.register_email_verification_email_templates,
        sender=settings.register_email_verification_email_sender,
        verification_url=url,
        valid_for=spell(settings.register_email_verification_period),
        email=email,
    )


# Prove the new address


@flow.post(
    "/verify-email/",
    loads=EmailLinkSchema,
    returns=renewal_reply,
    raises=[LinkInvalid, LinkExpired, EmailAlreadyRegistered, MailUnavailable],
    enabled=_is_verifying,
    throttles={"client": "60/minute"},
    account=link_names,
)
def verify_email_view(link: SignedLink) -> ResponseReturnValue:
    """Move to another address with the parameters of the link that it got."""
    return success("Email verified successfully", **verify_email(flow.kit, flow.settings, link))


def verify_email(kit: Kit, settings: RegisterEmailSettings, link: SignedLink) -> dict[str, Any]:
    """Move the account to the link's address, if it is verified itself; returns what the reply shall carry.

    :raises LinkInvalid: forged, for something else, used, unknown, suspended or pending.
    :raises LinkExpired: older than ``REGISTRATION_REGISTER_EMAIL_VERIFICATION_PERIOD``.
    :raises EmailAlreadyRegistered: somebody else was faster.
    """
    user, seen = kit.links.open(MOVE, link, settings.register_email_verification_period)
    if not seen.is_verified:
        raise LinkInvalid(user_id=link.user_id)
    email = link.email or ""
    kit.mailer.cooldown.forget(email)
    try:
        return move(kit, user, seen, email)
    except NotAuthenticated:  # changed this very moment, by another use of this link perhaps
        raise LinkInvalid(user_id=link.user_id) from None


# What must be so at start-up


@flow.check
def check(settings: RegisterEmailSettings, fields: UserFields | None, reader: SettingsReader) -> None:
    """The link must lead somewhere."""
    if settings.register_email_verification_enabled:
        check_page(reader, "REGISTER_EMAIL_VERIFICATION_URL", reader.read(LinkSettings).register_email_page)
