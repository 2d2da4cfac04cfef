"""Every mail that we ship, as its reader sees it."""

from __future__ import annotations

import re
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

from flask import template_rendered

from flask_registration import NotificationMethod, NotificationType
from flask_registration.mail.message import html_to_text

from ..people import account
from ..site import PASSWORD, Site, html_of, links_of, mixin_and, text_column, text_of, whole
from ..tables import each_row
from .journeys import OTHER_PASSWORD, NewSite, ask_move, ask_reset, forget_mails, log_in, member

Kind = NotificationType


def _reset(site: Site) -> None:
    ask_reset(site)


def _password_changed(site: Site) -> None:
    body = {"old_password": PASSWORD, "password": OTHER_PASSWORD, "password_confirm": OTHER_PASSWORD}
    site.post("change-password", body, client=log_in(site))


def _register_email(site: Site) -> None:
    ask_move(site, log_in(site), "new@example.com")


def _change_taken(site: Site) -> None:
    member(site, "bob")
    site.post("register-email", {"email": "bob@example.com"}, client=log_in(site))


def _email_changed(site: Site) -> None:
    client = log_in(site)
    link = ask_move(site, client, "new@example.com")
    forget_mails(site)
    site.post("verify-email", link, client=client)


def _register(site: Site) -> None:
    site.register("carol")


def _register_again(site: Site) -> None:
    site.change(site.user(email="alice@example.com"), is_verified=False)
    site.register("mallory", email="alice@example.com")


def _email_taken(site: Site) -> None:
    site.register("mallory", email="alice@example.com")


#: What makes each of them leave: to whom, and the start of its link.
MAILS: dict[Kind, tuple[Callable[[Site], None], str, str | None]] = {
    Kind.REGISTER_VERIFICATION: (_register, "carol@example.com", "https://example.com/verify-registration/?"),
    Kind.REGISTER_AGAIN: (_register_again, "alice@example.com", "https://example.com/reset-password/?"),
    Kind.EMAIL_TAKEN: (_email_taken, "alice@example.com", None),
    Kind.RESET_PASSWORD_VERIFICATION: (_reset, "alice@example.com", "https://example.com/reset-password/?"),
    Kind.PASSWORD_CHANGED: (_password_changed, "alice@example.com", None),
    Kind.REGISTER_EMAIL_VERIFICATION: (_register_email, "new@example.com", "https://example.com/verify-email/?"),
    Kind.EMAIL_CHANGE_TAKEN: (_change_taken, "bob@example.com", None),
    Kind.EMAIL_CHANGED: (_email_changed, "alice@example.com", "https://example.com/undo-email-change/?"),
}
each_mail = each_row("kind", MAILS, ids=lambda kind: kind.value)


def mail_of(site: Site, kind: Kind) -> EmailMessage:
    """The mail of this kind."""
    member(site)
    forget_mails(site)
    MAILS[kind][0](site)
    assert len(site.outbox) == 1
    return site.read()


def test_the_table_of_mails_is_complete() -> None:
    assert set(MAILS) == set(NotificationType)


@each_mail
def test_has_a_subject_a_text_and_an_html_part_with_the_same_link(site: Site, kind: Kind) -> None:
    mail = mail_of(site, kind)
    _, to, link = MAILS[kind]
    assert (mail["To"], mail["From"], mail["Auto-Submitted"]) == (to, "no-reply@example.com", "auto-generated")
    assert [part.get_content_type() for part in mail.walk() if not part.is_multipart()] == ["text/plain", "text/html"]
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
def test_says_the_same_in_both_parts(site: Site, kind: Kind) -> None:
    mail = mail_of(site, kind)
    text, html = _words(text_of(mail)), _words(html_to_text(html_of(mail)))
    assert len(text & html) / len(text) > 0.7


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]{4,}", text.lower()))


@each_mail
def test_text_has_short_lines_and_single_blank_ones(site: Site, kind: Kind) -> None:
    text = text_of(mail_of(site, kind))
    assert [line for line in text.splitlines() if len(line) > 80 and not line.startswith("https://")] == []
    assert "\n\n\n" not in text
    assert text.splitlines() == [line.rstrip() for line in text.splitlines()]
    assert "{{" not in text
    assert "None" not in text


