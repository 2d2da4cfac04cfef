"""The store of users: Flask-SQLAlchemy and a mapped class with the columns of the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from flask_sqlalchemy import SQLAlchemy
from marshmallow import ValidationError
from sqlalchemy import Select, Update, bindparam, or_, select, update
from sqlalchemy import inspect as sqlalchemy_inspect
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import instance_dict, instance_state, set_committed_value

from ..errors import DuplicateValue
from ..i18n.messages import Message
from .fields import UserFields
from .identifiers import NormalForms, parse_identifier, username_key
from .stamps import UserSnapshot, new_stamp
from .transaction import is_retry

#: An instance of the application's model; the ``USER_`` settings say which attribute is which.
User: TypeAlias = Any

#: The domain of placeholder addresses, which receive no e-mail (RFC 2606).
PLACEHOLDER_DOMAIN = ".invalid"

UNSTORABLE = Message("One of these values cannot be stored.", code="unstorable")


class UserStore:
    """Users as rows. Each look-up uses a unique index, and its rows are compared again in Python.

    (A collation may find ``míke`` for ``mike``, as in CVE-2019-19844.)

    :param test_environment: whether e-mail addresses of the reserved domain ``test`` are valid.
    """

    def __init__(self, db: SQLAlchemy, fields: UserFields, *, test_environment: bool) -> None:
        self._db = db
        self.fields = fields
        self._id_column = fields.id_column
        self._statements = Statements(fields.model, fields.pk)
        forms = NormalForms(fields, test_environment=test_environment)
        self.build: Callable[[Mapping[str, Any]], dict[str, Any]] = forms.build
        self.lookup: Callable[[str, str], tuple[str, Any] | None] = forms.lookup

    # Writing

    def create(self, values: Mapping[str, Any], *, password_hash: str, verified: bool) -> User:
        """Return a user that is not stored yet, with the defaults of all columns."""
        fields = self.fields
        values = {**values, fields.password: password_hash}
        if fields.verified:
            values[fields.verified] = verified
        if fields.stamp:
            values.setdefault(fields.stamp, new_stamp())
        if fields.username_key and values.get(fields.username or "") is not None:
            values[fields.username_key] = username_key(values[fields.username or ""])
        named, takes_all = fields.arguments
        arguments = {name: value for name, value in values.items() if takes_all or name in named}
        user = fields.model(**arguments)
        present = instance_dict(user)
        for name, value in values.items():
            if name not in present or (name not in named and present[name] != value):
                setattr(user, name, value)
        for name, column in fields.columns.items():
            default: Any = column.default
            if name in present or default is None:
                continue
            if default.is_scalar or default.is_callable:
                setattr(user, name, default.arg(None) if default.is_callable else default.arg)
        return user

    def check_unique(self, user: User) -> None:
        """Look whether a user could be added now. Only adding it makes sure.

        :raises DuplicateValue: another user has one of the unique values.
        """
        values = self._unique_values(user)
        rows = self._where_any(values) if values else []
        if rows:
            raise self._duplicate(values, None, rows)

    def add(self, user: User, *, savepoint: bool = False) -> None:
        """Store a new user, without committing.

        :param savepoint: keep the caller's transaction usable if a value is a duplicate.
        :raises DuplicateValue: another user has one of the unique values.
        :raises marshmallow.ValidationError: the database cannot store a value.
        """
        values = self._unique_values(user)
        try:
            self._insert(user, savepoint)
        except IntegrityError:
            if not savepoint:
                self.rollback()
            rows = self._where_any(values) if values else []
            raise self._duplicate(values, None, rows) from None
        except DataError:
            if not savepoint:
                self.rollback()
            raise ValidationError(UNSTORABLE) from None

    def _unique_values(self, user: User) -> dict[str, Any]:
        fields = self.fields
        names = [name for name in fields.unique if name != fields.pk or name in fields.login]
        return {name: value for name in names if (value := getattr(user, name)) is not None}

    def _insert(self, user: User, savepoint: bool) -> None:
        if savepoint:
            self._begin()
            with self._db.session.begin_nested():
                self._db.session.add(user)
        else:
            self._db.session.add(user)
            self._db.session.flush()

    def _begin(self) -> None:
        """Open the transaction that SQLite's driver opens too late.

        Releasing a savepoint outside of a transaction commits.
        """
        connection = self._db.session.connection()
        driver: Any = connection.connection.dbapi_connection
        if connection.dialect.name == "sqlite" and not getattr(driver, "in_transaction", True):
            connection.exec_driver_sql("BEGIN")

    def _duplicate(
        self, values: Mapping[str, Any], own_key: Any, rows: Sequence[User]
    ) -> DuplicateValue:
        names, owner = [], None
        holders: dict[Any, User] = {}
        differs = any(
            all(getattr(row, name) != value for name, value in values.items()) for row in rows
        )
        for name, value in values.items():
            found = next((row for row in rows if getattr(row, name) == value), None)
            if found is None and differs:  # only a collation finds this row: ask for each column
                found = next(iter(self._where(name, value)), None)
            if found is not None and getattr(found, self.fields.pk) != own_key:
                is_key = name == self.fields.username_key
                names.append(self.fields.username if is_key else name)
                holders[getattr(found, self.fields.pk)] = found
                if name == self.fields.email and getattr(found, name) == value:
                    owner = found
        return DuplicateValue([name for name in names if name], owner, list(holders.values()))

    def change(
        self,
        user: User,
        seen: UserSnapshot,
        changes: Mapping[str, Any],
        *,
        expecting: Mapping[str, Any] | None = None,
    ) -> bool:
        """Write these columns in one statement, if the account is as it was seen.

        The account must have the same e-mail address and security stamp, and must not be suspended.
        Of parallel changes one succeeds, if it changes what it is bound to.

        :param changes: by the names of :class:`UserSnapshot`, or of the columns.
        :param expecting: other values that the row must have, with the same names.
        :raises DuplicateValue: another user has one of the unique values.
        :raises marshmallow.ValidationError: the database cannot store a value.
        """
        columns = self.fields.named(changes)
        if not columns:
            return True
        expected = {"email": seen.email, "is_active": True, "security_stamp": seen.security_stamp}
        expected |= expecting or {}
        key = getattr(user, self.fields.pk)
        if self.fields.stamp is None:
            expected["password_hash"] = expected.pop("security_stamp")  # used in its place
        statement, values = self._statements.change(key, columns, self.fields.named(expected))
        try:
            result: Any = self._db.session.execute(statement, values)
        except IntegrityError:
            self.rollback()
            unique = {name: columns[name] for name in self.fields.unique if name in columns}
            rows = self._where_any(unique) if unique else []
            raise self._duplicate(unique, key, rows) from None
        except DataError:
            self.rollback()
            raise ValidationError(UNSTORABLE) from None
        if result.rowcount != 1:
            return False
        for name, value in columns.items():
            set_committed_value(user, name, value)
        return True

    def delete(self, user: User) -> None:
        """Remove a user, without committing.

        :raises DuplicateValue: other rows refer to this one.
        """
        try:
            self._db.session.delete(user)
            self._db.session.flush()
        except IntegrityError:
            self.rollback()
            raise DuplicateValue([]) from None

    def commit(self) -> None:
        """Commit."""
        self._db.session.commit()

    def rollback(self) -> None:
        """Roll back. A broken connection is no error."""
        try:
            self._db.session.rollback()
        except SQLAlchemyError:  # the connection is gone, and the transaction with it
            self._db.session().invalidate()

    def end_read(self) -> None:
        """End a transaction that only read.

        Objects keep their values; changes to them are dropped.
        """
        session = self._db.session()
        if session.in_transaction():
            for changed in session.dirty:
                session.expire(changed)
            read = list(session.identity_map.values())
            _close(session)
            session.add_all(read)

    def close(self) -> None:
        """Close the session; what was not committed is dropped. A broken connection is no error."""
        registry = self._db.session.registry
        if registry.has():  # asking for the session would make one
            _close(registry())
            registry.clear()  # so that Flask-SQLAlchemy does not close it again

    # Reading

    def get(self, identifier: object) -> User | None:
        """Return the user with this verification id: a text or a whole number, as in a link."""
        if isinstance(identifier, bool) or not isinstance(identifier, str | int):
            return None
        text = str(identifier)
        value = parse_identifier(text, self._id_column)
        if value is None:
            return None
        rows = self._where(self.fields.verification_id, value)
        return next((user for user in rows if self.identifier(user) == text), None)

    def find(self, field: str, value: str) -> Sequence[User]:
        """Return the users whose field has exactly this value, in its normal form."""
        lookup = self.lookup(field, value)
        if lookup is None:
            return []
        name, key = lookup
        return [user for user in self._where(name, key) if getattr(user, name) == key]

    def _where(self, name: str, value: Any) -> Sequence[User]:
        return self._rows(*self._statements.where(name, value))

    def _where_any(self, values: Mapping[str, Any]) -> Sequence[User]:
        return self._rows(*self._statements.where_any(values))

    def _rows(self, statement: Select[Any], parameters: Mapping[str, Any]) -> Sequence[User]:
        if is_retry():
            statement = statement.with_for_update(of=self.fields.model)
        return self._db.session.scalars(statement, parameters).all()

    def unverified(self, before: datetime) -> Sequence[str]:
        """Return the verification ids of unverified, unused accounts from before this time.

        The oldest come first. There are none if the model has no column for the time of joining.
        """
        fields = self.fields
        if not (fields.joined and fields.verified):
            return []
        has_zone = getattr(fields.columns[fields.joined].type, "timezone", False)
        when = before if has_zone else before.replace(tzinfo=None)
        waiting = fields.named({"is_verified": False, "is_active": True, "last_login": None})
        ids = self._statements.unverified(fields.verification_id, fields.joined, when, waiting)
        return [str(key) for key in self._db.session.scalars(ids)]

    def identifier(self, user: User) -> str:
        """Return the verification id as text."""
        key = instance_state(user).identity  # known after a commit, too, without a query
        if key and self.fields.verification_id == self.fields.pk:
            return str(key[0])
        return str(getattr(user, self.fields.verification_id))

    def snapshot(self, user: User) -> UserSnapshot:
        """Return the values that links and sessions are bound to."""
        fields = self.fields
        password_hash = getattr(user, fields.password)
        return UserSnapshot(
            email=getattr(user, fields.email) if fields.email else None,
            password_hash=password_hash,
            is_verified=bool(getattr(user, fields.verified)) if fields.verified else True,
            is_active=bool(getattr(user, fields.active)) if fields.active else True,
            security_stamp=getattr(user, fields.stamp) if fields.stamp else password_hash,
        )

    def inputs(self, values: Mapping[str, Any]) -> list[str]:
        """Return the strings of a user's data that must not make up the password."""
        personal = self.fields.personal
        strings = [value for name in personal if isinstance(value := values.get(name), str)]
        return [*strings, *(text.partition("@")[0] for text in strings if "@" in text)]


