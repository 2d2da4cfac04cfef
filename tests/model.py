"""What accounts are, in a hundred lines: what ``test_machine.py`` holds the real ones against.

Every method answers as the API shall: with a status, an error's code, or ``REFUSED`` where fields are named.
What it mails and which sessions and tokens it gives away are in ``mails`` and ``given``. A stamp is any new object.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

DAY = 24 * 3600
FRESH, PERIODS = 15 * 60, {"session": 31 * DAY, "remember": 31 * DAY, "token": 14 * DAY}
REFUSED, BAD_LINK, OLD_LINK = "fields", "signature-invalid", "signature-expired"
NOBODY, TAKEN = "not-authenticated", "email-already-registered"


@dataclass(eq=False)
class Account:
    name: str
    email: str
    password: str
    joined: float
    verified: bool = False
    active: bool = True
    stamp: object = field(default_factory=object)
    unproven: object = field(default_factory=object)
    lineage: object = field(default_factory=object)
    moved: float = float("-inf")

    def bound(self, kind: str) -> tuple[object, ...]:
        """What a link of this kind dies with."""
        others = {"email_changed": (self.lineage,), "register": (self.unproven, self.email)}
        return others.get(kind, (self.stamp, self.email))


@dataclass(eq=False)
class Login:
    """A row of the login model: a token, or a session with its remember-me cookie."""

    owner: Account
    kind: str
    born: float


@dataclass(eq=False)
class Credential:
    """A session cookie, a remember-me cookie or a token."""

    kind: str
    login: Login
    stamp: object
    key: int
    born: float
    fresh: float | None


@dataclass(eq=False)
class Mail:
    """A mail, and what its link is bound to where it has one."""

    kind: str
    to: str
    about: Account
    bound: tuple[object, ...] | None
    key: int
    born: float

    @property
    def use(self) -> str:
        """The kind of mail whose endpoint takes its link."""
        return "reset_password" if self.kind == "register_again" else self.kind


@dataclass
class Model:
    rows: bool
    now: float
    accounts: list[Account] = field(default_factory=list)
    logins: list[Login] = field(default_factory=list)
    keys: list[int] = field(default_factory=lambda: [0])  # the first one signs
    mails: list[Mail] = field(default_factory=list)
    given: list[Credential] = field(default_factory=list)

    def find(self, **where: Any) -> Account | None:
        return next((one for one in self.accounts if all(getattr(one, k) == v for k, v in where.items())), None)

    def mail(self, kind: str, about: Account, to: str = "", *, link: bool = True) -> None:
        bound = about.bound(kind) if link else None
        self.mails.append(Mail(kind, to or about.email, about, bound, self.keys[0], self.now))

    def give(self, account: Account, kinds: set[str], fresh: float | None) -> None:
        logins = {kind: Login(account, kind, self.now) for kind in ("session", "token") if kind in kinds}
        self.logins += logins.values()
        for kind in sorted(kinds):
            login = logins["token" if kind == "token" else "session"]
            self.given.append(Credential(kind, login, account.stamp, self.keys[0], self.now, fresh))

    def renew(self, by: Credential, fresh: float | None) -> None:
        self.give(by.login.owner, {"remember", "session"} if by.kind == "remember" else {by.kind}, fresh)

    def end(self, account: Account, kind: str = "") -> None:
        self.logins = [each for each in self.logins if each.owner is not account or kind not in (each.kind, "")]

    def replace(self, account: Account, **changes: Any) -> None:
        vars(account).update({"stamp": object(), "unproven": object(), **changes})
        self.end(account)

    def suspend_or_resume(self, account: Account, active: bool) -> None:
        if account.active and not active:
            vars(account).update({"stamp": object(), "unproven": object()})
        account.active = active

    def is_readable(self, by: Credential) -> bool:
        """Whether it is ours and not too old, whoever it is of."""
        keys = {"token": [by.key] if self.rows else self.keys, "session": self.keys, "remember": self.keys[:1]}[by.kind]
        age, limit = self.now - by.born, PERIODS[by.kind]
        young = age < limit if self.rows else age <= limit or by.kind == "remember"
        return young and by.key in keys

    def is_good(self, by: Credential | None) -> bool:
        account = by.login.owner if by else None
        if by is None or account not in self.accounts or not (account.active and by.stamp is account.stamp):
            return False
        return self.is_readable(by) and (by.login in self.logins or not self.rows)

    def asks(self, by: Credential, password: str | None = "", *, guarded: bool = False) -> str | None:
        """Why what is asked for with a credential is refused, and with a password where that is guarded."""
        if not self.is_good(by):
            return NOBODY
        if guarded and password is not None:
            return None if password == by.login.owner.password else REFUSED
        fresh = by.fresh is not None and self.now - by.fresh <= FRESH and by.kind != "remember"
        return "reauthentication-required" if guarded and not fresh else None

    def opens(self, kind: str, link: Mail, period: float) -> str | None:
        """What is wrong with a link at the endpoint for this kind."""
        account = link.about
        known = account in self.accounts and account.active and link.key in self.keys
        if not known or link.use != kind or link.bound != account.bound(kind):
            return BAD_LINK
        return OLD_LINK if self.now - link.born > period else None

    def has_expired(self, account: Account) -> bool:
        return account.active and not account.verified and self.now - account.joined > 7 * DAY

    def purge(self) -> None:
        self.accounts = [one for one in self.accounts if not self.has_expired(one)]
        self.logins = [each for each in self.logins if each.born + PERIODS[each.kind] >= self.now]

    def register(self, name: str, email: str | None, password: str) -> int | str:
        if email is None:
            return REFUSED
        holders = [one for one in self.accounts if one.name == name or one.email == email]
        if all(self.has_expired(one) for one in holders):
            self.accounts = [one for one in self.accounts if one not in holders]
        if self.find(name=name):
            return REFUSED
        owner = self.find(email=email)
        account = owner or Account(name, email, password, self.now)
        self.accounts += [] if owner else [account]
        pending = account.active and not account.verified
        self.mail("register" if not owner else "register_again" if pending else "email_taken", account, link=pending)
        return 201

    def resend(self, account: Account | None) -> int:
        if account and account.active and not account.verified:
            self.mail("register", account)
        return 200

    def verify(self, link: Mail) -> int | str:
        bad = self.opens("register", link, 7 * DAY)
        if not bad and not link.about.verified:
            self.replace(link.about, verified=True, lineage=object(), unproven=link.about.unproven)
        return bad or 200

    def log_in(self, name: str, password: str, remember: bool, by: Credential | None) -> int | str:
        account = self.find(name=name)
        if not (account and account.active and account.password == password):
            return "login-invalid"
        if not account.verified:
            return "not-verified"
        self.logins = [each for each in self.logins if not (by and self.is_readable(by) and by.login is each)]
        self.give(account, {"session", "token", *(["remember"] if remember else [])}, self.now)
        return 200

    def log_out(self, by: Credential, revoke: bool, everywhere: bool) -> int | str:
        if bad := self.asks(by):
            return bad
        account = by.login.owner
        self.logins = [each for each in self.logins if each is not by.login]
        if revoke and self.rows and by.kind != "token":
            self.end(account, "token")
        if everywhere or (revoke and not self.rows):
            self.replace(account)
        return 200

    def change_password(self, by: Credential, old: str, new: str) -> int | str:
        account = by.login.owner
        if bad := self.asks(by) or (REFUSED if old != account.password else None):
            return bad
        self.replace(account, password=new)
        self.renew(by, self.now)
        self.mail("password_changed", account, link=False)
        return 200

    def ask_reset(self, account: Account | None) -> int:
        if account and account.active:
            self.mail("reset_password", account)
        return 200

    def reset(self, link: Mail, password: str) -> int | str:
        if bad := self.opens("reset_password", link, DAY):
            return bad
        lineage = link.about.lineage if link.about.verified else object()
        self.replace(link.about, password=password, verified=True, lineage=lineage)
        self.mail("password_changed", link.about, link=False)
        return 200

    def ask_move(self, by: Credential, email: str | None, password: str | None) -> int | str:
        account = by.login.owner
        if bad := self.asks(by, password, guarded=True) or (REFUSED if email in (None, account.email) else None):
            return bad
        owner = self.find(email=email)
        self.mail("email_change_taken" if owner else "register_email", owner or account, email or "", link=not owner)
        return 200

    def move(self, link: Mail, by: Credential | None) -> int | str:
        account, asking = link.about, self.is_good(by)
        if bad := self.opens("register_email", link, 7 * DAY) or (None if account.verified else BAD_LINK):
            return bad
        if self.find(email=link.to):
            return TAKEN
        old, first = account.email, self.now - account.moved > 7 * DAY
        self.replace(account, email=link.to, **({"lineage": object(), "moved": self.now} if first else {}))
        if by and asking and by.login.owner is account:
            self.renew(by, by.fresh if by.kind == "session" else None)
        self.mail("email_changed", account, old, link=first)
        return 200

    def undo(self, link: Mail) -> int | str:
        account = link.about
        if bad := self.opens("email_changed", link, 7 * DAY) or (BAD_LINK if account.email == link.to else None):
            return bad
        if self.find(email=link.to):
            return TAKEN
        self.replace(account, email=link.to, lineage=object(), moved=float("-inf"))
        return 200

    def delete(self, by: Credential, password: str | None) -> int | str:
        if bad := self.asks(by, password, guarded=True):
            return bad
        self.end(by.login.owner)
        self.accounts.remove(by.login.owner)
        return 204
