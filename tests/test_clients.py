"""The clients in Python on the pages do what the commands of curl beside them do."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from .pages import RunPage, blocks, read

PASSWORD = "correct horse battery"


class Session:
    """A session of the package requests, on a test client."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client
        self.statuses: list[int] = []

    def _send(self, method: str, url: str, **options: Any) -> Any:
        response: TestResponse = self.client.open(url, method=method, **options)
        self.statuses.append(response.status_code)
        found: Any = ModuleType("response")
        found.json = response.get_json
        return found

    def get(self, url: str, **options: Any) -> Any:
        return self._send("GET", url, **options)

    def post(self, url: str, **options: Any) -> Any:
        return self._send("POST", url, **options)


def run_clients(page: str, session: Session, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the blocks of a page that use the package requests; return their names."""
    requests: Any = ModuleType("requests")
    requests.get, requests.post = session.get, session.post
    requests.Session = lambda: session
    monkeypatch.setitem(sys.modules, "requests", requests)
    names: dict[str, Any] = {}
    for block in blocks(read(page)):
        if "import requests" in block.text:
            exec(compile("\n" * block.line + block.text, page, "exec"), names)
    return names


def test_the_client_of_the_quick_start(run: RunPage, monkeypatch: pytest.MonkeyPatch) -> None:
    page = run("docs/quickstart.md")
    app = page.create_app()
    app.extensions["mail"].suppress = True
    with app.app_context():
        page.registration.create_user(
            username="alice", email="alice@example.org", password=PASSWORD
        )
        page.db.session.commit()
    session = Session(app.test_client())
    names = run_clients("docs/quickstart.md", session, monkeypatch)
    assert session.statuses == [200, 200, 200]
    assert names["profile"]["username"] == "alice"


def test_the_client_of_the_page_about_mobile_apps(
    run: RunPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = run("docs/mobile.md")
    app = page.create_app()
    with app.app_context():
        page.db.create_all()
        page.registration.create_user(
            username="alice", email="alice@example.org", password=PASSWORD
        )
        page.db.session.commit()
    session = Session(app.test_client(use_cookies=False))
    names = run_clients("docs/mobile.md", session, monkeypatch)
    assert session.statuses == [200, 200]
    assert names["profile"].json()["username"] == "alice"
