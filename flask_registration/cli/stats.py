"""``flask registration stats``: print how many registrations were verified."""

from __future__ import annotations

import json
from typing import Any

import click

from .. import actions
from ..actions.counts import Count
from .base import enter, registration_cli
from .maintenance import format_duration

#: The heads of the columns.
HEADS = ("day", "asked", "mailed", "verified", "median time")

UNKNOWN = "unknown"


@registration_cli.command("stats")
@click.option(
    "--days",
    type=click.IntRange(1, 3660),
    default=30,
    show_default=True,
    help="How many days, today included.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def stats_command(context: click.Context, days: int, as_json: bool) -> None:
    """Print how many accounts were registered and verified, by day in UTC.

    The numbers come from the rows of the database. The command also prints what these rows cannot
    tell. Days without a registration are left out of the table.
    """
    enter(context)
    found = actions.statistics(days)
    if as_json:
        content = {
            "days": [_as_dict(each) for each in found.days],
            "total": _as_dict(found.total),
            "notes": found.notes,
        }
        click.echo(json.dumps(content, indent=2))
        return
    shown = [each for each in found.days if each.asked or each.mailed]
    lines = [HEADS, *(_cells(each) for each in (*shown, found.total))]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for first, *others in lines:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        click.echo("  ".join([first.ljust(widths[0]), *cells]))
    for note in found.notes:
        click.echo(note)


def _as_dict(count: Count) -> dict[str, Any]:
    seconds = count.median_time and count.median_time.total_seconds()
    day = {"day": count.day.isoformat()} if count.day else {}
    return {
        **day,
        "asked": count.asked,
        "mailed": count.mailed,
        "verified": count.verified,
        "median_seconds": seconds,
    }


def _cells(count: Count) -> tuple[str, ...]:
    numbers = (count.asked, count.mailed, count.verified)
    time = UNKNOWN if count.median_time is None else format_duration(count.median_time)
    return (
        count.day.isoformat() if count.day else "total",
        *(UNKNOWN if each is None else str(each) for each in numbers),
        time,
    )
