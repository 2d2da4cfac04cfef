"""A flow: the endpoints of one workflow, each declared with its request, its response and its errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from flask import Blueprint, Flask, current_app, request
from flask.typing import ResponseReturnValue, RouteCallable
from werkzeug.exceptions import MethodNotAllowed, NotFound

from ..auth.sessions import session_as_it_is
from ..checks import Finding
from ..errors import APIError, LinkRefused, NotAuthenticated, Throttled
from ..mail.message import Mail
from ..security_log import LINK_REFUSED, record
from ..settings import Settings, SettingsReader
from ..state import RegistrationState, current_registration
from ..users.fields import UserFields
from ..users.transaction import with_retries
from .bodies import load
from .responses import HTTPSettings, translate
from .schemas import SchemaFactory, schema_of

S = TypeVar("S", bound=Settings)
F = TypeVar("F", bound=Callable[..., Any])
V = TypeVar("V", bound=RouteCallable)
View = Callable[..., ResponseReturnValue]
Condition = Callable[[Any], bool]
Check = Callable[[S, UserFields | None, SettingsReader], None]
DeploymentCheck = Callable[[S], Iterable[Finding]]

#: The errors that an endpoint may return; in a mapping, each with a condition on the settings.
Errors = Sequence[type[APIError]] | Mapping[type[APIError], Condition]

#: The methods of RFC 9110 and RFC 5789. A method without an endpoint returns 405.
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")

NO_THROTTLES: Mapping[str, str] = MappingProxyType({})


def always(settings: Settings) -> bool:
    """Return True, for all settings."""
    return True


@dataclass(frozen=True, kw_only=True)
class Endpoint(Generic[S]):
    """An endpoint as a flow declares it. The API description is made from it; see :meth:`Flow.endpoint`."""

    name: str
    methods: Sequence[str]
    path: str
    view: RouteCallable
    request: SchemaFactory | None
    request_after_link: SchemaFactory | None
    response: SchemaFactory | None
    status: int
    errors: Mapping[type[APIError], Callable[[S], bool]]
    enabled: Callable[[S], bool]
    login_required: bool
    throttles: Mapping[str, str]
    account: Callable[..., Iterable[str]] | None


@dataclass(frozen=True)
class MailExample:
    """An e-mail of a flow about a user who does not exist, for ``flask registration preview-mail``.

    :ivar enabled: whether this configuration sends it.
    """

    name: str
    to: str
    when: str
    compose: Callable[[RegistrationState, Any], Mail]
    enabled: Callable[[RegistrationState], bool]


class MailExamples(list[MailExample]):
    """The examples of a flow."""

    def add(
        self,
        *,
        to: str,
        when: str,
        name: str | None = None,
        enabled: Callable[[RegistrationState], bool] = lambda state: True,
    ) -> Callable[[F], F]:
        """Declare a function that composes an e-mail: ``compose(state, user)``. It must not use the database.

        :param to: the recipient in words, for example "the account's e-mail address".
        :param when: the occasion, half a sentence: "a user asks for a new password".
        :param name: the kind of the e-mail, if it is not the function's name.
        :param enabled: whether this configuration sends it.
        """

        def declare(compose: F) -> F:
            self.append(MailExample(name or compose.__name__, to, when, compose, enabled))
            return compose

        return declare


class Flow(Generic[S]):
    """A workflow: its settings, its endpoints, its checks of the configuration.

    One object serves every application; ``settings`` are those of the current one.

    :param settings: the class of its settings.
    :param sends_mail: whether it sends e-mails with these settings, so that a sender must be configured.
    :param needs_logins: whether the flow needs a login model; it is left out without one.
    :param needs_email: whether the flow needs an e-mail address; it is left out if users have none.
    :param pages: whether its endpoints are pages for people, which the API description leaves out.
    """

    def __init__(
        self,
        name: str,
        settings: type[S],
        *,
        sends_mail: Callable[[S], bool] = lambda settings: False,
        needs_logins: bool = False,
        needs_email: bool = False,
        pages: bool = False,
    ) -> None:
        self.name = name
        self.group = settings
        self.sends_mail = sends_mail
        self.needs_logins = needs_logins
        self.needs_email = needs_email
        self.pages = pages
        self.endpoints: list[Endpoint[S]] = []
        self.checks: list[Check[S]] = []
        self.deployment_checks: list[DeploymentCheck[S]] = []
        self.examples: MailExamples = MailExamples()
        self.offers: dict[str, tuple[Callable[..., Any], Callable[[S], bool]]] = {}

    @property
    def settings(self) -> S:
        """This flow's settings in the current application."""
        return self.state.group(self.group)

    @property
    def state(self) -> RegistrationState:
        """The current application's state itself; ``current_registration`` is a proxy."""
        state: RegistrationState = current_app.extensions["registration"]
        return state

    def endpoint(
        self,
        path: str,
        *,
        methods: Sequence[str],
        request: SchemaFactory | None = None,
        request_after_link: SchemaFactory | None = None,
        response: SchemaFactory | None = None,
        status: int = 200,
        errors: Errors = (),
        enabled: Callable[[S], bool] = always,
        login_required: bool = False,
        throttles: Mapping[str, str] = NO_THROTTLES,
        account: Callable[..., Iterable[str]] | None = None,
    ) -> Callable[[V], V]:
        """Declare an endpoint; its name is the view's without ``_view``.

        :param request: the schema of the request body, or a function that makes it of the state, once. The
            view receives what it loads.
        :param request_after_link: the schema of the fields that the view loads itself, by
            :func:`load_body`, after it has verified a link; for the API description.
        :param response: the schema of the response, or a function that makes it; for the API description.
        :param status: the status of the response.
        :param errors: the errors that only this endpoint returns; in a mapping, each with a condition on the
            settings.
        :param enabled: a condition on the settings; without it the endpoint returns 404.
        :param login_required: return 401 without a login; the view receives the current user first.
        :param throttles: default rate limits: ``client``, ``account`` or both.
        :param account: ``account(state, data)`` returns names of the account that the request is about, in
            normal form, without looking it up. With ``login_required`` it is the current user.
        """

        def declare(view: V) -> V:
            shared: list[type[APIError]] = [NotAuthenticated] if login_required else []
            shared += [Throttled] if throttles else []
            own = errors if isinstance(errors, Mapping) else dict.fromkeys(errors, always)
            endpoint: Endpoint[S] = Endpoint(
                name=view.__name__.removesuffix("_view"),
                methods=methods,
                path=path,
                view=view,
                request=request,
                request_after_link=request_after_link,
                response=response,
                status=status,
                errors={**dict.fromkeys(shared, always), **own},
                enabled=enabled,
                login_required=login_required,
                throttles=throttles,
                account=account,
            )
            self.endpoints.append(endpoint)
            return view

        return declare

    def get(self, path: str, **options: Any) -> Callable[[V], V]:
        """Declare an endpoint for GET; see :meth:`endpoint`."""
        return self.endpoint(path, methods=["GET"], **options)

    def post(self, path: str, **options: Any) -> Callable[[V], V]:
        """Declare an endpoint for POST; see :meth:`endpoint`."""
        return self.endpoint(path, methods=["POST"], **options)

    def delete(self, path: str, **options: Any) -> Callable[[V], V]:
        """Declare an endpoint for DELETE; see :meth:`endpoint`."""
        return self.endpoint(path, methods=["DELETE"], **options)

    def check(self, function: Check[S]) -> Check[S]:
        """Declare a check of the configuration, run at ``init_app``; it adds problems to the reader.

        It receives None for the fields if the user model itself has problems.
        """
        self.checks.append(function)
        return function

    def deployment_check(self, function: DeploymentCheck[S]) -> DeploymentCheck[S]:
        """Declare a check that ``flask registration check`` runs; it yields findings about the settings."""
        self.deployment_checks.append(function)
        return function

    def provides(self, name: str, enabled: Callable[[S], bool] = always) -> Callable[[F], F]:
        """Offer a function to other flows, which call ``state.provided(name)``."""

        def declare(function: F) -> F:
            self.offers[name] = (function, enabled)
            return function

        return declare


