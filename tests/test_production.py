"""``examples/production`` in its script form: two hosts behind nginx, and whole lives through it.

``TEST_LIVES`` says how many lives, ``TEST_BROKER_URL`` through which broker.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
import yaml  # type: ignore[import-untyped]  # it ships no types
from sqlalchemy.engine import make_url

from .conftest import SERVERS
from .lives import MAILS, TIMEOUT, Browser, Letterbox, life, live
from .site import PASSWORD, links_of, parameters
from .smtp import free_port, smtp_server

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "production"
PARTS = ("host-1", "host-2", "worker", "nginx")
LIVES = int(os.environ.get("TEST_LIVES", "20"))
DATABASE = f"flask_registration_production_{os.getpid()}"
REDIS_URL = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/7")
BROKER_URL = os.environ.get("TEST_BROKER_URL", "redis://127.0.0.1:6379/8")


class Production(NamedTuple):
    """The example, which runs."""

    folder: Path
    port: int
    hosts: tuple[int, int]
    letters: Letterbox
    environment: dict[str, str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Call its script."""
        return call(*arguments, environment=self.environment)

    def answered(self) -> Counter[tuple[str, int]]:
        """How many requests for accounts each host has answered with each status, as nginx has
        it."""
        lines = (self.folder / "access.log").read_text("utf-8").splitlines()
        found = [
            re.fullmatch(r'\S+ "\w+ /accounts/[^"]*" (\d+) (\S.*) [\d.]+', line) for line in lines
        ]
        return Counter((each[2], int(each[1])) for each in found if each)


def call(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(EXAMPLE / "run.sh"), *arguments]
    return subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def reachable(url: str) -> None:
    where = urlsplit(url)
    try:
        socket.create_connection((str(where.hostname), int(where.port or 0)), 5).close()
    except OSError as error:
        pytest.skip(f"no {where.scheme} server here ({where.hostname}:{where.port}): {error}")


def database_url() -> str:
    return (
        make_url(SERVERS["postgresql"]).set(database=DATABASE).render_as_string(hide_password=False)
    )


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    """Start it on ports, a database and counters of its own; in the end nothing of it is left."""
    if sys.platform != "linux":
        pytest.skip("needs the addresses 127.0.0.0/8, as Linux has them")
    if not shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin"):
        pytest.skip("no nginx here")
    for url in (SERVERS["postgresql"], REDIS_URL, BROKER_URL):
        reachable(url)
    folder = tmp_path_factory.mktemp("production") / "run"
    letters, port, hosts = Letterbox(), free_port(), (free_port(), free_port())
    with smtp_server(answer=letters.take) as server:
        environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("FLASK_", "COV_"))
            },
            "BIN": str(Path(sys.executable).parent),
            "RUN_DIR": str(folder),
            "SECRET_KEY": secrets.token_hex(),
            "PORT": str(port),
            "HOST_1": f"127.0.0.1:{hosts[0]}",
            "HOST_2": f"127.0.0.1:{hosts[1]}",
            "DATABASE_URL": database_url(),
            "REDIS_URL": REDIS_URL,
            "BROKER_URL": BROKER_URL,
            "MAIL_PORT": str(server.port),
            "FLASK_RATELIMIT_KEY_PREFIX": DATABASE,
            "FLASK_CELERY__task_default_queue": DATABASE,
        }
        started = call("start", environment=environment)
        assert started.returncode == 0, started.stdout + started.stderr
        running = Production(folder, port, hosts, letters, environment)
        pids = [int(path.read_text()) for path in folder.glob("*.pid") if path.read_text()]
        try:
            yield running
        finally:
            stopped, purged = running.run("stop"), running.run("purge")
        assert stopped.returncode == purged.returncode == 0, stopped.stderr + purged.stderr
        assert len(pids) == 5
        assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
        assert not folder.exists()
        with psycopg.connect(SERVERS["postgresql"].replace("+psycopg", "")) as connection:
            there = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]
            ).fetchall()
        assert there == []
        for url in (REDIS_URL, BROKER_URL):
            if url.startswith("redis"):
                with redis.Redis.from_url(url) as store:
                    assert list(store.scan_iter(f"*{DATABASE}*")) == [], url


def test_lives_go_by_two_hosts_as_by_one(production: Production) -> None:
    before, hosts, mails = production.answered(), production.hosts, len(production.letters)
    report = live(production.port, production.letters, LIVES, at_once=8)
    print(report)
    assert report.failures == []
    assert [status for status in report.statuses if status >= 500] == []
    assert (report.lives, report.mails - mails) == (LIVES, LIVES * MAILS)
    wait_until(
        lambda: (production.answered() - before).total() == report.statuses.total()
    )  # it logs after the reply
    answered = production.answered() - before
    shares = [
        sum(count for (host, _), count in answered.items() if host == f"127.0.0.1:{port}")
        for port in hosts
    ]
    assert sum(shares) == answered.total()
    assert min(shares) > sum(shares) / 4
    with psycopg.connect(database_url().replace("+psycopg", "")) as connection:
        assert connection.execute(
            "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM login)"
        ).fetchall() == [(0, 0)]


