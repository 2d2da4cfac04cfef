"""Known devices: browsers in which an account has logged in before.

They have their own limits, so that guesses of others do not lock the owner out (OWASP, "Slow Down
Online Guessing Attacks with Device Cookies").
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from .signed_cookies import SignedCookies

COOKIE = "registration_device"

#: The kinds of names that a device remembers.
LOGIN, EMAIL = "login", "email"

#: How many names one device remembers.
MAX_NAMES = 20


@dataclass(frozen=True)
class Devices(SignedCookies):
    """Finds and remembers the device of the current request.

    Its cookie contains a random id, new in each browser, and digests of the names of accounts that
    have logged in, the last one first. The period is how long a device stays known.
    """

    purpose: str = "device"

    def find(self, name: str, kind: str = LOGIN) -> str | None:
        """Return the id of the device, if an account with this name has logged in there."""
        device, known = self.load(COOKIE) or ("", [])
        return device if _digest(device, name, kind) in known else None

    def remember(self, names: Iterable[str], emails: Iterable[str] = ()) -> None:
        """Add the names of an account to the cookie, with the response of this request.

        :param names: its login names.
        :param emails: its verified e-mail addresses.
        """
        device, known = self.load(COOKIE) or (secrets.token_hex(16), [])
        added = [_digest(device, name, LOGIN) for name in names]
        added += [_digest(device, email, EMAIL) for email in emails]
        kept = [each for each in known if each not in added]
        self.set(COOKIE, [device, [*added, *kept][:MAX_NAMES]])


def _digest(device: str, name: str, kind: str) -> str:
    """Return the digest of a name, which differs from that of another device or kind."""
    content = f"{kind} {device} {name}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(content).hexdigest()[:16]
