"""Gates: what is asked before a registration, and the two kinds that are shipped."""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

import altcha
import pytest
from flask import Flask, request
from limits.storage import MemoryStorage
from marshmallow import RAISE, Schema, fields
from sqlalchemy import String
from sqlalchemy.orm import mapped_column
from werkzeug.test import TestResponse

from flask_registration import (
    DEFAULT_FLOWS,
    ConfigurationError,
    Flow,
    GateRefused,
    Settings,
    actions,
    gate,
)
from flask_registration.flows import mail_login, sign_up
from flask_registration.gate import ProofOfWork, SiteVerify
from flask_registration.testing import Accounts

from .conftest import Clock
from .faults.database import Faults, deadlock
from .flows.common import NewSite, at_once, member
from .site import PASSWORD, Site, mixin_and
from .stores import Redis, Wire
from .stores import redis_store as redis_store
from .stores import wire as wire
from .tables import each_row
from .test_configuration import problems
from .test_findings import check
from .test_steps import define_challenge

FLOWS = [*DEFAULT_FLOWS, sign_up.flow, mail_login.flow, gate.flow]
ALICE = {"email": "alice@example.com"}
REQUIRED = (400, "captcha-required")
INVALID = (400, "captcha-invalid")
OK = (200, None)

#: What a person's computer does in a moment.
CHEAP = ProofOfWork(cost=1, tries=2)


