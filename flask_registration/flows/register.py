"""Register an account, verify its e-mail address, and resend the verification e-mail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import has_request_context
from marshmallow import Schema

from ..auth.links import OpenedLink, Purpose
from ..auth.passwords import unusable_hash
from ..checks import Finding
from ..errors import (
    AccountUnusable,
    DuplicateValue,
    MailUnavailable,
    NotVerified,
    StepRequired,
    UserWithoutEmailNonverifiable,
)
from ..http.accounts import (
    account_names,
    account_schema,
    add_account,
    change_email,
    find_users,
    is_placeholder,
    new_user,
)
from ..http.bodies import RenewedSchema, Text, login_response, schema_of
from ..http.flow import EndpointLink, Flow, always
from ..http.login import log_in
from ..http.reservations import reserve
from ..http.schemas import profile_schema, register_schema
from ..http.suggestions import suggestion, with_suggestion
from ..http.verification import (
    NO_LINK,
    add_code,
    send_quietly,
    sent_response,
    with_challenge,
)
from ..i18n.messages import Message, duration
from ..mail.composer import default_templates
from ..mail.message import Email, Mail, no_variables
from ..security_log import REGISTRATION_TAKEN, VERIFICATION_REQUEST
from ..settings import Settings, setting, setting_name
from ..signals import user_activated, user_registered
from ..state import RegistrationState, Setup
from ..users.mixins import utc_now
from ..users.stamps import SecurityStamp, UserSnapshot, next_stamp
from ..users.store import User


@dataclass(frozen=True, kw_only=True)
class RegisterSettings(Settings):
    """Registration and verification."""

    register_flow_enabled: bool = setting(True, "Whether registration is open.")
    register_schema_class: type[Schema] | None = setting(
        None,
        "The marshmallow schema of the request body of a registration.",
        default_text="made from the model",
    )
    register_schema_password_confirm: bool = setting(
        True, "Whether the default schema requires `password_confirm`."
    )
    register_output_schema_class: type[Schema] | None = setting(
        None,
        "The marshmallow schema of the response to a registration.",
        default_text="the profile",
    )
    register_verification_enabled: bool = setting(
        True, "Whether the user must verify the e-mail address before the account can be used."
    )
    register_verification_email_sender: Callable[..., None] | None = setting(
        None,
        "Sends the verification e-mail instead of the extension: "
        "`sender(request, user, *, verification_url, **kwargs)`.",
        default_text="the extension's own",
    )
    register_verification_period: timedelta = setting(
        timedelta(days=7), "How long a verification link is valid."
    )
    register_verification_one_time_use: bool = setting(
        False,
        "If true, a verification link can be used only once. If false, using it again returns 200.",
    )
    register_verification_email_templates: Mapping[str, str] = setting(
        default_templates("register"),
        "The templates of the verification e-mail.",
    )
    register_verification_auto_login: bool = setting(
        False,
        "Whether verification logs the user in. Needs `REGISTER_VERIFICATION_ONE_TIME_USE`.",
    )
    prevent_enumeration: bool = setting(
        True,
        "If true, a registration with an e-mail address in use returns the same response "
        "as any other, the owner of the address receives an e-mail, "
        "and a login to an unverified account returns `login-invalid`.",
    )


def _is_verifying(settings: RegisterSettings) -> bool:
    return settings.register_verification_enabled


flow: Flow[RegisterSettings] = Flow("register", RegisterSettings, sends_mail=_is_verifying)

#: Not bound to the verification flag, so that it can be opened again.
VERIFY = Purpose(
    "register",
    binds=lambda user: (user.email, *SecurityStamp.parse(user.security_stamp).for_links),
    stamped=False,
)


VERIFICATION_LINK: EndpointLink[RegisterSettings] = EndpointLink(
    purpose=lambda settings: VERIFY,
    period=lambda settings: settings.register_verification_period,
)


def verification_settings(state: RegistrationState) -> RegisterSettings | None:
    """Return the verification settings, or None if verification is disabled."""
    return state.group(RegisterSettings) if state.provided("requires_verification") else None


def expired_before(settings: RegisterSettings, grace: timedelta = timedelta(0)) -> datetime:
    """Return the time before which an unverified registration has expired.

    :param grace: for how long it must have been expired.
    """
    return utc_now() - settings.register_verification_period - grace


#: The error of a login to a pending account with the right password. The client that registered
#: chose the password. With ``PREVENT_ENUMERATION`` it must not learn that the registration made an
#: account of the address.
flow.provides("pending_login_error", lambda settings: not settings.prevent_enumeration)(NotVerified)

#: Only users with a verified e-mail address log in.
flow.provides("requires_verification", _is_verifying)(always)

#: No client may create an account.
flow.provides("closes_registration", lambda settings: not settings.register_flow_enabled)(always)

#: Keeps the former login names of an account from others, until a registration would expire.
flow.provides("reserve_names", _is_verifying)(reserve)


@flow.provides("registrations_expire", enabled=_is_verifying)
def registrations_expire(state: RegistrationState) -> datetime:
    """Return the time before which an unverified registration has expired."""
    return expired_before(state.group(RegisterSettings))


# E-mails


@flow.email(
    "register",
    when="after a registration, and after `resend-verification`",
    enabled=lambda state: verification_settings(state) is not None,
    templates=lambda settings: settings.register_verification_email_templates,
    sender=lambda settings: settings.register_verification_email_sender,
    has_code=True,
)
def verification_email(state: RegistrationState, user: User) -> dict[str, Any]:
    """Return the template variables."""
    settings, page = state.group(RegisterSettings), state.pages["register_verification_url"]
    return {
        "verification_url": state.links.url(VERIFY, user, page) if state.sends_links else None,
        "valid_for": duration(settings.register_verification_period),
        "can_register": _hides_duplicates(state) and state.provided("reset_link") is not None,
    }


def _hides_duplicates(state: RegistrationState) -> bool:
    settings = verification_settings(state)
    return bool(settings and settings.register_flow_enabled and settings.prevent_enumeration)


@flow.email(
    "register_again",
    to="the owner of the e-mail address",
    when="someone registers with it again before it was verified",
    enabled=lambda state: _hides_duplicates(state) and state.provided("reset_link") is not None,
    has_code=True,
)
def register_again_email(state: RegistrationState, user: User) -> Mapping[str, Any]:
    """Return the template variables.

    The link sets a password for the earlier registration. The code finishes the latest one.
    """
    if not state.sends_links:
        return NO_LINK
    link: Mapping[str, Any] = state.call("reset_link", user)
    return link


email_taken_email: Email = flow.email(
    "email_taken",
    to="the owner of the e-mail address",
    when="someone registers with it although it is verified, or the account is suspended",
    enabled=_hides_duplicates,
    notice=True,
)(no_variables)


# Register


def _causes_mail(state: RegistrationState) -> bool:
    """Return whether a registration causes an e-mail, to its address or to an approver."""
    return _is_verifying(state.group(RegisterSettings)) or state.provided("announced") is not None


@flow.provides("registration_schema")
def registration_schema_class(state: RegistrationState) -> type[Schema]:
    """Return the application's schema, or the one made from its model."""
    settings = state.group(RegisterSettings)
    return register_schema(
        state,
        password_confirm=settings.register_schema_password_confirm,
        base=settings.register_schema_class,
    )


