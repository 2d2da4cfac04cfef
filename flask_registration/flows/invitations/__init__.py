"""Invitations: a user or an administrator invites an e-mail address to an account. Optional."""

from . import endpoints
from .base import flow

__all__ = ["endpoints", "flow"]
