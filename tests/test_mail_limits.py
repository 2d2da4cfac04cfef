"""The limits of e-mails to one address, and the budget of what clients without a login cause."""

from __future__ import annotations

import logging
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask.cli import ScriptInfo
from redis.connection import AbstractConnection
from sqlalchemy.orm.exc import StaleDataError

from benchmarks.mail_flood import by_one_client, to_one_address
from flask_registration import DEFAULT_FLOWS, ChallengeMixin, actions
from flask_registration.cli import registration_cli
from flask_registration.flows import codes, mail_login, sign_up
from flask_registration.mail.limits import LINK, NOTICE, MailLimits
from flask_registration.throttling.counters import Counters
from flask_registration.throttling.devices import Devices
from flask_registration.throttling.throttles import parse
from flask_registration.users.store import UserStore

from .conftest import Clock
from .flows.common import at_once, log_in, member
from .site import Site
from .stores import Redis
from .stores import redis_store as redis_store
from .tables import each_row
from .test_configuration import problems
from .test_throttles import NewSite

DEFAULT = "1/minute;5/hour;10/day"
MINUTE, HOUR, DAY = 60, 3600, 86400
ALICE = "alice@example.com"


def limits_of(text: str | None) -> MailLimits:
    """Limits in the memory of the process."""
    counters = Counters(Flask("tests.site"))
    no_devices = Devices(list, timedelta())
    return MailLimits(counters.with_windows(sliding=True), parse(text), no_devices)


def define_challenge(db: Any) -> type[Any]:
    return type("Challenge", (ChallengeMixin, db.Model), {})


@pytest.fixture
def make(new_site: NewSite) -> NewSite:
    """Make an application with every flow that sends an e-mail to an address of any client."""

    def make(*args: Any, **settings: Any) -> Site:
        flows = [*DEFAULT_FLOWS, sign_up.flow, mail_login.flow, codes.flow]
        return new_site(*args, flows=flows, challenge_model=define_challenge, **settings)

    return make


# Moving windows


@each_row(
    ("seconds", "admitted"),
    [
        pytest.param(0, False, id="at once"),
        pytest.param(59.9, False, id="just before the time is over"),
        pytest.param(60, True, id="when the time is over"),
        pytest.param(-1, True, id="when the clock was set back"),
    ],
)
def test_an_address_is_admitted_again(clock: Clock, seconds: float, admitted: bool) -> None:
    limits = limits_of(DEFAULT)
    assert limits.admit(ALICE, LINK)
    clock.advance(seconds)
    assert limits.admit(ALICE, LINK) is admitted
    assert limits.admit("b@example.com", LINK)


def test_a_refusal_does_not_make_it_longer(clock: Clock) -> None:
    limits = limits_of(DEFAULT)
    assert limits.admit(ALICE, LINK)
    clock.advance(59)
    assert not limits.admit(ALICE, LINK)
    clock.advance(1)
    assert limits.admit(ALICE, LINK)


def test_each_email_leaves_the_window_at_its_own_time(clock: Clock) -> None:
    limits = limits_of("3/hour")
    start = clock.now
    for minute in (0, 40, 50):
        clock.now = start + minute * MINUTE
        assert limits.admit(ALICE, LINK, is_reserved=True)
    for minute, admitted in ((59, False), (60, True), (61, False), (99, False), (100, True)):
        clock.now = start + minute * MINUTE
        assert limits.admit(ALICE, LINK, is_reserved=True) is admitted


@each_row("seconds", [1, 30, MINUTE, HOUR, 5 * HOUR])
def test_whatever_the_pace_no_24_hours_have_more_than_ten(clock: Clock, seconds: int) -> None:
    limits = limits_of(DEFAULT)
    start, sent = clock.now, []
    while clock.now < start + (2 * DAY if seconds >= MINUTE else 2 * HOUR):
        if limits.admit(ALICE, LINK, is_reserved=True):
            sent.append(clock.now)
        clock.advance(seconds)
    for limit in parse(DEFAULT):
        period = limit.get_expiry()
        assert max(sum(at <= each < at + period for each in sent) for at in sent) <= limit.amount


def test_an_address_that_is_forgotten_is_admitted_at_once(clock: Clock) -> None:
    limits = limits_of(DEFAULT)
    limits.forget(ALICE)
    for address in (ALICE, "b@example.com"):
        assert limits.admit(address, LINK)
    limits.forget(ALICE)
    assert limits.admit(ALICE, LINK)
    assert not limits.admit("b@example.com", LINK)


