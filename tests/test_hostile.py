"""Whatever a client sends: an answer that says what is wrong, and never a half-made account.

The endpoints and their fields are read from the flows, so a new endpoint is tested at once.
What must hold of every reply stands in ``world.py``.
"""

from __future__ import annotations

import base64
import json
import os
import random
from collections.abc import Collection, Iterator
from typing import Any

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from flask_registration.http.flow import Endpoint
from flask_registration.http.routes import METHODS

from .conftest import site_maker
from .people import bearer
from .site import PASSWORD
from .tables import each_row
from .world import ENDPOINTS, PAGES, SETTINGS, World, define_login

#: How many random bodies; by hand, a few thousand.
EXAMPLES = int(os.environ.get("TEST_HOSTILE_EXAMPLES", "120"))
SEED = int(os.environ.get("TEST_SEED") or random.randrange(2**32))

LOADING = [name for name, each in ENDPOINTS.items() if each.requests]
LINKS = [name for name in LOADING if ENDPOINTS[name].link]
DONE = (200, 201, 202, 204)


SQLITE = ["sqlite", "sqlite, without a login model"]

#: For what never reaches the database.
on_sqlite = pytest.mark.parametrize("world", SQLITE, indirect=True, scope="module")
#: For what the login model does not matter to, either.
on_one = pytest.mark.parametrize("world", SQLITE[:1], indirect=True, scope="module")


