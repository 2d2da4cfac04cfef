"""Clients of an application under test."""

from __future__ import annotations

from contextvars import Context
from typing import Any

from flask import Flask
from flask.testing import FlaskClient


def new_client(app: Flask) -> FlaskClient:
    """A client, of the application's own class, whose requests stand by themselves.

    With Flask's alone, requests share ``flask.g`` where a test holds an application context, and whoever asked first is
    logged in for all of them.
    """
    made: type[FlaskClient] = app.test_client_class or FlaskClient

    class Client(made):  # type: ignore[misc,valid-type]  # a class made at run time
        def open(self, *args: Any, **kwargs: Any) -> Any:
            if self.preserve_context:  # ``with client:`` wants to look at the context afterwards
                return super().open(*args, **kwargs)
            return Context().run(super().open, *args, **kwargs)

    client: FlaskClient = Client(app, app.response_class, use_cookies=True)
    return client
