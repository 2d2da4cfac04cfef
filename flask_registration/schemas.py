"""Schemas made from the application's model: what a registration may say, what a profile shows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Integer,
    Numeric,
    SmallInteger,
    String,
    Text,
    Unicode,
    Uuid,
)

from .messages import Message
from .models import as_utc
from .passwords import PASSWORD_MAX_LENGTH, TOO_LONG
from .userfields import UserFields, has_default, integer_bits
from .web import MESSAGES, BodySchema, not_blank
from .web import Text as TextField


class ZonedDateTime(fields.DateTime):
    """A time in UTC, of a column with ``timezone=True``: SQLite and MariaDB would drop another zone."""

    def _serialize(self, value: datetime | None, *args: Any, **kwargs: Any) -> Any:
        return super()._serialize(value and as_utc(value), *args, **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> datetime:
        moment: datetime = super()._deserialize(value, *args, **kwargs)
        try:
            return as_utc(moment)
        except OverflowError:  # beyond the last year there
            raise self.make_error("invalid", input=value, obj_type=self.OBJ_TYPE) from None


#: The types of most columns, and what they are in a body.
PLAIN: dict[type[Any], type[fields.Field[Any]]] = {
    BigInteger: fields.Integer,
    Boolean: fields.Boolean,
    Date: fields.Date,
    DateTime: fields.DateTime,
    Integer: fields.Integer,
    SmallInteger: fields.Integer,
    String: fields.String,
    Text: fields.String,
    Unicode: fields.String,
    Uuid: fields.UUID,
}

#: The types that can be written on one line; those made of these, such as an ``Enum``, among them.
LINES = (Boolean, Date, DateTime, Integer, Numeric, String, Uuid)


class ModelSchema(BodySchema):
    """A schema that dumps every one of its fields, since all are attributes of the model."""


def profile_schema(user: UserFields, *, with_key: bool = True) -> type[Schema]:
    """A user as the API shows them, and what of it their owner may change.

    :param with_key: show the primary key too.
    """
    names = [name for name in user.shown if with_key or name != user.pk]
    declared: dict[str, Any] = {name: _field(user, name) for name in names}
    for name in set(names) - set(user.editable):
        declared[name].dump_only = True
    if not with_key:  # shown before the row is there: what only the database knows is missing yet
        for name in names:
            declared[name].allow_none = declared[name].allow_none or user.columns[name].server_default is not None
    return ModelSchema.from_dict(declared, name="Profile" if with_key else "Registered")


def register_schema(user: UserFields, *, password_confirm: bool) -> type[Schema]:
    """The body of a registration, with the columns' lengths, types and nullability as validators."""
    declared: dict[str, Any] = {name: _field(user, name) for name in user.writable}
    for name in user.login:
        declared[name].required = True
        declared[name].allow_none = False
    return BodySchema.from_dict({**declared, **_passwords(password_confirm)}, name="Registration")


def account_columns_schema(user: UserFields) -> type[Schema]:
    """What an administrator may say of a new account: each column that has one line, but those that are our own."""
    others = [name for name in user.columns if name not in (*user.system, *user.writable)]
    names = [name for name in (*user.writable, *others) if isinstance(user.columns[name].type, LINES)]
    declared: dict[str, Any] = {name: _field(user, name) for name in names}
    for name in user.login:
        declared[name].required = True
    return BodySchema.from_dict(declared, name="AccountColumns")


def new_password_schema(*, password_confirm: bool, **declared: Any) -> type[Schema]:
    """A body with a new password, typed twice on demand, beside other fields."""
    return _NewPassword.from_dict({**declared, **_passwords(password_confirm)}, name="NewPassword")


def password_field(*, required: bool = True, new: bool = False) -> fields.Field[Any]:
    """A password in a body: its length is bounded before anything else looks at it.

    :param new: the policy for new passwords will look at it.
    """
    bound = validate.Length(max=PASSWORD_MAX_LENGTH, error=TOO_LONG)
    metadata = {"format": "password", "is_new": new}
    return TextField(required=required, load_only=True, validate=[not_blank, bound], metadata=metadata)


def check_confirmation(data: Mapping[str, Any]) -> None:
    """Compare the two passwords of a body, where it has two.

    :raises marshmallow.ValidationError: they differ.
    """
    if data.get("password_confirm", data.get("password")) != data.get("password"):
        raise ValidationError({"password_confirm": [Message("The two passwords do not match.", code="mismatch")]})


class _NewPassword(BodySchema):
    @validates_schema
    def _passwords_match(self, data: dict[str, Any], **kwargs: Any) -> None:
        check_confirmation(data)


def _passwords(confirm: bool) -> dict[str, fields.Field[Any]]:
    return {name: password_field(new=True) for name in ["password", *(["password_confirm"] if confirm else [])]}


def _field(user: UserFields, name: str) -> fields.Field[Any]:
    """The field for a column, with bounds where the database has some."""
    column = user.columns[name]
    field = column_field(column)
    if name in (*user.login, user.email):
        field.validators.insert(0, not_blank)
    if name == user.email:
        field.metadata = {**field.metadata, "format": "email"}
    elif name == user.username:
        field.metadata = {**field.metadata, "description": user.username_rule}
    if isinstance(column.type, Integer):
        bits = integer_bits(column.type)
        field.validators.append(validate.Range(-(2**bits), 2**bits - 1))
    if isinstance(column.type, DateTime):
        field.validators.append(_in_the_calendar)
    return field


def column_field(column: Column[Any]) -> fields.Field[Any]:
    """A column as marshmallow-sqlalchemy has it, which is imported for rare types only.

    (It imports three dialects of SQLAlchemy: a third of the time that importing us would take, and 5 MiB.)
    """
    has_zone = isinstance(column.type, DateTime) and column.type.timezone  # a TIMESTAMP's too
    plain = ZonedDateTime if has_zone else PLAIN.get(type(column.type))
    if plain is not None:
        length = getattr(column.type, "length", None)
        return plain(
            required=not (column.nullable or has_default(column)),
            allow_none=bool(column.nullable),
            validate=[] if length is None else [validate.Length(max=length)],
            error_messages=MESSAGES,
        )
    from marshmallow_sqlalchemy import ModelConverter

    field: fields.Field[Any] = ModelConverter().column2field(column, error_messages=MESSAGES)
    return field


def _in_the_calendar(value: datetime | None) -> None:
    """Refuse a time that no other time zone has: drivers cannot read it back."""
    try:
        if value is not None and value.tzinfo is not None:
            value.astimezone(timezone.utc)
    except OverflowError:
        raise ValidationError(Message("Not a valid datetime.")) from None
