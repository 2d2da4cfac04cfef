"""What the endpoints do, as functions for form views and scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar, cast

from flask import has_request_context
from marshmallow import ValidationError
from sqlalchemy.orm.exc import ObjectDeletedError

from ..errors import AdministrationError, APIError, EndpointDisabled, LoginInvalid, UserNotFound
from ..http.flow import Action
from ..http.login import log_in as log_in_user
from ..http.responses import by_field, translate
from ..state import current_registration
from ..users.store import User
from ..users.transaction import with_retries

P = ParamSpec("P")
T = TypeVar("T")

#: A parameter of a link; the error of a missing one is that of its field.
Parameter = str | int | None


@contextmanager
def handled_errors() -> Iterator[None]:
    """Roll back after an error, and translate its messages."""
    try:
        yield
    except Exception as error:
        current_registration.rollback()
        if has_request_context() and isinstance(error, ValidationError):
            raise ValidationError(translate(by_field(error))) from error
        if has_request_context() and isinstance(error, APIError):
            error.detail = translate(error.detail)
            error.args = (error.detail,)
        raise


def retried(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function be called again after a serialization failure."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        work = partial(function, *args, **kwargs)
        with handled_errors():
            try:
                return with_retries(work, current_registration.rollback)
            except ObjectDeletedError:
                raise AdministrationError("This account was just deleted.") from None

    return call


def _run(name: str, body: Mapping[str, Any] | None = None, **values: Any) -> dict[str, Any]:
    """Run what an endpoint does. Return what it returns, which is mostly a dict.

    :raises EndpointDisabled: its flow is not active.
    """
    with handled_errors():
        action: Action[Any] | None = current_registration.actions.get(name)
        if action is None:
            raise EndpointDisabled
        given = dict(body or {})
        fields = action.schema.fields if action.schema else {}
        if "password" in given and "password_confirm" in fields:
            given.setdefault("password_confirm", given["password"])
        result: dict[str, Any] = action.run(lambda: given, **values)
        return result


def register(**fields: Any) -> dict[str, Any]:
    """Register an account; see ``POST /register/``.

    ``password_confirm`` may be left out. Return what the response of the endpoint shows: the same
    for a new e-mail address and for one in use.

    :raises UserWithoutEmailNonverifiable: there is no e-mail address to verify.
    """
    return _run("register", fields)


def challenge() -> dict[str, Any]:
    """Return a challenge for the proof of work; see ``GET /challenge/``.

    :raises EndpointDisabled: the flow ``gate`` is not active, or the gate is another one.
    """
    return _run("challenge")


def sign_up(email: str, *, captcha: str | None = None) -> dict[str, Any]:
    """Send an e-mail that finishes a registration; see ``POST /sign-up/``.

    Return the ``challenge`` if e-mails have codes, and a ``suggestion`` for a mistyped address.

    :param captcha: the solution for a gate; by default, that of the submitted form.
    :raises GateRefused: the gate refuses the request.
    :raises marshmallow.ValidationError: the e-mail address is invalid.
    """
    return _run("sign_up", {"email": email, "captcha": captcha})


def finish_sign_up(email: str, **fields: Any) -> dict[str, Any]:
    """Create the account of a verified e-mail address; see ``POST /finish-sign-up/``.

    Call it in a request: it logs the user in. Return the profile, and the token if logins return
    one.

    :param fields: ``timestamp`` and ``signature`` of the link, or ``challenge`` and ``code``; and
        the fields of a registration.
    :raises LinkInvalid: the link is not valid, or an account has the e-mail address by now.
    :raises LinkExpired: the link has expired.
    :raises ChallengeInvalid: the challenge is not valid, or no longer.
    :raises CodeInvalid: the code is wrong.
    :raises StepRequired: the account is created, and a step of the login is left.
    :raises marshmallow.ValidationError: an invalid field, or a duplicate username.
    """
    return _run("finish_sign_up", {"email": email, **fields})


def invite(email: str, data: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Invite an e-mail address; see ``POST /invitations/``. Needs the flow ``invitations``.

    Return the ``id``, ``email``, ``created_at`` and ``expires_at`` of the invitation.

    :param data: what ``REGISTRATION_MAY_INVITE`` and ``REGISTRATION_INVITATION_APPLIER`` receive.
    :raises NotAuthenticated: no user is logged in.
    :raises NotAllowed: the current user may not send this invitation.
    :raises marshmallow.ValidationError: an invalid field.
    """
    return _run("invite", {"email": email, "data": dict(data or {})})


