"""Tokens, and login sessions (sessions and tokens) as rows of the database."""

from __future__ import annotations

import hashlib
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

from ..errors import NotAuthenticated
from ..i18n.languages import current_request
from ..request_state import CurrentLogin, client_address, request_state
from ..users.identifiers import parse_identifier
from ..users.mixins import BIG_KEY, as_utc, utc_now
from ..users.stamps import next_stamp, stamp_digest
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
    idle: timedelta | None = None

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
            digest=_digest(secret),
            stamp_mark=stamp_digest(self.users.snapshot(user)),
            created_at=now,
            expires_at=now + self.periods[kind],
            last_used_at=now,
            ip_address=current and _printable(client_address(), 45),
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
            request_state().login = CurrentLogin(_digest(secret), methods, fresh_at)
        return secret

    def drop(self, secret: str) -> None:
        """Delete the login session with this secret, without committing."""
        self.delete_where(self.model.digest == _digest(secret))

    def is_valid(self, user: User, secret: str) -> bool:
        """Return whether this user has a valid session with this secret."""
        return self._check(self._find(secret), user, "session")

    def _check(self, login: Any, user: User | None, kind: Kind) -> bool:
        """Return whether this is a valid login session of this user and kind, and note its use.

        It is then the login session of the request.
        """
        now = utc_now()
        is_valid = (
            login is not None
            and user is not None
            and str(login.user_id) == self.users.identifier(user)
            and login.kind == kind
            and as_utc(login.expires_at) > now
            and login.stamp_mark == stamp_digest(self.users.snapshot(user))
        )
        if not is_valid:
            return False
        unused = now - as_utc(login.last_used_at)
        if self.idle is not None and unused >= self.idle:
            return False
        current = CurrentLogin(login.digest, login.methods or "", _seconds(login.fresh_at))
        request_state().login = current
        if unused >= use_precision(self.idle):
            request_state().last_use = (login.id, now)
        return True

    def age(self, secret: str) -> float | None:
        """Return the seconds since the client last showed a credential for this login session."""
        login = self._find(secret)
        fresh_at = _seconds(login and login.fresh_at)
        return None if fresh_at is None else time.time() - fresh_at

    def of(self, user: User) -> Sequence[Any]:
        """Return the user's valid login sessions, the last used one first."""
        now = utc_now()
        valid = select(self.model).where(
            self.is_of(user),
            self.model.expires_at > now,
            self.model.stamp_mark == stamp_digest(self.users.snapshot(user)),
        )
        if self.idle is not None:
            valid = valid.where(self.model.last_used_at > now - self.idle)
        return self.db.session.scalars(valid.order_by(self.model.last_used_at.desc())).all()

    def exists(self, user: User, digest: str) -> bool:
        """Return whether this user has a login session with this digest, which is valid now."""
        conditions = (self.model.digest == digest, self.model.expires_at > utc_now())
        found = select(self.model.id).where(self.is_of(user), *conditions)
        return self.db.session.scalar(found) is not None

    def has_secret(self, login: Any, secret: str | None) -> bool:
        """Return whether a login session is the one with this secret."""
        return secret is not None and login.digest == _digest(secret)

    def end(self, user: User, login_id: str) -> bool:
        """Delete a login session of the user, without committing. Return whether it existed."""
        key = parse_identifier(login_id, self.columns["id"])
        return key is not None and self.delete_where(self.is_of(user), self.model.id == key) == 1

    def end_all(self, user: User) -> None:
        """Delete the user's login sessions, without committing."""
        self.delete_where(self.is_of(user))

    # The manager of tokens

    def provide_token(self, user: User, *, fresh: bool = False, methods: str = "") -> str:
        """Store a token, and return it."""
        fresh_at = time.time() if fresh else None
        return self.begin(user, "token", methods=methods, fresh_at=fresh_at)

    def find_user(self, token: str) -> User | None:
        """Return the user of a valid token, or None."""
        login = self._find(token)
        user = login and self.users.get(str(login.user_id))
        return user if self._check(login, user, "token") else None

    def revoke_token(self, user: User, *, token: str | None = None) -> None:
        """Revoke a token of a user, or all of them."""
        is_token = self.model.kind == "token"
        which = is_token if token is None else self.model.digest == _digest(token)
        self.delete_where(self.is_of(user), which)

    def _find(self, secret: str) -> Any:
        found = select(self.model).filter_by(digest=_digest(secret))
        return self.db.session.scalars(found).one_or_none()

    def write_use(self) -> None:
        """Write the noted time of use, when the connection of the request is free."""
        noted, request_state().last_use = request_state().last_use, None
        if noted is None:
            return
        login_id, moment = noted
        rows = update(self.model).where(self.model.id == login_id)
        statement = rows.values(last_used_at=moment)
        mapper = sqlalchemy_inspect(self.model)
        engine: Any = self.db.session.get_bind(mapper, clause=statement)
        # A request does not fail because this time was not written.
        with suppress(SQLAlchemyError), engine.begin() as connection:
            connection.execute(statement)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else as_utc(moment).timestamp()


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
        """Revoke all tokens of a user, by a new security stamp."""
        seen = self.users.snapshot(user)
        if not self.users.change(user, seen, {"security_stamp": next_stamp(seen.security_stamp)}):
            raise NotAuthenticated  # suspended or changed just now: the token may be valid later

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
        return URLSafeTimedSerializer(
            self.keys(),
            salt="flask-registration.token",
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )
