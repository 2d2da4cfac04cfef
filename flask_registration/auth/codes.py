"""Codes that people type: those of e-mails, and recovery codes."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import timedelta
from typing import Any, Literal, NamedTuple

from ..i18n.messages import duration

CodeFormat = Literal["letters", "digits"]

#: Consonants, so that no code is a word (RFC 8628 section 6.1).
LETTERS = "BCDFGHJKLMNPQRSTVWXZ"

#: The characters of a code, and their number: 34 and 20 bits.
FORMATS: dict[CodeFormat, tuple[str, int]] = {"letters": (LETTERS, 8), "digits": ("0123456789", 6)}


class CodeRules(NamedTuple):
    """The codes of e-mails.

    :ivar period: how long a code is valid.
    :ivar tries: how many times a client may try each.
    """

    format: CodeFormat
    period: timedelta
    tries: int


def make_code(code_format: CodeFormat = "letters") -> str:
    """Return a random code in normal form: eight letters or six digits."""
    alphabet, length = FORMATS[code_format]
    return "".join(secrets.choice(alphabet) for _ in range(length))


def derive_code(key: bytes, name: str, code_format: CodeFormat) -> str:
    """Return the code of a name in normal form, the same at each call.

    :param key: without it, no part of the code can be known.
    """
    number = int(keyed_digest(key, f"flask-registration.derived-code {code_format} {name}"), 16)
    alphabet, length = FORMATS[code_format]
    characters = []
    for _ in range(length):
        number, index = divmod(number, len(alphabet))
        characters.append(alphabet[index])
    return "".join(characters)


def keyed_digest(key: bytes, text: str) -> str:
    """Return a digest that cannot be made, nor compared with guesses, without the key."""
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def show_code(code: str) -> str:
    """Return a code in two groups, for example ``WDJB-MJHT``; six digits stay together."""
    return f"{code[:4]}-{code[4:]}" if len(code) == 8 else code


def code_variables(code: str | None, rules: CodeRules | None) -> dict[str, Any]:
    """Return the template variables of an e-mail with a code, or without one.

    :param code: in normal form.
    """
    return {
        "code": show_code(code) if code else None,
        "code_valid_for": duration(rules.period) if rules else None,
    }


def normalize_code(text: str) -> str:
    """Return the normal form of a code: in upper case, without spaces and hyphens."""
    return "".join(text.split()).replace("-", "").upper()
