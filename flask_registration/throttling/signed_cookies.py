"""Signed cookies, each for one purpose."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask import Response, after_this_request, current_app, has_request_context, request
from itsdangerous import BadData, URLSafeTimedSerializer


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