def registration_schema(state: RegistrationState) -> Schema:
    """Return the schema of the request body."""
    return registration_schema_class(state)()


def registered_response(state: RegistrationState) -> Schema:
    """Return the schema of the response: the profile, without a key that reveals an account."""
    settings = state.group(RegisterSettings)
    is_hidden = settings.register_verification_enabled and settings.prevent_enumeration
    made = profile_schema(state.fields, with_key=not is_hidden)
    schema = settings.register_output_schema_class or made
    schema = with_challenge(state, schema) if _is_verifying(settings) else schema
    return with_suggestion(schema())


@flow.post(
    "/register/",
    request=registration_schema,
    response=registered_response,
    status=201,
    errors={UserWithoutEmailNonverifiable: _is_verifying, MailUnavailable: _is_verifying},
    enabled=lambda settings: settings.register_flow_enabled,
    gated=True,
    causes_mail=_causes_mail,
    throttles={"client": "30/minute;100/hour"},
    account=account_names,
)
def register(data: dict[str, Any]) -> dict[str, Any]:
    """Register, and receive an e-mail with a link that verifies the e-mail address.

    :raises marshmallow.ValidationError: an invalid field, or a duplicate username.
    :raises UserWithoutEmailNonverifiable: there is no e-mail address to verify.
    :raises MailUnavailable: with the ``"inline"`` dispatcher; no account is created.
    """
    state, settings = flow.state, flow.settings
    verification = settings.register_verification_enabled
    # An e-mail address in use causes the same work and the same response.
    hide_email = verification and settings.prevent_enumeration
    user = new_user(state, data, verified=not verification)
    email = state.users.snapshot(user).email
    if verification and not email:
        raise UserWithoutEmailNonverifiable
    schema = schema_of(state, registered_response)
    response: dict[str, Any] | None = schema.dump(user) if hide_email else None
    before = expired_before(settings) if verification else None
    try:
        displaced, duplicate = add_account(
            state, user, data=data, expired_before=before, hide_email=hide_email
        )
    except DuplicateValue as error:
        state.record(REGISTRATION_TAKEN, error.owner, fields=error.fields)
        others = [name for name in error.fields if name != state.fields.email]
        raise DuplicateValue(others) if hide_email and others else error from None
    response = response or schema.dump(user)
    mails: list[Mail] = []
    challenge: dict[str, str] = {}
    signals = [user_registered]
    if duplicate is not None:
        state.record(REGISTRATION_TAKEN, duplicate.owner, fields=duplicate.fields)
        mail, challenge = duplicate_mail(state, user, email, duplicate.owner)
        mails, signals = [mail], []
    elif verification:
        mail, challenge = add_code(state, state.mail(verification_email, user), VERIFY.name, user)
        mails = [mail]
    state.commit(*mails, deleted=displaced, signals=signals, user=user)
    return {**suggestion(email), **response, **challenge}


