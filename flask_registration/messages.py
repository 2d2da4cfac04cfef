"""Texts that people read: declared in English, and said in their language where a reply or a mail is made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any


class Message(str):
    """A text in English that keeps what it was made of, so that it can be said in another language.

    It may stand wherever a string may. Declared as ``Message("… {limit} …")``, its values come by :meth:`format`.
    """

    source: str
    many: str | None = None
    number: int = 0
    values: dict[str, Any] = {}

    def __new__(cls, text: str) -> Message:
        message = super().__new__(cls, text)
        message.source = text
        return message

    def format(self, *_: Any, **values: Any) -> Message:
        """The text with its values, by name; what was put in before stays."""
        return self._with(str.format(self, **values), {**values, **self.values})

    def about(self, text: str) -> Message:
        """What is said in other languages, where they have nothing for a text of a library."""
        return self._with(text, {})

    def _with(self, text: str, values: dict[str, Any]) -> Message:
        message = str.__new__(Message, text)
        message.source, message.many, message.number, message.values = self.source, self.many, self.number, values
        return message


class Sentences(Message):
    """Several texts, one after the other."""

    parts: Sequence[str]

    def __new__(cls, parts: Sequence[str]) -> Sentences:
        message = str.__new__(cls, " ".join(parts))
        message.source, message.parts = str(message), parts
        return message


def plural(one: str, many: str, number: int, **values: Any) -> Message:
    """A text about a number of things, in the form that the number takes.

    :param values: what else stands in it; ``count``, the number, does anyway.
    """
    values = {"count": number, **values}
    message: Message = str.__new__(Message, (one if number == 1 else many).format(**values))
    message.source, message.many, message.number, message.values = one, many, number, values
    return message


def duration(time: timedelta) -> Message:
    """How long something lasts, for a person: ``7 days``."""
    seconds = time.total_seconds()
    if seconds and seconds % 86400 == 0:
        return plural("{count} day", "{count} days", int(seconds // 86400))
    if seconds and seconds % 3600 == 0:
        return plural("{count} hour", "{count} hours", int(seconds // 3600))
    if seconds and seconds % 60 == 0:
        return plural("{count} minute", "{count} minutes", int(seconds // 60))
    return plural("{count} second", "{count} seconds", math.ceil(seconds) + (seconds % 1 > 0), count=f"{seconds:g}")
