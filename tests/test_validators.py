"""Policies for new e-mail addresses, usernames and passwords, and the hint about a typing error."""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from typing import Any

import dns.message
import dns.rcode
import dns.resolver
import dns.rrset
import pytest
from click.testing import CliRunner
from email_validator import caching_resolver
from flask import current_app
from flask.cli import ScriptInfo
from marshmallow import ValidationError
from marshmallow.validate import Length
from sqlalchemy import String
from sqlalchemy.orm import mapped_column, validates
from werkzeug.test import TestResponse

from flask_registration import (
    DEFAULT_FLOWS,
    ConfigurationError,
    InvitationMixin,
    UserMixin,
    actions,
    validators,
)
from flask_registration.auth.passwords import long_enough
from flask_registration.cli.base import registration_cli
from flask_registration.flows import invitations, sign_up
from flask_registration.http.suggestions import PROVIDERS, suggestion
from flask_registration.validators import (
    SkeletonMixin,
    allowed_domains,
    blocked_domains,
    deliverable,
    no_subaddress,
    not_breached,
    not_confusable,
    not_disposable,
    reserved_names,
)

from .flows.common import ask_move, forget_mails, has_password, member, undo_move
from .people import define_login, log_in
from .site import PASSWORD, Site, define, mixin_and
from .tables import each_row

NewSite = Callable[..., Site]
Act = Callable[[Site, str], dict[str, Any]]

FLOWS = [*DEFAULT_FLOWS, sign_up.flow, invitations.flow]
BLOCKED = ["E-mail addresses of this domain are not accepted. Use another one."]
RESERVED = ["This username is reserved. Choose another one."]
CONFUSABLE = ["This username looks like another one. Choose a different one."]
BREACHED = ["This password is known from a data breach. Choose another one."]


def define_invitation(db: Any) -> type[Any]:
    return type("Invitation", (InvitationMixin, db.Model), {"__tablename__": "invitations"})


@pytest.fixture
def make(new_site: NewSite) -> NewSite:
    """Make an application with sign-up and invitations."""

    def make(**settings: Any) -> Site:
        common: dict[str, Any] = {
            "flows": FLOWS,
            "other_models": [define_invitation],
            "MAIL_LIMITS": None,
            "MAY_INVITE": lambda user, data: True,
        }
        return new_site(**{**common, **settings})

    return make


def errors(reply: TestResponse) -> dict[str, Any]:
    """Return the errors of fields; nothing of a response that accepts them."""
    body: dict[str, Any] = reply.get_json()
    assert reply.status_code in (200, 201) or (reply.status_code == 400 and "code" not in body)
    return body if reply.status_code == 400 else {}


def refused(call: Callable[[], Any]) -> dict[str, Any]:
    """Return the errors that a function raises; nothing if it raises none."""
    try:
        call()
    except ValidationError as error:
        return dict(error.messages_dict)
    return {}


# Where an address becomes a value


def registering(site: Site, email: str) -> dict[str, Any]:
    return errors(site.register("bob", email=email))


def signing_up(site: Site, email: str) -> dict[str, Any]:
    return errors(site.post("sign-up", {"email": email}))


def changing(site: Site, email: str) -> dict[str, Any]:
    member(site, "carol")
    return errors(site.post("register-email", {"email": email}, client=log_in(site, "carol")))


def inviting(site: Site, email: str) -> dict[str, Any]:
    member(site, "carol")
    return errors(site.post("invitations", {"email": email}, client=log_in(site, "carol")))


def creating(site: Site, email: str) -> dict[str, Any]:
    with site.app.app_context():
        create = site.registration.create_user
        return refused(lambda: create(username="bob", email=email, password=PASSWORD))


def creating_by_action(site: Site, email: str) -> dict[str, Any]:
    with site.app.app_context():
        create = actions.create_user
        return refused(lambda: create(username="bob", email=email, password=PASSWORD))


def run_command(site: Site, *arguments: str) -> str:
    result = CliRunner().invoke(
        registration_cli, arguments, input=PASSWORD, obj=ScriptInfo(create_app=lambda: site.app)
    )
    return str(result.output)


def creating_by_command(site: Site, email: str) -> dict[str, Any]:
    options = ["--username", "bob", "--email", email, "--password-stdin"]
    printed = run_command(site, "create-user", *options)
    return {"email": BLOCKED} if BLOCKED[0] in printed else {}


@each_row(
    "act",
    [
        registering,
        signing_up,
        changing,
        inviting,
        creating,
        creating_by_action,
        creating_by_command,
    ],
)
def test_every_way_to_a_new_address_asks_the_validators(make: NewSite, act: Act) -> None:
    site = make(EMAIL_VALIDATORS=[blocked_domains("bad.example")])
    assert act(site, "bob@mail.BAD.example") == {"email": BLOCKED}
    assert site.user(username="bob") is None
    assert [mail.recipients for mail in site.outbox] == []


@each_row(
    "act",
    [
        registering,
        signing_up,
        changing,
        inviting,
        creating,
        creating_by_action,
        creating_by_command,
    ],
)
def test_the_same_ways_are_open_to_another_address(make: NewSite, act: Act) -> None:
    site = make(EMAIL_VALIDATORS=[blocked_domains("bad.example")])
    assert act(site, "bob@good.example") == {}


def test_a_change_without_a_verification_asks_them_too(make: NewSite) -> None:
    site = make(
        EMAIL_VALIDATORS=[blocked_domains("bad.example")],
        REGISTER_EMAIL_VERIFICATION_ENABLED=False,
    )
    assert changing(site, "bob@bad.example") == {"email": BLOCKED}


