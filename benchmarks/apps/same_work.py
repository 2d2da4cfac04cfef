"""The floor, with the work of a registration that ours does and the floor leaves out."""

from __future__ import annotations

from benchmarks.workload import prepare_in_process

from . import floor
from .floor import create_app as create_app

floor.SAME_WORK = True


if __name__ == "__main__":
    prepare_in_process(floor.prepare)
