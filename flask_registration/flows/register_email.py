"""Change the e-mail address of an account, after the new one was verified."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask.typing import ResponseReturnValue
from marshmallow import Schema, ValidationError, fields

from ..auth.links import Purpose, SignedLink, check_page
from ..auth.sessions import session_kept_on_failure
from ..errors import (
    DuplicateValue,
    EmailAlreadyRegistered,
    LinkExpired,
    LinkInvalid,
    MailUnavailable,
    NotAuthenticated,
    ReauthenticationRequired,
)
from ..http.accounts import link_names
from ..http.bodies import BodySchema, EmailLinkSchema, SuccessSchema, Text, renewal_response
from ..http.flow import Flow, always, success
from ..http.schemas import password_field
from ..i18n.messages import Message
from ..mail.composer import NotificationType, default_templates
from ..mail.message import Mail
from ..security_log import EMAIL_CHANGE_REQUEST, EMAIL_CHANGED
from ..settings import Settings, SettingsReader, format_value, setting
from ..signals import user_changed_email
from ..state import RegistrationState
from ..users.fields import UserFields
from ..users.stamps import UserSnapshot, next_stamp
from ..users.store import User


@dataclass(frozen=True, kw_only=True)
class RegisterEmailSettings(Settings):
    """E-mail change."""

    register_email_verification_url: str | None = setting(
        None,
        "The page that verifies a new e-mail address.",
        page="verify-email/",
        beside="REGISTER_VERIFICATION_URL",
    )
    register_email_schema_class: type[Schema] | None = setting(
        None,
        "The marshmallow schema of the request body with the new e-mail address.",
        default_text="`email` and `password`",
    )
    register_email_verification_enabled: bool = setting(
        True, "Whether a new e-mail address must be verified before it replaces the old one."
    )
    register_email_verification_email_sender: Callable[..., None] | None = setting(
        None,
        "Sends the e-mail instead of the extension: "
        "`sender(request, user, *, email, verification_url, **kwargs)`.",
        default_text="the extension's own",
    )
    register_email_verification_period: timedelta = setting(
        timedelta(days=7), "How long a link is valid."
    )
    register_email_verification_email_templates: Mapping[str, str] = setting(
        default_templates(NotificationType.REGISTER_EMAIL_VERIFICATION),
        "The templates of the e-mail.",
    )


def _is_verifying(settings: RegisterEmailSettings) -> bool:
    return settings.register_email_verification_enabled


def _is_immediate(settings: RegisterEmailSettings) -> bool:
    return not settings.register_email_verification_enabled


flow: Flow[RegisterEmailSettings] = Flow(
    "register_email", RegisterEmailSettings, sends_mail=always, needs_email=True
)

#: The verification of the account makes it invalid, too.
CHANGE_EMAIL = Purpose("register-email", binds=lambda user: (user.email, user.is_verified))


# Ask for an e-mail change


class RegisterEmailSchema(BodySchema):
    """The new e-mail address, and the password unless the login is fresh."""

    email: Text = Text(required=True, metadata={"format": "email"})
    password: fields.Field[Any] = password_field(required=False)


def register_email_schema(state: RegistrationState) -> Schema:
    """Return the application's schema, or the default one."""
    return (state.group(RegisterEmailSettings).register_email_schema_class or RegisterEmailSchema)()


def email_change_response(state: RegistrationState) -> Schema:
    """Return the schema of the response, with a new token if the address changes immediately."""
    is_verifying = _is_verifying(state.group(RegisterEmailSettings))
    return SuccessSchema() if is_verifying else renewal_response(state)


@flow.post(
    "/register-email/",
    request=register_email_schema,
    response=email_change_response,
    errors={
        ReauthenticationRequired: always,
        EmailAlreadyRegistered: _is_immediate,
        MailUnavailable: always,
    },
    login_required=True,
    throttles={"client": "20/minute;100/hour", "account": "10/5 minutes;20/hour"},
)
def register_email_view(user: User, data: dict[str, Any]) -> ResponseReturnValue:
    """Ask for an e-mail change. The response does not reveal whether the address is in use."""
    flow.state.reauthenticate(user, data.get("password"))
    login = register_email(flow.state, flow.settings, user, data["email"])
    if flow.settings.register_email_verification_enabled:
        return success("Register email link email sent")
    return success("Email changed successfully", **login)


def register_email(
    state: RegistrationState, settings: RegisterEmailSettings, user: User, address: str
) -> dict[str, Any]:
    """Send a link to the new e-mail address, or change it immediately if verification is disabled.

    :raises marshmallow.ValidationError: the e-mail address is invalid.
    :raises EmailAlreadyRegistered: it is in use; only without verification, else its owner is notified.
    :raises MailUnavailable: with the ``"inline"`` dispatcher.
    """
    field = state.fields.email or "email"
    try:
        email = state.users.build({field: address})[field]
    except ValidationError as error:
        raise ValidationError(error.messages_dict[field], "email") from None
    seen = state.users.snapshot(user)
    if email == seen.email:
        message = Message("This is your e-mail address already.", code="unchanged")
        raise ValidationError(message, "email")
    if not settings.register_email_verification_enabled:
        return change_email(state, user, seen, email)
    owners = state.users.find(field, email) if field in state.fields.unique else []
    state.record(EMAIL_CHANGE_REQUEST, user, taken=bool(owners))
    url = email_change_url(state, user, email)  # signed in any case, for an equal response time
    if owners:
        state.commit(state.mail(NotificationType.EMAIL_CHANGE_TAKEN, owners[0]))
    else:
        state.commit(email_change_mail(state, user, email, url))
    return {}


