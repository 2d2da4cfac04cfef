"""The packages contain everything, an index shows them well, and they run without any extra."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from configparser import ConfigParser
from email import message_from_bytes
from pathlib import Path
from typing import cast

import pytest
import uv
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "flask_registration"

#: Extras for work on the package or for tests. The others are for applications, and in ``all``.
FOR_DEVELOPERS = {"all", "dev", "docs", "mutation", "testing"}

#: An account's first minutes in the quick start, from its registration to its profile.
FIRST_MINUTES = """
import json
from importlib.util import find_spec
from urllib.parse import parse_qsl, urlsplit

from examples.email_only.app import create_app, mail

extras = ["altcha", "apispec", "asgiref", "babel", "bcrypt", "celery", "confusable_homoglyphs"]
extras += ["cryptography", "disposable_email_domains", "flask_limiter"]
extras += ["pyotp", "pytest", "redis", "segno"]
assert [name for name in extras if find_spec(name)] == []
client = create_app().test_client()
reply = client.post("/accounts/login/", json={"login": "alice@example.com", "password": "not yet"})
assert reply.json["detail"].endswith(" falsch."), reply.text  # the catalog is there
password = "correct horse battery staple"
account = {"email": "alice@example.com", "password": password}
with mail.record_messages() as outbox:
    reply = client.post("/accounts/register/", json={**account, "password_confirm": password})
    assert reply.status_code == 201, reply.text
