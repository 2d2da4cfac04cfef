"""The default flows, and the optional packages with what asks for each of them."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Any, NamedTuple

from werkzeug.utils import import_string

from ..http.flow import Flow
from ..mail.composer import MailSettings
from ..settings import PREFIX, Settings
from ..state import Extra, Setup
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
OPTIONAL_FLOWS = (
    "flask_registration.flows.approval:flow",
    "flask_registration.flows.codes:flow",
    "flask_registration.gate:flow",
    "flask_registration.flows.invitations:flow",
    "flask_registration.flows.leaving:flow",
    "flask_registration.flows.mail_login:flow",
    "flask_registration.flows.new_login:flow",
    "flask_registration.flows.reauthenticate:flow",
    "flask_registration.flows.second_factor:flow",
    "flask_registration.flows.sign_up:flow",
    "flask_registration.flows.terms:flow",
    "flask_registration.flows.verification_redirects:flow",
)


class OptionalPackage(NamedTuple):
    """A package that the core does not import unless the configuration asks for it.

    :ivar module: its import string; it has a variable ``extra``.
    :ivar settings: a setting that begins with this pattern, without ``REGISTRATION_``, asks for
        it.
    :ivar library: an installed library that asks for it.
    :ivar requires: a library that it cannot be imported without.
    """

    module: str
    settings: str = ""
    library: str = ""
    requires: str = ""

    @property
    def name(self) -> str:
        """Return its name. A dispatcher or a model of this name asks for it, too."""
        return self.module.rpartition(".")[2]

    @property
    def is_installed(self) -> bool:
        """Return whether it can be imported."""
        return not self.requires or find_spec(self.requires) is not None

    def is_wanted(self, setup: Setup) -> bool:
        """Return whether the configuration asks for it."""
        pattern = PREFIX + self.settings
        return (
            bool(self.settings and any(re.match(pattern, key) for key in setup.app.config))
            or bool(self.library and find_spec(self.library))
            or setup.models.get(self.name) is not None
            or setup.group(MailSettings).mail_dispatcher == self.name
        )

    def load(self) -> Extra:
        """Import the package and return what it declares."""
        extra: Extra = import_string(f"{self.module}:extra")
        return extra


EXTRAS = (
    OptionalPackage("flask_registration.openapi", settings="OPENAPI_", library="apispec"),
    OptionalPackage("flask_registration.outbox", settings="OUTBOX_"),
    OptionalPackage("flask_registration.celery", requires="celery"),
    OptionalPackage("flask_registration.gate", settings="GATE"),
    OptionalPackage("flask_registration.validators", settings=r"\w+_VALIDATORS$"),
)


def extra_settings() -> list[type[Settings]]:
    """Return the groups of settings of optional packages that are installed."""
    installed = [package for package in EXTRAS if package.is_installed]
    return [group for package in installed for group in package.load().settings]


#: Makes problem details; imported when a client asks for them.
PROBLEM_DETAILS = "flask_registration.problem_details:respond"
