"""A client in TypeScript, with types that are generated from the API description, compiles without
a complaint."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from .descriptions import describe
from .people import define_login
from .site import Site

FOLDER = Path(__file__).parent / "typescript"


@pytest.fixture(scope="module")
def tools() -> Path:
    """The generator, the compiler and the client's library, installed as the lock file has them."""
    if not shutil.which("npm"):
        pytest.skip("no npm here: install Node.js 20 or newer")
    lock, there = FOLDER / "package-lock.json", FOLDER / "node_modules" / ".package-lock.json"
    with (Path(tempfile.gettempdir()) / "flask-registration-typescript.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # another process may be installing into the same folder
        if not there.exists() or there.stat().st_mtime < lock.stat().st_mtime:
            run("npm", "ci", "--silent", folder=FOLDER)
    return FOLDER / "node_modules"


def run(*command: str, folder: Path) -> str:
    """What a program says, which must succeed."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_client_whose_types_are_generated_compiles(
    tools: Path, new_site: Callable[..., Site], tmp_path: Path
) -> None:
    limits = {"THROTTLES": {}, "config": {"RATELIMIT_ENABLED": True}}
    document = describe(new_site(login_model=define_login, LOGIN_RETRIEVE_TOKEN=True, **limits).app)
    (tmp_path / "openapi.json").write_text(json.dumps(document), "utf-8")
    (tmp_path / "node_modules").symlink_to(tools)
    for name in ("client.ts", "tsconfig.json", "package.json"):
        shutil.copy(FOLDER / name, tmp_path)
    binaries = tools / ".bin"
    run(
        str(binaries / "openapi-typescript"),
        "openapi.json",
        "--output",
        "accounts.ts",
        folder=tmp_path,
    )
    run(str(binaries / "tsc"), "--project", ".", folder=tmp_path)
