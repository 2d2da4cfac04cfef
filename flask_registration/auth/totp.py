"""Time-based one-time passwords (RFC 6238), encrypted at rest, and digests of recovery codes."""

from __future__ import annotations

import hmac
import time
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass

import pyotp
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from flask import current_app
from limits import RateLimitItem

from ..errors import CodeInvalid
from ..users.store import User
from .codes import keyed_digest, make_code, normalize_code, show_code
from .credentials import RECOVERY_CODE, TOTP, CredentialStore

#: The length of an interval in seconds (RFC 6238 section 5.2).
INTERVAL = 30


def enrollment_uri(secret: str, name: str, issuer: str) -> str:
    """Return the ``otpauth://`` URI that an authenticator app reads."""
    return str(pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=issuer))


def matching_interval(secret: str, code: str) -> int | None:
    """Return the interval of a code: the current one, or one beside it; None for a wrong code.

    :param code: in normal form. Digits of other scripts match none.
    """
    current = int(time.time()) // INTERVAL
    totp = pyotp.TOTP(secret)
    nearest = (current, current - 1, current + 1)
    matches = [
        each
        for each in nearest
        if hmac.compare_digest(totp.generate_otp(each).encode(), code.encode())
    ]
    return matches[0] if matches else None


@dataclass(frozen=True)
class SecondFactor:
    """The authenticator app and the recovery codes of an account.

    :ivar keys: what secrets are encrypted with, oldest first. The last one encrypts, and keys the
        digests of recovery codes.
    :ivar lock: how many wrong codes an account can have in which time.
    """

    store: CredentialStore
    keys: Sequence[str]
    lock: RateLimitItem | None

    def begin(self, user: User) -> str:
        """Store a new secret without committing, and return it. It is not active yet.

        :raises FactorExists: the account has an active one.
        """
        secret = pyotp.random_base32()
        self.store.begin_totp(user, self._encrypted(secret))
        return str(secret)

    def import_secret(self, user: User, secret: str) -> None:
        """Activate a secret without committing, in place of an earlier one.

        :param secret: in Base32.
        """
        self.store.remove_all(user)
        self.store.begin_totp(user, self._encrypted(secret))
        self.store.confirm_totp(user, self.store.totp(user, confirmed=False).secret, 0)

    def unused_code(self, user: User) -> str:
        """Return a code of the authenticator app that is not spent, for tests.

        An account without an app gets one, without committing.
        """
        if not self.store.totp(user):
            self.import_secret(user, pyotp.random_base32())
        row = self.store.totp(user)
        totp = pyotp.TOTP(self._decrypted(user, row.secret) or "")
        return str(totp.generate_otp(max(int(time.time()) // INTERVAL, row.counter + 1)))

    def confirm(self, user: User, code: str) -> None:
        """Activate the secret with a code of it, without committing. The code is spent.

        :raises CodeInvalid: the code is wrong, or there is nothing to confirm.
        :raises Throttled: the account had too many wrong codes.
        """
        self._count_failure(user)
        row = self.store.totp(user, confirmed=False)
        interval = None if row is None else self._interval(user, row.secret, normalize_code(code))
        if interval is None:
            raise CodeInvalid
        self.store.confirm_totp(user, row.secret, interval)

    def use(self, user: User, code: str) -> str:
        """Use a code without committing. It works once. Return the kind of the code.

        :raises CodeInvalid: the code is wrong, or was used, or the account has no factor.
        :raises Throttled: the account had too many wrong codes, until the time is over.
        """
        self._count_failure(user)
        row, code = self.store.totp(user), normalize_code(code)
        if row is None:
            raise CodeInvalid
        interval = self._interval(user, row.secret, code)
        if interval is None:
            self.store.use_recovery_code(user, self._digests(user, code))
            return RECOVERY_CODE
        self.store.use_totp(user, interval)
        return TOTP

    def replace_recovery_codes(self, user: User, count: int) -> list[str]:
        """Return new recovery codes, which replace the earlier ones, without committing."""
        codes = [make_code() for _ in range(count)]
        self.store.replace_recovery_codes(user, [self._digests(user, each)[0] for each in codes])
        return [show_code(code) for code in codes]

    def _count_failure(self, user: User) -> None:
        if self.lock:
            self.store.count_failure(user, self.lock)

    def _interval(self, user: User, stored: str, code: str) -> int | None:
        """Return the interval of a code of the authenticator app; None for a wrong code."""
        secret = self._decrypted(user, stored)
        return None if secret is None else matching_interval(secret, code)

    def _encrypted(self, secret: str) -> str:
        return _cipher(self.keys).encrypt(secret.encode()).decode()

    def _decrypted(self, user: User, stored: str) -> str | None:
        try:
            return _cipher(self.keys).decrypt(stored.encode()).decode()
        except InvalidToken:
            current_app.logger.error(
                "The TOTP secret of account %s was encrypted with a key that is not in "
                "REGISTRATION_CREDENTIAL_KEYS. Add the key again, before the others.",
                self.store.users.identifier(user),
            )
            return None

    def _digests(self, user: User, code: str) -> list[str]:
        """Return the digests of a recovery code with all keys, that of the last key first."""
        user_id = self.store.users.identifier(user)
        content = f"flask-registration.recovery-code {user_id} {code}"
        return [keyed_digest(key.encode(), content) for key in reversed(self.keys)]


def _cipher(keys: Sequence[str]) -> MultiFernet:
    return MultiFernet([Fernet(_derived(key)) for key in reversed(keys)])


def _derived(key: str) -> bytes:
    info = b"flask-registration.credential"
    derived = HKDF(SHA256(), 32, salt=None, info=info).derive(key.encode())
    return urlsafe_b64encode(derived)
