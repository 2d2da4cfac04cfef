"""Open an account, prove the address, ask for the mail again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask.typing import ResponseReturnValue
from marshmallow import Schema

from ..accounts import account_schema, log_in, named_users, new_user, refusal
from ..errors import FieldTaken, LinkExpired, LinkInvalid, MailUnavailable, UserWithoutEmailNonverifiable
from ..events import REGISTRATION_TAKEN, VERIFICATION_REQUEST
from ..flow import Flow, success
from ..kit import Kit, current_kit
from ..links import LinkSettings, Purpose, SignedLink, check_page
from ..mail import Mail, NotificationType, default_templates
from ..models import utc_now
from ..schemas import profile_schema, register_schema
from ..settings import PREFIX, Settings, SettingsReader, setting, spell
from ..signals import announce, user_activated, user_logged_in, user_registered
from ..userfields import UserFields
from ..users import User
from ..web import LinkSchema


@dataclass(frozen=True, kw_only=True)
class RegisterSettings(Settings):
    """Registering and verifying."""

    register_flow_enabled: bool = setting(True, "Whether anybody may register.")
    register_schema_class: type[Schema] | None = setting(
        None, "The marshmallow schema of a registration's body.", default_text="made from the model"
    )
    register_schema_password_confirm: bool = setting(True, "Whether the default schema asks for `password_confirm`.")
    register_output_schema_class: type[Schema] | None = setting(
        None, "The marshmallow schema of the reply to a registration.", default_text="the profile"
    )
    register_verification_enabled: bool = setting(
        True, "Whether an address must be proven by a mailed link before the account can be used."
    )
    register_verification_email_sender: Callable[..., None] | None = setting(
        None,
        "Sends the verification mail in our place: `sender(request, user, *, verification_url, **kwargs)`.",
        default_text="our own mail",
    )
    register_verification_period: timedelta = setting(timedelta(days=7), "How long a verification link is good for.")
    register_verification_one_time_use: bool = setting(
        False, "Whether a verification link works once only; else opening it again is a calm 200."
    )
    register_verification_email_templates: Mapping[str, str] = setting(
        default_templates(NotificationType.REGISTER_VERIFICATION), "The templates of the verification mail."
    )
    register_verification_auto_login: bool = setting(
        False, "Whether verifying logs in as well. Needs `REGISTER_VERIFICATION_ONE_TIME_USE`."
    )
    prevent_enumeration: bool = setting(
        True, "Answer a registration with a taken address like any other, and tell its owner by mail."
    )


flow = Flow("register", RegisterSettings, mails=lambda settings: settings.register_verification_enabled)

VERIFY = Purpose("register", binds=lambda user: (user.email,))


# Open an account


def registration_schema(kit: Kit) -> Schema:
    """The application's schema, or the one made from its model."""
    settings = kit.group(RegisterSettings)
    made = register_schema(kit.fields, password_confirm=settings.register_schema_password_confirm)
    return (settings.register_schema_class or made)()


@flow.post(
    "/register/",
    loads=registration_schema,
    raises=[UserWithoutEmailNonverifiable, MailUnavailable],
    enabled=lambda settings: settings.register_flow_enabled,
)
def register_view(data: dict[str, Any]) -> ResponseReturnValue:
    """Register, and get a mail with a link that proves the address."""
    return register(current_kit, flow.settings, data), 201


def register(kit: Kit, settings: RegisterSettings, data: Mapping[str, Any]) -> Any:
    """Open an account; returns what the reply shows of it.

    With ``PREVENT_ENUMERATION`` a taken address does the same work and gets the same reply as a free one.

    :raises marshmallow.ValidationError: a name, an address or a password that will not do, or a taken name.
    :raises UserWithoutEmailNonverifiable: nobody to send the link to.
    :raises MailUnavailable: with the ``"inline"`` dispatcher; there is no account then.
    """
    verification = settings.register_verification_enabled
    discreet = verification and settings.prevent_enumeration
    user = new_user(kit, data, verified=not verification)
    address = kit.users.state(user).email
    if verification and not address:
        raise UserWithoutEmailNonverifiable
    profile = kit.schema(reply_schema)
    reply = profile.dump(user) if discreet else None
    try:
        kit.users.add(user)
    except FieldTaken as taken:
        kit.record(REGISTRATION_TAKEN, taken.owner, fields=taken.fields)
        if not (discreet and taken.fields == (kit.fields.email,) and taken.owner):
            raise refusal(kit, taken, discreet=discreet) from None
        kit.commit(kit.mail(NotificationType.EMAIL_TAKEN, taken.owner))
        return reply
    reply = reply or profile.dump(user)
    mails = [verification_mail(kit, settings, user)] if verification else []
    kit.commit(*mails, signal=user_registered, user=user)
    return reply


