"""What an administrator does with an account: by the steps of its owner, without a request; each commits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from . import pending
from .accounts import login_names, named_users, new_user, refusal
from .errors import FieldTaken, RegistrationError, UserWithoutEmailNonverifiable
from .events import USER_RESUMED, USER_SUSPENDED
from .flows import register
from .kit import Kit
from .mail import NotificationType
from .pending import verification
from .settings import PREFIX
from .signals import announce, user_activated, user_registered, user_reset_password
from .users import User, UserState, next_stamp, stamp_of_proof

#: How often an account is looked at again that was changed at this very moment.
TRIES = 3


class Refused(RegistrationError):
    """This cannot be done; the text says why, and nothing was changed."""


def find_account(kit: Kit, login: str | None, *, identifier: str | None = None) -> User:
    """The account that has this as a login or as its address, or that has this verification id.

    :raises Refused: there is none, or more than one.
    """
    if identifier is not None:
        user = kit.users.get(identifier)
        if user is None:
            raise Refused(f"No account has the id {identifier}.")
        return user
    found = {
        kit.users.identifier(user): user for user in named_users(kit, {"login": login or "", "email": login or ""})
    }
    if not found:
        raise Refused(f"No account has the login or the e-mail address {login}.")
    if len(found) > 1:
        raise Refused(f"{len(found)} accounts have {login}: say which one you mean, --id {' or --id '.join(found)}.")
    return next(iter(found.values()))


def account_name(kit: Kit, user: User) -> str:
    """What an account is called on a terminal: ``alice (id 7)``."""
    login = next((value for name in kit.fields.login if (value := getattr(user, name)) is not None), None)
    identifier = f"id {kit.users.identifier(user)}"
    return identifier if login is None else f"{login} ({identifier})"


def create_user(kit: Kit, values: Mapping[str, Any], password: str, *, verified: bool, mail: bool) -> User:
    """Open an account as a registration would, and mail the link that proves its address where that is wanted.

    :raises marshmallow.ValidationError: what a registration would refuse, a taken name or address among it.
    :raises UserWithoutEmailNonverifiable: it would wait for a proof that nobody can give.
    :raises MailUnavailable: with the ``"inline"`` dispatcher; there is no account then.
    """
    settings = verification(kit)
    user = new_user(kit, {**values, "password": password}, verified=verified)
    if not verified and not kit.users.state(user).email:
        raise UserWithoutEmailNonverifiable
    gone: list[User] = []
    try:
        if settings:
            gone = pending.add(kit, settings, user)
        else:
            kit.users.add(user)
    except FieldTaken as taken:
        raise refusal(kit, taken, discreet=False) from None
    mails = [register.verification_mail(kit, settings, user)] if mail and settings else []
    kit.commit(*mails, gone=gone, signal=user_registered, user=user)
    if verified and settings:
        announce(user_activated, user=user)
    return user


def verify(kit: Kit, user: User) -> bool:
    """Mark the address of an account as proven, as its link would; False where it was.

    Whatever came before the proof is nobody's: every session, token and other link ends.

    :raises Refused: it is suspended, or the model has no column for that.
    """
    if kit.fields.verified is None:
        raise Refused(f"{_model(kit)} has no column that says so: {PREFIX}USER_VERIFICATION_FLAG_FIELD names none.")

    def proven(seen: UserState) -> dict[str, Any] | None:
        if not seen.is_active:
            raise Refused("This account is suspended. Resume it first.")
        return (
            None if seen.is_verified else {"is_verified": True, "security_stamp": stamp_of_proof(seen.security_stamp)}
        )

    if not _change(kit, user, proven, is_verified=False):
        return False
    email = kit.users.state(user).email
    if email:
        kit.mailer.cooldown.forget(email)
    kit.commit(signal=user_activated, user=user)
    return True


def suspend(kit: Kit, user: User) -> bool:
    """Keep an account out, and end every session, token and link of it for good; False where it was suspended.

    :raises Refused: the model has no column for that.
    """
    return _set_active(kit, user, active=False)


def resume(kit: Kit, user: User) -> bool:
    """Let a suspended account in again, with a new login only; False where it was not suspended.

    :raises Refused: the model has no column for that.
    """
    return _set_active(kit, user, active=True)


def _set_active(kit: Kit, user: User, *, active: bool) -> bool:
    if kit.fields.active is None:
        raise Refused(f"{_model(kit)} has no column is_active: none of its accounts can be suspended.")

    def switched(seen: UserState) -> dict[str, Any] | None:
        # SQL of an application's own may have suspended it without a new stamp: no session of then comes back.
        new = {"is_active": active, "security_stamp": next_stamp(seen.security_stamp)}
        return None if seen.is_active == active else new

    if not _change(kit, user, switched):
        return False
    kit.commit()
    kit.record(USER_RESUMED if active else USER_SUSPENDED, user)
    return True


def set_password(kit: Kit, user: User, password: str) -> None:
    """Replace a password, whatever it was, and tell the owner; every session, token and link of the account ends.

    Whether its address is proven, and whether it is suspended, stays as it is.

    :raises marshmallow.ValidationError: the password does not pass the policy.
    :raises MailUnavailable: with the ``"inline"`` dispatcher; the password is the old one then.
    """
    kit.passwords.check(password, personal_texts(kit, user))
    password_hash = kit.passwords.hash(password)

    def replaced(seen: UserState) -> dict[str, Any]:
        return {"password_hash": password_hash, "security_stamp": next_stamp(seen.security_stamp)}

    _change(kit, user, replaced)
    names = login_names(kit, user)
    kit.commit(*kit.notice(NotificationType.PASSWORD_CHANGED, user), signal=user_reset_password, user=user)
    kit.throttles.clear_account("login", names)


def personal_texts(kit: Kit, user: User) -> list[str]:
    """What must not make up the password of an account."""
    return kit.users.inputs({name: getattr(user, name) for name in kit.fields.personal})


def _change(kit: Kit, user: User, make: Callable[[UserState], Mapping[str, Any] | None], **expecting: Any) -> bool:
    """Write what is made of the account's state, and end its logins, without committing; False where nothing was made.

    :param expecting: what must hold in the row beside what was seen.
    :raises Refused: others change it all the time, or it has just been deleted.
    """
    identifier = kit.users.identifier(user)
    for _ in range(TRIES):
        seen = kit.users.state(user)
        changes = make(seen)
        if changes is None:
            return False
        if kit.users.change(user, seen, changes, expecting={"is_active": seen.is_active, **expecting}):
            kit.identity.end_logins(user)
            return True
        kit.users.rollback()
        if kit.users.get(identifier) is None:
            raise Refused("This account has just been deleted.")
    raise Refused("This account is being changed by others at this very moment. Try again.")


def _model(kit: Kit) -> str:
    return kit.fields.model.__name__
