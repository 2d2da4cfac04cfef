"""Read the settings, run the checks, build the state, mount flows and optional packages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from email.utils import formataddr
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Flask
from werkzeug.utils import import_string

from .auth.links import Links, LinkSettings, front_end_pages, signing_keys
from .auth.passwords import Passwords, PasswordSettings, check_hasher
from .auth.sessions import LoginSettings, SessionManager
from .auth.tokens import Kind, LoginStore, SignedTokenManager, TokenManager
from .errors import ConfigurationError
from .flows.default import (
    DEFAULT_FLOWS,
    EXTRAS,
    OPTIONAL_FLOWS,
    PROBLEM_DETAILS,
    OptionalPackage,
)
from .http.accounts import create_user
from .http.flow import Flow, mount
from .http.responses import (
    HTTPSettings,
    LanguageSettings,
    add_response_headers,
    check_url_prefix,
    handle_errors,
    make_languages,
)
from .i18n.languages import Languages
from .mail.composer import Composer, MailSettings, check_templates
from .mail.dispatch import Mailer, RetrySettings, make_dispatcher
from .mail.limits import Cooldown
from .mail.message import Mail
from .settings import PREFIX, Settings, SettingsReader
from .signals import mail_failed
from .state import PASSWORD_CHANGED, Extra, RegistrationState, Setup, announce, current_registration
from .throttling.throttles import ThrottleSettings, make_throttles
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
)


class Registration:
    """Adds user accounts to an application.

    One object serves any number of applications; the state of one is at
    ``app.extensions["registration"]``.

    :param user_model: the mapped class of the users.
    :param login_model: the mapped class of sessions and tokens, if they are stored as rows:
        ``class Login(LoginMixin, db.Model)``.
    :param outbox_model: the mapped class of queued e-mails, for the dispatcher ``"outbox"``:
        ``class Outbox(OutboxMixin, db.Model)``.
    :param flows: the flows, also your own: ``[*DEFAULT_FLOWS, invite.flow]``.
    :raises ConfigurationError: with every problem of the configuration, each with a hint.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        user_model: type[Any] | None = None,
        login_model: type[Any] | None = None,
        outbox_model: type[Any] | None = None,
        flows: Sequence[Flow[Any]] = DEFAULT_FLOWS,
    ) -> None:
        self._models = {"user": user_model, "login": login_model, "outbox": outbox_model}
        self._flows = tuple(flows)
        if app is not None:
            self.init_app(app)

    def init_app(
        self,
        app: Flask,
        *,
        user_model: type[Any] | None = None,
        login_model: type[Any] | None = None,
        outbox_model: type[Any] | None = None,
    ) -> None:
        """Read the settings, check them, and add the endpoints to the application.

        Call it after ``db.init_app(app)`` and ``mail.init_app(app)``.

        :raises ConfigurationError: with every problem of the configuration, each with a hint.
        """
        given = {"user": user_model, "login": login_model, "outbox": outbox_model}
        models = {role: given[role] or model for role, model in self._models.items()}
        reader = SettingsReader(app.config, models["user"])
        setup, extras, fields, languages = _read(app, reader, models, self._flows)
        state = _build(setup, fields, languages)
        web = state.group(HTTPSettings)
        blueprint = Blueprint(
            "registration", __name__, url_prefix=web.url_prefix, template_folder="templates"
        )
        mount(setup.flows, blueprint, app, state)
        for extra in extras:
            extra.mount(blueprint, app, state)
        handle_errors(blueprint, web, PROBLEM_DETAILS)
        add_response_headers(blueprint, state.languages)
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


def _read(
    app: Flask,
    reader: SettingsReader,
    models: Mapping[str, Any],
    given: Sequence[Flow[Any]],
) -> tuple[Setup, list[Extra], UserFields, Languages]:
    """Read all settings and check the configuration.

    :raises ConfigurationError: with every problem at once.
    """
    for group in (*SETTINGS_GROUPS, *(flow.group for flow in given)):
        reader.read(group)
    fields = resolve(models["user"], reader.read(UserSettings), reader)
    has_email = fields is None or fields.email is not None
    flows = [
        flow
        for flow in given
        if (models["login"] or not flow.needs_logins) and (has_email or not flow.needs_email)
    ]
    known = [*DEFAULT_FLOWS, *given]
    setup = Setup(
        app=app,
        reader=reader,
        models=models,
        flows=flows,
        known_flows=known,
        throttles=make_throttles(app, reader, known),
    )
    _check_application(app, reader, flows)
    check_templates(app, reader)
    for flow in flows:
        for check in flow.checks:
            check(reader.read(flow.group), fields, reader)
    check_url_prefix(reader)
    check_hasher(reader)
    _check_login(reader)
    languages = make_languages(app, reader)
    extras = list(_load_extras(setup))
    for extra in extras:
        for group in extra.settings:
            reader.read(group)
        extra.prepare(setup)
    _finish_reading(reader)
    if fields is None or languages is None:  # their problems were raised before
        raise ConfigurationError(reader.problems)
    return setup, extras, fields, languages


