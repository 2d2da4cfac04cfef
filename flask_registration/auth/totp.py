"""Time-based one-time passwords (RFC 6238), encrypted at rest, and digests of recovery codes."""

from __future__ import annotations

import hashlib
import hmac
import time
from base64 import urlsafe_b64encode
from collections.abc import Sequence

import pyotp
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

#: The length of an interval in seconds (RFC 6238 section 5.2).
INTERVAL = 30


def new_secret() -> str:
    """Return a secret of 160 bits in Base32 (RFC 4226 section 4)."""
    return pyotp.random_base32()


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


def encrypt(secret: str, keys: Sequence[str]) -> str:
    """Encrypt a secret with the last key."""
    return _cipher(keys).encrypt(secret.encode()).decode()


def decrypt(stored: str, keys: Sequence[str]) -> str | None:
    """Decrypt a secret with any of the keys; None if it was encrypted with another one."""
    try:
        return _cipher(keys).decrypt(stored.encode()).decode()
    except InvalidToken:
        return None


def recovery_digests(code: str, user_id: str, keys: Sequence[str]) -> list[str]:
    """Return the digests of a recovery code with all keys, that of the last key first."""
    content = f"flask-registration.recovery-code {user_id} {code}".encode()
    return [hmac.new(each.encode(), content, hashlib.sha256).hexdigest() for each in reversed(keys)]


def _cipher(keys: Sequence[str]) -> MultiFernet:
    return MultiFernet([Fernet(_derived(key)) for key in reversed(keys)])


def _derived(key: str) -> bytes:
    info = b"flask-registration.credential"
    derived = HKDF(SHA256(), 32, salt=None, info=info).derive(key.encode())
    return urlsafe_b64encode(derived)
