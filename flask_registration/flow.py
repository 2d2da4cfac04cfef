"""A flow: one journey's endpoints, each declared with what it loads, what it returns and which errors it raises."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from flask import Blueprint, Flask, current_app, request
from flask.typing import ResponseReturnValue, RouteCallable
from werkzeug.exceptions import MethodNotAllowed, NotFound

from .endpoint import Described, Endpoint, Raises, always
from .errors import LinkRefused, NotAuthenticated, Throttled
from .events import LINK_REFUSED, record
from .kit import Kit, MailExamples, current_kit
from .languages import said
from .retries import retrying
from .sessions import session_as_it_is
from .settings import Settings, SettingsReader
from .userfields import UserFields
from .web import WebSettings, load

S = TypeVar("S", bound=Settings)
View = Callable[..., ResponseReturnValue]
Declared = TypeVar("Declared", bound=RouteCallable)
Check = Callable[[S, UserFields | None, SettingsReader], None]

#: The methods of RFC 9110 and RFC 5789 that a path may be asked for; those without an endpoint are answered 405.
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")

NO_THROTTLES: Mapping[str, str] = MappingProxyType({})


class Flow(Generic[S]):
    """A journey: its settings, its endpoints, its checks of the configuration.

    One object serves every application; ``settings`` are those of the current one.

    :param settings: the class of its settings.
    :param mails: whether it sends mail with such settings, so that the configuration must allow that.
    :param needs_logins: whether it is there only in an application with a login model.
    :param needs_email: whether it is there only where users have an address.
    :param pages: whether its endpoints are pages for people, which the API description leaves out.
    """

    def __init__(
        self,
        name: str,
        settings: type[S],
        *,
        mails: Callable[[S], bool] = lambda settings: False,
        needs_logins: bool = False,
        needs_email: bool = False,
        pages: bool = False,
    ) -> None:
        self.name = name
        self.group = settings
        self.mails = mails
        self.needs_logins = needs_logins
        self.needs_email = needs_email
        self.pages = pages
        self.endpoints: list[Endpoint[S]] = []
        self.checks: list[Check[S]] = []
        self.examples: MailExamples = MailExamples()

    @property
    def settings(self) -> S:
        """This flow's settings in the current application."""
        return self.kit.group(self.group)

    @property
    def kit(self) -> Kit:
        """The current application's tools themselves, where ``current_kit`` looks them up at each use."""
        kit: Kit = current_app.extensions["registration"]
        return kit

    def endpoint(
        self,
        path: str,
        *,
        methods: Sequence[str],
        loads: Described | None = None,
        loads_later: Described | None = None,
        returns: Described | None = None,
        status: int = 200,
        raises: Raises = (),
        enabled: Callable[[S], bool] = always,
        login_required: bool = False,
        throttles: Mapping[str, str] = NO_THROTTLES,
        account: Callable[..., Iterable[str]] | None = None,
    ) -> Callable[[Declared], Declared]:
        """Declare an endpoint; its name is the view's, less ``_view``.

        :param loads: the body's schema, or what makes it of the kit, once; the view gets what it loads.
        :param loads_later: the schema of what the view itself loads of the same body, for the API description.
        :param returns: the schema of its reply, or what makes it of the kit; the API description shows it.
        :param status: that of its reply.
        :param raises: the errors of its own that it may answer; in a mapping, each with the settings that it takes.
        :param enabled: whether the settings have it; else it is answered 404.
        :param login_required: the view gets the user who is asking, first; nobody is answered 401.
        :param throttles: its limits where ``REGISTRATION_THROTTLES`` does not name it: ``client``, ``account`` or both.
        :param account: what names the account, in normal form: ``account(kit, data)`` with what was loaded. It must not
            look the account up. Where a login is required it is the user who asks.
        """

        def declare(view: Declared) -> Declared:
            name = view.__name__.removesuffix("_view")
            shared = [*([NotAuthenticated] if login_required else []), *([Throttled] if throttles else [])]
            own = raises if isinstance(raises, Mapping) else dict.fromkeys(raises, always)
            self.endpoints.append(
                Endpoint(
                    name=name,
                    methods=methods,
                    path=path,
                    view=view,
                    loads=loads,
                    loads_later=loads_later,
                    returns=returns,
                    status=status,
                    raises={**dict.fromkeys(shared, always), **own},
                    enabled=enabled,
                    login_required=login_required,
                    throttles=throttles,
                    account=account,
                )
            )
            return view

        return declare

    def get(self, path: str, **options: Any) -> Callable[[Declared], Declared]:
        """Declare an endpoint for GET; see :meth:`endpoint`."""
        return self.endpoint(path, methods=["GET"], **options)

    def post(self, path: str, **options: Any) -> Callable[[Declared], Declared]:
        """Declare an endpoint for POST; see :meth:`endpoint`."""
        return self.endpoint(path, methods=["POST"], **options)

    def delete(self, path: str, **options: Any) -> Callable[[Declared], Declared]:
        """Declare an endpoint for DELETE; see :meth:`endpoint`."""
        return self.endpoint(path, methods=["DELETE"], **options)

    def check(self, function: Check[S]) -> Check[S]:
        """Declare a check of the configuration, run at ``init_app``; it notes problems with the reader.

        It gets None for the fields where the user model has problems of its own.
        """
        self.checks.append(function)
        return function


