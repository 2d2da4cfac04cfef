"""A mailbox for development: prints e-mails, does not send them, and shows them at ``/mailbox/``.

Copy it and its template to your application, and call :func:`init_app` after
``mail.init_app(app)``.
"""

from __future__ import annotations

from datetime import datetime
from email.utils import formataddr
from typing import Any

from flask import Blueprint, Flask, render_template
from flask_mail import Message, email_dispatched

#: Mails that are shown at the most.
CAPACITY = 50

RULE = "-" * 79


def init_app(app: Flask) -> None:
    """Print the mails that are not sent; in debug mode, and only there, show all of them too."""
    mails: list[Message] = []

    def receive(app: Flask, message: Message, **_: Any) -> None:  # called by the thread that sends
        if app.debug:
            mails.insert(0, message)
            del mails[CAPACITY:]
        if app.extensions["mail"].suppress:
            print_mail(message)

    email_dispatched.connect(receive, app, weak=False)
    if app.debug:
        app.register_blueprint(make_mailbox(mails))


def print_mail(message: Message) -> None:
    """Print a mail in full, and in one piece, since several threads may write."""
    lines = [
        "",
        RULE,
        f"From: {addresses(message.sender)}",
        f"To: {addresses(*message.recipients)}",
        f"Subject: {message.subject}",
        "",
        (message.body or "").strip(),
        RULE,
        "",
    ]
    print("\n".join(lines), flush=True)


def make_mailbox(mails: list[Message]) -> Blueprint:
    """The page with the latest mails."""
    blueprint = Blueprint("mailbox", __name__, url_prefix="/mailbox")

    @blueprint.get("/")
    def show() -> str:
        return render_template("mailbox.html", mails=list(mails), addresses=addresses, time=time)

    return blueprint


def addresses(*found: str | tuple[str, str]) -> str:
    """Addresses as a mail's header shows them."""
    return ", ".join(formataddr(each) if isinstance(each, tuple) else each for each in found)


def time(message: Message) -> str:
    """When a mail left, by the clock on the wall."""
    return datetime.fromtimestamp(message.date or 0).strftime("%H:%M:%S")
