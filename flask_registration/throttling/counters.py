"""Count hits against limits: in the storage of Flask-Limiter's configuration, or in memory."""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit

from flask import Flask
from itsdangerous.encoding import want_bytes
from limits import RateLimitItem, RateLimitItemPerMinute, RateLimitItemPerSecond, WindowStats
from limits.errors import ConfigurationError
from limits.storage import MemoryStorage, MovingWindowSupport, Storage, storage_from_string
from limits.strategies import (
    STRATEGIES,
    FixedWindowRateLimiter,
    MovingWindowRateLimiter,
    RateLimiter,
)

from ..checks import Finding
from ..security_log import THROTTLE_STORE_DOWN, record

T = TypeVar("T")

#: The timeout of Redis in seconds, unless ``RATELIMIT_STORAGE_OPTIONS`` sets another.
TIMEOUT = 0.5

#: How often a storage that is down is tried again, and how often that it is down is logged.
TRIES = RateLimitItemPerSecond(1, 5)
LOGS = RateLimitItemPerMinute(1)

DOWN = "The storage of rate limits (%s) is unavailable; each process counts for itself."
UP = "The storage of rate limits (%s) is available again."

#: A limit of one key: the key, the number of hits, and the seconds.
Window = tuple[str, int, int]

#: When hits no longer count, each time with their number, in this order.
Hits = tuple[tuple[float, int], ...]


@dataclass(eq=False)
class SharedWindows:
    """The windows of all counters of a process, which one lock guards.

    :ivar windows: each with the ends of its hits; a fixed window has one end for all of them.
    :ivar exhausted: the number of exhausted counters at the last cleanup.
    """

    windows: dict[Window, Hits] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    exhausted: int = 0


