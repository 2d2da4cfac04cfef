"""Mailed links: signed over what they are for, whom they are for, and the state of that account.

Using a link changes the state it is bound to; so there is no table of spent links.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from itsdangerous import Signer
from itsdangerous.encoding import base64_decode, base64_encode, want_bytes

from .errors import LinkExpired, LinkInvalid
from .settings import PREFIX, Settings, SettingsReader, setting
from .users import User, UserState, UserStore

#: How far the clocks of two hosts may be apart, in seconds.
CLOCK_SKEW = 60


class SignedLink(NamedTuple):
    """The parameters of a mailed link, as text, just as they came back."""

    user_id: str
    timestamp: str
    signature: str
    email: str | None = None


@dataclass(frozen=True)
class VerificationLink:
    """What ``REGISTRATION_VERIFICATION_URL_BUILDER`` makes a URL of."""

    base_url: str
    params: Mapping[str, str]


@dataclass(frozen=True)
class Purpose:
    """What a link is for: a name that salts its signature, and what it is bound to beside the security stamp.

    :ivar stamped: whether it ends with the security stamp that it was signed under, as it should.
    """

    name: str
    binds: Callable[[UserState], tuple[Any, ...]]
    stamped: bool = True


#: What the pages behind mailed links are called where nobody says otherwise.
PAGES = {
    "REGISTER_VERIFICATION_URL": "verify-registration/",
    "RESET_PASSWORD_VERIFICATION_URL": "reset-password/",
    "REGISTER_EMAIL_VERIFICATION_URL": "verify-email/",
    "UNDO_EMAIL_CHANGE_URL": "undo-email-change/",
}


@dataclass(frozen=True, kw_only=True)
class LinkSettings(Settings):
    """The pages of the front end behind mailed links, absolute URLs to which the links' parameters are appended."""

    register_verification_url: str | None = setting(None, "The page that verifies a registration. Must be set.")
    reset_password_verification_url: str | None = setting(
        None, "The page that asks for the new password.", default_text="`reset-password/` beside the first"
    )
    register_email_verification_url: str | None = setting(
        None, "The page that verifies a new address.", default_text="`verify-email/` beside the first"
    )
    undo_email_change_url: str | None = setting(
        None, "The page that takes a change of address back.", default_text="`undo-email-change/` beside the one before"
    )

    @property
    def register_page(self) -> str:
        return self.register_verification_url or ""

    @property
    def reset_password_page(self) -> str:
        return self.reset_password_verification_url or beside(
            self.register_page, PAGES["RESET_PASSWORD_VERIFICATION_URL"]
        )

    @property
    def register_email_page(self) -> str:
        return self.register_email_verification_url or beside(
            self.register_page, PAGES["REGISTER_EMAIL_VERIFICATION_URL"]
        )

    @property
    def undo_email_change_page(self) -> str:
        return self.undo_email_change_url or beside(self.register_email_page, PAGES["UNDO_EMAIL_CHANGE_URL"])


def beside(url: str, name: str) -> str:
    """The URL of a page in the same place as another: ``https://example.com/a/`` → ``https://example.com/name``."""
    if not url:
        return ""
    start, _, path = url.partition("?")[0].partition("://")
    folder = path.rstrip("/").rpartition("/")[0] or path.rstrip("/")
    return f"{start}://{folder}/{name}"


def check_page(reader: SettingsReader, name: str, page: str) -> None:
    """Note a problem if a page is missing or not absolute: nothing in a request may decide where a link leads.

    A page that would stand beside another one is not blamed for that one's problem.
    """
    key, others = PREFIX + name, [PREFIX + f"REGISTER_{about}VERIFICATION_URL" for about in ("", "EMAIL_")]
    if getattr(reader.read(LinkSettings), name.lower()) is None and any(
        problem.setting in others for problem in reader.problems
    ):
        return
    example = f'"https://example.com/{PAGES[name]}"'
    if not page:
        reader.problem(key, f"is not set: give the absolute URL of the page behind the mailed link, like {example}.")
    elif not is_absolute_url(page):
        reader.problem(
            key, f"is {page!r}, which is not absolute: start it with the scheme and the host, like {example}."
        )


