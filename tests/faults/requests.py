"""Every request that an account's life is made of, each ready to be asked once more after it
failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from flask_registration import signals

from ..flows.common import OTHER_PASSWORD, ask_move, ask_reset, forget_mails, log_in, member, move
from ..people import copy_of, define_login
from ..site import PASSWORD, Site

#: As much as there is in one application: sessions and tokens as rows, and a link that logs in.
SETTINGS: dict[str, Any] = {
    "login_model": define_login,
    "LOGIN_RETRIEVE_TOKEN": True,
    "REGISTER_VERIFICATION_ONE_TIME_USE": True,
    "REGISTER_VERIFICATION_AUTO_LOGIN": True,
}

SIGNALS = [
    signal
    for name, signal in vars(signals).items()
    if name.startswith("user_") or name == "mail_failed"
]


class Request(NamedTuple):
    """A request by somebody's browser; asked again and again, each time by a copy of that
    browser."""

    client: FlaskClient
    method: str
    path: str
    body: Any

    def ask(self) -> tuple[TestResponse, FlaskClient]:
        """The reply, and the browser that got it."""
        browser = copy_of(self.client)
        return browser.open(f"/accounts/{self.path}/", method=self.method, json=self.body), browser


def _post(path: str, body: Any, client: FlaskClient) -> Request:
    return Request(client, "POST", path, body)


def _registration(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "username": name,
        "email": f"{name}@example.com",
        "password": PASSWORD,
        "password_confirm": PASSWORD,
        **fields,
    }


def _register(site: Site, name: str) -> Request:
    return _post("register", _registration(name), site.app.test_client())


def _register_taken_address(site: Site, name: str) -> Request:
    member(site, f"{name}-owner", email=f"{name}@example.com")
    return _register(site, name)


def _register_in_place_of_an_expired_one(site: Site, name: str) -> Request:
    assert site.register(f"{name}-squatter", email=f"{name}@example.com").status_code == 201
    squatter = site.user(username=f"{name}-squatter")
    site.change(squatter, date_joined=squatter.date_joined - timedelta(days=8))
    return _register(site, name)


def _verify(site: Site, name: str) -> Request:
    assert site.register(name).status_code == 201
    return _post("verify-registration", site.link(), site.app.test_client())


def _resend(site: Site, name: str) -> Request:
    assert site.register(name).status_code == 201
    return _post("resend-verification", {"login": name}, site.app.test_client())


def _login(site: Site, name: str) -> Request:
    member(site, name)
    return _post("login", {"login": name, "password": PASSWORD}, site.app.test_client())


def _login_again(site: Site, name: str) -> Request:
    """Where a session is replaced."""
    user, client = member(site, name), log_in(site, name)
    site.change(user, last_login=None)  # MariaDB keeps whole seconds, which might be the same
    return _post("login", {"login": name, "password": PASSWORD, "remember": True}, client)


def _logout(site: Site, name: str) -> Request:
    member(site, name)
    return _post("logout", {"revoke_token": True}, log_in(site, name))


def _logout_everywhere(site: Site, name: str) -> Request:
    member(site, name)
    return _post("logout", {"everywhere": True}, log_in(site, name))


def _profile(site: Site, name: str) -> Request:
    member(site, name)
    return Request(log_in(site, name), "GET", "profile", None)


def _change_profile(site: Site, name: str) -> Request:
    member(site, name)
    return Request(log_in(site, name), "PATCH", "profile", {"first_name": "Al"})


def _delete_profile(site: Site, name: str) -> Request:
    member(site, name)
    return Request(log_in(site, name), "DELETE", "profile", {"password": PASSWORD})


def _change_password(site: Site, name: str) -> Request:
    member(site, name)
    body = {
        "old_password": PASSWORD,
        "password": OTHER_PASSWORD,
        "password_confirm": OTHER_PASSWORD,
    }
    return _post("change-password", body, log_in(site, name))


def _ask_reset(site: Site, name: str) -> Request:
    member(site, name)
    return _post("send-reset-password-link", {"login": name}, site.app.test_client())


def _reset(site: Site, name: str) -> Request:
    member(site, name)
    link = ask_reset(site, name)
    return _post("reset-password", {**link, "password": OTHER_PASSWORD}, site.app.test_client())


def _ask_move(site: Site, name: str) -> Request:
    member(site, name)
    return _post("register-email", {"email": f"new-{name}@example.com"}, log_in(site, name))


def _move(site: Site, name: str) -> Request:
    member(site, name)
    client = log_in(site, name)
    return _post("verify-email", ask_move(site, client, f"new-{name}@example.com"), client)


def _undo_move(site: Site, name: str) -> Request:
    member(site, name)
    link = move(site, log_in(site, name), f"new-{name}@example.com")
    return _post("undo-email-change", link, site.app.test_client())


def _logins(site: Site, name: str) -> Request:
    member(site, name)
    return Request(log_in(site, name), "GET", "logins", None)


def _revoke_login(site: Site, name: str) -> Request:
    user, client = member(site, name), log_in(site, name)
    with site.app.app_context():
        number = site.db.session.scalar(
            select(site.Login.id).filter_by(user_id=str(user.id), kind="token")
        )
    return Request(client, "DELETE", f"logins/{number}", None)


#: What makes each request ready, for somebody of this name.
REQUESTS: dict[str, Callable[[Site, str], Request]] = {
    "register": _register,
    "register with a taken address": _register_taken_address,
    "register in place of an expired one": _register_in_place_of_an_expired_one,
    "verify-registration": _verify,
    "resend-verification": _resend,
    "login": _login,
    "login once more": _login_again,
    "logout": _logout,
    "logout everywhere": _logout_everywhere,
    "read the profile": _profile,
    "change the profile": _change_profile,
    "delete the profile": _delete_profile,
    "change-password": _change_password,
    "send-reset-password-link": _ask_reset,
    "reset-password": _reset,
    "register-email": _ask_move,
    "verify-email": _move,
    "undo-email-change": _undo_move,
    "logins": _logins,
    "revoke a login": _revoke_login,
}

#: Those that mail.
MAILED = [
    "register",
    "register with a taken address",
    "register in place of an expired one",
    "resend-verification",
    "change-password",
    "send-reset-password-link",
    "reset-password",
    "register-email",
    "verify-email",
    "undo-email-change",
]


def prepare(site: Site, what: str, name: str) -> Request:
    """A request that is ready; the mails on the way there are forgotten."""
    request = REQUESTS[what](site, name)
    forget_mails(site)
    return request


def rows(site: Site) -> dict[str, list[tuple[Any, ...]]]:
    """Everything in the database."""
    with site.app.app_context(), site.db.engine.connect() as connection:
        tables = site.db.metadata.sorted_tables
        return {
            table.name: [
                tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))
            ]
            for table in tables
        }


def difference(
    before: dict[str, list[tuple[Any, ...]]], after: dict[str, list[tuple[Any, ...]]]
) -> dict[str, int]:
    """How many rows of each table are others, or more, or fewer."""
    return dict(Counter(name for name in before for _ in {*before[name]} ^ {*after[name]}))


def session_of(site: Site, client: FlaskClient) -> dict[str, Any]:
    """What is in a browser's session."""
    cookie = client.get_cookie("session")
    serializer: Any = site.app.session_interface.get_signing_serializer(site.app)  # type: ignore[attr-defined]
    return dict(serializer.loads(cookie.value)) if cookie else {}


class Effects:
    """What a request did that others can see."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._before = rows(site)
        self.signals: list[str] = []

    def seen(self) -> tuple[dict[str, int], list[str], list[str]]:
        """Rows that changed, signals, and what mails are about."""
        subjects = [str(mail.subject) for mail in self._site.outbox]
        return difference(self._before, rows(self._site)), sorted(self.signals), sorted(subjects)


@contextmanager
def effects(site: Site) -> Iterator[Effects]:
    """Watch what is done within the block."""
    watched = Effects(site)

    def listen_to(name: str) -> Callable[..., None]:
        return lambda sender, **arguments: watched.signals.append(name)

    with ExitStack() as stack:
        for signal in SIGNALS:
            stack.enter_context(signal.connected_to(listen_to(signal.name), site.app))
        yield watched


#: Nothing happened.
NOTHING: tuple[dict[str, int], list[str], list[str]] = ({}, [], [])
