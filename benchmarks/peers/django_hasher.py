"""Django's Argon2 with this run's parameters."""

from __future__ import annotations

from django.contrib.auth.hashers import Argon2PasswordHasher

from benchmarks.workload import Surroundings


class Hasher(Argon2PasswordHasher):
    time_cost = Surroundings.of_process().time_cost
    memory_cost = Surroundings.of_process().memory_cost
    parallelism = 1
