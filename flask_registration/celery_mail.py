"""Mail by the application's Celery: a task that is done only when the mail has left."""

from __future__ import annotations

from typing import Any

from celery import Task
from flask import Flask

from .attempts import RetrySettings, delay, is_final
from .dispatch import BackgroundDispatcher, Mailer
from .mail import Mail

#: What Celery, its events and its monitors show in place of a mail with its link.
SHOWN = "('a mail',)"


def make_task(app: Flask, mailer: Mailer, settings: RetrySettings) -> Any:
    """The task that sends a packed mail, and sends itself again later where that fails.

    It is acknowledged when the mail has left: a worker that dies before that leaves it to another.
    """

    class SendMail(Task):  # type: ignore[misc]  # Celery ships no types
        name = "flask_registration.send_mail"
        max_retries = settings.mail_tries
        acks_late = True
        reject_on_worker_lost = True
        ignore_result = True

        def run(self, packed: dict[str, Any]) -> None:
            mail, tries = Mail.unpacked(packed), self.request.retries + 1
            with app.app_context():
                try:
                    mailer.send(mail)
                except Exception as error:
                    if is_final(settings, tries, error):
                        mailer.report(mail, error)
                        return
                    wait = delay(settings, tries)
                    mailer.report_try(mail, error, tries, wait)
                    raise self.retry(countdown=wait.total_seconds(), argsrepr=SHOWN) from None

    return SendMail()


class CeleryDispatcher(BackgroundDispatcher):
    """After the commit, a thread of the pool hands the mail to the broker, whose trouble then holds up no reply.

    What an application sends by itself cannot be handed on, and leaves as with the background dispatcher.
    """

    def __init__(self, app: Flask, mailer: Mailer, settings: RetrySettings) -> None:
        super().__init__(app, mailer)
        self._task = make_task(app, mailer, settings)
        app.extensions["celery"].register_task(self._task)

    def leave(self, mail: Mail) -> None:
        self._mailer.try_to(self._mailer.send if mail.deliver else self._publish, mail)

    def _publish(self, mail: Mail) -> None:
        self._task.apply_async((mail.packed(),), argsrepr=SHOWN)
