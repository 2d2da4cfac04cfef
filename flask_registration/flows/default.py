"""The default flows, and the optional packages with what asks for each of them."""

from __future__ import annotations

from typing import Any, NamedTuple

from werkzeug.utils import import_string

from ..http.flow import Flow
from ..state import Extra
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


#: The import strings of flows that an application has to name.
OPTIONAL_FLOWS = ("flask_registration.flows.verification_redirects:flow",)


class OptionalPackage(NamedTuple):
    """A package that the core does not import unless the configuration asks for it.

    :ivar module: its import string; it has a variable ``extra``.
    :ivar settings: a setting that begins with this, without ``REGISTRATION_``, asks for it.
    :ivar library: an installed library that asks for it.
    :ivar requires: a library that it cannot be imported without.
    """

    module: str
    settings: str = ""
    library: str = ""
    requires: str = ""

    @property
    def name(self) -> str:
        """Its name. A dispatcher or a model of this name asks for it, too."""
        return self.module.rpartition(".")[2]

    def load(self) -> Extra:
        """Import the package and return what it declares."""
        extra: Extra = import_string(f"{self.module}:extra")
        return extra


EXTRAS = (
    OptionalPackage("flask_registration.openapi", settings="OPENAPI_", library="apispec"),
    OptionalPackage("flask_registration.outbox", settings="OUTBOX_"),
    OptionalPackage("flask_registration.celery", requires="celery"),
    OptionalPackage("flask_registration.problem_details", settings="PROBLEM_TYPES_URL"),
)

#: Makes problem details; imported when a client asks for them.
PROBLEM_DETAILS = "flask_registration.problem_details:respond"
