"""Rows that belong to accounts: login sessions, challenges and credentials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Column, UpdateBase, delete, select
from sqlalchemy import inspect as sqlalchemy_inspect

from ..request_state import request_state
from ..users.identifiers import parse_identifier
from ..users.store import User, UserStore
from ..users.transaction import own_transaction


@dataclass(eq=False)
class AccountRows:
    """A store of rows that belong to users.

    :cvar owner: the column with the verification id of the user.
    """

    owner: ClassVar[str] = "user_id"
    db: SQLAlchemy
    model: type[Any]
    users: UserStore

    @property
    def columns(self) -> Mapping[str, Column[Any]]:
        """Return the columns of the model."""
        columns: Mapping[str, Column[Any]] = sqlalchemy_inspect(self.model).columns
        return columns

    def delete_where(self, *conditions: Any) -> int:
        """Delete the rows that meet all conditions, without committing. Return their number."""
        return self.execute(delete(self.model).where(*conditions))

    def execute(self, statement: UpdateBase) -> int:
        """Execute a statement without committing. Return the number of rows it changed."""
        options = {"synchronize_session": False}
        result: Any = self.db.session.execute(statement, execution_options=options)
        return int(result.rowcount)

    def count_try(self, name: str, statement: UpdateBase) -> bool:
        """Execute a statement that counts a try, in a transaction of its own.

        What the session has not committed is dropped. It is one try, however often the database
        asks to repeat the work. Return whether a row was changed.

        :param name: what is tried, in this request.
        """
        state = request_state()
        if state.is_retry and name in state.counted_tries:
            return True
        self.users.end_read()  # its connection is free for others
        is_counted = self.execute_alone(statement) == 1
        if is_counted:
            state.counted_tries.add(name)
        return is_counted

    def execute_alone(self, statement: UpdateBase) -> int:
        """Execute a statement in a transaction of its own. Return the number of rows it changed."""
        with own_transaction(self.db, self.model) as connection:
            return int(connection.execute(statement).rowcount)

    def is_of(self, user: User) -> Any:
        """Return the condition on the rows of a user."""
        return getattr(self.model, self.owner) == self.key(user)

    def key(self, user: User) -> Any:
        """Return the value of the column ``owner`` for a user."""
        return parse_identifier(self.users.identifier(user), self.columns[self.owner])

    def remove_all(self, user: User) -> int:
        """Delete the rows of a user, without committing. Return their number."""
        return self.delete_where(self.is_of(user))


class ExpiringRows(AccountRows):
    """A store of rows that expire, with the column ``expires_at``."""

    def expired(self, before: datetime) -> Sequence[Any]:
        """Return the ids of the rows that expired before this time."""
        return self.db.session.scalars(select(self.model.id).where(self.is_old(before))).all()

    def remove(self, ids: Sequence[Any], before: datetime) -> int:
        """Delete those of these rows that expired before this time, without committing.

        Return the number deleted.
        """
        return self.delete_where(self.model.id.in_(ids), self.is_old(before))

    def is_old(self, before: datetime) -> Any:
        """Return the condition on the rows that expired before this time."""
        return self.model.expires_at < before
