"""Limit how many e-mails one address receives."""

from __future__ import annotations

from dataclasses import dataclass

from limits import RateLimitItem, RateLimitItemPerDay

from ..throttling.counters import Counters
from ..throttling.devices import EMAIL, Devices

#: The kinds of e-mails, which do not limit each other: those with a link or a code, and the others.
LINK, NOTICE = "link", "notice"

#: The limit of notices.
DAILY: list[RateLimitItem] = [RateLimitItemPerDay(1)]

#: How many e-mails of the longest limit are kept for those that an owner needs to log in.
RESERVE = 2


@dataclass(eq=False)
class MailLimits:
    """Counts the e-mails to each address, over all processes.

    :ivar counters: counts in moving windows.
    :ivar limits: the limits of the kind ``link``, the shortest time first. If there is none, no
        kind is limited.
    :ivar devices: the browsers that together have a count of their own for e-mails with which an
        owner logs in, so that requests of others do not use them up.
    """

    counters: Counters
    limits: list[RateLimitItem]
    devices: Devices

    def admit(
        self, address: str, kind: str, *, is_reserved: bool = False, is_retry: bool = False
    ) -> bool:
        """Return whether an e-mail may be sent to this address now, and count it.

        :param is_reserved: whether it may be one of the last e-mails of the longest limit.
        :param is_retry: whether it was counted before its transaction was rolled back. Then only
            the pause after it begins anew.
        """
        scope, name = self._counts(address, kind)[-1 if is_reserved else 0]
        if is_retry:
            self.forget(address, kind)
            return self.counters.admit(scope, name, dict.fromkeys(self._pauses(kind), 1))
        limits = dict.fromkeys(self._of(kind), 1)
        if not limits:
            return True
        if kind == LINK and not is_reserved:
            last = self.limits[-1]
            limits[last] = min(1 + RESERVE, last.amount)
        return self.counters.admit(scope, name, limits)

    def forget(self, address: str, kind: str = LINK) -> None:
        """End the pause after an e-mail that failed, or whose link was used.

        It still counts for the limits of more than one e-mail.
        """
        for scope, name in self._counts(address, kind):
            self.counters.clear(scope, name, self._pauses(kind))

    @property
    def per_day(self) -> int | None:
        """Return how many e-mails with a code an address receives in a day; None for no limit."""
        day = DAILY[0].get_expiry()
        counts = [limit.amount * -(-day // limit.get_expiry()) for limit in self.limits]
        return min(counts, default=None)

    def _counts(self, address: str, kind: str) -> list[tuple[str, str]]:
        """Return the scope and the name of the address's count, then those of its known devices.

        With a count for each device, a former user of the account could flood the address.
        """
        name = address.lower()
        is_known = self.devices.find(name, EMAIL)
        scopes = [f"mail/{kind}", *([f"mail/{kind}/device"] if is_known else [])]
        return [(scope, name) for scope in scopes]

    def _pauses(self, kind: str) -> list[RateLimitItem]:
        return [limit for limit in self._of(kind) if limit.amount == 1]

    def _of(self, kind: str) -> list[RateLimitItem]:
        return DAILY if self.limits and kind == NOTICE else self.limits
