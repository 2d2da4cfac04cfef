"""Every mail that a configuration sends, composed about somebody who does not exist; nothing is sent or stored."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from sqlalchemy import Boolean, Column, Date, DateTime, Integer, String, Uuid

from .flows import register, register_email, reset_password
from .kit import Kit
from .links import Links
from .mail import Mail, MailSettings, NotificationType
from .models import utc_now
from .moves import changed_mail, stamp_after_move
from .pending import RegisterSettings, verification
from .resets import ResetPasswordSettings, can_reset
from .userfields import UserFields, has_default
from .users import User

ADDRESS, OLD_ADDRESS = "alice@example.com", "alice@old.example.com"
NAMES = {"username": "alice", "first_name": "Alice", "last_name": "Liddell"}
TEXT = "Example"


class Example(NamedTuple):
    """A mail that this configuration sends.

    :ivar name: that of its kind, or where it could not be composed that of what should have.
    :ivar mail: None where it could not be composed; ``error`` says why.
    """

    name: str
    whom: str
    when: str
    mail: Mail | None
    error: Exception | None


class Case(NamedTuple):
    """A kind of mail, to whom and when it leaves, as the documentation says it too.

    :ivar leaves: whether it does, with these settings and flows.
    :ivar compose: the mail about this user.
    """

    kind: NotificationType
    whom: str
    when: str
    leaves: Callable[[Kit], bool]
    compose: Callable[[Kit, User], Mail]


def _verifies(kit: Kit) -> bool:
    return verification(kit) is not None


def _keeps_quiet(kit: Kit) -> bool:
    settings = verification(kit)
    return settings is not None and settings.register_flow_enabled and settings.prevent_enumeration


def _moves(kit: Kit) -> bool:
    return "register_email" in kit.handlers


def _proves_moves(kit: Kit) -> bool:
    return _moves(kit) and kit.group(register_email.RegisterEmailSettings).register_email_verification_enabled


def _verification_mail(kit: Kit, user: User) -> Mail:
    return register.verification_mail(kit, kit.group(RegisterSettings), user)


def _reset_mail(kit: Kit, user: User) -> Mail:
    return reset_password.reset_mail(kit, kit.group(ResetPasswordSettings), user)


def _moving_mail(kit: Kit, user: User) -> Mail:
    url = register_email.moving_url(kit, user, ADDRESS)
    return register_email.moving_mail(kit, kit.group(register_email.RegisterEmailSettings), user, ADDRESS, url)


def _changed_mail(kit: Kit, user: User) -> Mail:
    _, can_undo = stamp_after_move(kit, kit.users.state(user))
    return changed_mail(kit, user, OLD_ADDRESS, can_undo=can_undo)


#: Every mail that we have, in the order of an account's life.
CASES = (
    Case(
        NotificationType.REGISTER_VERIFICATION,
        "the account's address",
        "after a registration, and after `resend-verification`",
        _verifies,
        _verification_mail,
    ),
    Case(
        NotificationType.REGISTER_AGAIN,
        "the owner of the address",
        "somebody registered with it again before it was confirmed",
        lambda kit: _keeps_quiet(kit) and can_reset(kit),
        lambda kit, user: register.taken_mail(kit, example_user(kit, verified=False)),
    ),
    Case(
        NotificationType.EMAIL_TAKEN,
        "the owner of the address",
        "somebody tried to register with it though it is confirmed, or suspended",
        _keeps_quiet,
        register.taken_mail,
    ),
    Case(
        NotificationType.RESET_PASSWORD_VERIFICATION,
        "the account's address",
        "somebody asked for a new password",
        lambda kit: "send_reset_password_link" in kit.handlers and can_reset(kit),
        _reset_mail,
    ),
    Case(
        NotificationType.PASSWORD_CHANGED,
        "the account's address",
        "the password was changed or reset",
        lambda kit: kit.fields.email is not None and kit.group(MailSettings).password_notice_enabled,
        lambda kit, user: kit.notice(NotificationType.PASSWORD_CHANGED, user)[0],
    ),
    Case(
        NotificationType.REGISTER_EMAIL_VERIFICATION,
        "the new address",
        "its owner wants to move there",
        _proves_moves,
        _moving_mail,
    ),
    Case(
        NotificationType.EMAIL_CHANGE_TAKEN,
        "the owner of the address",
        "somebody else wants to move there",
        lambda kit: _proves_moves(kit) and kit.fields.email in kit.fields.unique,
        lambda kit, user: kit.mail(NotificationType.EMAIL_CHANGE_TAKEN, user),
    ),
    Case(NotificationType.EMAIL_CHANGED, "the old address", "the account has a new one", _moves, _changed_mail),
)


def examples(kit: Kit) -> Iterator[Example]:
    """Every mail that leaves with this configuration, composed as always: the application's own ways among it."""
    key = secrets.token_bytes()  # nobody else's: no link in them is good, whoever the application's users are
    kit = replace(kit, links=Links(lambda: [key], kit.users))
    for case in CASES:
        if case.leaves(kit):
            yield _example(kit, case.kind.value, case.whom, case.when, case.compose)
    for each in kit.examples:
        yield _example(kit, each.compose.__name__, each.to, each.when, each.compose)


def _example(kit: Kit, name: str, whom: str, when: str, compose: Callable[[Kit, User], Mail]) -> Example:
    try:
        mail = compose(kit, example_user(kit, verified=True))
    except Exception as error:  # whatever the application's templates and hooks raise
        return Example(name, whom, when, None, error)
    return Example(mail.template, whom, when, mail, None)


def example_user(kit: Kit, *, verified: bool) -> User:
    """Somebody who is not stored."""
    fields = kit.fields
    ours = {fields.username_key, fields.password, fields.verified, fields.stamp}
    values = {
        name: _example_value(fields, name, column)
        for name, column in fields.columns.items()
        if name not in ours and (name in fields.listed or name == fields.active or not has_default(column))
    }
    given = {name: value for name, value in values.items() if value is not None}
    user = kit.users.create(kit.users.build(given), password_hash="!", verified=verified)  # noqa: S106 -- nobody's
    for name in {fields.pk, fields.verification_id}:
        if getattr(user, name) is None:
            setattr(user, name, _example_value(fields, name, fields.columns[name]))
    return user


def _example_value(fields: UserFields, name: str, column: Column[Any]) -> Any:
    if name in (fields.email, fields.active):
        return ADDRESS if name == fields.email else True
    kind = column.type
    if isinstance(kind, String):
        text = NAMES.get(name, NAMES["username"] if name in fields.login else TEXT)
        return getattr(kind, "enums", [text])[0][: kind.length]
    if column.nullable:
        return None
    samples: list[tuple[type[Any], Callable[[], Any]]] = [
        (Boolean, lambda: False),
        (Integer, lambda: 1),
        (DateTime, utc_now),
        (Date, lambda: utc_now().date()),
        (Uuid, lambda: kind.python_type(bytes=bytes(16)) if getattr(kind, "as_uuid", False) else "0" * 32),
    ]
    return next((make() for sample, make in samples if isinstance(kind, sample)), None)
