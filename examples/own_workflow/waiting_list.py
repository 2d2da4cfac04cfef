"""A waiting list: visitors ask for a place, and an administrator lets the next ones in.

This file is the whole flow. Copy it, its templates and the model ``Place`` to your application.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from marshmallow import ValidationError, fields, validate
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

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
    create_user,
    current_registration,
    setting,
    user_activated,
    user_registered,
)

from .models import Place, User, db


@dataclass(frozen=True, kw_only=True)
class WaitingListSettings(Settings):
    """The waiting list."""

    waiting_list_url: str = setting("", "The page that confirms a place. Must be set.")
    waiting_list_register_url: str = setting("", "The page that opens an account. Must be set.")
    waiting_list_period: timedelta = setting(timedelta(days=7), "How long a link is valid.")


flow = Flow("waiting_list", WaitingListSettings, sends_mail=lambda settings: True, needs_email=True)

#: What the two links are for. Neither is valid in place of the other.
CONFIRM, REGISTER = Purpose("waiting-list-confirm"), Purpose("waiting-list-register")


def link_for(purpose: Purpose) -> EndpointLink[WaitingListSettings]:
    """Return the declaration of a link about an e-mail address without an account."""
    return EndpointLink(
        purpose=lambda settings: purpose,
        period=lambda settings: settings.waiting_list_period,
        of_address=True,
    )


# Ask for a place


class PlaceSchema(BodySchema):
    """The e-mail address."""

    email = fields.String(required=True)


@flow.post(
    "/waiting-list/",
    request=PlaceSchema,
    response=SuccessSchema,
    message="An e-mail to confirm your place is on its way",
    causes_mail=lambda settings: True,
    throttles={"client": "20/minute;100/hour"},
)
def ask_for_place(data: dict[str, str]) -> None:
    """Send a link that confirms a place. The response is the same for every e-mail address.

    :raises marshmallow.ValidationError: the e-mail address is invalid.
    """
    state = current_registration
    email = state.users.build({"email": data["email"]})["email"]  # in normal form
    state.commit(state.mail(place_email, None, to=email, email=email))


@flow.email(
    "waiting_list",
    to="the e-mail address",
    when="a visitor asks for a place on the waiting list",
    example={"email": "bob@example.com", "to": "bob@example.com"},
)
def place_email(state: RegistrationState, user: None, email: str) -> dict[str, Any]:
    """Return the template variables. This is called, and the link signed, when it is sent."""
    settings = state.group(WaitingListSettings)
    return {
        "verification_url": state.links.address_url(CONFIRM, email, settings.waiting_list_url),
        "days": settings.waiting_list_period.days,
    }


@flow.post(
    "/waiting-list/confirm/",
    link=link_for(CONFIRM),
    response=SuccessSchema,
    message="You are on the waiting list",
    throttles={"client": "30/minute"},
)
def confirm_place(link: OpenedLink) -> None:
    """Give the e-mail address a place, unless it has one.

    :raises marshmallow.ValidationError: it has an account.
    """
    email = link.params.email
    if db.session.scalar(select(User.id).where(User.email == email)) is not None:
        raise ValidationError({"email": ["You already have an account."]})
    db.session.add(Place(email=email))
    with suppress(IntegrityError):  # it has a place already, and keeps it
        current_registration.commit()


# Let the next ones in


def let_in(number: int) -> list[str]:
    """Send a link to register to the first ones of the waiting list. Return their addresses.

    Their places are deleted in the same transaction.
    """
    state = current_registration
    places = db.session.scalars(select(Place).order_by(Place.id).limit(number)).all()
    emails = [place.email for place in places]
    for place in places:
        db.session.delete(place)
    state.commit(*(state.mail(turn_email, None, to=email, email=email) for email in emails))
    return emails


@flow.email(
    "waiting_list_turn",
    to="the e-mail address of a place",
    when="an administrator lets it in",
    limited=False,  # an administrator sends it, so that no visitor can use up its limit
    example={"email": "bob@example.com", "to": "bob@example.com"},
)
def turn_email(state: RegistrationState, user: None, email: str) -> dict[str, Any]:
    """Return the template variables."""
    settings = state.group(WaitingListSettings)
    page = settings.waiting_list_register_url
    return {
        "verification_url": state.links.address_url(REGISTER, email, page),
        "days": settings.waiting_list_period.days,
    }


class RegisterSchema(BodySchema):
    """What the user chooses. The e-mail address is in the link."""

    username = fields.String(required=True, validate=validate.Length(1, 150))
    password = fields.String(required=True, validate=validate.Length(1, 4096))


@flow.post(
    "/waiting-list/register/",
    link=link_for(REGISTER),
    request=RegisterSchema,
    response=SuccessSchema,
    message="Welcome",
    status=201,
    throttles={"client": "30/minute"},
)
def register_from_list(link: OpenedLink, data: dict[str, str]) -> None:
    """Create an account with the parameters of a link, which verify the e-mail address.

    :raises marshmallow.ValidationError: an invalid field, or a duplicate username or e-mail
        address.
    """
    state = current_registration
    email, username = link.params.email, data["username"]
    user = create_user(state, email=email, username=username, password=data["password"])
    remove_place(state, user, data)
    state.commit(signals=[user_registered, user_activated], user=user)


@flow.provides("account_created")
def remove_place(state: RegistrationState, user: User, data: dict[str, Any]) -> None:
    """Delete the place of a new account. Other ways to create an account call this as well."""
    db.session.execute(delete(Place).where(Place.email == user.email))


# Check the configuration


@flow.check
def check(setup: Setup) -> Iterator[Finding]:
    """Check that both links have a page."""
    settings = setup.group(WaitingListSettings)
    for name in ("waiting_list_url", "waiting_list_register_url"):
        url = getattr(settings, name)
        if not url.startswith(("https://", "http://")):
            yield Finding(
                id="waiting_list.E001",
                subject=f"REGISTRATION_{name.upper()}",
                problem=f"is {url!r}, which is not absolute.",
                hint="Set it to the URL of the page that the link leads to.",
            )
