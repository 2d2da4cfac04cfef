"""Validators of e-mail addresses, usernames and passwords, for the settings that list them.

Optional: the module is imported where ``EMAIL_VALIDATORS``, ``USERNAME_VALIDATORS`` or
``PASSWORD_VALIDATORS`` is set.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import unicodedata
from collections.abc import Callable, Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple, TypeVar
from urllib.request import Request, urlopen

from email_validator import EmailUndeliverableError, caching_resolver
from flask import current_app
from marshmallow import ValidationError
from sqlalchemy import String, event, select
from sqlalchemy.orm import Mapped, mapped_column

from .auth.passwords import PasswordSettings
from .checks import Finding
from .i18n.messages import Message
from .state import Extra, Setup, current_registration
from .users.fields import UserSettings
from .users.identifiers import is_mailbox, nfkc, recipient_address, username_key
from .users.reserved import RESERVED
from .users.reserved import reserved_names as reserved_names
from .users.stamps import digest_of

Validator = Callable[..., None]

T = TypeVar("T")

# E-mail addresses


def allowed_domains(*domains: str) -> Validator:
    """Return a validator that accepts e-mail addresses of these domains and their subdomains only.

    :raises ValueError: there is no domain, or one is invalid.
    """
    allowed = _normal_domains(domains)

    def validate(email: str, **_: Any) -> None:
        if not _is_of(email, allowed):
            text = Message("Use an e-mail address of {domains}.", code="domain-not-allowed")
            raise ValidationError(text.format(domains=", ".join(domains)))

    return validate


def blocked_domains(*domains: str) -> Validator:
    """Return a validator that refuses e-mail addresses of these domains and their subdomains.

    :raises ValueError: there is no domain, or one is invalid.
    """
    blocked = _normal_domains(domains)

    def validate(email: str, **_: Any) -> None:
        if _is_of(email, blocked):
            message = Message(
                "E-mail addresses of this domain are not accepted. Use another one.",
                code="domain-not-allowed",
            )
            raise ValidationError(message)

    return validate


def not_disposable(email: str, **_: Any) -> None:
    """Refuse e-mail addresses of services for disposable ones.

    Their list is the package ``disposable-email-domains``. Update it often.

    :raises marshmallow.ValidationError: the domain is in the list.
    """
    from disposable_email_domains import blocklist

    if _is_of(email, blocklist):
        message = Message(
            "Disposable e-mail addresses are not accepted. Use a permanent one.", code="disposable"
        )
        raise ValidationError(message)


def no_subaddress(email: str, **_: Any) -> None:
    """Refuse an e-mail address with a subaddress (RFC 5233), such as ``alice+news@example.com``.

    :raises marshmallow.ValidationError: there is a ``+`` before the ``@``.
    """
    if "+" in email.rpartition("@")[0]:
        message = Message(
            "Use your e-mail address without the part from + to @.", code="subaddress"
        )
        raise ValidationError(message)


@cache
def _pool(function: Callable[..., Any]) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=16, thread_name_prefix=function.__name__)


if hasattr(os, "register_at_fork"):  # a server may fork after the first use: threads stay behind
    os.register_at_fork(after_in_child=_pool.cache_clear)


def _in_time(seconds: float, function: Callable[..., T], *arguments: Any) -> T:
    """Return what a function returns that asks other hosts.

    A timeout of a socket limits neither the look-up of a host nor a whole response.

    :raises TimeoutError: it takes longer.
    """
    running = _pool(function).submit(function, *arguments)
    try:
        return running.result(seconds)
    finally:
        running.cancel()


#: How many seconds the DNS queries about one domain may take.
DNS_TIMEOUT = 2


@cache
def _resolver() -> Any:
    from dns.resolver import LRUCache

    return caching_resolver(timeout=DNS_TIMEOUT, cache=LRUCache(1000))


def _query(domain: str) -> Any:
    """Return what DNS says about e-mail to a domain.

    :raises EmailUndeliverableError: the domain receives none.
    """
    from email_validator.deliverability import validate_email_deliverability

    return validate_email_deliverability(domain, domain, dns_resolver=_resolver())


def deliverable(email: str, **_: Any) -> None:
    """Refuse e-mail addresses whose domain receives no e-mail.

    Such a domain does not exist, has no mail server and no host with a public IP address, or says
    that it receives none (RFC 7505). If DNS fails or is slow, the address is accepted. With
    ``TESTING``, DNS is not queried.

    :raises marshmallow.ValidationError: the domain receives no e-mail.
    """
    if current_app.testing:
        return
    from dns.resolver import NXDOMAIN, NoAnswer

    domain = _domain(email)
    failure: Any
    try:
        failure = _in_time(DNS_TIMEOUT, _query, domain).get("unknown-deliverability")
    except EmailUndeliverableError as error:
        failure = error.__cause__
        if failure is None or isinstance(failure, NXDOMAIN | NoAnswer):
            message = Message(
                "This domain receives no e-mail. Check the e-mail address.", code="undeliverable"
            )
            raise ValidationError(message) from None
    except Exception as error:  # for example no name servers are configured
        failure = error
    if failure:
        current_app.logger.warning("The domain %s was not checked by DNS: %r", domain, failure)


def _normal_domains(domains: tuple[str, ...]) -> frozenset[str]:
    """Return domains in lower case and ASCII.

    :raises ValueError: there is none, or one is invalid.
    """
    for domain in domains or ("",):
        if not isinstance(domain, str) or not is_mailbox(f"a@{domain}"):
            raise ValueError(f'{domain!r} is not a domain. Pass domains such as "example.com".')
    return frozenset(_domain(f"a@{domain.lower()}") for domain in domains)


def _domain(email: str) -> str:
    return recipient_address(email).rpartition("@")[2]


def _is_of(email: str, domains: Container[str]) -> bool:
    """Return whether the domain of an e-mail address, or one that it is part of, is listed."""
    domain = _domain(email)
    while domain:
        if domain in domains:
            return True
        domain = domain.partition(".")[2]
    return False


# Usernames


@cache
def _prototypes() -> dict[str, str]:
    """Return the prototypes of confusable characters (UTS 39, section 4).

    The table has the prototype of each character, and of each prototype all its characters. In a
    pair it does not say which one is the prototype; any will do.
    """
    from confusable_homoglyphs.confusables import confusables_data

    prototypes: dict[str, str] = {}
    for char, others in confusables_data.items():
        if len(char) == len(others) == 1:
            prototype: str = others[0]["c"]
            is_pair = len(prototype) == len(confusables_data[prototype]) == 1
            if not is_pair or prototype < char:
                prototypes[char] = prototype
    return prototypes


def skeleton(text: str) -> str:
    """Return the skeleton of a string, which is the same for strings that look alike (UTS 39)."""
    prototypes = _prototypes()
    for _ in range(2):  # the prototype of a pair can be one of a sequence
        text = unicodedata.normalize("NFD", text)
        text = "".join(prototypes.get(char, char) for char in text)
    return unicodedata.normalize("NFD", text)


def _without_case(name: str) -> str:
    return skeleton(skeleton(name).casefold())


class SkeletonMixin:
    """The column of the user model that :func:`not_confusable` compares.

    It has a digest of the skeleton, which fits into it however long the skeleton is.
    """

    username_skeleton: Mapped[str | None] = mapped_column(String(64), index=True)


def _keep_skeleton(user: SkeletonMixin, username: str | None, *_: Any) -> None:
    name = username and digest_of(_without_case(username_key(username)))
    user.username_skeleton = name


@event.listens_for(SkeletonMixin, "attribute_instrument", propagate=True)
def _add_rule(model: type[Any], name: str, attribute: Any) -> None:
    if name == "username":  # as the mixins do it: the application may have ``@validates``
        event.listen(attribute, "set", _keep_skeleton)


@cache
def _reserved() -> dict[str, str]:
    return {name: _without_case(name) for name in RESERVED}


def not_confusable(username: str, *, user: Any = None, **_: Any) -> None:
    """Refuse a username that looks like the one of another account, or like a reserved one.

    :raises marshmallow.ValidationError: it looks like another one.
    """
    key = username_key(username)
    # Also with its capitals: "paypaI" looks like "paypal", and "paypai" does not.
    skeletons = {_without_case(key), _without_case(nfkc(username))}
    names = [name for name, other in _reserved().items() if other in skeletons]
    state = current_registration
    model, pk = state.fields.model, state.fields.pk
    query = select(model.username).where(model.username_skeleton.in_([*map(digest_of, skeletons)]))
    if user is not None:
        query = query.where(getattr(model, pk) != getattr(user, pk))
    names += current_app.extensions["sqlalchemy"].session.scalars(query)
    if any(username_key(name) != key for name in names):  # the same name is a duplicate
        message = Message(
            "This username looks like another one. Choose a different one.", code="confusable"
        )
        raise ValidationError(message)


# Passwords

#: How many seconds the range API may take.
API_TIMEOUT = 1

#: The maximum length of its response in bytes. It is about 40 KB.
API_MAX_LENGTH = 1_000_000


def not_breached(password: str, *, settings: PasswordSettings, **_: Any) -> None:
    """Refuse passwords of known data breaches, by the range API of Have I Been Pwned.

    The API receives the first five digits of the password's SHA-1 hash. If it fails or is slow, the
    password is accepted. With ``TESTING``, it is not asked.

    :raises marshmallow.ValidationError: the password is in a breach.
    """
    if current_app.testing:
        return
    encoded = password.encode("utf-8", "surrogatepass")
    digest = hashlib.sha1(encoded, usedforsecurity=False).hexdigest().upper()
    url = f"{settings.breached_passwords_url.rstrip('/')}/{digest[:5]}"
    try:
        lines = _in_time(API_TIMEOUT, _ask, url)
    except Exception as error:  # of the network, or a response that is not text
        reason = type(error).__name__
        current_app.logger.warning("A password was not checked for breaches: %s", reason)
        return
    for line in lines:
        suffix, _colon, count = line.partition(":")
        if suffix == digest[5:] and count.strip("0 "):  # padding has the count 0
            message = Message(
                "This password is known from a data breach. Choose another one.", code="breached"
            )
            raise ValidationError(message)


def _ask(url: str) -> list[str]:
    headers = {"Add-Padding": "true", "User-Agent": "Flask-Registration"}
    request = Request(url, headers=headers)  # noqa: S310 -- a check looks at the scheme
    with urlopen(request, timeout=API_TIMEOUT) as response:  # noqa: S310 -- as above
        text: str = response.read(API_MAX_LENGTH).decode("ascii")
    return text.upper().splitlines()


# Checks


class OwnValidator(NamedTuple):
    """Where a validator of ours belongs, and what it needs.

    :ivar library: the package that it imports, if that is optional.
    :ivar extra: the extra that installs the package.
    """

    setting: str
    library: str = ""
    extra: str = ""


OWN: dict[Validator, OwnValidator] = {
    no_subaddress: OwnValidator("REGISTRATION_EMAIL_VALIDATORS"),
    deliverable: OwnValidator("REGISTRATION_EMAIL_VALIDATORS"),
    not_disposable: OwnValidator(
        "REGISTRATION_EMAIL_VALIDATORS", "disposable_email_domains", "disposable"
    ),
    reserved_names: OwnValidator("REGISTRATION_USERNAME_VALIDATORS"),
    not_confusable: OwnValidator(
        "REGISTRATION_USERNAME_VALIDATORS", "confusable_homoglyphs", "confusables"
    ),
    not_breached: OwnValidator("REGISTRATION_PASSWORD_VALIDATORS"),
}


def check(setup: Setup) -> Iterator[Finding]:
    """Report validators that cannot work as they are listed."""
    users, passwords = setup.group(UserSettings), setup.group(PasswordSettings)
    lists = {
        "REGISTRATION_EMAIL_VALIDATORS": (users.email_validators, "user"),
        "REGISTRATION_USERNAME_VALIDATORS": (users.username_validators, "user"),
        "REGISTRATION_PASSWORD_VALIDATORS": (passwords.password_validators, "user_inputs"),
    }
    for setting, (validators, argument) in lists.items():
        for validator in validators:
            yield from _check_parameters(validator, setting, argument)
            if inspect.isfunction(validator) and validator in OWN:  # others may have no hash
                yield from _check_own(validator, setting)
    fields, compares = setup.fields, not_confusable in users.username_validators
    if fields and compares and "username_skeleton" not in fields.columns:
        yield Finding(
            "registration.E072",
            f"{fields.model.__name__}.username_skeleton",
            "does not exist. The validator not_confusable compares usernames by it.",
            "Derive the model from flask_registration.validators.SkeletonMixin as well, and add "
            "the column to the table.",
        )
    url = passwords.breached_passwords_url
    if not_breached in passwords.password_validators and not url.startswith(("https:", "http:")):
        yield Finding(
            "registration.E073",
            "REGISTRATION_BREACHED_PASSWORDS_URL",
            f"is {url!r}, which is not a URL of the web. No password would be checked.",
            'Set it to the URL of a range API, such as "https://api.pwnedpasswords.com/range/".',
        )


def _check_parameters(validator: Validator, setting: str, argument: str) -> Iterator[Finding]:
    try:
        inspect.signature(validator).bind("", **{"settings": None, argument: None})
    except ValueError:  # a built-in function may not say what it takes
        return
    except TypeError:
        name = getattr(validator, "__name__", type(validator).__name__)
        yield Finding(
            "registration.E074",
            setting,
            f"has {name}, which does not take the arguments of a validator. Each call would fail.",
            "Declare its parameters as (value, *, settings, **kwargs). A function that makes a "
            'validator must be called, for example allowed_domains("example.com").',
        )


def _check_own(validator: Validator, setting: str) -> Iterator[Finding]:
    name = validator.__name__
    proper, library, extra = OWN[validator]
    if proper != setting:
        yield Finding(
            "registration.E075",
            setting,
            f"has {name}, which judges other values. Every value would be accepted or refused.",
            f"Move it to {proper}.",
        )
    if library and find_spec(library) is None:
        yield Finding(
            "registration.E076",
            setting,
            f"has {name}, whose library is not installed. It cannot judge a value.",
            f'Install it: pip install "Flask-Registration[{extra}]".',
        )


extra: Extra = Extra(prepare=check)
