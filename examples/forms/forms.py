"""The forms of the site.

The fields have the names of the actions' arguments. The actions validate their values, so a form
only declares which fields it has.
"""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import BooleanField, EmailField, PasswordField, StringField
from wtforms.validators import EqualTo, InputRequired


def current_password(label: str = "Current password") -> PasswordField:
    """Return the field of the password that the user has."""
    attributes = {"autocomplete": "current-password"}
    return PasswordField(label, [InputRequired()], render_kw=attributes)


def new_password(label: str) -> PasswordField:
    """Return the field of a password that the user chooses."""
    attributes = {"autocomplete": "new-password"}
    return PasswordField(label, [InputRequired()], render_kw=attributes)


def same_password(label: str) -> PasswordField:
    """Return the field for the same password again. No action needs it."""
    is_same = EqualTo("password", "The two passwords do not match.")
    return PasswordField(label, [is_same], render_kw={"autocomplete": "new-password"})


class ConfirmForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF ships no types
    """A button: it has nothing but the token against forged requests."""


class CodeForm(FlaskForm):  # type: ignore[misc]
    """A code of the authenticator app, or a recovery code."""

    code = StringField("Code", [InputRequired()], render_kw={"autocomplete": "one-time-code"})


class RemoveFactorForm(CodeForm):
    """A code, and the password."""

    password = current_password()


class RegisterForm(FlaskForm):  # type: ignore[misc]
    """A new account."""

    username = StringField("Username", [InputRequired()], render_kw={"autocomplete": "username"})
    email = EmailField("E-mail address", [InputRequired()], render_kw={"autocomplete": "email"})
    password = new_password("Password")
    password_confirm = same_password("Password, again")


class LoginForm(FlaskForm):  # type: ignore[misc]
    """A login."""

    login = StringField(
        "Username or e-mail address", [InputRequired()], render_kw={"autocomplete": "username"}
    )
    password = current_password("Password")
    remember = BooleanField("Stay logged in")


class AccountForm(FlaskForm):  # type: ignore[misc]
    """The account that needs an e-mail."""

    login = StringField(
        "Username or e-mail address", [InputRequired()], render_kw={"autocomplete": "username"}
    )


class ProfileForm(FlaskForm):  # type: ignore[misc]
    """What the user can change. The password is asked for with a new username only."""

    username = StringField("Username", [InputRequired()], render_kw={"autocomplete": "username"})
    first_name = StringField("First name", render_kw={"autocomplete": "given-name"})
    last_name = StringField("Last name", render_kw={"autocomplete": "family-name"})
    password = PasswordField(
        "Password, to change the username", render_kw={"autocomplete": "current-password"}
    )


class PasswordForm(FlaskForm):  # type: ignore[misc]
    """A new password in place of the one that the user knows."""

    old_password = current_password()
    password = new_password("New password")
    password_confirm = same_password("New password, again")


class NewPasswordForm(FlaskForm):  # type: ignore[misc]
    """A new password in place of a forgotten one."""

    password = new_password("New password")
    password_confirm = same_password("New password, again")


class EmailForm(FlaskForm):  # type: ignore[misc]
    """Another e-mail address."""

    email = EmailField("New e-mail address", [InputRequired()], render_kw={"autocomplete": "email"})
    password = current_password()


class DeleteForm(FlaskForm):  # type: ignore[misc]
    """The end of an account."""

    password = current_password()
