"""Verify an e-mail address first, and create the account afterwards. Optional.

An application adds the flow to the default ones:
``Registration(flows=[*DEFAULT_FLOWS, sign_up.flow])``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from marshmallow import Schema

from ..auth.challenges import Challenge
from ..auth.links import OpenedLink, Purpose
from ..checks import Finding
from ..errors import ChallengeInvalid, LinkInvalid, StepRequired
from ..http.accounts import account_names, is_unused, normal_email
from ..http.bodies import EmailSchema
from ..http.codes import EndpointCode
from ..http.flow import EndpointLink, Flow, always
from ..http.suggestions import suggestion, with_suggestion
from ..http.verification import NO_LINK, send_quietly, sent_response
from ..http.verified_accounts import (
    add_verified_account,
    check_unique_email,
    finished_response,
    finishing_schema,
    log_in_new,
)
from ..i18n.messages import Message, duration
from ..security_log import SIGN_UP_REQUEST
from ..settings import Settings, setting
from ..state import RegistrationState, Setup
from ..users.store import User


@dataclass(frozen=True, kw_only=True)
class SignUpSettings(Settings):
    """Sign-up that verifies the e-mail address first."""

    sign_up_url: str | None = setting(
        None,
        "The page that asks for the rest of a registration.",
        page="finish-sign-up/",
        beside="REGISTER_VERIFICATION_URL",
    )
    sign_up_period: timedelta = setting(
        timedelta(days=1),
        "How long the link of a sign-up is valid.",
        minimum=timedelta(minutes=1),
        maximum=timedelta(days=30),
    )
    sign_up_password_required: bool = setting(
        True,
        "Whether finishing a sign-up requires a password. If false, a user may sign up without "
        "one. Needs a flow that logs in without a password, such as `mail_login`.",
    )


flow: Flow[SignUpSettings] = Flow(
    "sign_up",
    SignUpSettings,
    sends_mail=always,
    needs_email=True,
    closed_by="closes_registration",
)

#: Of a link, and of the challenge with a code.
SIGN_UP = Purpose("sign-up")


flow.provides(
    "makes_passwordless_accounts", enabled=lambda settings: not settings.sign_up_password_required
)(always)


# Ask for the e-mail


@flow.email(
    "sign_up",
    to="the e-mail address",
    when="someone signs up with an e-mail address that no verified account has",
    has_code=True,
    example={"email": "alice@example.com"},
)
def sign_up_email(state: RegistrationState, user: None, email: str) -> dict[str, Any]:
    """Return the template variables. There is no account yet, so ``user`` is None.

    :param email: the e-mail address, in normal form.
    """
    page, period = state.pages["sign_up_url"], state.group(SignUpSettings).sign_up_period
    url = state.links.address_url(SIGN_UP, email, page) if state.sends_links else None
    return {"verification_url": url, "valid_for": duration(period)}


@flow.email(
    "sign_up_taken",
    to="the owner of the e-mail address",
    when="someone signs up with the e-mail address of an account",
    example={"challenge": ""},
)
def sign_up_taken_email(
    state: RegistrationState, user: User, challenge: str | None = None
) -> Mapping[str, Any]:
    """Return the template variables, with a link to log in, or else to reset the password.

    :param challenge: the digest of the challenge that a login link takes.
    """
    if not state.sends_links:
        return NO_LINK
    if challenge is not None and state.provided("login_link"):
        return {**state.call("login_link", user, challenge), "is_login": True}
    return state.call("reset_link", user) or NO_LINK


class SignUpSchema(EmailSchema):
    """The e-mail address to verify."""


def sign_up_response(state: RegistrationState) -> Schema:
    """Return the schema of the response."""
    return with_suggestion(sent_response(state))


@flow.post(
    "/sign-up/",
    request=SignUpSchema,
    response=sign_up_response,
    message=Message("An e-mail to finish signing up is on its way"),
    gated=True,
    causes_mail=always,
    throttles={"client": "20/minute;100/hour"},
    account=account_names,
)
def sign_up(data: dict[str, str]) -> dict[str, Any]:
    """Ask for an e-mail that finishes a registration.

    The response is the same for every e-mail address.

    :raises marshmallow.ValidationError: the e-mail address is invalid.
    """
    state = flow.state
    email = normal_email(state, data["email"])
    owner = next(iter(state.users.find(state.fields.email or "", email)), None)
    state.record(SIGN_UP_REQUEST, owner)
    is_free = owner is None or is_unused(state, owner)
    has_account = not is_free and state.users.snapshot(owner).is_active
    challenge = None
    if state.sends_links:  # for every address
        challenge = state.call("add_login_challenge", owner if has_account else None)
    if has_account:
        mail = state.mail(sign_up_taken_email, owner, challenge=challenge)
    else:  # without a recipient, it is dropped
        mail = state.mail(sign_up_email, None, to=email if is_free else None, email=email)
    return {**suggestion(email), **send_quietly(state, mail, SIGN_UP.name, email)}


# Create the account


def finish_schema(state: RegistrationState) -> Schema:
    """Return the schema of the rest of a registration."""
    is_required = state.group(SignUpSettings).sign_up_password_required
    return finishing_schema(state, "FinishSignUp", password_required=is_required)


@flow.post(
    "/finish-sign-up/",
    link=EndpointLink(
        purpose=lambda settings: SIGN_UP,
        period=lambda settings: settings.sign_up_period,
        of_address=True,
    ),
    code=EndpointCode(SIGN_UP.name),
    request=finish_schema,
    response=finished_response,
    status=201,
    errors=[StepRequired],
    throttles={"client": "60/minute"},
)
def finish_sign_up(verified: OpenedLink | Challenge, data: dict[str, Any]) -> dict[str, Any]:
    """Create the account of a verified e-mail address, and log in.

    :raises LinkInvalid: an account has the e-mail address by now.
    :raises ChallengeInvalid: the same with a code; or the code is that of another e-mail address,
        has expired, was used or has no tries left.
    :raises CodeInvalid: the code is wrong.
    :raises marshmallow.ValidationError: an invalid field, or a duplicate username; the link and the
        code stay valid.
    :raises StepRequired: the account is created, and a step of the login is left.
    """
    state, column = flow.state, flow.state.fields.email or ""
    challenge = None if isinstance(verified, OpenedLink) else verified
    given = data.get(column) if isinstance(verified, Challenge) else verified.params.email
    email = normal_email(state, given)
    if challenge and not state.challenges.is_about(challenge, email):
        raise ChallengeInvalid
    try:
        user, displaced = add_verified_account(
            state, email, data, password_required=flow.settings.sign_up_password_required
        )
    except LinkInvalid:
        raise (ChallengeInvalid if challenge else LinkInvalid) from None
    if challenge:
        state.challenges.take(challenge)
    state.mailer.limits.forget(email)
    return log_in_new(state, user, displaced, method="otp" if challenge else "mail")


# Checks


@flow.check
def check(setup: Setup) -> Iterator[Finding]:
    """Check the page of the link, the column, and that every account can log in."""
    if setup.sends_links:
        yield from setup.check_page("SIGN_UP_URL")
    yield from check_unique_email(setup, flow.name)
    is_required = setup.group(SignUpSettings).sign_up_password_required
    if not is_required and "logs_in_without_password" not in setup.offers():
        yield Finding(
            "registration.E068",
            "REGISTRATION_SIGN_UP_PASSWORD_REQUIRED",
            "is False, and no flow logs in without a password. A user without a password could "
            "never log in again.",
            "from flask_registration.flows import mail_login, and add mail_login.flow to flows.",
        )