def mount(
    flows: Sequence[Flow[Any]], blueprint: Blueprint, app: Flask, state: RegistrationState
) -> None:
    """Add every endpoint of the flows to the blueprint, with and without the trailing slash."""
    settings = state.group(HTTPSettings)
    methods: dict[str, set[str]] = {}
    for flow in flows:
        for endpoint in flow.endpoints:
            group = state.group(flow.group)
            view = _handler(app, state, endpoint, group, settings.max_content_length)
            state.handlers[endpoint.name] = view
            decorators = settings.not_authenticated_decorators
            for decorator in () if endpoint.login_required else reversed(decorators):
                view = decorator(view)
            _add_rule(blueprint, endpoint.path, endpoint.name, view, endpoint.methods)
            methods.setdefault(endpoint.path, {"OPTIONS"}).update(endpoint.methods)
    for path, allowed in methods.items():
        allowed.update({"HEAD"} if "GET" in allowed else ())
        name = re.sub(r"\W", "_", f"other_methods_of{path}")
        others = [method for method in METHODS if method not in allowed - {"OPTIONS"}]
        _add_rule(blueprint, path, name, _other_methods(sorted(allowed)), others)


def _add_rule(
    blueprint: Blueprint, path: str, name: str, view: View, methods: Sequence[str]
) -> None:
    blueprint.add_url_rule(
        path, name, view, methods=methods, strict_slashes=False, provide_automatic_options=False
    )


