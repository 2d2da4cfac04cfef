"""Reset a forgotten password with a link from an e-mail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask import has_request_context
from marshmallow import Schema

from ..auth.links import OpenedLink, Purpose
from ..checks import Finding
from ..errors import MailUnavailable, StepRequired, UserNotFound
from ..http.accounts import (
    account_names,
    account_schema,
    find_users,
    login_names,
    remember_device,
)
from ..http.bodies import SuccessSchema, login_response
from ..http.flow import EndpointLink, Flow, always
from ..http.login import log_in
from ..http.schemas import new_password_schema
from ..http.verification import NO_LINK, send_quietly, sent_response
from ..i18n.messages import Message, duration
from ..mail.composer import default_templates
from ..security_log import PASSWORD_RESET_REQUEST
from ..settings import Settings, setting
from ..signals import user_activated, user_reset_password
from ..state import RegistrationState, Setup
from ..users.stamps import SecurityStamp, UserSnapshot, next_stamp
from ..users.store import User

#: The maximum lifetime of a link (NIST SP 800-63B-4 section 4.2.1.2).
MAX_PERIOD = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class ResetPasswordSettings(Settings):
    """Password reset."""

    reset_password_verification_url: str | None = setting(
        None,
        "The page that asks for the new password.",
        page="reset-password/",
        beside="REGISTER_VERIFICATION_URL",
    )
    reset_password_verification_enabled: bool = setting(
        True, "Whether users can reset a forgotten password by e-mail."
    )
    send_reset_password_link_schema_class: type[Schema] | None = setting(
        None,
        "The marshmallow schema of the request body that asks for a link.",
        default_text="`login` or a login field",
    )
    send_reset_password_link_user_finder: Callable[..., Any] | None = setting(
        None,
        "Finds the user: `finder(data, **kwargs)` returns a user or raises `UserNotFound`.",
        default_text="by the login fields",
    )
    send_reset_password_link_schema_use_email: bool = setting(
        False,
        "Whether the default schema and finder must accept `email`: it is then a configuration "
        "error if e-mail addresses are not unique. Unique ones are accepted in any case.",
    )
    reset_password_fail_when_user_not_found: bool = setting(
        False,
        "If true, asking for a reset link for an unknown user returns 400 `user-not-found`. "
        "This reveals who has an account.",
    )
    reset_password_verification_email_sender: Callable[..., None] | None = setting(
        None,
        "Sends the e-mail instead of the extension: "
        "`sender(request, user, *, verification_url, **kwargs)`.",
        default_text="the extension's own",
    )
    reset_password_verification_period: timedelta = setting(
        timedelta(days=1),
        "How long a link is valid; NIST SP 800-63B-4 section 4.2.1.2 allows at most a day.",
    )
    reset_password_verification_one_time_use: bool = setting(
        True, "Whether a link can be used only once."
    )
    reset_password_verification_email_templates: Mapping[str, str] = setting(
        default_templates("reset_password"),
        "The templates of the e-mail.",
    )
    reset_password_schema_password_confirm: bool = setting(
        False, "Whether a reset requires `password_confirm`."
    )
    reset_password_auto_login: bool = setting(
        False,
        "Whether a reset logs the user in. Needs `RESET_PASSWORD_VERIFICATION_ONE_TIME_USE`.",
    )


def _is_enabled(settings: ResetPasswordSettings) -> bool:
    return settings.reset_password_verification_enabled


flow: Flow[ResetPasswordSettings] = Flow(
    "reset_password", ResetPasswordSettings, sends_mail=_is_enabled, needs_email=True
)

RESET = Purpose("reset-password", binds=lambda user: (user.email, user.password_hash))
#: A reset does not end it, but what an administrator does.
RESET_AGAIN = Purpose(
    "reset-password-again",
    binds=lambda user: (user.email, SecurityStamp.parse(user.security_stamp).prefix),
    stamped=False,
)


def purpose(settings: ResetPasswordSettings) -> Purpose:
    """Return the purpose of a link.

    A link that works once is bound to everything that a reset changes.
    """
    return RESET if settings.reset_password_verification_one_time_use else RESET_AGAIN


@flow.provides("reset_link", enabled=_is_enabled)
def reset_link(state: RegistrationState, user: User) -> dict[str, Any]:
    """Return the template variables of an e-mail with a reset link."""
    settings = state.group(ResetPasswordSettings)
    page = state.pages["reset_password_verification_url"]
    return {
        "verification_url": state.links.url(purpose(settings), user, page),
        "valid_for": duration(settings.reset_password_verification_period),
        "one_time_use": settings.reset_password_verification_one_time_use,
    }


@flow.email(
    "reset_password",
    when="the user asks for a new password",
    enabled=lambda state: state.provided("reset_link") is not None,
    templates=lambda settings: settings.reset_password_verification_email_templates,
    sender=lambda settings: settings.reset_password_verification_email_sender,
    reserved=True,
    has_code=True,
)
def reset_email(state: RegistrationState, user: User) -> Mapping[str, Any]:
    """Return the template variables."""
    return reset_link(state, user) if state.sends_links else NO_LINK


# Ask for the link


def request_schema(state: RegistrationState) -> Schema:
    """Return the application's schema, or one that names an account."""
    settings = state.group(ResetPasswordSettings)
    if settings.send_reset_password_link_schema_class:
        return settings.send_reset_password_link_schema_class()
    # A user whose login name was changed by another person still knows the e-mail address.
    return account_schema(state, with_email=state.fields.email in state.fields.unique)


