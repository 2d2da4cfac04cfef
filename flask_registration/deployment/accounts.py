"""Check passwords, usernames and sessions."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..auth.passwords import PasswordSettings, long_enough, strong_enough
from ..checks import Finding
from ..state import Check, Setup, current_registration

#: NIST SP 800-63B-4 section 3.1.1.1: with a second factor, and if the password is the only factor.
MIN_LENGTH, MIN_LENGTH_ALONE = 8, 15

#: Our default zxcvbn score: more than 10^8 guesses.
MIN_STRENGTH = 3

#: OWASP Password Storage Cheat Sheet: the least memory in KiB, and the least memory times passes,
#: of its argon2id settings.
ARGON2_MEMORY, ARGON2_WORK = 7168, 35840


def passwords(setup: Setup) -> Iterator[Finding]:
    """Report a password policy that allows weak passwords."""
    settings = setup.group(PasswordSettings)
    length, strength = settings.password_min_length, settings.password_min_strength
    if long_enough in settings.password_validators:
        if length < MIN_LENGTH:
            yield Finding(
                "registration.W019",
                "REGISTRATION_PASSWORD_MIN_LENGTH",
                f"is {length}. NIST requires at least 8, since short passwords are guessed fast.",
                "Set REGISTRATION_PASSWORD_MIN_LENGTH = 8.",
            )
        elif length < MIN_LENGTH_ALONE:
            yield Finding(
                "registration.N002",
                "REGISTRATION_PASSWORD_MIN_LENGTH",
                f"is {length}. NIST requires 15 without a second factor.",
                "Set REGISTRATION_PASSWORD_MIN_LENGTH = 15.",
            )
    if strong_enough in settings.password_validators and strength < MIN_STRENGTH:
        yield Finding(
            "registration.W020",
            "REGISTRATION_PASSWORD_MIN_STRENGTH",
            f"is {strength}. Passwords of the usual lists are accepted.",
            "Set REGISTRATION_PASSWORD_MIN_STRENGTH = 3.",
        )


def hashing(setup: Setup) -> Iterator[Finding]:
    """Report weak parameters of the hasher."""
    example = current_registration.passwords.hash("an example")
    made = re.match(r"\$argon2id\$v=19\$m=(\d+),t=(\d+),", example)
    memory, passes = map(int, made.groups()) if made else (ARGON2_WORK, 1)
    if memory < ARGON2_MEMORY or memory * passes < ARGON2_WORK:
        yield Finding(
            "registration.W021",
            "REGISTRATION_PASSWORD_HASHER",
            f"hashes with m={memory}, t={passes}, less than OWASP requires. "
            "The passwords of a stolen table are guessed fast.",
            "Leave REGISTRATION_PASSWORD_HASHER unset, or set Argon2Hasher(memory_cost=19456, "
            "time_cost=2).",
        )


def usernames(setup: Setup) -> Iterator[Finding]:
    """Report usernames that may differ only in case."""
    fields = current_registration.fields
    name = fields.username
    if not name or name not in fields.login or fields.username_key:
        return
    column = fields.columns[name]
    collation = str(getattr(column.type, "collation", None) or type(column.type).__name__).lower()
    ignores_case = collation.endswith(("_ci", "nocase", "citext"))
    indexes = [index for index in column.table.indexes if index.unique]
    expressions = [str(each).lower() for index in indexes for each in index.expressions]
    has_index = any("lower(" in text and column.name in text for text in expressions)
    if not ignores_case and not has_index:
        yield Finding(
            "registration.W022",
            f"{fields.model.__name__}.{name}",
            "has no unique index that ignores case. "
            '"Alice" and "alice" are two accounts, and one can pose as the other.',
            "Derive the model from UserMixin, or add its column username_key.",
        )


def logins(setup: Setup) -> Iterator[Finding]:
    """Report that a stolen cookie stays valid after the logout."""
    if setup.models["login"] is None:
        yield Finding(
            "registration.N003",
            "login_model",
            "is not set. A copied cookie or token stays valid after the logout, until it expires.",
            "Call registration.init_app(app, user_model=User, login_model=Login).",
        )


CHECKS: tuple[Check, ...] = (passwords, hashing, usernames, logins)
