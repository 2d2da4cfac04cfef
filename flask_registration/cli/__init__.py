"""The commands of ``flask registration``."""

from . import accounts, configuration, maintenance
from .base import registration_cli
from .configuration import settings_table

__all__ = ["accounts", "configuration", "maintenance", "registration_cli", "settings_table"]
