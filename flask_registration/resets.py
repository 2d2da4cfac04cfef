"""The link that sets a new password, as several flows mail it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from marshmallow import Schema

from .kit import Kit
from .links import Purpose
from .mail import NotificationType, default_templates
from .settings import Settings, setting, spell
from .users import User


@dataclass(frozen=True, kw_only=True)
class ResetPasswordSettings(Settings):
    """Resetting a password."""

    reset_password_verification_enabled: bool = setting(True, "Whether a forgotten password can be reset by mail.")
    send_reset_password_link_schema_class: type[Schema] | None = setting(
        None, "The marshmallow schema of the body that asks for the link.", default_text="`login` or a login field"
    )
    send_reset_password_link_user_finder: Callable[..., Any] | None = setting(
        None,
        "Finds who is meant: `finder(data, **kwargs)` returns a user or raises `UserNotFound`.",
        default_text="by the login fields",
    )
    send_reset_password_link_schema_use_email: bool = setting(
        False, "Whether the default schema and finder take `email` too."
    )
    reset_password_fail_when_user_not_found: bool = setting(False, "Whether strangers may learn who has an account.")
    reset_password_verification_email_sender: Callable[..., None] | None = setting(
        None,
        "Sends the mail in our place: `sender(request, user, *, verification_url, **kwargs)`.",
        default_text="our own mail",
    )
    reset_password_verification_period: timedelta = setting(
        timedelta(days=1), "How long a link is good for; NIST SP 800-63B-4 section 4.2.1.2 allows a day at most."
    )
    reset_password_verification_one_time_use: bool = setting(True, "Whether a link works once only.")
    reset_password_verification_email_templates: Mapping[str, str] = setting(
        default_templates(NotificationType.RESET_PASSWORD_VERIFICATION), "The templates of the mail."
    )
    reset_password_schema_password_confirm: bool = setting(False, "Whether a reset needs `password_confirm`.")


RESET = Purpose("reset-password", binds=lambda user: (user.email, user.password_hash))
RESET_AGAIN = Purpose("reset-password-again", binds=lambda user: (user.email,), stamped=False)


def purpose(settings: ResetPasswordSettings) -> Purpose:
    """What binds a link: everything that using it changes, unless it may be used again."""
    return RESET if settings.reset_password_verification_one_time_use else RESET_AGAIN


def can_reset(kit: Kit) -> bool:
    """Whether a forgotten password can be reset here."""
    settings = kit.settings.get(ResetPasswordSettings)
    return isinstance(settings, ResetPasswordSettings) and settings.reset_password_verification_enabled


def reset_link(kit: Kit, user: User) -> dict[str, Any]:
    """What the template of a mail with such a link gets."""
    settings = kit.group(ResetPasswordSettings)
    return {
        "verification_url": kit.composer.url(kit.links.sign(purpose(settings), user, kit.pages.reset_password_page)),
        "valid_for": spell(settings.reset_password_verification_period),
        "one_time_use": settings.reset_password_verification_one_time_use,
    }
