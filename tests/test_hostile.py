"""Whatever a client sends: an answer that says what is wrong, and never a half-made account."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from flask_registration.users import mail_address

from .site import PASSWORD, Site, make_site

NewSite = Callable[..., Site]

ENDPOINTS = ["register", "verify-registration", "resend-verification"]
FIELDS = {
    "register": ["username", "email", "password", "password_confirm", "first_name", "last_name"],
    "verify-registration": ["user_id", "timestamp", "signature"],
    "resend-verification": ["login", "username", "email"],
}

#: An exception that nobody expected fails the test, rather than being answered by a 500.
OPEN = {"PROPAGATE_EXCEPTIONS": True}


def check(reply: TestResponse) -> None:
    """What holds of every reply of ours."""
    assert reply.status_code < 500
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.mimetype == "application/json"
    body = json.loads(reply.get_data(), parse_constant=pytest.fail)
    assert isinstance(body, dict)
    if reply.status_code != 400 and reply.status_code >= 300:
        assert body.keys() == {"detail", "code"}


def check_accounts(site: Site, replies: list[TestResponse]) -> None:
    """An account for each address that was answered 201, and a mail for each account; nothing else."""
    opened = {reply.get_json()["email"] for reply in replies if reply.status_code == 201}
    users = site.users()
    assert {user.email for user in users} == opened
    assert len(users) == len(opened)
    mailed = {mail.recipients[0] for mail in site.outbox}
    assert {mail_address(user.email) for user in users if not user.is_verified} <= mailed
    for user in users:
        assert user.username
        assert user.username_key
        assert user.password_hash.startswith("$argon2id$")
        assert user.is_active


# Any JSON anywhere

awkward_text = st.one_of(
    st.text(st.characters(), max_size=20),  # surrogates, too
    st.text(st.characters(categories=["Cs", "Cc", "Mn", "Zl", "Zp", "Cf"]), max_size=10),
    st.sampled_from(
        ["", "\0", "\ud800", "null", "alice", "alice@example.com", "１", "-1", "1.9", PASSWORD, "e" * 5000]
    ),
)
awkward_number = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([10**400, -(10**400), 10**4000, 2**31, 2**63, 2**64, -1, 0, -0.0, 1e308]),
)
scalar = st.one_of(st.none(), st.booleans(), awkward_number, awkward_text)
any_json = st.recursive(
    scalar,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(awkward_text, inner, max_size=3),
    max_leaves=5,
)


def body_of(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """A body with some of these fields, each what it should be or anything else, and some more; or anything."""
    some = st.fixed_dictionaries({}, optional={name: good | any_json for name, good in fields.items()})
    most = st.fixed_dictionaries({name: good | good | good | any_json for name, good in fields.items()})
    more = st.dictionaries(awkward_text | st.sampled_from(["id", "is_admin", "is_verified"]), any_json, max_size=2)
    return st.builds(lambda one, other: {**other, **one}, some | most, more) | any_json


def registrations() -> st.SearchStrategy[Any]:
    names = st.integers(0, 10**9).map(lambda number: f"user{number}")
    return body_of(
        {
            "username": names,
            "email": names.map(lambda name: f"{name}@example.com"),
            "password": st.just(PASSWORD),
            "password_confirm": st.just(PASSWORD),
            "first_name": st.just("Alice"),
            "last_name": st.just("Liddell"),
        }
    )


def links(link: dict[str, str]) -> st.SearchStrategy[Any]:
    powers = st.sampled_from([15, 31, 32, 53, 62, 63, 64])  # where databases' integers end
    numbers = st.builds(lambda power, more: 2**power + more, powers, st.integers(-1, 1)) | st.integers()
    good: dict[str, st.SearchStrategy[Any]] = {name: st.just(value) for name, value in link.items()}
    good["user_id"] |= numbers | numbers.map(str) | st.just(int(link["user_id"]))
    good["timestamp"] |= numbers | numbers.map(str) | st.just(int(link["timestamp"]))
    return body_of(good)


def accounts() -> st.SearchStrategy[Any]:
    return body_of({"login": st.just("alice"), "username": st.just("alice"), "email": st.just("alice@example.com")})


def send_anything(site: Site, examples: int) -> None:
    """Send any JSON to each endpoint."""
    replies = [site.register("alice")]
    link = site.link()
    alice = site.users()[0]
    client = site.app.test_client()

    @settings(max_examples=examples)
    @given(registrations(), links(link), accounts())
    def send(registration: Any, opened: Any, account: Any) -> None:
        for endpoint, body in zip(ENDPOINTS, (registration, opened, account), strict=True):
            try:
                text = json.dumps(body)
            except ValueError:  # more digits than Python writes; ours reads no more of them either
                text = '{"username": ' + "9" * 5000 + "}"
            reply = client.post(f"/accounts/{endpoint}/", data=text, content_type="application/json")
            check(reply)
            replies.append(reply)
            if endpoint == "register":
                assert reply.status_code in (201, 400)
            if endpoint == "verify-registration" and reply.status_code == 200:
                assert {name: str(body[name]) for name in link} == link
            if endpoint == "verify-registration":
                assert site.user(username="alice").password_hash == alice.password_hash

    send()
    assert any(reply.status_code == 201 for reply in replies[1:])
    check_accounts(site, [reply for reply in replies if "email" in (reply.get_json() or {})])


def test_any_json_gets_an_answer(new_site: NewSite) -> None:
    send_anything(new_site(config=OPEN), 400)


def test_any_json_gets_an_answer_on_a_server(server_database: str, new_site: NewSite) -> None:
    send_anything(new_site(server_database, config=OPEN), 150)


@settings(max_examples=300)
@given(st.binary(max_size=200) | st.text(max_size=50).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_get_an_answer(data: bytes) -> None:
    site = any_site()
    for endpoint in ENDPOINTS:
        reply = site.post(endpoint, data=data, content_type="application/json")
        check(reply)
        assert reply.status_code == 400


_sites: list[Site] = []


def any_site() -> Site:
    """A site for tests that store nothing: one for all of them."""
    if not _sites:
        _sites.append(make_site(config=OPEN))
    assert _sites[0].users() == []
    return _sites[0]


@pytest.fixture(scope="module", autouse=True)
def _close_site() -> Any:
    yield
    for site in _sites:
        with site.app.app_context():
            site.db.session.remove()
            site.db.engine.dispose()
    _sites.clear()


# Bodies

GOOD = {"username": "alice", "email": "alice@example.com", "password": PASSWORD, "password_confirm": PASSWORD}
JSON = json.dumps(GOOD).encode()


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"", 400, id="an empty body"),
        pytest.param(b" \n", 400, id="white space"),
        pytest.param(b"null", 400, id="null"),
        pytest.param(b"true", 400, id="true"),
        pytest.param(b"5", 400, id="a number"),
        pytest.param(b'"alice"', 400, id="text"),
        pytest.param(b"[]", 400, id="a list"),
        pytest.param(b"[" + JSON + b"]", 400, id="a list of what would be right"),
        pytest.param(b"{}", 400, id="nothing in it"),
        pytest.param(JSON[:-10], 400, id="a truncated body"),
        pytest.param(JSON + b"}", 400, id="a bracket too many"),
        pytest.param(JSON + JSON, 400, id="two bodies"),
        pytest.param(b"username=alice&password=x", 400, id="a form that says it is JSON"),
        pytest.param(b'{"username": "\xff\xfe"}', 400, id="bytes that are not UTF-8"),
        pytest.param(b'{"username": "\xed\xa0\x80"}', 400, id="a surrogate in UTF-8"),
        pytest.param(b'{"username": "\xc0\xaf"}', 400, id="an overlong form in UTF-8"),
        pytest.param(b"\xef\xbb\xbf" + JSON, 400, id="a byte order mark"),
        pytest.param(JSON.decode().encode("utf-16"), 400, id="UTF-16"),
        pytest.param(JSON.decode().encode("utf-16-le"), 400, id="UTF-16 without a mark"),
        pytest.param(JSON.decode().encode("utf-32"), 400, id="UTF-32"),
        pytest.param(b'{"username": NaN}', 400, id="NaN"),
        pytest.param(b'{"username": -Infinity, "login": 1}', 400, id="minus infinity"),
        pytest.param(b'{"username": 1e400, "login": 1e400, "user_id": 1e400}', 400, id="1e400"),
        pytest.param(b'{"username": ' + b"9" * 400 + b', "login": 1, "user_id": 1}', 400, id="a number of 400 digits"),
        pytest.param(b'{"username": ' + b"9" * 5000 + b"}", 400, id="a number of 5,000 digits"),
        pytest.param(b"[" * 100_000, 413, id="100,000 opening brackets"),
        pytest.param(b"[" * 30_000, 400, id="30,000 opening brackets"),
        pytest.param(b"[" * 30_000 + b"]" * 30_000, 400, id="30,000 nested brackets"),
        pytest.param(b'{"username":' * 5_000 + b"1" + b"}" * 5_000, 400, id="5,000 nested objects"),
        pytest.param(b'{"username": "' + b"x" * 10 * 2**20 + b'"}', 413, id="10 MB"),
        pytest.param(b" " * 10 * 2**20, 413, id="10 MB of nothing"),
        pytest.param(b'{"username": 1, "username": [], "login": [], "login": {}}', 400, id="keys more than once"),
        pytest.param(b'{"\\u0000": 1, "\\ud800": 2, "": 3}', 400, id="keys that are no names"),
        pytest.param(b'{"__proto__": {}, "__class__": {}, "self": 1, "data": 2}', 400, id="keys of other languages"),
    ],
)
def test_a_body_is_refused_that_is(body: bytes, status: int, endpoint: str) -> None:
    site = any_site()
    reply = site.post(endpoint, data=body, content_type="application/json")
    check(reply)
    assert reply.status_code == status


def test_the_last_of_equal_keys_counts(site: Site) -> None:
    body = b'{"username": "mallory", "username": "alice", ' + JSON[len(b'{"username": "alice", ') :]
    reply = site.post("register", data=body, content_type="application/json")
    assert reply.status_code == 201
    assert [user.username for user in site.users()] == ["alice"]


def test_a_body_of_a_hundred_thousand_brackets_is_no_500_where_bodies_may_be_large(new_site: NewSite) -> None:
    site = new_site(MAX_CONTENT_LENGTH=2**21, config=OPEN)
    for body in (b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000):
        reply = site.post("register", data=body, content_type="application/json")
        check(reply)
        assert reply.status_code == 400


@pytest.mark.parametrize("length", [99, 100, 101])
def test_how_large_a_body_may_be_is_a_setting(length: int, new_site: NewSite) -> None:
    site = new_site(MAX_CONTENT_LENGTH=100)
    reply = site.post("register", data=b"{}".ljust(length), content_type="application/json")
    check(reply)
    assert reply.status_code == (400 if length <= 100 else 413)


def test_a_body_that_does_not_say_how_large_it_is_is_measured() -> None:
    reply = any_site().post(
        "register",
        data=None,
        input_stream=io.BytesIO(b" " * 2**20),
        content_type="application/json",
        environ_overrides={"wsgi.input_terminated": True},
    )
    check(reply)
    assert reply.status_code == 413


def test_a_body_that_the_application_has_read_before_is_measured_too(site: Site) -> None:
    site.app.before_request(lambda: request.get_data() and None)
    reply = site.post("register", data=b"{}".ljust(2**20), content_type="application/json")
    check(reply)
    assert reply.status_code == 413
    assert site.register().status_code == 201


def test_an_applications_stricter_limit_counts(new_site: NewSite) -> None:
    site = new_site(config={"MAX_CONTENT_LENGTH": 50})
    reply = site.post("register", data=b"{}".ljust(51), content_type="application/json")
    check(reply)
    assert reply.status_code == 413


# Content types (S6)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(
    "content_type",
    [
        pytest.param("application/x-www-form-urlencoded", id="a form"),
        pytest.param("multipart/form-data; boundary=x", id="a form of parts"),
        pytest.param("text/plain", id="plain text"),
        pytest.param("text/plain; application/json", id="plain text that names JSON"),
        pytest.param("text/json", id="JSON by another name"),
        pytest.param("application/javascript", id="a script"),
        pytest.param("", id="nothing"),
        pytest.param("json", id="no type"),
        pytest.param(None, id="no header"),
    ],
)
def test_a_body_is_of_a_wrong_type_whose_type_is(content_type: str | None, endpoint: str) -> None:
    site = any_site()
    client = site.app.test_client()
    reply = client.post(f"/accounts/{endpoint}/", data=JSON, content_type=content_type)
    check(reply)
    assert reply.status_code == 415
    assert site.users() == []


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_form_is_of_a_wrong_type(endpoint: str) -> None:
    site = any_site()
    for data in (dict(GOOD), {**GOOD, "file": (io.BytesIO(b"x"), "x.json")}):
        reply = site.app.test_client().post(f"/accounts/{endpoint}/", data=data)
        check(reply)
        assert reply.status_code == 415


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/hal+json"]
)
def test_json_may_be_called(content_type: str, site: Site) -> None:
    assert site.post("register", data=JSON, content_type=content_type).status_code == 201


# Awkward values in every field (I2)

STRINGS = [
    pytest.param("a\0b", id="a NUL"),
    pytest.param("a\ud800b", id="half of a surrogate pair"),
    pytest.param("a\u2028b", id="a line separator"),
    pytest.param("a\u202eb", id="a change of direction"),
    pytest.param("e" + "\u0301" * 10_000, id="10,000 combining marks"),
    pytest.param("\ufdfa" * 1000, id="a thousand ligatures of 18 letters"),
    pytest.param("x" * 255, id="255 characters"),
    pytest.param("x" * 256, id="256 characters"),
    pytest.param("x" * 1_000_000, id="a million characters"),
    pytest.param("{{7*7}}", id="a template"),
    pytest.param("%s%n", id="a format"),
    pytest.param("alice\r\nBcc: mallory@example.com", id="a header"),
    pytest.param("' OR 1=1; --", id="SQL"),
    pytest.param("\\", id="a backslash"),
    pytest.param("", id="nothing"),
    pytest.param(" ", id="a space"),
]
NUMBERS = [
    pytest.param(value, id=f"the number {value}") for value in (-1, 0, 2**31, 2**63, 10**30, True, 1.9, 1e308)
] + [pytest.param(value, id=f"the text {value!r}") for value in ("-1", "0", str(2**31), str(2**63), "1.9", "１", "1e3")]


def send_in_every_field(site: Site, value: Any, number: int = 0) -> None:
    """Send a value in each field of each endpoint, all others being right."""
    replies = [site.register(f"alice{number}")]
    good: dict[str, dict[str, Any]] = {
        "register": {},
        "verify-registration": dict(site.link()),
        "resend-verification": {"login": f"alice{number}", "email": f"alice{number}@example.com"},
    }
    for endpoint, fields in FIELDS.items():
        for name in fields:
            username = f"u{uuid.uuid4().hex}"
            if endpoint == "register":
                good["register"] = {**GOOD, "username": username, "email": f"{username}@example.com"}
            reply = site.post(endpoint, {**good[endpoint], name: value})
            check(reply)
            replies.append(reply)
    opened = [reply.get_json()["email"] for reply in replies if reply.status_code == 201]
    assert {user.email for user in site.users()} >= set(opened)
    assert len(site.users()) == len(site.outbox)
    for mail in site.outbox:
        assert len(mail.recipients) == 1
        assert mail.subject == site.outbox[0].subject


@pytest.mark.parametrize("value", [*STRINGS, *NUMBERS])
def test_every_field_takes_or_refuses(value: Any, new_site: NewSite) -> None:
    send_in_every_field(new_site(config=OPEN), value)


def test_every_field_takes_or_refuses_all_of_that_on_each_server(server_database: str, new_site: NewSite) -> None:
    site = new_site(server_database, config=OPEN)
    for number, row in enumerate([*STRINGS, *NUMBERS]):
        send_in_every_field(site, row.values[0], number)


def test_a_link_of_each_number_is_refused_on_each_database(database: str, new_site: NewSite) -> None:
    site = new_site(database, config=OPEN)
    site.register("alice")
    for row in NUMBERS:
        for name in ("user_id", "timestamp", "signature"):
            reply = site.post("verify-registration", {**site.link(), name: row.values[0]})
            assert (row.id, name, reply.status_code) == (row.id, name, 400)
            assert (row.id, name, reply.get_json().get("code")) == (row.id, name, "signature-invalid")
    assert not site.users()[0].is_verified


# Headers, methods, error pages (S7)


@pytest.mark.parametrize("slash", ["/", ""], ids=["with the slash", "without it"])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE"])
def test_another_method_is_not_allowed(method: str, endpoint: str, slash: str) -> None:
    site = any_site()
    reply = site.app.test_client().open(f"/accounts/{endpoint}{slash}", method=method, json=GOOD)
    assert reply.status_code == 405
    assert {allowed.strip() for allowed in reply.headers["Allow"].split(",")} == {"POST", "OPTIONS"}
    if method == "HEAD":
        assert reply.get_data() == b""
        assert reply.headers["Cache-Control"] == "no-store"
    else:
        check(reply)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_options_tells_which_methods_there_are(endpoint: str) -> None:
    reply = any_site().app.test_client().options(f"/accounts/{endpoint}/")
    assert reply.status_code == 200
    assert {allowed.strip() for allowed in reply.headers["Allow"].split(",")} == {"POST", "OPTIONS"}
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("slash", ["/", ""], ids=["with the slash", "without it"])
def test_an_endpoint_is_there(slash: str, site: Site) -> None:
    client = site.app.test_client()
    replies = [client.post(f"/accounts/register{slash}", json=GOOD)]
    replies.append(client.post(f"/accounts/verify-registration{slash}", json=site.link()))
    replies.append(client.post(f"/accounts/resend-verification{slash}", json={"login": "alice"}))
    assert [reply.status_code for reply in replies] == [201, 200, 200]
    for reply in replies:
        check(reply)


@pytest.mark.parametrize("slash", ["/", ""], ids=["with the slash", "without it"])
def test_a_flow_that_is_switched_off_is_not_found(slash: str, new_site: NewSite) -> None:
    site = new_site(REGISTER_FLOW_ENABLED=False, REGISTER_VERIFICATION_ENABLED=False)
    for endpoint in ENDPOINTS:
        reply = site.app.test_client().post(f"/accounts/{endpoint}{slash}", json={})
        check(reply)
        assert reply.status_code == 404
        assert reply.get_json()["code"] == "not-found"


def test_each_error_has_its_code() -> None:
    site = any_site()
    client = site.app.test_client()
    replies = {
        "bad-request": client.post("/accounts/register/", data=b"{", content_type="application/json"),
        "method-not-allowed": client.get("/accounts/register/"),
        "request-entity-too-large": client.post(
            "/accounts/register/", data=b" " * 2**17, content_type="application/json"
        ),
        "unsupported-media-type": client.post("/accounts/register/", data=b"{}"),
    }
    for code, reply in replies.items():
        check(reply)
        assert reply.get_json()["code"] == code
        assert reply.get_json()["detail"].endswith(".")


def test_the_applications_other_routes_keep_their_error_pages_and_headers(new_site: NewSite) -> None:
    site = new_site()

    @site.app.post("/else/")
    def elsewhere() -> ResponseReturnValue:
        request.get_json()
        request.max_content_length = 10
        request.get_data(cache=False)
        return "well"

    @site.app.get("/large/")
    def large() -> ResponseReturnValue:
        return "well", 413

    client = site.app.test_client()
    replies = [
        (404, client.get("/no/such/page")),
        (404, client.get("/accounts/no-such-page/")),
        (405, client.get("/else/")),
        (415, client.post("/else/", data="x")),
        (400, client.post("/else/", data="{", content_type="application/json")),
        (413, client.get("/large/")),
    ]
    for status, reply in replies:
        assert reply.status_code == status
        assert reply.mimetype == "text/html"
        assert "Cache-Control" not in reply.headers
        assert "X-Content-Type-Options" not in reply.headers
    other = client.post("/else/", data=b'"' + b"x" * 2**17 + b'"', content_type="application/json")
    assert other.status_code == 200  # our limit is not theirs


def test_the_applications_own_error_pages_are_not_ours_and_ours_are_not_theirs(site: Site) -> None:
    pages = Blueprint("pages", __name__)
    pages.add_url_rule("/page/", view_func=lambda: ("page", 200))
    site.app.register_blueprint(pages)
    site.app.register_error_handler(404, lambda error: ("their 404", 404))
    site.app.register_error_handler(405, lambda error: ("their 405", 405))
    site.app.register_error_handler(415, lambda error: ("their 415", 415))
    client = site.app.test_client()
    assert client.get("/nowhere").get_data() == b"their 404"
    assert client.post("/page/").get_data() == b"their 405"
    assert client.get("/accounts/register/").get_json()["code"] == "method-not-allowed"
    assert client.post("/accounts/register/").get_json()["code"] == "unsupported-media-type"


def test_an_applications_own_headers_are_kept(site: Site) -> None:
    @site.app.after_request
    def frame(response: Any) -> Any:
        response.headers["X-Frame-Options"] = "DENY"
        return response

    reply = site.register()
    check(reply)
    assert reply.headers["X-Frame-Options"] == "DENY"