def invitations() -> list[dict[str, Any]]:
    """Return the invitations that the current user may see; see ``GET /invitations/``.

    :raises NotAuthenticated: no user is logged in.
    """
    return cast(list[dict[str, Any]], _run("invitations"))


def resend_invitation(invitation_id: Any) -> dict[str, Any]:
    """Send an open invitation again; see ``POST /invitations/<id>/resend/``. Return it.

    :raises NotAuthenticated: no user is logged in.
    :raises InvitationNotFound: the current user may see no open one with this id.
    :raises NotAllowed: the current user may not send this invitation.
    """
    return _run("resend_invitation", invitation_id=str(invitation_id))


def revoke_invitation(invitation_id: Any) -> None:
    """Revoke an open invitation; see ``DELETE /invitations/<id>/``.

    :raises NotAuthenticated: no user is logged in.
    :raises InvitationNotFound: the current user may see no open one with this id.
    """
    _run("revoke_invitation", invitation_id=str(invitation_id))


def accept_invitation(
    email: str, timestamp: Parameter, signature: Parameter, **fields: Any
) -> dict[str, Any]:
    """Create the account of an invited e-mail address; see ``POST /accept-invitation/``.

    Call it in a request: it logs the user in. Return the profile, and the token if logins return
    one.

    :param fields: the fields of a registration.
    :raises LinkInvalid: the link is not valid, or an account has the e-mail address by now.
    :raises LinkExpired: the link has expired.
    :raises StepRequired: the account is created, and a step of the login is left.
    :raises marshmallow.ValidationError: an invalid field, or a duplicate username.
    """
    link = {"email": email, "timestamp": timestamp, "signature": signature}
    return _run("accept_invitation", {**link, **fields})


def verify_registration(
    user_id: Parameter, timestamp: Parameter, signature: Parameter
) -> dict[str, Any]:
    """Verify an e-mail address; see ``POST /verify-registration/``. Return the token, if any.

    :raises LinkInvalid: the link is not valid.
    :raises LinkExpired: the link has expired.
    """
    return _with_link("verify_registration", user_id, timestamp, signature)


def verify_registration_code(challenge: str, code: str) -> dict[str, Any]:
    """Verify an e-mail address; see ``POST /verify-registration-code/``. Return the token, if any.

    Needs the flow ``codes``, like the other functions with a code.

    :raises ChallengeInvalid: the challenge is not valid, or no longer.
    :raises CodeInvalid: the code is wrong.
    :raises EmailAlreadyRegistered: another account has verified the address meanwhile.
    """
    return _with_code("verify_registration_code", challenge, code)


def resend_verification(**names: str) -> dict[str, Any]:
    """Resend the verification e-mail; see ``POST /resend-verification/``.

    Return the ``challenge`` if e-mails have codes.

    :param names: ``login``, a login field or ``email``.
    """
    return _run("resend_verification", names)


def login(*, password: str, remember: bool = False, **names: Any) -> dict[str, Any]:
    """Log in the client of this request; see ``POST /login/``. Return the token, if any.

    :param names: ``login`` or a login field; other fields for a schema of your own.
    :raises LoginInvalid: an unknown or suspended account, or a wrong password.
    :raises NotVerified: the e-mail address is not verified yet, and ``PREVENT_ENUMERATION`` is off;
        otherwise ``LoginInvalid``.
    """
    kept = {"remember": True} if remember else {}  # a schema of your own may not have the field
    return _run("login", {"password": password, **kept, **names})


