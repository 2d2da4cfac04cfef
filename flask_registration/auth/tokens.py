"""Tokens, and login sessions (sessions and tokens) as rows of the database."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol, runtime_checkable

from itsdangerous import BadSignature, URLSafeTimedSerializer
from sqlalchemy import DateTime, String, select, update
from sqlalchemy import inspect as sqlalchemy_inspect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapped, Session, mapped_column

from ..i18n.languages import current_request
from ..request_state import CurrentLogin, client_address, request_state
from ..throttling.signed_cookies import serializer
from ..users.identifiers import parse_identifier
from ..users.mixins import BIG_KEY, as_utc, utc_now
from ..users.stamps import digest_of, next_stamp, stamp_digest
from ..users.store import User, UserStore
from .links import is_canonical
from .rows import ExpiringRows

Kind = Literal["session", "token"]

#: The precision of the time of the last use. It is not written more often.
LAST_USE_PRECISION = timedelta(minutes=1)


def use_precision(idle: timedelta | None) -> timedelta:
    """Return how exact the time of the last use is, for an idle period."""
    return LAST_USE_PRECISION if idle is None else min(LAST_USE_PRECISION, idle / 4)


class LoginMixin:
    """The columns of a session or a token: ``class Login(LoginMixin, db.Model)``.

    ``user_id`` is the user's verification id as text. The application can redeclare it as a foreign
    key.
    """

    __registration_role__ = "login"

    id: Mapped[int] = mapped_column(BIG_KEY, primary_key=True)
    user_id: Mapped[Any] = mapped_column(String(255), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    stamp_mark: Mapped[str] = mapped_column(String(32))
    methods: Mapped[str | None] = mapped_column(String(64))
    fresh_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    name: Mapped[str | None] = mapped_column(String(150))
    scopes: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
    last_used_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ip_address: Mapped[str | None] = mapped_column(String(45))
    user_agent: Mapped[str | None] = mapped_column(String(255))


@dataclass(eq=False)
class LoginStore(ExpiringRows):
    """Stores sessions and tokens, with digests of their secrets. Each can be revoked on its own.

    The table alone lets no one log in.

    :ivar periods: how long a login session of each kind is valid.
    :ivar idle: how long one may be unused, or None.
    """

    periods: Mapping[Kind, timedelta]
    idle: timedelta | None

    def begin(
        self,
        user: User,
        kind: Kind,
        *,
        methods: str = "",
        fresh_at: float | None = None,
        commit: bool = False,
    ) -> str:
        """Add a login session. Return its secret, 256 random bits.

        :param methods: how the user has logged in, as words of RFC 8176 with spaces between them.
        :param fresh_at: when the client showed a credential, in seconds since the epoch.
        :param commit: use a transaction of its own; otherwise the caller commits.
        """
        secret, now = secrets.token_urlsafe(32), utc_now()
        current = current_request()
        login = self.model(
            user_id=self.key(user),
            kind=kind,
            methods=methods or None,
            fresh_at=None if fresh_at is None else datetime.fromtimestamp(fresh_at, UTC),
            digest=digest_of(secret),
            stamp_mark=stamp_digest(self.users.snapshot(user)),
            created_at=now,
            expires_at=now + self.periods[kind],
            last_used_at=now,
            ip_address=_printable(client_address(), 45),
            user_agent=current and _printable(current.user_agent.string, 255),
        )
        if commit:
            bind = self.db.session.get_bind(sqlalchemy_inspect(self.model))
            with Session(bind, expire_on_commit=False) as session:
                session.add(login)
                session.commit()
        else:
            self.db.session.add(login)
            self.db.session.flush()
        if kind == "session":
            request_state().login = CurrentLogin(digest_of(secret), methods, fresh_at)
        return secret

    def drop(self, secret: str) -> None:
        """Delete the login session with this secret, without committing."""
        self.delete_where(self.model.digest == digest_of(secret))

    def is_valid(self, user: User, secret: str) -> bool:
        """Return whether this user has a valid session with this secret."""
        return self._use(self._find(secret, "session"), user)

    def _use(self, login: Any, user: User | None) -> bool:
        """Note the use of a login session, if it is valid and of this user. Return whether it is.

        It is then the login session of the request.
        """
        is_valid = (
            login is not None
            and user is not None
            and str(login.user_id) == self.users.identifier(user)
            and login.stamp_mark == stamp_digest(self.users.snapshot(user))
        )
        if not is_valid:
            return False
        state, now = request_state(), utc_now()
        fresh_at = login.fresh_at and as_utc(login.fresh_at).timestamp()
        state.login = CurrentLogin(login.digest, login.methods or "", fresh_at)
        if now - as_utc(login.last_used_at) >= use_precision(self.idle):
            state.last_use = (login.id, now)
        return True

    def of(self, user: User) -> Sequence[Any]:
        """Return the user's valid login sessions, the last used one first."""
        stamp_mark = stamp_digest(self.users.snapshot(user))
        valid = self._unexpired().where(self.is_of(user), self.model.stamp_mark == stamp_mark)
        return self.db.session.scalars(valid.order_by(self.model.last_used_at.desc())).all()

    def exists(self, user: User, digest: str) -> bool:
        """Return whether this user has a login session with this digest, which is valid now."""
        conditions = (self.model.digest == digest, self.model.expires_at > utc_now())
        found = select(self.model.id).where(self.is_of(user), *conditions)
        return self.db.session.scalar(found) is not None

    def end(self, user: User, login_id: str) -> bool:
        """Delete a login session of the user, without committing. Return whether it existed."""
        key = parse_identifier(login_id, self.columns["id"])
        return key is not None and self.delete_where(self.is_of(user), self.model.id == key) == 1

    # The manager of tokens

    def provide_token(self, user: User, *, fresh: bool = False, methods: str = "") -> str:
        """Store a token, and return it."""
        fresh_at = time.time() if fresh else None
        return self.begin(user, "token", methods=methods, fresh_at=fresh_at)

    def find_user(self, token: str) -> User | None:
        """Return the user of a valid token, or None."""
        login = self._find(token, "token")
        user = login and self.users.get(str(login.user_id))
        return user if self._use(login, user) else None

    def revoke_token(self, user: User, *, token: str | None = None) -> None:
        """Revoke a token of a user, or all of them."""
        is_token = self.model.kind == "token"
        which = is_token if token is None else self.model.digest == digest_of(token)
        self.delete_where(self.is_of(user), which)

    def _find(self, secret: str, kind: Kind) -> Any:
        found = self._unexpired().filter_by(digest=digest_of(secret), kind=kind)
        return self.db.session.scalars(found).one_or_none()

    def _unexpired(self) -> Any:
        """Return the query for the login sessions that are not over, nor unused for too long."""
        now = utc_now()
        found = select(self.model).where(self.model.expires_at > now)
        if self.idle is None:
            return found
        return found.where(self.model.last_used_at > now - self.idle)

    def write_use(self) -> None:
        """Write the noted time of use, when the connection of the request is free."""
        noted, request_state().last_use = request_state().last_use, None
        if noted is None:
            return
        login_id, moment = noted
        rows = update(self.model).where(self.model.id == login_id)
        # A request does not fail because this time was not written.
        with suppress(SQLAlchemyError):
            self.execute_alone(rows.values(last_used_at=moment))


