"""Mail as a mail client reads it, and on its way through a mail server."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from email import message_from_bytes, policy
from email.parser import BytesParser
from email.utils import parsedate_to_datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from flask_mail import Message
from sqlalchemy import select

from flask_registration import mail_failed
from flask_registration.cli.base import registration_cli
from flask_registration.mail.message import html_to_text

from .conftest import Clock
from .outboxes import OUTBOX, send_mail
from .site import PASSWORD, Site, html_of, links_of, parameters, text_of
from .smtp import (
    Certificate,
    make_certificate,
    no_server,
    scripted_server,
    silent_server,
    smtp_server,
)
from .tables import each_row

NewSite = Callable[..., Site]


# The mail as it comes


def test_a_mail_has_a_text_and_an_html_part_that_say_the_same(site: Site) -> None:
    site.register("alice")
    mail = site.read()
    assert [part.get_content_type() for part in mail.walk() if not part.is_multipart()] == [
        "text/plain",
        "text/html",
    ]
    assert [part.get_content_charset() for part in mail.walk() if not part.is_multipart()] == [
        "utf-8"
    ] * 2
    for words in (text_of(mail), " ".join(html_to_text(html_of(mail)).split())):
        assert "Welcome to example.com!" in words
        assert "This link expires in 7 days." in words
        assert "alice@example.com" in words


def test_the_link_in_the_html_part_followed_is_the_link_in_the_text_part(site: Site) -> None:
    site.register("alice")
    mail = site.read()
    (in_text,) = re.findall(r"^https://\S+$", text_of(mail), re.MULTILINE)
    assert set(links_of(mail)) == {in_text}
    assert "?timestamp=" in in_text
    assert "&amp;user_id=" in html_of(mail)
    assert set(parameters(in_text)) == {"user_id", "timestamp", "signature"}
    assert site.verify(parameters(in_text)).status_code == 200


@each_row(
    "page",
    ["https://example.com/verify/", "https://example.com/verify/?lang=de", "myapp://a?b=c#/d?e=f"],
    anew=True,
)
def test_a_link_is_valid_where_text_is_shown_as_html(new_site: NewSite, page: str) -> None:
    """An ``&timestamp=`` would arrive as ``×tamp=``."""
    site = new_site(
        REGISTER_VERIFICATION_URL=page,
        RESET_PASSWORD_VERIFICATION_URL=page,
        REGISTER_EMAIL_VERIFICATION_URL=page,
        UNDO_EMAIL_CHANGE_URL=page,
    )

    def latest_link() -> dict[str, str]:
        site.outbox[-1].body = html.unescape(site.outbox[-1].body or "")
        return site.link()

    site.register("alice")
    assert site.verify(latest_link()).status_code == 200
    client = site.app.test_client()
    site.post("login", {"login": "alice", "password": PASSWORD}, client=client)
    site.post("register-email", {"email": "new@example.com"}, client=client)
    assert site.post("verify-email", latest_link()).status_code == 200
    assert site.post("undo-email-change", latest_link()).status_code == 200


@each_row(
    ("page", "url"),
    [
        ("https://example.com/verify", "https://example.com/verify?timestamp="),
        ("https://example.com/?", "https://example.com/?timestamp="),
        ("https://example.com/#", "https://example.com/#?timestamp="),
        ("https://example.com/?a=b#/verify", "https://example.com/?a=b#/verify?timestamp="),
        ("com.example.app:/verify", "com.example.app:/verify?timestamp="),
        ("myapp:///verify", "myapp:///verify?timestamp="),
    ],
    anew=True,
)
def test_the_parameters_of_a_link_follow_its_page(new_site: NewSite, page: str, url: str) -> None:
    site = new_site(REGISTER_VERIFICATION_URL=page)
    site.register("alice")
    (link, *_) = links_of(site.read())
    assert link.startswith(url)
    assert not link.endswith("&")


@each_row(
    ("page", "url"),
    [
        ("https://example.com", "https://example.com/reset-password/?"),
        ("https://example.com/#/verify", "https://example.com/#/reset-password/?"),
        ("https://example.com:8000/a/verify/?b=c", "https://example.com:8000/a/reset-password/?"),
        ("com.example.app:/a/verify", "com.example.app:/a/reset-password/?"),
        ("myapp:///verify/", "myapp:///reset-password/?"),
        ("myapp://verify", "myapp://verify/reset-password/?"),
    ],
    anew=True,
)
def test_the_other_pages_are_beside_the_first(new_site: NewSite, page: str, url: str) -> None:
    site = new_site(REGISTER_VERIFICATION_URL=page)
    site.register("alice")
    site.verify()
    site.post("send-reset-password-link", {"login": "alice"})
    assert f"\n{url}" in text_of(site.read())


def test_a_link_stands_whole_on_a_line_of_its_own_in_the_mail_as_sent(site: Site) -> None:
    site.register("alice")
    with site.app.app_context():
        source = site.outbox[0].as_bytes()
    longest = max(len(line) for line in source.split(b"\n"))
    assert longest <= 998  # RFC 5322 section 2.1.1
    mail = BytesParser(policy=policy.default).parsebytes(source)
    assert re.search(r"\n\nhttps://\S+\n\n", text_of(mail))


@each_row("name", ["x" * 2000, "ж" * 600, "two words " * 300, "<&" * 400], anew=True)
def test_no_line_of_a_mail_is_over_998_octets(new_site: NewSite, name: str) -> None:
    """Mail servers break longer ones (RFC 5322 section 2.1.1)."""
    site = new_site(SITE_NAME=name, VERIFICATION_FROM_EMAIL="no-reply@example.com")
    site.register("alice")
    with site.app.app_context():
        source = site.outbox[0].as_bytes()
    assert max(len(line) for line in source.split(b"\n")) <= 998
    assert " ".join(text_of(site.read()).split()) == " ".join(str(site.outbox[0].body).split())
    assert html_of(site.read()).rstrip() == str(site.outbox[0].html).rstrip()


def test_a_mail_has_the_headers_that_a_mail_should_have(site: Site) -> None:
    site.register("alice")
    mail = site.read()
    assert mail["Subject"] == "Confirm your e-mail address for example.com"
    assert mail["From"] == "no-reply@example.com"
    assert mail["To"] == "alice@example.com"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert re.fullmatch(r"<[^<>@\s]+@example\.com>", mail["Message-ID"])
    assert parsedate_to_datetime(mail["Date"]).tzinfo is not None or mail["Date"].endswith("-0000")
    assert [name for name in set(mail) if len(mail.get_all(name, [])) > 1] == []
    assert mail["Bcc"] is mail["Cc"] is mail["Reply-To"] is None


def test_the_mail_about_a_taken_address_has_both_parts_and_no_link(
    site: Site, clock: Clock
) -> None:
    site.register("alice")
    site.verify()
    clock.advance(60)
    site.register("mallory", email="alice@example.com")
    mail = site.read()
    assert mail["Subject"] == "You already have an account at example.com"
    assert (mail["To"], mail["Auto-Submitted"]) == ("alice@example.com", "auto-generated")
    assert links_of(mail) == []
    assert "alice@example.com" in text_of(mail)
    assert "alice@example.com" in html_of(mail)


# Where it goes


@pytest.mark.databases
@each_row("typed", ["Alice@Example.com", "ALICE@EXAMPLE.COM"])
@each_row("endpoint", ["register", "resend-verification"])
def test_mail_goes_to_the_stored_address_and_not_to_the_typed_one(
    database: str, new_site: NewSite, clock: Clock, typed: str, endpoint: str
) -> None:
    site = new_site(database)
    site.register("alice")
    clock.advance(60)
    if endpoint == "register":
        site.register("mallory", email=typed)
    else:
        site.post(endpoint, {"email": typed})
    assert [message.recipients for message in site.outbox] == [["alice@example.com"]] * 2
    assert typed not in text_of(site.read())


def test_mail_goes_to_the_address_that_is_stored_by_now(site: Site, clock: Clock) -> None:
    site.register("alice")
    site.change(site.user(username="alice"), email="else@example.com")
    clock.advance(60)
    site.post("resend-verification", {"email": "alice@example.com"})
    assert len(site.outbox) == 1
    site.post("resend-verification", {"login": "alice"})
    assert site.read()["To"] == "else@example.com"
    assert site.verify().status_code == 200


@each_row(
    ("typed", "stored", "mailed"),
    [
        ("mike@straße.de", "mike@straße.de", "mike@xn--strae-oqa.de"),
        ("mike@Bücher.example.com", "mike@bücher.example.com", "mike@xn--bcher-kva.example.com"),
        (
            "mike@xn--bcher-kva.example.com",
            "mike@bücher.example.com",
            "mike@xn--bcher-kva.example.com",
        ),
        ("mike@βόλος.com", "mike@βόλος.com", "mike@xn--nxasmm1c.com"),
        ("mike@日本語.jp", "mike@日本語.jp", "mike@xn--wgv71a119e.jp"),
        ("mike@日本語.test", "mike@日本語.test", "mike@xn--wgv71a119e.test"),
    ],
)
def test_an_international_domain_is_mailed_by_idna_2008(
    database: str, new_site: NewSite, typed: str, stored: str, mailed: str
) -> None:
    """IDNA 2003, the standard library's and Flask-Mail's, would mail ``mike@strasse.de``: somebody
    else."""
    site = new_site(database)
    assert site.register("mike", email=typed).get_json()["email"] == stored
    assert site.user(username="mike").email == stored
    assert site.outbox[0].recipients == [mailed]
    assert site.read()["To"] == mailed
    assert site.verify().status_code == 200


# Injection

LINE_ENDS = [
    pytest.param("\r\n", id="CR LF"),
    pytest.param("\n", id="LF"),
    pytest.param("\r", id="CR"),
    pytest.param("\r\n\r\n", id="an empty line"),
    pytest.param("\r\n ", id="a folded line"),
    pytest.param("\x0b", id="vertical tab"),
    pytest.param("\x0c", id="form feed"),
    pytest.param("\x1c", id="file separator"),
    pytest.param("\x85", id="NEL"),
    pytest.param("\u2028", id="U+2028"),
    pytest.param("\u2029", id="U+2029"),
]


@pytest.fixture
def talkative(tmp_path: Path) -> dict[str, Any]:
    """Templates with the user's own words in every part."""
    (tmp_path / "subject.txt").write_text("Hello {{ user.first_name }} at {{ site_name }}")
    (tmp_path / "body.txt").write_text(
        "Hello {{ user.first_name }} at {{ site_name }}\n{{ verification_url }}"
    )
    (tmp_path / "body.html").write_text(
        '<p title="{{ user.first_name }}">Hello {{ user.first_name }} at {{ site_name }}</p>'
        '<a href="{{ verification_url }}">go</a>'
    )
    templates = {"subject": "subject.txt", "text_body": "body.txt", "html_body": "body.html"}
    return {"template_folder": str(tmp_path), "REGISTER_VERIFICATION_EMAIL_TEMPLATES": templates}


