"""Count registrations by day, from the rows that the database still has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from statistics import median
from typing import Any

from flask import current_app
from sqlalchemy import DateTime, select

from ..state import RegistrationState, current_registration
from ..users.mixins import as_utc, utc_now
from ..users.store import PLACEHOLDER_DOMAIN

#: The e-mails that verify the e-mail address of a new account.
VERIFYING = ("register", "register_again", "sign_up")

#: The column of the user model with the time of the verification, which the application keeps.
VERIFIED_AT = "verified_at"


@dataclass(frozen=True, kw_only=True)
class Count:
    """What is known about the registrations of one day, or of all days; None if it is unknown.

    :ivar day: in UTC; None for all days together.
    :ivar asked: accounts that were registered.
    :ivar mailed: e-mails to verify an address that were sent.
    :ivar verified: those of the accounts that are verified now.
    :ivar median_time: half of them were verified within this time.
    """

    day: date | None
    asked: int | None
    mailed: int | None
    verified: int | None
    median_time: timedelta | None


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """The result of :func:`statistics`.

    :ivar days: the days, the last one first.
    :ivar total: all days together.
    :ivar notes: what the rows cannot tell, in sentences.
    """

    days: Sequence[Count]
    total: Count
    notes: Sequence[str]


def statistics(days: int = 30) -> Statistics:
    """Count the registrations of the last days, today included.

    Only rows that exist are counted: no deleted accounts, and no registrations that were purged.
    """
    state = current_registration
    today = utc_now().date()
    dates = [today - timedelta(days=number) for number in range(days)]
    accounts, mails = _accounts(state, dates[-1]), _mails(state, dates[-1])
    state.users.rollback()
    shown = [
        _count(
            state,
            day,
            None if accounts is None else [each for each in accounts if each[0].date() == day],
            None if mails is None else [each for each in mails if each.date() == day],
        )
        for day in dates
    ]
    return Statistics(
        days=shown, total=_count(state, None, accounts, mails), notes=[*_notes(state)]
    )


#: When an account was registered, whether it is verified, and when that was.
Account = tuple[datetime, bool, datetime | None]


def _accounts(state: RegistrationState, first: date) -> list[Account] | None:
    """Return the accounts from this day on; None if the model does not have the time."""
    fields = state.fields
    if fields.joined is None:
        return None
    names = [fields.joined, fields.verified, fields.email]
    names.append(VERIFIED_AT if _has_time(state) else None)
    columns = [getattr(fields.model, name) for name in names if name]
    joined, has_zone = columns[0], getattr(fields.columns[fields.joined].type, "timezone", False)
    recent = select(*columns).where(joined >= _midnight(first, has_zone=has_zone))
    return [
        (
            as_utc(row[fields.joined]),
            bool(row.get(fields.verified or "", True)),
            row[VERIFIED_AT] and as_utc(row[VERIFIED_AT]) if VERIFIED_AT in row else None,
        )
        for row in _session().execute(recent).mappings()
        # One with an address in use, or a reservation of a name.
        if not str(row.get(fields.email or "")).endswith(PLACEHOLDER_DOMAIN)
    ]


def _mails(state: RegistrationState, first: date) -> list[datetime] | None:
    """Return when the e-mails were queued that were sent; None without an outbox."""
    model = state.setup.models.get("outbox")
    if model is None:
        return None
    from ..outbox.store import SENT  # only with an outbox

    since = model.created_at >= _midnight(first, has_zone=True)
    sent = select(model.created_at).where(since, model.state == SENT, model.template.in_(VERIFYING))
    return [as_utc(moment) for moment in _session().scalars(sent)]


def _count(
    state: RegistrationState,
    day: date | None,
    accounts: Sequence[Account] | None,
    mails: Sequence[datetime] | None,
) -> Count:
    verified = [each for each in accounts or () if each[1]]
    known = [(joined, at) for joined, _, at in verified if at is not None and at >= joined]
    seconds = [(at - joined).total_seconds() for joined, at in known]
    return Count(
        day=day,
        asked=None if accounts is None else len(accounts),
        mailed=None if mails is None else len(mails),
        verified=None if accounts is None or state.fields.verified is None else len(verified),
        median_time=timedelta(seconds=median(seconds)) if seconds else None,
    )


def _notes(state: RegistrationState) -> Iterator[str]:
    model = state.fields.model.__name__
    yield "Accounts that were deleted or purged since are not counted."
    if state.fields.joined is None:
        yield f"Registrations are unknown: {model} has no column date_joined."
    if state.provided("closes_registration") is None and "sign_up" in state.emails:
        yield "With sign_up, an account counts as registered when its address is verified."
    if "outbox" not in state.setup.models:
        yield "E-mails are unknown: only an outbox stores them."
    else:
        yield "E-mails count until REGISTRATION_OUTBOX_RETENTION is over."
    if not _has_time(state):
        yield (
            f"The median time is unknown: {model} has no column {VERIFIED_AT}. "
            "Add one, and set it in a receiver of user_activated."
        )


def _has_time(state: RegistrationState) -> bool:
    column = state.fields.columns.get(VERIFIED_AT)
    return column is not None and isinstance(column.type, DateTime)


def _midnight(day: date, *, has_zone: bool) -> datetime:
    start = datetime(day.year, day.month, day.day)
    return as_utc(start) if has_zone else start


def _session() -> Any:
    return current_app.extensions["sqlalchemy"].session