@retried
def log_in(
    user: User, *, remember: bool = False, methods: Sequence[str] = ("pwd",)
) -> dict[str, Any]:
    """Log in a user whose credential you have checked, for example a passkey.

    It works like :func:`login`, with its signal. Return the token, if any.

    :param remember: keep the session when the browser is closed.
    :param methods: the credentials, as words of RFC 8176, for example ``["hwk", "user"]``.
    :raises LoginInvalid: the account is suspended, or was changed at the same moment.
    :raises NotVerified: the e-mail address is not verified yet. Do not show this to a client that
        has only shown the password: the client that registered chose it.
    :raises StepRequired: a step is left, for example a second factor. In a view, the error becomes
        the same response as that of ``POST /login/``.
    """
    try:
        return log_in_user(current_registration, user, remember=remember, methods=methods)
    except UserNotFound:
        raise LoginInvalid from None


def send_login_link(**names: str) -> dict[str, Any]:
    """Send an e-mail to log in; see ``POST /send-login-link/``. Needs the flow ``mail_login``.

    Return the ``challenge`` if e-mails have codes.

    :param names: ``login``, or a login field.
    """
    return _run("send_login_link", names)


def login_by_link(user_id: Parameter, timestamp: Parameter, signature: Parameter) -> dict[str, Any]:
    """Log in with the parameters of a link; see ``POST /login-by-link/``. Return the token, if any.

    Needs the flow ``mail_login``.

    :raises LinkInvalid: the link is not valid, or was used.
    :raises LinkExpired: the link has expired.
    :raises StepRequired: the link is used, and a step is left.
    """
    return _with_link("login_by_link", user_id, timestamp, signature)


def login_by_code(challenge: str, code: str) -> dict[str, Any]:
    """Log in with a code; see ``POST /login-by-code/``. Return the token, if any.

    Needs the flow ``mail_login``.

    :raises ChallengeInvalid: the challenge has expired, was used or has no tries left.
    :raises CodeInvalid: the code is wrong.
    :raises StepRequired: the code is used, and a step is left.
    """
    return _with_code("login_by_code", challenge, code)


def logout(*, revoke_token: bool = False, everywhere: bool = False) -> None:
    """Log out the current user; see ``POST /logout/``.

    :raises NotAuthenticated: no user is logged in.
    """
    _run("logout", {"revoke_token": revoke_token, "everywhere": everywhere})


def profile() -> dict[str, Any]:
    """Return the current user's profile; see ``GET /profile/``.

    :raises NotAuthenticated: no user is logged in.
    """
    return _run("profile")


def update_profile(**fields: Any) -> dict[str, Any]:
    """Change some fields of the profile; see ``PATCH /profile/``. Return the profile.

    :raises NotAuthenticated: no user is logged in.
    """
    return _run("update_profile", fields)


def replace_profile(**fields: Any) -> dict[str, Any]:
    """Change the profile, with all mandatory fields; see ``PUT /profile/``. Return the profile.

    :raises NotAuthenticated: no user is logged in.
    """
    return _run("replace_profile", fields)


def delete_profile(password: str | None = None) -> dict[str, Any] | None:
    """Delete the current user's account, and log out; see ``DELETE /profile/``.

    With a grace period, return ``delete_after``.

    :param password: required if the login is not fresh.
    :raises NotAuthenticated: no user is logged in.
    :raises ReauthenticationRequired: there is no password, and the login is not fresh.
    :raises AccountInUse: other rows refer to the account.
    """
    return _run("delete_profile", _given(password=password))


