"""Turns: so many threads of a process at once, and the others wait."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Lets so many threads of a process work at once.

    Nobody is turned away: a process has no more threads that can wait than its server gave it.

    :param number: how many; None for any number.
    """

    def __init__(self, number: int | None) -> None:
        self._number = number
        self._own = threading.local()
        self._free: dict[int, threading.Semaphore] = {}

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, and have it within the block; a thread that has one already goes on with that."""
        if self._number is None or getattr(self._own, "has_one", False):
            yield
            return
        with self._of_this_process(self._number):
            self._own.has_one = True
            try:
                yield
            finally:
                self._own.has_one = False

    def _of_this_process(self, number: int) -> threading.Semaphore:
        """One for each process: in a forked one nobody would give back what its parent's threads had taken."""
        process = os.getpid()
        return self._free.get(process) or self._free.setdefault(process, threading.BoundedSemaphore(number))
