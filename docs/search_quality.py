"""Measure the search of built documentation: ``python docs/search_quality.py docs/_build``.

It needs Node.js, which runs Sphinx's own scripts. A page of ``search_queries.toml`` that the search
does not find first, or among the first three, is printed with what is found instead.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent


def queries(path: Path = HERE / "search_queries.toml") -> dict[str, list[str]]:
    """Return the pages that answer each query."""
    found: dict[str, list[str]] = tomllib.loads(path.read_text("utf-8"))["queries"]
    return found


def search(build: Path, texts: list[str]) -> list[list[str]]:
    """Return the pages that are found for each text, the best one first."""
    done = subprocess.run(
        ["node", str(HERE / "search_quality.js"), str(build)],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
    )
    pages: list[list[str]] = json.loads(done.stdout)
    return pages


def ranks(build: Path, wanted: dict[str, list[str]]) -> dict[str, tuple[int | None, list[str]]]:
    """Return the place of the best right page, from 1, and the first three pages found."""
    found = {}
    for text, pages in zip(wanted, search(build, list(wanted)), strict=True):
        places = [pages.index(page) + 1 for page in wanted[text] if page in pages]
        found[text] = (min(places, default=None), pages[:3])
    return found


def main(build: str, path: str | None = None) -> None:
    """Print the queries that miss, and how many find the right page first or among three."""
    wanted = queries(Path(path)) if path else queries()
    found = ranks(Path(build), wanted)
    for text, (rank, pages) in found.items():
        if rank != 1:
            print(f"{rank or '-':>2}  {text}: {', '.join(pages)} instead of {wanted[text]}")
    first = sum(rank == 1 for rank, _ in found.values())
    three = sum(rank is not None and rank <= 3 for rank, _ in found.values())
    print(f"The right page is first for {first}, in the first three for {three} of {len(found)}.")


if __name__ == "__main__":
    main(*sys.argv[1:])
