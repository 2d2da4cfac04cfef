"""The user store over Flask-SQLAlchemy: any mapped class that has the fields which the settings name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from flask_sqlalchemy import SQLAlchemy
from marshmallow import ValidationError
from sqlalchemy import Select
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import instance_dict, instance_state, set_committed_value

from .errors import FieldTaken
from .messages import Message
from .nobody import Nobody
from .normalforms import NormalForms
from .retries import is_again
from .statements import Statements
from .userfields import UserFields, parse_identifier
from .users import User, UserState, new_stamp, username_key

UNSTORABLE = Message("The database cannot store one of these values.", code="unstorable")


class SQLAlchemyUserStore:
    """Users as rows; every look-up is served by a unique index and compared again in Python.

    (A collation may find ``míke`` for ``mike``: CVE-2019-19844 was such a look-up.)

    :param test_environment: let addresses of the reserved domain ``test`` pass.
    """

    def __init__(self, db: SQLAlchemy, fields: UserFields, *, test_environment: bool) -> None:
        self._db = db
        self.fields = fields
        self._statements = Statements(fields.model, fields.pk)
        self._nobody = Nobody(fields, lambda values: self.create(values, password_hash="", verified=False))
        self._forms = NormalForms(fields, test_environment=test_environment)

    def build(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return self._forms.build(values)

    def lookup(self, field: str, value: str) -> tuple[str, Any] | None:
        return self._forms.lookup(field, value)

    # Writing

    def create(self, values: Mapping[str, Any], *, password_hash: str, verified: bool) -> User:
        fields, model = self.fields, self.fields.model
        values = {**values, fields.password: password_hash}
        if fields.verified:
            values[fields.verified] = verified
        if fields.stamp:
            values.setdefault(fields.stamp, new_stamp())
        if fields.username_key and values.get(fields.username or "") is not None:
            values[fields.username_key] = username_key(values[fields.username or ""])
        named, takes_all = fields.arguments
        user: User = model(**{name: value for name, value in values.items() if takes_all or name in named})
        present = instance_dict(user)
        for name, value in values.items():
            if name not in present or (name not in named and present[name] != value):
                setattr(user, name, value)
        for name, column in fields.columns.items():
            default: Any = column.default
            if name not in present and default is not None and (default.is_scalar or default.is_callable):
                setattr(user, name, default.arg(None) if default.is_callable else default.arg)
        return user

    def nobody(self) -> User:
        return self._nobody()

    def check_free(self, user: User) -> None:
        values = self._unique_values(user)
        rows = self._where_any(values) if values else []
        if rows:
            raise self._taken(values, None, rows)

    def add(self, user: User, *, savepoint: bool = False) -> None:
        values = self._unique_values(user)
        try:
            self._insert(user, savepoint)
        except IntegrityError:
            if not savepoint:
                self.rollback()
            raise self._taken(values, None, self._where_any(values) if values else []) from None
        except DataError:
            if not savepoint:
                self.rollback()
            raise ValidationError(UNSTORABLE) from None

    def _unique_values(self, user: User) -> dict[str, Any]:
        names = [name for name in self.fields.unique if name != self.fields.pk or name in self.fields.login]
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
        """Open the transaction that SQLite's driver opens too late: releasing a savepoint outside of one commits."""
        connection = self._db.session.connection()
        driver: Any = connection.connection.dbapi_connection
        if connection.dialect.name == "sqlite" and not getattr(driver, "in_transaction", True):
            connection.exec_driver_sql("BEGIN")

    def _taken(self, values: Mapping[str, Any], own_key: Any, rows: Sequence[User]) -> FieldTaken:
        taken, owner = [], None
        holders: dict[Any, User] = {}
        alike = any(all(getattr(row, name) != value for name, value in values.items()) for row in rows)
        for name, value in values.items():
            found = next((row for row in rows if getattr(row, name) == value), None)
            if found is None and alike:  # a row that only a collation finds: by which column, it must say itself
                found = next(iter(self._where(name, value)), None)
            if found is not None and getattr(found, self.fields.pk) != own_key:
                taken.append(self.fields.username if name == self.fields.username_key else name)
                holders[getattr(found, self.fields.pk)] = found
                if name == self.fields.email and getattr(found, name) == value:
                    owner = found
        return FieldTaken([name for name in taken if name], owner, list(holders.values()))

    def change(
        self, user: User, seen: UserState, changes: Mapping[str, Any], *, expecting: Mapping[str, Any] | None = None
    ) -> bool:
        columns = self.fields.named(changes)
        if not columns:
            return True
        expected = {"email": seen.email, "is_active": True, "security_stamp": seen.security_stamp, **(expecting or {})}
        key = getattr(user, self.fields.pk)
        if self.fields.stamp is None:
            expected["password_hash"] = expected.pop("security_stamp")  # which stands in its place
        statement, values = self._statements.change(key, columns, self.fields.named(expected))
        try:
            result: Any = self._db.session.execute(statement, values)
        except IntegrityError:
            self.rollback()
            values = {name: columns[name] for name in self.fields.unique if name in columns}
            raise self._taken(values, key, self._where_any(values) if values else []) from None
        except DataError:
            self.rollback()
            raise ValidationError(UNSTORABLE) from None
        if result.rowcount != 1:
            return False
        for name, value in columns.items():
            set_committed_value(user, name, value)
        return True

    def delete(self, user: User) -> None:
        try:
            self._db.session.delete(user)
            self._db.session.flush()
        except IntegrityError:
            self.rollback()
            raise FieldTaken([]) from None

    def commit(self) -> None:
        self._db.session.commit()

    def rollback(self) -> None:
        try:
            self._db.session.rollback()
        except SQLAlchemyError:  # the connection is gone, and the transaction with it
            self._db.session().invalidate()

    def release(self) -> None:
        session = self._db.session()
        if session.in_transaction():
            for changed in session.dirty:
                session.expire(changed)
            read = list(session.identity_map.values())
            _close(session)
            session.add_all(read)

    def close(self) -> None:
        registry = self._db.session.registry
        if registry.has():  # which asking for it would make
            _close(registry())
            registry.clear()  # so that Flask-SQLAlchemy does not close it again

    # Reading

    def get(self, identifier: object) -> User | None:
        if isinstance(identifier, bool) or not isinstance(identifier, str | int):
            return None
        text = str(identifier)
        value = parse_identifier(text, self.fields.id_column)
        if value is None:
            return None
        rows = self._where(self.fields.verification_id, value)
        return next((user for user in rows if self.identifier(user) == text), None)

    def find(self, field: str, value: str) -> Sequence[User]:
        lookup = self.lookup(field, value)
        if lookup is None:
            return []
        name, key = lookup
        return [user for user in self._where(name, key) if getattr(user, name) == key]

    def _where(self, name: str, value: Any) -> Sequence[User]:
        return self._rows(*self._statements.where(name, value))

    def _rows(self, statement: Select[Any], parameters: Mapping[str, Any]) -> Sequence[User]:
        if is_again():
            statement = statement.with_for_update(of=self.fields.model)
        return self._db.session.scalars(statement, parameters).all()

    def _where_any(self, values: Mapping[str, Any]) -> Sequence[User]:
        return self._rows(*self._statements.where_any(values))

    def unverified(self, before: datetime) -> Sequence[str]:
        fields = self.fields
        if not (fields.joined and fields.verified):
            return []
        when = before if getattr(fields.columns[fields.joined].type, "timezone", False) else before.replace(tzinfo=None)
        waiting = fields.named({"is_verified": False, "is_active": True, "last_login": None})
        ids = self._statements.unverified(fields.verification_id, fields.joined, when, waiting)
        return [str(key) for key in self._db.session.scalars(ids)]

    def identifier(self, user: User) -> str:
        key = instance_state(user).identity  # known after a commit, too, without a query
        if key and self.fields.verification_id == self.fields.pk:
            return str(key[0])
        return str(getattr(user, self.fields.verification_id))

    def state(self, user: User) -> UserState:
        fields = self.fields
        password_hash = getattr(user, fields.password)
        return UserState(
            email=getattr(user, fields.email) if fields.email else None,
            password_hash=password_hash,
            is_verified=bool(getattr(user, fields.verified)) if fields.verified else True,
            is_active=bool(getattr(user, fields.active)) if fields.active else True,
            security_stamp=getattr(user, fields.stamp) if fields.stamp else password_hash,
        )

    def inputs(self, values: Mapping[str, Any]) -> list[str]:
        texts = [value for name in self.fields.personal if isinstance(value := values.get(name), str)]
        return [*texts, *(text.partition("@")[0] for text in texts if "@" in text)]


def _close(session: Session) -> None:
    try:
        session.close()
    except SQLAlchemyError:  # the connection is gone
        session.invalidate()
