"""Check keys, cookies, rate limits, e-mail and passwords of a running application."""

from __future__ import annotations

import ipaddress
import os
import re
import smtplib
from collections.abc import Iterator
from urllib.parse import urlsplit

from ..auth.links import declared_pages
from ..auth.passwords import PasswordSettings, long_enough, strong_enough
from ..auth.sessions import LoginSettings
from ..checks import LEVELS, Finding
from ..i18n.messages import duration
from ..mail.composer import MailSettings
from ..mail.dispatch import TimedConnection
from ..settings import PREFIX
from ..startup import CheckSettings, session_interface
from ..state import Check, Setup, current_registration
from ..users.fields import UserSettings
from ..users.identifiers import ignores_case
from . import database
from .database import describe

#: The minimum length of a key for HMAC-SHA-256 in bytes (NIST SP 800-107).
KEY_LENGTH = 32

#: Hexadecimal text of this length has fewer different characters once in a million times.
KEY_VARIETY = 8

#: NIST SP 800-63B-4 section 3.1.1.1: with a second factor, and if the password is the only factor.
MIN_LENGTH, MIN_LENGTH_ALONE = 8, 15

#: Our default zxcvbn score: more than 10^8 guesses.
MIN_STRENGTH = 3

#: OWASP Password Storage Cheat Sheet: the least memory in KiB, and the least memory times passes,
#: of its argon2id settings.
ARGON2_MEMORY, ARGON2_WORK = 7168, 35840


#: Environment variables of hosts that may stop a process after the response.
FREEZING_HOSTS = {
    "AWS_LAMBDA_FUNCTION_NAME": "AWS Lambda",
    "FUNCTIONS_WORKER_RUNTIME": "Azure Functions",
    "FUNCTION_TARGET": "Google Cloud Functions",
    "K_SERVICE": "Google Cloud Run",
    "VERCEL": "Vercel",
}


# The surroundings


def debugging(setup: Setup) -> Iterator[Finding]:
    """Report modes that are not for production."""
    if setup.app.debug:
        yield Finding(
            "registration.W006",
            "DEBUG",
            "is on. The interactive debugger lets visitors run code. HTTPS checks were skipped.",
            "Run the application without --debug and FLASK_DEBUG.",
        )
    if setup.app.testing:
        yield Finding(
            "registration.W007",
            "TESTING",
            "is on. No e-mail is sent, and errors are not handled.",
            "Set TESTING = False.",
        )


def secret_keys(setup: Setup) -> Iterator[Finding]:
    """Report weak keys; an old key verifies as well as the new one."""
    app = setup.app
    keys = [("SECRET_KEY", "", app.secret_key or b"")]
    for old in app.config.get("SECRET_KEY_FALLBACKS") or ():
        keys.append(("SECRET_KEY_FALLBACKS", "a key of ", old))
    for setting, a_key_of, key in keys:
        raw = key.encode() if isinstance(key, str) else key
        if len(raw) < KEY_LENGTH:
            weakness = f"{a_key_of}{len(raw)} bytes, fewer than {KEY_LENGTH}"
        elif len(set(raw)) < KEY_VARIETY:
            weakness = f"{a_key_of}only {len(set(raw))} different characters"
        else:
            continue
        yield Finding(
            "registration.W008",
            setting,
            f"has {weakness}. Anyone who guesses it can forge links and sessions for every "
            "account.",
            "Set it to the output of python -c 'import secrets; print(secrets.token_hex())'.",
        )


def plain_links(setup: Setup) -> Iterator[Finding]:
    """Report pages whose links can be read on the network."""
    for name, (url, _) in declared_pages(setup.settings).items():
        parts = urlsplit(url or "")
        if parts.scheme == "http" and not is_local(parts.hostname) and not setup.app.debug:
            setting = PREFIX + name.upper()
            place = parts.netloc + parts.path
            yield Finding(
                "registration.W009",
                setting,
                "is plain http. An attacker on the network can use the link first.",
                f'Set {setting} = "https://{place}".',
            )


