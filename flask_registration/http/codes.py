"""Codes of e-mails: the challenge in a response, and the code in a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from marshmallow import Schema, fields

from ..auth.challenges import Challenge, handle_digest
from ..auth.codes import normalize_code
from ..errors import APIError, ChallengeInvalid, CodeInvalid
from ..mail.message import Mail
from ..security_log import CODE_REFUSED, MAIL_DROPPED, record
from ..state import RegistrationState
from ..users.store import User
from .bodies import (
    AddressLinkSchema,
    AlternativesSchema,
    BodySchema,
    LinkParameter,
    SchemaFactory,
    Text,
    not_blank,
)


class CodeSchema(BodySchema):
    """The challenge of an earlier response, and the code of the e-mail."""

    challenge: Text = Text(required=True, validate=not_blank)
    code: Text = Text(required=True, validate=not_blank)


class LinkOrCodeSchema(AlternativesSchema):
    """The parameters of a link about an e-mail address, or the challenge and the code."""

    email: LinkParameter = LinkParameter(required=True)
    timestamp: LinkParameter = LinkParameter()
    signature: LinkParameter = LinkParameter()
    challenge: Text = Text(validate=not_blank)
    code: Text = Text(validate=not_blank)
    alternatives: Sequence[str] = ("signature", "challenge")


def link_or_code(state: RegistrationState) -> Schema:
    """Return the schema that describes a request with a link about an address, or a code."""
    if state.sends_links and state.sends_codes:
        return LinkOrCodeSchema()
    return AddressLinkSchema() if state.sends_links else CodeSchema()


@dataclass(frozen=True)
class EndpointCode:
    """The challenge that an endpoint verifies with its code, before it reads the rest of the body.

    :ivar purpose: the purpose of the challenge.
    """

    purpose: str
    schema: ClassVar[type[CodeSchema]] = CodeSchema
    errors: ClassVar[Sequence[type[APIError]]] = (CodeInvalid, ChallengeInvalid)

    def described(self, *, has_link: bool) -> SchemaFactory:
        """Return the schema of its fields; with a link as well, a request has one of both."""
        return link_or_code if has_link else CodeSchema

    def open(self, state: RegistrationState, body: Mapping[str, str]) -> Challenge:
        """Verify the code; see :func:`open_challenge`."""
        return open_challenge(state, self.purpose, body)


def with_challenge(schema: type[Schema]) -> type[Schema]:
    """Return the schema of a response with the challenge."""
    challenge = {"challenge": fields.String(required=True)}
    return schema.from_dict(dict(challenge), name=f"{schema.__name__}WithChallenge")


def add_code(
    state: RegistrationState,
    mail: Mail,
    purpose: str,
    user: User | str | None,
    *,
    data: Mapping[str, Any] | None = None,
    account: User | None = None,
) -> tuple[Mail, dict[str, str]]:
    """Add a code to an e-mail, without committing.

    Return the e-mail, and further fields of the response. If there are too many, the e-mail is
    dropped and the challenge has no code.

    :param purpose: the purpose of the challenge, as in :class:`EndpointCode`.
    :param user: the account of the challenge, or an e-mail address that has none; None if the
        client named none. If the e-mail has no code, no code solves the challenge.
    :param data: see :meth:`ChallengeStore.create`.
    :param account: the account that the e-mail is about, if it is another one.
    """
    if state.challenges is None:  # init_app refuses the flow that offers this
        return mail, {}
    mail = state.admit(mail)
    counted = None if mail.user_id is None else account or user
    has_code = state.emails[mail.template].has_code
    try:
        handle, is_allowed = state.challenges.create_with_code(
            purpose, user, counted=counted, data=data, has_code=has_code
        )
    except Exception:
        if mail.user_id is not None:
            state.mailer.limits.forget(mail.to, mail.kind)
        raise
    if not is_allowed:
        record(MAIL_DROPPED, user_id=mail.user_id, template=mail.template)
        mail = replace(mail, user_id=None)
    return replace(mail, challenge=handle_digest(handle)), {"challenge": handle}


def challenged_user(state: RegistrationState, purpose: str, handle: str | None) -> User | None:
    """Return the account of a valid challenge that a client sends without its code.

    Return None if there is none, or its code would verify the account without its password.
    """
    if handle is None or state.challenges is None:
        return None
    try:
        challenge = state.challenges.open(purpose, handle, counts=False)
    except ChallengeInvalid:
        return None
    return challenge.user if challenge.data.get("keeps_password", True) else None


def open_challenge(state: RegistrationState, purpose: str, body: Mapping[str, str]) -> Challenge:
    """Count a try, and return the challenge if the code is right.

    :param body: what :class:`CodeSchema` has loaded.
    :raises ChallengeInvalid: see :meth:`ChallengeStore.open`.
    :raises CodeInvalid: the code is wrong.
    """
    store = state.challenges
    if store is None:  # init_app refuses a flow that needs it
        raise ChallengeInvalid
    challenge = store.open(purpose, body["challenge"])
    if not store.has_code(challenge, normalize_code(body["code"])):
        state.users.rollback()
        state.record(CODE_REFUSED, challenge.user)
        raise CodeInvalid
    return challenge
