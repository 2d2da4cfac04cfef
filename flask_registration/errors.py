"""Everything that can go wrong, one tree: each error knows its status, its code and its text.

A field that does not validate is marshmallow's ``ValidationError``; these are all the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

from .messages import Message


class RegistrationError(Exception):
    """The root of the tree."""


class Problem(NamedTuple):
    """One thing that is wrong with a configuration."""

    setting: str
    cure: str


class ConfigurationError(RegistrationError):
    """The application cannot start like this; the message lists every problem, each with its cure."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        lines = [f"  {setting}: {cure}" for setting, cure in self.problems]
        super().__init__("\n".join([f"Flask-Registration found {count} in the configuration.", *lines]))


class APIError(RegistrationError):
    """An error that the client is told: ``{"detail": text, "code": code}`` with its status."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "bad-request"
    text: ClassVar[str] = Message("Bad request.")
    headers: Mapping[str, str] = {}

    def __init__(self, text: str | None = None) -> None:
        self.detail: str = text or self.text
        super().__init__(self.detail)


class LinkRefused(APIError):
    """A mailed link that is not good.

    :ivar user_id: the account that it names, where there is one; for the security log, not for the client.
    """

    def __init__(self, text: str | None = None, *, user_id: str | None = None) -> None:
        super().__init__(text)
        self.user_id = user_id


class LinkInvalid(LinkRefused):
    """A mailed link that was forged, meant for something else, or already used."""

    code = "signature-invalid"
    text: ClassVar[str] = Message(
        "This link is not valid. It may have been used already, or been replaced by a newer one."
    )


class LinkExpired(LinkRefused):
    """A mailed link that was good once."""

    code = "signature-expired"
    text: ClassVar[str] = Message("This link has expired. Please ask for a new one.")


class LoginInvalid(APIError):
    """No such account, a wrong password, or a suspended account: all alike."""

    code = "login-invalid"
    text: ClassVar[str] = Message("Login or password invalid.")


class NotVerified(APIError):
    """The right password of an account whose address has not been proven yet."""

    code = "not-verified"
    text: ClassVar[str] = Message("Please confirm your e-mail address first. We can send you the mail again.")


class NotAuthenticated(APIError):
    """Nobody is logged in."""

    status = 401
    code = "not-authenticated"
    text: ClassVar[str] = Message("Please log in.")
    headers: Mapping[str, str] = {"WWW-Authenticate": "Bearer"}


class ReauthenticationRequired(APIError):
    """The login is not fresh enough for this, and no password came with it (RFC 9470)."""

    status = 401
    code = "reauthentication-required"
    text: ClassVar[str] = Message("Please confirm this with your password.")
    headers: Mapping[str, str] = {"WWW-Authenticate": 'Bearer error="insufficient_user_authentication"'}


class EmailAlreadyRegistered(APIError):
    """Somebody else has the address; told to those only who have proven that it is theirs."""

    code = "email-already-registered"
    text: ClassVar[str] = Message("This e-mail address is already registered.")


class AccountInUse(APIError):
    """The database keeps other rows that need this account."""

    code = "account-in-use"
    text: ClassVar[str] = Message("This account cannot be deleted because something else depends on it.")


class LoginNotFound(APIError):
    """None of one's own sessions and tokens has this number."""

    status = 404
    code = "not-found"
    text: ClassVar[str] = Message("There is no such login.")


class UserNotFound(APIError):
    """No such account; told to a client only where a setting asks for it.

    :ivar user: the account that was named, if there is one.
    :ivar reason: why it will not do, for the security log, not for the client.
    """

    code = "user-not-found"
    text: ClassVar[str] = Message("User not found.")

    def __init__(self, text: str | None = None, *, user: object | None = None, reason: str | None = None) -> None:
        super().__init__(text)
        self.user = user
        self.reason: str = reason or ("unknown" if user is None else "wrong")


class UserWithoutEmailNonverifiable(APIError):
    """An account without an address has nothing that could be verified."""

    code = "user-without-email-nonverifiable"
    text: ClassVar[str] = Message("An account without an e-mail address cannot be verified.")


class Throttled(APIError):
    """This client has asked too often, or too many have asked about this account.

    :param wait: the seconds until the next request may pass.
    """

    status = 429
    code = "throttled"
    text: ClassVar[str] = Message("Too many requests. Please wait a little before you try again.")

    def __init__(self, wait: float) -> None:
        super().__init__()
        self.headers: Mapping[str, str] = {"Retry-After": str(max(1, math.ceil(wait)))}


class MailUnavailable(APIError):
    """The mail could not be handed over, and nothing was kept: the client may simply try again."""

    status = 503
    code = "mail-unavailable"
    text: ClassVar[str] = Message("The mail could not be sent. Nothing was changed; please try again in a minute.")
    headers: Mapping[str, str] = {"Retry-After": "60"}


class DatabaseUnavailable(APIError):
    """The database is down, or gave way to others again and again: all that was asked for was done, or none of it.

    (None, unless the connection broke while the commit was under way.)
    """

    status = 503
    code = "database-unavailable"
    text: ClassVar[str] = Message("The database did not answer just now. Please try again.")
    headers: Mapping[str, str] = {"Retry-After": "5"}


class FieldTaken(RegistrationError):
    """The database holds these values already.

    :ivar fields: names of the attributes whose value is taken; empty where the database did not say which.
    :ivar owner: the account that has the e-mail address, where that is among them.
    :ivar holders: the accounts that have any of them.
    """

    def __init__(self, fields: Sequence[str], owner: object | None = None, holders: Sequence[object] = ()) -> None:
        self.fields: tuple[str, ...] = tuple(fields)
        self.owner = owner
        self.holders: tuple[object, ...] = tuple(holders)
        super().__init__(f"taken: {', '.join(fields) or 'a constraint'}")
