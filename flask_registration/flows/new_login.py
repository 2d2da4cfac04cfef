"""Send a notice about a login in a new browser, with a link that ends it. Optional.

An application adds the flow to the default ones and switches the notice on:
``Registration(flows=[*DEFAULT_FLOWS, new_login.flow])``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ..auth.links import OpenedLink, Purpose
from ..auth.passwords import unusable_hash
from ..checks import Finding
from ..errors import MailUnavailable
from ..http.bodies import SuccessSchema
from ..http.flow import EndpointLink, Flow
from ..i18n.languages import current_request
from ..i18n.messages import Message, duration
from ..mail.message import Mail
from ..request_state import client_address
from ..security_log import LOGIN_REPORTED
from ..settings import Settings, setting
from ..state import RegistrationState, Setup
from ..users.mixins import utc_now
from ..users.stamps import SecurityStamp, next_stamp
from ..users.store import User

#: What user agents contain, with the name to show. The first one counts: most browsers also claim
#: to be others.
BROWSERS = {
    "Edg": "Edge",
    "OPR/": "Opera",
    "SamsungBrowser": "Samsung Internet",
    "Firefox": "Firefox",
    "FxiOS": "Firefox",
    "Chrome": "Chrome",
    "CriOS": "Chrome",
    "Safari": "Safari",
}
SYSTEMS = {
    "Windows": "Windows",
    "Android": "Android",
    "iPhone": "iPhone",
    "iPad": "iPad",
    "CrOS": "ChromeOS",
    "Mac OS X": "macOS",
    "Linux": "Linux",
}


@dataclass(frozen=True, kw_only=True)
class NewLoginSettings(Settings):
    """New-login notice."""

    new_login_notice_enabled: bool = setting(
        False,
        "Whether the user receives an e-mail about a login in a browser or with a client in which "
        "the account has not logged in before.",
    )
    report_login_url: str | None = setting(
        None,
        "The page that ends a login that was not the user's.",
        page="report-login/",
        beside="REGISTER_VERIFICATION_URL",
    )
    report_login_period: timedelta = setting(
        timedelta(days=7), "How long the link of the notice is valid."
    )


def _is_enabled(settings: NewLoginSettings) -> bool:
    return settings.new_login_notice_enabled


flow: Flow[NewLoginSettings] = Flow(
    "new_login", NewLoginSettings, sends_mail=_is_enabled, needs_email=True
)

#: Not bound to the whole security stamp, which the client that logged in can change. What an
#: administrator does ends it.
REPORT = Purpose(
    "report-login",
    binds=lambda user: (
        user.email,
        user.password_hash,
        SecurityStamp.parse(user.security_stamp).prefix,
    ),
    stamped=False,
)


# The notice


@flow.email(
    "new_login",
    when="the account logs in in a new browser",
    enabled=lambda state: state.provided("new_login_notice") is not None,
    limited=False,
    example={
        "address": None,
        "time": "2026-01-31 12:00 UTC",
        "device": "Firefox, Linux",
        "ip_address": "192.0.2.1",
    },
)
def new_login_email(
    state: RegistrationState,
    user: User,
    address: str | None,
    time: str,
    device: str | None,
    ip_address: str | None,
) -> dict[str, Any]:
    """Return the template variables.

    :param address: the e-mail address at the time of the login. If the account has another one when
        the e-mail is sent, it has no link.
    """
    about = {"time": time, "device": device, "ip_address": ip_address, "verification_url": None}
    if not _has_address(state, user, address):
        return about
    period = state.group(NewLoginSettings).report_login_period
    url = state.links.url(REPORT, user, state.pages["report_login_url"])
    return {**about, "verification_url": url, "valid_for": duration(period)}


def _has_address(state: RegistrationState, user: User, address: str | None) -> bool:
    """Return whether an account still has the address to which an e-mail is sent."""
    return address in (None, state.users.snapshot(user).email)


@flow.provides("new_login_notice", enabled=_is_enabled)
def new_login_notice(state: RegistrationState, user: User, names: Sequence[str]) -> list[Mail]:
    """Return the e-mail about a login, unless this browser is known or it is the first login.

    Call it before the login is written.

    :param names: the names by which the user logs in.
    """
    request, address = current_request(), state.users.snapshot(user).email
    is_first = "last_login" in state.fields.columns and user.last_login is None
    find = state.throttles.devices.find
    is_known = bool(names) and all(find(name) for name in names)
    if request is None or not address or is_first or is_known:
        return []
    about = {
        "address": address,
        "time": f"{utc_now():%Y-%m-%d %H:%M} UTC",
        "device": device_name(request.user_agent.string),
        "ip_address": client_address(),
    }
    return [state.mail(new_login_email, user, **about)]


def device_name(user_agent: str) -> str | None:
    """Return the browser and the system of a user agent, else the first word.

    An attacker chooses the text, so the e-mail must not contain all of it.
    """
    names = [
        next((name for mark, name in known.items() if mark in user_agent), None)
        for known in (BROWSERS, SYSTEMS)
    ]
    if any(names):
        return ", ".join(filter(None, names))
    match = re.match(r"[A-Za-z][\w-]{0,39}", user_agent, re.ASCII)
    return match and match[0]


# The link


@flow.email(
    "login_reported",
    when="the user reported a login, with the link of the notice",
    enabled=lambda state: state.provided("new_login_notice") is not None,
    limited=False,
)
def login_reported_email(
    state: RegistrationState, user: User, address: str | None = None
) -> dict[str, Any]:
    """Return the template variables, with a link to choose a new password.

    :param address: as in :func:`new_login_email`.
    """
    is_current = _has_address(state, user, address)
    link: dict[str, Any] | None = state.call("reset_link", user) if is_current else None
    return link or {"verification_url": None}


@flow.post(
    "/report-login/",
    link=EndpointLink(
        purpose=lambda settings: REPORT, period=lambda settings: settings.report_login_period
    ),
    response=SuccessSchema,
    message=Message("You were logged out on all devices"),
    errors=[MailUnavailable],
    enabled=_is_enabled,
    throttles={"client": "60/minute"},
)
def report_login(link: OpenedLink) -> None:
    """End every session and token, with the parameters of the link of a notice.

    The client that logged in may know the password, so it is removed. The user receives a link to
    choose a new one.

    :raises AccountUnusable: the account changed at the same moment, for example by another use of
        this link.
    """
    state = flow.state
    user, seen, _ = link
    changes = {
        "password_hash": unusable_hash(),
        "security_stamp": next_stamp(seen.security_stamp),
    }
    state.users.change(user, seen, changes)
    state.sessions.end_logins(user)
    state.commit(state.mail(login_reported_email, user, address=seen.email))
    state.record(LOGIN_REPORTED, user)


# Checks


@flow.check
def check(setup: Setup) -> Iterator[Finding]:
    """Check that the link has a page, and that the user can choose a password afterwards."""
    if not setup.group(NewLoginSettings).new_login_notice_enabled:
        return
    yield from setup.check_page("REPORT_LOGIN_URL")
    if "reset_link" not in setup.offers():
        yield Finding(
            "registration.W029",
            "REGISTRATION_NEW_LOGIN_NOTICE_ENABLED",
            "is True, but users cannot reset a password. The link of the notice removes the "
            "password, and the user cannot choose another one.",
            "Set REGISTRATION_RESET_PASSWORD_VERIFICATION_ENABLED = True.",
        )
