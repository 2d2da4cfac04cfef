"""The targets of ``python -m tests.fuzz`` take their own corpus, and find planted bugs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flask_registration import Purpose
from flask_registration.flows.reset_password import RESET

from .fuzz import bodies, links
from .tables import each_row


@each_row("target", [links, bodies], ids=lambda target: target.__name__.rpartition(".")[2])
def test_the_corpus_breaks_nothing(target: Any) -> None:
    seeds = target.seeds()
    for seed in seeds:
        target.run(seed)
    assert len(seeds) > 20


def test_a_run_that_finds_nothing_leaves_nothing_behind(tmp_path: Path) -> None:
    pytest.importorskip("atheris")
    command = [sys.executable, "-m", "tests.fuzz", "links", "-runs=50"]
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        command,
        cwd=root,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "stat::number_of_executed_units: 50" in done.stderr
    assert list(tmp_path.glob("fuzz-*")) == []


def test_a_link_that_opens_but_was_never_mailed_would_be_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flask_registration.auth.links.Signer.verify_signature", lambda *_: True)
    forged = {**links.MAILED[RESET], "signature": f"{'A' * 43}.{'A' * 43}"}
    with pytest.raises(AssertionError):
        links.run(b"\1" + json.dumps(forged).encode())


def test_a_forged_link_that_costs_a_query_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    signer_of = links.links._signer

    def careless(purpose: Purpose, part: str = "") -> Any:
        signer: Any = signer_of(purpose, part)
        if not part:  # the signature that needs no account
            signer.verify_signature = lambda *_: True
        return signer

    monkeypatch.setattr(links.links, "_signer", careless)
    forged = {**links.MAILED[RESET], "signature": f"{'A' * 43}.{'A' * 43}"}
    with pytest.raises(AssertionError, match="cost a query"):
        links.run(b"\1" + json.dumps(forged).encode())


def test_a_body_that_is_no_text_for_a_database_would_be_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flask_registration.http.bodies.is_safe", lambda value: True)
    kinds = [(number, *bodies.kind_of(number)) for number in range(256)]
    number = next(
        each
        for each, kind, schema in kinds
        if kind == bodies.TYPES[0] and "remember" in schema.fields
    )
    with pytest.raises(AssertionError):
        bodies.run(bytes([number]) + b'{"login": "\\u0000", "password": "x"}')
