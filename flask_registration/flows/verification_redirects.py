"""Pages behind the links of e-mails, for applications without a front end.

Opening a page changes nothing, so that a mail scanner cannot use a link; its button does. Not among
the default flows: ``Registration(flows=[*DEFAULT_FLOWS, verification_redirects.flow])``.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from flask import Response, current_app, make_response, redirect, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import login_url
from marshmallow import ValidationError, fields, validate
from werkzeug.routing import BuildError

from ..auth.links import is_absolute_url
from ..errors import APIError, EndpointDisabled, NotApproved, SentFromOtherSite, StepRequired
from ..http.bodies import check_confirmation, is_from_another_site
from ..http.flow import Action, Flow
from ..http.responses import by_field, translate
from ..i18n.messages import Message
from ..settings import Settings, setting


def _url(when: str) -> Any:
    return setting(None, f"The URL {when}.", validate=_check_url)


def _check_url(url: str) -> None:
    if not (is_absolute_url(url) or url.startswith("/")):
        raise ValueError("must begin with the scheme and the host, or with a slash")


@dataclass(frozen=True, kw_only=True)
class VerificationRedirectsSettings(Settings):
    """Redirects of the pages behind links.

    Without a URL, a page shows the result.
    """

    verify_registration_success_url: str | None = _url("after a successful verification")
    verify_registration_failure_url: str | None = _url("after a failed verification")
    verify_email_success_url: str | None = _url("after an e-mail change")
    verify_email_failure_url: str | None = _url("after a failed e-mail change")
    reset_password_success_url: str | None = _url("after a password reset")
    reset_password_failure_url: str | None = _url("after a failed password reset")
    finish_sign_up_success_url: str | None = _url("after a sign-up")
    finish_sign_up_failure_url: str | None = _url("after a failed sign-up")
    accept_invitation_success_url: str | None = _url("after an invitation was accepted")
    accept_invitation_failure_url: str | None = _url("after an invitation failed")
    login_by_link_success_url: str | None = _url("after a login by e-mail")
    login_by_link_failure_url: str | None = _url("after a failed login by e-mail")
    login_page_url: str | None = setting(
        None,
        "The URL of your login page. A page has a link to it when its link has failed, and when "
        "the user can log in.",
        default_text="Flask-Login's `login_view`, if it is set",
        validate=_check_url,
    )


@dataclass(frozen=True)
class Page:
    """A page with one button, and the endpoint that the button calls.

    :ivar labels: the fields of its form, and of further fields how they are called.
    :ivar has_schema: whether its form has the required fields of the endpoint's schema instead.
    :ivar outlasts_step: whether it is done although a step of the login is left.
    :ivar decisions: values of the field ``decision``, each with a button of its own.
    """

    endpoint: str
    title: str
    text: str
    button: str
    done: str
    labels: Mapping[str, str] = field(default_factory=dict)
    has_schema: bool = False
    outlasts_step: bool = True
    decisions: Mapping[str, str] = field(default_factory=dict)


VERIFY_REGISTRATION = Page(
    "verify_registration",
    Message("Confirm your e-mail address"),
    Message("Click to activate your account. If you did not sign up, close this page."),
    Message("Confirm my e-mail address"),
    Message("Your e-mail address is confirmed."),
)
VERIFY_EMAIL = Page(
    "verify_email",
    Message("Confirm your new e-mail address"),
    Message("Click to use your new e-mail address for your account."),
    Message("Confirm my new e-mail address"),
    Message("Your new e-mail address is confirmed."),
)
RESET_PASSWORD = Page(
    "reset_password",
    Message("Choose a new password"),
    Message("This logs your account out on all devices."),
    Message("Set the password"),
    Message("Your password was changed. You can log in with it now."),
    {"password": Message("New password"), "password_confirm": Message("Confirm password")},
)
FINISH_SIGN_UP = Page(
    "finish_sign_up",
    Message("Finish signing up"),
    Message("This creates your account. If you did not sign up, close this page."),
    Message("Create my account"),
    Message("Your account is ready."),
    {
        "username": Message("Username"),
        "password": Message("Password"),
        "password_confirm": Message("Confirm password"),
    },
    has_schema=True,
)
ACCEPT_INVITATION = Page(
    "accept_invitation",
    Message("Accept the invitation"),
    Message("This creates your account. If you do not want one, close this page."),
    FINISH_SIGN_UP.button,
    FINISH_SIGN_UP.done,
    FINISH_SIGN_UP.labels,
    has_schema=True,
)
UNDO_EMAIL_CHANGE = Page(
    "undo_email_change",
    Message("Undo this change"),
    Message("This restores the old e-mail address and logs your account out on all devices."),
    Message("Undo this change"),
    Message("The change was undone. Now reset your password on the login page."),
)
LOGIN_BY_LINK = Page(
    "login_by_link",
    Message("Log in"),
    Message("Click to log in. If you did not ask for this, close this page."),
    Message("Log in"),
    Message("You are logged in."),
    outlasts_step=False,
)
CANCEL_RECOVERY = Page(
    "cancel_recovery",
    Message("Keep two-factor authentication"),
    Message("Click to keep two-factor authentication on for your account."),
    Message("Keep it on"),
    Message("Two-factor authentication stays on. Now reset your password on the login page."),
)
CANCEL_DELETION = Page(
    "cancel_deletion",
    Message("Your account will be deleted"),
    Message("If you changed your mind, or if that was not you, keep your account."),
    Message("Keep my account"),
    Message("Your account was not deleted. You can log in again."),
)
DECIDE_APPROVAL = Page(
    "decide_approval",
    Message("A new account is waiting for approval"),
    Message("The e-mail with this link shows who signed up. Approve this account?"),
    Message("Approve"),
    Message("Your decision was saved."),
    decisions={"approve": Message("Approve"), "reject": Message("Reject")},
)
REPORT_LOGIN = Page(
    "report_login",
    Message("This was not me"),
    Message("This logs your account out on all devices and removes your password."),
    Message("Log out on all devices"),
    Message("You were logged out on all devices. We sent you a link to choose a new password."),
)

FAILED = Message("That did not work")
INCOMPLETE = Message("This link is incomplete. Copy the whole link from the e-mail.")

#: The parameters of links.
PARAMETERS = ("user_id", "email", "timestamp", "signature")

#: The template variables that are translated.
LOCALIZED = ("title", "text", "button", "decisions", "problems", "login_text")

flow: Flow[VerificationRedirectsSettings] = Flow(
    "verification_redirects", VerificationRedirectsSettings, pages=True
)


def declare(page: Page) -> None:
    """Declare the two endpoints of a page: the page itself, and what its button calls."""

    def show_page() -> ResponseReturnValue:
        return show(page)

    def confirm_page() -> ResponseReturnValue:
        return confirm(page)

    path = f"/{page.endpoint.replace('_', '-')}/"
    show_page.__name__ = f"{page.endpoint}_page"
    confirm_page.__name__ = f"{page.endpoint}_confirm"
    flow.get(path)(show_page)
    flow.endpoint(f"{path}confirm/", methods=["POST", "GET"])(confirm_page)


for _page in (
    VERIFY_REGISTRATION,
    VERIFY_EMAIL,
    RESET_PASSWORD,
    FINISH_SIGN_UP,
    ACCEPT_INVITATION,
    UNDO_EMAIL_CHANGE,
    LOGIN_BY_LINK,
    REPORT_LOGIN,
    CANCEL_RECOVERY,
    CANCEL_DELETION,
    DECIDE_APPROVAL,
):
    declare(_page)


@flow.get("/pages.css")
def stylesheet() -> Response:
    """Return the stylesheet of the pages. A strict content security policy allows no inline one."""
    text = flow.state.composer.renderer.html("registration/page/confirm.css")
    response = Response(text, mimetype="text/css")
    response.cache_control.max_age = 3600
    return response


def show(page: Page, errors: Mapping[str, Any] | None = None) -> Response:
    """Show a page with the parameters of the link in its form.

    :param errors: of the form that was sent, by field.
    :raises EndpointDisabled: the flow of this page is not active.
    """
    inputs, errors = form_fields(page, action_of(page)), dict(errors or {})
    given = request.args if request.method == "GET" else request.form
    for each in inputs:  # not the values of the client
        each["label"] = translate(each["label"])
        each["errors"] = translate(errors.pop(each["name"], []))
        # A new version of the terms is not accepted yet.
        each["checked"] = request.form.get(each["name"]) == each["value"]
        if request.method == "POST" and each["type"] in ("text", "date"):
            each["value"] = request.form.get(each["name"], "")
    return render(
        page,
        text=page.text,
        button=page.button,
        decisions=page.decisions,
        action=url_for(f"registration.{page.endpoint}_confirm"),
        parameters={name: given[name] for name in PARAMETERS if name in given},
        fields=inputs,
        problems=[text for found in errors.values() if isinstance(found, list) for text in found],
    )


def form_fields(page: Page, action: Action[Any]) -> list[dict[str, Any]]:
    """Return the fields of a form: name, label, type, value, ``autocomplete`` hint, and URL.

    The URL is that of a page to read before. A field of a schema is a checkbox if it is true or
    false, or if only one value is valid.
    """
    if not (page.has_schema and action.schema):
        return [_form_field(name, label) for name, label in page.labels.items()]
    found = []
    for name, each in action.schema.load_fields.items():
        key = each.data_key or name
        if not each.required or flow.state.fields.email in (name, each.attribute):
            continue
        label = page.labels.get(key) or each.metadata.get("label")
        label = label or key.replace("_", " ").capitalize()
        if key in ("password", "password_confirm"):
            found.append(_form_field(key, label))
            continue
        kind, value = _input(each)
        hint = "username" if name in flow.state.fields.login else None
        url = each.metadata.get("url")
        found.append(_form_field(key, label, kind, value=value, hint=hint, url=url))
    names = [each["name"] for each in found]
    if "password" in names and "password_confirm" not in names:  # typed twice in any case
        found.append(_form_field("password_confirm", page.labels["password_confirm"]))
    return found


def _form_field(
    name: str,
    label: str,
    kind: str = "password",
    *,
    value: str = "",
    hint: str | None = "new-password",
    url: str | None = None,
) -> dict[str, Any]:
    return {"name": name, "label": label, "type": kind, "value": value, "hint": hint, "url": url}


def _input(schema_field: fields.Field[Any]) -> tuple[str, str]:
    """Return the type and the value of a field's input."""
    if isinstance(schema_field, fields.Boolean):
        return "checkbox", "true"
    for each in schema_field.validators:
        if isinstance(each, validate.Equal):
            return "checkbox", str(each.comparable)
    return "date" if isinstance(schema_field, fields.Date) else "text", ""


