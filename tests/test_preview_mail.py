"""``flask registration preview-mail``: what the mails look like, before anybody gets one."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import (
    Boolean,
    Date,
    DateTime,
    Enum,
    Float,
    Integer,
    Interval,
    Numeric,
    String,
    Time,
    Uuid,
)
from sqlalchemy.orm import mapped_column

from flask_registration import (
    DEFAULT_FLOWS,
    EmailUserMixin,
    Flow,
    RegistrationState,
    Settings,
    UserMixin,
)
from flask_registration.cli.base import registration_cli

from .flows.common import LINK_INVALID, OTHER_PASSWORD, member
from .flows.test_mails import MAILS, mail_of
from .pages import read
from .people import define_uuid_user
from .site import Site, define, html_of, own_model, parameters, text_of
from .tables import each_row
from .test_languages import write_catalog

NewSite = Callable[..., Site]
ALL = list(MAILS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "mails"


def run(site: Site, folder: Path, *options: str) -> Result:
    return site.app.test_cli_runner().invoke(
        registration_cli, ["preview-mail", str(folder), *options]
    )


def preview(site: Site, folder: Path, *options: str) -> list[str]:
    """Run it, which must succeed; the names of the mails that are there."""
    result = run(site, folder, *options)
    assert (result.exit_code, result.exception, result.stderr) == (0, None, ""), result.output
    return re.findall(r"^  (\w+)", result.stdout, re.MULTILINE)


def part(folder: Path, name: str) -> str:
    """One of the files, which a browser reads without guessing."""
    data = (folder / name).read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    return data.decode("utf-8-sig")


def index(folder: Path) -> str:
    return (folder / "index.html").read_text("utf-8")


# What is there


def test_every_mail_is_written_and_listed(site: Site, folder: Path) -> None:
    assert sorted(preview(site, folder)) == sorted(ALL)
    parts = [f"{name}.{suffix}" for name in ALL for suffix in ("html", "txt")]
    assert sorted(os.listdir(folder)) == sorted(["index.html", *parts])
    page = index(folder)
    for name in parts:
        assert f'href="{name}"' in page
    assert "Confirm your e-mail address for example.com" in page
    assert "From no-reply@example.com to alice@example.com" in page


@each_row("kind", MAILS)
def test_a_mail_is_the_one_that_leaves(site: Site, folder: Path, kind: str) -> None:
    preview(site, folder)
    mail = mail_of(site, kind)
    assert plain(part(folder, f"{kind}.txt")) == plain(text_of(mail))
    assert plain(part(folder, f"{kind}.html")) == plain(html_of(mail))
    assert mail["Subject"] in index(folder)


def plain(text: str) -> list[str]:
    """The words of an e-mail, without what differs between users, and without line breaks."""
    text = re.sub(r"(https://example\.com/[\w-]+/\?)[^\s\"<]+", r"\1", text.replace("&amp;", "&"))
    return re.sub(r"[\w.]+@[\w.]*example\.com", "somebody", text).split()


def test_the_page_says_when_each_mail_leaves_in_the_words_of_the_documentation(
    site: Site, folder: Path
) -> None:
    preview(site, folder)
    page = re.sub(r"<[^>]*>", "", index(folder)).replace("&#39;", "'")
    rows = re.findall(
        r"^\| `(\w+)` \| ([^|]*) \| ([^|;]*?)(?:;[^|]*)? \|$", read("docs/mail.md"), re.MULTILINE
    )
    rows = [row for row in rows if row[0] in ALL]  # of the default flows
    assert len(rows) == len(ALL)
    for name, whom, when in rows:
        assert f"{name}, to {whom}: {when.replace('`', '')}" in page


# What it leaves alone


def test_nothing_is_stored_sent_or_read(site: Site, folder: Path) -> None:
    with site.statements() as statements:
        preview(site, folder)
    assert (statements, site.outbox, site.users()) == ([], [], [])


@each_row("once", [True, False])
def test_no_link_is_good_even_where_there_is_such_an_account(
    new_site: NewSite, folder: Path, once: bool
) -> None:
    site = new_site(RESET_PASSWORD_VERIFICATION_ONE_TIME_USE=once)
    member(site, email="alice@example.com", id=1)
    preview(site, folder)
    (url,) = re.findall(r"^https://\S+", part(folder, "reset_password.txt"), re.MULTILINE)
    link = parameters(url)
    assert link["user_id"] == "1"
    assert (
        site.post("reset-password", {**link, "password": OTHER_PASSWORD}).get_json() == LINK_INVALID
    )


def test_other_peoples_files_stay_as_they_are(site: Site, folder: Path) -> None:
    folder.mkdir()
    (folder / "index.html").write_text("The front page")
    result = run(site, folder)
    assert (result.exit_code, result.stderr) == (
        1,
        f"{folder} contains other files. Choose a new or an empty folder.\n",
    )
    assert os.listdir(folder) == ["index.html"]
    assert index(folder) == "The front page"


def test_its_own_files_are_replaced_and_no_other(
    site: Site, new_site: NewSite, folder: Path
) -> None:
    preview(site, folder)
    (folder / "notes.txt").write_text("Look at the footer")
    flows = [flow for flow in DEFAULT_FLOWS if flow.name in ("register", "change_password")]
    site = new_site(flows=flows, PREVENT_ENUMERATION=False)
    assert preview(site, folder) == ["register", "password_changed"]
    assert sorted(os.listdir(folder)) == [
        "index.html",
        "notes.txt",
        "password_changed.html",
        "password_changed.txt",
        "register.html",
        "register.txt",
    ]


def test_a_folder_that_cannot_be_written_is_told(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run(site, tmp_path / "file" / "mails")
    assert result.exit_code == 1
    assert result.stderr.endswith("is not writable: Not a directory.\n")


# Which mails leave

WITHOUT: list[tuple[dict[str, Any], set[str]]] = [
    (
        {"REGISTER_VERIFICATION_ENABLED": False},
        {"register", "register_again", "email_taken"},
    ),
    ({"PREVENT_ENUMERATION": False}, {"register_again", "email_taken"}),
    ({"REGISTER_FLOW_ENABLED": False}, {"register_again", "email_taken"}),
    (
        {"RESET_PASSWORD_VERIFICATION_ENABLED": False},
        {"register_again", "reset_password"},
    ),
    (
        {"flows": [flow for flow in DEFAULT_FLOWS if flow.name != "undo_email_change"]},
        {"email_change_undone"},
    ),
    ({"PASSWORD_NOTICE_ENABLED": False}, {"password_changed"}),
    ({"DELETION_NOTICE_ENABLED": False}, {"account_deleted"}),
    (
        {"REGISTER_EMAIL_VERIFICATION_ENABLED": False},
        {"register_email", "email_change_requested", "email_change_taken"},
    ),
    (
        {"define": own_model(email=lambda: mapped_column(String(254), nullable=False))},
        {"email_change_taken"},
    ),
    (
        {"flows": [flow for flow in DEFAULT_FLOWS if flow.name != "register_email"]},
        {"register_email", "email_change_requested", "email_change_taken", "email_changed"},
    ),
    ({"define": own_model(email=lambda: None), "REGISTER_VERIFICATION_ENABLED": False}, set(ALL)),
]


@each_row(
    ("options", "missing"), WITHOUT, ids=lambda each: "-".join(each) if type(each) is dict else ""
)
def test_what_does_not_leave_is_named_and_not_shown(
    new_site: NewSite, folder: Path, options: dict[str, Any], missing: set[str]
) -> None:
    assert set(preview(new_site(**options), folder)) == set(ALL) - missing
    assert named_as_not_sent(folder) == missing


def named_as_not_sent(folder: Path) -> set[str]:
    (named,) = re.findall("Not sent with this configuration: (.*)", index(folder))
    return set(re.findall(r"<code>([^<]+)</code>", named))


def test_the_mails_of_a_flow_that_is_left_out_are_named(new_site: NewSite, folder: Path) -> None:
    flow: Flow[Settings] = Flow("devices", Settings, needs_logins=True)

    @flow.email("new_device", to="the user", when="a device is new")
    def new_device(state: RegistrationState, user: Any) -> dict[str, Any]:
        return {}

    preview(new_site(flows=[*DEFAULT_FLOWS, flow]), folder)
    assert named_as_not_sent(folder) == {"new_device"}


# By the application's own ways


def test_templates_see_the_application_and_a_user_with_every_column(
    new_site: NewSite, folder: Path, tmp_path: Path
) -> None:
    template = tmp_path / "registration" / "register"
    template.mkdir(parents=True)
    (template / "body.txt").write_text(
        "{{ user.company }}/{{ user.role }}/{{ user.seats }}/{{ user.is_admin }}/"
        "{{ user.born.year > 2000 }}/{{ user.seen.year > 2000 }}/{{ user.note }}/"
        "{{ current_user.is_authenticated }}/{{ url_for('static', filename='x') }}"
    )
    columns: dict[str, Callable[[], Any]] = {
        "company": lambda: mapped_column(String(4), nullable=False, default="none"),
        "role": lambda: mapped_column(
            Enum("reader", "writer", name="role"), nullable=False, default="writer"
        ),
        "seats": lambda: mapped_column(Integer, nullable=False, server_default="5"),
        "is_admin": lambda: mapped_column(Boolean, default=False),
        "born": lambda: mapped_column(Date, nullable=False, default=lambda: date(2001, 1, 1)),
        "seen": lambda: mapped_column(
            DateTime, nullable=False, default=lambda: datetime(2002, 1, 1)
        ),
        "note": lambda: mapped_column(Integer),
    }
    model = define(UserMixin, columns=lambda: {name: make() for name, make in columns.items()})
    site = new_site(define=model, template_folder=str(tmp_path), USER_PUBLIC_FIELDS=["company"])
    preview(site, folder)
    assert part(folder, "register.txt") == "Exam/writer/1/False/True/True/1/False//static/x"


def test_a_model_whose_columns_all_must_be_given_has_an_example_as_well(
    new_site: NewSite, folder: Path
) -> None:
    columns: dict[str, Callable[[], Any]] = {
        "company": lambda: mapped_column(String(40), nullable=False),
        "seats": lambda: mapped_column(Integer, nullable=False),
        "is_admin": lambda: mapped_column(Boolean, nullable=False),
        "born": lambda: mapped_column(Date, nullable=False),
        "seen": lambda: mapped_column(DateTime, nullable=False),
        "key": lambda: mapped_column(Uuid, nullable=False),
        "code": lambda: mapped_column(Uuid(as_uuid=False), nullable=False),
        "price": lambda: mapped_column(Numeric(10, 2)),
        "weight": lambda: mapped_column(Float),
        "until": lambda: mapped_column(DateTime),
        "at": lambda: mapped_column(Time),
        "lasts": lambda: mapped_column(Interval),
    }
    told: list[Any] = []

    def build(user: Any, user_address: str, data: Any, **kwargs: Any) -> Any:
        told.append([getattr(user, name) for name in columns])
        return {"user": user, "email": user_address, **data}

    model = define(UserMixin, columns=lambda: {name: make() for name, make in columns.items()})
    site = new_site(
        define=model, USER_PUBLIC_FIELDS=[*columns], VERIFICATION_TEMPLATE_CONTEXT_BUILDER=build
    )
    assert len(preview(site, folder)) == len(ALL)
    assert told[0][:3] == ["Example", 1, False]
    assert None not in told[0]


@each_row(
    ("model", "left_out"),
    [
        # No profile changes their login field, which is the e-mail address.
        (define(EmailUserMixin, LOGIN_FIELDS=["email"]), {"login_changed"}),
        (define_uuid_user, set()),
        (own_model(), set()),
    ],
    ids=["users without a name", "users numbered by UUIDs", "a model without a stamp"],
)
def test_any_model_will_do(
    new_site: NewSite,
    folder: Path,
    model: Callable[[SQLAlchemy], type[Any]],
    left_out: set[str],
) -> None:
    assert set(preview(new_site(define=model), folder)) == set(ALL) - left_out


def test_the_old_address_sees_a_link_only_where_a_change_can_be_taken_back(
    new_site: NewSite, folder: Path
) -> None:
    preview(new_site(), folder)
    assert "https://example.com/undo-email-change/?" in part(folder, "email_changed.txt")
    preview(new_site(define=own_model()), folder)
    assert "https://" not in part(folder, "email_changed.txt"), "a model without a stamp"


def test_a_selector_sees_a_request_with_the_language_that_was_asked_for(
    new_site: NewSite, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "hallo.txt").write_text("Grüße an {{ email }}")

    def select(*, request: Any, user: Any, **_: Any) -> Any:
        assert user.username == "alice"
        if request.accept_languages.best_match(["en", "de"]) != "de":
            raise LookupError
        return {"subject": "hallo.txt", "body": "hallo.txt"}

    site = new_site(template_folder=str(tmp_path), VERIFICATION_TEMPLATES_SELECTOR=select)
    preview(site, folder)
    assert (folder / "register.html").exists()
    preview(site, folder, "--language", "de")
    assert part(folder, "register.txt") == "Grüße an alice@example.com"
    assert not (folder / "register.html").exists()


def test_the_mails_are_in_the_language_that_was_asked_for(
    new_site: NewSite, folder: Path, tmp_path: Path
) -> None:
    write_catalog(tmp_path, "ar", {"Your password was changed": "تم تغيير كلمة المرور"})
    site = new_site(LANGUAGES=["en", "ar"], TRANSLATION_DIRECTORIES=[str(tmp_path)])
    preview(site, folder)
    assert '<html lang="en">' in part(folder, "password_changed.html")
    preview(site, folder, "--language", "ar")
    assert '<html lang="ar" dir="rtl">' in part(folder, "password_changed.html")
    assert "تم تغيير كلمة المرور" in part(folder, "password_changed.html")
    assert '<pre dir="auto">' in index(folder), (
        "and so a text is read from the side that it is written from"
    )


def test_a_language_that_is_not_offered_is_told(new_site: NewSite, folder: Path) -> None:
    site = new_site(LANGUAGES=["en", "ja", "pt-BR"])
    for tag, told in (("jp", True), ("ja", False), ("ja-JP", False), ("pt", False)):
        result = site.app.test_cli_runner().invoke(
            registration_cli, ["preview-mail", str(folder), "--language", tag]
        )
        assert result.exit_code == 0, result.output
        warning = f"No language matches {tag!r}, so the default is used. Available: en, ja, pt-BR."
        assert result.stderr == (f"{warning}\n" if told else "")


def test_a_renderer_and_a_sender_of_one_s_own(new_site: NewSite, folder: Path) -> None:
    sent: list[Any] = []

    def render(template_config: Any, context: Any, **kwargs: Any) -> Any:
        return "Two\nlines", "Text", "<script>alert('&')</script>"

    site = new_site(
        VERIFICATION_TEMPLATE_RENDERER=render,
        RESET_PASSWORD_VERIFICATION_EMAIL_SENDER=lambda request, user, **kwargs: sent.append(user),
        SITE_NAME="<b>Ours</b>",
    )
    assert len(preview(site, folder)) == len(ALL)
    assert part(folder, "register.html") == "<script>alert('&')</script>"
    page = index(folder)
    assert "<h2><bdi>Two lines</bdi></h2>" in page
    assert "&lt;b&gt;Ours" in page
    assert "<b>Ours" not in page
    assert "<script>alert" not in page
    assert 'sandbox="allow-same-origin allow-popups"' in page, "and so no script of a mail runs"
    assert sent == []
    assert not (folder / "reset_password.txt").exists()
    assert "The application sends this e-mail itself." in page


def test_a_flow_of_one_s_own_shows_its_mails(
    new_site: NewSite, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "invitation.txt").write_text(
        "{{ user.username }} invites {{ guest }} to {{ site_name }}"
    )
    flow: Flow[Settings] = Flow("club", Settings)
    templates = {"subject": "invitation.txt", "body": "invitation.txt"}

    @flow.email(
        "club/invitation",
        to="the invited",
        when="a member invites them",
        templates=lambda settings: templates,
        example={"guest": "Bob", "to": "bob@example.com"},
    )
    def invitation(state: RegistrationState, user: Any, guest: str) -> dict[str, Any]:
        return {"guest": guest}

    @flow.email("fee", to="the treasurer", when="a fee is due")
    def fee(state: RegistrationState, user: Any) -> dict[str, Any]:
        return {"treasurer": user.treasurer}

    @flow.email("farewell", to="a member", when="they leave", enabled=lambda state: False)
    def farewell(state: RegistrationState, user: Any) -> dict[str, Any]:
        return {}

    site = new_site(flows=[*DEFAULT_FLOWS, flow], template_folder=str(tmp_path))
    result = run(site, folder)
    assert (result.exit_code, result.stderr) == (1, "Not rendered: fee.\n")
    assert part(folder, "club_invitation.txt") == "alice invites Bob to example.com"
    assert "From no-reply@example.com to bob@example.com" in index(folder)
    assert named_as_not_sent(folder) == {"farewell"}
    assert "club_invitation, to the invited: a member invites them" in re.sub(
        "<[^>]*>", "", index(folder)
    )
    preview(new_site(), folder)
    assert not (folder / "club_invitation.txt").exists()


def test_a_mail_that_cannot_be_made_is_told_and_the_others_are_there(
    new_site: NewSite, folder: Path, tmp_path: Path
) -> None:
    template = tmp_path / "registration" / "email_taken"
    template.mkdir(parents=True)
    (template / "body.txt").write_text("{{ nothing.of.that }}")
    result = run(new_site(template_folder=str(tmp_path)), folder)
    assert (result.exit_code, result.stderr) == (1, "Not rendered: email_taken.\n")
    assert "UndefinedError: 'nothing' is undefined" in result.stdout
    assert "UndefinedError: &#39;nothing&#39; is undefined" in index(folder)
    assert len(list(folder.glob("*.txt"))) == len(ALL) - 1
