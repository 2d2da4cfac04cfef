"""Check, hash and verify passwords (NIST SP 800-63B-4, OWASP Password Storage Cheat Sheet)."""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marshmallow import ValidationError
from pwdlib.exceptions import UnknownHashError
from zxcvbn_rs_py import zxcvbn

from ..errors import TooBusy
from ..i18n.messages import Message, plural
from ..settings import Settings, setting
from .hashers import ConcurrencyLimit, hash_kind, password_hash

if TYPE_CHECKING:
    from zxcvbn_rs_py import Entropy

#: NIST SP 800-63B-4 section 3.1.1.2 requires at least 64.
PASSWORD_MAX_LENGTH = 256

TOO_LONG = plural(
    "Use at most {count} character.",
    "Use at most {count} characters.",
    PASSWORD_MAX_LENGTH,
    code="too-long",
)

COMMON = Message("This is a very common password.", code="too-guessable")

#: Languages without a space between sentences have another translation.
TWO_SENTENCES = Message("{first} {second}", code="too-guessable")

#: The part of a password that zxcvbn rates. Its time grows with the square of the length if a
#: password repeats itself (7 ms for a hundred times "a"). Further characters weaken no password.
STRENGTH_MAX_LENGTH = 64

#: The digits and symbols that zxcvbn reads as the same letter.
SAME_LETTER = ("4@", "({[<", "69", "1!|", "1|7", "$5", "+7")

#: The maximum of the readings of a password times the square of its length: 20 ms of zxcvbn. It
#: leaves at least 14 characters, whatever they are.
STRENGTH_MAX_COST = 100_000

#: The maximum number of kinds of hashes that a refused login takes into account.
MAX_KINDS = 20

#: What a hasher raises for a text that is no hash, or for a password that is too long for it:
#: bcrypt's limit is 72 bytes.
UNVERIFIABLE = (UnknownHashError, ValueError, OverflowError)

#: The highest score of zxcvbn.
STRONGEST = 4


def long_enough(password: str, *, settings: PasswordSettings, **_: Any) -> None:
    """Check the length of a password in code points (NIST SP 800-63B-4 section 3.1.1.2).

    :raises marshmallow.ValidationError: with the minimum length.
    """
    if len(password) < settings.password_min_length:
        raise ValidationError(
            plural(
                "Use at least {count} character.",
                "Use at least {count} characters.",
                settings.password_min_length,
                code="too-short",
            )
        )


def rate(password: str, user_inputs: Sequence[str]) -> Entropy:
    """Rate a password with zxcvbn, which knows the user's own data."""
    inputs = [text[:STRENGTH_MAX_LENGTH] for text in user_inputs if text]
    return zxcvbn(_rated_part(password), inputs)


def _rated_part(password: str) -> str:
    """Return the part of a password that zxcvbn rates; further characters weaken no password.

    zxcvbn looks up every part of it in every reading of its digits and symbols as letters. There
    are 576 readings if it has all of them, and 64 such characters would take half a second, in
    which no other thread runs.
    """
    part = password[:STRENGTH_MAX_LENGTH]
    while _readings(part) * len(part) ** 2 > STRENGTH_MAX_COST:
        part = part[:-1]
    return part


def _readings(text: str) -> int:
    return prod(max(1, sum(sign in text for sign in signs)) for signs in SAME_LETTER)


def strong_enough(
    password: str, *, user_inputs: Sequence[str], settings: PasswordSettings, **_: Any
) -> None:
    """Check that a password is not a common one, and its strength with zxcvbn.

    zxcvbn knows the user's own data. It does not know some of the most common passwords, which look
    random (OWASP ASVS 5.0, 6.2.4).

    :raises marshmallow.ValidationError: with advice.
    """
    estimate = rate(password, user_inputs)
    if int(estimate.score) >= settings.password_min_strength:
        if password.casefold() in common_passwords():
            raise ValidationError(COMMON)
        return
    advice = Message("This password is too easy to guess.", code="too-guessable")
    if estimate.feedback:
        warning = estimate.feedback.warning
        advice = Message(str(warning), code="too-guessable") if warning else advice
        for suggestion in map(str, estimate.feedback.suggestions):
            advice = TWO_SENTENCES.format(first=advice, second=Message(suggestion))
    raise ValidationError(advice)


