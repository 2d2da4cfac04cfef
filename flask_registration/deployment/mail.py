"""Check that e-mails are sent, and over a connection that others cannot read."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from typing import Any

from ..checks import Finding
from ..i18n.messages import duration
from ..mail.composer import MailSettings
from ..mail.dispatch import TimedConnection
from ..state import Check, Setup
from .web import is_local


def sending(setup: Setup) -> Iterator[Finding]:
    """Report e-mails that are dropped, or that can be read on the network."""
    mail = setup.app.extensions.get("mail")
    if mail is None:
        return
    if mail.suppress and not setup.app.testing:
        yield Finding(
            "registration.W015",
            "MAIL_SUPPRESS_SEND",
            "is on. No e-mail is sent, and no error is reported.",
            "Set MAIL_SUPPRESS_SEND = False.",
        )
    if is_local(mail.server):
        return
    if not (mail.use_tls or mail.use_ssl):
        yield Finding(
            "registration.W016",
            "MAIL_USE_TLS",
            f"is off, and {mail.server} is another machine. Links can be read on the network.",
            "Set MAIL_USE_TLS = True, with MAIL_PORT = 587; or MAIL_USE_SSL = True, with "
            "MAIL_PORT = 465.",
        )
    elif not setup.group(MailSettings).mail_verify_tls:
        yield Finding(
            "registration.W017",
            "REGISTRATION_MAIL_VERIFY_TLS",
            "is False. An attacker on the network can pose as the mail server.",
            "Set REGISTRATION_MAIL_VERIFY_TLS = True.",
        )


def cooldown(setup: Setup) -> Iterator[Finding]:
    """Report that clients can flood a mailbox."""
    if not setup.group(MailSettings).mail_cooldown:
        yield Finding(
            "registration.W018",
            "REGISTRATION_MAIL_COOLDOWN",
            "is 0. A client can cause any number of e-mails to an address.",
            "Set REGISTRATION_MAIL_COOLDOWN = 60.",
        )


def server(setup: Setup) -> Iterator[Finding]:
    """Connect to the mail server and log in, without sending an e-mail."""
    mail, settings = setup.app.extensions.get("mail"), setup.group(MailSettings)
    if mail is None:
        return
    timeout, verify_tls = settings.mail_timeout.total_seconds(), settings.mail_verify_tls
    try:
        with TimedConnection(mail, timeout=timeout, verify_tls=verify_tls).configure_host() as host:
            host.ehlo_or_helo_if_needed()
    except (OSError, smtplib.SMTPException) as failure:
        reason = describe(failure)
        limit = duration(settings.mail_timeout)
        yield Finding(
            "registration.E037",
            "MAIL_SERVER",
            f"is {mail.server}, port {mail.port}, but the connection failed: {reason}, "
            f"within {limit}. E-mails cannot be sent.",
            "Check MAIL_SERVER, MAIL_PORT, MAIL_USE_TLS, MAIL_USE_SSL, MAIL_USERNAME, "
            "MAIL_PASSWORD.",
        )


def describe(failure: BaseException) -> str:
    """Return an error in one line of printable text."""
    words: Any = getattr(failure, "smtp_error", None) or failure
    text = words.decode("ascii", "replace") if isinstance(words, bytes) else str(words)
    printable = "".join(letter if letter.isprintable() else " " for letter in text[:300])
    return f"{type(failure).__name__}: {' '.join(printable.split()).rstrip('.?!')}"


CHECKS: tuple[Check, ...] = (sending, cooldown)
