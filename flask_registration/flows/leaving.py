"""Deletion with a grace period, export of data, retention of client data. Optional.

An application adds the flow to the default ones:
``Registration(flows=[*DEFAULT_FLOWS, leaving.flow])``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from flask import Response, current_app
from marshmallow import Schema, fields
from sqlalchemy import DateTime, or_, select, update
from sqlalchemy.orm import Mapped, mapped_column

from ..auth.links import OpenedLink, Purpose
from ..auth.request_session import forget_session
from ..checks import Finding
from ..errors import AccountInUse, AccountUnusable, ReauthenticationRequired
from ..http.bodies import BodySchema, SuccessSchema, schema_of
from ..http.flow import EndpointLink, Flow
from ..http.verified_accounts import shown_profile
from ..i18n.messages import Message
from ..security_log import DATA_EXPORTED, USER_DELETION_CANCELED
from ..settings import Settings, convert, setting
from ..signals import user_deleted, user_deletion_scheduled
from ..state import DueWork, RegistrationState, Setup
from ..users.fields import KEPT, model_columns
from ..users.mixins import as_utc, utc_now
from ..users.stamps import UserSnapshot, next_stamp
from ..users.store import User

#: Offers of flows whose names begin with this are keys of an export.
EXPORT = "export_"


class DeletionMixin:
    """A column of a user model: ``class User(DeletionMixin, UserMixin, db.Model)``.

    ``delete_after`` is the time (UTC) from which ``flask registration purge`` deletes the account,
    NULL if no deletion is scheduled. Until then the account counts as suspended.
    """

    delete_after: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), index=True)

    @property
    def has_no_scheduled_deletion(self) -> bool:
        """Return whether the account stays. If not, it is not active."""
        return self.delete_after is None


def resolve_exporters(exporters: Mapping[str, Any]) -> dict[str, Callable[[Any], Any]]:
    """Return the exporters by their names; each may be an import string.

    :raises ValueError: one cannot be imported, or is not callable.
    """
    found: dict[str, Callable[[Any], Any]] = {}
    for name, given in exporters.items():
        if not (name and isinstance(name, str) and (isinstance(given, str) or callable(given))):
            raise ValueError(
                f"has {name!r}: {given!r}, but must have names, each with a callable or its "
                "import string"
            )
        found[name] = convert(given, Callable[..., Any])
    return found


@dataclass(frozen=True, kw_only=True)
class LeavingSettings(Settings):
    """Delayed deletion, data export and retention."""

    deletion_grace: timedelta | None = setting(
        None,
        "How long a deleted account can be kept after all, for example `timedelta(days=30)`. "
        "`flask registration purge` deletes it afterwards. None deletes it at once.",
        minimum=timedelta(minutes=1),
        maximum=timedelta(days=365),
    )
    cancel_deletion_url: str | None = setting(
        None,
        "The page that cancels a deletion.",
        page="cancel-deletion/",
        beside="REGISTER_VERIFICATION_URL",
    )
    exporters: Mapping[str, Any] = setting(
        {},
        'Adds the data of your application to an export: `{"orders": exporter}`. '
        "`exporter(user)` returns what `flask.json` can write.",
        validate=resolve_exporters,
    )
    client_data_retention: timedelta | None = setting(
        None,
        "How long to keep the IP addresses and user agents in rows of sessions, tokens and "
        "consents, for example `timedelta(days=90)`. `flask registration purge` then removes "
        "them. None keeps them as long as the rows.",
    )


def has_grace(settings: LeavingSettings) -> bool:
    """Return whether a deletion has a grace period."""
    return settings.deletion_grace is not None


flow: Flow[LeavingSettings] = Flow("leaving", LeavingSettings, sends_mail=has_grace)

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

    :raises AccountUnusable: the account was suspended, changed or deleted at the same moment.
    """
    grace = state.group(LeavingSettings).deletion_grace or timedelta(0)
    delete_after = utc_now().replace(microsecond=0) + grace  # as all databases store it
    stamp, shown = next_stamp(seen.security_stamp), delete_after.isoformat()
    _change(state, user, seen, stamp, delete_after)
    state.sessions.end_logins(user)
    forget_session()
    data = {"delete_after": shown, "address": seen.email}
    mails = state.notices(deletion_scheduled_email, user, **data)
    state.commit(*mails, signals=[user_deletion_scheduled], user=user)
    return {"delete_after": shown}


