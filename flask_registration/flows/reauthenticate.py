"""Make the current login fresh with the password or a code. Optional.

An application adds the flow to the default ones:
``Registration(flows=[*DEFAULT_FLOWS, reauthenticate.flow])``.
"""

from __future__ import annotations

from typing import Any, cast

from marshmallow import Schema

from ..errors import CodeInvalid
from ..http.bodies import AlternativesSchema, Text, renewal_response
from ..http.flow import Flow
from ..http.schemas import password_field
from ..i18n.messages import Message
from ..security_log import REAUTHENTICATION_FAIL
from ..settings import Settings
from ..state import RegistrationState
from ..users.store import User

flow: Flow[Settings] = Flow("reauthenticate", Settings)


def reauthentication_schema(state: RegistrationState) -> Schema:
    """Return the schema of the credential that the client shows: a password, or a code."""
    names: dict[str, Any] = {"password": password_field(required=False)}
    if state.provided("verify_code"):
        names["code"] = Text(trim=True)
    schema: Any = AlternativesSchema.from_dict(names, name="Reauthentication")()
    schema.alternatives = list(names)
    return cast(Schema, schema)


@flow.post(
    "/reauthenticate/",
    request=reauthentication_schema,
    response=renewal_response,
    message=Message("Re-authentication successful"),
    errors=[CodeInvalid],
    login_required=True,
    throttles={"client": "60/minute;1000/hour", "account": "10/5 minutes;50/hour"},
)
def reauthenticate(user: User, data: dict[str, Any]) -> dict[str, Any]:
    """Make the current login fresh with the password, or with a code of the second factor.

    The session goes on under a new id. A client with a token receives a new one; the old one ends
    if tokens are rows of the database, else it stays valid and as fresh as it was.

    :raises marshmallow.ValidationError: the password is wrong.
    :raises CodeInvalid: the code is wrong, or was used.
    :raises Throttled: the account had too many wrong codes.
    """
    state = flow.state
    verify_code = state.provided("verify_code")
    if verify_code is None or "password" in data:
        state.reauthenticate(user, data["password"])
        login = state.sessions.renew(user, methods=["pwd"])
        state.commit()
        return login
    try:
        emails, signals = verify_code(state, user, data["code"])
    except CodeInvalid:
        state.users.rollback()
        state.record(REAUTHENTICATION_FAIL, user)
        raise
    login = state.sessions.renew(user, methods=["otp"])
    state.commit(*emails, signals=signals, user=user)
    return login
