"""How often an address may be written to."""

from __future__ import annotations

import threading
import time
from datetime import timedelta


class Cooldown:
    """Lets one mail in a while through to an address. A process's own, of bounded size."""

    CAPACITY = 10_000

    def __init__(self, period: timedelta) -> None:
        self._period = period.total_seconds()
        self._last: dict[str, float] = {}
        self._lock = threading.Lock()

    def admit(self, address: str) -> bool:
        """Whether a mail may go to this address now; if so, it is counted."""
        now = time.time()
        with self._lock:
            if 0 <= now - self._last.get(address, -self._period) < self._period:
                return False
            self._last.pop(address, None)  # so that the dict stays in the order of time
            self._last[address] = now
            while len(self._last) > self.CAPACITY:
                del self._last[next(iter(self._last))]
            return True

    def forget(self, address: str) -> None:
        """Let the next mail through: the last one did not leave, or its reader has proven the address."""
        with self._lock:
            self._last.pop(address, None)
