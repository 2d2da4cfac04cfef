"""Create the account of an e-mail address that the client has verified."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from marshmallow import EXCLUDE, Schema, pre_load

from ..checks import Finding
from ..errors import DuplicateValue, LinkInvalid
from ..security_log import REGISTRATION_TAKEN
from ..signals import user_activated, user_registered
from ..state import RegistrationState, Setup
from ..users.store import User
from .accounts import add_account, new_user
from .bodies import schema_of, with_token
from .login import log_in
from .schemas import register_schema, shown_profile_schema

# The request and the response


def finishing_schema(
    state: RegistrationState, name: str, *, password_required: bool = True
) -> Schema:
    """Return the schema of a registration. The e-mail address is ``email``, as in the link.

    :param name: its name in the API description.
    """
    column = state.fields.email or ""
    base: type[Schema]
    base = state.call("registration_schema") or register_schema(state, password_confirm=True)

    class FinishingSchema(base):  # type: ignore[valid-type,misc]  # a class made at run time
        @pre_load
        def _take_email(self, data: Mapping[str, Any], **kwargs: Any) -> dict[str, Any]:
            field = self.fields.get(column)
            if field is None or "email" not in data:
                return dict(data)
            return {**data, field.data_key or column: data["email"]}

    FinishingSchema.__name__ = name
    schema = FinishingSchema(unknown=EXCLUDE)  # of the parameters of the link
    if not password_required:
        for field in schema.fields.keys() & {"password", "password_confirm"}:
            schema.fields[field].required = False
    return schema


def shown_profile(state: RegistrationState) -> Schema:
    """Return the schema of the profile."""
    schema: Schema | None = state.call("profile_schema")
    return schema or shown_profile_schema(state)()


def finished_response(state: RegistrationState) -> Schema:
    """Return the schema of the response: the profile, with the token if logins return one."""
    return with_token(state, type(schema_of(state, shown_profile)), "SignedUp")


# The account


def add_verified_account(
    state: RegistrationState,
    email: str,
    data: Mapping[str, Any],
    *,
    password_required: bool = True,
    prepare: Callable[[User], object] | None = None,
) -> tuple[User, list[User]]:
    """Store the account of a verified e-mail address, without committing.

    Return it, and the registrations that it displaces: those that merely claim the address, and
    those that have expired.

    :param email: as :func:`normal_email` returns it. It is not judged again.
    :param data: the other fields of a registration.
    :param password_required: see :func:`new_user`.
    :param prepare: called with the account before it is stored.
    :raises marshmallow.ValidationError: an invalid field, or a duplicate username.
    :raises LinkInvalid: another account has the e-mail address.
    """
    column = state.fields.email or ""
    user = new_user(
        state,
        {**data, column: email},
        verified=True,
        password_required=password_required,
        judged=["username"],
    )
    try:
        displaced, _ = add_account(
            state,
            user,
            data=data,
            expired_before=state.call("registrations_expire"),
            is_verified=True,
            prepare=prepare,
        )
    except DuplicateValue as error:
        state.record(REGISTRATION_TAKEN, error.owner, fields=error.fields)
        if column in error.fields:
            raise LinkInvalid from None
        raise
    return user, displaced


def log_in_new(
    state: RegistrationState, user: User, displaced: Sequence[User], *, method: str
) -> dict[str, Any]:
    """Commit, and log in a new user. Return the profile, with the token if logins return one.

    :param method: what the client has shown, as a word of RFC 8176.
    :raises StepRequired: the account is created, and a step of the login is left.
    """
    profile: dict[str, Any] = schema_of(state, shown_profile).dump(user)
    signals = [user_registered, user_activated]
    login = log_in(state, user, methods=[method], signals=signals, deleted=displaced)
    return {**profile, **login}


# Checks


def check_unique_email(setup: Setup, name: str) -> Iterator[Finding]:
    """Check that an e-mail address has one account.

    :param name: the name of the flow.
    """
    model_fields = setup.fields
    if model_fields and model_fields.email not in model_fields.unique:
        yield Finding(
            "registration.E067",
            f"{model_fields.model.__name__}.{model_fields.email}",
            f"is not unique. A link of the flow {name} would create several accounts.",
            "Declare it with mapped_column(..., unique=True).",
        )
