"""The errors of an endpoint, each with its status, its code and an example."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from marshmallow import Schema
from werkzeug.exceptions import BadRequest, HTTPException, MethodNotAllowed, RequestEntityTooLarge, UnsupportedMediaType

from ..endpoint import Endpoint
from ..errors import APIError, DatabaseUnavailable, MailUnavailable, Throttled
from ..flow import Flow
from ..kit import Kit
from ..mail import MailSettings
from ..problems import INVALID, PROBLEM, problem, problem_of_fields
from ..web import INVALID_JSON, NOT_JSON, WebSettings, code_of
from .bodies import Bodies, camel

#: What every body may be refused for, whatever is in it.
OF_BODIES = (BadRequest(INVALID_JSON), RequestEntityTooLarge(), UnsupportedMediaType(NOT_JSON))

#: What headers of errors say.
HEADERS: dict[str, dict[str, Any]] = {
    "Allow": {"description": "The methods that there are.", "schema": {"type": "string"}},
    "Retry-After": {
        "description": "Seconds until it is worth another try.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {"description": "How to show who is asking.", "schema": {"type": "string"}},
}


class Refusal(NamedTuple):
    """One error as a client reads it."""

    status: int
    code: str
    text: str
    summary: str
    headers: Iterable[str]


def refusals(
    kit: Kit, flow: Flow[Any], endpoint: Endpoint[Any], bodies: Bodies, loads: Sequence[Schema]
) -> dict[str, Any]:
    """The replies to what an endpoint refuses, by their status."""
    settings = kit.group(WebSettings)
    found = [_of_ours(error) for error in _raised(kit, flow, endpoint)]
    found += [_of_http(error) for error in OF_BODIES] if loads else []
    replies: dict[str, Any] = {}
    for status in sorted({each.status for each in found}):
        several = [each for each in found if each.status == status]
        if loads and status == 400:
            schema, example = bodies.field_errors(endpoint.name, loads)
            replies["400"] = _with_fields(reply(several, bodies, settings), settings, schema, example)
        else:
            name = "Or".join(camel(each.code) for each in several)
            replies[str(status)] = bodies.share(name, reply(several, bodies, settings))
    if settings.not_authenticated_decorators and not endpoint.login_required:
        replies["default"] = {"description": "What decorators of the application answer."}
    return replies


def method_not_allowed(bodies: Bodies, settings: WebSettings) -> dict[str, Any]:
    """The reply to a method that a path does not have."""
    return reply([_of_http(MethodNotAllowed(["POST"]))], bodies, settings)


def reply(found: Sequence[Refusal], bodies: Bodies, settings: WebSettings) -> dict[str, Any]:
    """What is answered with one status, of which there may be several errors."""
    names = {name: HEADERS.get(name, {"schema": {"type": "string"}}) for each in found for name in each.headers}
    codes = [each.code for each in found]
    plain = {each.code: {"detail": each.text, "code": each.code} for each in found}
    problems = {each.code: problem(settings, each.status, each.code, each.text) for each in found}
    return {
        "description": "\n".join(f"- `{each.code}`: {each.summary}" for each in found),
        **({"headers": names} if names else {}),
        "content": {
            "application/json": {"schema": _one_of(codes, bodies.error()), "examples": _examples(plain)},
            PROBLEM: {"schema": _one_of(codes, bodies.problem()), "examples": _examples(problems)},
        },
    }


def _examples(values: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    return {name: {"value": value} for name, value in values.items()}


def _one_of(codes: Sequence[str], error: dict[str, Any]) -> dict[str, Any]:
    """An error with one of these codes."""
    return {"allOf": [error, {"type": "object", "properties": {"code": {"enum": [*codes]}}}]}


def _with_fields(
    reply: dict[str, Any], settings: WebSettings, schema: dict[str, Any], example: dict[str, list[str]]
) -> dict[str, Any]:
    """The same where it may also be the fields that something is wrong with."""
    plain, problems = reply["content"]["application/json"], reply["content"][PROBLEM]
    plain["schema"] = {"anyOf": [schema, plain["schema"]]}
    texts = {name: [*map(str, messages)] for name, messages in example.items()}
    plain["examples"] = {**_examples({"fields": texts}), **plain["examples"]}
    problems["schema"]["allOf"][1]["properties"]["code"]["enum"].append(INVALID)
    fields = problem_of_fields(settings, example, str)
    problems["examples"] = {**_examples({"fields": fields}), **problems["examples"]}
    return {**reply, "description": f"- What is wrong with fields, by their names.\n{reply['description']}"}


def _raised(kit: Kit, flow: Flow[Any], endpoint: Endpoint[Any]) -> list[type[APIError]]:
    """The errors of the tree that an endpoint may answer with these settings."""
    settings, limits = kit.group(flow.group), kit.throttles.limits(endpoint.name)
    found = [error for error, may_be in endpoint.raises.items() if may_be(settings)]
    if kit.group(MailSettings).mail_dispatcher != "inline":
        found = [error for error in found if not issubclass(error, MailUnavailable)]
    is_limited = bool(limits.client.items or limits.account.items)
    return [
        *(error for error in found if error is not Throttled),
        *([Throttled] if is_limited else []),
        DatabaseUnavailable,
    ]


def _of_ours(error: type[APIError]) -> Refusal:
    summary = (error.__doc__ or error.text).strip().splitlines()[0]
    headers = ["Retry-After"] if error is Throttled else error.headers
    return Refusal(error.status, error.code, str(error.text), summary, headers)


def _of_http(error: HTTPException) -> Refusal:
    text = str(error.description or "")
    headers = ["Allow"] if isinstance(error, MethodNotAllowed) else []
    return Refusal(error.code or 500, code_of(error), text, text, headers)
