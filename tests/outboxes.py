"""Applications with an outbox, and what is in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from click.testing import CliRunner, Result
from flask.cli import ScriptInfo
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import select, update

from flask_registration import OutboxMixin
from flask_registration.cli.base import registration_cli
from flask_registration.testing.uniform import mail_after

from .site import Site

NewSite = Callable[..., Site]

#: An application that is not being tested: mail leaves by threads.
LIVE = {"TESTING": False, "MAIL_SUPPRESS_SEND": True}
TIMEOUT = 30


def define_outbox(db: SQLAlchemy) -> type[Any]:
    """The model of the documentation."""

    class Outbox(OutboxMixin, db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
        __tablename__ = "outbox"

    return Outbox


#: What ``new_site`` needs for one.
OUTBOX: dict[str, Any] = {"outbox_model": define_outbox, "MAIL_DISPATCHER": "outbox"}


def letters(site: Site) -> Sequence[Any]:
    """The rows of the outbox, the oldest first, detached."""
    with site.app.app_context():
        rows = site.db.session.scalars(select(site.Outbox).order_by(site.Outbox.id)).all()
        site.db.session.expunge_all()
        return rows


def letter(site: Site) -> Any:
    """The one row of the outbox."""
    (row,) = letters(site)
    return row


def change_letters(site: Site, **columns: Any) -> None:
    """Change every row of the outbox behind the API's back."""
    with site.app.app_context():
        site.db.session.execute(update(site.Outbox).values(columns))
        site.db.session.commit()


def command(site: Site, *arguments: str) -> Result:
    """Run ``flask registration`` with these arguments, which must succeed."""
    result = CliRunner().invoke(
        registration_cli, arguments, obj=ScriptInfo(create_app=lambda: site.app)
    )
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def send_mail(site: Site) -> str:
    """Run ``flask registration send-mail``; what it prints."""
    return command(site, "send-mail").output.strip()


@contextmanager
def request_statements(site: Site) -> Iterator[list[str]]:
    """Yield the statements of requests without those of their e-mails; see :func:`mail_after`."""
    with ExitStack() as stack:
        stack.enter_context(mail_after(site.app))
        yield stack.enter_context(site.statements())


def finish(site: Site) -> None:
    """Wait until the threads that send have done what they had to."""
    dispatcher = site.app.extensions["registration"].dispatcher
    dispatcher._pool.shutdown()
    dispatcher._start_pool()  # another row of a table may use the application again
