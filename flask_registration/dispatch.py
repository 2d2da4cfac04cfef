"""How mail leaves: never inside a transaction, but with ``"inline"``."""

from __future__ import annotations

import os
import smtplib
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from flask import Flask
from flask_mail import Connection

from .afterwards import after_reply
from .attempts import describe
from .cooldown import Cooldown
from .errors import MailUnavailable
from .events import MAIL_FAILED, record
from .mail import Mail, MailSettings
from .retries import settle

#: Mails that wait or leave, for each thread of the pool, at the most: servers give a process that is to end about 30
#: seconds, in which a thread sends as many to a mail server that takes a second.
MAILS_PER_THREAD = 32


class TimedConnection(Connection):
    """Flask-Mail's connection, with a time-out, and with a look at the server's certificate.

    :param timeout: seconds, for connecting and for each answer.
    """

    def __init__(self, mail: Any, *, timeout: float, verify_tls: bool) -> None:
        super().__init__(mail)
        self._timeout = timeout
        self._verify_tls = verify_tls

    def configure_host(self) -> smtplib.SMTP | smtplib.SMTP_SSL:
        mail = self.mail
        host: smtplib.SMTP | smtplib.SMTP_SSL
        if mail.use_ssl:
            host = smtplib.SMTP_SSL(mail.server, mail.port or 0, timeout=self._timeout, context=self._tls())
        else:
            host = smtplib.SMTP(mail.server, mail.port or 0, timeout=self._timeout)
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
            except (OSError, smtplib.SMTPException):  # what it has taken, it has taken
                self.host.close()


class Mailer:
    """Sends a mail through Flask-Mail, and tells of a failure.

    :param failed: called with the mail and the error, in an application context.
    """

    def __init__(
        self, app: Flask, settings: MailSettings, cooldown: Cooldown, failed: Callable[[Mail, BaseException], None]
    ) -> None:
        self._app = app
        self.settings = settings
        self._failed = failed
        self.cooldown = cooldown

    def send(self, mail: Mail) -> None:
        """Send a mail now, within an application context; raises what Flask-Mail and smtplib raise."""
        if mail.deliver:
            mail.deliver()
            return
        connection = TimedConnection(
            self._app.extensions["mail"],
            timeout=self.settings.mail_timeout.total_seconds(),
            verify_tls=self.settings.mail_verify_tls,
        )
        with connection:
            connection.send(mail.message())

    def try_to(self, work: Callable[[Mail], None], mail: Mail) -> None:
        """Do it; a failure is told to others than the client."""
        try:
            work(mail)
        except Exception as error:
            self.report(mail, error)

    def report(self, mail: Mail, error: BaseException) -> None:
        """Log and announce a failure; the address may be written to again at once."""
        self.cooldown.forget(mail.to)
        self._app.logger.error("A mail (%s) could not be sent.", mail.template, exc_info=error)
        record(MAIL_FAILED, user_id=mail.user_id, template=mail.template, error=type(error).__name__)
        self._failed(mail, error)

    def report_try(self, mail: Mail, error: BaseException, tries: int, wait: timedelta) -> None:
        """Log a failure after which the mail is tried again; nobody else is told."""
        text = "A mail (%s) could not be sent at try %d, and is tried again in %.0f seconds: %s."
        self._app.logger.warning(text, mail.template, tries, wait.total_seconds(), describe(error))


class Dispatcher:
    """Hands mails over: each is shown to it before the commit and after it."""

    def __init__(self, app: Flask, mailer: Mailer) -> None:
        self._app = app
        self._mailer = mailer

    def before_commit(self, mail: Mail) -> None:
        """Nothing, so that no mail leaves inside a transaction.

        :raises MailUnavailable: the transaction is to be rolled back.
        """

    def pretend(self, mail: Mail) -> None:
        """Do the work of :meth:`before_commit` for a decoy, where that takes time."""

    def after_commit(self, mail: Mail) -> None:
        """Hand it over; what was committed stands, so this does not raise."""
        self.leave(mail)

    def leave(self, mail: Mail) -> None:
        """Send it, or what stands for that; does not raise."""
        self._mailer.try_to(self._mailer.send, mail)


class InlineDispatcher(Dispatcher):
    """In the request, before the commit: a failure rolls back and answers 503."""

    def before_commit(self, mail: Mail) -> None:
        try:
            self._mailer.send(mail)
        except Exception as error:
            raise MailUnavailable from error
        settle()

    def after_commit(self, mail: Mail) -> None:
        """It has left already."""


class BackgroundDispatcher(Dispatcher):
    """After the reply, by a small pool of threads, which Python drains when the process ends.

    With ``app.testing``, and where an application sends by itself, in the request.
    """

    def __init__(self, app: Flask, mailer: Mailer) -> None:
        super().__init__(app, mailer)
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._process = os.getpid()
        threads = self._mailer.settings.mail_threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="registration-mail")
        self._room = threading.BoundedSemaphore(MAILS_PER_THREAD * threads)

    def after_commit(self, mail: Mail) -> None:
        if self._app.testing or mail.deliver:
            self.leave(mail)
        else:
            after_reply(lambda: self._hand_on(mail))

    def pretend(self, mail: Mail) -> None:
        if not self._app.testing:
            after_reply(lambda: None)

    def _hand_on(self, mail: Mail) -> None:
        if not self._submit(mail):
            with self._app.app_context():
                self.leave(mail)

    def _submit(self, mail: Mail) -> bool:
        if self._process != os.getpid():  # threads do not live on in a forked worker
            self._start_afresh()
        if not self._room.acquire(blocking=False):
            return False
        try:
            self._pool.submit(self._run, mail)
        except RuntimeError:  # the interpreter is about to end
            self._room.release()
            return False
        return True

    def _run(self, mail: Mail) -> None:
        try:
            with self._app.app_context():
                self.leave(mail)
        finally:
            self._room.release()


class CallableDispatcher(Dispatcher):
    """After the commit, by the application's own callable: ``dispatcher(message, *, send, **kwargs)``.

    ``message`` is Flask-Mail's, ``send()`` sends it as the background dispatcher would; ``template`` and ``user_id``
    say what it is about.
    """

    def __init__(self, app: Flask, mailer: Mailer, dispatch: Callable[..., None]) -> None:
        super().__init__(app, mailer)
        self._dispatch = dispatch

    def leave(self, mail: Mail) -> None:
        self._mailer.try_to(self._mailer.send if mail.deliver else self._hand_over, mail)

    def _hand_over(self, mail: Mail) -> None:
        self._dispatch(
            mail.message(), send=lambda: self._mailer.send(mail), template=mail.template, user_id=mail.user_id
        )
