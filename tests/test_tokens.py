"""What a client without cookies shows instead: ours, signed or stored, and an application's own."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import timedelta
from string import ascii_letters, digits
from typing import Any

import pytest
from flask_jwt_extended import JWTManager, create_access_token, create_refresh_token
from flask_login import current_user, login_required

from flask_registration import current_registration

from .conftest import Clock
from .people import (
    accepts,
    account,
    bearer,
    change_login,
    define_login,
    knows,
    log_in,
    logins,
    profile,
    token_of,
    with_and_without_login_model,
)
from .site import PASSWORD, Site
from .tables import each_row
from .test_identity import is_fresh

NewSite = Callable[..., Site]
LoginModel = Callable[[Any], type[Any]] | None

TOKENS = {"LOGIN_RETRIEVE_TOKEN": True}
NEW_PASSWORD = "quite another battery of staples"
CHANGE = {"old_password": PASSWORD, "password": NEW_PASSWORD, "password_confirm": NEW_PASSWORD}


# Renewed by a view of the application


def add_renewal(site: Site, **options: Any) -> Callable[[str], str]:
    """Add a view that provides a token for a token. Return the function that calls it."""

    @site.app.post("/renew-token")
    @login_required  # type: ignore[untyped-decorator]  # Flask-Login ships no types
    def renew_token() -> dict[str, str]:
        token = current_registration.tokens.provide_token(current_user, **options)
        current_registration.commit()
        return {"token": token}

    def renew(token: str) -> str:
        reply = site.app.test_client().post("/renew-token", headers=bearer(token))
        return str(reply.get_json()["token"])

    return renew


@with_and_without_login_model
def test_a_token_that_a_view_renews_is_not_fresh(
    new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(login_model=login_model, **TOKENS)
    renew = add_renewal(site)
    account(site)
    token = token_of(site)
    new = renew(token)
    assert accepts(site, new)
    assert [is_fresh(site, headers=bearer(each)) for each in (token, new)] == [True, False]


@with_and_without_login_model
def test_a_view_that_has_seen_a_credential_provides_a_fresh_token(
    new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(login_model=login_model, **TOKENS)
    renew = add_renewal(site, fresh=True)
    account(site)
    assert is_fresh(site, headers=bearer(renew(token_of(site))))


# In the header, and nowhere else


@each_row("scheme", ["Bearer", "Token", "bearer", "token", "BEARER"])
@with_and_without_login_model
def test_a_token_counts_in_the_header_by(
    scheme: str, database: str, new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(database, login_model=login_model, **TOKENS)
    account(site)
    token_of(site)
    account(site, "bob")
    reply = profile(site, headers=bearer(token_of(site, "bob"), scheme))
    assert (reply.status_code, reply.get_json()["username"]) == (200, "bob")


ELSEWHERE: dict[str, Callable[[str], dict[str, Any]]] = {
    "the query": lambda token: {
        "query_string": {"token": token, "access_token": token, "auth_token": token}
    },
    "the body": lambda token: {"json": {"token": token, "access_token": token}},
    "a form": lambda token: {"data": {"token": token, "access_token": token}},
    "another header": lambda token: {"headers": {"X-Auth-Token": token, "Token": token}},
    "a cookie": lambda token: {
        "headers": {"Cookie": f"token={token}; access_token={token}; session={token}"}
    },
    "basic authentication": lambda token: {"auth": ("alice", token)},
    "another scheme": lambda token: {"headers": bearer(token, "JWT")},
    "no scheme": lambda token: {"headers": {"Authorization": token}},
    "a parameter of the scheme": lambda token: {
        "headers": {"Authorization": f'Token token="{token}"'}
    },
}


@each_row("place", ELSEWHERE)
@with_and_without_login_model
def test_a_token_counts_for_nothing_in(
    place: str, new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(login_model=login_model, **TOKENS)
    account(site)
    token = token_of(site)
    assert accepts(site, token)
    assert not knows(site, **ELSEWHERE[place](token))


SILLY = [
    "",
    " ",
    "x",
    "é",
    "=",
    "a=b",
    "null",
    "~",
    ".",
    "..",
    "a.b.c",
    "x" * 5000,
    "\u00ff" * 50,
    '"x"',
    "1 2",
    "\t",
]


@pytest.mark.databases
@each_row("token", SILLY, ids=lambda token: repr(token[:8]))
@with_and_without_login_model
def test_a_token_is_nobodys_that_is(
    token: str, database: str, new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(database, login_model=login_model, **TOKENS)
    account(site)
    assert not accepts(site, token)


@with_and_without_login_model
def test_a_token_with_any_character_changed_is_nobodys(
    new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(login_model=login_model, **TOKENS)
    account(site)
    token = token_of(site)
    changed = [
        token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        for place in range(len(token))
    ]
    # The last character of base64 has bits to spare, which decoding drops, as it does with padding.
    changed += [token[:-1] + each for each in ascii_letters + digits if each != token[-1]]
    changed += [token[:-1], token + "x", token + "="]
    assert [each for each in changed if accepts(site, each)] == []
    assert accepts(site, token)


@with_and_without_login_model
def test_each_login_has_a_token_of_its_own(
    new_site: NewSite, login_model: LoginModel, clock: Clock
) -> None:
    site = new_site(login_model=login_model, **TOKENS)
    account(site)
    first = token_of(site)
    clock.advance(1)
    second = token_of(site)
    assert first != second
    assert accepts(site, first)
    assert accepts(site, second)


# How long


@each_row(("seconds", "good"), [(-1, True), (0, True), (1, False)])
def test_a_signed_token_is_good_for_its_period(
    new_site: NewSite, clock: Clock, seconds: int, good: bool
) -> None:
    site = new_site(AUTH_TOKEN_PERIOD=timedelta(hours=1), **TOKENS)
    account(site)
    token = token_of(site)
    clock.advance(3600 + seconds)
    assert accepts(site, token) == good


def test_a_signed_token_is_good_for_a_fortnight_by_default(new_site: NewSite, clock: Clock) -> None:
    site = new_site(**TOKENS)
    account(site)
    token = token_of(site)
    clock.advance(14 * 86400)
    assert accepts(site, token)
    clock.advance(1)
    assert not accepts(site, token)


def test_a_signed_token_from_the_future_is_nobodys(new_site: NewSite, clock: Clock) -> None:
    site = new_site(**TOKENS)
    account(site)
    token = token_of(site)
    clock.advance(-3600)
    assert not accepts(site, token)


@pytest.mark.databases
@each_row(("period", "expected"), [(None, timedelta(days=14)), (3600, timedelta(hours=1))])
def test_a_stored_token_is_good_for_its_period(
    database: str, new_site: NewSite, period: int | None, expected: timedelta
) -> None:
    settings = {} if period is None else {"AUTH_TOKEN_PERIOD": period}
    site = new_site(
        database, login_model=define_login, LOGIN_AUTHENTICATE_SESSION=False, **TOKENS, **settings
    )
    account(site)
    token = token_of(site)
    (row,) = logins(site)
    assert row.expires_at - row.created_at == expected
    assert accepts(site, token)
    change_login(site, row, expires_at=row.created_at)
    assert not accepts(site, token)


@with_and_without_login_model
def test_a_new_password_ends_every_token_and_the_one_who_asked_gets_another(
    database: str, new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(database, login_model=login_model, **TOKENS)
    account(site)
    token, other = token_of(site), token_of(site)
    reply = site.post("change-password", CHANGE, headers=bearer(token))
    assert reply.status_code == 200
    assert [accepts(site, token), accepts(site, other)] == [False, False]
    assert accepts(site, reply.get_json()["token"])


@with_and_without_login_model
def test_a_password_that_is_reset_ends_every_token(
    database: str, new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(database, login_model=login_model, **TOKENS)
    account(site)
    token, client = token_of(site), log_in(site)
    site.post("send-reset-password-link", {"login": "alice"})
    assert site.post("reset-password", {**site.link(), "password": NEW_PASSWORD}).status_code == 200
    assert (accepts(site, token), knows(site, client)) == (False, False)


# What is kept


def test_a_stored_token_is_kept_as_a_digest_only(database: str, new_site: NewSite) -> None:
    site = new_site(database, login_model=define_login, LOGIN_AUTHENTICATE_SESSION=False, **TOKENS)
    account(site)
    token = token_of(site)
    (row,) = logins(site)
    assert len(token) >= 22  # 128 bits in base64
    assert token not in str(vars(row))
    assert (row.kind, len(row.digest)) == ("token", 64)
    assert not accepts(site, row.digest)


def test_a_signed_token_does_not_carry_the_security_stamp_nor_the_hash(new_site: NewSite) -> None:
    site = new_site(**TOKENS)
    user = account(site)
    token = token_of(site)
    with site.app.app_context():
        carried = str(current_registration.tokens._serializer().loads(token))  # type: ignore[attr-defined]
    assert user.security_stamp not in carried
    assert user.password_hash not in carried


# Keys


@with_and_without_login_model
def test_a_token_survives_a_key_that_is_retired_to_the_fallbacks(
    new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(login_model=login_model, **TOKENS)
    account(site)
    token = token_of(site)
    old = site.app.config["SECRET_KEY"]
    site.app.config.update(
        SECRET_KEY="a new key, long enough for anybody as well", SECRET_KEY_FALLBACKS=[old]
    )
    assert accepts(site, token)
    newer = token_of(site)
    site.app.config["SECRET_KEY_FALLBACKS"] = []
    assert accepts(site, newer)
    assert accepts(site, token) == bool(site.Login)  # a stored one is not signed


def test_a_signed_token_of_another_application_is_nobodys(new_site: NewSite) -> None:
    site = new_site(**TOKENS)
    other = new_site(config={"SECRET_KEY": "quite another key, long enough for anybody"}, **TOKENS)
    for each in (site, other):
        each.change(account(each), security_stamp="5" * 32)
    assert not accepts(site, token_of(other))


def test_the_signature_of_a_link_is_no_token_nor_the_other_way_round(new_site: NewSite) -> None:
    site = new_site(**TOKENS)
    site.register()
    link = site.link()
    assert not accepts(site, link["signature"])
    assert not accepts(site, f"{link['user_id']}.{link['timestamp']}.{link['signature']}")
    account(site, "bob")
    token = token_of(site, "bob")
    reply = site.verify(signature=token)
    assert (reply.status_code, reply.get_json()["code"]) == (400, "signature-invalid")


# An application's own


class MemoryTokens:
    """The simplest token manager there is."""

    def __init__(self) -> None:
        self.users: dict[str, str] = {}

    def provide_token(self, user: Any) -> str:
        token = secrets.token_urlsafe()
        self.users[token] = current_registration.users.identifier(user)
        return token

    def find_user(self, token: str) -> Any | None:
        return current_registration.users.get(self.users[token]) if token in self.users else None

    def revoke_token(self, user: Any, *, token: str | None = None) -> None:
        own = current_registration.users.identifier(user)
        self.users = {
            each: key for each, key in self.users.items() if key != own or token not in (None, each)
        }


class StrictTokens(MemoryTokens):
    """One whose ``token`` has no default."""

    def revoke_token(self, user: Any, *, token: str | None) -> None:  # type: ignore[override]
        super().revoke_token(user, token=token)


OWN = {
    "a class": MemoryTokens,
    "a class that wants to be told that there is no token": StrictTokens,
    "a class by its import string": "tests.test_tokens.MemoryTokens",
    "Flask-JWT-Extended": "tests.jwt_tokens.JWTTokens",
}


@pytest.fixture(params=OWN)
def own_tokens(request: pytest.FixtureRequest, new_site: NewSite) -> Callable[..., Site]:
    """Makes a site whose token manager is the application's own."""

    def make(*args: Any, **options: Any) -> Site:
        # The key of Flask-JWT-Extended is SECRET_KEY unless it is told another one.
        return new_site(
            *args,
            before=JWTManager,
            AUTH_TOKEN_MANAGER_CLASS=OWN[request.param],
            **TOKENS,
            **options,
        )

    return make


