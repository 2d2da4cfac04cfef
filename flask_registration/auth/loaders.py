"""What Flask-Login asks of an application and its user model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import flask_login

from ..users.fields import has_own
from ..users.store import User, UserStore

if TYPE_CHECKING:
    from .sessions import SessionManager

#: A ``user_loader`` or a ``request_loader`` of the application.
OwnLoader: TypeAlias = Callable[[Any], Any]


@dataclass(frozen=True)
class Loader:
    """A loader of Flask-Login that calls the session manager of the current application.

    :ivar own: the application's own loader, which the session manager calls.
    """

    own: OwnLoader | None
    current: Callable[[], SessionManager]
    load: Callable[[SessionManager, Any, OwnLoader | None], User | None]

    def __call__(self, key: Any) -> User | None:
        return self.load(self.current(), key, self.own)


def add_user_methods(model: type[Any], users: UserStore) -> None:
    """Add the attributes that Flask-Login needs to a model that has none of its own."""
    if not hasattr(model, "get_id"):
        model.get_id = lambda user: users.identifier(user)
    if not has_own(model, "is_active"):
        model.is_active = property(lambda user: users.snapshot(user).is_active)
    for name in ("is_authenticated", "is_anonymous"):
        if not hasattr(model, name):
            setattr(model, name, getattr(flask_login.UserMixin, name))
