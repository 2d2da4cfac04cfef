"""Invite an e-mail address, list invitations, resend, revoke and accept them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from marshmallow import Schema, ValidationError, fields

from ...auth.links import OpenedLink
from ...errors import (
    InvitationNotFound,
    LinkExpired,
    LinkInvalid,
    MailUnavailable,
    NotAllowed,
    StepRequired,
)
from ...http.accounts import is_unused, normal_email
from ...http.bodies import MESSAGES, BodySchema, EmailSchema, schema_of
from ...http.flow import EndpointLink
from ...http.schemas import ModelSchema, ZonedDateTime, column_field
from ...http.verified_accounts import (
    add_verified_account,
    finished_response,
    finishing_schema,
    log_in_new,
)
from ...i18n.messages import Message
from ...mail.message import Mail
from ...request_state import request_state
from ...security_log import INVITATION_CREATED, INVITATION_RESENT, INVITATION_REVOKED, Event
from ...signals import invitation_accepted
from ...state import RegistrationState
from ...users.mixins import as_utc, utc_now
from ...users.store import User
from .base import (
    INVITATION,
    check_allowed,
    flow,
    has_active_inviter,
    invitation_email,
    invitation_taken_email,
    store_of,
    visible_to,
)
from .model import new_nonce

#: The maximum size of the data of an invitation: characters of JSON, and levels of nesting.
DATA_LENGTH = 4000
DATA_DEPTH = 8

THROTTLES = {"client": "30/minute;200/hour", "account": "20/minute;100/hour"}


# Requests and responses


def check_data(data: Mapping[str, Any]) -> None:
    """Check the size of the data of an invitation.

    :raises marshmallow.ValidationError: it is too large, or nested too deeply.
    """
    level: list[Any] = [data]
    for _ in range(DATA_DEPTH):
        items = [each.values() if isinstance(each, dict) else each for each in level]
        level = [inner for each in items for inner in each if isinstance(inner, dict | list)]
    if level or len(json.dumps(data, allow_nan=False)) > DATA_LENGTH:
        raise ValidationError(Message("This object is too large.", code="too-large"))


class InviteSchema(EmailSchema):
    """An e-mail address to invite, and what the application decides about the account."""

    data: fields.Dict = fields.Dict(
        load_default=dict,
        validate=check_data,
        error_messages=MESSAGES,
        metadata={"description": "What the application knows the account by, such as its role."},
    )


class InvitationSchema(ModelSchema):
    """An invitation, as a response shows it."""

    email: fields.String = fields.String()
    created_at: ZonedDateTime = ZonedDateTime()
    expires_at: ZonedDateTime = ZonedDateTime()


class ListedInvitationSchema(InvitationSchema):
    """An invitation with what became of it."""

    accepted_at: ZonedDateTime = ZonedDateTime(allow_none=True)
    revoked_at: ZonedDateTime = ZonedDateTime(allow_none=True)


def invitation_schema(state: RegistrationState) -> Schema:
    """Return the schema of an invitation, with the key of its row."""
    key = column_field(store_of(state).columns["id"])
    return InvitationSchema.from_dict({"id": key}, name="Invitation")()


def invitations_schema(state: RegistrationState) -> Schema:
    """Return the schema of a list of invitations."""
    key = column_field(store_of(state).columns["id"])
    return ListedInvitationSchema.from_dict({"id": key}, name="ListedInvitation")(many=True)


# For users and administrators


def create(
    state: RegistrationState, inviter: User | None, email: str, data: Mapping[str, Any]
) -> dict[str, Any]:
    """Store an invitation, and send it. Return the fields of the response.

    They are the same for an e-mail address that has an account.

    :param inviter: the user who invites; None for an administrator.
    :raises marshmallow.ValidationError: the e-mail address is invalid.
    :raises MailUnavailable: without an inviter, with the ``"inline"`` dispatcher.
    """
    store, nonce = store_of(state), new_nonce()
    email = normal_email(state, email)
    inviter_id = None if inviter is None else store.key(inviter)
    mail = _mail(state, email, nonce, inviter_id)

    def write(nonce: str) -> dict[str, Any]:
        return _dump(state, store.add(email, nonce, inviter_id, data))

    return _send(state, mail, write, (nonce, nonce), inviter, INVITATION_CREATED)


def renew(state: RegistrationState, inviter: User | None, invitation: Any) -> dict[str, Any]:
    """Send an open invitation again. Its earlier links become invalid. Return it.

    If a limit on e-mails drops this one, the latest link that was sent stays valid.

    :param inviter: the user who resends it; None for an administrator.
    :raises InvitationNotFound: it was accepted or revoked at the same moment.
    :raises MailUnavailable: without an inviter, with the ``"inline"`` dispatcher.
    """
    store, key = store_of(state), invitation.id
    nonce, earlier = new_nonce(), invitation.nonce
    mail = state.admit(_mail(state, invitation.email, nonce, invitation.inviter_id))
    if mail.user_id is None:
        nonce = earlier
    mail = replace(mail, challenge=nonce)  # which says that it was admitted

    def write(nonce: str) -> dict[str, Any]:
        store.renew(key, nonce)
        return _dump(state, store.get(key))

    return _send(state, mail, write, (nonce, earlier), inviter, INVITATION_RESENT)


def revoke(state: RegistrationState, user: User | None, invitation: Any) -> None:
    """Revoke an open invitation. Its link becomes invalid.

    :param user: the user who revokes it; None for an administrator.
    :raises InvitationNotFound: it was accepted or revoked at the same moment.
    """
    key = invitation.id
    store_of(state).revoke(key)
    state.commit()
    state.record(INVITATION_REVOKED, user, invitation=key)


def _mail(state: RegistrationState, email: str, nonce: str, inviter_id: Any) -> Mail:
    """Return the e-mail to an address that may have an account; a suspended one receives none."""
    owner = next(iter(state.users.find(state.fields.email or "", email)), None)
    is_free = owner is None or is_unused(state, owner)
    if not is_free and state.users.snapshot(owner).is_active:
        return state.mail(invitation_taken_email, owner)
    about = {"nonce": nonce, "inviter": None if inviter_id is None else str(inviter_id)}
    return state.mail(invitation_email, None, to=email if is_free else None, email=email, **about)


def _send(
    state: RegistrationState,
    mail: Mail,
    write: Callable[[str], dict[str, Any]],
    nonces: tuple[str, str],
    inviter: User | None,
    event: Event,
) -> dict[str, Any]:
    """Write an invitation, commit, and send its e-mail. Return what the function has written.

    The response to a user is the same without the e-mail, since a suspended account receives none.

    :param nonces: those of the invitation if the e-mail is sent, and if it is not.
    :param event: what to write to the security log.
    :raises MailUnavailable: without an inviter, the e-mail could not be sent.
    """
    shown = write(nonces[0])
    try:
        state.commit(mail)
    except MailUnavailable:  # logged
        if inviter is None:
            raise
        shown = write(nonces[1])
        state.commit()
    state.record(event, inviter, invitation=shown["id"])
    return shown


def _dump(state: RegistrationState, invitation: Any) -> dict[str, Any]:
    shown: dict[str, Any] = schema_of(state, invitation_schema).dump(invitation)
    return shown


# Endpoints


@flow.post(
    "/invitations/",
    request=InviteSchema,
    response=invitation_schema,
    status=201,
    errors=[NotAllowed],
    login_required=True,
    throttles=THROTTLES,
)
def invite(user: User, data: dict[str, Any]) -> dict[str, Any]:
    """Invite an e-mail address. The response does not reveal whether it has an account.

    :raises marshmallow.ValidationError: an invalid field.
    :raises NotAllowed: the user may not send this invitation.
    """
    check_allowed(flow.state, user, data["data"])
    return create(flow.state, user, data["email"], data["data"])


@flow.get("/invitations/", response=invitations_schema, login_required=True)
def invitations(user: User) -> list[dict[str, Any]]:
    """List the invitations of the current user, or of all users, the newest first."""
    state = flow.state
    found = store_of(state).all(visible_to(state, user))
    shown: list[dict[str, Any]] = schema_of(state, invitations_schema).dump(found)
    return shown


@flow.delete(
    "/invitations/<invitation_id>/",
    status=204,
    errors=[InvitationNotFound],
    login_required=True,
)
def revoke_invitation(user: User, invitation_id: str) -> None:
    """Revoke an open invitation.

    :raises InvitationNotFound: the user may see no open one with this id.
    """
    state = flow.state
    invitation = store_of(state).find(invitation_id, visible_to(state, user))
    revoke(state, user, invitation)


@flow.post(
    "/invitations/<invitation_id>/resend/",
    request=BodySchema,  # an empty JSON object, which no form of another site can send
    response=invitation_schema,
    errors=[InvitationNotFound, NotAllowed],
    login_required=True,
    throttles=THROTTLES,
)
def resend_invitation(user: User, data: dict[str, Any], invitation_id: str) -> dict[str, Any]:
    """Send an open invitation again. Its earlier link becomes invalid.

    :raises InvitationNotFound: the user may see no open one with this id.
    :raises NotAllowed: the user may not send this invitation, or no longer.
    """
    state = flow.state
    invitation = store_of(state).find(invitation_id, visible_to(state, user))
    check_allowed(state, user, invitation.data)
    return renew(state, user, invitation)


# Accept


@flow.post(
    "/accept-invitation/",
    link=EndpointLink(
        purpose=lambda settings: INVITATION,
        period=lambda settings: settings.invitation_period,
        of_address=True,
    ),
    request=lambda state: finishing_schema(state, "AcceptInvitation"),
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
    key, given = invitation.id, invitation.data
    email = str(params.email)
    apply = flow.settings.invitation_applier
    prepare = (lambda user: apply(user, given)) if apply else None
    user, displaced = add_verified_account(state, email, data, prepare=prepare)
    store.accept(params.note)
    state.mailer.limits.forget(email)
    try:
        return log_in_new(state, user, displaced, method="mail")
    finally:
        if request_state().is_committed:  # also if a step is left
            state.announce(invitation_accepted, user=user, invitation=store.get(key))
