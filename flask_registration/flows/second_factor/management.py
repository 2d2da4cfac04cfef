"""Manage the credentials of the current user: the authenticator app and the recovery codes."""

from __future__ import annotations

from base64 import b32decode
from importlib.util import find_spec
from io import BytesIO
from typing import Any

from marshmallow import fields

from ...auth.codes import normalize_code
from ...errors import (
    AccountUnusable,
    ChallengeInvalid,
    CodeInvalid,
    FactorExists,
    FactorRequired,
    NoFactor,
    NotAuthenticated,
    NotVerified,
    ReauthenticationRequired,
    StepRequired,
)
from ...http.bodies import BodySchema, RenewedSchema, Text
from ...http.flow import PASSWORD_LIMITS
from ...http.schemas import PasswordSchema, ZonedDateTime
from ...i18n.messages import Message
from ...mail.message import Mail
from ...signals import user_added_factor, user_removed_factor
from ...state import RegistrationState
from ...users.store import User
from .base import (
    end_logins,
    factor_added_email,
    factor_of,
    factor_removed_email,
    flow,
    is_required,
    refuse,
    step,
    store_of,
    use_code,
)

# Add the authenticator app, in a login or with a session


class TOTPSchema(PasswordSchema):
    """The password unless the login is fresh, or the challenge of a login that needs a factor."""

    challenge: Text = Text(trim=True)


class TOTPResponse(BodySchema):
    """A secret for an authenticator app, in three forms."""

    secret: fields.String = fields.String(required=True, metadata={"description": "In Base32."})
    uri: fields.String = fields.String(
        required=True, metadata={"description": "The `otpauth://` URI."}
    )
    qr: fields.String = fields.String(
        metadata={"description": "The URI as a QR code, an SVG image."}
    )


def current_account(state: RegistrationState, data: Any) -> list[str]:
    """Return the current user's id for rate limits, if a user is logged in."""
    user = state.sessions.user_or_none()
    return [] if user is None else [state.users.identifier(user)]


@flow.post(
    "/totp/",
    request=TOTPSchema,
    response=TOTPResponse,
    errors=[
        NotAuthenticated,
        ReauthenticationRequired,
        NotVerified,
        FactorExists,
        ChallengeInvalid,
    ],
    throttles={"client": "20/minute;100/hour", "account": "10/5 minutes;50/hour"},
    account=current_account,
)
def add_totp(data: dict[str, Any]) -> dict[str, Any]:
    """Begin to add an authenticator app. It is not active until a code of it was shown.

    :raises marshmallow.ValidationError: the password is wrong.
    :raises NotAuthenticated: no user is logged in, and there is no challenge.
    :raises ChallengeInvalid: the challenge is unknown, expired, used or out of tries.
    :raises ReauthenticationRequired: there is no password, and the login is not fresh.
    :raises NotVerified: the e-mail address is not verified.
    :raises FactorExists: the account has an authenticator app.
    """
    state = flow.state
    if "challenge" in data:
        user = step.open(state, data["challenge"], counts=False).user
    else:
        user = state.sessions.user()
        state.reauthenticate(user, data.get("password"))
    if not state.users.snapshot(user).is_verified:
        raise NotVerified
    secret = factor_of(state).begin(user)
    state.commit()
    return {"secret": secret, **_enrollment(state, user, secret)}


class ConfirmTOTPSchema(BodySchema):
    """A code of the authenticator app, and the challenge of a login that needs a factor."""

    challenge: Text = Text(trim=True)
    code: Text = Text(required=True, trim=True)


class TOTPConfirmedSchema(RenewedSchema):
    """The recovery codes of a new factor, and a token if logins return one."""

    recovery_codes: fields.List[str] = fields.List(fields.String(), required=True)