def test_what_is_forgotten_still_counts_for_the_hour_and_the_day(clock: Clock) -> None:
    limits = limits_of(DEFAULT)
    for _ in range(2):
        for _ in range(5):
            assert limits.admit(ALICE, LINK, is_reserved=True)
            limits.forget(ALICE)
        assert not limits.admit(ALICE, LINK, is_reserved=True)
        clock.advance(HOUR)
    assert not limits.admit(ALICE, LINK, is_reserved=True)
    clock.advance(DAY)
    assert limits.admit(ALICE, LINK)


def test_what_is_no_text_is_an_address_like_any_other(clock: Clock) -> None:
    limits = limits_of(DEFAULT)
    for address in ("\ud800@example.com", "\udfff@example.com"):
        assert limits.admit(address, LINK)
        assert not limits.admit(address, LINK)


def test_spellings_of_an_address_count_together(clock: Clock) -> None:
    limits = limits_of(DEFAULT)
    assert limits.admit(ALICE, LINK)
    assert not limits.admit("Alice@Example.com", LINK)
    limits.forget("ALICE@example.com")
    assert limits.admit(ALICE, LINK)


def test_each_kind_of_e_mail_counts_by_itself(clock: Clock) -> None:
    limits = limits_of(DEFAULT)
    for kind in (LINK, NOTICE):
        assert limits.admit(ALICE, kind)
        assert not limits.admit(ALICE, kind)
    limits.forget(ALICE)
    assert [limits.admit(ALICE, kind) for kind in (LINK, NOTICE)] == [True, False]


@each_row("text", [DEFAULT, "1/2 days"])
def test_a_notice_is_sent_once_a_day_at_most(clock: Clock, text: str) -> None:
    limits = limits_of(text)
    assert limits.admit(ALICE, NOTICE)
    clock.advance(DAY - 1)
    assert not limits.admit(ALICE, NOTICE)
    clock.advance(1)
    assert limits.admit(ALICE, NOTICE)
    limits.forget(ALICE, NOTICE)  # it could not be sent
    assert limits.admit(ALICE, NOTICE)


def test_without_limits_every_email_is_sent(clock: Clock) -> None:
    limits = limits_of(None)
    assert [limits.admit(ALICE, kind) for kind in (LINK, NOTICE) * 20] == [True] * 40


# The reserve


@each_row(
    ("text", "others", "reserved"),
    [(DEFAULT, 8, 2), ("10/day", 8, 2), ("1/day", 1, 0), ("2/day", 1, 1), ("3/day", 1, 2)],
)
def test_the_last_two_are_kept_for_those_that_log_in(
    clock: Clock, text: str, others: int, reserved: int
) -> None:
    limits = limits_of(text)
    sent = {False: 0, True: 0}
    for is_reserved in (False, True):
        for _ in range(20):
            sent[is_reserved] += limits.admit(ALICE, LINK, is_reserved=is_reserved)
            clock.advance(20 * MINUTE)
    assert sent == {False: others, True: reserved}


def test_emails_that_are_refused_take_nothing_of_the_reserve(clock: Clock) -> None:
    """Strangers who ask all the time do not use up the limit of the minute or of the hour."""
    limits = limits_of(DEFAULT)
    for _ in range(4 * 60):
        limits.admit(ALICE, LINK)
        clock.advance(MINUTE)
    limits.admit(ALICE, LINK)
    assert limits.admit(ALICE, LINK, is_reserved=True)


def test_a_reset_is_possible_after_registrations_of_others(make: NewSite, clock: Clock) -> None:
    site = make()
    member(site)
    for _ in range(20):
        assert site.post("sign-up", {"email": ALICE}).status_code == 200
        clock.advance(15 * MINUTE)
    assert len(site.outbox) == 8
    for endpoint in ("send-reset-password-link", "send-login-link", "send-login-link"):
        assert site.post(endpoint, {"email": ALICE}).status_code == 200
        clock.advance(MINUTE)
    assert len(site.outbox) == 10
    assert site.post("reset-password", {**site.link(-2), "password": "a whole new one"}).json


