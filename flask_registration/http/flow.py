"""A flow: the endpoints of one workflow, with their requests, responses and errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from flask import Flask, Response, current_app, has_request_context
from flask.typing import ResponseReturnValue
from marshmallow import Schema, ValidationError
from sqlalchemy.exc import SQLAlchemyError

from ..auth.links import OpenedLink, Purpose, SignedLink
from ..errors import (
    AccountUnusable,
    APIError,
    ChallengeInvalid,
    EndpointDisabled,
    LinkExpired,
    LinkInvalid,
    LinkRefused,
    NotAuthenticated,
    SentFromOtherSite,
    Throttled,
)
from ..mail.composer import MailSettings
from ..mail.message import Email
from ..request_state import request_state
from ..security_log import LINK_REFUSED, record
from ..settings import Settings
from ..state import Check, RegistrationState
from ..users.transaction import with_retries
from .bodies import (
    AddressLinkSchema,
    EmailLinkSchema,
    LinkSchema,
    SchemaFactory,
    load,
    name_by_data_key,
    schema_of,
)
from .gates import GateSettings, ask_gate, check_solution
from .responses import success

if TYPE_CHECKING:  # an application without challenges does not import them
    from ..auth.challenges import Challenge
    from .codes import EndpointCode
    from .steps import Step

S = TypeVar("S", bound=Settings)
F = TypeVar("F", bound=Callable[..., Any])
Condition = Callable[[Any], bool]

#: The errors that an endpoint may return; in a mapping, each with a condition on the settings.
Errors = Sequence[type[APIError]] | Mapping[type[APIError], Condition]


def always(_: object) -> bool:
    """Return True, for all settings."""
    return True


#: The default rate limits of an endpoint that takes a password or another credential of an account.
PASSWORD_LIMITS: Mapping[str, str] = {
    "client": "60/minute;1000/hour",
    "account": "10/5 minutes;50/hour",
}

#: The default of ``MAIL_REQUEST_TIMEBOX``: several times what such a request takes, and less than
#: a login. Without it, the one for a known account takes 0.2 to 0.7 ms longer
#: (``python -m benchmarks.enumeration``).
TIMEBOX = timedelta(milliseconds=25)


@dataclass(frozen=True, kw_only=True)
class EndpointLink(Generic[S]):
    """The link that an endpoint verifies before it reads the rest of the request body.

    :ivar purpose: what the link is for, with these settings.
    :ivar period: how long it is valid.
    :ivar with_email: whether it is about another e-mail address, one of its parameters.
    :ivar of_address: whether it is about an e-mail address without an account.
    """

    purpose: Callable[[S], Purpose]
    period: Callable[[S], timedelta]
    with_email: bool = False
    of_address: bool = False

    @property
    def schema(self) -> type[LinkSchema]:
        """Return the schema of its parameters."""
        if self.of_address:
            return AddressLinkSchema
        return EmailLinkSchema if self.with_email else LinkSchema

    def open(self, state: RegistrationState, settings: S, params: SignedLink) -> OpenedLink:
        """Verify the link; see :meth:`Links.open`."""
        purpose, period = self.purpose(settings), self.period(settings)
        return state.links.open(purpose, params, period, of_address=self.of_address)


@dataclass(frozen=True, kw_only=True)
class Endpoint(Generic[S]):
    """An endpoint. Its fields are the options of :meth:`Flow.post` and the like.

    The API description is made from it.

    :ivar view: the function that does its work. It receives the current user with
        ``login_required``, the :class:`OpenedLink` with ``link``, the challenge with ``code``,
        what the schema loads with ``request``, and the values of the URL. It returns a response, or
        what ``message`` says.
    :ivar link: the link in the request body. It is verified first, and the view receives an
        :class:`OpenedLink`.
    :ivar code: the challenge in the request body, for an endpoint that takes a code of an e-mail.
        The code is verified first, and the view receives the :class:`Challenge`,
        which it takes. If the request is refused after that, the code stays valid. With a ``link``
        of an address as well, a request has one of both, and the view receives one of both.
    :ivar request: the schema of the request body, or a function that makes it of the state, once.
        The view receives what it loads.
    :ivar body_optional: take a request without a body for an empty object, unless another site
        sends it.
    :ivar response: the schema of the response, or a function that makes it; for the API
        description.
    :ivar message: the text of the response, or a function that returns it for the settings. The
        function of the endpoint then returns a dict of further fields, or None. Without it, it
        returns a response, a dict or a list for JSON, or None for a response without a body.
    :ivar status: the status of the response, or a function that returns it for the state.
    :ivar errors: the errors that only this endpoint returns; in a mapping, each with a condition
        on the settings.
    :ivar enabled: a condition on the settings; without it the endpoint returns 404.
    :ivar login_required: return 401 without a login; the view receives the current user first.
    :ivar gated: whether ``REGISTRATION_GATE`` is asked; ``"throttled"``: only instead of the
        response 429.
    :ivar causes_mail: a condition on the state: whether a request without a login may cause an
        e-mail. Then it counts for ``MAIL_BUDGET``.
    :ivar throttles: default rate limits: ``client``, ``account`` or both.
    :ivar account: ``account(state, data)`` returns names of the account that the request is about,
        in normal form, without looking it up. With ``login_required`` it is the current user.
    :ivar split_limit: whether an account has several names, one for each login field. Each name
        then has its share of the limit for an account. (A counter for the account itself would
        reveal which names belong together.)
    """

    path: str
    methods: Sequence[str]
    view: Callable[..., Any]
    link: EndpointLink[S] | None = None
    code: EndpointCode | None = None
    request: SchemaFactory | None = None
    body_optional: bool = False
    response: SchemaFactory | None = None
    message: str | Callable[[S], str] | None = None
    status: int | Callable[[RegistrationState], int] = 200
    errors: Errors = ()
    enabled: Callable[[S], bool] = always
    login_required: bool = False
    gated: bool | Literal["throttled"] = False
    causes_mail: Condition = lambda state: False
    throttles: Mapping[str, str] = field(default_factory=dict)
    account: Callable[..., Iterable[str]] | None = None
    split_limit: bool = False

    @property
    def name(self) -> str:
        """Return the name of the view without ``_view``."""
        return self.view.__name__.removesuffix("_view")

    @property
    def all_errors(self) -> dict[type[APIError], Condition]:
        """Return the errors that it may return, each with a condition on the settings."""
        shared: list[type[APIError]] = [NotAuthenticated] if self.login_required else []
        shared += [LinkInvalid, LinkExpired] if self.link else []
        shared += self.code.errors if self.code else []
        shared += [SentFromOtherSite] if self.body_optional else []
        shared += [Throttled] if self.throttles else []
        errors = self.errors
        own = errors if isinstance(errors, Mapping) else dict.fromkeys(errors, always)
        return {**dict.fromkeys(shared, always), **own}

    @property
    def requests(self) -> list[SchemaFactory]:
        """Return the schemas of the request body: of its link or code, then of the rest."""
        first: SchemaFactory | None = self.link.schema if self.link else None
        if self.code:
            first = self.code.described(has_link=self.link is not None)
        return [each for each in (first, self.request) if each]

    @property
    def names_account(self) -> bool:
        """Return whether its requests name an account, so that it can have a limit for each."""
        return bool(self.login_required or self.account or self.link)


class Flow(Generic[S]):
    """A workflow: its settings, its endpoints, its checks of the configuration.

    One object serves every application; ``settings`` are those of the current one.

    :param settings: the class of its settings.
    :param sends_mail: whether it sends e-mails with these settings, so that a sender must be
        configured.
    :param needs_logins: whether the flow needs a login model; it is left out without one.
    :param needs_models: the roles of the models without which the flow cannot be mounted, for
        example ``["challenge"]``. A flow with a step needs that one in any case.
    :param needs_email: whether the flow needs an e-mail address; it is left out if users have none.
    :param closed_by: what another flow provides if this one must be left out.
    :param pages: whether its endpoints are pages for people, which the API description leaves out.
    """

    def __init__(
        self,
        name: str,
        settings: type[S],
        *,
        sends_mail: Callable[[S], bool] = lambda settings: False,
        needs_logins: bool = False,
        needs_models: Sequence[str] = (),
        needs_email: bool = False,
        closed_by: str | None = None,
        pages: bool = False,
    ) -> None:
        self.name = name
        self.group = settings
        self.sends_mail = sends_mail
        self.needs_logins = needs_logins
        self.needs_models: list[str] = [*needs_models]
        self.needs_email = needs_email
        self.closed_by = closed_by
        self.pages = pages
        self.endpoints: list[Endpoint[S]] = []
        self.checks: list[Check] = []
        self.emails: list[Email] = []
        self.steps: list[Step] = []
        self.offers: dict[str, tuple[Callable[..., Any], Callable[[S], bool]]] = {}

    @property
    def settings(self) -> S:
        """Return this flow's settings in the current application."""
        return self.state.group(self.group)

    @property
    def state(self) -> RegistrationState:
        """Return the current application's state itself; ``current_registration`` is a proxy."""
        state: RegistrationState = current_app.extensions["registration"]
        return state

    def endpoint(self, path: str, **options: Any) -> Callable[[F], F]:
        """Declare an endpoint with its view; the options are the fields of :class:`Endpoint`."""

        def declare(view: F) -> F:
            self.endpoints.append(Endpoint(path=path, view=view, **options))
            return view

        return declare

    def get(self, path: str, **options: Any) -> Callable[[F], F]:
        """Declare an endpoint for GET; see :meth:`endpoint`."""
        return self.endpoint(path, methods=["GET"], **options)

    def post(self, path: str, **options: Any) -> Callable[[F], F]:
        """Declare an endpoint for POST; see :meth:`endpoint`."""
        return self.endpoint(path, methods=["POST"], **options)

    def delete(self, path: str, **options: Any) -> Callable[[F], F]:
        """Declare an endpoint for DELETE; see :meth:`endpoint`."""
        return self.endpoint(path, methods=["DELETE"], **options)

    def check(self, function: Check) -> Check:
        """Declare a check of the configuration: a generator of findings.

        It receives the :class:`Setup`; ``setup.group(YourSettings)`` are the flow's settings. If it
        yields an error, ``init_app`` raises a :class:`ConfigurationError`. ``flask registration
        check`` prints warnings and notes as well.
        """
        self.checks.append(function)
        return function

    def email(
        self, name: str, **options: Any
    ) -> Callable[[Callable[..., Mapping[str, Any]]], Email]:
        """Declare an e-mail with the function that returns its template variables.

        The function is called when the e-mail is sent: ``variables(state, user, **data)``. It signs
        the link. Send the e-mail with ``state.commit(state.mail(email, user, **data))``. The
        options are the fields of :class:`Email`.

        :param name: its name; the default templates are in the folder ``registration/<name>``.
        """

        def declare(variables: Callable[..., Mapping[str, Any]]) -> Email:
            email = Email(name=name, group=self.group, variables=variables, **options)
            self.emails.append(email)
            return email

        return declare

    def step(self, name: str, **options: Any) -> Step:
        """Declare a step of every login, and return it; the options are the fields of `Step`.

        Whatever logs a user in asks the steps of all flows, in the order of the flows. A step of
        the client needs a model for challenges.

        :param name: its name in the response ``step-required``; at most 32 characters.
        """
        from .steps import Step

        step = Step(name=name, **options)
        self.steps.append(step)
        if step.has_challenge and "challenge" not in self.needs_models:
            self.needs_models.append("challenge")
        return step

    def provides(self, name: str, enabled: Callable[[S], bool] = always) -> Callable[[F], F]:
        """Offer a function to other flows, which call ``state.provided(name)``."""

        def declare(function: F) -> F:
            self.offers[name] = (function, enabled)
            return function

        return declare


