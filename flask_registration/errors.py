"""Errors in one tree. Each knows its status, its code and its text.

A field that is invalid is marshmallow's ``ValidationError``. These are all others, and duplicate
values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

from marshmallow import ValidationError

from .checks import Finding
from .i18n.messages import Message


class RegistrationError(Exception):
    """The base class of all errors."""


class Problem(NamedTuple):
    """A finding in two parts.

    :ivar text: what is wrong and how to fix it; continues the sentence that the setting begins.
    """

    setting: str
    text: str


class ConfigurationError(RegistrationError):
    """The application cannot start like this. The message lists every error, each with a hint.

    :ivar findings: the errors.
    :ivar problems: the same, each with ``setting`` and ``text``.
    """

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings: tuple[Finding, ...] = tuple(findings)
        self.problems: tuple[Problem, ...] = tuple(
            Problem(each.subject, f"{each.problem} {each.hint}") for each in self.findings
        )
        count = "1 error" if len(self.findings) == 1 else f"{len(self.findings)} errors"
        title = f"Flask-Registration found {count} in the configuration."
        super().__init__("\n".join([title, *map(str, self.findings)]))


class AdministrationError(RegistrationError):
    """An administrative action that is not possible. The text says why; nothing was changed."""


class ForeignLogin(RegistrationError, RuntimeError):
    """``flask_login.login_user()`` cannot log in this account; ``actions.log_in`` can, or says why.

    No user is logged in then.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"flask_login.login_user() cannot log in this account: {reason}. "
            "Call flask_registration.actions.log_in(user), which asks for what is missing. "
            "REGISTRATION_FOREIGN_LOGINS_ALLOWED = True removes this check."
        )


class APIError(RegistrationError):
    """An error that the client receives: ``{"detail": text, "code": code}`` with its status."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "bad-request"
    text: str = Message("Bad request.")
    headers: Mapping[str, str] = {}
    #: More members of the response; of the class, an example for the API description.
    members: Mapping[str, object] = {}

    def __init__(self, text: str | None = None) -> None:
        self.detail: str = text or self.text
        super().__init__(self.detail)


class EndpointDisabled(APIError):
    """The endpoint is switched off by a setting, or its flow is not active in this application."""

    status = 404
    code = "not-found"
    text: str = Message("This feature is not available.")


class SentFromOtherSite(APIError):
    """The browser says that another site sent the request, which it could do in the user's name."""

    status = 403
    code = "forbidden"
    text: str = Message("This form was sent from another site.")


class LinkRefused(APIError):
    """A link that is not valid.

    :ivar user_id: the account that it names, if it exists; for the security log, not for the
        client.
    """

    def __init__(self, text: str | None = None, *, user_id: str | None = None) -> None:
        super().__init__(text)
        self.user_id = user_id


class LinkInvalid(LinkRefused):
    """A link that was forged, made for another purpose, or used."""

    code = "signature-invalid"
    text: str = Message(
        "This link is not valid. It may have been used already, or been replaced by a newer one."
    )


class LinkExpired(LinkRefused):
    """A link that has expired."""

    code = "signature-expired"
    text: str = Message("This link has expired. Please ask for a new one.")


class LoginInvalid(APIError):
    """An unknown, pending or suspended account, or a wrong password: the same error for all."""

    code = "login-invalid"
    text: str = Message("Incorrect username, e-mail address or password.")


class NotVerified(APIError):
    """The right password of an account whose e-mail address is not verified yet.

    A client of ``/login/`` receives it only without ``PREVENT_ENUMERATION``.
    """

    code = "not-verified"
    text: str = Message(
        "Please confirm your e-mail address first. "
        "Check your inbox, or ask for a new confirmation e-mail."
    )


class NotAuthenticated(APIError):
    """No user is logged in."""

    status = 401
    code = "not-authenticated"
    text: str = Message("Please log in.")
    headers: Mapping[str, str] = {"WWW-Authenticate": "Bearer"}


