"""Send e-mails: never inside a transaction, except with ``"inline"``."""

from __future__ import annotations

import os
import random
import smtplib
import ssl
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask import Flask, after_this_request, has_request_context
from flask_mail import Connection

from ..errors import MailUnavailable
from ..security_log import MAIL_FAILED, record
from ..settings import Settings, setting
from ..users.transaction import mark_committed
from .composer import MailSettings
from .limits import Cooldown
from .message import Mail

#: The maximum number of e-mails that wait, for each thread of the pool. Servers give a process about 30
#: seconds to end; a thread sends as many in that time to a mail server that takes a second for each.
MAILS_PER_THREAD = 32


@dataclass(frozen=True, kw_only=True)
class RetrySettings(Settings):
    """Retries of e-mails by the dispatchers ``"outbox"`` and ``"celery"``."""

    mail_tries: int = setting(
        50,
        "How many times to try to send an e-mail; with the default delays, over most of a day.",
        minimum=1,
    )
    mail_retry_delay: timedelta = setting(
        timedelta(minutes=1),
        "How long to wait after the first failure; it doubles for each further one.",
    )
    mail_retry_max_delay: timedelta = setting(
        timedelta(minutes=30), "The maximum time to wait between two tries."
    )


def delay(settings: RetrySettings, tries: int) -> timedelta:
    """Return how long to wait after this number of failures; random, to spread the retries."""
    doubled: timedelta = settings.mail_retry_delay * (1 << min(tries - 1, 20))
    return min(doubled, settings.mail_retry_max_delay) * random.uniform(0.75, 1)  # noqa: S311 -- no secret


def is_final(settings: RetrySettings, tries: int, error: Exception) -> bool:
    """Return whether a failure is final: all tries are used, or the server will never accept this e-mail.

    Final codes of a server are those about the e-mail itself, ``x5z`` without the full mailbox (RFC 5321,
    4.2.1 and 4.5.3.1.10). Other codes may concern all e-mails, and the next try may succeed.
    """
    codes = _status_codes(error)
    return tries >= settings.mail_tries or any(550 <= code < 560 and code != 552 for code in codes)


def describe(error: BaseException) -> str:
    """Return the class and the codes of an error, without its text, which may contain an address."""
    return " ".join([type(error).__name__, *map(str, _status_codes(error))])


