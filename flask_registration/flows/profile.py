"""Read, change and delete the current user's account."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from marshmallow import Schema

from ..auth.request_session import forget_session
from ..errors import (
    AccountInUse,
    DuplicateValue,
    MailUnavailable,
    ReauthenticationRequired,
)
from ..http.accounts import login_names, remember_device
from ..http.bodies import BodySchema, schema_of
from ..http.flow import PASSWORD_LIMITS, Flow
from ..http.reservations import former_names, release
from ..http.schemas import (
    PasswordSchema,
    ZonedDateTime,
    password_field,
    profile_schema,
    shown_profile_schema,
)
from ..i18n.languages import current_request
from ..mail.message import Email, Mail, no_variables
from ..security_log import USER_UPDATED
from ..settings import Settings, setting
from ..signals import user_deleted
from ..state import RegistrationState
from ..users.stamps import UserSnapshot, next_stamp
from ..users.store import User


@dataclass(frozen=True, kw_only=True)
class ProfileSettings(Settings):
    """Profile and account deletion."""

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
    deletion_notice_enabled: bool = setting(
        True, "Whether the user receives an e-mail when the account was deleted."
    )


flow: Flow[ProfileSettings] = Flow("profile", ProfileSettings)

#: A change reveals whether a username is in use.
CHANGES = {"account": "30/minute;300/hour"}


@flow.provides("profile_schema")
def full_schema(state: RegistrationState) -> Schema:
    """Return the application's schema, or the one made from its model."""
    return (state.group(ProfileSettings).profile_schema_class or shown_profile_schema(state))()


def change_schema(state: RegistrationState, *, partial: bool = False) -> Schema:
    """Return the application's schema, or the profile's with the password for a login field.

    :param partial: whether fields may be missing.
    """
    made = state.group(ProfileSettings).profile_schema_class
    if made is None:
        made = profile_schema(state.fields)
        if _can_rename(state):
            password = password_field(required=False)
            made = made.from_dict({"password": password}, name="ProfileChange")
    return made(partial=True) if partial else made()


def partial_change_schema(state: RegistrationState) -> Schema:
    """Return the schema of a change of some fields."""
    return change_schema(state, partial=True)


def _can_rename(state: RegistrationState) -> bool:
    return not set(state.fields.login).isdisjoint(state.fields.editable)


# E-mail


login_changed_email: Email = flow.email(
    "login_changed",
    when="a login field was changed in the profile",
    enabled=lambda state: state.fields.email is not None and _can_rename(state),
    limited=False,
)(no_variables)


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
    request=change_schema,
    response=full_schema,
    errors=[ReauthenticationRequired, MailUnavailable],
    login_required=True,
    throttles=CHANGES,
)
def replace_profile(user: User, data: dict[str, Any]) -> dict[str, Any]:
    """Change the current user's profile. All mandatory fields are required."""
    return write_profile(flow.state, user, data)


@flow.endpoint(
    "/profile/",
    methods=["PATCH"],
    request=partial_change_schema,
    response=full_schema,
    errors=[ReauthenticationRequired, MailUnavailable],
    login_required=True,
    throttles=CHANGES,
)
def update_profile(user: User, data: dict[str, Any]) -> dict[str, Any]:
    """Change some fields of the current user's profile."""
    return write_profile(flow.state, user, data)


