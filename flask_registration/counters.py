"""Counters that begin with their first hit and end a while later. A process's own, of bounded size.

(``limits`` has a memory of its own; under many threads it counts too few hits and raises, and it never forgets a key of
a moving window.)
"""

from __future__ import annotations

import threading
import time
from typing import NamedTuple


class Limit(NamedTuple):
    """So many hits in so many seconds."""

    amount: int
    seconds: int


class Counters:
    """Counts hits; the counter that began first is dropped where there are too many."""

    CAPACITY = 50_000

    def __init__(self) -> None:
        self._counters: dict[str, tuple[float, int]] = {}
        self._lock = threading.Lock()

    def hit(self, key: str, limit: Limit) -> float | None:
        """Count one more; None if the limit allows it, else in how many seconds it will.

        A refusal does not make it longer.
        """
        now = time.time()
        with self._lock:
            begin, count = self._counters.get(key, (now, 0))
            if not 0 <= now - begin < limit.seconds:  # over, or the clock was set back
                begin, count = now, 0
                self._counters.pop(key, None)  # so that the dict stays in the order of time
            if count >= limit.amount:
                return begin + limit.seconds - now
            self._counters[key] = (begin, count + 1)
            if len(self._counters) > self.CAPACITY:
                del self._counters[next(iter(self._counters))]
            return None

    def clear(self, key: str) -> None:
        """Begin anew."""
        with self._lock:
            self._counters.pop(key, None)