def test_a_link_of_a_sign_up_is_no_way_around_a_new_policy(make: NewSite) -> None:
    asked: list[tuple[str, Any]] = []
    site = make(EMAIL_VALIDATORS=[closing(asked)])
    assert signing_up(site, "bob@example.com") == {}
    asked.append(("closed", None))
    twice = {"password": PASSWORD, "password_confirm": PASSWORD}
    reply = site.post("finish-sign-up", {**site.link(), "username": "bob", **twice})
    assert errors(reply) == {"email": ["Closed."]}
    del asked[:]
    reply = site.post("finish-sign-up", {**site.link(), "username": "bob", **twice})
    assert reply.status_code == 201, "the link stays valid"
    assert asked == [("bob@example.com", None)], "it is judged once"


def closing(asked: list[tuple[str, Any]]) -> Callable[..., None]:
    """Return a validator that keeps what it is asked, and refuses all when it is closed."""

    def validate(value: str, *, settings: Any, user: Any, **kwargs: Any) -> None:
        assert settings.email_validators, "it receives the settings"
        if ("closed", None) in asked:
            raise ValidationError("Closed.")
        asked.append((value, user and user.username))

    return validate


def test_validators_receive_the_normal_form_and_the_account(make: NewSite) -> None:
    asked: list[tuple[str, Any]] = []
    site = make(EMAIL_VALIDATORS=[closing(asked)])
    assert registering(site, " Bob@EXAMPLE.com") == {}
    assert asked == [("bob@example.com", None)]
    del asked[:]
    member(site, "carol")
    client = log_in(site, "carol")
    del asked[:]
    assert site.post("register-email", {"email": "New@x.org"}, client=client).status_code == 200
    assert asked == [("new@x.org", "carol")]


def test_the_first_validator_that_refuses_ends_the_list(make: NewSite) -> None:
    asked: list[tuple[str, Any]] = []
    site = make(EMAIL_VALIDATORS=[blocked_domains("bad.example"), closing(asked)])
    assert registering(site, "bob@bad.example") == {"email": BLOCKED}
    assert asked == []


def test_an_invalid_address_is_not_judged_and_all_fields_are_reported_at_once(
    make: NewSite,
) -> None:
    asked: list[tuple[str, Any]] = []
    site = make(EMAIL_VALIDATORS=[closing(asked)])
    reply = site.register("admin", email="no address", password="short")
    assert errors(reply).keys() == {"username", "email", "password"}
    assert asked == []


# Accounts that exist


def test_accounts_that_exist_are_not_judged(make: NewSite) -> None:
    asked: list[tuple[str, Any]] = []
    site = make(EMAIL_VALIDATORS=[closing(asked)], login_model=define_login)
    member(site)
    site.register("bob")
    forget_mails(site)
    asked.append(("closed", None))
    assert site.post("resend-verification", {"login": "bob"}).status_code == 200
    assert site.verify().status_code == 200
    client = log_in(site)
    assert client.patch("/accounts/profile/", json={"first_name": "Al"}).status_code == 200
    assert site.post("send-reset-password-link", {"email": "alice@example.com"}).status_code == 200
    twice = {"password": "another set of words 42", "password_confirm": "another set of words 42"}
    assert site.post("reset-password", {**site.link(), **twice}).status_code == 200
    assert has_password(site, "another set of words 42")


def test_one_s_own_address_is_unchanged_whatever_the_policy_says(make: NewSite) -> None:
    asked: list[tuple[str, Any]] = []
    site = make(EMAIL_VALIDATORS=[closing(asked)])
    member(site)
    client = log_in(site)
    asked.append(("closed", None))
    reply = site.post("register-email", {"email": "Alice@example.com"}, client=client)
    assert errors(reply) == {"email": ["This is your e-mail address already."]}
    reply = site.post("register-email", {"email": "new@example.com"}, client=client)
    assert errors(reply) == {"email": ["Closed."]}


def test_a_change_that_was_asked_for_can_be_finished_and_undone(make: NewSite) -> None:
    asked: list[tuple[str, Any]] = []
    site = make(EMAIL_VALIDATORS=[closing(asked)], login_model=define_login)
    member(site)
    client = log_in(site)
    link = ask_move(site, client, "new@example.com")
    asked.append(("closed", None))
    assert site.post("verify-email", link, client=client).status_code == 200
    assert undo_move(site, site.link()).status_code == 200
    assert site.user().email == "alice@example.com"


# What the answers reveal


def test_the_answer_does_not_depend_on_whether_an_account_exists(make: NewSite) -> None:
    site = make(EMAIL_VALIDATORS=[blocked_domains("bad.example")])
    member(site)
    site.change(site.user(), email="taken@bad.example")
    member(site, "carol")
    client = log_in(site, "carol")
    for endpoint in ("sign-up", "register-email"):
        answers: dict[str, Callable[[], TestResponse]] = {
            name: lambda name=name, endpoint=endpoint: site.post(  # type: ignore[misc]
                endpoint, {"email": f"{name}@bad.example"}, client=client
            )
            for name in ("taken", "other")
        }
        site.assert_uniform_answers(**answers)
        with site.statements() as taken:
            assert errors(answers["taken"]()) == {"email": BLOCKED}
        with site.statements() as free:
            assert errors(answers["other"]()) == {"email": BLOCKED}
        assert taken == free
    with site.statements() as taken:
        assert registering(site, "taken@bad.example") == {"email": BLOCKED}
    with site.statements() as free:
        assert registering(site, "other@bad.example") == {"email": BLOCKED}
    assert taken == free
    assert not any("users" in statement for statement in taken), "an account was looked up"


