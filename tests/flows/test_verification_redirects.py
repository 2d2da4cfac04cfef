"""Pages behind mailed links, for applications without a front end of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlencode

import pytest
from marshmallow import Schema, ValidationError, fields, validate, validates_schema
from werkzeug.serving import make_server

from flask_registration import DEFAULT_FLOWS, ConfigurationError, EmailUserMixin
from flask_registration.flows import mail_login, sign_up, terms, verification_redirects

from ..conftest import Clock
from ..site import PASSWORD, Site, define, links_of
from ..tables import each_row
from ..test_steps import define_challenge, word_flow
from .common import (
    LINK_INVALID,
    OTHER_PASSWORD,
    NewSite,
    ask_move,
    ask_reset,
    forget_mails,
    has_password,
    is_in,
    log_in,
    member,
    move,
    row,
)
from .test_terms import define_consent

FLOWS = [*DEFAULT_FLOWS, sign_up.flow, verification_redirects.flow]
PAGES = {
    "REGISTER_VERIFICATION_URL": "http://localhost/accounts/verify-registration/",
    "REGISTER_EMAIL_VERIFICATION_URL": "http://localhost/accounts/verify-email/",
    "RESET_PASSWORD_VERIFICATION_URL": "http://localhost/accounts/reset-password/",
}
URLS = {
    f"{flow}_{end}_URL": f"https://example.com/{flow.lower()}/{end.lower()}"
    for flow in ("VERIFY_REGISTRATION", "VERIFY_EMAIL", "RESET_PASSWORD", "FINISH_SIGN_UP")
    for end in ("SUCCESS", "FAILURE")
}
ENDPOINTS = ["verify-registration", "verify-email", "reset-password", "finish-sign-up"]
STYLESHEET = '<link rel="stylesheet" href="/accounts/pages.css" referrerpolicy="no-referrer">'
each_page = each_row("endpoint", ENDPOINTS)


class Form(HTMLParser):
    """The one form of a page, as a browser would send it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.method = self.action = ""
        self.fields: dict[str, str] = {}
        self.passwords: list[str] = []
        self.others: dict[str, dict[str, str | None]] = {}
        self.forms = self.buttons = 0
        self.text: list[str] = []
        self.tags: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        if tag == "form":
            self.forms += 1
            self.method, self.action = str(given["method"]), str(given["action"])
        elif tag == "button":
            self.buttons += 1
        elif tag == "input" and given["type"] == "hidden":
            self.fields[str(given["name"])] = str(given["value"])
        elif tag == "input" and given["type"] == "password":
            assert given["autocomplete"] == "new-password"
            self.passwords.append(str(given["name"]))
        elif tag == "input":
            self.others[str(given["name"])] = given

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture
def pages(new_site: NewSite) -> Site:
    """An application with these pages, and Alice; its pages lead nowhere else."""
    site = new_site(flows=FLOWS, **PAGES)
    member(site)
    return site


def link_to(site: Site, endpoint: str) -> dict[str, str]:
    """The parameters of a good link to this page."""
    forget_mails(site)
    if endpoint == "verify-registration":
        site.register("pending")
        return site.link()
    if endpoint == "finish-sign-up":
        site.post("sign-up", {"email": "new@example.com"})
        return site.link()
    if endpoint == "reset-password":
        return ask_reset(site)
    return ask_move(site, log_in(site), "new@example.com")


def open_page(site: Site, endpoint: str, link: dict[str, str]) -> Any:
    return site.app.test_client().get(f"/accounts/{endpoint}/", query_string=link)


def press(site: Site, form: Form, headers: dict[str, str] | None = None, **more: str) -> Any:
    """Press the button; passwords are typed where there are some."""
    typed = dict.fromkeys(form.passwords, OTHER_PASSWORD) | dict.fromkeys(form.others, "newcomer")
    return site.app.test_client().post(
        form.action, data={**form.fields, **typed, **more}, headers=headers
    )


