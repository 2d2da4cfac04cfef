"""Security stamps: a new one ends the sessions, tokens and links of an account."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from datetime import timedelta
from typing import NamedTuple


class UserSnapshot(NamedTuple):
    """What a link or a session is bound to: it becomes invalid when one of these values changes."""

    email: str | None
    password_hash: str | None
    is_verified: bool
    is_active: bool
    security_stamp: str

    @property
    def is_pending(self) -> bool:
        """Whether the account waits for its verification."""
        return self.is_active and not self.is_verified and bool(self.email)


def stamp_digest(snapshot: UserSnapshot) -> str:
    """Return what a session or a token carries of the security stamp: a digest, not the stamp."""
    return hashlib.sha256(snapshot.security_stamp.encode()).hexdigest()[:32]


def new_stamp() -> str:
    """Return a security stamp of 32 hexadecimal digits.

    All are random but the first, which says that there was no recent e-mail change.
    """
    return f"f{secrets.token_hex(16)[1:]}"


def next_stamp(stamp: str) -> str:
    """Return another security stamp, which ends the sessions, tokens and links of its account.

    Use it in ``revoke_token`` of a token manager, for example. The link that undoes an e-mail change stays
    valid: it is bound to the first half of the stamp, which an attacker with the account cannot change.
    """
    return email_change_part(stamp) + secrets.token_hex(8)


def rotate_on_verification(stamp: str) -> str:
    """Return another stamp with the same second half, to which the verification link is bound.

    The link can be opened again; everything else from before the verification ends.
    """
    return new_stamp()[:16] + verification_part(stamp)


def rotate_on_email_change() -> str:
    """Return a stamp that keeps the time of an e-mail change."""
    return f"{int(time.time()):08x}{secrets.token_hex(12)}"


def changed_email_within(stamp: str, period: timedelta) -> bool:
    """Return whether the e-mail address changed within this time and the change was not undone."""
    return is_stamp(stamp) and 0 <= time.time() - int(stamp[:8], 16) <= period.total_seconds()


def email_change_part(stamp: str) -> str:
    """Return the part of a stamp that stays until the next e-mail change or its undo."""
    return _normalized(stamp)[:16]


def verification_part(stamp: str) -> str:
    """Return the part of a stamp that stays when the user verifies the e-mail address."""
    return _normalized(stamp)[16:]


def _normalized(stamp: str) -> str:
    """Return a stamp of this module; for a stamp of the application or a password hash, a digest."""
    return stamp if is_stamp(stamp) else f"f{hashlib.sha256(stamp.encode()).hexdigest()[:31]}"


def is_stamp(stamp: str) -> bool:
    """Return whether a stamp was made by this module."""
    return re.fullmatch("[0-9a-f]{32}", stamp) is not None
