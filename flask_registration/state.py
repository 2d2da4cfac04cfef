"""What one application has: its settings, tools and flows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, TypeVar, cast

from blinker import NamedSignal
from flask import Blueprint, Flask, current_app, has_request_context, request
from marshmallow import ValidationError
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.local import LocalProxy

from . import signals
from .auth.links import Links
from .auth.passwords import Passwords
from .auth.sessions import SessionManager, session_kept_on_failure
from .auth.tokens import LoginStore, TokenManager
from .errors import MailUnavailable, ReauthenticationRequired
from .i18n.languages import Languages
from .i18n.messages import Message
from .mail.composer import Composer, MailSettings, default_templates
from .mail.dispatch import Dispatcher, Mailer
from .mail.limits import LimitStore
from .mail.message import Mail
from .security_log import REAUTHENTICATION_FAIL, Event, is_recorded, record
from .settings import Settings, SettingsReader
from .users.fields import UserFields
from .users.stamps import UserSnapshot, next_stamp
from .users.store import User, UserStore
from .users.transaction import mark_committed

S = TypeVar("S", bound=Settings)


class ThrottlingStatus(NamedTuple):
    """Whether rate limits are active, and where requests are counted.

    :ivar storage: the kind of storage, for example ``"redis"`` or ``"memory"``.
    :ivar reason: a sentence that says why no limit is active, else None.
    """

    is_active: bool
    storage: str
    reason: str | None


class Throttles:
    """Rate limits of the endpoints. This class has none; the package ``throttling`` has its own."""

    def check_client(self, endpoint: str) -> None:
        """Count a request of the current client."""

    def check_account(
        self, endpoint: str, names: Callable[[], Iterable[str]], *, user_id: str | None = None
    ) -> None:
        """Count a request about an account, whether or not the account exists."""

    def clear_account(self, endpoint: str, names: Iterable[str]) -> None:
        """Reset the counters of an account after its owner has logged in."""

    def limits(self, endpoint: str) -> Mapping[str, str]:
        """Return the active limits of an endpoint, for example ``{"client": "60/minute"}``."""
        return {}

    def status(self) -> ThrottlingStatus:
        """Return whether limits are active."""
        reason = "Flask-Limiter is not installed: pip install 'Flask-Registration[limits]'."
        return ThrottlingStatus(False, "memory", reason)


@dataclass(kw_only=True)
class Setup:
    """What ``init_app`` has read so far, for the optional packages that prepare themselves.

    :ivar models: the application's models by the mixin's role: ``"user"``, ``"login"``, ``"outbox"``.
    :ivar flows: the flows that this application has, each a ``Flow``.
    :ivar known_flows: the default flows and all that were passed.
    :ivar dispatchers: functions that make a dispatcher, by its name in ``MAIL_DISPATCHER``.
    :ivar store: counts e-mails and requests.
    :ivar extras: functions that make what an optional package keeps in the state, by the package's name.
    """

    app: Flask
    reader: SettingsReader
    models: Mapping[str, Any]
    flows: Sequence[Any]
    known_flows: Sequence[Any]
    dispatchers: dict[str, Callable[[Mailer], Dispatcher]] = field(default_factory=dict)
    store: LimitStore = field(default_factory=LimitStore)
    throttles: Throttles = field(default_factory=Throttles)
    extras: dict[str, Callable[[Mailer], Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Extra:
    """An optional package as its module declares it in a variable ``extra``.

    :ivar settings: its groups of settings.
    :ivar prepare: checks the configuration and registers what the package provides.
    :ivar mount: adds the package's routes.
    """

    settings: tuple[type[Settings], ...] = ()
    prepare: Callable[[Setup], None] = lambda setup: None
    mount: Callable[[Blueprint, Flask, RegistrationState], None] = lambda *_: None


@dataclass(frozen=True, kw_only=True)
class RegistrationState:
    """One application's settings and tools. It lives at ``app.extensions["registration"]``.

    :ivar pages: the URLs of the front end's pages, by the names of their settings in lower case.
    :ivar flows: the flows that this application has, each a ``Flow``.
    :ivar offers: functions that flows offer to other flows, by name.
    :ivar handlers: functions that answer each endpoint, by its name, without the application's decorators.
    :ivar extras: objects of optional packages, by the package's name.
    """

    settings: Mapping[type[Settings], Settings]
    fields: UserFields
    users: UserStore
    links: Links
    pages: Mapping[str, str]
    passwords: Passwords
    composer: Composer
    mailer: Mailer
    dispatcher: Dispatcher
    sessions: SessionManager
    languages: Languages
    tokens: TokenManager
    logins: LoginStore | None
    throttles: Throttles
    flows: Sequence[Any] = ()
    offers: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    handlers: dict[str, Callable[..., Any]] = field(default_factory=dict)
    schemas: dict[Any, Any] = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)

    def group(self, group: type[S]) -> S:
        """Return a group of settings."""
        return cast(S, self.settings[group])

    def provided(self, name: str) -> Callable[..., Any] | None:
        """Return what a flow offers to other flows under this name; None if no active flow does."""
        return self.offers.get(name)

    # E-mails and the transaction

    def mail(
        self,
        notification_type: Enum,
        user: User,
        *,
        to: str | None = None,
        templates: Mapping[str, str] | None = None,
        sender: Callable[..., None] | None = None,
        **data: Any,
    ) -> Mail:
        """Compose an e-mail about this user.

        :param notification_type: a :class:`NotificationType`, or a member of an enumeration of your flow.
        :param to: the recipient, if it is not the stored e-mail address.
        :param templates: templates to use instead of the default ones.
        :param sender: a function of the application that sends the e-mail instead of the extension.
        :param data: template variables in addition to ``user``, ``email`` and ``site_name``.
        """
        return self.composer.compose(
            notification_type,
            user,
            to or self.users.snapshot(user).email or "",
            user_id=self.users.identifier(user),
            templates=templates or default_templates(notification_type),
            data=data,
            sender=sender,
        )

    def notice(self, notification_type: Enum, user: User) -> list[Mail]:
        """Compose the e-mail about a new password, if it is enabled and the user has an e-mail address."""
        is_enabled = self.group(MailSettings).password_notice_enabled
        has_address = self.users.snapshot(user).email
        return [self.mail(notification_type, user)] if is_enabled and has_address else []

    def equalize_timing(self, compose: Callable[[User], Mail], user: User | None) -> None:
        """Do the work of an e-mail without sending one, so that the response time reveals no account.

        :param user: the user to compose it about; a placeholder if None.
        """
        try:
            mail = compose(user or self.users.placeholder())
        except Exception as error:  # an application's templates may fail for a placeholder
            current_app.logger.debug("A placeholder e-mail could not be composed.", exc_info=error)
        else:
            self.commit(mail.as_dry_run())

    def commit(
        self,
        *mails: Mail,
        deleted: Sequence[User] = (),
        signal: NamedSignal | None = None,
        **arguments: Any,
    ) -> None:
        """Commit, then send the signal, then send the e-mails.

        :param deleted: accounts that were deleted; ``user_deleted`` is sent first, because the database may
            use their ids again.
        :raises MailUnavailable: an ``"inline"`` e-mail could not be sent, and nothing was committed.
        """
        queued = [mail if self._is_within_limit(mail) else mail.as_dry_run() for mail in mails]
        try:
            for mail in queued:
                if mail.dry_run:
                    self.dispatcher.equalize_timing(mail)
                else:
                    self.dispatcher.before_commit(mail)
            self.users.commit()
        except Exception as error:
            self.users.rollback()
            self._report_unsent(queued, error)
            raise
        mark_committed()
        for user in deleted:
            self.announce(signals.user_deleted, user=user)
        if signal:
            self.announce(signal, **arguments)
        for mail in queued:
            self.users.end_read()  # receivers may have read; no e-mail is sent inside a transaction
            if not mail.dry_run:
                self.dispatcher.after_commit(mail)

    def _is_within_limit(self, mail: Mail) -> bool:
        return not mail.dry_run and (not mail.limited or self.mailer.cooldown.admit(mail.to))

    def _report_unsent(self, queued: Iterable[Mail], error: Exception) -> None:
        for mail in queued:
            if mail.dry_run:
                continue
            self.mailer.cooldown.forget(mail.to)
            if isinstance(error, MailUnavailable):
                self.mailer.report(mail, error.__cause__ or error)

    def finish(self) -> None:
        """Close the database session of a request, then write the last use of logins."""
        self.users.close()
        if self.logins:
            self.logins.write_uses()

    # Signals and the security log

    def announce(self, signal: NamedSignal, **arguments: Any) -> None:
        """Write to the security log and send a signal.

        An exception of a receiver is logged and stops neither the other receivers nor the response.
        """
        if signal in signals.EVENTS:
            self.record(signals.EVENTS[signal], arguments["user"])
        if signal.is_muted:
            return
        app = cast(Any, current_app)._get_current_object()
        current = cast(Any, request)._get_current_object() if has_request_context() else None
        for receiver in signal.receivers_for(app):
            try:
                app.ensure_sync(receiver)(app, request=current, **arguments)
            except Exception:
                app.logger.exception("A receiver of the signal %s raised.", signal.name)

    def record(self, event: Event, user: User | None, **details: Any) -> None:
        """Write to the security log.

        :param user: the account that the event is about, if there is one.
        """
        user_id = None
        if user is not None and is_recorded(event):
            with suppress(SQLAlchemyError):  # the database may be unavailable since the commit
                user_id = self.users.identifier(user)
        record(event, user_id=user_id, **details)

    # Accounts

    def log_in(
        self, user: User, *, fresh: bool, signal: NamedSignal, remember: bool = False
    ) -> dict[str, Any]:
        """Commit and log in the current client. Return the fields to add to the response.

        :param fresh: whether the client has just shown the password.
        """
        with session_kept_on_failure():
            login = self.sessions.login(user, fresh=fresh, remember=remember)
            self.commit(signal=signal, user=user)
        return login

    def reauthenticate(self, user: User, password: str | None) -> None:
        """Verify that the owner of the account sends this request, not a person at an open session.

        :raises marshmallow.ValidationError: the password is wrong.
        :raises ReauthenticationRequired: there is no password, and the login is not fresh.
        """
        if password is not None:
            is_right, _ = self.passwords.verify(password, self.users.snapshot(user).password_hash)
            if not is_right:
                self.record(REAUTHENTICATION_FAIL, user)
                message = Message("Incorrect password.", code="wrong-password")
                raise ValidationError(message, "password")
        elif not self.sessions.is_fresh():
            raise ReauthenticationRequired

    def check_new_password(self, user: User, password: str) -> str:
        """Check a new password of a user against the policy. Return its hash.

        :raises marshmallow.ValidationError: the password does not pass.
        """
        values = {name: getattr(user, name) for name in self.fields.personal}
        self.passwords.check(password, self.users.inputs(values))
        return self.passwords.hash(password)

    def replace_password(
        self, user: User, seen: UserSnapshot, password: str, **changes: Any
    ) -> bool:
        """Store a new password and end all sessions, tokens and links of the account.

        Return False if the account is not as it was seen.

        :raises marshmallow.ValidationError: the password does not pass the policy.
        """
        new = {
            "password_hash": self.check_new_password(user, password),
            "security_stamp": next_stamp(seen.security_stamp),
            **changes,
        }
        if not self.users.change(user, seen, new):
            return False
        self.sessions.end_logins(user)
        return True


current_registration: RegistrationState = cast(
    RegistrationState, LocalProxy(lambda: current_app.extensions["registration"])
)


def announce(signal: NamedSignal, **arguments: Any) -> None:
    """Write to the security log and send a signal to its receivers, from a flow of your own."""
    current_registration.announce(signal, **arguments)
