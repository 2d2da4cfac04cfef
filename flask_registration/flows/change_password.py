"""Change a known password."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from marshmallow import Schema, ValidationError

from ..auth.passwords import is_usable
from ..errors import REQUIRED, MailUnavailable, ReauthenticationRequired
from ..http.bodies import RenewedSchema
from ..http.flow import PASSWORD_LIMITS, Flow
from ..http.schemas import new_password_schema, password_field
from ..i18n.messages import Message
from ..security_log import PASSWORD_CHANGE_FAIL
from ..settings import Settings, setting
from ..signals import user_changed_password
from ..state import RegistrationState
from ..users.store import User


@dataclass(frozen=True, kw_only=True)
class ChangePasswordSettings(Settings):
    """Password change."""

    change_password_schema_password_confirm: bool = setting(
        True, "Whether the request body requires `password_confirm`."
    )


flow: Flow[ChangePasswordSettings] = Flow("change_password", ChangePasswordSettings)


def change_password_schema(state: RegistrationState) -> Schema:
    """Return the schema of the old password and the new one."""
    confirm = state.group(ChangePasswordSettings).change_password_schema_password_confirm
    required = state.provided("makes_passwordless_accounts") is None
    old_password = password_field(required=required)
    return new_password_schema(password_confirm=confirm, old_password=old_password)()


@flow.post(
    "/change-password/",
    request=change_password_schema,
    response=RenewedSchema,
    message=Message("Password changed successfully"),
    errors=[ReauthenticationRequired, MailUnavailable],
    login_required=True,
    throttles=PASSWORD_LIMITS,
)
def change_password(user: User, data: dict[str, Any]) -> dict[str, Any]:
    """Change the current user's password, or set the first one with a fresh login.

    Every other session and token ends; this one goes on under a new id, as fresh as it was.

    :raises marshmallow.ValidationError: the old password is wrong, or the new one does not pass the
        policy.
    :raises ReauthenticationRequired: the account has no password, and the login is not fresh.
    :raises AccountUnusable: the account was changed or suspended at the same moment.
    """
    state = flow.state
    seen, was_fresh = state.users.snapshot(user), state.sessions.is_fresh()
    old_password = data.get("old_password")
    if old_password is None:
        if is_usable(seen.password_hash):
            raise ValidationError(REQUIRED, "old_password")
        state.reauthenticate(user, None)
    elif not state.passwords.verify(old_password, seen.password_hash)[0]:
        state.record(PASSWORD_CHANGE_FAIL, user)
        raise ValidationError(Message("Incorrect password.", code="wrong-password"), "old_password")
    state.replace_password(user, seen, data["password"])
    login = state.sessions.renew(user, fresh_token=was_fresh)
    state.commit(*state.password_notice(user), signals=[user_changed_password], user=user)
    return login
