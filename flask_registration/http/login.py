"""Log in: a login is finished when no step of any flow is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from blinker import NamedSignal

from ..errors import AccountUnusable, ForeignLogin, NotVerified
from ..mail.message import Mail
from ..signals import user_logged_in
from ..state import RegistrationState
from ..users.mixins import utc_now
from ..users.store import User
from .accounts import login_names, remember_device

if TYPE_CHECKING:  # an application without steps does not import them
    from .steps import Step


def next_step(state: RegistrationState, user: User, done: Sequence[str] = ()) -> Step | None:
    """Return the first step that is left for an account, in the order of the flows.

    A step that is no work of the client comes first.

    :param done: the names of the steps that the client has done.
    """
    steps: list[Step] = [step for flow in state.flows for step in flow.steps]
    steps.sort(key=lambda step: step.has_challenge)
    left = (step for step in steps if step.name not in done and step.needed(state, user))
    return next(left, None)


def log_in(
    state: RegistrationState,
    user: User,
    *,
    methods: Sequence[str],
    fresh: bool = True,
    remember: bool = False,
    emails: Sequence[Mail] = (),
    signals: Sequence[NamedSignal] = (),
    deleted: Sequence[User] = (),
    done: Sequence[str] = (),
) -> dict[str, Any]:
    """Commit, and log in the current client if no step is left. Return fields of the response.

    :param methods: the credentials that the client has shown, as words of RFC 8176.
    :param fresh: whether that counts as showing a credential.
    :param emails: the messages about what was done before the login.
    :param signals: the signals of what was done before the login. It stays done if a step is left.
    :param deleted: accounts that were deleted before the login.
    :param done: the names of the steps that the client has done.
    :raises NotApproved: the account waits for its approval.
    :raises StepRequired: a step is left. No session, cookie or token exists before the last one.
    :raises AccountUnusable: the account is suspended, or was changed at the same moment.
    :raises NotVerified: the e-mail address is not verified yet.
    """
    seen = state.users.snapshot(user)
    if not seen.is_active:
        raise AccountUnusable(user=user, reason="suspended")
    if not seen.is_verified:
        raise NotVerified
    step = next_step(state, user, done)
    if step is not None:
        data = {"methods": [*methods], "fresh": fresh, "remember": remember, "done": [*done]}
        step.begin(state, user, data, emails=emails, signals=signals, deleted=deleted)
    names = login_names(state, user)  # not the submitted ones, which may name other accounts
    notices = state.call("new_login_notice", user, names) or []
    state.users.change(user, seen, {"last_login": utc_now()})
    state.call("login_finished", user)
    response = state.sessions.login(user, fresh=fresh, remember=remember, methods=methods)
    signals = [*signals, user_logged_in]
    state.commit(*emails, *notices, deleted=deleted, signals=signals, user=user)
    remember_device(state, names, seen.email)
    return response


def check_foreign_login(state: RegistrationState, user: User) -> None:
    """Check that ``flask_login.login_user()`` of the application walks past nothing.

    :raises ForeignLogin: the account is suspended or not verified, or a step is left.
    """
    seen = state.users.snapshot(user)
    if not seen.is_active:
        raise ForeignLogin("the account is suspended")
    if not seen.is_verified and state.provided("requires_verification"):
        raise ForeignLogin("the e-mail address is not verified")
    step = next_step(state, user)
    if step is not None:
        raise ForeignLogin(f"the step {step.name} is left")