@each_row("line_end", LINE_ENDS)
@each_row("place", ["the site's name", "the user's words"])
def test_no_line_end_starts_a_header_or_a_second_recipient(
    new_site: NewSite, talkative: dict[str, Any], line_end: str, place: str
) -> None:
    words = f"Eve{line_end}Bcc: victim@example.com{line_end}X-Evil: yes"
    if place == "the site's name":
        site = new_site(**talkative, SITE_NAME=words)
        reply = site.register("alice")
    else:
        site = new_site(**talkative)
        reply = site.register("alice", first_name=words)
    assert reply.status_code == 201
    (message,) = site.outbox
    assert message.send_to == {"alice@example.com"}
    mail = site.read()
    assert (mail["Bcc"], mail["X-Evil"]) == (None, None)
    assert re.search(r"Eve +Bcc: victim@example\.com +X-Evil: yes", mail["Subject"])
    assert [part.get_content_type() for part in mail.walk() if not part.is_multipart()] == [
        "text/plain",
        "text/html",
    ]
    assert site.verify().status_code == 200


def test_text_of_the_user_is_escaped_in_html_and_as_it_is_in_text(
    new_site: NewSite, talkative: dict[str, Any]
) -> None:
    words = '"><script>alert(1)</script><a href="https://evil.example/">&times;\'{{7*7}}'
    site = new_site(**talkative)
    site.register("alice", first_name=words)
    mail = site.read()
    tags = _Tags()
    tags.feed(html_of(mail))
    assert tags.found == ["p", "a"]
    assert tags.titles == [words]
    assert not any("evil" in link for link in links_of(mail))
    assert f"Hello {words} at" in text_of(mail)
    assert mail["Subject"] == f"Hello {words} at example.com"


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.titles: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.titles += [value for name, value in attrs if name == "title"]


