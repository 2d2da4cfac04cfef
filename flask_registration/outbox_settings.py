"""What a mail in the outbox may be, and how long it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from .settings import Settings, setting

WAITING, SENT, DEAD = "waiting", "sent", "dead"

#: A row in place of a mail that nobody gets, so that the time of a reply does not tell that.
DECOY = "decoy"


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
