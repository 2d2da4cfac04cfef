"""Settings that make accounts easier to find, to take or to mistake."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

from flask import Flask

from ..kit import Kit
from ..passwords import PasswordSettings, long_enough, strong_enough
from ..pending import RegisterSettings
from ..resets import ResetPasswordSettings
from ..settings import PREFIX, spell
from .findings import Finding, note, warning

#: NIST SP 800-63B-4 section 3.1.1.1: with a second factor, and where the password is the only one.
MIN_LENGTH, MIN_LENGTH_ALONE = 8, 15

#: What our zxcvbn score is by default: guessed in more than 10^8 tries.
MIN_STRENGTH = 3

#: NIST SP 800-63B-4 section 4.2.1.2.
RESET_PERIOD = timedelta(days=1)

#: OWASP Password Storage: the least memory in KiB, and the least of memory times passes, of its argon2id settings.
ARGON2_MEMORY, ARGON2_WORK = 7168, 35840


def enumeration(app: Flask, kit: Kit) -> Iterator[Finding]:
    """Whether strangers can find out who has an account."""
    register, reset = kit.settings.get(RegisterSettings), kit.settings.get(ResetPasswordSettings)
    tells = "so that a stranger can find out who has an account."
    if isinstance(register, RegisterSettings) and register.register_flow_enabled:
        if not register.register_verification_enabled:
            yield warning(
                PREFIX + "REGISTER_VERIFICATION_ENABLED",
                f"is off: anybody can open an account with another's address, and a taken one is refused, {tells}",
                f"{PREFIX}REGISTER_VERIFICATION_ENABLED = True",
            )
        elif not register.prevent_enumeration:
            yield warning(
                PREFIX + "PREVENT_ENUMERATION",
                f"is off: a registration with a taken address is refused, {tells}",
                f"{PREFIX}PREVENT_ENUMERATION = True",
            )
    if isinstance(reset, ResetPasswordSettings) and reset.reset_password_fail_when_user_not_found:
        yield warning(
            PREFIX + "RESET_PASSWORD_FAIL_WHEN_USER_NOT_FOUND",
            f"is on: whoever asks for a reset link is told, {tells}",
            f"{PREFIX}RESET_PASSWORD_FAIL_WHEN_USER_NOT_FOUND = False",
        )


def reset_links(app: Flask, kit: Kit) -> Iterator[Finding]:
    """Reset links that lie in a mailbox for long, or work again."""
    settings = kit.settings.get(ResetPasswordSettings)
    if not isinstance(settings, ResetPasswordSettings) or not settings.reset_password_verification_enabled:
        return
    if settings.reset_password_verification_period > RESET_PERIOD:
        yield warning(
            PREFIX + "RESET_PASSWORD_VERIFICATION_PERIOD",
            f"is {spell(settings.reset_password_verification_period)}: NIST allows a day.",
            f"{PREFIX}RESET_PASSWORD_VERIFICATION_PERIOD = 86400",
        )
    if not settings.reset_password_verification_one_time_use:
        yield warning(
            PREFIX + "RESET_PASSWORD_VERIFICATION_ONE_TIME_USE",
            "is off: who finds a used link can set the password again.",
            f"{PREFIX}RESET_PASSWORD_VERIFICATION_ONE_TIME_USE = True",
        )


def passwords(app: Flask, kit: Kit) -> Iterator[Finding]:
    """Passwords that are soon guessed."""
    settings = kit.group(PasswordSettings)
    name, length = f"{PREFIX}PASSWORD_MIN_LENGTH", settings.password_min_length
    if long_enough in settings.password_validators and length < MIN_LENGTH:
        yield warning(name, f"is {length}: NIST asks for {MIN_LENGTH} at the very least.", f"{name} = {MIN_LENGTH}")
    elif long_enough in settings.password_validators and length < MIN_LENGTH_ALONE:
        says = f"is {length}: NIST asks for {MIN_LENGTH_ALONE} where there is no second factor."
        yield note(name, says, f"{name} = {MIN_LENGTH_ALONE}")
    name, strength = f"{PREFIX}PASSWORD_MIN_STRENGTH", settings.password_min_strength
    if strong_enough in settings.password_validators and strength < MIN_STRENGTH:
        yield warning(name, f"is {strength}: passwords of the usual lists pass.", f"{name} = {MIN_STRENGTH}")


def hashing(app: Flask, kit: Kit) -> Iterator[Finding]:
    """Hashes that are soon tried out, once somebody has them."""
    made = re.match(r"\$argon2id\$v=19\$m=(\d+),t=(\d+),", kit.passwords.hash("a password to look at"))
    memory, passes = map(int, made.groups()) if made else (ARGON2_WORK, 1)
    if memory < ARGON2_MEMORY or memory * passes < ARGON2_WORK:
        yield warning(
            PREFIX + "PASSWORD_HASHER",
            f"hashes with m={memory}, t={passes}, which is less than OWASP asks for: a stolen table is soon read.",
            f"leave {PREFIX}PASSWORD_HASHER alone, or Argon2Hasher(memory_cost=19456, time_cost=2)",
        )


def usernames(app: Flask, kit: Kit) -> Iterator[Finding]:
    """Names that differ in case alone, as the model has them."""
    name = kit.fields.username
    if not name or name not in kit.fields.login or kit.fields.username_key:
        return
    column, model = kit.fields.columns[name], kit.fields.model.__name__
    collation = str(getattr(column.type, "collation", None) or type(column.type).__name__).lower()
    folds = collation.endswith(("_ci", "nocase", "citext"))
    expressions = [str(each).lower() for index in column.table.indexes if index.unique for each in index.expressions]
    if not folds and not any("lower(" in text and column.name in text for text in expressions):
        yield warning(
            f"{model}.{name}",
            'has no unique index that ignores case: "Alice" and "alice" are two accounts, one posing as the other.',
            "derive the model from UserMixin, or give it its column username_key",
        )


def logins(app: Flask, kit: Kit) -> Iterator[Finding]:
    """Whether a stolen cookie dies with the logout."""
    if kit.logins is None:
        yield note(
            "login_model",
            "is not given: a copied cookie or token lives on after the logout, until it expires.",
            "registration.init_app(app, user_model=User, login_model=Login)",
        )
