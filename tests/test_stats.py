"""``flask registration stats``: how many accounts were registered and verified."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from click.testing import CliRunner
from flask.cli import ScriptInfo
from sqlalchemy import DateTime
from sqlalchemy.orm import mapped_column

from flask_registration import DEFAULT_FLOWS, actions, user_activated
from flask_registration.cli.base import registration_cli
from flask_registration.flows import sign_up

from .conftest import Clock
from .outboxes import OUTBOX, command
from .people import account
from .site import Site, mixin_and, own_model
from .tables import each_row

NewSite = Callable[..., Site]
DAY = 86400


def stats(site: Site, *options: str) -> list[str]:
    return command(site, "stats", *options).output.splitlines()


@pytest.mark.databases
def test_it_counts_registrations_e_mails_and_verifications_by_day(
    database: str, new_site: NewSite, clock: Clock
) -> None:
    clock.now = datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC).timestamp()
    site = new_site(
        database,
        define=mixin_and(verified_at=lambda: mapped_column(DateTime(timezone=True))),
        MAIL_LIMITS=None,
        **OUTBOX,
    )

    def keep_time(app: Any, user: Any, **_: Any) -> None:
        user.verified_at = datetime.fromtimestamp(clock.now, UTC)
        site.db.session.commit()

    with user_activated.connected_to(keep_time, site.app):
        for number, minutes in enumerate([1, 5, 60]):
            site.register(f"early{number}")
            clock.advance(1)
            link = site.link()
            clock.advance(60 * minutes)
            assert site.verify(link).status_code == 200
            clock.advance(-60 * minutes - 1)
        site.register("late")
        clock.advance(1)
        site.register("next")
        site.register("other", email="early0@example.com")
        clock.advance(20)
        site.verify(site.link(-2))
    assert stats(site) == [
        "day         asked  mailed  verified  median time",
        "2026-03-02      1       1         1   20 seconds",
        "2026-03-01      4       4         3    5 minutes",
        "total           5       5         4    3 minutes",
        "Accounts that were deleted or purged since are not counted.",
        "E-mails count until REGISTRATION_OUTBOX_RETENTION is over.",
    ]
    assert stats(site, "--days", "1")[1:3] == [
        "2026-03-02      1       1         1   20 seconds",
        "total           1       1         1   20 seconds",
    ]
    found = json.loads(command(site, "stats", "--days", "3", "--json").output)
    assert found["days"] == [
        {"day": "2026-03-02", "asked": 1, "mailed": 1, "verified": 1, "median_seconds": 20.0},
        {"day": "2026-03-01", "asked": 4, "mailed": 4, "verified": 3, "median_seconds": 301.0},
        {"day": "2026-02-28", "asked": 0, "mailed": 0, "verified": 0, "median_seconds": None},
    ]
    assert found["total"]["asked"] == 5
    assert len(found["notes"]) == 2


def test_it_says_what_rows_cannot_tell(new_site: NewSite) -> None:
    site = new_site(flows=[*DEFAULT_FLOWS, sign_up.flow])
    account(site)
    site.register("bob")
    day = datetime.now(UTC).date()
    assert stats(site) == [
        "day         asked   mailed  verified  median time",
        f"{day}      2  unknown         1      unknown",
        "total           2  unknown         1      unknown",
        "Accounts that were deleted or purged since are not counted.",
        "With sign_up, an account counts as registered when its address is verified.",
        "E-mails are unknown: only an outbox stores them.",
        "The median time is unknown: User has no column verified_at. "
        "Add one, and set it in a receiver of user_activated.",
    ]


def test_a_model_without_the_time_of_a_registration_has_no_counts(new_site: NewSite) -> None:
    site = new_site(define=own_model())
    account(site)
    assert stats(site)[:4] == [
        "day      asked   mailed  verified  median time",
        "total  unknown  unknown   unknown      unknown",
        "Accounts that were deleted or purged since are not counted.",
        "Registrations are unknown: User has no column date_joined.",
    ]


def test_a_time_without_a_zone_counts_as_utc(new_site: NewSite, clock: Clock) -> None:
    clock.now = datetime(2026, 3, 1, 0, 0, 0, tzinfo=UTC).timestamp()
    site = new_site(define=mixin_and(date_joined=lambda: mapped_column(DateTime)))
    account(site, date_joined=datetime(2026, 3, 1, 0, 0, 0))
    account(site, "bob", date_joined=datetime(2026, 2, 28, 23, 59, 59))
    with site.app.app_context():
        found = actions.statistics(1)
    assert [each.asked for each in found.days] == [1]
    assert found.total.median_time is None


@each_row("days", ["0", "-1", "3661", "many"])
def test_a_wrong_number_of_days_is_wrong_usage(site: Site, days: str) -> None:
    script = ScriptInfo(create_app=lambda: site.app)
    result = CliRunner().invoke(registration_cli, ["stats", "--days", days], obj=script)
    assert result.exit_code == 2
