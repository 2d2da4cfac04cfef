"""Pages behind mailed links, for applications without a front end of their own.

Opening a page changes nothing, so that mail scanners cannot use up a link; its button does.
Not among the default flows: ``Registration(flows=[*DEFAULT_FLOWS, verification_redirects.flow])``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from flask import Response, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from marshmallow import ValidationError
from werkzeug.exceptions import HTTPException, NotFound

from ..errors import APIError
from ..flow import Flow
from ..languages import said
from ..links import is_absolute_url
from ..messages import Message
from ..settings import PREFIX, Settings, SettingsReader, setting
from ..userfields import UserFields
from ..web import by_field, form_as_body


@dataclass(frozen=True, kw_only=True)
class VerificationRedirectsSettings(Settings):
    """Where the pages of `verification_redirects` lead. Without an URL, a page says it itself."""

    verify_registration_success_url: str | None = setting(None, "Where a verified registration leads.")
    verify_registration_failure_url: str | None = setting(None, "Where a bad link to a registration leads.")
    verify_email_success_url: str | None = setting(None, "Where a verified address leads.")
    verify_email_failure_url: str | None = setting(None, "Where a bad link to an address leads.")
    reset_password_success_url: str | None = setting(None, "Where a new password leads.")
    reset_password_failure_url: str | None = setting(None, "Where a bad link to a new password leads.")


@dataclass(frozen=True)
class Page:
    """A page with one button, and the endpoint that the button is for."""

    endpoint: str
    title: str
    text: str
    button: str
    done: str
    passwords: Mapping[str, str]


VERIFY_REGISTRATION = Page(
    "verify_registration",
    Message("Confirm your e-mail address"),
    Message("One click, and your account is ready. If it was not you who registered, close this page instead."),
    Message("Confirm my address"),
    Message("Your address is confirmed."),
    {},
)
VERIFY_EMAIL = Page(
    "verify_email",
    Message("Confirm your new e-mail address"),
    Message("One click, and your account has its new address."),
    Message("Confirm my new address"),
    Message("Your new address is confirmed."),
    {},
)
RESET_PASSWORD = Page(
    "reset_password",
    Message("Choose a new password"),
    Message("Everybody who is logged in to your account will be logged out."),
    Message("Set the password"),
    Message("Your password is changed. You can log in with it now."),
    {"password": Message("New password"), "password_confirm": Message("Once more")},
)

UNDO_EMAIL_CHANGE = Page(
    "undo_email_change",
    Message("Take the change back"),
    Message("Your account gets its old e-mail address back, and everybody who is logged in to it will be logged out."),
    Message("Take the change back"),
    Message("The change is taken back. Now choose a new password, by “forgotten password” where you log in."),
    {},
)

FAILED = Message("That did not work")
INCOMPLETE = Message("This link is not complete.")

#: What of a page is in the language of its reader.
TEXTS = ("title", "text", "button", "passwords", "errors")

flow: Flow[VerificationRedirectsSettings] = Flow("verification_redirects", VerificationRedirectsSettings, pages=True)


@flow.get("/verify-registration/")
def verify_registration_page_view() -> ResponseReturnValue:
    """The page behind a link that verifies a registration."""
    return show(VERIFY_REGISTRATION)


@flow.endpoint("/verify-registration/confirm/", methods=["POST", "GET"])
def verify_registration_confirm_view() -> ResponseReturnValue:
    """What its button does."""
    settings = flow.settings
    return confirm(
        VERIFY_REGISTRATION, settings.verify_registration_success_url, settings.verify_registration_failure_url
    )


@flow.get("/verify-email/")
def verify_email_page_view() -> ResponseReturnValue:
    """The page behind a link that verifies a new address."""
    return show(VERIFY_EMAIL)


@flow.endpoint("/verify-email/confirm/", methods=["POST", "GET"])
def verify_email_confirm_view() -> ResponseReturnValue:
    """What its button does."""
    return confirm(VERIFY_EMAIL, flow.settings.verify_email_success_url, flow.settings.verify_email_failure_url)


@flow.get("/reset-password/")
def reset_password_page_view() -> ResponseReturnValue:
    """The page behind a link to a new password."""
    return show(RESET_PASSWORD)


@flow.endpoint("/reset-password/confirm/", methods=["POST", "GET"])
def reset_password_confirm_view() -> ResponseReturnValue:
    """What its button does."""
    return confirm(RESET_PASSWORD, flow.settings.reset_password_success_url, flow.settings.reset_password_failure_url)


@flow.get("/undo-email-change/")
def undo_email_change_page_view() -> ResponseReturnValue:
    """The page behind a link that takes a change of address back."""
    return show(UNDO_EMAIL_CHANGE)


@flow.endpoint("/undo-email-change/confirm/", methods=["POST", "GET"])
def undo_email_change_confirm_view() -> ResponseReturnValue:
    """What its button does."""
    return confirm(UNDO_EMAIL_CHANGE, None, None)


def show(page: Page, errors: Mapping[str, list[str]] | None = None) -> Response:
    """The page, with the link's parameters in its form.

    :raises werkzeug.exceptions.NotFound: the application left out the flow whose page it is.
    """
    endpoint_of(page)
    given = request.args if request.method == "GET" else request.form
    names = ("user_id", "email", "timestamp", "signature")
    return render(
        page,
        text=page.text,
        button=page.button,
        action=url_for(f"registration.{page.endpoint}_confirm"),
        parameters={name: given[name] for name in names if name in given},
        errors=errors or {},
    )


def confirm(page: Page, success_url: str | None, failure_url: str | None) -> ResponseReturnValue:
    """Hand the form to the JSON endpoint's own view, and lead on; a password that will not do can be typed again."""
    answer = endpoint_of(page)
    if request.method == "GET":  # the address of a page that was sent before: the link was in its form
        return render(page, title=FAILED, text=INCOMPLETE, status=400)
    if is_from_another_site():
        return render(page, title=FAILED, text=Message("This form was sent from another site."), status=400)
    body = request.form.to_dict()
    if body.get("password") != body.get("password_confirm"):  # the page asks twice, whether or not the endpoint does
        return show(page, {"password_confirm": [Message("The two passwords do not match.", code="mismatch")]})
    with form_as_body(body):
        try:
            answer()
        except ValidationError as error:
            errors: dict[str, Any] = by_field(error)
            if errors.keys() & page.passwords.keys():
                return show(page, errors)
            failure: str = INCOMPLETE
        except APIError as error:
            if error.status in (429, 503):  # the link is as good as it was: the form can be sent again
                response = render(page, title=FAILED, text=error.detail, status=error.status)
                response.headers.extend(error.headers)
                return response
            failure = error.detail
        except HTTPException as error:
            failure = error.description or ""
        else:
            return redirect(success_url) if success_url else render(page, title=Message("Done"), text=page.done)
    if failure_url:
        return redirect(failure_url)
    return render(page, title=FAILED, text=failure, status=400)


