"""Normal forms of what identifies a user: e-mail addresses, usernames and ids."""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from email_validator import EmailNotValidError, validate_email
from marshmallow import ValidationError
from sqlalchemy import BigInteger, Column, Integer, SmallInteger, TypeDecorator, Uuid
from sqlalchemy.engine.default import DefaultDialect

from ..i18n.messages import Message, plural

if TYPE_CHECKING:
    from .fields import UserFields, UserSettings

#: RFC 5321 section 4.5.3.1.3: a path has 256 octets, two of them angle brackets.
EMAIL_MAX_LENGTH = 254

#: How an encoded word begins (RFC 2047). E-mail programs decode it in a header, and may read
#: several recipients in it.
ENCODED_WORD = "=?"

#: A local part that is quoted for its dots only. Other quoted characters can mislead parsers.
DOTS_IN_QUOTES = re.compile(r'"[^\s"(),:;<>@\[\\\]]+"@')

#: The options of email-validator that an application may set.
EMAIL_OPTIONS = (
    "allow_quoted_local",
    "allow_smtputf8",
    "globally_deliverable",
    "strict",
    "test_environment",
)

INVALID_ADDRESS = Message("This is not a valid e-mail address.")

#: Also the message for a username that the application's own pattern refuses.
NOT_ALLOWED = Message("This username has characters that are not allowed.")


#: Characters that no font shows: Unicode's property Default_Ignorable_Code_Point.
INVISIBLE = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def email_key(address: str, **options: bool) -> str:
    """Return an e-mail address as it is stored and looked up: normalized, in lower case.

    :param options: of email-validator, as :data:`EMAIL_OPTIONS` allows them.
    :raises ValueError: with a message for the user.
    """
    if len(address) > EMAIL_MAX_LENGTH:
        raise ValueError(
            plural(
                "An e-mail address has at most {count} character.",
                "An e-mail address has at most {count} characters.",
                EMAIL_MAX_LENGTH,
                code="too-long",
            )
        )
    try:
        normalized = _normalize_email(address, options)
    except EmailNotValidError as error:
        raise ValueError(Message(str(error), otherwise=INVALID_ADDRESS)) from None
    is_safe = DOTS_IN_QUOTES.match(normalized) or not normalized.startswith('"')
    if ENCODED_WORD in normalized or not is_safe:
        raise ValueError(INVALID_ADDRESS)
    return normalized.lower()


def _normalize_email(address: str, options: Mapping[str, bool]) -> str:
    """Normalize an e-mail address; email-validator lacks two of the cases.

    With ``allow_quoted_local``, the quotes around a local part with dots can be omitted: older
    addresses are written so. With ``globally_deliverable=False``, the domains of an intranet are
    valid, which email-validator always refuses.
    """
    options = {"allow_smtputf8": False, "check_deliverability": False, **options}
    local, at, domain = address.rpartition("@")
    if options.get("allow_quoted_local") and re.search(r"^\.|\.\.|\.$", local):
        local = local.strip('"')
        address = f'"{local}"{at}{domain}'
    intranet = None
    if options.get("globally_deliverable") is False:
        intranet = re.search(r"(?<=[@.])(local|localhost)$", address, re.IGNORECASE)
    if intranet:
        address = address[: intranet.start()] + "test"
        options["test_environment"] = True
    normalized: str = validate_email(address, **cast(dict[str, Any], options)).normalized
    return normalized.removesuffix("test") + intranet[0] if intranet else normalized


def is_mailbox(address: str) -> bool:
    """Return whether some mail server can have this address."""
    every = {"globally_deliverable": False, "test_environment": True, "allow_quoted_local": True}
    try:
        email_key(address, **every)
    except ValueError:
        return False
    return True


