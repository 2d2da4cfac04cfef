"""A user who is not there: whom a mail is composed for that nobody gets, so that its time tells nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm.attributes import instance_dict, set_committed_value

from .composed import NOBODYS_ADDRESS
from .userfields import UserFields
from .users import User


class Nobody:
    """Makes one in about the time that it takes to load a row.

    :param create: makes a user of these values, with every default in place.
    """

    def __init__(self, fields: UserFields, create: Callable[[Mapping[str, Any]], User]) -> None:
        self._fields = fields
        self._create = create
        self._manager = inspect(fields.model).class_manager

    def __call__(self) -> User:
        user: User = self._manager.new_instance()  # as a row is loaded: without the model's __init__
        for name, value in self._values.items():
            set_committed_value(user, name, value)
        return user

    @cached_property
    def _values(self) -> dict[str, Any]:
        names = {self._fields.username: "nobody", self._fields.email: NOBODYS_ADDRESS}
        made = instance_dict(self._create({name: value for name, value in names.items() if name}))
        return {name: value for name, value in made.items() if name in self._fields.columns}
