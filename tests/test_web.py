"""How large a body may be, how it may be called, and whose error pages are whose."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

from flask import Blueprint, abort, request
from flask.typing import ResponseReturnValue

from flask_registration import DEFAULT_FLOWS
from flask_registration.flows import verification_redirects

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


PAGES = {
    f"{name}_VERIFICATION_URL": f"http://localhost/accounts/{path}/"
    for name, path in (
        ("REGISTER", "verify-registration"),
        ("REGISTER_EMAIL", "verify-email"),
        ("RESET_PASSWORD", "reset-password"),
    )
}

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
        (404, client.get("/accounts-of-others/")),
        (404, client.get("/accounts/no-such-page/", headers={"Accept": "text/html,*/*;q=0.8"})),
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


@each_row("path", ["/accounts/no-such-page/", "/accounts/login/x", "/accounts/", "/accounts"])
def test_an_unknown_path_under_the_prefix_is_404_as_json(site: Site, path: str) -> None:
    client = site.app.test_client()
    for reply in (client.get(path), client.post(path, json={}, headers={"Accept": "*/*"})):
        check_reply(reply)
        assert (reply.status_code, reply.get_json()["code"]) == (404, "not-found")
    reply = client.get(path, headers={"Accept": "application/problem+json"})
    assert (reply.status_code, reply.mimetype) == (404, "application/problem+json")


def test_routes_of_the_application_under_the_prefix_are_its_own(site: Site) -> None:
    site.app.add_url_rule("/accounts/avatar/", "avatar", lambda: "avatar")
    site.app.add_url_rule("/accounts/<path:name>/x", "x", lambda name: abort(404))
    client = site.app.test_client()
    assert client.get("/accounts/avatar/").text == "avatar"
    assert client.get("/accounts/avatar").status_code == 308
    for status, reply in (
        (405, client.post("/accounts/avatar/")),
        (404, client.get("/accounts/a/x")),
    ):
        assert (reply.status_code, reply.mimetype) == (status, "text/html")


def test_an_application_whose_paths_are_all_ours_keeps_its_404(new_site: NewSite) -> None:
    assert new_site(URL_PREFIX="/").app.test_client().get("/nowhere").mimetype == "text/html"


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


# Bodies without a length, and what reads them first


def chunked(site: Site, path: str, body: bytes, **kwargs: Any) -> Any:
    """Send a body as a server does that has received it in chunks."""
    environ = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    client = kwargs.pop("client", None) or site.app.test_client()
    return client.open(path, input_stream=io.BytesIO(body), environ_overrides=environ, **kwargs)


def test_a_chunked_body_of_delete_is_a_body(site: Site) -> None:
    site.register()
    site.verify()
    client = site.app.test_client()
    site.post("login", {"login": "alice", "password": PASSWORD}, client=client)
    for body, content_type, status in (
        (b'{"password": "wrong"}', "application/json", 400),
        (b'{"password": "wrong"}', "text/plain", 415),
        (b"password=wrong", "application/x-www-form-urlencoded", 415),
        (b'{"password": ', "application/json", 400),
        (b"", "application/json", 400),
        (b" " * 2**20, "application/json", 413),
    ):
        reply = chunked(
            site,
            "/accounts/profile/",
            body,
            client=client,
            method="DELETE",
            content_type=content_type,
        )
        assert (reply.status_code, len(site.users())) == (status, 1), body[:30]
    right = json.dumps({"password": PASSWORD}).encode()
    options = {"method": "DELETE", "content_type": "application/json"}
    reply = chunked(site, "/accounts/profile/", right, client=client, **options)
    assert (reply.status_code, site.users()) == (204, [])


def test_a_body_of_delete_that_only_ends_is_a_body(site: Site) -> None:
    """HTTP/2 has neither a length nor a transfer encoding."""
    site.register()
    site.verify()
    client = site.app.test_client()
    site.post("login", {"login": "alice", "password": PASSWORD}, client=client)
    reply = client.delete(
        "/accounts/profile/",
        input_stream=io.BytesIO(b'{"password": "wrong"}'),
        content_type="application/json",
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert (reply.status_code, len(site.users())) == (400, 1)


class Unread(io.BytesIO):
    """A body of which a test knows how much was read."""

    def __init__(self, size: int) -> None:
        super().__init__(b"a" * size)


FORM = "application/x-www-form-urlencoded"


def test_no_endpoint_reads_a_body_beyond_the_limit(new_site: NewSite) -> None:
    site = new_site(flows=[*DEFAULT_FLOWS, verification_redirects.flow], **PAGES)
    site.app.before_request(lambda: request.form and None)  # as CSRF protection does
    for path in ("/accounts/reset-password/confirm/", "/accounts/register/"):
        for content_type in (FORM, "application/json", "multipart/form-data; boundary=x"):
            body = Unread(2**22)
            reply = site.app.test_client().post(
                path,
                input_stream=body,
                content_type=content_type,
                environ_overrides={"wsgi.input_terminated": True},
            )
            assert reply.status_code in (400, 413, 415), (path, content_type)
            assert body.tell() <= 2**18, (path, content_type)


def test_a_page_counts_a_client_before_it_reads_the_form(new_site: NewSite) -> None:
    site = new_site(
        flows=[*DEFAULT_FLOWS, verification_redirects.flow],
        THROTTLES={"reset_password": {"client": "1/minute"}},
        config={"RATELIMIT_ENABLED": True},
        **PAGES,
    )
    replies = []
    for _ in range(2):
        body = Unread(100)
        reply = site.app.test_client().post(
            "/accounts/reset-password/confirm/",
            input_stream=body,
            content_type=FORM,
            environ_overrides={"wsgi.input_terminated": True},
        )
        replies.append((reply.status_code, body.tell()))
    assert [status for status, _ in replies] == [400, 429]
    assert replies[1][1] == 0, "the form of a throttled client was read"


def test_the_limit_is_for_the_accounts_and_not_for_the_rest_of_the_application(site: Site) -> None:
    site.app.add_url_rule(
        "/upload", "upload", lambda: str(len(request.get_data())), methods=["POST"]
    )
    assert site.app.test_client().post("/upload", data=b" " * 2**20).text == str(2**20)
