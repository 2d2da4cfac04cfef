"""An application of the tests as gunicorn serves it."""

from __future__ import annotations

from typing import Any

from flask import Flask

from ..people import define_login
from ..site import Site, make_site


def make(database: str, smtp_port: int) -> Site:
    """The application, in this process."""
    config: dict[str, Any] = {
        "TESTING": False,
        "MAIL_SUPPRESS_SEND": False,
        "MAIL_SERVER": "127.0.0.1",
        "MAIL_PORT": smtp_port,
    }
    return make_site(database, config=config, login_model=define_login)


def create_app(database: str, smtp_port: int) -> Flask:
    """What gunicorn calls in each worker."""
    return make(database, smtp_port).app
