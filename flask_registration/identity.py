"""Who is asking: Flask-Login keeps sessions; ours make them end with the account's security stamp."""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import flask_login
from flask import Flask, current_app, g, session

from .errors import NotAuthenticated
from .events import SESSION_REFUSED, record
from .loaders import SessionLoader, adopt_loaders, lend_flask_login
from .logins import LoginStore
from .sessions import drop_unreadable_cookie, forget_session, has_remember_cookie, request_token, session_secret
from .settings import Settings, setting
from .tokens import DatedTokenManager, TokenManager
from .users import User, UserStore, stamp_mark

#: What we make of Flask-Login's session id: its own, a mark of the security stamp, the secret of a row or nothing.
SESSION_ID = re.compile(r"(.*)~([0-9a-f]{32})~([\w-]{43}|)", re.DOTALL)

#: Where the session keeps the time of the last login with a password.
LOGIN_TIME = "_registration_login_time"


@dataclass(frozen=True, kw_only=True)
class LoginSettings(Settings):
    """What a login gives, and how long."""

    login_authenticate_session: bool = setting(True, "Whether a login opens a session, with a cookie.")
    login_retrieve_token: bool = setting(False, "Whether a login returns a token.")
    auth_token_manager_class: type[Any] | None = setting(
        None,
        "Provides, finds and revokes tokens: "
        "`provide_token(user)`, `find_user(token)`, `revoke_token(user, *, token=None)`.",
        default_text="our own: rows of the login model where there is one, else signed",
    )
    auth_token_period: timedelta = setting(timedelta(days=14), "How long a token lives.")
    reauthentication_period: timedelta = setting(
        timedelta(minutes=15),
        "How long after a login with a password the address may be changed or the account deleted without another.",
    )


