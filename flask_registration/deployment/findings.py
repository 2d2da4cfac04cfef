"""One thing that a deployment lacks."""

from __future__ import annotations

from typing import Literal, NamedTuple

Level = Literal["error", "warning", "note"]


class Finding(NamedTuple):
    """What is wrong, why that matters, and what cures it.

    :ivar level: ``error``: it does not work; ``warning``: it is not safe; ``note``: it could be better.
    :ivar subject: the setting, mostly.
    :ivar says: goes on from the subject: what, and why that matters.
    :ivar cure: the setting as it should be, or the command.
    """

    level: Level
    subject: str
    says: str
    cure: str


def error(subject: str, says: str, cure: str) -> Finding:
    """It does not work."""
    return Finding("error", subject, says, cure)


def warning(subject: str, says: str, cure: str) -> Finding:
    """It works, and is not safe."""
    return Finding("warning", subject, says, cure)


def note(subject: str, says: str, cure: str) -> Finding:
    """It could be better."""
    return Finding("note", subject, says, cure)
