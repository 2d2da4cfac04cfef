"""Render templates of the extension in any Jinja configuration of the application."""

from __future__ import annotations

from collections.abc import MutableMapping
from functools import cache, cached_property
from pathlib import Path
from types import CodeType
from typing import Any, cast

import flask
from jinja2 import (
    BaseLoader,
    Environment,
    FileSystemLoader,
    Template,
    TemplateNotFound,
    select_autoescape,
)

from .brand import Brand

FOLDER = Path(__file__).parent.parent.absolute() / "templates"

#: What the extension's own templates are written for.
OWN = Environment(loader=FileSystemLoader(FOLDER), autoescape=select_autoescape())


@cache
def _compile(source: str, name: str, filename: str) -> CodeType:
    """Compile a template of the extension: its syntax does not depend on the application."""
    return OWN.compile(source, name, filename)


class _Loader(BaseLoader):
    """Compiles each template for the environment that it was written for.

    They can extend and import each other nevertheless, since all of them load others from here.

    :ivar own: the names of the loaded templates that are the extension's.
    """

    def __init__(self, application: Environment) -> None:
        self.own: set[str] = set()
        self._application = application

    def get_source(self, environment: Environment, template: str) -> tuple[Any, Any, Any]:
        """Return the application's template of this name, or ours."""
        loader = self._application.loader
        try:
            if loader:
                return loader.get_source(self._application, template)
        except TemplateNotFound:
            pass
        return cast(BaseLoader, OWN.loader).get_source(OWN, template)

    def load(
        self,
        environment: Environment,
        name: str,
        globals: MutableMapping[str, Any] | None = None,
    ) -> Template:
        """Load a template."""
        source, filename, uptodate = self.get_source(environment, name)
        if filename and FOLDER in Path(filename).parents:
            self.own.add(name)
            code = _compile(source, name, filename)
        else:
            self.own.discard(name)
            code = environment.compile(source, name, filename)
        template: Template = environment.template_class.from_code(
            environment, code, globals or {}, uptodate
        )
        return template


class Templates:
    """Renders templates with the application's filters, globals and context processors.

    Text is never escaped. HTML of the extension always is, and HTML of the application as its
    environment has it.

    :ivar brand: a global variable of HTML templates, so that macros have it without their context.
    """

    def __init__(self, app: flask.Flask, brand: Brand) -> None:
        self._app = app
        self.brand = brand

    def text(self, name: str, **context: Any) -> str:
        """Render a template for text."""
        return flask.render_template(self._text.get_template(name), **context)

    def html(self, name: str, **context: Any) -> str:
        """Render a template for HTML."""
        template = self._html.get_template(name, globals={"site_brand": self.brand})
        return flask.render_template(template, **context)

    @cached_property
    def _text(self) -> Environment:
        # Cached code has the autoescaping of the application.
        return self._app.jinja_env.overlay(
            loader=_Loader(self._app.jinja_env),
            autoescape=False,
            bytecode_cache=None,
            enable_async=False,
        )

    @cached_property
    def _html(self) -> Environment:
        loader, select = _Loader(self._app.jinja_env), self._app.jinja_env.autoescape

        def is_escaped(name: str | None) -> bool:
            return name in loader.own or (select(name) if callable(select) else select)

        return self._text.overlay(loader=loader, autoescape=is_escaped)
