"""See where one is logged in, and log out there. Only with a login model."""

from __future__ import annotations

from typing import Any, get_args

from flask import Response, jsonify
from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields, validate

from ..errors import LoginNotFound
from ..events import LOGIN_REVOKED
from ..flow import Flow
from ..kit import Kit
from ..logins import Kind
from ..schemas import ModelSchema, column_field
from ..sessions import request_token, session_secret
from ..settings import Settings
from ..users import User

flow: Flow[Settings] = Flow("logins", Settings, needs_logins=True)


class LoginSchema(ModelSchema):
    """A login as its owner sees it."""

    kind: fields.String = fields.String(validate=validate.OneOf(get_args(Kind)))
    ip_address: fields.String = fields.String(allow_none=True)
    user_agent: fields.String = fields.String(allow_none=True)
    created_at: fields.AwareDateTime = fields.AwareDateTime()
    last_used_at: fields.AwareDateTime = fields.AwareDateTime()
    expires_at: fields.AwareDateTime = fields.AwareDateTime()
    current: fields.Boolean = fields.Boolean()


def logins_schema(kit: Kit) -> Schema:
    """A list of logins, each with the key of its row."""
    keys = [] if kit.logins is None else [kit.logins.columns["id"]]
    return LoginSchema.from_dict({key.name: column_field(key) for key in keys}, name="Login")(many=True)


@flow.get("/logins/", returns=logins_schema, login_required=True)
def logins_view(user: User) -> ResponseReturnValue:
    """List one's own sessions and tokens, the one that was used last first."""
    return jsonify(logins(flow.kit, user, request_token() or session_secret()))


def logins(kit: Kit, user: User, secret: str | None) -> list[dict[str, Any]]:
    """The logins of a user.

    :param secret: that of the login that asks, which is marked ``current``.
    """
    store = kit.logins
    if store is None:
        return []
    return [store.describe(login, current=store.is_it(login, secret)) for login in store.of(user)]


@flow.delete("/logins/<login_id>/", status=204, raises=[LoginNotFound], login_required=True)
def revoke_login_view(user: User, login_id: str) -> ResponseReturnValue:
    """End one of one's own sessions or tokens."""
    revoke_login(flow.kit, user, login_id)
    return Response(status=204)


def revoke_login(kit: Kit, user: User, login_id: str) -> None:
    """End a login.

    :raises LoginNotFound: the user has none of this number.
    """
    if kit.logins is None or not kit.logins.end(user, login_id):
        raise LoginNotFound
    kit.commit()
    kit.record(LOGIN_REVOKED, user, login=login_id)
