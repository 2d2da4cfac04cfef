"""A mailbox for development: prints e-mails, does not send them, and shows them at ``/mailbox/``.

Each e-mail is a file in the instance folder, so that it is still there after a restart. Copy this
module and its template to your application, and call :func:`init_app` after ``mail.init_app(app)``.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes
from email.policy import default
from email.utils import formataddr, parsedate_to_datetime
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, render_template
from flask_mail import Message, email_dispatched

#: The maximum number of e-mails that are kept.
CAPACITY = 50

RULE = "-" * 79


def init_app(app: Flask) -> None:
    """Print the e-mails that are not sent. In debug mode only, keep and show all of them."""
    folder = Path(app.instance_path, "mailbox")

    def receive(app: Flask, message: Message, **_: Any) -> None:  # called by the thread that sends
        if app.debug:
            keep(folder, message)
        if app.extensions["mail"].suppress:
            print_mail(message)

    email_dispatched.connect(receive, app, weak=False)
    if app.debug:
        app.register_blueprint(make_mailbox(folder))


def print_mail(message: Message) -> None:
    """Print a whole e-mail at once, because several threads may print."""
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


def addresses(*found: str | tuple[str, str]) -> str:
    """Return addresses as in the header of an e-mail."""
    return ", ".join(formataddr(each) if isinstance(each, tuple) else each for each in found)


def keep(folder: Path, message: Message) -> None:
    """Write an e-mail to a file, which a mail client can open, and delete the oldest ones."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"{time.time_ns()}-{secrets.token_hex(4)}"
    draft = folder / f"{name}.draft"
    draft.write_bytes(message.as_bytes())
    draft.rename(folder / f"{name}.eml")  # complete, or not there
    for file in sorted(folder.glob("*.eml"))[:-CAPACITY]:
        file.unlink(missing_ok=True)


@dataclass(frozen=True)
class Mail:
    """An e-mail as the page shows it."""

    subject: str
    to: str
    date: datetime
    text: str
    html: str | None


def read_all(folder: Path) -> Iterator[Mail]:
    """Return the e-mails in a folder, the latest first."""
    for file in sorted(folder.glob("*.eml"), reverse=True):
        message = message_from_bytes(file.read_bytes(), policy=default)
        text, html = message.get_body(("plain",)), message.get_body(("html",))
        yield Mail(
            subject=message["Subject"],
            to=message["To"],
            date=parsedate_to_datetime(message["Date"]).astimezone(),
            text=text.get_content() if text else "",
            html=html.get_content() if html else None,
        )


def make_mailbox(folder: Path) -> Blueprint:
    """Return the page with the latest e-mails."""
    blueprint = Blueprint("mailbox", __name__, url_prefix="/mailbox")

    @blueprint.get("/")
    def show() -> str:
        return render_template("mailbox.html", mails=list(read_all(folder)))

    return blueprint
