"""Codes that people type: those of e-mails, and recovery codes."""

from __future__ import annotations

import secrets
from typing import Literal

CodeFormat = Literal["letters", "digits"]

#: Consonants, so that no code is a word (RFC 8628 section 6.1).
LETTERS = "BCDFGHJKLMNPQRSTVWXZ"


def make_code(code_format: CodeFormat = "letters") -> str:
    """Return a random code in normal form: eight letters (34 bits) or six digits (20 bits)."""
    alphabet, length = (LETTERS, 8) if code_format == "letters" else ("0123456789", 6)
    return "".join(secrets.choice(alphabet) for _ in range(length))


def show_code(code: str) -> str:
    """Return a code in two groups, for example ``WDJB-MJHT``; six digits stay together."""
    return f"{code[:4]}-{code[4:]}" if len(code) == 8 else code


def normalize_code(text: str) -> str:
    """Return the normal form of a code: in upper case, without spaces and hyphens."""
    return "".join(text.split()).replace("-", "").upper()