def test_the_name_of_the_site_is_escaped_in_our_own_html(new_site: NewSite) -> None:
    site = new_site(SITE_NAME="Fish & <b>Chips</b>")
    site.register("alice")
    mail = site.read()
    assert "Welcome to Fish &amp; &lt;b&gt;Chips&lt;/b&gt;!" in html_of(mail)
    assert "<b>" not in html_of(mail)
    assert "Welcome to Fish & <b>Chips</b>!" in text_of(mail)
    assert mail["Subject"] == "Confirm your e-mail address for Fish & <b>Chips</b>"


def test_words_in_every_script_arrive(new_site: NewSite, talkative: dict[str, Any]) -> None:
    site = new_site(**talkative, SITE_NAME="Käse 日本 🧀")
    site.register("alice", first_name="Ærøskøbing")
    mail = site.read()
    assert mail["Subject"] == "Hello Ærøskøbing at Käse 日本 🧀"
    assert "Hello Ærøskøbing at Käse 日本 🧀" in text_of(mail)
    assert "Hello Ærøskøbing at Käse 日本 🧀" in html_of(mail)


# Templates of the application's own

BODY_TXT = "Text for {{ email }}: {{ verification_url }}"
BODY_HTML = """<html><head><title>hidden</title><style>p { color: red }</style></head><body>
<h1>Hello</h1><p>Text for <b>{{ email }}</b> &amp;
  friends.</p><ul><li>one</li><li>two</li></ul><table><tr><td>a</td><td>b</td></tr></table>
<script>hidden()</script><p>Please <a href="{{ verification_url }}">click here</a>, or open
<a href="{{ verification_url }}">{{ verification_url }}</a></p></body></html>"""


