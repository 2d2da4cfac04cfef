"""Administer accounts by the rules of the flows, without a request. Each function commits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import DuplicateValue, RegistrationError, UserWithoutEmailNonverifiable
from ..flows.register import expired_before, verification_email, verification_settings
from ..http.accounts import add_account, duplicate_error, find_users, login_names, new_user
from ..security_log import USER_REACTIVATED, USER_SUSPENDED
from ..settings import PREFIX
from ..signals import user_activated, user_registered, user_reset_password
from ..state import RegistrationState
from ..users.stamps import UserSnapshot, next_stamp
from ..users.store import User

#: How many times to try again if the account was changed at the same moment.
TRIES = 3


class AdministrationError(RegistrationError):
    """An action that is not possible. The text says why, and nothing was changed."""


def find_account(
    state: RegistrationState, login: str | None, *, identifier: str | None = None
) -> User:
    """Return the account with this login or e-mail address, or with this verification id.

    :raises AdministrationError: there is none, or more than one.
    """
    if identifier is not None:
        user = state.users.get(identifier)
        if user is None:
            raise AdministrationError(f"No account has the id {identifier}.")
        return user
    named = find_users(state, {"login": login or "", "email": login or ""})
    found = {state.users.identifier(user): user for user in named}
    if not found:
        raise AdministrationError(f"No account has the login or the e-mail address {login}.")
    if len(found) > 1:
        ids = " or --id ".join(found)
        raise AdministrationError(f"{len(found)} accounts have {login}. Choose one: --id {ids}.")
    return next(iter(found.values()))


def account_name(state: RegistrationState, user: User) -> str:
    """Return how a terminal shows an account: ``alice (id 7)``."""
    values = (getattr(user, name) for name in state.fields.login)
    login = next((value for value in values if value is not None), None)
    identifier = f"id {state.users.identifier(user)}"
    return identifier if login is None else f"{login} ({identifier})"


def create_user(
    state: RegistrationState,
    values: Mapping[str, Any],
    password: str,
    *,
    verified: bool,
    mail: bool,
) -> User:
    """Create an account as a registration does, and send the verification e-mail on demand.

    :raises marshmallow.ValidationError: an invalid field, or a duplicate login or e-mail address.
    :raises UserWithoutEmailNonverifiable: an unverified account needs an e-mail address.
    :raises MailUnavailable: with the ``"inline"`` dispatcher; no account is created.
    """
    settings = verification_settings(state)
    user = new_user(state, {**values, "password": password}, verified=verified)
    if not verified and not state.users.snapshot(user).email:
        raise UserWithoutEmailNonverifiable
    try:
        before = expired_before(settings) if settings else None
        displaced, _ = add_account(state, user, expired_before=before)
    except DuplicateValue as duplicate:
        raise duplicate_error(state, duplicate) from None
    mails = [state.mail(verification_email, user)] if mail and settings else []
    state.commit(*mails, deleted=displaced, signal=user_registered, user=user)
    if verified and settings:
        state.announce(user_activated, user=user)
    return user


def verify(state: RegistrationState, user: User) -> bool:
    """Mark the e-mail address of an account as verified, as its link does.

    Return False if it was verified. All earlier sessions, tokens and other links end.

    :raises AdministrationError: the account is suspended, or the model has no column for it.
    """
    if state.fields.verified is None:
        setting = f"{PREFIX}USER_VERIFICATION_FLAG_FIELD"
        raise AdministrationError(f"{_model(state)} has no column for it: {setting} names none.")

    def verified(seen: UserSnapshot) -> dict[str, Any] | None:
        if not seen.is_active:
            raise AdministrationError("This account is suspended. Reactivate it first.")
        if seen.is_verified:
            return None
        return {"is_verified": True}

    if not _change(state, user, verified, is_verified=False):
        return False
    email = state.users.snapshot(user).email
    if email:
        state.mailer.cooldown.forget(email)
    state.commit(signal=user_activated, user=user)
    return True


def suspend(state: RegistrationState, user: User) -> bool:
    """Suspend an account and end its sessions, tokens and links. Return False if it was suspended.

    :raises AdministrationError: the model has no column for it.
    """
    return _set_active(state, user, active=False)


def reactivate(state: RegistrationState, user: User) -> bool:
    """Reactivate a suspended account. Return False if it was not suspended.

    :raises AdministrationError: the model has no column for it.
    """
    return _set_active(state, user, active=True)


def _set_active(state: RegistrationState, user: User, *, active: bool) -> bool:
    if state.fields.active is None:
        text = f"{_model(state)} has no column is_active, so no account can be suspended."
        raise AdministrationError(text)

    def changed(seen: UserSnapshot) -> dict[str, Any] | None:
        if seen.is_active == active:
            return None
        # SQL of the application may have suspended it without a new stamp: end its sessions now.
        return {"is_active": active, "security_stamp": next_stamp(seen.security_stamp)}

    if not _change(state, user, changed):
        return False
    state.commit()
    state.record(USER_REACTIVATED if active else USER_SUSPENDED, user)
    return True


def set_password(state: RegistrationState, user: User, password: str) -> None:
    """Replace a password and notify the user. All sessions, tokens and links of the account end.

    A pending account stays pending, and a suspended one suspended.

    :raises marshmallow.ValidationError: the password does not pass the policy.
    :raises MailUnavailable: with the ``"inline"`` dispatcher; the password is not changed.
    """
    password_hash = state.check_new_password(user, password)

    def replaced(seen: UserSnapshot) -> dict[str, Any]:
        stamp = next_stamp(seen.security_stamp)
        return {"password_hash": password_hash, "security_stamp": stamp}

    _change(state, user, replaced)
    names = login_names(state, user)
    state.commit(*state.password_notice(user), signal=user_reset_password, user=user)
    state.throttles.clear_account("login", names)


def personal_values(state: RegistrationState, user: User) -> list[str]:
    """Return the values of an account that must not be part of its password."""
    return state.users.inputs({name: getattr(user, name) for name in state.fields.personal})


def _change(
    state: RegistrationState,
    user: User,
    make: Callable[[UserSnapshot], Mapping[str, Any] | None],
    **expecting: Any,
) -> bool:
    """Write what a function makes of an account's snapshot, and end its logins, without committing.

    Return False if it makes nothing.

    :param expecting: other values that the row must have.
    :raises AdministrationError: the account changes all the time, or was just deleted.
    """
    identifier = state.users.identifier(user)
    for _ in range(TRIES):
        seen = state.users.snapshot(user)
        changes = make(seen)
        if changes is None:
            return False
        expected = {"is_active": seen.is_active, **expecting}
        if state.users.change(user, seen, changes, expecting=expected):
            state.sessions.end_logins(user)
            return True
        state.users.rollback()
        if state.users.get(identifier) is None:
            raise AdministrationError("This account was just deleted.")
    raise AdministrationError("Other requests are changing this account. Try again.")


def _model(state: RegistrationState) -> str:
    return str(state.fields.model.__name__)
