"""Messages for people: declared in English, translated for each response and e-mail."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Self


class Coded(str):
    """A message about a field, with a code for programs that is the same in every language.

    :ivar code: None if the message has no code of its own; the field is just invalid.
    """

    code: str | None = None

    def coded(self, code: str) -> Self:
        """Return this message with a code, unless it has one already."""
        if self.code:
            return self
        message = self._copy(str(self))
        message.code = code
        return message

    def format(self, *values: Any, **named: Any) -> Self:
        """Return this message with values."""
        return self._copy(str.format(self, *values, **named))

    def _copy(self, text: str) -> Self:
        copy = str.__new__(type(self), text)
        copy.__dict__.update(self.__dict__)
        return copy


class Message(Coded):
    """An English message that keeps its source and its values, so that it can be translated later.

    Use it like any string. :meth:`format` adds the values of ``Message("… {limit} …")``.

    :param code: for a message about a field; see :class:`Coded`.
    """

    source: str
    many: str | None = None
    number: int = 0
    values: dict[str, Any] = {}

    def __new__(cls, text: str, *, code: str | None = None) -> Message:
        message = super().__new__(cls, text)
        message.source, message.code = text, code
        return message

    def format(self, *_: Any, **values: Any) -> Self:
        """Return this message with values, by name. Earlier values stay."""
        message = self._copy(str.format(self, **values))
        message.values = {**values, **self.values}
        return message

    def about(self, text: str) -> Self:
        """Return a library's text, translated as this message if it has no translation."""
        message = self._copy(text)
        message.values = {}
        return message


class Sentences(Message):
    """Several messages, one after the other."""

    parts: Sequence[str]

    def __new__(cls, parts: Sequence[str], *, code: str | None = None) -> Sentences:
        message = str.__new__(cls, " ".join(parts))
        message.source, message.parts, message.code = str(message), parts, code
        return message


def plural(one: str, many: str, number: int, *, code: str | None = None, **values: Any) -> Message:
    """Return a message about a number of things, in the grammatical form of that number.

    :param code: as of :class:`Message`.
    :param values: its values in addition to ``count``, the number.
    """
    values = {"count": number, **values}
    message: Message = str.__new__(Message, (one if number == 1 else many).format(**values))
    message.code = code
    message.source, message.many, message.number, message.values = one, many, number, values
    return message


def duration(time: timedelta) -> Message:
    """Return a period of time for people: ``7 days``."""
    seconds = time.total_seconds()
    if seconds and seconds % 86400 == 0:
        return plural("{count} day", "{count} days", int(seconds // 86400))
    if seconds and seconds % 3600 == 0:
        return plural("{count} hour", "{count} hours", int(seconds // 3600))
    if seconds and seconds % 60 == 0:
        return plural("{count} minute", "{count} minutes", int(seconds // 60))
    number = int(seconds) if seconds % 1 == 0 else 3  # a fraction has the plural form of a few
    return plural("{count} second", "{count} seconds", number, count=f"{seconds:g}")


#: The translation for an invalid e-mail address if the exact message has none.
INVALID_ADDRESS = Message("This is not a valid e-mail address.")

#: Messages of marshmallow's validators, which the application's own schemas use as well. Their
#: values are filled in before the translation.
MARSHMALLOW_TEMPLATES: tuple[Message, ...] = (
    Message("Shorter than minimum length {min}."),
    Message("Longer than maximum length {max}."),
    Message("Length must be between {min} and {max}."),
    Message("Length must be {equal}."),
    Message("Must be greater than or equal to {min} and less than or equal to {max}."),
    Message("Must be greater than or equal to {min}."),
    Message("Must be less than or equal to {max}."),
    Message("Must be greater than {min}."),
    Message("Must be less than {max}."),
    Message("Must be equal to {other}."),
    Message("Must be one of: {choices}."),
    Message("One or more of the choices you made was in: {values}."),
    Message("One or more of the choices you made was not in: {choices}."),
)
