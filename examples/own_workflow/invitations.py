"""Invitations: somebody with an account invites an address; whoever opens the link in the mail gets an account.

This file is the whole journey. Copy it and its templates to an application of your own.
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
    Kit,
    LinkExpired,
    LinkInvalid,
    Purpose,
    Settings,
    SettingsReader,
    SignedLink,
    SuccessSchema,
    announce,
    create_user,
    current_kit,
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


flow = Flow("invitations", InvitationSettings, mails=lambda settings: True, needs_email=True)

#: Bound to nothing more than the security stamp of who invites: a new password of theirs takes invitations back, and so
#: does a suspension. An invitation is used up when there is an account with its address.
INVITE = Purpose("invitation", binds=lambda inviter: ())

invitation_accepted = Namespace().signal("invitation-accepted")  # user, request, inviter


# Invite


class InviteSchema(BodySchema):
    """Whom to invite."""

    email = fields.String(required=True)


@flow.post(
    "/invite/",
    loads=InviteSchema,
    returns=SuccessSchema,
    login_required=True,
    throttles={"client": "30/hour", "account": "20/day"},
)
def invite_view(inviter: Any, data: dict[str, str]) -> ResponseReturnValue:
    """Mail an invitation. The answer is the same whether or not somebody has the address."""
    invite(current_kit, flow.settings, inviter, data["email"])
    return success("The invitation is on its way")


def invite(kit: Kit, settings: InvitationSettings, inviter: Any, address: str) -> None:
    """Mail an invitation.

    :raises marshmallow.ValidationError: this is no address.
    """
    email = kit.users.build({"email": address})["email"]
    kit.commit(invitation_mail(kit, settings, inviter, email))


def invitation_mail(kit: Kit, settings: InvitationSettings, inviter: Any, email: str) -> Any:
    """The mail with the link, to the address that is invited."""
    link = kit.links.sign(INVITE, inviter, settings.invitation_url, email)
    return kit.mail(
        Notice.INVITATION,
        inviter,
        to=email,
        templates=settings.invitation_email_templates,
        verification_url=kit.composer.url(link),
        days=settings.invitation_period.days,
    )


@flow.examples.add(to="the address that is invited", when="somebody with an account invites it")
def example_of_an_invitation(kit: Kit, inviter: Any) -> Any:
    """What ``flask registration preview-mail`` shows of it."""
    return invitation_mail(kit, flow.settings, inviter, "bob@example.com")


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
    loads=EmailLinkSchema,
    returns=JoinedSchema,
    status=201,
    raises=[LinkInvalid, LinkExpired],
    throttles={"client": "30/minute"},
)
def join_view(link: SignedLink) -> ResponseReturnValue:
    """Open an account with the parameters of an invitation."""
    user = join(current_kit, flow.settings, link, lambda: load_body(JoinSchema))
    return success("Welcome", 201, username=user.username)


def join(kit: Kit, settings: InvitationSettings, link: SignedLink, chosen: Callable[[], dict[str, Any]]) -> Any:
    """Open the account of somebody who was invited. Their address needs no other proof: the link was mailed to it.

    :param chosen: called once the link has proven itself; before that nothing else in the body is looked at.
    :raises LinkInvalid: forged, for something else, or taken back.
    :raises LinkExpired: older than ``REGISTRATION_INVITATION_PERIOD``.
    :raises marshmallow.ValidationError: a name or a password that will not do, or a taken one; the link is still good.
    """
    inviter: Any
    inviter, _ = kit.links.open(INVITE, link, settings.invitation_period)
    user = create_user(kit, **chosen(), email=link.email, invited_by_id=inviter.id)
    kit.commit(signal=user_registered, user=user)
    announce(user_activated, user=user)
    announce(invitation_accepted, user=user, inviter=inviter)
    return user


# What must be so at start-up


@flow.check
def check(settings: InvitationSettings, fields: object, reader: SettingsReader) -> None:
    """An invitation must lead somewhere, whatever host a request names."""
    if not settings.invitation_url.startswith(("https://", "http://")):
        cure = f"is {settings.invitation_url!r}: give the absolute URL of the page behind an invitation."
        reader.problem("REGISTRATION_INVITATION_URL", cure)
