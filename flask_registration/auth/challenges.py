"""Challenges: what a client has begun and not finished, as rows of the database."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import JSON, DateTime, String, select, update
from sqlalchemy.orm import Mapped, mapped_column

from ..errors import ChallengeInvalid
from ..users.mixins import BIG_KEY, utc_now
from ..users.stamps import UserSnapshot, stamp_digest
from ..users.store import User
from .rows import ExpiringRows


class ChallengeMixin:
    """The columns of a challenge: ``class Challenge(ChallengeMixin, db.Model)``.

    The table contains no secret that lets anyone log in: ``digest`` is that of the client's handle,
    and ``code_digest`` is keyed with the ``SECRET_KEY``. ``user_id`` is the user's verification id
    as text, or NULL if the client named no account.
    """

    __registration_role__ = "challenge"

    id: Mapped[int] = mapped_column(BIG_KEY, primary_key=True)
    purpose: Mapped[str] = mapped_column(String(32))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[Any] = mapped_column(String(255), nullable=True, index=True)
    stamp_digest: Mapped[str] = mapped_column(String(32))
    code_digest: Mapped[str | None] = mapped_column(String(64))
    data: Mapped[Any] = mapped_column(JSON)
    tries_left: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)


class Challenge(NamedTuple):
    """A challenge that a client has sent.

    :ivar user: its account; None if the client named none.
    :ivar data: what was stored with it.
    """

    digest: str
    user: User | None
    code_digest: str | None
    data: Mapping[str, Any]


@dataclass(eq=False)
class ChallengeStore(ExpiringRows):
    """Stores challenges with the digests of their handles.

    :ivar keys: called at each use; returns the keys for digests of codes. The last one makes them.
    """

    keys: Callable[[], Sequence[bytes]]

    def create(
        self,
        purpose: str,
        user: User | None,
        *,
        period: timedelta,
        tries: int,
        data: Mapping[str, Any] | None = None,
        code: str | None = None,
        keep: int | None = None,
    ) -> str:
        """Store a challenge, without committing. Return its handle, 256 random bits.

        :param purpose: the challenge is valid for this purpose only; at most 32 characters.
        :param user: its account; None stores a challenge that no code solves.
        :param data: what :meth:`open` returns, as JSON can have it. It must contain no secret.
        :param keep: delete older challenges of the account with this purpose, and keep this many.
            Pass it only if the client has shown a credential of the account.
        """
        handle, now = secrets.token_urlsafe(32), utc_now()
        digest = _digest(handle)
        row = self.model(
            purpose=purpose,
            digest=digest,
            user_id=None if user is None else self.key(user),
            stamp_digest="" if user is None else stamp_digest(self.users.snapshot(user)),
            code_digest=None if code is None else _code_digest(self.keys()[-1], digest, code),
            data=dict(data or {}),
            tries_left=tries,
            created_at=now,
            expires_at=now + period,
        )
        self.db.session.add(row)
        self.db.session.flush()
        if user is not None and keep is not None:
            ids, is_same = select(self.model.id), self.model.purpose == purpose
            newest = ids.where(self.is_of(user), is_same).order_by(self.model.id.desc())
            older = self.db.session.scalars(newest.offset(keep)).all()
            if older:
                self.delete_where(self.model.id.in_(older))
        return handle

    def open(self, purpose: str, handle: str, *, counts: bool = True) -> Challenge:
        """Count a try, and return the challenge with this handle.

        Call it before anything else: the try is counted in a transaction of its own, and what the
        session has not committed is dropped.

        :param counts: False for a request that tries no code.
        :raises ChallengeInvalid: there is none, or it has expired, was used, has no try left, or
            is for another purpose; or its account was deleted, suspended or changed since.
        """
        digest, model = _digest(handle), self.model
        valid = (model.digest == digest, model.purpose == purpose, model.expires_at > utc_now())
        if counts:
            statement = update(model).where(*valid, model.tries_left > 0)
            if not self.count_try(digest, statement.values(tries_left=model.tries_left - 1)):
                raise ChallengeInvalid
        row = self.db.session.scalars(select(model).where(*valid)).one_or_none()
        if row is None or not (counts or row.tries_left):
            raise ChallengeInvalid
        user = None if row.user_id is None else self.users.get(str(row.user_id))
        is_valid = row.user_id is None or (
            user is not None and _is_as_it_was(self.users.snapshot(user), row.stamp_digest)
        )
        if not is_valid:
            raise ChallengeInvalid
        return Challenge(digest, user, row.code_digest, row.data)

    def has_code(self, challenge: Challenge, code: str) -> bool:
        """Return whether this is the code of a challenge. A challenge without an account has none.

        :param code: in normal form.
        """
        stored = challenge.code_digest or ""
        found = (_code_digest(key, challenge.digest, code) for key in self.keys())
        is_right = any(hmac.compare_digest(each, stored) for each in found)
        return is_right and challenge.user is not None

    def take(self, challenge: Challenge) -> None:
        """Delete a challenge whose step is done, without committing. It works once.

        :raises ChallengeInvalid: another request has taken it.
        """
        if self.delete_where(self.model.digest == challenge.digest) != 1:
            raise ChallengeInvalid


def _is_as_it_was(seen: UserSnapshot, digest: str) -> bool:
    return seen.is_active and hmac.compare_digest(stamp_digest(seen), digest)


def _digest(handle: str) -> str:
    return hashlib.sha256(handle.encode()).hexdigest()


def _code_digest(key: bytes, digest: str, code: str) -> str:
    content = f"flask-registration.code {digest} {code}".encode()
    return hmac.new(key, content, hashlib.sha256).hexdigest()
