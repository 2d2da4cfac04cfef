"""Compare responses that must not reveal who has an account."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from flask import Flask
from sqlalchemy import event
from werkzeug.test import TestResponse

from ..mail.message import Mail
from ..state import current_registration

KIND = re.compile(
    r"\s*(INSERT INTO|UPDATE|DELETE FROM|SELECT\b.*?\bFROM|\w+)\s*([\w.\"`]*)",
    re.IGNORECASE | re.DOTALL,
)


def compare(
    app: Flask, requests: Mapping[str, Callable[[], TestResponse]], *, statements: bool
) -> None:
    """Make the requests, and compare the responses with the first one.

    :raises AssertionError: with the differences.
    """
    __tracebackhide__ = True
    if len(requests) < 2:
        raise TypeError("Pass at least two requests: unknown=lambda: ..., member=lambda: ...")
    with app.app_context():  # which the first refused login of a process does
        current_registration.passwords.find_kinds(current_registration.users.other_hash)
        current_registration.users.close()
    responses = {
        name: _request(app, name, make, statements=statements) for name, make in requests.items()
    }
    (first, expected), *others = responses.items()
    for name, lines in others:
        if lines != expected:
            length = max(len(lines), len(expected))
            diff = difflib.unified_diff(expected, lines, first, name, n=length, lineterm="")
            text = "\n".join(line for line in diff if not line.startswith("@@"))
            raise AssertionError(f"The response to {name!r} differs from {first!r}:\n{text}")


def _request(
    app: Flask, name: str, make: Callable[[], TestResponse], *, statements: bool
) -> list[str]:
    """Make a request, and return the response as lines of text."""
    with mail_after(app), executed(app) as executed_statements:
        response = make()
    if not isinstance(response, TestResponse):
        raise TypeError(f"{name!r} must return the response, not {type(response).__name__}.")
    headers = [_header(*header) for header in response.headers]
    if response.is_json:
        shown = response.get_json()
        masked = _masked(shown, _sent(response))
        if masked != shown:
            headers.remove(f"Content-Length: {response.content_length}")
        body = json.dumps(masked, indent=2, ensure_ascii=False).splitlines()
    else:
        body = response.get_data().decode("utf-8", "backslashreplace").split("\n")
    kinds = ["", *map(_kind, executed_statements)] if statements else []
    return [response.status, *headers, "", *body, *kinds]


def _sent(response: TestResponse) -> dict[str, str]:
    """Return the strings that the request of a response has sent as JSON, with their fields."""
    response.request.environ["wsgi.input"].seek(0)
    body = response.request.get_json(silent=True)
    sent = body.items() if isinstance(body, dict) else ()
    return {value.casefold(): name for name, value in sent if value and isinstance(value, str)}


def _masked(value: Any, sent: Mapping[str, str]) -> Any:
    """Return a value with the names of fields in place of the values that were sent.

    A challenge is random.
    """
    if isinstance(value, dict):
        return {
            key: "…" if key == "challenge" and isinstance(item, str) else _masked(item, sent)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_masked(item, sent) for item in value]
    if isinstance(value, str) and value.casefold() in sent:
        return f"<{sent[value.casefold()]} as it was sent>"
    return value


def _header(name: str, value: str) -> str:
    """Return a header, without the random value and the expiry time of a cookie."""
    if name == "Set-Cookie":
        cookie, *attributes = value.split("; ")
        kept = [each for each in attributes if not each.startswith("Expires=")]
        value = "; ".join([f"{cookie.partition('=')[0]}=…", *kept])
    return f"{name}: {value}"


def _kind(statement: str) -> str:
    """Return the command and the table of a statement."""
    match = KIND.match(statement)
    if not match:
        return statement
    return f"{match[1].split()[0].upper()} {match[2]}".strip()


@contextmanager
def mail_after(app: Flask) -> Iterator[None]:
    """Send the e-mails of the block after it, as a thread does after the response."""
    dispatcher = app.extensions["registration"].dispatcher
    mails: list[Mail] = []
    send, dispatcher.after_commit = dispatcher.after_commit, mails.append
    try:
        yield
    finally:
        del dispatcher.after_commit
        with app.test_request_context():
            for mail in mails:
                send(mail)


@contextmanager
def executed(app: Flask) -> Iterator[list[str]]:
    """Record the SQL statements in the block, on all databases of the application."""
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
