"""Sphinx: the pages, and the table of the settings, which is made from their declarations."""

from __future__ import annotations

from flask_registration import __version__
from flask_registration.cli import settings_table

project = "Flask-Registration"
copyright = "the authors of Flask-Registration"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "pallets_sphinx_themes"]
exclude_patterns = ["_build"]
html_theme = "flask"
html_title = f"Flask-Registration {version}"
html_show_sourcelink = False

myst_enable_extensions = ["deflist", "substitution"]
myst_heading_anchors = 3
myst_substitutions = {"settings": settings_table()}

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