def duplicate_mail(
    state: RegistrationState, user: User, email: str | None, owner: User | None
) -> tuple[Mail, dict[str, str]]:
    """Return the e-mail to the owner of a registered address, and further fields of the response.

    It is dropped without an owner: the application may hide the row from its queries. The password
    of a pending account may be another person's, so the owner may choose a new one. The code of
    that e-mail verifies the address for the latest registration: its account then receives the
    address, with the password that its client knows.
    """
    can_choose = state.provided("reset_link") and state.users.snapshot(owner).is_pending
    mail = state.mail(register_again_email if can_choose else email_taken_email, owner)
    stored = user if is_placeholder(state, user) else None  # the model may refuse a placeholder
    account = owner if can_choose else None
    return add_code(state, mail, VERIFY.name, stored, data={"email": email}, account=account)


# Verify


def verified_response(state: RegistrationState) -> Schema:
    """Return the schema of the response; with auto-login it is that of a login."""
    is_login = state.group(RegisterSettings).register_verification_auto_login
    return login_response(state) if is_login else RenewedSchema()


@flow.post(
    "/verify-registration/",
    link=VERIFICATION_LINK,
    response=verified_response,
    message=Message("User verified successfully"),
    errors={StepRequired: lambda settings: settings.register_verification_auto_login},
    enabled=_is_verifying,
    throttles={"client": "60/minute"},
)
def verify_registration(link: OpenedLink) -> dict[str, Any]:
    """Verify an e-mail address with the parameters of a link.

    :raises AccountUnusable: the link works once and was used, or the account changed at the same
        moment.
    :raises StepRequired: with auto-login; the address is verified, and a step of the login is left.
    """
    state, settings = flow.state, flow.settings
    user, seen, params = link
    once = settings.register_verification_one_time_use
    if seen.is_verified and not once:
        return {}
    try:
        return verify_account(state, user, seen, method="mail")
    except AccountUnusable:
        if once or not VERIFICATION_LINK.open(state, settings, params).seen.is_verified:
            raise
        return {}  # two requests used it at the same time


@flow.provides("verify_account", enabled=_is_verifying)
def verify_account(
    state: RegistrationState,
    user: User,
    seen: UserSnapshot,
    *,
    method: str,
    email: str | None = None,
    keeps_password: bool = True,
) -> dict[str, Any]:
    """Verify the e-mail address of an account. Return fields of the response.

    :param method: what the client has shown, as a word of RFC 8176.
    :param email: the address that a registration receives which has a placeholder until now.
    :param keeps_password: whether the client may be the one that has chosen the password.
    :raises AccountUnusable: the account is verified or suspended, or was changed at the same
        moment.
    :raises EmailAlreadyRegistered: a verified account has the address by now.
    :raises StepRequired: with auto-login; the address is verified, and a step of the login is left.
    """
    settings = state.group(RegisterSettings)
    current_user = state.sessions.user_or_none()
    auto_login = settings.register_verification_auto_login and has_request_context()
    changes: dict[str, Any] = {"is_verified": True}  # which ends all earlier sessions and links
    if SecurityStamp.parse(seen.security_stamp).email_change:  # a notice of it may still wait
        changes["security_stamp"] = next_stamp(seen.security_stamp, can_undo=False)
    if not keeps_password:
        changes["password_hash"] = unusable_hash()
    displaced, signals = [], [user_activated]
    if email is not None:
        displaced = change_email(state, user, seen, {**changes, "email": email}, is_verified=True)
        signals = [user_registered, user_activated]
    else:
        state.users.change(user, seen, changes, expecting={"is_verified": False})
    state.sessions.end_logins(user)
    if not keeps_password:
        state.call_all("owner_found", user)
    address = email or seen.email
    if address:
        state.mailer.limits.forget(address)
    if auto_login:
        return log_in(
            state, user, methods=[method], fresh=False, signals=signals, deleted=displaced
        )
    login = state.sessions.renew(user) if current_user is user else {}
    state.commit(deleted=displaced, signals=signals, user=user)
    return login


