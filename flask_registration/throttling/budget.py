"""The budget of e-mails: a limit for all requests without a login that may cause one."""

from __future__ import annotations

from dataclasses import dataclass

from limits import RateLimitItem, RateLimitItemPerHour

from ..errors import Throttled
from ..security_log import MAIL_BUDGET_EXCEEDED, record
from .counters import Counters

#: The counters of the requests, and of what is logged about them.
REQUESTS, LOGGED = ("mail/budget", ""), ("mail/budget-logged", "")

#: How often several processes log the same.
ONCE = [RateLimitItemPerHour(1)]

EXCEEDED = (
    "The budget of e-mails is exceeded: %s. Requests that may cause an e-mail get 429 for "
    "%.0f seconds. `flask registration lift-mail-budget` ends that."
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
