"""What the ``USER_`` settings say of the application's model, checked once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column
from sqlalchemy import inspect as sqlalchemy_inspect
from sqlalchemy.exc import NoInspectionAvailable

from .models import EmailUserMixin
from .settings import PREFIX, Settings, SettingsReader, setting
from .userfields import USERNAME_PATTERN, UserFields

DEFAULT_STAMP = "security_stamp"


@dataclass(frozen=True, kw_only=True)
class UserSettings(Settings):
    """The user model. (Those with ``USER_`` may also stand on the model class, without it.)"""

    user_login_fields: tuple[str, ...] = setting(
        ("username",), "The columns by which somebody logs in. Each needs a unique constraint."
    )
    user_login_fields_unique_check_enabled: bool = setting(
        True, "Whether a login field without a unique constraint is a configuration error."
    )
    user_public_fields: tuple[str, ...] | None = setting(
        None,
        "Columns that the profile shows and that a registration may set, beside the login fields and the address.",
        default_text="first_name and last_name with UserMixin or EmailUserMixin, else none",
    )
    user_editable_fields: tuple[str, ...] | None = setting(
        None,
        "Columns that their owner may change later; the address never, it moves by `register-email`.",
        default_text="the login fields and the public ones",
    )
    user_hidden_fields: tuple[str, ...] = setting(
        (),
        "Columns that the schemas made from the model neither show nor set, whatever list names them. A login field "
        "stays, and a registration still takes the address.",
    )
    user_email_field: str = setting("email", "The column of the e-mail address.")
    user_password_field: str = setting("password_hash", "The column of the password's hash.")
    user_verification_id_field: str = setting(
        "pk",
        "The column that names a user in a mailed link; it must be unique and never change. `pk` is the primary key.",
    )
    user_verification_flag_field: str = setting(
        "is_verified", "The column that says whether the address has been proven."
    )
    user_security_stamp_field: str = setting(
        DEFAULT_STAMP,
        "The column of random bits that ends sessions, tokens and links when it changes. "
        "A model without it uses the password's hash instead.",
    )
    username_pattern: str = setting(
        USERNAME_PATTERN, "The regular expression that a whole username must match in its NFKC form."
    )


class _ModelReader:
    """Looks the settings' names up in the model, and notes those that it does not have."""

    def __init__(self, model: type[Any], columns: dict[str, Column[Any]], reader: SettingsReader) -> None:
        self._model = model
        self._columns = columns
        self._reader = reader

    def need(self, name: str, key: str) -> str | None:
        """The column of this name, whose absence is a problem."""
        if name in self._columns:
            return name
        has = ", ".join(self._columns)
        self.problem(key, f"names {name!r}, which {self._model.__name__} has not: its columns are {has}.")
        return None

    def may(self, name: str) -> str | None:
        """The column of this name, if there is one."""
        return name if name in self._columns else None

    def all(self, names: Sequence[str], key: str) -> tuple[str, ...]:
        """Those of the names that are columns; the absence of the others is a problem."""
        return tuple(name for name in names if self.need(name, key))

    def problem(self, key: str, cure: str) -> None:
        self._reader.problem(PREFIX + key, cure)


def resolve(model: type[Any] | None, settings: UserSettings, reader: SettingsReader) -> UserFields | None:
    """The fields of a model, or None; problems are noted with the reader."""
    if model is None:
        reader.problem("user_model", "is missing: pass your model, registration.init_app(app, user_model=User).")
        return None
    try:
        mapper = sqlalchemy_inspect(model)
    except NoInspectionAvailable:
        reader.problem("user_model", f"is {model!r}, which is not a mapped class: derive it from db.Model.")
        return None
    columns = {name: column for name, column in mapper.columns.items() if isinstance(column, Column)}
    keys = [name for name, column in columns.items() if column.primary_key]
    if len(keys) != 1:
        reader.problem(
            "user_model", f"is {model.__name__}, with {len(keys)} primary key columns: it needs exactly one."
        )
    found = _ModelReader(model, columns, reader)
    login = found.all(settings.user_login_fields, "USER_LOGIN_FIELDS")
    id_field = settings.user_verification_id_field
    verification_id = keys[0] if id_field == "pk" else found.need(id_field, "USER_VERIFICATION_ID_FIELD")
    password = found.need(settings.user_password_field, "USER_PASSWORD_FIELD")
    if not settings.user_login_fields:
        found.problem("USER_LOGIN_FIELDS", "is empty: name the columns by which somebody logs in.")
    if not (login and verification_id and password):
        return None
    stamp = settings.user_security_stamp_field
    names = [name for name in ("first_name", "last_name") if issubclass(model, EmailUserMixin) and name in columns]
    public, editable = settings.user_public_fields, settings.user_editable_fields
    shown = tuple(names) if public is None else found.all(public, "USER_PUBLIC_FIELDS")
    fields = UserFields(
        model=model,
        columns=columns,
        pk=keys[0],
        verification_id=verification_id,
        email=found.may(settings.user_email_field),
        username=found.may("username"),
        username_key=found.may("username_key"),
        password=password,
        verified=found.may(settings.user_verification_flag_field),
        active=found.may("is_active"),
        stamp=found.may(stamp) if stamp == DEFAULT_STAMP else found.need(stamp, "USER_SECURITY_STAMP_FIELD"),
        login=login,
        public=shown,
        changeable=(*login, *shown) if editable is None else found.all(editable, "USER_EDITABLE_FIELDS"),
        hidden=found.all(settings.user_hidden_fields, "USER_HIDDEN_FIELDS"),
        username_pattern=settings.username_pattern,
    )
    _check(fields, settings, found)
    return fields


def _check(fields: UserFields, settings: UserSettings, found: _ModelReader) -> None:
    for name in settings.user_editable_fields or ():
        if name in fields.system:
            found.problem("USER_EDITABLE_FIELDS", f"names {name!r}, which no client may set: take it off the list.")
    if fields.verification_id not in fields.unique:
        wrong = f"names {fields.verification_id!r}, which has no unique constraint"
        found.problem("USER_VERIFICATION_ID_FIELD", f"{wrong}: declare it with mapped_column(..., unique=True).")
    for name in settings.user_public_fields or ():
        if name in fields.secret:
            found.problem("USER_PUBLIC_FIELDS", f"names {name!r}, which is a secret: take it off the list.")
    for name in fields.login if settings.user_login_fields_unique_check_enabled else ():
        compared = (name == fields.username and fields.username_key) or name
        if compared not in fields.unique:
            found.problem(
                "USER_LOGIN_FIELDS",
                f"names {name!r}, but {fields.model.__name__}.{compared} has no unique constraint: "
                f"declare it with mapped_column(..., unique=True).",
            )
    try:
        re.compile(settings.username_pattern)
    except re.error as error:
        found.problem("USERNAME_PATTERN", f"is no regular expression: {error}.")
