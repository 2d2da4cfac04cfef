"""The outbox: e-mails are queued with their cause, and sent after the commit until they succeed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import cache, cached_property
from typing import Any, NamedTuple, TypeVar

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Connection, Insert, Update, delete, func, insert, select, update
from sqlalchemy import inspect as sqlalchemy_inspect

from ..checks import Finding
from ..mail.composer import MailSettings
from ..mail.dispatch import BackgroundDispatcher, Mailer, RetrySettings, describe
from ..mail.message import Mail
from ..state import Extra, Setup
from ..users.identifiers import EMAIL_MAX_LENGTH
from ..users.mixins import as_utc, utc_now
from ..users.transaction import own_transaction, with_retries
from .model import OutboxSettings

#: The states of an e-mail; a dropped one had no recipient, or a limit dropped it.
WAITING, SENT, DROPPED, DEAD = "waiting", "sent", "dropped", "dead"


T = TypeVar("T")

DEAD_LETTERS_SHOWN = 20
PURGED_AT_ONCE = 500


class Status(NamedTuple):
    """The content of the outbox.

    :ivar counts: the number of rows in each state.
    :ivar waiting: how long the oldest queued e-mail has been waiting, if there is one.
    :ivar dead: the latest dead letters without content and recipient, at most
        :data:`DEAD_LETTERS_SHOWN`.
    """

    counts: dict[str, int]
    waiting: timedelta | None
    dead: Sequence[Any]


@dataclass(eq=False)
class OutboxStore:
    """Stores e-mails until they are sent.

    All methods except :meth:`add` use a transaction of their own.
    """

    db: SQLAlchemy
    model: type[Any]
    settings: OutboxSettings

    @cached_property
    def _insert(self) -> Insert:
        # Building it takes longer than running it.
        return insert(sqlalchemy_inspect(self.model).local_table)

    def add(self, mail: Mail) -> None:
        """Queue an e-mail in the transaction of its cause: what it is about, without its link."""
        row = {
            "message_id": mail.message_id,
            "state": WAITING,
            "template": mail.template[:64],
            "user_id": (mail.user_id or "")[:255],
            "recipient": mail.to[:EMAIL_MAX_LENGTH],
            "content": json.dumps(asdict(mail)),
            "created_at": utc_now(),
            "due_at": utc_now(),
            "finished_at": None,
        }
        self.db.session.execute(self._insert, row)

    # Sending

    def claim(self, mail: Mail) -> bool:
        """Lock an e-mail for this sender until the lease ends. Return False if it was claimed."""
        return self._run(self._claiming(mail.message_id, 0)) == 1

    def claim_due(self, by: datetime) -> tuple[Mail, int] | None:
        """Claim the e-mail that has been due for the longest time.

        Return it with the number of this try, or None if none is due.
        """
        model = self.model
        due = select(model.message_id, model.tries, model.content)
        due = due.where(model.due_at <= by, model.state == WAITING)
        due = due.order_by(model.due_at).limit(1)

        def find_and_claim(connection: Connection) -> tuple[Any, bool]:
            lock = _skips_locked(connection)
            row = connection.execute(due.with_for_update(skip_locked=True) if lock else due).first()
            if row is None:
                return None, False
            claimed = connection.execute(self._claiming(row.message_id, row.tries))
            return row, claimed.rowcount == 1

        while True:
            row, is_claimed = self._do(find_and_claim)
            if row is None:
                return None
            if is_claimed:  # else another sender was faster; some databases cannot skip its row
                return Mail(**json.loads(row.content)), row.tries + 1

    def _claiming(self, message_id: str, tries: int) -> Update:
        until = utc_now() + self.settings.outbox_lease
        return self._update(message_id, tries).values(tries=tries + 1, due_at=until)

    def finish(self, mail: Mail, state: str) -> None:
        """Write that an e-mail was sent or dropped, and delete its content."""
        values = {"state": state, "content": None, "error": None, "due_at": None}
        statement = update(self.model).where(self.model.message_id == mail.message_id)
        self._run(statement.values(**values, finished_at=utc_now()))

    def fail(self, mail: Mail, tries: int, error: str, wait: timedelta | None) -> bool:
        """Schedule another try. Return False if another sender has claimed the e-mail by now.

        :param wait: the time until the next try; None if the e-mail finally failed.
        """
        now = utc_now()
        values: dict[str, Any] = {"error": error[:255]}
        if wait is None:
            values |= {"state": DEAD, "due_at": None, "finished_at": now}
        else:
            values["due_at"] = now + wait
        statement = self._update(mail.message_id, tries)
        return self._run(statement.values(values)) == 1

    def _update(self, message_id: str, tries: int) -> Update:
        """Return the UPDATE of an e-mail, if it waits after this number of tries."""
        model = self.model
        return update(model).where(
            model.message_id == message_id, model.state == WAITING, model.tries == tries
        )

    def _do(self, work: Callable[[Connection], T]) -> T:
        """Call a function in a transaction of its own. Retry it if the database requires that."""

        def once() -> T:
            with own_transaction(self.db, self.model) as connection:
                return work(connection)

        return with_retries(once, lambda: None)

    # Maintenance

    def status(self) -> Status:
        """Return the number of e-mails in each state, and the latest dead letters."""
        model = self.model
        states = select(model.state, func.count(), func.min(model.created_at)).group_by(model.state)
        dead = select(
            model.id, model.template, model.user_id, model.error, model.tries, model.finished_at
        ).where(model.state == DEAD)
        latest = dead.order_by(model.finished_at.desc(), model.id.desc()).limit(DEAD_LETTERS_SHOWN)

        def look(connection: Connection) -> Status:
            rows = connection.execute(states).all()
            oldest = {state: created_at for state, _, created_at in rows}.get(WAITING)
            return Status(
                counts={state: number for state, number, _ in rows},
                waiting=oldest and utc_now() - as_utc(oldest),
                dead=connection.execute(latest).all(),
            )

        return self._do(look)

    def retry(self, ids: Sequence[int]) -> int:
        """Queue dead letters again, these or else all. Return their number."""
        model = self.model
        statement = update(model).where(model.state == DEAD)
        if ids:
            statement = statement.where(model.id.in_(ids))
        values = {"state": WAITING, "tries": 0, "due_at": utc_now(), "finished_at": None}
        return self._run(statement.values(values))

    def purge(self) -> None:
        """Delete rows that finished ``REGISTRATION_OUTBOX_RETENTION`` ago."""
        while ids := self.expired(limit=PURGED_AT_ONCE):
            self.remove(ids)

    def expired(
        self, grace: timedelta = timedelta(0), *, limit: int | None = None
    ) -> Sequence[int]:
        """Return the keys of the rows that :meth:`purge` would delete.

        :param grace: keep rows for this time in addition.
        """
        old = select(self.model.id).where(self._is_old(grace)).limit(limit)
        return self._do(lambda connection: connection.execute(old).scalars().all())

    def remove(self, ids: Sequence[int], grace: timedelta = timedelta(0)) -> int:
        """Delete those of these rows that are still expired. By key, to lock no other row."""
        return self._run(delete(self.model).where(self.model.id.in_(ids), self._is_old(grace)))

    def _is_old(self, grace: timedelta) -> Any:
        kept_since = utc_now() - self.settings.outbox_retention - grace
        return self.model.finished_at <= kept_since

    def _run(self, statement: Any) -> int:
        return self._do(lambda connection: connection.execute(statement).rowcount)


def _skips_locked(connection: Connection) -> bool:
    """Return whether the database can skip locked rows. If not, one UPDATE of several succeeds."""
    dialect: Any = connection.dialect
    if dialect.name in ("mysql", "mariadb"):
        return bool(dialect.server_version_info >= ((10, 6) if dialect.is_mariadb else (8,)))
    return bool(dialect.name == "postgresql")


class LeaseExpired(Exception):
    """The senders of this e-mail never reported its outcome."""


@dataclass(eq=False)
class OutboxSender:
    """Sends queued e-mails. Any number of senders may work in any number of processes.

    An e-mail is claimed in one short transaction and sent outside of any. Its outcome is written
    in another one. A process that dies in between leaves a claim that expires. So an e-mail may be
    sent twice, but is never lost.
    """

    mailer: Mailer
    store: OutboxStore
    settings: RetrySettings

    def send(self, mail: Mail) -> None:
        """Send an e-mail, unless another sender has claimed it."""
        with self.mailer.app.app_context():
            if self.store.claim(mail):
                self._send(mail, 1)

    def send_one(self, due_by: datetime | None = None) -> bool | None:
        """Send the e-mail that has been due for the longest time.

        Return whether it was sent, or None if none is due. An e-mail that is dropped does not
        count; the next one follows.

        :param due_by: now by default.
        """
        by = due_by or utc_now()
        with self.mailer.app.app_context():  # with a database session that is closed afterwards
            while claimed := self.store.claim_due(by):
                was_sent = self._send(*claimed)
                if was_sent is not None:
                    return was_sent
        return None

    def _send(self, mail: Mail, tries: int) -> bool | None:
        """Return whether an e-mail was sent, or None if it was dropped.

        :param tries: the number of this try.
        """
        try:
            if tries > self.settings.mail_tries:
                raise LeaseExpired
            was_sent = self.mailer.send(mail)
        except Exception as error:  # of a template or the mail server
            wait = self.settings.wait(tries, error)
            is_own = self.store.fail(mail, tries, describe(error), wait)
            if wait is not None or is_own:
                self.mailer.report_try(mail, error, tries, wait)
            return False
        self.store.finish(mail, SENT if was_sent else DROPPED)
        return was_sent or None


@dataclass(eq=False)
class OutboxDispatcher(BackgroundDispatcher):
    """Queues an e-mail in the transaction of its cause. A thread pool sends it after the commit.

    If the pool is full, or the process exits, another sender sends it. An e-mail that the
    application sends cannot be queued. It is sent as by the background dispatcher.
    """

    copies_request = False

    sender: OutboxSender

    def before_commit(self, mail: Mail) -> None:
        """Queue an e-mail in the transaction."""
        if not mail.by_application:
            self.sender.store.add(mail)

    def _run(self, mail: Mail, deliver: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the interpreter exits, and the row stays
            self._submit(deliver)

    def _send(self, mail: Mail) -> None:
        """Send a queued e-mail, and one that was due before."""
        try:
            self.sender.send(mail)
            if not self.mailer.app.testing:
                self.sender.send_one()  # a busy process sends those that were due before
        except Exception as error:  # most likely of the database
            self.mailer.app.logger.error(
                "The outbox could not be processed; its e-mails stay queued.", exc_info=error
            )


def prepare(setup: Setup) -> Iterator[Finding]:
    """Check the settings and register the dispatcher ``"outbox"``."""
    model, user_model = setup.models.get("outbox"), setup.models["user"]
    settings, mails = setup.group(OutboxSettings), setup.group(MailSettings)
    if mails.mail_dispatcher == "outbox" and model is None:
        yield Finding(
            "registration.E030",
            "REGISTRATION_MAIL_DISPATCHER",
            'is "outbox", which needs a model. E-mails are queued in its table.',
            "Define class Outbox(OutboxMixin, db.Model), and add Outbox to the list models of "
            "Registration or init_app.",
        )
    if settings.outbox_lease <= mails.mail_timeout:
        yield Finding(
            "registration.E031",
            "REGISTRATION_OUTBOX_LEASE",
            "must be longer than REGISTRATION_MAIL_TIMEOUT. "
            "An e-mail can take that long at each of its steps, and would be sent twice.",
            "Set a few minutes: REGISTRATION_OUTBOX_LEASE = 300.",
        )
    if model is None:
        return
    bind, user_bind = _bind(model), _bind(user_model)
    if user_model is not None and bind != user_bind:
        name, user_name = model.__name__, user_model.__name__
        yield Finding(
            "registration.E032",
            f"{name}.__bind_key__",
            f"is {bind!r}, and the one of {user_name} is {user_bind!r}. "
            "E-mails would not be queued in the transaction of their cause.",
            f"Use the one of {user_name}.",
        )

    @cache
    def make(mailer: Mailer) -> OutboxSender:
        store = OutboxStore(setup.app.extensions["sqlalchemy"], model, settings)
        return OutboxSender(mailer, store, setup.group(RetrySettings))

    setup.extras["outbox"] = make
    setup.dispatchers["outbox"] = lambda mailer: OutboxDispatcher(mailer, make(mailer))


def _bind(model: Any) -> Any:
    metadata = getattr(model, "metadata", None)
    return getattr(metadata, "info", {}).get("bind_key")


extra: Extra = Extra(settings=(OutboxSettings,), prepare=prepare)