def cookies(setup: Setup) -> Iterator[Finding]:
    """Report missing protection of the cookies."""
    if not setup.group(LoginSettings).login_authenticate_session:
        return
    off = (None, False, "")
    names, fixes = _cookies(setup, "SECURE", off, "True")
    if names and not setup.app.debug:
        yield Finding(
            "registration.W010",
            names,
            "must be True. The cookie is sent over plain http as well.",
            f"Set {fixes}.",
        )
    names, fixes = _cookies(setup, "HTTPONLY", off, "True")
    if names:
        yield Finding(
            "registration.W011",
            names,
            "must be True. A script that an attacker injects can read the cookie.",
            f"Set {fixes}.",
        )
    names, fixes = _cookies(setup, "SAMESITE", off, '"Lax"')
    if names:
        yield Finding(
            "registration.W012",
            names,
            'must be "Lax". Other sites can send requests with the cookie.',
            f"Set {fixes}.",
        )
    names, fixes = _cookies(setup, "SAMESITE", ("None",), '"Lax"')
    if names:
        yield Finding(
            "registration.N001",
            names,
            'is "None". Every site can send requests with the cookie, which only a front end on '
            "another site needs.",
            f"Leave it, or set {fixes}.",
        )


def _cookies(
    setup: Setup, attribute: str, refused: tuple[object, ...], value: str
) -> tuple[str, str]:
    """Return the settings of cookies that have a refused value, and what to set them to."""
    config = {"REMEMBER_COOKIE_HTTPONLY": True, **setup.app.config}
    names = [f"{cookie}_COOKIE_{attribute}" for cookie in ("SESSION", "REMEMBER")]
    wrong = [name for name in names if config.get(name) in refused]
    return ", ".join(wrong), "; ".join(f"{name} = {value}" for name in wrong)


def throttles(setup: Setup) -> Iterator[Finding]:
    """Report missing rate limits."""
    if setup.app.testing:  # which is a finding already
        return
    active = current_registration.throttles
    reason = active.off
    if reason:
        yield Finding(
            "registration.W013",
            "REGISTRATION_THROTTLES",
            f"has no effect. Passwords can be guessed as fast as the machine allows: {reason}",
            "Leave REGISTRATION_THROTTLES and RATELIMIT_ENABLED unset.",
        )
    elif active.counters.storage == "memory" and not setup.app.debug:
        yield Finding(
            "registration.W014",
            "RATELIMIT_STORAGE_URI",
            "is memory. Each process counts for itself: with four workers a client can send "
            "four times as many requests, and all counters start again after a restart.",
            'Set RATELIMIT_STORAGE_URI = "redis://127.0.0.1:6379". '
            "With one process, silence this warning.",
        )


def is_local(host: str | None) -> bool:
    """Return whether a host is this machine."""
    name = (host or "").lower().rstrip(".")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def csrf(setup: Setup) -> Iterator[Finding]:
    """Report that Flask-WTF refuses all requests, which have no CSRF token."""
    protect, config = setup.app.extensions.get("csrf"), setup.app.config
    is_on = config.get("WTF_CSRF_ENABLED", True) and config.get("WTF_CSRF_CHECK_DEFAULT", True)
    exempt = getattr(protect, "_exempt_blueprints", ["registration"])
    names = [getattr(each, "name", each) for each in exempt]  # a name in old versions
    if protect and is_on and "registration" not in names:
        yield Finding(
            "registration.W024",
            "CSRFProtect",
            "applies to the endpoints. They accept JSON only and need no token, so every request "
            "would return 400.",
            'Exempt them after init_app: csrf.exempt(app.blueprints["registration"]).',
        )


# E-mail


