"""The journeys that an application has unless it says otherwise."""

from __future__ import annotations

from typing import Any

from ..flow import Flow
from . import (
    change_password,
    login,
    logins,
    profile,
    register,
    register_email,
    reset_password,
    undo_email_change,
)

DEFAULT_FLOWS: tuple[Flow[Any], ...] = (
    register.flow,
    login.flow,
    logins.flow,
    profile.flow,
    change_password.flow,
    reset_password.flow,
    register_email.flow,
    undo_email_change.flow,
)


def optional_flows() -> tuple[Flow[Any], ...]:
    """Those that an application may switch on; who does not need them does not import them."""
    from . import verification_redirects

    return (verification_redirects.flow,)