def _printable(text: str | None, length: int) -> str | None:
    return "".join(filter(str.isprintable, text or ""))[:length] or None


class TokenManager(Protocol):
    """The methods of ``REGISTRATION_AUTH_TOKEN_MANAGER_CLASS``. It is made without arguments."""

    def provide_token(self, user: User) -> str:
        """Return a new token for this user."""

    def find_user(self, token: str) -> User | None:
        """Return the user of a valid token."""

    def revoke_token(self, user: User, *, token: str | None = None) -> None:
        """Revoke this token of the user, or all of them."""


@runtime_checkable
class DatedTokenManager(TokenManager, Protocol):
    """A token manager that knows when the client showed the password for a token.

    For a while, its tokens need no re-authentication.
    """

    def provide_token(self, user: User, *, fresh: bool = False) -> str:
        """Return a new token for this user.

        :param fresh: whether the client has just shown the password.
        """

    def age(self, token: str) -> float | None:
        """Return the seconds since the client showed the password for this token, if it did."""


@dataclass(eq=False)
class SignedTokenManager:
    """Tokens without a table: signed, expiring, and bound to the account's security stamp.

    A single token cannot be revoked. Revoking changes the stamp, which invalidates every session
    and token of the user.

    :ivar keys: returns the keys, at each use. The oldest comes first, and the last one signs.
    """

    keys: Callable[[], Sequence[bytes]]
    users: UserStore
    period: timedelta

    def provide_token(self, user: User, *, fresh: bool = False) -> str:
        """Return a signed token."""
        digest = stamp_digest(self.users.snapshot(user))
        return self._serializer().dumps([self.users.identifier(user), digest, fresh])

    def find_user(self, token: str) -> User | None:
        """Return the user of a valid token, or None."""
        user_id, digest, *_ = self._load(token) or (None, None)
        user = self.users.get(user_id)
        is_valid = user is not None and digest == stamp_digest(self.users.snapshot(user))
        return user if is_valid else None

    def revoke_token(self, user: User, *, token: str | None = None) -> None:
        """Revoke all tokens of a user, by a new security stamp.

        :raises AccountUnusable: the account was suspended or changed at the same moment. The token
            may be valid later.
        """
        seen = self.users.snapshot(user)
        self.users.change(user, seen, {"security_stamp": next_stamp(seen.security_stamp)})

    def age(self, token: str) -> float | None:
        """Return the seconds since the login with the password, or None."""
        *_, fresh, age = self._load(token) or (False, None)
        return age if fresh else None

    def _load(self, token: str) -> list[Any] | None:
        """Return what a token contains, and its age in seconds; None if it is not valid."""
        try:
            content, signed_at = self._serializer().loads(
                token, max_age=int(self.period.total_seconds()), return_timestamp=True
            )
        except BadSignature:
            return None
        if not is_canonical(token.rpartition(".")[2]):
            return None
        return [*content, time.time() - signed_at.timestamp()]

    def _serializer(self) -> URLSafeTimedSerializer:
        return serializer(self.keys(), "token")
