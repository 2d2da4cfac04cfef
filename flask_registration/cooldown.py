"""How often an address may be written to."""

from __future__ import annotations

import math
from datetime import timedelta

from .counters import Limit
from .stores import Store


class Cooldown:
    """Lets one mail in a while through to an address, over all processes where the store is shared."""

    SCOPE = "mail"

    def __init__(self, store: Store, period: timedelta) -> None:
        self._store = store
        self._limit = Limit(1, math.ceil(period.total_seconds()))

    def admit(self, address: str) -> bool:
        """Whether a mail may go to this address now; if so, it is counted."""
        return not self._limit.seconds or self._store.hit(self.SCOPE, address, self._limit) is None

    def forget(self, address: str) -> None:
        """Let the next mail through: the last one did not leave, or its reader has proven the address."""
        self._store.clear(self.SCOPE, address, self._limit)
