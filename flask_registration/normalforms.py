"""The normal form of what names a user: in which it is stored, and looked up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError

from .messages import plural
from .userfields import UserFields, parse_identifier
from .users import email_key, nfkc, username_key


class NormalForms:
    """Normal forms of one model's values.

    :param test_environment: let addresses of the reserved domain ``test`` pass.
    """

    def __init__(self, fields: UserFields, *, test_environment: bool) -> None:
        self._fields = fields
        self._test_environment = test_environment
        self._username = re.compile(fields.username_pattern)

    def build(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values as they are stored.

        :raises marshmallow.ValidationError: with a message for each field that is no name or no address.
        """
        built, errors = dict(values), {}
        for field in (self._fields.username, self._fields.email):
            if field and built.get(field) is not None:
                try:
                    built[field] = self._stored(field, built[field])
                except ValueError as error:
                    errors[field] = [error.args[0]]  # which says it in other languages too
        if errors:
            raise ValidationError(errors)
        return built

    def _stored(self, field: str, value: str) -> str:
        if field == self._fields.email:
            return email_key(value, test_environment=self._test_environment)
        limit = self._fields.username_max_length
        if len(value) > limit or len(nfkc(value)) > limit:
            raise ValueError(
                plural(
                    "A username has at most {count} character.",
                    "A username has at most {count} characters.",
                    limit,
                    code="too-long",
                )
            )
        if not self._username.fullmatch(nfkc(value)):
            raise ValueError(self._fields.username_rule)
        return value if self._fields.username_key else nfkc(value)

    def lookup(self, field: str, value: str) -> tuple[str, Any] | None:
        """The column in which a field's value is looked for, and its normal form; None for what no user can have."""
        try:
            normal = self._stored(field, value) if field in (self._fields.username, self._fields.email) else value
        except ValueError:
            return None
        if field == self._fields.username and self._fields.username_key:
            return self._fields.username_key, username_key(normal)
        stored = parse_identifier(normal, self._fields.columns[field])
        return None if stored is None else (field, stored)
