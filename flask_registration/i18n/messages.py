"""Messages for people: declared in English, translated for each response and e-mail."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from gettext import NullTranslations
from typing import Any, Self

ENGLISH = NullTranslations()

#: What a wrong translation in a catalog of the application raises when it is formatted.
CATALOG_ERRORS = (AttributeError, LookupError, TypeError, ValueError)


class Message(str):
    """An English message that keeps its source and its values, so that it can be translated later.

    Use it like any string. :meth:`format` adds the values of ``Message("… {limit} …")``.

    :param code: for a message about a field; the same in every language. Without a code the field
        is just invalid.
    :param otherwise: the message to translate if this one has no translation.
    """

    code: str | None
    source: str
    otherwise: str | None
    many: str | None = None
    number: int = 1
    args: tuple[Any, ...] = ()
    values: Mapping[str, Any] = {}

    def __new__(cls, text: str, *, code: str | None = None, otherwise: str | None = None) -> Self:
        message = super().__new__(cls, text)
        message.source, message.code, message.otherwise = str(text), code, otherwise
        return message

    def format(self, *args: Any, **values: Any) -> Self:
        """Return this message with values. Earlier values stay."""
        values |= self.values
        message = str.__new__(type(self), self._template(ENGLISH).format(*args, **values))
        message.__dict__ |= {**self.__dict__, "args": args, "values": values}
        return message

    def translated(self, catalog: NullTranslations) -> str:
        """Return this message in the language of a catalog, or in English if it is not there."""
        template = self._template(catalog)
        if self.otherwise and template == self.source:
            general = catalog.gettext(self.otherwise)
            return template if general == self.otherwise else general
        if not (self.args or self.values):
            return template
        values = {
            name: value.translated(catalog) if isinstance(value, Message) else value
            for name, value in self.values.items()
        }
        try:
            return template.format(*self.args, **values)
        except CATALOG_ERRORS:
            return str(self)

    def _template(self, catalog: NullTranslations) -> str:
        if self.many is None:
            return catalog.gettext(self.source)
        return catalog.ngettext(self.source, self.many, self.number)


def plural(one: str, many: str, number: int, *, code: str | None = None, **values: Any) -> Message:
    """Return a message about a number of things, in the grammatical form of that number.

    :param code: as of :class:`Message`.
    :param values: its values in addition to ``count``, the number.
    """
    message = Message(one, code=code)
    message.many, message.number = many, number
    return message.format(**{"count": number, **values})


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
    shown = format(seconds, "g")
    return plural("{count} second", "{count} seconds", number, count=shown)
