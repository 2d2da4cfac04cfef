"""Time-based one-time passwords (RFC 6238), encrypted at rest, and digests of recovery codes."""

from __future__ import annotations

import hmac
import time
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pyotp
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from flask import current_app
from limits import RateLimitItem
from sqlalchemy import case

from ..errors import CodeInvalid, FactorExists, Throttled
from ..users.mixins import as_utc, utc_now
from ..users.store import User
from .codes import keyed_digest, make_code, normalize_code, show_code
from .credentials import NO_FAILURES, RECOVERY_CODE, TOTP, CredentialStore

#: The length of an interval in seconds (RFC 6238 section 5.2).
INTERVAL = 30

#: How long a new secret waits for its first code. Storing it needs a fresh login, and showing the
#: code does not.
ENROLLMENT_PERIOD = timedelta(minutes=15)


def enrollment_uri(secret: str, name: str, issuer: str) -> str:
    """Return the ``otpauth://`` URI that an authenticator app reads."""
    return str(pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=issuer))


@dataclass(eq=False)
class SecondFactor(CredentialStore):
    """The authenticator app and the recovery codes of an account.

    :ivar keys: what secrets are encrypted with, oldest first. The last one encrypts, and keys the
        digests of recovery codes.
    :ivar lock: how many wrong codes an account can have in which time.
    """

    keys: Sequence[str]
    lock: RateLimitItem | None

    # Without committing

    def begin(self, user: User) -> str:
        """Store a new secret, and return it. It is not active yet.

        It replaces an earlier one that is not active either.

        :raises FactorExists: the account has an active one.
        """
        secret = str(pyotp.random_base32())
        self._store_secret(user, secret)
        return secret

    def _store_secret(self, user: User, secret: str) -> None:
        encrypted = self._cipher.encrypt(secret.encode()).decode()
        key, values = self._key(TOTP, user), {"secret": encrypted, "created_at": utc_now()}
        replaced = self._row(key, self.model.confirmed_at.is_(None)).values(values)
        if self.execute(replaced):
            return
        if self.totp(user):
            raise FactorExists
        is_added = self._add(user_id=self.key(user), kind=TOTP, key=key, **values)
        if not (is_added or self.execute(replaced)):
            raise FactorExists

    def import_secret(self, user: User, secret: str) -> None:
        """Activate a secret in place of an earlier one.

        :param secret: in Base32.
        """
        self.remove_all(user)
        self._store_secret(user, secret)
        self._confirm(user, self.totp(user, confirmed=False), 0)

    def unused_code(self, user: User) -> str:
        """Return a code of the authenticator app that is not spent, for tests.

        An account without an app gets one.
        """
        if not self.totp(user):
            self.import_secret(user, pyotp.random_base32())
        row = self.totp(user)
        totp = pyotp.TOTP(self._decrypted(user, row.secret) or "")
        return str(totp.generate_otp(max(int(time.time()) // INTERVAL, row.counter + 1)))

    def confirm(self, user: User, code: str) -> None:
        """Activate the secret with a code of it. The code is spent.

        :raises CodeInvalid: the code is wrong, or there is nothing to confirm.
        :raises Throttled: the account had too many wrong codes.
        """
        self._count_failure(user)
        row = self.totp(user, confirmed=False)
        interval = row and self._interval(user, row.secret, normalize_code(code))
        if interval is None:
            raise CodeInvalid
        self._confirm(user, row, interval)

    def _confirm(self, user: User, row: Any, interval: int) -> None:
        model, now = self.model, utc_now()
        is_pending = model.confirmed_at.is_(None) & (model.secret == row.secret)
        is_recent = model.created_at > now - ENROLLMENT_PERIOD
        self._spend(user, interval, is_pending, is_recent, confirmed_at=now)

    def use(self, user: User, code: str) -> str:
        """Use a code. It works once. Return the kind of the code.

        :raises CodeInvalid: the code is wrong, or was used, or the account has no factor.
        :raises Throttled: the account had too many wrong codes, until the time is over.
        """
        self._count_failure(user)
        model, row, code = self.model, self.totp(user), normalize_code(code)
        if row is None:
            raise CodeInvalid
        interval = self._interval(user, row.secret, code)
        if interval is not None:
            self._spend(user, interval, model.confirmed_at.is_not(None), model.counter < interval)
            return TOTP
        is_code = (model.kind == RECOVERY_CODE) & model.key.in_(self._digests(user, code))
        if not self.delete_where(self.is_of(user), is_code):
            raise CodeInvalid
        self.clear_failures(user)
        return RECOVERY_CODE

    def _spend(self, user: User, interval: int, *conditions: Any, **values: Any) -> None:
        """Spend the code of an interval, and all earlier ones, if the row meets all conditions.

        :raises CodeInvalid: it does not.
        """
        spent = {"counter": interval, "last_used_at": utc_now(), **NO_FAILURES, **values}
        if not self.execute(self._row(self._key(TOTP, user), *conditions).values(spent)):
            raise CodeInvalid

    def replace_recovery_codes(self, user: User, count: int) -> list[str]:
        """Return new recovery codes, which replace the earlier ones."""
        self.delete_where(self.is_of(user), self.model.kind == RECOVERY_CODE)
        codes = [make_code() for _ in range(count)]
        values = {"user_id": self.key(user), "kind": RECOVERY_CODE, "confirmed_at": utc_now()}
        self.db.session.add_all(
            self.model(key=self._digests(user, code)[0], **values) for code in codes
        )
        self.db.session.flush()
        return [show_code(code) for code in codes]

    # In a transaction of its own

    def _count_failure(self, user: User) -> None:
        """Count a code as wrong, before it is compared. A right one clears the count.

        :raises Throttled: there were too many wrong codes, until the time is over.
        """
        limit = self.lock
        if limit is None:
            return
        now, model, key = utc_now(), self.model, self._key(TOTP, user)
        is_over = (model.locked_until.is_(None)) | (model.locked_until <= now)
        end = now + timedelta(seconds=limit.get_expiry())
        statement = self._row(key, is_over | (model.failures < limit.amount))
        # In this order: MySQL compares the second value with the new first one.
        counted = statement.ordered_values(
            (model.failures, case((is_over, 1), else_=model.failures + 1)),
            (model.locked_until, case((is_over, end), else_=model.locked_until)),
        )
        if not self.count_try(key, counted):
            row = self.totp(user, confirmed=False)
            if row is not None and row.locked_until is not None:
                raise Throttled((as_utc(row.locked_until) - now).total_seconds())

    # Secrets and codes

    def _interval(self, user: User, stored: str, code: str) -> int | None:
        """Return the interval of a code: the current one, or one beside it; None for a wrong code.

        :param code: in normal form. Digits of other scripts match none.
        """
        secret = self._decrypted(user, stored)
        if secret is None:
            return None
        current, totp = int(time.time()) // INTERVAL, pyotp.TOTP(secret)
        matches = [
            each
            for each in (current, current - 1, current + 1)
            if hmac.compare_digest(totp.generate_otp(each).encode(), code.encode())
        ]
        return matches[0] if matches else None

    @property
    def _cipher(self) -> MultiFernet:
        return MultiFernet([Fernet(_derived(key)) for key in reversed(self.keys)])

    def _decrypted(self, user: User, stored: str) -> str | None:
        try:
            return self._cipher.decrypt(stored.encode()).decode()
        except InvalidToken:
            current_app.logger.error(
                "The TOTP secret of account %s was encrypted with a key that is not in "
                "REGISTRATION_CREDENTIAL_KEYS. Add the key again, before the others.",
                self.users.identifier(user),
            )
            return None

    def _digests(self, user: User, code: str) -> list[str]:
        """Return the digests of a recovery code with all keys, that of the last key first."""
        user_id = self.users.identifier(user)
        content = f"flask-registration.recovery-code {user_id} {code}"
        return [keyed_digest(key.encode(), content) for key in reversed(self.keys)]


def _derived(key: str) -> bytes:
    info = b"flask-registration.credential"
    derived = HKDF(SHA256(), 32, salt=None, info=info).derive(key.encode())
    return urlsafe_b64encode(derived)
