"""The hashers of passwords, and how many passwords a process hashes at the same time."""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from werkzeug.security import check_password_hash

from ..errors import TooBusy


def password_hash(hasher: Any) -> PasswordHash:
    """Return the pwdlib object for the setting. Its hasher comes first, then all known ones.

    The default parameters are those of OWASP (Password Storage Cheat Sheet, argon2id).
    """
    if isinstance(hasher, PasswordHash):
        return hasher
    if isinstance(hasher, type):
        hasher = hasher()
    argon2 = Argon2Hasher(time_cost=2, memory_cost=19456, parallelism=1)
    return PasswordHash([hasher or argon2, argon2, *foreign_hashers()])


def foreign_hashers() -> list[Any]:
    """Return hashers for hashes of other libraries, which are accepted and upgraded at login."""
    hashers: list[Any] = [WerkzeugHasher(), DjangoHasher()]
    if find_spec("bcrypt"):
        from pwdlib.hashers.bcrypt import BcryptHasher

        class Bcrypt(BcryptHasher):
            def verify(self, password: str | bytes, hash: str | bytes) -> bool:
                # bcrypt ignores all but 72 bytes. Since version 5.0 its library raises an error.
                data = password.encode() if isinstance(password, str) else password
                return super().verify(data[:72], hash)

        hashers.append(Bcrypt())
    return hashers


class _ForeignHasher:
    """A hasher that only verifies: pwdlib hashes with its first hasher."""

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        raise TypeError(f"{type(self).__name__} only verifies; the first hasher makes new hashes.")

    def check_needs_rehash(self, hash: str | bytes) -> bool:
        return True


class WerkzeugHasher(_ForeignHasher):
    """Hashes of ``werkzeug.security.generate_password_hash``: ``scrypt:…`` and ``pbkdf2:…``."""

    @classmethod
    def identify(cls, hash: str | bytes) -> bool:
        """Return whether a hash has this format."""
        return _text(hash).startswith(("scrypt:", "pbkdf2:"))

    def verify(self, password: str | bytes, hash: str | bytes) -> bool:
        """Return whether a password matches a hash."""
        try:
            return check_password_hash(_text(hash), _text(password))
        except ValueError:  # invalid parameters
            return False


class DjangoHasher(_ForeignHasher):
    """Hashes of Django: ``pbkdf2_sha256$…``, the default, and the older ``pbkdf2_sha1$…``."""

    @classmethod
    def identify(cls, hash: str | bytes) -> bool:
        """Return whether a hash has this format."""
        text = _text(hash)
        return text.startswith(("pbkdf2_sha256$", "pbkdf2_sha1$")) and text.count("$") == 3

    def verify(self, password: str | bytes, hash: str | bytes) -> bool:
        """Return whether a password matches a hash."""
        algorithm, iterations, salt, digest = _text(hash).split("$")
        if not iterations.isdecimal() or not 0 < int(iterations) < 2**31:
            return False
        algorithm = algorithm.removeprefix("pbkdf2_")
        secret = _text(password).encode()
        made = hashlib.pbkdf2_hmac(algorithm, secret, salt.encode(), int(iterations))
        return hmac.compare_digest(base64.b64encode(made), digest.encode())


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def hash_kind(stored: str) -> str:
    """Return the beginning of a hash that names its algorithm and parameters, without the salt."""
    parts = stored.split("$")
    is_bcrypt = len(parts) == 4 and parts[1].startswith("2")  # one part is salt and digest
    return "$".join(parts[: -1 if is_bcrypt else -2])


class ConcurrencyLimit:
    """Limits the number of threads of a process that work at the same time, and that wait.

    :param number: the maximum number of threads; None for no limit.
    :param waiting: the maximum number of further threads; None for no limit.
    """

    def __init__(self, number: int | None, waiting: int | None) -> None:
        self._number = sys.maxsize if number is None else number
        self._most = math.inf if waiting is None else self._number + waiting
        self._thread = _Thread()
        self._queues: dict[int, _Queue] = {}

    @property
    def is_full(self) -> bool:
        """Return whether one more thread could not wait."""
        return not self._thread.is_counted and self._queue().threads >= self._most

    @contextmanager
    def acquire(self) -> Iterator[None]:
        """Wait until a thread may work, and count it within the block. Nested blocks count once.

        :raises TooBusy: too many threads wait.
        """
        if self._thread.is_counted:
            yield
            return
        queue = self._queue()
        with queue.lock:
            if self.is_full:
                raise TooBusy
            queue.threads += 1
        try:
            with queue.semaphore:
                self._thread.is_counted = True
                try:
                    yield
                finally:
                    self._thread.is_counted = False
        finally:
            with queue.lock:
                queue.threads -= 1

    def _queue(self) -> _Queue:
        """Return the queue of this process.

        In a forked process, the threads that would leave the parent's queue do not exist.
        """
        return self._queues.setdefault(os.getpid(), _Queue(threading.Semaphore(self._number)))


class _Thread(threading.local):
    """What each thread knows of itself: whether it is counted."""

    is_counted = False


@dataclass(eq=False)
class _Queue:
    """The threads of a process that work or wait.

    :ivar threads: their number.
    """

    semaphore: threading.Semaphore
    lock: threading.Lock = field(default_factory=threading.Lock)
    threads: int = 0
