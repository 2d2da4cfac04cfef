"""Invitations: a user invites an e-mail address, and the link in the e-mail opens an account.

This file is the whole flow. Copy it and its templates to an application of your own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any

from blinker import Namespace
from flask.typing import ResponseReturnValue
from marshmallow import fields, validate

from flask_registration import (
    BodySchema,
    EmailLinkSchema,
    Flow,
    LinkExpired,
    LinkInvalid,
    Purpose,
    RegistrationState,
    Settings,
    SettingsReader,
    SignedLink,
    SuccessSchema,
    announce,
    create_user,
    current_registration,
    load_body,
    setting,
    success,
    user_activated,
    user_registered,
)


@dataclass(frozen=True, kw_only=True)
class InvitationSettings(Settings):
    """Invitations."""

    invitation_url: str = setting("", "The page behind the link, an absolute URL. Must be set.")
    invitation_period: timedelta = setting(timedelta(days=7), "How long an invitation is good for.")
    invitation_email_templates: Mapping[str, str] = setting(
        {
            "subject": "invitations/subject.txt",
            "text_body": "invitations/body.txt",
            "html_body": "invitations/body.html",
        },
        "The templates of the mail.",
    )


class Notice(Enum):
    """What the mails of this flow are about; it is in the log where one fails."""

    INVITATION = "invitation"


flow = Flow("invitations", InvitationSettings, sends_mail=lambda settings: True, needs_email=True)

#: Bound to the security stamp of the user who invites: a new password or a suspension of that user
#: revokes all invitations. An invitation is used when there is an account with its e-mail address.
INVITE = Purpose("invitation", binds=lambda inviter: ())

invitation_accepted = Namespace().signal("invitation-accepted")  # user, request, inviter


# Invite


class InviteSchema(BodySchema):
    """Whom to invite."""

    email = fields.String(required=True)


@flow.post(
    "/invite/",
    request=InviteSchema,
    response=SuccessSchema,
    login_required=True,
    throttles={"client": "30/hour", "account": "20/day"},
)
def invite_view(inviter: Any, data: dict[str, str]) -> ResponseReturnValue:
    """Mail an invitation. The answer is the same whether or not somebody has the address."""
    invite(current_registration, flow.settings, inviter, data["email"])
    return success("The invitation is on its way")


def invite(
    state: RegistrationState, settings: InvitationSettings, inviter: Any, address: str
) -> None:
    """Mail an invitation.

    :raises marshmallow.ValidationError: this is no address.
    """
    email = state.users.build({"email": address})["email"]
    state.commit(invitation_mail(state, settings, inviter, email))


def invitation_mail(
    state: RegistrationState, settings: InvitationSettings, inviter: Any, email: str
) -> Any:
    """The mail with the link, to the address that is invited."""
    return state.mail(
        Notice.INVITATION,
        inviter,
        to=email,
        templates=settings.invitation_email_templates,
        verification_url=state.links.url(INVITE, inviter, settings.invitation_url, email),
        days=settings.invitation_period.days,
    )


@flow.examples.add(to="the address that is invited", when="somebody with an account invites it")
def example_of_an_invitation(state: RegistrationState, inviter: Any) -> Any:
    """What ``flask registration preview-mail`` shows of it."""
    return invitation_mail(state, flow.settings, inviter, "bob@example.com")


# Accept


class JoinSchema(BodySchema):
    """What the invited choose. Their address is in the link."""

    username = fields.String(required=True, validate=validate.Length(1, 150))
    password = fields.String(required=True, validate=validate.Length(1, 4096))


class JoinedSchema(SuccessSchema):
    """What they are told."""

    username = fields.String()


@flow.post(
    "/join/",
    request=EmailLinkSchema,
    response=JoinedSchema,
    status=201,
    errors=[LinkInvalid, LinkExpired],
    throttles={"client": "30/minute"},
)
def join_view(link: SignedLink) -> ResponseReturnValue:
    """Open an account with the parameters of an invitation."""
    user = join(current_registration, flow.settings, link, lambda: load_body(JoinSchema))
    return success("Welcome", 201, username=user.username)


def join(
    state: RegistrationState,
    settings: InvitationSettings,
    link: SignedLink,
    chosen: Callable[[], dict[str, Any]],
) -> Any:
    """Open the account of an invited person. The link verifies the e-mail address.

    :param chosen: loads the other fields of the request body; called after the link was verified.
    :raises LinkInvalid: forged, for something else, or taken back.
    :raises LinkExpired: older than ``REGISTRATION_INVITATION_PERIOD``.
    :raises marshmallow.ValidationError: an invalid field, or a duplicate username.
    """
    inviter: Any
    inviter, _ = state.links.open(INVITE, link, settings.invitation_period)
    user = create_user(state, **chosen(), email=link.email, invited_by_id=inviter.id)
    state.commit(signal=user_registered, user=user)
    announce(user_activated, user=user)
    announce(invitation_accepted, user=user, inviter=inviter)
    return user


# What must be so at start-up


@flow.check
def check(settings: InvitationSettings, fields: object, reader: SettingsReader) -> None:
    """An invitation must lead somewhere, whatever host a request names."""
    if not settings.invitation_url.startswith(("https://", "http://")):
        hint = "give the absolute URL of the page behind an invitation."
        text = f"is {settings.invitation_url!r}: {hint}"
        reader.problem("REGISTRATION_INVITATION_URL", text)