def confirm(page: Page) -> ResponseReturnValue:
    """Run the endpoint with the form as the request body, and redirect.

    The user can correct an invalid field.
    """
    action = action_of(page)
    if request.method == "GET":  # the URL of a form that was sent before, without its link
        return render(page, title=FAILED, text=INCOMPLETE, status=400, login=login_page())
    if is_from_another_site():
        return render(page, title=FAILED, text=SentFromOtherSite.text, status=400)
    done = page.done
    urls = vars(flow.settings)
    # What its JSON endpoint has in the URL.
    late = (lambda: {"user_id": request.form.get("user_id", "")}) if page.decisions else dict
    try:
        try:
            action.run(read_form, late=late)
        except (NotApproved, StepRequired) as left:
            if not page.outlasts_step:
                raise
            if page.has_schema and isinstance(left, NotApproved):  # the new account is not ready
                done = left.detail
    except ValidationError as error:
        errors: dict[str, Any] = by_field(error)
        if page.labels and not errors.keys() <= set(PARAMETERS):
            return show(page, errors)
        failure: str = INCOMPLETE
    except APIError as error:
        if error.status in (429, 503):  # the link is still valid: the form can be sent again
            response = render(page, title=FAILED, text=error.detail, status=error.status)
            response.headers.extend(error.headers)
            return response
        failure = error.detail
    else:
        if success_url := urls.get(f"{page.endpoint}_success_url"):
            return redirect(success_url)
        login = None if "_user_id" in session else login_page()  # Flask-Login's key
        return render(page, title=Message("Done"), text=done, login=login)
    if failure_url := urls.get(f"{page.endpoint}_failure_url"):
        return redirect(failure_url)
    return render(page, title=FAILED, text=failure, status=400, login=login_page())


