"""Make the page about configuration errors and warnings from the calls in the package."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parent.parent / "flask_registration"
LEVELS = {"E": "Errors", "W": "Warnings", "N": "Notes"}


class Section(NamedTuple):
    """A call of ``Finding``; in its texts, ``{name}`` stands for a value."""

    id: str
    subject: str
    problem: str
    hint: str


def sections() -> list[Section]:
    """Return every call of ``Finding`` in the package: errors, warnings, notes, each by number."""
    found = [section for path in PACKAGE.rglob("*.py") for section in _calls(path)]
    return sorted(found, key=lambda section: ([*LEVELS].index(_letter(section)), section.id))


def checks_page() -> str:
    """Return the sections in Markdown."""
    parts, heading, found = [], "", sections()
    for section in found:
        if heading != LEVELS[_letter(section)]:
            heading = LEVELS[_letter(section)]
            ids = [each.id for each in found if _letter(each) == _letter(section)]
            links = [f"[{id.rpartition('.')[2]}](#{_anchor(id)})" for id in ids]
            parts += [f"## {heading}", " ".join(links)]
        what, _, why = section.problem.partition(". ")
        parts.append(f"({_anchor(section.id)})=\n### {section.id}: {_as_markdown(section.subject)}")
        parts.append(f"**{_as_markdown(section.subject)}** {_as_markdown(what)}.")
        parts.append(f"Why it matters: {_as_markdown(why)}")
        parts.append(f"How to fix it: {_as_markdown(section.hint)}")
    return "\n\n".join(parts) + "\n"


def _anchor(id: str) -> str:
    """Return the anchor of an id: ``registration-e001``, as Sphinx writes it."""
    return id.lower().replace(".", "-")


def _letter(section: Section) -> str:
    return section.id.rpartition(".")[2][0]


def _calls(path: Path) -> Iterator[Section]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Finding":
            yield Section(*map(_template, node.args))


def _template(node: ast.expr) -> str:
    """Return a text with the names of values in braces."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(map(_template, parts))
        case ast.FormattedValue(value=value):
            return _template(value)
        case ast.Attribute(value=owner, attr="__name__" | "name"):
            return _template(owner)
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return "{" + name + "}"
    raise ValueError(f"{ast.unparse(node)}: give the value a name of its own.")


def _as_markdown(template: str) -> str:
    """Return a template with its placeholders in italics, and with names as code."""
    text = re.sub(r"([*\[\]<])", r"\\\1", template)
    text = re.sub(r"(?<![\w.({])[\w.]*_[\w.]*\w(\([^)]*\))?", r"`\g<0>`", text)
    return re.sub(r"\{(\w+)\}", r"*\1*", text)
