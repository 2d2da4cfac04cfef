"""The checks of the configuration that ``init_app`` runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import Field, dataclass
from dataclasses import fields as dataclass_fields
from difflib import get_close_matches
from typing import Any

import jinja2
from flask.sessions import SecureCookieSessionInterface
from flask_sqlalchemy import SQLAlchemy
from werkzeug.test import EnvironBuilder
from werkzeug.utils import import_string

from .auth.links import LinkSettings
from .auth.sessions import LoginSettings
from .checks import Finding
from .flows.default import DEFAULT_FLOWS, EXTRAS, OPTIONAL_FLOWS, extra_settings
from .http.responses import LanguageSettings, load_languages
from .i18n.languages import shipped
from .mail.composer import MailSettings, parse_templates
from .mail.message import check_mailbox, format_sender
from .settings import PREFIX, Settings, invalid, keys, setting
from .state import Check, Setup
from .users.checks import check_model
from .users.fields import UserSettings, model_columns


def _check_silenced(ids: Sequence[str]) -> None:
    for each in ids:
        if not re.fullmatch(r"\w+\.[WN]\d+", each):
            raise ValueError('must have ids of warnings and notes, such as "registration.W014"')


@dataclass(frozen=True, kw_only=True)
class CheckSettings(Settings):
    """Checks of the configuration."""

    silenced_checks: tuple[str, ...] = setting(
        (),
        "Ids of warnings and notes that `flask registration check` leaves out, for example "
        '`["registration.W014"]`.',
        validate=_check_silenced,
    )


# The models


def models_by_role(models: Iterable[Any], found: list[Finding]) -> dict[str, Any]:
    """Return the models by the role that their mixin gives them.

    :param found: receives the findings.
    """
    roles: dict[str, Any] = {}
    for model in models:
        name = getattr(model, "__name__", repr(model))
        role = getattr(model, "__registration_role__", None)
        if role is None or model_columns(model) is None:
            found.append(
                Finding(
                    "registration.E055",
                    "models",
                    f"has {name}, which is not a model with a mixin of the extension. "
                    "The mixin says what a model is for.",
                    "Derive the class from the mixin and from db.Model, for example "
                    "class Login(LoginMixin, db.Model). Pass the model of the users as user_model.",
                )
            )
        elif roles.setdefault(role, model) is not model:
            other_name = roles[role].__name__
            found.append(
                Finding(
                    "registration.E056",
                    "models",
                    f"has both {other_name} and {name}, which have the same mixin. "
                    "There can be one table for it.",
                    "Pass one of the two classes.",
                )
            )
    return roles


def missing_models(setup: Setup) -> Iterator[Finding]:
    """Report flows whose model is missing, and a model that refuses rows of a flow."""
    for flow in setup.flows:
        for role in flow.needs_models:
            if role not in setup.models:
                model = role.capitalize()
                yield Finding(
                    "registration.E057",
                    "models",
                    f"has no {model}, which the flow {flow.name} needs. "
                    "The flow stores rows in its table.",
                    f"Define class {model}({model}Mixin, db.Model), and add {model} to the list "
                    "models of Registration or init_app.",
                )
    columns = model_columns(setup.models.get("challenge"))
    if columns and not columns["user_id"].nullable:
        name = setup.models["challenge"].__name__
        yield Finding(
            "registration.E064",
            f"{name}.user_id",
            "is NOT NULL. A request about an unknown account stores a row without a user. It would "
            "fail, which reveals who has an account.",
            "Declare it with Mapped[int | None], or with mapped_column(..., nullable=True).",
        )


def codes(setup: Setup) -> Iterator[Finding]:
    """Report codes in e-mails without the flow that reads them."""
    method = setup.group(LinkSettings).verification_method
    if method != "link" and "code_variables" not in setup.offers():
        yield Finding(
            "registration.E059",
            "REGISTRATION_VERIFICATION_METHOD",
            f"is {method!r}, which needs the flow codes. No endpoint would accept a code.",
            "from flask_registration.flows import codes, and pass "
            "flows=[*DEFAULT_FLOWS, codes.flow] to Registration.",
        )


# The application


def conflicts(setup: Setup) -> Iterator[Finding]:
    """Report what an application has that keeps the endpoints from being added or found."""
    app = setup.app
    if "registration" in app.extensions:
        yield Finding(
            "registration.E048",
            "Registration",
            "is initialized twice for one application. An application has one user model.",
            "Call init_app once. For a second user model, create a second Flask application and "
            "mount it with werkzeug.middleware.dispatcher.DispatcherMiddleware.",
        )
    elif "registration" in app.blueprints:
        yield Finding(
            "registration.E049",
            "The blueprint 'registration'",
            "exists in the application. The extension adds its endpoints as a blueprint of this "
            "name.",
            'Register yours with another name: app.register_blueprint(yours, name="talks").',
        )
    if app.url_map.host_matching:
        yield Finding(
            "registration.E050",
            "host_matching",
            "is on. The endpoints have no host, so every request would return 404.",
            "Create the application with Flask(..., host_matching=False). To serve several hosts, "
            "register the extension in a Flask application of its own for one host.",
        )


def application(setup: Setup) -> Iterator[Finding]:
    """Report what an application needs before the extension."""
    app = setup.app
    if not app.secret_key or not isinstance(app.secret_key, str | bytes):
        yield Finding(
            "registration.E004",
            "SECRET_KEY",
            "must be a string, and not empty. It signs sessions, tokens and links.",
            "Set it to the output of python -c 'import secrets; print(secrets.token_hex())'.",
        )
    if "sqlalchemy" not in app.extensions:
        yield Finding(
            "registration.E005",
            "Flask-SQLAlchemy",
            "is not initialized. Accounts are stored with it.",
            "Call db.init_app(app) before registration.init_app(app).",
        )
    elif not isinstance(app.extensions["sqlalchemy"], SQLAlchemy):
        yield Finding(
            "registration.E051",
            "Flask-SQLAlchemy",
            "is missing: another extension is registered as 'sqlalchemy'. "
            "Accounts are stored with Flask-SQLAlchemy.",
            "Use db = SQLAlchemy(), with SQLAlchemy from flask_sqlalchemy.",
        )
    if not any(flow.sends_mail(setup.group(flow.group)) for flow in setup.flows):
        return
    if "mail" not in app.extensions:
        yield Finding(
            "registration.E006",
            "Flask-Mail",
            "is not initialized. E-mails are sent with it.",
            "Call mail.init_app(app) before registration.init_app(app).",
        )
    sender = setup.group(MailSettings).verification_from_email
    if any(each.subject == "REGISTRATION_VERIFICATION_FROM_EMAIL" for each in setup.findings):
        return
    if not (sender or app.config.get("MAIL_DEFAULT_SENDER")):
        yield Finding(
            "registration.E007",
            "REGISTRATION_VERIFICATION_FROM_EMAIL",
            "is not set, and neither is MAIL_DEFAULT_SENDER. An e-mail needs a sender.",
            "Set one to the sender's e-mail address, for example "
            'REGISTRATION_VERIFICATION_FROM_EMAIL = "no-reply@example.com".',
        )
    elif not sender:
        yield from _default_sender(app.config["MAIL_DEFAULT_SENDER"])


def _default_sender(sender: Any) -> Iterator[Finding]:
    try:
        address = format_sender(sender)
        check_mailbox(address or repr(sender))  # an empty one would not be checked
    except (TypeError, ValueError, AttributeError):
        yield Finding(
            "registration.E047",
            "MAIL_DEFAULT_SENDER",
            f"is {sender!r}, which is not an e-mail address. Mail servers refuse it.",
            'Set it to an e-mail address, for example "no-reply@example.com", or to a name and an '
            'e-mail address, for example ("Example", "no-reply@example.com").',
        )


def packages(setup: Setup) -> Iterator[Finding]:
    """Report optional packages that are asked for and not installed."""
    for package in EXTRAS:
        if package.is_wanted(setup) and not package.is_installed:
            yield Finding(
                "registration.E009",
                "REGISTRATION_MAIL_DISPATCHER",
                f'is "{package.name}", which is not installed. E-mails could not be sent.',
                f'Install it: pip install "Flask-Registration[{package.name}]".',
            )


def login(setup: Setup) -> Iterator[Finding]:
    """Report that a login makes neither a session nor a token."""
    settings = setup.group(LoginSettings)
    if not (settings.login_authenticate_session or settings.login_retrieve_token):
        yield Finding(
            "registration.E008",
            "REGISTRATION_LOGIN_AUTHENTICATE_SESSION",
            "is False, and so is REGISTRATION_LOGIN_RETRIEVE_TOKEN. A login has no effect.",
            "Set REGISTRATION_LOGIN_RETRIEVE_TOKEN = True, or leave "
            "REGISTRATION_LOGIN_AUTHENTICATE_SESSION True.",
        )


def session_interface(setup: Setup) -> Iterator[Finding]:
    """Report a session interface with which a login is not possible, or not secure."""
    app, settings = setup.app, setup.group(LoginSettings)
    interface = app.session_interface
    if isinstance(interface, SecureCookieSessionInterface):
        return
    if not settings.login_authenticate_session:
        return
    try:
        opened = interface.open_session(app, app.request_class(EnvironBuilder().get_environ()))
    except Exception:  # it needs what only a client sends
        return
    name = type(interface).__name__
    if opened is None or interface.is_null_session(opened):
        if not settings.login_retrieve_token:
            yield Finding(
                "registration.E042",
                "session_interface",
                f"is {name}, which opens no session. A login has no effect.",
                "Set REGISTRATION_LOGIN_RETRIEVE_TOKEN = True, or use sessions.",
            )
    elif not (hasattr(interface, "regenerate") or hasattr(opened, "sid")):
        yield Finding(
            "registration.E043",
            "session_interface",
            f"is {name}, which cannot give a session a new id. "
            "An attacker who sets the id in a browser would be logged in with its user.",
            "Add a method regenerate(session), which gives the session a new id and deletes what "
            "is stored under the old one. If a cookie holds the session, let it do nothing.",
        )


def templates(setup: Setup) -> Iterator[Finding]:
    """Report templates of e-mails that are not found.

    The application's Jinja environment is not created yet.
    """
    package = jinja2.PackageLoader("flask_registration")
    loader = jinja2.ChoiceLoader([setup.app.create_global_jinja_loader(), package])
    for group in setup.settings.values():
        for field in dataclass_fields(group):
            if field.name.endswith("_email_templates"):
                yield from _missing_templates(loader, field, getattr(group, field.name))


def _missing_templates(
    loader: jinja2.BaseLoader, field: Field[Any], value: Any
) -> Iterator[Finding]:
    name = PREFIX + field.name.upper()
    try:
        names = parse_templates(value)
    except ValueError as error:
        yield invalid(name, value, error, field.metadata)
        return
    environment = jinja2.Environment()  # noqa: S701 -- renders nothing
    for template in filter(None, names):
        try:
            loader.get_source(environment, template)
        except jinja2.TemplateNotFound:
            yield Finding(
                "registration.E010",
                name,
                f"names the template {template!r}, which is not found. "
                "The e-mail could not be rendered.",
                "Create it, or correct the name.",
            )


def languages(setup: Setup) -> Iterator[Finding]:
    """Report languages that cannot be offered."""
    offered = load_languages(setup.app, setup.group(LanguageSettings))
    for name, language in offered.items():
        if language is None:
            available = ", ".join(shipped())
            yield Finding(
                "registration.E011",
                "REGISTRATION_LANGUAGES",
                f"names {name!r}, which has no catalog. Messages could not be translated.",
                f"Remove it, or add a catalog. Available languages: {available}.",
            )


# The user model


def user_model(setup: Setup) -> Iterator[Finding]:
    """Report what is wrong with the user model, and with the settings that name its columns."""
    return check_model(setup.models["user"], setup.group(UserSettings), setup.fields)


# The names of settings

#: Earlier settings, each with the one that replaces it.
REPLACED = {"REGISTRATION_MAIL_COOLDOWN": "REGISTRATION_MAIL_LIMITS"}


def unknown_settings(setup: Setup) -> Iterator[Finding]:
    """Report keys that begin with ``REGISTRATION_`` and are not settings of this application."""
    known = {*keys(setup.settings), *keys(flow.group for flow in DEFAULT_FLOWS)}
    config = setup.app.config
    unknown = [key for key in config if key.startswith(PREFIX) and key not in known]
    if not unknown:
        return  # the rest is imported only for the sake of the message
    known.update(keys(extra_settings()))
    flows = [import_string(path) for path in OPTIONAL_FLOWS]
    inactive = {key: flow.name for flow in flows for key in keys([flow.group])}
    for key in unknown:
        if key in inactive:
            flow = inactive[key]
            yield Finding(
                "registration.E020",
                key,
                f"belongs to the flow {flow}, which is not mounted. It has no effect.",
                f"Pass flows=[*DEFAULT_FLOWS, {flow}.flow] to Registration.",
            )
        else:
            near = _similar(key, sorted(known))
            guess = f"Correct the name: did you mean {near}?" if near else "Remove it."
            if key in REPLACED:
                guess = f"Set {REPLACED[key]} in its place."
            yield Finding(
                "registration.E019",
                key,
                "is not a setting. It has no effect.",
                f"{guess} `flask registration settings` prints all settings.",
            )


def _similar(key: str, known: Sequence[str]) -> str | None:
    """Return the setting that a key may mean: the same with words in front, or a similar one."""
    name, names = key.removeprefix(PREFIX), [each.removeprefix(PREFIX) for each in known]
    longer = [each for each in names if "_" in name and each.endswith(f"_{name}")]
    near = sorted(longer, key=len) or get_close_matches(name, names, n=1, cutoff=0.7)
    return PREFIX + near[0] if near else None


CHECKS: tuple[Check, ...] = (
    conflicts,
    application,
    user_model,
    missing_models,
    codes,
    templates,
    login,
    session_interface,
    languages,
    packages,
    unknown_settings,
)


def run_checks(setup: Setup) -> None:
    """Run the checks of the core, of the flows and of the optional packages."""
    flow_checks = [check for flow in setup.flows for check in flow.checks]
    for check in (*CHECKS, *flow_checks, *(package.prepare for package in setup.packages)):
        setup.findings.extend(check(setup))
