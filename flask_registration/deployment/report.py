"""Run all checks of an application."""

from __future__ import annotations

from ..checks import LEVELS, Finding
from ..startup import CheckSettings
from ..state import Setup
from . import accounts, database, mail, web


def run_checks(setup: Setup, *, with_mail: bool, with_database: bool) -> list[Finding]:
    """Return all findings, errors first, within an application context.

    Those that ``REGISTRATION_SILENCED_CHECKS`` names are left out.

    :param with_mail: connect to the mail server.
    :param with_database: compare the database with the models.
    """
    checks = [*web.CHECKS, *mail.CHECKS, *accounts.CHECKS]
    if with_mail:
        checks.append(mail.server)
    if with_database:
        checks.append(database.tables)
    found = [*setup.findings, *(finding for check in checks for finding in check(setup))]
    silenced = setup.group(CheckSettings).silenced_checks
    levels = list(LEVELS.values())
    return sorted(
        (finding for finding in found if finding.id not in silenced),
        key=lambda finding: levels.index(finding.level),
    )