@with_and_without_login_model
def test_an_own_token_manager_provides_and_finds(
    own_tokens: Callable[..., Site], database: str, login_model: LoginModel
) -> None:
    site = own_tokens(database, login_model=login_model)
    account(site)
    account(site, "bob")
    token, bobs = token_of(site), token_of(site, "bob")
    assert profile(site, headers=bearer(token)).get_json()["username"] == "alice"
    assert profile(site, headers=bearer(bobs, "Token")).get_json()["username"] == "bob"
    assert not accepts(site, "forged")
    if site.Login:
        assert {row.kind for row in logins(site)} == {"session"}


class BrokenTokens(MemoryTokens):
    """One that cannot reach what it keeps its tokens in."""

    def provide_token(self, user: Any) -> str:
        raise ConnectionError

    def revoke_token(self, user: Any, *, token: str | None = None) -> None:
        raise ConnectionError


@with_and_without_login_model
def test_where_an_own_token_manager_fails_a_login_is_undone(
    new_site: NewSite, login_model: LoginModel
) -> None:
    site = new_site(
        login_model=login_model,
        config={"PROPAGATE_EXCEPTIONS": False},
        AUTH_TOKEN_MANAGER_CLASS=BrokenTokens,
        **TOKENS,
    )
    account(site)
    client = site.app.test_client()
    reply = site.post("login", {"login": "alice", "password": PASSWORD}, client=client)
    assert reply.status_code == 500
    assert not knows(site, client)


