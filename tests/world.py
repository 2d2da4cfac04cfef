"""An application with every endpoint, a valid request to each, and what must always hold."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pyotp
import pytest
from flask.testing import FlaskClient
from marshmallow import Schema
from sqlalchemy import DateTime, event
from sqlalchemy.orm import mapped_column
from werkzeug.test import TestResponse
from werkzeug.utils import import_string

from flask_registration import (
    DEFAULT_FLOWS,
    ApprovalMixin,
    ChallengeMixin,
    ConsentMixin,
    CredentialMixin,
    DeletionMixin,
    Flow,
    InvitationMixin,
    LoginMixin,
    UserMixin,
)
from flask_registration.flows import verification_redirects
from flask_registration.flows.default import OPTIONAL_FLOWS
from flask_registration.gate import ProofOfWork
from flask_registration.http.bodies import schema_of
from flask_registration.http.flow import Endpoint
from flask_registration.users.mixins import utc_now

from .people import bearer, log_in
from .site import PASSWORD, Site, define

OPTIONAL: list[Flow[Any]] = [import_string(path) for path in OPTIONAL_FLOWS]
#: Every flow, those that are not there by default among them.
FLOWS = (*DEFAULT_FLOWS, *OPTIONAL)
#: All but the stylesheet of the pages, a file that is the same for everybody.
ENDPOINTS: dict[str, Endpoint[Any]] = {
    each.name: each for flow in FLOWS for each in flow.endpoints if each.name != "stylesheet"
}

#: Those that answer in HTML: the pages behind mailed links.
PAGES = {each.name for each in verification_redirects.flow.endpoints}
OTHER_PASSWORD = "a whole new set of words 42"
APPROVER = "approver@example.com"

#: Tables of its own, beside those of other tests in the same database.
#: Accounts are approved at once, but for the one that is made to wait.
define_user = define(
    ApprovalMixin,
    DeletionMixin,
    UserMixin,
    __tablename__="world_users",
    columns=lambda: {"approved_at": mapped_column(DateTime(timezone=True), default=utc_now)},
)

#: An exception that nobody expected reaches the test, rather than being answered by a 500.
SETTINGS: dict[str, Any] = {
    "flows": FLOWS,
    "define": define_user,
    "config": {"PROPAGATE_EXCEPTIONS": True},
    "LOGIN_RETRIEVE_TOKEN": True,
    "MAIL_LIMITS": None,
    "NEW_LOGIN_NOTICE_ENABLED": True,
    "VERIFICATION_METHOD": "both",
    "CREDENTIAL_KEYS": ["a key for credentials in the tests, which is long"],
    "SECOND_FACTOR_RECOVERY_DELAY": timedelta(days=3),
    "TERMS_VERSION": "1",
    "GATE": ProofOfWork(cost=1, tries=2),
    "GATE_WHEN": "throttled",
    "MAY_INVITE": lambda user, data: True,
    "APPROVERS": [APPROVER],
    "DELETION_GRACE": timedelta(days=30),
}

#: What a refusal may change: it counts a try.
COUNTED = {"tries_left": 0, "failures": 0, "locked_until": None, "last_used_at": None}


def define_challenge(db: Any) -> type[Any]:
    return type("Challenge", (ChallengeMixin, db.Model), {"__tablename__": "world_challenges"})


def define_credential(db: Any) -> type[Any]:
    return type("Credential", (CredentialMixin, db.Model), {"__tablename__": "world_credentials"})


def define_consent(db: Any) -> type[Any]:
    return type("Consent", (ConsentMixin, db.Model), {"__tablename__": "world_consents"})


def define_invitation(db: Any) -> type[Any]:
    return type("Invitation", (InvitationMixin, db.Model), {"__tablename__": "world_invitations"})


SETTINGS |= {"other_models": [define_consent, define_invitation]}
SETTINGS |= {"challenge_model": define_challenge, "credential_model": define_credential}


def define_login(db: Any) -> type[Any]:
    return type("Login", (LoginMixin, db.Model), {"__tablename__": "world_logins"})


@dataclass(frozen=True)
class State:
    """What is in the database, and what somebody has who knows Alice's secrets."""

    rows: dict[str, list[dict[str, Any]]]
    cookie: str = ""
    token: str = ""
    links: Mapping[str, dict[str, str]] = field(default_factory=dict)
    secret: str = ""


