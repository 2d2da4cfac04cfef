"""Find what a deployment lacks. ``flask registration check`` runs this, and no request does."""

from __future__ import annotations

import ipaddress
import re
import smtplib
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from flask import Flask
from sqlalchemy import Engine, LargeBinary, Table, cast, func, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from .auth.links import declared_pages
from .auth.passwords import PasswordSettings, long_enough, strong_enough
from .auth.sessions import LoginSettings
from .checks import Finding, error, note, warning
from .i18n.messages import duration
from .mail.composer import MailSettings
from .mail.dispatch import TimedConnection
from .settings import PREFIX
from .state import RegistrationState
from .users.fields import is_unique

Check = Callable[[Flask, RegistrationState], Iterable[Finding]]

THROTTLES = PREFIX + "THROTTLES"

#: The minimum length of a key for HMAC-SHA-256 in bytes (NIST SP 800-107).
KEY_LENGTH = 32

#: Hexadecimal text of this length has fewer different characters once in a million times.
KEY_VARIETY = 8

MAKE_KEY = "the output of python -c 'import secrets; print(secrets.token_hex())'"

#: NIST SP 800-63B-4 section 3.1.1.1: with a second factor, and if the password is the only factor.
MIN_LENGTH, MIN_LENGTH_ALONE = 8, 15

#: Our default zxcvbn score: more than 10^8 guesses.
MIN_STRENGTH = 3

#: OWASP Password Storage Cheat Sheet: the least memory in KiB, and the least memory times passes,
#: of its argon2id settings.
ARGON2_MEMORY, ARGON2_WORK = 7168, 35840

MIGRATE = (
    "run your migrations, for example `flask db upgrade` (or db.create_all() for a missing table)"
)

# Keys, links, cookies, rate limits


def debugging(app: Flask, state: RegistrationState) -> Iterator[Finding]:
    """Report modes that are not for production."""
    if app.debug:
        yield warning(
            "DEBUG",
            "is on: the interactive debugger lets visitors run code. HTTPS checks were skipped.",
            "run without --debug and FLASK_DEBUG",
        )
    if app.testing:
        problem = "is on: no e-mail is sent, and errors are not handled."
        yield warning("TESTING", problem, "TESTING = False")


def secret_keys(app: Flask, state: RegistrationState) -> Iterator[Finding]:
    """Report weak keys; an old key verifies as well as the new one."""
    keys = [("SECRET_KEY", app.secret_key or b"")]
    keys += [("SECRET_KEY_FALLBACKS", old) for old in app.config.get("SECRET_KEY_FALLBACKS") or ()]
    for name, key in keys:
        raw = key.encode() if isinstance(key, str) else key
        has = "has a key of" if name.endswith("S") else "has"
        if len(raw) < KEY_LENGTH:
            size = f"{len(raw)} bytes, fewer than {KEY_LENGTH}"
        elif len(set(raw)) < KEY_VARIETY:
            size = f"only {len(set(raw))} different characters"
        else:
            continue
        harm = "anyone who guesses it can forge links and sessions for every account."
        yield warning(name, f"{has} {size}: {harm}", MAKE_KEY)


def plain_links(app: Flask, state: RegistrationState) -> Iterator[Finding]:
    """Report pages whose links can be read on the network."""
    for name, (url, _) in declared_pages(state.settings).items():
        parts = urlsplit(url or "")
        if parts.scheme == "http" and not is_local(parts.hostname) and not app.debug:
            yield warning(
                PREFIX + name.upper(),
                "is plain http: an attacker on the network can use the link first.",
                f'{PREFIX}{name.upper()} = "https://{parts.netloc}{parts.path}"',
            )


