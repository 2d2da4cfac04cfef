"""Read the settings, run the checks, build the state, mount flows and optional packages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, cast
from urllib.parse import urlsplit

from flask import Blueprint, Flask
from flask.typing import ResponseReturnValue

from .auth.links import Links, LinkSettings, front_end_pages, signing_keys
from .auth.passwords import Passwords, PasswordSettings
from .auth.sessions import LoginSettings, SessionManager
from .auth.tokens import Kind, LoginStore, SignedTokenManager, TokenManager
from .checks import Finding
from .errors import ConfigurationError, NotApproved, StepRequired
from .flows.default import DEFAULT_FLOWS, EXTRAS, PROBLEM_DETAILS
from .http.accounts import create_user
from .http.flow import Flow
from .http.gates import GateSettings
from .http.login import check_foreign_login
from .http.responses import (
    HTTPSettings,
    LanguageSettings,
    add_response_headers,
    handle_errors,
    handle_unknown_paths,
    load_languages,
)
from .http.routes import mount
from .i18n.languages import Languages
from .mail.brand import make_brand
from .mail.composer import Composer, MailSettings
from .mail.dispatch import Mailer, RetrySettings, make_dispatcher
from .mail.limits import MailLimits
from .mail.message import Mail, format_sender
from .mail.rendering import FOLDER, Templates
from .settings import Settings, read
from .signals import mail_failed
from .startup import CheckSettings, models_by_role, run_checks
from .state import PASSWORD_CHANGED, RegistrationState, Setup, announce, current_registration
from .throttling.throttles import MailBudget, ThrottleSettings, make_throttles, parse
from .users.fields import UserFields, UserSettings, resolve
from .users.store import UserStore

#: The groups of settings of the core, without those of the flows.
SETTINGS_GROUPS: tuple[type[Settings], ...] = (
    LinkSettings,
    UserSettings,
    PasswordSettings,
    LoginSettings,
    MailSettings,
    RetrySettings,
    HTTPSettings,
    LanguageSettings,
    ThrottleSettings,
    GateSettings,
    CheckSettings,
)


class Registration:
    """Adds user accounts to an application.

    One object serves any number of applications; the state of one is at
    ``app.extensions["registration"]``.

    :param user_model: the mapped class of the users.
    :param models: your other models for the extension. The mixin of a class says what it is for:
        ``LoginMixin`` for sessions and tokens as rows, ``OutboxMixin`` for queued e-mails,
        ``ChallengeMixin`` for codes in e-mails and for logins in steps, ``CredentialMixin`` for
        the second factor, ``ConsentMixin`` for accepted terms, ``InvitationMixin`` for invitations.
    :param flows: the flows, also your own: ``[*DEFAULT_FLOWS, invite.flow]``.
    :raises ConfigurationError: with every problem of the configuration, each with a hint.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        user_model: type[Any] | None = None,
        models: Sequence[type[Any]] = (),
        flows: Sequence[Flow[Any]] = DEFAULT_FLOWS,
    ) -> None:
        self._user_model = user_model
        self._models = _listed("models", models)
        self._flows = _listed("flows", flows)
        if app is not None:
            self.init_app(app)

    def init_app(
        self,
        app: Flask,
        *,
        user_model: type[Any] | None = None,
        models: Sequence[type[Any]] = (),
    ) -> None:
        """Read the settings, check them, and add the endpoints to the application.

        Call it after ``db.init_app(app)`` and ``mail.init_app(app)``.

        :raises ConfigurationError: with every problem of the configuration, each with a hint.
        """
        all_models = [*self._models, *_listed("models", models)]
        setup = _read(app, user_model or self._user_model, all_models, self._flows)
        state = _build(setup, cast(UserFields, setup.fields))
        web = state.group(HTTPSettings)
        blueprint = Blueprint(
            "registration", __name__, url_prefix=web.url_prefix, template_folder=str(FOLDER)
        )
        mount(setup.flows, blueprint, app, state)
        for package in setup.packages:
            package.mount(blueprint, app, state)
        respond = handle_errors(blueprint, web, PROBLEM_DETAILS)
        add_headers = add_response_headers(blueprint, state.languages)

        def respond_in_app(error: Exception) -> ResponseReturnValue:
            return add_headers(app.make_response(respond(error)))

        handle_unknown_paths(app, web.url_prefix, respond_in_app)
        for error in (NotApproved, StepRequired):  # in a view that calls actions.log_in
            app.register_error_handler(error, respond_in_app)
        app.register_blueprint(blueprint)
        # Before Flask-SQLAlchemy's own: a broken connection must not cost a response that is ready.
        app.teardown_appcontext(lambda error: state.finish())
        app.extensions["registration"] = state

    def create_user(self, *, password: str, verified: bool = True, **fields: Any) -> Any:
        """Create a user outside a request, as a registration does. The caller commits.

        Call it within an application context. ``fields`` may be any column of the model.

        :raises marshmallow.ValidationError: an invalid field, or a duplicate username or e-mail
            address.
        """
        return create_user(current_registration, password=password, verified=verified, **fields)