@pytest.fixture
def own_templates(tmp_path: Path) -> str:
    (tmp_path / "subject.txt").write_text("Subject\n")
    (tmp_path / "body.txt").write_text(BODY_TXT)
    (tmp_path / "body.html").write_text(BODY_HTML)
    return str(tmp_path)


@each_row(
    ("templates", "parts"),
    [
        pytest.param({"body": "body.txt"}, ["text/plain"], id="a body is text"),
        pytest.param({"text_body": "body.txt"}, ["text/plain"], id="a text body alone"),
        pytest.param(
            {"body": "body.txt", "is_html": False},
            ["text/plain"],
            id="a body that says that it is not HTML",
        ),
        pytest.param(
            {"body": "body.html", "is_html": True},
            ["text/plain", "text/html"],
            id="a body that is HTML",
        ),
        pytest.param(
            {"html_body": "body.html"}, ["text/plain", "text/html"], id="an HTML body alone"
        ),
        pytest.param(
            {"text_body": "body.txt", "html_body": "body.html"},
            ["text/plain", "text/html"],
            id="both bodies",
        ),
        pytest.param(
            {"body": "nowhere.txt", "text_body": "body.txt", "html_body": "body.html"},
            ["text/plain", "text/html"],
            id="both bodies beside a body that does not count",
        ),
    ],
)
@each_row("by", ["the setting", "the selector"])
def test_templates_may_be_given_as(
    new_site: NewSite, own_templates: str, templates: dict[str, Any], parts: list[str], by: str
) -> None:
    chosen = {"subject": "subject.txt", **templates}
    settings: dict[str, Any] = (
        {"REGISTER_VERIFICATION_EMAIL_TEMPLATES": chosen}
        if by == "the setting"
        else {"VERIFICATION_TEMPLATES_SELECTOR": lambda **kwargs: chosen}
    )
    site = new_site(template_folder=own_templates, **settings)
    site.register("alice")
    mail = site.read()
    assert mail["Subject"] == "Subject"
    assert [part.get_content_type() for part in mail.walk() if not part.is_multipart()] == parts
    text = text_of(mail) if parts == ["text/plain"] else text_of(mail) + html_of(mail)
    assert "alice@example.com" in text
    in_text = re.findall(r"https://example\.com/[^\s<>\"]+", text_of(mail))[0]
    assert site.verify(parameters(in_text)).status_code == 200


