"""Let an administrator approve each account before its first login. Optional.

An application adds the flow to the default ones:
``Registration(flows=[*DEFAULT_FLOWS, approval.flow])``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from blinker import NamedSignal
from flask import current_app
from marshmallow import validate
from sqlalchemy import DateTime, func, select
from sqlalchemy.orm import Mapped, mapped_column

from ..auth.links import Purpose
from ..checks import Finding
from ..errors import (
    AccountUnusable,
    ApprovalNotFound,
    LinkExpired,
    LinkInvalid,
    NotAllowed,
    NotApproved,
    NotAuthenticated,
)
from ..http.accounts import verifies_addresses
from ..http.bodies import (
    BodySchema,
    LinkParameter,
    LinkSchema,
    SuccessSchema,
    Text,
    load,
    schema_of,
)
from ..http.flow import Flow, always
from ..i18n.messages import Message, duration
from ..mail.message import Email, Mail, check_mailbox, no_variables
from ..settings import PREFIX, Settings, setting
from ..signals import user_activated, user_approved, user_registered, user_rejected
from ..state import RegistrationState, Setup
from ..users.mixins import utc_now
from ..users.stamps import TOKEN_LENGTH, SecurityStamp, UserSnapshot, new_stamp
from ..users.store import User

#: How many characters of a username an e-mail to approvers shows: it is another person's text.
SHOWN_LENGTH = 64


class ApprovalMixin:
    """The columns of the approval: ``class User(ApprovalMixin, UserMixin, db.Model)``.

    An account waits while both are NULL. The times are in UTC.
    """

    approved_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), default=None)
    rejected_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), default=None)

    @property
    def is_not_rejected(self) -> bool:
        """Return False for a rejected account, which is suspended."""
        return self.rejected_at is None


def _check_approvers(approvers: Sequence[str] | Callable[..., Any]) -> None:
    for address in () if callable(approvers) else approvers:
        try:
            check_mailbox(address)
        except ValueError as error:
            raise ValueError(f"names {address!r}, which {error}") from None


@dataclass(frozen=True, kw_only=True)
class ApprovalSettings(Settings):
    """Approval of accounts."""

    approvers: tuple[str, ...] | Callable[..., Any] = setting(
        (),
        "The e-mail addresses of those who approve accounts, or `approvers(user, **kwargs)`, which "
        "returns them for an account. They receive the link, and may decide when logged in.",
        validate=_check_approvers,
    )
    approval_url: str | None = setting(
        None,
        "The page with two buttons, to approve or reject an account.",
        page="decide-approval/",
        beside="REGISTER_VERIFICATION_URL",
    )
    approval_period: timedelta = setting(
        timedelta(days=30),
        "How long the link of an approver is valid.",
        minimum=timedelta(minutes=1),
    )


flow: Flow[ApprovalSettings] = Flow("approval", ApprovalSettings, sends_mail=always)


def _bound(seen: UserSnapshot) -> tuple[Any, ...]:
    """Return what a link is bound to: the account and its address, and not its password."""
    stamp = SecurityStamp.parse(seen.security_stamp)
    # The beginning of a password hash, or of a stamp of the application, is the same for many.
    is_generated = len(stamp.token) == TOKEN_LENGTH
    return seen.email, seen.is_verified, stamp.prefix if is_generated else stamp.token


APPROVAL = Purpose("approval", binds=_bound, stamped=False)


# The step of a login


def is_waiting(user: User) -> bool:
    """Return whether no one has decided about an account."""
    return user.approved_at is None and user.rejected_at is None


# The client can only wait, so it gets no challenge.
flow.step("approval", needed=lambda state, user: user.approved_at is None, error=NotApproved)


# The e-mails


@flow.email(
    "approval_request",
    to="the approvers",
    when="an account is verified and waits for approval",
    limited=False,
)
def approval_request_email(state: RegistrationState, user: User) -> dict[str, Any]:
    """Return the template variables. Of the account, the e-mail shows little: others wrote it."""
    name = getattr(user, state.fields.username) if state.fields.username else None
    page, period = state.pages["approval_url"], state.group(ApprovalSettings).approval_period
    return {
        "applicant_name": name and _shortened(str(name)),
        "applicant_email": state.users.snapshot(user).email,
        "verification_url": state.links.url(APPROVAL, user, page),
        "valid_for": duration(period),
    }


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_LENGTH else f"{text[: SHOWN_LENGTH - 1]}…"


approved_email: Email = flow.email("approved", when="the account was approved", limited=False)(
    no_variables
)
rejected_email: Email = flow.email("rejected", when="the account was rejected", limited=False)(
    no_variables
)


def approvers_of(state: RegistrationState, user: User | None) -> list[str]:
    """Return the e-mail addresses of the approvers of an account.

    :param user: None for an unknown account: only a list names its approvers.
    """
    given = state.group(ApprovalSettings).approvers
    if callable(given):
        given = () if user is None else given(user)
    return list(dict.fromkeys(given))


@flow.provides("announced")
def announced(
    state: RegistrationState, user: User, signals: Sequence[NamedSignal]
) -> tuple[list[Mail], list[NamedSignal]]:
    """Return the e-mails to the approvers, when an account begins to wait for them."""
    begins = user_registered in signals or user_activated in signals
    if not (begins and is_waiting(user) and state.users.snapshot(user).is_verified):
        return [], []
    if state.fields.joined:  # as the database stores it, which is part of the digest of an e-mail
        session = current_app.extensions["sqlalchemy"].session
        session.refresh(user, [state.fields.joined])
    # In the default language: the client's is not that of the approvers.
    language = state.languages.default.tag
    mails = [
        replace(state.mail(approval_request_email, user, to=to), language=language, locale=None)
        for to in approvers_of(state, user)
    ]
    return mails, []


# Decide


class DecisionSchema(BodySchema):
    """The decision, and the parameters of the link unless an approver is logged in."""

    decision: Text = Text(required=True, validate=validate.OneOf(["approve", "reject"]))
    timestamp: LinkParameter = LinkParameter()
    signature: LinkParameter = LinkParameter()


@flow.post(
    "/approvals/<user_id>/",
    request=DecisionSchema,
    response=SuccessSchema,
    message=Message("Your decision was saved."),
    errors=[LinkInvalid, LinkExpired, NotAuthenticated, NotAllowed, ApprovalNotFound],
    throttles={"client": "60/minute"},
)
def decide_approval(data: dict[str, str], user_id: str) -> None:
    """Approve or reject an account, with the link of an approver or as the current user.

    :param user_id: the verification id of the account.
    :raises LinkInvalid: the link is not valid, or another approver has decided.
    :raises LinkExpired: the link has expired.
    :raises NotAuthenticated: there is no link, and no user is logged in.
    :raises NotAllowed: the current user does not approve this account.
    :raises ApprovalNotFound: the account does not wait.
    """
    state = flow.state
    is_link = "signature" in data or "timestamp" in data
    user = open_link(state, data, user_id) if is_link else managed_user(state, user_id)
    approves = data["decision"] == "approve"
    seen = state.users.snapshot(user)
    changes, expecting = approval_changes(user, approves=approves)
    expecting |= {"is_active": True}
    decided = LinkInvalid(user_id=user_id) if is_link else ApprovalNotFound()
    if not is_waiting(user):
        raise decided
    try:
        state.users.change(user, seen, changes, expecting=expecting)
    except AccountUnusable:
        raise decided from None
    finish_decision(state, user, approves=approves)


def open_link(state: RegistrationState, data: Mapping[str, str], user_id: str) -> User:
    """Return the account of an approver's link.

    :raises marshmallow.ValidationError: a parameter is missing.
    :raises LinkInvalid: the link is not valid.
    :raises LinkExpired: the link has expired.
    """
    link = load(schema_of(state, LinkSchema), {**data, "user_id": user_id})
    return state.links.open(APPROVAL, link, flow.settings.approval_period).user


def managed_user(state: RegistrationState, user_id: str) -> User:
    """Return an account that the current user approves.

    ``APPROVERS`` names the verified e-mail address of that user. No user approves accounts if a
    client can get an e-mail address without verification.

    :raises NotAuthenticated: no user is logged in.
    :raises NotAllowed: the current user does not approve this account.
    :raises ApprovalNotFound: there is no such account.
    """
    approver, user = state.sessions.user(), state.users.get(user_id)
    seen, column = state.users.snapshot(approver), state.fields.email or ""
    allowed = [state.users.lookup(column, each) for each in approvers_of(state, user)]
    is_address_verified = seen.is_verified and verifies_addresses(state)
    if not (is_address_verified and seen.email and (column, seen.email) in allowed):
        raise NotAllowed
    if user is None:
        raise ApprovalNotFound
    return user


@flow.provides("approval_changes")
def approval_changes(user: User, *, approves: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a decision changes, and what the row must have, with the names of columns."""
    expecting = {"approved_at": None, **({} if user.rejected_at else {"rejected_at": None})}
    if approves:
        return {"approved_at": utc_now(), "rejected_at": None}, expecting
    # An approval later must not bring back the sessions and links of before.
    return {"rejected_at": utc_now(), "security_stamp": new_stamp()}, expecting


