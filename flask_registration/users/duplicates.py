"""Find the accounts that have the values of a new or a changed one.

A user logs in with any login field. So a value of one must not be another account's value of
another: the look-up would find the wrong account.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Boolean, Select, and_, bindparam, exists, literal_column, null, or_, select
from sqlalchemy import inspect as sqlalchemy_inspect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import outerjoin, undefer

from ..errors import DuplicateValue
from ..request_state import request_state
from .fields import UserFields, has_default
from .transaction import lacks_characters
from .unique_keys import UniqueKey, unique_keys

if TYPE_CHECKING:
    from .store import UserStore

#: The maximum number of rows that have values of a new one; each value is unique.
MAX_HOLDERS = 10


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

    def keys(self, changed: Collection[str] | None = None) -> list[UniqueKey]:
        """Return the unique keys, or those with one of these columns."""
        fields, bind = self._fields, self._db.session.get_bind(self._mapper)
        hidden = () if fields.pk in fields.login else (fields.pk,)  # which the database numbers
        keys = [key for key in self._keys(bind.dialect) if key.columns != hidden]
        return [key for key in keys if changed is None or set(changed) & set(key.columns)]

    def find(
        self,
        keys: Sequence[UniqueKey],
        values: Mapping[str, Any],
        own_key: Any = None,
        *,
        is_refused: bool = False,
    ) -> DuplicateValue | None:
        """Return the error about the values that other accounts have, if there are any.

        :param values: the row's values, by the names of the columns.
        :param own_key: the primary key of the account that is changed.
        :param is_refused: whether the database has refused the row. What the
            database sets in it is then assumed to be equal.
        """
        compared = [key for key in keys if self._is_comparable(key, values, is_refused)]
        found: dict[Any, set[int]] = {}
        users: dict[Any, Any] = {}
        for table in dict.fromkeys(key.table for key in compared):
            of_table = [key for key in compared if key.table is table]
            for own, user, *matches in self._rows(of_table, values, is_refused=is_refused):
                flags = zip(of_table, matches, strict=True)
                numbers = [keys.index(key) for key, is_same in flags if is_same]
                found.setdefault(own, set()).update(numbers)
                users[own] = user
        found.pop(own_key, None)
        return self._error(keys, values, found, users) if found else None

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
        statements = self._statements(tuple(keys), unknown, is_refused, is_locking)
        sought = {f"_new_{name}": values.get(name) for key in keys for name in key.named}
        session = self._db.session
        try:
            rows: Sequence[Any] = session.execute(statements.users, sought).unique().all()
        except (DBAPIError, UnicodeError) as error:
            if isinstance(error, DBAPIError) and not lacks_characters(error):
                raise
            return []
        if is_refused and not rows:  # an application may change the statements of its session
            connection = session.connection(bind_arguments={"mapper": self._mapper})
            rows = connection.execute(statements.rows, sought).all()
        return rows

    def _error(
        self,
        keys: Sequence[UniqueKey],
        values: Mapping[str, Any],
        found: Mapping[Any, set[int]],
        users: Mapping[Any, Any],
    ) -> DuplicateValue:
        fields = self._fields
        matched = [key for number, key in enumerate(keys) if number in set().union(*found.values())]
        names = [name for key in matched for name in self._names(key)]
        email_keys = {n for n, key in enumerate(keys) if fields.email in key.columns}
        owners = [users[own] for own, numbers in found.items() if numbers & email_keys]
        # A collation or a function may find another address, whose owner this is not about.
        name = fields.email or ""
        email = str(values.get(name)).lower()
        known = [user for user in owners if user and getattr(user, name).lower() == email]
        holders = [users[own] for own in found if users[own] is not None]
        return DuplicateValue(list(dict.fromkeys(names)), next(iter(known), None), holders)

    def _names(self, key: UniqueKey) -> list[str]:
        """Return the fields that a client can change to avoid a duplicate."""
        fields = self._fields
        if fields.email in key.columns:  # the others, such as a tenant, do not identify anyone
            return [fields.email]
        names = [fields.client_name(name) for name in key.columns]
        return [name for name in names if name in fields.writable] or names


class _Statements(NamedTuple):
    """The same rows with the users that the application can see, and without any user."""

    users: Select[Any]
    rows: Select[Any]


def _statements(
    fields: UserFields,
    keys: tuple[UniqueKey, ...],
    unknown: frozenset[str],
    is_refused: bool,
    is_locking: bool,
) -> _Statements:
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
    return _Statements(users, rows)


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


# Values of several login fields


def find_crossed(
    users: UserStore, values: Mapping[str, Any], own_key: Any
) -> DuplicateValue | None:
    """Return the error about login fields whose value another account has in another field.

    An e-mail address in another field is refused before; see :meth:`NormalForms.build`.

    :param values: new values in normal form; those of other columns are ignored.
    """
    fields = users.fields

    def holders(name: str) -> list[Any]:
        """Return the other accounts that have the value in another field."""
        others = [each for each in fields.login if each not in (name, fields.email)]
        spellings = _spellings(fields, name, values)
        found = [user for each in others for value in spellings for user in users.find(each, value)]
        foreign = [user for user in found if getattr(user, fields.pk) != own_key]
        # A duplicate of the field itself is left to the database.
        return [user for user in foreign if getattr(user, name) != values[name]]

    crossed = {name: found for name in fields.login if (found := holders(name))}
    everyone = [user for found in crossed.values() for user in found]
    return DuplicateValue(list(crossed), None, everyone) if crossed else None


def _spellings(fields: UserFields, name: str, values: Mapping[str, Any]) -> list[str]:
    """Return a new value as it was sent, and in the form in which usernames are compared."""
    sent = values.get(name)
    if sent is None:
        return []
    key = values.get(fields.username_key or "") if name == fields.username else None
    return list(dict.fromkeys([str(sent), str(key or sent)]))
