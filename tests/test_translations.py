"""The catalogs that we ship: whole, in every language, and of every text that there is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from gettext import c2py
from pathlib import Path
from string import Formatter
from typing import Any

from babel import Locale
from babel.messages.catalog import Catalog, Message
from marshmallow import validate
from sqlalchemy import (
    ARRAY,
    JSON,
    Boolean,
    Column,
    Date,
    DateTime,
    Enum,
    Float,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    String,
    Time,
    Uuid,
)
from sqlalchemy.types import TypeEngine
from werkzeug.exceptions import (
    BadRequest,
    InternalServerError,
    MethodNotAllowed,
    RequestEntityTooLarge,
)
from zxcvbn_rs_py import Suggestion
from zxcvbn_rs_py import Warning as Hint

from flask_registration.cli.base import registration_cli
from flask_registration.errors import REQUIRED
from flask_registration.flows import DEFAULT_FLOWS, verification_redirects
from flask_registration.http.bodies import NULL
from flask_registration.http.schemas import column_field
from flask_registration.i18n.languages import SOURCE, TRANSLATIONS, shipped

from .catalogs import catalog_path, compiled, extracted, po_path, read, updated, written
from .library_messages import MARSHMALLOW, WERKZEUG, ZXCVBN
from .pages import read as page
from .site import Site, html_of, text_of
from .tables import each_row

NewSite = Callable[..., Site]
CODES = [code for code in shipped() if code != SOURCE]
in_every_language = each_row("code", CODES)


@cache
def english() -> Catalog:
    """Every text in the code and the templates."""
    return extracted()


def forms(texts: str | tuple[str, ...] | list[str] | None) -> tuple[str, ...]:
    """A text, or its forms by number."""
    return (texts,) if isinstance(texts, str) else tuple(texts or ())


def messages(code: str) -> list[Message]:
    """The entries of a catalog without its header."""
    return [message for message in read(code) if message.id]


# The catalogs


def test_there_are_all_languages_of_the_documentation() -> None:
    named = "en de fr es it pt_BR nl pl uk tr ja zh_Hans ko ar hi id vi"
    assert set(shipped()) == set(named.split())
    assert sorted(
        re.findall(r"\| `(\w+)` \|", page("docs/languages.md").replace("|", "||"))
    ) == sorted(shipped())


@in_every_language
def test_a_catalog_is_up_to_date(code: str) -> None:
    """None is missing, none is unused: ``python -m tests.catalogs`` would change nothing."""
    assert {message.id for message in messages(code)} == {
        message.id for message in english() if message.id
    }
    assert po_path(code).read_text("utf-8") == written(code, updated(code))


@in_every_language
def test_a_catalog_is_compiled(code: str) -> None:
    assert catalog_path(TRANSLATIONS, code).read_bytes() == compiled(read(code))


@in_every_language
def test_every_text_is_translated(code: str) -> None:
    catalog = read(code)
    assert [
        message.id for message in messages(code) if not all(forms(message.string)) or message.fuzzy
    ] == []
    assert (catalog.fuzzy, dict(catalog.obsolete)) == (False, {})
    same = [
        text
        for message in messages(code)
        for text in forms(message.string)
        if text in forms(message.id)
    ]
    assert [text for text in same if len(text.split()) > 2] == []


@in_every_language
def test_a_text_has_the_plural_forms_of_its_language(code: str) -> None:
    catalog, category = read(code), Locale.parse(code).plural_form
    form = c2py(catalog.plural_expr)
    pairs = {
        (category(number), form(number)) for number in range(1000)
    }  # from a million on some have one more
    categories, numbers = (set(each) for each in zip(*pairs, strict=True))
    assert len(pairs) == len(categories), (
        "numbers that are alike in the Unicode CLDR have different forms"
    )
    assert len(numbers) in (len(categories), 1), (
        "numbers that differ in the Unicode CLDR have the same form"
    )
    assert numbers == set(range(catalog.num_plurals))
    counted = [message for message in messages(code) if message.pluralizable]
    assert {len(forms(message.string)) for message in counted} == {catalog.num_plurals}
    assert {
        len(forms(message.string)) for message in messages(code) if not message.pluralizable
    } == {1}


def marks(text: str) -> tuple[Counter[str], int, str, str]:
    """What a translation must not change: values, strong words, blanks around it."""
    named = Counter(name for _, name, _, _ in Formatter().parse(text) if name is not None)
    return (
        named,
        text.count("**"),
        text[: len(text) - len(text.lstrip())],
        text[len(text.rstrip()) :],
    )


@in_every_language
def test_a_translation_has_the_values_and_the_strong_words_of_its_text(code: str) -> None:
    used = Counter(map(c2py(read(code).plural_expr), range(1000)))

    def is_right(text: str, number: int, english: str) -> bool:
        if used[number] == 1 and "{count}" not in text:  # "two days" are one word in Arabic
            english = english.replace("{count}", "").lstrip()
        return marks(text) == marks(english)

    wrong = {
        text: message.id
        for message in messages(code)
        for number, text in enumerate(forms(message.string))
        if not is_right(text, number, forms(message.id)[0])
    }
    assert wrong == {}


# What people see


@cache
def pieces() -> frozenset[str]:
    """What stands between the values of our texts, where it is long enough to be known again."""
    texts = [text for message in english() for text in forms(message.id)]
    parts = [piece.strip() for text in texts for piece in re.split(r"\{\w+\}|\*\*", text)]
    return frozenset(piece for piece in parts if len(piece.split()) > 2)


def left_in_english(text: str) -> list[str]:
    """Which of our texts are in a mail or a page as the code has them."""
    words = re.sub(r"\s+", " ", text)
    return [piece for piece in pieces() if piece in words]


@in_every_language
def test_somebody_registers_and_fails_to_log_in(new_site: NewSite, code: str) -> None:
    tag = code.replace("_", "-")
    headers = {"Accept-Language": f"{tag}, en;q=0.5"}
    site = new_site()
    body = {
        "username": "alice",
        "email": "alice@example.com",
        "password": "correct horse battery staple",
    }
    site.post("register", {**body, "password_confirm": body["password"]}, headers=headers)
    mail = site.read()
    assert "your e-mail address" not in mail["Subject"]
    assert "example.com" in mail["Subject"]
    assert f'<html lang="{tag}"' in html_of(mail)
    verified = site.post("verify-registration", site.link(), headers=headers)
    assert verified.status_code == 200
    refused = site.post("login", {"login": "alice", "password": "wrong"}, headers=headers)
    assert (refused.status_code, refused.get_json()["code"]) == (400, "login-invalid")
    assert {verified.headers["Content-Language"], refused.headers["Content-Language"]} == {tag}
    assert verified.get_json()["detail"] != "User verified successfully"
    assert refused.get_json()["detail"] != "Incorrect username, e-mail address or password."


@in_every_language
def test_every_mail_is_in_one_language(new_site: NewSite, tmp_path: Path, code: str) -> None:
    """No text of ours is left in English in any part of any mail."""
    result = (
        new_site()
        .app.test_cli_runner()
        .invoke(
            registration_cli, ["preview-mail", str(tmp_path), "--language", code.replace("_", "-")]
        )
    )
    assert result.exit_code == 0, result.output
    mails = {
        path.name: path.read_text("utf-8-sig")
        for path in tmp_path.iterdir()
        if path.name != "index.html"
    }
    assert len(mails) > 10
    for name, mail in mails.items():
        assert left_in_english(mail) == [], name
        assert "**" not in mail
        assert (
            ("{" not in mail)
            if name.endswith(".txt")
            else (f'<html lang="{code.replace("_", "-")}"' in mail)
        )


@in_every_language
def test_every_page_is_in_one_language(new_site: NewSite, code: str) -> None:
    site = new_site(flows=[*DEFAULT_FLOWS, verification_redirects.flow])
    client, tag = site.app.test_client(), code.replace("_", "-")
    for name in ("verify-registration", "verify-email", "reset-password", "undo-email-change"):
        link = {"user_id": "1", "email": "alice@example.com", "timestamp": "1", "signature": "x"}
        passwords = {"password": "long and good enough", "password_confirm": "long and good enough"}
        for shown in (
            client.get(f"/accounts/{name}/", query_string=link, headers={"Accept-Language": tag}),
            client.post(
                f"/accounts/{name}/confirm/", data=passwords, headers={"Accept-Language": tag}
            ),
            client.post(
                f"/accounts/{name}/confirm/",
                data={**link, **passwords},
                headers={"Accept-Language": tag},
            ),
            client.post(
                f"/accounts/{name}/confirm/",
                data={"password": "x"},
                headers={"Accept-Language": tag},
            ),
        ):
            assert left_in_english(shown.text) == []
            assert f'<html lang="{tag}"' in shown.text
            assert ('dir="rtl"' in shown.text) == (code == "ar")


CLIENTS_ERRORS: dict[str, dict[str, Any]] = {
    "bad-request": {"data": "{", "content_type": "application/json"},
    "unsupported-media-type": {"data": "login=alice"},
    "request-entity-too-large": {"data": "x" * 70_000, "content_type": "application/json"},
    "method-not-allowed": {"method": "PUT", "json": {}},
    "signature-invalid": {
        "path": "verify-registration",
        "json": {"user_id": "1", "timestamp": "1", "signature": "x"},
    },
    "not-authenticated": {"path": "logout", "json": {}},
}


@in_every_language
def test_a_code_is_the_same_in_every_language(new_site: NewSite, code: str) -> None:
    site = new_site()

    def answers(language: str) -> list[Any]:
        found: list[Any] = []
        for ask in CLIENTS_ERRORS.values():
            options = {"method": "POST", "path": "login", **ask}
            path = f"/accounts/{options.pop('path')}/"
            reply = site.app.test_client().open(
                path, headers={"Accept-Language": language}, **options
            )
            found.append(reply.get_json())
        return found

    spoken = answers(code.replace("_", "-"))
    assert [each["code"] for each in spoken] == [*CLIENTS_ERRORS]
    assert [
        here
        for here, there in zip(spoken, answers("en"), strict=True)
        if here["detail"] == there["detail"]
    ] == []


LASTING = [
    ("pl", timedelta(days=1), "przez 1 dzień."),
    ("pl", timedelta(days=2), "przez 2 dni."),
    ("pl", timedelta(days=5), "przez 5 dni."),
    ("pl", timedelta(hours=22), "przez 22 godziny."),
    ("pl", timedelta(hours=25), "przez 25 godzin."),
    ("uk", timedelta(days=1), "1 день."),
    ("uk", timedelta(days=2), "2 дні."),
    ("uk", timedelta(days=5), "5 днів."),
    ("uk", timedelta(days=21), "21 день."),
    ("ar", timedelta(days=1), "لمدة يوم واحد."),
    ("ar", timedelta(days=2), "لمدة يومين."),
    ("ar", timedelta(hours=2), "لمدة ساعتين."),
    ("ar", timedelta(days=5), "5 أيام."),
    ("ar", timedelta(days=11), "11 يومًا."),
    ("ar", timedelta(days=100), "100 يوم."),
    ("ar", timedelta(seconds=2), "لمدة ثانيتين."),
    ("ar", timedelta(seconds=0.5), "0.5 ثوانٍ."),
    ("en", timedelta(seconds=0.5), "0.5 seconds"),
    ("ja", timedelta(days=5), "5日"),
    ("pt_BR", timedelta(days=1), "1 dia."),
]


@each_row(
    ("code", "period", "said"), LASTING, ids=[f"{code}, {period}" for code, period, _ in LASTING]
)
def test_a_number_has_the_plural_form_of_its_language(
    new_site: NewSite, code: str, period: timedelta, said: str
) -> None:
    site = new_site(LANGUAGES=[code], REGISTER_VERIFICATION_PERIOD=period)
    site.register("alice")
    mail = site.read()
    assert said in text_of(mail).replace("\xa0", " ")
    assert said in html_of(mail).replace("\xa0", " ")


def test_a_mail_in_arabic_is_read_from_right_to_left(new_site: NewSite) -> None:
    site = new_site(LANGUAGES=["ar"])
    site.register("alice")
    html = html_of(site.read())
    assert '<html lang="ar" dir="rtl">' in html
    assert '<table role="presentation" class="ground" dir="rtl"' in html
    # which would look odd otherwise
    assert '<a class="link" dir="ltr" href="https://example.com/verify-registration/' in html
    english = new_site()
    english.register("alice")
    assert 'dir="rtl"' not in html_of(english.read())


def test_dates_and_ip_addresses_stay_in_order_in_arabic() -> None:
    """Without an isolate, 2026-01-31 is shown as 31-01-2026 between words in Arabic."""
    isolated = {"time", "device", "ip_address", "delete_after"}
    for message in messages("ar"):
        for text in forms(message.string):
            for name in isolated & {name for _, name, _, _ in Formatter().parse(text)}:
                assert f"\u2066{{{name}}}\u2069" in text


#: What readers of e-mails and front ends need not know, but for those who write a front end.
BEHIND = re.compile(r"database|schema|request body|\btokens?\b", re.IGNORECASE)
FOR_DEVELOPERS = {
    "This token cannot be revoked.",
    "The request body is not valid JSON in UTF-8.",
}


def test_texts_do_not_name_what_is_behind_them() -> None:
    texts = {text for message in english() for text in forms(message.id)}
    assert {text for text in texts if BEHIND.search(text)} == FOR_DEVELOPERS
    assert [text for text in texts if re.search(r"\bgood for\b", text)] == []


ADDRESSES = [
    "alice",
    "@example.com",
    "alice@",
    "a..b@example.com",
    "alice@example",
    "alice@-example.com",
    "a b@c.com",
]


@in_every_language
def test_a_field_is_refused_in_the_clients_language(new_site: NewSite, code: str) -> None:
    site = new_site()

    def refusals(language: str) -> list[Any]:
        bodies: list[dict[str, Any]] = [
            {},
            {"username": "x" * 151, "email": None, "password": "short"},
            {"username": "no spaces", "email": "x" * 250 + "@example.com", "password": "password1"},
            *(
                {"username": "alice", "email": address, "password": "qwertyuiop"}
                for address in ADDRESSES
            ),
        ]
        headers = {"Accept-Language": language, "Accept": "application/problem+json"}
        replies = [site.post("register", body, headers=headers).get_json() for body in bodies]
        return [each for reply in replies for each in reply["errors"]]

    said, there = refusals(code.replace("_", "-")), refusals("en")
    assert [(each["pointer"], each["code"]) for each in said] == [
        (each["pointer"], each["code"]) for each in there
    ]
    assert [
        each["detail"]
        for each, other in zip(said, there, strict=True)
        if each["detail"] == other["detail"]
    ] == []


# Texts of libraries

LISTED = set(map(str, (*MARSHMALLOW, REQUIRED, NULL)))

#: Of what is shown and not read; of bytes, which JSON has not; of fields that ask for a time zone,
#: or for none.
NOT_HERE = ("format", "invalid_utf8", "invalid_awareness")

COLUMNS: list[TypeEngine[Any]] = [
    ARRAY(Integer),
    Boolean(),
    Date(),
    DateTime(),
    Enum("a", "b"),
    Float(),
    Integer(),
    Interval(),
    JSON(),
    LargeBinary(),
    Numeric(),
    String(40),
    Time(),
    Uuid(),
]


def test_every_text_of_zxcvbn_is_in_our_list() -> None:
    names = [
        (kind, name) for kind in (Hint, Suggestion) for name in vars(kind) if name[0].isupper()
    ]
    assert {str(getattr(kind, name)) for kind, name in names} == set(map(str, ZXCVBN))


@each_row("kind", COLUMNS, ids=lambda kind: type(kind).__name__)
def test_every_text_of_marshmallow_about_a_column_is_in_our_lists(kind: TypeEngine[Any]) -> None:
    field = column_field(Column("some", kind))
    texts = [str(text) for key, text in field.error_messages.items() if key not in NOT_HERE]
    assert {
        text.format(obj_type=getattr(field, "OBJ_TYPE", ""), choices="{choices}") for text in texts
    } <= LISTED


def test_every_text_of_marshmallows_validators_is_in_our_lists() -> None:
    validators: list[validate.Validator] = [
        validate.Email(),
        validate.URL(),
        validate.Length(1),
        validate.Range(1),
        validate.Range(min_inclusive=False),
        validate.Range(max_inclusive=False),
        validate.Equal(1),
        validate.Regexp("x"),
        validate.OneOf("x"),
        validate.NoneOf("x"),
        validate.ContainsOnly("x"),
        validate.ContainsNoneOf("x"),
    ]
    assert {type(each) for each in validators} >= {
        kind
        for kind in vars(validate).values()
        if isinstance(kind, type) and issubclass(kind, validate.Validator)
    } - {
        validate.Validator,
        validate.And,
        validate.Predicate,
    }  # which have no texts of their own, or but one
    texts = {
        text
        for each in validators
        for name in dir(each)
        if name
        in (
            "error",
            "default_message",
            "message_min",
            "message_max",
            "message_all",
            "message_equal",
        )
        if isinstance(text := getattr(each, name), str) and text
    }
    # That a value is between two others and may not be one of them stays English.
    assert {
        text for text in texts if "than {min} and" not in text and "and less than {max}" not in text
    } <= LISTED


def test_every_text_of_werkzeug_that_our_endpoints_answer_is_in_our_list() -> None:
    errors = (BadRequest, MethodNotAllowed, RequestEntityTooLarge, InternalServerError)
    assert {error.description for error in errors} == set(map(str, WERKZEUG))
