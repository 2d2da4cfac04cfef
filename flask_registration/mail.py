"""Mails: composed from templates before the commit, handed over after it (``dispatch.py``)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum
from typing import Any, Literal, NamedTuple, cast

from flask import Flask, before_render_template, current_app, has_request_context, request, template_rendered

from .composed import Mail as Mail
from .composed import RenderedMail as RenderedMail
from .composed import new_message_id
from .html_text import html_to_text
from .languages import Languages
from .links import VerificationLink, build_verification_url
from .mail_text import Say
from .messages import Message
from .settings import Settings, setting
from .users import User


class NotificationType(Enum):
    """What a mail is about."""

    REGISTER_VERIFICATION = "register"
    REGISTER_AGAIN = "register_again"
    EMAIL_TAKEN = "email_taken"
    RESET_PASSWORD_VERIFICATION = "reset_password"
    PASSWORD_CHANGED = "password_changed"
    REGISTER_EMAIL_VERIFICATION = "register_email"
    EMAIL_CHANGE_TAKEN = "email_change_taken"
    EMAIL_CHANGED = "email_changed"


#: What tells the owner of an account that something was done to it; nobody else can ask for these.
NOTICES = (NotificationType.PASSWORD_CHANGED, NotificationType.EMAIL_CHANGED)


class NotificationMethod(Enum):
    """How somebody is told; there is but one way."""

    EMAIL = "email"


NOTHING = RenderedMail("", "", None)


def default_templates(notification_type: Enum) -> dict[str, str]:
    """The templates that we ship; an application replaces one by having a template of the same name."""
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
    """What templates get: ``user``, ``email``, ``verification_url`` and the rest of ``data``."""
    return {"user": user, "email": user_address, **data}


@dataclass(frozen=True, kw_only=True)
class MailSettings(Settings):
    """What all mails have in common."""

    verification_from_email: str | None = setting(
        None, "The address that mails come from.", default_text="MAIL_DEFAULT_SENDER"
    )
    verification_reply_to_email: str | None = setting(None, "The address that replies go to.")
    verification_email_html_to_text_converter: Callable[[str], str] = setting(
        html_to_text, "Makes the text part of a mail whose templates are HTML only: `converter(html)`."
    )
    verification_url_builder: Callable[[VerificationLink], str] = setting(
        build_verification_url, "Makes the URL of a link: `builder(link)`, with `link.base_url` and `link.params`."
    )
    verification_template_context_builder: Callable[..., Mapping[str, Any]] = setting(
        build_context,
        "Makes what templates see: "
        "`builder(user, user_address, data, *, notification_type, notification_method, **kwargs)`.",
    )
    verification_template_renderer: Callable[..., Any] | None = setting(
        None,
        "Renders a mail: `renderer(template_config, context, **kwargs)` returns subject, text and HTML.",
        default_text="Flask's render_template",
    )
    verification_templates_selector: Callable[..., Mapping[str, Any]] | None = setting(
        None,
        "Chooses templates: `selector(*, request, user, notification_type, notification_method, **kwargs)` returns "
        "a dict with `subject`, and `body`, or `text_body` and/or `html_body`; a `LookupError` means the default ones.",
    )
    site_name: str | None = setting(None, "What mails call the site.", default_text="the host of the verification URL")
    mail_dispatcher: Literal["background", "inline", "outbox", "celery"] | Callable[..., None] = setting(
        "background",
        '`"background"`: after the commit, by a small thread pool. `"inline"`: before it, and a failure is a 503. '
        '`"outbox"`: a row in the same transaction, delivered afterwards, so that nothing is lost. `"celery"`: a task. '
        "Or a callable `dispatcher(message, *, send, **kwargs)`, called after the commit.",
    )
    password_notice_enabled: bool = setting(True, "Whether the owner is told by mail when the password was replaced.")
    mail_threads: int = setting(
        8,
        "How many mails a process sends at once, and with them its connections to the mail server; 32 mails for each "
        "may wait or leave. With more than that, a request sends its own when it has replied.",
    )
    mail_timeout: timedelta = setting(timedelta(seconds=10), "How long to wait for the mail server, at each step.")
    mail_verify_tls: bool = setting(True, "Whether the mail server must show a certificate for its name.")
    mail_cooldown: timedelta = setting(
        timedelta(minutes=1),
        "At most one mail in this time to an address, over all that strangers can ask for; the excess is silent. "
        "Counted over all processes where throttles have a storage, else by each for itself.",
    )


class Composer:
    """Composes mails.

    :param sender: the from-address.
    :param site_name: what the mails call the site.
    """

    def __init__(self, settings: MailSettings, sender: str, site_name: str, languages: Languages) -> None:
        self._settings = settings
        self._sender = sender
        self.site_name = site_name
        self._languages = languages

    def url(self, link: VerificationLink) -> str:
        """The link's URL, as the application wants it."""
        return self._settings.verification_url_builder(link)

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
        """A mail about ``user``, to ``address``.

        :param sender: the application's own, which sends instead of us: ``sender(request, user, **data)``.
        """
        settings, kind = (
            self._settings,
            {"notification_type": notification_type, "notification_method": NotificationMethod.EMAIL},
        )
        asking = cast(Any, request)._get_current_object() if has_request_context() else None
        mail = Mail(
            to=address,
            sender=self._sender,
            reply_to=settings.verification_reply_to_email,
            content=NOTHING,
            template=notification_type.value,
            user_id=user_id,
            message_id=new_message_id(self._sender),
            written_at=time.time(),
            limited=notification_type not in NOTICES,
        )
        with self._languages.of_mail(user) as language:
            texts = {name: language.say(value) for name, value in data.items() if isinstance(value, Message)}
            data = {"site_name": self.site_name, **data, **texts}
            if sender:
                return replace(mail, deliver=lambda: sender(asking, user, **data))
            if settings.verification_templates_selector:
                with suppress(LookupError):
                    templates = settings.verification_templates_selector(request=asking, user=user, **kind)
            built = settings.verification_template_context_builder(user, address, data, **kind)
            context = {**built, "say": Say(language)}
            render = settings.verification_template_renderer or self.render
            return replace(mail, content=RenderedMail(*render(templates, context, **kind)))

    def render(self, template_config: Mapping[str, Any], context: Mapping[str, Any], **kwargs: Any) -> RenderedMail:
        """Render with Flask's own environment; HTML alone is turned into text as well."""
        names = parse_templates(template_config)
        app: Flask = cast(Any, current_app)._get_current_object()
        complete = dict(context)
        app.update_template_context(complete)  # once for all three, where render_template would do it for each

        def rendered(name: str) -> str:
            template = app.jinja_env.get_or_select_template(name)
            about: dict[str, Any] = {"_async_wrapper": app.ensure_sync, "template": template, "context": complete}
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
    """The names in a template dict, whose ``body`` is text unless it says ``is_html``.

    :raises ValueError: no subject, or nothing to read.
    """
    text, html, body = config.get("text_body"), config.get("html_body"), config.get("body")
    if not (text or html):
        text, html = (None, body) if config.get("is_html") else (body, None)
    if not all(name is None or isinstance(name, str) for name in (config.get("subject"), text, html)):
        raise ValueError("must name its templates by strings")
    if not config.get("subject") or not (text or html):
        raise ValueError("needs 'subject', and 'body', or 'text_body' and/or 'html_body'")
    return TemplateNames(config["subject"], text, html)
