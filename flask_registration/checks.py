"""What a check of a running configuration finds."""

from __future__ import annotations

from functools import partial
from typing import Literal, NamedTuple

Level = Literal["error", "warning", "note"]


class Finding(NamedTuple):
    """A fault of a deployment: what is wrong, why it matters, and the fix.

    :ivar level: ``error``: it does not work; ``warning``: it is not safe; ``note``: it could be
        better.
    :ivar subject: the setting or the table.
    :ivar problem: continues the sentence that the subject begins.
    :ivar hint: the setting as it should be, or the command to run.
    """

    level: Level
    subject: str
    problem: str
    hint: str


#: Reports that something does not work.
error: partial[Finding] = partial(Finding, "error")
#: Reports that something works and is not safe.
warning: partial[Finding] = partial(Finding, "warning")
#: Reports that something could be better.
note: partial[Finding] = partial(Finding, "note")
