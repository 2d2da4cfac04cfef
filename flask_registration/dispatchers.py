"""Which dispatcher an application has."""

from __future__ import annotations

from flask import Flask

from .attempts import RetrySettings
from .delivery import OutboxDispatcher, Sender
from .dispatch import BackgroundDispatcher, CallableDispatcher, Dispatcher, InlineDispatcher, Mailer
from .mail import MailSettings


def make_dispatcher(
    app: Flask, settings: MailSettings, retries: RetrySettings, mailer: Mailer, sender: Sender | None
) -> Dispatcher:
    """The dispatcher that ``REGISTRATION_MAIL_DISPATCHER`` names.

    :param sender: what sends from the outbox; needed for that one only.
    """
    if callable(settings.mail_dispatcher):
        return CallableDispatcher(app, mailer, settings.mail_dispatcher)
    if settings.mail_dispatcher == "inline":
        return InlineDispatcher(app, mailer)
    if settings.mail_dispatcher == "outbox" and sender:
        return OutboxDispatcher(app, mailer, sender)
    if settings.mail_dispatcher == "celery":
        from .celery_mail import CeleryDispatcher  # needs the extra "celery"

        return CeleryDispatcher(app, mailer, retries)
    return BackgroundDispatcher(app, mailer)
