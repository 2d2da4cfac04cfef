"""The forms in which names and addresses are compared: the form of a form is that form, whatever
was typed."""

from __future__ import annotations

import os
import random
import sys
import unicodedata

from hypothesis import given, seed
from hypothesis import strategies as st

from flask_registration.users.identifiers import (
    EMAIL_MAX_LENGTH,
    email_key,
    recipient_address,
    username_key,
)
from flask_registration.users.mixins import USERNAME_KEY_MAX_LENGTH, USERNAME_MAX_LENGTH

SEED = int(os.environ.get("TEST_SEED") or random.randrange(2**32))
print(f"TEST_SEED={SEED}")

typed_names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
labels = st.text(st.characters(categories=["Ll", "Lu", "Lo", "Nd", "Mn"]), min_size=1, max_size=10)
domains = st.builds("{}.{}".format, labels, st.sampled_from(["com", "org", "Ελ", "рф"])) | st.just(
    "Straße.de"
)
typed_addresses = st.emails() | st.builds(
    "{}@{}".format, st.from_regex(r"[A-Za-z0-9.+_'-]{1,12}", fullmatch=True), domains
)


def key_or_none(address: str) -> str | None:
    """The form of an address; None for what is none."""
    try:
        return email_key(address, test_environment=False)
    except ValueError:
        return None


@seed(SEED)
@given(typed_names)
def test_the_key_of_a_username_is_its_own_key(name: str) -> None:
    key = username_key(name)
    assert username_key(key) == key
    assert unicodedata.is_normalized("NFKC", key)
    assert key.casefold() == key


@seed(SEED)
@given(typed_names, st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_a_username_has_one_key_however_it_is_composed_and_in_whichever_case(
    name: str, form: str
) -> None:
    key = username_key(name)
    assert username_key(unicodedata.normalize(form, name)) == key  # type: ignore[arg-type]
    assert username_key(name.casefold()) == key


def test_the_key_of_every_character_is_its_own_key_and_fits_in_its_column() -> None:
    characters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    awkward = [
        one
        for one in characters
        if not (one == one.casefold() and unicodedata.is_normalized("NFKC", one))
    ]
    assert len(awkward) > 5000
    keys = {one: username_key(one) for one in awkward}
    assert [one for one, key in keys.items() if username_key(key) != key] == []
    longer = USERNAME_KEY_MAX_LENGTH // USERNAME_MAX_LENGTH
    grown = {one: len(key) / len(unicodedata.normalize("NFKC", one)) for one, key in keys.items()}
    assert max(grown.values()) <= longer


@seed(SEED)
@given(typed_addresses)
def test_the_form_of_an_address_is_its_own_form_in_any_case_and_one_that_mail_takes(
    address: str,
) -> None:
    key = key_or_none(address)
    if key is not None:
        assert email_key(key, test_environment=False) == key == key.lower()
        assert len(key) <= EMAIL_MAX_LENGTH
        local, _, domain = address.rpartition("@")
        assert email_key(f"{local.swapcase()}@{domain}", test_environment=False) == key
        assert recipient_address(key).isascii()
        assert recipient_address(key).count("@") == 1


@seed(SEED)
@given(st.text(max_size=40), st.text(max_size=40))
def test_no_text_around_it_makes_an_address_of_another(before: str, behind: str) -> None:
    if before or behind:
        assert key_or_none(f"{before}mike@x.org{behind}") != "mike@x.org"
