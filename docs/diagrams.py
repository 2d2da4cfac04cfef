"""Draw the diagrams of the pages: sequences as HTML, states as SVG. No binary, no JavaScript.

A page has the text of each diagram, and the tests read the same text (``tests/concepts.py``).
"""

from __future__ import annotations

import itertools
import math
import re
import textwrap
from html import escape
from pathlib import Path
from typing import NamedTuple

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

Point = tuple[float, float]

COLUMN, ROW = 120, 72  # of a cell of the grid that the states are in
WIDTH, HEIGHT = 104, 36  # of the box of a state


class Step(NamedTuple):
    """A line of a sequence: a message, or a note where ``target`` is empty."""

    source: str
    target: str
    text: str


def steps(content: str) -> list[Step]:
    """Read a sequence: lines ``source -> target: message`` or ``source: note``."""
    found = [re.fullmatch(r"(.+?)(?: -> (.+?))?: (.+)", line) for line in content.splitlines()]
    return [Step(match[1], match[2] or "", match[3]) for match in found if match]


def tables(markdown: str) -> list[list[list[str]]]:
    """Return the tables of a page: rows of cells, the headings first."""
    lines = re.findall(r"(?:^\|.*\|\n)+", markdown, re.MULTILINE)
    cells = [
        [[cell.strip() for cell in row[1:-1].split("|")] for row in lines_of.splitlines()]
        for lines_of in lines
    ]
    return [[rows[0], *rows[2:]] for rows in cells]


def sequence(lanes: list[str], content: str) -> str:
    """Return a sequence in HTML. ``pages.css`` draws the lines, in the colors of the theme."""
    names = "".join(f"<b>{escape(name)}</b>" for name in lanes)
    items = [f'<li class="lanes" aria-hidden="true">{names}</li>']
    for source, target, text in steps(content):
        ends = sorted({lanes.index(name) for name in (source, target) if name})
        left, count = ends[0], ends[-1] - ends[0] + 1
        if not target:  # a note may be wider than its lane
            left, count = left - 1, 3
        kind = "note" if not target else "to-left" if lanes.index(source) > left else "to-right"
        hidden = f"{source} to {target}: " if target else f"{source}: "
        shown = re.sub(
            r"\b[A-Z]+ /\S*|\b(?!e-mail)[a-z]+[-_][a-z_-]+\b", r"<code>\g<0></code>", escape(text)
        )
        items.append(
            f'<li class="{kind}" style="--left: {left + 1}; --count: {count}">'
            f'<p><span class="hidden">{escape(hidden)}</span>{shown}</p></li>'
        )
    return f'<ol class="sequence" style="--lanes: {len(lanes)}">{"".join(items)}</ol>'


def transitions(markdown: str) -> list[tuple[str, str, str, list[str], list[str]]]:
    """Return the rows of a page's table of transitions: number, from, to, ways, flows."""
    (rows,) = [rows for rows in tables(markdown) if rows[0][1:3] == ["from", "to"]]
    return [(row[0], row[1], row[2], code(row[3]), code(row[4])) for row in rows[1:]]


def code(cell: str) -> list[str]:
    """Return the code spans of a cell."""
    return re.findall("`([^`]+)`", cell)


def states(content: str, markdown: str) -> str:
    """Return the states of a grid and the transitions between them in SVG.

    :param content: the grid: lines of cells, ``-`` for an empty one, ``|`` between two.
    """
    grid = [[cell.strip() for cell in line.split("|")] for line in content.splitlines()]
    places = {
        name: (COLUMN * (x + 0.5), ROW * (y + 0.5))
        for y, line in enumerate(grid)
        for x, name in enumerate(line)
        if name != "-"
    }
    found = [(number, (a, b)) for number, a, b, *_ in transitions(markdown)]
    pairs = {pair for _, pair in found}
    lines = [
        _free_line(
            places[pair[0]],
            places[pair[1]],
            [places[name] for name in places.keys() - set(pair)],
            beside=9 if pair[::-1] in pairs else 0,
        )
        for _, pair in found
    ]
    arrows = [
        _arrow(number, line, [point for other in lines if other is not line for point in other])
        for (number, _), line in zip(found, lines, strict=True)
    ]
    size = f"{COLUMN * len(grid[0])} {ROW * len(grid)}"
    boxes = "".join(_box(name, *place) for name, place in places.items())
    return (
        f'<svg class="states" viewBox="0 0 {size}" role="img" aria-label="States and transitions">'
        '<marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0L8 4L0 8z" fill="currentColor"/></marker>'
        f"{''.join(arrows)}{boxes}</svg>"
    )


def _box(name: str, x: float, y: float) -> str:
    lines = textwrap.wrap(name, 15)
    texts = "".join(
        f'<text x="{x}" y="{y + 4 + 14 * number:.0f}">{escape(line)}</text>'
        for number, line in zip(itertools.count((1 - len(lines)) / 2), lines)
    )
    box = f'x="{x - WIDTH / 2}" y="{y - HEIGHT / 2}" width="{WIDTH}" height="{HEIGHT}" rx="6"'
    return f"<rect {box}/>{texts}"


def _arrow(number: str, line: list[Point], others: list[Point]) -> str:
    """Return an arrow, and its number where it is farthest from other arrows."""
    inner = line[len(line) * 3 // 10 : len(line) * 6 // 10]
    x, y = max(inner, key=lambda point: min(math.dist(point, other) for other in others))
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in line)
    return (
        f'<path d="M{path}" marker-end="url(#head)"/><circle cx="{x:.0f}" cy="{y:.0f}" r="8"/>'
        f'<text class="number" x="{x:.0f}" y="{y + 3.5:.1f}">{number}</text>'
    )


def _free_line(start: Point, end: Point, others: list[Point], beside: float) -> list[Point]:
    """Return the points of a line between two boxes that is in no other box, if need be a curve."""
    for bend in (0, 70, -70, 140, -140):
        line = _line(start, end, beside, bend)
        if not any(_is_in(point, other, 4) for point in line for other in others):
            return [point for point in line if not (_is_in(point, start) or _is_in(point, end))]
    raise ValueError(f"No free way from {start} to {end}: change the grid.")


def _line(start: Point, end: Point, beside: float, bend: float) -> list[Point]:
    """Return points from the middle of one box to that of another, on a line or a curve."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = math.hypot(dx, dy)
    parts = [part / 60 for part in range(61)]
    away = [beside + 2 * bend * part * (1 - part) for part in parts]
    return [
        (start[0] + dx * part - dy / length * far, start[1] + dy * part + dx / length * far)
        for part, far in zip(parts, away, strict=True)
    ]


def _is_in(point: Point, box: Point, margin: float = 0) -> bool:
    x, y = abs(point[0] - box[0]), abs(point[1] - box[1])
    return x <= WIDTH / 2 + margin and y <= HEIGHT / 2 + margin


class SequenceDirective(SphinxDirective):
    """A sequence; its argument names the lanes, from left to right."""

    required_arguments, final_argument_whitespace, has_content = 1, True, True

    def run(self) -> list[nodes.Node]:
        """Return the HTML."""
        lanes = [name.strip() for name in self.arguments[0].split(",")]
        return [nodes.raw("", sequence(lanes, "\n".join(self.content)), format="html")]


class StatesDirective(SphinxDirective):
    """The states in a grid, with the transitions of the page's table."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the SVG."""
        page = Path(self.env.doc2path(self.env.docname)).read_text("utf-8")
        return [nodes.raw("", states("\n".join(self.content), page), format="html")]
