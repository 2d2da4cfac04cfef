"""What a check of the configuration finds."""

from __future__ import annotations

from typing import NamedTuple

#: The levels of findings by the letter in their id, the most severe first.
LEVELS = {"E": "error", "W": "warning", "N": "note"}


class Finding(NamedTuple):
    """What a check of the configuration found.

    The page of the documentation is made from the calls in the package: write each id once, and
    give the values in f-strings names that readers understand. An id never gets another meaning.

    :ivar id: for example ``registration.W012``. The letter is its level: ``E`` for an error, which
        keeps the application from starting; ``W`` for a warning, which is not secure; ``N`` for a
        note, which could be better.
    :ivar subject: the setting, the column or the table.
    :ivar problem: what is wrong, and why it matters. It continues the sentence that the subject
        begins.
    :ivar hint: how to fix it.
    """

    id: str
    subject: str
    problem: str
    hint: str

    @property
    def level(self) -> str:
        """Return ``error``, ``warning`` or ``note``."""
        return LEVELS[self.id.rpartition(".")[2][0]]

    def __str__(self) -> str:
        """Return two lines: the problem, and the hint."""
        return f"{self.level}: {self.subject} {self.problem} [{self.id}]\n  -> {self.hint}"
