"""Replace a known password."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask.typing import ResponseReturnValue
from marshmallow import Schema, ValidationError

from ..accounts import replace_password
from ..errors import MailUnavailable, NotAuthenticated
from ..events import PASSWORD_CHANGE_FAIL
from ..flow import Flow, success
from ..kit import Kit
from ..mail import NotificationType
from ..messages import Message
from ..replies import renewal_reply
from ..schemas import new_password_schema, password_field
from ..sessions import session_kept_on_failure
from ..settings import Settings, setting
from ..signals import user_changed_password
from ..users import User


@dataclass(frozen=True, kw_only=True)
class ChangePasswordSettings(Settings):
    """Changing a password."""

    change_password_schema_password_confirm: bool = setting(True, "Whether the body needs `password_confirm`.")


flow: Flow[ChangePasswordSettings] = Flow("change_password", ChangePasswordSettings)


def change_password_schema(kit: Kit) -> Schema:
    """The old password and the new one."""
    confirm = kit.group(ChangePasswordSettings).change_password_schema_password_confirm
    return new_password_schema(password_confirm=confirm, old_password=password_field())()


@flow.post(
    "/change-password/",
    loads=change_password_schema,
    returns=renewal_reply,
    raises=[MailUnavailable],
    login_required=True,
    throttles={"client": "60/minute;1000/hour", "account": "10/5 minutes;50/hour"},
)
def change_password_view(user: User, data: dict[str, Any]) -> ResponseReturnValue:
    """Change one's own password. Every other session and token ends; this one goes on under a new id."""
    login = change_password(flow.kit, user, data["old_password"], data["password"])
    return success("Password changed successfully", **login)


def change_password(kit: Kit, user: User, old_password: str, password: str) -> dict[str, Any]:
    """Change a password, and tell the owner; returns what the reply shall carry.

    :raises marshmallow.ValidationError: not the old password, or a new one that does not pass the policy.
    :raises NotAuthenticated: the account was changed or suspended this very moment.
    """
    seen = kit.users.state(user)
    right, _ = kit.passwords.verify(old_password, seen.password_hash)
    if not right:
        kit.record(PASSWORD_CHANGE_FAIL, user)
        raise ValidationError(Message("Old password is not correct.", code="wrong-password"), "old_password")
    if not replace_password(kit, user, seen, password):
        raise NotAuthenticated
    with session_kept_on_failure():
        login = kit.identity.renew(user, fresh=True)
        kit.commit(*kit.notice(NotificationType.PASSWORD_CHANGED, user), signal=user_changed_password, user=user)
    return login