@flow.provides("finish_decision")
def finish_decision(state: RegistrationState, user: User, *, approves: bool) -> None:
    """Commit a decision, send its signal, and tell the owner of a verified e-mail address."""
    email, signal = (approved_email, user_approved) if approves else (rejected_email, user_rejected)
    if not approves:
        state.sessions.end_logins(user)
    mails = state.notices(email, user) if state.users.snapshot(user).is_verified else []
    state.commit(*mails, signals=[signal], user=user)


@flow.provides("waiting_accounts")
def waiting_accounts(state: RegistrationState) -> list[User]:
    """Return the verified accounts that wait, the oldest first."""
    fields, model = state.fields, state.fields.model
    flags = fields.named({"is_verified": True, "is_active": True})
    is_waiting = {**flags, "approved_at": None, "rejected_at": None}
    waiting = select(model).filter_by(**is_waiting).order_by(getattr(model, fields.pk))
    session = current_app.extensions["sqlalchemy"].session
    return list(session.scalars(waiting).unique())


# Checks


@flow.check
def check(setup: Setup) -> Iterator[Finding]:
    """Check the columns, and that the approvers have a page."""
    approvers = setup.group(ApprovalSettings).approvers
    if setup.fields and not setup.fields.needs_approval:
        name = setup.fields.model.__name__
        yield Finding(
            "registration.E077",
            name,
            "has no column approved_at, which the flow approval needs. "
            "Decisions could not be stored.",
            f"Derive it from the mixin, too: class {name}(ApprovalMixin, UserMixin, db.Model).",
        )
    if approvers:
        yield from setup.check_page("APPROVAL_URL")
    else:
        yield Finding(
            "registration.W031",
            "REGISTRATION_APPROVERS",
            "is empty. No one receives an e-mail about an account that waits for approval.",
            f"Set {PREFIX}APPROVERS to a list of e-mail addresses, or look at "
            "`flask registration approvals` from time to time.",
        )


@flow.provides("database_checks")
def database_checks(state: RegistrationState, session: Any) -> Iterator[Finding]:
    """Report accounts from before the flow, which can no longer log in."""
    model, table = state.fields.model, state.fields.table.name
    if "last_login" not in state.fields.columns:
        return
    count = session.scalar(
        select(func.count())
        .select_from(model)
        .where(model.approved_at.is_(None), model.rejected_at.is_(None))
        .where(model.last_login.is_not(None))
    )
    if count:
        yield Finding(
            "registration.W032",
            f"{table}.approved_at",
            f"is NULL for accounts that have logged in before (rows: {count}). "
            "They wait for approval and cannot log in.",
            "To approve all of them, write a migration: "
            f"op.execute(sa.update({table}).values(approved_at=sa.func.now())), for example.",
        )