def test_it_says_what_runs(production: Production) -> None:
    status = production.run("status")
    assert (status.returncode, status.stdout.splitlines()) == (
        0,
        [*(f"{part} runs" for part in PARTS), f"http://127.0.0.1:{production.port} answers"],
    )
    again = production.run("start")
    assert (again.returncode, again.stderr) == (1, "It runs already.\n")


def test_the_commands_of_its_page_know_the_environment_of_the_hosts(production: Production) -> None:
    commands = re.findall(r"`\./run\.sh (flask [^`]+)`", (EXAMPLE / "README.md").read_text("utf-8"))
    assert {command.split()[2] for command in commands} == {"purge", "check"}
    for command in commands:
        told = production.run(*command.split())
        assert told.returncode == 0, told.stdout + told.stderr


def test_nginx_is_believed_and_nobody_else(production: Production) -> None:
    name, lie = "addressed", {"X_Forwarded_For": "203.0.113.9", "X_Forwarded_Proto": "https"}
    browser = Browser(production.port, "127.0.5.5")
    email = f"{name}@example.com"
    passwords = {"password": PASSWORD, "password_confirm": PASSWORD}
    assert browser.post("register", username=name, email=email, **passwords)[0] == 201
    link = parameters(links_of(production.letters.wait(email, "Confirm"))[0])
    assert browser.post("verify-registration", **link)[0] == 200

    def seen(port: int, address: str) -> str:
        """The address of a login, as its owner is shown it."""
        client = Browser(port, address)
        assert (
            client.ask("POST", "/accounts/login/", {"login": name, "password": PASSWORD}, **lie)[0]
            == 200
        )
        (current,) = [
            login for login in client.ask("GET", "/accounts/logins/")[1] if login["current"]
        ]
        client.close()
        return str(current["ip_address"])

    assert seen(production.port, "127.0.5.6") == "127.0.5.6"
    assert [seen(port, "127.0.5.7") for port in production.hosts] == ["127.0.5.7"] * 2
    assert seen(production.hosts[0], "127.0.0.2") == "203.0.113.9", "where nginx is"
    assert browser.post("login", login=name, password=PASSWORD)[0] == 200
    assert browser.ask("DELETE", "/accounts/profile/")[0] == 204
    browser.close()


