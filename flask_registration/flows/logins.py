"""List the sessions and tokens of the current user, and revoke them. Needs a login model."""

from __future__ import annotations

from typing import Any, cast, get_args

from marshmallow import Schema, fields, validate

from ..auth.tokens import Kind, LoginStore
from ..errors import LoginNotFound
from ..http.flow import Flow
from ..http.schemas import ModelSchema, ZonedDateTime, column_field
from ..request_state import request_state
from ..security_log import LOGIN_REVOKED
from ..settings import Settings
from ..state import RegistrationState
from ..users.store import User

flow: Flow[Settings] = Flow("logins", Settings, needs_logins=True)


class Words(fields.List[str]):
    """The words of a text, which JSON has as a list; none for NULL."""

    def _serialize(self, value: Any, *args: Any, **kwargs: Any) -> list[Any] | None:
        return super()._serialize((value or "").split(), *args, **kwargs)


class LoginSchema(ModelSchema):
    """A session or token as its user sees it."""

    kind: fields.String = fields.String(validate=validate.OneOf(get_args(Kind)))
    ip_address: fields.String = fields.String(allow_none=True)
    user_agent: fields.String = fields.String(allow_none=True)
    methods: Words = Words(
        fields.String(),
        metadata={
            "description": "How the user logged in, as words of RFC 8176, for example `pwd`. "
            "Empty if it is unknown."
        },
    )
    created_at: ZonedDateTime = ZonedDateTime()
    last_used_at: ZonedDateTime = ZonedDateTime()
    expires_at: ZonedDateTime = ZonedDateTime()
    current: fields.Boolean = fields.Boolean()


def store_of(state: RegistrationState) -> LoginStore:
    """Return the rows of logins. This flow is inactive without them."""
    return cast(LoginStore, state.logins)


def logins_schema(state: RegistrationState) -> Schema:
    """Return the schema of a list of logins, each with the key of its row."""
    key = store_of(state).columns["id"]
    return LoginSchema.from_dict({"id": column_field(key)}, name="Login")(many=True)


@flow.get("/logins/", response=logins_schema, login_required=True)
def logins(user: User) -> list[dict[str, Any]]:
    """List the current user's sessions and tokens, the last used first."""
    return described_logins(flow.state, user)


@flow.provides("export_logins")
def described_logins(state: RegistrationState, user: User) -> list[dict[str, Any]]:
    """Return the sessions and tokens of a user as the response shows them."""
    store = store_of(state)
    found = store.of(user)
    described: list[dict[str, Any]] = logins_schema(state).dump(found)
    current = request_state().login
    for each, login in zip(described, found, strict=True):
        each["current"] = current is not None and login.digest == current.digest
    return described


@flow.delete("/logins/<login_id>/", status=204, errors=[LoginNotFound], login_required=True)
def revoke_login(user: User, login_id: str) -> None:
    """Revoke a session or token of the current user.

    :raises LoginNotFound: the user has none with this id.
    """
    state = flow.state
    if not store_of(state).end(user, login_id):
        raise LoginNotFound
    state.commit()
    state.record(LOGIN_REVOKED, user, login=login_id)
