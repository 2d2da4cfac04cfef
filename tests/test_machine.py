"""Any sequence of what people, thieves and administrators do, held against a model of accounts
(``model.py``)."""

from __future__ import annotations

import os
import random
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pyotp
import pytest
from flask.testing import FlaskClient
from hypothesis import seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete
from werkzeug.test import TestResponse

from flask_registration import DEFAULT_FLOWS
from flask_registration.cli.base import registration_cli
from flask_registration.flows import codes, second_factor
from flask_registration.users.mixins import as_utc, utc_now

from .conftest import Clock
from .flows.common import is_placeholder
from .flows.test_second_factor import KEY, define_credential
from .model import (
    BAD_LINK,
    CODE_TRIES,
    DAY,
    INTERVAL,
    LOGIN_TRIES,
    LOGINS,
    PERIODS,
    PLACEHOLDER,
    REFUSED,
    STEP,
    WRONG_CODES,
    Account,
    App,
    Code,
    Model,
    Thing,
    need,
)
from .people import bearer, logins, with_and_without_login_model
from .site import CONFIG, Site, links_of, parameters
from .test_steps import define_challenge

T = TypeVar("T")
NewSite = Callable[..., Site]

#: How many sequences, of how many steps; by hand, a few thousand.
EXAMPLES = int(os.environ.get("TEST_MACHINE_EXAMPLES", "16"))
STEPS = int(os.environ.get("TEST_MACHINE_STEPS", "40"))
SEED = int(os.environ.get("TEST_SEED") or random.randrange(2**32))

#: What is typed, and the account that it names: aliases, and names and addresses that only look
#: like another's.
NAMES = ["mike", "MIKE", "ｍｉｋｅ", "mıke", "eve"]
ADDRESSES = [
    "mike@x.org",
    "Mike@X.org",
    "eve@x.org",
    "new@x.org",
    "mike@y.org",
    "mıke@x.org",
    "mike@x.org ",
]
PASSWORDS = ["correct horse battery staple", "a whole new set of words 42"]
ENDPOINTS = {
    "register": "verify-registration",
    "reset_password": "reset-password",
    "register_email": "verify-email",
    "email_changed": "undo-email-change",
}

SETTINGS: dict[str, Any] = {
    "flows": [*DEFAULT_FLOWS, codes.flow, second_factor.flow],
    "challenge_model": define_challenge,
    "credential_model": define_credential,
    "LOGIN_RETRIEVE_TOKEN": True,
    "MAIL_LIMITS": None,
    "VERIFICATION_METHOD": "both",
    "CODE_TRIES": CODE_TRIES,
    "CREDENTIAL_KEYS": [KEY],
    "SECOND_FACTOR_TRIES": LOGIN_TRIES,
    "SECOND_FACTOR_LOCK": f"{WRONG_CODES}/{STEP} seconds",
}

names, addresses, passwords = (
    st.sampled_from(NAMES),
    st.sampled_from(ADDRESSES),
    st.sampled_from(PASSWORDS),
)
places = st.integers(0, 30)  # among what was seen, the latest first
maybe, rarely = st.booleans(), st.sampled_from([False, False, False, True])
#: Which code is typed: of the app, by its interval; or a recovery code.
typed_codes = st.sampled_from([0, 0, 1, 1, -1, -2, "recovery", "recovery", "used", "wrong"])


def name_key(typed: str) -> str:
    return unicodedata.normalize("NFKC", typed).casefold()


def address_key(typed: str) -> str | None:
    """The address that is stored; None for what is none."""
    typed = typed.strip()
    return typed.lower() if typed.isascii() and " " not in typed else None


def latest(seen: Sequence[T], place: int) -> T:
    """One of what was seen, counted from the latest."""
    return seen[-1 - place % len(seen)]


def typed_password(account: Account, slips: bool) -> str:
    """The account's password, or another."""
    if account.password not in PASSWORDS:  # an undo has revoked it
        return PASSWORDS[slips]
    return PASSWORDS[(PASSWORDS.index(account.password) + slips) % len(PASSWORDS)]


