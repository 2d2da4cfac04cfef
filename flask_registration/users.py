"""What we need of a user and of the place that keeps users; normal forms of an e-mail address and a username."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from email_validator import EmailNotValidError, validate_email

from .library_texts import INVALID_ADDRESS
from .messages import plural

#: RFC 5321 section 4.5.3.1.3: a path has 256 octets, two of them angle brackets.
EMAIL_MAX_LENGTH = 254


class User(Protocol):
    """An instance of the application's model; which attribute is which, the ``USER_`` settings say."""


class UserState(NamedTuple):
    """What a mailed link or a session can be bound to: it dies when one of these changes."""

    email: str | None
    password_hash: str | None
    is_verified: bool
    is_active: bool
    security_stamp: str


class UserStore(Protocol):
    """Keeps users. Uniqueness is the store's to decide, and a look-up compares exactly."""

    def build(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values as they are stored: names and addresses in their normal form.

        :raises marshmallow.ValidationError: with a message for each field that is no name or no address.
        """

    def create(self, values: Mapping[str, Any], *, password_hash: str, verified: bool) -> User:
        """A user that is not stored yet, with every default in place."""

    def nobody(self) -> User:
        """A user who is not there and never shall be, in about the time that it takes to load one."""

    def add(self, user: User, *, savepoint: bool = False) -> None:
        """Store a new user, without committing.

        :param savepoint: leave the caller's transaction usable when the values are taken.
        :raises FieldTaken: another user has one of the unique values.
        """

    def commit(self) -> None:
        """Make everything since the last commit last."""

    def rollback(self) -> None:
        """Drop everything since the last commit."""

    def release(self) -> None:
        """End the transaction in which something was read; that stays as it was, and changes to it are dropped."""

    def close(self) -> None:
        """Let go of what was read, as it was; what was not committed is dropped. A broken connection is no error."""

    def get(self, identifier: object) -> User | None:
        """The user with this verification id, given as a link has it: text or a whole number."""

    def find(self, field: str, value: str) -> Sequence[User]:
        """The users whose field has exactly this value, in its normal form; none for what can't be one."""

    def unverified(self, before: datetime) -> Sequence[str]:
        """The verification ids of the users who joined before this time and have neither been verified nor used since.

        The oldest first; none where nobody knows when they joined.
        """

    def lookup(self, field: str, value: str) -> tuple[str, Any] | None:
        """The column in which a field's value is looked for, and its normal form; None for what no user can have."""

    def state(self, user: User) -> UserState:
        """The user as links and sessions see them."""

    def identifier(self, user: User) -> str:
        """The verification id as text."""

    def inputs(self, values: Mapping[str, Any]) -> list[str]:
        """The texts in a user's data that must not make up their password."""

    def check_free(self, user: User) -> None:
        """See whether a user could be added now; only adding them says so for sure.

        :raises FieldTaken: another user has one of the unique values.
        """

    def change(
        self, user: User, seen: UserState, changes: Mapping[str, Any], *, expecting: Mapping[str, Any] | None = None
    ) -> bool:
        """Write these columns, and only these, if the account is still as it was seen, in one statement.

        That is: the same address and security stamp, and not suspended. Of any number of parallel ones one succeeds
        where it changes what it is bound to.

        :param changes: by the names of :class:`UserState` where it has one, else by the columns' own.
        :param expecting: what must hold as well, named in the same way.
        :raises FieldTaken: another user has one of the unique values.
        """

    def delete(self, user: User) -> None:
        """Remove a user, without committing.

        :raises FieldTaken: other rows need this one.
        """


def stamp_mark(state: UserState) -> str:
    """What a session or a token carries of the security stamp: enough to tell it from any other, not the stamp."""
    return hashlib.sha256(state.security_stamp.encode()).hexdigest()[:32]


def new_stamp() -> str:
    """A security stamp, 32 hexadecimal digits: random but for the first, which says that no move is recent."""
    return f"f{secrets.token_hex(16)[1:]}"


def next_stamp(stamp: str) -> str:
    """Another security stamp, which ends the sessions, tokens and mailed links of an account that gets it.

    For ``revoke_token`` of a token manager, say. One link lives on: that which undoes a move to another address is
    bound to the stamp's first half, which stays, so that it outlives whatever a thief of the account changes next.
    """
    return lineage(stamp) + secrets.token_hex(8)


def stamp_of_proof(stamp: str) -> str:
    """Another stamp with the same second half: what the link that proves an address is bound to.

    So that link may be opened again, while everything that was there before the proof ends, undoing a move too.
    """
    return new_stamp()[:16] + unproven(stamp)


def stamp_of_move() -> str:
    """A stamp of a new lineage, which keeps the time at which the account moved to another address."""
    return f"{int(time.time()):08x}{secrets.token_hex(12)}"


def moved_within(stamp: str, period: timedelta) -> bool:
    """Whether the account moved within this time, and nobody has undone it."""
    return is_stamp(stamp) and 0 <= time.time() - int(stamp[:8], 16) <= period.total_seconds()


def lineage(stamp: str) -> str:
    """What stays of a stamp until the next move or until one is undone."""
    return _ours(stamp)[:16]


def unproven(stamp: str) -> str:
    """What stays of a stamp when its owner proves the address, and only then."""
    return _ours(stamp)[16:]


def _ours(stamp: str) -> str:
    """A stamp as we make them; of an application's own, or of a password's hash in its place, a digest."""
    return stamp if is_stamp(stamp) else f"f{hashlib.sha256(stamp.encode()).hexdigest()[:31]}"


def is_stamp(stamp: str) -> bool:
    """Whether this is a stamp of ours, not an application's own."""
    return re.fullmatch("[0-9a-f]{32}", stamp) is not None


def email_key(address: str, *, test_environment: bool) -> str:
    """The form in which an address is stored and looked up: normalised, all of it in lower case.

    :param test_environment: let the reserved domain ``test`` (RFC 2606) pass.
    :raises ValueError: with a sentence for the person who typed it.
    """
    if len(address) > EMAIL_MAX_LENGTH:
        raise ValueError(
            plural(
                "An e-mail address has at most {count} character.",
                "An e-mail address has at most {count} characters.",
                EMAIL_MAX_LENGTH,
                code="too-long",
            )
        )
    try:
        valid = validate_email(
            address, check_deliverability=False, allow_smtputf8=False, test_environment=test_environment
        )
    except EmailNotValidError as error:
        raise ValueError(INVALID_ADDRESS.about(str(error))) from None
    return valid.normalized.lower()


def mail_address(address: str) -> str:
    """A stored address as a mail server takes it, its domain in ASCII by IDNA 2008.

    (Flask-Mail would convert by IDNA 2003, where ``ß`` becomes ``ss``: somebody else's domain.)
    """
    if address.isascii():
        return address
    try:
        valid = validate_email(address, test_environment=True)  # which looks nothing up
    except EmailNotValidError:
        return address
    return valid.ascii_email or address


def nfkc(name: str) -> str:
    """A username with its compatibility characters folded: ``ａｌｉｃｅ`` is ``alice`` (Unicode NFKC)."""
    return unicodedata.normalize("NFKC", name)


def username_key(name: str) -> str:
    """The form in which usernames are compared: NFKC, without case (Unicode 3.13, D146)."""
    return nfkc(nfkc(name).casefold())
