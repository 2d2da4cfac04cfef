"""A second factor of the login: an authenticator app (TOTP) with recovery codes. Optional.

An application adds the flow to the default ones:
``Registration(models=[Challenge, Credential], flows=[*DEFAULT_FLOWS, second_factor.flow])``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from typing import Any, NoReturn, cast

from blinker import NamedSignal
from flask import current_app
from marshmallow import Schema, fields

from ..auth.challenges import Challenge, ChallengeStore
from ..auth.codes import make_code, normalize_code, show_code
from ..auth.credentials import RECOVERY_CODE, TOTP, CredentialStore
from ..checks import Finding
from ..errors import (
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
from ..http.bodies import BodySchema, Text, login_response, renewal_response
from ..http.flow import Flow
from ..http.schemas import ZonedDateTime, password_field
from ..i18n.messages import Message
from ..mail.message import Email, Mail
from ..security_log import REAUTHENTICATION_FAIL
from ..settings import Settings, setting
from ..signals import user_added_factor, user_removed_factor, user_used_recovery_code
from ..state import RegistrationState, Setup
from ..throttling.devices import TrustedBrowsers
from ..throttling.throttles import parse
from ..users.stamps import stamp_digest, stamp_without_logins
from ..users.store import User

#: The minimum length of a key, in characters.
KEY_LENGTH = 32


def _check_keys(keys: Sequence[str]) -> None:
    if any(len(key) < KEY_LENGTH for key in keys):
        raise ValueError(f"must have keys of at least {KEY_LENGTH} characters")


def _check_lock(text: str) -> None:
    try:
        (_,) = parse(text)
    except ValueError:
        raise ValueError('must be one limit, such as "10/15 minutes"') from None


@dataclass(frozen=True, kw_only=True)
class SecondFactorSettings(Settings):
    """Second factor."""

    credential_keys: tuple[str, ...] = setting(
        (),
        "Keys that encrypt TOTP secrets and protect recovery codes in the database, oldest first, "
        f"each of at least {KEY_LENGTH} characters. The last one encrypts. Must be set. "
        "A key that is removed locks out the users whose secrets it encrypted.",
        validate=_check_keys,
    )
    totp_issuer: str | None = setting(
        None, "The site's name in the authenticator app.", default_text="the site's name"
    )
    recovery_codes: int = setting(
        10, "How many recovery codes a user receives.", minimum=1, maximum=50
    )
    second_factor_required: bool | Callable[..., Any] = setting(
        False,
        "Whether accounts must have a second factor, for example for administrators: "
        "`required(user, **kwargs)`. A login then includes the enrollment.",
    )
    second_factor_tries: int = setting(
        5, "How many codes a client can try in one login.", minimum=1, maximum=20
    )
    second_factor_lock: str | None = setting(
        "10/15 minutes",
        "How many wrong codes an account can have in which time. Further ones return 429.",
        validate=_check_lock,
    )
    trust_browser_period: timedelta | None = setting(
        None,
        "How long a browser needs no second factor after a login with `trust`, by a signed cookie. "
        "None ignores `trust`.",
    )


flow: Flow[SecondFactorSettings] = Flow(
    "second_factor", SecondFactorSettings, needs_models=["credential"]
)


# The step of a login


def _needs_code(state: RegistrationState, user: User) -> bool:
    if _store(state).totp(user):
        return not _trusted_browsers(state).is_trusted(*_identity(state, user))
    return _is_required(state, user)


def _offers(state: RegistrationState, user: User) -> Mapping[str, Any]:
    if not _store(state).totp(user):
        return {"methods": [], "enroll": [TOTP]}
    has_codes = _store(state).recovery_codes(user).remaining
    return {"methods": [TOTP, RECOVERY_CODE] if has_codes else [TOTP]}


step = flow.step(
    "second-factor",
    needed=_needs_code,
    offers=_offers,
    tries=lambda state: state.group(SecondFactorSettings).second_factor_tries,
)


class SecondFactorSchema(BodySchema):
    """The challenge of the login, and a code of the authenticator app or a recovery code."""

    challenge: Text = Text(required=True, trim=True)
    code: Text = Text(required=True, trim=True)
    trust: fields.Boolean = fields.Boolean(
        load_default=False,
        metadata={"description": "Whether this browser needs no code for a while."},
    )


@flow.post(
    "/second-factor/",
    request=SecondFactorSchema,
    response=login_response,
    message=Message("Login successful"),
    errors=[ChallengeInvalid, CodeInvalid, StepRequired],
    throttles={"client": "60/minute"},
)
def second_factor(data: dict[str, Any]) -> dict[str, Any]:
    """Finish a login with a code of the authenticator app, or with a recovery code.

    :raises ChallengeInvalid: the challenge is unknown, expired, used or out of tries.
    :raises CodeInvalid: the code is wrong, or was used.
    :raises Throttled: the account had too many wrong codes.
    :raises StepRequired: another step is left.
    """
    state = flow.state
    challenge = step.open(state, data["challenge"])
    user = challenge.user
    try:
        emails, signals = use_code(state, user, data["code"])
    except CodeInvalid:
        step.refuse(state, challenge)
    response = step.finish(state, challenge, methods=["otp"], emails=emails, signals=signals)
    if data["trust"]:
        _trusted_browsers(state).trust(*_identity(state, user))
    return response


@flow.provides("verify_code")
def use_code(
    state: RegistrationState, user: User, text: str
) -> tuple[list[Mail], list[NamedSignal]]:
    """Use a code of the authenticator app or a recovery code, without committing.

    It works once. Return the e-mails and the signals to send.

    :raises CodeInvalid: the code is wrong, or was used, or the account has no factor.
    :raises Throttled: the account had too many wrong codes, until the time is over.
    """
    store, code = _store(state), normalize_code(text)
    _count_failure(state, user)
    row = store.totp(user)
    if row is None:
        raise CodeInvalid
    interval = _interval(state, user, row, code)
    if interval is not None:
        store.use_totp(user, interval)
        return [], []
    store.use_recovery_code(user, _digests(state, user, code))
    return _notices(state, user, recovery_code_used_email), [user_used_recovery_code]


# Enroll


class TOTPSchema(BodySchema):
    """The password unless the login is fresh, or the challenge of a login that needs a factor."""

    password: fields.Field[Any] = password_field(required=False)
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
    """Begin to add an authenticator app. It is not active until a code of it is confirmed.

    :raises marshmallow.ValidationError: the password is wrong.
    :raises NotAuthenticated: no user is logged in, and there is no challenge.
    :raises ReauthenticationRequired: there is no password, and the login is not fresh.
    :raises NotVerified: the e-mail address is not verified.
    :raises FactorExists: the account has an authenticator app.
    """
    state, totp = flow.state, _totp()
    if "challenge" in data:
        user = step.open(state, data["challenge"], counts=False).user
    else:
        user = state.sessions.user()
        state.reauthenticate(user, data.get("password"))
    if not state.users.snapshot(user).is_verified:
        raise NotVerified
    secret = totp.new_secret()
    stored = totp.encrypt(secret, flow.settings.credential_keys)
    _store(state).begin_totp(user, stored)
    state.commit()
    issuer = flow.settings.totp_issuer or state.composer.site_name
    uri = totp.enrollment_uri(secret, _name(state, user), issuer)
    return {"secret": secret, "uri": uri, **_qr_code(uri)}


class ConfirmTOTPSchema(BodySchema):
    """A code of the authenticator app, and the challenge of a login that needs a factor."""

    challenge: Text = Text(trim=True)
    code: Text = Text(required=True, trim=True)


def confirmed_response(state: RegistrationState) -> Schema:
    """Return the schema of the response, with the recovery codes."""
    codes = fields.List(fields.String(), required=True)
    base = cast(Any, type(renewal_response(state)))
    return cast(Schema, base.from_dict({"recovery_codes": codes}, name="TOTPConfirmed")())


@flow.post(
    "/totp/confirm/",
    request=ConfirmTOTPSchema,
    response=confirmed_response,
    message=Message("Two-factor authentication is on. Keep the recovery codes in a safe place."),
    errors=[NotAuthenticated, CodeInvalid, ChallengeInvalid, StepRequired],
    throttles={"client": "60/minute"},
    account=current_account,
)
def confirm_totp(data: dict[str, Any]) -> dict[str, Any]:
    """Activate the authenticator app with a code of it. Return the recovery codes, only once.

    Other sessions and tokens of the account end.

    :raises NotAuthenticated: no user is logged in, and there is no challenge.
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
        _activate(state, user, normalize_code(data["code"]))
    except CodeInvalid:
        _refuse(state, user, challenge)
    codes = _new_recovery_codes(state, user)
    emails = _notices(state, user, factor_added_email)
    signals = [user_added_factor]
    _end_logins(state, user)
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


