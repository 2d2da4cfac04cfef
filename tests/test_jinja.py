"""The templates in any Jinja configuration of the application."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import pytest
from flask import Flask
from flask.templating import Environment
from jinja2.sandbox import SandboxedEnvironment

from flask_registration import DEFAULT_FLOWS
from flask_registration.flows import verification_redirects

from .site import Site, parameters, text_of
from .tables import each_row

NewSite = Callable[..., Site]

BRACKETS = {
    "block_start_string": "[%",
    "block_end_string": "%]",
    "variable_start_string": "[[",
    "variable_end_string": "]]",
}


class Sandbox(SandboxedEnvironment, Environment):
    """Flask's environment, in a sandbox."""


class OtherLoader(Flask):
    """An application whose templates come from one place only."""

    def create_jinja_environment(self) -> Environment:
        environment = super().create_jinja_environment()
        environment.loader = jinja2.DictLoader({"index.html": "Hello"})
        return environment


def options(**values: Any) -> Callable[[Flask], None]:
    def change(app: Flask) -> None:
        app.jinja_options = values

    return change


def escape(always: bool) -> Callable[[Flask], None]:
    def change(app: Flask) -> None:
        app.select_jinja_autoescape = lambda filename: always  # type: ignore[method-assign]

    return change


def in_sandbox(app: Flask) -> None:
    app.jinja_environment = Sandbox


def other_loader(app: Flask) -> None:
    app.__class__ = OtherLoader


def rendered(site: Site) -> list[str]:
    """Return an e-mail and a page without what differs for each link."""
    site.register("alice")
    (message,) = site.outbox
    client = site.app.test_client()
    pages = [
        client.get(f"/accounts/{page}/?user_id=1&email=%3Cb%3E")
        for page in ("verify-registration", "verify-email", "reset-password", "undo-email-change")
    ]
    assert [page.status_code for page in pages] == [200] * 4
    texts = [message.subject, message.body, message.html, *(page.text for page in pages)]
    return [re.sub(r"signature=[\w.-]+|timestamp=\d+", "", str(text)) for text in texts]


@pytest.fixture
def usual(new_site: NewSite) -> list[str]:
    return rendered(new_site(flows=[*DEFAULT_FLOWS, verification_redirects.flow]))


@each_row(
    "change",
    [
        pytest.param(options(**BRACKETS), id="other delimiters"),
        pytest.param(escape(True), id="escaping everywhere"),
        pytest.param(escape(False), id="escaping nowhere"),
        pytest.param(options(autoescape=True), id="escaping by option"),
        pytest.param(options(trim_blocks=True, lstrip_blocks=True), id="trimmed blocks"),
        pytest.param(options(line_statement_prefix="<", line_comment_prefix="{{"), id="lines"),
        pytest.param(options(newline_sequence="\r\n", keep_trailing_newline=True), id="line ends"),
        pytest.param(options(undefined=jinja2.StrictUndefined), id="no undefined variables"),
        pytest.param(options(extensions=["jinja2.ext.i18n", "jinja2.ext.do"]), id="extensions"),
        pytest.param(options(enable_async=True), id="asynchronous"),
        pytest.param(options(finalize=lambda value: value or "-"), id="finalized values"),
        pytest.param(in_sandbox, id="a sandbox"),
        pytest.param(other_loader, id="a loader without our folder"),
    ],
    anew=True,
)
def test_templates_of_the_extension_render_as_usual_with(
    new_site: NewSite, usual: list[str], change: Callable[[Flask], None]
) -> None:
    site = new_site(before=change, flows=[*DEFAULT_FLOWS, verification_redirects.flow])
    assert rendered(site) == usual
    assert site.verify().status_code == 200


def test_templates_of_the_application_are_read_with_its_own_delimiters(
    new_site: NewSite, tmp_path: Path
) -> None:
    """They extend ours, and ours extend them."""
    templates = {
        "mail.html": "<h1>{{ in Vue }}</h1>[% block content %][% endblock %]",
        "register/body.html": '[% extends "registration/mail.html" %]'
        '[% from "registration/button.html" import button %]'
        "[% block content %][[ button(verification_url, '<go>') ]][% endblock %]",
        "register/body.txt": "Open [[ verification_url ]]",
    }
    for name, source in templates.items():
        path = tmp_path / "registration" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    site = new_site(before=options(**BRACKETS), template_folder=str(tmp_path))
    site.register("alice")
    assert str(site.outbox[0].html).startswith("<h1>{{ in Vue }}</h1>")
    assert "&lt;go&gt;" in str(site.outbox[0].html)
    assert parameters(text_of(site.read()).split()[1]) == site.link()
    site.verify()
    site.post("send-reset-password-link", {"login": "alice"})
    assert str(site.outbox[1].html).startswith("<h1>{{ in Vue }}</h1>")
    assert "Choose a new password" in str(site.outbox[1].html)


def test_the_text_of_an_e_mail_is_never_escaped(new_site: NewSite, tmp_path: Path) -> None:
    folder = tmp_path / "registration" / "register"
    folder.mkdir(parents=True)
    (folder / "body.txt").write_text("Open {{ verification_url }}")
    site = new_site(before=escape(True), template_folder=str(tmp_path))
    site.register("alice")
    assert site.verify().status_code == 200
    assert "&amp;" not in text_of(site.read())
