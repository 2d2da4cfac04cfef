"""Rate limits of the endpoints: for each client, for each account, and for all e-mails."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal

from flask import Flask, request
from limits import RateLimitItem, RateLimitItemPerHour, parse_many

from ..checks import Finding
from ..errors import Throttled
from ..request_state import client_address
from ..security_log import MAIL_BUDGET_EXCEEDED, THROTTLED, record
from ..settings import PREFIX, Settings, setting
from .counters import Counters, make_counters
from .devices import Devices

SETTING = PREFIX + "THROTTLES"

#: The counters of the budget of e-mails: of its requests, and of what is logged about them.
REQUESTS, LOGGED = ("mail/budget", ""), ("mail/budget-logged", "")

#: How often several processes log the same.
ONCE = [RateLimitItemPerHour(1)]

EXCEEDED = (
    "The budget of e-mails is exceeded: %s. Requests that may cause an e-mail get 429 for "
    "%.0f seconds. `flask registration lift-mail-budget` ends that."
)


@dataclass(frozen=True, kw_only=True)
class ThrottleSettings(Settings):
    """Rate limits of clients and accounts."""

    throttles: Mapping[str, Any] | Literal[False] | None = setting(
        None,
        "Overrides the default rate limits of endpoints: "
        '`{"login": {"client": "60/minute", "account": "10/5 minutes"}}`. '
        "None for an endpoint removes its limits. False removes all limits.",
        default_text="the limits on the page Throttling; none with `TESTING`",
    )
    known_device_period: timedelta = setting(
        timedelta(days=365),
        "How long a browser in which a user has logged in has its own limit for that account, "
        "by a signed cookie, so that guesses of others do not lock the user out. 0 for no cookie.",
    )


@dataclass(eq=False)
class Throttles:
    """Refuses requests over the limits of the endpoints.

    :ivar configured: the limits by endpoint and kind, ``"client"`` or ``"account"``.
    :ivar shares: how many names of an account share its limit, by endpoint; else one has it.
    :ivar devices: the browsers that have a limit of their own for an account.
    :ivar reason: a sentence that says why no limit is ever active, if there is one.
    """

    counters: Counters
    configured: Mapping[str, Mapping[str, str]]
    shares: Mapping[str, int]
    devices: Devices
    reason: str | None
    has_warned: bool = False

    @property
    def off(self) -> str | None:
        """Return a sentence that says why no limit is active now; None if limits are active."""
        idle = f"TESTING is on, and {SETTING} is not set." if self.counters.is_idle else None
        return self.reason or idle

    def limits(self, endpoint: str) -> Mapping[str, str]:
        """Return the active limits of an endpoint, for example ``{"client": "60/minute"}``."""
        return {} if self.off else self.configured.get(endpoint, {})

    def check_client(self, endpoint: str) -> None:
        """Count a request of the current client, before anything else.

        :raises Throttled: the client sent too many requests.
        """
        self._count(endpoint, "client", lambda: [client_name(client_address())])

    def check_account(
        self, endpoint: str, names: Callable[[], Iterable[str]], *, user_id: str | None = None
    ) -> None:
        """Count a request about an account, before it is looked up, whether or not it exists.

        In a browser in which the account has logged in before, it has another counter.

        :param names: returns names of the account in normal form.
        :param user_id: the verification id of the current user, for the security log.
        :raises Throttled: too many requests are about the account.
        """
        self._count(endpoint, "account", names, user_id=user_id)

    def clear_account(self, endpoint: str, names: Iterable[str]) -> None:
        """Reset the counters of an account, for all clients that are not known devices."""
        limits = self._parsed(endpoint, "account")
        for name in names:
            self.counters.clear(f"{endpoint}/account", name, limits)

    def remember_device(
        self,
        endpoint: str,
        names: Sequence[str],
        *,
        emails: Sequence[str] = (),
        always: bool = False,
    ) -> None:
        """Give this browser a counter of its own, after the owner of an account has logged in.

        Reset the counter that was in use: in a known device its own, and no counter of others.

        :param emails: its verified e-mail addresses, for the limits of e-mails.
        :param always: set the cookie without a limit, too.
        """
        limits = self._parsed(endpoint, "account")
        if limits:
            for name in names:
                self.counters.clear(*self._counter(f"{endpoint}/account", name), limits)
        if limits or emails or always:
            self.devices.remember(names, emails)

    def _counter(self, scope: str, name: str) -> tuple[str, str]:
        """Return the scope and the name of a counter: a known device has its own."""
        device = self.devices.find(name) if scope.endswith("/account") else None
        return (f"{scope}/device", f"{device} {name}") if device else (scope, name)

    def _parsed(self, endpoint: str, kind: str) -> list[RateLimitItem]:
        """Return the limits of one name, which may be a share."""
        share = self.shares.get(endpoint, 1) if kind == "account" else 1
        return parse(self.limits(endpoint).get(kind), share)

    def _count(
        self,
        endpoint: str,
        kind: str,
        names: Callable[[], Iterable[str]],
        *,
        user_id: str | None = None,
    ) -> None:
        limits = self._parsed(endpoint, kind)
        if not limits:
            return
        for name in names():
            wait = self.counters.hit(*self._counter(f"{endpoint}/{kind}", name), limits)
            if wait is not None:
                if kind == "client":
                    self._warn_about_proxy()
                text = self.limits(endpoint)[kind]
                record(THROTTLED, user_id=user_id, scope=kind, limit=text)
                raise Throttled(wait)

    def _warn_about_proxy(self) -> None:
        """Log once that all clients may count as one: behind a proxy, without ProxyFix."""
        is_forwarded = "X-Forwarded-For" in request.headers
        has_fix = "werkzeug.proxy_fix.orig" in request.environ
        if is_forwarded and not has_fix and not self.has_warned:
            self.has_warned = True
            self.counters.app.logger.warning(
                "A client was throttled whose requests a proxy had forwarded. If the proxy is "
                "yours, all clients count as one: set up werkzeug.middleware.proxy_fix.ProxyFix."
            )


@dataclass(eq=False)
class MailBudget:
    """Refuses requests that may cause an e-mail, over the limits for all of them together.

    :ivar counters: counts in fixed windows, so that it is exceeded until the window is over.
    :ivar limits: the shortest time first; empty for no budget.
    :ivar is_exceeded: whether this process has refused the last of these requests.
    """

    counters: Counters
    limits: list[RateLimitItem]
    is_exceeded: bool = False

    def spend(self) -> None:
        """Count a request, before it reads the account.

        :raises Throttled: the budget is exceeded. Only the first of these requests is logged.
        """
        wait = self.counters.hit(*REQUESTS, self.limits)
        if wait is None:
            if self.is_exceeded:
                self._allow_log()
            return
        if not self.is_exceeded:
            self.is_exceeded = True
            if self.counters.hit(*LOGGED, ONCE) is None:
                limits = ", ".join(map(str, self.limits))
                self.counters.app.logger.error(EXCEEDED, limits, wait)
                record(MAIL_BUDGET_EXCEEDED, limit=limits)
        raise Throttled(wait)

    def left(self) -> dict[RateLimitItem, tuple[int, float]]:
        """Return how many requests each limit still allows, and the seconds until more."""
        return {limit: self.counters.stats(*REQUESTS, limit) for limit in self.limits}

    def lift(self) -> bool:
        """Count from zero again, if the budget is exceeded. Return whether it was."""
        if all(left for left, _ in self.left().values()):
            return False
        self.counters.clear(*REQUESTS, self.limits)
        self._allow_log()
        return True

    def _allow_log(self) -> None:
        self.is_exceeded = False
        self.counters.clear(*LOGGED, ONCE)


def client_name(address: str | None) -> str:
    """Return what counts as one client: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:  # a Unix socket's
        return address or ""
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(parsed) >> 64 << 64))


