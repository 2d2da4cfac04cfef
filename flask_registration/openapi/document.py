"""The description of everything that one application returns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, NamedTuple

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask
from marshmallow import Schema
from werkzeug.exceptions import (
    BadRequest,
    HTTPException,
    MethodNotAllowed,
    RequestEntityTooLarge,
    UnsupportedMediaType,
)

from ..auth.sessions import LoginSettings
from ..errors import APIError, DatabaseUnavailable, MailUnavailable, Throttled
from ..http.bodies import INVALID_JSON, NOT_JSON, schema_of
from ..http.flow import Endpoint, Flow
from ..http.responses import INVALID, PROBLEM, HTTPSettings, code_of
from ..mail.composer import MailSettings
from ..problem_details import problem, problem_of_fields, problem_types_url
from ..settings import Settings
from ..state import RegistrationState
from .bodies import Bodies, camel, name_of

#: The schema of a part of a path, by the name of its converter in Werkzeug.
CONVERTERS: dict[str, dict[str, Any]] = {
    "int": {"type": "integer", "minimum": 0},
    "float": {"type": "number", "minimum": 0},
    "uuid": {"type": "string", "format": "uuid"},
}
PART = re.compile(r"<(?:(?P<converter>\w+)(?:\([^)]*\))?:)?(?P<name>\w+)>")

ABOUT = """\
All requests and responses are JSON. Send `Content-Type: application/json`.
Paths work with and without the trailing slash.

Field errors are listed under the field name, general errors under `{key}`. All other errors
have a human-readable `detail` and a machine-readable `code`.
A method that a path does not have returns 405 with the header `Allow`.

