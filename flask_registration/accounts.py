"""Accounts as several flows need them: made of what somebody typed, and found by it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from blinker import NamedSignal
from marshmallow import Schema, ValidationError, validates_schema

from .errors import FieldTaken, ReauthenticationRequired
from .events import REAUTHENTICATION_FAIL
from .kit import Kit
from .links import SignedLink
from .messages import Message
from .schemas import check_confirmation
from .sessions import session_kept_on_failure
from .users import User, UserState, next_stamp
from .web import REQUIRED, BodySchema, Text, collect

TAKEN = {
    "username": Message("A user with that username already exists.", code="taken"),
    "email": Message("A user with that email already exists.", code="taken"),
}
SOME_TAKEN = Message("A user with that {field} already exists.", code="taken")


def new_user(kit: Kit, data: Mapping[str, Any], *, verified: bool) -> User:
    """A user with everything in normal form and a password that holds, not stored yet.

    :raises marshmallow.ValidationError: with the complaints about every field.
    """
    password = data.get("password")
    if not isinstance(password, str):  # an application's own schema may not have asked for it
        raise ValidationError(REQUIRED, "password")
    values = {name: value for name, value in data.items() if name in kit.fields.columns}
    complaints: dict[str, Any] = {}
    with collect(complaints):
        values = kit.users.build(values)
    with collect(complaints):
        kit.passwords.check(password, kit.users.inputs(values))
    with collect(complaints):
        check_confirmation(data)
    if complaints:
        raise ValidationError(complaints)
    return kit.users.create(values, password_hash=kit.passwords.hash(password), verified=verified)


def create_user(kit: Kit, /, *, password: str, verified: bool = True, **fields: Any) -> Any:
    """Make a user as a registration would, in a flow or outside a request; the caller commits.

    :param fields: any columns of the model, those among them that no client may set.
    :raises marshmallow.ValidationError: what a registration would refuse, a taken name or address among it.
    """
    unknown = [name for name in fields if name not in kit.fields.columns]
    if unknown:
        raise TypeError(f"{kit.fields.model.__name__} has no column {', '.join(unknown)}.")
    user = new_user(kit, {**fields, "password": password}, verified=verified)
    try:
        kit.users.add(user, savepoint=True)
    except FieldTaken as taken:
        raise refusal(kit, taken, discreet=False) from None
    return user


def refusal(kit: Kit, taken: FieldTaken, *, discreet: bool) -> ValidationError:
    """Which values have to be others; a taken address is not among them where that is nobody's business."""
    names = [name for name in taken.fields if not (discreet and name == kit.fields.email)] or taken.fields
    if not names:
        return ValidationError(Message("These values are at odds with what is stored already.", code="conflict"))
    return ValidationError(
        {name: [TAKEN.get(name) or SOME_TAKEN.format(field=name.replace("_", " "))] for name in names}
    )


def account_schema(kit: Kit, *, with_email: bool = True) -> Schema:
    """Names an account: by ``login``, a login field, or ``email``."""
    names = dict.fromkeys(["login", *kit.fields.login, *(["email"] if with_email else [])])
    return _AccountSchema.from_dict({name: Text() for name in names}, name="Account")()


class _AccountSchema(BodySchema):
    @property
    def alternatives(self) -> Iterable[str]:
        return self.fields

    @validates_schema
    def _one_at_least(self, data: dict[str, Any], **kwargs: Any) -> None:
        if not data:
            raise ValidationError(REQUIRED, "login")


def named_users(kit: Kit, data: Mapping[str, str]) -> list[User]:
    """The accounts that a body names, each way to find one looked at, found or not."""
    return [user for name, value in _named(kit, data) for user in kit.users.find(name, value)]


def _named(kit: Kit, data: Mapping[str, Any]) -> dict[tuple[str, Any], None]:
    """Each field by which a body may name an account, with what it says."""
    fields = kit.fields
    named = [(name, data["login"]) for name in fields.login if "login" in data]
    named += [(name, data[name]) for name in fields.login if name in data]
    if fields.email and "email" in data:
        named.append((fields.email, data["email"]))
    return dict.fromkeys(named)


def account_names(kit: Kit, data: Any) -> list[str]:
    """What a throttle calls the accounts that a body names: all spellings of one are the same, and none is looked up.

    A schema of the application's own may make what names none.
    """
    named = [(name, str(value)) for name, value in _named(kit, data)] if isinstance(data, Mapping) else []
    found = [key for name, value in named if (key := kit.users.lookup(name, value))]
    return list(dict.fromkeys(f"{name}={value}" for name, value in found or [("", value) for _, value in named]))


def login_names(kit: Kit, user: User) -> list[str]:
    """What a throttle calls this account where somebody logs in to it."""
    return account_names(kit, {name: value for name in kit.fields.login if (value := getattr(user, name)) is not None})


def link_names(kit: Kit, link: SignedLink) -> list[str]:
    """What a throttle calls the account of a mailed link."""
    return [link.user_id]


def log_in(kit: Kit, user: User, *, fresh: bool, signal: NamedSignal, remember: bool = False) -> dict[str, Any]:
    """Commit, and log in the asking client; returns what the reply shall carry.

    :param fresh: whether they have just shown the password.
    """
    with session_kept_on_failure():
        login = kit.identity.login(user, fresh=fresh, remember=remember)
        kit.commit(signal=signal, user=user)
    return login


def reauthenticate(kit: Kit, user: User, password: str | None) -> None:
    """Make sure that it is the owner who asks, not somebody at a session left open.

    :raises marshmallow.ValidationError: this is not the password.
    :raises ReauthenticationRequired: no password, and the login is not fresh.
    """
    if password is not None:
        right, _ = kit.passwords.verify(password, kit.users.state(user).password_hash)
        if not right:
            kit.record(REAUTHENTICATION_FAIL, user)
            raise ValidationError(Message("This is not your password.", code="wrong-password"), "password")
    elif not kit.identity.is_fresh():
        raise ReauthenticationRequired


def replace_password(kit: Kit, user: User, seen: UserState, password: str, **changes: Any) -> bool:
    """Store a new password, if the account is still as it was seen; every session, token and link of it ends.

    :raises marshmallow.ValidationError: it does not pass the policy.
    """
    kit.passwords.check(password, kit.users.inputs({name: getattr(user, name) for name in kit.fields.personal}))
    password_hash = kit.passwords.hash(password)
    new = {"password_hash": password_hash, "security_stamp": next_stamp(seen.security_stamp), **changes}
    if not kit.users.change(user, seen, new):
        return False
    kit.identity.end_logins(user)
    return True