def cancel_deletion(user_id: Parameter, timestamp: Parameter, signature: Parameter) -> None:
    """Keep an account, with the parameters of a link; see ``POST /cancel-deletion/``.

    Needs the flow ``leaving``. It logs no user in.

    :raises LinkInvalid: the link is not valid, or no deletion is scheduled.
    """
    _with_link("cancel_deletion", user_id, timestamp, signature)


def export_profile() -> dict[str, Any]:
    """Return the data of the current user's account; see ``GET /profile/export/``.

    Needs the flow ``leaving``. The values are those of the JSON file.

    :raises NotAuthenticated: no user is logged in.
    :raises ReauthenticationRequired: the login is not fresh.
    """
    exported: dict[str, Any] = cast(Any, _run("export_profile")).get_json()
    return exported


def change_password(old_password: str | None, password: str) -> dict[str, Any]:
    """Change the current user's password; see ``POST /change-password/``.

    Return a new token if the request came with one.

    :param old_password: None for an account without a password.
    :raises NotAuthenticated: no user is logged in.
    :raises ReauthenticationRequired: the account has no password, and the login is not fresh.
    """
    return _run("change_password", {**_given(old_password=old_password), "password": password})


def reauthenticate(
    password: str | None = None, *, code: str | None = None, challenge: str | None = None
) -> dict[str, Any]:
    """Make the current login fresh; see ``POST /reauthenticate/``. Needs the flow of that name.

    Return a new token if the request came with one.

    :param code: a code of the second factor or of a login e-mail, in place of the password.
    :param challenge: that of the login e-mail.
    :raises NotAuthenticated: no user is logged in.
    :raises CodeInvalid: the code is wrong, or was used.
    :raises ChallengeInvalid: the challenge is not valid, or no longer.
    """
    return _run("reauthenticate", _given(password=password, code=code, challenge=challenge))


def second_factor(challenge: str, code: str, *, trust: bool = False) -> dict[str, Any]:
    """Finish a login with a code; see ``POST /second-factor/``. Return the token, if any.

    :param challenge: of the :class:`StepRequired`.
    :param trust: let this browser need no code for a while, if a setting allows it.
    :raises ChallengeInvalid: the challenge is unknown, expired, used or out of tries.
    :raises CodeInvalid: the code is wrong, or was used.
    :raises StepRequired: another step is left.
    """
    return _run("second_factor", {"challenge": challenge, "code": code, "trust": trust})


def recover_second_factor(challenge: str) -> None:
    """Ask to remove a lost factor; see ``POST /recover-second-factor/``.

    :param challenge: of the :class:`StepRequired`.
    :raises ChallengeInvalid: the challenge is unknown, expired, used or out of tries.
    :raises NoFactor: the account has no factor.
    """
    _run("recover_second_factor", {"challenge": challenge})


def cancel_recovery(user_id: Parameter, timestamp: Parameter, signature: Parameter) -> None:
    """Keep the factor, with the parameters of a link; see ``POST /cancel-recovery/``.

    :raises LinkInvalid: the link is not valid, or there is nothing to cancel.
    :raises LinkExpired: the link has expired.
    """
    _with_link("cancel_recovery", user_id, timestamp, signature)


def add_totp(password: str | None = None, *, challenge: str | None = None) -> dict[str, Any]:
    """Begin to add an authenticator app; see ``POST /totp/``. Return ``secret``, ``uri``, ``qr``.

    :param password: required if the login is not fresh.
    :param challenge: of a login that needs a factor, in place of a login.
    :raises NotAuthenticated: no user is logged in, and there is no challenge.
    :raises ReauthenticationRequired: there is no password, and the login is not fresh.
    :raises FactorExists: the account has an authenticator app.
    """
    return _run("add_totp", _given(password=password, challenge=challenge))


