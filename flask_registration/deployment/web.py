"""Check keys, links, cookies and rate limits."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from ..auth.links import declared_pages
from ..auth.sessions import LoginSettings
from ..checks import Finding
from ..settings import PREFIX
from ..state import Check, Setup, current_registration

#: The minimum length of a key for HMAC-SHA-256 in bytes (NIST SP 800-107).
KEY_LENGTH = 32

#: Hexadecimal text of this length has fewer different characters once in a million times.
KEY_VARIETY = 8


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


CHECKS: tuple[Check, ...] = (debugging, secret_keys, plain_links, cookies, throttles)
