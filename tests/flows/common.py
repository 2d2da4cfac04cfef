"""Requests, and what is looked at after them, that the tests of several flows share."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from ..people import NOT_AUTHENTICATED as NOT_AUTHENTICATED
from ..people import bearer as bearer
from ..people import define_login
from ..people import log_in as log_in
from ..people import token_of as token_for
from ..site import PASSWORD, Site, links_of, parameters, whole
from ..tables import each_row

NewSite = Callable[..., Site]

OTHER_PASSWORD = "a whole new set of words 42"

REAUTHENTICATE = {
    "detail": "Please enter your password to continue.",
    "code": "reauthentication-required",
}
LINK_INVALID = {
    "detail": "This link is not valid. It may have been used already, "
    "or been replaced by a newer one.",
    "code": "signature-invalid",
}
LINK_EXPIRED = {
    "detail": "This link has expired. Please ask for a new one.",
    "code": "signature-expired",
}
EMAIL_VERIFIED = {"detail": "E-mail address verified successfully"}
EMAIL_UNDONE = {"detail": "E-mail change undone"}
EMAIL_TAKEN = {
    "detail": "This e-mail address is already in use.",
    "code": "email-already-registered",
}

#: Sessions as a signed cookie, and as rows.
BOTH_KINDS_OF_SESSION = each_row(
    "sessions", [{}, {"login_model": define_login}], ids=["signed sessions", "sessions as rows"]
)

DAYS = 86400
THREADS = 50

#: A connection for each thread, so that none waits for another's.
AT_ONCE = {"SQLALCHEMY_ENGINE_OPTIONS": {"pool_size": THREADS, "max_overflow": 0}}


def member(site: Site, username: str = "alice", **fields: Any) -> Any:
    """Somebody with a verified account, made without a mail; the row, detached."""
    fields = {
        "username": username,
        "email": f"{username}@example.com",
        "password": PASSWORD,
        **fields,
    }
    with site.app.test_request_context():
        user = site.registration.create_user(**fields)
        site.db.session.commit()
        key = user.id
    return site.user(id=key)


def cookies_of(reply: Any) -> list[str]:
    """The names of the cookies that a response sets."""
    return [cookie.partition("=")[0] for cookie in reply.headers.getlist("Set-Cookie")]


def token_of(site: Site, login: str = "alice", password: str = PASSWORD) -> dict[str, str]:
    """The header of a client with a token of a new login."""
    return bearer(token_for(site, login, password))


def is_in(client: FlaskClient, headers: dict[str, str] | None = None) -> bool:
    """Whether the API knows who is asking."""
    reply = client.get("/accounts/profile/", headers=headers)
    assert reply.status_code in (200, 401)
    return reply.status_code == 200


def has_password(site: Site, password: str, login: str = "alice") -> bool:
    """Whether somebody can log in with it."""
    return site.post("login", {"login": login, "password": password}).status_code == 200


def mails(site: Site) -> list[tuple[str, str]]:
    """To whom and about what, of every mail in the outbox, which is empty afterwards."""
    found = [site.read(number) for number in range(len(site.outbox))]
    site.outbox.clear()
    return [(mail["To"], mail["Subject"]) for mail in found]


def link_in(mail: EmailMessage) -> dict[str, str]:
    """The parameters of the link in a mail."""
    return parameters(links_of(mail)[0])


def ask_reset(site: Site, login: str = "alice") -> dict[str, str]:
    """Ask for a reset link; its parameters, out of the mail."""
    forget_mails(site)
    assert site.post("send-reset-password-link", {"login": login}).status_code == 200
    assert len(site.outbox) == 1
    return site.link()


def ask_move(site: Site, client: FlaskClient, email: str, **kwargs: Any) -> dict[str, str]:
    """Ask to move to another address; the parameters of the link that it gets."""
    forget_mails(site)
    reply = site.post("register-email", {"email": email}, client=client, **kwargs)
    assert reply.status_code == 200, reply.get_json()
    assert [mail.recipients for mail in site.outbox[1:]] == [[email]]  # the first is the notice
    return site.link()


def move(site: Site, client: FlaskClient, email: str) -> dict[str, str]:
    """Move to another address; the parameters of the link that undoes it, or nothing."""
    link = ask_move(site, client, email)
    assert site.post("verify-email", link, client=client).status_code == 200
    return site.link() if links_of(site.read()) else {}


def verify_email(
    site: Site, link: dict[str, Any], client: FlaskClient | None = None
) -> TestResponse:
    """Open the link that moves an account."""
    return site.post("verify-email", link, client=client)


def undo_move(site: Site, link: dict[str, Any], client: FlaskClient | None = None) -> TestResponse:
    """Open the link that takes a move back."""
    return site.post("undo-email-change", link, client=client)


def forget_mails(site: Site) -> None:
    """Empty the outbox, and let every address be written to again."""
    site.outbox.clear()
    site.app.extensions["registration"].throttles.counters.memory.shared.windows.clear()


def accounts(site: Site, field: str = "email") -> list[Any]:
    """Every user, but those of registrations with an address that was in use."""
    return [user for user in site.users() if not is_placeholder(getattr(user, field))]


def is_placeholder(email: str) -> bool:
    """Whether this is the address of a registration with one that was in use."""
    return re.fullmatch(r"[0-9a-f]{16}@registration\.invalid", email) is not None


def row(site: Site, **where: Any) -> dict[str, Any]:
    """Every column of the one user with these."""
    user = site.user(**where)
    return {column.key: getattr(user, column.key) for column in site.User.__table__.columns}


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """The columns that differ."""
    return {name for name in before if before[name] != after[name]}


def forged(site: Site, endpoint: str, **body: Any) -> tuple[Any, ...]:
    """What an endpoint answers to a link that never was any good, to the byte."""
    link = {"user_id": "4711", "timestamp": "1700000000", "signature": "forged"}
    reply = site.post(endpoint, {**link, "email": "new@example.com", **body})
    assert (reply.status_code, reply.get_json()) == (400, LINK_INVALID)
    return whole(reply)


def at_once(ask: Callable[[int], TestResponse], count: int = THREADS) -> list[TestResponse]:
    """Ask many times in as many threads, none of which starts before all are there."""
    barrier = threading.Barrier(count, timeout=60)
    replies: list[TestResponse] = []
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            barrier.wait()
            replies.append(ask(number))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert errors == []
    assert len(replies) == count
    return replies
