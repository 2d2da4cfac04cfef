"""Change the e-mail address of an account, after the new one was verified."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from marshmallow import Schema, ValidationError, fields

from ..auth.links import OpenedLink, Purpose
from ..checks import Finding
from ..errors import (
    AccountUnusable,
    EmailAlreadyRegistered,
    MailUnavailable,
    ReauthenticationRequired,
)
from ..http import accounts
from ..http.bodies import BodySchema, RenewedSchema, Text
from ..http.flow import EndpointLink, Flow, always
from ..http.schemas import password_field
from ..http.suggestions import suggestion, with_suggestion
from ..http.verification import add_code, sent_response
from ..i18n.messages import Message, duration
from ..mail.composer import default_templates
from ..mail.message import Email, Mail, no_variables
from ..request_state import request_state
from ..security_log import EMAIL_CHANGE_REQUEST, EMAIL_CHANGED
from ..settings import Settings, setting
from ..signals import user_changed_email
from ..state import RegistrationState, Setup
from ..users.stamps import SecurityStamp, UserSnapshot, next_stamp
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
        timedelta(days=1), "How long a link is valid."
    )
    register_email_verification_email_templates: Mapping[str, str] = setting(
        default_templates("register_email"),
        "The templates of the e-mail.",
    )


def _is_verifying(settings: RegisterEmailSettings) -> bool:
    return settings.register_email_verification_enabled


flow: Flow[RegisterEmailSettings] = Flow(
    "register_email", RegisterEmailSettings, sends_mail=always, needs_email=True
)

CHANGE_EMAIL = Purpose("register-email", binds=lambda user: (user.email,))


# E-mails


def _verifies(state: RegistrationState) -> bool:
    return _is_verifying(state.group(RegisterEmailSettings))


@flow.email(
    "register_email",
    to="the new e-mail address",
    when="the user asks to change the e-mail address",
    enabled=_verifies,
    templates=lambda settings: settings.register_email_verification_email_templates,
    sender=lambda settings: settings.register_email_verification_email_sender,
    has_code=True,
    example={"email": "alice@new.example.com", "to": "alice@new.example.com"},
)
def email_change_email(
    state: RegistrationState, user: User, email: str, login: str | None = None
) -> dict[str, Any]:
    """Return the template variables.

    :param login: the digest of the login that asked for the change, which the link ends with.
    """
    page = state.pages["register_email_verification_url"]
    period = state.group(RegisterEmailSettings).register_email_verification_period
    note = login or ""
    has_link = state.sends_links
    url = state.links.url(CHANGE_EMAIL, user, page, email, note=note) if has_link else None
    return {
        "verification_url": url,
        "valid_for": duration(period),
        "email": email,
    }


email_change_requested_email: Email = flow.email(
    "email_change_requested",
    when="the user asks to change the e-mail address",
    enabled=_verifies,
    limited=False,
)(no_variables)


email_change_taken_email: Email = flow.email(
    "email_change_taken",
    to="the owner of the e-mail address",
    when="another user asks to change to it",
    enabled=lambda state: _verifies(state) and state.fields.is_email_unique,
    notice=True,
)(no_variables)


@flow.email(
    "email_changed",
    to="the old e-mail address",
    when="the e-mail address was changed, or a change was undone",
    limited=False,
    example={"old": "alice@old.example.com", "can_undo": True, "to": "alice@old.example.com"},
)
def email_changed_email(
    state: RegistrationState, user: User, old: str, can_undo: bool, changed_at: int | None = None
) -> dict[str, Any]:
    """Return the template variables.

    :param changed_at: the time in the security stamp after the change. If the account has another
        one when the e-mail is sent, an administrator has ended the link, or it is about a later
        change.
    """
    stamp = SecurityStamp.parse(state.users.snapshot(user).security_stamp)
    is_current = changed_at in (None, stamp.email_changed_at)
    has_link = can_undo and is_current and state.fields.stamp is not None
    link: dict[str, Any] | None = state.call("undo_link", user, old) if has_link else None
    return link or {"verification_url": None}


@flow.provides("email_change_notice")
def email_change_notice(
    state: RegistrationState, user: User, old: str, stamp: str | None = None
) -> Mail:
    """Return the notice to an e-mail address that the account no longer has.

    :param stamp: the security stamp after a change that this address can undo.
    """
    changed_at = SecurityStamp.parse(stamp).email_changed_at
    about = {"old": old, "can_undo": stamp is not None, "changed_at": changed_at}
    return state.mail(email_changed_email, user, to=old, **about)


# Ask for an e-mail change


class RegisterEmailSchema(BodySchema):
    """The new e-mail address, and the password unless the login is fresh."""

    email: Text = Text(required=True, trim=True, metadata={"format": "email"})
    password: fields.Field[Any] = password_field(required=False)


def register_email_schema(state: RegistrationState) -> Schema:
    """Return the application's schema, or the default one."""
    return (state.group(RegisterEmailSettings).register_email_schema_class or RegisterEmailSchema)()


def email_change_response(state: RegistrationState) -> Schema:
    """Return the schema of the response, with a new token if the address changes immediately."""
    is_verifying = _is_verifying(state.group(RegisterEmailSettings))
    return with_suggestion(sent_response(state) if is_verifying else RenewedSchema())


def email_change_message(settings: RegisterEmailSettings) -> str:
    """Return the text of the response."""
    if settings.register_email_verification_enabled:
        return Message("An e-mail to confirm your new e-mail address is on its way")
    return Message("E-mail address changed successfully")