def _change(
    state: RegistrationState,
    user: User,
    seen: UserSnapshot,
    stamp: str,
    delete_after: datetime | None,
) -> None:
    """Write the time of the deletion and a new stamp, without committing.

    :raises AccountUnusable: the account is not as it was seen: of parallel changes one succeeds.
    """
    state.users.change(
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

    :raises AccountUnusable: no deletion is scheduled, or the account was deleted at the same
        moment.
    """
    state = flow.state
    user, seen, _ = link
    if not scheduled_for(state, user):
        raise AccountUnusable
    _change(state, user, seen, next_stamp(seen.security_stamp), None)
    state.commit()
    state.record(USER_DELETION_CANCELED, user)


@flow.provides("restore_account")
def restore_account(state: RegistrationState, user: User, stamp: str) -> bool:
    """Cancel the deletion of an account, without committing. Return False if none is scheduled.

    :param stamp: the new security stamp.
    :raises AccountUnusable: the account was changed or deleted at the same moment.
    """
    if not _is_scheduled(state, user):
        return False
    _change(state, user, state.users.snapshot(user), stamp, None)
    return True


# What ``flask registration purge`` does


@flow.provides("due_work")
def due_deletions(state: RegistrationState) -> DueWork:
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
    except (AccountInUse, AccountUnusable):  # other rows refer to it, or it was just canceled
        return False
    state.commit(*notices, signals=[user_deleted], user=user)
    return True


# Export

#: The name of the file in a browser.
FILE_NAME = "account.json"


def export_response(state: RegistrationState) -> Schema:
    """Return the schema of the response: a key for the profile, for each flow and each exporter."""
    names = [name for name in state.offers if name.startswith(EXPORT)]
    own = state.group(LeavingSettings).exporters
    declared: dict[str, Any] = {
        "profile": fields.Dict(required=True),
        **{name.removeprefix(EXPORT): fields.List(fields.Dict()) for name in names},
        **{name: fields.Raw(allow_none=True) for name in own},
    }
    return BodySchema.from_dict(declared, name="Export")()


@flow.get(
    "/profile/export/",
    response=export_response,
    errors=[ReauthenticationRequired],
    login_required=True,
    throttles={"client": "60/minute", "account": "10/5 minutes;50/hour"},
)
def export_profile(user: User) -> Response:
    """Export the data of the current user's account as a JSON file. The login must be fresh.

    It contains no password hash, security stamp or secret.

    :raises ReauthenticationRequired: the login is not fresh.
    """
    state = flow.state
    state.reauthenticate(user, None)
    data: dict[str, Any] = {"profile": schema_of(state, shown_profile).dump(user)}
    for name in state.offers:
        if name.startswith(EXPORT):
            data[name.removeprefix(EXPORT)] = state.call(name, user)
    write = current_app.json.dumps
    for name, exporter in resolve_exporters(flow.settings.exporters).items():
        try:
            data[name] = exporter(user)
            write(data[name])
        except Exception as error:  # there is no export: a part of it would look like all of it
            error.add_note(f"The exporter {name!r} of REGISTRATION_EXPORTERS raised it.")
            raise
    response = current_app.response_class(write(data, indent=2), mimetype="application/json")
    response.headers.set("Content-Disposition", "attachment", filename=FILE_NAME)
    state.record(DATA_EXPORTED, user)
    return response


# Retention

#: The columns that describe the client, and those of the time when they were stored.
CLIENT_DATA = ("ip_address", "user_agent")
TIMES = ("created_at", "accepted_at")


@flow.provides("stale_rows", enabled=lambda settings: settings.client_data_retention is not None)
def stale_client_data(state: RegistrationState) -> DueWork:
    """Yield the rows of each model whose client data is too old."""
    retention = state.group(LeavingSettings).client_data_retention
    session = current_app.extensions["sqlalchemy"].session
    for role, model in state.setup.models.items():
        columns = model_columns(model) or {}
        names = [name for name in CLIENT_DATA if name in columns and columns[name].nullable]
        time = next((name for name in TIMES if name in columns), None)
        if role == "user" or retention is None or not (names and time):
            continue
        is_stored = or_(*(getattr(model, name).is_not(None) for name in names))
        is_old = getattr(model, time) < utc_now() - retention
        ids = session.scalars(select(model.id).where(is_stored, is_old)).all()
        yield f"{role} client detail", "removed", ids, partial(_remove, model, names)


def _remove(model: Any, names: Sequence[str], ids: Sequence[Any]) -> int:
    """Remove the client data of these rows, and commit. Return their number."""
    session = current_app.extensions["sqlalchemy"].session
    blank = update(model).where(model.id.in_(ids)).values(dict.fromkeys(names))
    count = session.execute(blank, execution_options={"synchronize_session": False}).rowcount
    session.commit()
    return int(count)


# Checks


@flow.check
def check(setup: Setup) -> Iterator[Finding]:
    """Check the names of exporters, and what a grace period needs."""
    settings, fields = setup.group(LeavingSettings), setup.fields
    offered = {name.removeprefix(EXPORT) for name in setup.offers() if name.startswith(EXPORT)}
    for name in settings.exporters.keys() & {"profile", *offered}:
        yield Finding(
            "registration.E078",
            "REGISTRATION_EXPORTERS",
            f"names {name!r}, which an export has already. One of them would be missing.",
            "Choose another name.",
        )
    if not (fields and has_grace(settings)):
        return
    if not fields.can_wait:
        model = fields.model.__name__
        yield Finding(
            "registration.E079",
            "REGISTRATION_DELETION_GRACE",
            f"is set, but {model} does not have DeletionMixin. "
            "Its column stores when an account will be deleted.",
            f"Define class {model}(DeletionMixin, ...) with DeletionMixin of flask_registration, "
            "and migrate the table.",
        )
    if fields.stamp is None:
        yield Finding(
            "registration.E080",
            "REGISTRATION_DELETION_GRACE",
            "is set, but the user model has no security stamp. After a canceled deletion, earlier "
            "sessions and links would be valid again.",
            "Add the column security_stamp to the user model.",
        )
    if fields.email:
        yield from setup.check_page("CANCEL_DELETION_URL")
