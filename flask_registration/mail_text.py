"""What mail templates say their texts with: ``{{ say("Welcome to {site_name}!", site_name=site_name) }}``."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from jinja2 import pass_eval_context
from jinja2.nodes import EvalContext
from markupsafe import Markup, escape

from .catalogues import Language

#: RFC 5322 section 2.1.1.
LINE_LENGTH = 78


class Say:
    """Says texts in the language of a mail.

    What stands between ``**`` is strong in HTML; the text and its values are escaped there.

    :ivar tag: the language, for ``<html lang>``.
    :ivar direction: ``ltr`` or ``rtl``, for ``<html dir>``.
    :ivar gap: what stands between two sentences.
    """

    def __init__(self, language: Language) -> None:
        self._language = language
        self.tag: str = language.tag
        self.direction: str = language.direction
        self.gap: str = language.gap

    @pass_eval_context
    def __call__(self, context: EvalContext, text: str, /, **values: Any) -> str:
        html = bool(context.autoescape)
        if html:
            values = {name: escape(value) for name, value in values.items()}
        try:
            made = _marked(self._language.say(text), html).format(**values)
        except (AttributeError, LookupError, ValueError):  # a catalogue of the application's own has other values in it
            made = _marked(text, html).format(**values)
        return Markup(made) if html else made  # noqa: S704 -- all of it is escaped

    def folded(self, caller: Callable[[], str]) -> str:
        """The lines of a text, none longer than a mail's should be, where there are spaces to break them at."""
        text = caller()
        return "\n".join(map(_fold, text.split("\n"))) if self.gap else text


@lru_cache(maxsize=1024, typed=True)  # markup stays what it is, and equals what does not
def _marked(text: str, html: bool) -> str:
    return re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>" if html else r"\1", str(escape(text) if html else text))


def _fold(line: str) -> str:
    if len(line) <= LINE_LENGTH:
        return line
    lines, length = [""], 0
    for word in line.split(" "):
        if length and length + 1 + len(word) > LINE_LENGTH:
            lines.append(word)
            length = len(word)
        else:
            lines[-1] = f"{lines[-1]} {word}" if length else word
            length = len(lines[-1])
    return "\n".join(lines)
