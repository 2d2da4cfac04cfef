"""The tables of the application."""

from __future__ import annotations

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from flask_registration import UserMixin

db = SQLAlchemy()


class User(UserMixin, db.Model):  # type: ignore[name-defined,misc]  # Flask-SQLAlchemy makes the class at run time
    """A user with an account."""


class Place(db.Model):  # type: ignore[name-defined,misc]
    """A place on the waiting list, of a verified e-mail address without an account."""

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
