"""Open an account, prove the address, ask for the mail again."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from flask.typing import ResponseReturnValue
from marshmallow import Schema

from ..accounts import account_names, account_schema, link_names, log_in, named_users, new_user, refusal
from ..errors import FieldTaken, LinkExpired, LinkInvalid, MailUnavailable, UserWithoutEmailNonverifiable
from ..events import REGISTRATION_TAKEN, VERIFICATION_REQUEST
from ..flow import Flow, success
from ..kit import Kit
from ..links import LinkSettings, Purpose, SignedLink, check_page
from ..mail import Mail, NotificationType
from ..models import utc_now
from ..pending import RegisterSettings, add, is_pending, registered_reply, verified_reply
from ..resets import can_reset, reset_link
from ..schemas import register_schema
from ..sessions import session_kept_on_failure
from ..settings import PREFIX, SettingsReader, spell
from ..signals import announce, user_activated, user_logged_in, user_registered
from ..userfields import UserFields
from ..users import User, stamp_of_proof, unproven
from ..web import LinkSchema, SuccessSchema


def _is_verifying(settings: RegisterSettings) -> bool:
    return settings.register_verification_enabled


flow: Flow[RegisterSettings] = Flow("register", RegisterSettings, mails=_is_verifying)

#: Ends with everything that ends links, but for the proof itself: it may be opened again.
VERIFY = Purpose("register", binds=lambda user: (user.email, unproven(user.security_stamp)), stamped=False)


# Open an account


def registration_schema(kit: Kit) -> Schema:
    """The application's schema, or the one made from its model."""
    settings = kit.group(RegisterSettings)
    made = register_schema(kit.fields, password_confirm=settings.register_schema_password_confirm)
    return (settings.register_schema_class or made)()


@flow.post(
    "/register/",
    loads=registration_schema,
    returns=registered_reply,
    status=201,
    raises={UserWithoutEmailNonverifiable: _is_verifying, MailUnavailable: _is_verifying},
    enabled=lambda settings: settings.register_flow_enabled,
    throttles={"client": "30/minute;100/hour"},
    account=account_names,
)
def register_view(data: dict[str, Any]) -> ResponseReturnValue:
    """Register, and get a mail with a link that proves the address."""
    return register(flow.kit, flow.settings, data), 201


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
    profile = kit.schema(registered_reply)
    reply = profile.dump(user) if discreet else None
    try:
        gone = add(kit, settings, user, look_first=discreet)
    except FieldTaken as taken:
        kit.record(REGISTRATION_TAKEN, taken.owner, fields=taken.fields)
        if not (discreet and taken.fields == (kit.fields.email,) and taken.owner):
            raise refusal(kit, taken, discreet=discreet) from None
        seen = kit.users.state(taken.owner)  # a row is written as it is: a commit of nothing would tell by its time
        unchanged = {"password_hash": seen.password_hash}
        kit.users.change(taken.owner, seen, unchanged, expecting={"is_active": seen.is_active})
        kit.users.get(kit.users.identifier(taken.owner))  # as long as what the ORM does beside an INSERT
        kit.commit(taken_mail(kit, taken.owner))
        return reply
    reply = reply or profile.dump(user)
    mails = [verification_mail(kit, settings, user)] if verification else []
    kit.commit(*mails, gone=gone, signal=user_registered, user=user)
    return reply


# Prove the address


@flow.post(
    "/verify-registration/",
    loads=LinkSchema,
    returns=verified_reply,
    raises=[LinkInvalid, LinkExpired],
    enabled=_is_verifying,
    throttles={"client": "60/minute"},
    account=link_names,
)
def verify_registration_view(link: SignedLink) -> ResponseReturnValue:
    """Prove an address with the parameters of a mailed link."""
    login = verify_registration(flow.kit, flow.settings, link)
    return success("User verified successfully", **login)


def verify_registration(kit: Kit, settings: RegisterSettings, link: SignedLink) -> dict[str, Any]:
    """Mark the address as proven, and announce it; returns what the reply shall carry.

    Whatever came before the proof is nobody's: every session, token and other link ends, but the session that proves.

    :raises LinkInvalid: forged, for something else, suspended, sent to another address, or used where it works once.
    :raises LinkExpired: older than ``REGISTRATION_REGISTER_VERIFICATION_PERIOD``.
    """
    user, seen = kit.links.open(VERIFY, link, settings.register_verification_period)
    once = settings.register_verification_one_time_use
    if seen.is_verified and not once:
        return {}
    asking = kit.identity.user_or_none()
    auto_login = settings.register_verification_auto_login
    changes: dict[str, Any] = {"is_verified": True, "security_stamp": stamp_of_proof(seen.security_stamp)}
    if auto_login:
        changes["last_login"] = utc_now()
    if not kit.users.change(user, seen, changes, expecting={"is_verified": False}):
        kit.users.rollback()
        if once or not kit.links.open(VERIFY, link, settings.register_verification_period)[1].is_verified:
            raise LinkInvalid(user_id=link.user_id)
        return {}  # it was opened twice at once
    kit.identity.end_logins(user)
    if seen.email:
        kit.mailer.cooldown.forget(seen.email)
    if auto_login:
        login = log_in(kit, user, fresh=False, signal=user_activated)
        announce(user_logged_in, user=user)
        return login
    with session_kept_on_failure():
        login = kit.identity.renew(user, fresh=False) if asking is user else {}
        kit.commit(signal=user_activated, user=user)
    return login


# Ask for the mail again


@flow.post(
    "/resend-verification/",
    loads=account_schema,
    returns=SuccessSchema,
    enabled=_is_verifying,
    throttles={"client": "20/minute;100/hour"},
    account=account_names,
)
def resend_verification_view(data: dict[str, str]) -> ResponseReturnValue:
    """Ask for the verification mail again. The answer is the same whoever asks, for whomever."""
    resend_verification(flow.kit, flow.settings, data)
    return success("If this account is waiting for verification, a new mail is on its way")


def resend_verification(kit: Kit, settings: RegisterSettings, data: Mapping[str, str]) -> None:
    """Mail a new link to the stored address of a pending account; nothing happens for any other."""
    named = named_users(kit, data)
    pending = next((user for user in named if is_pending(kit, user)), None)
    kit.record(VERIFICATION_REQUEST, pending)
    if pending is None:
        kit.pretend(lambda user: verification_mail(kit, settings, user), next(iter(named), None))
        return
    with suppress(MailUnavailable):  # logged and announced; a reply would tell that there is such an account
        kit.commit(verification_mail(kit, settings, pending))


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
        can_register=settings.register_flow_enabled and settings.prevent_enumeration and can_reset(kit),
    )


def taken_mail(kit: Kit, owner: User) -> Mail:
    """What the owner of an address is told when somebody registers with it again.

    Where nobody has proven the address, nobody knows whose password the account has: its owner may choose another.
    """
    if is_pending(kit, owner) and can_reset(kit):
        return kit.mail(NotificationType.REGISTER_AGAIN, owner, **reset_link(kit, owner))
    return kit.mail(NotificationType.EMAIL_TAKEN, owner)


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
