"""The settings and the e-mails of invitations, and what their endpoints share.

An application adds the flow to the default ones:
``Registration(flows=[*DEFAULT_FLOWS, invitations.flow], models=[Invitation])``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ...auth.links import Purpose
from ...checks import Finding
from ...errors import NotAllowed
from ...http.accounts import verifies_addresses
from ...http.flow import Flow, always
from ...http.verified_accounts import check_unique_email
from ...i18n.messages import duration
from ...mail.message import Email, no_variables
from ...security_log import NOT_ALLOWED
from ...settings import Settings, setting
from ...state import RegistrationState, Setup
from ...users.store import User
from .model import InvitationStore

Rule = Callable[..., Any]


def _check_rules(value: Rule | tuple[Rule, ...]) -> None:
    if isinstance(value, tuple) and len(value) != 2:
        raise ValueError("must be one function, or two: (may_invite, may_see_all)")


@dataclass(frozen=True, kw_only=True)
class InvitationSettings(Settings):
    """Invitations."""

    invitation_url: str | None = setting(
        None,
        "The page that accepts an invitation and asks for the rest of a registration.",
        page="accept-invitation/",
        beside="REGISTER_VERIFICATION_URL",
    )
    invitation_period: timedelta = setting(
        timedelta(days=7),
        "How long an invitation is valid.",
        minimum=timedelta(minutes=1),
        maximum=timedelta(days=90),
    )
    may_invite: Rule | tuple[Rule, ...] | None = setting(
        None,
        "Whether a user may send an invitation: `may_invite(user, data)`. Or two functions, "
        "`(may_invite, may_see_all)`: with `may_see_all(user)` the user lists, resends and revokes "
        "the invitations of all users.",
        default_text="no user may",
        validate=_check_rules,
    )
    invitation_applier: Rule | None = setting(
        None,
        "Applies the data of an invitation to the new account before it is stored: "
        "`applier(user, data)`.",
    )

    @property
    def rules(self) -> tuple[Rule | None, Rule | None]:
        """Return who may invite, and who may see all invitations."""
        rules = self.may_invite
        return (rules[0], rules[1]) if isinstance(rules, tuple) else (rules, None)


flow: Flow[InvitationSettings] = Flow(
    "invitations",
    InvitationSettings,
    sends_mail=always,
    needs_models=["invitation"],
    needs_email=True,
)

#: Of a link about an e-mail address, whose note is the nonce of the invitation.
INVITATION = Purpose("invitation")


@flow.provides("invitation_store")
def store_of(state: RegistrationState) -> InvitationStore:
    """Return the rows of invitations."""
    db = state.setup.app.extensions["sqlalchemy"]
    period = state.group(InvitationSettings).invitation_period
    return InvitationStore(db, state.setup.models["invitation"], state.users, period)


@flow.provides("account_created")
def end_earlier_invitations(state: RegistrationState, user: User, data: Mapping[str, Any]) -> None:
    """Delete the invitations of a deleted account whose id the database uses again."""
    store_of(state).remove_all(user)


@flow.provides("remove_rows")
def remove_invitations(state: RegistrationState, user: User) -> None:
    """Delete the invitations of an account that ends, without committing."""
    store_of(state).remove_of(user)


def check_allowed(state: RegistrationState, user: User, data: Mapping[str, Any]) -> None:
    """Check that a user may send this invitation.

    :raises NotAllowed: the application does not allow it.
    """
    may_invite, _ = state.group(InvitationSettings).rules
    if not (may_invite and may_invite(user, data)):
        state.users.rollback()
        state.record(NOT_ALLOWED, user)
        raise NotAllowed


def visible_to(state: RegistrationState, user: User) -> User | None:
    """Return the user whose invitations this user may see; None for those of all users."""
    _, may_see_all = state.group(InvitationSettings).rules
    return None if may_see_all and may_see_all(user) else user


# E-mails


def has_active_inviter(state: RegistrationState, invitation: Any) -> bool:
    """Return whether the user who invites is neither suspended nor deleted.

    The invitation of an administrator has no such user, and stays open.
    """
    if invitation.inviter_id is None:
        return True
    inviter = state.users.get(str(invitation.inviter_id))
    return inviter is not None and state.users.snapshot(inviter).is_active


def is_still_open(state: RegistrationState, nonce: str, **data: Any) -> bool:
    """Return whether the link of an invitation that waits to be sent would be valid."""
    invitation = store_of(state).of_link(nonce)
    return invitation is not None and has_active_inviter(state, invitation)


def shown_address(state: RegistrationState, inviter: User | None) -> str | None:
    """Return the e-mail address of the user who invites, if it is a plain one.

    It is the one value of that user which was verified. A name or a message could be any text, and
    the site would send it to any recipient. An unusual address could look like a URL.
    """
    is_address_verified = inviter is not None and verifies_addresses(state)
    address = state.users.snapshot(inviter).email if is_address_verified else None
    return address if address and re.fullmatch(r"[\w.+-]{1,64}@[\w.-]+", address) else None


@flow.email(
    "invitation",
    to="the invited e-mail address",
    when="an e-mail address is invited that no verified account has, or the invitation is resent",
    current=is_still_open,
    example={"to": "bob@example.com", "email": "bob@example.com", "nonce": ""},
)
def invitation_email(
    state: RegistrationState,
    user: User | None,
    email: str,
    nonce: str,
    inviter: str | None = None,
) -> dict[str, Any]:
    """Return the template variables, with a link that is bound to the nonce.

    :param user: None, since there is no account yet; for a preview, the user who invites.
    :param email: the e-mail address, in normal form.
    :param inviter: the verification id of the user who invites.
    """
    host = user or state.users.get(inviter)
    page = state.pages["invitation_url"]
    return {
        "verification_url": state.links.address_url(INVITATION, email, page, note=nonce),
        "valid_for": duration(state.group(InvitationSettings).invitation_period),
        "inviter": shown_address(state, host),
    }


invitation_taken_email: Email = flow.email(
    "invitation_taken",
    to="the owner of the e-mail address",
    when="the e-mail address of an account is invited",
    notice=True,
)(no_variables)


# Checks


@flow.check
def check(setup: Setup) -> Iterator[Finding]:
    """Check that the link has a page, and that an e-mail address has one account."""
    yield from setup.check_page("INVITATION_URL")
    yield from check_unique_email(setup, flow.name)
    if setup.group(InvitationSettings).may_invite is None:
        yield Finding(
            "registration.N005",
            "REGISTRATION_MAY_INVITE",
            "is not set. Users cannot send invitations; `flask registration invite` can.",
            "Set it to a function `may_invite(user, data)`. If only administrators invite, silence "
            "this note.",
        )
