"""The step of a login, and what the endpoints of the second factor share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NoReturn

from blinker import NamedSignal
from marshmallow import fields

from ...auth.challenges import Challenge
from ...auth.credentials import RECOVERY_CODE, TOTP, CredentialStore
from ...checks import Finding
from ...errors import ChallengeInvalid, CodeInvalid, StepRequired
from ...http.bodies import BodySchema, Text, login_response
from ...http.flow import Flow
from ...http.steps import Step
from ...i18n.messages import Message
from ...mail.message import Email, Mail, no_variables
from ...security_log import REAUTHENTICATION_FAIL
from ...settings import Settings, setting
from ...signals import user_used_recovery_code
from ...state import RegistrationState, Setup
from ...throttling.signed_cookies import SignedCookies
from ...throttling.throttles import parse
from ...users.stamps import digest_of, stamp_digest, stamp_without_logins
from ...users.store import User

if TYPE_CHECKING:
    from ...auth.totp import SecondFactor

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
    """Two-factor authentication."""

    credential_keys: tuple[str, ...] = setting(
        (),
        "Keys that encrypt TOTP secrets and protect recovery codes in the database, oldest first, "
        f"each of at least {KEY_LENGTH} characters. The last one encrypts. Must be set. "
        "A key that is removed locks out the users whose secrets it encrypted.",
        default_text="none",
        validate=_check_keys,
        secret=True,
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
    second_factor_recovery_delay: timedelta | None = setting(
        None,
        "How long after a request a lost second factor is removed, for example "
        "`timedelta(hours=72)`, unless the user cancels it. None: only administrators remove it.",
        minimum=timedelta(hours=1),
    )
    cancel_recovery_url: str | None = setting(
        None,
        "The page that cancels the removal of a second factor.",
        page="cancel-recovery/",
        beside="REGISTER_VERIFICATION_URL",
    )


flow: Flow[SecondFactorSettings] = Flow(
    "second_factor", SecondFactorSettings, needs_models=["credential"]
)


# E-mails


def _declare(name: str, when: str) -> Email:
    return flow.email(name, when=when, limited=False)(no_variables)


factor_added_email: Email = _declare("factor_added", "an authenticator app was added")
factor_removed_email: Email = _declare("factor_removed", "an authenticator app was removed")
recovery_code_used_email: Email = _declare("recovery_code_used", "a recovery code was used")


# The factor of an account


def store_of(state: RegistrationState) -> CredentialStore:
    """Return the rows of credentials."""
    db, model = state.challenges.db, state.setup.models["credential"]
    return CredentialStore(db, model, state.users)


def factor_of(state: RegistrationState) -> SecondFactor:
    """Return the second factor with the keys and the lock of the settings."""
    from ...auth.totp import SecondFactor  # needs libraries that only this flow needs

    settings = state.group(SecondFactorSettings)
    lock = settings.second_factor_lock
    limit = parse(lock)[0] if lock else None
    rows = store_of(state)
    return SecondFactor(rows.db, rows.model, rows.users, settings.credential_keys, limit)


def is_required(state: RegistrationState, user: User) -> bool:
    """Return whether an account must have a second factor."""
    required = state.group(SecondFactorSettings).second_factor_required
    return bool(required(user) if callable(required) else required)


@flow.provides("verify_code")
def use_code(
    state: RegistrationState, user: User, text: str
) -> tuple[list[Mail], list[NamedSignal]]:
    """Use a code of the authenticator app or a recovery code, without committing.

    It works once. Return the e-mails and the signals to send.

    :raises CodeInvalid: the code is wrong, or was used, or the account has no factor.
    :raises Throttled: the account had too many wrong codes, until the time is over.
    """
    if factor_of(state).use(user, text) == TOTP:
        return [], []
    return state.notices(recovery_code_used_email, user), [user_used_recovery_code]


def refuse(state: RegistrationState, user: User, challenge: Challenge | None = None) -> NoReturn:
    """Record a wrong code.

    :raises CodeInvalid: always.
    """
    if challenge:
        step.refuse(state, challenge)
    state.users.rollback()
    state.record(REAUTHENTICATION_FAIL, user)
    raise CodeInvalid


def end_logins(state: RegistrationState, user: User) -> None:
    """End the sessions and tokens of an account. Links in e-mails stay valid.

    :raises AccountUnusable: the account changed at the same moment.
    """
    seen = state.users.snapshot(user)
    state.users.change(user, seen, {"security_stamp": stamp_without_logins(seen.security_stamp)})
    state.sessions.end_logins(user)


# The step of a login


def trust_content(state: RegistrationState, user: User) -> list[str]:
    """Return what the cookie of a trusted browser contains for an account.

    It is bound to the security stamp: what ends the other sessions ends the trust, too.
    """
    return [state.users.identifier(user), stamp_digest(state.users.snapshot(user))]


def _trusted_browsers(state: RegistrationState) -> SignedCookies:
    """Return the cookies of the browsers that need no code for a while."""
    period = state.group(SecondFactorSettings).trust_browser_period
    return SignedCookies(state.links.keys, period or timedelta(0), "trust")


def trust_browser(state: RegistrationState, content: list[str]) -> None:
    """Ask for no code of an account in this browser for a while."""
    _trusted_browsers(state).set(_trust_cookie(content), content)


def is_trusted(state: RegistrationState, user: User) -> bool:
    """Return whether this browser needs no code of an account."""
    content = trust_content(state, user)
    return bool(_trusted_browsers(state).load(_trust_cookie(content)) == content)


def _trust_cookie(content: list[str]) -> str:
    return f"registration_trust_{digest_of(content[0])[:8]}"


def _needs_code(state: RegistrationState, user: User) -> bool:
    if store_of(state).totp(user):
        return not is_trusted(state, user)
    return is_required(state, user)


def _offers(state: RegistrationState, user: User) -> Mapping[str, Any]:
    if not store_of(state).totp(user):
        return {"methods": [], "enroll": [TOTP]}
    has_codes = store_of(state).recovery_codes(user).remaining
    return {"methods": [TOTP, RECOVERY_CODE] if has_codes else [TOTP]}


step: Step = flow.step(
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
    trusted = trust_content(state, user)  # a change after the commit must end the trust
    response = step.finish(state, challenge, methods=["otp"], emails=emails, signals=signals)
    if data["trust"]:
        trust_browser(state, trusted)
    return response


# Checks


@flow.check
def check(setup: Setup) -> Iterator[Finding]:
    """Check that the libraries and the keys are there, and that a new factor can end sessions."""
    missing = [name for name in ("pyotp", "cryptography") if not find_spec(name)]
    if missing:
        libraries = " and ".join(missing)
        yield Finding(
            "registration.E061",
            "flows",
            f"has second_factor, for which {libraries} cannot be imported. "
            "No code could be checked.",
            'Install them: pip install "Flask-Registration[second-factor]".',
        )
    settings = setup.group(SecondFactorSettings)
    if not settings.credential_keys:
        yield Finding(
            "registration.E062",
            "REGISTRATION_CREDENTIAL_KEYS",
            "is not set. It encrypts the secrets of authenticator apps in the database.",
            "Set it to a list with the output of "
            "python -c 'import secrets; print(secrets.token_hex())', and keep that secret.",
        )
    if setup.fields and not setup.fields.stamp and "login" not in setup.models:
        yield Finding(
            "registration.E063",
            "models",
            "has no Login, and the user model has no security stamp. "
            "A new second factor could not end other sessions.",
            "Add the column security_stamp to the user model, or pass models=[Login, …].",
        )
    if setup.fields and not setup.fields.stamp and settings.trust_browser_period:
        yield Finding(
            "registration.E065",
            "REGISTRATION_TRUST_BROWSER_PERIOD",
            "is set, and the user model has no security stamp. "
            "Neither a logout everywhere nor another factor could end the trust in a browser.",
            "Add the column security_stamp to the user model, or remove the setting.",
        )
