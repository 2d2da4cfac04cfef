"""What accounts are, in a hundred lines: what ``test_machine.py`` holds the real ones against.

A method does what the API shall do; where that shall refuse, it raises ``PermissionError`` with the
error's code, or with ``REFUSED`` where fields are named. What it mails and which sessions and
tokens it gives away are in ``news``.
"""

from __future__ import annotations

from typing import Any

DAY, FRESH = 24 * 3600, 15 * 60
PERIODS = {"session": 31 * DAY, "remember": 31 * DAY, "token": 14 * DAY}
PERIODS |= {"reset_password": DAY, "register_email": DAY}
PLACEHOLDER, REVOKED = "placeholder", "no password"
RESET_LINKS = ("register_again", "email_change_undone")  # they open where "reset_password" does
REFUSED, BAD_LINK, STALE = "fields", "signature-invalid", "reauthentication-required"


def need(what: object, code: str) -> None:
    if not what:
        raise PermissionError(code)


class Account:
    def __init__(self, name: str, email: str, password: str, joined: float) -> None:
        self.name, self.email, self.password, self.joined = name, email, password, joined
        self.verified, self.active = False, True


class Thing:
    """What somebody was given: a mail, a session's cookie, a remember-me cookie or a token.

    :ivar use: the kind of the links that are shown to the same endpoint.
    :ivar shown: when the password was shown.
    :ivar row: the login that it belongs to; a session and its remember-me cookie are one.
    """

    def __init__(
        self, kind: str, owner: Account, to: str, key: int, born: float, given: object
    ) -> None:
        self.kind, self.owner, self.to, self.key, self.born = kind, owner, to, key, born
        self.shown = born if kind in ("session", "token") else float("-inf")
        self.use, self.row = (
            "reset_password" if kind in RESET_LINKS else kind,
            (given, kind == "token"),
        )


