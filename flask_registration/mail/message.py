"""An e-mail, its message, and the text of its parts."""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from email.policy import SMTPUTF8, compat32
from email.utils import formataddr, getaddresses, make_msgid, parseaddr
from functools import lru_cache
from html.parser import HTMLParser
from textwrap import TextWrapper
from typing import Any

from flask_mail import Message
from jinja2 import pass_eval_context
from jinja2.nodes import EvalContext
from markupsafe import Markup, escape

from ..i18n.languages import Language
from ..i18n.messages import CATALOG_ERRORS
from ..settings import Settings
from ..users.identifiers import is_mailbox, recipient_address
from .limits import LINK, NOTICE


@dataclass(frozen=True, kw_only=True)
class Email:
    """An e-mail. Its fields are the options of :meth:`Flow.email`.

    :ivar group: the settings of its flow.
    :ivar variables: returns the template variables: ``variables(state, user, **data)``. It signs
        the link.
    :ivar when: for the documentation only, the occasion: "the user asks for a new password".
    :ivar to: for the documentation only, the recipient.
    :ivar enabled: whether this configuration sends it, by the state.
    :ivar current: whether its occasion still holds when it is sent: ``current(state, **data)``.
        Otherwise it is dropped.
    :ivar templates: returns the templates from the settings.
    :ivar sender: returns the application's own sender from the settings, if there is one.
    :ivar limited: whether ``REGISTRATION_MAIL_LIMITS`` limits it.
    :ivar reserved: whether its address may receive it when only the last e-mails of the longest
        limit are left, because the owner needs it to log in.
    :ivar notice: whether it has no link. An address receives at most one limited notice a day.
    :ivar has_code: whether it has a code where ``VERIFICATION_METHOD`` says so. Its templates then
        have ``code`` and ``code_valid_for``, which are None without one.
    :ivar example: the data of ``flask registration preview-mail``; ``to`` is the recipient.
    """

    name: str
    group: type[Settings]
    variables: Callable[..., Mapping[str, Any]]
    when: str
    to: str = "the account's e-mail address"
    enabled: Callable[[Any], bool] = lambda state: True
    current: Callable[..., bool] = lambda state, **data: True
    templates: Callable[[Any], Mapping[str, str]] | None = None
    sender: Callable[[Any], Callable[..., None] | None] = lambda settings: None
    limited: bool = True
    reserved: bool = False
    notice: bool = False
    has_code: bool = False
    example: Mapping[str, Any] = field(default_factory=dict)


def no_variables(state: Any, user: Any) -> Mapping[str, Any]:
    """Return no template variables, for an e-mail that shows nothing of the account."""
    return {}


@dataclass(frozen=True, kw_only=True)
class Mail:
    """An e-mail to send: what it is about. It has no link and no text until it is sent.

    :ivar template: the name of its :class:`Email`.
    :ivar user_id: the verification id of the account; empty for an e-mail address that has no
        account; None if the e-mail is dropped when it is sent.
    :ivar account: a digest of what links are bound to. An e-mail that is limited is dropped if the
        account has changed when it is sent.
    :ivar data: the arguments of its ``variables``, as JSON can have them.
    :ivar locale: the locale that the application chose, for Flask-Babel.
    :ivar message_id: the same at every try, so that a recipient can detect duplicates.
    :ivar written_at: seconds since the epoch.
    :ivar notice: whether it has no link.
    :ivar by_application: whether a function of the application sends it.
    :ivar challenge: the digest of the challenge whose code it contains.
    """

    to: str
    template: str
    user_id: str | None
    account: str
    data: Mapping[str, Any]
    templates: Mapping[str, Any]
    language: str
    locale: str | None
    message_id: str
    written_at: float
    limited: bool = True
    notice: bool = False
    by_application: bool = False
    challenge: str | None = None

    @property
    def kind(self) -> str:
        """Return what it counts as: e-mails of one kind limit each other."""
        return NOTICE if self.notice else LINK


#: The maximum length of a line of a header or a text (RFC 5322, 2.1.1).
LINE_LENGTH = 78


#: Writes headers as they are.
FAST = compat32.clone(linesep="\r\n")