class Recorder:
    """A gate that keeps what it was asked, and lets pass what says ``human``."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []

    def __call__(self, request: Any, *, endpoint: str, **kwargs: Any) -> None:
        self.asked.append((endpoint, kwargs["captcha"]))
        if kwargs["captcha"] != "human":
            raise GateRefused


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def make(new_site: NewSite) -> Any:
    """Make an application with everything that a gate can be before."""

    def make(*args: Any, **settings: Any) -> Site:
        given = {"flows": FLOWS, "challenge_model": define_challenge, "MAIL_LIMITS": None}
        return new_site(*args, **{**given, "GATE": CHEAP, **settings})

    return make


def challenge(site: Site) -> dict[str, Any]:
    reply = site.app.test_client().get("/accounts/challenge/")
    assert reply.status_code == 200
    body: dict[str, Any] = reply.get_json()
    return body


def payload(given: dict[str, Any]) -> dict[str, Any]:
    """Solve a challenge, as the widget does."""
    of_altcha = altcha.Challenge.from_dict(given)
    solution = altcha.solve_challenge(of_altcha)
    assert solution is not None
    return altcha.Payload(of_altcha, solution).to_dict()


def encoded(content: Any) -> str:
    return base64.b64encode(json.dumps(content).encode()).decode()


def solved(site: Site) -> str:
    return encoded(payload(challenge(site)))


def ask(site: Site, captcha: Any = None, **body: Any) -> TestResponse:
    """Sign up."""
    given = {} if captcha is None else {"captcha": captcha}
    return site.post("sign-up", {**ALICE, **given, **body})


def seen(reply: TestResponse) -> tuple[int, str | None]:
    return reply.status_code, (reply.get_json() or {}).get("code")


# The gate of an application


def test_it_is_asked_by_the_endpoints_that_cost_e_mail_or_hashing(
    make: NewSite, recorder: Recorder
) -> None:
    site = make(GATE=recorder, URL_PREFIX="/api/v2")
    client = site.app.test_client()
    for endpoint in site.app.extensions["registration"].actions.values():
        for path in {endpoint.endpoint.path, endpoint.endpoint.path.rstrip("/")}:
            for method in endpoint.endpoint.methods:
                reply = client.open(
                    "/api/v2" + path.replace("<id>", "1"), method=method, json={"captcha": "robot"}
                )
                is_asked = len(recorder.asked) > 0
                assert (seen(reply) == INVALID) == is_asked, path
                assert recorder.asked in ([], [(endpoint.name, "robot")])
                assert is_asked == (
                    endpoint.name
                    in {
                        "register",
                        "resend_verification",
                        "send_login_link",
                        "send_reset_password_link",
                        "sign_up",
                    }
                )
                recorder.asked.clear()


@each_row(
    ("captcha", "expected"),
    [
        (None, REQUIRED),
        ("", REQUIRED),
        ("robot", INVALID),
        (1, INVALID),
        (1.5, INVALID),
        (True, INVALID),
        ([], REQUIRED),
        (["human"], INVALID),
        ({"captcha": "human"}, INVALID),
        ("human", OK),
    ],
    ids=str,
)
def test_it_receives_a_string_or_none(
    captcha: Any, expected: tuple[int, str | None], make: NewSite, recorder: Recorder
) -> None:
    site = make(GATE=recorder)
    assert seen(site.post("sign-up", {**ALICE, "captcha": captcha})) == expected
    assert {type(given) for _, given in recorder.asked} <= {str, type(None)}


@each_row("captcha", [1, 1.5, True, [], {}, ["human"], {"captcha": "human"}, "\ud800"], ids=ascii)
@each_row("gated", [{"GATE_WHEN": "throttled"}, {"GATE": lambda request, **kwargs: None}])
def test_what_no_gate_receives_is_refused_where_none_asks_for_it(
    gated: dict[str, Any], captcha: Any, make: NewSite, recorder: Recorder
) -> None:
    site = make(**{"GATE": recorder, **gated})
    assert seen(site.post("sign-up", {**ALICE, "captcha": captcha})) == INVALID
    assert seen(site.post("sign-up", {**ALICE, "captcha": None})) == OK
    assert recorder.asked == []


@each_row("captcha", ["\ud800", "human\0"], ids=ascii)
def test_it_receives_no_characters_that_its_service_cannot_read(
    captcha: str, make: NewSite, recorder: Recorder
) -> None:
    site = make(GATE=recorder)
    assert seen(ask(site, captcha)) == INVALID
    assert recorder.asked == []


def test_it_receives_the_request(make: NewSite) -> None:
    found = []

    def look(request: Any, *, endpoint: str, **kwargs: Any) -> None:
        found.append((request.path, request.headers["X-Tag"], endpoint))

    site = make(GATE=look)
    assert site.post("sign-up", ALICE, headers={"X-Tag": "a"}).status_code == 200
    assert found == [("/accounts/sign-up/", "a", "sign_up")]


def test_it_may_say_why_it_refuses(make: NewSite) -> None:
    def refuse(request: Any, **kwargs: Any) -> None:
        raise GateRefused("Not from there.")

    site = make(GATE=refuse)
    assert ask(site, "x").get_json() == {"code": "captcha-invalid", "detail": "Not from there."}
    reply = ask(site, headers={"Accept": "application/problem+json"})
    assert reply.get_json()["code"] == "captcha-required"


def test_it_is_asked_before_the_body_is_validated_and_before_any_query(
    make: NewSite, recorder: Recorder
) -> None:
    site = make(GATE=recorder)
    with site.statements() as statements:
        assert seen(site.post("register", {"captcha": "robot"})) == INVALID
    assert statements == []
    assert "username" in site.post("register", {"captcha": "human"}).get_json()
    assert len(recorder.asked) == 2
    assert seen(site.post("register", data="{", content_type="application/json"))[0] == 400
    assert site.post("register", data={"captcha": "human"}).status_code == 415
    assert len(recorder.asked) == 2


def test_it_is_asked_once_for_a_request_that_is_retried(
    make: NewSite, recorder: Recorder, postgresql_url: str
) -> None:
    site = make(postgresql_url, GATE=recorder)
    faults = Faults(site, deadlock)
    faults.arm(1, times=3)
    assert seen(ask(site, "human")) == OK
    assert len(faults.hits) == 3
    assert len(recorder.asked) == 1


def strict_schema(name: str) -> type[Schema]:
    class Strict(Schema):
        class Meta:
            unknown = RAISE

        username = fields.String()
        email = fields.String()
        password = fields.String()

    return type(name, (Strict,), {})


def test_captcha_is_no_unknown_field_and_reaches_no_model(
    make: NewSite, recorder: Recorder
) -> None:
    strict = {"REGISTER_SCHEMA_CLASS": strict_schema("Strict")}
    body = {"username": "alice", **ALICE, "password": PASSWORD, "captcha": "human"}
    assert make(GATE=recorder, **strict).post("register", body).status_code == 201
    assert "captcha" in make(GATE=None, **strict).post("register", body).get_json()
    site = make(
        GATE=recorder,
        define=mixin_and(captcha=lambda: mapped_column(String(40))),
        USER_PUBLIC_FIELDS=["id", "username", "captcha"],
        USER_EDITABLE_FIELDS=["captcha"],
    )
    reply = site.register(captcha="human")
    assert reply.status_code == 201
    assert site.user().captcha is None


def test_outside_a_request_it_is_not_asked(make: NewSite, recorder: Recorder) -> None:
    site = make(GATE=recorder)
    with site.app.app_context():
        actions.sign_up("alice@example.com")
        actions.register(username="bob", email="bob@example.com", password=PASSWORD)
    assert recorder.asked == []
    assert len(site.outbox) == 2


def test_an_action_in_a_form_view_takes_the_field_of_the_form(
    make: NewSite, recorder: Recorder
) -> None:
    site = make(GATE=recorder)

    def of_form() -> str:
        actions.sign_up(request.form["email"])
        return "sent"

    def of_argument() -> str:
        actions.sign_up(request.form["email"], captcha=request.form["frc-captcha-response"])
        return "sent"

    def of_fields() -> str:
        actions.send_reset_password_link(**request.form.to_dict())
        return "sent"

    for view in (of_form, of_argument, of_fields):
        site.app.add_url_rule(f"/{view.__name__}", view_func=view, methods=["POST"])
    client = site.app.test_client()
    site.app.register_error_handler(GateRefused, lambda error: (error.code, error.status))
    assert client.post("/of_form", data=ALICE).text == "captcha-required"
    assert client.post("/of_form", data={**ALICE, "captcha": "robot"}).text == "captcha-invalid"
    assert client.post("/of_form", data={**ALICE, "captcha": "human"}).text == "sent"
    named = {**ALICE, "frc-captcha-response": "human"}
    assert client.post("/of_argument", data=named).text == "sent"
    assert client.post("/of_fields", data={"login": "alice", "captcha": "human"}).text == "sent"
    assert [endpoint for endpoint, _ in recorder.asked][-1] == "send_reset_password_link"


def test_an_endpoint_of_an_application_can_be_gated(make: NewSite, recorder: Recorder) -> None:
    contact: Flow[Settings] = Flow("contact", Settings)

    class Letter(Schema):
        text = fields.String(required=True)

    @contact.post("/contact/", request=Letter, message="Thank you", gated=True)
    def write(data: dict[str, Any]) -> dict[str, Any]:
        return data

    @contact.post("/wave/", message="Hello", gated=True)
    def wave() -> None:
        pass

    @contact.post("/order/<int:number>/", request=Letter, message="Sent", gated="throttled")
    def order(data: dict[str, Any], number: int) -> None:
        pass

    site = make(GATE=recorder, flows=[*FLOWS, contact])
    assert seen(site.post("contact", {"text": "hello"})) == REQUIRED
    assert seen(site.post("contact", {"captcha": "human"})) == (400, None)
    reply = site.post("contact", {"text": "hello", "captcha": "human"})
    assert reply.get_json() == {"detail": "Thank you", "text": "hello"}
    assert seen(site.post("order/5", {"text": "hello"})) == OK
    assert [seen(site.post("wave", {"captcha": each})) for each in ("", "human")] == [REQUIRED, OK]
    document = site.app.test_client().get("/accounts/openapi.json").get_json()
    assert document["components"]["schemas"]["WaveRequest"]["properties"].keys() == {"captcha"}


# Instead of 429


LIMITS = {
    "sign_up": {"client": "2/minute"},
    "login": {"client": "2/minute", "account": "4/minute"},
}
LIMITED = {"THROTTLES": LIMITS, "config": {"RATELIMIT_ENABLED": True}}


def test_by_default_the_limit_of_a_client_stays(make: NewSite, recorder: Recorder) -> None:
    site = make(GATE=recorder, **LIMITED)
    expected = [INVALID, OK, (429, "throttled"), (429, "throttled")]
    assert [seen(ask(site, each)) for each in ("robot", "human", "human", "robot")] == expected
    assert len(recorder.asked) == 2


def test_when_throttled_the_gate_is_asked_in_place_of_a_429(
    make: NewSite, recorder: Recorder
) -> None:
    site = make(GATE=recorder, GATE_WHEN="throttled", **LIMITED)
    assert [seen(ask(site)) for _ in range(2)] == [OK, OK]
    assert recorder.asked == []
    expected = [REQUIRED, INVALID, OK, OK, OK]
    given = (None, "robot", "human", "human", "human")
    assert [seen(ask(site, each)) for each in given] == expected


def test_when_throttled_a_login_is_gated_and_keeps_the_limit_of_the_account(
    make: NewSite, recorder: Recorder
) -> None:
    site = make(GATE=recorder, GATE_WHEN="throttled", **LIMITED)
    member(site)

    def guess(captcha: str | None, login: str = "alice") -> tuple[int, str | None]:
        body = {"login": login, "password": "not hers", "captcha": captcha}
        return seen(site.post("login", body))

    wrong = (400, "login-invalid")
    assert [guess(None), guess("robot")] == [wrong, wrong]
    assert [guess(None), guess("human"), guess("human")] == [REQUIRED, wrong, wrong]
    assert guess("human") == (429, "throttled")
    assert guess("human", "bob") == wrong


def test_when_throttled_a_strict_schema_takes_captcha_before_it_is_asked(
    make: NewSite, recorder: Recorder
) -> None:
    strict = {"REGISTER_SCHEMA_CLASS": strict_schema("StrictToo")}
    site = make(GATE=recorder, GATE_WHEN="throttled", **strict)
    body = {"username": "alice", **ALICE, "password": PASSWORD, "captcha": "anything"}
    assert site.post("register", body).status_code == 201
    assert recorder.asked == []


# Proof of work


def test_a_challenge_is_solved_and_the_account_is_made(make: NewSite) -> None:
    site = make()
    reply = site.app.test_client().get("/accounts/challenge/")
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.get_json().keys() == {"parameters", "signature"}
    assert site.register(captcha=encoded(payload(reply.get_json()))).status_code == 201
    assert seen(site.register("bob")) == REQUIRED


def test_a_solution_works_once_whatever_comes_of_the_request(make: NewSite) -> None:
    site = make()
    solution = solved(site)
    assert "email" in ask(site, solution, email="no address").get_json()
    assert seen(ask(site, solution)) == INVALID


def test_a_solution_works_once_however_it_is_written(make: NewSite) -> None:
    site = make()
    content = payload(challenge(site))
    assert seen(ask(site, encoded(content))) == OK
    more = {**content, "more": 1}
    more["challenge"] = {**content["challenge"], "more": 1}
    slow = {**content, "solution": {**content["solution"], "counter": 7, "time": 5.0}}
    cost = float(content["challenge"]["parameters"]["cost"])
    parameters = {**content["challenge"]["parameters"], "cost": cost}
    in_float = {**content, "challenge": {**content["challenge"], "parameters": parameters}}
    spaced = base64.b64encode(json.dumps(content, indent=4).encode()).decode()
    for other in (
        encoded(more),
        encoded(slow),
        encoded(in_float),
        spaced,
        spaced + "\n",
        "-" + spaced,
    ):
        assert seen(ask(site, other)) == INVALID


def test_a_challenge_expires(make: NewSite, clock: Clock) -> None:
    site = make(GATE=ProofOfWork(cost=1, tries=2, period=timedelta(minutes=5)))
    first, second = solved(site), solved(site)
    clock.move(minutes=4, seconds=58)
    assert seen(ask(site, first)) == OK
    clock.move(seconds=1)
    assert seen(ask(site, first)) == INVALID
    clock.move(seconds=3)
    assert seen(ask(site, second)) == INVALID
    clock.move(minutes=10)
    assert seen(ask(site, first)) == INVALID


def test_keys_can_be_rotated(make: NewSite) -> None:
    site = make()
    early, late = solved(site), solved(site)
    old, site.app.secret_key = site.app.secret_key, "another key of the tests, which is long"
    assert seen(ask(site, early)) == INVALID
    site.app.config["SECRET_KEY_FALLBACKS"] = [old]
    assert seen(ask(site, late)) == OK
    assert seen(ask(site, late)) == INVALID
    assert seen(ask(site, solved(site))) == OK


def forgeries(content: dict[str, Any], other: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield payloads that are not a solution."""
    parameters, right = content["challenge"]["parameters"], content["challenge"]["signature"]
    changes: dict[str, Any] = {
        "cheaper": {"cost": 0},
        "longer": {"expiresAt": parameters["expiresAt"] + 3600},
        "without end": {"expiresAt": None},
        "of any key": {"keyPrefix": ""},
        "without the key's signature": {"keySignature": None},
        "of another algorithm": {"algorithm": "SHA-256"},
        "with data": {"data": {"a": 1}},
    }
    for name, change in changes.items():
        changed = {**parameters, **change}
        kept = {key: value for key, value in changed.items() if value is not None}
        forged = {"parameters": kept, "signature": right}
        yield name, {**content, "challenge": forged}
        yield f"{name}, solved", payload(forged) if "keyPrefix" in change else None
    signatures: list[Any] = ["", None, 0, "0" * 64, [], {}, "é", "\ud800", right.upper()]
    for signature in signatures:
        forged = {"parameters": parameters, "signature": signature}
        yield f"signed {signature!r:.9}", {**content, "challenge": forged}
    keys: list[Any] = ["", None, 0, "00", "zz", [], {}, "é", "\ud800"]
    for key in (*keys, other["solution"]["derivedKey"]):
        solution = {**content["solution"], "derivedKey": key}
        yield f"solved {key!r:.9}", {**content, "solution": solution}
    yield "of another challenge", {**content, "solution": other["solution"]}
    yield "unsolved", {"challenge": content["challenge"]}
    yield "v1", {"algorithm": "SHA-256", "challenge": "0", "number": 1, "salt": "", "signature": ""}


