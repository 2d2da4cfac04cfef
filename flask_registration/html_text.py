"""The text of an HTML mail, with its links."""

from __future__ import annotations

import re
from html.parser import HTMLParser

HIDDEN = {"head", "style", "script", "title", "template"}
BLOCKS = {"p", "div", "table", "tr", "ul", "ol", "li", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "hr", "br"}


class _TextParser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden = 0
        self._href: str | None = None
        self._anchor_start = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in HIDDEN:
            self._hidden += 1
        if tag in BLOCKS:
            self.parts.append("\n" if tag in ("br", "li", "tr") else "\n\n")
        if tag in ("li", "td", "th"):
            self.parts.append("- " if tag == "li" else " ")
        if tag == "a":
            self._href, self._anchor_start = dict(attrs).get("href"), len(self.parts)

    def handle_endtag(self, tag: str) -> None:
        if tag in HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        if tag in BLOCKS and tag not in ("li", "tr", "br"):
            self.parts.append("\n\n")
        if tag == "a" and self._href:
            label = "".join(self.parts[self._anchor_start :]).strip()
            self.parts[self._anchor_start :] = [f"\n{label}\n" if label == self._href else f"{label}:\n{self._href}\n"]
            self._href = None

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(re.sub(r"\s+", " ", data))


def html_to_text(html: str) -> str:
    """What a person reads in an HTML mail; each link's address stands on a line of its own.

    The labels of links come first, so that a link is never broken by the words around it.
    """
    parser = _TextParser()
    parser.feed(html)
    parser.close()
    lines = [" ".join(line.split()) for line in "".join(parser.parts).splitlines()]
    text = "\n".join(re.sub(r"^[.,;:!?](\s+|$)", "", line) for line in lines)  # what followed a link
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.strip() + "\n"
