"""The rules of the configuration: their ids, their page, and where their findings are printed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask.cli import ScriptInfo

from flask_registration import ConfigurationError, Finding, Flow, Settings, Setup, setting
from flask_registration.cli.base import registration_cli
from flask_registration.flows import login

from .pages import docs_module
from .site import Site
from .tables import each_row

NewSite = Callable[..., Site]
ROOT = Path(__file__).resolve().parent.parent


page = docs_module("findings")

#: What each id is about. Never change or remove a line: applications silence ids, and people look
#: them up.
IDS = {
    "registration.E001": "{setting}",
    "registration.E002": "{setting}",
    "registration.E003": "{setting}",
    "registration.E004": "SECRET_KEY",
    "registration.E005": "Flask-SQLAlchemy",
    "registration.E006": "Flask-Mail",
    "registration.E007": "REGISTRATION_VERIFICATION_FROM_EMAIL",
    "registration.E008": "REGISTRATION_LOGIN_AUTHENTICATE_SESSION",
    "registration.E009": "REGISTRATION_MAIL_DISPATCHER",
    "registration.E010": "{name}",
    "registration.E011": "REGISTRATION_LANGUAGES",
    "registration.E012": "user_model",
    "registration.E013": "user_model",
    "registration.E014": "user_model",
    "registration.E015": "{key}",
    "registration.E016": "{key}",
    "registration.E017": "REGISTRATION_USER_PUBLIC_FIELDS",
    "registration.E018": "REGISTRATION_USER_EDITABLE_FIELDS",
    "registration.E019": "{key}",
    "registration.E020": "{key}",
    "registration.E021": "REGISTRATION_USER_EMAIL_FIELD",
    "registration.E022": "REGISTRATION_USER_VERIFICATION_FLAG_FIELD",
    "registration.E023": "REGISTRATION_REGISTER_VERIFICATION_AUTO_LOGIN",
    "registration.E024": "{model}.{name}",
    "registration.E025": "REGISTRATION_SEND_RESET_PASSWORD_LINK_SCHEMA_USE_EMAIL",
    "registration.E026": "REGISTRATION_MAIL_DISPATCHER",
    "registration.E027": "{name}",
    "registration.E028": "{name}",
    "registration.E029": "REGISTRATION_OPENAPI_PAGE_PATH",
    "registration.E030": "REGISTRATION_MAIL_DISPATCHER",
    "registration.E031": "REGISTRATION_OUTBOX_LEASE",
    "registration.E032": "{name}.__bind_key__",
    "registration.E033": "REGISTRATION_THROTTLES",
    "registration.E034": "REGISTRATION_THROTTLES",
    "registration.E035": "RATELIMIT_STORAGE_URI",
    "registration.E036": "RATELIMIT_STRATEGY",
    "registration.E037": "MAIL_SERVER",
    "registration.E038": "SQLALCHEMY_DATABASE_URI",
    "registration.E039": "Table {name}",
    "registration.E040": "Table {name}",
    "registration.E041": "{name}.{column}",
    "registration.E042": "session_interface",
    "registration.E043": "session_interface",
    "registration.E044": "REGISTRATION_USER_ACTIVE_FIELD",
    "registration.E045": "{model_name}.{name}",
    "registration.E046": "REGISTRATION_USER_VERIFICATION_FLAG_FIELD",
    "registration.E047": "MAIL_DEFAULT_SENDER",
    "registration.E048": "Registration",
    "registration.E049": "The blueprint 'registration'",
    "registration.E050": "host_matching",
    "registration.E051": "Flask-SQLAlchemy",
    "registration.E052": "{model_name}.{name}",
    "registration.E053": "{model_name}.{name}",
    "registration.E054": "{model_name}.{verification_id}",
    "registration.E055": "models",
    "registration.E056": "models",
    "registration.E057": "models",
    "registration.E058": "REGISTRATION_RESET_PASSWORD_AUTO_LOGIN",
    "registration.E059": "REGISTRATION_VERIFICATION_METHOD",
    "registration.E060": "REGISTRATION_CODE_TRIES",
    "registration.E061": "flows",
    "registration.E062": "REGISTRATION_CREDENTIAL_KEYS",
    "registration.E063": "models",
    "registration.E064": "{name}.user_id",
    "registration.E065": "REGISTRATION_TRUST_BROWSER_PERIOD",
    "registration.E066": "REGISTRATION_SECOND_FACTOR_RECOVERY_DELAY",
    "registration.E067": "{model}.{email}",
    "registration.E068": "REGISTRATION_SIGN_UP_PASSWORD_REQUIRED",
    "registration.E069": "REGISTRATION_TERMS_VERSION",
    "registration.E070": "REGISTRATION_GATE",
    "registration.E071": "REGISTRATION_GATE",
    "registration.E072": "{model}.username_skeleton",
    "registration.E073": "REGISTRATION_BREACHED_PASSWORDS_URL",
    "registration.E074": "{setting}",
    "registration.E075": "{setting}",
    "registration.E076": "{setting}",
    "registration.E077": "{name}",
    "registration.E078": "REGISTRATION_EXPORTERS",
    "registration.E079": "REGISTRATION_DELETION_GRACE",
    "registration.E080": "REGISTRATION_DELETION_GRACE",
    "registration.E081": "flows",
    "registration.E082": "flows",
    "registration.W001": "REGISTRATION_RESET_PASSWORD_FAIL_WHEN_USER_NOT_FOUND",
    "registration.W002": "REGISTRATION_RESET_PASSWORD_VERIFICATION_PERIOD",
    "registration.W003": "REGISTRATION_RESET_PASSWORD_VERIFICATION_ONE_TIME_USE",
    "registration.W004": "REGISTRATION_REGISTER_VERIFICATION_ENABLED",
    "registration.W005": "REGISTRATION_PREVENT_ENUMERATION",
    "registration.W006": "DEBUG",
    "registration.W007": "TESTING",
    "registration.W008": "{setting}",
    "registration.W009": "{setting}",
    "registration.W010": "{names}",
    "registration.W011": "{names}",
    "registration.W012": "{names}",
    "registration.W013": "REGISTRATION_THROTTLES",
    "registration.W014": "RATELIMIT_STORAGE_URI",
    "registration.W015": "MAIL_SUPPRESS_SEND",
    "registration.W016": "MAIL_USE_TLS",
    "registration.W017": "REGISTRATION_MAIL_VERIFY_TLS",
    "registration.W018": "REGISTRATION_MAIL_LIMITS",
    "registration.W019": "REGISTRATION_PASSWORD_MIN_LENGTH",
    "registration.W020": "REGISTRATION_PASSWORD_MIN_STRENGTH",
    "registration.W021": "REGISTRATION_PASSWORD_HASHER",
    "registration.W022": "{model}.{name}",
    "registration.W023": "{table}.{column}",
    "registration.W024": "CSRFProtect",
    "registration.W025": "REGISTRATION_MAIL_DISPATCHER",
    "registration.W026": "{table}.{column}",
    "registration.W027": "REGISTRATION_RESET_PASSWORD_VERIFICATION_ENABLED",
    "registration.W028": "REGISTRATION_EMAIL_VALIDATOR_OPTIONS",
    "registration.W029": "REGISTRATION_NEW_LOGIN_NOTICE_ENABLED",
    "registration.W030": "REGISTRATION_GATE_WHEN",
    "registration.W031": "REGISTRATION_APPROVERS",
    "registration.W032": "{table}.approved_at",
    "registration.N001": "{names}",
    "registration.N002": "REGISTRATION_PASSWORD_MIN_LENGTH",
    "registration.N003": "models",
    "registration.N004": "RATELIMIT_STORAGE_URI",
    "registration.N005": "REGISTRATION_MAY_INVITE",
}


def check(make_site: Callable[[], Site], *options: str) -> tuple[int, list[dict[str, str]]]:
    """Return the exit status of ``flask registration check`` and the findings that it prints."""
    result = CliRunner().invoke(
        registration_cli,
        ["check", "--json", *options],
        obj=ScriptInfo(create_app=lambda: make_site().app, set_debug_flag=False),
    )
    return result.exit_code, json.loads(result.stdout)


# Ids


def test_each_finding_has_an_id_of_its_own_that_keeps_its_meaning() -> None:
    sections = page.sections()
    assert len({section.id for section in sections}) == len(sections)
    assert {section.id: section.subject for section in sections} == IDS


def test_the_numbers_of_each_level_have_no_gap() -> None:
    for letter in "EWN":
        ids = [id for id in IDS if id.startswith(f"registration.{letter}")]
        assert ids == [f"registration.{letter}{number:03}" for number in range(1, len(ids) + 1)]


def test_the_page_says_of_each_id_what_is_wrong_why_it_matters_and_how_to_fix_it() -> None:
    text, ids = page.checks_page(), [section.id for section in page.sections()]
    parts = re.split(r"^#{2,3} (?=registration)", text, flags=re.MULTILINE)[1:]
    assert [part.split("\n")[0].partition(": ")[0] for part in parts] == ids
    anchors = re.findall(r"^\(([\w-]+)\)=\n### registration", text, re.MULTILINE)
    assert anchors == [id.lower().replace(".", "-") for id in ids]
    assert re.findall(r"\[\w+\]\(#([\w-]+)\)", text) == anchors
    for part in parts:
        id, what, why, fix, *_ = part.strip().split("\n\n")
        assert what.startswith("**"), id
        assert re.fullmatch(r'Why it matters: "?[A-Z].+[.*]', why), id
        assert re.fullmatch(r"How to fix it: .+[.?]", fix), id
        assert "{" not in part, id


def test_the_page_is_part_of_the_documentation() -> None:
    assert "{{ checks }}" in (ROOT / "docs" / "checks.md").read_text("utf-8")
    assert '"checks": checks_page()' in (ROOT / "docs" / "conf.py").read_text("utf-8")


# What is printed where


def test_check_prints_as_json_what_init_app_raises(new_site: NewSite) -> None:
    bad = {"PASSWORD_MIN_LENGTH": "8", "REGISTER_VERIFICATION_URL": "/verify/", "COLOUR": "red"}
    with pytest.raises(ConfigurationError) as caught:
        new_site(**bad)
    status, printed = check(lambda: new_site(**bad))
    assert status == 1
    assert [each["id"] for each in printed] == [each.id for each in caught.value.findings]
    assert printed == [{"level": "error", **each._asdict()} for each in caught.value.findings]


@dataclass(frozen=True, kw_only=True)
class LoudSettings(Settings):
    """A flow of the tests."""

    loudness: int = setting(0, "How loud it is.")


loud = Flow("loud", LoudSettings)


@loud.check
def check_loudness(setup: Setup) -> Iterator[Finding]:
    """Report loudness: a little is a note, more is a warning, and too much is an error."""
    loudness = setup.group(LoudSettings).loudness
    if loudness:
        letter = ".NWE"[loudness]
        yield Finding(f"loud.{letter}001", "REGISTRATION_LOUDNESS", "is not 0.", "Set it to 0.")


@each_row(("loudness", "level"), [(1, "note"), (2, "warning")], ids=["note", "warning"])
def test_a_flow_s_own_warnings_and_notes_are_printed_and_do_not_stop_the_application(
    new_site: NewSite, loudness: int, level: str
) -> None:
    site = new_site(flows=[login.flow, loud], LOUDNESS=loudness)
    _, printed = check(lambda: site, "--strict")
    (found,) = [each for each in printed if each["subject"] == "REGISTRATION_LOUDNESS"]
    assert (found["level"], found["problem"], found["hint"]) == (level, "is not 0.", "Set it to 0.")


def test_a_flow_s_own_error_stops_the_application_without_its_warnings(new_site: NewSite) -> None:
    with pytest.raises(ConfigurationError) as caught:
        new_site(flows=[login.flow, loud], LOUDNESS=3, PASSWORD_MIN_LENGTH=7)
    assert [finding.id for finding in caught.value.findings] == ["loud.E001"]


# Silenced checks


def test_a_warning_that_is_silenced_is_not_printed_and_does_not_fail_a_strict_check(
    new_site: NewSite,
) -> None:
    status, printed = check(new_site, "--strict")
    ids = sorted({each["id"] for each in printed})
    assert (status, {each["level"] for each in printed}) == (1, {"warning", "note"})
    kept = ids[1:]
    _, printed = check(lambda: new_site(SILENCED_CHECKS=ids[:1]), "--strict")
    assert sorted({each["id"] for each in printed}) == kept
    assert check(lambda: new_site(SILENCED_CHECKS=ids), "--strict") == (0, [])


@each_row("id", ["registration.E001", "E001", "W014", "", "registration.W"])
def test_only_a_warning_or_a_note_can_be_silenced(new_site: NewSite, id: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        new_site(SILENCED_CHECKS=[id])
    (finding,) = caught.value.findings
    assert (finding.id, finding.subject) == ("registration.E001", "REGISTRATION_SILENCED_CHECKS")


def test_an_error_is_printed_although_its_id_is_silenced(new_site: NewSite) -> None:
    site = new_site(SILENCED_CHECKS=["registration.W014"], MAIL_TIMEOUT=0.1)
    site.app.extensions["mail"].port = 1
    status, printed = check(lambda: site, "--mail")
    assert status == 1
    assert printed[0]["id"] == "registration.E037"


# Values that a function of the setting refuses


@dataclass(frozen=True, kw_only=True)
class EvenSettings(Settings):
    """A flow of the tests."""

    pairs: int | None = setting(None, "How many.", validate=lambda value: _check_even(value))


def _check_even(value: Any) -> None:
    if value % 2:
        raise ValueError("must be even")


def test_a_value_that_its_own_validation_refuses_is_an_error(new_site: NewSite) -> None:
    even = Flow("even", EvenSettings)
    with pytest.raises(ConfigurationError) as caught:
        new_site(flows=[login.flow, even], PAIRS=3)
    (finding,) = caught.value.findings
    assert finding.id == "registration.E001"
    assert finding.problem.startswith("is 3, but must be even.")
    for allowed in (2, None):
        new_site(flows=[login.flow, even], PAIRS=allowed)
