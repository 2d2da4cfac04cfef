"""Export what the application has stored about a user."""

from __future__ import annotations

from typing import Any

from flask import Response, current_app
from marshmallow import Schema, fields

from ...errors import ReauthenticationRequired
from ...http.bodies import BodySchema, schema_of
from ...http.verified_accounts import shown_profile
from ...security_log import DATA_EXPORTED
from ...state import RegistrationState
from ...users.store import User
from .base import EXPORT, LeavingSettings, flow, resolve_exporters

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
    for name, offer in state.offers.items():
        if name.startswith(EXPORT):
            data[name.removeprefix(EXPORT)] = offer(state, user)
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
