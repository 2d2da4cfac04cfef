"""The security log: one record for each event, which nobody can forge and which tells no secret."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from flask import Flask

from flask_registration import security_log
from flask_registration.security_log import (
    LOGIN_FAIL,
    THROTTLED,
    USER_CREATED,
    USER_UPDATED,
    Event,
    record,
)

#: All events, in the order of the documentation.
EVENTS_IN_ORDER = [each for each in vars(security_log).values() if isinstance(each, Event)]

#: What ends a line, writes over one, colours it, hides it or turns it round in some terminal,
#: editor or log viewer.
TRICKS = "\r\n\x00\x08\x1b[2K\x1b]0;x\x07\x7f\x85\x9b\u200b\u2028\u2029\u202e\u2066\ufeff\ud800\U000e0041"  # noqa: E501


def told(entry: logging.LogRecord) -> dict[str, Any]:
    """What a record's message says."""
    message: dict[str, Any] = json.loads(entry.getMessage())
    return message


# The record


def test_a_record_says_which_event_whose_account_and_from_where(
    security_log: list[logging.LogRecord],
) -> None:
    app = Flask(__name__)

    @app.get("/secret/<path>", endpoint="page")
    def page(path: str) -> str:
        record(LOGIN_FAIL, user_id=7, reason="wrong")
        return ""

    app.test_client().get("/secret/path?with=query", environ_base={"REMOTE_ADDR": "2001:db8::1"})
    (entry,) = security_log
    says = {
        "event": "authn_login_fail",
        "user_id": "7",
        "client": "2001:db8::1",
        "method": "GET",
        "endpoint": "page",
    }
    assert told(entry) == {**says, "reason": "wrong"}
    assert {name: getattr(entry, name) for name in says} == says
    assert entry.__dict__["details"] == {"reason": "wrong"}
    assert (entry.name, entry.levelname) == ("flask_registration.events", "WARNING")


def test_outside_a_request_there_is_no_client(security_log: list[logging.LogRecord]) -> None:
    record(USER_CREATED)
    nothing = dict.fromkeys(("user_id", "client", "method", "endpoint"))
    assert told(security_log[0]) == {"event": "user_created", **nothing}


def test_nobody_can_forge_a_line(security_log: list[logging.LogRecord]) -> None:
    app = Flask(__name__)
    with app.test_request_context(environ_base={"REMOTE_ADDR": f"1.2.3.4{TRICKS}"}):
        record(USER_UPDATED, user_id=TRICKS, fields=[TRICKS, 'x", "event": "user_deleted'])
        record(THROTTLED, limit=TRICKS, scope=f"%s%n{{}}{TRICKS}")
    for entry in security_log:
        attributes = [
            getattr(entry, name)
            for name in ("event", "user_id", "client", "method", "endpoint", "details")
        ]
        for text in (
            entry.getMessage(),
            str(attributes),
            logging.Formatter("%(message)s %(client)s").format(entry),
        ):
            assert text.isascii()
            assert text.isprintable()
    assert told(security_log[0])["event"] == "user_updated"
    assert told(security_log[0])["user_id"] == TRICKS.encode("unicode_escape").decode()


def test_a_record_is_of_bounded_length(security_log: list[logging.LogRecord]) -> None:
    with Flask(__name__).test_request_context(environ_base={"REMOTE_ADDR": "9" * 100_000}):
        record(USER_UPDATED, user_id="\u2028" * 100_000, fields=["\U000e0041" * 1000] * 1000)
    assert told(security_log[0])["client"] == "9" * 200 + "..."
    assert len(security_log[0].getMessage()) < 10_000


def test_numbers_and_truth_stay_what_they_are(security_log: list[logging.LogRecord]) -> None:
    record(THROTTLED, limit=5, scope=True)
    record(THROTTLED, limit=1.5, scope=None)
    assert [entry.__dict__["details"] for entry in security_log] == [
        {"limit": 5, "scope": True},
        {"limit": 1.5, "scope": None},
    ]


def test_a_detail_that_the_event_does_not_declare_is_refused_at_every_level() -> None:
    with pytest.raises(TypeError, match="user_created declares no password"):
        record(USER_CREATED, password="hunter2")


def test_every_event_has_a_name_of_its_own_and_says_when() -> None:
    names = [event.name for event in EVENTS_IN_ORDER]
    assert len(set(names)) == len(names) > 20
    for event in EVENTS_IN_ORDER:
        assert event.level in (logging.INFO, logging.WARNING)
        assert event.when
        assert all(event.details.values())


# The logger


def test_nothing_is_printed_where_nobody_has_set_logging_up(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    record(LOGIN_FAIL, reason="wrong")
    assert capsys.readouterr() == ("", "")


def test_what_its_level_does_not_want_is_not_even_made(
    security_log: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unprintable:
        def __str__(self) -> str:
            raise AssertionError("formatted")

    logging.getLogger("flask_registration.events").setLevel(logging.WARNING)
    record(USER_CREATED, user_id=Unprintable())
    record(LOGIN_FAIL, reason="wrong")
    assert [told(entry)["event"] for entry in security_log] == ["authn_login_fail"]


def test_a_handler_that_raises_is_told_of_on_stderr_and_the_caller_goes_on(
    security_log: list[logging.LogRecord],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("the disk is full")

    logger, handler = logging.getLogger("flask_registration.events"), Broken()
    logger.addHandler(handler)
    try:
        record(USER_CREATED)
    finally:
        logger.removeHandler(handler)
    assert "the disk is full" in capsys.readouterr().err


def test_an_application_s_own_record_factory_may_use_the_same_names(
    security_log: list[logging.LogRecord],
) -> None:
    original = logging.getLogRecordFactory()

    def make(*args: Any, **kwargs: Any) -> logging.LogRecord:
        entry = original(*args, **kwargs)
        entry.user_id = entry.client = "the application's own"
        return entry

    logging.setLogRecordFactory(make)
    try:
        record(USER_CREATED, user_id=5)
    finally:
        logging.setLogRecordFactory(original)
    assert security_log[0].__dict__["user_id"] == "5"
