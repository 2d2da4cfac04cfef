"""A second factor of the login: an authenticator app (TOTP) with recovery codes. Optional."""

from .base import SecondFactorSettings, flow, second_factor, step
from .enrollment import add_totp, confirm_totp, import_totp, unused_code
from .management import create_recovery_codes, credentials, remove_totp
from .recovery import cancel_recovery, recover_second_factor

__all__ = [
    "SecondFactorSettings",
    "add_totp",
    "cancel_recovery",
    "confirm_totp",
    "create_recovery_codes",
    "credentials",
    "flow",
    "import_totp",
    "recover_second_factor",
    "remove_totp",
    "second_factor",
    "step",
    "unused_code",
]
