"""Accounts for Flask applications: the face, what an application imports."""

from typing import TYPE_CHECKING, Any

from ._version import __version__
from .accounts import create_user
from .errors import APIError, ConfigurationError, LinkExpired, LinkInvalid, UserNotFound
from .extension import Registration
from .flow import Flow, load_body, success
from .flows import DEFAULT_FLOWS
from .kit import Kit, current_kit
from .links import Purpose, SignedLink, VerificationLink
from .logins import LoginMixin
from .mail import NotificationMethod, NotificationType
from .messages import Message
from .models import EmailUserMixin, UserMixin
from .settings import Settings, SettingsReader, setting
from .signals import (
    announce,
    mail_failed,
    user_activated,
    user_changed_email,
    user_changed_password,
    user_deleted,
    user_logged_in,
    user_logged_out,
    user_login_failed,
    user_registered,
    user_reset_password,
)
from .tokens import TokenManager
from .users import next_stamp
from .web import BodySchema, EmailLinkSchema, LinkSchema, SuccessSchema

if TYPE_CHECKING:
    from .outbox import OutboxMixin

__all__ = [
    "DEFAULT_FLOWS",
    "APIError",
    "BodySchema",
    "ConfigurationError",
    "EmailLinkSchema",
    "EmailUserMixin",
    "Flow",
    "Kit",
    "LinkExpired",
    "LinkInvalid",
    "LinkSchema",
    "LoginMixin",
    "Message",
    "NotificationMethod",
    "NotificationType",
    "OutboxMixin",
    "Purpose",
    "Registration",
    "Settings",
    "SettingsReader",
    "SignedLink",
    "SuccessSchema",
    "TokenManager",
    "UserMixin",
    "UserNotFound",
    "VerificationLink",
    "__version__",
    "announce",
    "create_user",
    "current_kit",
    "load_body",
    "mail_failed",
    "next_stamp",
    "setting",
    "success",
    "user_activated",
    "user_changed_email",
    "user_changed_password",
    "user_deleted",
    "user_logged_in",
    "user_logged_out",
    "user_login_failed",
    "user_registered",
    "user_reset_password",
]


def __getattr__(name: str) -> Any:
    if name == "OutboxMixin":  # for those who want it: its columns cost a sixth of the whole import
        from .outbox import OutboxMixin

        return OutboxMixin
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
