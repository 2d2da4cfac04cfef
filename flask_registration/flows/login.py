"""Come in, go out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flask.typing import ResponseReturnValue
from marshmallow import Schema, ValidationError, fields, validates_schema

from ..accounts import account_names, log_in, login_names, named_users
from ..errors import LoginInvalid, NotAuthenticated, NotVerified, UserNotFound
from ..events import HASH_UPGRADED, LOGIN_FAIL
from ..flow import Flow, success
from ..kit import Kit
from ..messages import Message
from ..models import utc_now
from ..replies import login_reply
from ..schemas import password_field
from ..sessions import session_kept_on_failure
from ..settings import Settings, setting
from ..signals import announce, user_logged_in, user_logged_out, user_login_failed
from ..tokens import SignedTokenManager
from ..users import User, next_stamp
from ..web import REQUIRED, BodySchema, SuccessSchema, Text


@dataclass(frozen=True, kw_only=True)
class LoginFlowSettings(Settings):
    """Logging in."""

    login_schema_class: type[Schema] | None = setting(
        None,
        "The marshmallow schema of a login's body.",
        default_text="`login` or a login field, `password`, `remember`",
    )
    login_authenticator: Callable[..., Any] | None = setting(
        None,
        "Finds who logs in: `authenticator(data, **kwargs)` returns a user or raises `UserNotFound`.",
        default_text="by the login fields and the password",
    )


flow: Flow[LoginFlowSettings] = Flow("login", LoginFlowSettings)


# Come in


class _LoginSchema(BodySchema):
    password: fields.Field[Any] = password_field()
    remember: fields.Boolean = fields.Boolean(
        load_default=False, metadata={"description": "Keep the session when the browser is closed."}
    )

    @property
    def alternatives(self) -> Iterable[str]:
        return [name for name in self.fields if name not in ("password", "remember")]

    @validates_schema(skip_on_field_errors=False, pass_original=True)
    def _one_at_least(self, data: dict[str, Any], original: dict[str, Any], **kwargs: Any) -> None:
        if not any(name in original for name in self.alternatives):
            raise ValidationError(REQUIRED, "login")


def login_schema(kit: Kit) -> Schema:
    """The application's schema, or ``login`` and every login field, of which one at least must be there."""
    names = dict.fromkeys(["login", *kit.fields.login])
    made = _LoginSchema.from_dict({name: Text() for name in names}, name="Login")
    return (kit.group(LoginFlowSettings).login_schema_class or made)()


@flow.post(
    "/login/",
    loads=login_schema,
    returns=login_reply,
    raises=[LoginInvalid, NotVerified],
    throttles={"client": "60/minute;1000/hour", "account": "10/5 minutes;50/hour"},
    account=account_names,
)
def login_view(data: dict[str, Any]) -> ResponseReturnValue:
    """Log in by a login field and the password."""
    return success("Login successful", **login(flow.kit, flow.settings, data))


def login(kit: Kit, settings: LoginFlowSettings, data: Mapping[str, Any]) -> dict[str, Any]:
    """Log in; returns what the reply shall carry.

    :raises LoginInvalid: unknown, wrong or suspended: the same answer after the same work.
    :raises NotVerified: the right password, but the address has not been proven yet.
    """
    try:
        user = settings.login_authenticator(data) if settings.login_authenticator else find_by_password(kit, data)
        seen = kit.users.state(user)
        if not seen.is_active:
            raise UserNotFound(user=user, reason="suspended")
        pending = not seen.is_verified
        if not pending and not kit.users.change(user, seen, {"last_login": utc_now()}):
            raise UserNotFound(user=user, reason="changed")
    except UserNotFound as error:
        kit.users.rollback()
        tell_of_failure(kit, error.user, data, error.reason)
        raise LoginInvalid from None
    if pending:
        tell_of_failure(kit, user, data, "pending")
        raise NotVerified
    names = login_names(kit, user)  # not what was typed, which may name others too
    reply = log_in(kit, user, fresh=True, signal=user_logged_in, remember=bool(data.get("remember")))
    kit.throttles.clear_account("login", names)
    return reply


def find_by_password(kit: Kit, data: Mapping[str, Any]) -> User:
    """The user whom the body names and whose password it has; an outdated hash is replaced.

    :raises UserNotFound: there is none.
    """
    password = data.get("password") or ""
    user = next(iter(named_users(kit, data)), None)
    seen = None if user is None else kit.users.state(user)
    right, new_hash = kit.passwords.verify(password, seen.password_hash if seen else None)
    if user is None or seen is None or not right:
        raise UserNotFound(user=user)
    if new_hash and seen.is_verified and kit.users.change(user, seen, {"password_hash": new_hash}):
        kit.record(HASH_UPGRADED, user)
    return user


def tell_of_failure(kit: Kit, user: User | None, data: Mapping[str, Any], reason: str) -> None:
    """Tell the security log why a login was refused, which the client is not told, and receivers what was typed."""
    kit.record(LOGIN_FAIL, user, reason=reason)
    announce(user_login_failed, user=user, login=typed_login(kit, data))


def typed_login(kit: Kit, data: Mapping[str, Any]) -> str | None:
    """What was typed to name an account."""
    return next((data[name] for name in ("login", *kit.fields.login) if data.get(name)), None)


# Go out


class LogoutSchema(BodySchema):
    """Which logins to end beside the session."""

    revoke_token: fields.Boolean = fields.Boolean(
        load_default=False,
        metadata={
            "description": "End the token of the request, or all tokens where it has none. Without this, a token that "
            "is no row lives on."
        },
    )
    everywhere: fields.Boolean = fields.Boolean(
        load_default=False, metadata={"description": "End every session, token and link of the account."}
    )


@flow.post("/logout/", loads=LogoutSchema, returns=SuccessSchema, login_required=True)
def logout_view(user: User, data: dict[str, bool]) -> ResponseReturnValue:
    """Log out here, or everywhere."""
    logout(flow.kit, user, **data)
    return success("Logout successful")


def logout(kit: Kit, user: User, *, revoke_token: bool, everywhere: bool) -> None:
    """End the session, and on demand the token, or every session, token and link of the user.

    :raises marshmallow.ValidationError: both need a column for the security stamp, or a login model.
    :raises NotAuthenticated: the account was suspended or changed this very moment, and nothing was ended.
    """
    if everywhere and kit.fields.stamp is None and kit.logins is None:
        raise ValidationError(Message("Other sessions cannot be ended here.", code="unsupported"), "everywhere")
    irrevocable = kit.fields.stamp is None and isinstance(kit.tokens, SignedTokenManager)
    if revoke_token and irrevocable and kit.identity.may_have_token():
        raise ValidationError(Message("This token cannot be revoked.", code="unsupported"), "revoke_token")
    with session_kept_on_failure():
        kit.identity.logout(user, revoke_token=revoke_token)
        if everywhere:
            seen = kit.users.state(user)
            if not kit.users.change(user, seen, {"security_stamp": next_stamp(seen.security_stamp)}):
                raise NotAuthenticated
            kit.identity.end_logins(user)
        kit.commit(signal=user_logged_out, user=user)