class Machine(RuleBasedStateMachine):
    """Everything is asked by a new client that shows one credential at most, so that each is
    replayed as if stolen."""

    def __init__(
        self, site: Site, clock: Clock, subjects: dict[str, str], count: dict[str, int]
    ) -> None:
        super().__init__()
        self.site, self.clock, self.subjects, self.count = site, clock, subjects, count
        self.links: list[tuple[dict[str, str], Thing]] = []
        self.credentials: list[tuple[str, Thing]] = []
        self.challenges: list[tuple[str, Thing]] = []
        self.codes: list[tuple[str, str, Thing]] = []  # a challenge, the code of its mail
        self.apps: list[App] = []
        self.suspended: set[Account] = set()  # once at least
        self.model = Model(rows=site.Login is not None, now=clock.now)
        self.keys = [CONFIG["SECRET_KEY"]]
        self.set_keys()
        with site.app.app_context():
            for table in reversed(site.db.metadata.sorted_tables):
                site.db.session.execute(delete(table))
            site.db.session.commit()
        site.outbox.clear()
        count["sequences"] += 1

    # Asking, and comparing with the model

    def set_keys(self) -> None:
        self.site.app.config.update(
            SECRET_KEY=self.keys[self.model.keys[0]],
            SECRET_KEY_FALLBACKS=[self.keys[number] for number in reversed(self.model.keys[1:])],
        )

    def ask(
        self,
        endpoint: str,
        body: Any,
        in_the_model: Callable[[], None],
        by: tuple[str, Thing] | None = None,
        *,
        success: int = 200,
        **options: Any,
    ) -> dict[str, Any]:
        """Ask the API what the model is asked; the same must come of it. Return the body of a
        success."""
        expected: int | str = success
        try:
            in_the_model()
        except PermissionError as refused:
            expected = str(refused)
        client, headers = self.client(by)
        reply = client.open(
            f"/accounts/{endpoint}/", json=body, headers=headers, **{"method": "POST", **options}
        )
        self.count["steps"] += 1
        self.count[f"{endpoint}: {expected}"] += 1
        assert outcome(reply) == expected, (reply.status_code, reply.get_data(as_text=True))
        if expected == "step-required" and not by:
            assert "Set-Cookie" not in reply.headers
        body = reply.get_json(silent=True) or {}
        self.read_mails(body.get("challenge", ""))
        self.collect(reply, client)
        return body if reply.status_code < 400 else {}

    def client(self, by: tuple[str, Thing] | None) -> tuple[FlaskClient, dict[str, str]]:
        client = self.site.app.test_client()
        if by and by[1].kind == "token":
            return client, bearer(by[0])
        if by:
            client.set_cookie("session" if by[1].kind == "session" else "remember_token", by[0])
        return client, {}

    def read_mails(self, challenge: str) -> None:
        """The mails are the model's mails; their links are kept, and the code of a reset."""
        found = []
        for number, message in enumerate(self.site.outbox):
            mail = self.site.read(number)
            assert message.send_to == {mail["To"]}
            found.append((self.subjects[mail["Subject"]], mail["To"], links_of(mail)))
        mails = [each for each in self.model.news if each.kind not in LOGINS]
        assert [(kind, to) for kind, to, _ in found] == [(mail.kind, mail.to) for mail in mails]
        for (*_, links), meant in zip(found, mails, strict=True):
            assert bool(links) == (meant in self.model.alive)
            self.links += [(parameters(links[0]), meant)] if links else []
            if meant.kind == "reset_password":
                self.codes.append((challenge, self.site.outbox.latest_code(), meant))
        self.site.outbox.clear()

    def collect(self, reply: TestResponse, client: FlaskClient) -> None:
        """Keep what the reply gave: what the model gives, and no more."""
        given = {each.kind: each for each in self.model.news if each.kind in LOGINS}
        self.model.news.clear()
        body = reply.get_json(silent=True) or {}
        if "challenge" in given:
            self.challenges.append((body["challenge"], given.pop("challenge")))
        found: dict[str, str] = {"token": body.get("token", "")}
        if given:
            for kind, name in (("session", "session"), ("remember", "remember_token")):
                cookie = next(
                    (
                        value
                        for value in reply.headers.getlist("Set-Cookie")
                        if value.startswith(name)
                    ),
                    "",
                )
                found[kind] = cookie.partition("=")[2].partition(";")[0]
        assert {kind for kind, value in found.items() if value} == given.keys()
        self.credentials += [(found[kind], given[kind]) for kind in sorted(given)]

    # Who is there to begin with

    @initialize(typed=names, remember=maybe)
    def come_in(self, typed: str, remember: bool) -> None:
        """Somebody registers, verifies and logs in."""
        self.register(typed, f"{name_key(typed).encode().hex()}@x.org", PASSWORDS[0])
        if self.links and self.links[-1][1].kind == "register":
            self.post_link("register", *self.links[-1])
            self.log_in(0, False, False, remember)

    @rule(typed=names, remember=maybe)
    def another_comes_in(self, typed: str, remember: bool) -> None:
        self.come_in(typed, remember)

    # What strangers do

    @rule(typed=names, address=addresses, password=passwords)
    def register(self, typed: str, address: str, password: str) -> None:
        body = {
            "username": typed,
            "email": address,
            "password": password,
            "password_confirm": password,
        }
        name, email = name_key(typed), address_key(address)
        self.ask("register", body, lambda: self.model.register(name, email, password), success=201)

    @rule(address=addresses)
    def resend(self, address: str) -> None:
        found = self.model.find(email=address_key(address))
        self.ask(
            "resend-verification",
            {"email": address},
            lambda: self.model.ask_link("register", found),
        )

    @rule(typed=names)
    def ask_for_a_reset(self, typed: str) -> None:
        found = self.model.find(name=name_key(typed))
        self.ask(
            "send-reset-password-link",
            {"login": typed},
            lambda: self.model.ask_link("reset_password", found),
        )

    @precondition(lambda self: self.model.accounts)
    @rule(place=places, shout=maybe, slips=rarely, remember=maybe)
    def log_in(self, place: int, shout: bool, slips: bool, remember: bool, by: Any = None) -> None:
        account = latest(self.model.accounts, place)
        typed, password = (
            account.name.upper() if shout else account.name,
            typed_password(account, slips),
        )
        body = {"login": typed, "password": password, "remember": remember}
        more = ["remember"] if remember else []
        self.ask(
            "login",
            body,
            lambda: self.model.log_in(name_key(typed), password, by and by[1], *more),
            by,
        )

    # What anybody does who has a link

    @precondition(lambda self: self.links)
    @rule(kind=st.sampled_from(sorted(ENDPOINTS)), place=places, password=passwords, astray=rarely)
    def open_a_link(self, kind: str, place: int, password: str, astray: bool) -> None:
        links = [each for each in self.links if astray or each[1].use == kind]
        if links:
            self.post_link(kind, *latest(links, place), password)

    def post_link(
        self,
        kind: str,
        link: dict[str, str],
        mail: Thing,
        password: str = PASSWORDS[0],
        by: Any = None,
    ) -> None:
        body = {"email": "eve@x.org", **link, "password": password}
        self.ask(ENDPOINTS[kind], body, lambda: self.model.open(kind, mail, password), by)

    @precondition(lambda self: len(self.links) > 1)
    @rule(
        one=places,
        other=places,
        parts=st.sets(st.sampled_from(["user_id", "timestamp", "signature"]), min_size=1),
    )
    def swap_parts_of_two_links(self, one: int, other: int, parts: set[str]) -> None:
        (link, mail), (second, _) = latest(self.links, one), latest(self.links, other)
        mixed = {**link, **{name: second[name] for name in parts}}
        if mixed not in [known for known, _ in self.links]:
            body = {"email": "eve@x.org", "password": PASSWORDS[0], **mixed}
            self.ask(ENDPOINTS[mail.use], body, lambda: need(False, BAD_LINK))

    @precondition(lambda self: self.codes)
    @rule(one=places, other=places, astray=rarely, slips=rarely, password=passwords)
    def reset_by_code(self, one: int, other: int, astray: bool, slips: bool, password: str) -> None:
        """With the code of a mail; or of another one, or with none that ever was."""
        challenge, code, mail = latest(self.codes, one)
        if astray:
            code = latest(self.codes, other)[1]
        if slips:
            code = "BBBB-BBBB"
        is_right = code == mail_code(self.codes, mail)
        body = {"challenge": challenge, "code": code.lower(), "password": password}
        self.ask(
            "reset-password-code", body, lambda: self.model.reset_by_code(mail, is_right, password)
        )

    @precondition(lambda self: self.challenges)
    @rule(place=places, typed=typed_codes)
    def finish_the_login(self, place: int, typed: Any) -> None:
        challenge, login = latest(self.challenges, place)
        text, code = self.code(login.owner, typed)
        body = {"challenge": challenge, "code": text}
        self.ask("second-factor", body, lambda: self.model.finish_login(login, code))

    # What anybody does who has a session or a token

    @precondition(lambda self: self.credentials and self.model.accounts)
    @rule(which=places, place=places, slips=rarely, remember=maybe)
    def log_in_again(self, which: int, place: int, slips: bool, remember: bool) -> None:
        text, by = latest(self.credentials, which)
        if by.kind == "session":
            self.log_in(place, False, slips, remember, (text, by))

    @precondition(lambda self: self.credentials)
    @rule(which=places, revoke=maybe, everywhere=maybe)
    def log_out(self, which: int, revoke: bool, everywhere: bool) -> None:
        text, by = latest(self.credentials, which)
        body = {"revoke_token": revoke, "everywhere": everywhere}
        self.ask("logout", body, lambda: self.model.log_out(by, revoke, everywhere), (text, by))

    @precondition(lambda self: self.credentials)
    @rule(which=places, slips=rarely, new=passwords)
    def change_password(self, which: int, slips: bool, new: str) -> None:
        text, by = latest(self.credentials, which)
        old = typed_password(by.owner, slips)
        body = {"old_password": old, "password": new, "password_confirm": new}
        self.ask(
            "change-password", body, lambda: self.model.change_password(by, old, new), (text, by)
        )

    @precondition(lambda self: self.credentials)
    @rule(which=places, address=addresses, types=maybe, slips=rarely)
    def ask_to_move(self, which: int, address: str, types: bool, slips: bool) -> None:
        text, by = latest(self.credentials, which)
        password = typed_password(by.owner, slips) if types else None
        body = {"email": address, **({"password": password} if password else {})}
        self.ask(
            "register-email",
            body,
            lambda: self.model.ask_move(by, address_key(address), password),
            (text, by),
        )

    @precondition(lambda self: self.credentials)
    @rule(place=places, which=places)
    def move(self, place: int, which: int) -> None:
        """Not as the mover, whose session goes on; another's stays as it is."""
        shown = latest(self.credentials, which)
        links = [each for each in self.links if each[1].kind == "register_email"]
        if links:
            link, mail = latest(links, place)
            self.post_link(
                "register_email", link, mail, by=None if shown[1].owner is mail.owner else shown
            )

    @precondition(lambda self: self.credentials)
    @rule(address=addresses)
    def ask_to_move_and_move(self, address: str) -> None:
        self.ask_to_move(0, address, True, False)
        self.move(0, 0)

    @precondition(lambda self: self.credentials)
    @rule(which=places, types=maybe, slips=rarely)
    def delete(self, which: int, types: bool, slips: bool) -> None:
        text, by = latest(self.credentials, which)
        password = typed_password(by.owner, slips) if types else None
        body = {"password": password} if password else {}
        self.ask(
            "profile",
            body,
            lambda: self.model.delete(by, password),
            (text, by),
            success=204,
            method="DELETE",
        )

    # The second factor, with a session or a token

    def code(self, account: Account, typed: Any) -> tuple[str, Code]:
        """A code as it is typed, and what it is."""
        app = account.app or account.pending or (self.apps[-1] if self.apps else None)
        if app and isinstance(typed, int):
            interval = int(self.clock()) // INTERVAL + typed
            return pyotp.TOTP(app.secret).generate_otp(interval), (app, interval)
        papers = {"recovery": app.codes, "used": app.used_codes} if app else {}
        return (papers[typed][-1],) * 2 if papers.get(typed) else ("000000", None)

    @precondition(lambda self: self.credentials)
    @rule(which=places, types=maybe, slips=rarely)
    def add_an_app(self, which: int, types: bool, slips: bool) -> None:
        text, by = latest(self.credentials, which)
        password, app = typed_password(by.owner, slips) if types else None, App()
        body = {"password": password} if password else {}
        reply = self.ask("totp", body, lambda: self.model.add_app(by, password, app), (text, by))
        if reply:
            app.secret = reply["secret"]
            self.apps.append(app)

    @precondition(lambda self: self.credentials)
    @rule(which=places, typed=typed_codes)
    def confirm_an_app(self, which: int, typed: Any) -> None:
        text, by = latest(self.credentials, which)
        shown, code = self.code(by.owner, typed)
        reply = self.ask(
            "totp/confirm", {"code": shown}, lambda: self.model.confirm_app(by, code), (text, by)
        )
        if reply and by.owner.app:
            by.owner.app.codes = reply["recovery_codes"]

    @precondition(lambda self: self.credentials and not self.credentials[-1][1].owner.app)
    @rule()
    def add_and_confirm(self) -> None:
        self.add_an_app(0, True, False)
        self.confirm_an_app(0, 0)

    @precondition(lambda self: self.model.accounts)
    @rule(place=places, typed=typed_codes, remember=maybe)
    def log_in_with_a_code(self, place: int, typed: Any, remember: bool) -> None:
        """Log in to an account with an app, if there is one."""
        accounts = self.model.accounts
        protected = [each for each in accounts if each.app and each.active] or accounts
        self.log_in(accounts[::-1].index(latest(protected, place)), False, False, remember)
        if self.challenges:
            self.finish_the_login(0, typed)

    @precondition(lambda self: self.credentials)
    @rule(which=places, types=maybe, slips=rarely, typed=typed_codes)
    def remove_the_app(self, which: int, types: bool, slips: bool, typed: Any) -> None:
        text, by = latest(self.credentials, which)
        password = typed_password(by.owner, slips) if types else None
        shown, code = self.code(by.owner, typed)
        self.ask(
            "totp",
            {"code": shown, **({"password": password} if password else {})},
            lambda: self.model.remove_app(by, password, code),
            (text, by),
            method="DELETE",
        )

    @precondition(lambda self: self.credentials)
    @rule(which=places, types=maybe, slips=rarely)
    def renew_the_recovery_codes(self, which: int, types: bool, slips: bool) -> None:
        text, by = latest(self.credentials, which)
        password = typed_password(by.owner, slips) if types else None
        body = {"password": password} if password else {}
        reply = self.ask(
            "recovery-codes", body, lambda: self.model.renew_codes(by, password), (text, by)
        )
        if reply and by.owner.app:
            by.owner.app.used_codes += by.owner.app.codes
            by.owner.app.codes = reply["recovery_codes"]

    # What administrators and time do

    @precondition(lambda self: self.model.accounts)
    @rule(place=places, active=st.sampled_from([True, True, False]))
    def suspend_or_resume(self, place: int, active: bool) -> None:
        account = latest(self.model.accounts, place)
        if active:
            account.active = True
        else:
            self.suspended.add(account)
            self.model.change(account, spared="", active=False)
        self.site.change(self.site.user(username_key=account.name), is_active=active)

    @rule(
        seconds=st.sampled_from([1, 30, 60, 900, 901, DAY - 1, DAY, DAY + 1, 7 * DAY, 7 * DAY + 1])
    )
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)
        self.model.now = self.clock.now

    @rule()
    def rotate_the_key(self) -> None:
        self.keys.append(f"key {len(self.keys)} of the tests, long enough for anybody")
        self.model.keys.insert(0, len(self.keys) - 1)
        self.set_keys()

    @precondition(lambda self: len(self.model.keys) > 1)
    @rule()
    def drop_the_oldest_key(self) -> None:
        self.model.keys.pop()
        self.set_keys()

    @rule()
    def purge(self) -> None:
        self.model.accounts = [
            one for one in self.model.accounts if not self.model.has_expired(one)
        ]
        result = self.site.app.test_cli_runner().invoke(registration_cli, ["purge"])
        assert result.exit_code == 0, result.output
        if self.model.rows:
            assert all(as_utc(row.expires_at) >= utc_now() for row in logins(self.site))

    # What always holds

    @invariant()
    def accounts_are_the_models_accounts(self) -> None:
        def seen(one: Any, name: str, active: bool, verified: bool) -> tuple[Any, ...]:
            email = f"{PLACEHOLDER} {name}" if is_placeholder(one.email) else one.email
            return email, name, active, verified

        found = [
            seen(user, user.username_key, user.is_active, user.is_verified)
            for user in self.site.users()
        ]
        assert sorted(found) == sorted(
            seen(one, one.name, one.active, one.verified) for one in self.model.accounts
        )

    @invariant()
    def every_row_has_an_owner(self) -> None:
        """And is there for as long as it is good; those that a suspension ended may be left."""
        if self.model.rows:
            owners = {str(user.id): user.username_key for user in self.site.users()}
            rows = [
                row
                for row in logins(self.site)
                if owners[row.user_id] and as_utc(row.expires_at) >= utc_now()
            ]
            found = Counter((owners[row.user_id], row.kind) for row in rows)
            alive = [
                each
                for each in self.model.alive
                if each.kind in ("session", "token") and self.is_young(each)
            ]
            expected = Counter(
                (each.owner.name, each.kind) for each in alive if each.owner in self.model.accounts
            )
            assert expected <= found
            suspended = {one.name for one in self.suspended if one in self.model.accounts}
            assert {name for name, _ in found - expected} <= suspended

    def is_young(self, by: Thing) -> bool:
        return self.clock.now - by.born <= PERIODS[by.kind]

    @invariant()
    def the_latest_credentials_are_good_or_dead(self) -> None:
        for text, by in self.credentials[-2:]:
            self.check_credential(text, by)

    def check_credential(self, text: str, by: Thing) -> None:
        client, headers = self.client((text, by))
        reply = client.get("/accounts/profile/", headers=headers)
        self.count["credentials"] += 1
        assert outcome(reply) == (200 if self.model.is_good(by) else "not-authenticated"), by
        assert reply.status_code == 401 or reply.get_json()["email"] == by.owner.email

    def teardown(self) -> None:
        """Replay everything that was ever seen: what is dead stays dead, at every endpoint."""
        for text, by in self.credentials:
            self.check_credential(text, by)
        for link, mail in self.links:
            for kind in ENDPOINTS:
                self.count["replays"] += 1
                self.post_link(kind, link, mail)
        for place in range(len(self.challenges)):
            self.finish_the_login(place, 0)
        for place in range(len(self.codes)):
            self.reset_by_code(place, 0, False, False, PASSWORDS[0])
        self.accounts_are_the_models_accounts()
        self.every_row_has_an_owner()


