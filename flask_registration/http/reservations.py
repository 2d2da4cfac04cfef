"""Keep the former login names of an account from others for a while.

A reservation is an account with a placeholder address, which nothing can verify. It expires, and is
purged, like a registration that was never verified.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from flask import current_app
from sqlalchemy.orm.attributes import set_committed_value

from ..auth.passwords import REVOKED
from ..state import RegistrationState
from ..users.store import PLACEHOLDER_DOMAIN, User
from ..users.transaction import UNAVAILABLE
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
    return {} if former.keys().isdisjoint(fields.unique) else former


def reserve(state: RegistrationState, user: User, former: Mapping[str, Any]) -> None:
    """Store a reservation of these names, without committing.

    There is none if the model needs other values, which only a registration gives.
    """
    if not former:
        return
    try:
        holder = state.users.create(former, password_hash=REVOKED, verified=False)
        # Past the validators of the model, which may know the addresses of one company only.
        set_committed_value(holder, state.fields.email or "", _address(state, user))
        state.users.add(holder, savepoint=True)
    except UNAVAILABLE:
        raise
    except Exception as error:
        current_app.logger.info("The former login name of an account stays free.", exc_info=error)


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
    owner = hashlib.sha256(state.users.identifier(user).encode()).hexdigest()[:16]
    return f"{owner}-{secrets.token_hex(4)}@registration{PLACEHOLDER_DOMAIN}"
