"""Browsers that need no second factor for a while."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from flask import has_request_context, request
from itsdangerous import BadData

from ...throttling.devices import serializer, set_cookie


@dataclass(frozen=True)
class TrustedBrowsers:
    """Browsers that need no second factor for a while, by a signed cookie for each account.

    The cookie is bound to the security stamp: what ends the other sessions ends it, too.

    :ivar keys: returns the keys, at each use. The oldest comes first, and the last one signs.
    :ivar period: how long a browser is trusted; zero for never.
    """

    keys: Callable[[], Sequence[bytes]]
    period: timedelta

    def is_trusted(self, user_id: str, stamp: str) -> bool:
        """Return whether this browser is trusted for an account.

        :param stamp: the digest of its security stamp.
        """
        cookie = request.cookies.get(_trust_cookie(user_id)) if has_request_context() else None
        if not (self.period and cookie):
            return False
        max_age = int(self.period.total_seconds())
        try:
            content: object = serializer(self.keys(), "trust").loads(cookie, max_age=max_age)
        except (BadData, UnicodeError):
            return False
        return content == [user_id, stamp]

    def trust(self, user_id: str, stamp: str) -> None:
        """Trust this browser, with the response of this request."""
        if self.period and has_request_context():
            content = serializer(self.keys(), "trust").dumps([user_id, stamp])
            set_cookie(_trust_cookie(user_id), content, self.period)


def _trust_cookie(user_id: str) -> str:
    return f"registration_trust_{hashlib.sha256(user_id.encode()).hexdigest()[:8]}"
