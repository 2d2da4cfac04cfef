"""A setting is declared once: name, type, default, help. Reading, checking and documentation come from there.

A group of settings is a frozen dataclass whose fields are made with :func:`setting`; the field
``register_verification_url`` is read from ``REGISTRATION_REGISTER_VERIFICATION_URL``.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, NamedTuple, TypeVar

from werkzeug.utils import import_string

from .errors import ConfigurationError, Problem
from .messages import duration

PREFIX = "REGISTRATION_"
USER_PREFIX = "USER_"

S = TypeVar("S", bound="Settings")


def setting(default: Any, help: str, *, default_text: str | None = None) -> Any:
    """Declare one setting.

    :param help: one or two sentences of Markdown, for the documentation.
    :param default_text: what the documentation says instead of the default's ``repr``.
    """
    metadata = {"default": default, "help": help, "default_text": default_text}
    return dataclasses.field(default_factory=lambda: default, metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """A group of settings; a room or a flow subclasses it with its own."""


class Declaration(NamedTuple):
    """What the documentation needs to know of one setting."""

    key: str
    kind: str
    default: str
    help: str


class SettingsReader:
    """Reads groups from a configuration, collecting every problem on the way.

    A setting of the user may also stand on the model class, without ``USER_``, and wins there.
    """

    def __init__(self, config: Mapping[str, Any], user_model: type[Any] | None) -> None:
        self.problems: list[Problem] = []
        self._config = config
        self._user_model = user_model
        self._groups: dict[type[Settings], Settings] = {}

    def read(self, group: type[S]) -> S:
        """The settings of one group, frozen; a value that does not fit is a problem, and the default stands in."""
        if group not in self._groups:
            hints = types_of(group)
            values = {}
            for field in dataclasses.fields(group):
                key = PREFIX + field.name.upper()
                name, raw = self._find(key)
                if name is None:
                    continue
                try:
                    values[field.name] = convert(raw, hints[field.name])
                except ValueError as error:
                    self.problem(name, f"is {raw!r}, but {error}.")
            self._groups[group] = group(**values)
        return typing.cast(S, self._groups[group])

    def problem(self, name: str, cure: str) -> None:
        """Note a problem: the setting's name, and a sentence that says what to do."""
        self.problems.append(Problem(name, cure))

    def finish(
        self, known: Iterable[type[Settings]], optional: Callable[[], Mapping[type[Settings], str]]
    ) -> Mapping[type[Settings], Settings]:
        """All groups that were read.

        :param known: the groups whose names are no surprise in the configuration, read or not.
        :param optional: groups of flows that an application has to switch on, each with the flow's name; only asked for
            where a name is unknown.
        :raises ConfigurationError: with every problem, unknown ``REGISTRATION_`` names among them.
        """
        names = sorted({declaration.key for group in [*known, *self._groups] for declaration in declarations(group)})
        unknown = [key for key in self._config if key.startswith(PREFIX) and key not in names]
        groups = optional() if unknown else {}
        off = {declaration.key: name for group, name in groups.items() for declaration in declarations(group)}
        for key in unknown:
            if key in off:
                self.problem(
                    key,
                    f"belongs to the flow {off[key]}, which is off: "
                    f"pass flows=[*DEFAULT_FLOWS, {off[key]}.flow] to Registration.",
                )
            else:
                near = get_close_matches(key, names, n=1, cutoff=0)[0]
                self.problem(key, f"is not a setting; did you mean {near}?")
        if self.problems:
            raise ConfigurationError(self.problems)
        return types.MappingProxyType(self._groups)

    def _find(self, key: str) -> tuple[str | None, Any]:
        name = key.removeprefix(PREFIX)
        if name.startswith(USER_PREFIX) and self._user_model is not None:
            attribute = name.removeprefix(USER_PREFIX)
            if hasattr(self._user_model, attribute):
                return f"{self._user_model.__name__}.{attribute}", getattr(self._user_model, attribute)
        return (key, self._config[key]) if key in self._config else (None, None)


def convert(value: Any, kind: Any) -> Any:
    """The value as the declared type has it: lists become tuples, seconds a timedelta, import strings objects.

    :raises ValueError: with the end of the sentence "… is 5, but".
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
        base = object if arguments[0] is Any else arguments[0]
        return _checked(
            _imported(value),
            lambda found: isinstance(found, type) and issubclass(found, base),
            f"must be a {describe(kind)} or its import string"
            if base is object
            else f"must be a subclass of {base.__module__}.{base.__name__} or its import string",
        )
    if origin is Mapping:
        return _checked(value, lambda found: isinstance(found, Mapping), "must be a dict")
    if kind is timedelta:
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                value = timedelta(seconds=value)
            except (OverflowError, ValueError):
                raise ValueError("must be a number of seconds that a datetime.timedelta can hold") from None
        return _checked(
            value,
            lambda found: isinstance(found, timedelta) and found >= timedelta(0),
            "must be a datetime.timedelta or a number of seconds, not negative",
        )
    if kind is int:
        fits = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        return _checked(value, lambda _: fits, "must be a whole number, not negative")
    return _checked(value, lambda found: isinstance(found, kind), f"must be {describe(kind)}")


def _convert_union(value: Any, kinds: tuple[Any, ...]) -> Any:
    if value is None and types.NoneType in kinds:
        return None
    complaints = []
    for kind in kinds:
        if kind is not types.NoneType:
            try:
                return convert(value, kind)
            except ValueError as error:
                complaints.append(str(error))
    raise ValueError(", or ".join(complaints))


def _imported(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return import_string(value)
    except ImportError as error:
        reason = getattr(error, "exception", error)  # Werkzeug's own tells in ten lines where it has looked
        raise ValueError(f"cannot be imported: {reason}") from error


def _checked(value: Any, fits: Callable[[Any], bool], complaint: str) -> Any:
    if not fits(value):
        raise ValueError(complaint)
    return value


def describe(kind: Any) -> str:
    """A type in words, for messages and the documentation."""
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
    names = {bool: "True or False", types.NoneType: "None", Any: "object", str: "str", int: "int"}
    return names.get(kind, getattr(kind, "__name__", str(kind)))


_types: dict[type[Settings], Mapping[str, Any]] = {}


def types_of(group: type[Settings]) -> Mapping[str, Any]:
    """The declared types of a group's fields, looked up once in a process."""
    if group not in _types:
        _types[group] = typing.get_type_hints(group)
    return _types[group]


def declarations(group: type[Settings]) -> list[Declaration]:
    """What a group declares, in its order."""
    hints = types_of(group)
    return [
        Declaration(
            key=PREFIX + field.name.upper(),
            kind=describe(hints[field.name]),
            default=field.metadata["default_text"] or spell(field.metadata["default"]),
            help=field.metadata["help"],
        )
        for field in dataclasses.fields(group)
    ]


def spell(value: Any) -> str:
    """A setting's value for a person: ``7 days`` instead of ``datetime.timedelta(days=7)``."""
    if isinstance(value, timedelta):
        return duration(value)
    if isinstance(value, tuple):
        return repr(list(value))
    if callable(value):
        return f"{value.__module__}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    return repr(value)