def sent_message(settings: ResetPasswordSettings) -> str:
    """Return the text of the response."""
    if settings.reset_password_fail_when_user_not_found:
        return Message("An e-mail to reset the password is on its way")
    return Message("If this account exists, an e-mail to reset the password is on its way")


@flow.post(
    "/send-reset-password-link/",
    request=request_schema,
    response=sent_response,
    message=sent_message,
    errors={UserNotFound: lambda settings: settings.reset_password_fail_when_user_not_found},
    enabled=_is_enabled,
    gated=True,
    causes_mail=always,
    throttles={"client": "20/minute;100/hour"},
    account=account_names,
)
def send_reset_password_link(data: dict[str, Any]) -> dict[str, Any]:
    """Ask for an e-mail with a link to reset the password.

    The response does not reveal whether the account exists.

    :raises UserNotFound: there is none; only with ``RESET_PASSWORD_FAIL_WHEN_USER_NOT_FOUND``.
    """
    state, settings, user = flow.state, flow.settings, None
    find = settings.send_reset_password_link_user_finder
    with suppress(UserNotFound):
        user = find(data) if find else next(iter(find_users(state, data)), None)
    seen = state.users.snapshot(user)
    if not (seen.is_active and seen.email):
        user = None
    state.record(PASSWORD_RESET_REQUEST, user)
    if user is None and settings.reset_password_fail_when_user_not_found:
        raise UserNotFound
    return send_quietly(state, state.mail(reset_email, user), RESET.name, user)


# Set the new password


@flow.provides("reset_password_schema", enabled=_is_enabled)
def reset_password_schema(state: RegistrationState) -> Schema:
    """Return the schema of the new password, which is loaded after the link was verified."""
    confirm = state.group(ResetPasswordSettings).reset_password_schema_password_confirm
    return new_password_schema(password_confirm=confirm)()


def reset_response(state: RegistrationState) -> Schema:
    """Return the schema of the response; with auto-login it is that of a login."""
    is_login = state.group(ResetPasswordSettings).reset_password_auto_login
    return login_response(state) if is_login else SuccessSchema()


@flow.post(
    "/reset-password/",
    link=EndpointLink(
        purpose=purpose, period=lambda settings: settings.reset_password_verification_period
    ),
    request=reset_password_schema,
    response=reset_response,
    message=Message("Password reset successful"),
    errors={
        MailUnavailable: always,
        StepRequired: lambda settings: settings.reset_password_auto_login,
    },
    enabled=_is_enabled,
    throttles={"client": "60/minute"},
)
def reset_password(link: OpenedLink, data: dict[str, Any]) -> dict[str, Any]:
    """Set a new password with the parameters of a link.

    :raises AccountUnusable: the account changed at the same moment, for example by another use of
        this link.
    :raises marshmallow.ValidationError: the password does not pass the policy; the link stays
        valid.
    :raises StepRequired: with auto-login; the password is set, and a step of the login is left.
    """
    user, seen, _ = link
    return finish_reset(flow.state, user, seen, password=data["password"], method="mail")


