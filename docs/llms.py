"""Write ``llms.txt`` (https://llmstxt.org): each page with its first sentence, for programs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

ROOT = "index"


def first_sentence(env: BuildEnvironment, page: str) -> str:
    """Return the first sentence of a page, or nothing if it begins with something else."""
    section = next(env.get_doctree(page).findall(nodes.section))
    paragraph = next((node for node in section.children if isinstance(node, nodes.paragraph)), None)
    if paragraph is None:
        return ""
    for link in paragraph.findall(addnodes.pending_xref):
        if not link.astext():
            link += nodes.Text(env.titles[link["reftarget"]].astext())
    text = " ".join(paragraph.astext().split())
    return re.split(r"(?<=[.!?:])\s+(?=[A-Z])", text)[0].rstrip(".:") + "."


def lines(env: BuildEnvironment, suffix: str) -> Iterator[str]:
    """Return the lines: the project, and the pages of each group of the navigation."""
    yield f"# {env.titles[ROOT].astext()}"
    yield ""
    yield f"> {first_sentence(env, ROOT)}"
    for toctree in env.get_doctree(ROOT).findall(addnodes.toctree):
        yield ""
        yield f"## {toctree['caption']}"
        yield ""
        for _, page in toctree["entries"]:
            for name in _with_pages_below(env, page):
                about = first_sentence(env, name)
                link = f"- [{env.titles[name].astext()}]({name}{suffix})"
                yield f"{link}: {about}" if about else link


def _with_pages_below(env: BuildEnvironment, page: str) -> Iterator[str]:
    yield page
    for below in env.toctree_includes.get(page, []):
        yield from _with_pages_below(env, below)


def write(app: Sphinx, exception: Exception | None) -> None:
    """Write the file beside the pages, when they are built."""
    if exception is None and app.builder.name == "html":
        text = "\n".join(lines(app.env, ".html")) + "\n"
        Path(app.outdir, "llms.txt").write_text(text, "utf-8")
