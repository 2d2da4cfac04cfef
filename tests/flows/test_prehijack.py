"""An attacker registers another person's address: nothing outlives the verification."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import flask_login
import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_registration import DEFAULT_FLOWS, LinkInvalid, Purpose, user_activated
from flask_registration.auth.links import SignedLink
from flask_registration.flows import mail_login

from ..conftest import Clock
from ..outboxes import OUTBOX, letters, send_mail
from ..people import NOT_AUTHENTICATED, copy_of, logins, profile
from ..site import (
    PASSWORD,
    Site,
    html_of,
    links_of,
    own_model,
    parameters,
    text_column,
    text_of,
    whole,
)
from ..tables import each_row
from ..test_steps import define_challenge
from .common import (
    AT_ONCE,
    BOTH_KINDS_OF_SESSION,
    OTHER_PASSWORD,
    NewSite,
    accounts,
    ask_reset,
    at_once,
    forged,
    forget_mails,
    has_password,
    is_in,
    log_in,
    member,
)

#: A link of a flow of the application's own.
STAMPED = Purpose("own", binds=lambda user: ())

OWNER = "owner@example.com"
THIEF = "thief@example.com"

FLOWS = [*DEFAULT_FLOWS, mail_login.flow]


def add_door(app: Flask, user_of: Any) -> None:
    """A way in of the application's own, which lets pending people pass."""

    @app.post("/door")
    def door() -> str:
        flask_login.login_user(user_of(), remember=True)
        return "in"


def with_door(new_site: NewSite, database: str = "sqlite://", **options: Any) -> Site:
    """A site with every way to prove an address, and with a way in for the thief."""
    chosen = {"flows": FLOWS, "challenge_model": define_challenge, **options}
    site = new_site(database, FOREIGN_LOGINS_ALLOWED=True, **chosen)
    add_door(site.app, lambda: site.db.session.query(site.User).filter_by(username="thief").one())
    return site


def squatted(new_site: NewSite, database: str = "sqlite://", **options: Any) -> Site:
    """A site where the owner's address was registered by a thief, who knows the password."""
    site = with_door(new_site, database, **options)
    assert site.register("thief", email=OWNER, first_name="Thief").status_code == 201
    return site


def walk_in(site: Site) -> FlaskClient:
    """The thief's browser, which the application lets in though the account is pending."""
    client = site.app.test_client()
    assert client.post("/door").status_code == 200
    assert is_in(client)
    return client


def digests(site: Site) -> set[str]:
    """What distinguishes the rows of sessions."""
    return {login.digest for login in logins(site)} if site.Login else set()


def let_the_owner_register(site: Site) -> dict[str, str]:
    """The owner registers; the parameters of the link in the mail that they get for it."""
    forget_mails(site)
    assert site.register("owner", email=OWNER, password=OTHER_PASSWORD).status_code == 201
    (message,) = site.outbox
    assert message.recipients == [OWNER]
    return site.link()


def choose_password(site: Site, link: dict[str, str]) -> None:
    assert site.post("reset-password", {**link, "password": OTHER_PASSWORD}).status_code == 200


def prove_by_link(site: Site) -> None:
    """Open the link of the registration itself."""
    forget_mails(site)
    site.post("resend-verification", {"email": OWNER})
    assert site.verify().status_code == 200


def prove_by_reset(site: Site) -> None:
    """Ask for a new password, and choose it."""
    choose_password(site, ask_reset(site, "thief"))


def prove_by_registering(site: Site) -> None:
    """Register as well, and open the link that comes for it."""
    choose_password(site, let_the_owner_register(site))


def prove_by_mail_login(site: Site) -> None:
    """Ask for an e-mail to log in, and open its link."""
    forget_mails(site)
    site.post("send-login-link", {"login": "thief"})
    assert site.post("login-by-link", site.link()).status_code == 200


each_proof = each_row(
    "prove", [prove_by_link, prove_by_reset, prove_by_registering, prove_by_mail_login], anew=True
)


# The owner registers too