def reply_schema(kit: Kit) -> Schema:
    """The application's schema for the reply, or the profile's: without the key where it would tell a taken address."""
    settings = kit.group(RegisterSettings)
    discreet = settings.register_verification_enabled and settings.prevent_enumeration
    return (settings.register_output_schema_class or profile_schema(kit.fields, with_key=not discreet))()


# Prove the address


@flow.post(
    "/verify-registration/",
    loads=LinkSchema,
    raises=[LinkInvalid, LinkExpired],
    enabled=lambda settings: settings.register_verification_enabled,
)
def verify_registration_view(link: SignedLink) -> ResponseReturnValue:
    """Prove an address with the parameters of a mailed link."""
    login = verify_registration(current_kit, flow.settings, link)
    return success("User verified successfully", **login)


def verify_registration(kit: Kit, settings: RegisterSettings, link: SignedLink) -> dict[str, Any]:
    """Mark the address as proven, and announce it; with auto-login, returns what a login does.

    :raises LinkInvalid: forged, for something else, suspended, sent to another address, or used where it works once.
    :raises LinkExpired: older than ``REGISTRATION_REGISTER_VERIFICATION_PERIOD``.
    """
    user, seen = kit.links.open(VERIFY, link, settings.register_verification_period)
    once = settings.register_verification_one_time_use
    if seen.is_verified and not once:
        return {}
    auto_login = settings.register_verification_auto_login
    changes = {"is_verified": True, **({"last_login": utc_now()} if auto_login else {})}
    if not kit.users.change(user, seen, changes, expecting={"is_verified": False} if once else {}):
        raise LinkInvalid(user_id=link.user_id)
    if seen.email:
        kit.mailer.cooldown.forget(seen.email)
    if not auto_login:
        kit.commit(signal=user_activated, user=user)
        return {}
    login = log_in(kit, user, fresh=False, signal=user_activated)
    announce(user_logged_in, user=user)
    return login


# Ask for the mail again


@flow.post(
    "/resend-verification/",
    loads=account_schema,
    enabled=lambda settings: settings.register_verification_enabled,
)
def resend_verification_view(data: dict[str, str]) -> ResponseReturnValue:
    """Ask for the verification mail again. The answer is the same whoever asks, for whomever."""
    resend_verification(current_kit, flow.settings, data)
    return success("If this account is waiting for verification, a new mail is on its way")


def resend_verification(kit: Kit, settings: RegisterSettings, data: Mapping[str, str]) -> None:
    """Mail a new link to the stored address of a pending account; nothing happens for any other."""
    pending = next((user for user in named_users(kit, data) if is_pending(kit, user)), None)
    kit.record(VERIFICATION_REQUEST, pending)
    if pending is not None:
        with suppress(MailUnavailable):  # logged and announced; a reply would tell that there is such an account
            kit.commit(verification_mail(kit, settings, pending))


def is_pending(kit: Kit, user: User) -> bool:
    """Whether an account waits for its verification."""
    state = kit.users.state(user)
    return state.is_active and not state.is_verified and bool(state.email)


# Mails


def verification_mail(kit: Kit, settings: RegisterSettings, user: User) -> Mail:
    """The mail with the link, to the address that the account has."""
    return kit.mail(
        NotificationType.REGISTER_VERIFICATION,
        user,
        templates=settings.register_verification_email_templates,
        sender=settings.register_verification_email_sender,
        verification_url=kit.composer.url(kit.links.sign(VERIFY, user, kit.pages.register_page)),
        valid_for=spell(settings.register_verification_period),
    )


# What must be so at start-up


@flow.check
def check(settings: RegisterSettings, fields: UserFields | None, reader: SettingsReader) -> None:
    """A registration must be able to end in a verified account."""
    if settings.register_verification_enabled:
        url = reader.read(LinkSettings).register_page
        check_page(reader, "REGISTER_VERIFICATION_URL", url)
        if fields and fields.email is None:
            reader.problem(
                PREFIX + "USER_EMAIL_FIELD", f"is missing: {fields.model.__name__} has no column for an address."
            )
        if fields and fields.verified is None:
            reader.problem(
                PREFIX + "USER_VERIFICATION_FLAG_FIELD",
                f"names no column of {fields.model.__name__}: add a boolean one, or switch "
                f"{PREFIX}REGISTER_VERIFICATION_ENABLED off.",
            )
    if settings.register_verification_auto_login and not settings.register_verification_one_time_use:
        reader.problem(
            PREFIX + "REGISTER_VERIFICATION_AUTO_LOGIN",
            f"logs in whoever opens the link: set {PREFIX}REGISTER_VERIFICATION_ONE_TIME_USE = True as well.",
        )
    if fields and settings.register_flow_enabled and not settings.register_schema_class:
        for name in fields.unsettable:
            reader.problem(
                f"{fields.model.__name__}.{name}",
                f"must not be NULL and has no default, but no registration sets it: give it a default, or add it to "
                f"{PREFIX}USER_PUBLIC_FIELDS.",
            )
