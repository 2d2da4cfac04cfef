"""Find and create accounts by the fields of a request body."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, cast

from marshmallow import Schema, ValidationError, fields
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm.attributes import instance_state, set_committed_value

from ..auth.passwords import unusable_hash
from ..errors import (
    REQUIRED,
    AccountInUse,
    AccountUnusable,
    DatabaseUnavailable,
    DuplicateValue,
    EmailAlreadyRegistered,
    MissingValue,
)
from ..signals import user_deleted
from ..state import RegistrationState
from ..users.mixins import as_utc, utc_now
from ..users.stamps import UserSnapshot
from ..users.store import PLACEHOLDER_DOMAIN, User
from ..users.transaction import UNAVAILABLE
from .bodies import AlternativesSchema, Text, check_confirmation
from .responses import collect_messages

# Find


def account_schema(
    state: RegistrationState, *, with_email: bool = True, **others: fields.Field[Any]
) -> Schema:
    """Return a schema that names an account by ``login``, a login field, or ``email``.

    :param others: more fields.
    """
    names = dict.fromkeys(["login", *state.fields.login, *(["email"] if with_email else [])])
    declared: dict[str, Any] = {name: Text(trim=True) for name in names}
    schema: Any = AlternativesSchema.from_dict({**declared, **others}, name="Account")()
    schema.alternatives = list(names)
    return cast(Schema, schema)


def find_users(state: RegistrationState, data: Mapping[str, str]) -> list[User]:
    """Return the accounts that a request body names.

    Every way to find one is tried, found or not.
    """
    named = _named(state, data)
    return [user for name, value in named for user in state.users.find(name, value)]


def _named(state: RegistrationState, data: Mapping[str, Any]) -> dict[tuple[str, Any], None]:
    """Return the fields by which a request body may name an account, with their values.

    The e-mail address comes first: a username from before the extension may look like one.
    """
    fields = state.fields
    ways = sorted(fields.login, key=lambda name: name != fields.email)
    named = [(name, data["login"]) for name in ways if "login" in data]
    named += [(name, data[name]) for name in fields.login if name in data]
    if fields.email and "email" in data:
        named.append((fields.email, data["email"]))
    return dict.fromkeys(named)


# Names of accounts for rate limits


def account_names(state: RegistrationState, data: Any) -> list[str]:
    """Return the names of the accounts in a request body: one for all spellings, without a look-up.

    A schema of the application may load something without names.
    """
    if not isinstance(data, Mapping):
        return []
    named = [(name, str(value)) for name, value in _named(state, data)]
    found = [str(key[1]) for name, value in named if (key := state.users.lookup(name, value))]
    # Without the field: one spelling counts once, whichever field finds the account by it.
    return list(dict.fromkeys(found or [value.strip() for _, value in named]))


def login_names(state: RegistrationState, user: User) -> list[str]:
    """Return the names by which a user logs in."""
    values = [getattr(user, name) for name in state.fields.login]
    found = [account_names(state, {"login": value}) for value in values if value is not None]
    return list(dict.fromkeys(name for names in found for name in names))


def remember_device(
    state: RegistrationState, names: Sequence[str], email: str | None = None
) -> None:
    """Make this browser a known device of the account with these :func:`login_names`.

    :param email: its e-mail address. If the client has verified it, requests of others for reset
        and login e-mails do not use up those of this browser.
    """
    has_notice = state.provided("new_login_notice") is not None
    has_limits = bool(state.mailer.limits.limits)
    emails = [email.lower()] if email and has_limits and verifies_addresses(state) else []
    state.throttles.remember_device("login", names, emails=emails, always=has_notice)


def verifies_addresses(state: RegistrationState) -> bool:
    """Return whether no client gets an e-mail address that it has not verified.

    An e-mail change without verification leaves an account verified.
    """
    registers = state.provided("registration_schema") is not None
    changes = state.provided("email_change_notice") is not None
    return not (
        (registers and state.provided("requires_verification") is None)
        or (changes and state.provided("finish_email_change") is None)
    )


# Create


def normal_email(state: RegistrationState, email: object, user: User | None = None) -> str:
    """Return the normal form of an e-mail address.

    :param user: the account that asks for the address, if there is one.
    :raises marshmallow.ValidationError: it is missing or invalid, or the validators refuse it.
    """
    column = state.fields.email or ""
    if not isinstance(email, str):  # a schema of the application may load something else
        raise ValidationError(REQUIRED, "email")
    try:
        return str(state.users.build({column: email}, user=user)[column])
    except ValidationError as error:
        raise ValidationError({"email": error.messages_dict[column]}) from None


def new_user(
    state: RegistrationState,
    data: Mapping[str, Any],
    *,
    verified: bool,
    password_required: bool = True,
    judged: Sequence[str] = ("email", "username"),
) -> User:
    """Return a user with normalized fields and a checked password, which is not stored yet.

    :param password_required: if False and there is no password, no password matches the account.
    :param judged: see :meth:`NormalForms.build`.
    :raises marshmallow.ValidationError: with the messages of all fields.
    """
    password = data.get("password")
    # A schema of the application may not have the field.
    if not isinstance(password, str) and (password_required or password is not None):
        raise ValidationError(REQUIRED, "password")
    values = {name: value for name, value in data.items() if name in state.fields.columns}
    messages: dict[str, Any] = {}
    with collect_messages(messages):
        values = state.users.build(values, judged=judged)
    with collect_messages(messages):
        if password is not None:
            state.passwords.check(password, state.users.inputs(values))
    with collect_messages(messages):
        check_confirmation(data)
    if messages:
        raise ValidationError(messages)
    password_hash = unusable_hash() if password is None else state.passwords.hash(password)
    return state.users.create(values, password_hash=password_hash, verified=verified)


def create_user(
    state: RegistrationState, /, *, password: str, verified: bool = True, **fields: Any
) -> Any:
    """Create a user as a registration does, in a flow or outside a request. The caller commits.

    :param fields: any columns of the model, also those that no client may set. With the flow
        ``approval``, ``approved=False`` lets the account wait.
    :raises marshmallow.ValidationError: an invalid field, or a duplicate username or e-mail
        address.
    """
    fields = with_approval(state, fields)
    unknown = [name for name in fields if name not in state.fields.columns]
    if unknown:
        raise TypeError(f"{state.fields.model.__name__} has no column {', '.join(unknown)}.")
    data = {**fields, "password": password}
    user = new_user(state, data, verified=verified, judged=["email"])
    state.users.add(user, savepoint=True)
    state.call_all("account_created", user, {})
    return user


def with_approval(state: RegistrationState, columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of an account of an administrator, which needs no approval by default.

    :param columns: also ``approved``, if the flow ``approval`` needs it.
    """
    if not state.fields.needs_approval:
        return dict(columns)
    approved_at = utc_now() if columns.get("approved", True) else None
    others = {name: value for name, value in columns.items() if name != "approved"}
    return {"approved_at": approved_at, **others}


