"""Find the columns of the application's user model, and decide what clients may do with them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import flask_login
from sqlalchemy import Column, DateTime
from sqlalchemy import inspect as sqlalchemy_inspect
from sqlalchemy.orm import Mapper

from ..i18n.messages import Message
from ..settings import Settings, not_empty, setting
from .identifiers import EMAIL_OPTIONS, NOT_ALLOWED
from .mixins import EmailUserMixin
from .reserved import reserved_names
from .stamps import UserSnapshot
from .unique_keys import unique_columns, unique_keys

#: Columns that the mixins set.
AUTOMATIC = ("date_joined", "last_login", "username_skeleton")

#: Letters, digits and marks of every script. No ``@``, so that no username looks like an e-mail
#: address.
USERNAME_PATTERN = r"[\w.+-]+"


@dataclass(frozen=True, kw_only=True)
class UserFields:
    """The names of a model's columns; ``None`` if the model has no such column.

    :ivar activity: attributes that are all true unless the account is suspended. Some may be no
        columns, but properties or hybrids.
    :ivar public: shown in the profile and set at registration, as ``login`` and ``email`` are.
    :ivar changeable: columns that the user may change.
    :ivar hidden: columns that clients neither see nor set, even if another list names them.
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
    activity: tuple[str, ...]
    stamp: str | None
    login: tuple[str, ...]
    public: tuple[str, ...]
    changeable: tuple[str, ...]
    hidden: tuple[str, ...]
    username_pattern: str

    @cached_property
    def joined(self) -> str | None:
        """Return the column with the time of the registration, in UTC."""
        column = self.columns.get("date_joined")
        is_time = column is not None and isinstance(column.type, DateTime)
        return "date_joined" if is_time else None

    @property
    def needs_approval(self) -> bool:
        """Return whether the model has the columns of the flow ``approval``."""
        return NOT_REJECTED in self.activity

    @cached_property
    def table(self) -> Any:
        """Return the table with the password hash; a subclass may have columns in several ones."""
        return self.columns[self.password].table

    @cached_property
    def table_key(self) -> Any:
        """Return the column of the primary key in :attr:`table`."""
        same = sqlalchemy_inspect(self.model).attrs[self.pk].columns
        return next((each for each in same if each.table is self.table), None)

    @cached_property
    def system(self) -> frozenset[str]:
        """Return the columns that no request body sets."""
        named = (
            self.pk,
            self.verification_id,
            self.username_key,
            self.password,
            self.verified,
            self.active,
            self.stamp,
        )
        decisions = ("approved_at", "rejected_at") if self.needs_approval else ()
        deletion = ("delete_after",) if self.can_wait else ()
        others = {*filter(None, named), *decisions, *deletion, *AUTOMATIC}
        return frozenset(others - set(self.login))

    @property
    def can_wait(self) -> bool:
        """Return whether the model has ``DeletionMixin``, not just a column of the same name."""
        return KEPT in self.activity

    @cached_property
    def secret(self) -> frozenset[str]:
        """Return the columns that no profile shows."""
        return frozenset(filter(None, [self.password, self.stamp]))

    @cached_property
    def listed(self) -> tuple[str, ...]:
        """Return the columns that describe a user, in the order of the profile."""
        identity = [*self.login, *filter(None, [self.email])]
        allowed = [name for name in (*self.public, *self.changeable) if name not in self.hidden]
        return tuple(dict.fromkeys([*identity, *allowed]))

    @cached_property
    def shown(self) -> tuple[str, ...]:
        """Return the columns of the profile."""
        omitted = self.secret | (set(self.hidden) - set(self.login))
        names = dict.fromkeys([self.pk, *self.listed])
        return tuple(name for name in names if name not in omitted)

    @cached_property
    def writable(self) -> tuple[str, ...]:
        """Return the columns that a registration may set."""
        return tuple(name for name in self.listed if name not in self.system)

    @cached_property
    def editable(self) -> tuple[str, ...]:
        """Return the columns that the user may change."""
        fixed = {*self.system, *self.hidden, self.email, self.verification_id}
        return tuple(name for name in self.changeable if name not in fixed)

    @cached_property
    def unique(self) -> frozenset[str]:
        """Return the columns that are unique, each on its own and in all rows."""
        return unique_columns(self.columns)

    @cached_property
    def is_email_unique(self) -> bool:
        """Return whether a constraint or an index is about the e-mail address, among others."""
        return any(self.email in key.columns for key in unique_keys(self.columns))

    @cached_property
    def deferred(self) -> tuple[str, ...]:
        """Return the columns that do not load with the model, although requests use them."""
        compared = self.named(dict.fromkeys(UserSnapshot._fields))
        used = {*self.listed, *compared, self.verification_id, self.joined}
        attributes = sqlalchemy_inspect(self.model).column_attrs
        return tuple(each.key for each in attributes if each.deferred and each.key in used)

    @cached_property
    def personal(self) -> tuple[str, ...]:
        """Return the columns whose values make weak passwords."""
        names = [*self.login, self.email, self.username, "first_name", "last_name"]
        return tuple(name for name in dict.fromkeys(names) if name and name in self.columns)

    @cached_property
    def arguments(self) -> tuple[frozenset[str], bool]:
        """Return the parameters of the model's constructor, and whether it accepts any other."""
        parameters = inspect.signature(self.model).parameters
        takes_all = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
        return frozenset(parameters), takes_all

    @cached_property
    def username_max_length(self) -> int:
        """Return the maximum length of a username, or of the first login field."""
        column = self.columns[self.username or self.login[0]]
        return int(getattr(column.type, "length", None) or 150)

    def named(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values by the names of columns instead of those of :class:`UserSnapshot`.

        Values for which the model has no column are left out. Other names are those of columns.
        """
        columns = {
            "email": self.email,
            "password_hash": self.password,
            "is_verified": self.verified,
            "is_active": self.active,
            "security_stamp": self.stamp,
            "last_login": "last_login" if "last_login" in self.columns else None,
        }
        return {name: value for role, value in values.items() if (name := columns.get(role, role))}

    def client_name(self, name: str) -> str:
        """Return how a request body names the field of a column."""
        names = {self.password: "password", self.username_key: self.username}
        return names.get(name) or name

    @property
    def username_rule(self) -> str:
        """Return the message for a username with characters that are not allowed."""
        if self.username_pattern == USERNAME_PATTERN:
            return Message("Usernames may contain only letters, digits and . + - _")
        return NOT_ALLOWED

    @property
    def required(self) -> list[str]:
        """Return the columns that need a value, and have no default."""
        mapper = sqlalchemy_inspect(self.model)
        automatic = (mapper.polymorphic_on, mapper.version_id_col)  # which SQLAlchemy sets
        return [
            name
            for name, column in self.columns.items()
            if not (column.nullable or any(column is each for each in automatic))
            # The key of a subclass with a table of its own has the value of its base's key.
            and not any(has_default(each) for each in mapper.attrs[name].columns)
        ]

    @property
    def required_without_default(self) -> list[str]:
        """Return the columns that need a value that no registration sets."""
        provided = {*self.writable, self.password, self.verified, self.stamp, self.username_key}
        return [name for name in self.required if name not in provided]


def has_default(column: Column[Any]) -> bool:
    """Return whether a row can be inserted without a value for this column."""
    automatic = column.table is not None and column is column.table.autoincrement_column
    return bool(
        automatic or column.default or column.server_default or column.identity or column.computed
    )


def takes_context(default: Callable[..., Any]) -> bool:
    """Return whether a default is a function of the statement that inserts a row."""
    try:
        parameters = inspect.signature(default).parameters  # SQLAlchemy wraps one without any
    except ValueError:  # a built-in one, such as ``dict``
        return False
    return any(each.default is each.empty for each in parameters.values())


DEFAULT_STAMP = "security_stamp"
DEFAULT_ACTIVE = "is_active"

#: An attribute of ``ApprovalMixin``. A rejected account is suspended, and its values are free.
NOT_REJECTED = "is_not_rejected"

#: The property of ``DeletionMixin`` that is false if the account will be deleted.
KEPT = "has_no_scheduled_deletion"


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"is not a valid regular expression: {error}") from None


def _check_email_options(options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if name not in EMAIL_OPTIONS:
            raise ValueError(f"may only have the keys {', '.join(EMAIL_OPTIONS)}")
        if not isinstance(value, bool):
            raise ValueError(f"must have True or False for {name!r}")


@dataclass(frozen=True, kw_only=True)
class UserSettings(Settings):
    """User model.

    The model class may have the settings with ``USER_`` as attributes, too, without that prefix.
    """

    user_login_fields: tuple[str, ...] = setting(
        ("username",),
        "The columns that users log in with. Each needs a unique constraint.",
        validate=not_empty,
    )
    user_login_fields_unique_check_enabled: bool = setting(
        True, "Whether a login field without a unique constraint is a configuration error."
    )
    user_public_fields: tuple[str, ...] | None = setting(
        None,
        "Columns that the profile shows and that a registration may set, in addition to the login "
        "fields and the e-mail address.",
        default_text="first_name and last_name with UserMixin or EmailUserMixin, else none",
    )
    user_editable_fields: tuple[str, ...] | None = setting(
        None,
        "Columns that users may change in their profile. The e-mail address is never among them; "
        "`register-email` changes it.",
        default_text="the login fields and the public ones",
    )
    user_hidden_fields: tuple[str, ...] = setting(
        (),
        "Columns that the profile and the registration omit, even if another list names them. "
        "Login fields are still shown and set, and a registration still sets the e-mail address.",
    )
    user_email_field: str = setting("email", "The column of the e-mail address.")
    user_password_field: str = setting("password_hash", "The column of the password hash.")
    user_verification_id_field: str = setting(
        "pk",
        "The column that identifies a user in links. It must be unique and never change. "
        "`pk` is the primary key.",
    )
    user_verification_flag_field: str = setting(
        "is_verified", "The column that stores whether the e-mail address is verified."
    )
    user_active_field: str = setting(
        DEFAULT_ACTIVE,
        "The column, property or hybrid that is false if the account is suspended. An account with "
        "a false `is_active` of the model, which Flask-Login reads, is suspended too. A model "
        "without them has only active users.",
    )
    user_security_stamp_field: str = setting(
        DEFAULT_STAMP,
        "The column of random text that invalidates sessions, tokens and links when it changes. "
        "A model without it uses the password hash instead.",
    )
    username_pattern: str = setting(
        USERNAME_PATTERN,
        "The regular expression that a whole username must match in its NFKC form. `\\w` matches "
        "the vowel signs and other marks of a script, too. Invisible characters, and names of "
        "dots only, are always refused.",
        validate=_check_pattern,
    )
    email_validator_options: Mapping[str, Any] = setting(
        {},
        "Options of email-validator for every e-mail address. `globally_deliverable=False` accepts "
        "those of an intranet (`.local`, `localhost`, names without a dot), "
        "`allow_quoted_local=True` those with dots next to each other, and `allow_smtputf8=True` "
        "those with letters beyond ASCII before the `@`.",
        validate=_check_email_options,
    )
    email_validators: tuple[Callable[..., None], ...] = setting(
        (),
        "Functions that judge a new e-mail address, for example `[not_disposable]` of "
        "`flask_registration.validators`: `validator(address, *, settings, **kwargs)` raises "
        "`marshmallow.ValidationError`. Addresses that accounts have are not judged.",
    )
    username_validators: tuple[Callable[..., None], ...] = setting(
        (reserved_names,),
        "Functions that judge a username that a client chooses, with the same arguments. "
        "`create_user` and commands may choose any.",
        default_text="reserved names",
    )


def model_columns(model: Any) -> dict[str, Column[Any]] | None:
    """Return the columns of a mapped class by their attributes; None for anything else."""
    mapper = sqlalchemy_inspect(model, raiseerr=False)
    if not isinstance(mapper, Mapper):
        return None
    return {name: each for name, each in mapper.columns.items() if isinstance(each, Column)}


def has_own(model: type[Any], name: str) -> bool:
    """Return whether a model has an attribute that it does not inherit from Flask-Login."""
    inherited = inspect.getattr_static(flask_login.UserMixin, name, None)
    found = inspect.getattr_static(model, name, None)
    return found is not None and found is not inherited


def resolve(model: Any, settings: UserSettings) -> UserFields | None:
    """Return the fields of a model, or None if it lacks a required one.

    Names that are not columns are left out. ``startup`` reports them.
    """
    columns = model_columns(model) or {}

    def may(name: str) -> str | None:
        return name if name in columns else None

    def all_of(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(filter(may, names))

    pk = next((name for name, column in columns.items() if column.primary_key), None)
    name = settings.user_verification_id_field
    verification_id = pk if name == "pk" else may(name)
    password = may(settings.user_password_field)
    login = all_of(settings.user_login_fields)
    if not (pk and login and verification_id and password):
        return None
    public = settings.user_public_fields
    if public is None:
        public = ("first_name", "last_name") if issubclass(model, EmailUserMixin) else ()
    editable = settings.user_editable_fields
    return UserFields(
        model=model,
        columns=columns,
        pk=pk,
        verification_id=verification_id,
        email=may(settings.user_email_field),
        username=may("username"),
        username_key=may("username_key"),
        password=password,
        verified=may(settings.user_verification_flag_field),
        active=may(settings.user_active_field),
        activity=tuple(
            name
            for name in dict.fromkeys(
                [settings.user_active_field, DEFAULT_ACTIVE, NOT_REJECTED, KEPT]
            )
            if has_own(model, name)
        ),
        stamp=may(settings.user_security_stamp_field),
        login=login,
        public=all_of(public),
        changeable=all_of((*login, *public) if editable is None else editable),
        hidden=all_of(settings.user_hidden_fields),
        username_pattern=settings.username_pattern,
    )