@each_row("endpoint", ["send-reset-password-link", "send-login-link"])
def test_requests_of_others_use_up_no_email_of_a_browser_that_has_logged_in(
    make: NewSite, clock: Clock, endpoint: str
) -> None:
    site = make()
    member(site)
    browser, ask = log_in(site), {"email": ALICE}
    for _ in range(20):
        site.post(endpoint, ask)
        clock.advance(15 * MINUTE)
    assert len(site.outbox) == 10
    for _ in range(2):  # the second one waits for the pause of this browser
        assert site.post(endpoint, ask, client=browser).status_code == 200
        assert len(site.outbox) == 11
    clock.advance(MINUTE)
    site.post("sign-up", ask, client=browser)
    assert len(site.outbox) == 11, "only e-mails to log in have a count of their own"
    member(site, "bob")
    for client in (None, browser, browser):  # alice's browser is a stranger to bob
        site.post(endpoint, {"email": "bob@example.com"}, client=client)
        assert len(site.outbox) == 12
    for _ in range(40):
        site.post(endpoint, ask, client=browser)
        clock.advance(15 * MINUTE)
    assert len(site.outbox) == 12 + 9


def test_all_known_devices_of_an_account_together_have_the_emails_of_one(
    make: NewSite, clock: Clock
) -> None:
    """Else a thief of the password collects devices, and floods the address for a year."""
    site = make()
    user = member(site)
    browsers = [log_in(site) for _ in range(3)]
    site.change(user, password_hash="!")
    for browser in browsers:
        site.post("send-reset-password-link", {"email": ALICE}, client=browser)
    assert len(site.outbox) == 1
    for number in range(60):
        clock.advance(15 * MINUTE)
        site.post("send-reset-password-link", {"email": ALICE}, client=browsers[number % 3])
    assert len(site.outbox) == 10


def test_a_browser_that_has_verified_no_address_has_no_emails_of_its_own(
    new_site: NewSite, clock: Clock
) -> None:
    """Else each browser of someone who registered with an address sends ten more e-mails there."""
    site = new_site(REGISTER_VERIFICATION_ENABLED=False, MAIL_LIMITS=DEFAULT)
    site.register("mallory", email=ALICE)
    for _ in range(2):
        browser = log_in(site, "mallory")
        site.post("send-reset-password-link", {"email": ALICE}, client=browser)
    assert len(site.outbox) == 1


@each_row("username", [ALICE, f"email {ALICE}", f"email\n{ALICE}"])
def test_no_login_name_makes_a_browser_known_for_the_address_of_another_account(
    make: NewSite, username: str
) -> None:
    site = make(USERNAME_PATTERN=r"[\s\S]+")
    member(site)
    mallory = member(site, "mallory")
    site.change(mallory, username=username, username_key=username.lower())
    browser = log_in(site, username)
    for client in (None, browser, browser):
        site.post("send-reset-password-link", {"email": ALICE}, client=client)
    assert len(site.outbox) == 1


def test_all_flows_count_together(make: NewSite) -> None:
    site = make()
    site.register("alice")
    for endpoint in ("resend-verification", "send-reset-password-link", "send-login-link"):
        assert site.post(endpoint, {"email": ALICE}).status_code == 200
    site.post("sign-up", {"email": ALICE})
    site.register("alicia", email=ALICE)
    assert len(site.outbox) == 1


