"""The tests on every Python that is here, with the newest and with the lowest versions of what the
package needs.

``nox`` runs all of them, ``nox -s tests-3.13`` those on one Python, ``nox -s lowest --
tests/test_links.py`` one file, and ``nox -- central`` the files of ``CENTRAL``, as ``essential``
those of ``ESSENTIAL``. A Python that is not here is named and left out.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import nox

PYTHONS = re.findall(
    r"^ +Programming Language :: Python :: (3\.\d+)$", Path("setup.cfg").read_text(), re.MULTILINE
)

# What shows in a minute whether the version of a dependency will do: an account's whole life over
# HTTP, models on each database, passwords, mail, settings, languages, and what the extras bring.
CENTRAL = [
    "tests/flows/test_life.py",
    "tests/test_celery.py",
    "tests/test_configuration.py",
    "tests/test_languages.py",
    "tests/test_mail.py",
    "tests/test_models.py",
    "tests/test_openapi.py",
    "tests/test_passwords.py",
    "tests/test_throttles.py",
]

# What shows in half a minute whether a version of Python will do.
ESSENTIAL = [
    "tests/flows/test_life.py",
    "tests/test_configuration.py",
    "tests/test_mail.py",
]

PYRIGHT = "1.1.414"

# pyenv's own commands of these names answer only where it was told to.
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
os.environ["PATH"] = os.pathsep.join(
    [*map(str, sorted(PYENV.glob("versions/3.*/bin"))), os.environ["PATH"]]
)
LOWEST = next((version for version in PYTHONS if shutil.which(f"python{version}")), PYTHONS[0])

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.error_on_external_run = True


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Test with the newest versions."""
    session.install("-e", ".[dev]", "--upgrade")
    run_tests(session)


@nox.session(default=False)
def others(session: nox.Session) -> None:
    """Test with the newest versions on each Python but the lowest and this one, which have sessions
    of their own."""
    this = f"{sys.version_info.major}.{sys.version_info.minor}"
    for version in PYTHONS:
        if version not in (LOWEST, this):
            session.notify(f"tests-{version}")


@nox.session(python=LOWEST)
def lowest(session: nox.Session) -> None:
    """Test with the lowest versions that setup.cfg allows, on the lowest Python that is here."""
    session.install("-e", ".[dev]", "--resolution=lowest-direct")
    run_tests(session)


@nox.session(default=False)
def databases(session: nox.Session) -> None:
    """Test everything on each database, not only what is marked with ``databases``; run this before
    a release."""
    session.install("-e", ".[dev]", "--upgrade")
    session.posargs.append("--all-databases")
    run_tests(session)


@nox.session
def types(session: nox.Session) -> None:
    """Ask pyright whether every public name has a type of its own."""
    if not shutil.which("npx"):
        session.skip("there is no npm here: install Node.js 20 or newer")
    session.install(
        ".[all,testing]"
    )  # as users have it; and pyright does not find what is editable
    session.chdir(session.create_tmp())
    command = (
        "npx",
        "--yes",
        f"pyright@{PYRIGHT}",
        "--verifytypes",
        "flask_registration",
        "--ignoreexternal",
    )
    found = str(session.run(*command, external=True, silent=True))
    session.log(
        next(line for line in found.splitlines() if line.startswith("Type completeness score"))
    )


def run_tests(session: nox.Session) -> None:
    """Run those that are asked for."""
    files = {"central": CENTRAL, "essential": ESSENTIAL}
    session.run("pytest", *(part for word in session.posargs for part in files.get(word, [word])))
