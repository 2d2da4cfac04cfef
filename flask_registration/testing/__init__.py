"""A pytest plugin for applications, without ``assert`` (PYTEST_DONT_REWRITE)."""

from .accounts import PASSWORD, Accounts, Clock, Link, Outbox
from .fixtures import (
    CHEAP_HASHER,
    accounts,
    registration_app,
    registration_clock,
    registration_hasher,
)

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
