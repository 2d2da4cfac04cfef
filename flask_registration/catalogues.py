"""Catalogues of translated texts, compiled by Babel and read by the standard library's gettext."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from gettext import GNUTranslations
from pathlib import Path
from typing import Any

from .library_texts import MARSHMALLOW_TEMPLATES
from .messages import Message, Sentences

DOMAIN = "flask_registration"

#: The language that the texts are written in, which needs no catalogue.
SOURCE = "en"

RIGHT_TO_LEFT = ("ar", "ckb", "dv", "fa", "he", "ps", "sd", "ug", "ur", "yi")

#: The languages that put no space between sentences.
SPACELESS = ("ja", "zh")

OURS = Path(__file__).parent / "translations"


@dataclass(frozen=True)
class Language:
    """A language, and the texts that there are in it.

    :ivar code: as Babel names it, ``pt_BR`` say.
    :ivar catalogue: None where a text is what it is: English, unless the application words it otherwise.
    """

    code: str
    catalogue: GNUTranslations | None = field(repr=False)

    @property
    def tag(self) -> str:
        """As BCP 47 writes it, in HTML and in headers: ``pt-BR``."""
        return self.code.replace("_", "-")

    @property
    def primary(self) -> str:
        """The language without its region or script."""
        return self.code.partition("_")[0].lower()

    @property
    def direction(self) -> str:
        """``ltr`` or ``rtl``."""
        return "rtl" if self.primary in RIGHT_TO_LEFT else "ltr"

    @property
    def gap(self) -> str:
        """What stands between two sentences."""
        return "" if self.primary in SPACELESS else " "

    def say(self, text: str) -> str:
        """A text in this language, or in English where it has no translation."""
        if self.catalogue is None or not text:
            return text
        found = self.catalogue.gettext(text)
        if found is not text:
            return found
        if isinstance(text, Sentences):
            return self.gap.join(self.say(part) for part in text.parts)
        if isinstance(text, Message):
            return self._filled(text)
        for source, pattern in _patterns():
            if match := pattern.fullmatch(text):
                return self._filled(source.format(**match.groupdict()))
        return text

    def say_all(self, texts: Any) -> Any:
        """The same for every text in a structure of dicts and lists."""
        if self.catalogue is None:
            return texts
        if isinstance(texts, str):
            return self.say(texts)
        if isinstance(texts, dict):
            return {key: self.say_all(texts[key]) for key in texts}
        if isinstance(texts, list | tuple):
            return [self.say_all(each) for each in texts]
        return texts

    def _filled(self, message: Message) -> str:
        catalogue = self.catalogue
        if catalogue is None:
            return message
        if message.many is None:
            found = catalogue.gettext(message.source)
        else:
            found = catalogue.ngettext(message.source, message.many, message.number)
        if found in (message.source, message.many):
            return message
        try:
            return found.format(**message.values)
        except (AttributeError, LookupError, ValueError):  # a catalogue of the application's own has other values in it
            return message


@cache
def _patterns() -> list[tuple[Message, re.Pattern[str]]]:
    """What finds the values in a text that a library has filled in already."""
    found = []
    for template in MARSHMALLOW_TEMPLATES:
        pattern = re.sub(r"\\{(choices|values|other)\\}", r"(?P<\1>.+)", re.escape(template))
        found.append((template, re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>\\S+)", pattern))))
    return found


def shipped() -> tuple[str, ...]:
    """The languages that there are, English first."""
    return (SOURCE, *sorted(path.name for path in OURS.glob("*") if path.is_dir()))


def load_language(code: str, directories: Iterable[Path]) -> Language | None:
    """A language, with the application's catalogue before ours; None where there is neither.

    :param directories: where catalogues of the application's own may be.
    """
    found = [path for folder in (*directories, OURS) if (path := catalogue_path(folder, code)).is_file()]
    if not found and code != SOURCE:
        return None
    return Language(code, _chained(found))


def catalogue_path(folder: Path, code: str) -> Path:
    """Where gettext looks for a language's compiled texts."""
    return folder / code / "LC_MESSAGES" / f"{DOMAIN}.mo"


def _chained(paths: Sequence[Path]) -> GNUTranslations | None:
    first: GNUTranslations | None = None
    for path in paths:
        with path.open("rb") as file:
            catalogue = GNUTranslations(file)
        if first is None:
            first = catalogue
        else:
            first.add_fallback(catalogue)
    return first