# Domains


def chosen(email: str, **kwargs: Any) -> None:
    """Ask the validator that a test has chosen."""
    current_app.config["CHOSEN"](email, **kwargs)


@pytest.fixture
def choosing(new_site: NewSite) -> Site:
    """Return a site whose validator a test can choose in each row."""
    return new_site(EMAIL_VALIDATORS=[chosen])


@each_row(
    ("listed", "domain", "is_of"),
    [
        ("example.com", "example.com", True),
        ("example.com", "EXAMPLE.com", True),
        ("Example.COM", "example.com", True),
        ("example.com", "eu.mail.example.com", True),
        ("example.com", "notexample.com", False),
        ("example.com", "example.com.evil.org", False),
        ("mail.example.com", "example.com", False),
        ("münchen.de", "münchen.de", True),
        ("münchen.de", "xn--mnchen-3ya.de", True),
        ("xn--mnchen-3ya.de", "post.MÜNCHEN.de", True),
        ("straße.de", "strasse.de", False),
        ("ru", "example.ru", True),
        ("ru", "example.guru", False),
    ],
)
def test_a_domain_includes_its_subdomains_and_has_one_form(
    choosing: Site, listed: str, domain: str, is_of: bool
) -> None:
    site = choosing
    text = f"Use an e-mail address of example.net, {listed}."
    site.app.config["CHOSEN"] = allowed_domains("example.net", listed)
    assert creating(site, f"bob@{domain}") == ({} if is_of else {"email": [text]})
    site.app.config["CHOSEN"] = blocked_domains("example.net", listed)
    assert creating(site, f"bob@{domain}") == ({"email": BLOCKED} if is_of else {})


@each_row(
    "domains",
    [(), ("",), ("@example.com",), ("*.example.com",), ("a b.example",), (["example.com"],), (5,)],
)
@each_row("maker", [allowed_domains, blocked_domains])
def test_what_is_no_domain_is_refused_where_it_is_written(maker: Any, domains: Any) -> None:
    with pytest.raises(ValueError, match="is not a domain"):
        maker(*domains)


@each_row(
    ("email", "accepted"),
    [
        ("bob@mailinator.com", False),
        ("bob@eu.mailinator.com", False),
        ("bob@gmail.com", True),
        ("bob@example.com", True),
    ],
)
def test_services_for_disposable_addresses_are_refused(
    choosing: Site, email: str, accepted: bool
) -> None:
    site = choosing
    site.app.config["CHOSEN"] = not_disposable
    text = "Disposable e-mail addresses are not accepted. Use a permanent one."
    assert creating(site, email) == ({} if accepted else {"email": [text]})


@each_row(
    ("email", "accepted"),
    [("bob+news@example.com", False), ("bob-news@example.com", True), ("bob@a-b.example", True)],
)
def test_subaddresses_are_refused(choosing: Site, email: str, accepted: bool) -> None:
    site = choosing
    site.app.config["CHOSEN"] = no_subaddress
    text = "Use your e-mail address without the part from + to @."
    assert creating(site, email) == ({} if accepted else {"email": [text]})


# Deliverability

#: The records of the local name server. A name without any does not exist.
RECORDS = {
    "mx.example.": ["MX 10 mail.mx.example."],
    "null.example.": ["MX 0 ."],
    "host.example.": ["A 93.184.215.14"],
    "private.example.": ["A 10.0.0.1"],
    "reject.example.": ["A 93.184.215.14", 'TXT "v=spf1 -all"'],
    "text.example.": ['TXT "nothing else"'],
    "xn--mnchen-3ya.example.": ["MX 10 mail.mx.example."],
    "broken.example.": ["SERVFAIL"],
    "silent.example.": ["SILENT"],
    "garbage.example.": ["GARBAGE"],
}

UNDELIVERABLE = ["This domain receives no e-mail. Check the e-mail address."]