@each_row("failures", [1, 3])
def test_an_email_whose_transaction_is_retried_counts_once(
    make: NewSite, clock: Clock, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    site = make()
    member(site)
    commit, attempts = UserStore.commit, count()

    def fail(store: UserStore) -> None:
        if next(attempts) % (failures + 1) < failures:
            raise StaleDataError("Another transaction was first.")
        commit(store)

    monkeypatch.setattr(UserStore, "commit", fail)
    for sent in (1, 2, 3, 4, 5, 5):
        assert site.post("send-reset-password-link", {"login": "alice"}).status_code == 200
        assert len(site.outbox) == sent
        assert site.post("send-reset-password-link", {"login": "alice"}).status_code == 200
        assert len(site.outbox) == sent  # the pause of a minute holds as well
        clock.advance(MINUTE)


def test_an_email_change_counts_for_the_new_address(make: NewSite, clock: Clock) -> None:
    site = make(MAIL_BUDGET="1/day")
    for name in ("bob", "carol"):
        member(site, name)
        client = log_in(site, name)
        reply = site.post("register-email", {"email": ALICE}, client=client)
        assert reply.status_code == 200
    to = [mail.recipients[0] for mail in site.outbox]
    assert to == ["bob@example.com", ALICE, "carol@example.com"]
    assert site.post("sign-up", {"email": "new@example.com"}).status_code == 200


def test_testing_does_not_switch_them_off(new_site: NewSite) -> None:
    for text, sent in ((DEFAULT, 1), (None, 5)):
        site = new_site(**({} if text == DEFAULT else {"MAIL_LIMITS": text}))
        assert site.app.testing
        member(site)
        for _ in range(5):
            site.post("send-reset-password-link", {"login": "alice"})
        assert len(site.outbox) == sent


# The flood


@each_row(
    ("account", "notices"),
    [("none", 0), ("pending", 0), ("verified", 1)],
    ids=lambda each: str(each),
)
def test_strangers_cause_ten_emails_and_a_notice_a_day(account: str, notices: int) -> None:
    assert to_one_address(account, days=1, step=2 * HOUR) == (10, notices)


def test_a_budget_bounds_what_one_client_causes_to_others() -> None:
    assert by_one_client("sign-up", "register", seconds=HOUR, MAIL_BUDGET="7/hour") == 7


# The tries of codes


@each_row(
    ("settings", "emails"),
    [
        ({}, 10),
        ({"MAIL_LIMITS": "3/day"}, 3),
        ({"MAIL_LIMITS": "2/hour;100/day"}, 48),
        ({"MAIL_LIMITS": "1/20 minutes;4/2 days"}, 4),
        ({"MAIL_LIMITS": None}, 10),
        ({"MAIL_LIMITS": None, "CODE_TRIES": 10}, 3),
        ({"CODE_TRIES": 10}, 10),
    ],
    ids=str,
)
def test_the_codes_of_a_day_are_as_many_as_its_emails(
    make: NewSite, clock: Clock, settings: dict[str, Any], emails: int
) -> None:
    """Also where another process counts the e-mails of its own."""
    site = make(VERIFICATION_METHOD="code", **settings)
    member(site)
    for _ in range(emails + 1):
        site.post("send-reset-password-link", {"login": "alice"})
        site.app.extensions["registration"].throttles.counters.memory.shared.windows.clear()
    assert len(site.outbox) == emails


# The budget

#: Each endpoint that a client without a login can use to cause an e-mail.
ENDPOINTS = [
    "register",
    "resend-verification",
    "send-reset-password-link",
    "send-login-link",
    "sign-up",
]


def ask(site: Site, endpoint: str, name: str) -> Any:
    email = {"email": f"{name}@example.com"}
    return site.register(name) if endpoint == "register" else site.post(endpoint, email)


@each_row("endpoint", ENDPOINTS)
def test_over_the_budget_each_endpoint_is_throttled_before_it_reads_an_account(
    make: NewSite, endpoint: str
) -> None:
    site = make(MAIL_BUDGET="2/hour")
    member(site)
    replies = [ask(site, endpoint, f"stranger{number}") for number in range(2)]
    assert {reply.status_code for reply in replies} <= {200, 201}
    site.outbox.clear()
    site.assert_uniform_answers(
        known=lambda: ask(site, endpoint, "alice"), unknown=lambda: ask(site, endpoint, "zoe")
    )
    with site.statements() as statements:
        reply = ask(site, endpoint, "alice")
    assert (reply.status_code, reply.get_json()["code"]) == (429, "throttled")
    assert 0 < int(reply.headers["Retry-After"]) <= HOUR
    assert (statements, site.outbox) == ([], [])


def test_the_budget_is_one_for_all_endpoints_and_clients(make: NewSite, clock: Clock) -> None:
    site = make(MAIL_BUDGET="3/hour;5/day")
    statuses = [ask(site, "sign-up", f"stranger{number}").status_code for number in range(2)]
    statuses += [ask(site, endpoint, "zoe").status_code for endpoint in ENDPOINTS]
    assert statuses == [200, 200, 201, 429, 429, 429, 429]
    clock.advance(HOUR)
    assert [ask(site, "sign-up", f"bob{number}").status_code for number in range(3)] == [
        200,
        200,
        429,
    ]


@each_row(
    ("endpoint", "body"),
    [
        pytest.param("sign-up", {"email": "no address"}, id="an invalid address"),
        pytest.param("sign-up", {}, id="nothing"),
        pytest.param("login", {"login": "zoe", "password": "wrong"}, id="a login"),
        pytest.param("verify-registration", {"signature": "forged"}, id="a link"),
    ],
)
def test_a_request_that_causes_no_email_does_not_count(
    make: NewSite, endpoint: str, body: dict[str, str]
) -> None:
    site = make(MAIL_BUDGET="1/hour")
    if body.get("email") == "no address":
        body = {"email": ["no address"]}  # type: ignore[dict-item]
    for _ in range(3):
        assert site.post(endpoint, body).status_code in (400, 401)
    assert ask(site, "sign-up", "zoe").status_code == 200


def test_a_login_and_what_needs_one_are_never_refused_by_the_budget(make: NewSite) -> None:
    site = make(MAIL_BUDGET="1/day")
    member(site)
    assert [ask(site, "sign-up", name).status_code for name in ("zoe", "yan")] == [200, 429]
    client = log_in(site)
    body = {"email": "new@example.com"}
    assert site.post("register-email", body, client=client).status_code == 200
    with site.app.app_context():
        actions.send_reset_password_link(login="alice")  # of a script, without a client


def test_registrations_without_verification_cause_no_email(new_site: NewSite) -> None:
    site = new_site(MAIL_BUDGET="1/day", REGISTER_VERIFICATION_ENABLED=False)
    assert [site.register(name).status_code for name in ("alice", "bob")] == [201, 201]


def crossings(log: list[logging.LogRecord]) -> list[Any]:
    return [
        each.__dict__["details"]["limit"]
        for each in log
        if each.__dict__["event"] == "excess_mail_budget_exceeded"
    ]


def test_each_time_it_is_exceeded_is_logged_once(
    make: NewSite,
    clock: Clock,
    security_log: list[logging.LogRecord],
    caplog: pytest.LogCaptureFixture,
) -> None:
    site = make(MAIL_BUDGET="2/hour")
    for number in range(3):
        assert ask(site, "sign-up", f"first{number}").status_code == 200
        assert ask(site, "sign-up", f"second{number}").status_code == 200
        clock.advance(10 * MINUTE)
        for _ in range(5):
            assert ask(site, "sign-up", "alice").status_code == 429
        assert crossings(security_log) == ["2 per 1 hour"] * (number + 1)
        clock.advance(50 * MINUTE)
    lines = [each.getMessage() for each in caplog.records if "budget of e-mails" in each.message]
    assert len(lines) == 3
    assert "2 per 1 hour" in lines[0]
    assert "for 3000 seconds" in lines[0]


# Redis


def test_processes_count_emails_and_the_budget_together(
    make: NewSite, redis_store: Redis, security_log: list[logging.LogRecord]
) -> None:
    settings = {"THROTTLES": {}, "MAIL_BUDGET": "4/hour", "config": redis_store.config()}
    first, second = make(**settings), make(**settings)
    for site in (first, second):
        member(site)
        site.post("send-login-link", {"login": "alice"})
    assert [len(site.outbox) for site in (first, second)] == [1, 0]
    for site in (first, second):
        assert ask(site, "sign-up", "alice").status_code == 200
    for site in (first, second, first, second):
        assert ask(site, "sign-up", "zoe").status_code == 429
    assert crossings(security_log) == ["4 per 1 hour"]
    with second.app.app_context():
        assert actions.lift_mail_budget()
        assert not actions.lift_mail_budget()
    for site in (first, second, first, second):
        assert ask(site, "sign-up", "zoe").status_code == 200
    assert ask(first, "sign-up", "zoe").status_code == 429
    assert crossings(security_log) == ["4 per 1 hour"] * 2


@each_row("strategy", ["fixed-window", "moving-window", "sliding-window-counter"])
def test_windows_move_in_redis(
    new_site: NewSite, redis_store: Redis, clock: Clock, strategy: str
) -> None:
    config = redis_store.config(RATELIMIT_STRATEGY=strategy, RATELIMIT_KEY_PREFIX=strategy)
    site = new_site(THROTTLES={}, MAIL_LIMITS="1/minute;3/hour", config=config)
    member(site)
    start, sent = clock.now, []
    for minute in (0, 40, 50, 59, 61, 63, 99, 101):
        clock.now = start + minute * MINUTE
        site.post("send-reset-password-link", {"login": "alice"})
        sent.append(len(site.outbox))
    assert sent == [1, 2, 3, 3, 4, 4, 4, 5]


def test_of_many_emails_at_once_one_is_sent_and_the_others_count_for_nothing(
    new_site: NewSite, redis_store: Redis, sqlite_url: str
) -> None:
    site = new_site(sqlite_url, THROTTLES={}, config=redis_store.config())
    member(site)
    replies = at_once(lambda _: site.post("send-reset-password-link", {"login": "alice"}), 12)
    assert [reply.status_code for reply in replies] == [200] * 12
    assert len(site.outbox) == 1
    limits = site.app.extensions["registration"].mailer.limits
    key = limits.counters._key("mail/link", ALICE)
    left = [limits.counters.limiter.get_window_stats(each, key)[1] for each in parse(DEFAULT)]
    assert left == [0, 4, 9]


def test_an_email_that_is_refused_costs_as_many_queries(
    new_site: NewSite, redis_store: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the time of a response would tell a known account from an unknown one."""
    site = new_site(THROTTLES={}, config=redis_store.config())
    member(site)
    commands: list[Any] = []
    send = AbstractConnection.send_packed_command

    def count(self: Any, command: Any, **options: Any) -> None:
        commands.append(command)
        send(self, command, **options)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(AbstractConnection, "send_packed_command", count)
    counts = []
    for login in ("bob", "alice", "alice", "bob", "bob"):
        site.post("send-reset-password-link", {"login": login})
        counts.append(len(commands))
        commands.clear()
    assert len(site.outbox) == 1
    assert len(set(counts[1:])) == 1, "the first one loads scripts"


# The commands


def run(site: Site, *arguments: str) -> Result:
    info = ScriptInfo(create_app=lambda: site.app, set_debug_flag=False)
    return CliRunner().invoke(registration_cli, arguments, obj=info)


def test_the_status_shows_the_budget_and_a_command_lifts_it(
    make: NewSite, redis_store: Redis, clock: Clock
) -> None:
    settings = {"MAIL_BUDGET": "2/hour;50/day", "config": redis_store.config()}
    site, shell = make(THROTTLES={}, **settings), make(THROTTLES={}, **settings)
    line = f"limits of one e-mail address: {DEFAULT}\n"
    shown = "budget: 2 per 1 hour, {}\nbudget: 50 per 1 day, {}\n"
    assert run(shell, "status").output == line + shown.format("2 left", "50 left")
    assert run(shell, "lift-mail-budget").output == "The budget is not exceeded. Nothing changed.\n"
    for _ in range(3):
        ask(site, "sign-up", "zoe")
    output = run(shell, "status").output
    assert output.startswith(line + "budget: 2 per 1 hour, exceeded for another ")
    assert output.endswith("budget: 50 per 1 day, 48 left\n")
    assert run(shell, "lift-mail-budget").output == "Lifted the budget of e-mails.\n"
    assert ask(site, "sign-up", "zoe").status_code == 200


def test_without_a_shared_storage_a_command_cannot_lift_it(make: NewSite) -> None:
    site = make(MAIL_BUDGET="1/hour", MAIL_LIMITS=None)
    assert run(site, "status").output == (
        "limits of one e-mail address: none\nbudget: 1/hour, counted by each process\n"
    )
    result = run(site, "lift-mail-budget")
    assert result.exit_code == 1
    assert "RATELIMIT_STORAGE_URI" in result.output
    for status in (200, 429):
        assert ask(site, "sign-up", "zoe").status_code == status
    with site.app.app_context():  # of an admin view in the process
        assert actions.lift_mail_budget()
    assert ask(site, "sign-up", "zoe").status_code == 200


def test_without_a_budget_there_is_nothing_to_lift(site: Site) -> None:
    assert run(site, "status").output.endswith("\nbudget: none\n")
    result = run(site, "lift-mail-budget")
    assert (result.exit_code, result.output) == (
        1,
        "REGISTRATION_MAIL_BUDGET is not set. It refuses no request.\n",
    )
    with site.app.app_context():
        assert not actions.lift_mail_budget()


# The settings


@each_row("name", ["MAIL_LIMITS", "MAIL_BUDGET"])
@each_row("value", [60, "", "10", "often", "0/day"])
def test_what_is_no_limit_is_an_error(name: str, value: Any) -> None:
    found = problems({f"REGISTRATION_{name}": value})
    assert list(found) == [f"REGISTRATION_{name}"]
    assert f"is {value!r}, but must be" in found[f"REGISTRATION_{name}"]


def test_the_earlier_setting_names_the_one_that_replaces_it() -> None:
    (text,) = problems({"REGISTRATION_MAIL_COOLDOWN": 60}).values()
    assert "is not a setting" in text
    assert "Set REGISTRATION_MAIL_LIMITS" in text
