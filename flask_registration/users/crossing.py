"""Keep the values of several login fields apart.

A user logs in with any of them. So a value of one must not be another account's value of another:
the look-up would find the wrong account.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import DuplicateValue

if TYPE_CHECKING:
    from .fields import UserFields
    from .store import UserStore


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
