"""A small application for a test: its database, its mailbox, its clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from blinker import NamedSignal
from flask import Flask
from flask.testing import FlaskClient
from flask_mail import Mail
from flask_sqlalchemy import SQLAlchemy
from jinja2 import FileSystemBytecodeCache
from sqlalchemy import Boolean, Column, Integer, String, Table, select, text
from sqlalchemy.orm import mapped_column
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from flask_registration import DEFAULT_FLOWS, Flow, Registration, UserMixin
from flask_registration.testing import CHEAP_HASHER as CHEAP_HASHER
from flask_registration.testing import PASSWORD as PASSWORD
from flask_registration.testing import Outbox as Mails
from flask_registration.testing.uniform import compare, executed

CONFIG = {
    "TESTING": True,
    "SECRET_KEY": "a key of the tests, long enough for anybody",
    "MAIL_DEFAULT_SENDER": "no-reply@example.com",
    "REGISTRATION_REGISTER_VERIFICATION_URL": "https://example.com/verify-registration/",
    "REGISTRATION_PASSWORD_HASHER": CHEAP_HASHER,
    "RATELIMIT_ENABLED": False,  # no test trips over a limit that it does not know of
}


@dataclass
class Site:
    """One application, ready to be asked."""

    app: Flask
    db: SQLAlchemy
    mail: Mail
    registration: Registration
    User: Any
    Login: Any = None
    Outbox: Any = None
    outbox: Mails = field(default_factory=Mails)

    def post(
        self, endpoint: str, body: Any = None, *, client: FlaskClient | None = None, **kwargs: Any
    ) -> TestResponse:
        """POST JSON to an endpoint, ``register`` or ``verify-registration`` say, from a new
        client."""
        if "data" not in kwargs:
            kwargs["json"] = body
        return (client or self.app.test_client()).post(f"/accounts/{endpoint}/", **kwargs)

    def register(self, username: str = "alice", **fields: Any) -> TestResponse:
        """Register somebody, with everything that it takes unless given."""
        body = {
            "username": username,
            "email": f"{username}@example.com",
            "password": PASSWORD,
            **fields,
        }
        return self.post("register", {"password_confirm": body["password"], **body})

    def verify(self, params: dict[str, str] | None = None, **changes: Any) -> TestResponse:
        """Post the parameters of a link back, those of the latest mail unless given."""
        return self.post(
            "verify-registration", {**(self.link() if params is None else params), **changes}
        )

    def link(self, number: int = -1) -> dict[str, str]:
        """The parameters of the link in a mail, as a front end reads them from its URL."""
        return Mails([self.outbox[number]]).latest_link()

    def read(self, number: int = -1) -> EmailMessage:
        """A mail of the outbox, as a mail client parses it."""
        with self.app.app_context():
            parsed = message_from_bytes(self.outbox[number].as_bytes(), policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed

    def user(self, **where: Any) -> Any:
        """The one user with these columns, detached; or None."""
        with self.app.app_context():
            user = (
                self.db.session.scalars(select(self.User).filter_by(**where)).unique().one_or_none()
            )
            if user is not None:
                self.db.session.refresh(user)
                self.db.session.expunge(user)
            return user

    def users(self) -> Sequence[Any]:
        """Every user there is."""
        with self.app.app_context():
            users = self.db.session.scalars(select(self.User)).unique().all()
            self.db.session.expunge_all()
            return users

    def change(self, user: Any, **columns: Any) -> None:
        """Change a row behind the API's back, as an administrator would."""
        with self.app.app_context():
            row = self.db.session.get(self.User, user.id)
            for name, value in columns.items():
                setattr(row, name, value)
            self.db.session.commit()

    def statements(self) -> AbstractContextManager[list[str]]:
        """The SQL statements that are executed within the block."""
        return executed(self.app)

    def assert_uniform_answers(self, **requests: Callable[[], TestResponse]) -> None:
        """Make requests whose answers must be the same to the byte, but for what they have sent
        themselves."""
        compare(self.app, requests, statements=False)

    @contextmanager
    def hears(self, *signals: NamedSignal) -> Iterator[list[dict[str, Any]]]:
        """What receivers of these signals are told within the block, each with the ``signal``'s
        name."""
        heard: list[dict[str, Any]] = []

        def listen_to(name: str) -> Callable[..., None]:
            def listen(sender: Flask, *, user: Any, **arguments: Any) -> None:
                if user is not None and user in self.db.session:
                    self.db.session.refresh(
                        user
                    )  # the test looks at it after its session has ended
                heard.append({"signal": name, "user": user, **arguments})

            return listen

        with ExitStack() as stack:
            for signal in signals:
                stack.enter_context(signal.connected_to(listen_to(signal.name), self.app))
            yield heard


