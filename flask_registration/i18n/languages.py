"""Load catalogs of translations, and choose a language.

For a response, ``REGISTRATION_LOCALE_SELECTOR`` chooses the language. Without it Flask-Babel does,
if the application has it, else the header ``Accept-Language``. The choice never depends on an
account in the request body, so it reveals nothing about it. For an e-mail, the selector also
receives the user, whose language it may know.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from dataclasses import dataclass, field
from functools import cache, lru_cache
from gettext import GNUTranslations
from pathlib import Path
from typing import Any, cast

from flask import current_app, has_request_context, request
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

from .messages import MARSHMALLOW_TEMPLATES, Message, Sentences

DOMAIN = "flask_registration"

#: The language of the messages in the code, which needs no catalog.
SOURCE = "en"

RIGHT_TO_LEFT = ("ar", "ckb", "dv", "fa", "he", "ps", "sd", "ug", "ur", "yi")

#: The languages without a space between sentences.
SPACELESS = ("ja", "zh")

#: The catalogs of the extension.
TRANSLATIONS = Path(__file__).parent.parent / "translations"


@dataclass(frozen=True)
class Language:
    """A language and its catalog.

    :ivar code: as Babel names it, for example ``pt_BR``.
    :ivar catalog: None for English, unless the application has a catalog that rewords it.
    """

    code: str
    catalog: GNUTranslations | None = field(repr=False)

    @property
    def tag(self) -> str:
        """Return the tag of BCP 47, for HTML and headers: ``pt-BR``."""
        return self.code.replace("_", "-")

    @property
    def primary(self) -> str:
        """Return the language without its region or script."""
        return self.code.partition("_")[0].lower()

    @property
    def direction(self) -> str:
        """Return ``ltr`` or ``rtl``."""
        return "rtl" if self.primary in RIGHT_TO_LEFT else "ltr"

    @property
    def sentence_separator(self) -> str:
        """Return the text between two sentences."""
        return "" if self.primary in SPACELESS else " "

    def translate(self, text: str) -> str:
        """Return a text in this language, or in English if it has no translation."""
        if self.catalog is None or not text:
            return text
        found = self.catalog.gettext(text)
        if found is not text:
            return found
        if isinstance(text, Sentences):
            return self.sentence_separator.join(self.translate(part) for part in text.parts)
        if isinstance(text, Message):
            return self._filled(text)
        for source, pattern in _patterns():
            if match := pattern.fullmatch(text):
                return self._filled(source.format(**match.groupdict()))
        return text

    def translate_all(self, value: Any) -> Any:
        """Translate every text in a structure of dicts and lists."""
        if self.catalog is None:
            return value
        if isinstance(value, str):
            return self.translate(value)
        if isinstance(value, dict):
            return {key: self.translate_all(value[key]) for key in value}
        if isinstance(value, list | tuple):
            return [self.translate_all(each) for each in value]
        return value

    def _filled(self, message: Message) -> str:
        catalog = self.catalog
        if catalog is None:
            return message
        if message.many is None:
            found = catalog.gettext(message.source)
        else:
            found = catalog.ngettext(message.source, message.many, message.number)
        if found in (message.source, message.many):
            return message
        try:
            return found.format(**message.values)
        except (AttributeError, LookupError, ValueError):  # a catalog of the application is wrong
            return message


@cache
def _patterns() -> list[tuple[Message, re.Pattern[str]]]:
    """Return patterns that find the values in messages which marshmallow has formatted."""
    found = []
    for template in MARSHMALLOW_TEMPLATES:
        pattern = re.sub(r"\\{(choices|values|other)\\}", r"(?P<\1>.+)", re.escape(template))
        found.append((template, re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>\\S+)", pattern))))
    return found


def shipped() -> tuple[str, ...]:
    """Return the languages that the extension is translated into, English first."""
    return (SOURCE, *sorted(path.name for path in TRANSLATIONS.glob("*") if path.is_dir()))


def load_language(code: str, directories: Iterable[Path]) -> Language | None:
    """Return a language, or None if it has no catalog. Catalogs of the application come first.

    :param directories: where the application's own catalogs can be.
    """
    paths = [catalog_path(folder, code) for folder in (*directories, TRANSLATIONS)]
    found = [path for path in paths if path.is_file()]
    return Language(code, _chained(found)) if found or code == SOURCE else None


def catalog_path(folder: Path, code: str) -> Path:
    """Return where gettext looks for a compiled catalog."""
    return folder / code / "LC_MESSAGES" / f"{DOMAIN}.mo"


def _chained(paths: Sequence[Path]) -> GNUTranslations | None:
    first: GNUTranslations | None = None
    for path in paths:
        catalog = copy(_parse(path))
        if first is None:
            first = catalog
        else:
            first.add_fallback(catalog)
    return first


@cache
def _parse(path: Path) -> GNUTranslations:
    """Read a catalog, once for all applications of a process. ``add_fallback`` changes it."""
    with path.open("rb") as file:
        return GNUTranslations(file)


#: The maximum length of the header, and the number of headers in the cache: clients send anything.
HEADER_MAX_LENGTH = 255
HEADERS_KEPT = 256

#: Tags of regions that stand for a script (RFC 5646), and an old tag of Indonesian.
ALIASES = {
    "zh-cn": "zh-hans",
    "zh-sg": "zh-hans",
    "zh-my": "zh-hans",
    "zh-tw": "zh-hant",
    "zh-hk": "zh-hant",
    "zh-mo": "zh-hant",
    "in": "id",
}

KEY = "flask_registration.language"


class Languages:
    """The languages of one application, the default one first."""

    def __init__(
        self, offered: Mapping[str, Language], selector: Callable[..., Any] | None
    ) -> None:
        self._selector = selector
        self._offered = {language.tag.lower(): language for language in offered.values()}
        self.default: Language = next(iter(offered.values()))
        for language in offered.values():  # "pt" finds Brazilian Portuguese if there is no other
            self._offered.setdefault(language.primary, language)
        self.tags: list[str] = [language.tag for language in offered.values()]
        self.is_one: bool = len(offered) == 1
        self._by_header = lru_cache(maxsize=HEADERS_KEPT)(self._negotiate)

    def match(self, wanted: object) -> Language | None:
        """Return the language of a BCP 47 tag or a locale name, or a less specific language.

        Return None if none is offered.
        """
        tag = str(wanted).replace("_", "-").lower()
        while tag:
            tag = ALIASES.get(tag, tag)
            if tag in self._offered:
                return self._offered[tag]
            tag, _, last = tag.rpartition("-")
            if len(last) == 4 and last.isalpha():  # readers of one script may not read another
                return None
        return None

    def for_response(self) -> Language:
        """Return the language of the response to this request."""
        language = self.used()
        if language is None:
            language, _ = self.choose(None)
            request.environ[KEY] = language
        return language

    def choose(self, user: Any) -> tuple[Language, str | None]:
        """Return a language, and the locale that the application chose, if any.

        :param user: the user that an e-mail is about; None for a response.
        """
        if self.is_one:
            return self.default, None
        current = current_request()
        has_babel = current and "babel" in current_app.extensions
        try:
            select = self._selector
            wanted = select(request=current, user=user) if select else None
            wanted = wanted or (_babel_locale() if has_babel else None)
        except Exception:  # for example of the database; the response does not fail
            current_app.logger.exception("The language could not be chosen.")
            return self.default, None
        if wanted is not None:
            return self.match(wanted) or self.default, str(wanted)
        header = current.environ.get("HTTP_ACCEPT_LANGUAGE") if current else None
        return self._by_header(header[: HEADER_MAX_LENGTH + 1]) if header else self.default, None

    def get(self, tag: str) -> Language:
        """Return the language with this tag, or the default one."""
        return self._offered.get(tag.lower(), self.default)

    def _negotiate(self, header: str) -> Language:
        """Return the offered language that the header prefers."""
        if len(header) > HEADER_MAX_LENGTH:
            header = header.rpartition(",")[0]
        for tag, quality in parse_accept_header(header, LanguageAccept):
            if quality > 0 and (found := self.default if tag == "*" else self.match(tag)):
                return found
        return self.default

    def used(self) -> Language | None:
        """Return the language of the response, if it contains a message of the extension."""
        language: Language | None = request.environ.get(KEY)
        return language


def current_request() -> Any:
    """Return the current request itself, not Flask's proxy; None outside a request."""
    return cast(Any, request)._get_current_object() if has_request_context() else None


def _babel_locale() -> Any:
    from flask_babel import get_locale

    return get_locale()


def force_babel_locale(locale: str | None) -> AbstractContextManager[None]:
    """Let Flask-Babel, if the application has it, use this locale in the block."""
    if locale is None or "babel" not in current_app.extensions:
        return nullcontext()
    from babel import Locale, UnknownLocaleError
    from flask_babel import force_locale

    try:
        parsed = Locale.parse(locale.replace("-", "_"))
    except (ValueError, UnknownLocaleError):
        return nullcontext()
    return cast(AbstractContextManager[None], force_locale(str(parsed)))
