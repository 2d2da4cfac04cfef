"""Remove IP addresses and user agents that are no longer needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from flask import current_app
from sqlalchemy import or_, select, update

from ...state import RegistrationState
from ...users.fields import model_columns
from ...users.mixins import utc_now
from .base import LeavingSettings, flow

#: The columns that describe the client, and those of the time when they were stored.
CLIENT_DATA = ("ip_address", "user_agent")
TIMES = ("created_at", "accepted_at")


@flow.provides("stale_rows", enabled=lambda settings: settings.client_data_retention is not None)
def stale_client_data(
    state: RegistrationState,
) -> Iterator[tuple[str, str, Sequence[Any], Callable[[Sequence[Any]], int]]]:
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