def cookies(app: Flask, state: RegistrationState) -> Iterator[Finding]:
    """Report missing protection of the cookies."""
    if not state.group(LoginSettings).login_authenticate_session:
        return
    config = {"REMEMBER_COOKIE_HTTPONLY": True, **app.config}
    names = ("SESSION_COOKIE_", "REMEMBER_COOKIE_")
    rules = [
        ("HTTPONLY", "off: a script that an attacker injects can read the cookie.", "True"),
        ("SAMESITE", "not set: other sites can send requests with the cookie.", '"Lax"'),
    ]
    if not app.debug:
        rules.insert(0, ("SECURE", "off: the cookie is sent over plain http as well.", "True"))
    for attribute, problem, value in rules:
        missing = [name + attribute for name in names if not config.get(name + attribute)]
        if missing:
            verb = "is" if len(missing) == 1 else "are"
            hint = "; ".join(f"{name} = {value}" for name in missing)
            yield warning(", ".join(missing), f"{verb} {problem}", hint)
    everywhere = [name + "SAMESITE" for name in names if config.get(name + "SAMESITE") == "None"]
    if everywhere:
        yield note(
            ", ".join(everywhere),
            "let every site send requests with the cookie. "
            "Only a front end on another site needs that.",
            'leave it, or "Lax"',
        )


def throttles(app: Flask, state: RegistrationState) -> Iterator[Finding]:
    """Report missing rate limits."""
    if app.testing:  # which is a finding already
        return
    if state.throttles.off:
        yield warning(
            THROTTLES,
            "has no effect: passwords can be guessed as fast as the machine allows. "
            f"{state.throttles.off}",
            f"leave {THROTTLES} and RATELIMIT_ENABLED unset",
        )
    elif state.throttles.counters.storage == "memory" and not app.debug:
        yield warning(
            "RATELIMIT_STORAGE_URI",
            "is memory: each process counts for itself. With four workers a client can send "
            "four times as many requests, and all counters start again after a restart. "
            "(One process is fine.)",
            'RATELIMIT_STORAGE_URI = "redis://127.0.0.1:6379"',
        )


def is_local(host: str | None) -> bool:
    """Return whether a host is this machine."""
    name = (host or "").lower().rstrip(".")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


# E-mail


def suppressed(app: Flask, state: RegistrationState) -> Iterator[Finding]:
    """Report that e-mails are dropped."""
    mail = app.extensions.get("mail")
    if mail is not None and mail.suppress and not app.testing:
        problem = "is on: no e-mail is sent, and no error is reported."
        yield warning("MAIL_SUPPRESS_SEND", problem, "MAIL_SUPPRESS_SEND = False")


def in_clear(app: Flask, state: RegistrationState) -> Iterator[Finding]:
    """Report a connection to the mail server that can be read on the network."""
    mail = app.extensions.get("mail")
    if mail is None or is_local(mail.server):
        return
    if not (mail.use_tls or mail.use_ssl):
        yield warning(
            "MAIL_USE_TLS",
            f"is off, and {mail.server} is another machine: links can be read on the network.",
            "MAIL_USE_TLS = True, with MAIL_PORT = 587; "
            "or MAIL_USE_SSL = True, with MAIL_PORT = 465",
        )
    elif not state.group(MailSettings).mail_verify_tls:
        yield warning(
            PREFIX + "MAIL_VERIFY_TLS",
            "is False: an attacker on the network can pose as the mail server.",
            f"{PREFIX}MAIL_VERIFY_TLS = True",
        )


def unlimited(app: Flask, state: RegistrationState) -> Iterator[Finding]:
    """Report that clients can flood a mailbox."""
    if not state.group(MailSettings).mail_cooldown:
        yield warning(
            PREFIX + "MAIL_COOLDOWN",
            "is 0: a client can cause any number of e-mails to an address.",
            f"{PREFIX}MAIL_COOLDOWN = 60",
        )


