"""The extension: reads the settings, builds the kit, mounts the flows on one blueprint."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from email.utils import formataddr
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Flask, current_app

from .accounts import create_user
from .attempts import RetrySettings
from .checks import check_dispatcher, check_surroundings, check_templates, check_values, declared_throttles
from .cooldown import Cooldown
from .delivery import Sender
from .dispatch import Mailer
from .dispatchers import make_dispatcher
from .errors import ConfigurationError
from .flow import Flow, mount
from .flows import DEFAULT_FLOWS, optional_flows
from .identity import Identity, LoginSettings
from .kit import Kit
from .languages import LanguageSettings, make_languages
from .links import Links, LinkSettings
from .logins import Kind, LoginStore
from .mail import Composer, Mail, MailSettings
from .openapi import OpenAPISettings, serve
from .openapi import check as check_openapi
from .outbox_settings import OutboxSettings
from .outbox_store import OutboxStore
from .passwords import Passwords, PasswordSettings
from .problems import answer_errors, complete_replies
from .settings import Settings, SettingsReader
from .signals import announce, mail_failed
from .sqla import SQLAlchemyUserStore
from .throttles import ThrottleSettings, make_throttles
from .tokens import SignedTokenManager, StoredTokenManager, TokenManager
from .usermodel import UserSettings, resolve
from .web import WebSettings

#: The rooms that have settings of their own, beside the flows.
ROOMS: tuple[type[Settings], ...] = (
    LinkSettings,
    UserSettings,
    PasswordSettings,
    LoginSettings,
    MailSettings,
    RetrySettings,
    OutboxSettings,
    WebSettings,
    LanguageSettings,
    OpenAPISettings,
    ThrottleSettings,
)


class Registration:
    """Gives an application its accounts.

    One object serves any number of applications; what belongs to one lives in its ``extensions["registration"]``.

    :param user_model: the mapped class of the users.
    :param login_model: the mapped class of sessions and tokens, ``class Login(LoginMixin, db.Model)``, if they shall
        be rows.
    :param outbox_model: the mapped class of mails that shall leave, ``class Outbox(OutboxMixin, db.Model)``, for the
        dispatcher ``"outbox"``.
    :param flows: the journeys, an application's own among them: ``[*DEFAULT_FLOWS, invite.flow]``.
    :raises ConfigurationError: with every problem of the configuration, each with its cure.
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
        self._user_model = user_model
        self._login_model = login_model
        self._outbox_model = outbox_model
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
        """Read the settings, check them, and put the endpoints on the application.

        Call it after ``db.init_app(app)`` and ``mail.init_app(app)``.

        :raises ConfigurationError: with every problem of the configuration, each with its cure.
        """
        kit, flows = _build_kit(
            app,
            user_model or self._user_model,
            login_model or self._login_model,
            outbox_model or self._outbox_model,
            self._flows,
        )
        blueprint = Blueprint(
            "registration", __name__, url_prefix=kit.group(WebSettings).url_prefix, template_folder="templates"
        )
        mount(flows, blueprint, app, kit)
        serve(blueprint, app, kit)
        answer_errors(blueprint, kit.group(WebSettings))
        complete_replies(blueprint, kit.languages)
        app.register_blueprint(blueprint)
        # Before Flask-SQLAlchemy's own: a connection that broke since must not cost a reply that is ready.
        app.teardown_appcontext(lambda error: kit.finish())
        app.extensions["registration"] = kit

    def create_user(self, *, password: str, verified: bool = True, **fields: Any) -> Any:
        """Make a user outside a request, as a registration would; the caller commits.

        Within an application context. ``fields`` may be any column of the model.

        :raises marshmallow.ValidationError: what a registration would refuse, a taken name or address among it.
        """
        return create_user(current_app.extensions["registration"], password=password, verified=verified, **fields)