# Read and check


def _listed(name: str, value: Sequence[Any]) -> tuple[Any, ...]:
    """Return what was passed as a list.

    :raises TypeError: it is no list.
    """
    if not isinstance(value, list | tuple):
        raise TypeError(f"{name} must be a list, for example {name}=[...]; got {value!r}")
    return tuple(value)


def _check_flows(given: Sequence[Any]) -> Iterator[Finding]:
    for position, value in enumerate(given):
        if not isinstance(value, Flow):
            module = getattr(value, "__name__", "my_module").rpartition(".")[2]
            yield Finding(
                "registration.E081",
                "flows",
                f"has {value!r}, which is no flow. It would add no endpoints.",
                f"Pass the variable flow of its module: flows=[*DEFAULT_FLOWS, {module}.flow].",
            )
        elif value in given[:position]:
            yield Finding(
                "registration.E082",
                "flows",
                f"has the flow {value.name} twice. Its endpoints would be added twice.",
                "Remove one of them. DEFAULT_FLOWS may contain it.",
            )


def _read(
    app: Flask, user_model: Any, given_models: Sequence[Any], all_flows: Sequence[Any]
) -> Setup:
    """Read all settings, and check the configuration.

    :raises ConfigurationError: with every error at once.
    """
    findings: list[Finding] = []
    settings: dict[type[Settings], Settings] = {}
    models = {"user": user_model, **models_by_role(given_models, findings)}
    findings += _check_flows(all_flows)
    given_flows = [flow for flow in dict.fromkeys(all_flows) if isinstance(flow, Flow)]

    def read_all(groups: Iterable[type[Settings]]) -> None:
        for group in groups:
            settings[group] = read(group, app.config, user_model, findings)

    # Each group once: the flow gate has one of the core.
    read_all(dict.fromkeys([*SETTINGS_GROUPS, *(flow.group for flow in given_flows)]))
    fields = resolve(user_model, cast(UserSettings, settings[UserSettings]))
    has_email = fields is None or fields.email is not None
    flows = [
        flow
        for flow in given_flows
        if ("login" in models or not flow.needs_logins) and (has_email or not flow.needs_email)
    ]
    known = [*DEFAULT_FLOWS, *given_flows]
    setup = Setup(
        app=app,
        settings=settings,
        fields=fields,
        models=models,
        flows=flows,
        known_flows=known,
        throttles=make_throttles(
            app,
            cast(ThrottleSettings, settings[ThrottleSettings]),
            known,
            findings,
            login_fields=len(fields.login) if fields else 1,
            keys=signing_keys,
        ),
        findings=findings,
    )
    offers = setup.offers()
    setup.flows = [flow for flow in flows if flow.closed_by not in offers]
    wanted = [each for each in EXTRAS if each.is_installed and each.is_wanted(setup)]
    setup.packages = [package.load() for package in wanted]
    for package in setup.packages:
        read_all(package.settings)
    run_checks(setup)
    errors = [finding for finding in findings if finding.level == "error"]
    invalid = {error.subject for error in errors if error.id == "registration.E001"}
    # The default that is used in place of an invalid value causes no other error.
    errors = [
        error for error in errors if error.id == "registration.E001" or error.subject not in invalid
    ]
    if errors:
        raise ConfigurationError(errors)
    return setup


