"""Answers that must look alike, so that nobody learns from them who has an account."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from flask import Flask, Response, request, request_finished
from sqlalchemy import event
from werkzeug.test import TestResponse

KIND = re.compile(r"\s*(INSERT INTO|UPDATE|DELETE FROM|SELECT\b.*?\bFROM|\w+)\s*([\w.\"`]*)", re.IGNORECASE | re.DOTALL)


def compare(app: Flask, requests: Mapping[str, Callable[[], TestResponse]], *, statements: bool) -> None:
    """Ask, and hold the answers against the first one.

    :raises AssertionError: with what differs.
    """
    __tracebackhide__ = True
    if len(requests) < 2:
        raise TypeError("Give two requests at the least, each by a name: nobody=lambda: ..., member=lambda: ...")
    answers = {name: _ask(app, name, make, statements=statements) for name, make in requests.items()}
    (first, expected), *others = answers.items()
    for name, answer in others:
        if answer != expected:
            lines = difflib.unified_diff(expected, answer, first, name, n=max(len(answer), len(expected)), lineterm="")
            text = "\n".join(line for line in lines if not line.startswith("@@"))
            raise AssertionError(f"The answer tells {name!r} from {first!r}:\n{text}")


def _ask(app: Flask, name: str, make: Callable[[], TestResponse], *, statements: bool) -> list[str]:
    """An answer as lines of text."""
    with _bodies(app) as typed, executed(app) as executed_statements:
        reply = make()
    if not isinstance(reply, TestResponse):
        raise TypeError(f"{name!r} must return the answer, not {type(reply).__name__}.")
    body, is_masked = _body(reply, typed)
    headers = [_header(*header) for header in reply.headers if not (is_masked and header[0] == "Content-Length")]
    kinds = ["", *map(_kind, executed_statements)] if statements else []
    return [reply.status, *headers, "", *body, *kinds]


def _body(reply: TestResponse, typed: Mapping[str, str]) -> tuple[list[str], bool]:
    """The lines of a body, in which what the client itself has sent is called by its field's name; whether it is."""
    is_masked = False

    def masked(value: Any) -> Any:
        nonlocal is_masked
        if isinstance(value, dict):
            return {key: masked(item) for key, item in value.items()}
        if isinstance(value, list):
            return [masked(item) for item in value]
        if isinstance(value, str) and value.casefold() in typed:
            is_masked = True
            return f"<{typed[value.casefold()]} as it was sent>"
        return value

    if not reply.is_json:
        return reply.get_data().decode("utf-8", "backslashreplace").split("\n"), False
    shown = masked(reply.get_json())
    return json.dumps(shown, indent=2, ensure_ascii=False).splitlines(), is_masked


def _header(name: str, value: str) -> str:
    """A header; a cookie's value is random and its time passes, so only the rest of it counts."""
    if name == "Set-Cookie":
        cookie, *attributes = value.split("; ")
        kept = [each for each in attributes if not each.startswith("Expires=")]
        value = "; ".join([f"{cookie.partition('=')[0]}=…", *kept])
    return f"{name}: {value}"


def _kind(statement: str) -> str:
    """What a statement does to which table."""
    match = KIND.match(statement)
    if not match:
        return statement
    return f"{match[1].split()[0].upper()} {match[2]}".strip()


@contextmanager
def _bodies(app: Flask) -> Iterator[dict[str, str]]:
    """The texts that requests send as JSON within the block, each with its field."""
    typed: dict[str, str] = {}

    def keep(sender: Flask, response: Response, **_: Any) -> None:
        body = request.get_json(silent=True)
        if isinstance(body, dict):
            typed.update({value.casefold(): name for name, value in body.items() if isinstance(value, str) and value})

    with request_finished.connected_to(keep, app):
        yield typed


@contextmanager
def executed(app: Flask) -> Iterator[list[str]]:
    """The SQL statements that are executed within the block, on any of the application's databases."""
    found: list[str] = []

    def keep(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        found.append(statement)

    with app.app_context():
        engines = list(app.extensions["sqlalchemy"].engines.values())
    with ExitStack() as stack:
        for engine in engines:
            event.listen(engine, "before_cursor_execute", keep)
            stack.callback(event.remove, engine, "before_cursor_execute", keep)
        yield found
