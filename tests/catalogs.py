"""Keep the catalogs of translated texts: ``python -m tests.catalogs`` after a text has changed.

Extracts the texts from the package, brings every ``.po`` file up to date with them (what is new
there is to be translated by hand), and compiles it. ``python -m tests.catalogs sv`` starts Swedish.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir, extract_from_file
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from flask_registration.i18n.languages import DOMAIN, SOURCE, TRANSLATIONS, shipped

PACKAGE = TRANSLATIONS.parent

#: The texts of libraries, which the package does not contain.
LIBRARIES = Path(__file__).with_name("library_messages.py")

METHODS = [("**.py", "python"), ("templates/**.*", "jinja2.ext:babel_extract")]

#: Who takes a text that people read, and in which of its arguments.
KEYWORDS = {
    "Message": None,
    "plural": (1, 2),
    "_": None,
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
    catalog = Catalog(domain=DOMAIN)
    for texts in _texts():
        catalog.add(texts)
    return catalog


@cache
def _texts() -> list[Any]:
    """The same, looked for once."""
    found = extract_from_dir(PACKAGE, METHODS, keywords=KEYWORDS, callback=None)
    of_libraries = extract_from_file("python", LIBRARIES, keywords=KEYWORDS)
    return [texts for _, _, texts, _, _ in found] + [texts for _, texts, _, _ in of_libraries]


def catalog_path(folder: Path, code: str) -> Path:
    """Where gettext looks for a compiled catalog."""
    return folder / code / "LC_MESSAGES" / f"{DOMAIN}.mo"


def po_path(code: str) -> Path:
    """The catalog that translators write."""
    return catalog_path(TRANSLATIONS, code).with_suffix(".po")


def read(code: str) -> Catalog:
    """The catalog of a language."""
    with po_path(code).open("rb") as file:
        return read_po(file, locale=code)


class _Bare(Catalog):
    """A catalog without those headers."""

    def __iter__(self) -> Iterator[Message]:
        header, *messages = super().__iter__()
        lines = str(header.string).splitlines()
        header.string = "".join(f"{line}\n" for line in lines if not line.startswith(DROPPED))
        yield header
        yield from messages


def compiled(catalog: Catalog) -> bytes:
    """The catalog as gettext reads it, the same every time."""
    bare = _Bare(locale=catalog.locale_identifier, fuzzy=False)
    bare.mime_headers = (
        catalog.mime_headers
    )  # the rule for plurals too: Babel's own for a language may change
    for message in catalog:
        if message.id:
            bare.add(message.id, message.string)
    file = io.BytesIO()
    write_mo(file, bare)
    return file.getvalue()


def updated(code: str) -> Catalog:
    """A language brought up to date, or started."""
    catalog = (
        read(code) if po_path(code).exists() else Catalog(locale=code, domain=DOMAIN, fuzzy=False)
    )
    catalog.update(extracted(), no_fuzzy_matching=True)
    catalog.obsolete.clear()
    return catalog


def written(code: str, catalog: Catalog) -> str:
    """A catalog as its file has it, without dates and line numbers that would only make changes
    longer."""
    catalog.header_comment = HEADER.format(language=getattr(catalog.locale, "english_name", code))
    for message in catalog:
        message.flags.discard("python-format")
    file = io.BytesIO()
    write_po(file, catalog, width=100, no_location=True, sort_output=True)
    return re.sub(
        rf'^"({"|".join(DROPPED)}): .*\n', "", file.getvalue().decode(), flags=re.MULTILINE
    )


def update(code: str) -> None:
    """Bring a language up to date, or start it."""
    save(code, updated(code))


def save(code: str, catalog: Catalog) -> None:
    """Write a catalog, and compile it."""
    path = po_path(code)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(written(code, catalog), encoding="utf-8")
    catalog_path(TRANSLATIONS, code).write_bytes(compiled(read(code)))


if __name__ == "__main__":
    for code in sys.argv[1:] or shipped():
        if code != SOURCE:
            update(code)
            missing = [message.id for message in read(code) if message.id and not message.string]
            print(f"{code}: {len(missing)} untranslated")
