"""The commands of ``flask registration``."""

from . import (  # noqa: F401 -- add their commands
    accounts,
    configuration,
    invitations,
    maintenance,
    preview,
    stats,
)
from .base import registration_cli
from .configuration import settings_page

__all__ = ["registration_cli", "settings_page"]
