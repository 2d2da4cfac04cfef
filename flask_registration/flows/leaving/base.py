"""The settings, the column and the checks of deletions, exports and retention."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import DateTime
from sqlalchemy.orm import Mapped, mapped_column
from werkzeug.utils import import_string

from ...auth.links import check_page
from ...checks import Finding
from ...http.flow import Flow
from ...settings import Settings, setting
from ...state import Setup

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
        try:
            exporter = import_string(given) if isinstance(given, str) else given
        except ImportError as error:
            raise ValueError(f"has {given!r}, which cannot be imported: {error}") from error
        if not (isinstance(name, str) and name and callable(exporter)):
            raise ValueError(
                f"has {name!r}: {given!r}, but must have names, each with a callable or its "
                "import string"
            )
        found[name] = exporter
    return found


def _check_exporters(exporters: Mapping[str, Any]) -> None:
    resolve_exporters(exporters)


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
        validate=_check_exporters,
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
        yield from check_page("CANCEL_DELETION_URL", setup.settings, setup.findings)