def confirm_totp(code: str, *, challenge: str | None = None) -> dict[str, Any]:
    """Activate an authenticator app; see ``POST /totp/confirm/``. Return ``recovery_codes``.

    :param challenge: of a login that needs a factor; it is then finished.
    :raises NotAuthenticated: no user is logged in, and there is no challenge.
    :raises CodeInvalid: the code is wrong.
    """
    return _run("confirm_totp", {"code": code, **_given(challenge=challenge)})


def remove_totp(code: str, password: str | None = None) -> dict[str, Any]:
    """Remove the authenticator app and the recovery codes; see ``DELETE /totp/``.

    :param password: required if the login is not fresh.
    :raises NotAuthenticated: no user is logged in.
    :raises NoFactor: there is no authenticator app.
    :raises FactorRequired: the account must have one.
    :raises CodeInvalid: the code is wrong, or was used.
    """
    return _run("remove_totp", {"code": code, **_given(password=password)})


def create_recovery_codes(password: str | None = None) -> list[str]:
    """Return new recovery codes in place of the earlier ones; see ``POST /recovery-codes/``.

    :param password: required if the login is not fresh.
    :raises NotAuthenticated: no user is logged in.
    :raises NoFactor: there is no authenticator app.
    """
    codes: list[str] = _run("create_recovery_codes", _given(password=password))["recovery_codes"]
    return codes


def credentials() -> list[dict[str, Any]]:
    """Return the current user's authenticator app and recovery codes; see ``GET /credentials/``.

    :raises NotAuthenticated: no user is logged in.
    """
    return cast(list[dict[str, Any]], _run("credentials"))


def decide_approval(
    user_id: Any,
    decision: str,
    *,
    timestamp: Parameter = None,
    signature: Parameter = None,
) -> None:
    """Approve or reject an account that waits; see ``POST /approvals/<id>/``.

    Without a link, the current user must be an approver. Administrators call :func:`approve` and
    :func:`reject`.

    :param decision: ``"approve"`` or ``"reject"``.
    :raises LinkInvalid: the link is not valid, or another approver has decided.
    :raises LinkExpired: the link has expired.
    :raises NotAuthenticated: there is no link, and no user is logged in.
    :raises NotAllowed: the current user does not approve this account.
    :raises ApprovalNotFound: the account does not wait.
    """
    link = _given(timestamp=timestamp, signature=signature)
    _run("decide_approval", {"decision": decision, **link}, user_id=str(user_id))


def accept_terms(version: str, *, challenge: str | None = None) -> dict[str, Any]:
    """Accept the current terms of service; see ``POST /accept-terms/``.

    Return the token, if any. Needs the flow ``terms``.

    :param challenge: of the :class:`StepRequired`; without it, the current user accepts.
    :raises NotAuthenticated: no user is logged in, and there is no challenge.
    :raises ChallengeInvalid: the challenge is unknown, expired or used.
    :raises StepRequired: the terms are accepted, and another step of the login is left.
    :raises marshmallow.ValidationError: another version is current.
    """
    return _run("accept_terms", {"version": version, **_given(challenge=challenge)})


def consents() -> list[dict[str, Any]]:
    """Return what the current user has accepted; see ``GET /consents/``.

    :raises NotAuthenticated: no user is logged in.
    """
    return cast(list[dict[str, Any]], _run("consents"))


def send_reset_password_link(**names: str) -> dict[str, Any]:
    """Send a link to reset the password; see ``POST /send-reset-password-link/``.

    Return the ``challenge`` if e-mails have codes.

    :param names: ``login``, or a login field.
    :raises UserNotFound: only with ``RESET_PASSWORD_FAIL_WHEN_USER_NOT_FOUND``.
    """
    return _run("send_reset_password_link", names)


def reset_password(
    user_id: Parameter, timestamp: Parameter, signature: Parameter, *, password: str
) -> None:
    """Set a new password with the parameters of a link; see ``POST /reset-password/``.

    :raises LinkInvalid: the link is not valid, or was used.
    :raises LinkExpired: the link has expired.
    """
    _with_link("reset_password", user_id, timestamp, signature, password=password)


