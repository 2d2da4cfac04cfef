"""The commands for invitations."""

from __future__ import annotations

import json
from typing import Any

import click

from .. import actions
from ..actions.invitation_admin import Invitation
from ..users.mixins import as_utc, utc_now
from .base import enter, printable, registration_cli


def _parse(context: click.Context, option: click.Parameter, value: str | None) -> Any:
    try:
        data = None if value is None else json.loads(value)
    except (ValueError, RecursionError):
        data = value
    if data is not None and not isinstance(data, dict):
        raise click.BadParameter('It must be a JSON object, such as {"role": "editor"}.')
    return data


@registration_cli.command("invite")
@click.argument("email")
@click.option(
    "--data", metavar="JSON", callback=_parse, help="What your applier receives, a JSON object."
)
@click.pass_context
def invite_command(context: click.Context, email: str, data: dict[str, Any] | None) -> None:
    """Invite an e-mail address.

    It receives a link that creates an account, also where registration is closed. If it has an
    account, the owner receives an e-mail that says so.
    """
    enter(context)
    _print_sent("Invited", actions.create_invitation(email, data))


@registration_cli.command("invitations")
@click.pass_context
def invitations_command(context: click.Context) -> None:
    """List all invitations, the newest first."""
    enter(context)
    for each in actions.all_invitations():
        by = "" if each.inviter_id is None else f", by user {printable(str(each.inviter_id))}"
        click.echo(f"{each.id}: {printable(each.email)}, {_status(each)}{by}")


def _status(invitation: Invitation) -> str:
    for name, moment in (
        ("accepted", invitation.accepted_at),
        ("revoked", invitation.revoked_at),
    ):
        if moment:
            return f"{name} {as_utc(moment):%Y-%m-%d %H:%M} UTC"
    expires_at = as_utc(invitation.expires_at)
    verb = "expired" if expires_at < utc_now() else "expires"
    return f"{verb} {expires_at:%Y-%m-%d %H:%M} UTC"


@registration_cli.command("resend-invitation")
@click.argument("invitation_id", metavar="ID")
@click.pass_context
def resend_invitation_command(context: click.Context, invitation_id: str) -> None:
    """Send an open invitation again.

    Its earlier link becomes invalid. `invitations` lists the ids.
    """
    enter(context)
    _print_sent("Resent to", actions.renew_invitation(invitation_id))


@registration_cli.command("revoke-invitation")
@click.argument("invitation_id", metavar="ID")
@click.pass_context
def revoke_invitation_command(context: click.Context, invitation_id: str) -> None:
    """Revoke an open invitation.

    Its link becomes invalid. The recipient is not notified. `invitations` lists the ids.
    """
    enter(context)
    actions.cancel_invitation(invitation_id)
    click.echo(f"Revoked invitation {printable(invitation_id)}.")


def _print_sent(done: str, invitation: dict[str, Any]) -> None:
    click.echo(f"{done} {printable(invitation['email'])} (id {invitation['id']}).")