def _activate(state: RegistrationState, user: User, code: str) -> None:
    _count_failure(state, user)
    row = _store(state).totp(user, confirmed=False)
    interval = None if row is None else _interval(state, user, row, code)
    if interval is None:
        raise CodeInvalid
    _store(state).confirm_totp(user, row.secret, interval)


# Manage


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
    if not _store(state).totp(user):
        raise NoFactor
    if _is_required(state, user):
        raise FactorRequired
    try:
        emails, signals = use_code(state, user, data["code"])
    except CodeInvalid:
        _refuse(state, user)
    emails += remove_credentials(state, user) or []
    _end_logins(state, user)
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
    if not _store(state).totp(user):
        raise NoFactor
    codes = _new_recovery_codes(state, user)
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
    state = flow.state
    row = _store(state).totp(user)
    if row is None:
        return []
    codes = _store(state).recovery_codes(user)
    kind = "recovery-codes"
    empty = {"name": None, "last_used_at": None}
    app = {**row._mapping, "created_at": row.confirmed_at}
    found = [app, {**empty, **codes._mapping, "id": kind, "kind": kind}]
    described: list[dict[str, Any]] = credentials_schema(state).dump(found)
    return described


@flow.provides("remove_credentials")
def remove_credentials(state: RegistrationState, user: User) -> list[Mail] | None:
    """Delete all credentials of an account, without committing.

    Return the e-mails about it, or None if there was no authenticator app.
    """
    had_factor = _store(state).totp(user)
    _store(state).remove_all(user)
    return _notices(state, user, factor_removed_email) if had_factor else None