def answer_query(wire: bytes) -> bytes | None:
    query = dns.message.from_wire(wire)
    (question,) = query.question
    records = RECORDS.get(str(question.name).lower())
    reply = dns.message.make_response(query)
    if records is None:
        reply.set_rcode(dns.rcode.NXDOMAIN)
    elif records == ["SERVFAIL"]:
        reply.set_rcode(dns.rcode.SERVFAIL)
    elif records == ["SILENT"]:
        return None
    elif records == ["GARBAGE"]:
        return b"no message"
    for kind, _, data in (record.partition(" ") for record in records or []):
        if kind == dns.rdatatype.to_text(question.rdtype):
            reply.answer.append(dns.rrset.from_text(question.name, 300, "IN", kind, data))
    return reply.to_wire()


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[dns.resolver.Resolver]:
    """Ask a name server of this test, on a port of this host."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            wire, client = server.recvfrom(4096)
            if wire == b"stop":
                return
            if reply := answer_query(wire):
                server.sendto(reply, client)

    thread = threading.Thread(target=serve)
    thread.start()
    local = dns.resolver.Resolver(configure=False)
    local.nameservers, local.port = ["127.0.0.1"], server.getsockname()[1]
    asked: Any = caching_resolver(timeout=1, dns_resolver=local)
    monkeypatch.setattr(validators, "_resolver", lambda: asked)
    yield asked
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"stop", server.getsockname())
    thread.join()
    server.close()


@pytest.fixture
def mailing(make: NewSite) -> Site:
    """Return a site that queries DNS, as in production."""
    site = make(EMAIL_VALIDATORS=[deliverable])
    site.app.config["TESTING"] = False
    return site


@each_row(
    ("domain", "accepted", "logged"),
    [
        ("mx.example", True, False),
        ("null.example", False, False),
        ("host.example", True, False),
        ("private.example", False, False),
        ("reject.example", False, False),
        ("text.example", False, False),
        ("missing.example", False, False),
        ("münchen.example", True, False),
        ("broken.example", True, True),
        ("silent.example", True, True),
        ("garbage.example", True, True),
    ],
)
def test_a_domain_must_receive_e_mail_as_far_as_dns_says(
    mailing: Site,
    resolver: Any,
    caplog: pytest.LogCaptureFixture,
    domain: str,
    accepted: bool,
    logged: bool,
) -> None:
    started = time.monotonic()
    assert creating(mailing, f"bob@{domain}") == ({} if accepted else {"email": UNDELIVERABLE})
    assert time.monotonic() - started < validators.DNS_TIMEOUT + 0.5
    assert ("was not checked by DNS" in caplog.text) == logged
    assert "bob" not in caplog.text


def test_an_address_is_accepted_if_no_name_server_is_configured(
    mailing: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unconfigured() -> Any:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr(validators, "_resolver", unconfigured)
    assert creating(mailing, "bob@missing.example") == {}
    assert "was not checked by DNS" in caplog.text


def test_name_servers_that_are_all_slow_stop_no_request(
    mailing: Site, resolver: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(validators, "DNS_TIMEOUT", 0.3)
    real = resolver.resolve
    ended = threading.Event()

    def resolve(*arguments: Any) -> Any:
        ended.wait(0.25)  # each is in time, but not all together
        return real(*arguments)

    monkeypatch.setattr(resolver, "resolve", resolve)
    assert creating(mailing, "bob@text.example") == {}
    assert "The domain text.example was not checked by DNS: TimeoutError()" in caplog.text
    ended.set()


def test_a_failure_that_says_nothing_about_the_domain_accepts_the_address(
    mailing: Site, resolver: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def resolve(*arguments: Any) -> Any:
        raise OSError("no network")

    monkeypatch.setattr(resolver, "resolve", resolve)
    assert creating(mailing, "bob@missing.example") == {}
    assert "no network" in caplog.text


def test_the_resolver_has_a_time_limit_and_a_small_cache() -> None:
    made = validators._resolver()
    assert made is validators._resolver()
    assert (made.lifetime, made.cache.max_size) == (validators.DNS_TIMEOUT, 1000)


def test_tests_of_an_application_query_no_name_server(mailing: Site, resolver: Any) -> None:
    mailing.app.config["TESTING"] = True
    resolver.nameservers = []
    assert creating(mailing, "bob@missing.example") == {}


# Reserved usernames


def renaming(site: Site, username: str) -> dict[str, Any]:
    member(site, "carol")
    client = log_in(site, "carol")
    body = {"username": username, "password": PASSWORD}
    return errors(client.patch("/accounts/profile/", json=body))


def registering_name(site: Site, username: str) -> dict[str, Any]:
    return errors(site.register(username, email="bob@example.com"))


def accepting(site: Site, username: str) -> dict[str, Any]:
    assert inviting(site, "bob@example.com") == {}
    body = {"username": username, "password": PASSWORD, "password_confirm": PASSWORD}
    return errors(site.post("accept-invitation", {**site.link(), **body}))


def finishing(site: Site, username: str) -> dict[str, Any]:
    assert signing_up(site, "bob@example.com") == {}
    body = {"username": username, "password": PASSWORD, "password_confirm": PASSWORD}
    return errors(site.post("finish-sign-up", {**site.link(), **body}))


@each_row("username", ["admin", "Admin", "ＡＤＭＩＮ", "postmaster", ".well-known", "WWW"])
@each_row("act", [registering_name, finishing, accepting, renaming])
def test_no_client_chooses_a_reserved_username(make: NewSite, act: Act, username: str) -> None:
    site = make()
    assert act(site, username) == {"username": RESERVED}
    has_carol = act in (accepting, renaming)
    assert [user.username for user in site.users()] == (["carol"] if has_carol else [])


@each_row("act", [registering_name, finishing, accepting, renaming])
def test_names_that_only_contain_a_reserved_one_are_free(make: NewSite, act: Act) -> None:
    assert act(make(), "administrators-friend") == {}


def test_the_application_and_administrators_choose_any_username(make: NewSite) -> None:
    site = make()
    with site.app.app_context():
        site.registration.create_user(username="root", email="r@example.com", password=PASSWORD)
        site.db.session.commit()
        actions.create_user(username="support", email="s@example.com", password=PASSWORD)
    options = ["--username", "admin", "--email", "a@example.com", "--password-stdin"]
    assert "Created admin" in run_command(site, "create-user", *options)
    assert [user.username for user in site.users()] == ["root", "support", "admin"]
    assert site.post("login", {"login": "admin", "password": PASSWORD}).status_code == 200


def test_who_has_a_reserved_name_keeps_it_and_changes_the_rest(make: NewSite) -> None:
    site = make()
    member(site, "admin")
    client = log_in(site, "admin")
    body = {"username": "admin", "first_name": "Al", "last_name": "L"}
    reply = client.put("/accounts/profile/", json=body)
    assert (reply.status_code, reply.get_json()["first_name"]) == (200, "Al")


def test_a_site_can_reserve_other_names_or_none(make: NewSite) -> None:
    def no_cats(username: str, **kwargs: Any) -> None:
        if "cat" in username:
            raise ValidationError("No cats.")

    site = make(USERNAME_VALIDATORS=[no_cats])
    assert registering_name(site, "cat") == {"username": ["No cats."]}
    assert registering_name(site, "admin") == {}
    assert registering_name(make(USERNAME_VALIDATORS=[]), "admin") == {}


def test_a_model_without_usernames_has_no_reserved_ones(new_site: NewSite) -> None:
    from flask_registration import EmailUserMixin

    site = new_site(define=define(EmailUserMixin, LOGIN_FIELDS=["email"]))
    body = {"email": "admin@example.com", "password": PASSWORD, "password_confirm": PASSWORD}
    assert site.post("register", body).status_code == 201


def test_the_list_has_names_in_the_form_in_which_they_are_compared() -> None:
    from flask_registration.users.identifiers import username_key
    from flask_registration.users.reserved import NAMES
    from flask_registration.users.reserved import RESERVED as LISTED

    assert {username_key(name) for name in LISTED} == LISTED
    assert len(NAMES.split()) == len(LISTED), "a name stands in the list twice"
    rfc_2142 = "info marketing sales support abuse noc security postmaster hostmaster usenet news"
    assert {*rfc_2142.split(), "webmaster", "www", "uucp", "ftp"} <= LISTED


# Usernames that look alike

with_skeletons = define(SkeletonMixin, UserMixin)
LOOK_ALIKES = {"define": with_skeletons, "USERNAME_VALIDATORS": [reserved_names, not_confusable]}


@each_row(
    ("username", "message"),
    [
        ("pаypal", CONFUSABLE),
        ("PаYPAL", CONFUSABLE),
        ("paypaI", CONFUSABLE),  # with a capital i
        ("paypa1", CONFUSABLE),
        ("ρаураl", CONFUSABLE),
        ("paypal", ["A user with this username already exists."]),
        ("PayPal", ["A user with this username already exists."]),
        ("paypol", None),
        ("аdmin", CONFUSABLE),
        ("admin", RESERVED),
    ],
)
@each_row("act", [registering_name, finishing, accepting, renaming])
def test_names_that_look_like_another_are_refused(
    make: NewSite, act: Act, username: str, message: list[str] | None
) -> None:
    site = make(**LOOK_ALIKES)
    member(site, "PAYPAL", email="pp@example.com")
    found = act(site, username)
    assert found.keys() == ({"username"} if message else set())
    if message and "already" not in message[0]:
        assert found == {"username": message}
    elif message:
        assert found["username"] != CONFUSABLE


def test_an_account_may_take_a_name_that_looks_like_its_own(make: NewSite) -> None:
    site = make(**LOOK_ALIKES)
    member(site, "bob", email="b@example.com")
    client = log_in(site, "bob")
    reply = client.patch("/accounts/profile/", json={"username": "b0b", "password": PASSWORD})
    assert (reply.status_code, reply.get_json()["username"]) == (200, "b0b")
    assert registering_name(site, "bоb") == {"username": CONFUSABLE}
    reply = client.patch("/accounts/profile/", json={"username": "rob", "password": PASSWORD})
    assert reply.status_code == 200
    stored = site.user(username="rob").username_skeleton
    assert stored == hashlib.sha256(b"rob").hexdigest(), "the skeleton changes with the name"


def test_the_application_s_own_validator_of_the_column_runs_beside_it(make: NewSite) -> None:
    def strict(self: Any, key: str, value: str) -> str:
        if value == "bad":
            raise ValueError("Not this one.")
        return value

    base = type("Base", (SkeletonMixin, UserMixin), {"strict": validates("username")(strict)})
    site = make(**{**LOOK_ALIKES, "define": define(base)})
    assert registering_name(site, "bad") == {"username": ["Not this one."]}
    assert registering_name(site, "good") == {}
    assert registering_name(site, "g00d") == {"username": CONFUSABLE}


def test_no_client_and_no_command_sets_the_skeleton(make: NewSite) -> None:
    site = make(**LOOK_ALIKES)
    site.register("bob", username_skeleton="x")
    assert site.user().username_skeleton == hashlib.sha256(b"bob").hexdigest()
    assert "skeleton" not in run_command(site, "create-user", "--help")


def test_rows_from_before_the_column_are_filled_by_assigning_the_name(make: NewSite) -> None:
    site = make(**LOOK_ALIKES)
    member(site, "bob")
    site.change(site.user(), username_skeleton=None)
    assert registering_name(site, "b0b") == {}
    site.change(site.user(username="bob"), username="bob")
    assert errors(site.register("bоb", email="c@example.com")) == {"username": CONFUSABLE}


@each_row(
    ("one", "other", "same"),
    [
        ("rn", "m", True),
        ("ﬁ", "fi", True),
        ("é", "e\u0301", True),
        ("l1I|", "llll", True),
        ("О0O", "OOO", True),
        ("ѕсоре", "scope", True),
        ("a", "b", False),
        ("ö", "o", False),
    ],
)
def test_skeletons_are_those_of_uts_39(one: str, other: str, same: bool) -> None:
    assert (validators.skeleton(one) == validators.skeleton(other)) == same


# Passwords in breaches

KNOWN = "correct horse battery stapled"


def digest_of(password: str) -> str:
    return hashlib.sha1(password.encode()).hexdigest().upper()


class RangeAPI:
    """A range API on a port of this host."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.status, self.delay, self.body = 200, 0.0, ""
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                api.requests.append((self.path, dict(self.headers)))
                time.sleep(api.delay)
                self.send_response(api.status)
                self.end_headers()
                self.wfile.write(api.body.encode())

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/range"


