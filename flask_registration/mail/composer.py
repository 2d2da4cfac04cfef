"""Render e-mails from templates, when they are sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.charset import QP, Charset
from typing import Any, Literal, cast

from flask import current_app

from ..i18n.languages import Languages, current_request, force_babel_locale
from ..i18n.messages import Message
from ..settings import Settings, setting
from ..throttling.throttles import check_notation
from ..users.identifiers import recipient_address
from ..users.store import User
from .brand import check_color, check_logo_url
from .message import (
    Email,
    InternationalMessage,
    Mail,
    MailMessage,
    check_mailbox,
    html_to_text,
    template_translator,
    wrap_lines,
)
from .rendering import Templates

#: The maximum length of a line of an e-mail in octets (RFC 5322, 2.1.1).
LINE_LIMIT = 998

#: UTF-8 in the transfer encoding that breaks long lines.
QUOTED_PRINTABLE = Charset("utf-8")
QUOTED_PRINTABLE.body_encoding = QP


def default_templates(name: str) -> dict[str, str]:
    """Return the templates of an e-mail with this name.

    An application overrides one by its path.
    """
    folder = f"registration/{name}"
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
    notification_type: str,
    notification_method: str,
    **kwargs: Any,
) -> dict[str, Any]:
    """Return the template variables: ``user``, ``email``, and all of ``data``."""
    return {"user": user, "email": user_address, **data}


def _check_host(name: str) -> None:
    if not re.fullmatch(r"[\w.-]+|\[[\w.:]+\]", name, re.ASCII):
        raise ValueError('must be a domain name, for example "app.example.com"')


@dataclass(frozen=True, kw_only=True)
class MailSettings(Settings):
    """E-mails."""

    verification_from_email: str | None = setting(
        None,
        "The sender's e-mail address.",
        default_text="MAIL_DEFAULT_SENDER",
        validate=check_mailbox,
    )
    verification_reply_to_email: str | None = setting(
        None, "The e-mail address of the `Reply-To` header.", validate=check_mailbox
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
    site_logo_url: str | None = setting(
        None,
        "The HTTPS URL of your logo, a PNG or JPEG file. HTML e-mails and the pages behind links "
        "show it 40 pixels high.",
        validate=check_logo_url,
    )
    site_brand_color: str = setting(
        "#1d4ed8",
        "The color of buttons and links in HTML e-mails and on the pages behind links, as "
        "`#rrggbb`. The text of buttons is black or white, whichever has more contrast.",
        validate=check_color,
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
        "connection to the mail server. 32 e-mails can wait for each. An e-mail beyond "
        "that has failed: `mail_failed` is sent, and the user can ask for another one.",
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
    mail_ehlo_name: str | None = setting(
        None,
        "The name of this host in the SMTP command `EHLO`. Some mail servers require that it is "
        "a domain name of this host.",
        default_text="the domain of the sender",
        validate=_check_host,
    )
    mail_limits: str | None = setting(
        "1/minute;5/hour;10/day",
        "The limits of e-mails with a link or a code to one e-mail address, in moving windows over "
        "all flows. The last two e-mails of the longest limit are kept for reset and login "
        "e-mails. A notice that an e-mail address is in use is sent at most once a day. Further "
        "e-mails are dropped silently. Security notices are not limited. None for no limit.",
        validate=check_notation,
    )
    mail_budget: str | None = setting(
        None,
        "The limits of all requests without a login that may cause an e-mail, for example "
        '`"1000/hour;5000/day"`. Over it, each of these requests gets 429. None for no limit.',
        validate=check_notation,
    )
    mail_request_timebox: timedelta | None = setting(
        None,
        "The minimum time of a request without a login or a password that may cause an e-mail. "
        "The response waits until then, so that the time does not reveal whether there is an "
        "account. 0 for no minimum.",
        default_text="25 ms; 0 with `TESTING`",
        minimum=timedelta(0),
        maximum=timedelta(seconds=1),
    )


@dataclass(eq=False)
class Composer:
    """Renders e-mails.

    :ivar sender: the sender of all e-mails.
    :ivar site_name: the site's name in e-mails.
    """

    settings: MailSettings
    sender: str
    site_name: str
    languages: Languages
    renderer: Templates

    def templates(self, email: Email, settings: Settings, user: User | None) -> dict[str, Any]:
        """Return the templates of an e-mail, as the application's selector chooses them.

        :param settings: those of its flow.
        :param user: the user that it is about; None for an unknown account.
        """
        select = self.settings.verification_templates_selector
        if select and user is not None:
            try:
                return dict(select(request=current_request(), user=user, **_kind(email.name)))
            except LookupError:
                pass  # it selects the default ones
            except Exception:  # the response must not reveal the account
                current_app.logger.exception("The templates of an e-mail could not be chosen.")
        return dict(email.templates(settings) if email.templates else default_templates(email.name))

    def translated(self, mail: Mail, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Return the variables of an e-mail with their messages translated."""
        language = self.languages.get(mail.language)
        values = {
            name: language.translate(value) if isinstance(value, Message) else value
            for name, value in variables.items()
        }
        return {"site_name": self.site_name, **values}

    def compose(self, mail: Mail, user: User | None, variables: Mapping[str, Any]) -> MailMessage:
        """Render an e-mail about a user, or to an address without one, for Flask-Mail."""
        settings, kind = self.settings, _kind(mail.template)
        language = self.languages.get(mail.language)
        with force_babel_locale(mail.locale):
            data = self.translated(mail, variables)
            built = settings.verification_template_context_builder(user, mail.to, data, **kind)
            context = {
                **built,
                "_": template_translator(language),
                "language": language,
                "site_brand": self.renderer.brand,
                "wrap_lines": wrap_lines(language),
            }
            render = settings.verification_template_renderer or self.render
            subject, text, html = render(mail.templates, context, **kind)
        recipient = recipient_address(mail.to)
        make_message = MailMessage if recipient.isascii() else InternationalMessage
        message = make_message(
            subject=" ".join(subject.split()),
            recipients=[recipient],
            body=text,
            html=html or None,
            sender=self.sender,
            reply_to=settings.verification_reply_to_email,
            date=mail.written_at,
            extra_headers={"Auto-Submitted": "auto-generated"},  # RFC 3834: no autoresponders
        )
        message.msgId = mail.message_id
        lines = [*(text or "").split("\n"), *(html or "").split("\n")]
        if any(len(line.encode()) > LINE_LIMIT for line in lines):
            message.charset = cast(str, QUOTED_PRINTABLE)
        return message

    def render(
        self, template_config: Mapping[str, Any], context: Mapping[str, Any], **kwargs: Any
    ) -> tuple[str, str, str | None]:
        """Return the subject, the text and the HTML of an e-mail.

        HTML alone is converted to text as well.
        """
        subject, text_name, html_name = parse_templates(template_config)
        html = self.renderer.html(html_name, **context) if html_name else None
        if text_name:
            text = self.renderer.text(text_name, **context)
        else:
            text = self.settings.verification_email_html_to_text_converter(html or "")
        return self.renderer.text(subject, **context), text, html


def _kind(name: str) -> dict[str, str]:
    return {"notification_type": name, "notification_method": "email"}


def parse_templates(config: Mapping[str, Any]) -> tuple[str, str | None, str | None]:
    """Return the names of the subject's, the text's and the HTML's template in a template dict.

    Its ``body`` is text unless ``is_html`` is true.

    :raises ValueError: the subject or the body is missing.
    """
    subject, body = config.get("subject"), config.get("body")
    text, html = config.get("text_body"), config.get("html_body")
    if not (text or html):
        text, html = (None, body) if config.get("is_html") else (body, None)
    if not all(name is None or isinstance(name, str) for name in (subject, text, html)):
        raise ValueError("must name its templates by strings")
    if not (subject and (text or html)):
        raise ValueError("needs 'subject', and 'body', or 'text_body' and/or 'html_body'")
    return subject, text, html