def recipient_address(address: str) -> str:
    """Return a stored e-mail address for the mail server, its domain in ASCII (IDNA 2008).

    (Flask-Mail converts by IDNA 2003, where ``ß`` becomes ``ss``, which is another domain.)
    """
    if address.isascii():
        return address
    try:
        # Without a DNS query.
        valid = validate_email(address, test_environment=True, allow_quoted_local=True)
    except EmailNotValidError:
        return address
    return valid.ascii_email or address


def nfkc(name: str) -> str:
    """Replace the compatibility characters of a username (NFKC): ``ａｌｉｃｅ`` is ``alice``."""
    return unicodedata.normalize("NFKC", name)


def without_marks(name: str) -> str:
    """Remove the marks that follow a character, such as the vowel signs of many scripts."""
    rest = "".join(each for each in name[1:] if unicodedata.category(each) not in ("Mn", "Mc"))
    return name[:1] + rest


def username_key(name: str) -> str:
    """Return the form in which usernames are compared: NFKC, without case (Unicode 3.13, D146)."""
    return nfkc(nfkc(name).casefold())


def parse_identifier(text: str, column: Column[Any]) -> Any:
    """Convert text to the type of a column. Return None for what no row can have.

    (A database raises an error for a number out of its range, and some for NUL.)
    """
    if len(text) > 255 or not is_storable(text):
        return None
    if isinstance(column.type, TypeDecorator):
        return _parse_own(text, column.type)
    if isinstance(column.type, Integer):
        bits = integer_bits(column.type)
        digits = re.fullmatch("-?[0-9]{1,19}", text)
        return int(text) if digits and abs(int(text)) < 2**bits else None
    if isinstance(column.type, Uuid):
        with suppress(ValueError):
            parsed = uuid.UUID(text)
            return parsed if column.type.as_uuid else str(parsed)
        return None
    return text


def _parse_own(text: str, kind: TypeDecorator[Any]) -> Any:
    """Return the text, the UUID or the number that a type of the application can convert."""
    convert: Any = kind.bind_processor(cast(Any, DefaultDialect)()) or (lambda value: value)
    bits = integer_bits(kind.impl_instance) if isinstance(kind.impl_instance, Integer) else None
    for read in (str, uuid.UUID, int):
        with suppress(Exception):  # it raises what it likes
            value = read(text)
            stored = convert(value)
            if bits is None or (isinstance(stored, int) and abs(stored) < 2**bits):
                return value
    return None


def ignores_case(column: Column[Any]) -> bool:
    """Return whether the model declares that the database compares a column without case."""
    collation = getattr(column.type, "collation", None) or type(column.type).__name__
    return str(collation).lower().endswith(("_ci", "nocase", "citext"))


def is_storable(text: str) -> bool:
    """Return whether a database can compare a text: it has no NUL and no half of a surrogate."""
    return not re.search("[\0\ud800-\udfff]", text)


def integer_bits(kind: Integer) -> int:
    """Return the bits that an integer column has on every database, without the sign."""
    return 63 if isinstance(kind, BigInteger) else 15 if isinstance(kind, SmallInteger) else 31


