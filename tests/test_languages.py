"""Replies and mails in the language of who reads them; what a program reads is the same in all of
them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from babel.messages.catalog import Catalog
from flask import Flask, request
from flask_babel import Babel, get_locale, lazy_gettext
from hypothesis import example, given, settings, strategies
from marshmallow import Schema, ValidationError, fields, validate
from werkzeug.test import TestResponse

from flask_registration import ConfigurationError, Message
from flask_registration.flows import DEFAULT_FLOWS, verification_redirects
from flask_registration.i18n.languages import DOMAIN, shipped

from .catalogs import catalog_path, compiled
from .site import PASSWORD, Site, html_of, text_of
from .tables import each_row

NewSite = Callable[..., Site]

#: A language that we do not ship: every text is the English one between marks.
ESPERANTO = {
    "Incorrect username, e-mail address or password.": "Ne estas tia konto.",
    "This field is required.": "Mankas.",
    "Login successful": "Vi ensalutis",
    "A username has at most {count} character.": (
        "Nomo havas maksimume {count} signon.",
        "Nomo: {count} signoj.",
    ),
    "Longer than maximum length {max}.": "Pli longa ol {max}.",
    "{count} day": ("{count} tago", "{count} tagoj"),
    "This link expires in {valid_for}.": "La ligilo validas {valid_for}.",
    "Welcome to {site_name}!": "Bonvenon ĉe {site_name}!",
    "Confirm your e-mail address for {site_name}": "Konfirmu vian adreson por {site_name}",
    "You already have an account at {site_name}": "Vi jam havas konton ĉe {site_name}",
    "Confirm your e-mail address": "Konfirmu vian adreson",
}
PLURALS = {
    "A username has at most {count} character.": "A username has at most {count} characters.",
    "{count} day": "{count} days",
}


def write_catalog(folder: Path, code: str, texts: Mapping[str, Any]) -> None:
    """Compile a catalog of the application's own."""
    catalog = Catalog(locale=code, domain=DOMAIN)
    for text, said in texts.items():
        catalog.add((text, PLURALS[text]) if text in PLURALS else text, said)
    path = catalog_path(folder, code)
    path.parent.mkdir(parents=True)
    path.write_bytes(compiled(catalog))


@pytest.fixture
def esperanto(new_site: NewSite, tmp_path: Path) -> NewSite:
    """Make applications that speak Esperanto too, from a catalog of their own."""
    write_catalog(tmp_path, "eo", ESPERANTO)

    def make(**settings: Any) -> Site:
        own = {"LANGUAGES": ["en", "eo"], "TRANSLATION_DIRECTORIES": [str(tmp_path)]}
        return new_site(**{**own, **settings})

    return make


def refused(site: Site, header: str | None = None) -> Any:
    """The reply to a wrong login."""
    headers = {} if header is None else {"Accept-Language": header}
    return site.post("login", {"login": "nobody", "password": "wrong"}, headers=headers)


# Replies


@each_row(
    ("header", "language"),
    [
        pytest.param(None, "en", id="nothing"),
        pytest.param("", "en", id="an empty header"),
        pytest.param("eo", "eo", id="a language"),
        pytest.param("EO-xx", "eo", id="a region of it, in capitals"),
        pytest.param("sv, eo;q=0.8, en;q=0.5", "eo", id="the second choice"),
        pytest.param("en, eo;q=0.9", "en", id="English first"),
        pytest.param("eo;q=0, en;q=0.1", "en", id="one that is refused"),
        pytest.param("sv", "en", id="none that there is"),
        pytest.param("*", "en", id="any"),
        pytest.param("eo-Cyrl", "en", id="a script that nobody has"),
        pytest.param('; ,,;q=x, \\"\x7f=', "en", id="nonsense"),
        pytest.param("sv," * 90 + "eo;q=1", "en", id="what is beyond 255 characters"),
        pytest.param("eo," + "x" * 60_000, "eo", id="a long tail"),
    ],
)
def test_a_reply_is_in_the_language_that_the_client_asks_for(
    esperanto: NewSite, header: str | None, language: str
) -> None:
    reply = refused(esperanto(), header)
    text = {"en": "Incorrect username, e-mail address or password.", "eo": "Ne estas tia konto."}[
        language
    ]
    assert reply.get_json() == {"detail": text, "code": "login-invalid"}
    assert reply.headers["Content-Language"] == language


