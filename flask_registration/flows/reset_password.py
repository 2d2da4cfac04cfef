"""Replace a forgotten password."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from flask.typing import ResponseReturnValue
from marshmallow import Schema

from ..accounts import account_names, account_schema, link_names, login_names, named_users, replace_password
from ..errors import LinkExpired, LinkInvalid, MailUnavailable, UserNotFound
from ..events import PASSWORD_RESET_REQUEST
from ..flow import Flow, load_body, success
from ..kit import Kit
from ..links import LinkSettings, SignedLink, check_page
from ..mail import Mail, NotificationType
from ..resets import ResetPasswordSettings, purpose, reset_link
from ..schemas import new_password_schema
from ..settings import PREFIX, SettingsReader
from ..signals import announce, user_activated, user_reset_password
from ..userfields import UserFields
from ..users import User, new_stamp
from ..web import LinkSchema, SuccessSchema


def _is_enabled(settings: ResetPasswordSettings) -> bool:
    return settings.reset_password_verification_enabled


flow: Flow[ResetPasswordSettings] = Flow("reset_password", ResetPasswordSettings, mails=_is_enabled, needs_email=True)


# Ask for the link


def asking_schema(kit: Kit) -> Schema:
    """The application's schema, or one that names an account."""
    settings = kit.group(ResetPasswordSettings)
    if settings.send_reset_password_link_schema_class:
        return settings.send_reset_password_link_schema_class()
    return account_schema(kit, with_email=settings.send_reset_password_link_schema_use_email)


@flow.post(
    "/send-reset-password-link/",
    loads=asking_schema,
    returns=SuccessSchema,
    raises={UserNotFound: lambda settings: settings.reset_password_fail_when_user_not_found},
    enabled=_is_enabled,
    throttles={"client": "20/minute;100/hour"},
    account=account_names,
)
def send_reset_password_link_view(data: dict[str, Any]) -> ResponseReturnValue:
    """Ask for a mail with a link to a new password. The answer is the same whoever asks, for whomever."""
    send_reset_password_link(flow.kit, flow.settings, data)
    if flow.settings.reset_password_fail_when_user_not_found:
        return success("Reset link sent")
    return success("Reset link sent if the user exists in database")


def send_reset_password_link(kit: Kit, settings: ResetPasswordSettings, data: Mapping[str, Any]) -> None:
    """Mail a link to the stored address of an account that is not suspended.

    :raises UserNotFound: there is none; only with ``RESET_PASSWORD_FAIL_WHEN_USER_NOT_FOUND``.
    """
    user = None
    try:
        find = settings.send_reset_password_link_user_finder or (lambda data: find_named(kit, data))
        user = find(data)
        state = kit.users.state(user)
        if not (state.is_active and state.email):
            raise UserNotFound
    except UserNotFound:
        kit.record(PASSWORD_RESET_REQUEST, None)
        if settings.reset_password_fail_when_user_not_found:
            raise UserNotFound from None
        kit.pretend(lambda nobody: reset_mail(kit, settings, nobody), user)
        return
    kit.record(PASSWORD_RESET_REQUEST, user)
    with suppress(MailUnavailable):  # logged and announced; a reply would tell that there is such an account
        kit.commit(reset_mail(kit, settings, user))


def find_named(kit: Kit, data: Mapping[str, Any]) -> User:
    """The user whom a body names.

    :raises UserNotFound: it names none.
    """
    user = next(iter(named_users(kit, data)), None)
    if user is None:
        raise UserNotFound
    return user


def reset_mail(kit: Kit, settings: ResetPasswordSettings, user: User) -> Mail:
    """The mail with the link, to the address that the account has."""
    return kit.mail(
        NotificationType.RESET_PASSWORD_VERIFICATION,
        user,
        templates=settings.reset_password_verification_email_templates,
        sender=settings.reset_password_verification_email_sender,
        **reset_link(kit, user),
    )


# Set the new password


def reset_password_schema(kit: Kit) -> Schema:
    """The new password, which is looked at only after the link has proven itself."""
    confirm = kit.group(ResetPasswordSettings).reset_password_schema_password_confirm
    return new_password_schema(password_confirm=confirm)()


@flow.post(
    "/reset-password/",
    loads=LinkSchema,
    loads_later=reset_password_schema,
    returns=SuccessSchema,
    raises=[LinkInvalid, LinkExpired, MailUnavailable],
    enabled=_is_enabled,
    throttles={"client": "60/minute"},
    account=link_names,
)
def reset_password_view(link: SignedLink) -> ResponseReturnValue:
    """Set a new password with the parameters of a mailed link."""

    def new_password() -> str:
        password: str = load_body(reset_password_schema)["password"]
        return password

    reset_password(flow.kit, flow.settings, link, new_password)
    return success("Reset password successful")


def reset_password(
    kit: Kit, settings: ResetPasswordSettings, link: SignedLink, new_password: Callable[[], str]
) -> None:
    """Set a new password; every session, token and link of the account ends, and its address is proven.

    :param new_password: called once the link has proven itself.
    :raises LinkInvalid: forged, for something else, used, unknown or suspended.
    :raises LinkExpired: older than ``REGISTRATION_RESET_PASSWORD_VERIFICATION_PERIOD``.
    :raises marshmallow.ValidationError: the password does not pass the policy; the link is still good.
    """
    user, seen = kit.links.open(purpose(settings), link, settings.reset_password_verification_period)
    changes: dict[str, Any] = {"is_verified": True}
    if not seen.is_verified:  # whoever was there before the owner is not to take anything back
        changes["security_stamp"] = new_stamp()
    if not replace_password(kit, user, seen, new_password(), **changes):
        raise LinkInvalid(user_id=link.user_id)
    if seen.email:
        kit.mailer.cooldown.forget(seen.email)
    names = login_names(kit, user)
    kit.commit(*kit.notice(NotificationType.PASSWORD_CHANGED, user), signal=user_reset_password, user=user)
    kit.throttles.clear_account("login", names)
    if not seen.is_verified:
        announce(user_activated, user=user)


# What must be so at start-up


@flow.check
def check(settings: ResetPasswordSettings, fields: UserFields | None, reader: SettingsReader) -> None:
    """A link must lead somewhere, and to one account."""
    if not settings.reset_password_verification_enabled:
        return
    check_page(reader, "RESET_PASSWORD_VERIFICATION_URL", reader.read(LinkSettings).reset_password_page)
    if settings.send_reset_password_link_schema_use_email and fields and fields.email not in fields.unique:
        reader.problem(
            PREFIX + "SEND_RESET_PASSWORD_LINK_SCHEMA_USE_EMAIL",
            f"finds users by {fields.model.__name__}.{fields.email}, which is not unique: "
            "declare it with mapped_column(..., unique=True).",
        )
