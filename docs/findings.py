"""Make the page about configuration errors and warnings from the calls in the package."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE = Path(__file__).parent.parent / "flask_registration"
PLACEHOLDER = r"\{(\w+)\}"

#: What is code in a text.
CODE = r"""
    `[^`]+`
    | python\ -c\ '[^']+'
    | pip\ install\ (?:"[^"]+"|'[^']+')
    | from\ [\w.]+\ import\ \w+
    | class\ [\w{}]+\([^)]*\)
    | (?:flows|models)=\[[^\]]*\]
    | --[a-z]+
    | [A-Z_]+\ =\ (?:"[^"]*"|[\w{}]+(?:\(\.\.\.\))?)
    | (?<![\w{}.])[A-Za-z_][\w.]*\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)
    | [a-z]\w*\.extensions\["\w+"\]
    | [A-Z]\w+\[[^\]]+\]
    | "[^"\s]*[/;:@][^"\s]*"
    | (?<![\w.({])[\w.]*_[\w.]*\w
"""

LEVELS = {"E": "Errors", "W": "Warnings", "N": "Notes"}


class Section(NamedTuple):
    """A call of ``Finding``; in its texts, ``{name}`` stands for a value."""

    id: str
    subject: str
    problem: str
    hint: str


@cache
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
            constants = vars(import_module(_module(path)))
            yield Section(*(_template(each, constants) for each in node.args))


def _module(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def _template(node: ast.expr, constants: Mapping[str, Any]) -> str:
    """Return a text with the names of values in braces, and with the values of constants."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_template(part, constants) for part in parts)
        case ast.FormattedValue(value=value):
            return _template(value, constants)
        case ast.Call(func=ast.Name(id="setting_name"), args=[key, _]):
            return _template(key, constants)
        case ast.Attribute(value=owner, attr="__name__" | "name"):
            return _template(owner, constants)
        case ast.Name(id=name) if name.isupper() and name in constants:
            return str(constants[name])
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return "{" + name + "}"
    raise ValueError(f"{ast.unparse(node)}: give the value a name of its own.")


def _as_markdown(template: str) -> str:
    """Return a template with code as code, and with placeholders in italics or angle brackets."""
    parts = re.split(f"({CODE})", template, flags=re.VERBOSE)
    for number, part in enumerate(parts):
        if number % 2:
            code = re.sub(PLACEHOLDER, r"<\1>", part.strip("`"))
            parts[number] = f"`{code}`"
        else:
            parts[number] = re.sub(PLACEHOLDER, r"*\1*", re.sub(r"([*\[\]<])", r"\\\1", part))
    return "".join(parts)
