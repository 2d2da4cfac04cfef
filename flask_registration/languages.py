"""The language of a reply and of a mail, and what a text is in it.

Replies: as ``REGISTRATION_LOCALE_SELECTOR`` says, else Flask-Babel where the application has it, else by the header
``Accept-Language``; never by an account that a body names, so that a language tells nothing about it. Mails: the same,
but the selector is told the user, whose own language it may know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from flask import Flask, Request, current_app, has_request_context, request
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

from .catalogues import Language, load_language, shipped
from .settings import PREFIX, Settings, SettingsReader, setting

#: How much of the header counts, and how many different ones are kept: anybody may send anything.
HEADER_MAX_LENGTH = 255
HEADERS_KEPT = 256

#: What browsers call scripts that they do not name (RFC 5646 has them by region), and an old name of Indonesian.
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


@dataclass(frozen=True, kw_only=True)
class LanguageSettings(Settings):
    """Languages of replies and mails."""

    languages: tuple[str, ...] = setting(
        shipped(),
        "The languages that are offered; the first is for whoever asks for none of them. "
        'A site that speaks German only has `["de"]`.',
        default_text="English, and all that have a catalogue",
    )
    locale_selector: Callable[..., Any] | None = setting(
        None,
        'Says who reads which language: `selector(*, request, user, **kwargs)` returns `"de"` say, or None where it '
        "does not know. `user` is the owner of the account that a mail is about; for a reply it is None.",
        default_text="Flask-Babel's, else the header `Accept-Language`",
    )
    translation_directories: tuple[str, ...] = setting(
        ("translations",),
        "Directories, relative to the application's root path, with catalogues that come before ours: "
        "`de/LC_MESSAGES/flask_registration.mo`.",
    )


class Languages:
    """The languages of one application, the default one first."""

    def __init__(self, offered: Mapping[str, Language], selector: Callable[..., Any] | None) -> None:
        self._selector = selector
        self._offered = {language.tag.lower(): language for language in offered.values()}
        self.default: Language = next(iter(offered.values()))
        for language in offered.values():  # "pt" finds Brazilian Portuguese where there is no other
            self._offered.setdefault(language.primary, language)
        self.tags: list[str] = [language.tag for language in offered.values()]
        self.is_one: bool = len(offered) == 1
        self._by_header = lru_cache(maxsize=HEADERS_KEPT)(self._negotiate)

    def match(self, wanted: object) -> Language | None:
        """The language that a tag of BCP 47, or a locale's name, stands for, or the nearest less special one."""
        tag = str(wanted).replace("_", "-").lower()
        while tag:
            tag = ALIASES.get(tag, tag)
            if tag in self._offered:
                return self._offered[tag]
            tag, _, last = tag.rpartition("-")
            if len(last) == 4 and last.isalpha():  # another script is another language to its readers
                return None
        return None

    def of_reply(self) -> Language:
        """The language of the reply to this request."""
        environ = request.environ
        known: Language | None = environ.get(KEY)
        if known is None:
            known, _ = self._chosen(None)
            environ[KEY] = known
        return known

    @contextmanager
    def of_mail(self, user: Any) -> Iterator[Language]:
        """The language of a mail about this user's account.

        In the block Flask-Babel, where the application has it, speaks what the selector says: its own templates too.
        """
        language, told = self._chosen(user)
        with _babel_speaks(told) if told is not None else nullcontext():
            yield language

    def _chosen(self, user: Any) -> tuple[Language, object]:
        """A language, and what the selector said."""
        if self.is_one:
            return self.default, None
        asking = cast(Request, cast(Any, request)._get_current_object()) if has_request_context() else None
        has_babel = asking is not None and "babel" in current_app.extensions
        if self._selector is not None or has_babel:
            try:
                told = (self._selector(request=asking, user=user) or None) if self._selector is not None else None
                wanted = _babel_locale() if told is None and has_babel else told
            except Exception:  # the reply stands: that the database is down, say
                current_app.logger.exception("The language could not be chosen.")
                return self.default, None
            if wanted is not None:
                return self.match(wanted) or self.default, told
        header = asking.environ.get("HTTP_ACCEPT_LANGUAGE") if asking is not None else None
        return self._by_header(header[: HEADER_MAX_LENGTH + 1]) if header else self.default, None

    def _negotiate(self, header: str) -> Language:
        """The best of the header's languages that is offered."""
        if len(header) > HEADER_MAX_LENGTH:
            header = header.rpartition(",")[0]
        for tag, quality in parse_accept_header(header, LanguageAccept):
            if quality > 0 and (found := self.default if tag == "*" else self.match(tag)):
                return found
        return self.default

    def used(self) -> Language | None:
        """The language of the reply, where a text of ours is in it."""
        known: Language | None = request.environ.get(KEY)
        return known


def _babel_locale() -> Any:
    from flask_babel import get_locale

    return get_locale()


def _babel_speaks(told: object) -> AbstractContextManager[None]:
    if "babel" not in current_app.extensions:
        return nullcontext()
    from babel import Locale, UnknownLocaleError
    from flask_babel import force_locale

    try:
        locale = Locale.parse(str(told).replace("-", "_"))
    except (ValueError, UnknownLocaleError):
        return nullcontext()
    return cast(AbstractContextManager[None], force_locale(str(locale)))


def said(text: Any) -> Any:
    """A text, or a structure of texts, in the language of the reply."""
    languages: Languages = current_app.extensions["registration"].languages
    return languages.of_reply().say_all(text)


def make_languages(app: Flask, reader: SettingsReader) -> Languages | None:
    """What the settings offer; what has no catalogue is a problem."""
    settings = reader.read(LanguageSettings)
    directories = [Path(app.root_path, directory) for directory in settings.translation_directories]
    offered: dict[str, Language] = {}
    for name in settings.languages:
        language = load_language(name.replace("-", "_"), directories)
        if language is None:
            there = ", ".join(shipped())
            reader.problem(
                PREFIX + "LANGUAGES",
                f"names {name!r}, which has no catalogue: take it off the list, or add one. There are {there}.",
            )
        else:
            offered[name] = language
    if not settings.languages:
        reader.problem(PREFIX + "LANGUAGES", 'is empty: name one language at the least, ["en"] say.')
    return Languages(offered, settings.locale_selector) if offered else None