class Identity:
    """Opens sessions, provides tokens, and recognises both.

    A session carries a mark of the account's security stamp: a new stamp, a suspension or a deletion ends it with the
    next request, whoever opened it and whose ``user_loader`` it is. With a login model it carries the secret of a row
    as well, so that a copied cookie is dead after the logout.
    """

    def __init__(
        self,
        app: Flask,
        users: UserStore,
        model: type[Any],
        settings: LoginSettings,
        tokens: TokenManager,
        logins: LoginStore | None,
    ) -> None:
        lend_flask_login(model, users)
        self._users = users
        self._model = model
        self._settings = settings
        self._tokens = tokens
        self._logins = logins
        if not hasattr(app, "login_manager"):
            flask_login.LoginManager(app)
        flask_login.user_logged_in.connect(self._mark_session, app)
        # First of all: whatever else the application does before a request may ask who is there.
        app.before_request_funcs.setdefault(None, [])[:0] = [drop_unreadable_cookie, adopt_loaders]

    # Who is asking

    def user(self) -> User:
        """The user who is asking.

        :raises NotAuthenticated: nobody is logged in.
        """
        user = self.user_or_none()
        if user is None:
            raise NotAuthenticated
        return user

    def user_or_none(self) -> User | None:
        """The user who is asking, if anybody is logged in."""
        user = cast(Any, flask_login.current_user)._get_current_object()
        if not isinstance(user, self._model) or not user.is_authenticated:  # the application logs others in as well
            return None
        return user if self._users.state(user).is_active else None

    def forget(self) -> None:
        """Recognise the asking client anew when somebody asks: the account may have changed meanwhile."""
        g.pop("_login_user", None)
        g.pop("_registration_token", None)
        if self._logins:
            self._logins.forget_uses()

    def is_fresh(self) -> bool:
        """Whether the client showed the password a short while ago."""
        token = request_token()
        if token is not None:
            age = self._tokens.age(token) if isinstance(self._tokens, DatedTokenManager) else None
        elif flask_login.login_fresh() and isinstance(session.get(LOGIN_TIME), int | float):
            age = time.time() - session[LOGIN_TIME]
        else:
            age = None
        return age is not None and 0 <= age <= self._settings.reauthentication_period.total_seconds()

    # In and out

    def login(self, user: User, *, fresh: bool, remember: bool = False) -> dict[str, Any]:
        """Log in the asking client, before the commit; returns what the reply shall carry.

        :param fresh: whether they have just shown the password.
        """
        if self._settings.login_authenticate_session:
            secret = session_secret()
            if self._logins and secret:  # it is replaced: a copy of its cookie must not live on
                self._logins.drop(secret)
            self._open_session(user, remember=remember, fresh=fresh)
            if not remember and has_remember_cookie():
                session["_remember"] = "clear"  # it was somebody else's, or an older one
            if fresh:
                session[LOGIN_TIME] = time.time()
        return {"token": self.provide_token(user, fresh=fresh)} if self._settings.login_retrieve_token else {}

    def provide_token(self, user: User, *, fresh: bool) -> str:
        """A token of the application's make, before the commit.

        :param fresh: whether they have just shown the password.
        """
        if isinstance(self._tokens, DatedTokenManager):
            return self._tokens.provide_token(user, fresh=fresh)
        return self._tokens.provide_token(user)

    def renew(self, user: User, *, fresh: bool) -> dict[str, Any]:
        """Let the asking client go on after a new security stamp: a session under a new id, a token by another one.

        :param fresh: whether they have just shown the password; else a session stays as fresh as it was.
        """
        if request_token() is not None:
            return {"token": self.provide_token(user, fresh=fresh)}
        was_fresh, login_time = flask_login.login_fresh(), time.time() if fresh else session.get(LOGIN_TIME)
        remember = flask_login.login_remembered()
        self._open_session(user, remember=remember, fresh=fresh or was_fresh)
        if login_time is not None:
            session[LOGIN_TIME] = login_time
        return {}

    def logout(self, user: User, *, revoke_token: bool) -> None:
        """Log out the asking client, before the commit; where its login is a row, that ends in any case.

        :param revoke_token: end the token of the request, or all of the user's where it came by session.
        """
        token = request_token()
        secret = token or session_secret()
        if self._logins and secret:
            self._logins.end_secret(user, secret)
        if token is None or self._settings.login_authenticate_session:
            forget_session()
            flask_login.logout_user()
        if revoke_token and self.may_have_token():
            self._tokens.revoke_token(user, token=token)

    def may_have_token(self) -> bool:
        """Whether there can be a token to revoke: the one of the request, or those that logins return."""
        return request_token() is not None or self._settings.login_retrieve_token

    def end_logins(self, user: User) -> None:
        """Drop every session and token that is a row or the application's own; others ended with the security stamp."""
        if self._logins:
            self._logins.end_all(user)
        if self._settings.auth_token_manager_class:
            self._tokens.revoke_token(user, token=None)

    def _open_session(self, user: User, *, remember: bool, fresh: bool) -> None:
        """A session with nothing in it of what somebody may have planted (OWASP Session Management, ASVS 7.2.4)."""
        forget_session()
        g._registration_commits = True
        try:
            flask_login.login_user(user, remember=remember, fresh=fresh)
        finally:
            del g._registration_commits

    # What Flask-Login asks of us

    def _mark_session(self, sender: Flask, user: Any, **_: Any) -> None:
        session.pop(LOGIN_TIME, None)  # of whoever was there before: a view of the application need not clear it
        if not isinstance(user, self._model):  # the application logs others in as well
            return
        secret = ""
        if self._logins:  # the application's own views need not know that there is a row to commit
            secret = self._logins.begin(user, "session", commit="_registration_commits" not in g)
        loader = cast(Any, current_app).login_manager.user_callback
        ours = isinstance(loader, SessionLoader) and loader.load is None
        identifier = self._users.identifier(user) if ours else session["_user_id"]
        session["_user_id"] = "~".join([identifier, stamp_mark(self._users.state(user)), secret])

    def recognise(self, session_id: str, load: Callable[[str], User | None]) -> User | None:
        """The user of a session, unless it has ended."""
        ours = SESSION_ID.fullmatch(session_id)
        identifier, mark, secret = ours.groups() if ours else (session_id, "", "")
        user = load(identifier)
        if user is None or not isinstance(user, self._model):
            return user
        reason = self._why_ended(user, mark, secret)
        if reason:
            record(SESSION_REFUSED, user_id=self._users.identifier(user), reason=reason)
        return None if reason else user

    def _why_ended(self, user: User, mark: str, secret: str) -> str | None:
        """Why a session is no longer good; None if it is."""
        if not self._users.state(user).is_active:
            return "suspended"
        if not hmac.compare_digest(mark.encode(), stamp_mark(self._users.state(user)).encode()):
            return "stamp"
        if self._logins and not self._logins.is_good(user, secret):
            return "revoked"
        return None