def reset_password_code(challenge: str, code: str, *, password: str) -> dict[str, Any]:
    """Set a new password with a code; see ``POST /reset-password-code/``. Return the token, if any.

    :raises ChallengeInvalid: the challenge is not valid, or no longer.
    :raises CodeInvalid: the code is wrong.
    """
    return _with_code("reset_password_code", challenge, code, password=password)


def register_email(email: str, password: str | None = None) -> dict[str, Any]:
    """Ask for an e-mail change; see ``POST /register-email/``.

    Return the ``challenge`` if e-mails have codes, and a new token if the address changes
    immediately and the request came with one.

    :param password: required if the login is not fresh.
    :raises NotAuthenticated: no user is logged in.
    :raises ReauthenticationRequired: there is no password, and the login is not fresh.
    :raises EmailAlreadyRegistered: it is in use; only without verification.
    """
    return _run("register_email", {"email": email, **_given(password=password)})


def verify_email(
    user_id: Parameter, timestamp: Parameter, signature: Parameter, *, email: Parameter
) -> dict[str, Any]:
    """Change the e-mail address with the parameters of a link; see ``POST /verify-email/``.

    Return a new token if the request came with one.

    :raises LinkInvalid: the link is not valid, or was used.
    :raises LinkExpired: the link has expired.
    :raises EmailAlreadyRegistered: another account has the e-mail address by now.
    """
    return _with_link("verify_email", user_id, timestamp, signature, email=email)


def verify_email_code(challenge: str, code: str) -> dict[str, Any]:
    """Change the e-mail address with a code; see ``POST /verify-email-code/``.

    Return a new token if the request came with one.

    :raises ChallengeInvalid: the challenge is not valid, or no longer.
    :raises CodeInvalid: the code is wrong.
    :raises EmailAlreadyRegistered: another account has the e-mail address by now.
    """
    return _with_code("verify_email_code", challenge, code)


def undo_email_change(
    user_id: Parameter, timestamp: Parameter, signature: Parameter, *, email: Parameter
) -> None:
    """Undo an e-mail change with the parameters of a link; see ``POST /undo-email-change/``.

    :raises LinkInvalid: the link is not valid, or was used.
    :raises LinkExpired: the link has expired.
    :raises EmailAlreadyRegistered: another account has the old e-mail address by now.
    """
    _with_link("undo_email_change", user_id, timestamp, signature, email=email)


def report_login(user_id: Parameter, timestamp: Parameter, signature: Parameter) -> None:
    """End all logins with the parameters of the link of a notice; see ``POST /report-login/``.

    Needs the flow ``new_login``.

    :raises LinkInvalid: the link is not valid, or was used.
    :raises LinkExpired: the link has expired.
    """
    _with_link("report_login", user_id, timestamp, signature)


def logins() -> list[dict[str, Any]]:
    """Return the current user's sessions and tokens; see ``GET /logins/``. Needs a login model.

    :raises NotAuthenticated: no user is logged in.
    """
    return cast(list[dict[str, Any]], _run("logins"))


def revoke_login(login_id: Any) -> None:
    """Revoke a session or token of the current user; see ``DELETE /logins/<id>/``.

    :raises NotAuthenticated: no user is logged in.
    :raises LoginNotFound: the user has none with this id.
    """
    _run("revoke_login", login_id=str(login_id))


def _with_link(
    name: str, user_id: Parameter, timestamp: Parameter, signature: Parameter, **others: Any
) -> dict[str, Any]:
    link = {"user_id": user_id, "timestamp": timestamp, "signature": signature}
    return _run(name, {**link, **others})


def _with_code(name: str, challenge: str, code: str, **others: Any) -> dict[str, Any]:
    return _run(name, {"challenge": challenge, "code": code, **others})


def _given(**fields: Any) -> dict[str, Any]:
    """Return the fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}
