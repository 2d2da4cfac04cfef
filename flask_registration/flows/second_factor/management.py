"""Manage the credentials of the current user: list them, replace recovery codes, remove all."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

from ...errors import CodeInvalid, FactorRequired, NoFactor, ReauthenticationRequired
from ...http.bodies import BodySchema, Text, renewal_response
from ...http.schemas import ZonedDateTime, password_field
from ...i18n.messages import Message
from ...mail.message import Mail
from ...signals import user_removed_factor
from ...state import RegistrationState
from ...users.store import User
from .base import (
    end_logins,
    factor_of,
    factor_removed_email,
    flow,
    is_required,
    notices,
    refuse,
    store_of,
    use_code,
)


class RemoveTOTPSchema(BodySchema):
    """A code of the authenticator app or a recovery code, and the password if not fresh."""

    code: Text = Text(required=True, trim=True)
    password: fields.Field[Any] = password_field(required=False)


PASSWORD_LIMITS = {"client": "60/minute;1000/hour", "account": "10/5 minutes;50/hour"}


@flow.delete(
    "/totp/",
    request=RemoveTOTPSchema,
    response=renewal_response,
    message=Message("Two-factor authentication is off."),
    errors=[ReauthenticationRequired, NoFactor, FactorRequired, CodeInvalid],
    login_required=True,
    throttles=PASSWORD_LIMITS,
)
def remove_totp(user: User, data: dict[str, Any]) -> dict[str, Any]:
    """Remove the authenticator app and the recovery codes. Other sessions and tokens end.

    :raises marshmallow.ValidationError: the password is wrong.
    :raises ReauthenticationRequired: there is no password, and the login is not fresh.
    :raises NoFactor: there is no authenticator app.
    :raises FactorRequired: ``SECOND_FACTOR_REQUIRED`` asks for one.
    :raises CodeInvalid: the code is wrong, or was used.
    :raises Throttled: the account had too many wrong codes.
    """
    state = flow.state
    was_fresh = state.sessions.is_fresh()
    state.reauthenticate(user, data.get("password"))
    if not store_of(state).totp(user):
        raise NoFactor
    if is_required(state, user):
        raise FactorRequired
    try:
        emails, signals = use_code(state, user, data["code"])
    except CodeInvalid:
        refuse(state, user)
    emails += remove_credentials(state, user) or []
    end_logins(state, user)
    login = state.sessions.renew(user, fresh_token=was_fresh)
    state.commit(*emails, signals=[*signals, user_removed_factor], user=user)
    return login


class RecoveryCodesResponse(BodySchema):
    """Recovery codes, which are shown once."""

    recovery_codes: fields.List[str] = fields.List(fields.String(), required=True)


class PasswordSchema(BodySchema):
    """The password, unless the login is fresh."""

    password: fields.Field[Any] = password_field(required=False)


@flow.post(
    "/recovery-codes/",
    request=PasswordSchema,
    response=RecoveryCodesResponse,
    errors=[ReauthenticationRequired, NoFactor],
    login_required=True,
    throttles=PASSWORD_LIMITS,
)
def create_recovery_codes(user: User, data: dict[str, Any]) -> dict[str, Any]:
    """Return new recovery codes in place of the earlier ones.

    :raises marshmallow.ValidationError: the password is wrong.
    :raises ReauthenticationRequired: there is no password, and the login is not fresh.
    :raises NoFactor: there is no authenticator app.
    """
    state = flow.state
    state.reauthenticate(user, data.get("password"))
    if not store_of(state).totp(user):
        raise NoFactor
    codes = factor_of(state).replace_recovery_codes(user, flow.settings.recovery_codes)
    state.commit()
    return {"recovery_codes": codes}


class CredentialSchema(BodySchema):
    """A credential as its user sees it."""

    id: fields.String = fields.String()
    kind: fields.String = fields.String()
    name: fields.String = fields.String(allow_none=True)
    created_at: ZonedDateTime = ZonedDateTime(allow_none=True)
    last_used_at: ZonedDateTime = ZonedDateTime(allow_none=True)
    remaining: fields.Integer = fields.Integer(
        metadata={"description": "How many recovery codes are left."}
    )


def credentials_schema(state: RegistrationState) -> Schema:
    """Return the schema of a list of credentials."""
    return CredentialSchema(many=True)


@flow.get("/credentials/", response=credentials_schema, login_required=True)
def credentials(user: User) -> list[dict[str, Any]]:
    """List the current user's authenticator app and recovery codes."""
    return described_credentials(flow.state, user)


@flow.provides("export_credentials")
def described_credentials(state: RegistrationState, user: User) -> list[dict[str, Any]]:
    """Return the credentials of a user as the response shows them, without secrets."""
    row = store_of(state).totp(user)
    if row is None:
        return []
    codes = store_of(state).recovery_codes(user)
    kind = "recovery-codes"
    empty = {"name": None, "last_used_at": None}
    app = {**row._mapping, "created_at": row.confirmed_at}
    found = [app, {**empty, **codes._mapping, "id": kind, "kind": kind}]
    described: list[dict[str, Any]] = credentials_schema(state).dump(found)
    return described


@flow.provides("remove_rows")
@flow.provides("remove_credentials")
def remove_credentials(state: RegistrationState, user: User) -> list[Mail] | None:
    """Delete all credentials of an account, without committing.

    Return the e-mails about it, or None if there was no authenticator app.
    """
    had_factor = store_of(state).totp(user)
    store_of(state).remove_all(user)
    return notices(state, user, factor_removed_email) if had_factor else None


@flow.provides("clear_lock")
def clear_lock(state: RegistrationState, user: User) -> None:
    """Forget the wrong codes of an account with a new password, without committing.

    A removal of the factor that was asked for with the earlier password is cancelled.
    """
    store_of(state).clear_failures(user)
    store_of(state).cancel_recovery(user)