@flow.post(
    "/register-email/",
    request=register_email_schema,
    response=email_change_response,
    message=email_change_message,
    errors={
        ReauthenticationRequired: always,
        EmailAlreadyRegistered: lambda settings: not _is_verifying(settings),
        MailUnavailable: always,
    },
    login_required=True,
    throttles={"client": "20/minute;100/hour", "account": "10/5 minutes;20/hour"},
)
def register_email(user: User, data: dict[str, Any]) -> dict[str, Any]:
    """Ask for an e-mail change. The response does not reveal whether the address is in use.

    The current address receives a notice. With a login model, the request ends with the login.

    :raises marshmallow.ValidationError: the e-mail address is invalid, or the password is wrong.
    :raises ReauthenticationRequired: there is no password, and the login is not fresh.
    :raises EmailAlreadyRegistered: it is in use; only without verification, else its owner is
        notified.
    :raises AccountUnusable: the account changed at the same moment; only without verification.
    :raises MailUnavailable: with the ``"inline"`` dispatcher.
    """
    state = flow.state
    state.reauthenticate(user, data.get("password"))
    email = accounts.normal_email(state, data.get("email"), user)
    seen = state.users.snapshot(user)
    if email == seen.email:
        message = Message("This is your e-mail address already.", code="unchanged")
        raise ValidationError(message, "email")
    if not flow.settings.register_email_verification_enabled:
        return {**suggestion(email), **change_email(state, user, seen, email, is_verified=False)}
    duplicate = state.users.find_duplicate(user, {state.fields.email or "": email})
    owner = duplicate.owner if duplicate else None
    is_duplicate = duplicate is not None and not (owner and accounts.is_unused(state, owner))
    state.record(EMAIL_CHANGE_REQUEST, user, taken=is_duplicate)
    # Both for an address in use, too: neither the time nor the notice must reveal it.
    current = request_state().login
    login = current and current.digest
    is_notified = seen.email and seen.is_verified
    notices = [state.mail(email_change_requested_email, user)] if is_notified else []
    about = {"email": email, "login": login}
    if is_duplicate:
        mail = state.mail(email_change_taken_email, owner)
    else:
        mail = state.mail(email_change_email, user, to=email, **about)
    mail, challenge = add_code(state, mail, CHANGE_EMAIL.name, user, data=about)
    state.commit(*notices, mail)
    return {**suggestion(email), **challenge}


# Verify the new e-mail address


@flow.post(
    "/verify-email/",
    link=EndpointLink(
        purpose=lambda settings: CHANGE_EMAIL,
        period=lambda settings: settings.register_email_verification_period,
        with_email=True,
    ),
    response=RenewedSchema,
    message=Message("E-mail address verified successfully"),
    errors=[EmailAlreadyRegistered, MailUnavailable],
    enabled=_is_verifying,
    throttles={"client": "60/minute"},
)
def verify_email(link: OpenedLink) -> dict[str, Any]:
    """Change the e-mail address with the parameters of the link that the new address received.

    :raises AccountUnusable: the account is pending, or changed at the same moment, or the login
        that asked for the change has ended.
    :raises EmailAlreadyRegistered: another verified account has the e-mail address by now.
    """
    user, seen, params = link
    email, login = params.email or "", params.note
    return finish_email_change(flow.state, user, seen, email=email, login=login)


@flow.provides("finish_email_change", enabled=_is_verifying)
def finish_email_change(
    state: RegistrationState, user: User, seen: UserSnapshot, *, email: str, login: str | None
) -> dict[str, Any]:
    """Change an e-mail address that the client has verified. Return fields of the response.

    :param login: the digest of the login that asked for the change.
    :raises AccountUnusable: the account is pending, or changed at the same moment, for example by
        another use of the link, or the login that asked for the change has ended.
    :raises EmailAlreadyRegistered: another verified account has the e-mail address by now.
    """
    has_ended = bool(login and state.logins and not state.logins.exists(user, login))
    if has_ended or not seen.is_verified:
        raise AccountUnusable(user=user)
    state.mailer.limits.forget(email)
    return change_email(state, user, seen, email, is_verified=True)


def change_email(
    state: RegistrationState, user: User, seen: UserSnapshot, email: str, *, is_verified: bool
) -> dict[str, Any]:
    """Write the new e-mail address, end every other login, and notify the old address.

    :param is_verified: whether the client has verified the new address.
    :raises EmailAlreadyRegistered: another account has it.
    :raises AccountUnusable: the account is not as it was seen.
    """
    current_user = state.sessions.user_or_none()
    stamp = state.call("email_change_stamp", seen)
    changes = {"email": email, "security_stamp": stamp or next_stamp(seen.security_stamp)}
    displaced = accounts.change_email(state, user, seen, changes, is_verified=is_verified)
    state.sessions.end_logins(user)
    notices = [email_change_notice(state, user, seen.email, stamp)] if seen.email else []
    login = state.sessions.renew(user) if current_user is user else {}
    addresses: dict[str, Any] = {"old_email": seen.email, "new_email": email}
    names = accounts.login_names(state, user)
    state.commit(*notices, deleted=displaced, signals=[user_changed_email], user=user, **addresses)
    state.record(EMAIL_CHANGED, user)
    if current_user is user:
        accounts.remember_device(state, names, email)
    return login


# Checks


@flow.check
def check(setup: Setup) -> Iterator[Finding]:
    """Check that the link has a page."""
    if setup.sends_links and _is_verifying(setup.group(RegisterEmailSettings)):
        yield from setup.check_page("REGISTER_EMAIL_VERIFICATION_URL")
