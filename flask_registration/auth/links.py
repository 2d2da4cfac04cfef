"""Sign and verify the links in e-mails.

A link has two signatures. The first needs no account, so a forged link costs no query. The second
is bound to the state of the account. Using a link changes that state, so no table of used links is
needed.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from datetime import timedelta
from typing import Any, Literal, NamedTuple
from urllib.parse import urlencode, urlsplit

from flask import current_app
from itsdangerous import Signer
from itsdangerous.encoding import base64_decode, base64_encode, want_bytes

from ..errors import LinkExpired, LinkInvalid
from ..settings import Settings, setting
from ..users.stamps import NO_ACCOUNT, UserSnapshot, link_digest
from ..users.store import User, UserStore

#: The maximum difference between the clocks of two hosts, in seconds.
CLOCK_SKEW = 60


class SignedLink(NamedTuple):
    """The parameters of a link, as text, as the client sent them.

    A link about an e-mail address without an account has no ``user_id``.
    """

    user_id: str
    timestamp: str
    signature: str
    email: str | None = None

    @property
    def note(self) -> str:
        """Return what the signer has noted in a link that was verified."""
        return ".".join(self.signature.split(".")[2:])


@dataclass(frozen=True)
class VerificationLink:
    """A link before ``REGISTRATION_VERIFICATION_URL_BUILDER`` makes a URL of it."""

    base_url: str
    params: Mapping[str, str]


#: What the name of a purpose ends in for the signature over the state of the account.
STATE = ".state"


@dataclass(frozen=True)
class Purpose:
    """What a link is for: a name that salts its signature, and values that it is bound to.

    :ivar stamped: whether a new security stamp, and the verification of the account, make the link
        invalid. (A new factor ends logins only.)
    :ivar active: whether the account must be active. If not, it must not be.
    """

    name: str
    binds: Callable[[UserSnapshot], tuple[Any, ...]] = lambda user: ()
    stamped: bool = True
    active: bool = True


class OpenedLink(NamedTuple):
    """A link that was verified: its user, the account as it was found, and its parameters.

    The user is None for a link about an e-mail address without an account.
    """

    user: User
    seen: UserSnapshot
    params: SignedLink


def build_verification_url(link: VerificationLink) -> str:
    """Return the URL of the page with the parameters of a link at the start of its query string.

    They follow a ``#`` too: there a single-page application with a hash router reads them.
    """
    page, mark, fragment = link.base_url.partition("#")
    start, place = (page + mark, fragment) if mark else ("", page)
    path, _, others = place.partition("?")
    query = urlencode(link.params) + (f"&{others}" if others else "")
    return f"{start}{path}?{query}"


@dataclass(frozen=True, kw_only=True)
class LinkSettings(Settings):
    """Links in e-mails.

    They lead to pages of the front end. Their URLs are absolute, and the parameters are appended.
    """

    register_verification_url: str | None = setting(
        None, "The page that verifies a registration. Must be set.", page="verify-registration/"
    )
    verification_method: Literal["link", "code", "both"] = setting(
        "link",
        "What e-mails contain that verify an e-mail address or reset a password: a link, a code "
        "that the user types, or both. Codes need the flow `codes`.",
    )
    verification_url_builder: Callable[[VerificationLink], str] = setting(
        build_verification_url,
        "Makes the URL of a link: `builder(link)`, with `link.base_url` and `link.params`.",
    )


def declared_pages(
    groups: Mapping[type[Settings], Settings],
) -> dict[str, tuple[str | None, Mapping[str, Any]]]:
    """Return the URL of each page of the front end as it is set, with its setting's metadata."""
    return {
        field.name: (getattr(group, field.name), field.metadata)
        for group in groups.values()
        for field in dataclass_fields(group)
        if field.metadata.get("page")
    }


def front_end_pages(groups: Mapping[type[Settings], Settings]) -> dict[str, str]:
    """Return the URL of each page of the front end, by the name of its setting in lower case.

    A page without a URL of its own is beside another one; ``""`` if that has none.

    :param groups: groups of settings, :class:`LinkSettings` among them.
    """
    declared = declared_pages(groups)

    def resolve(name: str) -> str:
        # Without the flow of the other page, the first page is in the same folder.
        url, metadata = declared.get(name) or declared["register_verification_url"]
        if url:
            return str(url)
        other = (metadata.get("beside") or "").lower()
        return sibling_url(resolve(other), metadata["page"]) if other else ""

    return {name: resolve(name) for name in declared}


def sibling_url(url: str, name: str) -> str:
    """Return the URL of a page in the same folder.

    For example, ``https://example.com/a/`` becomes ``https://example.com/name``.
    """
    if not url:
        return ""
    page = url.partition("?")[0]
    site = re.match(r"([^/:]+:)?(//[^/]*)?", page)
    start = site[0] if site else ""
    folder = page[len(start) :].rstrip("/").rpartition("/")[0]
    return f"{start}{folder}/{name}"


def signing_keys() -> list[bytes]:
    """Return the application's keys, oldest first. The last one signs, as in itsdangerous."""
    earlier = current_app.config.get("SECRET_KEY_FALLBACKS") or ()
    keys = [*earlier, current_app.secret_key or ""]
    return [want_bytes(key) for key in keys]