def login_page() -> str | None:
    """Return the URL of the application's login page, if it is known."""
    view = current_app.login_manager.login_view  # type: ignore[attr-defined]  # of Flask-Login
    with suppress(BuildError):  # there is no such view
        return flow.settings.login_page_url or (login_url(view) if view else None)
    return None


def read_form() -> dict[str, Any]:
    """Return the fields of the form, after the client was counted.

    :raises marshmallow.ValidationError: the two passwords differ; the endpoint may not compare
        them.
    """
    # A form without its link must not count as a request of the current user.
    body = {"timestamp": "", "signature": "", **request.form.to_dict()}
    check_confirmation({"password_confirm": None, **body})
    return body


def action_of(page: Page) -> Action[Any]:
    """Return what the JSON endpoint of a page does.

    :raises EndpointDisabled: its flow is not active.
    """
    action: Action[Any] | None = flow.state.actions.get(page.endpoint)
    if action is None:
        raise EndpointDisabled
    return action


def render(page: Page, *, text: str, status: int = 200, **context: Any) -> Response:
    """Render a page. Its URL contains a secret, so other sites do not receive it."""
    shown = {
        "button": None,
        "decisions": {},
        "title": page.title,
        "text": text,
        "fields": [],
        "problems": [],
        "login": None,
        "login_text": LOGIN_BY_LINK.button,
        **context,
    }
    html = flow.state.composer.renderer.html(
        "registration/page/confirm.html",
        **{name: translate(value) if name in LOCALIZED else value for name, value in shown.items()},
        language=flow.state.languages.for_response(),
        site_name=flow.state.composer.site_name,
    )
    response = make_response(html, status)
    logo = flow.state.composer.renderer.brand["logo_url"] or "'none'"
    # With "no-referrer" our own form has no Origin.
    response.headers["Referrer-Policy"] = "same-origin"
    # Our page has no inline style, but the application's page may have some.
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; "
        f"base-uri 'none'; img-src {logo.partition('?')[0]}"
    )
    return response
