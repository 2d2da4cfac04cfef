"""Links, sessions and tokens, read from any bytes: only those that were issued are valid."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from marshmallow import ValidationError

from flask_registration.auth.links import Links, Purpose, SignedLink
from flask_registration.auth.tokens import SignedTokenManager
from flask_registration.errors import LinkExpired, LinkInvalid
from flask_registration.flows.register import VERIFY
from flask_registration.flows.register_email import CHANGE_EMAIL
from flask_registration.flows.reset_password import RESET
from flask_registration.flows.undo_email_change import UNDO
from flask_registration.http.bodies import EmailLinkSchema, LinkSchema
from flask_registration.users.stamps import UserSnapshot, stamp_digest

from ..site import make_site, parameters

WEEK = timedelta(days=7)
STATE = UserSnapshot(
    "alice@example.com",
    "$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA",
    False,
    True,
    "0123456789abcdefABCDEF~6552a1c0",
)
site = make_site()
user = site.User(
    id=1, username="alice", email=STATE.email, password_hash=STATE.password_hash, is_active=True
)
user.security_stamp = STATE.security_stamp
logging.getLogger("flask_registration.events").setLevel(logging.CRITICAL)


class OneUser:
    """A store of one user, which need not be asked by way of a database; how often it was asked."""

    asked = 0

    def get(self, identifier: object) -> Any:
        self.asked += 1
        return user if str(identifier) == "1" else None

    def identifier(self, user: Any) -> str:
        return "1"

    def snapshot(self, user: Any) -> UserSnapshot:
        return STATE


def keys() -> Sequence[bytes]:
    return [b"an old key of the fuzzing", b"the key of the fuzzing \xff"]


store: Any = OneUser()
links = Links(keys, store)
tokens = SignedTokenManager(keys, store, WEEK)
schema, email_schema = LinkSchema(), EmailLinkSchema()

#: A link of each purpose as it was mailed.
PURPOSES: list[Purpose] = [VERIFY, RESET, CHANGE_EMAIL, UNDO]
ABOUT = {CHANGE_EMAIL: "new@example.com", UNDO: "old@example.com"}
MAILED = {
    each: parameters(links.url(each, user, "https://example.com/", ABOUT.get(each)))
    for each in PURPOSES
}
TOKENS = [tokens.provide_token(user), tokens.provide_token(user, fresh=False)]
SESSION = f"1~{stamp_digest(STATE)}~"
LATEST = int(time.time()) + 60


def seeds() -> list[bytes]:
    """Valid ones, also in the wrong place, and nearly valid ones; the first byte is the kind."""
    mailed = [json.dumps(MAILED[each]).encode() for each in PURPOSES]
    found = [bytes([number]) + text for number in range(len(PURPOSES)) for text in mailed]
    late = {**MAILED[RESET], "timestamp": LATEST + 1, "user_id": 1}
    found += [b"\1" + json.dumps({**MAILED[RESET], **change}).encode() for change in changes()]
    found += [
        b"\1" + json.dumps(late).encode(),
        b'\0{"user_id": 1e400}',
        b'\2{"user_id": null, "timestamp": "\xef\xbc\x91"}',
    ]
    texts = [
        *TOKENS,
        TOKENS[0].rpartition(".")[0],
        SESSION,
        f"1~{'0' * 32}~",
        f"{SESSION}{'x' * 43}",
        "1",
        "~~",
        ".",
        "=.",
    ]
    return found + [bytes([kind]) + text.encode() for kind in (4, 5) for text in texts]


def changes() -> list[dict[str, str]]:
    """The signature of a link, not quite as it was mailed."""
    whole = MAILED[RESET]["signature"]
    outer, _, bound = whole.partition(".")
    signatures = [outer, bound, f"{bound}.{outer}", f"{outer}.", f".{bound}", f"{outer}=.{bound}"]
    return [{"signature": each} for each in [*signatures, f"{whole}.", f"{outer}.{outer}"]]


def run(data: bytes) -> None:
    """Read what these bytes say; whatever they are, there is an answer."""
    kind, rest = (data[0] if data else 0) % 6, data[1:]
    try:
        text = rest.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = rest.decode("latin-1")
    readers: dict[int, Callable[[str], None]] = {4: read_token, 5: read_session}
    if kind in readers:
        readers[kind](text)
    else:
        open_link(PURPOSES[kind], text)


def open_link(purpose: Purpose, text: str) -> None:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return
    if not isinstance(body, dict):
        return
    store.asked = 0
    try:
        link: SignedLink = (email_schema if purpose in ABOUT else schema).load(body)
        opened, state, _ = links.open(purpose, link, WEEK)
    except (ValidationError, LinkInvalid, LinkExpired):
        assert store.asked == 0, "a link that is not ours cost a query"
        return
    assert (opened, state) == (user, STATE)
    given = {name: value for name, value in link._asdict().items() if value is not None}
    assert given == MAILED[purpose]


def read_token(text: str) -> None:
    if not text.isprintable():  # which no header is
        return
    assert tokens.find_user(text) is None or text in TOKENS
    assert tokens.age(text) is None or text in TOKENS


def read_session(text: str) -> None:
    with site.app.app_context():
        sessions = site.app.extensions["registration"].sessions
        known = sessions.load_user(text, store.get)
        assert known is None or text.startswith(SESSION)