@given(
    header=strategies.text(strategies.characters(min_codepoint=32, max_codepoint=255), max_size=400)
)
@example(header="de-" * 80)
@example(header="*;q=0")
@settings(max_examples=50)
def test_whatever_the_header_is_the_reply_is_in_a_language_that_is_offered(
    site: Site, header: str
) -> None:
    reply = refused(site, header)
    assert (reply.status_code, reply.get_json()["code"]) == (400, "login-invalid")
    assert reply.headers["Content-Language"].replace("-", "_") in shipped()


def test_caches_are_told_that_the_header_decides(esperanto: NewSite) -> None:
    site = esperanto()
    assert (
        {*refused(site).vary}
        == {*refused(site, "eo").vary}
        == {"Accept", "Accept-Language", "Cookie"}
    )
    alone = refused(esperanto(LANGUAGES=["eo"]), "en")
    assert alone.get_json()["detail"] == "Ne estas tia konto."
    assert (alone.headers["Content-Language"], {*alone.vary}) == ("eo", {"Accept", "Cookie"})


def test_a_reply_without_a_text_of_ours_has_no_language(esperanto: NewSite) -> None:
    reply = esperanto().register("alice")
    assert reply.status_code == 201
    assert ("Content-Language" in reply.headers, {*reply.vary}) == (False, {"Cookie"})


def test_the_first_language_is_the_default_one(esperanto: NewSite) -> None:
    site = esperanto(LANGUAGES=["eo", "en"])
    assert refused(site).headers["Content-Language"] == "eo"
    assert refused(site, "sv").headers["Content-Language"] == "eo"
    assert refused(site, "en").headers["Content-Language"] == "en"


def test_a_success_is_in_the_clients_language_too(esperanto: NewSite) -> None:
    site = esperanto()
    site.register("alice")
    site.verify()
    body = {"login": "alice", "password": "correct horse battery staple"}
    assert site.post("login", body, headers={"Accept-Language": "eo"}).get_json() == {
        "detail": "Vi ensalutis"
    }


def test_field_errors_keep_their_names_and_say_their_numbers(esperanto: NewSite) -> None:
    body = {
        "username": "x" * 151,
        "email": "alice@example.com",
        "password": "correct horse battery staple",
    }
    reply = esperanto().post("register", body, headers={"Accept-Language": "eo"})
    assert reply.get_json() == {"username": ["Pli longa ol 150."], "password_confirm": ["Mankas."]}


def test_a_text_without_a_translation_stays_english(esperanto: NewSite) -> None:
    reply = esperanto().post(
        "verify-registration", {"user_id": "1"}, headers={"Accept-Language": "eo"}
    )
    assert reply.get_json() == {"timestamp": ["Mankas."], "signature": ["Mankas."]}
    reply = (
        esperanto().app.test_client().get("/accounts/profile/", headers={"Accept-Language": "eo"})
    )
    assert reply.get_json() == {"detail": "Please log in.", "code": "not-authenticated"}


def test_an_application_words_our_english_otherwise(new_site: NewSite, tmp_path: Path) -> None:
    write_catalog(
        tmp_path, "en", {"Incorrect username, e-mail address or password.": "Who are you?"}
    )
    reply = refused(new_site(TRANSLATION_DIRECTORIES=[str(tmp_path)]))
    assert reply.get_json() == {"detail": "Who are you?", "code": "login-invalid"}


@each_row("wrong", ["{wrong}", "{0}", "{max.wrong}", "{max[x]}", "{min:d}", "{max", "{max!x}"])
def test_a_translation_with_other_values_in_it_does_no_harm(
    new_site: NewSite, tmp_path: Path, wrong: str
) -> None:
    write_catalog(
        tmp_path,
        "eo",
        {
            "Longer than maximum length {max}.": wrong,
            "Welcome to {site_name}!": wrong.replace("max", "site_name"),
        },
    )
    site = new_site(LANGUAGES=["eo"], TRANSLATION_DIRECTORIES=[str(tmp_path)])
    reply = site.register("x" * 151)
    assert reply.get_json() == {"username": ["Longer than maximum length 150."]}
    site.register("alice")
    assert "Welcome to example.com!" in text_of(site.read())


# Messages of schemas


