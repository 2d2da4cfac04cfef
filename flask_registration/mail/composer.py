"""Compose e-mails from templates, before the commit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from dataclasses import fields as dataclass_fields
from datetime import timedelta
from enum import Enum
from functools import partial
from typing import Any, Literal, NamedTuple, cast

import jinja2
from flask import (
    Flask,
    before_render_template,
    current_app,
    has_request_context,
    request,
    template_rendered,
)

from ..i18n.languages import Languages
from ..i18n.messages import Message
from ..settings import PREFIX, Settings, SettingsReader, setting
from ..users.store import User
from .message import (
    Mail,
    RenderedMail,
    TemplateTranslator,
    html_to_text,
    new_message_id,
    wrap_lines,
)


class NotificationType(Enum):
    """What an e-mail is about."""

    REGISTER_VERIFICATION = "register"
    REGISTER_AGAIN = "register_again"
    EMAIL_TAKEN = "email_taken"
    RESET_PASSWORD_VERIFICATION = "reset_password"
    PASSWORD_CHANGED = "password_changed"
    REGISTER_EMAIL_VERIFICATION = "register_email"
    EMAIL_CHANGE_TAKEN = "email_change_taken"
    EMAIL_CHANGED = "email_changed"


#: E-mails about something that happened to an account. Only its owner can cause them.
NOTICES = (NotificationType.PASSWORD_CHANGED, NotificationType.EMAIL_CHANGED)


class NotificationMethod(Enum):
    """How a user is notified. There is one way."""

    EMAIL = "email"


NO_CONTENT = RenderedMail("", "", None)


def default_templates(notification_type: Enum) -> dict[str, str]:
    """Return the templates of the extension. An application overrides one by its name."""
    folder = f"registration/{notification_type.value}"
    return {
        "subject": f"{folder}/subject.txt",
        "text_body": f"{folder}/body.txt",
        "html_body": f"{folder}/body.html",
    }


def build_context(
    user: User,
    user_address: str,
    data: Mapping[str, Any],
    *,
    notification_type: Enum,
    notification_method: NotificationMethod,
    **kwargs: Any,
) -> dict[str, Any]:
    """Return the template variables: ``user``, ``email``, and all of ``data``."""
    return {"user": user, "email": user_address, **data}


@dataclass(frozen=True, kw_only=True)
class MailSettings(Settings):
    """What all e-mails have in common."""

    verification_from_email: str | None = setting(
        None, "The sender's e-mail address.", default_text="MAIL_DEFAULT_SENDER"
    )
    verification_reply_to_email: str | None = setting(
        None, "The e-mail address of the `Reply-To` header."
    )
    verification_email_html_to_text_converter: Callable[[str], str] = setting(
        html_to_text,
        "Makes the text part of an e-mail whose templates are HTML only: `converter(html)`.",
    )
    verification_template_context_builder: Callable[..., Mapping[str, Any]] = setting(
        build_context,
        "Makes the template variables: "
        "`builder(user, user_address, data, *, notification_type, notification_method, **kwargs)`.",
    )
    verification_template_renderer: Callable[..., Any] | None = setting(
        None,
        "Renders an e-mail: `renderer(template_config, context, **kwargs)` returns subject, text "
        "and HTML.",
        default_text="Flask's render_template",
    )
    verification_templates_selector: Callable[..., Mapping[str, Any]] | None = setting(
        None,
        "Chooses templates: "
        "`selector(*, request, user, notification_type, notification_method, **kwargs)` returns a "
        "dict with `subject`, and `body`, or `text_body` and/or `html_body`. A `LookupError` "
        "selects the default ones.",
    )
    site_name: str | None = setting(
        None, "The site's name in e-mails.", default_text="the host of the verification URL"
    )
    mail_dispatcher: Literal["background", "inline", "outbox", "celery"] | Callable[..., None] = (
        setting(
            "background",
            'When e-mails are sent. `"background"`: after the commit, by a small thread pool. '
            '`"inline"`: before the commit; a failure returns 503. `"outbox"`: queued in the '
            'database with the same transaction, so that none is lost. `"celery"`: by a task. Or a '
            "callable `dispatcher(message, *, send, **kwargs)`, which is called after the commit.",
        )
    )
    password_notice_enabled: bool = setting(
        True, "Whether the user receives an e-mail when the password was replaced."
    )
    mail_threads: int = setting(
        8,
        "The maximum number of e-mails that a process sends at the same time, each with a "
        "connection to the mail server. 32 e-mails can wait for each. If the queue is full, the "
        "request sends its own e-mail after the response.",
        minimum=1,
    )
    mail_timeout: timedelta = setting(
        timedelta(seconds=10),
        "How long to wait for the mail server, at each step.",
        minimum=timedelta(milliseconds=1),
    )
    mail_verify_tls: bool = setting(
        True, "Whether the mail server must have a certificate for its name."
    )
    mail_cooldown: timedelta = setting(
        timedelta(minutes=1),
        "Minimum time between two e-mails to the same e-mail address. Further e-mails in that time "
        "are dropped silently. Security notices are not limited. All processes count together if "
        "rate limits have a storage.",
    )


class Composer:
    """Composes e-mails.

    :param sender: the sender of all e-mails.
    :param site_name: the site's name in e-mails.
    """

    def __init__(
        self, settings: MailSettings, sender: str, site_name: str, languages: Languages
    ) -> None:
        self._settings = settings
        self._sender = sender
        self.site_name = site_name
        self._languages = languages

    def compose(
        self,
        notification_type: Enum,
        user: User,
        address: str,
        *,
        user_id: str,
        templates: Mapping[str, Any],
        data: Mapping[str, Any],
        sender: Callable[..., None] | None = None,
    ) -> Mail:
        """Compose an e-mail about ``user`` to an e-mail address.

        :param sender: a function of the application that sends it instead:
            ``sender(request, user, **data)``.
        """
        settings = self._settings
        kind = {
            "notification_type": notification_type,
            "notification_method": NotificationMethod.EMAIL,
        }
        has_request = has_request_context()
        current_request = cast(Any, request)._get_current_object() if has_request else None
        mail = Mail(
            to=address,
            sender=self._sender,
            reply_to=settings.verification_reply_to_email,
            content=NO_CONTENT,
            template=notification_type.value,
            user_id=user_id,
            message_id=new_message_id(self._sender),
            written_at=time.time(),
            limited=notification_type not in NOTICES,
        )
        with self._languages.for_email(user) as language:
            translated = {
                name: language.translate(value) if isinstance(value, Message) else value
                for name, value in data.items()
            }
            data = {"site_name": self.site_name, **translated}
            if sender:
                send = partial(sender, current_request, user, **data)
                return replace(mail, send_by_application=send)
            if settings.verification_templates_selector:
                select = settings.verification_templates_selector
                with suppress(LookupError):
                    templates = select(request=current_request, user=user, **kind)
            built = settings.verification_template_context_builder(user, address, data, **kind)
            context = {
                **built,
                "_": TemplateTranslator(language),
                "language": language,
                "wrap_lines": wrap_lines(language),
            }
            render = settings.verification_template_renderer or self.render
            return replace(mail, content=RenderedMail(*render(templates, context, **kind)))

    def render(
        self, template_config: Mapping[str, Any], context: Mapping[str, Any], **kwargs: Any
    ) -> RenderedMail:
        """Render with Flask's own environment. HTML alone is converted to text as well."""
        names = parse_templates(template_config)
        app: Flask = cast(Any, current_app)._get_current_object()
        complete = dict(context)
        app.update_template_context(complete)  # once; render_template would do it for each part

        def rendered(name: str) -> str:
            template = app.jinja_env.get_or_select_template(name)
            about: dict[str, Any] = {
                "_async_wrapper": app.ensure_sync,
                "template": template,
                "context": complete,
            }
            before_render_template.send(app, **about)
            text = template.render(complete)
            template_rendered.send(app, **about)
            return text

        html = rendered(names.html_body) if names.html_body else None
        if names.text_body:
            text = rendered(names.text_body)
        else:
            text = self._settings.verification_email_html_to_text_converter(html or "")
        return RenderedMail(rendered(names.subject), text, html)


