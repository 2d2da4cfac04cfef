"""Accept an invitation: create the account of the invited e-mail address."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema

from ...auth.links import OpenedLink
from ...errors import LinkExpired, LinkInvalid, StepRequired
from ...http.flow import EndpointLink
from ...http.verified_accounts import (
    add_verified_account,
    finished_response,
    finishing_schema,
    log_in_new,
)
from ...request_state import request_state
from ...signals import invitation_accepted
from ...state import RegistrationState
from ...users.mixins import as_utc, utc_now
from ...users.store import User
from .base import INVITATION, flow, has_active_inviter, store_of


def accept_schema(state: RegistrationState) -> Schema:
    """Return the schema of the rest of a registration."""
    return finishing_schema(state, "AcceptInvitation")


@flow.post(
    "/accept-invitation/",
    link=EndpointLink(
        purpose=lambda settings: INVITATION,
        period=lambda settings: settings.invitation_period,
        of_address=True,
    ),
    request=accept_schema,
    response=finished_response,
    status=201,
    errors=[StepRequired],
    throttles={"client": "60/minute"},
)
def accept_invitation(link: OpenedLink, data: dict[str, Any]) -> dict[str, Any]:
    """Create the account of the invited e-mail address, and log in. It works once.

    :raises LinkInvalid: the invitation was accepted, revoked or resent, the user who sent it is
        suspended or deleted, or an account has the e-mail address by now.
    :raises LinkExpired: the invitation has expired.
    :raises marshmallow.ValidationError: an invalid field, or a duplicate username; the link stays
        valid.
    :raises StepRequired: the account is created, and a step of the login is left.
    """
    state, params, store = flow.state, link.params, store_of(flow.state)
    invitation = store.of_link(params.note)
    if invitation is None or not has_active_inviter(state, invitation):
        raise LinkInvalid
    if as_utc(invitation.expires_at) < utc_now():
        raise LinkExpired
    key, email, given = invitation.id, str(params.email), invitation.data
    apply = flow.settings.invitation_applier

    def prepare(user: User) -> None:
        if apply:
            apply(user, given)

    user, displaced = add_verified_account(state, email, data, prepare=apply and prepare)
    if not store.accept(params.note):
        state.users.rollback()
        raise LinkInvalid
    state.mailer.limits.forget(email)
    try:
        return log_in_new(state, user, displaced, method="mail")
    finally:
        if request_state().is_committed:  # also if a step is left
            state.announce(invitation_accepted, user=user, invitation=store.get(key))
