"""Every mail that we ship, as its reader sees it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

from flask import template_rendered

from flask_registration import RegistrationState
from flask_registration.mail.message import html_to_text
from flask_registration.state import PASSWORD_CHANGED

from ..outboxes import LIVE, finish
from ..people import account
from ..site import PASSWORD, Site, html_of, links_of, mixin_and, text_column, text_of, whole
from ..tables import each_row
from .common import (
    OTHER_PASSWORD,
    NewSite,
    ask_move,
    ask_reset,
    forget_mails,
    log_in,
    member,
    move,
    undo_move,
)


def _reset(site: Site) -> None:
    ask_reset(site)


def _password_changed(site: Site) -> None:
    body = {
        "old_password": PASSWORD,
        "password": OTHER_PASSWORD,
        "password_confirm": OTHER_PASSWORD,
    }
    site.post("change-password", body, client=log_in(site))


def _register_email(site: Site) -> None:
    ask_move(site, log_in(site), "new@example.com")


def _change_requested(site: Site) -> None:
    ask_move(site, log_in(site), "new@example.com")


def _change_taken(site: Site) -> None:
    member(site, "bob")
    site.post("register-email", {"email": "bob@example.com"}, client=log_in(site))


def _email_changed(site: Site) -> None:
    client = log_in(site)
    link = ask_move(site, client, "new@example.com")
    forget_mails(site)
    site.post("verify-email", link, client=client)


def _login_changed(site: Site) -> None:
    log_in(site).patch("/accounts/profile/", json={"username": "alicia"})


def _email_change_undone(site: Site) -> None:
    link = move(site, log_in(site), "new@example.com")
    forget_mails(site)
    undo_move(site, link)


def _account_deleted(site: Site) -> None:
    log_in(site).delete("/accounts/profile/")


def _register(site: Site) -> None:
    site.register("carol")


def _register_again(site: Site) -> None:
    site.change(site.user(email="alice@example.com"), is_verified=False)
    site.register("mallory", email="alice@example.com")


def _email_taken(site: Site) -> None:
    site.register("mallory", email="alice@example.com")


#: What makes each of them leave: to whom, and the start of its link.
MAILS: dict[str, tuple[Callable[[Site], None], str, str | None]] = {
    "register": (_register, "carol@example.com", "https://example.com/verify-registration/?"),
    "register_again": (
        _register_again,
        "alice@example.com",
        "https://example.com/reset-password/?",
    ),
    "email_taken": (_email_taken, "alice@example.com", None),
    "reset_password": (_reset, "alice@example.com", "https://example.com/reset-password/?"),
    "login_changed": (_login_changed, "alice@example.com", None),
    "account_deleted": (_account_deleted, "alice@example.com", None),
    "password_changed": (_password_changed, "alice@example.com", None),
    "register_email": (_register_email, "new@example.com", "https://example.com/verify-email/?"),
    "email_change_requested": (_change_requested, "alice@example.com", None),
    "email_change_taken": (_change_taken, "bob@example.com", None),
    "email_changed": (
        _email_changed,
        "alice@example.com",
        "https://example.com/undo-email-change/?",
    ),
    "email_change_undone": (
        _email_change_undone,
        "alice@example.com",
        "https://example.com/reset-password/?",
    ),
}
each_mail = each_row("kind", MAILS)


def mail_of(site: Site, kind: str) -> EmailMessage:
    """The mail of this kind."""
    member(site)
    forget_mails(site)
    send, to, _ = MAILS[kind]
    send(site)
    (number,) = (i for i, mail in enumerate(site.outbox) if mail.recipients == [to])
    return site.read(number)


def test_the_table_of_mails_is_complete(site: Site) -> None:
    state: RegistrationState = site.app.extensions["registration"]
    declared = [email.name for flow in state.flows for email in flow.emails]
    assert sorted(MAILS) == sorted([*declared, PASSWORD_CHANGED.name]) == sorted(state.emails)


@each_mail
def test_has_a_subject_a_text_and_an_html_part_with_the_same_link(site: Site, kind: str) -> None:
    mail = mail_of(site, kind)
    _, to, link = MAILS[kind]
    assert (mail["To"], mail["From"], mail["Auto-Submitted"]) == (
        to,
        "no-reply@example.com",
        "auto-generated",
    )
    assert [part.get_content_type() for part in mail.walk() if not part.is_multipart()] == [
        "text/plain",
        "text/html",
    ]
    assert "example.com" in mail["Subject"]
    in_text = re.findall(r"^https?://\S+$", text_of(mail), re.MULTILINE)
    assert set(links_of(mail)) == set(in_text)
    assert len(in_text) == (link is not None)
    assert all(url.startswith(link or "never") for url in in_text)
    title = re.search("<title>(.*)</title>", html_of(mail))
    assert title
    assert title[1]
    assert '<html lang="en">' in html_of(mail)


@each_mail
def test_says_the_same_in_both_parts(site: Site, kind: str) -> None:
    mail = mail_of(site, kind)
    text, html = _words(text_of(mail)), _words(html_to_text(html_of(mail)))
    assert len(text & html) / len(text) > 0.7


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]{4,}", text.lower()))


@each_mail
def test_text_has_short_lines_and_single_blank_ones(site: Site, kind: str) -> None:
    text = text_of(mail_of(site, kind))
    assert [
        line for line in text.splitlines() if len(line) > 80 and not line.startswith("https://")
    ] == []
    assert "\n\n\n" not in text
    assert text.splitlines() == [line.rstrip() for line in text.splitlines()]
    assert "{{" not in text
    assert "None" not in text


EVIL = '"><script>alert(1)</script>&times;{{7*7}}'


@each_mail
def test_shows_no_words_of_the_user_and_escapes_the_sites_name(
    new_site: NewSite, kind: str
) -> None:
    """What somebody typed at registration never goes into a mail, which may be to a third party."""
    site = new_site(SITE_NAME=EVIL)
    member(site, first_name="Click", last_name="https://evil.example/", id=4000)
    site.change(site.user(id=4000), first_name=EVIL.replace("times", "copy"))
    forget_mails(site)
    MAILS[kind][0](site)
    mail = site.read()
    assert "<script" not in html_of(mail)
    assert "&lt;script&gt;" in html_of(mail)
    assert EVIL in text_of(mail) or EVIL in " ".join(text_of(mail).split())
    for words in (text_of(mail), html_of(mail), mail["Subject"]):
        assert "copy" not in words
        assert "evil.example" not in words


@each_mail
def test_passes_through_the_selector(new_site: NewSite, tmp_path: Any, kind: str) -> None:
    (tmp_path / "subject.txt").write_text("Ours for {{ user.username }}")
    (tmp_path / "body.txt").write_text("{{ email }} at {{ site_name }}\n{{ verification_url }}\n")
    (tmp_path / "body.html").write_text('<a href="{{ verification_url }}">Go</a>')
    asked: list[Any] = []

    def select(
        *, request: Any, user: Any, notification_type: Any, notification_method: Any, **_: Any
    ) -> Any:
        asked.append(
            (
                request.path.startswith("/accounts/"),
                user.username,
                notification_type,
                notification_method,
            )
        )
        if notification_type != kind:
            raise LookupError
        return {"subject": "subject.txt", "text_body": "body.txt", "html_body": "body.html"}

    site = new_site(template_folder=str(tmp_path), VERIFICATION_TEMPLATES_SELECTOR=select)
    member(site)
    forget_mails(site)
    send, to, _ = MAILS[kind]
    send(site)
    (mail,) = (mail for mail in map(site.read, range(len(site.outbox))) if mail["To"] == to)
    assert mail["Subject"].startswith("Ours for")
    assert text_of(mail).startswith(f"{to} at example.com\n")
    assert any(each[0] and each[2:] == (kind, "email") for each in asked)


@each_mail
def test_can_be_replaced_by_a_template_of_the_same_name(
    new_site: NewSite, tmp_path: Any, kind: str
) -> None:
    folder = tmp_path / "registration" / kind
    folder.mkdir(parents=True)
    (folder / "subject.txt").write_text("The application's own")
    site = new_site(template_folder=str(tmp_path))
    assert mail_of(site, kind)["Subject"] == "The application's own"


@each_mail
def test_holds_no_secret(site: Site, kind: str) -> None:
    mail = mail_of(site, kind)
    for user in site.users():
        for words in (text_of(mail), html_of(mail)):
            for secret in (PASSWORD, OTHER_PASSWORD, user.password_hash, user.security_stamp):
                assert secret not in words


# Rendered when it is sent, whether or not an account has it


@each_row("name", ["pending", "verified", "suspended", "unknown"])
@each_row(
    ("endpoint", "mailed"),
    [("resend-verification", ["pending"]), ("send-reset-password-link", ["pending", "verified"])],
)
def test_no_request_renders_a_template(
    endpoint: str, mailed: list[str], name: str, new_site: NewSite, sqlite_url: str
) -> None:
    """Else the time of the response would reveal an account."""
    site = new_site(sqlite_url, config=LIVE, MAIL_LIMITS=None)
    for each in ("pending", "verified", "suspended"):
        account(site, each, verified=each != "pending", is_active=each != "suspended")
    rendered: list[tuple[str, bool]] = []

    def note(app: Any, template: Any, **_: Any) -> None:
        by_thread = threading.current_thread().name.startswith("registration-mail")
        rendered.append((template.name, by_thread))

    with template_rendered.connected_to(note, site.app):
        assert site.post(endpoint, {"login": name}).status_code == 200
        finish(site)
    kind = "register" if endpoint == "resend-verification" else "reset_password"
    parts = ("body.html", "body.txt", "subject.txt") if name in mailed else ()
    assert sorted(rendered) == [(f"registration/{kind}/{part}", True) for part in parts]
    assert [mail.recipients for mail in site.outbox] == [[f"{name}@example.com"]] * (name in mailed)


def test_a_context_builder_sees_only_users_that_exist(new_site: NewSite) -> None:
    seen: list[tuple[str, str, str, str]] = []

    def build(
        user: Any,
        user_address: str,
        data: Any,
        *,
        notification_type: str,
        notification_method: str,
        **_: Any,
    ) -> dict[str, Any]:
        seen.append((user.company[0], user_address, notification_type, notification_method))
        return {"user": user, "email": user_address, **data}

    model = mixin_and(company=text_column(nullable=True))
    site = new_site(define=model, VERIFICATION_TEMPLATE_CONTEXT_BUILDER=build)
    account(site, "alice", company="Acme", verified=False)
    known = site.post("resend-verification", {"login": "alice"})
    assert len(site.outbox) == 1
    unknown = site.post("resend-verification", {"login": "unknown"})
    assert known.status_code == 200
    assert whole(unknown) == whole(known)
    assert seen == [("A", "alice@example.com", "register", "email")]
