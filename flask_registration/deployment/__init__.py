"""What a deployment lacks: looked at by ``flask registration check``, and by nothing that serves requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from flask import Flask

from ..kit import Kit
from . import accounts, database, mail, web
from .findings import Finding

__all__ = ["CHECKS", "Finding", "look"]

Check = Callable[[Flask, Kit], Iterable[Finding]]

#: What the configuration alone tells, in the order of the report.
CHECKS: tuple[Check, ...] = (
    web.debugging,
    web.secret_keys,
    web.plain_links,
    web.cookies,
    web.throttles,
    mail.suppressed,
    mail.in_clear,
    mail.unlimited,
    accounts.enumeration,
    accounts.reset_links,
    accounts.passwords,
    accounts.hashing,
    accounts.usernames,
    accounts.logins,
)


def look(app: Flask, kit: Kit, *, mail_server: bool, stored: bool) -> list[Finding]:
    """Everything that was found, within an application context.

    :param mail_server: talk to the mail server.
    :param stored: compare the database with the models.
    """
    checks = [*CHECKS, *([mail.server] if mail_server else []), *([database.stored] if stored else [])]
    return [finding for check in checks for finding in check(app, kit)]