# Build


def _build(setup: Setup, fields: UserFields) -> RegistrationState:
    app, group = setup.app, setup.group
    db = app.extensions["sqlalchemy"]
    links, mails, login = group(LinkSettings), group(MailSettings), group(LoginSettings)
    host = urlsplit(links.register_verification_url or "").hostname
    site_name = mails.site_name or host or app.name
    chosen = group(LanguageSettings)
    offered = load_languages(app, chosen)
    languages = Languages([each for each in offered.values() if each], chosen.locale_selector)
    users = UserStore(db, fields, group(UserSettings), testing=app.testing)

    def signal_failed_mail(mail: Mail, error: BaseException) -> None:
        try:
            user = users.get(mail.user_id)
        except Exception:  # the database may be what failed
            user = None
        announce(mail_failed, user=user, template=mail.template, error=error)

    login_model, challenge_model = setup.models.get("login"), setup.models.get("challenge")
    periods: dict[Kind, timedelta] = {
        "session": app.permanent_session_lifetime,
        "token": login.auth_token_period,
    }
    logins = None
    if login_model:
        logins = LoginStore(db, login_model, users, periods, login.session_idle_period)
    windows = setup.throttles.counters.with_windows(sliding=True)
    limits = MailLimits(windows, parse(mails.mail_limits), setup.throttles.devices)
    challenges = None
    if challenge_model:
        from .auth.challenges import ChallengeStore
        from .auth.codes import CodesSettings

        # Without its flow, no challenge has a code.
        codes = cast(CodesSettings, setup.settings.get(CodesSettings, CodesSettings()))
        challenges = ChallengeStore(db, challenge_model, users, signing_keys, codes, limits.per_day)
    own_tokens = logins or SignedTokenManager(signing_keys, users, login.auth_token_period)
    make_tokens = login.auth_token_manager_class
    tokens: TokenManager = make_tokens() if make_tokens else own_tokens
    sender = mails.verification_from_email or app.config.get("MAIL_DEFAULT_SENDER")
    mailer = Mailer(
        app,
        mails,
        limits,
        lambda mail: current_registration.compose(mail),
        signal_failed_mail,
    )
    return RegistrationState(
        setup=setup,
        settings=setup.settings,
        fields=fields,
        users=users,
        links=Links(signing_keys, users, links.verification_url_builder),
        pages=front_end_pages(setup.settings),
        passwords=Passwords(
            group(PasswordSettings), [site_name, *(host or "").split("."), app.name]
        ),
        composer=Composer(
            mails,
            format_sender(sender or ""),
            site_name,
            languages,
            Templates(app, make_brand(mails.site_logo_url, mails.site_brand_color)),
        ),
        mailer=mailer,
        dispatcher=make_dispatcher(mailer, setup.dispatchers),
        sessions=SessionManager(
            app,
            users,
            login,
            tokens,
            logins,
            lambda: current_registration.sessions,
            lambda user: check_foreign_login(current_registration, user),
        ),
        languages=languages,
        tokens=tokens,
        logins=logins,
        challenge_store=challenges,
        throttles=setup.throttles,
        mail_budget=MailBudget(
            setup.throttles.counters.with_windows(sliding=False), parse(mails.mail_budget)
        ),
        flows=setup.flows,
        offers=setup.offers(),
        emails={
            email.name: email
            for email in (*(each for flow in setup.flows for each in flow.emails), PASSWORD_CHANGED)
        },
        extras={name: make(mailer) for name, make in setup.extras.items()},
    )