With `Accept: application/problem+json` errors are problem details (RFC 9457).
"""


def describe(app: Flask, state: RegistrationState) -> dict[str, Any]:
    """Return the OpenAPI 3.1 description of this application, within its context."""
    web = state.group(HTTPSettings)
    plugin = MarshmallowPlugin(
        schema_name_resolver=lambda schema: bodies.free_name(name_of(schema))
    )
    spec = APISpec(
        title=f"Accounts of {state.composer.site_name}",
        version=version("Flask-Registration"),
        openapi_version="3.1.0",
        info={"description": ABOUT.format(key=web.non_field_errors_key)},
        plugins=[plugin],
    )
    bodies = Bodies(spec, plugin, state)
    for name, scheme in security_schemes(app, state).items():
        spec.components.security_scheme(name, scheme)
    bodies.share("MethodNotAllowed", method_not_allowed(bodies, problem_types_url(state)))
    for flow in state.flows:
        group = state.group(flow.group)
        enabled = [endpoint for endpoint in flow.endpoints if endpoint.enabled(group)]
        endpoints = [] if flow.pages else enabled
        if endpoints:
            spec.tag({"name": flow.name.replace("_", " "), **_about(flow)})
        for endpoint in endpoints:
            path = web.url_prefix.rstrip("/") + PART.sub(r"{\g<name>}", endpoint.path)
            operations = {
                method.lower(): operation(state, bodies, flow, endpoint, method)
                for method in endpoint.methods
            }
            spec.path(path, parameters=parameters(endpoint.path), operations=operations)
    return spec.to_dict()


def operation(
    state: RegistrationState, bodies: Bodies, flow: Flow[Any], endpoint: Endpoint[Any], method: str
) -> dict[str, Any]:
    """Describe one method of an endpoint."""
    prose = re.split(r"\n\s*:", endpoint.view.__doc__ or endpoint.name)[0]  # without parameters
    about = " ".join(prose.split())
    first, _, rest = about.partition(". ")
    is_first = method == endpoint.methods[0]
    described: dict[str, Any] = {
        "operationId": endpoint.name if is_first else f"{endpoint.name}_{method.lower()}",
        "tags": [flow.name.replace("_", " ")],
        "summary": first.rstrip("."),
    }
    limits = _limits(state.throttles.limits(endpoint.name))
    text = "\n\n".join(filter(None, [rest, limits]))
    if text:
        described["description"] = text
    security: list[dict[str, list[str]]] = [{name: []} for name in _security(state)]
    described["security"] = security if endpoint.login_required else []
    factories = [*([endpoint.link.schema] if endpoint.link else []), endpoint.request]
    requests = [schema_of(state, each) for each in factories if each is not None]
    if requests:
        described["requestBody"] = {
            "required": method != "DELETE",
            "content": {"application/json": bodies.request(endpoint.name, requests)},
        }
    response: dict[str, Any] = {"description": HTTPStatus(endpoint.status).phrase}
    if endpoint.status != HTTPStatus.NO_CONTENT:
        factory = endpoint.response
        schema = {} if factory is None else bodies.response(schema_of(state, factory))
        response["content"] = {"application/json": {"schema": schema}}
    described["responses"] = {
        str(endpoint.status): response,
        **error_responses(state, flow, endpoint, bodies, requests),
    }
    return described


def parameters(path: str) -> list[dict[str, Any]]:
    """Return the parameters of a path."""
    return [
        {
            "name": found["name"],
            "in": "path",
            "required": True,
            "schema": CONVERTERS.get(found["converter"], {"type": "string", "minLength": 1}),
        }
        for found in PART.finditer(path)
    ]


def security_schemes(app: Flask, state: RegistrationState) -> dict[str, dict[str, Any]]:
    """Return how clients authenticate in this application."""
    cookie = app.config["SESSION_COOKIE_NAME"]
    schemes: dict[str, dict[str, Any]] = {
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": cookie,
            "description": "The session that a login opens.",
        },
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "The `token` of a login's response. "
            "`Authorization: Token …` works as well.",
        },
    }
    return {name: schemes[name] for name in _security(state)}


def _security(state: RegistrationState) -> list[str]:
    login = state.group(LoginSettings)
    has_tokens = login.login_retrieve_token or login.auth_token_manager_class is not None
    schemes = {"session": login.login_authenticate_session, "token": has_tokens}
    return [name for name, is_used in schemes.items() if is_used]


def _about(flow: Flow[Any]) -> dict[str, str]:
    own = flow.group is not Settings and flow.group.__doc__
    return {"description": own.splitlines()[0]} if own else {}


def _limits(limits: Mapping[str, str]) -> str:
    """Return the rate limits of an endpoint in words."""
    counted = {"client": "for each client", "account": "for each account"}
    words = [f"{text.replace(';', ', ')} {counted[name]}" for name, text in limits.items()]
    return f"Rate limits: {'; '.join(words)}." if words else ""


# Errors

#: The errors of any request body, whatever is in it.
OF_BODIES = (BadRequest(INVALID_JSON), RequestEntityTooLarge(), UnsupportedMediaType(NOT_JSON))

#: The headers of errors.
HEADERS: dict[str, dict[str, Any]] = {
    "Allow": {"description": "The methods of this path.", "schema": {"type": "string"}},
    "Retry-After": {
        "description": "Seconds until the next request may succeed.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {"description": "How to authenticate.", "schema": {"type": "string"}},
}


class ErrorResponse(NamedTuple):
    """One error as a client receives it."""

    status: int
    code: str
    text: str
    summary: str
    headers: Iterable[str]


def error_responses(
    state: RegistrationState,
    flow: Flow[Any],
    endpoint: Endpoint[Any],
    bodies: Bodies,
    requests: Sequence[Schema],
) -> dict[str, Any]:
    """Return the error responses of an endpoint by their status."""
    base = problem_types_url(state)
    found = [_of_api(error) for error in _errors(state, flow, endpoint)]
    found += [_of_http(error) for error in OF_BODIES] if requests else []
    responses: dict[str, Any] = {}
    for status in sorted({each.status for each in found}):
        same = [each for each in found if each.status == status]
        described = error_response(same, bodies, base)
        if requests and status == 400:
            schema, example = bodies.field_errors(endpoint.name, requests)
            responses["400"] = _with_fields(described, base, schema, example)
        else:
            name = "Or".join(camel(each.code) for each in same)
            responses[str(status)] = bodies.share(name, described)
    if state.group(HTTPSettings).not_authenticated_decorators and not endpoint.login_required:
        responses["default"] = {"description": "A response of the application's decorators."}
    return responses


def method_not_allowed(bodies: Bodies, base: str | None) -> dict[str, Any]:
    """Return the response to a method that a path does not have."""
    return error_response([_of_http(MethodNotAllowed(["POST"]))], bodies, base)


def error_response(
    found: Sequence[ErrorResponse], bodies: Bodies, base: str | None
) -> dict[str, Any]:
    """Describe the response for one or more errors with the same status."""
    names = {
        name: HEADERS.get(name, {"schema": {"type": "string"}})
        for each in found
        for name in each.headers
    }
    codes = [each.code for each in found]
    plain = {each.code: {"detail": each.text, "code": each.code} for each in found}
    problems = {each.code: problem(base, each.status, each.code, each.text) for each in found}
    return {
        "description": "\n".join(f"- `{each.code}`: {each.summary}" for each in found),
        **({"headers": names} if names else {}),
        "content": {
            "application/json": {
                "schema": _one_of(codes, bodies.error()),
                "examples": _examples(plain),
            },
            PROBLEM: {
                "schema": _one_of(codes, bodies.problem()),
                "examples": _examples(problems),
            },
        },
    }


def _examples(values: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    return {name: {"value": value} for name, value in values.items()}


def _one_of(codes: Sequence[str], error: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an error with one of these codes."""
    return {"allOf": [error, {"type": "object", "properties": {"code": {"enum": [*codes]}}}]}