#: The state that a valid request needs, if it is another than ``member``.
STATES = {
    **dict.fromkeys(
        ["verify_registration", "verify_registration_code", "resend_verification"], "pending"
    ),
    "decide_approval": "waiting",
    "undo_email_change": "moved",
    "confirm_totp": "enrolling",
    **dict.fromkeys(
        ["second_factor", "remove_totp", "create_recovery_codes", "recover_second_factor"],
        "protected",
    ),
    "credentials": "protected",
    "cancel_recovery": "lost",
    "cancel_deletion": "leaving",
}


class World:
    """One application, put back into the same state before each request that needs it so.

    The states: Alice is ``pending``; she is ``waiting`` for approval; she is a ``member`` with a
    session, a token and links; she is ``enrolling`` in a second factor; she is ``protected`` by
    it; she has ``lost`` it; she has ``moved``; she is ``leaving``.

    What is in ``links`` is the body that shows a link or a code of an e-mail, by endpoint.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self.now: State | None = None
        self.wrote = False
        mounted = {name.removeprefix("registration.") for name in site.app.view_functions}
        self.endpoints = [each for each in ENDPOINTS.values() if each.name in mounted]
        with site.app.app_context():
            for table in reversed(site.db.metadata.sorted_tables):
                site.db.session.execute(table.delete())
            site.db.session.commit()
            event.listen(site.db.engine, "before_cursor_execute", self._watch)
        self.states = dict(self._live())

    def _watch(self, connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        self.wrote |= not statement.startswith("SELECT")

    def _live(self) -> Iterator[tuple[str, State]]:
        site = self.site

        def ask(endpoint: str, body: Any = None, status: int = 200, **options: Any) -> Any:
            reply = site.post(endpoint, body or {}, **options)
            assert reply.status_code == status, reply.get_json()
            return reply.get_json()

        def mailed(link: str, code: str, body: Any) -> dict[str, dict[str, str]]:
            shown = {"challenge": body["challenge"], "code": site.outbox.latest_code()}
            return {link: site.link(), code: shown}

        password = {"login": "alice", "password": PASSWORD}
        names = {"first_name": "Alice", "last_name": "Liddell"}
        body = site.register("alice", **names, terms="1").get_json()
        links = mailed("verify_registration", "verify_registration_code", body)
        yield "pending", State(self.rows(), links=links)
        site.change(site.user(), approved_at=None)
        site.verify(links["verify_registration"])
        decision = {**site.link(), "decision": "approve"}
        yield "waiting", State(self.rows(), links={"decide_approval": decision})
        ask(f"approvals/{decision['user_id']}", decision)
        client = log_in(site)
        token = ask("login", password)["token"]
        links |= {"report_login": site.link()}
        body = ask("send-reset-password-link", {"login": "alice"})
        links |= mailed("reset_password", "reset_password_code", body)
        body = ask("send-login-link", {"login": "alice"})
        links |= mailed("login_by_link", "login_by_code", body)
        ask("sign-up", {"email": "free@example.com"})
        links |= {"finish_sign_up": site.link()}
        ask("invitations", {"email": "guest@example.com"}, 201, client=client)
        links |= {"accept_invitation": site.link()}
        body = ask(
            "register-email", {"email": "new@example.com", "password": PASSWORD}, client=client
        )
        links |= mailed("verify_email", "verify_email_code", body)
        member = State(self.rows(), session_of(client), token, dict(links))
        yield "member", member
        ask("verify-email", links["verify_email"], client=client)
        moved = {**links, "undo_email_change": site.link()}
        yield "moved", State(self.rows(), session_of(client), links=moved)
        self.states = {"member": member}
        self.enter("member")
        client.set_cookie("session", member.cookie)
        secret = ask("totp", client=client)["secret"]
        yield "enrolling", State(self.rows(), member.cookie, links=links, secret=secret)
        codes = ask("totp/confirm", {"code": pyotp.TOTP(secret).now()}, client=client)
        challenge = {"challenge": ask("login", password, 401)["challenge"]}
        code = {"code": codes["recovery_codes"][0]}
        links |= {"second_factor": {**challenge, **code}}
        links |= {"remove_totp": {"password": PASSWORD, **code}}
        links |= {"recover_second_factor": challenge}
        yield "protected", State(self.rows(), session_of(client), links=links)
        ask("recover-second-factor", challenge, 202)
        links |= {"cancel_recovery": site.link()}
        yield "lost", State(self.rows(), session_of(client), links=links)
        self.now = None
        self.enter("member")
        client.set_cookie("session", member.cookie)
        assert client.delete("/accounts/profile/", json={"password": PASSWORD}).status_code == 202
        yield "leaving", State(self.rows(), links={"cancel_deletion": site.link()})
        site.outbox.clear()
        self.now = None

    # The database

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """Every row, but when a login was last used."""
        with self.site.app.app_context():
            tables = self.site.db.metadata.sorted_tables
            found = {
                each.name: self.site.db.session.execute(each.select().order_by(*each.primary_key))
                for each in tables
            }
            return {name: [dict(row) for row in rows.mappings()] for name, rows in found.items()}

    def enter(self, name: str) -> State:
        """Put everything back as it was."""
        state = self.states[name]
        if self.now is not state:
            with self.site.app.app_context():
                session = self.site.db.session
                for table in reversed(self.site.db.metadata.sorted_tables):
                    session.execute(table.delete())
                for table in self.site.db.metadata.sorted_tables:
                    if state.rows[table.name]:
                        session.execute(table.insert(), state.rows[table.name])
                session.commit()
            self.now = state
        self.site.outbox.clear()
        return state

    # Requests

    def state_for(self, name: str) -> str:
        return STATES.get(name.removesuffix("_page").removesuffix("_confirm"), "member")

    def path(self, endpoint: Endpoint[Any], key: object = None) -> str:
        """The path of an endpoint, to the latest of Alice's rows unless told to which."""
        start, _, rest = endpoint.path.partition("<")
        name, _, end = rest.partition(">")
        if name and key is None:
            rows = self.states["member"].rows[f"world_{name.removesuffix('_id')}s"]
            key = rows[-1]["id"]
        return f"/accounts{start}{key if name else ''}{end}"

    def fields(self, endpoint: Endpoint[Any]) -> list[str]:
        """The names that a body of this endpoint may have."""
        names: dict[str, None] = {}
        for schema in self.schemas(endpoint):
            fields = schema.fields.items()
            names |= dict.fromkeys(
                each.data_key or name for name, each in fields if not each.dump_only
            )
        return list(names)

    def schemas(self, endpoint: Endpoint[Any]) -> list[Schema]:
        """What its body is loaded with, in this order: the link, and the rest."""
        with self.site.app.app_context():
            state = self.site.app.extensions["registration"]
            return [schema_of(state, each) for each in endpoint.requests]

    def body(self, name: str) -> dict[str, Any]:
        """A right body; nothing for an endpoint that nobody has described here yet."""
        twice = {"password": OTHER_PASSWORD, "password_confirm": OTHER_PASSWORD}
        new = f"u{uuid.uuid4().hex}"
        bodies: dict[str, dict[str, Any]] = {
            "register": {
                "username": new,
                "email": f"{new}@example.com",
                "first_name": "Al",
                "last_name": "L",
                "terms": "1",
                **twice,
            },
            "resend_verification": {
                "login": "alice",
                "username": "alice",
                "email": "alice@example.com",
            },
            "login": {
                "login": "alice",
                "username": "alice",
                "password": PASSWORD,
                "remember": True,
            },
            "logout": {"revoke_token": True, "everywhere": True},
            "replace_profile": {"username": "alice", "first_name": "Al", "last_name": "L"},
            "update_profile": {"username": "alice", "first_name": "Al", "last_name": "L"},
            "delete_profile": {"password": PASSWORD},
            "change_password": {"old_password": PASSWORD, **twice},
            "reauthenticate": {"password": PASSWORD},
            "register_email": {"email": "new@example.com", "password": PASSWORD},
            "send_reset_password_link": {"login": "alice", "username": "alice"},
            "reset_password": twice,
            "reset_password_code": twice,
            "add_totp": {"password": PASSWORD},
            "create_recovery_codes": {"password": PASSWORD},
            "send_login_link": {"login": "alice", "username": "alice"},
            "sign_up": {"email": "alice@example.com"},
            "finish_sign_up": {
                "username": new,
                "first_name": "Al",
                "last_name": "L",
                "terms": "1",
                **twice,
            },
            "accept_terms": {"version": "1"},
            "invite": {"email": "bob@example.com", "data": {"role": "editor"}},
            "accept_invitation": {
                "username": new,
                "first_name": "Al",
                "last_name": "L",
                "terms": "1",
                **twice,
            },
        }
        state = self.states[self.state_for(name)]
        if name == "confirm_totp":
            bodies[name] = {"code": pyotp.TOTP(state.secret).now()}
        return {**state.links.get(name, {}), **bodies.get(name, {})}

    def logs_in(self, endpoint: Endpoint[Any]) -> bool:
        """Whether a valid request comes with Alice's session."""
        optional = ("add_totp", "confirm_totp", "accept_terms")  # or with a challenge
        return endpoint.login_required or endpoint.name in optional

    def ask(
        self, name: str, *, method: str | None = None, path: str | None = None, **options: Any
    ) -> TestResponse:
        """Ask an endpoint, with Alice's session if it needs a login, and by default a valid body.

        What must hold of any reply is looked at here: a refusal changes nothing and mails nothing.
        """
        endpoint = ENDPOINTS[name]
        state = self.enter(self.state_for(name))
        headers = dict(options.pop("headers", {}))
        if self.logs_in(endpoint) and not {"Authorization", "Cookie"} & headers.keys():
            headers["Cookie"] = f"session={state.cookie}"
        if not {"json", "data", "input_stream"} & options.keys() and self.schemas(endpoint):
            options["json"] = self.body(name)
        client = self.site.app.test_client(use_cookies=False)
        self.now, self.wrote = None, False  # until we know
        reply = client.open(
            path or self.path(endpoint),
            method=method or endpoint.methods[0],
            headers=headers,
            **options,
        )
        after = self.rows() if self.wrote else state.rows
        if without_last_use(after) == without_last_use(state.rows):
            self.now = state
        if reply.status_code >= 400:
            assert without_counts(after) == without_counts(state.rows), (
                "a refusal changed something"
            )
            assert self.site.outbox == [], "a refusal was mailed about"
        if method not in ("HEAD", "OPTIONS"):
            check_reply(reply, html=name in PAGES or method == "GET")
        for user in after["world_users"]:
            whole = [user[name] for name in ("username", "username_key", "email", "security_stamp")]
            assert all(whole), "half an account"
            assert user["password_hash"].startswith(("$argon2id$", "!"))
        for mail in self.site.outbox:
            assert len(mail.send_to) == 1
        return reply

    def token(self) -> dict[str, str]:
        return bearer(self.states["member"].token)

    def mails(self) -> Iterator[tuple[str, str]]:
        """To whom, and the whole of it as read, of the mails to the last request."""
        for number in range(len(self.site.outbox)):
            mail = self.site.read(number)
            parts = [part.get_content() for part in mail.walk() if not part.is_multipart()]
            yield (
                mail["To"],
                "\n".join([*(f"{name}: {value}" for name, value in mail.items()), *parts]),
            )


def without_last_use(rows: dict[str, list[dict[str, Any]]]) -> Any:
    return {name: [{**row, "last_used_at": None} for row in table] for name, table in rows.items()}


def without_counts(rows: dict[str, list[dict[str, Any]]]) -> Any:
    return {name: [{**row, **COUNTED} for row in table] for name, table in rows.items()}


def session_of(client: FlaskClient) -> str:
    cookie = client.get_cookie("session")
    assert cookie
    return cookie.value


def check_reply(reply: TestResponse, *, html: bool = False) -> None:
    """What holds of every reply of ours."""
    assert reply.status_code < 500
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    if reply.status_code == 204 or (html and reply.status_code in (200, 302, 400)):
        return
    assert reply.mimetype == "application/json"
    body = json.loads(reply.get_data(), parse_constant=pytest.fail)
    if reply.status_code == 400 and not isinstance(body.get("code"), str):
        assert all(isinstance(messages, list | dict) for messages in body.values())
    elif reply.status_code >= 400:
        assert body.keys() == {"detail", "code"}
    else:
        assert isinstance(body, dict | list)
