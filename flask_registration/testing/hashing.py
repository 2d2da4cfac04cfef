"""Passwords in tests, which need not be hashed so that it takes long."""

from __future__ import annotations

from typing import Any

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from ..kit import Kit
from ..passwords import PasswordSettings, password_hash

#: argon2id that takes no time, and protects nothing.
CHEAP_HASHER = Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)


def hash_of_tests(kit: Kit, hasher: Any) -> PasswordHash | None:
    """What hashes passwords in place of the application's argon2id; None where that shall stay.

    So it does where the application has a hasher of another make: nobody knows what hangs on that.
    """
    configured = kit.group(PasswordSettings).password_hasher
    is_ours = configured in (None, Argon2Hasher) or type(configured) is Argon2Hasher
    return password_hash(hasher) if hasher is not None and is_ours else None
