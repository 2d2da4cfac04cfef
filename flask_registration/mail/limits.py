"""Limit how many e-mails one address receives."""

from __future__ import annotations

import math
from datetime import timedelta

from limits import RateLimitItemPerSecond

from ..throttling.counters import Counters

#: The kind of all e-mails without a link. Any other kind is the name of an e-mail.
NOTICE = "notice"
NOTICE_PERIOD = timedelta(days=1)


class Cooldown:
    """Allows one e-mail of each kind in a period to each address, over all processes.

    The kinds count separately, so that an attacker who causes one e-mail does not prevent another
    one. A notice, which no owner needs twice, is allowed once a day.
    """

    def __init__(self, counters: Counters, period: timedelta) -> None:
        self.counters = counters
        self._period = period

    def admit(self, address: str, kind: str) -> bool:
        """Return whether an e-mail may be sent to this address now, and count it."""
        return self.counters.hit(f"mail/{kind}", address, self._limits(kind)) is None

    def forget(self, address: str, kind: str) -> None:
        """Allow the next e-mail: the last one failed, or its recipient has used the link."""
        self.counters.clear(f"mail/{kind}", address, self._limits(kind))

    def _limits(self, kind: str) -> list[RateLimitItemPerSecond]:
        period = max(self._period, NOTICE_PERIOD) if kind == NOTICE else self._period
        is_active = bool(self._period)
        return [RateLimitItemPerSecond(1, math.ceil(period.total_seconds()))] if is_active else []
