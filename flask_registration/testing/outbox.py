"""The e-mails of a test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl

from flask import Flask
from flask_mail import Message, email_dispatched

URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s<>\"]+", re.IGNORECASE)


class Link(dict[str, str]):
    """The parameters of a link in an e-mail, which a front end sends to the verifying endpoint.

    :ivar url: the URL of the page, with the parameters.
    """

    def __init__(self, url: str) -> None:
        super().__init__(parse_qsl(url.rpartition("?")[2]) if "?" in url else ())
        self.url = url


class Outbox(list[Message]):
    """The e-mails that were sent, oldest first. Each is a ``Message`` of Flask-Mail."""

    def to(self, address: str) -> list[Message]:
        """Return the e-mails to an address."""
        return [message for message in self if address in message.send_to]

    def latest_link(self, to: str | None = None) -> Link:
        """Return the link in the latest e-mail.

        :param to: only search the e-mails to this address.
        :raises AssertionError: there is no e-mail, or it has no link.
        """
        __tracebackhide__ = True
        messages = self if to is None else self.to(to)
        recipient = "" if to is None else f" to {to}"
        if not messages:
            raise AssertionError(f"No e-mail{recipient} was sent. {self}")
        for link in links_of(messages[-1]):
            if "signature" in link:
                return link
        raise AssertionError(f"The latest e-mail{recipient} has no link with a signature. {self}")

    def __str__(self) -> str:
        if not self:
            return "The outbox is empty."
        lines = [
            f"  {str(message.subject)!r} to {', '.join(sorted(map(str, message.send_to)))}"
            for message in self
        ]
        return "\n".join(["The outbox, latest e-mail last:", *lines])

    @contextmanager
    def recording(self, app: Flask) -> Iterator[Outbox]:
        """Record the e-mails that the application sends in the block."""

        def keep(sender: Flask, message: Message, **_: Any) -> None:
            self.append(message)

        with email_dispatched.connected_to(keep, app):
            yield self


def links_of(message: Message) -> list[Link]:
    """Return the links of an e-mail: those of its HTML part, then the others of its text."""
    finder = _LinkFinder()
    finder.feed(message.html or "")
    return [Link(url) for url in dict.fromkeys([*finder.found, *URL.findall(message.body or "")])]


class _LinkFinder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]
