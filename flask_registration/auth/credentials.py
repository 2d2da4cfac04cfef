"""Credentials beside the password, as rows of the database: TOTP and recovery codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, String, and_, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from ..users.mixins import BIG_KEY, utc_now
from ..users.stamps import digest_of
from ..users.store import User
from .rows import AccountRows

TOTP = "totp"
RECOVERY_CODE = "recovery-code"

#: The kind of a row that asks to remove the factor after a while. ``counter`` is 1 after the
#: reminder, which ``last_used_at`` dates.
RECOVERY = "recovery"

#: The columns of an account that has no wrong codes.
NO_FAILURES: dict[str, Any] = {"failures": 0, "locked_until": None}


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
    """The rows of the second factor of an account, without its secrets and codes."""

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

    def begin_recovery(self, user: User) -> bool:
        """Ask to remove the factor after a while. Return False if that was asked already."""
        row = {"user_id": self.key(user), "kind": RECOVERY, "key": self._key(RECOVERY, user)}
        if self.db.session.scalar(select(self.model.id).where(self.model.key == row["key"])):
            return False
        return self._add(**row)

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
        self.execute(self._row(self._key(TOTP, user)).values(NO_FAILURES))

    def _add(self, **values: Any) -> bool:
        """Add a row, without committing. If a parallel request has, roll back, and return False."""
        self.db.session.add(self.model(**values))
        try:
            self.db.session.flush()
        except IntegrityError:
            self.users.rollback()
            return False
        return True

    def _key(self, kind: str, user: User) -> str:
        """Return the unique key of the one row of this kind that an account may have."""
        return digest_of(f"{kind} {self.users.identifier(user)}")

    def _row(self, key: str, *conditions: Any) -> Any:
        return update(self.model).where(self.model.key == key, *conditions)
