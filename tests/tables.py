"""Run a test for each row of a table, as subtests in one application."""

from __future__ import annotations

import functools
import inspect
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack
from itertools import product
from queue import Queue
from typing import Any

import pytest
from flask.testing import FlaskClient

from flask_registration.testing import Clock

from .conftest import Sites

Test = Callable[..., None]
Row = tuple[str, dict[str, Any]]


def each_row(
    names: str | tuple[str, ...],
    rows: Iterable[Any],
    *,
    ids: Collection[str] | Callable[[Any], str] | None = None,
    anew: bool = False,
) -> Callable[[Test], Test]:
    """Run a test for each row, each in a subtest of its own.

    It takes the arguments of ``pytest.mark.parametrize``, and makes one test of the table: its
    fixtures are set up once. Before each row, what the fixtures hold is put back as it was: the
    rows of the database, e-mails, cookies, lists, queues, the clock, the hits that are counted in
    memory. A failure of one row does not hide another. Two tables above one test give each row of
    the one with each of the other.

    :param anew: make the applications of ``new_site`` anew for each row, for a test that changes
        them.
    """
    argnames = tuple(map(str.strip, names.split(","))) if isinstance(names, str) else names
    found = list(_named(argnames, list(rows), ids))

    def decorate(test: Test) -> Test:
        inner: Test = getattr(test, "_row_test", test)
        below: list[Row] = getattr(test, "_rows", [("", {})])
        all_rows = [
            ("-".join(filter(None, (name, other))), {**values, **others})
            for (name, others), (other, values) in product(below, found)
        ]
        fresh = anew or getattr(test, "_anew", False)
        signature = inspect.signature(inner)
        taken = {name for _, values in all_rows for name in values}
        wanted = [each for name, each in signature.parameters.items() if name not in taken]
        extra = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY)
            for name in ("request", "subtests")
            if name not in signature.parameters
        ]

        @functools.wraps(inner)
        def run(**fixtures: Any) -> None:
            given = {
                name: value for name, value in fixtures.items() if name in signature.parameters
            }
            before = _State(fixtures["request"], given)
            for number, (name, values) in enumerate(all_rows):
                with fixtures["subtests"].test(name), ExitStack() as stack:
                    if number:
                        before.restore(anew=fresh)
                    inner(**before.fixtures(stack, number), **values)

        vars(run).update(
            _row_test=inner,
            _rows=all_rows,
            _anew=fresh,
            __signature__=inspect.Signature([*wanted, *extra]),
        )
        vars(run)["pytestmark"] = list(getattr(test, "pytestmark", []))
        return run

    return decorate


def _named(
    argnames: tuple[str, ...], rows: list[Any], ids: Collection[str] | Callable[[Any], str] | None
) -> Iterator[Row]:
    """Give each row its name, as pytest does."""
    names = None if ids is None or callable(ids) else list(ids)
    for number, row in enumerate(rows):
        given, name = row, names[number] if names else None
        if hasattr(row, "marks"):  # a pytest.param
            assert not row.marks, "a row of a table cannot be marked"
            given, name = row.values if len(argnames) > 1 else row.values[0], row.id or name
        values = tuple(given) if len(argnames) > 1 else (given,)
        assert len(values) == len(argnames), row
        if name is None:
            name = "-".join(str(ids(value)) if callable(ids) else _name(value) for value in values)
        yield name, dict(zip(argnames, values, strict=True))


def _name(value: object) -> str:
    return value if isinstance(value, str) else str(getattr(value, "__name__", repr(value)))


class _State:
    """What the fixtures of a test hold before its first row."""

    def __init__(self, request: pytest.FixtureRequest, given: dict[str, Any]) -> None:
        self._given = given
        fixtures = set(request.fixturenames)
        self._sites: Sites | None = (
            request.getfixturevalue("new_site") if "new_site" in fixtures else None
        )
        values = [request.getfixturevalue(name) for name in request.fixturenames]
        self._clocks = [(each, each.now) for each in values if isinstance(each, Clock)]
        within = [
            each for value in values for each in (value, *getattr(value, "__dict__", {}).values())
        ]
        cookies = [each._cookies for each in within if isinstance(each, FlaskClient)]
        opened = [each.queue if isinstance(each, Queue) else each for each in values]
        collections = [each for each in opened if type(each) in (list, dict, set, deque)]
        self._collected = [(each, each.copy()) for each in (*cookies, *collections)]
        if self._sites:
            self._sites.keep()

    def restore(self, *, anew: bool) -> None:
        """Put everything back."""
        for value, before in self._collected:
            value.clear()
            (value.extend if isinstance(value, list | deque) else value.update)(before)
        for clock, now in self._clocks:
            clock.now = now
        if self._sites:
            self._sites.restore(anew=anew)
        for value in self._given.values():
            if isinstance(value, pytest.LogCaptureFixture):
                value.clear()
            elif isinstance(value, pytest.CaptureFixture):
                value.readouterr()

    def fixtures(self, stack: ExitStack, number: int) -> dict[str, Any]:
        """Return the fixtures of one row: its own patches and its own directory."""
        found = dict(self._given)
        if "monkeypatch" in found:
            found["monkeypatch"] = stack.enter_context(pytest.MonkeyPatch.context())
        if "tmp_path" in found and number:
            found["tmp_path"] = found["tmp_path"] / f"row{number}"
            found["tmp_path"].mkdir()
        return found