def has_worked(site: Site, endpoint: str) -> bool:
    if endpoint == "verify-registration":
        return bool(site.user(username="pending").is_verified)
    if endpoint == "finish-sign-up":
        return [each.email for each in site.users() if each.username == "newcomer"] == [
            "new@example.com"
        ]
    if endpoint == "verify-email":
        return bool(site.user(username="alice").email == "new@example.com")
    return has_password(site, OTHER_PASSWORD)


@each_page
def test_opening_a_page_shows_one_button_and_changes_nothing(pages: Site, endpoint: str) -> None:
    link = link_to(pages, endpoint)
    before = [row(pages, id=user.id) for user in pages.users()]
    with pages.statements() as statements:
        reply = open_page(pages, endpoint, link)
        head = pages.app.test_client().head(f"/accounts/{endpoint}/", query_string=link)
    form = Form(reply.get_data(as_text=True))
    assert (reply.status_code, reply.mimetype, head.status_code, head.get_data()) == (
        200,
        "text/html",
        200,
        b"",
    )
    assert (form.forms, form.buttons, form.method) == (1, 1, "post")
    assert (form.action, form.fields) == (f"/accounts/{endpoint}/confirm/", link)
    has_password = endpoint in ("reset-password", "finish-sign-up")
    assert form.passwords == (["password", "password_confirm"] if has_password else [])
    assert [*form.others] == (["username"] if endpoint == "finish-sign-up" else [])
    assert statements == []
    assert [row(pages, id=user.id) for user in pages.users()] == before
    assert not has_worked(pages, endpoint)
    assert press(pages, form).status_code == 200
    assert has_worked(pages, endpoint)


@each_page
def test_a_page_keeps_its_secret_and_runs_no_script(pages: Site, endpoint: str) -> None:
    reply = open_page(pages, endpoint, link_to(pages, endpoint))
    policy = reply.headers["Content-Security-Policy"]
    for rule in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert rule in policy
    assert "script-src" not in policy
    assert reply.headers["Referrer-Policy"] in ("no-referrer", "same-origin")
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    form = Form(reply.get_data(as_text=True))
    assert not form.tags & {"script", "img", "iframe", "a"}
    assert re.findall(r"<link[^>]*>", reply.text) == [STYLESHEET]
    assert "Set-Cookie" not in reply.headers


@each_page
def test_the_button_leads_to_the_success_url_and_a_used_link_to_the_failure_url(
    database: str, new_site: NewSite, endpoint: str
) -> None:
    site = new_site(database, flows=FLOWS, **PAGES, **URLS)
    member(site)
    form = Form(open_page(site, endpoint, link_to(site, endpoint)).get_data(as_text=True))
    flow = endpoint.replace("-", "_")
    reply = press(site, form)
    assert (reply.status_code, reply.headers["Location"]) == (
        302,
        f"https://example.com/{flow}/success",
    )
    assert has_worked(site, endpoint)
    before = row(site, username="alice")
    reply = press(site, form)
    if endpoint != "verify-registration":  # where opening it again is a calm 200
        assert (reply.status_code, reply.headers["Location"]) == (
            302,
            f"https://example.com/{flow}/failure",
        )
    assert row(site, username="alice") == before


@each_page
@each_row("urls", [URLS, {}], ids=["with urls", "without"])
@each_row("bad", ["forged", "missing", "expired", "empty"])
def test_a_bad_link_leads_to_the_failure_url_or_says_so(
    new_site: NewSite, clock: Clock, endpoint: str, urls: dict[str, str], bad: str
) -> None:
    site = new_site(flows=FLOWS, **PAGES, **urls)
    member(site)
    link = link_to(site, endpoint)
    if bad == "forged":
        link["signature"] = "forged"
    elif bad == "missing":
        del link["signature"]
    elif bad == "empty":
        link = {}
    clock.advance(8 * 86400 if bad == "expired" else 0)
    reply = press(site, Form(open_page(site, endpoint, link).get_data(as_text=True)))
    if urls:
        assert (reply.status_code, reply.headers["Location"]) == (
            302,
            f"https://example.com/{endpoint.replace('-', '_')}/failure",
        )
        return
    form = Form(reply.get_data(as_text=True))
    words = {"forged": "This link is not valid.", "expired": "This link has expired."}
    assert (reply.status_code, reply.mimetype, form.forms) == (400, "text/html", 0)
    assert (
        words.get(bad, "This link is incomplete. Copy the whole link from the e-mail.")
        in form.words
    )
    assert not has_worked(site, endpoint)


