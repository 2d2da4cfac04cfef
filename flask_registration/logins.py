"""Sessions and tokens as rows, where the application has a model for them."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Literal

from flask import g, has_request_context, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Column, DateTime, String, delete, select, update
from sqlalchemy import inspect as sqlalchemy_inspect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapped, Session, mapped_column

from .models import BIG_KEY, as_utc, utc_now
from .userfields import parse_identifier
from .users import User, UserStore, stamp_mark

Kind = Literal["session", "token"]

#: How exact the time of the last use is: it is written no more often than this.
LAST_USE_PRECISION = timedelta(minutes=1)


class LoginMixin:
    """The columns of a login, a session or a token: ``class Login(LoginMixin, db.Model)``.

    ``user_id`` is the user's verification id as text; an application may declare it again, as a foreign key.
    """

    id: Mapped[int] = mapped_column(BIG_KEY, primary_key=True)
    user_id: Mapped[Any] = mapped_column(String(255), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    stamp_mark: Mapped[str] = mapped_column(String(32))
    fresh: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
    last_used_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ip_address: Mapped[str | None] = mapped_column(String(45))
    user_agent: Mapped[str | None] = mapped_column(String(255))


class LoginStore:
    """Keeps logins. Whoever reads the table cannot log in with what is there: secrets are kept as digests.

    :param periods: how long a login of each kind lives.
    """

    def __init__(self, db: SQLAlchemy, model: type[Any], users: UserStore, periods: dict[Kind, timedelta]) -> None:
        self._db = db
        self.model = self._model = model
        self._users = users
        self._periods = periods
        self.columns: Mapping[str, Column[Any]] = sqlalchemy_inspect(model).columns

    def begin(self, user: User, kind: Kind, *, fresh: bool = False, commit: bool = False) -> str:
        """Add a login; returns its secret, 256 random bits.

        :param fresh: whether the password was shown for it.
        :param commit: in a transaction of its own, else the caller commits.
        """
        secret, now = secrets.token_urlsafe(32), utc_now()
        asking = request if has_request_context() else None
        login = self._model(
            user_id=self._key(user),
            kind=kind,
            fresh=fresh,
            digest=_digest(secret),
            stamp_mark=stamp_mark(self._users.state(user)),
            created_at=now,
            expires_at=now + self._periods[kind],
            last_used_at=now,
            ip_address=asking and _printable(asking.remote_addr, 45),
            user_agent=asking and _printable(asking.user_agent.string, 255),
        )
        if commit:
            with Session(self._db.session.get_bind(sqlalchemy_inspect(self._model)), expire_on_commit=False) as own:
                own.add(login)
                own.commit()
        else:
            self._db.session.add(login)
            self._db.session.flush()
        return secret

    def drop(self, secret: str) -> None:
        """End the login with this secret, whosever it is, without committing."""
        statement = delete(self._model).where(self._model.digest == _digest(secret))
        self._db.session.execute(statement.execution_options(synchronize_session=False))

    def find_user(self, secret: str, kind: Kind) -> User | None:
        """Whose login this is, if it is good."""
        login = self._find(secret)
        user = None if login is None else self._users.get(str(login.user_id))
        return user if user is not None and self._check(login, user, kind) else None

    def is_good(self, user: User, secret: str) -> bool:
        """Whether this user has a session with this secret."""
        login = self._find(secret)
        return login is not None and login.user_id == self._key(user) and self._check(login, user, "session")

    def _check(self, login: Any, user: User, kind: Kind) -> bool:
        """Whether a login is what it is taken for, has not expired, and its user has the security stamp of then."""
        good = login.kind == kind and as_utc(login.expires_at) > utc_now()
        if good and login.stamp_mark == stamp_mark(self._users.state(user)):
            self._note_use(login)
            return True
        return False

    def age(self, secret: str) -> float | None:
        """Seconds since the password was shown for this login; None if it was not."""
        login = self._find(secret)
        return None if login is None or not login.fresh else (utc_now() - as_utc(login.created_at)).total_seconds()

    def of(self, user: User) -> Sequence[Any]:
        """The user's logins that are good, the one that was used last first."""
        good = [
            self._model.user_id == self._key(user),
            self._model.expires_at > utc_now(),
            self._model.stamp_mark == stamp_mark(self._users.state(user)),
        ]
        return self._db.session.scalars(
            select(self._model).where(*good).order_by(self._model.last_used_at.desc())
        ).all()

    def is_it(self, login: Any, secret: str | None) -> bool:
        """Whether this login has this secret."""
        return secret is not None and login.digest == _digest(secret)

    def describe(self, login: Any, *, current: bool) -> dict[str, Any]:
        """A login as its owner sees it; times are UTC, ISO 8601."""
        times = {
            name: as_utc(getattr(login, name)).isoformat() for name in ("created_at", "last_used_at", "expires_at")
        }
        seen = {name: getattr(login, name) for name in ("id", "kind", "ip_address", "user_agent")}
        return {**seen, **times, "current": current}

    def end(self, user: User, login_id: str) -> bool:
        """End one of the user's logins, without committing; whether there was one."""
        key = parse_identifier(login_id, self.columns["id"])
        return key is not None and self._delete(user, self._model.id == key) == 1

    def end_secret(self, user: User, secret: str) -> None:
        """End the user's login with this secret, without committing."""
        self._delete(user, self._model.digest == _digest(secret))

    def end_all(self, user: User, *, kind: Kind | None = None) -> None:
        """End all of the user's logins, or those of a kind, without committing."""
        self._delete(user, *([] if kind is None else [self._model.kind == kind]))

    def expired(self, before: datetime) -> Sequence[Any]:
        """The ids of the logins that ended by themselves before this time."""
        return self._db.session.scalars(select(self._model.id).where(self._model.expires_at < before)).all()

    def remove(self, ids: Sequence[Any], before: datetime) -> int:
        """Remove those of these logins that ended before this time, without committing; how many it were."""
        statement = delete(self._model).where(self._model.id.in_(ids), self._model.expires_at < before)
        result: Any = self._db.session.execute(statement.execution_options(synchronize_session=False))
        return int(result.rowcount)

    def _delete(self, user: User, *conditions: Any) -> int:
        statement = delete(self._model).where(self._model.user_id == self._key(user), *conditions)
        result: Any = self._db.session.execute(statement.execution_options(synchronize_session=False))
        return int(result.rowcount)

    def _find(self, secret: str) -> Any:
        digest = _digest(secret)
        return self._db.session.scalars(select(self._model).where(self._model.digest == digest)).one_or_none()

    def _note_use(self, login: Any) -> None:
        now = utc_now()
        if now - as_utc(login.last_used_at) >= LAST_USE_PRECISION:
            g.setdefault("_registration_last_uses", {})[login.id] = now

    def forget_uses(self) -> None:
        """Write no time of a last use that was noted until now."""
        g.pop("_registration_last_uses", None)

    def write_uses(self) -> None:
        """Write the time of the last use, now and then, when the request's own connection is free."""
        for login_id, now in g.pop("_registration_last_uses", {}).items():
            statement = update(self._model).where(self._model.id == login_id).values(last_used_at=now)
            engine: Any = self._db.session.get_bind(sqlalchemy_inspect(self._model), clause=statement)
            with suppress(SQLAlchemyError), engine.begin() as connection:  # no request fails for want of it
                connection.execute(statement)

    def _key(self, user: User) -> Any:
        return parse_identifier(self._users.identifier(user), self.columns["user_id"])


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _printable(text: str | None, length: int) -> str | None:
    return "".join(filter(str.isprintable, text or ""))[:length] or None
