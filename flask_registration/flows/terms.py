"""Ask for consent to the terms of service, at registration and when they change. Optional.

An application adds the flow to the default ones:
``Registration(models=[Challenge, Consent], flows=[*DEFAULT_FLOWS, terms.flow])``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from blinker import NamedSignal
from flask import current_app
from marshmallow import Schema, fields, validate
from sqlalchemy import DateTime, String, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from ..auth.links import is_absolute_url
from ..auth.rows import AccountRows
from ..checks import Finding
from ..errors import ChallengeInvalid, NotAuthenticated, StepRequired
from ..http.bodies import BodySchema, SuccessSchema, Text, with_token
from ..http.flow import Flow
from ..http.schemas import ZonedDateTime
from ..http.steps import Step
from ..i18n.messages import Message
from ..mail.message import Mail
from ..request_state import client_address
from ..settings import Settings, setting
from ..signals import terms_accepted, user_registered
from ..state import RegistrationState, Setup
from ..users.mixins import BIG_KEY, exact_string, utc_now
from ..users.stamps import digest_of
from ..users.store import User

VERSION_MAX_LENGTH = 64

#: The document of the rows that this flow writes.
TERMS = "terms"

#: The label of the checkbox on a page.
ACCEPT = Message("I accept the terms of service.")

#: What the field of a registration is loaded as: no column of a user model. A user whose
#: registration had it has an attribute of this name until the signals are sent.
ACCEPTED = "_registration_terms"


class ConsentMixin:
    """The columns of a consent: ``class Consent(ConsentMixin, db.Model)``.

    ``user_id`` is the user's verification id as text. ``key`` is a digest of the user, the document
    and the version, so that each consent has one row.
    """

    __registration_role__ = "consent"

    id: Mapped[int] = mapped_column(BIG_KEY, primary_key=True)
    user_id: Mapped[Any] = mapped_column(String(255), index=True)
    document: Mapped[str] = mapped_column(String(32))
    version: Mapped[str] = mapped_column(exact_string(VERSION_MAX_LENGTH))
    accepted_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=utc_now)
    ip_address: Mapped[str | None] = mapped_column(String(45))
    key: Mapped[str] = mapped_column(String(64), unique=True)


def _check_version(version: str) -> None:
    if not 0 < len(version.strip()) == len(version) <= VERSION_MAX_LENGTH:
        raise ValueError(
            f"must have 1 to {VERSION_MAX_LENGTH} characters, without spaces around them"
        )


def _check_url(url: str) -> None:
    if urlsplit(url).scheme not in ("https", "http") or not is_absolute_url(url):
        raise ValueError('must be a URL, for example "https://example.com/terms/"')


@dataclass(frozen=True, kw_only=True)
class TermsSettings(Settings):
    """Terms of service."""

    terms_version: str | None = setting(
        None,
        "The version of the terms of service that users must have accepted, for example "
        '`"2026-11"`. Must be set.',
        validate=_check_version,
    )
    terms_url: str | None = setting(
        None,
        "The page with the terms of service. The forms of the flow `verification_redirects` link "
        "to it.",
        validate=_check_url,
    )
    terms_ip_address_enabled: bool = setting(
        False, "Whether the IP address of a client that accepts the terms is stored."
    )


flow: Flow[TermsSettings] = Flow("terms", TermsSettings, needs_models=["consent"])


@dataclass(eq=False)
class ConsentStore(AccountRows):
    """Stores the consents of accounts to the current terms."""

    settings: TermsSettings

    def of(self, user: User) -> Sequence[Any]:
        """Return the consents of an account, oldest first."""
        found = select(self.model.__table__).where(self.is_of(user)).order_by(self.model.id)
        return self.db.session.execute(found).all()

    def has(self, user: User) -> bool:
        """Return whether an account has accepted the current terms."""
        found = select(self.model.id).where(self.model.key == self._key(user))
        return self.db.session.scalar(found) is not None

    def add(self, user: User) -> None:
        """Store that an account accepts the current terms, without committing."""
        address = client_address() if self.settings.terms_ip_address_enabled else None
        values = {
            "user_id": self.key(user),
            "document": TERMS,
            "version": self.settings.terms_version,
            "accepted_at": utc_now(),
            "ip_address": address and address[:45],
            "key": self._key(user),
        }
        self.db.session.execute(insert(self.model), values)

    def _key(self, user: User) -> str:
        version, user_id = self.settings.terms_version, self.users.identifier(user)
        return digest_of(f"{TERMS} {version} {user_id}")


def store_of(state: RegistrationState) -> ConsentStore:
    """Return the rows of consents."""
    db, model = current_app.extensions["sqlalchemy"], state.setup.models["consent"]
    return ConsentStore(db, model, state.users, state.group(TermsSettings))


# At registration


def _version_field(state: RegistrationState, about: str, **options: Any) -> Text:
    settings = state.group(TermsSettings)
    version = settings.terms_version
    error = Message("Please accept the current terms of service.", code="terms-version")
    return Text(
        required=True,
        trim=True,
        load_only=True,
        validate=validate.Equal(version, error=error),
        metadata={
            "description": about,
            "example": version,
            "label": ACCEPT,
            "url": settings.terms_url,
        },
        **options,
    )


@flow.provides("registration_fields")
def registration_fields(state: RegistrationState) -> dict[str, fields.Field[Any]]:
    """Return the field that every registration has."""
    about = "The version of the terms of service that the user accepts."
    return {"terms": _version_field(state, about, attribute=ACCEPTED)}


@flow.provides("account_created")
def store_consent(state: RegistrationState, user: User, data: Mapping[str, Any]) -> None:
    """Store the consent of a registration, in its transaction."""
    store = store_of(state)
    store.remove_all(user)  # of a deleted account, whose id the database uses again
    if ACCEPTED in data:
        store.add(user)
        setattr(user, ACCEPTED, True)


@flow.provides("announced")
def announced(
    state: RegistrationState, user: User, signals: Sequence[NamedSignal]
) -> tuple[list[Mail], list[NamedSignal]]:
    """Return the signal that belongs to a registration, without another query."""
    has_consent = user_registered in signals and user.__dict__.pop(ACCEPTED, False)
    return [], [terms_accepted] if has_consent else []


@flow.provides("owner_found")
@flow.provides("remove_rows")
def remove_rows(state: RegistrationState, user: User) -> None:
    """Delete the consents of an account that ends, or that another person has registered."""
    store_of(state).remove_all(user)


# The step of a login, and for logged-in users

step: Step = flow.step(
    "terms",
    needed=lambda state, user: not store_of(state).has(user),
    offers=lambda state, user: {"version": state.group(TermsSettings).terms_version},
)


def accept_schema(state: RegistrationState) -> Schema:
    """Return the schema of the version, and of the challenge of a login that needs it."""
    declared: dict[str, Any] = {
        "challenge": Text(trim=True),
        "version": _version_field(state, "The version that the user accepts."),
    }
    return BodySchema.from_dict(declared, name="AcceptTerms")()


@flow.post(
    "/accept-terms/",
    request=accept_schema,
    response=lambda state: with_token(state, SuccessSchema, "TermsAccepted", required=False),
    message=Message("You have accepted the terms of service."),
    errors=[NotAuthenticated, ChallengeInvalid, StepRequired],
    throttles={"client": "60/minute"},
)
def accept_terms(data: dict[str, str]) -> dict[str, Any]:
    """Accept the current terms of service, as a step of a login or as the current user.

    :raises marshmallow.ValidationError: another version is current; the challenge stays valid.
    :raises NotAuthenticated: no user is logged in, and there is no challenge.
    :raises ChallengeInvalid: the challenge is unknown, expired or used.
    :raises StepRequired: with a challenge; the terms are accepted, and another step is left.
    """
    state, challenge = flow.state, None
    if "challenge" in data:
        challenge = step.open(state, data["challenge"], counts=False)
    user = challenge.user if challenge else state.sessions.user()
    signals = [terms_accepted] if accept(state, user) else []
    if challenge:
        return step.finish(state, challenge, methods=[], signals=signals)
    state.commit(signals=signals, user=user)
    return {}


def accept(state: RegistrationState, user: User) -> bool:
    """Store a consent, without committing. Return False if the account has accepted before."""
    store = store_of(state)
    if store.has(user):
        return False
    try:
        store.add(user)
    except IntegrityError:
        state.users.rollback()
        if store.has(user):  # by a parallel request
            return False
        raise
    return True


# The list


class ConsentSchema(BodySchema):
    """A consent as its user sees it."""

    document: fields.String = fields.String()
    version: fields.String = fields.String()
    accepted_at: ZonedDateTime = ZonedDateTime()


class ExportedConsentSchema(ConsentSchema):
    """A consent in the export of an account."""

    ip_address: fields.String = fields.String()


def consents_of(state: RegistrationState, user: User, schema: Schema) -> list[dict[str, Any]]:
    """Return the consents of an account, oldest first, as JSON can have them."""
    dumped: list[dict[str, Any]] = schema.dump(store_of(state).of(user), many=True)
    return dumped


@flow.provides("export_consents")
def export_consents(state: RegistrationState, user: User) -> list[dict[str, Any]]:
    """Return everything that is stored about the consents of an account."""
    return consents_of(state, user, ExportedConsentSchema())


@flow.get("/consents/", response=lambda state: ConsentSchema(many=True), login_required=True)
def consents(user: User) -> list[dict[str, Any]]:
    """List what the current user has accepted."""
    return consents_of(flow.state, user, ConsentSchema())


# Checks


@flow.check
def check(setup: Setup) -> Iterator[Finding]:
    """Check that there is a version to accept."""
    if not setup.group(TermsSettings).terms_version:
        yield Finding(
            "registration.E069",
            "REGISTRATION_TERMS_VERSION",
            "is not set. Users could not accept a version of the terms.",
            'Set it to the version of your terms of service, for example "2026-11".',
        )
