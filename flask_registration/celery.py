"""Send e-mails by the application's Celery: a task ends only when its e-mail was sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from celery import Task

from .checks import Finding
from .mail.dispatch import BackgroundDispatcher, Mailer, RetrySettings
from .mail.message import Mail
from .state import Extra, Setup

#: What Celery, its events and its monitors show instead of an e-mail with its recipient.
SHOWN = "('an e-mail',)"


def make_task(mailer: Mailer, settings: RetrySettings) -> Any:
    """Register the task that sends a packed e-mail, and retries it after a failure.

    It is acknowledged when the e-mail was sent: if a worker dies before that, another one sends it.
    """

    class SendMail(Task):  # type: ignore[misc]  # Celery ships no types
        name = "flask_registration.send_mail"
        max_retries = settings.mail_tries
        acks_late = True
        reject_on_worker_lost = True
        ignore_result = True

        def run(self, packed: dict[str, Any]) -> None:
            mail, tries = Mail(**packed), self.request.retries + 1
            with mailer.app.app_context():
                try:
                    mailer.send(mail)
                except Exception as error:  # of a template or the mail server
                    wait = settings.wait(tries, error)
                    mailer.report_try(mail, error, tries, wait)
                    if wait is None:
                        return
                    raise self.retry(countdown=wait.total_seconds(), argsrepr=SHOWN) from None

    return mailer.app.extensions["celery"].register_task(SendMail())


@dataclass(eq=False)
class CeleryDispatcher(BackgroundDispatcher):
    """Publishes an e-mail by a thread of the pool after the commit.

    No response waits for the broker. An e-mail that the application sends cannot be published; it
    is sent as by the background dispatcher.
    """

    copies_request = False

    task: Any

    def _send(self, mail: Mail) -> None:
        if mail.user_id is not None:  # else it is dropped; no response waits for this
            self.task.apply_async((asdict(mail),), argsrepr=SHOWN)


def prepare(setup: Setup) -> Iterator[Finding]:
    """Check that the application has a Celery, and register the dispatcher ``"celery"``."""
    retries = setup.group(RetrySettings)
    if "celery" not in setup.app.extensions:
        yield Finding(
            "registration.E026",
            "REGISTRATION_MAIL_DISPATCHER",
            'is "celery", but the application has none. E-mails could not be sent.',
            'Set app.extensions["celery"] to it before registration.init_app(app).',
        )
    setup.dispatchers["celery"] = lambda mailer: CeleryDispatcher(
        mailer, make_task(mailer, retries)
    )


extra: Extra = Extra(prepare=prepare)