# Change the e-mail address


def change_email(
    state: RegistrationState,
    user: User,
    seen: UserSnapshot,
    changes: Mapping[str, Any],
    *,
    is_verified: bool,
) -> list[User]:
    """Write an e-mail address and other values, without committing.

    A link that verifies a mailbox counts more than a registration that merely claims the address.
    Such registrations are deleted; return them.

    :param is_verified: whether the client has verified the e-mail address.
    :raises AccountUnusable: the account is not as it was seen.
    :raises EmailAlreadyRegistered: another account has the e-mail address.
    """
    displaced: list[User] = []
    try:
        state.users.change(user, seen, changes)
    except DuplicateValue as duplicate:
        displaced = [each for each in duplicate.holders if is_verified and is_unused(state, each)]
        if not (displaced and all(delete_pending(state, each) for each in displaced)):
            raise EmailAlreadyRegistered from None
        try:
            state.users.change(user, seen, changes)
        except DuplicateValue:  # a verified account has it, or a parallel registration
            raise EmailAlreadyRegistered from None
    return displaced


# Expired registrations


def add_account(
    state: RegistrationState,
    user: User,
    *,
    expired_before: datetime | None,
    data: Mapping[str, Any] = {},
    hide_email: bool = False,
    is_verified: bool = False,
    prepare: Callable[[User], object] | None = None,
) -> tuple[list[User], DuplicateValue | None]:
    """Store an account without committing.

    Return the registrations that it displaces, and the error about its e-mail address, if
    that is in use. With ``hide_email`` such an account is stored with a placeholder address, so
    that it takes the same statements as any other. Nothing can verify it; it reserves the username
    until it expires.

    :param expired_before: unverified registrations before this time have expired; None if none
        expires.
    :param data: what a registration has loaded, for other flows; empty for other accounts.
    :param is_verified: whether the client has verified the e-mail address, and so displaces a
        registration that merely claims it.
    :param prepare: called with the account before it is stored. It may add other rows.
    :raises DuplicateValue: another account has one of the other unique values.
    :raises DatabaseUnavailable: with ``prepare``, another request has stored such an account at the
        same moment. Another try displaces it.
    """
    # Look first: a statement that fails takes another time, and undoes what ``prepare`` did.
    duplicate = state.users.find_duplicate(user) if hide_email or prepare else None
    displace = partial(_displace, state, user, expired_before, hide_email, is_verified)
    displaced, duplicate = displace(duplicate)
    if prepare:
        prepare(user)
    try:
        stored = _store(state, user, displaced, duplicate)
    except DuplicateValue as current:  # of a parallel request, or without a look
        displaced, duplicate = displace(current)
        if prepare:
            state.users.rollback()
            raise DatabaseUnavailable from None
        stored = _store(state, user, displaced, duplicate)
    if instance_state(user).key:  # the model may refuse a placeholder
        state.call_all("account_created", user, data)
    return stored


