"""Fuzz one target: ``python -m tests.fuzz links -max_total_time=60``.

Further options are libFuzzer's.

Input that breaks something is kept in a directory whose name is printed last.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

TARGETS = ("links", "bodies")


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        print(
            f"usage: python -m tests.fuzz {{{','.join(TARGETS)}}} [-max_total_time=SECONDS] …",
            file=sys.stderr,
        )
        return 2
    if not find_spec("atheris"):
        print(
            "atheris is not installed: there is no wheel of it for this Python here.",
            file=sys.stderr,
        )
        return 77  # as automake's tests say that they were skipped
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{sys.argv[1]}-"))
    process = os.fork()
    if not process:
        fuzz(sys.argv[1], folder, sys.argv[2:])
    try:
        _, status = os.waitpid(process, 0)
    finally:
        shutil.rmtree(folder / "corpus", ignore_errors=True)
        if any(folder.iterdir()):
            print(f"What was found is in {folder}.", flush=True)
        else:
            folder.rmdir()
    return abs(os.waitstatus_to_exitcode(status))


def fuzz(name: str, folder: Path, options: list[str]) -> None:
    """Ends the process: libFuzzer does so when it is done, and at once where something breaks."""
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=["flask_registration", "itsdangerous", "tests.fuzz"]):
        target: Any = import_module(f"tests.fuzz.{name}")
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    standing = [
        f"-artifact_prefix={folder}/",
        "-print_final_stats=1",
        "-verbosity=0",
        "-error_exitcode=1",
    ]
    atheris.Setup([sys.argv[0], str(corpus), *standing, *options], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
