"""An e-mail, its message, and the text of its parts."""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from email.policy import Compat32
from email.utils import make_msgid, parseaddr
from functools import lru_cache
from html.parser import HTMLParser
from typing import Any, NamedTuple, Self

from flask_mail import Message
from jinja2 import pass_eval_context
from jinja2.nodes import EvalContext
from markupsafe import Markup, escape

from ..i18n.languages import Language
from ..users.identifiers import recipient_address
from ..users.store import PLACEHOLDER_ADDRESS


class _Writing(Compat32):
    """Python's older policy for messages. With the newer one, each access to a header parses it.

    Flask-Mail has already folded long headers, so a header of one line is written as it is.
    """

    def fold_binary(self, name: str, value: str) -> bytes:
        if isinstance(value, str) and value.isascii() and value.isprintable():
            return f"{name}: {value}{self.linesep}".encode("ascii")
        return super().fold_binary(name, value)


WRITING = _Writing(linesep="\r\n", max_line_length=None)


class QuickMessage(Message):
    """Flask-Mail's message, which becomes the same bytes in a third of the time."""

    def as_bytes(self) -> bytes:
        names = f"{self.sender}{self.reply_to}"
        if "=?" in names or not names.isascii():  # only the newer policy folds these within a word
            return super().as_bytes()
        message = self._message()
        message.policy = WRITING
        for part in message.walk():
            if part.is_multipart():  # a random boundary: no need to search for it in the text
                part.set_boundary(f"=_{secrets.token_hex(16)}")
        return message.as_bytes(policy=WRITING)


class RenderedMail(NamedTuple):
    """The parts of an e-mail that a renderer returns."""

    subject: str
    text_body: str
    html_body: str | None


@dataclass(frozen=True, kw_only=True)
class Mail:
    """A composed e-mail.

    :ivar to: the e-mail address as stored.
    :ivar template: the value of its :class:`NotificationType`, for the log and ``mail_failed``.
    :ivar user_id: the verification id of the account.
    :ivar message_id: the same at every try, so that mail programs can detect duplicates.
    :ivar written_at: seconds since the epoch.
    :ivar send_by_application: sends this e-mail instead of the extension.
    :ivar limited: whether ``REGISTRATION_MAIL_COOLDOWN`` applies.
    :ivar dry_run: whether it was composed for timing equalization only, and is never sent.
    """

    to: str
    sender: str
    reply_to: str | None
    content: RenderedMail = field(repr=False)  # it contains a link
    template: str
    user_id: str
    message_id: str
    written_at: float
    send_by_application: Callable[[], None] | None = None
    limited: bool = True
    dry_run: bool = False

    def as_dry_run(self) -> Mail:
        """Return a copy for timing equalization, which is never sent."""
        return replace(self, to=PLACEHOLDER_ADDRESS, dry_run=True)

    def message(self) -> Message:
        """Return the message for Flask-Mail.

        Do not call it in a request: Flask-Mail looks up the host's name for the ``Message-ID``,
        which can take seconds.
        """
        message = QuickMessage(
            subject=" ".join(self.content.subject.split()),
            recipients=[recipient_address(self.to)],
            body=self.content.text_body,
            html=self.content.html_body or None,
            sender=self.sender,
            reply_to=self.reply_to,
            date=self.written_at,
            extra_headers={"Auto-Submitted": "auto-generated"},  # no automatic response (RFC 3834)
        )
        message.msgId = self.message_id
        return message

    def packed(self) -> dict[str, Any]:
        """Return all values for JSON, except ``send_by_application``."""
        content = [part if part is None else str(part) for part in self.content]
        names = [each.name for each in fields(self) if each.name != "send_by_application"]
        return {**{name: getattr(self, name) for name in names}, "content": content}

    @classmethod
    def unpacked(cls, packed: Mapping[str, Any]) -> Self:
        """Return the e-mail with the values of :meth:`packed`."""
        return cls(**{**packed, "content": RenderedMail(*packed["content"])})