def test_an_owner_who_registers_too_gets_a_link_that_shuts_the_other_out(
    database: str, new_site: NewSite
) -> None:
    site = squatted(new_site, database)
    link = let_the_owner_register(site)
    assert links_of(site.read())[0].startswith("https://example.com/reset-password/?")
    with site.hears(user_activated) as heard:
        choose_password(site, link)
    assert [each["user"].email for each in heard] == [OWNER]
    assert has_password(site, OTHER_PASSWORD, "thief")
    assert not has_password(site, PASSWORD, "thief")
    assert [user.username for user in accounts(site)] == ["thief"]


def test_the_mail_for_it_has_no_word_of_either_registration(new_site: NewSite) -> None:
    site = squatted(new_site)
    forget_mails(site)
    site.register("ownersname", email=OWNER, first_name="Buycheap", last_name="http://evil.example")
    mail = site.read()
    for words in (text_of(mail), html_of(mail), mail["Subject"]):
        for word in ("ownersname", "Buycheap", "evil", "thief", "Thief", PASSWORD):
            assert word not in words


@each_row("state", ["verified", "suspended"], anew=True)
def test_the_owner_of_another_account_than_a_pending_one_gets_no_link(
    new_site: NewSite, state: str
) -> None:
    site = squatted(new_site)
    site.change(
        site.user(username="thief"), is_verified=state == "verified", is_active=state != "suspended"
    )
    forget_mails(site)
    site.register("owner", email=OWNER)
    assert links_of(site.read()) == []


@each_row("how", ["switched off", "not among the flows"])
def test_without_a_reset_the_owner_is_told_without_a_link(new_site: NewSite, how: str) -> None:
    off = how == "switched off"
    flows = FLOWS if off else [flow for flow in FLOWS if flow.name != "reset_password"]
    settings: dict[str, Any] = {"RESET_PASSWORD_VERIFICATION_ENABLED": False} if off else {}
    site = squatted(new_site, flows=flows, **settings)
    assert "Sign up too" not in text_of(site.read()) + html_of(site.read())
    forget_mails(site)
    assert site.register("owner", email=OWNER).status_code == 201
    assert links_of(site.read()) == []


def test_the_reply_to_it_is_that_of_a_free_address_in_every_byte(new_site: NewSite) -> None:
    replies = []
    for site in (squatted(new_site), new_site()):
        forget_mails(site)
        replies.append(whole(site.register("owner", email=OWNER, first_name="O")))
    assert replies[0] == replies[1]


def test_a_link_may_be_used_again_where_the_settings_say_so(new_site: NewSite) -> None:
    site = squatted(new_site, RESET_PASSWORD_VERIFICATION_ONE_TIME_USE=False)
    link = let_the_owner_register(site)
    assert "only once" not in text_of(site.read())
    choose_password(site, link)
    choose_password(site, link)


def test_the_mail_of_a_registration_says_what_to_do_if_that_was_somebody_else(
    new_site: NewSite,
) -> None:
    mail = squatted(new_site).read()
    for words in (text_of(mail), html_of(mail)):
        assert "do not click the link" in " ".join(words.split())
        assert "Sign up too" in words


def test_it_advises_to_register_only_where_that_helps(new_site: NewSite) -> None:
    words = text_of(squatted(new_site, PREVENT_ENUMERATION=False).read())
    assert "do not click the link" in " ".join(words.split())
    assert "Sign up too" not in words


# What the thief may hold


@each_proof
@BOTH_KINDS_OF_SESSION
def test_no_session_outlives_the_proof(
    database: str, new_site: NewSite, sessions: Any, prove: Any
) -> None:
    site = squatted(new_site, database, **sessions)
    thief = walk_in(site)
    remembered = copy_of(thief, "remember_token")
    earlier = digests(site)
    prove(site)
    for client in (thief, remembered):
        reply = profile(site, client)
        assert (reply.status_code, reply.get_json()) == (401, NOT_AUTHENTICATED)
    assert earlier.isdisjoint(digests(site))


