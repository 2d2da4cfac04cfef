"""``flask registration preview-mail``: render every e-mail about a user who does not exist."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import click
from flask import Flask
from flask_mail import Message
from sqlalchemy import Column, String, Uuid

from ..auth.codes import code_variables, make_code
from ..auth.links import Links, LinkSettings
from ..http.responses import HTTPSettings
from ..mail.message import Email
from ..mail.rendering import OWN
from ..state import NO_CODE, RegistrationState
from ..users.fields import UserFields
from ..users.identifiers import parse_identifier
from ..users.mixins import utc_now
from ..users.store import User
from .base import counted, fail, load, printable, registration_cli

#: Marks a folder that this command made, whose files it may replace.
MARK = '<meta name="generator" content="flask registration preview-mail">'


@registration_cli.command("preview-mail")
@click.argument("folder", default="mail-preview", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--language", metavar="TAG", help="The Accept-Language header of the example request."
)
@click.pass_context
def preview_mail_command(context: click.Context, folder: Path, language: str | None) -> None:
    """Write every e-mail to HTML files for a preview.

    FOLDER is mail-preview by default. It receives an index.html, and the HTML and the text of each
    e-mail that this configuration sends. The e-mails contain example data, and the application's
    templates and hooks render them. The command does not use the database and sends no e-mail. The
    links are not valid. Exit status 1: an e-mail could not be rendered; the others are written.
    """
    app, state = load(context)
    headers = {"Accept-Language": language} if language else {}
    with app.test_request_context(f"{state.group(HTTPSettings).url_prefix}/", headers=headers):
        state.sessions.wrap_loaders(app)  # a template may ask who is logged in
        found = list(examples(state))
    if language and not state.languages.match(language):
        offered = ", ".join(state.languages.tags)
        text = f"No language matches {language!r}, so the default is used. Available: {offered}."
        click.secho(text, err=True, fg="yellow")
    shown = {each.email.name for each in found}
    declared = (each for flow in state.setup.known_flows for each in flow.emails)
    known = dict.fromkeys([*state.emails, *(each.name for each in declared)])
    others = [name for name in known if name not in shown]
    try:
        _clear(folder)
        for each in found:
            _write(folder, each)
        (folder / "index.html").write_text(_index(app, state, found, others), "utf-8")
    except OSError as error:
        fail(f"{folder} is not writable: {error.strerror or error}.")
    for each in found:
        subject = str(each.message.subject) if each.message else _problem(each)
        click.echo(f"  {each.email.name:<18} {printable(subject)}")
    count = sum(each.message is not None for each in found)
    click.echo(f"{counted(count, 'e-mail')} in {folder / 'index.html'}")
    failed = [each.email.name for each in found if each.error]
    if failed:
        fail(f"Not rendered: {', '.join(failed)}.")


def _problem(example: Example) -> str:
    error = example.error
    if error:
        return f"{type(error).__name__}: {error}"
    return "The application sends this e-mail itself."


def _clear(folder: Path) -> None:
    """Create the folder, or delete the files of an earlier preview in it."""
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "index.html"
    page = index.read_text("utf-8", "replace") if index.is_file() else ""
    if any(folder.iterdir()) and MARK not in page:
        fail(f"{folder} contains other files. Choose a new or an empty folder.")
    for name in re.findall(r'<a href="([\w-]+\.(?:html|txt))">', page):
        (folder / name).unlink(missing_ok=True)


def _write(folder: Path, example: Example) -> None:
    """Write the parts of an e-mail, with a mark by which a browser knows their encoding."""
    message, name = example.message, _file_name(example)
    if message:
        (folder / f"{name}.txt").write_text(str(message.body), "utf-8-sig")
        if message.html:
            (folder / f"{name}.html").write_text(str(message.html), "utf-8-sig")


def _file_name(example: Example) -> str:
    return re.sub(r"[^\w-]", "_", example.email.name)


def _index(
    app: Flask, state: RegistrationState, found: Sequence[Example], others: Sequence[str]
) -> str:
    mails = [
        {
            "name": _file_name(each),
            "whom": each.email.to,
            "when": each.email.when.replace("`", ""),
            "to": each.address,
            "sender": each.message and each.message.sender,
            "content": each.message,
            "problem": None if each.message else _problem(each),
        }
        for each in found
    ]
    about: dict[str, Any] = {"mark": MARK, "site_name": state.composer.site_name, "app": app.name}
    template = OWN.get_template("registration/page/mails.html")
    return template.render(**about, mails=mails, others=others)


ADDRESS = "alice@example.com"
NAMES = {"username": "alice", "first_name": "Alice", "last_name": "Liddell"}


class Example(NamedTuple):
    """An e-mail that this configuration sends.

    :ivar address: its recipient in the example.
    :ivar message: None if a function of the application sends it, or if it could not be rendered.
    """

    email: Email
    address: str
    message: Message | None
    error: Exception | None


def examples(state: RegistrationState) -> Iterator[Example]:
    """Yield every e-mail of this configuration, with the application's own templates and hooks."""
    key = secrets.token_bytes()  # a key of its own: no link is valid
    build_url = state.group(LinkSettings).verification_url_builder
    state = replace(state, links=Links(lambda: [key], state.users, build_url))
    for email in state.emails.values():
        if email.enabled(state):
            yield _render(state, email)