class MailMessage(Message):
    """A message of Flask-Mail that is written in a third of the time (0.6 instead of 1.7 ms).

    If no header needs folding, none is parsed again. Boundaries are random instead of searched for
    in the text.
    """

    def _message(self) -> Any:
        message = super()._message()
        parsing, message.policy = message.policy, FAST
        if any(len(f"{name}: {value}") > LINE_LENGTH for name, value in message.items()):
            message.policy = parsing
            return message
        for part in message.walk():
            if part.is_multipart():
                part.set_boundary(f"={secrets.token_hex(16)}=")
        return message


class InternationalMessage(MailMessage):
    """An e-mail to an address with letters beyond ASCII before the ``@`` (RFC 6532).

    Flask-Mail cannot write such an address. The mail server must support SMTPUTF8 (RFC 6531).
    """

    def _message(self) -> Any:
        recipients = ", ".join(map(str, self.recipients))
        without = copy(self)
        without.recipients = []
        message = MailMessage._message(without)
        message.replace_header("To", recipients)
        message.policy = SMTPUTF8
        return message


def new_message_id(sender: str) -> str:
    """Return an id in the domain of the sender, or of this host, without a DNS query."""
    return make_msgid(domain=sender_domain(sender) or socket.gethostname())


@lru_cache
def sender_domain(sender: str) -> str:
    """Return the domain of a sender in ASCII; empty if it has none."""
    return recipient_address(parseaddr(sender)[1]).rpartition("@")[2]


def check_mailbox(text: str) -> None:
    """Refuse what is not an e-mail address, with or without a name.

    :raises ValueError: with the end of a sentence that begins with "is 'x', but".
    """
    addresses = [address for _, address in getaddresses([text])]
    if text and not (text.isprintable() and list(map(is_mailbox, addresses)) == [True]):
        example = '"no-reply@example.com" or "Example <no-reply@example.com>"'
        raise ValueError(f"must be an e-mail address, for example {example}")


def format_sender(sender: str | tuple[str, str]) -> str:
    """Return a sender of Flask-Mail's configuration, which may be a name and an address."""
    name, address = parseaddr(sender) if isinstance(sender, str) else sender
    if isinstance(sender, str) and address.isascii():
        return sender
    return formataddr((name, recipient_address(address)))


def template_translator(language: Language) -> Callable[..., str]:
    """Return the function ``_`` of e-mail templates, which translates a text into the language.

    Text between ``**`` is strong in HTML; the text and its values are escaped there.
    """

    @pass_eval_context
    def translate(context: EvalContext, text: str, /, **values: Any) -> str:
        html = bool(context.autoescape)
        if html:
            values = {name: escape(value) for name, value in values.items()}
        try:
            made = _marked(language.translate(text), html).format(**values)
        except CATALOG_ERRORS:
            made = _marked(text, html).format(**values)
        return Markup(made) if html else made  # noqa: S704 -- all of it is escaped

    return translate


def wrap_lines(language: Language) -> Callable[[Callable[[], str]], str]:
    """Return the function ``wrap_lines`` of e-mail templates, which wraps a text at spaces."""
    wrapper = TextWrapper(LINE_LENGTH, break_long_words=False, break_on_hyphens=False)

    def wrap(caller: Callable[[], str]) -> str:
        text = caller()
        return (
            "\n".join(map(wrapper.fill, text.split("\n"))) if language.sentence_separator else text
        )

    return wrap


@lru_cache(maxsize=1024, typed=True)  # Markup is not escaped, but equals a string that is
def _marked(text: str, html: bool) -> str:
    replacement = r"<strong>\1</strong>" if html else r"\1"
    return re.sub(r"\*\*(.+?)\*\*", replacement, str(escape(text) if html else text))


#: The tags whose content is not text.
HIDDEN = {"head", "style", "script", "title", "template"}

#: The tags with an empty line before and after them.
PARAGRAPHS = re.compile("p|div|table|ul|ol|h[1-6]|blockquote|hr")

#: What other tags begin with.
BEGINNINGS = {"tr": "\n", "br": "\n", "li": "\n- ", "td": " ", "th": " "}


class _TextParser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._hidden = 0
        self._href: str | None = None
        self._anchor_start = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in HIDDEN:
            self._hidden += 1
        self.parts.append("\n\n" if PARAGRAPHS.fullmatch(tag) else BEGINNINGS.get(tag, ""))
        if tag == "a":
            self._href, self._anchor_start = dict(attrs).get("href"), len(self.parts)

    def handle_endtag(self, tag: str) -> None:
        if tag in HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        if PARAGRAPHS.fullmatch(tag):
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
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"