@flow.provides("clear_lock")
def clear_lock(state: RegistrationState, user: User) -> None:
    """Forget the wrong codes of an account, without committing."""
    _store(state).clear_failures(user)


# E-mails


def _no_variables(state: RegistrationState, user: User) -> dict[str, Any]:
    return {}


def _declare(name: str, when: str) -> Email:
    to = "the account's e-mail address"
    return flow.email(name, to=to, when=when, limited=False)(_no_variables)


factor_added_email = _declare("factor_added", "an authenticator app was added")
factor_removed_email = _declare("factor_removed", "an authenticator app was removed")
recovery_code_used_email = _declare("recovery_code_used", "a recovery code was used")


def _notices(state: RegistrationState, user: User, email: Email) -> list[Mail]:
    return [state.mail(email, user)] if state.users.snapshot(user).email else []


# What the endpoints share


def _totp() -> Any:
    from ..auth import totp  # needs libraries that only this flow needs

    return totp


def _store(state: RegistrationState) -> CredentialStore:
    challenges = cast(ChallengeStore, state.challenges)  # init_app refuses the flow without it
    return CredentialStore(challenges.db, state.setup.models["credential"], state.users)


def _trusted_browsers(state: RegistrationState) -> TrustedBrowsers:
    period = state.group(SecondFactorSettings).trust_browser_period
    return TrustedBrowsers(state.links.keys, period or timedelta(0))


def _identity(state: RegistrationState, user: User) -> tuple[str, str]:
    return state.users.identifier(user), stamp_digest(state.users.snapshot(user))


