"""``flask registration``: one command a file."""

from . import check, retry_mail, send_mail, settings, status
from .base import registration_cli
from .settings import settings_table

__all__ = ["check", "registration_cli", "retry_mail", "send_mail", "settings", "settings_table", "status"]
