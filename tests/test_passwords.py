"""What makes a password, how it is kept, and where it must not turn up."""

from __future__ import annotations

import base64
import hashlib
import logging
import sqlite3
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from marshmallow import ValidationError, fields
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from pwdlib.hashers.bcrypt import BcryptHasher
from sqlalchemy import event
from werkzeug.security import generate_password_hash
from zxcvbn_rs_py import zxcvbn

from flask_registration import BodySchema, actions, mail_failed, user_activated, user_registered
from flask_registration.auth import passwords
from flask_registration.auth.hashers import DjangoHasher, WerkzeugHasher, password_hash
from flask_registration.auth.passwords import Passwords, PasswordSettings

from .people import account, log_in
from .site import CHEAP_HASHER, PASSWORD, Site
from .tables import each_row

NewSite = Callable[..., Site]

#: No validator, so that a test of lengths need not think of strength.
ANYTHING: dict[str, Any] = {"PASSWORD_VALIDATORS": []}


def verify(site: Site, password: str, username: str = "alice") -> bool:
    """Whether somebody has this password, as a log-in would find out."""
    stored = site.user(username=username).password_hash
    return password_hash(CHEAP_HASHER).verify(unicodedata.normalize("NFC", password), stored)


# Length


@each_row("length", [8, 63, 64, 65, 72, 73, 128, 255, 256])
@each_row("character", ["x", "é", "李", "👪"])
def test_nothing_is_cut_off_a_password_of(length: int, character: str, new_site: NewSite) -> None:
    site = new_site(**ANYTHING)
    password = character * (length - 1) + "a"
    assert site.register(password=password).status_code == 201
    assert verify(site, password)
    assert not verify(site, password[:-1] + "b")
    assert not verify(site, password[:-1])


@each_row("length", [257, 300, 4096])
@each_row("character", ["x", "é", "\u0301"])
def test_a_password_is_refused_that_has_more_than_256_characters(
    length: int, character: str, site: Site
) -> None:
    reply = site.register(password=character * length)
    assert reply.status_code == 400
    assert reply.get_json()["password"] == ["Use at most 256 characters."]
    assert site.users() == []


@each_row(
    ("password", "accepted"),
    [
        pytest.param("k9#Vq2!", False, id="seven characters"),
        pytest.param("k9#Vq2!x", True, id="eight characters"),
        pytest.param("李明王芳张伟娜", False, id="seven characters of three bytes each"),
        pytest.param("👪🦊🚲🎻", False, id="four characters of four bytes each"),
        pytest.param("", False, id="nothing"),
    ],
)
def test_a_password_has_eight_characters_at_the_least(
    password: str, accepted: bool, new_site: NewSite
) -> None:
    site = new_site(PASSWORD_MIN_STRENGTH=0)
    reply = site.register(password=password)
    assert reply.status_code == (201 if accepted else 400)
    if not accepted:
        blank = ["This field may not be blank."]
        assert reply.get_json()["password"] == (
            ["Use at least 8 characters."] if password else blank
        )


@each_row(("minimum", "accepted"), [(0, True), (28, True), (29, False), (64, False)])
def test_the_least_length_is_a_setting(minimum: int, accepted: bool, new_site: NewSite) -> None:
    site = new_site(PASSWORD_MIN_LENGTH=minimum)
    assert len(PASSWORD) == 28
    reply = site.register(password=PASSWORD)
    assert reply.status_code == (201 if accepted else 400)
    if not accepted:
        assert reply.get_json()["password"] == [f"Use at least {minimum} characters."]


# Before anything else looks at it

#: All digits and symbols that zxcvbn reads as a letter, each with others for the same letter.
SIGNS = "4@({[<691!|$5+7"


def test_all_messages_about_a_password_are_under_its_name() -> None:
    rater = Passwords(PasswordSettings(), [])
    for password in ("", "password1", "a" * 257):
        with pytest.raises(ValidationError) as caught:
            rater.check(password, [])
        assert [*caught.value.messages_dict] == ["password"]


