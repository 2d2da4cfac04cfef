"""Compose every e-mail that a configuration sends, about a user who does not exist. Nothing is sent or stored."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from sqlalchemy import Boolean, Column, Date, DateTime, Integer, String, Uuid

from .auth.links import Links, LinkSettings
from .http.flow import MailExample
from .mail.message import Mail
from .state import RegistrationState
from .users.fields import UserFields, has_default
from .users.mixins import utc_now
from .users.store import User

ADDRESS = "alice@example.com"
NAMES = {"username": "alice", "first_name": "Alice", "last_name": "Liddell"}
TEXT = "Example"


class Example(NamedTuple):
    """An e-mail that this configuration sends.

    :ivar name: the name of its kind.
    :ivar mail: None if it could not be composed; ``error`` says why.
    """

    name: str
    to: str
    when: str
    mail: Mail | None
    error: Exception | None


def examples(state: RegistrationState) -> Iterator[Example]:
    """Yield every e-mail that this configuration sends, with the application's own templates and hooks."""
    key = secrets.token_bytes()  # a key of its own: no link is valid
    build_url = state.group(LinkSettings).verification_url_builder
    state = replace(state, links=Links(lambda: [key], state.users, build_url))
    for example in declared(state):
        if example.enabled(state):
            yield _compose(state, example)


def declared(state: RegistrationState) -> list[MailExample]:
    """Return the e-mails of all flows, sent or not."""
    return [example for flow in state.flows for example in flow.examples]


def _compose(state: RegistrationState, example: MailExample) -> Example:
    try:
        mail = example.compose(state, example_user(state))
    except Exception as error:  # of the application's templates and hooks
        return Example(example.name, example.to, example.when, None, error)
    return Example(mail.template, example.to, example.when, mail, None)


def example_user(state: RegistrationState) -> User:
    """Return a user that is not stored."""
    fields = state.fields
    ours = {fields.username_key, fields.password, fields.verified, fields.stamp}
    values = {
        name: _example_value(fields, name, column)
        for name, column in fields.columns.items()
        if name not in ours
        and (name in fields.listed or name == fields.active or not has_default(column))
    }
    given = {name: value for name, value in values.items() if value is not None}
    user = state.users.create(state.users.build(given), password_hash="!", verified=True)  # noqa: S106 -- no password
    for name in {fields.pk, fields.verification_id}:
        if getattr(user, name) is None:
            setattr(user, name, _example_value(fields, name, fields.columns[name]))
    return user


def _example_value(fields: UserFields, name: str, column: Column[Any]) -> Any:
    if name in (fields.email, fields.active):
        return ADDRESS if name == fields.email else True
    kind = column.type
    if isinstance(kind, String):
        text = NAMES.get(name, NAMES["username"] if name in fields.login else TEXT)
        return getattr(kind, "enums", [text])[0][: kind.length]
    if column.nullable:
        return None
    samples: list[tuple[type[Any], Callable[[], Any]]] = [
        (Boolean, lambda: False),
        (Integer, lambda: 1),
        (DateTime, utc_now),
        (Date, lambda: utc_now().date()),
        (
            Uuid,
            lambda: (
                kind.python_type(bytes=bytes(16)) if getattr(kind, "as_uuid", False) else "0" * 32
            ),
        ),
    ]
    return next((make() for sample, make in samples if isinstance(kind, sample)), None)
