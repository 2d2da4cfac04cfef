"""Rate limits of the endpoints: for each client, and for each account."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple

from flask import Flask, request

from ..errors import Throttled
from ..http.flow import Endpoint
from ..mail.limits import Limit
from ..security_log import THROTTLED, record
from ..settings import PREFIX, Settings, SettingsReader, setting
from ..state import Extra, Setup, Throttles, ThrottlingStatus
from .storage import SharedLimitStore, find_backend, is_installed

SETTING = PREFIX + "THROTTLES"
INSTALL = "pip install 'Flask-Registration[limits]'"


@dataclass(frozen=True, kw_only=True)
class ThrottleSettings(Settings):
    """Rate limits of clients and accounts."""

    throttles: Mapping[str, Any] | Literal[False] | None = setting(
        None,
        "Overrides the default rate limits of endpoints: "
        '`{"login": {"client": "60/minute", "account": "10/5 minutes"}}`. '
        "None for an endpoint removes its limits. False removes all limits. Needs Flask-Limiter.",
        default_text="the limits on the page Throttling; "
        "none with `TESTING` or without Flask-Limiter",
    )


class Limits(NamedTuple):
    """Limits as a text, and parsed: the shortest time first."""

    text: str = ""
    items: tuple[Limit, ...] = ()


class Rule(NamedTuple):
    """The limits of an endpoint."""

    client: Limits = Limits()
    account: Limits = Limits()


NO_RULE = Rule()


class CountingThrottles(Throttles):
    """Counts requests and refuses those over a limit.

    :param off: the reason why no limit is active, if there is one.
    :param in_tests: whether limits are active with ``app.testing`` too.
    """

    def __init__(
        self,
        app: Flask,
        store: SharedLimitStore,
        rules: Mapping[str, Rule],
        *,
        off: str | None,
        in_tests: bool,
    ) -> None:
        self._app = app
        self._rules = rules
        self._off = off
        self._in_tests = in_tests
        self._warned = False
        self.store = store

    def status(self) -> ThrottlingStatus:
        """Return whether limits apply, and why if not."""
        reason = self._off
        if reason is None and self._app.testing and not self._in_tests:
            reason = f"TESTING is on, and {SETTING} is not set."
        has_limits = any(rule.client.items or rule.account.items for rule in self._rules.values())
        if reason is None and not has_limits:
            reason = f"{SETTING} leaves no limit."
        return ThrottlingStatus(self.store.name, reason)

    def limits(self, endpoint: str) -> Mapping[str, str]:
        """Return the limits of an endpoint, by kind."""
        rule = self._rule(endpoint)
        return {name: limits.text for name, limits in rule._asdict().items() if limits.items}

    def check_client(self, endpoint: str) -> None:
        """Count a request of the current client, before anything else.

        :raises Throttled: the client sent too many requests.
        """
        limits = self._rule(endpoint).client
        if limits.items:
            wait = self._hit(f"{endpoint}/client", client_name(request.remote_addr), limits)
            if wait is not None:
                self._warn_about_proxy()
                record(THROTTLED, scope="client", limit=limits.text)
                raise Throttled(wait)

    def check_account(
        self, endpoint: str, names: Callable[[], Iterable[str]], *, user_id: str | None = None
    ) -> None:
        """Count a request about an account, before it is looked up, whether or not it exists.

        :param names: returns names of the account in normal form.
        :param user_id: the verification id of the current user, for the security log.
        :raises Throttled: too many requests are about the account.
        """
        limits = self._rule(endpoint).account
        for name in names() if limits.items else ():
            wait = self._hit(f"{endpoint}/account", name, limits)
            if wait is not None:
                record(THROTTLED, user_id=user_id, scope="account", limit=limits.text)
                raise Throttled(wait)

    def clear_account(self, endpoint: str, names: Iterable[str]) -> None:
        """Clear the counters of an account."""
        for limit in self._rule(endpoint).account.items:
            for name in names:
                self.store.clear(f"{endpoint}/account", name, limit)

    def _rule(self, endpoint: str) -> Rule:
        if self._off or (self._app.testing and not self._in_tests):
            return NO_RULE
        return self._rules.get(endpoint, NO_RULE)

    def _hit(self, scope: str, name: str, limits: Limits) -> float | None:
        waits = (self.store.hit(scope, name, limit) for limit in limits.items)
        return next((wait for wait in waits if wait is not None), None)

    def _warn_about_proxy(self) -> None:
        """Log once that all clients may count as one: behind a proxy, without ProxyFix."""
        is_forwarded = "X-Forwarded-For" in request.headers
        has_fix = "werkzeug.proxy_fix.orig" in request.environ
        if is_forwarded and not has_fix and not self._warned:
            self._warned = True
            self._app.logger.warning(
                "A client was throttled whose requests a proxy had forwarded. If the proxy is "
                "yours, all clients count as one: set up werkzeug.middleware.proxy_fix.ProxyFix."
            )


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


# Set up


def prepare(setup: Setup) -> None:
    """Make the rate limits of an application; problems of the setting are added to the reader."""
    app, reader = setup.app, setup.reader
    chosen = reader.read(ThrottleSettings).throttles
    if chosen and not is_installed():
        reader.problem(SETTING, f"needs Flask-Limiter, which is not installed: {INSTALL}.")
    off = _reason_off(app, chosen)
    endpoints = {each.name: each for flow in setup.known_flows for each in flow.endpoints}
    rules = {} if off else _rules(chosen or {}, reader, endpoints)
    in_tests = chosen is not None
    backend = None if _is_disabled(app) else find_backend(app, reader)
    store = SharedLimitStore(app, backend, in_tests=in_tests)
    setup.store = store
    setup.throttles = CountingThrottles(app, store, rules, off=off, in_tests=in_tests)


def _is_disabled(app: Flask) -> bool:
    return not app.config.get("RATELIMIT_ENABLED", True)


def _reason_off(app: Flask, chosen: Mapping[str, Any] | Literal[False] | None) -> str | None:
    if chosen is False:
        return f"{SETTING} is False."
    if not is_installed():
        return f"Flask-Limiter is not installed: {INSTALL}."
    return "RATELIMIT_ENABLED is False." if _is_disabled(app) else None


def _rules(
    chosen: Mapping[str, Any], reader: SettingsReader, endpoints: Mapping[str, Endpoint[Any]]
) -> dict[str, Rule]:
    """Return the rule of each endpoint: the application's, else its own."""
    for name in chosen:
        if name not in endpoints:
            near = get_close_matches(str(name), endpoints, n=1, cutoff=0)[0]
            reader.problem(SETTING, f"names {name!r}, which is no endpoint; did you mean {near!r}?")
    rules = {}
    for name, declared in endpoints.items():
        try:
            rules[name] = _rule(chosen.get(name, declared.throttles) or {}, declared)
        except ValueError as error:
            reader.problem(SETTING, f"invalid limit for {name!r}: {error}.")
    return rules


def _rule(throttles: Any, declared: Endpoint[Any]) -> Rule:
    """Parse the limits of an endpoint.

    :raises ValueError: with the reason.
    """
    if not isinstance(throttles, Mapping) or not throttles.keys() <= {"client", "account"}:
        allowed = "set a dict with 'client', 'account' or both, or None"
        raise ValueError(f"it is {throttles!r}; {allowed}")
    if throttles.get("account") and not declared.names_account:
        raise ValueError("its requests name no account; set 'client' only")
    return Rule(_limits(throttles.get("client")), _limits(throttles.get("account")))


def _limits(text: Any) -> Limits:
    """Parse limits in the notation of Flask-Limiter.

    :raises ValueError: with the reason.
    """
    if not text:
        return Limits()
    from limits import parse_many

    try:
        items = parse_many(text)
    except ValueError:
        example = 'write it like "10/minute" or "10/minute;100/hour"'
        raise ValueError(f"{text!r} is no limit; {example}") from None
    limits = [Limit(item.amount, item.get_expiry()) for item in items]
    return Limits(text, tuple(sorted(limits, key=lambda limit: limit.seconds)))


extra: Extra = Extra(settings=(ThrottleSettings,), prepare=prepare)
