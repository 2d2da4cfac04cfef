"""The outbox: a mail is written with its cause, and sent when that is committed, again and again until it has left."""

from __future__ import annotations

import time

from flask import Flask

from .attempts import RetrySettings, delay, describe, is_final
from .dispatch import BackgroundDispatcher, Mailer
from .mail import Mail
from .outbox_store import Claim, OutboxStore


class LeaseExpired(Exception):
    """Whoever sent this mail did not say what became of it, time and again."""


class Sender:
    """Sends what is in the outbox; any number of these may be at work, in any number of processes.

    A mail is claimed in one short transaction, sent outside of any, and its outcome noted in another. A process that
    dies in between leaves a claim that runs out: a mail may leave twice, but never not at all.
    """

    def __init__(self, app: Flask, mailer: Mailer, store: OutboxStore, settings: RetrySettings) -> None:
        self._app = app
        self._mailer = mailer
        self._settings = settings
        self.store = store

    def send(self, mail: Mail) -> None:
        """Send this mail, unless somebody else was faster."""
        with self._app.app_context():
            claim = self.store.claim(mail)
            if claim:
                self._send(claim)

    def send_one(self, due_by: float | None = None) -> bool | None:
        """Send the mail that has been due for longest: whether it left; None where none was due.

        :param due_by: seconds since the epoch; now, unless given.
        """
        with self._app.app_context():  # and with it a database session that is not open for longer
            claim = self.store.claim_due(time.time() if due_by is None else due_by)
            return claim and self._send(claim)

    def _send(self, claim: Claim) -> bool:
        try:
            if claim.tries > self._settings.mail_tries:
                raise LeaseExpired
            self._mailer.send(claim.mail)
        except Exception as error:
            self._fail(claim, error)
            return False
        self.store.sent(claim)
        return True

    def _fail(self, claim: Claim, error: Exception) -> None:
        if is_final(self._settings, claim.tries, error):
            if self.store.bury(claim, describe(error)):
                self._mailer.report(claim.mail, error)
            return
        wait = delay(self._settings, claim.tries)
        self.store.put_back(claim, describe(error), wait)
        self._mailer.report_try(claim.mail, error, claim.tries, wait)


class OutboxDispatcher(BackgroundDispatcher):
    """A row in the transaction of its cause; after the commit, the pool of threads sends it.

    Where the pool is full, or the process about to end, it is left to others. What an application sends by itself
    cannot be kept, and leaves as with the background dispatcher.
    """

    def __init__(self, app: Flask, mailer: Mailer, sender: Sender) -> None:
        super().__init__(app, mailer)
        self._sender = sender

    def before_commit(self, mail: Mail) -> None:
        if not mail.deliver:
            self._sender.store.add(mail)

    def pretend(self, mail: Mail) -> None:
        super().pretend(mail)
        self._sender.store.add_decoy(mail)

    def _hand_on(self, mail: Mail) -> None:
        self._submit(mail)

    def leave(self, mail: Mail) -> None:
        if mail.deliver:
            super().leave(mail)
            return
        try:
            self._sender.send(mail)
            if not self._app.testing:
                self._sender.send_one()  # one that was due before: a busy process needs no other to try again
        except Exception as error:  # the database's trouble, most likely
            self._app.logger.error("The outbox could not be worked on; its mails stay there.", exc_info=error)