@flow.post(
    "/totp/confirm/",
    request=ConfirmTOTPSchema,
    response=TOTPConfirmedSchema,
    message=Message("Two-factor authentication is on. Keep the recovery codes in a safe place."),
    errors=[NotAuthenticated, CodeInvalid, ChallengeInvalid, StepRequired],
    throttles={"client": "60/minute"},
    account=current_account,
)
def confirm_totp(data: dict[str, Any]) -> dict[str, Any]:
    """Activate the authenticator app with a code of it. Return the recovery codes, only once.

    Other sessions and tokens of the account end.

    :raises NotAuthenticated: there is no challenge, and no user is logged in, or the account
        changed at the same moment.
    :raises ChallengeInvalid: the challenge is unknown, expired, used or out of tries, or the
        account changed at the same moment.
    :raises CodeInvalid: the code is wrong, or there is nothing to confirm.
    :raises Throttled: the account had too many wrong codes.
    :raises StepRequired: with a challenge; the factor is active, and another step is left. The
        response has the recovery codes.
    """
    state, challenge = flow.state, None
    if "challenge" in data:
        challenge = step.open(state, data["challenge"])
    user = challenge.user if challenge else state.sessions.user()
    was_fresh = state.sessions.is_fresh()
    try:
        factor_of(state).confirm(user, data["code"])
    except CodeInvalid:
        refuse(state, user, challenge)
    codes = factor_of(state).replace_recovery_codes(user, flow.settings.recovery_codes)
    emails = state.notices(factor_added_email, user)
    signals = [user_added_factor]
    try:
        end_logins(state, user)
    except AccountUnusable:
        raise (ChallengeInvalid if challenge else NotAuthenticated) from None
    if challenge is None:
        login = state.sessions.renew(user, fresh_token=was_fresh)
        state.commit(*emails, signals=signals, user=user)
        return {**login, "recovery_codes": codes}
    try:
        login = step.finish(state, challenge, methods=["otp"], emails=emails, signals=signals)
    except StepRequired as error:
        error.members = {**error.members, "recovery_codes": codes}
        raise
    return {**login, "recovery_codes": codes}


def import_totp(state: RegistrationState, user: User, secret: str) -> None:
    """Activate a secret of another library, without committing. An earlier one is replaced.

    :param secret: in Base32; spaces and hyphens do not matter.
    :raises ValueError: it is not Base32.
    """
    text = normalize_code(secret)
    b32decode(text + "=" * (-len(text) % 8))
    factor_of(state).import_secret(user, text)


def _enrollment(state: RegistrationState, user: User, secret: str) -> dict[str, str]:
    """Return the URI of a secret, and its QR code."""
    from ...auth.totp import enrollment_uri

    values = (getattr(user, name) for name in state.fields.login)
    login = next((value for value in values if value is not None), "")
    issuer = flow.settings.totp_issuer or state.composer.site_name
    uri = enrollment_uri(secret, str(state.users.snapshot(user).email or login), issuer)
    if not find_spec("segno"):
        return {"uri": uri}
    import segno

    image = BytesIO()
    segno.make(uri).save(image, "svg", xmldecl=False, scale=4, light="white")
    return {"uri": uri, "qr": image.getvalue().decode()}


# Remove it


class RemoveTOTPSchema(PasswordSchema):
    """A code of the authenticator app or a recovery code, and the password if not fresh."""

    code: Text = Text(required=True, trim=True)


@flow.delete(
    "/totp/",
    request=RemoveTOTPSchema,
    response=RenewedSchema,
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
    :raises AccountUnusable: the account changed at the same moment.
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


@flow.get("/credentials/", response=lambda state: CredentialSchema(many=True), login_required=True)
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
    described: list[dict[str, Any]] = CredentialSchema(many=True).dump(found)
    return described


@flow.provides("remove_rows")
@flow.provides("remove_credentials")
def remove_credentials(state: RegistrationState, user: User) -> list[Mail] | None:
    """Delete all credentials of an account, without committing.

    Return the e-mails about it, or None if there was no authenticator app.
    """
    had_factor = store_of(state).totp(user)
    store_of(state).remove_all(user)
    return state.notices(factor_removed_email, user) if had_factor else None


@flow.provides("clear_lock")
def clear_lock(state: RegistrationState, user: User) -> None:
    """Forget the wrong codes of an account with a new password, without committing.

    A removal of the factor that was asked for with the earlier password is cancelled.
    """
    store_of(state).clear_failures(user)
    store_of(state).cancel_recovery(user)
