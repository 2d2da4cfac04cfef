"""Passwords: what makes a good one, and how they are kept (NIST SP 800-63B-4, OWASP Password Storage)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from marshmallow import ValidationError
from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher
from werkzeug.security import check_password_hash
from zxcvbn_rs_py import zxcvbn

from .messages import Message, Sentences, plural
from .settings import Settings, setting
from .turns import Turns

#: NIST SP 800-63B-4 section 3.1.1.2 asks for at least 64.
PASSWORD_MAX_LENGTH = 256

TOO_LONG = plural(
    "A password has at most {count} character.",
    "A password has at most {count} characters.",
    PASSWORD_MAX_LENGTH,
    code="too-long",
)

#: How much of a password zxcvbn sees. Its time grows with the square of the length where a password repeats itself
#: (7 ms for a hundred times "a"), and what is strong in its first 64 characters does not become weak after them.
STRENGTH_MAX_LENGTH = 64

#: The best of zxcvbn's scores.
STRONGEST = 4


def long_enough(password: str, *, settings: PasswordSettings, **_: Any) -> None:
    """Count code points (NIST SP 800-63B-4 section 3.1.1.2).

    :raises marshmallow.ValidationError: with the number it takes.
    """
    if len(password) < settings.password_min_length:
        raise ValidationError(
            plural(
                "A password needs at least {count} character.",
                "A password needs at least {count} characters.",
                settings.password_min_length,
                code="too-short",
            )
        )


def strong_enough(password: str, *, user_inputs: Sequence[str], settings: PasswordSettings, **_: Any) -> None:
    """Refuse what zxcvbn guesses too soon, knowing the user's own data.

    :raises marshmallow.ValidationError: with zxcvbn's advice.
    """
    estimate = zxcvbn(password[:STRENGTH_MAX_LENGTH], [text[:STRENGTH_MAX_LENGTH] for text in user_inputs if text])
    if int(estimate.score) < settings.password_min_strength:
        feedback = estimate.feedback
        warning = (
            str(feedback.warning) if feedback and feedback.warning else Message("This password is too easy to guess.")
        )
        advice = [str(suggestion) for suggestion in feedback.suggestions] if feedback else []
        raise ValidationError(Sentences([warning, *advice], code="too-guessable"))


@dataclass(frozen=True, kw_only=True)
class PasswordSettings(Settings):
    """The password policy, one for registering, changing and resetting."""

    password_validators: tuple[Callable[..., None], ...] = setting(
        (long_enough, strong_enough),
        "What a new password must pass: `validator(password, *, user_inputs, settings, **kwargs)` "
        "raises `marshmallow.ValidationError` with advice.",
        default_text="length and strength",
    )
    password_min_length: int = setting(
        8, "Characters of a password at the least. NIST asks for 15 where the password is the only factor."
    )
    password_min_strength: int = setting(3, "The zxcvbn score, 0 to 4, that a password needs.")
    password_hasher: Any = setting(
        None,
        "A pwdlib hasher for new passwords, e.g. `Argon2Hasher(memory_cost=65536)`, or a whole `pwdlib.PasswordHash`. "
        "Hashes of other makes and parameters are upgraded at the next login.",
        default_text="argon2id, m=19456 KiB, t=2, p=1",
    )
    password_hash_concurrency: int | None = setting(
        4,
        "How many passwords a process hashes at once, since each takes the hasher's memory, 19 MiB; the others wait "
        "their turn. `None` for any number.",
    )


class Passwords:
    """Checks, hashes and verifies passwords.

    :param site: the site's names, which make poor passwords there.
    """

    def __init__(self, settings: PasswordSettings, site: Sequence[str]) -> None:
        self._settings = settings
        self._site = list(site)
        self._hash = password_hash(settings.password_hasher)
        self._turns = Turns(settings.password_hash_concurrency)
        zxcvbn("a")  # loads its dictionaries now, 10 ms, not in the first request; for nothing at all it would not

    def check(self, password: str, user_inputs: Sequence[str]) -> None:
        """Hold a new password against the policy.

        :raises marshmallow.ValidationError: with every complaint, under ``password``.
        """
        password = normalize(password)
        complaints: list[Any] = []
        inputs = [*user_inputs, *self._site]
        for validator in self._settings.password_validators:
            try:
                validator(password, user_inputs=inputs, settings=self._settings)
            except ValidationError as error:
                complaints += error.messages
        if complaints:
            raise ValidationError({"password": complaints})

    def verify(self, password: str, stored: str | None) -> tuple[bool, str | None]:
        """Whether this is the password, and a new hash where the stored one is of another make or other parameters.

        :param stored: None takes as long as a hash does, so that nobody learns by the time that there is no account.
        """
        try:
            password = normalize(password)
        except ValidationError:
            return False, None
        with self._turns.turn():
            if not stored:
                self._hash.hash(password)
                return False, None
            try:
                return self._hash.verify_and_update(password, stored)
            except (UnknownHashError, ValueError, OverflowError):  # "!" and the like: an account without a password
                self._hash.hash(password)
                return False, None

    def hash(self, password: str) -> str:
        """The password as it is kept.

        :raises marshmallow.ValidationError: longer than the hasher takes; bcrypt's limit is 72 bytes.
        """
        password = normalize(password)
        with self._turns.turn():
            try:
                return self._hash.hash(password)
            except ValueError:
                raise ValidationError({"password": [Message("This password is too long.", code="too-long")]}) from None


def normalize(password: str) -> str:
    """NFC, so that an ``é`` of one and of two code points is the same (NIST SP 800-63B-4 section 3.1.1.2).

    :raises marshmallow.ValidationError: longer than :data:`PASSWORD_MAX_LENGTH`; nothing is cut off.
    """
    if len(password) > PASSWORD_MAX_LENGTH:  # first: normalising takes quadratic time
        raise ValidationError({"password": [TOO_LONG]})
    return unicodedata.normalize("NFC", password)


def password_hash(hasher: Any) -> PasswordHash:
    """The pwdlib object for the setting: its hasher first, then everything else that is recognised.

    The default's parameters are OWASP's (Password Storage Cheat Sheet, argon2id).
    """
    if isinstance(hasher, PasswordHash):
        return hasher
    if isinstance(hasher, type):
        hasher = hasher()
    argon2 = Argon2Hasher(time_cost=2, memory_cost=19456, parallelism=1)
    return PasswordHash([hasher or argon2, argon2, *foreign_hashers()])


def is_hasher(hasher: Any) -> bool:
    """Whether :func:`password_hash` can make something of it."""
    return hasher is None or all(callable(getattr(hasher, name, None)) for name in ("hash", "verify"))


def foreign_hashers() -> list[Any]:
    """Hashes that others made, accepted at login and upgraded there."""
    hashers: list[Any] = [WerkzeugHasher(), DjangoHasher()]
    if find_spec("bcrypt"):
        from pwdlib.hashers.bcrypt import BcryptHasher

        class Bcrypt(BcryptHasher):
            def verify(self, password: str | bytes, hash: str | bytes) -> bool:
                # bcrypt never looked at more than 72 bytes; since 5.0 its library refuses them instead.
                data = password.encode() if isinstance(password, str) else password
                return super().verify(data[:72], hash)

        hashers.append(Bcrypt())
    return hashers


class _ForeignHasher:
    """A make of hashes that is verified but never made: pwdlib hashes with its first hasher only."""

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        raise TypeError(f"{type(self).__name__} only verifies; the first hasher makes new hashes.")

    def check_needs_rehash(self, hash: str | bytes) -> bool:
        return True


class WerkzeugHasher(_ForeignHasher):
    """``scrypt:…`` and ``pbkdf2:…``, as ``werkzeug.security.generate_password_hash`` makes them."""

    @classmethod
    def identify(cls, hash: str | bytes) -> bool:
        return _text(hash).startswith(("scrypt:", "pbkdf2:"))

    def verify(self, password: str | bytes, hash: str | bytes) -> bool:
        try:
            return check_password_hash(_text(hash), _text(password))
        except ValueError:  # parameters that make no sense
            return False


class DjangoHasher(_ForeignHasher):
    """``pbkdf2_sha256$…``, Django's default, and its older ``pbkdf2_sha1$…``."""

    @classmethod
    def identify(cls, hash: str | bytes) -> bool:
        return _text(hash).startswith(("pbkdf2_sha256$", "pbkdf2_sha1$")) and _text(hash).count("$") == 3

    def verify(self, password: str | bytes, hash: str | bytes) -> bool:
        algorithm, iterations, salt, digest = _text(hash).split("$")
        if not iterations.isdecimal() or not 0 < int(iterations) < 2**31:
            return False
        made = hashlib.pbkdf2_hmac(
            algorithm.removeprefix("pbkdf2_"), _text(password).encode(), salt.encode(), int(iterations)
        )
        return hmac.compare_digest(base64.b64encode(made), digest.encode())


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
