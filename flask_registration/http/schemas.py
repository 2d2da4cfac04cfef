"""Make schemas from the application's user model."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from marshmallow import Schema, fields, validate
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
    TypeDecorator,
    Unicode,
    Uuid,
)

from ..auth.passwords import PASSWORD_MAX_LENGTH, TOO_LONG, is_usable
from ..state import RegistrationState
from ..users.fields import UserFields, has_default
from ..users.identifiers import integer_bits
from ..users.mixins import as_utc
from .bodies import MESSAGES, BodySchema, NewPasswordSchema, not_blank
from .bodies import Text as TextField


class ModelDateTime(fields.DateTime):
    """A time, which must exist in UTC: drivers cannot read others back."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> datetime:
        moment: datetime = super()._deserialize(value, *args, **kwargs)
        try:
            as_utc(moment)
        except OverflowError:  # before year 1 or after year 9999 in UTC
            raise self.make_error("invalid", input=value, obj_type=self.OBJ_TYPE) from None
        return moment


class ZonedDateTime(ModelDateTime):
    """A time in UTC, for a column with ``timezone=True``. SQLite and MariaDB drop the zone."""

    def _serialize(self, value: datetime | None, *args: Any, **kwargs: Any) -> Any:
        return super()._serialize(value and as_utc(value), *args, **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> datetime:
        return as_utc(super()._deserialize(value, *args, **kwargs))


class WholeNumber(fields.Integer):
    """An integer. A fraction is refused, as in Django REST framework, and not cut off."""

    def _validated(self, value: Any) -> int:
        if isinstance(value, float) and not value.is_integer():
            raise self.make_error("invalid", input=value)
        whole: int = super()._validated(value)
        return whole


class OwnKey(fields.Field[Any]):
    """A primary key of a type of the application: a number, or anything else as text."""

    def _serialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return value if value is None or isinstance(value, int) else str(value)


#: The fields of the most frequent column types.
PLAIN: dict[type[Any], type[fields.Field[Any]]] = {
    BigInteger: WholeNumber,
    Boolean: fields.Boolean,
    Date: fields.Date,
    Integer: WholeNumber,
    SmallInteger: WholeNumber,
    String: TextField,
    Text: TextField,
    Unicode: TextField,
    Uuid: fields.UUID,
}

#: The types whose values fit on one line. Types derived from them, such as ``Enum``, do as well.
LINES = (Boolean, Date, DateTime, Integer, Numeric, String, Uuid)


class ModelSchema(BodySchema):
    """A schema whose fields are all attributes of the model."""


class HasPassword(fields.Boolean):
    """Whether the hash of an account is that of a password."""

    def _serialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return is_usable(value)


def profile_schema(
    user: UserFields, *, with_key: bool = True, has_password: bool = False
) -> type[Schema]:
    """Return the schema of a user's profile. Fields that the user cannot change are read-only.

    :param with_key: include the primary key.
    :param has_password: include whether the account has a password.
    """
    names = [name for name in user.shown if with_key or name != user.pk]
    declared: dict[str, Any] = {name: _field(user, name) for name in names}
    for name in set(names) - set(user.editable):
        declared[name].dump_only = True
    if not with_key:  # shown before the row exists, without the defaults that the database sets
        for name in names:
            declared[name].allow_none |= user.columns[name].server_default is not None
    if has_password:
        declared["has_password"] = HasPassword(attribute=user.password, dump_only=True)
    return ModelSchema.from_dict(declared, name="Profile" if with_key else "Registered")


def shown_profile_schema(state: RegistrationState) -> type[Schema]:
    """Return the schema that shows a profile."""
    has_password = state.provided("makes_passwordless_accounts") is not None
    return profile_schema(state.fields, has_password=has_password)


def register_schema(
    state: RegistrationState, *, password_confirm: bool, base: type[Schema] | None = None
) -> type[Schema]:
    """Return the schema of a registration, which validates the columns' lengths and types.

    :param base: the schema of the application in its place. It gets the fields of other flows, too.
    """
    user = state.fields
    added: dict[str, Any] = {}
    for fields_of in state.all_provided("registration_fields"):
        added |= fields_of(state)
    if base:
        return base.from_dict(added, name=base.__name__) if added else base
    declared: dict[str, Any] = {name: _field(user, name) for name in user.writable}
    for name in user.login:
        declared[name].required = True
        declared[name].allow_none = False
    declared |= {**_passwords(password_confirm), **added}
    return BodySchema.from_dict(declared, name="Registration")


def account_columns_schema(user: UserFields) -> type[Schema]:
    """Return the schema of what an administrator may set for a new account.

    It has the columns whose values fit on one line, except those that the extension sets.
    """
    others = [name for name in user.columns if name not in user.system]
    declared: dict[str, Any] = {
        name: _field(user, name)
        for name in dict.fromkeys([*user.writable, *others])
        if isinstance(user.columns[name].type, LINES)
    }
    for name in user.login:
        declared[name].required = True
    return BodySchema.from_dict(declared, name="AccountColumns")


def new_password_schema(*, password_confirm: bool, **declared: Any) -> type[Schema]:
    """Return the schema of a request body with a new password and other fields.

    :param password_confirm: require the password twice.
    """
    return NewPasswordSchema.from_dict(
        {**declared, **_passwords(password_confirm)}, name="NewPassword"
    )


def password_field(*, required: bool = True, new: bool = False) -> fields.Field[Any]:
    """Return the field of a password. It limits the length before other code uses the password.

    :param new: whether the policy for new passwords applies.
    """
    validators: list[Any] = [not_blank, validate.Length(max=PASSWORD_MAX_LENGTH, error=TOO_LONG)]
    metadata = {"format": "password", "is_new": new}
    return TextField(required=required, load_only=True, validate=validators, metadata=metadata)


class PasswordSchema(BodySchema):
    """The password, unless the login is fresh."""

    password: fields.Field[Any] = password_field(required=False)


def _passwords(confirm: bool) -> dict[str, fields.Field[Any]]:
    names = ["password", "password_confirm"] if confirm else ["password"]
    return {name: password_field(new=True) for name in names}


def _field(user: UserFields, name: str) -> fields.Field[Any]:
    """Return the field for a column, with the limits of the databases."""
    column = user.columns[name]
    if name == user.pk and name not in user.login and isinstance(column.type, TypeDecorator):
        return OwnKey(dump_only=True)
    field = column_field(column)
    if isinstance(field, TextField):
        field.trim = name in (*user.login, user.email, user.username)
    if name in (*user.login, user.email):
        field.validators.insert(0, not_blank)
    if name == user.email:
        field.metadata = {**field.metadata, "format": "email"}
    elif name == user.username:
        field.metadata = {**field.metadata, "description": user.username_rule}
    if isinstance(column.type, Integer):
        bits = integer_bits(column.type)
        field.validators.append(validate.Range(-(2**bits), 2**bits - 1))
    return field


def column_field(column: Column[Any]) -> fields.Field[Any]:
    """Return the field of marshmallow-sqlalchemy for a column.

    The package is imported for rare types only. It imports three dialects of SQLAlchemy, which
    takes 5 MiB, and a third of the time to import the extension.
    """
    plain = PLAIN.get(type(column.type))
    if isinstance(column.type, DateTime):  # a TIMESTAMP, too
        plain = ZonedDateTime if column.type.timezone else ModelDateTime
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
