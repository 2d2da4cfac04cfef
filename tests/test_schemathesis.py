"""Hundreds of requests, right and wrong, that are made from the API description: nothing is other
than it says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator

from .descriptions import COMMON, SITES, describe, resolve
from .people import account
from .site import PASSWORD, Site
from .tables import each_row
from .world import SETTINGS

schemathesis = pytest.importorskip(
    "schemathesis", reason="no Schemathesis here: it needs Python 3.11 or newer"
)

#: Any other will do; a run that fails says which it had.
SEED = 20261125

#: Random requests to each endpoint, beside those that Schemathesis thinks of itself.
EXAMPLES = 8

#: What both JSON and marshmallow read as these; the description names the plain types only.
BOOLEANS = {
    str(each).lower() for each in (True, False, "on", "off", "yes", "no", "y", "n", "t", "f", 1, 0)
}

NewSite = Callable[..., Site]


class Rewound:
    """A WSGI application whose database is put back before each request."""

    def __init__(self, site: Site) -> None:
        self._site = site
        with site.app.app_context():
            self._rows = [
                (table, [dict(row) for row in site.db.session.execute(table.select()).mappings()])
                for table in site.db.metadata.sorted_tables
            ]

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        session = self._site.db.session
        with self._site.app.app_context():
            for table, _ in reversed(self._rows):
                session.execute(table.delete())
            for table, rows in self._rows:
                if rows:
                    session.execute(table.insert(), rows)
            session.commit()
        self._site.outbox.clear()
        replied: Iterable[bytes] = self._site.app.wsgi_app(environ, start_response)
        return replied


def member(site: Site, name: str) -> Callable[[Any], None]:
    """Open Alice's account; what lets a request be hers."""
    account(site, "alice")
    login = "alice@example.com" if name == "tokens" else "alice"
    prefix = site.app.config.get("REGISTRATION_URL_PREFIX", "/accounts")
    client = site.app.test_client()
    reply = client.post(f"{prefix}/login/", json={"login": login, "password": PASSWORD})
    if reply.status_code == 401 and reply.get_json()["step"] == "terms":
        left = reply.get_json()
        shown = {"challenge": left["challenge"], "version": left["version"]}
        reply = client.post(f"{prefix}/accept-terms/", json=shown)
    assert reply.status_code == 200, reply.get_json()
    cookie = client.get_cookie("session")

    def sign(case: Any) -> None:
        if cookie is not None:
            case.cookies = {**(case.cookies or {}), "session": cookie.value}
        else:
            case.headers = {
                **(case.headers or {}),
                "Authorization": f"Bearer {reply.get_json()['token']}",
            }

    return sign


def configured(site: Site, name: str = "sessions") -> Any:
    """The description as Schemathesis reads it, for requests of Alice's."""
    sign = member(site, name)
    prefix = site.app.config.get("REGISTRATION_URL_PREFIX", "/accounts")
    from schemathesis.config import CacheConfig

    config = schemathesis.Config(seed=SEED, cache=CacheConfig(enabled=False))
    schema: Any = schemathesis.openapi.from_wsgi(
        f"{prefix}/openapi.json", Rewound(site), config=config
    )
    schema.config.phases.update(phases=["examples", "coverage", "fuzzing"])
    schema.config.generation.update(
        max_examples=EXAMPLES, database="none", with_security_parameters=False
    )
    schema.config.checks.positive_data_acceptance.enabled = (
        False  # no schema says whether a password is hard to guess
    )
    schema.config.checks.ignored_auth.enabled = (
        False  # it cannot ask a WSGI application; test_openapi.py does that
    )

    @schema.auth()
    class Alice:
        def get(self, case: Any, context: Any) -> bool:
            return True

        def set(self, case: Any, data: bool, context: Any) -> None:
            sign(case)

    return schema


def is_read_too(document: dict[str, Any], case: Any) -> bool:
    """Whether a body is right but for booleans and whole numbers that are spelt as marshmallow
    reads them, too, and for numbers in place of text."""
    operation = document["paths"][case.operation.path][case.operation.method.lower()]
    content = resolve(document, operation.get("requestBody", {})).get("content", {})
    if not content or case.media_type not in content:
        return False
    schema = content["application/json"]["schema"]
    whole = {**schema, "components": document["components"]}
    return bool(OAS31Validator(whole).is_valid(as_read(document, schema, case.body)))