def link_in(html: str) -> str | None:
    """Return where the link of a page leads, whose text is that of a login."""
    found = re.search(r'<a href="([^"]*)" referrerpolicy="no-referrer">Log in</a>', html)
    return found[1] if found else None


@each_page
def test_a_page_whose_link_failed_leads_to_the_login_page(new_site: NewSite, endpoint: str) -> None:
    site = new_site(flows=FLOWS, **PAGES, LOGIN_PAGE_URL="https://example.com/login?next=a&b")
    member(site)
    opened = open_page(site, endpoint, {**link_to(site, endpoint), "signature": "forged"})
    assert link_in(opened.text) is None
    failed = press(site, Form(opened.text))
    again = site.app.test_client().get(f"/accounts/{endpoint}/confirm/")
    for each in (failed, again):
        assert (each.status_code, link_in(each.text)) == (
            400,
            "https://example.com/login?next=a&amp;b",
        )


@each_page
def test_a_page_that_worked_leads_to_the_login_page_unless_it_logged_in(
    new_site: NewSite, endpoint: str
) -> None:
    site = new_site(flows=FLOWS, **PAGES, LOGIN_PAGE_URL="/login")
    member(site)
    form = Form(open_page(site, endpoint, link_to(site, endpoint)).text)
    reply = press(site, form)
    assert reply.status_code == 200
    assert link_in(reply.text) == (None if endpoint == "finish-sign-up" else "/login")


def test_the_login_page_of_flask_login_is_the_default(new_site: NewSite) -> None:
    site = new_site(flows=FLOWS, **PAGES)
    site.app.add_url_rule("/come-in", "come_in", lambda: "Come in.")
    views = {None: None, "come_in": "/come-in", "/enter": "/enter", "no_such_view": None}
    for view, link in views.items():
        site.app.login_manager.login_view = view  # type: ignore[attr-defined]
        reply = site.app.test_client().get("/accounts/reset-password/confirm/")
        assert link_in(reply.text) == link


@each_page
def test_without_urls_a_page_says_that_it_worked(pages: Site, endpoint: str) -> None:
    done = {
        "verify-registration": "Your e-mail address is confirmed.",
        "verify-email": "Your new e-mail address is confirmed.",
        "reset-password": "Your password was changed. You can log in with it now.",
        "finish-sign-up": "Your account is ready.",
    }
    form = Form(open_page(pages, endpoint, link_to(pages, endpoint)).get_data(as_text=True))
    reply = press(pages, form)
    page = Form(reply.get_data(as_text=True))
    assert (reply.status_code, page.forms) == (200, 0)
    assert done[endpoint] in page.words
    assert reply.headers["Cache-Control"] == "no-store"


