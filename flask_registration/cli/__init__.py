"""``flask registration``: one command a file."""

from . import check, settings
from .base import registration_cli
from .settings import settings_table

__all__ = ["check", "registration_cli", "settings", "settings_table"]
