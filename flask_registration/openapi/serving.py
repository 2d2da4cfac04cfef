"""Where an application shows its description: the document, and a page that makes it readable.

Nothing here imports what makes the document, which a request for it does, once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, Literal, NamedTuple

from flask import Blueprint, Flask, Response, make_response, render_template, request, send_from_directory
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import MethodNotAllowed, NotFound

from ..flow import METHODS
from ..kit import Kit, current_kit
from ..settings import PREFIX, Settings, SettingsReader, setting
from ..web import WebSettings

EXTRA = "pip install 'Flask-Registration[openapi]'"
DEFAULT_PATH = "/openapi.json"
DEFAULT_PAGE_PATH = "/docs/"

#: Swagger UI styles what it draws by itself; it needs no script but its own.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
SWAGGER_ASSETS = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
OWN_ASSETS = ("page.css", "page.js")


@dataclass(frozen=True, kw_only=True)
class OpenAPISettings(Settings):
    """The API description."""

    openapi_path: str | Literal[False] | None = setting(
        None,
        "Where under the prefix the OpenAPI description is; False: nowhere. Needs the extra `openapi`.",
        default_text="`/openapi.json`; nowhere without the extra `openapi`",
    )
    openapi_page_path: str | Literal[False] | None = setting(
        None,
        "Where under the prefix a page shows it and lets people try it out; False: nowhere.",
        default_text="`/docs/` in debug mode, else nowhere",
    )
    openapi_editor: Callable[..., Any] | None = setting(
        None, "Has the last word on the description: `editor(document)` returns it, changed as you like."
    )


class Description:
    """One application's description, made when somebody asks for it for the first time."""

    def __init__(self, app: Flask, kit: Kit) -> None:
        self._app = app
        self._kit = kit
        self._lock = Lock()
        self._served: tuple[str, bytes] | None = None

    @cached_property
    def document(self) -> dict[str, Any]:
        """The description, as its editor leaves it."""
        from .document import describe

        with self._app.app_context():
            document = describe(self._app, self._kit)
            editor = self._kit.group(OpenAPISettings).openapi_editor
            edited = editor(document) if editor else document
            plain: dict[str, Any] = json.loads(json.dumps(edited, default=str))  # lazy texts are read now
            return plain

    def as_json(self, root: str) -> bytes:
        """The description where the application is mounted at ``root``."""
        with self._lock:
            if self._served is None or self._served[0] != root:
                document = self.document
                if root and "servers" not in document:
                    document = {**document, "servers": [{"url": root}]}
                self._served = (root, json.dumps(document, ensure_ascii=False).encode())
            return self._served[1]


class Places(NamedTuple):
    """Where the description and the page are, if anywhere."""

    document: str | None
    page: str | None


def places(app: Flask, settings: OpenAPISettings) -> Places:
    """Where the settings want them, or where they are by default."""
    document, page = settings.openapi_path, settings.openapi_page_path
    if document is None and find_spec("apispec"):
        document = DEFAULT_PATH
    if page is None and document and app.debug and find_spec("flask_swagger_ui"):
        page = DEFAULT_PAGE_PATH
    return Places(document or None, page or None)


def check(app: Flask, reader: SettingsReader, taken: Iterable[str]) -> None:
    """Note what is wrong with where the description shall be.

    :param taken: the paths of endpoints.
    """
    settings = reader.read(OpenAPISettings)
    asked = {"OPENAPI_PATH": settings.openapi_path, "OPENAPI_PAGE_PATH": settings.openapi_page_path}
    needs = {"OPENAPI_PATH": "apispec", "OPENAPI_PAGE_PATH": "flask_swagger_ui"}
    paths = [path.rstrip("/") for path in taken]
    for name, path in asked.items():
        if not path:
            continue
        if not find_spec(needs[name]):
            reader.problem(PREFIX + name, f"needs {needs[name]}, which is not installed: {EXTRA}.")
        if not re.fullmatch(r"(/[\w.~-]+)+/?", path):
            reader.problem(PREFIX + name, f"is {path!r}: give a path that starts with a slash, like {DEFAULT_PATH!r}.")
        elif path.rstrip("/") in paths:
            reader.problem(PREFIX + name, f"is {path!r}, where there is an endpoint already: give another path.")
        paths.append(path.rstrip("/"))
    if settings.openapi_page_path and settings.openapi_path is False:
        reader.problem(
            PREFIX + "OPENAPI_PAGE_PATH", f"shows the description, which there is not: take {PREFIX}OPENAPI_PATH off."
        )


def serve(blueprint: Blueprint, app: Flask, kit: Kit) -> None:
    """Put the description and the page on the blueprint, where they are wanted."""
    where = places(app, kit.group(OpenAPISettings))
    description = Description(app, kit)

    def openapi() -> ResponseReturnValue:
        response = Response(description.as_json(request.script_root), mimetype="application/json")
        response.cache_control.no_cache = True
        response.add_etag()
        return response.make_conditional(request)

    decorators = kit.group(WebSettings).not_authenticated_decorators
    if where.document:
        _add(blueprint, where.document, openapi, decorators)
    if where.document and where.page:
        _add(blueprint, where.page, openapi_page, decorators)
        _add(blueprint, f"{where.page.rstrip('/')}/<name>", openapi_asset, decorators)


def openapi_page() -> ResponseReturnValue:
    """The page, which fetches the description."""
    response = make_response(
        render_template("registration/page/openapi.html", site_name=current_kit.composer.site_name)
    )
    response.headers["Content-Security-Policy"] = POLICY
    return response


def openapi_asset(name: str) -> ResponseReturnValue:
    """What the page is made of: Swagger UI's files, and two of ours."""
    if name in OWN_ASSETS:
        return send_from_directory(Path(__file__).parent, name, max_age=3600)
    if name not in SWAGGER_ASSETS:
        raise NotFound
    found = find_spec("flask_swagger_ui")
    return send_from_directory(Path((found and found.origin) or "").parent / "dist", name, max_age=3600)


def _add(blueprint: Blueprint, path: str, view: Callable[..., Any], decorators: Sequence[Callable[..., Any]]) -> None:
    """One path for GET, which is answered 405 as JSON for any other method."""
    name = view.__name__

    def refuse(**values: Any) -> ResponseReturnValue:
        raise MethodNotAllowed(["GET", "HEAD", "OPTIONS"])

    for decorator in reversed(decorators):
        view = decorator(view)
    blueprint.add_url_rule(path, name, view, methods=["GET"], strict_slashes=False)
    others = [method for method in METHODS if method not in ("GET", "HEAD", "OPTIONS")]
    blueprint.add_url_rule(path, f"other_methods_of_{name}", refuse, methods=others, strict_slashes=False)
