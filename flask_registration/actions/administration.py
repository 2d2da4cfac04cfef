"""What the administrative commands do, as functions for scripts and admin views."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from flask import current_app
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from ..auth.rows import ExpiringRows
from ..errors import (
    AccountUnusable,
    AdministrationError,
    DatabaseUnavailable,
    UserWithoutEmailNonverifiable,
)
from ..flows.register import expired_before, verification_email, verification_settings
from ..http.accounts import (
    add_account,
    login_names,
    new_user,
    remove_expired,
    with_approval,
)
from ..security_log import USER_DELETION_CANCELED, USER_REACTIVATED, USER_SUSPENDED
from ..settings import PREFIX
from ..signals import (
    user_activated,
    user_registered,
    user_removed_factor,
    user_reset_password,
)
from ..state import RegistrationState, current_registration
from ..users.fields import UserSettings
from ..users.mixins import utc_now
from ..users.stamps import UserSnapshot, new_stamp
from ..users.store import User
from .endpoints import retried


@retried
def create_user(
    *, password: str, verified: bool = True, send_verification: bool = True, **columns: Any
) -> Any:
    """Create an account, and return it.

    :param verified: whether the e-mail address is verified.
    :param send_verification: send the verification e-mail if it is not. With codes only, the user
        asks for it, so that the client has the challenge.
    :param columns: any columns of the model, also those that no client may set. With the flow
        ``approval``, ``approved=False`` lets the account wait.
    :raises UserWithoutEmailNonverifiable: an unverified account needs an e-mail address.
    :raises MailUnavailable: with the ``"inline"`` dispatcher; no account is created.
    """
    state = current_registration
    settings = verification_settings(state)
    data = {**with_approval(state, columns), "password": password}
    user = new_user(state, data, verified=verified, judged=["email"])
    if not verified and not state.users.snapshot(user).email:
        raise UserWithoutEmailNonverifiable
    before = expired_before(settings) if settings else None
    displaced, _ = add_account(state, user, expired_before=before)
    has_link = settings and send_verification and not verified and state.sends_links
    mails = [state.mail(verification_email, user)] if has_link else []
    state.commit(*mails, deleted=displaced, signals=[user_registered], user=user)
    if verified and settings:
        state.announce(user_activated, user=user)
    return user


@retried
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
    state.commit(signals=[user_activated], user=user)
    return True


def suspend(user: User) -> bool:
    """Suspend an account. Return False if it was suspended.

    All its sessions, tokens and links end, also the link that undoes an e-mail change: an attacker
    may have it.

    :raises AdministrationError: the model has no column for it.
    """
    return _set_active(user, active=False)


def reactivate(user: User) -> bool:
    """Reactivate a suspended account. Return False if it was not suspended.

    :raises AdministrationError: the model has no column for it.
    """
    return _set_active(user, active=True)


@retried
def _set_active(user: User, *, active: bool) -> bool:
    state = current_registration
    if state.fields.active is None:
        name = state.group(UserSettings).user_active_field
        text = f"{_model(state)} has no column {name}, so no account can be suspended."
        if state.fields.activity:
            text = f"{_model(state)}.{name} is no column. Change the columns that it depends on."
        raise AdministrationError(text)

    def changes(seen: UserSnapshot) -> dict[str, Any] | None:
        if state.users.is_flagged_active(user) == active:
            return None
        # SQL of the application may have suspended it without a new stamp: end its sessions now.
        return {"is_active": active, "security_stamp": new_stamp()}

    if not _change(state, user, changes):
        return False
    state.commit()
    state.record(USER_REACTIVATED if active else USER_SUSPENDED, user)
    return True


def approve(user: User) -> bool:
    """Approve an account, also a rejected one, and notify its owner. Return False if it was.

    :raises AdministrationError: the application does not have the flow ``approval``.
    """
    return _decide(user, approves=True)


def reject(user: User) -> bool:
    """Reject an account that waits for approval, and notify its owner. Return False if it was.

    All its sessions, tokens and links end. A new registration may have its username and its e-mail
    address.

    :raises AdministrationError: the account is approved, or the application does not have the flow
        ``approval``.
    """
    return _decide(user, approves=False)


@retried
def _decide(user: User, *, approves: bool) -> bool:
    state = current_registration
    decision, finish = state.provided("approval_changes"), state.provided("finish_decision")
    if decision is None or finish is None:
        raise AdministrationError("This application needs no approval: there is no flow approval.")
    if user.approved_at and not approves:
        raise AdministrationError("This account is approved. Suspend it instead.")
    if user.approved_at if approves else user.rejected_at:
        return False
    changes, expecting = decision(user, approves=approves)
    stamp = state.users.snapshot(user).security_stamp

    def make(seen: UserSnapshot) -> dict[str, Any]:
        if seen.security_stamp != stamp:  # perhaps another account, to which the id was given
            raise AdministrationError("This account has changed meanwhile. Look at it again.")
        return dict(changes)

    _change(state, user, make, **expecting)
    finish(state, user, approves=approves)
    return True


@retried
def restore(user: User) -> bool:
    """Cancel the scheduled deletion of an account. Return False if none is scheduled.

    Earlier sessions, tokens and links stay invalid, also the link that undoes an e-mail change.

    :raises AdministrationError: the application does not have the flow ``leaving``, or the account
        was changed at the same moment.
    """
    state = current_registration
    restore_account = state.provided("restore_account")
    if restore_account is None:
        raise AdministrationError("This application does not have the flow leaving.")
    try:
        is_restored = restore_account(state, user, new_stamp())
    except AccountUnusable:
        text = "Another request is changing this account. Try again."
        raise AdministrationError(text) from None
    if not is_restored:
        state.users.rollback()
        return False
    state.commit()
    state.record(USER_DELETION_CANCELED, user)
    return True


@retried
def set_password(user: User, password: str) -> None:
    """Replace a password and notify the user. All sessions, tokens and links of the account end.

    A pending account stays pending, and a suspended one suspended.

    :raises MailUnavailable: with the ``"inline"`` dispatcher; the password is not changed.
    """
    state = current_registration
    new = {"password_hash": state.check_new_password(user, password)}
    _change(state, user, lambda seen: {**new, "security_stamp": new_stamp()})
    state.call_all("clear_lock", user)
    names = login_names(state, user)
    state.commit(*state.password_notice(user), signals=[user_reset_password], user=user)
    state.throttles.clear_account("login", names)


@retried
def reset_second_factor(user: User) -> bool:
    """Remove the second factor of an account, and notify the user. Return False if it has none.

    All sessions, tokens and links of the account end, also the link that undoes an e-mail change.
    Make sure first that the person who asks is the owner.

    :raises AdministrationError: the application does not have the flow ``second_factor``.
    """
    state = current_registration
    remove = state.provided("remove_credentials")
    if remove is None:
        text = "This application has no second factor: the flow second_factor is not mounted."
        raise AdministrationError(text)
    _change(state, user, lambda seen: {"security_stamp": new_stamp()})
    emails = remove(state, user)  # last: a change that is tried again undoes what was before it
    if emails is None:
        state.users.rollback()
        return False
    state.commit(*emails, signals=[user_removed_factor], user=user)
    return True


def lift_mail_budget() -> bool:
    """Let requests for e-mails pass again that exceed ``MAIL_BUDGET``. They count from zero.

    Return False if they do not exceed it. Without a storage of rate limits, each process has its
    own count, and this is about the one that calls it.
    """
    return current_registration.mail_budget.lift()


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
        expected = {"is_active": state.users.is_flagged_active(user), **expecting}
        with suppress(AccountUnusable):
            state.users.change(user, seen, changes, expecting=expected)
            state.sessions.end_logins(user)
            return True
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
    :ivar done: what happens to the rows.
    """

    name: str
    keys: Sequence[Any]
    remove: Callable[[Sequence[Any]], int]
    done: str = "removed"

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
    before = utc_now() - older_than
    stores = {"expired login": state.logins, "expired challenge": state.challenge_store}
    invitation_store = state.provided("invitation_store")
    if invitation_store:
        stores["old invitation"] = invitation_store(state)
    for name, store in stores.items():
        if store:
            ids = store.expired(before)
            state.users.rollback()
            yield Expired(name, ids, partial(_remove_rows, store, before))
    for due_work in state.all_provided("due_work"):
        for name, done, keys, work in due_work(state):
            state.users.rollback()
            yield Expired(name, keys, partial(_do_each, name, work), done)
    for stale_rows in state.all_provided("stale_rows"):
        for name, done, keys, work in stale_rows(state):
            state.users.rollback()
            yield Expired(name, keys, retried(work), done)
    outbox = state.extras.get("outbox")
    if outbox:
        remove = partial(outbox.store.remove, grace=older_than)
        yield Expired("old e-mail", outbox.store.expired(older_than), remove)


