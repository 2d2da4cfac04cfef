"""``flask registration send-mail``: what is in the outbox leaves."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import click
from flask import Flask

from ..delivery import Sender
from .base import load_outbox, registration_cli

#: Seconds between two removals of old records.
PURGE_INTERVAL = 3600


@registration_cli.command("send-mail")
@click.option("--watch", is_flag=True, help="Go on, and send what comes; until SIGTERM or SIGINT.")
@click.option(
    "--interval", type=click.FloatRange(min=0.1), default=5.0, show_default=True, help="Seconds between two looks."
)
@click.pass_context
def send_mail_command(context: click.Context, watch: bool, interval: float) -> None:
    """Send the mail in the outbox that is due.

    Any number of these may run at once.
    """
    app, sender = load_outbox(context)
    with stopping() as stop:
        if watch:
            keep_sending(app, sender, stop, interval)
            return
        told = send_all(sender, stop)
        with app.app_context():
            sender.store.purge()
    click.echo(f"Sent {told[True]}, failed {told[False]}.")


def send_all(sender: Sender, stop: threading.Event) -> Counter[bool]:
    """Send everything that is due by now; returns how many left, and how many did not."""
    told: Counter[bool] = Counter()
    start = time.time()
    while not stop.is_set() and (left := sender.send_one(start)) is not None:
        told[left] += 1
    return told


def keep_sending(app: Flask, sender: Sender, stop: threading.Event, interval: float) -> None:
    """Send what is due again and again; trouble with the database passes."""
    purged = float("-inf")
    while not stop.is_set():
        try:
            send_all(sender, stop)
            if time.monotonic() - purged > PURGE_INTERVAL:
                with app.app_context():
                    sender.store.purge()
                purged = time.monotonic()
        except Exception as error:
            app.logger.error("The outbox could not be worked on; its mails stay there.", exc_info=error)
        stop.wait(interval)


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event that a signal sets, so that a mail that is under way leaves first."""
    stop = threading.Event()
    kept = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