# Resend the verification e-mail


def resend_schema(state: RegistrationState) -> Schema:
    """Return the schema that names an account; with codes, also the client's own challenge."""
    challenge: dict[str, Any] = {"challenge": Text()} if state.sends_codes else {}
    return account_schema(state, **challenge)


@flow.post(
    "/resend-verification/",
    request=resend_schema,
    response=sent_response,
    message=Message("If this account is waiting for verification, a new e-mail is on its way"),
    enabled=_is_verifying,
    gated=True,
    causes_mail=always,
    throttles={"client": "20/minute;100/hour"},
    account=account_names,
)
def resend_verification(data: dict[str, str]) -> dict[str, Any]:
    """Resend the verification e-mail. The response does not reveal whether the account exists.

    Another client may have registered the account. So a code verifies it without its password,
    unless the client sends the challenge of its own registration.
    """
    state = flow.state
    owner = state.call("challenged_user", data.get("challenge"))
    named = find_users(state, data)
    pending = next((user for user in named if state.users.snapshot(user).is_pending), None)
    state.record(VERIFICATION_REQUEST, pending)
    mail = state.mail(verification_email, pending)
    about = {"keeps_password": owner is pending}
    return send_quietly(state, mail, VERIFY.name, pending, data=about)


# Checks


@flow.check
def check(setup: Setup) -> Iterator[Finding]:
    """Check that a registration can end in a verified account, and reveals no other account."""
    settings, fields = setup.group(RegisterSettings), setup.fields
    is_verifying = settings.register_verification_enabled
    if is_verifying:
        if setup.sends_links:
            yield from setup.check_page("REGISTER_VERIFICATION_URL")
        if fields and fields.email is None:
            yield Finding(
                "registration.E021",
                setting_name("REGISTRATION_USER_EMAIL_FIELD", fields.model),
                f"names no column of {fields.model.__name__}. "
                "The verification is sent to an e-mail address.",
                "Add the column, or set REGISTRATION_REGISTER_VERIFICATION_ENABLED = False.",
            )
        if fields and fields.verified is None:
            yield Finding(
                "registration.E022",
                setting_name("REGISTRATION_USER_VERIFICATION_FLAG_FIELD", fields.model),
                f"names no column of {fields.model.__name__}. The verification is stored there.",
                "Add a boolean column, or set REGISTRATION_REGISTER_VERIFICATION_ENABLED = False.",
            )
    is_reusable = not settings.register_verification_one_time_use
    if settings.register_verification_auto_login and is_reusable:
        yield Finding(
            "registration.E023",
            "REGISTRATION_REGISTER_VERIFICATION_AUTO_LOGIN",
            "is True, but a link can be used again. It would log in everyone who opens the link.",
            "Set REGISTRATION_REGISTER_VERIFICATION_ONE_TIME_USE = True as well.",
        )
    if not settings.register_flow_enabled:
        return
    if fields and not settings.register_schema_class:
        for name in fields.required_without_default:
            yield Finding(
                "registration.E024",
                f"{fields.model.__name__}.{name}",
                "must not be NULL and has no default, and a registration does not set it. "
                "Every registration would fail.",
                "Give it a default, or add it to "
                f"{setting_name('REGISTRATION_USER_PUBLIC_FIELDS', fields.model)}.",
            )
    if not is_verifying:
        yield Finding(
            "registration.W004",
            "REGISTRATION_REGISTER_VERIFICATION_ENABLED",
            "is False. A client can register another person's e-mail address, and a duplicate "
            "one is refused, which reveals who has an account.",
            "Set REGISTRATION_REGISTER_VERIFICATION_ENABLED = True.",
        )
    elif not settings.prevent_enumeration:
        yield Finding(
            "registration.W005",
            "REGISTRATION_PREVENT_ENUMERATION",
            "is False. A registration with a duplicate e-mail address is refused, which reveals "
            "who has an account.",
            "Set REGISTRATION_PREVENT_ENUMERATION = True.",
        )
