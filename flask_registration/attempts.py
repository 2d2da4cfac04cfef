"""How often a mail is tried, and how long to wait in between."""

from __future__ import annotations

import random
import smtplib
from dataclasses import dataclass
from datetime import timedelta

from .settings import Settings, setting


@dataclass(frozen=True, kw_only=True)
class RetrySettings(Settings):
    """Mail that is tried again: that of the dispatchers ``"outbox"`` and ``"celery"``."""

    mail_tries: int = setting(
        50, "How often a mail is tried before it is given up; with the default delays, over most of a day."
    )
    mail_retry_delay: timedelta = setting(
        timedelta(minutes=1), "How long to wait after the first failure; each further one doubles it."
    )
    mail_retry_max_delay: timedelta = setting(timedelta(minutes=30), "How long to wait at the most.")


def delay(settings: RetrySettings, tries: int) -> timedelta:
    """How long to wait after so many failures; a little less at random, so that not all come back at once."""
    doubled: timedelta = settings.mail_retry_delay * (1 << min(tries - 1, 20))
    return min(doubled, settings.mail_retry_max_delay) * random.uniform(0.75, 1)  # noqa: S311 -- no secret


def is_final(settings: RetrySettings, tries: int, error: Exception) -> bool:
    """Whether a failure is the last one: the tries are used up, or the server will never take this mail.

    Of a server's answers these are the ones about the mail system, ``x5z``, but not the full mailbox (RFC 5321, 4.2.1
    and 4.5.3.1.10): whatever else it says may be about all mails, and mended by the next try.
    """
    return tries >= settings.mail_tries or any(550 <= code < 560 and code != 552 for code in _answers(error))


def describe(error: BaseException) -> str:
    """What failed, without what the error says: that may be an address, or worse."""
    return " ".join([type(error).__name__, *map(str, _answers(error))])


def _answers(error: BaseException) -> list[int]:
    """The codes of a server that refused."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return [code for code, _ in error.recipients.values()]
    return [error.smtp_code] if isinstance(error, smtplib.SMTPResponseException) else []