@dataclass(eq=False)
class Links:
    """Signs and verifies links with itsdangerous: HMAC-SHA-256, with a salt for each purpose.

    :ivar keys: called at each use; returns the keys, oldest first. The last one signs.
    :ivar build_url: makes the URL of a link.
    """

    keys: Callable[[], Sequence[bytes]]
    users: UserStore
    build_url: Callable[[VerificationLink], str] = build_verification_url

    def url(
        self, purpose: Purpose, user: User, page: str, email: str | None = None, *, note: str = ""
    ) -> str:
        """Sign a link for this user as the account is now. Return its URL.

        The application's builder makes the URL.

        :param page: the URL of the page that the link leads to.
        :param email: another e-mail address that the link is about.
        :param note: a text for :attr:`SignedLink.note`, which is signed, too, and not secret.
        """
        link = SignedLink(self.users.identifier(user), str(int(time.time())), "", email)
        payload = _bound_payload(purpose, self.users.snapshot(user), link)
        bound = self._signer(purpose, STATE).get_signature(payload).decode()
        return self._signed_url(purpose, link, page, bound, note)

    def address_url(self, purpose: Purpose, email: str, page: str, *, note: str = "") -> str:
        """Sign a link about an e-mail address without an account. Return its URL.

        It is bound to nothing that its use changes.

        :param note: see :meth:`url`.
        """
        link = SignedLink("", str(int(time.time())), "", email)
        return self._signed_url(purpose, link, page, "", note)

    def _signed_url(
        self, purpose: Purpose, link: SignedLink, page: str, bound: str, note: str
    ) -> str:
        signed = f"{bound}.{note}" if note else bound
        outer = self._signer(purpose).get_signature(_payload(link, signed)).decode()
        # The timestamp comes first: where text is shown as HTML, "&timestamp" becomes "×tamp".
        params = {
            "timestamp": link.timestamp,
            "user_id": link.user_id,
            "email": link.email,
            "signature": f"{outer}.{signed}" if signed else outer,
        }
        given = {name: value for name, value in params.items() if value}
        return self.build_url(VerificationLink(page, given))

    def open(
        self, purpose: Purpose, link: SignedLink, max_age: timedelta, *, of_address: bool = False
    ) -> OpenedLink:
        """Verify a link.

        :param max_age: how long the link is valid, to the second.
        :param of_address: whether it is about an e-mail address without an account.
        :raises LinkInvalid: forged, of another purpose, used, of an unknown or suspended account,
            or from the future: the same error for all. A forged link causes no query.
        :raises LinkExpired: it was valid, and is older than ``max_age``.
        """
        outer, _, signed = link.signature.partition(".")
        is_signed = self._signer(purpose).verify_signature(_payload(link, signed), outer.encode())
        if not (is_signed and is_canonical(outer)):
            raise LinkInvalid
        user, seen = None, NO_ACCOUNT
        if not of_address:
            user = self.users.get(link.user_id)
            if user is None:
                raise LinkInvalid
            seen = self.users.snapshot(user)
            payload, bound = _bound_payload(purpose, seen, link), signed.partition(".")[0]
            is_current = self._signer(purpose, STATE).verify_signature(payload, bound.encode())
            if not (is_current and seen.is_active == purpose.active):
                raise LinkInvalid(user_id=link.user_id)
        age = int(time.time()) - int(link.timestamp)
        if age < -CLOCK_SKEW:
            raise LinkInvalid(user_id=link.user_id)
        if age > max_age.total_seconds():
            raise LinkExpired(user_id=link.user_id)
        return OpenedLink(user, seen, link)

    def _signer(self, purpose: Purpose, part: str = "") -> Signer:
        return Signer(
            self.keys(),
            salt=f"flask-registration.{purpose.name}{part}",
            key_derivation="hmac",
            digest_method=hashlib.sha256,
        )


def _payload(link: SignedLink, signed: str) -> bytes:
    return json.dumps([link.user_id, link.email, link.timestamp, signed]).encode()


def _bound_payload(purpose: Purpose, snapshot: UserSnapshot, link: SignedLink) -> bytes:
    stamp = link_digest(snapshot) if purpose.stamped else None
    values = [link.user_id, link.email, link.timestamp, stamp, *purpose.binds(snapshot)]
    return json.dumps(values).encode()


def is_canonical(signature: str) -> bool:
    """Return whether a signature is spelled as we write it.

    The decoder of Base64 ignores padding, foreign characters and spare bits.
    """
    return signature.isascii() and base64_encode(base64_decode(signature)).decode() == signature


def is_absolute_url(url: str) -> bool:
    """Return whether a URL has a scheme and a host.

    The scheme of a mobile application needs no host: ``com.example.app:/verify`` (RFC 8252,
    7.1).
    """
    parts = urlsplit(url)
    is_app = parts.scheme not in ("", "http", "https") and parts.path.startswith("/")
    has_host = bool(parts.scheme and parts.netloc)
    return (has_host or is_app) and url.isprintable() and " " not in url