class Action(Generic[S]):
    """An endpoint in one application, run by its view, by a page or by a public action."""

    def __init__(
        self, app: Flask, state: RegistrationState, endpoint: Endpoint[S], settings: S
    ) -> None:
        self.endpoint = endpoint
        self.name: str = endpoint.name
        status = endpoint.status
        self.status: int = status if isinstance(status, int) else status(state)
        self._is_enabled = endpoint.enabled(settings)
        self._causes_mail = endpoint.causes_mail(state)
        self._state = state
        self._settings = settings
        self._function = app.ensure_sync(endpoint.view)
        self._link_schema = schema_of(state, endpoint.link.schema) if endpoint.link else None
        self._code_schema = schema_of(state, endpoint.code.schema) if endpoint.code else None
        factory = endpoint.request
        self.schema: Schema | None = schema_of(state, factory) if factory else None
        # A schema of the application may have other names.
        names = self.schema.fields if self.schema else ()
        self.hashes: bool = any("password" in field for field in names)
        gates = state.group(GateSettings)
        self.gate: Callable[..., Any] | None = (
            gates.gate if endpoint.gated in (True, gates.gate_when) else None
        )
        # A hash takes longer, and is computed for unknown accounts as well.
        is_timed = self._causes_mail and not self.hashes
        timebox = state.group(MailSettings).mail_request_timebox
        if timebox is None:
            timebox = timedelta(0) if app.testing else TIMEBOX
        self._timebox = timebox.total_seconds() if is_timed else 0
        self._lifts_limit = bool(self.gate) and gates.gate_when == "throttled"

    def run(
        self,
        read: Callable[[], dict[str, Any]],
        *,
        late: Callable[[], dict[str, Any]] = dict,
        **values: Any,
    ) -> Any:
        """Count the request, verify its link or code, load its body, and call the function.

        Return what the function returns. It is called again after a serialization failure.
        Outside a request, for example in a script, no client is counted, and no gate is asked.

        :param read: returns the request body.
        :param late: returns values of the URL that a page reads from its form, which it must not
            read before the client is counted.
        :param values: the values of the URL.
        :raises EndpointDisabled: a setting switches the endpoint off.
        :raises Throttled: the client sent too many requests, or too many are about the account, or
            the budget of e-mails is exceeded.
        :raises GateRefused: the gate refuses the request.
        :raises NotAuthenticated: the endpoint requires a login, and there is none.
        :raises marshmallow.ValidationError: the body is invalid.
        """
        state, endpoint = self._state, self.endpoint
        name, link, account = self.name, endpoint.link, endpoint.account
        if not self._is_enabled:
            raise EndpointDisabled
        if has_request_context():
            self._check_client(read)
        is_counted = False
        challenge: Challenge | None = None

        def count(names: Callable[[], Iterable[str]], user_id: str | None = None) -> None:
            nonlocal is_counted
            if not is_counted:  # once, however often the work is retried
                is_counted = True
                state.throttles.check_account(name, names, user_id=user_id)
                if self._causes_mail and has_request_context():
                    state.mail_budget.spend()

        def work() -> Any:
            nonlocal challenge
            # What the client gets if the account is suspended, or changed at the same moment.
            failure: Callable[[], APIError] = NotAuthenticated
            arguments: list[Any] = []
            if endpoint.login_required:
                arguments.append(state.sessions.user())
            body = read() if link or endpoint.code or self.schema else {}
            if self.gate:
                check_solution(body.pop("captcha", None))
            by_code = not link or "challenge" in body or not state.sends_links
            code = endpoint.code if by_code else None
            if link and self._link_schema and not code:
                params = load(self._link_schema, body)
                count(lambda: [params.user_id or str(params.email)])
                arguments.append(link.open(state, self._settings, params))
                failure = partial(LinkInvalid, user_id=params.user_id)
            if code and self._code_schema:
                given = load(self._code_schema, body)
                challenge = code.open(state, given)
                arguments.append(challenge)
                failure = ChallengeInvalid
            try:
                if self.schema:
                    arguments.append(load(self.schema, body))
                if endpoint.login_required:
                    user_id = state.users.identifier(arguments[0])
                    count(lambda: [user_id], user_id)
                elif account or self._causes_mail:
                    count(lambda: account(state, *arguments) if account else ())
                return self._function(*arguments, **values, **late())
            except AccountUnusable:
                raise failure() from None
            except ValidationError as error:
                if self.schema:
                    name_by_data_key(error, self.schema)
                raise

        start = perf_counter()
        try:
            result = with_retries(work, state.rollback)
            # The transaction is over, and its connection is back in the pool.
            sleep(max(0, self._timebox - (perf_counter() - start)))
            return result
        except LinkRefused as error:
            record(LINK_REFUSED, user_id=error.user_id, code=error.code)
            raise
        except (APIError, ValidationError):
            if challenge and not request_state().is_committed:
                with suppress(SQLAlchemyError):  # which may be what failed
                    state.challenges.give_back(challenge)
            raise

    def _check_client(self, read: Callable[[], dict[str, Any]]) -> None:
        """Count the request of a client, and ask the gate: always, or in place of the limit."""
        is_gate_asked = not self._lifts_limit
        try:
            self._state.throttles.check_client(self.name)
        except Throttled:
            if not self._lifts_limit:
                raise
            is_gate_asked = True
        if self.hashes:  # before the body is read
            self._state.passwords.check_queue()
        if self.gate and is_gate_asked:
            ask_gate(self.gate, self.name, read())

    def respond(self, result: Any) -> ResponseReturnValue:
        """Return the response for what the function of the endpoint has returned.

        It is the message of the endpoint with a dict as further fields, or the dict or list
        itself, or nothing. The function may also return a response.
        """
        message, status = self.endpoint.message, self.status
        if message:
            text = message if isinstance(message, str) else message(self._settings)
            return success(text, status, **(result or {}))
        if result is None:
            return Response(status=status)
        return (result, status) if isinstance(result, dict | list) else result