class ReauthenticationRequired(APIError):
    """The login is not fresh, and the request has no password (RFC 9470)."""

    status = 401
    code = "reauthentication-required"
    text: str = Message("Please enter your password to continue.")
    headers: Mapping[str, str] = {
        "WWW-Authenticate": 'Bearer error="insufficient_user_authentication"'
    }


class StepRequired(APIError):
    """A credential was right, and the login needs one more step.

    :ivar step: the name of the step.
    :ivar challenge: the client sends it to the endpoint of the step.
    :ivar methods: the ways to do the step, for example ``["totp", "recovery-code"]``.
    """

    status = 401
    code = "step-required"
    text: str = Message("One more step is needed to log in.")
    headers: Mapping[str, str] = {"WWW-Authenticate": "Bearer"}
    members: Mapping[str, object] = {
        "step": "second-factor",
        "challenge": "gJq0fVtFfCkXbmzpJm5rlQ0mXSeTmvJnnqbHCtKJ2uE",
        "methods": ["totp", "recovery-code"],
    }

    def __init__(
        self, step: str, challenge: str, *, methods: Sequence[str] = (), **others: object
    ) -> None:
        super().__init__()
        self.step: str = step
        self.challenge: str = challenge
        self.methods: list[str] = [*methods]
        self.members = {
            "step": step,
            "challenge": challenge,
            "methods": self.methods,
            **others,
        }


class CodeInvalid(APIError):
    """A wrong code. The challenge stays valid, as long as it has tries left."""

    code = "code-invalid"
    text: str = Message("This code is not correct.")


class ChallengeInvalid(APIError):
    """A challenge that has expired, was used or has no tries left, or whose account has changed."""

    code = "challenge-invalid"
    text: str = Message("This is no longer valid. Please start again.")


class FactorExists(APIError):
    """The account has an active authenticator app. The user removes that one first."""

    code = "factor-exists"
    text: str = Message("Two-factor authentication is already on.")


class NoFactor(APIError):
    """The account has no second factor."""

    code = "no-factor"
    text: str = Message("Two-factor authentication is off.")


class NotApproved(APIError):
    """The right password of an account that waits for its approval."""

    status = 403
    code = "not-approved"
    text: str = Message(
        "Your account is waiting for approval. You will receive an e-mail when you can log in."
    )


class FactorRequired(APIError):
    """The account must have a second factor, so that it cannot be removed."""

    code = "factor-required"
    text: str = Message("Your account requires two-factor authentication.")


class EmailAlreadyRegistered(APIError):
    """Another account has the e-mail address. Only clients that verified it receive this error."""

    code = "email-already-registered"
    text: str = Message("This e-mail address is already in use.")


class AccountInUse(APIError):
    """Other rows of the database refer to this account."""

    code = "account-in-use"
    text: str = Message("This account cannot be deleted because other data depends on it.")


class LoginNotFound(APIError):
    """The current user has no session or token with this id."""

    status = 404
    code = "not-found"
    text: str = Message("This session does not exist.")


class NotAllowed(APIError):
    """The application does not allow this to the current user."""

    status = 403
    code = "not-allowed"
    text: str = Message("You are not allowed to do this.")


class InvitationNotFound(APIError):
    """The current user may see no open invitation with this id."""

    status = 404
    code = "not-found"
    text: str = Message("This invitation does not exist, or is no longer open.")


class ApprovalNotFound(APIError):
    """No account with this id waits for an approval."""

    status = 404
    code = "not-found"
    text: str = Message("This sign-up is not waiting for approval.")


class UserNotFound(APIError):
    """There is no such account. A client receives this only if a setting allows it.

    :ivar user: the account that was named, if it exists.
    :ivar reason: why it cannot be used; for the security log, not for the client.
    """

    code = "user-not-found"
    text: str = Message("User not found.")

    def __init__(
        self, text: str | None = None, *, user: object | None = None, reason: str | None = None
    ) -> None:
        super().__init__(text)
        self.user = user
        self.reason: str = reason or ("unknown" if user is None else "wrong")


