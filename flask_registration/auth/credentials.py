"""Credentials beside the password, as rows of the database: TOTP and recovery codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from limits import RateLimitItem
from sqlalchemy import DateTime, String, and_, case, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from ..errors import CodeInvalid, FactorExists, Throttled
from ..users.mixins import BIG_KEY, as_utc, utc_now
from ..users.store import User
from .rows import AccountRows, digest_of

TOTP = "totp"
RECOVERY_CODE = "recovery-code"

#: The kind of a row that asks to remove the factor after a while. ``counter`` is 1 after the
#: reminder, which ``last_used_at`` dates.
RECOVERY = "recovery"

#: How long a new secret waits for its first code. Storing it needs a fresh login, and showing the
#: code does not.
ENROLLMENT_PERIOD = timedelta(minutes=15)


class CredentialMixin:
    """The columns of a credential: ``class Credential(CredentialMixin, db.Model)``.

    The table contains no secret that lets anyone log in: TOTP secrets are encrypted, and recovery
    codes are keyed digests. ``user_id`` is the user's verification id as text. ``counter`` is the
    last used interval of a TOTP. ``failures`` are the wrong codes of an account until
    ``locked_until``, when they are forgotten.
    """

    __registration_role__ = "credential"

    id: Mapped[int] = mapped_column(BIG_KEY, primary_key=True)
    user_id: Mapped[Any] = mapped_column(String(255), index=True)
    kind: Mapped[str] = mapped_column(String(32))
    name: Mapped[str | None] = mapped_column(String(150))
    key: Mapped[str] = mapped_column(String(64), unique=True)
    secret: Mapped[str | None] = mapped_column(String(512))
    counter: Mapped[int] = mapped_column(BIG_KEY, default=0)
    confirmed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    failures: Mapped[int] = mapped_column(default=0)
    locked_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=utc_now)
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


@dataclass(eq=False)
class CredentialStore(AccountRows):
    """Stores the TOTP secret of an account, and the digests of its recovery codes."""

    def totp(self, user: User, *, confirmed: bool = True) -> Any:
        """Return the row of the user's TOTP, or None.

        :param confirmed: whether a code of it must have been shown.
        """
        row = self.model.key == self._key(TOTP, user)
        condition = (row, self.model.confirmed_at.is_not(None)) if confirmed else (row,)
        found = select(self.model.__table__).where(*condition)
        return self.db.session.execute(found).one_or_none()

    def recovery_codes(self, user: User) -> Any:
        """Return the number of unused recovery codes as ``remaining``, and ``created_at``."""
        counted = select(
            func.count(self.model.id).label("remaining"),
            func.max(self.model.created_at).label("created_at"),
        )
        of_user = counted.where(self.is_of(user), self.model.kind == RECOVERY_CODE)
        return self.db.session.execute(of_user).one()

    # Without committing

    def begin_totp(self, user: User, secret: str) -> None:
        """Store a secret that is not active yet, in place of an earlier one that is not either.

        :param secret: encrypted.
        :raises FactorExists: the user has an active one.
        """
        key, values = self._key(TOTP, user), {"secret": secret, "created_at": utc_now()}
        pending = self._row(key, self.model.confirmed_at.is_(None))
        if self.execute(pending.values(values)):
            return
        if self.totp(user):
            raise FactorExists
        self.db.session.add(self.model(user_id=self.key(user), kind=TOTP, key=key, **values))
        try:
            self.db.session.flush()
        except IntegrityError:  # a parallel request has stored one
            self.users.rollback()
            if not self.execute(pending.values(values)):
                raise FactorExists from None

    def confirm_totp(self, user: User, secret: str, counter: int) -> None:
        """Activate a secret whose code was shown.

        :param counter: the interval of the code, which is spent.
        :raises CodeInvalid: it is not pending, or no longer.
        """
        now = utc_now()
        conditions = (self.model.confirmed_at.is_(None), self.model.secret == secret)
        is_recent = self.model.created_at > now - ENROLLMENT_PERIOD
        pending = self._row(self._key(TOTP, user), *conditions, is_recent)
        values = {"confirmed_at": now, "counter": counter, "last_used_at": now}
        if not self.execute(pending.values(**values, **_NO_FAILURES)):
            raise CodeInvalid

    def use_totp(self, user: User, counter: int) -> None:
        """Spend the code of an interval, and all earlier ones.

        :raises CodeInvalid: it is spent.
        """
        conditions = (self.model.confirmed_at.is_not(None), self.model.counter < counter)
        unspent = self._row(self._key(TOTP, user), *conditions)
        values = {"counter": counter, "last_used_at": utc_now()}
        if not self.execute(unspent.values(**values, **_NO_FAILURES)):
            raise CodeInvalid

    def use_recovery_code(self, user: User, digests: Sequence[str]) -> None:
        """Delete a recovery code.

        :param digests: of the code, with each key.
        :raises CodeInvalid: the user has none with one of these digests.
        """
        is_code = and_(self.model.kind == RECOVERY_CODE, self.model.key.in_(digests))
        if not self.delete_where(self.is_of(user), is_code):
            raise CodeInvalid
        self.clear_failures(user)

    def replace_recovery_codes(self, user: User, digests: Sequence[str]) -> None:
        """Store the digests of recovery codes in place of the earlier ones."""
        self.delete_where(self.is_of(user), self.model.kind == RECOVERY_CODE)
        key = self.key(user)
        self.db.session.add_all(
            self.model(user_id=key, kind=RECOVERY_CODE, key=digest, confirmed_at=utc_now())
            for digest in digests
        )
        self.db.session.flush()

    def begin_recovery(self, user: User) -> bool:
        """Ask to remove the factor after a while. Return False if that was asked already."""
        row = {"user_id": self.key(user), "kind": RECOVERY, "key": self._key(RECOVERY, user)}
        if self.db.session.scalar(select(self.model.id).where(self.model.key == row["key"])):
            return False
        self.db.session.add(self.model(**row))
        try:
            self.db.session.flush()
        except IntegrityError:  # a parallel request
            self.users.rollback()
            return False
        return True

    def cancel_recovery(self, user: User) -> bool:
        """Keep the factor. Return whether its removal was asked for."""
        return self.delete_where(self.model.key == self._key(RECOVERY, user)) == 1

    def recoveries(self, asked_before: datetime, reminded_before: datetime | None) -> Sequence[Any]:
        """Return the user ids of the accounts whose factor is to be removed.

        :param asked_before: the latest time of the request.
        :param reminded_before: the latest time of the reminder; None for those without one.
        """
        model = self.model
        reminded = (
            model.counter == 0
            if reminded_before is None
            else and_(model.counter == 1, model.last_used_at <= reminded_before)
        )
        due = select(model.user_id).where(model.kind == RECOVERY, model.created_at <= asked_before)
        return self.db.session.scalars(due.where(reminded)).all()

    def mark_reminded(self, user: User) -> bool:
        """Note that the reminder is sent now. Return False if it was sent already."""
        waiting = self._row(self._key(RECOVERY, user), self.model.counter == 0)
        return self.execute(waiting.values(counter=1, last_used_at=utc_now())) == 1

    def clear_failures(self, user: User) -> None:
        """Forget the wrong codes of an account."""
        self.execute(self._row(self._key(TOTP, user)).values(_NO_FAILURES))

    # In a transaction of its own

    def count_failure(self, user: User, limit: RateLimitItem) -> None:
        """Count a code as wrong, before it is compared. A right one clears the count.

        :raises Throttled: there were too many wrong codes, until the time is over.
        """
        now, model, key = utc_now(), self.model, self._key(TOTP, user)
        is_over = (model.locked_until.is_(None)) | (model.locked_until <= now)
        end = datetime.fromtimestamp(now.timestamp() + limit.get_expiry(), now.tzinfo)
        statement = update(model).where(model.key == key, is_over | (model.failures < limit.amount))
        # In this order: MySQL compares the second value with the new first one.
        counted = statement.ordered_values(
            (model.failures, case((is_over, 1), else_=model.failures + 1)),
            (model.locked_until, case((is_over, end), else_=model.locked_until)),
        )
        if not self.count_try(key, counted):
            row = self.totp(user, confirmed=False)
            if row is not None and row.locked_until is not None:
                raise Throttled((as_utc(row.locked_until) - now).total_seconds())

    def _key(self, kind: str, user: User) -> str:
        """Return the unique key of the one row of this kind that an account may have."""
        return digest_of(f"{kind} {self.users.identifier(user)}")

    def _row(self, key: str, *conditions: Any) -> Any:
        return update(self.model).where(self.model.key == key, *conditions)


_NO_FAILURES = {"failures": 0, "locked_until": None}
