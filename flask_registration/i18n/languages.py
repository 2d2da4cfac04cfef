"""Load catalogs of translations, and choose a language.

For a response, ``REGISTRATION_LOCALE_SELECTOR`` chooses the language. Without it Flask-Babel does,
if the application has it, else the header ``Accept-Language``. The choice never depends on an
account in the request body, so it reveals nothing about it. For an e-mail, the selector also
receives the user, whose language it may know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from dataclasses import dataclass, field
from functools import cache, lru_cache
from gettext import GNUTranslations, NullTranslations, find
from pathlib import Path
from typing import Any, cast

from flask import current_app, has_request_context, request
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

from ..request_state import request_state
from .messages import Message

DOMAIN = "flask_registration"

#: The language of the messages in the code, which needs no catalog.
SOURCE = "en"

RIGHT_TO_LEFT = ("ar", "ckb", "dv", "fa", "he", "iw", "ji", "ps", "sd", "ug", "ur", "yi")

#: Languages with an old code that catalogs and clients still use, by the new one (ISO 639).
OLD_CODES = {
    "he": "iw",
    "id": "in",
    "yi": "ji",
    "jv": "jw",
    "ro": "mo",
    "nb": "no",
    "fil": "tl",
}
NEW_CODES = {old: new for new, old in OLD_CODES.items()}

#: The languages without a space between sentences.
SPACELESS = ("ja", "zh")

#: The catalogs of the extension.
TRANSLATIONS = Path(__file__).parent.parent / "translations"


@dataclass(frozen=True)
class Language:
    """A language and its catalogs.

    :ivar tag: as in HTML and headers (BCP 47), for example ``pt-BR``.
    :ivar catalog: the application's catalog, then ours; English may have none.
    """

    tag: str
    catalog: NullTranslations = field(repr=False)

    @property
    def primary(self) -> str:
        """Return the language without its region or script."""
        return self.tag.partition("-")[0].lower()

    @property
    def direction(self) -> str:
        """Return ``ltr`` or ``rtl``."""
        return "rtl" if self.primary in RIGHT_TO_LEFT else "ltr"

    @property
    def sentence_separator(self) -> str:
        """Return the text between two sentences."""
        return "" if self.primary in SPACELESS else " "

    def translate(self, text: Any) -> Any:
        """Return a text, or each text in a structure of dicts and lists, in this language.

        A text without a translation stays English.
        """
        if not text:  # a catalog has its header under the empty text
            return text
        if isinstance(text, dict):
            return {key: self.translate(value) for key, value in text.items()}
        if isinstance(text, list | tuple):
            return [self.translate(each) for each in text]
        if isinstance(text, Message):
            return text.translated(self.catalog)
        return self.catalog.gettext(text) if isinstance(text, str) else text


def shipped() -> tuple[str, ...]:
    """Return the languages that the extension is translated into, English first."""
    return (SOURCE, *sorted(path.name for path in TRANSLATIONS.glob("*") if path.is_dir()))


def load_language(code: str, directories: Iterable[Path]) -> Language | None:
    """Return a language, or None if it has no catalog. Catalogs of the application come first.

    :param code: as gettext names it, for example ``pt_BR``.
    :param directories: where the application's own catalogs can be.
    """
    catalog = NullTranslations()
    paths = list(filter(None, (_find(each, code) for each in (*directories, TRANSLATIONS))))
    for path in paths:
        catalog.add_fallback(copy(_load(path)))
    return Language(code.replace("_", "-"), catalog) if paths or code == SOURCE else None


def _find(folder: Path, code: str) -> str | None:
    """Return the path of a catalog.

    gettext replaces an old code by the new one, so it does not find a folder with the old one.
    """
    language = code.partition("_")[0]
    other = OLD_CODES.get(language) or NEW_CODES.get(language)
    codes = [code, language, *([code.replace(language, other, 1), other] if other else [])]
    paths = (Path(folder, each, "LC_MESSAGES", f"{DOMAIN}.mo") for each in codes)
    found = next((str(path) for path in paths if path.exists()), None)
    return found or find(DOMAIN, folder, [code])


@cache
def _load(path: str) -> GNUTranslations:
    with open(path, "rb") as file:
        return GNUTranslations(file)


#: The maximum length of the header, and the number of headers in the cache: clients send anything.
#: Werkzeug takes 40 to 90 µs to read a header, the cache 0.1 µs.
HEADER_MAX_LENGTH = 255
HEADERS_KEPT = 256

#: Tags of regions that stand for a script (RFC 5646), and old codes.
ALIASES = {
    **NEW_CODES,
    "zh-cn": "zh-hans",
    "zh-sg": "zh-hans",
    "zh-my": "zh-hans",
    "zh-tw": "zh-hant",
    "zh-hk": "zh-hant",
    "zh-mo": "zh-hant",
}


class Languages:
    """The languages of one application, the default one first."""

    def __init__(self, offered: Sequence[Language], selector: Callable[..., Any] | None) -> None:
        self._selector = selector
        self._offered: dict[str, Language] = {}
        for language in offered:
            tag = language.tag.lower()
            self._offered.setdefault(ALIASES.get(tag, tag), language)
        self.default: Language = offered[0]
        for language in offered:  # "pt" finds Brazilian Portuguese if there is no other
            self._offered.setdefault(ALIASES.get(language.primary, language.primary), language)
        self.tags: list[str] = [language.tag for language in offered]
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

    def get(self, wanted: object) -> Language:
        """Return the language that matches, or the default one."""
        return self.match(wanted) or self.default

    def for_response(self) -> Language:
        """Return the language of the response to this request."""
        state = request_state()
        if state.language is None:
            state.language, _ = self.choose(None)
        language: Language = state.language
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
            wanted = self._selector and self._selector(request=current, user=user)
            if not wanted and has_babel:
                from flask_babel import get_locale

                wanted = get_locale()
        except Exception:  # for example of the database; the response does not fail
            current_app.logger.exception("The language could not be chosen.")
            return self.default, None
        if wanted:
            return self.get(wanted), str(wanted)
        header = current.environ.get("HTTP_ACCEPT_LANGUAGE") if current else None
        return self._by_header(header[: HEADER_MAX_LENGTH + 1]) if header else self.default, None

    def _negotiate(self, header: str) -> Language:
        """Return the offered language that the header prefers."""
        if len(header) > HEADER_MAX_LENGTH:
            header = header.rpartition(",")[0]
        for tag, quality in parse_accept_header(header, LanguageAccept):
            if quality > 0 and (found := self.default if tag == "*" else self.match(tag)):
                return found
        return self.default


def current_request() -> Any:
    """Return the current request itself, not Flask's proxy; None outside a request."""
    return cast(Any, request)._get_current_object() if has_request_context() else None


def force_babel_locale(locale: str | None) -> AbstractContextManager[None]:
    """Let Flask-Babel, if the application has it, use this locale in the block."""
    if locale is None or "babel" not in current_app.extensions:
        return nullcontext()
    from babel import Locale, UnknownLocaleError
    from flask_babel import force_locale

    try:
        parsed = str(Locale.parse(locale.replace("-", "_")))
    except (ValueError, UnknownLocaleError):
        return nullcontext()
    forced: AbstractContextManager[None] = force_locale(parsed)
    return forced
