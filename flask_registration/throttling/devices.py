"""Signed cookies, and known devices: browsers in which an account has logged in before.

Known devices have their own limits, so that guesses of others do not lock the owner out (OWASP,
"Slow Down Online Guessing Attacks with Device Cookies").
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask import Response, after_this_request, current_app, has_request_context, request
from itsdangerous import BadData, URLSafeTimedSerializer

COOKIE = "registration_device"

#: The kinds of names that a device remembers.
LOGIN, EMAIL = "login", "email"

#: How many names one device remembers.
MAX_NAMES = 20


def serializer(keys: Sequence[bytes], purpose: str) -> URLSafeTimedSerializer:
    """Return what signs a cookie or a token for a purpose, and verifies it."""
    return URLSafeTimedSerializer(
        keys,
        salt=f"flask-registration.{purpose}",
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
    )


@dataclass(frozen=True)
class SignedCookies:
    """Reads and sets signed cookies for one purpose. Outside a request there are none.

    :ivar keys: returns the keys, at each use. The oldest comes first, and the last one signs.
    :ivar period: how long a cookie is valid; zero for no cookies.
    :ivar purpose: a cookie is valid for this purpose only.
    """

    keys: Callable[[], Sequence[bytes]]
    period: timedelta
    purpose: str

    def load(self, name: str) -> Any:
        """Return what a cookie contains; None without a valid one."""
        cookie = request.cookies.get(name) if self.period and has_request_context() else None
        if not cookie:
            return None
        max_age = int(self.period.total_seconds())
        try:
            return serializer(self.keys(), self.purpose).loads(cookie, max_age=max_age)
        except (BadData, UnicodeError):
            return None

    def set(self, name: str, content: Any) -> None:
        """Set a cookie with the response of this request, as secure as that of the session."""
        if not (self.period and has_request_context()):
            return
        signed, config = serializer(self.keys(), self.purpose).dumps(content), current_app.config

        @after_this_request
        def set_on(response: Response) -> Response:
            response.set_cookie(
                name,
                signed,
                max_age=self.period,
                path=config["SESSION_COOKIE_PATH"] or config["APPLICATION_ROOT"],
                domain=config["SESSION_COOKIE_DOMAIN"],
                secure=config["SESSION_COOKIE_SECURE"],
                samesite=config["SESSION_COOKIE_SAMESITE"] or "Lax",
                partitioned=config["SESSION_COOKIE_PARTITIONED"],
                httponly=True,
            )
            return response


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
