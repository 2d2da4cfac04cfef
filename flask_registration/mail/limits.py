"""Limit how many e-mails one address receives."""

from __future__ import annotations

import math
import threading
import time
from datetime import timedelta
from typing import NamedTuple


class Limit(NamedTuple):
    """A maximum number of hits in a number of seconds."""

    amount: int
    seconds: int


class LimitStore:
    """Counts hits in the memory of this process.

    The oldest counter is dropped if there are too many. The package ``throttling``
    counts in a shared storage where there is one. (The memory storage of ``limits`` loses hits and
    raises under many threads, and never drops a key of a moving window.)
    """

    CAPACITY = 50_000

    def __init__(self) -> None:
        self._counters: dict[str, tuple[float, int]] = {}
        self._lock = threading.Lock()

    def hit(self, scope: str, name: str, limit: Limit) -> float | None:
        """Count a hit. Return None if the limit allows it, else the seconds until it will.

        A refused hit does not extend the time.
        """
        key, now = self._counter(scope, name, limit), time.time()
        with self._lock:
            begin, count = self._counters.get(key, (now, 0))
            if not 0 <= now - begin < limit.seconds:  # over, or the clock was set back
                begin, count = now, 0
                self._counters.pop(key, None)  # the dict stays in the order of time
            if count >= limit.amount:
                return begin + limit.seconds - now
            self._counters[key] = (begin, count + 1)
            if len(self._counters) > self.CAPACITY:
                del self._counters[next(iter(self._counters))]
            return None

    def clear(self, scope: str, name: str, limit: Limit) -> None:
        """Reset a counter."""
        with self._lock:
            self._counters.pop(self._counter(scope, name, limit), None)

    def _counter(self, scope: str, name: str, limit: Limit) -> str:
        return f"{scope}/{name}/{limit.amount}/{limit.seconds}"


class Cooldown:
    """Allows one e-mail in a period to each address, over all processes if the store is shared."""

    SCOPE = "mail"

    def __init__(self, store: LimitStore, period: timedelta) -> None:
        self.store = store
        self._limit = Limit(1, math.ceil(period.total_seconds()))

    def admit(self, address: str) -> bool:
        """Return whether an e-mail may be sent to this address now, and count it."""
        return not self._limit.seconds or self.store.hit(self.SCOPE, address, self._limit) is None

    def forget(self, address: str) -> None:
        """Allow the next e-mail: the last one failed, or its recipient has used the link."""
        self.store.clear(self.SCOPE, address, self._limit)