def test_what_is_no_solution_is_refused_and_spends_none(make: NewSite) -> None:
    site = make()
    content, other = payload(challenge(site)), payload(challenge(site))
    for name, forged in forgeries(content, other):
        assert seen(ask(site, encoded(forged))) == INVALID, name
    foreign = make(config={"SECRET_KEY": "the key of another application, just as long"})
    assert seen(ask(site, solved(foreign))) == INVALID
    assert seen(ask(site, encoded(content))) == OK
    assert seen(ask(site, encoded(other))) == OK


def bomb(depth: int = 1000) -> str:
    return base64.b64encode(b"[" * depth + b"]" * depth).decode()


def nested(depth: int = 900) -> Any:
    made: Any = {}
    for _ in range(depth):
        made = {"a": made}
    return made


NOTHING: list[Any] = [None, 1, "x", [], {}]
HOSTILE: list[Any] = [
    *(0, 1, -1, 1.5, True, False, [], [1], {}, {"a": 1}, 10**30, [[[[]]]]),
    *("", " ", "x", "=", "====", "\0", "\ud800", "é", "\u202e", "{{7*7}}", "%s%n", "a\r\nb: c"),
    *("A" * 255, "A" * 8192, "A" * 8193, "A" * 60_000, "A" * 1_000_000),
    *map(encoded, [*NOTHING, [{}], {"challenge": 1}, {"challenge": []}]),
    *(encoded({"challenge": each, "solution": each}) for each in NOTHING),
    *(
        encoded({"challenge": {"parameters": each}, "solution": {"counter": 1, "derivedKey": ""}})
        for each in [*NOTHING, {"algorithm": 1}]
    ),
    base64.b64encode(b"\xff\xfe{}").decode(),
    base64.b64encode(b'{"challenge": NaN}').decode(),
    base64.b64encode(b"1" * 6000).decode(),
    base64.b64encode(b'{"challenge": 1e999}').decode(),
    bomb(),
    bomb(3000),
]
TIMES: list[Any] = ["x", [], {}, True, -1, 1e300, 10**400, float("nan")]
WEIRD: list[dict[str, Any]] = [{"expiresAt": each} for each in TIMES]
WEIRD += [
    {"data": nested()},
    {"data": {"__proto__": 1}},
    {"data": {"9" * 5000: 1}},
    {"cost": 10**12},
]
WEIRD += [{"nonce": "zz"}, {"salt": 1}, {"algorithm": None}, {"keySignature": []}]


