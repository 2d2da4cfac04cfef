"""Where throttles, and the pause between mails, are counted: memory, Redis, and what happens when
that is down."""

from __future__ import annotations

import logging
import re
import socket
import sys
import time
from typing import Any

import pytest
from flask import Flask
from flask_limiter import Limiter
from limits import RateLimitItem, RateLimitItemPerMinute

from flask_registration import user_logged_in
from flask_registration.throttling.counters import LOGS, TRIES, MemoryCounters, default_options

from .conftest import Clock
from .flows.common import at_once, log_in, member
from .site import Site
from .stores import Redis, Wire
from .stores import redis_store as redis_store
from .stores import wire as wire
from .tables import each_row
from .test_configuration import problems
from .test_throttles import NewSite, describe, guess, refused

LOGINS = {"login": {"client": "3/minute"}}

#: Seconds after which a storage that is down is tried again, and is logged again.
PAUSE, LOG_PAUSE = TRIES.get_expiry(), LOGS.get_expiry()


@pytest.fixture(params=["memory", "redis"])
def storage(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The configuration of each kind of storage in turn."""
    if request.param == "memory":
        return {"RATELIMIT_ENABLED": True}
    store: Redis = request.getfixturevalue("redis_store")
    return store.config()


def asked(site: Site, times: int = 4) -> list[bool]:
    """Whether logins were refused, one after the other."""
    return [refused(guess(site)) for _ in range(times)]


UNTIL_THREE = [False, False, False, True]

# At once


@each_row("kind", ["client", "account"])
def test_of_fifty_parallel_requests_ten_pass(
    kind: str, storage: dict[str, Any], new_site: NewSite, sqlite_url: str
) -> None:
    site = new_site(sqlite_url, THROTTLES={"login": {kind: "10/minute"}}, config=storage)
    replies = at_once(lambda number: guess(site, ["alice", "ALICE"][number % 2]))
    assert [refused(reply) for reply in replies].count(False) == 10


@each_row("kind", ["fixed-window", "moving-window", "sliding-window-counter"])
def test_each_strategy_of_flask_limiter_holds(
    kind: str, redis_store: Redis, new_site: NewSite, sqlite_url: str
) -> None:
    config = redis_store.config(RATELIMIT_STRATEGY=kind)
    site = new_site(sqlite_url, THROTTLES={"login": {"client": "10/minute"}}, config=config)
    replies = at_once(lambda number: guess(site))
    assert [refused(reply) for reply in replies].count(False) == 10
    assert 1 <= int(guess(site).headers["Retry-After"]) <= 60


def test_redis_says_when_to_come_back(redis_store: Redis, new_site: NewSite) -> None:
    site = new_site(THROTTLES={"login": {"client": "1/hour"}}, config=redis_store.config())
    assert asked(site, 2) == [False, True]
    assert 3000 < int(guess(site).headers["Retry-After"]) <= 3600


def test_of_two_mails_at_once_one_leaves(
    storage: dict[str, Any], new_site: NewSite, sqlite_url: str
) -> None:
    site = new_site(sqlite_url, THROTTLES={}, config=storage)
    member(site)
    replies = at_once(lambda _: site.post("send-reset-password-link", {"login": "alice"}), 10)
    assert [reply.status_code for reply in replies] == [200] * 10
    assert len(site.outbox) == 1


# Several processes


def test_processes_count_together(redis_store: Redis, new_site: NewSite) -> None:
    """Two applications with the same key and the same Redis are to it what two processes of one
    are."""
    first, second = (new_site(THROTTLES=LOGINS, config=redis_store.config()) for _ in range(2))
    assert describe(first) == ("redis", None)
    assert [refused(guess(site)) for site in (first, second, first, second)] == UNTIL_THREE


def test_the_pause_between_mails_is_theirs_together(
    redis_store: Redis, new_site: NewSite, sqlite_url: str
) -> None:
    """For both kinds; and a link that was used in one process lets the next one through in the
    other."""
    first, second = (
        new_site(sqlite_url, THROTTLES={}, config=redis_store.config()) for _ in range(2)
    )
    member(first)
    first.post("send-reset-password-link", {"login": "alice"})
    first.register("alicia", email="alice@example.com")
    link = first.link(-2)
    second.post("send-reset-password-link", {"login": "alice"})
    second.register("alicine", email="alice@example.com")
    assert second.outbox == []
    body = {**link, "password": "a whole new set of words"}
    assert first.post("reset-password", body).status_code == 200
    assert second.post("send-reset-password-link", {"login": "alice"}).status_code == 200
    assert len(second.outbox) == 1


def test_a_mail_that_could_not_be_sent_frees_its_address_for_all(
    redis_store: Redis, new_site: NewSite
) -> None:
    def trouble(request: Any, user: Any, **_: Any) -> None:
        raise OSError("the mail server's own trouble")

    sites = [
        new_site(THROTTLES={}, config=redis_store.config(), **how)
        for how in ({"RESET_PASSWORD_VERIFICATION_EMAIL_SENDER": trouble}, {})
    ]
    for site in sites:
        member(site)
        assert site.post("send-reset-password-link", {"login": "alice"}).status_code == 200
    assert len(sites[1].outbox) == 1


def test_a_reset_opens_the_login_in_every_process(
    redis_store: Redis, new_site: NewSite, sqlite_url: str
) -> None:
    throttles = {"login": {"account": "2/minute;3/hour"}}
    first, second = (
        new_site(sqlite_url, THROTTLES=throttles, config=redis_store.config()) for _ in range(2)
    )
    member(first)
    while not refused(guess(first)):
        pass
    second.post("send-reset-password-link", {"login": "alice"})
    assert (
        second.post(
            "reset-password", {**second.link(), "password": "a whole new set of words"}
        ).status_code
        == 200
    )
    log_in(first, password="a whole new set of words")


def test_applications_with_other_keys_count_apart(redis_store: Redis, new_site: NewSite) -> None:
    for key in ("one key, long enough for anybody", b"another key, long enough for anybody"):
        site = new_site(THROTTLES=LOGINS, config=redis_store.config(SECRET_KEY=key))
        assert asked(site) == UNTIL_THREE


def test_under_test_a_storage_is_left_alone_unless_there_is_a_setting(
    redis_store: Redis, new_site: NewSite
) -> None:
    site = new_site(config=redis_store.config())
    member(site)
    assert describe(site)[0] == "memory"
    assert asked(site) == [False] * 4
    assert site.post("send-reset-password-link", {"login": "alice"}).status_code == 200
    assert len(site.outbox) == 1
    assert redis_store.names() == []


def test_no_name_address_or_client_can_be_read_in_the_storage(
    redis_store: Redis, new_site: NewSite
) -> None:
    site = new_site(THROTTLES={}, config=redis_store.config(RATELIMIT_KEY_PREFIX="mine"))
    site.register("alice")
    guess(site, "alice")
    guess(site, "Alice@Example.com")
    site.verify()
    site.post("send-reset-password-link", {"login": "alice"})
    names = redis_store.names()
    scopes = {name.split("/")[3] for name in names}
    assert scopes == {
        "register",
        "login",
        "verify_registration",
        "send_reset_password_link",
        "mail",
    }
    assert all(
        name.startswith(f"{redis_store.prefix}:LIMITER/mine/registration/") for name in names
    )
    assert all(re.fullmatch("[0-9a-f]{32}", name.split("/")[-4]) for name in names), names
    lists = [name for name in names if redis_store.client.type(name) == "list"]  # moving windows
    values = [redis_store.client.get(name) for name in names if name not in lists]
    values += [redis_store.client.lrange(name, 0, -1) for name in lists]
    assert lists
    kept = " ".join(map(str, [*names, *values])).lower()
    assert not any(each in kept for each in ("alice", "example", "192.0.2", "127.0.0", "@"))


# Whose storage


def test_the_application_s_own_limiter_lends_its_storage(
    redis_store: Redis, new_site: NewSite
) -> None:
    options = {"key_prefix": redis_store.prefix, "socket_timeout": 5}

    def before(app: Flask) -> None:
        limiter = {
            "storage_uri": redis_store.config()["RATELIMIT_STORAGE_URI"],
            "storage_options": options,
        }
        Limiter(lambda: "all", app=app, strategy="moving-window", **limiter)

    site = new_site(THROTTLES=LOGINS, config={"RATELIMIT_ENABLED": True}, before=before)
    assert describe(site)[0] == "redis"
    assert asked(site) == UNTIL_THREE
    (name,) = redis_store.names()
    assert redis_store.client.type(name) == "list"  # that of a moving window


def test_a_limiter_in_memory_is_not_asked(new_site: NewSite) -> None:
    def before(app: Flask) -> None:
        Limiter(lambda: "all", app=app, storage_uri="memory://")

    site = new_site(THROTTLES=LOGINS, config={"RATELIMIT_ENABLED": True}, before=before)
    assert describe(site)[0] == "memory"
    assert asked(site) == UNTIL_THREE


def test_a_memory_that_is_configured_counts_in_fixed_windows(
    new_site: NewSite, clock: Clock
) -> None:
    """As it does where there is no storage."""
    config = {
        "RATELIMIT_ENABLED": True,
        "RATELIMIT_STORAGE_URI": "memory://",
        "RATELIMIT_STRATEGY": "moving-window",
    }
    site = new_site(THROTTLES=LOGINS, config=config)
    assert asked(site, 1) == [False]
    clock.advance(50)
    assert asked(site, 3) == [False, False, True]
    clock.advance(10)
    assert asked(site) == UNTIL_THREE


@each_row(
    ("config", "key", "says"),
    [
        pytest.param(
            {"STORAGE_URI": "radish://x"},
            "STORAGE_URI",
            "unknown storage scheme",
            id="an unknown scheme",
        ),
        pytest.param({"STORAGE_URI": "redis://x:y"}, "STORAGE_URI", "cannot be used", id="no URL"),
        pytest.param(
            {"STORAGE_URI": "async+memory://"}, "STORAGE_URI", "asyncio", id="one for asyncio"
        ),
        pytest.param(
            {"STORAGE_URI": "redis://x", "STRATEGY": "guess"},
            "STRATEGY",
            ", fixed-window, ",
            id="an unknown strategy",
        ),
    ],
)
def test_a_storage_that_cannot_be(config: dict[str, str], key: str, says: str) -> None:
    found = problems(
        {
            "RATELIMIT_ENABLED": True,
            **{f"RATELIMIT_{name}": value for name, value in config.items()},
        }
    )
    assert list(found) == [f"RATELIMIT_{key}"]
    assert says in found[f"RATELIMIT_{key}"]


def test_a_redis_without_its_client_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    found = problems({"RATELIMIT_ENABLED": True, "RATELIMIT_STORAGE_URI": "redis://127.0.0.1"})
    (text,) = found.values()
    assert text.endswith("Redis needs pip install 'Flask-Registration[limits]'.")


@each_row("scheme", ["redis+unix", "rediss", "valkey"])
def test_time_outs_fit_every_kind_of_redis(scheme: str, new_site: NewSite, tmp_path: Any) -> None:
    """Where nothing answers; what the client does not take would be told as another error than
    this."""
    pytest.importorskip("valkey" if scheme == "valkey" else "redis")
    url = (
        f"redis+unix://{tmp_path}/none"
        if scheme == "redis+unix"
        else f"{scheme}://127.0.0.1:{free_port()}"
    )
    site = new_site(
        THROTTLES=LOGINS, config={"RATELIMIT_ENABLED": True, "RATELIMIT_STORAGE_URI": url}
    )
    with logged(site) as records:
        assert asked(site) == UNTIL_THREE
    ((_, error, _),) = (record.exc_info for record in records)
    assert type(error).__name__ == "ConnectionError"


@each_row(
    ("scheme", "expected"),
    [
        *(
            (scheme, {"socket_timeout": 0.5, "socket_connect_timeout": 0.5})
            for scheme in ("redis", "rediss", "valkey")
        ),
        *((scheme, {"socket_timeout": 0.5}) for scheme in ("redis+unix", "valkey+unix")),
        *((scheme, {}) for scheme in ("memcached", "mongodb")),
    ],
)
def test_half_a_second_is_all_that_is_waited_for(scheme: str, expected: dict[str, float]) -> None:
    """No client is asked: those that are installed may have time-outs of their own, or need not be
    there."""
    assert default_options(scheme) == expected


# When it is down


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class logged:
    """What an application logs about its storage within the block."""

    def __init__(self, site: Site) -> None:
        self._logger = site.app.logger
        self._handler = logging.Handler()
        self._records: list[Any] = []
        self._handler.emit = self._records.append  # type: ignore[method-assign,assignment]

    def __enter__(self) -> list[Any]:
        self._logger.addHandler(self._handler)
        return self._records

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self._handler)


def messages(records: list[logging.LogRecord]) -> list[str]:
    return [record.getMessage() for record in records]


DOWN = "The storage of rate limits (redis) is unavailable; each process counts for itself."
BACK = "The storage of rate limits (redis) is available again."


@pytest.fixture
def nobody_listens() -> str:
    return f"redis://127.0.0.1:{free_port()}"


def test_where_nothing_listens_the_process_counts_for_itself(
    nobody_listens: str, new_site: NewSite, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    site = new_site(
        THROTTLES=LOGINS,
        config={"RATELIMIT_ENABLED": True, "RATELIMIT_STORAGE_URI": nobody_listens},
    )
    member(site)
    caplog.set_level(logging.WARNING, "flask_registration.events")
    with logged(site) as records:
        log_in(site)
        assert asked(site) == UNTIL_THREE
        for _ in range(2):
            assert site.post("send-reset-password-link", {"login": "alice"}).status_code == 200
        assert messages(records) == [DOWN]
        clock.advance(LOG_PAUSE)
        assert asked(site) == UNTIL_THREE
        assert messages(records) == [DOWN, DOWN]
    assert len(site.outbox) == 1
    assert caplog.text.count('"event": "sys_throttle_store_down"') == 2
    assert caplog.text.count('"error": "ConnectionError"') == 2


def test_a_cluster_that_is_down_at_the_start_keeps_nobody_from_starting(
    new_site: NewSite, caplog: pytest.LogCaptureFixture
) -> None:
    """It is the one kind that connects as soon as it is made."""
    url = f"redis+cluster://127.0.0.1:{free_port()}"
    caplog.set_level(logging.DEBUG, "tests.site")
    site = new_site(
        THROTTLES=LOGINS, config={"RATELIMIT_ENABLED": True, "RATELIMIT_STORAGE_URI": url}
    )
    not_yet = "The storage of rate limits is not available yet: Redis"
    assert [each for each in caplog.messages if each.startswith(not_yet)]
    with logged(site) as records:
        assert asked(site) == UNTIL_THREE
    assert messages(records) == [DOWN.replace("redis", "redis+cluster")]


def test_a_connection_that_is_cut_and_mended(
    wire: Wire, redis_store: Redis, new_site: NewSite, clock: Clock
) -> None:
    """What Redis had counted counts again when it is back."""
    site = new_site(THROTTLES=LOGINS, config=redis_store.config(wire.url))
    member(site)
    with logged(site) as records:
        assert asked(site, 2) == [False, False]
        wire.cut()
        assert asked(site) == UNTIL_THREE
        log_in(site)
        wire.mend()
        assert refused(guess(site))  # it is left alone for a while
        assert messages(records) == [DOWN]
        clock.advance(PAUSE)
        assert asked(site, 2) == [False, True]
        assert messages(records) == [DOWN, BACK]


def test_a_storage_that_goes_down_and_up_is_not_told_each_time(
    wire: Wire, redis_store: Redis, new_site: NewSite, clock: Clock
) -> None:
    site = new_site(
        THROTTLES={"login": {"client": "100/minute"}}, config=redis_store.config(wire.url)
    )
    with logged(site) as records:
        for _ in range(3):
            guess(site)
            wire.cut()
            guess(site)
            wire.mend()
            clock.advance(PAUSE)
    assert messages(records) == [DOWN, BACK, BACK]


def test_a_redis_that_hangs_is_waited_for_once_in_a_while(
    wire: Wire, redis_store: Redis, new_site: NewSite, clock: Clock
) -> None:
    site = new_site(THROTTLES=LOGINS, config=redis_store.config(wire.url))
    member(site)
    wire.silent = True
    with logged(site) as records:
        log_in(site)
        assert asked(site) == UNTIL_THREE
        assert wire.connections == 1
        clock.advance(PAUSE)
        log_in(site)
        assert refused(guess(site))
        assert wire.connections == 2
        assert messages(records) == [DOWN]
        ((_, error, _),) = (record.exc_info for record in records)
        assert type(error).__name__ == "TimeoutError"


def test_a_redis_that_hangs_is_told_once_by_those_who_wait_at_once_and_tried_again_by_one(
    wire: Wire, redis_store: Redis, new_site: NewSite, clock: Clock, sqlite_url: str
) -> None:
    site = new_site(sqlite_url, THROTTLES=LOGINS, config=redis_store.config(wire.url))
    wire.silent = True
    with logged(site) as records:
        at_once(lambda _: guess(site), 5)
        before = wire.connections
        clock.advance(PAUSE)
        at_once(lambda _: guess(site), 5)
    assert wire.connections == before + 1
    assert messages(records) == [DOWN]


def test_a_storage_that_is_down_is_tried_and_told_anew_when_the_clock_was_set_back(
    wire: Wire, redis_store: Redis, new_site: NewSite, clock: Clock
) -> None:
    site = new_site(THROTTLES=LOGINS, config=redis_store.config(wire.url))
    wire.silent = True
    with logged(site) as records:
        guess(site)
        clock.advance(-1)
        guess(site)
    assert wire.connections == 2
    assert messages(records) == [DOWN, DOWN]


def test_while_it_is_down_two_mails_at_once_are_one(
    nobody_listens: str, new_site: NewSite, sqlite_url: str
) -> None:
    config = {"RATELIMIT_ENABLED": True, "RATELIMIT_STORAGE_URI": nobody_listens}
    site = new_site(sqlite_url, THROTTLES={}, config=config)
    member(site)
    at_once(lambda _: site.post("send-reset-password-link", {"login": "alice"}), 10)
    assert len(site.outbox) == 1


def test_a_reset_opens_the_login_while_it_is_down(
    nobody_listens: str, new_site: NewSite, clock: Clock
) -> None:
    config = {"RATELIMIT_ENABLED": True, "RATELIMIT_STORAGE_URI": nobody_listens}
    site = new_site(THROTTLES={"login": {"account": "2/minute"}}, config=config)
    member(site)
    while not refused(guess(site)):
        pass
    site.post("send-reset-password-link", {"login": "alice"})
    clock.advance(PAUSE)
    assert (
        site.post(
            "reset-password", {**site.link(), "password": "a whole new set of words"}
        ).status_code
        == 200
    )
    clock.advance(PAUSE)
    log_in(site, password="a whole new set of words")


def test_a_clear_that_fails_is_told_as_well(
    wire: Wire, redis_store: Redis, new_site: NewSite, clock: Clock
) -> None:
    """The last thing that a login does is to clear the account's counter."""
    site = new_site(
        THROTTLES={"login": {"account": "2/minute"}}, config=redis_store.config(wire.url)
    )
    member(site)

    def cut(*_: Any, **__: Any) -> None:
        wire.cut()

    with logged(site) as records, user_logged_in.connected_to(cut, site.app):
        log_in(site)
        assert messages(records) == [DOWN]
        wire.mend()
        clock.advance(PAUSE)
    log_in(site)


# Memory


@pytest.fixture
def small_memory(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryCounters, "CAPACITY", 1000)


def hit(counters: MemoryCounters, limit: RateLimitItem, name: str) -> float | None:
    """Count a hit. None if the limit allows it, else the seconds until it will."""
    if counters.hit(limit, name):
        return None
    return counters.get_window_stats(limit, name).reset_time - time.time()


def fill(counters: MemoryCounters, limit: RateLimitItem, hits: int = 1) -> None:
    """Count so many hits of each of other names, one more than there may be counters."""
    for other in range(MemoryCounters.CAPACITY + 1):
        for _ in range(hits):
            assert hit(counters, limit, f"other {other}") is None


@pytest.mark.usefixtures("small_memory")
def test_a_flood_of_names_does_not_make_the_memory_grow_without_end() -> None:
    counters = MemoryCounters()
    for minute in range(3):
        fill(counters, RateLimitItemPerMinute(minute + 2))
    assert len(counters.shared.windows) <= MemoryCounters.CAPACITY


@each_row("amount", [1, 10])
@pytest.mark.usefixtures("small_memory")
def test_a_flood_of_names_makes_no_room_for_another_guess(amount: int) -> None:
    """A limit that is used up stays so; and so does one that other names are further from."""
    counters, limit = MemoryCounters(), RateLimitItemPerMinute(amount)
    for _ in range(amount):
        assert hit(counters, limit, "alice") is None
    for _ in range(amount // 2):
        assert hit(counters, limit, "bob") is None
    for _ in range(2):
        fill(counters, RateLimitItemPerMinute(10), hits=2)
    assert hit(counters, limit, "alice") == 60
    hits = [hit(counters, limit, "bob") for _ in range(amount - amount // 2)]
    assert hits == [None] * len(hits)
    assert hit(counters, limit, "bob") == 60


@pytest.mark.usefixtures("small_memory")
def test_names_that_came_first_make_no_room_for_another_guess_either() -> None:
    counters, limit = MemoryCounters(), RateLimitItemPerMinute(10)
    for number in range(MemoryCounters.CAPACITY - 1):
        assert hit(counters, limit, f"earlier {number}") is None
    for _ in range(9):
        assert hit(counters, limit, "alice") is None
    assert hit(counters, limit, "later") is None  # one counter too many
    assert hit(counters, limit, "alice") is None
    assert hit(counters, limit, "alice") == 60


@pytest.mark.usefixtures("small_memory")
def test_no_limit_that_is_used_up_is_forgotten_for_others(clock: Clock) -> None:
    counters, limit = MemoryCounters(), RateLimitItemPerMinute(1)
    names = [f"name {number}" for number in range(3 * MemoryCounters.CAPACITY)]
    assert {hit(counters, limit, name) for name in names} == {None}
    fill(counters, RateLimitItemPerMinute(10), hits=9)
    assert {hit(counters, limit, name) for name in names} == {60}
    clock.advance(60)
    for minute in range(3):
        fill(counters, RateLimitItemPerMinute(minute + 20))
    assert len(counters.shared.windows) <= MemoryCounters.CAPACITY, (
        "windows that are over were kept"
    )


@pytest.mark.usefixtures("small_memory")
def test_counters_that_are_used_up_take_no_room_from_the_others(clock: Clock) -> None:
    counters, limit = MemoryCounters(), RateLimitItemPerMinute(10)
    for _ in range(9):
        hit(counters, limit, "alice")
    for number in range(3 * MemoryCounters.CAPACITY):
        hit(counters, RateLimitItemPerMinute(1), f"other {number}")
    assert [hit(counters, limit, "alice") for _ in range(2)] == [None, 60]


@pytest.mark.usefixtures("small_memory")
def test_counters_of_windows_that_are_over_go_first(clock: Clock) -> None:
    counters, limit = MemoryCounters(), RateLimitItemPerMinute(1)
    fill(counters, limit)
    clock.advance(60)
    assert hit(counters, limit, "alice") is None
    fill(counters, RateLimitItemPerMinute(10))
    assert hit(counters, limit, "alice") == 60