@cache
def parse(text: str | None, share: int = 1) -> list[RateLimitItem]:
    """Parse limits in the notation of Flask-Limiter, the shortest time first.

    :param text: None or empty for no limit.
    :param share: divide each limit by this number. It allows at least one request.
    :raises ValueError: it is not in that notation.
    """
    limits = sorted(parse_many(text) if text else [], key=lambda limit: limit.get_expiry())
    return [type(limit)(max(1, limit.amount // share), limit.multiples) for limit in limits]


def check_notation(text: str) -> None:
    """Refuse what is not in the notation of Flask-Limiter, and a limit of zero.

    :raises ValueError: with the end of a sentence that begins with "is 'x', but".
    """
    try:
        amounts = [limit.amount for limit in parse_many(text)]
    except ValueError:
        amounts = [0]
    if not all(amounts):
        raise ValueError('must be limits, for example "1/minute;5/hour;10/day"')


# Set up


def make_throttles(
    app: Flask,
    settings: ThrottleSettings,
    flows: Iterable[Any],
    found: list[Finding],
    *,
    login_fields: int,
    keys: Callable[[], Sequence[bytes]],
) -> Throttles:
    """Make the rate limits of an application.

    :param flows: the flows, each a ``Flow``, whose endpoints the setting may name.
    :param found: receives the findings.
    :param login_fields: how many login fields an account has.
    :param keys: returns the application's keys, oldest first.
    """
    chosen = settings.throttles
    counters = make_counters(app, found, in_tests=chosen is not None)
    endpoints = {endpoint.name: endpoint for flow in flows for endpoint in flow.endpoints}
    limits = _read_limits(chosen or {}, endpoints, found)
    reason = None
    if chosen is False:
        reason = f"{SETTING} is False."
    elif not app.config.get("RATELIMIT_ENABLED", True):
        reason = "RATELIMIT_ENABLED is False."
    elif not any(limits.values()):
        reason = f"{SETTING} leaves no limit."
    shares = {name: login_fields for name, each in endpoints.items() if each.split_limit}
    devices = Devices(keys, settings.known_device_period)
    return Throttles(counters, limits, shares, devices, reason)


def _read_limits(
    chosen: Mapping[str, Any], endpoints: Mapping[str, Any], found: list[Finding]
) -> dict[str, Mapping[str, str]]:
    """Return the limits of each endpoint: the application's, else its own."""
    for name in chosen:
        if name not in endpoints:
            near = get_close_matches(str(name), endpoints, n=1, cutoff=0)[0]
            found.append(
                Finding(
                    "registration.E033",
                    "REGISTRATION_THROTTLES",
                    f"names {name!r}, which is no endpoint. The limit has no effect.",
                    f"Correct the name: did you mean {near!r}?",
                )
            )
    limits = {}
    for name, endpoint in endpoints.items():
        try:
            declared = chosen.get(name, endpoint.throttles) or {}
            limits[name] = _check_limits(declared, names_account=endpoint.names_account)
        except ValueError as error:
            found.append(
                Finding(
                    "registration.E034",
                    "REGISTRATION_THROTTLES",
                    f"has an invalid limit for {name!r}: {error}. Requests could not be counted.",
                    'Correct the limit, for example "60/minute;1000/hour".',
                )
            )
    return limits


def _check_limits(declared: Any, *, names_account: bool) -> Mapping[str, str]:
    """Return the limits of an endpoint by kind.

    :raises ValueError: with the reason.
    """
    if not isinstance(declared, Mapping) or not declared.keys() <= {"client", "account"}:
        allowed = "set a dict with 'client', 'account' or both, or None"
        raise ValueError(f"it is {declared!r}; {allowed}")
    if declared.get("account") and not names_account:
        raise ValueError("its requests name no account; set 'client' only")
    limits = {kind: text for kind, text in declared.items() if text}
    for text in limits.values():
        try:
            parse(text)
        except (TypeError, ValueError):
            example = 'write it like "10/minute" or "10/minute;100/hour"'
            raise ValueError(f"{text!r} is no limit; {example}") from None
    return limits