def test_a_host_that_is_killed_is_missed_by_nobody_and_comes_back(production: Production) -> None:
    pid_file = production.folder / "host-1.pid"
    killed = int(pid_file.read_text())
    children = Path(f"/proc/{killed}/task/{killed}/children").read_text().split()
    for pid in [killed, *map(int, children)]:
        os.kill(pid, signal.SIGKILL)
    wait_until(
        lambda: not any(map(lives_on, [str(killed), *children]))
    )  # then its connections are closed
    with closing(Browser(production.port, "127.0.5.8")) as browser:
        life(browser, "bereft", production.letters)
    assert [status for status in browser.statuses if status >= 500] == []
    wait_until(
        lambda: (
            pid_file.read_text().strip() not in ("", str(killed)) and listens(production.hosts[0])
        )
    )
    assert "host-1 has ended, and is started again." in (production.folder / "run.log").read_text()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def lives_on(pid: str) -> bool:
    """Whether there is more of a process, any of its threads, than an entry in a table."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z" or len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
    except (FileNotFoundError, ProcessLookupError):
        return False


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_size_of_a_row_is_measured_and_no_row_stays(production: Production) -> None:
    psql = shutil.which("psql")
    if not psql:
        pytest.skip("no psql here")
    url = database_url().replace("+psycopg", "")
    command = [psql, "--no-psqlrc", "-v", "rows=1000", "-f", str(EXAMPLE / "sizes.sql"), url]
    measured = subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT, check=True
    ).stdout
    sizes = dict(re.findall(r"^ (\w+) +\| +(\d+)$", measured, re.MULTILINE))
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT (SELECT count(*) FROM login), (SELECT count(*) FROM outbox)"
        ).fetchall()
        there = connection.execute(
            "SELECT indexname FROM pg_indexes WHERE schemaname = 'public'"
        ).fetchall()
    assert rows == [(0, 0)]
    assert sizes.keys() == {"users", "login", "outbox", *(name for (name,) in there)}
    assert 100 < int(sizes["users"]) < 1000


def test_without_a_server_it_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    if not shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin"):
        pytest.skip("no nginx here")
    nobody = f"postgresql+psycopg://postgres@127.0.0.1:{free_port()}/nowhere"
    environment = {
        **os.environ,
        "BIN": str(Path(sys.executable).parent),
        "RUN_DIR": str(tmp_path / "run"),
    }
    started = call(
        "start",
        environment={**environment, "SECRET_KEY": secrets.token_hex(), "DATABASE_URL": nobody},
    )
    assert started.returncode == 1
    assert "connection failed" in started.stderr
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"run.log"}
    stopped = call("stop", environment=environment)
    assert (stopped.returncode, stopped.stdout) == (0, "It does not run.\n")
    assert call("status", environment=environment).returncode == 1


def test_an_action_that_there_is_not_is_told_the_others(tmp_path: Path) -> None:
    refused = call("restart", environment={**os.environ, "SECRET_KEY": "x"})
    assert refused.returncode == 2
    assert re.findall(r"^  run\.sh (\w*)", refused.stderr, re.MULTILINE) == [
        *("", "start", "stop", "status", "purge", "flask")
    ]


def test_secrets_are_made_once_and_for_their_owner_only(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE / "secrets.sh", tmp_path)
    for _ in range(2):
        subprocess.run([str(tmp_path / "secrets.sh")], check=True)
        made = (tmp_path / ".env").read_text()
    values = dict(line.split("=") for line in made.splitlines())
    assert values.keys() == {
        "SECRET_KEY",
        "POSTGRES_PASSWORD",
        "RABBITMQ_PASSWORD",
        "REDIS_PASSWORD",
    }
    assert len({*values.values()}) == 4
    assert all(re.fullmatch("[0-9a-f]{64}", value) for value in values.values())
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    subprocess.run([str(tmp_path / "secrets.sh")], check=True)
    assert (tmp_path / ".env").read_text() == made
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert {".env", "instance/"} <= set(ignored)


# What runs in containers, as far as that can be told without them


def compose() -> dict[str, Any]:
    loaded = yaml.safe_load((EXAMPLE / "compose.yaml").read_text("utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def test_the_compose_file_has_what_it_names() -> None:
    described = compose()
    services = described["services"]
    assert {
        "nginx",
        "host-1",
        "host-2",
        "worker",
        "postgresql",
        "redis",
        "rabbitmq",
    } <= services.keys()
    for name, service in services.items():
        assert ("image" in service) or ("build" in service), name
        needs = service.get("depends_on", [])
        for needed in needs:
            assert needed in services, (name, needed)
            condition = needs[needed]["condition"] if isinstance(needs, dict) else None
            if condition == "service_healthy":
                assert "healthcheck" in services[needed], (name, needed)
            if condition == "service_completed_successfully":
                assert services[needed]["restart"] == "no", (name, needed)
        networks = service["networks"]
        assert set(networks) <= described["networks"].keys(), name
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert (
                (EXAMPLE / source).is_file()
                if source.startswith(".")
                else source in described["volumes"]
            ), volume
    build = services["host-1"]["build"]
    context = EXAMPLE / build["context"]
    assert (context / build["dockerfile"]).samefile(EXAMPLE / "Dockerfile")
    for line in re.findall(
        r"^COPY (.*) \S+$", (EXAMPLE / "Dockerfile").read_text("utf-8"), re.MULTILINE
    ):
        for source in line.split():
            assert list(context.glob(source)), source


def test_only_nginx_is_trusted_and_only_it_and_the_mails_can_be_reached() -> None:
    services = compose()["services"]
    address = services["nginx"]["networks"]["inside"]["ipv4_address"]
    for name in ("host-1", "host-2"):
        assert services[name]["environment"]["TRUSTED_PROXIES"] == address
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert ports.keys() == {"nginx", "mail"}
    assert all(port.startswith("127.0.0.1:") for each in ports.values() for port in each)


def test_the_compose_file_has_no_secrets_and_asks_for_those_that_are_made() -> None:
    text = (EXAMPLE / "compose.yaml").read_text("utf-8")
    asked = set(re.findall(r"\$\{(\w+):\?run ./secrets.sh first\}", text))
    assert asked == {"SECRET_KEY", "POSTGRES_PASSWORD", "RABBITMQ_PASSWORD", "REDIS_PASSWORD"}
    for line in text.splitlines():
        if re.search("SECRET_KEY:|PASSWORD:|PASS:", line):
            assert "${" in line, line


def test_both_forms_fill_in_the_whole_of_nginx_s_site() -> None:
    wanted = set(re.findall(r"\$\{(\w+)\}", (EXAMPLE / "site.conf.template").read_text("utf-8")))
    assert compose()["services"]["nginx"]["environment"].keys() == wanted
    script = (EXAMPLE / "run.sh").read_text("utf-8")
    assert wanted <= set(re.findall(r"\b(\w+)=", script))


def test_every_variable_is_documented() -> None:
    read = {
        name
        for path in EXAMPLE.glob("*.py")
        for name in re.findall(r'os\.environ(?:\.get\(|\[)"(\w+)"', path.read_text("utf-8"))
    }
    read |= set(re.findall(r"\$\{([A-Z]\w+):-", (EXAMPLE / "run.sh").read_text("utf-8")))
    page = (EXAMPLE / "README.md").read_text("utf-8")
    listed = {
        name
        for row in re.findall(r"^\| (`[^|]*) \|", page, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert listed == read - {"FLASK_REGISTRATION_MAIL_DISPATCHER"}
