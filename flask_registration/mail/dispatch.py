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
from queue import Full
from typing import Any, ClassVar, cast

from flask import (
    Flask,
    after_this_request,
    copy_current_request_context,
    current_app,
    has_request_context,
)
from flask_mail import Connection, Message, email_dispatched, sanitize_address

from ..errors import MailUnavailable
from ..security_log import MAIL_FAILED, record
from ..settings import Settings, setting
from ..users.transaction import UNAVAILABLE, mark_committed
from .composer import MailSettings
from .limits import MailLimits
from .message import InternationalMessage, Mail, sender_domain

#: The maximum number of e-mails that wait, for each thread of the pool. Servers give a process
#: about 30 seconds to end; a thread sends as many in that time to a mail server that takes a second
#: for each.
MAILS_PER_THREAD = 32


@dataclass(frozen=True, kw_only=True)
class RetrySettings(Settings):
    """Retries of e-mails.

    The dispatchers ``"outbox"`` and ``"celery"`` try again if an e-mail could not be sent.
    """

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

    def wait(self, tries: int, error: Exception) -> timedelta | None:
        """Return how long to wait after this number of failures, or None if the last one is final.

        It is final if all tries are used, or if the server will never accept this e-mail. Final
        codes of a server are those about the e-mail itself, ``x5z`` without the full mailbox (RFC
        5321, 4.2.1 and 4.5.3.1.10). Other codes may concern all e-mails, and the next try may
        succeed. The time is random, to spread the retries.
        """
        final = [code for code in _status_codes(error) if 550 <= code < 560 and code != 552]
        if tries >= self.mail_tries or final:
            return None
        doubled: timedelta = self.mail_retry_delay * (1 << min(tries - 1, 20))
        spread = random.uniform(0.75, 1)  # noqa: S311 -- no secret
        return min(doubled, self.mail_retry_max_delay) * spread


def describe(error: BaseException) -> str:
    """Return the class and the codes of an error.

    Its text may contain an e-mail address.
    """
    return " ".join([type(error).__name__, *map(str, _status_codes(error))])