@each_row(
    ("typed", "words"),
    [
        pytest.param(
            {"password_confirm": "another"}, "The two passwords do not match.", id="two that differ"
        ),
        pytest.param(
            {"password": "short", "password_confirm": "short"},
            "Use at least 8 characters.",
            id="a short one",
        ),
        pytest.param(
            {"password": "password1", "password_confirm": "password1"},
            "common",
            id="one that everybody has",
        ),
        pytest.param(
            {"password": "", "password_confirm": ""},
            "This field may not be blank.",
            id="an empty one",
        ),
        pytest.param(
            {"password": "x" * 257, "password_confirm": "x" * 257},
            "Use at most 256 characters.",
            id="an overlong one",
        ),
        pytest.param(
            {"password": "a\0b" * 9, "password_confirm": "a\0b" * 9},
            "This text contains unsupported characters.",
            id="one with a NUL",
        ),
    ],
)
@each_row("confirm", [False, True], ids=["", "with a confirmation by setting"])
def test_a_password_that_will_not_do_is_asked_for_again_and_the_link_is_still_good(
    new_site: NewSite, typed: dict[str, str], words: str, confirm: bool
) -> None:
    site = new_site(flows=FLOWS, **PAGES, **URLS, RESET_PASSWORD_SCHEMA_PASSWORD_CONFIRM=confirm)
    member(site)
    link = link_to(site, "reset-password")
    form = Form(open_page(site, "reset-password", link).get_data(as_text=True))
    reply = press(site, form, None, **typed)
    again = Form(reply.get_data(as_text=True))
    assert reply.status_code in (200, 400)
    assert (again.fields, again.passwords, again.action) == (
        link,
        ["password", "password_confirm"],
        form.action,
    )
    assert words in again.words
    for each in typed.values():
        assert each in ("", "short") or each not in reply.get_data(as_text=True)
    assert has_password(site, PASSWORD)
    assert press(site, again).headers["Location"] == URLS["RESET_PASSWORD_SUCCESS_URL"]
    assert has_password(site, OTHER_PASSWORD)


def test_a_bad_link_with_a_weak_password_says_nothing_of_the_password(pages: Site) -> None:
    link = {**link_to(pages, "reset-password"), "signature": "forged"}
    form = Form(open_page(pages, "reset-password", link).get_data(as_text=True))
    reply = press(pages, form, password="short", password_confirm="short")
    assert reply.status_code == 400
    assert "This link is not valid." in Form(reply.get_data(as_text=True)).words
    assert "8 characters" not in reply.get_data(as_text=True)