class Pet(Schema):
    """A schema of the application's own, with words of its own and marshmallow's."""

    name = fields.String(validate=validate.Length(max=3, error="At most {max} letters."))
    nick = fields.String(validate=validate.And(validate.Length(max=3)))
    kind = fields.String(validate=validate.OneOf(["cat", "Done"]))
    legs = fields.Integer(validate=validate.Equal(4))
    colour = fields.String(
        validate=validate.NoneOf(["{legs}", "{0}"], error="{input} is no colour.")
    )
    seats = fields.String(
        validate=validate.Length(max=3, error=Message("{of} seats at most.").format(of="{max}"))
    )
    silent = fields.Integer(error_messages={"invalid": ""})


PETS = {
    "At most {max} letters.": "Maksimume {max} literoj.",
    "Longer than maximum length {max}.": "Pli longa ol {max}.",
    "Must be one of: {choices}.": "Unu el: {choices}.",
    "Must be equal to {other}.": "Egala al {other}.",
    "{input} is no colour.": "{input} ne estas koloro.",
    "{of} seats at most.": "Maksimume {of} seĝoj.",
    "Done": "Farita",
}


@each_row(
    ("field", "value", "english", "said"),
    [
        ("name", "Felix", "At most 3 letters.", "Maksimume 3 literoj."),
        ("nick", "Felix", "Longer than maximum length 3.", "Pli longa ol 3."),
        ("kind", "dog", "Must be one of: cat, Done.", "Unu el: cat, Done."),
        ("legs", 3, "Must be equal to 4.", "Egala al 4."),
        ("colour", "{0}", "{0} is no colour.", "{0} ne estas koloro."),
        ("colour", "{legs}", "{legs} is no colour.", "{legs} ne estas koloro."),
        ("seats", "many", "{max} seats at most.", "Maksimume {max} seĝoj."),
        ("silent", "x", "", ""),
    ],
)
def test_a_message_of_an_applications_schema_is_translated_with_its_values(
    new_site: NewSite, tmp_path: Path, field: str, value: Any, english: str, said: str
) -> None:
    write_catalog(tmp_path, "eo", PETS)
    site = new_site(
        LANGUAGES=["en", "eo"], TRANSLATION_DIRECTORIES=[str(tmp_path)], REGISTER_SCHEMA_CLASS=Pet
    )
    for language, text in (("en", english), ("eo", said)):
        reply = site.post("register", {field: value}, headers={"Accept-Language": language})
        assert reply.get_json() == {field: [text]}


def test_a_field_of_an_application_may_format_its_message_by_position(
    new_site: NewSite, tmp_path: Path
) -> None:
    class Even(fields.Integer):
        default_error_messages = {"odd_number": "{} is odd."}

        def _deserialize(self, *args: Any, **kwargs: Any) -> int:
            number = super()._deserialize(*args, **kwargs)
            message = cast(str, self.error_messages["odd_number"])
            raise ValidationError(message.format(number))

    write_catalog(tmp_path, "eo", {"{} is odd.": "{} estas nepara."})
    site = new_site(
        LANGUAGES=["eo"],
        TRANSLATION_DIRECTORIES=[str(tmp_path)],
        REGISTER_SCHEMA_CLASS=Schema.from_dict({"age": Even()}),
    )
    headers = {"Accept": "application/problem+json"}
    (error,) = site.post("register", {"age": 3}, headers=headers).get_json()["errors"]
    assert (error["code"], error["detail"]) == ("odd-number", "3 estas nepara.")


def test_an_address_is_refused_in_general_words_where_the_exact_ones_have_no_translation(
    new_site: NewSite,
) -> None:
    site = new_site(LANGUAGES=["en", "de"])

    def refusal(address: str, language: str) -> Any:
        passwords = {"password": PASSWORD, "password_confirm": PASSWORD}
        body = {"username": "alice", "email": address, **passwords}
        reply = site.post("register", body, headers={"Accept-Language": language})
        return reply.get_json()["email"]

    exact = "The email address contains invalid characters before the @-sign: SPACE."
    assert refusal("a b@c.com", "en") == [exact]
    assert refusal("a b@c.com", "de") == ["Das ist keine gültige E-Mail-Adresse."]
    assert refusal("alice", "de") == ["In einer E-Mail-Adresse muss ein @ stehen."]


