"""Invitations: a user or an administrator invites an e-mail address to an account. Optional."""

from .acceptance import accept_invitation
from .base import InvitationSettings, flow, store_of
from .management import (
    InviteSchema,
    create,
    find_open,
    invitations,
    invite,
    renew,
    resend_invitation,
    revoke,
    revoke_invitation,
)
from .model import InvitationMixin

__all__ = [
    "InvitationMixin",
    "InvitationSettings",
    "InviteSchema",
    "accept_invitation",
    "create",
    "find_open",
    "flow",
    "invitations",
    "invite",
    "renew",
    "resend_invitation",
    "revoke",
    "revoke_invitation",
    "store_of",
]
