"""``flask registration``: one command a file."""

from . import check, purge, retry_mail, send_mail, settings, status
from .base import registration_cli
from .settings import settings_table

__all__ = ["check", "purge", "registration_cli", "retry_mail", "send_mail", "settings", "settings_table", "status"]