class State:
    """What is in an application at one moment: rows, e-mails, configuration, hits that are counted
    in memory."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._config = dict(site.app.config)
        self._mails = list(site.outbox)
        self._counters = dict(self._counted())
        with site.app.app_context():
            self._rows = {table.key: self._read(table) for table in site.db.metadata.sorted_tables}

    @classmethod
    def empty(cls, site: Site) -> State:
        """Return the state of an application that was made just now, without asking its
        database."""
        state = cls.__new__(cls)
        state.site, state._config, state._mails, state._counters = (
            site,
            dict(site.app.config),
            [],
            {},
        )
        state._rows = {table.key: [] for table in site.db.metadata.sorted_tables}
        return state

    def restore(self) -> None:
        """Put it back."""
        site = self.site
        site.app.config.clear()
        site.app.config.update(self._config)
        site.outbox[:] = self._mails
        counted = self._counted()
        counted.clear()
        counted.update(self._counters)
        with site.app.app_context():
            session = site.db.session
            session.remove()
            tables = site.db.metadata.sorted_tables
            for table in reversed(tables):
                session.execute(table.delete(), bind_arguments=self._bind(table))
            for table in tables:
                if self._rows[table.key]:
                    session.execute(
                        table.insert(), self._rows[table.key], bind_arguments=self._bind(table)
                    )
                elif table.autoincrement_column is not None:
                    self._count_from_one(table, table.autoincrement_column)
            session.commit()

    def _count_from_one(self, table: Table, key: Column[int]) -> None:
        """Give the next row the key 1, as SQLite does by itself."""
        restart = {
            "postgresql": f"SELECT setval(pg_get_serial_sequence('\"{table.name}\"', '{key.name}'), 1, false)",  # noqa: E501
            "mysql": f"ALTER TABLE `{table.name}` AUTO_INCREMENT = 1",
        }
        bind = self._bind(table)
        if bind["bind"].dialect.name in restart:
            self.site.db.session.execute(
                text(restart[bind["bind"].dialect.name]), bind_arguments=bind
            )

    def _read(self, table: Table) -> list[dict[str, Any]]:
        rows = self.site.db.session.execute(table.select(), bind_arguments=self._bind(table))
        return [dict(row) for row in rows.mappings()]

    def _bind(self, table: Table) -> dict[str, Any]:
        return {"bind": self.site.db.engines[table.info.get("bind_key")]}

    def _counted(self) -> dict[str, Any]:
        counters: dict[str, Any] = self.site.app.extensions[
            "registration"
        ].throttles.counters.memory.shared.windows
        return counters


class KeptRule(Rule):
    """A rule whose function that builds URLs is compiled once in a process, not once for each
    application: that would be a quarter of the time that it takes to make one."""

    _kept: ClassVar[dict[Any, Any]] = {}

    def _compile_builder(self, append_unknown: bool = True) -> Any:
        key = self.rule, repr(self.defaults), *self._trace, append_unknown
        if key not in self._kept:
            self._kept[key] = super()._compile_builder(append_unknown)
        return self._kept[key]


class App(Flask):
    """An application whose rules are cheap."""

    url_rule_class = KeptRule


def make_site(
    database: str = "sqlite://",
    *,
    define: Callable[[SQLAlchemy], type[Any]] | None = None,
    db: SQLAlchemy | None = None,
    flows: Sequence[Flow[Any]] = DEFAULT_FLOWS,
    import_name: str = "tests.site",
    template_folder: str = "templates",
    login_model: Callable[[SQLAlchemy], type[Any]] | None = None,
    outbox_model: Callable[[SQLAlchemy], type[Any]] | None = None,
    challenge_model: Callable[[SQLAlchemy], type[Any]] | None = None,
    credential_model: Callable[[SQLAlchemy], type[Any]] | None = None,
    other_models: Sequence[Callable[[SQLAlchemy], type[Any]]] = (),
    before: Callable[[Flask], Any] | None = None,
    **settings: Any,
) -> Site:
    """An application with tables, mailbox and accounts.

    :param define: makes the user model; the default is ``class User(UserMixin, db.Model)``.
    :param login_model: makes the model of sessions and tokens; the default is to have none.
    :param outbox_model: makes the model of mails that shall leave; the default is to have none.
    :param challenge_model: makes the model of logins in steps; the default is to have none.
    :param credential_model: makes the model of second factors; the default is to have none.
    :param other_models: make models of other flows.
    :param before: called with the application before ``init_app``.
    :param settings: ``REGISTRATION_`` settings without the prefix, and others with ``config=``.
    """
    app = App(import_name, template_folder=template_folder)
    app.jinja_options = {
        "bytecode_cache": FileSystemBytecodeCache()
    }  # no need to compile a template for each test
    app.config.update(CONFIG, SQLALCHEMY_DATABASE_URI=database)
    app.config.update(settings.pop("config", {}))
    app.config.update({f"REGISTRATION_{name}": value for name, value in settings.items()})
    db = db or SQLAlchemy()
    model = (define or define_user)(db)
    mail = Mail(app)
    db.init_app(app)
    login = login_model(db) if login_model else None
    outbox = outbox_model(db) if outbox_model else None
    if before:
        before(app)
    challenge = challenge_model(db) if challenge_model else None
    credential = credential_model(db) if credential_model else None
    others = [make(db) for make in other_models]
    models = [each for each in (login, outbox, credential, challenge, *others) if each]
    registration = Registration(user_model=model, models=models, flows=flows)
    registration.init_app(app)
    site = Site(app, db, mail, registration, model, login, outbox)
    with app.app_context():
        db.create_all()
    return site


def define_user(db: SQLAlchemy) -> type[Any]:
    """The model of the documentation."""

    class User(UserMixin, db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
        __tablename__ = "users"

    return User


def define(
    *mixins: type[Any], columns: Callable[[], dict[str, Any]] = dict, **attributes: Any
) -> Callable[[SQLAlchemy], type[Any]]:
    """What makes a user model of mixins, more columns (made anew for each model) and plain
    attributes."""

    def make(db: SQLAlchemy) -> type[Any]:
        return type(
            "User", (*mixins, db.Model), {"__tablename__": "users", **columns(), **attributes}
        )

    return make


def whole(reply: TestResponse) -> tuple[str, list[tuple[str, str]], bytes]:
    """Everything of a reply that a client sees."""
    return reply.status, list(reply.headers), reply.get_data()


def own_model(**columns: Callable[[], Any]) -> Callable[[SQLAlchemy], type[Any]]:
    """A model without a mixin: what a user needs, changed by ``columns``."""
    made: dict[str, Callable[[], Any]] = {
        "id": lambda: mapped_column(Integer, primary_key=True),
        "username": lambda: mapped_column(String(40), unique=True, nullable=False),
        "email": lambda: mapped_column(String(254), unique=True, nullable=False),
        "password_hash": lambda: mapped_column(String(255), nullable=False),
        "is_verified": lambda: mapped_column(Boolean, default=False, nullable=False),
        **columns,
    }
    return define(columns=lambda: {name: make() for name, make in made.items()})


def mixin_and(**columns: Callable[[], Any]) -> Callable[[SQLAlchemy], type[Any]]:
    """The mixin's columns and more."""
    return define(UserMixin, columns=lambda: {name: make() for name, make in columns.items()})


def text_column(**kwargs: Any) -> Callable[[], Any]:
    return lambda: mapped_column(String(40), **kwargs)


def text_of(mail: EmailMessage) -> str:
    """The text part of a mail."""
    part = mail.get_body(("plain",))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def html_of(mail: EmailMessage) -> str:
    """The HTML part of a mail."""
    part = mail.get_body(("html",))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def links_of(mail: EmailMessage) -> list[str]:
    """Where the links of a mail's HTML part lead, as a mail client opens them."""
    finder = _LinkFinder()
    finder.feed(html_of(mail))
    return finder.found


class _LinkFinder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]


def parameters(url: str) -> dict[str, str]:
    """The query parameters of a URL, each of which there is once."""
    query = parse_qs(urlsplit(url).query, strict_parsing=True)
    assert all(len(values) == 1 for values in query.values())
    return {name: values[0] for name, values in query.items()}