def new_message_id(sender: str) -> str:
    """Return an id in the domain of the sender, or else of this host, without a DNS query."""
    return make_msgid(domain=parseaddr(sender)[1].partition("@")[2] or socket.gethostname())


#: The maximum length of a line (RFC 5322 section 2.1.1).
LINE_LENGTH = 78


class TemplateTranslator:
    """The function ``_`` of e-mail templates. It translates a text into the language of the e-mail.

    Text between ``**`` is strong in HTML; the text and its values are escaped there.
    """

    def __init__(self, language: Language) -> None:
        self._language = language

    @pass_eval_context
    def __call__(self, context: EvalContext, text: str, /, **values: Any) -> str:
        html = bool(context.autoescape)
        if html:
            values = {name: escape(value) for name, value in values.items()}
        try:
            made = _marked(self._language.translate(text), html).format(**values)
        except (AttributeError, LookupError, ValueError):  # a catalog of the application is wrong
            made = _marked(text, html).format(**values)
        return Markup(made) if html else made  # noqa: S704 -- all of it is escaped


def wrap_lines(language: Language) -> Callable[[Callable[[], str]], str]:
    """Return the function ``wrap_lines`` of e-mail templates, which wraps a text at spaces."""

    def wrap(caller: Callable[[], str]) -> str:
        text = caller()
        return "\n".join(map(_wrap, text.split("\n"))) if language.sentence_separator else text

    return wrap


@lru_cache(maxsize=1024, typed=True)  # Markup is not escaped, but equals a string that is
def _marked(text: str, html: bool) -> str:
    replacement = r"<strong>\1</strong>" if html else r"\1"
    return re.sub(r"\*\*(.+?)\*\*", replacement, str(escape(text) if html else text))


def _wrap(line: str) -> str:
    if len(line) <= LINE_LENGTH:
        return line
    lines, length = [""], 0
    for word in line.split(" "):
        if length and length + 1 + len(word) > LINE_LENGTH:
            lines.append(word)
            length = len(word)
        else:
            lines[-1] = f"{lines[-1]} {word}" if length else word
            length = len(lines[-1])
    return "\n".join(lines)


#: The tags whose content is not text.
HIDDEN = {"head", "style", "script", "title", "template"}

#: The tags that begin a new line.
BLOCKS = re.compile("p|div|table|tr|ul|ol|li|h[1-6]|blockquote|hr|br")


class _TextParser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden = 0
        self._href: str | None = None
        self._anchor_start = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in HIDDEN:
            self._hidden += 1
        if BLOCKS.fullmatch(tag):
            self.parts.append("\n" if tag in ("br", "li", "tr") else "\n\n")
        if tag in ("li", "td", "th"):
            self.parts.append("- " if tag == "li" else " ")
        if tag == "a":
            self._href, self._anchor_start = dict(attrs).get("href"), len(self.parts)

    def handle_endtag(self, tag: str) -> None:
        if tag in HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        if BLOCKS.fullmatch(tag) and tag not in ("li", "tr", "br"):
            self.parts.append("\n\n")
        if tag == "a" and self._href:
            label = "".join(self.parts[self._anchor_start :]).strip()
            is_url = label == self._href
            text = f"\n{label}\n" if is_url else f"{label}:\n{self._href}\n"
            self.parts[self._anchor_start :] = [text]
            self._href = None

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(re.sub(r"\s+", " ", data))


def html_to_text(html: str) -> str:
    """Return the text of an HTML e-mail. The label of a link comes first, then its URL.

    Each URL has a line of its own, so that it is never broken.
    """
    parser = _TextParser()
    parser.feed(html)
    parser.close()
    lines = [" ".join(line.split()) for line in "".join(parser.parts).splitlines()]
    lines = [re.sub(r"^[.,;:!?](\s+|$)", "", line) for line in lines]  # punctuation after a link
    text = "\n".join(lines)
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.strip() + "\n"