def _check_hasher(hasher: Any) -> None:
    methods = [getattr(hasher, name, None) for name in ("hash", "verify")]
    if not all(map(callable, methods)):
        raise ValueError("must be a pwdlib hasher or a pwdlib.PasswordHash")


@cache
def common_passwords() -> frozenset[str]:
    """Return the most common passwords of at least eight characters, without capitals."""
    text = Path(__file__).with_name("common_passwords.txt").read_text("utf-8")
    return frozenset(line for line in text.splitlines() if not line.startswith("# "))


@dataclass(frozen=True, kw_only=True)
class PasswordSettings(Settings):
    """Password policy."""

    password_validators: tuple[Callable[..., None], ...] = setting(
        (long_enough, strong_enough),
        "Functions that check a new password: "
        "`validator(password, *, user_inputs, settings, **kwargs)` "
        "raises `marshmallow.ValidationError` with advice.",
        default_text="length and strength",
    )
    password_min_length: int = setting(
        8,
        "The minimum length of a password in characters. NIST requires 15 if the password is the "
        "only factor.",
        maximum=PASSWORD_MAX_LENGTH,
    )
    password_min_strength: int = setting(
        3,
        "The minimum zxcvbn score of a password, 0 to 4. Common passwords are always refused.",
        maximum=STRONGEST,
    )
    breached_passwords_url: str = setting(
        "https://api.pwnedpasswords.com/range/",
        "The range API that the validator `not_breached` asks, by default that of Have I Been "
        "Pwned. It receives five of the 40 digits of a password's SHA-1 hash.",
    )
    password_hasher: Any = setting(
        None,
        "The hasher for new passwords: a pwdlib hasher, for example "
        "`Argon2Hasher(memory_cost=65536)`, or a `pwdlib.PasswordHash`. "
        "Hashes of other algorithms and parameters are upgraded at the next login.",
        default_text="argon2id, m=19456 KiB, t=2, p=1",
        validate=_check_hasher,
    )
    password_hash_concurrency: int | None = setting(
        4,
        "The maximum number of passwords that a process hashes at the same time, each with the "
        "hasher's memory (19 MiB by default). Other requests wait. `None` removes the limit.",
        minimum=1,
    )
    password_hash_queue: int | None = setting(
        64,
        "The maximum number of requests of a process that wait for the hasher. Further ones "
        "return 503. Set fewer than the threads of a process, so that other routes respond. "
        "`None` removes the limit.",
    )


#: What is stored in place of a hash after an undo of an e-mail change. No password matches it.
REVOKED = "!revoked"


def unusable_hash() -> str:
    """Return what is stored in place of a hash for an account without a password.

    It is random, since a model without a security stamp uses it as one.
    """
    return f"!{secrets.token_urlsafe(30)}"


def is_usable(stored: str | None) -> bool:
    """Return whether a stored hash is that of a password."""
    return bool(stored) and not str(stored).startswith("!")


