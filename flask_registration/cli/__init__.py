"""``flask registration``: one command a file."""

from . import (
    check,
    create_user,
    openapi,
    preview_mail,
    purge,
    resume,
    retry_mail,
    send_mail,
    set_password,
    settings,
    status,
    suspend,
    verify,
)
from .base import registration_cli
from .settings import settings_table

__all__ = [
    "check",
    "create_user",
    "openapi",
    "preview_mail",
    "purge",
    "registration_cli",
    "resume",
    "retry_mail",
    "send_mail",
    "set_password",
    "settings",
    "settings_table",
    "status",
    "suspend",
    "verify",
]
