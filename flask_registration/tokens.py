"""Tokens: what a client without cookies shows instead."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Protocol, runtime_checkable

from itsdangerous import BadSignature, URLSafeTimedSerializer

from .errors import NotAuthenticated
from .links import is_canonical
from .logins import LoginStore
from .users import User, UserStore, next_stamp, stamp_mark


class TokenManager(Protocol):
    """What ``REGISTRATION_AUTH_TOKEN_MANAGER_CLASS`` provides; it is made without arguments."""

    def provide_token(self, user: User) -> str:
        """A token for this user."""

    def find_user(self, token: str) -> User | None:
        """Whose token this is, if it is any good."""

    def revoke_token(self, user: User, *, token: str | None = None) -> None:
        """End this token of the user, or all of them."""


@runtime_checkable
class DatedTokenManager(Protocol):
    """A token manager that knows how long ago the password was shown for a token: it need not be shown again soon."""

    def provide_token(self, user: User, *, fresh: bool = True) -> str:
        """A token for this user.

        :param fresh: whether they have just shown the password.
        """

    def age(self, token: str) -> float | None:
        """Seconds since the password was shown for this token; None if it was not."""


class SignedTokenManager:
    """Tokens without a table: signed, expiring, and bound to the account's security stamp.

    One alone cannot be revoked; revoking changes the stamp, which ends every session and token of that user.

    :param keys: called at each use; oldest first, the last one signs.
    """

    def __init__(self, keys: Callable[[], Sequence[str | bytes]], users: UserStore, period: timedelta) -> None:
        self._keys = keys
        self._users = users
        self._period = period.total_seconds()

    def provide_token(self, user: User, *, fresh: bool = True) -> str:
        return self._serializer().dumps([self._users.identifier(user), stamp_mark(self._users.state(user)), fresh])

    def find_user(self, token: str) -> User | None:
        try:
            identifier, mark, _ = self._load(token, max_age=int(self._period))
        except BadSignature:
            return None
        user = self._users.get(identifier)
        return user if user is not None and mark == stamp_mark(self._users.state(user)) else None

    def revoke_token(self, user: User, *, token: str | None = None) -> None:
        seen = self._users.state(user)
        if not self._users.change(user, seen, {"security_stamp": next_stamp(seen.security_stamp)}):
            raise NotAuthenticated  # suspended or changed this very moment: the token may be good again some day

    def age(self, token: str) -> float | None:
        try:
            (*_, fresh), signed_at = self._load(token, return_timestamp=True)
        except BadSignature:
            return None
        return time.time() - float(signed_at.timestamp()) if fresh else None

    def _load(self, token: str, **options: Any) -> Any:
        """What a token carries.

        :raises itsdangerous.BadSignature: forged, too old, or not spelt as we do.
        """
        loaded = self._serializer().loads(token, **options)
        if not is_canonical(token.rpartition(".")[2]):
            raise BadSignature("Not the signature as it was given away.")
        return loaded

    def _serializer(self) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(
            [key.encode() if isinstance(key, str) else key for key in self._keys()],
            salt="flask-registration.token",
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )


class StoredTokenManager:
    """Tokens as rows of the login model: only a digest is kept, and each can be ended by itself."""

    def __init__(self, logins: LoginStore) -> None:
        self._logins = logins

    def provide_token(self, user: User, *, fresh: bool = True) -> str:
        return self._logins.begin(user, "token", fresh=fresh)

    def find_user(self, token: str) -> User | None:
        return self._logins.find_user(token, "token")

    def revoke_token(self, user: User, *, token: str | None = None) -> None:
        if token is None:
            self._logins.end_all(user, kind="token")
        else:
            self._logins.end_secret(user, token)

    def age(self, token: str) -> float | None:
        return self._logins.age(token)