def _with_fields(
    response: dict[str, Any],
    base: str | None,
    schema: dict[str, Any],
    example: dict[str, list[str]],
) -> dict[str, Any]:
    """Add the errors of fields to a response."""
    plain, problems = response["content"]["application/json"], response["content"][PROBLEM]
    plain["schema"] = {"anyOf": [schema, plain["schema"]]}
    messages_of = {name: [*map(str, messages)] for name, messages in example.items()}
    plain["examples"] = {**_examples({"fields": messages_of}), **plain["examples"]}
    problems["schema"]["allOf"][1]["properties"]["code"]["enum"].append(INVALID)
    fields = problem_of_fields(base, example, str)
    problems["examples"] = {**_examples({"fields": fields}), **problems["examples"]}
    description = f"- The errors of fields, by their names.\n{response['description']}"
    return {**response, "description": description}


def _errors(
    state: RegistrationState, flow: Flow[Any], endpoint: Endpoint[Any]
) -> list[type[APIError]]:
    """Return the errors that an endpoint may return with these settings."""
    settings = state.group(flow.group)
    found = [error for error, is_possible in endpoint.all_errors.items() if is_possible(settings)]
    if state.group(MailSettings).mail_dispatcher != "inline":
        found = [error for error in found if not issubclass(error, MailUnavailable)]
    others = [error for error in found if error is not Throttled]
    throttled = [Throttled] if state.throttles.limits(endpoint.name) else []
    return [*others, *throttled, DatabaseUnavailable]


def _of_api(error: type[APIError]) -> ErrorResponse:
    summary = (error.__doc__ or error.text).strip().splitlines()[0]
    headers = ["Retry-After"] if error is Throttled else error.headers
    return ErrorResponse(error.status, error.code, str(error.text), summary, headers)


def _of_http(error: HTTPException) -> ErrorResponse:
    text = str(error.description or "")
    headers = ["Allow"] if isinstance(error, MethodNotAllowed) else []
    return ErrorResponse(error.code or 500, code_of(error), text, text, headers)
