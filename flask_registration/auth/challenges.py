"""Challenges: what a client has begun and not finished, as rows of the database."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import JSON, DateTime, String, bindparam, case, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.orm.exc import StaleDataError

from ..errors import ChallengeInvalid
from ..users.mixins import BIG_KEY, utc_now
from ..users.stamps import NO_ACCOUNT, UserSnapshot, digest_of, stamp_digest
from ..users.store import PLACEHOLDER_DOMAIN, User
from .codes import FORMATS, CodesSettings, derive_code, keyed_digest
from .rows import ExpiringRows

#: How many tries the codes of an account have in a day, for each purpose, without limits of
#: e-mails. The challenges of other clients must not end each other, so their number is limited.
TRIES_PER_DAY = 30
DAY = timedelta(days=1)


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
    :ivar codes: the codes of e-mails.
    :ivar emails: how many e-mails one address receives in a day; None for no limit.
    """

    keys: Callable[[], Sequence[bytes]]
    codes: CodesSettings
    emails: int | None

    def create(
        self,
        purpose: str,
        user: User | None,
        *,
        period: timedelta,
        tries: int,
        data: Mapping[str, Any] | None = None,
        keep: int | None = None,
    ) -> str:
        """Store a challenge, without committing. Return its handle, 256 random bits.

        :param purpose: the challenge is valid for this purpose only; at most 32 characters.
        :param user: its account; None if the client named none.
        :param data: what :meth:`open` returns, as JSON can have it. It must contain no secret.
        :param keep: delete older challenges of the account with this purpose, and keep this many.
            Pass it only if the client has shown a credential of the account.
        """
        handle = secrets.token_urlsafe(32)
        values = self._values(purpose, user, digest_of(handle), period, tries, data)
        self.db.session.add(self.model(**values))
        self.db.session.flush()
        if user is not None and keep is not None:
            ids, is_same = select(self.model.id), self.model.purpose == purpose
            newest = ids.where(self.is_of(user), is_same).order_by(self.model.id.desc())
            older = self.db.session.scalars(newest.offset(keep)).all()
            if older:
                self.delete_where(self.model.id.in_(older))
        return handle

    def create_with_code(
        self,
        purpose: str,
        user: User | str | None,
        *,
        counted: User | str | None,
        data: Mapping[str, Any] | None = None,
        has_code: bool = True,
    ) -> tuple[str, bool]:
        """Store a challenge with a code for an e-mail, without committing.

        Return its handle, and whether the e-mail may be sent: not if the codes of the account would
        have more tries than those of the e-mails of a day. The challenge has no code then, and the
        statements are the same.

        :param user: see :meth:`create`; or an e-mail address without an account, see
            :meth:`is_about`.
        :param counted: the account or the e-mail address whose code is counted; None if no e-mail
            is sent.
        :param has_code: False for a challenge that no code solves.
        """
        codes, handle = self.codes, secrets.token_urlsafe(32)
        digest, key = digest_of(handle), self.keys()[-1]
        is_allowed, new_counts = self._count_code(purpose, counted)
        owner = user
        if isinstance(user, str):
            owner, data = None, {**(data or {}), "address": self._address_digests(user)[-1]}
        values = self._values(purpose, owner, digest, codes.code_period, codes.code_tries, data)
        if has_code and is_allowed and user is not None and counted is not None:
            code = derive_code(key, digest, codes.code_format)
            values["code_digest"] = _code_digest(key, digest, code)
        one_statement = {"render_nulls": True}  # whether or not there is a code
        try:
            self.db.session.execute(
                insert(self.model), [values, *new_counts], execution_options=one_statement
            )
        except IntegrityError as error:  # a parallel request has added the count of codes
            raise StaleDataError("The number of codes was changed.") from error
        return handle, is_allowed

    def code(self, digest: str) -> str | None:
        """Return the code of a challenge for its e-mail, in normal form; None if it has none now.

        The code is derived again, so that neither table contains it.
        """
        model = self.model
        stored = self.db.session.scalars(
            select(model.code_digest).where(model.digest == digest, model.expires_at > utc_now())
        ).one_or_none()
        for key in self.keys():
            for code_format in FORMATS:  # the setting may have changed since
                code = derive_code(key, digest, code_format)
                if hmac.compare_digest(_code_digest(key, digest, code), stored or ""):
                    return code
        return None

    def open(self, purpose: str, handle: str, *, counts: bool = True) -> Challenge:
        """Count a try, and return the challenge with this handle.

        Call it before anything else: the try is counted in a transaction of its own, and what the
        session has not committed is dropped.

        :param counts: False for a request that tries no code.
        :raises ChallengeInvalid: there is none, or it has expired, was used, has no try left, or
            is for another purpose; or its account was deleted, suspended or changed since.
        """
        digest, model = digest_of(handle), self.model
        valid = (model.digest == digest, model.purpose == purpose, model.expires_at > utc_now())
        if counts:
            statement = update(model).where(*valid, model.tries_left > 0)
            if not self.count_try(digest, statement.values(tries_left=model.tries_left - 1)):
                raise ChallengeInvalid
        row = self.db.session.scalars(select(model).where(*valid)).one_or_none()
        if row is None or not (counts or row.tries_left):
            raise ChallengeInvalid
        user, email = None, self.users.fields.email
        if row.user_id is not None:
            user = self.users.get(str(row.user_id))
            seen = NO_ACCOUNT if user is None else self.users.snapshot(user)
            is_same = hmac.compare_digest(_account_digest(seen), row.stamp_digest)
            if not (seen.is_active and is_same):
                raise ChallengeInvalid
        elif email:  # no account costs a query as well
            self.users.find(email, f"unknown@registration{PLACEHOLDER_DOMAIN}")
        return Challenge(digest, user, row.code_digest, row.data)

    def has_code(self, challenge: Challenge, code: str) -> bool:
        """Return whether this is the code of a challenge.

        :param code: in normal form.
        """
        stored = challenge.code_digest or ""
        found = (_code_digest(key, challenge.digest, code) for key in self.keys())
        return any(hmac.compare_digest(each, stored) for each in found)

    def is_about(self, challenge: Challenge, address: str) -> bool:
        """Return whether a challenge without an account is about this e-mail address.

        :param address: in normal form.
        """
        stored = str(challenge.data.get("address"))
        return any(hmac.compare_digest(each, stored) for each in self._address_digests(address))

    def _address_digests(self, address: str) -> list[str]:
        """Return the keyed digests of an e-mail address, one for each key."""
        content = f"flask-registration.address {address}"
        return [keyed_digest(key, content) for key in self.keys()]

    def take(self, challenge: Challenge) -> None:
        """Delete a challenge whose step is done, without committing. It works once.

        :raises ChallengeInvalid: another request has taken it, or it has expired.
        """
        valid = (self.model.digest == challenge.digest, self.model.expires_at > utc_now())
        if self.delete_where(*valid) != 1:
            raise ChallengeInvalid

    def give_back(self, challenge: Challenge) -> None:
        """Give back the try of a right code whose request was refused for another reason."""
        self.users.rollback()
        tries = self.model.tries_left + 1
        statement = update(self.model).where(self.model.digest == challenge.digest)
        self.execute_alone(statement.values(tries_left=tries))

    def _values(
        self,
        purpose: str,
        user: User | None,
        digest: str,
        period: timedelta,
        tries: int,
        data: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        now = utc_now()
        return {
            "purpose": purpose,
            "digest": digest,
            "user_id": None if user is None else self.key(user),
            "stamp_digest": "" if user is None else _account_digest(self.users.snapshot(user)),
            "code_digest": None,
            "data": dict(data or {}),
            "tries_left": tries,
            "created_at": now,
            "expires_at": now + period,
        }

    def _count_code(
        self, purpose: str, user: User | str | None
    ) -> tuple[bool, list[dict[str, Any]]]:
        """Count a code of an account or an e-mail address, without committing.

        A row for each account and purpose has the number of codes that are left today. Return
        whether there was one, and that row if it is missing. No account costs the same statements.
        """
        model, now, name = self.model, utc_now(), f"{purpose}.day"
        codes = self.emails or TRIES_PER_DAY // self.codes.code_tries
        if isinstance(user, str):
            counted = self._address_digests(user)[-1]
        else:
            counted = "" if user is None else self.users.identifier(user)
        digest = digest_of(f"{name} {counted}")
        known = self.db.session.scalars(select(model.id).where(model.digest == digest)).first()
        has_expired = model.expires_at <= now
        # By key, which locks no other row. No row has the key NULL.
        statement = update(model).where(
            model.id == bindparam("known", known), or_(model.tries_left > 0, has_expired)
        )
        statement = statement.ordered_values(  # MariaDB sees the new values on the right
            (model.tries_left, case((has_expired, codes), else_=model.tries_left) - 1),
            (model.expires_at, case((has_expired, now + DAY), else_=model.expires_at)),
        )
        count = self.execute(statement)
        if user is not None and known is None:
            return True, [self._values(name, None, digest, DAY, codes - 1)]
        return user is None or count == 1, []


def _account_digest(seen: UserSnapshot) -> str:
    """Return the digest of what an account must still have.

    That is also the e-mail address, which changes without a new stamp where there is no column for
    it: a code must not outlive the address that received it.
    """
    return digest_of(f"{stamp_digest(seen)} {seen.email}")[:32]


def _code_digest(key: bytes, digest: str, code: str) -> str:
    return keyed_digest(key, f"flask-registration.code {digest} {code}")
