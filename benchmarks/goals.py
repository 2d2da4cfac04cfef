"""What we want to reach, each goal beside what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from .contenders import BASELINE, OURS, SAME_WORK
from .measure import Measured, Sample

#: Our requests a second by the baseline's, at the least, with the cheap hash.
TO_BASELINE = {
    "register": 0.80,
    "verify": 0.92,
    "login": 0.80,
    "bad-input": 0.70,
    "forged-link": 0.85,
}

#: The same with the hash as shipped.
TO_BASELINE_SHIPPED = {"register": 0.97, "login": 0.97}

#: The same by the baseline that does the same work.
TO_SAME_WORK = {"register": 0.95}

#: At most this many queries more than the baseline.
MORE_QUERIES = 1

#: Our requests a second are at least this many times those of the peer with the same wire format.
RIVAL, TO_RIVAL = "django_rest_registration", 1.5

#: Requests a second are at least this part of those without the delay, or with the fewest users.
WITH_SLOW_MAIL, WITH_MANY_USERS = 0.90, 0.90

IMPORT_MS, WORKER_MIB = 60, 60


def verdicts(
    measured: Sequence[Measured], import_times: Sequence[float]
) -> Iterator[tuple[str, str, str]]:
    """Each goal, whether it is reached, and what was measured; nothing for what was not
    measured."""
    for each in measured:
        yield from _to_others(each)
        yield from _to_other_settings(each, measured)
        if OURS in each.memory:
            memory = each.memory[OURS].pss
            yield (
                f"{each.setting}: a worker under {WORKER_MIB} MiB (PSS)",
                _mark(memory < WORKER_MIB),
                f"{memory:.0f}",
            )
    if import_times:
        taken = statistics.median(import_times)
        yield f"import under {IMPORT_MS} ms", _mark(taken < IMPORT_MS), f"{taken:.0f} ms"


def _to_others(each: Measured) -> Iterator[tuple[str, str, str]]:
    for scenario, samples in each.samples.items():
        bounds = TO_BASELINE_SHIPPED if each.setting.hash == "shipped" else TO_BASELINE
        if scenario in bounds and BASELINE in samples and not each.setting.mail_delay:
            ratio = _ratio(samples[OURS], samples[BASELINE])
            yield (
                f"{each.setting}: {scenario} ≥ {bounds[scenario]:.2f} of the baseline",
                *_least(ratio, bounds[scenario]),
            )
        if scenario in TO_SAME_WORK and SAME_WORK in samples and each.setting.hash == "cheap":
            ratio = _ratio(samples[OURS], samples[SAME_WORK])
            yield (
                f"{each.setting}: {scenario} ≥ {TO_SAME_WORK[scenario]:.2f} of the same work",
                *_least(ratio, TO_SAME_WORK[scenario]),
            )
        if (
            scenario in TO_BASELINE
            and RIVAL in samples
            and each.setting.hash == "cheap"
            and not each.setting.mail_delay
        ):
            ratio = _ratio(samples[OURS], samples[RIVAL])
            yield f"{each.setting}: {scenario} ≥ {TO_RIVAL} × {RIVAL}", *_least(ratio, TO_RIVAL)
        queries = each.queries.get(scenario, {})
        if OURS in queries and BASELINE in queries:
            more = queries[OURS] - queries[BASELINE]
            goal = f"{each.setting}: {scenario}: at most {MORE_QUERIES} query more"
            yield goal, _mark(more <= MORE_QUERIES), f"{queries[OURS]} to {queries[BASELINE]}"


def _to_other_settings(
    each: Measured, measured: Sequence[Measured]
) -> Iterator[tuple[str, str, str]]:
    setting = each.setting
    for other in measured:
        alike = (setting.database, setting.hash) == (other.setting.database, other.setting.hash)
        if not alike:
            continue
        for scenario in each.samples.keys() & other.samples.keys():
            ratio = _median_rate(each.samples[scenario][OURS]) / _median_rate(
                other.samples[scenario][OURS]
            )
            if (
                setting.mail_delay
                and not other.setting.mail_delay
                and setting.users == other.setting.users
            ):
                if scenario == "register":
                    yield (
                        f"{setting}: {scenario} as without the delay",
                        *_least(ratio, WITH_SLOW_MAIL),
                    )
            elif setting.users > other.setting.users == min(m.setting.users for m in measured):
                yield (
                    f"{setting}: {scenario} as with {other.setting.users} users",
                    *_least(ratio, WITH_MANY_USERS),
                )


def _ratio(ours: Sequence[Sample], others: Sequence[Sample]) -> float:
    return statistics.median(
        mine.rate / theirs.rate for mine, theirs in zip(ours, others, strict=True)
    )


def _median_rate(samples: Sequence[Sample]) -> float:
    return statistics.median(sample.rate for sample in samples)


def _least(ratio: float, bound: float) -> tuple[str, str]:
    return _mark(ratio >= bound), f"{ratio:.2f}"


def _mark(reached: bool) -> str:
    return "reached" if reached else "missed"