@pytest.fixture
def api() -> Iterator[RangeAPI]:
    made = RangeAPI()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    made.body = f"{'0' * 35}:0\r\n{digest_of(KNOWN)[5:]}:42\r\n{'F' * 35}:3"
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def checking(make: NewSite, api: RangeAPI) -> Site:
    """Return a site that asks the API, as in production."""
    site = make(PASSWORD_VALIDATORS=[long_enough, not_breached], BREACHED_PASSWORDS_URL=api.url)
    site.app.config["TESTING"] = False
    return site


def creating_with(site: Site, password: str) -> dict[str, Any]:
    with site.app.app_context():
        create = site.registration.create_user
        return refused(lambda: create(username="bob", email="b@example.com", password=password))


def test_a_password_of_a_breach_is_refused_and_only_five_digits_leave(
    checking: Site, api: RangeAPI
) -> None:
    assert creating_with(checking, KNOWN) == {"password": BREACHED}
    ((path, headers),) = api.requests
    assert path == f"/range/{digest_of(KNOWN)[:5]}"
    assert headers["Add-Padding"] == "true"
    assert headers["User-Agent"] == "Flask-Registration"
    assert creating_with(checking, PASSWORD) == {}
    assert len(api.requests) == 2


def test_a_new_password_is_asked_about_in_every_flow(checking: Site, api: RangeAPI) -> None:
    assert errors(checking.register("bob", password=KNOWN)) == {"password": BREACHED}
    member(checking)
    client = log_in(checking)
    twice = {"password": KNOWN, "password_confirm": KNOWN}
    reply = checking.post("change-password", {"old_password": PASSWORD, **twice}, client=client)
    assert errors(reply) == {"password": BREACHED}
    checking.app.config["TESTING"] = True
    link_of = checking.post("send-reset-password-link", {"login": "alice"})
    assert link_of.status_code == 200
    link = checking.link()
    checking.app.config["TESTING"] = False
    assert errors(checking.post("reset-password", {**link, **twice})) == {"password": BREACHED}
    assert has_password(checking, PASSWORD)


