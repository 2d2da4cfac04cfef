"""A composed mail, as a dispatcher gets it, and as it is kept until it has left."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from email.policy import Compat32
from email.utils import make_msgid, parseaddr
from typing import Any, NamedTuple

from flask_mail import Message

from .users import mail_address

#: Who gets what nobody shall get (RFC 2606).
NOBODYS_ADDRESS = "nobody@example.invalid"


class _Writing(Compat32):
    """Python's older rules for writing a message out: by the newer ones every look at a header parses it.

    Flask-Mail has folded long headers already, and what stands on one line is written as it is.
    """

    def fold_binary(self, name: str, value: str) -> bytes:
        if isinstance(value, str) and value.isascii() and value.isprintable():
            return f"{name}: {value}{self.linesep}".encode("ascii")
        return super().fold_binary(name, value)


WRITING = _Writing(linesep="\r\n", max_line_length=None)


class QuickMessage(Message):
    """Flask-Mail's message, in the same words, written out in a third of the time."""

    def as_bytes(self) -> bytes:
        names = f"{self.sender}{self.reply_to}"
        if "=?" in names or not names.isascii():  # which only the newer rules fold within a word
            return super().as_bytes()
        message = self._message()
        message.policy = WRITING
        for part in message.walk():
            if part.is_multipart():  # a boundary that nobody guesses need not be looked for in the text
                part.set_boundary(f"=_{secrets.token_hex(16)}")
        return message.as_bytes(policy=WRITING)


class RenderedMail(NamedTuple):
    """What a renderer returns."""

    subject: str
    text_body: str
    html_body: str | None


@dataclass(frozen=True, kw_only=True)
class Mail:
    """A composed mail, ready to go.

    :ivar to: the stored address.
    :ivar template: the value of its :class:`NotificationType`, for the log and ``mail_failed``.
    :ivar user_id: the verification id of the account that it is about.
    :ivar message_id: the same at every try, so that who gets it twice can tell.
    :ivar written_at: seconds since the epoch.
    :ivar deliver: the application's own way to send this one.
    :ivar limited: whether ``REGISTRATION_MAIL_COOLDOWN`` is about it.
    :ivar is_decoy: composed for the time that it takes; it never leaves.
    """

    to: str
    sender: str
    reply_to: str | None
    content: RenderedMail = field(repr=False)  # has a link
    template: str
    user_id: str
    message_id: str
    written_at: float
    deliver: Callable[[], None] | None = None
    limited: bool = True
    is_decoy: bool = False

    def to_nobody(self) -> Mail:
        """A decoy of this mail."""
        return replace(self, to=NOBODYS_ADDRESS, is_decoy=True)

    def message(self) -> Message:
        """The mail for Flask-Mail.

        Not made in the request: Flask-Mail looks up the host's own name for the ``Message-ID``, which can take seconds.
        """
        message = QuickMessage(
            subject=" ".join(self.content.subject.split()),
            recipients=[mail_address(self.to)],
            body=self.content.text_body,
            html=self.content.html_body or None,
            sender=self.sender,
            reply_to=self.reply_to,
            date=self.written_at,
            extra_headers={"Auto-Submitted": "auto-generated"},  # RFC 3834: no out-of-office replies
        )
        message.msgId = self.message_id
        return message

    def packed(self) -> dict[str, Any]:
        """Everything of it, as JSON can have it; but the application's own way to send cannot be kept."""
        content = [part if part is None else str(part) for part in self.content]
        names = [each.name for each in fields(self) if each.name != "deliver"]
        return {**{name: getattr(self, name) for name in names}, "content": content}

    @classmethod
    def unpacked(cls, kept: Mapping[str, Any]) -> Mail:
        """The mail that was packed."""
        return cls(**{**kept, "content": RenderedMail(*kept["content"])})


def new_message_id(sender: str) -> str:
    """An id in the domain of the sender, or of this host, whose name is not looked up in the DNS."""
    return make_msgid(domain=parseaddr(sender)[1].partition("@")[2] or socket.gethostname())
