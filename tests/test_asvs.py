"""The page about OWASP ASVS has each requirement of two chapters, and names what exists."""

from __future__ import annotations

import re

from werkzeug.utils import import_string

from flask_registration import DEFAULT_FLOWS
from flask_registration.extension import SETTINGS_GROUPS
from flask_registration.flows.default import OPTIONAL_FLOWS
from flask_registration.settings import declarations

from .pages import ROOT, named_tests, read
from .tables import each_row

PAGE = "docs/asvs.md"

#: The level of each requirement of version 5.0.0, by section: 6.1.1 has level 1.
LEVELS = {
    "6.1": "122",
    "6.2": "111111112222",
    "6.3": "11223333",
    "6.4": "112233",
    "6.5": "22222333",
    "6.6": "2223",
    "6.7": "33",
    "6.8": "2222",
    "7.1": "222",
    "7.2": "1111",
    "7.3": "22",
    "7.4": "11222",
    "7.5": "223",
    "7.6": "22",
}

VERDICTS = {"met", "the application's task", "not applicable", "not met yet"}

#: The cells of each row: the id and the requirement, the level, the verdict, and where.
ROWS: list[tuple[str, str, str, str, str]] = re.findall(
    r"^\| \*\*(\S+)\*\* (.+?) \| (.+?) \| (.+?) \| (.+) \|$", read(PAGE), re.MULTILINE
)


def test_every_requirement_is_there_once_in_its_order_with_its_level() -> None:
    expected = [
        (f"{section}.{number}", level)
        for section, levels in LEVELS.items()
        for number, level in enumerate(levels, 1)
    ]
    assert [(row[0], row[2]) for row in ROWS] == expected
    assert read(PAGE).count("\n| **") == len(ROWS)


def test_the_verdicts_are_those_that_the_page_explains() -> None:
    explained = re.findall(r"^\| ([a-z' ]+) \| [A-Z].+ \|$", read(PAGE), re.MULTILINE)
    assert set(explained) == VERDICTS
    assert {row[3] for row in ROWS} == VERDICTS


@each_row("row", ROWS, ids=[row[0] for row in ROWS])
def test_what_a_row_names_exists(row: tuple[str, ...]) -> None:
    _, requirement, _, verdict, where = row
    assert requirement[0].islower()
    named = named_tests(where)
    pages = re.findall(r"\]\(([\w-]+\.md)", where)
    files = re.findall(r"`(flask_registration/[^`]+)`", where)
    optional = map(import_string, OPTIONAL_FLOWS)
    groups = (*(flow.group for flow in (*DEFAULT_FLOWS, *optional)), *SETTINGS_GROUPS)
    known = {setting.key for group in groups for setting in declarations(group)}
    settings = re.findall(r"`(REGISTRATION_\w+)", where)
    assert all((ROOT / "docs" / page).is_file() for page in pages), pages
    assert all((ROOT / file).is_file() for file in files), files
    assert set(settings) <= known
    if verdict == "met":
        assert named or pages, "it has no evidence"
