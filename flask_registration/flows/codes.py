"""Codes in e-mails, which users type where a link would be in the way. Optional.

An application adds the flow to the default ones, and chooses codes with ``VERIFICATION_METHOD``:
``Registration(flows=[*DEFAULT_FLOWS, codes.flow], models=[Challenge])``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from marshmallow import Schema

from ..auth.challenges import Challenge
from ..auth.codes import CodesSettings, code_variables
from ..checks import Finding
from ..errors import (
    ChallengeInvalid,
    EmailAlreadyRegistered,
    MailUnavailable,
    StepRequired,
)
from ..http.bodies import RenewedSchema
from ..http.codes import EndpointCode
from ..http.flow import Flow
from ..http.schemas import new_password_schema
from ..i18n.messages import Message
from ..state import RegistrationState, Setup
from ..users.store import User

#: The purposes of challenges, which have the names of their links' purposes.
REGISTER, REGISTER_EMAIL, RESET_PASSWORD = "register", "register-email", "reset-password"

#: The maximum number of tries of a code of six digits.
TRIES_OF_DIGITS = 3


flow: Flow[CodesSettings] = Flow("codes", CodesSettings, needs_models=["challenge"])


@flow.provides("code_variables")
def code_of_email(state: RegistrationState, digest: str | None) -> Mapping[str, Any]:
    """Return the template variables of the code of an e-mail, if it still has one.

    :param digest: that of the handle of its challenge.
    """
    store = state.challenges
    return code_variables(store.code(digest) if digest else None, store.codes)


@flow.provides("challenged_user")
def challenged_user(state: RegistrationState, handle: str | None) -> User | None:
    """Return the account of a registration whose challenge a client sends without its code.

    Return None if there is none, or its code would verify the account without its password.
    """
    if handle is None:
        return None
    try:
        challenge = state.challenges.open(REGISTER, handle, counts=False)
    except ChallengeInvalid:
        return None
    return challenge.user if challenge.data.get("keeps_password", True) else None


def _finish(name: str, challenge: Challenge, **arguments: Any) -> dict[str, Any]:
    """Take the challenge, and do what the link of another flow does.

    :param name: what that flow offers.
    :raises ChallengeInvalid: another request has taken it, or that flow is not active.
    :raises AccountUnusable: the account changed at the same moment.
    """
    state, user = flow.state, challenge.user
    finish = state.provided(name)
    if finish is None or user is None:
        raise ChallengeInvalid
    state.challenges.take(challenge)
    result: dict[str, Any] = finish(state, user, state.users.snapshot(user), **arguments)
    return result


@flow.post(
    "/verify-registration-code/",
    code=EndpointCode(REGISTER),
    response=RenewedSchema,
    message=Message("User verified successfully"),
    errors=[EmailAlreadyRegistered, StepRequired],
    throttles={"client": "60/minute"},
)
def verify_registration_code(challenge: Challenge) -> dict[str, Any]:
    """Verify an e-mail address with a code.

    :raises ChallengeInvalid: the challenge has expired, was used or has no tries left.
    :raises CodeInvalid: the code is wrong.
    :raises AccountUnusable: the account is verified or suspended, or changed at the same moment.
    :raises EmailAlreadyRegistered: another account has verified the address meanwhile.
    :raises StepRequired: with auto-login; the address is verified, and a step of the login is left.
    """
    return _finish("verify_account", challenge, method="otp", **challenge.data)


@flow.post(
    "/verify-email-code/",
    code=EndpointCode(REGISTER_EMAIL),
    response=RenewedSchema,
    message=Message("E-mail address verified successfully"),
    errors=[EmailAlreadyRegistered, MailUnavailable],
    throttles={"client": "60/minute"},
)
def verify_email_code(challenge: Challenge) -> dict[str, Any]:
    """Change the e-mail address with the code that the new address received.

    :raises ChallengeInvalid: the challenge has expired, was used or has no tries left.
    :raises CodeInvalid: the code is wrong.
    :raises AccountUnusable: the account is pending, or changed at the same moment, or the login
        that asked for the change has ended.
    :raises EmailAlreadyRegistered: another verified account has the e-mail address by now.
    """
    return _finish("finish_email_change", challenge, **challenge.data)


def new_password(state: RegistrationState) -> Schema:
    """Return the schema of the new password, which is loaded after the code was verified."""
    schema: Schema | None = state.call("reset_password_schema")
    return schema or new_password_schema(password_confirm=False)()


@flow.post(
    "/reset-password-code/",
    code=EndpointCode(RESET_PASSWORD),
    request=new_password,
    response=RenewedSchema,
    message=Message("Password reset successful"),
    errors=[MailUnavailable, StepRequired],
    throttles={"client": "60/minute"},
)
def reset_password_code(challenge: Challenge, data: dict[str, Any]) -> dict[str, Any]:
    """Set a new password with a code. The password is read if the code is right.

    :raises ChallengeInvalid: the challenge has expired, was used or has no tries left.
    :raises CodeInvalid: the code is wrong.
    :raises AccountUnusable: the account changed at the same moment, or is suspended.
    :raises marshmallow.ValidationError: the password does not pass the policy; the code stays
        valid.
    :raises StepRequired: with auto-login; the password is set, and a step of the login is left.
    """
    return _finish("finish_reset", challenge, password=data["password"], method="otp")


@flow.check
def check(setup: Setup) -> Iterator[Finding]:
    """Check that a code of digits has few tries."""
    settings = setup.group(CodesSettings)
    if settings.code_format == "digits" and settings.code_tries > TRIES_OF_DIGITS:
        yield Finding(
            "registration.E060",
            "REGISTRATION_CODE_TRIES",
            f"is {settings.code_tries}. A code of six digits can be guessed.",
            f"Set REGISTRATION_CODE_TRIES = {TRIES_OF_DIGITS}, or "
            'REGISTRATION_CODE_FORMAT = "letters".',
        )