class NormalForms:
    """Normal forms of the values of one model.

    :param testing: whether e-mail addresses of tests are valid.
    """

    def __init__(self, fields: UserFields, settings: UserSettings, *, testing: bool) -> None:
        self.fields = fields
        self._settings = settings
        self._email_options = {"test_environment": testing, **settings.email_validator_options}
        self._username = re.compile(fields.username_pattern)

    def build(
        self,
        values: Mapping[str, Any],
        *,
        user: Any = None,
        judged: Collection[str] = ("email", "username"),
    ) -> dict[str, Any]:
        """Return values as they are stored: usernames and e-mail addresses in normal form.

        Spaces around login fields and e-mail addresses are removed. If users log in with e-mail
        addresses, another login field takes no address but their own.
        Any other one is refused whether or not an account has it, which reveals none.

        :param user: the account that has the values, if there is one.
        :param judged: which of ``EMAIL_VALIDATORS`` and ``USERNAME_VALIDATORS`` judge a new value.
        :raises marshmallow.ValidationError: with a message for each invalid field.
        """
        built, errors = dict(values), dict[str, Any]()
        for name in self.fields.login:
            if isinstance(built.get(name), str):
                built[name] = built[name].strip()
        for field in (self.fields.username, self.fields.email):
            if field and built.get(field) is not None:
                try:
                    built[field] = self._stored(field, built[field])
                except ValueError as error:
                    errors[field] = [error.args[0]]  # a message that can be translated
        email = self.fields.email or ""
        own_email = built.get(email, getattr(user, email, None))
        if email in self.fields.login:
            for name in self.fields.login:
                is_other = name not in (email, *errors)
                if is_other and self._is_foreign_address(built.get(name), own_email):
                    errors[name] = [NOT_ALLOWED]
        for kind in judged:
            field = getattr(self.fields, kind)
            value = built.get(field)
            # A rule for new values says nothing about one that is there.
            if value is None or field in errors or value == getattr(user, field, None):
                continue
            try:
                for validator in getattr(self._settings, f"{kind}_validators"):
                    validator(value, settings=self._settings, user=user)
            except ValidationError as error:
                errors[field] = error.messages
        if errors:
            raise ValidationError(errors)
        username = built.get(self.fields.username or "")
        if self.fields.username_key and username is not None:
            built[self.fields.username_key] = username_key(username)
        return built

    def lookup(self, field: str, value: str) -> tuple[str, Any] | None:
        """Return the column in which to look up a field's value, and its normal form.

        Return None for a value that no row can have. The rules for new values do not apply: rows
        may be older.
        """
        fields, value = self.fields, value.strip()
        if len(value) > 255:  # first: normalizing takes quadratic time
            return None
        if field == fields.username and fields.username_key:
            return (fields.username_key, username_key(value)) if is_storable(value) else None
        normal = value
        if field == fields.username:
            normal = nfkc(value)
        elif field == fields.email:
            with suppress(ValueError):
                normal = email_key(value, **self._email_options)
            normal = normal.lower()
        stored = parse_identifier(normal, fields.columns[field])
        return None if stored is None else (field, stored)

    def _is_foreign_address(self, value: object, own_email: str | None) -> bool:
        with suppress(ValueError):
            return email_key(str(value), **self._email_options) != own_email
        return False

    def is_same(self, name: str, stored: Any, key: Any) -> bool:
        """Return whether a column's value, which the database found by a key, equals the key.

        A collation may find ``míke`` for ``mike``. Only a difference in case is none: in an e-mail
        address, and in a column that the model declares to ignore case.
        """
        if not (isinstance(stored, str) and isinstance(key, str)):
            return True  # only strings have a collation, and a type may convert one to an object
        if name == self.fields.email:
            return stored.lower() == key.lower()
        is_folded = ignores_case(self.fields.columns[name])
        return stored == key or (is_folded and username_key(stored) == username_key(key))

    def _stored(self, field: str, value: str) -> str:
        value = value.strip()
        if field == self.fields.email:
            return email_key(value, **self._email_options)
        limit = self.fields.username_max_length
        normal = nfkc(value) if len(value) <= limit else value  # which takes quadratic time
        if len(normal) > limit:
            raise ValueError(
                plural(
                    "A username has at most {count} character.",
                    "A username has at most {count} characters.",
                    limit,
                    code="too-long",
                )
            )
        if INVISIBLE.search(value + normal) or (normal and not normal.strip(".")):
            raise ValueError(NOT_ALLOWED)
        # The word characters of ``re`` lack the marks of scripts (UAX 31 has them).
        has_marks = r"\w" in self._username.pattern
        if not self._username.fullmatch(without_marks(normal) if has_marks else normal):
            raise ValueError(self.fields.username_rule)
        return value if self.fields.username_key else normal