def test_where_an_own_token_manager_fails_a_logout_is_undone(new_site: NewSite) -> None:
    site = new_site(
        config={"PROPAGATE_EXCEPTIONS": False},
        AUTH_TOKEN_MANAGER_CLASS=BrokenTokens,
    )
    account(site)
    client = log_in(site)
    assert site.post("logout", {"everywhere": True}, client=client).status_code == 500
    assert knows(site, client)


def test_an_own_token_manager_revokes_the_token_of_the_request(
    own_tokens: Callable[..., Site],
) -> None:
    site = own_tokens()
    account(site)
    account(site, "bob")
    token, other, bobs = token_of(site), token_of(site), token_of(site, "bob")
    assert site.post("logout", {"revoke_token": True}, headers=bearer(token)).status_code == 200
    assert [accepts(site, each) for each in (token, other, bobs)] == [False, True, True]


def test_an_own_token_manager_revokes_all_tokens_of_the_user_of_a_session(
    own_tokens: Callable[..., Site],
) -> None:
    site = own_tokens()
    account(site)
    account(site, "bob")
    client = log_in(site)
    token, other, bobs = token_of(site), token_of(site), token_of(site, "bob")
    assert site.post("logout", {"revoke_token": True}, client=client).status_code == 200
    assert [accepts(site, each) for each in (token, other, bobs)] == [False, False, True]