def test_html_alone_gets_a_text_part_with_each_link_on_a_line_of_its_own(
    new_site: NewSite, own_templates: str
) -> None:
    site = new_site(
        template_folder=own_templates,
        REGISTER_VERIFICATION_EMAIL_TEMPLATES={"subject": "subject.txt", "html_body": "body.html"},
    )
    site.register("alice")
    url = links_of(site.read())[0]
    lines = [line.strip() for line in text_of(site.read()).splitlines() if line.strip()]
    assert lines == [
        "Hello",
        "Text for alice@example.com & friends.",
        "- one",
        "- two",
        "a b",
        "Please click here:",
        url,
        "or open",
        url,
    ]
    assert "hidden" not in "".join(lines)


@each_row(
    ("html", "text"),
    [
        ("", "\n"),
        ("<p>one</p><p>two</p>", "one\n\ntwo\n"),
        ("one<br>two<br/>three", "one\ntwo\nthree\n"),
        ("<h1>Title</h1>text", "Title\n\ntext\n"),
        ("a&nbsp;b &lt;c&gt; &amp;times; &times;", "a b <c> &times; ×\n"),
        ("<!-- a comment -->text<!doctype html>", "text\n"),
        ("<a>no link</a>", "no link\n"),
        ("<p>open and never closed", "open and never closed\n"),
        ("</p></a></style>closed and never opened", "closed and never opened\n"),
        ("<style>a<p>b</style>c", "c\n"),
        ("<p>\n\n\n\n\na\n\n\n\n</p>\n\n\n<p>b</p>", "a\n\nb\n"),
        ("Hello<b> big</b> world", "Hello big world\n"),
        ("Un<b>believ</b>able", "Unbelievable\n"),
        ("<b>Bold</b>, and so on.", "Bold, and so on.\n"),
    ],
)
def test_html_to_text(html: str, text: str) -> None:
    assert html_to_text(html) == text


# Through a real server


def test_a_mail_arrives_at_a_real_server_as_it_was_composed(new_site: NewSite) -> None:
    with smtp_server() as server:
        site = new_site(config=server.config(), SITE_NAME="Käse & Brot")
        assert site.register("alice").status_code == 201
        (delivery,) = server.deliveries
    assert (delivery.sender, delivery.recipients) == ("no-reply@example.com", ["alice@example.com"])
    assert delivery.mail["Subject"] == "Confirm your e-mail address for Käse & Brot"
    assert delivery.mail["Auto-Submitted"] == "auto-generated"
    assert "Welcome to Käse & Brot!" in text_of(delivery.mail)
    assert site.verify(parameters(links_of(delivery.mail)[0])).status_code == 200


def headers_of(part: Any) -> list[tuple[str, str]]:
    """Without spaces, of which Python's newer rules lose one where a header is folded within a
    word."""
    return [(name, "".join(text.split())) for name, text in part.items() if "boundary" not in text]


