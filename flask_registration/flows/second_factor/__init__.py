"""A second factor of the login: an authenticator app (TOTP) with recovery codes. Optional."""

from . import recovery
from .base import SecondFactorSettings, flow
from .management import import_totp

__all__ = ["SecondFactorSettings", "flow", "import_totp", "recovery"]
