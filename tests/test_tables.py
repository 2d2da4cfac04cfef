"""Test ``each_row``, which many tests are made with."""

from __future__ import annotations

import pytest

from .conftest import Clock, Sites
from .people import account, log_in
from .site import Site
from .tables import each_row

#: Applications that the rows of a test got.
seen: dict[str, list[Site]] = {"kept": [], "anew": []}


def check_and_use(site: Site, name: str) -> None:
    """Find an application as it was made, and leave rows, e-mails, hits and a setting behind."""
    assert (site.users(), site.outbox, site.app.config["SECRET_KEY"][:5]) == ([], [], "a key")
    assert site.register("alice").status_code == 201
    assert site.user(username="alice").id == 1
    assert len(site.outbox) == 1  # the pause between two e-mails to one address has no say here
    site.app.config["SECRET_KEY"] = name


@pytest.mark.databases
@each_row("name", ["first", "second", "third"])
def test_an_application_is_made_once_and_empty_before_each_row(
    name: str, database: str, new_site: Sites
) -> None:
    check_and_use(site := new_site(database), name)
    seen["kept"].append(site)
    if name == "third":
        assert len(set(map(id, seen["kept"][-3:]))) == 1


@each_row("name", ["first", "second"], anew=True)
def test_an_application_may_be_made_anew(name: str, new_site: Sites) -> None:
    check_and_use(site := new_site(), name)
    seen["anew"].append(site)
    if name == "second":
        assert len(set(map(id, seen["anew"]))) == 2


@pytest.mark.databases
@each_row("sender", ["one@example.com", "two@example.com", "one@example.com"])
def test_an_application_with_other_settings_is_another_one(
    sender: str, database: str, new_site: Sites
) -> None:
    site = new_site(database, config={"MAIL_DEFAULT_SENDER": sender})
    assert site.app.config["MAIL_DEFAULT_SENDER"] == sender
    assert site.users() == []
    site.register("alice")


class Held:
    """What a fixture of a test module made before the first row."""

    def __init__(self, site: Site) -> None:
        self.site, self.user = site, account(site)
        self.client = log_in(site)


@pytest.fixture
def held(database: str, new_site: Sites) -> Held:
    return Held(new_site(database))


@pytest.fixture
def told() -> list[str]:
    return ["before"]


@pytest.mark.databases
@each_row("by", ["deletion", "logout", "nothing"])
def test_what_fixtures_hold_is_as_it_was_before_each_row(
    by: str, held: Held, told: list[str], clock: Clock
) -> None:
    assert [user.id for user in held.site.users()] == [held.user.id]
    assert held.client.get("/accounts/profile/").status_code == 200
    assert told == ["before"]
    assert clock.now - held.user.date_joined.timestamp() < 3600
    told.append(by)
    clock.advance(7200)
    if by == "logout":
        held.site.post("logout", {}, client=held.client)
    elif by == "deletion":
        held.site.change(held.user, username="gone")
        assert held.client.get_cookie("session")
        held.client.delete_cookie("session")


ROWS = """
import pytest
from tests.tables import each_row

@each_row("number", [1, 2, 3])
@each_row(("name", "more"), [("a", 1), pytest.param("b", 2, id="the second")])
def test_of_rows(number, name, more, tmp_path, monkeypatch):
    assert list(tmp_path.glob("*.txt")) == []
    (tmp_path / "made.txt").touch()
    monkeypatch.delenv("NOT_THERE", raising=False)
    assert (number, name) not in ((2, "a"), (3, "b"))
"""


def test_each_row_is_told_and_hides_no_other(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(ROWS)
    result = pytester.runpytest("-p", "no:xdist")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["_* test_of_rows [[]a-1-2[]] _*", "_* test_of_rows [[]the second-3[]] _*"]
    )
    result.stdout.no_fnmatch_line("_* test_of_rows [[]a-1-3[]] _*")
