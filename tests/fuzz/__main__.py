"""Fuzz one target: ``python -m tests.fuzz links -max_total_time=60``; further options are libFuzzer's.

Input that breaks something is kept beside the corpus, in a directory whose name is printed first.
"""

from __future__ import annotations

import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

TARGETS = ("links", "bodies")


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        print(f"usage: python -m tests.fuzz {{{','.join(TARGETS)}}} [-max_total_time=SECONDS] …", file=sys.stderr)
        return 2
    try:
        atheris: Any = import_module("atheris")
    except ImportError:
        print("atheris is not installed: there is no wheel of it for this Python here.", file=sys.stderr)
        return 77  # as automake's tests say that they were skipped
    with atheris.instrument_imports(include=["flask_registration", "itsdangerous", "tests.fuzz"]):
        target: Any = import_module(f"tests.fuzz.{sys.argv[1]}")
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{sys.argv[1]}-"))
    (folder / "corpus").mkdir()
    for number, seed in enumerate(target.seeds()):
        (folder / "corpus" / f"seed-{number}").write_bytes(seed)
    print(f"Corpus and findings are in {folder}.", flush=True)
    options = [f"-artifact_prefix={folder}/", "-print_final_stats=1", "-verbosity=0", *sys.argv[2:]]
    atheris.Setup([sys.argv[0], str(folder / "corpus"), *options], target.run)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
