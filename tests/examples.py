"""The applications in ``examples/``, loaded by their files, and the commands in their READMEs."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
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


@contextmanager
def example(name: str) -> Iterator[Any]:
    """The module ``app.py`` of an example, which finds the files beside it."""
    path = EXAMPLES / name / "app.py"
    module_name = f"example_{name}"
    spec = spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = module_from_spec(spec)
    beside = [each.stem for each in path.parent.glob("*.py") if each != path]
    assert not sys.modules.keys() & beside, "another example has left these"
    sys.modules[module_name] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(path.parent))
        for each in [module_name, *beside]:
            sys.modules.pop(each, None)


def commands(name: str) -> list[list[str]]:
    """The arguments of each ``curl`` in an example's README, in their order."""
    page = (EXAMPLES / name / "README.md").read_text("utf-8")
    return [shlex.split(line) for line in re.findall(r"^curl .*", page, re.MULTILINE)]


def curl(client: FlaskClient, command: list[str], **variables: str) -> TestResponse:
    """Ask what a command asks; the client keeps the cookies."""
    program, url, *options = [re.sub(r"\$(\w+)", lambda found: variables[found[1]], part) for part in command]
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
