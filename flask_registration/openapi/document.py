"""The description of everything that one application returns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin, resolver
from flask import Flask
from marshmallow import Schema
from werkzeug.exceptions import (
    BadRequest,
    HTTPException,
    RequestEntityTooLarge,
    UnsupportedMediaType,
)

from ..auth.sessions import LoginSettings
from ..errors import (
    APIError,
    CaptchaRequired,
    DatabaseUnavailable,
    GateRefused,
    MailUnavailable,
    NotAuthenticated,
    StepRequired,
    Throttled,
    TooBusy,
)
from ..http.bodies import INVALID_JSON, NOT_JSON, BodySchema, Text, schema_of
from ..http.flow import Endpoint, Flow
from ..http.responses import (
    INVALID,
    PROBLEM,
    ErrorReport,
    HTTPSettings,
    error_members,
    report_error,
)
from ..mail.composer import MailSettings
from ..problem_details import problem_members
from ..settings import Settings
from ..state import RegistrationState
from .bodies import Bodies, camel, free_name

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

#: The errors of any request body, whatever is in it.
OF_BODIES = (BadRequest(INVALID_JSON), RequestEntityTooLarge(), UnsupportedMediaType(NOT_JSON))

TEXT: dict[str, Any] = {"schema": {"type": "string"}}

#: The headers of errors.
HEADERS: dict[str, dict[str, Any]] = {
    "Retry-After": {
        "description": "Seconds until the next request may succeed.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {"description": "How to authenticate.", **TEXT},
}


class GatedSchema(BodySchema):
    """The solution for a gate."""

    captcha: Text = Text(
        allow_none=True,
        metadata={"description": "The solution of the captcha or of the proof of work."},
    )


def describe(app: Flask, state: RegistrationState) -> dict[str, Any]:
    """Return the OpenAPI 3.1 description of this application, within its context."""
    web = state.group(HTTPSettings)
    plugin = MarshmallowPlugin(
        schema_name_resolver=lambda schema: free_name(resolver(schema), spec.components.schemas)
    )
    spec = APISpec(
        title=f"Accounts of {state.composer.site_name}",
        version=version("Flask-Registration"),
        openapi_version="3.1.0",
        info={"description": ABOUT.format(key=web.non_field_errors_key)},
        plugins=[plugin],
    )
    bodies = Bodies(spec.components, plugin, state)
    schemes = security_schemes(app, state.group(LoginSettings))
    for name, scheme in schemes.items():
        spec.components.security_scheme(name, scheme)
    security: list[dict[str, list[str]]] = [{name: []} for name in schemes]
    for flow in state.flows:
        endpoints = [each for each in flow.endpoints if each.enabled(state.group(flow.group))]
        if flow.pages or not endpoints:
            continue
        tag = {"name": flow.name.replace("_", " ")}
        if flow.group is not Settings and flow.group.__doc__:
            tag["description"] = flow.group.__doc__.splitlines()[0]
        spec.tag(tag)
        for endpoint in endpoints:
            operations = {}
            # A challenge or a link can take the place of the login.
            optional = [{}, *security] if NotAuthenticated in endpoint.all_errors else []
            for method in map(str.lower, endpoint.methods):
                described = operation(state, bodies, flow, endpoint, method)
                described["tags"] = [tag["name"]]
                described["security"] = security if endpoint.login_required else optional
                operations[method] = described
            path = web.url_prefix.rstrip("/") + PART.sub(r"{\g<name>}", endpoint.path)
            spec.path(path, parameters=parameters(endpoint.path), operations=operations)
    return spec.to_dict()


def operation(
    state: RegistrationState,
    bodies: Bodies,
    flow: Flow[Any],
    endpoint: Endpoint[Any],
    method: str,
) -> dict[str, Any]:
    """Describe one method of an endpoint."""
    prose = re.split(r"\n\s*:", endpoint.view.__doc__ or endpoint.name)[0]  # without parameters
    summary, _, rest = " ".join(prose.split()).partition(". ")
    is_first = method == endpoint.methods[0].lower()
    described: dict[str, Any] = {
        "operationId": endpoint.name if is_first else f"{endpoint.name}_{method}",
        "summary": summary.rstrip("."),
    }
    limits = _limits(state.throttles.limits(endpoint.name))
    if text := "\n\n".join(filter(None, [rest, limits])):
        described["description"] = text
    requests = [schema_of(state, each) for each in endpoint.requests]
    gated = [schema_of(state, GatedSchema)] if state.actions[endpoint.name].gate else []
    if requests or gated:
        content = bodies.request(endpoint.name, [*requests, *gated])
        is_required = method != "delete" and not endpoint.body_optional
        body = {"required": is_required, "content": {"application/json": content}}
        described["requestBody"] = body
    status = state.actions[endpoint.name].status
    response: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if status != HTTPStatus.NO_CONTENT:
        factory = endpoint.response
        schema = bodies.response(schema_of(state, factory)) if factory else {}
        response["content"] = {"application/json": {"schema": schema}}
    errors = error_responses(state, flow, endpoint, bodies, requests)
    described["responses"] = {str(status): response, **errors}
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


def security_schemes(app: Flask, login: LoginSettings) -> dict[str, dict[str, Any]]:
    """Return how clients authenticate in this application."""
    schemes: dict[str, dict[str, Any]] = {}
    if login.login_authenticate_session:
        schemes["session"] = {
            "type": "apiKey",
            "in": "cookie",
            "name": app.config["SESSION_COOKIE_NAME"],
            "description": "The session that a login opens.",
        }
    if login.login_retrieve_token or login.auth_token_manager_class is not None:
        schemes["token"] = {
            "type": "http",
            "scheme": "bearer",
            "description": "The `token` of a login's response. "
            "`Authorization: Token …` works as well.",
        }
    return schemes


def _limits(limits: Mapping[str, str]) -> str:
    """Return the rate limits of an endpoint in words."""
    words = [f"{text.replace(';', ', ')} for each {name}" for name, text in limits.items()]
    return f"Rate limits: {'; '.join(words)}." if words else ""


# Errors


#: An error as a client receives it, and what it means in one line.
Found = tuple[ErrorReport, str]


def error_responses(
    state: RegistrationState,
    flow: Flow[Any],
    endpoint: Endpoint[Any],
    bodies: Bodies,
    requests: Sequence[Schema],
) -> dict[str, Any]:
    """Return the error responses of an endpoint by their status."""
    found = [_of_class(error) for error in _errors(state, flow, endpoint)]
    found += [_of_http(error) for error in OF_BODIES] if requests else []
    by_status: dict[int, list[Found]] = {}
    for report, summary in found:
        by_status.setdefault(report.status, []).append((report, summary))
    responses: dict[str, Any] = {}
    for status, same in sorted(by_status.items()):
        if requests and status == 400:  # with the errors of this endpoint's fields
            fields = bodies.field_errors(endpoint.name, requests)
            responses["400"] = error_response(state, bodies, same, fields)
        else:
            name = "Or".join(camel(report.code) for report, _ in same)
            response = error_response(state, bodies, same, None)
            responses[str(status)] = bodies.share("responses", name, response)
    if state.group(HTTPSettings).not_authenticated_decorators and not endpoint.login_required:
        responses["default"] = {"description": "A response of the application's decorators."}
    return responses


def error_response(
    state: RegistrationState,
    bodies: Bodies,
    found: Sequence[Found],
    fields: tuple[dict[str, Any], Mapping[str, Any]] | None,
) -> dict[str, Any]:
    """Describe the response for one or more errors with the same status.

    :param fields: the schema of field errors and an example, if these errors have the status, too.
    """
    lines = [f"- `{report.code}`: {summary}" for report, summary in found]
    examples = {report.code: report for report, _ in found}
    headers = {name: HEADERS.get(name, TEXT) for report, _ in found for name, _ in report.headers}
    plain = _one_of(bodies.error(), examples)
    problem_codes = [*examples]
    if fields:
        schema, messages = fields
        lines.insert(0, "- The errors of fields, by their names.")
        examples = {"fields": ErrorReport(400, INVALID, None, messages=messages), **examples}
        plain = {"anyOf": [schema, plain]}
        problem_codes.append(INVALID)
    web = state.group(HTTPSettings)
    content = {
        "application/json": {"schema": plain, "examples": {}},
        PROBLEM: {"schema": _one_of(bodies.problem(), problem_codes), "examples": {}},
    }
    for name, report in examples.items():
        members = error_members(report, web.non_field_errors_key, _untranslated)
        content["application/json"]["examples"][name] = {"value": members}
        problem = problem_members(report, web.problem_types_url, _untranslated)
        content[PROBLEM]["examples"][name] = {"value": problem}
    described = {"description": "\n".join(lines), "content": content}
    return {**described, "headers": headers} if headers else described


def _untranslated(text: Any) -> Any:
    """Return a message as it is in the code."""
    return text


def _one_of(error: dict[str, Any], codes: Iterable[str]) -> dict[str, Any]:
    """Return the schema of an error with one of these codes."""
    return {"allOf": [error, {"type": "object", "properties": {"code": {"enum": [*codes]}}}]}


def _errors(
    state: RegistrationState, flow: Flow[Any], endpoint: Endpoint[Any]
) -> Iterator[type[APIError]]:
    """Yield the errors that an endpoint may return with these settings."""
    settings = state.group(flow.group)
    is_inline = state.group(MailSettings).mail_dispatcher == "inline"
    # Whether the limits refuse a request is looked up below.
    impossible = (Throttled,) if is_inline else (Throttled, MailUnavailable)
    steps = {step.error for each in state.flows for step in each.steps}
    for error, is_possible in endpoint.all_errors.items():
        if is_possible(settings) and not issubclass(error, impossible):
            yield from steps if error is StepRequired else [error]
    has_budget = state.mail_budget.limits and endpoint.causes_mail(state)
    if state.throttles.limits(endpoint.name) or has_budget:
        yield Throttled
    if state.actions[endpoint.name].hashes:
        yield TooBusy
    if state.actions[endpoint.name].gate:
        yield CaptchaRequired
        yield GateRefused
    yield DatabaseUnavailable


def _of_class(error: type[APIError]) -> Found:
    summary = (error.__doc__ or error.text).strip().splitlines()[0]
    headers = [*error.headers.items()]
    return ErrorReport(
        error.status, error.code, error.text, headers, members=error.members
    ), summary


def _of_http(error: HTTPException) -> Found:
    return report_error(error), str(error.description)
