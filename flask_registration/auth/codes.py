"""Codes that people type: those of e-mails, and recovery codes."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from ..i18n.messages import duration
from ..settings import Settings, setting

CodeFormat = Literal["letters", "digits"]

#: Consonants, so that no code is a word (RFC 8628 section 6.1).
LETTERS = "BCDFGHJKLMNPQRSTVWXZ"

#: The characters of a code, and their number: 34 and 20 bits.
FORMATS: dict[CodeFormat, tuple[str, int]] = {"letters": (LETTERS, 8), "digits": ("0123456789", 6)}


@dataclass(frozen=True, kw_only=True)
class CodesSettings(Settings):
    """Codes in e-mails."""

    code_format: CodeFormat = setting(
        "letters",
        'The codes of e-mails: eight letters such as `WDJB-MJHT`, or six digits with `"digits"`.',
    )
    code_period: timedelta = setting(
        timedelta(minutes=15),
        "How long a code is valid.",
        minimum=timedelta(minutes=1),
        maximum=timedelta(days=1),
    )
    code_tries: int = setting(
        3,
        "How many times a client may try a code. At most 3 with digits.",
        minimum=1,
        maximum=10,
    )


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


def code_variables(code: str | None, settings: CodesSettings) -> dict[str, Any]:
    """Return the template variables of an e-mail with a code, or without one.

    :param code: in normal form.
    """
    return {
        "code": show_code(code) if code else None,
        "code_valid_for": duration(settings.code_period),
    }


def normalize_code(text: str) -> str:
    """Return the normal form of a code: in upper case, without spaces and hyphens."""
    return "".join(text.split()).replace("-", "").upper()
