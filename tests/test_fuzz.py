"""The targets of ``python -m tests.fuzz`` take their own corpus, and would notice what they are there to notice."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flask_registration.resets import RESET

from .fuzz import bodies, links


@pytest.mark.parametrize("target", [links, bodies], ids=lambda target: target.__name__.rpartition(".")[2])
def test_the_corpus_breaks_nothing(target: Any) -> None:
    seeds = target.seeds()
    for seed in seeds:
        target.run(seed)
    assert len(seeds) > 20


def test_a_link_that_opens_but_was_never_mailed_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_registration.links.Signer.verify_signature", lambda *_: True)
    forged = {**links.MAILED[RESET], "signature": "A" * 43}
    with pytest.raises(AssertionError):
        links.run(b"\1" + json.dumps(forged).encode())


def test_a_body_that_is_no_text_for_a_database_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_registration.web._safe", lambda value: True)
    kinds = [(number, *bodies.kind_of(number)) for number in range(256)]
    number = next(each for each, kind, schema in kinds if kind == bodies.TYPES[0] and "remember" in schema.fields)
    with pytest.raises(AssertionError):
        bodies.run(bytes([number]) + b'{"login": "\\u0000", "password": "x"}')