EVIL = '"><script>alert(1)</script>&times;{{7*7}}'


@each_mail
def test_shows_no_words_of_the_user_and_escapes_the_sites_name(new_site: NewSite, kind: Kind) -> None:
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
def test_passes_through_the_selector(new_site: NewSite, tmp_path: Any, kind: Kind) -> None:
    (tmp_path / "subject.txt").write_text("Ours for {{ user.username }}")
    (tmp_path / "body.txt").write_text("{{ email }} at {{ site_name }}\n{{ verification_url }}\n")
    (tmp_path / "body.html").write_text('<a href="{{ verification_url }}">Go</a>')
    asked: list[Any] = []

    def select(*, request: Any, user: Any, notification_type: Any, notification_method: Any, **_: Any) -> Any:
        asked.append((request.path.startswith("/accounts/"), user.username, notification_type, notification_method))
        if notification_type is not kind:
            raise LookupError
        return {"subject": "subject.txt", "text_body": "body.txt", "html_body": "body.html"}

    site = new_site(template_folder=str(tmp_path), VERIFICATION_TEMPLATES_SELECTOR=select)
    member(site)
    forget_mails(site)
    MAILS[kind][0](site)
    mail = site.read()
    assert mail["Subject"].startswith("Ours for ")
    assert text_of(mail).startswith(f"{MAILS[kind][1]} at example.com\n")
    assert asked[-1][2:] == (kind, NotificationMethod.EMAIL)
    assert asked[-1][0]


@each_mail
def test_can_be_replaced_by_a_template_of_the_same_name(new_site: NewSite, tmp_path: Any, kind: Kind) -> None:
    folder = tmp_path / "registration" / kind.value
    folder.mkdir(parents=True)
    (folder / "subject.txt").write_text("The application's own")
    site = new_site(template_folder=str(tmp_path))
    assert mail_of(site, kind)["Subject"] == "The application's own"


@each_mail
def test_holds_no_secret(site: Site, kind: Kind) -> None:
    mail = mail_of(site, kind)
    for user in site.users():
        for words in (text_of(mail), html_of(mail)):
            for secret in (PASSWORD, OTHER_PASSWORD, user.password_hash, user.security_stamp):
                assert secret not in words


# Composed, whether or not anybody gets it


def _for_companies(user: Any, user_address: str, data: Any, **kwargs: Any) -> dict[str, Any]:
    return {"user": user, "email": user_address, "initial": user.company[0], **data}


@each_row("name", ["pending", "verified", "suspended", "nobody"])
@each_row(
    ("endpoint", "mailed"),
    [("resend-verification", ["pending"]), ("send-reset-password-link", ["pending", "verified"])],
)
def test_a_mail_is_composed_whoever_is_meant(endpoint: str, mailed: list[str], name: str, site: Site) -> None:
    site.register("pending")
    member(site, "verified")
    member(site, "suspended")
    site.change(site.user(username="suspended"), is_active=False)
    forget_mails(site)
    rendered: list[str] = []

    def note(app: Any, template: Any, **_: Any) -> None:
        rendered.append(template.name)

    with template_rendered.connected_to(note, site.app):
        assert site.post(endpoint, {"login": name}).status_code == 200
    kind = "register" if endpoint == "resend-verification" else "reset_password"
    parts = ("body.html", "body.txt", "subject.txt")
    assert sorted(rendered) == [f"registration/{kind}/{part}" for part in parts]
    assert [mail.recipients for mail in site.outbox] == [[f"{name}@example.com"]] * (name in mailed)


def test_templates_that_are_not_made_for_nobody_do_not_tell_that_there_is_nobody(new_site: NewSite) -> None:
    model = mixin_and(company=text_column(nullable=True))
    site = new_site(define=model, VERIFICATION_TEMPLATE_CONTEXT_BUILDER=_for_companies)
    account(site, "alice", company="Acme", verified=False)
    known = site.post("resend-verification", {"login": "alice"})
    assert len(site.outbox) == 1
    unknown = site.post("resend-verification", {"login": "nobody"})
    assert known.status_code == 200
    assert whole(unknown) == whole(known)
