"""Sessions over Flask-Login that end with the security stamp, and the login of a request."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass
from datetime import timedelta
from typing import Any, TypeAlias, cast

import flask_login
from flask import (
    Flask,
    Request,
    appcontext_pushed,
    current_app,
    g,
    request,
    request_started,
    session,
)
from flask_login.config import SESSION_KEYS

from ..errors import NotAuthenticated
from ..request_state import begin_request, request_state
from ..security_log import SESSION_REFUSED, TOKEN_REFUSED, record
from ..settings import Settings, setting
from ..users.fields import has_own
from ..users.stamps import stamp_digest
from ..users.store import User, UserStore
from .request_session import (
    check_remember_cookie,
    forget_session,
    has_session,
    is_remembered,
    remember_cookie_name,
    renew_session_id,
    session_secret,
)
from .tokens import DatedTokenManager, LoginStore, TokenManager, use_precision

#: Flask-Login's session id as we write it: the user's id, a digest of the security stamp, and the
#: secret of a row or, without rows, the times of the login and of the last use.
SESSION_ID = re.compile(r"(.*)~([0-9a-f]{32})~([\w.-]*)", re.DOTALL)

#: In seconds since the epoch.
TIMES = re.compile(r"([0-9]{1,12})\.([0-9]{1,12})")

#: A ``user_loader`` or a ``request_loader`` of the application.
OwnLoader: TypeAlias = Callable[[Any], Any]

#: The key of the session with the time when the client last showed a credential, where there is no
#: login model.
LOGIN_TIME = "_registration_login_time"


def _is_of_application(name: str) -> bool:
    """Return whether a key of the session says nothing about who is logged in."""
    return not name.startswith("_registration") and name not in SESSION_KEYS - {"next"}


def _check_kept_keys(names: Sequence[str]) -> None:
    for name in names:
        if not _is_of_application(name):
            raise ValueError(f"must not name {name!r}, which says who is logged in")


@dataclass(frozen=True, kw_only=True)
class LoginSettings(Settings):
    """Sessions and tokens."""

    login_authenticate_session: bool = setting(
        True, "Whether a login opens a session, with a cookie."
    )
    login_retrieve_token: bool = setting(False, "Whether a login returns a token.")
    auth_token_manager_class: type[Any] | None = setting(
        None,
        "A class that provides, finds and revokes tokens: "
        "`provide_token(user)`, `find_user(token)`, `revoke_token(user, *, token=None)`.",
        default_text="rows of the login model if there is one, else signed tokens",
    )
    auth_token_period: timedelta = setting(timedelta(days=14), "How long a token is valid.")
    session_idle_period: timedelta | None = setting(
        None,
        "How long a session may be unused before it ends, exact to a minute. It also applies to "
        "tokens of the login model, not to signed ones. None sets no limit.",
        minimum=timedelta(minutes=1),
    )
    session_keep: tuple[str, ...] = setting(
        (),
        "Keys of the session whose values survive a login, for example a cart. "
        "Everything else is dropped. Those of another user are dropped, too.",
        validate=_check_kept_keys,
    )
    foreign_logins_allowed: bool = setting(
        False,
        "Whether `flask_login.login_user()` may log in accounts that are suspended or not "
        "verified, or that need another step. False raises an error that names `actions.log_in`.",
    )
    reauthentication_period: timedelta = setting(
        timedelta(minutes=15),
        "How long after a login with a password the user can change the e-mail address "
        "or delete the account without the password.",
    )


@dataclass(frozen=True)
class Loader:
    """A loader of Flask-Login that calls the session manager of the current application.

    :ivar own: the application's own loader, which the session manager calls.
    """

    own: OwnLoader | None
    current: Callable[[], SessionManager]
    load: Callable[[SessionManager, Any, OwnLoader | None], User | None]

    def __call__(self, key: Any) -> User | None:
        return self.load(self.current(), key, self.own)


def add_user_methods(model: type[Any], users: UserStore) -> None:
    """Add the attributes that Flask-Login needs to a model that has none of its own."""
    if not hasattr(model, "get_id"):
        model.get_id = lambda user: users.identifier(user)
    if not has_own(model, "is_active"):
        model.is_active = property(lambda user: users.snapshot(user).is_active)
    for name in ("is_authenticated", "is_anonymous"):
        if not hasattr(model, name):
            setattr(model, name, getattr(flask_login.UserMixin, name))


@dataclass(eq=False)
class SessionManager:
    """Opens sessions, provides tokens, and loads the user of both.

    A session carries a digest of the account's security stamp. A new stamp, a suspension or a
    deletion ends it with the next request, whichever ``user_loader`` the application has. With a
    login model the session also carries the secret of a row, so that a copied cookie is invalid
    after the logout.

    Both are added to Flask-Login's session id, which its remember-me cookie copies, and removed
    before the application's ``user_loader`` is called. Flask-Login's alternative id, a ``get_id``
    of the model that returns them, could not do that: the loader would get them too, and each call
    of ``get_id`` would need a secret or reveal one.

    :ivar logins: the rows of sessions and tokens, if there is a login model.
    :ivar current: returns the manager of the current application; one ``LoginManager`` may serve
        several.
    :ivar check_foreign_login: raises an error if a view of the application must not log a user in.
    """

    app: InitVar[Flask]
    users: UserStore
    settings: LoginSettings
    tokens: TokenManager
    logins: LoginStore | None
    current: Callable[[], SessionManager]
    check_foreign_login: Callable[[User], None]

    def __post_init__(self, app: Flask) -> None:
        """Prepare an application."""
        self.model: type[Any] = self.users.fields.model
        add_user_methods(self.model, self.users)
        if not hasattr(app, "login_manager"):
            flask_login.LoginManager(app)
        self.wrap_loaders(app)
        # For a ``LoginManager`` that is set up after the extension, also outside a request: in a
        # test request context, a template may ask for the user.
        appcontext_pushed.connect(self.wrap_loaders, app)
        request_started.connect(self._begin_request, app)
        flask_login.user_logged_in.connect(self._bind_session, app)

    # The current user

    def user(self) -> User:
        """Return the current user.

        :raises NotAuthenticated: no user is logged in.
        """
        user = self.user_or_none()
        if user is None:
            raise NotAuthenticated
        return user

    def user_or_none(self) -> User | None:
        """Return the current user, if a user is logged in."""
        user = cast(Any, flask_login.current_user)._get_current_object()
        if not isinstance(user, self.model) or not user.is_authenticated:
            return None  # the application may log in others as well
        return user if self.users.snapshot(user).is_active else None

    def undo(self) -> None:
        """Undo a login or logout that was not committed: restore the session.

        The current user is loaded again at the next use, since the account may have changed.
        """
        state = request_state()
        if state.kept_session is not None:
            session.clear()
            session.update(state.kept_session)
            state.renews_session = False
        state.token = state.login = state.last_use = state.kept_session = None
        g.pop("_login_user", None)

    def is_fresh(self) -> bool:
        """Return whether the client has recently shown a credential."""
        token, fresh_at = request_state().token, self._fresh_at()
        age = None if fresh_at is None else time.time() - fresh_at
        if token is not None and isinstance(self.tokens, DatedTokenManager):
            age = self.tokens.age(token)
        period = self.settings.reauthentication_period.total_seconds()
        return age is not None and -1 < age <= period  # a database may round the time to a second

    def _fresh_at(self) -> float | None:
        """Return when the client last showed a credential for the current session or row.

        In seconds since the epoch; None if that is unknown.
        """
        state = request_state()
        if state.token is None and not flask_login.login_fresh():
            return None
        if self.logins:
            return state.login and state.login.fresh_at
        if state.token is not None:
            return None
        login_time: float | None = session.get(LOGIN_TIME)
        return login_time

    # Log in and log out

    def login(
        self, user: User, *, fresh: bool, remember: bool = False, methods: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Log in the current client, before the commit. Return the fields to add to the response.

        :param fresh: whether the client has just shown a credential.
        :param methods: the credentials, as words of RFC 8176.
        """
        if self.settings.login_authenticate_session and has_session():
            secret = session_secret()
            if self.logins and secret:  # it is replaced: a copy of its cookie must become invalid
                self.logins.drop(secret)
            fresh_at = time.time() if fresh else None
            self._open_session(
                user, remember=remember, fresh=fresh, fresh_at=fresh_at, methods=methods
            )
        if not self.settings.login_retrieve_token:
            return {}
        try:
            return {"token": self.provide_token(user, fresh=fresh, methods=methods)}
        except Exception:
            self.undo()
            raise

    def provide_token(self, user: User, *, fresh: bool, methods: Sequence[str] = ()) -> str:
        """Return a new token, before the commit.

        :param fresh: whether the client has just shown a credential.
        :param methods: the credentials, as words of RFC 8176; only the login model stores them.
        """
        if isinstance(self.tokens, LoginStore):
            return self.tokens.provide_token(user, fresh=fresh, methods=" ".join(methods))
        if isinstance(self.tokens, DatedTokenManager):
            return self.tokens.provide_token(user, fresh=fresh)
        return self.tokens.provide_token(user)

    def renew(
        self, user: User, *, methods: Sequence[str] = (), fresh_token: bool = False
    ) -> dict[str, Any]:
        """Keep the current client logged in with a new session id or token.

        A client that a loader of the application has found without a session gets none.

        :param methods: the credentials that the client has just shown for a re-authentication, as
            words of RFC 8176. The session keeps its data, and the old row ends. Without any, the
            security stamp has changed, which has ended the old session or token. The new session is
            as fresh as the old one.
        :param fresh_token: whether a new token is fresh. Its age begins anew, so the client must
            have shown a credential.
        """
        state, is_shown = request_state(), bool(methods)
        earlier = state.login.methods.split() if state.login else []
        all_methods = list(dict.fromkeys([*earlier, *methods]))
        secret = state.token or session_secret()
        if is_shown and self.logins and secret:
            self.logins.drop(secret)
        if state.token is not None:
            return {
                "token": self.provide_token(
                    user, fresh=is_shown or fresh_token, methods=all_methods
                )
            }
        if not (has_session() and "_user_id" in session):
            return {}
        self._open_session(
            user,
            remember=flask_login.login_remembered(),
            fresh=is_shown or flask_login.login_fresh(),
            fresh_at=time.time() if is_shown else self._fresh_at(),
            methods=all_methods,
            keep_data=is_shown,
        )
        return {}

    def logout(self, user: User, *, revoke_token: bool) -> None:
        """Log out the current client, before the commit. A login that is a row ends in any case.

        :param revoke_token: revoke the token of the request, or all tokens of the user if the
            request came with a session.
        :raises AccountUnusable: the account was suspended or changed at the same moment; only if
            signed tokens are revoked.
        """
        token = request_state().token
        secret = token or session_secret()
        if self.logins and secret:
            self.logins.drop(secret)
        if revoke_token and self.may_have_token():
            self.tokens.revoke_token(user, token=token)
        if token is None or self.settings.login_authenticate_session:
            forget_session()
            flask_login.logout_user()

    def may_have_token(self) -> bool:
        """Return whether there can be a token to revoke."""
        return request_state().token is not None or self.settings.login_retrieve_token

    def end_logins(self, user: User) -> None:
        """Delete all rows of sessions and tokens, and revoke those of the application's manager.

        Call it after the security stamp has changed, which ends all others.
        """
        if self.logins:
            self.logins.remove_all(user)
        if self.settings.auth_token_manager_class:
            self.tokens.revoke_token(user, token=None)

    def _open_session(
        self,
        user: User,
        *,
        remember: bool,
        fresh: bool,
        fresh_at: float | None,
        methods: Sequence[str],
        keep_data: bool = False,
    ) -> None:
        """Open a session without the data of an earlier one (OWASP Session Management).

        :param fresh_at: when the client showed a credential, in seconds since the epoch.
        :param methods: the credentials, as words of RFC 8176.
        :param keep_data: keep all data of the application; the session is the user's own.
        """
        kept, is_permanent = self._kept_data(user, everything=keep_data), session.permanent
        forget_session()
        state = request_state()
        state.opens_session = " ".join(methods), fresh_at
        try:
            flask_login.login_user(user, remember=remember, fresh=fresh)
        except Exception:
            self.undo()
            raise
        finally:
            state.opens_session = None
        if not remember and remember_cookie_name() in request.cookies:
            session["_remember"] = "clear"  # it is of another user, or older
        if fresh_at is not None and not self.logins:
            session[LOGIN_TIME] = fresh_at
        session.update(kept)
        if is_permanent:
            session.permanent = True

    def _kept_data(self, user: User, *, everything: bool) -> dict[str, Any]:
        """Return the data of the session that survives a login of this user."""
        names = [*session] if everything else self.settings.session_keep
        names = [name for name in names if _is_of_application(name)]
        session_id = session.get("_user_id")
        if names and session_id is not None:
            match = SESSION_ID.fullmatch(session_id)
            owner = match[1] if match else session_id
            if owner not in (self.users.identifier(user), user.get_id()):
                return {}
        return {name: session[name] for name in names if name in session}

    # What Flask and Flask-Login call

    def wrap_loaders(self, app: Flask) -> Loader:
        """Wrap the application's loaders, which it may set at any time. Return the one of users."""
        manager = cast(Any, app).login_manager
        load_user, load_user_of_request = manager.user_callback, manager.request_callback
        if not isinstance(load_user_of_request, Loader):
            by_request = Loader(load_user_of_request, self.current, SessionManager.load_by_request)
            manager.request_loader(by_request)
        if not isinstance(load_user, Loader):
            load_user = Loader(load_user, self.current, SessionManager.load_user)
            manager.user_loader(load_user)
        return load_user

    def _begin_request(self, sender: Flask, **_: Any) -> None:
        """Prepare a request, before any function of the application asks for the current user."""
        begin_request()
        check_remember_cookie()
        self.wrap_loaders(sender)

    def _bind_session(self, sender: Flask, user: Any, **_: Any) -> None:
        """Add the stamp's digest and the secret of a row to the id of a new session."""
        session.pop(LOGIN_TIME, None)  # of an earlier login: a view of the application may keep it
        opening = request_state().opens_session
        if opening is None:  # a view of the application opens it
            renew_session_id()
        if not isinstance(user, self.model):  # the application may log in others as well
            return
        if opening is None and not self.settings.foreign_logins_allowed:
            try:
                self.check_foreign_login(user)
            except Exception:
                for name in SESSION_KEYS - {"next"}:
                    session.pop(name, None)
                g.pop("_login_user", None)
                raise
        now = int(time.time())
        secret_or_times = f"{now}.{now}"
        if self.logins:  # views of the application do not commit the row
            methods, fresh_at = opening or ("", None)
            secret_or_times = self.logins.begin(
                user, "session", methods=methods, fresh_at=fresh_at, commit=opening is None
            )
        has_loader = self.wrap_loaders(sender).own is not None
        identifier = session["_user_id"] if has_loader else self.users.identifier(user)
        digest = stamp_digest(self.users.snapshot(user))
        session["_user_id"] = "~".join([identifier, digest, secret_or_times])

    def load_user(self, session_id: str, own: OwnLoader | None) -> User | None:
        """Return the user of a session, unless it has ended.

        :param own: the application's ``user_loader``.
        """
        match = SESSION_ID.fullmatch(session_id)
        identifier, digest, secret_or_times = match.groups() if match else (session_id, "", "")
        load = own or self.users.get
        user = load(identifier)
        if user is None or not isinstance(user, self.model):
            return user
        seen = self.users.snapshot(user)
        if not seen.is_active:
            reason = "suspended"
        elif digest != stamp_digest(seen):
            reason = "stamp"
        elif self.logins and not self.logins.is_valid(user, secret_or_times):
            reason = "revoked"
        elif not self.logins and not self._is_in_time(session_id, secret_or_times):
            reason = "expired"
        else:
            return user
        record(SESSION_REFUSED, user_id=self.users.identifier(user), reason=reason)
        return None

    def _is_in_time(self, session_id: str, times: str) -> bool:
        """Return whether a session without a row has not expired, and note its use.

        A remembered session lasts as long as any other. The times are in the remember-me cookie,
        too, which is sent again with them.
        """
        match = TIMES.fullmatch(times)
        if match is None:
            return False
        now, started, used = time.time(), int(match[1]), int(match[2])
        if now - started >= current_app.permanent_session_lifetime.total_seconds():
            return False
        idle = self.settings.session_idle_period
        if idle is None:
            return True
        if now - used >= idle.total_seconds():
            return False
        if now - used >= use_precision(idle).total_seconds():
            session["_user_id"] = session_id.removesuffix(times) + f"{started}.{int(now)}"
            if is_remembered(session_id):
                session["_remember"] = "set"
        return True

    def load_by_request(self, request: Request, own: OwnLoader | None) -> User | None:
        """Return the user of the token in ``Authorization: Bearer`` or ``Token``.

        If there is none, return the user that the application's loader finds.

        :param own: the application's ``request_loader``.
        """
        authorization = request.authorization
        is_token = authorization and authorization.type in ("bearer", "token")
        token = authorization.token if authorization and is_token else None
        user = self.tokens.find_user(token) if token else None
        if user is not None and self.users.snapshot(user).is_active:
            request_state().token = token
            return user
        request_state().login = None  # of a suspended user
        other = own(request) if own else None
        if isinstance(other, self.model) and not self.users.snapshot(other).is_active:
            other = None  # Flask-Login looks at the attribute ``is_active`` only
        if token and other is None:
            record(TOKEN_REFUSED, user_id=None if user is None else self.users.identifier(user))
        return other