def server(app: Flask, state: RegistrationState) -> Iterator[Finding]:
    """Connect to the mail server and log in, without sending an e-mail."""
    mail, settings = app.extensions.get("mail"), state.group(MailSettings)
    if mail is None:
        return
    timeout, verify_tls = settings.mail_timeout.total_seconds(), settings.mail_verify_tls
    try:
        with TimedConnection(mail, timeout=timeout, verify_tls=verify_tls).configure_host() as host:
            host.ehlo_or_helo_if_needed()
    except (OSError, smtplib.SMTPException) as failure:
        yield error(
            "MAIL_SERVER",
            f"is {mail.server}, port {mail.port}. The connection failed: {describe(failure)}, "
            f"within {duration(settings.mail_timeout)}.",
            "check MAIL_SERVER, MAIL_PORT, MAIL_USE_TLS, MAIL_USE_SSL, MAIL_USERNAME, "
            "MAIL_PASSWORD",
        )


def describe(failure: BaseException) -> str:
    """Return an error in one line of printable text."""
    words: Any = getattr(failure, "smtp_error", None) or failure
    text = words.decode("ascii", "replace") if isinstance(words, bytes) else str(words)
    printable = "".join(letter if letter.isprintable() else " " for letter in text[:300])
    return f"{type(failure).__name__}: {' '.join(printable.split()).rstrip('.?!')}"


# Accounts


def flows(app: Flask, state: RegistrationState) -> Iterator[Finding]:
    """Report what the flows find in their settings."""
    for flow in state.flows:
        for check in flow.deployment_checks:
            yield from check(state.group(flow.group))


def passwords(app: Flask, state: RegistrationState) -> Iterator[Finding]:
    """Report a password policy that allows weak passwords."""
    settings = state.group(PasswordSettings)
    name, length = f"{PREFIX}PASSWORD_MIN_LENGTH", settings.password_min_length
    checks_length = long_enough in settings.password_validators
    if checks_length and length < MIN_LENGTH:
        problem = f"is {length}; NIST requires at least {MIN_LENGTH}."
        yield warning(name, problem, f"{name} = {MIN_LENGTH}")
    elif checks_length and length < MIN_LENGTH_ALONE:
        problem = f"is {length}; NIST requires {MIN_LENGTH_ALONE} without a second factor."
        yield note(name, problem, f"{name} = {MIN_LENGTH_ALONE}")
    name, strength = f"{PREFIX}PASSWORD_MIN_STRENGTH", settings.password_min_strength
    if strong_enough in settings.password_validators and strength < MIN_STRENGTH:
        problem = f"is {strength}: passwords of the usual lists are accepted."
        yield warning(name, problem, f"{name} = {MIN_STRENGTH}")


def hashing(app: Flask, state: RegistrationState) -> Iterator[Finding]:
    """Report weak parameters of the hasher."""
    made = re.match(r"\$argon2id\$v=19\$m=(\d+),t=(\d+),", state.passwords.hash("an example"))
    memory, passes = map(int, made.groups()) if made else (ARGON2_WORK, 1)
    if memory < ARGON2_MEMORY or memory * passes < ARGON2_WORK:
        yield warning(
            PREFIX + "PASSWORD_HASHER",
            f"hashes with m={memory}, t={passes}, less than OWASP requires: "
            "the passwords of a stolen table are guessed fast.",
            f"leave {PREFIX}PASSWORD_HASHER unset, or Argon2Hasher(memory_cost=19456, time_cost=2)",
        )


def usernames(app: Flask, state: RegistrationState) -> Iterator[Finding]:
    """Report usernames that may differ only in case."""
    name = state.fields.username
    if not name or name not in state.fields.login or state.fields.username_key:
        return
    column, model = state.fields.columns[name], state.fields.model.__name__
    collation = str(getattr(column.type, "collation", None) or type(column.type).__name__).lower()
    ignores_case = collation.endswith(("_ci", "nocase", "citext"))
    indexes = [index for index in column.table.indexes if index.unique]
    expressions = [str(each).lower() for index in indexes for each in index.expressions]
    has_index = any("lower(" in text and column.name in text for text in expressions)
    if not ignores_case and not has_index:
        yield warning(
            f"{model}.{name}",
            'has no unique index that ignores case: "Alice" and "alice" are two accounts, '
            "and one can pose as the other.",
            "derive the model from UserMixin, or add its column username_key",
        )