def _status_codes(error: BaseException) -> list[int]:
    """Return the codes of a server that refused an e-mail."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return [code for code, _ in error.recipients.values()]
    return [error.smtp_code] if isinstance(error, smtplib.SMTPResponseException) else []


class TimedConnection(Connection):
    """Flask-Mail's connection with a timeout, which checks the server's certificate.

    :param sender: the sender of the e-mails; its domain is the default name in EHLO.
    """

    def __init__(self, mail: Any, settings: MailSettings, sender: str) -> None:
        super().__init__(mail)
        self._settings = settings
        self._name = settings.mail_ehlo_name or sender_domain(sender) or None

    def configure_host(self) -> smtplib.SMTP | smtplib.SMTP_SSL:
        """Connect to the mail server and log in."""
        mail = self.mail
        host: smtplib.SMTP | smtplib.SMTP_SSL
        server = (mail.server, mail.port or 0, self._name)
        timeout = self._settings.mail_timeout.total_seconds()
        if mail.use_ssl:
            host = smtplib.SMTP_SSL(*server, timeout=timeout, context=self._tls())
        else:
            host = smtplib.SMTP(*server, timeout=timeout)
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

    def send(self, message: Message, envelope_from: Any = None) -> None:
        """Send a message."""
        if self.host is None or not isinstance(message, InternationalMessage):
            super().send(message, envelope_from)
            return
        sender = sanitize_address(message.sender)
        options = ["SMTPUTF8", "BODY=8BITMIME"]
        self.host.sendmail(sender, [*map(str, message.recipients)], message.as_bytes(), options)
        email_dispatched.send(cast(Any, current_app)._get_current_object(), message=message)

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if not self._settings.mail_verify_tls:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def __exit__(self, *_: object) -> None:
        if self.host is not None:
            try:
                self.host.quit()
            except (OSError, smtplib.SMTPException):  # it has accepted the e-mail before
                self.host.close()


@dataclass(eq=False)
class Mailer:
    """Renders and sends an e-mail through Flask-Mail, and reports a failure.

    :ivar compose: renders an e-mail; returns None if there is nothing to send.
    :ivar failed: called with the e-mail and the error, in an application context.
    """

    app: Flask
    settings: MailSettings
    limits: MailLimits
    compose: Callable[[Mail], Message | None]
    failed: Callable[[Mail, BaseException], None]

    def send(self, mail: Mail) -> bool:
        """Render and send an e-mail, within an application context.

        Return whether there was one to send. Errors of the templates, of Flask-Mail
        and smtplib pass through.
        """
        message = self.compose(mail)
        if message is None:
            return False
        self.transmit(message)
        return True

    def transmit(self, message: Message) -> None:
        """Send a message of Flask-Mail."""
        mail, sender = self.app.extensions["mail"], str(message.sender)
        with TimedConnection(mail, self.settings, sender) as connection:
            connection.send(message)

    def report(self, mail: Mail, error: BaseException) -> None:
        """Log a failure and send ``mail_failed``.

        The next e-mail of its kind to this address is allowed at once.
        """
        self.limits.forget(mail.to, mail.kind)
        self.app.logger.error("An e-mail (%s) could not be sent.", mail.template, exc_info=error)
        name = type(error).__name__
        record(MAIL_FAILED, user_id=mail.user_id, template=mail.template, error=name)
        self.failed(mail, error)

    def report_try(
        self, mail: Mail, error: BaseException, tries: int, wait: timedelta | None
    ) -> None:
        """Report a failure, or log it if another try follows.

        :param wait: the time until the next try; None if there is none.
        """
        if wait is None:
            self.report(mail, error)
            return
        text = "An e-mail (%s) could not be sent at try %d; the next try is in %.0f seconds: %s."
        self.app.logger.warning(text, mail.template, tries, wait.total_seconds(), describe(error))


@dataclass(eq=False)
class Dispatcher:
    """Sends e-mails. It receives each one before the commit and after it.

    :cvar in_transaction: whether it sends before the commit.
    :cvar copies_request: whether it sends within a copy of the request's context.
    """

    in_transaction: ClassVar[bool] = False
    copies_request: ClassVar[bool] = True

    mailer: Mailer

    def before_commit(self, mail: Mail) -> None:
        """Do nothing: no e-mail is sent inside a transaction.

        :raises MailUnavailable: the transaction must be rolled back.
        """

    def after_commit(self, mail: Mail) -> None:
        """Send an e-mail after the response: rendering takes time only for an account.

        A test, and an e-mail that the application sends, need it in the request. Does not raise.
        """
        if mail.by_application or self.mailer.app.testing:
            self.deliver(mail)
        else:
            deliver = self._in_context(mail)
            after_response(lambda: self._run(mail, deliver))

    def deliver(self, mail: Mail) -> None:
        """Send an e-mail now. Does not raise: a failure is reported."""
        # No queue can hold what a function of the application does.
        send = self.mailer.send if mail.by_application else self._send
        try:
            send(mail)
        except Exception as error:  # of a template, the mail server or the application
            self.mailer.report(mail, error)

    def _send(self, mail: Mail) -> None:
        self.mailer.send(mail)

    def _in_context(self, mail: Mail) -> Callable[[], None]:
        if self.copies_request and has_request_context():
            return copy_current_request_context(lambda: self.deliver(mail))

        def deliver() -> None:
            with self.mailer.app.app_context():
                self.deliver(mail)

        return deliver

    def _run(self, mail: Mail, deliver: Callable[[], None]) -> None:
        deliver()


class InlineDispatcher(Dispatcher):
    """Sends in the request, before the commit: a failure rolls back and returns 503."""

    in_transaction = True

    def before_commit(self, mail: Mail) -> None:
        """Send an e-mail within the transaction."""
        if mail.by_application:  # which may have sent it, whatever is raised
            mark_committed()
        try:
            was_sent = self.mailer.send(mail)
        except Exception as error:  # of a template, the mail server or the application
            if isinstance(error, UNAVAILABLE) and not mail.by_application:
                raise  # as anywhere else in the transaction
            raise MailUnavailable from error
        if was_sent:
            mark_committed()

    def after_commit(self, mail: Mail) -> None:
        """Do nothing: the e-mail was sent already."""


@dataclass(eq=False)
class BackgroundDispatcher(Dispatcher):
    """Renders and sends after the response, by a small pool of threads.

    Python drains the pool at exit. If its queue is full, an e-mail has failed. No request sends it:
    clients that cause many e-mails would hold the threads of the server.
    """

    def __post_init__(self) -> None:
        self._start_pool()

    def _start_pool(self) -> None:
        self._process = os.getpid()
        threads = self.mailer.settings.mail_threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="registration-mail")
        self._free = threading.BoundedSemaphore(MAILS_PER_THREAD * threads)

    def _run(self, mail: Mail, deliver: Callable[[], None]) -> None:
        try:
            is_queued = self._submit(deliver)
        except RuntimeError:  # the interpreter exits
            deliver()
            return
        if not is_queued and mail.user_id is not None:
            with self.mailer.app.app_context():
                self.mailer.report(mail, Full("The queue of e-mails is full."))

    def _submit(self, deliver: Callable[[], None]) -> bool:
        """Queue an e-mail. Return False if the queue is full.

        :raises RuntimeError: the interpreter exits.
        """
        if self._process != os.getpid():  # a forked worker has no threads of its parent
            self._start_pool()
        pool, free = self._pool, self._free  # another thread may start a pool meanwhile
        if not free.acquire(blocking=False):
            return False
        try:
            future = pool.submit(deliver)
        except RuntimeError:
            free.release()
            raise
        future.add_done_callback(lambda _: free.release())
        return True


@dataclass(eq=False)
class CallableDispatcher(Dispatcher):
    """Calls the application's function after the response; in the request for a test.

    The call is ``dispatcher(message, *, send, **kwargs)``. ``message`` is Flask-Mail's, and
    ``send()`` sends it as the background dispatcher does. ``template`` and ``user_id``
    say what it is about.
    """

    dispatch: Callable[..., None]

    def _send(self, mail: Mail) -> None:
        message = self.mailer.compose(mail)
        if message is not None:
            self.dispatch(
                message,
                send=lambda: self.mailer.transmit(message),
                template=mail.template,
                user_id=mail.user_id,
            )


def after_response(work: Callable[[], object]) -> None:
    """Run a function when the server has sent the response, or dropped it.

    Outside a request, it runs at once. There is no application context then.
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
    mailer: Mailer, others: dict[str, Callable[[Mailer], Dispatcher]]
) -> Dispatcher:
    """Return the dispatcher that ``REGISTRATION_MAIL_DISPATCHER`` names.

    :param others: functions that make the dispatchers of optional packages, by name.
    """
    chosen = mailer.settings.mail_dispatcher
    if callable(chosen):
        return CallableDispatcher(mailer, chosen)
    if chosen in others:
        return others[chosen](mailer)
    return (InlineDispatcher if chosen == "inline" else BackgroundDispatcher)(mailer)
