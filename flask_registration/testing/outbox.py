"""The mails of a test."""

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
    """The parameters of a mailed link, as a front end reads them from its URL: post them back.

    :ivar url: the page to which it leads, with the parameters.
    """

    def __init__(self, url: str) -> None:
        super().__init__(parse_qsl(url.rpartition("?")[2]) if "?" in url else ())
        self.url = url


class Outbox(list[Message]):
    """The mails that have left, the oldest first; each is Flask-Mail's ``Message``."""

    def to(self, address: str) -> list[Message]:
        """The mails to this address."""
        return [mail for mail in self if address in mail.send_to]

    def latest_link(self, to: str | None = None) -> Link:
        """The link in the latest mail.

        :param to: of the mails to this address.
        :raises AssertionError: there is no mail, or no link in it.
        """
        __tracebackhide__ = True
        mails = self if to is None else self.to(to)
        whose = "" if to is None else f" to {to}"
        if not mails:
            raise AssertionError(f"No mail{whose} has left. {self}")
        link = next((link for link in links_of(mails[-1]) if "signature" in link), None)
        if link is None:
            raise AssertionError(f"The latest mail{whose} has no link with a signature. {self}")
        return link

    def __str__(self) -> str:
        if not self:
            return "The outbox is empty."
        lines = [f"  {str(mail.subject)!r} to {', '.join(sorted(map(str, mail.send_to)))}" for mail in self]
        return "\n".join(["The outbox, the latest mail last:", *lines])

    @contextmanager
    def recording(self, app: Flask) -> Iterator[Outbox]:
        """Keep what leaves from this application within the block."""

        def keep(sender: Flask, message: Message, **_: Any) -> None:
            self.append(message)

        with email_dispatched.connected_to(keep, app):
            yield self


def links_of(mail: Message) -> list[Link]:
    """Every link of a mail: those of its HTML part first, then what else is in its text."""
    finder = _LinkFinder()
    finder.feed(mail.html or "")
    return [Link(url) for url in dict.fromkeys([*finder.found, *URL.findall(mail.body or "")])]


class _LinkFinder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]