link = next(word for word in outbox[0].body.split() if "signature=" in word)
reply = client.post("/accounts/verify-registration/", json=dict(parse_qsl(urlsplit(link).query)))
assert reply.status_code == 200, reply.text
reply = client.post("/accounts/login/", json={"login": "alice@example.com", "password": password})
assert reply.status_code == 200, reply.text
print(json.dumps(client.get("/accounts/profile/").json))
"""


def setup_cfg() -> ConfigParser:
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg", "utf-8")
    return parser


def names(requirements: str) -> set[str]:
    """The names of some requirements, in the form in which they are compared."""
    return {normal(re.match(r"[\w.-]+", line)[0]) for line in requirements.split("\n") if line}  # type: ignore[index]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def done(*command: object, **options: object) -> str:
    """The output of a command that must succeed."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    run = subprocess.run([str(part) for part in command], text=True, check=False, **options)  # type: ignore[call-overload]
    assert run.returncode == 0, f"{run.stdout}{run.stderr}"
    return str(run.stdout)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution, and with the wheel that is made from it.

    They are made in the folder ``source`` there, which has what a clone would have.
    """
    folder = tmp_path_factory.mktemp("packages")
    for name in files_of_the_repository():
        copy = folder / "source" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy)
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, folder / "source"]
    (folder / "log").write_text(done(*build, stderr=subprocess.STDOUT), "utf-8")
    return folder


def files_of_the_repository() -> list[str]:
    """What git has or would add; in an unpacked source distribution, what that has."""
    made_from = ROOT / "Flask_Registration.egg-info" / "SOURCES.txt"
    if (ROOT / ".git").exists():
        listed = done("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    elif made_from.exists():
        listed = made_from.read_text("utf-8")
    else:
        pytest.skip("neither a git checkout nor a source distribution")
    return [
        name for name in listed.splitlines() if (ROOT / name).is_file() and ".egg-info/" not in name
    ]


def test_the_packages_contain_everything_and_nothing_else(packages: Path) -> None:
    tracked = {name for name in files_of_the_repository() if not name.startswith((".ci/", ".git"))}
    (sdist,) = packages.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        members = {
            member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()
        }
    assert {name for name in members if ".egg-info/" not in name} == tracked | {"PKG-INFO"}
    wanted = {name for name in tracked if name.startswith("flask_registration/")}
    assert "flask_registration/py.typed" in wanted
    assert "flask_registration/templates/registration/register/body.html" in wanted
    assert "flask_registration/translations/de/LC_MESSAGES/flask_registration.mo" in wanted
    (wheel,) = packages.glob("*.whl")
    with zipfile.ZipFile(wheel) as package:
        about = {name for name in package.namelist() if ".dist-info/" in name}
        assert set(package.namelist()) - about == wanted
        assert any(name.endswith("/licenses/LICENSE") for name in about)
        (metadata,) = (
            message_from_bytes(package.read(name)) for name in about if name.endswith("/METADATA")
        )
    assert metadata["License-Expression"] == "BSD-3-Clause"
    pythons = re.findall(
        r"Programming Language :: Python :: (3\.\d+)", "\n".join(metadata.get_all("Classifier", []))
    )
    assert metadata["Requires-Python"] == f">={pythons[0]}"


def test_the_build_warns_of_nothing(packages: Path) -> None:
    log = (packages / "log").read_text("utf-8")
    assert "Successfully built" in log
    assert re.findall(r"^.*(?:WARNING|Warning|would be ignored).*$", log, re.MULTILINE) == []


def test_an_index_shows_the_packages_as_they_are_meant(packages: Path) -> None:
    done(
        sys.executable,
        "-m",
        "twine",
        "check",
        "--strict",
        *packages.glob("*.whl"),
        *packages.glob("*.tar.gz"),
    )


def test_the_description_needs_no_file_of_the_repository(packages: Path) -> None:
    (wheel,) = packages.glob("*.whl")
    with zipfile.ZipFile(wheel) as package:
        (about,) = (name for name in package.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(package.read(about))
    (sdist,) = packages.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        (about,) = (name for name in archive.getnames() if name.count("/") == 1 and "PKG" in name)
        source = archive.extractfile(about)
        assert source is not None
        assert message_from_bytes(source.read()).get_payload() == metadata.get_payload()
    assert metadata["Description-Content-Type"] == "text/markdown"
    text = cast(bytes, metadata.get_payload(decode=True)).decode("utf-8")
    shown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = [part for token in shown.parse(text) for part in (token, *(token.children or ()))]
    links = [str(token.attrGet("href")) for token in tokens if token.type == "link_open"]
    assert len(links) > 4
    assert [link for link in links if not re.match("https?://", link)] == []
    assert [token for token in tokens if token.type == "image"] == []
    assert not re.search(r"<(a|img)\b", text)
    headings = re.findall(r"^## .+$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert re.findall(r"^## .+$", text, re.MULTILINE) == headings
    assert "`docs/index.md`" in text


def test_the_wheel_runs_where_there_are_no_extras(packages: Path, tmp_path: Path) -> None:
    (wheel,) = packages.glob("*.whl")
    done(uv.find_uv_bin(), "venv", "--quiet", "--python", sys.executable, tmp_path / "venv")
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    install = [uv.find_uv_bin(), "pip", "install", "--quiet", "--python", str(python), str(wheel)]
    installed = subprocess.run(install, capture_output=True, text=True, check=False)
    if "error sending request" in installed.stderr:
        pytest.skip("no network here, from which to install what the package needs")
    assert installed.returncode == 0, installed.stderr
    shutil.copytree(
        ROOT / "examples" / "email_only",
        tmp_path / "examples" / "email_only",
        ignore=shutil.ignore_patterns("__pycache__", "instance"),
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {
        "FLASK_REGISTRATION_MAIL_DISPATCHER": "inline",
        "FLASK_REGISTRATION_LANGUAGES": '["de"]',
    }
    shown = done(python, "-c", FIRST_MINUTES, cwd=tmp_path, env=environment)
    assert json.loads(shown.splitlines()[-1])["email"] == "alice@example.com"


def test_the_pages_name_the_versions_that_the_package_supports() -> None:
    options = setup_cfg()
    pythons = re.findall(r":: Python :: (3\.\d+)", options["metadata"]["classifiers"])
    lowest = dict(
        re.findall(r"^([\w-]+)>=(\d+\.\d+)", options["options"]["install_requires"], re.M)
    )
    for page in ("README.md", "CHANGELOG.md"):
        text = " ".join((ROOT / page).read_text("utf-8").split())
        assert f"It runs on Python {pythons[0]} to {pythons[-1]}" in text
        assert f"with Flask {lowest['Flask']} and SQLAlchemy {lowest['SQLAlchemy']}" in text


def test_every_dependency_is_used_and_declared() -> None:
    options = setup_cfg()
    extras = options["options.extras_require"]
    declared = names(options["options"]["install_requires"])
    for extra in extras.keys() - FOR_DEVELOPERS | {"testing"}:
        declared |= names(extras[extra])
    imported = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Import():
                    imported |= {alias.name.partition(".")[0] for alias in node.names}
                case ast.ImportFrom(module=str(module), level=0):
                    imported.add(module.partition(".")[0])
                case ast.Call(
                    func=ast.Name(id="find_spec"), args=[ast.Constant(value=str(module))]
                ):
                    imported.add(module)
    used = {normal(name) for name in imported - sys.stdlib_module_names}
    of_flask = {"click", "jinja2", "markupsafe", "werkzeug"}  # which Flask chooses the versions of
    of_email_validator = {"dns"}  # likewise
    of_the_application = {"babel", "flask-babel"}  # used where an application has it
    assert used - of_flask - of_email_validator - of_the_application == declared


def test_all_holds_every_extra_for_applications() -> None:
    extras = setup_cfg()["options.extras_require"]
    (held,) = re.findall(r"^Flask-Registration\[(.+)\]$", extras["all"].strip())
    assert held.split(",") == sorted(extras.keys() - FOR_DEVELOPERS)
