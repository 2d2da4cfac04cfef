"""What a check of a running configuration finds."""

from __future__ import annotations

from typing import Literal, NamedTuple

Level = Literal["error", "warning", "note"]


class Finding(NamedTuple):
    """A fault of a deployment: what is wrong, why it matters, and the fix.

    :ivar level: ``error``: it does not work; ``warning``: it is not safe; ``note``: it could be better.
    :ivar subject: the setting or the table.
    :ivar problem: continues the sentence that the subject begins.
    :ivar hint: the setting as it should be, or the command to run.
    """

    level: Level
    subject: str
    problem: str
    hint: str


def error(subject: str, problem: str, hint: str) -> Finding:
    """Report that something does not work."""
    return Finding("error", subject, problem, hint)


def warning(subject: str, problem: str, hint: str) -> Finding:
    """Report that something works and is not safe."""
    return Finding("warning", subject, problem, hint)


def note(subject: str, problem: str, hint: str) -> Finding:
    """Report that something could be better."""
    return Finding("note", subject, problem, hint)