class TemplateNames(NamedTuple):
    """The names in a template dict."""

    subject: str
    text_body: str | None
    html_body: str | None


def parse_templates(config: Mapping[str, Any]) -> TemplateNames:
    """Return the names in a template dict. Its ``body`` is text unless ``is_html`` is true.

    :raises ValueError: the subject or the body is missing.
    """
    text, html, body = config.get("text_body"), config.get("html_body"), config.get("body")
    if not (text or html):
        text, html = (None, body) if config.get("is_html") else (body, None)
    names = (config.get("subject"), text, html)
    if not all(name is None or isinstance(name, str) for name in names):
        raise ValueError("must name its templates by strings")
    if not config.get("subject") or not (text or html):
        raise ValueError("needs 'subject', and 'body', or 'text_body' and/or 'html_body'")
    return TemplateNames(config["subject"], text, html)


def check_templates(app: Flask, reader: SettingsReader) -> None:
    """Add a problem for every template that a setting names and that is not found.

    The application's Jinja environment is not created yet.
    """
    package = jinja2.PackageLoader("flask_registration")
    loader = jinja2.ChoiceLoader([app.create_global_jinja_loader(), package])
    environment = jinja2.Environment()  # noqa: S701 -- renders nothing
    for group in reader.groups:
        for field in dataclass_fields(group):
            if not field.name.endswith("_email_templates"):
                continue
            key = PREFIX + field.name.upper()
            try:
                names = parse_templates(getattr(group, field.name))
            except ValueError as error:
                reader.problem(key, f"{error}.")
                continue
            for name in filter(None, names):
                try:
                    loader.get_source(environment, name)
                except jinja2.TemplateNotFound:
                    text = f"template {name!r} not found. Create it or correct the name."
                    reader.problem(key, text)
