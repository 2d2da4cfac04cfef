"""The pages about hosts and mail providers: their files and settings do what they say."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from flask import Flask
from flask_mail import Mail

from .pages import RunPage, blocks, read, register, url_in
from .site import PASSWORD, parameters
from .tables import each_row


def files(page: str) -> dict[str, str]:
    """Return the files of a page by their names."""
    return {block.caption: block.text for block in blocks(read(page)) if block.caption}


def environment(text: str) -> dict[str, str]:
    """Return the variables of a file of settings."""
    return dict(line.split("=", 1) for line in text.splitlines() if line)


@each_row(
    ("provider", "port", "tls"),
    [
        ("SES", 587, True),
        ("POSTMARK", 587, True),
        ("MAILGUN", 587, True),
        ("SENDGRID", 587, True),
        ("BREVO", 587, True),
        ("GMAIL", 587, True),
        ("MAILPIT", 1025, False),
    ],
)
def test_flask_mail_takes_the_settings_of_a_provider(
    provider: str, port: int, tls: bool, run: RunPage
) -> None:
    settings = getattr(run("docs/mail-providers.md"), provider)
    app = Flask(__name__)
    app.config.update(settings)
    mail: Any = Mail(app).state
    assert mail.server == settings["MAIL_SERVER"]
    assert mail.default_sender == settings["MAIL_DEFAULT_SENDER"]
    assert (mail.port, mail.use_tls, mail.use_ssl) == (port, tls, False)
    assert bool(mail.username) == tls


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch, run: RunPage) -> Path:
    """The folder of the application on the page about Docker, with its environment."""
    run("docs/deploy-docker.md")
    found = files("docs/deploy-docker.md")
    web = yaml.safe_load(found["compose.yaml"])["services"]["web"]
    for name, value in {**environment(found[".env"]), **web["environment"]}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DATABASE_URL", "sqlite://")
    monkeypatch.setenv("REDIS_URL", "memory://")
    return Path.cwd()


def test_the_application_in_a_container_registers_and_logs_in(container: Path) -> None:
    module = import_module("app")
    app = module.create_app()
    with app.app_context():
        module.db.create_all()
    reply, outbox = register(app)
    assert (reply.status_code, len(outbox)) == (201, 1)
    url = url_in(outbox[0])
    assert url.startswith("https://example.com/verify-registration/?")
    client = app.test_client()
    client.post("/accounts/verify-registration/", json=parameters(url))
    proxied = {"base_url": "https://example.com", "headers": {"X-Forwarded-For": "198.51.100.7"}}
    body = {"login": "alice", "password": PASSWORD}
    reply = client.post("/accounts/login/", json=body, **proxied)
    assert reply.status_code == 200
    assert "; Secure;" in reply.headers["Set-Cookie"]
    (row,) = client.get("/accounts/logins/", **proxied).get_json()
    assert row["ip_address"] == "198.51.100.7"


@each_row("url", ["postgres://app:x@db/app", "postgresql://app:x@db/app"])
def test_the_database_of_a_platform_is_read(
    url: str, container: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    app = import_module("app").create_app()
    assert app.config["SQLALCHEMY_DATABASE_URI"] == "postgresql+psycopg://app:x@db/app"


def test_gunicorn_loads_what_the_container_runs(container: Path) -> None:
    dockerfile = files("docs/deploy-docker.md")["Dockerfile"]
    assert "'app:create_app()'" in dockerfile.splitlines()[-1]
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "--check-config", "app:create_app()"],
        cwd=container,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_files_of_the_platforms_start_that_application() -> None:
    found = files("docs/deploy-platforms.md")
    (web, _) = yaml.safe_load(found["render.yaml"])["services"]
    variables = {each["key"] for each in web["envVars"]}
    assert {"DATABASE_URL", "REDIS_URL", "FLASK_SECRET_KEY"} <= variables
    fly = tomllib.loads(found["fly.toml"])
    assert fly["deploy"]["release_command"] == web["preDeployCommand"] == "flask db upgrade"
    assert fly["http_service"]["internal_port"] == int(fly["env"]["PORT"])
    processes = environment(found["Procfile"].replace(": ", "="))
    assert processes["web"].endswith("'app:create_app()'")
