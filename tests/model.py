"""What accounts are, in two hundred lines: what ``test_machine.py`` holds the real ones against.

A method does what the API shall do; where that shall refuse, it raises ``PermissionError`` with the
error's code, or with ``REFUSED`` where fields are named. What it mails and which sessions and
tokens it gives away are in ``news``.
"""

from __future__ import annotations

from typing import Any, cast

DAY, FRESH = 24 * 3600, 15 * 60
PERIODS = {"session": 31 * DAY, "remember": 31 * DAY, "token": 14 * DAY}
PERIODS |= {"reset_password": DAY, "register_email": DAY}
PLACEHOLDER, REVOKED = "placeholder", "no password"
RESET_LINKS = ("register_again", "email_change_undone")  # they open where "reset_password" does
REFUSED, BAD_LINK, STALE = "fields", "signature-invalid", "reauthentication-required"
BAD_CHALLENGE, BAD_CODE = "challenge-invalid", "code-invalid"
LOGINS = ("session", "remember", "token", "challenge")
INTERVAL = 30  # seconds that a code of an app is for
ENROLLMENT = 15 * 60  # how long a new authenticator app can be confirmed
STEP = 15 * 60  # how long a challenge is valid, and how long wrong codes count
LOGIN_TRIES, CODE_TRIES, WRONG_CODES, CHALLENGES = 2, 3, 3, 5


def need(what: object, code: str) -> None:
    if not what:
        raise PermissionError(code)


class Account:
    def __init__(self, name: str, email: str, password: str, joined: float) -> None:
        self.name, self.email, self.password, self.joined = name, email, password, joined
        self.verified, self.active = False, True
        self.app = self.pending = cast("App | None", None)
        self.forget_wrong_codes()

    def forget_wrong_codes(self) -> None:
        self.wrong, self.wrong_since = 0, float("-inf")


class App:
    """An authenticator app, with its recovery codes on paper.

    :ivar spent: the interval of the last code that was used.
    :ivar born: when it was added.
    """

    def __init__(self) -> None:
        self.secret, self.spent, self.born = "", 0, 0.0
        self.codes, self.used_codes = list[str](), list[str]()


#: A code: an app and an interval, or a recovery code, or none that is right.
Code = tuple[App, int] | str | None


