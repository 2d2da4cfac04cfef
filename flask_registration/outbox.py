"""Mails as rows: the columns, and how long they are kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import DateTime, String, Text
from sqlalchemy.dialects.mysql import DATETIME, MEDIUMTEXT
from sqlalchemy.orm import Mapped, mapped_column

from .models import BIG_KEY, exact_string
from .settings import Settings, setting
from .users import EMAIL_MAX_LENGTH

WAITING, SENT, DEAD = "waiting", "sent", "dead"

#: A row in place of a mail that nobody gets, so that the time of a reply does not tell that.
DECOY = "decoy"

#: Times to the microsecond; MySQL would round them to seconds, up or down.
_TIME = DateTime(timezone=True).with_variant(DATETIME(fsp=6), "mysql", "mariadb")
_LONG_TEXT = Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")


@dataclass(frozen=True, kw_only=True)
class OutboxSettings(Settings):
    """The outbox."""

    outbox_lease: timedelta = setting(
        timedelta(minutes=5),
        "How long a sender has a mail to itself. When that is over and the mail was not sent, another one sends it, so "
        "this must be longer than the slowest mail takes.",
    )
    outbox_retention: timedelta = setting(
        timedelta(days=7), "How long the record of a mail is kept that was sent or given up."
    )


class OutboxMixin:
    """The columns of a mail that shall be sent: ``class Outbox(OutboxMixin, db.Model)``.

    ``content`` has the whole mail, with its link, until it was sent. ``due_at`` is when somebody may take it next; NULL
    where nobody shall.
    """

    id: Mapped[int] = mapped_column(BIG_KEY, primary_key=True)
    message_id: Mapped[str] = mapped_column(String(320), unique=True)
    state: Mapped[str] = mapped_column(String(16))
    template: Mapped[str] = mapped_column(String(64))
    user_id: Mapped[str] = mapped_column(String(255))
    recipient: Mapped[str] = mapped_column(exact_string(EMAIL_MAX_LENGTH))
    content: Mapped[str | None] = mapped_column(_LONG_TEXT)
    tries: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(_TIME)
    due_at: Mapped[datetime | None] = mapped_column(_TIME, index=True)
    finished_at: Mapped[datetime | None] = mapped_column(_TIME)
