"""The pages of the site: each is a form on an action of the extension."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, flash, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required
from flask_wtf import FlaskForm
from markupsafe import Markup
from marshmallow import ValidationError

from flask_registration import APIError, StepRequired, actions

from . import forms

site = Blueprint("site", __name__)

#: The text for an e-mail that may have been sent: it does not say whether there is an account.
SENT = "If there is such an account, we have sent it an e-mail. Follow its link."


@site.app_context_processor
def add_button() -> dict[str, Any]:
    """Return the form of the buttons in the templates."""
    return {"button": forms.ConfirmForm()}


def perform(form: FlaskForm, action: Callable[..., Any], **values: Any) -> bool:
    """Run an action on a valid form. Show the errors in the form, and return whether it worked.

    :raises StepRequired: the login needs another step.
    """
    if not form.validate_on_submit():
        return False
    try:
        action(**values)
    except ValidationError as error:
        show_errors(form, error)
    except StepRequired:
        raise
    except APIError as error:
        flash(error.detail, "error")
    else:
        return True
    return False


def show_errors(form: FlaskForm, error: ValidationError) -> None:
    """Add messages to the fields that they are about; flash the others."""
    for name, messages in error.messages_dict.items():
        if name in form:
            form[name].errors = messages
        else:
            for message in messages:
                flash(message, "error")


def link_parameters(*names: str) -> dict[str, str]:
    """Return the parameters of a link in an e-mail, which are in the URL of its page."""
    return {
        name: request.args.get(name, "") for name in (*names, "user_id", "timestamp", "signature")
    }


def page(form: FlaskForm, title: str, action: str, **variables: Any) -> str:
    """Return the page of a form."""
    return render_template("form.html", form=form, title=title, action=action, **variables)


# Without a login


@site.get("/")
def home() -> str:
    """Return the first page."""
    return render_template("home.html")


@site.route("/register", methods=["GET", "POST"])
def register() -> ResponseReturnValue:
    """Create an account."""
    form = forms.RegisterForm()
    values = {name: form[name].data for name in ("username", "email", "password")}
    if perform(form, actions.register, **values):
        flash("Almost done: we have sent you an e-mail. Follow its link to activate your account.")
        return redirect(url_for("site.login"))
    return page(form, "Register", "Register", links=[("Send the e-mail again", "site.resend")])


@site.route("/resend", methods=["GET", "POST"])
def resend() -> ResponseReturnValue:
    """Send the e-mail of the registration again."""
    form = forms.AccountForm()
    if perform(form, actions.resend_verification, login=form.login.data):
        flash(SENT)
        return redirect(url_for("site.login"))
    return page(form, "Confirm your e-mail address", "Send the e-mail again")


@site.route("/verify-registration/", methods=["GET", "POST"])
def verify_registration() -> ResponseReturnValue:
    """Activate an account. Opening the link changes nothing, since programs open links, too."""
    form = forms.ConfirmForm()
    if perform(form, actions.verify_registration, **link_parameters()):
        flash("Your account is active. Log in.")
        return redirect(url_for("site.login"))
    text = "Click to activate your account. If you did not register, close this page."
    return page(form, "Confirm your e-mail address", "Activate my account", text=text)


@site.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    """Log in, and go on to the page that asked for it."""
    form = forms.LoginForm()
    values = {
        "login": form.login.data,
        "password": form.password.data,
        "remember": form.remember.data,
    }
    try:
        if perform(form, actions.login, **values):
            return redirect(next_page())
    except StepRequired as error:
        session["challenge"] = error.challenge
        return redirect(url_for("site.second_factor", next=next_page()))
    links = [("Forgot your password?", "site.forgotten"), ("No e-mail?", "site.resend")]
    return page(form, "Log in", "Log in", links=links)


@site.route("/second-factor", methods=["GET", "POST"])
def second_factor() -> ResponseReturnValue:
    """Finish a login with a code."""
    form = forms.CodeForm()
    challenge = session.get("challenge", "")
    if perform(form, actions.second_factor, challenge=challenge, code=form.code.data):
        return redirect(next_page())
    text = "Enter a code of your authenticator app, or one of your recovery codes."
    links = [("Begin again", "site.login")]
    return page(form, "One more step", "Log in", text=text, links=links)


def next_page() -> str:
    """Return the page that Flask-Login sent to the login, if it is one of this site."""
    wanted = request.args.get("next", "").replace("\\", "/")
    parts = urlsplit(wanted)
    is_ours = wanted.startswith("/") and not wanted.startswith("//") and not parts.netloc
    return wanted if is_ours else url_for("site.home")


@site.route("/forgotten-password", methods=["GET", "POST"])
def forgotten() -> ResponseReturnValue:
    """Send an e-mail with a link to choose a new password."""
    form = forms.AccountForm()
    if perform(form, actions.send_reset_password_link, login=form.login.data):
        flash(SENT)
        return redirect(url_for("site.login"))
    return page(form, "Forgot your password?", "Send me a link")


@site.route("/reset-password/", methods=["GET", "POST"])
def reset_password() -> ResponseReturnValue:
    """Choose a new password, with the link of an e-mail."""
    form = forms.NewPasswordForm()
    link, password = link_parameters(), form.password.data
    if perform(form, actions.reset_password, **link, password=password):
        flash("Your password was changed. Log in with it.")
        return redirect(url_for("site.login"))
    text = "This logs your account out on all devices."
    return page(form, "Choose a new password", "Set the password", text=text)


@site.route("/verify-email/", methods=["GET", "POST"])
def verify_email() -> ResponseReturnValue:
    """Confirm another e-mail address, with the link that it received."""
    form = forms.ConfirmForm()
    if perform(form, actions.verify_email, **link_parameters("email")):
        flash("Your new e-mail address is confirmed.")
        return redirect(url_for("site.home"))
    text = "Click to use your new e-mail address for your account."
    return page(form, "Confirm your new e-mail address", "Confirm", text=text)


@site.route("/undo-email-change/", methods=["GET", "POST"])
def undo_email_change() -> ResponseReturnValue:
    """Restore the earlier e-mail address, with the link that it received."""
    form = forms.ConfirmForm()
    if perform(form, actions.undo_email_change, **link_parameters("email")):
        flash("Your e-mail address was restored. Now choose a new password.")
        return redirect(url_for("site.forgotten"))
    text = "This restores your e-mail address and logs your account out on all devices."
    return page(form, "Undo this change", "Undo the change", text=text)


# With a login


@site.post("/logout")
@login_required  # type: ignore[untyped-decorator]  # Flask-Login ships no types
def logout() -> ResponseReturnValue:
    """Log out this browser."""
    if perform(forms.ConfirmForm(), actions.logout):
        flash("You are logged out.")
    return redirect(url_for("site.home"))


@site.post("/logout-everywhere")
@login_required  # type: ignore[untyped-decorator]
def log_out_everywhere() -> ResponseReturnValue:
    """Log out all browsers and apps."""
    if perform(forms.ConfirmForm(), actions.logout, everywhere=True):
        flash("You are logged out everywhere.")
    return redirect(url_for("site.home"))


@site.route("/profile", methods=["GET", "POST"])
@login_required  # type: ignore[untyped-decorator]
def profile() -> ResponseReturnValue:
    """Change the profile."""
    form = forms.ProfileForm(obj=current_user)
    values = {name: form[name].data for name in ("username", "first_name", "last_name")}
    if form.password.data:
        values["password"] = form.password.data
    if perform(form, actions.update_profile, **values):
        flash("Your profile was saved.")
        return redirect(url_for("site.home"))
    links = [
        ("Change your password", "site.change_password"),
        ("Change your e-mail address", "site.change_email"),
        ("Delete your account", "site.delete"),
    ]
    return page(form, "Your profile", "Save", links=links)


@site.route("/change-password", methods=["GET", "POST"])
@login_required  # type: ignore[untyped-decorator]
def change_password() -> ResponseReturnValue:
    """Change the password."""
    form = forms.PasswordForm()
    values = {"old_password": form.old_password.data, "password": form.password.data}
    if perform(form, actions.change_password, **values):
        flash("Your password was changed. Other browsers and apps are logged out.")
        return redirect(url_for("site.home"))
    return page(form, "Change your password", "Change the password")


@site.route("/change-email", methods=["GET", "POST"])
@login_required  # type: ignore[untyped-decorator]
def change_email() -> ResponseReturnValue:
    """Send a link to another e-mail address."""
    form = forms.EmailForm()
    values = {"email": form.email.data, "password": form.password.data}
    if perform(form, actions.register_email, **values):
        flash("We have sent an e-mail to the new address. Follow its link to use the address.")
        return redirect(url_for("site.home"))
    text = f"Your e-mail address is {current_user.email}."
    return page(form, "Change your e-mail address", "Send me a link", text=text)


@site.get("/sessions")
@login_required  # type: ignore[untyped-decorator]
def sessions() -> str:
    """List where the user is logged in."""
    return render_template("sessions.html", sessions=actions.logins())


@site.post("/sessions/<login_id>")
@login_required  # type: ignore[untyped-decorator]
def end_session(login_id: str) -> ResponseReturnValue:
    """End a session."""
    if perform(forms.ConfirmForm(), actions.revoke_login, login_id=login_id):
        flash("The session was ended.")
    return redirect(url_for("site.sessions"))


@site.route("/two-factor", methods=["GET", "POST"])
@login_required  # type: ignore[untyped-decorator]
def two_factor() -> ResponseReturnValue:
    """Add an authenticator app, or show that there is one."""
    if actions.credentials():
        return redirect(url_for("site.remove_two_factor"))
    form, app = forms.DeleteForm(), {}

    def add(password: str) -> None:
        app.update(actions.add_totp(password))

    if perform(form, add, password=form.password.data):
        # The image is made by the extension, from a secret and the name of the account.
        image = Markup(app["qr"])  # noqa: S704
        return confirm_page(forms.CodeForm(formdata=None), secret=app["secret"], image=image)
    text = "A login then needs your password and a code of an app on your phone."
    return page(form, "Two-factor authentication", "Turn on", text=text)


@site.post("/two-factor/confirm")
@login_required  # type: ignore[untyped-decorator]
def confirm_two_factor() -> ResponseReturnValue:
    """Turn two-factor authentication on with a code of the app, and show the recovery codes."""
    form = forms.CodeForm()
    codes: list[str] = []

    def confirm(code: str) -> None:
        codes.extend(actions.confirm_totp(code)["recovery_codes"])

    if perform(form, confirm, code=form.code.data):
        return render_template("recovery_codes.html", codes=codes)
    return confirm_page(form)


def confirm_page(form: FlaskForm, **variables: Any) -> str:
    """Return the page that asks for a code of the new app."""
    return render_template("two_factor.html", form=form, **variables)


@site.route("/two-factor/remove", methods=["GET", "POST"])
@login_required  # type: ignore[untyped-decorator]
def remove_two_factor() -> ResponseReturnValue:
    """Turn two-factor authentication off."""
    form = forms.RemoveFactorForm()
    values = {"code": form.code.data, "password": form.password.data}
    if perform(form, actions.remove_totp, **values):
        flash("Two-factor authentication is off.")
        return redirect(url_for("site.home"))
    text = "It is on. To turn it off, enter a code of your app or a recovery code."
    return page(form, "Two-factor authentication", "Turn off", text=text, danger=True)


@site.route("/delete-account", methods=["GET", "POST"])
@login_required  # type: ignore[untyped-decorator]
def delete() -> ResponseReturnValue:
    """Delete the account."""
    form = forms.DeleteForm()
    if perform(form, actions.delete_profile, password=form.password.data):
        flash("Your account was deleted.")
        return redirect(url_for("site.home"))
    text = "This cannot be undone."
    return page(form, "Delete your account", "Delete my account", text=text, danger=True)