class Passwords:
    """Checks, hashes and verifies passwords.

    :param site: the site's names, which make weak passwords there.
    """

    def __init__(self, settings: PasswordSettings, site: Sequence[str]) -> None:
        self._settings = settings
        self._site = list(site)
        self._hash = password_hash(settings.password_hasher)
        self._limit = ConcurrencyLimit(
            settings.password_hash_concurrency, settings.password_hash_queue
        )
        common_passwords()
        self._own_kind: str | None = None
        self._is_searched = False
        self._examples: dict[str, str] = {}
        zxcvbn("a")  # load its dictionaries before the first request (10 ms); "" would not do that

    def check_queue(self) -> None:
        """Check that a password can be hashed soon.

        :raises TooBusy: too many requests wait for the hasher.
        """
        if self._limit.is_full:
            raise TooBusy

    def check(self, password: str, user_inputs: Sequence[str]) -> None:
        """Check a new password with all validators.

        :raises marshmallow.ValidationError: with all messages, under ``password``.
        """
        password = normalize(password)
        messages: list[Any] = []
        inputs = [*user_inputs, *self._site]
        for validator in self._settings.password_validators:
            try:
                validator(password, user_inputs=inputs, settings=self._settings)
            except ValidationError as error:
                messages += error.messages
        if messages:
            raise ValidationError({"password": messages})

    def score(self, password: str, user_inputs: Sequence[str]) -> int:
        """Return how strong a new password is, from 0 to 4, for a page that shows it."""
        return int(rate(password, [*user_inputs, *self._site]).score)

    def verify(self, password: str, stored: str | None) -> tuple[bool, str | None]:
        """Return whether this is the password, and a new hash if the stored one is outdated.

        :param stored: None takes as long as a hash, so that timing does not reveal who has an
            account.
        """
        try:
            password = normalize(password)
        except ValidationError:
            return False, None
        with self._limit.acquire():
            # An account without a password has another text in place of a hash, such as "!".
            with suppress(*UNVERIFIABLE):
                if stored:
                    return self._hash.verify_and_update(password, stored)
            with suppress(ValueError):
                self._make(password)
            return False, None

    def equalize(
        self, password: str, stored: str | None, find_other: Callable[[Sequence[str]], str | None]
    ) -> None:
        """Do the work that a refused login with another kind of hash takes.

        Hashes of another application take longer, or less long, than new ones. While such hashes
        exist, a refused login verifies one of each kind, whichever kind the account has.

        :param stored: the hash that was verified; None for an unknown account.
        :param find_other: returns a stored hash that begins with none of these strings, if there is
            one. It is called in the first refused login of the process.
        """
        if len(password) > PASSWORD_MAX_LENGTH:  # which :meth:`verify` has not hashed
            return
        self.find_kinds(find_other)
        kind = self._learn(stored) if stored else self._own_kind
        with self._limit.acquire():
            for other, example in list(self._examples.items()):
                if other != kind:
                    with suppress(*UNVERIFIABLE):
                        self._hash.verify(password, example)
            if kind != self._own_kind:
                with suppress(ValueError):
                    self._make(password)

    def find_kinds(self, find_other: Callable[[Sequence[str]], str | None]) -> None:
        """Find the kinds of the stored hashes, once in a process; see :meth:`equalize`."""
        if self._is_searched:
            return
        self._is_searched = True  # before the search, so that parallel requests do not search, too
        try:
            excluded = [self._own_kind or hash_kind(self.hash("an example"))]
            while len(excluded) < MAX_KINDS and (other := find_other(excluded)):
                self._learn(other)
                excluded.append(hash_kind(other) or other[:1])
        except Exception:  # the database fails, or too many requests wait for the hasher
            self._is_searched = False
            raise

    def _make(self, password: str) -> str:
        made = self._hash.hash(password)
        self._own_kind = hash_kind(made)
        return made

    def _learn(self, stored: str) -> str | None:
        """Return the kind of a hash, and keep an example of each kind but the hasher's own.

        A text that is no hash, such as ``"!"``, takes as long as a new hash.
        """
        kind = hash_kind(stored)
        is_known = any(hasher.identify(stored) for hasher in self._hash.hashers)
        if kind == self._own_kind or not is_known:
            return self._own_kind
        self._examples.setdefault(kind, stored)
        return kind

    def hash(self, password: str) -> str:
        """Return the hash of a password.

        :raises marshmallow.ValidationError: it is too long for the hasher; bcrypt's limit is 72
            bytes.
        """
        password = normalize(password)
        with self._limit.acquire():
            try:
                return self._make(password)
            except ValueError:
                message = Message("This password is too long.", code="too-long")
                raise ValidationError(message, "password") from None


def normalize(password: str) -> str:
    """Return a password in the form NFC (NIST SP 800-63B-4 section 3.1.1.2).

    An ``é`` of one code point equals an ``é`` of two.

    :raises marshmallow.ValidationError: longer than :data:`PASSWORD_MAX_LENGTH`; it is not cut.
    """
    if len(password) > PASSWORD_MAX_LENGTH:  # first: normalizing takes quadratic time
        raise ValidationError({"password": [TOO_LONG]})
    return unicodedata.normalize("NFC", password)