def _handler(
    app: Flask,
    state: RegistrationState,
    endpoint: Endpoint[Any],
    settings: Settings,
    max_length: int,
) -> View:
    view: View = app.ensure_sync(endpoint.view)
    is_enabled = endpoint.enabled(settings)
    schema = schema_of(state, endpoint.request) if endpoint.request else None

    def handle(**values: Any) -> ResponseReturnValue:
        if not is_enabled:
            raise NotFound("This is switched off here.")
        state.throttles.check_client(endpoint.name)
        restore_session = session_as_it_is()
        is_counted = False

        def work() -> ResponseReturnValue:
            nonlocal is_counted
            arguments: list[Any] = [state.sessions.user()] if endpoint.login_required else []
            try:
                if schema is not None:
                    arguments.append(load(schema, max_length))
                if not is_counted:  # once, however often the work is retried
                    is_counted = True
                    _count_for_account(state, endpoint, arguments)
                return view(*arguments, **values)
            except LinkRefused as error:
                record(LINK_REFUSED, user_id=error.user_id, code=error.code)
                raise

        def reset() -> None:
            state.users.rollback()
            state.sessions.forget()
            restore_session()

        return with_retries(work, reset)

    handle.__name__ = endpoint.name
    handle.__doc__ = endpoint.view.__doc__
    return handle


def _count_for_account(
    state: RegistrationState, endpoint: Endpoint[Any], arguments: Sequence[Any]
) -> None:
    account = endpoint.account
    if endpoint.login_required:
        user_id = state.users.identifier(arguments[0])
        state.throttles.check_account(endpoint.name, lambda: [user_id], user_id=user_id)
    elif account is not None:
        state.throttles.check_account(endpoint.name, lambda: account(state, *arguments))


def _other_methods(allowed: list[str]) -> View:
    """Return 405 as JSON, and answer OPTIONS. (Flask detects a wrong method before our error handlers.)"""

    def handle(**values: Any) -> ResponseReturnValue:
        if request.method != "OPTIONS":
            raise MethodNotAllowed(allowed)
        response = current_app.make_default_options_response()
        response.allow.clear()
        response.allow.update(allowed)
        return response

    return handle


def load_body(schema: SchemaFactory) -> Any:
    """Load fields of the request body that must not be read before the link in it was verified."""
    state: RegistrationState = current_app.extensions["registration"]
    return load(schema_of(state, schema), state.group(HTTPSettings).max_content_length)


def success(message: str, status: int = 200, **extra_data: Any) -> ResponseReturnValue:
    """Return the response of a successful step, as the application builds it."""
    build: View = current_registration.group(HTTPSettings).success_response_builder
    return build(message=translate(message), status=status, extra_data=extra_data)
