"""The commands of ``flask registration``."""

from . import accounts, configuration, invitations, maintenance, preview  # noqa: F401 -- add their commands
from .base import registration_cli
from .configuration import settings_page

__all__ = ["registration_cli", "settings_page"]
