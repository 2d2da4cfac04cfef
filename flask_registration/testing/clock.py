"""The time of a test."""

from __future__ import annotations

import time


class Clock:
    """The time, which stands still until it is moved; it takes the place of ``time.time``.

    :ivar now: seconds since the epoch, whole ones to begin with.
    """

    def __init__(self) -> None:
        self.now: float = float(int(time.time()))

    def move(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> None:
        """Let time pass, or turn it back with what is negative."""
        self.now += seconds + 60 * (minutes + 60 * (hours + 24 * days))

    def __call__(self) -> float:
        return self.now