def test_hostile_values_are_refused(make: NewSite) -> None:
    site = make()
    for value in HOSTILE:
        reply = ask(site, value)
        assert reply.status_code in (400, 413), (value, reply.text)
        if reply.status_code == 400 and value != 10**30:
            assert seen(reply) in (REQUIRED, INVALID), value
    content = payload(challenge(site))
    for change in WEIRD:
        changed = {**content["challenge"]["parameters"], **change}
        forged = {**content, "challenge": {**content["challenge"], "parameters": changed}}
        assert seen(ask(site, encoded(forged))) == INVALID, change
    assert seen(ask(site, encoded(content))) == OK


@pytest.fixture(params=["memory", "redis", "redis, sliding windows"])
def storage(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The configuration of each kind of storage in turn."""
    if request.param == "memory":
        return {}
    store: Redis = request.getfixturevalue("redis_store")
    strategy = "sliding-window-counter" if "sliding" in request.param else "fixed-window"
    return store.config(RATELIMIT_STRATEGY=strategy)


def test_of_twenty_uses_at_once_one_succeeds(
    storage: dict[str, Any], make: NewSite, sqlite_url: str
) -> None:
    site = make(sqlite_url, THROTTLES={"sign_up": None}, config=storage)
    solution = solved(site)
    replies = at_once(lambda number: ask(site, solution, email=f"a{number}@example.com"), 20)
    assert sorted(map(seen, replies), key=str) == [OK, *[INVALID] * 19]


def test_processes_share_what_is_spent(redis_store: Redis, make: NewSite) -> None:
    first, second = (make(THROTTLES={}, config=redis_store.config()) for _ in range(2))
    solution, other = solved(first), solved(second)
    assert [seen(ask(site, solution)) for site in (first, second)] == [OK, INVALID]
    assert [seen(ask(site, other)) for site in (first, second)] == [OK, INVALID]
    spent = [name for name in redis_store.names() if "/gate/" in name]
    assert len(spent) == 2
    assert all(600 < redis_store.client.ttl(name) <= 602 for name in spent)


class AlignedStorage(MemoryStorage):
    """A shared storage whose sliding windows begin by the clock, as those of Memcached do."""

    STORAGE_SCHEME = ["aligned"]


@each_row("strategy", ["fixed-window", "moving-window", "sliding-window-counter"])
def test_a_solution_stays_spent_with_every_strategy(
    strategy: str, make: NewSite, clock: Clock
) -> None:
    config = {
        "RATELIMIT_ENABLED": True,
        "RATELIMIT_STORAGE_URI": "aligned://",
        "RATELIMIT_STRATEGY": strategy,
    }
    site = make(THROTTLES={}, config=config)
    clock.move(seconds=601 - clock.now % 602)  # the last second of a window of ten minutes and two
    solution = solved(site)
    assert seen(ask(site, solution)) == OK
    for _ in range(4):
        clock.move(seconds=2)
        assert seen(ask(site, solution)) == INVALID


def test_while_redis_is_down_each_process_remembers_for_itself(
    wire: Wire, redis_store: Redis, make: NewSite
) -> None:
    site = make(THROTTLES={}, config=redis_store.config(wire.url))
    solution, other = solved(site), solved(site)
    wire.cut()
    assert [seen(ask(site, solution)) for _ in range(2)] == [OK, INVALID]
    wire.mend()
    assert [seen(ask(site, other)) for _ in range(2)] == [OK, INVALID]


def test_a_form_view_can_show_a_challenge(make: NewSite) -> None:
    site = make()
    with site.app.test_request_context():
        shown = actions.challenge()
    assert seen(ask(site, encoded(payload(shown)))) == OK


@each_row("settings", [{"GATE": None}, {"GATE": Recorder()}], ids=["none", "another"])
def test_without_a_proof_of_work_there_is_no_challenge(
    settings: dict[str, Any], make: NewSite
) -> None:
    reply = make(**settings).app.test_client().get("/accounts/challenge/")
    assert seen(reply) == (404, "not-found")


def test_no_try_is_more_likely_than_another(make: NewSite) -> None:
    """A client that could leave out the first ones would do less work than others."""
    site = make(GATE=ProofOfWork(cost=1, tries=4))
    counters = [payload(challenge(site))["solution"]["counter"] for _ in range(120)]
    assert set(counters) == {0, 1, 2, 3}


@each_row("values", [{"cost": 0}, {"tries": 1}, {"period": timedelta(0)}], ids=str)
def test_a_proof_without_work_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least"):
        ProofOfWork(**values)


class CheapInTests(ProofOfWork):
    """An application's own, which chooses the cost later."""

    def __init__(self, *, testing: bool) -> None:
        super().__init__()
        if testing:
            self.cost = self.tries = 2


def test_a_proof_of_work_may_be_derived_and_changed(make: NewSite) -> None:
    site = make(GATE=CheapInTests(testing=True))
    assert seen(ask(site, solved(site))) == OK


def test_without_altcha_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"Flask-Registration\[gate\]"):
        ProofOfWork()