OTHER_SITES = [
    {"Origin": "https://evil.example"},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": "http://localhost:81"},
    {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
]


@each_page
@each_row("headers", OTHER_SITES, ids=str)
def test_a_form_of_another_site_is_refused(
    pages: Site, endpoint: str, headers: dict[str, str]
) -> None:
    form = Form(open_page(pages, endpoint, link_to(pages, endpoint)).get_data(as_text=True))
    reply = press(pages, form, headers)
    assert (reply.status_code, reply.mimetype) == (400, "text/html")
    assert "This form was sent from another site." in Form(reply.get_data(as_text=True)).words
    assert not has_worked(pages, endpoint)
    assert press(pages, form).status_code == 200


@each_page
@each_row(
    "headers",
    [
        {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "http://localhost"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        # behind a proxy that hands on another host, or no port
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://shop.example.com:8443"},
    ],
    ids=str,
)
def test_a_form_of_our_own_is_taken(pages: Site, endpoint: str, headers: dict[str, str]) -> None:
    form = Form(open_page(pages, endpoint, link_to(pages, endpoint)).get_data(as_text=True))
    assert press(pages, form, headers).status_code == 200
    assert has_worked(pages, endpoint)


@each_page
def test_parameters_are_escaped(pages: Site, endpoint: str) -> None:
    evil = "\"><script>alert(1)</script>'&amp;{{7*7}}"
    link = dict.fromkeys(
        ("user_id", "email", "timestamp", "signature", "password", "next", "password_confirm"), evil
    )
    reply = open_page(pages, endpoint, link)
    html = reply.get_data(as_text=True)
    form = Form(html)
    assert "<script" not in html
    assert form.fields == dict.fromkeys(("user_id", "email", "timestamp", "signature"), evil)
    reply = press(pages, form)
    assert "<script" not in reply.get_data(as_text=True)
    assert reply.status_code == 400


def test_an_url_in_the_link_leads_nowhere(pages: Site) -> None:
    link = {
        **link_to(pages, "reset-password"),
        "next": "https://evil.example/",
        "success_url": "//evil.example/",
    }
    reply = open_page(pages, "reset-password", link)
    assert "evil" not in reply.get_data(as_text=True)
    reply = press(pages, Form(reply.get_data(as_text=True)), next="https://evil.example/")
    assert (reply.status_code, "Location" in reply.headers) == (200, False)


@each_page
def test_the_json_endpoint_at_the_same_path_works_and_refuses_forms(
    pages: Site, endpoint: str
) -> None:
    link = {**link_to(pages, endpoint), "password": OTHER_PASSWORD}
    for content_type in ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain"):
        reply = pages.app.test_client().post(
            f"/accounts/{endpoint}/", data=link, content_type=content_type
        )
        assert (reply.status_code, reply.get_json()["code"]) == (415, "unsupported-media-type")
    assert not has_worked(pages, endpoint)
    assert pages.post(endpoint, {**link, "signature": "forged"}).get_json() == LINK_INVALID
    if endpoint == "finish-sign-up":
        link |= {"username": "newcomer", "password_confirm": OTHER_PASSWORD}
    assert pages.post(endpoint, link).status_code in (200, 201)
    assert has_worked(pages, endpoint)


@each_page
def test_the_address_that_a_form_went_to_is_a_page_too(pages: Site, endpoint: str) -> None:
    reply = pages.app.test_client().get(f"/accounts/{endpoint}/confirm/")
    assert (reply.status_code, reply.mimetype) == (400, "text/html")
    assert (
        "This link is incomplete. Copy the whole link from the e-mail."
        in Form(reply.get_data(as_text=True)).words
    )


@each_page
def test_the_button_takes_no_json(pages: Site, endpoint: str) -> None:
    link = {
        **link_to(pages, endpoint),
        "password": OTHER_PASSWORD,
        "password_confirm": OTHER_PASSWORD,
    }
    assert (
        pages.app.test_client().post(f"/accounts/{endpoint}/confirm/", json=link).status_code >= 400
    )
    assert not has_worked(pages, endpoint)


@each_page
def test_the_default_flows_have_no_pages(site: Site, endpoint: str) -> None:
    optional = endpoint == "finish-sign-up"
    assert site.app.test_client().get(f"/accounts/{endpoint}/").status_code == (
        404 if optional else 405
    )
    assert site.app.test_client().post(f"/accounts/{endpoint}/confirm/").status_code == 404


def test_a_reset_by_the_page_ends_every_session_and_logs_nobody_in(pages: Site) -> None:
    client = log_in(pages)
    link = link_to(pages, "reset-password")
    form = Form(open_page(pages, "reset-password", link).get_data(as_text=True))
    data = {**form.fields, "password": OTHER_PASSWORD, "password_confirm": OTHER_PASSWORD}
    reply = client.post(form.action, data=data)
    assert reply.status_code == 200
    assert not is_in(client)


def test_every_link_that_is_mailed_opens_a_page_with_a_button(new_site: NewSite) -> None:
    """The one that undoes a change of address among them, which needs it most."""
    site = new_site(flows=FLOWS, **PAGES)
    member(site)
    urls = []
    for endpoint in ENDPOINTS:
        link_to(site, endpoint)
        urls += links_of(site.read())[:1]
    forget_mails(site)
    move(site, log_in(site), "new@example.com")
    urls += links_of(site.read())[:1]
    found = {url.partition("?")[0]: site.app.test_client().get(url).status_code for url in urls}
    assert found == {url.partition("?")[0]: 200 for url in urls}
    assert len(found) == 5


@each_row("headers", [{}, *OTHER_SITES], ids=str)
def test_the_button_that_takes_a_change_back_does_so_for_our_own_form_only(
    pages: Site, headers: dict[str, str]
) -> None:
    client = log_in(pages)
    link = move(pages, client, "new@example.com")
    form = Form(open_page(pages, "undo-email-change", link).get_data(as_text=True))
    assert (form.buttons, form.fields, form.passwords) == (1, link, [])
    assert pages.user(username="alice").email == "new@example.com"
    reply = press(pages, form, headers)
    undone = reply.status_code == 200
    assert undone == (not headers)
    assert pages.user(username="alice").email == (
        "alice@example.com" if undone else "new@example.com"
    )
    assert is_in(client) == (not undone)
    if undone:
        assert press(pages, form).status_code == 400


def test_an_own_template_may_stand_in_for_the_page(new_site: NewSite, tmp_path: Path) -> None:
    (tmp_path / "registration" / "page").mkdir(parents=True)
    (tmp_path / "registration" / "page" / "confirm.html").write_text(
        "<h1>Ours: {{ title }} at {{ site_name }}</h1>"
    )
    site = new_site(flows=FLOWS, template_folder=str(tmp_path), SITE_NAME="The Site", **PAGES)
    reply = open_page(site, "verify-email", {})
    assert (
        reply.get_data(as_text=True) == "<h1>Ours: Confirm your new e-mail address at The Site</h1>"
    )


@each_row("name", [*URLS, "LOGIN_PAGE_URL"])
@each_row(
    "url", ["welcome", "example.com/welcome", "javascript:alert(1)", "https://exa mple.com/", ""]
)
def test_a_page_that_leads_to_nowhere_is_a_configuration_problem(
    new_site: NewSite, name: str, url: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        new_site(flows=FLOWS, **PAGES, **{name: url})
    assert [problem.setting for problem in caught.value.problems] == [f"REGISTRATION_{name}"]


def test_a_path_of_the_application_is_where_a_page_may_lead(new_site: NewSite) -> None:
    site = new_site(flows=FLOWS, **PAGES, RESET_PASSWORD_SUCCESS_URL="/welcome?from=mail")
    member(site)
    form = Form(
        open_page(site, "reset-password", link_to(site, "reset-password")).get_data(as_text=True)
    )
    assert press(site, form).headers["Location"] == "/welcome?from=mail"


# Sign-up


def open_sign_up(site: Site, language: str = "en") -> Form:
    link = link_to(site, "finish-sign-up")
    reply = site.app.test_client().get(
        "/accounts/finish-sign-up/", query_string=link, headers={"Accept-Language": language}
    )
    return Form(reply.get_data(as_text=True))


def test_the_page_of_a_sign_up_logs_in(pages: Site) -> None:
    form, client = open_sign_up(pages), pages.app.test_client()
    assert form.others["username"]["autocomplete"] == "username"
    typed = {"username": "newcomer", **dict.fromkeys(form.passwords, OTHER_PASSWORD)}
    assert client.post(form.action, data={**form.fields, **typed}).status_code == 200
    assert client.get("/accounts/profile/").get_json()["username"] == "newcomer"


@each_row(
    ("typed", "words"),
    [
        ({"username": "alice"}, "This username is already in use."),
        ({"username": "a b"}, "Usernames may contain only"),
        ({"username": ""}, "This field may not be blank."),
        ({"username": "x" * 300}, "Longer than maximum length"),
        ({"password": "short", "password_confirm": "short"}, "Use at least 8 characters."),
        ({"password_confirm": "another"}, "The two passwords do not match."),
        ({"password": "a\0b" * 9, "password_confirm": "a\0b" * 9}, "unsupported characters"),
    ],
)
def test_a_field_of_a_sign_up_can_be_corrected(
    pages: Site, typed: dict[str, str], words: str
) -> None:
    form = open_sign_up(pages)
    reply = press(pages, form, None, **typed)
    again = Form(reply.get_data(as_text=True))
    assert (again.fields, again.passwords) == (form.fields, form.passwords)
    assert words in again.words
    assert again.others["username"].get("value", "") == typed.get("username", "newcomer")
    assert OTHER_PASSWORD not in reply.text
    assert not has_worked(pages, "finish-sign-up")
    press(pages, again)
    assert has_worked(pages, "finish-sign-up")


def test_what_was_typed_is_not_translated(pages: Site) -> None:
    headers = {"Accept-Language": "de"}
    reply = press(pages, open_sign_up(pages), headers, username="Log in")
    assert Form(reply.get_data(as_text=True)).others["username"]["value"] == "Log in"
    assert "Dieses Feld" in press(pages, open_sign_up(pages), headers, username="").text


def test_the_form_of_a_sign_up_has_the_required_fields_of_the_schema(new_site: NewSite) -> None:
    class Registered(Schema):
        username = fields.String(required=True)
        email = fields.Email(required=True)
        password = fields.String(required=True)
        born = fields.Date(required=True, metadata={"label": "Date of birth"})
        favorite_color = fields.String(required=True, data_key="color_name")
        is_adult = fields.Boolean(required=True)
        terms = fields.String(required=True, validate=validate.Equal("2026"))
        nickname = fields.String()

        @validates_schema
        def _check(self, data: Any, **_: Any) -> None:
            if data["favorite_color"] == "none":
                raise ValidationError("Choose a color.")

    site = new_site(flows=FLOWS, **PAGES, REGISTER_SCHEMA_CLASS=Registered)
    form = open_sign_up(site)
    types = {name: given["type"] for name, given in form.others.items()}
    expected = {"born": "date", "color_name": "text", "is_adult": "checkbox", "terms": "checkbox"}
    assert types == {"username": "text", **expected}
    assert form.passwords == ["password", "password_confirm"]
    assert "Date of birth Color name Is adult Terms" in form.words.replace("Confirm password", "")
    checked = {name: str(form.others[name]["value"]) for name in ("is_adult", "terms")}
    typed = {"username": "newcomer", "born": "2000-01-01", "color_name": "none", **checked}
    reply = press(site, form, None, **typed)
    assert "Choose a color." in reply.text
    again = Form(reply.get_data(as_text=True)).others
    assert again["born"]["value"] == "2000-01-01"
    assert [name for name, given in again.items() if "checked" in given] == ["is_adult", "terms"]
    press(site, form, None, **{**typed, "color_name": "red"})
    assert has_worked(site, "finish-sign-up")


def test_the_form_of_a_sign_up_asks_for_consent_to_the_terms(new_site: NewSite) -> None:
    site = new_site(
        flows=[*FLOWS, terms.flow],
        challenge_model=define_challenge,
        other_models=[define_consent],
        TERMS_VERSION="2026-11",
        **PAGES,
    )
    form = open_sign_up(site)
    assert "https://" not in form.words
    url = "https://example.com/terms/?a=1&b=2"
    site = new_site(
        flows=[*FLOWS, terms.flow],
        challenge_model=define_challenge,
        other_models=[define_consent],
        TERMS_VERSION="2026-11",
        TERMS_URL=url,
        **PAGES,
    )
    form = open_sign_up(site)
    assert url in form.words
    assert (form.others["terms"]["type"], form.others["terms"]["value"]) == ("checkbox", "2026-11")
    assert "I accept the terms of service." in form.words
    reply = press(site, form, None, terms="2025-01")
    assert "Please accept the current terms of service." in reply.text
    again = Form(reply.get_data(as_text=True)).others["terms"]
    assert (again["value"], "checked" in again) == ("2026-11", False)
    assert press(site, form, None, terms="2026-11").status_code == 200
    assert has_worked(site, "finish-sign-up")


@each_row("by_email", [False, True], ids=["a username", "the e-mail address only"])
def test_a_page_finishes_a_sign_up_without_a_password(new_site: NewSite, by_email: bool) -> None:
    model = {"define": define(EmailUserMixin), "USER_LOGIN_FIELDS": ["email"]}
    site = new_site(
        flows=[*FLOWS, mail_login.flow],
        challenge_model=define_challenge,
        SIGN_UP_PASSWORD_REQUIRED=False,
        **PAGES,
        **(model if by_email else {}),
    )
    form = open_sign_up(site)
    assert ([*form.others], form.passwords) == ([] if by_email else ["username"], [])
    assert press(site, form).status_code == 200
    assert [each.email for each in site.users()] == ["new@example.com"]


def test_a_sign_up_is_done_though_a_step_is_left(new_site: NewSite) -> None:
    site = new_site(flows=[*FLOWS, word_flow("word")], challenge_model=define_challenge, **PAGES)
    reply = press(site, open_sign_up(site))
    assert (reply.status_code, "Your account is ready." in reply.text) == (200, True)
    assert has_worked(site, "finish-sign-up")
    assert "Set-Cookie" not in reply.headers


# In a browser


@pytest.fixture
def browser_page() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    path = Path("/usr/bin/chromium")
    if not path.exists():
        pytest.skip("no Chromium here")
    arguments = (
        "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    )
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=str(path), args=arguments.split())
        yield browser.new_page()
        browser.close()


def test_a_real_browser_sends_the_form(
    new_site: NewSite, sqlite_url: str, browser_page: Any
) -> None:
    """What it says of where a form was sent from, the page's own headers decide as well."""
    site = new_site(sqlite_url, flows=FLOWS, **PAGES)
    member(site)
    server = make_server("127.0.0.1", 0, site.app, threaded=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        base = f"http://127.0.0.1:{server.server_port}"
        link = link_to(site, "reset-password")
        query = "&".join(f"{name}={value}" for name, value in link.items())
        browser_page.goto(f"{base}/accounts/reset-password/?{query}")
        for name in ("password", "password_confirm"):
            browser_page.fill(f"#{name}", OTHER_PASSWORD)
        browser_page.click("button")
        browser_page.wait_for_url(re.compile("confirm"))
        assert "Your password was changed." in browser_page.inner_text("body")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert has_password(site, OTHER_PASSWORD)


def test_a_sign_up_needs_no_script(new_site: NewSite, sqlite_url: str, browser_page: Any) -> None:
    site = new_site(sqlite_url, flows=FLOWS, **PAGES)
    server = make_server("127.0.0.1", 0, site.app, threaded=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        query = urlencode(link_to(site, "finish-sign-up"))
        url = f"http://127.0.0.1:{server.server_port}/accounts/finish-sign-up/?{query}"
        page = browser_page.context.browser.new_page(java_script_enabled=False)
        page.goto(url)
        page.get_by_label("Username").fill("a b")
        page.get_by_label("Password", exact=True).fill(OTHER_PASSWORD)
        page.get_by_label("Confirm password").fill(OTHER_PASSWORD)
        page.get_by_role("button").click()
        page.get_by_text("Usernames may contain only").wait_for()
        page.get_by_label("Username").fill("newcomer")
        page.get_by_label("Password", exact=True).fill(OTHER_PASSWORD)
        page.get_by_label("Confirm password").fill(OTHER_PASSWORD)
        page.get_by_role("button").click()
        page.get_by_text("Your account is ready.").wait_for()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert has_worked(site, "finish-sign-up")


@each_row("name", ["verify-registration", "reset-password", "verify-email", "undo-email-change"])
def test_the_page_of_a_flow_that_the_application_left_out_is_not_there(
    new_site: NewSite, name: str
) -> None:
    kept = {
        "verify-registration": "register",
        "reset-password": "reset_password",
        "verify-email": "register_email",
    }
    left_out = kept.get(name, "undo_email_change")
    site = new_site(flows=[flow for flow in FLOWS if flow.name != left_out], **PAGES)
    client = site.app.test_client()
    for reply in (
        client.get(f"/accounts/{name}/"),
        client.post(f"/accounts/{name}/confirm/", data={"user_id": "1"}),
    ):
        assert (reply.status_code, reply.get_json()["code"]) == (404, "not-found")


@each_page
def test_a_page_needs_no_inline_style_or_script(new_site: NewSite, endpoint: str) -> None:
    """A policy of the application, such as Flask-Talisman's default one, forbids them."""
    client = new_site(flows=FLOWS, **PAGES).app.test_client()
    page = client.get(f"/accounts/{endpoint}/?user_id=1&timestamp=1&signature=x")
    assert not re.search(r"<style|\sstyle=|<script|\son\w+=", page.text)
    stylesheet = client.get("/accounts/pages.css")
    assert (stylesheet.status_code, stylesheet.mimetype) == (200, "text/css")
    assert "main {" in stylesheet.text
    assert "max-age" in stylesheet.headers["Cache-Control"]
    assert "style-src 'self'" in page.headers["Content-Security-Policy"]
