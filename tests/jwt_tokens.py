"""Tokens by Flask-JWT-Extended in place of ours.

``REGISTRATION_AUTH_TOKEN_MANAGER_CLASS = "tests.jwt_tokens.JWTTokens"``, and ``JWTManager(app)``.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from flask_jwt_extended import create_access_token, decode_token
from flask_jwt_extended.exceptions import JWTExtendedException
from jwt import PyJWTError

from flask_registration import current_registration
from flask_registration.users.stamps import stamp_digest


class JWTTokens:
    """Provides, finds and revokes JSON Web Tokens. With several processes, keep the two sets in
    Redis, say."""

    def __init__(self) -> None:
        self.issued: defaultdict[str, set[str]] = defaultdict(set)
        self.revoked: set[str] = set()

    def provide_token(self, user: Any) -> str:
        """A token for this user, bound to the security stamp, so that a new password ends it."""
        identity = current_registration.users.identifier(user)
        token: str = create_access_token(identity, additional_claims={"mark": _mark(user)})
        self.issued[identity].add(decode_token(token)["jti"])
        return token

    def find_user(self, token: str) -> Any | None:
        """Whose token this is, if it is any good."""
        claims = _claims(token)
        if claims is None or claims["jti"] in self.revoked:
            return None
        user = current_registration.users.get(claims["sub"])
        return user if user is not None and claims.get("mark") == _mark(user) else None

    def revoke_token(self, user: Any, *, token: str | None = None) -> None:
        """End this token of the user, or all of them."""
        if token is None:
            self.revoked |= self.issued.pop(current_registration.users.identifier(user), set())
        elif claims := _claims(token):
            self.revoked.add(claims["jti"])


def _claims(token: str) -> dict[str, Any] | None:
    """What an access token says; None if it is forged, has expired, or is no access token."""
    try:
        claims: dict[str, Any] = decode_token(token)
    except (PyJWTError, JWTExtendedException):
        return None
    return claims if claims["type"] == "access" else None


def _mark(user: Any) -> str:
    return stamp_digest(current_registration.users.snapshot(user))