# The captchas of services


class Service:
    """A captcha service on this machine; ``answer`` writes its response."""

    def __init__(self) -> None:
        self.received: list[tuple[dict[str, str], dict[str, str]]] = []
        self.answer: Callable[[BaseHTTPRequestHandler], None] = says({"success": True})
        self.done = threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                service.received.append((dict(parse_qsl(body)), dict(self.headers)))
                with suppress(OSError):  # the client has gone
                    service.answer(self)

            do_GET = do_POST

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/siteverify"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.done.set()
        self.server.shutdown()
        self.server.server_close()


def says(
    content: Any, status: int = 200, **headers: str
) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    service = Service()
    monkeypatch.setattr(SiteVerify, "TIMEOUT", 0.4)
    yield service
    service.close()


SECRET = "a-secret-that-nobody-may-read"


def test_a_service_is_asked_about_the_token(service: Service, make: NewSite) -> None:
    site = make(GATE=SiteVerify(service.url, SECRET, sitekey="of-the-page"))
    assert seen(ask(site, "a token&more=ü".replace("ü", "u"))) == OK
    ((body, headers),) = service.received
    assert body == {"secret": SECRET, "response": "a token&more=u", "sitekey": "of-the-page"}
    assert headers["X-Api-Key"] == SECRET
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert seen(ask(site)) == REQUIRED
    service.answer = says({"success": False, "error-codes": ["timeout-or-duplicate"]})
    assert seen(ask(site, "a token")) == INVALID
    assert len(service.received) == 2


