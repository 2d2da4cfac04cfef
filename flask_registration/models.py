"""Columns for those who do not want to write their own: a convenience, not a condition."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import flask_login
from sqlalchemy import BigInteger, DateTime, Integer, String
from sqlalchemy.orm import Mapped, mapped_column, validates

from .users import EMAIL_MAX_LENGTH, new_stamp, next_stamp, username_key

USERNAME_MAX_LENGTH = 150

#: NFKC and case folding make at most three characters of one (Unicode 15, SpecialCasing.txt).
USERNAME_KEY_MAX_LENGTH = 3 * USERNAME_MAX_LENGTH


#: The key of a table that gets a row for each login or mail: 2³¹ of these are soon there. (SQLite counts rows by
#: themselves in an INTEGER only, which has 64 bits there.)
BIG_KEY = BigInteger().with_variant(Integer, "sqlite")


def exact_string(length: int) -> String:
    """A string that compares code point by code point; MySQL's default collations take ``é`` for ``e``."""
    return String(length).with_variant(String(length, collation="utf8mb4_bin"), "mysql", "mariadb")


def utc_now() -> datetime:
    """The time with its zone, by the clock of links and cookies; databases that keep no zone keep it as UTC."""
    return datetime.fromtimestamp(time.time(), timezone.utc)


def as_utc(moment: datetime) -> datetime:
    """A time out of a database, with its zone."""
    return moment.astimezone(timezone.utc) if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


if TYPE_CHECKING:  # Flask-Login ships no types

    class LoginUser:
        """What Flask-Login asks of a user, beside ``is_active``."""

        @property
        def is_authenticated(self) -> bool: ...
        @property
        def is_anonymous(self) -> bool: ...
        def get_id(self) -> str: ...

else:
    LoginUser = flask_login.UserMixin


class EmailUserMixin(LoginUser):
    """The columns of a user who logs in by e-mail address alone."""

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(exact_string(EMAIL_MAX_LENGTH), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    first_name: Mapped[str] = mapped_column(String(150), default="")
    last_name: Mapped[str] = mapped_column(String(150), default="")
    is_active: Mapped[bool] = mapped_column(default=True)
    is_verified: Mapped[bool] = mapped_column(default=False)
    security_stamp: Mapped[str] = mapped_column(String(32), default=new_stamp)
    date_joined: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=utc_now)
    last_login: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), default=None)

    @validates("email")
    def _store_in_lower_case(self, _: str, email: str | None) -> str | None:
        return email and email.lower()  # a subclass may allow users without one

    @validates("is_active")
    def _end_everything(self, _: str, is_active: bool) -> bool:
        if self.is_active and not is_active:  # for good: a suspension that is lifted brings no session and no link back
            self.security_stamp = next_stamp(self.security_stamp or "")  # there is none before the first flush
        return is_active


class UserMixin(EmailUserMixin):
    """The columns of a user with a name and an e-mail address."""

    username: Mapped[str] = mapped_column(String(USERNAME_MAX_LENGTH))
    username_key: Mapped[str] = mapped_column(exact_string(USERNAME_KEY_MAX_LENGTH), unique=True)

    @validates("username")
    def _keep_key(self, _: str, username: str | None) -> str | None:
        if username is not None:  # likewise
            self.username_key = username_key(username)
        return username
