"""Registrations that wait for their verification, and the end of those that wait in vain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from marshmallow import Schema

from .errors import FieldTaken
from .kit import Kit
from .mail import NotificationType, default_templates
from .models import as_utc, utc_now
from .replies import login_reply, renewal_reply
from .schemas import profile_schema
from .settings import Settings, setting
from .signals import announce, user_deleted
from .users import User


@dataclass(frozen=True, kw_only=True)
class RegisterSettings(Settings):
    """Registering and verifying."""

    register_flow_enabled: bool = setting(True, "Whether anybody may register.")
    register_schema_class: type[Schema] | None = setting(
        None, "The marshmallow schema of a registration's body.", default_text="made from the model"
    )
    register_schema_password_confirm: bool = setting(True, "Whether the default schema asks for `password_confirm`.")
    register_output_schema_class: type[Schema] | None = setting(
        None, "The marshmallow schema of the reply to a registration.", default_text="the profile"
    )
    register_verification_enabled: bool = setting(
        True, "Whether an address must be proven by a mailed link before the account can be used."
    )
    register_verification_email_sender: Callable[..., None] | None = setting(
        None,
        "Sends the verification mail in our place: `sender(request, user, *, verification_url, **kwargs)`.",
        default_text="our own mail",
    )
    register_verification_period: timedelta = setting(timedelta(days=7), "How long a verification link is good for.")
    register_verification_one_time_use: bool = setting(
        False, "Whether a verification link works once only; else opening it again is a calm 200."
    )
    register_verification_email_templates: Mapping[str, str] = setting(
        default_templates(NotificationType.REGISTER_VERIFICATION), "The templates of the verification mail."
    )
    register_verification_auto_login: bool = setting(
        False, "Whether verifying logs in as well. Needs `REGISTER_VERIFICATION_ONE_TIME_USE`."
    )
    prevent_enumeration: bool = setting(
        True, "Answer a registration with a taken address like any other, and tell its owner by mail."
    )


def registered_reply(kit: Kit) -> Schema:
    """The application's schema for the reply, or the profile's: without the key where it would tell a taken address."""
    settings = kit.group(RegisterSettings)
    discreet = settings.register_verification_enabled and settings.prevent_enumeration
    return (settings.register_output_schema_class or profile_schema(kit.fields, with_key=not discreet))()


def verified_reply(kit: Kit) -> Schema:
    """What a proof of the address answers: with auto-login what a login does."""
    is_login = kit.group(RegisterSettings).register_verification_auto_login
    return login_reply(kit) if is_login else renewal_reply(kit)


def verification(kit: Kit) -> RegisterSettings | None:
    """How addresses are proven here, if they are."""
    settings = kit.settings.get(RegisterSettings)
    if isinstance(settings, RegisterSettings) and settings.register_verification_enabled:
        return settings
    return None


def is_pending(kit: Kit, user: User) -> bool:
    """Whether an account waits for its verification."""
    state = kit.users.state(user)
    return state.is_active and not state.is_verified and bool(state.email)


def due(settings: RegisterSettings, grace: timedelta = timedelta(0)) -> datetime:
    """The time before which a registration must have been made to have expired.

    :param grace: how long ago that must have been.
    """
    return utc_now() - settings.register_verification_period - grace


def has_expired(kit: Kit, user: User, before: datetime) -> bool:
    """Whether an account was registered before that time, and has neither been verified nor used since."""
    joined = getattr(user, kit.fields.joined) if kit.fields.joined else None
    unused = getattr(user, "last_login", None) is None
    return is_pending(kit, user) and unused and joined is not None and as_utc(joined) < before


def add(kit: Kit, settings: RegisterSettings, user: User, *, look_first: bool = False) -> list[User]:
    """Store the account, without committing; returns the registrations that nobody verified in time and it replaces.

    :param look_first: so that a taken address takes as long as a free one, not as long as a statement that fails.
    :raises FieldTaken: another account has one of the unique values.
    """
    try:
        if look_first:
            kit.users.check_free(user)
        kit.users.add(user)
    except FieldTaken as taken:
        if not _may_make_room(kit, settings, taken):
            raise
        gone = _make_room(kit, taken)
        kit.users.add(user)
        return gone
    return []


def _may_make_room(kit: Kit, settings: RegisterSettings, taken: FieldTaken) -> bool:
    """Whether nothing but registrations that have expired holds these values."""
    before = due(settings)
    return settings.register_verification_enabled and all(has_expired(kit, each, before) for each in taken.holders)


def _make_room(kit: Kit, taken: FieldTaken) -> list[User]:
    """Delete what holds these values, without committing: all of it or nothing; who is gone."""
    if all(_delete(kit, holder) for holder in taken.holders):
        return list(taken.holders)
    kit.users.rollback()
    return []


def remove_expired(kit: Kit, identifier: str, before: datetime) -> bool:
    """Delete a registration that has expired, commit, and announce it; whether that was done.

    It stays if it is verified at this very moment, or if other rows need it.
    """
    user = kit.users.get(identifier)
    if user is None or not (has_expired(kit, user, before) and _delete(kit, user)):
        kit.users.rollback()
        return False
    kit.users.commit()
    announce(user_deleted, user=user)
    return True


def _delete(kit: Kit, user: User) -> bool:
    # Writing the flag takes the row: a verification that comes now waits for us, and one that came before wins.
    waits = {"is_verified": False, "last_login": None}
    if not kit.users.change(user, kit.users.state(user), {"is_verified": False}, expecting=waits):
        return False
    kit.identity.end_logins(user)
    try:
        kit.users.delete(user)
    except FieldTaken:
        return False
    return True
