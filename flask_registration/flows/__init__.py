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
    verification_redirects,
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

#: Those that an application may switch on.
OPTIONAL_FLOWS: tuple[Flow[Any], ...] = (verification_redirects.flow,)