def test_the_advice_about_a_password_has_the_blanks_of_its_language(new_site: NewSite) -> None:
    def advice(language: str) -> str:
        passwords = {"password": "aaaaaaaaaa", "password_confirm": "aaaaaaaaaa"}
        body = {"username": "alice", "email": "alice@example.com", **passwords}
        reply = new_site(LANGUAGES=[language]).post("register", body)
        (text,) = reply.get_json()["password"]
        return str(text)

    assert advice("en") == (
        'Repeats like "aaa" are easy to guess. Add another word or two. '
        "Uncommon words are better. Avoid repeated words and characters."
    )
    assert advice("ja").count("。") == 4
    assert " " not in advice("ja")


# Who chooses


def test_an_empty_language_of_a_selector_is_none(esperanto: NewSite) -> None:
    site = esperanto(LOCALE_SELECTOR=lambda **kwargs: "")
    assert refused(site, "eo").headers["Content-Language"] == "eo"


def test_a_selector_knows_better_than_the_header(esperanto: NewSite) -> None:
    def by_query(*, request: Any, user: Any, **kwargs: Any) -> str | None:
        language: str | None = request.args.get("language")
        return language

    site = esperanto(LOCALE_SELECTOR=by_query)
    body = {"login": "nobody", "password": "wrong"}

    def language_of(path: str, header: str) -> str:
        reply = site.app.test_client().post(path, json=body, headers={"Accept-Language": header})
        return reply.headers["Content-Language"]

    assert language_of("/accounts/login/?language=eo", "en") == "eo"
    assert language_of("/accounts/login/", "eo") == "eo"
    assert language_of("/accounts/login/?language=klingon", "eo") == "en"


