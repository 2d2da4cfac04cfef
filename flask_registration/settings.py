"""Declare, read and document settings.

A group of settings is a frozen dataclass whose fields are made with :func:`setting`. The field
``register_verification_url`` is read from ``REGISTRATION_REGISTER_VERIFICATION_URL``.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from difflib import get_close_matches
from functools import cache
from typing import Any, NamedTuple, TypeVar

from werkzeug.utils import import_string

from .errors import ConfigurationError, Problem
from .i18n.messages import duration

PREFIX = "REGISTRATION_"
USER_PREFIX = "USER_"

S = TypeVar("S", bound="Settings")


def setting(
    default: Any,
    help: str,
    *,
    default_text: str | None = None,
    minimum: int | timedelta | None = None,
    maximum: int | timedelta | None = None,
    page: str | None = None,
    beside: str | None = None,
) -> Any:
    """Declare a setting.

    :param help: one or two sentences of Markdown for the documentation.
    :param default_text: what the documentation shows instead of the ``repr`` of the default.
    :param minimum: the least value, inclusive.
    :param maximum: the greatest value, inclusive.
    :param page: for a URL of the front end, its default name, for example ``"reset-password/"``.
    :param beside: the setting, without ``REGISTRATION_``, whose URL has the folder of the default
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
        "page": page,
        "beside": beside,
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


class SettingsReader:
    """Reads groups of settings from a configuration and collects every problem.

    A setting that begins with ``USER_`` can also stand on the model class, without that prefix. It
    takes precedence there.

    :ivar groups: the groups that were read.
    """

    def __init__(self, config: Mapping[str, Any], user_model: type[Any] | None) -> None:
        self.problems: list[Problem] = []
        self._config = config
        self._user_model = user_model
        self.groups: dict[type[Settings], Settings] = {}

    def read(self, group: type[S]) -> S:
        """Return a group of settings. An invalid value is a problem, and its default is used."""
        if group not in self.groups:
            kinds, values = types_of(group), {}
            for field in dataclasses.fields(group):
                name, raw = self._find(PREFIX + field.name.upper())
                if name is None:
                    continue
                try:
                    values[field.name] = _bounded(convert(raw, kinds[field.name]), field.metadata)
                except ValueError as error:
                    self.problem(name, f"is {raw!r}, but {error}.")
            self.groups[group] = group(**values)
        return typing.cast(S, self.groups[group])

    def problem(self, name: str, text: str) -> None:
        """Add a problem: the name of the setting, and what is wrong and how to fix it."""
        self.problems.append(Problem(name, text))

    def unknown(self, known: Iterable[type[Settings]]) -> list[str]:
        """Return the keys that begin with ``REGISTRATION_`` and belong to no group."""
        keys = self._keys(known)
        return [key for key in self._config if key.startswith(PREFIX) and key not in keys]

    def finish(
        self, known: Iterable[type[Settings]], inactive: Mapping[type[Settings], str]
    ) -> None:
        """Raise every problem that was found.

        :param known: groups whose settings may be present, whether or not they were read.
        :param inactive: groups of flows that are not mounted, each with the name of its flow.
        :raises ConfigurationError: with every problem, unknown names with the prefix
            ``REGISTRATION_`` included.
        """
        known = [*known]
        flows = {each.key: flow for group, flow in inactive.items() for each in declarations(group)}
        for key in self.unknown(known):
            if key in flows:
                self.problem(
                    key,
                    f"belongs to the flow {flows[key]}, which is not mounted: "
                    f"pass flows=[*DEFAULT_FLOWS, {flows[key]}.flow] to Registration.",
                )
            else:
                near = get_close_matches(key, sorted(self._keys(known)), n=1, cutoff=0)[0]
                self.problem(key, f"is not a setting; did you mean {near}?")
        if self.problems:
            raise ConfigurationError(self.problems)

    def _keys(self, known: Iterable[type[Settings]]) -> set[str]:
        return {each.key for group in [*known, *self.groups] for each in declarations(group)}

    def _find(self, key: str) -> tuple[str | None, Any]:
        name = key.removeprefix(PREFIX)
        if name.startswith(USER_PREFIX) and self._user_model is not None:
            attribute = name.removeprefix(USER_PREFIX)
            if hasattr(self._user_model, attribute):
                qualified = f"{self._user_model.__name__}.{attribute}"
                return qualified, getattr(self._user_model, attribute)
        return (key, self._config[key]) if key in self._config else (None, None)


