"""Sign and verify the links in e-mails.

A link is signed over its purpose, its account, and the state of that account. Using a link changes that
state, so no table of used links is needed.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from flask import current_app
from itsdangerous import Signer
from itsdangerous.encoding import base64_decode, base64_encode, want_bytes

from ..errors import LinkExpired, LinkInvalid
from ..settings import PREFIX, Settings, SettingsReader, setting
from ..users.stamps import UserSnapshot
from ..users.store import User, UserStore

#: The maximum difference between the clocks of two hosts, in seconds.
CLOCK_SKEW = 60

#: The state that a link to an unknown account is checked against.
NO_ACCOUNT = UserSnapshot(None, None, False, False, "")


class SignedLink(NamedTuple):
    """The parameters of a link, as text, as the client sent them."""

    user_id: str
    timestamp: str
    signature: str
    email: str | None = None


@dataclass(frozen=True)
class VerificationLink:
    """A link before ``REGISTRATION_VERIFICATION_URL_BUILDER`` makes a URL of it."""

    base_url: str
    params: Mapping[str, str]


@dataclass(frozen=True)
class Purpose:
    """What a link is for: a name that salts its signature, and values that it is bound to.

    :ivar stamped: whether a new security stamp makes the link invalid, as it should.
    """

    name: str
    binds: Callable[[UserSnapshot], tuple[Any, ...]]
    stamped: bool = True


def build_verification_url(link: VerificationLink) -> str:
    """Append the parameters of a link to its page as a query string.

    They follow a ``#`` too: there a single-page application with a hash router reads them.
    """
    separator = "&" if "?" in link.base_url else "?"
    return f"{link.base_url}{separator}{urlencode(link.params)}"


@dataclass(frozen=True, kw_only=True)
class LinkSettings(Settings):
    """The pages of the front end that links lead to: absolute URLs, to which the parameters are appended."""

    register_verification_url: str | None = setting(
        None, "The page that verifies a registration. Must be set.", page="verify-registration/"
    )
    verification_url_builder: Callable[[VerificationLink], str] = setting(
        build_verification_url,
        "Makes the URL of a link: `builder(link)`, with `link.base_url` and `link.params`.",
    )


def front_end_pages(groups: Iterable[Settings]) -> dict[str, str]:
    """Return the URL of each page of the front end, by the name of its setting in lower case.

    A page without a URL of its own is beside another one; ``""`` if that has none.

    :param groups: groups of settings, :class:`LinkSettings` among them.
    """
    declared: dict[str, tuple[str | None, Mapping[str, Any]]] = {
        field.name: (getattr(group, field.name), field.metadata)
        for group in groups
        for field in dataclass_fields(group)
        if field.metadata.get("page")
    }

    def resolve(name: str) -> str:
        # Without the flow of the other page, the first page is in the same folder.
        url, metadata = declared.get(name) or declared["register_verification_url"]
        if url:
            return str(url)
        other = (metadata.get("beside") or "").lower()
        return sibling_url(resolve(other), metadata["page"]) if other else ""

    return {name: resolve(name) for name in declared}


def sibling_url(url: str, name: str) -> str:
    """Return the URL of a page in the same folder: ``https://example.com/a/`` → ``https://example.com/name``."""
    if not url:
        return ""
    start, _, path = url.partition("?")[0].partition("://")
    folder = path.rstrip("/").rpartition("/")[0] or path.rstrip("/")
    return f"{start}://{folder}/{name}"


def check_page(reader: SettingsReader, key: str) -> None:
    """Add a problem if a page is missing or not absolute: no request may decide where a link leads.

    A page beside another one has no problem of its own if the other one has.

    :param key: the setting, without ``REGISTRATION_``.
    """
    name = key.lower()
    metadata, value = next(
        (field.metadata, getattr(group, name))
        for group in reader.groups
        for field in dataclass_fields(group)
        if field.name == name
    )
    others = (PREFIX + (metadata["beside"] or ""), f"{PREFIX}REGISTER_VERIFICATION_URL")
    if value is None and any(problem.setting in others for problem in reader.problems):
        return
    page = front_end_pages(reader.groups)[name]
    example = f'"https://example.com/{metadata["page"]}"'
    if not page:
        text = f"is not set. Set it to the absolute URL of the page that the link leads to, for example {example}."
        reader.problem(PREFIX + key, text)
    elif not is_absolute_url(page):
        text = f"is {page!r}, which is not absolute. Begin it with the scheme and the host, for example {example}."
        reader.problem(PREFIX + key, text)


