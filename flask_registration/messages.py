"""Texts that people read: declared in English, and said in their language where a reply or a mail is made."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeVar

C = TypeVar("C", bound="Coded")


class Coded(str):
    """A text about a field with a code for programs, which stays the same in every language.

    :ivar code: None where the text does not say: it is about what is not valid.
    """

    code: str | None = None

    def coded(self: C, code: str) -> C:
        """The same text with this code, unless it has one."""
        if self.code:
            return self
        text = self._copy(str(self))
        text.code = code
        return text

    def format(self: C, *values: Any, **named: Any) -> C:
        """The text with its values."""
        return self._copy(str.format(self, *values, **named))

    def _copy(self: C, text: str) -> C:
        copy: C = str.__new__(type(self), text)
        copy.__dict__.update(self.__dict__)
        return copy


class Message(Coded):
    """A text in English that keeps what it was made of, so that it can be said in another language.

    It may stand wherever a string may. Declared as ``Message("… {limit} …")``, its values come by :meth:`format`.

    :param code: what programs know it by, where it is about a field; see :class:`Coded`.
    """

    source: str
    many: str | None = None
    number: int = 0
    values: dict[str, Any] = {}

    def __new__(cls, text: str, *, code: str | None = None) -> Message:
        message = super().__new__(cls, text)
        message.source, message.code = text, code
        return message

    def format(self, *_: Any, **values: Any) -> Message:
        """The text with its values, by name; what was put in before stays."""
        message = self._copy(str.format(self, **values))
        message.values = {**values, **self.values}
        return message

    def about(self, text: str) -> Message:
        """What is said in other languages, where they have nothing for a text of a library."""
        message = self._copy(text)
        message.values = {}
        return message


class Sentences(Message):
    """Several texts, one after the other."""

    parts: Sequence[str]

    def __new__(cls, parts: Sequence[str], *, code: str | None = None) -> Sentences:
        message = str.__new__(cls, " ".join(parts))
        message.source, message.parts, message.code = str(message), parts, code
        return message


def plural(one: str, many: str, number: int, *, code: str | None = None, **values: Any) -> Message:
    """A text about a number of things, in the form that the number takes.

    :param code: as a :class:`Message` has it.
    :param values: what else stands in it; ``count``, the number, does anyway.
    """
    values = {"count": number, **values}
    message: Message = str.__new__(Message, (one if number == 1 else many).format(**values))
    message.code = code
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
    number = int(seconds) if seconds % 1 == 0 else 3  # a fraction has the form of a few: neither one nor two
    count = f"{seconds:g}"
    return plural("{count} second", "{count} seconds", number, count=count)
