"""The drawing in CONTRIBUTING.md shows the package as it is; an ``__init__.py`` only exports."""

from __future__ import annotations

import ast
import re
from configparser import ConfigParser
from itertools import pairwise
from pathlib import Path

import pytest

from .pages import ROOT, blocks, read

PACKAGE = ROOT / "flask_registration"

#: Folders with other files than Python modules.
DATA = {"templates", "translations"}

INITS = sorted(PACKAGE.rglob("__init__.py"))


def drawing() -> str:
    (block,) = [block for block in blocks(read("CONTRIBUTING.md")) if block.info == "mermaid"]
    return block.text


def rows() -> list[list[str]]:
    """Return the names in the drawing, a list for each layer."""
    layers = re.findall(r"^  subgraph .*?\]\n(.*?)^  end$", drawing(), re.MULTILINE | re.DOTALL)
    return [re.findall(r'^    \w+\["<b>(\w+)</b>', layer, re.MULTILINE) for layer in layers]


def test_the_drawing_has_every_package_and_module_once() -> None:
    packages = {path.name for path in PACKAGE.iterdir() if path.is_dir()} - DATA - {"__pycache__"}
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    drawn = [name for row in rows() for name in row]
    assert sorted(drawn) == sorted(packages | modules)
    assert drawing().count("<b>") == len(drawn), "a package is outside the layers"


def test_the_layers_of_the_drawing_are_those_that_are_enforced() -> None:
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg", "utf-8")
    layers = parser["importlinter:contract:layers"]["layers"].strip().splitlines()
    enforced = [{name.strip() for name in re.split("[:|]", layer)} for layer in layers]
    assert [set(row) for row in rows()] == enforced


def test_the_arrows_of_the_drawing_lead_from_each_layer_to_the_next() -> None:
    layers = re.findall(r"^  subgraph (\w+)\[", drawing(), re.MULTILINE)
    arrows = re.findall(r"^  (\w+) --> (\w+)$", drawing(), re.MULTILINE)
    assert arrows == list(pairwise(layers))


@pytest.mark.parametrize("path", INITS, ids=lambda path: path.parent.name)
def test_a_package_has_a_docstring_of_one_line_and_only_exports(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    docstring = ast.get_docstring(tree, clean=False)
    assert docstring, "it has no docstring"
    assert "\n" not in docstring
    others = [node for node in tree.body[1:] if not is_export(node)]
    if path.parent == PACKAGE:
        others = [node for node in others if not is_of_the_public_package(node)]
    assert [ast.unparse(node) for node in others] == []


def is_export(node: ast.stmt) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom():
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING"), body=body, orelse=[]):
            return all(map(is_export, body))
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
    return False


def is_of_the_public_package(node: ast.stmt) -> bool:
    match node:
        case ast.Assign(targets=[ast.Name(id="__version__")]) | ast.FunctionDef(name="__getattr__"):
            return True
    return False