# Verify the new e-mail address


@flow.post(
    "/verify-email/",
    request=EmailLinkSchema,
    response=renewal_response,
    errors=[LinkInvalid, LinkExpired, EmailAlreadyRegistered, MailUnavailable],
    enabled=_is_verifying,
    throttles={"client": "60/minute"},
    account=link_names,
)
def verify_email_view(link: SignedLink) -> ResponseReturnValue:
    """Change the e-mail address with the parameters of the link that the new address received."""
    return success("Email verified successfully", **verify_email(flow.state, flow.settings, link))


def verify_email(
    state: RegistrationState, settings: RegisterEmailSettings, link: SignedLink
) -> dict[str, Any]:
    """Change the e-mail address of a verified account to the link's. Return fields of the response.

    :raises LinkInvalid: forged, of another purpose, used, of an unknown, suspended or pending account.
    :raises LinkExpired: older than ``REGISTRATION_REGISTER_EMAIL_VERIFICATION_PERIOD``.
    :raises EmailAlreadyRegistered: another account has the e-mail address by now.
    """
    period = settings.register_email_verification_period
    user, seen = state.links.open(CHANGE_EMAIL, link, period)
    if not seen.is_verified:
        raise LinkInvalid(user_id=link.user_id)
    email = link.email or ""
    state.mailer.cooldown.forget(email)
    try:
        return change_email(state, user, seen, email)
    except NotAuthenticated:  # the account changed, for example by another use of this link
        raise LinkInvalid(user_id=link.user_id) from None


def change_email(
    state: RegistrationState, user: User, seen: UserSnapshot, email: str
) -> dict[str, Any]:
    """Write the new e-mail address, end every other login, and notify the old address.

    :raises EmailAlreadyRegistered: another account has it.
    :raises NotAuthenticated: the account is not as it was seen.
    """
    current_user = state.sessions.user_or_none()
    new_stamp_for_undo = state.provided("email_change_stamp")
    stamp = new_stamp_for_undo(state, seen) if new_stamp_for_undo else None
    can_undo = stamp is not None and state.fields.stamp is not None
    changes = {"email": email, "security_stamp": stamp or next_stamp(seen.security_stamp)}
    try:
        if not state.users.change(user, seen, changes):
            raise NotAuthenticated
    except DuplicateValue:
        raise EmailAlreadyRegistered from None
    state.sessions.end_logins(user)
    notices = [changed_mail(state, user, seen.email, can_undo=can_undo)] if seen.email else []
    with session_kept_on_failure():
        login = state.sessions.renew(user, fresh=False) if current_user is user else {}
        addresses: dict[str, Any] = {"old_email": seen.email, "new_email": email}
        state.commit(*notices, signal=user_changed_email, user=user, **addresses)
    state.record(EMAIL_CHANGED, user)
    return login


# E-mails


def email_change_url(state: RegistrationState, user: User, email: str) -> str:
    """Return the link that changes the e-mail address."""
    page = state.pages["register_email_verification_url"]
    return state.links.url(CHANGE_EMAIL, user, page, email)


def email_change_mail(state: RegistrationState, user: User, email: str, url: str) -> Mail:
    """Compose the e-mail with the link, to the new e-mail address."""
    settings = state.group(RegisterEmailSettings)
    return state.mail(
        NotificationType.REGISTER_EMAIL_VERIFICATION,
        user,
        to=email,
        templates=settings.register_email_verification_email_templates,
        sender=settings.register_email_verification_email_sender,
        verification_url=url,
        valid_for=format_value(settings.register_email_verification_period),
        email=email,
    )


def changed_mail(state: RegistrationState, user: User, old: str, *, can_undo: bool) -> Mail:
    """Compose the notice to the old e-mail address, with a link to undo the change if it gets one."""
    undo_link = state.provided("undo_link")
    link = undo_link(state, user, old) if undo_link and can_undo else {"verification_url": None}
    return state.mail(NotificationType.EMAIL_CHANGED, user, to=old, **link)


def _verifies(state: RegistrationState) -> bool:
    return _is_verifying(state.group(RegisterEmailSettings))


@flow.examples.add(
    name="register_email",
    to="the new e-mail address",
    when="the user asks to change the e-mail address",
    enabled=_verifies,
)
def _email_change_example(state: RegistrationState, user: User) -> Mail:
    email = state.users.snapshot(user).email or ""
    return email_change_mail(state, user, email, email_change_url(state, user, email))


@flow.examples.add(
    name="email_change_taken",
    to="the owner of the e-mail address",
    when="another user asks to change to it",
    enabled=lambda state: _verifies(state) and state.fields.email in state.fields.unique,
)
def _email_change_taken_example(state: RegistrationState, user: User) -> Mail:
    return state.mail(NotificationType.EMAIL_CHANGE_TAKEN, user)


@flow.examples.add(
    name="email_changed", to="the old e-mail address", when="the e-mail address was changed"
)
def _email_changed_example(state: RegistrationState, user: User) -> Mail:
    can_undo = state.provided("undo_link") is not None and state.fields.stamp is not None
    return changed_mail(state, user, "alice@old.example.com", can_undo=can_undo)


# Checks


@flow.check
def check(
    settings: RegisterEmailSettings, fields: UserFields | None, reader: SettingsReader
) -> None:
    """Check that the link has a page."""
    if settings.register_email_verification_enabled:
        check_page(reader, "REGISTER_EMAIL_VERIFICATION_URL")
