"""What Flask-Login calls to recognise a request: the application's loaders, with ours around them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import flask_login
from flask import Request, current_app, g

from .events import TOKEN_REFUSED
from .users import User, UserStore

_adopting = threading.Lock()


def adopt_loaders() -> None:
    """Put ours around the application's loaders, which may have been set at any time until now."""
    manager = cast(Any, current_app).login_manager
    if isinstance(manager.user_callback, SessionLoader):
        return
    with _adopting:
        load, load_by_request = manager.user_callback, manager.request_callback
        if not isinstance(load, SessionLoader):
            manager.request_loader(TokenLoader(load_by_request))
            manager.user_loader(SessionLoader(load))


@dataclass(frozen=True)
class SessionLoader:
    """A ``user_loader`` that looks at the session's mark as well."""

    load: Callable[[str], User | None] | None

    def __call__(self, session_id: str) -> User | None:
        kit = current_app.extensions["registration"]  # one LoginManager may serve several applications
        user: User | None = kit.identity.recognise(session_id, self.load or kit.users.get)
        return user


@dataclass(frozen=True)
class TokenLoader:
    """A ``request_loader`` for ``Authorization: Bearer`` and ``Token``, and then the application's own."""

    otherwise: Callable[[Request], User | None] | None

    def __call__(self, request: Request) -> User | None:
        authorization = request.authorization
        token = authorization.token if authorization and authorization.type in ("bearer", "token") else None
        kit = current_app.extensions["registration"]
        user: User | None = kit.tokens.find_user(token) if token else None
        if user is not None and kit.users.state(user).is_active:
            g._registration_token = token
            return user
        other = self.otherwise(request) if self.otherwise else None
        if token and other is None:
            kit.record(TOKEN_REFUSED, user)
        return other


def lend_flask_login(model: type[Any], users: UserStore) -> None:
    """Give a model what Flask-Login asks of a user, where it has none of its own."""
    if not hasattr(model, "get_id"):
        model.get_id = lambda user: users.identifier(user)
    for name in ("is_active", "is_authenticated", "is_anonymous"):
        if not hasattr(model, name):
            setattr(model, name, getattr(flask_login.UserMixin, name))