@each_proof
@BOTH_KINDS_OF_SESSION
def test_no_token_outlives_the_proof(new_site: NewSite, sessions: Any, prove: Any) -> None:
    site = squatted(new_site, LOGIN_RETRIEVE_TOKEN=True, **sessions)
    with site.app.test_request_context():
        state = site.app.extensions["registration"]
        token = state.tokens.provide_token(site.db.session.query(site.User).one())
        site.db.session.commit()
    header = {"Authorization": f"Bearer {token}"}
    assert is_in(site.app.test_client(), header)
    prove(site)
    assert not is_in(site.app.test_client(), header)


@each_proof
@each_row(
    "settings",
    [{}, {"define": own_model()}],
    ids=["with a security stamp", "without a security stamp"],
)
def test_no_pending_change_of_address_outlives_the_proof(
    new_site: NewSite, settings: Any, prove: Any
) -> None:
    site = squatted(new_site, **settings)
    client = walk_in(site)
    links = [ask_to_move(site, client, email) for email in (THIEF, "second@example.com")]
    for link in links:
        assert whole(site.post("verify-email", link)) == forged(site, "verify-email")
    prove(site)
    for link in links:
        assert whole(site.post("verify-email", link)) == forged(site, "verify-email")
    assert site.user(username="thief").email == OWNER


def ask_to_move(site: Site, client: FlaskClient, email: str) -> dict[str, str]:
    forget_mails(site)
    reply = site.post("register-email", {"email": email, "password": PASSWORD}, client=client)
    assert reply.status_code == 200
    return site.link()


def test_no_change_that_a_pending_account_asks_for_mails_the_unproven_address(
    new_site: NewSite,
) -> None:
    site = squatted(new_site)
    ask_to_move(site, walk_in(site), THIEF)
    assert [mail.recipients for mail in site.outbox] == [[THIEF]]


def move_to_the_owner(new_site: NewSite, **options: Any) -> Site:
    """A site without verification, where a thief has changed their address to the owner's."""
    site = with_door(new_site, REGISTER_EMAIL_VERIFICATION_ENABLED=False, **options)
    site.register("thief", email=THIEF)
    forget_mails(site)
    body = {"email": OWNER, "password": PASSWORD}
    assert site.post("register-email", body, client=walk_in(site)).status_code == 200
    return site


@each_proof
def test_no_undoing_outlives_the_proof(new_site: NewSite, prove: Any) -> None:
    site = move_to_the_owner(new_site)
    (message,) = site.outbox
    assert message.recipients == [THIEF]
    undo = site.link()
    prove(site)
    assert whole(site.post("undo-email-change", undo)) == forged(site, "undo-email-change")
    assert site.user(username="thief").email == OWNER


@each_proof
def test_a_notice_that_waits_during_the_proof_has_no_link_to_undo(
    new_site: NewSite, clock: Clock, prove: Any
) -> None:
    """The mail server of an attacker may refuse the notice until then."""

    def fail(*_: Any, **__: Any) -> None:
        raise OSError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flask_mail.Connection.send", fail)
        site = move_to_the_owner(new_site, **OUTBOX)
    assert {each.state for each in letters(site)} == {"waiting"}
    prove(site)
    forget_mails(site)
    clock.advance(3600)
    send_mail(site)
    (message,) = site.outbox
    assert (message.recipients, links_of(site.read())) == ([THIEF], [])


@each_row("prove", [prove_by_reset, prove_by_registering], anew=True)
@each_row(
    "settings",
    [{}, {"define": own_model()}],
    ids=["with a security stamp", "without a security stamp"],
)
def test_neither_the_password_nor_the_first_link_outlives_a_password_of_the_owners(
    database: str, new_site: NewSite, settings: Any, prove: Any
) -> None:
    site = squatted(new_site, database, **settings)
    first = site.link()
    prove(site)
    assert not has_password(site, PASSWORD, "thief")
    assert has_password(site, OTHER_PASSWORD, "thief")
    assert whole(site.verify(first)) == forged(site, "verify-registration")