def _status_codes(error: BaseException) -> list[int]:
    """Return the codes of a server that refused an e-mail."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return [code for code, _ in error.recipients.values()]
    return [error.smtp_code] if isinstance(error, smtplib.SMTPResponseException) else []


class TimedConnection(Connection):
    """Flask-Mail's connection with a timeout, which checks the server's certificate.

    :param timeout: seconds, for connecting and for each response.
    """

    def __init__(self, mail: Any, *, timeout: float, verify_tls: bool) -> None:
        super().__init__(mail)
        self._timeout = timeout
        self._verify_tls = verify_tls

    def configure_host(self) -> smtplib.SMTP | smtplib.SMTP_SSL:
        """Connect to the mail server and log in."""
        mail = self.mail
        host: smtplib.SMTP | smtplib.SMTP_SSL
        server = (mail.server, mail.port or 0)
        if mail.use_ssl:
            host = smtplib.SMTP_SSL(*server, timeout=self._timeout, context=self._tls())
        else:
            host = smtplib.SMTP(*server, timeout=self._timeout)
        try:
            host.set_debuglevel(int(mail.debug))
            if mail.use_tls:
                host.starttls(context=self._tls())
            if mail.username and mail.password:
                host.login(mail.username, mail.password)
        except BaseException:
            host.close()
            raise
        return host

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if not self._verify_tls:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def __exit__(self, *_: object) -> None:
        if self.host is not None:
            try:
                self.host.quit()
            except (OSError, smtplib.SMTPException):  # it has accepted the e-mail before
                self.host.close()


class Mailer:
    """Sends an e-mail through Flask-Mail, and reports a failure.

    :param failed: called with the e-mail and the error, in an application context.
    """

    def __init__(
        self,
        app: Flask,
        settings: MailSettings,
        cooldown: Cooldown,
        failed: Callable[[Mail, BaseException], None],
    ) -> None:
        self._app = app
        self.settings = settings
        self._failed = failed
        self.cooldown = cooldown

    def send(self, mail: Mail) -> None:
        """Send an e-mail now, within an application context. Errors of Flask-Mail and smtplib pass through."""
        if mail.send_by_application:
            mail.send_by_application()
            return
        connection = TimedConnection(
            self._app.extensions["mail"],
            timeout=self.settings.mail_timeout.total_seconds(),
            verify_tls=self.settings.mail_verify_tls,
        )
        with connection:
            connection.send(mail.message())

    def send_safely(self, work: Callable[[Mail], None], mail: Mail) -> None:
        """Send an e-mail with a function; report its failure."""
        try:
            work(mail)
        except Exception as error:
            self.report(mail, error)

    def report(self, mail: Mail, error: BaseException) -> None:
        """Log a failure and send ``mail_failed``. The next e-mail to this address is allowed at once."""
        self.cooldown.forget(mail.to)
        self._app.logger.error("An e-mail (%s) could not be sent.", mail.template, exc_info=error)
        name = type(error).__name__
        record(MAIL_FAILED, user_id=mail.user_id, template=mail.template, error=name)
        self._failed(mail, error)

    def report_try(self, mail: Mail, error: BaseException, tries: int, wait: timedelta) -> None:
        """Log a failure after which there is another try."""
        text = "An e-mail (%s) could not be sent at try %d; the next try is in %.0f seconds: %s."
        seconds = wait.total_seconds()
        self._app.logger.warning(text, mail.template, tries, seconds, describe(error))


class Dispatcher:
    """Sends e-mails. It receives each one before the commit and after it."""

    def __init__(self, app: Flask, mailer: Mailer) -> None:
        self._app = app
        self._mailer = mailer

    def before_commit(self, mail: Mail) -> None:
        """Do nothing: no e-mail is sent inside a transaction.

        :raises MailUnavailable: the transaction must be rolled back.
        """

    def equalize_timing(self, mail: Mail) -> None:
        """Do the work of :meth:`before_commit` for a dry run, if that takes time."""

    def after_commit(self, mail: Mail) -> None:
        """Send an e-mail after the commit. Does not raise."""
        self.deliver(mail)

    def deliver(self, mail: Mail) -> None:
        """Send an e-mail now. Does not raise."""
        self._mailer.send_safely(self._mailer.send, mail)


class InlineDispatcher(Dispatcher):
    """Sends in the request, before the commit: a failure rolls back and returns 503."""

    def before_commit(self, mail: Mail) -> None:
        try:
            self._mailer.send(mail)
        except Exception as error:
            raise MailUnavailable from error
        mark_committed()

    def after_commit(self, mail: Mail) -> None:
        """Do nothing: the e-mail was sent already."""


class BackgroundDispatcher(Dispatcher):
    """Sends after the response, by a small pool of threads, which Python drains at exit.

    With ``app.testing``, and for an e-mail that the application sends, it sends in the request.
    """

    def __init__(self, app: Flask, mailer: Mailer) -> None:
        super().__init__(app, mailer)
        self._start_pool()

    def _start_pool(self) -> None:
        self._process = os.getpid()
        threads = self._mailer.settings.mail_threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="registration-mail")
        self._free = threading.BoundedSemaphore(MAILS_PER_THREAD * threads)

    def after_commit(self, mail: Mail) -> None:
        if self._app.testing or mail.send_by_application:
            self.deliver(mail)
        else:
            after_response(lambda: self._send_later(mail))

    def equalize_timing(self, mail: Mail) -> None:
        if not self._app.testing:
            after_response(lambda: None)

    def _send_later(self, mail: Mail) -> None:
        if not self._submit(mail):
            with self._app.app_context():
                self.deliver(mail)

    def _submit(self, mail: Mail) -> bool:
        if self._process != os.getpid():  # a forked worker has no threads of its parent
            self._start_pool()
        if not self._free.acquire(blocking=False):
            return False
        try:
            self._pool.submit(self._run, mail)
        except RuntimeError:  # the interpreter exits
            self._free.release()
            return False
        return True

    def _run(self, mail: Mail) -> None:
        try:
            with self._app.app_context():
                self.deliver(mail)
        finally:
            self._free.release()


class CallableDispatcher(Dispatcher):
    """Calls the application's function after the commit: ``dispatcher(message, *, send, **kwargs)``.

    ``message`` is Flask-Mail's, and ``send()`` sends it as the background dispatcher does. ``template`` and
    ``user_id`` say what it is about.
    """

    def __init__(self, app: Flask, mailer: Mailer, dispatch: Callable[..., None]) -> None:
        super().__init__(app, mailer)
        self._dispatch = dispatch

    def deliver(self, mail: Mail) -> None:
        work = self._mailer.send if mail.send_by_application else self._call
        self._mailer.send_safely(work, mail)

    def _call(self, mail: Mail) -> None:
        self._dispatch(
            mail.message(),
            send=lambda: self._mailer.send(mail),
            template=mail.template,
            user_id=mail.user_id,
        )


def after_response(work: Callable[[], object]) -> None:
    """Run a function when the server has sent the response, or dropped it; at once outside a request.

    There is no application context then.
    """
    if not has_request_context():
        work()
        return

    @after_this_request
    def arrange(response: Any) -> Any:
        # Runs once: when the response is closed, or else when it is garbage-collected.
        response.call_on_close(weakref.finalize(response, work))
        return response


def make_dispatcher(
    app: Flask, mailer: Mailer, others: dict[str, Callable[[Mailer], Dispatcher]]
) -> Dispatcher:
    """Return the dispatcher that ``REGISTRATION_MAIL_DISPATCHER`` names.

    :param others: functions that make the dispatchers of optional packages, by name.
    """
    chosen = mailer.settings.mail_dispatcher
    if callable(chosen):
        return CallableDispatcher(app, mailer, chosen)
    if chosen in others:
        return others[chosen](mailer)
    return (InlineDispatcher if chosen == "inline" else BackgroundDispatcher)(app, mailer)
