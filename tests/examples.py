"""The applications in ``examples/``, loaded by their files, and the commands in their READMEs."""

from __future__ import annotations

import json
import re
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from .site import CHEAP_HASHER

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"

#: What a test changes of an example's settings: its mails are recorded, and nothing is kept.
SETTINGS: dict[str, Any] = {
    "TESTING": True,
    "RATELIMIT_ENABLED": False,
    "REGISTRATION_PASSWORD_HASHER": CHEAP_HASHER,
}


def example(name: str) -> Any:
    """The module ``app.py`` of an example."""
    return import_module(f"examples.{name}.app")


def commands(name: str) -> list[list[str]]:
    """The arguments of each ``curl`` in an example's README, in their order."""
    page = (EXAMPLES / name / "README.md").read_text("utf-8")
    return [shlex.split(line) for line in re.findall(r"^curl .*", page, re.MULTILINE)]


def curl(client: FlaskClient, command: list[str], **variables: str) -> TestResponse:
    """Ask what a command asks; the client keeps the cookies."""
    program, url, *options = [
        re.sub(r"\$(\w+)", lambda found: variables[found[1]], part) for part in command
    ]
    assert program == "curl"
    request: dict[str, Any] = {"method": "GET", "headers": {}}
    for option, value in zip(options[::2], options[1::2], strict=True):
        if option == "--json":
            request |= {"method": "POST", "json": json.loads(value)}
        elif option == "-H":
            header, _, text = value.partition(": ")
            request["headers"][header] = text
        else:
            assert option in ("-b", "-c"), option
    return client.open(urlsplit(url).path, **request)