def _check_application(app: Flask, reader: SettingsReader, flows: Iterable[Flow[Any]]) -> None:
    """Check what an application needs before the extension."""
    if not app.secret_key or not isinstance(app.secret_key, str | bytes):
        problem = "must be a string" if app.secret_key else "is not set"
        command = "python -c 'import secrets; print(secrets.token_hex())'"
        reader.problem("SECRET_KEY", f"{problem}. Set it to the output of {command}.")
    if "sqlalchemy" not in app.extensions:
        text = "is not initialized. Call db.init_app(app) before registration.init_app(app)."
        reader.problem("Flask-SQLAlchemy", text)
    if not any(flow.sends_mail(reader.read(flow.group)) for flow in flows):
        return
    if "mail" not in app.extensions:
        text = "is not initialized. Call mail.init_app(app) before registration.init_app(app)."
        reader.problem("Flask-Mail", text)
    if not _sender(app, reader):
        reader.problem(
            PREFIX + "VERIFICATION_FROM_EMAIL",
            "is not set, and neither is MAIL_DEFAULT_SENDER. Set one to the "
            'sender\'s e-mail address, for example "no-reply@example.com".',
        )


def _check_login(reader: SettingsReader) -> None:
    login = reader.read(LoginSettings)
    if not (login.login_authenticate_session or login.login_retrieve_token):
        reader.problem(
            PREFIX + "LOGIN_AUTHENTICATE_SESSION",
            f"is False, so a login has no effect. Set {PREFIX}LOGIN_RETRIEVE_TOKEN = True, "
            "or leave it True.",
        )


def _load_extras(setup: Setup) -> Iterable[Extra]:
    """Import the optional packages that this configuration asks for."""
    config, reader = setup.app.config, setup.reader
    for package in EXTRAS:
        is_asked_for = (
            any(key.startswith(PREFIX + package.settings) for key in config if package.settings)
            or (package.library and find_spec(package.library) is not None)
            or setup.models.get(package.name) is not None
            or reader.read(MailSettings).mail_dispatcher == package.name
        )
        if not is_asked_for:
            continue
        if package.requires and not find_spec(package.requires):
            reader.problem(
                f"{PREFIX}MAIL_DISPATCHER",
                f'is "{package.name}", which is not installed: '
                f'pip install "Flask-Registration[{package.name}]".',
            )
            continue
        yield package.load()


def _finish_reading(reader: SettingsReader) -> None:
    known = [*SETTINGS_GROUPS, *(flow.group for flow in DEFAULT_FLOWS)]
    inactive: dict[type[Settings], str] = {}
    if reader.unknown(known):  # import the rest only for the sake of the message
        known += [group for group in extra_settings(EXTRAS) if group not in known]
        inactive = {flow.group: flow.name for flow in map(import_string, OPTIONAL_FLOWS)}
    reader.finish(known, inactive)


def extra_settings(packages: Iterable[OptionalPackage]) -> list[type[Settings]]:
    """Return the groups of settings of optional packages whose libraries are installed."""
    installed = [each for each in packages if not each.requires or find_spec(each.requires)]
    return [group for package in installed for group in package.load().settings]


# Build


def _build(setup: Setup, fields: UserFields, languages: Languages) -> RegistrationState:
    app, reader = setup.app, setup.reader
    db = app.extensions["sqlalchemy"]
    links, mails, login = (
        reader.read(LinkSettings),
        reader.read(MailSettings),
        reader.read(LoginSettings),
    )
    host = urlsplit(links.register_verification_url or "").hostname
    site_name = mails.site_name or host or app.name
    users = UserStore(db, fields, test_environment=app.testing)

    def signal_failed_mail(mail: Mail, error: BaseException) -> None:
        try:
            user = users.get(mail.user_id)
        except Exception:  # the database may be what failed
            user = None
        announce(mail_failed, user=user, template=mail.template, error=error)

    model = setup.models["login"]
    periods: dict[Kind, timedelta] = {
        "session": app.permanent_session_lifetime,
        "token": login.auth_token_period,
    }
    logins = LoginStore(db, model, users, periods) if model else None
    tokens = _make_tokens(login, users, logins)
    sender = _sender(app, reader)
    mailer = Mailer(
        app,
        mails,
        Cooldown(setup.throttles.counters, mails.mail_cooldown),
        lambda mail: current_registration.compose(mail),
        signal_failed_mail,
    )
    return RegistrationState(
        settings=reader.groups,
        fields=fields,
        users=users,
        links=Links(signing_keys, users, links.verification_url_builder),
        pages=front_end_pages(reader.groups),
        passwords=Passwords(
            reader.read(PasswordSettings), [site_name, *(host or "").split("."), app.name]
        ),
        composer=Composer(
            mails,
            formataddr(sender) if isinstance(sender, tuple) else sender or "",
            site_name,
            languages,
        ),
        mailer=mailer,
        dispatcher=make_dispatcher(app, mailer, setup.dispatchers),
        sessions=SessionManager(
            app,
            users,
            login,
            tokens,
            logins,
            lambda: current_registration.sessions,
        ),
        languages=languages,
        tokens=tokens,
        logins=logins,
        throttles=setup.throttles,
        flows=setup.flows,
        known_flows=setup.known_flows,
        offers={
            name: function
            for flow in setup.flows
            for name, (function, is_enabled) in flow.offers.items()
            if is_enabled(reader.read(flow.group))
        },
        emails={
            email.name: email
            for email in (*(each for flow in setup.flows for each in flow.emails), PASSWORD_CHANGED)
        },
        extras={name: make(mailer) for name, make in setup.extras.items()},
    )


def _make_tokens(login: LoginSettings, users: UserStore, logins: LoginStore | None) -> TokenManager:
    if login.auth_token_manager_class:
        manager: TokenManager = login.auth_token_manager_class()
        return manager
    return logins or SignedTokenManager(signing_keys, users, login.auth_token_period)


def _sender(app: Flask, reader: SettingsReader) -> Any:
    mails = reader.read(MailSettings)
    return mails.verification_from_email or app.config.get("MAIL_DEFAULT_SENDER")
