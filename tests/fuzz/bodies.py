"""The guard of every body: each endpoint's schema gets something harmless or nothing."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

from marshmallow import Schema, ValidationError
from werkzeug.exceptions import HTTPException

from flask_registration.errors import APIError
from flask_registration.http.bodies import load, read_body
from flask_registration.http.responses import error_members, error_response, report_error

from ..conftest import site_maker
from ..site import PASSWORD
from ..world import SETTINGS, World, define_login

LIMIT = 65536
TYPES = [
    "application/json",
    "application/json; charset=utf-16",
    "application/hal+json",
    "text/plain",
    "application/json;",
]

logging.getLogger("flask_registration.events").setLevel(logging.CRITICAL)
mailbox = site_maker()
world = World(mailbox.__enter__()(login_model=define_login, **SETTINGS))
app = world.site.app
SCHEMAS: list[Schema] = [schema for each in world.endpoints for schema in world.schemas(each)]


def seeds() -> list[bytes]:
    """Valid and invalid bodies; the first byte tells their type and the endpoint."""
    bodies = [json.dumps(world.body(each.name)).encode() for each in world.endpoints]
    bodies += [
        b'{"a": [[[{}]]]}',
        b'{"username": "\\ud800"}',
        b'{"login": "\\u0000"}',
        b'{"user_id": 1e999}',
        b"\xef\xbb\xbf{}",
    ]
    bodies += [
        b'{"login": NaN}',
        b'{"a": 1, "a": 2}',
        b"[]",
        b"{",
        json.dumps({"password": PASSWORD}).encode("utf-16"),
    ]
    return [bytes([number]) + body for number, body in enumerate(bodies)]


def kind_of(number: int) -> tuple[str, Schema]:
    """What a first byte stands for; most of them for JSON that says so."""
    kind, schema = divmod(number, len(SCHEMAS))  # each type with each schema
    return TYPES[kind % 8 if kind % 8 < len(TYPES) else 0], SCHEMAS[schema]


def run(data: bytes) -> None:
    """Load a body, and render the error if there is one."""
    content_type, schema = kind_of(data[0] if data else 0)
    with app.test_request_context("/", method="POST", data=data[1:], content_type=content_type):
        try:
            loaded = load(schema, read_body(LIMIT))
        except (ValidationError, APIError, HTTPException) as error:
            report = report_error(error)
            reply = error_response(report, error_members(report, "non_field_errors"))
            assert reply.status_code in (400, 413, 415), reply.status_code
            json.loads(reply.get_data())
            return
    assert content_type != "text/plain"
    for text in texts(loaded):
        assert "\0" not in text
        text.encode()


def texts(value: Any) -> Iterator[str]:
    """Every text in what a schema made of a body."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from texts(list(value.items()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from texts(each)
