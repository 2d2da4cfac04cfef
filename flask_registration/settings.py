"""Declare, read and document settings.

A group of settings is a frozen dataclass whose fields are made with :func:`setting`. The field
``register_verification_url`` is read from ``REGISTRATION_REGISTER_VERIFICATION_URL``.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import Any, NamedTuple, TypeVar

from werkzeug.utils import import_string

from .checks import Finding
from .i18n.messages import duration

PREFIX = "REGISTRATION_"
USER_PREFIX = "USER_"

UNIONS = (types.UnionType, typing.Union)

#: The types whose values must not be negative.
ZERO: dict[Any, Any] = {int: 0, timedelta: timedelta(0)}

S = TypeVar("S", bound="Settings")


def setting(
    default: Any,
    help: str,
    *,
    default_text: str | None = None,
    minimum: int | timedelta | None = None,
    maximum: int | timedelta | None = None,
    validate: Callable[[Any], object] | None = None,
    page: str | None = None,
    beside: str | None = None,
    secret: bool = False,
    since: str | None = None,
) -> Any:
    """Declare a setting.

    :param help: one or two sentences of Markdown for the documentation.
    :param default_text: what the documentation shows instead of the ``repr`` of the default.
    :param minimum: the least value, inclusive.
    :param maximum: the greatest value, inclusive.
    :param validate: a function that raises a ``ValueError`` for a value that is not allowed. The
        message is the end of a sentence that begins with "is 5, but". It is not called with None.
    :param page: for a URL of the front end, its default name, for example ``"reset-password/"``.
    :param beside: the setting, without ``REGISTRATION_``, whose URL has the folder of the default
        one.
    :param secret: whether no error shows the value.
    :param since: the version that the setting is new in, for the documentation; None for the first
        one.
    """
    if beside:
        default_text = f"`{page}` beside `{PREFIX}{beside}`"
    metadata = {
        "default": default,
        "help": help,
        "default_text": default_text,
        "minimum": minimum,
        "maximum": maximum,
        "validate": validate,
        "page": page,
        "beside": beside,
        "secret": secret,
        "since": since,
    }
    return dataclasses.field(default_factory=lambda: default, metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """A group of settings; a package or a flow derives its own group from it."""


class Declaration(NamedTuple):
    """What the documentation shows of a setting."""

    key: str
    kind: str
    default: str
    help: str
    limits: str
    since: str | None


def read(
    group: type[S], config: Mapping[str, Any], user_model: type[Any] | None, found: list[Finding]
) -> S:
    """Return a group of settings. An invalid value is a finding, and its default is used.

    A setting that begins with ``USER_`` can also stand on the model class, without that prefix. It
    takes precedence there.

    :param found: receives the findings.
    """
    kinds, values = types_of(group), {}
    for field in dataclasses.fields(group):
        key = _key(field)
        name = setting_name(key, user_model)
        if name != key:
            raw = getattr(user_model, name.rpartition(".")[2])
        elif key in config:
            raw = config[key]
        else:
            continue
        try:
            value = convert(raw, kinds[field.name], secret=field.metadata["secret"])
            values[field.name] = _validated(value, field.metadata)
        except ValueError as error:
            found.append(invalid(name, raw, error, field.metadata))
    return group(**values)


def setting_name(key: str, user_model: type[Any] | None) -> str:
    """Return the name of a setting where it is read: its key, or for example ``User.EMAIL_FIELD``.

    A setting whose key begins with ``REGISTRATION_USER_`` may be an attribute of the model.
    """
    attribute = key.removeprefix(PREFIX + USER_PREFIX)
    if user_model and attribute != key and hasattr(user_model, attribute):
        return f"{user_model.__name__}.{attribute}"
    return key


def invalid(setting: str, value: Any, reason: object, metadata: Mapping[str, Any]) -> Finding:
    """Return the finding about a value that is not allowed.

    :param reason: the end of a sentence that begins with "is 5, but".
    """
    shown = "<secret>" if metadata["secret"] else repr(value)
    default = shown_default(metadata)
    return Finding(
        "registration.E001",
        setting,
        f"is {shown}, but {reason}. The application would not run as you configured it.",
        f"Correct it, or remove it for the default: {default}.",
    )


def keys(groups: Iterable[type[Settings]]) -> list[str]:
    """Return the keys of all settings of the groups."""
    return [_key(field) for group in groups for field in dataclasses.fields(group)]


def _key(field: dataclasses.Field[Any]) -> str:
    return PREFIX + field.name.upper()


def convert(value: Any, kind: Any, *, secret: bool = False) -> Any:
    """Convert a value to its declared type.

    Lists become tuples, a number of seconds becomes a ``timedelta``, an import string becomes the
    object.

    :param secret: whether no error shows the value.
    :raises ValueError: with the end of a sentence that begins with "is 5, but".
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in UNIONS:
        return _convert_union(value, arguments, secret)
    is_list = isinstance(value, Sequence | set | frozenset) and not isinstance(value, str)
    if origin is tuple and is_list:
        return tuple(convert(item, arguments[0], secret=secret) for item in value)
    if isinstance(value, str) and (kind is Any or origin in (Callable, type)):
        value = _imported(value)
    if kind is timedelta and isinstance(value, int | float) and not isinstance(value, bool):
        value = _seconds(value)
    if not _matches(value, kind):
        is_item = origin is tuple and isinstance(value, str) and value and not secret
        example = f', for example ["{value}"]' if is_item else ""
        raise ValueError(f"must be {_wanted(kind)}{example}")
    return value