@each_row("sender", ["no-reply@example.com", ("Ünïcode Größe 日本語 " * 4, "no-reply@example.com")])
def test_a_mail_is_written_out_as_flask_mail_would(new_site: NewSite, sender: Any) -> None:
    name = "Größe und Übermaß 日本語 " * (4 if isinstance(sender, str) else 1)
    site = new_site(config={"MAIL_DEFAULT_SENDER": sender}, SITE_NAME=name)
    site.register("alice")
    message = site.outbox[0]
    with site.app.app_context():
        writings = [message.as_bytes(), Message._message(message).as_bytes()]
    ours, theirs = (message_from_bytes(writing, policy=policy.default) for writing in writings)
    subject = f"Confirm your e-mail address for {name.strip()}"
    assert "".join(ours["Subject"].split()) == "".join(subject.split())  # see headers_of
    for one, other in zip(ours.walk(), theirs.walk(), strict=True):
        assert headers_of(one) == headers_of(other)
        assert one.get_content_type() == other.get_content_type()
        assert one.is_multipart() or one.get_content() == other.get_content()
    lines = writings[0].split(b"\r\n")
    assert all(
        b"\n" not in line and b"\r" not in line and len(line) <= 998 for line in lines
    )  # RFC 5322 section 2.1.1


def test_a_mail_for_an_international_domain_arrives_at_its_ascii_form(new_site: NewSite) -> None:
    with smtp_server() as server:
        site = new_site(config=server.config())
        site.register("mike", email="mike@straße.de")
        (delivery,) = server.deliveries
    assert delivery.recipients == ["mike@xn--strae-oqa.de"]
    assert delivery.mail["To"] == "mike@xn--strae-oqa.de"


@each_row("dispatcher", ["background", "inline", "outbox"])
def test_a_mail_arrives_at_an_address_with_letters_beyond_ascii(
    dispatcher: str, new_site: NewSite
) -> None:
    settings = {"EMAIL_VALIDATOR_OPTIONS": {"allow_smtputf8": True}, "MAIL_DISPATCHER": dispatcher}
    settings |= OUTBOX if dispatcher == "outbox" else {}
    with smtp_server() as server:
        site = new_site(config=server.config(), **settings)
        assert site.register("mike", email="Jürgen@straße.de").status_code == 201
        if dispatcher == "outbox":
            send_mail(site)
        (delivery,) = server.deliveries
    assert delivery.recipients == ["jürgen@straße.de"]
    assert delivery.mail["To"] == "jürgen@straße.de"
    assert delivery.mail["Subject"] == site.outbox[0].subject
    assert site.verify().status_code == 200


def test_a_server_without_smtputf8_fails_for_such_an_address_and_the_check_says_so(
    new_site: NewSite,
) -> None:
    settings = {"EMAIL_VALIDATOR_OPTIONS": {"allow_smtputf8": True}}
    with smtp_server(smtputf8=False) as server:
        site = new_site(config=server.config(), **settings)
        with site.hears(mail_failed) as heard:
            assert site.register("mike", email="jürgen@example.com").status_code == 201
            assert site.register("anna").status_code == 201
        told = site.app.test_cli_runner().invoke(registration_cli, ["check", "--mail"]).output
    assert [str(each["error"]) for each in heard] == ["SMTPUTF8 not supported by server"]
    assert [delivery.recipients for delivery in server.deliveries] == [["anna@example.com"]]
    assert "registration.W028" in told


@each_row(
    ("sender", "name", "greeting"),
    [
        ("no-reply@example.com", None, "example.com"),
        ("Example <no-reply@shop.example.com>", None, "shop.example.com"),
        (("Example", "no-reply@straße.de"), None, "xn--strae-oqa.de"),
        ("no-reply@straße.de", None, "xn--strae-oqa.de"),
        ("no-reply@example.com", "app.example.net", "app.example.net"),
        ("no-reply@example.com", "[192.0.2.1]", "[192.0.2.1]"),
    ],
    anew=True,
)
def test_a_mail_server_is_greeted_with(
    new_site: NewSite, sender: Any, name: str | None, greeting: str
) -> None:
    """Not with the name of a container, which is no domain name."""
    with smtp_server() as server:
        config = server.config(MAIL_DEFAULT_SENDER=sender)
        new_site(config=config, MAIL_EHLO_NAME=name).register("alice")
        (delivery,) = server.deliveries
    assert delivery.greeting == greeting
    assert delivery.sender.endswith(f"@{greeting}") == (name is None)