def test_a_login_asks_nothing(checking: Site, api: RangeAPI) -> None:
    checking.app.config["TESTING"] = True
    member(checking, password=KNOWN)
    checking.app.config["TESTING"] = False
    assert has_password(checking, KNOWN)
    assert api.requests == []


@each_row("body", ["{suffix}:0", "{suffix}:000", "{suffix}:", "{suffix}", "", "<html>", "\xff"])
def test_padding_and_an_unexpected_response_refuse_no_password(
    checking: Site, api: RangeAPI, body: str
) -> None:
    api.body = body.format(suffix=digest_of(KNOWN)[5:])
    assert creating_with(checking, KNOWN) == {}


def test_the_digits_of_a_response_may_be_small(checking: Site, api: RangeAPI) -> None:
    api.body = f"{digest_of(KNOWN)[5:].lower()}:1"
    assert creating_with(checking, KNOWN) == {"password": BREACHED}


def stopped(site: Site, api: RangeAPI) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    api.url = f"http://127.0.0.1:{port}"


def failing(site: Site, api: RangeAPI) -> None:
    api.status = 503


def slow(site: Site, api: RangeAPI) -> None:
    api.delay = 1.5


@each_row("fault", [stopped, failing, slow])
def test_a_password_is_accepted_if_the_api_fails_or_is_slow(
    make: NewSite,
    api: RangeAPI,
    fault: Callable[[Site, RangeAPI], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    fault(make(), api)
    site = make(PASSWORD_VALIDATORS=[not_breached], BREACHED_PASSWORDS_URL=api.url)
    site.app.config["TESTING"] = False
    started = time.monotonic()
    assert creating_with(site, KNOWN) == {}
    assert time.monotonic() - started < 1.4
    (logged,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert logged.getMessage().startswith("A password was not checked for breaches: ")
    for secret in (KNOWN, digest_of(KNOWN)[:5], api.url):
        assert secret not in logged.getMessage()
    api.status, api.delay = 200, 0.0


def test_a_host_that_is_looked_up_too_slowly_stops_no_request(
    make: NewSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: ended.wait(5))
    site = make(PASSWORD_VALIDATORS=[not_breached])
    site.app.config["TESTING"] = False
    started = time.monotonic()
    assert creating_with(site, KNOWN) == {}
    assert time.monotonic() - started < 1.4
    ended.set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_worker_that_a_server_forks_asks_as_well() -> None:
    script = (
        "import os\n"
        "from flask_registration.validators import _in_time\n"
        "def ask(): return 'asked'\n"
        "_in_time(1, ask)\n"
        "child = os.fork()\n"
        "if child == 0: os._exit(0 if _in_time(1, ask) == 'asked' else 1)\n"
        "print(os.waitpid(child, 0)[1])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "0\n"


def test_tests_of_an_application_ask_no_api(checking: Site, api: RangeAPI) -> None:
    checking.app.config["TESTING"] = True
    assert creating_with(checking, KNOWN) == {}
    assert api.requests == []


def test_the_default_is_have_i_been_pwned(make: NewSite) -> None:
    from flask_registration.auth.passwords import PasswordSettings

    state = make().app.extensions["registration"]
    url = state.group(PasswordSettings).breached_passwords_url
    assert url == "https://api.pwnedpasswords.com/range/"


# Checks


@contextmanager
def without(library: str) -> Iterator[None]:
    """Hide an installed library."""
    with pytest.MonkeyPatch.context() as patch:
        names = {name for _, name, _ in validators.OWN.values() if name}
        finds = {name: find_spec(name) for name in names}
        finds[library] = None
        patch.setitem(vars(validators), "find_spec", finds.get)
        yield


EMAILS, NAMES = "REGISTRATION_EMAIL_VALIDATORS", "REGISTRATION_USERNAME_VALIDATORS"


@each_row(
    ("settings", "id", "subject", "hint"),
    [
        ({"EMAIL_VALIDATORS": [5]}, "registration.E001", EMAILS, "Correct it"),
        ({"EMAIL_VALIDATORS": ["no.such.module"]}, "registration.E001", EMAILS, "Correct it"),
        (
            {"EMAIL_VALIDATORS": [allowed_domains]},
            "registration.E074",
            EMAILS,
            "Declare its parameters as (value, *, settings, **kwargs).",
        ),
        (
            {"EMAIL_VALIDATORS": ["flask_registration.validators.blocked_domains"]},
            "registration.E074",
            EMAILS,
            "Declare its parameters as (value, *, settings, **kwargs).",
        ),
        (
            {"USERNAME_VALIDATORS": [Length(max=5)]},
            "registration.E074",
            NAMES,
            "Declare its parameters as (value, *, settings, **kwargs).",
        ),
        (
            {"PASSWORD_VALIDATORS": [lambda password: None]},
            "registration.E074",
            "REGISTRATION_PASSWORD_VALIDATORS",
            "Declare its parameters as (value, *, settings, **kwargs).",
        ),
        (
            {"EMAIL_VALIDATORS": [not_breached]},
            "registration.E075",
            EMAILS,
            "Move it to REGISTRATION_PASSWORD_VALIDATORS.",
        ),
        (
            {"USERNAME_VALIDATORS": [no_subaddress]},
            "registration.E075",
            NAMES,
            "Move it to REGISTRATION_EMAIL_VALIDATORS.",
        ),
        (
            {"PASSWORD_VALIDATORS": [reserved_names]},
            "registration.E075",
            "REGISTRATION_PASSWORD_VALIDATORS",
            "Move it to REGISTRATION_USERNAME_VALIDATORS.",
        ),
        (
            {"USERNAME_VALIDATORS": [not_confusable]},
            "registration.E072",
            "User.username_skeleton",
            "Derive the model from flask_registration.validators.SkeletonMixin as well, and add "
            "the column to the table.",
        ),
        (
            {"PASSWORD_VALIDATORS": [not_breached], "BREACHED_PASSWORDS_URL": "file:///etc/"},
            "registration.E073",
            "REGISTRATION_BREACHED_PASSWORDS_URL",
            'Set it to the URL of a range API, such as "https://api.pwnedpasswords.com/range/".',
        ),
    ],
)
def test_a_validator_that_cannot_work_is_an_error(
    new_site: NewSite, settings: dict[str, Any], id: str, subject: str, hint: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        new_site(**settings)
    (finding,) = caught.value.findings
    assert (finding.id, finding.subject) == (id, subject)
    assert finding.hint.startswith(hint)


@each_row(
    ("settings", "library", "extra"),
    [
        ({"EMAIL_VALIDATORS": [not_disposable]}, "disposable_email_domains", "disposable"),
        (LOOK_ALIKES, "confusable_homoglyphs", "confusables"),
    ],
)
def test_a_missing_library_is_named_with_the_command_that_installs_it(
    new_site: NewSite, settings: dict[str, Any], library: str, extra: str
) -> None:
    with without(library), pytest.raises(ConfigurationError) as caught:
        new_site(**settings)
    (finding,) = caught.value.findings
    assert finding.id == "registration.E076"
    assert finding.hint == f'Install it: pip install "Flask-Registration[{extra}]".'


@dataclass
class LongNames:
    """A validator that has no hash."""

    minimum: int

    def __call__(self, username: str, **kwargs: Any) -> None:
        if len(username) < self.minimum:
            raise ValidationError("Too short.")


def test_an_object_can_be_a_validator(make: NewSite) -> None:
    site = make(USERNAME_VALIDATORS=[LongNames(4), reserved_names])
    assert registering_name(site, "bob") == {"username": ["Too short."]}
    assert registering_name(site, "bobby") == {}


def test_validators_can_be_given_as_import_strings(make: NewSite) -> None:
    site = make(EMAIL_VALIDATORS=["flask_registration.validators.no_subaddress"])
    assert creating(site, "a+b@example.com").keys() == {"email"}


def test_an_application_without_validators_imports_none() -> None:
    script = (
        "import sys, tests.site as site\n"
        "site.make_site().register('alice')\n"
        "names = ['flask_registration.validators', 'dns', 'disposable_email_domains']\n"
        "print([name for name in [*names, 'confusable_homoglyphs'] if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


# The hint about a typing error


@each_row(
    ("domain", "meant"),
    [
        ("gmial.com", "gmail.com"),
        ("gmail.con", "gmail.com"),
        ("gmail.co", "gmail.com"),
        ("gmai.com", "gmail.com"),
        ("gnail.com", "gmail.com"),
        ("gail.co", "gmail.com"),
        ("hotmial.com", "hotmail.com"),
        ("hotmal.co", "hotmail.com"),
        ("yahooo.com", "yahoo.com"),
        ("yaho.com", "yahoo.com"),
        ("outlok.com", "outlook.com"),
        ("iclud.com", "icloud.com"),
        ("protonmial.com", "protonmail.com"),
        ("googlmail.com", "googlemail.com"),
    ],
)
def test_a_mistyped_domain_has_a_suggestion(domain: str, meant: str) -> None:
    assert suggestion(f"alice@{domain}") == {"suggestion": f"alice@{meant}"}


#: Domains of other providers, which nobody has mistyped.
RIGHT = """
126.com 163.com aol.com arcor.de att.net bellsouth.net bluewin.ch btinternet.com cloud.com
comcast.net daum.net duck.com email.com example.com fastmail.com foxmail.com free.fr freenet.de
gmx.at gmx.com gmx.de gmx.net hanmail.net hey.com hotmail.ca hotmail.ch hotmail.co.uk hotmail.com.br
hotmail.de hotmail.fr hotmail.it hushmail.com inbox.com inbox.lv juno.com laposte.net libero.it
live.ca live.com live.de mac.com mail.com mail.ru mailbox.org mailo.com me.com msn.com naver.com
orange.fr outlook.cl outlook.com.br outlook.cz outlook.de outlook.fr pm.me posteo.de proton.me
protonmail.ch qq.com rediffmail.com rocketmail.com sbcglobal.net seznam.cz sky.com t-online.de
telenet.be tutamail.com tutanota.com uol.com.br verizon.net virginmedia.com wanadoo.fr web.de
yahoo.ca yahoo.cn yahoo.co.jp yahoo.co.uk yahoo.com.br yahoo.com.mx yahoo.de yahoo.fr yandex.com
yandex.ru ymail.com zoho.com zohomail.com
"""


@each_row("domain", [*RIGHT.split(), *PROVIDERS.split(), ""])
def test_another_domain_has_none(domain: str) -> None:
    assert suggestion(f"alice@{domain}") == {}
    assert suggestion(None) == {}


def test_three_responses_have_the_suggestion_and_refuse_nothing(make: NewSite) -> None:
    site = make()
    reply = site.register("bob", email="Bob@gmial.com")
    assert (reply.status_code, reply.get_json()["suggestion"]) == (201, "bob@gmail.com")
    assert site.user(username="bob").email == "bob@gmial.com"
    reply = site.post("sign-up", {"email": "carol@hotmial.com"})
    assert reply.status_code == 200
    assert reply.get_json() == {
        "detail": "An e-mail to finish signing up is on its way",
        "suggestion": "carol@hotmail.com",
    }
    member(site)
    client = log_in(site)
    reply = site.post("register-email", {"email": "alice@yaho.com"}, client=client)
    assert (reply.status_code, reply.get_json()["suggestion"]) == (200, "alice@yahoo.com")


def test_a_change_without_a_verification_has_the_suggestion_too(make: NewSite) -> None:
    site = make(REGISTER_EMAIL_VERIFICATION_ENABLED=False)
    member(site)
    reply = site.post("register-email", {"email": "alice@yaho.com"}, client=log_in(site))
    assert reply.get_json()["suggestion"] == "alice@yahoo.com"
    assert site.user().email == "alice@yaho.com"


def test_other_responses_have_the_keys_that_they_had(make: NewSite) -> None:
    site = make()
    assert "suggestion" not in site.register("bob").get_json()
    assert site.post("sign-up", {"email": "carol@gmail.com"}).get_json().keys() == {"detail"}
    member(site)
    reply = site.post("register-email", {"email": "alice@example.org"}, client=log_in(site))
    assert reply.get_json().keys() == {"detail"}


def test_the_suggestion_does_not_depend_on_accounts(make: NewSite) -> None:
    site = make()
    for name in ("taken", "carol"):
        member(site, name, email=f"{name}@gmial.com")
    client = log_in(site, "carol")

    def body(endpoint: str, name: str) -> Any:
        reply = site.post(endpoint, {"email": f"{name}@gmial.com"}, client=client)
        return reply.status_code, reply.get_data(as_text=True).replace(name, "-")

    for endpoint in ("sign-up", "register-email"):
        assert body(endpoint, "taken") == body(endpoint, "other")
    replies = [
        site.register(f"bob{number}", email=f"{name}@gmial.com").get_json()
        for number, name in enumerate(("taken", "other"))
    ]
    assert [reply["suggestion"] for reply in replies] == ["taken@gmail.com", "other@gmail.com"]
    assert replies[0].keys() == replies[1].keys()


def test_a_column_of_this_name_keeps_its_value(make: NewSite) -> None:
    columns = {"suggestion": lambda: mapped_column(String(40), default="more tea")}
    site = make(define=mixin_and(**columns), USER_PUBLIC_FIELDS=["suggestion"])
    reply = site.register("bob", email="bob@gmial.com")
    assert (reply.status_code, reply.get_json()["suggestion"]) == (201, "more tea")


def test_the_api_description_has_the_suggestion_as_an_optional_field(make: NewSite) -> None:
    site = make()
    reply = site.app.test_client().get("/accounts/openapi.json")
    described = reply.get_json()
    for path, status in (("register", "201"), ("sign-up", "200"), ("register-email", "200")):
        response = described["paths"][f"/accounts/{path}/"]["post"]["responses"][status]
        schema = response["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        component = described["components"]["schemas"][schema]
        assert component["properties"]["suggestion"] == {"type": "string"}
        assert "suggestion" not in component.get("required", [])
