"""Which column of the application's model is which, and what clients may do with it."""

from __future__ import annotations

import inspect
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Integer, SmallInteger, UniqueConstraint, Uuid
from sqlalchemy import inspect as sqlalchemy_inspect

from .messages import Message
from .users import username_key

#: Letters and digits of every script; no ``@``, so that no username can pose as an e-mail address.
USERNAME_PATTERN = r"[\w.+-]+"


@dataclass(frozen=True, kw_only=True)
class UserFields:
    """The names of a model's attributes, resolved; ``None`` where the model has no such column.

    :ivar public: what the profile shows and a registration may set, beside ``login`` and ``email``.
    :ivar changeable: what its owner may change.
    :ivar hidden: neither, whatever else names it.
    """

    model: type[Any]
    columns: Mapping[str, Column[Any]]
    pk: str
    verification_id: str
    email: str | None
    username: str | None
    username_key: str | None
    password: str
    verified: str | None
    active: str | None
    stamp: str | None
    login: tuple[str, ...]
    public: tuple[str, ...]
    changeable: tuple[str, ...]
    hidden: tuple[str, ...]
    username_pattern: str

    @property
    def id_column(self) -> Column[Any]:
        return self.columns[self.verification_id]

    @cached_property
    def joined(self) -> str | None:
        """The column of the time at which somebody registered, in UTC."""
        there = "date_joined" in self.columns and isinstance(self.columns["date_joined"].type, DateTime)
        return "date_joined" if there else None

    @cached_property
    def system(self) -> frozenset[str]:
        """The columns that no body ever sets."""
        named = (
            self.pk,
            self.verification_id,
            self.username_key,
            self.password,
            self.verified,
            self.active,
            self.stamp,
        )
        return frozenset({*filter(None, named), "date_joined", "last_login"} - set(self.login))

    @cached_property
    def secret(self) -> frozenset[str]:
        """The columns that no profile ever shows."""
        return frozenset(filter(None, [self.password, self.stamp]))

    @cached_property
    def listed(self) -> tuple[str, ...]:
        """What makes a user, in the order of a profile."""
        identity = [*self.login, *filter(None, [self.email])]
        allowed = [name for name in (*self.public, *self.changeable) if name not in self.hidden]
        return tuple(dict.fromkeys([*identity, *allowed]))

    @cached_property
    def shown(self) -> tuple[str, ...]:
        """The columns of a profile."""
        kept_back = self.secret | (set(self.hidden) - set(self.login))
        return tuple(name for name in dict.fromkeys([self.pk, *self.listed]) if name not in kept_back)

    @cached_property
    def writable(self) -> tuple[str, ...]:
        """The columns that a registration may set."""
        return tuple(name for name in self.listed if name not in self.system)

    @cached_property
    def editable(self) -> tuple[str, ...]:
        """The columns that their owner may change."""
        fixed = {*self.system, *self.hidden, self.email}
        return tuple(name for name in self.changeable if name not in fixed)

    @cached_property
    def unique(self) -> tuple[str, ...]:
        """The columns whose value no two users share, each by itself."""
        return tuple(name for name, column in self.columns.items() if is_unique(column))

    @cached_property
    def personal(self) -> tuple[str, ...]:
        """The columns whose text makes a poor password."""
        names = [*self.login, self.email, self.username, "first_name", "last_name"]
        return tuple(name for name in dict.fromkeys(names) if name and name in self.columns)

    @cached_property
    def arguments(self) -> tuple[frozenset[str], bool]:
        """The names that the model's constructor declares, and whether it takes any other."""
        parameters = inspect.signature(self.model).parameters
        return frozenset(parameters), any(each.kind is each.VAR_KEYWORD for each in parameters.values())

    @cached_property
    def username_max_length(self) -> int:
        column = self.columns[self.username or self.login[0]]
        return int(getattr(column.type, "length", None) or 150)

    def named(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values by the model's own names instead of :class:`UserState`'s; what it has no column for is left out."""
        names = {
            "email": self.email,
            "password_hash": self.password,
            "is_verified": self.verified,
            "is_active": self.active,
            "security_stamp": self.stamp,
            "last_login": "last_login" if "last_login" in self.columns else None,
        }
        columns = {name: value for role, value in values.items() if (name := names.get(role, role))}
        if self.username_key and columns.get(self.username or "") is not None:
            columns[self.username_key] = username_key(columns[self.username or ""])
        return columns

    @property
    def username_rule(self) -> str:
        if self.username_pattern == USERNAME_PATTERN:
            return Message("A username is made of letters, digits and the characters . + - _ only.")
        return Message("This username has characters that are not allowed.")

    @property
    def unsettable(self) -> list[str]:
        """The columns that must have a value, but that no registration sets."""
        ours = (self.password, self.verified, self.stamp, self.username_key)
        kind = sqlalchemy_inspect(self.model).polymorphic_on  # which SQLAlchemy sets by the class
        return [
            name
            for name, column in self.columns.items()
            if not (column.nullable or column is kind or name in (*self.writable, *ours) or has_default(column))
        ]


def parse_identifier(text: str, column: Column[Any]) -> Any:
    """The text as the column's type has it; None for what no row can have.

    Databases refuse numbers out of their range, and some of them NUL, with an error, so they are not asked.
    """
    if len(text) > 255 or "\0" in text:
        return None
    if isinstance(column.type, Integer):
        bits = integer_bits(column.type)
        digits = re.fullmatch("-?[0-9]{1,19}", text)
        return int(text) if digits and abs(int(text)) < 2**bits else None
    if isinstance(column.type, Uuid):
        try:
            parsed = uuid.UUID(text)
        except ValueError:
            return None
        return parsed if column.type.as_uuid else str(parsed)
    return text


def integer_bits(kind: Integer) -> int:
    """How many bits beside the sign an integer column has on every database."""
    return 63 if isinstance(kind, BigInteger) else 15 if isinstance(kind, SmallInteger) else 31


def has_default(column: Column[Any]) -> bool:
    """Whether a row can be inserted without this column."""
    automatic = column.table is not None and column is column.table.autoincrement_column
    return bool(automatic or column.default or column.server_default or column.identity or column.computed)


def is_unique(column: Column[Any]) -> bool:
    """Whether no two rows share this column's value, by a constraint or an index on it alone and on all rows."""
    table = column.table
    keys = [list(table.primary_key.columns)]
    keys += [list(each.columns) for each in table.constraints if isinstance(each, UniqueConstraint)]
    keys += [list(each.columns) for each in table.indexes if each.unique and not _is_partial(each)]
    return [column] in keys


def _is_partial(index: Any) -> bool:
    return any(options.get("where") is not None for options in index.dialect_options.values())