def endpoint_of(page: Page) -> Callable[[], Any]:
    """What answers the JSON endpoint of a page.

    :raises werkzeug.exceptions.NotFound: the application left out its flow.
    """
    handler = flow.kit.handlers.get(page.endpoint)
    if handler is None:
        raise NotFound("This is switched off here.")
    return handler


def is_from_another_site() -> bool:
    """Whether a browser says so of a form: another site must not log anybody in with a link of its own.

    ``Sec-Fetch-Site`` decides where there is one, as with HTTPS: it does not depend on the host that a proxy hands on.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        return site not in ("same-origin", "none")
    return origin is not None and urlsplit(origin).netloc != request.host


def render(page: Page, *, text: str, status: int = 200, **context: Any) -> Response:
    """One page; its URL is a secret, so that it tells nobody."""
    context = {"button": None, "title": page.title, "text": text, "passwords": page.passwords, **context}
    html = render_template(
        "registration/page/confirm.html",
        **{name: said(value) if name in TEXTS else value for name, value in context.items()},
        language=flow.kit.languages.of_reply(),
        site_name=flow.kit.composer.site_name,
    )
    response = make_response(html, status)
    response.headers["Referrer-Policy"] = "same-origin"  # with "no-referrer" our own form has no Origin
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
    )
    return response


@flow.check
def check(settings: VerificationRedirectsSettings, fields: UserFields | None, reader: SettingsReader) -> None:
    """Where a page leads must not depend on the request."""
    for name, url in vars(settings).items():
        if url is not None and not (is_absolute_url(url) or url.startswith("/")):
            reader.problem(
                PREFIX + name.upper(), f"is {url!r}: start it with the scheme and the host, or with a slash."
            )
