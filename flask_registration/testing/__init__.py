"""The test kit: a pytest plugin for applications, ``pytest_plugins = ["flask_registration.testing"]`` in a conftest.

It needs pytest, which the rest of the package does not. (PYTEST_DONT_REWRITE: nothing here uses ``assert``, and so a
conftest may import it before pytest does without a warning.)
"""

from .accounts import PASSWORD, Accounts
from .clock import Clock
from .fixtures import accounts, registration_app, registration_clock, registration_hasher
from .hashing import CHEAP_HASHER
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