def greeting(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"SMTP ready\r\n\r\n")


def silent(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(3)


def dripping(handler: BaseHTTPRequestHandler) -> None:
    """Send a byte now and then, each before a timeout of one read."""
    handler.send_response(200)
    for _ in range(30):
        handler.wfile.write(b"X")
        handler.wfile.flush()
        time.sleep(0.1)


def moved(status: int) -> Callable[[BaseHTTPRequestHandler], None]:
    """Redirect to a place where all is well."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        is_there = handler.path == "/elsewhere"
        (says({"success": True}) if is_there else says(b"", status, Location="/elsewhere"))(handler)

    return answer


FAILURES: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {
    "silent": silent,
    "dripping": dripping,
    "closed": lambda handler: handler.connection.close(),
    "an error": says({"success": True}, 500),
    "an error of the secret": says({"success": False, "error-codes": ["invalid-input-secret"]}),
    "an error of the key": says({"success": False, "error": {"error_code": "auth_invalid"}}, 401),
    "a redirect": moved(302),
    "a lasting redirect": moved(308),
    "too long": says(b'{"success": true, "more": "' + b"x" * 70_000 + b'"}'),
    "cut": says(b'{"success": true'),
    "not JSON": says(b"<html>"),
    "not UTF-8": says(b'{"success": "\xff"}'),
    "a bomb": says(b"[" * 60_000),
    "a list": says([{"success": True}]),
    "null": says(None),
    "not HTTP": greeting,
}
REFUSALS: list[Any] = [
    *({}, {"success": None}, {"success": 1}, {"success": "true"}, {"success": [True]}),
    {"success": False, "error-codes": None},
    {"success": False, "error-codes": ["already-seen-response"]},
]


@each_row("failure", FAILURES)
def test_without_an_answer_the_request_is_refused(
    failure: str, service: Service, make: NewSite, caplog: pytest.LogCaptureFixture
) -> None:
    service.answer = FAILURES[failure]
    site = make(GATE=SiteVerify(service.url, SECRET))
    service.received.clear()
    caplog.clear()
    started = time.monotonic()
    assert seen(ask(site, "a token")) == INVALID
    assert time.monotonic() - started < 2
    assert len(service.received) == 1
    errors = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "127.0.0.1" in errors[0].getMessage()
    assert SECRET not in caplog.text
    assert len(site.outbox) == 0


def test_a_request_that_was_given_up_makes_room_for_the_next(
    service: Service, make: NewSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SiteVerify, "WORKERS", 1)
    site = make(GATE=SiteVerify(service.url, SECRET))
    service.answer = lambda handler: time.sleep(8)
    assert seen(ask(site, "a token")) == INVALID
    service.answer = says({"success": True})
    until = time.monotonic() + 5
    while seen(ask(site, "a token")) != OK:
        assert time.monotonic() < until


def test_what_is_not_true_is_a_refusal(service: Service, make: NewSite) -> None:
    site = make(GATE=SiteVerify(service.url, SECRET))
    for each in REFUSALS:
        service.answer = says(each)
        assert seen(ask(site, "a token")) == INVALID, each


def test_a_service_that_is_down_refuses(make: NewSite) -> None:
    for url in ("http://127.0.0.1:1/", "http://not-found.invalid/siteverify"):
        assert seen(ask(make(GATE=SiteVerify(url, SECRET)), "a token")) == INVALID


def test_a_hostile_token_is_not_passed_on(service: Service, make: NewSite) -> None:
    site = make(GATE=SiteVerify(service.url, SECRET))
    values: list[Any] = [1, [], {}, "é", "\ud800", "A" * 8193, "A" * 1_000_000]
    for value in values:
        assert ask(site, value).status_code in (400, 413)
    assert service.received == []


def test_requests_wait_for_a_service_side_by_side(
    service: Service, make: NewSite, sqlite_url: str
) -> None:
    """And those for which there is no place are refused in time."""
    service.answer = silent
    site = make(sqlite_url, GATE=SiteVerify(service.url, SECRET))
    started = time.monotonic()
    replies = at_once(lambda number: ask(site, "a token"), 20)
    assert [seen(reply) for reply in replies] == [INVALID] * 20
    assert time.monotonic() - started < 3


@each_row("url", ["file:///etc/passwd", "ftp://example.com/", "example.com/siteverify", ""])
def test_only_a_url_of_http_is_a_service(url: str) -> None:
    with pytest.raises(ValueError, match="is not the URL of a service"):
        SiteVerify(url, SECRET)


# What is told


def test_a_refusal_is_a_security_event(
    make: NewSite, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    site = make(GATE=recorder)
    caplog.set_level(logging.INFO, "flask_registration.events")
    ask(site)
    ask(site, "robot")
    found = [json.loads(each.getMessage()) for each in caplog.records]
    assert [(each["event"], each["code"], each["endpoint"]) for each in found] == [
        ("excess_captcha_refused", "captcha-required", "registration.sign_up"),
        ("excess_captcha_refused", "captcha-invalid", "registration.sign_up"),
    ]


def test_the_api_description_shows_the_field_and_the_errors(make: NewSite) -> None:
    def described(site: Site) -> tuple[dict[str, Any], dict[str, Any]]:
        document = site.app.test_client().get("/accounts/openapi.json").get_json()
        return document["paths"], document["components"]["schemas"]

    paths, schemas = described(make())
    assert paths["/accounts/challenge/"]["get"]["operationId"] == "challenge"
    for name, is_gated in (("sign-up", True), ("register", True), ("login", False)):
        operation = paths[f"/accounts/{name}/"]["post"]
        camel = {"sign-up": "SignUp"}.get(name, name.capitalize())
        assert ("captcha" in schemas[f"{camel}Request"]["properties"]) == is_gated
        assert ("captcha-required" in str(operation["responses"]["400"])) == is_gated
        assert ("captcha-invalid" in str(operation["responses"]["400"])) == is_gated
        assert "captcha" not in schemas[f"{camel}Request"].get("required", [])
    paths, schemas = described(make(GATE_WHEN="throttled"))
    assert "captcha" in schemas["LoginRequest"]["properties"]
    paths, schemas = described(make(GATE=None))
    assert "/accounts/challenge/" not in paths
    assert "captcha" not in str(schemas)


def test_a_proof_of_work_needs_its_flow(new_site: NewSite) -> None:
    with pytest.raises(ConfigurationError, match="the flow gate is not mounted") as caught:
        new_site(GATE=CHEAP)
    assert [each.id for each in caught.value.findings] == ["registration.E071"]
    new_site(GATE=Recorder())


def test_a_gate_must_be_an_object(make: NewSite) -> None:
    with pytest.raises(ConfigurationError, match=r"GATE = ProofOfWork\(\.\.\.\)"):
        make(GATE="flask_registration.gate:ProofOfWork")
    make(GATE="tests.test_gate:CHEAP")
    for name, value in {"GATE": "nowhere:gate", "GATE_WHEN": "sometimes"}.items():
        assert f"REGISTRATION_{name}" in problems({f"REGISTRATION_{name}": value})
    assert "REGISTRATION_GATE" in problems({"REGISTRATION_GATE": 5})


def test_what_keeps_a_gate_from_its_work_is_a_finding(make: NewSite, redis_store: Redis) -> None:
    def found(**settings: Any) -> set[str]:
        _, findings = check(lambda: make(**settings), "--strict")
        return {each["id"] for each in findings}

    warning, note = "registration.W030", "registration.N004"
    assert found() & {warning, note} == {note}
    assert found(GATE_WHEN="throttled") & {warning, note} == {warning, note}
    in_redis = {"config": redis_store.config(), "THROTTLES": {}}
    assert found(GATE_WHEN="throttled", **in_redis) & {warning, note} == set()
    assert found(GATE=Recorder(), GATE_WHEN="throttled") & {warning, note} == {warning}
    assert found(GATE=None) & {warning, note} == set()


class TestTheTestKit:
    @pytest.fixture
    def registration_app(self, make: NewSite) -> Flask:
        return make(REGISTER_SCHEMA_CLASS=strict_schema("StrictInTheKit")).app

    def test_it_lets_every_request_pass(self, accounts: Accounts) -> None:
        client = accounts.client()
        reply = client.post("/accounts/sign-up/", json=ALICE)
        assert reply.status_code == 200
        body = {"username": "alice", **ALICE, "password": PASSWORD, "captcha": "any"}
        assert client.post("/accounts/register/", json=body).status_code == 201
