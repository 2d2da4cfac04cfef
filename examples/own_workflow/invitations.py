"""Invitations: a user invites an e-mail address, and the link in the e-mail opens an account.

This file is the whole flow. Copy it and its templates to an application of your own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from blinker import Namespace
from marshmallow import fields, validate

from flask_registration import (
    BodySchema,
    EndpointLink,
    Finding,
    Flow,
    OpenedLink,
    Purpose,
    RegistrationState,
    Settings,
    Setup,
    SuccessSchema,
    announce,
    create_user,
    current_registration,
    setting,
    user_activated,
    user_registered,
)


@dataclass(frozen=True, kw_only=True)
class InvitationSettings(Settings):
    """Invitations."""

    invitation_url: str = setting("", "The page behind the link, an absolute URL. Must be set.")
    invitation_period: timedelta = setting(timedelta(days=7), "How long an invitation is valid.")
    invitation_email_templates: Mapping[str, str] = setting(
        {
            "subject": "invitations/subject.txt",
            "text_body": "invitations/body.txt",
            "html_body": "invitations/body.html",
        },
        "The templates of the e-mail.",
    )


flow = Flow("invitations", InvitationSettings, sends_mail=lambda settings: True, needs_email=True)

#: Bound to the security stamp of the user who invites: a new password or a suspension of that user
#: revokes all invitations. An invitation is used when there is an account with its e-mail address.
INVITE = Purpose("invitation", binds=lambda inviter: ())

invitation_accepted = Namespace().signal("invitation-accepted")  # user, request, inviter


# Invite


class InviteSchema(BodySchema):
    """The e-mail address to invite."""

    email = fields.String(required=True)


@flow.post(
    "/invite/",
    request=InviteSchema,
    response=SuccessSchema,
    message="The invitation is on its way",
    login_required=True,
    throttles={"client": "30/hour", "account": "20/day"},
)
def invite(inviter: Any, data: dict[str, str]) -> None:
    """Send an invitation. The response is the same whether or not the address has an account.

    :raises marshmallow.ValidationError: the e-mail address is invalid.
    """
    state = current_registration
    email = state.users.build({"email": data["email"]})["email"]
    state.commit(state.mail(invitation_email, inviter, to=email, email=email))


@flow.email(
    "invitation",
    to="the address that is invited",
    when="a user invites it",
    templates=lambda settings: settings.invitation_email_templates,
    example={"email": "bob@example.com", "to": "bob@example.com"},
)
def invitation_email(state: RegistrationState, inviter: Any, email: str) -> dict[str, Any]:
    """Return the template variables. This is called, and the link signed, when it is sent."""
    settings = state.group(InvitationSettings)
    return {
        "verification_url": state.links.url(INVITE, inviter, settings.invitation_url, email),
        "days": settings.invitation_period.days,
    }


# Accept


class JoinSchema(BodySchema):
    """What the invited person chooses. The e-mail address is in the link."""

    username = fields.String(required=True, validate=validate.Length(1, 150))
    password = fields.String(required=True, validate=validate.Length(1, 4096))


class JoinedSchema(SuccessSchema):
    """The response."""

    username = fields.String()


@flow.post(
    "/join/",
    link=EndpointLink(
        purpose=lambda settings: INVITE,
        period=lambda settings: settings.invitation_period,
        with_email=True,
    ),
    request=JoinSchema,
    response=JoinedSchema,
    message="Welcome",
    status=201,
    throttles={"client": "30/minute"},
)
def join(link: OpenedLink, data: dict[str, str]) -> dict[str, str]:
    """Open an account with the parameters of an invitation, which verify the e-mail address.

    :raises marshmallow.ValidationError: an invalid field, or a duplicate username.
    """
    state = current_registration
    inviter: Any = link.user
    invited = {"email": link.params.email, "invited_by_id": inviter.id}
    user = create_user(state, password=data["password"], username=data["username"], **invited)
    state.commit(signals=[user_registered], user=user)
    announce(user_activated, user=user)
    announce(invitation_accepted, user=user, inviter=inviter)
    return {"username": user.username}


# Check the configuration


@flow.check
def check(setup: Setup) -> Iterator[Finding]:
    """Check that the link has a page."""
    url = setup.group(InvitationSettings).invitation_url
    if not url.startswith(("https://", "http://")):
        yield Finding(
            id="invitations.E001",
            subject="REGISTRATION_INVITATION_URL",
            problem=f"is {url!r}, which is not absolute.",
            hint="Set it to the URL of the page that the link leads to.",
        )
