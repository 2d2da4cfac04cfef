"""The pages: what is in them, and a way to run it.

The Python blocks of a page are run in their order, in one module; ``<!-- not run -->`` before a
block leaves it out. Blocks with a ``:caption:`` are files, which are there from the start.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from weakref import ref

import pytest
from blinker import NamedSignal
from flask import Flask, appcontext_pushed
from flask.testing import FlaskClient
from flask_mail import Message
from werkzeug.test import TestResponse

from flask_registration import signals
from flask_registration.testing.uniform import compare

from .site import PASSWORD

ROOT = Path(__file__).parent.parent
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md")),
    *sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("examples/*/README.md")),
]
BLOCK = re.compile(
    r"^(?P<fence>`{3,})(?P<info>[^\n]*)\n(?P<text>.*?)^(?P=fence)$", re.MULTILINE | re.DOTALL
)


def read(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


class Block(NamedTuple):
    """A fenced block; ``caption`` names the file that it is."""

    info: str
    caption: str | None
    text: str
    line: int
    runs: bool


def blocks(text: str) -> list[Block]:
    found = []
    for match in BLOCK.finditer(text):
        body = match["text"]
        caption = re.match(r":caption: `?([^\s`]+)`?\n\n?", body)
        runs = match["info"] == "python" and not text[: match.start()].rstrip().endswith(
            "<!-- not run -->"
        )
        line = text.count("\n", 0, match.start("text"))
        found.append(
            Block(
                match["info"],
                caption and caption[1],
                body[caption.end() if caption else 0 :],
                line,
                runs,
            )
        )
    return found


def named_tests(text: str) -> list[str]:
    """The tests that a text names, each of which must exist."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    assert text.count("`tests/") == len(named), text
    for path, name in named:
        assert re.search(rf"^def {name}\(", read(path), re.MULTILINE), (path, name)
    return [f"{path}::{name}" for path, name in named]


RunPage = Callable[[str], Any]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunPage]:
    """Run the Python blocks of a page, in a folder with the files of the page; returns their
    module."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    apps: list[Flask] = []

    def run_page(page: str) -> ModuleType:
        module = ModuleType("app_of_" + re.sub(r"\W", "_", page))
        module.__file__ = str(tmp_path / "app.py")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        found = blocks(read(page))
        for block in found:
            if block.caption:
                path = tmp_path / block.caption
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text, "utf-8")
        importlib.invalidate_caches()
        for block in found:
            if block.runs:
                code = compile(
                    "\n" * block.line + block.text, str(ROOT / page), "exec", dont_inherit=True
                )
                exec(code, module.__dict__)
        return module

    def remember(app: Flask, **_: Any) -> None:
        apps.append(app)

    sent = [each for each in vars(signals).values() if isinstance(each, NamedSignal)]
    connected = {signal: {*signal.receivers} for signal in sent}
    with appcontext_pushed.connected_to(remember):
        yield run_page
    for signal, before in connected.items():
        for key, found in list(signal.receivers.items()):
            receiver: Any = found() if isinstance(found, ref) else found
            if key not in before:
                signal.disconnect(receiver)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]
    for app in {app for app in apps if "sqlalchemy" in app.extensions}:
        with app.app_context():
            app.extensions["sqlalchemy"].session.remove()
            for engine in app.extensions["sqlalchemy"].engines.values():
                engine.dispose()


def register(
    app: Flask, *, headers: dict[str, str] | None = None, **fields: Any
) -> tuple[TestResponse, list[Message]]:
    """Register at an application; returns the reply and the mails."""
    app.testing = app.extensions["mail"].suppress = True
    body = {
        "username": "alice",
        "email": "alice@example.com",
        "password": PASSWORD,
        "password_confirm": PASSWORD,
    }
    with app.app_context(), app.extensions["mail"].record_messages() as outbox:
        reply = app.test_client().post(
            "/accounts/register/", json={**body, **fields}, headers=headers
        )
    return reply, outbox


def taken_answers_like_free(app: Flask, **fields: Any) -> None:
    """A registration with alice's address, who has an account, must be answered like one with an
    address of nobody."""

    def asking(name: str) -> TestResponse:
        return register(
            app, **{"username": f"another-{name}", "email": f"{name}@example.com", **fields}
        )[0]

    compare(app, {name: partial(asking, name) for name in ("nobody", "alice")}, statements=False)


def member(page: Any, app: Flask, username: str = "alice", **fields: Any) -> FlaskClient:
    """A client in which somebody with a verified account has just logged in."""
    app.testing = True
    with app.app_context():
        fields = {
            "username": username,
            "email": f"{username}@example.com",
            "password": PASSWORD,
            **fields,
        }
        page.registration.create_user(**fields)
        page.db.session.commit()
    client = app.test_client()
    log_in(client, username)
    return client


def log_in(client: FlaskClient, username: str, password: str = PASSWORD) -> dict[str, Any]:
    """What the reply to a login carries."""
    reply = client.post("/accounts/login/", json={"login": username, "password": password})
    assert reply.status_code == 200, reply.get_json()
    carried: dict[str, Any] = reply.get_json()
    return carried


def url_in(mail: Message) -> str:
    """The link in a mail's text."""
    (url,) = re.findall(r"https://(?:app\.)?example\.com/\S+", mail.body or "")
    assert isinstance(url, str)
    return url


def docs_module(name: str) -> Any:
    """Return a module of the documentation, which makes one of its pages."""
    spec = spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
