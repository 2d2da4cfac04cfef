"""Make the current login fresh with the password or a code. Optional.

An application adds the flow to the default ones:
``Registration(flows=[*DEFAULT_FLOWS, reauthenticate.flow])``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from blinker import NamedSignal
from marshmallow import Schema, ValidationError

from ..errors import REQUIRED, ChallengeInvalid, CodeInvalid
from ..http.bodies import AlternativesSchema, RenewedSchema, Text
from ..http.flow import PASSWORD_LIMITS, Flow
from ..http.schemas import password_field
from ..i18n.messages import Message
from ..mail.message import Mail
from ..security_log import REAUTHENTICATION_FAIL
from ..settings import Settings
from ..state import RegistrationState
from ..users.store import User

flow: Flow[Settings] = Flow("reauthenticate", Settings)


def reauthentication_schema(state: RegistrationState) -> Schema:
    """Return the schema of the credential that the client shows: a password, or a code."""
    names: dict[str, Any] = {"password": password_field(required=False)}
    has_emails = state.sends_codes and state.provided("verify_login_code")
    if has_emails or state.provided("verify_code"):
        names["code"] = Text(trim=True)
    if has_emails:
        names["challenge"] = Text()
    schema: Any = AlternativesSchema.from_dict(names, name="Reauthentication")()
    schema.alternatives = list(names)
    return cast(Schema, schema)


@flow.post(
    "/reauthenticate/",
    request=reauthentication_schema,
    response=RenewedSchema,
    message=Message("Re-authentication successful"),
    errors=[CodeInvalid, ChallengeInvalid],
    login_required=True,
    throttles=PASSWORD_LIMITS,
)
def reauthenticate(user: User, data: dict[str, Any]) -> dict[str, Any]:
    """Make the current login fresh with the password, or with a code.

    The code is that of the second factor or, with ``challenge``, that of a login e-mail.

    The session goes on under a new id. A client with a token receives a new one; the old one ends
    if tokens are rows of the database, else it stays valid and as fresh as it was.

    :raises marshmallow.ValidationError: the password is wrong.
    :raises CodeInvalid: the code is wrong, or was used.
    :raises ChallengeInvalid: the challenge has expired, was used or has no tries left, or is of
        another account.
    :raises Throttled: the account had too many wrong codes.
    """
    state = flow.state
    verify_code = state.provided("verify_code")
    verify_login_code = state.provided("verify_login_code")
    emails: Sequence[Mail] = ()
    signals: Sequence[NamedSignal] = ()
    try:
        if "password" in data:
            state.reauthenticate(user, data["password"])
        elif "code" not in data:
            raise ValidationError(REQUIRED, "code")
        elif verify_login_code and "challenge" in data:
            verify_login_code(state, user, data)
        elif verify_code:
            emails, signals = verify_code(state, user, data["code"])
        else:
            raise ValidationError(REQUIRED, "challenge")
    except (CodeInvalid, ChallengeInvalid):
        state.users.rollback()
        state.record(REAUTHENTICATION_FAIL, user)
        raise
    login = state.sessions.renew(user, methods=["pwd" if "password" in data else "otp"])
    state.commit(*emails, signals=signals, user=user)
    return login
