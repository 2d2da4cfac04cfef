"""The README, the pages in ``docs/`` and the changelog say what is true."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import importlib
import json
import logging
import re
import shutil
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any, cast

import altcha
import bcrypt
import pyotp
import pytest
from babel.messages.frontend import CommandLineInterface
from blinker import NamedSignal
from werkzeug.security import generate_password_hash
from werkzeug.utils import import_string

import flask_registration
from flask_registration import (
    DEFAULT_FLOWS,
    APIError,
    Flow,
    Registration,
    __version__,
    announce,
    errors,
    gate,
    mail_failed,
    signals,
)
from flask_registration.cli.base import registration_cli
from flask_registration.cli.configuration import settings_page
from flask_registration.extension import SETTINGS_GROUPS
from flask_registration.flows import (
    approval,
    codes,
    invitations,
    leaving,
    mail_login,
    reauthenticate,
    second_factor,
    sign_up,
    terms,
    verification_redirects,
)
from flask_registration.flows.default import OPTIONAL_FLOWS, extra_settings
from flask_registration.mail.composer import default_templates
from flask_registration.settings import PREFIX, declarations, keys
from flask_registration.state import PASSWORD_CHANGED
from flask_registration.testing import Accounts, Clock, Outbox

from .pages import (
    PAGES,
    ROOT,
    RunPage,
    blocks,
    docs_module,
    log_in,
    member,
    named_tests,
    read,
    register,
    taken_answers_like_free,
    url_in,
)
from .site import CONFIG, PASSWORD, Site, parameters
from .tables import each_row
from .test_events import EVENTS_IN_ORDER

GROUPS = (*(flow.group for flow in DEFAULT_FLOWS), *SETTINGS_GROUPS, *extra_settings())
OPTIONAL: list[Flow[Any]] = [import_string(path) for path in OPTIONAL_FLOWS]
SETTINGS = [declaration for group in GROUPS for declaration in declarations(group)]
OTHER_PASSWORD = "another good long phrase of words"


# The examples


@each_row("page", [page for page in PAGES if any(block.runs for block in blocks(read(page)))])
def test_the_examples_of_a_page_run(page: str, run: RunPage) -> None:
    run(page)


def test_the_readme_s_application_registers_and_verifies(run: RunPage) -> None:
    app = run("README.md").app
    reply, outbox = register(app, username="alice", is_active=False)
    assert (reply.status_code, len(outbox)) == (201, 1)
    (url,) = re.findall(r"https://example\.com/verify/\?\S+", outbox[0].body or "")
    client = app.test_client()
    assert client.post("/accounts/verify-registration", json=parameters(url)).status_code == 200
    for name in ("login", "username", "email"):
        reply = client.post("/accounts/resend-verification", json={name: "nobody@example.com"})
        assert reply.status_code == 200
    log_in(client, "alice")
    assert [login["kind"] for login in client.get("/accounts/logins").get_json()] == ["session"]
    reply = client.post("/accounts/register-email/", json={"email": "new@example.com"})
    assert reply.status_code == 200


def test_the_quickstart_works(run: RunPage) -> None:
    page = run("docs/quickstart.md")
    page.test_sign_up()
    app = page.create_app()
    assert app.test_client().post("/accounts/register/").status_code == 404
    assert b"Username" in app.test_client().get("/accounts/finish-sign-up/").data
    with app.app_context():
        page.seed()
        assert (
            page.db.session.scalars(page.db.select(page.User).filter_by(username="bob"))
            .one()
            .is_verified
        )
    log_in(app.test_client(), "bob", "another horse battery")


@each_row(
    ("model", "body", "shown"),
    [
        (
            "User",
            {"company": "Acme", "is_admin": True},
            {"username", "email", "first_name", "last_name", "company"},
        ),
        ("Member", {}, {"email", "first_name", "last_name"}),
        (
            "Customer",
            {"nickname": "alice", "address": "alice@example.com"},
            {"nickname", "address"},
        ),
        ("Guest", {}, {"username", "email", "first_name", "last_name"}),
        ("Subscriber", {}, {"email"}),
    ],
)
def test_the_models_of_the_documentation_register(
    model: str, body: dict[str, Any], shown: set[str], run: RunPage
) -> None:
    page, home = run("docs/models.md"), run("docs/customizing.md")
    home.db, home.User = page.db, getattr(page, model)
    app = home.create_app(Registration())
    reply, outbox = register(app, **body)
    assert (reply.status_code, len(outbox)) == (201, 1)
    assert set(reply.get_json()) == shown
    with app.app_context():
        (user,) = page.db.session.scalars(page.db.select(home.User))
        assert not getattr(user, "is_admin", False)
    client = app.test_client()
    assert (
        client.post(
            "/accounts/verify-registration/", json=parameters(url_in(outbox[0]))
        ).status_code
        == 200
    )
    (field,) = getattr(home.User, "LOGIN_FIELDS", ["username"])
    log_in(client, reply.get_json()[field])
    assert set(client.get("/accounts/profile/").get_json()) > shown


def test_a_rule_and_a_hasher_of_one_s_own(run: RunPage) -> None:
    page, home = run("docs/passwords.md"), run("docs/customizing.md")
    app = home.create_app(
        REGISTRATION_PASSWORD_VALIDATORS=page.RULES, REGISTRATION_PASSWORD_HASHER=page.HASHER
    )
    weak = "Open Sesame, said the forty thieves"
    reply, _ = register(app, password=weak, password_confirm=weak)
    assert reply.get_json() == {"password": ["Forty thieves know this one."]}
    assert register(app)[0].status_code == 201
    with app.app_context():
        assert "m=65536" in home.db.session.scalars(home.db.select(home.User)).one().password_hash


def test_a_dispatcher_of_one_s_own(run: RunPage) -> None:
    page, home = run("docs/mail.md"), run("docs/customizing.md")
    _, sent = register(home.create_app(REGISTRATION_MAIL_DISPATCHER=page.enqueue))
    recipients, data = page.outgoing.get_nowait()
    assert (sent, recipients) == ([], ["alice@example.com"])
    assert b"verify-registration" in data


def test_the_outbox_of_the_documentation(run: RunPage) -> None:
    page = run("docs/mail.md")
    app = page.create_app()
    with app.app_context():
        page.db.create_all()
    _, outbox = register(app)
    assert [mail.recipients for mail in outbox] == [["alice@example.com"]]
    with app.app_context():
        assert page.db.session.scalars(page.db.select(page.Outbox.state)).all() == ["sent"]


def test_the_celery_of_the_documentation(run: RunPage) -> None:
    page = run("docs/mail.md")
    app = page.create_app_with_celery()
    app.extensions["celery"].conf.task_always_eager = True
    with app.app_context():
        page.db.create_all()
    _, outbox = register(app)
    assert [mail.recipients for mail in outbox] == [["alice@example.com"]]


def test_the_receivers_of_the_documentation_are_told(
    run: RunPage, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    run("docs/signals.md")
    site.app.logger.setLevel("INFO")
    site.register()
    site.verify()
    with site.app.app_context():
        announce(mail_failed, user=None, template="register", error=OSError("no route"))
    assert caplog.messages == [
        "A workspace for alice.",
        "The mail 'register' for None is lost: no route",
    ]


def test_the_tests_of_the_documentation_pass(pytester: pytest.Pytester) -> None:
    found = [block for block in blocks(read("docs/testing.md")) if block.info.endswith("python")]
    others = pytester.mkdir("others")
    for block in found:
        path = pytester.path / (block.caption or others / "conftest.py")
        path.write_text(block.text, "utf-8")
    shutil.copy(pytester.path / "test_shop.py", others / "test_others.py")
    result = pytester.runpytest_inprocess(
        "-p", "no:cacheprovider", "-W", "error::pytest.PytestWarning"
    )
    count = {
        path.name: len(re.findall(r"^def test_", path.read_text("utf-8"), re.M))
        for path in pytester.path.glob("*.py")
    }
    result.assert_outcomes(passed=sum(count.values()) + count["test_shop.py"])


def test_customizing_the_body(run: RunPage) -> None:
    page = run("docs/customizing.md")
    app = page.create_app(REGISTRATION_REGISTER_SCHEMA_CLASS=page.Signup)
    reply, _ = register(app, terms=True)
    assert (reply.status_code, reply.get_json()["username"]) == (201, "alice")
    assert set(register(app)[0].get_json()) == {"terms"}
    taken_answers_like_free(app, terms=True)


def test_customizing_the_answers(run: RunPage) -> None:
    page = run("docs/customizing.md")
    reply, _ = register(page.create_app(REGISTRATION_REGISTER_OUTPUT_SCHEMA_CLASS=page.Welcome))
    assert reply.get_json() == {"name": "alice", "next": "Look into your mailbox."}
    app = page.create_app(REGISTRATION_SUCCESS_RESPONSE_BUILDER=page.enveloped)
    assert (
        app.test_client()
        .post("/accounts/resend-verification/", json={"login": "x"})
        .get_json()["ok"]
        is True
    )


def test_customizing_the_login(run: RunPage) -> None:
    page = run("docs/customizing.md")
    app = page.create_app(
        REGISTRATION_LOGIN_SCHEMA_CLASS=page.CardLogin,
        REGISTRATION_LOGIN_AUTHENTICATOR=page.by_card,
        REGISTRATION_SEND_RESET_PASSWORD_LINK_SCHEMA_CLASS=page.ByCard,
        REGISTRATION_SEND_RESET_PASSWORD_LINK_USER_FINDER=page.by_card,
    )
    _, outbox = register(app)
    client = app.test_client()
    for card, code in (("4711", "login-invalid"), ("4712", "login-invalid")):
        assert client.post("/accounts/login/", json={"card": card}).get_json()["code"] == code
    client.post("/accounts/verify-registration/", json=parameters(url_in(outbox[0])))
    assert client.post("/accounts/login/", json={"card": "4711"}).status_code == 200
    assert client.get("/accounts/profile/").get_json()["username"] == "alice"
    with app.app_context(), app.extensions["mail"].record_messages() as outbox:
        replies = [
            client.post("/accounts/send-reset-password-link/", json={"card": card})
            for card in ("4712", "4711")
        ]
    assert replies[0].get_json() == replies[1].get_json()
    assert [mail.recipients for mail in outbox] == [["alice@example.com"]]


def test_customizing_the_profile(run: RunPage) -> None:
    page = run("docs/customizing.md")
    client = member(page, page.create_app(REGISTRATION_PROFILE_SCHEMA_CLASS=page.OwnProfile))
    assert set(client.get("/accounts/profile/").get_json()) == {
        "username",
        "first_name",
        "member_since",
    }
    reply = client.patch(
        "/accounts/profile/", json={"first_name": "Alice", "username": "bob", "last_name": "L"}
    )
    assert (reply.get_json()["first_name"], reply.get_json()["username"]) == ("Alice", "alice")
    assert set(client.put("/accounts/profile/", json={}).get_json()) == {"first_name"}


def test_json_errors_of_the_applications_own_views(run: RunPage, site: Site) -> None:
    site.app.register_blueprint(run("docs/errors.md").api)
    reply = site.app.test_client().get("/api/orders/")
    assert (reply.status_code, reply.get_json()["code"]) == (401, "not-authenticated")
    assert reply.headers["WWW-Authenticate"] == "Bearer"
    site.register("alice")
    client = site.app.test_client()
    site.verify()
    site.post("login", {"login": "alice", "password": PASSWORD}, client=client)
    assert client.get("/api/orders/").get_json() == {"user": "alice"}


def test_customizing_templates(run: RunPage) -> None:
    page = run("docs/customizing.md")
    _, (mail,) = register(page.create_app())
    assert mail.subject == "Hello alice, one more click"
    assert "That is my address" in (mail.html or "")
    _, (mail,) = register(
        page.create_app(REGISTRATION_REGISTER_VERIFICATION_EMAIL_TEMPLATES=page.HELLO)
    )
    assert mail.subject == "Hello alice@example.com"
    assert "\nhttps://example.com/verify-registration/?timestamp=" in (mail.body or "")
    app = page.create_app(REGISTRATION_VERIFICATION_TEMPLATES_SELECTOR=page.by_language)
    _, (mail,) = register(app, headers={"Accept-Language": "de"})
    assert (mail.subject, mail.html) == ("Guten Tag, alice", None)


def test_say_in_a_template_of_one_s_own(run: RunPage) -> None:
    page = run("docs/customizing.md")
    app = page.create_app()
    client = member(page, app)
    body = {
        "old_password": PASSWORD,
        "password": OTHER_PASSWORD,
        "password_confirm": OTHER_PASSWORD,
    }
    app.extensions["mail"].suppress = True
    with app.app_context(), app.extensions["mail"].record_messages() as outbox:
        assert client.post("/accounts/change-password/", json=body).status_code == 200
    assert [mail.subject for mail in outbox] == ["example.com: your password was changed"]


def test_the_language_of_a_user_and_other_words(run: RunPage) -> None:
    page = run("docs/languages.md")
    (command,) = re.findall(
        r"^\.venv/bin/(pybabel compile .*)$", read("docs/languages.md"), re.MULTILINE
    )
    cast(Any, CommandLineInterface()).run(command.split())
    app = page.create_app()
    refused = app.test_client().post(
        "/accounts/login/", json={"login": "alice", "password": "wrong"}
    )
    assert refused.get_json() == {
        "detail": "Das passt nicht zusammen. Bitte noch einmal.",
        "code": "login-invalid",
    }
    _, (mail,) = register(app, headers={"Accept-Language": "en"}, language="fr")
    assert '<html lang="fr">' in (mail.html or "")
    _, (mail,) = register(app, username="bob", email="bob@example.com")
    assert "Schön, dass du da bist!" in (mail.html or "")
    assert "Der Link ist" in (mail.body or "")


def test_customizing_the_mail(run: RunPage) -> None:
    page = run("docs/customizing.md")
    _, (mail,) = register(page.create_app(REGISTRATION_VERIFICATION_URL_BUILDER=page.as_path))
    assert re.search(r"https://example\.com/verify-registration/\d+/1/[\w.-]+\s", mail.body or "")
    context = page.with_help(
        None, "a@b.example", {"verification_url": "x"}, notification_type=1, notification_method=1
    )
    assert set(context) == {"user", "email", "help", "verification_url"}
    _, (mail,) = register(
        page.create_app(REGISTRATION_VERIFICATION_TEMPLATE_CONTEXT_BUILDER=page.with_help)
    )
    assert "verification_url" not in mail.subject
    _, (mail,) = register(
        page.create_app(REGISTRATION_VERIFICATION_TEMPLATE_RENDERER=page.in_plain_words)
    )
    assert (mail.subject, mail.html) == ("Welcome", None)
    _, mails = register(
        page.create_app(REGISTRATION_REGISTER_VERIFICATION_EMAIL_SENDER=page.by_pigeon)
    )
    assert (mails, page.sent[0][0]) == ([], "alice")
    _, mails = register(page.create_app(REGISTRATION_MAIL_DISPATCHER=page.enqueue))
    assert (mails, len(page.queue)) == ([], 1)


def test_customizing_with_decorators(run: RunPage) -> None:
    page = run("docs/customizing.md")
    page.NIGHT = True
    reply, _ = register(
        page.create_app(REGISTRATION_NOT_AUTHENTICATED_DECORATORS=[page.closed_at_night])
    )
    assert (reply.status_code, reply.get_json()["code"]) == (403, "forbidden")


def test_customizing_which_flows_there_are(run: RunPage) -> None:
    page = run("docs/customizing.md")
    app = page.create_app(Registration(flows=page.flows), REGISTRATION_REGISTER_FLOW_ENABLED=False)
    assert register(app)[0].status_code == 404
    assert app.test_client().post("/accounts/change-password/", json={}).status_code == 404


def test_a_flow_of_one_s_own(run: RunPage) -> None:
    page = run("docs/customizing.md")
    register(page.app)
    with page.app.app_context():
        url = page.newsletter.unsubscribe_url(
            page.db.session.scalars(page.db.select(page.User)).one()
        )
    client, link = page.app.test_client(), parameters(url)
    assert client.post("/accounts/unsubscribe/", json=link).get_json() == {
        "detail": "You have left the newsletter"
    }
    with page.app.app_context():
        assert (
            page.db.session.scalars(page.db.select(page.User)).one().first_name == "Former reader"
        )
    reply = client.post("/accounts/verify-registration/", json=link)
    assert reply.get_json()["code"] == "signature-invalid"


def test_the_description_of_a_flow_of_one_s_own(run: RunPage) -> None:
    page = run("docs/api-description.md")
    document = page.app.test_client().get("/accounts/openapi.json").get_json()
    replies = document["paths"]["/accounts/invite/"]["post"]["responses"]
    assert set(replies) >= {"202", "401", "415"}
    assert document["components"]["schemas"]["Invited"]["required"] == ["detail", "left"]
    client = page.create_app(
        REGISTRATION_OPENAPI_PAGE_PATH="/docs/", REGISTRATION_OPENAPI_EDITOR=page.edit
    ).test_client()
    assert client.get("/accounts/docs/").status_code == 200
    document = client.get("/accounts/openapi.json").get_json()
    assert document["info"]["title"] == "The shop's accounts"


def test_sessions_in_views_of_one_s_own(run: RunPage) -> None:
    page, home = run("docs/sessions.md"), run("docs/customizing.md")
    home.db, home.User = page.db, page.User
    flows = [*DEFAULT_FLOWS, reauthenticate.flow]
    app = home.create_app(Registration(models=[page.Login], flows=flows))
    app.register_blueprint(page.site)
    page.login_manager.init_app(app)
    client = member(home, app)
    assert client.get("/members").text == "Hello alice"
    assert app.test_client().get("/members").headers["Location"].startswith("/login")
    assert app.test_client().get("/accounts/profile/").get_json()["code"] == "not-authenticated"
    assert client.post("/api-keys").status_code == 200
    with app.app_context():
        page.db.session.execute(page.db.update(page.Login).values(fresh_at=None))
        page.db.session.commit()
    assert client.post("/api-keys").status_code == 401
    reply = client.post("/accounts/reauthenticate/", json={"password": PASSWORD})
    assert reply.get_json() == {"detail": "Re-authentication successful"}
    assert client.post("/api-keys").status_code == 200
    (example,) = (block for block in blocks(read("docs/sessions.md")) if block.info == "json")
    (login,) = client.get("/accounts/logins/").get_json()
    assert set(login) == set(json.loads(example.text)[0])
    with app.test_request_context():
        page.log_in_by_other_means(page.db.session.scalars(page.db.select(page.User)).one())
    assert len(client.get("/accounts/logins/").get_json()) == 2
    with app.app_context():
        page.db.session.execute(page.db.update(page.Login).values(expires_at=datetime(2020, 1, 1)))
        page.db.session.commit()
    app.test_cli_runner().invoke(registration_cli, ["purge"])
    with app.app_context():
        assert page.db.session.scalars(page.db.select(page.Login)).all() == []
    assert client.get("/accounts/profile/").status_code == 401
    log_in(client, "alice")
    with app.app_context():
        page.log_out_everywhere(page.db.session.scalars(page.db.select(page.User)).one())
    assert client.get("/accounts/profile/").status_code == 401
    columns = re.findall(
        r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", read("docs/sessions.md"), re.MULTILINE))
    )
    assert {"user_id", *columns} == set(page.Login.__table__.columns.keys())


def test_a_step_of_one_s_own(run: RunPage) -> None:
    page = run("docs/login-steps.md")
    app = page.create_app(**CONFIG, SQLALCHEMY_DATABASE_URI="sqlite://")

    @app.post("/passkey")  # type: ignore[untyped-decorator]  # the page is typed at run time
    def passkey() -> Any:
        return page.log_in_with_passkey(page.db.session.scalars(page.db.select(page.User)).one())

    with app.app_context():
        page.registration.create_user(
            username="alice", email="alice@example.com", password=PASSWORD
        )
        page.db.session.commit()
    client = app.test_client()
    assert client.post("/passkey").headers["Location"] == "/steps/terms"
    reply = client.post("/accounts/login/", json={"login": "alice", "password": PASSWORD})
    (example,) = (block for block in blocks(read("docs/login-steps.md")) if block.info == "json")
    challenge = reply.get_json()["challenge"]
    assert {**reply.get_json(), "challenge": "gJq0fVtF…"} == json.loads(example.text)
    for version, status in (("2020-01", 400), (page.terms.VERSION, 200)):
        body = {"challenge": challenge, "version": version}
        assert client.post("/accounts/accept-terms/", json=body).status_code == status
    assert client.get("/accounts/profile/").status_code == 200
    assert client.post("/passkey").headers["Location"] == "/"


def test_the_codes_of_the_documentation(run: RunPage) -> None:
    page = run("docs/codes.md")
    config = {name: value for name, value in CONFIG.items() if "URL" not in name}
    urls = {
        "REGISTRATION_UNDO_EMAIL_CHANGE_URL": "https://example.com/undo/",
        "REGISTRATION_RESET_PASSWORD_VERIFICATION_URL": "https://example.com/reset/",
    }
    app = page.create_app(**config, **urls, SQLALCHEMY_DATABASE_URI="sqlite://")
    with Outbox().recording(app) as outbox:
        assert page.verify(Accounts(app, outbox, Clock)).status_code == 200
        reply = app.test_client().post(
            "/accounts/send-reset-password-link/", json={"login": "alice"}
        )
    (example,) = (block for block in blocks(read("docs/codes.md")) if block.info == "json")
    assert reply.get_json().keys() == json.loads(example.text).keys()
    assert reply.get_json()["detail"] == json.loads(example.text)["detail"]


def test_two_factor_authentication(run: RunPage) -> None:
    page = run("docs/second-factor.md")
    with page.app.app_context():
        for name in ("alice", "bob"):
            page.registration.create_user(
                username=name, email=f"{name}@example.org", password=PASSWORD
            )
        page.db.session.commit()
    client = page.app.test_client()
    log_in(client, "alice")
    enrollment = client.post("/accounts/totp/", json={}).get_json()
    examples = [
        block.text for block in blocks(read("docs/second-factor.md")) if block.info == "json"
    ]
    assert enrollment.keys() == json.loads(examples[0]).keys()
    with page.app.app_context():
        page.import_secrets({"bob": "JBSW Y3DP-EHPK 3PXP JBSW Y3DP EHPK 3PXP"})
    reply = page.app.test_client().post(
        "/accounts/login/", json={"login": "bob", "password": PASSWORD}
    )
    step = {**reply.get_json(), "methods": ["totp", "recovery-code"], "challenge": "gJq0fVtF…"}
    assert step == json.loads(examples[2])
    code = pyotp.TOTP("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP").now()
    body = {"challenge": reply.get_json()["challenge"], "code": code}
    assert page.app.test_client().post("/accounts/second-factor/", json=body).status_code == 200
    assert page.required(page.User(email="alice@example.com"))


def test_a_profile_of_one_s_own(run: RunPage) -> None:
    page, home = run("docs/profile.md"), run("docs/customizing.md")
    home.db, home.User = page.db, page.User
    app = home.create_app(Registration(), REGISTRATION_PROFILE_DELETER=page.anonymise)
    client = member(home, app)
    changes = {"city": "Ulm", "plan": "gold", "username": "bob", "email": "bob@example.com"}
    for method in ("PATCH", "PUT", "POST"):
        reply = client.open("/accounts/profile/", method=method, json=changes)
        profile = {
            "id": 1,
            "username": "alice",
            "email": "alice@example.com",
            "city": "Ulm",
            "plan": "free",
        }
        assert reply.get_json() == profile
    assert client.delete("/accounts/profile/").status_code == 204
    with app.app_context():
        user = page.db.session.scalars(page.db.select(page.User)).one()
        assert (user.username, user.city, user.is_active) == ("deleted-1", None, False)
    assert register(app)[0].status_code == 201


def test_hashes_of_another_make_are_replaced(run: RunPage) -> None:
    home = run("docs/customizing.md")
    app = home.create_app()
    member(home, app)
    digest = base64.b64encode(
        hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), b"salt", 1000)
    ).decode()
    werkzeug = [
        generate_password_hash(PASSWORD),
        generate_password_hash(PASSWORD, "pbkdf2:sha256:1000"),
    ]
    for foreign in [
        *werkzeug,
        f"pbkdf2_sha256$1000$salt${digest}",
        bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode(),
    ]:
        with app.app_context():
            home.db.session.scalars(home.db.select(home.User)).one().password_hash = foreign
            home.db.session.commit()
        log_in(app.test_client(), "alice")
        with app.app_context():
            stored = home.db.session.scalars(home.db.select(home.User)).one().password_hash
        assert stored.startswith("$argon2id$")


def test_pages_behind_the_links(run: RunPage) -> None:
    page, home = run("docs/redirects.md"), run("docs/customizing.md")
    app = home.create_app(page.registration, **page.SETTINGS)
    _, outbox = register(app)
    url = url_in(outbox[0])
    client = app.test_client()
    path = url.removeprefix("https://example.com")
    rows = re.findall(r"^\| GET `(\S+)` \| `(\S+)` \|", read("docs/redirects.md"), re.MULTILINE)
    assert {row[0] for row in rows} >= {path.partition("?")[0]}
    mounted = {each.path for flow in DEFAULT_FLOWS for each in flow.endpoints}
    for asked, form in rows:
        if asked.removeprefix("/accounts") in mounted:
            assert f'action="{form}"' in client.get(asked).text
    pages = [each for each in verification_redirects.flow.endpoints if each.path.endswith("/")]
    assert len(rows) == len(pages) / 2
    form = dict(rows)[path.partition("?")[0]]
    reply = client.post(form, data=parameters(url), headers={"Origin": "https://elsewhere.example"})
    assert reply.status_code == 400
    assert (
        client.post(form, data={**parameters(url), "signature": "x"}).headers["Location"]
        == "/sorry"
    )
    assert client.post(form, data=parameters(url)).headers["Location"] == "/welcome"
    log_in(client, "alice")


def test_a_change_of_address_is_taken_back_whatever_came_after_it(run: RunPage) -> None:
    home = run("docs/customizing.md")
    app = home.create_app(REGISTRATION_MAIL_LIMITS=None)
    app.testing = app.extensions["mail"].suppress = True
    thief = member(home, app)
    with app.app_context(), app.extensions["mail"].record_messages() as outbox:
        for email in ("thief@example.com", "den@example.com"):
            assert thief.post("/accounts/register-email/", json={"email": email}).status_code == 200
            assert (
                thief.post(
                    "/accounts/verify-email/", json=parameters(url_in(outbox[-1]))
                ).status_code
                == 200
            )
        body = {
            "old_password": PASSWORD,
            "password": OTHER_PASSWORD,
            "password_confirm": OTHER_PASSWORD,
        }
        assert thief.post("/accounts/change-password/", json=body).status_code == 200
        assert thief.post("/accounts/logout/", json={"everywhere": True}).status_code == 200
        log_in(thief, "alice", OTHER_PASSWORD)
        notices = [
            mail
            for mail in outbox
            if "was changed" in (mail.subject or "") and "https://" in (mail.body or "")
        ]
        undo = [parameters(url_in(mail)) for mail in notices]
        assert [link["email"] for link in undo] == ["alice@example.com"]
        replies = [
            app.test_client().post("/accounts/undo-email-change/", json=link) for link in undo
        ]
        assert [reply.status_code for reply in replies] == [200]
    assert thief.get("/accounts/profile/").status_code == 401


# What the pages say


def test_the_page_of_endpoints_lists_every_endpoint() -> None:
    page = docs_module("reference").endpoints_page()
    listed = re.findall(r"^### `(\w+) /accounts(/\S+)`$", page, re.MULTILINE)
    flows = [*DEFAULT_FLOWS, *(flow for flow in OPTIONAL if not flow.pages)]
    endpoints = (endpoint for flow in flows for endpoint in flow.endpoints)
    there = [(method, endpoint.path) for endpoint in endpoints for method in endpoint.methods]
    assert sorted(listed) == sorted(
        (name, re.sub("<(\\w+)>", "{\\1}", path)) for name, path in there
    )


def test_every_mail_is_documented_with_its_templates() -> None:
    folder = ROOT / "flask_registration" / "templates"
    flows = [*DEFAULT_FLOWS, *OPTIONAL]
    emails = {each.name: each for flow in flows for each in flow.emails}
    emails[PASSWORD_CHANGED.name] = PASSWORD_CHANGED
    pages = {path.name for path in (folder / "registration").iterdir() if path.is_dir()} - {"page"}
    assert emails.keys() == pages
    rows = ["| template | to | when |", "| --- | --- | --- |"]
    for each in emails.values():
        name = default_templates(each.name)["text_body"]
        has_link = "verification_url" in (folder / name).read_text("utf-8")
        link = "; has a link" if has_link else ""
        rows.append(f"| `{each.name}` | {each.to} | {each.when}{link} |")
    table = read("docs/mail.md").split("<!-- mails -->")[1].split("<!-- /mails -->")[0].strip()
    assert table == "\n".join(rows)


def test_every_signal_is_documented() -> None:
    listed = re.findall(r"^\| `(\w+)` \| `user`, `request`", read("docs/signals.md"), re.MULTILINE)
    there = [name for name, value in vars(signals).items() if isinstance(value, NamedSignal)]
    assert sorted(listed) == sorted(there)


def test_every_command_is_documented_with_its_help(site: Site) -> None:
    page = read("docs/commands.md")
    listed = re.findall(
        r"^\| \[`([\w-]+)`\]\(#\1\) \| .* \| `flask registration \1[^`]*` \|$", page, re.MULTILINE
    )
    commands = registration_cli.commands
    hidden = [name for name in commands if commands[name].hidden]
    assert hidden == ["resume"]  # the earlier name of reactivate
    commands = {name: commands[name] for name in commands if name not in hidden}
    assert sorted(listed) == sorted(commands)
    sections = re.findall(r"^## ([\w-]+)\n+```text\n(.*?)```$", page, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in sections] == listed
    for name, text in sections:
        shown = site.app.test_cli_runner().invoke(
            registration_cli, [name, "--help"], prog_name="flask registration", terminal_width=80
        )
        assert text == shown.output, (
            f"docs/commands.md: put what {name} --help says into its section."
        )


def test_every_event_is_documented() -> None:
    rows = ["| event | level | when | details |", "| --- | --- | --- | --- |"]
    for each in EVENTS_IN_ORDER:
        details = "; ".join(f"`{name}`: {what}" for name, what in each.details.items())
        rows.append(
            f"| `{each.name}` | {logging.getLevelName(each.level)} | {each.when} | {details} |"
        )
    table = read("docs/events.md").split("<!-- events -->")[1].split("<!-- /events -->")[0].strip()
    assert table == "\n".join(rows)


def test_the_security_log_goes_to_a_file_of_its_own(run: RunPage, site: Site) -> None:
    logger = logging.getLogger("flask_registration.events")
    before = (logger.level, logger.handlers[:])
    page = run("docs/events.md")
    try:
        page.configure_logging()
        site.post("login", {"login": "alice\n", "password": PASSWORD})
        page.invite(7, 3)
    finally:
        for handler in set(logger.handlers) - set(before[1]):
            handler.close()
        logger.level, logger.handlers[:], logger.propagate = before[0], before[1], True
        logger.setLevel(before[0])
    (example,) = (block for block in blocks(read("docs/events.md")) if block.info == "json")
    lines = [json.loads(line) for line in Path("security.log").read_text("utf-8").splitlines()]
    assert [set(line) for line in lines] == [{"time", "level", "security"}] * 2
    assert [line["level"] for line in lines] == ["WARNING", "INFO"]
    assert datetime.fromisoformat(lines[0]["time"][:-2] + ":00").tzinfo
    assert lines[0]["security"].keys() == json.loads(example.text).keys()
    assert (lines[1]["security"]["event"], lines[1]["security"]["seats"]) == ("user_invited", 3)


def test_the_api_lists_every_name() -> None:
    page = read("docs/api.md")
    for name in set(flask_registration.__all__) - {"__version__"}:
        assert re.search(rf"^\.\. \w+:: {name}$", page, re.MULTILINE), name


def test_policies(run: RunPage) -> None:
    page, home = run("docs/stop-abuse.md"), run("docs/customizing.md")
    reply, _ = register(home.create_app(**page.POLICIES), email="alice@mailinator.com")
    assert reply.get_json().keys() == {"email"}
    own = importlib.import_module("look_alikes")
    app = own.create_app(
        **CONFIG,
        SQLALCHEMY_DATABASE_URI="sqlite://",
        REGISTRATION_EMAIL_VALIDATORS=[*page.COMPANY_ONLY, page.no_numbers],
    )
    cases: list[tuple[dict[str, Any], set[str]]] = [
        ({"email": "alice@example.net"}, {"email"}),
        ({"email": "42@example.com"}, {"email"}),
        ({"username": "admin"}, {"username"}),
        ({}, set()),
        ({"username": "a1ice", "email": "bob@example.com"}, {"username"}),
    ]
    for fields, refused in cases:
        reply, _ = register(app, **fields)
        assert reply.status_code == (400 if refused else 201), reply.get_json()
        assert not refused or reply.get_json().keys() == refused
    with app.app_context():
        own.db.session.execute(own.db.update(own.User).values(username_skeleton=None))
        own.db.session.commit()
        own.fill_skeletons()
        assert own.db.session.scalars(own.db.select(own.User.username_skeleton)).one()
    app = home.create_app(REGISTRATION_USERNAME_VALIDATORS=page.USERNAMES)
    assert register(app, username="Acme")[0].get_json().keys() == {"username"}


def test_a_suggestion_as_the_page_shows_it(run: RunPage) -> None:
    page = run("docs/sign-up.md")
    (example,) = (block for block in blocks(read("docs/stop-abuse.md")) if block.info == "json")
    app = page.create_app(**CONFIG, SQLALCHEMY_DATABASE_URI="sqlite://")
    app.testing = app.extensions["mail"].suppress = True
    reply = app.test_client().post("/accounts/sign-up/", json={"email": "alice@gmial.com"})
    assert reply.get_json() == json.loads(example.text)


def test_a_sign_up(run: RunPage) -> None:
    page = run("docs/sign-up.md")
    app = page.create_app(**CONFIG, SQLALCHEMY_DATABASE_URI="sqlite://")
    client = app.test_client()
    with app.app_context(), page.mail.record_messages() as outbox:
        reply = client.post("/accounts/sign-up/", json={"email": "alice@example.com"})
    (example,) = (block for block in blocks(read("docs/sign-up.md")) if block.info == "json")
    assert reply.get_json() == json.loads(example.text)
    chosen = {"username": "alice", "password": PASSWORD, "password_confirm": PASSWORD}
    body = {**parameters(url_in(outbox[0])), **chosen}
    assert client.post("/accounts/finish-sign-up/", json=body).status_code == 201
    assert client.get("/accounts/profile/").status_code == 200


def test_an_approval(run: RunPage) -> None:
    page = run("docs/approval.md")
    app = page.create_app(**CONFIG, SQLALCHEMY_DATABASE_URI="sqlite://")
    client, password = app.test_client(), {"login": "alice", "password": PASSWORD}
    with app.app_context(), page.mail.record_messages() as outbox:
        register(app)
        verification = parameters(url_in(outbox[0]))
        assert client.post("/accounts/verify-registration/", json=verification).status_code == 200
    assert client.post("/accounts/login/", json=password).status_code == 403
    link = parameters(url_in(outbox[-1]))
    request, response = (
        json.loads(block.text) for block in blocks(read("docs/approval.md")) if block.info == "json"
    )
    body = {name: link.get(name, value) for name, value in request.items()}
    reply = client.post(f"/accounts/approvals/{link['user_id']}/", json=body)
    assert reply.get_json() == response
    assert client.post("/accounts/login/", json=password).status_code == 200


def test_terms_of_service(run: RunPage) -> None:
    page = run("docs/terms.md")
    app = page.create_app(**CONFIG, SQLALCHEMY_DATABASE_URI="sqlite://")
    refused, step, listed = (
        json.loads(block.text) for block in blocks(read("docs/terms.md")) if block.info == "json"
    )
    chosen = {"username": "alice", "email": "alice@example.com", "password": PASSWORD}
    body = {**chosen, "password_confirm": PASSWORD}
    client = app.test_client()
    reply = client.post("/accounts/register/", json={**body, "terms": "2025-01"})
    assert reply.get_json() == refused
    with app.app_context():
        page.registration.create_user(**chosen)
        page.db.session.commit()
    reply = client.post("/accounts/login/", json={"login": "alice", "password": PASSWORD})
    challenge = reply.get_json()["challenge"]
    assert {**reply.get_json(), "challenge": step["challenge"]} == step
    given = {"challenge": challenge, "version": "2026-11"}
    assert client.post("/accounts/accept-terms/", json=given).status_code == 200
    (found,) = client.get("/accounts/consents/").get_json()
    assert [{**found, "accepted_at": listed[0]["accepted_at"]}] == listed


def test_a_gated_site(run: RunPage) -> None:
    page = run("docs/stop-abuse.md")
    cheap = {"REGISTRATION_GATE": gate.ProofOfWork(cost=1, tries=2)}
    app = page.create_app(**CONFIG, **cheap, SQLALCHEMY_DATABASE_URI="sqlite://")
    client = app.test_client()
    assert register(app)[0].get_json()["code"] == "captcha-required"
    challenge = altcha.Challenge.from_dict(client.get("/accounts/challenge/").get_json())
    solution = altcha.solve_challenge(challenge)
    assert solution
    captcha = altcha.Payload(challenge, solution).to_base64()
    assert register(app, captcha=captcha)[0].status_code == 201


def test_invitations(run: RunPage) -> None:
    page = run("docs/invitations.md")
    app = page.create_app(**CONFIG, SQLALCHEMY_DATABASE_URI="sqlite://")
    with app.app_context():
        page.registration.create_user(
            username="alice", email="alice@example.com", password=PASSWORD, role="admin"
        )
        page.db.session.commit()
    client, guest = app.test_client(), app.test_client()
    client.post("/accounts/login/", json={"login": "alice", "password": PASSWORD})
    with app.app_context(), page.mail.record_messages() as outbox:
        body: dict[str, Any] = {"email": "bob@example.com", "data": {"role": "editor"}}
        reply = client.post("/accounts/invitations/", json=body)
    (example,) = (block for block in blocks(read("docs/invitations.md")) if block.info == "json")
    shown = json.loads(example.text)
    assert reply.get_json().keys() == shown.keys()
    assert (reply.get_json()["id"], reply.get_json()["email"]) == (shown["id"], shown["email"])
    chosen = {"username": "bob", "password": PASSWORD, "password_confirm": PASSWORD}
    link = parameters(url_in(outbox[0]))
    assert guest.post("/accounts/accept-invitation/", json={**link, **chosen}).status_code == 201
    with app.app_context():
        assert page.User.query.filter_by(username="bob").one().role == "editor"
    body = {"email": "carol@example.com"}
    assert guest.post("/accounts/invitations/", json=body).status_code == 201
    body["data"] = {"role": "admin"}
    assert guest.post("/accounts/invitations/", json=body).status_code == 403


def test_a_deletion_and_an_export(run: RunPage) -> None:
    page = run("docs/delete-and-export.md")
    app = page.create_app(**CONFIG, SQLALCHEMY_DATABASE_URI="sqlite://")
    client = member(page, app)
    exported = client.get("/accounts/profile/export/")
    assert exported.get_json().keys() == {"profile", "logins", "orders"}
    with app.app_context(), page.mail.record_messages() as outbox:
        reply = client.delete("/accounts/profile/")
    (example,) = (
        block for block in blocks(read("docs/delete-and-export.md")) if block.info == "json"
    )
    assert reply.get_json().keys() == json.loads(example.text).keys()
    link = parameters(url_in(outbox[0]))
    assert client.post("/accounts/cancel-deletion/", json=link).status_code == 200
    log_in(client, "alice")


def test_a_login_without_a_password(run: RunPage) -> None:
    page = run("docs/passwordless.md")
    config = {**CONFIG, "REGISTRATION_MAIL_LIMITS": None}
    app = page.create_app(**config, SQLALCHEMY_DATABASE_URI="sqlite://")
    client = app.test_client()
    register(app)
    with app.app_context(), page.mail.record_messages() as outbox:
        reply = client.post("/accounts/send-login-link/", json={"login": "alice"})
    (example,) = (block for block in blocks(read("docs/passwordless.md")) if block.info == "json")
    assert reply.get_json() == json.loads(example.text)
    link = parameters(url_in(outbox[0]))
    assert client.post("/accounts/login-by-link/", json=link).status_code == 200
    assert client.get("/accounts/profile/").get_json()["has_password"] is False


@each_row(
    ("page", "flow", "others"),
    [
        ("docs/redirects.md", verification_redirects.flow, []),
        ("docs/codes.md", codes.flow, ["REGISTRATION_VERIFICATION_METHOD"]),
        ("docs/passwordless.md", mail_login.flow, []),
        ("docs/sign-up.md", sign_up.flow, []),
        ("docs/terms.md", terms.flow, []),
        ("docs/stop-abuse.md", gate.flow, []),
        ("docs/invitations.md", invitations.flow, []),
        ("docs/approval.md", approval.flow, []),
        ("docs/second-factor.md", second_factor.flow, []),
        ("docs/delete-and-export.md", leaving.flow, []),
    ],
)
def test_the_settings_of_an_optional_flow_are_listed(
    page: str, flow: Flow[Any], others: list[str]
) -> None:
    listed = re.findall(r"^\| `(REGISTRATION_\w+)` \|", read(page), re.MULTILINE)
    assert sorted(listed) == sorted([*others, *(each.key for each in declarations(flow.group))])


def test_the_links_for_front_ends() -> None:
    rows = re.findall(
        r"^\| [^|`]+ \| `(REGISTRATION_\w+)` \| .* \| `(/\S+)` \|$",
        read("docs/frontend.md"),
        re.MULTILINE,
    )
    groups = [*GROUPS, *(flow.group for flow in OPTIONAL)]
    fields = [field for group in groups for field in dataclasses.fields(group)]
    pages = [PREFIX + field.name.upper() for field in fields if field.metadata.get("page")]
    assert sorted(row[0] for row in rows) == sorted(pages)
    assert {row[1] for row in rows} <= {
        endpoint.path for flow in (*DEFAULT_FLOWS, *OPTIONAL) for endpoint in flow.endpoints
    }


@each_row(("heading", "ending"), [("Run it", "run --debug"), ("Test it", "pytest")])
def test_one_command_runs_and_one_tests(heading: str, ending: str) -> None:
    section = read("README.md").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    (block,) = blocks(section)
    assert block.info == "sh"
    (command,) = block.text.splitlines()
    assert command.startswith("python3 -m venv .venv && ")
    assert command.endswith(ending)


def test_the_page_of_settings_lists_each_setting_once() -> None:
    listed = re.findall(r"^### `(REGISTRATION_\w+)`$", settings_page(), re.MULTILINE)
    groups = {*GROUPS, *(flow.group for flow in OPTIONAL)}  # that of the gate is in both
    assert sorted(listed) == sorted(keys(groups))


def test_the_readme_fits_on_two_screens() -> None:
    assert len(read("README.md").splitlines()) <= 120


@each_row("page", PAGES)
def test_a_page_names_only_settings_that_there_are(page: str) -> None:
    named = set(re.findall(r"\bREGISTRATION_[A-Z_]*[A-Z]\b(?!_)", read(page)))
    own = (
        {"REGISTRATION_NEWSLETTER_PERIOD", "REGISTRATION_NEWSLETTER_URL"}
        if page == "docs/customizing.md"
        else set()
    )
    own |= {declaration.key for flow in OPTIONAL for declaration in declarations(flow.group)}
    assert named <= {declaration.key for declaration in SETTINGS} | own


@each_row("page", PAGES)
def test_the_links_of_a_page_lead_to_files(page: str) -> None:
    for target in re.findall(r"\]\(([\w./-]+)", read(page)):
        if not target.startswith("http"):
            assert (ROOT / page).parent.joinpath(target).is_file(), target


def error_sections() -> dict[tuple[int, str], str]:
    """The sections about the codes of errors, by status and code."""
    codes, _, _ = read("docs/errors.md").partition("\n## Field errors\n")
    _, *parts = re.split(r"^### `([\w-]+)`\n\n(\d+)", codes, flags=re.MULTILINE)
    texts = [" ".join(text.split()) for text in parts[2::3]]
    keys = zip(map(int, parts[1::3]), parts[::3], strict=True)
    return dict(zip(keys, texts, strict=True))


ASKED: list[tuple[int, str, dict[str, Any]]] = [
    (400, "bad-request", {"data": "{", "content_type": "application/json"}),
    (405, "method-not-allowed", {"method": "GET"}),
    (413, "request-entity-too-large", {"data": "1" * 65537, "content_type": "application/json"}),
    (415, "unsupported-media-type", {"data": {"username": "alice"}}),
]


@each_row(("status", "code", "request_"), ASKED, ids=[code for _, code, _ in ASKED])
def test_the_codes_of_http(status: int, code: str, request_: dict[str, Any], site: Site) -> None:
    reply = site.app.test_client().open("/accounts/register/", **{"method": "POST", **request_})
    assert (reply.status_code, reply.get_json()["code"]) == (status, code)
    assert f'"{reply.get_json()["detail"]}"' in error_sections()[status, code]


def test_the_code_of_a_flow_that_is_switched_off(new_site: Callable[..., Site]) -> None:
    reply = new_site(REGISTER_FLOW_ENABLED=False).post("register", {})
    assert (reply.status_code, reply.get_json()["code"]) == (404, "not-found")


def test_every_code_is_documented_and_no_other() -> None:
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, APIError)
    ]
    http = {(404, "not-found"), *((status, code) for status, code, _ in ASKED)}
    sections = error_sections()
    assert sections.keys() == http | {(error.status, error.code) for error in kinds}
    raised = {
        error
        for flow in (*DEFAULT_FLOWS, *OPTIONAL)
        for endpoint in flow.endpoints
        for error in endpoint.all_errors
    }
    assert raised <= set(kinds)
    for error in {*kinds} - {APIError, errors.LinkRefused}:
        assert f'"{error.text}"' in sections[error.status, error.code], error


def test_each_code_has_what_happened_and_what_to_do() -> None:
    titles = ["When it occurs", "What the client does", "What the developer checks"]
    for key, text in error_sections().items():
        assert re.findall(r"- \*\*(.+?)\*\*:", text) == titles, key


def test_the_table_of_codes_links_to_each_section() -> None:
    rows = re.findall(r"^\| (\d+) \| (\[.*) \|$", read("docs/errors.md"), re.MULTILINE)
    linked = [
        (int(row), *link) for row, text in rows for link in re.findall(r"`(.+?)`\]\((.+?)\)", text)
    ]
    expected = [(status, code, f"#{code}") for status, code in error_sections()]
    assert sorted(linked) == sorted(expected)


def test_every_claim_about_security_has_a_test() -> None:
    rows = [
        row
        for row in re.findall(r"^\| (.*) \|$", read("docs/security.md"), re.MULTILINE)
        if "---" not in row
    ]
    claims = [row for row in rows if row != "claim | test"]
    assert len(claims) > 50
    for row in claims:
        assert named_tests(row), row


def test_every_picture_is_there_and_shown() -> None:
    shown = {
        (ROOT / page).parent.joinpath(name).resolve()
        for page in PAGES
        for name in re.findall(
            r"(?:!\[[^\]]+\]\(|^`{3}\{image\} )([\w./-]+)", read(page), re.MULTILINE
        )
    }
    assert shown == set((ROOT / "docs" / "screenshots").iterdir())
    for picture in shown:
        assert picture.stat().st_size < 200 * 1024, (
            "a picture of that size belongs into no repository"
        )


def test_the_changelog_has_dated_versions_and_sentences_in_groups() -> None:
    _, *versions = re.split(r"^## ", read("CHANGELOG.md"), flags=re.MULTILINE)
    titles = [version.splitlines()[0] for version in versions]
    if titles[0] == "Unreleased":
        titles.pop(0)
    dates = {title.partition(" - ")[0]: title.partition(" - ")[2] for title in titles}
    assert next(iter(dates)) == __version__
    assert [date.fromisoformat(day) for day in dates.values()]
    for version in versions:
        _, *groups = re.split(r"^### ", version, flags=re.MULTILINE)
        assert groups
        for group in groups:
            title, text = group.split("\n", 1)
            assert title in ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
            entries = re.findall(r"^- (.+(?:\n  .+)*)", text, re.MULTILINE)
            assert entries
            for entry in entries:
                assert re.fullmatch(r"[A-Z`].+\.", entry, re.DOTALL), entry


def test_every_example_is_listed_and_has_a_readme() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", read("docs/examples.md"), re.MULTILINE)
    folders = [path for path in (ROOT / "examples").iterdir() if any(path.rglob("*.py"))]
    assert sorted(listed) == sorted(path.name for path in folders)
    assert all((path / "README.md").is_file() for path in folders)