class Statements:
    """SELECT and UPDATE on one model, by the names of its attributes; values are parameters.

    Each is built once, since building one takes longer than running it.

    :param key: the primary key.
    """

    def __init__(self, model: type[Any], key: str) -> None:
        self._model = model
        self._key = key
        self._selects: dict[str | tuple[str, ...], Select[Any]] = {}
        self._updates: dict[tuple[Any, ...], Update] = {}

    def where(self, name: str, value: Any) -> tuple[Select[Any], dict[str, Any]]:
        """Return the query for at most ten rows with this value, and its parameters."""
        if name not in self._selects:
            self._selects[name] = select(self._model).where(self._is(name, "sought")).limit(10)
        return self._selects[name], {"sought": value}

    def where_any(self, values: Mapping[str, Any]) -> tuple[Select[Any], dict[str, Any]]:
        """Return the query for the rows with any of these values, at most ten for each."""
        names = tuple(values)
        if names not in self._selects:
            any_of = or_(*(self._is(name, f"sought_{i}") for i, name in enumerate(names)))
            self._selects[names] = select(self._model).where(any_of).limit(10 * len(names))
        return self._selects[names], _numbered("sought", values)

    def change(
        self, key: Any, columns: Mapping[str, Any], expected: Mapping[str, Any]
    ) -> tuple[Update, dict[str, Any]]:
        """Return the UPDATE of one row, if it has the expected values, and its parameters."""
        present = {name: value for name, value in expected.items() if value is not None}
        shape = (tuple(columns), tuple(expected), tuple(present))
        if shape not in self._updates:
            # Of the table: SQLAlchemy makes an UPDATE of the model anew at each use.
            of = sqlalchemy_inspect(self._model).columns
            conditions = [of[name] == bindparam(f"was_{i}") for i, name in enumerate(present)]
            conditions += [of[name].is_(None) for name in expected if name not in present]
            self._updates[shape] = (
                update(of[self._key].table)
                .where(of[self._key] == bindparam("whose"), *conditions)
                .values({of[name]: bindparam(f"to_{i}") for i, name in enumerate(columns)})
            )
        parameters = {"whose": key, **_numbered("to", columns), **_numbered("was", present)}
        return self._updates[shape], parameters

    def unverified(
        self, column: str, joined: str, before: datetime, waiting: Mapping[str, Any]
    ) -> Select[Any]:
        """Return the query for a column of the rows that joined before and have these values."""
        since = getattr(self._model, joined)
        conditions = [getattr(self._model, name) == value for name, value in waiting.items()]
        column_ = getattr(self._model, column)
        return select(column_).where(since < before, *conditions).order_by(since)

    def _is(self, name: str, parameter: str) -> Any:
        return getattr(self._model, name) == bindparam(parameter)


def _numbered(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{prefix}_{i}": value for i, value in enumerate(values.values())}


def _close(session: Session) -> None:
    try:
        session.close()
    except SQLAlchemyError:  # the connection is gone
        session.invalidate()