def frozen_process(setup: Setup) -> Iterator[Finding]:
    """Report a host that stops the process after the response."""
    host = next((name for key, name in FREEZING_HOSTS.items() if os.environ.get(key)), None)
    if host and setup.group(MailSettings).mail_dispatcher == "background":
        yield Finding(
            "registration.W025",
            "REGISTRATION_MAIL_DISPATCHER",
            f'is "background", and {host} stops the process after the response. E-mails that '
            "were not sent by then wait for the next request, or are lost.",
            'Set REGISTRATION_MAIL_DISPATCHER = "inline", or "outbox" with a scheduled '
            "`flask registration send-mail`.",
        )


def sending(setup: Setup) -> Iterator[Finding]:
    """Report e-mails that are dropped, or that can be read on the network."""
    mail = setup.app.extensions.get("mail")
    if mail is None:
        return
    if mail.suppress and not setup.app.testing:
        yield Finding(
            "registration.W015",
            "MAIL_SUPPRESS_SEND",
            "is on. No e-mail is sent, and no error is reported.",
            "Set MAIL_SUPPRESS_SEND = False.",
        )
    if is_local(mail.server):
        return
    if not (mail.use_tls or mail.use_ssl):
        yield Finding(
            "registration.W016",
            "MAIL_USE_TLS",
            f"is off, and {mail.server} is another machine. Links can be read on the network.",
            "Set MAIL_USE_TLS = True, with MAIL_PORT = 587; or MAIL_USE_SSL = True, with "
            "MAIL_PORT = 465.",
        )
    elif not setup.group(MailSettings).mail_verify_tls:
        yield Finding(
            "registration.W017",
            "REGISTRATION_MAIL_VERIFY_TLS",
            "is False. An attacker on the network can pose as the mail server.",
            "Set REGISTRATION_MAIL_VERIFY_TLS = True.",
        )


def mail_limits(setup: Setup) -> Iterator[Finding]:
    """Report that clients can flood a mailbox."""
    if not setup.group(MailSettings).mail_limits:
        yield Finding(
            "registration.W018",
            "REGISTRATION_MAIL_LIMITS",
            "is None. A client can cause any number of e-mails to an address.",
            'Set REGISTRATION_MAIL_LIMITS = "1/minute;5/hour;10/day".',
        )


def server(setup: Setup) -> Iterator[Finding]:
    """Connect to the mail server and log in, without sending an e-mail."""
    mail, settings = setup.app.extensions.get("mail"), setup.group(MailSettings)
    if mail is None:
        return
    sender = current_registration.composer.sender
    try:
        with TimedConnection(mail, settings, sender).configure_host() as host:
            host.ehlo_or_helo_if_needed()
            options = setup.group(UserSettings).email_validator_options
            if options.get("allow_smtputf8") and not host.has_extn("smtputf8"):
                yield Finding(
                    "registration.W028",
                    "REGISTRATION_EMAIL_VALIDATOR_OPTIONS",
                    "allows addresses with letters beyond ASCII, but the mail server does not "
                    "support SMTPUTF8. Users with such an address receive no e-mail.",
                    "Remove 'allow_smtputf8', or use another mail server.",
                )
    except (OSError, smtplib.SMTPException) as failure:
        reason = describe(failure)
        limit = duration(settings.mail_timeout)
        yield Finding(
            "registration.E037",
            "MAIL_SERVER",
            f"is {mail.server}, port {mail.port}, but the connection failed: {reason}, "
            f"within {limit}. E-mails cannot be sent.",
            "Check MAIL_SERVER, MAIL_PORT, MAIL_USE_TLS, MAIL_USE_SSL, MAIL_USERNAME, "
            "MAIL_PASSWORD.",
        )


# Accounts