@flow.provides("finish_reset", enabled=_is_enabled)
def finish_reset(
    state: RegistrationState, user: User, seen: UserSnapshot, *, password: str, method: str
) -> dict[str, Any]:
    """Set a new password. Return fields of the response.

    :param method: what the client has shown, as a word of RFC 8176.
    :raises AccountUnusable: the account changed at the same moment, or is suspended.
    :raises marshmallow.ValidationError: the password does not pass the policy.
    :raises StepRequired: with auto-login; the password is set, and a step of the login is left.
    """
    changes: dict[str, Any] = {"is_verified": True}
    if not seen.is_verified:  # an earlier user of the account must not undo anything
        changes["security_stamp"] = next_stamp(seen.security_stamp, can_undo=False)
    state.replace_password(user, seen, password, **changes)
    if not seen.is_verified:
        state.call_all("owner_found", user)
    if seen.email:
        state.mailer.limits.forget(seen.email)
    names = login_names(state, user)
    notices = state.password_notice(user)
    signals = [user_reset_password, *([] if seen.is_verified else [user_activated])]
    state.throttles.clear_account("login", names)  # before StepRequired, which ends this function
    auto_login = state.group(ResetPasswordSettings).reset_password_auto_login
    if auto_login and has_request_context():
        # Fresh, since the client knows the password that it has chosen.
        return log_in(state, user, methods=[method], emails=notices, signals=signals)
    state.commit(*notices, signals=signals, user=user)
    remember_device(state, names, seen.email)
    return {}


# Checks


@flow.check
def check(setup: Setup) -> Iterator[Finding]:
    """Check the pages and the columns of links, and that links are secure."""
    settings, fields = setup.group(ResetPasswordSettings), setup.fields
    if settings.reset_password_fail_when_user_not_found:
        yield Finding(
            "registration.W001",
            "REGISTRATION_RESET_PASSWORD_FAIL_WHEN_USER_NOT_FOUND",
            "is True. Asking for a reset link reveals who has an account.",
            "Set REGISTRATION_RESET_PASSWORD_FAIL_WHEN_USER_NOT_FOUND = False.",
        )
    if not settings.reset_password_verification_enabled:
        return
    # The e-mails about an undo and about a reported login have a reset link in any case.
    if setup.sends_links or not setup.offers().keys().isdisjoint(["undo_link", "new_login_notice"]):
        yield from setup.check_page("RESET_PASSWORD_VERIFICATION_URL")
    use_email = settings.send_reset_password_link_schema_use_email
    if use_email and fields and fields.email not in fields.unique:
        column = f"{fields.model.__name__}.{fields.email}"
        yield Finding(
            "registration.E025",
            "REGISTRATION_SEND_RESET_PASSWORD_LINK_SCHEMA_USE_EMAIL",
            f"finds users by {column}, which is not unique. "
            "An e-mail address must identify one account.",
            "Declare it with mapped_column(..., unique=True).",
        )
    is_reusable = not settings.reset_password_verification_one_time_use
    if settings.reset_password_auto_login and is_reusable:
        yield Finding(
            "registration.E058",
            "REGISTRATION_RESET_PASSWORD_AUTO_LOGIN",
            "is True, but a link can be used again. It would log in everyone who opens the link.",
            "Set REGISTRATION_RESET_PASSWORD_VERIFICATION_ONE_TIME_USE = True as well.",
        )
    if settings.reset_password_verification_period > MAX_PERIOD:
        period = duration(settings.reset_password_verification_period)
        yield Finding(
            "registration.W002",
            "REGISTRATION_RESET_PASSWORD_VERIFICATION_PERIOD",
            f"is {period}; NIST allows a day. A link in an old e-mail gives access to the account.",
            "Set REGISTRATION_RESET_PASSWORD_VERIFICATION_PERIOD = 86400.",
        )
    if not settings.reset_password_verification_one_time_use:
        yield Finding(
            "registration.W003",
            "REGISTRATION_RESET_PASSWORD_VERIFICATION_ONE_TIME_USE",
            "is False. Anyone who finds a used link can set the password again.",
            "Set REGISTRATION_RESET_PASSWORD_VERIFICATION_ONE_TIME_USE = True.",
        )