def test_a_password_that_was_changed_before_the_proof_ends_the_first_link(
    new_site: NewSite,
) -> None:
    site = squatted(new_site)
    link = site.link()
    body = {
        "old_password": PASSWORD,
        "password": OTHER_PASSWORD,
        "password_confirm": OTHER_PASSWORD,
    }
    assert site.post("change-password", body, client=walk_in(site)).status_code == 200
    assert whole(site.verify(link)) == forged(site, "verify-registration")


# Who proves


@BOTH_KINDS_OF_SESSION
def test_the_session_that_proves_goes_on_under_a_new_id_and_its_copies_end(
    database: str, new_site: NewSite, sessions: Any
) -> None:
    site = squatted(new_site, database, **sessions)
    link = site.link()
    client, other = walk_in(site), walk_in(site)
    copied = copy_of(client)
    assert site.post("verify-registration", link, client=client).get_json() == {
        "detail": "User verified successfully"
    }
    assert is_in(client)
    assert not is_in(other)
    assert not is_in(copied)


def test_the_token_that_proves_is_replaced(new_site: NewSite) -> None:
    site = squatted(new_site, LOGIN_RETRIEVE_TOKEN=True)
    with site.app.test_request_context():
        token = site.app.extensions["registration"].tokens.provide_token(
            site.db.session.query(site.User).one()
        )
    reply = site.post(
        "verify-registration", site.link(), headers={"Authorization": f"Bearer {token}"}
    )
    assert reply.get_json().keys() == {"detail", "token"}
    assert not is_in(site.app.test_client(), {"Authorization": f"Bearer {token}"})
    assert is_in(site.app.test_client(), {"Authorization": f"Bearer {reply.get_json()['token']}"})


def test_somebody_else_s_session_is_left_alone_by_a_proof(new_site: NewSite) -> None:
    site = squatted(new_site)
    link = site.link()
    member(site, "bob")
    client = log_in(site, "bob")
    assert site.post("verify-registration", link, client=client).status_code == 200
    assert profile(site, client).get_json()["username"] == "bob"


@each_row(
    "settings",
    [
        pytest.param({}, id="with our stamp"),
        pytest.param({"define": own_model()}, id="without a stamp"),
        pytest.param(
            {"define": own_model(security_stamp=text_column())}, id="with a stamp of its own"
        ),
    ],
)
def test_the_link_may_be_opened_twice_whatever_the_stamp_is(
    database: str, new_site: NewSite, settings: Any
) -> None:
    site = squatted(new_site, database, **settings)
    if hasattr(site.User, "security_stamp") and "define" in settings:
        site.change(site.user(username="thief"), security_stamp="made elsewhere")
        forget_mails(site)
        site.post("resend-verification", {"email": OWNER})
    link = site.link()
    with site.app.app_context():
        user = site.db.session.query(site.User).one()
        state = site.app.extensions["registration"]
        earlier = SignedLink(**parameters(state.links.url(STAMPED, user, "https://example.com/")))
    with site.hears(user_activated) as heard:
        assert site.verify(link).status_code == 200
        after = vars(site.user(username="thief"))
        assert site.verify(link).status_code == 200
    assert len(heard) == 1
    again = vars(site.user(username="thief"))
    assert {**after, "_sa_instance_state": None} == {**again, "_sa_instance_state": None}
    with site.app.app_context(), pytest.raises(LinkInvalid):  # the verification ended it
        state.links.open(STAMPED, earlier, timedelta(days=1))


@pytest.mark.databases
def test_of_parallel_openings_of_a_link_all_are_a_calm_200_and_one_is_announced(
    database: str, new_site: NewSite
) -> None:
    site = squatted(new_site, database, config=AT_ONCE)
    link = site.link()
    with site.hears(user_activated) as heard:
        replies = at_once(lambda _: site.verify(link), 8)
    assert {reply.status_code for reply in replies} == {200}
    assert len(heard) == 1