class Model:
    """:ivar alive: what is good but for its age and its key: links, sessions, tokens."""

    def __init__(self, rows: bool, now: float) -> None:
        self.rows, self.now, self.keys = rows, now, [0]  # the first one signs
        self.accounts, self.alive, self.news = list[Account](), list[Thing](), list[Thing]()

    def find(self, **columns: Any) -> Any:
        return next((one for one in self.accounts if columns.items() <= vars(one).items()), None)

    def give(self, owner: Account, *kinds: str, to: str = "", good: bool = True) -> None:
        given = object()
        new = [
            Thing(kind, owner, to or owner.email, self.keys[0], self.now, given)
            for kind in dict.fromkeys(kinds)
        ]
        self.news += new
        self.alive += new if good else []

    def change(self, account: Account, spared: str = "email_changed", **columns: Any) -> None:
        """Change columns, and end every session, token and link but those of one kind."""
        vars(account).update(columns)
        self.alive = [
            each for each in self.alive if each.owner is not account or each.kind == spared
        ]

    def drop(self, row: object) -> None:
        self.alive = [each for each in self.alive if not self.rows or each.row != row]

    def is_good(self, by: Thing) -> bool:
        """Whether a session or a token is."""
        signed = by.key in self.keys or (self.rows and by.kind == "token")
        is_signed_token = by.kind == "token" and not self.rows
        young = self.now - by.born < PERIODS[by.kind] + is_signed_token
        return signed and young and by in self.alive and by.owner in self.accounts

    def is_fresh(self, by: Thing) -> bool:
        return self.now - by.shown <= FRESH

    def confirm(self, by: Thing, password: str | None) -> None:
        """Know who asks, and that it is the owner."""
        need(self.is_good(by), "not-authenticated")
        need(password is not None or self.is_fresh(by), STALE)
        need(password in (None, by.owner.password), REFUSED)

    def is_claim(self, one: Account) -> bool:
        return one.active and not one.verified

    def has_expired(self, one: Account) -> bool:
        return self.is_claim(one) and self.now - one.joined > 7 * DAY

    def register(self, name: str, email: Any, password: str) -> None:
        holders = [one for one in self.accounts if one.name == name or one.email == email]
        if email and all(map(self.has_expired, holders)):
            self.accounts = [one for one in self.accounts if one not in holders]
        need(email and not self.find(name=name), REFUSED)
        owner = self.find(email=email)
        # An address in use: an account that nothing can verify reserves the name.
        new = Account(name, f"{PLACEHOLDER} {name}" if owner else email, password, self.now)
        self.accounts.append(new)
        account = owner or new
        pending = account.active and not account.verified
        self.give(
            account,
            "register" if not owner else "register_again" if pending else "email_taken",
            good=pending,
        )

    def ask_link(self, kind: str, account: Account | None) -> None:
        is_pending = account and not account.verified
        has_address = account and not account.email.startswith(PLACEHOLDER)
        if account and account.active and has_address and (kind != "register" or is_pending):
            self.give(account, kind)

    def open(self, kind: str, link: Thing, password: str) -> None:
        """Show a link to the endpoint for this kind."""
        account, old = link.owner, link.owner.email
        known = (
            link in self.alive
            and account in self.accounts
            and account.active
            and link.key in self.keys
        )
        need(known and link.use == kind, BAD_LINK)
        need(self.now - link.born <= PERIODS.get(kind, 7 * DAY), "signature-expired")
        if kind == "register" and not account.verified:
            self.change(account, "register", verified=True)
        elif kind == "reset_password":
            self.change(account, password=password, verified=True)
            self.give(account, "password_changed", good=False)
        elif kind in ("register_email", "email_changed"):
            need(link.to != old, BAD_LINK)
            holder = self.find(email=link.to)
            need(not holder or self.is_claim(holder), "email-already-registered")
            self.accounts = [one for one in self.accounts if one is not holder]
            undo = [
                each
                for each in self.alive
                if each.owner is account and each.kind == "email_changed"
            ]
            recent = kind == "register_email" and any(
                self.now - each.born <= 7 * DAY for each in undo
            )
            self.change(account, "email_changed" if recent else "", email=link.to)
            if kind == "register_email":
                self.give(account, "email_changed", to=old, good=not recent)
            else:
                account.password = REVOKED
                self.give(account, "email_changed", to=old, good=False)
                self.give(account, "email_change_undone")

    def log_in(self, name: str, password: str, by: Thing | None, *more: str) -> None:
        account = self.find(name=name, password=password, active=True)
        need(account and account.verified, "login-invalid")
        self.drop(by and self.is_good(by) and by.row)
        self.give(account, "session", "token", *more)

    def log_out(self, by: Thing, revoke: bool, everywhere: bool) -> None:
        self.confirm(by, by.owner.password)
        self.drop(by.row)
        if revoke and self.rows and by.kind != "token":
            self.alive = [
                each for each in self.alive if each.owner is not by.owner or each.kind != "token"
            ]
        if everywhere or (revoke and not self.rows):
            self.change(by.owner)

    def change_password(self, by: Thing, old: str, new: str) -> None:
        self.confirm(by, old)
        self.change(by.owner, password=new)
        kinds = dict.fromkeys([by.kind, "token" if by.kind == "token" else "session"])
        self.give(by.owner, *kinds)
        for each in self.news[-len(kinds) :]:  # as fresh as it was; the age of a token begins anew
            each.shown = self.now if by.kind == "token" and self.is_fresh(by) else by.shown
        self.give(by.owner, "password_changed", good=False)

    def ask_move(self, by: Thing, email: Any, password: str | None) -> None:
        self.confirm(by, password)
        need(email not in (None, by.owner.email), REFUSED)
        holder = self.find(email=email)
        owner = None if holder and self.is_claim(holder) else holder
        self.give(by.owner, "email_change_requested", good=False)
        self.give(
            owner or by.owner,
            "email_change_taken" if owner else "register_email",
            to=email,
            good=not owner,
        )
        self.news[-1].row = by.row  # the link ends with the login that asked for it

    def delete(self, by: Thing, password: str | None) -> None:
        self.confirm(by, password)
        self.accounts.remove(by.owner)
