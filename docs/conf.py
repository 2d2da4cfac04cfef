"""Configure Sphinx, and make the pages of settings, checks and endpoints from declarations."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from flask import Flask
from flask_mail import Mail
from flask_sqlalchemy import SQLAlchemy
from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

from flask_registration import LoginMixin, Registration, UserMixin, __version__
from flask_registration.cli.configuration import settings_table
from flask_registration.openapi.markdown import to_markdown
from flask_registration.openapi.serving import Description

sys.path.insert(0, str(Path(__file__).parent))
from findings import checks_page


def endpoints() -> str:
    """The endpoints of the README's application, which gives tokens too."""
    db, app = SQLAlchemy(), Flask("docs")
    models: list[Any] = [
        type(kind.__name__[:-5], (kind, db.Model), {}) for kind in (UserMixin, LoginMixin)
    ]
    app.config["SECRET_KEY"] = "for no longer than it takes to build the pages"
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    app.config["MAIL_DEFAULT_SENDER"] = "no-reply@example.com"
    app.config["REGISTRATION_REGISTER_VERIFICATION_URL"] = (
        "https://example.com/verify-registration/"
    )
    app.config["REGISTRATION_LOGIN_RETRIEVE_TOKEN"] = True
    db.init_app(app)
    Mail(app)
    Registration(app, user_model=models[0], models=[models[1]])
    return to_markdown(Description(app, app.extensions["registration"]).document)


project = "Flask-Registration"
copyright = "the authors of Flask-Registration"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "pallets_sphinx_themes"]
exclude_patterns = ["_build"]
html_theme = "flask"
html_title = f"Flask-Registration {version}"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["pages.css"]
version_banner = False  # it would ask an index of packages, from every reader's browser

myst_enable_extensions = ["deflist", "substitution"]
myst_heading_anchors = 3
myst_substitutions = {
    "settings": settings_table(),
    "checks": checks_page(),
    "endpoints": endpoints(),
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
    app.add_lexer("mermaid", TextLexer)  # GitHub draws it; these pages show its source
    app.connect("html-page-context", break_at_underscores)