def _build_kit(
    app: Flask,
    model: type[Any] | None,
    login_model: type[Any] | None,
    outbox_model: type[Any] | None,
    flows: Sequence[Flow[Any]],
) -> tuple[Kit, list[Flow[Any]]]:
    """The kit, and the flows that this application can have; or every problem at once."""
    reader = SettingsReader(app.config, model)
    groups = [reader.read(group) for group in (*ROOMS, *(flow.group for flow in flows))]
    fields = resolve(model, reader.read(UserSettings), reader)
    has_email = fields is None or fields.email is not None
    given = flows
    flows = [flow for flow in given if (login_model or not flow.needs_logins) and (has_email or not flow.needs_email)]
    mails = reader.read(MailSettings)
    sender = mails.verification_from_email or app.config.get("MAIL_DEFAULT_SENDER")
    check_surroundings(app, reader, sender, mail=any(flow.mails(reader.read(flow.group)) for flow in flows))
    check_dispatcher(app, reader, outbox_model, model)
    check_templates(app, reader, groups)
    for flow in flows:
        for check in flow.checks:
            check(reader.read(flow.group), fields, reader)
    check_values(reader)
    languages = make_languages(app, reader)
    check_openapi(app, reader, [endpoint.path for flow in flows for endpoint in flow.endpoints])
    throttles = make_throttles(app, reader, declared_throttles([*DEFAULT_FLOWS, *given]))
    settings = reader.finish(
        known=[*ROOMS, *(flow.group for flow in DEFAULT_FLOWS)],
        optional=lambda: {flow.group: flow.name for flow in optional_flows()},
    )
    if fields is None or languages is None:  # its problems were raised just now
        raise ConfigurationError(reader.problems)

    def tell_of_failure(mail: Mail, error: BaseException) -> None:
        try:
            user = users.get(mail.user_id)
        except Exception:  # the database may be what failed
            user = None
        announce(mail_failed, user=user, template=mail.template, error=error)

    def keys() -> list[str | bytes]:
        return signing_keys(current_app)

    db = app.extensions["sqlalchemy"]
    host = urlsplit(reader.read(LinkSettings).register_page).hostname
    site_name = mails.site_name or host or app.name
    users = SQLAlchemyUserStore(db, fields, test_environment=app.testing)
    mailer = Mailer(app, mails, Cooldown(throttles.store, mails.mail_cooldown), tell_of_failure)
    retries = reader.read(RetrySettings)
    outbox = None
    if outbox_model:
        outbox = Sender(app, mailer, OutboxStore(db, outbox_model, reader.read(OutboxSettings)), retries)
    login = reader.read(LoginSettings)
    periods: dict[Kind, timedelta] = {"session": app.permanent_session_lifetime, "token": login.auth_token_period}
    logins = LoginStore(db, login_model, users, periods) if login_model else None
    tokens: TokenManager
    if login.auth_token_manager_class:
        tokens = login.auth_token_manager_class()
    elif logins:
        tokens = StoredTokenManager(logins)
    else:
        tokens = SignedTokenManager(keys, users, login.auth_token_period)
    kit = Kit(
        settings=settings,
        fields=fields,
        users=users,
        links=Links(keys, users),
        passwords=Passwords(reader.read(PasswordSettings), [site_name, *(host or "").split("."), app.name]),
        composer=Composer(
            mails, formataddr(sender) if isinstance(sender, tuple) else sender or "", site_name, languages
        ),
        mailer=mailer,
        dispatcher=make_dispatcher(app, mails, retries, mailer, outbox),
        outbox=outbox,
        identity=Identity(app, users, fields.model, login, tokens, logins),
        languages=languages,
        tokens=tokens,
        logins=logins,
        throttles=throttles,
        flows=flows,
    )
    return kit, flows


def signing_keys(app: Flask) -> list[str | bytes]:
    """The keys that verify, oldest first; the last one signs, as itsdangerous has it."""
    return [*(app.config.get("SECRET_KEY_FALLBACKS") or ()), app.secret_key or ""]