def mail_code(codes: Sequence[tuple[str, str, Thing]], mail: Thing) -> str:
    return next(code for _, code, one in codes if one is mail)


def outcome(reply: TestResponse) -> int | str:
    """The status of what worked, the code of what did not."""
    assert reply.status_code < 500
    if reply.status_code < 400:
        return reply.status_code
    code = reply.get_json().get("code", REFUSED)
    return code if isinstance(code, str) else REFUSED  # a field may have this name


def subjects(site: Site) -> dict[str, str]:
    """The kind of a mail by its subject, as our templates have it."""
    with site.app.test_request_context():
        rendered = {
            name: site.app.jinja_env.get_template(f"registration/{name}/subject.txt")
            for name in site.app.extensions["registration"].emails
        }
        return {
            template.render(site_name="example.com", _=str.format, verification_url="x"): kind
            for kind, template in rendered.items()
        }


@pytest.fixture(autouse=True)
def many_codes_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_registration.auth.challenges.TRIES_PER_DAY", 10**6)


def run(site: Site, clock: Clock, examples: int) -> dict[str, int]:
    """Run so many sequences; how often each thing happened."""
    count: dict[str, int] = Counter()
    print(f"TEST_SEED={SEED}")
    known = subjects(site)

    @seed(SEED)
    def machine() -> Machine:
        return Machine(site, clock, known, count)

    factory: Any = machine  # a class or what makes one
    run_state_machine_as_test(
        factory,
        settings=hypothesis_settings(
            max_examples=examples, stateful_step_count=STEPS, deadline=None
        ),
    )
    for name in sorted(count):
        print(f"{count[name]:8} {name}")
    return count


@with_and_without_login_model
def test_whatever_happens_accounts_are_what_the_model_says(
    new_site: NewSite, clock: Clock, login_model: Any
) -> None:
    site = new_site(login_model=login_model, **SETTINGS)
    count = run(site, clock, EXAMPLES)
    assert count["steps"] > EXAMPLES


@with_and_without_login_model
def test_so_they_are_on_a_server(
    server_database: str, new_site: NewSite, clock: Clock, login_model: Any
) -> None:
    site = new_site(server_database, login_model=login_model, **SETTINGS)
    count = run(site, clock, max(1, EXAMPLES // 8))
    assert count["steps"] > EXAMPLES // 8
