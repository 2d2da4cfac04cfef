"""Keep the former login names of an account from others for a while.

A reservation is an account with a placeholder address, which nothing can verify. It expires, and is
purged, like a registration that was never verified.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from flask import current_app
from sqlalchemy.orm.attributes import set_committed_value

from ..auth.passwords import REVOKED
from ..state import RegistrationState
from ..users.stamps import digest_of
from ..users.store import PLACEHOLDER_DOMAIN, User
from ..users.transaction import UNAVAILABLE
from ..users.unique_keys import unique_keys
from .accounts import delete_pending


def former_names(
    state: RegistrationState, user: User, changes: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the login names that an account gives up with these changes, by column.

    A name that changes its case only is not given up.
    """
    fields = state.fields
    names = {*fields.login, *filter(None, [fields.username_key])}
    former = {name: getattr(user, name) for name in changes if name in names}
    former = {name: value for name, value in former.items() if value is not None}
    return former if _unique_with(state, former) else {}


def reserve(state: RegistrationState, user: User, former: Mapping[str, Any]) -> None:
    """Store a reservation of these names, without committing.

    There is none if the model or the database refuses it.
    """
    if not former:
        return
    try:
        values = {**_other_values(state, user, former), **former}
        holder = state.users.create(values, password_hash=REVOKED, verified=False)
        # Past the validators of the model, which may know the addresses of one company only.
        set_committed_value(holder, state.fields.email or "", _address(state, user))
        state.users.add(holder, savepoint=True)
    except UNAVAILABLE:
        raise
    except Exception as error:  # the model or the database refuses the placeholder
        current_app.logger.info("The former login name of an account stays free.", exc_info=error)


def _unique_with(state: RegistrationState, former: Mapping[str, Any]) -> set[str]:
    """Return the columns that these names are unique with, such as the tenant, and their own."""
    keys = unique_keys(state.fields.columns)
    return {name for key in keys if former.keys() & key.columns for name in key.columns}


def _other_values(
    state: RegistrationState, user: User, former: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the values that a reservation needs, and those that its names are unique with.

    They are the user's, or a random text where that is unique.
    """
    fields = state.fields
    needed = {*fields.required, *_unique_with(state, former)} - {fields.pk, *former}
    unique = {*fields.unique, *([fields.username] if fields.username_key else [])}
    types: Mapping[str, Any] = {name: column.type for name, column in fields.columns.items()}
    token = secrets.token_hex(16)
    return {
        name: token[: types[name].length] if name in unique else getattr(user, name)
        for name in needed - {fields.email, fields.password, fields.verified, fields.stamp}
    }


def release(state: RegistrationState, user: User, holders: Sequence[User]) -> bool:
    """Delete the reservations that keep names from their own former user, without committing.

    Return False if others hold the names.
    """
    prefix = _address(state, user).partition("-")[0]
    own = [each for each in holders if (state.users.snapshot(each).email or "").startswith(prefix)]
    if len(own) < len(holders):
        return False
    return all(delete_pending(state, each) for each in own)


def _address(state: RegistrationState, user: User) -> str:
    """Return a placeholder address that tells whose reservation it is."""
    owner = digest_of(state.users.identifier(user))[:16]
    return f"{owner}-{secrets.token_hex(4)}@registration{PLACEHOLDER_DOMAIN}"