def _matches(value: Any, kind: Any) -> bool:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return True
    if origin is typing.Literal:
        return value in arguments
    if origin is Callable:
        return callable(value)
    if origin is type:
        base = object if arguments[0] is Any else arguments[0]
        return isinstance(value, type) and issubclass(value, base)
    if kind is int and isinstance(value, bool):
        return False
    if not isinstance(value, origin or kind):
        return False
    return kind not in ZERO or value >= ZERO[kind]


def _wanted(kind: Any) -> str:
    """Return a type in words, for the message about a value."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Callable:
        return "a callable or its import string"
    if origin is type:
        if arguments[0] is Any:
            return "a class or its import string"
        return f"a subclass of {format_value(arguments[0])} or its import string"
    if origin is tuple:
        item = arguments[0]
        items = {str: "strings", Callable: "callables or their import strings"}
        return f"a list of {items.get(typing.get_origin(item) or item) or describe(item)}"
    others: dict[Any, str] = {
        Mapping: "a dict",
        str: "a string",
        timedelta: "a timedelta or a number of seconds, not negative, "
        "for example timedelta(hours=1)",
        int: "a whole number, not negative",
    }
    return others.get(origin or kind) or describe(kind)


def _seconds(value: float) -> timedelta:
    try:
        return timedelta(seconds=value)
    except (OverflowError, ValueError):
        limit = "must be a number of seconds that a datetime.timedelta can hold"
        raise ValueError(limit) from None


def _convert_union(value: Any, kinds: tuple[Any, ...], secret: bool) -> Any:
    if value is None and types.NoneType in kinds:
        return None
    reasons = []
    for kind in kinds:
        if kind is not types.NoneType:
            try:
                return convert(value, kind, secret=secret)
            except ValueError as error:
                reasons.append(str(error))
    raise ValueError(", or ".join(reasons))


def _validated(value: Any, metadata: Mapping[str, Any]) -> Any:
    if value is None:
        return value
    minimum, maximum = metadata["minimum"], metadata["maximum"]
    if minimum is not None and value < minimum:
        raise ValueError(f"must be at least {format_value(minimum)}")
    if maximum is not None and value > maximum:
        raise ValueError(f"must be at most {format_value(maximum)}")
    if metadata["validate"]:
        metadata["validate"](value)
    return value


def _imported(value: str) -> Any:
    try:
        return import_string(value)
    except ImportError as error:
        reason = getattr(error, "exception", error)  # Werkzeug's own lists where it looked
        raise ValueError(f"cannot be imported: {reason}") from error


def not_empty(value: Collection[Any]) -> None:
    """Refuse an empty list.

    :raises ValueError: it is empty.
    """
    if not value:
        raise ValueError("must have at least one item")


def describe(kind: Any) -> str:
    """Return a type in words, for messages and the documentation."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in UNIONS:
        return " or ".join(describe(each) for each in arguments)
    if origin is typing.Literal:
        return " or ".join(map(repr, arguments))
    if origin is tuple:
        return f"list of {describe(arguments[0])}"
    if origin is Callable:
        return "callable"
    if origin is type:
        return "class" if arguments[0] is Any else f"{arguments[0].__name__} class"
    if origin is Mapping:
        return "dict"
    names = {
        bool: "True or False",
        types.NoneType: "None",
        Any: "object",
        str: "str",
        int: "int",
    }
    return names.get(kind, getattr(kind, "__name__", str(kind)))


#: Returns the declared types of a group's fields, which are looked up once.
types_of: Callable[[Any], Mapping[str, Any]] = cache(typing.get_type_hints)


def declarations(group: type[Settings]) -> list[Declaration]:
    """Return what a group declares, in its order."""
    kinds = types_of(group)
    return [
        Declaration(
            key=_key(field),
            kind=describe(kinds[field.name]),
            default=shown_default(field.metadata),
            help=field.metadata["help"],
            limits=_limits(field.metadata),
            since=field.metadata["since"],
        )
        for field in dataclasses.fields(group)
    ]


def _limits(metadata: Mapping[str, Any]) -> str:
    """Return the limits of a value in words: ``at least 1, at most 20``."""
    limits = {"at least": metadata["minimum"], "at most": metadata["maximum"]}
    shown = (f"{name} {format_value(limit)}" for name, limit in limits.items() if limit is not None)
    return ", ".join(shown)


def shown_default(metadata: Mapping[str, Any]) -> str:
    """Return the default of a setting as the documentation shows it."""
    return metadata["default_text"] or format_value(metadata["default"])


def format_value(value: Any) -> str:
    """Return a value as a person writes it: ``7 days``, not ``datetime.timedelta(days=7)``."""
    if isinstance(value, timedelta):
        return duration(value)
    if isinstance(value, tuple):
        return repr(list(value))
    if callable(value):
        return f"{value.__module__}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    return repr(value)