def _is_required(state: RegistrationState, user: User) -> bool:
    required = state.group(SecondFactorSettings).second_factor_required
    return bool(required(user) if callable(required) else required)


def _count_failure(state: RegistrationState, user: User) -> None:
    lock = state.group(SecondFactorSettings).second_factor_lock
    if lock:
        _store(state).count_failure(user, parse(lock)[0])


def _interval(state: RegistrationState, user: User, row: Any, code: str) -> int | None:
    """Return the interval of a code of the authenticator app, or None."""
    totp = _totp()
    secret = totp.decrypt(row.secret, state.group(SecondFactorSettings).credential_keys)
    if secret is None:
        current_app.logger.error(
            "The TOTP secret of account %s was encrypted with a key that is not in "
            "REGISTRATION_CREDENTIAL_KEYS. Add the key again, before the others.",
            state.users.identifier(user),
        )
        return None
    interval: int | None = totp.matching_interval(secret, code)
    return interval


def _digests(state: RegistrationState, user: User, code: str) -> list[str]:
    keys = state.group(SecondFactorSettings).credential_keys
    digests: list[str] = _totp().recovery_digests(code, state.users.identifier(user), keys)
    return digests


def _new_recovery_codes(state: RegistrationState, user: User) -> list[str]:
    count = state.group(SecondFactorSettings).recovery_codes
    codes = [make_code() for _ in range(count)]
    _store(state).replace_recovery_codes(user, [_digests(state, user, code)[0] for code in codes])
    return [show_code(code) for code in codes]


def _refuse(state: RegistrationState, user: User, challenge: Challenge | None = None) -> NoReturn:
    """Record a wrong code.

    :raises CodeInvalid: always.
    """
    if challenge:
        step.refuse(state, challenge)
    state.users.rollback()
    state.record(REAUTHENTICATION_FAIL, user)
    raise CodeInvalid


def _end_logins(state: RegistrationState, user: User) -> None:
    """End the sessions and tokens of an account. Links in e-mails stay valid.

    :raises NotAuthenticated: the account was changed at the same moment.
    """
    seen = state.users.snapshot(user)
    stamp = stamp_without_logins(seen.security_stamp)
    if not state.users.change(user, seen, {"security_stamp": stamp}):
        raise NotAuthenticated
    state.sessions.end_logins(user)


def _name(state: RegistrationState, user: User) -> str:
    """Return the name of the account in the authenticator app."""
    values = (getattr(user, name) for name in state.fields.login)
    login = next((value for value in values if value is not None), "")
    return str(state.users.snapshot(user).email or login)


def _qr_code(uri: str) -> dict[str, str]:
    if not find_spec("segno"):
        return {}
    import segno

    return {"qr": segno.make(uri).svg_inline(scale=4, light="white")}


# Checks


@flow.check
def check(setup: Setup) -> Iterator[Finding]:
    """Check that the libraries and the keys are there, and that a new factor can end sessions."""
    missing = [name for name in ("pyotp", "cryptography") if not find_spec(name)]
    if missing:
        libraries = " and ".join(missing)
        yield Finding(
            "registration.E063",
            "flows",
            f"has second_factor, for which {libraries} cannot be imported. "
            "No code could be checked.",
            'Install them: pip install "Flask-Registration[second-factor]".',
        )
    if not setup.group(SecondFactorSettings).credential_keys:
        yield Finding(
            "registration.E064",
            "REGISTRATION_CREDENTIAL_KEYS",
            "is not set. It encrypts the secrets of authenticator apps in the database.",
            "Set it to a list with the output of "
            "python -c 'import secrets; print(secrets.token_hex())', and keep that secret.",
        )
    if setup.fields and not setup.fields.stamp and "login" not in setup.models:
        yield Finding(
            "registration.E065",
            "models",
            "has no Login, and the user model has no security stamp. "
            "A new second factor could not end other sessions.",
            "Add the column security_stamp to the user model, or pass models=[Login, …].",
        )
