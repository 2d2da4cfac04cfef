"""Limit how many e-mails one address receives."""

from __future__ import annotations

import math
from datetime import timedelta

from limits import RateLimitItemPerSecond

from ..throttling.counters import Counters


class Cooldown:
    """Allows one e-mail in a period to each address, over all processes that share a storage."""

    def __init__(self, counters: Counters, period: timedelta) -> None:
        self.counters = counters
        seconds = math.ceil(period.total_seconds())
        self._limits = [RateLimitItemPerSecond(1, seconds)] if seconds else []

    def admit(self, address: str) -> bool:
        """Return whether an e-mail may be sent to this address now, and count it."""
        return self.counters.hit("mail", address, self._limits) is None

    def forget(self, address: str) -> None:
        """Allow the next e-mail: the last one failed, or its recipient has used the link."""
        self.counters.clear("mail", address, self._limits)
