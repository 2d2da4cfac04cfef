"""The pages under "How to" do what they say."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask, request

from flask_registration import Registration

from .pages import RunPage, blocks, log_in, read, register, taken_answers_like_free, url_in
from .site import PASSWORD, parameters

Home = Callable[..., Flask]


@pytest.fixture
def home(run: RunPage) -> Home:
    """An application over the model in a file of a page."""

    def make(page: str, module: str, model: str, **settings: Any) -> Flask:
        run(page)
        files, base = import_module(module), run("docs/customizing.md")
        base.db, base.User = files.db, getattr(files, model)
        app: Flask = base.create_app(Registration(), **settings)
        return app

    return make


def test_a_model_that_was_there_registers_and_logs_in(home: Home) -> None:
    app = home("docs/own-model.md", "shop", "Customer")
    reply, (mail,) = register(app, mail="alice@example.com", discount=100, mail_is_proven=True)
    assert reply.get_json() == {"mail": "alice@example.com"}
    client = app.test_client()
    assert (
        client.post("/accounts/verify-registration/", json=parameters(url_in(mail))).status_code
        == 200
    )
    log_in(client, "alice@example.com")
    with app.app_context():
        shop = import_module("shop")
        (customer,) = shop.db.session.scalars(shop.db.select(shop.Customer))
        assert (customer.discount, len(customer.security_stamp)) == (0, 22)


def test_people_log_in_by_address(home: Home) -> None:
    app = home("docs/email-only.md", "members", "Member")
    _, (mail,) = register(app, email="Alice@Example.com")
    client = app.test_client()
    assert (
        client.post("/accounts/verify-registration/", json=parameters(url_in(mail))).status_code
        == 200
    )
    for field in ("email", "login"):
        body = {field: "ALICE@example.com", "password": PASSWORD}
        assert app.test_client().post("/accounts/login/", json=body).status_code == 200
    again, _ = register(app, email="alice@example.com")
    assert (again.status_code, again.get_json()["email"]) == (201, "alice@example.com")


def test_fields_are_what_their_columns_and_lists_say(home: Home) -> None:
    app = home("docs/own-fields.md", "users", "User")
    assert set(register(app)[0].get_json()) == {"company"}
    assert set(register(app, company="x" * 81)[0].get_json()) == {"company"}
    reply, (mail,) = register(app, company="Acme", plan="gold", is_admin=True)
    assert reply.get_json() == {
        "username": "alice",
        "email": "alice@example.com",
        "company": "Acme",
        "newsletter": False,
        "plan": "gold",
    }
    client = app.test_client()
    client.post("/accounts/verify-registration/", json=parameters(url_in(mail)))
    log_in(client, "alice")
    changed = client.patch(
        "/accounts/profile/", json={"company": "Other", "plan": "free", "is_admin": True}
    ).get_json()
    assert (changed["company"], changed["plan"]) == ("Other", "gold")
    with app.app_context():
        users = import_module("users")
        assert users.db.session.scalars(users.db.select(users.User.is_admin)).one() is False


def test_a_schema_of_one_s_own_takes_a_code_and_terms(run: RunPage) -> None:
    page = run("docs/own-schema.md")
    app = page.create_app()
    with app.app_context():
        page.db.create_all()
    assert set(register(app, code="spring")[0].get_json()) == {"terms"}
    assert register(app, code="spring", terms=False)[0].get_json() == {
        "terms": ["Please accept the terms."]
    }
    assert register(app, code="x", terms=True)[0].get_json() == {
        "code": ["This code is not valid."]
    }
    weak, _ = register(app, code="partner", terms=True, password="password")
    assert set(weak.get_json()) == {"password"}
    reply, mails = register(app, code="partner", terms=True, plan="platinum")
    assert (reply.status_code, len(mails)) == (201, 1)
    with app.app_context():
        assert page.db.session.scalars(page.db.select(page.User)).one().plan == "gold"
    taken_answers_like_free(app, code="spring", terms=True)


def test_mails_are_in_one_s_own_words_and_frame(run: RunPage) -> None:
    run("docs/own-mail.md")
    page = run("docs/customizing.md")
    for block in blocks(read("docs/own-mail.md")):  # the other page has a template of the same mail
        if block.caption:
            with open(block.caption, "w", encoding="utf-8") as file:
                file.write(block.text)
    app = page.create_app(REGISTRATION_MAIL_LIMITS=None)
    _, (mail,) = register(app)
    assert "Example Books" in (mail.html or "")
    with app.app_context(), app.extensions["mail"].record_messages() as outbox:
        reply = app.test_client().post(
            "/accounts/send-reset-password-link/", json={"login": "alice"}
        )
    assert (reply.status_code, outbox[0].subject) == (200, "A new key for Example Books")
    assert "This link expires in 1 day and can be used only once." in outbox[0].body
    assert "&amp;user_id=" in outbox[0].html
    assert "Example Books" in outbox[0].html


def test_behind_a_proxy_a_client_has_its_own_address(run: RunPage) -> None:
    page = run("docs/proxy.md")
    page.app.add_url_rule("/seen", view_func=lambda: f"{request.remote_addr} {request.scheme}")
    headers = {"X-Forwarded-For": "6.6.6.6, 203.0.113.7", "X-Forwarded-Proto": "https"}
    assert page.app.test_client().get("/seen", headers=headers).text == "203.0.113.7 https"


def test_a_mobile_app_lives_by_tokens(run: RunPage) -> None:
    page = run("docs/mobile.md")
    app = page.create_app()
    with app.app_context():
        page.db.create_all()
    _, (mail,) = register(app)
    phone = SimpleNamespace(client=app.test_client(), token="")

    def ask(method: str, endpoint: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {phone.token}"} if phone.token else {}
        return phone.client.open(
            f"/accounts/{endpoint}/", method=method, json=body, headers=headers
        )

    ask("POST", "verify-registration", parameters(url_in(mail)))
    reply = ask("POST", "login", {"login": "alice", "password": PASSWORD})
    cookies = [cookie.partition("=")[0] for cookie in reply.headers.getlist("Set-Cookie")]
    assert cookies == ["registration_device"]  # and no session
    phone.token = reply.get_json()["token"]
    assert [login["kind"] for login in ask("GET", "logins").get_json()] == ["token"]
    other = "another good long phrase of words"
    change = {"old_password": PASSWORD, "password": other, "password_confirm": other}
    before, phone.token = phone.token, ask("POST", "change-password", change).get_json()["token"]
    assert ask("GET", "profile").status_code == 200
    phone.token, now = before, phone.token
    assert ask("GET", "profile").get_json()["code"] == "not-authenticated"
    phone.token = now
    assert ask("POST", "logout", {}).status_code == 200
    assert ask("GET", "profile").status_code == 401


def test_forms_register_verify_and_log_in(run: RunPage) -> None:
    run("docs/actions.md")
    files = import_module("site_with_forms")
    app = files.create_app(TESTING=True)
    with app.app_context():
        files.db.create_all()
    client, fields = app.test_client(), {"username": "alice", "email": "alice@example.com"}
    assert b"blank" in client.post("/sign-up/", data=fields).data
    with files.mail.record_messages() as sent:
        client.post("/sign-up/", data={**fields, "password": PASSWORD})
    body = {"login": "alice", "password": PASSWORD}
    assert b"Incorrect username" in client.post("/log-in/", data=body).data
    assert b"blank" in client.post("/log-in/", data={"login": "alice"}).data
    url = url_in(sent[0]).removeprefix("https://example.com")
    assert b"<button>" in client.get(url).data
    assert client.post(url).location == "/log-in/"
    assert client.post("/log-in/", data=body).location == "/"
    assert client.get("/").text == "Hello, alice!"
    assert b"not valid" in client.post(url.replace("signature=", "signature=x")).data