def test_a_sender_with_a_name_is_mailed_from_its_address(new_site: NewSite) -> None:
    with smtp_server() as server:
        site = new_site(
            config=server.config(), VERIFICATION_FROM_EMAIL='"Käse, Ltd" <us@example.net>'
        )
        site.register("alice")
        (delivery,) = server.deliveries
    assert delivery.sender == "us@example.net"


class Troubled:
    """What a site does whose mail server is in trouble."""

    def __init__(self, site: Site) -> None:
        self.site = site
        with site.hears(mail_failed) as heard:
            reply = site.register("alice")
        assert reply.status_code == 201
        assert site.user(username="alice") is not None
        self.errors = [each["error"] for each in heard]


TROUBLE: dict[str, Callable[[], Any]] = {
    "nobody listens": no_server,
    "it takes the connection and is silent": silent_server,
    "it is too busy": lambda: scripted_server("421 busy"),
    "it hangs up at once": lambda: scripted_server(None),
    "it hangs up in the middle": lambda: scripted_server("220 hello", "250 test", "250 OK", None),
    "it speaks another language": lambda: scripted_server("HTTP/1.1 400 Bad Request"),
    "it refuses the sender": lambda: scripted_server(
        "220 hello", "250 test", "550 no", "250 OK", "221 bye"
    ),
    "it refuses the recipient": lambda: smtp_server(refusal="550 no such user"),
    "it refuses the mail": lambda: scripted_server(
        "220 hello", "250 test", "250 OK", "250 OK", "354 go", "554 spam", "250 OK", "221 bye"
    ),
}


@each_row("trouble", TROUBLE.values(), ids=TROUBLE)
def test_the_reply_stands_when_the_mail_server_is_in_trouble(
    new_site: NewSite, trouble: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    with trouble() as server:
        troubled = Troubled(new_site(config=server.config(), MAIL_TIMEOUT=0.2))
    (error,) = troubled.errors
    assert isinstance(error, OSError)  # smtplib's are OSErrors too
    assert "An e-mail (register) could not be sent." in caplog.text
    assert PASSWORD not in caplog.text
    assert "signature=" not in caplog.text


def test_a_silent_server_is_waited_for_as_long_as_mail_timeout_says(new_site: NewSite) -> None:
    with silent_server() as server:
        (error,) = Troubled(new_site(config=server.config(), MAIL_TIMEOUT=0.2)).errors
    assert "timed out" in str(error)


def test_a_server_that_hangs_up_at_quit_has_the_mail_all_the_same(
    new_site: NewSite, caplog: pytest.LogCaptureFixture
) -> None:
    answers = ("220 hello", "250 test", "250 OK", "250 OK", "354 go", "250 OK", None)
    with scripted_server(*answers) as server:
        troubled = Troubled(new_site(config=server.config()))
    assert troubled.errors == []
    assert len(server.deliveries) == 1
    assert "could not be sent" not in caplog.text
    troubled.site.post("resend-verification", {"login": "alice"})
    assert len(server.deliveries) == 1  # it is counted as sent: the next one has to wait


def test_after_a_failure_the_mail_can_be_asked_for_at_once(new_site: NewSite, clock: Clock) -> None:
    with smtp_server() as server:
        site = new_site(config=server.config(MAIL_PORT=1))
        Troubled(site)
        site.app.extensions["mail"].port = server.port
        assert site.post("resend-verification", {"login": "alice"}).status_code == 200
        (delivery,) = server.deliveries
    assert site.verify(parameters(links_of(delivery.mail)[0])).status_code == 200


# TLS


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="session")
def foreign_certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"), host="other.example")