class Thing:
    """What somebody was given: a mail, a session's cookie, a remember-me cookie, a token, or the
    challenge of a login that lacks the second factor.

    :ivar use: the kind of the links that are shown to the same endpoint.
    :ivar shown: when the password was shown.
    :ivar row: the login that it belongs to; a session and its remember-me cookie are one.
    :ivar tries: how many codes may be tried, of a challenge or of a mail with a code.
    :ivar asker_left: whether the login that asked for the link has ended.
    :ivar more: what the login gives beside a session and a token, when it is finished.
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
        self.tries = LOGIN_TRIES if kind == "challenge" else CODE_TRIES
        self.more: tuple[str, ...] = ()
        self.asker_left = False


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

    def end_logins(self, account: Account) -> None:
        """End every session, token and challenge. Links stay valid; the codes beside them end.

        With sessions as rows, the link of an e-mail change ends with the login that asked for it.
        """
        for each in self.alive:
            if each.owner is account:
                each.tries, each.asker_left = 0, self.rows
        self.alive = [
            each for each in self.alive if each.owner is not account or each.kind not in LOGINS
        ]

    def go_on(self, by: Thing) -> None:
        """Give another session or token to the one who asks, as fresh as the last one was."""
        kinds = dict.fromkeys([by.kind, "token" if by.kind == "token" else "session"])
        self.give(by.owner, *kinds)
        for each in self.news[-len(kinds) :]:  # the age of a token begins anew
            each.shown = self.now if by.kind == "token" and self.is_fresh(by) else by.shown

    def drop(self, row: object) -> None:
        ended = [each for each in self.alive if self.rows and each.row == row]
        for each in ended:
            each.asker_left = True
        self.alive = [
            each for each in self.alive if each not in ended or each.kind == "register_email"
        ]

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
        need(kind != "register_email" or not link.asker_left, BAD_LINK)
        if kind == "register" and not account.verified:
            self.change(account, "register", verified=True)
        elif kind == "reset_password":
            self.reset(account, password)
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

    def reset(self, account: Account, password: str) -> None:
        self.change(account, password=password, verified=True)
        account.forget_wrong_codes()
        self.give(account, "password_changed", good=False)

    def reset_by_code(self, mail: Thing, is_right: bool, password: str) -> None:
        """Show the challenge of a mail, with the code of this mail or of another one."""
        self.count_try(mail)
        need(is_right and mail.key in self.keys, BAD_CODE)
        self.reset(mail.owner, password)

    def log_in(self, name: str, password: str, by: Thing | None, *more: str) -> None:
        account = self.find(name=name, password=password, active=True)
        need(account and account.verified, "login-invalid")
        if account.app:
            self.give(account, "challenge")
            self.news[-1].more = more
            challenges = [
                each for each in self.alive if each.owner is account and each.kind == "challenge"
            ]
            gone = challenges[:-CHALLENGES]
            self.alive = [each for each in self.alive if each not in gone]
            need(False, "step-required")
        self.drop(by and self.is_good(by) and by.row)
        self.give(account, "session", "token", *more)

    def log_out(self, by: Thing, revoke: bool, everywhere: bool) -> None:
        self.confirm(by, by.owner.password)
        self.drop(by.row)
        if revoke and self.rows and by.kind != "token":
            for each in [*self.alive]:
                if each.owner is by.owner and each.kind == "token":
                    self.drop(each.row)
        if everywhere or (revoke and not self.rows):
            self.change(by.owner)

    def change_password(self, by: Thing, old: str, new: str) -> None:
        self.confirm(by, old)
        self.change(by.owner, password=new)
        by.owner.forget_wrong_codes()
        self.go_on(by)
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
        self.give(by.owner, "account_deleted", good=False)

    # The second factor

    def count_try(self, challenge: Thing) -> None:
        known = challenge in self.alive and challenge.owner in self.accounts
        young = self.now - challenge.born < STEP
        need(known and young and challenge.owner.active and challenge.tries, BAD_CHALLENGE)
        challenge.tries -= 1

    def use(self, account: Account, code: Code) -> None:
        """Use a code once. It counts as a wrong one until it has turned out right."""
        app = account.app
        self.count_wrong_code(account)
        need(app and code, BAD_CODE)
        assert app
        assert code
        if isinstance(code, str):
            need(code in app.codes, BAD_CODE)
            app.codes.remove(code)
            app.used_codes.append(code)
            self.give(account, "recovery_code_used", good=False)
        else:
            need(code[0] is app and self.is_now(code) and code[1] > app.spent, BAD_CODE)
            app.spent = code[1]
        account.forget_wrong_codes()

    def is_now(self, code: tuple[App, int]) -> bool:
        return abs(code[1] - self.now // INTERVAL) <= 1

    def count_wrong_code(self, account: Account) -> None:
        if account.app or account.pending:
            if self.now - account.wrong_since >= STEP:
                account.wrong, account.wrong_since = 0, self.now
            need(account.wrong < WRONG_CODES, "throttled")
            account.wrong += 1

    def finish_login(self, challenge: Thing, code: Code) -> None:
        self.count_try(challenge)
        self.use(challenge.owner, code)
        self.alive.remove(challenge)
        self.give(challenge.owner, "session", "token", *challenge.more)

    def add_app(self, by: Thing, password: str | None, app: App) -> None:
        self.confirm(by, password)
        need(not by.owner.app, "factor-exists")
        by.owner.pending, app.born = app, self.now

    def confirm_app(self, by: Thing, code: Code) -> None:
        need(self.is_good(by), "not-authenticated")
        account = by.owner
        self.count_wrong_code(account)
        is_right = isinstance(code, tuple) and code[0] is account.pending and self.is_now(code)
        need(is_right, BAD_CODE)
        assert isinstance(code, tuple)
        need(self.now - code[0].born < ENROLLMENT, BAD_CODE)
        account.app, account.pending, code[0].spent = code[0], None, code[1]
        account.forget_wrong_codes()
        self.end_logins(account)
        self.go_on(by)
        self.give(account, "factor_added", good=False)

    def remove_app(self, by: Thing, password: str | None, code: Code) -> None:
        self.confirm(by, password)
        account = by.owner
        need(account.app, "no-factor")
        self.use(account, code)
        account.app = None
        self.end_logins(account)
        self.go_on(by)
        self.give(account, "factor_removed", good=False)

    def renew_codes(self, by: Thing, password: str | None) -> None:
        self.confirm(by, password)
        need(by.owner.app, "no-factor")