def passwords(setup: Setup) -> Iterator[Finding]:
    """Report a password policy that allows weak passwords."""
    settings = setup.group(PasswordSettings)
    length, strength = settings.password_min_length, settings.password_min_strength
    if long_enough in settings.password_validators:
        if length < MIN_LENGTH:
            yield Finding(
                "registration.W019",
                "REGISTRATION_PASSWORD_MIN_LENGTH",
                f"is {length}. NIST requires at least 8, since short passwords are guessed fast.",
                "Set REGISTRATION_PASSWORD_MIN_LENGTH = 8.",
            )
        elif length < MIN_LENGTH_ALONE:
            yield Finding(
                "registration.N002",
                "REGISTRATION_PASSWORD_MIN_LENGTH",
                f"is {length}. NIST requires 15 without a second factor.",
                "Set REGISTRATION_PASSWORD_MIN_LENGTH = 15.",
            )
    if strong_enough in settings.password_validators and strength < MIN_STRENGTH:
        yield Finding(
            "registration.W020",
            "REGISTRATION_PASSWORD_MIN_STRENGTH",
            f"is {strength}. Passwords that are guessed fast are accepted.",
            "Set REGISTRATION_PASSWORD_MIN_STRENGTH = 3.",
        )


def hashing(setup: Setup) -> Iterator[Finding]:
    """Report weak parameters of the hasher."""
    example = current_registration.passwords.hash("an example")
    made = re.match(r"\$argon2id\$v=19\$m=(\d+),t=(\d+),", example)
    memory, passes = map(int, made.groups()) if made else (ARGON2_WORK, 1)
    if memory < ARGON2_MEMORY or memory * passes < ARGON2_WORK:
        yield Finding(
            "registration.W021",
            "REGISTRATION_PASSWORD_HASHER",
            f"hashes with m={memory}, t={passes}, less than OWASP requires. "
            "The passwords of a stolen table are guessed fast.",
            "Leave REGISTRATION_PASSWORD_HASHER unset, or set Argon2Hasher(memory_cost=19456, "
            "time_cost=2).",
        )


def usernames(setup: Setup) -> Iterator[Finding]:
    """Report usernames that may differ only in case."""
    fields = current_registration.fields
    name = fields.username
    if not name or name not in fields.login or fields.username_key:
        return
    column = fields.columns[name]
    indexes = [index for index in column.table.indexes if index.unique]
    expressions = [str(each).lower() for index in indexes for each in index.expressions]
    has_index = any("lower(" in text and column.name in text for text in expressions)
    if not ignores_case(column) and not has_index:
        yield Finding(
            "registration.W022",
            f"{fields.model.__name__}.{name}",
            "has no unique index that ignores case. "
            '"Alice" and "alice" are two accounts, and one can pose as the other.',
            "Derive the model from UserMixin, or add its column username_key.",
        )


def logins(setup: Setup) -> Iterator[Finding]:
    """Report that a stolen cookie stays valid after the logout."""
    if "login" not in setup.models:
        yield Finding(
            "registration.N003",
            "models",
            "has no model for sessions and tokens. "
            "A copied cookie or token stays valid after the logout, until it expires.",
            "Define class Login(LoginMixin, db.Model), and add Login to the list models of "
            "Registration or init_app.",
        )


CHECKS: tuple[Check, ...] = (
    debugging,
    secret_keys,
    plain_links,
    cookies,
    session_interface,  # it may be set after init_app
    throttles,
    csrf,
    frozen_process,
    sending,
    mail_limits,
    passwords,
    hashing,
    usernames,
    logins,
)


def run_checks(setup: Setup, *, with_mail: bool, with_database: bool) -> list[Finding]:
    """Return all findings, errors first, within an application context.

    Those that ``REGISTRATION_SILENCED_CHECKS`` names are left out.

    :param with_mail: connect to the mail server.
    :param with_database: compare the database with the models.
    """
    checks = list(CHECKS)
    if with_mail:
        checks.append(server)
    if with_database:
        checks.append(database.tables)
    found = [*setup.findings, *(finding for check in checks for finding in check(setup))]
    silenced = setup.group(CheckSettings).silenced_checks
    levels = list(LEVELS.values())
    return sorted(
        (finding for finding in found if finding.id not in silenced),
        key=lambda finding: levels.index(finding.level),
    )