def test_a_logout_leaves_an_own_token_unless_it_is_to_be_revoked(
    own_tokens: Callable[..., Site],
) -> None:
    site = own_tokens()
    account(site)
    token = token_of(site)
    assert site.post("logout", {}, headers=bearer(token)).status_code == 200
    assert accepts(site, token)


@each_row("end", ["suspended", "deleted"])
def test_an_own_token_is_dead_whose_user_is(own_tokens: Callable[..., Site], end: str) -> None:
    site = own_tokens()
    user = account(site)
    token = token_of(site)
    if end == "suspended":
        site.change(user, is_active=False)
    else:
        assert (
            log_in(site).delete("/accounts/profile/", json={"password": PASSWORD}).status_code
            == 204
        )
    assert not accepts(site, token)


@each_row("end", ["a new password", "a logout everywhere"])
def test_an_own_token_is_dead_after(own_tokens: Callable[..., Site], end: str) -> None:
    site = own_tokens()
    account(site)
    token, client = token_of(site), log_in(site)
    if end == "a new password":
        assert site.post("change-password", CHANGE, client=client).status_code == 200
    else:
        assert site.post("logout", {"everywhere": True}, client=client).status_code == 200
    assert not accepts(site, token)


def test_an_own_token_whose_age_nobody_knows_is_not_fresh(own_tokens: Callable[..., Site]) -> None:
    site = own_tokens()
    account(site)
    reply = site.post(
        "register-email", {"email": "new@example.com"}, headers=bearer(token_of(site))
    )
    assert (reply.status_code, reply.get_json()["code"]) == (401, "reauthentication-required")


# Flask-JWT-Extended


@pytest.fixture
def jwt(new_site: NewSite) -> Site:
    return new_site(
        before=JWTManager, AUTH_TOKEN_MANAGER_CLASS="tests.jwt_tokens.JWTTokens", **TOKENS
    )


def test_a_json_web_token_expires(jwt: Site) -> None:
    account(jwt)
    jwt.app.config["JWT_ACCESS_TOKEN_EXPIRES"] = timedelta(seconds=-1)
    with jwt.app.app_context():
        expired = create_access_token("1")
    assert not accepts(jwt, expired)


def test_a_json_web_token_needs_our_key(jwt: Site) -> None:
    user = account(jwt)
    token = token_of(jwt)
    jwt.app.config["JWT_SECRET_KEY"] = "quite another key, long enough for anybody"
    assert not accepts(jwt, token)
    forged = token_of(jwt)
    del jwt.app.config["JWT_SECRET_KEY"]
    jwt.app.config["JWT_SECRET_KEY"] = None
    assert not accepts(jwt, forged)
    assert accepts(jwt, token)
    assert user.security_stamp not in token


@each_row("make", [create_access_token, create_refresh_token])
def test_a_json_web_token_for_something_else_is_nobodys(
    jwt: Site, make: Callable[..., str]
) -> None:
    account(jwt)
    with jwt.app.app_context():
        assert not accepts(jwt, make("1"))


def test_a_refresh_token_is_no_token_of_ours_even_with_the_mark(jwt: Site) -> None:
    account(jwt)
    with jwt.app.app_context():
        user = current_registration.users.get("1")
        assert user is not None
        claims = {
            "mark": token_claims(jwt, current_registration.tokens.provide_token(user))["mark"]
        }
        refresh = create_refresh_token("1", additional_claims=claims)
        access = create_access_token("1", additional_claims=claims)
    assert accepts(jwt, access)
    assert not accepts(jwt, refresh)


def token_claims(site: Site, token: str) -> Any:
    from .jwt_tokens import _claims

    with site.app.app_context():
        return _claims(token)