def mount(flows: Sequence[Flow[Any]], blueprint: Blueprint, app: Flask, kit: Kit) -> None:
    """Put every endpoint of the flows on the blueprint, with and without the trailing slash."""
    settings = kit.group(WebSettings)
    methods: dict[str, set[str]] = {}
    for flow in flows:
        kit.examples.extend(flow.examples)
        for endpoint in flow.endpoints:
            view = _handler(app, kit, endpoint, kit.group(flow.group), settings.max_content_length)
            kit.handlers[endpoint.name] = view
            for decorator in () if endpoint.login_required else reversed(settings.not_authenticated_decorators):
                view = decorator(view)
            _add_rule(blueprint, endpoint.path, endpoint.name, view, endpoint.methods)
            methods.setdefault(endpoint.path, {"OPTIONS"}).update(endpoint.methods)
    for path, allowed in methods.items():
        allowed.update({"HEAD"} if "GET" in allowed else ())
        name = re.sub(r"\W", "_", f"other_methods_of{path}")
        others = [method for method in METHODS if method not in allowed - {"OPTIONS"}]
        _add_rule(blueprint, path, name, _other_methods(sorted(allowed)), others)


def _add_rule(blueprint: Blueprint, path: str, name: str, view: View, methods: Sequence[str]) -> None:
    blueprint.add_url_rule(path, name, view, methods=methods, strict_slashes=False, provide_automatic_options=False)


def _handler(app: Flask, kit: Kit, endpoint: Endpoint[Any], settings: Settings, max_length: int) -> View:
    view: View = app.ensure_sync(endpoint.view)
    loads, is_enabled = endpoint.loads, endpoint.enabled(settings)
    schema = kit.schema(loads) if loads else None

    def handle(**values: Any) -> ResponseReturnValue:
        if not is_enabled:
            raise NotFound("This is switched off here.")
        kit.throttles.check_client(endpoint.name)
        bring_session_back = session_as_it_is()
        is_counted = False

        def work() -> ResponseReturnValue:
            nonlocal is_counted
            arguments: list[Any] = [kit.identity.user()] if endpoint.login_required else []
            try:
                if schema is not None:
                    arguments.append(load(schema, max_length))
                if not is_counted:  # once, however often the work is done
                    is_counted = True
                    _count_for_account(kit, endpoint, arguments)
                return view(*arguments, **values)
            except LinkRefused as error:
                record(LINK_REFUSED, user_id=error.user_id, code=error.code)
                raise

        def start_over() -> None:
            kit.users.rollback()
            kit.identity.forget()
            bring_session_back()

        return retrying(work, start_over)

    handle.__name__ = endpoint.name
    handle.__doc__ = endpoint.view.__doc__
    return handle


def _count_for_account(kit: Kit, endpoint: Endpoint[Any], arguments: Sequence[Any]) -> None:
    """:raises Throttled: too many requests are about this account."""
    account = endpoint.account
    if endpoint.login_required:
        user_id = kit.users.identifier(arguments[0])
        kit.throttles.check_account(endpoint.name, lambda: [user_id], user_id=user_id)
    elif account is not None:
        kit.throttles.check_account(endpoint.name, lambda: account(kit, *arguments))


def _other_methods(allowed: list[str]) -> View:
    """Answer 405 as JSON, and OPTIONS. (Flask finds a wrong method before it knows whose path it is.)"""

    def handle(**values: Any) -> ResponseReturnValue:
        if request.method != "OPTIONS":
            raise MethodNotAllowed(allowed)
        response = current_app.make_default_options_response()
        response.allow.clear()
        response.allow.update(allowed)
        return response

    return handle


def load_body(loads: Described) -> Any:
    """What a schema makes of the request's body: for what must not be looked at until the link in it was opened."""
    return load(current_kit.schema(loads), current_kit.group(WebSettings).max_content_length)


def success(message: str, status: int = 200, **extra_data: Any) -> ResponseReturnValue:
    """The reply of a step that worked, as the application wants it."""
    build: View = current_kit.group(WebSettings).success_response_builder
    return build(message=said(message), status=status, extra_data=extra_data)
