"""The store of users: Flask-SQLAlchemy and a mapped class with the columns of the settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache, partial
from itertools import product
from typing import Any, TypeAlias

from flask import current_app
from flask_sqlalchemy import SQLAlchemy
from marshmallow import ValidationError
from sqlalchemy import inspect as sqlalchemy_inspect
from sqlalchemy import select
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError
from sqlalchemy.orm.attributes import instance_dict, instance_state, set_committed_value

from ..errors import AccountInUse, AccountUnusable, DuplicateValue, MissingValue
from ..i18n.messages import Message
from ..request_state import request_state
from .duplicates import Duplicates
from .fields import UserFields, UserSettings, takes_context
from .identifiers import NormalForms
from .mixins import add_flag_rules
from .stamps import NO_ACCOUNT, UserSnapshot, new_stamp
from .statements import find_rows, guarded_update, has_rules, select_users
from .transaction import is_inconvertible, violates_check, violates_not_null

#: An instance of the application's model; the ``USER_`` settings say which attribute is which.
User: TypeAlias = Any

#: The domain of placeholder addresses, which receive no e-mail (RFC 2606).
PLACEHOLDER_DOMAIN = ".invalid"

#: How many rows are searched for hashes of other kinds, which takes about 80 ms. Imported accounts
#: are the oldest ones.
SEARCHED_HASHES = 100_000

CONFLICT = Message("These values conflict with existing data.", code="conflict")
UNSTORABLE = Message("One of these values is not supported.", code="unstorable")


class UserStore(NormalForms):
    """Users as rows. Each look-up uses a unique index, and its rows are compared again in Python.

    (A collation may find ``míke`` for ``mike``, as in CVE-2019-19844.)

    The rules of the application's model hold at every write: its validators, mapper events, session
    events and version counter. A ``ValueError`` of a validator is a validation error of its field,
    and that of an event one of the whole request body.

    :param testing: see :class:`NormalForms`.
    """

    def __init__(
        self, db: SQLAlchemy, fields: UserFields, settings: UserSettings, *, testing: bool
    ) -> None:
        super().__init__(fields, settings, testing=testing)
        self._db = db
        flags = [*filter(None, [fields.active, fields.verified])]
        self._own_rules = add_flag_rules(fields.model, flags)
        self._is_placeholder_refused = False
        # Building a statement takes longer than running it.
        self._duplicates = Duplicates(db, fields)
        self._select = cache(partial(select_users, fields))
        self._guarded_update = cache(partial(guarded_update, fields))

    # Writing

    def create(self, values: Mapping[str, Any], *, password_hash: str, verified: bool) -> User:
        """Return a user that is not stored yet, with the defaults that need no row.

        :raises marshmallow.ValidationError: a validator of the model refuses a value.
        """
        fields = self.fields
        system = fields.named({"password_hash": password_hash, "is_verified": verified})
        values = {**values, **system}
        if fields.stamp:
            values.setdefault(fields.stamp, new_stamp())
        named, takes_all = fields.arguments
        arguments = {name: value for name, value in values.items() if takes_all or name in named}
        try:
            user = fields.model(**arguments)
        except ValueError:
            # The constructor does not say which field it is.
            self._assign(sqlalchemy_inspect(fields.model).class_manager.new_instance(), values)
            raise
        present = instance_dict(user)
        kept = arguments.keys() & present.keys()
        self._assign(user, {name: value for name, value in values.items() if name not in kept})
        for name, column in fields.columns.items():
            default: Any = column.default
            if name in present or default is None:
                continue
            if default.is_scalar:
                setattr(user, name, default.arg)
            elif default.is_callable and not takes_context(default.arg):
                setattr(user, name, default.arg(None))
        return user

    def find_duplicate(
        self, user: User, changes: Mapping[str, Any] | None = None
    ) -> DuplicateValue | None:
        """Return the error that adding or changing a user would raise now, else None.

        :param changes: new values by the names of columns; without them, the user is new.
        """
        write = self._duplicates.write_of(user, changes)
        duplicate = self._duplicates.find(write)
        # Always, so that the time does not reveal a duplicate.
        crossed = self._find_crossed(user, changes, write.own_key)
        return duplicate or crossed

    def _find_crossed(
        self, user: User, changes: Mapping[str, Any] | None, own_key: Any
    ) -> DuplicateValue | None:
        """Return the error about login fields whose value another account has in another field.

        A user logs in with any of them, so the look-up would find the wrong account. An e-mail
        address in another field is refused before; see :meth:`build`.
        """
        fields = self.fields
        values = instance_dict(user) if changes is None else changes
        names: dict[str, None] = {}
        holders: list[User] = []
        for name in fields.login:
            value = values.get(name)
            # As it was sent, and as usernames are compared.
            key = values.get(fields.username_key or "") if name == fields.username else None
            spellings = {str(each) for each in (value, key) if each is not None}
            others = [each for each in fields.login if each not in (name, fields.email)]
            for other, text in product(others, spellings):
                for holder in self.find(other, text):
                    # A duplicate of the field itself is left to the database.
                    if getattr(holder, fields.pk) != own_key and getattr(holder, name) != value:
                        names[name] = None
                        holders.append(holder)
        return DuplicateValue([*names], None, holders) if holders else None

    def add(self, user: User, *, savepoint: bool = False) -> None:
        """Store a new user, without committing.

        :param savepoint: keep the caller's transaction usable if a value is a duplicate.
        :raises DuplicateValue: another user has one of the unique values.
        :raises MissingValue: a column without a default needs a value.
        :raises marshmallow.ValidationError: the model or the database refuses a value.
        """
        session = self._db.session
        with self._writing(user, None, savepoint=savepoint):
            try:
                if savepoint:
                    self._begin()
                    with session.begin_nested():
                        session.add(user)
                else:
                    session.add(user)
                    session.flush()
            except IntegrityError as error:
                # Not before: an event or a trigger of the application may set a value.
                missing = self._missing(user) if violates_not_null(error) else []
                if missing:
                    raise MissingValue(missing) from None
                raise

    def _missing(self, user: User) -> list[str]:
        """Return the fields without a value whose columns need one and have no default."""
        fields, values = self.fields, instance_dict(user)
        names = [name for name in fields.required if values.get(name) is None]
        return list(dict.fromkeys(map(fields.client_name, names)))

    def report_refused_placeholder(self, error: Exception) -> None:
        """Log, once for each process, that an account with a placeholder cannot be stored."""
        if not self._is_placeholder_refused:
            self._is_placeholder_refused = True
            current_app.logger.warning(
                "A registration with an e-mail address in use was not stored, because the user "
                "model or the database refuses a placeholder such as a1b2@registration.invalid. "
                "The username stays free, which reveals that the address is in use. "
                "Allow the domain registration.invalid. (%s: %s)",
                type(error).__name__,
                error,
            )

    def _begin(self) -> None:
        """Open the transaction: SQLite commits when a savepoint outside of one is released."""
        connection = self._db.session.connection()
        driver: Any = connection.connection.dbapi_connection
        if connection.dialect.name == "sqlite" and not getattr(driver, "in_transaction", True):
            connection.exec_driver_sql("BEGIN")

    def change(
        self,
        user: User,
        seen: UserSnapshot,
        changes: Mapping[str, Any],
        *,
        columns: Mapping[str, Any] = {},
        expecting: Mapping[str, Any] = {},
    ) -> None:
        """Write these columns, if the account is as it was seen. Else roll back.

        The account must have the same e-mail address and security stamp, and must not be suspended.
        Of parallel changes one succeeds, if it changes what it is bound to.

        :param changes: new values by the names of :class:`UserSnapshot`.
        :param columns: new values by the names of columns.
        :param expecting: other values that the row must have, with the same names.
        :raises AccountUnusable: the account is not as it was seen.
        :raises DuplicateValue: another user has one of the unique values.
        :raises marshmallow.ValidationError: the model or the database refuses a value.
        """
        new = {**self.fields.named(changes), **columns}
        if not new:
            return
        expected = {"email": seen.email, "is_active": True, "security_stamp": seen.security_stamp}
        expected |= expecting
        may_be_suspended = "is_active" in expecting
        if self.fields.stamp is None:
            expected["password_hash"] = expected.pop("security_stamp")  # used in its place
        key = getattr(user, self.fields.pk)
        expected = self.fields.named(expected)
        with self._db.session.no_autoflush, self._writing(user, new):
            if has_rules(self.fields, self._db.session(), user, self._own_rules, new):
                self._assign(user, new)
                is_as_seen = self._update(key, {}, expected)
                if is_as_seen:
                    self._db.session.flush()
            else:
                is_as_seen = self._update(key, new, expected)
                if is_as_seen:
                    for name, value in new.items():
                        set_committed_value(user, name, value)
            if is_as_seen and not may_be_suspended:
                is_as_seen = self._is_still_active(user)
        if not is_as_seen:
            self.rollback()
            raise AccountUnusable(user=user, reason="changed")

    def _is_still_active(self, user: User) -> bool:
        """Return whether attributes that are no columns say that an account is not suspended.

        The UPDATE cannot compare them. It has locked the row, so they are read again.
        """
        others = [name for name in self.fields.activity if name != self.fields.active]
        if others and user in self._db.session:
            self._db.session.expire(user)
        return all(getattr(user, name) for name in others)

    def is_flagged_active(self, user: User) -> bool | None:
        """Return the value of the column that suspends an account, or None without a column."""
        active = self.fields.active
        return bool(getattr(user, active)) if active else None

    def _assign(self, user: User, values: Mapping[str, Any]) -> None:
        """Set attributes, which runs the validators of the model.

        :raises marshmallow.ValidationError: a validator refuses a value.
        """
        errors = {}
        for name, value in values.items():
            try:
                setattr(user, name, value)
            except ValueError as error:
                errors[self.fields.client_name(name)] = [str(error)]
        if errors:
            raise ValidationError(errors)

    def _update(self, key: Any, columns: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
        """Write a row if it has the expected values. Without columns, lock it until the commit."""
        statement = self._guarded_update(tuple(columns), tuple(expected))
        new = {f"_new_{name}": value for name, value in columns.items()}
        old = {f"_old_{name}": value for name, value in expected.items()}
        result: Any = self._db.session.execute(statement, {"_key": key, **new, **old})
        return bool(result.rowcount == 1)

    def delete(self, user: User) -> None:
        """Remove a user, without committing.

        :raises AccountInUse: other rows refer to this one.
        """
        with self._writing(user, {}):
            try:
                self._db.session.delete(user)
                self._db.session.flush()
            except IntegrityError:
                raise AccountInUse from None

    @contextmanager
    def _writing(
        self, user: User, changes: Mapping[str, Any] | None, *, savepoint: bool = False
    ) -> Iterator[None]:
        """Roll back what fails, and raise the error that says what is wrong.

        :param changes: new values by the names of columns; None for a new user, and none for one
            that is deleted.
        """
        write = self._duplicates.write_of(user, changes)
        try:
            crossed = self._find_crossed(user, changes, write.own_key)
            if crossed:
                raise crossed
            yield
        except Exception as error:
            if not savepoint:
                self.rollback()
            if isinstance(error, DataError | UnicodeError) or is_inconvertible(error):
                raise ValidationError(UNSTORABLE) from None
            if isinstance(error, ValueError):
                raise ValidationError(str(error)) from None
            if isinstance(error, IntegrityError) or violates_check(error):
                duplicate = self._duplicates.find(write, is_refused=True)
                raise duplicate or ValidationError(CONFLICT) from None
            raise

    def commit(self) -> None:
        """Commit."""
        self._db.session.commit()

    def rollback(self) -> None:
        """Roll back. A broken connection is no error."""
        with self._dropping_lost_connection():
            self._db.session.rollback()

    def end_read(self) -> None:
        """End a transaction that only read.

        Objects keep their values; changes to them are dropped.
        """
        session = self._db.session()
        if session.in_transaction():
            for changed in session.dirty:
                session.expire(changed)
            read = list(session.identity_map.values())
            with self._dropping_lost_connection():
                session.close()
            session.add_all(read)

    def close(self) -> None:
        """Close the session; what was not committed is dropped. A broken connection is no error."""
        with self._dropping_lost_connection():
            self._db.session.remove()

    @contextmanager
    def _dropping_lost_connection(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError:  # the connection is gone, and the transaction with it
            self._db.session().invalidate()

    # Reading

    def get(self, identifier: object) -> User | None:
        """Return the user with this verification id: a text or a whole number, as in a link."""
        if isinstance(identifier, bool) or not isinstance(identifier, str | int):
            return None
        text = str(identifier)
        users = self.find(self.fields.verification_id, text)
        return next((user for user in users if self.identifier(user) == text), None)

    def find(self, field: str, value: str) -> Sequence[User]:
        """Return the users whose field has this value, as it is or in its normal form.

        The user who has it as it is comes first. A row may be older than the rule for new values,
        and a column may ignore case.
        """
        lookup = self.lookup(field, value)
        if lookup is None:
            return []
        name, key = lookup
        is_kept = name == field and isinstance(key, str)
        statement = self._select(name)
        if request_state().is_retry:
            statement = statement.with_for_update(of=self.fields.model)
        sought = {"_key": key, "_other": value if is_kept else key}
        rows = find_rows(self._db.session, statement, sought)
        found = [user for (user,) in rows if self.is_same(name, getattr(user, name), key)]
        return sorted(found, key=lambda user: bool(getattr(user, name) != value))

    def other_hash(self, beginnings: Sequence[str]) -> str | None:
        """Return a password hash that begins with none of these strings, if there is one.

        Only the first :data:`SEARCHED_HASHES` accounts are searched.
        """
        fields = self.fields
        stored = fields.columns[fields.password]
        first = select(stored).where(stored != "").order_by(fields.table_key)
        searched = first.limit(SEARCHED_HASHES).subquery().c[0]
        others = [~searched.startswith(each, autoescape=True) for each in beginnings]
        statement = select(searched).where(*others).limit(1)
        # Not by the session, to whose statements an application may add conditions on its model.
        mapper = sqlalchemy_inspect(fields.model)
        connection = self._db.session.connection(bind_arguments={"mapper": mapper})
        found: str | None = connection.scalars(statement).first()
        return found

    def unverified(self, before: datetime) -> Sequence[str]:
        """Return the verification ids of unverified, unused accounts from before this time.

        The oldest come first. There are none if the model has no column for the time of joining.
        """
        fields, model = self.fields, self.fields.model
        if not (fields.joined and fields.verified):
            return []
        joined, has_zone = getattr(model, fields.joined), fields.columns[fields.joined].type
        when = before if getattr(has_zone, "timezone", False) else before.replace(tzinfo=None)
        waiting = fields.named({"is_verified": False, "is_active": True, "last_login": None})
        ids = select(getattr(model, fields.verification_id)).filter_by(**waiting)
        return [
            str(key) for key in self._db.session.scalars(ids.where(joined < when).order_by(joined))
        ]

    def identifier(self, user: User) -> str:
        """Return the verification id as text."""
        key = instance_state(user).identity  # known after a commit, too, without a query
        if key and self.fields.verification_id == self.fields.pk:
            return str(key[0])
        return str(getattr(user, self.fields.verification_id))

    def snapshot(self, user: User | None) -> UserSnapshot:
        """Return the values that links and sessions are bound to; without a user, no values."""
        if user is None:
            return NO_ACCOUNT
        fields = self.fields
        password_hash = getattr(user, fields.password)
        return UserSnapshot(
            email=getattr(user, fields.email) if fields.email else None,
            password_hash=password_hash,
            is_verified=bool(getattr(user, fields.verified)) if fields.verified else True,
            is_active=all(getattr(user, name) for name in fields.activity),
            security_stamp=getattr(user, fields.stamp) if fields.stamp else password_hash,
        )

    def inputs(self, values: Mapping[str, Any]) -> list[str]:
        """Return the strings of a user's data that must not make up the password."""
        personal = self.fields.personal
        strings = [value for name in personal if isinstance(value := values.get(name), str)]
        return [*strings, *(text.partition("@")[0] for text in strings if "@" in text)]
