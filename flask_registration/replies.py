"""What replies carry that several flows have in common, for the API description."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

from .identity import LoginSettings
from .kit import Kit
from .web import SuccessSchema


def login_reply(kit: Kit) -> Schema:
    """What a login answers: the token too, where logins give one."""
    given: dict[str, Any] = (
        {"token": fields.String(required=True)} if kit.group(LoginSettings).login_retrieve_token else {}
    )
    return SuccessSchema.from_dict(given, name="LoggedIn")()


def renewal_reply(kit: Kit) -> Schema:
    """What a step answers that ends every other login: a new token, where the asking client has one."""
    return SuccessSchema.from_dict({"token": fields.String()}, name="Renewed")()
