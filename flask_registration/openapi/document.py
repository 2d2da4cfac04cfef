"""The whole description of what one application answers."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask

from .._version import __version__
from ..endpoint import Endpoint
from ..flow import Flow
from ..identity import LoginSettings
from ..kit import Kit
from ..settings import Settings
from ..throttles import Rule
from ..web import WebSettings
from .bodies import Bodies, name_of
from .refusals import method_not_allowed, refusals

#: What a part of a rule takes, by the name of its converter in Werkzeug.
CONVERTERS: dict[str, dict[str, Any]] = {
    "int": {"type": "integer", "minimum": 0},
    "float": {"type": "number", "minimum": 0},
    "uuid": {"type": "string", "format": "uuid"},
}
PART = re.compile(r"<(?:(?P<converter>\w+)(?:\([^)]*\))?:)?(?P<name>\w+)>")

ABOUT = """\
JSON in and out, with or without the slash at the end of a path. A body says so: `Content-Type: application/json`.

What is wrong with a field stands under its name, what is wrong with a whole body under `{key}`. Every other error has a
text for people, `detail`, and a `code` for programs. A method that a path does not have is answered 405, with the
header `Allow`.

With `Accept: application/problem+json` errors have the shape of RFC 9457.
"""


def describe(app: Flask, kit: Kit) -> dict[str, Any]:
    """Everything that this application answers, as OpenAPI 3.1; within its context."""
    web = kit.group(WebSettings)
    plugin = MarshmallowPlugin(schema_name_resolver=lambda schema: bodies.free_name(name_of(schema)))
    spec = APISpec(
        title=f"Accounts of {kit.composer.site_name}",
        version=__version__,
        openapi_version="3.1.0",
        info={"description": ABOUT.format(key=web.non_field_errors_key)},
        plugins=[plugin],
    )
    bodies = Bodies(spec, plugin, kit)
    for name, scheme in security_schemes(app, kit).items():
        spec.components.security_scheme(name, scheme)
    bodies.share("MethodNotAllowed", method_not_allowed(bodies, kit.group(WebSettings)))
    for flow in kit.flows:
        settings = kit.group(flow.group)
        endpoints = [] if flow.pages else [each for each in flow.endpoints if each.enabled(settings)]
        if endpoints:
            spec.tag({"name": flow.name.replace("_", " "), **_about(flow)})
        for endpoint in endpoints:
            path = web.url_prefix.rstrip("/") + PART.sub(r"{\g<name>}", endpoint.path)
            operations = {method.lower(): operation(kit, bodies, flow, endpoint, method) for method in endpoint.methods}
            spec.path(path, parameters=parameters(endpoint.path), operations=operations)
    return spec.to_dict()


def operation(kit: Kit, bodies: Bodies, flow: Flow[Any], endpoint: Endpoint[Any], method: str) -> dict[str, Any]:
    """One method of one endpoint."""
    first, _, rest = (endpoint.view.__doc__ or endpoint.name).strip().partition(". ")
    limits = _limits(kit.throttles.limits(endpoint.name))
    described: dict[str, Any] = {
        "operationId": endpoint.name if method == endpoint.methods[0] else f"{endpoint.name}_{method.lower()}",
        "tags": [flow.name.replace("_", " ")],
        "summary": first.rstrip("."),
    }
    text = "\n\n".join(filter(None, [re.sub(r"\s*\n\s*", " ", rest), limits]))
    if text:
        described["description"] = text
    described["security"] = [{name: []} for name in _security(kit)] if endpoint.login_required else []
    loads = [kit.schema(each) for each in (endpoint.loads, endpoint.loads_later) if each is not None]
    if loads:
        described["requestBody"] = {
            "required": method != "DELETE",
            "content": {"application/json": bodies.request(endpoint.name, loads)},
        }
    answer: dict[str, Any] = {"description": HTTPStatus(endpoint.status).phrase}
    if endpoint.status != HTTPStatus.NO_CONTENT:
        schema = {} if endpoint.returns is None else bodies.reply(kit.schema(endpoint.returns))
        answer["content"] = {"application/json": {"schema": schema}}
    described["responses"] = {str(endpoint.status): answer, **refusals(kit, flow, endpoint, bodies, loads)}
    return described


def parameters(path: str) -> list[dict[str, Any]]:
    """The parts of a path that a client fills in."""
    return [
        {
            "name": found["name"],
            "in": "path",
            "required": True,
            "schema": CONVERTERS.get(found["converter"], {"type": "string", "minLength": 1}),
        }
        for found in PART.finditer(path)
    ]


def security_schemes(app: Flask, kit: Kit) -> dict[str, dict[str, Any]]:
    """The ways to show who is asking that a login of this application gives."""
    cookie = app.config["SESSION_COOKIE_NAME"]
    schemes: dict[str, dict[str, Any]] = {
        "session": {"type": "apiKey", "in": "cookie", "name": cookie, "description": "The session that a login opens."},
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "The `token` of a login's reply. `Authorization: Token …` will do as well.",
        },
    }
    return {name: schemes[name] for name in _security(kit)}


def _security(kit: Kit) -> list[str]:
    login = kit.group(LoginSettings)
    has_tokens = login.login_retrieve_token or login.auth_token_manager_class is not None
    return [*(["session"] if login.login_authenticate_session else []), *(["token"] if has_tokens else [])]


def _about(flow: Flow[Any]) -> dict[str, str]:
    own = flow.group is not Settings and flow.group.__doc__
    return {"description": own.splitlines()[0]} if own else {}


def _limits(rule: Rule) -> str:
    """How often it may be asked, in words."""
    told = [
        f"{whom} {limits.text.replace(';', ', ')}"
        for whom, limits in (("one client", rule.client), ("anybody about one account", rule.account))
        if limits.items
    ]
    return f"How often: {'; '.join(told)}." if told else ""
