"""Delete an account after a grace period, and cancel that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from flask import current_app
from sqlalchemy import select

from ...auth.links import OpenedLink, Purpose
from ...auth.request_session import forget_session
from ...errors import AccountInUse, LinkInvalid, NotAuthenticated
from ...http.bodies import SuccessSchema
from ...http.flow import EndpointLink
from ...i18n.messages import Message
from ...security_log import USER_DELETION_CANCELED
from ...signals import user_deleted, user_deletion_scheduled
from ...state import RegistrationState
from ...users.fields import KEPT
from ...users.mixins import as_utc, utc_now
from ...users.stamps import UserSnapshot, next_stamp
from ...users.store import User
from .base import LeavingSettings, flow, has_grace

#: Valid until the deletion is canceled or done; see ``scheduled_for``.
CANCEL = Purpose("cancel-deletion", binds=lambda user: (user.email,), active=False)

#: The longest grace period, and time for a late e-mail. The state of the account ends a link.
LINK_PERIOD = timedelta(days=400)


# Schedule


def scheduled_for(state: RegistrationState, user: User) -> datetime | None:
    """Return when an account will be deleted, in UTC; None if it will not, or is suspended."""
    is_active = all(getattr(user, name) for name in state.fields.activity if name != KEPT)
    return as_utc(user.delete_after) if is_active and _is_scheduled(state, user) else None


def _is_scheduled(state: RegistrationState, user: User) -> bool:
    return state.fields.can_wait and user.delete_after is not None


@flow.email(
    "deletion_scheduled",
    when="the user asks to delete the account, and there is a grace period",
    enabled=lambda state: state.provided("schedule_deletion") is not None,
    limited=False,
    example={"delete_after": "2026-01-31T12:00:00+00:00", "address": None},
)
def deletion_scheduled_email(
    state: RegistrationState, user: User, delete_after: str, address: str | None
) -> dict[str, Any]:
    """Return the template variables, with a link to cancel the deletion.

    :param delete_after: the time of the deletion.
    :param address: the e-mail address of the account at the time of the request. If anything has
        changed when the e-mail is sent, it has no link.
    """
    moment = datetime.fromisoformat(delete_after)
    is_current = address == state.users.snapshot(user).email
    url = None
    if address is None or (is_current and scheduled_for(state, user) == moment):
        url = state.links.url(CANCEL, user, state.pages["cancel_deletion_url"])
    return {"verification_url": url, "delete_after": f"{moment:%Y-%m-%d %H:%M} UTC"}


@flow.provides("schedule_deletion", enabled=has_grace)
def schedule_deletion(state: RegistrationState, user: User, seen: UserSnapshot) -> dict[str, Any]:
    """Log out the user everywhere, and let ``flask registration purge`` delete the account later.

    Return the body of the response.

    :raises NotAuthenticated: the account was suspended, changed or deleted at the same moment.
    """
    grace = state.group(LeavingSettings).deletion_grace or timedelta(0)
    delete_after = utc_now().replace(microsecond=0) + grace  # as all databases store it
    stamp, shown = next_stamp(seen.security_stamp), delete_after.isoformat()
    if not _change(state, user, seen, stamp, delete_after):
        raise NotAuthenticated
    state.sessions.end_logins(user)
    forget_session()
    data = {"delete_after": shown, "address": seen.email}
    mails = [state.mail(deletion_scheduled_email, user, **data)] if seen.email else []
    state.commit(*mails, signals=[user_deletion_scheduled], user=user)
    return {"delete_after": shown}


def _change(
    state: RegistrationState,
    user: User,
    seen: UserSnapshot,
    stamp: str,
    delete_after: datetime | None,
) -> bool:
    """Write the time of the deletion and a new stamp, without committing.

    Return False if the account is not as it was seen: of parallel changes one succeeds.
    """
    return state.users.change(
        user,
        seen,
        {"security_stamp": stamp},
        columns={"delete_after": delete_after},
        expecting={"is_active": state.users.is_flagged_active(user)},
    )


# Cancel


@flow.post(
    "/cancel-deletion/",
    link=EndpointLink(purpose=lambda settings: CANCEL, period=lambda settings: LINK_PERIOD),
    response=SuccessSchema,
    message=Message("Your account was not deleted. You can log in again."),
    throttles={"client": "60/minute"},
)
def cancel_deletion(link: OpenedLink) -> None:
    """Keep the account, with the parameters of a link. This logs no user in.

    :raises LinkInvalid: no deletion is scheduled, or the account was deleted at the same moment.
    """
    state = flow.state
    user, seen, params = link
    stamp = next_stamp(seen.security_stamp)
    if not (scheduled_for(state, user) and _change(state, user, seen, stamp, None)):
        raise LinkInvalid(user_id=params.user_id)
    state.commit()
    state.record(USER_DELETION_CANCELED, user)


@flow.provides("restore_account")
def restore_account(state: RegistrationState, user: User, stamp: str) -> bool | None:
    """Cancel the deletion of an account, without committing. Return None if none is scheduled.

    Return False if the account was changed or deleted at the same moment.

    :param stamp: the new security stamp.
    """
    if not _is_scheduled(state, user):
        return None
    return _change(state, user, state.users.snapshot(user), stamp, None)


# What ``flask registration purge`` does


@flow.provides("due_work")
def due_deletions(
    state: RegistrationState,
) -> Iterator[tuple[str, str, Sequence[Any], Callable[[Any], bool]]]:
    """Yield the deletions that are due. Suspended accounts stay until they are reactivated."""
    fields, model = state.fields, state.fields.model
    if not fields.can_wait:
        return
    ids_of = select(getattr(model, fields.verification_id))
    due = ids_of.where(model.delete_after <= utc_now()).filter_by(
        **fields.named({"is_active": True})
    )
    session = current_app.extensions["sqlalchemy"].session
    ids = session.scalars(due.order_by(model.delete_after)).all()
    yield "scheduled deletion", "done", ids, partial(_finish, state)


def _finish(state: RegistrationState, user_id: Any) -> bool:
    """Delete an account whose time has come. Return whether it did."""
    delete_account, user = state.provided("delete_account"), state.users.get(str(user_id))
    moment = user and scheduled_for(state, user)
    if not (delete_account and moment and moment <= utc_now()):
        state.users.rollback()
        return False
    options = {
        "columns": {"delete_after": None},
        "expecting": {"is_active": state.users.is_flagged_active(user)},
    }
    try:
        notices = delete_account(state, user, state.users.snapshot(user), **options)
    except (AccountInUse, NotAuthenticated):  # other rows refer to it, or it was just canceled
        return False
    state.commit(*notices, signals=[user_deleted], user=user)
    return True
