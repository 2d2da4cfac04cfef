"""Keys, links, cookies, throttles."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from flask import Flask

from ..identity import LoginSettings
from ..kit import Kit
from ..settings import PREFIX
from ..throttles import SETTING as THROTTLES
from .findings import Finding, note, warning

#: NIST SP 800-107: a key for HMAC-SHA-256 has 32 bytes, and text has fewer bits a byte than that.
KEY_LENGTH = 32

#: Hexadecimal text of this length has fewer different characters once in a million times.
KEY_VARIETY = 8

MAKE_KEY = "the output of python -c 'import secrets; print(secrets.token_hex())'"


def debugging(app: Flask, kit: Kit) -> Iterator[Finding]:
    """Modes that are not for visitors."""
    if app.debug:
        yield warning(
            "DEBUG",
            "is on: the debugger runs what a visitor types. (So https was not looked for.)",
            "run without --debug and FLASK_DEBUG",
        )
    if app.testing:
        yield warning("TESTING", "is on: no mail leaves, and errors are not handled.", "TESTING = False")


def secret_keys(app: Flask, kit: Kit) -> Iterator[Finding]:
    """Keys that can be guessed; an old one verifies as well as the new one."""
    fallbacks = app.config.get("SECRET_KEY_FALLBACKS") or ()
    for name, key in [("SECRET_KEY", app.secret_key or b""), *(("SECRET_KEY_FALLBACKS", old) for old in fallbacks)]:
        raw = key.encode() if isinstance(key, str) else key
        has = "has a key of" if name.endswith("S") else "has"
        if len(raw) < KEY_LENGTH:
            what = f"{len(raw)} bytes, fewer than {KEY_LENGTH}"
        elif len(set(raw)) < KEY_VARIETY:
            what = f"only {len(set(raw))} different characters"
        else:
            continue
        yield warning(name, f"{has} {what}: who guesses it makes links and sessions for every account.", MAKE_KEY)


def plain_links(app: Flask, kit: Kit) -> Iterator[Finding]:
    """Pages behind mailed links whose parameters anybody on the way can read."""
    for name, url in vars(kit.pages).items():
        parts = urlsplit(url or "")
        if parts.scheme == "http" and not is_local(parts.hostname) and not app.debug:
            yield warning(
                PREFIX + name.upper(),
                "is plain http: who reads the traffic can use the link first.",
                f'{PREFIX}{name.upper()} = "https://{parts.netloc}{parts.path}"',
            )


def cookies(app: Flask, kit: Kit) -> Iterator[Finding]:
    """What keeps a session's cookies from others."""
    if not kit.group(LoginSettings).login_authenticate_session:
        return
    config = {"REMEMBER_COOKIE_HTTPONLY": True, **app.config}
    names = ("SESSION_COOKIE_", "REMEMBER_COOKIE_")

    def off(attribute: str) -> list[str]:
        return [name + attribute for name in names if not config.get(name + attribute)]

    def setting_of(settings: list[str], says: str, value: str) -> Finding:
        are = "is" if len(settings) == 1 else "are"
        return warning(", ".join(settings), f"{are} {says}", "; ".join(f"{name} = {value}" for name in settings))

    if off("SECURE") and not app.debug:
        yield setting_of(off("SECURE"), "off: the cookie is sent over plain http as well.", "True")
    if off("HTTPONLY"):
        yield setting_of(off("HTTPONLY"), "off: a script that gets into a page reads the cookie.", "True")
    if off("SAMESITE"):
        yield setting_of(off("SAMESITE"), "not set: other sites can send requests with the cookie.", '"Lax"')
    everywhere = [name + "SAMESITE" for name in names if config.get(name + "SAMESITE") == "None"]
    if everywhere:
        yield note(
            ", ".join(everywhere),
            "let every site send requests with the cookie: a front end on another site needs that, nothing else does.",
            'leave it, or "Lax"',
        )


def throttles(app: Flask, kit: Kit) -> Iterator[Finding]:
    """Whether anybody may guess passwords as fast as they like."""
    state = kit.throttles.describe()
    if app.testing:  # which is a finding already
        return
    if state.reason:
        yield warning(
            THROTTLES,
            f"has no effect: passwords can be guessed as fast as the machine allows. {state.reason}",
            f"install Flask-Registration[limits], and leave {THROTTLES} and RATELIMIT_ENABLED alone",
        )
    elif state.storage == "memory" and not app.debug:
        yield warning(
            "RATELIMIT_STORAGE_URI",
            "is memory: each process counts for itself, so that with four workers one client may do four times as "
            "much, and after a restart anew. (With one process, that is all right.)",
            'RATELIMIT_STORAGE_URI = "redis://127.0.0.1:6379"',
        )


def is_local(host: str | None) -> bool:
    """Whether a host is this machine."""
    name = (host or "").lower().rstrip(".")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
