"""How large a body may be, how it may be called, and whose error pages are whose."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from .site import PASSWORD, Site
from .tables import each_row
from .world import check_reply

NewSite = Callable[..., Site]

ENDPOINTS = ["register", "verify-registration", "resend-verification"]
GOOD = {
    "username": "alice",
    "email": "alice@example.com",
    "password": PASSWORD,
    "password_confirm": PASSWORD,
}
JSON = json.dumps(GOOD).encode()

#: An exception that nobody expected fails the test, rather than being answered by a 500.
OPEN = {"PROPAGATE_EXCEPTIONS": True}


# How large a body may be


def test_the_last_of_equal_keys_counts(site: Site) -> None:
    body = b'{"username": "mallory", "username": "alice", ' + JSON[len(b'{"username": "alice", ') :]
    reply = site.post("register", data=body, content_type="application/json")
    assert reply.status_code == 201
    assert [user.username for user in site.users()] == ["alice"]


def test_a_body_of_a_hundred_thousand_brackets_is_no_500_where_bodies_may_be_large(
    new_site: NewSite,
) -> None:
    site = new_site(MAX_CONTENT_LENGTH=2**21, config=OPEN)
    for body in (
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    ):
        reply = site.post("register", data=body, content_type="application/json")
        check_reply(reply)
        assert reply.status_code == 400


@each_row("length", [99, 100, 101])
def test_how_large_a_body_may_be_is_a_setting(length: int, new_site: NewSite) -> None:
    site = new_site(MAX_CONTENT_LENGTH=100)
    reply = site.post("register", data=b"{}".ljust(length), content_type="application/json")
    check_reply(reply)
    assert reply.status_code == (400 if length <= 100 else 413)


def test_a_body_that_does_not_say_how_large_it_is_is_measured(site: Site) -> None:
    reply = site.post(
        "register",
        data=None,
        input_stream=io.BytesIO(b" " * 2**20),
        content_type="application/json",
        environ_overrides={"wsgi.input_terminated": True},
    )
    check_reply(reply)
    assert reply.status_code == 413


def test_a_body_that_the_application_has_read_before_is_measured_too(site: Site) -> None:
    site.app.before_request(lambda: request.get_data() and None)
    reply = site.post("register", data=b"{}".ljust(2**20), content_type="application/json")
    check_reply(reply)
    assert reply.status_code == 413
    assert site.register().status_code == 201


def test_an_applications_stricter_limit_counts(new_site: NewSite) -> None:
    site = new_site(config={"MAX_CONTENT_LENGTH": 50})
    reply = site.post("register", data=b"{}".ljust(51), content_type="application/json")
    check_reply(reply)
    assert reply.status_code == 413


@each_row(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/hal+json",
    ],
)
def test_json_may_be_called(content_type: str, site: Site) -> None:
    assert site.post("register", data=JSON, content_type=content_type).status_code == 201


# Methods, headers, error pages


@each_row("endpoint", ENDPOINTS)
def test_options_tells_which_methods_there_are(endpoint: str, site: Site) -> None:
    reply = site.app.test_client().options(f"/accounts/{endpoint}/")
    assert reply.status_code == 200
    assert {allowed.strip() for allowed in reply.headers["Allow"].split(",")} == {"POST", "OPTIONS"}
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


@each_row("slash", ["/", ""], ids=["with the slash", "without it"])
def test_an_endpoint_is_there(slash: str, site: Site) -> None:
    client = site.app.test_client()
    replies = [client.post(f"/accounts/register{slash}", json=GOOD)]
    replies.append(client.post(f"/accounts/verify-registration{slash}", json=site.link()))
    replies.append(client.post(f"/accounts/resend-verification{slash}", json={"login": "alice"}))
    assert [reply.status_code for reply in replies] == [201, 200, 200]
    for reply in replies:
        check_reply(reply)


@each_row("slash", ["/", ""], ids=["with the slash", "without it"])
def test_a_flow_that_is_switched_off_is_not_found(slash: str, new_site: NewSite) -> None:
    site = new_site(REGISTER_FLOW_ENABLED=False, REGISTER_VERIFICATION_ENABLED=False)
    for endpoint in ENDPOINTS:
        reply = site.app.test_client().post(f"/accounts/{endpoint}{slash}", json={})
        check_reply(reply)
        assert reply.status_code == 404
        assert reply.get_json()["code"] == "not-found"


def test_each_error_has_its_code(site: Site) -> None:
    client = site.app.test_client()
    replies = {
        "bad-request": client.post(
            "/accounts/register/", data=b"{", content_type="application/json"
        ),
        "method-not-allowed": client.get("/accounts/register/"),
        "request-entity-too-large": client.post(
            "/accounts/register/", data=b" " * 2**17, content_type="application/json"
        ),
        "unsupported-media-type": client.post("/accounts/register/", data=b"{}"),
    }
    for code, reply in replies.items():
        check_reply(reply)
        assert reply.get_json()["code"] == code
        assert reply.get_json()["detail"].endswith(".")


def test_the_applications_other_routes_keep_their_error_pages_and_headers(
    new_site: NewSite,
) -> None:
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
    check_reply(reply)
    assert reply.headers["X-Frame-Options"] == "DENY"


def in_words_of_the_client(message: str, status: int, extra_data: Any) -> Any:
    return {"detail": message}, status, {"Vary": "Accept-Language"}


def test_every_reply_varies_with_the_cookie_whatever_else_it_varies_with(new_site: NewSite) -> None:
    site = new_site(SUCCESS_RESPONSE_BUILDER=in_words_of_the_client, LANGUAGES=["en"])
    reply = site.post("resend-verification", {"login": "nobody"})
    assert (reply.status_code, reply.vary.as_set()) == (200, {"accept-language", "cookie"})
    assert site.register().vary.as_set() == {"cookie"}
    assert site.register().vary.as_set() == {"accept", "cookie"}  # the name is taken
