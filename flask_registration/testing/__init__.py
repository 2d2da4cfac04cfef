"""A pytest plugin for applications.

Write ``pytest_plugins = ["flask_registration.testing"]`` in a ``conftest.py``. The plugin needs
pytest; the rest of the package does not.

PYTEST_DONT_REWRITE: nothing here uses ``assert``, so a ``conftest.py`` may import the plugin before
pytest does, without a warning.
"""

from .accounts import PASSWORD, Accounts, Clock
from .fixtures import (
    CHEAP_HASHER,
    accounts,
    registration_app,
    registration_clock,
    registration_hasher,
)
from .outbox import Link, Outbox

__all__ = [
    "CHEAP_HASHER",
    "PASSWORD",
    "Accounts",
    "Clock",
    "Link",
    "Outbox",
    "accounts",
    "registration_app",
    "registration_clock",
    "registration_hasher",
]