def _displace(
    state: RegistrationState,
    user: User,
    expired_before: datetime | None,
    hide_email: bool,
    is_verified: bool,
    duplicate: DuplicateValue | None,
) -> tuple[list[User], DuplicateValue | None]:
    """Delete the registrations that have a new account's values and do not count any more.

    Return them, and the error about its e-mail address, if that is the one value in use.

    :raises DuplicateValue: another account has one of the other values.
    """
    holders = duplicate.holders if duplicate else ()
    claimant = duplicate.owner if duplicate and is_verified else None
    displaced: list[User] = [
        each
        for each in holders
        if is_rejected(state, each)
        or (each is claimant and is_unused(state, each))
        or (expired_before is not None and has_expired(state, each, expired_before))
    ]
    if displaced:
        if not all(delete_pending(state, each) for each in displaced):
            displaced = []  # one was verified meanwhile, or other rows refer to it
        duplicate = state.users.find_duplicate(user)
    if duplicate is None:
        return displaced, None
    if hide_email and duplicate.fields == (state.fields.email,):
        return displaced, duplicate
    state.users.rollback()
    raise duplicate


def _store(
    state: RegistrationState, user: User, displaced: list[User], duplicate: DuplicateValue | None
) -> tuple[list[User], DuplicateValue | None]:
    """Store an account, with a placeholder if its e-mail address is in use.

    Return the registrations to announce as deleted, and the error about the address.

    :raises DuplicateValue: another account has one of the unique values.
    """
    if duplicate is None:
        state.users.add(user)
    elif not _add_with_placeholder(state, user):
        displaced = []
    return [each for each in displaced if not is_placeholder(state, each)], duplicate


def _add_with_placeholder(state: RegistrationState, user: User) -> bool:
    """Store an account without its e-mail address.

    Return False if the model or the database refuses the placeholder, and nothing was stored.
    """
    placeholder = f"{secrets.token_hex(8)}@registration{PLACEHOLDER_DOMAIN}"
    # Past the validators of the model, which may know the addresses of one company only.
    set_committed_value(user, state.fields.email or "", placeholder)
    try:
        state.users.add(user)
    except Exception as error:  # perhaps of a rule of the application
        if isinstance(error, (DuplicateValue, MissingValue, ProgrammingError, *UNAVAILABLE)):
            raise
        state.users.report_refused_placeholder(error)
        return False
    return True


def is_placeholder(state: RegistrationState, user: User) -> bool:
    """Return whether an account has a placeholder in place of an e-mail address in use."""
    return (state.users.snapshot(user).email or "").endswith(PLACEHOLDER_DOMAIN)


def is_unused(state: RegistrationState, user: User) -> bool:
    """Return whether an account merely claims its e-mail address: never used or verified.

    A rejected one merely claims it, too.
    """
    return is_rejected(state, user) or _was_never_used(state, user)


def is_rejected(state: RegistrationState, user: User) -> bool:
    """Return whether an account was rejected, and is not suspended besides.

    A new registration may have its username and its e-mail address.
    """
    if not state.fields.needs_approval or user.is_not_rejected:
        return False
    return state.users.is_flagged_active(user) is not False


def _was_never_used(state: RegistrationState, user: User) -> bool:
    return state.users.snapshot(user).is_pending and getattr(user, "last_login", None) is None


def has_expired(state: RegistrationState, user: User, before: datetime) -> bool:
    """Return whether an account was registered before that time, and never verified or used."""
    joined = getattr(user, state.fields.joined) if state.fields.joined else None
    return _was_never_used(state, user) and joined is not None and as_utc(joined) < before


def remove_expired(state: RegistrationState, identifier: str, before: datetime) -> bool:
    """Delete a registration that has expired, commit, and send the signal.

    Return whether it was deleted. It stays if it is verified at the same moment, or if
    other rows refer to it.
    """
    user = state.users.get(identifier)
    is_due = user is not None and has_expired(state, user, before)
    if not (is_due and delete_pending(state, user)):
        state.users.rollback()
        return False
    state.users.commit()
    if not is_placeholder(state, user):
        state.announce(user_deleted, user=user)
    return True


def delete_pending(state: RegistrationState, user: User) -> bool:
    """Delete an account that was never verified or used, or was rejected, without committing.

    Return False, rolled back, if it was verified or approved at the same moment, or if other rows
    refer to it.
    """
    # Writing the flag locks the row: a later verification waits, and an earlier one wins.
    expected: dict[str, Any] = {"is_verified": False, "last_login": None}
    if is_rejected(state, user):
        expected = {"is_active": True, "approved_at": None}
    seen = state.users.snapshot(user)
    changes = {"is_verified": False, "password_hash": seen.password_hash}  # or without a flag
    try:
        state.users.change(user, seen, changes, expecting=expected)
        state.remove_rows(user)
        state.users.delete(user)
    except (AccountUnusable, AccountInUse):
        return False
    return True