def signing_keys() -> list[str | bytes]:
    """Return the application's keys, oldest first. The last one signs, as in itsdangerous."""
    app = current_app
    return [*(app.config.get("SECRET_KEY_FALLBACKS") or ()), app.secret_key or ""]


class Links:
    """Signs and verifies links with itsdangerous: HMAC-SHA-256, with a salt for each purpose.

    :param keys: called at each use; returns the keys, oldest first. The last one signs.
    :param build_url: makes the URL of a link.
    """

    def __init__(
        self,
        keys: Callable[[], Sequence[str | bytes]],
        users: UserStore,
        build_url: Callable[[VerificationLink], str] = build_verification_url,
    ) -> None:
        self._keys = keys
        self._users = users
        self._build_url = build_url

    def url(self, purpose: Purpose, user: User, page: str, email: str | None = None) -> str:
        """Sign a link and return its URL, as the application's builder makes it.

        :param page: the URL of the page that the link leads to.
        :param email: another e-mail address that the link is about.
        """
        return self._build_url(self.sign(purpose, user, page, email))

    def sign(
        self, purpose: Purpose, user: User, base_url: str, email: str | None = None
    ) -> VerificationLink:
        """Sign a link for this user as the account is now.

        :param email: another e-mail address that the link is about.
        """
        user_id, timestamp = self._users.identifier(user), str(int(time.time()))
        snapshot = self._users.snapshot(user)
        payload = self._payload(purpose, snapshot, user_id, email, timestamp)
        signature = self._signer(purpose).get_signature(payload).decode()
        about = {"user_id": user_id} if email is None else {"user_id": user_id, "email": email}
        return VerificationLink(base_url, {**about, "timestamp": timestamp, "signature": signature})

    def open(
        self, purpose: Purpose, link: SignedLink, max_age: timedelta
    ) -> tuple[User, UserSnapshot]:
        """Verify a link. Return its user, and the account as it was found.

        :param max_age: how long the link is valid, to the second.
        :raises LinkInvalid: forged, of another purpose, used, of an unknown or suspended account, or from
            the future: the same error for all.
        :raises LinkExpired: it was valid, and is older than ``max_age``.
        """
        user = self._users.get(link.user_id)
        snapshot = NO_ACCOUNT if user is None else self._users.snapshot(user)
        payload = self._payload(purpose, snapshot, link.user_id, link.email, link.timestamp)
        is_signed = self._signer(purpose).verify_signature(payload, link.signature.encode())
        is_genuine = is_signed and is_canonical(link.signature)
        if user is None or not is_genuine or not snapshot.is_active:
            raise LinkInvalid(user_id=None if user is None else link.user_id)
        check_age(link, max_age)
        return user, snapshot

    def _signer(self, purpose: Purpose) -> Signer:
        return Signer(
            [want_bytes(key) for key in self._keys()],
            salt=f"flask-registration.{purpose.name}",
            key_derivation="hmac",
            digest_method=hashlib.sha256,
        )

    def _payload(
        self,
        purpose: Purpose,
        snapshot: UserSnapshot,
        user_id: str,
        email: str | None,
        timestamp: str,
    ) -> bytes:
        stamp = snapshot.security_stamp if purpose.stamped else None
        return json.dumps([user_id, email, timestamp, stamp, *purpose.binds(snapshot)]).encode()


def is_canonical(signature: str) -> bool:
    """Return whether a signature is spelled as we write it.

    The decoder of Base64 ignores padding, foreign characters and spare bits.
    """
    return signature.isascii() and base64_encode(base64_decode(signature)).decode() == signature


def check_age(link: SignedLink, max_age: timedelta) -> None:
    """Check the time of a genuine link.

    :raises LinkInvalid: from the future by more than :data:`CLOCK_SKEW`.
    :raises LinkExpired: older than ``max_age``.
    """
    age = int(time.time()) - int(link.timestamp)
    if age < -CLOCK_SKEW:
        raise LinkInvalid(user_id=link.user_id)
    if age > max_age.total_seconds():
        raise LinkExpired(user_id=link.user_id)


def is_absolute_url(url: str) -> bool:
    """Return whether a URL has a scheme and a host; the scheme may be that of a mobile application."""
    parts = urlsplit(url)
    return bool(parts.scheme and parts.netloc) and url.isprintable() and " " not in url