@dataclass(eq=False)
class MemoryCounters:
    """Counts hits in fixed or moving windows, in the memory of this process.

    It has the methods of a strategy of ``limits``, and replaces the memory storage of ``limits``
    5.8, which loses hits: of 60 hits by 20 threads at once, up to 22 passed a limit of 10, because
    it drops the lock of a new key while another thread holds it. It also starts a thread for each
    hit, and has no maximum size. (Its next version corrects only the start of that thread:
    https://github.com/alisaifee/limits/pull/352.) It is no base class here: a storage does not know
    the limits, so not which counters to keep.

    :ivar sliding: whether windows move: each hit has a time of its own.
    :ivar shared: the hits, which other counters may share.
    :cvar CAPACITY: the maximum number of counters in addition to the exhausted ones.
    """

    CAPACITY: ClassVar[int] = 50_000

    sliding: bool = False
    shared: SharedWindows = field(default_factory=SharedWindows)

    def hit(self, limit: RateLimitItem, key: str) -> bool:
        """Count a hit, and return whether the limit allows it.

        A refused hit does not extend the time.
        """
        window = _window(limit, key)
        with self.shared.lock:
            now = time.time()  # not before: a thread that waits would be earlier than the window
            hits = self._current(window, now)
            if _sum(hits) >= limit.amount:
                return False
            if self.sliding or not hits:
                hits = (*hits, (now + limit.get_expiry(), 0))
            end, count = hits[-1]
            self.shared.windows[window] = (*hits[:-1], (end, count + 1))
            if len(self.shared.windows) > self.CAPACITY + self.shared.exhausted:
                self._drop_least_used(now)
            return True

    def test(self, limit: RateLimitItem, key: str, cost: int) -> bool:
        """Return whether a limit allows this number of hits."""
        return self.get_window_stats(limit, key).remaining >= cost

    def get_window_stats(self, limit: RateLimitItem, key: str) -> WindowStats:
        """Return when a limit allows more hits, and how many it still allows."""
        now = time.time()
        hits = self._current(_window(limit, key), now)
        return WindowStats(hits[0][0] if hits else now, limit.amount - _sum(hits))

    def _current(self, window: Window, now: float) -> Hits:
        """Return the hits that still count. If the clock was set back, there are none."""
        hits = self.shared.windows.get(window, ())
        return tuple(hit for hit in hits if now < hit[0] <= now + window[2])

    def clear(self, limit: RateLimitItem, key: str) -> None:
        """Reset a counter."""
        with self.shared.lock:
            self.shared.windows.pop(_window(limit, key), None)

    def _drop_least_used(self, now: float) -> None:
        """Keep the exhausted counters, and of the others those that are nearest to their limits.

        So an attacker cannot clear a counter by a flood of new ones. Of equal ones the oldest stay.
        """
        used = {
            window: _sum(hits) / window[1]
            for window in self.shared.windows
            if (hits := self._current(window, now))
        }
        nearest = sorted(used, key=lambda window: used[window], reverse=True)
        self.shared.exhausted = sum(share >= 1 for share in used.values())
        kept = nearest[: self.shared.exhausted + self.CAPACITY // 2]
        for window in self.shared.windows.keys() - kept:
            del self.shared.windows[window]


def _window(limit: RateLimitItem, key: str) -> Window:
    return key, limit.amount, limit.get_expiry()


def _sum(hits: Hits) -> int:
    return sum(count for _, count in hits)


@dataclass(eq=False)
class Counters:
    """Counts hits in a storage that several processes share.

    Without one, or while it is down, each process counts for itself. Names are stored as keyed
    digests: an e-mail address can neither be read from the storage nor found in it.

    :ivar prefix: what all keys begin with.
    :ivar kind: the kind of the shared storage, for example ``"redis"``; else ``"memory"``.
    :ivar connect: makes the strategy with the shared storage.
    :ivar in_tests: whether to use the shared storage with ``app.testing`` too.
    :ivar memory: counts in this process.
    """

    app: Flask
    prefix: str = "registration"
    kind: str = "memory"
    connect: Callable[[], RateLimiter] = lambda: FixedWindowRateLimiter(MemoryStorage())
    in_tests: bool = False
    memory: MemoryCounters = field(default_factory=MemoryCounters)
    is_down: bool = False

    @cached_property
    def limiter(self) -> RateLimiter:
        """Return the strategy, which cannot be made while a cluster is down."""
        return self.connect()

    def with_windows(self, *, sliding: bool) -> Counters:
        """Return counters in the same storage, in fixed or moving windows.

        A storage without moving windows has fixed ones.
        """

        def connect() -> RateLimiter:
            storage = self.limiter.storage
            slides = sliding and isinstance(storage, MovingWindowSupport)
            return (MovingWindowRateLimiter if slides else FixedWindowRateLimiter)(storage)

        # In the same memory, so that both together try a storage that is down once in a while.
        memory = MemoryCounters(sliding, self.memory.shared)
        return replace(self, connect=connect, memory=memory)

    @property
    def is_idle(self) -> bool:
        """Return whether tests run that have not set any limit."""
        return self.app.testing and not self.in_tests

    @property
    def storage(self) -> str:
        """Return the kind of storage in use, for example ``"redis"`` or ``"memory"``."""
        return "memory" if self.is_idle else self.kind

    def hit(self, scope: str, name: str, limits: Iterable[RateLimitItem]) -> float | None:
        """Count a hit against each limit. Return the seconds to wait; None if all allow it."""
        key = self._key(scope, name)
        waits = (self._use(partial(_hit, limit, key)) for limit in limits)
        return next((wait for wait in waits if wait is not None), None)

    def admit(self, scope: str, name: str, limits: Mapping[RateLimitItem, int]) -> bool:
        """Count a hit if all limits allow it. Return whether they do.

        The number of queries is the same in both cases.

        :param limits: the shortest time first; each with the number of hits that it must allow.
        """
        key, other = self._key(scope, name), self._key(f"{scope}/refused", "")
        return self._use(partial(_admit, limits, key, other))

    def stats(self, scope: str, name: str, limit: RateLimitItem) -> tuple[int, float]:
        """Return how many hits a limit still allows, and the seconds until it allows more."""
        key = self._key(scope, name)
        reset, left = self._use(lambda counts: counts.get_window_stats(limit, key))
        return left, reset - time.time()

    def clear(self, scope: str, name: str, limits: Iterable[RateLimitItem]) -> None:
        """Reset the counters of a name, in memory and in the storage."""
        key, all_limits = self._key(scope, name), [*limits]
        _clear(all_limits, key, self.memory)
        self._use(partial(_clear, all_limits, key))

    def _key(self, scope: str, name: str) -> str:
        key = want_bytes(self.app.secret_key or "")
        digest = hmac.digest(key, name.encode("utf-8", "surrogatepass"), "sha256").hex()
        return f"{self.prefix}/{scope}/{digest[:32]}"

    def _use(self, work: Callable[[Any], T]) -> T:
        """Do the work with the strategy of the storage; in memory if that fails or is down.

        Log when the storage goes down and is back.
        """
        if not self._is_due():
            return work(self.memory)
        try:
            result = work(self.limiter)
        except Exception as error:  # each storage has its own
            self.is_down = True
            self.memory.hit(TRIES, "try")
            if self.memory.hit(LOGS, "log"):
                self.app.logger.error(DOWN, self.kind, exc_info=error)
                record(THROTTLE_STORE_DOWN, error=type(error).__name__)
            return work(self.memory)
        if self.is_down:
            self.is_down = False
            self.memory.clear(TRIES, "try")
            self.app.logger.warning(UP, self.kind)
        return result

    def _is_due(self) -> bool:
        """Return whether to use the storage: it is up, or one request tries it again now."""
        if self.storage == "memory":
            return False
        return not self.is_down or self.memory.hit(TRIES, "try")


def _clear(limits: Iterable[RateLimitItem], key: str, counts: Any) -> None:
    for limit in limits:
        counts.clear(limit, key)


def _hit(limit: RateLimitItem, key: str, limiter: Any) -> float | None:
    if limiter.hit(limit, key):
        return None
    seconds: float = limiter.get_window_stats(limit, key).reset_time - time.time()
    return seconds


def _admit(limits: Mapping[RateLimitItem, int], key: str, other: str, limiter: Any) -> bool:
    """Count a hit against all limits if they allow it, else as many hits of another key.

    Parallel requests may all pass the test. Then the first limit refuses all but one of them.
    """
    passed = [limiter.test(limit, key, cost=cost) for limit, cost in limits.items()]
    is_admitted = all(passed)
    for limit in limits:
        is_admitted = limiter.hit(limit, key if is_admitted else other) and is_admitted
    return is_admitted


def make_counters(app: Flask, found: list[Finding], *, in_tests: bool) -> Counters:
    """Return counters in the storage that the application configured for Flask-Limiter.

    It is the one of ``RATELIMIT_STORAGE_URI``, else the one of the application's own ``Limiter``.

    :param found: receives the findings.
    """
    uri = app.config.get("RATELIMIT_STORAGE_URI")
    strategy = app.config.get("RATELIMIT_STRATEGY") or "fixed-window"
    prefix = filter(None, [app.config.get("RATELIMIT_KEY_PREFIX"), "registration"])
    counters = Counters(app, "/".join(prefix), in_tests=in_tests)
    if not app.config.get("RATELIMIT_ENABLED", True):
        return counters
    if strategy not in STRATEGIES:
        allowed = ", ".join(STRATEGIES)
        found.append(
            Finding(
                "registration.E036",
                "RATELIMIT_STRATEGY",
                f"is {strategy!r}, which is unknown. Requests could not be counted.",
                f"Use one of {allowed}.",
            )
        )
    elif uri:
        counters.kind = urlsplit(uri).scheme
        options = app.config.get("RATELIMIT_STORAGE_OPTIONS") or {}
        counters.connect = partial(_connect, uri, strategy, options)
    for limiter in () if uri else app.extensions.get("limiter", ()):
        if not isinstance(limiter.storage, MemoryStorage):
            counters.kind = limiter.storage.STORAGE_SCHEME[0]
            counters.connect = partial(getattr, limiter, "limiter")
    if counters.kind == "memory":
        return counters
    try:
        counters.limiter  # noqa: B018 -- made now, so that an error is found now
    except (ConfigurationError, NotImplementedError, ValueError, TypeError) as error:
        found.append(
            Finding(
                "registration.E035",
                "RATELIMIT_STORAGE_URI",
                f"cannot be used: {error}. Requests could not be counted.",
                "Correct it. Redis needs pip install 'Flask-Registration[limits]'.",
            )
        )
    except Exception as error:  # it is down, and may be up when it is needed
        app.logger.debug("The storage of rate limits is not available yet: %s", error)
    return counters


def _connect(uri: str, strategy: str, options: Mapping[str, Any]) -> RateLimiter:
    scheme = urlsplit(uri).scheme
    storage = storage_from_string(uri, **{**default_options(scheme), **options})
    if not isinstance(storage, Storage):
        raise ConfigurationError(f"{scheme} is for asyncio")
    return STRATEGIES[strategy](storage)


def default_options(scheme: str) -> dict[str, float]:
    """Return timeouts; without them every request would hang with a Redis that hangs."""
    if not scheme.startswith(("redis", "valkey")):
        return {}
    connecting = {} if scheme.endswith("+unix") else {"socket_connect_timeout": TIMEOUT}
    return {"socket_timeout": TIMEOUT, **connecting}
