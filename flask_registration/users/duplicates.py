"""Find the accounts that have the unique values of a new or a changed one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Boolean, Select, and_, bindparam, exists, literal_column, null, or_, select
from sqlalchemy import inspect as sqlalchemy_inspect
from sqlalchemy.orm import outerjoin, undefer

from ..errors import DuplicateValue
from ..request_state import request_state
from .fields import UserFields, has_default
from .statements import find_rows
from .unique_keys import UniqueKey, unique_keys

#: The maximum number of rows that have values of a new one; each value is unique.
MAX_HOLDERS = 10


class Write(NamedTuple):
    """The values of a new or a changed row that must be unique.

    :ivar keys: the unique keys that the write is about.
    :ivar values: the row's values that they compare, by the names of the columns.
    :ivar own_key: the primary key of the account that is changed; None for a new one.
    """

    keys: Sequence[UniqueKey]
    values: Mapping[str, Any]
    own_key: Any


class Duplicates:
    """Finds the accounts that have the values of a new or a changed one.

    An application may hide rows from the queries of its model, for example deleted ones, but their
    values are in use. So the rows are read from the table, and the users are joined.
    """

    def __init__(self, db: SQLAlchemy, fields: UserFields) -> None:
        self._db = db
        self._fields = fields
        self._mapper = sqlalchemy_inspect(fields.model)
        # Building a statement takes longer than running it.
        self._statements = cache(partial(_statements, fields))
        self._keys = cache(partial(unique_keys, fields.columns))

    def write_of(self, user: Any, changes: Mapping[str, Any] | None) -> Write:
        """Return what a write of this user compares.

        :param changes: new values by the names of columns; None for a new user.
        """
        fields, bind = self._fields, self._db.session.get_bind(self._mapper)
        hidden = () if fields.pk in fields.login else (fields.pk,)  # which the database numbers
        keys = [key for key in self._keys(bind.dialect) if key.columns != hidden]
        if changes is not None:
            keys = [key for key in keys if changes.keys() & key.columns]
        new = changes or {}
        names = {name for key in keys for name in key.named}
        values = {name: new[name] if name in new else getattr(user, name) for name in names}
        return Write(keys, values, None if changes is None else getattr(user, fields.pk))

    def find(self, write: Write, *, is_refused: bool = False) -> DuplicateValue | None:
        """Return the error about the values that other accounts have, if there are any.

        :param is_refused: whether the database has refused the row. What the
            database sets in it is then assumed to be equal.
        """
        compared = [key for key in write.keys if self._is_comparable(key, write.values, is_refused)]
        users: dict[Any, Any] = {}
        equal: defaultdict[Any, set[UniqueKey]] = defaultdict(set)
        # An account may have a row in several tables.
        for table in dict.fromkeys(key.table for key in compared):
            of_table = [key for key in compared if key.table is table]
            for own_key, user, *flags in self._rows(of_table, write.values, is_refused=is_refused):
                users[own_key] = user
                for key, is_equal in zip(of_table, flags, strict=True):
                    if is_equal:
                        equal[own_key].add(key)
        found = [(users[each], equal[each]) for each in users if each != write.own_key]
        return self._error(write, found) if found else None

    def _is_comparable(self, key: UniqueKey, values: Mapping[str, Any], is_refused: bool) -> bool:
        """Return whether a row can have a duplicate: NULL equals no value."""
        unknown = [name for name in key.plain if values.get(name) is None]
        if any(not has_default(self._fields.columns[name]) for name in unknown):
            return False
        return not unknown or (is_refused and len(unknown) < len(key.columns))

    def _rows(
        self, keys: Sequence[UniqueKey], values: Mapping[str, Any], *, is_refused: bool
    ) -> Sequence[Any]:
        """Return the primary keys of rows with these values, their users, and the keys they have.

        The user of a row that the application hides is None.
        """
        unknown = frozenset(name for key in keys for name in key.plain if values.get(name) is None)
        is_locking = request_state().is_retry
        with_users, without_users = self._statements(tuple(keys), unknown, is_refused, is_locking)
        sought = {f"_new_{name}": values.get(name) for key in keys for name in key.named}
        session = self._db.session
        rows = find_rows(session, with_users, sought)
        if is_refused and not rows:  # an application may change the statements of its session
            connection = session.connection(bind_arguments={"mapper": self._mapper})
            rows = find_rows(connection, without_users, sought)
        return rows

    def _error(self, write: Write, found: Collection[tuple[Any, set[UniqueKey]]]) -> DuplicateValue:
        """Return the error about rows that have values of a new one.

        :param found: the user of each row, and the keys that are equal.
        """
        email_field = self._fields.email or ""
        matched = set().union(*(same for _, same in found))
        names = [name for key in write.keys if key in matched for name in self._names(key)]
        email_keys = {key for key in matched if email_field in key.columns}
        owners = [user for user, same in found if user and same & email_keys]
        # A collation or a function may find another address, whose owner this is not about.
        email = str(write.values.get(email_field)).lower()
        known = [user for user in owners if getattr(user, email_field).lower() == email]
        holders = [user for user, _ in found if user is not None]
        return DuplicateValue(list(dict.fromkeys(names)), next(iter(known), None), holders)

    def _names(self, key: UniqueKey) -> list[str]:
        """Return the fields that a client can change to avoid a duplicate."""
        fields = self._fields
        if fields.email in key.columns:  # the others, such as a tenant, do not identify anyone
            return [fields.email]
        names = [fields.client_name(name) for name in key.columns]
        return [name for name in names if name in fields.writable] or names


def _statements(
    fields: UserFields,
    keys: tuple[UniqueKey, ...],
    unknown: frozenset[str],
    is_refused: bool,
    is_locking: bool,
) -> tuple[Select[Any], Select[Any]]:
    """Return two statements: with the users that the application can see, and without any user."""
    conditions = [_condition(fields, key, unknown, is_refused) for key in keys]
    (table,) = {key.table for key in keys}
    (own_key,) = table.primary_key.columns
    flags = [each.label(f"_{number}") for number, each in enumerate(conditions)]
    columns = [own_key.label("_own"), null().label("_user"), *flags]
    rows = select(*columns).where(or_(*conditions)).limit(MAX_HOLDERS)
    rows = rows.with_for_update() if is_locking else rows
    # A filter of the application applies to the joined users, and so hides no row.
    found = rows.subquery("found")
    own, _, *same = found.c
    joined = outerjoin(found, fields.model, getattr(fields.model, fields.pk) == own)
    options = [undefer(getattr(fields.model, name)) for name in fields.deferred]
    users = select(own, fields.model, *same).select_from(joined).options(*options)
    return users, rows


def _condition(
    fields: UserFields, key: UniqueKey, unknown: frozenset[str], is_refused: bool
) -> Any:
    """Return the condition on the rows that have the values of a new row."""
    columns = fields.columns
    new = {
        name: bindparam(f"_new_{name}", type_=columns[name].type, unique=False)
        for name in key.named
    }
    # The expressions name columns without a table: they are about a row of these values, too.
    labelled = [value.label(columns[name].name) for name, value in new.items()]
    row = select(*labelled).subquery("new_row")
    conditions = [columns[name] == new[name] for name in key.plain if name not in unknown]
    for text in key.expressions:
        value = select(literal_column(text)).select_from(row).scalar_subquery()
        conditions.append(literal_column(text) == value)
    if key.where:
        conditions.append(literal_column(key.where, Boolean))
        if not is_refused:
            is_in = literal_column(key.where, Boolean)
            conditions.append(exists(select(literal_column("1")).select_from(row).where(is_in)))
    return and_(*conditions)
