"""The index of the documentation for programs, ``llms.txt``, of a small documentation."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .pages import ROOT

PAGES = {
    "conf.py": """
import sys
sys.path.insert(0, {docs!r})
from llms import write
extensions = ["myst_parser"]
def setup(app):
    app.connect("build-finished", write)
""",
    "index.md": """
# Example

It shows pages. There are four.

```{toctree}
:caption: Start
first
second
```

```{toctree}
:caption: Reference
fourth
```
""",
    "first.md": "# First `page`\n\nRead [](second.md), version 1.0,\nor [it](fourth.md): Do it.",
    "second.md": "# Second page\n\nIt has one below:\n\n```{toctree}\nthird\n```\n",
    "third.md": "# Third page\n\n```sh\nls\n```\n\nThat lists files.\n\n## More\n\nNo more.\n",
    "fourth.md": "# Fourth page\n\n| cell |\n| --- |\n| Nothing. |\n\n## Part\n\nA paragraph.\n",
}

EXPECTED = """\
# Example

> It shows pages.

## Start

- [First page](first.html): Read Second page, version 1.0, or it.
- [Second page](second.html): It has one below.
- [Third page](third.html): That lists files.

## Reference

- [Fourth page](fourth.html)
"""


def test_each_page_is_listed_with_its_first_sentence(tmp_path: Path) -> None:
    for name, text in PAGES.items():
        (tmp_path / name).write_text(text.replace("{docs!r}", repr(str(ROOT / "docs"))), "utf-8")
    html = tmp_path / "html"
    build = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", str(tmp_path), str(html)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (html / "llms.txt").read_text("utf-8") == EXPECTED
