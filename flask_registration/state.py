"""What one application has: its settings, tools and flows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from blinker import NamedSignal
from flask import Blueprint, Flask, current_app
from flask_mail import Message
from marshmallow import Schema, ValidationError
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.local import LocalProxy

from .auth.links import Links, LinkSettings, declared_pages, front_end_pages, is_absolute_url
from .auth.passwords import REVOKED, Passwords
from .auth.sessions import SessionManager
from .auth.tokens import LoginStore, TokenManager
from .checks import Finding
from .errors import MailUnavailable, ReauthenticationRequired
from .i18n.languages import Languages, current_request
from .i18n.messages import Message as Text
from .mail.composer import Composer, MailSettings
from .mail.dispatch import Dispatcher, Mailer
from .mail.message import Email, Mail, new_message_id, no_variables
from .request_state import request_state
from .security_log import MAIL_DROPPED, REAUTHENTICATION_FAIL, Event, is_recorded, record
from .settings import PREFIX, Settings
from .signals import EVENTS, user_deleted
from .throttling.throttles import MailBudget, Throttles
from .users.fields import UserFields
from .users.stamps import UserSnapshot, digest_of, link_digest, next_stamp
from .users.store import PLACEHOLDER_DOMAIN, User, UserStore

if TYPE_CHECKING:  # an application without challenges does not import them
    from .auth.challenges import ChallengeStore

S = TypeVar("S", bound=Settings)

#: The template variables of an e-mail without a code.
NO_CODE: Mapping[str, Any] = {"code": None, "code_valid_for": None}


class HasSettings:
    """What reads the settings of one application."""

    settings: Mapping[type[Settings], Settings]

    def group(self, group: type[S]) -> S:
        """Return a group of settings."""
        return cast(S, self.settings[group])

    @property
    def sends_links(self) -> bool:
        """Return whether e-mails that verify something have a link."""
        return self.group(LinkSettings).verification_method != "code"

    @property
    def sends_codes(self) -> bool:
        """Return whether e-mails that verify something have a code."""
        return self.group(LinkSettings).verification_method != "link"


@dataclass(kw_only=True)
class Setup(HasSettings):
    """What ``init_app`` has read so far, for checks and for optional packages.

    :ivar settings: the groups of settings.
    :ivar fields: the columns of the user model; None if the model itself has errors.
    :ivar packages: the optional packages that the configuration asks for.
    :ivar findings: what the checks have found so far.
    :ivar models: the application's models by their role: ``"user"``, and the roles of the mixins,
        such as ``"login"``, ``"outbox"`` and ``"challenge"``.
    :ivar flows: the flows that this application has, each a ``Flow``.
    :ivar known_flows: the default flows and all that were passed.
    :ivar dispatchers: functions that make a dispatcher, by its name in ``MAIL_DISPATCHER``.
    :ivar extras: functions that make what an optional package keeps in the state, by the package's
        name.
    """

    app: Flask
    settings: dict[type[Settings], Settings]
    fields: UserFields | None
    models: Mapping[str, Any]
    flows: Sequence[Any]
    known_flows: Sequence[Any]
    throttles: Throttles
    dispatchers: dict[str, Callable[[Mailer], Dispatcher]] = field(default_factory=dict)
    extras: dict[str, Callable[[Mailer], Any]] = field(default_factory=dict)
    packages: Sequence[Extra] = ()
    findings: list[Finding] = field(default_factory=list)

    def offers(self) -> dict[str, list[Callable[..., Any]]]:
        """Return the functions that flows offer to other flows with these settings, by name."""
        offers: dict[str, list[Callable[..., Any]]] = {}
        for flow in self.flows:
            for name, (function, is_enabled) in flow.offers.items():
                if is_enabled(self.group(flow.group)):
                    offers.setdefault(name, []).append(function)
        return offers

    def check_page(self, key: str) -> Iterator[Finding]:
        """Check that a page of the front end has an absolute URL.

        A page beside another one has no error of its own if the other one has.

        :param key: the setting, without ``REGISTRATION_``.
        """
        setting, refused = PREFIX + key, {finding.subject for finding in self.findings}
        value, metadata = declared_pages(self.settings)[key.lower()]
        others = {f"{PREFIX}{metadata['beside']}", f"{PREFIX}REGISTER_VERIFICATION_URL"}
        if value is None and others & refused:
            return
        url, page = front_end_pages(self.settings)[key.lower()], metadata["page"]
        if not url:
            yield Finding(
                "registration.E002",
                setting,
                "is not set. Without a page, a link leads nowhere.",
                f"Set {setting} to the absolute URL of the page that the link leads to, for "
                f'example "https://example.com/{page}".',
            )
        elif not is_absolute_url(url):
            yield Finding(
                "registration.E003",
                setting,
                f"is {url!r}, which is not absolute. "
                "If the request decided where a link leads, an attacker could receive it.",
                f"Begin {setting} with the scheme and the host, for example "
                f'"https://example.com/{page}".',
            )


#: A check of the configuration, run by ``init_app`` and by ``flask registration check``.
Check = Callable[[Setup], Iterable[Finding]]


#: Work of ``flask registration purge``: the name of one item, what is done with it, the keys, and a
#: function that does it. ``due_work`` offers a function of one key, ``stale_rows`` one of all keys.
DueWork = Iterator[tuple[str, str, Sequence[Any], Callable[[Any], int]]]


def _is_notified(state: RegistrationState) -> bool:
    return state.group(MailSettings).password_notice_enabled and state.fields.email is not None


#: The e-mail about a new password, which several flows send.
PASSWORD_CHANGED = Email(
    name="password_changed",
    group=MailSettings,
    when="the password was changed or reset",
    variables=no_variables,
    enabled=_is_notified,
    limited=False,
)


@dataclass(frozen=True)
class Extra:
    """An optional package as its module declares it in a variable ``extra``.

    :ivar settings: its groups of settings.
    :ivar prepare: a check of the configuration that also registers what the package provides.
    :ivar mount: adds the package's routes.
    """

    settings: tuple[type[Settings], ...] = ()
    prepare: Check = lambda setup: ()
    mount: Callable[[Blueprint, Flask, RegistrationState], None] = lambda *_: None


@dataclass(frozen=True, kw_only=True)
class RegistrationState(HasSettings):
    """One application's settings and tools. It lives at ``app.extensions["registration"]``.

    :ivar setup: what it was made from, for checks.
    :ivar pages: the URLs of the front end's pages, by the names of their settings in lower case.
    :ivar flows: the flows that this application has, each a ``Flow``.
    :ivar offers: functions that flows offer to other flows, by name, in the order of the flows.
    :ivar emails: the e-mails of the flows, by name.
    :ivar actions: what the endpoints do, each an ``Action``, by the names of the endpoints.
    :ivar extras: objects of optional packages, by the package's name.
    """

    setup: Setup
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
    challenge_store: ChallengeStore | None
    throttles: Throttles
    mail_budget: MailBudget
    flows: Sequence[Any]
    offers: Mapping[str, Sequence[Callable[..., Any]]]
    emails: Mapping[str, Email]
    extras: Mapping[str, Any]
    actions: dict[str, Any] = field(default_factory=dict)
    schemas: dict[Any, Schema] = field(default_factory=dict)

    def provided(self, name: str) -> Callable[..., Any] | None:
        """Return what a flow offers to other flows under this name; None if no active flow does."""
        return self.offers.get(name, [None])[-1]

    def call(self, name: str, /, *arguments: Any) -> Any:
        """Call what a flow offers under this name; return None if no active flow offers it.

        The function receives this state first.
        """
        function = self.provided(name)
        return function(self, *arguments) if function else None

    def all_provided(self, name: str) -> Sequence[Callable[..., Any]]:
        """Return what every active flow offers under this name, in the order of the flows.

        Several flows may offer ``registration_fields``, ``account_created``, ``owner_found``,
        ``announced``, ``remove_rows``, ``due_work`` and ``stale_rows``: see "A flow of your own" in
        the documentation.
        """
        return self.offers.get(name, ())

    @property
    def challenges(self) -> ChallengeStore:
        """Return the challenges. ``init_app`` refuses a flow that needs them without a model."""
        if self.challenge_store is None:
            raise RuntimeError("A model is missing: class Challenge(ChallengeMixin, db.Model).")
        return self.challenge_store

    def call_all(self, name: str, *arguments: Any) -> None:
        """Call what every active flow offers under this name, with the state and these values."""
        for function in self.all_provided(name):
            function(self, *arguments)

    # E-mails and the transaction

    def mail(
        self, email: Email, user: User | None, /, *, to: str | None = None, **data: Any
    ) -> Mail:
        """Return an e-mail to send with :meth:`commit`. It is rendered when it is sent.

        :param user: the user that it is about. If None it is dropped when it is sent, so that the
            response takes the same time for an unknown account. With ``to``, it is about an e-mail
            address that has no account, and ``variables`` receives None.
        :param to: the recipient, if it is not the stored e-mail address.
        :param data: the arguments of the declared function, as JSON can have them.
        """
        seen = self.users.snapshot(user)
        address = to or seen.email or ""
        user_id: str | None = "" if user is None else self.users.identifier(user)
        if (user is None and not to) or address.endswith(PLACEHOLDER_DOMAIN):
            user_id = None  # which drops it
        language, locale = self.languages.choose(user)
        settings = self.settings[email.group]
        return Mail(
            to=address,
            template=email.name,
            user_id=user_id,
            account=self._account_digest(user, seen, limited=email.limited),
            data=data,
            templates=self.composer.templates(email, settings, user),
            language=language.tag,
            locale=locale,
            message_id=new_message_id(self.composer.sender),
            written_at=time.time(),
            limited=email.limited,
            notice=email.notice,
            by_application=user_id is not None and email.sender(settings) is not None,
        )

    def _account_digest(self, user: User | None, seen: UserSnapshot, *, limited: bool) -> str:
        """Return the digest of what an account must have when an e-mail is sent.

        For a notice, that is the time of its registration: the database may use an id again. For
        other e-mails it is what links are bound to. An unknown account costs the same.
        """
        joined = self.fields.joined
        if limited:
            bound = f"{seen.email} {link_digest(seen)}"
        else:
            bound = str(joined and getattr(user, joined, None))
        return digest_of(bound)[:32]

    def compose(self, mail: Mail) -> Message | None:
        """Render an e-mail for Flask-Mail.

        Return None if it is dropped, or the application sent it. It is dropped if the account was
        deleted, or has changed since: a link that was signed then would be invalid as well, and one
        that is signed now could reach an earlier e-mail address.
        """
        try:
            user = self.users.get(mail.user_id)  # None and "" find none
            if user is None and mail.user_id != "":
                return None
            seen = self.users.snapshot(user)
            if mail.account != self._account_digest(user, seen, limited=mail.limited):
                return None
            email = self.emails[mail.template]
            if not email.current(self, **mail.data):
                return None
            variables = dict(email.variables(self, user, **mail.data))
            if email.has_code:
                code = self.call("code_variables", mail.challenge) or NO_CODE
                if not (code["code"] or self.sends_links):
                    return None  # the code has expired, or there never was one
                variables |= code
            send = email.sender(self.settings[email.group])
            if send is None:
                return self.composer.compose(mail, user, variables)
            send(current_request(), user, **self.composer.translated(mail, variables))
            return None
        finally:
            if not self.dispatcher.in_transaction:
                self.users.end_read()  # no e-mail is sent inside a transaction

    def password_notice(self, user: User) -> list[Mail]:
        """Return the e-mail about a new password, if it is enabled and the user has an address."""
        return self.notices(PASSWORD_CHANGED, user) if PASSWORD_CHANGED.enabled(self) else []

    def notices(self, email: Email, user: User, **data: Any) -> list[Mail]:
        """Return an e-mail to a user, if the account has an address; see :meth:`mail`."""
        return [self.mail(email, user, **data)] if self.users.snapshot(user).email else []

    def admit(self, mail: Mail) -> Mail:
        """Count an e-mail, and return it. Over the limit of its address, it is dropped.

        :meth:`commit` calls this, except for an e-mail with a challenge. It counts once, however
        often the work of the request is retried.
        """
        if not mail.limited:
            return mail
        reserved = self.emails[mail.template].reserved
        request, counted = request_state(), (mail.to, mail.kind)
        again = request.is_retry and counted in request.admitted_mails
        limits = self.mailer.limits
        if not limits.admit(mail.to, mail.kind, is_reserved=reserved, is_retry=again):
            record(MAIL_DROPPED, user_id=mail.user_id, template=mail.template)
            return replace(mail, user_id=None)
        request.admitted_mails.add(counted)
        return mail

    def commit(
        self,
        *mails: Mail,
        deleted: Sequence[User] = (),
        signals: Sequence[NamedSignal] = (),
        **arguments: Any,
    ) -> None:
        """Commit, then send the signals, then send the e-mails.

        If that fails, a login or logout of this request is undone.

        :param deleted: accounts that were deleted; ``user_deleted`` is sent first, because the
            database may use their ids again.
        :raises MailUnavailable: an ``"inline"`` e-mail could not be sent, and nothing was
            committed.
        """
        for announced in self.all_provided("announced") if signals else ():
            more_mails, more_signals = announced(self, arguments.get("user"), signals)
            mails, signals = (*mails, *more_mails), [*signals, *more_signals]
        queued = [mail if mail.challenge else self.admit(mail) for mail in mails]
        unsent = list(queued)
        try:
            for mail in queued:
                self.dispatcher.before_commit(mail)
                unsent.remove(mail)
            self.users.commit()
        except Exception as error:
            self.rollback()
            for mail in queued:
                if mail.user_id is not None:
                    self.mailer.limits.forget(mail.to, mail.kind)
                    if isinstance(error, MailUnavailable) and mail in unsent:
                        self.mailer.report(mail, error.__cause__ or error)
            raise
        request = request_state()
        request.is_committed, request.kept_session = True, None
        for user in deleted:
            self.announce(user_deleted, user=user)
        for signal in signals:
            self.announce(signal, **arguments)
        for mail in queued:
            self.users.end_read()  # receivers may have read
            self.dispatcher.after_commit(mail)

    def rollback(self) -> None:
        """Roll back the database session, and undo a login or logout that was not committed."""
        self.users.rollback()
        self.sessions.undo()

    def finish(self) -> None:
        """Close the database session of a request, then write when its login was last used."""
        self.users.close()
        if self.logins:
            self.logins.write_use()

    # Signals and the security log

    def announce(self, signal: NamedSignal, **arguments: Any) -> None:
        """Write to the security log and send a signal.

        An exception of a receiver is logged and stops neither the other receivers nor the response.
        """
        if signal in EVENTS:
            self.record(EVENTS[signal], arguments["user"])
        if signal.is_muted:
            return
        app = cast(Any, current_app)._get_current_object()
        current = current_request()
        for receiver in signal.receivers_for(app):
            try:
                app.ensure_sync(receiver)(app, request=current, **arguments)
            except Exception:  # of the application; the work is committed
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

    def reauthenticate(self, user: User, password: str | None) -> None:
        """Verify that the owner of the account sends this request, not a person at an open session.

        :raises marshmallow.ValidationError: the password is wrong.
        :raises ReauthenticationRequired: there is no password, and the login is not fresh. After an
            undo of an e-mail change no login is, until a new password is set.
        """
        password_hash = self.users.snapshot(user).password_hash
        if password is not None:
            is_right, _ = self.passwords.verify(password, password_hash)
            if not is_right:
                self.record(REAUTHENTICATION_FAIL, user)
                message = Text("Incorrect password.", code="wrong-password")
                raise ValidationError(message, "password")
        elif password_hash == REVOKED or not self.sessions.is_fresh():
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
    ) -> None:
        """Store a new password and end the sessions, tokens and links of the account.

        The link that undoes an e-mail change stays valid.

        :raises AccountUnusable: the account is not as it was seen.
        :raises marshmallow.ValidationError: the password does not pass the policy.
        """
        new = {
            "password_hash": self.check_new_password(user, password),
            "security_stamp": next_stamp(seen.security_stamp),
            **changes,
        }
        self.users.change(user, seen, new)
        self.sessions.end_logins(user)
        self.call_all("clear_lock", user)

    def remove_rows(self, user: User) -> None:
        """Delete what belongs to an account that ends, without committing."""
        self.sessions.end_logins(user)
        if self.challenge_store:
            self.challenge_store.remove_all(user)
        self.call_all("remove_rows", user)


current_registration: RegistrationState = cast(
    RegistrationState, LocalProxy(lambda: current_app.extensions["registration"])
)


def announce(signal: NamedSignal, **arguments: Any) -> None:
    """Write to the security log and send a signal to its receivers, from a flow of your own."""
    current_registration.announce(signal, **arguments)
