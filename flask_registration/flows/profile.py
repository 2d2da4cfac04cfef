"""Read, change and delete the current user's account."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow import Schema, fields

from ..auth.request_session import forget_session
from ..errors import AccountInUse, NotAuthenticated, ReauthenticationRequired
from ..http.bodies import BodySchema, schema_of
from ..http.flow import Flow
from ..http.schemas import password_field, profile_schema
from ..i18n.languages import current_request
from ..security_log import USER_UPDATED
from ..settings import Settings, setting
from ..signals import user_deleted
from ..state import RegistrationState
from ..users.stamps import next_stamp
from ..users.store import User


@dataclass(frozen=True, kw_only=True)
class ProfileSettings(Settings):
    """The profile."""

    profile_schema_class: type[Schema] | None = setting(
        None,
        "The marshmallow schema that shows a profile and loads changes to it.",
        default_text="made from the model",
    )
    profile_deleter: Callable[..., None] | None = setting(
        None,
        "Called instead of deleting the row, for example to anonymize it: "
        "`deleter(user, *, request, **kwargs)`. The account is suspended "
        "and its sessions, tokens and links end either way.",
        default_text="the row is deleted",
    )


flow: Flow[ProfileSettings] = Flow("profile", ProfileSettings)

#: A change reveals whether a username is in use.
CHANGES = {"account": "30/minute;300/hour"}


def full_schema(state: RegistrationState) -> Schema:
    """Return the application's schema, or the one made from its model."""
    return (state.group(ProfileSettings).profile_schema_class or profile_schema(state.fields))()


def partial_schema(state: RegistrationState) -> Schema:
    """Return the same schema for changes of some fields."""
    schema = state.group(ProfileSettings).profile_schema_class or profile_schema(state.fields)
    return schema(partial=True)


# Read


@flow.get("/profile/", response=full_schema, login_required=True)
def profile(user: User) -> dict[str, Any]:
    """Return the current user's profile."""
    shown: dict[str, Any] = schema_of(flow.state, full_schema).dump(user)
    return shown


# Change


@flow.endpoint(
    "/profile/",
    methods=["PUT", "POST"],
    request=full_schema,
    response=full_schema,
    login_required=True,
    throttles=CHANGES,
)
def replace_profile(user: User, data: dict[str, Any]) -> dict[str, Any]:
    """Change the current user's profile. All mandatory fields are required."""
    return write_profile(flow.state, user, data)


@flow.endpoint(
    "/profile/",
    methods=["PATCH"],
    request=partial_schema,
    response=full_schema,
    login_required=True,
    throttles=CHANGES,
)
def update_profile(user: User, data: dict[str, Any]) -> dict[str, Any]:
    """Change some fields of the current user's profile."""
    return write_profile(flow.state, user, data)


def write_profile(state: RegistrationState, user: User, data: Mapping[str, Any]) -> dict[str, Any]:
    """Write the changed fields and no others. Return the profile.

    The e-mail address does not change here; see ``register-email``.

    :raises marshmallow.ValidationError: a field is invalid or a duplicate.
    :raises NotAuthenticated: the account was suspended or its sessions ended at the same moment.
    """
    fixed = {state.fields.email, *state.fields.system}
    names = [name for name in data if name in state.fields.columns and name not in fixed]
    names = [name for name in names if data[name] != getattr(user, name)]  # no rule for old values
    own_email = state.users.snapshot(user).email
    values = state.users.build({name: data[name] for name in names}, own_email=own_email)
    changes = {name: value for name, value in values.items() if getattr(user, name) != value}
    if not state.users.change(user, state.users.snapshot(user), {}, columns=changes):
        raise NotAuthenticated
    shown: dict[str, Any] = schema_of(state, full_schema).dump(user)
    state.commit()
    if changes:
        state.record(USER_UPDATED, user, fields=[name for name in changes if name in data])
    return shown


# Delete


class DeleteProfileSchema(BodySchema):
    """The password, unless the login is fresh."""

    password: fields.Field[Any] = password_field(required=False)


@flow.delete(
    "/profile/",
    request=DeleteProfileSchema,
    status=204,
    errors=[ReauthenticationRequired, AccountInUse],
    login_required=True,
    throttles={"client": "60/minute;1000/hour", "account": "10/5 minutes;50/hour"},
)
def delete_profile(user: User, data: dict[str, str]) -> None:
    """Delete the current user's account.

    :raises marshmallow.ValidationError: the password is wrong.
    :raises ReauthenticationRequired: there is no password, and the login is not fresh.
    :raises AccountInUse: other rows refer to this one.
    :raises NotAuthenticated: the account was suspended, changed or deleted at the same moment.
    """
    state, delete = flow.state, flow.settings.profile_deleter
    seen = state.users.snapshot(user)
    state.reauthenticate(user, data.get("password"))
    changes: dict[str, Any] = {"password_hash": seen.password_hash}  # of two deletions one locks it
    if delete:
        changes |= {"security_stamp": next_stamp(seen.security_stamp), "is_active": False}
    if not state.users.change(user, seen, changes):
        raise NotAuthenticated
    state.sessions.end_logins(user)
    if delete:
        delete(user, request=current_request())
    else:
        state.users.delete(user)
    forget_session()
    state.commit(signal=user_deleted, user=user)
