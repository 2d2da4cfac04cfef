"""Mixins with the columns of a user model. Using them is optional."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import flask_login
from sqlalchemy import BigInteger, DateTime, Integer, String, event
from sqlalchemy.orm import Mapped, mapped_column

from .identifiers import EMAIL_MAX_LENGTH, username_key
from .stamps import STAMP_LENGTH, new_stamp

USERNAME_MAX_LENGTH = 150

#: NFKC and case folding make at most three characters of one (Unicode 15, SpecialCasing.txt).
USERNAME_KEY_MAX_LENGTH = 3 * USERNAME_MAX_LENGTH

#: The primary key of tables with a row for each login or e-mail, which may need more than 2³¹.
#: (SQLite numbers rows in an INTEGER only, which has 64 bits there.)
BIG_KEY = BigInteger().with_variant(Integer, "sqlite")


def exact_string(length: int) -> String:
    """Return a string type that compares code points.

    (MySQL's default collations treat ``é`` and ``e`` as equal.)
    """
    return String(length).with_variant(String(length, collation="utf8mb4_bin"), "mysql", "mariadb")


def utc_now() -> datetime:
    """Return the time in UTC, by the clock of links and cookies.

    Databases that store no time zone store it as UTC.
    """
    return datetime.fromtimestamp(time.time(), UTC)


def as_utc(moment: datetime) -> datetime:
    """Return a time from the database in UTC; a time without a zone is in UTC already."""
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


if TYPE_CHECKING:  # Flask-Login ships no types

    class LoginUser:
        """What Flask-Login needs from a user in addition to ``is_active``."""

        is_authenticated: bool
        is_anonymous: bool

        def get_id(self) -> str:
            """Return the id that the session stores."""

else:
    LoginUser = flask_login.UserMixin


class EmailUserMixin(LoginUser):
    """The columns of a user who logs in with the e-mail address."""

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(exact_string(EMAIL_MAX_LENGTH), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    first_name: Mapped[str] = mapped_column(String(150), default="")
    last_name: Mapped[str] = mapped_column(String(150), default="")
    is_active: Mapped[bool] = mapped_column(default=True)
    is_verified: Mapped[bool] = mapped_column(default=False)
    security_stamp: Mapped[str] = mapped_column(String(STAMP_LENGTH), default=new_stamp)
    date_joined: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=utc_now)
    last_login: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), default=None)


class UserMixin(EmailUserMixin):
    """The columns of a user with a name and an e-mail address."""

    username: Mapped[str] = mapped_column(String(USERNAME_MAX_LENGTH))
    username_key: Mapped[str] = mapped_column(exact_string(USERNAME_KEY_MAX_LENGTH), unique=True)


def _keep_email(user: EmailUserMixin, email: str | None, *_: Any) -> str | None:
    email = email and email.lower()  # a subclass may allow users without one
    if user.email and user.email != email:
        user.security_stamp = new_stamp()  # an administrator has changed it
    return email


def _renew_stamp(user: EmailUserMixin, value: bool, _: Any, initiator: Any) -> bool:
    # Setting the flag again later restores no session and no link.
    if getattr(user, initiator.key) and not value:
        user.security_stamp = new_stamp()
    return value


def _keep_key(user: Any, username: str | None, *_: Any) -> str | None:
    if username is not None and hasattr(user, "username_key"):
        user.username_key = username_key(username)
    return username


RULES: dict[str, Callable[..., Any]] = {
    "email": _keep_email,
    "is_active": _renew_stamp,
    "is_verified": _renew_stamp,
    "username": _keep_key,
}


@event.listens_for(EmailUserMixin, "attribute_instrument", propagate=True)
def _add_rule(model: type[Any], name: str, attribute: Any) -> None:
    # No ``@validates``: a model has at most one for a column, which is the application's. It gets
    # the value that the rule returns.
    if name in RULES:
        event.listen(attribute, "set", RULES[name], retval=True)


def add_flag_rules(model: type[Any], names: Collection[str]) -> set[str]:
    """Renew the stamp of a model with a mixin when one of these flags is set to false, too.

    Return the columns that have a rule.
    """
    if not issubclass(model, EmailUserMixin):
        return set()
    for name in names:
        attribute = getattr(model, name)
        if name not in RULES and not event.contains(attribute, "set", _renew_stamp):
            event.listen(attribute, "set", _renew_stamp, retval=True, propagate=True)
    return {*RULES, *names}
