"""Rows that belong to accounts and expire: login sessions and challenges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Column, delete, select
from sqlalchemy import inspect as sqlalchemy_inspect

from ..users.identifiers import parse_identifier
from ..users.store import User, UserStore


@dataclass(eq=False)
class ExpiringRows:
    """A store of rows with the columns ``user_id`` and ``expires_at``."""

    db: SQLAlchemy
    model: type[Any]
    users: UserStore

    @property
    def columns(self) -> Mapping[str, Column[Any]]:
        """Return the columns of the model."""
        columns: Mapping[str, Column[Any]] = sqlalchemy_inspect(self.model).columns
        return columns

    def expired(self, before: datetime) -> Sequence[Any]:
        """Return the ids of the rows that expired before this time."""
        expired = select(self.model.id).where(self.model.expires_at < before)
        return self.db.session.scalars(expired).all()

    def remove(self, ids: Sequence[Any], before: datetime) -> int:
        """Delete those of these rows that expired before this time, without committing.

        Return the number deleted.
        """
        return self.delete_where(self.model.id.in_(ids), self.model.expires_at < before)

    def delete_where(self, *conditions: Any) -> int:
        """Delete the rows that meet all conditions, without committing. Return their number."""
        statement = delete(self.model).where(*conditions)
        options = {"synchronize_session": False}
        result: Any = self.db.session.execute(statement, execution_options=options)
        return int(result.rowcount)

    def is_of(self, user: User) -> Any:
        """Return the condition on the rows of a user."""
        return self.model.user_id == self.key(user)

    def key(self, user: User) -> Any:
        """Return the value of ``user_id`` for a user."""
        return parse_identifier(self.users.identifier(user), self.columns["user_id"])
