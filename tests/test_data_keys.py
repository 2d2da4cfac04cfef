"""Request bodies whose fields have other names than the columns, such as camelCase."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from marshmallow import Schema, fields, validates_schema
from marshmallow.exceptions import ValidationError

from flask_registration import BodySchema

from .site import PASSWORD, Site
from .tables import each_row

NewSite = Callable[..., Site]


class CamelCase(BodySchema):
    """A schema with the recipe of marshmallow's documentation."""

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        first, *others = (field_obj.data_key or field_name).split("_")
        field_obj.data_key = first + "".join(map(str.title, others))


class Signup(CamelCase):
    user_name = fields.String(required=True, attribute="username")
    email = fields.String(required=True, data_key="email_address")
    password = fields.String(required=True, data_key="pass_word")
    password_confirm = fields.String(required=True)
    first_name = fields.String()

    @validates_schema
    def _no_mallory(self, data: Any, **kwargs: Any) -> None:
        if data.get("first_name") == "Mallory":
            raise ValidationError("Not you.", "first_name")


class Change(CamelCase):
    user_name = fields.String(attribute="username")
    password = fields.String(data_key="pass_word")


class NewEmail(CamelCase):
    email = fields.String(required=True, data_key="new_email")
    password = fields.String(data_key="pass_word")


BODY = {
    "userName": "bob",
    "emailAddress": "bob@example.com",
    "passWord": PASSWORD,
    "passwordConfirm": PASSWORD,
}


@pytest.fixture
def site(new_site: NewSite) -> Site:
    site = new_site(
        REGISTER_SCHEMA_CLASS=Signup,
        PROFILE_SCHEMA_CLASS=Change,
        REGISTER_EMAIL_SCHEMA_CLASS=NewEmail,
        PREVENT_ENUMERATION=False,
    )
    body = {**BODY, "userName": "alice", "emailAddress": "alice@example.com"}
    assert site.post("register", body).status_code == 201
    site.verify()
    return site


def refused(reply: Any) -> set[str]:
    assert reply.status_code == 400
    return set(reply.get_json())


@each_row(
    ("body", "field"),
    [
        pytest.param({"userName": "alice"}, "userName", id="a username in use"),
        pytest.param({"userName": "a b"}, "userName", id="an invalid username"),
        pytest.param({"emailAddress": "alice@example.com"}, "emailAddress", id="address in use"),
        pytest.param({"emailAddress": "alice"}, "emailAddress", id="no address"),
        pytest.param({"passWord": "short", "passwordConfirm": "short"}, "passWord", id="weak"),
        pytest.param({"passwordConfirm": "another"}, "passwordConfirm", id="another password"),
        pytest.param({"firstName": "Mallory"}, "firstName", id="a rule of the schema"),
        pytest.param({"firstName": 5}, "firstName", id="a wrong type"),
        pytest.param({"firstName": "a\x00b"}, "firstName", id="an unsupported character"),
    ],
)
def test_a_registration_names_fields_as_the_client_does(
    site: Site, body: dict[str, Any], field: str
) -> None:
    reply = site.post("register", {**BODY, **body})
    assert refused(reply) == {field}
    headers = {"Accept": "application/problem+json"}
    problem = site.post("register", {**BODY, **body}, headers=headers).get_json()
    assert {each["pointer"] for each in problem["errors"]} == {f"#/{field}"}


def test_other_endpoints_name_fields_as_the_client_does(site: Site) -> None:
    site.post("register", BODY)
    client = site.app.test_client()
    site.post("login", {"login": "alice", "password": PASSWORD}, client=client)
    taken = client.patch("/accounts/profile/", json={"userName": "bob", "passWord": PASSWORD})
    assert refused(taken) == {"userName"}
    for body, field in (
        ({"newEmail": "carol@example.com", "passWord": "wrong"}, "passWord"),
        ({"newEmail": "carol", "passWord": PASSWORD}, "newEmail"),
        ({"newEmail": "alice@example.com", "passWord": PASSWORD}, "newEmail"),
    ):
        assert refused(site.post("register-email", body, client=client)) == {field}


def test_alternatives_may_have_other_names(new_site: NewSite) -> None:
    class Login(Schema):
        login = fields.String(required=True, data_key="userName")
        password = fields.String(required=True, data_key="passWord")

    site = new_site(LOGIN_SCHEMA_CLASS=Login)
    site.register("alice")
    site.verify()
    body = {"userName": "alice", "passWord": PASSWORD}
    assert site.post("login", body).status_code == 200
    assert refused(site.post("login", {"userName": "alice"})) == {"passWord"}
