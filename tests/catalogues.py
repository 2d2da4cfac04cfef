"""Keep the catalogues of translated texts: ``python -m tests.catalogues`` after a text has changed.

Extracts the texts from the package, brings every ``.po`` file up to date with them (what is new there is to be
translated by hand), and compiles it. ``python -m tests.catalogues sv`` starts Swedish.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from flask_registration.catalogues import DOMAIN, OURS, SOURCE, catalogue_path, shipped

PACKAGE = OURS.parent

METHODS = [("**.py", "python"), ("templates/**.*", "jinja2.ext:babel_extract")]

#: Who takes a text that people read, and in which of its arguments.
KEYWORDS = {
    "Message": None,
    "plural": (1, 2),
    "say": None,
    "success": None,
    "NotFound": None,
    "BadRequest": None,
    "UnsupportedMediaType": None,
}

#: Headers that change by themselves, or say nothing.
DROPPED = (
    "Project-Id-Version",
    "Report-Msgid-Bugs-To",
    "POT-Creation-Date",
    "PO-Revision-Date",
    "Last-Translator",
    "Language-Team",
    "Generated-By",
)

HEADER = """\
# {language} for Flask-Registration.
# Distributed under the licence of the project, BSD-3-Clause.
#"""


def extracted() -> Catalog:
    """Every text of the package that people read."""
    catalogue = Catalog(domain=DOMAIN)
    found = extract_from_dir(PACKAGE, METHODS, keywords=KEYWORDS, callback=None)
    for _, _, texts, _, _ in found:
        catalogue.add(texts)
    return catalogue


def po_path(code: str) -> Path:
    """The catalogue that translators write."""
    return catalogue_path(OURS, code).with_suffix(".po")


def read(code: str) -> Catalog:
    """The catalogue of a language."""
    with po_path(code).open("rb") as file:
        return read_po(file, locale=code)


class _Bare(Catalog):
    """A catalogue without those headers."""

    def __iter__(self) -> Iterator[Message]:
        header, *messages = super().__iter__()
        lines = str(header.string).splitlines()
        header.string = "".join(f"{line}\n" for line in lines if not line.startswith(DROPPED))
        yield header
        yield from messages


def compiled(catalogue: Catalog) -> bytes:
    """The catalogue as gettext reads it, the same every time."""
    bare = _Bare(locale=catalogue.locale_identifier, fuzzy=False)
    bare.mime_headers = catalogue.mime_headers  # the rule for plurals too: Babel's own for a language may change
    for message in catalogue:
        if message.id:
            bare.add(message.id, message.string)
    file = io.BytesIO()
    write_mo(file, bare)
    return file.getvalue()


def updated(code: str) -> Catalog:
    """A language brought up to date, or started."""
    catalogue = read(code) if po_path(code).exists() else Catalog(locale=code, domain=DOMAIN, fuzzy=False)
    catalogue.update(extracted(), no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    return catalogue


def written(code: str, catalogue: Catalog) -> str:
    """A catalogue as its file has it, without dates and line numbers that would only make changes longer."""
    catalogue.header_comment = HEADER.format(language=getattr(catalogue.locale, "english_name", code))
    for message in catalogue:
        message.flags.discard("python-format")
    file = io.BytesIO()
    write_po(file, catalogue, width=100, no_location=True, sort_output=True)
    return re.sub(rf'^"({"|".join(DROPPED)}): .*\n', "", file.getvalue().decode(), flags=re.MULTILINE)


def update(code: str) -> None:
    """Bring a language up to date, or start it."""
    save(code, updated(code))


def save(code: str, catalogue: Catalog) -> None:
    """Write a catalogue, and compile it."""
    path = po_path(code)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(written(code, catalogue), encoding="utf-8")
    catalogue_path(OURS, code).write_bytes(compiled(read(code)))


if __name__ == "__main__":
    for code in sys.argv[1:] or shipped():
        if code != SOURCE:
            update(code)
            missing = [message.id for message in read(code) if message.id and not message.string]
            print(f"{code}: {len(missing)} untranslated")
