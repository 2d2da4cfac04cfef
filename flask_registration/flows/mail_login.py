"""Log in with a link or a code from an e-mail, without a password. Optional.

An application adds the flow to the default ones:
``Registration(flows=[*DEFAULT_FLOWS, mail_login.flow], models=[Challenge])``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from marshmallow import Schema

from ..auth.challenges import Challenge
from ..auth.links import OpenedLink, Purpose
from ..auth.passwords import unusable_hash
from ..checks import Finding
from ..errors import ChallengeInvalid, LinkInvalid, MailUnavailable, StepRequired
from ..http.accounts import account_names, account_schema, find_users, login_names
from ..http.bodies import login_response
from ..http.codes import EndpointCode
from ..http.flow import EndpointLink, Flow, always
from ..http.login import log_in
from ..http.verification import add_code, sent_response
from ..i18n.messages import Message, duration
from ..mail.message import Mail
from ..security_log import LOGIN_LINK_REQUEST
from ..settings import Settings, setting
from ..signals import user_activated
from ..state import RegistrationState, Setup
from ..users.stamps import UserSnapshot, digest_of, next_stamp
from ..users.store import User

#: The purpose of the challenge behind a link and its code: only one of both can be used.
CHALLENGE = "login"


@dataclass(frozen=True, kw_only=True)
class MailLoginSettings(Settings):
    """Passwordless login by e-mail."""

    login_link_url: str | None = setting(
        None,
        "The page that logs in with a link.",
        page="login-by-link/",
        beside="REGISTER_VERIFICATION_URL",
    )
    login_link_period: timedelta = setting(
        timedelta(minutes=15),
        "How long a login link is valid; with a code beside it, at most as long as the code.",
        minimum=timedelta(minutes=1),
        maximum=timedelta(days=1),
    )


flow: Flow[MailLoginSettings] = Flow(
    "mail_login",
    MailLoginSettings,
    sends_mail=always,
    needs_models=["challenge"],
    needs_email=True,
)

LOGIN = Purpose("login-link", binds=lambda user: (user.email,))


flow.provides("makes_passwordless_accounts")(always)
flow.provides("logs_in_without_password")(always)


# Ask for the e-mail


@flow.email(
    "login_link",
    when="the user asks to log in by e-mail",
    reserved=True,
    has_code=True,
    example={"challenge": ""},
)
def login_email(state: RegistrationState, user: User, challenge: str) -> dict[str, Any]:
    """Return the template variables.

    :param challenge: the digest of the challenge that the link takes.
    """
    page, period = state.pages["login_link_url"], state.group(MailLoginSettings).login_link_period
    if state.sends_codes:
        period = min(period, state.challenges.codes.code_period)
    url = state.links.url(LOGIN, user, page, note=challenge) if state.sends_links else None
    return {"verification_url": url, "valid_for": duration(period)}


@flow.provides("login_link")
def login_link(state: RegistrationState, user: User, challenge: str) -> dict[str, Any]:
    """Return the template variables of another e-mail with a login link."""
    return {**login_email.variables(state, user, challenge), "one_time_use": True}


@flow.provides("add_login_challenge")
def add_login_challenge(state: RegistrationState, user: User | None) -> str:
    """Store the challenge of a login link, without committing. Return its digest.

    :param user: None for an e-mail without the link, which costs the same statement.
    """
    period = state.group(MailLoginSettings).login_link_period
    return digest_of(state.challenges.create(CHALLENGE, user, period=period, tries=1))


def request_schema(state: RegistrationState) -> Schema:
    """Return the schema that names an account."""
    return account_schema(state, with_email=state.fields.email in state.fields.unique)


@flow.post(
    "/send-login-link/",
    request=request_schema,
    response=sent_response,
    message=Message("If this account exists, an e-mail to log in is on its way"),
    gated=True,
    causes_mail=always,
    throttles={"client": "20/minute;100/hour"},
    account=account_names,
)
def send_login_link(data: dict[str, Any]) -> dict[str, Any]:
    """Ask for an e-mail that logs the user in.

    The response does not reveal whether the account exists.
    """
    state = flow.state
    user = next(iter(find_users(state, data)), None)
    seen = state.users.snapshot(user)
    if not (seen.is_active and seen.email):
        user = None
    state.record(LOGIN_LINK_REQUEST, user)
    mail = state.mail(login_email, user)
    try:
        return send(state, mail, user)
    except MailUnavailable:  # logged; the response must not reveal the account
        return send(state, replace(mail, user_id=None, limited=False), user)


def send(state: RegistrationState, mail: Mail, user: User | None) -> dict[str, Any]:
    """Store the challenge of a login e-mail, commit, and send it. Return fields of the response."""
    mail, response = add_code(state, mail, CHALLENGE, user)
    digest = mail.challenge or add_login_challenge(state, user)  # the e-mail may have a link only
    state.commit(replace(mail, data={"challenge": digest}))
    return response


# Log in


@flow.post(
    "/login-by-link/",
    link=EndpointLink(
        purpose=lambda settings: LOGIN, period=lambda settings: settings.login_link_period
    ),
    response=login_response,
    message=Message("Login successful"),
    errors=[StepRequired],
    throttles={"client": "60/minute"},
)
def login_by_link(link: OpenedLink) -> dict[str, Any]:
    """Log in with the parameters of a link. The login of a pending account verifies it.

    :raises LinkInvalid: the link or its code was used.
    :raises AccountUnusable: the account changed at the same moment, or is suspended.
    :raises StepRequired: the link is used, and a step of the login is left.
    """
    user, seen, params = link
    try:
        challenge = Challenge(params.note, user, None, {})
        return finish(flow.state, user, seen, challenge, method="mail")
    except ChallengeInvalid:
        raise LinkInvalid(user_id=params.user_id) from None


@flow.post(
    "/login-by-code/",
    code=EndpointCode(CHALLENGE),
    response=login_response,
    message=Message("Login successful"),
    errors=[StepRequired],
    throttles={"client": "60/minute"},
)
def login_by_code(challenge: Challenge) -> dict[str, Any]:
    """Log in with a code. The login of a pending account verifies it.

    :raises ChallengeInvalid: the challenge has expired, was used or has no tries left.
    :raises CodeInvalid: the code is wrong.
    :raises AccountUnusable: the account changed at the same moment, or is suspended.
    :raises StepRequired: the code is used, and a step of the login is left.
    """
    state, user = flow.state, challenge.user
    return finish(state, user, state.users.snapshot(user), challenge, method="otp")


def finish(
    state: RegistrationState, user: User, seen: UserSnapshot, challenge: Challenge, *, method: str
) -> dict[str, Any]:
    """Take the challenge, verify a pending account, and log in. Return fields of the response.

    Another person may have chosen the password of a pending account, so it is removed.

    :param method: what the client has shown, as a word of RFC 8176.
    :raises ChallengeInvalid: another request has taken the challenge.
    :raises AccountUnusable: the account changed at the same moment, or is suspended.
    :raises StepRequired: a step of the login is left.
    """
    state.challenges.take(challenge)
    signals = []
    if not seen.is_verified:
        changes = {
            "is_verified": True,
            "password_hash": unusable_hash(),
            "security_stamp": next_stamp(seen.security_stamp, can_undo=False),
        }
        state.users.change(user, seen, changes, expecting={"is_verified": False})
        state.sessions.end_logins(user)
        state.call_all("owner_found", user)
        signals = [user_activated]
    state.mailer.limits.forget(seen.email or "")
    state.throttles.clear_account("login", login_names(state, user))
    return log_in(state, user, methods=[method], signals=signals)


# Re-authentication


@flow.provides("verify_login_code")
def verify_login_code(state: RegistrationState, user: User, body: Mapping[str, str]) -> None:
    """Take the challenge of a login e-mail to this account, without committing.

    :param body: ``challenge`` and ``code``.
    :raises ChallengeInvalid: it has expired, was used or has no tries left, or is of another
        account.
    :raises CodeInvalid: the code is wrong.
    """
    challenge = EndpointCode(CHALLENGE).open(state, body)
    is_own = challenge.user is not None and (
        state.users.identifier(challenge.user) == state.users.identifier(user)
    )
    if not is_own:
        raise ChallengeInvalid
    state.challenges.take(challenge)


# Checks


@flow.check
def check(setup: Setup) -> Iterator[Finding]:
    """Check that the link has a page."""
    if setup.sends_links:
        yield from setup.check_page("LOGIN_LINK_URL")
