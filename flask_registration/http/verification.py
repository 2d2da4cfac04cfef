"""E-mails that verify something, with a link or with a code of the flow ``codes``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from marshmallow import Schema, fields

from ..errors import MailUnavailable
from ..mail.message import Mail
from ..security_log import MAIL_DROPPED, record
from ..state import RegistrationState
from ..users.stamps import digest_of
from ..users.store import User
from .bodies import SuccessSchema

#: The template variables of an e-mail with a code only.
NO_LINK: Mapping[str, Any] = {"verification_url": None, "valid_for": None, "one_time_use": None}


def with_challenge(state: RegistrationState, schema: type[Schema]) -> type[Schema]:
    """Return the schema of a response with the challenge, if e-mails have codes."""
    if not state.sends_codes:
        return schema
    challenge = fields.String(required=True)
    return schema.from_dict({"challenge": challenge}, name=f"{schema.__name__}WithChallenge")


def sent_response(state: RegistrationState) -> Schema:
    """Return the schema of the response to a request for an e-mail."""
    return with_challenge(state, SuccessSchema)()


def add_code(
    state: RegistrationState,
    mail: Mail,
    purpose: str,
    user: User | str | None,
    *,
    data: Mapping[str, Any] | None = None,
    account: User | None = None,
) -> tuple[Mail, dict[str, str]]:
    """Add a code to an e-mail, if e-mails have codes, without committing.

    Return the e-mail, and further fields of the response. If there are too many codes, the e-mail
    is dropped and the challenge has no code.

    :param purpose: the purpose of the challenge, as in :class:`EndpointCode`.
    :param user: the account of the challenge, or an e-mail address that has none; None if the
        client named none. If the e-mail has no code, no code solves the challenge.
    :param data: see :meth:`ChallengeStore.create`.
    :param account: the account that the e-mail is about, if it is another one.
    """
    if not state.sends_codes:
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
    return replace(mail, challenge=digest_of(handle)), {"challenge": handle}


def send_quietly(
    state: RegistrationState,
    mail: Mail,
    purpose: str,
    user: User | str | None,
    *,
    data: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Commit, and send an e-mail with a code, if e-mails have codes.

    Return further fields of the response. It must not reveal the account, so it is the same if the
    e-mail could not be sent, which is logged. The challenge then has no code.

    :param user: see :func:`add_code`.
    :param data: see :meth:`ChallengeStore.create`.
    """
    queued, challenge = add_code(state, mail, purpose, user, data=data)
    try:
        state.commit(queued)
    except MailUnavailable:
        if challenge:
            dropped = replace(mail, user_id=None, limited=False)
            _, challenge = add_code(state, dropped, purpose, user, data=data)
            state.commit()
    return challenge
