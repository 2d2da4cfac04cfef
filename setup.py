"""Read README for package indexes; ``setup.cfg`` has everything else."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import setup

#: A link or a picture that only a copy of the repository has.
RELATIVE = re.compile(r"(!?)\[([^\[\]]*)\]\((?!https?:|#)[^()\s]+\)")

DOCUMENTATION = (
    "The documentation is in the folder `docs` of the source distribution. "
    "Begin with `docs/index.md`."
)


def long_description(readme: str) -> str:
    """Return README with plain text in place of relative links, and without relative pictures.

    A paragraph or table with such a picture is left out. A paragraph of nothing but relative links
    is the list of pages: in its place stands where the documentation is.
    """
    blocks = []
    for block in readme.split("\n\n"):
        if any(mark for mark, _ in RELATIVE.findall(block)):
            continue
        if RELATIVE.search(block) and not RELATIVE.sub("", block).strip("\n ·"):
            block = DOCUMENTATION
        blocks.append(RELATIVE.sub(r"\2", block))
    return "\n\n".join(blocks)


readme = (Path(__file__).parent / "README.md").read_text("utf-8")
setup(long_description=long_description(readme), long_description_content_type="text/markdown")