class AccountUnusable(UserNotFound):
    """An account that is suspended, or was changed at the same moment.

    The endpoint returns the error of what has identified the account: its link, code or login.
    """


class UserWithoutEmailNonverifiable(APIError):
    """An account without an e-mail address cannot be verified."""

    code = "user-without-email-nonverifiable"
    text: str = Message("An account without an e-mail address cannot be verified.")


class Throttled(APIError):
    """Too many requests from this client, or about this account.

    :param wait: the seconds until the next request may succeed.
    """

    status = 429
    code = "throttled"
    text: str = Message("Too many requests. Please wait a little before you try again.")
    headers: Mapping[str, str] = {"Retry-After": "60"}

    def __init__(self, wait: float) -> None:
        super().__init__()
        self.headers = {"Retry-After": str(max(1, math.ceil(wait)))}


class GateRefused(APIError):
    """The solution of the captcha is wrong, has expired or was used.

    A gate raises it.
    """

    code = "captcha-invalid"
    text: str = Message("We could not verify that you are human. Please try again.")


class CaptchaRequired(GateRefused):
    """The request has no solution of a captcha."""

    code = "captcha-required"
    text: str = Message("Please confirm that you are human.")


class MailUnavailable(APIError):
    """The e-mail could not be sent, and nothing was stored: the client can try again."""

    status = 503
    code = "mail-unavailable"
    text: str = Message(
        "The e-mail could not be sent. Nothing was changed. Please try again in a minute."
    )
    headers: Mapping[str, str] = {"Retry-After": "60"}


class DatabaseUnavailable(APIError):
    """The database is down, or conflicts persist. Everything was stored, or nothing.

    (Nothing, unless the connection broke during the commit.)
    """

    status = 503
    code = "database-unavailable"
    text: str = Message(
        "The service is temporarily unavailable. Please try again in a few seconds."
    )
    headers: Mapping[str, str] = {"Retry-After": "5"}


class TooBusy(APIError):
    """Too many requests wait for the password hasher."""

    status = 503
    code = "too-busy"
    text: str = Message(
        "The service is temporarily unavailable. Please try again in a few seconds."
    )
    headers: Mapping[str, str] = {"Retry-After": "2"}


class DatabaseOutdated(DatabaseUnavailable):
    """The database lacks a column or a table of a model. Another try does not help."""

    text: str = Message(
        "The server encountered an internal error and was unable to complete your request. "
        "Either the server is overloaded or there is an error in the application."
    )
    headers: Mapping[str, str] = {}


DUPLICATES = {
    "username": Message("This username is already in use.", code="taken"),
    "email": Message("This e-mail address is already in use.", code="taken"),
}
DUPLICATE_FIELD = Message("This {field} is already in use.", code="taken")


REQUIRED = Message("This field is required.", code="required")


class MissingValue(RegistrationError, ValidationError):
    """The database needs values for these fields."""

    def __init__(self, fields: Sequence[str]) -> None:
        super().__init__({name: [REQUIRED] for name in fields})


class DuplicateValue(RegistrationError, ValidationError):
    """Other accounts have these values already.

    :ivar fields: the names of the fields.
    :ivar owner: the account with the e-mail address, if that is among them.
    :ivar holders: the accounts that have any of them.
    """

    def __init__(
        self, fields: Sequence[str], owner: object | None = None, holders: Sequence[object] = ()
    ) -> None:
        self.fields: tuple[str, ...] = tuple(fields)
        self.owner = owner
        self.holders: tuple[object, ...] = tuple(holders)
        super().__init__(
            {
                name: [DUPLICATES.get(name) or DUPLICATE_FIELD.format(field=name.replace("_", " "))]
                for name in fields
            }
        )
