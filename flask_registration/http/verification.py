"""E-mails that verify something, with a link or with a code of the flow ``codes``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from marshmallow import Schema

from ..errors import MailUnavailable
from ..mail.message import Mail
from ..state import RegistrationState
from ..users.store import User
from .bodies import SuccessSchema

#: The template variables of an e-mail with a code only.
NO_LINK: Mapping[str, Any] = {"verification_url": None, "valid_for": None, "one_time_use": None}


def with_challenge(state: RegistrationState, schema: type[Schema]) -> type[Schema]:
    """Return the schema of a response with the challenge, if e-mails have codes."""
    extended = state.provided("with_challenge")
    return extended(schema) if extended and state.sends_codes else schema


def sent_response(state: RegistrationState) -> Schema:
    """Return the schema of the response to a request for an e-mail."""
    return with_challenge(state, SuccessSchema)()


def add_code(
    state: RegistrationState, mail: Mail, purpose: str, user: User | str | None, **options: Any
) -> tuple[Mail, dict[str, str]]:
    """Add a code to an e-mail, if e-mails have codes, without committing.

    Return the e-mail, and further fields of the response. The options are those of the function in
    ``codes.py``.
    """
    add = state.provided("add_code")
    return add(state, mail, purpose, user, **options) if add and state.sends_codes else (mail, {})


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
