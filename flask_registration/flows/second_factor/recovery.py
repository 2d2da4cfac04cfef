"""Remove a lost factor after a while, unless the user cancels it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

from ...auth.links import OpenedLink, Purpose
from ...checks import Finding
from ...errors import AccountUnusable, ChallengeInvalid, LinkInvalid, MailUnavailable, NoFactor
from ...http.bodies import BodySchema, SuccessSchema, Text
from ...http.flow import EndpointLink
from ...i18n.messages import Message, duration
from ...signals import user_removed_factor
from ...state import DueWork, RegistrationState, Setup
from ...users.mixins import utc_now
from ...users.stamps import next_stamp
from ...users.store import User
from .base import SecondFactorSettings, flow, step, store_of
from .management import remove_credentials

#: How long before the removal the reminder is sent, with longer delays.
REMINDER = timedelta(days=1)

#: Valid until the removal, whatever an attacker with the password does.
CANCEL = Purpose("cancel-recovery", binds=lambda user: (user.email,), stamped=False)


def _is_enabled(settings: SecondFactorSettings) -> bool:
    return settings.second_factor_recovery_delay is not None


def _delay(settings: SecondFactorSettings) -> timedelta:
    return settings.second_factor_recovery_delay or timedelta(0)


@flow.email(
    "factor_recovery",
    when="a client with the password asks to remove a lost second factor, and before it is removed",
    enabled=lambda state: _is_enabled(state.group(SecondFactorSettings)),
    limited=False,
)
def recovery_email(state: RegistrationState, user: User) -> dict[str, Any]:
    """Return the template variables."""
    settings = state.group(SecondFactorSettings)
    url = state.links.url(CANCEL, user, state.pages["cancel_recovery_url"])
    return {"verification_url": url, "delay": duration(_delay(settings))}


class RecoverSchema(BodySchema):
    """The challenge of a login."""

    challenge: Text = Text(required=True, trim=True)


@flow.post(
    "/recover-second-factor/",
    request=RecoverSchema,
    response=SuccessSchema,
    status=202,
    message=Message(
        "Two-factor authentication will be turned off after a waiting time. "
        "We sent you an e-mail about it."
    ),
    errors=[ChallengeInvalid, NoFactor, MailUnavailable],
    enabled=_is_enabled,
    throttles={"client": "20/minute;100/hour"},
)
def recover_second_factor(data: dict[str, Any]) -> None:
    """Ask to remove a lost factor, with the challenge of a login.

    It is removed after the delay, by ``flask registration purge``. The user receives an e-mail now
    and one before that, each with a link that cancels it. A login or a new password cancels it too.

    :raises ChallengeInvalid: the challenge is unknown, expired, used or out of tries.
    :raises NoFactor: the account has none.
    :raises MailUnavailable: with the ``"inline"`` dispatcher; nothing was asked for.
    """
    state, store = flow.state, store_of(flow.state)
    user = step.open(state, data["challenge"], counts=False).user
    if not store.totp(user):
        raise NoFactor
    if store.begin_recovery(user):
        state.commit(*state.notices(recovery_email, user))


@flow.post(
    "/cancel-recovery/",
    link=EndpointLink(
        purpose=lambda settings: CANCEL, period=lambda settings: 3 * _delay(settings)
    ),
    response=SuccessSchema,
    message=Message("Two-factor authentication stays on"),
    enabled=_is_enabled,
    throttles={"client": "60/minute"},
)
def cancel_recovery(link: OpenedLink) -> None:
    """Cancel the removal of a factor, with the parameters of a link.

    :raises LinkInvalid: there is nothing to cancel, or no longer.
    """
    user, _, params = link
    if not store_of(flow.state).cancel_recovery(user):
        raise LinkInvalid(user_id=params.user_id)
    flow.state.commit()


@flow.provides("login_finished", enabled=_is_enabled)
def login_finished(state: RegistrationState, user: User) -> None:
    """Cancel the removal when the user logs in, without committing."""
    store_of(state).cancel_recovery(user)


# What ``flask registration purge`` does


@flow.provides("due_work", enabled=_is_enabled)
def due_work(state: RegistrationState) -> DueWork:
    """Yield the work that is due: its name, what is done, user ids, and the function for each."""
    delay, now = _delay(state.group(SecondFactorSettings)), utc_now()
    lead, store = min(REMINDER, delay / 2), store_of(state)
    lost = store.recoveries(now - delay, now - lead)
    yield "lost second factor", "removed", lost, partial(_remove_lost, state)
    waiting = store.recoveries(now - delay + lead, None)
    yield "reminder", "sent", waiting, partial(_remind, state)


def _remind(state: RegistrationState, user_id: Any) -> bool:
    user = state.users.get(str(user_id))
    if user is None or not store_of(state).mark_reminded(user):
        return False
    state.commit(*state.notices(recovery_email, user))
    return True


def _remove_lost(state: RegistrationState, user_id: Any) -> bool:
    """Remove the factor of an account whose owner did not cancel it. Return whether it did."""
    user = state.users.get(str(user_id))
    if user is None or not store_of(state).cancel_recovery(user):
        return False
    seen = state.users.snapshot(user)
    changes = {"security_stamp": next_stamp(seen.security_stamp)}
    mails = remove_credentials(state, user)
    if mails is None:
        return False
    try:
        state.users.change(user, seen, changes)
    except AccountUnusable:
        return False
    state.sessions.end_logins(user)
    state.commit(*mails, signals=[user_removed_factor], user=user)
    return True


@flow.check
def check(setup: Setup) -> Iterator[Finding]:
    """Check that the link has a page, and that users have an e-mail address."""
    if not _is_enabled(setup.group(SecondFactorSettings)):
        return
    yield from setup.check_page("CANCEL_RECOVERY_URL")
    if setup.fields and setup.fields.email is None:
        yield Finding(
            "registration.E066",
            "REGISTRATION_SECOND_FACTOR_RECOVERY_DELAY",
            "is set, but users have no e-mail address. No owner could cancel the removal.",
            "Set REGISTRATION_SECOND_FACTOR_RECOVERY_DELAY = None.",
        )
