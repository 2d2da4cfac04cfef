"""Each setting of the flow, shown working."""

from __future__ import annotations

import functools
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from flask import Response, jsonify, make_response
from flask_sqlalchemy import SQLAlchemy
from jinja2 import TemplateNotFound
from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, validates_schema
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from flask_registration import (
    EmailUserMixin,
    UserMixin,
    VerificationLink,
    mail_failed,
    user_activated,
    user_registered,
)

from ..conftest import Clock
from ..site import PASSWORD, Site, html_of, parameters, text_of
from ..tables import each_row

NewSite = Callable[..., Site]

BOTH_WAYS = each_row("spelled", ["as an object", "as an import string"])

#: The variables of an e-mail that can have a code.
CODE = ("code", "code_valid_for")


def given(spelled: str, thing: Any) -> Any:
    """A setting's value, the object or its import string."""
    return thing if spelled == "as an object" else f"{__name__}:{thing.__qualname__}"


# The bodies and the replies


class OwnSchema(Schema):
    """An application's own registration: other fields, and a rule of its own."""

    class Meta:
        unknown = EXCLUDE

    username = fields.String(required=True)
    email = fields.Email(required=True)
    password = fields.String(required=True)
    company = fields.String(required=True)
    terms = fields.Boolean(required=True)

    @validates_schema
    def _terms_accepted(self, data: dict[str, Any], **kwargs: Any) -> None:
        if not data.get("terms"):
            raise ValidationError("The terms must be accepted.", "terms")

    @post_load
    def _mark(self, data: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {**data, "company": f"{data['company']} Ltd"}


def define_employee(db: SQLAlchemy) -> type[Any]:
    class User(UserMixin, db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
        __tablename__ = "users"
        company: Mapped[str | None] = mapped_column(String(20))

    return User


@BOTH_WAYS
def test_register_schema_class_is_what_a_body_is_loaded_with(
    new_site: NewSite, spelled: str
) -> None:
    site = new_site(define=define_employee, REGISTER_SCHEMA_CLASS=given(spelled, OwnSchema))
    body = {
        "username": "alice",
        "email": "alice@example.com",
        "password": PASSWORD,
        "company": "Acme",
    }
    assert site.post("register", {**body, "terms": False}).get_json() == {
        "terms": ["The terms must be accepted."]
    }
    assert site.post("register", {**body, "terms": True}).status_code == 201
    assert site.user(username="alice").company == "Acme Ltd"
    assert site.verify().status_code == 200


def test_an_own_schema_does_not_switch_the_normal_forms_and_the_password_rules_off(
    new_site: NewSite,
) -> None:
    site = new_site(define=define_employee, REGISTER_SCHEMA_CLASS=OwnSchema)
    body = {
        "username": "a b",
        "email": "ALICE@example.com",
        "password": "short",
        "company": "Acme",
        "terms": True,
    }
    assert set(site.post("register", body).get_json()) == {"username", "password"}
    site.post("register", {**body, "username": "alice", "password": PASSWORD})
    assert site.user(username="alice").email == "alice@example.com"


class NoPasswordSchema(Schema):
    username = fields.String(required=True)
    email = fields.Email(required=True)


def test_an_own_schema_without_a_password_makes_no_account(new_site: NewSite) -> None:
    site = new_site(REGISTER_SCHEMA_CLASS=NoPasswordSchema)
    reply = site.post("register", {"username": "alice", "email": "alice@example.com"})
    assert (reply.status_code, reply.get_json()) == (400, {"password": ["This field is required."]})
    assert site.users() == []


def define_user_without_need_of_an_address(db: SQLAlchemy) -> type[Any]:
    class User(UserMixin, db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
        __tablename__ = "users"
        email: Mapped[str | None] = mapped_column(String(254), unique=True)  # type: ignore[assignment]

    return User


@each_row("address", [{}, {"email": None}], ids=["missing", "null"])
def test_a_registration_without_an_address_has_nobody_to_mail_a_link_to(
    new_site: NewSite, address: dict[str, Any]
) -> None:
    site = new_site(define=define_user_without_need_of_an_address)
    body = {"username": "alice", "password": PASSWORD, "password_confirm": PASSWORD, **address}
    reply = site.post("register", body)
    assert (reply.status_code, reply.get_json()["code"]) == (
        400,
        "user-without-email-nonverifiable",
    )
    assert site.users() == []


@each_row("address", [{}, {"email": None}], ids=["missing", "null"])
def test_without_verification_a_registration_needs_no_address(
    new_site: NewSite, address: dict[str, Any]
) -> None:
    site = new_site(
        define=define_user_without_need_of_an_address, REGISTER_VERIFICATION_ENABLED=False
    )
    body = {"username": "alice", "password": PASSWORD, "password_confirm": PASSWORD, **address}
    assert site.post("register", body).status_code == 201
    assert (
        site.post("register", {**body, "username": "bob"}).status_code == 201
    )  # two without one do not collide


@each_row("confirm", [None, PASSWORD, "another password altogether"])
def test_register_schema_password_confirm_off_asks_for_the_password_once(
    new_site: NewSite, confirm: str | None
) -> None:
    site = new_site(REGISTER_SCHEMA_PASSWORD_CONFIRM=False)
    body = {"username": "alice", "email": "alice@example.com", "password": PASSWORD}
    assert (
        site.post("register", body | ({"password_confirm": confirm} if confirm else {})).status_code
        == 201
    )


class OutputSchema(Schema):
    name = fields.String(attribute="username")
    greeting = fields.Function(lambda user: f"Welcome, {user.username}!")


@BOTH_WAYS
@each_row("prevent_enumeration", [True, False])
def test_register_output_schema_class_makes_the_reply(
    new_site: NewSite, spelled: str, prevent_enumeration: bool
) -> None:
    site = new_site(
        REGISTER_OUTPUT_SCHEMA_CLASS=given(spelled, OutputSchema),
        PREVENT_ENUMERATION=prevent_enumeration,
    )
    reply = site.register("alice")
    assert (reply.status_code, reply.get_json()) == (
        201,
        {"name": "alice", "greeting": "Welcome, alice!"},
    )


class KeySchema(Schema):
    id = fields.Integer()
    email = fields.String()


def test_an_output_schema_with_the_id_does_not_tell_a_taken_address_from_a_free_one(
    new_site: NewSite,
) -> None:
    site = new_site(REGISTER_OUTPUT_SCHEMA_CLASS=KeySchema)
    free = site.register("alice", email="a@example.com")
    taken = site.register("bobby", email="a@example.com")
    assert free.get_data() == taken.get_data()


# Switches


@each_row(
    ("settings", "endpoint", "status"),
    [
        ({"REGISTER_FLOW_ENABLED": False}, "register", 404),
        ({"REGISTER_FLOW_ENABLED": False}, "verify-registration", 400),
        ({"REGISTER_FLOW_ENABLED": False}, "resend-verification", 400),
        ({"REGISTER_VERIFICATION_ENABLED": False}, "register", 400),
        ({"REGISTER_VERIFICATION_ENABLED": False}, "verify-registration", 404),
        ({"REGISTER_VERIFICATION_ENABLED": False}, "resend-verification", 404),
    ],
)
def test_what_is_switched_off_is_a_404_in_json(
    new_site: NewSite, settings: dict[str, Any], endpoint: str, status: int
) -> None:
    site = new_site(**settings)
    reply = site.post(endpoint, {})
    assert reply.status_code == status
    if status == 404:
        assert reply.get_json() == {"detail": "This feature is not available.", "code": "not-found"}


def test_accounts_that_are_pending_can_still_verify_where_nobody_may_register_any_more(
    new_site: NewSite,
) -> None:
    site = new_site(REGISTER_FLOW_ENABLED=False)
    with site.app.app_context():
        site.registration.create_user(
            username="alice", email="alice@example.com", password=PASSWORD, verified=False
        )
        site.db.session.commit()
    assert site.register("bob").status_code == 404
    site.post("resend-verification", {"login": "alice"})
    assert site.verify().status_code == 200


def test_without_verification_an_account_is_verified_at_once_and_the_reply_is_its_profile(
    new_site: NewSite,
) -> None:
    site = new_site(REGISTER_VERIFICATION_ENABLED=False)
    with site.hears(user_registered, user_activated) as heard:
        reply = site.register("alice", first_name="Ada")
    user = site.user(username="alice")
    assert (reply.status_code, reply.get_json()) == (
        201,
        {
            "id": user.id,
            "username": "alice",
            "email": "alice@example.com",
            "first_name": "Ada",
            "last_name": "",
        },
    )
    assert (user.is_verified, site.outbox) == (True, [])
    assert [each["signal"] for each in heard] == ["user-registered"]


def test_without_verification_a_taken_address_is_refused(new_site: NewSite) -> None:
    site = new_site(REGISTER_VERIFICATION_ENABLED=False)
    site.register("alice")
    reply = site.register("bob", email="ALICE@example.com")
    assert (reply.status_code, reply.get_json()) == (
        400,
        {"email": ["This e-mail address is already in use."]},
    )
    assert (len(site.users()), site.outbox) == (1, [])


# The link


@each_row(
    ("url", "start"),
    [
        ("https://example.com/verify/", "https://example.com/verify/?timestamp="),
        ("https://example.com/verify?lang=de", "https://example.com/verify?timestamp="),
        ("https://example.com/#/verify", "https://example.com/#/verify?timestamp="),
        ("myapp://verify/registration", "myapp://verify/registration?timestamp="),
    ],
)
def test_register_verification_url_gets_the_parameters_appended(
    new_site: NewSite, url: str, start: str
) -> None:
    site = new_site(REGISTER_VERIFICATION_URL=url)
    site.register("alice")
    assert f"\n{start}" in text_of(site.read())
    lang = {"lang": "de"} if "lang" in url else {}
    assert site.link().items() >= lang.items()


@each_row(
    ("period", "seconds", "words"),
    [(60, 60, "1 minute"), (7200, 7200, "2 hours"), (None, 604800, "7 days")],
)
def test_register_verification_period_is_how_long_a_link_is_good_for(
    new_site: NewSite, clock: Clock, period: int | None, seconds: int, words: str
) -> None:
    site = new_site(**({} if period is None else {"REGISTER_VERIFICATION_PERIOD": period}))
    site.register("alice")
    assert f"This link expires in {words}." in text_of(site.read())
    clock.advance(seconds + 1)
    assert site.verify().get_json()["code"] == "signature-expired"
    clock.advance(-1)
    assert site.verify().status_code == 200


def own_url(link: VerificationLink) -> str:
    values = (link.params[name] for name in ("user_id", "timestamp", "signature"))
    return f"{link.base_url}{'/'.join(values)}/?a=1&b=2"


@BOTH_WAYS
def test_verification_url_builder_makes_the_link(new_site: NewSite, spelled: str) -> None:
    site = new_site(VERIFICATION_URL_BUILDER=given(spelled, own_url))
    site.register("alice")
    (line,) = [line for line in text_of(site.read()).splitlines() if line.startswith("https://")]
    user_id, timestamp, signature, _ = line.removeprefix(
        "https://example.com/verify-registration/"
    ).split("/")
    assert (
        site.verify(
            {"user_id": user_id, "timestamp": timestamp, "signature": signature}
        ).status_code
        == 200
    )
    assert "/?a=1&amp;b=2" in html_of(site.read())


# The mail

#: What the hooks below were called with.
calls: list[dict[str, Any]] = []


@pytest.fixture(autouse=True)
def _forget_calls() -> list[dict[str, Any]]:
    calls.clear()
    return calls


@pytest.fixture
def templates(tmp_path: Any) -> str:
    """A folder with templates of the application's own."""
    (tmp_path / "own_subject.txt").write_text("Hello {{ user.username }}")
    (tmp_path / "own_body.txt").write_text(
        "{{ user.username }}, {{ email }}, {{ colour }}: {{ verification_url }}"
    )
    (tmp_path / "own_body.html").write_text(
        '<p>{{ colour }}</p><a href="{{ verification_url }}">go</a>'
    )
    return str(tmp_path)


def select_own(
    *, request: Any, user: Any, notification_type: Any, notification_method: Any, **kwargs: Any
) -> Any:
    calls.append(
        {
            "path": request.path,
            "user": user.username,
            "type": notification_type,
            "method": notification_method,
            **kwargs,
        }
    )
    return {"subject": "own_subject.txt", "text_body": "own_body.txt", "html_body": "own_body.html"}


@BOTH_WAYS
def test_verification_templates_selector_chooses_the_templates(
    new_site: NewSite, templates: str, spelled: str
) -> None:
    site = new_site(
        template_folder=templates, VERIFICATION_TEMPLATES_SELECTOR=given(spelled, select_own)
    )
    site.register("alice")
    assert calls == [
        {
            "path": "/accounts/register/",
            "user": "alice",
            "type": "register",
            "method": "email",
        }
    ]
    assert site.read()["Subject"] == "Hello alice"
    assert text_of(site.read()).startswith("alice, alice@example.com, : https://example.com/")
    assert site.verify().status_code == 200


@each_row("error", [LookupError, KeyError, IndexError])
def test_a_lookup_error_from_the_selector_means_the_default_templates(
    new_site: NewSite, error: type[Exception]
) -> None:
    def select(**kwargs: Any) -> Any:
        calls.append(kwargs)
        raise error("none for this one")

    site = new_site(VERIFICATION_TEMPLATES_SELECTOR=select)
    site.register("alice")
    assert len(calls) == 1
    assert site.read()["Subject"] == "Confirm your e-mail address for example.com"
    assert site.verify().status_code == 200


def test_the_selector_may_choose_for_the_mail_about_a_taken_address_too(
    new_site: NewSite, templates: str
) -> None:
    site = new_site(
        template_folder=templates, VERIFICATION_TEMPLATES_SELECTOR=select_own, MAIL_LIMITS=None
    )
    site.register("alice")
    site.verify()
    site.register("mallory", email="alice@example.com")
    assert [call["type"] for call in calls] == ["register", "email_taken"]
    assert text_of(site.read()).strip() == "alice, alice@example.com, :"  # still without a link


@each_row(
    "chosen",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"subject": "own_subject.txt"}, id="no body"),
        pytest.param({"body": "own_body.txt"}, id="no subject"),
        pytest.param(
            {"subject": "own_subject.txt", "body": "nowhere.txt"}, id="a body that there is not"
        ),
    ],
)
@each_row("dispatcher", ["background", "inline"])
def test_templates_that_make_no_mail_fail_loudly_and_reveal_nothing(
    new_site: NewSite,
    templates: str,
    chosen: dict[str, str],
    dispatcher: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    site = new_site(
        template_folder=templates,
        MAIL_DISPATCHER=dispatcher,
        VERIFICATION_TEMPLATES_SELECTOR=lambda **kwargs: chosen,
    )
    with site.hears(mail_failed, user_registered) as heard:
        reply = site.register("alice")
    failed, *others = [each for each in heard if each["signal"] == "mail-failed"]
    assert others == []
    assert isinstance(failed["error"], ValueError | TemplateNotFound)
    assert re.search(r"needs 'subject'|nowhere\.txt", str(failed["error"]))
    assert "An e-mail (register) could not be sent." in caplog.messages
    assert site.outbox == []
    kept = dispatcher == "background"  # the user can ask for the e-mail again
    assert reply.status_code == (201 if kept else 503)
    assert [user.username for user in site.users()] == (["alice"] if kept else [])


def test_register_verification_email_templates_names_the_templates(
    new_site: NewSite, templates: str
) -> None:
    site = new_site(
        template_folder=templates,
        REGISTER_VERIFICATION_EMAIL_TEMPLATES={
            "subject": "own_subject.txt",
            "body": "own_body.txt",
        },
    )
    site.register("alice")
    assert site.read()["Subject"] == "Hello alice"
    assert site.read().get_content_type() == "text/plain"


def test_an_application_replaces_a_template_by_one_of_the_same_name(
    new_site: NewSite, tmp_path: Any
) -> None:
    (tmp_path / "registration" / "register").mkdir(parents=True)
    (tmp_path / "registration" / "register" / "subject.txt").write_text(
        "Our own words for {{ email }}"
    )
    site = new_site(template_folder=str(tmp_path))
    site.register("alice")
    assert site.read()["Subject"] == "Our own words for alice@example.com"


def build_own_context(
    user: Any,
    user_address: str,
    data: Mapping[str, Any],
    *,
    notification_type: Any,
    notification_method: Any,
    **kwargs: Any,
) -> Mapping[str, Any]:
    calls.append(
        {
            "user": user.username,
            "address": user_address,
            "data": set(data),
            "type": notification_type,
            "method": notification_method,
            **kwargs,
        }
    )
    return {"user": user, "email": user_address, "colour": "green", **data}


@BOTH_WAYS
def test_verification_template_context_builder_makes_what_templates_see(
    new_site: NewSite, templates: str, spelled: str
) -> None:
    site = new_site(
        template_folder=templates,
        VERIFICATION_TEMPLATES_SELECTOR=select_own,
        VERIFICATION_TEMPLATE_CONTEXT_BUILDER=given(spelled, build_own_context),
    )
    site.register("alice")
    assert calls[1] == {
        "user": "alice",
        "address": "alice@example.com",
        "data": {"site_name", "verification_url", "valid_for", "can_register", *CODE},
        "type": "register",
        "method": "email",
    }
    assert "<p>green</p>" in html_of(site.read())
    assert site.verify().status_code == 200


def render_own(
    template_config: Mapping[str, Any], context: Mapping[str, Any], **kwargs: Any
) -> tuple[str, str, str]:
    calls.append({"config": template_config, "context": set(context)})
    return "Rendered", f"Text {context['verification_url']}", "<b>HTML</b>"


@BOTH_WAYS
def test_verification_template_renderer_makes_subject_text_and_html(
    new_site: NewSite, spelled: str
) -> None:
    site = new_site(VERIFICATION_TEMPLATE_RENDERER=given(spelled, render_own))
    site.register("alice")
    assert site.read()["Subject"] == "Rendered"
    assert text_of(site.read()).startswith(
        "Text https://example.com/verify-registration/?timestamp="
    )
    assert html_of(site.read()).strip() == "<b>HTML</b>"
    (call,) = calls
    assert call["config"]["subject"] == "registration/register/subject.txt"
    assert call["context"] == {
        "user",
        "email",
        "site_name",
        "verification_url",
        "valid_for",
        "can_register",
        *CODE,
        "_",
        "wrap_lines",
        "language",
        "site_brand",
    }


def send_own(request: Any, user: Any, **kwargs: Any) -> None:
    calls.append({"path": request.path, "user": user.username, **kwargs})


@BOTH_WAYS
@each_row("dispatcher", ["background", "inline"])
def test_register_verification_email_sender_sends_in_our_place(
    new_site: NewSite, spelled: str, dispatcher: str, clock: Clock
) -> None:
    site = new_site(
        REGISTER_VERIFICATION_EMAIL_SENDER=given(spelled, send_own), MAIL_DISPATCHER=dispatcher
    )
    site.register("alice")
    clock.advance(60)
    site.post("resend-verification", {"login": "alice"})
    assert site.outbox == []
    assert [(call["path"], call["user"]) for call in calls] == [
        ("/accounts/register/", "alice"),
        ("/accounts/resend-verification/", "alice"),
    ]
    for call in calls:
        assert site.verify(parameters(call["verification_url"])).status_code == 200


def test_an_own_sender_that_raises_is_a_mail_that_failed(
    new_site: NewSite, caplog: pytest.LogCaptureFixture
) -> None:
    def send(request: Any, user: Any, **kwargs: Any) -> None:
        raise RuntimeError("the sender's own trouble")

    site = new_site(REGISTER_VERIFICATION_EMAIL_SENDER=send)
    with site.hears(mail_failed) as heard:
        assert site.register("alice").status_code == 201
    assert [(each["user"].username, each["template"], str(each["error"])) for each in heard] == [
        ("alice", "register", "the sender's own trouble")
    ]
    assert "the sender's own trouble" in caplog.text


@each_row(
    ("settings", "sender"),
    [
        pytest.param({}, "no-reply@example.com", id="MAIL_DEFAULT_SENDER"),
        pytest.param(
            {"VERIFICATION_FROM_EMAIL": "us@example.net"},
            "us@example.net",
            id="VERIFICATION_FROM_EMAIL",
        ),
        pytest.param(
            {"VERIFICATION_FROM_EMAIL": "Café <us@example.net>"},
            "Café <us@example.net>",
            id="VERIFICATION_FROM_EMAIL with a name",
        ),
        pytest.param(
            {"config": {"MAIL_DEFAULT_SENDER": ("Smith, Ltd", "us@example.net")}},
            '"Smith, Ltd" <us@example.net>',
            id="MAIL_DEFAULT_SENDER with a name and a comma",
        ),
    ],
)
def test_mail_comes_from(new_site: NewSite, settings: dict[str, Any], sender: str) -> None:
    site = new_site(**settings)
    site.register("alice")
    assert site.read()["From"] == sender
    assert site.read()["Reply-To"] is None


def test_verification_reply_to_email_is_where_replies_go(new_site: NewSite) -> None:
    site = new_site(VERIFICATION_REPLY_TO_EMAIL="Help <help@example.net>")
    site.register("alice")
    assert site.read()["Reply-To"] == "Help <help@example.net>"


def shout(html: str) -> str:
    return f"{html.count('<p')} paragraphs, in short"


@BOTH_WAYS
def test_verification_email_html_to_text_converter_makes_the_text_of_html_only_templates(
    new_site: NewSite, templates: str, spelled: str
) -> None:
    site = new_site(
        template_folder=templates,
        REGISTER_VERIFICATION_EMAIL_TEMPLATES={
            "subject": "own_subject.txt",
            "html_body": "own_body.html",
        },
        VERIFICATION_EMAIL_HTML_TO_TEXT_CONVERTER=given(spelled, shout),
    )
    site.register("alice")
    assert text_of(site.read()).strip() == "1 paragraphs, in short"


# The replies of steps that worked, errors, decorators, paths


def build_own_success(message: str, status: int, extra_data: Mapping[str, Any] | None) -> Any:
    return jsonify(ok=True, said=message, more=extra_data), 202, {"X-Status": str(status)}


@BOTH_WAYS
def test_success_response_builder_makes_the_reply(new_site: NewSite, spelled: str) -> None:
    site = new_site(SUCCESS_RESPONSE_BUILDER=given(spelled, build_own_success))
    site.register("alice")
    for reply in (site.verify(), site.post("resend-verification", {"login": "alice"})):
        assert (reply.status_code, reply.headers["X-Status"]) == (202, "200")
        assert set(reply.get_json()) == {"ok", "said", "more"}
        assert not reply.get_json()["more"]


def test_non_field_errors_key_is_where_errors_of_a_whole_body_are(new_site: NewSite) -> None:
    site = new_site(NON_FIELD_ERRORS_KEY="__all__")
    reply = site.post("register", [])
    assert (reply.status_code, reply.get_json()) == (
        400,
        {"__all__": ["Invalid data. Expected a JSON object."]},
    )


def knock(view: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(view)
    def decorated(*args: Any, **kwargs: Any) -> Response:
        response = make_response(view(*args, **kwargs))
        response.headers["X-Order"] = f"knock {response.headers.get('X-Order', '')}".strip()
        return response

    return decorated


def ring(view: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(view)
    def decorated(*args: Any, **kwargs: Any) -> Response:
        response = make_response(view(*args, **kwargs))
        response.headers["X-Order"] = f"ring {response.headers.get('X-Order', '')}".strip()
        return response

    return decorated


@BOTH_WAYS
def test_not_authenticated_decorators_are_around_each_endpoint_the_first_outermost(
    new_site: NewSite, spelled: str
) -> None:
    site = new_site(NOT_AUTHENTICATED_DECORATORS=[given(spelled, knock), given(spelled, ring)])
    site.register("alice")
    for reply in (
        site.register("bob"),
        site.verify(),
        site.post("resend-verification", {"login": "alice"}),
    ):
        assert reply.headers["X-Order"] == "knock ring"


def test_a_decorator_may_refuse(new_site: NewSite) -> None:
    def refuse(view: Callable[..., Any]) -> Callable[..., Any]:
        return lambda **kwargs: (jsonify(detail="Not today."), 403)

    site = new_site(NOT_AUTHENTICATED_DECORATORS=[refuse])
    assert site.register("alice").status_code == 403
    assert site.users() == []


@each_row("prefix", ["/api/v1/people", "/a"])
def test_url_prefix_is_where_the_endpoints_are(new_site: NewSite, prefix: str) -> None:
    site = new_site(URL_PREFIX=prefix)
    client = site.app.test_client()
    body = {
        "username": "alice",
        "email": "alice@example.com",
        "password": PASSWORD,
        "password_confirm": PASSWORD,
    }
    assert client.post(f"{prefix}/register/", json=body).status_code == 201
    assert client.post(f"{prefix}/verify-registration", json=site.link()).status_code == 200
    assert client.post("/accounts/register/", json=body).status_code == 404


# The user


def define_own_model(db: SQLAlchemy) -> type[Any]:
    class Member(db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
        __tablename__ = "members"
        number: Mapped[int] = mapped_column(primary_key=True)
        public_id: Mapped[str] = mapped_column(
            String(32), unique=True, default=lambda: uuid.uuid4().hex
        )
        nick: Mapped[str] = mapped_column(String(40), unique=True)
        mail: Mapped[str] = mapped_column(String(254), unique=True)
        secret: Mapped[str] = mapped_column(String(255))
        confirmed: Mapped[bool] = mapped_column(default=False)
        salt: Mapped[str] = mapped_column(String(32))

    return Member


@pytest.mark.databases
def test_every_field_may_have_a_name_of_the_applications_own(
    database: str, new_site: NewSite
) -> None:
    site = new_site(
        database,
        define=define_own_model,
        USER_LOGIN_FIELDS=["nick"],
        USER_EMAIL_FIELD="mail",
        USER_PASSWORD_FIELD="secret",
        USER_VERIFICATION_ID_FIELD="public_id",
        USER_VERIFICATION_FLAG_FIELD="confirmed",
        USER_SECURITY_STAMP_FIELD="salt",
        PREVENT_ENUMERATION=False,
    )
    body = {
        "nick": "al",
        "mail": "Alice@example.com",
        "password": PASSWORD,
        "password_confirm": PASSWORD,
    }
    reply = site.post("register", body)
    user = site.user(nick="al")
    assert (reply.status_code, reply.get_json()) == (
        201,
        {"number": user.number, "nick": "al", "mail": "alice@example.com"},
    )
    assert user.secret.startswith("$argon2id$")
    assert (user.confirmed, len(user.salt)) == (False, 22)
    assert site.link()["user_id"] == user.public_id
    assert site.verify(user_id=str(user.number)).status_code == 400
    assert site.post("resend-verification", {"nick": "al"}).status_code == 200
    assert site.verify().status_code == 200
    assert site.user(nick="al").confirmed
    assert site.post("register", body).get_json().keys() == {"nick", "mail"}


def test_a_link_dies_with_a_security_stamp_of_another_name(new_site: NewSite) -> None:
    site = new_site(
        define=define_own_model,
        USER_LOGIN_FIELDS=["nick"],
        USER_EMAIL_FIELD="mail",
        USER_PASSWORD_FIELD="secret",
        USER_VERIFICATION_FLAG_FIELD="confirmed",
        USER_SECURITY_STAMP_FIELD="salt",
    )
    site.post(
        "register",
        {"nick": "al", "mail": "a@example.com", "password": PASSWORD, "password_confirm": PASSWORD},
    )
    with site.app.app_context():
        site.db.session.query(site.User).update({"salt": "another"})
        site.db.session.commit()
    assert site.verify().status_code == 400


def define_email_user(db: SQLAlchemy) -> type[Any]:
    class User(EmailUserMixin, db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
        __tablename__ = "users"

    return User


@each_row(
    ("fields", "body", "missing"),
    [
        (["username"], {"username": "al"}, {"email"}),
        (["email"], {"email": "al@example.com"}, set()),
        (["username", "email"], {"username": "al", "email": "al@example.com"}, set()),
    ],
)
def test_user_login_fields_are_required_and_name_an_account(
    new_site: NewSite, fields: list[str], body: dict[str, str], missing: set[str], clock: Clock
) -> None:
    define = define_email_user if fields == ["email"] else None
    site = new_site(define=define, USER_LOGIN_FIELDS=fields)
    passwords = {"password": PASSWORD, "password_confirm": PASSWORD}
    assert set(site.post("register", passwords).get_json()) == {*fields, *missing}
    assert (
        site.post("register", {"email": "al@example.com", **body, **passwords}).status_code == 201
    )
    for way in [*body.items(), *(("login", value) for value in body.values())]:
        clock.advance(60)
        site.post("resend-verification", dict([way]))
    assert len(site.outbox) == 1 + 2 * len(body)
    assert site.verify().status_code == 200


def test_a_user_setting_may_stand_on_the_model_and_wins_there(new_site: NewSite) -> None:
    def define(db: SQLAlchemy) -> type[Any]:
        class User(UserMixin, db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
            __tablename__ = "users"
            company: Mapped[str | None] = mapped_column(String(20))
            LOGIN_FIELDS = ["username", "email"]
            PUBLIC_FIELDS = ["company"]

        return User

    site = new_site(define=define, USER_PUBLIC_FIELDS=["first_name"])
    reply = site.register("alice", company="Acme", first_name="Ada")
    assert reply.get_json() == {
        "username": "alice",
        "email": "alice@example.com",
        "company": "Acme",
    }
    assert site.user(username="alice").first_name == ""


@each_row(
    ("settings", "shown"),
    [
        ({}, {"first_name", "last_name"}),
        ({"USER_PUBLIC_FIELDS": ["company"]}, {"company"}),
        ({"USER_PUBLIC_FIELDS": []}, set()),
        ({"USER_EDITABLE_FIELDS": ["company"]}, {"first_name", "last_name", "company"}),
        (
            {"USER_PUBLIC_FIELDS": ["first_name"], "USER_EDITABLE_FIELDS": ["company"]},
            {"first_name", "company"},
        ),
        ({"USER_HIDDEN_FIELDS": ["first_name"]}, {"last_name"}),
        (
            {"USER_PUBLIC_FIELDS": ["company", "last_name"], "USER_HIDDEN_FIELDS": ["last_name"]},
            {"company"},
        ),
    ],
)
def test_the_allow_lists_say_what_a_registration_sets_and_its_reply_shows(
    new_site: NewSite, settings: dict[str, Any], shown: set[str]
) -> None:
    site = new_site(define=define_employee, PREVENT_ENUMERATION=False, **settings)
    values = {"first_name": "Ada", "last_name": "Lovelace", "company": "Acme"}
    reply = site.register("alice", **values).get_json()
    user = site.user(username="alice")
    assert reply == {
        "id": user.id,
        "username": "alice",
        "email": "alice@example.com",
        **{name: values[name] for name in shown},
    }
    assert {name for name in values if getattr(user, name)} == shown


def test_username_pattern_is_what_a_whole_username_must_match(new_site: NewSite) -> None:
    site = new_site(USERNAME_PATTERN="[a-z]{3,8}")
    for name in ("al", "alice1", "alice smith", "alicealice"):
        reply = site.register(name, email="a@example.com")
        assert (reply.status_code, set(reply.get_json())) == (400, {"username"})
    assert (
        site.register("ａｌｉｃｅ", email="a@example.com").status_code == 201
    )  # its NFKC form is what counts


def define_user_with_a_name_that_is_not_unique(db: SQLAlchemy) -> type[Any]:
    class User(EmailUserMixin, db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
        __tablename__ = "users"
        username: Mapped[str] = mapped_column(String(40))

    return User


def test_user_login_fields_unique_check_enabled_off_lets_two_users_share_a_name(
    new_site: NewSite, clock: Clock
) -> None:
    site = new_site(
        define=define_user_with_a_name_that_is_not_unique,
        USER_LOGIN_FIELDS_UNIQUE_CHECK_ENABLED=False,
    )
    assert site.register("alice", email="first@example.com").status_code == 201
    assert site.register("alice", email="second@example.com").status_code == 201
    site.verify()
    clock.advance(60)
    site.post("resend-verification", {"login": "alice"})
    assert [message.recipients for message in site.outbox[2:]] == [["first@example.com"]]


def define_user_with_an_address_that_is_not_unique(db: SQLAlchemy) -> type[Any]:
    class User(UserMixin, db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
        __tablename__ = "users"
        email: Mapped[str] = mapped_column(String(254))

    return User


def test_an_address_that_is_not_unique_may_be_registered_twice(
    new_site: NewSite, clock: Clock
) -> None:
    site = new_site(define=define_user_with_an_address_that_is_not_unique)
    site.register("alice", email="both@example.com")
    clock.advance(60)
    assert site.register("bob", email="both@example.com").status_code == 201
    assert site.verify(site.link(0)).status_code == 200
    assert site.verify(site.link(1)).status_code == 200
    assert all(user.is_verified for user in site.users())


def test_two_applications_of_one_registration_do_not_see_each_other(new_site: NewSite) -> None:
    one, two = new_site(URL_PREFIX="/one"), new_site(REGISTER_VERIFICATION_ENABLED=False)
    assert one.register("alice").status_code == 404
    assert two.register("alice").status_code == 201
    assert (len(one.users()), len(two.users())) == (0, 1)
    assert (
        one.app.test_client().post("/one/resend-verification/", json={"login": "alice"}).status_code
        == 200
    )
    assert one.outbox == []
