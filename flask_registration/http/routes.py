"""Mount the endpoints of flows, and limit the bodies of their requests."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from flask import Blueprint, Flask, Response, request, request_started
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import MethodNotAllowed

from ..state import RegistrationState
from .bodies import read_body
from .flow import Action, Flow
from .responses import HTTPSettings

View = Callable[..., ResponseReturnValue]

#: The methods of RFC 9110 and RFC 5789. A method without an endpoint returns 405.
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def mount(
    flows: Sequence[Flow[Any]], blueprint: Blueprint, app: Flask, state: RegistrationState
) -> None:
    """Add every endpoint of the flows to the blueprint, with and without the trailing slash."""
    settings = state.group(HTTPSettings)
    _limit_bodies(app, blueprint.name, settings.max_content_length)
    decorators = settings.not_authenticated_decorators
    methods: dict[str, set[str]] = {}
    for flow in flows:
        for endpoint in flow.endpoints:
            action = Action(app, state, endpoint, state.group(flow.group))
            state.actions[endpoint.name] = action
            view = _view(action, settings.max_content_length)
            for decorator in () if endpoint.login_required else reversed(decorators):
                view = decorator(view)
            add_rule(blueprint, endpoint.path, endpoint.name, view, endpoint.methods)
            methods.setdefault(endpoint.path, set()).update(endpoint.methods)
    for path, allowed in methods.items():
        refuse_other_methods(blueprint, path, allowed)


def _limit_bodies(app: Flask, blueprint: str, max_length: int) -> None:
    """Limit the request bodies of all endpoints, pages too, before any function of the application.

    A page and a ``before_request`` may read the body. A stricter limit of the application stays.
    """

    def limit(sender: Flask, **_: Any) -> None:
        if blueprint in request.blueprints:
            # One more: Werkzeug cuts off a body without a length at the limit, without an error.
            limits = (request.max_content_length, max_length + 1)
            request.max_content_length = min(each for each in limits if each is not None)

    request_started.connect(limit, app, weak=False)


def refuse_other_methods(blueprint: Blueprint, path: str, methods: set[str]) -> None:
    """Return 405 as JSON for all other methods of a path, and respond to OPTIONS.

    Flask detects a wrong method before our error handlers.
    """
    allowed = sorted({*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else ())})

    def handle(**values: Any) -> ResponseReturnValue:
        if request.method != "OPTIONS":
            raise MethodNotAllowed(allowed)
        return Response(headers={"Allow": ", ".join(allowed)})

    name = re.sub(r"\W", "_", f"other_methods_of{path}")
    others = {*METHODS} - {*allowed} | {"OPTIONS"}
    add_rule(blueprint, path, name, handle, others)


def add_rule(
    blueprint: Blueprint, path: str, name: str, view: View, methods: Collection[str]
) -> None:
    """Add a view at a path, with and without the trailing slash."""
    blueprint.add_url_rule(
        path, name, view, methods=methods, strict_slashes=False, provide_automatic_options=False
    )


def _view(action: Action[Any], max_length: int) -> View:
    read = partial(read_body, max_length, is_optional=action.endpoint.body_optional)

    def view(**values: Any) -> ResponseReturnValue:
        return action.respond(action.run(read, **values))

    view.__name__ = action.name
    view.__doc__ = action.endpoint.view.__doc__
    return view
