"""Read, change, delete one's own account."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Response, request
from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields

from ..accounts import reauthenticate, refusal
from ..errors import AccountInUse, FieldTaken, NotAuthenticated, ReauthenticationRequired
from ..events import USER_UPDATED
from ..flow import Flow
from ..kit import Kit
from ..schemas import password_field, profile_schema
from ..sessions import forget_session
from ..settings import Settings, setting
from ..signals import user_deleted
from ..users import User, next_stamp
from ..web import BodySchema


@dataclass(frozen=True, kw_only=True)
class ProfileSettings(Settings):
    """The profile."""

    profile_schema_class: type[Schema] | None = setting(
        None, "The marshmallow schema that shows a profile and loads changes to it.", default_text="made from the model"
    )
    profile_deleter: Callable[..., None] | None = setting(
        None,
        "Called in place of deleting the row, to anonymise it say: `deleter(user, *, request, **kwargs)`. "
        "The account is suspended and its sessions, tokens and links end either way.",
        default_text="the row is deleted",
    )


flow: Flow[ProfileSettings] = Flow("profile", ProfileSettings)

#: A change tells whether a username is taken.
CHANGES = {"account": "30/minute;300/hour"}


def own_schema(kit: Kit) -> Schema:
    """The application's schema, or the one made from its model."""
    return (kit.group(ProfileSettings).profile_schema_class or profile_schema(kit.fields))()


def partial_schema(kit: Kit) -> Schema:
    """The same, for changes that name only what they change."""
    return (kit.group(ProfileSettings).profile_schema_class or profile_schema(kit.fields))(partial=True)


# Read


@flow.get("/profile/", returns=own_schema, login_required=True)
def profile_view(user: User) -> ResponseReturnValue:
    """Read one's own profile."""
    profile: dict[str, Any] = flow.kit.schema(own_schema).dump(user)
    return profile


# Change


@flow.endpoint(
    "/profile/",
    methods=["PUT", "POST"],
    loads=own_schema,
    returns=own_schema,
    login_required=True,
    throttles=CHANGES,
)
def replace_profile_view(user: User, data: dict[str, Any]) -> ResponseReturnValue:
    """Change one's own profile, naming every field that must have a value."""
    return update_profile(flow.kit, user, data)


@flow.endpoint(
    "/profile/", methods=["PATCH"], loads=partial_schema, returns=own_schema, login_required=True, throttles=CHANGES
)
def update_profile_view(user: User, data: dict[str, Any]) -> ResponseReturnValue:
    """Change some fields of one's own profile."""
    return update_profile(flow.kit, user, data)


def update_profile(kit: Kit, user: User, data: Mapping[str, Any]) -> dict[str, Any]:
    """Write the fields that changed, and no others; returns the profile. The address moves by ``register-email`` only.

    :raises marshmallow.ValidationError: a name that will not do or is taken.
    :raises NotAuthenticated: the account was suspended or its sessions were ended this very moment.
    """
    fixed = {kit.fields.email, *kit.fields.system}
    values = kit.users.build({name: data[name] for name in data if name in kit.fields.columns and name not in fixed})
    changes = {name: value for name, value in values.items() if getattr(user, name) != value}
    try:
        if changes and not kit.users.change(user, kit.users.state(user), changes):
            raise NotAuthenticated
    except FieldTaken as taken:
        raise refusal(kit, taken, discreet=False) from None
    profile: dict[str, Any] = kit.schema(own_schema).dump(user)
    kit.commit()
    if changes:
        kit.record(USER_UPDATED, user, fields=list(changes))
    return profile


# Delete


class DeleteProfileSchema(BodySchema):
    """The password, unless the login is fresh."""

    password: fields.Field[Any] = password_field(required=False)


@flow.delete(
    "/profile/",
    loads=DeleteProfileSchema,
    status=204,
    raises=[ReauthenticationRequired, AccountInUse],
    login_required=True,
    throttles={"client": "60/minute;1000/hour", "account": "10/5 minutes;50/hour"},
)
def delete_profile_view(user: User, data: dict[str, str]) -> ResponseReturnValue:
    """Delete one's own account."""
    delete_profile(flow.kit, flow.settings, user, data.get("password"), request)
    forget_session()
    return Response(status=204)


def delete_profile(kit: Kit, settings: ProfileSettings, user: User, password: str | None, request: Any) -> None:
    """Delete the account, or let the application anonymise it; its sessions, tokens and links end.

    :param request: for the application's own ``PROFILE_DELETER``.
    :raises marshmallow.ValidationError: not the password.
    :raises ReauthenticationRequired: no password, and the login is not fresh.
    :raises AccountInUse: other rows need this one.
    :raises NotAuthenticated: the account was suspended, changed or deleted this very moment.
    """
    seen = kit.users.state(user)
    reauthenticate(kit, user, password)
    changes: dict[str, Any] = {"password_hash": seen.password_hash}  # as it is: of two deletions, one has the row
    if settings.profile_deleter:
        changes |= {"security_stamp": next_stamp(seen.security_stamp), "is_active": False}
    if not kit.users.change(user, seen, changes):
        raise NotAuthenticated
    kit.identity.end_logins(user)
    if settings.profile_deleter:
        settings.profile_deleter(user, request=request)
    else:
        try:
            kit.users.delete(user)
        except FieldTaken:
            raise AccountInUse from None
    kit.commit(signal=user_deleted, user=user)