@each_row(
    ("password", "rated"),
    [
        pytest.param("é" * 65, 64, id="64 characters"),
        pytest.param("4({6130$7%2a" * 6, 64, id="each for another letter"),
        pytest.param(SIGNS, 14, id="all for the same letters"),
        pytest.param(SIGNS[::-1] * 3, 14, id="all, from the last"),
        pytest.param("(1{!7[|<$+5@4" * 5, 18, id="nearly all"),
    ],
)
def test_as_much_of_a_password_is_rated_as_takes_no_time(  # measured by benchmarks.hostile
    password: str, rated: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def rate(password: str, inputs: list[str]) -> Any:
        found.append(password)
        return zxcvbn(password, inputs)

    rater = Passwords(PasswordSettings(), [])
    monkeypatch.setattr("flask_registration.auth.passwords.zxcvbn", rate)
    rater.score(password, [])
    assert found == [password[:rated]]


@each_row("length", [257, 5_000])
@each_row("field", ["password", "password_confirm"])
def test_a_password_that_is_too_long_is_neither_normalised_nor_rated_nor_hashed(
    length: int, field: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("called for an overlong password")

    monkeypatch.setattr("flask_registration.auth.passwords.zxcvbn", never)
    monkeypatch.setattr(type(CHEAP_HASHER), "hash", never)
    monkeypatch.setattr("unicodedata.normalize", refusing_long_text)
    reply = site.register(
        **{"password": PASSWORD, "password_confirm": PASSWORD, field: "e\u0301" * length}
    )
    assert reply.status_code == 400
    assert field in reply.get_json()


class PlainRegistration(BodySchema):
    """An application's own, which bounds nothing."""

    username = fields.String()
    email = fields.String()
    password = fields.String()


class PlainLogin(BodySchema):
    login = fields.String()
    password = fields.String()


def test_nor_is_it_where_the_applications_own_schema_bounds_nothing(
    new_site: NewSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = new_site(REGISTER_SCHEMA_CLASS=PlainRegistration, LOGIN_SCHEMA_CLASS=PlainLogin)
    assert site.register().status_code == 201
    assert site.verify().status_code == 200
    monkeypatch.setattr("unicodedata.normalize", refusing_long_text)
    overlong = "e\u0301" * 257
    reply = site.register("bob", password=overlong)
    assert (reply.status_code, reply.get_json()) == (
        400,
        {"password": ["Use at most 256 characters."]},
    )
    reply = site.post("login", {"login": "alice", "password": overlong})
    assert (reply.status_code, reply.get_json()["code"]) == (400, "login-invalid")


def refusing_long_text(form: Any, text: str, normalize: Any = unicodedata.normalize) -> str:
    assert len(text) <= 256, "normalised overlong text"
    return str(normalize(form, text))


def test_the_functions_that_are_watched_there_are_those_that_are_used(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = set()

    def watch(owner: Any, name: str) -> None:
        function = getattr(owner, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            called.add(name)
            return function(*args, **kwargs)

        monkeypatch.setattr(owner, name, watched)

    watch(passwords, "zxcvbn")
    watch(Argon2Hasher, "hash")
    watch(unicodedata, "normalize")
    assert site.register().status_code == 201
    assert called == {"zxcvbn", "hash", "normalize"}


@each_row("field", ["username", "email", "first_name", "last_name"])
def test_no_other_field_is_normalised_or_rated_when_it_is_too_long(
    field: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unicodedata.normalize", refusing_long_text)
    assert site.register(**{field: "e\u0301" * 1_500}).status_code == 400


@each_row("endpoint", ["register", "verify-registration", "resend-verification"])
@each_row("megabytes", [1, 20])
def test_a_body_of_megabytes_is_too_large(endpoint: str, megabytes: int, site: Site) -> None:
    body = b'{"password": "' + b"x" * (megabytes * 2**20) + b'"}'
    reply = site.post(endpoint, data=body, content_type="application/json")
    assert reply.status_code == 413
    assert reply.get_json().keys() == {"detail", "code"}


# Characters


def test_a_character_of_one_or_two_code_points_is_the_same(new_site: NewSite) -> None:
    site = new_site(**ANYTHING)
    composed, decomposed = "caf\u00e9 caf\u00e9", "cafe\u0301 cafe\u0301"
    site.register("alice", password=composed)
    site.register("bob", password=decomposed)
    for username in ("alice", "bob"):
        assert verify(site, composed, username)
        assert verify(site, decomposed, username)
        assert not verify(site, "cafe cafe", username)


@each_row(
    ("password", "other"),
    [
        pytest.param("  a password  ", "a password", id="leading and trailing spaces count"),
        pytest.param("a password\n", "a password", id="a line feed counts"),
        pytest.param("A Password", "a password", id="case counts"),
        pytest.param("ﬁne password", "fine password", id="a ligature is not two letters"),
        pytest.param("pass  word", "pass word", id="two spaces are not one"),
        pytest.param("pass\u202eword", "password", id="what is not seen counts"),
    ],
)
def test_no_character_is_dropped_or_folded(password: str, other: str, new_site: NewSite) -> None:
    site = new_site(**ANYTHING)
    assert site.register(password=password).status_code == 201
    assert verify(site, password)
    assert not verify(site, other)


@each_row("field", ["password", "password_confirm"])
@each_row(
    "part",
    [
        pytest.param("\0", id="a NUL"),
        pytest.param("\ud800", id="the first half of a surrogate pair"),
        pytest.param("\udfff\ud800", id="surrogates the wrong way round"),
    ],
)
def test_a_password_is_refused_with(part: str, field: str, site: Site) -> None:
    password = f"{PASSWORD}{part}{PASSWORD}"
    body: dict[str, Any] = {"password": password, "password_confirm": password}
    if field == "password_confirm":
        body["password"] = PASSWORD
    reply = site.register(**body)
    assert reply.status_code == 400
    assert field in reply.get_json()
    assert site.users() == []


@each_row(
    "value",
    [None, 12345678901234567890, True, 1.5, [PASSWORD], {"a": PASSWORD}],
    ids=lambda value: type(value).__name__,
)
def test_a_password_is_text_and_not(value: Any, site: Site) -> None:
    reply = site.register(password=value)
    assert reply.status_code == 400
    assert "password" in reply.get_json()
    assert site.users() == []


def test_the_two_passwords_must_be_the_same(new_site: NewSite) -> None:
    site = new_site()
    reply = site.register(password_confirm=PASSWORD + "x")
    assert (reply.status_code, reply.get_json()) == (
        400,
        {"password_confirm": ["The two passwords do not match."]},
    )
    body = {"username": "alice", "email": "alice@example.com", "password": PASSWORD}
    assert site.post("register", body).get_json() == {
        "password_confirm": ["This field is required."]
    }
    assert (
        new_site(REGISTER_SCHEMA_PASSWORD_CONFIRM=False).post("register", body).status_code == 201
    )


# Policy


@each_row(
    "password",
    [
        pytest.param("zxqvbnwkjhgf", id="only small letters"),
        pytest.param("83105729461973", id="only digits"),
        pytest.param("!#%&/()=?`^*", id="only signs"),
        pytest.param("dès l’aube à Noël", id="words of another language"),
        pytest.param("李明在北京喝茶看书写字", id="another script"),
        pytest.param("👪🦊🚲🎻🍋🧊🪁🥨🦉🌋🛶", id="pictures"),
        pytest.param("horse battery staple correct", id="words with spaces"),
    ],
)
def test_no_kind_of_character_is_asked_for(password: str, site: Site) -> None:
    assert site.register(password=password).status_code == 201


@each_row(
    ("password", "says"),
    [
        pytest.param("password", "common", id="the commonest password"),
        pytest.param("12345678", "common", id="digits in a row"),
        pytest.param("aaaaaaaaaaaaa", "Repeat", id="one letter again and again"),
        pytest.param("abcabcabcabc", "Repeat", id="three letters again and again"),
        pytest.param("qwertyuiop", "common", id="a row of keys"),
        pytest.param("P@ssw0rd1", "", id="a common password in disguise"),
    ],
)
def test_a_password_that_is_easy_to_guess_is_refused_with_advice(
    password: str, says: str, site: Site
) -> None:
    reply = site.register(password=password)
    assert reply.status_code == 400
    assert list(reply.get_json()) == ["password"]
    (message,) = reply.get_json()["password"]
    assert says.lower() in message.lower()
    assert message.endswith(".")
    assert len(message) > 20


#: Common passwords that zxcvbn takes for random ones, and others in other capitals.
COMMON = ["fqrg7cs493", "YUANTUO2012", "pe#5gz29ptzmse", "ohmnamah23", "Password1", "QWERTYuiop"]


@each_row("strength", [0, 3, 4])
def test_a_common_password_is_refused_at_every_strength(new_site: NewSite, strength: int) -> None:
    site = new_site(PASSWORD_MIN_STRENGTH=strength)
    for password in COMMON:
        reply = site.register(password=password)
        assert (reply.status_code, list(reply.get_json())) == (400, ["password"]), password
        assert len(reply.get_json()["password"]) == 1


@each_row("act", ["change-password", "reset-password", "set_password", "create_user"])
def test_a_common_password_is_refused_by(site: Site, act: str) -> None:
    user = account(site)
    new = {"password": COMMON[0], "password_confirm": COMMON[0]}
    if act == "change-password":
        body = {**new, "old_password": PASSWORD}
        reply = site.post(act, body, client=log_in(site))
    elif act == "reset-password":
        site.post("send-reset-password-link", {"login": "alice"})
        reply = site.post(act, {**site.link(), **new})
    else:
        with site.app.app_context():
            user = site.db.session.get(site.User, user.id)
            acts: dict[str, Callable[[], Any]] = {
                "set_password": lambda: actions.set_password(user, COMMON[0]),
                "create_user": lambda: actions.create_user(username="bob", password=COMMON[0]),
            }
            with pytest.raises(ValidationError) as caught:
                acts[act]()
        assert caught.value.messages == {"password": ["This is a very common password."]}
        return
    told = (reply.status_code, reply.get_json())
    assert told == (400, {"password": ["This is a very common password."]})


def test_a_common_password_is_told_in_the_language_of_the_client(site: Site) -> None:
    body = {"username": "alice", "email": "a@example.com", "password": COMMON[0]}
    body["password_confirm"] = COMMON[0]
    reply = site.post("register", body, headers={"Accept-Language": "de"})
    assert reply.get_json()["password"] == ["Das ist ein sehr häufiges Passwort."]


@each_row(
    ("password", "warning"),
    [
        pytest.param("P@ssw0rd1", None, id="a warning"),
        pytest.param("zxqvb nw", "This password is too easy to guess.", id="none"),
    ],
)
def test_the_advice_is_all_that_zxcvbn_has_to_say_with(
    password: str, warning: str | None, site: Site
) -> None:
    feedback = zxcvbn(password).feedback
    assert feedback is not None
    assert bool(feedback.warning) is not bool(warning)
    advice = [warning or str(feedback.warning), *map(str, feedback.suggestions)]
    assert len(advice) > 1
    assert site.register(password=password).get_json() == {"password": [" ".join(advice)]}


def test_where_zxcvbn_has_nothing_to_say_we_do(new_site: NewSite) -> None:
    reply = new_site(PASSWORD_MIN_STRENGTH=4).register(password="zxqvbnwkjh")
    assert reply.get_json() == {"password": ["This password is too easy to guess."]}


@each_row(
    ("password", "settings"),
    [
        pytest.param("zaphodbeeblebrox1", {}, id="username"),
        pytest.param("tricillian.mc-42", {}, id="e-mail address's name"),
        pytest.param("tricillian.mc-4@heartofgold-infinite.example", {}, id="e-mail address"),
        pytest.param("trillianastra7", {}, id="first name"),
        pytest.param("slartibartfastus9", {}, id="last name"),
        pytest.param("Magratheaplanets1", {"SITE_NAME": "Magratheaplanets"}, id="site's name"),
        pytest.param(
            "milliwayscafeteria1",
            {"REGISTER_VERIFICATION_URL": "https://milliwayscafeteria.example/verify/"},
            id="site's host",
        ),
    ],
)
def test_a_password_is_refused_that_is_made_of_the(
    password: str, settings: dict[str, Any], new_site: NewSite
) -> None:
    person = {
        "username": "zaphodbeeblebrox",
        "email": "tricillian.mc-4@heartofgold-infinite.example",
        "first_name": "trillianastra",
        "last_name": "slartibartfastus",
    }
    site = new_site(**settings)
    reply = site.register(**person, password=password)
    assert reply.status_code == 400
    assert list(reply.get_json()) == ["password"]
    others = {"first_name": "", "last_name": ""}
    assert new_site().register("somebody", **others, password=password).status_code == 201


@each_row(
    ("strength", "password", "accepted"),
    [
        (0, "aaaaaaaaab", True),
        (1, "password", False),
        (3, "zxqvbnwkjh", True),
        (4, "zxqvbnwkjh", False),
        (4, PASSWORD, True),
    ],
)
def test_the_least_strength_is_a_setting(
    strength: int, password: str, accepted: bool, new_site: NewSite
) -> None:
    site = new_site(PASSWORD_MIN_STRENGTH=strength)
    assert site.register(password=password).status_code == (201 if accepted else 400)


def test_every_complaint_is_told_at_once(site: Site) -> None:
    reply = site.register("al ice", email="alice", password="abc")
    assert reply.get_json().keys() == {"username", "email", "password"}
    assert len(reply.get_json()["password"]) == 2


def no_colours(password: str, *, user_inputs: list[str], **_: Any) -> None:
    if "red" in password:
        raise ValidationError("No colours, please.")
    if user_inputs[0] in password:
        raise ValidationError(["Not your name.", "Really not."])


def test_an_application_has_validators_of_its_own_instead(new_site: NewSite) -> None:
    site = new_site(PASSWORD_VALIDATORS=[no_colours])
    assert site.register("bob", password="red bob").get_json() == {
        "password": ["No colours, please."]
    }
    assert site.register("bob", password="bob").get_json() == {
        "password": ["Not your name.", "Really not."]
    }
    assert site.register("bob", password="x").status_code == 201


def test_or_beside_ours_each_with_its_complaint(new_site: NewSite) -> None:
    names = [
        f"flask_registration.auth.passwords.{name}" for name in ("long_enough", "strong_enough")
    ]
    site = new_site(PASSWORD_VALIDATORS=[*names, "tests.test_passwords.no_colours"])
    messages = site.register("bob", password="red").get_json()["password"]
    assert messages[0] == "Use at least 8 characters."
    assert messages[-1] == "No colours, please."
    assert len(messages) == 3


def test_validators_see_the_password_in_its_normal_form(new_site: NewSite) -> None:
    seen = []

    def look(password: str, **_: Any) -> None:
        seen.append(password)

    new_site(PASSWORD_VALIDATORS=[look]).register(password="e\u0301" * 100)
    assert seen == ["\u00e9" * 100]


# How it is kept


def test_the_default_is_argon2id_with_owasps_parameters(new_site: NewSite) -> None:
    site = new_site(PASSWORD_HASHER=None)
    site.register()
    stored = site.user(username="alice").password_hash
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert password_hash(None).verify_and_update(PASSWORD, stored) == (True, None)


class OwnHasher(Argon2Hasher):
    """A class with parameters of its own."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=24, parallelism=1)


OWN = Argon2Hasher(time_cost=1, memory_cost=16, parallelism=1)


@each_row(
    ("hasher", "start"),
    [
        pytest.param(OWN, "$argon2id$v=19$m=16,t=1,p=1$", id="an object"),
        pytest.param(OwnHasher, "$argon2id$v=19$m=24,t=1,p=1$", id="a class"),
        pytest.param(
            "tests.test_passwords.OWN",
            "$argon2id$v=19$m=16,t=1,p=1$",
            id="an object's import string",
        ),
        pytest.param(
            "tests.test_passwords:OwnHasher",
            "$argon2id$v=19$m=24,t=1,p=1$",
            id="a class's import string",
        ),
        pytest.param(BcryptHasher(rounds=4), "$2b$04$", id="another make"),
        pytest.param(
            PasswordHash([OWN]), "$argon2id$v=19$m=16,t=1,p=1$", id="a whole PasswordHash"
        ),
        pytest.param(
            PasswordHash((BcryptHasher(rounds=4), OWN)), "$2b$04$", id="a PasswordHash of several"
        ),
    ],
)
def test_an_applications_hasher_may_be(hasher: Any, start: str, new_site: NewSite) -> None:
    site = new_site(PASSWORD_HASHER=hasher)
    assert site.register().status_code == 201
    assert site.user(username="alice").password_hash.startswith(start)


@each_row(
    "password", ["x" * 73, "é" * 37, "x" * 256], ids=["73 bytes", "74 bytes", "256 characters"]
)
def test_with_bcrypt_a_password_that_it_cannot_tell_from_another_is_no_500(
    password: str, new_site: NewSite
) -> None:
    site = new_site(PASSWORD_HASHER=BcryptHasher(rounds=4), **ANYTHING)
    assert site.register(password=password).status_code in (201, 400)
    site.register("bob")
    for login in ("bob", "unknown"):
        reply = site.post("login", {"login": login, "password": password})
        assert (reply.status_code, reply.get_json()["code"]) == (400, "login-invalid")


class ShortHasher(Argon2Hasher):
    """Takes passwords of some length only, as bcrypt does."""

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        if len(password) > 72:
            raise ValueError("too long")
        return super().hash(password, salt=salt)


def test_a_password_that_is_longer_than_the_hasher_takes_is_told_so(new_site: NewSite) -> None:
    site = new_site(
        PASSWORD_HASHER=ShortHasher(time_cost=1, memory_cost=8, parallelism=1), **ANYTHING
    )
    reply = site.register(password="x" * 73)
    assert (reply.status_code, reply.get_json()) == (
        400,
        {"password": ["This password is too long."]},
    )
    assert site.register(password="x" * 72).status_code == 201


def test_each_password_has_a_salt_of_its_own(site: Site) -> None:
    site.register("alice")
    site.register("bob")
    assert site.user(username="alice").password_hash != site.user(username="bob").password_hash


def django_hash(password: str, algorithm: str = "sha256", rounds: int = 1000) -> str:
    """As ``django.contrib.auth.hashers.PBKDF2PasswordHasher`` makes them."""
    digest = hashlib.pbkdf2_hmac(algorithm, password.encode(), b"saltsaltsalt", rounds)
    return f"pbkdf2_{algorithm}${rounds}$saltsaltsalt${base64.b64encode(digest).decode()}"


FOREIGN = [
    pytest.param(lambda p: generate_password_hash(p, "scrypt:1024:8:1"), id="werkzeug's scrypt"),
    pytest.param(lambda p: generate_password_hash(p, "pbkdf2:sha256:1000"), id="werkzeug's pbkdf2"),
    pytest.param(
        lambda p: generate_password_hash(p, "pbkdf2:sha1:1000"), id="werkzeug's older pbkdf2"
    ),
    pytest.param(django_hash, id="Django's pbkdf2"),
    pytest.param(lambda p: django_hash(p, "sha1"), id="Django's older pbkdf2"),
    pytest.param(lambda p: django_hash(p, rounds=1), id="Django's pbkdf2 of a single round"),
    pytest.param(BcryptHasher(rounds=4).hash, id="bcrypt"),
    pytest.param(BcryptHasher(rounds=4, prefix="2a").hash, id="bcrypt 2a"),
    pytest.param(CHEAP_HASHER.hash, id="argon2id with weaker parameters"),
]


@each_row("make", FOREIGN)
@each_row("password", [PASSWORD, "pässwörd 李明 👪"], ids=["ASCII", "Unicode"])
def test_a_hash_is_recognised_and_upgraded_that_is(
    make: Callable[[str], str], password: str
) -> None:
    ours = password_hash(None)
    ok, updated = ours.verify_and_update(password, make(password))
    assert ok
    assert updated is not None
    assert updated.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert ours.verify_and_update(password, updated) == (True, None)
    assert ours.verify_and_update(password + "x", make(password)) == (False, None)
    assert ours.verify_and_update(password[:-1], make(password)) == (False, None)
    assert ours.verify(password.encode(), make(password).encode())


def test_bcrypts_hashes_of_long_passwords_stay_good() -> None:
    """It never looked at more than 72 bytes; a password that was good before must be so
    afterwards."""
    stored = BcryptHasher(rounds=4).hash("x" * 72)
    assert password_hash(None).verify("x" * 100, stored)
    assert password_hash(None).verify("é" * 60, BcryptHasher(rounds=4).hash("é" * 36))
    assert not password_hash(None).verify("x" * 71, stored)


def test_raised_parameters_upgrade_too() -> None:
    stored = password_hash(None).hash(PASSWORD)
    ok, updated = password_hash(
        Argon2Hasher(time_cost=3, memory_cost=19456, parallelism=1)
    ).verify_and_update(PASSWORD, stored)
    assert ok
    assert updated is not None
    assert "$m=19456,t=3,p=1$" in updated


@each_row(
    "stored",
    [
        pytest.param("pbkdf2_sha256$x$salt$digest", id="rounds that are no number"),
        pytest.param("pbkdf2_sha256$0$salt$digest", id="no rounds"),
        pytest.param("pbkdf2_sha256$１$salt$digest", id="rounds in other digits"),
        pytest.param("pbkdf2_sha256$2147483648$salt$digest", id="more rounds than can be counted"),
        pytest.param("pbkdf2_sha256$1000$salt$dïgest", id="a digest that is not ASCII"),
        pytest.param("scrypt:0:0:0$salt$digest", id="scrypt without costs"),
        pytest.param("scrypt:x$salt$digest", id="scrypt with a word for a cost"),
        pytest.param("pbkdf2:md4711:1$salt$digest", id="an algorithm that there is not"),
        pytest.param("pbkdf2:sha256:0$salt$digest", id="werkzeug's without rounds"),
        pytest.param("scrypt:", id="nothing but the name"),
    ],
)
def test_a_damaged_hash_is_no_ones_password(stored: str) -> None:
    assert password_hash(None).verify_and_update(PASSWORD, stored) == (False, None)


def test_hashers_of_other_makes_make_none() -> None:
    for hasher in (WerkzeugHasher(), DjangoHasher()):
        with pytest.raises(TypeError, match=f"^{type(hasher).__name__} only verifies"):
            hasher.hash(PASSWORD)
        assert hasher.check_needs_rehash("any")


# Where it must not turn up


def test_no_password_or_hash_turns_up_in_a_reply_a_log_a_repr_a_signal_or_a_mail(
    new_site: NewSite, caplog: pytest.LogCaptureFixture
) -> None:
    canary = "Zyzzyva-0416 canary"
    caplog.set_level(logging.DEBUG)
    site = new_site(PREVENT_ENUMERATION=False)
    told: list[str] = []

    def receive(sender: Any, **arguments: Any) -> None:
        told.append(repr(sender))
        told.extend(f"{name}={value!r}" for name, value in arguments.items())
        told.append(repr(arguments["request"].headers) if arguments["request"] else "")

    def fail(sender: Any, **_: Any) -> None:
        raise RuntimeError("a receiver raises, and its traceback is logged")

    def unable(*_: Any, **__: Any) -> None:
        raise OSError("the mail server is down")

    replies = []
    with (
        user_registered.connected_to(receive, site.app),
        user_registered.connected_to(fail, site.app),
        user_activated.connected_to(receive, site.app),
        mail_failed.connected_to(receive, site.app),
    ):
        replies.append(site.register("alice", password=canary, password_confirm=canary))
        replies.append(site.verify())
        replies.append(site.verify(signature=canary))
        replies.append(site.register("alice", password=canary))  # taken
        replies.append(site.register("bob", email="alice@example.com", password=canary))
        replies.append(site.register("carol", password=canary, password_confirm=canary + "x"))
        replies.append(site.register("carol", password=canary[:7]))
        replies.append(site.register("carol", password=canary * 20))
        replies.append(site.register("carol", password=[canary]))
        replies.append(site.register("carol", password=canary + "\0"))
        replies.append(site.register(canary, email=f"{canary}@example.com", password="abc"))
        replies.append(
            site.post("register", data=f'{{"password": "{canary}"', content_type="application/json")
        )
        site.app.extensions["mail"].suppress = False
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("flask_registration.mail.dispatch.TimedConnection.configure_host", unable)
            replies.append(site.register("dave", password=canary))
        site.app.extensions["mail"].suppress = True
    stored = site.user(username="alice").password_hash
    assert len(told) > 10
    assert any(record.exc_info for record in caplog.records)
    state = site.app.extensions["registration"]
    places = {
        "replies": [reply.get_data(as_text=True) + str(reply.headers) for reply in replies],
        "log": [record.getMessage() for record in caplog.records],
        "formatted log": [caplog.text],
        "signals": told,
        "mails": [site.read(i).as_string() + str(vars(mail)) for i, mail in enumerate(site.outbox)],
        "reprs": [repr(site.user(username="alice")), repr(state), repr(state.passwords)],
    }
    for secret in (canary, canary[:7], stored, stored.rpartition("$")[2]):
        for place, texts in places.items():
            assert not [text for text in texts if secret in text], f"in the {place}"


@each_row(
    ("failure", "status"),
    [
        pytest.param(sqlite3.OperationalError("disk I/O error"), 503, id="is out of reach"),
        pytest.param(
            sqlite3.ProgrammingError("it has no such column"), 503, id="is not as the model has it"
        ),
    ],
    anew=True,
)
def test_no_hash_is_logged_when_the_database(
    failure: Exception, status: int, new_site: NewSite, caplog: pytest.LogCaptureFixture
) -> None:
    site = new_site(config={"PROPAGATE_EXCEPTIONS": False})
    hashes: list[str] = []

    def fail(cursor: Any, statement: str, parameters: Any, context: Any) -> None:
        if statement.startswith("INSERT"):
            hashes.extend(value for value in parameters if str(value).startswith("$argon2"))
            raise failure

    with site.app.app_context():
        event.listen(site.db.engine, "do_execute", fail)
    reply = site.register("alice")
    assert reply.status_code == status
    assert reply.get_json().keys() == {"detail", "code"}
    assert len(hashes) == 1
    assert str(failure) in caplog.text
    assert "INSERT INTO users" in caplog.text
    for secret in (*hashes, "alice@example.com"):
        assert secret not in caplog.text + reply.get_data(as_text=True)


def test_no_link_turns_up_but_in_its_mail(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[str] = []

    def receive(sender: Any, **arguments: Any) -> None:
        told.append(repr(arguments))

    with (
        user_registered.connected_to(receive, site.app),
        user_activated.connected_to(receive, site.app),
    ):
        first = site.register("alice")
        link = site.link()
        second = site.verify()
    assert len(told) == 2
    assert link["signature"] in site.read().as_string().replace("=\n", "").replace("=3D", "=")
    for text in (*told, caplog.text, first.get_data(as_text=True), second.get_data(as_text=True)):
        assert link["signature"] not in text
