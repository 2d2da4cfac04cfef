"""Deletion with a grace period, export of data, retention of client data. Optional."""

from .base import DeletionMixin, LeavingSettings, flow
from .deletion import cancel_deletion
from .export import export_profile
from .retention import stale_client_data

__all__ = [
    "DeletionMixin",
    "LeavingSettings",
    "cancel_deletion",
    "export_profile",
    "flow",
    "stale_client_data",
]