TLS = each_row(
    ("parameter", "switch"),
    [
        pytest.param("starttls", {"MAIL_USE_TLS": True}, id="STARTTLS"),
        pytest.param("implicit_tls", {"MAIL_USE_SSL": True}, id="implicit TLS"),
    ],
)


@TLS
def test_a_certificate_that_nobody_vouches_for_is_refused(
    new_site: NewSite, certificate: Certificate, parameter: str, switch: dict[str, Any]
) -> None:
    with smtp_server(**{parameter: certificate.context()}) as server:  # type: ignore[arg-type]
        (error,) = Troubled(new_site(config=server.config(**switch), MAIL_TIMEOUT=5)).errors
    assert "CERTIFICATE_VERIFY_FAILED" in str(error)
    assert server.deliveries == []


@TLS
def test_mail_verify_tls_off_takes_any_certificate(
    new_site: NewSite, certificate: Certificate, parameter: str, switch: dict[str, Any]
) -> None:
    with smtp_server(**{parameter: certificate.context()}) as server:  # type: ignore[arg-type]
        troubled = Troubled(
            new_site(config=server.config(**switch), MAIL_TIMEOUT=5, MAIL_VERIFY_TLS=False)
        )
    assert troubled.errors == []
    assert [delivery.encrypted for delivery in server.deliveries] == [True]


@TLS
def test_a_certificate_that_the_host_trusts_is_taken(
    new_site: NewSite,
    certificate: Certificate,
    parameter: str,
    switch: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.certificate))
    with smtp_server(**{parameter: certificate.context()}) as server:  # type: ignore[arg-type]
        troubled = Troubled(new_site(config=server.config(**switch), MAIL_TIMEOUT=5))
    assert troubled.errors == []
    assert [delivery.encrypted for delivery in server.deliveries] == [True]


@TLS
def test_a_trusted_certificate_for_another_name_is_refused(
    new_site: NewSite,
    foreign_certificate: Certificate,
    parameter: str,
    switch: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(foreign_certificate.certificate))
    with smtp_server(**{parameter: foreign_certificate.context()}) as server:  # type: ignore[arg-type]
        (error,) = Troubled(new_site(config=server.config(**switch), MAIL_TIMEOUT=5)).errors
    assert "Hostname mismatch" in str(error)
    assert server.deliveries == []


def test_a_server_without_starttls_is_not_mailed_in_the_clear(new_site: NewSite) -> None:
    with smtp_server() as server:
        (error,) = Troubled(
            new_site(config=server.config(MAIL_USE_TLS=True), MAIL_TIMEOUT=5)
        ).errors
    assert "STARTTLS" in str(error)
    assert server.deliveries == []


@each_row(("password", "logins"), [("right", ["mailer"]), ("wrong", [])])
def test_the_server_is_logged_in_to_with_the_configured_name_and_password(
    new_site: NewSite, certificate: Certificate, password: str, logins: list[str]
) -> None:
    with smtp_server(starttls=certificate.context(), users={"mailer": "right"}) as server:
        config = server.config(MAIL_USE_TLS=True, MAIL_USERNAME="mailer", MAIL_PASSWORD=password)
        troubled = Troubled(new_site(config=config, MAIL_TIMEOUT=5, MAIL_VERIFY_TLS=False))
    assert [delivery.login for delivery in server.deliveries] == logins
    assert len(troubled.errors) == 1 - len(logins)


# What no mail and no log has


def test_a_mail_has_neither_the_password_nor_its_hash_nor_the_stamp(site: Site) -> None:
    site.register("alice")
    with site.app.app_context():
        user = site.db.session.scalars(select(site.User)).one()
        secrets = [PASSWORD, user.password_hash, user.security_stamp]
    mail = site.read()
    for secret in secrets:
        assert secret not in text_of(mail) + html_of(mail) + str(mail.items())