class Links:
    """Signs and opens links with itsdangerous: HMAC-SHA-256, a salt for each purpose.

    :param keys: called at each use; the keys, oldest first, the last one signs (``SECRET_KEY_FALLBACKS``).
    """

    def __init__(self, keys: Callable[[], Sequence[str | bytes]], users: UserStore) -> None:
        self._keys = keys
        self._users = users

    def sign(self, purpose: Purpose, user: User, base_url: str, email: str | None = None) -> VerificationLink:
        """A link for this user as the account is now.

        :param email: another address that the link is about, one of its parameters.
        """
        user_id, timestamp = self._users.identifier(user), str(int(time.time()))
        payload = self._payload(purpose, self._users.state(user), user_id, email, timestamp)
        signature = self._signer(purpose).get_signature(payload).decode()
        about = {"user_id": user_id} if email is None else {"user_id": user_id, "email": email}
        return VerificationLink(base_url, {**about, "timestamp": timestamp, "signature": signature})

    def open(self, purpose: Purpose, link: SignedLink, max_age: timedelta) -> tuple[User, UserState]:
        """The user of a link, and the state in which it found the account.

        :param max_age: how long the link is good for, to the second.
        :raises LinkInvalid: forged, for something else, used, unknown, suspended or from the future: all alike.
        :raises LinkExpired: good once, and older than that.
        """
        user = self._users.get(link.user_id)
        state = NOBODY if user is None else self._users.state(user)
        payload, signature = self._payload(purpose, state, link.user_id, link.email, link.timestamp), link.signature
        genuine = self._signer(purpose).verify_signature(payload, signature.encode()) and is_canonical(signature)
        if user is None or not genuine or not state.is_active:
            raise LinkInvalid(user_id=None if user is None else link.user_id)
        check_age(link, max_age)
        return user, state

    def _signer(self, purpose: Purpose) -> Signer:
        return Signer(
            [want_bytes(key) for key in self._keys()],
            salt=f"flask-registration.{purpose.name}",
            key_derivation="hmac",
            digest_method=hashlib.sha256,
        )

    def _payload(self, purpose: Purpose, state: UserState, user_id: str, email: str | None, timestamp: str) -> bytes:
        stamp = state.security_stamp if purpose.stamped else None
        return json.dumps([user_id, email, timestamp, stamp, *purpose.binds(state)]).encode()


def is_canonical(signature: str) -> bool:
    """Whether a signature is spelt as we do: Base64's decoder skips padding, foreign characters and spare bits."""
    return signature.isascii() and base64_encode(base64_decode(signature)).decode() == signature


def check_age(link: SignedLink, max_age: timedelta) -> None:
    """Hold a genuine link against the clock.

    :raises LinkInvalid: from the future, further than two hosts' clocks may be apart.
    :raises LinkExpired: older than ``max_age``.
    """
    age = int(time.time()) - int(link.timestamp)
    if age < -CLOCK_SKEW:
        raise LinkInvalid(user_id=link.user_id)
    if age > max_age.total_seconds():
        raise LinkExpired(user_id=link.user_id)


NOBODY = UserState(None, None, False, False, "")


def build_verification_url(link: VerificationLink) -> str:
    """The link's page with the parameters appended as a query string.

    They go to the very end, also behind a ``#``: that is where a single-page application with a hash router reads them.
    """
    separator = "&" if "?" in link.base_url else "?"
    return f"{link.base_url}{separator}{urlencode(link.params)}"


def is_absolute_url(url: str) -> bool:
    """Whether a URL says on its own where it leads; a mobile application's own scheme does too."""
    parts = urlsplit(url)
    return bool(parts.scheme and parts.netloc) and url.isprintable() and " " not in url
