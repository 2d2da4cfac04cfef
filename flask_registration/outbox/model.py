"""The columns and the settings of the outbox."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import DateTime, String, Text
from sqlalchemy.dialects.mysql import DATETIME, MEDIUMTEXT
from sqlalchemy.orm import Mapped, mapped_column

from ..settings import Settings, setting
from ..users.identifiers import EMAIL_MAX_LENGTH
from ..users.mixins import BIG_KEY, exact_string

#: A time with microseconds; MySQL rounds to seconds by default.
_TIME = DateTime(timezone=True).with_variant(DATETIME(fsp=6), "mysql", "mariadb")
_LONG_TEXT = Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")


@dataclass(frozen=True, kw_only=True)
class OutboxSettings(Settings):
    """Outbox of e-mails."""

    outbox_lease: timedelta = setting(
        timedelta(minutes=5),
        "How long a sender locks an e-mail. If it was not sent by then, another sender sends it. "
        "Sending an e-mail must never take longer.",
    )
    outbox_retention: timedelta = setting(
        timedelta(days=7), "How long to keep the row of an e-mail that was sent or finally failed."
    )


class OutboxMixin:
    """The columns of a queued e-mail: ``class Outbox(OutboxMixin, db.Model)``.

    ``content`` says what the e-mail is about, without its link, until it is sent. ``due_at`` is the
    time from which a sender may claim it; NULL if it is not to be sent.
    """

    __registration_role__ = "outbox"

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
