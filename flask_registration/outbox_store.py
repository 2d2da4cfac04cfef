"""The store of mails that shall leave: written with what they are about, and taken by whoever sends them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple, TypeVar

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy import inspect as sqlalchemy_inspect

from .composed import Mail
from .models import as_utc
from .outbox_settings import DEAD, DECOY, SENT, WAITING, OutboxSettings
from .retries import retrying
from .users import EMAIL_MAX_LENGTH

T = TypeVar("T")

DEAD_LETTERS_SHOWN = 20
PURGED_AT_ONCE = 500


class Claim(NamedTuple):
    """A mail that is ours to send until the lease is over.

    :ivar tries: which try this is.
    """

    mail: Mail
    tries: int


class DeadLetter(NamedTuple):
    """A mail that was given up, without what it says and to whom."""

    id: int
    template: str
    user_id: str
    error: str
    tries: int
    given_up: datetime


class Status(NamedTuple):
    """What is in the outbox.

    :ivar waiting: how long the oldest mail has been waiting, if one is.
    :ivar dead: the latest dead letters, no more than :data:`DEAD_LETTERS_SHOWN`.
    """

    counts: dict[str, int]
    waiting: timedelta | None
    dead: list[DeadLetter]


class OutboxStore:
    """Keeps mails until they have left. Every method but :meth:`add` has a transaction of its own."""

    def __init__(self, db: SQLAlchemy, model: type[Any], settings: OutboxSettings) -> None:
        self._db = db
        self.model = self._model = model
        self._settings = settings
        self._insert = insert(sqlalchemy_inspect(model).local_table)  # built once: that takes longer than to run it

    def add(self, mail: Mail) -> None:
        """Write a mail in the transaction of its cause."""
        self._add(mail, state=WAITING, content=json.dumps(mail.packed()), due_at=_now(), finished_at=None)

    def add_decoy(self, mail: Mail) -> None:
        """Write a row as large as the mail's that nobody sends and the next purge removes."""
        size = len(json.dumps(mail.packed()))
        over = _now() - self._settings.outbox_retention
        self._add(mail, state=DECOY, content=" " * size, due_at=None, finished_at=over)

    def _add(self, mail: Mail, **columns: Any) -> None:
        row = {
            "message_id": mail.message_id,
            "template": mail.template[:64],
            "user_id": mail.user_id[:255],
            "recipient": mail.to[:EMAIL_MAX_LENGTH],
            "created_at": _now(),
            **columns,
        }
        self._db.session.execute(self._insert, row)

    # Sending

    def claim(self, mail: Mail) -> Claim | None:
        """Take a mail that nobody has taken yet."""
        return Claim(mail, 1) if self._do(lambda connection: self._take(connection, mail.message_id, 0)) else None

    def claim_due(self, by: float) -> Claim | None:
        """Take the mail that has been due for longest; None where none was due by then, in seconds since the epoch."""
        while found := self._do(lambda connection: self._find_and_take(connection, _time(by))):
            claim, taken = found
            if taken:  # else somebody was faster, where rows are not skipped
                return claim
        return None

    def _find_and_take(self, connection: Connection, by: datetime) -> tuple[Claim, bool] | None:
        model = self._model
        due = select(model.message_id, model.tries, model.content).where(model.due_at <= by, model.state == WAITING)
        due = due.order_by(model.due_at).limit(1)
        if _skips_locked(connection):
            due = due.with_for_update(skip_locked=True)
        row = connection.execute(due).first()
        if row is None:
            return None
        claim = Claim(Mail.unpacked(json.loads(row.content)), row.tries + 1)
        return claim, self._take(connection, row.message_id, row.tries)

    def _take(self, connection: Connection, message_id: str, tries: int) -> bool:
        values = {"tries": tries + 1, "due_at": _now() + self._settings.outbox_lease}
        return self._change(connection, message_id, values, *self._still(tries)) == 1

    def sent(self, claim: Claim) -> None:
        """Note that a mail has left, and forget what it said."""
        values = {"state": SENT, "content": None, "error": None, "due_at": None, "finished_at": _now()}
        self._do(lambda connection: self._change(connection, claim.mail.message_id, values))

    def put_back(self, claim: Claim, error: str, delay: timedelta) -> None:
        """Let a mail be tried again after a while, unless somebody else has it by now."""
        self._fail(claim, {"error": error[:255], "due_at": _now() + delay})

    def bury(self, claim: Claim, error: str) -> bool:
        """Give a mail up; whether it was still ours to give up."""
        return self._fail(claim, {"state": DEAD, "error": error[:255], "due_at": None, "finished_at": _now()})

    def _fail(self, claim: Claim, values: dict[str, Any]) -> bool:
        message_id, ours = claim.mail.message_id, self._still(claim.tries)
        return self._do(lambda connection: self._change(connection, message_id, values, *ours)) == 1

    def _still(self, tries: int) -> list[Any]:
        return [self._model.state == WAITING, self._model.tries == tries]

    def _change(self, connection: Connection, message_id: str, values: dict[str, Any], *conditions: Any) -> int:
        statement = update(self._model).where(self._model.message_id == message_id, *conditions).values(values)
        return connection.execute(statement).rowcount

    def _do(self, work: Callable[[Connection], T]) -> T:
        """Do it in a transaction of its own, and again where the database asks for that."""
        engine: Any = self._db.session.get_bind(sqlalchemy_inspect(self._model))
        if engine.dialect.name in ("mysql", "mariadb"):  # whose default locks gaps too, and with them new rows
            engine = engine.execution_options(isolation_level="READ COMMITTED")

        def once() -> T:
            with engine.begin() as connection:
                return work(connection)

        return retrying(once, lambda: None)

    # Looking after it

    def status(self) -> Status:
        """How many mails there are in each state, and which were given up."""
        model = self._model
        count, oldest = func.count(), func.min(model.created_at)
        dead = [model.id, model.template, model.user_id, model.error, model.tries, model.finished_at]

        def look(connection: Connection) -> Status:
            rows = connection.execute(select(model.state, count, oldest).group_by(model.state)).all()
            letters = select(*dead).where(model.state == DEAD).order_by(model.finished_at.desc(), model.id.desc())
            counts = {state: number for state, number, _ in rows}
            waiting = next((_now() - as_utc(since) for state, _, since in rows if state == WAITING), None)
            shown = connection.execute(letters.limit(DEAD_LETTERS_SHOWN)).all()
            return Status(counts, waiting, [DeadLetter._make([*row[:-1], as_utc(row[-1])]) for row in shown])

        return self._do(look)

    def retry(self, ids: Sequence[int]) -> int:
        """Let mails that were given up be tried anew, these or all; returns how many."""
        model = self._model
        statement = update(model).where(model.state == DEAD, *([model.id.in_(ids)] if ids else []))
        values = {"state": WAITING, "tries": 0, "due_at": _now(), "finished_at": None}
        return self._run(statement.values(values))

    def purge(self) -> int:
        """Remove what was sent or given up ``REGISTRATION_OUTBOX_RETENTION`` ago; returns how many."""
        count = 0
        while ids := self.expired(limit=PURGED_AT_ONCE):
            count += self.remove(ids)
        return count

    def expired(self, grace: timedelta = timedelta(0), *, limit: int | None = None) -> Sequence[int]:
        """The keys of what :meth:`purge` would remove.

        :param grace: leave what is due for less than this.
        """
        old = select(self._model.id).where(self._model.finished_at <= self._kept_since(grace)).limit(limit)
        return self._do(lambda connection: connection.execute(old).scalars().all())

    def remove(self, ids: Sequence[int], grace: timedelta = timedelta(0)) -> int:
        """Remove those of these that :meth:`expired` still names: by key, so that no other row is locked."""
        model = self._model
        return self._run(delete(model).where(model.id.in_(ids), model.finished_at <= self._kept_since(grace)))

    def _kept_since(self, grace: timedelta) -> datetime:
        return _now() - self._settings.outbox_retention - grace

    def _run(self, statement: Any) -> int:
        return self._do(lambda connection: connection.execute(statement).rowcount)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def _now() -> datetime:
    return _time(time.time())


def _skips_locked(connection: Connection) -> bool:
    """Whether the database can look past rows that others are taking; else the condition of the UPDATE must do."""
    dialect: Any = connection.dialect
    if dialect.name in ("mysql", "mariadb"):
        return bool(dialect.server_version_info >= ((10, 6) if dialect.is_mariadb else (8,)))
    return bool(dialect.name == "postgresql")
