"""What the tests of the pages about concepts share: diagrams, e-mails with their names, states."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import select

from .pages import docs_module
from .site import Site

diagrams = docs_module("diagrams")

NO_ACCOUNT = "no account"


def render(
    template_config: Any, context: dict[str, Any], *, notification_type: str, **kwargs: Any
) -> tuple[str, str, None]:
    """Render an e-mail as its name, link and code: ``VERIFICATION_TEMPLATE_RENDERER``."""
    parts = [context.get("verification_url"), context.get("code")]
    return notification_type, "\n".join(str(part) for part in parts if part) or "-", None


class Sent(NamedTuple):
    """An e-mail that was sent.

    :ivar link: the parameters of its link.
    """

    name: str
    to: str
    link: dict[str, str]


def take_mails(site: Site) -> list[Sent]:
    """The e-mails since the last time, of a site that renders by ``render``."""
    found = []
    for message in site.outbox:
        has_link = "signature" in (message.body or "")
        link = dict(type(site.outbox)([message]).latest_link()) if has_link else {}
        (to,) = message.send_to
        found.append(Sent(str(message.subject), str(to), link))
    site.outbox.clear()
    return found


def state_of(site: Site, *addresses: str) -> str:
    """The state of the account with one of these e-mail addresses."""
    with site.app.app_context():
        has_address = site.User.email.in_(addresses)
        user = site.db.session.scalars(select(site.User).where(has_address)).one_or_none()
        if user is None:
            return NO_ACCOUNT
        states = {
            "suspended": not user.is_active,
            "rejected": getattr(user, "rejected_at", None),
            "scheduled for deletion": getattr(user, "delete_after", None),
            "pending": not user.is_verified,
            "waiting for approval": getattr(user, "approved_at", True) is None,
            "without a password": user.password_hash.startswith("!"),
        }
        return next((name for name, holds in states.items() if holds), "verified")
