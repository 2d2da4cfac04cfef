"""Log in and log out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import current_app
from marshmallow import Schema, ValidationError, fields
from sqlalchemy.exc import SQLAlchemyError

from ..auth.tokens import SignedTokenManager
from ..errors import LoginInvalid, NotVerified, StepRequired, UserNotFound
from ..http.accounts import account_names, account_schema, find_users
from ..http.bodies import BodySchema, SuccessSchema, login_response
from ..http.flow import PASSWORD_LIMITS, Flow
from ..http.login import log_in
from ..http.schemas import password_field
from ..i18n.messages import Message
from ..security_log import HASH_UPGRADED, LOGIN_FAIL
from ..settings import Settings, setting
from ..signals import user_logged_out, user_login_failed
from ..state import RegistrationState
from ..users.stamps import UserSnapshot, next_stamp
from ..users.store import User
from ..users.transaction import is_serialization_failure


@dataclass(frozen=True, kw_only=True)
class LoginFlowSettings(Settings):
    """Login and logout."""

    login_schema_class: type[Schema] | None = setting(
        None,
        "The marshmallow schema of the request body of a login.",
        default_text="`login` or a login field, `password`, `remember`",
    )
    login_authenticator: Callable[..., Any] | None = setting(
        None,
        "Authenticates the user: `authenticator(data, **kwargs)` returns a user "
        "or raises `UserNotFound`.",
        default_text="by the login fields and the password",
    )


flow: Flow[LoginFlowSettings] = Flow("login", LoginFlowSettings)


# Log in


def login_schema(state: RegistrationState) -> Schema:
    """Return the application's schema, or ``login`` and all login fields; one is required."""
    schema_class = state.group(LoginFlowSettings).login_schema_class
    if schema_class:
        return schema_class()
    about = "Keep the session when the browser is closed."
    remember = fields.Boolean(load_default=False, metadata={"description": about})
    return account_schema(state, with_email=False, password=password_field(), remember=remember)


@flow.post(
    "/login/",
    request=login_schema,
    response=login_response,
    message=Message("Login successful"),
    errors=[LoginInvalid, NotVerified, StepRequired],
    gated="throttled",
    throttles=PASSWORD_LIMITS,
    account=account_names,
    split_limit=True,
)
def login(data: dict[str, Any]) -> dict[str, Any]:
    """Log in with a login field and the password.

    :raises LoginInvalid: an unknown or suspended account, or a wrong password: the same error for
        all, after the same work.
    :raises NotVerified: the right password, but the e-mail address is not verified yet; only
        without ``PREVENT_ENUMERATION``, else ``LoginInvalid``.
    :raises StepRequired: the right password, and a step is left.
    """
    state, user = flow.state, None
    failure: Callable[[], Exception] = LoginInvalid
    try:
        authenticate = flow.settings.login_authenticator
        user = authenticate(data) if authenticate else find_by_password(state, data)
        return log_in(state, user, remember=bool(data.get("remember")), methods=["pwd"])
    except UserNotFound as error:
        state.users.rollback()
        user, reason = error.user, error.reason
    except NotVerified:
        reason = "pending"
        failure = state.provided("pending_login_error") or failure
    state.record(LOGIN_FAIL, user, reason=reason)
    names = ("login", *state.fields.login)
    submitted = next((data[name] for name in names if data.get(name)), None)
    state.announce(user_login_failed, user=user, login=submitted)
    raise failure()


def find_by_password(state: RegistrationState, data: Mapping[str, Any]) -> User:
    """Return the user with this login and password, and upgrade an outdated hash.

    :raises UserNotFound: there is none.
    :raises AccountUnusable: the account changed at the same moment.
    """
    password = data.get("password") or ""
    user = next(iter(find_users(state, data)), None)
    seen = state.users.snapshot(user)
    stored = seen.password_hash
    is_right, new_hash = state.passwords.verify(password, stored)
    is_usable = seen.is_verified and seen.is_active
    if not (is_right and is_usable):  # refused, here or later
        state.passwords.equalize(password, stored, state.users.other_hash)
    if user is None or not is_right:
        raise UserNotFound(user=user)
    if new_hash and is_usable:
        upgrade_hash(state, user, seen, new_hash)
    return user


def upgrade_hash(state: RegistrationState, user: User, seen: UserSnapshot, new_hash: str) -> None:
    """Store a better hash of the same password. A database that refuses it prevents no login.

    :raises AccountUnusable: the account changed at the same moment.
    """
    name = state.fields.password
    limit = getattr(state.fields.columns[name].type, "length", None)
    try:
        if limit is not None and len(new_hash) > limit:  # some databases would cut it
            raise ValidationError(f"It has {len(new_hash)} characters.")
        state.users.change(user, seen, {"password_hash": new_hash})
    except (ValidationError, SQLAlchemyError) as error:
        if isinstance(error, SQLAlchemyError) and is_serialization_failure(error):
            raise
        current_app.logger.warning(
            "The upgraded password hash of account %s does not fit into the column %s, or the "
            "model or the database refuses it (%s). The earlier hash stays. "
            "`flask registration check --database` checks the column.",
            state.users.identifier(user),
            name,
            type(error).__name__,
        )
    else:
        state.record(HASH_UPGRADED, user)


# Log out


class LogoutSchema(BodySchema):
    """Which logins to end in addition to the session."""

    revoke_token: fields.Boolean = fields.Boolean(
        load_default=False,
        metadata={
            "description": "Revoke the token of the request, or all tokens if it has none. "
            "Without this, a token that is not stored in the database stays valid."
        },
    )
    everywhere: fields.Boolean = fields.Boolean(
        load_default=False,
        metadata={"description": "End every session, token and link of the account."},
    )


@flow.post(
    "/logout/",
    request=LogoutSchema,
    body_optional=True,
    response=SuccessSchema,
    message=Message("Logout successful"),
    login_required=True,
)
def logout(user: User, data: dict[str, bool]) -> None:
    """Log out this client, or all clients of the user.

    :raises marshmallow.ValidationError: both need a column for the security stamp, or a login
        model.
    :raises AccountUnusable: the account was suspended or changed at the same moment, and nothing
        ended.
    """
    state = flow.state
    revoke_token, everywhere = data["revoke_token"], data["everywhere"]
    has_stamp = state.fields.stamp is not None
    if everywhere and not has_stamp and state.logins is None:
        text = Message("This application cannot log out other sessions.", code="unsupported")
        raise ValidationError(text, "everywhere")
    is_irrevocable = not has_stamp and isinstance(state.tokens, SignedTokenManager)
    if revoke_token and is_irrevocable and state.sessions.may_have_token():
        text = Message("This token cannot be revoked.", code="unsupported")
        raise ValidationError(text, "revoke_token")
    if everywhere:
        seen = state.users.snapshot(user)
        state.users.change(user, seen, {"security_stamp": next_stamp(seen.security_stamp)})
        state.sessions.end_logins(user)
    state.sessions.logout(user, revoke_token=revoke_token)
    state.commit(signals=[user_logged_out], user=user)
