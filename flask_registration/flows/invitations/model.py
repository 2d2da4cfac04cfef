"""The columns of an invitation, and its rows."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import JSON, DateTime, String, and_, or_, select, update
from sqlalchemy.orm import Mapped, mapped_column

from ...auth.rows import ExpiringRows
from ...errors import APIError, InvitationNotFound, LinkInvalid
from ...users.identifiers import EMAIL_MAX_LENGTH, parse_identifier
from ...users.mixins import BIG_KEY, exact_string, utc_now
from ...users.store import User

#: How long rows are kept after the invitation has expired or was revoked.
KEPT = timedelta(days=30)


class InvitationMixin:
    """The columns of an invitation: ``class Invitation(InvitationMixin, db.Model)``.

    ``nonce`` is what the valid link is bound to. It is no secret: the link is signed when it is
    sent. ``inviter_id`` is the verification id of the user who invites as text, or NULL for an
    administrator. ``data`` is what that user decided about the account.
    """

    __registration_role__ = "invitation"

    id: Mapped[int] = mapped_column(BIG_KEY, primary_key=True)
    email: Mapped[str] = mapped_column(exact_string(EMAIL_MAX_LENGTH), index=True)
    nonce: Mapped[str] = mapped_column(String(32), unique=True)
    inviter_id: Mapped[Any] = mapped_column(String(255), nullable=True, index=True)
    data: Mapped[Any] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
    accepted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


def new_nonce() -> str:
    """Return a nonce that no other link is bound to."""
    return secrets.token_hex(16)


def this_second() -> datetime:
    """Return the time as every database stores it, without a fraction of a second."""
    return utc_now().replace(microsecond=0)


@dataclass(eq=False)
class InvitationStore(ExpiringRows):
    """The rows of invitations. An invitation is open unless it was accepted or revoked.

    :ivar period: how long an invitation is valid.
    """

    owner = "inviter_id"
    period: timedelta

    # Reading

    def all(self, inviter: User | None) -> Sequence[Any]:
        """Return the invitations of a user, or with None those of all users, the newest first."""
        found = select(self.model).order_by(self.model.id.desc())
        if inviter is not None:
            found = found.where(self.is_of(inviter))
        return self.db.session.scalars(found).all()

    def get(self, key: Any) -> Any:
        """Return the invitation with this key as it is in the database now."""
        return self.db.session.get(self.model, key, populate_existing=True)

    def find(self, identifier: str, inviter: User | None) -> Any:
        """Return the open invitation with this id.

        :param inviter: the user who must have sent it; None for any.
        :raises InvitationNotFound: there is none.
        """
        key = parse_identifier(identifier, self.columns["id"])
        conditions = [] if inviter is None else [self.is_of(inviter)]
        found = None if key is None else self._open(self.model.id == key, *conditions)
        if found is None:
            raise InvitationNotFound
        return found

    def of_link(self, nonce: str) -> Any | None:
        """Return the open invitation that a link is bound to."""
        return self._open(self.model.nonce == nonce)

    def _open(self, *conditions: Any) -> Any | None:
        statement = select(self.model).where(*conditions, *self._is_open())
        return self.db.session.scalars(statement).one_or_none()

    def _is_open(self) -> tuple[Any, Any]:
        return self.model.accepted_at.is_(None), self.model.revoked_at.is_(None)

    # Writing, without committing

    def add(self, email: str, nonce: str, inviter_id: Any, data: Mapping[str, Any]) -> Any:
        """Store an invitation, and return it."""
        now = this_second()
        invitation = self.model(
            email=email,
            nonce=nonce,
            inviter_id=inviter_id,
            data=dict(data),
            created_at=now,
            expires_at=now + self.period,
        )
        self.db.session.add(invitation)
        self.db.session.flush()
        return invitation

    def renew(self, key: Any, nonce: str) -> None:
        """Bind an open invitation to another link, and let it expire later.

        :param nonce: the earlier one keeps the link that was sent.
        :raises InvitationNotFound: it is not open.
        """
        values = {"nonce": nonce, "expires_at": this_second() + self.period}
        self._change(self.model.id == key, values, InvitationNotFound)

    def revoke(self, key: Any) -> None:
        """Revoke an open invitation.

        :raises InvitationNotFound: it is not open.
        """
        self._change(self.model.id == key, {"revoked_at": this_second()}, InvitationNotFound)

    def accept(self, nonce: str) -> None:
        """Mark the open invitation of a link as accepted. Of parallel requests one succeeds.

        :raises LinkInvalid: it is not open.
        """
        self._change(self.model.nonce == nonce, {"accepted_at": this_second()}, LinkInvalid)

    def _change(self, condition: Any, values: dict[str, Any], error: type[APIError]) -> None:
        statement = update(self.model).where(condition, *self._is_open()).values(values)
        if self.execute(statement) != 1:
            self.users.rollback()
            raise error

    def remove_of(self, user: User) -> None:
        """Delete the invitations that a user has sent, and the accepted ones to the address."""
        is_to = and_(
            self.model.email == self.users.snapshot(user).email,
            self.model.accepted_at.is_not(None),
        )
        self.delete_where(or_(self.is_of(user), is_to))

    def is_old(self, before: datetime) -> Any:
        """Return the condition on the rows that expired, or were revoked, long before this time."""
        end = before - KEPT
        return or_(self.model.expires_at < end, self.model.revoked_at < end)
