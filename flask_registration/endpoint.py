"""An endpoint as a flow declares it: its view runs on this, and the API description is made from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from flask.typing import RouteCallable
from marshmallow import Schema

from .errors import APIError
from .kit import Kit
from .settings import Settings

S = TypeVar("S", bound=Settings)

#: The schema of a body, or what makes it of the kit.
Described = type[Schema] | Callable[[Kit], Schema]

#: The errors that an endpoint may answer; in a mapping, each with the settings that it takes.
Raises = Sequence[type[APIError]] | Mapping[type[APIError], Callable[[Any], bool]]


def always(settings: Settings) -> bool:
    """What is so with all settings."""
    return True


@dataclass(frozen=True, kw_only=True)
class Endpoint(Generic[S]):
    """One endpoint as declared; see :meth:`Flow.endpoint`."""

    name: str
    methods: Sequence[str]
    path: str
    view: RouteCallable
    loads: Described | None
    loads_later: Described | None
    returns: Described | None
    status: int
    raises: Mapping[type[APIError], Callable[[S], bool]]
    enabled: Callable[[S], bool]
    login_required: bool
    throttles: Mapping[str, str]
    account: Callable[..., Iterable[str]] | None