@pytest.fixture(scope="module", params=[*SQLITE, "postgresql", "mariadb"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """One application for all of this, on each database."""
    kind, _, without = request.param.partition(", ")
    url = "sqlite://" if kind == "sqlite" else request.getfixturevalue(f"{kind}_url")
    with site_maker() as make:
        yield World(make(url, login_model=None if without else define_login, **SETTINGS))


class Cases:
    """Tries one case after the other, and tells in the end which of them failed."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.failed: list[str] = []

    def __enter__(self) -> Cases:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            assert not self.failed, "\n".join([f"{len(self.failed)} failed:", *self.failed[:20]])

    def ask(
        self, case: str, name: str, statuses: Collection[int] = (), **options: Any
    ) -> TestResponse | None:
        """Ask an endpoint, and look at the status where it is known beforehand."""
        try:
            reply = self.world.ask(name, **options)
            assert not statuses or reply.status_code in statuses, (
                reply.status_code,
                reply.get_data(as_text=True),
            )
        except Exception as error:
            self.failed.append(f"{name}: {case}: {type(error).__name__}: {error}"[:500])
            return None
        return reply


def endpoint_of(world: World, name: str) -> Endpoint[Any]:
    if ENDPOINTS[name] not in world.endpoints:
        pytest.skip("needs a login model")
    return ENDPOINTS[name]


def test_right_requests_are_right(world: World) -> None:
    right = [each.name for each in world.endpoints if world.body(each.name)]
    assert len(right) >= 13
    with Cases(world) as cases:
        for name in right:
            cases.ask("right", name, DONE)


# Awkward values in every field

STRINGS = {
    "a NUL": "a\0b",
    "half of a surrogate pair": "a\ud800b",
    "a line separator": "a\u2028b",
    "a change of direction": "a\u202eb",
    "10,000 combining marks": "e" + "\u0301" * 10_000,
    "a thousand ligatures of 18 letters": "\ufdfa" * 1000,
    "255 characters": "x" * 255,
    "256 characters": "x" * 256,
    "a million characters": "x" * 1_000_000,
    "a template": "{{7*7}}",
    "a format": "%s%n",
    "a header": "alice\r\nBcc: mallory@example.com",
    "a header in an address": "alice@example.com\r\nBcc: mallory@example.com",
    "two addresses": "alice@example.com, mallory@example.com",
    "SQL": "' OR 1=1; --",
    "a backslash": "\\",
    "a path": "../../etc/passwd",
    "markup": "<script>alert(1)</script>",
    "a picture": "👪",
    "nothing": "",
    "a space": " ",
}
NUMBERS = {
    **{f"the number {value}": value for value in (-1, 0, 2**31, 2**63, 10**30, True, 1.9, 1e308)},
    **{
        f"the text {value!r}": value
        for value in ("-1", "0", str(2**31), str(2**63), "1.9", "１", "1e3", "9" * 512)
    },
}
OTHERS = {
    "null": None,
    "a list": ["alice"],
    "an object": {"login": "alice"},
    "an empty list": [],
    "an object in a list in an object": {"a": [{"b": None}]},
}
ALL = {**STRINGS, **NUMBERS, **OTHERS}
#: What a database may refuse, or shorten, or read as another value.
FOR_SERVERS = {
    name: ALL[name]
    for name in (
        "a NUL",
        "half of a surrogate pair",
        "10,000 combining marks",
        "a thousand ligatures of 18 letters",
        "256 characters",
        "a million characters",
        "a backslash",
        "a picture",
        f"the number {2**31}",
        f"the number {2**63}",
        f"the number {10**30}",
        f"the text {str(2**63)!r}",
        f"the text {'9' * 512!r}",
    )
}


@each_row("name", LOADING)
def test_every_field_takes_or_refuses(name: str, world: World) -> None:
    if world.site.Login is None:
        pytest.skip("the login model does not matter")
    is_server = world.site.app.config["SQLALCHEMY_DATABASE_URI"] != "sqlite://"
    with Cases(world) as cases:
        for field in world.fields(endpoint_of(world, name)):
            for case, value in (FOR_SERVERS if is_server else ALL).items():
                cases.ask(f"{field}: {case}", name, json={**world.body(name), field: value})


@each_row("name", LINKS)
def test_a_link_of_each_number_is_forged(name: str, world: World) -> None:
    with Cases(world) as cases:
        link = world.body(name)
        for field in link.keys() & {"user_id", "timestamp", "signature"}:
            for case, value in NUMBERS.items():
                reply = cases.ask(f"{field}: {case}", name, [400], json={**link, field: value})
                assert reply is None or reply.get_json()["code"] == "signature-invalid"


# Bodies

GOOD = {
    "username": "alice",
    "email": "alice@example.com",
    "password": PASSWORD,
    "password_confirm": PASSWORD,
}
JSON = json.dumps(GOOD).encode()
BODIES = {
    "an empty body": b"",
    "white space": b" \n",
    "null": b"null",
    "true": b"true",
    "a number": b"5",
    "text": b'"alice"',
    "a list": b"[]",
    "a list of what would be right": b"[" + JSON + b"]",
    "a truncated body": JSON[:-10],
    "a bracket too many": JSON + b"}",
    "two bodies": JSON + JSON,
    "a form that says it is JSON": b"username=alice&password=x",
    "bytes that are not UTF-8": b'{"username": "\xff\xfe"}',
    "a surrogate in UTF-8": b'{"username": "\xed\xa0\x80"}',
    "an overlong form in UTF-8": b'{"username": "\xc0\xaf"}',
    "a byte order mark": b"\xef\xbb\xbf" + JSON,
    "UTF-16": JSON.decode().encode("utf-16"),
    "UTF-16 without a mark": JSON.decode().encode("utf-16-le"),
    "UTF-32": JSON.decode().encode("utf-32"),
    "NaN": b'{"username": NaN}',
    "minus infinity": b'{"username": -Infinity, "login": 1}',
    "1e400": b'{"username": 1e400, "login": 1e400, "user_id": 1e400}',
    "a number of 5,000 digits": b'{"username": ' + b"9" * 5000 + b"}",
    "30,000 opening brackets": b"[" * 30_000,
    "30,000 nested brackets": b"[" * 30_000 + b"]" * 30_000,
    "5,000 nested objects": b'{"username":' * 5_000 + b"1" + b"}" * 5_000,
}
LARGE = {
    "100,000 opening brackets": b"[" * 100_000,
    "20 MB": b'{"username": "' + b"x" * 20 * 2**20 + b'"}',
    "20 MB of nothing": b" " * 20 * 2**20,
}
#: JSON objects in which an endpoint may find nothing to complain of.
HARMLESS = {
    "nothing in it": b"{}",
    "a number of 400 digits": b'{"username": ' + b"9" * 400 + b', "login": 1, "user_id": 1}',
    "keys more than once": b'{"username": 1, "username": [], "login": [], "login": {}}',
    "keys that are no names": b'{"\\u0000": 1, "\\ud800": 2, "": 3}',
    "keys of other languages": b'{"__proto__": {}, "__class__": {}, "self": 1, "data": 2}',
}


@each_row("name", LOADING)
def test_a_body_is_refused_that_is_not_a_json_object_of_its_kind(name: str, world: World) -> None:
    endpoint = endpoint_of(world, name)
    schemas = world.schemas(endpoint)
    assert schemas
    needs = any(
        field.required and not field.dump_only
        for schema in schemas
        if not schema.partial
        for field in schema.fields.values()
    )
    expected: dict[str, Collection[int]] = {
        **dict.fromkeys(BODIES, (400,)),
        **dict.fromkeys(LARGE, (413,)),
        **dict.fromkeys(HARMLESS, (400,) if needs else (400, 200, 202)),
    }
    if name == "delete_profile":
        expected["an empty body"] = [202]
    if name == "logout":  # which needs no body
        expected["an empty body"] = [200]
    with Cases(world) as cases:
        for case, data in {**BODIES, **LARGE, **HARMLESS}.items():
            cases.ask(case, name, expected[case], data=data, content_type="application/json")


FORMS = ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"]
OTHER_TYPES = [
    "text/plain; application/json",
    "text/json",
    "application/javascript",
    "",
    "json",
    None,
]


@on_one
@each_row("name", LOADING)
def test_a_body_of_another_type_is_refused(name: str, world: World) -> None:
    right = json.dumps(world.body(name)).encode()
    with Cases(world) as cases:
        for method in endpoint_of(world, name).methods:
            for kind in [*FORMS, *OTHER_TYPES]:
                cases.ask(
                    f"{method} {kind}", name, [415], method=method, data=right, content_type=kind
                )


@on_sqlite
def test_a_form_on_another_site_can_do_nothing(world: World) -> None:
    """Browsers send the cookie along with a form, which is a POST of one of three types."""
    foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    with Cases(world) as cases:
        for endpoint in world.endpoints:
            name, body = endpoint.name, world.body(endpoint.name.removesuffix("_confirm"))
            for kind in FORMS if name not in PAGES else ():
                data: Any = {key: str(value) for key, value in body.items()}
                data = json.dumps(body) if kind == "text/plain" else data
                refused = [415] if "POST" in endpoint.methods else [405, 415]
                cases.ask(
                    kind,
                    name,
                    refused,
                    method="POST",
                    data=data,
                    content_type=kind.partition(";")[0],
                )
            for header, value in foreign.items() if name.endswith("_confirm") else ():
                cases.ask(header, name, [400], headers={header: value}, data=body)


# Any JSON anywhere


awkward_text = st.one_of(
    st.text(st.characters(), max_size=20),  # surrogates, too
    st.text(st.characters(categories=["Cs", "Cc", "Mn", "Zl", "Zp", "Cf"]), max_size=10),
    st.sampled_from(
        [
            "",
            "\0",
            "\ud800",
            "null",
            "alice",
            "alice@example.com",
            "１",
            "-1",
            "1.9",
            PASSWORD,
            "e" * 5000,
        ]
    ),
)
awkward_number = st.one_of(
    st.integers(),
    st.floats(),
    st.builds(
        lambda power, more: 2**power + more,
        st.sampled_from([15, 31, 32, 53, 62, 63, 64]),
        st.integers(-1, 1),
    ),
    st.sampled_from([10**400, -(10**400), 10**4000, -1, 0, -0.0, 1e308]),
)
scalar = st.one_of(st.none(), st.booleans(), awkward_number, awkward_text)
any_json = st.recursive(
    scalar,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(awkward_text, inner, max_size=3),
    max_leaves=5,
)
more_keys = awkward_text | st.sampled_from(
    ["id", "is_admin", "is_verified", "is_active", "security_stamp"]
)


@st.composite
def random_bodies(draw: st.DrawFn, right: dict[str, Any], fields: list[str]) -> Any:
    """The valid body with fields removed, added and replaced; or anything at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(any_json)
    wrong = draw(st.sets(st.sampled_from(fields), max_size=2)) if fields else set()
    kept = {name: value for name, value in right.items() if name not in wrong}
    return {
        **kept,
        **{name: draw(any_json) for name in wrong},
        **draw(st.dictionaries(more_keys, any_json, max_size=2)),
    }


def test_any_json_gets_an_answer(world: World) -> None:
    print(f"TEST_SEED={SEED}")
    endpoints = [endpoint for endpoint in world.endpoints if endpoint.name in LOADING]
    answered: set[tuple[str, int]] = set()

    @seed(SEED)
    @settings(max_examples=EXAMPLES)
    @given(st.sampled_from(endpoints), st.data())
    def send(endpoint: Endpoint[Any], data: st.DataObject) -> None:
        body = data.draw(random_bodies(world.body(endpoint.name), world.fields(endpoint)))
        try:
            text = json.dumps(body)
        except ValueError:  # more digits than Python writes; ours reads no more of them either
            text = '{"username": ' + "9" * 5000 + "}"
        reply = world.ask(endpoint.name, data=text, content_type="application/json")
        answered.add((endpoint.name, reply.status_code))
        if "signature" in world.fields(endpoint) and reply.status_code == 200:
            link = world.states[world.state_for(endpoint.name)].links[endpoint.name]
            assert {name: str(body[name]) for name in link} == link

    send()
    assert {status for _, status in answered} >= {200, 400}


@on_one
def test_any_bytes_get_an_answer(world: World) -> None:
    endpoints = [endpoint for endpoint in world.endpoints if endpoint.name in LOADING]
    bytes_ = st.binary(max_size=200) | st.text(max_size=50).map(
        lambda text: text.encode("utf-8", "surrogatepass")
    )

    @seed(SEED)
    @settings(max_examples=EXAMPLES // 2)
    @given(st.sampled_from(endpoints), bytes_)
    def send(endpoint: Endpoint[Any], data: bytes) -> None:
        reply = world.ask(endpoint.name, data=data, content_type="application/json")
        assert reply.status_code == 400 or not data

    send()


# Headers, queries, paths

LATIN = "é".encode().decode("latin-1")  # as a server hands UTF-8 on
CREDENTIALS = {
    "no scheme": "alice",
    "a scheme alone": "Bearer",
    "a scheme and a space": "Bearer ",
    "a token of dots": "Bearer ...",
    "a token that is none": "Bearer x",
    "a token of letters outside of ASCII": f"Bearer {LATIN}",
    "a token of all bytes": "Bearer " + "".join(map(chr, range(32, 256))),
    "a long token": "Bearer " + "x" * 10_000,
    "a token with a parameter": 'Bearer a="b"',
    "two tokens": "Bearer a, Bearer b",
    "a JWT": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.",
    "another scheme's token": "Token " + "x" * 43,
    "a scheme in other case": "bEaReR x",
    "a name and a password": "Basic " + base64.b64encode(b"alice:" + PASSWORD.encode()).decode(),
    "Base64 that is none": "Basic !!!",
    "Base64 of no pair": "Basic " + base64.b64encode(b"alice").decode(),
    "Base64 of no text": "Basic " + base64.b64encode(b"\xff:\xfe").decode(),
    "a digest": 'Digest username="alice", nonce="',
    "nothing": "",
}
COOKIES = {
    "a session that is none": "session=x",
    "a session of dots": "session=.....",
    "a session that says it is compressed": "session=.eJw.x.x",
    "a session of letters outside of ASCII": f"session={LATIN}",
    "a session of a long text": "session=" + "x" * 10_000,
    "a session with a NUL in quotes": 'session="a\\000b"',
    "two sessions": "session=x; session=y",
    "a cookie without a name": "=x; ;;",
    "a remember-me cookie that is none": "remember_token=x",
    "one with a signature that is none": "remember_token=1|x",
    "one with a signature outside of ASCII": f"remember_token=1|{LATIN}",
    "one with a name outside of ASCII": f"remember_token={LATIN}|" + "0" * 128,
    "one of pipes": "remember_token=|||",
    "one of nothing": "remember_token=",
}


@on_sqlite
def test_a_credential_that_is_none_is_nobodys(world: World) -> None:
    asking = [
        each
        for each in world.endpoints
        if each.login_required or each.name in ("login", "add_totp")
    ]
    with Cases(world) as cases:
        for endpoint in asking:
            for header, values in (("Authorization", CREDENTIALS), ("Cookie", COOKIES)):
                for case, value in values.items():
                    expected = [401] if endpoint.login_required else []
                    cases.ask(case, endpoint.name, expected, headers={header: value})


def test_every_character_of_a_token_counts(world: World) -> None:
    token = world.states["member"].token
    with Cases(world) as cases:
        cases.ask("as it is", "profile", [200], headers=bearer(token))
        for place, character in enumerate(token):
            changed = f"{token[:place]}{chr(ord(character) ^ 1)}{token[place + 1 :]}"
            cases.ask(f"another in place {place}", "profile", [401], headers=bearer(changed))
            for more in ("!!!!", f"!{LATIN}"):  # what Base64 skips
                longer = f"{token[:place]}{more}{token[place:]}"
                cases.ask(f"{more} before place {place}", "profile", [401], headers=bearer(longer))


HEADERS = {
    "Accept": "text/html",
    "Accept-Language": "\xff, de;q=x",
    "Content-Encoding": "gzip",
    "Expect": "200-nothing",
    "If-None-Match": "*",
    "Range": "bytes=0-0",
    "Transfer-Encoding": "x",
    "User-Agent": "Mozilla \xe9 {{7*7}} \t <script>" + "x" * 1000,
    "X-Forwarded-For": "1.2.3.4, evil, \xe9",
    "X-HTTP-Method-Override": "DELETE",
}


@on_one
def test_other_headers_are_no_matter(world: World) -> None:
    with Cases(world) as cases:
        for name in [each.name for each in world.endpoints if world.body(each.name)]:
            for header, value in HEADERS.items():
                cases.ask(header, name, DONE, headers={header: value})


ROW_IDS = [
    "0",
    "-1",
    "１",
    "1.9",
    "1e3",
    str(2**31),
    str(2**63),
    "9" * 30,
    "9" * 5000,
    "%00",
    "a%00b",
    "%FF",
    "%ED%A0%80",
]
ROW_IDS += [
    "{{7*7}}",
    "%25s",
    "'%20OR%201=1;--",
    "%E2%80%A8",
    "true",
    "null",
    "%20",
    "00000000-0000-0000-0000-000000000000",
]


@each_row("name", ["revoke_login", "revoke_invitation", "resend_invitation"])
def test_a_login_that_there_is_not_is_not_found(name: str, world: World) -> None:
    endpoint = endpoint_of(world, name)
    with Cases(world) as cases:
        for text in ROW_IDS:
            cases.ask(text[:40], endpoint.name, [404], path=world.path(endpoint, text))


QUERIES = [
    "user_id[]=1",
    "%00=%00",
    "a=%FF%FE",
    "&&&===",
    "user_id=1&user_id=2",
    "x" * 5000,
    "%",
    "timestamp=%ED%A0%80",
]
QUERIES += ["signature=%22%3E%3Cscript%3Ealert(1)%3C/script%3E"]


@on_one
def test_a_query_is_not_looked_at_or_only_shown(world: World) -> None:
    with Cases(world) as cases:
        for endpoint in world.endpoints:
            name = endpoint.name
            known = world.body(name) or (name in PAGES and "POST" not in endpoint.methods)
            for query in QUERIES:
                reply = cases.ask(
                    query, name, DONE if known else (), path=f"{world.path(endpoint)}?{query}"
                )
                assert reply is None or b"<script>" not in reply.get_data()


# Who only looks, and who asks in another way


@on_sqlite
def test_get_and_head_change_nothing_and_other_methods_are_not_allowed(world: World) -> None:
    paths: dict[str, set[str]] = {}
    for endpoint in world.endpoints:
        paths.setdefault(world.path(endpoint), {"OPTIONS"}).update(endpoint.methods)
    with Cases(world) as cases:
        for endpoint in world.endpoints:
            path, body = world.path(endpoint), world.body(endpoint.name)
            allowed = paths[path] | ({"HEAD"} if "GET" in paths[path] else set())
            shown = (
                400 if endpoint.name.endswith("_confirm") else 200
            )  # a form's own address says that its link is gone
            for method in {*METHODS} - (allowed - {"GET", "HEAD", "OPTIONS"}):
                for end in (path, path[:-1]):
                    given = {"query_string": body, "json": body, "method": method, "path": end}
                    done = 405 if method not in allowed else 200 if method == "OPTIONS" else shown
                    reply = cases.ask(f"{method} {end}", endpoint.name, [done], **given)
                    assert reply is None or world.now is not None, (
                        f"{method} {end} changed something"
                    )
                    assert world.site.outbox == []
                    if reply is not None and reply.status_code == 405:
                        assert {one.strip() for one in reply.headers["Allow"].split(",")} == allowed


# Where mails lead

REQUEST_LINES: dict[str, dict[str, Any]] = {
    "Host": {"headers": {"Host": "evil.example"}},
    "Host with a port": {"headers": {"Host": "evil.example:443"}},
    "X-Forwarded-Host": {"headers": {"X-Forwarded-Host": "evil.example"}},
    "X-Forwarded-Prefix": {"headers": {"X-Forwarded-Prefix": "/evil.example"}},
    "Forwarded": {"headers": {"Forwarded": "host=evil.example;proto=https"}},
    "X-Original-Host": {"headers": {"X-Original-Host": "evil.example"}},
    "X-Original-URL": {"headers": {"X-Original-URL": "https://evil.example/"}},
    "Origin": {"headers": {"Origin": "https://evil.example"}},
    "Referer": {"headers": {"Referer": "https://evil.example/"}},
    "an absolute-form request line": {"base_url": "https://evil.example"},
    "an absolute-form target": {
        "environ_overrides": {"REQUEST_URI": "https://evil.example/", "RAW_URI": "//evil.example"}
    },
    "the server's name": {"environ_base": {"SERVER_NAME": "evil.example"}},
    "a query": {
        "query_string": {
            "next": "https://evil.example/",
            "verification_url": "https://evil.example/",
        }
    },
}


@on_one
def test_no_request_says_where_a_mail_leads_or_who_gets_it(world: World) -> None:
    mailing = set()
    with Cases(world) as cases:
        for name in [each.name for each in world.endpoints if world.body(each.name)]:
            for case, options in REQUEST_LINES.items():
                cases.ask(case, name, DONE, **options)
                for to, text in world.mails():
                    mailing.add(name)
                    assert "evil" not in f"{to} {text}", f"{name}: {case}"
    assert mailing >= {
        "register",
        "resend_verification",
        "send_reset_password_link",
        "register_email",
        "verify_email",
    }
    assert mailing >= {"change_password", "reset_password"}


@on_sqlite
def test_no_words_of_somebody_go_to_somebody_else_by_mail(world: World) -> None:
    words = {
        "username": "buy.at.evil.example",
        "first_name": "http://evil.example",
        "last_name": "evil\r\nBcc: e@x.org",
    }
    site = world.site
    world.enter("member")
    for email in ("victim@example.com", "alice@example.com"):
        assert site.register(**words, email=email, terms="1").status_code == 201
        ((to, text),) = world.mails()
        assert to == email
        assert "evil" not in text
        world.now = None
        world.enter("member")
    site.change(site.user(username="alice"), **words)
    for email in ("victim@example.com", "bob@example.com"):
        world.site.outbox.clear()
        headers = {"Cookie": f"session={world.states['member'].cookie}"}
        body = {"email": email, "password": PASSWORD}
        client = site.app.test_client(use_cookies=False)
        assert (
            client.post("/accounts/register-email/", json=body, headers=headers).status_code == 200
        )
        *notices, (to, text) = world.mails()
        assert {to for to, _ in notices} <= {"alice@example.com"}  # who asks for the change
        assert to == email
        assert "evil" not in text
    world.now = None