def test_a_selector_that_raises_does_not_cost_the_reply(
    esperanto: NewSite, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(**kwargs: Any) -> str:
        raise RuntimeError("the database is down")

    assert refused(esperanto(LOCALE_SELECTOR=broken), "eo").headers["Content-Language"] == "en"
    assert "The language could not be chosen." in caplog.text


def test_flask_babel_chooses_where_the_application_has_it(esperanto: NewSite) -> None:
    def use_babel(app: Flask) -> None:
        Babel(app, locale_selector=lambda: request.args.get("language"), default_locale="eo")

    site = esperanto(before=use_babel)
    body = {"login": "nobody", "password": "wrong"}
    english = site.app.test_client().post(
        "/accounts/login/?language=en_GB", json=body, headers={"Accept-Language": "eo"}
    )
    assert english.headers["Content-Language"] == "en"
    assert refused(site, "en").headers["Content-Language"] == "eo"


@each_row("account", ["of nobody", "of somebody", "suspended"])
def test_a_language_tells_nothing_about_an_account(esperanto: NewSite, account: str) -> None:
    """The account's own language is for its mails: a reply's must not tell that there is one."""

    def by_user(*, request: Any, user: Any, **kwargs: Any) -> str | None:
        return "eo" if user is not None else None

    site = esperanto(LOCALE_SELECTOR=by_user)
    if account != "of nobody":
        site.register("alice")
        site.change(site.user(username="alice"), is_active=account != "suspended")
    reply = site.post("login", {"login": "alice", "password": "wrong"})
    assert (reply.get_json()["detail"], reply.headers["Content-Language"]) == (
        "Incorrect username, e-mail address or password.",
        "en",
    )


@each_row("header", ["en", "de", "sv, ja;q=0.5"])
@each_row(
    ("endpoint", "mailed"),
    [
        ("register", ["nobody", "pending", "verified", "suspended"]),
        ("resend-verification", ["pending"]),
        ("send-reset-password-link", ["pending", "verified"]),
        ("login", []),
    ],
)
def test_no_answer_tells_by_its_language_who_has_an_account(
    new_site: NewSite, endpoint: str, mailed: list[str], header: str
) -> None:
    """No byte and no header does, though each account has a language of its own, which its mail is
    in."""
    owns = {"pending": "ar", "verified": "uk", "suspended": "pt-BR"}

    def own(*, request: Any, user: Any, **kwargs: Any) -> str | None:
        language: str | None = user.first_name if user is not None else None
        return language

    site = new_site(LOCALE_SELECTOR=own, MAIL_LIMITS=None)
    for name, language in owns.items():
        site.register(name, first_name=language)
        if name != "pending":
            site.verify()
    site.change(site.user(username="suspended"), is_active=False)
    sent = len(site.outbox)

    def ask(name: str) -> Callable[[], TestResponse]:
        body = {"login": name, "password": "another good long phrase of words"}
        if endpoint == "register":
            body |= {
                "username": f"new_{name}",
                "email": f"{name}@example.com",
                "password_confirm": body["password"],
            }
        return lambda: site.post(endpoint, body, headers={"Accept-Language": header})

    site.assert_uniform_answers(**{name: ask(name) for name in ("nobody", *owns)})
    mails = [html_of(site.read(number)) for number in range(sent, len(site.outbox))]
    asked = header.rpartition(" ")[2].partition(";")[0]
    assert [re.findall(r'<html lang="([\w-]+)"', mail) for mail in mails] == [
        [owns.get(name, asked)] for name in mailed
    ]


# Mails and pages


def test_a_mail_is_in_the_language_of_who_asks_for_it(esperanto: NewSite) -> None:
    site = esperanto()
    body = {
        "username": "alice",
        "email": "alice@example.com",
        "password": "correct horse battery staple",
    }
    site.post(
        "register",
        {**body, "password_confirm": body["password"]},
        headers={"Accept-Language": "eo"},
    )
    mail = site.read()
    assert mail["Subject"] == "Konfirmu vian adreson por example.com"
    assert "Bonvenon ĉe example.com!" in text_of(mail)
    assert "La ligilo validas 7 tagoj." in text_of(mail)
    assert '<html lang="eo">' in html_of(mail)
    assert "La ligilo validas 7 tagoj." in html_of(mail)


def test_a_mail_is_in_its_readers_own_language_where_the_application_knows_it(
    esperanto: NewSite, clock: Any
) -> None:
    def own(*, request: Any, user: Any, **kwargs: Any) -> str | None:
        return "eo" if user is not None and user.last_name == "Zamenhof" else None

    site = esperanto(LOCALE_SELECTOR=own)
    site.register("lazar", last_name="Zamenhof")
    assert site.read()["Subject"] == "Konfirmu vian adreson por example.com"
    site.verify()
    clock.advance(60)
    site.register("mallory", email="lazar@example.com")  # in English
    assert site.read()["Subject"] == "Vi jam havas konton ĉe example.com"


@each_row(
    ("told", "ours", "own"),
    [
        pytest.param("eo", "eo", "eo", id="a language of ours"),
        pytest.param("sv-SE", "en", "sv_SE", id="one that only the application has"),
        pytest.param("tlh", "en", "en_GB", id="one that nobody has"),
        pytest.param("?", "en", "en_GB", id="no language"),
        pytest.param(None, "en", "en_GB", id="nothing"),
    ],
)
def test_flask_babel_speaks_the_language_of_a_mail_in_the_applications_own_templates(
    esperanto: NewSite, tmp_path: Path, told: str | None, ours: str, own: str
) -> None:
    site = esperanto(
        before=british,
        template_folder=str(own_templates(tmp_path)),
        LOCALE_SELECTOR=lambda *, user, **kwargs: told if user is not None else None,
        REGISTER_VERIFICATION_EMAIL_TEMPLATES=OWN_TEMPLATES,
    )
    site.register("alice")
    assert site.read()["Subject"] == own
    assert text_of(site.read()).strip().endswith({"en": " 7 days", "eo": " 7 tagoj"}[ours])


def test_flask_babel_keeps_its_own_choice_in_mails(esperanto: NewSite, tmp_path: Path) -> None:
    site = esperanto(
        before=british,
        template_folder=str(own_templates(tmp_path)),
        REGISTER_VERIFICATION_EMAIL_TEMPLATES=OWN_TEMPLATES,
    )
    site.register("alice")
    assert site.read()["Subject"] == "en_GB"


OWN_TEMPLATES = {"subject": "subject.txt", "body": "body.txt"}


def own_templates(folder: Path) -> Path:
    """Templates of the application's own, which say what Flask-Babel speaks."""
    (folder / "subject.txt").write_text("{{ locale() }}")
    (folder / "body.txt").write_text("{{ verification_url }} {{ valid_for }}")
    return folder


def british(app: Flask) -> None:
    """An application with Flask-Babel."""
    Babel(app, locale_selector=lambda: "en_GB")
    app.jinja_env.globals["locale"] = get_locale


def test_an_applications_own_validator_speaks_by_flask_babel(esperanto: NewSite) -> None:
    class Signup(Schema):
        terms = fields.Boolean(
            required=True, validate=validate.Equal(True, error=cast(str, lazy_gettext("Agree.")))
        )

    site = esperanto(
        before=lambda app: Babel(app, default_locale="eo"), REGISTER_SCHEMA_CLASS=Signup
    )
    assert site.post("register", {"terms": False}).get_json() == {"terms": ["Agree."]}
    assert site.post("register", {}).get_json() == {"terms": ["Missing data for required field."]}


def test_a_translation_is_text_in_html_too(new_site: NewSite, tmp_path: Path) -> None:
    write_catalog(tmp_path, "eo", {"Welcome to {site_name}!": "Jes & ne, **{site_name}** <script>"})
    site = new_site(
        LANGUAGES=["eo"], TRANSLATION_DIRECTORIES=[str(tmp_path)], SITE_NAME="Tom & Jerry"
    )
    site.register("alice")
    assert "Jes &amp; ne, <strong>Tom &amp; Jerry</strong> &lt;script&gt;" in html_of(site.read())
    assert "Jes & ne, Tom & Jerry <script>" in text_of(site.read())


def test_the_pages_speak_the_browsers_language(esperanto: NewSite) -> None:
    site = esperanto(flows=[*DEFAULT_FLOWS, verification_redirects.flow])
    page = site.app.test_client().get(
        "/accounts/verify-registration/", headers={"Accept-Language": "eo"}
    )
    assert "<h1>Konfirmu vian adreson</h1>" in page.text
    assert '<html lang="eo">' in page.text
    assert page.headers["Content-Language"] == "eo"


@each_row(("language", "is_kept"), [("ko", True), ("ja", False), ("en", False)])
def test_lines_in_korean_break_between_words_only(
    new_site: NewSite, language: str, is_kept: bool
) -> None:
    site = new_site(LANGUAGES=[language])
    site.register("alice")
    assert ("word-break: keep-all" in html_of(site.read())) is is_kept


# Configuration


def test_a_language_without_a_catalog_is_a_configuration_error(new_site: NewSite) -> None:
    with pytest.raises(ConfigurationError) as caught:
        new_site(LANGUAGES=["en", "tlh"])
    (finding,) = caught.value.findings
    assert finding.subject == "REGISTRATION_LANGUAGES"
    assert finding.problem.startswith("names 'tlh', which has no catalog.")
    hint = "Remove it, or add a catalog. Available languages: en, ar, "
    assert finding.hint.startswith(hint)
    empty = "REGISTRATION_LANGUAGES is [], but must have at least one item"
    with pytest.raises(ConfigurationError, match=re.escape(empty)):
        new_site(LANGUAGES=[])


def test_a_region_has_the_catalog_of_its_language(new_site: NewSite) -> None:
    reply = refused(new_site(LANGUAGES=["de_AT"]))
    assert reply.headers["Content-Language"] == "de-AT"
    assert reply.get_json()["detail"] != "Incorrect username, e-mail address or password."


@each_row(
    ("offered", "catalog", "header"),
    [
        pytest.param("iw", "iw", "he-IL", id="a catalog of an old code"),
        pytest.param("no", "no", "nb", id="a catalog of an old code of Norwegian"),
        pytest.param("he", "iw", "iw", id="a new code with a catalog of the old one"),
        pytest.param("iw", "he", "he", id="an old code with a catalog of the new one"),
        pytest.param("nb_NO", "no", "no-NO", id="a region"),
        pytest.param("zh_CN", "zh_CN", "zh-Hans", id="a region that stands for a script"),
    ],
    anew=True,
)
def test_old_codes_of_languages_are_found(
    new_site: NewSite,
    tmp_path_factory: pytest.TempPathFactory,
    offered: str,
    catalog: str,
    header: str,
) -> None:
    folder = tmp_path_factory.mktemp("translations")
    message = "Incorrect username, e-mail address or password."
    write_catalog(folder, catalog, {message: "Translated"})
    site = new_site(LANGUAGES=["en", offered], TRANSLATION_DIRECTORIES=[str(folder)])
    for each in (header, offered.replace("_", "-")):
        reply = refused(site, each)
        assert reply.get_json()["detail"] == "Translated"
        assert reply.headers["Content-Language"] == offered.replace("_", "-")
