"""The baseline, with the work of a registration that ours does and the baseline leaves out."""

from __future__ import annotations

from benchmarks.workload import prepare_in_process

from . import baseline
from .baseline import create_app as create_app

baseline.SAME_WORK = True


if __name__ == "__main__":
    prepare_in_process(baseline.prepare)
