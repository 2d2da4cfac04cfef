"""Invitations by an administrator, for scripts and admin views."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from ..errors import AdministrationError
from ..http.bodies import load, schema_of
from ..state import RegistrationState, current_registration
from .endpoints import retried


class Invitation(NamedTuple):
    """An invitation, as an administrator sees it.

    :ivar inviter_id: the verification id of the user who invites; None for an administrator.
    """

    id: Any
    email: str
    inviter_id: str | None
    data: Mapping[str, Any]
    created_at: datetime
    expires_at: datetime
    accepted_at: datetime | None
    revoked_at: datetime | None


@retried
def create_invitation(email: str, data: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Invite an e-mail address. Return the ``id``, ``email``, ``created_at`` and ``expires_at``.

    No user is logged in, and ``REGISTRATION_MAY_INVITE`` is not asked.

    :param data: what ``REGISTRATION_INVITATION_APPLIER`` receives.
    :raises marshmallow.ValidationError: an invalid field.
    :raises MailUnavailable: with the ``"inline"`` dispatcher; nothing is stored.
    :raises AdministrationError: the application does not have the flow ``invitations``.
    """
    state, flow = _flow()
    given = load(schema_of(state, flow.InviteSchema), {"email": email, "data": dict(data or {})})
    shown: dict[str, Any] = flow.create(state, None, given["email"], given["data"])
    return shown


@retried
def all_invitations() -> list[Invitation]:
    """Return the invitations of all users and administrators, the newest first.

    :raises AdministrationError: the application does not have the flow ``invitations``.
    """
    state, flow = _flow()
    rows = flow.store_of(state).all(None)
    return [Invitation(*(getattr(row, name) for name in Invitation._fields)) for row in rows]


@retried
def renew_invitation(invitation_id: Any) -> dict[str, Any]:
    """Send an open invitation again. Return it. Its earlier link becomes invalid.

    :raises InvitationNotFound: no open one has this id.
    :raises MailUnavailable: with the ``"inline"`` dispatcher; nothing is changed.
    :raises AdministrationError: the application does not have the flow ``invitations``.
    """
    state, flow = _flow()
    invitation = flow.store_of(state).find(str(invitation_id), None)
    shown: dict[str, Any] = flow.renew(state, None, invitation)
    return shown


@retried
def cancel_invitation(invitation_id: Any) -> None:
    """Revoke an open invitation. Its link becomes invalid.

    :raises InvitationNotFound: no open one has this id.
    :raises AdministrationError: the application does not have the flow ``invitations``.
    """
    state, flow = _flow()
    flow.revoke(state, None, flow.store_of(state).find(str(invitation_id), None))


def _flow() -> tuple[RegistrationState, Any]:
    """Return the registration state, and the functions of the flow, which is imported by then."""
    state = current_registration
    if state.provided("invitation_store") is None:
        text = "This application has no invitations: the flow invitations is not mounted."
        raise AdministrationError(text)
    from ..flows.invitations import endpoints

    return state, endpoints
