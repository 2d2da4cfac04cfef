"""Logins in steps: a login is finished when no step of any flow is left."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn

from blinker import NamedSignal

from ..auth.challenges import Challenge, ChallengeStore
from ..errors import (
    ChallengeInvalid,
    CodeInvalid,
    ForeignLogin,
    NotVerified,
    StepRequired,
    UserNotFound,
)
from ..mail.message import Mail
from ..security_log import LOGIN_FAIL
from ..signals import user_logged_in, user_login_failed
from ..state import RegistrationState
from ..users.mixins import utc_now
from ..users.store import User
from .accounts import login_names, remember_device

#: How long a client has for a step.
STEP_PERIOD = timedelta(minutes=15)

#: How many unfinished logins an account has at most, of each step.
KEPT = 5


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step of every login, as :meth:`Flow.step` declares it.

    Its endpoint takes the ``challenge`` of the response ``step-required`` and what the step needs.
    It calls :meth:`open`, then :meth:`refuse` or :meth:`finish`.

    :ivar name: its name in the response, for example ``"second-factor"``.
    :ivar needed: returns whether the step is left for an account, ``needed(state, user)``.
    :ivar offers: returns more fields of the response, ``offers(state, user)``: ``methods`` has the
        ways to do the step.
    :ivar tries: returns how many times a client may try, ``tries(state)``.
    """

    name: str
    needed: Callable[[RegistrationState, User], bool]
    offers: Callable[[RegistrationState, User], Mapping[str, Any]] = lambda state, user: {}
    tries: Callable[[RegistrationState], int] = lambda state: 5

    def open(self, state: RegistrationState, handle: str, *, counts: bool = True) -> Challenge:
        """Count a try, and return the challenge. Call it before anything else in the endpoint.

        :param counts: False for a request that tries no code.
        :raises ChallengeInvalid: the challenge is not valid, or no longer.
        """
        return _store(state).open(self.name, handle, counts=counts)

    def refuse(self, state: RegistrationState, challenge: Challenge) -> NoReturn:
        """Write to the security log that the code is wrong, and send ``user_login_failed``.

        :raises CodeInvalid: always.
        """
        state.users.rollback()
        state.record(LOGIN_FAIL, challenge.user, reason="code")
        state.announce(user_login_failed, user=challenge.user, login=None)
        raise CodeInvalid

    def finish(
        self,
        state: RegistrationState,
        challenge: Challenge,
        *,
        methods: Sequence[str],
        emails: Sequence[Mail] = (),
        signals: Sequence[NamedSignal] = (),
    ) -> dict[str, Any]:
        """Take the challenge, commit, and log in, unless another step is left.

        Return fields of the response.

        :param methods: what the client has shown, as words of RFC 8176.
        :param emails: the messages about what the step has done.
        :param signals: the signals of what the step has done.
        :raises ChallengeInvalid: another request has taken the challenge, or the account was
            changed at the same moment.
        :raises StepRequired: another step is left.
        """
        data, user = challenge.data, challenge.user
        _store(state).take(challenge)
        if user is None:
            raise ChallengeInvalid
        try:
            return log_in(
                state,
                user,
                methods=[*data["methods"], *methods],
                fresh=data["fresh"],
                remember=data["remember"],
                emails=emails,
                signals=signals,
                done=[*data["done"], self.name],
            )
        except (UserNotFound, NotVerified):
            raise ChallengeInvalid from None


def next_step(state: RegistrationState, user: User, done: Sequence[str] = ()) -> Step | None:
    """Return the first step that is left for an account, in the order of the flows.

    :param done: the names of the steps that the client has done.
    """
    steps: list[Step] = [step for flow in state.flows for step in flow.steps]
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
    :raises StepRequired: a step is left. No session, cookie or token exists before the last one.
    :raises UserNotFound: the account is suspended, or was changed at the same moment.
    :raises NotVerified: the e-mail address is not verified yet.
    """
    seen = state.users.snapshot(user)
    if not seen.is_active:
        raise UserNotFound(user=user, reason="suspended")
    if not seen.is_verified:
        raise NotVerified
    step = next_step(state, user, done)
    if step is not None:
        data = {"methods": [*methods], "fresh": fresh, "remember": remember, "done": [*done]}
        tries = step.tries(state)
        handle = _store(state).create(
            step.name, user, period=STEP_PERIOD, tries=tries, data=data, keep=KEPT
        )
        offers = step.offers(state, user)
        state.commit(*emails, deleted=deleted, signals=signals, user=user)
        raise StepRequired(step.name, handle, **offers)
    names = login_names(state, user)  # not the submitted ones, which may name other accounts
    new_login_notice = state.provided("new_login_notice")
    notices = new_login_notice(state, user, names) if new_login_notice else []
    if not state.users.change(user, seen, {"last_login": utc_now()}):
        raise UserNotFound(user=user, reason="changed")
    login_finished = state.provided("login_finished")
    if login_finished:
        login_finished(state, user)
    response = state.sessions.login(user, fresh=fresh, remember=remember, methods=methods)
    signals = [*signals, user_logged_in]
    state.commit(*emails, *notices, deleted=deleted, signals=signals, user=user)
    remember_device(state, names)
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


def _store(state: RegistrationState) -> ChallengeStore:
    if state.challenges is None:  # init_app refuses a flow with a step then
        raise RuntimeError("A step needs a model: class Challenge(ChallengeMixin, db.Model).")
    return state.challenges