def logins(app: Flask, state: RegistrationState) -> Iterator[Finding]:
    """Report that a stolen cookie stays valid after the logout."""
    if state.logins is None:
        yield note(
            "login_model",
            "is not set: a copied cookie or token stays valid after the logout, until it expires.",
            "registration.init_app(app, user_model=User, login_model=Login)",
        )


# The database


def stored(app: Flask, state: RegistrationState) -> Iterator[Finding]:
    """Compare the tables with the models, and look for upper-case e-mail addresses."""
    session = app.extensions["sqlalchemy"].session
    outbox = state.extras.get("outbox")
    stores = [state.logins, outbox and outbox.store]
    for model in [state.fields.model, *(store.model for store in stores if store)]:
        engine = session.get_bind(inspect(model))
        try:
            tables = inspect(model).tables
            found = [finding for table in tables for finding in _missing(engine, table)]
            if not found and model is state.fields.model:
                found = list(_upper_case(session, engine, state))
        except SQLAlchemyError as failure:
            reason = describe(getattr(failure, "orig", None) or failure)
            yield error(
                "SQLALCHEMY_DATABASE_URI",
                f"is {engine.url.render_as_string()}. The connection failed: {reason}.",
                "start the database, or correct SQLALCHEMY_DATABASE_URI",
            )
            return
        yield from found


def _missing(engine: Engine, table: Table) -> Iterator[Finding]:
    database = inspect(engine)
    name, schema = table.name, table.schema
    if not database.has_table(name, schema=schema):
        yield error(f"Table {name}", "is missing in the database.", MIGRATE)
        return
    columns = {column["name"] for column in database.get_columns(name, schema=schema)}
    missing = [column.name for column in table.columns if column.name not in columns]
    if missing:
        names = ", ".join(missing)
        yield error(f"Table {name}", f"has no column {names} in the database.", MIGRATE)
    unique: list[Any] = [database.get_pk_constraint(name, schema=schema)["constrained_columns"]]
    constraints = database.get_unique_constraints(name, schema=schema)
    unique += [each["column_names"] for each in constraints]
    indexes = database.get_indexes(name, schema=schema)
    unique += [each["column_names"] for each in indexes if each["unique"]]
    for column in table.columns:
        if column.name in columns and is_unique(column) and [column.name] not in unique:
            yield error(
                f"{name}.{column.name}",
                "is unique in the model and not in the database: "
                "two registrations at the same time both succeed.",
                f"a migration that creates a unique index on {name} ({column.name})",
            )


def _upper_case(session: Any, engine: Engine, state: RegistrationState) -> Iterator[Finding]:
    """Report rows from before the extension: look-ups are in lower case."""
    if state.fields.email is None:
        return
    attribute = getattr(state.fields.model, state.fields.email)
    column = state.fields.columns[state.fields.email]
    differs = attribute != func.lower(attribute)
    if engine.dialect.name in ("mysql", "mariadb"):  # whose collations ignore case
        differs = cast(attribute, LargeBinary) != cast(func.lower(attribute), LargeBinary)
    count = session.scalar(select(func.count()).where(differs))
    if count:
        yield warning(
            f"{column.table.name}.{column.name}",
            f"has upper-case addresses (rows: {count}). "
            "Look-ups are in lower case, so these users cannot log in.",
            f"a migration that sets {column.name} to lower({column.name}), "
            "after duplicates are resolved",
        )


#: The checks of the configuration, in the order of the report.
CHECKS: tuple[Check, ...] = (
    debugging,
    secret_keys,
    plain_links,
    cookies,
    throttles,
    suppressed,
    in_clear,
    unlimited,
    flows,
    passwords,
    hashing,
    usernames,
    logins,
)


def run_checks(
    app: Flask, state: RegistrationState, *, mail_server: bool, database: bool
) -> list[Finding]:
    """Return all findings, within an application context.

    :param mail_server: connect to the mail server.
    :param database: compare the database with the models.
    """
    checks = [*CHECKS, *([server] if mail_server else []), *([stored] if database else [])]
    return [finding for check in checks for finding in check(app, state)]