def _remove_registrations(before: datetime, identifiers: Sequence[str]) -> int:
    """Delete registrations one by one, so that a foreign key keeps only its own row."""
    remove = retried(partial(remove_expired, current_registration))
    return sum(remove(identifier, before) for identifier in identifiers)


def _do_each(name: str, work: Callable[[Any], bool], keys: Sequence[Any]) -> int:
    """Do the work for each key in a transaction of its own. Return how often it was done.

    Where it fails, the error is logged and the next key follows: one account, with what the
    application does for it or with its mailbox, must not stop the others.
    """
    count = 0
    for key in keys:
        try:
            count += retried(work)(key)
        except Exception as error:  # rolled back
            is_of_all = isinstance(error, DatabaseUnavailable | SQLAlchemyError)
            if is_of_all and not isinstance(error, IntegrityError):
                raise
            current_app.logger.exception("A %s (id %s) could not be done.", name, key)
    return count


@retried
def _remove_rows(store: ExpiringRows, before: datetime, ids: Sequence[Any]) -> int:
    count = store.remove(ids, before)
    current_registration.users.commit()
    return count


def purge(older_than: timedelta = timedelta(0)) -> dict[str, int]:
    """Delete expired rows: unverified registrations, logins, challenges, invitations, e-mails.

    Do what else is due, for example scheduled deletions. Return the number of each kind.

    :param older_than: keep the rows that expired less than this long ago.
    """
    return {each.name: sum(map(each.remove, each.batches())) for each in expired(older_than)}
