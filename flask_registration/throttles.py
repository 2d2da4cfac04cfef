"""How often one client may ask an endpoint, and how often anybody may ask it about one account."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple

from flask import Flask, request

from .counters import Limit
from .errors import Throttled
from .events import THROTTLED, record
from .settings import PREFIX, Settings, SettingsReader, setting
from .stores import Store, find_backend, is_installed

SETTING = PREFIX + "THROTTLES"
EXTRA = "pip install 'Flask-Registration[limits]'"


@dataclass(frozen=True, kw_only=True)
class ThrottleSettings(Settings):
    """How often a client may ask, and anybody about one account."""

    throttles: Mapping[str, Any] | Literal[False] | None = setting(
        None,
        "The limits of endpoints that shall have others than the default ones: "
        '`{"login": {"client": "60/minute", "account": "10/5 minutes"}}`; None for an endpoint: it has none. '
        "False: no endpoint has any. Needs Flask-Limiter.",
        default_text="those of the page Throttling; none with `TESTING`, or without Flask-Limiter",
    )


class Limits(NamedTuple):
    """Limits as they are set, and what they are: the shortest time first."""

    text: str
    items: tuple[Limit, ...]


class Rule(NamedTuple):
    """The limits of one endpoint."""

    client: Limits
    account: Limits


class Throttling(NamedTuple):
    """Whether endpoints have limits, and where hits are counted.

    :ivar storage: the kind: ``"redis"``, say, or ``"memory"``, where each process counts for itself.
    :ivar reason: why there are none, in a sentence.
    """

    is_active: bool
    storage: str
    reason: str | None


class Declared(NamedTuple):
    """What an endpoint says of itself.

    :ivar throttles: its default limits.
    :ivar names_account: whether it can tell which account a request is about.
    """

    throttles: Mapping[str, str]
    names_account: bool


class Throttles:
    """Counts requests, and refuses what is too many.

    :param off: why no endpoint has limits, whatever the rules say.
    :param in_tests: whether they hold with ``app.testing`` too.
    """

    def __init__(self, app: Flask, store: Store, rules: Mapping[str, Rule], *, off: str | None, in_tests: bool) -> None:
        self._app = app
        self._rules = rules
        self._off = off
        self._in_tests = in_tests
        self._warned = False
        self.store = store

    def describe(self) -> Throttling:
        """Whether throttles are active, and of which storage; ``flask registration check`` tells it."""
        reason = self._off
        if reason is None and self._app.testing and not self._in_tests:
            reason = f"TESTING is on, and {SETTING} is not set."
        if reason is None and not any(rule.client.items or rule.account.items for rule in self._rules.values()):
            reason = f"{SETTING} leaves no limit."
        return Throttling(reason is None, self.store.name, reason)

    def limits(self, endpoint: str) -> Rule:
        """The limits that an endpoint has by now."""
        return self._rule(endpoint)

    def check_client(self, endpoint: str) -> None:
        """Count a request of the asking client; before anything else is looked at.

        :raises Throttled: this client asks too often.
        """
        limits = self._rule(endpoint).client
        if limits.items:
            wait = self._hit(f"{endpoint}/client", client_name(request.remote_addr), limits)
            if wait is not None:
                self._warn_of_proxy()
                record(THROTTLED, scope="client", limit=limits.text)
                raise Throttled(wait)

    def check_account(self, endpoint: str, names: Callable[[], Iterable[str]], *, user_id: str | None = None) -> None:
        """Count a request about an account, whether or not there is one; before it is looked up.

        :param names: what names it, in normal form.
        :param user_id: the verification id of who is asking, for the security log.
        :raises Throttled: too many requests are about it.
        """
        limits = self._rule(endpoint).account
        for name in names() if limits.items else ():
            wait = self._hit(f"{endpoint}/account", name, limits)
            if wait is not None:
                record(THROTTLED, user_id=user_id, scope="account", limit=limits.text)
                raise Throttled(wait)

    def clear_account(self, endpoint: str, names: Iterable[str]) -> None:
        """Begin anew for an account whose owner has shown who they are; never for a client."""
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

    def _warn_of_proxy(self) -> None:
        """Tell once that all clients may be one: behind a proxy, without ProxyFix."""
        forwarded = "X-Forwarded-For" in request.headers and "werkzeug.proxy_fix.orig" not in request.environ
        if forwarded and not self._warned:
            self._warned = True
            self._app.logger.warning(
                "A client was throttled whose requests were forwarded by a proxy. If the proxy is yours, all clients "
                "count as one: set up werkzeug.middleware.proxy_fix.ProxyFix."
            )


NO_LIMITS = Limits("", ())
NO_RULE = Rule(NO_LIMITS, NO_LIMITS)


def client_name(address: str | None) -> str:
    """What counts as one client: an IPv4 address, or the /64 of an IPv6 address, of which one client has as many as it
    likes.
    """
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:  # a Unix socket's
        return address or ""
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(parsed) >> 64 << 64))


# Setting up


def make_throttles(app: Flask, reader: SettingsReader, endpoints: Mapping[str, Declared]) -> Throttles:
    """The throttles of an application; what is wrong with the setting is noted with the reader.

    :param endpoints: every endpoint that may be named, by its name.
    """
    chosen = reader.read(ThrottleSettings).throttles
    off = _reason_to_be_off(app, chosen)
    if chosen and not is_installed():
        reader.problem(SETTING, f"needs Flask-Limiter, which is not installed: {EXTRA}.")
    rules = {} if off else _rules(chosen or {}, reader, endpoints)
    in_tests = chosen is not None
    store = Store(app, None if _is_disabled(app) else find_backend(app, reader), in_tests=in_tests)
    return Throttles(app, store, rules, off=off, in_tests=in_tests)


def _is_disabled(app: Flask) -> bool:
    return not app.config.get("RATELIMIT_ENABLED", True)


def _reason_to_be_off(app: Flask, chosen: Mapping[str, Any] | Literal[False] | None) -> str | None:
    if chosen is False:
        return f"{SETTING} is False."
    if not is_installed():
        return f"Flask-Limiter is not installed: {EXTRA}."
    return "RATELIMIT_ENABLED is False." if _is_disabled(app) else None


def _rules(chosen: Mapping[str, Any], reader: SettingsReader, endpoints: Mapping[str, Declared]) -> dict[str, Rule]:
    """The rule of each endpoint: the application's, else its own."""
    for name in chosen:
        if name not in endpoints:
            near = get_close_matches(str(name), endpoints, n=1, cutoff=0)[0]
            reader.problem(SETTING, f"names {name!r}, which is no endpoint; did you mean {near!r}?")
    rules = {}
    for name, declared in endpoints.items():
        throttles = chosen.get(name, declared.throttles)
        try:
            rules[name] = _rule(throttles or {}, declared)
        except ValueError as error:
            reader.problem(SETTING, f"has for {name!r} what will not do: {error}.")
    return rules


def _rule(throttles: Any, declared: Declared) -> Rule:
    """:raises ValueError: with the end of a sentence that says why."""
    if not isinstance(throttles, Mapping) or not throttles.keys() <= {"client", "account"}:
        raise ValueError(f"it is {throttles!r}: give a dict with 'client', 'account' or both, or None")
    if throttles.get("account") and not declared.names_account:
        raise ValueError("its requests name no account: give 'client' alone")
    return Rule(_limits(throttles.get("client")), _limits(throttles.get("account")))


def _limits(text: Any) -> Limits:
    """The limits in the notation of Flask-Limiter.

    :raises ValueError: with the end of a sentence that says why.
    """
    if not text:
        return NO_LIMITS
    from limits import parse_many

    try:
        items = parse_many(text)
    except ValueError:
        raise ValueError(f'{text!r} is no limit: write it like "10/minute" or "10/minute;100/hour"') from None
    limits = [Limit(item.amount, item.get_expiry()) for item in items]
    return Limits(text, tuple(sorted(limits, key=lambda limit: limit.seconds)))
