"""Whether mail leaves, and who can read it."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from typing import Any

from flask import Flask

from ..dispatch import TimedConnection
from ..kit import Kit
from ..mail import MailSettings
from ..settings import PREFIX, spell
from .findings import Finding, error, warning
from .web import is_local


def suppressed(app: Flask, kit: Kit) -> Iterator[Finding]:
    """Mail that is dropped without a word."""
    mail = app.extensions.get("mail")
    if mail is not None and mail.suppress and not app.testing:
        yield warning("MAIL_SUPPRESS_SEND", "is on: no mail leaves, and nobody is told.", "MAIL_SUPPRESS_SEND = False")


def in_clear(app: Flask, kit: Kit) -> Iterator[Finding]:
    """Links and passwords of the mail server that anybody on the way can read."""
    mail = app.extensions.get("mail")
    if mail is None or is_local(mail.server):
        return
    if not (mail.use_tls or mail.use_ssl):
        yield warning(
            "MAIL_USE_TLS",
            f"is off, and {mail.server} is another machine: mailed links cross the network readable.",
            "MAIL_USE_TLS = True, with MAIL_PORT = 587; or MAIL_USE_SSL = True, with MAIL_PORT = 465",
        )
    elif not kit.group(MailSettings).mail_verify_tls:
        yield warning(
            PREFIX + "MAIL_VERIFY_TLS",
            "is off: anybody on the way can pose as the mail server.",
            f"{PREFIX}MAIL_VERIFY_TLS = True",
        )


def unlimited(app: Flask, kit: Kit) -> Iterator[Finding]:
    """Strangers who can fill a mailbox."""
    if not kit.group(MailSettings).mail_cooldown:
        yield warning(
            PREFIX + "MAIL_COOLDOWN",
            "is 0: a stranger can have any number of mails sent to an address.",
            f"{PREFIX}MAIL_COOLDOWN = 60",
        )


def server(app: Flask, kit: Kit) -> Iterator[Finding]:
    """Talk to the mail server as far as a mail would, and send none."""
    mail, settings = app.extensions.get("mail"), kit.group(MailSettings)
    if mail is None:
        return
    timeout = settings.mail_timeout.total_seconds()
    try:
        with TimedConnection(mail, timeout=timeout, verify_tls=settings.mail_verify_tls).configure_host() as host:
            host.ehlo_or_helo_if_needed()
    except (OSError, smtplib.SMTPException) as failure:
        yield error(
            "MAIL_SERVER",
            f"is {mail.server}, port {mail.port}, and takes no mail: {describe(failure)}, "
            f"within {spell(settings.mail_timeout)}.",
            "mend MAIL_SERVER, MAIL_PORT, MAIL_USE_TLS, MAIL_USE_SSL, MAIL_USERNAME, MAIL_PASSWORD",
        )


def describe(failure: BaseException) -> str:
    """An error in one line that no server has a hand in but for its words."""
    words: Any = getattr(failure, "smtp_error", None) or failure
    text = words.decode("ascii", "replace") if isinstance(words, bytes) else str(words)
    printable = "".join(letter if letter.isprintable() else " " for letter in text[:300])
    return f"{type(failure).__name__}: {' '.join(printable.split()).rstrip('.?!')}"
