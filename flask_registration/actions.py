"""What the endpoints and the administrative commands do, as functions.

Call them in a form view, in a script or in an admin view. They follow the rules of the endpoints:
rate limits, validation, signals, e-mails, security log. Each one commits the database session, or
rolls it back and raises an error. The functions of the endpoints take the fields of the request
body, and return the fields of its response. In a script, which has an application context and no
request, no client is counted and no user is logged in.

All functions raise these errors; in a request, their messages are in the language of the response:

- ``marshmallow.ValidationError``: invalid fields. Its ``messages`` is a dict by field.
- :class:`APIError`: any other error, for example ``Throttled`` or ``LinkInvalid``. Its ``detail``
  is the message, ``code`` the code, ``status`` the status of the endpoint's response.
- ``EndpointDisabled``, an :class:`APIError`: a setting switches the endpoint off.
- ``AdministrationError``: an administrative action that is not possible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial, wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar, cast

from flask import has_request_context
from marshmallow import ValidationError
from sqlalchemy.orm.exc import ObjectDeletedError

from .errors import (
    AdministrationError,
    APIError,
    EndpointDisabled,
    LoginInvalid,
    UserNotFound,
    UserWithoutEmailNonverifiable,
)
from .flows import login as login_flow
from .flows.register import (
    expired_before,
    verification_email,
    verification_settings,
)
from .http.accounts import add_account, login_names, new_user, remove_expired
from .http.flow import Action
from .http.responses import by_field, translate
from .security_log import USER_REACTIVATED, USER_SUSPENDED
from .settings import PREFIX
from .signals import user_activated, user_registered, user_reset_password
from .state import RegistrationState, current_registration
from .users.mixins import utc_now
from .users.stamps import UserSnapshot, next_stamp
from .users.store import User
from .users.transaction import with_retries

P = ParamSpec("P")
T = TypeVar("T")

#: A parameter of a link; the error of a missing one is that of its field.
Parameter = str | int | None


# The endpoints


def _run(name: str, body: Mapping[str, Any] | None = None, **values: Any) -> dict[str, Any]:
    """Run what an endpoint does. Return what it returns, which is mostly a dict.

    :raises EndpointDisabled: its flow is not active.
    """
    with _handled_errors():
        action: Action[Any] | None = current_registration.actions.get(name)
        if action is None:
            raise EndpointDisabled
        given = dict(body or {})
        fields = action.schema.fields if action.schema else {}
        if "password" in given and "password_confirm" in fields:
            given.setdefault("password_confirm", given["password"])
        result: dict[str, Any] = action.run(lambda: given, **values)
        return result


@contextmanager
def _handled_errors() -> Iterator[None]:
    """Roll back after an error, and translate its messages."""
    try:
        yield
    except Exception as error:
        current_registration.users.rollback()
        if has_request_context() and isinstance(error, ValidationError):
            raise ValidationError(translate(by_field(error))) from error
        if has_request_context() and isinstance(error, APIError):
            error.detail = translate(error.detail)
            error.args = (error.detail,)
        raise


def register(**fields: Any) -> dict[str, Any]:
    """Register an account; see ``POST /register/``.

    ``password_confirm`` may be left out. Return what the response of the endpoint shows: the same
    for a new e-mail address and for one in use.

    :raises UserWithoutEmailNonverifiable: there is no e-mail address to verify.
    """
    return _run("register", fields)


def verify_registration(
    user_id: Parameter, timestamp: Parameter, signature: Parameter
) -> dict[str, Any]:
    """Verify an e-mail address; see ``POST /verify-registration/``. Return the token, if any.

    :raises LinkInvalid: the link is not valid.
    :raises LinkExpired: the link has expired.
    """
    return _with_link("verify_registration", user_id, timestamp, signature)


def resend_verification(**names: str) -> None:
    """Resend the verification e-mail; see ``POST /resend-verification/``.

    :param names: ``login``, a login field or ``email``.
    """
    _run("resend_verification", names)


def login(*, password: str, remember: bool = False, **names: Any) -> dict[str, Any]:
    """Log in the client of this request; see ``POST /login/``. Return the token, if any.

    :param names: ``login`` or a login field; other fields for a schema of your own.
    :raises LoginInvalid: an unknown or suspended account, or a wrong password.
    :raises NotVerified: the e-mail address is not verified yet.
    """
    return _run("login", {"password": password, "remember": remember, **names})


def logout(*, revoke_token: bool = False, everywhere: bool = False) -> None:
    """Log out the current user; see ``POST /logout/``.

    :raises NotAuthenticated: no user is logged in.
    """
    _run("logout", {"revoke_token": revoke_token, "everywhere": everywhere})


def profile() -> dict[str, Any]:
    """Return the current user's profile; see ``GET /profile/``.

    :raises NotAuthenticated: no user is logged in.
    """
    return _run("profile")


def update_profile(**fields: Any) -> dict[str, Any]:
    """Change some fields of the profile; see ``PATCH /profile/``. Return the profile.

    :raises NotAuthenticated: no user is logged in.
    """
    return _run("update_profile", fields)


def replace_profile(**fields: Any) -> dict[str, Any]:
    """Change the profile, with all mandatory fields; see ``PUT /profile/``. Return the profile.

    :raises NotAuthenticated: no user is logged in.
    """
    return _run("replace_profile", fields)


def delete_profile(password: str | None = None) -> None:
    """Delete the current user's account, and log out; see ``DELETE /profile/``.

    :param password: required if the login is not fresh.
    :raises NotAuthenticated: no user is logged in.
    :raises ReauthenticationRequired: there is no password, and the login is not fresh.
    :raises AccountInUse: other rows refer to the account.
    """
    _run("delete_profile", _reauthentication(password))


def change_password(old_password: str, password: str) -> dict[str, Any]:
    """Change the current user's password; see ``POST /change-password/``.

    Return a new token if the request came with one.

    :raises NotAuthenticated: no user is logged in.
    """
    body = {"old_password": old_password, "password": password}
    return _run("change_password", body)


def send_reset_password_link(**names: str) -> None:
    """Send a link to reset the password; see ``POST /send-reset-password-link/``.

    :param names: ``login``, or a login field.
    :raises UserNotFound: only with ``RESET_PASSWORD_FAIL_WHEN_USER_NOT_FOUND``.
    """
    _run("send_reset_password_link", names)


def reset_password(
    user_id: Parameter, timestamp: Parameter, signature: Parameter, *, password: str
) -> None:
    """Set a new password with the parameters of a link; see ``POST /reset-password/``.

    :raises LinkInvalid: the link is not valid, or was used.
    :raises LinkExpired: the link has expired.
    """
    _with_link("reset_password", user_id, timestamp, signature, password=password)


def register_email(email: str, password: str | None = None) -> dict[str, Any]:
    """Ask for an e-mail change; see ``POST /register-email/``.

    Return a new token if the address changes immediately and the request came with one.

    :param password: required if the login is not fresh.
    :raises NotAuthenticated: no user is logged in.
    :raises ReauthenticationRequired: there is no password, and the login is not fresh.
    :raises EmailAlreadyRegistered: it is in use; only without verification.
    """
    body = {"email": email, **_reauthentication(password)}
    return _run("register_email", body)


def verify_email(
    user_id: Parameter, timestamp: Parameter, signature: Parameter, *, email: Parameter
) -> dict[str, Any]:
    """Change the e-mail address with the parameters of a link; see ``POST /verify-email/``.

    Return a new token if the request came with one.

    :raises LinkInvalid: the link is not valid, or was used.
    :raises LinkExpired: the link has expired.
    :raises EmailAlreadyRegistered: another account has the e-mail address by now.
    """
    return _with_link("verify_email", user_id, timestamp, signature, email=email)


def undo_email_change(
    user_id: Parameter, timestamp: Parameter, signature: Parameter, *, email: Parameter
) -> None:
    """Undo an e-mail change with the parameters of a link; see ``POST /undo-email-change/``.

    :raises LinkInvalid: the link is not valid, or was used.
    :raises LinkExpired: the link has expired.
    :raises EmailAlreadyRegistered: another account has the old e-mail address by now.
    """
    _with_link("undo_email_change", user_id, timestamp, signature, email=email)


def logins() -> list[dict[str, Any]]:
    """Return the current user's sessions and tokens; see ``GET /logins/``. Needs a login model.

    :raises NotAuthenticated: no user is logged in.
    """
    return cast(list[dict[str, Any]], _run("logins"))


def revoke_login(login_id: Any) -> None:
    """Revoke a session or token of the current user; see ``DELETE /logins/<id>/``.

    :raises NotAuthenticated: no user is logged in.
    :raises LoginNotFound: the user has none with this id.
    """
    _run("revoke_login", login_id=str(login_id))


def _with_link(
    name: str, user_id: Parameter, timestamp: Parameter, signature: Parameter, **others: Any
) -> dict[str, Any]:
    link = {"user_id": user_id, "timestamp": timestamp, "signature": signature}
    return _run(name, {**link, **others})


def _reauthentication(password: str | None) -> dict[str, str]:
    return {} if password is None else {"password": password}


# Administration


def _retried(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function be called again after a serialization failure."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        work = partial(function, *args, **kwargs)
        with _handled_errors():
            try:
                return with_retries(work, current_registration.users.rollback)
            except ObjectDeletedError:
                raise AdministrationError("This account was just deleted.") from None

    return call


@_retried
def log_in(user: User, *, remember: bool = False) -> dict[str, Any]:
    """Log in a user whose credential you have checked, for example a passkey.

    It works like :func:`login`, with its signal. Return the token, if any.

    :param remember: keep the session when the browser is closed.
    :raises LoginInvalid: the account is suspended, or was changed at the same moment.
    :raises NotVerified: the e-mail address is not verified yet.
    """
    try:
        return login_flow.log_in(current_registration, user, remember=remember)
    except UserNotFound:
        raise LoginInvalid from None


@_retried
def create_user(
    *, password: str, verified: bool = True, send_verification: bool = True, **columns: Any
) -> Any:
    """Create an account, and return it.

    :param verified: whether the e-mail address is verified.
    :param send_verification: send the verification e-mail if it is not.
    :param columns: any columns of the model, also those that no client may set.
    :raises UserWithoutEmailNonverifiable: an unverified account needs an e-mail address.
    :raises MailUnavailable: with the ``"inline"`` dispatcher; no account is created.
    """
    state = current_registration
    settings = verification_settings(state)
    user = new_user(state, {**columns, "password": password}, verified=verified)
    if not verified and not state.users.snapshot(user).email:
        raise UserWithoutEmailNonverifiable
    before = expired_before(settings) if settings else None
    displaced, _ = add_account(state, user, expired_before=before)
    has_link = settings and send_verification and not verified
    mails = [state.mail(verification_email, user)] if has_link else []
    state.commit(*mails, deleted=displaced, signal=user_registered, user=user)
    if verified and settings:
        state.announce(user_activated, user=user)
    return user


@_retried
def verify(user: User) -> bool:
    """Mark the e-mail address of an account as verified, as its link does.

    Return False if it was verified. All earlier sessions, tokens and other links end.

    :raises AdministrationError: the account is suspended, or the model has no column for it.
    """
    state = current_registration
    if state.fields.verified is None:
        setting = f"{PREFIX}USER_VERIFICATION_FLAG_FIELD"
        raise AdministrationError(f"{_model(state)} has no column for it: {setting} names none.")

    def changes(seen: UserSnapshot) -> dict[str, Any] | None:
        if not seen.is_active:
            raise AdministrationError("This account is suspended. Reactivate it first.")
        return None if seen.is_verified else {"is_verified": True}

    if not _change(state, user, changes, is_verified=False):
        return False
    email = state.users.snapshot(user).email
    if email:
        state.mailer.cooldown.forget(email)
    state.commit(signal=user_activated, user=user)
    return True


def suspend(user: User) -> bool:
    """Suspend an account and end its sessions, tokens and links. Return False if it was suspended.

    :raises AdministrationError: the model has no column for it.
    """
    return _set_active(user, active=False)


def reactivate(user: User) -> bool:
    """Reactivate a suspended account. Return False if it was not suspended.

    :raises AdministrationError: the model has no column for it.
    """
    return _set_active(user, active=True)


@_retried
def _set_active(user: User, *, active: bool) -> bool:
    state = current_registration
    if state.fields.active is None:
        text = f"{_model(state)} has no column is_active, so no account can be suspended."
        raise AdministrationError(text)

    def changes(seen: UserSnapshot) -> dict[str, Any] | None:
        if seen.is_active == active:
            return None
        # SQL of the application may have suspended it without a new stamp: end its sessions now.
        return {"is_active": active, "security_stamp": next_stamp(seen.security_stamp)}

    if not _change(state, user, changes):
        return False
    state.commit()
    state.record(USER_REACTIVATED if active else USER_SUSPENDED, user)
    return True


@_retried
def set_password(user: User, password: str) -> None:
    """Replace a password and notify the user. All sessions, tokens and links of the account end.

    A pending account stays pending, and a suspended one suspended.

    :raises MailUnavailable: with the ``"inline"`` dispatcher; the password is not changed.
    """
    state = current_registration
    password_hash = state.check_new_password(user, password)

    def changes(seen: UserSnapshot) -> dict[str, Any]:
        stamp = next_stamp(seen.security_stamp)
        return {"password_hash": password_hash, "security_stamp": stamp}

    _change(state, user, changes)
    names = login_names(state, user)
    state.commit(*state.password_notice(user), signal=user_reset_password, user=user)
    state.throttles.clear_account("login", names)


#: How many times to try again if the account was changed at the same moment.
TRIES = 3


def _change(
    state: RegistrationState,
    user: User,
    make: Callable[[UserSnapshot], Mapping[str, Any] | None],
    **expecting: Any,
) -> bool:
    """Write what a function makes of an account's snapshot, and end its logins, without committing.

    Return False if it makes nothing.

    :param expecting: other values that the row must have.
    :raises AdministrationError: the account changes all the time.
    """
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
    raise AdministrationError("Other requests are changing this account. Try again.")


def _model(state: RegistrationState) -> str:
    return str(state.fields.model.__name__)


# Expired rows

#: The number of rows to delete at once.
BATCH = 100


class Expired(NamedTuple):
    """The rows of one kind that have expired.

    :ivar name: the name of one row; several have an ``s``.
    :ivar keys: their keys.
    :ivar remove: deletes those of these rows that are still expired, and commits. Returns the
        number deleted.
    """

    name: str
    keys: Sequence[Any]
    remove: Callable[[Sequence[Any]], int]

    def batches(self) -> Iterator[Sequence[Any]]:
        """Yield the keys in batches."""
        for start in range(0, len(self.keys), BATCH):
            yield self.keys[start : start + BATCH]


def expired(older_than: timedelta = timedelta(0)) -> Iterator[Expired]:
    """Yield the kinds of rows that expire, with those that expired at least this long ago."""
    state = current_registration
    settings = verification_settings(state)
    before = utc_now() if settings is None else expired_before(settings, older_than)
    pending = state.users.unverified(before) if settings else []
    state.users.rollback()
    yield Expired("unverified registration", pending, partial(_remove_registrations, before))
    if state.logins:
        before = utc_now() - older_than
        ids = state.logins.expired(before)
        state.users.rollback()
        yield Expired("expired login", ids, partial(_remove_logins, before))
    outbox = state.extras.get("outbox")
    if outbox:
        remove = partial(outbox.store.remove, grace=older_than)
        yield Expired("old e-mail", outbox.store.expired(older_than), remove)


def _remove_registrations(before: datetime, identifiers: Sequence[str]) -> int:
    """Delete registrations one by one, so that a foreign key keeps only its own row."""
    remove = _retried(partial(remove_expired, current_registration))
    return sum(remove(identifier, before) for identifier in identifiers)


@_retried
def _remove_logins(before: datetime, ids: Sequence[Any]) -> int:
    count = current_registration.logins.remove(ids, before) if current_registration.logins else 0
    current_registration.users.commit()
    return count


def purge(older_than: timedelta = timedelta(0)) -> dict[str, int]:
    """Delete expired rows: unverified registrations, logins, and old e-mails of the outbox.

    Return the number of deleted rows of each kind.

    :param older_than: keep the rows that expired less than this long ago.
    """
    return {each.name: sum(map(each.remove, each.batches())) for each in expired(older_than)}
