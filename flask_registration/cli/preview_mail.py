"""``flask registration preview-mail``: every mail of this configuration as files, to look at."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import jinja2
from flask import Flask

from ..composed import RenderedMail
from ..kit import Kit
from ..loaders import adopt_loaders
from ..mail import NotificationType
from ..preview import Example, examples
from ..web import WebSettings
from .base import fail, load, printable, registration_cli

#: By this line we know a folder of ours, whose files may be replaced.
MARK = '<meta name="generator" content="flask registration preview-mail">'


#: What is in no file's name.
FILE = re.compile(r"[^\w-]")


class Shown(NamedTuple):
    """A mail as the index shows it; ``content`` is None where it says only why there is none."""

    name: str
    whom: str
    when: str
    to: str | None
    sender: str | None
    content: RenderedMail | None
    problem: str | None


@registration_cli.command("preview-mail")
@click.argument("folder", default="mail-preview", type=click.Path(file_okay=False, path_type=Path))
@click.option("--language", metavar="TAG", help="What the browser of the example asks for: Accept-Language.")
@click.pass_context
def preview_mail_command(context: click.Context, folder: Path, language: str | None) -> None:
    """Write every mail into HTML files, to look at.

    FOLDER, mail-preview unless given, gets an index.html, and the HTML and the text of each mail that leaves with this
    configuration: made with example data, by the application's own templates and hooks. The database is not asked, no
    mail is sent, and no link in them is good. Exits with 1 where a mail could not be made; the others are there then.
    """
    app, kit = load(context)
    headers = {"Accept-Language": language} if language else {}
    with app.test_request_context(f"{kit.group(WebSettings).url_prefix}/", headers=headers):
        adopt_loaders()  # a template may ask who is logged in
        found = [_shown(each) for each in examples(kit)]
    if language and not kit.languages.match(language):
        offered = ", ".join(kit.languages.tags)
        told = f"No language that is offered is {language!r}, so our own texts are in {kit.languages.default.tag}"
        click.secho(f"{told}; there are {offered}.", err=True, fg="yellow")
    names = {each.name for each in found}
    others = [kind.value for kind in NotificationType if kind.value not in names]
    try:
        _clear(folder)
        for each in found:
            _write(folder, each)
        (folder / "index.html").write_text(_index(app, kit, found, others), "utf-8")
    except OSError as error:
        fail(f"{folder} cannot be written: {error.strerror or error}.")
    failed = [each for each in found if each.problem and each.to is None]
    for each in found:
        click.echo(f"  {each.name:<18} {printable(each.content.subject if each.content else each.problem or '')}")
    count = sum(each.content is not None for each in found)
    click.echo(f"{count} {'mail' if count == 1 else 'mails'} in {folder / 'index.html'}")
    if failed:
        fail(f"{', '.join(each.name for each in failed)} could not be made.")


def _shown(example: Example) -> Shown:
    mail, about = example.mail, (FILE.sub("_", example.name), example.whom, example.when.replace("`", ""))
    if mail is None:
        return Shown(*about, None, None, None, f"{type(example.error).__name__}: {example.error}")
    if mail.deliver:
        return Shown(*about, mail.to, None, None, "The application sends this one by its own sender.")
    subject = " ".join(str(mail.content.subject).split())
    return Shown(*about, mail.to, mail.sender, mail.content._replace(subject=subject), None)


def _clear(folder: Path) -> None:
    """Make the folder, or room in one that we made."""
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "index.html"
    page = index.read_text("utf-8", "replace") if index.is_file() else ""
    if any(folder.iterdir()) and MARK not in page:
        fail(f"{folder} has files of yours: name a new folder, or an empty one.")
    for name in re.findall(r'<a href="([\w-]+\.(?:html|txt))">', page):
        (folder / name).unlink(missing_ok=True)


def _write(folder: Path, mail: Shown) -> None:
    """The parts of a mail; with a mark by which a browser knows their encoding."""
    if mail.content:
        (folder / f"{mail.name}.txt").write_text(str(mail.content.text_body), "utf-8-sig")
        if mail.content.html_body:
            (folder / f"{mail.name}.html").write_text(str(mail.content.html_body), "utf-8-sig")


def _index(app: Flask, kit: Kit, mails: Sequence[Shown], others: Sequence[str]) -> str:
    environment = jinja2.Environment(loader=jinja2.PackageLoader("flask_registration"), autoescape=True)
    about: dict[str, Any] = {"mark": MARK, "site_name": kit.composer.site_name, "app": app.name}
    return environment.get_template("registration/page/mails.html").render(**about, mails=mails, others=others)
