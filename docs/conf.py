"""Configure Sphinx, and make the pages of settings, checks and endpoints from declarations."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

from flask_registration import __version__

sys.path.insert(0, str(Path(__file__).parent))
from diagrams import SequenceDirective, StatesDirective
from findings import checks_page
from llms import write as write_llms_txt
from reference import endpoints_page, settings_reference
from search_words import SearchWords

project = "Flask-Registration"
copyright = "the authors of Flask-Registration"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton", "sphinx_design"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"Flask-Registration {version}"
html_logo = html_favicon = "_static/logo.svg"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_search_scorer = str(Path(__file__).parent / "search_scorer.js")
copybutton_exclude = ".linenos, .gp, .go"  # neither prompts nor output

myst_enable_extensions = ["attrs_block", "colon_fence", "deflist", "substitution"]
myst_heading_anchors = 3
myst_substitutions = {
    "settings": settings_reference(),
    "checks": checks_page(),
    "endpoints": endpoints_page(),
}

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"


def break_at_underscores(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    """Let names and paths break after ``_`` and ``/``, in the places that ``pages.css`` names."""

    def names(code: re.Match[str]) -> str:
        return re.sub(r"(?<=\w)[_/]", r"\g<0><wbr>", code[0])

    context["body"] = re.sub(r'(?<=<span class="pre">)[^<]+', names, context.get("body", ""))


def setup(app: Sphinx) -> None:
    app.add_directive("sequence", SequenceDirective)
    app.add_directive("states", StatesDirective)
    app.add_lexer("mermaid", TextLexer)  # GitHub draws it; these pages show its source
    app.add_search_language(SearchWords)
    app.connect("html-page-context", break_at_underscores)
    app.connect("build-finished", write_llms_txt)
