"""Make the current login fresh with the password. Optional.

An application adds the flow to the default ones:
``Registration(flows=[*DEFAULT_FLOWS, reauthenticate.flow])``.
"""

from __future__ import annotations

from typing import Any

from ..http.bodies import BodySchema, renewal_response
from ..http.flow import Flow
from ..http.schemas import password_field
from ..i18n.messages import Message
from ..settings import Settings
from ..users.store import User

flow: Flow[Settings] = Flow("reauthenticate", Settings)


class ReauthenticationSchema(BodySchema):
    """The credential that the client shows."""

    password: Any = password_field()


@flow.post(
    "/reauthenticate/",
    request=ReauthenticationSchema,
    response=renewal_response,
    message=Message("Re-authentication successful"),
    login_required=True,
    throttles={"client": "60/minute;1000/hour", "account": "10/5 minutes;50/hour"},
)
def reauthenticate(user: User, data: dict[str, Any]) -> dict[str, Any]:
    """Make the current login fresh with the password.

    The session goes on under a new id. A client with a token receives a new one; the old one ends
    if tokens are rows of the database, else it stays valid and as fresh as it was.

    :raises marshmallow.ValidationError: the password is wrong.
    """
    state = flow.state
    state.reauthenticate(user, data["password"])
    login = state.sessions.renew(user, methods=["pwd"])
    state.commit()
    return login
