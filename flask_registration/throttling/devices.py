"""Known devices: browsers in which an account has logged in before.

They have their own limits, so that guesses of others do not lock the owner out (OWASP, "Slow Down
Online Guessing Attacks with Device Cookies").
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from flask import Response, after_this_request, current_app, has_request_context, request
from itsdangerous import BadData, URLSafeTimedSerializer

COOKIE = "registration_device"

#: The kinds of names that a device remembers.
LOGIN, EMAIL = "login", "email"

#: How many names one device remembers.
MAX_NAMES = 20


class Device(NamedTuple):
    """What a cookie contains.

    :ivar id: random, new in each browser.
    :ivar names: digests of the names of accounts that have logged in, the last one first.
    """

    id: str
    names: list[str]

    def digest(self, name: str, kind: str) -> str:
        """Return the digest of a name, which differs from that of another device or kind."""
        return hashlib.sha256(f"{kind} {self.id} {name}".encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Devices:
    """Finds and remembers the device of the current request, by a signed cookie.

    :ivar keys: returns the keys, at each use. The oldest comes first, and the last one signs.
    :ivar period: how long a device stays known; zero for never.
    """

    keys: Callable[[], Sequence[bytes]]
    period: timedelta

    def find(self, name: str, kind: str = LOGIN) -> str | None:
        """Return the id of the device, if an account with this name has logged in there."""
        device = self._load()
        return device.id if device and device.digest(name, kind) in device.names else None

    def remember(self, names: Iterable[str], emails: Iterable[str] = ()) -> None:
        """Add the names of an account to the cookie, with the response of this request.

        :param names: its login names.
        :param emails: its verified e-mail addresses.
        """
        if not (self.period and has_request_context()):
            return
        device = self._load() or Device(secrets.token_hex(16), [])
        added = [device.digest(name, LOGIN) for name in names]
        added += [device.digest(email, EMAIL) for email in emails]
        kept = [name for name in device.names if name not in added]
        content = self._serializer().dumps([device.id, [*added, *kept][:MAX_NAMES]])
        set_cookie(COOKIE, content, self.period)

    def _load(self) -> Device | None:
        cookie = request.cookies.get(COOKIE) if self.period and has_request_context() else None
        if not cookie:
            return None
        try:
            content = self._serializer().loads(cookie, max_age=int(self.period.total_seconds()))
            return Device(*content)
        except (BadData, UnicodeError):
            return None

    def _serializer(self) -> URLSafeTimedSerializer:
        return serializer(self.keys(), "device")


def set_cookie(name: str, content: str, max_age: timedelta) -> None:
    """Set a cookie with the response of this request, as secure as that of the session."""
    config = current_app.config

    @after_this_request
    def set_on(response: Response) -> Response:
        response.set_cookie(
            name,
            content,
            max_age=max_age,
            path=config["SESSION_COOKIE_PATH"] or config["APPLICATION_ROOT"],
            domain=config["SESSION_COOKIE_DOMAIN"],
            secure=config["SESSION_COOKIE_SECURE"],
            samesite=config["SESSION_COOKIE_SAMESITE"] or "Lax",
            partitioned=config["SESSION_COOKIE_PARTITIONED"],
            httponly=True,
        )
        return response


def serializer(keys: Sequence[bytes], purpose: str) -> URLSafeTimedSerializer:
    """Return what signs a cookie for a purpose, and verifies it."""
    return URLSafeTimedSerializer(
        keys,
        salt=f"flask-registration.{purpose}",
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
    )
