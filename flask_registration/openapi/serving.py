"""Serve the API description and a page that shows it.

The modules that make the document are imported by the first request for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from flask import Blueprint, Flask, Response, make_response, request, send_from_directory
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound

from ..checks import Finding
from ..http.responses import HTTPSettings
from ..http.routes import add_rule, refuse_other_methods
from ..settings import Settings, setting
from ..state import Extra, RegistrationState, Setup, current_registration

INSTALL = "pip install 'Flask-Registration[openapi]'"
DEFAULT_PATH = "/openapi.json"
DEFAULT_PAGE_PATH = "/docs/"

#: The content security policy of the page: Swagger UI sets inline styles, but no inline scripts.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'"
)
SWAGGER_ASSETS = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
OWN_ASSETS = ("page.css", "page.js")


def _check_path(path: str | Literal[False]) -> None:
    if path and not re.fullmatch(r"(/[\w.~-]+)+/?", path):
        example = f"for example {DEFAULT_PATH!r}"
        raise ValueError(f"must be a path that begins with a slash, {example}")


@dataclass(frozen=True, kw_only=True)
class OpenAPISettings(Settings):
    """API description (OpenAPI)."""

    openapi_path: str | Literal[False] | None = setting(
        None,
        "Path of the API description under the prefix; False: none. Needs the extra `openapi`.",
        default_text="`/openapi.json`; none without the extra `openapi`",
        validate=_check_path,
    )
    openapi_page_path: str | Literal[False] | None = setting(
        None,
        "Path of a page under the prefix that shows the description; False: none.",
        default_text="`/docs/` in debug mode, else none",
        validate=_check_path,
    )
    openapi_editor: Callable[..., Any] | None = setting(
        None,
        "Changes the description: `editor(document)` returns the new one.",
    )


def make_description(app: Flask, state: RegistrationState) -> dict[str, Any]:
    """Return the description, with the changes of ``REGISTRATION_OPENAPI_EDITOR``."""
    from .document import describe

    with app.app_context():
        document = describe(app, state)
        editor = state.group(OpenAPISettings).openapi_editor
        edited = editor(document) if editor else document
        # Translates lazy strings within the application context.
        plain: dict[str, Any] = json.loads(json.dumps(edited, default=str))
        return plain


def prepare(setup: Setup) -> Iterator[Finding]:
    """Check the paths of the description and the page."""
    settings = setup.group(OpenAPISettings)
    requirements = [
        ("REGISTRATION_OPENAPI_PATH", settings.openapi_path, "apispec"),
        ("REGISTRATION_OPENAPI_PAGE_PATH", settings.openapi_page_path, "flask_swagger_ui"),
    ]
    used = [endpoint.path.rstrip("/") for flow in setup.flows for endpoint in flow.endpoints]
    for name, path, package in requirements:
        if not path:
            continue
        if not find_spec(package):
            yield Finding(
                "registration.E027",
                name,
                f"needs {package}, which is not installed. The description could not be served.",
                "Install it: pip install 'Flask-Registration[openapi]'.",
            )
        if path.rstrip("/") in used:
            yield Finding(
                "registration.E028",
                name,
                f"is {path!r}, which is the path of an endpoint. One of them could not be reached.",
                "Set another path.",
            )
        used.append(path.rstrip("/"))
    if settings.openapi_page_path and settings.openapi_path is False:
        yield Finding(
            "registration.E029",
            "REGISTRATION_OPENAPI_PAGE_PATH",
            "shows the description, which is switched off. The page would be empty.",
            "Remove REGISTRATION_OPENAPI_PATH.",
        )


def serve(blueprint: Blueprint, app: Flask, state: RegistrationState) -> None:
    """Add the description and the page to the blueprint, if they are served."""
    settings = state.group(OpenAPISettings)
    path, page_path = settings.openapi_path, settings.openapi_page_path
    if path is None and find_spec("apispec"):
        path = DEFAULT_PATH
    if page_path is None and app.debug and find_spec("flask_swagger_ui"):
        page_path = DEFAULT_PAGE_PATH
    document_once = cache(partial(make_description, app, state))

    def openapi() -> ResponseReturnValue:
        document = document_once()
        if request.script_root:  # the application is not mounted at the root of its host
            document = {"servers": [{"url": request.script_root}], **document}
        response = Response(json.dumps(document, ensure_ascii=False), mimetype="application/json")
        response.cache_control.no_cache = True
        response.add_etag()
        return response.make_conditional(request)

    decorators = state.group(HTTPSettings).not_authenticated_decorators
    if path:
        _add(blueprint, path, openapi, decorators)
    if path and page_path:
        _add(blueprint, page_path, openapi_page, decorators)
        _add(blueprint, f"{page_path.rstrip('/')}/<name>", openapi_asset, decorators)


def openapi_page() -> ResponseReturnValue:
    """Return the page. Its script loads the description."""
    composer = current_registration.composer
    page = composer.renderer.html("registration/page/openapi.html", site_name=composer.site_name)
    response = make_response(page)
    response.headers["Content-Security-Policy"] = POLICY
    return response


def openapi_asset(name: str) -> ResponseReturnValue:
    """Return a file of the page: one of Swagger UI, or one of our own."""
    folder = Path(__file__).parent
    if name in SWAGGER_ASSETS:
        found = find_spec("flask_swagger_ui")
        folder = Path((found and found.origin) or "").parent / "dist"
    elif name not in OWN_ASSETS:
        raise NotFound
    return send_from_directory(folder, name, max_age=3600)


def _add(
    blueprint: Blueprint,
    path: str,
    view: Callable[..., Any],
    decorators: Sequence[Callable[..., Any]],
) -> None:
    """Add a view for GET at a path, and the JSON error 405 for the other methods."""
    name = view.__name__
    for decorator in reversed(decorators):
        view = decorator(view)
    add_rule(blueprint, path, name, view, ["GET"])
    refuse_other_methods(blueprint, path, {"GET"})


extra: Extra = Extra(settings=(OpenAPISettings,), prepare=prepare, mount=serve)
