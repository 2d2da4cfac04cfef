"""User accounts for Flask applications: the public API."""

from typing import TYPE_CHECKING, Any

from werkzeug.utils import import_string

from .auth.links import OpenedLink, Purpose, VerificationLink
from .auth.tokens import LoginMixin, TokenManager
from .checks import Finding
from .errors import (
    APIError,
    ChallengeInvalid,
    CodeInvalid,
    ConfigurationError,
    ForeignLogin,
    GateRefused,
    LinkExpired,
    LinkInvalid,
    NotApproved,
    StepRequired,
    UserNotFound,
)
from .extension import Registration
from .flows import DEFAULT_FLOWS
from .http.accounts import create_user
from .http.bodies import BodySchema, SuccessSchema
from .http.flow import EndpointLink, Flow
from .http.responses import success
from .i18n.messages import Message
from .settings import Settings, setting
from .signals import (
    invitation_accepted,
    mail_failed,
    terms_accepted,
    user_activated,
    user_added_factor,
    user_approved,
    user_changed_email,
    user_changed_password,
    user_deleted,
    user_deletion_scheduled,
    user_logged_in,
    user_logged_out,
    user_login_failed,
    user_registered,
    user_rejected,
    user_removed_factor,
    user_reset_password,
    user_used_recovery_code,
)
from .state import RegistrationState, Setup, announce, current_registration
from .users.mixins import EmailUserMixin, UserMixin
from .users.stamps import next_stamp

if TYPE_CHECKING:
    from .auth.challenges import ChallengeMixin
    from .auth.credentials import CredentialMixin
    from .flows.approval import ApprovalMixin
    from .flows.invitations.model import InvitationMixin
    from .flows.leaving import DeletionMixin
    from .flows.terms import ConsentMixin
    from .outbox.model import OutboxMixin

__version__ = "0.1.0"

__all__ = [
    "DEFAULT_FLOWS",
    "APIError",
    "ApprovalMixin",
    "BodySchema",
    "ChallengeInvalid",
    "ChallengeMixin",
    "CodeInvalid",
    "ConfigurationError",
    "ConsentMixin",
    "CredentialMixin",
    "DeletionMixin",
    "EmailUserMixin",
    "EndpointLink",
    "Finding",
    "Flow",
    "ForeignLogin",
    "GateRefused",
    "InvitationMixin",
    "LinkExpired",
    "LinkInvalid",
    "LoginMixin",
    "Message",
    "NotApproved",
    "OpenedLink",
    "OutboxMixin",
    "Purpose",
    "Registration",
    "RegistrationState",
    "Settings",
    "Setup",
    "StepRequired",
    "SuccessSchema",
    "TokenManager",
    "UserMixin",
    "UserNotFound",
    "VerificationLink",
    "__version__",
    "announce",
    "create_user",
    "current_registration",
    "invitation_accepted",
    "mail_failed",
    "next_stamp",
    "setting",
    "success",
    "terms_accepted",
    "user_activated",
    "user_added_factor",
    "user_approved",
    "user_changed_email",
    "user_changed_password",
    "user_deleted",
    "user_deletion_scheduled",
    "user_logged_in",
    "user_logged_out",
    "user_login_failed",
    "user_registered",
    "user_rejected",
    "user_removed_factor",
    "user_reset_password",
    "user_used_recovery_code",
]


def __getattr__(name: str) -> Any:
    # The mixins of optional features are imported on demand: their columns take time.
    modules = {
        "ApprovalMixin": "flows.approval",
        "ChallengeMixin": "auth.challenges",
        "ConsentMixin": "flows.terms",
        "CredentialMixin": "auth.credentials",
        "DeletionMixin": "flows.leaving",
        "InvitationMixin": "flows.invitations.model",
        "OutboxMixin": "outbox.model",
    }
    if name in modules:
        return import_string(f"flask_registration.{modules[name]}:{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
