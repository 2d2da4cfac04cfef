"""Codes of e-mails in a request, with the challenge of an earlier response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from marshmallow import Schema

from ..auth.challenges import Challenge
from ..auth.codes import normalize_code
from ..errors import APIError, ChallengeInvalid, CodeInvalid
from ..security_log import CODE_REFUSED
from ..state import RegistrationState
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
        """Count a try, and return the challenge if the code is right.

        :param body: what :class:`CodeSchema` has loaded.
        :raises ChallengeInvalid: see :meth:`ChallengeStore.open`.
        :raises CodeInvalid: the code is wrong.
        """
        store = state.challenge_store
        if store is None:  # a flow can do without, if its e-mails have a link
            raise ChallengeInvalid
        challenge = store.open(self.purpose, body["challenge"])
        if not store.has_code(challenge, normalize_code(body["code"])):
            state.users.rollback()
            state.record(CODE_REFUSED, challenge.user)
            raise CodeInvalid
        return challenge