def write_profile(state: RegistrationState, user: User, data: Mapping[str, Any]) -> dict[str, Any]:
    """Write the changed fields and no others. Return the profile.

    The e-mail address does not change here; see ``register-email``. A login field is changed with
    the password or a fresh login only, and the account's e-mail address is notified.

    :raises marshmallow.ValidationError: a field is invalid or a duplicate, or the password is
        wrong.
    :raises ReauthenticationRequired: a login field changes, there is no password, and the login is
        not fresh.
    :raises Throttled: the account had too many passwords that may be guesses.
    :raises AccountUnusable: the account was suspended or its sessions ended at the same moment.
    """
    fixed = {state.fields.email, *state.fields.system}
    names = [name for name in data if name in state.fields.columns and name not in fixed]
    names = [name for name in names if data[name] != getattr(user, name)]  # no rule for old values
    seen = state.users.snapshot(user)
    values = state.users.build({name: data[name] for name in names}, user=user)
    changes = {name: value for name, value in values.items() if getattr(user, name) != value}
    notices = []
    renames = not changes.keys().isdisjoint(state.fields.login)
    if renames:
        password = data.get("password")
        if password is not None:  # the limits of a profile allow too many changes for guesses
            user_id = state.users.identifier(user)
            state.throttles.check_account("change_password", lambda: [user_id], user_id=user_id)
        state.reauthenticate(user, password)
        notices = [state.mail(login_changed_email, user)] if seen.email else []
    former = former_names(state, user, changes)
    try:
        state.users.change(user, seen, {}, columns=changes)
    except DuplicateValue as duplicate:
        if not release(state, user, duplicate.holders):
            raise
        state.users.change(user, seen, {}, columns=changes)
    state.call("reserve_names", user, former)  # only where a reservation expires
    shown: dict[str, Any] = schema_of(state, full_schema).dump(user)
    names = login_names(state, user) if renames else []
    state.commit(*notices)
    if renames:
        remember_device(state, names)
    if changes:
        state.record(USER_UPDATED, user, fields=[name for name in changes if name in data])
    return shown


# Delete


class DeleteProfileSchema(PasswordSchema):
    """The password, unless the login is fresh."""


def _confirms_deletion(state: RegistrationState) -> bool:
    settings = state.group(ProfileSettings)
    return settings.deletion_notice_enabled and state.fields.email is not None


account_deleted_email: Email = flow.email(
    "account_deleted",
    to="the e-mail address that the account had",
    when="the user deleted the account",
    enabled=_confirms_deletion,
    limited=False,
)(no_variables)


class ScheduledDeletionSchema(BodySchema):
    """When the account will be deleted."""

    delete_after: ZonedDateTime = ZonedDateTime(required=True)


@flow.delete(
    "/profile/",
    request=DeleteProfileSchema,
    response=ScheduledDeletionSchema,
    status=lambda state: 202 if state.provided("schedule_deletion") else 204,
    errors=[ReauthenticationRequired, AccountInUse, MailUnavailable],
    login_required=True,
    throttles=PASSWORD_LIMITS,
)
def delete_profile(user: User, data: dict[str, str]) -> dict[str, Any] | None:
    """Delete the current user's account, at once or after the grace period.

    :raises marshmallow.ValidationError: the password is wrong.
    :raises ReauthenticationRequired: there is no password, and the login is not fresh.
    :raises AccountInUse: other rows refer to this one.
    :raises MailUnavailable: with the ``"inline"`` dispatcher; nothing is deleted.
    :raises AccountUnusable: the account was suspended, changed or deleted at the same moment.
    """
    state = flow.state
    seen = state.users.snapshot(user)
    state.reauthenticate(user, data.get("password"))
    scheduled: dict[str, Any] | None = state.call("schedule_deletion", user, seen)
    if scheduled:
        return scheduled
    notices = delete_account(state, user, seen)
    forget_session()
    state.commit(*notices, signals=[user_deleted], user=user)
    return None


@flow.provides("delete_account")
def delete_account(
    state: RegistrationState, user: User, seen: UserSnapshot, **options: Any
) -> list[Mail]:
    """Delete an account, without committing. Return the e-mails about it.

    :param options: those of :meth:`UserStore.change`.
    :raises AccountInUse: other rows refer to this one.
    :raises AccountUnusable: the account was suspended, changed or deleted at the same moment.
    """
    delete = state.group(ProfileSettings).profile_deleter
    notices = []
    if seen.email and _confirms_deletion(state):
        mail = state.mail(account_deleted_email, user)  # in the user's language
        # When it is sent, there is no account any more: it is about the e-mail address alone.
        without_user = state.mail(account_deleted_email, None, to=seen.email)
        notices = [replace(mail, user_id=without_user.user_id, account=without_user.account)]
    changes: dict[str, Any] = {"password_hash": seen.password_hash}  # of two deletions one locks it
    if delete:
        changes |= {"security_stamp": next_stamp(seen.security_stamp), "is_active": False}
    state.users.change(user, seen, changes, **options)
    state.remove_rows(user)
    if delete:
        delete(user, request=current_request())
    else:
        state.users.delete(user)
    return notices
