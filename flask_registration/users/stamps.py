"""Security stamps: a new one ends the sessions, tokens and links of an account."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from datetime import timedelta
from typing import NamedTuple

#: The maximum length of a security stamp.
STAMP_LENGTH = 32

#: The length of a token that this module has made.
TOKEN_LENGTH = 22

#: How many characters of a token the next stamps keep. 96 bits are new in each stamp.
KEPT = 6

#: How many characters of a token links are bound to. The others, 48 bits, are for sessions only.
LINKED = 14


class UserSnapshot(NamedTuple):
    """The values that links and sessions may be bound to."""

    email: str | None
    password_hash: str | None
    is_verified: bool
    is_active: bool
    security_stamp: str

    @property
    def is_pending(self) -> bool:
        """Return whether the account waits for its verification."""
        return self.is_active and not self.is_verified and bool(self.email)


#: What an e-mail or a link without an account is made from.
NO_ACCOUNT = UserSnapshot(None, None, is_verified=False, is_active=False, security_stamp="")


class SecurityStamp(NamedTuple):
    """The parts of a security stamp, written as ``<token>`` or ``<token>~<time>``.

    :ivar token: 132 random bits, or a value of the application, or a password hash. The next stamps
        keep its first characters, until an administrator or an e-mail change replaces them.
    :ivar email_changed_at: the time of an e-mail change that can be undone, in seconds since the
        epoch.
    """

    token: str
    email_changed_at: int | None = None

    @classmethod
    def parse(cls, stamp: str | None) -> SecurityStamp:
        """Read a stamp. A value of the application has no time; a row may have none."""
        match = re.fullmatch(r"([\w-]{22})~([0-9a-f]{8,9})", stamp or "", re.ASCII)
        return cls(match[1], int(match[2], 16)) if match else cls(stamp or "")

    @property
    def prefix(self) -> str:
        """Return what the next stamps keep. A stamp of the application may have none."""
        return re.split(r"[^\w-]", self.token[:KEPT], maxsplit=1, flags=re.ASCII)[0]

    @property
    def for_links(self) -> tuple[str, int | None]:
        """Return what links are bound to: it stays if only sessions and tokens end."""
        is_generated = len(self.token) == TOKEN_LENGTH
        return self.token[:LINKED] if is_generated else self.token, self.email_changed_at

    @property
    def email_change(self) -> str | None:
        """Return what all stamps have in common from an e-mail change until it is undone.

        The random characters distinguish the changes of one second.
        """
        changed_at = self.email_changed_at
        return None if changed_at is None else f"{self.token[:KEPT]}~{changed_at}"

    def __str__(self) -> str:
        changed_at = self.email_changed_at
        return self.token if changed_at is None else f"{self.token}~{changed_at:08x}"


def digest_of(text: str) -> str:
    """Return a digest of a text, for example of a secret that a table must not contain."""
    return hashlib.sha256(text.encode()).hexdigest()


def stamp_digest(snapshot: UserSnapshot) -> str:
    """Return the digest of the stamp and the verification flag that sessions and tokens contain."""
    return digest_of(f"{snapshot.security_stamp} {snapshot.is_verified}")[:32]


def link_digest(snapshot: UserSnapshot) -> str:
    """Return the digest of the stamp and the verification flag that links are bound to."""
    bound = SecurityStamp.parse(snapshot.security_stamp).for_links
    return digest_of(f"{bound} {snapshot.is_verified}")[:32]


def new_stamp() -> str:
    """Return a stamp that also ends the link that undoes an e-mail change.

    Use it for what an administrator does: an attacker may have that link.
    """
    return str(SecurityStamp(_token()))


def next_stamp(stamp: str | None, *, can_undo: bool = True) -> str:
    """Return another security stamp, which ends the sessions, tokens and links of its account.

    Use it in ``revoke_token`` of a token manager, for example. The link that undoes an e-mail
    change stays valid, so that an attacker with the account cannot end it.

    :param can_undo: whether that link stays valid.
    """
    parts = SecurityStamp.parse(stamp)
    token = parts.prefix + _token()[len(parts.prefix) :]
    return str(SecurityStamp(token, parts.email_changed_at if can_undo else None))


def stamp_without_logins(stamp: str | None) -> str:
    """Return another security stamp, which ends the sessions and tokens of its account.

    Links in e-mails stay valid, unless the stamp is a value of the application.
    """
    parts = SecurityStamp.parse(stamp)
    if len(parts.token) != TOKEN_LENGTH:
        return next_stamp(stamp)
    return str(parts._replace(token=parts.token[:LINKED] + _token()[LINKED:]))


def stamp_after_email_change() -> str:
    """Return a stamp that keeps the time of an e-mail change."""
    return str(SecurityStamp(_token(), int(time.time())))


def changed_email_within(stamp: str, period: timedelta) -> bool:
    """Return whether the e-mail address changed within this time and the change was not undone."""
    changed_at = SecurityStamp.parse(stamp).email_changed_at
    return changed_at is not None and 0 <= time.time() - changed_at <= period.total_seconds()


def _token() -> str:
    return secrets.token_urlsafe(17)[:TOKEN_LENGTH]
