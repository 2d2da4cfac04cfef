"""The commands that a page tells one to type exist, with the options that it gives them."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
from flask.cli import FlaskGroup
from flask_migrate.cli import db

from .pages import PAGES, ROOT, blocks, read
from .tables import each_row

#: What is not ours to check, but for the spelling.
OF_THE_SYSTEM = {
    "cd",
    "cp",
    "createdb",
    "createuser",
    "curl",
    "docker",
    "export",
    "install",
    "mkdir",
}
OF_THE_SYSTEM |= {"npm", "npx", "pass", "pip", "systemctl"}
OF_THE_SYSTEM |= {"brew", "fly", "git", "heroku", "mailpit", "mkvirtualenv"}


def typed(page: str) -> Iterator[list[str]]:
    """Each command of the page's shell blocks as words, also those in a pipe or a chain."""
    for block in blocks(read(page)):
        if block.info == "sh":
            for line in block.text.replace("\\\n", " ").splitlines():
                for command in split(line):
                    while command and re.match(r"[A-Z_]+=", command[0]):
                        command = command[1:]
                    if command:
                        yield command


def split(line: str) -> Iterator[list[str]]:
    words = shlex.shlex(line, posix=True, punctuation_chars="|&;")
    words.whitespace_split, words.commenters = True, "#"
    command: list[str] = []
    for word in words:
        if word in ("|", "||", "&&", "&", ";"):
            yield command
            command = []
        else:
            command.append(word)
    yield command


def check(command: list[str], folder: Path) -> None:
    program, *arguments = command
    name = Path(program).name
    if name == "sudo":
        check(arguments[2:] if arguments[0] == "-u" else arguments, folder)
    elif name in ("python", "python3"):
        assert arguments[0] != "-m" or find_spec(arguments[1].partition("=")[0]), (
            f"no module {arguments[1]}"
        )
    elif name == "flask":
        check_flask(arguments)
    elif "/bin/" in program:
        assert (Path(sys.executable).parent / name).is_file(), f"nothing installs {name}"
    elif "/" in program:
        assert (folder / program).is_file() or (ROOT / program).is_file(), f"no file {program}"
    else:
        assert name in OF_THE_SYSTEM, f"unknown: {name}"


def check_flask(arguments: list[str]) -> None:
    flask = FlaskGroup()
    flask.add_command(db)  # as an application with Flask-Migrate has it
    flask.add_command(click.Command("let-in", params=[click.Argument(["number"])]))  # an example's
    group: click.Command = flask
    while arguments:
        word, *arguments = arguments
        if word.startswith("-"):
            option = word.partition("=")[0]
            found = [each for each in group.params if option in (*each.opts, *each.secondary_opts)]
            assert found or word == "--help", f"{group.name} has no option {option}"
            if (
                found
                and isinstance(found[0], click.Option)
                and not found[0].is_flag
                and "=" not in word
            ):
                arguments = arguments[1:]
        elif isinstance(group, click.Group):
            command = group.get_command(click.Context(group), word)
            assert command, f"{group.name} has no command {word}"
            group = command


@each_row("page", [page for page in PAGES if any(typed(page))])
def test_the_commands_of_a_page_exist(page: str) -> None:
    for command in typed(page):
        check(command, (ROOT / page).parent)


@each_row(
    "line",
    [
        "flask registration chekc",
        "flask registration check --male",
        ".venv/bin/pytets",
        "python -m flask_registrations",
        "./nothing.sh",
        "fask run && flask run",
    ],
)
def test_a_command_with_a_slip_is_found(line: str) -> None:
    command, *_ = split(line)
    with pytest.raises(AssertionError):
        check(command, ROOT)
