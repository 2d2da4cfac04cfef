"""Check the user model, and the settings that name its columns."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sqlalchemy import Column, TypeDecorator
from sqlalchemy.types import TypeEngine

from ..checks import Finding
from ..settings import setting_name
from .fields import (
    AUTOMATIC,
    DEFAULT_ACTIVE,
    DEFAULT_STAMP,
    UserFields,
    UserSettings,
    has_own,
    model_columns,
)
from .stamps import STAMP_LENGTH, UserSnapshot
from .unique_keys import unique_columns


def check_model(model: Any, settings: UserSettings, fields: UserFields | None) -> Iterator[Finding]:
    """Report what is wrong with the user model, and with the settings that name its columns."""
    columns = model_columns(model)
    if model is None:
        yield Finding(
            "registration.E012",
            "user_model",
            "is missing. It has the columns of the accounts.",
            "Pass your model: registration.init_app(app, user_model=User).",
        )
    elif columns is None:
        yield Finding(
            "registration.E013",
            "user_model",
            f"is {model!r}, but must be an SQLAlchemy model. Accounts are stored in its table.",
            "Derive it from db.Model.",
        )
    else:
        count = sum(column.primary_key for column in columns.values())
        if count != 1:
            yield Finding(
                "registration.E014",
                "user_model",
                f"must have exactly one primary key column; {model.__name__} has {count}. "
                "Links and sessions name an account by one value.",
                "Make one column the primary key, and the others unique together.",
            )
        yield from _missing_columns(model, columns, settings, fields)
        yield from _wrong_activity(model, columns, settings)
        if fields:
            yield from _wrong_columns(fields, settings)


def _missing_columns(
    model: type[Any],
    columns: Mapping[str, Column[Any]],
    settings: UserSettings,
    fields: UserFields | None,
) -> Iterator[Finding]:
    verification_id, stamp = settings.user_verification_id_field, settings.user_security_stamp_field
    named: dict[str, Collection[str] | None] = {
        "REGISTRATION_USER_LOGIN_FIELDS": settings.user_login_fields,
        "REGISTRATION_USER_PUBLIC_FIELDS": settings.user_public_fields,
        "REGISTRATION_USER_EDITABLE_FIELDS": settings.user_editable_fields,
        "REGISTRATION_USER_HIDDEN_FIELDS": settings.user_hidden_fields,
        "REGISTRATION_USER_PASSWORD_FIELD": [settings.user_password_field],
        "REGISTRATION_USER_VERIFICATION_ID_FIELD": (
            None if verification_id == "pk" else [verification_id]
        ),
        "REGISTRATION_USER_SECURITY_STAMP_FIELD": None if stamp == DEFAULT_STAMP else [stamp],
    }
    allowed = _allowed_columns(columns, settings, fields)
    for key, names in named.items():
        for name in names or ():
            if name not in columns:
                available = ", ".join(allowed.get(key) or columns)
                yield Finding(
                    "registration.E015",
                    setting_name(key, model),
                    f"names {name!r}, which is not a column of {model.__name__}. "
                    "The setting has no effect without it.",
                    f"Add the column, or name one of {available}.",
                )


def _allowed_columns(
    columns: Mapping[str, Column[Any]], settings: UserSettings, fields: UserFields | None
) -> dict[str, list[str]]:
    """Return the columns that each list of columns may name without another finding."""
    key = "username_key"
    system = {
        *(fields.system if fields else ()),
        *(name for name, column in columns.items() if column.primary_key),
        settings.user_password_field,
        settings.user_security_stamp_field,
        settings.user_verification_flag_field,
        settings.user_active_field,
        key,
        *AUTOMATIC,
    }
    others = [name for name in columns if name not in system]
    unique = unique_columns(columns)
    if key in unique:
        unique |= {"username"}
    return {
        "REGISTRATION_USER_LOGIN_FIELDS": [name for name in others if name in unique],
        "REGISTRATION_USER_PUBLIC_FIELDS": others,
        "REGISTRATION_USER_EDITABLE_FIELDS": others,
        "REGISTRATION_USER_HIDDEN_FIELDS": others,
    }


def _wrong_activity(
    model: type[Any], columns: Mapping[str, Column[Any]], settings: UserSettings
) -> Iterator[Finding]:
    active, model_name = settings.user_active_field, model.__name__
    if active != DEFAULT_ACTIVE and not has_own(model, active):
        available = ", ".join(columns)
        yield Finding(
            "registration.E044",
            setting_name("REGISTRATION_USER_ACTIVE_FIELD", model),
            f"names {active!r}, which {model_name} does not have. No account is suspended.",
            f"Add a column or a property, or name one of {available}.",
        )
    for name in dict.fromkeys([active, DEFAULT_ACTIVE]):
        if inspect.isfunction(inspect.getattr_static(model, name, None)):
            yield Finding(
                "registration.E045",
                f"{model_name}.{name}",
                "is a method, but Flask-Login reads an attribute. No account is suspended.",
                "Decorate it with @property.",
            )
    if active == settings.user_verification_flag_field and active in columns:
        yield Finding(
            "registration.E046",
            setting_name("REGISTRATION_USER_VERIFICATION_FLAG_FIELD", model),
            f"is {active!r}, which is also the column of suspended accounts. "
            "A link does not verify a suspended account.",
            "Use two columns: one for the verification, and one for the suspension.",
        )


def _wrong_columns(fields: UserFields, settings: UserSettings) -> Iterator[Finding]:
    model_name = fields.model.__name__
    for name in fields.named(dict.fromkeys([*UserSnapshot._fields, "last_login"])):
        if fields.columns[name].table is not fields.table:
            yield Finding(
                "registration.E052",
                f"{model_name}.{name}",
                f"is not in the table {fields.table.name!r}, which has the password hash. "
                "One UPDATE must compare both.",
                "Declare the columns of the account in one class: the base or the subclass.",
            )
    yield from _wrong_types(fields)
    for name in settings.user_editable_fields or ():
        if name in (*fields.system, fields.verification_id):
            yield Finding(
                "registration.E018",
                setting_name("REGISTRATION_USER_EDITABLE_FIELDS", fields.model),
                f"lists {name!r}, but {name!r} must not be set by clients. "
                "Users could change the rights or the identity of their account.",
                "Remove it from the list.",
            )
    for name in settings.user_public_fields or ():
        if name in fields.secret:
            yield Finding(
                "registration.E017",
                setting_name("REGISTRATION_USER_PUBLIC_FIELDS", fields.model),
                f"lists {name!r}, but {name!r} is a secret. The profile would show it.",
                "Remove it from the list.",
            )
    identifying = [("REGISTRATION_USER_VERIFICATION_ID_FIELD", fields.verification_id)]
    if settings.user_login_fields_unique_check_enabled:
        identifying += [("REGISTRATION_USER_LOGIN_FIELDS", name) for name in fields.login]
    for key, name in identifying:
        name = (name == fields.username and fields.username_key) or name
        if name not in fields.unique:
            column = f"{fields.model.__name__}.{name}"
            yield Finding(
                "registration.E016",
                setting_name(key, fields.model),
                f"names {column}, but {column} has no unique constraint. "
                "A value must identify one account.",
                "Declare it with mapped_column(..., unique=True).",
            )


def _wrong_types(fields: UserFields) -> Iterator[Finding]:
    model_name = fields.model.__name__
    for name in filter(None, [fields.password, fields.stamp, fields.email, fields.username]):
        kind = fields.columns[name].type
        length = getattr(kind, "length", None)
        is_short = name == fields.stamp and length is not None and length < STAMP_LENGTH
        if is_short or _python_type(kind) not in (str, object):
            yield Finding(
                "registration.E053",
                f"{model_name}.{name}",
                f"is of the type {kind!r}, which cannot store the text that it must have. "
                "Every registration would fail.",
                "Declare it with mapped_column(String(255)).",
            )
    verification_id = fields.verification_id
    if _python_type(fields.columns[verification_id].type) is bytes:
        yield Finding(
            "registration.E054",
            f"{model_name}.{verification_id}",
            "is of bytes, which links and sessions cannot contain. Every link would be invalid.",
            "Use the type Uuid, or a TypeDecorator that makes a UUID or a text of the bytes.",
        )


def _python_type(kind: TypeEngine[Any]) -> Any:
    """Return the type of a column's values; ``object`` if only the application knows it."""
    try:
        return object if isinstance(kind, TypeDecorator) else kind.python_type
    except NotImplementedError:  # a type that does not say it
        return object