def _render(state: RegistrationState, email: Email) -> Example:
    data = dict(email.example)
    address = data.pop("to", ADDRESS)
    try:
        user = example_user(state)
        mail = state.mail(email, user, to=address, **data)
        if mail.by_application:
            return Example(email, address, None, None)
        variables = {**email.variables(state, user, **data), **_example_code(state, email)}
        return Example(email, address, state.composer.compose(mail, user, variables), None)
    except Exception as error:  # of the application's templates and hooks
        return Example(email, address, None, error)


def _example_code(state: RegistrationState, email: Email) -> Mapping[str, Any]:
    if not email.has_code:
        return {}
    if not state.sends_codes:
        return NO_CODE
    codes = state.challenges.codes
    return code_variables(make_code(codes.code_format), codes)


def example_user(state: RegistrationState) -> User:
    """Return a user that is not stored."""
    fields = state.fields
    internal = {fields.username_key, fields.password, fields.verified, fields.stamp}
    values = {
        name: _example_value(fields, name, column)
        for name, column in fields.columns.items()
        if name not in internal
        and (name in fields.listed or name == fields.active or column.default is None)
        and not (column.foreign_keys or column.computed)
    }
    given = {name: value for name, value in values.items() if value is not None}
    built = state.users.build(given, judged=())
    user = state.users.create(built, password_hash="!", verified=True)  # noqa: S106 -- no hash
    for name in {fields.pk, fields.verification_id}:
        if getattr(user, name) is None:
            setattr(user, name, _example_value(fields, name, fields.columns[name]))
    return user


def _example_value(fields: UserFields, name: str, column: Column[Any]) -> Any:
    """Return an example for a column; None if its type has none."""
    if name in (fields.email, fields.active):
        return ADDRESS if name == fields.email else True
    kind = column.type
    if isinstance(kind, String):
        text = NAMES.get(name, NAMES["username"] if name in fields.login else "Example")
        return getattr(kind, "enums", [text])[0][: kind.length]
    if isinstance(kind, Uuid):
        return parse_identifier("0" * 32, column)
    now = utc_now()
    examples: dict[type[Any], Any] = {
        bool: False,
        int: 1,
        float: 1.0,
        Decimal: Decimal(1),
        datetime: now,
        date: now.date(),
        time: now.time(),
        timedelta: timedelta(days=1),
    }
    try:
        return examples.get(kind.python_type)
    except NotImplementedError:  # a type of the application, for example
        return None
