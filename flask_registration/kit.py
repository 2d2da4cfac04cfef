"""What ``init_app`` builds for one application, and what the flows work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar, cast

from blinker import NamedSignal
from flask import current_app
from marshmallow import Schema
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.local import LocalProxy

from .codes import with_codes
from .delivery import Sender
from .dispatch import Dispatcher, Mailer
from .errors import MailUnavailable
from .events import Event, is_recorded, record
from .identity import Identity
from .languages import Languages
from .links import Links, LinkSettings
from .logins import LoginStore
from .mail import Composer, Mail, MailSettings, default_templates
from .passwords import Passwords
from .retries import settle
from .settings import Settings
from .signals import announce, user_deleted
from .throttles import Throttles
from .tokens import TokenManager
from .userfields import UserFields
from .users import User, UserStore

S = TypeVar("S", bound=Settings)
Compose = TypeVar("Compose", bound=Callable[..., Mail])


@dataclass(frozen=True)
class MailExample:
    """A mail of a flow, about a user who does not exist, for ``flask registration preview-mail``."""

    to: str
    when: str
    compose: Callable[[Kit, Any], Mail]


class MailExamples(list[MailExample]):
    """The examples of a flow."""

    def add(self, *, to: str, when: str) -> Callable[[Compose], Compose]:
        """Declare what composes one of the kit and a user; it asks the database for nothing.

        :param to: whom the mail goes to, in words: "the account's address".
        :param when: why, half a sentence: "somebody asked for a new password".
        """

        def declare(compose: Compose) -> Compose:
            self.append(MailExample(to, when, compose))
            return compose

        return declare


@dataclass(frozen=True, kw_only=True)
class Kit:
    """One application's tools. It lives at ``app.extensions["registration"]``.

    :ivar outbox: what sends from the outbox, where there is a model for it.
    :ivar examples: the mails of the application's own flows.
    :ivar flows: the journeys that this application has, each a ``Flow``.
    :ivar handlers: what answers each endpoint, by its name, without the application's decorators.
    """

    settings: Mapping[type[Settings], Settings]
    fields: UserFields
    users: UserStore
    links: Links
    passwords: Passwords
    composer: Composer
    mailer: Mailer
    dispatcher: Dispatcher
    outbox: Sender | None
    identity: Identity
    languages: Languages
    tokens: TokenManager
    logins: LoginStore | None
    throttles: Throttles
    flows: Sequence[Any] = ()
    handlers: dict[str, Callable[..., Any]] = field(default_factory=dict)
    examples: MailExamples = field(default_factory=MailExamples)
    _schemas: dict[type[Schema] | Callable[[Kit], Schema], Schema] = field(default_factory=dict)

    def group(self, group: type[S]) -> S:
        """The settings of a room or a flow."""
        return cast(S, self.settings[group])

    @property
    def pages(self) -> LinkSettings:
        """The pages behind mailed links."""
        return self.group(LinkSettings)

    def schema(self, make: type[Schema] | Callable[[Kit], Schema]) -> Schema:
        """A schema of this class, or what this function makes of the kit; made once."""
        if make not in self._schemas:
            self._schemas[make] = with_codes(make() if isinstance(make, type) else make(self))
        return self._schemas[make]

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
        """Compose a mail about this user.

        :param notification_type: a :class:`NotificationType`, or a member of an enumeration of a flow's own.
        :param to: another address than the stored one.
        :param templates: others than the default ones.
        :param sender: the application's own, which sends in our place.
        :param data: what templates get beside ``user``, ``email`` and ``site_name``.
        """
        return self.composer.compose(
            notification_type,
            user,
            to or self.users.state(user).email or "",
            user_id=self.users.identifier(user),
            templates=templates or default_templates(notification_type),
            data=data,
            sender=sender,
        )

    def notice(self, notification_type: Enum, user: User) -> list[Mail]:
        """The mail that tells the owner of a new password, where the settings want one and there is an address."""
        wanted = self.group(MailSettings).password_notice_enabled and self.users.state(user).email
        return [self.mail(notification_type, user)] if wanted else []

    def pretend(self, compose: Callable[[User], Mail], user: User | None) -> None:
        """Do what a mail takes, without one: the time of a reply must not tell who gets a mail.

        :param user: who will do for composing it; one is made up where there is none.
        """
        try:
            decoy = compose(user or self.users.nobody())
        except Exception as error:  # an application's own templates need not be made for nobody
            current_app.logger.debug("A mail to nobody could not be composed.", exc_info=error)
        else:
            self.commit(decoy.to_nobody())

    def commit(
        self, *mails: Mail, gone: Sequence[User] = (), signal: NamedSignal | None = None, **arguments: Any
    ) -> None:
        """Commit; then announce the signal; then hand the mails over: what can be repeated comes last.

        :param gone: accounts that were deleted, which is announced first: their ids may be used again already.
        :raises MailUnavailable: an ``"inline"`` mail could not be sent, and nothing was committed.
        """
        leaving = [mail if self._may_leave(mail) else mail.to_nobody() for mail in mails]
        try:
            for mail in leaving:
                (self.dispatcher.pretend if mail.is_decoy else self.dispatcher.before_commit)(mail)
            self.users.commit()
        except Exception as error:
            self.users.rollback()
            for mail in leaving:
                if mail.is_decoy:
                    continue
                self.mailer.cooldown.forget(mail.to)
                if isinstance(error, MailUnavailable):
                    self.mailer.report(mail, error.__cause__ or error)
            raise
        settle()
        for deleted in gone:
            announce(user_deleted, user=deleted)
        if signal:
            announce(signal, **arguments)
        for mail in leaving:
            self.users.release()  # what receivers have read: no mail leaves inside a transaction
            if not mail.is_decoy:
                self.dispatcher.after_commit(mail)

    def _may_leave(self, mail: Mail) -> bool:
        return (not mail.limited or self.mailer.cooldown.admit(mail.to)) and not mail.is_decoy

    def finish(self) -> None:
        """End what a request has open, and then do what could wait."""
        self.users.close()
        if self.logins:
            self.logins.write_uses()

    def record(self, event: Event, user: User | None, **details: Any) -> None:
        """Write to the security log.

        :param user: whose account it is about, if anybody's.
        """
        user_id = None
        if user is not None and is_recorded(event):
            with suppress(SQLAlchemyError):  # the database may have gone since the commit: the reply stands
                user_id = self.users.identifier(user)
        record(event, user_id=user_id, **details)


current_kit: Kit = cast(Kit, LocalProxy(lambda: current_app.extensions["registration"]))