def as_read(document: dict[str, Any], schema: Any, value: Any) -> Any:
    """A value as JSON has it, made of one that marshmallow reads."""
    schema = resolve(document, schema)
    kinds = schema.get("type", [])
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        return {
            name: as_read(document, properties.get(name, {}), each) for name, each in value.items()
        }
    if isinstance(value, list):
        return [as_read(document, schema.get("items", {}), each) for each in value]
    if "boolean" in kinds and str(value).lower() in BOOLEANS:
        return str(value).lower() in ("true", "on", "yes", "y", "t", "1")
    if "string" in kinds and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if "integer" in kinds and isinstance(value, str | float):
        try:
            return int(value)
        except ValueError:
            return value
    return value


def ask(schema: Any, document: dict[str, Any]) -> tuple[set[str], list[str]]:
    """Which operations were asked, and what is other than described."""
    from schemathesis.engine import events, from_schema

    asked, complaints = set(), []
    for event in from_schema(schema).execute():
        if isinstance(event, events.FatalError):
            raise event.exception
        assert not isinstance(event, events.NonFatalError), event.info.message
        if isinstance(event, events.ScenarioFinished):
            for number, checks in event.recorder.checks.items():
                case, reply = (
                    event.recorder.cases[number].value,
                    event.recorder.interactions[number].response,
                )
                asked.add(case.operation.label)
                for each in checks:
                    is_lenient = each.name == "negative_data_rejection" and is_read_too(
                        document, case
                    )
                    if each.failure_info is not None and not is_lenient:
                        told = reply and f"{reply.status_code} {reply.text}"
                        message = each.failure_info.failure.message
                        complaints.append(
                            f"{case.as_curl_command()}\n{told}\n{each.name}: {message}"
                        )
    return asked, complaints


@each_row("name", SITES)
def test_no_request_finds_a_difference(name: str, new_site: NewSite) -> None:
    site = new_site(**SITES[name], **COMMON, config={"PROPAGATE_EXCEPTIONS": False})
    document = describe(site.app)
    asked, complaints = ask(configured(site, name), document)
    assert complaints == [], f"seed {SEED}\n" + "\n\n".join(complaints[:5])
    described = {(method, path) for path, item in document["paths"].items() for method in item}
    assert asked == {
        f"{method.upper()} {path}" for method, path in described if method != "parameters"
    }


def test_no_request_to_an_optional_flow_finds_a_difference(new_site: NewSite) -> None:
    described = [flow for flow in SETTINGS["flows"] if not flow.pages]
    changes = {"flows": described, "config": {"PROPAGATE_EXCEPTIONS": False}}
    site = new_site(**{**SETTINGS, **changes})
    document = describe(site.app)
    known = describe(new_site(**COMMON).app)["paths"]
    paths = [path for path in document["paths"] if path not in known]
    schema = configured(site)
    asked, complaints = ask(schema.include(path=paths), document)
    assert complaints == [], f"seed {SEED}\n" + "\n\n".join(complaints[:5])
    assert {label.partition(" ")[2] for label in asked} == set(paths)
    assert len(paths) >= 15


def no_415(document: dict[str, Any]) -> None:
    del document["paths"]["/accounts/login/"]["post"]["responses"]["415"]


def another_code(document: dict[str, Any]) -> None:
    responses = document["paths"]["/accounts/login/"]["post"]["responses"]
    responses["400"]["content"]["application/json"]["schema"]["anyOf"].pop()


def a_field_that_no_reply_has(document: dict[str, Any]) -> None:
    document["components"]["schemas"]["LoggedIn"]["required"].append("token")


def a_limit_that_nobody_keeps(document: dict[str, Any]) -> None:
    properties = document["components"]["schemas"]["LoginRequest"]["properties"]
    properties["login"]["maxLength"] = 4
    del properties["remember"]  # only one field is varied


@each_row("lie", [no_415, another_code, a_field_that_no_reply_has, a_limit_that_nobody_keeps])
def test_a_difference_would_be_found(
    lie: Callable[[dict[str, Any]], None], new_site: NewSite
) -> None:
    def edit(document: dict[str, Any]) -> dict[str, Any]:
        lie(document)
        return document

    site = new_site(**COMMON, OPENAPI_EDITOR=edit)
    _, complaints = ask(configured(site).include(path="/accounts/login/"), describe(site.app))
    assert complaints