def convert(value: Any, kind: Any) -> Any:
    """Convert a value to its declared type.

    Lists become tuples, a number of seconds becomes a ``timedelta``, an import string becomes the
    object.

    :raises ValueError: with the end of a sentence that begins with "is 5, but".
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return _imported(value) if isinstance(value, str) else value
    if origin in (types.UnionType, typing.Union):
        return _convert_union(value, arguments)
    if origin is typing.Literal:
        return _checked(value, lambda found: found in arguments, f"must be {describe(kind)}")
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, Sequence | set | frozenset):
            raise ValueError(f"must be {describe(kind)}")
        return tuple(convert(item, arguments[0]) for item in value)
    if origin is Callable:
        return _checked(_imported(value), callable, "must be a callable or its import string")
    if origin is type:
        return _convert_class(value, arguments[0])
    if origin is Mapping:
        return _checked(value, lambda found: isinstance(found, Mapping), "must be a dict")
    if kind is timedelta:
        return _convert_timedelta(value)
    if kind is int:
        is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        return _checked(value, lambda _: is_number, "must be a whole number, not negative")
    return _checked(value, lambda found: isinstance(found, kind), f"must be {describe(kind)}")


def _convert_class(value: Any, base: Any) -> Any:
    base = object if base is Any else base
    if base is object:
        wanted = "must be a class or its import string"
    else:
        name = f"{base.__module__}.{base.__name__}"
        wanted = f"must be a subclass of {name} or its import string"
    return _checked(
        _imported(value),
        lambda found: isinstance(found, type) and issubclass(found, base),
        wanted,
    )


def _convert_timedelta(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            value = timedelta(seconds=value)
        except (OverflowError, ValueError):
            limit = "must be a number of seconds that a datetime.timedelta can hold"
            raise ValueError(limit) from None
    return _checked(
        value,
        lambda found: isinstance(found, timedelta) and found >= timedelta(0),
        "must be a datetime.timedelta or a number of seconds, not negative",
    )


def _convert_union(value: Any, kinds: tuple[Any, ...]) -> Any:
    if value is None and types.NoneType in kinds:
        return None
    errors = []
    for kind in kinds:
        if kind is not types.NoneType:
            try:
                return convert(value, kind)
            except ValueError as error:
                errors.append(str(error))
    raise ValueError(", or ".join(errors))


def _bounded(value: Any, metadata: Mapping[str, Any]) -> Any:
    if value is None:
        return value
    minimum, maximum = metadata["minimum"], metadata["maximum"]
    if minimum is not None and value < minimum:
        raise ValueError(f"must be at least {format_value(minimum)}")
    if maximum is not None and value > maximum:
        raise ValueError(f"must be at most {format_value(maximum)}")
    return value


def _imported(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return import_string(value)
    except ImportError as error:
        reason = getattr(error, "exception", error)  # Werkzeug's own lists where it looked
        raise ValueError(f"cannot be imported: {reason}") from error


def _checked(value: Any, is_valid: Callable[[Any], bool], wanted: str) -> Any:
    if not is_valid(value):
        raise ValueError(wanted)
    return value


def describe(kind: Any) -> str:
    """Return a type in words, for messages and the documentation."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
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
            key=PREFIX + field.name.upper(),
            kind=describe(kinds[field.name]),
            default=field.metadata["default_text"] or format_value(field.metadata["default"]),
            help=field.metadata["help"],
        )
        for field in dataclasses.fields(group)
    ]


def format_value(value: Any) -> str:
    """Return a value as a person writes it: ``7 days``, not ``datetime.timedelta(days=7)``."""
    if isinstance(value, timedelta):
        return duration(value)
    if isinstance(value, tuple):
        return repr(list(value))
    if callable(value):
        return f"{value.__module__}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    return repr(value)
