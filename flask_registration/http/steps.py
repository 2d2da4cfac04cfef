"""Steps of a login, each with a challenge until the client has done it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn

from blinker import NamedSignal

from ..auth.challenges import Challenge
from ..errors import (
    AccountUnusable,
    APIError,
    ChallengeInvalid,
    CodeInvalid,
    NotVerified,
    StepRequired,
)
from ..mail.message import Mail
from ..security_log import LOGIN_FAIL
from ..signals import user_login_failed
from ..state import RegistrationState
from ..users.store import User
from .login import log_in

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
    :ivar error: what the client receives. A step with another error than :class:`StepRequired` is
        no work of the client, and comes before the others.
    """

    name: str
    needed: Callable[[RegistrationState, User], bool]
    offers: Callable[[RegistrationState, User], Mapping[str, Any]] = lambda state, user: {}
    tries: Callable[[RegistrationState], int] = lambda state: 5
    error: type[APIError] = StepRequired

    @property
    def has_challenge(self) -> bool:
        """Return whether the client does the step, with a challenge."""
        return self.error is StepRequired

    def begin(
        self,
        state: RegistrationState,
        user: User,
        data: Mapping[str, Any],
        *,
        emails: Sequence[Mail],
        **outcome: Any,
    ) -> NoReturn:
        """Store a challenge, commit, and ask the client for the step.

        A step that is no work of the client has no challenge.

        :param data: what :meth:`finish` needs for the login.
        :param emails: the messages about what was done before.
        :param outcome: other arguments of :meth:`RegistrationState.commit` for that.
        :raises APIError: always: :attr:`error`.
        """
        error: APIError
        if self.has_challenge:
            handle = state.challenges.create(
                self.name, user, period=STEP_PERIOD, tries=self.tries(state), data=data, keep=KEPT
            )
            error = StepRequired(self.name, handle, **self.offers(state, user))
        else:
            error = self.error()
        state.commit(*emails, user=user, **outcome)
        raise error

    def open(self, state: RegistrationState, handle: str, *, counts: bool = True) -> Challenge:
        """Count a try, and return the challenge. Call it before anything else in the endpoint.

        :param counts: False for a request that tries no code.
        :raises ChallengeInvalid: the challenge is not valid, or no longer.
        """
        return state.challenges.open(self.name, handle, counts=counts)

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
        state.challenges.take(challenge)
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
        except (AccountUnusable, NotVerified):
            raise ChallengeInvalid from None
